from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what the samplers cache out of the home folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KGNEG_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """Undo what the command line does to the logger of the package."""
    logger = logging.getLogger("kgneg")
    handlers, propagate, level = logger.handlers[:], logger.propagate, logger.level
    yield
    logger.handlers[:], logger.propagate = handlers, propagate
    logger.setLevel(level)


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    """A folder with a graph that has texts for most entities."""
    folder = tmp_path / "zoo"
    folder.mkdir()
    animals = [f"animal_{number}" for number in range(12)]
    rows = [f"{animals[i]}\teats\t{animals[(i * 5 + 3) % 12]}" for i in range(12)]
    rows += [f"{animals[i]}\tfears\t{animals[(i * 7 + 1) % 12]}" for i in range(12)]
    (folder / "train.tsv").write_text("\n".join(rows[:20]) + "\n", encoding="utf-8")
    (folder / "valid.tsv").write_text("\n".join(rows[20:22]) + "\n", encoding="utf-8")
    (folder / "test.tsv").write_text("\n".join(rows[22:]) + "\n", encoding="utf-8")
    texts = [f"{animal}\tthe animal number {number}" for number, animal in enumerate(animals)]
    (folder / "entities.tsv").write_text("\n".join(texts) + "\n", encoding="utf-8")
    return folder
