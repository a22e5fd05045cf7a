from __future__ import annotations

import numpy as np
import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.candidates import Candidates
from kgneg.selfinstruct.judge import Judgements
from kgneg.selfinstruct.recorded import RecordedJudge
from kgneg.selfinstruct.threshold import ThresholdDecider

ROWS = Candidates(["a", "b", "c", "d", "e"], ["r"] * 5, ["x"] * 5)
JUDGE = RecordedJudge(candidates=ROWS, probability=[0.1, 0.35, 0.5, 0.65, np.nan])


def test_limits_belong_to_their_actions() -> None:
    decisions = ThresholdDecider(JUDGE).decide(ROWS)
    assert decisions.action.tolist() == ["keep", "keep", "review", "drop", "review"]
    assert np.isnan(decisions.score[4])
    assert ThresholdDecider(JUDGE, no_verdict="drop").decide(ROWS).action[4] == "drop"


@pytest.mark.parametrize("choice", ["keep", "drop"])
def test_failures_are_always_reviewed(choice: str) -> None:
    class Down:
        name = "down"

        def fingerprint(self) -> str:
            return "down"

        def judge(self, candidates: Candidates) -> Judgements:
            return Judgements.of([np.nan] * 3, ["budget: spent", "contradiction", "unsure"])

    found = ThresholdDecider(Down(), no_verdict=choice).decide(ROWS[:3])
    assert found.action.tolist() == ["review", "review", choice]
    assert found.reason == ("budget: spent", "contradiction", "unsure")


def test_fingerprint_depends_on_everything() -> None:
    other = RecordedJudge(candidates=ROWS, probability=[0.2] * 5)
    deciders = [ThresholdDecider(JUDGE), ThresholdDecider(other), ThresholdDecider(JUDGE, keep=0.1)]
    deciders += [ThresholdDecider(JUDGE, drop=0.9), ThresholdDecider(JUDGE, no_verdict="keep")]
    assert len({decider.fingerprint() for decider in deciders}) == 5
    assert ThresholdDecider(JUDGE).fingerprint() == deciders[0].fingerprint()


@pytest.mark.parametrize("options", [{"keep": 0.7}, {"keep": -1.0}, {"no_verdict": "perhaps"}, {"drop": 2.0}])
def test_refusals(options: dict[str, float]) -> None:
    with pytest.raises(InvalidInputError):
        ThresholdDecider(JUDGE, **options)  # type: ignore[arg-type]
