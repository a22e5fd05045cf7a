"""One trial: train with one configuration, judge it on the validation triples, prune it if it is behind."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgneg.compare.data import CompareData
from kgneg.compare.runs import METRICS, quiet_pykeen
from kgneg.core.errors import KgnegError
from kgneg.core.seeding import global_streams_kept, mix_seeds
from kgneg.studies.kinds import StudyKind
from kgneg.studies.settings import METRIC, StudySettings
from kgneg.studies.space import Configuration

if TYPE_CHECKING:
    import optuna

__all__ = [
    "LostTrialError",
    "Peak",
    "TrialFailedError",
    "device_of",
    "measuring",
    "pipeline_arguments",
    "run_graph_trial",
    "run_trial",
    "trial_seed",
]

_PURPOSE = 0x747269616C  # keeps the seeds of trials apart from those of the search


class TrialFailedError(KgnegError, RuntimeError):
    """A configuration cannot be trained: a loss that is not finite, too little memory, arguments that do not fit."""


class LostTrialError(KgnegError, RuntimeError):
    """Others have given up this trial, because its worker was silent for too long."""


def trial_seed(study_seed: int, number: int) -> int:
    """Return the seed of a trial, below ``2**32``.

    :param study_seed: the seed of the study
    :param number: the number of the trial, or of the killed one that it repeats
    :returns: the seed

    >>> trial_seed(0, 0) == trial_seed(0, 0) != trial_seed(0, 1)
    True
    """
    return mix_seeds(study_seed, _PURPOSE, number) % 2**32


def pipeline_arguments(settings: StudySettings, configuration: Configuration, seed: int) -> dict[str, Any]:
    """Return the arguments of PyKEEN's pipeline, without the triples; nothing but what JSON can spell.

    The same dictionary trains the trial and is exported.

    :param settings: the settings of the study
    :param configuration: the configuration of the trial
    :param seed: the seed of the trial
    :returns: the arguments
    """
    return {
        "model": configuration.model,
        "model_kwargs": dict(configuration.model_kwargs),
        "loss": configuration.loss,
        "loss_kwargs": dict(configuration.loss_kwargs),
        "optimizer": configuration.optimizer,
        "optimizer_kwargs": dict(configuration.optimizer_kwargs),
        "training_loop": settings.training_loop,
        # PyKEEN would otherwise construct the sampler a second time, and draw random numbers on the way
        "training_loop_kwargs": {**configuration.training_loop_kwargs, "automatic_memory_optimization": False},
        "negative_sampler": configuration.sampler,
        "negative_sampler_kwargs": dict(configuration.sampler_kwargs),
        "training_kwargs": {
            **configuration.training_kwargs,
            "num_epochs": settings.epochs,
            "use_tqdm": False,
            "use_tqdm_batch": False,
        },
        "evaluator": "rankbased",
        "evaluator_kwargs": {"filtered": True},
        "evaluation_kwargs": {"batch_size": settings.eval_batch_size, "use_tqdm": False},
        "random_seed": seed,
        "device": device_of(settings.device),
    }


def device_of(name: str) -> str:
    """Return the device that a name stands for.

    :param name: the name; ``auto`` is a GPU if there is one
    :returns: the name of a device

    >>> device_of("cpu")
    'cpu'
    """
    import torch

    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


def run_trial(
    trial: optuna.Trial,
    settings: StudyKind,
    configuration: Any,
    seed: int,
    data: Any,
    on_epoch: Callable[[], object],
) -> float:
    """Train and judge one configuration, whatever it trains.

    :param trial: the trial, for reports of the score between the epochs
    :param settings: the settings of the study
    :param configuration: what to train
    :param seed: the seed of everything
    :param data: what is trained with
    :param on_epoch: called after each epoch; may raise
    :returns: the score on what is held out for validation
    :raises TrialFailedError: if the configuration cannot be trained
    """
    return settings.run(trial, configuration, seed, data, on_epoch)


def run_graph_trial(
    trial: optuna.Trial,
    settings: StudySettings,
    configuration: Configuration,
    seed: int,
    data: CompareData,
    on_epoch: Callable[[], object],
) -> float:
    """Train and judge one configuration.

    What was measured is kept as attributes of the trial, also when it is pruned.

    :param trial: the trial, for reports of the score between the epochs
    :param settings: the settings of the study
    :param configuration: what to train
    :param seed: the seed of everything
    :param data: the triples
    :param on_epoch: called after each epoch; may raise
    :returns: the mean reciprocal rank on the validation triples after the last epoch
    :raises TrialFailedError: if the configuration cannot be trained
    """
    watch = _watcher(settings, data, trial, on_epoch)
    arguments = pipeline_arguments(settings, configuration, seed)
    with measuring(trial, watch, arguments["device"]):
        result = _pipeline(arguments, data, watch)
    metrics = {name: float(result.metric_results.get_metric(theirs)) for name, theirs in METRICS.items()}
    trial.set_user_attr("test", metrics)
    trial.set_user_attr("final_loss", float(result.losses[-1]))
    score: float = watch.score
    return score


def _pipeline(arguments: Mapping[str, Any], data: CompareData, watch: Any) -> Any:
    """Call PyKEEN; what a configuration can be blamed for becomes :class:`TrialFailedError`."""
    from optuna.exceptions import OptunaError
    from pykeen.pipeline import pipeline

    training = {**arguments["training_kwargs"], "callbacks": watch}
    try:
        with quiet_pykeen():
            return pipeline(
                training=data.training,
                validation=data.validation,
                testing=data.testing,
                **{**arguments, "training_kwargs": training},
            )
    except (OptunaError, LostTrialError):
        raise
    except (KgnegError, MemoryError, RuntimeError, TypeError, ValueError, ArithmeticError) as error:
        name, text = type(error).__name__, " ".join(str(error).split()) or "no message"
        if name == "NonFiniteLossError":
            raise TrialFailedError("the loss is no finite number") from error
        raise TrialFailedError(f"{name}: {text}"[:1000]) from error
    finally:
        gc.collect()


def _watcher(settings: StudySettings, data: CompareData, trial: optuna.Trial, on_epoch: Callable[[], object]) -> Any:
    """Return a callback of PyKEEN's training loop that ranks, reports and prunes."""
    import optuna
    from pykeen.evaluation import evaluator_resolver
    from pykeen.training.callbacks import TrainingCallback

    class Watcher(TrainingCallback):  # type: ignore[misc,unused-ignore]
        def __init__(self) -> None:
            super().__init__()  # type: ignore[no-untyped-call,unused-ignore]
            self.begin, self.judging, self.seconds = time.perf_counter(), 0.0, 0.0
            self.epochs, self.score = 0, math.nan
            self.metrics: dict[str, float] = {}

        def register_training_loop(self, training_loop: Any) -> None:
            super().register_training_loop(training_loop)
            self.begin = time.perf_counter()

        def post_epoch(self, epoch: int, epoch_loss: float, **kwargs: Any) -> None:
            now = time.perf_counter()
            self.epochs, self.seconds = epoch, now - self.begin - self.judging
            on_epoch()
            last = epoch == settings.epochs
            if not last and (settings.pruner == "none" or epoch % settings.prune_every):
                return
            self.judge()
            if not math.isfinite(self.score):
                raise TrialFailedError("the mean reciprocal rank is no finite number")
            trial.report(self.score, epoch)
            if not last and trial.should_prune():
                raise optuna.TrialPruned
            self.judging += time.perf_counter() - now

        def judge(self) -> None:
            evaluator = evaluator_resolver.make("rankbased", {"filtered": True})
            with global_streams_kept():
                found = evaluator.evaluate(
                    model=self.model,
                    mapped_triples=data.validation.mapped_triples,
                    additional_filter_triples=[data.training.mapped_triples],
                    batch_size=settings.eval_batch_size,
                    device=self.training_loop.device,
                    use_tqdm=False,
                )
            self.score = float(found.get_metric(METRIC))
            self.metrics = {name: float(found.get_metric(theirs)) for name, theirs in METRICS.items()}

        def measured(self) -> dict[str, Any]:
            found = {"epochs": self.epochs, "seconds": round(self.seconds, 4), "validation": self.metrics or None}
            return found if self.epochs else {}

    return Watcher()


@contextmanager
def measuring(trial: optuna.Trial, watch: Any, device: str) -> Iterator[None]:
    """Keep as attributes of a trial what was measured within the context, however that ends.

    :param trial: the trial
    :param watch: has a method ``measured`` with values by name
    :param device: where the trial is trained
    :returns: a context
    """
    peak = Peak()
    trial.set_user_attr("device", device)
    try:
        yield
    finally:
        for name, value in {**watch.measured(), "peak_memory_mb": peak.megabytes()}.items():
            if value is not None:
                trial.set_user_attr(name, value)


class Peak:
    """The most memory that this process, or its GPU, held since the object was made; only Linux tells of a process."""

    def __init__(self) -> None:
        import torch

        self._cuda = torch.cuda.is_available()
        if self._cuda:
            torch.cuda.reset_peak_memory_stats()
        try:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            self._known = True
        except OSError:
            self._known = False

    def megabytes(self) -> float | None:
        """Return the peak, or ``None`` if the system does not tell."""
        import torch

        if self._cuda and torch.cuda.max_memory_allocated():
            return round(torch.cuda.max_memory_allocated() / 2**20, 1)
        if not self._known:
            return None
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 1024, 1)
        return None
