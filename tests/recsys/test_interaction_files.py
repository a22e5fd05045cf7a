from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kgneg.core.errors import InvalidInputError
from kgneg.core.storage import write_tensors
from kgneg.recsys import Interactions
from kgneg.recsys.interaction_files import from_tensors, to_tensors

USERS, ITEMS = torch.tensor([0, 0, 2, 0]), torch.tensor([1, 0, 1, 1])
TIMES, RATINGS = torch.tensor([1.5, 2, 3, 2**53]), torch.tensor([1.0, 2.5, 3.0, 4.0])
LABELS = {"user_labels": ["ann", "", "\u00e9ve \U0001f600"], "item_labels": ["x", "y, z"]}


def same(one: Interactions, other: Interactions) -> bool:
    counts = [pairs.multiplicity for pairs in (one, other)]
    equal = counts[0] is counts[1] or torch.equal(*counts)  # type: ignore[arg-type]
    return equal and one.report == other.report and one.fingerprint() == other.fingerprint()


@pytest.mark.parametrize("labels", [{}, LABELS])
@pytest.mark.parametrize("columns", [{}, {"times": TIMES}, {"times": TIMES, "ratings": RATINGS}])
def test_round_trip(labels: dict[str, Any], columns: dict[str, Any], tmp_path: Path) -> None:
    pairs = Interactions(USERS, ITEMS, num_users=3, num_items=2, **labels, **columns)
    pairs.save(tmp_path / "a.safetensors")
    assert same(Interactions.load(tmp_path / "a.safetensors"), pairs)
    few = pairs.at_least(users=2)
    few.save(tmp_path / "a.safetensors")
    assert same(Interactions.load(tmp_path / "a.safetensors"), few)
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), unique=True))
def test_any_labels(labels: list[str]) -> None:
    empty = torch.empty(0, dtype=torch.int64)
    pairs = Interactions(empty, empty, num_users=len(labels), num_items=0, user_labels=labels)
    assert from_tensors(to_tensors(pairs)).user_labels == tuple(labels)


def test_labels_that_are_no_text() -> None:
    pairs = Interactions(torch.tensor([0]), torch.tensor([0]), num_users=1, num_items=1, user_labels=["\ud800"])
    with pytest.raises(InvalidInputError, match="user_labels cannot be saved as UTF-8"):
        to_tensors(pairs)


def test_parquet(tmp_path: Path) -> None:
    pairs = Interactions(USERS, ITEMS, num_users=3, num_items=2, times=TIMES, ratings=RATINGS, **LABELS)  # type: ignore[arg-type]
    pairs.save(tmp_path / "a.parquet")
    frame = pd.read_parquet(tmp_path / "a.parquet")
    assert list(frame.columns) == ["user", "item", "rating", "time", "count"]
    assert frame["user"].tolist() == ["ann", "ann", LABELS["user_labels"][2]]
    assert frame["count"].tolist() == [1, 2, 1]
    back = Interactions.load(tmp_path / "a.parquet")
    assert back.user_labels == ("ann", LABELS["user_labels"][2])
    assert back.multiplicity is not None
    assert (back.multiplicity.tolist(), back.report.rows) == ([1, 2, 1], 4)
    back.save(tmp_path / "a.parquet")
    assert same(Interactions.load(tmp_path / "a.parquet"), back)
    plain = Interactions(torch.tensor([0, 1]), torch.tensor([3, 0]), num_users=2, num_items=4)
    plain.save(tmp_path / "b.parquet")
    assert Interactions.load(tmp_path / "b.parquet").item_labels == ("0", "3")


@pytest.mark.parametrize("name", ["a.safetensors", "a.parquet"])
def test_truncated_files_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    Interactions(USERS, ITEMS, num_users=3, num_items=2, **LABELS).save(path)  # type: ignore[arg-type]
    whole = path.read_bytes()
    for size in (0, 5, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(InvalidInputError, match=f"{name} is no complete"):
            Interactions.load(path)
    path.unlink()
    with pytest.raises(InvalidInputError, match=f"there is no file .*{name}"):
        Interactions.load(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    write_tensors(tmp_path / "a.safetensors", {"weight": torch.ones(2)}, {})
    with pytest.raises(InvalidInputError, match=r"no interactions .*got the tensors weight, without 'about'"):
        Interactions.load(tmp_path / "a.safetensors")
    tensors = to_tensors(Interactions(USERS, ITEMS, num_users=3, num_items=2, **LABELS))  # type: ignore[arg-type]
    newer = bytes(tensors["about"].tolist()).replace(b'"version": 1', b'"version": 9')
    write_tensors(tmp_path / "a.safetensors", tensors | {"about": torch.tensor(list(newer), dtype=torch.uint8)}, {})
    with pytest.raises(InvalidInputError, match="got version 9, expected 1"):
        Interactions.load(tmp_path / "a.safetensors")
    damaged = tensors | {"user_labels_text": torch.full_like(tensors["user_labels_text"], 255)}
    with pytest.raises(InvalidInputError, match="user_labels are damaged"):
        from_tensors(damaged)
    pd.DataFrame({"who": [1]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InvalidInputError, match="has the columns who, not user and item"):
        Interactions.load(tmp_path / "a.parquet")
    pd.DataFrame({"user": [1], "item": [2], "count": [1.5]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InvalidInputError, match="the column 'count' must have integers"):
        Interactions.load(tmp_path / "a.parquet")
    with pytest.raises(InvalidInputError, match=r"are saved as .safetensors or .parquet, got .*a.csv"):
        Interactions(USERS, ITEMS, num_users=3, num_items=2).save(tmp_path / "a.csv")


def test_an_error_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.parquet"
    pairs = Interactions(USERS, ITEMS, num_users=3, num_items=2)
    pairs.save(path)
    old = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr("pyarrow.parquet.write_table", fail)
    with pytest.raises(OSError, match="the disk is full"):
        pairs.save(path)
    assert path.read_bytes() == old
    assert len(list(tmp_path.iterdir())) == 1
