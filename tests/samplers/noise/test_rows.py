from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.samplers.noise.rows import NoiseRows

LABELS = ["b", "none", "a", "none", "b", "none"]
VECTORS = [[float(row), 1.0] for row in range(6)]


def check(embeddings: Any = VECTORS, labels: Any = LABELS, **options: Any) -> NoiseRows:
    return NoiseRows.check(embeddings, labels, **{"negative_label": "none", "least_positives": 1, **options})


def test_names_become_positions() -> None:
    rows = check(groups=["x", "y", "x", "z", "y", "x"], types={"kind": [5, 6, 5, 5, 7, 6]}, ids=list("uvwxyz"))
    assert rows.classes == ("none", "a", "b")
    assert rows.codes.tolist() == [2, 0, 1, 0, 2, 0]
    assert rows.positive.tolist() == [True, False, True, False, True, False]
    assert rows.groups.tolist() == [0, 1, 0, 2, 1, 0]
    assert [column.tolist() for column in rows.cells] == [[0, 1, 0, 0, 2, 1]]
    assert rows.ids == tuple("uvwxyz")
    assert rows.clean.tolist() == [-1] * 6
    assert torch.equal(rows.trusted(), rows.codes)
    assert len(rows) == 6
    assert check().groups.tolist() == list(range(6)) and check().ids == tuple(range(6))


@pytest.mark.parametrize(
    ("labels", "negative"),
    [
        (["p", "n", "p", "n", "n", "n"], "n"),
        ([1, 0, 1, 0, 0, 0], 0),
        ([1.0, 0.0, 1.0, 0.0, 0.0, 0.0], 0),
        ([True, False, True, False, False, False], False),
        (np.array([1, 0, 1, 0, 0, 0]), 0),
        (np.array(["p", "n", "p", "n", "n", "n"]), "n"),
        (np.array([1, 0, 1, 0, 0, 0], dtype=np.uint8), np.int64(0)),
        (torch.tensor([1, 0, 1, 0, 0, 0]), 0),
        (torch.tensor([1, 0, 1, 0, 0, 0]).bool(), False),
        ([torch.tensor(value) for value in (1, 0, 1, 0, 0, 0)], 0),
        (pd.Series(["p", "n", "p", "n", "n", "n"], index=[5, 4, 3, 2, 1, 0]), "n"),
        (pd.Series(["p", "n", "p", "n", "n", "n"], dtype="category"), "n"),
        ([("t", 1), "n", ("t", 1), "n", "n", "n"], "n"),
    ],
)
def test_labels_of_any_kind(labels: Any, negative: Any) -> None:
    rows = check(labels=labels, negative_label=negative)
    assert rows.codes.tolist() == [1, 0, 1, 0, 0, 0]
    assert rows.classes[0] == negative


def test_labels_of_mixed_kinds() -> None:
    rows = check(labels=["1", 1, "none", ("x", 2), "1", "none"])
    assert rows.classes == ("none", 1, "1", ("x", 2))
    assert rows.codes.tolist() == [2, 1, 0, 3, 2, 0]


ARRAY = np.array(VECTORS, dtype=np.float32)


def read_only() -> np.ndarray:
    array = ARRAY.copy()
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "embeddings",
    [
        VECTORS,
        ARRAY,
        ARRAY.astype(np.float64),
        ARRAY.astype(np.float16),
        ARRAY.astype(">f4"),
        ARRAY.astype(int),
        ARRAY.astype(object),
        ARRAY[::-1][::-1],
        np.asfortranarray(ARRAY),
        read_only(),
        pd.DataFrame(ARRAY),
        torch.tensor(VECTORS),
        torch.tensor(VECTORS).double(),
        torch.tensor(VECTORS).half(),
        torch.tensor(VECTORS).bfloat16(),
        torch.tensor(VECTORS).T.contiguous().T,
        torch.tensor(VECTORS, requires_grad=True),
    ],
    ids=lambda value: type(value).__name__ + str(getattr(value, "dtype", "")),
)
def test_vectors_of_any_kind(embeddings: Any) -> None:
    rows = check(embeddings)
    assert rows.vectors.dtype == torch.float32 and not rows.vectors.requires_grad
    assert torch.equal(rows.vectors, torch.tensor(VECTORS))


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e-12, 1e12, 1e30, 1e300])
def test_size_of_vectors(scale: float) -> None:
    """Directions are what counts, and squares must exist."""
    vectors = check(np.array(VECTORS) * scale).vectors
    assert vectors.isfinite().all()
    assert torch.allclose(vectors / vectors.max(), torch.tensor(VECTORS) / 5)
    assert not check(torch.zeros(6, 2)).vectors.any()


def test_clean_labels() -> None:
    mask, labels = [True, True, False, True, False, False], ["b", "new", "x", "none", None, None]
    rows = check(clean_mask=mask, clean_labels=labels)
    assert rows.classes == ("none", "a", "b", "new")  # x is not read
    assert rows.clean.tolist() == [2, 3, -1, 0, -1, -1]
    assert rows.trusted().tolist() == [2, 3, 1, 0, 2, 0]
    for kind in (np.array, torch.tensor, pd.Series):
        assert torch.equal(check(clean_mask=kind(mask), clean_labels=labels).clean, rows.clean)
    assert torch.equal(check(clean_mask=[1, 1, 0, 1, 0, 0], clean_labels=labels).clean, rows.clean)


@pytest.mark.parametrize("gap", [None, float("nan"), np.nan, pd.NA, pd.NaT])
def test_missing_clean_labels_are_missing(gap: Any) -> None:
    labels = ["b", gap, gap, "a", gap, gap]
    assert check(clean_labels=labels).clean.tolist() == [2, -1, -1, 1, -1, -1]
    assert check(clean_labels=pd.Series(labels)).clean.tolist() == [2, -1, -1, 1, -1, -1]
    with pytest.raises(InvalidInputError, match="row 1 is marked as clean but has no clean label"):
        check(clean_labels=labels, clean_mask=[True, True, False, False, False, False])


@pytest.mark.parametrize("gap", [None, float("nan"), pd.NA])
def test_missing_values(gap: Any) -> None:
    """Without a category is a category of its own; without a label or a group is nothing to work with."""
    column = ["x", gap, "y", gap, "x", "y"]
    assert check(types=column).cells[0].tolist() == [0, 1, 2, 1, 0, 2]
    with pytest.raises(InvalidInputError, match="groups must hold a value in every row, and row 1 has none"):
        check(groups=column)
    with pytest.raises(InvalidInputError, match="labels must hold a value in every row, and row 2 has none"):
        check(labels=["a", "none", gap, "none", gap, "none"])
    assert check(types=np.array([1.0, np.nan, np.nan, 2.0, 1.0, np.nan])).cells[0].tolist() == [0, 1, 1, 2, 0, 1]


@pytest.mark.parametrize("column", ["labels", "groups", "types", "ids", "clean_labels", "clean_mask"])
@pytest.mark.parametrize("number", [5, 7])
def test_lengths(column: str, number: int) -> None:
    options = {"clean_labels": LABELS} | {column: (LABELS * 2)[:number]}
    with pytest.raises(InvalidInputError, match=f"there are 6 vectors but {number} {column}: give one per row"):
        check(**options)
    with pytest.raises(InvalidInputError, match=f"there are 6 vectors but {number} kind"):
        check(types={"other": LABELS, "kind": (LABELS * 2)[:number]})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"embeddings": [[0.0, 1.0]] * 3 + [[np.nan, 0.0]] + [[np.inf, 0.0]] * 2}, "3 of 6 vectors .* in row 3"),
        ({"embeddings": torch.full((6, 2), float("nan"), dtype=torch.float64)}, "in row 0"),
        ({"embeddings": torch.ones(6)}, r"shape \(n, d\)"),
        ({"embeddings": torch.tensor(1.0)}, r"shape \(n, d\)"),
        ({"embeddings": torch.ones(6, 0)}, r"shape \(n, d\)"),
        ({"embeddings": None}, r"shape \(n, d\)|matrix of numbers"),
        ({"embeddings": [["a", "b"]] * 6}, "matrix of numbers"),
        ({"embeddings": [[1.0]] * 5 + [[1.0, 2.0]]}, "matrix of numbers"),
        ({"embeddings": torch.ones(6, 2, dtype=torch.complex64)}, "real numbers"),
        ({"ids": ["a", "b", "c", "b", "c", "d"]}, "'b' is the id of rows 1 and 3"),
        ({"ids": {1, 2, 3, 4, 5, 6}}, "one value per row, got set"),
        ({"ids": dict.fromkeys(range(6))}, "one value per row, got dict"),
        ({"labels": "nnnpnn"}, "one value per row, got str"),
        ({"labels": iter(LABELS)}, "one value per row"),
        ({"labels": np.array(LABELS)[:, None]}, r"got ndarray of shape \(6, 1\)"),
        ({"labels": torch.tensor(1)}, r"got Tensor of shape \(\)"),
        ({"labels": [["a"]] * 6}, r"names or numbers, got \['a'\] in row 0"),
        ({"labels": ["none"] * 6}, "all 6 rows have the label 'none'"),
        ({"labels": ["a"] * 6, "negative_label": "a"}, "all 6 rows have the label 'a'"),
        ({"labels": ["a"] * 6}, "no row has the label 'none'; there are 1 labels: 'a'"),
        ({"negative_label": ["none"]}, r"no row has the label \['none'\]"),
        ({"negative_label": None}, "no row has the label None"),
        ({"least_positives": 4}, "there are 3 rows with another label than 'none', but k=4"),
        ({"types": pd.DataFrame({"kind": LABELS})}, r"types must .* got DataFrame of shape \(6, 1\)"),
        ({"clean_mask": [True] * 6}, "give clean_labels too"),
        ({"clean_labels": LABELS, "clean_mask": ["False"] * 6}, "got 'False' in row 0"),
        ({"clean_labels": LABELS, "clean_mask": [0, 1, 2, 3, 4, 5]}, "got 2 in row 2"),
        ({"clean_labels": LABELS, "clean_mask": np.ones((6, 1))}, r"shape \(6, 1\)"),
    ],
)
def test_refusals(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        check(**options)
