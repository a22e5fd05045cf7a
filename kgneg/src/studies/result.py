"""What is known of a study: per trial, as a whole, and on disk."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgneg.compare.runs import METRICS
from kgneg.compare.store import dump_json
from kgneg.core.storage import atomic_path
from kgneg.report import Table
from kgneg.studies.opening import find_study
from kgneg.studies.storage import StorageAddress

if TYPE_CHECKING:
    import optuna

__all__ = ["StudyResult"]

_MEASURED = ("seed", "epochs", "seconds", "peak_memory_mb", "threads", "retry_of")
_ENOUGH = 4  # complete trials, for the importance of parameters


@dataclass(frozen=True)
class StudyResult:
    """The trials of a study.

    :param name: its name
    :param storage: where it is kept, without a password
    :param settings: its settings
    :param definition: what all of its trials have in common: search space, seed, triples, versions
    :param dataset: name, sizes and fingerprint of the triples
    :param trials: one entry per trial, by number: ``number``, ``state`` (``complete``, ``pruned``, ``fail``,
        ``running``, ``waiting``), ``value`` (the score on the validation triples or pairs), ``params``,
        ``configuration``, ``intermediate`` (values by epoch), ``failure``, ``validation`` and ``test`` (metrics),
        ``seconds`` of training, and others; ``None`` where unknown
    :param importance: the share of each parameter in the differences between finished trials, or the reason why it is
        not known
    :param problems: what went wrong while it was run, besides trials
    """

    name: str
    storage: str
    settings: Mapping[str, Any]
    definition: Mapping[str, Any]
    dataset: Mapping[str, Any]
    trials: tuple[Mapping[str, Any], ...]
    importance: Mapping[str, float] | str
    problems: tuple[str, ...] = ()

    @classmethod
    def of(cls, study: optuna.Study, address: StorageAddress, problems: Sequence[str] = ()) -> StudyResult:
        """Read a study.

        :param study: the study of Optuna
        :param address: where it is kept
        :param problems: what went wrong while it was run
        :returns: what is known of it now
        """
        kept = study.user_attrs["kgneg"]
        trials = sorted(study.get_trials(deepcopy=False), key=lambda one: one.number)
        return cls(
            name=study.study_name,
            storage=str(address),
            settings=kept["settings"],
            definition=kept["definition"],
            dataset=kept["dataset"],
            trials=tuple(_entry(trial) for trial in trials),
            importance=_importance(study),
            problems=tuple(problems),
        )

    @classmethod
    def load(cls, storage: str, name: str | None = None) -> StudyResult:
        """Read a study from its storage.

        :param storage: where it is kept
        :param name: its name; ``None`` takes the only one that there is
        :returns: what is known of it now
        :raises InvalidInputError: if there is no such study
        """
        study, _, address = find_study(storage, name)
        return cls.of(study, address)

    @property
    def is_recommender(self) -> bool:
        """Whether recommenders were trained, not knowledge graph embeddings."""
        return self.settings.get("kind") == "recommender"

    @property
    def objective(self) -> str:
        """What people call the score."""
        return str(self.settings["metric"]) if self.is_recommender else "MRR"

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the metrics of each trial."""
        if not self.is_recommender:
            return tuple(METRICS)
        from kgneg.recsys.evaluation import METRICS as OF_LISTS

        return tuple(f"{name}@{k}" for name in OF_LISTS for k in self.settings["ks"])

    @property
    def choices(self) -> tuple[str, ...]:
        """What a trial chooses, besides values of parameters; figures tell the first of them by colour."""
        return ("model",) if self.is_recommender else ("sampler", "model", "loss")

    def states(self) -> dict[str, int]:
        """Return how many trials there are in each state."""
        return dict(Counter(trial["state"] for trial in self.trials))

    @property
    def finished(self) -> list[Mapping[str, Any]]:
        """The trials that are complete or pruned."""
        return [trial for trial in self.trials if trial["state"] in ("complete", "pruned")]

    @property
    def complete(self) -> list[Mapping[str, Any]]:
        """The trials that were trained to the end."""
        return [trial for trial in self.trials if trial["state"] == "complete"]

    @property
    def best(self) -> Mapping[str, Any] | None:
        """The complete trial with the highest score, the first of them; ``None`` if none is complete."""
        return max(self.complete, key=lambda trial: (trial["value"], -trial["number"]), default=None)

    def front(self) -> list[Mapping[str, Any]]:
        """Return the complete trials that no other one beats in score without taking longer.

        :returns: the trials, the fastest first
        """
        found: list[Mapping[str, Any]] = []
        for trial in sorted(self.complete, key=lambda one: (one["seconds"], -one["value"])):
            if not found or trial["value"] > found[-1]["value"]:
                found.append(trial)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON has it."""
        best = self.best
        return {
            "name": self.name,
            "storage": self.storage,
            "settings": dict(self.settings),
            "definition": dict(self.definition),
            "dataset": dict(self.dataset),
            "states": self.states(),
            "best": None if best is None else best["number"],
            "front": [trial["number"] for trial in self.front()],
            "importance": self.importance if isinstance(self.importance, str) else dict(self.importance),
            "trials": [dict(trial) for trial in self.trials],
            "problems": list(self.problems),
        }

    def to_csv(self) -> str:
        """Return one line per trial."""
        params = sorted({name for trial in self.trials for name in trial["params"]})
        metrics = [(part, name) for part in ("validation", "test") for name in self.metrics]
        measured = (*self.choices, *_MEASURED)
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(
            ["number", "state", "value", *measured, *(f"{part}_{name}" for part, name in metrics), "failure", *params]
        )
        for trial in self.trials:
            writer.writerow(
                [
                    *(trial[name] for name in ("number", "state", "value", *measured)),
                    *((trial[part] or {}).get(name) for part, name in metrics),
                    trial["failure"],
                    *(trial["params"].get(name) for name in params),
                ]
            )
        return buffer.getvalue()

    def table(self) -> Table:
        """Return how many trials are in which state, as a table for the terminal."""
        states = self.states()
        order = ("complete", "pruned", "fail", "running", "waiting")
        return Table(("state", "trials"), tuple((name, str(states[name])) for name in order if name in states))

    def write(self, folder: str | Path) -> dict[str, Path]:
        """Write ``results.json``, ``trials.csv``, ``report.html``, figures, and ``best.json`` if a trial is complete.

        Each file appears whole or not at all.

        :param folder: the folder; it is made
        :returns: the paths by file name
        """
        from kgneg.report import render_html
        from kgneg.studies.export import export_best
        from kgneg.studies.page import build_report, draw

        figures = draw(self)
        texts = {
            "results.json": dump_json(self.to_dict()),
            "trials.csv": self.to_csv(),
            "report.html": render_html(build_report(self, figures)),
        }
        written = {}
        for name, text in texts.items():
            written[name] = Path(folder, name)
            with atomic_path(written[name]) as temporary:
                temporary.write_text(text, encoding="utf-8", newline="\n")
        for figure in figures:
            name = f"{figure.name}.png"
            written[name] = Path(folder, name)
            with atomic_path(written[name]) as temporary:
                temporary.write_bytes(figure.png)
        if self.best is not None:
            written["best.json"] = export_best(self, folder)
        return written


def _entry(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    """Return one trial as JSON has it."""
    attributes = trial.user_attrs
    failure = attributes.get("failure")
    # what failed later, or was taken away at the last moment, may have both
    failed = failure if trial.state.name == "FAIL" else None
    configuration = attributes.get("configuration") or {}
    value = trial.values[0] if trial.values else None
    if value is None and trial.state.name == "PRUNED" and trial.intermediate_values:
        value = trial.intermediate_values[max(trial.intermediate_values)]
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        "value": value if value is None or math.isfinite(value) else None,
        "params": dict(trial.params),
        "configuration": configuration or None,
        "intermediate": {str(step): one for step, one in sorted(trial.intermediate_values.items())},
        "failure": None if failed is None else f"{failed['why']}: {failed['reason']}",
        "started": None if trial.datetime_start is None else trial.datetime_start.isoformat(timespec="seconds"),
        "worker": {key: one for key, one in attributes.get("worker", {}).items() if key in ("host", "pid")} or None,
        **{name: configuration.get(name) for name in ("sampler", "model", "loss")},
        **{
            name: attributes.get(name)
            for name in ("place", "retry_of", "seed", "epochs", "seconds", "peak_memory_mb", "threads", "validation")
        },
        **{name: attributes.get(name) for name in ("test", "final_loss", "device")},
    }


def _importance(study: optuna.Study) -> dict[str, float] | str:
    """Return the importance of the parameters that all complete trials have, or why it is not known."""
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances
    from optuna.trial import TrialState

    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < _ENOUGH:
        return f"too few trials: {len(complete)} are complete, {_ENOUGH} are needed"
    if len({trial.value for trial in complete}) < 2:
        return "all complete trials have the same score"
    if not set.intersection(*(set(trial.params) for trial in complete)):
        return "there is no parameter that all complete trials have"
    try:
        found = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
    except (RuntimeError, ValueError, ImportError) as error:
        return f"it cannot be computed: {' '.join(str(error).split())}"
    values = {name: float(value) for name, value in found.items()}
    return values if all(map(math.isfinite, values.values())) else "it cannot be computed from these trials"
