"""Folders of recommendation data, where they are at hand."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def recsys_folder() -> Callable[[str], Path]:
    """Find the folder of a data set, or skip the test."""
    root = Path(os.environ.get("KGNEG_DATA", _REPOSITORY.parent / "shared" / "data"))

    def find(name: str) -> Path:
        folder = root / "recsys" / name
        if not folder.is_dir():
            pytest.skip(f"no folder recsys/{name} in the data root; set KGNEG_DATA to the folder that has it")
        return folder

    return find
