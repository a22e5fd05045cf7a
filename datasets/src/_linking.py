"""Known phrases that stand inside others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import scipy.sparse

from kgneg.datasets._inflection import base_form

__all__ = ["Matrix", "PhraseLinker", "based", "binary"]

Matrix: TypeAlias = "scipy.sparse.csr_array[Any, tuple[int, int]]"

_CHUNK = 20_000  # phrases that are searched at a time


def binary(rows: npt.ArrayLike, columns: npt.ArrayLike, shape: tuple[int, int]) -> Matrix:
    """Return a sparse matrix of ones.

    :param rows: the row of each, repetitions count once
    :param columns: the column of each
    :param shape: the shape
    :returns: the matrix, with int32 ones
    """
    places = (np.asarray(rows, dtype=np.int64), np.asarray(columns, dtype=np.int64))
    matrix = scipy.sparse.csr_array((np.ones(len(places[0]), dtype=np.int32), places), shape=shape)
    matrix.data[:] = 1
    return matrix


class PhraseLinker:
    """Finds which of many phrases stand in texts (Aho and Corasick, CACM 1975), also where they overlap.

    :param phrases: distinct phrases, words with single blanks between them
    :param exact: whether they stand for whole words, or for any run of letters

    >>> PhraseLinker(["art", "the art"]).find(["the art of war", "the party"]).toarray().tolist()
    [[1, 1], [0, 0]]
    >>> PhraseLinker(["art"], exact=False).find(["the party"]).toarray().tolist()
    [[1]]
    """

    def __init__(self, phrases: Sequence[str], *, exact: bool = True) -> None:
        from ahocorasick_rs import AhoCorasick, MatchKind

        self.number, self._mark = len(phrases), " " if exact else ""
        forms = [f"{self._mark}{phrase}{self._mark}" for phrase in phrases]
        self._automaton = AhoCorasick(forms, matchkind=MatchKind.Standard) if forms else None

    def find(self, texts: Sequence[str]) -> Matrix:
        """Find the phrases.

        :param texts: words with single blanks between them
        :returns: shape: texts x phrases, 1 where a phrase stands in a text
        """
        rows, columns = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
        for first, part in _chunks(texts):
            if self._automaton is None:
                break
            lines = [f"{self._mark}{text}{self._mark}\n" for text in part]
            found = self._automaton.find_matches_as_indexes("".join(lines), overlapping=True)
            places = np.fromiter(chain.from_iterable(found), np.int64, count=3 * len(found)).reshape(-1, 3)
            ends = np.cumsum([len(line) for line in lines])
            rows.append(first + np.searchsorted(ends, places[:, 1], side="right"))
            columns.append(places[:, 0])
        shape = (len(texts), self.number)
        return binary(np.concatenate(rows), np.concatenate(columns), shape)


def _chunks(texts: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    rest = iter(texts)
    for first in range(0, len(texts), _CHUNK):
        yield first, list(islice(rest, _CHUNK))


def based(
    texts: Sequence[Sequence[str]], part: str, known: frozenset[str], fixed: frozenset[str] = frozenset()
) -> list[str]:
    """Return texts with each word in its base form.

    :param texts: the words of each
    :param part: ``"noun"`` or ``"verb"``, whose endings are taken off
    :param known: the base forms
    :param fixed: words to leave as they are
    :returns: words with single blanks between them
    """
    words = set(chain.from_iterable(texts))
    forms = {word: word if word in fixed else base_form(word, part, known) for word in words}
    return [" ".join([forms[word] for word in words]) for words in texts]
