"""Write a cleaned copy of an input."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kgneg.cleaning.sources import JsonFile, Source, document_names, write_plain
from kgneg.cleaning.tables import TableFile, table_kind
from kgneg.core.errors import InvalidInputError
from kgneg.samplers.noise import ACTIONS, NoiseReport

__all__ = ["CleaningCounts", "apply_report"]

_PACKED = (".gz", ".bz2", ".xz")


class CleaningCounts(NamedTuple):
    """What became of the rows of an input."""

    #: rows with nothing to be done
    kept: int
    #: rows that are left out, or of documents listed as to be ignored
    eliminated: int
    #: rows with a new label
    reannotated: int
    #: rows for people to look at
    review: int
    #: rows of the output; pairs of documents that are to be ignored are not counted
    written: int


class _Plan(NamedTuple):
    """What becomes of each row.

    :param report: the judgement
    :param labels: the label of each row, ``None`` where it is left out
    """

    report: NoiseReport
    labels: list[str | None]

    @property
    def changed(self) -> list[int]:
        """The rows with a new label."""
        return (self.report.action == ACTIONS.index("reannotate")).nonzero().squeeze(-1).tolist()


def apply_report(
    report: NoiseReport, record: Mapping[str, Any], input: Path, out: Path, *, keep_review: bool
) -> CleaningCounts:
    """Write a cleaned copy of an input.

    A table loses rows and changes labels, and so do examples in the format of TACRED. Documents in the format of DocRED
    have no negatives to lose: reannotated pairs are added to their labels, and a table beside the output, that ends in
    ``.ignored.csv``, lists the pairs that are neither negatives nor positives.

    :param report: the judgement, after its actions were chosen
    :param record: what was fitted
    :param input: the file or folder
    :param out: the file to write; a folder if the input is one
    :param keep_review: whether negatives that are to be reviewed stay
    :returns: what became of how many rows
    :raises InvalidInputError: if the input is not what was fitted, or the output is the input or of another format
    """
    source = Source.find(input, record["format"])
    _check_out(source, out)
    if source.fingerprint() != record["fingerprint"]:
        raise InvalidInputError(
            f"{input}: not what was fitted ({record['name']}), or changed since; give that file, or fit again"
        )
    labels: list[str | None] = [None if label is None else str(label) for label in report.corrected()]
    if not keep_review:
        dropped = (report.action == ACTIONS.index("review")) & report.negative
        labels = [None if gone else label for label, gone in zip(labels, dropped.tolist(), strict=True)]
    plan = _Plan(report, labels)
    {"vectors": _apply_table, "tacred": _apply_examples, "docred": _apply_documents}[source.format](
        plan, source, out, record
    )
    counts = dict(zip(ACTIONS, _count(report), strict=True))
    return CleaningCounts(
        kept=counts["keep"],
        eliminated=counts["eliminate"],
        reannotated=counts["reannotate"],
        review=counts["review"],
        written=sum(label is not None for label in labels),
    )


def _count(report: NoiseReport) -> list[int]:
    import torch

    return torch.bincount(report.action.long(), minlength=len(ACTIONS)).tolist()


def _check_out(source: Source, out: Path) -> None:
    """Refuse an output that is the input, or that cannot hold it."""
    here, there = source.path.resolve(), out.resolve()
    if there == here or here in there.parents or (out.exists() and any(out.samefile(one) for one in source.files)):
        raise InvalidInputError(f"{out} is the input, or inside of it, and is not overwritten: give another name")
    folder = source.path.is_dir()
    if out.exists() and out.is_dir() != folder:
        raise InvalidInputError(f"{out} is {'a file, expected a folder' if folder else 'a folder, expected a file'}")
    if folder:
        return
    kind, wanted = _kind(out), _kind(source.path)
    if kind != wanted:
        raise InvalidInputError(f"{out}: the input is {wanted}, so the output must be; name a file that ends so")


def _kind(path: Path) -> str:
    """Return the format by the name of a file."""
    table = table_kind(path)
    if table is not None:
        return f"a {table} table"
    names = [path.name.lower().removesuffix(packed) for packed in ("", *_PACKED)]
    return "JSON" if any(name.endswith((".json", ".jsonl")) for name in names) else "of no known kind"


def _apply_table(plan: _Plan, source: Source, out: Path, record: Mapping[str, Any]) -> None:
    table = TableFile(source.path)
    _check_ids(source, table.column(record["columns"]["id"]), plan.report)
    table.write(out, record["columns"]["label"], plan.labels)


def _apply_examples(plan: _Plan, source: Source, out: Path, record: Mapping[str, Any]) -> None:
    files = [JsonFile.read(file) for file in source.files]
    _check_ids(source, [one["id"] for file in files for one in file.records], plan.report)
    labels = iter(plan.labels)
    for path, file in zip(_outputs(source, out), files, strict=True):
        judged = [(one, next(labels)) for one in file.records]
        kept = [{**one, "relation": label} for one, label in judged if label is not None]
        write_plain(path, file.text(kept))


def _apply_documents(plan: _Plan, source: Source, out: Path, record: Mapping[str, Any]) -> None:
    files = [JsonFile.read(file) for file in source.files]
    documents = [document for file in files for document in file.records]
    position = {name: number for number, name in enumerate(document_names(documents))}
    for row in plan.changed:
        name, head, tail = _pair(plan.report.ids[row])
        added: dict[str, Any] = {"h": head, "t": tail, "r": plan.labels[row], "evidence": []}
        documents[position[name]]["labels"].append(added)
    for path, file in zip(_outputs(source, out), files, strict=True):
        write_plain(path, file.text(file.records))
    places = [
        (file.name, number) for file, one in zip(source.files, files, strict=True) for number in range(len(one.records))
    ]
    write_plain(_ignored_path(source, out), _ignored(plan, places, position, documents))


def _ignored(
    plan: _Plan, places: Sequence[tuple[str, int]], position: Mapping[str, int], documents: Sequence[Mapping[str, Any]]
) -> str:
    """List the pairs that are neither negatives nor positives."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("file", "document", "title", "h", "t", "id", "action", "score"))
    for row in (row for row, label in enumerate(plan.labels) if label is None):
        name, head, tail = _pair(plan.report.ids[row])
        number = position[name]
        action, score = ACTIONS[int(plan.report.action[row])], f"{float(plan.report.score[row]):.6f}"
        writer.writerow((*places[number], documents[number]["title"], head, tail, plan.report.ids[row], action, score))
    return buffer.getvalue()


def _pair(name: Any) -> tuple[str, int, int]:
    """Take the id of a pair apart."""
    document, _, ends = str(name).rpartition("#")
    head, tail = ends.split("-")
    return document, int(head), int(tail)


def _outputs(source: Source, out: Path) -> list[Path]:
    return [out / file.name for file in source.files] if source.path.is_dir() else [out]


def _ignored_path(source: Source, out: Path) -> Path:
    if source.path.is_dir():
        return out / "pairs.ignored.csv"
    return out.with_name(f"{out.name.partition('.json')[0]}.ignored.csv")


def _check_ids(source: Source, ids: Sequence[Any], report: NoiseReport) -> None:
    """Make sure that rows are those of the report, in its order."""
    if [str(name) for name in ids] != [str(name) for name in report.ids]:
        raise InvalidInputError(f"{source.path}: its ids are not those that were fitted; fit again")
