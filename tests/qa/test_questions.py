"""Questions in columns."""

from __future__ import annotations

import dataclasses
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.qa import Question, QuestionSet

ROW = {"question": "a", "choices": ["b", "c"], "label": 1}


@pytest.fixture
def made() -> QuestionSet:
    return QuestionSet(
        ["Kim is", "Lee is"],
        [("kind", "é", "x"), ("red", "green", "blue")],
        torch.tensor([0, 2]),
        triples=torch.tensor([[0, 1, 2], [3, 0, 1]]),
        distractors=torch.tensor([[4, 5], [6, 7]]),
        fallback=torch.tensor([[False, True], [False, False]]),
        report={"questions": 2},
    )


def test_rows(made: QuestionSet) -> None:
    assert len(made) == 2 and list(made)[1] == Question("Lee is", ("red", "green", "blue"), 2)
    assert made.sizes.tolist() == [3, 3] and "2 questions" in repr(made)
    one = made.select(torch.tensor([1]))
    assert list(one.rows()) == [
        {
            "id": "0", "question": "Lee is", "choices": ["red", "green", "blue"], "label": 2, "triple": [3, 0, 1],
            "distractors": [6, 7], "fallback": [False, False],
        }
    ]  # fmt: skip


def test_files(made: QuestionSet, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "q.jsonl"
    made.write_jsonl(path)
    again = QuestionSet.read_jsonl(path)
    assert list(again.rows()) == list(made.rows())
    assert list(path.parent.iterdir()) == [path]
    packed = tmp_path / "q.jsonl.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert list(QuestionSet.read_jsonl(packed)) == list(made)
    path.write_text(json.dumps(ROW) + "\n", encoding="utf-8")
    plain = QuestionSet.read_jsonl(path)
    assert plain.triples is None and list(plain) == [Question("a", ("b", "c"), 1)]


def test_dataset(made: QuestionSet) -> None:
    pytest.importorskip("datasets")
    found = made.to_dataset()
    assert found.num_rows == 2 and found[0]["choices"] == ["kind", "é", "x"] and found[1]["fallback"] == [False, False]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"choices": [("a", "b")]}, "there are 2 questions, but 1 choices"),
        ({"labels": torch.tensor([0.0, 1.0])}, r"labels must be int64 of shape \(2,\)"),
        ({"labels": torch.tensor([0, 3])}, "question 1 has the label 3 of 3 choices"),
        ({"labels": torch.tensor([-1, 0])}, "question 0 has the label -1"),
        ({"choices": [("a", "b"), ("c",)], "labels": torch.tensor([0, 0])}, "question 1 has 1 choices"),
        ({"triples": torch.zeros(1, 3)}, "but 1 triples"),
    ],
)
def test_columns_must_fit(change: dict[str, Any], message: str, made: QuestionSet) -> None:
    with pytest.raises(InvalidInputError, match=message):
        dataclasses.replace(made, **change)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": " "}, "line 2: got question ' ', expected a text"),
        ({"choices": "b"}, "line 2: got choices 'b', expected a list of texts"),
        ({"choices": ["b"]}, "line 2: got 1 choices, expected two or more"),
        ({"label": 2}, "line 2: got the label 2, expected the place of a choice, 0 to 1"),
        ({"label": True}, "line 2: got the label True"),
        ({"triple": ["a"]}, r"line 2: got triple \['a'\], expected a list of numbers"),
        ({"triple": [1]}, r"line 2: got triple \[1\], expected a list of numbers, as many"),
    ],
)
def test_broken_lines(row: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    good = ROW | {"triple": [0, 0, 1]}
    path.write_text("\n".join(map(json.dumps, [good, good | row])), encoding="utf-8")
    with pytest.raises(InvalidInputError, match=message):
        QuestionSet.read_jsonl(path)
    path.write_text("", encoding="utf-8")
    with pytest.raises(InvalidInputError, match="is empty"):
        QuestionSet.read_jsonl(path)
