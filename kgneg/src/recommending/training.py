"""Train one recommender, and keep it in a folder with all that is known of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kgneg.compare.store import dump_json, file_hashes
from kgneg.core.cache import content_key
from kgneg.core.errors import InvalidInputError
from kgneg.core.storage import atomic_path
from kgneg.core.validation import validate_count, validate_device
from kgneg.recommending.choice import ModelChoice, option_names
from kgneg.recommending.data import DataSettings, RecData, load_interactions
from kgneg.recommending.result import TrainResult, rec_versions
from kgneg.recommending.runs import NegativeSources, check_choice, check_lengths, run_once

__all__ = ["TrainingPlan", "train_recommender"]

logger = logging.getLogger(__name__)

_CHECKPOINT, _KEY = "checkpoint.safetensors", "checkpoint.json"
#: Where one of these is, something was trained, or compared.
_SIGNS = (_CHECKPOINT, "model/model.json", "results.json")


@dataclass(frozen=True)
class TrainingPlan:
    """What is trained on what.

    :param model: the recommender, see :meth:`~kgneg.recommending.ModelChoice.parse`
    :param data: the interactions
    :param ks: the lengths of lists that are judged
    :param seed: of everything that is drawn but the split
    :param device: where to train: ``"auto"`` (a GPU if there is one), ``"cpu"``, ``"cuda"``, ``"cuda:1"``
    :param sources: what negatives take what they know of the items from
    :raises InvalidInputError: if a value is out of range

    >>> TrainingPlan("popularity").choice.is_trained
    False
    """

    model: ModelChoice | str
    data: DataSettings = field(default_factory=DataSettings)
    ks: tuple[int, ...] = (10, 20, 50)
    seed: int = 0
    device: str = "auto"
    sources: NegativeSources = field(default_factory=NegativeSources)

    def __post_init__(self) -> None:
        if isinstance(self.model, str):
            object.__setattr__(self, "model", ModelChoice.parse(self.model))
        if not self.ks:
            raise InvalidInputError("ks must name at least one length of a list, such as (20,)")
        object.__setattr__(self, "ks", tuple(sorted({validate_count("k", k) for k in self.ks})))
        if validate_count("seed", self.seed, 0) >= 2**32:
            raise InvalidInputError(f"seed must be below 2**32, got {self.seed}")
        validate_device(self.device)
        self.sources.check([self.choice])

    @property
    def choice(self) -> ModelChoice:
        """The recommender."""
        if isinstance(self.model, str):
            raise InvalidInputError("the model is parsed when the plan is made")  # pragma: no cover
        return self.model

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON has it, for :meth:`from_dict`."""
        return {
            "model": self.choice.to_dict(),
            "data": self.data.to_dict(),
            "ks": list(self.ks),
            "seed": self.seed,
            "device": self.device,
            "sources": self.sources.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainingPlan:
        """Return a plan that was written with :meth:`to_dict`.

        :param values: what was written; further entries are ignored
        :returns: the plan
        :raises InvalidInputError: if something is missing or of another form
        """
        try:
            return cls(
                ModelChoice(**values["model"]),
                DataSettings(**values["data"]),
                tuple(values["ks"]),
                values["seed"],
                values["device"],
                NegativeSources(**values["sources"]),
            )
        except (KeyError, TypeError) as error:
            raise InvalidInputError(f"this is no configuration of a recommender: {error}") from error

    @classmethod
    def read(cls, path: str | Path) -> TrainingPlan:
        """Read a plan from a JSON file, such as ``best.json`` of a study or ``config.json`` of a training.

        :param path: the file
        :returns: the plan
        :raises InvalidInputError: if there is no such file, or it is something else
        """
        try:
            found = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InvalidInputError(f"{path} cannot be read as JSON: {error}") from error
        if not isinstance(found, dict):
            raise InvalidInputError(f"{path} is no configuration of a recommender: expected an object")
        return cls.from_dict(found)


def train_recommender(
    plan: TrainingPlan,
    folder: str | Path | None = None,
    *,
    data: RecData | None = None,
    fresh: bool = False,
    progress: bool | None = None,
) -> TrainResult:
    """Train a recommender, or go on where the same call was interrupted, and judge it.

    :param plan: what to train
    :param folder: where the state of training is kept after each epoch; ``None`` keeps nothing. A folder of another
        model is refused unless ``fresh``
    :param data: the interactions, if they are in memory already
    :param fresh: whether to begin anew even if there is a state
    :param progress: whether to show progress bars; ``None`` shows them on a terminal
    :returns: the model and what it is worth; :meth:`~kgneg.recommending.TrainResult.write` puts it into the folder
    :raises InvalidInputError: if the interactions cannot be read, options do not fit them, or the folder has the state
        of another training
    :raises DivergedError: if the loss is not finite

    >>> result = train_recommender(TrainingPlan("two-hop", ks=(20,)), progress=False)
    >>> 0.5 < result.run.test.metrics["recall@20"] < 1
    True
    """
    data = load_interactions(plan.data) if data is None else data
    check_lengths(plan.ks, data)
    check_choice(plan.choice, data)
    checkpoint = _checkpoint(plan, data, None if folder is None else Path(folder), fresh)
    common: dict[str, Any] = {"ks": plan.ks, "sources": plan.sources, "seed": plan.seed, "device": plan.device}
    run = run_once(plan.choice, data, checkpoint=checkpoint, progress=progress, **common)
    return TrainResult(plan.to_dict(), data, run, rec_versions())


def _checkpoint(plan: TrainingPlan, data: RecData, folder: Path | None, fresh: bool) -> Path | None:
    """Return the file for the state of training, and refuse a folder of another model.

    What the trainer does not look at is compared here; models that are not trained have a note, too, and no state.
    """
    if folder is None:
        return None
    trained = plan.choice.is_trained
    path, note = folder / _CHECKPOINT, folder / _KEY
    sources = {name: value for name, value in plan.sources.to_dict().items() if value is not None}
    files = {name: file_hashes({"path": value}) or value for name, value in sources.items()}
    options = {name: value for name, value in plan.choice.options.items() if name not in ("epochs", "device")}
    own = {"name": plan.choice.name, "options": options, "seed": plan.seed, "sources": files}
    key = content_key({**own, "data": data.fingerprint()})
    epochs = plan.choice.options.get("epochs", option_names(plan.choice.name)["epochs"]) if trained else 0
    if fresh:
        for old in (path, folder / "history.csv"):  # everything else is written anew
            old.unlink(missing_ok=True)
    elif any((folder / one).exists() for one in _SIGNS):
        _check_note(note, key, epochs)
        logger.info("going on in %s", folder)
    with atomic_path(note) as temporary:
        temporary.write_text(dump_json({"key": key, **own, "epochs": epochs}), encoding="utf-8")
    return path if trained else None


def _check_note(note: Path, key: str, epochs: int) -> None:
    """Refuse to go on with another model, or with the state of a training of more epochs."""
    try:
        kept = json.loads(note.read_text(encoding="utf-8"))
        same, before = kept["key"] == key, int(kept["epochs"])
    except (OSError, ValueError, KeyError, TypeError):
        same, before = False, 0
    remedy = "give another folder, or begin anew with --fresh"
    if not same:
        raise InvalidInputError(
            f"{note.parent} has a model or the state of a training with other settings or other data: {remedy}"
        )
    if epochs < before:
        raise InvalidInputError(f"{note.parent} has the state of a training of {before} epochs, not {epochs}: {remedy}")
