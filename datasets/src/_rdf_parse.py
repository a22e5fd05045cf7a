"""Parse RDF files without ever touching the network."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from kgneg.core.errors import InvalidInputError
from kgneg.datasets._files import COMPRESSIONS, malformed, read_text

if TYPE_CHECKING:
    from rdflib.term import Node

__all__ = ["FORMATS", "parse_rdf", "rdf_format"]

#: Suffix -> name of the format in rdflib.
FORMATS = {
    ".ttl": "turtle",
    ".nt": "nt",
    ".nq": "nquads",
    ".rdf": "xml",
    ".owl": "xml",
    ".xml": "xml",
    ".jsonld": "json-ld",
    ".n3": "n3",
    ".trig": "trig",
}

#: Formats that may have several graphs in one file.
_QUADS = frozenset({"nquads", "trig", "json-ld"})


def rdf_format(path: Path) -> str | None:
    """Guess the format of a file from its suffix.

    :param path: the file; a suffix of compression is ignored
    :returns: the name of the format, or None if the suffix is no suffix of RDF

    >>> rdf_format(Path("zoo.ttl.gz")), rdf_format(Path("zoo.tsv"))
    ('turtle', None)
    """
    name = Path(path.stem) if path.suffix.lower() in COMPRESSIONS[1:] else path
    return FORMATS.get(name.suffix.lower())


def parse_rdf(path: Path) -> list[tuple[Node, Node, Node]]:
    """Parse an RDF file; its graphs are merged.

    Relative IRIs are resolved against ``file:///<name of the file>``, so that labels do not depend on the place.

    :param path: the file
    :returns: the distinct statements in the order of the file
    :raises InvalidInputError: if the suffix is unknown, the file cannot be read or is malformed, or it is JSON-LD that
        refers to a context in another place
    """
    import rdflib
    from rdflib.store import TripleAddedEvent

    kind = rdf_format(path)
    if kind is None:
        raise InvalidInputError(f"{path}: got the suffix {path.suffix!r}, expected one of {', '.join(FORMATS)}")
    text = read_text(path)
    if kind == "json-ld":
        _refuse_remote_contexts(path, text)
    position: dict[Any, int] = {}  # the store keeps statements in sets, whose order differs between processes
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # rdflib warns of itself
            graph = rdflib.Dataset(default_union=True) if kind in _QUADS else rdflib.Graph()
            dispatcher: Any = graph.store.dispatcher
            dispatcher.subscribe(TripleAddedEvent, lambda event: position.setdefault(event.triple, len(position)))
            graph.parse(data=text, format=kind, publicID=f"file:///{quote(path.name)}")
    except Exception as error:  # the parsers raise whatever comes up, an IndexError for a file cut short
        line = _error_line(error, text)
        place = f"{path}, line {line}" if line else f"{path}"
        reason = " ".join(str(getattr(error, "_why", error)).split())[:200]
        raise InvalidInputError(
            f"{place}: got something that is not {kind} ({type(error).__name__}: {reason}), expected a complete file "
            f"in the format of its suffix"
        ) from error
    if isinstance(graph, rdflib.Dataset):
        statements: Iterator[tuple[Node, Node, Node]] = ((s, p, o) for s, p, o, _ in graph.quads())
    else:
        statements = ((s, p, o) for s, p, o in graph)
    return sorted(set(statements), key=position.__getitem__)


def _refuse_remote_contexts(path: Path, text: str) -> None:
    """Refuse JSON-LD for which rdflib would fetch a context from a file or the network."""
    try:
        stack = [json.loads(text)]
    except ValueError as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else 1
        raise malformed(path, line, f"something that is not JSON ({error})", "a complete JSON-LD file") from error
    while stack:
        item = stack.pop()
        if isinstance(item, list):
            stack.extend(item)
        elif isinstance(item, dict):
            contexts = item.get("@context")
            listed = contexts if isinstance(contexts, list) else [contexts]
            for context in [*listed, item.get("@import")]:
                if isinstance(context, str):
                    raise InvalidInputError(
                        f"{path}: got the context {context!r} from another place, expected all contexts inside the "
                        "file; kgneg does not use the network, so replace the reference by the content of the context"
                    )
            stack.extend(item.values())


def _error_line(error: Exception, text: str) -> int | None:
    """Find the line of a parse error, from 1."""
    from xml.sax import SAXParseException

    if isinstance(error, SAXParseException):
        return error.getLineNumber()
    if isinstance(error, SyntaxError) and isinstance(offset := getattr(error, "_i", None), int):
        # the line number of the parser of Turtle and its relatives counts some lines twice; its position is right
        return text.count("\n", 0, offset) + 1
    if match := re.match(r"Invalid line(?: \(.*?\))?:\s+(.*)", str(error).strip(), flags=re.DOTALL):
        # the parsers of N-Triples and N-Quads quote the rest of the line where they stopped, or the whole line
        rest = match.group(1).strip("'\"")
        lines = [number for number, line in enumerate(text.splitlines(), start=1) if line.endswith(rest)]
        return lines[0] if len(lines) == 1 else None
    return None
