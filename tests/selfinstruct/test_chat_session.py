"""A round of questions: what is under way, what is reserved, and when it stops."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from kgneg.selfinstruct import chat_session
from kgneg.selfinstruct.chat_budget import Budget
from kgneg.selfinstruct.chat_endpoint import ChatEndpoint, ChatRequest, EndpointError, Outcome
from kgneg.selfinstruct.chat_policy import RequestPolicy

from .conftest import KEY, FakeEndpoint, Fault


def asked(who: ChatEndpoint, count: int) -> dict[str, Outcome[str]]:
    found: dict[str, Outcome[str]] = {}
    messages = ({"role": "user", "content": "question"},)
    requests = (ChatRequest(key=str(number), messages=messages, max_tokens=100) for number in range(count))
    who.ask(requests, lambda reply: reply.text, lambda one, outcome: found.update({one.key: outcome}))
    return found


@pytest.mark.parametrize("concurrency", [1, 8])
def test_a_tight_budget_is_used_to_the_end(endpoint: FakeEndpoint, concurrency: int) -> None:
    endpoint.delay = 0.005
    budget = Budget(tokens=48 * 15 + 400)  # room for one reservation beside what 15 questions use
    policy = RequestPolicy(concurrency=concurrency)
    found = asked(ChatEndpoint(model="tiny", base_url=endpoint.url, policy=policy, budget=budget), 30)
    answered = [key for key, one in found.items() if one.value is not None]
    assert 15 <= len(answered) <= 23
    assert len(found) == 30
    assert endpoint.tokens == 48 * len(answered) <= 48 * 15 + 400
    assert {one.reason for one in found.values() if one.value is None} == {"budget: 1,120 tokens would be exceeded"}


@pytest.mark.parametrize("settled", [True, False])
def test_what_others_have_reserved_may_come_back(
    endpoint: FakeEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settled: bool
) -> None:
    monkeypatch.setattr(chat_session, "_PAUSE", 0.02)
    path = tmp_path / "budget.json"
    other, budget = Budget(tokens=1_000, path=path), Budget(tokens=1_000, path=path)
    reserved = other.reserve(900, 0)
    assert reserved is not None
    if settled:
        threading.Timer(0.1, other.settle, (reserved, 90, 0)).start()
    (found,) = asked(ChatEndpoint(model="tiny", base_url=endpoint.url, budget=budget), 1).values()
    assert found.reason == ("" if settled else "budget: 1,000 tokens would be exceeded")
    assert budget.spent()["input_tokens"] == (130 if settled else 900)
    assert budget.reserved() == (0 if settled else 900)


def test_lost_replies_are_charged_and_refusals_are_not(endpoint: FakeEndpoint) -> None:
    policy = RequestPolicy(concurrency=1, retries=0, timeout=0.3, give_up_after=None)
    for fault, charged in (("timeout", True), ("reset", True), ("500", True), ("429", False), ("400", False)):
        endpoint.fault = lambda number, body, fault=fault: fault  # type: ignore[misc]
        who = ChatEndpoint(model="tiny", base_url=endpoint.url, policy=policy, budget=Budget())
        asked(who, 1)
        spent = who.budget.spent()
        assert (spent["output_tokens"], spent["input_tokens"] > 256) == ((100, True) if charged else (0, False))


def test_a_success_ends_a_row_of_failures(endpoint: FakeEndpoint) -> None:
    endpoint.fault = lambda number, body: "500" if number % 3 else None
    policy = RequestPolicy(concurrency=1, retries=0, give_up_after=3)
    found = asked(ChatEndpoint(model="tiny", base_url=endpoint.url, policy=policy), 12)
    assert len(endpoint.bodies) == 12
    assert sum(one.value is not None for one in found.values()) == 4


def test_half_a_character_ends_its_question_only(endpoint: FakeEndpoint) -> None:
    texts = ["whole", "half \ud83d", "whole"]
    requests = [
        ChatRequest(key=str(number), messages=({"role": "user", "content": text},), max_tokens=9)
        for number, text in enumerate(texts)
    ]
    found: dict[str, Outcome[str]] = {}
    who = ChatEndpoint(model="tiny", base_url=endpoint.url, budget=Budget())
    who.ask(requests, lambda reply: reply.text, lambda one, outcome: found.update({one.key: outcome}))
    assert [found[key].reason for key in "012"] == ["", "the question is no valid text", ""]
    assert who.budget.spent()["input_tokens"] == 80


def test_an_endpoint_that_charges_too_much_is_named(endpoint: FakeEndpoint, caplog: pytest.LogCaptureFixture) -> None:
    endpoint.usage = lambda body: {"prompt_tokens": 10**6, "completion_tokens": 1}
    policy = RequestPolicy(concurrency=1)
    found = asked(ChatEndpoint(model="tiny", base_url=endpoint.url, policy=policy, budget=Budget(tokens=10**4)), 5)
    assert "charges 1000000 + 1 tokens" in caplog.text
    assert len(endpoint.bodies) == 1
    assert sum(one.value is None for one in found.values()) == 4


def test_further_fields_are_reserved(endpoint: FakeEndpoint) -> None:
    tools = [{"type": "function", "function": {"name": "f", "description": "x" * 20_000}}]
    endpoint.usage = lambda body: {"prompt_tokens": len(json.dumps(body)), "completion_tokens": 1}
    budget = Budget(tokens=3_000)
    found = asked(ChatEndpoint(model="tiny", base_url=endpoint.url, budget=budget, extra={"tools": tools}), 2)
    assert not endpoint.bodies
    assert all(one.reason.startswith("budget") for one in found.values())


@pytest.mark.parametrize("status", ["403", "404"])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_refused_row_is_no_end_when_others_succeed(endpoint: FakeEndpoint, status: str, concurrency: int) -> None:
    endpoint.fault = lambda number, body: status if number in (1, 3) else None
    policy = RequestPolicy(concurrency=concurrency)
    found = asked(ChatEndpoint(model="tiny", base_url=endpoint.url, policy=policy), 6)
    reasons = [one.reason for one in found.values() if one.value is None]
    assert reasons == [f"endpoint: status {status} (fault {status})"] * 2
    assert len(endpoint.bodies) == 6


@pytest.mark.parametrize("status", ["401", "403", "404"])
def test_an_endpoint_that_never_answers_is_an_error(endpoint: FakeEndpoint, status: str) -> None:
    endpoint.fault = lambda number, body: status
    with pytest.raises(EndpointError, match=status):
        asked(ChatEndpoint(model="tiny", base_url=endpoint.url, policy=RequestPolicy(concurrency=4)), 50)
    assert len(endpoint.bodies) <= 8


def test_a_key_in_the_middle_of_a_run_that_is_no_longer_valid(endpoint: FakeEndpoint) -> None:
    endpoint.fault = lambda number, body: "401" if number else None
    policy = RequestPolicy(concurrency=1, give_up_after=3)
    found = asked(ChatEndpoint(model="tiny", base_url=endpoint.url, policy=policy), 9)
    reasons = [found[str(number)].reason for number in range(9)]
    assert reasons[:4] == ["", *["endpoint: status 401 (fault 401)"] * 3]
    assert set(reasons[4:]) == {"gave up after 3 failures in a row: endpoint: status 401 (fault 401)"}
    assert len(endpoint.bodies) == 4


def test_a_401_that_passes_costs_one_question_only(endpoint: FakeEndpoint) -> None:
    endpoint.fault = lambda number, body: "401" if number == 5 else None
    found = asked(ChatEndpoint(model="tiny", base_url=endpoint.url), 20)
    assert sum(one.value is not None for one in found.values()) == 19


def test_a_wrong_key_is_an_error_although_an_earlier_run_had_answers(endpoint: FakeEndpoint) -> None:
    endpoint.fault = lambda number, body: "401"
    who = ChatEndpoint(model="tiny", base_url=endpoint.url, policy=RequestPolicy(concurrency=1))
    who.answered = True  # from a cache
    with pytest.raises(EndpointError, match="401"):
        asked(who, 5)
    assert len(endpoint.bodies) == 1


@pytest.mark.parametrize("concurrency", [1, 2])
def test_texts_that_are_refused_first_are_no_end(endpoint: FakeEndpoint, concurrency: int) -> None:
    endpoint.fault = lambda number, body: "403" if number < 3 else None
    policy = RequestPolicy(concurrency=concurrency)
    found = asked(ChatEndpoint(model="tiny", base_url=endpoint.url, policy=policy), 8)
    assert sum(one.value is not None for one in found.values()) == 5


def test_one_question_that_is_refused_is_an_error(endpoint: FakeEndpoint) -> None:
    endpoint.fault = lambda number, body: "404"
    with pytest.raises(EndpointError, match=r"status 404 \(fault 404\)"):
        asked(ChatEndpoint(model="tiny", base_url=endpoint.url), 1)


QUOTA = (429, {}, {"error": {"message": "no quota", "type": "insufficient_quota"}})
BALANCE = (402, {}, {"error": {"message": "Insufficient Balance"}})
UNKNOWN_FIELD = (400, {}, {"error": {"message": "Unsupported parameter", "code": "unsupported_parameter"}})


@pytest.mark.parametrize(("fault", "requests"), [(QUOTA, 1), (BALANCE, 1), (UNKNOWN_FIELD, 4)])
def test_faults_that_meet_every_question_end_the_round(endpoint: FakeEndpoint, fault: Fault, requests: int) -> None:
    endpoint.fault = lambda number, body: fault
    policy = RequestPolicy(concurrency=1, give_up_after=4)
    found = asked(ChatEndpoint(model="tiny", base_url=endpoint.url, policy=policy), 30)
    assert len(endpoint.bodies) == requests
    assert found["29"].reason.startswith("gave up")
    assert found["0"].reason.startswith("endpoint: status")


FLAGGED = (400, {}, {"error": {"message": "flagged", "code": "content_filter"}})


@pytest.mark.parametrize("fault", ["413", FLAGGED])
def test_faults_of_a_text_do_not_end_the_round(endpoint: FakeEndpoint, fault: Fault) -> None:
    endpoint.fault = lambda number, body: fault
    policy = RequestPolicy(concurrency=1, give_up_after=2)
    found = asked(ChatEndpoint(model="tiny", base_url=endpoint.url, policy=policy), 6)
    assert len(endpoint.bodies) == 6
    assert all(one.reason.startswith("endpoint: status") for one in found.values())


def test_a_reply_that_repeats_the_key_is_malformed(endpoint: FakeEndpoint) -> None:
    endpoint.answer = lambda body: f"the key is {KEY}"
    kept: list[tuple[str, str]] = []
    who = ChatEndpoint(model="tiny", base_url=endpoint.url, policy=RequestPolicy(format_retries=0))
    request = ChatRequest(key="0", messages=({"role": "user", "content": "?"},), max_tokens=9)
    found: list[Outcome[str]] = []
    who.ask(
        [request],
        lambda reply: reply.text,
        lambda one, outcome: found.append(outcome),
        lambda one, text, fault: kept.append((text, fault)),
    )
    assert found == [Outcome(None, "malformed: the reply repeats the key")]
    assert kept == [("the key is [key]", "the reply repeats the key")]


@pytest.mark.parametrize("key", ["no", "e", "true", "EMPTY", "yes", "ollama", "a-question"])
def test_a_word_as_a_key_changes_no_reply(endpoint: FakeEndpoint, key: str) -> None:
    text = '{"a": "yes, no, true, EMPTY, ollama, a-question"}'
    endpoint.answer = lambda body: text
    assert asked(ChatEndpoint(model="tiny", base_url=endpoint.url, api_key=key), 1)["0"].value == text


def test_a_useless_count_of_tokens_keeps_the_reservation(endpoint: FakeEndpoint) -> None:
    endpoint.usage = lambda body: {"prompt_tokens": 0, "completion_tokens": 0}
    budget = Budget(tokens=1_000)
    asked(ChatEndpoint(model="tiny", base_url=endpoint.url, budget=budget), 9)
    assert len(endpoint.bodies) == 2
    assert budget.spent()["output_tokens"] == 200


def test_an_error_with_status_200_is_told(endpoint: FakeEndpoint) -> None:
    endpoint.fault = lambda number, body: (200, {}, {"error": {"message": f"upstream said no to {KEY}"}})
    found = asked(ChatEndpoint(model="tiny", base_url=endpoint.url, policy=RequestPolicy(format_retries=0)), 1)
    said = "malformed: the response has no choices with a message, but an error: upstream said no to [key]"
    assert found["0"].reason == said
