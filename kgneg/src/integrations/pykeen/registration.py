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


class _Finder(MetaPathFinder):
    """Finds a module as usual, and has an action run after it has been executed."""

    def __init__(self, name: str, action: Callable[[], None]) -> None:
        self.name, self.action = name, action

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Afterwards(spec.loader, self.action)
        return spec


class _WatchedSpec(ModuleSpec):
    """The specification of a module that is being executed; notices when that is over."""

    action: Callable[[], None]

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name == "_initializing" and not value:
            action = self.__dict__.pop("action")
            self.__class__ = ModuleSpec  # type: ignore[assignment]
            if self.name in sys.modules:
                action()


def when_imported(name: str, action: Callable[[], None]) -> None:
    """Run an action once a module of PyKEEN is complete: now, or as soon as it has been imported.

    PyKEEN imports this package while it imports its data sets, when any of its other modules may be half made,
    depending on what the user imported first.

    :param name: the full name of the module
    :param action: a function without arguments
    """
    if _complete(name):
        action()
    elif name in sys.modules and sys.modules[name].__spec__ is not None:
        spec = sys.modules[name].__spec__
        spec.__dict__["action"] = action
        spec.__class__ = _WatchedSpec
    elif any(_half_made(module) for module in list(sys.modules)):
        # while PyKEEN is importing its own modules, importing one of them may fail; outside, it cannot
        sys.meta_path.insert(0, _Finder(name, action))
    else:
        importlib.import_module(name)
        action()


def _half_made(name: str) -> bool:
    return name.split(".")[0] == _PACKAGE and name != _PACKAGE and not _complete(name)
