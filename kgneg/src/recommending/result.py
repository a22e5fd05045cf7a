"""A trained recommender with its figures, and both in a folder."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kgneg.compare.store import dump_json, versions
from kgneg.core.errors import InvalidInputError
from kgneg.core.storage import atomic_path
from kgneg.recommending.data import RecData
from kgneg.recommending.runs import Run
from kgneg.recsys.interactions import Interactions
from kgneg.recsys.recommender import Recommender
from kgneg.report import Table

__all__ = ["SavedRecommender", "TrainResult", "open_recommender", "rec_versions"]

_PARTS = ("valid", "test")


def rec_versions() -> dict[str, str]:
    """Return the versions that results depend on."""
    from importlib.metadata import version

    found = {name: number for name, number in versions().items() if name != "pykeen"}
    return {**found, "torch-geometric": version("torch-geometric")}


@dataclass(frozen=True, eq=False)
class TrainResult:
    """What came out of :func:`~kgneg.recommending.train_recommender`.

    :param settings: the plan, as JSON has it
    :param data: the interactions
    :param run: the recommender, and what it is worth
    :param versions: the versions of the libraries involved
    """

    settings: Mapping[str, Any]
    data: RecData
    run: Run
    versions: Mapping[str, str]

    @property
    def label(self) -> str:
        """How the model is called."""
        return str(self.settings["model"]["label"])

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the model as JSON has it; equal settings give equal values, but for seconds."""
        model = self.run.model
        training = getattr(model, "training_settings", None)
        return {
            "settings": dict(self.settings),
            "model": {
                "options": dict(model.options),
                "training": None if training is None else training.to_dict(),
                "parameters": sum(one.numel() for one in model.parameters()),
            },
            "data": self.data.to_dict(),
            **self.run.to_dict(),
            "versions": dict(self.versions),
        }

    def to_csv(self) -> str:
        """Return one line per figure: part, metric, value."""
        rows = [
            (part, name, value)
            for part in ("validation", "test")
            for name, value in getattr(self.run, part).metrics.items()
        ]
        return _csv(("part", "metric", "value"), rows)

    def history_csv(self) -> str:
        """Return one line per epoch, with what was measured then."""
        history = self.run.history
        if history is None:
            raise InvalidInputError(f"{self.label} is not trained, so there is no history")
        flat = [_flat(one.get("health", {})) for one in history["epochs"]]
        health = sorted({name for one in flat for name in one})
        rows = [
            [one["epoch"], one["loss"], one["seconds"], one.get("value"), *map(more.get, health)]
            for one, more in zip(history["epochs"], flat, strict=True)
        ]
        return _csv(("epoch", "loss", "seconds", history["metric"] or "value", *health), rows)

    def table(self) -> Table:
        """Return the figures as a table for the terminal."""
        from kgneg.recommending.page import metric_table

        return metric_table({"validation": self.run.validation, "test": self.run.test})

    def to_html(self) -> str:
        """Return the report as one HTML file."""
        from kgneg.recommending.page import build_report
        from kgneg.report import render_html

        return render_html(build_report(self))

    def write(self, folder: str | Path) -> dict[str, Path]:
        """Write the model, the parts of the interactions that it was judged on, the figures, and the settings.

        Each file appears whole or not at all; ``results.json`` is the last one.

        :param folder: the folder; it is created
        :returns: the paths by file name, and ``model``, a folder
        """
        folder = Path(folder)
        written = {"model": folder / "model"}
        self.run.model.save(written["model"])
        for part in _PARTS:
            written[f"{part}.safetensors"] = folder / f"{part}.safetensors"
            getattr(self.data.split, part).save(written[f"{part}.safetensors"])
        texts = {} if self.run.history is None else {"history.csv": self.history_csv()}
        texts |= {
            "results.csv": self.to_csv(),
            "report.html": self.to_html(),
            "config.json": dump_json(dict(self.settings)),
            "results.json": dump_json(self.to_dict()),
        }
        for name, text in texts.items():
            written[name] = folder / name
            with atomic_path(written[name]) as temporary:
                temporary.write_text(text, encoding="utf-8", newline="\n")
        return written


@dataclass(frozen=True, eq=False)
class SavedRecommender:
    """A recommender from disk.

    :param model: the recommender
    :param folder: where it lies
    """

    model: Recommender
    folder: Path

    def part(self, name: str) -> Interactions | None:
        """Return a part of the interactions that was kept beside the model.

        :param name: ``"valid"`` or ``"test"``
        :returns: the pairs, or ``None`` if they were not kept
        """
        path = self.folder.parent / f"{name}.safetensors"
        return Interactions.load(path) if path.is_file() else None


def open_recommender(folder: str | Path) -> SavedRecommender:
    """Read a model that was saved, alone or by ``kgneg rec train``.

    :param folder: the folder of the model, or that of the training
    :returns: the model
    :raises InvalidInputError: if there is none
    """
    folder = Path(folder)
    inner = folder / "model"
    found = inner if (inner / "model.json").is_file() and not (folder / "model.json").is_file() else folder
    return SavedRecommender(Recommender.load(found), found)


def _csv(columns: tuple[str, ...], rows: list[Any]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return buffer.getvalue()


def _flat(health: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of embeddings in one level, without what is no number."""
    found: dict[str, Any] = {}
    for name, value in health.items():
        if isinstance(value, Mapping):
            found |= {f"{name}_{inner}": one for inner, one in value.items()}
        elif isinstance(value, int | float):
            found[name] = value
    return found
