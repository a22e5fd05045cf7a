"""The words in which a graph is asked for."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.chat_reply import ChatReply, MalformedReplyError
from kgneg.selfinstruct.distill_prompt import DistillPrompts, read_items
from kgneg.selfinstruct.verbalizer import Verbalizer


def content(name: str = "distill_en") -> dict[str, Any]:
    file = resources.files("kgneg.selfinstruct") / "prompts" / f"{name}.json"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("name", DistillPrompts.BUILTIN)
def test_prompts_that_come_with_the_package(name: str) -> None:
    prompts = DistillPrompts.load(name)
    assert prompts.kinds == ("event", "object", "place", "role")
    assert all(prompts.relations_of(kind) for kind in prompts.kinds)
    Verbalizer.load(language=name[-2:]).check(prompts.relations)  # the filter can put them into words
    heads = prompts.for_heads("event", 7, ["a", "b"])[1]["content"]
    assert "7" in heads
    assert "a; b" in heads
    for stage in ("tails", "negatives"):
        said = prompts.for_tails(stage, "HEAD {ask} {count}", "HinderedBy", 4, ["{head}"])[1]["content"]
        assert "HEAD {ask} {count}" in said  # slots in texts stay as they are
        assert "4" in said
        assert f'"{stage}"' in said


def test_versions_follow_the_words() -> None:
    changed = DistillPrompts(content() | {"system": "other"})
    assert changed.version() != DistillPrompts(content()).version() == DistillPrompts.load("distill_en").version()


@pytest.mark.parametrize(
    "change",
    [
        {"heads": "{kind} {count}"},
        {"tails": 3},
        {"system": None},
        {"kinds": {}},
        {"kinds": {"a": 1}},
        {"relations": {}},
        {"relations": {"r": {"kinds": ["nothing"], "ask": "?"}}},
        {"relations": {"r": "?"}},
        {"more": 1},
        {"max_tokens": 0},
        {"relations": {"r": {"kinds": "event", "ask": "?"}}},
        {"relations": {"r": {"kinds": [["event"]], "ask": "?"}}},
        {"relations": {"": {"kinds": ["event"], "ask": "?"}}},
        {"relations": {"a\tb": {"kinds": ["event"], "ask": "?"}}},
        {"relations": {"a\0b": {"kinds": ["event"], "ask": "?"}}},
        {"kinds": content()["kinds"] | {"a\nb": "?"}},
        {"tails": content()["tails"] + "{cuont}"},
        {"heads": content()["heads"] + "{head}"},
        {"system": "JSON, {count} times"},
    ],
)
def test_malformed_prompts(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps(content() | change), encoding="utf-8")
    with pytest.raises(InvalidInputError):
        DistillPrompts.load(path)


def test_phrases_are_read() -> None:
    reply = ChatReply('{"tails": ["to  go\\nhome ", "猫", "नमस्ते\u200d"]}')
    assert read_items(reply, "tails", 20) == ["to go home", "猫", "नमस्ते\u200d"]
    assert read_items(ChatReply('{"tails": []}'), "tails", 20) == []


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        '{"tails": "a"}',
        '{"tails": [1]}',
        '{"tails": [null]}',
        '{"tails": [" "]}',
        '{"heads": ["a"]}',
        '{"tails": ["a"], "more": 1}',
        '{"tails": ["a"',
        '{"tails": ["aaaaaa"]}',
        '{"tails": ["\\ud800"]}',
        '{"tails": ["a\\u0000"]}',
        '{"tails": ["a"]} Done!',
        '{"tails": [["a"]]}',
    ],
)
def test_phrases_that_are_none(text: str) -> None:
    with pytest.raises(MalformedReplyError):
        read_items(ChatReply(text), "tails", 5)
