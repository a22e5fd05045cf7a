"""The graph of an audit: triples, negatives that people have verified, types, and words for entities."""

from __future__ import annotations

import bz2
import gzip
import logging
import lzma
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kgneg.compare.data import CompareData, from_graph, load_data
from kgneg.core.errors import InvalidInputError
from kgneg.core.triples import TripleIndex
from kgneg.core.typing import LongTensor
from kgneg.datasets import KnowledgeGraph, humanise, read_labelled_triples, read_texts, read_triples

__all__ = ["AuditData", "load_audit_data"]

logger = logging.getLogger(__name__)

_OPENERS: Mapping[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


def _no_triples() -> LongTensor:
    return torch.empty((0, 3), dtype=torch.long)


@dataclass(frozen=True, eq=False)
class AuditData:
    """Triples, and what is known about them besides.

    :param triples: the splits, in PyKEEN's form
    :param verified: shape: ``(v, 3)``, triples that people have called false; no two are the same, none is in a split
    :param verified_note: what was given as verified and is not among them
    :param types: shape: ``(k, 2)``, pairs of entity and type; ``None`` if the graph has none
    :param entity_words: a text for each entity, for examples
    :param relation_words: a text for each relation, for examples
    """

    triples: CompareData
    verified: LongTensor = field(default_factory=_no_triples)
    verified_note: str = ""
    types: LongTensor | None = None
    entity_words: Sequence[str] = ()
    relation_words: Sequence[str] = ()

    @property
    def training(self) -> Any:
        """PyKEEN's training triples, with their factory."""
        return self.triples.training

    @property
    def train(self) -> LongTensor:
        """The training triples, shape ``(m, 3)``."""
        return self.triples.training.mapped_triples  # type: ignore[no-any-return]

    @property
    def sizes(self) -> dict[str, int]:
        """The numbers of entities and relations."""
        return {"num_entities": int(self.training.num_entities), "num_relations": int(self.training.num_relations)}

    @cached_property
    def known(self) -> dict[str, TripleIndex]:
        """An index of the triples of ``train``, ``valid`` and ``test``."""
        splits = (self.triples.training, self.triples.validation, self.triples.testing)
        return {
            name: TripleIndex(_no_triples() if one is None else one.mapped_triples, keys="auto", **self.sizes)
            for name, one in zip(("train", "valid", "test"), splits, strict=True)
        }

    @cached_property
    def held_out(self) -> LongTensor:
        """The distinct validation and test triples that are not in training."""
        held_out = torch.unique(self.triples.held_out, dim=0)
        found: LongTensor = held_out[~self.known["train"].contains(held_out)]
        return found

    def say(self, triple: Sequence[int]) -> tuple[str, str, str]:
        """Return a triple in words.

        :param triple: head, relation and tail
        :returns: a text for each
        """
        head, relation, tail = triple
        return self.entity_words[head], self.relation_words[relation], self.entity_words[tail]


def load_audit_data(
    dataset: str | None = None,
    *,
    train: str | None = None,
    valid: str | None = None,
    test: str | None = None,
    data: CompareData | KnowledgeGraph | None = None,
    verified: str | None = None,
    texts: str | None = None,
) -> AuditData:
    """Load everything that an audit looks at.

    Verified negatives that lie in the folder of the graph are found by themselves: files ``valid_negatives``,
    ``test_negatives``, and ``valid_labelled``, ``test_labelled`` with a fourth column.

    :param dataset: as for :func:`~kgneg.compare.load_data`
    :param train: a file of training triples, instead of ``dataset``
    :param valid: a file of validation triples
    :param test: a file of test triples
    :param data: the triples, if they are in memory already
    :param verified: a file of triples that people have called false (head, relation, tail, and perhaps ``1`` for true
        and ``-1`` for false), or a folder with such files as above
    :param texts: where texts of the entities are; ``None`` takes those of the graph
    :returns: the data
    :raises InvalidInputError: if a file cannot be read, or none of the verified negatives is about this graph

    >>> load_audit_data("nations").held_out.shape
    torch.Size([400, 3])
    """
    rows: np.ndarray | None = None
    if isinstance(data, KnowledgeGraph):
        rows = _labels(data, torch.cat([data.valid_negatives, data.test_negatives]))
        found = from_graph(data)
    elif data is not None:
        found = data
    else:
        found = load_data(dataset, train=train, valid=valid, test=test)
    source = verified or (dataset if dataset is not None and Path(dataset).is_dir() else None)
    if source is not None:
        rows = _read_verified(Path(source), required=verified is not None)
    negatives, note = _map_verified(found, rows, source)
    entity_words, relation_words = _words(found, texts, dataset)
    return AuditData(found, negatives, note, _types(found), entity_words, relation_words)


def _labels(graph: KnowledgeGraph, triples: LongTensor) -> np.ndarray:
    return np.array(graph.labels_of(triples), dtype=object).reshape(-1, 3)


def _read_verified(path: Path, *, required: bool) -> np.ndarray:
    """Return the labels of triples that are called false, shape ``(v, 3)``."""
    if not path.is_dir():
        return _read_file(path)
    files = sorted(file for name in ("*_negatives.*", "*_labelled.*") for file in path.glob(name))
    if not files and required:
        raise InvalidInputError(
            f"{path}: no verified negatives; looked for valid_negatives, test_negatives, valid_labelled, test_labelled"
        )
    return np.concatenate([np.empty((0, 3), dtype=object), *map(_read_file, files)])


def _read_file(path: Path) -> np.ndarray:
    if path.suffix == ".parquet" or not path.is_file():
        return read_triples(path)
    with _OPENERS.get(path.suffix, open)(path, "rt", encoding="utf-8-sig", errors="replace") as handle:
        columns = handle.readline().count("\t") + 1
    return read_labelled_triples(path)[1] if columns == 4 else read_triples(path)


def _map_verified(data: CompareData, rows: np.ndarray | None, source: str | None) -> tuple[LongTensor, str]:
    """Return ids of triples that are called false, without repetitions and known triples, and what was left out."""
    if rows is None or not len(rows):
        return _no_triples(), ""
    factory = data.training
    entities, relations = getattr(factory, "entity_to_id", None), getattr(factory, "relation_to_id", None)
    if entities is None or relations is None:
        raise InvalidInputError("verified negatives speak of labels, but these triples have only ids")
    ids = [(entities.get(h, -1), relations.get(r, -1), entities.get(t, -1)) for h, r, t in rows]
    found = torch.tensor(ids)
    inside = (found >= 0).all(dim=-1)
    triples = torch.unique(found[inside], dim=0)
    known = torch.cat([factory.mapped_triples, data.held_out])
    index = TripleIndex(known, keys="auto", num_entities=factory.num_entities, num_relations=factory.num_relations)
    true = index.contains(triples)
    note = ", ".join(
        f"{number:,} {what}"
        for number, what in (
            (int((~inside).sum()), "with an entity or relation that training does not have"),
            (int(inside.sum()) - len(triples), "repeated"),
            (int(true.sum()), "that are known to be true"),
        )
        if number
    )
    if note:
        logger.info("of %d verified negatives are left out: %s", len(rows), note)
    if true.all():
        raise InvalidInputError(
            f"none of the {len(rows):,} verified negatives in {source} is about this graph: {note}. Do the labels fit?"
        )
    return triples[~true], note


def _types(data: CompareData) -> LongTensor | None:
    """Return the types that came with a graph, shape ``(k, 2)``."""
    factory = data.training
    pairs = (getattr(factory, "metadata", None) or {}).get("types", ())
    ids = getattr(factory, "entity_to_id", {})
    kinds: dict[str, int] = {}
    known = [(ids[entity], kinds.setdefault(kind, len(kinds))) for entity, kind in pairs if entity in ids]
    return torch.tensor(known) if known else None


def _words(data: CompareData, texts: str | None, dataset: str | None) -> tuple[list[str], list[str]]:
    """Return texts for entities and relations: those given, the names in the folder, those of the graph, or labels."""
    factory = data.training
    entities, relations = (
        [str((getattr(factory, f"{what}_id_to_label", None) or {}).get(number, number)) for number in range(size)]
        for what, size in (("entity", factory.num_entities), ("relation", factory.num_relations))
    )
    relation_names = _names(dataset, "relations")
    spoken = [humanise(relation_names.get(label, label)) for label in relations]
    own: Mapping[str, str] = (getattr(factory, "metadata", None) or {}).get("texts", {})
    if texts is not None:
        from kgneg.integrations.pykeen.factories import Labels
        from kgneg.integrations.pykeen.texts import entity_texts

        return entity_texts(texts, Labels(tuple(entities), tuple(relations), own, ()), len(entities), "label"), spoken
    names = {**own, **_names(dataset, "entities")}
    return [names.get(label) or humanise(label) for label in entities], spoken


def _names(dataset: str | None, what: str) -> dict[str, str]:
    """Return the names in the table of a folder."""
    folder = Path(dataset or "")
    tables = sorted(folder.glob(f"{what}.tsv*")) if dataset is not None and folder.is_dir() else []
    return read_texts(tables[0], description=False) if tables else {}
