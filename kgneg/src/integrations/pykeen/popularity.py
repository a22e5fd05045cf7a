"""Negatives that occur often, in PyKEEN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from kgneg.core.corruption import Corruptor
from kgneg.core.typing import LongTensor
from kgneg.integrations.pykeen.base import NUM_NEGS_RANGE, KgnegNegativeSampler
from kgneg.integrations.pykeen.setup import Setup
from kgneg.samplers import PopularityCorruptor

__all__ = ["PopularityNegativeSampler"]


class PopularityNegativeSampler(KgnegNegativeSampler):
    """An end is replaced by an entity with a probability that grows with how often it occurs in the training triples.

    :param mapped_triples: shape: ``(m, 3)``, the training triples
    :param num_entities: the number of entities; ``None`` infers it
    :param num_relations: the number of relations; ``None`` infers it
    :param num_negs_per_pos: the number of negatives per positive, 1 by default
    :param filtered: whether known triples are excluded, exactly
    :param filterer: a PyKEEN filterer to apply on top
    :param filterer_kwargs: its arguments
    :param sides: which end to replace; see ``kgneg-uniform``
    :param alpha: the exponent of the counts: 0 is uniform, 1 in proportion to the counts
    :param smoothing: what is added to each count; with 0, an entity that does not occur is drawn as a fall-back only
    :param counts: ``"end"`` counts how often an entity stands at the end that is replaced, ``"both"`` at either
    :param fn_budget: at most how many times as many unknown true triples as among uniform negatives may be drawn, at
        least 1; ``None``: any number
    :param seed: the seed of the private generator; ``None`` takes torch's initial seed
    """

    display_name: ClassVar[str] = "popularity"
    citation: ClassVar[str] = PopularityCorruptor.citation
    hpo_default: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        **NUM_NEGS_RANGE,
        "alpha": {"type": float, "low": 0.0, "high": 1.0},
        "counts": {"type": "categorical", "choices": ["end", "both"]},
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
        alpha: float = 0.75,
        smoothing: float = 1.0,
        counts: str = "end",
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
            options={"sides": sides, "alpha": alpha, "smoothing": smoothing, "counts": counts},
        )

    @classmethod
    def make_corruptor(  # type: ignore[override]
        cls,
        setup: Setup,
        common: dict[str, Any],
        *,
        sides: str = "uniform",
        alpha: float = 0.75,
        smoothing: float = 1.0,
        counts: str = "end",
    ) -> Corruptor:
        """Build the corruptor.

        :param setup: the graph
        :param common: the arguments of every corruptor
        :param sides: the name of the side policy
        :param alpha: the exponent of the counts
        :param smoothing: what is added to each count
        :param counts: where entities are counted
        :returns: the corruptor
        """
        return PopularityCorruptor.from_triples(
            setup.mapped_triples,
            alpha=alpha,
            smoothing=smoothing,
            counts=counts,
            sides=setup.sides(sides),
            **common,
        )
