"""Concepts of parts of events, as in AbstractATOMIC."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import FloatTensor, LongTensor
from kgneg.core.validation import validate_number
from kgneg.datasets._csv_files import header_of, read_rows
from kgneg.datasets._files import malformed
from kgneg.datasets._phrases import squeeze

__all__ = ["ConceptTable", "read_concepts"]

# "PersonX takes [the bus] home. [the bus]": the second is left out in some files
_EVENT = re.compile(r"([^\[\]]*)\[([^\[\]]+)\]([^\[\]]*?)(?:\. ?\[([^\[\]]+)\])?")
_FORM = "a sentence with one instance in brackets, such as 'PersonX takes [the bus] home. [the bus]'"


@dataclass(frozen=True, eq=False)
class ConceptTable:
    """Events, a part of each, the instance, and a concept that the instance is one of; all of length n.

    :param events: the events, without brackets
    :param instances: the instances, which are parts of the events
    :param spans: shape: ``(n, 2)``, where the instance begins and ends in its event, in characters
    :param concepts: the concepts
    :param scores: shape: ``(n,)``, how plausible the concept is, NaN where nobody says: people have made such rows
    :param report: counts of what was dropped while reading
    :raises InvalidInputError: if lengths differ, there is no row, or an instance is not where its span says

    >>> table = ConceptTable.from_rows([("PersonX takes [the bus] home", "vehicle", 0.9)])
    >>> table.events, table.instances, table.spans.tolist()
    (('PersonX takes the bus home',), ('the bus',), [[14, 21]])
    >>> table.by_instance()
    {'the bus': ('vehicle',)}
    """

    events: tuple[str, ...] = field(repr=False)
    instances: tuple[str, ...] = field(repr=False)
    spans: LongTensor = field(repr=False)
    concepts: tuple[str, ...] = field(repr=False)
    scores: FloatTensor = field(repr=False)
    report: Mapping[str, int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        number = len(self.events)
        if not number:
            raise InvalidInputError("empty concept table: got no row, expected (event, instance, concept) rows")
        lengths = [len(one) for one in (self.instances, self.spans, self.concepts, self.scores)]
        if set(lengths) != {number}:
            raise InvalidInputError(
                f"got {number} events, but {lengths[0]} instances, {lengths[1]} spans, {lengths[2]} concepts and "
                f"{lengths[3]} scores; they must be as many"
            )
        for event, instance, (start, end) in zip(self.events, self.instances, self.spans.tolist(), strict=True):
            if not instance or event[start:end] != instance:
                raise InvalidInputError(f"got {event[start:end]!r} at {start} to {end} of {event!r}, not {instance!r}")

    def __len__(self) -> int:
        return len(self.events)

    def __repr__(self) -> str:
        scored = int((~self.scores.isnan()).sum())
        return (
            f"ConceptTable(rows={len(self)}, events={len(set(self.events))}, instances={len(set(self.instances))}, "
            f"concepts={len(set(self.concepts))}, scored={scored})"
        )

    @classmethod
    def from_rows(
        cls, rows: Sequence[tuple[str, str, float | None]], report: Mapping[str, int] | None = None
    ) -> ConceptTable:
        """Make a table of (event with the instance in brackets, concept, score) rows.

        :param rows: the rows; the score ``None`` says nothing
        :param report: counts to begin with; repeated rows are counted as ``duplicate_row`` and kept once, with the
            highest of their scores
        :returns: the table
        :raises InvalidInputError: if there is no row, or an event has not exactly one instance in brackets
        """
        counts = Counter(report or {})
        best: dict[tuple[str, int, int, str], float] = {}
        for place, (text, concept, score) in enumerate(rows):
            parts, name = _parts(text), squeeze(concept)
            if parts is None or not name:
                what = f"the event {text!r}, expected {_FORM}" if name else f"no concept of {text!r}, expected one"
                raise InvalidInputError(f"row {place}: got {what}")
            key = (*parts, name)
            value = float("nan") if score is None else float(score)
            counts["duplicate_row"] += key in best
            best[key] = max(value, best.get(key, value)) if value == value else best.get(key, value)
        return cls(
            events=tuple(event for event, _, _, _ in best),
            instances=tuple(event[start:end] for event, start, end, _ in best),
            spans=torch.tensor([key[1:3] for key in best], dtype=torch.long).reshape(-1, 2),
            concepts=tuple(concept for _, _, _, concept in best),
            scores=torch.tensor(list(best.values()), dtype=torch.float32),
            report=+counts,
        )

    def by_instance(self) -> dict[str, tuple[str, ...]]:
        """Return the distinct concepts of each instance, whatever the event.

        :returns: instance -> its concepts in the order of the table
        """
        return _grouped(self.instances, self.concepts)

    def instances_of(self) -> dict[str, tuple[str, ...]]:
        """Return the distinct instances of each concept.

        :returns: concept -> its instances in the order of the table
        """
        return _grouped(self.concepts, self.instances)


def read_concepts(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    threshold: float | None = None,
    score: str = "score",
) -> ConceptTable:
    r"""Read tables of event concepts as AbstractATOMIC (He et al., 2022) has them.

    :param path: a file or several, packed or not, with the columns ``head_event`` and ``tail_event``; a head event is
        a sentence with the instance in brackets, mostly with the instance once more behind it
    :param threshold: the least score of a row; lower ones are dropped, and counted as ``low_score``; ``None`` takes all
    :param score: the column of the scores, which may be missing without a threshold
    :returns: the table
    :raises InvalidInputError: if a file is missing, empty or malformed, the message names the line; or if no row is
        left

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "concepts.tsv")
    ...     text = "head_event\trelation\ttail_event\nPersonX sees [a lion]. [a lion]\tInstanceOf\tanimal\n"
    ...     _ = path.write_text(text, encoding="utf-8")
    ...     read_concepts(path)
    ConceptTable(rows=1, events=1, instances=1, concepts=1, scored=0)
    """
    least = None if threshold is None else validate_number("threshold", threshold, -float("inf"))
    paths = [Path(path)] if isinstance(path, str | os.PathLike) else [Path(one) for one in path]
    if not paths:
        raise InvalidInputError("empty concept table: got no file, expected at least one")
    rows: list[tuple[str, str, float | None]] = []
    low = 0
    for one in paths:
        for row in _rows(one, score, required=least is not None):
            if least is not None and row[2] is not None and row[2] < least:
                low += 1
            else:
                rows.append(row)
    if not rows:
        raise InvalidInputError(
            f"empty concept table: all {low} rows of {', '.join(map(str, paths))} have a score below the threshold "
            f"{threshold}, expected at least one above it. Lower the threshold."
        )
    return ConceptTable.from_rows(rows, {"low_score": low})


def _rows(path: Path, score: str, *, required: bool) -> list[tuple[str, str, float | None]]:
    header = header_of(path)
    columns = ["head_event", "tail_event"]
    if not any(header):
        raise _empty(path)
    if score in header:
        columns.append(score)
    elif required:
        raise InvalidInputError(
            f"{path}: there is no column {score!r} to compare with the threshold; the columns are {', '.join(header)}. "
            "Name another, or give no threshold."
        )
    try:
        table = read_rows(path, columns)
    except InvalidInputError as error:
        if "the end of the file" in str(error):
            raise _empty(path) from error
        raise
    rows: list[tuple[str, str, float | None]] = []
    for line, (event, concept, *more) in table:
        if _parts(event) is None:
            raise malformed(path, line, repr(event), _FORM)
        if not concept.strip():
            raise malformed(path, line, f"no concept of {event!r}", "one in the column tail_event")
        rows.append((event, concept, _score(path, line, more[0]) if more and more[0].strip() else None))
    return rows


def _empty(path: Path) -> InvalidInputError:
    return InvalidInputError(
        f"empty concept table: {path} has no rows, expected a header with head_event and tail_event and below it "
        f"{_FORM}, and a concept"
    )


def _parts(text: str) -> tuple[str, int, int] | None:
    """Return the event without brackets and where the instance begins and ends, or ``None`` if there is not one."""
    found = _EVENT.fullmatch(squeeze(text))
    if found is None:
        return None
    before, instance, after, again = found.groups()
    if again is not None and squeeze(again) != squeeze(instance):
        return None
    # a blank inside a bracket may stand next to one outside
    head = squeeze(before) + " " * (bool(before.strip()) and (before + instance)[len(before.rstrip())] == " ")
    middle = squeeze(instance)
    tail = " " * (bool(after.strip()) and (instance + after)[len(instance.rstrip())] == " ") + squeeze(after)
    return head + middle + tail, len(head), len(head) + len(middle)


def _score(path: Path, line: int, cell: str) -> float:
    try:
        return float(cell)
    except ValueError as error:
        raise malformed(path, line, f"the score {cell!r}", "a number") from error


def _grouped(keys: Sequence[str], values: Sequence[str]) -> dict[str, tuple[str, ...]]:
    groups: dict[str, dict[str, None]] = {}
    for key, value in zip(keys, values, strict=True):
        groups.setdefault(key, {})[value] = None
    return {key: tuple(group) for key, group in groups.items()}
