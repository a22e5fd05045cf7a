"""Read a taxonomy from RDF: SKOS, or the classes of OWL and RDF Schema."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kgneg.core.errors import InvalidInputError
from kgneg.datasets._labels import humanise
from kgneg.datasets._rdf_statements import Statement, read_statements
from kgneg.datasets._taxonomy_cache import cached
from kgneg.datasets.taxonomy import Taxonomy

__all__ = ["read_rdf_taxonomy"]

_RDF, _RDFS = "http://www.w3.org/1999/02/22-rdf-syntax-ns#", "http://www.w3.org/2000/01/rdf-schema#"
_OWL, _SKOS = "http://www.w3.org/2002/07/owl#", "http://www.w3.org/2004/02/skos/core#"
_XL, _DCT = "http://www.w3.org/2008/05/skos-xl#", "http://purl.org/dc/terms/"
_PREFIXES = {"rdf": _RDF, "rdfs": _RDFS, "owl": _OWL, "skos": _SKOS, "skosxl": _XL}

_LINKS = ("skos:broader", "^skos:narrower", "rdfs:subClassOf")
#: Properties of labels, the preferred first.
_LABELS = (f"{_SKOS}prefLabel", f"{_RDFS}label")
_FURTHER = (f"{_SKOS}altLabel", f"{_SKOS}hiddenLabel")
_XL_LABELS = {f"{_XL}prefLabel": 0, f"{_XL}altLabel": 1, f"{_XL}hiddenLabel": 1}
_DESCRIPTIONS = (f"{_SKOS}definition", f"{_DCT}description", f"{_RDFS}comment", f"{_SKOS}scopeNote")
_FORM = f"{_XL}literalForm"
_CONCEPT_TYPES = (f"{_SKOS}Concept", f"{_OWL}Class", f"{_RDFS}Class")
_NO_KIND = (*_CONCEPT_TYPES, f"{_OWL}NamedIndividual", f"{_OWL}Thing", f"{_RDFS}Resource")
_TOP = (f"{_OWL}Thing", f"{_RDFS}Resource")


@dataclass
class _Found:
    """Statements, sorted by what they mean here."""

    links: list[tuple[str, str]] = field(default_factory=list)
    typed: set[str] = field(default_factory=set)
    kinds: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    #: concept -> (language, rank of the property, text)
    labels: dict[str, list[tuple[str, int, str]]] = field(default_factory=lambda: defaultdict(list))
    further: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))
    #: concept -> (language, rank of the property, text)
    descriptions: dict[str, list[tuple[str, int, str]]] = field(default_factory=lambda: defaultdict(list))
    #: the form of each label of SKOS-XL, and (concept, whether it is a further label, label)
    forms: dict[str, tuple[str, str]] = field(default_factory=dict)
    pointers: list[tuple[str, int, str]] = field(default_factory=list)
    relations: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))
    report: Counter[str] = field(default_factory=Counter)


def read_rdf_taxonomy(
    path: str | os.PathLike[str],
    *,
    language: str | None = "en",
    links: Iterable[str] = _LINKS,
    relations: Mapping[str, str] | None = None,
    cache: bool = True,
    **options: Any,
) -> Taxonomy:
    """Read concepts, their broader ones and their labels; the network is never used.

    * Concepts are what is a ``skos:Concept``, ``owl:Class`` or ``rdfs:Class``, and the ends of links.
    * A label is a ``skos:prefLabel``, also one of SKOS-XL, else an ``rdfs:label``; further labels are
      ``skos:altLabel`` and ``skos:hiddenLabel``. A region of the language, such as ``en-GB``, counts as the language,
      and so does a text in no language if there is nothing better.
    * A description is a ``skos:definition``, else a ``dct:description``, ``rdfs:comment`` or ``skos:scopeNote``.
    * The kind of a concept is the last part of its other ``rdf:type``; of several, the first by name.
    * Anonymous classes, such as the restrictions of OWL, are left out and counted.

    With pyoxigraph (the extra ``rdf``) the file is parsed ten times as fast as with rdflib.

    :param path: the file, see :func:`~kgneg.datasets.load_rdf` for formats
    :param language: the language of labels; ``None`` takes labels in whatever language they are
    :param links: properties from child to parent, or with ``^`` before them from parent to child: IRIs, or names with
        one of the prefixes rdf, rdfs, owl, skos
    :param relations: name -> property from a concept to a context, or with ``^`` from a context to a concept
    :param cache: whether to keep what was read, by the content of the file
    :param options: other arguments of :meth:`~kgneg.datasets.Taxonomy.from_pairs`
    :returns: the taxonomy; its report counts ``label_in_other_language``, concepts whose only labels are not in
        ``language``, and others
    :raises InvalidInputError: if the file is missing or malformed (with the line), there is no link, a concept has two
        preferred labels in the language, or, without a language, in several languages; or as
        :meth:`~kgneg.datasets.Taxonomy.from_pairs`

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "zoo.ttl")
    ...     _ = path.write_text(
    ...         "@prefix skos: <http://www.w3.org/2004/02/skos/core#> . "
    ...         '<http://e/lion> skos:broader <http://e/cat> ; skos:prefLabel "lion"@en, "Löwe"@de .',
    ...         encoding="utf-8",
    ...     )
    ...     read_rdf_taxonomy(path, language="de", cache=False).labels
    ('', 'Löwe')
    """
    path = Path(path)
    ways = {one: _expanded(one) for one in links}
    asked = {name: _expanded(one) for name, one in (relations or {}).items()}
    key = {"language": language, "links": sorted(ways.values()), "relations": asked, "options": options}

    def build() -> Taxonomy:
        found = _sorted(read_statements(path), set(ways.values()), asked)
        if not found.links:
            raise InvalidInputError(
                f"{path}: the hierarchy is empty: there is no statement with one of {', '.join(ways)}; name the "
                "property with links=['...']"
            )
        missing = [name for name in asked if name not in found.relations]
        if missing:
            raise InvalidInputError(
                f"{path}: the relation {missing[0]!r} is empty: no statement between two nodes has the property "
                f"{asked[missing[0]][0]}"
            )
        concepts = found.typed.union(*found.links)
        labels, further = _chosen(path, found, concepts, language)
        given: dict[str, Any] = {
            "name": path.name.split(".")[0],
            "concepts": sorted(concepts),
            "labels": labels,
            "alternatives": further,
            "descriptions": _described(found, concepts, language),
            "kinds": {one: min(kinds) for one, kinds in found.kinds.items() if one in concepts},
            "relations": found.relations,
            "report": found.report,
        }
        return Taxonomy.from_pairs(found.links, **{**given, **options})

    return cached([path], key, build) if cache else build()


def _expanded(name: str) -> tuple[str, bool]:
    """Return an IRI, and whether it goes the other way."""
    turned, bare = name.startswith("^"), name.removeprefix("^")
    prefix, mark, rest = bare.partition(":")
    if mark and not rest.startswith("//"):
        if prefix not in _PREFIXES and prefix != "urn":
            raise InvalidInputError(
                f"unknown prefix in {name!r}: write the whole IRI, or use one of {', '.join(_PREFIXES)}"
            )
        return (bare if prefix == "urn" else _PREFIXES[prefix] + rest), turned
    if not mark:
        raise InvalidInputError(f"got the property {name!r}, expected an IRI, or a name such as skos:broader")
    return bare, turned


def _sorted(
    statements: Iterable[Statement], ways: set[tuple[str, bool]], asked: Mapping[str, tuple[str, bool]]
) -> _Found:
    found = _Found()
    of_relation: dict[tuple[str, bool], list[str]] = defaultdict(list)
    for name, way in asked.items():
        of_relation[way].append(name)
    for one in statements:
        if one.language is not None:
            _add_literal(found, one, one.language)
            continue
        if one.predicate in _XL_LABELS:
            found.pointers.append((one.subject, _XL_LABELS[one.predicate], one.value))
        elif one.predicate == f"{_RDF}type":
            _add_type(found, one)
        for turned in (False, True):
            ends = (one.value, one.subject) if turned else (one.subject, one.value)
            if (one.predicate, turned) in ways:
                _add_link(found, ends)
            for name in of_relation.get((one.predicate, turned), ()):
                found.relations[name].append(ends)
    _look_up_labels(found)
    return found


def _look_up_labels(found: _Found) -> None:
    """Replace labels of SKOS-XL, which are nodes, by their forms."""
    for concept, further, label in found.pointers:
        if label not in found.forms:
            found.report["label_without_form"] += 1
        elif further:
            found.further[concept].append(found.forms[label])
        else:
            language, text = found.forms[label]
            found.labels[concept].append((language, 0, text))


def _add_literal(found: _Found, one: Statement, language: str) -> None:
    if one.predicate in _LABELS:
        found.labels[one.subject].append((language, _LABELS.index(one.predicate), one.value))
    elif one.predicate in _FURTHER:
        found.further[one.subject].append((language, one.value))
    elif one.predicate in _DESCRIPTIONS:
        rank = _DESCRIPTIONS.index(one.predicate)
        found.descriptions[one.subject].append((language, rank, one.value))
    elif one.predicate == _FORM:
        found.forms[one.subject] = (language, one.value)


def _add_type(found: _Found, one: Statement) -> None:
    if one.value in _CONCEPT_TYPES and not one.subject.startswith("_:") and one.subject not in _TOP:
        found.typed.add(one.subject)
    elif one.value not in _NO_KIND:
        found.kinds[one.subject].add(humanise(one.value))


def _add_link(found: _Found, ends: tuple[str, str]) -> None:
    if any(one.startswith("_:") for one in ends):
        found.report["anonymous_class"] += 1
    elif ends[1] not in _TOP and ends[0] != ends[1]:
        found.links.append(ends)
    else:
        found.report["link_to_top_or_itself"] += 1


def _chosen(
    path: Path, found: _Found, concepts: set[str], language: str | None
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return the label and the further labels of each concept."""
    labels = {}
    for concept, candidates in found.labels.items():
        if concept not in concepts:
            continue  # schemes, collections and properties have labels, too
        usable = [(_rank(tag, language), order, " ".join(text.split()), tag) for tag, order, text in candidates]
        usable = [one for one in usable if one[0] is not None and one[2]]
        if not usable:
            found.report["label_in_other_language"] += 1
            continue
        best = min(one[:2] for one in usable)
        texts = {text: tag for *rank, text, tag in usable if tuple(rank) == best}
        if len(texts) > 1:
            shown = ", ".join(f"{text!r} ({tag or 'no language'})" for text, tag in sorted(texts.items())[:4])
            remedy = (
                "name the one you want with language='...'"
                if len(set(texts.values())) > 1
                else "keep one of them as skos:prefLabel, and make the others skos:altLabel"
            )
            raise InvalidInputError(f"{path}: {concept!r} has several preferred labels, {shown}: {remedy}")
        labels[concept] = next(iter(texts))
    further: dict[str, list[str]] = {}
    for concept, more in found.further.items():
        if concept not in concepts:
            continue
        kept = sorted({" ".join(text.split()) for tag, text in more if _rank(tag, language) is not None} - {""})
        further[concept] = kept
    return labels, further


def _described(found: _Found, concepts: set[str], language: str | None) -> dict[str, str]:
    """Return the description of each concept that has one: of several, the best and then the first by name."""
    chosen = {}
    for concept, candidates in found.descriptions.items():
        usable = [(_rank(tag, language), order, " ".join(text.split())) for tag, order, text in candidates]
        fitting = [(rank, order, text) for rank, order, text in usable if rank is not None and text]
        if fitting and concept in concepts:
            chosen[concept] = min(fitting)[2]
    return chosen


def _rank(tag: str, language: str | None) -> int | None:
    """Return how well a language fits: itself and its regions, none; ``None`` for another one."""
    if language is None:
        return 0
    wished, tag = language.lower(), tag.lower()
    if tag == wished:
        return 0
    if tag.startswith(f"{wished}-"):
        return 1
    return None if tag else 2
