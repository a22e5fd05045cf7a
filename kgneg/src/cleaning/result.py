"""What was found in an input, and the folder in which it is kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from kgneg.cleaning.apply import CleaningCounts, apply_report
from kgneg.cleaning.gold import Gold, read_gold
from kgneg.cleaning.review import review_lines
from kgneg.compare.store import dump_json
from kgneg.core.errors import InvalidInputError
from kgneg.core.storage import atomic_path
from kgneg.samplers.noise import NoiseReport
from kgneg.samplers.noise.files import REPORT_FILE, SUMMARY_FILE, read_report, write_report

if TYPE_CHECKING:
    from kgneg.report import Table

__all__ = ["Cleaning"]

_INPUT = "input.json"
_EXAMPLES = "examples.parquet"
_REVIEW = "review.jsonl"
_PAGE = "report.html"
_VERSION = 1


@dataclass(frozen=True, eq=False)
class Cleaning:
    """What came out of :func:`~kgneg.cleaning.fit_cleaning`.

    :param report: the judgement of each row
    :param record: the input and the settings: ``name``, ``format``, ``fingerprint``, ``negative_label``, ``columns``,
        ``relations`` (names), ``settings`` and ``versions``
    :param texts: what to show to people, a text per row
    :param groups: a group per row
    :param types: columns of categories by name
    """

    report: NoiseReport
    record: Mapping[str, Any]
    texts: tuple[str, ...] | None
    groups: tuple[str, ...] | None
    types: Mapping[str, tuple[str, ...]]

    #: the files of a folder
    FILES: ClassVar[tuple[str, ...]] = (REPORT_FILE, SUMMARY_FILE, _EXAMPLES, _REVIEW, _PAGE, _INPUT)

    def relation(self, code: int) -> str:
        """Write a label for people.

        :param code: its position in the classes of the report
        :returns: the label, with the name of the relation if there is one
        """
        label = str(self.report.classes[code])
        name = self.record["relations"].get(label)
        return label if name is None else f"{label} ({name})"

    def text(self, row: int) -> str:
        """Write a row for people.

        :param row: its position
        :returns: its text, or without one its id
        """
        return str(self.report.ids[row]) if self.texts is None else self.texts[row]

    def read_gold(self, path: str | Path) -> Gold:
        """Read true labels.

        :param path: a table with the columns ``id`` and ``label``, or JSON in the format of the input
        :returns: the true labels of the rows
        :raises InvalidInputError: if the file is malformed, or has none of the rows
        """
        return read_gold(path, self.record["format"], self.record["negative_label"], self.report)

    def table(self) -> Table:
        """Return the main numbers as a table for the terminal."""
        from kgneg.cleaning.page import overview

        return overview(self)

    def to_html(self, gold: Gold | None = None) -> str:
        """Return the report as one HTML file.

        :param gold: true labels, if they are known
        :returns: the page
        """
        from kgneg.cleaning.page import build_report
        from kgneg.report import render_html

        return render_html(build_report(self, gold))

    def apply(
        self,
        input: str | Path,
        out: str | Path,
        *,
        flag: str | float | None = None,
        eliminate: float | None = None,
        reannotate: bool = False,
        keep_review: bool = True,
    ) -> CleaningCounts:
        """Write a cleaned copy of the input; the input stays as it is.

        :param input: the file or folder that was fitted
        :param out: the file to write; a folder if the input is one
        :param flag: ``"f1"`` or a probability; ``None`` takes that of the fit
        :param eliminate: from which probability on flagged rows are eliminated; ``None`` eliminates all
        :param reannotate: whether flagged rows may get the suggested label
        :param keep_review: whether negatives that are to be reviewed stay
        :returns: what became of how many rows
        :raises InvalidInputError: if the input is another one, the output is the input or of another format, or a value
            is out of range
        """
        report = self.report.rethreshold(
            self.report.policy.flag if flag is None else flag, eliminate=eliminate, reannotate=reannotate
        )
        return apply_report(report, self.record, Path(input), Path(out), keep_review=keep_review)

    def write(self, folder: str | Path) -> dict[str, Path]:
        """Write all files; each appears whole or not at all, and a folder that lacks one is refused by :meth:`read`.

        :param folder: the folder; it is created
        :returns: the paths of ``report.parquet``, ``summary.json``, ``examples.parquet``, ``review.jsonl``,
            ``report.html`` and ``input.json`` by file name
        """
        folder = Path(folder)
        (folder / _INPUT).unlink(missing_ok=True)  # written last: with it, the folder is complete
        paths = write_report(self.report, folder)
        paths[_EXAMPLES] = folder / _EXAMPLES
        self._write_examples(paths[_EXAMPLES])
        paths |= self.write_page(folder)
        paths[_INPUT] = folder / _INPUT
        _write(paths[_INPUT], dump_json({**self.record, "version": _VERSION}))
        return paths

    def write_page(self, folder: str | Path, gold: Gold | None = None) -> dict[str, Path]:
        """Write what is for people.

        :param folder: the folder
        :param gold: true labels, if they are known
        :returns: the paths of ``review.jsonl`` and ``report.html`` by file name
        """
        texts = {_REVIEW: "".join(review_lines(self)), _PAGE: self.to_html(gold)}
        paths = {name: Path(folder, name) for name in texts}
        for name, text in texts.items():
            _write(paths[name], text)
        return paths

    @classmethod
    def read(cls, folder: str | Path) -> Cleaning:
        """Read what :meth:`write` has written.

        :param folder: the folder
        :returns: the same
        :raises InvalidInputError: if a file is missing, truncated or of another version
        """
        folder = Path(folder)
        path = folder / _INPUT
        if not path.is_file():
            raise InvalidInputError(
                f"{folder}: no complete fit ({_INPUT} is missing); run kgneg noise fit --out {folder}"
            )
        try:
            record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InvalidInputError(f"{path}: broken JSON ({error}); fit again") from error
        if not isinstance(record, dict) or record.pop("version", None) != _VERSION:
            raise InvalidInputError(f"{path}: not written by this version; fit again")
        report = read_report(folder)
        texts, groups, types = _read_examples(folder / _EXAMPLES, len(report))
        return cls(report, record, texts, groups, types)

    def _write_examples(self, path: Path) -> None:
        import pyarrow as pa  # type: ignore[import-untyped]
        from pyarrow import parquet

        columns: dict[str, Any] = {"id": [str(name) for name in self.report.ids]}
        if self.texts is not None:
            columns["text"] = self.texts
        if self.groups is not None:
            columns["group"] = self.groups
        columns |= {f"types.{name}": values for name, values in self.types.items()}
        with atomic_path(path) as temporary:
            parquet.write_table(
                pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()}), temporary
            )


def _read_examples(
    path: Path, number: int
) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None, dict[str, tuple[str, ...]]]:
    """Return texts, groups and types."""
    from pyarrow import parquet

    if not path.is_file():
        raise InvalidInputError(f"{path}: no such file; fit again")
    try:
        table = parquet.read_table(path)
    except (ValueError, OSError) as error:  # pyarrow's errors are one or the other
        raise InvalidInputError(f"{path}: cannot be read as Parquet ({error}); was the file cut off?") from error
    if table.num_rows != number:
        raise InvalidInputError(f"{path}: got {table.num_rows} rows, expected {number} as in the report; fit again")
    found = {name: tuple(table.column(name).to_pylist()) for name in table.column_names}
    types = {name.removeprefix("types."): values for name, values in found.items() if name.startswith("types.")}
    return found.get("text"), found.get("group"), types


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
