"""Regularisers of representations, when negatives are not scored one by one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from pykeen.models import ERModel, Model
from pykeen.nn.representation import Representation
from pykeen.regularizers import (
    LpRegularizer,
    NoRegularizer,
    NormLimitRegularizer,
    PowerSumRegularizer,
    Regularizer,
)
from pykeen.utils import get_expected_norm, powersum_norm

from kgneg.core.typing import BoolTensor, FloatTensor, LongTensor
from kgneg.integrations.pykeen.training.batch import Sided

__all__ = ["OutputRegularization"]


def _penalties(regularizer: Any, x: FloatTensor) -> FloatTensor:
    """Return the penalty of each vector, shape ``(k,)``, for ``x`` of shape ``(k, *)``."""
    p, dim = regularizer.p, x.shape[-1]
    if x.is_complex():
        # the Euclidean norm is that of the real and imaginary parts, which torch computes a hundred times faster
        x = torch.view_as_real(x).flatten(-2) if p == 2 else x.abs()
    if isinstance(regularizer, PowerSumRegularizer) or getattr(regularizer, "power_norm", False):
        each = powersum_norm(x, p=p, dim=-1, normalize=False)
    else:
        each = torch.linalg.vector_norm(x, p, dim=-1)
    if isinstance(regularizer, NormLimitRegularizer):
        return (
            (each - regularizer.max_norm).relu().flatten(1).sum(1)
            if each.ndim > 1
            else (each - regularizer.max_norm).relu()
        )
    if regularizer.normalize:
        each = each / (get_expected_norm(p=p, d=dim) if isinstance(regularizer, LpRegularizer) else dim)
    return each if each.ndim == 1 else each.flatten(1).mean(1)


class OutputRegularization:
    """Adds to a model's regularisers what PyKEEN's loop would add for the negatives of a batch.

    PyKEEN regularises the vectors that it looks up: head, relation and tail of every negative. Here most of them are
    never looked up one by one, so the sum is taken over distinct entities and relations with their numbers.

    :param model: the model
    """

    def __init__(self, model: Model) -> None:
        self.entities: list[Representation] = []
        self.relations: list[Representation] = []
        #: whether the regularisers can be treated so
        self.possible: bool = True
        if not isinstance(model, ERModel):
            self.possible = not any(isinstance(module, Regularizer) for module in model.modules())
            return
        self.entities = [rep for rep in model.entity_representations if self._counts(rep)]
        self.relations = [rep for rep in model.relation_representations if self._counts(rep)]
        every = list(range(len(model.entity_representations)))
        same = list(model.interaction.head_indices) == list(model.interaction.tail_indices) == every
        self.possible &= same or not self.entities
        known = {id(rep.regularizer) for rep in (*self.entities, *self.relations)}
        for module in model.modules():
            nested = isinstance(module, Representation) and self._counts(module)
            if nested and id(module.regularizer) not in known:
                self.possible = False  # inside another representation: looked up in ways that are not known here

    def _counts(self, representation: Representation) -> bool:
        regularizer: Any = representation.regularizer
        if regularizer is None or isinstance(regularizer, NoRegularizer):
            return False
        separable = type(regularizer) in (LpRegularizer, PowerSumRegularizer, NormLimitRegularizer)
        self.possible &= bool(separable and regularizer.dim == -1 and not regularizer.apply_only_once)
        self.possible &= representation.dropout is None
        return True

    def __bool__(self) -> bool:
        return bool(self.entities or self.relations)

    @contextmanager
    def muted(self) -> Iterator[None]:
        """Keep lookups from being regularised.

        :yields: nothing
        """
        regularizers: list[Any] = [rep.regularizer for rep in (*self.entities, *self.relations)]
        modes = [regularizer.training for regularizer in regularizers]
        for regularizer in regularizers:
            regularizer.training = False
        try:
            yield
        finally:
            for regularizer, mode in zip(regularizers, modes, strict=True):
                regularizer.training = mode

    def add(
        self,
        positives: LongTensor,
        sided: Sided,
        mask: BoolTensor | None,
        *,
        vectors: tuple[FloatTensor, FloatTensor, FloatTensor] | None = None,
    ) -> None:
        """Regularise the entities and relations of the negatives of a batch.

        :param positives: shape: ``(b, 3)``
        :param sided: the negatives by side
        :param mask: shape: ``(b, n)``, in the order of ``sided``, which of them count; ``None``: all
        :param vectors: heads, relations and tails of the positives, for a model with one representation each, if they
            were looked up without being regularised; then the positives are regularised as well
        """
        rows = len(sided.entity)
        if not rows or not self or not torch.is_grad_enabled():
            return
        heads, per_row, total = self._numbers(sided, mask)
        candidates = sided.entity.reshape(-1) if mask is None else sided.entity[mask]
        own = 0.0 if vectors is None else 1.0 / rows
        for representation in self.entities:
            limit = isinstance(representation.regularizer, NormLimitRegularizer)
            scale, extra = (1.0, own * rows) if limit else (1.0 / total, own)
            self._add(
                representation, self._look(representation, positives, vectors, 0), (per_row - heads) * scale + extra
            )
            self._add(representation, self._look(representation, positives, vectors, 2), heads * scale + extra)
            distinct, counts = torch.unique(candidates, return_counts=True)
            with self.muted():
                x = representation(indices=distinct)
            self._add(representation, x, counts * scale)
        for representation in self.relations:
            limit = isinstance(representation.regularizer, NormLimitRegularizer)
            scale, extra = (1.0, own * rows) if limit else (1.0 / total, own)
            self._add(representation, self._look(representation, positives, vectors, 1), per_row * scale + extra)

    @staticmethod
    def _numbers(sided: Sided, mask: BoolTensor | None) -> tuple[torch.Tensor, torch.Tensor, int]:
        """Return how many negatives of each positive replace the head, how many there are, and of the batch."""
        rows, n = sided.entity.shape
        device = sided.entity.device
        if mask is None:
            heads = sided.heads
            of_row = torch.full((rows,), float(n), device=device)
            return (torch.full_like(of_row, heads) if isinstance(heads, int) else heads.float()), of_row, rows * n
        heads = sided.heads if isinstance(sided.heads, int) else sided.heads[:, None]
        at_head = (torch.arange(n, device=device) < heads).expand(rows, n)
        return (at_head & mask).sum(-1).float(), mask.sum(-1).float(), max(int(mask.sum()), 1)

    def _look(
        self,
        representation: Representation,
        positives: LongTensor,
        vectors: tuple[FloatTensor, FloatTensor, FloatTensor] | None,
        column: int,
    ) -> FloatTensor:
        if vectors is not None:
            return vectors[column]
        with self.muted():
            x: FloatTensor = representation(indices=positives[:, column])
        return x

    @staticmethod
    def _add(representation: Representation, x: FloatTensor, weights: torch.Tensor) -> None:
        regularizer: Any = representation.regularizer
        if not regularizer.training or not len(x):
            return
        penalties = _penalties(regularizer, x)
        regularizer.regularization_term = regularizer.regularization_term + torch.dot(
            penalties, weights.to(penalties.dtype)
        )
        regularizer.updated = True
