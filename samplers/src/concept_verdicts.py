"""A rule, worked out for all pairs of those who ask and candidates."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np
import scipy.sparse
import torch
from tqdm.auto import tqdm

from kgneg.core.masks import flat_nonzero
from kgneg.core.modules import BufferModule
from kgneg.core.queries import Queries
from kgneg.core.typing import HEAD, TAIL, BoolTensor, FloatTensor, IntTensor, LongTensor
from kgneg.samplers.owner_profiles import OwnerProfiles

__all__ = ["Rule", "Verdicts", "shares_any", "table_bits"]

#: Pairs that are worked out at a time.
_CELLS = 1 << 18

#: Which candidates are refused, shape ``(k, c)``, for the queries of ``k`` entities at one end of a relation and all
#: ``c`` candidates known there (the places from a first one on), given the weights of shared features, summed and in
#: the mean over the owners.
Rule = Callable[[Queries, int, FloatTensor, FloatTensor], BoolTensor]


def shares_any(queries: Queries, first: int, some: FloatTensor, mean: FloatTensor) -> BoolTensor:
    """Refuse candidates that share any feature: the paper's rule.

    :param queries: ``k`` pairs
    :param first: the first place
    :param some: shape: ``(k, c)``, the weights of shared features, summed
    :param mean: shape: ``(k, c)``, the same in the mean over the owners
    :returns: shape: ``(k, c)``
    """
    del queries, first, mean
    return some > 0


def table_bits(profiles: OwnerProfiles, ends: tuple[int, ...]) -> int:
    """Return the number of pairs that a table has a bit for.

    :param profiles: the owners of each candidate
    :param ends: the ends that are replaced, 0 for heads and 1 for tails
    :returns: the number of bits, without those that fill up bytes
    """
    size = profiles.start.diff().view(-1, 2)
    return len(ends) * int(size.prod(dim=-1).sum())


class Verdicts(BufferModule):
    """One bit for each entity known at one end of a relation and each candidate for the other: whether it is refused.

    Reading a bit is many times faster than comparing features. It says nothing about queries that are not among the
    known pairs.

    :param profiles: the owners of each candidate
    :param rule: which candidates are refused
    :param known: shape: ``(m, 3)``, triples that are no negatives either, for :attr:`closed`
    :param ends: the ends that are replaced, 0 for heads and 1 for tails

    >>> from kgneg.core.candidates import CandidateIndex
    >>> features = CandidateIndex.from_lists([[0], [1], [0, 1], [], []], num_columns=2)
    >>> triples = torch.tensor([[0, 0, 3], [1, 0, 4], [2, 0, 4]])
    >>> profiles = OwnerProfiles(triples, features, num_entities=5, num_relations=1, drop_universal=False)
    >>> queries = Queries.from_triples(torch.tensor([[0, 0, 3]]), torch.tensor([2]))
    >>> asking, places = profiles.asking(queries), profiles.places(queries, torch.tensor([[3, 4]]))
    >>> Verdicts(profiles, shares_any)(asking, places)[0].tolist()
    [[True, True]]
    """

    #: the base of places that have no bits
    nowhere: ClassVar[int] = torch.iinfo(torch.int32).min
    base: torch.Tensor
    bits: torch.Tensor
    closed: BoolTensor

    def __init__(
        self, profiles: OwnerProfiles, rule: Rule, *, known: LongTensor | None = None, ends: tuple[int, ...] = (0, 1)
    ) -> None:
        super().__init__()
        size = profiles.start.diff()
        own = torch.repeat_interleave(torch.arange(len(size)), size)
        asked = own.bitwise_xor(1)
        there = torch.isin(asked % 2, torch.tensor(ends))
        width = torch.where(there, (size[asked] + 7) // 8 * 8, 0)
        end = width.cumsum(0)
        # for each place, who asks from there: where its bits begin, less the first place of the slot that it asks for
        base = torch.where(there, end - width - profiles.start[asked], self.nowhere)
        self.register_buffer("base", base.int() if int(end[-1]) < 2**31 else base)
        bits, refused = _work_out(profiles, rule, ends, int(end[-1]) // 8)
        self.register_buffer("bits", torch.from_numpy(bits))
        out = torch.from_numpy(refused)
        for side in (2 * end for end in ends):
            if known is not None:
                queries = Queries.from_triples(known, torch.full((len(known),), side))
                asking = profiles.asking(queries)
                found, _ = self(asking, profiles.places(queries, queries.replaced[:, None]))
                out.index_add_(0, asking.long(), (~found).long().squeeze(-1))
        #: shape: ``(places,)``, whether all candidates are refused, or known, for the one who asks from there
        self.register_buffer("closed", there & (out >= size[asked]))

    def forward(self, asking: IntTensor, places: IntTensor, *, real: bool = False) -> tuple[BoolTensor, LongTensor]:
        """Return which candidates are refused.

        :param asking: shape: ``(q,)``, from :meth:`~kgneg.samplers.owner_profiles.OwnerProfiles.asking`
        :param places: shape: ``(q, n)``; -1 for a candidate without owners, whose verdict is arbitrary
        :param real: whether no place is -1
        :returns: shape: ``(q, n)``, and the rows of queries that nothing is known about
        """
        base = self.base.index_select(0, asking.clamp(min=0))
        unknown = flat_nonzero((asking < 0) | (base == self.nowhere))
        bit = base[:, None] + places
        if len(unknown) or not real:
            bit.clamp_(min=0)
        word = self.bits.index_select(0, bit.bitwise_right_shift(3).view(-1)).view(bit.shape)
        return word.bitwise_right_shift_(bit.to(torch.uint8).bitwise_and_(7)).bitwise_and_(1).view(torch.bool), unknown

    def refuse(self, profiles: OwnerProfiles, known: LongTensor) -> None:
        """Refuse triples as well, known ones for example; other copies of the verdicts stay as they are.

        :param profiles: the owners of each candidate
        :param known: shape: ``(m, 3)``, triples among those of the profiles
        """
        bits = self.bits.numpy().copy()
        for side in (HEAD, TAIL):
            queries = Queries.from_triples(known, torch.full((len(known),), side))
            base = self.base[profiles.asking(queries).long()]
            bit = (base + profiles.places(queries, queries.replaced[:, None]).squeeze(-1))[base > self.nowhere].numpy()
            np.bitwise_or.at(bits, bit >> 3, np.uint8(1) << (bit & 7).astype(np.uint8))
        self.bits = torch.from_numpy(bits)


def _work_out(profiles: OwnerProfiles, rule: Rule, ends: tuple[int, ...], length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the bits, packed, and how many candidates are refused for each place."""
    bits = np.zeros(length, dtype=np.uint8)
    refused = np.zeros(profiles.num_places, dtype=np.int64)
    start = profiles.start.tolist()
    whole = _by_place(profiles)
    at = 0
    names = tqdm(range(len(start) - 1), desc="candidates", unit="end", disable=None, leave=False)
    for slot in names:
        begin, end = start[slot ^ 1], start[(slot ^ 1) + 1]
        if begin == end or (slot ^ 1) % 2 not in ends:
            continue
        profile, share = (one[:, begin:end].tocsr() for one in whole)
        step = max(_CELLS // (end - begin), 1)
        for low in range(start[slot], start[slot + 1], step):
            kept = profiles.member[low : min(low + step, start[slot + 1])].long()
            relation, side = torch.full_like(kept, slot // 2), torch.full_like(kept, 2 * ((slot ^ 1) % 2))
            queries = Queries(kept, relation, kept, side)
            asking = _asking(profiles, queries)
            some = torch.from_numpy((asking @ profile).toarray())
            mean = some if rule is shares_any else torch.from_numpy((asking @ share).toarray())
            found = rule(queries, begin, some, mean).numpy()
            refused[low : low + len(kept)] = found.sum(axis=-1)
            packed = np.packbits(found, axis=-1, bitorder="little").ravel()
            bits[at : at + len(packed)] = packed
            at += len(packed)
    return bits, refused


def _by_place(profiles: OwnerProfiles) -> tuple[scipy.sparse.csc_array, scipy.sparse.csc_array]:
    """Return which features the owners of places have, and which share of them; features x places."""
    place = (profiles.keys % profiles.num_places).numpy()
    feature = (profiles.keys // profiles.num_places).numpy()
    shape = (profiles.num_features, profiles.num_places)
    share = scipy.sparse.csc_array((profiles.share.numpy(), (feature, place)), shape=shape)
    ones = scipy.sparse.csc_array((np.ones(share.nnz, dtype=np.float32), share.indices, share.indptr), shape=shape)
    return ones, share


def _asking(profiles: OwnerProfiles, queries: Queries) -> scipy.sparse.csr_array:
    """Return the weights of the features of those who ask, queries x features."""
    row, feature, weight = profiles.asked(queries)
    return scipy.sparse.csr_array(
        (weight.numpy(), (row.numpy(), feature.numpy())), shape=(len(queries), profiles.num_features)
    )
