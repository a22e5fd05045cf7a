"""Caches of hard negatives, in PyKEEN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from kgneg.core.corruption import Corruptor
from kgneg.core.typing import LongTensor
from kgneg.integrations.pykeen.base import NUM_NEGS_RANGE, KgnegNegativeSampler
from kgneg.integrations.pykeen.handle import ModelAwareNegativeSampler
from kgneg.integrations.pykeen.setup import Setup
from kgneg.samplers import NSCachingCorruptor

__all__ = ["NSCachingNegativeSampler"]


class NSCachingNegativeSampler(KgnegNegativeSampler, ModelAwareNegativeSampler):
    """Negatives from a cache for each pair of an entity and a relation, which is kept up to date with the model.

    It looks at the model during training and so needs ``training_loop="kgneg"``.

    :param mapped_triples: shape: ``(m, 3)``, the training triples
    :param num_entities: the number of entities; ``None`` infers it
    :param num_relations: the number of relations; ``None`` infers it
    :param num_negs_per_pos: the number of negatives per positive, 1 by default
    :param filtered: whether known triples are excluded, exactly
    :param filterer: a PyKEEN filterer to apply on top
    :param filterer_kwargs: its arguments
    :param sides: which end to replace; see ``kgneg-uniform``
    :param cache: the number of entities in each cache
    :param candidates: how many random entities compete for a place in it at each refresh
    :param refresh: the caches of a batch are refreshed in every such batch
    :param temperature: 0 takes the highest scores, larger values choose more evenly; 1 as published
    :param skip_top: how many of the best candidates are left out; more of the unknown true triples go with them
    :param ceiling: candidates are left out whose score exceeds that of the positive by more; ``None``: none
    :param share: the share of the negatives that the method gives; the others are uniform
    :param max_bytes: refuse to make caches that take more memory
    :param fn_budget: at most how many times as many unknown true triples as among uniform negatives may be drawn, at
        least 1; ``None``: any number
    :param seed: the seed of the private generator; ``None`` takes torch's initial seed
    """

    display_name: ClassVar[str] = "nscaching"
    citation: ClassVar[str] = NSCachingCorruptor.citation
    hpo_default: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        **NUM_NEGS_RANGE,
        **NSCachingCorruptor.hpo_default,
        "sides": {"type": "categorical", "choices": ["uniform", "single", "bernoulli", "alternate"]},
    }

    def __init__(
        self,
        *,
        mapped_triples: LongTensor,
        num_entities: int | None = None,
        num_relations: int | None = None,
        num_negs_per_pos: int | None = None,
        filtered: bool = True,
        filterer: Any = None,
        filterer_kwargs: Mapping[str, Any] | None = None,
        sides: str = "uniform",
        cache: int = 50,
        candidates: int = 50,
        refresh: int = 1,
        temperature: float = 1.0,
        skip_top: int = 0,
        ceiling: float | None = None,
        share: float = 1.0,
        max_bytes: int = 1 << 31,
        fn_budget: float | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(
            mapped_triples=mapped_triples,
            num_entities=num_entities,
            num_relations=num_relations,
            num_negs_per_pos=num_negs_per_pos,
            filtered=filtered,
            filterer=filterer,
            filterer_kwargs=filterer_kwargs,
            fn_budget=fn_budget,
            seed=seed,
            options={
                "sides": sides,
                "cache": cache,
                "candidates": candidates,
                "refresh": refresh,
                "temperature": temperature,
                "skip_top": skip_top,
                "ceiling": ceiling,
                "share": share,
                "max_bytes": max_bytes,
            },
        )

    @classmethod
    def make_corruptor(
        cls, setup: Setup, common: dict[str, Any], *, sides: str = "uniform", **options: Any
    ) -> Corruptor:
        """Build the corruptor.

        :param setup: the graph
        :param common: the arguments of every corruptor
        :param sides: the name of the side policy
        :param options: the options of :class:`~kgneg.samplers.NSCachingCorruptor`
        :returns: the corruptor
        """
        return NSCachingCorruptor(setup.mapped_triples, sides=setup.sides(sides), **options, **common)
