"""The training loop."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from class_resolver import HintOrType, OptionalKwargs
from pykeen.losses import Loss
from pykeen.models import Model
from pykeen.sampling import NegativeSampler
from pykeen.training.training_loop import NonFiniteLossError
from pykeen.triples import CoreTriplesFactory
from pykeen.typing import FloatTensor, InductiveMode

from kgneg.core.distributed import (
    barrier,
    ensure_started,
    is_main,
    mean_over_ranks,
    world_size,
)
from kgneg.core.errors import InvalidInputError
from kgneg.core.exchange import exchange_gradients
from kgneg.core.rowwise import RowAdam
from kgneg.core.validation import validate_count
from kgneg.integrations.pykeen.confidence import make_weighter
from kgneg.integrations.pykeen.training.batch import TrainingBatch
from kgneg.integrations.pykeen.training.choice import agrees, check_scoring, grouping_problem, report_once
from kgneg.integrations.pykeen.training.clipping import Clipping, adapt_callbacks
from kgneg.integrations.pykeen.training.hooks import listed_hooks
from kgneg.integrations.pykeen.training.loader import EpochBatches
from kgneg.integrations.pykeen.training.optimizers import rowwise
from kgneg.integrations.pykeen.training.queries import QueryForm, query_form
from kgneg.integrations.pykeen.training.regularization import OutputRegularization
from kgneg.integrations.pykeen.training.sampled import SampledTrainingLoop
from kgneg.integrations.pykeen.training.scoring import FlatScorer, GroupedScorer, QueryScorer, Scorer
from kgneg.integrations.pykeen.training.streams import sampler_state
from kgneg.integrations.pykeen.training.tables import RowTables
from kgneg.integrations.pykeen.training.versions import training_triples

__all__ = ["KgnegTrainingLoop"]

logger = logging.getLogger(__name__)

#: Embeddings with fewer rows get dense updates unless row-wise ones are asked for: nothing is to be gained there.
ROWWISE_FROM = 4096
_UPDATES = ("auto", "rows", "dense")


class KgnegTrainingLoop(SampledTrainingLoop):
    """PyKEEN's sLCWA training that touches only the rows of a batch and scores negatives by side.

    Everything that PyKEEN's own loop takes works here: models, losses, samplers, masks, weights, sub-batches,
    regularisers, callbacks, checkpoints, early stopping, evaluation loss and trackers. What differs:

    - Triples, batches and negatives are made on the device of the model. Worker processes share the batches of an
      epoch, so every triple is seen once (in PyKEEN 1.11, ``k`` workers train on the first ``1/k`` of the triples).
    - Negatives are scored by side. Where the model's score compares an entity with a query (DistMult, ComplEx, TransE,
      RotatE), candidates are read where they lie in the table; elsewhere ``score_h(heads=)`` and ``score_t(tails=)``
      are used if they give the same scores, which is checked once per model class; otherwise one by one.
    - Large embeddings get row-wise updates: gradient, optimiser step and constraint touch only the rows of the batch,
      so the cost of a batch does not grow with the number of entities. With SGD (no momentum) and Adagrad the result is
      that of dense updates; Adam becomes lazy Adam, see :class:`~kgneg.core.rowwise.adam.RowAdam`.

    :param updates: ``"auto"`` updates embeddings of at least 4,096 rows row by row; ``"rows"`` all embeddings;
        ``"dense"`` none, which gives the losses of PyKEEN's loop
    :param scoring: ``"auto"``, or the one way to score: ``"queries"``, ``"grouped"`` or ``"flat"``
    :param shared: how many positives share one pool of negatives, of the size ``num_negs_per_pos``, which is scored by
        a matrix product; ``None`` draws negatives for each positive
    :param negative_sampler: the sampler, as in PyKEEN
    :param negative_sampler_kwargs: its arguments
    :param kwargs: the arguments of :class:`pykeen.training.TrainingLoop`
    :raises InvalidInputError: if an option is unknown

    >>> from pykeen.pipeline import pipeline
    >>> result = pipeline(
    ...     dataset="nations", model="distmult", training_loop="kgneg", negative_sampler="kgneg-uniform", epochs=2,
    ...     training_kwargs=dict(use_tqdm=False), evaluation_kwargs=dict(use_tqdm=False), random_seed=0, device="cpu",
    ... )
    >>> len(result.losses)
    2
    """

    def __init__(
        self,
        *,
        updates: str = "auto",
        scoring: str = "auto",
        shared: int | None = None,
        negative_sampler: HintOrType[NegativeSampler] = None,
        negative_sampler_kwargs: OptionalKwargs = None,
        **kwargs: Any,
    ) -> None:
        if updates not in _UPDATES:
            raise InvalidInputError(f"updates must be one of {', '.join(_UPDATES)}, got {updates!r}")
        self.updates, self.scoring = updates, check_scoring(scoring)
        self.shared = None if shared is None else validate_count("shared", shared)
        ensure_started()
        if not is_main():
            kwargs["result_tracker"] = kwargs["result_tracker_kwargs"] = None
        super().__init__(negative_sampler=negative_sampler, negative_sampler_kwargs=negative_sampler_kwargs, **kwargs)
        self._dense = updates == "dense"
        if not self._dense:
            self._convert_optimizer()
        self._clipping = Clipping()
        self._scorer: Scorer | None = None
        self._tables: RowTables | None = None
        self._form: QueryForm | None = None

    # Set-up

    def _convert_optimizer(self) -> None:
        """Take the optimiser's row-wise variant; where there is none, updates are dense."""
        variant = rowwise(self.optimizer)
        if variant is None:
            if self.updates == "rows":
                raise InvalidInputError(
                    f"there are no row-wise updates for {type(self.optimizer).__name__} with these options: take Adam, "
                    'AdamW, Adagrad or SGD, or updates="dense"'
                )
            logger.info("updates are dense: there are no row-wise ones for %s", type(self.optimizer).__name__)
            self._dense = True
            return
        if self.lr_scheduler is not None and variant is not self.optimizer:
            self.lr_scheduler.optimizer = variant
        self.optimizer = variant

    # Runs

    def _train(self, *args: Any, **kwargs: Any) -> list[float] | None:
        outer = self._sampler, self._clipping, self._tables, self._scorer, self._form
        probing, state = kwargs.get("only_size_probing", False), self._sampler_state
        if not kwargs.get("continue_training", False):
            self._sampler_state = None
        names = ("gradient_clipping_max_norm", "gradient_clipping_norm_type", "gradient_clipping_max_abs_value")
        self._sampler, self._clipping = None, Clipping(*(kwargs.pop(name, None) for name in names))
        if not is_main():
            kwargs.update(use_tqdm=False, save_checkpoints=False)
        try:
            losses: list[float] | None = super()._train(*args, **kwargs)
            if not probing:
                state = None if self._sampler is None else sampler_state(self._sampler)
                barrier()  # until the first process has written its last checkpoint
            return losses
        finally:
            self._sampler_state = state
            self._sampler, self._clipping, self._tables, self._scorer, self._form = outer

    def _create_training_data_loader(
        self,
        triples_factory: CoreTriplesFactory,
        *,
        sampler: Any,
        batch_size: int,
        drop_last: bool,
        num_workers: int = 0,
        **kwargs: Any,
    ) -> Any:
        triples, num_relations = training_triples(triples_factory, self.model)
        sizes = triples_factory.num_entities, num_relations
        weighter = make_weighter(self.loss_weighter, self.loss_weighter_kwargs, triples, *sizes)
        if sampler is not None:
            if self.shared is not None:
                raise InvalidInputError(
                    f"shared={self.shared} does not go with sampler={sampler!r}: leave out one of both"
                )
            if world_size() > 1:
                raise InvalidInputError(
                    f"sampler={sampler!r} draws subgraphs, which {world_size()} processes cannot part: "
                    "leave it out, or start one process"
                )
            given = self.loss_weighter, self.loss_weighter_kwargs
            self.loss_weighter, self.loss_weighter_kwargs = weighter, None
            try:
                loader = super()._create_training_data_loader(
                    triples_factory,
                    sampler=sampler,
                    batch_size=batch_size,
                    drop_last=drop_last,
                    num_workers=num_workers,
                    **kwargs,
                )
            finally:
                self.loss_weighter, self.loss_weighter_kwargs = given
            dataset: Any = loader.dataset
            self._adopt(dataset.negative_sampler)
            return loader
        negative_sampler = self._make_sampler(triples, *sizes)
        self._adopt(negative_sampler)
        return EpochBatches(
            triples,
            negative_sampler,
            batch_size=batch_size,
            drop_last=drop_last,
            device=self.model.device,
            num_workers=num_workers or 0,
            shared=self.shared,
            loss_weighter=weighter,
        )

    # One epoch

    def _train_epoch(
        self,
        batches: Any,
        callbacks: Any,
        sub_batch_size: int | None,
        label_smoothing: float,
        slice_size: int | None,
        epoch: int,
        only_size_probing: bool,
        backward: bool = True,
    ) -> float:
        total: Any = 0.0
        number = len(batches)
        self._prepare_scoring()
        adapt_callbacks(callbacks.callbacks, self.model)
        with self._reading(backward), listed_hooks(self.model):
            for i, batch in enumerate(batches):
                callbacks.pre_batch()
                size = self._get_batch_size(batch)
                step = sub_batch_size or max(1, size)
                for start in range(0, size, step):
                    stop = min(start + step, size)
                    loss = self._forward_pass(batch, start, stop, size, label_smoothing, slice_size, backward)
                    total += loss
                    callbacks.on_batch(epoch=epoch, batch=batch, batch_loss=loss)
                if backward:
                    self._finish_gradients()
                callbacks.pre_step()
                callbacks.post_batch(epoch=epoch, batch=batch)
                if only_size_probing and i:
                    break
        total = float(total)
        if world_size() > 1:
            total = world_size() * mean_over_ranks(total)
        self._check_finite(torch.tensor(total))
        self.optimizer.zero_grad()
        self._free_graph_and_cache()  # type: ignore[no-untyped-call]
        mean: float = total / number
        return mean

    def _finish_gradients(self) -> None:
        """Write what the tables collected, sum it over processes, and clip it."""
        if self._tables is not None:
            self._tables.flush()
        if world_size() > 1:
            exchange_gradients(self.model.get_grad_params())
        if self._clipping:
            self._clipping.apply(self.model.get_grad_params())

    def _reading(self, backward: bool) -> AbstractContextManager[None]:
        if self._tables is None:
            return nullcontext()
        return self._tables.reading(self.optimizer if backward else None)

    def _prepare_scoring(self) -> None:
        """Make the row tables, once the model is where it will be trained."""
        # rounding differences grow over epochs: to reproduce losses, negatives are scored as PyKEEN does
        self._way = "flat" if (self.scoring, self.updates) == ("auto", "dense") else self.scoring
        form = query_form(self.model) if self._way in ("auto", "queries") else None
        keep = () if form is None else (form.entities,)
        minimum = {"auto": ROWWISE_FROM, "rows": 0, "dense": 2**62}[self.updates]
        self._tables = RowTables(self.model, minimum=minimum, keep=keep, dense=self._dense)
        self._regularization = OutputRegularization(self.model)
        self._device = self.model.device  # PyKEEN looks at every parameter to find it
        self._form = form
        self._scorer = None

    def _choose(self, batch: TrainingBatch) -> Scorer:
        """Choose the way of scoring at the first batch of an epoch."""
        if self._way == "flat":
            return FlatScorer()
        problem = grouping_problem(self.model)
        if problem is None and batch.sided is None:
            problem = "its sampler does not replace one end of each positive"
        if problem is None and not self._regularization.possible:
            problem = "its regulariser cannot be split by side"
        candidates: list[Scorer] = []
        if self._form is not None and self._tables is not None:
            candidates.append(QueryScorer(self._regularization, self._form, self._tables))
        if self._way in ("auto", "grouped"):
            candidates.append(GroupedScorer(self._regularization))
        for scorer in candidates:
            # lazy Adam is not Adam, but other row-wise updates are to give what dense ones give
            exact = self._dense or not isinstance(self.optimizer, RowAdam)
            check = partial(agrees, gradients=exact, tables=self._tables)
            if problem is None and check(scorer, self.model, batch, self.mode):
                return scorer
        if self._way != "auto":
            raise InvalidInputError(
                f"scoring={self._way!r} is not possible for {type(self.model).__name__}: "
                f"{problem or 'it has no such form, or gives other scores'}; leave scoring out"
            )
        if problem is not None:
            report_once(self.model, problem)
        return FlatScorer()

    # One batch

    @staticmethod
    def _get_batch_size(batch: Any) -> int:
        return len(batch["positives"])

    def _forward_pass(
        self,
        batch: Any,
        start: int,
        stop: int,
        current_batch_size: int,
        label_smoothing: float,
        slice_size: int | None,
        backward: bool = True,
    ) -> Any:
        loss = self._process_batch(
            batch=batch, start=start, stop=stop, label_smoothing=label_smoothing, slice_size=slice_size
        )
        on_cpu = loss.device.type == "cpu"
        if on_cpu:
            self._check_finite(loss)
        if self.model.loss.reduction == "mean":
            share = (stop - start) / current_batch_size * getattr(batch, "weight", 1.0)
            if share != 1.0:
                loss = loss * share
        if backward:
            torch.autograd.backward(loss)
        model: Any = self.model
        model.post_forward_pass()
        # reading the number would make the host wait for the device
        return loss.item() if on_cpu else loss.detach()

    @staticmethod
    def _check_finite(loss: FloatTensor) -> None:
        if not torch.isfinite(loss).all():
            raise NonFiniteLossError("Loss is non-finite.")

    def _process_batch(
        self,
        batch: Any,
        start: int | None,
        stop: int | None,
        label_smoothing: float = 0.0,
        slice_size: int | None = None,
    ) -> FloatTensor:
        if slice_size not in (None, 1):
            raise AttributeError("Slicing is not possible for sLCWA training loops.")
        whole = TrainingBatch.from_mapping(batch)
        part = whole.part(start, stop).to(self._device)
        if self.shared is not None and part.sided is not None and part.sided.shared is None:
            report_once(
                self.model,
                f"sub-batches cut the chunks that share negatives, so these are scored one by one: take a multiple of "
                f"shared={self.shared} as sub_batch_size",
            )
        scorer = self._scorer
        if scorer is None:  # an empty part, as a process may have, shows nothing
            scorer = self._choose(part) if len(part.positives) else FlatScorer()
            self._scorer = scorer if len(part.positives) else None
        return _loss(scorer, self.model, self.loss, self.mode, part, label_smoothing)


def _loss(
    scorer: Scorer, model: Model, loss: Loss, mode: InductiveMode | None, batch: TrainingBatch, label_smoothing: float
) -> FloatTensor:
    """Return the loss of a batch, with the regularisation term."""
    positive_scores, negative_scores = scorer(model, batch, mode)
    neg_weights = batch.neg_weights
    if neg_weights is not None and batch.mask is not None:
        neg_weights = neg_weights[batch.mask]
    value = loss.process_slcwa_scores(
        positive_scores=positive_scores,
        negative_scores=negative_scores,
        label_smoothing=label_smoothing,
        batch_filter=batch.mask,
        num_entities=model._get_entity_len(mode=mode),
        pos_weights=batch.pos_weights,
        neg_weights=neg_weights,
    )
    return value + model.collect_regularization_term()
