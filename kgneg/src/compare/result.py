"""The results of a comparison: per run, per sampler, and on disk."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kgneg.compare.runs import METRICS
from kgneg.compare.store import dump_json
from kgneg.core.storage import atomic_path
from kgneg.report import Table

__all__ = ["CompareResult"]

_COUNTS = ("known_per_10000", "held_out_per_10000", "fallback_share")
_CSV_COUNTS = ("drawn", "kept", "known", "held_out", "incomplete_rows", *_COUNTS)


@dataclass(frozen=True)
class CompareResult:
    """What came out of :func:`~kgneg.compare.compare`.

    :param settings: the settings, with everything that was left open filled in
    :param dataset: name, sizes and fingerprint of the triples
    :param versions: the versions of the libraries involved
    :param runs: one entry per seed and sampler: ``sampler``, ``seed``, ``loop``, ``metrics`` (``mrr``, ``hits_at_1``,
        ``hits_at_3``, ``hits_at_10``, filtered, between 0 and 1), ``losses`` (one per epoch), ``negatives`` (see
        :func:`~kgneg.compare.falsehood.count_true`) and ``seconds``
    """

    settings: Mapping[str, Any]
    dataset: Mapping[str, Any]
    versions: Mapping[str, str]
    runs: tuple[Mapping[str, Any], ...]

    @property
    def samplers(self) -> tuple[str, ...]:
        """The labels of the samplers; differences are taken to the first."""
        return tuple(sampler["label"] for sampler in self.settings["samplers"])

    def runs_of(self, sampler: str) -> list[Mapping[str, Any]]:
        """Return the runs of a sampler, in the order of the seeds.

        :param sampler: its label
        :returns: the runs
        """
        return [run for run in self.runs if run["sampler"] == sampler]

    def summary(self) -> list[dict[str, Any]]:
        """Return the figures of each sampler over its seeds.

        :returns: one entry per sampler with ``sampler``, ``runs``, ``metrics`` (for each the ``mean``, the ``sd``, the
            ``min`` and the ``max``), ``difference`` (for each metric the ``mean`` and ``sd`` of the differences to the
            first sampler at the same seed, and how many of them are above zero, ``higher``; ``None`` for the first
            sampler), ``negatives`` (means, ``None`` where unknown), ``final_loss`` and ``seconds`` (means). A standard
            deviation is that of a sample and ``None`` with one seed.
        """
        first = self.runs_of(self.samplers[0])
        found = []
        for label in self.samplers:
            runs = self.runs_of(label)
            is_first = label == self.samplers[0]
            found.append(
                {
                    "sampler": label,
                    "runs": len(runs),
                    "metrics": {name: _spread([run["metrics"][name] for run in runs]) for name in METRICS},
                    "difference": None if is_first else {name: _difference(runs, first, name) for name in METRICS},
                    "negatives": {name: _mean([run["negatives"][name] for run in runs]) for name in _COUNTS},
                    "final_loss": _mean([run["losses"][-1] for run in runs]),
                    "seconds": {
                        name: _mean([run["seconds"][name] for run in runs]) for name in ("training", "evaluation")
                    },
                }
            )
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON has it; equal settings give equal values, but for what is below ``seconds``."""
        return {
            "dataset": dict(self.dataset),
            "runs": [dict(run) for run in self.runs],
            "settings": dict(self.settings),
            "summary": self.summary(),
            "versions": dict(self.versions),
        }

    def to_csv(self) -> str:
        """Return one line per run, without the losses of the single epochs."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(
            ["sampler", "seed", *METRICS, "final_loss", *_CSV_COUNTS, "training_seconds", "evaluation_seconds"]
        )
        for run in self.runs:
            counts = [run["negatives"][name] for name in _CSV_COUNTS]
            metrics = [run["metrics"][name] for name in METRICS]
            seconds = [run["seconds"]["training"], run["seconds"]["evaluation"]]
            writer.writerow([run["sampler"], run["seed"], *metrics, run["losses"][-1], *counts, *seconds])
        return buffer.getvalue()

    def table(self) -> Table:
        """Return the figures of each sampler as a table for the terminal."""
        from kgneg.compare.page import overview

        return overview(self)

    def to_html(self) -> str:
        """Return the report as one HTML file."""
        from kgneg.compare.page import build_report
        from kgneg.report import render_html

        return render_html(build_report(self))

    def write(self, folder: str | Path) -> dict[str, Path]:
        """Write ``results.json``, ``results.csv`` and ``report.html``; each file appears whole or not at all.

        :param folder: the folder; it is created
        :returns: the three paths by file name
        """
        texts = {"results.json": dump_json(self.to_dict()), "results.csv": self.to_csv(), "report.html": self.to_html()}
        written = {}
        for name, text in texts.items():
            written[name] = Path(folder, name)
            with atomic_path(written[name]) as temporary:
                temporary.write_text(text, encoding="utf-8", newline="\n")
        return written


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of what is known."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def _spread(values: Sequence[float]) -> dict[str, float | None]:
    sd = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": _mean(values), "sd": sd, "min": min(values), "max": max(values)}


def _difference(
    runs: Sequence[Mapping[str, Any]], first: Sequence[Mapping[str, Any]], name: str
) -> dict[str, float | None]:
    """Return the differences of a metric at equal seeds."""
    baseline = {run["seed"]: run["metrics"][name] for run in first}
    values = [run["metrics"][name] - baseline[run["seed"]] for run in runs]
    sd = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": _mean(values), "sd": sd, "higher": sum(value > 0 for value in values)}
