"""Learning from pairs and from negatives that a corruptor draws."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch.nn import functional

from kgneg.core.cache import content_key
from kgneg.core.corruption import Corruptor
from kgneg.core.errors import ExhaustedPoolError
from kgneg.core.handles import ModelAware, attach_scorer
from kgneg.core.modules import share
from kgneg.core.triples import TripleIndex
from kgneg.core.typing import FloatTensor, LongTensor, Side
from kgneg.core.validation import choose, validate_count, validate_device, validate_flag, validate_number
from kgneg.recsys.encoded import EncodedRecommender
from kgneg.recsys.interactions import Interactions
from kgneg.recsys.negatives import check_corruptor, draw_negatives, item_scorer, log_proposal

__all__ = ["SampledRecommender"]

_LOSSES = ("bpr", "softmax")
_FOLD_SAMPLE = 256


class SampledRecommender(EncodedRecommender):
    r"""Base class of recommenders that compare an item of a user with items that the user does not have.

    ``bpr``: :math:`-\log \sigma(s_{uv} - s_{un})` with inner products, averaged over the negatives, plus an L2 penalty
    on the rows of the batch. ``softmax``:
    :math:`-\log \frac{e^{s_{uv}/\tau}}{e^{s_{uv}/\tau} + \sum_n e^{s_{un}/\tau}}` with cosines.

    Negatives come from any :class:`~kgneg.core.corruption.Corruptor` that is built with
    :func:`~kgneg.recsys.negatives.corruptor_options`, given to :meth:`fit`; without one they are uniform over the items
    that the user does not have, exactly. A corruptor that looks at the model sees the vectors of the step.

    Sources: Rendle et al., BPR: Bayesian Personalized Ranking from Implicit Feedback, UAI 2009; Wu et al., On the
    Effectiveness of Sampled Softmax Loss for Item Recommendation, TOIS 2024.

    :param encoder: ``"id"`` or ``"neighbor"``
    :param loss: ``"bpr"`` or ``"softmax"``
    :param num_negatives: negatives per pair
    :param temperature: :math:`\tau` of ``softmax``
    :param log_q: whether ``softmax`` subtracts the logarithm of how often each negative is expected among those drawn,
        so that its sum estimates that over all items; for corruptors that know these probabilities
    :param l2: the weight of the penalty of ``bpr``
    :param shape: options of the encoder
    :param training: settings of the training
    """

    def __init__(
        self,
        *,
        encoder: str,
        loss: str,
        num_negatives: int,
        temperature: float,
        log_q: bool,
        l2: float,
        shape: dict[str, Any],
        training: dict[str, Any],
    ) -> None:
        own = {
            "loss": choose("loss", loss, _LOSSES),
            "num_negatives": validate_count("num_negatives", num_negatives),
            "temperature": validate_number("temperature", temperature, above=True),
            "log_q": validate_flag("log_q", log_q),
            "l2": validate_number("l2", l2),
        }
        super().__init__(
            encoder=encoder,
            shape=shape,
            score="dot" if loss == "bpr" else "cosine",
            own=own,
            training=training,
        )
        # what training borrows is no part of the model: neither saved nor moved with it
        self._borrowed: dict[str, Corruptor | TripleIndex] = {}

    def fit(
        self,
        train: Interactions,
        valid: Interactions | None = None,
        *,
        negatives: Corruptor | None = None,
        hide: Interactions | None = None,
        checkpoint: str | Path | None = None,
        progress: bool | None = None,
        on_epoch: Callable[[Mapping[str, Any]], object] | None = None,
        **training: Any,
    ) -> Self:
        """Train like :meth:`kgneg.recsys.trained.TrainedRecommender.fit`.

        :param train: the pairs to learn from
        :param valid: the pairs that decide when to stop
        :param negatives: what draws the negatives; ``None``: uniform
        :param hide: more pairs to leave out of the ranks in validation
        :param checkpoint: a file that keeps the state of training
        :param progress: whether to show a progress bar
        :param on_epoch: called with the entry of the history after each epoch
        :param training: settings that replace those of the constructor
        :returns: the recommender itself
        :raises InvalidInputError: if the corruptor does not fit the interactions
        """
        if negatives is not None:
            check_corruptor(negatives, train)
        self._borrowed = {} if negatives is None else {"negatives": negatives}
        try:
            return super().fit(
                train, valid, hide=hide, checkpoint=checkpoint, progress=progress, on_epoch=on_epoch, **training
            )
        finally:
            self._borrowed = {}

    def prepare(self, train: Interactions, generator: torch.Generator) -> None:
        """Make the tables, and show the model to a corruptor that looks at it.

        :param train: the interactions
        :param generator: the source of the initial values
        """
        super().prepare(train, generator)
        full = (train.user_counts >= train.num_items).nonzero().flatten().tolist()
        if full:
            label = full[0] if train.user_labels is None else train.user_labels[full[0]]
            raise ExhaustedPoolError(
                f"{len(full)} users have all {train.num_items} items, for example {label!r}, so there is no negative "
                "for them: leave them out of the data, or take a model without negatives"
            )
        if self.negatives is None:
            return
        self.negatives.to(validate_device(self.training_settings.device))
        if any(isinstance(one, ModelAware) for one in self.negatives.modules()):
            attach_scorer(self.negatives, item_scorer(self))

    @property
    def negatives(self) -> Corruptor | None:
        """What draws the negatives while :meth:`fit` runs; ``None``: uniform."""
        found = self._borrowed.get("negatives")
        return found if isinstance(found, Corruptor) else None

    def identity(self) -> Any:
        """Return what training depends on besides options, settings and data: the corruptor."""
        if self.negatives is None:
            return None
        state = {name: content_key(tensor) for name, tensor in self.negatives.state_dict().items()}
        return [state, [_describe(part) for part in self.negatives.modules()]]

    def loss(self, users: LongTensor, items: LongTensor, generator: torch.Generator) -> FloatTensor:
        """Return the loss of each pair.

        :param users: shape: ``(b,)``
        :param items: shape: ``(b,)``
        :param generator: the source of negatives
        :returns: shape: ``(b,)``
        """
        of_users, of_items, outputs = self.encode(users, items, generator)
        self._vectors = self._scored(outputs.detach())  # what a corruptor may look at
        drawn = self._draw(users, items, generator)
        of_drawn = self.encoder.rows(outputs, drawn + self.encoder.num_users)
        if self.options["loss"] == "softmax":
            return self._softmax(of_users, of_items, of_drawn, drawn)
        positive = (of_users * of_items).sum(-1, keepdim=True)
        negative = torch.bmm(of_drawn, of_users[:, :, None]).squeeze(-1)
        loss = functional.softplus(negative.float() - positive.float()).mean(-1)
        return loss + self._penalty(users, items, drawn) if self.options["l2"] else loss

    def _draw(self, users: LongTensor, items: LongTensor, generator: torch.Generator) -> LongTensor:
        number = self.options["num_negatives"]
        if self.negatives is not None:
            return draw_negatives(self.negatives, users, items, number, generator, interactions=self.seen).items
        index = self._borrowed.get("index")
        if not isinstance(index, TripleIndex):
            self._borrowed["index"] = index = share(self.seen.index).to(users.device)
        return index.complement(torch.zeros_like(users), users, Side.TAIL, number, generator=generator)

    def _penalty(self, users: LongTensor, items: LongTensor, drawn: LongTensor) -> FloatTensor:
        table = self.encoder.table
        own = self.encoder.rows(table, self.encoder.nodes(users, items)).square().sum(-1)
        others = self.encoder.rows(table, drawn + self.encoder.num_users).square().sum(-1).mean(-1)
        weight: float = self.options["l2"]
        return 0.5 * weight * (own[: len(users)] + own[len(users) :] + others)

    def _softmax(
        self, of_users: FloatTensor, of_items: FloatTensor, of_drawn: FloatTensor, drawn: LongTensor
    ) -> FloatTensor:
        temperature = self.options["temperature"]
        of_users = functional.normalize(of_users.float(), dim=-1) / temperature
        positive = (of_users * functional.normalize(of_items.float(), dim=-1)).sum(-1, keepdim=True)
        negative = torch.bmm(functional.normalize(of_drawn.float(), dim=-1), of_users[:, :, None]).squeeze(-1)
        if self.options["log_q"] and self.negatives is not None:
            # the sum over drawn items then estimates that over all items
            negative = negative - log_proposal(self.negatives, drawn) - math.log(drawn.shape[1])
        return torch.logsumexp(torch.cat([positive, negative], dim=-1), dim=-1) - positive.squeeze(-1)

    def fold_loss(self, users: FloatTensor, items: FloatTensor, everything: FloatTensor) -> FloatTensor:
        """Return the loss of the vectors of new users, against evenly spaced items instead of drawn ones.

        :param users: shape: ``(t, d)``
        :param items: shape: ``(t, d)``
        :param everything: shape: ``(num_items, d)``
        :returns: shape: ``(t,)``
        """
        others = everything[:: max(1, len(everything) // _FOLD_SAMPLE)]
        if self.options["loss"] == "bpr":
            positive = (users * items).sum(-1, keepdim=True)
            return functional.softplus(users @ others.T - positive).mean(-1)
        users = functional.normalize(users, dim=-1) / self.options["temperature"]
        positive = (users * functional.normalize(items, dim=-1)).sum(-1)
        scores = users @ functional.normalize(others, dim=-1).T
        return torch.logsumexp(torch.cat([positive[:, None], scores], dim=-1), dim=-1) - positive


def _describe(part: object) -> list[Any]:
    """Return the class of a part of a corruptor, and its options that are plain values."""
    found: list[Any] = [type(part).__name__]
    for name, value in sorted(vars(part).items()):
        if name.startswith("_") or name == "training":
            continue
        if isinstance(value, str | int | float | None):
            found.append([name, value])
        elif isinstance(value, tuple | list) and all(isinstance(one, str | int | float) for one in value):
            found.append([name, list(value)])
        elif type(value).__module__.startswith("kgneg.samplers.") and type(value).__name__ != "Tally":
            found.append([name, _describe(value)])  # such as the limits of a method that looks at the model
    return found
