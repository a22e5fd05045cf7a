"""Repetitions among candidate negatives: equal triples, and tails alike in words or meaning within a group."""

from __future__ import annotations

import hashlib
import json
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm.auto import tqdm

from kgneg.core.errors import InvalidInputError
from kgneg.core.validation import validate_share
from kgneg.selfinstruct.candidates import Candidates
from kgneg.selfinstruct.dedup_cross import CrossGroups
from kgneg.selfinstruct.dedup_groups import near_duplicates
from kgneg.selfinstruct.dedup_text import normalise, words_of
from kgneg.selfinstruct.duplicates import REASONS, Duplicates

__all__ = ["Deduplicator"]

_EXACT, _MINHASH = REASONS.index("exact"), REASONS.index("minhash")
_VERSION = 2


class Deduplicator:
    """Leave one of each set of repeated triples: the first.

    Triples with equal normalised head and relation are a group. Within a group, in order:

    1. a triple goes whose normalised tail stood there before (``exact``);
    2. a triple goes whose tail has a ROUGE-L F-score above ``rouge_l`` with that of a triple that stays
       (``rouge_l``), the novelty rule of Self-Instruct;
    3. or, with vectors, whose tail has a cosine above ``cosine`` with that of a triple that stays (``cosine``).

    The result equals that of comparing all with all within each group, at a cost that grows with the size of the groups
    and not with the square of the number of triples. With ``minhash``, what stays is then compared across groups, too:
    a triple goes whose words, head and relation included, have a Jaccard similarity above it with those of one that
    stays; locality-sensitive hashing finds most such pairs, not all. That needs the extra ``dedup``.

    :param rouge_l: the limit of the ROUGE-L F-score, in ``[0, 1)``; 0.7 as in Self-Instruct; ``None`` does not compare
    :param cosine: the limit of the cosine, in ``[0, 1]``; ``None`` does not compare
    :param minhash: the limit of the Jaccard similarity across groups, in ``(0, 1)``; ``None`` does not compare
    :param permutations: how many hash functions MinHash has
    :raises InvalidInputError: if a limit is out of range

    >>> found = Deduplicator().find(Candidates(["a"] * 3, ["Wants"] * 3, ["buy a big cat", "Buy a big cat ", "sleep"]))
    >>> found.keep.tolist(), found.reason
    ([True, False, True], ('', 'exact', ''))
    """

    def __init__(
        self,
        *,
        rouge_l: float | None = 0.7,
        cosine: float | None = 0.95,
        minhash: float | None = None,
        permutations: int = 64,
    ) -> None:
        if rouge_l is not None and validate_share("rouge_l", rouge_l) >= 1.0:
            raise InvalidInputError(f"rouge_l must be in [0, 1), got {rouge_l}. None switches it off.")
        self.rouge_l = rouge_l
        self.cosine = None if cosine is None else validate_share("cosine", cosine)
        self.minhash = minhash
        self.permutations = permutations
        self._limit = None if rouge_l is None else Fraction(str(rouge_l))
        if minhash is not None:
            CrossGroups.validate(minhash, permutations)

    def fingerprint(self) -> str:
        """Return a hash of the settings.

        :returns: 32 hexadecimal digits
        """
        settings = [_VERSION, self.rouge_l, self.cosine, self.minhash, self.permutations]
        return hashlib.blake2b(json.dumps(settings).encode(), digest_size=16).hexdigest()

    def find(
        self,
        candidates: Candidates,
        vectors: npt.ArrayLike | None = None,
        *,
        progress: bool | None = False,
    ) -> Duplicates:
        """Find repetitions.

        :param candidates: ``n`` triples
        :param vectors: shape: ``(n, d)``, a vector of each tail, of any length; an array on disk is read in pieces;
            ``None`` does not compare vectors
        :param progress: whether to show a progress bar; ``None`` shows it on a terminal
        :returns: which stay, and why the others go
        :raises InvalidInputError: if there is not one vector per triple
        """
        table = self._table(vectors, len(candidates))
        codes, first = np.zeros(len(candidates), dtype=np.uint8), np.arange(len(candidates))
        groups, tails = _groups(candidates)
        _drop_equal(groups, tails, codes, first)
        if self._limit is not None or table is not None:
            self._drop_similar(groups, tails, table, codes, first, progress)
        if self.minhash is not None:
            self.cross_groups().drop(candidates, codes, first, progress=progress)
        _follow(first)
        return Duplicates(codes, first)

    def cross_groups(self) -> CrossGroups:
        """Return what compares across groups.

        :returns: a comparison that has seen nothing
        :raises InvalidInputError: if there is no limit for it
        """
        if self.minhash is None:
            raise InvalidInputError("this deduplicator does not compare across groups: give it minhash=, such as 0.8")
        return CrossGroups(self.minhash, self.permutations, code=_MINHASH)

    def _table(self, vectors: npt.ArrayLike | None, size: int) -> Any:
        if vectors is None or self.cosine is None:
            return None
        table = vectors if isinstance(vectors, np.ndarray) else np.asarray(vectors)
        if table.ndim != 2 or len(table) != size or table.dtype.kind not in "fiu":
            raise InvalidInputError(
                f"vectors must be numbers of shape ({size}, d), got {table.dtype} of shape {table.shape}. Give one row "
                "per triple."
            )
        return table

    def _drop_similar(
        self,
        groups: npt.NDArray[np.int64],
        tails: list[str],
        table: Any,
        codes: npt.NDArray[np.uint8],
        first: npt.NDArray[np.int64],
        progress: bool | None,
    ) -> None:
        """Compare within each group, in place."""
        rows = np.flatnonzero(codes == 0)
        rows = rows[np.argsort(groups[rows], kind="stable")]
        starts = np.flatnonzero(np.diff(groups[rows], prepend=-1))
        ends = np.append(starts[1:], len(rows))
        several = ends - starts > 1
        disable = None if progress is None else not progress
        with tqdm(total=int((ends - starts)[several].sum()), desc="deduplicate", unit="row", disable=disable) as bar:
            for start, end in zip(starts[several].tolist(), ends[several].tolist(), strict=True):
                members = rows[start:end]
                words = [words_of(tails[row]) for row in members.tolist()]
                code, which = near_duplicates(words, self._limit, _reader(table, members), self.cosine)
                gone = np.flatnonzero(code)
                codes[members[gone]] = code[gone]
                first[members[gone]] = members[which[gone]]
                bar.update(end - start)


def _reader(table: Any, members: npt.NDArray[np.int64]) -> Any:
    """Return what reads unit vectors of members of a group, or ``None``."""
    if table is None:
        return None

    def read(places: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        block: npt.NDArray[np.float32] = np.asarray(table[members[places]], dtype=np.float32)
        sizes = np.linalg.norm(block, axis=1, keepdims=True)
        np.divide(block, sizes, out=block, where=sizes > 0)
        return np.nan_to_num(block, copy=False)

    return read


def _groups(candidates: Candidates) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Return the number of the group of each row, shape ``(n,)``, and its normalised tail."""
    known = lru_cache(maxsize=1 << 16)(normalise)
    ids: dict[tuple[str, str], int] = {}
    groups = np.fromiter(
        (
            ids.setdefault((known(head), known(relation)), len(ids))
            for head, relation in zip(candidates.heads, candidates.relations, strict=True)
        ),
        np.int64,
        count=len(candidates),
    )
    return groups, [normalise(tail) for tail in candidates.tails]


def _drop_equal(
    groups: npt.NDArray[np.int64], tails: list[str], codes: npt.NDArray[np.uint8], first: npt.NDArray[np.int64]
) -> None:
    """Drop what stood in its group before, in place."""
    seen: dict[tuple[int, str], int] = {}
    for row, key in enumerate(zip(groups.tolist(), tails, strict=True)):
        found = seen.setdefault(key, row)
        if found != row:
            codes[row], first[row] = _EXACT, found


def _follow(first: npt.NDArray[np.int64]) -> None:
    """Let each row that goes point to one that stays, in place: that of the one it pointed to."""
    while True:
        further = first[first]
        if np.array_equal(further, first):
            return
        first[:] = further
