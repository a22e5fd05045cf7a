"""The words of phrases."""

from __future__ import annotations

import torch

from kgneg.qa.words import WordTable, stop_words, words_of


def test_words() -> None:
    assert words_of("Don't re-paint Kim's house_2, café!") == ["don't", "re", "paint", "kim", "house", "2", "café"]
    assert {"the", "personx", "don't"} <= stop_words() and not {"happy", "team"} & stop_words()


def test_table() -> None:
    table = WordTable.of(["the team", "happy", "a happy team", "", "is it"])
    assert table.single.tolist()[0] == -1 and table.single.tolist()[1] >= 0
    first, second = torch.tensor([0, 0, 1, 3, 4]), torch.tensor([1, 2, 2, 0, 0])
    assert table.share(first, second).tolist() == [False, True, True, False, False]
    features = table.features()
    assert features.num_rows == 5 and features.size(torch.arange(5)).tolist() == [1, 1, 2, 0, 0]


def test_nothing() -> None:
    table = WordTable.of(["", "?"])
    assert table.share(torch.tensor([0]), torch.tensor([1])).tolist() == [False]
