"""Fitted recommenders on disk."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.storage import atomic_path, read_tensors, write_tensors
from kgneg.recsys.history import History
from kgneg.recsys.interactions import Interactions
from kgneg.recsys.recommender import Recommender
from kgneg.recsys.trained import TrainedRecommender

__all__ = ["load_recommender", "save_recommender"]

_FORMAT = 1


def save_recommender(model: Recommender, folder: str | Path) -> None:
    """Write a fitted model; ``model.json`` comes last, so a folder without it is not whole.

    :param model: the model
    :param folder: the folder; it is created
    :raises InvalidInputError: if the model is not fitted
    """
    folder, seen = Path(folder), model.seen
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.json").unlink(missing_ok=True)
    fingerprint = seen.fingerprint()
    seen.save(folder / "interactions.safetensors")
    write_tensors(folder / "model.safetensors", model.state_dict(), {"interactions": fingerprint})
    facts = {"format": _FORMAT, "model": type(model).__name__, "options": model.options, "interactions": fingerprint}
    if isinstance(model, TrainedRecommender):
        facts["training"] = model.training_settings.to_dict()
        facts["history"] = None if model.history is None else model.history.to_dict()
    with atomic_path(folder / "model.json") as temporary:
        temporary.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def load_recommender(folder: str | Path) -> Recommender:
    """Read a model that :func:`save_recommender` wrote.

    :param folder: the folder
    :returns: the model, on the CPU
    :raises InvalidInputError: if the folder holds no whole model, or one of a newer version
    """
    from kgneg.recsys.models import MODELS

    folder = Path(folder)
    if not (folder / "model.json").is_file():
        raise InvalidInputError(
            f"there is no model in {folder}: expected model.json; write one with model.save(folder)"
        )
    try:
        facts = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise InvalidInputError(f"{folder / 'model.json'} is no JSON ({error}): write the model again") from error
    classes = {one.kind.__name__: one.kind for one in MODELS.values()}
    if facts.get("format") != _FORMAT or facts.get("model") not in classes:
        raise InvalidInputError(
            f"{folder / 'model.json'} has format {facts.get('format')} and model {facts.get('model')!r}; this version "
            f"reads format {_FORMAT} of {', '.join(sorted(classes))}"
        )
    seen = Interactions.load(folder / "interactions.safetensors")
    tensors, metadata = read_tensors(folder / "model.safetensors")
    if not facts["interactions"] == metadata.get("interactions") == seen.fingerprint():
        raise InvalidInputError(f"the files in {folder} belong to different models: write the model again")
    model = classes[facts["model"]](**facts["options"], **facts.get("training", {}))
    model.prepare(seen, torch.Generator().manual_seed(0))
    model.restore(tensors)
    if isinstance(model, TrainedRecommender) and facts["history"] is not None:
        model.history = History.from_dict(facts["history"])
    model.eval()
    return model
