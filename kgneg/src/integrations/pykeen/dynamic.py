"""Negatives that the model finds plausible, in PyKEEN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from kgneg.core.corruption import Corruptor
from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import LongTensor
from kgneg.integrations.pykeen.base import NUM_NEGS_RANGE, KgnegNegativeSampler
from kgneg.integrations.pykeen.handle import ModelAwareNegativeSampler
from kgneg.integrations.pykeen.setup import Setup
from kgneg.samplers import DynamicCorruptor

__all__ = ["DynamicNegativeSampler"]


class DynamicNegativeSampler(KgnegNegativeSampler, ModelAwareNegativeSampler):
    """Negatives that the model finds most plausible among a few candidates, which are random ones as a rule.

    It looks at the model during training and so needs ``training_loop="kgneg"``.

    :param mapped_triples: shape: ``(m, 3)``, the training triples
    :param num_entities: the number of entities; ``None`` infers it
    :param num_relations: the number of relations; ``None`` infers it
    :param num_negs_per_pos: the number of negatives per positive, 1 by default
    :param filtered: whether known triples are excluded, exactly
    :param filterer: a PyKEEN filterer to apply on top
    :param filterer_kwargs: its arguments
    :param sides: which end to replace; see ``kgneg-uniform``
    :param pool: how many candidates are scored for each positive and end
    :param temperature: 0 takes the highest scores, larger values choose more evenly
    :param skip_top: how many of the best candidates are left out; more of the unknown true triples go with them
    :param ceiling: candidates are left out whose score exceeds that of the positive by more; ``None``: none
    :param share: the share of the negatives that the method gives; the others are uniform
    :param pool_from: the sampler that the candidates come from, or a mixture of some, written as the ``components`` of
        the ``mixture`` sampler: ``"typed"``, or ``"typed=0.5,kgneg-uniform=0.5"``; ``None`` draws uniformly
    :param pool_from_kwargs: arguments of these samplers by name, for example ``{"lemon": {"encoder": "lexical"}}``
    :param fn_budget: at most how many times as many unknown true triples as among uniform negatives may be drawn, at
        least 1; ``None``: any number
    :param seed: the seed of the private generator; ``None`` takes torch's initial seed
    """

    display_name: ClassVar[str] = "dynamic"
    citation: ClassVar[str] = DynamicCorruptor.citation
    hpo_default: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        **NUM_NEGS_RANGE,
        **DynamicCorruptor.hpo_default,
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
        pool: int = 64,
        temperature: float = 0.0,
        skip_top: int = 0,
        ceiling: float | None = None,
        share: float = 1.0,
        pool_from: str | Mapping[str, float] | None = None,
        pool_from_kwargs: Mapping[str, Mapping[str, Any]] | None = None,
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
                "pool": pool,
                "temperature": temperature,
                "skip_top": skip_top,
                "ceiling": ceiling,
                "share": share,
                "pool_from": pool_from,
                "pool_from_kwargs": pool_from_kwargs,
            },
        )

    @classmethod
    def make_corruptor(
        cls,
        setup: Setup,
        common: dict[str, Any],
        *,
        sides: str = "uniform",
        pool_from: str | Mapping[str, float] | None = None,
        pool_from_kwargs: Mapping[str, Mapping[str, Any]] | None = None,
        **options: Any,
    ) -> Corruptor:
        """Build the corruptor.

        :param setup: the graph
        :param common: the arguments of every corruptor
        :param sides: the name of the side policy
        :param pool_from: the samplers that candidates come from
        :param pool_from_kwargs: arguments of these samplers by name
        :param options: the options of :class:`~kgneg.samplers.DynamicCorruptor`
        :returns: the corruptor
        :raises InvalidInputError: if there is no such sampler, or arguments are given for one that is not there
        """
        from kgneg.integrations.pykeen.mixture import MixtureNegativeSampler

        source = None
        if pool_from is not None:
            source = MixtureNegativeSampler.make_corruptor(
                setup, common, components=pool_from, components_kwargs=pool_from_kwargs, sides=sides
            )
        elif pool_from_kwargs:
            raise InvalidInputError(f"pool_from_kwargs has no effect without pool_from, got {dict(pool_from_kwargs)!r}")
        return DynamicCorruptor(source=source, sides=setup.sides(sides), **options, **common)
