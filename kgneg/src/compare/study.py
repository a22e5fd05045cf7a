"""The loop over samplers and seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kgneg.compare.data import CompareData, from_graph, load_data
from kgneg.compare.falsehood import make_sampler
from kgneg.compare.result import CompareResult
from kgneg.compare.runs import RunFailedError, quiet_pykeen, train_once
from kgneg.compare.samplers import SamplerChoice, with_texts
from kgneg.compare.settings import CompareSettings
from kgneg.compare.store import RunStore, run_key, versions
from kgneg.core.errors import InvalidInputError
from kgneg.datasets import KnowledgeGraph

__all__ = ["compare"]


def compare(
    settings: CompareSettings,
    *,
    data: CompareData | KnowledgeGraph | None = None,
    runs: str | Path | None = None,
    fresh: bool = False,
    progress: bool | None = None,
) -> CompareResult:
    """Train with every sampler and seed, and put the results side by side.

    :param settings: what to compare
    :param data: the triples, if they are in memory already; ``settings`` then only tells their name
    :param runs: a folder in which finished runs are kept, and from which runs with equal settings are taken; ``None``
        keeps nothing
    :param fresh: whether to do all runs again even if they are there
    :param progress: whether to show a progress bar; ``None`` shows it on a terminal
    :returns: the results
    :raises RunFailedError: if a run fails; those that are finished are kept in ``runs``
    :raises InvalidInputError: if the triples cannot be read, there are no test triples, or a sampler cannot be
        constructed

    >>> settings = CompareSettings(dataset="nations", samplers=("basic",), epochs=1, seeds=(0,), dim=4)
    >>> len(compare(settings, progress=False).runs)
    1
    """
    from tqdm.auto import tqdm

    data = _data(settings, data)
    choices = [with_texts(one, settings.text_arguments, default_texts=data.texts) for one in settings.choices]
    fingerprint = data.fingerprint()
    store = RunStore(runs)
    plan = [
        (choice, seed, run_key(settings, choice, seed, fingerprint)) for seed in settings.seeds for choice in choices
    ]
    found: list[dict[str, Any] | None] = [None if fresh else store.load(key) for _, _, key in plan]
    todo = [position for position, run in enumerate(found) if run is None]
    _try(choices, {plan[position][0].label for position in todo}, data, settings)
    with tqdm(
        total=len(plan) * settings.epochs,
        initial=(len(plan) - len(todo)) * settings.epochs,
        desc="comparing",
        unit="epoch",
        leave=False,
        disable=None if progress is None else not progress,
    ) as bar:
        for position in todo:
            choice, seed, key = plan[position]
            bar.set_postfix_str(f"{choice.label}, seed {seed}")
            try:
                run = train_once(settings, choice, seed, data, bar.update)
            except RunFailedError as error:
                raise RunFailedError(_with_progress(error, found, store)) from error.__cause__
            store.save(key, run)
            found[position] = run
    samplers = [choice.to_dict() | {"loop": settings.loop_of(choice)} for choice in choices]
    return CompareResult(
        settings={**settings.to_dict(), "samplers": samplers},
        dataset=data.to_dict(),
        versions=versions(),
        runs=tuple(run for run in found if run is not None),
    )


def _data(settings: CompareSettings, data: CompareData | KnowledgeGraph | None) -> CompareData:
    """Return the triples, with test triples among them."""
    if isinstance(data, KnowledgeGraph):
        data = from_graph(data)
    if data is None:
        with quiet_pykeen():
            data = load_data(settings.dataset, train=settings.train, valid=settings.valid, test=settings.test)
    if data.testing is None or not data.testing.num_triples:
        raise InvalidInputError(f"{data.name} has no test triples, so nothing can be ranked")
    return data


def _try(choices: list[SamplerChoice], wanted: set[str | None], data: CompareData, settings: CompareSettings) -> None:
    """Construct each sampler once, so that what is wrong with one shows before any training."""
    import torch

    for choice in choices:
        if choice.label not in wanted:
            continue
        try:
            with quiet_pykeen(), torch.random.fork_rng(devices=[]):
                make_sampler(choice, data, settings.negatives)
        except Exception as error:  # a sampler of PyKEEN may raise anything
            reason = " ".join(str(error).split()) or type(error).__name__
            raise InvalidInputError(f"sampler {choice.label}: {reason}") from error


def _with_progress(error: RunFailedError, found: list[dict[str, Any] | None], store: RunStore) -> str:
    """Return the message of an error with what became of the other runs."""
    done = sum(run is not None for run in found)
    kept = (
        f"the {done} finished of {len(found)} runs are kept"
        if store.folder and done
        else f"{done} of {len(found)} done"
    )
    return f"{error} ({kept})"
