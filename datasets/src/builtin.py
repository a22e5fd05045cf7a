"""One door for every source of knowledge graphs."""

from __future__ import annotations

import importlib.util
import logging
import os
from dataclasses import replace
from pathlib import Path

from kgneg.core.errors import InvalidInputError, MissingExtraError
from kgneg.datasets._labels import humanise
from kgneg.datasets._rdf_parse import FORMATS, rdf_format
from kgneg.datasets.folder import load_folder
from kgneg.datasets.graph import KnowledgeGraph
from kgneg.datasets.rdf import load_rdf

__all__ = ["available", "load"]

logger = logging.getLogger(__name__)

_NAMES = ("kinships", "nations", "umls")


def available() -> tuple[str, ...]:
    """List the graphs that :func:`load` knows by name.

    :returns: the names in ascending order

    >>> available()
    ('kinships', 'nations', 'umls')
    """
    return _NAMES


def load(source: str | os.PathLike[str]) -> KnowledgeGraph:
    """Load a knowledge graph from wherever it is.

    ============================  ============================================================================
    source                        what is read
    ============================  ============================================================================
    a name of :func:`available`   the files that PyKEEN brings along; texts are the labels, with spaces
    a folder                      see :func:`load_folder`
    an RDF file                   see :func:`load_rdf`, which also splits
    ============================  ============================================================================

    Nothing is downloaded. A name wins over a folder of the same name; write ``./umls`` for the folder.

    :param source: a name, a folder, or an RDF file
    :returns: the graph
    :raises InvalidInputError: if the source is none of these, or is malformed
    :raises MissingExtraError: if a name is given and PyKEEN is not installed

    >>> load("nations")
    KnowledgeGraph('nations', entities=14, relations=55, train=1592, valid=199, test=201, valid_negatives=0, \
test_negatives=0, texts=14, types=0)
    """
    path = Path(source)
    if isinstance(source, str) and source in _NAMES:
        if path.is_dir():
            logger.warning("%s is taken as the name of a known graph; write ./%s for the folder", source, source)
        return _load_from_pykeen(source)
    if path.is_dir():
        return load_folder(path)
    if rdf_format(path) is not None:
        return load_rdf(path)
    if path.is_file():
        raise InvalidInputError(
            f"{path}: got a file that is no RDF, expected a suffix among {', '.join(FORMATS)}; put a table of triples "
            "into a folder, named train.tsv, and give the folder"
        )
    raise InvalidInputError(
        f"got the unknown source {os.fspath(source)!r}, expected a folder, an RDF file, or one of {', '.join(_NAMES)}"
    )


def _load_from_pykeen(name: str) -> KnowledgeGraph:
    """Read a graph from the files inside PyKEEN, without importing PyKEEN."""
    spec = importlib.util.find_spec("pykeen")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(f"{name!r} is read from the files of PyKEEN; install it: pip install pykeen")
    graph = load_folder(Path(spec.submodule_search_locations[0], "datasets", name), name=name)
    return replace(
        graph,
        texts={label: humanise(label) for label in graph.entities},
        relation_texts={label: humanise(label) for label in graph.relations},
    )
