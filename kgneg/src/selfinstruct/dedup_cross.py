"""Near-duplicates across groups, by locality-sensitive hashing of sets of words."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm.auto import tqdm

from kgneg.core.errors import InvalidInputError, MissingExtraError
from kgneg.core.validation import validate_count
from kgneg.selfinstruct.candidates import Candidates
from kgneg.selfinstruct.dedup_text import normalise, words_of

__all__ = ["CrossGroups"]

_MIN_PERMUTATIONS = 16


def _datasketch() -> Any:
    try:
        import datasketch  # type: ignore[import-untyped,unused-ignore]
    except ImportError as error:
        raise MissingExtraError("datasketch is not installed: pip install 'kgneg[dedup]'") from error
    return datasketch


class CrossGroups:
    """Triples that stay, found again by the words that others share with them.

    What hashing finds is checked: only a Jaccard similarity above the limit counts. About one kilobyte is held per
    triple that stays.

    :param limit: the limit of the Jaccard similarity, in ``(0, 1)``
    :param permutations: how many hash functions there are
    :param code: what rows that go are marked with
    """

    def __init__(self, limit: float, permutations: int, *, code: int) -> None:
        self.limit, self.permutations, self.code = limit, permutations, code
        self._sketch = _datasketch()
        self._index = self._sketch.MinHashLSH(threshold=limit, num_perm=permutations)
        self._empty = self._sketch.MinHash(num_perm=permutations, seed=1)
        self._words: dict[int, frozenset[str]] = {}

    @staticmethod
    def validate(limit: float, permutations: int) -> None:
        """Check the settings, and that datasketch is there.

        :param limit: the limit
        :param permutations: the number of hash functions
        :raises InvalidInputError: if one is out of range
        """
        validate_count("permutations", permutations, _MIN_PERMUTATIONS)
        if isinstance(limit, bool) or not isinstance(limit, int | float) or not 0 < limit < 1:
            raise InvalidInputError(f"minhash must be in (0, 1), got {limit!r}, such as 0.8. None switches it off.")
        _datasketch()

    def add(self, row: int, words: frozenset[str]) -> int:
        """Compare one triple with those that stay, and let it stay if it is like none.

        :param row: its number
        :param words: its words
        :returns: the first of those that stay and are above the limit, or -1
        """
        sketch = self._empty.copy()
        sketch.update_batch([word.encode() for word in sorted(words)])
        for other in sorted(self._index.query(sketch)):
            theirs = self._words[other]
            if len(words & theirs) > self.limit * len(words | theirs):
                return int(other)
        self._index.insert(row, sketch)
        self._words[row] = words
        return -1

    def drop(
        self,
        candidates: Candidates,
        codes: npt.NDArray[np.uint8],
        first: npt.NDArray[np.int64],
        *,
        offset: int = 0,
        progress: bool | None = False,
    ) -> None:
        """Mark the rows that go, in place.

        :param candidates: ``n`` triples
        :param codes: shape: ``(n,)``; rows with another code than 0 are not looked at
        :param first: shape: ``(n,)``, gets the number of the row that stays
        :param offset: the number of the first row, when there were others before
        :param progress: whether to show a progress bar; ``None`` shows it on a terminal
        """
        disable = None if progress is None else not progress
        for place in tqdm(np.flatnonzero(codes == 0).tolist(), desc="across groups", unit="row", disable=disable):
            parts = (candidates.heads[place], candidates.relations[place], candidates.tails[place])
            words = frozenset(word for part in parts for word in words_of(normalise(part)))
            found = self.add(place + offset, words) if words else -1
            if found >= 0:
                codes[place], first[place] = self.code, found
