"""What a noise filter is given, checked."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.knn import validate_vectors
from kgneg.core.typing import BoolTensor, FloatTensor, LongTensor

__all__ = ["Column", "NoiseRows"]

_SMALL, _LARGE = 1e-10, 1e10

#: One value per row: a list, an array or a tensor.
Column: TypeAlias = Sequence[Hashable] | np.ndarray | torch.Tensor


@dataclass(frozen=True, eq=False)
class NoiseRows:
    """Vectors with labels, one of which means that nobody labelled the row.

    :param vectors: shape: ``(n, d)``, float32
    :param codes: shape: ``(n,)``, positions in ``classes``; 0 is the negative label
    :param classes: the labels, the negative one first
    :param groups: shape: ``(n,)``; rows of one group are never compared
    :param cells: columns of shape ``(n,)``, the positions of the categories of each row
    :param clean: shape: ``(n,)``, positions in ``classes`` of labels that are surely right, -1 where there is none
    :param ids: a name per row
    """

    vectors: FloatTensor
    codes: LongTensor
    classes: tuple[Any, ...]
    groups: LongTensor
    cells: tuple[LongTensor, ...]
    clean: LongTensor
    ids: tuple[Hashable, ...]

    @classmethod
    def check(
        cls,
        embeddings: Any,
        labels: Column,
        *,
        negative_label: Hashable,
        least_positives: int,
        groups: Column | None = None,
        types: Column | Mapping[str, Column] | None = None,
        ids: Column | None = None,
        clean_mask: Any = None,
        clean_labels: Column | None = None,
    ) -> NoiseRows:
        """Check rows and translate names to positions.

        :param embeddings: shape: ``(n, d)``, an array or a tensor
        :param labels: a label per row
        :param negative_label: the label of the big class
        :param least_positives: how many rows must have another label
        :param groups: a group per row; ``None`` gives each row its own
        :param types: a category per row, or several columns of them by name
        :param ids: a name per row, no two the same; ``None`` numbers the rows
        :param clean_mask: shape: ``(n,)``, which rows have a label in ``clean_labels``; ``None`` with ``clean_labels``
            means those whose clean label is neither ``None`` nor NaN
        :param clean_labels: a label per row; it is read in clean rows only
        :returns: the rows
        :raises InvalidInputError: if lengths differ, a vector is not finite, an id occurs twice, a label or a group is
            missing, the negative label is not there, or there are too few positives
        """
        vectors = _matrix(embeddings)
        number = len(vectors)
        names = _complete("labels", _values("labels", labels, number))
        named = _values("ids", ids, number) if ids is not None else list(range(number))
        if len(set(named)) < number:
            seen: dict[Hashable, int] = {}
            first, again = next((seen[one], row) for row, one in enumerate(named) if seen.setdefault(one, row) != row)
            raise InvalidInputError(f"ids must differ: {named[again]!r} is the id of rows {first} and {again}")
        clean_names = _clean(clean_mask, clean_labels, number)
        classes = _classes(names, [name for name in clean_names if name is not None], negative_label)
        position = {name: code for code, name in enumerate(classes)}
        codes = torch.tensor([position[name] for name in names])
        positives = int((codes > 0).sum())
        if positives < least_positives:
            raise InvalidInputError(
                f"there are {positives} rows with another label than {negative_label!r}, but k={least_positives} asks "
                f"for {least_positives} at least: choose a smaller k or add labelled rows"
            )
        if positives == number:
            raise InvalidInputError(f"no row has the label {negative_label!r}: there is nothing to clean")
        columns = types.items() if isinstance(types, Mapping) else [] if types is None else [("types", types)]
        cells = tuple(_positions(_values(name, column, number)) for name, column in columns)
        of_rows = range(number) if groups is None else _complete("groups", _values("groups", groups, number))
        clean = torch.tensor([-1 if name is None else position[name] for name in clean_names])
        return cls(vectors, codes, classes, _positions(of_rows), cells, clean, tuple(named))

    @property
    def positive(self) -> BoolTensor:
        """Shape ``(n,)``: which rows are labelled with something else than the negative label."""
        return self.codes > 0

    def trusted(self) -> LongTensor:
        """Return the best known label of each row, shape ``(n,)``: the clean one where there is one."""
        return torch.where(self.clean >= 0, self.clean, self.codes)

    def __len__(self) -> int:
        return len(self.codes)


def _matrix(embeddings: Any) -> FloatTensor:
    """Return vectors as finite float32, brought to a size that has squares."""
    if isinstance(embeddings, torch.Tensor):
        vectors = embeddings.detach()
    else:
        try:
            array = np.asarray(embeddings)
            array = array.astype(np.float64) if array.dtype == object else array
            kind = array.dtype.newbyteorder("=")
            vectors = torch.from_numpy(np.require(array, dtype=kind, requirements=["C", "W"]))
        except (TypeError, ValueError) as error:
            raise InvalidInputError(f"embeddings must be a matrix of numbers, (n, d): {error}") from error
    if vectors.is_complex():
        raise InvalidInputError("embeddings must be real numbers: give real and imaginary parts side by side")
    checked = validate_vectors(vectors)
    largest = max((abs(float(end)) for end in vectors.aminmax()), default=0.0) if vectors.numel() else 0.0
    if largest and not _SMALL < largest < _LARGE:
        checked = (vectors.double() / largest).float()
    return checked


def _values(name: str, column: Any, number: int) -> list[Any]:
    """Return a column as a list, with ``None`` where there is no value (``None``, NaN and the like)."""
    ordered = hasattr(column, "__len__") and not isinstance(column, str | bytes | Set | Mapping)
    if not ordered or getattr(column, "ndim", 1) != 1:
        shape = f" of shape {tuple(column.shape)}" if hasattr(column, "shape") else ""
        raise InvalidInputError(f"{name} must hold one value per row, got {type(column).__name__}{shape}")
    values = column.tolist() if isinstance(column, torch.Tensor | np.ndarray) else list(column)
    if len(values) != number:
        raise InvalidInputError(f"there are {number} vectors but {len(values)} {name}: give one per row")
    return [_value(name, row, value) for row, value in enumerate(values)]


def _value(name: str, row: int, value: Any) -> Any:
    if isinstance(value, torch.Tensor) and value.ndim == 0:
        value = value.item()
    try:
        hash(value)
    except TypeError:
        raise InvalidInputError(f"{name} must hold names or numbers, got {value!r} in row {row}") from None
    try:
        return None if value != value else value  # NaN is the value that differs from itself
    except TypeError:  # the NA of pandas does not even say that
        return None


def _complete(name: str, values: list[Any]) -> list[Any]:
    missing = next((row for row, value in enumerate(values) if value is None), None)
    if missing is not None:
        raise InvalidInputError(f"{name} must hold a value in every row, and row {missing} has none: give it one")
    return values


def _positions(values: Iterable[Any]) -> LongTensor:
    places: dict[Any, int] = {}
    return torch.tensor([places.setdefault(value, len(places)) for value in values])


def _classes(names: list[Any], clean: list[Any], negative: Hashable) -> tuple[Any, ...]:
    found = set(names)
    if not isinstance(negative, Hashable) or negative not in found:
        shown = ", ".join(repr(name) for name in sorted(found, key=str)[:5])
        raise InvalidInputError(f"no row has the label {negative!r}; there are {len(found)} labels: {shown}")
    if len(found) == 1:
        raise InvalidInputError(
            f"all {len(names)} rows have the label {negative!r}: label some positives to learn from"
        )
    others = sorted((found | set(clean)) - {negative}, key=lambda name: (str(type(name)), str(name)))
    return (negative, *others)


def _clean(mask: Any, labels: Column | None, number: int) -> list[Any]:
    """Return the clean label of each row, ``None`` where there is none."""
    if labels is None:
        if mask is not None:
            raise InvalidInputError("clean_mask says which rows are clean: give clean_labels too")
        return [None] * number
    names = _values("clean_labels", labels, number)
    if mask is None:
        return names
    marks = _values("clean_mask", mask, number)
    strange = next((row for row, mark in enumerate(marks) if mark not in (0, 1)), None)
    if strange is not None:
        raise InvalidInputError(
            f"clean_mask must be True or False in every row, got {marks[strange]!r} in row {strange}"
        )
    missing = next((row for row, mark in enumerate(marks) if mark and names[row] is None), None)
    if missing is not None:
        raise InvalidInputError(f"row {missing} is marked as clean but has no clean label")
    return [name if mark else None for name, mark in zip(names, marks, strict=True)]
