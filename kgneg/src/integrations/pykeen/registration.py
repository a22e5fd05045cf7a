"""Registering what needs modules of PyKEEN that may not be complete yet."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["when_imported"]

_PACKAGE = "pykeen"


def _complete(name: str) -> bool:
    module = sys.modules.get(name)
    return module is not None and not getattr(module.__spec__, "_initializing", False)


class _Afterwards(Loader):
    """Runs an action when a module has been executed."""

    def __init__(self, loader: Loader, action: Callable[[], None]) -> None:
        self.loader, self.action = loader, action

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = module.__loader__ = self.loader
        self.loader.exec_module(module)
        self.action()


class _Watch(MetaPathFinder):
    """Looks at imports from PyKEEN until a module is complete."""

    def __init__(self, name: str, action: Callable[[], None]) -> None:
        self.name, self.action = name, action

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.split(".")[0] != _PACKAGE:
            return None
        if _complete(self.name):
            self._finish()
        elif fullname == self.name:
            sys.meta_path.remove(self)
            spec = importlib.util.find_spec(fullname)
            if spec is not None and spec.loader is not None:
                spec.loader = _Afterwards(spec.loader, self.action)
            return spec
        return None

    def _finish(self) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)
            self.action()


def when_imported(name: str, action: Callable[[], None]) -> None:
    """Run an action once a module of PyKEEN is complete: now, after its import, or at the next import from PyKEEN.

    PyKEEN imports this package while it imports its data sets, when any of its other modules may be half made,
    depending on what the user imported first.

    :param name: the full name of the module
    :param action: a function without arguments
    """
    if _complete(name):
        action()
        return
    # while PyKEEN is importing its own modules, importing one of them may fail; outside, it cannot
    if not any(_half_made(module) for module in list(sys.modules)):
        importlib.import_module(name)
        action()
        return
    sys.meta_path.insert(0, _Watch(name, action))


def _half_made(name: str) -> bool:
    return name.split(".")[0] == _PACKAGE and name != _PACKAGE and not _complete(name)
