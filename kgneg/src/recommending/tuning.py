"""Options of recommenders from any study of Optuna."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from kgneg.core.corruption import Corruptor
from kgneg.core.errors import DivergedError, InvalidInputError
from kgneg.recommending.choice import ModelChoice
from kgneg.recsys.evaluation import evaluate
from kgneg.recsys.interactions import Interactions
from kgneg.recsys.models import find_model
from kgneg.recsys.sampled import SampledRecommender
from kgneg.recsys.trained import TrainedRecommender

if TYPE_CHECKING:
    import optuna

__all__ = ["model_ranges", "objective", "suggest", "suggest_from"]


def model_ranges(name: str, ranges: Mapping[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    """Return the search ranges of a recommender in one spelling.

    :param name: its name, perhaps with a preset
    :param ranges: other ranges by option, in PyKEEN's notation, or a list of choices
    :returns: ranges by option, see :func:`~kgneg.studies.ranges.check_range`
    :raises InvalidInputError: if the model or an option is not known, or something is no range

    >>> model_ranges("itemknn")["k"]
    {'type': 'int', 'low': 10, 'high': 1000, 'log': True, 'step': None}
    """
    from kgneg.studies.ranges import check_range

    entry, _ = find_model(name)
    choice = ModelChoice(name)
    unknown = [option for option in ranges or {} if not choice.knows(option)]
    if unknown:
        raise InvalidInputError(f"{name} has no option {unknown[0]!r}, so it cannot be searched")
    merged = {**entry.hpo_default(), **(ranges or {})}
    return {option: check_range(f"{name}.{option}", one) for option, one in merged.items()}


def suggest_from(trial: optuna.Trial, ranges: Mapping[str, Mapping[str, Any]], prefix: str = "") -> dict[str, Any]:
    """Return a value for each range.

    :param trial: the trial that is asked
    :param ranges: from :func:`model_ranges`
    :param prefix: what the names of the parameters in the study begin with
    :returns: values by name, without the prefix
    """
    found: dict[str, Any] = {}
    for name, one in ranges.items():
        full = f"{prefix}{name}"
        if one["type"] == "categorical":
            found[name] = trial.suggest_categorical(full, one["choices"])
        elif one["type"] == "int":
            found[name] = trial.suggest_int(full, one["low"], one["high"], step=one["step"] or 1, log=one["log"])
        else:
            found[name] = trial.suggest_float(full, one["low"], one["high"], step=one["step"], log=one["log"])
    return found


def suggest(
    trial: optuna.Trial, name: str, *, ranges: Mapping[str, Any] | None = None, prefix: str = "", **fixed: Any
) -> dict[str, Any]:
    """Ask a trial for the options of a recommender; the ranges are those of its ``hpo_default``.

    :param trial: the trial
    :param name: a name of :data:`~kgneg.recsys.MODELS`, perhaps with a preset
    :param ranges: other ranges by option, in PyKEEN's notation, or a list of choices
    :param prefix: what the names of the parameters in the study begin with, where several models share it
    :param fixed: options with one value, which are not asked for
    :returns: options for :func:`~kgneg.recsys.build_recommender`
    :raises InvalidInputError: if the model or an option is not known

    >>> import optuna
    >>> trial = optuna.trial.FixedTrial({"l2": 20.0})
    >>> suggest(trial, "ease", max_items=5000)
    {'l2': 20.0, 'max_items': 5000}
    """
    ModelChoice(name, fixed)
    wanted = {option: one for option, one in model_ranges(name, ranges).items() if option not in fixed}
    return suggest_from(trial, wanted, prefix) | fixed


def objective(
    name: str,
    train: Interactions,
    valid: Interactions,
    *,
    metric: str = "recall@20",
    ranges: Mapping[str, Any] | None = None,
    negatives: Corruptor | None = None,
    **fixed: Any,
) -> Callable[[optuna.Trial], float]:
    """Return a function for ``study.optimize``: it fits with the options of a trial and returns the validation metric.

    Every look at the validation pairs is reported with its epoch, so that pruners work. The loss of a trial that is no
    number makes it fail, and the study goes on.

    .. code-block:: python

        study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner())
        study.optimize(objective("buir-nb", split.train, split.valid, epochs=100), n_trials=30)
        options = suggest(study.best_trial, "buir-nb", epochs=100)

    :param name: a name of :data:`~kgneg.recsys.MODELS`, perhaps with a preset
    :param train: the pairs to learn from
    :param valid: the pairs that options are judged by
    :param metric: what is maximised, such as ``"recall@20"``
    :param ranges: other ranges by option
    :param negatives: what draws the negatives, for models that take any
    :param fixed: options with one value
    :returns: the function
    :raises InvalidInputError: if the model or an option is not known

    >>> import optuna
    >>> from kgneg.recommending import DataSettings, load_interactions
    >>> split = load_interactions(DataSettings("nations")).split
    >>> score = objective("ease", split.train, split.valid, metric="recall@5")
    >>> 0 < score(optuna.trial.FixedTrial({"l2": 20.0})) < 1
    True
    """
    kind, at, length = metric.partition("@")
    if not at or not length.isdecimal():
        raise InvalidInputError(f"the metric must be a name with a length, such as recall@20, got {metric!r}")
    choice = ModelChoice(name, fixed)
    model_ranges(name, ranges)

    def score(trial: optuna.Trial) -> float:
        import optuna

        options = suggest(trial, name, ranges=ranges, **fixed)
        model = choice.with_options(options).build(**({"metric": metric} if choice.is_trained else {}))
        if isinstance(model, TrainedRecommender):

            def report(entry: Mapping[str, Any]) -> None:
                if "value" in entry:
                    trial.report(entry["value"], entry["epoch"])
                    if trial.should_prune():
                        raise optuna.TrialPruned

            more: dict[str, Any] = {"negatives": negatives} if isinstance(model, SampledRecommender) else {}
            try:
                model.fit(train, valid, progress=False, on_epoch=report, **more)
            except DivergedError:
                return math.nan
        else:
            model.fit(train)
        found = evaluate(model, valid, ks=[int(length)], metrics=[kind], by_user=False, beyond=False, progress=False)
        return found.metrics[metric]

    return score
