"""What entities are about: features from plain arguments, or from what a graph has."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch

from kgneg.core.candidates import CandidateIndex
from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import LongTensor
from kgneg.integrations.pykeen.factories import Labels, find_labels
from kgneg.integrations.pykeen.setup import Setup
from kgneg.integrations.pykeen.taxonomy import hierarchy_of_relations, likely_hierarchy
from kgneg.samplers import signature_features

__all__ = ["SOURCES", "entity_features", "type_features"]

logger = logging.getLogger(__name__)

#: Where features come from: whatever there is; the types of the graph; the ancestors in a relation of the graph such
#: as hypernyms; the ends of relations that an entity is known at; the words of the texts.
SOURCES = ("auto", "types", "hierarchy", "relations", "words")
#: From which share of the entities on types and ancestors are enough.
_ENOUGH = 0.5
_STEPS = 2


def entity_features(
    setup: Setup, features: Any, texts: Any
) -> tuple[Callable[[LongTensor], CandidateIndex], list[str]]:
    """Return what makes the features of the entities of known triples, for some features are made of these.

    :param setup: the graph
    :param features: names of :data:`SOURCES`, with ``+`` between them; or features by entity label (a mapping, or a
        file with two columns); or a :class:`~kgneg.core.candidates.CandidateIndex` of entities x features
    :param texts: for words, see ``lemon``
    :returns: a function from triples, shape ``(m, 3)``, to entities x features, and which sources these are from
    :raises InvalidInputError: if a source is unknown or has nothing for any entity
    """
    table = getattr(features, "features", features)
    if isinstance(features, Mapping) or (isinstance(features, str | Path) and _is_file(features)):
        table = _given(setup, features)
    if isinstance(table, CandidateIndex):
        if table.num_rows != setup.num_entities:
            raise InvalidInputError(f"features of {table.num_rows} entities do not fit {setup.num_entities}")
        return _made_of(setup, [table], None, relations=False), ["given"]
    if not isinstance(features, str):
        raise InvalidInputError(f"features={features!r}: give {', '.join(SOURCES)}, a file, or features by label")
    names = _names(setup, features)
    fixed = [type_features(setup)] if "types" in names else []
    fixed += [_words(setup, texts)] if "words" in names else []
    hierarchy = _upward(setup) if "hierarchy" in names else None
    return _made_of(setup, fixed, hierarchy, relations="relations" in names), names


def _names(setup: Setup, features: str) -> list[str]:
    names = [one.strip() for one in features.split("+")]
    unknown = [one for one in names if one not in SOURCES]
    if unknown:
        raise InvalidInputError(
            f"features={features!r}: {unknown[0]!r} is neither a file nor one of {', '.join(SOURCES)}"
        )
    if "auto" in names:
        names = [one for one in names if one != "auto"] + _found(setup)
        names = [one for one in SOURCES if one in names]
    return names


def _made_of(
    setup: Setup, fixed: list[CandidateIndex], hierarchy: tuple[Labels, str] | None, *, relations: bool
) -> Callable[[LongTensor], CandidateIndex]:
    """Return what makes features of triples: those that do not depend on them, ancestors, and ends of relations."""

    def make(triples: LongTensor) -> CandidateIndex:
        parts = list(fixed)
        if hierarchy is not None:
            parts.append(_ancestors(Setup(triples, setup.num_entities, setup.num_relations), *hierarchy))
        if relations:
            parts.append(signature_features(triples.cpu(), **setup.sizes))
        return _united(parts)

    return make


def _is_file(path: str | Path) -> bool:
    try:
        return Path(path).is_file()
    except OSError:  # a text that is too long for a name
        return False


def _found(setup: Setup) -> list[str]:
    """Return types and hierarchy where there are any, and relations where those are not enough."""
    labels = find_labels(setup.mapped_triples, setup.num_entities, using="types")
    found: dict[str, CandidateIndex] = {}
    if labels is not None and labels.types:
        try:
            found["types"] = type_features(setup)
        except InvalidInputError:
            logger.info("the types of the graph are for none of its entities")
    relation = None if labels is None else likely_hierarchy(labels)
    if labels is not None and relation is not None:
        found["hierarchy"] = _ancestors(setup, labels, relation)
    having = torch.zeros(setup.num_entities, dtype=torch.bool)
    for one in found.values():
        having |= one.size(torch.arange(setup.num_entities)) > 0
    names = list(found)
    if float(having.float().mean()) < _ENOUGH:
        names.append("relations")
    logger.info("features of the entities come from: %s", ", ".join(names))
    return names


def type_features(setup: Setup, *, broader: bool = True) -> CandidateIndex:
    """Return the types that came with the graph.

    :param setup: the graph
    :param broader: whether those up to two steps above them count too, as far as the graph has them
    :returns: entities x types
    :raises InvalidInputError: if no types came with it, or none is for an entity
    """
    labels = find_labels(setup.mapped_triples, setup.num_entities, using="types")
    if labels is None or not labels.types:
        raise InvalidInputError(
            "types are asked for, but none came with the graph: load it with kgneg.datasets from a folder or RDF file "
            "that has some, or give features by entity label"
        )
    types = _with_broader(setup, labels) if broader else labels.types
    return _by_label(labels, types, setup.num_entities, "the types of the graph")


def _with_broader(setup: Setup, labels: Labels) -> tuple[tuple[str, str], ...]:
    """Return the types of the graph, and those above them where a relation such as subclass of says so."""
    relation = likely_hierarchy(labels)
    if relation is None:
        return labels.types
    taxonomy = hierarchy_of_relations(setup, labels, relation)
    row, parent = (part.tolist() for part in taxonomy.parents.pairs())
    above: dict[str, list[str]] = {}
    for child, broader in zip(row, parent, strict=True):
        above.setdefault(taxonomy.concepts[child], []).append(taxonomy.concepts[broader])
    pairs = set(labels.types)
    latest = pairs
    for _ in range(_STEPS):
        latest = {(one, broader) for one, kind in latest for broader in above.get(kind, ())} - pairs
        pairs = pairs | latest
    return tuple(sorted(pairs))


def _given(setup: Setup, features: Any) -> CandidateIndex:
    from kgneg.datasets import read_types

    labels = find_labels(setup.mapped_triples, setup.num_entities)
    if labels is None:
        raise InvalidInputError("features are given by label, but no triples factory with labels is in memory")
    if isinstance(features, Mapping):
        pairs = []
        for label, several in features.items():
            if not isinstance(several, str | Iterable):
                raise InvalidInputError(
                    f"features of {label!r} must be a text or several, got {several!r}; leave out what has none"
                )
            pairs += [(str(label), str(one)) for one in ([several] if isinstance(several, str) else several)]
        return _by_label(labels, tuple(pairs), setup.num_entities, "the given mapping")
    return _by_label(labels, read_types(features), setup.num_entities, str(features))


def _by_label(labels: Labels, pairs: tuple[tuple[str, str], ...], num_entities: int, source: str) -> CandidateIndex:
    entity = {label: number for number, label in enumerate(labels.entities)}
    number = {name: place for place, name in enumerate(sorted({name for _, name in pairs}))}
    known = [(entity[label], number[name]) for label, name in pairs if label in entity]
    if not known:
        raise InvalidInputError(
            f"{source}: {len(pairs)} features, but none for an entity of the graph, such as {labels.entities[0]!r}"
        )
    rows, members = torch.tensor(known).unbind(-1)
    return CandidateIndex.from_pairs(rows, members, num_rows=num_entities, num_columns=len(number))


def _upward(setup: Setup) -> tuple[Labels, str]:
    """Return the labels of the graph, and the relation that makes a hierarchy."""
    labels = find_labels(setup.mapped_triples, setup.num_entities)
    relation = None if labels is None else likely_hierarchy(labels)
    if labels is None or relation is None:
        raise InvalidInputError(
            "a hierarchy is asked for, but no relation of the graph looks like one, such as hypernym or subclass of"
        )
    return labels, relation


def _ancestors(setup: Setup, labels: Labels, relation: str) -> CandidateIndex:
    """Return the broader entities of each entity up to some steps away, and itself where it is broader than others."""
    taxonomy = hierarchy_of_relations(setup, labels, relation)
    entity = {label: number for number, label in enumerate(labels.entities)}
    ids = torch.tensor([entity[concept] for concept in taxonomy.concepts])
    row, parent = (part.numpy() for part in taxonomy.parents.pairs())
    shape = (len(taxonomy), len(taxonomy))
    # what is broader than something is a feature of itself as well
    broader = np.unique(parent)
    start = np.concatenate([row, broader]), np.concatenate([parent, broader])
    up = scipy.sparse.csr_array((np.ones(len(start[0]), dtype=np.int32), start), shape=shape)
    reached = up
    for _ in range(_STEPS - 1):
        reached = reached @ up
    at, above = (torch.from_numpy(one.astype(np.int64)) for one in reached.nonzero())
    return CandidateIndex.from_pairs(ids[at], ids[above], num_rows=setup.num_entities, num_columns=setup.num_entities)


def _words(setup: Setup, texts: Any) -> CandidateIndex:
    from kgneg.datasets import Conceptualiser
    from kgneg.integrations.pykeen.texts import entity_texts

    labels = find_labels(setup.mapped_triples, setup.num_entities, using="texts")
    names = entity_texts(texts, labels, setup.num_entities, "label")
    return Conceptualiser(persons={}).conceptualise(names).features


def _united(parts: list[CandidateIndex]) -> CandidateIndex:
    """Return all features of several tables, side by side."""
    if len(parts) == 1:
        return parts[0]
    rows, members, width = [], [], 0
    for part in parts:
        row, member = part.pairs()
        rows.append(row.cpu())
        members.append(member.cpu() + width)
        width += part.num_columns
    return CandidateIndex.from_pairs(torch.cat(rows), torch.cat(members), num_rows=parts[0].num_rows, num_columns=width)
