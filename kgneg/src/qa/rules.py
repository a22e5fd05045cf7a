"""What a distractor must not be, by its words."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from kgneg.core.modules import BufferModule
from kgneg.core.queries import Queries
from kgneg.core.triples import TripleIndex
from kgneg.core.typing import HEAD, RELATION, TAIL, BoolTensor, IntTensor, LongTensor
from kgneg.qa.words import WordTable

__all__ = ["TextRules"]


class TextRules(BufferModule):
    """Says which entities may be distractors of which question; a constraint for every corruptor.

    Always forbidden (:meth:`sound`) are phrases that are no answers at all, known tails of the head and relation, and
    what reads like one of them. :meth:`forward` also forbids what gives itself away: where the answer or the distractor
    is a single word that the other one has, and a distractor that mentions a person who is not in the question.

    All rules are looked up in tables over entities, so that a batch costs a few searches.

    Source: Ma et al., AAAI 2021.

    :param known: shape: ``(m, 3)``, the known triples
    :param words: the words of the entities
    :param forms: shape: ``(entities,)``, a number for each entity that is the same for those that read alike: the
        smallest of their ids
    :param persons: shape: ``(entities,)``, who is mentioned, see :meth:`~kgneg.qa.people.People.mentions`
    :param asked: shape: ``(relations,)``, who is mentioned in the template
    :param empty: shape: ``(entities,)``, which phrases are no answers
    """

    forms: LongTensor
    persons: LongTensor
    asked: LongTensor
    empty: BoolTensor
    single: LongTensor
    keys: LongTensor

    def __init__(
        self,
        known: LongTensor,
        words: WordTable,
        forms: LongTensor,
        *,
        persons: Sequence[int],
        asked: Sequence[int],
        empty: Sequence[bool],
    ) -> None:
        super().__init__()
        self.register_buffer("forms", forms)
        self.register_buffer("persons", torch.tensor(persons, dtype=torch.long))
        self.register_buffer("asked", torch.tensor(asked, dtype=torch.long))
        self.register_buffer("empty", torch.tensor(empty))
        self.register_buffer("single", words.single)
        table = words.table.tocoo()
        self.width = words.table.shape[1]
        keys = torch.from_numpy(table.coords[0]).long() * self.width + torch.from_numpy(table.coords[1]).long()
        self.register_buffer("keys", keys.sort().values)
        self.index = TripleIndex(self.formed(known), num_entities=len(forms), num_relations=len(asked), keys="auto")

    def formed(self, triples: LongTensor) -> LongTensor:
        """Return triples whose ends are the first of the entities that read alike.

        :param triples: shape: ``(m, 3)``
        :returns: shape: ``(m, 3)``
        """
        head, relation, tail = triples.unbind(-1)
        return torch.stack([self.forms[head], relation, self.forms[tail]], dim=-1)

    def sound(self, queries: Queries, ids: IntTensor) -> BoolTensor:
        """Return which entities are answers, and wrong ones as far as anybody knows.

        :param queries: ``q`` questions, with the tail replaced
        :param ids: shape: ``(q, n)``, candidates for each
        :returns: shape: ``(q, n)``
        """
        ids = ids.long()
        form = self.forms[ids]
        triples = torch.empty(*ids.shape, 3, dtype=torch.long, device=ids.device)
        triples[..., HEAD] = self.forms[queries.kept][:, None]
        triples[..., RELATION] = queries.relation[:, None]
        triples[..., TAIL] = form
        known = self.index.contains(triples) | (form == self.forms[queries.replaced][:, None])
        return ~(known | self.empty[ids])

    def forward(self, queries: Queries, ids: IntTensor) -> BoolTensor:
        """Return which entities obey all rules.

        :param queries: ``q`` questions, with the tail replaced
        :param ids: shape: ``(q, n)``, candidates for each
        :returns: shape: ``(q, n)``
        """
        ids = ids.long()
        answer = queries.replaced[:, None].expand_as(ids)
        good = self.sound(queries, ids)
        good &= ~(self._has(answer, self.single[ids]) | self._has(ids, self.single[answer]))
        asked = (self.persons[queries.kept] | self.asked[queries.relation])[:, None]
        good &= (self.persons[ids] & ~asked) == 0
        return good

    def _has(self, entities: LongTensor, words: LongTensor) -> BoolTensor:
        """Return which entities have a word; none has the word -1."""
        asked = entities * self.width + words
        if not len(self.keys):
            return torch.zeros_like(asked, dtype=torch.bool)
        place = torch.searchsorted(self.keys, asked).clamp_(max=len(self.keys) - 1)
        return (self.keys[place] == asked) & (words >= 0)
