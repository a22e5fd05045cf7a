"""Triples in words that are offered to judges and filters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from kgneg.core.errors import InvalidInputError

__all__ = ["CONTROL", "Candidates"]

_SEPARATOR = "\x1f"
_PARTS = ("heads", "relations", "tails")
#: A regular expression, for Python and for Arrow: tabs and line ends are white space like any other.
CONTROL = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
_CONTROL = re.compile(CONTROL)


def _listed(values: Sequence[str], name: str) -> Sequence[str]:
    """Return the texts as a list or tuple; the first one that is no text, or empty, is an error."""
    if isinstance(values, str):
        raise InvalidInputError(
            f"{name} must be a sequence of texts, got the single text {values!r}. Put it in a list."
        )
    texts = values if isinstance(values, (list, tuple)) else list(values)
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise InvalidInputError(
                f"{name}[{row}] is {text!r} of type {type(text).__name__}, expected text. "
                "Replace missing values, or leave the row out."
            )
        if not text or text.isspace():
            raise InvalidInputError(f"{name}[{row}] is empty. Give it a text, or leave the row out.")
        if _CONTROL.search(text):
            raise InvalidInputError(
                f"{name}[{row}] is {text!r}, with a control character. Replace it by a space, or leave the row out."
            )
    return texts


@dataclass(frozen=True, eq=False)
class Candidates:
    """Triples in words, column by column, in the order in which they were given.

    :param heads: shape: ``(n,)``, the text of each head
    :param relations: shape: ``(n,)``, the name of each relation
    :param tails: shape: ``(n,)``, the text of each tail
    :raises InvalidInputError: if the lengths differ, or a part is empty, no text, or has a control character

    >>> pairs = Candidates(heads=["cat", "dog"], relations=["IsA", "IsA"], tails=["fish", "animal"])
    >>> len(pairs), list(pairs[1:].triples())
    (2, [('dog', 'IsA', 'animal')])
    """

    heads: Sequence[str]
    relations: Sequence[str]
    tails: Sequence[str]

    def __post_init__(self) -> None:
        for name in _PARTS:
            object.__setattr__(self, name, _listed(getattr(self, name), name))
        lengths = {name: len(getattr(self, name)) for name in _PARTS}
        if len(set(lengths.values())) > 1:
            found = ", ".join(f"{length} {name}" for name, length in lengths.items())
            raise InvalidInputError(f"heads, relations and tails must be equally many, got {found}. Check the columns.")

    def __len__(self) -> int:
        return len(self.heads)

    def __getitem__(self, rows: np.ndarray | list[int] | slice) -> Candidates:
        if isinstance(rows, slice):
            return self._made(self.heads[rows], self.relations[rows], self.tails[rows])
        picked = np.asarray(rows)
        if picked.dtype == bool:
            if picked.shape != (len(self),):
                raise InvalidInputError(
                    f"a mask must have the shape ({len(self)},), got {picked.shape}. Make it from the same candidates."
                )
            picked = np.flatnonzero(picked)
        if picked.size and (picked.ndim != 1 or picked.dtype.kind not in "iu"):
            raise InvalidInputError(
                f"rows must be a slice, a mask or whole numbers of shape (m,), got {picked.dtype} of shape "
                f"{picked.shape}. For one row, use candidates[row : row + 1]."
            )
        order = picked.tolist() if picked.size else []
        return self._made(*([getattr(self, name)[row] for row in order] for name in _PARTS))

    @classmethod
    def _made(cls, heads: Sequence[str], relations: Sequence[str], tails: Sequence[str]) -> Candidates:
        """Return candidates of columns that were checked before."""
        made = object.__new__(cls)
        for name, values in zip(_PARTS, (heads, relations, tails), strict=True):
            object.__setattr__(made, name, values)
        return made

    @classmethod
    def from_triples(cls, triples: Iterable[tuple[str, str, str] | Sequence[str]]) -> Candidates:
        """Return the candidates of triples.

        :param triples: head, relation and tail of each
        :returns: the same in columns
        :raises InvalidInputError: if one of them has not three parts

        >>> Candidates.from_triples([("cat", "IsA", "fish")]).tails
        ['fish']
        """
        columns: tuple[list[str], list[str], list[str]] = ([], [], [])
        for row, triple in enumerate(triples):
            if isinstance(triple, str) or len(triple) != len(_PARTS):
                raise InvalidInputError(
                    f"triple {row} is {triple!r}, expected (head, relation, tail). Check the input."
                )
            for column, part in zip(columns, triple, strict=True):
                column.append(part)
        return cls(*columns)

    def triples(self) -> Iterator[tuple[str, str, str]]:
        """Yield head, relation and tail of every candidate.

        :returns: an iterator over the rows
        """
        return zip(self.heads, self.relations, self.tails, strict=True)

    def keys(self) -> list[str]:
        r"""Return one text per triple by which equal ones are found: NFC, stripped, joined by the unit separator.

        :returns: shape: ``(n,)``, the keys

        >>> Candidates.from_triples([(" cat", "IsA", "fish ")]).keys()
        ['cat\x1fIsA\x1ffish']
        """
        return [
            _SEPARATOR.join(unicodedata.normalize("NFC", part).strip() for part in triple) for triple in self.triples()
        ]
