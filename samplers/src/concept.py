"""Candidates of the right kind whose owners have nothing to do with the one that asks."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch

from kgneg.core.candidates import CandidateIndex
from kgneg.core.corruption import Corruptor, Proposals, Queries
from kgneg.core.errors import InvalidInputError
from kgneg.core.masks import flat_nonzero
from kgneg.core.modules import BufferModule, share
from kgneg.core.sides import SidePolicy
from kgneg.core.typing import TAIL, BoolTensor, FloatTensor, IntTensor, LongTensor
from kgneg.samplers.concept_parts import ConceptParts, learn_concepts
from kgneg.samplers.concept_score import Features
from kgneg.samplers.kinds import SharedKinds
from kgneg.samplers.owner_profiles import OwnerProfiles

__all__ = ["ConceptCorruptor"]

#: of how many candidates the ones that share least are taken where all that were drawn are refused
_LAST = 16
#: how many more are proposed at first than will be refused
_SURPLUS = 1.0


class ConceptCorruptor(BufferModule, Corruptor):
    """Replace an end by an entity known there, unless those who have it resemble the one that asks.

    For ``(h, r, ?)`` candidates are the known tails of ``r``: answers of the right kind. A candidate is refused when
    its owners, the heads that have it under ``r``, have too much in common with ``h``, for then it is likely to be
    right for ``h`` as well. For ``(?, r, t)`` heads are drawn and tails are compared in the same way.

    ``mode="weighted"`` refuses the share ``budget`` of the proposals, those with the highest
    :class:`~kgneg.samplers.concept_score.ConceptScore`. ``mode="paper"`` refuses every candidate that shares a feature
    with any of its owners, which refuses popular answers nearly always.

    Where every draw is refused, the ones that share least of some more draws are taken, and flagged as ``fallback``;
    ``counts["relaxed"]`` counts them. So no constraint can keep the sampler busy for ever.

    Source: Wang et al., CAR: Conceptualization-Augmented Reasoner, Findings of EMNLP 2023; the score, the budget, kinds
    and the replacement of heads are ours.

    :param parts: what was learned from the known triples, by :func:`learn_concepts`
    :param require: entities x kinds: a candidate must share a kind with the entity that it replaces, if that has any
    :param options: the arguments of :class:`~kgneg.core.corruption.Corruptor`
    :raises InvalidInputError: if sizes do not fit

    >>> features = CandidateIndex.from_lists([[0], [0], [1], [], [], []], num_columns=2)
    >>> triples = torch.tensor([[0, 0, 3], [1, 0, 4], [2, 0, 5]])
    >>> corruptor = ConceptCorruptor.from_triples(
    ...     triples, features, mode="paper", num_entities=6, num_relations=1, seed=0
    ... )
    >>> negatives = corruptor(triples[:1], 8)
    >>> negatives.triples[negatives.side == 2][:, 2].unique().tolist()
    [5]
    """

    citation: ClassVar[str] = "Wang et al., Findings of EMNLP 2023"
    retreat_is_fallback = True
    redraws: ClassVar[int] = 4
    most_attempts: ClassVar[int] = 32
    limit: FloatTensor | None
    knows: BoolTensor

    def __init__(self, parts: ConceptParts, *, require: CandidateIndex | None = None, **options: Any) -> None:
        super().__init__(**options)
        sizes = (parts.profiles.num_entities, parts.profiles.num_relations)
        if sizes != (self.num_entities, self.num_relations):
            raise InvalidInputError(
                f"concepts of {sizes[0]} entities and {sizes[1]} relations do not fit a corruptor for "
                f"{self.num_entities} and {self.num_relations}"
            )
        self.kinds = None if require is None else SharedKinds(require, self.num_entities)
        # twins, which can be moved without those of other corruptors; a score has its own profiles
        self.score = None if parts.score is None else share(parts.score)
        self.own_profiles = share(parts.profiles) if parts.score is None else None
        self.pools = share(parts.pools)
        self.verdicts = None if parts.verdicts is None else share(parts.verdicts)
        #: whether verdicts refuse all triples of the index as well
        self.register_buffer("knows", torch.tensor(self._learn_known(parts)))
        self._derive()
        self.register_buffer("limit", parts.limit)
        #: about which share of the proposals is refused
        self.refusals = parts.refusals

    @classmethod
    def from_triples(
        cls,
        triples: LongTensor,
        features: Features,
        *,
        num_entities: int,
        num_relations: int,
        mode: str = "weighted",
        budget: float = 0.2,
        proposal: str = "owners",
        weights: torch.Tensor | None = None,
        vectors: torch.Tensor | None = None,
        dim: int = 32,
        drop_universal: bool | None = None,
        precompute: bool | None = None,
        seed: int | None = None,
        sides: SidePolicy | None = None,
        **options: Any,
    ) -> ConceptCorruptor:
        """Learn from the known triples who owns what and what may be taken, and build the corruptor.

        The arguments are those of :func:`learn_concepts`, of this class and of
        :class:`~kgneg.core.corruption.Corruptor`.

        :param triples: shape: ``(m, 3)``, the known triples
        :param features: entities x features, or what makes them of triples
        :param num_entities: the number of entities
        :param num_relations: the number of relations
        :param mode: one of :data:`~kgneg.samplers.concept_parts.MODES`
        :param budget: which share of the proposals is refused
        :param proposal: how likely a candidate is to be proposed
        :param weights: shape: ``(features,)``, or ``None``
        :param vectors: shape: ``(num_entities, d)``, or ``None``
        :param dim: how many components of the vectors are used
        :param drop_universal: whether features that all owners at an end share count for nothing there
        :param precompute: whether verdicts are worked out beforehand
        :param seed: the seed of all that is random
        :param sides: which end to replace; ``None`` is uniform
        :param options: the other arguments
        :returns: the corruptor
        :raises InvalidInputError: if something is malformed or unknown
        """
        sizes = {"num_entities": num_entities, "num_relations": num_relations}
        policy = "uniform" if sides is None else sides.policy
        parts = learn_concepts(
            triples,
            features,
            mode=mode,
            budget=budget,
            proposal=proposal,
            weights=weights,
            vectors=vectors,
            dim=dim,
            drop_universal=drop_universal,
            precompute=precompute,
            ends={"head": (0,), "tail": (1,)}.get(policy, (0, 1)),
            seed=torch.initial_seed() if seed is None else seed,
            **sizes,
        )
        return cls(parts, sides=sides, seed=seed, **{**sizes, **options})

    @property
    def profiles(self) -> OwnerProfiles:
        """The owners of each candidate."""
        found = self.own_profiles if self.score is None else self.score.profiles
        assert found is not None  # noqa: S101
        return found

    def _learn_known(self, parts: ConceptParts) -> bool:
        """Let verdicts refuse known triples, if the index has those that they were made of and no others."""
        if self.verdicts is None or self.index is None or self.index.keys.device.type != "cpu":
            return False
        known = parts.triples
        if len(self.index.keys) != 2 * len(known) or not bool(self.index.contains(known).all()):
            return False
        self.verdicts.refuse(self.profiles, known)
        return True

    def _derive(self) -> None:
        self._sure = bool(self.knows) and self.kinds is None

    # Drawing

    def propose(self, queries: Queries, n: int, generator: torch.Generator) -> Proposals:
        """Propose entities that are known at that end of the relation; hits are those that may be taken.

        :param queries: the pairs that need replacements
        :param n: the number of proposals per query
        :param generator: the source of randomness
        :returns: ids and hits of shape ``(q, n)``
        """
        return self._proposed(queries, self.profiles.asking(queries), n, generator)

    def _proposed(self, queries: Queries, asking: IntTensor, n: int, generator: torch.Generator) -> Proposals:
        places, hit = self.pools.sample(self.profiles.slots(queries), n, generator)
        ids = self.profiles.member.index_select(0, places.view(-1)).view(places.shape)
        good = self._refused(queries, asking, ids, places, real=True).logical_not_()
        if self.kinds is not None:
            good &= self.kinds.shared(queries.replaced, ids)
        return ids, good if self.pools.never_empty else good & hit

    def _propose_again(
        self, queries: Queries, n: int, authors: torch.Tensor | None, generator: torch.Generator, *, retreat: bool
    ) -> Proposals:
        if retreat:
            return self._relaxed(queries, n, generator)
        if self.kinds is None:
            return self.propose(queries, n, generator)
        # half of the draws from those of the same kind, wherever they are known
        ids, hit = self.propose(queries, n - n // 2, generator)
        others, real = self.kinds.sample(queries.replaced, n // 2, generator)
        good = real & ~self.refused(queries, others)
        assert hit is not None  # noqa: S101
        return torch.cat([ids, others], dim=-1), torch.cat([hit, good], dim=-1)

    def _first(
        self, queries: Queries, codes: LongTensor | None, n: int, generator: torch.Generator
    ) -> tuple[IntTensor, LongTensor, LongTensor, torch.Tensor | None]:
        # as many more as will be refused, which are cheaper than asking for single slots again
        width = n + math.ceil(_SURPLUS * n * self.refusals / (1 - self.refusals)) + 1
        asking = self.profiles.asking(queries)
        proposals = self._proposed(queries, asking, width, generator)
        ids, wrong = self._checked(queries, proposals)
        found = self._rejected(self._doubtful(asking, codes), ids, wrong)
        bad = torch.zeros(ids.numel(), dtype=torch.bool, device=ids.device).index_fill_(0, found, 1).view(ids.shape)
        slots = flat_nonzero(bad[:, :n].contiguous())
        self.counts["rejected"] += len(slots)
        first, more = ids[:, :n].contiguous(), ids[:, n:].contiguous()
        spare = flat_nonzero(~bad[:, n:].contiguous())
        row = self._row(slots, n)
        needs, has = (torch.bincount(self._row(*part), minlength=len(ids)) for part in ((slots, n), (spare, width - n)))
        # the first slot of a query gets its first spare proposal, and so on
        number = torch.arange(len(slots), device=ids.device) - (needs.cumsum(0) - needs).index_select(0, row)
        served = number < has.index_select(0, row)
        place = ((has.cumsum(0) - has).index_select(0, row) + number)[served]
        first.view(-1).index_copy_(0, slots[served], more.view(-1).index_select(0, spare[place]))
        left = slots[~served]
        return first, left, left[:0], None

    def _doubtful(self, asking: IntTensor, codes: LongTensor | None) -> LongTensor | None:
        """Return the codes of queries if proposals can be known triples; verdicts say so of all that they know."""
        return None if self._sure and bool((asking >= 0).all()) else codes

    def _redraw(
        self,
        queries: Queries,
        codes: LongTensor | None,
        flat: IntTensor,
        n: int,
        slots: LongTensor,
        *args: Any,
        **how: Any,
    ) -> LongTensor:
        if self.verdicts is None or self.kinds is not None or codes is None or how.get("retreat"):
            return super()._redraw(queries, codes, flat, n, slots, *args, **how)
        # where everything is refused or known there is nothing to draw
        asking = self.profiles.asking(queries[self._row(slots, n)])
        at = self.verdicts.closed[asking.clamp(min=0)] & (asking >= 0)
        left = super()._redraw(queries, self._doubtful(asking, codes), flat, n, slots[~at], *args, **how)
        return torch.cat([slots[at], left])

    def _relaxed(self, queries: Queries, n: int, generator: torch.Generator) -> Proposals:
        """Return those of some more draws that are least likely to be right, the best first."""
        # the same query for several slots: each begins with another one of its draws
        parts = torch.stack([queries.side, queries.kept, queries.replaced, queries.relation])
        same = torch.zeros(len(queries), dtype=torch.bool, device=parts.device)
        same[1:] = (parts[:, 1:] == parts[:, :-1]).all(dim=0)
        first = (~same).nonzero().squeeze(-1)
        number = (~same).cumsum(0) - 1
        turn = torch.arange(len(queries), device=parts.device) - first[number]
        asked = queries[first]
        places, hit = self.pools.sample(self.profiles.slots(asked), max(_LAST, n), generator)
        ids = self.profiles.member.index_select(0, places.view(-1)).view(places.shape)
        plausible = self.profiles.overlap(asked, places)[0] if self.score is None else self.score(asked, ids, places)
        bad = ~hit | self.forbidden(asked, ids)
        if self.kinds is not None:
            bad = bad | ~self.kinds.shared(asked.replaced, ids)
        least, order = plausible.masked_fill(bad, torch.inf).sort(dim=-1, stable=True)
        ids = ids.gather(-1, order)
        good = (least < torch.inf).sum(dim=-1)[number, None]
        rank = (torch.arange(n, device=ids.device) + turn[:, None]).remainder(good.clamp(min=1))
        return ids[number].gather(-1, rank), (good > 0).expand(rank.shape)

    @property
    def retreat(self) -> Any:  # type: ignore[override]
        """Who is asked after all redraws."""
        return self._relaxed

    def refused(self, queries: Queries, ids: torch.Tensor) -> BoolTensor:
        """Return which candidates are too likely to be right.

        :param queries: ``q`` pairs
        :param ids: shape: ``(q, n)``, entities
        :returns: shape: ``(q, n)``; an entity without owners at that end is never refused by the paper's rule. Known
            triples may be refused too, whatever they score
        """
        places = self.profiles.places(queries, ids)
        found = self._refused(queries, self.profiles.asking(queries), ids, places)
        nowhere = places < 0  # no pair that was worked out
        if bool(nowhere.any()):
            row = nowhere.any(dim=-1).nonzero().squeeze(-1)
            found[row] = torch.where(nowhere[row], self._compared(queries[row], ids[row], places[row]), found[row])
        return found

    def _refused(
        self, queries: Queries, asking: IntTensor, ids: torch.Tensor, places: IntTensor, *, real: bool = False
    ) -> BoolTensor:
        if self.verdicts is None:
            return self._compared(queries, ids, places)
        found: BoolTensor
        found, unknown = self.verdicts(asking, places, real=real)
        if len(unknown):
            found[unknown] = self._compared(queries[unknown], ids[unknown], places[unknown])
        return found

    def _compared(self, queries: Queries, ids: torch.Tensor, places: IntTensor) -> BoolTensor:
        if self.score is None or self.limit is None:
            return self.profiles.shares_any(queries, places)
        limit = self.limit.index_select(0, (queries.side == TAIL).long())
        scores: FloatTensor = self.score(queries, ids, places)
        return scores > limit[:, None]
