"""One run: fit one recommender with one seed, and judge it on validation and test pairs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kgneg.core.corruption import Corruptor
from kgneg.core.errors import InvalidInputError
from kgneg.core.validation import validate_count, validate_device
from kgneg.recommending.choice import ModelChoice, option_names
from kgneg.recommending.data import RecData
from kgneg.recsys.evaluation import METRICS, Evaluation, evaluate
from kgneg.recsys.recommender import Recommender
from kgneg.recsys.sampled import SampledRecommender
from kgneg.recsys.settings import split_metric
from kgneg.recsys.trained import TrainedRecommender

__all__ = ["NegativeSources", "Run", "check_choice", "check_lengths", "check_metric", "fit_once", "judge", "run_once"]


@dataclass(frozen=True)
class NegativeSources:
    """Where negatives that know something of the items take it from.

    :param kg: a file of triples, for ``graph``
    :param links: a file of links of items to entities, for ``graph``
    :param texts: a file of texts by the label of the item, for ``text``; ``None`` takes those that came with the data
    :param encoder: what makes vectors of texts, for ``text``
    """

    kg: str | None = None
    links: str | None = None
    texts: str | None = None
    encoder: str | None = None

    def to_dict(self) -> dict[str, str | None]:
        """Return everything as JSON has it."""
        return dict(vars(self))

    def check(self, choices: Sequence[ModelChoice]) -> None:
        """Refuse sources that nothing would look at.

        :param choices: the models that are there
        :raises InvalidInputError: if one would have no effect
        """
        named = " ".join(f"{one.negatives} {one.negatives_options}" for one in choices if one.negatives)
        for sources, kind in ((("kg", "links"), "graph"), (("texts", "encoder"), "text")):
            given = [name for name in sources if getattr(self, name) is not None]
            if given and kind not in named:
                raise InvalidInputError(
                    f"{', '.join(given)} would have no effect: no model has negatives of the kind {kind!r}"
                )
            if "kg" in sources and len(given) == 1:
                raise InvalidInputError("kg and links belong together: triples, and which entity each item is")

    def build(self, choice: ModelChoice, data: RecData, seed: int, device: str) -> Corruptor | None:
        """Make what draws the negatives of a model.

        :param choice: the model
        :param data: the interactions
        :param seed: the seed
        :param device: where the model is trained
        :returns: a corruptor, or ``None`` where the model has its own way
        :raises InvalidInputError: if something is missing
        """
        if choice.negatives is None:
            return None
        from kgneg.datasets import read_texts
        from kgneg.recommending.negatives import build_negatives

        built = build_negatives(
            choice.negatives,
            data.split.train,
            texts=data.texts if self.texts is None else read_texts(self.texts),
            encoder=self.encoder,
            graph=self.kg,
            links=self.links,
            seed=seed,
            **choice.negatives_options,
        )
        return built.to(validate_device(device))


@dataclass(frozen=True, eq=False)
class Run:
    """A fitted recommender and what it is worth.

    :param model: the recommender
    :param validation: how it ranks the validation pairs
    :param test: how it ranks the test pairs
    :param seconds: of ``training`` (or of solving), without looks at validation, and of ``evaluation``
    """

    model: Recommender
    validation: Evaluation
    test: Evaluation
    seconds: Mapping[str, float]

    @property
    def history(self) -> dict[str, Any] | None:
        """What happened in training; ``None`` for models that are not trained."""
        found = self.model.history if isinstance(self.model, TrainedRecommender) else None
        return None if found is None else found.to_dict()

    @property
    def health(self) -> dict[str, Any] | None:
        """The state of the embeddings in the epoch that was kept; ``None`` for models that are not trained."""
        history = self.history
        if history is None:
            return None
        looks = [one for one in history["epochs"] if "health" in one]
        kept = [one for one in looks if one["epoch"] == history["best_epoch"]]
        return dict((kept or looks[-1:])[0]["health"]) if looks else None

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the model, without the figures of single users, as JSON has it."""
        return {
            "validation": _told(self.validation),
            "test": _told(self.test),
            "history": self.history,
            "health": self.health,
            "seconds": dict(self.seconds),
        }


def _told(found: Evaluation) -> dict[str, Any]:
    """Return an evaluation without the list of all users that were left out; there are numbers of them."""
    return {name: one for name, one in found.to_dict().items() if name != "excluded"}


def check_lengths(ks: Sequence[int], data: RecData) -> None:
    """Refuse lists that are longer than the catalogue.

    :param ks: the lengths of lists
    :param data: the interactions
    :raises InvalidInputError: if one is too long
    """
    items = data.split.train.num_items
    for k in ks:
        if validate_count("k", k) > items:
            raise InvalidInputError(
                f"a list of {k} items is longer than the catalogue of {data.name}, which has {items}: give smaller "
                f"lengths, such as --k {min(5, items)}"
            )


def check_choice(choice: ModelChoice, data: RecData) -> None:
    """Refuse a model that would look at lists that are longer than the catalogue to decide when to stop.

    :param choice: the model
    :param data: the interactions
    :raises InvalidInputError: if its metric has too long lists
    """
    if not choice.is_trained:
        return
    metric = str(choice.options.get("metric", option_names(choice.name)["metric"]))
    name, k = split_metric(metric)
    items = data.split.train.num_items
    if k > items:
        short = f"{name}@{min(5, items)}"
        raise InvalidInputError(
            f"{metric}, which decides when the training of {choice.label} stops, is of lists longer than the catalogue "
            f"of {data.name}, which has {items} items: take a shorter one, such as --metric {short}, or metric={short} "
            "as an option of the model"
        )


def check_metric(metric: str, ks: Sequence[int]) -> str:
    """Return a metric if the evaluation will have it.

    :param metric: a name with a length, such as ``"recall@20"``
    :param ks: the lengths of lists
    :returns: the metric
    :raises InvalidInputError: if it is not known, or its length is not among those that are judged
    """
    name, at, length = metric.partition("@")
    if name not in METRICS or not at or length not in map(str, ks):
        raise InvalidInputError(
            f"the metric must be one of {', '.join(METRICS)} at one of {', '.join(map(str, ks))}, such as "
            f"recall@{max(ks)}; got {metric!r}"
        )
    return metric


def fit_once(
    choice: ModelChoice,
    data: RecData,
    *,
    seed: int,
    device: str = "auto",
    negatives: Corruptor | None = None,
    checkpoint: Path | None = None,
    progress: bool | None = None,
    on_epoch: Callable[[Mapping[str, Any]], object] | None = None,
) -> tuple[Recommender, float]:
    """Fit a recommender.

    :param choice: the recommender
    :param data: the interactions
    :param seed: of everything that is drawn; an option ``seed`` of the choice wins
    :param device: where to fit; an option ``device`` of the choice wins
    :param negatives: what draws the negatives, for models that take any
    :param checkpoint: a file for the state of training
    :param progress: whether to show a progress bar
    :param on_epoch: called after each epoch
    :returns: the recommender, and the seconds that fitting took, without looks at validation
    """
    train, valid = data.split.train, data.split.valid
    begin = time.perf_counter()
    if not choice.is_trained:
        solved = choice.build().to(validate_device(device)).fit(train)
        return solved, time.perf_counter() - begin
    model = choice.build(seed=seed, device=device)
    if not isinstance(model, TrainedRecommender):
        raise TypeError(f"{type(model).__name__} is not trained")  # pragma: no cover
    check_choice(choice, data)
    more: dict[str, Any] = {"negatives": negatives} if isinstance(model, SampledRecommender) else {}
    model.fit(train, valid, checkpoint=checkpoint, progress=progress, on_epoch=on_epoch, **more)
    return model, 0.0 if model.history is None else model.history.seconds


def run_once(
    choice: ModelChoice,
    data: RecData,
    *,
    ks: Sequence[int],
    sources: NegativeSources,
    seed: int,
    device: str = "auto",
    checkpoint: Path | None = None,
    progress: bool | None = None,
) -> Run:
    """Make the negatives, fit a recommender, and judge it.

    :param choice: the recommender
    :param data: the interactions
    :param ks: the lengths of lists
    :param sources: what negatives take what they know of the items from
    :param seed: as for :func:`fit_once`, like the rest
    :param device: where to fit
    :param checkpoint: a file for the state of training
    :param progress: whether to show progress bars
    :returns: the recommender and what it is worth
    """
    negatives = sources.build(choice, data, seed, device)
    model, seconds = fit_once(
        choice, data, seed=seed, device=device, negatives=negatives, checkpoint=checkpoint, progress=progress
    )
    validation, test, judging = judge(model, data, ks, progress=progress)
    return Run(model, validation, test, {"training": round(seconds, 3), "evaluation": round(judging, 3)})


def judge(
    model: Recommender, data: RecData, ks: Sequence[int], *, progress: bool | None = None
) -> tuple[Evaluation, Evaluation, float]:
    """Rank all items for the users of the validation and of the test pairs; the latter without their validation items.

    :param model: the recommender, fitted
    :param data: the interactions
    :param ks: the lengths of lists
    :param progress: whether to show progress bars
    :returns: both evaluations, and how many seconds they took
    """
    begin = time.perf_counter()
    validation = evaluate(model, data.split.valid, ks=ks, progress=progress)
    test = evaluate(model, data.split.test, hide=data.split.valid, ks=ks, progress=progress)
    return validation, test, time.perf_counter() - begin
