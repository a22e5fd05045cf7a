"""Statements of RDF files as plain texts, by the fastest parser at hand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from kgneg.core.errors import InvalidInputError
from kgneg.datasets._files import read_text
from kgneg.datasets._rdf_parse import parse_rdf, rdf_format

__all__ = ["Statement", "read_statements"]

#: Names of formats in rdflib -> in pyoxigraph. JSON-LD is left to rdflib, which is told to fetch nothing.
_FORMATS = {
    "turtle": "TURTLE",
    "nt": "N_TRIPLES",
    "nquads": "N_QUADS",
    "xml": "RDF_XML",
    "n3": "N3",
    "trig": "TRIG",
}


class Statement(NamedTuple):
    """A statement; blank nodes begin with ``_:``."""

    subject: str
    predicate: str
    value: str
    #: the tag of a literal, empty if it has none; ``None`` where the value is a node
    language: str | None


def read_statements(path: Path) -> Iterator[Statement]:
    """Read the statements of an RDF file, the network never.

    :param path: the file
    :returns: the statements, in the order of the file
    :raises InvalidInputError: if the suffix is unknown, or the file is missing or malformed; the message has the line
    """
    kind = rdf_format(path)
    parser = _pyoxigraph() if kind in _FORMATS else None
    if parser is None or kind is None:
        return _by_rdflib(path)
    return _by_pyoxigraph(parser, path, kind)


def _pyoxigraph() -> Any:
    try:
        import pyoxigraph
    except ImportError:
        return None
    return pyoxigraph


def _by_rdflib(path: Path) -> Iterator[Statement]:
    from rdflib.term import BNode, Literal, URIRef

    def name(node: Any) -> str:
        return f"_:{node}" if isinstance(node, BNode) else str(node)

    for subject, predicate, value in parse_rdf(path):
        if not isinstance(subject, URIRef | BNode) or not isinstance(value, URIRef | BNode | Literal):
            continue  # formulas and variables of N3
        language = (value.language or "") if isinstance(value, Literal) else None
        yield Statement(name(subject), str(predicate), name(value), language)


def _by_pyoxigraph(parser: Any, path: Path, kind: str) -> Iterator[Statement]:
    text = read_text(path)
    form = getattr(parser.RdfFormat, _FORMATS[kind])
    node_kinds = (parser.NamedNode, parser.BlankNode)
    try:
        for quad in parser.parse(input=text, format=form, base_iri=f"file:///{quote(path.name)}"):
            subject, value = quad.subject, quad.object
            if not isinstance(subject, node_kinds) or not isinstance(value, (*node_kinds, parser.Literal)):
                continue
            language = (value.language or "") if isinstance(value, parser.Literal) else None
            yield Statement(_name(parser, subject), quad.predicate.value, _name(parser, value), language)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or _line(str(error))
        place = f"{path}, line {line}" if line else f"{path}"
        reason = " ".join(str(getattr(error, "msg", error)).split())[:200]
        raise InvalidInputError(
            f"{place}: got something that is not {kind} ({reason}), expected a complete file in the format of its "
            "suffix"
        ) from error


def _name(parser: Any, node: Any) -> str:
    return f"_:{node.value}" if isinstance(node, parser.BlankNode) else str(node.value)


def _line(message: str) -> int | None:
    found = re.search(r"line (\d+)", message)
    return int(found.group(1)) if found else None
