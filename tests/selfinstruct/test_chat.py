"""The chat judge against a real server on the loopback interface, with and without faults."""

from __future__ import annotations

import json
import logging
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.candidates import Candidates
from kgneg.selfinstruct.chat import ChatJudge
from kgneg.selfinstruct.chat_budget import Budget
from kgneg.selfinstruct.chat_cache import ReplyCache
from kgneg.selfinstruct.chat_endpoint import ChatEndpoint, EndpointError
from kgneg.selfinstruct.chat_policy import RequestPolicy
from kgneg.selfinstruct.judge import Judge
from kgneg.selfinstruct.verbalizer import Verbalizer

from .conftest import FAULTS_IN_REPLY, KEY, PASSING_FAULTS, FakeEndpoint

TRUE = ("cat", "IsA", "pet")
FALSE = ("cat", "IsA", "fish")
MANY = [(f"thing {number}", "IsA", "pet" if number % 3 else "fish") for number in range(40)]


def honest(body: dict[str, Any]) -> str:
    """Affirm what is said of pets and deny what is said of fish; the other way round for negations."""
    asked = FakeEndpoint.asked(body)
    holds = ("fish" in asked) == (" not " in asked.lower())
    return json.dumps({"answer": "yes" if holds else "no"})


def made(endpoint: FakeEndpoint, *, budget: Budget | None = None, **options: Any) -> ChatJudge:
    names = ("concurrency", "retries", "format_retries", "timeout", "requests_per_minute", "give_up_after")
    policy = {name: options.pop(name) for name in names if name in options}
    policy = {"timeout": 10.0, "first_wait": 0.01, "longest_wait": 0.05} | policy
    who = ChatEndpoint(model="tiny", base_url=endpoint.url, policy=RequestPolicy(**policy), budget=budget)
    return ChatJudge(endpoint=who, **options)


def asked(*triples: tuple[str, str, str]) -> Candidates:
    return Candidates.from_triples(triples)


def test_it_is_a_judge_and_says_what_the_model_says(endpoint: FakeEndpoint) -> None:
    endpoint.answer = honest
    judge = made(endpoint)
    said = judge.judge(asked(TRUE, FALSE))
    assert isinstance(judge, Judge)
    np.testing.assert_allclose(said.probability, [2.5 / 3, 0.5 / 3])
    assert said.reasons == ("", "")
    assert len(endpoint.bodies) == 4
    body = endpoint.bodies[0]
    assert body["model"] == "tiny"
    assert body["temperature"] == 0.0
    assert body["response_format"] == {"type": "json_object"}
    assert endpoint.headers[0]["authorization"] == f"Bearer {KEY}"


def test_no_candidates_no_questions(endpoint: FakeEndpoint) -> None:
    assert len(made(endpoint).judge(Candidates([], [], []))) == 0
    assert not endpoint.bodies


def test_votes_take_other_wordings_and_one_form_can_do(endpoint: FakeEndpoint) -> None:
    endpoint.answer = honest
    said = made(endpoint, votes=2, both=False).judge(asked(TRUE))
    assert len({FakeEndpoint.asked(body) for body in endpoint.bodies}) == 2
    assert {body["seed"] for body in endpoint.bodies} == {0, 1}
    np.testing.assert_allclose(said.probability, [2.5 / 3])


def test_votes_that_differ_are_averaged(endpoint: FakeEndpoint) -> None:
    endpoint.answer = lambda body: '{"answer": "%s"}' % ("no" if body["seed"] == 2 else "yes")
    said = made(endpoint, votes=3, both=False, temperature=0.7).judge(asked(TRUE))
    np.testing.assert_allclose(said.probability, [2.5 / 4])


@pytest.mark.parametrize("answer", ["yes", "no"])
def test_a_statement_and_its_negation_cannot_both_get_the_same_answer(endpoint: FakeEndpoint, answer: str) -> None:
    endpoint.answer = lambda body: json.dumps({"answer": answer})
    said = made(endpoint).judge(asked(TRUE))
    assert math.isnan(said.probability[0])
    assert said.reasons == ("contradiction",)


def test_unsure_is_no_verdict(endpoint: FakeEndpoint) -> None:
    endpoint.answer = lambda body: '{"answer": "unsure"}'
    assert made(endpoint).judge(asked(TRUE)).reasons == ("unsure",)


def test_log_probabilities_decide_where_they_are_given(endpoint: FakeEndpoint) -> None:
    def logprobs(body: dict[str, Any]) -> list[dict[str, Any]]:
        word = json.loads(honest(body))["answer"]
        other = {"yes": "no", "no": "yes"}[word]
        top = [{"token": word, "logprob": math.log(0.6)}, {"token": other, "logprob": math.log(0.2)}]
        plain = [{"token": part, "logprob": 0.0, "top_logprobs": []} for part in ('{"answer": "', '"}')]
        return [plain[0], {"token": word, "logprob": math.log(0.6), "top_logprobs": top}, plain[1]]

    endpoint.answer, endpoint.logprobs = honest, logprobs
    said = made(endpoint).judge(asked(TRUE, FALSE))
    np.testing.assert_allclose(said.probability, [0.75, 0.25])
    assert all(body["logprobs"] is True for body in endpoint.bodies)


# ---- faults: every row is judged, or says why not


@pytest.mark.parametrize("fault", PASSING_FAULTS)
def test_a_fault_that_passes_is_survived(endpoint: FakeEndpoint, fault: str, tmp_path: Path) -> None:
    endpoint.answer = honest
    endpoint.fault = lambda number, body: fault if number < 2 else None
    judge = made(endpoint, timeout=0.5, cache=tmp_path / "verdicts.sqlite", concurrency=2)
    said = judge.judge(asked(TRUE, FALSE))
    np.testing.assert_allclose(said.probability, [2.5 / 3, 0.5 / 3])
    assert said.reasons == ("", "")
    assert judge.endpoint.counts["retries"] == 2


@pytest.mark.parametrize("fault", PASSING_FAULTS)
def test_a_fault_that_stays_ends_in_a_reason_and_not_in_the_cache(
    endpoint: FakeEndpoint, fault: str, tmp_path: Path
) -> None:
    endpoint.answer = honest
    endpoint.fault = lambda number, body: fault if "fish" in FakeEndpoint.asked(body) else None
    cache = ReplyCache(tmp_path / "verdicts.sqlite")
    judge = made(endpoint, timeout=0.3, retries=1, format_retries=1, cache=cache)
    said = judge.judge(asked(TRUE, FALSE))
    assert said.probability[0] > 0.5
    assert math.isnan(said.probability[1])
    kind = "malformed: " if fault in (*FAULTS_IN_REPLY, "cut-json", "html", "bad-utf8") else "endpoint: "
    assert said.reasons[1].startswith(kind)
    assert len(cache) == 2  # the two replies about the pet
    endpoint.fault = lambda number, body: None
    endpoint.bodies.clear()
    np.testing.assert_allclose(judge.judge(asked(TRUE, FALSE)).probability, [2.5 / 3, 0.5 / 3])
    assert len(endpoint.bodies) == 2  # what was not answered, and nothing else


def test_a_storm_of_all_faults_leaves_every_row_judged_or_explained(endpoint: FakeEndpoint, tmp_path: Path) -> None:
    kinds = (*PASSING_FAULTS, *([None] * 40))
    endpoint.answer = honest
    endpoint.fault = lambda number, body: kinds[(number * 7) % len(kinds)]
    cache = tmp_path / "verdicts.sqlite"
    said = made(endpoint, timeout=0.5, retries=2, format_retries=1, cache=cache, give_up_after=None).judge(asked(*MANY))
    for (_, _, tail), true, reason in zip(MANY, said.probability, said.reasons, strict=True):
        if math.isnan(true):
            assert reason.startswith(("endpoint: ", "malformed: "))
        else:
            assert (true > 0.5) == (tail == "pet")
            assert reason == ""
    assert np.isfinite(said.probability).sum() > len(MANY) // 2
    endpoint.fault = lambda number, body: None
    again = made(endpoint, cache=cache).judge(asked(*MANY))
    calm = made(endpoint).judge(asked(*MANY))
    np.testing.assert_array_equal(again.probability, calm.probability)  # nothing wrong was kept


@pytest.mark.parametrize(("status", "tries"), [("400", 1), ("422", 1), ("500", 3), ("429:insufficient_quota", 1)])
def test_only_faults_that_may_pass_are_tried_again(endpoint: FakeEndpoint, status: str, tries: int) -> None:
    endpoint.fault = lambda number, body: status
    said = made(endpoint, both=False, retries=2).judge(asked(TRUE))
    assert len(endpoint.bodies) == tries
    assert said.reasons[0].startswith(f"endpoint: status {status[:3]}")


def test_a_refusal_is_not_asked_again(endpoint: FakeEndpoint) -> None:
    endpoint.fault = lambda number, body: "filter"
    assert "refuses" in made(endpoint, both=False).judge(asked(TRUE)).reasons[0]
    assert len(endpoint.bodies) == 1


@pytest.mark.parametrize(("status", "requests"), [("401", 1), ("403", 4), ("404", 4)])
def test_a_wrong_key_or_model_is_an_error_at_once(endpoint: FakeEndpoint, status: str, requests: int) -> None:
    endpoint.fault = lambda number, body: f"{status}:echo"
    with pytest.raises(EndpointError, match="OPENAI_API_KEY") as caught:
        made(endpoint, concurrency=1).judge(asked(*MANY))
    assert len(endpoint.bodies) == requests  # what is not about the key may be about one text
    assert KEY not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_nobody_there(endpoint: FakeEndpoint) -> None:
    who = ChatEndpoint(model="tiny", base_url="http://127.0.0.1:9/v1", policy=RequestPolicy(retries=1, first_wait=0))
    said = ChatJudge(endpoint=who).judge(asked(TRUE))
    assert said.reasons[0].startswith("endpoint: connection failed")
    assert who.budget.spent()["input_tokens"] == 0  # nothing was sent


def test_a_dead_endpoint_is_given_up(endpoint: FakeEndpoint) -> None:
    endpoint.fault = lambda number, body: "500"
    said = made(endpoint, retries=0, give_up_after=5, concurrency=2).judge(asked(*MANY))
    assert len(endpoint.bodies) <= 6
    assert np.isnan(said.probability).all()
    assert all(reason.startswith(("endpoint: ", "gave up after 5 failures in a row: ")) for reason in said.reasons)


# ---- budget, pace, cache


@pytest.mark.parametrize("fault", [None, "reset", "500", "cut-json", "schema"])
def test_the_budget_is_never_exceeded(endpoint: FakeEndpoint, fault: str | None) -> None:
    endpoint.answer = honest
    endpoint.fault = lambda number, body: fault if number % 3 == 1 else None
    endpoint.usage = lambda body: {"prompt_tokens": 300, "completion_tokens": body["max_tokens"]}
    budget = Budget(tokens=9_000)
    judge = made(endpoint, budget=budget)
    said = judge.judge(asked(*MANY))
    spent = budget.spent()
    assert endpoint.tokens <= spent["input_tokens"] + spent["output_tokens"] <= 9_000
    assert any(reason.startswith("budget: 9,000 tokens") for reason in said.reasons)
    assert all(reason or not math.isnan(true) for true, reason in zip(said.probability, said.reasons, strict=True))
    assert np.isfinite(said.probability).any()
    asked_before = len(endpoint.bodies)
    assert judge.judge(asked(("dog", "IsA", "pet"))).reasons[0].startswith("budget: ")
    assert len(endpoint.bodies) == asked_before


def test_a_silent_endpoint_costs_what_was_reserved(endpoint: FakeEndpoint) -> None:
    endpoint.answer, endpoint.usage = honest, lambda body: None
    budget = Budget(cost="0.01", input_price=1, output_price=2)
    made(endpoint, budget=budget).judge(asked(TRUE))
    spent = budget.spent()
    assert spent["output_tokens"] == 2 * 24
    assert spent["cost"] == pytest.approx((spent["input_tokens"] + 2 * spent["output_tokens"]) / 1e6)


def test_requests_under_way_are_bounded_and_used(endpoint: FakeEndpoint) -> None:
    endpoint.answer, endpoint.delay = honest, 0.02
    made(endpoint, concurrency=4).judge(asked(*MANY[:12]))
    assert 2 <= endpoint.most_at_once <= 4


def test_the_pace_is_kept(endpoint: FakeEndpoint) -> None:
    endpoint.answer = honest
    made(endpoint, requests_per_minute=1200).judge(asked(*MANY[:5]))
    times = sorted(endpoint.times)
    assert len(times) == 10
    assert times[-1] - times[0] >= 0.05 * 9 - 0.04


def test_the_wait_that_the_endpoint_asks_for_holds_all_back(endpoint: FakeEndpoint) -> None:
    endpoint.answer = honest
    endpoint.fault = lambda number, body: "429:0.5" if number == 0 else None
    policy = RequestPolicy(first_wait=0.01, longest_wait=5, concurrency=1)
    ChatJudge(endpoint=ChatEndpoint(model="tiny", base_url=endpoint.url, policy=policy)).judge(asked(TRUE))
    assert endpoint.times[1] - endpoint.times[0] >= 0.45


def test_replies_are_kept_over_judges_and_more_votes_ask_for_the_rest(endpoint: FakeEndpoint, tmp_path: Path) -> None:
    endpoint.answer = honest
    first = made(endpoint, cache=tmp_path / "kept" / "verdicts.sqlite").judge(asked(*MANY))
    before = len(endpoint.bodies)
    judge = made(endpoint, cache=tmp_path / "kept" / "verdicts.sqlite")
    np.testing.assert_array_equal(judge.judge(asked(*MANY)).probability, first.probability)
    assert len(endpoint.bodies) == before == 2 * len(MANY)
    assert judge.counts["from cache"] == before
    made(endpoint, votes=2, cache=tmp_path / "kept" / "verdicts.sqlite").judge(asked(*MANY))
    assert len(endpoint.bodies) == 2 * before


def test_equal_questions_are_asked_once(endpoint: FakeEndpoint) -> None:
    endpoint.answer = honest
    said = made(endpoint).judge(asked(TRUE, TRUE, TRUE))
    assert len(endpoint.bodies) == 2
    assert len(set(said.probability.tolist())) == 1


def test_a_kept_reply_that_was_changed_is_asked_for_again(endpoint: FakeEndpoint, tmp_path: Path) -> None:
    endpoint.answer = honest
    cache = ReplyCache(tmp_path / "verdicts.sqlite")
    judge = made(endpoint, cache=cache)
    judge.judge(asked(TRUE))
    for question in judge._questions(asked(TRUE))[0]:
        cache.put(question.key, {"answer": "maybe", "probability": None})
    assert judge.judge(asked(TRUE)).probability[0] > 0.5
    assert len(endpoint.bodies) == 4


def test_the_fingerprint_names_what_verdicts_depend_on_and_no_key(
    endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    judge = made(endpoint)
    same = made(endpoint, cache=tmp_path / "x.sqlite", concurrency=2)
    assert judge.fingerprint() == same.fingerprint()
    monkeypatch.setenv("OPENAI_API_KEY", "another")
    assert judge.fingerprint() == made(endpoint).fingerprint()
    others = [made(endpoint, votes=2), made(endpoint, both=False), made(endpoint, prompt="judge_zh")]
    others += [made(endpoint, temperature=1.0), made(endpoint, logprobs=False)]
    assert len({one.fingerprint() for one in (judge, *others)}) == 6


def test_an_edited_prompt_is_asked_anew(endpoint: FakeEndpoint, tmp_path: Path) -> None:
    endpoint.answer = honest
    prompt = {"system": "Reply in JSON.", "user": "Is it so? {statement}", "max_tokens": 9}
    path = tmp_path / "prompt.json"
    for ending in ("", "!"):
        path.write_text(json.dumps(prompt | {"user": prompt["user"] + ending}), encoding="utf-8")  # type: ignore[operator]
        made(endpoint, prompt=path, cache=tmp_path / "v.sqlite").judge(asked(TRUE))
    assert len(endpoint.bodies) == 4
    assert endpoint.bodies[0]["max_tokens"] == 9


# ---- the key


ECHOES: list[Callable[[int, dict[str, Any]], str | None]] = [
    lambda number, body: "500:echo",
    lambda number, body: "400:echo",
    lambda number, body: "429:echo",
    lambda number, body: "echo",
    lambda number, body: "timeout",
    lambda number, body: "reset",
]


@pytest.mark.parametrize("fault", ECHOES)
@pytest.mark.parametrize("given", [True, False])
def test_the_key_is_nowhere(
    endpoint: FakeEndpoint,
    fault: Callable[[int, dict[str, Any]], str | None],
    given: bool,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    caplog.set_level(logging.DEBUG)
    endpoint.fault = fault
    policy = RequestPolicy(timeout=0.3, retries=1, format_retries=1, first_wait=0.0, give_up_after=2)
    key = {"api_key": KEY} if given else {}
    who = ChatEndpoint(
        model="tiny", base_url=endpoint.url, policy=policy, budget=Budget(path=tmp_path / "b.json"), **key
    )
    judge = ChatJudge(endpoint=who, cache=tmp_path / "v.sqlite")
    said = judge.judge(asked(TRUE, FALSE, *MANY[:4]))
    judge.cache.close()  # type: ignore[union-attr]
    shown = [*said.reasons, repr(judge), repr(who), str(vars(who)), judge.fingerprint(), json.dumps(who.identity())]
    shown += [caplog.text, *capfd.readouterr(), *(str(record.__dict__) for record in caplog.records)]
    assert endpoint.headers[0]["authorization"] == f"Bearer {KEY}"
    assert not [text for text in shown if KEY in text]
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


def test_a_key_does_not_go_to_other_processes_but_a_judge_without_one_does(endpoint: FakeEndpoint) -> None:
    with pytest.raises(TypeError, match="api_key_env"):
        pickle.dumps(ChatEndpoint(model="tiny", base_url=endpoint.url, api_key=KEY))
    sent = pickle.dumps(made(endpoint, cache="unused.sqlite"))
    assert KEY.encode() not in sent
    assert pickle.loads(sent).fingerprint() == made(endpoint).fingerprint()  # noqa: S301 - our own


def test_addresses_with_secrets_are_refused_without_repeating_them() -> None:
    for address in ("https://me:secret@host/v1", "https://host/v1?key=secret", "ftp://host/secret", "secret"):
        with pytest.raises(InvalidInputError, match="api_key_env") as caught:
            ChatEndpoint(model="tiny", base_url=address)
        assert "secret" not in str(caught.value)


def test_no_key_for_the_official_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(InvalidInputError, match=r"OPENAI_API_KEY.*--api-key-env"):
        ChatJudge(endpoint=ChatEndpoint(model="tiny")).judge(asked(TRUE))


def test_it_works_where_a_loop_is_running(endpoint: FakeEndpoint) -> None:
    import asyncio

    endpoint.answer = honest

    async def cell() -> float:
        return float(made(endpoint).judge(asked(TRUE)).probability[0])

    assert asyncio.run(cell()) > 0.5


def _judge_in_another_process(url: str, path: str) -> None:
    who = ChatEndpoint(
        model="tiny", base_url=url, policy=RequestPolicy(), budget=Budget(tokens=6_000, path=f"{path}/budget.json")
    )
    ChatJudge(endpoint=who, cache=f"{path}/v.sqlite").judge(Candidates.from_triples(MANY))


@pytest.mark.slow
def test_processes_share_budget_and_cache(
    endpoint: FakeEndpoint, tmp_path: Path, other_process: Callable[..., Any]
) -> None:
    endpoint.answer, endpoint.delay = honest, 0.01
    endpoint.usage = lambda body: {"prompt_tokens": 250, "completion_tokens": 10}
    workers = [other_process(_judge_in_another_process, endpoint.url, str(tmp_path)) for _ in range(2)]
    assert [worker.wait(60) for worker in workers] == [0, 0]
    assert 0 < endpoint.tokens <= 6_000
    assert len(ReplyCache(tmp_path / "v.sqlite")) > 0


def test_chinese_is_asked_in_chinese(endpoint: FakeEndpoint) -> None:
    endpoint.answer = lambda body: json.dumps({"answer": "no" if "不是" in FakeEndpoint.asked(body) else "yes"})
    words = Verbalizer.load(language="zh")
    said = made(endpoint, verbalizer=words).judge(asked(("猫", "IsA", "动物")))
    assert said.probability[0] > 0.5
    assert "猫是一种动物。" in FakeEndpoint.asked(endpoint.bodies[0])
    assert "陈述" in endpoint.bodies[0]["messages"][0]["content"]


def test_an_unknown_relation_is_an_error_before_anything_is_asked(endpoint: FakeEndpoint) -> None:
    with pytest.raises(InvalidInputError, match="eats"):
        made(endpoint).judge(asked(TRUE, ("cat", "eats", "fish")))
    assert not endpoint.bodies
