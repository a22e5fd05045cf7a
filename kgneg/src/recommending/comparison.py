"""Several recommenders side by side: equal splits, equal seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kgneg.compare.runs import RunFailedError
from kgneg.compare.store import RunStore, file_hashes
from kgneg.core.cache import content_key
from kgneg.core.errors import InvalidInputError, KgnegError
from kgneg.core.storage import read_tensors, write_tensors
from kgneg.core.validation import validate_count, validate_device
from kgneg.recommending.choice import FLOORS, ModelChoice, option_names
from kgneg.recommending.comparison_result import RecComparison, metric_names
from kgneg.recommending.data import DataSettings, RecData, load_interactions
from kgneg.recommending.result import rec_versions
from kgneg.recommending.runs import NegativeSources, check_choice, check_lengths, check_metric, run_once
from kgneg.recsys.evaluation import Evaluation
from kgneg.recsys.models import find_model

__all__ = ["ComparisonPlan", "compare_recommenders"]


@dataclass(frozen=True)
class ComparisonPlan:
    """What is compared, and what is held equal.

    :param models: recommenders, see :meth:`~kgneg.recommending.ModelChoice.parse`; the first is what the others are
        compared with
    :param data: the interactions
    :param seeds: one run per model and seed; models that draw nothing run once
    :param shared: options for all models that have them
    :param ks: the lengths of lists that are judged
    :param metric: what is compared, such as ``"recall@20"``; it also decides when trained models stop, but for those
        that were given their own, as an option or by a preset
    :param resplit: whether each seed has a split of its own, from the same seed; if not, all have that of ``data``
    :param floors: whether to add ``popularity`` and ``two-hop`` if they are not among the models
    :param device: where to train
    :param sources: what negatives take what they know of the items from
    :raises InvalidInputError: if a value is out of range, models or seeds repeat, or an option belongs to no model

    >>> [one.label for one in ComparisonPlan(("ease",)).choices]
    ['ease', 'popularity', 'two-hop']
    """

    models: tuple[ModelChoice | str, ...]
    data: DataSettings = field(default_factory=DataSettings)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    shared: Mapping[str, Any] = field(default_factory=dict)
    ks: tuple[int, ...] = (10, 20, 50)
    metric: str = "recall@20"
    resplit: bool = False
    floors: bool = True
    device: str = "auto"
    sources: NegativeSources = field(default_factory=NegativeSources)
    choices: tuple[ModelChoice, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.models, str) or not self.models:
            raise InvalidInputError("models must name at least one recommender; write ('buir-nb', 'lightgcn')")
        given = [ModelChoice.parse(one) if isinstance(one, str) else one for one in self.models]
        object.__setattr__(self, "ks", tuple(sorted({validate_count("k", k) for k in self.ks})))
        check_metric(self.metric, self.ks)
        choices = [self._share(choice) for choice in given]
        if self.floors:
            there = {choice.name for choice in choices}
            choices += [ModelChoice(name) for name in FLOORS if name not in there]
        labels = [str(choice.label) for choice in choices]
        repeated = sorted({label for label in labels if labels.count(label) > 1})
        if repeated:
            raise InvalidInputError(f"models must differ, got {', '.join(repeated)} twice")
        unused = [name for name in self.shared if not any(choice.knows(name) for choice in choices)]
        if unused:
            raise InvalidInputError(f"{', '.join(unused)} would have no effect: none of the models has this option")
        object.__setattr__(self, "choices", tuple(choices))
        self._check_seeds()
        self._check_splits()
        validate_device(self.device)
        self.sources.check(choices)

    def _share(self, choice: ModelChoice) -> ModelChoice:
        """Add the options that are meant for all, where the model has them and was not given them."""
        options = {name: one for name, one in self.shared.items() if choice.knows(name) and name not in choice.options}
        own = {**find_model(choice.name)[1], **choice.options, **options}
        if choice.is_trained and "metric" not in own and self.metric != option_names(choice.name)["metric"]:
            options["metric"] = self.metric
        return choice.with_options(options, label=choice.label) if options else choice

    def _check_seeds(self) -> None:
        if isinstance(self.seeds, int) or not self.seeds:
            raise InvalidInputError(f"seeds must be a tuple of at least one integer, got {self.seeds!r}")
        for seed in self.seeds:
            if validate_count("a seed", seed, 0) >= 2**32:
                raise InvalidInputError(f"a seed must be below 2**32, got {seed}")
        if len(set(self.seeds)) < len(self.seeds):
            raise InvalidInputError(f"seeds must differ, got {', '.join(map(str, self.seeds))}")
        seeded = [str(choice.label) for choice in self.choices if "seed" in choice.options]
        if seeded:
            raise InvalidInputError(f"{', '.join(seeded)}: the option seed is set by the seeds of the comparison")

    def _check_splits(self) -> None:
        """Refuse splits for each seed where nothing is drawn, or where another seed was given."""
        if not self.resplit:
            return
        if self.data.valid is not None or self.data.split == "temporal":
            raise InvalidInputError(
                "resplit would have no effect: the split is the same for all seeds; leave it out, or take another split"
            )
        if self.data.split_seed:
            raise InvalidInputError("split_seed would have no effect: with resplit each seed has a split of its own")

    def data_of(self, seed: int) -> DataSettings:
        """Return what is read for a seed.

        :param seed: the seed
        :returns: the settings of the interactions
        """
        return DataSettings(**{**self.data.to_dict(), "split_seed": seed}) if self.resplit else self.data

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON has it."""
        return {
            "models": [choice.to_dict() for choice in self.choices],
            "data": self.data.to_dict(),
            "seeds": list(self.seeds),
            "ks": list(self.ks),
            "metric": self.metric,
            "resplit": self.resplit,
            "device": self.device,
            "sources": self.sources.to_dict(),
        }


@dataclass(frozen=True, eq=False)
class _Cell:
    """One model with one seed."""

    choice: ModelChoice
    seed: int
    data: RecData
    key: dict[str, Any]


def compare_recommenders(
    plan: ComparisonPlan,
    *,
    data: RecData | None = None,
    runs: str | Path | None = None,
    fresh: bool = False,
    progress: bool | None = None,
) -> RecComparison:
    """Fit every recommender with every seed, and put the results side by side.

    :param plan: what to compare
    :param data: the interactions, if they are in memory already
    :param runs: a folder in which finished runs are kept, and from which runs with equal settings are taken; ``None``
        keeps nothing
    :param fresh: whether to do all runs again even if they are there
    :param progress: whether to show a progress bar; ``None`` shows it on a terminal
    :returns: the results
    :raises RunFailedError: if a run fails; those that are finished are kept in ``runs``
    :raises InvalidInputError: if the interactions cannot be read, or options do not fit them

    >>> found = compare_recommenders(ComparisonPlan(("ease",), seeds=(0,)), progress=False)
    >>> [entry["model"] for entry in found.summary()]
    ['ease', 'popularity', 'two-hop']
    """
    from tqdm.auto import tqdm

    if data is not None and plan.resplit:
        raise InvalidInputError("interactions in memory are split already, so they cannot be split for each seed")
    cells = _cells(plan, data)
    store = RunStore(runs)
    found: list[tuple[dict[str, Any], Evaluation]] = []
    done: dict[str, tuple[dict[str, Any], Evaluation]] = {}
    hidden = None if progress is None else not progress
    with tqdm(total=len(cells), desc="comparing", unit="run", leave=False, disable=hidden) as bar:
        for cell in cells:
            bar.set_postfix_str(f"{cell.choice.label}, seed {cell.seed}")
            name = content_key(cell.key)
            taken = done.get(name) or (None if fresh else _load(store, cell))
            if taken is None:
                taken = _run(plan, cell, store, len(done))
            done[name] = taken
            record = {**taken[0], "model": cell.choice.label, "seed": cell.seed}
            found.append((record, taken[1]))
            bar.update()
    first = cells[0].data
    return RecComparison.of(plan.to_dict(), first.to_dict(), rec_versions(), found)


def _cells(plan: ComparisonPlan, data: RecData | None) -> list[_Cell]:
    """Return all runs, with what each depends on; what does not fit the data shows before any training."""
    cells = []
    parts: dict[int, RecData] = {}
    for seed in plan.seeds:
        which = seed if plan.resplit else plan.seeds[0]
        if which not in parts:
            parts[which] = load_interactions(plan.data_of(seed)) if data is None else data
            check_lengths(plan.ks, parts[which])
            for choice in plan.choices:
                check_choice(choice, parts[which])
        cells += [_Cell(choice, seed, parts[which], _key(plan, choice, seed, parts[which])) for choice in plan.choices]
    for cell in cells[: len(plan.choices)]:
        try:
            plan.sources.build(cell.choice, cell.data, cell.seed, plan.device)
        except KgnegError as error:
            raise InvalidInputError(f"{cell.choice.label}: {error}") from error
    return cells


def _key(plan: ComparisonPlan, choice: ModelChoice, seed: int, data: RecData) -> dict[str, Any]:
    """Return everything that the result of a run depends on."""
    sources = {name: value for name, value in plan.sources.to_dict().items() if value is not None}
    return {
        "name": choice.name,
        "options": dict(choice.options),
        "seed": seed if choice.is_trained else None,
        "data": data.fingerprint(),
        "ks": list(plan.ks),
        "device": str(validate_device(plan.device)),
        "sources": {name: file_hashes({"path": value}) or value for name, value in sources.items()},
        "versions": rec_versions(),
    }


def _run(plan: ComparisonPlan, cell: _Cell, store: RunStore, finished: int) -> tuple[dict[str, Any], Evaluation]:
    """Do one run and keep it."""
    path = store.path(cell.key)
    checkpoint = None if path is None else path.with_suffix(".training")
    try:
        equal: dict[str, Any] = {"ks": plan.ks, "sources": plan.sources, "device": plan.device}
        run = run_once(cell.choice, cell.data, seed=cell.seed, checkpoint=checkpoint, progress=False, **equal)
    except InvalidInputError:
        raise
    except (KgnegError, MemoryError, RuntimeError) as error:
        kept = f"the {finished} finished runs are kept" if store.folder and finished else f"{finished} runs were done"
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RunFailedError(f"{cell.choice.label}, seed {cell.seed}: {reason} ({kept})") from error
    record = run.to_dict()
    if path is not None:
        per_user = {f"per_user.{name}": values for name, values in run.test.per_user.items()}
        write_tensors(path.with_suffix(".users"), {"users": run.test.users, **per_user}, {})
        store.save(cell.key, record)
        if checkpoint is not None:
            checkpoint.unlink(missing_ok=True)
    return record, run.test


def _load(store: RunStore, cell: _Cell) -> tuple[dict[str, Any], Evaluation] | None:
    """Return a finished run with the figures of its users."""
    record, path = store.load(cell.key), store.path(cell.key)
    if record is None or path is None:
        return None
    try:
        tensors, _ = read_tensors(path.with_suffix(".users"))
    except InvalidInputError:
        return None
    per_user = {name.removeprefix("per_user."): one for name, one in tensors.items() if name != "users"}
    labels = cell.data.split.train.user_labels
    for part in ("validation", "test"):  # files have everything by the alphabet
        figures, beyond = record[part]["metrics"], record[part]["beyond"]
        record[part]["metrics"] = {name: figures[name] for name in metric_names(cell.key["ks"])}
        groups = beyond.get("by_user_items", {})
        beyond["by_user_items"] = {name: groups[name] for name in sorted(groups, key=_least)}
    return record, Evaluation(record["test"]["metrics"], tensors["users"], per_user, {}, {}, {}, labels)


def _least(group: str) -> int:
    """Return the smallest number of items of a group of users, such as 10 for ``10-19``."""
    return int(group.rstrip("+").partition("-")[0])
