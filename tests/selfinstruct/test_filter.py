from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.candidates import Candidates
from kgneg.selfinstruct.filter import SelfInstructFilter
from kgneg.selfinstruct.fusion import JudgeFusion
from kgneg.selfinstruct.judge import Judgements
from kgneg.selfinstruct.recorded import RecordedJudge

SEEDS, REST = slice(0, 700), slice(700, None)


class Contradictory:
    """Says nothing but that it contradicts itself, on every second row."""

    name = "odd"

    def fingerprint(self) -> str:
        return "odd"

    def judge(self, candidates: Candidates) -> Judgements:
        odd = np.array([sum(map(ord, key)) % 2 for key in candidates.keys()], dtype=bool)  # noqa: SIM118
        return Judgements.of(np.where(odd, np.nan, 0.5), ["contradiction" if one else "" for one in odd])


def fit(world: Any, *, pool: bool = False, **settings: Any) -> SelfInstructFilter:
    parts = {"judges": world.judges, "critic": world.critic(), "target": 0.85, "judged": 100} | settings
    made = SelfInstructFilter(**parts)
    return made.fit(*world.seeds(SEEDS), world.candidates[700:1000] if pool else None)


@pytest.fixture(scope="module")
def fitted(world: Any) -> SelfInstructFilter:
    return fit(world)


def test_keeps_false_ones_and_drops_true_ones(world: Any, fitted: SelfInstructFilter) -> None:
    found, truth = fitted.decide(world.candidates[REST]), world.truth[REST]
    assert fitted.certificate is not None
    assert fitted.certificate.reachable
    assert fitted.report["fusion"] == "calibrated"
    assert (fitted.report["learned_from"], fitted.report["held_out"]) == (350, 350)
    assert truth[found.action == "keep"].mean() <= 0.15
    assert truth[found.action == "drop"].mean() > 0.5
    assert (found.action == "keep").mean() > 0.3
    assert found.score.mean() == pytest.approx(truth.mean(), abs=0.06)
    for action, reason in zip(found.action, found.reason, strict=True):
        assert reason == {"keep": "unlikely", "drop": "likely true", "review": "undecided"}[action]


def test_rows_do_not_depend_on_others(world: Any, fitted: SelfInstructFilter) -> None:
    whole, part = (fitted.decide(world.candidates[700 : 700 + rows]) for rows in (300, 3))
    np.testing.assert_array_equal(whole.action[:3], part.action)
    np.testing.assert_allclose(whole.score[:3], part.score, atol=2e-6)
    assert len(fitted.decide(world.candidates[:0])) == 0


def test_same_seed_same_filter(world: Any, fitted: SelfInstructFilter) -> None:
    assert fit(world).fingerprint() == fitted.fingerprint()
    assert fit(world, seed=1).fingerprint() != fitted.fingerprint()


def test_out_of_reach_keeps_nothing_and_says_so(world: Any) -> None:
    made = fit(world, target=0.999)
    found = made.decide(world.candidates[REST])
    assert found.counts()["keep"] == 0
    assert "not reachable" in made.report["promise"]
    assert set(found.reason) <= {"precision >= 0.999 not reachable", "likely true"}


def test_without_target_everything_teaches(world: Any) -> None:
    made = fit(world, target=None)
    assert (made.report["learned_from"], made.certificate) == (700, None)
    assert made.decide(world.candidates[REST]).counts()["review"] == 0


def test_recall(world: Any) -> None:
    made = fit(world, goal="recall", target=0.8)
    found, truth = made.decide(world.candidates[REST]), world.truth[REST]
    assert (found.action == "keep")[~truth].mean() > 0.75
    assert (found.action == "keep")[truth].mean() < 0.6


def test_rules_come_first(world: Any) -> None:
    known = world.candidates[1150:1160]
    rule = RecordedJudge(candidates=known, probability=[1.0] * 5 + [0.0] * 5, name="known")
    found = fit(world, rules=[rule]).decide(world.candidates[1140:1165])
    assert found.action[10:20].tolist() == ["drop"] * 5 + ["keep"] * 5
    assert found.score[10:20].tolist() == [1.0] * 5 + [0.0] * 5
    assert set(found.reason[10:20]) == {"rule"}


def test_contradictions_are_reviewed(world: Any) -> None:
    made = fit(world, judges=[*world.judges, Contradictory()])
    found = made.decide(world.candidates[REST])
    odd = np.array([reason == "odd: contradiction" for reason in found.reason])
    assert 0.3 < odd.mean() < 0.7
    assert (found.action[odd] == "review").all()
    assert (found.action[~odd] != "review").any()


def test_silence_is_reviewed_without_a_critic(world: Any) -> None:
    judge = RecordedJudge(candidates=world.candidates[:900], probability=world.said[:900, 1], name="short")
    found = fit(world, judges=[judge], critic=None).decide(world.candidates[REST])
    assert (found.action[200:] == "review").all()
    assert np.isnan(found.score[200:]).all()
    assert set(found.reason[200:]) == {"short: not recorded"}


def test_critic_alone_needs_no_judge(world: Any) -> None:
    for settings in ({"judges": ()}, {"ask": False, "pool": True}):
        made = fit(world, target=None, **settings)
        found, truth = made.decide(world.candidates[1000:]), world.truth[1000:]
        assert found.score[truth].mean() > found.score[~truth].mean() + 0.1


def test_no_checked_triples(world: Any) -> None:
    made = SelfInstructFilter(judges=world.judges, critic=world.critic(), judged=300)
    made.fit(world.candidates[:0], world.candidates[:0], world.candidates[:700])
    assert made.report["fusion"] == "dawid-skene"
    found, truth = made.decide(world.candidates[REST]), world.truth[REST]
    assert found.counts()["keep"] == 0  # nothing can be promised
    assert found.score[truth].mean() > found.score[~truth].mean() + 0.2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "judges that are asked, a critic, or both"),
        ({"goal": "f1"}, "goal must be one of"),
        ({"target": 1.5}, "target must be between 0 and 1"),
        ({"judged": -1}, "judged must be at least 0"),
        ({"ask": 1}, "ask must be true or false"),
    ],
)
def test_refusals(world: Any, settings: Any, message: str) -> None:
    parts = {"critic": world.critic()} if settings else {}
    with pytest.raises(InvalidInputError, match=message):
        SelfInstructFilter(**parts, **settings)


def test_nothing_to_learn_from(world: Any) -> None:
    made = SelfInstructFilter(critic=world.critic())
    with pytest.raises(InvalidInputError, match="nothing to learn from"):
        made.fit(world.candidates[:0], world.candidates[:0])
    with pytest.raises(InvalidInputError, match="call fit first"):
        made.decide(world.candidates)


def test_few_labels_take_the_plain_sum(world: Any) -> None:
    made = SelfInstructFilter(judges=world.judges, critic=world.critic(), target=None, fusion=JudgeFusion())
    assert made.fit(*world.seeds(slice(0, 150))).report["fusion"] == "sum"


def test_run(world: Any, fitted: SelfInstructFilter, tmp_path: Any) -> None:
    from pyarrow import parquet

    source = tmp_path / "candidates.tsv"
    rows = ["head\trelation\ttail", *("\t".join(one) for one in world.candidates[REST].triples())]
    source.write_text("\n".join(rows) + "\n")
    fitted.run(source, tmp_path / "out", shard_rows=200, backend="sequential", progress=False)
    actions = [
        a
        for path in sorted((tmp_path / "out").glob("part-*.parquet"))
        for a in parquet.read_table(path)["action"].to_pylist()
    ]
    assert actions == fitted.decide(world.candidates[REST]).action.tolist()
