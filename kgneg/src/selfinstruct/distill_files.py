"""The folder of a distilled graph."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from kgneg.core.errors import InvalidInputError
from kgneg.core.storage import atomic_path
from kgneg.selfinstruct.candidates import Candidates
from kgneg.selfinstruct.claim import MARK, claim

__all__ = ["DistillFolder"]


class DistillFolder:
    """What a distilled graph consists of, in one folder.

    ``triples.tsv`` and ``negatives.tsv`` (head, relation and tail, without a header, as other commands read them),
    ``heads.tsv`` (kind, head), ``decisions.tsv`` (also action, score and reason) and ``kept.tsv`` if there is a filter,
    ``malformed.jsonl`` with every reply that was not as asked for, ``unanswered.jsonl``, ``report.json``, and
    ``replies.sqlite`` and ``budget.json``, from which an interrupted run goes on. A file ``_kgneg.json`` marks it.

    :param path: the folder; it is created
    :raises InvalidInputError: if it is a file, or holds files of others
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if self.path.exists() and not self.path.is_dir():
            raise InvalidInputError(f"{path} is a file, expected a folder. Name another one.")
        self.path.mkdir(parents=True, exist_ok=True)
        if (self.path / MARK).exists() or not self.replies.is_file():  # earlier versions left no mark
            claim(self.path, "distill")
        self._lock = threading.Lock()

    @property
    def replies(self) -> Path:
        """The file of replies."""
        return self.path / "replies.sqlite"

    @property
    def budget(self) -> Path:
        """The file of what is spent."""
        return self.path / "budget.json"

    def write_table(self, name: str, columns: Sequence[str] | None, rows: Iterable[Sequence[str]]) -> Path:
        """Write a table of texts without tabs or line ends.

        :param name: the name of the file, without ending
        :param columns: the names of the columns; ``None`` for no header
        :param rows: the rows
        :returns: the file
        """
        path = self.path / f"{name}.tsv"
        with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
            if columns is not None:
                file.write("\t".join(columns) + "\n")
            file.writelines("\t".join(row) + "\n" for row in rows)
        return path

    def write_triples(self, name: str, candidates: Candidates) -> Path:
        """Write triples.

        :param name: the name of the file, without ending
        :param candidates: the triples
        :returns: the file
        """
        return self.write_table(name, None, candidates.triples())

    def remove_tables(self, *names: str) -> None:
        """Remove tables of an earlier run that has no counterpart in this one.

        :param names: their names, without ending
        """
        for name in names:
            (self.path / f"{name}.tsv").unlink(missing_ok=True)

    def write_lines(self, name: str, items: Iterable[dict[str, Any]]) -> Path:
        """Write objects, one a line.

        :param name: the name of the file, without ending
        :param items: the objects
        :returns: the file
        """
        path = self.path / f"{name}.jsonl"
        with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(json.dumps(item, ensure_ascii=False) + "\n" for item in items)
        return path

    def write_report(self, report: dict[str, Any]) -> Path:
        """Write the report.

        :param report: what JSON can spell
        :returns: the file
        """
        path = self.path / "report.json"
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(report, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        return path

    def add_malformed(self, item: dict[str, Any]) -> None:
        """Add a reply to ``malformed.jsonl``, at once.

        :param item: what was asked, what was wrong, and the text
        """
        line = json.dumps(item, ensure_ascii=True) + "\n"
        with self._lock, (self.path / "malformed.jsonl").open("a+b") as file:
            if file.tell() and not self._ends_a_line(file):
                line = "\n" + line  # an earlier run was killed while it wrote
            file.write(line.encode("ascii"))

    @staticmethod
    def _ends_a_line(file: Any) -> bool:
        file.seek(-1, os.SEEK_END)
        return bool(file.read(1) == b"\n")
