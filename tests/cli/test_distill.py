"""``kgneg distill``, against a chat endpoint on the loopback interface."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from kgneg.cli import main

KEY = "sk-test-never-show-me"


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = body["messages"][-1]["content"]
        stage = next(one for one in ("heads", "tails", "negatives") if f'{{"{one}"' in asked)
        said = {"heads": ["umbrella", "table"], "tails": ["a thing"], "negatives": ["an animal", "a thing"]}
        wrong_key = self.headers["Authorization"] != f"Bearer {KEY}"
        message = {"role": "assistant", "content": json.dumps({stage: said[stage]})}
        reply: dict[str, Any] = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        reply |= {"usage": {"prompt_tokens": 100, "completion_tokens": 10}}
        if wrong_key:
            reply = {"error": {"message": f"wrong key {self.headers['Authorization']}"}}
        raw = json.dumps(reply).encode()
        self.send_response(401 if wrong_key else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("MY_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    server.server_close()


def distill(url: str, out: Path, *more: str) -> Result:
    arguments = ["distill", "--model", "tiny", "--base-url", url, "--api-key-env", "MY_KEY", "--out", str(out)]
    arguments += ["--kinds", "object", "--relations", "IsA,MadeOf", "--heads", "2", "--timeout", "5", *more]
    return CliRunner().invoke(main, arguments)


def test_a_graph(url: str, tmp_path: Path) -> None:
    done = distill(url, tmp_path / "graph")
    assert done.exit_code == 0, done.output
    assert "triples: 4" in done.stderr
    assert "negatives: 4" in done.stderr
    lines = (tmp_path / "graph" / "negatives.tsv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "umbrella\tIsA\tan animal"
    assert KEY not in done.output + done.stderr
    again = distill(url, tmp_path / "graph", "--quiet")
    assert again.exit_code == 0
    assert again.output == ""
    report = json.loads((tmp_path / "graph" / "report.json").read_text(encoding="utf-8"))
    assert report["requests"] == {}


def test_given_heads(url: str, tmp_path: Path) -> None:
    heads = tmp_path / "heads.tsv"
    heads.write_text("kind\thead\nobject\tspoon\n\n", encoding="utf-8")
    assert distill(url, tmp_path / "graph", "--head-file", str(heads), "--negatives", "0").exit_code == 0
    lines = (tmp_path / "graph" / "triples.tsv").read_text(encoding="utf-8").splitlines()
    assert lines == ["spoon\tIsA\ta thing", "spoon\tMadeOf\ta thing"]
    heads.write_text("spoon\n", encoding="utf-8")
    done = distill(url, tmp_path / "graph", "--head-file", str(heads))
    assert done.exit_code == 2
    assert "line 1" in done.stderr


def test_the_budget_holds_over_runs(url: str, tmp_path: Path) -> None:
    for _ in range(2):
        done = distill(url, tmp_path / "graph", "--max-tokens", "2500", "--quiet")
        assert done.exit_code == 0
    spent = json.loads((tmp_path / "graph" / "budget.json").read_text(encoding="utf-8"))
    assert spent["input_tokens"] + spent["output_tokens"] <= 2500
    assert "questions have no answer yet" in done.stderr
    assert "unanswered.jsonl" in done.stderr


def test_nothing_answered_is_a_failure_and_the_graph_stays(url: str, tmp_path: Path) -> None:
    distill(url, tmp_path / "graph")
    before = (tmp_path / "graph" / "triples.tsv").read_bytes()
    dead = "http://127.0.0.1:9/v1"
    done = distill(dead, tmp_path / "graph", "--retries", "0", "--quiet")
    assert done.exit_code == 1
    assert "questions for heads was answered" in done.stderr
    assert (tmp_path / "graph" / "triples.tsv").read_bytes() == before


def test_a_folder_of_others_is_refused(url: str, tmp_path: Path) -> None:
    (tmp_path / "triples.tsv").write_text("mine", encoding="utf-8")
    done = distill(url, tmp_path)
    assert done.exit_code == 2
    assert "triples.tsv" in done.stderr
    assert (tmp_path / "triples.tsv").read_text(encoding="utf-8") == "mine"


def test_no_temperature(url: str, tmp_path: Path) -> None:
    assert distill(url, tmp_path / "graph", "--temperature", "none", "--negatives", "0").exit_code == 0
    report = json.loads((tmp_path / "graph" / "report.json").read_text(encoding="utf-8"))
    assert report["settings"]["temperature"] is None


def test_a_wrong_key(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "another-secret-key")
    done = distill(url, tmp_path / "graph")
    assert done.exit_code == 1
    assert "MY_KEY" in done.stderr
    assert "another-secret-key" not in done.output + done.stderr


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--relations", "eats"), "eats"),
        (("--heads", "0"), "heads"),
        (("--kinds", ","), "--kinds"),
        (("--relations", " "), "--relations"),
        (("--temperature", "hot"), "neither a number nor none"),
        (("--max-cost", "1"), "price"),
        (("--max-cost", "1", "--input-price", "0.25"), "both prices"),
        (("--temperature", "nan"), "temperature"),
        (("--extra", "[]"), "JSON object"),
        (("--extra", "{"), "JSON"),
        (("--prompts", "nowhere.json"), "nowhere.json"),
        (("--base-url", "http://me:pw@host"), "base_url"),
    ],
)
def test_what_the_user_wrote(url: str, tmp_path: Path, more: tuple[str, ...], said: str) -> None:
    done = distill(url, tmp_path / "graph", *more)
    assert done.exit_code == 2
    assert said in done.stderr
    assert "me:pw" not in done.stderr


def test_the_filter_decides_about_the_negatives(url: str, tmp_path: Path) -> None:
    """The whole circle: verdicts teach a filter, a model writes a graph, the filter looks at its negatives."""
    true = [(f"tool {number}", "IsA", "a thing") for number in range(40)]
    false = [(f"tool {number}", "IsA", "an animal") for number in range(40)]
    for name, triples in (("true", true), ("false", false)):
        text = "".join("\t".join(one) + "\n" for one in triples)
        (tmp_path / f"{name}.tsv").write_text(text, encoding="utf-8")
    verdicts = [(*one, "1") for one in true] + [(*one, "0") for one in false]
    verdicts += [("umbrella", "IsA", "an animal", "0"), ("table", "IsA", "an animal", "1")]
    text = "".join("\t".join(one) + "\n" for one in (("head", "relation", "tail", "probability"), *verdicts))
    (tmp_path / "verdicts.tsv").write_text(text, encoding="utf-8")
    arguments = ["--true", str(tmp_path / "true.tsv"), "--false", str(tmp_path / "false.tsv"), "--encoder", "none"]
    arguments += ["--target", "0.6"]
    arguments += ["--judge", f"recorded:{tmp_path / 'verdicts.tsv'}", "--out", str(tmp_path / "filter"), "--quiet"]
    fitted = CliRunner().invoke(main, ["selfinstruct", "fit", *arguments])
    assert fitted.exit_code == 0, fitted.output
    done = distill(url, tmp_path / "graph", "--filter", str(tmp_path / "filter"))
    assert done.exit_code == 0, done.output
    rows = [
        line.split("\t") for line in (tmp_path / "graph" / "decisions.tsv").read_text(encoding="utf-8").splitlines()
    ]
    actions = {(row[0], row[1], row[2]): row[3] for row in rows[1:]}
    assert len(actions) == 2 * 2
    assert actions["umbrella", "IsA", "an animal"] == "keep"
    assert actions["table", "IsA", "an animal"] == "drop"
    kept = (tmp_path / "graph" / "kept.tsv").read_text(encoding="utf-8")
    assert kept.startswith("umbrella\tIsA\tan animal\n")
