"""Recommenders with one encoder and a loss on its vectors."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch.nn import functional

from kgneg.core.typing import FloatTensor, LongTensor
from kgneg.core.validation import choose
from kgneg.recsys.encoders import ENCODERS, NodeEncoder, build_encoder, check_encoder
from kgneg.recsys.folding import fold_vectors
from kgneg.recsys.interactions import Interactions
from kgneg.recsys.trained import TrainedRecommender, split_options

__all__ = ["EncodedRecommender"]

_SCORES = ("dot", "cosine")


class EncodedRecommender(TrainedRecommender):
    """Base class of recommenders whose users and items are vectors of one encoder.

    The score of a pair is the inner product of its vectors or their cosine, whichever the loss compares. A subclass
    writes :meth:`~kgneg.recsys.trained.TrainedRecommender.loss` and :meth:`fold_loss`.

    :param encoder: ``"id"`` or ``"neighbor"``
    :param shape: options of the encoder, see :func:`~kgneg.recsys.encoders.build_encoder`
    :param score: ``"dot"`` or ``"cosine"``
    :param own: the options of the subclass, nothing but what JSON can spell; with ``encoder`` and ``score`` if its
        constructor takes them
    :param training: settings of the training
    """

    encoder: NodeEncoder

    def __init__(
        self,
        *,
        encoder: str,
        shape: dict[str, Any],
        score: str,
        own: dict[str, Any],
        training: dict[str, Any],
    ) -> None:
        super().__init__(training=split_options(type(self), training), **shape, **own)
        check_encoder(encoder, **{name: value for name, value in shape.items() if name != "start"})
        self.shape = shape
        self.encoder_name = choose("encoder", encoder, ENCODERS)
        self.score = choose("score", score, _SCORES)

    def prepare(self, train: Interactions, generator: torch.Generator) -> None:
        """Make the tables.

        :param train: the interactions
        :param generator: the source of the initial values
        """
        names = ("dim", "layers", "drop", "start")
        self.encoder = build_encoder(
            self.encoder_name,
            train,
            generator=generator,
            **{name: self.options[name] for name in names if name in self.options},
        )
        self._seen = train
        self.forget()

    @abstractmethod
    def fold_loss(self, users: FloatTensor, items: FloatTensor, everything: FloatTensor) -> FloatTensor:
        """Return the loss by which vectors of new users are fitted, without any random draw.

        :param users: shape: ``(t, d)``, the vectors of the users of pairs
        :param items: shape: ``(t, d)``, the vectors of their items
        :param everything: shape: ``(num_items, d)``, the vectors of all items
        :returns: shape: ``(t,)``
        """

    def encode(
        self, users: LongTensor, items: LongTensor, generator: torch.Generator
    ) -> tuple[FloatTensor, FloatTensor, FloatTensor]:
        """Return the vectors of a batch, with gradient, and those of all nodes.

        :param users: shape: ``(b,)``
        :param items: shape: ``(b,)``
        :param generator: the source of randomness
        :returns: shapes: ``(b, d)``, ``(b, d)`` and ``(n, d)``
        """
        outputs = self.encoder.outputs(generator)
        of_users, of_items = torch.split_with_sizes(
            self.encoder.rows(outputs, self.encoder.nodes(users, items)), [len(users), len(items)]
        )
        return of_users, of_items, outputs

    @torch.no_grad()
    def vectors(self) -> tuple[FloatTensor, FloatTensor]:
        """Return the vectors of users and items, of length one if the score is the cosine.

        :returns: shapes: ``(num_users, dim)`` and ``(num_items, dim)``
        """
        return self._scored(self.encoder.outputs())

    def _scored(self, outputs: FloatTensor) -> tuple[FloatTensor, FloatTensor]:
        users, items = self.encoder.split(outputs)
        return (_unit(users), _unit(items)) if self.score == "cosine" else (users, items)

    def vectors_of_new(self, histories: Interactions) -> FloatTensor:
        """Return vectors of new users, with everything else as it is.

        The encoder ``"neighbor"`` propagates from the items of the history. For ``"id"`` the vectors of the new users
        alone are fitted.

        :param histories: the new users with their items
        :returns: shape: ``(histories.num_users, dim)``
        """
        new = self.encoder.of_new_users(histories)
        if new is None:
            items = self.encoder.split(self.encoder.outputs())[1].detach()
            new = fold_vectors(histories, items, lambda users, own: self.fold_loss(users, items[own], items))
        return _unit(new) if self.score == "cosine" else new


def _unit(vectors: FloatTensor) -> FloatTensor:
    return functional.normalize(vectors, dim=-1)
