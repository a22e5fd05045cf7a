"""Readers of benchmarks."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.qa import BENCHMARKS, Question, QuestionSet, find_benchmarks, read_benchmark, statement

LETTERED = [{"label": "A", "text": "She slept."}, {"label": "B", "text": "She read."}]
ROWS: dict[str, dict[str, Any]] = {
    "anli": {
        "id": "n1",
        "context": "Kim came home.",
        "question": {"stem": "She knew the book.", "choices": LETTERED},
        "answerKey": "B",
    },
    "csqa": {"answerKey": "A", "id": "c", "question": {"stem": "Where is it?", "choices": LETTERED}},
    "piqa": {"goal": "To cut bread", "sol1": "take a knife", "sol2": "take a spoon", "label": 0},
    "siqa": {
        "context": "Kim fell.",
        "question": "How would Kim feel afterwards?",
        "answerA": "sad",
        "answerB": "glad",
        "answerC": "rich",
        "correct": "A",
    },
    "winogrande": {"qID": "w", "sentence": "Kim beat Lee as _ ran.", "option1": "Kim", "option2": "Lee", "answer": "1"},
}
READ = {
    "anli": Question("Kim came home. {answer} She knew the book.", ("She slept.", "She read."), 1),
    "csqa": Question("Where is it?", ("She slept.", "She read."), 0),
    "piqa": Question("To cut bread", ("take a knife", "take a spoon"), 0),
    "siqa": Question("Kim fell. As a result, Kim felt", ("sad", "glad", "rich"), 0),
    "winogrande": Question("Kim beat Lee as {answer} ran.", ("Kim", "Lee"), 0),
}


def written(folder: Path, name: str, *rows: dict[str, Any]) -> Path:
    path = folder / f"{name}.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    return path


@pytest.mark.parametrize("name", BENCHMARKS)
def test_benchmarks(name: str, tmp_path: Path) -> None:
    found = read_benchmark(name, written(tmp_path, name, ROWS[name], ROWS[name]))
    assert list(found) == [READ[name]] * 2
    assert found.ids is not None and found.ids[1] == {"piqa": "1", "siqa": "1"}.get(name, found.ids[0])


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("What will Others want to do next?", "After that, others wanted to"),
        ("Why did Kim do this?", "Before that, Kim wanted to"),
        ("What does Kim need to do before this?", "Before that, Kim needed to"),
        ("How would you describe Kim's friend?", "Kim's friend is seen as"),
        ("What will happen to the parents?", "After that, the parents"),
        ("How would the parents feel as a result?", "As a result, the parents felt"),
        ("Who is it?", "Who is it?"),
    ],
)
def test_questions_of_social_iqa(asked: str, told: str, tmp_path: Path) -> None:
    path = written(tmp_path, "siqa", ROWS["siqa"] | {"question": asked})
    assert read_benchmark("siqa", path).questions[0] == f"Kim fell. {told}"


def test_statements(tmp_path: Path) -> None:
    found = next(iter(read_benchmark("winogrande", written(tmp_path, "w", ROWS["winogrande"]))))
    assert statement(found.question, found.choices[1]) == "Kim beat Lee as Lee ran."


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("anli", {"context": None}, "line 2: got context None, expected a text"),
        ("anli", {"answerKey": "C"}, "line 2: got answerKey 'C', expected one of 'A', 'B'"),
        ("csqa", {"question": "what"}, "line 2: got no question with choices"),
        ("csqa", {"question": {"stem": "a", "choices": [{"label": "A"}]}}, "line 2: got text None"),
        ("piqa", {"label": True}, "line 2: got label True, expected one of 0, 1"),
        ("piqa", {"sol2": ""}, "line 2: got sol2 ''"),
        ("siqa", {"correct": "D"}, "line 2: got correct 'D'"),
        ("winogrande", {"sentence": "no gap"}, "line 2: got 0 gaps in 'no gap', expected one _"),
        ("winogrande", {"answer": "3"}, "line 2: got answer '3'"),
    ],
)
def test_broken_lines(name: str, change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = written(tmp_path, name, ROWS[name], ROWS[name] | change)
    with pytest.raises(InvalidInputError, match=message):
        read_benchmark(name, path)


def test_own_questions(questions: QuestionSet, tmp_path: Path) -> None:
    questions.write_jsonl(tmp_path / "q.jsonl")
    assert list(read_benchmark("questions", tmp_path / "q.jsonl")) == list(questions)


def test_folders(tmp_path: Path) -> None:
    for name in ("commonsenseqa_dev", "piqa_dev", "siqa"):
        written(tmp_path, name, ROWS["csqa"])
    (tmp_path / "anli_dev.txt").touch()
    found = find_benchmarks(tmp_path)
    assert {name: path.name for name, path in found.items()} == {
        "csqa": "commonsenseqa_dev.jsonl.gz",
        "piqa": "piqa_dev.jsonl.gz",
        "siqa": "siqa.jsonl.gz",
    }
    written(tmp_path, "csqa_test", ROWS["csqa"])
    with pytest.raises(InvalidInputError, match="has several files of csqa"):
        find_benchmarks(tmp_path)


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="there is no benchmark 'squad': take anli, csqa"):
        read_benchmark("squad", tmp_path)
    with pytest.raises(InvalidInputError, match="there is no file"):
        read_benchmark("csqa", tmp_path / "a.jsonl")
    with pytest.raises(InvalidInputError, match="is empty"):
        read_benchmark("csqa", written(tmp_path, "empty"))
    with pytest.raises(InvalidInputError, match=r"has no file of a benchmark; they are called anli\*.jsonl"):
        find_benchmarks(tmp_path)
    with pytest.raises(InvalidInputError, match="there is no folder"):
        find_benchmarks(tmp_path / "none")
