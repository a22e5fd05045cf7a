"""Read ConceptNet, a graph of what words stand for."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from kgneg.core.errors import InvalidInputError
from kgneg.core.validation import validate_number
from kgneg.datasets._files import iterate_lines, malformed
from kgneg.datasets._phrases import squeeze
from kgneg.datasets.graph import KnowledgeGraph

__all__ = ["read_conceptnet"]

_Triple = tuple[str, str, str]


class _Row(NamedTuple):
    """A triple as it stands in a file; the number is a weight or a label, ``None`` if there is none to look at."""

    head: str
    relation: str
    tail: str
    number: float | None


def read_conceptnet(
    path: str | os.PathLike[str],
    *,
    valid: str | os.PathLike[str] | None = None,
    test: str | os.PathLike[str] | None = None,
    language: str = "en",
    min_weight: float | None = None,
) -> KnowledgeGraph:
    r"""Read ConceptNet (Speer et al., AAAI 2017) or a benchmark made of it.

    Two formats are told apart by the first line: the dump of all assertions (``/a/[...]``, ``/r/IsA``, ``/c/en/...``,
    ``/c/en/...``, JSON), and lines of relation, head and tail as in CN-100K (Li et al., ACL 2016) and CN-82K, with or
    without a number behind. The label of an entity is its phrase in words. A column of the numbers 0 and 1 alone says
    whether triples are true: false ones of ``valid`` and ``test`` are the negatives of the graph, those of ``path`` are
    dropped. All else that is dropped is counted in :attr:`~kgneg.datasets.KnowledgeGraph.report`, too:
    ``other_language``, ``no_concept``, ``low_weight``, ``false_train`` and ``merged_label``.

    :param path: the file of the training triples, packed or not; the dump is read line by line
    :param valid: the file of the validation triples
    :param test: the file of the test triples
    :param language: the language whose assertions of the dump are read, both ends of them
    :param min_weight: the least weight of a triple; ``None`` takes all
    :returns: the graph
    :raises InvalidInputError: if a file is missing or malformed, or has no weights to compare with ``min_weight``; the
        message names the line

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "train.tsv")
    ...     _ = path.write_text("IsA\ttool\tobject\t2.5\nHasA\tlion\tmane\t0.5\n", encoding="utf-8")
    ...     read_conceptnet(path, min_weight=1.0).entities
    ('object', 'tool')
    """
    least = None if min_weight is None else validate_number("min_weight", min_weight, -math.inf)
    path = Path(path)
    report: Counter[str] = Counter()
    found: dict[str, list[_Triple]] = {}
    labels: set[str] = set()
    for what, one in (("train", path), ("valid", valid), ("test", test)):
        if one is None:
            continue
        rows = list(_rows(Path(one), language, least, report))
        labels.update(label for row in rows for label in (row.head, row.tail))
        false = _false(rows)
        for row in rows:
            if row.number == 0 and false:
                if what == "train":
                    report["false_train"] += 1
                    continue
                where = f"{what}_negatives"
            elif least is not None and not false and row.number is not None and row.number < least:
                report["low_weight"] += 1
                continue
            else:
                where = what
            found.setdefault(where, []).append((squeeze(row.head), row.relation, squeeze(row.tail)))
    if "train" not in found:
        dropped = ", ".join(f"{name} {count}" for name, count in sorted(report.items()) if count)
        raise InvalidInputError(f"{path}: no training triple is left (dropped: {dropped or 'none'}), expected one")
    report["merged_label"] += len(labels) - len({squeeze(label) for label in labels})
    return KnowledgeGraph.from_labelled(
        path.name.split(".")[0],
        found["train"],
        found.get("valid"),
        found.get("test"),
        valid_negatives=found.get("valid_negatives"),
        test_negatives=found.get("test_negatives"),
        report=+report,
    )


def _false(rows: list[_Row]) -> bool:
    """Return whether the numbers are labels, some of them of false triples."""
    numbers = {row.number for row in rows}
    return numbers == {0.0, 1.0} or numbers == {0.0}


def _rows(path: Path, language: str, least: float | None, report: Counter[str]) -> Iterator[_Row]:
    first = next(islice(iterate_lines(path), 1), (1, ""))[1]
    if not first:
        raise malformed(path, 1, "an empty line", "at least one assertion")
    fields = first.split("\t")
    if len(fields) == 5 and fields[0].startswith("/a/"):
        yield from _assertions(path, language, least, report)
        return
    if len(fields) not in (3, 4):
        raise malformed(
            path,
            1,
            f"{len(fields)} columns",
            "relation, head, tail and perhaps a number, or the five columns of the dump, with tabs between them",
        )
    if least is not None and len(fields) == 3:
        raise malformed(path, 1, "3 columns", f"a fourth with weights, to compare with min_weight={least}")
    for number, line in iterate_lines(path):
        yield _plain_row(path, number, line, len(fields))


def _plain_row(path: Path, number: int, line: str, width: int) -> _Row:
    fields = line.split("\t")
    if len(fields) != width:
        raise malformed(path, number, f"{len(fields)} columns", f"{width}, as in the first line")
    if not all(field.strip() for field in fields):
        raise malformed(path, number, f"an empty field in {line[:80]!r}", "relation, head and tail")
    relation, head, tail = fields[:3]
    return _Row(head.replace("_", " "), relation.strip(), tail.replace("_", " "), _number(path, number, fields[3:]))


def _number(path: Path, line: int, fields: list[str]) -> float | None:
    if not fields:
        return None
    try:
        value = float(fields[0])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise malformed(path, line, f"{fields[0]!r} in column 4", "a number, the weight or the label")
    return value


def _assertions(path: Path, language: str, least: float | None, report: Counter[str]) -> Iterator[_Row]:
    """Read the dump."""
    own = f"/c/{language}/"
    wanted = f"\t{own}"
    for number, line in iterate_lines(path):
        fields = line.split("\t")
        if len(fields) != 5 or not fields[1].startswith("/r/"):
            raise malformed(
                path, number, repr(line[:80]), "/a/[...], /r/..., /c/..., /c/... and JSON, with tabs between"
            )
        if line.count(wanted) != 2:
            concepts = fields[2].startswith("/c/") and fields[3].startswith("/c/")
            report["other_language" if concepts else "no_concept"] += 1
            continue
        head, tail = (squeeze(one.removeprefix(own).partition("/")[0].replace("_", " ")) for one in fields[2:4])
        if not head or not tail:
            raise malformed(path, number, f"the concept {fields[3] if head else fields[2]!r}", f"{own} and words")
        if least is not None and _weight(path, number, fields[4]) < least:
            report["low_weight"] += 1
        else:
            yield _Row(head, fields[1][3:], tail, None)


def _weight(path: Path, line: int, cell: str) -> float:
    try:
        return float(json.loads(cell)["weight"])
    except (ValueError, TypeError, KeyError) as error:
        raise malformed(path, line, f"{cell[:80]!r} in column 5", 'JSON with a "weight"') from error
