"""k-means in torch, and the projections that go before it."""

from __future__ import annotations

from typing import NamedTuple

import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.knn import validate_vectors
from kgneg.core.optional import faiss_or_none
from kgneg.core.seeding import mix_seeds
from kgneg.core.typing import FloatTensor, LongTensor
from kgneg.core.validation import choose, validate_count

__all__ = ["Clustering", "kmeans", "nearest_centroids", "principal_components"]

_FAISS_FROM = 20_000
_BLOCK = 1 << 22  # distances held at once


class Clustering(NamedTuple):
    """The result of :func:`kmeans`."""

    #: shape: ``(n,)``, the cluster of each row
    labels: LongTensor
    #: shape: ``(k, d)``
    centroids: FloatTensor
    #: the sum of squared distances to the centroids
    inertia: float


def principal_components(vectors: FloatTensor, dim: int) -> FloatTensor:
    """Project centred vectors on their leading principal components; the sign of each is fixed.

    :param vectors: shape: ``(n, d)``
    :param dim: the number of components, at most ``min(n, d)``
    :returns: shape: ``(n, dim)``
    :raises InvalidInputError: if there are not so many components

    >>> principal_components(torch.tensor([[0.0, 1.0], [0.0, -1.0]]), 1).abs().squeeze(-1).tolist()
    [1.0, 1.0]
    """
    vectors = validate_vectors(vectors).double()
    if validate_count("dim", dim) > min(vectors.shape):
        raise InvalidInputError(f"dim must be at most {min(vectors.shape)} for vectors of shape {tuple(vectors.shape)}")
    centred = vectors - vectors.mean(dim=0)
    _, axes = torch.linalg.eigh(centred.T @ centred)
    axes = axes[:, -dim:].flip(-1)
    largest = axes.abs().argmax(dim=0, keepdim=True)
    projected: FloatTensor = centred @ (axes * axes.gather(0, largest).sign())
    return projected.float()


def nearest_centroids(vectors: FloatTensor, centroids: FloatTensor) -> tuple[LongTensor, FloatTensor]:
    """Find the nearest centroid of each row by Euclidean distance, in blocks of bounded size.

    :param vectors: shape: ``(n, d)``; there may be none
    :param centroids: shape: ``(k, d)``, at least one
    :returns: the rows of the nearest centroids and the squared distances to them, each of shape ``(n,)``

    >>> labels, squares = nearest_centroids(torch.tensor([[1.0], [4.0]]), torch.tensor([[0.0], [5.0]]))
    >>> labels.tolist(), squares.tolist()
    ([0, 1], [1.0, 1.0])
    """
    half = centroids.square().sum(dim=-1) / 2
    step = max(_BLOCK // len(centroids), 1)
    best = [torch.addmm(half, block, centroids.T, alpha=-1).min(dim=-1) for block in torch.split(vectors, step)]
    labels = torch.cat([part.indices for part in best])
    distance = 2 * torch.cat([part.values for part in best]) + vectors.square().sum(dim=-1)
    return labels, distance.clamp_(min=0)


def _spread_start(vectors: FloatTensor, k: int, generator: torch.Generator) -> FloatTensor:
    """Choose starting centroids by k-means++ (Arthur and Vassilvitskii, SODA 2007)."""
    chosen = [int(torch.randint(len(vectors), (1,), generator=generator))]
    distance = (vectors - vectors[chosen[0]]).square().sum(dim=-1)
    for _ in range(k - 1):
        total = distance.double().cumsum(0)
        draw = torch.rand(1, generator=generator, dtype=torch.float64) * total[-1]
        chosen.append(min(int(torch.searchsorted(total, draw, right=True)), len(vectors) - 1))
        distance = torch.minimum(distance, (vectors - vectors[chosen[-1]]).square().sum(dim=-1))
    return vectors[chosen]


def _lloyd(vectors: FloatTensor, centroids: FloatTensor, iterations: int, tolerance: float) -> Clustering:
    scale = tolerance * float(vectors.var(dim=0, correction=0).mean())
    for _ in range(iterations):
        labels, distance = nearest_centroids(vectors, centroids)
        sizes = torch.bincount(labels, minlength=len(centroids))
        sums = torch.zeros_like(centroids).index_add_(0, labels, vectors)
        moved = sums / sizes.clamp(min=1)[:, None]
        empty = (sizes == 0).nonzero().squeeze(-1)
        if len(empty):  # give each the row that is worst served
            moved[empty] = vectors[distance.topk(len(empty)).indices]
        shift = float((moved - centroids).square().sum())
        centroids = moved
        if shift <= scale and not len(empty):
            break
    labels, distance = nearest_centroids(vectors, centroids)
    return Clustering(labels, centroids, float(distance.double().sum()))


def kmeans(
    vectors: FloatTensor,
    k: int,
    *,
    restarts: int = 1,
    iterations: int = 25,
    tolerance: float = 1e-4,
    start: str = "auto",
    seed: int = 0,
    backend: str = "auto",
) -> Clustering:
    """Cluster vectors by Euclidean distance.

    :param vectors: shape: ``(n, d)``
    :param k: the number of clusters, at most the number of distinct rows
    :param restarts: how often to start anew; the result with the smallest inertia is kept
    :param iterations: the largest number of Lloyd steps
    :param tolerance: stop when the centroids move less than this share of the variance
    :param start: ``"spread"`` is k-means++, ``"random"`` takes random rows, ``"auto"`` spreads up to 64 clusters
    :param seed: the seed of the private generator
    :param backend: ``"torch"``, ``"faiss"`` (CPU, random start), or ``"auto"``: faiss when it is installed, the start
        is random and there are at least 20,000 rows
    :returns: labels, centroids and inertia
    :raises InvalidInputError: if ``k`` is larger than the number of distinct rows, or vectors are malformed

    >>> rows = torch.tensor([[0.0, 0.0], [0.1, 0.0], [5.0, 5.0], [5.1, 5.0]])
    >>> labels = kmeans(rows, 2).labels.tolist()
    >>> labels[0] == labels[1] != labels[2] == labels[3]
    True
    """
    vectors = validate_vectors(vectors)
    for name, value in (("k", k), ("restarts", restarts), ("iterations", iterations)):
        validate_count(name, value)
    choose("backend", backend, ("auto", "torch", "faiss"))
    if choose("start", start, ("auto", "spread", "random")) == "auto":
        start = "spread" if k <= 64 else "random"
    if k > len(vectors) or k > (distinct := len(torch.unique(vectors, dim=0))):
        found = len(vectors) if k > len(vectors) else distinct
        raise InvalidInputError(f"{k} clusters need at least {k} distinct vectors, got {found}: ask for fewer clusters")
    if backend == "faiss" or (backend == "auto" and start == "random" and len(vectors) >= _FAISS_FROM):
        faiss = faiss_or_none(required=backend == "faiss")
        if faiss is not None and vectors.device.type == "cpu":
            return _faiss(faiss, vectors, k, restarts, iterations, seed)
    best: Clustering | None = None
    for restart in range(restarts):
        generator = torch.Generator().manual_seed(mix_seeds(seed, restart))
        if start == "spread":
            centroids = _spread_start(vectors.cpu(), k, generator).to(vectors.device)
        else:
            centroids = vectors[torch.randperm(len(vectors), generator=generator)[:k].to(vectors.device)]
        result = _lloyd(vectors, centroids, iterations, tolerance)
        if best is None or result.inertia < best.inertia:
            best = result
    if best is None:
        raise InvalidInputError("no restart was made")
    return best


def _faiss(faiss: object, vectors: FloatTensor, k: int, restarts: int, iterations: int, seed: int) -> Clustering:
    options = {"niter": iterations, "nredo": restarts, "seed": mix_seeds(seed) % 2**31, "min_points_per_centroid": 1}
    engine = faiss.Kmeans(vectors.shape[1], k, max_points_per_centroid=10**9, **options)  # type: ignore[attr-defined]
    engine.train(vectors.numpy())
    centroids = torch.from_numpy(engine.centroids)
    labels, distance = nearest_centroids(vectors, centroids)
    return Clustering(labels, centroids, float(distance.double().sum()))
