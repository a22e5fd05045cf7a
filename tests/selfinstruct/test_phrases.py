"""The phrases that a graph is made of."""

from __future__ import annotations

from typing import Any

import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.phrases import distinct_heads, is_writable, plain_phrase


def test_phrases_are_compared_without_case_width_and_stop() -> None:
    assert plain_phrase("Ｃａｔ。") == plain_phrase(" cat. ") == "cat"  # noqa: RUF001 - full width
    assert plain_phrase("cat") != plain_phrase("cats")


@pytest.mark.parametrize("text", ["", " ", "a\tb", "a\nb", "a\0b", "\ud800", "a\x07"])
def test_what_cannot_stand_in_a_table(text: str) -> None:
    assert not is_writable(text)
    assert is_writable("नमस्ते\u200d 猫")


def test_heads_are_distinct() -> None:
    assert distinct_heads({"a": ["x\ty", "Cat", "X y.", " ", "cat"], "b": ()}) == {"a": ["x y", "Cat"], "b": []}


@pytest.mark.parametrize("heads", [["a\x07b"], [3], [None], "cat"])
def test_heads_that_are_none(heads: Any) -> None:
    with pytest.raises(InvalidInputError, match="of the kind 'object'"):
        distinct_heads({"object": heads})
