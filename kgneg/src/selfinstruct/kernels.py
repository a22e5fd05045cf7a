"""How alike two triples are for the critic: by the vectors of their parts, by words, and within a relation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import sparse

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.words import SPACELESS, word_pattern

__all__ = ["TripleFeatures", "WordWeights", "kernel", "layout"]

_WORD = re.compile(word_pattern(SPACELESS))
_WIDE = re.compile(r"([\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af])")
_DIM = 1 << 14
_SHARPNESS = 2.0
_LAYOUT = 0.1
_CONSTANT = 10.0


def _tokens(text: str) -> list[str]:
    """Return words and pairs of words; each character of Chinese, Japanese and Korean counts as a word."""
    words = _WORD.findall(_WIDE.sub(r" \1 ", text.lower()))
    return words + [f"{one} {two}" for one, two in pairwise(words)]


@dataclass(frozen=True, eq=False)
class WordWeights:
    """Weights of words by how few of the texts seen have them.

    :param weight: shape: ``(16384,)``, one per hashed word
    """

    weight: np.ndarray

    @classmethod
    def learn(cls, texts: Sequence[str]) -> WordWeights:
        """Count in how many texts words are.

        :param texts: the texts
        :returns: the weights

        >>> WordWeights.learn(["a b", "a c"]).vectors(["a b", ""]).shape
        (2, 16384)
        """
        found = np.bincount(_counts(texts).indices, minlength=_DIM)  # each word is stored once per text
        return cls(weight=np.log((1 + len(texts)) / (1 + found)) + 1)

    def vectors(self, texts: Sequence[str]) -> sparse.csr_matrix:
        """Return vectors of length one, or zero for a text without words.

        :param texts: ``n`` texts
        :returns: shape: ``(n, 16384)``
        """
        distinct = list(dict.fromkeys(texts))
        table = _counts(distinct)
        table.data = np.sign(table.data) * (1 + np.log(np.abs(table.data)))
        table = sparse.csr_matrix(table.multiply(self.weight[None]))
        length = np.sqrt(np.asarray(table.multiply(table).sum(axis=1)).ravel())
        table = sparse.csr_matrix(sparse.diags(1 / np.where(length > 0, length, 1.0)) @ table)
        place = {text: row for row, text in enumerate(distinct)}
        return sparse.csr_matrix(table[[place[text] for text in texts]])


def _counts(texts: Sequence[str]) -> sparse.csr_matrix:
    from sklearn.feature_extraction.text import HashingVectorizer

    vectorizer = HashingVectorizer(analyzer=_tokens, n_features=_DIM, norm=None)
    found = sparse.csr_matrix(vectorizer.transform(texts))
    found.eliminate_zeros()  # two words of one place and opposite signs
    return found


@dataclass(frozen=True, eq=False)
class TripleFeatures:
    """What the critic sees of ``n`` triples.

    :param head: shape: ``(n, d)``, vectors of length one
    :param tail: shape: ``(n, d)``
    :param statement: shape: ``(n, d)``, vectors of the verbalised triples, or ``None``
    :param relation: shape: ``(n,)``, numbers of relations, -1 for an unknown one
    :param words: shape: ``(n, 16384)``, of the tails
    :param layout: shape: ``(n, m)``, lengths, cosines and shared words, standardised
    """

    head: np.ndarray
    tail: np.ndarray
    statement: np.ndarray | None
    relation: np.ndarray
    words: sparse.csr_matrix
    layout: np.ndarray

    def __len__(self) -> int:
        return len(self.relation)

    def rows(self, places: np.ndarray) -> TripleFeatures:
        """Return some rows.

        :param places: shape: ``(m,)``
        :returns: the features of these rows
        """
        return TripleFeatures(
            head=self.head[places],
            tail=self.tail[places],
            statement=None if self.statement is None else self.statement[places],
            relation=self.relation[places],
            words=self.words[places],
            layout=self.layout[places],
        )


def kernel(left: TripleFeatures, right: TripleFeatures, relation_weight: float) -> np.ndarray:
    """Return how alike triples are: heads, tails, statements, both parts together, and tails within a relation.

    :param left: ``n`` triples
    :param right: ``m`` triples
    :param relation_weight: how much it counts to have the same relation
    :returns: shape: ``(n, m)``, float64, positive definite
    :raises InvalidInputError: if vectors are of different lengths
    """
    if left.head.shape[1] != right.head.shape[1] or (left.statement is None) != (right.statement is None):
        raise InvalidInputError(
            f"vectors of {left.head.shape[1]} and {right.head.shape[1]} numbers, or statements on one side only, "
            "cannot be compared: use the encoder and verbalizer of the fit"
        )
    tail = _near(left.tail, right.tail)
    same = (left.relation[:, None] == right.relation) & (left.relation[:, None] >= 0)
    words = np.asarray((left.words @ right.words.T).todense())
    found = _near(left.head, right.head)
    found += found * tail
    found += tail + words
    if left.statement is not None and right.statement is not None:
        found += _near(left.statement, right.statement)
    found += same * (relation_weight * (1 + tail) + words)
    found += _LAYOUT * (left.layout.astype(np.float64) @ right.layout.T) + _CONSTANT
    return np.asarray(found)


def _near(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    # in single precision the last digits would depend on the other rows
    found = left.astype(np.float64) @ right.astype(np.float64).T
    found -= 1
    found *= _SHARPNESS
    return np.asarray(np.exp(found, out=found))


def layout(
    heads: Sequence[str], tails: Sequence[str], head: np.ndarray, tail: np.ndarray, statement: np.ndarray | None
) -> np.ndarray:
    """Return plain numbers about triples: cosines of their parts, lengths, and shared words.

    :param heads: ``n`` texts
    :param tails: ``n`` texts
    :param head: shape: ``(n, d)``, vectors of length one
    :param tail: shape: ``(n, d)``
    :param statement: shape: ``(n, d)``, or ``None``
    :returns: shape: ``(n, m)``, float32
    """
    columns = [(head * tail).sum(axis=1)]
    if statement is not None:
        columns += [(head * statement).sum(axis=1), (tail * statement).sum(axis=1)]
    pairs = [(frozenset(_split(one)), frozenset(_split(two))) for one, two in zip(heads, tails, strict=True)]
    columns.append(np.log1p([len(one) for one, _ in pairs]))
    columns.append(np.log1p([len(two) for _, two in pairs]))
    columns.append(np.array([len(one & two) / max(1, min(len(one), len(two))) for one, two in pairs]))
    return np.stack(columns, axis=1).astype(np.float32)


def _split(text: str) -> list[str]:
    return _WORD.findall(_WIDE.sub(r" \1 ", text.lower()))
