from __future__ import annotations

from pathlib import Path

import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.candidates import Candidates
from kgneg.selfinstruct.causal import CausalJudge
from kgneg.selfinstruct.chat import ChatJudge
from kgneg.selfinstruct.judge_choice import make_judge
from kgneg.selfinstruct.nli import NLIJudge


def test_recorded(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.tsv"
    path.write_text("head\trelation\ttail\tprobability\tchat\na\tb\tc\t0.1\t0.9\n", encoding="utf-8")
    rows = Candidates(["a"], ["b"], ["c"])
    assert make_judge(f"recorded:{path}").judge(rows).probability.tolist() == [0.1]
    judge = make_judge(f"recorded:{path}#chat")
    assert judge.judge(rows).probability.tolist() == [0.9]
    assert judge.name == "chat"


def test_chat(tmp_path: Path) -> None:
    pytest.importorskip("openai")
    judge = make_judge("chat:tiny@http://localhost:9/v1", tokens=5, store=tmp_path / "chat")
    assert isinstance(judge, ChatJudge)
    assert judge.endpoint.model == "tiny"
    assert judge.endpoint.base_url == "http://localhost:9/v1"
    assert judge.endpoint.budget.tokens == 5


@pytest.mark.parametrize("text", ["guess:x", "nli", "nli:", "", "chat: "])
def test_unknown(text: str) -> None:
    with pytest.raises(InvalidInputError, match="is none of recorded:FILE"):
        make_judge(text)


@pytest.mark.parametrize("model", ["@cf/meta/llama-3", "claude@20240620", "a@b@c"])
def test_a_model_with_an_at(model: str) -> None:
    judge = make_judge(f"chat:{model}@http://localhost:9/v1")
    assert isinstance(judge, ChatJudge)
    assert (judge.endpoint.model, judge.endpoint.base_url) == (model, "http://localhost:9/v1")


@pytest.mark.parametrize(
    "text", ["chat:qwen3@", "chat:@cf/meta/llama-3", "chat:m@localhost:8000", "chat:m@me:secret@h"]
)
def test_no_address_is_not_that_of_openai(text: str) -> None:
    with pytest.raises(InvalidInputError, match="has no address after the last '@'") as caught:
        make_judge(text)
    assert "secret" not in str(caught.value)


def test_local_models() -> None:
    assert isinstance(make_judge("nli:tiny"), NLIJudge)
    assert isinstance(make_judge("causal:tiny"), CausalJudge)
