"""Pairs of a query and an entity, such as a sentence and a skill, as triples that every method can corrupt."""

from __future__ import annotations

from typing import Any

import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.sides import SidePolicy
from kgneg.core.triples import TripleIndex
from kgneg.core.typing import LongTensor
from kgneg.core.validation import validate_count

__all__ = ["pair_options", "pair_triples"]


def pair_triples(queries: LongTensor, entities: LongTensor) -> LongTensor:
    """Return the triples ``(0, query, entity)``: every query is a relation, and only the tail is ever replaced.

    :param queries: shape: ``(k,)``
    :param entities: shape: ``(k,)``
    :returns: shape: ``(k, 3)``
    :raises InvalidInputError: if the lengths differ

    >>> pair_triples(torch.tensor([4]), torch.tensor([2])).tolist()
    [[0, 4, 2]]
    """
    if queries.shape != entities.shape or queries.ndim != 1:
        raise InvalidInputError(
            f"queries and entities must be vectors of one length, got {tuple(queries.shape)}, {tuple(entities.shape)}"
        )
    return torch.stack([torch.zeros_like(queries), queries, entities], dim=-1).long()


def pair_options(queries: LongTensor, entities: LongTensor, *, num_queries: int, num_entities: int) -> dict[str, Any]:
    """Return what a corruptor has to be built with so that it draws entities that a query does not have, exactly.

    :param queries: shape: ``(k,)``, in ``[0, num_queries)``
    :param entities: shape: ``(k,)``, in ``[0, num_entities)``, what each query is known to have
    :param num_queries: the number of queries
    :param num_entities: the number of entities
    :returns: ``num_entities``, ``num_relations``, ``index`` and ``sides``, arguments of
        :class:`~kgneg.core.corruption.Corruptor`
    :raises InvalidInputError: if an id is out of range

    >>> from kgneg.samplers import UniformCorruptor
    >>> queries, skills = torch.tensor([0, 0]), torch.tensor([1, 2])
    >>> corruptor = UniformCorruptor(**pair_options(queries, skills, num_queries=1, num_entities=4), seed=0)
    >>> sorted(set(corruptor(pair_triples(queries, skills), 20).entity.flatten().tolist()))
    [0, 3]
    """
    sizes: dict[str, Any] = {"num_entities": validate_count("num_entities", num_entities, 2)}
    sizes["num_relations"] = validate_count("num_queries", num_queries)
    return {**sizes, "index": TripleIndex(pair_triples(queries, entities), **sizes), "sides": SidePolicy("tail")}
