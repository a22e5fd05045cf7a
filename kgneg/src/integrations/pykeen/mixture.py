"""Mixtures of samplers in PyKEEN."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from class_resolver import normalize_string

from kgneg.core.corruption import Corruptor
from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import LongTensor
from kgneg.integrations.pykeen.base import NUM_NEGS_RANGE, KgnegNegativeSampler
from kgneg.integrations.pykeen.concept import ConceptNegativeSampler
from kgneg.integrations.pykeen.given import GivenNegativeSampler
from kgneg.integrations.pykeen.lemon import LemonNegativeSampler
from kgneg.integrations.pykeen.popularity import PopularityNegativeSampler
from kgneg.integrations.pykeen.sans import SansNegativeSampler
from kgneg.integrations.pykeen.setup import Setup
from kgneg.integrations.pykeen.shares import parse_shares
from kgneg.integrations.pykeen.typed import TypedNegativeSampler
from kgneg.integrations.pykeen.uniform import KgnegUniformNegativeSampler
from kgneg.samplers import MixtureCorruptor

__all__ = ["MixtureNegativeSampler"]

_PARTS: Mapping[str, type[KgnegNegativeSampler]] = {
    sampler.display_name: sampler
    for sampler in (
        KgnegUniformNegativeSampler,
        PopularityNegativeSampler,
        TypedNegativeSampler,
        LemonNegativeSampler,
        ConceptNegativeSampler,
        SansNegativeSampler,
        GivenNegativeSampler,
    )
}


class MixtureNegativeSampler(KgnegNegativeSampler):
    """Negatives from several samplers in fixed shares: every positive gets each share, as nearly as whole slots allow.

    :param mapped_triples: shape: ``(m, 3)``, the training triples
    :param num_entities: the number of entities; ``None`` infers it
    :param num_relations: the number of relations; ``None`` infers it
    :param num_negs_per_pos: the number of negatives per positive, 1 by default
    :param filtered: whether known triples are excluded, exactly
    :param filterer: a PyKEEN filterer to apply on top
    :param filterer_kwargs: its arguments
    :param components: the shares, as ``"typed=0.5,kgneg-uniform=0.5"`` or as a mapping; they are scaled to sum to one.
        Components are kgneg-uniform, popularity, typed, lemon, concept, sans and given.
    :param components_kwargs: arguments of the components by name, for example ``{"lemon": {"encoder": "lexical"}}``
    :param sides: which end to replace; see ``kgneg-uniform``
    :param fn_budget: at most how many times as many unknown true triples as among uniform negatives may be drawn, at
        least 1; ``None``: any number
    :param seed: the seed of the private generator; ``None`` takes torch's initial seed
    """

    display_name: ClassVar[str] = "mixture"
    citation: ClassVar[str] = MixtureCorruptor.citation
    hpo_default: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        **NUM_NEGS_RANGE,
        "components": {
            "type": "categorical",
            "choices": [f"typed={share},kgneg-uniform={1 - share}" for share in (0.25, 0.5, 0.75)],
        },
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
        components: str | Mapping[str, float] = "typed=0.5,kgneg-uniform=0.5",
        components_kwargs: Mapping[str, Mapping[str, Any]] | None = None,
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
            options={"components": components, "components_kwargs": components_kwargs, "sides": sides},
        )

    @classmethod
    def make_corruptor(  # type: ignore[override]
        cls,
        setup: Setup,
        common: dict[str, Any],
        *,
        components: str | Mapping[str, float],
        components_kwargs: Mapping[str, Mapping[str, Any]] | None,
        sides: str,
    ) -> Corruptor:
        """Build the components and their mixture.

        :param setup: the graph
        :param common: the arguments of every corruptor
        :param components: the shares
        :param components_kwargs: arguments of the components by name
        :param sides: the name of the side policy
        :returns: the corruptor
        :raises InvalidInputError: if a component is unknown, or arguments are given for one that is not there
        """
        shares = _by_part(parse_shares("components", components))
        arguments = _by_part((components_kwargs or {}).items())
        surplus = sorted(set(arguments) - set(shares))
        if surplus:
            raise InvalidInputError(f"components_kwargs names {', '.join(surplus)}, which is not among the components")
        reserved = {
            "mapped_triples",
            "num_entities",
            "num_relations",
            "num_negs_per_pos",
            "filtered",
            "filterer",
            "sides",
            "fn_budget",
        }
        parts = []
        for name, share in shares.items():
            wrong = sorted(reserved & set(arguments.get(name, {})))
            if wrong:
                raise InvalidInputError(
                    f"{', '.join(wrong)} of {name} belongs to the mixture as a whole: give it there"
                )
            sampler = _PARTS[name](
                mapped_triples=setup.mapped_triples,
                filtered=common["index"] is not None,
                **setup.sizes,
                **arguments.get(name, {}),
            )
            parts.append((sampler.corruptor, share))
        return MixtureCorruptor(parts, sides=setup.sides(sides), **common)


def _part(name: str) -> str:
    """Return the name of a component in its usual spelling."""
    spellings = {normalize_string(known): known for known in _PARTS} | {"uniform": "kgneg-uniform"}
    if normalize_string(name) not in spellings:
        raise InvalidInputError(f"{name!r} is no component of a mixture; known are {', '.join(_PARTS)}")
    return spellings[normalize_string(name)]


def _by_part(named: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return values by the usual spelling of the component."""
    result: dict[str, Any] = {}
    for name, value in named:
        part = _part(name)
        if part in result:
            raise InvalidInputError(f"the component {part} is named twice")
        result[part] = value
    return result
