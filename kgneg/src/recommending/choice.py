"""A recommender with its options, as users write it: ``buir-nb:paper:dim=64``, ``lightgcn:negatives=popularity``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from kgneg.compare.names import first_sentence, parameter_texts, unknown_name
from kgneg.compare.samplers import parse_options
from kgneg.core.errors import InvalidInputError
from kgneg.recsys.models import MODELS, build_recommender, find_model
from kgneg.recsys.recommender import Recommender
from kgneg.recsys.sampled import SampledRecommender
from kgneg.recsys.trained import TrainedRecommender

__all__ = ["FLOORS", "ModelChoice", "describe_models", "option_names"]

#: What every comparison should be above: no training, nothing to tune.
FLOORS = ("popularity", "two-hop")
_NEGATIVES = "negatives"


@dataclass(frozen=True)
class ModelChoice:
    """A recommender, the options that differ from its defaults, and where its negatives come from.

    :param name: a name of :data:`~kgneg.recsys.models.MODELS`, alone or with a preset
    :param options: options of the model and of its training; ``negatives`` is a kind of
        :data:`~kgneg.recommending.NEGATIVES`, and ``negatives.alpha`` an option of that kind
    :param label: how it is called in results; ``None`` takes the name with the options
    :raises InvalidInputError: if there is no such model, preset or option, or a value is out of range

    >>> ModelChoice.parse("buir-nb:paper:dim=64").options
    {'dim': 64}
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    label: str | None = None

    def __post_init__(self) -> None:
        find_model(self.name)
        try:
            json.dumps(dict(self.options), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InvalidInputError(f"{self.name}: options must be what JSON can spell: {error}") from error
        known = option_names(self.name)
        for option in self.own:
            if option not in known:
                raise unknown_name(f"option of the model {self.name}", option, known)
        self._check_negatives()
        self.build()
        if self.label is None:
            spelled = ",".join(f"{option}={_short(value)}" for option, value in self.options.items())
            object.__setattr__(self, "label", f"{self.name}:{spelled}" if spelled else self.name)

    def _check_negatives(self) -> None:
        from kgneg.recommending.negatives import NEGATIVES

        if not self.negatives and not self.negatives_options:
            return
        if not self.is_sampled:
            sampled = ", ".join(name for name, one in MODELS.items() if issubclass(one.kind, SampledRecommender))
            raise InvalidInputError(f"{self.name} draws no negatives, so none can be chosen; {sampled} do")
        kind = (self.negatives or "").partition(":")[0]
        if kind not in NEGATIVES:
            raise unknown_name("kind of negatives", kind, NEGATIVES)
        for option in self.negatives_options:
            if option not in NEGATIVES[kind]:
                raise unknown_name(f"option of the negatives {kind}", option, NEGATIVES[kind])

    @classmethod
    def parse(cls, text: str) -> ModelChoice:
        """Read ``name``, ``name:preset``, ``name:key=value,key=value`` or ``name:preset:key=value``.

        A value is read as JSON, and as plain text where it is none. One that has commas is put into double quotes:
        ``lightgcn:negatives="mixture:graph=0.3,uniform=0.7"``.

        :param text: the text
        :returns: the choice; its label is the text
        :raises InvalidInputError: if the text has another form, or something in it is not known
        """
        name, _, rest = text.strip().partition(":")
        preset, colon, more = rest.partition(":")
        if rest and "=" not in preset:
            name, rest = f"{name}:{preset}", more if colon else ""
        return cls(name, parse_options(text, rest, kind="model") if rest else {}, text.strip())

    @property
    def own(self) -> dict[str, Any]:
        """The options of the model and its training, without those of the negatives."""
        return {name: value for name, value in self.options.items() if name.partition(".")[0] != _NEGATIVES}

    @property
    def negatives(self) -> str | None:
        """What draws the negatives; ``None`` is the model's own way, which is uniform."""
        return self.options.get(_NEGATIVES)

    @property
    def negatives_options(self) -> dict[str, Any]:
        """The options of what draws the negatives."""
        start = f"{_NEGATIVES}."
        return {name.removeprefix(start): one for name, one in self.options.items() if name.startswith(start)}

    @cached_property
    def is_trained(self) -> bool:
        """Whether it learns step by step, so that a seed, epochs and validation matter."""
        return issubclass(find_model(self.name)[0].kind, TrainedRecommender)

    @cached_property
    def is_sampled(self) -> bool:
        """Whether it compares with negatives."""
        return issubclass(find_model(self.name)[0].kind, SampledRecommender)

    def build(self, **more: Any) -> Recommender:
        """Make the recommender.

        :param more: further options, such as a seed; those of the choice win
        :returns: the recommender, not fitted
        :raises InvalidInputError: if a value is out of range
        """
        try:
            return build_recommender(self.name, **{**more, **self.own})
        except TypeError as error:
            raise InvalidInputError(f"{self.label or self.name}: {error}") from error

    def with_options(self, options: Mapping[str, Any], *, label: str | None = None) -> ModelChoice:
        """Return the choice with further options, which win.

        :param options: the options
        :param label: how it is called then; ``None`` spells the options
        :returns: another choice
        """
        return ModelChoice(self.name, {**self.options, **options}, label)

    def knows(self, option: str) -> bool:
        """Return whether the model has an option.

        :param option: its name
        :returns: whether it can be set
        """
        return option in option_names(self.name) or (option.partition(".")[0] == _NEGATIVES and self.is_sampled)

    def to_dict(self) -> dict[str, Any]:
        """Return name, options and label as JSON has them, for the constructor."""
        return {"label": self.label, "name": self.name, "options": dict(self.options)}


def option_names(name: str) -> dict[str, Any]:
    """Return the options of a model that can be set, with their defaults.

    :param name: the name, perhaps with a preset, whose values then are the defaults
    :returns: values by name

    >>> option_names("itemknn")
    {'k': 100, 'shrinkage': 10.0}
    """
    entry, _ = find_model(name)
    model = build_recommender(name)
    found = {option: value for option, value in model.options.items() if option not in entry.options}
    return found | model.training_settings.to_dict() if isinstance(model, TrainedRecommender) else found


def describe_models() -> list[dict[str, Any]]:
    """Describe every recommender.

    :returns: a dictionary per model with ``name``, ``description``, ``citation``, ``trained``, ``negatives`` (whether
        it draws them), ``presets`` (their values by name), ``options`` (dictionaries with ``name``, ``default`` and
        ``description``) and ``ranges`` for studies; nothing but what JSON can spell
    """
    return [_describe(name) for name in MODELS]


def _describe(name: str) -> dict[str, Any]:
    from kgneg.recsys.settings import TrainSettings
    from kgneg.studies.ranges import check_range

    entry, _ = find_model(name)
    trained = issubclass(entry.kind, TrainedRecommender)
    texts = parameter_texts(entry.kind) | parameter_texts(TrainSettings) if trained else parameter_texts(entry.kind)
    said = ", ".join(f"{option}={value}" for option, value in entry.options.items())
    description = first_sentence(entry.kind.__doc__ or "")
    return {
        "name": name,
        "description": f"{description.removesuffix('.')}, with {said}." if said else description,
        "citation": entry.kind.citation,
        "trained": trained,
        "negatives": issubclass(entry.kind, SampledRecommender),
        "presets": {preset: dict(values) for preset, values in entry.presets.items()},
        "options": [
            {"name": option, "default": value, "description": texts.get(option, "")}
            for option, value in option_names(name).items()
        ],
        "ranges": {option: check_range(f"{name}.{option}", one) for option, one in entry.hpo_default().items()},
    }


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return f'"{text}"' if "," in text and isinstance(value, str) else text
