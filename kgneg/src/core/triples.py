"""Exact membership in a set of triples, and exact uniform draws from what is *not* in it."""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from kgneg.core.bits import KeyTable, RowBits
from kgneg.core.draws import draw_below
from kgneg.core.errors import ExhaustedPoolError, InvalidInputError, KeyOverflowError
from kgneg.core.modules import BufferModule
from kgneg.core.typing import HEAD, RELATION, TAIL, BoolTensor, IntTensor, LongTensor, Side
from kgneg.core.validation import choose, validate_count, validate_triples

__all__ = ["TripleIndex"]

_INT64 = 2**63 - 1
_MAX_ENTITIES = 2**31 - 1
_CHUNK = 1 << 14
#: Chosen such that the index takes at most 48 bytes per triple, with values of 32 and of 64 bits in its table.
_BITS_PER_KEY, _FEWER_BITS_PER_KEY = 64, 40


class TripleIndex(BufferModule):
    r"""A set of known triples that answers two questions for a whole batch at once.

    * Is :math:`(h, r, t)` known?  (:meth:`contains`)
    * Which entity, drawn uniformly, completes :math:`(h, r, ?)` or :math:`(?, r, t)` to an *unknown* triple?
      (:meth:`complement`)

    Every triple is stored under two keys, :math:`c \cdot E + e` with the *code* :math:`c` of the pair that stays and
    the entity :math:`e` at the other end; :math:`c = hR + r` when the tail is asked for and :math:`c = tR + r - ER` for
    the head. A pair owns a contiguous row :math:`k_s < \dots < k_{s+m-1}` of the sorted keys. The number :math:`k_{s+j}
    - cE - j` of unknown entities before the ``j``-th known one does not decrease with :math:`j`, so the :math:`u`-th
    *unknown* entity follows from :math:`u` by bisection of the row: one draw, no rejection.

    A bit map in front of the keys answers most membership queries at once. It has false alarms but no misses, and every
    alarm is checked in a hash table, so all answers are exact. Storage: at most 48 bytes per triple and one bit per
    entity; with ``keys="pair"`` also 8 bytes per distinct pair.

    All state is in buffers: ``.to(device)`` moves it and ``state_dict`` holds it.

    :param triples: shape: ``(m, 3)``, integer ids; duplicates are stored once
    :param num_entities: the number of entities, at most 2**31 - 1
    :param num_relations: the number of relations
    :param keys: ``"triple"`` uses one 64-bit key per triple, and refuses graphs where ``E * R * E`` exceeds it;
        ``"pair"`` numbers the distinct pairs first, which fits any graph with
        ``E * R < 2**63``; ``"auto"`` takes the first one that fits
    :raises InvalidInputError: if ids are out of range, or the shape is wrong
    :raises KeyOverflowError: if the graph does not fit the wished keys

    >>> index = TripleIndex(torch.tensor([[0, 0, 1], [0, 0, 2]]), num_entities=4, num_relations=1)
    >>> index.contains(torch.tensor([[0, 0, 2], [2, 0, 0]])).tolist()
    [True, False]
    >>> kept, relation = torch.tensor([0]), torch.tensor([0])
    >>> index.complement(kept, relation, Side.TAIL, 50).unique().tolist()
    [0, 3]
    """

    keys: LongTensor
    pairs: LongTensor
    facts: LongTensor

    def __init__(self, triples: LongTensor, *, num_entities: int, num_relations: int, keys: str = "triple") -> None:
        super().__init__()
        self.num_entities = validate_count("num_entities", num_entities)
        self.num_relations = validate_count("num_relations", num_relations)
        if num_entities > _MAX_ENTITIES:
            raise KeyOverflowError(f"{num_entities:,} entities exceed the limit of {_MAX_ENTITIES:,}: shard the graph.")
        triples = validate_triples(triples, num_entities, num_relations)
        if triples.ndim != 2:
            raise InvalidInputError(f"triples must have shape (m, 3), got {tuple(triples.shape)}")
        self.layout = self._choose_layout(choose("keys", keys, ("triple", "pair", "auto")))
        device = triples.device
        sorted_keys, pairs = self._build_keys(triples.cpu())
        self.register_buffer("pairs", torch.from_numpy(pairs))
        self.register_buffer("keys", torch.from_numpy(sorted_keys))
        span = num_entities * num_relations * num_entities
        low, high = (-span, span) if self.layout == "triple" else (0, (len(pairs) + 1) * num_entities)
        self.table = KeyTable(sorted_keys, low, high)
        short = self.table.table.dtype == torch.int32
        self.bits = RowBits(sorted_keys, num_entities, bits_per_key=_BITS_PER_KEY if short else _FEWER_BITS_PER_KEY)
        facts = [num_entities, num_relations, self.layout == "pair", self._longest_row()]
        self.register_buffer("facts", torch.tensor(facts))
        self._derive()
        self.to(device)

    def _choose_layout(self, keys: str) -> str:
        entities, relations = self.num_entities, self.num_relations
        if keys != "pair" and entities * relations * entities <= _INT64:
            return "triple"
        if keys == "triple":
            raise KeyOverflowError(
                f"{entities:,} entities x {relations:,} relations x {entities:,} entities = "
                f"{entities * relations * entities:.3e} keys exceed the int64 limit of {_INT64:.3e}. "
                "Use keys='pair', which numbers the distinct (entity, relation) pairs first."
            )
        if entities * relations > _INT64:
            raise KeyOverflowError(
                f"{entities:,} entities x {relations:,} relations = {entities * relations:.3e} pairs exceed the int64 "
                f"limit of {_INT64:.3e}. Merge rare relations or shard the graph."
            )
        return "pair"

    def _build_keys(self, triples: LongTensor) -> tuple[np.ndarray, np.ndarray]:
        head, relation, tail = (column.numpy() for column in triples.unbind(-1))
        number = len(head)
        codes = np.empty(2 * number, dtype=np.int64)
        for half, kept in ((codes[:number], head), (codes[number:], tail)):
            np.multiply(kept, self.num_relations, out=half)
            half += relation
        codes[number:] -= self.num_entities * self.num_relations
        pairs = np.empty(0, dtype=np.int64)
        if self.layout == "pair":
            pairs, codes = np.unique(codes, return_inverse=True)
            if (len(pairs) + 1) * self.num_entities > _INT64:
                raise KeyOverflowError(
                    f"{len(pairs):,} distinct pairs x {self.num_entities:,} entities exceed int64: shard the graph."
                )
            codes = codes.astype(np.int64, copy=False)
        codes *= self.num_entities
        codes[:number] += tail
        codes[number:] += head
        codes.sort()
        repeated = np.flatnonzero(codes[1:] == codes[:-1])
        if len(repeated):
            codes = np.delete(codes, repeated)
        return codes, pairs

    def _longest_row(self) -> int:
        """Return the number of members of the longest row."""
        keys, longest, length, code = self.keys.numpy(), 0, 0, None
        for begin in range(0, len(keys), _CHUNK):  # bounds the working memory
            codes, lengths = np.unique(keys[begin : begin + _CHUNK] // self.num_entities, return_counts=True)
            lengths[0] += length if codes[0] == code else 0
            longest = max(longest, int(lengths.max()))
            code, length = codes[-1], int(lengths[-1])
        return longest

    def _derive(self) -> None:
        self.num_entities, self.num_relations, paired, self.longest_row = self.facts.tolist()
        self.layout = "pair" if paired else "triple"
        self.num_triples = len(self.keys) // 2

    @property
    def nbytes(self) -> int:
        """The number of bytes that the buffers occupy."""
        return sum(buffer.nbytes for buffer in self.buffers())

    def fingerprint(self) -> str:
        """Return a hash of the set of triples and of the sizes, equal for equal sets in any order."""
        digest = hashlib.blake2b(f"{self.num_entities},{self.num_relations},{self.layout}".encode(), digest_size=16)
        for buffer in (self.pairs, self.keys):
            digest.update(buffer.cpu().numpy().tobytes())
        return digest.hexdigest()

    # Pairs

    def codes(self, kept: LongTensor, relation: LongTensor, side: Side | LongTensor) -> LongTensor:
        """Return the codes of pairs, as taken by the methods that answer for many candidates of a pair.

        :param kept: shape: ``(q,)``, the entity that stays
        :param relation: shape: ``(q,)``, the relation
        :param side: the end that is asked for: a :class:`Side`, or shape ``(q,)`` with its values
        :returns: shape: ``(q,)``, int64; pairs without a known triple have a code too
        """
        codes = torch.add(relation, kept, alpha=self.num_relations)
        if isinstance(side, torch.Tensor):
            codes -= (side == HEAD) * (self.num_entities * self.num_relations)
        elif side == Side.HEAD:
            codes -= self.num_entities * self.num_relations
        if self.layout == "triple":
            return codes
        rank = torch.searchsorted(self.pairs, codes)
        if not len(self.pairs):
            return rank
        found = self.pairs[rank.clamp(max=len(self.pairs) - 1)] == codes
        return torch.where(found, rank, len(self.pairs))

    def _rows(self, codes: LongTensor) -> tuple[LongTensor, LongTensor]:
        """Return start and length, each shape ``(q,)``, of the rows of some codes."""
        base = codes * self.num_entities
        bounds = torch.searchsorted(self.keys, torch.stack([base, base + self.num_entities], dim=-1))
        return bounds[:, 0], bounds[:, 1] - bounds[:, 0]

    def count(self, kept: LongTensor, relation: LongTensor, side: Side | LongTensor) -> LongTensor:
        """Return the number of known completions of pairs.

        :param kept: shape: ``(q,)``, the entity that stays
        :param relation: shape: ``(q,)``, the relation
        :param side: the end that is asked for
        :returns: shape: ``(q,)``, int64
        """
        return self._rows(self.codes(kept, relation, side))[1]

    # Membership

    def suspect(self, codes: LongTensor, ids: IntTensor) -> BoolTensor:
        """Return which candidates *may* be known: no known triple is missed, a few per cent are false alarms.

        :param codes: shape: ``(q,)``, from :meth:`codes`
        :param ids: shape: ``(q, n)``, int32 entity ids
        :returns: shape: ``(q, n)``
        """
        return self.bits.probe(codes, ids)

    def confirm(self, codes: LongTensor, ids: LongTensor) -> BoolTensor:
        """Return which candidates are known, exactly.

        :param codes: shape: ``(k,)``, from :meth:`codes`, one per candidate
        :param ids: shape: ``(k,)``, entity ids of any integer dtype
        :returns: shape: ``(k,)``
        """
        return self.table.contains(codes * self.num_entities + ids)

    def contains(self, triples: LongTensor) -> BoolTensor:
        """Return which triples are known.

        :param triples: shape: ``(*, 3)``, integer ids
        :returns: shape: ``(*)``
        :raises InvalidInputError: if an id is out of range
        """
        triples = validate_triples(triples, self.num_entities, self.num_relations)
        flat = triples.reshape(-1, 3)
        codes = self.codes(flat[:, HEAD], flat[:, RELATION], Side.TAIL)
        return self.confirm(codes, flat[:, TAIL]).view(triples.shape[:-1])

    # The complement

    def complement(
        self,
        kept: LongTensor,
        relation: LongTensor,
        side: Side | LongTensor,
        n: int,
        *,
        exclude: LongTensor | None = None,
        generator: torch.Generator | None = None,
    ) -> LongTensor:
        """Draw entities uniformly from those that do *not* complete a pair to a known triple.

        :param kept: shape: ``(q,)``, the entity that stays
        :param relation: shape: ``(q,)``, the relation
        :param side: the end that is drawn: a :class:`Side`, or shape ``(q,)`` with its values
        :param n: the number of draws per pair, with replacement
        :param exclude: shape: ``(q,)``, one more entity per pair that must not be drawn
        :param generator: the source of randomness; ``None`` takes torch's default generator
        :returns: shape: ``(q, n)``, int64
        :raises ExhaustedPoolError: if a pair has no unknown completion
        """
        return self.complement_of_codes(self.codes(kept, relation, side), n, exclude=exclude, generator=generator)

    def complement_of_codes(
        self, codes: LongTensor, n: int, *, exclude: LongTensor | None = None, generator: torch.Generator | None = None
    ) -> LongTensor:
        """Draw like :meth:`complement`, from codes.

        :param codes: shape: ``(q,)``, from :meth:`codes`
        :param n: the number of draws per code
        :param exclude: shape: ``(q,)``, one more entity per code that must not be drawn
        :param generator: the source of randomness
        :returns: shape: ``(q, n)``, int64
        :raises ExhaustedPoolError: if a code has no unknown completion
        """
        start, known = self._rows(codes)
        free = self.num_entities - known
        if exclude is not None:
            extra = ~self.confirm(codes, exclude)
            rank = exclude - (torch.searchsorted(self.keys, codes * self.num_entities + exclude) - start)
            free = free - extra.long()
        if self.longest_row >= self.num_entities - 1 and bool((free <= 0).any()):
            raise ExhaustedPoolError(
                f"{int((free <= 0).sum())} of {len(free)} pairs have all {self.num_entities} entities as known "
                "completions, so nothing is left to draw. Corrupt the other side, or keep fewer known triples."
            )
        shape = (len(free), n)
        nth = draw_below(free[:, None], shape, generator, free.device, largest=self.num_entities).long()
        if exclude is not None:
            nth += extra[:, None] & (nth >= rank[:, None])
        return self._nth_unknown(codes, start, known, nth)

    def _nth_unknown(self, codes: LongTensor, start: LongTensor, known: LongTensor, nth: LongTensor) -> LongTensor:
        """Return the ``nth`` (from 0) entities that are not in rows, shape ``(q, n)`` like ``nth``, by bisection."""
        if not len(self.keys):
            return nth
        base = (codes * self.num_entities)[:, None]
        start = start[:, None]
        low, high = torch.zeros_like(nth), known[:, None].expand_as(nth)
        for _ in range(self.longest_row.bit_length()):
            middle = (low + high) // 2
            before = self.keys[(start + middle).clamp_(max=len(self.keys) - 1)] - base - middle <= nth
            before &= low < high
            low, high = torch.where(before, middle + 1, low), torch.where(before, high, middle)
        return nth + low

    def free(self, codes: LongTensor, exclude: LongTensor) -> LongTensor:
        """Return how many entities :meth:`complement_of_codes` can choose from.

        :param codes: shape: ``(q,)``, from :meth:`codes`
        :param exclude: shape: ``(q,)``, one more entity per code that must not be drawn
        :returns: shape: ``(q,)``, int64
        """
        return self.num_entities - self._rows(codes)[1] - (~self.confirm(codes, exclude)).long()
