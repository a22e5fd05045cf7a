"""How LEMON turns entity vectors into pools of candidates."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from numbers import Real
from typing import Any, NamedTuple

import torch
from torch.nn.functional import normalize

from kgneg.core.candidates import CandidateIndex
from kgneg.core.cluster import kmeans, principal_components
from kgneg.core.errors import InvalidInputError
from kgneg.core.knn import knn, validate_vectors
from kgneg.core.masks import flat_nonzero
from kgneg.core.typing import FloatTensor, LongTensor
from kgneg.core.validation import choose, validate_count

__all__ = ["LemonPools", "LemonSettings", "build_lemon_pools"]

logger = logging.getLogger(__name__)

_BLOCK = 1 << 23  # similarities held at once
_MAX_MEMBERS = 1 << 28


@dataclass(frozen=True, kw_only=True)
class LemonSettings:
    """What LEMON's pools are made of. :meth:`paper` gives the published method.

    :param anchor: whose neighbourhood candidates come from: ``"replaced"``, the entity that goes, or ``"kept"``, the
        one that stays (as published; weaker, since it ignores what kind of entity is asked for)
    :param dim: the number of principal components to cluster in, two as published; ``None`` keeps all dimensions of
        unit vectors
    :param n_clusters: the number of clusters; no more are made than there are distinct vectors
    :param n_nearest: how many clusters nearest to the anchor make its pool
    :param rank_low: with ``rank_high``: how many of the nearest neighbours to leave out
    :param rank_high: draw from the nearest neighbours up to this rank instead of from clusters
    :param min_similarity: leave out candidates whose cosine with the anchor is lower, in ``[-1, 1]``
    :param max_similarity: leave out candidates whose cosine with the anchor is higher, in ``[-1, 1]``
    :param restarts: how often k-means starts anew
    :param iterations: the largest number of k-means steps
    :param seed: the seed of k-means
    :raises InvalidInputError: if a value is out of range or the bounds contradict each other

    >>> LemonSettings.paper().anchor
    'kept'
    """

    anchor: str = "replaced"
    dim: int | None = 2
    n_clusters: int = 15
    n_nearest: int = 3
    rank_low: int = 0
    rank_high: int | None = None
    min_similarity: float | None = None
    max_similarity: float | None = None
    restarts: int = 1
    iterations: int = 25
    seed: int = 0

    def __post_init__(self) -> None:
        choose("anchor", self.anchor, ("replaced", "kept"))
        for name in ("n_clusters", "n_nearest", "restarts", "iterations"):
            validate_count(name, getattr(self, name))
        if self.dim is not None:
            validate_count("dim", self.dim)
        if self.n_nearest > self.n_clusters:
            raise InvalidInputError(f"n_nearest={self.n_nearest} exceeds n_clusters={self.n_clusters}")
        validate_count("rank_low", self.rank_low, 0)
        if self.rank_high is not None and validate_count("rank_high", self.rank_high) <= self.rank_low:
            raise InvalidInputError(f"rank_high={self.rank_high} must be larger than rank_low={self.rank_low}")
        if self.rank_high is None and self.rank_low:
            raise InvalidInputError(f"rank_low={self.rank_low} needs rank_high: up to which neighbour to draw")
        for name in ("min_similarity", "max_similarity"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, Real) and -1 <= float(value) <= 1):
                raise InvalidInputError(f"{name} is a cosine and must be in [-1, 1], got {value!r}")
        low, high = self.min_similarity, self.max_similarity
        if low is not None and high is not None and low > high:
            raise InvalidInputError(f"min_similarity={low} exceeds max_similarity={high}")

    @classmethod
    def paper(cls) -> LemonSettings:
        """Return the published configuration: anchor kept, two components, 15 clusters of which the 3 nearest."""
        return cls(anchor="kept", dim=2, n_clusters=15, n_nearest=3, restarts=10, iterations=300, seed=1234)

    @property
    def per_entity(self) -> bool:
        """Whether every entity has a pool of its own, rather than a choice of clusters."""
        return not (self.rank_high is None and self.min_similarity is None and self.max_similarity is None)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values."""
        return asdict(self)

    def widened(self) -> LemonSettings:
        """Return the same settings with pools of all clusters, the nearest first."""
        return replace(self, n_nearest=self.n_clusters)

    def for_entities(self, number: int) -> LemonSettings:
        """Return settings that a graph of ``number`` entities can meet; what is cut down is logged.

        :param number: the number of distinct vectors
        :returns: the settings
        """
        fitted = self
        if self.n_clusters > number:
            fitted = replace(fitted, n_clusters=number, n_nearest=min(self.n_nearest, number))
            logger.warning(
                "%d clusters are too many for %d distinct vectors: making %d", self.n_clusters, number, number
            )
        return fitted


class LemonPools(NamedTuple):
    """Pools, and which of them belong to each anchor."""

    #: rows are clusters, or unions of clusters, or entities
    pools: CandidateIndex
    #: shape: ``(num_entities, c)``, the rows that make up the pool of each anchor; they share no member
    rows: LongTensor


def build_lemon_pools(vectors: FloatTensor, settings: LemonSettings) -> LemonPools:
    """Build the pools of all entities.

    :param vectors: shape: ``(num_entities, d)``, one per entity id
    :param settings: what to build
    :returns: the pools
    :raises InvalidInputError: if vectors are malformed, or the pools would not fit into memory
    """
    vectors = validate_vectors(vectors)
    if settings.rank_high is not None:
        return _from_neighbours(vectors, settings)
    if settings.dim is None:
        points = normalize(vectors, dim=-1)
    else:
        dim = min(settings.dim, *vectors.shape)
        if dim < settings.dim:
            logger.warning("vectors of shape %s have %d components, not %d", tuple(vectors.shape), dim, settings.dim)
        points = principal_components(vectors, dim)
    settings = settings.for_entities(len(torch.unique(points, dim=0)))
    clustering = kmeans(
        points,
        settings.n_clusters,
        restarts=settings.restarts,
        iterations=settings.iterations,
        seed=settings.seed,
    )
    nearest = torch.cat(
        [
            torch.cdist(block, clustering.centroids).topk(settings.n_nearest, largest=False).indices
            for block in torch.split(points, 1 << 14)
        ]
    )
    clusters = CandidateIndex.from_clusters(clustering.labels, settings.n_clusters)
    pools = LemonPools(clusters, nearest)
    return _within_similarity(vectors, pools, settings) if settings.per_entity else pools


def _from_neighbours(vectors: FloatTensor, settings: LemonSettings) -> LemonPools:
    """Return for each entity its neighbours within the rank window and the similarity bounds."""
    high = min(settings.rank_high or 0, len(vectors) - 1)
    if high <= settings.rank_low:
        raise InvalidInputError(
            f"rank_low={settings.rank_low} leaves no neighbour: there are only {len(vectors) - 1} other entities"
        )
    ids, similarity = knn(vectors, high - settings.rank_low, first=settings.rank_low)
    low, most = _bounds(settings)
    ids = ids.masked_fill((similarity < low) | (similarity > most), -1)
    return LemonPools(CandidateIndex.from_knn(ids), torch.arange(len(vectors))[:, None])


def _bounds(settings: LemonSettings) -> tuple[float, float]:
    slack = 1e-6  # a cosine of 1 may come out slightly larger
    low = -2.0 if settings.min_similarity is None else settings.min_similarity - slack
    high = 2.0 if settings.max_similarity is None else settings.max_similarity + slack
    return low, high


def _within_similarity(vectors: FloatTensor, found: LemonPools, settings: LemonSettings) -> LemonPools:
    """Return a pool per entity: the members of its clusters whose cosine with it is within the bounds."""
    unit = normalize(vectors, dim=-1)
    low, high = _bounds(settings)
    labels = torch.empty(len(unit), dtype=torch.long)
    clusters, members = found.pools.pairs()
    labels[members] = clusters
    sizes, columns, total = [], [], 0
    step = max(_BLOCK // len(unit), 1)
    for begin in range(0, len(unit), step):
        similarity = unit[begin : begin + step] @ unit.T
        chosen = torch.zeros(len(similarity), found.pools.num_rows, dtype=torch.bool)
        chosen.scatter_(1, found.rows[begin : begin + step], True)
        inside = chosen[:, labels].logical_and_(similarity >= low).logical_and_(similarity <= high)
        sizes.append(inside.sum(dim=-1))
        columns.append((flat_nonzero(inside) % len(unit)).int())
        total += len(columns[-1])
        if total > _MAX_MEMBERS:
            raise InvalidInputError(
                f"similarity bounds need a pool per entity, and these pools hold more than {_MAX_MEMBERS:,} members. "
                "Make more clusters, take fewer nearest ones, or give a rank window."
            )
    indptr = torch.cat([torch.zeros(1, dtype=torch.long), torch.cat(sizes).cumsum(0)])
    pools = CandidateIndex(indptr, torch.cat(columns), num_columns=len(unit))
    return LemonPools(pools, torch.arange(len(unit))[:, None])
