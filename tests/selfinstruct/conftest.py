"""A chat endpoint on the loopback interface, with faults on demand."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from kgneg.selfinstruct.candidates import Candidates
from kgneg.selfinstruct.critic import Critic
from kgneg.selfinstruct.recorded import RecordedJudge
from kgneg.selfinstruct.vectors import VectorTable

#: a key that must not appear anywhere
KEY = "sk-test-5f2d8c1e9b7a4460-never-show-me"
FAULTS_IN_TRANSPORT = ("429", "500", "503", "timeout", "drip", "reset", "cut-body", "cut-json", "html", "bad-utf8")
FAULTS_IN_REPLY = ("schema", "no-choices", "null-content", "cut-content", "length", "text", "wrong-key", "wrong-answer")
FAULTS_IN_REPLY += ("twice", "constant", "extra", "list", "deep")
PASSING_FAULTS = FAULTS_IN_TRANSPORT + FAULTS_IN_REPLY

_CONTENTS = {
    "cut-content": '{"answer": "ye',
    "text": "Yes, it is.",
    "wrong-key": '{"verdict": "yes"}',
    "wrong-answer": '{"answer": "maybe"}',
    "twice": '{"answer": "yes", "answer": "no"}',
    "constant": '{"answer": NaN}',
    "extra": '{"answer": "yes"} I hope this helps!',
    "list": '["yes"]',
    "deep": "[" * 100_000,
}


Fault = str | tuple[int, dict[str, str], Any] | None


class FakeEndpoint:
    """What the server answers, which faults it has, and what it has seen."""

    def __init__(self) -> None:
        #: the text of a reply, by the body of the request
        self.answer: Callable[[dict[str, Any]], str] = lambda body: '{"answer": "yes"}'
        #: log-probabilities, by the body of the request
        self.logprobs: Callable[[dict[str, Any]], Any] = lambda body: None
        #: the fault of a request, by its number from 0 and its body; None for none; or a status, headers and a body
        self.fault: Callable[[int, dict[str, Any]], Fault] = lambda number, body: None
        self.usage: Callable[[dict[str, Any]], Any] = lambda body: {"prompt_tokens": 40, "completion_tokens": 8}
        self.delay = 0.0
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.at_once = self.most_at_once = 0
        self.tokens = 0
        self.lock = threading.Lock()
        self.stop = threading.Event()
        self.url = ""

    @staticmethod
    def asked(body: dict[str, Any]) -> str:
        """Return the last message."""
        return str(body["messages"][-1]["content"])


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    endpoint: FakeEndpoint

    def log_message(self, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        end = self.endpoint
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with end.lock:
            number = len(end.bodies)
            end.bodies.append(body)
            end.headers.append({name.lower(): value for name, value in self.headers.items()})
            end.times.append(time.monotonic())
            end.at_once += 1
            end.most_at_once = max(end.most_at_once, end.at_once)
        try:
            if end.delay:
                end.stop.wait(end.delay)
            self._reply(body, end.fault(number, body))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            with end.lock:
                end.at_once -= 1

    def _reply(self, body: dict[str, Any], fault: Fault) -> None:
        end = self.endpoint
        if isinstance(fault, tuple):
            status, headers, content = fault
            self._raw(content if isinstance(content, bytes) else json.dumps(content).encode(), status, headers)
            return
        special = {"timeout": self._hang, "drip": self._drip, "reset": self._reset}
        if fault in special:
            special[fault](body)
            return
        if fault is not None and fault[0].isdigit():
            status, _, extra = fault.partition(":")
            said = self.headers["Authorization"] if extra == "echo" else f"fault {status}"
            headers = {"Retry-After": extra} if extra and extra != "echo" else {}
            headers |= {"X-Echo": said} if extra == "echo" else {}
            code = extra if extra == "insufficient_quota" else None
            self._send({"error": {"message": said, "code": code}}, int(status), headers)
            return
        raw = json.dumps(self._completion(body, fault)).encode()
        if fault == "html":
            self._raw(b"<html>busy</html>", 200, {"Content-Type": "text/html"})
        elif fault == "bad-utf8":
            self._raw(b"\xff\xfe" + raw, 200, {})
        elif fault == "cut-json":
            self._raw(raw[: len(raw) // 2], 200, {})
        elif fault == "cut-body":
            self._raw(raw[: len(raw) // 2], 200, {}, promised=len(raw))
            self.close_connection = True
        else:
            with end.lock:
                used = end.usage(body) or {}
                end.tokens += sum(one for one in used.values() if isinstance(one, int))
            self._raw(raw, 200, {})

    def _completion(self, body: dict[str, Any], fault: str | None) -> Any:
        end = self.endpoint
        if fault == "schema":
            return {"hello": "world"}
        if fault == "echo":
            content: Any = f"I was called with {self.headers['Authorization']}"
        else:
            content = None if fault == "null-content" else _CONTENTS.get(fault or "") or end.answer(body)
        choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": content}}
        choice["finish_reason"] = {"length": "length", "filter": "content_filter"}.get(fault or "", "stop")
        if fault is None and (logprobs := end.logprobs(body)) is not None:
            choice["logprobs"] = {"content": logprobs}
        made = {"id": "1", "object": "chat.completion", "created": 1, "model": body["model"], "choices": [choice]}
        if fault == "no-choices":
            made["choices"] = []
        usage = end.usage(body)
        return made | ({} if usage is None else {"usage": usage})

    def _send(self, content: Any, status: int, headers: dict[str, str]) -> None:
        self._raw(json.dumps(content).encode(), status, headers)

    def _raw(self, raw: bytes, status: int, headers: dict[str, str], promised: int | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json"} | headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(raw) if promised is None else promised))
        self.end_headers()
        self.wfile.write(raw)

    def _hang(self, body: dict[str, Any]) -> None:
        self.endpoint.stop.wait(30)
        self.close_connection = True

    def _drip(self, body: dict[str, Any]) -> None:
        raw = json.dumps(self._completion(body, None)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        for place in range(len(raw)):
            self.wfile.write(raw[place : place + 1])
            self.wfile.flush()
            if self.endpoint.stop.wait(0.1):
                break
        self.close_connection = True

    def _reset(self, body: dict[str, Any]) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # connections that were reset on purpose


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEndpoint]:
    """A running chat endpoint; its key is in the environment."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    fake = FakeEndpoint()
    handler = type("Handler", (_Handler,), {"endpoint": fake})
    server = _Server(("127.0.0.1", 0), handler)
    fake.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield fake
    fake.stop.set()
    server.shutdown()
    server.server_close()
    thread.join(5)


RELATIONS = ("wants", "fears")


class World:
    """``n`` triples, their truth, two judges that err, and vectors.

    A tail of the first half of the things is wanted, one of the second half is feared; one in ten is otherwise.
    """

    def __init__(self, rows: int = 1200, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        things = [f"thing {number}" for number in range(40)]
        people = [f"person {number}" for number in range(400)]
        vectors = random.normal(size=(440, 12)).astype(np.float32)
        vectors[:20, 0] += 3
        vectors[20:40, 0] -= 3
        self.table = VectorTable(things + people, vectors)
        every = [(h, r, t) for h in people for r in RELATIONS for t in things]
        drawn = [every[row] for row in random.permutation(len(every))[:rows]]
        self.candidates = Candidates.from_triples(drawn)
        first = np.array([things.index(t) < 20 for _, _, t in drawn])
        wants = np.array([r == RELATIONS[0] for _, r, _ in drawn])
        likely = np.where(first == wants, 0.6, 0.06)
        self.truth = random.random(rows) < likely
        self.said = np.empty((rows, 2))
        self.judges = []
        for column, (name, false, true) in enumerate((("strict", 0.05, 0.5), ("mild", 0.3, 0.8))):
            self.said[:, column] = random.random(rows) < np.where(self.truth, true, false)
            self.judges.append(RecordedJudge(candidates=self.candidates, probability=self.said[:, column], name=name))

    def critic(self, **settings: int) -> Critic:
        """A critic that has learned nothing yet."""
        return Critic(encoder=self.table, progress=False, **settings)  # type: ignore[arg-type]

    def seeds(self, rows: slice) -> tuple[Candidates, Candidates]:
        """True and false ones among some rows."""
        part, truth = self.candidates[rows], self.truth[rows]
        return part[truth], part[~truth]


@pytest.fixture(scope="session")
def world() -> World:
    """A small world in which it depends on relation and tail whether a triple is true."""
    return World()
