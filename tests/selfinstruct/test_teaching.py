from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct import teaching
from kgneg.selfinstruct.candidates import Candidates
from kgneg.selfinstruct.chat_endpoint import EndpointError
from kgneg.selfinstruct.fusion import JudgeFusion
from kgneg.selfinstruct.judge import Judgements
from kgneg.selfinstruct.recorded import RecordedJudge
from kgneg.selfinstruct.teaching import Lesson, why_silent


def lesson(world: Any, checked: int, judges: Any = None, **parts: Any) -> Lesson:
    settings = {"critic": world.critic(), "judges": tuple(world.judges if judges is None else judges)} | parts
    return Lesson(
        teacher=JudgeFusion(),
        checked=world.candidates[:checked],
        truth=world.truth[:checked],
        weight=0.3,
        **settings,
    )


def auc(score: np.ndarray, truth: np.ndarray) -> float:
    above = score[truth][:, None] - score[~truth]
    return float((above > 0).mean() + (above == 0).mean() / 2)


def test_rare_relations_of_a_large_pool_are_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teaching, "_AT_ONCE", 200)
    names = ["common"] * 3000 + [f"rare {row // 2}" for row in range(20)]
    pool = Candidates([f"h{row}" for row in range(3020)], names, ["t"] * 3020)
    judge = RecordedJudge(candidates=pool, probability=[0.5] * 3020)
    made = Lesson(None, (judge,), JudgeFusion(), pool[:0], np.empty(0, dtype=bool), 1.0)
    made.hold(pool, 60, 3, torch.Generator().manual_seed(0))
    assert len(set(made.asked.relations)) == 11


@pytest.mark.parametrize("checked", [0, 60, 300])
def test_judges_teach_the_critic(world: Any, checked: int) -> None:
    made = lesson(world, checked)
    made.hold(world.candidates[300:900], 400, 3, torch.Generator().manual_seed(0))
    assert len(made.asked) == len(made.told.reasons) == 400
    assert len(set(made.asked.keys())) == 400
    assert made.critic is not None
    assert len(made.critic.held_out) == checked + 400
    assert auc(made.critic.log_odds(world.candidates[900:]), world.truth[900:]) > 0.7


def test_same_generator_same_rows(world: Any) -> None:
    asked = []
    for _ in range(2):
        made = lesson(world, 60)
        made.hold(world.candidates[300:], 30, 2, torch.Generator().manual_seed(3))
        asked.append(made.asked.keys())
    assert asked[0] == asked[1]


def test_rows_without_verdict_are_left_out(world: Any) -> None:
    judge = RecordedJudge(candidates=world.candidates[:400], probability=world.said[:400, 0])
    made = lesson(world, 60, [judge])
    made.hold(world.candidates[300:500], 200, 1, torch.Generator().manual_seed(0))
    assert len(made.asked) == 100


def test_without_critic_or_pool(world: Any) -> None:
    made = lesson(world, 60, critic=None)
    made.hold(world.candidates[300:], 30, 2, torch.Generator())
    assert len(made.asked) == 30
    made = lesson(world, 60)
    made.hold(None, 100, 2, torch.Generator())
    assert made.critic is not None and made.critic.fitted


def test_failures_are_counted(world: Any) -> None:
    class Down:
        name = "down"

        def fingerprint(self) -> str:
            return "down"

        def judge(self, candidates: Candidates) -> Judgements:
            return Judgements.of(np.full(len(candidates), np.nan), ["budget: spent"] * len(candidates))

    made = lesson(world, 60, [Down()])
    with pytest.raises(EndpointError, match=r"asking failed for all of 90 triples.*down: budget: spent"):
        made.hold(world.candidates[300:], 30, 2, torch.Generator().manual_seed(0))
    assert (made.failed, len(made.asked)) == (90, 0)
    made = lesson(world, 60, [Down(), *world.judges])
    made.hold(world.candidates[300:], 30, 2, torch.Generator().manual_seed(0))
    assert made.report() == {
        "learned_from": 60,
        "judged": 30,
        "not_answered": 90,
        "verdicts": {"down": 0, "strict": 60, "mild": 60},
    }


def test_why_a_pool_is_not_asked_about(world: Any) -> None:
    pool, judges = world.candidates[:3], world.judges
    assert why_silent(pool, judges, 5, taught=False) == ""
    found = [
        why_silent(None, judges, 5, taught=False),
        why_silent(pool, [], 5, taught=False),
        why_silent(pool, judges, 0, taught=False),
        why_silent(pool, judges, 5, taught=True),
        why_silent(pool[:0], judges, 5, taught=False),
    ]
    assert all(found) and len(set(found)) == 5


def test_one_kind_only(world: Any) -> None:
    made = lesson(world, 0, judges=())
    with pytest.raises(InvalidInputError, match="no examples of both kinds"):
        made.hold(world.candidates, 10, 1, torch.Generator())
