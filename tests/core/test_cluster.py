from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from kgneg.core import cluster
from kgneg.core.cluster import Clustering, kmeans, nearest_centroids, principal_components
from kgneg.core.errors import InvalidInputError, MissingExtraError
from kgneg.core.typing import FloatTensor


def blobs(number: int = 600, dim: int = 8, centres: int = 12, spread: float = 1.0, seed: int = 0) -> FloatTensor:
    rng = np.random.default_rng(seed)
    middle = rng.normal(scale=3, size=(centres, dim))
    rows = middle[rng.integers(centres, size=number)] + rng.normal(scale=spread, size=(number, dim))
    return torch.from_numpy(rows).float()


def assert_consistent(vectors: FloatTensor, result: Clustering, k: int) -> None:
    """Labels are the nearest centroids, the inertia is the sum of squared distances, no cluster is empty."""
    rows, centroids = vectors.double().numpy(), result.centroids.double().numpy()
    squares = ((rows[:, None] - centroids[None]) ** 2).sum(-1)
    assert result.centroids.shape == (k, vectors.shape[1])
    assert result.labels.dtype == torch.int64
    chosen = squares[np.arange(len(rows)), result.labels.numpy()]
    assert np.allclose(chosen, squares.min(1), rtol=1e-4, atol=1e-3)
    assert result.inertia == pytest.approx(squares.min(1).sum(), rel=1e-4, abs=1e-3)
    assert len(result.labels.unique()) == k


@pytest.mark.parametrize(("k", "spread"), [(1, 1.0), (5, 1.0), (12, 1.0), (12, 3.0), (40, 2.0)])
def test_inertia_is_near_that_of_scikit_learn(k: int, spread: float) -> None:
    vectors = blobs(spread=spread)
    result = kmeans(vectors, k, restarts=10, iterations=300, seed=1)
    reference = KMeans(k, n_init=10, max_iter=300, random_state=0).fit(vectors.numpy())
    assert_consistent(vectors, result, k)
    assert result.inertia <= 1.03 * reference.inertia_
    assert reference.inertia_ <= 1.03 * result.inertia


def test_converged_centroids_are_means() -> None:
    vectors = blobs(spread=0.3)
    result = kmeans(vectors, 12, restarts=5, iterations=300, tolerance=0.0)
    means = torch.stack([vectors[result.labels == label].mean(0) for label in range(12)])
    assert torch.allclose(means, result.centroids, atol=1e-4)


@pytest.mark.parametrize("start", ["spread", "random"])
def test_restarts_keep_the_best(start: str) -> None:
    vectors = blobs(spread=2.0)
    results = [kmeans(vectors, 20, restarts=r, iterations=3, start=start, seed=3).inertia for r in range(1, 9)]
    assert results == sorted(results, reverse=True)
    assert results[-1] < results[0]


@pytest.mark.parametrize("start", ["spread", "random"])
@pytest.mark.parametrize("backend", ["torch", "faiss"])
def test_seeds(start: str, backend: str) -> None:
    if backend == "faiss":
        pytest.importorskip("faiss")
    vectors = blobs(spread=2.0)
    before = torch.get_rng_state()
    first, again, other = (kmeans(vectors, 25, start=start, iterations=2, seed=s, backend=backend) for s in (4, 4, 5))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.labels, again.labels)
    assert torch.equal(first.centroids, again.centroids)
    assert first.inertia == again.inertia
    assert not torch.equal(first.centroids, other.centroids)


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = blobs()
    whole = kmeans(vectors, 9, seed=2)
    monkeypatch.setattr(cluster, "_BLOCK", 9 * 37)
    blocks = kmeans(vectors, 9, seed=2)
    assert torch.equal(whole.labels, blocks.labels)


def test_empty_clusters_get_the_worst_served_row() -> None:
    """Two starting centroids lie far off, so that nothing is theirs at first."""
    vectors = torch.cat([torch.zeros(20, 2), torch.full((20, 2), 4.0), torch.tensor([[30.0, 0.0], [0.0, 40.0]])])
    vectors += 0.01 * torch.randn(vectors.shape, generator=torch.Generator().manual_seed(0))
    start = torch.tensor([[2.0, 2.0], [900.0, 900.0], [-900.0, 900.0], [900.0, -900.0]])
    result = cluster._lloyd(vectors, start, 50, 1e-4)
    assert_consistent(vectors, result, 4)
    groups = [set((result.labels == label).nonzero().squeeze(-1).tolist()) for label in range(4)]
    assert sorted(groups, key=min) == [set(range(20)), set(range(20, 40)), {40}, {41}]


@pytest.mark.parametrize("seed", range(5))
def test_every_distinct_row_its_own_cluster(seed: int) -> None:
    vectors = torch.cat([torch.eye(6)] * 5)
    result = kmeans(vectors, 6, start="spread", seed=seed)
    assert result.inertia == pytest.approx(0, abs=1e-5)
    assert len(result.labels[:6].unique()) == 6
    assert torch.equal(result.labels, result.labels[:6].repeat(5))


@pytest.mark.parametrize("k", [4, 20])
def test_faiss_agrees_in_inertia(k: int) -> None:
    pytest.importorskip("faiss")
    vectors = blobs(1500, spread=2.5)
    fast = kmeans(vectors, k, backend="faiss", restarts=5, iterations=100)
    plain = kmeans(vectors, k, backend="torch", restarts=5, iterations=100)
    assert_consistent(vectors, fast, k)
    assert fast.inertia == pytest.approx(plain.inertia, rel=0.03)


def test_automatic_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def remember(*, required: bool = False) -> None:
        asked.append(required)

    monkeypatch.setattr(cluster, "faiss_or_none", remember)
    monkeypatch.setattr(cluster, "_FAISS_FROM", 100)
    vectors = blobs(120)
    kmeans(vectors, 64)  # k-means++ up to 64 clusters, in torch
    kmeans(vectors, 5, start="spread")
    kmeans(vectors[:99], 65)
    assert not asked
    result = kmeans(vectors, 65)
    assert asked == [False]
    assert_consistent(vectors, result, 65)


def test_faiss_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(MissingExtraError, match=r"kgneg\[faiss\]"):
        kmeans(blobs(), 3, backend="faiss")


@pytest.mark.parametrize(
    ("vectors", "k", "options", "message"),
    [
        (torch.eye(4), 5, {}, "5 clusters need at least 5 distinct vectors, got 4"),
        (torch.eye(3).repeat(5, 1), 4, {}, "4 clusters need at least 4 distinct vectors, got 3"),
        (torch.eye(4), 0, {}, "k must be at least 1"),
        (torch.eye(4), 2, {"restarts": 0}, "restarts must be at least 1"),
        (torch.eye(4), 2, {"iterations": 0}, "iterations must be at least 1"),
        (torch.eye(4), 2, {"start": "best"}, "start must be one of auto, spread, random; got 'best'"),
        (torch.eye(4), 2, {"backend": "cuda"}, "backend must be one of auto, torch, faiss; got 'cuda'"),
        (torch.tensor([[1.0, 2.0], [float("nan"), 1.0]]), 1, {}, "first in row 1"),
        (torch.ones(3), 1, {}, r"shape \(n, d\)"),
    ],
)
def test_refusals(vectors: FloatTensor, k: int, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        kmeans(vectors, k, **options)


@pytest.mark.parametrize(("number", "dim"), [(50, 8), (8, 50), (30, 30)])
@pytest.mark.parametrize("components", [1, 2, 7])
def test_principal_components(number: int, dim: int, components: int) -> None:
    vectors = torch.from_numpy(np.random.default_rng(0).normal(size=(number, dim)) * np.arange(1, dim + 1) + 5)
    ours = principal_components(vectors, components)
    assert ours.shape == (number, components)
    assert ours.dtype == torch.float32
    reference = PCA(components, svd_solver="full").fit_transform(vectors.numpy())
    signs = np.sign((ours.numpy() * reference).sum(0))
    scale = np.abs(reference).max()
    assert np.allclose(ours.numpy(), reference * signs, atol=1e-5 * scale)


@pytest.mark.parametrize("seed", range(6))
def test_the_sign_of_components_is_fixed(seed: int) -> None:
    """The largest coefficient of each axis is positive, so that equal vectors give equal clusters everywhere."""
    vectors = blobs(seed=seed)
    projected = principal_components(vectors, 3).double()
    centred = (vectors - vectors.mean(0)).double()
    axes = torch.linalg.lstsq(centred, projected).solution
    assert (axes.gather(0, axes.abs().argmax(0, keepdim=True)) > 0).all()
    assert torch.allclose(projected, principal_components(vectors.flip(0), 3).flip(0).double(), atol=1e-4)


@pytest.mark.parametrize(
    ("vectors", "dim", "message"),
    [
        (torch.eye(4)[:3], 4, r"dim must be at most 3 for vectors of shape \(3, 4\)"),
        (torch.eye(4), 0, "dim must be at least 1"),
        (torch.full((3, 2), float("nan")), 1, "first in row 0"),
    ],
)
def test_component_refusals(vectors: FloatTensor, dim: int, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        principal_components(vectors, dim)


def test_nearest_centroids_are_found_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, centroids = blobs(200), blobs(17, seed=4)
    distances = torch.cdist(vectors.double(), centroids.double()).square()
    for block in (1, 50, 1 << 22):
        monkeypatch.setattr(cluster, "_BLOCK", block)
        labels, squares = nearest_centroids(vectors, centroids)
        assert torch.equal(labels, distances.argmin(dim=1))
        assert torch.allclose(squares.double(), distances.amin(dim=1), rtol=1e-4, atol=1e-3)
    assert [len(part) for part in nearest_centroids(vectors[:0], centroids)] == [0, 0]


def test_distances_to_themselves_are_not_negative() -> None:
    vectors = 100 + blobs(300)
    assert float(nearest_centroids(vectors, vectors)[1].min()) >= 0
