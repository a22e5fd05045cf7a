"""The search space: samplers, models and losses, each with the ranges of its own ``hpo_default``."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kgneg.compare.names import find_loss, find_model, find_sampler, unknown_name
from kgneg.compare.samplers import SamplerChoice
from kgneg.core.errors import InvalidInputError
from kgneg.studies.ranges import check_range

if TYPE_CHECKING:
    import optuna

__all__ = ["Configuration", "Part", "SearchSpace", "build_space"]

_SAMPLER = frozenset({"mapped_triples", "num_entities", "num_relations"})
_MODEL = frozenset({"triples_factory", "loss", "loss_kwargs", "random_seed"})
#: Arguments of training loops that PyKEEN passes, or that belong to the study.
_LOOP = frozenset(
    {
        *("model", "triples_factory", "optimizer", "optimizer_kwargs", "lr_scheduler", "lr_scheduler_kwargs"),
        *("negative_sampler", "negative_sampler_kwargs", "automatic_memory_optimization", "mode"),
        *("result_tracker", "result_tracker_kwargs"),
    }
)
#: What can be set of the training; the rest belongs to the study.
_TRAINING = ("batch_size", "label_smoothing", "gradient_clipping_max_norm", "gradient_clipping_max_abs_value")
#: short names -> names
_ALIASES = {"lr": "optimizer.lr", "batch_size": "training.batch_size"}
_GROUPS = ("sampler", "model", "loss")


@dataclass(frozen=True)
class Configuration:
    """What one trial trains with: names and arguments, nothing but what JSON can spell."""

    sampler: str
    sampler_kwargs: Mapping[str, Any]
    model: str
    model_kwargs: Mapping[str, Any]
    loss: str
    loss_kwargs: Mapping[str, Any]
    optimizer: str
    optimizer_kwargs: Mapping[str, Any]
    training_loop_kwargs: Mapping[str, Any]
    training_kwargs: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {name: dict(value) if isinstance(value, Mapping) else value for name, value in vars(self).items()}


@dataclass(frozen=True)
class Part:
    """The arguments of one thing, such as a sampler.

    :param kind: ``"sampler"``, ``"model"``, ``"loss"``, ``"optimizer"`` or ``"training"``
    :param known: the arguments that it takes
    :param fixed: arguments with one value
    :param ranges: arguments that are searched
    """

    kind: str
    known: tuple[str, ...]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    ranges: Mapping[str, dict[str, Any]] = field(default_factory=dict)

    def suggest(self, trial: optuna.Trial, prefix: str) -> dict[str, Any]:
        """Return all arguments for a trial.

        :param trial: the trial
        :param prefix: what the names of the parameters begin with
        :returns: the arguments
        """
        from pykeen.hpo.hpo import suggest_kwargs

        return dict(suggest_kwargs(trial, prefix, kwargs_ranges=self.ranges, kwargs=self.fixed))


@dataclass(frozen=True)
class SearchSpace:
    """What is searched.

    Parameters of a study are named by what they belong to: ``lemon.num_negs_per_pos``, ``transe.embedding_dim``,
    ``nssa.margin``, ``optimizer.lr``, ``training.batch_size``; and ``sampler``, ``model`` and ``loss`` where there is a
    choice. So the ranges of two samplers never clash.

    :param samplers: names of samplers
    :param models: names of models
    :param losses: names of losses; none leaves each model its own
    :param own_losses: the loss of each model
    :param optimizer: the name of the optimiser
    :param parts: the arguments by name of what they belong to
    """

    samplers: tuple[str, ...]
    models: tuple[str, ...]
    losses: tuple[str, ...]
    own_losses: Mapping[str, str]
    optimizer: str
    parts: Mapping[str, Part]

    def suggest(self, trial: optuna.Trial) -> Configuration:
        """Choose a configuration.

        :param trial: the trial that is asked
        :returns: the configuration
        """
        sampler = _one_of(trial, "sampler", self.samplers)
        model = _one_of(trial, "model", self.models)
        loss = _one_of(trial, "loss", self.losses) if self.losses else self.own_losses[model]
        return Configuration(
            sampler=sampler,
            sampler_kwargs=self.parts[sampler].suggest(trial, sampler),
            model=model,
            model_kwargs=self.parts[model].suggest(trial, model),
            loss=loss,
            loss_kwargs=self.parts[loss].suggest(trial, loss),
            optimizer=self.optimizer,
            optimizer_kwargs=self.parts["optimizer"].suggest(trial, "optimizer"),
            training_loop_kwargs=self.parts["training_loop"].suggest(trial, "training_loop"),
            training_kwargs=self.parts["training"].suggest(trial, "training"),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it, one entry per argument."""
        found: dict[str, Any] = {
            "samplers": list(self.samplers),
            "models": list(self.models),
            "losses": list(self.losses) or "those of the models",
            "optimizer": self.optimizer,
        }
        for prefix, part in sorted(self.parts.items()):
            found |= {f"{prefix}.{name}": value for name, value in sorted(part.fixed.items())}
            found |= {f"{prefix}.{name}": {"range": value} for name, value in sorted(part.ranges.items())}
        return found

    def __len__(self) -> int:
        """Return the number of ranges and choices."""
        choices = sum(len(names) > 1 for names in (self.samplers, self.models, self.losses))
        return choices + sum(len(part.ranges) for part in self.parts.values())


def _one_of(trial: optuna.Trial, name: str, choices: tuple[str, ...]) -> str:
    """Return the only choice, or what the trial suggests."""
    if len(choices) == 1:
        return choices[0]
    return str(trial.suggest_categorical(name, list(choices)))


def build_space(
    samplers: Iterable[SamplerChoice],
    models: Iterable[str],
    losses: Iterable[str] = (),
    *,
    optimizer: str = "adam",
    training_loop: str = "slcwa",
    fixed: Mapping[str, Any] | None = None,
    ranges: Mapping[str, Any] | None = None,
) -> SearchSpace:
    """Put together the search space from ``hpo_default`` and what the user wants otherwise.

    A name in ``fixed`` and ``ranges`` is that of a parameter (``lemon.n_clusters``), of an argument of all samplers,
    models or losses that have it (``sampler.num_negs_per_pos``, ``model.embedding_dim``, ``loss.margin``), of the
    optimiser, the training or the loop (``optimizer.lr``, ``training.batch_size``, ``training_loop.updates``), or the
    short name ``lr`` or ``batch_size``. The more special name wins.

    :param samplers: samplers with their options; options are fixed
    :param models: names of models
    :param losses: names of losses; none leaves each model its own
    :param optimizer: the name of an optimiser
    :param training_loop: the name of a training loop
    :param fixed: values by name
    :param ranges: ranges by name, see :func:`~kgneg.studies.ranges.check_range`
    :returns: the space
    :raises UnknownNameError: if a name is not known
    :raises InvalidInputError: if a range is none, a name repeats, or something is both fixed and searched

    >>> space = build_space([SamplerChoice("basic")], ["transe"], ["nssa"], fixed={"lr": 0.01})
    >>> sorted(space.parts["nssa"].ranges)
    ['adversarial_temperature', 'margin']
    """
    parts: dict[str, Part] = {}
    names: dict[str, tuple[str, ...]] = {}
    choices = tuple(samplers)
    names["sampler"] = tuple(_add(parts, *_sampler_part(choice)) for choice in choices)
    names["model"] = tuple(_add(parts, *_model_part(name)) for name in models)
    names["loss"] = tuple(_add(parts, *_loss_part(name)) for name in losses)
    for kind in ("sampler", "model"):
        if not names[kind]:
            raise InvalidInputError(f"at least one {kind} is needed")
    own = {name: _name_of_loss(find_model(name).loss_default) for name in names["model"]}
    if not names["loss"]:
        for name in dict.fromkeys(own.values()):
            _add(parts, *_loss_part(name))
    optimizer = _add_optimizer(parts, optimizer)
    _add_training(parts, training_loop, [str(choice.label) for choice in choices if choice.needs_model])
    _override(parts, fixed or {}, ranges or {})
    return SearchSpace(names["sampler"], names["model"], names["loss"], own, optimizer, parts)


def _add(parts: dict[str, Part], name: str, part: Part) -> str:
    """Add a part, whose name must be new."""
    if name in parts or name in (*_GROUPS, "optimizer", "training", "training_loop"):
        other = parts[name].kind if name in parts else "parameter"
        hint = "give each once, with ranges where it should vary" if other == part.kind else "rename one"
        raise InvalidInputError(f"the {part.kind} {name!r} has the name of another {other}: {hint}")
    parts[name] = part
    return name


def _default_ranges(owner: str, kind: Any, known: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the ranges of a class in one spelling."""
    given: Mapping[str, Any] = getattr(kind, "hpo_default", None) or {}
    return {name: check_range(f"{owner}.{name}", one) for name, one in given.items() if name in known}


def _arguments(kind: Any, reserved: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """Return the arguments of a constructor; where it passes on further ones, those of its bases too."""
    found: dict[str, None] = {}
    for base in kind.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = list(inspect.signature(base.__init__).parameters.values())[1:]
        named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        found |= dict.fromkeys(one.name for one in parameters if one.kind in named and one.name not in reserved)
        if not any(one.kind == one.VAR_KEYWORD for one in parameters):
            break
    return tuple(found)


def _sampler_part(choice: SamplerChoice) -> tuple[str, Part]:
    sampler = find_sampler(choice.name)
    name = str(getattr(sampler, "display_name", None) or sampler.get_normalized_name())
    known = _arguments(sampler, _SAMPLER)
    ranges = _default_ranges(name, sampler, known)
    left = {key: value for key, value in ranges.items() if key not in choice.options}
    return name, Part("sampler", known, dict(choice.options), left)


def _model_part(text: str) -> tuple[str, Part]:
    from pykeen.models import model_resolver

    model = find_model(text)
    name, known = str(model_resolver.normalize_cls(model)), _arguments(model, _MODEL)
    return name, Part("model", known, {}, _default_ranges(name, model, known))


def _name_of_loss(loss: Any) -> str:
    from pykeen.losses import loss_resolver

    return str(loss_resolver.normalize_cls(loss))


def _loss_part(text: str) -> tuple[str, Part]:
    loss = find_loss(text)
    name, known = _name_of_loss(loss), _arguments(loss)
    return name, Part("loss", known, {}, _default_ranges(name, loss, known))


def _add_optimizer(parts: dict[str, Part], text: str) -> str:
    from pykeen.optimizers import optimizer_resolver, optimizers_hpo_defaults

    optimizer = optimizer_resolver.lookup_dict.get(optimizer_resolver.normalize(text))
    if optimizer is None:
        raise unknown_name("optimizer", text, optimizer_resolver.lookup_dict)
    known = _arguments(optimizer, frozenset({"params"}))
    ranges = {name: check_range(f"optimizer.{name}", one) for name, one in optimizers_hpo_defaults[optimizer].items()}
    parts["optimizer"] = Part("optimizer", known, {}, ranges)
    return str(optimizer_resolver.normalize_cls(optimizer))


def _add_training(parts: dict[str, Part], text: str, looking: list[str]) -> None:
    """Add a training loop, which has to show the model to the samplers that look at it."""
    from pykeen.training import SLCWATrainingLoop, training_loop_resolver

    from kgneg.integrations.pykeen import KgnegTrainingLoop

    loop = training_loop_resolver.lookup_dict.get(training_loop_resolver.normalize(text))
    if loop is None:
        raise unknown_name("training loop", text, training_loop_resolver.lookup_dict)
    if not issubclass(loop, SLCWATrainingLoop):
        raise InvalidInputError(f"the training loop {text!r} draws no negatives; use slcwa or one derived from it")
    if looking and not issubclass(loop, KgnegTrainingLoop):
        raise InvalidInputError(
            f"the training loop {text!r} does not show the model to {', '.join(looking)}: take kgneg as training loop"
        )
    parts["training_loop"] = Part("training_loop", _arguments(loop, _LOOP))
    parts["training"] = Part("training", _TRAINING, {}, _default_ranges("training", loop, ("batch_size",)))


def _override(parts: dict[str, Part], fixed: Mapping[str, Any], ranges: Mapping[str, Any]) -> None:
    """Apply what the user wants, general names before special ones."""
    given = [(name, value, False) for name, value in fixed.items()]
    given += [(name, value, True) for name, value in ranges.items()]
    for name in set(map(_full_name, fixed)) & set(map(_full_name, ranges)):
        raise InvalidInputError(f"{name} is both fixed and searched; give one of the two")
    done: set[tuple[str, str]] = set()
    for name, value, is_range in sorted(given, key=lambda one: one[0].partition(".")[0] not in _groups()):
        for prefix, argument in _targets(parts, _full_name(name)):
            if is_range:
                _set_range(parts, prefix, argument, value, (prefix, argument) in done)
            else:
                _set_fixed(parts, prefix, argument, value, (prefix, argument) in done)
            done.add((prefix, argument))


def _groups() -> tuple[str, ...]:
    return (*_GROUPS, "negative_sampler")


def _full_name(name: str) -> str:
    return _ALIASES.get(name, name)


def _targets(parts: Mapping[str, Part], name: str) -> list[tuple[str, str]]:
    """Return the parts and arguments that a name stands for."""
    prefix, dot, argument = name.partition(".")
    kind = "sampler" if prefix == "negative_sampler" else prefix
    chosen = [one for one, part in parts.items() if part.kind == kind] if kind in _GROUPS else [prefix]
    found = [(one, argument) for one in chosen if one in parts and argument in parts[one].known]
    if dot and found:
        return found
    known = {f"{one}.{each}" for one, part in parts.items() for each in part.known}
    known |= {f"{part.kind}.{each}" for part in parts.values() for each in part.known} | set(_ALIASES)
    near = sorted(one for one in known if one.partition(".")[0] == prefix) if dot else sorted(known)
    raise unknown_name("parameter", name, near or known)


def _set_fixed(parts: dict[str, Part], prefix: str, argument: str, value: Any, again: bool) -> None:
    part = parts[prefix]
    if argument in part.fixed and not again:
        raise InvalidInputError(f"{prefix}.{argument} is given twice: {part.fixed[argument]!r} and {value!r}")
    ranges = {name: one for name, one in part.ranges.items() if name != argument}
    parts[prefix] = Part(part.kind, part.known, {**part.fixed, argument: value}, ranges)


def _set_range(parts: dict[str, Part], prefix: str, argument: str, value: Any, again: bool) -> None:
    part, name = parts[prefix], f"{prefix}.{argument}"
    if argument in part.fixed and not again:
        raise InvalidInputError(f"{name} is both fixed, to {part.fixed[argument]!r}, and searched; give one of the two")
    if isinstance(value, Mapping):
        known = part.ranges.get(argument, {}).get("type")
        if known in ("int", "float") and value.get("type") in ("int", "float", int, float):
            value = {**value, "type": known}  # a range such as 0:1 is one of floats where the default is
    fixed = {key: one for key, one in part.fixed.items() if key != argument}
    parts[prefix] = Part(part.kind, part.known, fixed, {**part.ranges, argument: check_range(name, value)})
