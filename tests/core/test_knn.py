from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from kgneg.core import knn as module
from kgneg.core.errors import InvalidInputError, MissingExtraError
from kgneg.core.knn import knn, validate_vectors
from kgneg.core.typing import FloatTensor

BACKENDS = ["torch", "faiss"]


def random_vectors(number: int = 83, dim: int = 6, seed: int = 0) -> FloatTensor:
    return torch.randn(number, dim, generator=torch.Generator().manual_seed(seed)) + 0.2


def with_duplicates() -> FloatTensor:
    """Groups of equal rows, rows of equal direction, opposite rows, and an empty one."""
    distinct = random_vectors(12)
    parts = [distinct, distinct[:7], distinct[:4].repeat(3, 1), 3 * distinct[2:5], -distinct[:2], torch.zeros(1, 6)]
    rows = torch.cat(parts)
    return rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(1))]


def brute_force(vectors: FloatTensor) -> np.ndarray:
    """Cosines with the row itself left out."""
    rows = vectors.double().numpy()
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = rows / np.where(lengths == 0, 1, lengths)
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -np.inf)
    return cosines


def faiss_is_used(backend: str) -> None:
    if backend == "faiss":
        pytest.importorskip("faiss")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("k", "first"), [(1, 0), (5, 0), (5, 3), (1, 81), (82, 0), (40, 42)])
def test_neighbours(backend: str, k: int, first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    faiss_is_used(backend)
    monkeypatch.setattr(module, "_BLOCK", 10)
    vectors = random_vectors()
    ids, similarity = knn(vectors, k, first=first, backend=backend)
    cosines = brute_force(vectors)
    expected = np.argsort(-cosines, axis=1)[:, first : first + k]
    assert np.array_equal(ids.numpy(), expected)
    assert np.allclose(similarity.numpy(), np.take_along_axis(cosines, expected, axis=1), atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("k", "first"), [(1, 0), (3, 0), (6, 2), (20, 0), (36, 0), (2, 34)])
def test_duplicates_and_ties(backend: str, k: int, first: int) -> None:
    """Which of equals is taken does not matter; their similarities do, and the row itself never counts."""
    faiss_is_used(backend)
    vectors = with_duplicates()
    cosines = brute_force(vectors)
    ids, similarity = knn(vectors, k, first=first, backend=backend)
    assert (ids != torch.arange(len(vectors))[:, None]).all()
    assert all(len(set(row)) == k for row in ids.tolist())
    expected = -np.sort(-cosines, axis=1)[:, first : first + k]
    assert np.allclose(similarity.numpy(), expected, atol=1e-6)
    assert np.allclose(np.take_along_axis(cosines, ids.numpy(), axis=1), expected, atol=1e-6)
    assert ((similarity >= -1) & (similarity <= 1)).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_all_rows_equal(backend: str) -> None:
    faiss_is_used(backend)
    ids, similarity = knn(torch.ones(9, 4), 3, backend=backend)
    assert (ids != torch.arange(9)[:, None]).all()
    assert all(len(set(row)) == 3 for row in ids.tolist())
    assert torch.allclose(similarity, torch.ones(9, 3), atol=1e-6)


def test_backends_agree() -> None:
    pytest.importorskip("faiss")
    vectors = random_vectors(700, 16, seed=4)
    plain, fast = knn(vectors, 12, first=2, backend="torch"), knn(vectors, 12, first=2, backend="faiss")
    assert torch.allclose(plain[1], fast[1], atol=1e-5)
    assert (plain[0] == fast[0]).double().mean() > 0.999


def test_automatic_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def remember(*, required: bool = False) -> None:
        asked.append(required)

    monkeypatch.setattr(module, "faiss_or_none", remember)
    monkeypatch.setattr(module, "_FAISS_FROM", 50)
    plain = knn(random_vectors(49), 2)
    assert not asked
    knn(random_vectors(50), 2)  # without faiss it goes on in torch
    assert asked == [False]
    assert torch.equal(plain[0], knn(random_vectors(49), 2, backend="torch")[0])


def test_faiss_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(MissingExtraError, match=r"kgneg\[faiss\]"):
        knn(random_vectors(), 2, backend="faiss")


@pytest.mark.parametrize(
    ("k", "options", "message"),
    [
        (0, {}, "k must be at least 1, got 0"),
        (1.0, {}, "k must be an integer"),
        (2, {"first": -1}, "first must be at least 0, got -1"),
        (83, {}, "83 neighbours after the first 0 need at least 84 vectors, got 83"),
        (80, {"first": 3}, "80 neighbours after the first 3 need at least 84 vectors, got 83"),
        (2, {"backend": "annoy"}, "backend must be one of auto, torch, faiss; got 'annoy'"),
    ],
)
def test_refusals(k: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        knn(random_vectors(), k, **options)


def spoilt(*cells: tuple[int, int, float]) -> FloatTensor:
    vectors = random_vectors(20)
    for row, column, value in cells:
        vectors[row, column] = value
    return vectors


@pytest.mark.parametrize(
    ("vectors", "number", "message"),
    [
        (spoilt((7, 2, float("nan")), (12, 0, float("nan"))), None, "2 of 20 vectors .* first in row 7"),
        (spoilt((3, 2, float("-inf"))), None, "1 of 20 vectors .* first in row 3"),
        (torch.ones(4), None, r"shape \(n, d\) with d > 0, got \(4,\)"),
        (torch.ones(4, 0), None, r"got \(4, 0\)"),
        ([[1.0]], None, "got list"),
        (torch.ones(4, 2), 5, "4 vectors for 5 entities"),
    ],
)
def test_malformed_vectors(vectors: Any, number: int | None, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        validate_vectors(vectors, number)


def test_other_types_become_float32() -> None:
    for dtype in (torch.float64, torch.float16, torch.int64):
        assert validate_vectors(torch.ones(3, 2, dtype=dtype), 3).dtype == torch.float32
