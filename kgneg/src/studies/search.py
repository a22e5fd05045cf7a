"""How configurations are proposed, and which trials are given up early."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from kgneg.core.seeding import mix_seeds

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

    from kgneg.studies.kinds import StudyKind

__all__ = ["make_pruner", "make_search", "quiet_optuna"]

_PURPOSE = 0x736561726368


def make_search(settings: StudyKind, number: int) -> BaseSampler:
    """Return what proposes the configuration of one trial.

    Its random numbers depend on the study and the trial alone, not on the worker, so that two workers never propose the
    same, and a study of one worker can be repeated.

    :param settings: the settings of the study
    :param number: the number of the trial
    :returns: a sampler of Optuna
    """
    from optuna.samplers import RandomSampler, TPESampler

    seed = mix_seeds(settings.seed, _PURPOSE, number) % 2**32
    if settings.search == "random":
        return RandomSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna calls constant_liar experimental in some versions
        return TPESampler(seed=seed, n_startup_trials=settings.startup, constant_liar=True)


def make_pruner(settings: StudyKind) -> BasePruner:
    """Return what decides whether a trial is given up.

    :param settings: the settings of the study
    :returns: a pruner of Optuna
    """
    from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner

    if settings.pruner == "none":
        return NopPruner()
    if settings.pruner == "hyperband":
        return HyperbandPruner(min_resource=min(settings.prune_every, settings.epochs), max_resource=settings.epochs)
    return MedianPruner(n_startup_trials=settings.startup, n_warmup_steps=0)


def quiet_optuna() -> None:
    """Silence what Optuna logs about every trial, and its remarks about ranges that a step does not divide."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", message=".*range is not divisible by `step`.*")
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
