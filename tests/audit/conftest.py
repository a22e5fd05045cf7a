from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kgneg.audit import AuditData, load_audit_data


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what is cached out of the home folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KGNEG_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def nations() -> AuditData:
    return load_audit_data("nations")


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    """A folder with a graph that has names, types, and verified negatives."""
    folder = tmp_path / "zoo"
    folder.mkdir()
    animals = [f"animal_{number}" for number in range(12)]
    rows = [f"{animals[i]}\teats\t{animals[(i * 5 + 3) % 12]}" for i in range(12)]
    rows += [f"{animals[i]}\tfears\t{animals[(i * 7 + 1) % 12]}" for i in range(12)]
    tables = {
        "train.tsv": rows[:20],
        "valid.tsv": rows[20:22],
        "test.tsv": rows[22:],
        "entities.tsv": [f"{animal}\tthe animal number {number}" for number, animal in enumerate(animals)],
        "relations.tsv": ["id\tname", "eats\tlikes to eat"],
        "entity_types.tsv": [f"{animal}\t{'big' if number % 3 else 'small'}" for number, animal in enumerate(animals)],
        "valid_negatives.tsv": ["animal_0\teats\tanimal_1", "animal_0\teats\tanimal_1", "animal_5\tfears\tunicorn"],
        "test_negatives.tsv": ["animal_2\tfears\tanimal_4", rows[0]],
    }
    for name, lines in tables.items():
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
