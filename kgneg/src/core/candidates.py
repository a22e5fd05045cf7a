"""Pools of candidates: who may stand in for whom."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch

from kgneg.core.alias import build_alias_tables
from kgneg.core.candidate_lists import validate_lists
from kgneg.core.draws import draw_below, draw_bits, draw_union
from kgneg.core.errors import InvalidInputError
from kgneg.core.modules import BufferModule
from kgneg.core.storage import read_tensors, write_tensors
from kgneg.core.typing import BoolTensor, FloatTensor, IntTensor, LongTensor
from kgneg.core.validation import validate_count

__all__ = ["CandidateIndex"]

_CHANCES = 2**31
#: rows up to this length need so few bits for a place that the others do for the chance to stay there
_SHORT_ROW = 1 << 14
#: up to this length single precision makes places unequally likely by less than one part in two thousand
_FINE_ROW = 1 << 12
_SPREAD = -1640531527  # odd, and near the golden section of 2**32


class CandidateIndex(BufferModule):
    """Pools of ids in CSR form; what a row means (an entity, a relation and side, a cluster) is the caller's business.

    Members of a row are sorted and distinct. With weights a row is drawn from in proportion to them, in constant time
    per draw. All state is in buffers.

    :param indptr: shape: ``(rows + 1,)``, the bounds of the rows
    :param indices: shape: ``(nnz,)``, the members
    :param num_columns: the number of ids that members are taken from
    :param weights: shape: ``(nnz,)``, finite and non-negative, with a positive sum in every non-empty row;
        ``None`` draws uniformly
    :raises InvalidInputError: if bounds, members or weights are malformed (the first offender is named)

    >>> pools = CandidateIndex.from_lists([[4, 2], [], [7]], num_columns=8)
    >>> ids, hit = pools.sample(torch.tensor([2, 1]), 3)
    >>> ids[0].tolist(), hit.all(-1).tolist()
    ([7, 7, 7], [True, False])
    """

    indptr: LongTensor
    indices: IntTensor
    weights: FloatTensor | None
    chance: IntTensor | None
    choice: IntTensor | None
    first: IntTensor
    length: IntTensor

    def __init__(
        self,
        indptr: LongTensor,
        indices: LongTensor,
        *,
        num_columns: int,
        weights: FloatTensor | None = None,
    ) -> None:
        super().__init__()
        self.num_columns = validate_count("num_columns", num_columns)
        indptr, indices = torch.as_tensor(indptr).long(), torch.as_tensor(indices)
        validate_lists(indptr, indices, self.num_columns, weights)
        self.register_buffer("indptr", indptr)
        self.register_buffer("indices", indices.int())
        self.register_buffer("weights", weights)
        for name, table in zip(("chance", "choice"), self._tables(), strict=True):
            self.register_buffer(name, table)
        self._derive()

    def _tables(self) -> tuple[IntTensor, IntTensor] | tuple[None, None]:
        """Return for each place the last of ``2**31`` numbers for which its own member stands (-1: none); and both."""
        if self.weights is None:
            return None, None
        keep, other = build_alias_tables(self.indptr, self.weights)
        start = torch.repeat_interleave(self.indptr[:-1], self.indptr.diff())
        both = torch.cat([self.indices, self.indices[start + other.long()]])
        return (keep * _CHANCES).round_().sub_(1).int(), both

    def _derive(self) -> None:
        sizes = self.indptr.diff()
        self.longest = int(sizes.max()) if len(sizes) else 0
        self.never_empty = bool((sizes > 0).all())
        # where rows begin (an empty one at any place there is), and how long they are
        self.register_buffer("first", self.indptr[:-1].clamp(max=max(len(self.indices) - 1, 0)).int(), persistent=False)
        self.register_buffer("length", sizes.int(), persistent=False)
        #: whether no row has the member of its own number
        self.never_own = not bool((torch.repeat_interleave(sizes) == self.indices).any())

    # Construction

    @classmethod
    def from_pairs(
        cls,
        rows: LongTensor,
        members: LongTensor,
        *,
        num_rows: int,
        num_columns: int,
        weights: FloatTensor | None = None,
    ) -> CandidateIndex:
        """Build from (row, member) pairs in any order; repeated pairs count once, their weights are added.

        :param rows: shape: ``(k,)``, row of each pair
        :param members: shape: ``(k,)``, member of each pair
        :param num_rows: the number of rows
        :param num_columns: the number of ids that members are taken from
        :param weights: shape: ``(k,)``, optional
        :returns: the pools
        :raises InvalidInputError: if a row or member is out of range
        """
        if not rows.shape == members.shape == (members if weights is None else weights).shape:
            raise InvalidInputError(
                f"rows {tuple(rows.shape)}, members {tuple(members.shape)} and weights must be vectors of equal length"
            )
        for what, values, limit in (("row", rows, num_rows), ("member", members, num_columns)):
            if values.numel() and (int(values.min()) < 0 or int(values.max()) >= limit):
                worst = int(values.min()) if int(values.min()) < 0 else int(values.max())
                raise InvalidInputError(f"{what} {worst} is out of range: must be in [0, {limit})")
        keys = rows.long() * num_columns + members.long()
        if weights is None:
            keys = torch.unique(keys)
        else:
            keys, inverse = torch.unique(keys, return_inverse=True)
            sums = torch.zeros(len(keys), dtype=torch.float64, device=keys.device)
            weights = sums.index_add_(0, inverse, weights.double())
        rows = torch.div(keys, num_columns, rounding_mode="floor")
        indptr = torch.searchsorted(rows, torch.arange(num_rows + 1, device=rows.device))
        return cls(indptr, keys - rows * num_columns, num_columns=num_columns, weights=weights)

    @classmethod
    def from_lists(cls, lists: Sequence[Sequence[int]], *, num_columns: int) -> CandidateIndex:
        """Build from one sequence of ids per row.

        :param lists: the members of each row
        :param num_columns: the number of ids that members are taken from
        :returns: the pools
        """
        sizes = torch.tensor([len(members) for members in lists], dtype=torch.long)
        rows = torch.repeat_interleave(torch.arange(len(lists)), sizes)
        members = torch.tensor([member for members in lists for member in members], dtype=torch.long)
        return cls.from_pairs(rows, members, num_rows=len(lists), num_columns=num_columns)

    @classmethod
    def from_knn(cls, neighbours: LongTensor, *, num_columns: int | None = None) -> CandidateIndex:
        """Build from a table of neighbours; negative entries are padding.

        :param neighbours: shape: ``(rows, k)``
        :param num_columns: the number of ids; ``None`` takes the number of rows
        :returns: the pools
        """
        rows = torch.arange(len(neighbours), device=neighbours.device)[:, None].expand_as(neighbours)
        real = neighbours >= 0
        columns = len(neighbours) if num_columns is None else num_columns
        return cls.from_pairs(rows[real], neighbours[real], num_rows=len(neighbours), num_columns=columns)

    @classmethod
    def from_clusters(cls, labels: LongTensor, num_clusters: int | None = None) -> CandidateIndex:
        """Build one row per cluster from the cluster of each id.

        :param labels: shape: ``(num_columns,)``, the cluster of each id
        :param num_clusters: the number of clusters; ``None`` takes the largest label plus one
        :returns: the pools
        """
        clusters = num_clusters
        if clusters is None:
            clusters = int(labels.max()) + 1 if len(labels) else 0
        members = torch.arange(len(labels), device=labels.device)
        return cls.from_pairs(labels, members, num_rows=clusters, num_columns=len(labels))

    @classmethod
    def from_scipy(cls, matrix: Any, *, weighted: bool = False) -> CandidateIndex:
        """Build from the non-zero entries of a sparse matrix.

        :param matrix: shape: ``(rows, num_columns)``, any scipy matrix or array
        :param weighted: whether the entries are weights
        :returns: the pools
        """
        coo = scipy.sparse.coo_array(matrix)
        coo.eliminate_zeros()
        return cls.from_pairs(
            torch.from_numpy(coo.coords[0].astype(np.int64)),
            torch.from_numpy(coo.coords[1].astype(np.int64)),
            num_rows=coo.shape[0],
            num_columns=coo.shape[1],
            weights=torch.from_numpy(coo.data.astype(np.float64)) if weighted else None,
        )

    @classmethod
    def from_relation_types(cls, triples: LongTensor, *, num_entities: int, num_relations: int) -> CandidateIndex:
        """Build the observed domain and range of every relation.

        Row ``2 * relation`` holds the entities seen as its head, row ``2 * relation + 1`` those seen as its tail.

        :param triples: shape: ``(m, 3)``
        :param num_entities: the number of entities
        :param num_relations: the number of relations
        :returns: the pools
        """
        head, relation, tail = triples.long().unbind(-1)
        return cls.from_pairs(
            torch.cat([2 * relation, 2 * relation + 1]),
            torch.cat([head, tail]),
            num_rows=2 * num_relations,
            num_columns=num_entities,
        )

    # Looking

    @property
    def num_rows(self) -> int:
        """The number of rows."""
        return len(self.indptr) - 1

    def size(self, rows: LongTensor) -> LongTensor:
        """Return the number of members of rows.

        :param rows: shape: ``(*)``
        :returns: shape: ``(*)``, int64
        """
        return self.indptr[rows + 1] - self.indptr[rows]

    def members(self, row: int) -> LongTensor:
        """Return the sorted members of one row.

        :param row: the row
        :returns: shape: ``(size,)``, int64
        """
        return self.indices[int(self.indptr[row]) : int(self.indptr[row + 1])].long()

    def pairs(self) -> tuple[LongTensor, LongTensor]:
        """Return all (row, member) pairs in order.

        :returns: two tensors of shape ``(nnz,)``, int64
        """
        rows = torch.repeat_interleave(torch.arange(self.num_rows, device=self.indptr.device), self.indptr.diff())
        return rows, self.indices.long()

    # Drawing

    def sample(
        self, rows: LongTensor, n: int, generator: torch.Generator | None = None
    ) -> tuple[IntTensor, BoolTensor]:
        """Draw members of rows with replacement.

        :param rows: shape: ``(q,)``
        :param n: the number of draws per row
        :param generator: the source of randomness; ``None`` takes torch's default generator
        :returns: a pair ``(ids, hit)`` of shape ``(q, n)``: int32 ids, and whether they are real draws; an empty row
            gives ``False`` and an arbitrary valid id
        """
        if not len(self.indices) or self.longest > _SHORT_ROW:
            return self.sample_union(rows[:, None], n, generator)
        length = self.length.index_select(0, rows).unsqueeze(-1)
        bits = draw_bits((len(rows), n), generator, rows.device)
        # 24 bits tell the places of short rows apart; a little less than the length, so that no product reaches it
        kind = torch.float32 if self.longest <= _FINE_ROW else torch.float64
        place = bits.to(kind).mul_(length.to(kind).mul_((1 - 2**-24) / _CHANCES)).int()
        place = place.add_(self.first.index_select(0, rows).unsqueeze(-1)).view(-1)
        members = self.indices
        if self.chance is not None and self.choice is not None:
            lower = bits.mul_(_SPREAD).bitwise_and_(_CHANCES - 1).view(-1)  # the upper bits have named the place
            away = self.chance.index_select(0, place).sub_(lower).bitwise_right_shift_(31)  # -1 or 0
            place, members = place.sub_(away, alpha=len(self.indices)), self.choice
        hit = length.new_ones(1, dtype=torch.bool) if self.never_empty else length > 0
        return members.index_select(0, place).view(bits.shape), hit.expand(bits.shape)

    @staticmethod
    def _real(ids: IntTensor, hit: BoolTensor | None) -> tuple[IntTensor, BoolTensor]:
        return ids, ids.new_ones(1, dtype=torch.bool).expand(ids.shape) if hit is None else hit

    def probability(self, rows: LongTensor, ids: LongTensor) -> FloatTensor:
        """Return how likely a draw from a row is to give an id.

        :param rows: shape: ``(q,)``
        :param ids: shape: ``(q, m)``
        :returns: shape: ``(q, m)``, float64; 0 for what is no member

        >>> pools = CandidateIndex.from_lists([[0, 2]], num_columns=3)
        >>> pools.probability(torch.tensor([0]), torch.tensor([[0, 1, 2]])).tolist()
        [[0.5, 0.0, 0.5]]
        """
        number = torch.arange(len(rows), device=ids.device)
        start, size = self.indptr[rows], self.size(rows)
        owner = torch.repeat_interleave(number, size)
        if not len(owner):
            return torch.zeros(ids.shape, dtype=torch.float64, device=ids.device)
        # the rows that are asked for, one after the other
        whole = torch.arange(len(owner), device=ids.device) + (start - size.cumsum(0) + size)[owner]
        keys, asked = owner * self.num_columns + self.indices[whole], (number * self.num_columns)[:, None] + ids
        place = torch.searchsorted(keys, asked).clamp_(max=len(keys) - 1)
        weights = torch.ones(len(keys), device=keys.device) if self.weights is None else self.weights[whole]
        sums = torch.zeros(len(rows), dtype=torch.float64, device=keys.device).index_add_(0, owner, weights.double())
        return (weights[place] / sums[:, None]).masked_fill_(keys[place] != asked, 0.0)

    def sample_union(
        self, rows: LongTensor, n: int, generator: torch.Generator | None = None
    ) -> tuple[IntTensor, BoolTensor]:
        """Draw from the concatenation of several rows each; rows of weighted pools are not supported here.

        :param rows: shape: ``(q, c)``, for each query the rows to unite; their members should be disjoint
        :param n: the number of draws per query
        :param generator: the source of randomness
        :returns: a pair ``(ids, hit)`` of shape ``(q, n)``, as in :meth:`sample`
        :raises InvalidInputError: if the pools have weights and ``c > 1``
        """
        if not len(self.indices):
            shape = (len(rows), n)
            return rows.new_zeros(shape, dtype=torch.int32), rows.new_zeros(shape, dtype=torch.bool)
        start = self.indptr[rows]
        sizes = self.indptr[rows + 1] - start
        if self.chance is not None and self.choice is not None:
            if rows.shape[1] > 1:
                raise InvalidInputError("weighted pools can be drawn from one row at a time only")
            return self._weighted(self.chance, self.choice, start, sizes, n, generator)
        ends = sizes.cumsum(-1)
        return self._real(*draw_union(self.indices, ends.int(), (start - ends + sizes).int(), n, generator))

    def _weighted(
        self,
        stay: IntTensor,
        choice: IntTensor,
        start: LongTensor,
        size: LongTensor,
        n: int,
        generator: torch.Generator | None,
    ) -> tuple[IntTensor, BoolTensor]:
        """Draw from alias tables; start and size have shape ``(q, 1)``."""
        shape, device = (len(start), n), start.device
        place = draw_below(size, shape, generator, device, largest=self.longest).add_(start.int())
        lower = draw_bits(shape, generator, device).view(-1)
        empty = size == 0
        if bool(empty.any()):
            place.clamp_(max=len(stay) - 1)  # an empty row may lie behind the last member
        place = place.view(-1)
        away = lower > stay.index_select(0, place)
        ids = choice.index_select(0, place.add_(away, alpha=len(stay)))
        return ids.view(shape), (~empty).expand(shape)

    # Combining

    def unite(self, rows: LongTensor) -> CandidateIndex:
        """Return pools whose row ``i`` is the union of the rows ``rows[i]`` of this one (without weights).

        :param rows: shape: ``(q, c)``
        :returns: ``q`` pools
        """
        sizes = self.size(rows)
        owner = torch.arange(len(rows), device=rows.device)[:, None].expand_as(rows)
        flat = sizes.reshape(-1)
        owner = torch.repeat_interleave(owner.reshape(-1), flat)
        within = torch.arange(len(owner), device=rows.device) - torch.repeat_interleave(flat.cumsum(0) - flat, flat)
        members = self.indices[torch.repeat_interleave(self.indptr[rows].reshape(-1), flat) + within]
        return CandidateIndex.from_pairs(owner, members, num_rows=len(rows), num_columns=self.num_columns)

    def intersect(self, other: CandidateIndex) -> CandidateIndex:
        """Return pools with the members that both have, row by row; weights of this one are kept.

        :param other: pools with the same numbers of rows and columns
        :returns: the intersection
        :raises InvalidInputError: if the shapes differ
        """
        return self._select(other, common=True)

    def without(self, other: CandidateIndex) -> CandidateIndex:
        """Return pools with the members that the other does not have, row by row; weights of this one are kept.

        :param other: pools with the same numbers of rows and columns
        :returns: the difference
        :raises InvalidInputError: if the shapes differ
        """
        return self._select(other, common=False)

    def renumber(self, ids: LongTensor, number: int) -> CandidateIndex:
        """Return pools whose rows and members have other numbers, such as those of a part of all entities.

        :param ids: shape: ``(n,)``, the new number of each row, which is that of each member, too; -1 leaves it out
        :param number: how many new numbers there are
        :returns: number x number; weights are kept
        :raises InvalidInputError: if rows and columns are not as many as ids, or a number is out of range

        >>> pools = CandidateIndex.from_lists([[1, 2], [0], [0]], num_columns=3)
        >>> pools.renumber(torch.tensor([1, -1, 0]), 2).members(1).tolist()
        [0]
        """
        if (self.num_rows, self.num_columns) != (len(ids), len(ids)):
            raise InvalidInputError(f"{len(ids)} ids do not fit pools of {self.num_rows} x {self.num_columns}")
        rows, members = self.pairs()
        rows, members = ids[rows], ids[members]
        kept = (rows >= 0) & (members >= 0)
        if self.weights is not None:
            kept &= self.weights > 0
        weights = None if self.weights is None else self.weights[kept]
        return CandidateIndex.from_pairs(
            rows[kept], members[kept], num_rows=number, num_columns=number, weights=weights
        )

    def _select(self, other: CandidateIndex, *, common: bool) -> CandidateIndex:
        if (self.num_rows, self.num_columns) != (other.num_rows, other.num_columns):
            raise InvalidInputError(
                f"pools of {self.num_rows} x {self.num_columns} and {other.num_rows} x {other.num_columns} do not match"
            )
        rows, members = self.pairs()
        other_rows, other_members = other.pairs()
        shared = torch.isin(
            rows * self.num_columns + members, other_rows * self.num_columns + other_members, assume_unique=True
        )
        chosen = shared if common else ~shared
        weights = None if self.weights is None else self.weights[chosen]
        if weights is not None:
            positive = weights > 0
            chosen[chosen.clone()] = positive
            weights = weights[positive]
        return CandidateIndex.from_pairs(
            rows[chosen], members[chosen], num_rows=self.num_rows, num_columns=self.num_columns, weights=weights
        )

    # Keeping

    def fingerprint(self) -> str:
        """Return a hash of the contents, equal for equal pools."""
        digest = hashlib.blake2b(f"{self.num_columns}".encode(), digest_size=16)
        for tensor in (self.indptr, self.indices, self.weights):
            digest.update(b"-" if tensor is None else tensor.cpu().numpy().tobytes())
        return digest.hexdigest()

    def save(self, path: str | Path) -> None:
        """Write the pools to a safetensors file, atomically.

        :param path: the file to write
        """
        tensors = {"indptr": self.indptr, "indices": self.indices}
        if self.weights is not None:
            tensors["weights"] = self.weights
        write_tensors(path, tensors, {"num_columns": str(self.num_columns), "fingerprint": self.fingerprint()})

    @classmethod
    def load(cls, path: str | Path) -> CandidateIndex:
        """Read pools written by :meth:`save`.

        :param path: the file to read
        :returns: the pools
        :raises InvalidInputError: if the file is missing, cut off, or its contents do not match its fingerprint
        """
        tensors, metadata = read_tensors(path)
        try:
            pools = cls(
                tensors["indptr"],
                tensors["indices"],
                num_columns=int(metadata["num_columns"]),
                weights=tensors.get("weights"),
            )
        except KeyError as error:
            raise InvalidInputError(f"{path} holds no candidate pools: {error} is missing. Save it again.") from error
        if pools.fingerprint() != metadata.get("fingerprint"):
            raise InvalidInputError(f"the contents of {path} do not match their fingerprint. Save it again.")
        return pools
