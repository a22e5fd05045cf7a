from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.candidates import Candidates
from kgneg.selfinstruct.dedup import Deduplicator


def triples(*rows: str) -> Candidates:
    return Candidates.from_triples(tuple(part.strip() for part in row.split("|")) for row in rows)


def test_groups_reasons_and_first() -> None:
    found = Deduplicator().find(
        triples(
            "X eats | Wants | to buy a cat",
            "X eats | Needs | to buy a cat",
            "x  EATS | wants | To buy a cat",
            "X eats | Wants | to buy a big cat",
            "X eats | Wants | to sleep",
            "X eats | Wants | to buy a BIG cat",
        )
    )
    assert found.reason == ("", "", "exact", "rouge_l", "", "exact")
    assert found.first.tolist() == [0, 1, 0, 0, 4, 0]


def test_rouge_score_agrees() -> None:
    # 2 * 3 / 8 = .75 is above, 2 * 2 / 6 = .667 is not
    assert Deduplicator().find(triples("h|r|a b c d", "h|r|a b c e", "h|r|x y z", "h|r|x y w")).keep.tolist() == [
        True,
        False,
        True,
        True,
    ]


def test_vectors() -> None:
    vectors = np.array([[1, 0], [3, 0.1], [0, 2], [0, 0], [0, 0]])
    rows = triples("h|r|a", "h|r|b", "h|r|c", "h|r|d", "h|r|e")
    found = Deduplicator().find(rows, vectors)
    assert found.reason == ("", "cosine", "", "", "")
    assert Deduplicator(cosine=None).find(rows, vectors).keep.all()
    other = triples("h|r|a", "i|r|b", "h|r|c", "h|r|d", "h|r|e")
    assert Deduplicator(rouge_l=None).find(other, vectors).keep.all()


@pytest.mark.parametrize("seed", range(3))
def test_shuffled_groups_do_not_matter(seed: int) -> None:
    """Each group by itself gives the same as all together."""
    source = random.Random(seed)  # noqa: S311
    rows = [
        (
            f"h{source.randrange(6)}",
            f"r{source.randrange(2)}",
            " ".join(source.choices("abcdefgh", k=source.randint(1, 7))),
        )
        for _ in range(600)
    ]
    found = Deduplicator().find(Candidates.from_triples(rows))
    for group in {row[:2] for row in rows}:
        members = [number for number, row in enumerate(rows) if row[:2] == group]
        alone = Deduplicator().find(Candidates.from_triples([rows[number] for number in members]))
        assert found.codes[members].tolist() == alone.codes.tolist()
        assert found.first[members].tolist() == [members[number] for number in alone.first]
    assert (found.codes[found.first] == 0).all()


def test_across_groups() -> None:
    pytest.importorskip("datasketch")
    rows = triples(
        "the cat sat on a mat | Wants | to sleep all day long",
        "a cat sat on the mat | Wants | to sleep all day long",
        "dogs | Wants | bones",
        "dogs | Wants | bones",
    )
    assert Deduplicator().find(rows).reason == ("", "", "", "exact")
    found = Deduplicator(minhash=0.8).find(rows)
    assert found.reason == ("", "minhash", "", "exact")
    assert found.first.tolist() == [0, 0, 2, 2]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            "\u0915\u093e\u0932\u093e \u0918\u094b\u0921\u093c\u093e",
            "\u0915\u0940\u0932\u093e \u0918\u094b\u0921\u093c\u0940",
        ),
        ("\u092a\u093e\u0928\u0940", "\u092a\u0948\u0928\u093e"),  # Hindi
        ("\u0995\u09be\u09b2\u09be", "\u0995\u09bf\u09b2\u09bf"),  # Bengali
    ],
)
def test_vowel_signs_make_a_difference(one: str, other: str) -> None:
    assert Deduplicator().find(Candidates(["a"] * 2, ["b"] * 2, [one, other])).reason == ("", "")


def test_nothing() -> None:
    empty = Candidates([], [], [])
    assert len(Deduplicator().find(empty)) == 0
    assert len(Deduplicator().find(empty, np.zeros((0, 3)))) == 0


def test_fingerprint() -> None:
    prints = {Deduplicator(**options).fingerprint() for options in ({}, {"rouge_l": 0.6}, {"cosine": None})}
    assert len(prints) == 3
    assert Deduplicator().fingerprint() in prints


@pytest.mark.parametrize(
    "options",
    [{"rouge_l": 1.0}, {"rouge_l": -0.1}, {"cosine": 1.5}, {"minhash": 1.0}, {"minhash": 0.5, "permutations": 3}],
)
def test_refusals(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        Deduplicator(**options)


@pytest.mark.parametrize("vectors", [np.zeros((1, 2)), np.zeros(2), np.array([["a"], ["b"]])])
def test_wrong_vectors(vectors: np.ndarray) -> None:
    with pytest.raises(InvalidInputError, match=r"shape \(2, d\)"):
        Deduplicator().find(triples("a|b|c", "a|b|d"), vectors)


def test_progress(capsys: pytest.CaptureFixture[str]) -> None:
    rows = triples("a|b|c", "a|b|d")
    Deduplicator().find(rows)
    assert capsys.readouterr().err == ""
    Deduplicator().find(rows, progress=True)
    assert "deduplicate" in capsys.readouterr().err
