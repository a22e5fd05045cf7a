"""Near-duplicates within one group of texts: similar words, or similar vectors. Exact, and bounded in memory."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from kgneg.selfinstruct.dedup_text import encode_words

__all__ = ["ALL_PAIRS", "Vectors", "near_duplicates"]

#: Groups up to this size are compared all with all; larger ones find the few that share rare words first.
ALL_PAIRS = 2048
#: How many vectors are compared at once: rows, and kept ones.
_ROWS, _KEPT = 256, 4096
_ROUGE_L, _COSINE = 2, 3

#: Gives the unit vectors of rows of the group, shape ``(k, d)``, float32; a vector of zeros is like no other.
Vectors = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float32]]
Outcome = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]


def near_duplicates(
    words: Sequence[Sequence[str]],
    rouge_l: Fraction | None,
    vectors: Vectors | None,
    cosine: float | None,
    *,
    all_pairs: int = ALL_PAIRS,
) -> Outcome:
    """Find which texts are similar to an earlier one that stays.

    Texts are taken in order. One goes when the ROUGE-L F-score of its words and those of a text that stays is above
    ``rouge_l``, or else when the cosine of their vectors is above ``cosine``; the earliest such text is its reason. The
    result is that of comparing all with all.

    :param words: the words of each of ``m`` texts
    :param rouge_l: the limit, below 1; ``None`` does not compare words
    :param vectors: gives the vectors of some rows; ``None`` does not compare vectors
    :param cosine: the limit
    :param all_pairs: up to how many texts are compared without an index
    :returns: codes of shape ``(m,)``, 0 for texts that stay, 2 for words and 3 for vectors; and the text that stays
        for each, shape ``(m,)``
    """
    size = len(words)
    codes, first = np.zeros(size, dtype=np.uint8), np.arange(size)
    texts = None if rouge_l is None else encode_words(words)
    if size <= all_pairs:
        matches = []
        if texts is not None and rouge_l is not None:
            matches.append((_ROUGE_L, _similar_words(texts, rouge_l)))
        if vectors is not None and cosine is not None:
            block = vectors(first)
            matches.append((_COSINE, block @ block.T > cosine))
        _settle(matches, codes, first)
        return codes, first
    index = None if texts is None or rouge_l is None else _Index(texts, rouge_l)
    for begin in range(0, size, _ROWS):
        end = min(begin + _ROWS, size)
        outside, inside = np.full(end - begin, -1), None
        if vectors is not None and cosine is not None:
            rows = np.arange(begin, end)
            block = vectors(rows)
            outside = _first_kept(block, np.flatnonzero(codes[:begin] == 0), vectors, cosine)
            inside = block @ block.T > cosine
        for row in range(begin, end):
            _place(row, begin, index, outside, inside, codes, first)
    return codes, first


def _place(
    row: int,
    begin: int,
    index: _Index | None,
    outside: npt.NDArray[np.int64],
    inside: npt.NDArray[np.bool_] | None,
    codes: npt.NDArray[np.uint8],
    first: npt.NDArray[np.int64],
) -> None:
    """Decide about one row of a large group, given those before it."""
    found = -1 if index is None else index.find(row)
    if found >= 0:
        codes[row], first[row] = _ROUGE_L, found
        return
    place = row - begin
    if outside[place] >= 0:
        codes[row], first[row] = _COSINE, outside[place]
        return
    if inside is not None:
        hits = np.flatnonzero(inside[place, :place] & (codes[begin:row] == 0))
        if len(hits):
            codes[row], first[row] = _COSINE, begin + hits[0]
            return
    if index is not None:
        index.add(row)


def _similar_words(texts: Any, limit: Fraction) -> npt.NDArray[np.bool_]:
    """Return which pairs are above the limit, shape ``(m, m)``; a text without words is like no other."""
    from rapidfuzz.distance import Indel
    from rapidfuzz.process import cdist

    common = cdist(texts, texts, scorer=Indel.similarity, dtype=np.int32)  # twice the longest common subsequence
    sizes = np.fromiter(map(len, texts), np.int64, count=len(texts))
    total = sizes[:, None] + sizes
    return np.asarray(common.astype(np.int64) * limit.denominator > total * limit.numerator)


def _settle(
    matches: list[tuple[int, npt.NDArray[np.bool_]]], codes: npt.NDArray[np.uint8], first: npt.NDArray[np.int64]
) -> None:
    """Go through a small group in order, in place."""
    keep = np.ones(len(codes), dtype=bool)
    matches = [(code, np.tril(match, -1)) for code, match in matches]
    suspects = np.zeros(len(codes), dtype=bool)
    for _, match in matches:
        suspects |= match.any(axis=1)
    for row in np.flatnonzero(suspects).tolist():
        for code, match in matches:
            hits = np.flatnonzero(match[row, :row] & keep[:row])
            if len(hits):
                keep[row], codes[row], first[row] = False, code, hits[0]
                break


def _first_kept(
    block: npt.NDArray[np.float32], kept: npt.NDArray[np.int64], vectors: Vectors, cosine: float
) -> npt.NDArray[np.int64]:
    """Return the earliest of the kept rows that each row is similar to, or -1."""
    found = np.full(len(block), -1)
    for begin in range(0, len(kept), _KEPT):
        some = kept[begin : begin + _KEPT]
        open_rows = np.flatnonzero(found < 0)
        if not len(open_rows):
            break
        match = block[open_rows] @ vectors(some).T > cosine
        hit = match.any(axis=1)
        found[open_rows[hit]] = some[match[hit].argmax(axis=1)]
    return found


class _Index:
    """Finds texts that stay and may be above the limit, by the rarest words of each.

    Two texts of ``a`` and ``b`` words are above the limit ``r`` when they share a sequence of more than
    ``r (a + b) / 2`` words; then, with words in one order, rarest first, they share one among the first
    ``a - s + 1`` of the one and the first ``b - s + 1`` of the other, for any ``s`` up to that number.
    """

    def __init__(self, texts: Any, limit: Fraction) -> None:
        self.texts, self.limit = texts, limit
        self._sizes = np.fromiter(map(len, texts), np.int64, count=len(texts))
        self._counts = Counter(word for text in texts for word in text)
        self._postings: dict[Any, list[int]] = defaultdict(list)
        self._heads: dict[int, tuple[int, int, int]] = {}
        self._row, self._keys = -1, list[Any]()

    def _head(self, size: int) -> tuple[int, int, int]:
        """Return the shortest and the longest text that can be above the limit, and how many rare words count."""
        if size not in self._heads:
            shortest = int(self.limit * size // (2 - self.limit)) + 1
            longest = -int(-((2 - self.limit) * size) // self.limit) - 1 if self.limit else np.iinfo(np.int64).max
            common = int(self.limit * (size + shortest) // 2) + 1
            self._heads[size] = shortest, int(longest), size - common + 1
        return self._heads[size]

    def _rare(self, row: int) -> list[Any]:
        """Return the rarest words of a text, each with how often it stood before: every match shares one of them."""
        if row == self._row:
            return self._keys
        seen: Counter[Any] = Counter()
        numbered = []
        for word in self.texts[row]:
            numbered.append((self._counts[word], word, seen[word]))
            seen[word] += 1
        numbered.sort()
        self._row = row
        self._keys = [(word, time) for _, word, time in numbered[: self._head(len(numbered))[2]]] if numbered else []
        return self._keys

    def find(self, row: int) -> int:
        """Return the earliest text that stays and is above the limit, or -1."""
        from rapidfuzz.distance import Indel
        from rapidfuzz.process import cdist

        found: set[int] = set()
        for key in self._rare(row):
            found.update(self._postings.get(key, ()))
        if not found:
            return -1
        rows = np.fromiter(found, np.int64, count=len(found))
        sizes = self._sizes[rows]
        shortest, longest, _ = self._head(len(self.texts[row]))
        rows = np.sort(rows[(sizes >= shortest) & (sizes <= longest)])
        texts = [self.texts[one] for one in rows.tolist()]
        common = cdist([self.texts[row]], texts, scorer=Indel.similarity, dtype=np.int32)[0].astype(np.int64)
        total = self._sizes[rows] + len(self.texts[row])
        hits = np.flatnonzero(common * self.limit.denominator > total * self.limit.numerator)
        return int(rows[hits[0]]) if len(hits) else -1

    def add(self, row: int) -> None:
        """Let a text stay."""
        for key in self._rare(row):
            self._postings[key].append(row)
