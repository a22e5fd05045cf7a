"""Studies of recommenders: models and their options, judged by a metric on the validation pairs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

from kgneg.compare.store import file_hashes
from kgneg.core.errors import InvalidInputError, KgnegError
from kgneg.core.validation import choose, validate_count, validate_device
from kgneg.recommending.choice import ModelChoice
from kgneg.recommending.data import DataSettings, RecData, load_interactions
from kgneg.recommending.result import rec_versions
from kgneg.recommending.runs import NegativeSources, check_lengths, check_metric, fit_once, judge
from kgneg.studies.objective import LostTrialError, TrialFailedError, device_of, measuring
from kgneg.studies.recommender_space import RecommenderConfiguration, RecommenderSpace, build_recommender_space

if TYPE_CHECKING:
    import optuna

__all__ = ["RecommenderStudy"]

_SEARCHES = ("tpe", "random")
_PRUNERS = ("median", "hyperband", "none")
#: Settings that may change between two runs of one study.
_FREE = frozenset({"trials", "max_failures", "device"})


@dataclass(frozen=True)
class RecommenderStudy:
    """What is searched, and how each trial is trained and judged; for :func:`~kgneg.studies.run_study`.

    :param models: recommenders to choose from, with options that are fixed, see
        :meth:`~kgneg.recommending.ModelChoice.parse`
    :param data: the interactions, with their split
    :param metric: what is maximised on the validation pairs; it also decides when the training of a trial stops
    :param ks: the lengths of lists that are judged
    :param trials: how many trials are to be finished, over all workers and runs
    :param epochs: the largest number of epochs of each trial
    :param fixed: options with one value: ``lr`` for all models that have it, ``buir-nb.lr`` for one
    :param ranges: options with another range than that of ``hpo_default``
    :param search: ``"tpe"`` (learns from finished trials) or ``"random"``
    :param startup: how many trials are drawn at random before TPE learns and before anything is pruned
    :param pruner: ``"median"``, ``"hyperband"`` or ``"none"``
    :param prune_every: the number of epochs between two looks at the validation pairs
    :param seed: the seed of the study; the seeds of trials derive from it
    :param device: where to train
    :param max_failures: how many trials may fail by themselves before the study ends; ``None``: as many as ``trials``
    :param sources: what negatives take what they know of the items from
    :raises InvalidInputError: if a value is out of range, or a name is not known

    >>> study = RecommenderStudy(("ease",), fixed={"max_items": 5000})
    >>> study.space.to_dict()["ease.l2"]["range"]["high"]
    10000.0
    """

    kind: ClassVar[str] = "recommender"

    models: tuple[ModelChoice | str, ...]
    data: DataSettings = field(default_factory=DataSettings)
    metric: str = "recall@20"
    ks: tuple[int, ...] = (10, 20, 50)
    trials: int = 20
    epochs: int = 100
    fixed: Mapping[str, Any] = field(default_factory=dict)
    ranges: Mapping[str, Any] = field(default_factory=dict)
    search: str = "tpe"
    startup: int = 10
    pruner: str = "median"
    prune_every: int = 10
    seed: int = 0
    device: str = "auto"
    max_failures: int | None = None
    sources: NegativeSources = field(default_factory=NegativeSources)
    choices: tuple[ModelChoice, ...] = field(init=False, repr=False, compare=False)
    space: RecommenderSpace = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("trials", "epochs", "prune_every"):
            validate_count(name, getattr(self, name))
        validate_count("startup", self.startup, 0)
        if self.max_failures is not None:
            validate_count("max_failures", self.max_failures, 0)
        if validate_count("seed", self.seed, 0) >= 2**32:
            raise InvalidInputError(f"seed must be below 2**32, got {self.seed}")
        validate_device(self.device)
        choose("search", self.search, _SEARCHES)
        choose("pruner", self.pruner, _PRUNERS)
        object.__setattr__(self, "ks", tuple(sorted({validate_count("k", k) for k in self.ks})))
        check_metric(self.metric, self.ks)
        if isinstance(self.models, str) or not self.models:
            raise InvalidInputError("models must name at least one recommender; write ('buir-nb',)")
        choices = tuple(ModelChoice.parse(one) if isinstance(one, str) else one for one in self.models)
        object.__setattr__(self, "choices", choices)
        own = {choice.name: self._own_options(choice) for choice in choices}
        object.__setattr__(self, "space", build_recommender_space(choices, own, self.fixed, self.ranges))
        self.sources.check(self._with_searched(choices))

    def _with_searched(self, choices: tuple[ModelChoice, ...]) -> list[ModelChoice]:
        """Return the models with every kind of negatives that may be chosen for them."""
        found = list(choices)
        for choice in choices:
            values = {**self.space.fixed[choice.name]}
            kinds = self.space.ranges[choice.name].get("negatives", {}).get("choices", [values.get("negatives")])
            found += [ModelChoice(choice.name, {"negatives": kind}) for kind in kinds if kind is not None]
        return found

    def _own_options(self, choice: ModelChoice) -> dict[str, Any]:
        """Return the options that the study gives a model, and those that it has."""
        if not choice.is_trained:
            return dict(choice.options)
        own = {"epochs": self.epochs, "evaluate_every": min(self.prune_every, self.epochs), "metric": self.metric}
        return {**own, **choice.options}

    # What a study asks, see :class:`~kgneg.studies.kinds.StudyKind`

    @property
    def failures(self) -> int:
        """How many trials may fail by themselves."""
        return self.trials if self.max_failures is None else self.max_failures

    @property
    def objective(self) -> str:
        """What people call the score."""
        return self.metric

    def load(self, given: RecData | None = None) -> RecData:
        """Return the interactions.

        :param given: the interactions, if they are in memory already
        :returns: the interactions
        :raises InvalidInputError: if they cannot be read, or lists are longer than the catalogue
        """
        data = load_interactions(self.data) if given is None else given
        check_lengths(self.ks, data)
        return data

    def check(self, data: RecData) -> None:
        """Make the negatives once, so that what is wrong with them shows before any training.

        :param data: the interactions
        :raises InvalidInputError: if they cannot be made
        """
        for choice in self._with_searched(self.choices):
            self.sources.build(choice, data, self.seed, "cpu")

    def space_of(self, data: RecData) -> RecommenderSpace:
        """Return the search space, which does not depend on the data.

        :param data: the interactions
        :returns: the space
        """
        return self.space

    def define(self, data: RecData) -> dict[str, Any]:
        """Return what a study is about, one entry per setting; trials with another definition do not belong to it.

        :param data: the interactions
        :returns: what JSON can spell
        """
        skipped = _FREE | {"models", "fixed", "ranges", "data", "sources", "ks"}
        own = {one.name: getattr(self, one.name) for one in fields(self) if one.init and one.name not in skipped}
        sources = {name: value for name, value in self.sources.to_dict().items() if value is not None}
        return {
            **own,
            **self.space.to_dict(),
            "kind": self.kind,
            "ks": list(self.ks),
            "interactions": data.fingerprint(),
            "files": {name: file_hashes({"path": value}) or value for name, value in sources.items()},
            **{f"version of {name}": number for name, number in rec_versions().items()},
        }

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON has it, for :meth:`from_dict`."""
        found = {one.name: getattr(self, one.name) for one in fields(self) if one.init}
        return found | {
            "kind": self.kind,
            "models": [choice.to_dict() for choice in self.choices],
            "data": self.data.to_dict(),
            "ks": list(self.ks),
            "fixed": dict(self.fixed),
            "ranges": json.loads(json.dumps(dict(self.ranges), default=_plain)),
            "sources": self.sources.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RecommenderStudy:
        """Return settings that were written with :meth:`to_dict`.

        :param values: what was written
        :returns: the settings
        """
        rest = {name: value for name, value in values.items() if name != "kind"}
        return cls(
            **rest
            | {
                "models": tuple(ModelChoice(**one) for one in values["models"]),
                "data": DataSettings(**values["data"]),
                "ks": tuple(values["ks"]),
                "sources": NegativeSources(**values["sources"]),
            }
        )

    def choice_of(self, configuration: RecommenderConfiguration) -> ModelChoice:
        """Return the recommender of a trial.

        :param configuration: the configuration
        :returns: the recommender, with all options
        """
        return ModelChoice(configuration.model, configuration.options, configuration.model)

    def run(
        self,
        trial: optuna.Trial,
        configuration: RecommenderConfiguration,
        seed: int,
        data: RecData,
        on_epoch: Callable[[], object],
    ) -> float:
        """Train and judge one configuration.

        What was measured is kept as attributes of the trial, also when it is pruned.

        :param trial: the trial, for reports of the score between the epochs
        :param configuration: what to train
        :param seed: the seed of everything
        :param data: the interactions
        :param on_epoch: called after each epoch; may raise
        :returns: the metric on the validation pairs, of the epoch that is kept
        :raises TrialFailedError: if the configuration cannot be trained
        """
        import optuna

        watch = _Watch(self, trial, on_epoch)
        try:
            with measuring(trial, watch, device_of(self.device)):
                choice = self.choice_of(configuration)
                negatives = self.sources.build(choice, data, seed, self.device)
                drawn: dict[str, Any] = {"seed": seed, "negatives": negatives, "on_epoch": watch.look}
                model, seconds = fit_once(choice, data, device=self.device, progress=False, **drawn)
                watch.seconds = seconds
                validation, test, _ = judge(model, data, self.ks, progress=False)
        except (optuna.exceptions.OptunaError, LostTrialError):
            raise
        except (KgnegError, MemoryError, RuntimeError, TypeError, ValueError, ArithmeticError) as error:
            text = " ".join(str(error).split()) or "no message"
            raise TrialFailedError(f"{type(error).__name__}: {text}"[:1000]) from error
        score = validation.metrics[self.metric]
        if not math.isfinite(score):
            raise TrialFailedError(f"{self.metric} is no finite number")
        trial.set_user_attr("seconds", round(seconds, 4))
        trial.set_user_attr("validation", dict(validation.metrics))
        trial.set_user_attr("test", dict(test.metrics))
        if watch.loss is not None:
            trial.set_user_attr("final_loss", watch.loss)
        return score


class _Watch:
    """Reports and prunes at each look at the validation pairs."""

    def __init__(self, settings: RecommenderStudy, trial: optuna.Trial, on_epoch: Callable[[], object]) -> None:
        self.settings, self.trial, self.on_epoch = settings, trial, on_epoch
        self.epochs, self.seconds = 0, 0.0
        self.loss: float | None = None
        self.value: float | None = None

    def look(self, entry: Mapping[str, Any]) -> None:
        """Take note of an epoch.

        :param entry: that of the history
        """
        import optuna

        self.epochs, self.loss = entry["epoch"], entry["loss"]
        self.seconds += entry["seconds"]
        self.on_epoch()
        if "value" not in entry:
            return
        self.value = entry["value"]
        self.trial.report(entry["value"], entry["epoch"])
        if self.settings.pruner != "none" and self.epochs < self.settings.epochs and self.trial.should_prune():
            raise optuna.TrialPruned

    def measured(self) -> dict[str, Any]:
        """Return what is known so far, also of a trial that was given up."""
        validation = None if self.value is None else {self.settings.metric: self.value}
        return {"epochs": self.epochs, "seconds": round(self.seconds, 4), "validation": validation}


def _plain(value: Any) -> Any:
    """Return what JSON cannot spell in a range: types by name, sets in order."""
    if isinstance(value, type):
        return value.__name__
    return sorted(value, key=str)
