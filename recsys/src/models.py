"""All recommenders by name, with their presets."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kgneg.core.errors import InvalidInputError
from kgneg.recsys.bpr import BPRMF
from kgneg.recsys.buir import BUIR
from kgneg.recsys.directau import DirectAU
from kgneg.recsys.ease import EASE
from kgneg.recsys.item_knn import ItemKNN
from kgneg.recsys.lightgcn import LightGCN
from kgneg.recsys.popularity import Popularity
from kgneg.recsys.recommender import Recommender
from kgneg.recsys.trained import TrainedRecommender
from kgneg.recsys.two_hop import TwoHop

__all__ = ["MODELS", "ModelEntry", "build_recommender"]


@dataclass(frozen=True)
class ModelEntry:
    """A recommender with a name.

    :param kind: its class
    :param options: the options that make it what the name says
    :param defaults: options that are its default, and can be changed
    :param presets: options that take the place of the defaults, by the name of a preset
    :param ranges: search ranges that replace or, if ``None``, remove those of the class
    """

    kind: type[Recommender]
    options: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    ranges: Mapping[str, Any] = field(default_factory=dict)

    def hpo_default(self) -> dict[str, Any]:
        """Return the search ranges of the options, in PyKEEN's notation."""
        merged = {**self.kind.hpo_default, **self.ranges}
        return {name: one for name, one in merged.items() if one is not None and name not in self.options}


_AUTHORS: dict[str, Any] = {
    "dim": 250,
    "decay": 0.0,
    "weight_decay": 1e-4,
    "momentum": 0.995,
    "answer": "online",
    "lr": 1e-3,
    "batch_size": 1024,
    "epochs": 1000,
    "evaluate_every": 10,
    "patience": 10,
    "patience_resets": False,
    "metric": "capped_precision@50",
}
#: Every name that :func:`build_recommender` takes.
MODELS: dict[str, ModelEntry] = {
    "buir-nb": ModelEntry(
        BUIR,
        {"encoder": "neighbor"},
        {"dim": 128, "lr": 5e-3, "decay": 0.05, "momentum": 0.99},
        {"paper": {**_AUTHORS, "layers": 3, "drop": 0.2, "start": "xavier_uniform", "bias": "uniform"}},
    ),
    "buir-id": ModelEntry(
        BUIR,
        {"encoder": "id"},
        {"dim": 128, "lr": 1e-2, "decay": 0.3, "momentum": 0.98},
        {"paper": {**_AUTHORS, "start": "xavier_normal", "bias": "normal"}},
    ),
    "bpr": ModelEntry(BPRMF),
    "lightgcn": ModelEntry(LightGCN),
    "lightgcn-softmax": ModelEntry(
        LightGCN,
        {"loss": "softmax"},
        ranges={"l2": None, "temperature": {"type": float, "low": 0.05, "high": 0.5, "log": True}},
    ),
    "directau": ModelEntry(DirectAU),
    "ease": ModelEntry(EASE),
    "itemknn": ModelEntry(ItemKNN),
    "two-hop": ModelEntry(TwoHop),
    "popularity": ModelEntry(Popularity),
}


def find_model(name: str) -> tuple[ModelEntry, dict[str, Any]]:
    """Return what a name stands for.

    :param name: a name of :data:`MODELS`, alone or with a preset, such as ``"buir-nb:paper"``
    :returns: the entry, and all options that the name implies
    :raises InvalidInputError: if the name or the preset is not known
    """
    base, _, preset = name.lower().partition(":")
    if base not in MODELS:
        near = difflib.get_close_matches(base, MODELS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InvalidInputError(f"unknown model {name!r}, expected one of {', '.join(MODELS)}{hint}")
    entry = MODELS[base]
    if preset in ("", "default"):
        return entry, {**entry.options, **entry.defaults}
    if preset not in entry.presets:
        known = ", ".join(["default", *entry.presets])
        raise InvalidInputError(f"{base} has no preset {preset!r}, only {known}")
    return entry, {**entry.options, **entry.presets[preset]}


def build_recommender(name: str, **options: Any) -> Recommender:
    """Make a recommender by name.

    :param name: a name of :data:`MODELS`, alone or with a preset: ``"buir-nb"``, ``"buir-nb:paper"``
    :param options: options of its class, and settings of the training for those that are trained; they win over what
        the name implies
    :returns: the recommender, which has to be fitted
    :raises InvalidInputError: if a name, a preset or an option is not known

    >>> build_recommender("buir-nb:paper", dim=64).options["drop"]
    0.2
    """
    entry, implied = find_model(name)
    changed = [one for one in entry.options if one in options and options[one] != entry.options[one]]
    if changed:
        raise InvalidInputError(
            f"{name} means {changed[0]}={entry.options[changed[0]]!r}, which cannot be {options[changed[0]]!r}; take "
            "another name"
        )
    if not issubclass(entry.kind, TrainedRecommender):
        known = list(inspect.signature(entry.kind).parameters)
        unknown = [one for one in options if one not in known]
        if unknown:
            raise InvalidInputError(f"{name} has no option {unknown[0]!r}; it has {', '.join(known) or 'none'}")
    return entry.kind(**{**implied, **options})
