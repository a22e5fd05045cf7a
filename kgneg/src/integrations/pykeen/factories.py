"""From the bare ids that PyKEEN hands to a sampler back to labels and texts."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from pykeen.triples import TriplesFactory

from kgneg.core.errors import InvalidInputError
from kgneg.core.triples import TripleIndex
from kgneg.core.typing import HEAD, RELATION, TAIL, LongTensor

__all__ = ["Labels", "find_labels"]


class Labels(NamedTuple):
    """The labels of a graph."""

    #: entity labels by id
    entities: tuple[str, ...]
    #: relation labels by id, without inverse relations
    relations: tuple[str, ...]
    #: texts by entity label, when the graph came with texts
    texts: Mapping[str, str]
    #: pairs of entity label and type label, when the graph came with types
    types: tuple[tuple[str, str], ...]


def find_labels(mapped_triples: LongTensor, num_entities: int, *, using: str | None = None) -> Labels | None:
    """Find the labels behind triples by looking at the triples factories that are alive.

    PyKEEN gives a sampler neither the factory nor its labels. The factory with exactly these triples is taken; when
    there is none, any factory whose triples contain them all (the caller made a subset), provided that all such
    factories agree.

    :param mapped_triples: shape: ``(m, 3)``, the triples as given to the sampler, with inverse triples or not
    :param num_entities: the number of entities
    :param using: ``"texts"`` or ``"types"`` when those of the graph are wanted too, so that factories must agree on
        them
    :returns: the labels, or ``None`` when no factory with labels fits
    :raises InvalidInputError: if factories with different labels, or different texts or types, fit
    """
    found = _found(mapped_triples, num_entities)
    if _conflict(found, using):
        gc.collect()  # graphs that nobody holds any more may be among them
        found = _found(mapped_triples, num_entities)
    conflict = _conflict(found, using)
    if conflict:
        raise InvalidInputError(
            f"graphs with {num_entities} entities and different {conflict} are in memory, so the {conflict} of these "
            "triples are ambiguous. Delete the graphs that are not used, or "
            + (f"give {using}=." if conflict == using else "give vectors= if it is texts that you need.")
        )
    return max(found, key=lambda labels: len(getattr(labels, using or "texts"))) if found else None


def _found(mapped_triples: LongTensor, num_entities: int) -> set[Labels]:
    """Return what the factories that fit best know."""
    alive = [
        candidate
        for candidate in gc.get_objects()
        if type(candidate).__mro__.__contains__(TriplesFactory) and candidate.num_entities == num_entities
    ]
    exact = [factory for factory in alive if _made(factory, mapped_triples)]
    return {_labels(factory) for factory in exact or [other for other in alive if _contains(other, mapped_triples)]}


def _conflict(found: set[Labels], using: str | None) -> str | None:
    """Return what factories disagree on, if anything; those without texts or types have no say in them."""
    if len({(labels.entities, labels.relations) for labels in found}) > 1:
        return "labels"
    brought = [getattr(labels, using) for labels in found if getattr(labels, using)] if using else []
    return using if any(other != brought[0] for other in brought) else None


def _made(factory: TriplesFactory, mapped_triples: LongTensor) -> bool:
    """Return whether these are the triples of a factory, possibly followed by their inverses."""
    own = factory.mapped_triples
    if own is mapped_triples:
        return True
    if len(mapped_triples) == len(own):
        return torch.equal(own, mapped_triples.to(own.device))
    if len(mapped_triples) != 2 * len(own):
        return False
    first = mapped_triples[: len(own)].to(own.device)
    return torch.equal(first[:, [HEAD, TAIL]], own[:, [HEAD, TAIL]]) and torch.equal(
        first[:, RELATION], 2 * own[:, RELATION]
    )


def _contains(factory: TriplesFactory, mapped_triples: LongTensor) -> bool:
    """Return whether all triples are of a factory, or inverses of such."""
    head, relation, tail = mapped_triples.cpu().unbind(-1)
    # after 1.11 the model, and not the factory, knows of inverse relations
    if getattr(factory, "create_inverse_triples", False):
        turned = relation % 2 == 1
        head, tail = torch.where(turned, tail, head), torch.where(turned, head, tail)
        relation = relation // 2
    if not len(relation) or int(relation.max()) >= factory.real_num_relations:
        return False
    index = TripleIndex(
        factory.mapped_triples.cpu(),
        num_entities=factory.num_entities,
        num_relations=factory.real_num_relations,
        keys="auto",
    )
    return bool(index.contains(torch.stack([head, relation, tail], dim=-1)).all())


class _Frozen(dict[str, str]):
    """Texts that can be a member of a set, by identity."""

    def __hash__(self) -> int:  # type: ignore[override]
        return id(self)


def _labels(factory: TriplesFactory) -> Labels:
    # ids may have gaps
    # and be numbers, where a reader of PyKEEN took them for such, as it does for WN18RR
    entities = tuple(str(factory.entity_id_to_label.get(number, number)) for number in range(factory.num_entities))
    names = factory.relation_id_to_label
    relations = tuple(str(names.get(number, number)) for number in range(factory.real_num_relations))
    metadata: Mapping[str, Any] = factory.metadata or {}
    texts = _Frozen(metadata.get("texts", {}))
    return Labels(entities, relations, texts, tuple(metadata.get("types", ())))
