"""Negatives from the neighbourhood in the graph, in PyKEEN."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

from kgneg.core.corruption import Corruptor
from kgneg.core.seeding import PrivateGenerators
from kgneg.core.typing import LongTensor
from kgneg.core.validation import validate_share
from kgneg.integrations.pykeen.base import NUM_NEGS_RANGE, KgnegNegativeSampler
from kgneg.integrations.pykeen.setup import Setup
from kgneg.samplers import MixtureCorruptor, SansCorruptor, UniformCorruptor, build_sans_pools
from kgneg.samplers.sans import MAX_MEMBERS

__all__ = ["SansNegativeSampler"]


class SansNegativeSampler(KgnegNegativeSampler):
    """SANS: an end is replaced by an entity that is few hops away from the entity that stays.

    Hops are taken on the graph of the training triples, in either direction and whatever the relation. On graphs with
    many triples per entity, or many entities, neighbourhoods become too large to be held; give ``walks`` then.

    :param mapped_triples: shape: ``(m, 3)``, the training triples
    :param num_entities: the number of entities; ``None`` infers it
    :param num_relations: the number of relations; ``None`` infers it
    :param num_negs_per_pos: the number of negatives per positive, 1 by default
    :param filtered: whether known triples are excluded, exactly
    :param filterer: a PyKEEN filterer to apply on top
    :param filterer_kwargs: its arguments
    :param hops: how far away candidates may be, from 1 to 4
    :param walks: take what so many random walks from each entity visit, instead of all entities within reach
    :param max_members: refuse to collect more neighbours than that, of all entities together
    :param anchor: ``"kept"`` as published, or ``"replaced"``: whose neighbours are candidates
    :param uniform_share: the share of negatives that is drawn uniformly instead, in ``[0, 1]``
    :param sides: which end to replace; see ``kgneg-uniform``
    :param fn_budget: at most how many times as many unknown true triples as among uniform negatives may be drawn, at
        least 1; ``None``: any number
    :param seed: the seed of the walks and of the private generator; ``None`` takes torch's initial seed
    """

    display_name: ClassVar[str] = "sans"
    citation: ClassVar[str] = SansCorruptor.citation
    hpo_default: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        **NUM_NEGS_RANGE,
        # more hops may take more memory than there is
        "hops": {"type": int, "low": 1, "high": 2},
        "anchor": {"type": "categorical", "choices": ["kept", "replaced"]},
        "uniform_share": {"type": float, "low": 0.0, "high": 0.9},
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
        hops: int = 2,
        walks: int | None = None,
        max_members: int = MAX_MEMBERS,
        anchor: str = "kept",
        uniform_share: float = 0.0,
        sides: str = "uniform",
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
                "hops": hops,
                "walks": walks,
                "max_members": max_members,
                "anchor": anchor,
                "uniform_share": validate_share("uniform_share", uniform_share),
                "sides": sides,
            },
        )

    @classmethod
    def make_corruptor(  # type: ignore[override]
        cls,
        setup: Setup,
        common: dict[str, Any],
        *,
        hops: int,
        walks: int | None,
        max_members: int,
        anchor: str,
        uniform_share: float,
        sides: str,
    ) -> Corruptor:
        """Build the corruptor, or a mixture of it and a uniform one.

        :param setup: the graph
        :param common: the arguments of every corruptor
        :param hops: how far away candidates may be
        :param walks: the number of random walks per entity
        :param max_members: the bound on the number of neighbours
        :param anchor: whose neighbours are candidates
        :param uniform_share: the share of uniform negatives
        :param sides: the name of the side policy
        :returns: the corruptor
        """
        policy = setup.sides(sides)
        if uniform_share == 1:
            return UniformCorruptor(sides=policy, **common)
        # all neighbours are the same for every seed
        seed = None if walks is None else PrivateGenerators(common["seed"]).seed
        build = partial(build_sans_pools, hops=hops, walks=walks, seed=seed, max_members=max_members)
        pools = setup.build(
            "sans",
            [hops, walks, seed, max_members],
            lambda: build(setup.mapped_triples, num_entities=setup.num_entities),
        )
        sans = SansCorruptor(pools, anchor=anchor, sides=policy, **common)
        if not uniform_share:
            return sans
        uniform = UniformCorruptor(**setup.sizes)
        return MixtureCorruptor([(sans, 1 - uniform_share), (uniform, uniform_share)], sides=policy, **common)
