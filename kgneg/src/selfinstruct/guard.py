"""A filter as a judge over what samplers propose: likely true negatives are refused, and drawn again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from kgneg.core.corruption import Corruptor, Queries
from kgneg.core.errors import InvalidInputError, KeyOverflowError
from kgneg.core.negatives import Negatives
from kgneg.core.typing import HEAD, RELATION, TAIL, BoolTensor, IntTensor
from kgneg.core.validation import validate_count
from kgneg.selfinstruct.candidates import Candidates
from kgneg.selfinstruct.decisions import ACTIONS, Decider

__all__ = ["FilterRule"]

_INT64 = 2**63 - 1


class FilterRule:
    """A :class:`~kgneg.core.corruption.Constraint` that asks a filter about each triple, once.

    A candidate that the filter drops is refused, so that the method proposes another one. When a method has nothing
    left to offer, uniform draws stand in, which are repeated while they are refused, but not for ever: the corruptor
    counts what was refused to the last as ``unbound``, and :meth:`allowed` tells which negatives these are.

    Verdicts are remembered by triple. A filter that asks a language model is best run before training; see
    :func:`~kgneg.selfinstruct.links.write_kept`.

    :param decider: the filter
    :param entities: the text of each entity, by id
    :param relations: the name of each relation, by id, without inverse relations
    :param refuse: which actions refuse a candidate; ``("drop", "review")`` lets only clear negatives through
    :param inverse: whether relation ids count inverse relations, too: ``2 r`` and ``2 r + 1``, as in PyKEEN
    :param memory: how many verdicts are remembered, 16 bytes each
    :raises InvalidInputError: if an action is unknown
    :raises KeyOverflowError: if the graph is too large for one number per triple
    """

    def __init__(
        self,
        decider: Decider,
        *,
        entities: Sequence[str],
        relations: Sequence[str],
        refuse: Sequence[str] = ("drop",),
        inverse: bool = False,
        memory: int = 10_000_000,
    ) -> None:
        refused = (refuse,) if isinstance(refuse, str) else tuple(refuse)
        wrong = [action for action in refused if action not in ACTIONS]
        if wrong or not refused or set(refused) == set(ACTIONS):
            raise InvalidInputError(f"refuse must name one or two of {', '.join(ACTIONS)}, got {refuse!r}")
        self.decider, self.refuse, self.inverse = decider, refused, inverse
        self.memory = validate_count("memory", memory)
        self._entities = np.asarray(entities, dtype=object)
        self._relations = np.asarray(relations, dtype=object)
        if len(self._entities) ** 2 * len(self._relations) > _INT64:
            raise KeyOverflowError(
                f"{len(entities):,} entities and {len(relations):,} relations make more triples than the limit of "
                f"{_INT64:,}: shard the graph."
            )
        self._known = np.empty(0, dtype=np.int64)
        self._allowed = np.empty(0, dtype=bool)
        #: how many candidates were asked about, how many were refused, and how many triples the filter decided about
        self.counts: Counter[str] = Counter()

    @classmethod
    def attach(
        cls,
        corruptor: Corruptor,
        decider: Decider,
        *,
        entities: Sequence[str],
        relations: Sequence[str],
        refuse: Sequence[str] = ("drop",),
        memory: int = 10_000_000,
    ) -> FilterRule:
        """Let a corruptor obey a filter from now on.

        :param corruptor: any corruptor; of a PyKEEN sampler, its attribute ``corruptor``
        :param decider: the filter
        :param entities: the text of each entity, by id
        :param relations: the name of each relation, by id, without inverse relations
        :param refuse: which actions refuse a candidate
        :param memory: how many verdicts are remembered
        :returns: the rule, which counts
        :raises InvalidInputError: if the labels do not fit the corruptor
        """
        inverse = corruptor.num_relations == 2 * len(relations)
        if len(entities) != corruptor.num_entities or not (inverse or corruptor.num_relations == len(relations)):
            raise InvalidInputError(
                f"{len(entities)} entities and {len(relations)} relations do not fit a corruptor for "
                f"{corruptor.num_entities} and {corruptor.num_relations}: give the texts of its graph"
            )
        rule = cls(decider, entities=entities, relations=relations, refuse=refuse, inverse=inverse, memory=memory)
        corruptor.constraints = (*corruptor.constraints, rule)
        return rule

    def __call__(self, queries: Queries, ids: IntTensor) -> BoolTensor:
        """Return which candidates are allowed.

        :param queries: ``q`` pairs
        :param ids: shape: ``(q, n)``, candidates for each
        :returns: shape: ``(q, n)``
        """
        at_head = (queries.side == HEAD)[:, None]
        kept, new = queries.kept[:, None].expand(ids.shape), ids.long()
        relation = queries.relation[:, None].expand(ids.shape)
        triples = torch.stack([torch.where(at_head, new, kept), relation, torch.where(at_head, kept, new)], dim=-1)
        return self._of_triples(triples)

    def allowed(self, negatives: Negatives) -> BoolTensor:
        """Return which negatives of any sampler the filter does not refuse.

        :param negatives: of shape ``(*, n)``
        :returns: shape: ``(*, n)``
        """
        return self._of_triples(negatives.triples)

    def _of_triples(self, triples: torch.Tensor) -> BoolTensor:
        flat = triples.reshape(-1, 3).cpu().numpy()
        head, relation, tail = flat[:, HEAD], flat[:, RELATION], flat[:, TAIL]
        if self.inverse:
            turned = relation % 2 == 1
            head, tail, relation = np.where(turned, tail, head), np.where(turned, head, tail), relation // 2
        keys = (head * len(self._relations) + relation) * len(self._entities) + tail
        distinct, places = np.unique(keys, return_inverse=True)
        found = self._verdicts(distinct)[places]
        self.counts["asked"] += len(found)
        self.counts["refused"] += int(len(found) - found.sum())
        return torch.from_numpy(found).to(triples.device).view(triples.shape[:-1])

    def _verdicts(self, keys: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Return which of sorted distinct keys are allowed, and remember it."""
        places = np.searchsorted(self._known, keys)
        inside = places < len(self._known)
        there = np.zeros(len(keys), dtype=bool)
        there[inside] = self._known[places[inside]] == keys[inside]
        found = np.empty(len(keys), dtype=bool)
        found[there] = self._allowed[places[there]]
        new = ~there
        if new.any():
            found[new] = self._decide(keys[new])
            self._remember(keys[new], found[new], places[new])
        return found

    def _decide(self, keys: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        pair, tail = np.divmod(keys, len(self._entities))
        head, relation = np.divmod(pair, len(self._relations))
        texts = (self._entities[head], self._relations[relation], self._entities[tail])
        decisions = self.decider.decide(Candidates(*(part.tolist() for part in texts)))
        if len(decisions) != len(keys):
            raise InvalidInputError(
                f"the filter gave {len(decisions)} decisions for {len(keys)} candidates: correct it"
            )
        self.counts["judged"] += len(keys)
        return ~np.isin(decisions.action, self.refuse)

    def _remember(
        self, keys: npt.NDArray[np.int64], allowed: npt.NDArray[np.bool_], places: npt.NDArray[np.int64]
    ) -> None:
        if len(self._known) + len(keys) > self.memory:  # begin again: simple, and seldom
            room = min(len(keys), self.memory)
            self._known, self._allowed = keys[:room].copy(), allowed[:room].copy()
            return
        self._known = np.insert(self._known, places, keys)
        self._allowed = np.insert(self._allowed, places, allowed)
