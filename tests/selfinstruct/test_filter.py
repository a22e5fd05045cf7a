from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.candidates import Candidates
from kgneg.selfinstruct.chat_endpoint import EndpointError
from kgneg.selfinstruct.filter import SelfInstructFilter
from kgneg.selfinstruct.fusion import JudgeFusion
from kgneg.selfinstruct.judge import Judgements
from kgneg.selfinstruct.recorded import RecordedJudge
from kgneg.selfinstruct.rules import RuleJudge

SEEDS, REST = slice(0, 700), slice(700, None)


class Contradictory:
    """Says nothing but that it contradicts itself, on every second row."""

    name = "odd"

    def fingerprint(self) -> str:
        return "odd"

    def judge(self, candidates: Candidates) -> Judgements:
        odd = np.array([sum(map(ord, key)) % 2 for key in candidates.keys()], dtype=bool)  # noqa: SIM118
        return Judgements.of(np.where(odd, np.nan, 0.5), ["contradiction" if one else "" for one in odd])


class Failing:
    """Could not be asked."""

    name = "failing"

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def fingerprint(self) -> str:
        return "failing"

    def judge(self, candidates: Candidates) -> Judgements:
        return Judgements.of(np.full(len(candidates), np.nan), [self.reason] * len(candidates))


class Told:
    """Says what the tail ends with."""

    name = "told"

    def fingerprint(self) -> str:
        return "told"

    def judge(self, candidates: Candidates) -> Judgements:
        return Judgements.of([float(tail.split()[1]) for tail in candidates.tails])


def told(low: float, high: float, *, true: int = 200, false: int = 400) -> tuple[Candidates, Candidates]:
    """True and false triples whose tails say how likely they are."""
    sizes = {"true": (true, high), "false": (false, low)}
    made = [
        Candidates([f"{name} {row}" for row in range(size)], ["r"] * size, [f"t{row} {value}" for row in range(size)])
        for name, (size, value) in sizes.items()
    ]
    return made[0], made[1]


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
    assert fitted.report["learned_from"] + fitted.report["held_out"] == 700
    assert 335 <= fitted.report["held_out"] <= 350
    assert truth[found.action == "keep"].mean() <= 0.15
    assert truth[found.action == "drop"].mean() > 0.5
    assert (found.action == "keep").mean() > 0.3
    assert found.score.mean() == pytest.approx(truth.mean(), abs=0.06)
    for action, reason in zip(found.action, found.reason, strict=True):
        assert reason == {"keep": "unlikely", "drop": "likely true", "review": "undecided"}[action]


def test_rows_do_not_depend_on_others(world: Any, fitted: SelfInstructFilter) -> None:
    whole, part = (fitted.decide(world.candidates[700 : 700 + rows]) for rows in (300, 3))
    np.testing.assert_array_equal(whole.action[:3], part.action)
    np.testing.assert_array_equal(whole.score[:3], part.score)
    every = world.candidates[700:]
    for size in (1, 7, 64):
        found = [fitted.decide(every[begin : begin + size]).score for begin in range(0, 300, size)]
        np.testing.assert_array_equal(np.concatenate(found)[:300], whole.score)
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
    made.judges, made.rules = world.judges, (Contradictory(),)
    ruled = fit(world, rules=[Contradictory()]).decide(world.candidates[REST])
    silent = np.array([reason == "odd: contradiction" for reason in ruled.reason])
    np.testing.assert_array_equal(silent, odd)
    assert (ruled.action[silent] == "review").all()


@pytest.mark.parametrize("reason", ["endpoint: status 500", "budget: spent", "malformed: cut off", "gave up after 9"])
def test_where_asking_failed_is_reviewed(world: Any, reason: str) -> None:
    made = fit(world)
    made.judges = (world.judges[0], Failing(reason))
    rows = world.candidates[REST]
    found = made.decide(rows)
    assert set(found.action) == {"review"}
    assert set(found.reason) == {f"failing: {reason}"}
    made.rules = (RecordedJudge(candidates=rows[:9], probability=[1.0] * 9, name="known"),)
    assert made.decide(rows).counts() == {"keep": 0, "drop": 9, "review": len(rows) - 9}
    made.judges, made.rules = world.judges, (Failing(reason),)
    assert set(made.decide(rows).reason) == {f"failing: {reason}"}


def test_failures_at_the_fit_are_not_promised_to_be_kept(world: Any) -> None:
    made = fit(world, judges=[world.judges[0], Failing("budget: spent")])
    assert made.certificate is not None and not made.certificate.reachable
    assert made.report["not_answered"] == made.report["checked"]
    assert made.report["verdicts"] == {"strict": made.report["learned_from"], "failing": 0}


def test_a_fit_without_any_answer_is_an_error(world: Any, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(EndpointError, match=r"asking failed for all of .* because of failing: endpoint: down"):
        fit(world, judges=[Failing("endpoint: down")])
    fit(world, judges=[world.judges[0], Failing("unsure")])
    assert "the judge failing has a verdict on none of" in caplog.text


def test_a_sample_of_the_candidates_needs_few_heads() -> None:
    true, false = (
        Candidates([f"h{row % 12}" for row in range(len(part))], part.relations, part.tails) for part in told(0.1, 0.9)
    )
    by_head, by_row = (
        SelfInstructFilter(judges=[Told()], target=0.9, sample=sample).fit(true, false)
        for sample in ("heads", "triples")
    )
    assert by_head.certificate is not None and by_row.certificate is not None
    assert not by_head.certificate.reachable
    assert "worth at most" in by_head.certificate.statement()
    assert by_row.certificate.reachable
    assert by_row.certificate.rows == by_row.certificate.worth
    assert by_row.report["held_out"] == 300


def test_nothing_is_kept_in_a_gap_or_from_drop_on() -> None:
    made = SelfInstructFilter(judges=[Told()], target=0.9).fit(*told(0.03, 0.97))
    assert made.certificate is not None and made.certificate.reachable
    rows = Candidates(["a"] * 5, ["r"] * 5, ["x 0.03", "x 0.2", "x 0.4", "x 0.6", "x 0.97"])
    found = made.decide(rows)
    assert found.action.tolist() == ["keep", "review", "review", "drop", "drop"]
    assert made.certificate.threshold == found.score[0]
    lenient = SelfInstructFilter(judges=[Told()], target=0.5).fit(*told(0.03, 0.97, true=40))
    found = lenient.decide(rows)
    assert not ((found.action == "keep") & (found.score >= 0.5)).any()
    assert found.action[-1] == "drop"


def test_known_triples_are_dropped_whatever_the_threshold() -> None:
    rule = RuleJudge(known=[("x", "r", "y")], certainty=0.6)
    made = SelfInstructFilter(judges=[Told()], target=0.9, drop=0.9, rules=[rule]).fit(*told(0.03, 0.97))
    for threshold in (1.0, -np.inf):
        assert made.certificate is not None
        made.certificate = replace(made.certificate, threshold=threshold)
        found = made.decide(Candidates(["x"], ["r"], ["y"]))
        assert (found.action.tolist(), found.reason) == (["drop"], ("rule",))


def test_rows_of_rules_do_not_count_for_the_promise(world: Any) -> None:
    seeds = world.seeds(SEEDS)
    plain = fit(world)
    made = fit(world, rules=[RecordedJudge(candidates=seeds[0], probability=[1.0] * len(seeds[0]), name="known")])
    assert made.report["held_out_ruled"] > 50
    assert made.report["held_out"] + made.report["held_out_ruled"] == plain.report["held_out"]
    assert made.certificate is not None
    assert made.certificate.rows <= made.report["held_out"]
    every = world.candidates[SEEDS]
    none = fit(world, rules=[RecordedJudge(candidates=every, probability=[0.0] * len(every), name="known")])
    assert none.report["held_out"] == 0
    assert "not reachable with 0 checked rows" in none.report["promise"]


def test_checked_triples_of_the_pool_do_not_teach(world: Any) -> None:
    made = SelfInstructFilter(judges=world.judges, critic=world.critic(), ask=False, judged=1200)
    made.fit(*world.seeds(SEEDS), world.candidates)
    assert (made.report["pool"], made.report["pool_checked"], made.report["judged"]) == (1200, 700, 500)
    made.fit(*world.seeds(SEEDS), world.candidates[SEEDS])
    assert made.report["judged"] == 0
    assert made.report["pool_not_asked"] == "0: all of them are checked triples"


def test_repeated_checked_triples_count_once(world: Any) -> None:
    true, false = world.seeds(SEEDS)
    rows = np.tile(np.arange(len(true)), 3)
    made = SelfInstructFilter(judges=world.judges, critic=world.critic(), target=0.85, judged=100)
    made.fit(true[rows], false)
    assert made.report["checked"] == 700
    assert made.fingerprint() == fit(world).fingerprint()
    with pytest.raises(InvalidInputError, match="are both true and false"):
        made.fit(true, true[:1])


def test_recall_out_of_reach_is_said(world: Any) -> None:
    made = fit(world, judges=[*world.judges, Contradictory()], goal="recall", target=0.8)
    assert "not reachable" in made.report["promise"]
    json.dumps(made.state(), allow_nan=False)
    assert made.decide(world.candidates[REST]).counts()["keep"] == 0


def test_something_must_be_left_to_learn_from(world: Any) -> None:
    for critic, judges in ((world.critic(), ()), (None, world.judges)):
        with pytest.raises(InvalidInputError, match="held_out=1 leaves none of 700 checked triples"):
            fit(world, held_out=1.0, critic=critic, judges=judges)
    made = fit(world, held_out=1.0, critic=None, judges=world.judges[:1])
    assert (made.report["learned_from"], made.report["held_out"]) == (0, 700)


def test_a_pool_that_is_not_asked_about_is_reported(world: Any) -> None:
    found = fit(world, pool=True).report
    assert (found["judged"], found["pool"]) == (0, 300)
    assert found["pool_not_asked"].startswith("300: judges are asked about every candidate anyway")
    assert fit(world, pool=True, judges=()).report["pool_not_asked"] == "300: there are no judges"
    asked = fit(world, pool=True, ask=False).report
    assert "pool_not_asked" not in asked
    assert asked["judged"] == 100


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


def test_a_second_fit_is_like_a_first(world: Any) -> None:
    parts: dict[str, Any] = {"judges": world.judges, "critic": world.critic(), "judged": 200, "ask": False}
    none, pool = world.candidates[:0], world.candidates[:700]
    made = SelfInstructFilter(**parts).fit(none, none, pool)
    first, rest = made.fingerprint(), world.candidates[REST]
    score = made.decide(rest).score
    made.fit(none, none, pool)
    assert made.fingerprint() == first
    np.testing.assert_array_equal(made.decide(rest).score, score)
    alone = SelfInstructFilter(critic=world.critic(), target=None).fit(*world.seeds(SEEDS))
    with pytest.raises(InvalidInputError, match="the critic has no examples of both kinds"):
        alone.fit(none, pool)
    assert (alone.fitted, alone.certificate) == (False, None)


def test_one_head_promises_nothing(caplog: pytest.LogCaptureFixture) -> None:
    true, false = (Candidates(["one"] * len(part), part.relations, part.tails) for part in told(0.1, 0.9))
    made = SelfInstructFilter(judges=[Told()], target=0.9).fit(true, false)
    assert made.certificate is not None
    assert not made.certificate.reachable
    assert "all 600 checked triples share a head" in caplog.text


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
        ({"goal": "recall", "batch": 9}, "batch=9 is for goal='precision'"),
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
