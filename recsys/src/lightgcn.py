"""LightGCN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from kgneg.recsys.sampled import SampledRecommender

__all__ = ["LightGCN"]


class LightGCN(SampledRecommender):
    """Embeddings propagated over the graph of users and items, trained against negatives.

    See :class:`~kgneg.recsys.sampled.SampledRecommender` for the losses and for where negatives come from.

    Source: He et al., LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation, SIGIR 2020.

    :param loss: ``"bpr"`` or ``"softmax"``
    :param num_negatives: negatives per pair
    :param temperature: of ``softmax``
    :param log_q: whether ``softmax`` corrects for how negatives are proposed
    :param l2: the weight of the penalty of ``bpr`` on the rows of the batch
    :param dim: the length of a vector
    :param layers: the number of layers
    :param drop: the largest share of edges that is dropped at each encoding in training
    :param start: how tables are drawn at first
    :param training: settings of the training, see :class:`~kgneg.recsys.settings.TrainSettings`

    >>> import torch
    >>> from kgneg.recsys import Interactions
    >>> pairs = Interactions(torch.tensor([0, 1]), torch.tensor([0, 1]), num_users=2, num_items=3)
    >>> LightGCN(dim=8, epochs=2, device="cpu").fit(pairs, progress=False).scores(torch.tensor([0])).shape
    torch.Size([1, 3])
    """

    name: ClassVar[str] = "lightgcn"
    citation: ClassVar[str] = "He et al., SIGIR 2020"
    training_default: ClassVar[Mapping[str, Any]] = {"lr": 5e-3}
    hpo_default: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "dim": {"type": "categorical", "choices": [64, 128]},
        "layers": {"type": int, "low": 1, "high": 4},
        "lr": {"type": float, "low": 1e-3, "high": 3e-2, "log": True},
        "l2": {"type": float, "low": 1e-6, "high": 1e-1, "log": True},
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
        l2: float = 1e-4,
        dim: int = 64,
        layers: int = 3,
        drop: float = 0.0,
        start: str = "xavier_uniform",
        **training: Any,
    ) -> None:
        super().__init__(
            encoder="neighbor",
            loss=loss,
            num_negatives=num_negatives,
            temperature=temperature,
            log_q=log_q,
            l2=l2,
            shape={"dim": dim, "layers": layers, "drop": drop, "start": start},
            training=training,
        )
