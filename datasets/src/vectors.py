"""Vectors with labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import FloatTensor, LongTensor

__all__ = ["VectorTable"]

_SHOWN = 5


@dataclass(frozen=True, eq=False)
class VectorTable:
    """Vectors of examples, whatever made them, and the labels of the examples.

    :param ids: a name for each example, no two the same
    :param labels: one label per example
    :param vectors: shape: ``(n, d)``, floating point; kept as float32
    :param groups: what each example comes from, if known; examples of a group belong on one side of a split
    :param types: what the label of each example depends on beside its vector, if known
    :raises InvalidInputError: if there is no example, lengths differ, an id occurs twice, a label is empty, or a vector
        holds NaN or infinite values

    >>> VectorTable(ids=("a", "b"), labels=("born in", "NA"), vectors=torch.eye(2))
    VectorTable(examples=2, dim=2, labels=2)
    """

    ids: tuple[str, ...]
    labels: tuple[str, ...]
    vectors: FloatTensor = field(repr=False)
    groups: tuple[str, ...] | None = None
    types: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        number = len(self.ids)
        if not number:
            raise InvalidInputError("ids: got no example, expected at least one")
        for name in ("labels", "groups", "types"):
            values = getattr(self, name)
            if values is not None and len(values) != number:
                raise InvalidInputError(f"{name}: got {len(values)} values for {number} examples; give one per example")
        repeated = [name for name, count in Counter(self.ids).most_common(_SHOWN) if count > 1]
        if repeated:
            raise InvalidInputError(
                f"ids: {', '.join(map(repr, repeated))} occur more than once; give each example an id of its own"
            )
        empty = [row for row, label in enumerate(self.labels) if not label.strip()]
        if empty:
            raise InvalidInputError(
                f"labels: {len(empty)} of {number} examples have none, {_rows(empty)}; leave these examples out, or "
                "give them the label of negatives"
            )
        object.__setattr__(self, "vectors", self._checked_vectors())

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"VectorTable(examples={len(self)}, dim={self.vectors.shape[1]}, labels={len(set(self.labels))})"

    def select(self, rows: LongTensor | Sequence[int]) -> VectorTable:
        """Choose examples.

        :param rows: shape: ``(m,)``, positions of examples without repetitions, in the wished order; or a mask of all
        :returns: these examples
        :raises InvalidInputError: if there are no rows, or one is out of range or repeated
        """
        rows = torch.as_tensor(rows)
        if rows.dtype == torch.bool:
            if rows.shape != (len(self),):
                raise InvalidInputError(f"rows: got a mask of shape {tuple(rows.shape)}, expected ({len(self)},)")
            rows = rows.nonzero().squeeze(-1)
        chosen = rows.long().tolist()
        wrong = [row for row in chosen if not 0 <= row < len(self)]
        if wrong:
            raise InvalidInputError(f"rows: got {wrong[0]}, expected 0 to {len(self) - 1}")

        def pick(values: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(values[row] for row in chosen)

        return VectorTable(
            ids=pick(self.ids),
            labels=pick(self.labels),
            vectors=self.vectors[rows.long()],
            groups=None if self.groups is None else pick(self.groups),
            types=None if self.types is None else pick(self.types),
        )

    def _checked_vectors(self) -> FloatTensor:
        """Refuse anything but one finite vector per example."""
        vectors, number = self.vectors, len(self.ids)
        if vectors.ndim != 2 or len(vectors) != number or not vectors.shape[1] or not vectors.is_floating_point():
            raise InvalidInputError(
                f"vectors: got shape {tuple(vectors.shape)} and dtype {vectors.dtype}, expected ({number}, d) with "
                "d > 0 and floating point numbers"
            )
        ready = vectors.float()  # a double may be too large for it
        bad = (~ready.isfinite()).any(dim=-1).nonzero().squeeze(-1).tolist()
        if bad:
            raise InvalidInputError(
                f"vectors: {len(bad)} of {number} hold NaN, infinite or missing values, {_rows(bad)}; make these "
                "vectors again or leave the examples out"
            )
        return ready


def _rows(rows: Sequence[int]) -> str:
    """List the first rows."""
    more = ", ..." if len(rows) > _SHOWN else ""
    return f"in the rows (from 0) {', '.join(map(str, rows[:_SHOWN]))}{more}"
