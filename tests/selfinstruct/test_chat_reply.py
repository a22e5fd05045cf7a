"""Replies, read strictly."""

from __future__ import annotations

import math
from typing import Any

import pytest

from kgneg.selfinstruct.chat_reply import (
    ChatReply,
    MalformedReplyError,
    answer_probability,
    read_completion,
    read_usage,
    strict_json,
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yes",
        "{",
        '{"a": 1} x',
        '{"a": 1}{}',
        '{"a": 1, "a": 1}',
        "[NaN]",
        "[Infinity]",
        "[" * 99999,
        "```{}```",
        "{'a': 1}",
        '{"a": 1,}',
        b"\xff",
        "1" * 10000,
    ],
)
def test_what_is_no_json(text: str) -> None:
    with pytest.raises(MalformedReplyError):
        strict_json(text)


def test_json() -> None:
    assert strict_json(' {"a": ["\u732b", 1.5, null]} ') == {"a": ["猫", 1.5, None]}


def body(**choice: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"} | choice]}


def test_completions() -> None:
    assert read_completion(body()) == ChatReply("hi")
    assert read_completion(body(logprobs={"content": [1]})).logprobs == [1]
    assert read_completion(body(logprobs=3)).logprobs is None


@pytest.mark.parametrize(
    ("content", "final"),
    [
        (None, False),
        ([], False),
        ({"choices": []}, False),
        ({"choices": "x"}, False),
        ({"choices": [3]}, False),
        (body(message=None), False),
        (body(message={"content": None}), False),
        (body(message={"content": ["hi"]}), False),
        (body(finish_reason="length"), False),
        (body(finish_reason="content_filter"), True),
        (body(message={"content": None, "refusal": "I will not"}), True),
    ],
)
def test_what_is_no_completion(content: Any, final: bool) -> None:
    with pytest.raises(MalformedReplyError) as caught:
        read_completion(content)
    assert caught.value.final == final


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 0}, (3, 0)),
        ({"prompt_tokens": 3}, None),
        ({"prompt_tokens": -3, "completion_tokens": 1}, None),
        ({"prompt_tokens": True, "completion_tokens": 1}, None),
        ({"prompt_tokens": 3.0, "completion_tokens": 1}, None),
        (None, None),
        ([], None),
    ],
)
def test_usage(usage: Any, read: tuple[int, int] | None) -> None:
    assert read_usage({"usage": usage}) == read


@pytest.mark.parametrize("usage", [(0, 0), (0, 8), (40, 0)])
def test_usage_that_cannot_be(usage: tuple[int, int]) -> None:
    said = {"usage": {"prompt_tokens": usage[0], "completion_tokens": usage[1]}}
    assert read_usage(body() | said) is None
    cut = body(message={"content": "hi"}, finish_reason="length") | said
    assert read_usage(cut) is None


def test_an_error_in_place_of_a_reply_is_told() -> None:
    for error in ({"message": "rate limited upstream", "code": 429}, "rate limited upstream"):
        with pytest.raises(MalformedReplyError, match="no choices with a message, but an error: rate limited upstream"):
            read_completion({"error": error})


def tokens(*texts: str, **top: float) -> list[dict[str, Any]]:
    """Make tokens; the one before the last has the alternatives, and no log-probability of its own."""
    made: list[dict[str, Any]] = [{"token": one, "logprob": 0.0, "top_logprobs": []} for one in texts]
    made[-2]["logprob"] = None
    made[-2]["top_logprobs"] = [{"token": word, "logprob": math.log(p)} for word, p in top.items()]
    return made


TEXT = '{"answer": "yes"}'


@pytest.mark.parametrize(
    ("logprobs", "share"),
    [
        (tokens('{"', "answer", '":', ' "', "yes", '"}', yes=0.6, no=0.2), 0.75),
        (tokens('{"answer":', ' "yes', '"}', **{' "yes': 0.6, ' "no': 0.2}), 0.75),
        (tokens('{"answer": "', "y", 'es"}', y=0.3, n=0.1), 0.75),
        (tokens('{"answer": "', "yes", '"}', yes=0.3, Yes=0.3, NO=0.2, maybe=0.2), 0.75),
        (tokens('{"answer": "', "yes", '"}', maybe=0.9), None),
        (tokens('{"answer": ', '"no', '"}', yes=0.6, no=0.2), None),  # not the same text
        (None, None),
        ([{"token": 3}], None),
        ([3], None),
    ],
)
def test_log_probabilities(logprobs: Any, share: float | None) -> None:
    found = answer_probability(ChatReply(TEXT, logprobs), "answer")
    assert found == (None if share is None else pytest.approx(share))


@pytest.mark.parametrize("value", [0.5, None, "x", math.nan, True])
def test_log_probabilities_that_are_none(value: Any) -> None:
    logprobs = tokens('{"answer": "', "yes", '"}', no=0.25)
    logprobs[1]["top_logprobs"].append({"token": "yes", "logprob": value})
    assert answer_probability(ChatReply(TEXT, logprobs), "answer") is None  # not that it is false


@pytest.mark.parametrize(
    ("word", "top", "share"),
    [
        ("yes", {"no": 0.25}, 2 / 3),
        ("no", {"yes": 0.25}, 1 / 3),
        ("yes", {"No": 0.25, "yes": 0.0}, 2 / 3),
        ("yes", {"yes": 0.5, "no": 0.25}, 2 / 3),
        ("yes", {"maybe": 0.25}, 1.0),
    ],
)
def test_the_token_itself_counts_when_it_is_not_among_its_alternatives(
    word: str, top: dict[str, float], share: float
) -> None:
    logprobs = tokens('{"answer": "', word, '"}')
    listed = [{"token": one, "logprob": math.log(p) if p else -9999.0} for one, p in top.items()]
    logprobs[1] |= {"logprob": math.log(0.5), "top_logprobs": listed}
    assert answer_probability(ChatReply(f'{{"answer": "{word}"}}', logprobs), "answer") == pytest.approx(share)


@pytest.mark.parametrize(("word", "share"), [("yes", 0.8), ("no", 0.2), ("unsure", None)])
def test_without_alternatives(word: str, share: float | None) -> None:
    text = f'{{"answer": "{word}"}}'
    logprobs = tokens('{"answer": "', word, '"}')
    logprobs[1] |= {"logprob": math.log(0.8), "top_logprobs": None}
    assert answer_probability(ChatReply(text, logprobs), "answer") == (None if share is None else pytest.approx(share))
