"""Folders of recommendation data, where they are at hand, and a small table."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from kgneg.recsys.interactions import Interactions

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


@pytest.fixture(scope="session")
def movielens(recsys_folder: Callable[[str], Path]) -> Interactions:
    return labelled(recsys_folder("ml-100k") / "ml-100k.inter.gz")


@pytest.fixture(scope="session")
def lastfm(recsys_folder: Callable[[str], Path]) -> Interactions:
    return labelled(recsys_folder("lastfm-kg") / "user_artists.dat.gz")


def labelled(path: Path) -> Interactions:
    """Read the first two columns of a table with a header."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [line.split("\t")[:2] for line in file.read().splitlines()[1:]]
    tables = [sorted({row[column] for row in rows}) for column in (0, 1)]
    ids = [{label: number for number, label in enumerate(labels)} for labels in tables]
    return Interactions(
        torch.tensor([ids[0][row[0]] for row in rows]),
        torch.tensor([ids[1][row[1]] for row in rows]),
        num_users=len(tables[0]),
        num_items=len(tables[1]),
        user_labels=tables[0],
        item_labels=tables[1],
    )


@pytest.fixture
def likes(tmp_path: Path) -> Path:
    """A table of users, items and ratings: users like the items of one of three groups, and a few others."""
    draws = torch.rand(40, 24, generator=torch.Generator().manual_seed(0))
    wanted = torch.arange(40)[:, None] % 3 == torch.arange(24) % 3
    pairs = (draws < torch.where(wanted, 0.75, 0.1)).nonzero().tolist()
    rows = [f"user_{user:02},item_{item:02},{3 + (user + item) % 3}" for user, item in pairs]
    path = tmp_path / "likes.csv"
    path.write_text("\n".join(["user,item,rating", *rows]) + "\n", encoding="utf-8")
    return path
