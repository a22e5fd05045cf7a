"""A graph from a chat model, against a real server on the loopback interface."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.candidates import Candidates
from kgneg.selfinstruct.chat_budget import Budget
from kgneg.selfinstruct.chat_cache import ReplyCache
from kgneg.selfinstruct.chat_endpoint import ChatEndpoint, EndpointError
from kgneg.selfinstruct.chat_policy import RequestPolicy
from kgneg.selfinstruct.decisions import Decisions
from kgneg.selfinstruct.distill import Distiller
from kgneg.selfinstruct.distill_prompt import DistillPrompts
from kgneg.selfinstruct.distill_settings import DistillSettings

from .conftest import KEY, PASSING_FAULTS, FakeEndpoint

SMALL = {"kinds": ("object",), "relations": ("IsA", "UsedFor"), "heads": 5, "heads_at_once": 3, "tails": 3}


def model(body: dict[str, Any]) -> str:
    """Write numbered heads that are not known yet, and tails that name their head."""
    asked = FakeEndpoint.asked(body)
    stage = re.findall(r'\{"(heads|tails|negatives)"', asked)[0]
    if stage == "heads":
        known = [int(one) for one in re.findall(r"thing (\d+)", asked)]
        first = max(known, default=0)
        return json.dumps({"heads": [f"thing {first + 1}", f"Thing {first + 1}.", f"thing {first + 2}"]})
    head = re.findall(r"thing \d+", asked)[0]
    if stage == "tails":
        return json.dumps({"tails": [f"right of {head}", f"Right of {head}.", "also right", "too many"]})
    return json.dumps({"negatives": ["ALSO RIGHT", f"wrong of {head}", "quite wrong"]})


def made(endpoint: FakeEndpoint, folder: Path, *, budget: Budget | None = None, **settings: Any) -> Distiller:
    policy = RequestPolicy(timeout=2, first_wait=0.01, longest_wait=0.05, format_retries=2, concurrency=3)
    return Distiller(
        endpoint=ChatEndpoint(model="tiny", base_url=endpoint.url, policy=policy, budget=budget),
        folder=folder,
        settings=DistillSettings(**SMALL | settings),  # type: ignore[arg-type]
    )


class Short:
    """Keeps what is short, drops what is long, and leaves the rest."""

    def fingerprint(self) -> str:
        return "short"

    def decide(self, candidates: Candidates) -> Decisions:
        actions = [{"quite wrong": "keep"}.get(tail, "drop" if "1" in tail else "review") for tail in candidates.tails]
        return Decisions(np.array(actions), np.full(len(actions), 0.5), ("because\tso",) * len(actions))


def texts(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.tsv"))}


def test_the_circle_closes(endpoint: FakeEndpoint, tmp_path: Path) -> None:
    endpoint.answer = model
    found = made(endpoint, tmp_path).run(decider=Short())
    assert found.heads == {"object": [f"thing {number}" for number in range(1, 6)]}
    assert list(found.triples.triples())[:3] == [
        ("thing 1", "IsA", "right of thing 1"),
        ("thing 1", "IsA", "also right"),
        ("thing 2", "IsA", "right of thing 2"),
    ]
    assert len(found.triples) == 5 * 2 * 2
    assert len(found.negatives) == 5 * 2 * 2
    assert not set(found.triples.keys()) & set(found.negatives.keys())
    assert found.kept is not None
    assert set(found.kept.tails) == {"quite wrong"}
    assert found.counts["negatives that are tails"] == 10
    assert found.counts["negatives: keep"] == 10
    assert found.counts["negatives: drop"] == 2
    assert found.counts["negatives: review"] == 8
    assert set(texts(tmp_path)) == {f"{name}.tsv" for name in ("heads", "triples", "negatives", "decisions", "kept")}
    assert (tmp_path / "decisions.tsv").read_text(encoding="utf-8").splitlines()[1].endswith("drop\t0.5\tbecause so")
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["counts"] == found.counts
    assert report["filter"] == "short"
    assert report["model"]["model"] == "tiny"


def test_the_right_answers_are_shown_when_wrong_ones_are_asked_for(endpoint: FakeEndpoint, tmp_path: Path) -> None:
    endpoint.answer = model
    made(endpoint, tmp_path).run()
    asked = [FakeEndpoint.asked(body) for body in endpoint.bodies if '"negatives"' in FakeEndpoint.asked(body)]
    assert len(asked) == 10
    assert all("also right" in one for one in asked)


def test_it_goes_on_where_it_stood_and_gives_the_same_files(
    endpoint: FakeEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint.answer = model
    made(endpoint, tmp_path / "whole").run(decider=Short())
    whole = len(endpoint.bodies)
    endpoint.bodies.clear()
    keep = ReplyCache.put

    def full(cache: ReplyCache, key: str, reply: Any) -> None:
        if len(endpoint.bodies) >= 9:
            raise OSError("the disk is full")
        keep(cache, key, reply)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="full"):  # it ends in the middle
        patch.setattr(ReplyCache, "put", full)
        made(endpoint, tmp_path / "parts").run(decider=Short())
    made(endpoint, tmp_path / "parts").run(decider=Short())
    assert texts(tmp_path / "parts") == texts(tmp_path / "whole")
    assert len(endpoint.bodies) <= whole + 3  # what was under way
    endpoint.bodies.clear()
    again = made(endpoint, tmp_path / "parts").run(decider=Short())
    assert not endpoint.bodies
    assert again.counts["replies from before"] == whole
    assert texts(tmp_path / "parts") == texts(tmp_path / "whole")


def test_malformed_replies_are_counted_kept_and_asked_for_again(endpoint: FakeEndpoint, tmp_path: Path) -> None:
    endpoint.answer = model
    made(endpoint, tmp_path / "calm").run()
    endpoint.bodies.clear()
    kinds = [one for one in (*PASSING_FAULTS, "echo") if one not in ("timeout", "drip")]
    faults = [each for one in kinds for each in (one, None)]

    def fault(number: int, body: dict[str, Any]) -> str | None:
        return None if '{"heads"' in FakeEndpoint.asked(body) else faults[number % len(faults)]

    endpoint.fault = fault
    distiller = made(endpoint, tmp_path / "storm")
    (tmp_path / "storm" / "malformed.jsonl").write_text('{"cut', encoding="utf-8")  # as a kill leaves it
    found = distiller.run()
    lines = (tmp_path / "storm" / "malformed.jsonl").read_text(encoding="utf-8").splitlines()
    items = [json.loads(line) for line in lines[1:]]
    assert len(items) == found.counts["malformed replies"] > 0
    assert all(set(one) >= {"stage", "fault", "text"} for one in items)
    assert any(one["text"] == "Yes, it is." for one in items)
    unanswered = (tmp_path / "storm" / "unanswered.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(unanswered) == found.counts.get("unanswered", 0)
    assert all(json.loads(line)["reason"] for line in unanswered)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    endpoint.fault = lambda number, body: None
    made(endpoint, tmp_path / "storm").run()
    assert texts(tmp_path / "storm") == texts(tmp_path / "calm")


def test_the_budget_ends_it(endpoint: FakeEndpoint, tmp_path: Path) -> None:
    endpoint.answer = model
    endpoint.usage = lambda body: {"prompt_tokens": 300, "completion_tokens": 100}
    budget = Budget(tokens=5_000, path=tmp_path / "budget.json")
    found = made(endpoint, tmp_path, budget=budget).run()
    assert endpoint.tokens <= 5_000
    assert found.counts["unanswered"] > 0
    assert len(found.heads["object"]) == 5
    reasons = (tmp_path / "unanswered.jsonl").read_text(encoding="utf-8")
    assert "budget: 5,000 tokens" in reasons


def test_nothing_new_ends_the_rounds(endpoint: FakeEndpoint, tmp_path: Path) -> None:
    endpoint.answer = lambda body: '{"heads": ["thing 1"]}' if "heads" in FakeEndpoint.asked(body) else model(body)
    found = made(endpoint, tmp_path, negatives=0).run()
    assert found.heads == {"object": ["thing 1"]}
    assert len([body for body in endpoint.bodies if '{"heads"' in FakeEndpoint.asked(body)]) == 4
    assert len(found.negatives) == 0


def test_heads_can_be_given(endpoint: FakeEndpoint, tmp_path: Path) -> None:
    endpoint.answer = model
    found = made(endpoint, tmp_path).run(heads={"object": ["thing 7", "Thing 7", " thing  8"]})
    assert found.heads == {"object": ["thing 7", "thing 8"]}
    assert not [body for body in endpoint.bodies if '{"heads"' in FakeEndpoint.asked(body)]
    with pytest.raises(InvalidInputError, match="kinds: idea"):
        made(endpoint, tmp_path).run(heads={"idea": ["x"]})


def test_negatives_are_compared_with_all_that_was_said_to_be_right(endpoint: FakeEndpoint, tmp_path: Path) -> None:
    def answer(body: dict[str, Any]) -> str:
        if '{"tails"' in FakeEndpoint.asked(body):
            return json.dumps({"tails": ["a", "b", "c", "d"]})
        return json.dumps({"negatives": ["D.", "e"]})

    endpoint.answer = answer
    found = made(endpoint, tmp_path, tails=2, relations=("IsA",)).run(heads={"object": ["thing"]})
    assert found.triples.tails == ["a", "b"]
    assert found.negatives.tails == ["e"]
    assert found.counts["negatives that are tails"] == 1
    assert "a; b\n" in FakeEndpoint.asked(endpoint.bodies[-1])  # only what is in the graph is shown


def test_without_a_filter_its_tables_go(endpoint: FakeEndpoint, tmp_path: Path) -> None:
    endpoint.answer = model
    made(endpoint, tmp_path).run(decider=Short())
    made(endpoint, tmp_path, relations=("IsA",)).run()
    assert set(texts(tmp_path)) == {"heads.tsv", "triples.tsv", "negatives.tsv"}


def test_kept_replies_that_are_too_long_now_are_asked_for_again(endpoint: FakeEndpoint, tmp_path: Path) -> None:
    endpoint.answer = model
    settings: dict[str, Any] = {"relations": ("IsA",), "negatives": 0}
    assert len(made(endpoint, tmp_path, **settings).run(heads={"object": ["thing 1"]}).triples) == 2
    before = len(endpoint.bodies)
    endpoint.answer = lambda body: '{"tails": ["short"]}'
    found = made(endpoint, tmp_path, max_characters=12, **settings).run(heads={"object": ["thing 1"]})
    assert found.triples.tails == ["short"]
    assert len(endpoint.bodies) == before + 1


@pytest.mark.parametrize("heads", [None, {"object": ["thing 1"]}], ids=["heads", "tails"])
def test_nothing_answered_is_an_error_and_tables_stay(
    endpoint: FakeEndpoint, tmp_path: Path, heads: dict[str, list[str]] | None
) -> None:
    endpoint.answer = model
    made(endpoint, tmp_path).run()
    before = texts(tmp_path)
    endpoint.answer = lambda body: "no JSON at all"
    stage = "heads" if heads is None else "tails"
    with pytest.raises(EndpointError, match=rf"none of \d questions for {stage} was answered.*unanswered\.jsonl"):
        made(endpoint, tmp_path, seed=7).run(heads=heads)
    assert texts(tmp_path) == before
    assert stage in (tmp_path / "unanswered.jsonl").read_text(encoding="utf-8")


def test_heads_and_names_are_checked_before_anything_is_asked(endpoint: FakeEndpoint, tmp_path: Path) -> None:
    endpoint.answer = model
    with pytest.raises(InvalidInputError, match=r"the head 'a\\x07b' of the kind 'object'"):
        made(endpoint, tmp_path).run(heads={"object": ["a\x07b", "cat"]})
    assert not endpoint.bodies


def test_chinese(endpoint: FakeEndpoint, tmp_path: Path) -> None:
    def answer(body: dict[str, Any]) -> str:
        stage = re.findall(r'\{"(heads|tails|negatives)"', FakeEndpoint.asked(body))[0]
        said = {"heads": ["雨伞", "桌子"], "tails": ["工具。", "工具", "物品"], "negatives": ["动物", "工具"]}
        return json.dumps({stage: said[stage]}, ensure_ascii=False)

    endpoint.answer = answer
    settings = DistillSettings(kinds=("object",), relations=("IsA",), heads=2)
    who = ChatEndpoint(model="tiny", base_url=endpoint.url)
    found = Distiller(endpoint=who, folder=tmp_path, prompts="distill_zh", settings=settings).run()
    assert list(found.triples.triples())[:2] == [("雨伞", "IsA", "工具。"), ("雨伞", "IsA", "物品")]
    assert set(found.negatives.tails) == {"动物"}
    assert "雨伞" in (tmp_path / "triples.tsv").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("settings", "said"), [({"kinds": ("idea",)}, "kinds: idea"), ({"relations": ("eats",)}, "relations: eats")]
)
def test_what_is_not_in_the_prompts(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        Distiller(endpoint=ChatEndpoint(model="tiny"), folder=tmp_path, settings=DistillSettings(**settings))


def test_own_prompts_ask_anew(endpoint: FakeEndpoint, tmp_path: Path) -> None:
    endpoint.answer = model
    made(endpoint, tmp_path).run()
    before = len(endpoint.bodies)
    own = dict(DistillPrompts.load("distill_en")._content) | {"system": "JSON, please."}
    path = tmp_path / "own.json"
    path.write_text(json.dumps(own), encoding="utf-8")
    who = ChatEndpoint(model="tiny", base_url=endpoint.url)
    settings = DistillSettings(**SMALL)  # type: ignore[arg-type]
    Distiller(endpoint=who, folder=tmp_path, prompts=path, settings=settings).run()
    assert len(endpoint.bodies) == 2 * before


def _run(url: str, folder: str) -> None:
    policy = RequestPolicy(timeout=5, concurrency=3)
    budget = Budget(tokens=10**6, path=Path(folder) / "budget.json")
    Distiller(
        endpoint=ChatEndpoint(model="tiny", base_url=url, policy=policy, budget=budget),
        folder=folder,
        settings=DistillSettings(**SMALL),  # type: ignore[arg-type]
    ).run()


@pytest.mark.slow
def test_a_kill_at_any_moment_loses_nothing(
    endpoint: FakeEndpoint, tmp_path: Path, other_process: Callable[..., Any]
) -> None:
    endpoint.answer = model
    _run(endpoint.url, str(tmp_path / "whole"))
    whole = len(endpoint.bodies)
    endpoint.delay, endpoint.bodies = 0.15, []
    kills = 0
    for _ in range(40):
        before = len(endpoint.bodies)
        worker = other_process(_run, endpoint.url, str(tmp_path / "parts"))
        while worker.poll() is None and (kills >= 3 or len(endpoint.bodies) < before + 5):
            time.sleep(0.01)
        if worker.poll() is None and kills < 3:
            worker.kill()
            kills += 1
        if worker.wait() == 0:
            break
    assert kills >= 2
    assert worker.returncode == 0
    assert texts(tmp_path / "parts") == texts(tmp_path / "whole")
    assert len(endpoint.bodies) <= whole + 3 * kills
    spent = json.loads((tmp_path / "parts" / "budget.json").read_text(encoding="utf-8"))
    assert spent["input_tokens"] + spent["output_tokens"] >= endpoint.tokens - 48 * whole


@pytest.mark.parametrize("escaped", [False, True])
def test_a_key_that_the_model_repeats_is_written_nowhere(endpoint: FakeEndpoint, tmp_path: Path, escaped: bool) -> None:
    shown = "\\u0073" + KEY[1:] if escaped else KEY

    def reply(body: dict[str, Any]) -> str:
        stage = re.findall(r'\{"(heads|tails|negatives)"', FakeEndpoint.asked(body))[0]
        return f'{{"{stage}": ["{stage} a {shown}", "{stage} b"]}}'

    endpoint.answer = reply
    with pytest.raises(EndpointError, match="the reply repeats the key"):  # what is left of it is no data
        made(endpoint, tmp_path, heads=2).run()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"malformed.jsonl", "unanswered.jsonl", "replies.sqlite"} <= {path.name for path in files}
    assert not [path.name for path in files if KEY.encode() in path.read_bytes()]
    assert "[key]" in (tmp_path / "malformed.jsonl").read_text(encoding="utf-8")
