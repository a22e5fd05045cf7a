"""Read a knowledge graph from RDF."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from kgneg.core.errors import InvalidInputError
from kgneg.datasets._rdf_parse import parse_rdf, rdf_format
from kgneg.datasets._split import split_triples
from kgneg.datasets.graph import KnowledgeGraph

if TYPE_CHECKING:
    from rdflib.term import Literal, Node

__all__ = ["is_rdf", "load_rdf"]

logger = logging.getLogger(__name__)

_TYPE = "http://www.w3.org/1999/02/22-rdf-syntax-ns#type"
#: Properties that give a name, the preferred one first.
_NAMES = ("http://www.w3.org/2000/01/rdf-schema#label", "http://www.w3.org/2004/02/skos/core#prefLabel")
#: Properties that give a description, the preferred one first.
_DESCRIPTIONS = (
    "http://www.w3.org/2000/01/rdf-schema#comment",
    "http://www.w3.org/2004/02/skos/core#definition",
    "http://purl.org/dc/elements/1.1/description",
    "http://purl.org/dc/terms/description",
)

#: Rank of the language, rank of the property, the text itself: the least one is taken.
_Candidate: TypeAlias = tuple[int, int, str]
_WISHED, _NO_LANGUAGE, _OTHER_LANGUAGE = 0, 2, 3


@dataclass
class _Statements:
    """Statements of an RDF graph, sorted by what they mean here."""

    triples: list[tuple[str, str, str]] = field(default_factory=list)
    types: list[tuple[str, str]] = field(default_factory=list)
    names: dict[str, list[_Candidate]] = field(default_factory=dict)
    descriptions: dict[str, list[_Candidate]] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)


def is_rdf(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is RDF by its suffix, packed or not.

    :param path: the file; it need not exist
    :returns: whether :func:`load_rdf` takes it

    >>> is_rdf("zoo.ttl.gz"), is_rdf("zoo.tsv")
    (True, False)
    """
    return rdf_format(Path(path)) is not None


def load_rdf(
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    language: str = "en",
    valid: float = 0.0,
    test: float = 0.0,
    seed: int = 0,
) -> KnowledgeGraph:
    """Read a knowledge graph from an RDF file.

    * A statement between IRIs or blank nodes is a triple, unless its predicate is ``rdf:type``: then it is a type.
    * The name of a node is its ``rdfs:label``, else its ``skos:prefLabel``; its description is its ``rdfs:comment``,
      else its ``skos:definition``, else its ``dc:description``. Its text is ``name, description``. A text in the
      wished language (or in a region of it, such as ``en-GB``) comes first, then one without language, then any.
    * All other literals are skipped and counted as ``skipped_literal``.

    Labels are full IRIs; blank nodes are numbered, ``_:b0``. The network is never used: no ``owl:imports``, no remote
    contexts.

    :param path: the file; its format is known by its suffix: ``.ttl``, ``.nt``, ``.nq``, ``.rdf``, ``.owl`` and
        ``.xml`` (RDF/XML), ``.jsonld``, ``.n3``, ``.trig``; packed or not
    :param name: the name of the graph; by default the name of the file without its suffix
    :param language: the wished language of texts, a language tag
    :param valid: share of the triples to draw for validation, 0 <= valid < 1
    :param test: share of the triples to draw for testing, 0 <= test < 1 and valid + test < 1; every entity and
        every relation stays in training, so that fewer may be drawn
    :param seed: seed of the split
    :returns: the graph; :attr:`KnowledgeGraph.report` also counts texts that are in no language
        (``text_without_language``) or in another one (``text_in_other_language``) than the wished
    :raises InvalidInputError: if the file cannot be read, is malformed, or has no triple, or a share is out of range

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "zoo.nt")
    ...     _ = path.write_text("<http://e/lion> <http://e/eats> <http://e/zebra> .", encoding="utf-8")
    ...     load_rdf(path).entities
    ('http://e/lion', 'http://e/zebra')
    """
    path = Path(path)
    found = _sort_statements(parse_rdf(path), language.lower())
    if not found.triples:
        raise InvalidInputError(
            f"{path}: got no statement between two IRIs or blank nodes (but {len(found.types)} rdf:type statements and "
            f"{found.skipped['skipped_literal']} literals that are no texts), expected at least one"
        )
    report = Counter(found.skipped)
    entities = {label for head, _, tail in found.triples for label in (head, tail)}
    relations = {relation for _, relation, _ in found.triples}
    nodes = sorted((found.names.keys() | found.descriptions.keys()) - (relations - entities))
    graph = KnowledgeGraph.from_labelled(
        name or path.name.split(".")[0],
        found.triples,
        texts=_choose_texts(nodes, found.names, found.descriptions, report),
        types=found.types,
        relation_texts=_choose_texts(sorted(relations), found.names, {}, report),
        report=report,
    )
    if report:
        logger.info("%s: %s", path, ", ".join(f"{what} {count}" for what, count in sorted(report.items())))
    train, valid_triples, test_triples = split_triples(graph.train, valid=valid, test=test, seed=seed)
    return replace(graph, train=train, valid=valid_triples, test=test_triples)


def _sort_statements(statements: Iterable[tuple[Node, Node, Node]], language: str) -> _Statements:
    """Sort statements by what they mean here."""
    from rdflib.term import BNode, Literal, URIRef

    found = _Statements()
    blank: dict[Node, str] = {}

    def label(node: Node) -> str:
        return blank.setdefault(node, f"_:b{len(blank)}") if isinstance(node, BNode) else str(node)

    for subject, predicate, value in statements:
        relation = str(predicate)
        if not isinstance(subject, URIRef | BNode) or not isinstance(predicate, URIRef):
            found.skipped["skipped_statement"] += 1  # N3 formulas and variables
        elif isinstance(value, Literal):
            for properties, texts in ((_NAMES, found.names), (_DESCRIPTIONS, found.descriptions)):
                if relation in properties:
                    candidate = (_language_rank(value, language), properties.index(relation), str(value))
                    texts.setdefault(label(subject), []).append(candidate)
                    break
            else:
                found.skipped["skipped_literal"] += 1
        elif not isinstance(value, URIRef | BNode):
            found.skipped["skipped_statement"] += 1
        elif relation == _TYPE:
            found.types.append((label(subject), label(value)))
        else:
            found.triples.append((label(subject), relation, label(value)))
    return found


def _language_rank(text: Literal, language: str) -> int:
    """Rank the language of a text: wished, a region of the wished, none, another."""
    tag = (text.language or "").lower()
    if not tag:
        return _NO_LANGUAGE
    if tag == language:
        return _WISHED
    return _WISHED + 1 if tag.startswith(f"{language}-") else _OTHER_LANGUAGE


def _choose_texts(
    labels: Iterable[str],
    names: Mapping[str, list[_Candidate]],
    descriptions: Mapping[str, list[_Candidate]],
    report: Counter[str],
) -> dict[str, str]:
    """Choose the text of each label, and count those in no language or in another one."""
    chosen = {}
    for label in labels:
        parts = []
        for texts in (names, descriptions):
            candidates = [(rank, order, text) for rank, order, text in texts.get(label, ()) if text.strip()]
            if candidates:
                rank, _, text = min(candidates)
                parts.append(" ".join(text.split()))
                if rank == _NO_LANGUAGE:
                    report["text_without_language"] += 1
                elif rank == _OTHER_LANGUAGE:
                    report["text_in_other_language"] += 1
        if parts:
            chosen[label] = ", ".join(parts)
    return chosen
