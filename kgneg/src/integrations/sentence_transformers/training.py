"""Fine-tuning of encoders by the trainer of sentence-transformers."""

from __future__ import annotations

import logging
import math
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from kgneg.core.encode import bars_hidden, token_counts
from kgneg.core.errors import DivergedError, InvalidInputError, MissingExtraError
from kgneg.core.seeding import global_streams_kept
from kgneg.core.typing import LongTensor
from kgneg.core.validation import validate_count, validate_number
from kgneg.integrations.sentence_transformers.batches import LengthBatches
from kgneg.integrations.sentence_transformers.losses import EntityLoss

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["FineTuning", "check_trainer", "fine_tune"]

_NO_LIMIT = 1_000_000
#: what has to be in the folder of a state
_STATE = ("trainer_state.json", "optimizer.pt", "scheduler.pt", "rng_state.pth")

logger = logging.getLogger(__name__)


class FineTuning(NamedTuple):
    """What a training was like."""

    steps: int
    #: the mean loss of each tenth of the training
    losses: tuple[float, ...]
    #: texts that are longer than the encoder reads, and were cut
    truncated: int
    #: how many word pieces it reads
    limit: int
    seconds: float


def fine_tune(
    model: SentenceTransformer,
    loss: EntityLoss,
    texts: Sequence[str],
    queries: LongTensor,
    entities: LongTensor,
    *,
    steps: int,
    batch_size: int = 32,
    lr: float = 5e-5,
    warmup: float = 0.1,
    weight_decay: float = 0.01,
    trainable_layers: int | None = None,
    max_length: int | None = None,
    folder: str | Path | None = None,
    save_every: int | None = None,
    every: int | None = None,
    on_every: Callable[[int], Any] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> FineTuning:
    """Train an encoder, in place, on pairs of a text and an entity; each pair is a row.

    Texts of about the same length make a batch. With a folder the state is kept there, and a call with the same
    arguments goes on where the last one was interrupted. The global streams of random numbers are left as they were.

    :param model: the encoder
    :param loss: see :mod:`kgneg.integrations.sentence_transformers.losses`
    :param texts: the texts
    :param queries: shape: ``(k,)``, the text of each pair
    :param entities: shape: ``(k,)``, its entity
    :param steps: how many batches; passes over the rows are repeated as needed
    :param batch_size: rows per step
    :param lr: the largest learning rate of AdamW; it rises from 0, and falls to 0
    :param warmup: the share of the steps in which it rises
    :param weight_decay: the weight decay
    :param trainable_layers: train only so many of the last layers of the transformer; ``None`` trains everything. With
        two of six layers a step takes about half of the time
    :param max_length: how many word pieces of a text are read in training; ``None`` takes what the encoder reads
    :param folder: where the state is kept
    :param save_every: steps between two states; ``None`` takes ``every``, or a tenth of all
    :param every: call ``on_every`` after so many steps, but not at the end
    :param on_every: is told the step
    :param seed: the seed of order and dropout
    :param progress: whether to show a progress bar
    :returns: what it was like
    :raises InvalidInputError: if a number does not fit
    :raises DivergedError: if the loss is no number any more
    :raises MissingExtraError: if the trainer needs a package that is not installed
    """
    _validate(steps, batch_size, lr, weight_decay, warmup)
    parts = _libraries()
    begin = time.perf_counter()
    lengths = token_counts(model, texts)
    limit = int(min(model.max_seq_length or _NO_LIMIT, _NO_LIMIT))
    limit = limit if max_length is None else min(limit, validate_count("max_length", max_length, 3))
    truncated = int((lengths > limit).sum())
    if truncated:
        logger.warning("%d of %d texts are longer than the %d word pieces that are read", truncated, len(texts), limit)
    rows = parts.dataset.from_dict(
        {
            "anchor": [texts[one] for one in queries.tolist()],
            "label": torch.stack([queries, entities], dim=-1).tolist(),
        }
    )

    with (
        tempfile.TemporaryDirectory() as scratch,
        global_streams_kept(),
        _frozen(model, trainable_layers),
        _reading(model, limit),
        _quiet(),
    ):
        here = Path(folder or scratch)
        arguments = parts.arguments(
            output_dir=str(here),
            max_steps=steps,
            per_device_train_batch_size=batch_size,
            learning_rate=lr,
            warmup_steps=math.ceil(warmup * steps),
            weight_decay=weight_decay,
            seed=seed,
            data_seed=seed,
            save_strategy="no" if folder is None else "steps",
            save_steps=save_every or every or max(steps // 10, 1),
            save_total_limit=1,
            logging_steps=max(steps // 10, 1),
            logging_nan_inf_filter=False,
            disable_tqdm=not progress,
            report_to="none",
            dataloader_pin_memory=False,
            use_cpu=model.device.type == "cpu",
        )
        sizes = lengths.clamp(max=limit)[queries].tolist()
        watcher = parts.watcher(loss, every, on_every)
        trainer = parts.trainer(sizes, model=model, args=arguments, train_dataset=rows, loss=loss, callbacks=[watcher])
        trainer.train(resume_from_checkpoint=_last_state(here))
        losses = tuple(entry["loss"] for entry in trainer.state.log_history if "loss" in entry)
    model.eval()
    return FineTuning(steps, losses, truncated, limit, time.perf_counter() - begin)


def check_trainer(model: SentenceTransformer, layers: int | None = None) -> None:
    """Refuse what cannot be trained, before any work is done.

    :param model: the encoder
    :param layers: how many of its last layers are to be trained; ``None``: all
    :raises InvalidInputError: if it does not have so many layers
    :raises MissingExtraError: if the trainer needs a package that is not installed
    """
    _libraries()
    if layers is not None:
        _last_layers(model, layers)


def _last_layers(model: nn.Module, layers: int) -> nn.ModuleList:
    first: nn.Module = next(model.children())
    stacks = [one for one in first.modules() if isinstance(one, nn.ModuleList)]
    stack = max(stacks, key=len, default=nn.ModuleList())
    if not len(stack):
        raise InvalidInputError("the encoder has no layers to choose from: train all of it, trainable_layers=None")
    if not 1 <= layers <= len(stack):
        raise InvalidInputError(f"trainable_layers must be in [1, {len(stack)}], the layers of the encoder: {layers}")
    return stack[len(stack) - layers :]


def _validate(steps: int, batch_size: int, lr: float, weight_decay: float, warmup: float) -> None:
    for name, value in (("steps", steps), ("batch_size", batch_size)):
        validate_count(name, value)
    validate_number("lr", lr, above=True)
    validate_number("weight_decay", weight_decay)
    if not 0 <= warmup <= 1:
        raise InvalidInputError(f"warmup must be a share in [0, 1], got {warmup!r}")


class _Libraries(NamedTuple):
    dataset: Any
    arguments: Any
    trainer: Any
    watcher: Any


def _libraries() -> _Libraries:
    """Return what the trainer is made of."""
    try:
        import accelerate  # type: ignore[import-untyped]  # noqa: F401
        from datasets import Dataset
        from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
        from transformers import PrinterCallback, TrainerCallback
    except ImportError as error:
        raise MissingExtraError("datasets and accelerate are needed: pip install 'kgneg[train]'") from error

    class Trainer(SentenceTransformerTrainer):
        """The trainer with batches of about the same length, and without what it writes on screens and model cards."""

        def __init__(self, sizes: Sequence[int], **options: Any) -> None:
            self.sizes = sizes
            super().__init__(**options)
            self.remove_callback(PrinterCallback)

        def get_batch_sampler(  # type: ignore[override]
            self, dataset: Any, batch_size: int, drop_last: bool, **_: Any
        ) -> LengthBatches:
            return LengthBatches(self.sizes, batch_size, drop_last, self.args.seed)

        def add_model_card_callback(self, *_: Any, **__: Any) -> None:
            pass

    class Watcher(TrainerCallback):
        """Tells the loss which step it is, and looks at what comes out."""

        def __init__(self, loss: EntityLoss, every: int | None, on_every: Callable[[int], Any] | None) -> None:
            self.loss, self.every, self.on_every = loss, every, on_every

        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            step = self.loss.step = state.global_step
            if self.every is not None and self.on_every is not None and step and step % self.every == 0:
                self.on_every(step)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if not math.isfinite((logs or {}).get("loss", 0.0)):
                raise DivergedError(f"the loss is no number at step {state.global_step}: take a smaller learning rate")

    return _Libraries(Dataset, SentenceTransformerTrainingArguments, Trainer, Watcher)


def _last_state(folder: Path) -> str | None:
    """Return the folder of the last whole state; those that a kill cut off are removed."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda one: int(one.name.partition("-")[2]), reverse=True)
    for one in found:
        if all((one / name).is_file() for name in _STATE) and any(one.rglob("*.safetensors")):
            return str(one)
        shutil.rmtree(one)
    return None


@contextmanager
def _frozen(model: nn.Module, layers: int | None) -> Iterator[None]:
    """Keep all but the last layers of a transformer as they are."""
    if layers is None:
        yield
        return
    last = _last_layers(model, layers)
    before = [(one, one.requires_grad) for one in next(model.children()).parameters()]
    try:
        for one, _ in before:
            one.requires_grad_(False)
        last.requires_grad_(True)
        yield
    finally:
        for one, needed in before:
            one.requires_grad_(needed)


@contextmanager
def _reading(model: SentenceTransformer, limit: int) -> Iterator[None]:
    """Let a model read so many word pieces."""
    before = model.max_seq_length
    if limit < _NO_LIMIT:
        model.max_seq_length = limit
    try:
        yield
    finally:
        model.max_seq_length = before


@contextmanager
def _quiet() -> Iterator[None]:
    from transformers.utils import logging as noise

    before = noise.get_verbosity()
    noise.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        with bars_hidden():
            yield
    finally:
        noise.set_verbosity(before)
