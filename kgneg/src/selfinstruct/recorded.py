"""Verdicts that were given before, from a file."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from kgneg.core.cache import content_key
from kgneg.core.errors import InvalidInputError
from kgneg.core.storage import atomic_path
from kgneg.selfinstruct.candidates import Candidates
from kgneg.selfinstruct.judge import Judgements

__all__ = ["RecordedJudge", "write_verdicts"]

_TRUE, _FALSE, _NONE = {"yes", "true", "1", "1.0"}, {"no", "false", "0", "0.0"}, {"", "nan", "none", "null"}
_COLUMNS = ("head", "relation", "tail")
_BREAKS = re.compile(r"[\t\r\n]")
_FORMATS = ".tsv, .csv, .jsonl, each also with .gz, or .parquet"


class RecordedJudge:
    """Looks verdicts up that were recorded before, by the texts of the triple.

    A triple that was recorded several times gets the mean of its verdicts; one that was not has no verdict.

    :param candidates: the triples that were judged, ``n`` of them
    :param probability: shape: ``(n,)``, P(true) of each, NaN for no verdict
    :param name: a short name for tables
    :raises InvalidInputError: if the lengths differ, or a probability is out of range

    >>> asked = Candidates.from_triples([("cat", "IsA", "fish"), ("cat", "IsA", "pet")])
    >>> RecordedJudge(candidates=asked[:1], probability=[0.0]).judge(asked).probability.tolist()
    [0.0, nan]
    """

    def __init__(self, *, candidates: Candidates, probability: Any, name: str = "recorded") -> None:
        self._name = name
        values = Judgements.of(probability).probability
        if len(values) != len(candidates):
            raise InvalidInputError(f"got {len(values)} verdicts for {len(candidates)} triples, expected one for each")
        totals: dict[str, tuple[float, int]] = {}
        for key, value in zip(candidates.keys(), values.tolist(), strict=True):
            if not math.isnan(value):
                total, count = totals.get(key, (0.0, 0))
                totals[key] = (total + value, count + 1)
        self._verdicts = {key: total / count for key, (total, count) in totals.items()}

    @classmethod
    def load(cls, path: str | Path, *, column: str = "probability", name: str | None = None) -> RecordedJudge:
        """Read verdicts from a table with the columns head, relation and tail.

        In a TSV file a quotation mark is a character like any other, as in files of triples.

        :param path: a file that ends in ``.tsv``, ``.csv``, ``.jsonl``, each also with ``.gz``, or ``.parquet``
        :param column: the column of the verdicts: numbers in [0, 1], or yes, no, true, false; empty for no verdict
        :param name: a short name for tables; ``None`` takes that of the column, or of the file for ``probability``
        :returns: the judge
        :raises InvalidInputError: if the file cannot be read, a column is missing, or a verdict is none of these
        """
        path = Path(path)
        table = _read(path)
        missing = [one for one in (*_COLUMNS, column) if one not in table.columns]
        if missing:
            found = ", ".join(map(str, table.columns))
            raise InvalidInputError(
                f"{path} has no column {', '.join(missing)}, only {found}. Name one with column= "
                "(recorded:FILE#COLUMN as a --judge, or --column)."
            )
        values = [_probability(path, row, value) for row, value in enumerate(table[column].tolist(), 1)]
        candidates = Candidates(*(table[one].tolist() for one in _COLUMNS))
        default = path.name.partition(".")[0] if column == "probability" else column
        return cls(candidates=candidates, probability=values, name=default if name is None else name)

    @property
    def name(self) -> str:
        """A short name for tables."""
        return self._name

    def __len__(self) -> int:
        return len(self._verdicts)

    def fingerprint(self) -> str:
        """Return a hash of all verdicts.

        :returns: the hash, in hexadecimal
        """
        return content_key({"kind": "recorded", "verdicts": self._verdicts})

    def judge(self, candidates: Candidates) -> Judgements:
        """Look the triples up.

        :param candidates: the triples
        :returns: the recorded verdicts; NaN and the reason ``not recorded`` where there is none
        """
        found = [self._verdicts.get(key, math.nan) for key in candidates.keys()]  # noqa: SIM118 - not a mapping
        return Judgements.of(found, ["not recorded" if math.isnan(value) else "" for value in found])

    def save(self, path: str | Path) -> None:
        """Write all verdicts to a table that :meth:`load` reads.

        :param path: a file with one of the endings that :meth:`load` knows
        """
        triples = Candidates.from_triples([key.split("\x1f") for key in self._verdicts])
        write_verdicts(path, triples, Judgements.of(list(self._verdicts.values())))


def write_verdicts(path: str | Path, candidates: Candidates, judgements: Judgements) -> None:
    """Write what a judge said to a table that :meth:`RecordedJudge.load` reads.

    :param path: a file that ends in ``.tsv``, ``.csv``, ``.jsonl``, each also with ``.gz``, or ``.parquet``
    :param candidates: the triples, ``n`` of them
    :param judgements: the verdicts on them
    :raises InvalidInputError: if the numbers differ, the ending is not known, or a text cannot stand in a TSV file
    """
    import pandas as pd

    if len(candidates) != len(judgements):
        raise InvalidInputError(f"got {len(judgements)} verdicts for {len(candidates)} triples, expected one for each")
    columns: dict[str, Any] = dict(
        zip(_COLUMNS, (candidates.heads, candidates.relations, candidates.tails), strict=True)
    )
    table = pd.DataFrame(columns | {"probability": judgements.probability, "reason": list(judgements.reasons)})
    ending = _ending(Path(path))
    writers: dict[str, Callable[[Path], Any]] = {
        ".tsv": lambda to: table.to_csv(to, sep="\t", index=False, lineterminator="\n", quoting=csv.QUOTE_NONE),
        # all texts in quotes: a carriage return alone would get none, and end a line for those who read it
        ".csv": lambda to: table.to_csv(to, index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC),
        ".jsonl": lambda to: table.to_json(to, orient="records", lines=True, force_ascii=False, double_precision=15),
        ".parquet": lambda to: table.to_parquet(to, index=False),
    }
    if ending == ".tsv":
        for row, triple in enumerate(candidates.triples()):
            if any(_BREAKS.search(text) for text in triple):
                raise InvalidInputError(
                    f"{path}: triple {row} is {triple!r}; a tab or a line end in it cannot stand in a TSV file. "
                    "Replace it by a space, or name a file that ends in .csv, .jsonl or .parquet."
                )
        table["reason"] = [_BREAKS.sub(" ", reason) for reason in judgements.reasons]
    with atomic_path(path) as temporary:
        writers[ending](temporary)


def _ending(path: Path) -> str:
    """Return the ending that says what sort of table a file is."""
    suffixes: Iterable[str] = [one for one in path.suffixes if one != ".gz"] or [""]
    ending = list(suffixes)[-1].lower()
    if ending not in (".tsv", ".csv", ".jsonl", ".parquet"):
        raise InvalidInputError(f"{path.name} ends in {ending or 'nothing'!r}, expected {_FORMATS}")
    return ending


def _read(path: Path) -> Any:
    """Return a table of texts; what the file says is kept as it is."""
    import pandas as pd

    ending = _ending(path)
    if not path.is_file():
        raise InvalidInputError(f"there is no file {path}")
    try:
        if ending == ".parquet":
            return pd.read_parquet(path)
        if ending == ".jsonl":
            return pd.read_json(path, lines=True, dtype=False, convert_dates=False)
        if ending == ".tsv":
            return pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, quoting=csv.QUOTE_NONE)
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, OSError) as error:
        raise InvalidInputError(f"{path} cannot be read as {ending}: {error}. Write it again.") from error


def _probability(path: Path, row: int, value: Any) -> float:
    """Return a verdict as a probability, NaN for none."""
    if value is None:
        return math.nan
    text = str(value).strip().casefold()
    for words, meant in ((_TRUE, 1.0), (_FALSE, 0.0), (_NONE, math.nan)):
        if text in words:
            return meant
    try:
        number = float(text)
    except ValueError:
        number = math.inf
    if not (0 <= number <= 1 or np.isnan(number)):
        raise InvalidInputError(
            f"{path}, row {row} has the verdict {value!r}, expected a number in [0, 1], yes, no, or nothing"
        )
    return number
