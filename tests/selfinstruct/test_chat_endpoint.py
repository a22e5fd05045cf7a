"""The endpoint as such; what it does over the wire is tested with the judge."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import sys
import threading
from typing import Any

import pytest

from kgneg.core.errors import InvalidInputError, MissingExtraError
from kgneg.selfinstruct.chat import ChatJudge
from kgneg.selfinstruct.chat_endpoint import ChatEndpoint, ChatRequest, Outcome
from kgneg.selfinstruct.chat_policy import RequestPolicy
from kgneg.selfinstruct.chat_reply import ChatReply

from .conftest import KEY, FakeEndpoint


def request(number: int, **options: Any) -> ChatRequest:
    messages = ({"role": "user", "content": f"question {number}"},)
    return ChatRequest(key=str(number), messages=messages, max_tokens=5, **options)


def asked(who: ChatEndpoint, count: int) -> dict[str, Outcome[str]]:
    found: dict[str, Outcome[str]] = {}

    def done(one: ChatRequest, outcome: Outcome[str]) -> None:
        assert one.key not in found
        found[one.key] = outcome

    who.ask((request(number) for number in range(count)), lambda reply: reply.text, done)
    return found


def test_every_question_has_one_outcome(endpoint: FakeEndpoint) -> None:
    endpoint.answer = lambda body: FakeEndpoint.asked(body).upper()
    found = asked(ChatEndpoint(model="tiny", base_url=endpoint.url), 30)
    assert {key: one.value for key, one in found.items()} == {str(n): f"QUESTION {n}" for n in range(30)}
    assert asked(ChatEndpoint(model="tiny", base_url=endpoint.url), 0) == {}


def test_further_fields(endpoint: FakeEndpoint) -> None:
    extra = {"top_p": 0.5, "max_completion_tokens": 77, "chat_template_kwargs": {"enable_thinking": False}}
    who = ChatEndpoint(model="tiny", base_url=endpoint.url, extra=extra, json_mode=False)
    asked(who, 1)
    body = endpoint.bodies[0]
    assert extra.items() <= body.items()
    assert not {"max_tokens", "response_format", "logprobs", "seed"} & set(body)
    assert who.most_tokens(request(0)) == 77
    assert who.identity()["extra"] == extra


@pytest.mark.parametrize("name", ["n", "stream", "model", "messages", "max_tokens"])
def test_own_fields_are_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match=name):
        ChatEndpoint(model="tiny", extra={name: 1})


@pytest.mark.parametrize("model", ["", " ", None])
def test_no_model(model: Any) -> None:
    with pytest.raises(InvalidInputError, match="model"):
        ChatEndpoint(model=model)


def test_texts_of_others_are_cleaned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    who = ChatEndpoint(model="tiny")
    assert who.clean(f"a\x1b[31m\n{KEY}\ud800") == "a [31m [key]?"
    long = who.clean("x" * 190 + KEY)
    assert len(long) <= 200
    assert KEY[:6] not in long
    assert who.clean(f"a\n{KEY}", None) == "a\n[key]"


def test_an_error_of_ours_ends_the_round(endpoint: FakeEndpoint) -> None:
    def broken(reply: ChatReply) -> str:
        raise ZeroDivisionError

    who = ChatEndpoint(model="tiny", base_url=endpoint.url, policy=RequestPolicy(concurrency=2))
    with pytest.raises(ZeroDivisionError):
        who.ask((request(number) for number in range(50)), broken, lambda one, outcome: None)
    assert len(endpoint.bodies) < 10


def test_without_the_client(endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(MissingExtraError, match=r"kgneg\[chat\]"):
        asked(ChatEndpoint(model="tiny", base_url=endpoint.url), 1)


@pytest.mark.parametrize("key", ["sk-one two", "sk-\u732b", "sk-a\nX: b", "sk-a\x00"])
@pytest.mark.parametrize("given", [True, False])
def test_what_cannot_be_a_key_is_not_repeated(key: str, given: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if "\x00" not in key:
        monkeypatch.setenv("OPENAI_API_KEY", key)
    who = ChatEndpoint(model="tiny", api_key=key if given or "\x00" in key else None)
    with pytest.raises(InvalidInputError, match="OPENAI_API_KEY") as caught:
        who.secret()
    assert "sk-" not in str(caught.value)


def test_a_key_in_the_address_is_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    for key, given in (("sk-0123456789abcdef", None), ("my/odd-key", "my/odd-key"), ("a1" * 16, None)):
        who = ChatEndpoint(model="tiny", base_url=f"http://127.0.0.1:9/{key}/v1", api_key=given, extra={"user": key})
        assert key not in f"{who!r} {who.base_url} {json.dumps(who.identity())}"
        assert key in who.address
    plain = ChatEndpoint(model="tiny", base_url="http://h/openai/deployments/gpt-4o-mini-2024-07-18")
    assert "gpt-4o-mini-2024-07-18" in repr(plain)


def test_a_key_instead_of_the_name_of_a_variable() -> None:
    with pytest.raises(InvalidInputError, match="api_key_env must be the name") as caught:
        ChatEndpoint(model="tiny", api_key_env="sk-0123")
    assert "sk-0123" not in str(caught.value)


def test_addresses_have_their_own_identities_and_no_key_in_them() -> None:
    paths = ("api-deployment-one", "api-deployment-two", "hf-inference", "token_exchange_eu")
    paths += ("sk-0123456789abcdef", "sk-0123456789abcdeg", "api-deployment-gpt-4o-mini", "api-deployment-gpt-4o-maxi")
    shown = [ChatEndpoint(model="m", base_url=f"http://h/{path}/v1").identity() for path in paths]
    assert len({json.dumps(one) for one in shown}) == len(paths)
    assert [one["base_url"] for one in shown[:4]] == [f"http://h/{path}/v1" for path in paths[:4]]
    assert set(shown[0]) == {"base_url", "model", "extra", "json_mode"}
    assert shown[4]["base_url"] == "http://h/[key]/v1"


@pytest.mark.parametrize("key", ["v1", "h", "tiny", "fast", "EMPTY"])
def test_a_word_as_a_key_changes_no_identity(key: str) -> None:
    given = {"model": "tiny", "base_url": "http://h/v1", "extra": {"mode": "fast"}}
    assert ChatEndpoint(**given, api_key=key).identity() == ChatEndpoint(**given).identity()


@pytest.mark.parametrize(
    "address",
    [
        "http://h:99999/v1",
        "http://h:abc/v1",
        "http://h:0/v1",
        "http://a\nb/v1",
        "http://h/v1\n",
        "http://exa mple/v1",
        "",
    ],
)
def test_addresses_that_cannot_be(address: str) -> None:
    with pytest.raises(InvalidInputError, match="base_url must be an address"):
        ChatEndpoint(model="tiny", base_url=address)


@pytest.mark.parametrize("extra", [{"top_p": math.nan}, {"stop": {1}}, {"x": object()}])
def test_fields_that_json_cannot_spell(extra: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="extra must be what JSON can spell"):
        ChatEndpoint(model="tiny", extra=extra)


@pytest.mark.parametrize("temperature", [math.nan, math.inf, -5, "hot", True])
def test_temperatures_that_are_none(temperature: Any) -> None:
    with pytest.raises(InvalidInputError, match="temperature"):
        request(0, temperature=temperature)
    with pytest.raises(InvalidInputError, match="temperature"):
        ChatJudge(endpoint=ChatEndpoint(model="tiny"), temperature=temperature)


@pytest.mark.parametrize("raises", [False, True])
def test_an_interrupt_ends_it_where_a_loop_is_running(endpoint: FakeEndpoint, raises: bool) -> None:
    """A loop of asyncio only cancels its task at an interrupt; a notebook raises at once."""

    def interrupt(number: int, body: dict[str, Any]) -> None:
        if number == 9:
            os.kill(os.getpid(), signal.SIGINT)

    endpoint.fault, endpoint.delay = interrupt, 0.02
    policy = RequestPolicy(concurrency=2)
    found: list[str] = []

    async def cell() -> None:
        if raises:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        who = ChatEndpoint(model="tiny", base_url=endpoint.url, policy=policy)
        requests = (request(number) for number in range(300))
        who.ask(requests, lambda reply: reply.text, lambda one, outcome: found.append(one.key))

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored in the background of a shell
    try:
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(cell())
    finally:
        signal.signal(signal.SIGINT, before)
    assert 5 <= len(endpoint.bodies) <= 100
    assert len(found) <= len(endpoint.bodies)
    assert not [one for one in threading.enumerate() if "ThreadPool" in one.name]
