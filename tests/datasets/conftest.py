"""Folders of benchmark graphs, where they are at hand."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kgneg.datasets import KnowledgeGraph

_REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def benchmark_folder() -> Callable[[str], Path]:
    """Find the folder of a benchmark, or skip the test."""
    root = Path(os.environ.get("KGNEG_DATA", _REPOSITORY.parent / "shared" / "data"))

    def find(name: str) -> Path:
        folder = root / "kg" / name
        if not folder.is_dir():
            pytest.skip(f"no folder kg/{name} in the data root; set KGNEG_DATA to the folder that has it")
        return folder

    return find


@pytest.fixture(scope="session")
def commonsense_folder() -> Path:
    """The folder of ATOMIC, ConceptNet and what goes with them, or skip the test."""
    root = Path(os.environ.get("KGNEG_DATA", _REPOSITORY.parent / "shared" / "data"))
    if not (root / "commonsense").is_dir():
        pytest.skip("no folder commonsense in the data root; set KGNEG_DATA to the folder that has it")
    return root / "commonsense"


@pytest.fixture
def zoo() -> KnowledgeGraph:
    """A graph in which everything occurs once."""
    return KnowledgeGraph.from_labelled(
        "zoo",
        [("zebra", "fears", "lion"), ("lion", "eats", "zebra"), ("red_deer", "eats", "grass")],
        valid=[("lion", "eats", "red_deer"), ("lion", "eats", "unicorn")],
        test=[("red_deer", "fears", "lion"), ("zebra", "rides", "lion"), ("lion", "eats", "zebra")],
        texts={"lion": "a big cat", "zebra": "a striped horse", "unicorn": "a horned horse", "grass": "  "},
        types=[("zebra", "prey"), ("lion", "predator"), ("zebra", "horse"), ("unicorn", "horse")],
        valid_negatives=[("grass", "eats", "lion"), ("unicorn", "eats", "lion")],
        test_negatives=[("grass", "fears", "lion"), ("grass", "fears", "lion")],
        relation_texts={"eats": "feeds on"},
    )
