"""What all PyKEEN samplers of kgneg share."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from copy import copy
from functools import cache
from typing import Any, ClassVar

import torch
from pykeen.sampling import NegativeSampler
from pykeen.triples.instances import BatchedSLCWAInstances
from torch.utils.data import get_worker_info

from kgneg.core.corruption import Corruptor
from kgneg.core.errors import InvalidInputError
from kgneg.core.negatives import Negatives
from kgneg.core.plausibility import OperatingPoint, PlausibilityCeiling, validate_budget
from kgneg.core.typing import LongTensor
from kgneg.core.validation import validate_count
from kgneg.integrations.pykeen.control import budgeted
from kgneg.integrations.pykeen.grouped import Groups, Masks, group_by_side
from kgneg.integrations.pykeen.setup import Setup

__all__ = ["NUM_NEGS_RANGE", "KgnegNegativeSampler", "Setup"]

#: The search range that all samplers share, as PyKEEN has it.
NUM_NEGS_RANGE: Mapping[str, Mapping[str, Any]] = {
    "num_negs_per_pos": {"type": int, "low": 1, "high": 100, "log": True}
}

#: How many triples each worker gets when it is found out which it walks over.
_SHARE = 64


class KgnegNegativeSampler(NegativeSampler, ABC):
    """Adapter from a :class:`~kgneg.core.corruption.Corruptor` to PyKEEN's interface.

    Negatives are never known training triples (``filtered=True``, the default), so there is no mask; ``filtered=False``
    draws without looking. A ``filterer`` is applied on top and does give a mask.

    PyKEEN after 1.11 asks for negatives grouped by the end that was replaced when its loop is told ``grouped=True``;
    :meth:`sample_grouped` gives those that :meth:`sample` would give. PyKEEN 1.11 never asks.

    Draws come from a private generator: construction and sampling leave torch's global stream untouched. Its seed is
    ``seed``, or what was given to :func:`torch.manual_seed` (PyKEEN's ``random_seed``).

    :param mapped_triples: shape: ``(m, 3)``, the training triples
    :param num_entities: the number of entities; ``None`` infers it
    :param num_relations: the number of relations; ``None`` infers it
    :param num_negs_per_pos: the number of negatives per positive, 1 by default
    :param filtered: whether known triples are excluded, exactly
    :param filterer: a PyKEEN filterer to apply on top
    :param filterer_kwargs: its arguments
    :param fn_budget: at most how many times as many unknown true triples as among uniform negatives may be drawn, as
        :func:`~kgneg.core.plausibility.find_operating_point` estimates with hidden triples; ``None``: any number
    :param seed: the seed of the private generator
    """

    #: The name as users write it.
    display_name: ClassVar[str]
    #: Where the method comes from.
    citation: ClassVar[str]
    #: Whether the method needs a text for every entity.
    needs_text: ClassVar[bool] = False
    #: What PyKEEN after 1.11 looks at before it asks for groups.
    supports_grouped_corruption: ClassVar[bool] = True

    corruptor: Corruptor

    def __init__(
        self,
        *,
        mapped_triples: LongTensor,
        num_entities: int | None,
        num_relations: int | None,
        num_negs_per_pos: int | None,
        filtered: bool,
        filterer: Any,
        filterer_kwargs: Mapping[str, Any] | None,
        seed: int | None,
        options: Mapping[str, Any],
        fn_budget: float | None = None,
    ) -> None:
        if fn_budget is not None:
            fn_budget = validate_budget(fn_budget)
        if num_negs_per_pos is not None:
            num_negs_per_pos = validate_count("num_negs_per_pos", num_negs_per_pos)
        if not isinstance(filtered, bool):
            raise InvalidInputError(f"filtered must be True or False, got {filtered!r}")
        super().__init__(
            mapped_triples=mapped_triples,
            num_entities=num_entities,
            num_relations=num_relations,
            num_negs_per_pos=num_negs_per_pos,
            filterer=filterer,
            filterer_kwargs=filterer_kwargs,
        )
        setup = Setup(mapped_triples, self.num_entities, self.num_relations)
        common = {**setup.sizes, "index": setup.index() if filtered else None, "seed": seed}
        #: where the sampler operates, if it has a budget of false negatives
        self.operating_point: OperatingPoint | None = None
        if fn_budget is None:
            self.corruptor = self.make_corruptor(setup, common, **options)
        else:
            self.corruptor, self.operating_point = budgeted(
                type(self), options, setup, common, fn_budget, self.num_negs_per_pos
            )
        self._trusted = False

    @classmethod
    def settled(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the options as they are once the negatives do not get harder any more.

        :param options: the adapter's own options
        :returns: the options that a budget of false negatives is tested with
        """
        return options

    @classmethod
    def make_controlled(
        cls, setup: Setup, common: dict[str, Any], ceiling: PlausibilityCeiling, /, **options: Any
    ) -> Corruptor:
        """Build the corruptor under a ceiling of plausibility.

        :param setup: the graph
        :param common: the arguments of every corruptor
        :param ceiling: a rule that candidates have to obey
        :param options: the adapter's own options
        :returns: the corruptor
        """
        return cls.make_corruptor(setup, {**common, "constraints": (ceiling,)}, **options)

    @classmethod
    @abstractmethod
    def make_corruptor(cls, setup: Setup, common: dict[str, Any], **options: Any) -> Corruptor:
        """Build the corruptor; what an adapter has to write besides its constructor.

        :param setup: the graph, and access to what was built for it before
        :param common: the arguments of every corruptor: sizes, index and seed
        :param options: the adapter's own options
        :returns: the corruptor
        """

    def draw(self, positive_batch: LongTensor, *, trusted: bool = False) -> Negatives:
        """Draw negatives in compact form.

        :param positive_batch: shape: ``(*batch, 3)``, ids, checked to be in range
        :param trusted: skip the check, for callers that know the ids to be in range
        :returns: negatives of shape ``(*batch, num_negs_per_pos)``
        """
        negatives: Negatives = self.corruptor(positive_batch, self.num_negs_per_pos, trusted=trusted)
        return negatives

    def corrupt_batch(self, positive_batch: LongTensor) -> LongTensor:
        """Draw negatives as PyKEEN wants them.

        The ids of the first batch are checked; PyKEEN's loops go on with triples of the same graph.

        :param positive_batch: shape: ``(*batch, 3)``, ids
        :returns: shape: ``(*batch, num_negs_per_pos, 3)``
        """
        return self._drawn(positive_batch).triples

    def corrupt_batch_grouped(self, positive_batch: LongTensor) -> Groups:
        """Draw negatives as replacements of heads and of tails.

        :param positive_batch: shape: ``(*batch, 3)``, ids
        :returns: for ``"head"`` and ``"tail"``, where there are any, entities of shape ``(*batch, k)``; the numbers
            ``k`` sum to ``num_negs_per_pos``
        :raises InvalidInputError: if positives differ in how many of their negatives replace the head
        """
        groups, masks = group_by_side(self._drawn(positive_batch))
        if masks is not None:
            raise InvalidInputError(
                "the positives of this batch differ in how many of their negatives replace the head, so groups need "
                "masks: call sample_grouped, or take an even num_negs_per_pos and sides='uniform'"
            )
        return groups

    def sample_grouped(self, positive_batch: LongTensor) -> tuple[Groups, Masks | None]:
        """Draw negatives as replacements of heads and of tails: those that :meth:`sample` would draw.

        With an odd ``num_negs_per_pos`` or ``sides="bernoulli"`` positives differ in how many of their negatives
        replace the head. Then groups are wider, and masks leave out what is no negative; see
        :func:`~kgneg.integrations.pykeen.grouped.group_by_side`.

        :param positive_batch: shape: ``(*batch, 3)``, ids
        :returns: for ``"head"`` and ``"tail"``, where there are any, entities of shape ``(*batch, k)``, and masks of
            the same shape, true for what counts; ``None`` when all count
        """
        negatives = self._drawn(positive_batch)
        mask = None if self.filterer is None else self.filterer(negative_batch=negatives.triples)
        return group_by_side(negatives, mask)

    def _drawn(self, positive_batch: LongTensor) -> Negatives:
        _warn_about_workers()
        trusted, self._trusted = self._trusted and positive_batch.dtype == torch.int64, True
        return self.draw(positive_batch, trusted=trusted)

    def report(self) -> dict[str, int]:
        """Return how many negatives were drawn, rejected at first, filled by fall-back, and turned to the other end.

        Fall-backs of a method that can relax its rule count as ``relaxed`` too, where that was enough; see
        :attr:`corruptor`'s ``counts``.
        """
        return {name: self.corruptor.counts[name] for name in ("drawn", "rejected", "fallback", "turned")}


def _warn_about_workers() -> None:
    """Warn, once per process, when PyKEEN's loader runs two or more workers and these lose triples."""
    worker = get_worker_info()
    if worker is None or worker.num_workers < 2 or worker.id != 1:
        return
    if _loses_triples(worker.dataset, worker.num_workers):
        _warn_once(worker.num_workers)


@cache
def _loses_triples(instances: Any, num_workers: int) -> bool:
    """Return whether the second worker walks over the triples of the first, as that of PyKEEN 1.11 does."""
    if getattr(type(instances), "iter_triple_ids", None) is not BatchedSLCWAInstances.iter_triple_ids:
        return False
    probe = copy(instances)
    probe.mapped_triples = torch.zeros(_SHARE * num_workers, 3, dtype=torch.int64)
    probe.batch_size, probe.drop_last = 1, False
    with torch.random.fork_rng(devices=[]):
        return all(number < _SHARE for batch in probe.iter_triple_ids() for number in batch)


@cache
def _warn_once(num_workers: int) -> None:
    # each worker gets the ids 0..k-1 of its share instead of its share, so all see the same leading triples
    warnings.warn(
        f"num_workers={num_workers}: PyKEEN 1.11 then trains on the first 1/{num_workers} of the "
        "triples only, because every worker of its sLCWA loader walks over the same leading part. Use "
        'num_workers=0, for kgneg\'s samplers are fast enough for the main process, or training_loop="kgneg".',
        UserWarning,
        stacklevel=5,
    )
