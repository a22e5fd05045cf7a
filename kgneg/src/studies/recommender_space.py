"""The search space of recommenders: models, each with the ranges of its own ``hpo_default``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kgneg.compare.names import unknown_name
from kgneg.core.errors import InvalidInputError
from kgneg.recommending.choice import ModelChoice, option_names
from kgneg.recommending.tuning import model_ranges, suggest_from
from kgneg.studies.ranges import check_range

if TYPE_CHECKING:
    import optuna

__all__ = ["RecommenderConfiguration", "RecommenderSpace", "build_recommender_space"]

#: Options of the training that are settings of the study.
_OWN = ("epochs", "evaluate_every", "metric", "seed", "device")


@dataclass(frozen=True)
class RecommenderConfiguration:
    """What one trial trains: a model and its options, nothing but what JSON can spell."""

    model: str
    options: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {"model": self.model, "options": dict(self.options)}


@dataclass(frozen=True)
class RecommenderSpace:
    """What is searched; parameters are named by their model, such as ``buir-nb.lr``.

    :param fixed: options with one value, by model
    :param ranges: options that are searched, by model
    """

    fixed: Mapping[str, Mapping[str, Any]]
    ranges: Mapping[str, Mapping[str, dict[str, Any]]]

    def suggest(self, trial: optuna.Trial) -> RecommenderConfiguration:
        """Choose a configuration.

        :param trial: the trial that is asked
        :returns: the configuration
        """
        models = list(self.fixed)
        model = models[0] if len(models) == 1 else str(trial.suggest_categorical("model", models))
        options = suggest_from(trial, self.ranges[model], f"{model}.")
        return RecommenderConfiguration(model, {**self.fixed[model], **options})

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it, one entry per option."""
        found: dict[str, Any] = {"models": list(self.fixed)}
        for model, values in self.fixed.items():
            found |= {f"{model}.{name}": value for name, value in sorted(values.items())}
        for model, ranges in self.ranges.items():
            found |= {f"{model}.{name}": {"range": one} for name, one in sorted(ranges.items())}
        return found

    def __len__(self) -> int:
        """Return the number of ranges and choices."""
        return (len(self.fixed) > 1) + sum(len(ranges) for ranges in self.ranges.values())


def build_recommender_space(
    choices: Sequence[ModelChoice],
    own: Mapping[str, Mapping[str, Any]],
    fixed: Mapping[str, Any],
    ranges: Mapping[str, Any],
) -> RecommenderSpace:
    """Put together the search space from ``hpo_default`` and what the user wants otherwise.

    A name in ``fixed`` and ``ranges`` is that of an option of all models that have it (``lr``, ``model.lr``) or of one
    (``buir-nb.lr``). The more special name wins.

    :param choices: the models, with options that are fixed
    :param own: these options, and those that the study gives, by model
    :param fixed: options with one value
    :param ranges: options with another range than that of ``hpo_default``
    :returns: the space
    :raises InvalidInputError: if models or options repeat, a name is not known, or something is no range

    >>> space = build_recommender_space([ModelChoice("ease")], {"ease": {}}, {}, {"l2": [10, 100]})
    >>> space.ranges["ease"]["l2"]["choices"]
    [10, 100]
    """
    names = [choice.name for choice in choices]
    if len(set(names)) < len(names):
        raise InvalidInputError(f"models must differ, got {', '.join(names)}: search what differs with ranges")
    for choice in choices:
        refused = [name for name in choice.options if name in _OWN]
        if refused:
            raise InvalidInputError(f"{refused[0]} is a setting of the study, not of {choice.name}")
    both = set(fixed) & set(ranges)
    if both:
        raise InvalidInputError(f"{min(both)} is both fixed and searched; give one of the two")
    values = {model: dict(options) for model, options in own.items()}
    searched = {
        one.name: {key: value for key, value in model_ranges(one.name).items() if key not in one.options}
        for one in choices
    }
    for name, value in sorted(fixed.items(), key=lambda one: _is_special(choices, one[0])):
        for model, option in _targets(choices, name):
            values[model][option] = value
            searched[model].pop(option, None)
    for name, value in sorted(ranges.items(), key=lambda one: _is_special(choices, one[0])):
        for model, option in _targets(choices, name):
            values[model].pop(option, None)
            searched[model][option] = check_range(f"{model}.{option}", _typed(value, searched[model].get(option)))
    for choice in choices:
        ModelChoice(choice.name, values[choice.name])  # raises where a fixed value cannot be
    return RecommenderSpace(values, searched)


def _typed(value: Any, before: Mapping[str, Any] | None) -> Any:
    """Return a range with the type of the default, so that 0:1 is one of floats where that is."""
    if isinstance(value, Mapping) and "choices" not in value and before and before["type"] in ("int", "float"):
        return {**value, "type": before["type"]}
    return value


def _is_special(choices: Sequence[ModelChoice], name: str) -> bool:
    return any(name.startswith(f"{choice.name}.") for choice in choices)


def _targets(choices: Sequence[ModelChoice], name: str) -> list[tuple[str, str]]:
    """Return the models and options that a name stands for."""
    option = name.removeprefix("model.")
    chosen = list(choices)
    for choice in choices:
        if name.startswith(f"{choice.name}."):
            chosen, option = [choice], name.removeprefix(f"{choice.name}.")
    if option in _OWN:
        raise InvalidInputError(f"{option} is a setting of the study: give it as one")
    found = [(choice.name, option) for choice in chosen if choice.knows(option)]
    if not found:
        known = {f"{one.name}.{each}" for one in chosen for each in option_names(one.name) if each not in _OWN}
        raise unknown_name("parameter", name, known)
    return found
