"""lemon+ in PyKEEN."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from kgneg.core.corruption import Corruptor
from kgneg.core.errors import InvalidInputError
from kgneg.core.plausibility import PlausibilityCeiling, validate_budget
from kgneg.core.typing import LongTensor
from kgneg.core.validation import validate_count, validate_share
from kgneg.integrations.pykeen.base import NUM_NEGS_RANGE, KgnegNegativeSampler
from kgneg.integrations.pykeen.control import truth_prior
from kgneg.integrations.pykeen.lemon import entity_vectors, lemon_pools
from kgneg.integrations.pykeen.setup import Setup
from kgneg.integrations.pykeen.typed import type_pools
from kgneg.samplers import LemonCorruptor, LemonPlusCorruptor, LemonSettings, MixtureCorruptor, UniformCorruptor
from kgneg.samplers.screening import validate_finite

__all__ = ["LemonPlusNegativeSampler"]

#: The share of uniform negatives at a budget of 1, and the budget whose options are taken where there is none.
_UNIFORM, _NO_BUDGET = 0.8, 2.0
#: Of how many candidates the most plausible one is taken at the largest budgets; how many clusters make a pool.
_MOST, _NEAREST = 8, 5


class LemonPlusNegativeSampler(KgnegNegativeSampler):
    """Hard negatives that are seldom true: plausible ones of the right kind, under a budget of false negatives.

    A share of the negatives is uniform. The others fit the domain or range of the relation and resemble the entity that
    they replace, as far as texts tell; of ``best_of`` such candidates the most plausible one is taken that lies below a
    ceiling of plausibility. ``fn_budget`` sets that ceiling.

    :param mapped_triples: shape: ``(m, 3)``, the training triples
    :param num_entities: the number of entities; ``None`` infers it
    :param num_relations: the number of relations; ``None`` infers it
    :param num_negs_per_pos: the number of negatives per positive, 1 by default
    :param filtered: whether known triples are excluded, exactly
    :param filterer: a PyKEEN filterer to apply on top
    :param filterer_kwargs: its arguments
    :param fn_budget: at most how many times as many unknown true triples as among uniform negatives may be drawn, at
        least 1: the higher, the harder are the negatives, and the more of them; ``None`` sets no ceiling
    :param uniform_share: the share of negatives that is drawn uniformly, in ``[0, 1)``; ``None`` takes 0.8 divided by
        the budget, and 0.4 without one
    :param best_of: of how many candidates the most plausible one is taken; ``None`` takes one for a budget of 1, two
        for 1.5, and so on up to eight, and three without one
    :param n_clusters: into how many clusters texts are divided
    :param n_nearest: how many clusters nearest to the replaced entity candidates come from; ``None`` takes five, or all
        if there are fewer
    :param curriculum: after how many epochs; before, pools narrow down from the whole domain or range
    :param texts: texts of the entities, see ``lemon``
    :param missing_text: what to do about entities without text, see ``lemon``
    :param encoder: what makes vectors of texts, see ``lemon``
    :param vectors: vectors instead of texts, see ``lemon``
    :param sides: which end to replace; see ``kgneg-uniform``
    :param seed: the seed of the private generator; ``None`` takes torch's initial seed
    """

    display_name: ClassVar[str] = "lemon+"
    citation: ClassVar[str] = LemonPlusCorruptor.citation
    needs_text: ClassVar[bool] = True
    hpo_default: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        **NUM_NEGS_RANGE,
        "fn_budget": {"type": float, "low": 1.0, "high": 3.0},
        "uniform_share": {"type": float, "low": 0.4, "high": 0.95},
        "best_of": {"type": int, "low": 1, "high": 4},
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
        fn_budget: float | None = 1.0,
        uniform_share: float | None = None,
        best_of: int | None = None,
        n_clusters: int = 15,
        n_nearest: int | None = None,
        curriculum: float = 0.0,
        texts: Any = None,
        missing_text: str = "error",
        encoder: Any = "auto",
        vectors: Any = None,
        sides: str = "single",
        seed: int | None = None,
    ) -> None:
        hardness = _NO_BUDGET if fn_budget is None else validate_budget(fn_budget)
        if uniform_share is None:
            uniform_share = _UNIFORM / hardness
        if best_of is None:
            best_of = min(round(2 * hardness) - 1, _MOST)
        if n_nearest is None:
            n_nearest = min(_NEAREST, validate_count("n_clusters", n_clusters))
        if validate_share("uniform_share", uniform_share) == 1:
            raise InvalidInputError("uniform_share=1 leaves nothing to lemon+: take kgneg-uniform")
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
                "settings": LemonSettings(dim=None, n_clusters=n_clusters, n_nearest=n_nearest),
                "source": {"texts": texts, "missing_text": missing_text, "encoder": encoder, "vectors": vectors},
                "uniform_share": uniform_share,
                "best_of": best_of,
                "slots": validate_finite("curriculum", curriculum, 0.0) * (1 - uniform_share) * (num_negs_per_pos or 1),
                "sides": sides,
            },
        )

    @classmethod
    def settled(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the options without a curriculum.

        :param options: the options
        :returns: the options
        """
        return {**options, "slots": 0.0}

    @classmethod
    def make_corruptor(cls, setup: Setup, common: dict[str, Any], **options: Any) -> Corruptor:
        """Build the corruptor without a ceiling.

        :param setup: the graph
        :param common: the arguments of every corruptor
        :param options: the arguments of :meth:`make_controlled`
        :returns: the corruptor
        """
        return cls.make_controlled(setup, common, PlausibilityCeiling(truth_prior(setup)), **options)

    @classmethod
    def make_controlled(  # type: ignore[override]
        cls,
        setup: Setup,
        common: dict[str, Any],
        ceiling: PlausibilityCeiling,
        /,
        *,
        settings: LemonSettings,
        source: dict[str, Any],
        uniform_share: float,
        best_of: int,
        slots: float,
        sides: str,
    ) -> Corruptor:
        """Build the corruptor under a ceiling of plausibility, which binds uniform negatives too.

        :param setup: the graph
        :param common: the arguments of every corruptor
        :param ceiling: how plausible hard negatives may be
        :param settings: what the pools are made of
        :param source: where vectors come from
        :param uniform_share: the share of uniform negatives
        :param best_of: of how many candidates the most plausible one is taken
        :param slots: after how many hard negatives per triple the pools have their final width
        :param sides: the name of the side policy
        :returns: the corruptor
        """
        own = {**setup.sizes, "index": common["index"]}
        wide = settings.widened() if slots else settings
        pools = lemon_pools(setup, entity_vectors(setup, **source), wide)
        pool = LemonCorruptor(pools, wide, types=type_pools(setup, None, 0.0), **setup.sizes)
        hard = LemonPlusCorruptor(
            pool,
            ceiling,
            best_of=best_of,
            curriculum=math.ceil(slots * len(setup.mapped_triples)),
            width=settings.n_nearest,
            **own,
        )
        policy = setup.sides(sides)
        parts = [(hard, 1 - uniform_share), (UniformCorruptor(**setup.sizes), uniform_share)]
        parts = [part for part in parts if part[1]]
        return MixtureCorruptor(parts, sides=policy, constraints=(ceiling,), **common)
