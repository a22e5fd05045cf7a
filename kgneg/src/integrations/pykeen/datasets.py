"""Text-bearing graphs as PyKEEN datasets.

PyKEEN loads this module through the entry point ``pykeen.datasets``, which is how the samplers of kgneg are found by
name in a program that never imports kgneg.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pykeen.constants import PYKEEN_DATASETS
from pykeen.datasets.base import EagerDataset
from pykeen.triples import TriplesFactory

from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import LongTensor
from kgneg.datasets import KnowledgeGraph, is_rdf, load, load_rdf

__all__ = ["KgnegDataset", "to_pykeen"]


class KgnegDataset(EagerDataset):
    """A graph from a folder, an RDF file, or built in, with its texts and types at hand for samplers.

    In PyKEEN: ``pipeline(dataset="kgneg", dataset_kwargs=dict(path="my-graph"), negative_sampler="lemon", ...)``.

    An RDF file is split at random; entities of held-out triples stay in training.

    :param path: what :func:`kgneg.datasets.load` takes
    :param create_inverse_triples: whether training triples are doubled by inverse relations
    :param valid: the share of an RDF file's triples that becomes the validation set
    :param test: the share of an RDF file's triples that becomes the test set
    :param seed: the seed of that split
    :param graph: a graph in memory instead of a path
    :raises InvalidInputError: if there are no test triples, or both or none of path and graph are given
    """

    def __init__(
        self,
        path: str | Path | None = None,
        create_inverse_triples: bool = False,
        *,
        valid: float = 0.1,
        test: float = 0.1,
        seed: int = 0,
        graph: KnowledgeGraph | None = None,
    ) -> None:
        if path is not None and graph is None:
            rdf = Path(path).is_file() and is_rdf(path)
            graph = load_rdf(path, valid=valid, test=test, seed=seed) if rdf else load(str(path))
        elif graph is None or path is not None:
            raise InvalidInputError("give dataset_kwargs=dict(path=...): a folder, an RDF file or a built-in name")
        if not len(graph.test):
            raise InvalidInputError(
                f"{graph.name} has no test triples, which PyKEEN needs: add a test file, or split the graph"
            )
        self.graph = graph
        metadata = {"name": graph.name, "texts": _Texts(graph.texts), "types": _Types(graph.types)}
        training, testing, validation = (
            _factory(graph, triples, metadata, create_inverse_triples and triples is graph.train)
            for triples in (graph.train, graph.test, graph.valid)
        )
        super().__init__(
            training=training,
            testing=testing,
            validation=validation if len(graph.valid) else None,
            metadata={"name": graph.name},
        )

    def to_directory_binary(self, path: str | Path) -> None:
        """Store the dataset in PyKEEN's binary format, except in PyKEEN's own cache.

        That cache goes by the spelling of the path alone, and would give back a graph whose files have changed since,
        or the graph of another working directory.

        :param path: the folder
        """
        if Path(path).parent != Path(PYKEEN_DATASETS, "kgneg", "cache"):
            super().to_directory_binary(path)


class _Texts(dict[str, str]):
    """Texts that PyKEEN does not print whole wherever it prints a factory."""

    def __repr__(self) -> str:
        return f"<{len(self)} texts>"


class _Types(tuple[tuple[str, str], ...]):
    """Types that PyKEEN does not print whole wherever it prints a factory."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} types>"


def _factory(graph: KnowledgeGraph, triples: LongTensor, metadata: dict[str, Any], inverse: bool) -> TriplesFactory:
    return TriplesFactory(
        mapped_triples=triples,
        entity_to_id={label: number for number, label in enumerate(graph.entities)},
        relation_to_id={label: number for number, label in enumerate(graph.relations)},
        metadata=metadata,
        **({"create_inverse_triples": True} if inverse else {}),  # after 1.11 the model is asked for them
    )


def to_pykeen(graph: KnowledgeGraph, *, create_inverse_triples: bool = False) -> KgnegDataset:
    """Return a graph as a PyKEEN dataset with the same ids.

    :param graph: the graph
    :param create_inverse_triples: whether training triples are doubled by inverse relations
    :returns: the dataset
    :raises InvalidInputError: if there are no test triples
    """
    return KgnegDataset(graph=graph, create_inverse_triples=create_inverse_triples)
