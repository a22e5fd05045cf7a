"""One run: train with one sampler and one seed, rank, and look at the negatives."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kgneg.compare.data import CompareData
from kgneg.compare.falsehood import count_true
from kgneg.compare.samplers import SamplerChoice
from kgneg.compare.settings import CompareSettings
from kgneg.core.errors import KgnegError

__all__ = ["METRICS", "RunFailedError", "quiet_pykeen", "train_once"]

#: our name of a metric -> PyKEEN's
METRICS = {
    "mrr": "both.realistic.inverse_harmonic_mean_rank",
    "hits_at_1": "both.realistic.hits_at_1",
    "hits_at_3": "both.realistic.hits_at_3",
    "hits_at_10": "both.realistic.hits_at_10",
}


class RunFailedError(KgnegError, RuntimeError):
    """A run of a comparison could not be finished; the message names sampler and seed."""


@contextmanager
def quiet_pykeen() -> Iterator[None]:
    """Silence what PyKEEN and torch log and warn about; errors still come through."""
    loggers = [logging.getLogger(name) for name in ("pykeen", "torch_max_mem", "torch_ppr")]
    levels = [logger.level for logger in loggers]
    root = logging.getLogger()
    before = root.level
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        if before < logging.WARNING:  # PyKEEN logs some lines at the root
            root.setLevel(logging.WARNING)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(pykeen|torch|torch_max_mem|class_resolver)(\.|$)")
            yield
    finally:
        root.setLevel(before)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def train_once(
    settings: CompareSettings, choice: SamplerChoice, seed: int, data: CompareData, on_epoch: Callable[[], object]
) -> dict[str, Any]:
    """Train and judge one model.

    :param settings: what is equal for all runs
    :param choice: the sampler, with its texts
    :param seed: the seed of everything
    :param data: the triples
    :param on_epoch: called after each epoch
    :returns: what goes into the results: sampler, seed, loop, metrics, losses (one per epoch), negatives, seconds
    :raises RunFailedError: if a loss or a metric is not finite, or anything else goes wrong
    """
    where = f"sampler {choice.label}, seed {seed}"
    try:
        with quiet_pykeen():
            result, sampler = _pipeline(settings, choice, seed, data, on_epoch)
            negatives = count_true(
                choice, data, negatives=settings.negatives, at_least=settings.checked, seed=seed, sampler=sampler
            )
    except Exception as error:  # whatever it is, the other runs are safe and the user learns which run it was
        if type(error).__name__ == "NonFiniteLossError":
            raise RunFailedError(f"{where}: the loss is no finite number; try a lower learning rate") from error
        reason = " ".join(str(error).split()) or "no message"
        text = reason if isinstance(error, KgnegError) else f"{type(error).__name__}: {reason}"
        raise RunFailedError(f"{where}: {text}") from error
    metrics = {name: float(result.metric_results.get_metric(theirs)) for name, theirs in METRICS.items()}
    losses = [float(loss) for loss in result.losses]
    wrong = [name for name, value in {**metrics, "loss": sum(losses)}.items() if not math.isfinite(value)]
    if wrong:
        raise RunFailedError(f"{where}: {', '.join(wrong)} is no finite number; try a lower learning rate")
    return {
        "sampler": choice.label,
        "seed": seed,
        "loop": settings.loop_of(choice),
        "metrics": metrics,
        "losses": losses,
        "negatives": negatives,
        "seconds": {"training": round(result.train_seconds, 3), "evaluation": round(result.evaluate_seconds, 3)},
    }


def _pipeline(
    settings: CompareSettings, choice: SamplerChoice, seed: int, data: CompareData, on_epoch: Callable[[], object]
) -> tuple[Any, Any]:
    """Call PyKEEN; return its result, and the sampler as training left it if it looks at the model."""
    from pykeen.pipeline import pipeline
    from pykeen.training.callbacks import TrainingCallback

    class Ticker(TrainingCallback):  # type: ignore[misc,unused-ignore]
        def post_epoch(self, epoch: int, epoch_loss: float, **kwargs: Any) -> None:
            trainer: Any = self.training_loop
            if choice.needs_model:
                samplers[:] = [trainer.drawing_sampler]  # the loop lets go of it when it is done
            on_epoch()

    samplers: list[Any] = []
    loop = settings.loop_of(choice)
    result = pipeline(
        training=data.training,
        validation=data.validation,
        testing=data.testing,
        model=settings.model,
        model_kwargs=dict(settings.model_arguments),
        loss=settings.loss,
        optimizer="adam",
        optimizer_kwargs={"lr": settings.learning_rate},
        training_loop=loop,
        training_loop_kwargs={
            "automatic_memory_optimization": False,
            **({"updates": "dense"} if loop == "kgneg" else {}),  # as PyKEEN's loop trains
        },
        negative_sampler=choice.name,
        negative_sampler_kwargs={**choice.options, "num_negs_per_pos": settings.negatives},
        training_kwargs={
            "num_epochs": settings.epochs,
            "batch_size": settings.batch_size,
            "use_tqdm": False,
            "use_tqdm_batch": False,
            "callbacks": Ticker,
        },
        evaluator_kwargs={"filtered": True},
        evaluation_kwargs={"batch_size": settings.eval_batch_size, "use_tqdm": False},
        device=None if settings.device == "auto" else settings.device,
        random_seed=seed,
    )
    return result, samplers[0] if samplers else None
