"""Who is asked, what is sent along, and how much of a response is read."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator

import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.chat_client import MOST_BYTES
from kgneg.selfinstruct.chat_endpoint import ChatEndpoint, ChatRequest, Outcome
from kgneg.selfinstruct.chat_policy import RequestPolicy

from .conftest import KEY, FakeEndpoint

POLICY = RequestPolicy(retries=0, format_retries=0, timeout=5, concurrency=1)


def asked(who: ChatEndpoint, count: int = 1) -> list[Outcome[str]]:
    found: list[Outcome[str]] = []
    messages = ({"role": "user", "content": "question"},)
    requests = (ChatRequest(key=str(number), messages=messages, max_tokens=9) for number in range(count))
    who.ask(requests, lambda reply: reply.text, lambda one, outcome: found.append(outcome))
    return found


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_nobody_else_is_asked(endpoint: FakeEndpoint, status: int) -> None:
    elsewhere = endpoint.url.replace("127.0.0.1", "localhost") + f"/there?key={KEY}"
    endpoint.fault = lambda number, body: (status, {"Location": elsewhere}, {})
    (found,) = asked(ChatEndpoint(model="tiny", base_url=endpoint.url, policy=POLICY))
    assert len(endpoint.bodies) == 1
    where = elsewhere.replace(KEY, "[key]")
    said = f"it leads to {where}, which is not asked; give that address if it is the right one"
    assert found.reason == f"endpoint: status {status} ({said})"


@pytest.fixture
def _organisation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-secret")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-secret")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Mine: mine-secret\nAuthorization: Bearer other-secret")


@pytest.mark.usefixtures("_organisation")
def test_others_get_no_headers_from_the_environment(endpoint: FakeEndpoint) -> None:
    assert asked(ChatEndpoint(model="tiny", base_url=endpoint.url, policy=POLICY)) == [Outcome('{"answer": "yes"}')]
    assert "secret" not in str(endpoint.headers)
    assert endpoint.headers[0]["authorization"] == f"Bearer {KEY}"
    assert endpoint.headers[0]["content-type"] == "application/json"


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("packed", [False, True])
def test_a_huge_body_is_cut_off(endpoint: FakeEndpoint, status: int, packed: bool) -> None:
    content = {"error": {"message": KEY[:-1] * 300_000}, "choices": [{"message": {"content": "x" * 30 * MOST_BYTES}}]}
    raw = json.dumps(content).encode()
    raw, headers = (gzip.compress(raw, 1), {"Content-Encoding": "gzip"}) if packed else (raw, {})
    endpoint.fault = lambda number, body: (status, headers, raw)
    start = time.monotonic()
    (found,) = asked(ChatEndpoint(model="tiny", base_url=endpoint.url, policy=POLICY))
    assert time.monotonic() - start < 3
    assert len(found.reason) < 300
    if status == 200:
        assert found.reason == "malformed: the reply is no JSON, or was cut off"
    else:
        assert found.reason == 'endpoint: status 400 ({"error": {"message": "[key])'


def test_a_packed_reply_is_unpacked(endpoint: FakeEndpoint) -> None:
    content = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}
    raw = gzip.compress(json.dumps(content).encode())
    endpoint.fault = lambda number, body: (200, {"Content-Encoding": "gzip"}, raw)
    assert asked(ChatEndpoint(model="tiny", base_url=endpoint.url, policy=POLICY)) == [Outcome("hi")]


@pytest.fixture(params=["socks5://me:secret@127.0.0.1:1", "ftp://me:secret@127.0.0.1:1", "http://127.0.0.1:abc"])
def _proxy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("ALL_PROXY", request.param)
    yield


@pytest.mark.usefixtures("_proxy")
def test_a_proxy_that_cannot_be_used_is_named(endpoint: FakeEndpoint) -> None:
    with pytest.raises(InvalidInputError, match="ALL_PROXY") as caught:
        asked(ChatEndpoint(model="tiny", base_url=endpoint.url, policy=POLICY))
    assert "secret" not in str(caught.value)
    assert not endpoint.bodies
