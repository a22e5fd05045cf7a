"""The words in which a judge is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.judge_prompt import JudgePrompt

GOOD = {"system": "JSON", "user": "So? {statement}"}


@pytest.mark.parametrize("name", JudgePrompt.BUILTIN)
def test_prompts_that_come_with_the_package(name: str) -> None:
    prompt = JudgePrompt.load(name)
    system, user = prompt.messages("{x} is y.")
    assert '{"answer": "yes"}' in system["content"]
    assert "{x} is y." in user["content"]
    assert name.endswith(prompt.language)


def test_examples_are_shown_as_turns() -> None:
    prompt = JudgePrompt(**GOOD, examples=[{"statement": "A cat barks.", "answer": "no"}])  # type: ignore[arg-type]
    said = prompt.messages("A dog barks.")
    assert [one["role"] for one in said] == ["system", "user", "assistant", "user"]
    assert said[2]["content"] == '{"answer": "no"}'
    assert prompt.version() != JudgePrompt(**GOOD).version()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"user": "no slot"},
        {"system": 3},
        {"examples": [{"statement": "x", "answer": "maybe"}]},
        {"max_tokens": 0},
        {"other": 1},
        {"examples": [{"answer": "yes"}]},
        {"examples": None},
        {"examples": 5},
        {"examples": ["a"]},
        {"examples": {"statement": "x", "answer": "yes"}},
        {"examples": [{"statement": 5, "answer": "yes"}]},
        {"examples": [{"statement": "x", "answer": ["yes"]}]},
        {"max_tokens": None},
        {"language": 5},
        {"user": "{statement} {staement}"},
        {"system": "JSON {statement}"},
    ],
)
def test_malformed_prompts(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "prompt.json"
    path.write_text(json.dumps(GOOD | change), encoding="utf-8")
    with pytest.raises(InvalidInputError):
        JudgePrompt.load(path)


@pytest.mark.parametrize("text", ["[]", "{", "3"])
def test_malformed_files(tmp_path: Path, text: str) -> None:
    path = tmp_path / "prompt.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInputError, match=r"prompt\.json"):
        JudgePrompt.load(path)


def test_no_such_file() -> None:
    with pytest.raises(InvalidInputError, match="judge_en, judge_zh or a JSON file"):
        JudgePrompt.load("judge_fr")


def test_other_braces_are_text() -> None:
    user = 'Reply {"answer": "yes"} or {} or { x }: {statement}'
    assert JudgePrompt(system="s", user=user).messages("A")[-1]["content"] == user.replace("{statement}", "A")
    with pytest.raises(InvalidInputError, match=r"\{staement\}, which nothing fills; known are \{statement\}"):
        JudgePrompt(system="s", user=user + "{staement}")
