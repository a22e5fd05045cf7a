"""Negatives of the right type, in PyKEEN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from kgneg.core.cache import content_key
from kgneg.core.candidates import CandidateIndex
from kgneg.core.corruption import Corruptor
from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import LongTensor
from kgneg.core.validation import validate_share
from kgneg.integrations.pykeen.base import NUM_NEGS_RANGE, KgnegNegativeSampler
from kgneg.integrations.pykeen.factories import find_labels
from kgneg.integrations.pykeen.setup import Setup
from kgneg.samplers import TypedCorruptor, pools_from_types

__all__ = ["TypedNegativeSampler", "type_pools"]


def type_pools(setup: Setup, types: str | None, support: float) -> CandidateIndex:
    """Return the candidates of each relation and end.

    :param setup: the graph
    :param types: a table of entity and type labels, a graph with types (folder, RDF file or built-in dataset), or
        ``"graph"`` for the types that came with the graph; ``None`` takes the observed domain and range
    :param support: see :func:`~kgneg.samplers.pools_from_types`
    :returns: pools with two rows per relation
    :raises InvalidInputError: if there are no types, or none is for an entity of the graph
    """
    validate_share("support", support)
    if types is None:
        return setup.build(  # type: ignore[no-any-return]
            "types", None, lambda: CandidateIndex.from_relation_types(setup.mapped_triples, **setup.sizes)
        )
    table = _type_table(setup, types)
    return setup.build(  # type: ignore[no-any-return]
        "types",
        [content_key(table), support],
        lambda: pools_from_types(setup.mapped_triples, table, support=support, **setup.sizes),
    )


def _type_table(setup: Setup, types: str) -> torch.Tensor:
    from pathlib import Path

    from kgneg.datasets import load, read_types

    labels = find_labels(setup.mapped_triples, setup.num_entities, using="types" if types == "graph" else None)
    if labels is None:
        raise InvalidInputError(
            f"types={types!r} speaks of entity labels, but no triples factory with labels is in memory"
        )
    if types == "graph":
        pairs = labels.types
    else:
        path = Path(types)
        pairs = read_types(path) if path.is_file() and ".tsv" in path.suffixes else load(types).types
    entity = {label: number for number, label in enumerate(labels.entities)}
    kinds = {label: number for number, label in enumerate(sorted({kind for _, kind in pairs}))}
    known = [(entity[label], kinds[kind]) for label, kind in pairs if label in entity]
    if not known:
        raise InvalidInputError(f"types={types!r} gives {len(pairs)} types, but none for an entity of this graph")
    return torch.tensor(known)


class TypedNegativeSampler(KgnegNegativeSampler):
    """Negatives that fit the relation: entities from its domain when the head is replaced, from its range for the tail.

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
    :param types: ``None`` for the domain and range observed in the training triples; or a table of entity and type
        labels (TSV), a graph with types (folder, RDF file), or ``"graph"`` for the types that came with a kgneg dataset
    :param support: with types: the share of the entities at an end that must have a type for it to be admitted there
    :param fn_budget: at most how many times as many unknown true triples as among uniform negatives may be drawn, at
        least 1; ``None``: any number
    :param seed: the seed of the private generator; ``None`` takes torch's initial seed
    """

    display_name: ClassVar[str] = "typed"
    citation: ClassVar[str] = TypedCorruptor.citation
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
        types: str | None = None,
        support: float = 0.05,
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
            options={"sides": sides, "types": types, "support": support},
        )

    @classmethod
    def make_corruptor(  # type: ignore[override]
        cls,
        setup: Setup,
        common: dict[str, Any],
        *,
        sides: str = "uniform",
        types: str | None = None,
        support: float = 0.05,
    ) -> Corruptor:
        """Build the corruptor.

        :param setup: the graph
        :param common: the arguments of every corruptor
        :param sides: the name of the side policy
        :param types: where types come from
        :param support: how common a type must be
        :returns: the corruptor
        """
        return TypedCorruptor(type_pools(setup, types, support), sides=setup.sides(sides), **common)
