"""Learning from pairs alone: a user predicts its items, an item its users."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn import functional

from kgneg.core.typing import FloatTensor, LongTensor
from kgneg.core.validation import choose, validate_flag, validate_number, validate_share
from kgneg.recsys.collapse import CollapseMonitor, CollapseReport, bias_share
from kgneg.recsys.cosine import cosine_to
from kgneg.recsys.encoders import NodeEncoder, build_encoder, check_encoder
from kgneg.recsys.folding import fold_vectors
from kgneg.recsys.interactions import Interactions
from kgneg.recsys.momentum import MomentumPair, momentum_at
from kgneg.recsys.trained import TrainedRecommender, split_options

__all__ = ["BUIR"]

_ANSWERS = ("target", "online")
_BIASES = ("zero", "normal", "uniform")
#: The batch size that the momentum is given for.
_BATCH = 1024


class BUIR(TrainedRecommender):
    r"""Bootstrapped user and item representations: no negative is ever drawn.

    Both ends of an observed pair are encoded twice, by an online encoder :math:`f_\theta` and by a target
    :math:`f_\xi` that follows it, and a linear predictor :math:`q` has to find the target of one end from the online
    vector of the other:

    .. math::
        \ell_{uv} = 4 - 2 \cos\bigl(q(f_\theta(u)), f_\xi(v)\bigr) - 2 \cos\bigl(q(f_\theta(v)), f_\xi(u)\bigr)

    The score that belongs to this loss has the predictor in it:
    :math:`[q(f_\theta(u)); f_\theta(u)] \cdot [f_\theta(v); q(f_\theta(v))]`. That is what :meth:`vectors`, and so
    every ranking and export, is made of. With the encoder ``"id"`` the inner product of the bare vectors is no better
    than chance; over a graph, whose neighbours share their vectors, it ranks too.

    Two presets exist for each encoder, see :func:`~kgneg.recsys.build_recommender`: ``paper`` follows the code of the
    authors, the default repairs what makes it fail on many data sets.

    Source: Lee et al., Bootstrapping User and Item Representations for One-Class Collaborative Filtering, SIGIR 2021.

    :param encoder: ``"id"`` or ``"neighbor"``
    :param dim: the length of a vector
    :param layers: layers of the encoder ``"neighbor"``
    :param drop: the largest share of edges that is dropped at each encoding in training, for ``"neighbor"``
    :param momentum: the momentum of the target, for batches of up to 1,024 pairs; with a larger batch size :math:`b`
        it is raised to the power :math:`b / 1024`, so that the target follows at the same pace per pair. 0 copies the
        online encoder, 1 leaves the target as it was at first, which does not learn.
    :param momentum_schedule: ``"constant"``, or ``"cosine"``, which rises to 1
    :param start: how tables are drawn at first: ``"xavier_uniform"`` or ``"xavier_normal"``
    :param bias: the bias of the predictor at first: ``"zero"``, ``"uniform"`` as PyTorch has it, or ``"normal"``. A
        standard normal bias outweighs the vectors by far, and all predictions point the same way.
    :param answer: whose vectors answer: those of the ``"target"``, an average over many steps, which ranks better where
        steps are large; or those of the encoder that learns, ``"online"``, as in the paper
    :param decay: weight decay per node: divided by the number of users and items, it is added to ``weight_decay``. The
        loss is a mean over pairs, so the gradient of a node shrinks with their number, and so must the decay.
    :param predictor: whether there is one; without, and without ``stop_gradient``, everything collapses to one vector
    :param stop_gradient: whether the target is a constant; if not, there is no target but the online encoder itself
    :param training: settings of the training, see :class:`~kgneg.recsys.settings.TrainSettings`
    :raises InvalidInputError: if a value is out of range or an option is not known

    >>> pairs = Interactions(torch.tensor([0, 1]), torch.tensor([0, 1]), num_users=2, num_items=3)
    >>> model = BUIR(encoder="id", dim=8, epochs=2, device="cpu").fit(pairs, progress=False)
    >>> model.recommend([0], 2).items.shape
    torch.Size([1, 2])
    """

    name: ClassVar[str] = "buir"
    citation: ClassVar[str] = "Lee et al., SIGIR 2021"
    hpo_default: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "dim": {"type": "categorical", "choices": [64, 128]},
        "lr": {"type": float, "low": 1e-3, "high": 3e-2, "log": True},
        "decay": {"type": float, "low": 0.01, "high": 1.0, "log": True},
        "momentum": {"type": float, "low": 0.9, "high": 0.999},
        "batch_size": {"type": "categorical", "choices": [2048, 4096, 8192]},
    }

    def __init__(
        self,
        *,
        encoder: str = "neighbor",
        dim: int = 64,
        layers: int = 3,
        drop: float = 0.0,
        momentum: float = 0.995,
        momentum_schedule: str = "constant",
        start: str = "xavier_uniform",
        bias: str = "zero",
        decay: float = 0.3,
        answer: str = "target",
        predictor: bool = True,
        stop_gradient: bool = True,
        **training: Any,
    ) -> None:
        super().__init__(
            training=split_options(type(self), training),
            encoder=encoder,
            dim=dim,
            layers=layers,
            drop=drop,
            momentum=validate_share("momentum", momentum),
            momentum_schedule=momentum_schedule,
            start=start,
            bias=choose("bias", bias, _BIASES),
            decay=validate_number("decay", decay),
            answer=choose("answer", answer, _ANSWERS),
            predictor=validate_flag("predictor", predictor),
            stop_gradient=validate_flag("stop_gradient", stop_gradient),
        )
        check_encoder(encoder, dim=dim, layers=layers, drop=drop)
        momentum_at(momentum, momentum_schedule, 0, 1)  # refuses unknown schedules

    def prepare(self, train: Interactions, generator: torch.Generator) -> None:
        """Make the tables and the predictor.

        :param train: the interactions
        :param generator: the source of the initial values
        """
        options = self.options
        names = ("dim", "layers", "drop", "start")
        online = build_encoder(
            options["encoder"], train, generator=generator, **{name: options[name] for name in names}
        )
        self.pair = MomentumPair(online)
        self.predictor = (
            _make_predictor(options["dim"], options["bias"], generator) if options["predictor"] else nn.Identity()
        )
        self._seen = train
        self.forget()

    def loss(self, users: LongTensor, items: LongTensor, generator: torch.Generator) -> FloatTensor:
        """Return the loss of each pair, in ``[0, 8]``.

        :param users: shape: ``(b,)``
        :param items: shape: ``(b,)``
        :param generator: the source of randomness for dropped edges
        :returns: shape: ``(b,)``
        """
        nodes = self.pair.online.nodes(users, items)
        if self.options["stop_gradient"]:
            outputs, targets = self.pair.encode(generator)
        else:
            outputs = targets = self.pair.online.outputs(generator)
        distinct, places = torch.unique(
            nodes, return_inverse=True
        )  # a node is predicted from once, however often it is there
        predicted = functional.embedding(places, self.predictor(self.pair.online.rows(outputs, distinct)))
        # the user predicts the item, the item the user
        wanted = self.pair.target.rows(targets, nodes.roll(len(users)))
        both = 2 - 2 * cosine_to(predicted.float(), wanted.float())
        return both[: len(users)] + both[len(users) :]

    def weight_decay(self) -> float:
        """Return the weight decay of the optimiser."""
        nodes = self.seen.num_users + self.seen.num_items
        decay: float = self.options["decay"]
        return self.training_settings.weight_decay + decay / nodes

    def after_step(self, step: int, total: int) -> None:
        """Move the target.

        :param step: the number of the step, from 0
        :param total: the number of all steps
        """
        if not self.options["stop_gradient"]:
            return
        momentum = momentum_at(self.options["momentum"], self.options["momentum_schedule"], step, total)
        pairs = len(self.seen)
        size = min(self.training_settings.pairs_per_step(pairs), pairs)
        self.pair.step(momentum ** max(1.0, size / _BATCH))

    def before_epoch(self) -> None:
        """Have the outputs of the target computed anew, so that every epoch begins from the parameters alone."""
        self.pair.refresh()

    @torch.no_grad()
    def vectors(self) -> tuple[FloatTensor, FloatTensor]:
        """Return ``[q(u); u]`` and ``[v; q(v)]``.

        :returns: shapes: ``(num_users, 2 dim)`` and ``(num_items, 2 dim)``
        """
        users, items = self._answering.split(self._answering.outputs())
        return torch.cat([self.predictor(users), users], -1), torch.cat([items, self.predictor(items)], -1)

    @torch.no_grad()
    def embeddings(self) -> tuple[FloatTensor, FloatTensor]:
        """Return the vectors of users and items without the predictor.

        :returns: shapes: ``(num_users, dim)`` and ``(num_items, dim)``
        """
        return self._answering.split(self._answering.outputs())

    @torch.no_grad()
    def health(
        self, loss: float, validation: float | None, floor: float | None, generator: torch.Generator
    ) -> CollapseReport:
        """Look whether the embeddings still tell users and items apart, and how much of a prediction is bias.

        :param loss: the mean loss of the last epoch
        :param validation: the metric on the validation pairs, if there are any
        :param floor: that of popularity
        :param generator: the source of randomness of samples, on the CPU
        :returns: the figures and the verdict
        """
        users, items = self.embeddings()
        bias = bias_share(self.predictor, users) if isinstance(self.predictor, nn.Linear) else None
        return CollapseMonitor().check(
            users, items, bias=bias, loss=loss, validation=validation, floor=floor, generator=generator
        )

    @property
    def _answering(self) -> NodeEncoder:
        online = self.options["answer"] == "online" or not self.options["stop_gradient"]
        return self.pair.online if online else self.pair.target

    def vectors_of_new(self, histories: Interactions) -> FloatTensor:
        """Return ``[q(u); u]`` of new users, with everything else as it is.

        The encoder ``"neighbor"`` propagates from the items of the history. For ``"id"`` the vectors of the new users
        alone are fitted to the loss.

        :param histories: the new users with their items
        :returns: shape: ``(histories.num_users, 2 dim)``
        """
        new = self._answering.of_new_users(histories)
        if new is None:
            items = self.embeddings()[1]
            wanted = functional.normalize(items, dim=-1)
            predicted = functional.normalize(self.predictor(items).detach(), dim=-1)

            def loss(vectors: FloatTensor, own: LongTensor) -> FloatTensor:
                forth = functional.normalize(self.predictor(vectors), dim=-1) * wanted[own]
                back = functional.normalize(vectors, dim=-1) * predicted[own]
                return -(forth + back).sum(-1)

            new = fold_vectors(histories, items, loss)
        with torch.no_grad():
            return torch.cat([self.predictor(new), new], -1)


def _make_predictor(dim: int, bias: str, generator: torch.Generator) -> nn.Linear:
    # made without values, so that nothing is drawn from the global stream
    predictor: nn.Linear = nn.utils.skip_init(nn.Linear, dim, dim)  # type: ignore[no-untyped-call]
    nn.init.xavier_normal_(predictor.weight, generator=generator)
    if bias == "zero":
        nn.init.zeros_(predictor.bias)
    elif bias == "normal":
        nn.init.normal_(predictor.bias, generator=generator)
    else:
        nn.init.uniform_(predictor.bias, -(dim**-0.5), dim**-0.5, generator=generator)
    return predictor
