from __future__ import annotations

import csv
import io
import json
import random
import sys
from functools import wraps
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.studies import StudyResult, StudySettings, run_study

FIXED = {"batch_size": 256, "model.embedding_dim": 8, "sampler.num_negs_per_pos": 2}
EVERYTHING = {**FIXED, "lr": 0.05, "nssa.margin": 3, "nssa.adversarial_temperature": 1}


def settings_of(**options: Any) -> StudySettings:
    given: dict[str, Any] = {"dataset": "nations", "samplers": ("basic", "kgneg-uniform"), "models": ("distmult",)}
    given |= {"losses": ("nssa",), "trials": 3, "epochs": 2, "fixed": FIXED, "device": "cpu", **options}
    return StudySettings(**given)


def plain(result: StudyResult) -> list[tuple[Any, ...]]:
    """What must not depend on when and where a trial ran."""
    return [
        (one["number"], one["state"], one["value"], one["params"], one["seed"], one["test"]) for one in result.trials
    ]


def test_run_repeat_and_resume(tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    whole = run_study(settings_of(trials=2), str(tmp_path / "a.log"), progress=False)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert whole.states() == {"complete": 2}
    assert len({trial["seed"] for trial in whole.trials}) == 2

    part = run_study(settings_of(trials=1), str(tmp_path / "b.log"), progress=False)
    assert plain(part) == plain(whole)[:1]
    more = run_study(settings_of(trials=2), str(tmp_path / "b.log"), progress=False)
    assert more.trials[:1] == part.trials, "finished trials are kept as they are"
    assert plain(more) == plain(whole)
    assert StudyResult.load(str(tmp_path / "b.log")).trials == more.trials

    other = run_study(settings_of(trials=1, seed=1), str(tmp_path / "c.log"), progress=False)
    assert plain(other) != plain(whole)[:1]


@pytest.mark.parametrize("loop", ["slcwa", "kgneg"])
def test_the_sampler_is_handed_over(loop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pykeen.sampling import BasicNegativeSampler

    from kgneg.integrations.pykeen import KgnegUniformNegativeSampler

    made: list[tuple[str, int]] = []
    for kind in (BasicNegativeSampler, KgnegUniformNegativeSampler):
        original = kind.__init__

        @wraps(original)
        def spy(self: Any, *, original: Any = original, **options: Any) -> None:
            original(self, **options)
            made.append((type(self).__name__, self.num_negs_per_pos))

        monkeypatch.setattr(kind, "__init__", spy)
    settings = settings_of(
        samplers=("kgneg-uniform",), trials=1, training_loop=loop, fixed={**FIXED, "sampler.num_negs_per_pos": 7}
    )
    result = run_study(settings, str(tmp_path / "study.log"), progress=False)
    assert result.states() == {"complete": 1}
    trained = [one for one in made if one[1] == 7]
    assert trained
    assert {name for name, _ in made} == {"KgnegUniformNegativeSampler"}


def test_samplers_make_a_difference_with_our_loop(tmp_path: Path) -> None:
    def score(name: str) -> float:
        settings = settings_of(
            samplers=(name,), trials=1, epochs=5, training_loop="kgneg",
            fixed=EVERYTHING,
        )  # fmt: skip
        value = run_study(settings, str(tmp_path / f"{name}.log"), progress=False).trials[0]["value"]
        return float(value)

    assert score("basic") != score("kgneg-uniform")


def test_a_seed_per_trial(tmp_path: Path) -> None:
    """One configuration, trained twice: the numbers differ, and are those of the seeds."""
    settings = settings_of(samplers=("kgneg-uniform",), trials=2, fixed=EVERYTHING)
    first, second = run_study(settings, str(tmp_path / "study.log"), progress=False).trials
    assert first["configuration"] == second["configuration"]
    assert first["seed"] != second["seed"]
    assert first["value"] != second["value"]
    if sys.platform == "linux":
        assert 10 < first["peak_memory_mb"] < 1e6


def test_a_look_at_the_score_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the evaluator takes random numbers."""
    from pykeen.evaluation import RankBasedEvaluator

    evaluate = RankBasedEvaluator.evaluate

    def draws(*arguments: Any, **options: Any) -> Any:
        torch.rand(3)
        numpy.random.rand(3)
        random.random()  # noqa: S311
        return evaluate(*arguments, **options)

    monkeypatch.setattr(RankBasedEvaluator, "evaluate", draws)
    found = []
    for pruner in ("median", "none"):
        settings = settings_of(
            samplers=("basic",), trials=1, epochs=3, pruner=pruner, prune_every=1, fixed=EVERYTHING
        )  # fmt: skip
        found.append(run_study(settings, str(tmp_path / f"{pruner}.log"), progress=False).trials[0])
    assert [len(trial["intermediate"]) for trial in found] == [3, 1]
    assert found[0]["value"] == found[1]["value"]


@pytest.mark.slow
def test_pruning(tmp_path: Path) -> None:
    settings = settings_of(
        samplers=("basic",), trials=5, epochs=6, startup=2, prune_every=2, search="random",
        ranges={"lr": {"type": "float", "low": 1e-6, "high": 0.1, "log": True}},
    )  # fmt: skip
    result = run_study(settings, str(tmp_path / "study.log"), progress=False)
    assert set(result.states()) == {"complete", "pruned"}
    for trial in result.trials:
        steps = [int(step) for step in trial["intermediate"]]
        assert steps == list(range(2, trial["epochs"] + 1, 2))
        assert (trial["epochs"] == 6) == (trial["state"] == "complete") or steps[-1] == 6
        assert trial["value"] == trial["intermediate"][str(steps[-1])] == trial["validation"]["mrr"]
    assert all(trial["state"] == "complete" for trial in result.trials[:2]), "the first ones are never pruned"
    # a look at the score changes nothing of the training
    settings = settings_of(
        samplers=("basic",), trials=5, epochs=6, startup=2, pruner="none", search="random", ranges=settings.ranges
    )
    unpruned = run_study(settings, str(tmp_path / "other.log"), progress=False)
    for trial in result.complete:
        assert trial["value"] == unpruned.trials[trial["number"]]["value"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 3}, "epochs: 2 before, 3 now"),
        ({"seed": 1}, "seed: 0 before, 1 now"),
        ({"samplers": ("basic",)}, "samplers"),
        ({"fixed": {**FIXED, "lr": 0.1}}, r"optimizer\.lr"),
        ({"training_loop": "kgneg"}, "training_loop"),
    ],
)
def test_other_settings_are_refused(begun: str, change: dict[str, Any], message: str) -> None:
    before = StudyResult.load(begun).to_dict()
    with pytest.raises(InvalidInputError, match=f"has other settings.*{message}.*begin a new study"):
        run_study(settings_of(trials=1, **change), begun, progress=False)
    assert StudyResult.load(begun).to_dict() == before


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("begun") / "study.log")
    run_study(settings_of(trials=1), path, progress=False)
    return path


def test_other_triples_and_versions_are_refused(begun: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInputError, match="triples"):
        run_study(settings_of(trials=1, dataset="umls"), begun, name="nations", progress=False)
    from kgneg.compare import store

    found = {**store.versions(), "torch": "1.0"}
    monkeypatch.setattr(store, "versions", lambda: found)
    with pytest.raises(InvalidInputError, match=r"version of torch: .* now.*accept other versions"):
        run_study(settings_of(trials=1), begun, progress=False)
    run_study(settings_of(trials=1), begun, progress=False, accept_versions=True)


def test_studies_of_others_are_refused(tmp_path: Path) -> None:
    import optuna

    from kgneg.studies import storage_from

    path = str(tmp_path / "study.log")
    optuna.create_study(storage=storage_from(path), study_name="nations", direction="maximize").enqueue_trial({})
    with pytest.raises(InvalidInputError, match="is not one of kgneg; give another name"):
        run_study(settings_of(), path, progress=False)
    with pytest.raises(InvalidInputError, match="there: none"):
        StudyResult.load(path)


def test_trials_that_cannot_be_trained(tmp_path: Path) -> None:
    settings = settings_of(
        samplers=("basic",), models=("complex",), epochs=3, max_failures=1, fixed={**FIXED, "lr": 1e25}
    )
    result = run_study(settings, str(tmp_path / "study.log"), progress=False)
    assert result.states()["fail"] == 2
    assert result.best is None
    assert len(result.problems) == 1
    assert "2 trials have failed, more than 1" in result.problems[0]
    assert all(trial["failure"].startswith("trial failed: ") for trial in result.trials if trial["state"] == "fail")
    written = result.write(tmp_path / "out")
    assert "best.json" not in written
    assert "there is no best configuration" in written["report.html"].read_text(encoding="utf-8")


def test_a_program_error_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any) -> None:
        raise KeyError("oops")

    path = str(tmp_path / "study.log")
    with monkeypatch.context() as patch:
        patch.setattr("kgneg.studies.worker.run_trial", broken)
        with pytest.raises(KeyError):
            run_study(settings_of(trials=1), path, progress=False)
    assert [trial["failure"] for trial in StudyResult.load(path).trials] == ["program error: KeyError: 'oops'"]
    assert run_study(settings_of(trials=1), path, progress=False).states() == {"fail": 1, "complete": 1}


@pytest.mark.slow
def test_files(tmp_path: Path) -> None:
    result = run_study(settings_of(trials=4), str(tmp_path / "study.log"), progress=False)
    written = result.write(tmp_path / "out")
    figures = {"history.png", "pareto.png", "importance.png"}
    assert set(written) == {"results.json", "trials.csv", "report.html", "best.json"} | figures
    for name in figures:
        assert written[name].read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader(io.StringIO(written["trials.csv"].read_text(encoding="utf-8"))))
    assert [float(row["value"]) for row in rows] == [trial["value"] for trial in result.trials]
    kept = json.loads(written["results.json"].read_text(encoding="utf-8"))
    assert kept["best"] == max(result.trials, key=lambda one: one["value"])["number"]
    assert isinstance(result.importance, dict)
    assert sum(result.importance.values()) == pytest.approx(1)
    page = written["report.html"].read_text(encoding="utf-8")
    assert page.count("<svg") == 3
    assert "mathdefault" not in page
    front = result.front()
    assert front[-1]["value"] == result.best["value"]  # type: ignore[index]
    for trial in result.complete:
        beaten = [one for one in result.complete if one["value"] > trial["value"] and one["seconds"] < trial["seconds"]]
        assert not (beaten and trial in front)
    first = {name: path.read_bytes() for name, path in written.items()}
    again = StudyResult.load(str(tmp_path / "study.log")).write(tmp_path / "again")
    assert {name: path.read_bytes() for name, path in again.items()} == first, "the same study gives the same files"
