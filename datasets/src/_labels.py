"""From labels to ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import HEAD, RELATION, TAIL, LongTensor
from kgneg.datasets._files import LabelArray

__all__ = [
    "LabelTriples",
    "as_label_array",
    "clean_texts",
    "clean_types",
    "humanise",
    "map_triples",
    "vocabulary",
]

#: Triples of labels: an object array of shape (m, 3), or a sequence of 3-tuples.
LabelTriples: TypeAlias = LabelArray | Sequence[tuple[str, str, str]] | Sequence[Sequence[str]]


def humanise(label: str) -> str:
    """Make a label readable: underscores become spaces, and of an IRI only the last part is kept.

    :param label: a label of an entity or a relation
    :returns: the readable form, never empty

    >>> humanise("_member_of_domain_usage"), humanise("http://example.org/animals#red_deer")
    ('member of domain usage', 'red deer')
    """
    part = label
    if "://" in label:
        part = label.rstrip("/#").replace("#", "/").rsplit("/", maxsplit=1)[-1]
    return " ".join(part.replace("_", " ").split()) or label


def as_label_array(triples: LabelTriples | None, what: str) -> LabelArray:
    """Check triples of labels.

    :param triples: shape: (m, 3), labels; None for no triples
    :param what: the name of the argument, for messages
    :returns: shape: (m, 3), dtype: object
    :raises InvalidInputError: if the shape is another one, or a label is no text or empty
    """
    if triples is None or len(triples) == 0:
        return np.empty((0, 3), dtype=object)
    try:
        array = np.array(triples, dtype=object)
    except ValueError as error:
        raise InvalidInputError(f"{what}: got rows of different lengths, expected (head, relation, tail)") from error
    if array.ndim != 2 or array.shape[1] != 3:
        raise InvalidInputError(f"{what}: got shape {array.shape}, expected (m, 3), one (head, relation, tail) a row")
    for label in _unique(array):
        if not isinstance(label, str) or not label:
            raise InvalidInputError(
                f"{what}: got the label {label!r}, expected non-empty text (str makes one of a number)"
            )
    return array


def vocabulary(triples: LabelArray) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Collect the labels of training triples, in the order that PyKEEN gives them.

    :param triples: shape: (m, 3), dtype: object
    :returns: the sorted labels of the entities, and those of the relations

    >>> vocabulary(np.array([["b", "r", "a"]], dtype=object))
    (('a', 'b'), ('r',))
    """
    return tuple(sorted(_unique(triples[:, [HEAD, TAIL]]))), tuple(sorted(_unique(triples[:, RELATION])))


def map_triples(
    triples: LabelArray,
    entity_ids: Mapping[str, int],
    relation_ids: Mapping[str, int],
    *,
    what: str,
    report: Counter[str],
    unique: bool,
) -> LongTensor:
    """Map triples of labels to ids.

    :param triples: shape: (m, 3), dtype: object
    :param entity_ids: the id of each entity
    :param relation_ids: the id of each relation
    :param what: the name of the split, for the report
    :param report: counts what is dropped, in place, as ``<what>_unseen_entity``, ``<what>_unseen_relation`` and
        ``duplicate_<what>``; a triple with both an unseen entity and an unseen relation counts as the former
    :param unique: whether to drop repeated triples and sort the rest by their ids, as PyKEEN does
    :returns: shape: (n, 3), dtype: int64, n <= m
    """
    columns = [
        np.fromiter((ids.get(label, -1) for label in triples[:, column].tolist()), np.int64, count=len(triples))
        for column, ids in ((HEAD, entity_ids), (RELATION, relation_ids), (TAIL, entity_ids))
    ]
    mapped = np.stack(columns, axis=-1)
    entity_unseen = (mapped[:, HEAD] < 0) | (mapped[:, TAIL] < 0)
    relation_unseen = ~entity_unseen & (mapped[:, RELATION] < 0)
    mapped = mapped[~(entity_unseen | relation_unseen)]
    counts = {f"{what}_unseen_entity": int(entity_unseen.sum()), f"{what}_unseen_relation": int(relation_unseen.sum())}
    if unique:
        found = len(mapped)
        mapped = _unique_rows(mapped, len(entity_ids), len(relation_ids))
        counts[f"duplicate_{what}"] = found - len(mapped)
    report.update({key: count for key, count in counts.items() if count})
    return torch.from_numpy(np.ascontiguousarray(mapped))


def _unique(labels: LabelArray) -> set[str]:
    """Collect distinct labels."""
    try:
        return set(labels.ravel().tolist())
    except TypeError as error:  # an element that cannot be hashed, thus no text
        raise InvalidInputError(f"got a label that is no text: {error}") from error


def _unique_rows(rows: npt.NDArray[np.int64], num_entities: int, num_relations: int) -> npt.NDArray[np.int64]:
    """Sort rows of ids and drop repeated ones."""
    # sorting single numbers is several times as fast as sorting rows
    if num_entities * num_relations * num_entities > np.iinfo(np.int64).max:
        return np.unique(rows, axis=0)
    keys = np.unique((rows[:, HEAD] * num_relations + rows[:, RELATION]) * num_entities + rows[:, TAIL])
    heads_relations, tails = np.divmod(keys, num_entities)
    return np.stack([heads_relations // num_relations, heads_relations % num_relations, tails], axis=-1)


def clean_texts(texts: Mapping[str, str] | None, what: str) -> dict[str, str]:
    """Drop empty texts.

    :param texts: label -> text; None for no texts
    :param what: the name of the argument, for messages
    :returns: the texts that are not blank
    :raises InvalidInputError: if a text is no text
    """
    for label, text in (texts or {}).items():
        if not isinstance(text, str) or not isinstance(label, str):
            raise InvalidInputError(f"{what}: got {label!r}: {text!r}, expected a text for a label")
    return {label: text for label, text in (texts or {}).items() if text.strip()}


def clean_types(types: Iterable[tuple[str, str]], report: Counter[str]) -> tuple[tuple[str, str], ...]:
    """Sort (entity, type) pairs and drop repeated ones.

    :param types: (entity label, type label)
    :param report: counts what is dropped, in place, as ``duplicate_type``
    :returns: the distinct pairs in ascending order
    :raises InvalidInputError: if an element is no pair of non-empty texts
    """
    pairs = list(types)
    for pair in pairs:
        if isinstance(pair, str) or len(pair) != 2 or not all(isinstance(label, str) and label for label in pair):
            raise InvalidInputError(f"types: got {pair!r}, expected a pair (entity label, type label)")
    unique = sorted({(entity, kind) for entity, kind in pairs})
    if len(unique) < len(pairs):
        report["duplicate_type"] += len(pairs) - len(unique)
    return tuple(unique)
