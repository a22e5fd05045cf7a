"""What a filter is fitted on: vectors and labels from tables, or from text."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch

from kgneg.cleaning.settings import NEGATIVES, CleaningSettings
from kgneg.cleaning.sources import JsonFile, Source, document_names, read_relation_names
from kgneg.cleaning.tables import TableFile, table_kind
from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import FloatTensor
from kgneg.datasets import RelationPairs, docred_pairs, read_docred, read_tacred, read_vectors

__all__ = ["Material", "load_material", "read_labels", "read_pairs"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Material:
    """Rows to be judged.

    :param source: where they come from
    :param negative_label: the label of the big class
    :param ids: a name per row
    :param labels: a label per row
    :param vectors: shape: ``(n, d)``
    :param groups: a group per row, if known
    :param types: columns of categories by name
    :param texts: what to show to people, if there is anything
    :param relations: names of labels, as far as they are known
    :param columns: of a table, the names of the columns that were read
    """

    source: Source
    negative_label: str
    ids: tuple[str, ...]
    labels: tuple[str, ...]
    vectors: FloatTensor
    groups: tuple[str, ...] | None
    types: Mapping[str, tuple[str, ...]]
    texts: tuple[str, ...] | None
    relations: Mapping[str, str]
    columns: Mapping[str, str]


def load_material(settings: CleaningSettings, *, progress: bool = False) -> Material:
    """Read an input, and encode it if it is text.

    :param settings: what to read, and how
    :param progress: whether to show a progress bar
    :returns: the rows
    :raises InvalidInputError: if a file is missing, truncated or malformed, or a setting would have no effect
    """
    source = Source.find(settings.input, settings.format)
    settings.check_format(source.format)
    negative = NEGATIVES[source.format] if settings.negative_label is None else settings.negative_label
    if source.format == "vectors":
        return _from_table(source, settings, negative)
    relations = read_relation_names(source, settings.relations)
    pairs = read_pairs(source, negative)
    return Material(
        source=source,
        negative_label=negative,
        ids=pairs.ids,
        labels=pairs.labels,
        vectors=_encode(pairs, settings, progress),
        groups=pairs.groups,
        types={"types": pairs.types, "places": pairs.places},
        texts=tuple(pairs.words(row) for row in range(len(pairs))),
        relations=relations,
        columns={},
    )


def read_pairs(source: Source, negative_label: str) -> RelationPairs:
    """Read the pairs of all files of an input.

    :param source: the input, in the format of DocRED or TACRED
    :param negative_label: the label of pairs without a relation
    :returns: the pairs, file by file
    :raises InvalidInputError: if a file is malformed, or an id occurs twice
    """
    if source.format == "tacred":
        return _joined([read_tacred(file, negative_label=negative_label) for file in source.files])
    if len(source.files) == 1:
        return read_docred(source.files[0], negative_label=negative_label)
    documents = [document for file in source.files for document in JsonFile.read(file).records]
    try:
        named = [{**one, "title": name} for one, name in zip(documents, document_names(documents), strict=True)]
        return docred_pairs(named, negative_label=negative_label)
    except (InvalidInputError, TypeError, AttributeError):
        for file in source.files:
            read_docred(file, negative_label=negative_label)  # says which file and which document
        raise


def read_labels(path: str | Path, format: str, negative_label: str) -> dict[str, str]:
    """Read labels by id.

    :param path: a table with the columns ``id`` and ``label``, or JSON in the format of the input
    :param format: the format of the input
    :param negative_label: the label of negatives
    :returns: the label of each id
    :raises InvalidInputError: if the file is malformed, has no row, or an id occurs twice
    """
    path = Path(path)
    if table_kind(path) is None:
        if format == "vectors":
            raise InvalidInputError(f"{path}: expected a table with the columns 'id' and 'label': .csv, .tsv, .parquet")
        pairs = read_pairs(Source.find(path, format), negative_label)
        return dict(zip(pairs.ids, pairs.labels, strict=True))
    table = TableFile(path)
    ids, labels = table.column("id"), table.column("label")
    found = dict(zip(ids, labels, strict=True))
    if len(found) < len(ids):
        seen: set[str] = set()
        again = next(name for name in ids if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise InvalidInputError(f"{path}: the id {again!r} occurs more than once")
    empty = next((name for name, label in found.items() if not label.strip()), None)
    if empty is not None or not found:
        raise InvalidInputError(f"{path}: {'no row' if not found else f'the id {empty!r} has no label'}")
    return found


def _from_table(source: Source, settings: CleaningSettings, negative: str) -> Material:
    """Read vectors and labels."""
    path = source.path
    columns: dict[str, Any] = {"id": settings.id or "id", "label": settings.label or "label"}
    table = read_vectors(
        path, **columns, group=settings.group or "group", types=settings.types or "type", vector=settings.vector
    )
    file = TableFile(path)
    shown = settings.text or ("text" if "text" in file.columns else None)
    return Material(
        source=source,
        negative_label=negative,
        ids=table.ids,
        labels=table.labels,
        vectors=table.vectors,
        groups=table.groups,
        types={} if table.types is None else {"types": table.types},
        texts=None if shown is None else tuple(file.column(shown)),
        relations={},
        columns=columns,
    )


def _encode(pairs: RelationPairs, settings: CleaningSettings, progress: bool) -> FloatTensor:
    """Make vectors of pairs; what is done is kept on disk."""
    from kgneg.core.encode import SentenceEncoder, resolve_encoder
    from kgneg.integrations.sentence_transformers import SpanEncoder

    encoder = settings.encoder or "auto"
    named = isinstance(resolve_encoder(encoder), SentenceEncoder)
    device = None if settings.device == "auto" or not named else settings.device
    return SpanEncoder(encoder, device=device).encode(pairs, progress=progress)


def _joined(parts: list[RelationPairs]) -> RelationPairs:
    """Put pairs of several files below each other."""
    if len(parts) == 1:
        return parts[0]
    starts = [0, *accumulate(len(part.sentences) for part in parts)]
    texts: dict[str, Any] = {
        name: tuple(value for part in parts for value in getattr(part, name))
        for name in ("sentences", "head_type", "tail_type", "labels", "all_labels", "groups", "ids")
    }
    return replace(
        parts[0],
        sentence=torch.cat([part.sentence + start for part, start in zip(parts, starts, strict=False)]),
        head=torch.cat([part.head for part in parts]),
        tail=torch.cat([part.tail for part in parts]),
        **texts,
    )
