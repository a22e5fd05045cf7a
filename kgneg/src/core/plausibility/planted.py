"""Triples that are hidden on purpose, to see which negatives are true."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.queries import Queries
from kgneg.core.triples import TripleIndex
from kgneg.core.typing import HEAD, RELATION, TAIL, BoolTensor, LongTensor
from kgneg.core.validation import validate_share, validate_triples

__all__ = ["Planted", "plant"]

_PURPOSE = 0x706C616E74


@dataclass(frozen=True, eq=False)
class Planted:
    """A graph with some of its triples hidden.

    :param known: shape: ``(m, 3)``, the triples that are left
    :param hidden: shape: ``(k, 3)``, those that are not
    :param index: of the triples that are left
    :param hidden_index: of the hidden ones
    """

    known: LongTensor
    hidden: LongTensor
    index: TripleIndex
    hidden_index: TripleIndex

    @classmethod
    def of(cls, known: LongTensor, hidden: LongTensor, *, num_entities: int, num_relations: int) -> Planted:
        """Make a graph of triples that are chosen already, held-out ones for instance.

        :param known: shape: ``(m, 3)``, the triples that are left
        :param hidden: shape: ``(k, 3)``, those that are not; ones that are known as well are left out
        :param num_entities: the number of entities
        :param num_relations: the number of relations
        :returns: the graph
        :raises InvalidInputError: if ids are out of range
        """
        sizes = {"num_entities": num_entities, "num_relations": num_relations}
        known, hidden = (
            torch.unique(validate_triples(part, **sizes).reshape(-1, 3).cpu(), dim=0) for part in (known, hidden)
        )
        index = TripleIndex(known, keys="auto", **sizes)
        hidden = hidden[~index.contains(hidden)]
        return cls(known, hidden, index, TripleIndex(hidden, keys="auto", **sizes))

    def contains(self, queries: Queries, ids: LongTensor) -> BoolTensor:
        """Return which candidates make a hidden triple.

        :param queries: ``q`` pairs
        :param ids: shape: ``(q,)``, one candidate for each
        :returns: shape: ``(q,)``
        """
        codes = self.hidden_index.codes(queries.kept, queries.relation, queries.side)
        return self.hidden_index.confirm(codes, ids.long())

    def hits(self) -> tuple[Queries, LongTensor, LongTensor]:
        """Return how hidden triples can be met by replacing one end of a known triple.

        :returns: pairs whose completions are known in part, for each an entity that makes a hidden triple, and of how
            many known triples the pair is a part; all of shape ``(q,)``. The replaced entity of the pairs is arbitrary.
        """
        sides = [torch.full_like(self.hidden[:, 0], side) for side in (HEAD, TAIL)]
        queries = Queries.from_triples(torch.cat([self.hidden, self.hidden]), torch.cat(sides))
        times = self.index.count(queries.kept, queries.relation, queries.side)
        rows = (times > 0).nonzero().squeeze(-1)
        chosen = queries[rows]
        return (
            Queries(chosen.kept, chosen.relation, chosen.replaced, chosen.side),
            chosen.replaced,
            times[rows],
        )

    def uniform_rate(self) -> float:
        """Return the share of hidden triples among uniform negatives of the known ones, exactly.

        Each end is replaced half of the time by an entity that makes no known triple and is not the replaced one.
        """
        queries, _, times = self.hits()
        free = self.index.num_entities - self.index.count(queries.kept, queries.relation, queries.side)
        return float((times.double() / free).sum() / (2 * len(self.known)))


def plant(triples: LongTensor, *, num_entities: int, num_relations: int, share: float = 0.1, seed: int = 0) -> Planted:
    """Hide a share of the triples, chosen at random.

    Where each triple ``(h, 2r, t)`` has its inverse ``(t, 2r + 1, h)``, as PyKEEN makes them, both are hidden together.

    :param triples: shape: ``(m, 3)``; repeated ones count once
    :param num_entities: the number of entities
    :param num_relations: the number of relations
    :param share: of the hidden triples, at least one and not all
    :param seed: the seed of the choice
    :returns: the graph
    :raises InvalidInputError: if there are fewer than two distinct triples, or the share is 0 or 1

    >>> planted = plant(torch.tensor([[0, 0, 1], [0, 0, 2], [0, 0, 3]]), num_entities=5, num_relations=1)
    >>> len(planted.known), len(planted.hidden), planted.uniform_rate()
    (2, 1, 0.16666666666666666)
    """
    if not 0 < validate_share("share", share) < 1:
        raise InvalidInputError(f"share must be larger than 0 and smaller than 1, got {share}")
    triples = torch.unique(validate_triples(triples, num_entities, num_relations).reshape(-1, 3).cpu(), dim=0)
    if len(triples) < 2:
        raise InvalidInputError(f"hiding triples needs at least two distinct ones, got {len(triples)}")
    pairs = _inverse_pairs(triples)
    if len(pairs) < 2:
        pairs = torch.arange(len(triples))[:, None]
    generator = torch.Generator().manual_seed(seed ^ _PURPOSE)
    order = torch.randperm(len(pairs), generator=generator)
    number = min(max(round(share * len(pairs)), 1), len(pairs) - 1)
    hidden, known = (triples[pairs[part].view(-1).sort().values] for part in (order[:number], order[number:]))
    known_index, hidden_index = (
        TripleIndex(part, num_entities=num_entities, num_relations=num_relations, keys="auto")
        for part in (known, hidden)
    )
    return Planted(known, hidden, known_index, hidden_index)


def _inverse_pairs(triples: LongTensor) -> LongTensor:
    """Return the places of triples and their inverses, ``(k, 2)``, if all have one; none for other graphs."""
    forward = (triples[:, RELATION] % 2 == 0).nonzero().squeeze(-1)
    backward = (triples[:, RELATION] % 2 == 1).nonzero().squeeze(-1)
    if len(forward) != len(backward):
        return forward.new_empty((0, 2))
    turned = triples[backward].flip(-1) - torch.tensor([0, 1, 0])
    ordered = [
        part[torch.from_numpy(np.lexsort(triple.numpy().T))]
        for part, triple in ((forward, triples[forward]), (backward, turned))
    ]
    pairs = torch.stack(ordered, dim=-1)
    inverse = triples[pairs[:, 1]].flip(-1) - torch.tensor([0, 1, 0])
    return pairs if torch.equal(triples[pairs[:, 0]], inverse) else forward.new_empty((0, 2))
