"""The words of phrases as sparse tables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import NamedTuple

import numpy as np
import scipy.sparse
import torch

from kgneg.core.candidates import CandidateIndex
from kgneg.core.typing import BoolTensor, LongTensor

__all__ = ["WordTable", "stop_words", "words_of"]

_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
_OWNED = ("'s", "\u2019s")


@cache
def stop_words() -> frozenset[str]:
    """Return words that say little about what a phrase is about."""
    file = resources.files("kgneg.qa") / "templates" / "stopwords.txt"
    return frozenset(file.read_text(encoding="utf-8").split())


def words_of(text: str) -> list[str]:
    """Return the words of a text in small letters, without the ending of the genitive.

    :param text: the text

    >>> words_of("The cat's box, re-used")
    ['the', 'cat', 'box', 're', 'used']
    """
    return [one[:-2] if one.endswith(_OWNED) else one for one in _WORD.findall(text.casefold())]


class WordTable(NamedTuple):
    """Which phrase has which words."""

    #: shape: ``(phrases, words)``, 1 where a phrase has a word
    table: scipy.sparse.csr_array
    #: shape: ``(words,)``, whether a word is no stop word
    telling: BoolTensor
    #: shape: ``(phrases,)``, the word of a phrase of one word; -1 for others
    single: LongTensor

    @classmethod
    def of(cls, texts: Sequence[str]) -> WordTable:
        """Count the words of phrases.

        :param texts: the phrases
        :returns: the table
        """
        number: dict[str, int] = {}
        rows, columns, single = [], [], []
        for row, text in enumerate(texts):
            found = words_of(text)
            ids = [number.setdefault(one, len(number)) for one in found]
            rows += [row] * len(ids)
            columns += ids
            single.append(ids[0] if len(ids) == 1 else -1)
        shape = (len(texts), max(len(number), 1))
        ones = np.ones(len(rows), dtype=np.float32)
        table = scipy.sparse.csr_array((ones, (np.array(rows, dtype=int), np.array(columns, dtype=int))), shape=shape)
        table.sum_duplicates()
        table.data[:] = 1
        stop = stop_words()
        telling = torch.tensor([one not in stop for one in number] or [False])
        return cls(table, telling, torch.tensor(single, dtype=torch.long))

    def keywords(self) -> scipy.sparse.csr_array:
        """Return the table without stop words, shape ``(phrases, words)``; their columns stay, and are empty."""
        scale = scipy.sparse.diags_array(self.telling.numpy().astype(np.float32))
        found = scipy.sparse.csr_array(self.table @ scale)
        found.eliminate_zeros()
        return found

    def features(self) -> CandidateIndex:
        """Return the keywords as pools: a row for each phrase."""
        return CandidateIndex.from_scipy(self.keywords())

    def share(self, first: LongTensor, second: LongTensor) -> BoolTensor:
        """Return which pairs of phrases share a keyword.

        :param first: shape: ``(m,)``, phrases
        :param second: shape: ``(m,)``, phrases
        :returns: shape: ``(m,)``
        """
        keywords = self.keywords()
        common = keywords[first.numpy()].multiply(keywords[second.numpy()])
        return torch.from_numpy(np.asarray(common.sum(axis=1)).ravel() > 0)
