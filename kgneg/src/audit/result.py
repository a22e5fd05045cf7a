"""The results of an audit: figures, tables, and files."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kgneg.compare.store import dump_json
from kgneg.core.storage import atomic_path
from kgneg.report import Table

__all__ = ["AuditResult"]

_INTERVALS = (
    *(("rates", name) for name in ("train", "train_valid", "valid", "test", "held_out", "held_out_filtered")),
    ("hardness", "hard"),
    ("types", "shares_type"),
    ("types", "fits_slot"),
)


@dataclass(frozen=True)
class AuditResult:
    """What came out of :func:`~kgneg.audit.audit`.

    :param settings: the settings
    :param dataset: name, sizes and fingerprint of the triples, and what is estimated about them
    :param reference: the model by which hardness is judged
    :param versions: the versions of the libraries involved
    :param samplers: the figures of each sampler; shares have ``count``, ``total``, ``share`` and a 95 % interval
        ``low`` to ``high``
    :param timings: seconds and negatives per second; not part of the results, as they differ from run to run
    """

    settings: Mapping[str, Any]
    dataset: Mapping[str, Any]
    reference: Mapping[str, Any]
    versions: Mapping[str, str]
    samplers: tuple[Mapping[str, Any], ...]
    timings: Mapping[str, Any]

    def sampler(self, label: str) -> Mapping[str, Any]:
        """Return the figures of one sampler.

        :param label: its label
        :returns: the figures
        :raises KeyError: if there is none of that label
        """
        found = {row["label"]: row for row in self.samplers}
        return found[label]

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the timings as JSON has it; equal settings give equal values."""
        return {
            "dataset": dict(self.dataset),
            "reference": dict(self.reference),
            "samplers": [dict(row) for row in self.samplers],
            "settings": dict(self.settings),
            "versions": dict(self.versions),
        }

    def to_csv(self) -> str:
        """Return one line per sampler, without timings."""
        rows = [_flat(row) for row in self.samplers]
        return _csv(list(rows[0]), [list(row.values()) for row in rows])

    def relations_csv(self) -> str:
        """Return one line per sampler and relation."""
        lines = [{"sampler": row["label"], **line} for row in self.samplers for line in row["relations"]]
        return _csv(list(lines[0]), [list(line.values()) for line in lines])

    def table(self) -> Table:
        """Return the main figures of each sampler as a table for the terminal."""
        from kgneg.audit.page import overview

        return overview(self)

    def to_html(self) -> str:
        """Return the report as one HTML file."""
        from kgneg.audit.page import build_report
        from kgneg.report import render_html

        return render_html(build_report(self))

    def write(self, folder: str | Path) -> dict[str, Path]:
        """Write all files; each appears whole or not at all.

        :param folder: the folder; it is created
        :returns: the paths of ``results.json``, ``results.csv``, ``relations.csv``, ``timings.json`` and
            ``report.html`` by file name
        """
        texts = {
            "results.json": dump_json(self.to_dict()),
            "results.csv": self.to_csv(),
            "relations.csv": self.relations_csv(),
            "timings.json": dump_json(dict(self.timings)),
            "report.html": self.to_html(),
        }
        written = {}
        for name, text in texts.items():
            written[name] = Path(folder, name)
            with atomic_path(written[name]) as temporary:
                temporary.write_text(text, encoding="utf-8", newline="\n")
        return written


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of a sampler in one line."""
    flat: dict[str, Any] = {"sampler": row["label"], "drawn": row["counts"]["drawn"], "kept": row["counts"]["kept"]}
    for group, name in _INTERVALS:
        share = row[group][name]
        flat |= {name: share["share"], f"{name}_low": share["low"], f"{name}_high": share["high"]}
    verified = row["verified"] or {}
    return flat | {
        "held_out_ratio": row["held_out_ratio"]["ratio"],
        "held_out_ratio_low": row["held_out_ratio"]["low"],
        "held_out_ratio_high": row["held_out_ratio"]["high"],
        "unknown": row["unknown"]["share"],
        "hard_ratio": row["hardness"]["ratio"]["ratio"],
        "verified_lift": verified.get("lift"),
        "verified_lift_low": verified.get("low"),
        "verified_lift_high": verified.get("high"),
        "verified_reached": verified.get("reached", {}).get("share"),
        "masked": row["masked"]["share"],
        "fallback": row["fallback"],
        "repeated": row["repeated"]["share"],
        "coverage": row["entities"]["coverage"],
        "entropy": row["entities"]["entropy"],
        "effective_entities": row["entities"]["effective"],
        **row["sides"],
    }


def _csv(header: list[str], rows: list[list[Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue()
