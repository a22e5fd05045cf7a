"""Recommenders that are trained step by step, and answer by inner products."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import FloatTensor, LongTensor
from kgneg.recsys.collapse import CollapseMonitor, CollapseReport
from kgneg.recsys.history import History
from kgneg.recsys.interactions import Interactions
from kgneg.recsys.ranking import inner_products
from kgneg.recsys.recommender import Recommender
from kgneg.recsys.settings import TrainSettings

__all__ = ["TrainedRecommender"]


class TrainedRecommender(Recommender):
    """Base class of recommenders that learn by gradient steps.

    The score of a user and an item is the inner product of two vectors (:meth:`vectors`), which are made such that it
    is the score that belongs to the loss. So any index for inner products can serve a trained model.

    A subclass writes :meth:`prepare`, :meth:`loss`, :meth:`vectors` and :meth:`vectors_of_new`, and
    :meth:`after_step` if it has something to do then.

    :param options: the options of the model, and of :class:`~kgneg.recsys.settings.TrainSettings`
    """

    #: Values of settings that differ from those of :class:`~kgneg.recsys.settings.TrainSettings`.
    training_default: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, *, training: Mapping[str, Any], **options: Any) -> None:
        super().__init__(**options)
        #: how :meth:`fit` trains
        self.training_settings = TrainSettings(**self.training_default).changed(training)
        #: what happened in training
        self.history: History | None = None
        self._vectors: tuple[FloatTensor, FloatTensor] | None = None
        self._directions: FloatTensor | None = None

    # What a model writes

    @abstractmethod
    def loss(self, users: LongTensor, items: LongTensor, generator: torch.Generator) -> FloatTensor:
        """Return the loss of each pair of a batch.

        :param users: shape: ``(b,)``
        :param items: shape: ``(b,)``
        :param generator: the source of randomness, on the device of the model
        :returns: shape: ``(b,)``, or one number for the batch
        """

    @abstractmethod
    def vectors(self) -> tuple[FloatTensor, FloatTensor]:
        """Return vectors of users and of items whose inner products are the scores, without gradient.

        :returns: shapes: ``(num_users, k)`` and ``(num_items, k)``
        """

    @abstractmethod
    def vectors_of_new(self, histories: Interactions) -> FloatTensor:
        """Return vectors of new users, to be multiplied with the item vectors of :meth:`vectors`, without gradient.

        :param histories: the new users with their items
        :returns: shape: ``(histories.num_users, k)``
        """

    def weight_decay(self) -> float:
        """Return the weight decay of the optimiser, after :meth:`prepare`."""
        return self.training_settings.weight_decay

    def identity(self) -> Any:
        """Return what training depends on besides options, settings and data, as JSON has it."""

    def after_step(self, step: int, total: int) -> None:
        """Do what is to be done after a step of the optimiser.

        :param step: the number of the step, from 0
        :param total: the number of all steps
        """

    def before_epoch(self) -> None:
        """Do what is to be done before an epoch, such as forgetting what was kept for speed."""

    def embeddings(self) -> tuple[FloatTensor, FloatTensor]:
        """Return what stands for users and items themselves, without gradient: cosines of it say what is similar.

        :returns: shapes: ``(num_users, d)`` and ``(num_items, d)``
        """
        return self.vectors()

    def health(
        self, loss: float, validation: float | None, floor: float | None, generator: torch.Generator
    ) -> CollapseReport:
        """Look whether the embeddings still tell users and items apart.

        :param loss: the mean loss of the last epoch; only looked at where it has a scale that says something
        :param validation: the metric on the validation pairs, if there are any
        :param floor: that of popularity
        :param generator: the source of randomness of samples, on the CPU
        :returns: the figures and the verdict
        """
        users, items = self.embeddings()
        return CollapseMonitor().check(users, items, generator=generator)

    # What all have

    def fit(
        self,
        train: Interactions,
        valid: Interactions | None = None,
        *,
        hide: Interactions | None = None,
        checkpoint: str | Path | None = None,
        progress: bool | None = None,
        on_epoch: Callable[[Mapping[str, Any]], object] | None = None,
        **training: Any,
    ) -> Self:
        """Train from the beginning, or go on from a checkpoint.

        With validation pairs the model of the best look at them is kept. Without, it is that of the last epoch. Under
        ``torchrun`` all processes train one model, each on its part of every batch.

        :param train: the pairs to learn from
        :param valid: the pairs that decide when to stop; of the same tables
        :param hide: more pairs to leave out of the ranks in validation
        :param checkpoint: a file that keeps the state of training after each epoch; where there is one of the same
            model, settings and data, training goes on from it, with the same result as if it had never stopped
        :param progress: whether to show a progress bar; ``None``: if there is a terminal
        :param on_epoch: called with the entry of the history after each epoch, which has the ``value`` of the metric
            after a look at the validation pairs; what it raises ends the training
        :param training: settings that replace those of the constructor
        :returns: the recommender itself
        :raises InvalidInputError: if there are no pairs, or tables differ
        :raises DivergedError: if the loss is not finite; the model is then that of the last good epoch
        """
        from kgneg.recsys.trainer import Trainer

        self.training_settings = self.training_settings.changed(training)
        trainer = Trainer(self, train, valid, hide=hide, checkpoint=checkpoint, progress=progress, on_epoch=on_epoch)
        trainer.run()
        return self

    def load_state_dict(self, *arguments: Any, **options: Any) -> Any:
        """Take over a state, and forget what was kept of the one before.

        :param arguments: as :meth:`torch.nn.Module.load_state_dict` takes them
        :param options: as :meth:`torch.nn.Module.load_state_dict` takes them
        :returns: what did not fit
        """
        self.forget()
        return super().load_state_dict(*arguments, **options)

    def _apply(self, *arguments: Any, **options: Any) -> Self:
        self.forget()  # parameters move, or change their type
        return super()._apply(*arguments, **options)  # type: ignore[no-untyped-call, no-any-return]

    def forget(self) -> None:
        """Forget vectors that were kept to answer questions; to be called when parameters have changed."""
        self._vectors = self._directions = None

    def kept_vectors(self) -> tuple[FloatTensor, FloatTensor]:
        """Return :meth:`vectors`, computed once."""
        if not self.fitted:
            self.seen  # noqa: B018  # raises
        if self._vectors is None or self._vectors[0].device != self.device:
            with torch.no_grad():
                users, items = self.vectors()
            self._vectors = users.contiguous(), items.contiguous()
        return self._vectors

    def export_vectors(self) -> tuple[FloatTensor, FloatTensor]:
        """Return what an index for inner products needs: vectors of users, and of items, on the CPU.

        :returns: shapes: ``(num_users, k)`` and ``(num_items, k)``; their inner products are the scores
        """
        users, items = self.kept_vectors()
        return users.cpu().clone(), items.cpu().clone()

    @torch.no_grad()
    def scores(self, users: LongTensor) -> FloatTensor:
        """Return the scores of all items for some users.

        :param users: shape: ``(b,)``, ids of users
        :returns: shape: ``(b, num_items)``
        """
        of_users, of_items = self.kept_vectors()
        return inner_products(of_users[users.to(of_users.device)], of_items)

    @torch.no_grad()
    def pair_scores(self, users: LongTensor, items: LongTensor) -> FloatTensor:
        """Return the scores of some items for each user.

        :param users: shape: ``(b,)``
        :param items: shape: ``(b, n)``
        :returns: shape: ``(b, n)``
        """
        of_users, of_items = self.kept_vectors()
        return torch.bmm(of_items[items.long()], of_users[users][:, :, None]).squeeze(-1)

    @torch.no_grad()
    def scores_of_new(self, histories: Interactions) -> FloatTensor:
        """Return the scores of all items for new users.

        :param histories: the new users with their items
        :returns: shape: ``(histories.num_users, num_items)``
        """
        return inner_products(self.vectors_of_new(histories), self.kept_vectors()[1])

    @torch.no_grad()
    def similarities(self, items: LongTensor) -> FloatTensor:
        """Return the cosines of the vectors of items.

        :param items: shape: ``(b,)``, ids of items
        :returns: shape: ``(b, num_items)``
        """
        if self._directions is None:
            self._directions = torch.nn.functional.normalize(self.embeddings()[1], dim=-1)
        vectors = self._directions
        return inner_products(vectors[items.to(vectors.device)], vectors)

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Take over a state.

        :param tensors: the state, as :meth:`state_dict` gives it
        """
        super().restore(tensors)
        self.forget()


def split_options(kind: type[TrainedRecommender], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those options that are settings of the training, and refuse unknown ones.

    :param kind: the class that was called
    :param options: what its constructor has no argument for
    :returns: the settings
    :raises InvalidInputError: if an option is not known
    """
    unknown = [name for name in options if name not in TrainSettings.names()]
    if unknown:
        import inspect

        own = [name for name in inspect.signature(kind).parameters if name != "training"]
        raise InvalidInputError(
            f"{kind.__name__} has no option {unknown[0]!r}; it has {', '.join([*own, *TrainSettings.names()])}"
        )
    return dict(options)
