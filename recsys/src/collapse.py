"""Whether embeddings still tell users and items apart, or have collapsed to a point or a line."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F

from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import FloatTensor
from kgneg.core.validation import validate_count
from kgneg.recsys.item_weights import validate_positive

__all__ = ["CollapseMonitor", "CollapseReport", "EmbeddingHealth", "alignment", "bias_share", "embedding_health"]


@dataclass(frozen=True)
class EmbeddingHealth:
    """How far embeddings are spread.

    :param rows: how many were looked at; rows of zeros are left out
    :param dim: the number of coordinates
    :param mean_norm: the mean length, before normalisation
    :param mean_cosine: the mean cosine of two different rows, from -1 to 1; near 0 if they point everywhere
    :param spread: the mean over coordinates of the standard deviation of normalised rows, times the root of the number
        of coordinates: 1 if they point everywhere, 0 if all point the same way
    :param effective_rank: the exponential of the entropy of the normalised singular values of normalised rows: the
        number of directions in use, from 1 to ``dim``
    :param relative_rank: the same divided by ``dim``
    :param uniformity: the logarithm of the mean of ``exp(-2 * squared distance)`` over two different normalised rows:
        0 if all are equal, at best about -4
    """

    rows: int
    dim: int
    mean_norm: float
    mean_cosine: float
    spread: float
    effective_rank: float
    relative_rank: float
    uniformity: float

    def to_dict(self) -> dict[str, Any]:
        """Return the figures by name, nothing but what JSON can spell."""
        return asdict(self)


@torch.no_grad()
def embedding_health(
    vectors: FloatTensor, *, sample: int = 2048, generator: torch.Generator | None = None
) -> EmbeddingHealth:
    """Measure how far embeddings are spread, on a sample.

    Rows of zeros have no direction. They are left out; where all are zeros, everything has collapsed.

    Source: Wang and Isola, Understanding Contrastive Representation Learning through Alignment and Uniformity on the
    Hypersphere, ICML 2020; Chen and He, Exploring Simple Siamese Representation Learning, CVPR 2021; Roy and Vetterli,
    The Effective Rank, EUSIPCO 2007.

    :param vectors: shape: ``(n, d)``, embeddings, of any length
    :param sample: how many rows to look at; the time grows with its square
    :param generator: the source of randomness, on the CPU; ``None`` takes torch's default generator
    :returns: the figures
    :raises InvalidInputError: if there are fewer than two rows or no coordinates, or a number is not finite

    >>> embedding_health(torch.ones(5, 3)).spread
    0.0
    >>> embedding_health(torch.eye(4)).effective_rank
    4.0
    """
    validate_count("sample", sample, 2)
    if vectors.ndim != 2 or len(vectors) < 2 or not vectors.shape[1]:
        raise InvalidInputError(f"vectors must have shape (n, d) with at least 2 rows, got {tuple(vectors.shape)}")
    if len(vectors) > sample:
        vectors = vectors[torch.randperm(len(vectors), generator=generator)[:sample].to(vectors.device)]
    vectors = vectors.double()
    if not bool(vectors.isfinite().all()):
        raise InvalidInputError("the vectors have numbers that are not finite: the model has diverged")
    norms = vectors.norm(dim=1)
    there = norms > 0
    number, dim = int(there.sum()), vectors.shape[1]
    if number < 2:
        return EmbeddingHealth(number, dim, float(norms.mean()), 1.0, 0.0, 1.0, 1 / dim, 0.0)
    rows = vectors[there] / norms[there, None]
    cosines = rows @ rows.T
    apart = number * (number - 1)
    potential = (4 * (cosines - 1)).exp_()  # exp(-2 |a - b|^2), since |a - b|^2 = 2 - 2 cos
    shares = torch.linalg.eigvalsh(rows.T @ rows).clamp(min=0).sqrt()
    rank = float(torch.special.entr(shares / shares.sum()).sum().exp())
    return EmbeddingHealth(
        number,
        dim,
        float(norms.mean()),
        float((cosines.sum() - number) / apart),
        float(rows.std(dim=0, correction=0).mean()) * math.sqrt(dim),
        round(rank, 10),
        round(rank, 10) / dim,
        math.log(max(float((potential.sum() - number) / apart), 1e-300)),
    )


@torch.no_grad()
def alignment(left: FloatTensor, right: FloatTensor) -> float:
    """Return the mean squared distance of normalised pairs: 0 if the two agree, 2 if they have nothing in common.

    Source: Wang and Isola, ICML 2020.

    :param left: shape: ``(m, d)``
    :param right: shape: ``(m, d)``, row by row what belongs to ``left``
    :returns: the mean, from 0 to 4
    :raises InvalidInputError: if the shapes differ or there are no rows

    >>> alignment(torch.eye(2), torch.eye(2).flip(0))
    2.0
    """
    if left.shape != right.shape or left.ndim != 2 or not len(left):
        raise InvalidInputError(
            f"pairs must have two equal shapes (m, d), got {tuple(left.shape)} and {tuple(right.shape)}"
        )
    return float((F.normalize(left.double()) - F.normalize(right.double())).square().sum(dim=1).mean())


@torch.no_grad()
def bias_share(predictor: torch.nn.Linear, inputs: FloatTensor) -> float:
    """Return how much of what a linear predictor says is its bias, from 0 to 1.

    Where it is near 1, the prediction is the same for all inputs.

    :param predictor: the layer
    :param inputs: shape: ``(n, d)``
    :returns: the length of the bias, divided by itself plus the mean length of the rest

    >>> layer = torch.nn.Linear(1, 1)
    >>> _ = layer.weight.data.fill_(1.0), layer.bias.data.fill_(3.0)
    >>> bias_share(layer, torch.tensor([[1.0], [-1.0]]))
    0.75
    """
    if predictor.bias is None:
        return 0.0
    bias, rest = float(predictor.bias.norm()), float(F.linear(inputs, predictor.weight).norm(dim=-1).mean())
    return bias / (bias + rest) if bias else 0.0


@dataclass(frozen=True)
class CollapseReport:
    """What was seen, and whether it is a collapse.

    :param users: the embeddings of users
    :param items: the embeddings of items
    :param alignment: that of the given pairs, or ``None``
    :param bias_share: that of the predictor, or ``None``
    :param distinct_items: the share of all items that are in any list, or ``None``
    :param collapsed: the verdict
    :param why: the reasons, in words; empty if there are none
    """

    users: EmbeddingHealth
    items: EmbeddingHealth
    alignment: float | None
    bias_share: float | None
    distinct_items: float | None
    collapsed: bool
    why: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the figures by name, nothing but what JSON can spell."""
        return asdict(self) | {"why": list(self.why)}


@dataclass(frozen=True, kw_only=True)
class CollapseMonitor:
    """The limits beyond which embeddings count as collapsed.

    The spread is about the root of one minus the mean cosine, so a spread of 0.25 means that two rows have a cosine of
    .94 on average. It says nothing about rows on a line through the origin, which the rank does: there it is 1. A loss
    is only suspect together with the validation: where it is nearly nothing, and yet the lists are no better than those
    of popularity or of chance.

    :param spread: collapsed if users or items are spread less
    :param rank: collapsed if users or items have an effective rank below it; not looked at with a single coordinate
    :param low_loss: a loss below it is suspect; the loss of BUIR begins near 4, which is that of random directions
    :param sample: how many users, items and pairs to look at
    :raises InvalidInputError: if a limit is out of range

    >>> point = torch.ones(5, 3)
    >>> CollapseMonitor().check(point, torch.eye(3)).why
    ('the spread of users is 0.000, below 0.25', 'the effective rank of users is 1.00, below 1.5')
    """

    spread: float = 0.25
    rank: float = 1.5
    low_loss: float = 0.1
    sample: int = 2048

    def __post_init__(self) -> None:
        for name in ("spread", "rank", "low_loss"):
            validate_positive(name, getattr(self, name), zero=True)
        validate_count("sample", self.sample, 2)

    def check(
        self,
        users: FloatTensor,
        items: FloatTensor,
        *,
        pairs: tuple[FloatTensor, FloatTensor] | None = None,
        bias: float | None = None,
        distinct_items: float | None = None,
        loss: float | None = None,
        validation: float | None = None,
        floor: float | None = None,
        generator: torch.Generator | None = None,
    ) -> CollapseReport:
        """Look at the state of a model.

        :param users: shape: ``(num_users, d)``, the embeddings that are compared with those of items
        :param items: shape: ``(num_items, d)``
        :param pairs: twice shape ``(m, d)``, what training draws together, such as predictions and their targets
        :param bias: see :func:`bias_share`
        :param distinct_items: the coverage of the lists, if it is known
        :param loss: the mean loss of the last epoch
        :param validation: the figure that decides when to stop
        :param floor: the same figure of popularity, or of chance
        :param generator: the source of randomness of samples, on the CPU; ``None`` takes torch's default generator
        :returns: the figures and the verdict
        """
        found = {
            name: embedding_health(vectors, sample=self.sample, generator=generator)
            for name, vectors in (("users", users), ("items", items))
        }
        why = [reason for name, health in found.items() for reason in self._judge(name, health)]
        if None not in (loss, validation, floor) and loss < self.low_loss and validation <= floor:  # type: ignore[operator]
            why.append(
                f"the loss is {loss:.3f}, below {self.low_loss:g}, and yet the validation, {validation:.4f}, is not "
                f"above the floor of {floor:.4f}"
            )
        together = None if pairs is None else alignment(pairs[0][: self.sample], pairs[1][: self.sample])
        return CollapseReport(
            found["users"], found["items"], together, bias, distinct_items, collapsed=bool(why), why=tuple(why)
        )

    def _judge(self, name: str, health: EmbeddingHealth) -> list[str]:
        why = []
        if health.spread < self.spread:
            why.append(f"the spread of {name} is {health.spread:.3f}, below {self.spread:g}")
        if health.effective_rank < self.rank and health.dim > 1:
            why.append(f"the effective rank of {name} is {health.effective_rank:.2f}, below {self.rank:g}")
        return why
