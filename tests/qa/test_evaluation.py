"""Zero-shot evaluation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from scipy.stats import binomtest

from kgneg.core.errors import InvalidInputError
from kgneg.qa import BiEncoderScorer, QuestionSet, evaluate_zero_shot, judge_choices
from kgneg.qa.evaluation import wilson_interval
from kgneg.qa.page import build_page
from kgneg.report import render_html


class Given:
    """A scorer that says what it is told."""

    def __init__(self, *scores: Sequence[float]) -> None:
        self.given = [torch.tensor(one) for one in scores]

    def scores(self, questions: Sequence[str], choices: Sequence[Sequence[str]]) -> list[torch.Tensor]:
        return self.given


def test_figures(questions: QuestionSet) -> None:
    found = judge_choices(Given([1.0, 0.0], [0.0, 2.0, 3.0], [0.0, 1.0], [0.0, 0.0]), questions)
    assert found.accuracy == pytest.approx((1 + 0 + 1 + 0.5) / 4) and found.size == 4
    assert found.chance == pytest.approx((3 / 2 + 1 / 3) / 4)
    low = judge_choices(Given([-5.0, -6.0], [-9.0, -2.0, -3.0], [-1.0, -0.5], [-2.0, -3.0]), questions)
    assert low.accuracy == 1.0


@pytest.mark.parametrize(("right", "size"), [(0, 5), (5, 5), (612, 1221), (1, 3)])
def test_interval_is_that_of_scipy(right: int, size: int) -> None:
    expected = binomtest(right, size).proportion_ci(method="wilson")
    assert wilson_interval(right, size) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_sets(questions: QuestionSet, tmp_path: Path) -> None:
    rows = [
        {"id": "a", "answerKey": "A", "question": {"stem": "bake bread", "choices": [
            {"label": "A", "text": "bread baker"}, {"label": "B", "text": "zoo"}]}},
        {"id": "b", "answerKey": "A", "question": {"stem": "metal", "choices": [
            {"label": "A", "text": "zoo"}, {"label": "B", "text": "metals"}]}},
    ]  # fmt: skip
    path = tmp_path / "csqa.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    scorer = BiEncoderScorer("lexical", progress=False)
    result = evaluate_zero_shot(scorer, {"csqa": path, "own": questions})
    assert list(result.sets) == ["csqa", "own"] and result.sets["csqa"].accuracy == 0.5
    assert result.mean == pytest.approx((0.5 + result.sets["own"].accuracy) / 2)
    assert evaluate_zero_shot(scorer, tmp_path).sets == {"csqa": result.sets["csqa"]}
    table = result.table()
    assert table.rows[0] == ("csqa", "2", "50.0", "9.5 to 90.5", "50.0") and table.rows[-1][:2] == ("mean", "6")
    lines = result.markdown().splitlines()
    assert lines[0] == "| set | questions | accuracy | interval | chance |" and lines[1].startswith("| --- | --: |")
    assert json.loads(json.dumps(result.as_dict()))["sets"]["csqa"]["accuracy"] == 0.5
    page = render_html(build_page(result, "lexical", {"recipe": {"steps": 3}, "questions": 1234}))
    assert "of 2 sets right" in page and "1,234" in page and "How it was trained" in page
    assert "How it was trained" not in render_html(build_page(result, "lexical"))


def test_refusals(questions: QuestionSet, tmp_path: Path) -> None:
    good = [[1.0, 0.0], [0.0, 2.0, 3.0], [0.0, 1.0]]
    with pytest.raises(InvalidInputError, match="there is no set of questions"):
        evaluate_zero_shot(Given(), {})
    with pytest.raises(InvalidInputError, match="Given does not give one score per choice"):
        judge_choices(Given(*good), questions)
    with pytest.raises(InvalidInputError, match="does not give one score per choice"):
        judge_choices(Given(*good, [0.0]), questions)
    with pytest.raises(InvalidInputError, match="the scores of question 3 hold NaN"):
        judge_choices(Given(*good, [0.0, float("nan")]), questions)
    with pytest.raises(InvalidInputError, match="there are no questions to answer"):
        judge_choices(Given(), questions.select(torch.tensor([], dtype=torch.long)))
    with pytest.raises(InvalidInputError, match="there is no benchmark 'x'"):
        evaluate_zero_shot(Given(), {"x": tmp_path / "a"})
