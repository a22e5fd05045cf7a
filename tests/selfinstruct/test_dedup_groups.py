from __future__ import annotations

import random
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgneg.selfinstruct import dedup_groups, dedup_text
from kgneg.selfinstruct.dedup_groups import near_duplicates


def common(one: Sequence[str], other: Sequence[str]) -> int:
    """The length of the longest common subsequence, by the book."""
    row = [0] * (len(other) + 1)
    for a in one:
        before = row
        row = [0]
        for place, b in enumerate(other):
            row.append(before[place] + 1 if a == b else max(before[place + 1], row[place]))
    return row[-1]


def oracle(
    words: Sequence[Sequence[str]], limit: Fraction | None, vectors: np.ndarray | None, cosine: float
) -> tuple[list[int], list[int]]:
    codes, first = [0] * len(words), list(range(len(words)))
    for row in range(len(words)):
        kept = [other for other in range(row) if not codes[other]]
        alike = [
            other
            for other in kept
            if limit is not None
            and Fraction(2 * common(words[row], words[other])) > limit * (len(words[row]) + len(words[other]))
        ]
        near = [other for other in kept if vectors is not None and vectors[row] @ vectors[other] > cosine]
        if alike or near:
            codes[row], first[row] = (2, alike[0]) if alike else (3, near[0])
    return codes, first


TEXTS = st.lists(st.lists(st.sampled_from("abcdef"), max_size=9), max_size=24)
LIMITS = st.sampled_from([Fraction(0), Fraction("0.3"), Fraction("0.5"), Fraction("0.7"), Fraction("0.95")])


@settings(max_examples=200)
@given(TEXTS, LIMITS, st.sampled_from([0, 5, 2048]))
def test_words_as_all_with_all(words: list[list[str]], limit: Fraction, all_pairs: int) -> None:
    codes, first = near_duplicates(words, limit, None, None, all_pairs=all_pairs)
    assert (codes.tolist(), first.tolist()) == oracle(words, limit, None, 1.0)


@settings(max_examples=50)
@given(st.integers(0, 1000), st.sampled_from([0, 2048]), st.sampled_from([None, Fraction("0.7")]))
def test_vectors_as_all_with_all(seed: int, all_pairs: int, limit: Fraction | None) -> None:
    generator = np.random.default_rng(seed)
    size = 30
    angles = generator.choice(16, size) * np.pi / 16  # neighbours have the cosine .981, the next .924
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    words = [[str(word) for word in generator.integers(0, 5, 4)] for _ in range(size)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dedup_groups, "_ROWS", 7)
        patch.setattr(dedup_groups, "_KEPT", 3)
        codes, first = near_duplicates(words, limit, lambda rows: vectors[rows], 0.95, all_pairs=all_pairs)
    assert (codes.tolist(), first.tolist()) == oracle(words, limit, vectors, 0.95)


def test_the_limit_itself_is_not_above(monkeypatch: pytest.MonkeyPatch) -> None:
    words = [list("abcdefgxyz"), list("abcdefguvw"), list("abcdefgxyw")]  # 14 / 20 = .7, 18 / 20
    for all_pairs in (0, 10):
        codes, first = near_duplicates(words, Fraction("0.7"), None, None, all_pairs=all_pairs)
        assert (codes.tolist(), first.tolist()) == ([0, 0, 2], [0, 1, 0])
    monkeypatch.setattr(dedup_text, "_NUM_POINTS", dedup_text._NUM_SURROGATES)  # lists of numbers
    for all_pairs in (0, 10):
        codes, _ = near_duplicates(words, Fraction("0.7"), None, None, all_pairs=all_pairs)
        assert codes.tolist() == [0, 0, 2]


def test_a_dropped_text_drops_nobody() -> None:
    words = [list("abcdefgh"), list("abcdefxy"), list("abcdxyzw")]  # 1 is like 0, 2 is like 1 only
    limit = Fraction("0.7")
    assert near_duplicates(words, limit, None, None)[0].tolist() == [0, 2, 0]
    assert near_duplicates(words[1:], limit, None, None)[0].tolist() == [0, 2 if common(*words[1:]) > 5 else 0]


@pytest.mark.slow
def test_a_large_group() -> None:
    source = random.Random(0)  # noqa: S311
    words = [[f"w{int(source.paretovariate(0.7))}" for _ in range(source.randint(0, 10))] for _ in range(1500)]
    codes, first = near_duplicates(words, Fraction("0.7"), None, None, all_pairs=0)
    assert (codes.tolist(), first.tolist()) == oracle(words, Fraction("0.7"), None, 1.0)
