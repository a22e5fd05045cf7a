"""One loop that trains every recommender."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from kgneg.core.cache import content_key
from kgneg.core.distributed import barrier, ensure_started, is_main, mean_over_ranks, part_of_batch, rank, world_size
from kgneg.core.errors import DivergedError, InvalidInputError
from kgneg.core.exchange import exchange_gradients
from kgneg.core.seeding import mix_seeds
from kgneg.core.validation import validate_device
from kgneg.recsys._matching import check_tables
from kgneg.recsys.checkpoint import read_checkpoint, write_checkpoint
from kgneg.recsys.history import History
from kgneg.recsys.interactions import Interactions
from kgneg.recsys.popularity import Popularity
from kgneg.recsys.recommender import Recommender
from kgneg.recsys.settings import split_metric

if TYPE_CHECKING:
    from kgneg.recsys.trained import TrainedRecommender

__all__ = ["Trainer"]

logger = logging.getLogger(__name__)

_START, _ORDER, _DRAWS, _HEALTH = 1, 2, 3, 4  # keep the streams of random numbers apart
#: settings that another run of the same training may change
_FREE = ("epochs", "device")


class Trainer:
    """Train a model on pairs: shuffle, step, look at validation, keep the best, stop in time.

    Every epoch draws from generators of its own that are made from the seed and its number. So a training that is
    interrupted anywhere and goes on from the last checkpoint ends like one that was not, and no other random stream is
    touched. Gradients of the processes of ``torchrun`` are summed; each process has a contiguous part of each batch.

    :param model: the model, whose ``training_settings`` say how to train
    :param train: the pairs to learn from
    :param valid: the pairs that decide when to stop
    :param hide: more pairs to leave out of the ranks in validation
    :param checkpoint: a file for the state of training, or ``None``
    :param progress: whether to show a progress bar; ``None``: if there is a terminal
    :param on_epoch: called with the entry of the history after each epoch; what it raises ends the training
    :raises InvalidInputError: if there are no pairs, or tables differ
    """

    def __init__(
        self,
        model: TrainedRecommender,
        train: Interactions,
        valid: Interactions | None = None,
        *,
        hide: Interactions | None = None,
        checkpoint: str | Path | None = None,
        progress: bool | None = None,
        on_epoch: Callable[[Mapping[str, Any]], object] | None = None,
    ) -> None:
        _check_pairs(train, valid)
        _, k = split_metric(model.training_settings.metric)
        if valid is not None and k > train.num_items:
            raise InvalidInputError(
                f"the metric {model.training_settings.metric} needs lists of {k} items, but there are only "
                f"{train.num_items}: take a shorter one, such as recall@{max(1, train.num_items // 4)}"
            )
        self.model, self.train, self.valid, self.progress = model, train, valid, progress
        self.hide = () if hide is None else (hide,)
        self.on_epoch = on_epoch
        self.settings = model.training_settings
        self.checkpoint = None if checkpoint is None else Path(checkpoint)
        self.device = validate_device(self.settings.device)
        self.best: dict[str, torch.Tensor] | None = None
        self.good: dict[str, torch.Tensor] | None = None
        self.floor: float | None = None
        self.warned = False

    def run(self) -> History:
        """Train.

        :returns: what happened
        :raises DivergedError: if the loss is not finite; the model is then that of the last good epoch
        """
        from tqdm.auto import tqdm

        ensure_started()
        settings, model = self.settings, self.model
        model.prepare(self.train, self._generator(_START, 0, "cpu"))
        model.to(self.device).train()
        parameters = [one for one in model.parameters() if one.requires_grad]
        optimizer = torch.optim.Adam(parameters, lr=settings.lr, weight_decay=model.weight_decay(), fused=True)
        scaler = torch.amp.GradScaler(self.device.type, enabled=settings.precision == "float16")
        history = History(metric=settings.metric if self.valid is not None else "")
        if self.checkpoint is not None and self.checkpoint.exists():
            history, self.best = read_checkpoint(self.checkpoint, self._key, model, optimizer, scaler)
            if len(history.epochs) > settings.epochs:
                raise InvalidInputError(
                    f"{self.checkpoint} has {len(history.epochs)} epochs already, more than epochs={settings.epochs}: "
                    "give at least as many, or remove it to train from the beginning"
                )
        model.history = history
        bar = tqdm(
            total=settings.epochs,
            initial=len(history.epochs),
            unit="epoch",
            disable=None if self.progress is None else not self.progress,
        )
        try:
            with bar:
                while not history.stopped:
                    if len(history.epochs) >= settings.epochs:
                        history.stopped = "epochs"
                        break
                    self._epoch(history, optimizer, scaler, parameters)
                    if self.on_epoch is not None:
                        self.on_epoch(history.epochs[-1])
                    bar.update()
                    bar.set_postfix(_in_short(history), refresh=False)
        finally:  # whatever ended it, the model is the best so far, ready to answer
            self._finish(history)
        return history

    # One epoch

    def _epoch(
        self,
        history: History,
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        parameters: list[torch.nn.Parameter],
    ) -> None:
        number = len(history.epochs)
        begin = time.perf_counter()
        loss = self._steps(number, optimizer, scaler, parameters)
        entry: dict[str, Any] = {"epoch": number + 1, "loss": loss, "seconds": time.perf_counter() - begin}
        if not math.isfinite(loss) or not all(bool(one.isfinite().all()) for one in parameters):
            self._diverged(history, entry)
        history.epochs.append(entry)
        self.model.forget()
        if (number + 1) % self.settings.evaluate_every == 0 or number + 1 == self.settings.epochs:
            self._look(history, entry)
        if self.best is None:
            self.good = _copy(self.model)
        if self.checkpoint is not None:
            if is_main():
                state, scaling = self.model.state_dict(), scaler.state_dict()
                write_checkpoint(self.checkpoint, self._key, history, state, self.best, optimizer, scaling)
            barrier()

    def _steps(
        self,
        epoch: int,
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        parameters: list[torch.nn.Parameter],
    ) -> float:
        """Go through all pairs once and return the mean loss."""
        settings, model, device = self.settings, self.model, self.device
        order = torch.randperm(len(self.train), generator=self._generator(_ORDER, epoch, device), device=device)
        draws = self._generator(_DRAWS, epoch, device, rank())
        users, items = (column.to(device)[order] for column in (self.train.users, self.train.items))
        size = settings.pairs_per_step(len(users))
        steps = -(-len(users) // size)
        precision = getattr(torch, settings.precision)
        total = torch.zeros((), device=device)
        model.before_epoch()
        for step, (some_users, some_items) in enumerate(
            zip(torch.split(users, size), torch.split(items, size), strict=True)
        ):
            mine = part_of_batch(len(some_users), rank(), world_size())
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device.type, dtype=precision, enabled=settings.precision != "float32"):
                loss = model.loss(some_users[mine], some_items[mine], draws)
            share = (mine.stop - mine.start) / len(some_users)
            mean = (loss.float().mean() if loss.numel() else loss.float().sum()) * share
            scaler.scale(mean).backward()
            exchange_gradients(parameters)
            scaler.step(optimizer)
            scaler.update()
            model.after_step(epoch * steps + step, settings.epochs * steps)
            total += mean.detach() * len(some_users)
        return mean_over_ranks(float(total)) * world_size() / len(users)

    def _generator(self, purpose: int, number: int, device: torch.device | str, *more: int) -> torch.Generator:
        seed = mix_seeds(self.settings.seed, purpose, number, *more)
        return torch.Generator(device=device).manual_seed(seed)

    # Validation

    def _look(self, history: History, entry: dict[str, Any]) -> None:
        """Evaluate, keep the best, and see whether to stop; without validation pairs only see to collapses."""
        self.model.eval()
        if self.valid is not None:
            entry["value"] = self._value()
            if self.floor is None:
                self.floor = self._value(Popularity().fit(self.train))
        draws = self._generator(_HEALTH, entry["epoch"], "cpu")
        found = self.model.health(entry["loss"], entry.get("value"), self.floor, draws)
        entry["health"] = found.to_dict()
        if found.collapsed and not self.warned:
            self.warned = True
            logger.warning("the embeddings have collapsed in epoch %d: %s", entry["epoch"], "; ".join(found.why))
        self.model.train()
        self.model.forget()
        if self.valid is None:
            return
        if history.best_value is None or entry["value"] > history.best_value:
            history.best_value, history.best_epoch = entry["value"], entry["epoch"]
            self.best, self.good = _copy(self.model), None
        looks = [one for one in history.epochs if "value" in one]
        since = [one for one in looks if one["epoch"] > (history.best_epoch or 0)]
        worse = len(since) if self.settings.patience_resets else _without_improvement(looks)
        if self.settings.patience and worse >= self.settings.patience:
            history.stopped = "patience"

    def _value(self, model: Recommender | None = None) -> float:
        """Return the metric on the validation pairs; each process ranks for a part of the users."""
        from kgneg.recsys.evaluation import evaluate

        valid = self.valid
        if valid is None:
            return math.nan
        if world_size() > 1:
            mine = (valid.users % world_size() == rank()) & (self.train.user_counts[valid.users] > 0)
            valid = valid.select(mine)
        value, number = 0.0, 0
        if len(valid):
            name, k = split_metric(self.settings.metric)
            found = evaluate(
                model or self.model, valid, hide=self.hide, ks=(k,), metrics=(name,), by_user=False, beyond=False
            )
            value, number = found.metrics[self.settings.metric], len(found.users)
        return mean_over_ranks(value * number) / max(mean_over_ranks(float(number)), 1e-9)

    # The end

    def _finish(self, history: History) -> None:
        """Leave the model as the best epoch, ready to answer."""
        if history.stopped == "diverged":
            pass  # that has been done
        elif self.best is not None:
            self.model.load_state_dict(self.best)
        elif history.epochs:
            history.best_epoch = history.epochs[-1]["epoch"]
        self.model.before_epoch()
        self.model.forget()
        self.model.eval()

    def _diverged(self, history: History, entry: dict[str, Any]) -> None:
        """Go back to the last good state and stop."""
        good = self.best if self.best is not None else self.good
        epoch = history.best_epoch if self.best is not None else len(history.epochs)
        if good is None:
            self.model.prepare(self.train, self._generator(_START, 0, "cpu"))
            self.model.to(self.device)
        else:
            self.model.load_state_dict(good)
        history.stopped = "diverged"
        raise DivergedError(
            f"the loss of epoch {entry['epoch']} is {entry['loss']}, or a parameter is no number any more: training "
            f"stopped, and the model is that of epoch {epoch}. Take a smaller lr than {self.settings.lr:g}"
            + ("" if self.settings.precision == "float32" else ", or precision='float32'")
            + (f"; {self.checkpoint} holds the last good epoch." if self.checkpoint is not None else ".")
        )

    @cached_property
    def _key(self) -> str:
        """Return what is trained on what."""
        free = _FREE if self.model.options.get("momentum_schedule") != "cosine" else ("device",)  # that one plans ahead
        settings = {name: value for name, value in self.settings.to_dict().items() if name not in free}
        valid = "" if self.valid is None else self.valid.fingerprint()
        hidden = [one.fingerprint() for one in self.hide]
        model = [type(self.model).__name__, self.model.options, self.model.identity()]
        return content_key(settings, model, self.train.fingerprint(), valid, hidden, world_size())


def _check_pairs(train: Interactions, valid: Interactions | None) -> None:
    if not len(train):
        raise InvalidInputError("there are no training pairs: check the file, its filters and the shares of the split")
    if valid is None:
        return
    check_tables(train, valid, "validation")
    if not len(valid):
        raise InvalidInputError("there are no validation pairs: give valid=None to train without, or a larger share")
    both = int(train.contains(valid.users, valid.items).sum())
    if both:
        raise InvalidInputError(
            f"{both} validation pairs are also training pairs, which are left out of the lists: take them out of one"
        )


def _copy(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _without_improvement(looks: list[dict[str, Any]]) -> int:
    """Return how many of all looks brought no improvement."""
    best, number = -math.inf, 0
    for one in looks:
        number += one["value"] <= best
        best = max(best, one["value"])
    return number


def _in_short(history: History) -> dict[str, str]:
    """Return what stands beside the bar."""
    shown = {"loss": f"{history.epochs[-1]['loss']:.4f}"}
    if history.best_value is not None:
        shown[history.metric] = f"{history.best_value:.4f} (epoch {history.best_epoch})"
    return shown
