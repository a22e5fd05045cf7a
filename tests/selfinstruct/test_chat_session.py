"""A round of questions: what is under way, what is reserved, and when it stops."""

from __future__ import annotations

import pytest

from kgneg.selfinstruct.chat_budget import Budget
from kgneg.selfinstruct.chat_endpoint import ChatEndpoint, ChatRequest, Outcome
from kgneg.selfinstruct.chat_policy import RequestPolicy

from .conftest import FakeEndpoint


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
