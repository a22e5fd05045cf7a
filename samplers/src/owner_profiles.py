"""Who has a candidate already: what the owners of each candidate have in common with those who ask."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse
import torch

from kgneg.core.bits import RowBits
from kgneg.core.candidates import CandidateIndex
from kgneg.core.errors import InvalidInputError
from kgneg.core.modules import BufferModule
from kgneg.core.queries import Queries
from kgneg.core.typing import HEAD, TAIL, BoolTensor, FloatTensor, IntTensor, LongTensor
from kgneg.core.validation import choose, validate_count, validate_triples

__all__ = ["PROPOSALS", "OwnerProfiles", "signature_features"]

#: How likely a candidate is to be proposed: as an owner drawn at random would name one of its own, as often as it is
#: known there, or as likely as any other.
PROPOSALS = ("owners", "triples", "uniform")
_BITS_PER_KEY = 16
#: numbers of candidates times features that are looked at together
_CELLS = 1 << 21
#: the largest tables with an entry for every entity at every end
_DENSE = 1 << 25


class OwnerProfiles(BufferModule):
    """For each end of each relation, the entities that are known there, and the features of their owners.

    The *owners* of a tail ``t`` under a relation are the heads that are known with it; those of a head are its tails.
    The *profile* of a candidate says which features its owners have, and which share of them has each. A candidate is
    a *place*: a pair of an end of a relation (a *slot*, ``2 * relation + (end is the tail)``) and an entity there.

    Memory: 14 bytes for every feature of every profile, 8 to 16 bytes per place; tables with an entry for each entity
    at each end, 4 bytes, where there are less than 34 million.

    :param triples: shape: ``(m, 3)``, the known triples
    :param features: entities x features, which features each entity has
    :param num_entities: the number of entities
    :param num_relations: the number of relations
    :param weights: shape: ``(features,)``, finite and non-negative: how much it says that a feature is shared;
        ``None`` takes the logarithm of how many entities there are for each that has it (idf)
    :param drop_universal: whether features that all owners at an end share say nothing there
    :raises InvalidInputError: if sizes do not fit, there are no triples, or no entity has a feature

    >>> features = CandidateIndex.from_lists([[0], [1], [0, 1], [], []], num_columns=2)
    >>> triples = torch.tensor([[0, 0, 3], [1, 0, 4]])
    >>> profiles = OwnerProfiles(triples, features, num_entities=5, num_relations=1, drop_universal=False)
    >>> queries = Queries.from_triples(torch.tensor([[0, 0, 3]]), torch.tensor([2]))
    >>> profiles.shares_any(queries, profiles.places(queries, torch.tensor([[3, 4]]))).tolist()
    [[True, False]]
    """

    member: IntTensor
    start: LongTensor
    owners: FloatTensor
    keys: LongTensor
    share: FloatTensor
    weights: FloatTensor
    universal: LongTensor
    codes: LongTensor
    place_of: IntTensor

    def __init__(
        self,
        triples: LongTensor,
        features: CandidateIndex,
        *,
        num_entities: int,
        num_relations: int,
        weights: torch.Tensor | None = None,
        drop_universal: bool = True,
    ) -> None:
        super().__init__()
        self.num_entities = validate_count("num_entities", num_entities, 2)
        self.num_relations = validate_count("num_relations", num_relations)
        if features.num_rows != num_entities:
            raise InvalidInputError(f"features of {features.num_rows} entities do not fit {num_entities} entities")
        if not len(features.indices):
            raise InvalidInputError(
                "no entity has a feature: give concepts, types or keywords for at least some of the entities"
            )
        triples = torch.unique(validate_triples(triples, num_entities, num_relations).reshape(-1, 3).cpu(), dim=0)
        if not len(triples):
            raise InvalidInputError("there are no known triples, so nothing is known at any end: give at least one")
        self.features = features
        self.num_features = features.num_columns
        slots = torch.cat([2 * triples[:, 1], 2 * triples[:, 1] + 1])
        asked = torch.cat([triples[:, HEAD], triples[:, TAIL]])
        owner = torch.cat([triples[:, TAIL], triples[:, HEAD]])
        codes, place = torch.unique(slots * num_entities + asked, return_inverse=True)
        self.num_places = len(codes)
        self.register_buffer("member", (codes % num_entities).int())
        self.register_buffer("start", torch.searchsorted(codes, torch.arange(2 * num_relations + 1) * num_entities))
        dense = 2 * num_relations * num_entities <= _DENSE
        table = torch.full((2 * num_relations * num_entities if dense else 0,), -1, dtype=torch.int32)
        if dense:
            table[codes] = torch.arange(len(codes), dtype=torch.int32)
        self.register_buffer("place_of", table)
        self.register_buffer("codes", codes[:0] if dense else codes)
        #: shape: ``(places,)``, how many owners each has
        self.register_buffer("owners", torch.bincount(place, minlength=len(codes)).float())
        self.register_buffer("weights", _weights(weights, features, torch.unique(owner)))
        universal = self._profiles(slots, owner, place)
        self.register_buffer("universal", universal if drop_universal else universal[:0])

    def _derive(self) -> None:
        self.num_places, self.num_features = len(self.member), len(self.weights)

    def _profiles(self, slots: LongTensor, owner: LongTensor, place: LongTensor) -> LongTensor:
        """Build the profiles; return keys ``slot * features + feature`` of the features that all owners have there."""
        features = scipy.sparse.csr_array(
            (
                np.ones(len(self.features.indices), dtype=np.float32),
                self.features.indices.cpu().numpy(),
                self.features.indptr.cpu().numpy(),
            ),
            shape=(self.num_entities, self.num_features),
        )
        ones = np.ones(len(owner), dtype=np.float32)
        owned = scipy.sparse.csr_array(
            (ones, (place.numpy(), owner.numpy())), shape=(self.num_places, self.num_entities)
        )
        counts = (owned @ features).tocsc()  # by feature, then by place
        counts.sort_indices()
        feature = np.repeat(np.arange(self.num_features), np.diff(counts.indptr))
        keys = feature * self.num_places + counts.indices
        self.register_buffer("keys", torch.from_numpy(keys))
        shares = counts.data / self.owners.numpy()[counts.indices]
        self.register_buffer("share", torch.from_numpy(shares.astype(np.float32)))
        self.bits = RowBits(keys, self.num_places, bits_per_key=_BITS_PER_KEY)
        # all owners of a slot, each once
        known = torch.unique(slots * self.num_entities + owner)
        own = known % self.num_entities
        at = torch.div(known, self.num_entities, rounding_mode="floor")
        size = torch.bincount(at, minlength=2 * self.num_relations).float()
        at_slot = scipy.sparse.csr_array(
            (np.ones(len(own), dtype=np.float32), (at.numpy(), own.numpy())),
            shape=(2 * self.num_relations, self.num_entities),
        )
        frequency = scipy.sparse.coo_array(at_slot @ features)
        row, column = (torch.from_numpy(one.astype(np.int64)) for one in frequency.coords)
        everywhere = torch.from_numpy(frequency.data) >= size[row]
        return (row * self.num_features + column)[everywhere].sort().values

    # Places

    @staticmethod
    def slots(queries: Queries) -> LongTensor:
        """Return the slot of each query.

        :param queries: ``q`` pairs
        :returns: shape: ``(q,)``, int64
        """
        return 2 * queries.relation + (queries.side == TAIL)

    def places(self, queries: Queries, ids: torch.Tensor) -> IntTensor:
        """Return the places of candidates.

        :param queries: ``q`` pairs
        :param ids: shape: ``(q, n)``, entities
        :returns: shape: ``(q, n)``, int32; -1 for an entity that is not known at that end of the relation
        """
        code = (self.slots(queries) * self.num_entities)[:, None] + ids
        if len(self.place_of):
            return self.place_of.index_select(0, code.reshape(-1)).view(code.shape)
        place = torch.searchsorted(self.codes, code).clamp_(max=len(self.codes) - 1)
        return torch.where(self.codes[place] == code, place, -1).int()

    def asking(self, queries: Queries) -> IntTensor:
        """Return the places of the entities that stay, at their own end.

        :param queries: ``q`` pairs
        :returns: shape: ``(q,)``, int32; -1 for an entity that is not known at that end of the relation
        """
        return self.places(queries.turned(), queries.kept[:, None]).squeeze(-1)

    def pools(self, proposal: str = "owners", triples: LongTensor | None = None) -> CandidateIndex:
        """Return the places of every slot as pools to draw from.

        :param proposal: one of :data:`PROPOSALS`
        :param triples: shape: ``(m, 3)``, the known triples; needed for ``"owners"``
        :returns: ``2 * relations`` rows; members are places
        :raises InvalidInputError: if the proposal is unknown
        """
        choose("proposal", proposal, PROPOSALS)
        weights = None
        if proposal == "triples":
            weights = self.owners.double()
        elif proposal == "owners" and triples is not None:
            triples = torch.unique(triples.reshape(-1, 3).cpu(), dim=0)
            weights = torch.zeros(self.num_places, dtype=torch.float64)
            for end, other in ((HEAD, TAIL), (TAIL, HEAD)):
                pair = triples[:, 1] * self.num_entities + triples[:, other]
                _, inverse, times = torch.unique(pair, return_inverse=True, return_counts=True)
                queries = Queries.from_triples(triples, torch.full((len(triples),), end))
                place = self.places(queries, triples[:, end, None]).squeeze(-1).long()
                weights.index_add_(0, place, 1.0 / times[inverse].double())
        return CandidateIndex(
            self.start.cpu(), torch.arange(self.num_places), num_columns=self.num_places, weights=weights
        )

    # Overlap

    def shares_any(self, queries: Queries, places: IntTensor) -> BoolTensor:
        """Return whether the entity that stays has a feature that some owner of the candidate has.

        :param queries: ``q`` pairs
        :param places: shape: ``(q, n)``, from :meth:`places`
        :returns: shape: ``(q, n)``; not for a candidate without owners
        """
        found = torch.zeros(places.numel(), dtype=torch.bool, device=places.device)
        for cell, _, _ in self._shared(queries, places):
            found[cell] = True
        return found.view(places.shape)

    def overlap(self, queries: Queries, places: IntTensor) -> tuple[FloatTensor, FloatTensor]:
        """Return the weights of shared features.

        :param queries: ``q`` pairs
        :param places: shape: ``(q, n)``, from :meth:`places`
        :returns: two tensors of shape ``(q, n)``: the sum of the weights of the features that some owner shares, and
            the same in the mean over the owners
        """
        some = torch.zeros(places.numel(), device=places.device, dtype=self.share.dtype)
        mean = torch.zeros_like(some)
        for cell, weight, share in self._shared(queries, places):
            some.index_add_(0, cell, weight)
            mean.index_add_(0, cell, weight * share)
        return some.view(places.shape), mean.view(places.shape)

    def norm(self, queries: Queries) -> FloatTensor:
        """Return the sum of the weights of all features of the entities that stay.

        :param queries: ``q`` pairs
        :returns: shape: ``(q,)``
        """
        row, _, weight = self.asked(queries)
        return torch.zeros(len(queries), device=row.device, dtype=weight.dtype).index_add_(0, row, weight)

    def asked(self, queries: Queries) -> tuple[LongTensor, LongTensor, FloatTensor]:
        """Return the features of the entities that stay which say something at the other end.

        :param queries: ``q`` pairs
        :returns: the query, the feature and the weight of each, shape: ``(e,)``
        """
        size = self.features.size(queries.kept)
        row = torch.repeat_interleave(torch.arange(len(size), device=size.device), size)
        first = self.features.indptr[queries.kept] - size.cumsum(0) + size
        feature = self.features.indices[torch.arange(len(row), device=row.device) + first[row]].long()
        weight = self.weights[feature]
        if len(self.universal):
            key = self.slots(queries)[row] * self.num_features + feature
            place = torch.searchsorted(self.universal, key).clamp_(max=len(self.universal) - 1)
            weight = weight.masked_fill(self.universal[place] == key, 0.0)
            kept = weight > 0
            row, feature, weight = row[kept], feature[kept], weight[kept]
        return row, feature, weight

    def _shared(self, queries: Queries, places: IntTensor) -> Iterator[tuple[LongTensor, FloatTensor, FloatTensor]]:
        """Yield shared features, some at a time: the flat cell, the weight, and the share of the owners with it."""
        n = places.shape[-1]
        rows, features, weights = self.asked(queries)
        step = max(_CELLS // max(n, 1), 1)
        for begin in range(0, len(rows), step):
            row, feature = rows[begin : begin + step], features[begin : begin + step]
            place = places.index_select(0, row)
            found = self.bits.probe(feature, place.clamp(min=0)).view(-1).nonzero().squeeze(-1)
            asked = torch.div(found, n, rounding_mode="floor")
            at = place.view(-1)[found].long()
            key = feature[asked] * self.num_places + at
            position = torch.searchsorted(self.keys, key).clamp_(max=len(self.keys) - 1)
            real = (self.keys[position] == key) & (at >= 0)
            found, asked, position = found[real], asked[real], position[real]
            cell = found + (row[asked] - asked) * n
            yield cell, weights[begin : begin + step][asked], self.share[position]


def _weights(weights: torch.Tensor | None, features: CandidateIndex, owners: LongTensor) -> FloatTensor:
    """Return the weight of each feature, shape ``(features,)``, float32."""
    if weights is None:
        row, feature = features.pairs()
        own = torch.zeros(features.num_rows, dtype=torch.bool)
        own[owners] = True
        times = torch.bincount(feature.cpu()[own[row.cpu()]], minlength=features.num_columns)
        return torch.log(len(owners) / times.clamp(min=1).double()).float()
    if not isinstance(weights, torch.Tensor):
        raise InvalidInputError(f"weights must be a tensor, got {type(weights).__name__}")
    if weights.shape != (features.num_columns,):
        raise InvalidInputError(
            f"weights of shape {tuple(weights.shape)} do not fit {features.num_columns} features: one each is needed"
        )
    wrong = (~(weights >= 0) | weights.isinf()).nonzero()
    if len(wrong):
        raise InvalidInputError(
            f"the weight of feature {int(wrong[0])} is {float(weights[int(wrong[0])])}: weights must be finite and not "
            "negative"
        )
    return weights.detach().float().cpu()


def signature_features(triples: LongTensor, *, num_entities: int, num_relations: int) -> CandidateIndex:
    """Return which ends of which relations each entity is known at: features of any knowledge graph.

    Source: the relational context of Galkin et al., NodePiece, ICLR 2022.

    :param triples: shape: ``(m, 3)``, the known triples
    :param num_entities: the number of entities
    :param num_relations: the number of relations
    :returns: entities x ``2 * relations``: ``2 * relation`` for its heads, and one more for its tails

    >>> signature_features(torch.tensor([[0, 0, 1]]), num_entities=2, num_relations=1).members(1).tolist()
    [1]
    """
    triples = validate_triples(triples, num_entities, num_relations).reshape(-1, 3)
    return CandidateIndex.from_pairs(
        torch.cat([triples[:, HEAD], triples[:, TAIL]]),
        torch.cat([2 * triples[:, 1], 2 * triples[:, 1] + 1]),
        num_rows=num_entities,
        num_columns=2 * num_relations,
    )
