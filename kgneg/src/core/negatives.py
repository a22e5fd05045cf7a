"""The result of a corruption, held compactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from kgneg.core.typing import HEAD, RELATION, TAIL, BoolTensor, IntTensor, LongTensor

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Negatives"]


@dataclass(frozen=True)
class Negatives:
    """Negatives of a batch: which end of which positive was replaced by which entity.

    :param positives: shape: ``(*, 3)``, int64, the positives
    :param entity: shape: ``(*, n)``, int32, the entity that was put in
    :param side: shape: ``(*, n)``, int8, the column it was put in: 0 for the head, 2 for the tail
    :param fallback: shape: ``(*, n)``, true where the method had nothing to offer and a uniform draw stands in
    :param heads: when every row replaces the head in its first ``heads`` slots and the tail in all others, that number;
        ``None`` when rows differ

    >>> positives, entity, side = torch.tensor([[0, 0, 1]]), torch.tensor([[5, 6]]), torch.tensor([[0, 2]])
    >>> negatives = Negatives(positives, entity, side, torch.zeros(1, 2, dtype=torch.bool))
    >>> negatives.triples.tolist()
    [[[5, 0, 1], [0, 0, 6]]]
    """

    positives: LongTensor
    entity: IntTensor
    side: torch.Tensor
    fallback: BoolTensor
    heads: int | None = None

    @property
    def n(self) -> int:
        """The number of negatives per positive."""
        return self.entity.shape[-1]

    @cached_property
    def triples(self) -> LongTensor:
        """The negatives as triples, shape ``(*, n, 3)``, int64; every column is contiguous in memory."""
        shape = self.entity.shape
        columns = self.positives.new_empty((3, *shape))
        head, relation, tail = (column.unsqueeze(-1) for column in self.positives.unbind(-1))
        columns[RELATION] = relation
        if self.heads is None:
            replaces_head = self.side == HEAD
            torch.where(replaces_head, self.entity.long(), head, out=columns[HEAD])
            torch.where(replaces_head, tail, self.entity.long(), out=columns[TAIL])
        else:
            columns[HEAD, ..., : self.heads] = self.entity[..., : self.heads]
            columns[HEAD, ..., self.heads :] = head
            columns[TAIL, ..., : self.heads] = tail
            columns[TAIL, ..., self.heads :] = self.entity[..., self.heads :]
        return columns.movedim(0, -1)

    def to_frame(self, entities: Sequence[str] | None = None, relations: Sequence[str] | None = None) -> pd.DataFrame:
        """Return one row per negative, with labels where given.

        :param entities: entity labels by id; ``None`` keeps ids
        :param relations: relation labels by id; ``None`` keeps ids
        :returns: columns ``head, relation, tail, positive_head, positive_relation, positive_tail, side, fallback``
        """
        import numpy as np
        import pandas as pd

        triples = self.triples.reshape(-1, 3).cpu().numpy()
        positives = self.positives.unsqueeze(-2).expand(self.triples.shape).reshape(-1, 3).cpu().numpy()
        names = [np.asarray(labels, dtype=object) if labels is not None else None for labels in (entities, relations)]
        frame = {}
        for prefix, values in (("", triples), ("positive_", positives)):
            for column, name in ((HEAD, "head"), (RELATION, "relation"), (TAIL, "tail")):
                labels = names[column == RELATION]
                frame[prefix + name] = values[:, column] if labels is None else labels[values[:, column]]
        frame["side"] = np.where(self.side.reshape(-1).cpu().numpy() == HEAD, "head", "tail")
        frame["fallback"] = self.fallback.reshape(-1).cpu().numpy()
        return pd.DataFrame(frame)
