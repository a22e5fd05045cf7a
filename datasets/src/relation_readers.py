"""Read candidate pairs from DocRED and TACRED, and from data sets in their formats."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import LongTensor
from kgneg.datasets._docred import DocumentPairs, unique_titles
from kgneg.datasets._json import Record, read_records
from kgneg.datasets.relations import RelationPairs

__all__ = ["docred_pairs", "read_docred", "read_tacred", "unique_titles"]


def read_docred(
    path: str | os.PathLike[str], *, relations: Mapping[str, str] | None = None, negative_label: str = "NA"
) -> RelationPairs:
    """Read pairs from documents in the format of DocRED and Re-DocRED; see :func:`docred_pairs`.

    :param path: a JSON list of documents, or one document per line; may be packed (``.gz``, ``.bz2``, ``.xz``)
    :param relations: relation id -> name; without it the ids are the labels
    :param negative_label: the label of pairs without a relation
    :returns: the pairs
    :raises InvalidInputError: if the file is missing, empty, truncated or malformed; the message names the line or the
        document

    >>> import json, tempfile
    >>> document = {
    ...     "title": "Curie", "sents": [["Curie", "was", "born", "in", "Warsaw"]],
    ...     "labels": [{"h": 0, "t": 1, "r": "P19"}],
    ...     "vertexSet": [[{"name": "Curie", "sent_id": 0, "pos": [0, 1], "type": "PER"}],
    ...                   [{"name": "Warsaw", "sent_id": 0, "pos": [4, 5], "type": "LOC"}]],
    ... }
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "dev.json")
    ...     _ = path.write_text(json.dumps([document]), encoding="utf-8")
    ...     pairs = read_docred(path, relations={"P19": "place of birth"})
    >>> pairs.ids, pairs.labels
    (('Curie#0-1', 'Curie#1-0'), ('place of birth', 'NA'))
    """
    records = read_records(Path(path), "document")
    return DocumentPairs(records, relations, negative_label, str(path)).build()


def docred_pairs(
    documents: Iterable[Mapping[str, Any]],
    *,
    relations: Mapping[str, str] | None = None,
    negative_label: str = "NA",
) -> RelationPairs:
    """Make pairs from documents in the format of DocRED.

    A pair is made of every two different entities of a document, in both orders, that have mentions in one sentence
    which do not overlap. Of several such mentions those with the fewest tokens between them count; then those of the
    first sentence, and then the ones that begin first. The type of an entity is the most frequent of its mentions'.

    The label of a pair with several relations is the one that most labels of all documents have, and of these the first
    one in the alphabet. The id of a pair is ``title#h-t`` with the positions of its entities, and its group is the
    title; where documents share a title it is followed by the number of the document, from 0, as in ``Curie [7]``.

    What cannot become a pair or a label is counted in :attr:`RelationPairs.report` and logged once:

    ==================================  ================================================================
    key                                 count of
    ==================================  ================================================================
    ``label_without_shared_sentence``   labels of entities that no sentence has both of
    ``label_overlapping``               labels of entities whose mentions overlap wherever they meet
    ``label_of_one_entity``             labels whose head is their tail
    ``duplicate_label``                 labels that their document has before
    ``pair_overlapping``                unlabelled pairs whose mentions overlap wherever they meet
    ``entity_with_several_types``       entities whose mentions differ in their type
    ``document_without_pair``           documents that give no pair
    ==================================  ================================================================

    :param documents: mappings with ``title``, ``sents``, ``vertexSet`` and ``labels``, as in the files
    :param relations: relation id -> name; without it the ids are the labels
    :param negative_label: the label of pairs without a relation
    :returns: the pairs, in the order of documents, heads and tails
    :raises InvalidInputError: if a document is malformed or has no ``labels`` (as those of DocRED's test set), a
        relation has no name or that of the negative label, or there is no pair at all
    """
    records = [Record(f"document {number}", document) for number, document in enumerate(documents)]
    for record in records:
        if not isinstance(record.values, Mapping):
            raise record.refuse(f"got {record.values!r:.80}", "a mapping")
    return DocumentPairs(records, relations, negative_label, "documents").build()


def read_tacred(path: str | os.PathLike[str], *, negative_label: str = "no_relation") -> RelationPairs:
    """Read pairs from examples in the format of TACRED and Re-TACRED.

    The subject of an example is the head, its object the tail, and its document the group.

    :param path: a JSON list of examples, or one example per line; may be packed
    :param negative_label: the label of pairs without a relation
    :returns: the pairs in the order of the file; equal sentences are kept once
    :raises InvalidInputError: if the file is missing, empty, truncated or malformed; the message names the line or the
        example

    >>> import json, tempfile
    >>> example = {
    ...     "id": "e1", "docid": "d1", "relation": "per:origin", "token": ["Marie", "Curie", "is", "Polish"],
    ...     "subj_start": 0, "subj_end": 1, "obj_start": 3, "obj_end": 3, "subj_type": "PERSON",
    ...     "obj_type": "NATIONALITY",
    ... }
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "train.json")
    ...     _ = path.write_text(json.dumps([example]), encoding="utf-8")
    ...     read_tacred(path).words(0)
    '[H] Marie Curie [/H] is [T] Polish [/T]'
    """
    records = read_records(Path(path), "example")
    sentences, sentence = _distinct(record.get_tokens("token") for record in records)
    spans = {side: torch.tensor([_span(record, side) for record in records]) for side in ("subj", "obj")}
    labels = tuple(record.get("relation", str) for record in records)
    try:
        return RelationPairs(
            sentences=sentences,
            sentence=sentence,
            head=spans["subj"],
            tail=spans["obj"],
            head_type=tuple(record.get("subj_type", str) for record in records),
            tail_type=tuple(record.get("obj_type", str) for record in records),
            labels=labels,
            all_labels=tuple(() if label == negative_label else (label,) for label in labels),
            groups=tuple(record.get("docid", str) for record in records),
            ids=tuple(record.get("id", str) for record in records),
            negative_label=negative_label,
        )
    except InvalidInputError as error:
        raise InvalidInputError(f"{path}: {error}") from error


def _span(record: Record, side: str) -> tuple[int, int]:
    """Read where the subject or the object begins and ends; the last token of the file is inclusive."""
    begin, last = record.get(f"{side}_start", int), record.get(f"{side}_end", int)
    length = len(record.values["token"])
    if not 0 <= begin <= last < length:
        raise record.refuse(
            f"{side}_start is {begin} and {side}_end is {last}", f"0 <= start <= end < {length}, the number of tokens"
        )
    return begin, last + 1


def _distinct(sentences: Iterable[tuple[str, ...]]) -> tuple[tuple[tuple[str, ...], ...], LongTensor]:
    """Keep equal sentences once, and say where each is."""
    position: dict[tuple[str, ...], int] = {}
    rows = [position.setdefault(tokens, len(position)) for tokens in sentences]
    return tuple(position), torch.tensor(rows, dtype=torch.int64)
