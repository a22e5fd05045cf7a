"""Samplers that need nothing but the triples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from kgneg.core.corruption import Corruptor
from kgneg.core.typing import LongTensor
from kgneg.integrations.pykeen.base import NUM_NEGS_RANGE, KgnegNegativeSampler
from kgneg.integrations.pykeen.setup import Setup
from kgneg.samplers import UniformCorruptor

__all__ = ["KgnegBernoulliNegativeSampler", "KgnegUniformNegativeSampler"]


class KgnegUniformNegativeSampler(KgnegNegativeSampler):
    """Uniform negatives that are never known triples: an exact draw from the complement, without a mask.

    :param mapped_triples: shape: ``(m, 3)``, the training triples
    :param num_entities: the number of entities; ``None`` infers it
    :param num_relations: the number of relations; ``None`` infers it
    :param num_negs_per_pos: the number of negatives per positive, 1 by default
    :param filtered: whether known triples are excluded, exactly
    :param filterer: a PyKEEN filterer to apply on top
    :param filterer_kwargs: its arguments
    :param sides: which end to replace: ``"uniform"`` (both, as evenly as possible for every positive), ``"single"``
        (for each positive the same end, at random), ``"bernoulli"``, ``"head"``, ``"tail"`` or ``"alternate"`` (in
        turn, batch by batch)
    :param seed: the seed of the private generator; ``None`` takes torch's initial seed
    """

    display_name: ClassVar[str] = "kgneg-uniform"
    citation: ClassVar[str] = UniformCorruptor.citation
    hpo_default: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        **NUM_NEGS_RANGE,
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
            seed=seed,
            options={"sides": sides},
        )

    @classmethod
    def make_corruptor(cls, setup: Setup, common: dict[str, Any], *, sides: str = "uniform") -> Corruptor:  # type: ignore[override]
        """Build the corruptor.

        :param setup: the graph
        :param common: the arguments of every corruptor
        :param sides: the name of the side policy
        :returns: the corruptor
        """
        return UniformCorruptor(sides=setup.sides(sides), **common)


class KgnegBernoulliNegativeSampler(KgnegNegativeSampler):
    """Like ``kgneg-uniform``, but the end with fewer true alternatives is replaced more often.

    The head is replaced with probability ``tph / (tph + hpt)``: tails per head and heads per tail of the relation.

    :param mapped_triples: shape: ``(m, 3)``, the training triples
    :param num_entities: the number of entities; ``None`` infers it
    :param num_relations: the number of relations; ``None`` infers it
    :param num_negs_per_pos: the number of negatives per positive, 1 by default
    :param filtered: whether known triples are excluded, exactly
    :param filterer: a PyKEEN filterer to apply on top
    :param filterer_kwargs: its arguments
    :param seed: the seed of the private generator; ``None`` takes torch's initial seed
    """

    display_name: ClassVar[str] = "kgneg-bernoulli"
    citation: ClassVar[str] = "Wang et al., AAAI 2014"
    hpo_default: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        **NUM_NEGS_RANGE,
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
            seed=seed,
            options={},
        )

    @classmethod
    def make_corruptor(cls, setup: Setup, common: dict[str, Any]) -> Corruptor:  # type: ignore[override]
        """Build the corruptor.

        :param setup: the graph
        :param common: the arguments of every corruptor
        :returns: the corruptor
        """
        return UniformCorruptor(sides=setup.sides("bernoulli"), **common)
