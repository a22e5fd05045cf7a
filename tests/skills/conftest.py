"""A small taxonomy of skills."""

from __future__ import annotations

from pathlib import Path

import pytest

from kgneg.datasets import Taxonomy
from kgneg.skills import ConceptSet, Examples

LABELS = {
    "weld": "weld metal", "cut": "cut metal", "bend": "bend metal", "soup": "cook soup", "bread": "bake bread",
    "staff": "manage staff", "team": "manage team", "metal": "metal", "food": "hot oven", "people": "lead people",
}  # fmt: skip
LINKS = [
    ("weld", "metal"), ("cut", "metal"), ("bend", "metal"), ("soup", "food"), ("bread", "food"), ("staff", "people"),
    ("team", "people"),
]  # fmt: skip
DESCRIPTIONS = {"weld": "join pieces of steel", "bread": "make loaves"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KGNEG_HOME", str(tmp_path / "home"))


@pytest.fixture
def taxonomy() -> Taxonomy:
    kinds = {one: "group" if one in ("metal", "food", "people") else "skill" for one in LABELS}
    return Taxonomy.from_pairs(
        LINKS,
        labels=LABELS,
        alternatives={"soup": ["manage soup", "make loaves"], "team": ["lead the team"]},
        kinds=kinds,
        descriptions=DESCRIPTIONS,
        relations={"occupation": [("weld", "smith"), ("team", "smith"), ("bread", "baker")]},
    )


@pytest.fixture
def concepts(taxonomy: Taxonomy) -> ConceptSet:
    return ConceptSet.of(taxonomy, "skill")


@pytest.fixture
def examples(concepts: ConceptSet) -> Examples:
    number = {name: place for place, name in enumerate(concepts.names)}
    return Examples.of(
        [
            ("join pieces of steel", number["weld"]),
            ("pieces of steel", number["weld"]),
            ("make loaves", number["bread"]),
            ("hot oven and loaves", number["bread"]),
            ("lead people", number["team"]),
            ("the team", number["team"]),
            ("tiles of steel", number["cut"]),
        ]
    )
