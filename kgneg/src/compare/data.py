"""The graph of a comparison, wherever it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kgneg.compare.names import is_dataset, unknown_name
from kgneg.core.cache import content_key
from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import LongTensor
from kgneg.datasets import KnowledgeGraph, available, is_rdf, load, load_rdf, read_triples

__all__ = ["CompareData", "from_graph", "load_data", "load_training"]

_SHARE, _SPLIT_SEED = 0.1, 0


@dataclass(frozen=True, eq=False)
class CompareData:
    """Triples in PyKEEN's form, and where their texts are.

    :param name: the name of the graph
    :param training: PyKEEN's training triples
    :param validation: PyKEEN's validation triples, or ``None``
    :param testing: PyKEEN's test triples, or ``None`` if there are none
    :param texts: what samplers that read texts can be given as ``texts``; ``None`` if the graph has no texts of its own
    :param note: how the triples were split, where that was done here
    """

    name: str
    training: Any
    validation: Any
    testing: Any
    texts: str | None = None
    note: str = ""

    @property
    def held_out(self) -> LongTensor:
        """The validation and test triples, shape ``(m, 3)``."""
        parts = [factory.mapped_triples for factory in (self.validation, self.testing) if factory is not None]
        return torch.cat(parts) if parts else torch.empty((0, 3), dtype=torch.long)

    def fingerprint(self) -> str:
        """Return a hash of all triples and labels, equal for equal content wherever it comes from."""
        factory = self.training
        parts = [
            content_key(one.mapped_triples) if one is not None else None
            for one in (self.training, self.validation, self.testing)
        ]
        entities, relations = (
            [labels[number] for number in sorted(labels)] if labels else []
            for labels in (getattr(factory, "entity_id_to_label", None), getattr(factory, "relation_id_to_label", None))
        )
        return content_key(parts, entities, relations, factory.num_entities, factory.num_relations)

    def to_dict(self) -> dict[str, Any]:
        """Return its name and sizes as JSON has them."""
        sizes = {
            name: 0 if factory is None else int(factory.num_triples)
            for name, factory in (("train", self.training), ("valid", self.validation), ("test", self.testing))
        }
        return {
            "name": self.name,
            "note": self.note,
            "entities": int(self.training.num_entities),
            "relations": int(self.training.num_relations),
            **sizes,
            "fingerprint": self.fingerprint(),
        }


def load_data(
    dataset: str | None = None, *, train: str | None = None, valid: str | None = None, test: str | None = None
) -> CompareData:
    """Load triples by name, from a folder or RDF file, or from separate files.

    :param dataset: the name of a graph that kgneg or PyKEEN knows, a folder, or an RDF file, which is split 8 : 1 : 1
    :param train: a file of training triples, instead of ``dataset``
    :param valid: a file of validation triples
    :param test: a file of test triples
    :returns: the triples
    :raises UnknownNameError: if ``dataset`` is neither a known name nor a path
    :raises InvalidInputError: if a file cannot be read, there are no test triples, or nothing is given

    >>> load_data("nations").training.num_triples
    1592
    """
    if dataset is None:
        if train is None or test is None:
            raise InvalidInputError("give a dataset, or at least a train and a test file")
        tables = [None if path is None else read_triples(path) for path in (train, valid, test)]
        return from_graph(KnowledgeGraph.from_labelled(Path(train).name.split(".")[0], tables[0], *tables[1:]))  # type: ignore[arg-type]
    path = Path(dataset)
    if path.is_file() and is_rdf(path):
        graph = load_rdf(path, valid=_SHARE, test=_SHARE, seed=_SPLIT_SEED)
        return from_graph(graph, texts=dataset if graph.texts else None, note="split 8 : 1 : 1 at random, seed 0")
    if dataset in available() or path.exists():
        graph = load(dataset)
        own = dataset in available() or any(path.glob("entities.tsv*"))
        return from_graph(graph, texts=dataset if own else None)
    if is_dataset(dataset):
        return _from_pykeen(dataset)
    raise _unknown(dataset)


def from_graph(graph: KnowledgeGraph, *, texts: str | None = None, note: str = "") -> CompareData:
    """Return a graph of kgneg as the data of a comparison.

    :param graph: the graph
    :param texts: where its texts are, as samplers take it
    :param note: how it was split
    :returns: the triples
    :raises InvalidInputError: if it has no test triples
    """
    from kgneg.integrations.pykeen import to_pykeen

    dataset = to_pykeen(graph)
    return CompareData(graph.name, dataset.training, dataset.validation, dataset.testing, texts, note)


def load_training(dataset: str | None, rows: Any = None) -> tuple[Any, str | None]:
    """Load training triples only; test triples need not exist.

    :param dataset: as for :func:`load_data`; an RDF file is not split; ``None`` takes the rows
    :param rows: shape: (m, 3), labels
    :returns: PyKEEN's triples factory with labels, and where the texts of the entities are, if the graph has any
    :raises UnknownNameError: if ``dataset`` is neither a known name nor a path
    :raises InvalidInputError: if a file cannot be read
    """
    if dataset is None:
        return _factory(KnowledgeGraph.from_labelled("triples", rows)), None
    if dataset in available() or Path(dataset).exists():
        graph = load(dataset)
        return _factory(graph), dataset if graph.texts else None
    if is_dataset(dataset):
        return _from_pykeen(dataset).training, None
    raise _unknown(dataset)


def _factory(graph: KnowledgeGraph) -> Any:
    """Return the training triples of a graph in PyKEEN's form, with texts and types."""
    from pykeen.triples import TriplesFactory

    return TriplesFactory(
        mapped_triples=graph.train,
        entity_to_id={label: number for number, label in enumerate(graph.entities)},
        relation_to_id={label: number for number, label in enumerate(graph.relations)},
        metadata={"name": graph.name, "texts": dict(graph.texts), "types": tuple(graph.types)},
    )


def _from_pykeen(name: str) -> CompareData:
    from pykeen.datasets import get_dataset

    try:
        dataset = get_dataset(dataset=name)
        training, validation, testing = dataset.training, dataset.validation, dataset.testing
    except Exception as error:  # downloads and parsers of PyKEEN fail in many ways
        reason = " ".join(str(error).split()) or "no message"
        raise InvalidInputError(
            f"PyKEEN cannot load the dataset {name!r} ({type(error).__name__}: {reason})"
        ) from error
    return CompareData(name, training, validation, testing)


def _unknown(dataset: str) -> InvalidInputError:
    from pykeen.datasets import dataset_resolver

    hint = "It is no folder and no RDF file either"
    return unknown_name("dataset", dataset, {*dataset_resolver.lookup_dict} - {"kgneg"}, hint)
