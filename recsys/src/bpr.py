"""Matrix factorisation with a pairwise loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from kgneg.recsys.sampled import SampledRecommender

__all__ = ["BPRMF"]


class BPRMF(SampledRecommender):
    """A vector for each user and item, trained against negatives.

    See :class:`~kgneg.recsys.sampled.SampledRecommender` for the losses and for where negatives come from.

    Source: Rendle et al., BPR: Bayesian Personalized Ranking from Implicit Feedback, UAI 2009.

    :param loss: ``"bpr"`` or ``"softmax"``
    :param num_negatives: negatives per pair
    :param temperature: of ``softmax``
    :param log_q: whether ``softmax`` corrects for how negatives are proposed
    :param l2: the weight of the penalty of ``bpr`` on the rows of the batch
    :param dim: the length of a vector
    :param start: how tables are drawn at first
    :param training: settings of the training, see :class:`~kgneg.recsys.settings.TrainSettings`

    >>> import torch
    >>> from kgneg.recsys import Interactions
    >>> pairs = Interactions(torch.tensor([0, 1]), torch.tensor([0, 1]), num_users=2, num_items=3)
    >>> BPRMF(dim=8, epochs=2, device="cpu").fit(pairs, progress=False).scores(torch.tensor([0])).shape
    torch.Size([1, 3])
    """

    name: ClassVar[str] = "bpr"
    citation: ClassVar[str] = "Rendle et al., UAI 2009"
    training_default: ClassVar[Mapping[str, Any]] = {"lr": 5e-3}
    hpo_default: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "dim": {"type": "categorical", "choices": [64, 128]},
        "lr": {"type": float, "low": 1e-3, "high": 3e-2, "log": True},
        "l2": {"type": float, "low": 1e-5, "high": 1e-1, "log": True},
        "num_negatives": {"type": "categorical", "choices": [1, 4]},
        "batch_size": {"type": "categorical", "choices": [2048, 4096, 8192]},
    }

    def __init__(
        self,
        *,
        loss: str = "bpr",
        num_negatives: int = 1,
        temperature: float = 0.15,
        log_q: bool = False,
        l2: float = 1e-2,
        dim: int = 64,
        start: str = "xavier_uniform",
        **training: Any,
    ) -> None:
        super().__init__(
            encoder="id",
            loss=loss,
            num_negatives=num_negatives,
            temperature=temperature,
            log_q=log_q,
            l2=l2,
            shape={"dim": dim, "start": start},
            training=training,
        )
