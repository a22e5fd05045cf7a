"""The benchmark of the concept constraint: what it counts, and its tables."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import car
import car_audit
import car_falsehood
import car_qa
import numpy as np
import pytest
import torch
from car_ckbp import Judged, plain
from car_data import Atomic, MissingDataError, atomic_files
from car_falsehood import HEADS, OURS, RULE, criterion, popularity, shares_any
from car_qa import KINDS, distractor_rates
from car_speed import Loop, memory
from car_stats import Bootstrap, auc, differences, flagged, recalls
from sklearn.metrics import roc_auc_score

from kgneg.core.candidates import CandidateIndex
from kgneg.datasets import KnowledgeGraph
from kgneg.qa import QuestionSet

DATA = Path(os.environ.get("KGNEG_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
#: who owns what: (head, tail), one relation
OWNED = torch.tensor([[0, 0, 4], [1, 0, 4], [1, 0, 5], [2, 0, 6], [3, 0, 6], [3, 0, 7]])
FEATURES = CandidateIndex.from_lists([[0], [0, 1], [1], [2], [], [], [], []], num_columns=3)
SIZES = {"num_entities": 8, "num_relations": 1}


# Figures


def test_area_and_shares() -> None:
    rng = np.random.default_rng(0)
    true, scores = rng.random(500) < 0.3, rng.integers(0, 20, 500).astype(float)
    assert auc(scores, true) == pytest.approx(roc_auc_score(true, scores))
    others, found = np.arange(100.0), np.array([200.0, 99.5, 50.0, 0.0])
    assert flagged(others, found, 0.05) == pytest.approx(0.5)
    # a rule that flags 20 % of the others and 60 % of the rest: at 5 % a quarter of that, at 60 % half of what is left
    others, found = np.repeat([1.0, 0.0], [20, 80]), np.repeat([1.0, 0.0], [6, 4])
    assert flagged(others, found, 0.05) == pytest.approx(0.6 / 4)
    assert flagged(others, found, 0.6) == pytest.approx(0.6 + 0.4 / 2)
    labels = np.repeat([False, True], [100, 10])
    shares = recalls(np.concatenate([others, found]), labels, (0.05, 0.2))
    assert shares == {"0.05": pytest.approx(0.15), "0.2": pytest.approx(0.6)}


def test_resamples_are_paired() -> None:
    rng = np.random.default_rng(1)
    true = rng.random(2_000) < 0.4
    good, bad = true + rng.normal(size=2_000), rng.normal(size=2_000)
    areas = Bootstrap(true, resamples=200).areas(good)
    assert areas.mean() == pytest.approx(auc(good, true), abs=0.003)
    assert 0.005 < areas.std() < 0.02
    found = differences({"good": good, "same": 2 * good, "bad": bad}, true, "good", resamples=200)
    assert found["same"] == {"above": pytest.approx(0), "interval": pytest.approx([0, 0])}
    low, high = found["bad"]["interval"]
    assert low < found["bad"]["above"] < high
    assert low > 0.15


def test_criterion() -> None:
    """The rule flags 20 % of random candidates and 60 % of hidden ones; ours half of those at 5 %."""
    true = np.repeat([False, True], [100, 10])
    rule = np.repeat([1.0, 0.0, 1.0, 0.0], [20, 80, 6, 4])
    score = np.concatenate([np.linspace(0, 1, 100), np.repeat([2.0, 0.9, 0.0], [5, 2, 3])])
    drawn = np.arange(100) >= 98  # two random candidates are hidden triples, of high scores that the rule does not see
    found = criterion({RULE: rule, OURS: score}, true, drawn)
    assert found[RULE] == pytest.approx({"share": 0.2, "left": 0.4 / 0.8, "drawn": 1 / 0.8, "times": 1})
    assert found[OURS]["left"] == pytest.approx(0.3 / 0.8)
    assert found[OURS]["times"] == pytest.approx(0.5 / 0.15)
    assert found[OURS]["drawn"] == 0


# Rules


def test_rules_on_known_triples() -> None:
    asked = torch.tensor([[0, 0, 5], [0, 0, 6], [2, 0, 4], [3, 0, 4], [0, 0, 3]])
    assert shares_any(OWNED, FEATURES, asked, SIZES).tolist() == [1, 0, 1, 0, 0]
    assert popularity(OWNED, asked, SIZES).tolist() == [1, 2, 2, 2, 0]


def test_loop_obeys_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("car_speed.TRIES", 200)
    loop = Loop(OWNED, FEATURES, seed=0)
    assert sorted(loop(0, 0)) == [6, 7]  # 5 is owned by 1, which shares a feature
    assert sorted(loop(3, 0)) == [4, 5]
    assert loop(1, 0) == [7]  # a single one is left


def test_memory_counts_each_tensor_once() -> None:
    whole = torch.zeros(100)
    module = torch.nn.Module()
    module.register_buffer("whole", whole)
    module.parts = [whole[:10], {"array": np.zeros(3)}]  # type: ignore[assignment]
    module.again = module  # type: ignore[assignment]
    assert memory(module) == 400 + 24


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("PersonX wants to feel happier", "want happier"),
        ("to be happy", "happy"),
        ("John's babies", "john' bab"),
        ("To Want", "to want"),
        ("Tom", "persony"),
    ],
)
def test_plain_form(text: str, form: str) -> None:
    assert plain(text).replace("want happier", "want happier") == form


# Questions


def test_distractor_rates() -> None:
    graph = KnowledgeGraph.from_labelled("g", [("a", "r", "x"), ("b", "r", "y"), ("c", "r", "z")])
    number = {name: place for place, name in enumerate(graph.entities)}
    asked = QuestionSet(
        ["a", "b"],
        [("x", "y", "z"), ("y", "x", "z")],
        torch.tensor([0, 0]),
        triples=torch.tensor([[number["a"], 0, number["x"]], [number["b"], 0, number["y"]]]),
        distractors=torch.tensor([[number["y"], number["z"]], [number["x"], number["z"]]]),
        fallback=torch.tensor([[False, True], [False, False]]),
    )
    found = distractor_rates(graph, asked, {("a", "r", "z"), ("b", "r", "x"), ("c", "r", "x")})
    assert found == {"questions": 2, "distractors": 4, "right": 2, "fallback": 1}


def cell(row: str, seed: int, accuracy: float) -> dict[str, Any]:
    return {
        "row": row,
        "seed": seed,
        "steps": 3,
        "accuracy": {"csqa": accuracy, "mean": accuracy},
        "chance": {"csqa": 0.2, "mean": 0.2},
        "sizes": {"csqa": 1000},
        "training_seconds": 10.0,
        **({} if row == "untrained" else {"learnt from": 96, "questions": 500, "distractors": 1000}),
        **({} if row == "untrained" else {"right": 2 + seed, "fallback": 5}),
    }


# Tables


def test_tables(tmp_path: Path) -> None:
    cells = [cell("untrained", 0, 0.4), cell("random", 0, 0.41), cell("random", 1, 0.43), cell("CAR", 0, 0.42)]
    tuned = {"lr": 2e-4, "accuracies": {"5e-05": 0.5, "0.0002": 0.6}, "questions": 500}
    lines = car_qa.table(cells, tuned).splitlines()
    assert lines[2:6] == [
        "| chance |  | 20.0 | 20.0 |  |  |  |",
        "| untrained | 1 | 40.0 | 40.0 |  |  |  |",
        "| random | 2 | 42.0 [41.0, 43.0] | 42.0 [41.0, 43.0] | 25.0 [20.0, 30.0] | 0.50 | 10 |",
        "| CAR | 1 | 42.0 | 42.0 | 20.0 | 0.50 | 10 |",
    ]
    assert "taken: 0.0002" in lines[-1]
    page = tmp_path / "benchmarks.md"
    page.write_text("before\n<!-- car-qa:begin -->\nold\n<!-- car-qa:end -->\nafter\n", encoding="utf-8")
    (tmp_path / "results").mkdir()
    entry = {"figures": {"cells": cells, "tuned": tuned}, "date": "2026-01-01", "machine": "a machine"}
    car.write({"qa": entry}, tmp_path)
    assert "| CAR | 1 | 42.0 |" in page.read_text(encoding="utf-8")
    assert car.kept(tmp_path)["qa"]["figures"]["tuned"]["lr"] == 2e-4
    assert car.kept(None) == {}


def test_parts_without_data_are_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    with pytest.raises(MissingDataError, match="atomic_valid"):
        atomic_files(tmp_path)
    monkeypatch.setattr("sys.argv", ["car.py", "--data", str(tmp_path), "--work", str(tmp_path / "work")])
    threads = torch.get_num_threads()
    car.main()
    torch.set_num_threads(threads)
    said = capsys.readouterr().out
    assert all(f"{name} skipped: there is no" in said for name in car.TABLES)


@pytest.mark.slow
def test_falsehood_and_judged_rows_on_real_data() -> None:
    """CAR's rule and popularity are what they were found to be, and all rows that people judged are there."""
    if not (DATA / "commonsense").is_dir():
        pytest.skip(f"there is no folder {DATA / 'commonsense'}; set KGNEG_DATA")
    atomic = Atomic.read(DATA)
    asked, true = atomic.candidates(0)
    names = (RULE, HEADS, "words (Ma et al.)")
    found = car_falsehood.figures(car_falsehood.rows(atomic, asked, 0, names), true.numpy())
    assert found[RULE]["auc"] == pytest.approx(0.65, abs=0.01)
    assert found[HEADS]["auc"] == pytest.approx(0.705, abs=0.01)
    assert found["words (Ma et al.)"]["auc"] == pytest.approx(0.627, abs=0.01)
    assert found[RULE]["flags"] == pytest.approx(0.2, abs=0.02)
    judged = Judged.read(atomic, DATA / "commonsense" / "ckbp" / "evaluation_set.csv.gz")
    assert len(judged.asked) == len(judged.true) == 25_514
    assert int(judged.asked.max()) < len(judged.texts)


@pytest.mark.slow
def test_audit_of_a_small_graph(root: Path) -> None:
    (root / "kg" / "nations").rename(root / "kg" / "codex-s")
    try:
        samplers = {name: car_audit.SAMPLERS[name] for name in ("kgneg-uniform", "concept, paper")}
        samplers = {**samplers, "concept, paper": "concept:mode=paper,proposal=owners,features=relations"}
        found = car_audit.run(root, seeds=1, draws=2_000, samplers=samplers)
    finally:
        (root / "kg" / "codex-s").rename(root / "kg" / "nations")
    assert [one["sampler"] for one in found["rows"]] == list(samplers.values())
    assert "| `kgneg-uniform` |" in car_audit.table(found)


def test_kinds_are_named_as_in_the_table() -> None:
    assert KINDS == ("random", "keyword", "CAR", "concept")
