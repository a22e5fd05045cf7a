"""The settings of a study, checked before any work."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from kgneg.compare.samplers import SamplerChoice, with_texts
from kgneg.core.errors import InvalidInputError
from kgneg.core.validation import choose, validate_count, validate_device
from kgneg.studies.space import Configuration, SearchSpace, build_space

if TYPE_CHECKING:
    import optuna

    from kgneg.compare.data import CompareData
    from kgneg.datasets import KnowledgeGraph

__all__ = ["METRIC", "StudySettings"]

#: What is searched for, as PyKEEN calls it.
METRIC = "both.realistic.inverse_harmonic_mean_rank"

_SEARCHES = ("tpe", "random")
_PRUNERS = ("median", "hyperband", "none")
#: Settings that may change between two runs of one study.
_FREE = frozenset({"trials", "max_failures", "eval_batch_size", "device"})


@dataclass(frozen=True)
class StudySettings:
    """What is searched, and how each trial is trained and judged.

    :param samplers: samplers to choose from, with options that are fixed, see
        :meth:`~kgneg.compare.SamplerChoice.parse`
    :param models: models of PyKEEN to choose from
    :param losses: losses of PyKEEN to choose from; none leaves each model the one that PyKEEN has for it
    :param dataset: a name that PyKEEN knows, a folder or an RDF file; ``None`` if files are given instead
    :param train: a file of training triples, instead of ``dataset``
    :param valid: a file of validation triples
    :param test: a file of test triples
    :param trials: how many trials are to be finished, over all workers and runs
    :param epochs: the number of epochs of each trial
    :param fixed: parameters with one value, see :func:`~kgneg.studies.space.build_space`
    :param ranges: parameters with another range than that of ``hpo_default``
    :param optimizer: an optimiser of PyKEEN
    :param training_loop: ``"slcwa"``, or the name of a loop that is derived from it
    :param search: ``"tpe"`` (learns from finished trials) or ``"random"``
    :param startup: how many trials are drawn at random before TPE learns and before anything is pruned
    :param pruner: ``"median"``, ``"hyperband"`` or ``"none"``
    :param prune_every: the number of epochs between two looks at the validation triples; also the first look
    :param seed: the seed of the study; the seeds of trials derive from it
    :param eval_batch_size: triples that are ranked at once
    :param device: where to train: ``"auto"`` (a GPU if there is one), ``"cpu"``, ``"cuda"``, ``"cuda:1"``
    :param max_failures: how many trials may fail by themselves before the study ends; ``None`` allows as many as there
        are ``trials``
    :param texts: texts of the entities for samplers that read texts; ``None`` takes those that came with the graph
    :param encoder: what makes vectors of texts; ``None`` leaves the choice to the sampler
    :param missing_text: ``"error"`` or ``"label"``; ``None`` leaves the choice to the sampler
    :raises UnknownNameError: if a name is not known
    :raises InvalidInputError: if a value is out of range, or the source of triples is unclear

    >>> settings = StudySettings(dataset="nations", samplers=("basic",), models=("transe",), fixed={"lr": 0.01})
    >>> settings.space.to_dict()["optimizer.lr"]
    0.01
    """

    samplers: tuple[SamplerChoice | str, ...]
    models: tuple[str, ...] = ("transe",)
    losses: tuple[str, ...] = ()
    dataset: str | None = None
    train: str | None = None
    valid: str | None = None
    test: str | None = None
    trials: int = 20
    epochs: int = 50
    fixed: Mapping[str, Any] = field(default_factory=dict)
    ranges: Mapping[str, Any] = field(default_factory=dict)
    optimizer: str = "adam"
    training_loop: str = "slcwa"
    search: str = "tpe"
    startup: int = 10
    pruner: str = "median"
    prune_every: int = 10
    seed: int = 0
    eval_batch_size: int = 256
    device: str = "auto"
    max_failures: int | None = None
    texts: str | None = None
    encoder: str | None = None
    missing_text: str | None = None
    choices: tuple[SamplerChoice, ...] = field(init=False, repr=False, compare=False)
    space: SearchSpace = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._check_numbers()
        self._check_source()
        validate_device(self.device)
        choose("search", self.search, _SEARCHES)
        choose("pruner", self.pruner, _PRUNERS)
        if self.missing_text is not None:
            choose("missing_text", self.missing_text, ("error", "label"))
        for name in ("samplers", "models", "losses"):
            value = getattr(self, name)
            object.__setattr__(self, name, (value,) if isinstance(value, str) else tuple(value))
        choices = tuple(SamplerChoice.parse(one) if isinstance(one, str) else one for one in self.samplers)
        object.__setattr__(self, "choices", choices)
        self._check_texts()
        for name in ("fixed", "ranges"):
            if not isinstance(getattr(self, name), Mapping):
                raise InvalidInputError(f"{name} must be a mapping from names to values, got {getattr(self, name)!r}")
        try:
            json.dumps(dict(self.fixed), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InvalidInputError(
                f"fixed values must be something that JSON can spell, got {self.fixed!r}"
            ) from error
        object.__setattr__(self, "space", self.space_with(None))

    def _check_numbers(self) -> None:
        for name in ("trials", "epochs", "prune_every", "eval_batch_size"):
            validate_count(name, getattr(self, name))
        validate_count("startup", self.startup, 0)
        if self.max_failures is not None:
            validate_count("max_failures", self.max_failures, 0)
        if validate_count("seed", self.seed, 0) >= 2**32:
            raise InvalidInputError(f"seed must be below 2**32, got {self.seed}")

    def _check_source(self) -> None:
        files = {"train": self.train, "valid": self.valid, "test": self.test}
        given = [name for name, value in files.items() if value is not None]
        if self.dataset is not None and given:
            raise InvalidInputError(
                f"give a dataset or files, not both: got dataset={self.dataset!r} and {', '.join(given)}"
            )
        if self.dataset is None and len(given) < len(files):
            raise InvalidInputError("give a dataset, or a train, a valid and a test file")

    def _check_texts(self) -> None:
        given = {name: value for name, value in self.text_arguments.items() if value is not None}
        if given and not any(with_texts(choice, given, default_texts=None) != choice for choice in self.choices):
            raise InvalidInputError(
                f"{', '.join(given)} would have no effect: none of the samplers reads texts that are not set already"
            )

    @property
    def text_arguments(self) -> dict[str, Any]:
        """The arguments about texts that are meant for all samplers."""
        return {"texts": self.texts, "encoder": self.encoder, "missing_text": self.missing_text}

    @property
    def failures(self) -> int:
        """How many trials may fail by themselves."""
        return self.trials if self.max_failures is None else self.max_failures

    def choices_with(self, default_texts: str | None) -> list[SamplerChoice]:
        """Return the samplers with their texts.

        :param default_texts: where the texts of the graph are
        :returns: the samplers
        """
        return [with_texts(one, self.text_arguments, default_texts=default_texts) for one in self.choices]

    def space_with(self, default_texts: str | None) -> SearchSpace:
        """Return the search space for a graph.

        :param default_texts: where the texts of the graph are
        :returns: the space
        """
        return build_space(
            self.choices_with(default_texts),
            self.models,
            self.losses,
            optimizer=self.optimizer,
            training_loop=self.training_loop,
            fixed=self.fixed,
            ranges=self.ranges,
        )

    # What a study asks, see :class:`~kgneg.studies.kinds.StudyKind`

    @property
    def objective(self) -> str:
        """What people call the score."""
        return "MRR"

    def load(self, given: CompareData | KnowledgeGraph | None = None) -> CompareData:
        """Return the triples, with validation and test triples among them.

        :param given: the triples, if they are in memory already
        :returns: the triples
        :raises InvalidInputError: if they cannot be read, or there are no validation or test triples
        """
        from kgneg.compare.data import from_graph, load_data
        from kgneg.compare.runs import quiet_pykeen
        from kgneg.datasets import KnowledgeGraph

        data = from_graph(given) if isinstance(given, KnowledgeGraph) else given
        if data is None:
            with quiet_pykeen():
                data = load_data(self.dataset, train=self.train, valid=self.valid, test=self.test)
        for part, triples in (("validation", data.validation), ("test", data.testing)):
            if triples is None or not triples.num_triples:
                raise InvalidInputError(
                    f"{data.name} has no {part} triples; a study needs both validation and test triples"
                )
        return data

    def check(self, data: CompareData) -> None:
        """Construct each sampler once, so that what is wrong with one shows before any training.

        :param data: the triples
        :raises InvalidInputError: if one cannot be constructed
        """
        import torch

        from kgneg.compare.falsehood import make_sampler
        from kgneg.compare.runs import quiet_pykeen

        for choice in self.choices_with(data.texts):
            try:
                with quiet_pykeen(), torch.random.fork_rng(devices=[]):
                    make_sampler(choice, data, 1)
            except Exception as error:  # a sampler of PyKEEN may raise anything
                reason = " ".join(str(error).split()) or type(error).__name__
                raise InvalidInputError(f"sampler {choice.label}: {reason}") from error

    def space_of(self, data: CompareData) -> SearchSpace:
        """Return the search space for a graph.

        :param data: the triples
        :returns: the space
        """
        return self.space_with(data.texts)

    def define(self, data: CompareData) -> dict[str, Any]:
        """Return what a study is about, see :meth:`definition`.

        :param data: the triples
        :returns: what JSON can spell
        """
        return self.definition(data.fingerprint(), data.texts)

    def run(
        self,
        trial: optuna.Trial,
        configuration: Configuration,
        seed: int,
        data: CompareData,
        on_epoch: Callable[[], object],
    ) -> float:
        """Train and judge one configuration, see :func:`~kgneg.studies.objective.run_graph_trial`.

        :param trial: the trial
        :param configuration: what to train
        :param seed: the seed of everything
        :param data: the triples
        :param on_epoch: called after each epoch; may raise
        :returns: the mean reciprocal rank on the validation triples
        """
        from kgneg.studies.objective import run_graph_trial

        return run_graph_trial(trial, self, configuration, seed, data, on_epoch)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON has it, for :meth:`from_dict`."""
        found = {one.name: getattr(self, one.name) for one in fields(self) if one.init}
        found |= {
            "samplers": [choice.to_dict() for choice in self.choices],
            "models": list(self.models),
            "losses": list(self.losses),
            "fixed": dict(self.fixed),
            "ranges": {name: _plain(one) for name, one in self.ranges.items()},
        }
        return found

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> StudySettings:
        """Return settings that were written with :meth:`to_dict`.

        :param values: what was written
        :returns: the settings
        """
        samplers = tuple(SamplerChoice(one["name"], one["options"], one["label"]) for one in values["samplers"])
        return cls(**{**values, "samplers": samplers})

    def definition(self, fingerprint: str, default_texts: str | None) -> dict[str, Any]:
        """Return what a study is about, one entry per setting; trials with another definition do not belong to it.

        :param fingerprint: of the triples
        :param default_texts: where the texts of the graph are
        :returns: what JSON can spell
        """
        from kgneg.compare.store import versions

        skipped = _FREE | {"samplers", "models", "losses", "fixed", "ranges", "optimizer", "dataset", "train", "valid"}
        skipped |= {"test", "texts", "encoder", "missing_text"}
        own = {one.name: getattr(self, one.name) for one in fields(self) if one.init and one.name not in skipped}
        versions_ = {f"version of {name}": number for name, number in versions().items()}
        found = {
            **own,
            **self.space_with(default_texts).to_dict(),
            "triples": fingerprint,
            "metric": METRIC,
            **versions_,
        }
        return {**found, "files": self._files(default_texts)}

    def _files(self, default_texts: str | None) -> dict[str, str]:
        """Return hashes of the files that the samplers read."""
        from kgneg.compare.store import file_hashes

        return {
            f"{choice.name}.{name}": digest
            for choice in self.choices_with(default_texts)
            for name, digest in file_hashes(choice.options).items()
        }


def _plain(given: Any) -> Any:
    """Return a range as JSON has it."""
    if isinstance(given, Mapping):
        return {name: one.__name__ if isinstance(one, type) else _plain(one) for name, one in given.items()}
    if isinstance(given, set | frozenset):
        return sorted(given, key=str)
    if isinstance(given, list | tuple):
        return [one.__name__.lower() if isinstance(one, type) else one for one in given]
    return given
