"""Read ATOMIC, a graph of what people do, why, and what comes of it."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from kgneg.core.errors import InvalidInputError
from kgneg.core.validation import choose
from kgneg.datasets._csv_files import header_of, read_rows
from kgneg.datasets._files import iterate_lines, malformed, read_lines
from kgneg.datasets._phrases import squeeze
from kgneg.datasets.graph import KnowledgeGraph

__all__ = ["read_atomic", "read_atomic_keywords"]

#: The relations of ATOMIC, which are the columns of its CSV files.
_RELATIONS = ("oEffect", "oReact", "oWant", "xAttr", "xEffect", "xIntent", "xNeed", "xReact", "xWant")
_SPLITS = {"trn": "train", "dev": "valid", "tst": "test"}

_Triple = tuple[str, str, str]


class _Row(NamedTuple):
    """A triple as it stands in a file."""

    line: int
    split: str
    head: str
    relation: str
    tail: str


def read_atomic(
    path: str | os.PathLike[str],
    *,
    valid: str | os.PathLike[str] | None = None,
    test: str | os.PathLike[str] | None = None,
    none: str = "drop",
    blank: str = "error",
    split: str | None = None,
) -> KnowledgeGraph:
    r"""Read ATOMIC (Sap et al., AAAI 2019) or ATOMIC-2020 (Hwang et al., AAAI 2021).

    Two formats are told apart by the first line: lines of head, relation and tail with tabs between them, and the CSV
    of the original release, a column of lists for each relation. The label of an entity is its phrase, with single
    blanks between words. :attr:`~kgneg.datasets.KnowledgeGraph.report` counts what that changed (``merged_label``:
    labels that became one with another) and what was dropped (``none_tail``, ``blank_tail``).

    :param path: the file, packed or not; the training triples, or the CSV with all splits
    :param valid: the file of the validation triples
    :param test: the file of the test triples
    :param none: ``"drop"`` drops tails that are the word ``none``, whatever the case of its letters: annotators wrote
        it where nothing follows; ``"keep"`` keeps them
    :param blank: ``"error"`` refuses a row without a tail, ``"drop"`` drops it; both ATOMICs have a few
    :param split: which rows of a CSV are read: ``"trn"``, ``"dev"`` or ``"tst"`` takes those of this split as training
        triples, and so does ``"all"`` with all rows; ``None`` reads three splits. They have no event in common,
        therefore hardly any triple outside training has both entities in training, and the others are dropped
    :returns: the graph
    :raises InvalidInputError: if a file is missing or malformed; the message names the line

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "atomic.tsv")
    ...     _ = path.write_text("PersonX eats  soup\txReact\tfull\nPersonX sits\toWant\tnone\n", encoding="utf-8")
    ...     graph = read_atomic(path)
    ...     graph.entities, dict(graph.report)
    (('PersonX eats soup', 'full'), {'none_tail': 1})
    """
    choose("none", none, ("drop", "keep"))
    choose("blank", blank, ("drop", "error"))
    if split is not None:
        choose("split", split, (*_SPLITS, "all"))
    path = Path(path)
    report: Counter[str] = Counter()
    found: dict[str, list[_Triple]] = {"train": [], "valid": [], "test": []}
    labels: set[str] = set()
    for one, forced in ((path, "train"), (valid, "valid"), (test, "test")):
        if one is None:
            continue
        several = forced == "train" and valid is None and test is None and split is None
        for row in _rows(Path(one), split if forced == "train" else None):
            where = _SPLITS[row.split] if several and row.split else forced
            tail = squeeze(row.tail)
            if not tail:
                _refuse_blank(Path(one), row, blank)
                report["blank_tail"] += 1
            elif none == "drop" and tail.lower() == "none":
                report["none_tail"] += 1
            else:
                labels.update((row.head, row.tail))
                found[where].append((squeeze(row.head), row.relation, tail))
    report["merged_label"] += len(labels) - len({squeeze(label) for label in labels})
    if not found["train"]:
        raise InvalidInputError(
            f"{path}: got no training triple with a tail, expected at least one. A CSV of one split is read with "
            "split='all', and tails that are 'none' with none='keep'."
        )
    name = path.name.split(".")[0]
    return KnowledgeGraph.from_labelled(name, found["train"], found["valid"], found["test"], report=+report)


def read_atomic_keywords(path: str | os.PathLike[str]) -> dict[str, tuple[str, ...]]:
    r"""Read the keywords of the events, the column ``prefix`` of the CSV files.

    :param path: the CSV file, packed or not
    :returns: event, as :func:`read_atomic` names its entity -> keywords, for ``Conceptualiser.conceptualise``
    :raises InvalidInputError: if the file is missing or malformed; the message names the line

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "atomic.csv")
    ...     _ = path.write_text('event,xWant,prefix\nPersonX eats soup,[],"[""eats"", ""soup""]"\n', encoding="utf-8")
    ...     read_atomic_keywords(path)
    {'PersonX eats soup': ('eats', 'soup')}
    """
    path = Path(path)
    keywords: dict[str, dict[str, None]] = {}
    for line, (event, cell) in read_rows(path, ("event", "prefix"), separator=","):
        keywords.setdefault(squeeze(event), {}).update(dict.fromkeys(_texts(path, line, "prefix", cell)))
    return {event: tuple(words) for event, words in keywords.items()}


def _refuse_blank(path: Path, row: _Row, blank: str) -> None:
    if blank == "error":
        raise malformed(
            path,
            row.line,
            f"no tail for {squeeze(row.head)!r} and {row.relation!r}",
            "a phrase; add it, or take blank='drop' to drop and count rows without a tail",
        )


def _rows(path: Path, split: str | None) -> Iterator[_Row]:
    """Read the triples of a file in either format."""
    first = next(islice(iterate_lines(path), 1), (1, ""))[1]
    if "\t" not in first and "event" in {name.strip(' "') for name in first.split(",")}:
        yield from _csv_rows(path, header_of(path, ","), split)
    elif split is not None:
        raise InvalidInputError(f"{path} has no column 'split' to choose {split!r} by; leave split out for such a file")
    else:
        yield from _tab_rows(path)


def _tab_rows(path: Path) -> Iterator[_Row]:
    for number, line in enumerate(read_lines(path), start=1):
        fields = line.split("\t")
        if number == 1 and tuple(one.strip().lower() for one in fields) == ("head", "relation", "tail"):
            continue  # a header
        if len(fields) != 3:
            raise malformed(path, number, f"{len(fields)} columns", "head, relation and tail, with tabs between them")
        if not fields[0].strip() or not fields[1].strip():
            raise malformed(path, number, f"no {'relation' if fields[0].strip() else 'head'}", "a head and a relation")
        yield _Row(number, "", fields[0], fields[1].strip(), fields[2])


def _csv_rows(path: Path, header: list[str], split: str | None) -> Iterator[_Row]:
    relations = [name for name in _RELATIONS if name in header]
    if not relations:
        raise malformed(path, 1, f"the columns {', '.join(header)}", f"some of {', '.join(_RELATIONS)}")
    chosen = ["split"] if "split" in header else []
    if split not in (None, "all") and not chosen:
        raise InvalidInputError(f"{path} has no column 'split' to choose {split!r} by; take split='all'")
    for line, (event, *cells) in read_rows(path, ("event", *chosen, *relations), separator=","):
        if not event.strip():
            raise malformed(path, line, "no event", "a phrase in the column event")
        part = cells.pop(0).strip() if chosen else ""
        if chosen and part not in _SPLITS:
            raise malformed(path, line, f"the split {part!r}", f"one of {', '.join(_SPLITS)}")
        if split not in (None, "all", part):
            continue
        for relation, cell in zip(relations, cells, strict=True):
            for tail in _texts(path, line, relation, cell):
                yield _Row(line, part, event, relation, tail)


def _texts(path: Path, line: int, column: str, cell: str) -> list[str]:
    """Read a cell with a list."""
    try:
        values = json.loads(cell)
    except ValueError:
        values = None
    if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
        raise malformed(path, line, f"{cell[:60]!r} in the column {column}", 'a list of texts such as ["to eat"]')
    return values
