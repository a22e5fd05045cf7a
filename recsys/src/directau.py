"""Alignment of pairs, and uniformity within a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch.nn import functional

from kgneg.core.typing import FloatTensor, LongTensor
from kgneg.core.validation import validate_number
from kgneg.recsys.encoded import EncodedRecommender

__all__ = ["DirectAU"]


class DirectAU(EncodedRecommender):
    r"""No negatives are drawn: pairs are drawn together, and all users, and all items, of a batch apart.

    .. math::
        \lVert z_u - z_v \rVert^2 + \frac{\gamma}{2} \Bigl( \log \operatorname{mean} e^{-2 \lVert z_u - z_{u'} \rVert^2}
        + \log \operatorname{mean} e^{-2 \lVert z_v - z_{v'} \rVert^2} \Bigr), \quad z = \text{vector of length one}

    Source: Wang et al., Towards Representation Alignment and Uniformity in Collaborative Filtering, KDD 2022.

    :param encoder: ``"id"`` or ``"neighbor"``
    :param gamma: the weight of uniformity
    :param score: ``"dot"``, as in the code of the authors, or ``"cosine"``, which is what the loss compares
    :param dim: the length of a vector
    :param layers: layers of the encoder ``"neighbor"``
    :param drop: the largest share of dropped edges, for ``"neighbor"``
    :param start: how tables are drawn at first
    :param training: settings of the training, see :class:`~kgneg.recsys.settings.TrainSettings`; memory and time grow
        with the square of ``batch_size``

    >>> from kgneg.recsys import Interactions
    >>> pairs = Interactions(torch.tensor([0, 1]), torch.tensor([0, 1]), num_users=2, num_items=3)
    >>> DirectAU(dim=8, epochs=2, device="cpu").fit(pairs, progress=False).scores(torch.tensor([0])).shape
    torch.Size([1, 3])
    """

    name: ClassVar[str] = "directau"
    citation: ClassVar[str] = "Wang et al., KDD 2022"
    training_default: ClassVar[Mapping[str, Any]] = {"lr": 3e-3, "batch_size": 1024, "weight_decay": 1e-6}
    hpo_default: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "dim": {"type": "categorical", "choices": [64, 128]},
        "gamma": {"type": float, "low": 0.1, "high": 10.0, "log": True},
        "lr": {"type": float, "low": 5e-4, "high": 1e-2, "log": True},
        "weight_decay": {"type": float, "low": 1e-7, "high": 1e-4, "log": True},
    }

    def __init__(
        self,
        *,
        encoder: str = "neighbor",
        gamma: float = 1.0,
        score: str = "dot",
        dim: int = 64,
        layers: int = 2,
        drop: float = 0.0,
        start: str = "xavier_normal",
        **training: Any,
    ) -> None:
        super().__init__(
            encoder=encoder,
            shape={"dim": dim, "layers": layers, "drop": drop, "start": start},
            score=score,
            own={"encoder": encoder, "gamma": validate_number("gamma", gamma), "score": score},
            training=training,
        )

    def loss(self, users: LongTensor, items: LongTensor, generator: torch.Generator) -> FloatTensor:
        """Return the loss of each pair.

        :param users: shape: ``(b,)``
        :param items: shape: ``(b,)``
        :param generator: the source of randomness for dropped edges
        :returns: shape: ``(b,)``
        """
        of_users, of_items, _ = self.encode(users, items, generator)
        of_users, of_items = (functional.normalize(one.float(), dim=-1) for one in (of_users, of_items))
        apart = _uniformity(of_users) + _uniformity(of_items)
        gamma: float = self.options["gamma"]
        return (of_users - of_items).square().sum(-1) + gamma / 2 * apart

    def fold_loss(self, users: FloatTensor, items: FloatTensor, everything: FloatTensor) -> FloatTensor:
        """Return the alignment of new users with their items.

        :param users: shape: ``(t, d)``
        :param items: shape: ``(t, d)``
        :param everything: not used
        :returns: shape: ``(t,)``
        """
        return -functional.cosine_similarity(users, items, dim=-1)


def _uniformity(vectors: FloatTensor) -> FloatTensor:
    """Return the logarithm of the mean of a Gaussian kernel over the pairs of different rows."""
    number = len(vectors)
    if number < 2:
        return vectors.sum() * 0
    kernel = (4 * (vectors @ vectors.T) - 4).exp()  # exp(-2 |x - y|^2) of vectors of length one
    return ((kernel.sum() - number) / (number * (number - 1))).clamp(min=1e-30).log()
