"""Nearest neighbours by cosine between rows of different groups, for millions of rows."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

import torch
from torch.nn.functional import normalize

from kgneg.core.cluster import kmeans, nearest_centroids
from kgneg.core.errors import InvalidInputError
from kgneg.core.knn import validate_vectors
from kgneg.core.seeding import mix_seeds
from kgneg.core.typing import FloatTensor, LongTensor
from kgneg.core.validation import choose, validate_count

__all__ = ["Neighbours", "fast_products", "find_neighbours"]

logger = logging.getLogger(__name__)

_EXACT_UP_TO = 30_000
_EXACT_IF_NEEDED = 200_000
_BLOCK = 1 << 26  # cosines held at once
_ROWS = 1024  # queries in a block, at most
_SHORT, _LONG = 1e-15, 1e15  # lengths whose squares are computed well
_CHUNK = 16  # columns of which the largest is looked at first
_SAMPLE = 256  # queries whose exact neighbours say how many lists to look through
_RECALL = 0.95
_MOST_LISTS = 16  # at most one list in so many is looked through
_PURPOSE = 0x6C69737473


class Neighbours(NamedTuple):
    """The result of :func:`find_neighbours`."""

    #: shape: ``(q, k)``, int32, rows of the references, nearest first; -1 where there are no more
    ids: torch.Tensor
    #: shape: ``(q, k)``, float32, in ``[-1, 1]``; ``-inf`` where there are no more
    cosine: FloatTensor
    #: which share of the exact neighbours was found, measured on a sample of queries; 1 for the exact search
    recall: float


def find_neighbours(
    queries: FloatTensor,
    references: FloatTensor,
    k: int,
    *,
    query_groups: LongTensor | None = None,
    reference_groups: LongTensor | None = None,
    index: str = "auto",
    least_recall: float = 0.0,
    exact_arithmetic: bool = False,
    seed: int = 0,
    progress: bool = False,
) -> Neighbours:
    """Find the nearest references of every query by cosine, among those of other groups.

    Groups keep apart what must not be compared: give every row its own number, and no row finds itself; give the rows
    of a document one number, and no row finds its document.

    :param queries: shape: ``(q, d)``
    :param references: shape: ``(n, d)``, on the same device
    :param k: how many neighbours to find
    :param query_groups: shape: ``(q,)``, integers; together with those of the references, or not at all; ``None`` keeps
        nothing apart, so that rows which are queries and references find themselves
    :param reference_groups: shape: ``(n,)``
    :param index: ``"exact"`` compares everything; ``"ivf"`` clusters the references and looks through as many clusters
        as hold 95 % of the neighbours of some queries, at most a sixteenth; ``"auto"`` is exact for up to 30,000
        references, and for up to 200,000 if a sixteenth of the clusters does not hold 95 %
    :param least_recall: ``"ivf"`` gives up, without any neighbour and with recall 0, if it would find less than this
        share
    :param exact_arithmetic: whether to multiply in single precision throughout; otherwise hardware that is faster with
        rounded factors may use them (cosines are then off by 0.0002 on average, and by up to 0.002)
    :param seed: the seed of the clusters
    :param progress: whether to show a progress bar
    :returns: rows and cosines
    :raises InvalidInputError: if vectors are malformed or not of one length, or groups do not fit them

    >>> rows = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    >>> own = torch.arange(3)
    >>> find_neighbours(rows, rows, 1, query_groups=own, reference_groups=own).ids.squeeze(-1).tolist()
    [1, 0, 1]
    """
    same = queries is references
    references = _directions(references)
    queries = references if same else _directions(queries)
    if queries.shape[1] != references.shape[1] or not len(references):
        shapes = f"{tuple(queries.shape)} and {tuple(references.shape)}"
        raise InvalidInputError(f"queries and references must be vectors of one length, and some, got shapes {shapes}")
    groups = _groups(queries, references, query_groups, reference_groups)
    validate_count("k", k)
    if choose("index", index, ("auto", "exact", "ivf")) == "auto":
        index = "exact" if len(references) <= _EXACT_UP_TO else "auto"
    ids = torch.full((len(queries), k), -1, dtype=torch.int32, device=queries.device)
    cosine = torch.full((len(queries), k), -math.inf, device=queries.device)
    found = Neighbours(ids, cosine, 1.0)
    if not len(queries):
        return found
    with _precision(queries.device, rounded=not exact_arithmetic):
        if index == "auto":
            least_recall = _RECALL if len(references) <= _EXACT_IF_NEEDED else 0.0
        recall = None if index == "exact" else _ivf(queries, references, groups, found, seed, progress, least_recall)
        if recall is None and index != "ivf":
            _exact(queries, references, groups, found, progress)
        else:
            found = found._replace(recall=recall or 0.0)
    return found._replace(cosine=torch.where(ids < 0, cosine, cosine.clamp(-1, 1)))


def _groups(
    queries: FloatTensor, references: FloatTensor, of_queries: LongTensor | None, of_references: LongTensor | None
) -> tuple[LongTensor, LongTensor]:
    if of_queries is None and of_references is None:
        return queries.new_zeros(len(queries), dtype=torch.long), references.new_ones(len(references), dtype=torch.long)
    if of_queries is None or of_references is None:
        raise InvalidInputError("give the groups of both queries and references, or of neither")
    for name, groups, rows in (("query", of_queries, queries), ("reference", of_references, references)):
        if not isinstance(groups, torch.Tensor) or groups.is_floating_point() or groups.is_complex():
            got = groups.dtype if isinstance(groups, torch.Tensor) else type(groups).__name__
            raise InvalidInputError(f"{name}_groups must be a tensor of integers, got {got}")
        if groups.shape != (len(rows),):
            raise InvalidInputError(f"{name}_groups must have shape ({len(rows)},), got {tuple(groups.shape)}")
    return of_queries.to(queries.device).long(), of_references.to(references.device).long()


def fast_products(device: torch.device) -> AbstractContextManager[None]:
    """Let products of float32 matrices round their factors where the hardware gains by it.

    :param device: where the matrices are
    :returns: the context in which they do; the setting is put back afterwards
    """
    return _precision(device, rounded=True)


@contextmanager
def _precision(device: torch.device, *, rounded: bool) -> Iterator[None]:
    switch: Any = None
    if device.type == "cuda":
        switch, value = torch.backends.cuda.matmul, "tf32" if rounded else "ieee"
    elif device.type == "cpu":
        tiles = getattr(torch.cpu, "_is_amx_tile_supported", None)
        gains = tiles is not None and tiles()
        switch, value = getattr(torch.backends.mkldnn, "matmul", None), "bf16" if rounded else "ieee"
        switch = switch if gains or not rounded else None
    before = getattr(switch, "fp32_precision", None)
    if before is None:  # nothing to gain, or a torch that cannot be told
        yield
        return
    try:
        switch.fp32_precision = value
        yield
    finally:
        switch.fp32_precision = before


def _directions(vectors: FloatTensor) -> FloatTensor:
    """Return vectors of length 1, also where squares are too large or too small for float32; empty ones stay."""
    checked = validate_vectors(vectors).detach()
    length = torch.linalg.vector_norm(checked, dim=-1, keepdim=True)
    odd = ~((length > _SHORT) & (length < _LONG)).squeeze(-1)
    unit: FloatTensor = checked / length
    if bool(odd.any()):
        rows = vectors.detach()[odd].double()
        largest = rows.abs().amax(dim=-1, keepdim=True)
        unit[odd] = normalize(rows / torch.where(largest > 0, largest, 1.0), dim=-1).float()
    return unit


def _top(scores: FloatTensor, k: int) -> tuple[FloatTensor, LongTensor]:
    """Return the largest values of each row and their columns, looking into the chunks with the largest maxima only."""
    k = min(k, scores.shape[1])
    chunks = scores.shape[1] // _CHUNK
    if chunks <= 4 * k:
        best = scores.topk(k, dim=-1)
        return best.values, best.indices
    table = scores[:, : chunks * _CHUNK].view(len(scores), _CHUNK, chunks)  # a chunk is a column of this table
    chosen = table.amax(dim=1).topk(k, dim=-1, sorted=False).indices
    inside = table.gather(2, chosen[:, None, :].expand(-1, _CHUNK, -1)).flatten(1)
    rest = scores[:, chunks * _CHUNK :]
    value, place = torch.cat([inside, rest], dim=-1).topk(k, dim=-1)
    row = place.div(k, rounding_mode="floor").clamp_(max=_CHUNK - 1)
    column = row * chunks + chosen.gather(1, place.remainder(k))
    return value, torch.where(place < _CHUNK * k, column, place - _CHUNK * k + chunks * _CHUNK)


def _store(found: Neighbours, rows: LongTensor, value: FloatTensor, columns: LongTensor) -> None:
    width = value.shape[1]
    allowed = value > -math.inf
    found.ids[rows, :width] = torch.where(allowed, columns, -1).int()
    found.cosine[rows, :width] = value


def _exact(
    queries: FloatTensor,
    references: FloatTensor,
    groups: tuple[LongTensor, LongTensor],
    found: Neighbours,
    progress: bool,
) -> None:
    """Compare everything, the queries and the references in the order of their groups.

    The references of a group are then side by side, and so are the ones that a block of queries must not see.
    """
    from tqdm.auto import tqdm

    of_queries, of_references = groups
    turn = of_references.argsort(stable=True)
    table, sorted_groups = references[turn].T, of_references[turn]
    begin = torch.searchsorted(sorted_groups, of_queries)
    end = torch.searchsorted(sorted_groups, of_queries, right=True)
    order = of_queries.argsort(stable=True)
    size = max(min(_ROWS, _BLOCK // len(references), len(queries)), 1)
    buffer = queries.new_empty((size, len(references)))
    for start in tqdm(range(0, len(queries), size), desc="neighbours", unit="block", disable=not progress):
        rows = order[start : start + size]
        scores = torch.mm(queries[rows], table, out=buffer[: len(rows)])
        low, high = begin[rows, None], end[rows, None]
        first, last = int(low.min()), int(high.max())
        if first < last:
            columns = torch.arange(first, last, device=queries.device)
            scores[:, first:last].masked_fill_((columns >= low) & (columns < high), -math.inf)
        value, columns = _top(scores, found.ids.shape[1])
        _store(found, rows, value, turn[columns])


def _ivf(
    queries: FloatTensor,
    references: FloatTensor,
    groups: tuple[LongTensor, LongTensor],
    found: Neighbours,
    seed: int,
    progress: bool,
    least: float,
) -> float | None:
    """Compare the queries near a centroid with the references near the same and the nearest other ones.

    Nothing is done, and ``None`` returned, if so few neighbours would be found that the recall is below ``least``.
    """
    from tqdm.auto import tqdm

    number = max(math.isqrt(len(references)), 1)
    generator = torch.Generator().manual_seed(mix_seeds(seed, _PURPOSE))
    sample = torch.randperm(len(references), generator=generator)[: 64 * number].to(references.device)
    distinct = torch.unique(references[sample], dim=0)
    centroids = normalize(
        kmeans(distinct, min(number, len(distinct)), iterations=8, start="random", seed=seed).centroids, dim=-1
    )
    home = nearest_centroids(references, centroids)[0]
    turn = home.argsort(stable=True)
    bounds = torch.bincount(home, minlength=len(centroids)).cumsum(0).tolist()
    order_of_lists = (centroids @ centroids.T).argsort(dim=-1, descending=True, stable=True)
    at_home = home if queries is references else nearest_centroids(queries, centroids)[0]
    probes, recall = _probes(
        queries, references, groups, (at_home, home, order_of_lists), found.ids.shape[1], generator
    )
    logger.info("%d of %d clusters are looked through, which hold %.3f", probes, len(centroids), recall)
    if recall < least:
        return None
    members = [turn[low:high] for low, high in zip([0, *bounds[:-1]], bounds, strict=True)]
    askers = torch.split(at_home.argsort(stable=True), torch.bincount(at_home, minlength=len(centroids)).tolist())
    of_queries, of_references = groups
    for number, asking in enumerate(tqdm(askers, desc="neighbours", unit="cluster", disable=not progress)):
        if not len(asking):
            continue
        seen = _seen(members, order_of_lists[number].tolist(), probes, 2 * found.ids.shape[1])
        table, theirs = references[seen].T, of_references[seen]
        for rows in torch.split(asking, max(_BLOCK // len(seen), 1)):
            scores = queries[rows] @ table
            scores.masked_fill_(theirs == of_queries[rows, None], -math.inf)
            value, columns = _top(scores, found.ids.shape[1])
            _store(found, rows, value, seen[columns])
    return recall


def _seen(members: list[LongTensor], order: list[int], probes: int, least: int) -> LongTensor:
    """Return the references of the first clusters, and of further ones until there are enough."""
    parts, number = [], 0
    for place, other in enumerate(order):
        if place >= probes and number >= least:
            break
        parts.append(members[other])
        number += len(members[other])
    return torch.cat(parts)


def _probes(
    queries: FloatTensor,
    references: FloatTensor,
    groups: tuple[LongTensor, LongTensor],
    lists: tuple[LongTensor, LongTensor, LongTensor],
    k: int,
    generator: torch.Generator,
) -> tuple[int, float]:
    """Return how many clusters to look through, and the share of the exact neighbours of a sample that these hold."""
    at_home, home, order_of_lists = lists
    rows = torch.randperm(len(queries), generator=generator)[:_SAMPLE].to(queries.device)
    exact = Neighbours(
        torch.full((len(rows), k), -1, dtype=torch.int32, device=queries.device),
        torch.full((len(rows), k), -math.inf, device=queries.device),
        1.0,
    )
    _exact(queries[rows], references, (groups[0][rows], groups[1]), exact, progress=False)
    there = exact.ids >= 0
    if not there.any():
        return 1, 1.0
    # the place of the cluster of each neighbour among the clusters of the query
    place = order_of_lists.argsort(dim=-1)[at_home[rows]]
    needed = place.gather(1, home[exact.ids.clamp(min=0).long()])[there]
    wanted = int(needed.sort().values[math.ceil(_RECALL * len(needed)) - 1]) + 1
    probes = min(wanted, max(len(order_of_lists) // _MOST_LISTS, 1))
    return probes, float((needed < probes).double().mean())
