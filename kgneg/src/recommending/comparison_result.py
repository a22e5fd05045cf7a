"""The results of a comparison of recommenders: per run, per model, and on disk."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kgneg.compare.store import dump_json
from kgneg.core.errors import InvalidInputError
from kgneg.core.storage import atomic_path
from kgneg.recsys.evaluation import METRICS, Evaluation
from kgneg.recsys.significance import compare_evaluations, compare_runs
from kgneg.report import Table

__all__ = ["RecComparison", "metric_names"]


@dataclass(frozen=True)
class RecComparison:
    """What came out of :func:`~kgneg.recommending.compare_recommenders`.

    :param settings: the plan, with everything that was left open filled in
    :param data: name, sizes and fingerprint of the interactions, for the first seed
    :param versions: the versions of the libraries involved
    :param runs: one entry per seed and model: ``model``, ``seed``, ``validation`` and ``test`` (``metrics``,
        ``counts``, ``beyond``), ``history``, ``health`` and ``seconds``
    :param significance: for each model but the first: ``runs``, paired over seeds, see
        :class:`~kgneg.recsys.significance.RunComparison`, and ``users``, paired over users, see
        :class:`~kgneg.recsys.significance.UserComparison`, or ``None``; differences are those to the first model
    """

    settings: Mapping[str, Any]
    data: Mapping[str, Any]
    versions: Mapping[str, str]
    runs: tuple[Mapping[str, Any], ...]
    significance: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(
        cls,
        settings: Mapping[str, Any],
        data: Mapping[str, Any],
        versions: Mapping[str, str],
        found: Sequence[tuple[Mapping[str, Any], Evaluation]],
    ) -> RecComparison:
        """Put runs together.

        :param settings: the plan
        :param data: the interactions
        :param versions: the versions of the libraries involved
        :param found: the runs, each with how it ranks the test pairs, with the figures of the users
        :returns: the results
        """
        by_model: dict[str, list[Evaluation]] = {}
        for run, test in found:
            by_model.setdefault(run["model"], []).append(test)
        metric = settings["metric"]
        (_, first), *others = by_model.items()
        significance = {name: _compare(tests, first, metric) for name, tests in others}
        return cls(settings, data, versions, tuple(run for run, _ in found), significance)

    @property
    def models(self) -> tuple[str, ...]:
        """The labels of the models; differences are taken to the first."""
        return tuple(one["label"] for one in self.settings["models"])

    @property
    def metric(self) -> str:
        """What is compared."""
        return str(self.settings["metric"])

    def runs_of(self, model: str) -> list[Mapping[str, Any]]:
        """Return the runs of a model, in the order of the seeds.

        :param model: its label
        :returns: the runs
        """
        return [run for run in self.runs if run["model"] == model]

    def summary(self) -> list[dict[str, Any]]:
        """Return the figures of each model over its seeds.

        :returns: one entry per model with ``model``, ``runs``, ``trained``, ``metrics`` and ``validation`` (for each
            metric the ``mean``, the ``sd``, the ``min`` and the ``max``), ``beyond`` (means), ``epochs`` (mean, or
            ``None``), ``collapsed`` (in how many runs), ``significance`` (``None`` for the first) and ``seconds``
            (means). A standard deviation is that of a sample, and ``None`` with one seed.
        """
        return [self._entry(label) for label in self.models]

    def _entry(self, label: str) -> dict[str, Any]:
        runs = self.runs_of(label)
        histories = [run["history"] for run in runs if run["history"] is not None]
        beyond = runs[0]["test"]["beyond"]
        plain = [name for name, value in beyond.items() if not isinstance(value, Mapping)]
        return {
            "model": label,
            "runs": len(runs),
            "trained": bool(histories),
            "metrics": _spreads([run["test"]["metrics"] for run in runs]),
            "validation": _spreads([run["validation"]["metrics"] for run in runs]),
            "beyond": {name: _mean([run["test"]["beyond"][name] for run in runs]) for name in plain},
            "epochs": _mean([len(one["epochs"]) for one in histories]),
            "collapsed": sum(bool((run["health"] or {}).get("collapsed")) for run in runs),
            "significance": self.significance.get(label),
            "seconds": {name: _mean([run["seconds"][name] for run in runs]) for name in ("training", "evaluation")},
        }

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON has it; equal settings give equal values, but for seconds."""
        return {
            "data": dict(self.data),
            "runs": [dict(run) for run in self.runs],
            "settings": dict(self.settings),
            "summary": self.summary(),
            "versions": dict(self.versions),
        }

    def to_csv(self) -> str:
        """Return one line per run."""
        names = metric_names(self.settings["ks"])
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        parts = [(part, name) for part in ("test", "validation") for name in names]
        columns = [name if part == "test" else f"{part}_{name}" for part, name in parts]
        writer.writerow(["model", "seed", *columns, "epochs", "training_seconds", "evaluation_seconds"])
        for run in self.runs:
            metrics = [run[part]["metrics"][name] for part, name in parts]
            epochs = None if run["history"] is None else len(run["history"]["epochs"])
            seconds = [run["seconds"]["training"], run["seconds"]["evaluation"]]
            writer.writerow([run["model"], run["seed"], *metrics, epochs, *seconds])
        return buffer.getvalue()

    def table(self) -> Table:
        """Return the figures of each model as a table for the terminal."""
        from kgneg.recommending.comparison_page import overview

        return overview(self)

    def to_html(self) -> str:
        """Return the report as one HTML file."""
        from kgneg.recommending.comparison_page import build_report
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


def metric_names(ks: Sequence[int]) -> list[str]:
    """Return all metrics in the order in which they are shown.

    :param ks: the lengths of lists
    :returns: their names

    >>> metric_names([5, 10])[:3]
    ['recall@5', 'recall@10', 'precision@5']
    """
    return [f"{name}@{k}" for name in METRICS for k in ks]


def _compare(tests: Sequence[Evaluation], first: Sequence[Evaluation], metric: str) -> dict[str, Any]:
    """Return the differences to the first model, over seeds and over users."""
    over_runs = compare_runs(list(tests), list(first), metric).to_dict()
    try:
        own, other = _mean_of_users(tests, metric), _mean_of_users(first, metric)
        over_users = compare_evaluations(own, other, metric, intersect=True).to_dict()
    except InvalidInputError:  # a single user has no spread
        over_users = None
    return {"runs": over_runs, "users": over_users}


def _mean_of_users(found: Sequence[Evaluation], metric: str) -> Evaluation:
    """Return what each user gets on average over the seeds in which the user is judged."""
    users, place = torch.unique(torch.cat([one.users for one in found]), return_inverse=True)
    values = torch.cat([one.per_user[metric] for one in found]).double()
    total = torch.zeros(len(users), dtype=torch.float64).index_add_(0, place, values)
    means = total / torch.bincount(place, minlength=len(users))
    return Evaluation({metric: float(means.mean())}, users, {metric: means}, {}, {}, {}, found[0].user_labels)


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of what is known."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def _spreads(runs: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float | None]]:
    """Return mean, standard deviation and ends of each metric."""
    found = {}
    for name in runs[0]:
        values = [run[name] for run in runs]
        sd = statistics.stdev(values) if len(values) > 1 else None
        found[name] = {"mean": _mean(values), "sd": sd, "min": min(values), "max": max(values)}
    return found
