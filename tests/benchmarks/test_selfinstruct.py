"""The benchmark of the self-instruct filter, and what is asked of it on CKBP v2."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("KGNEG_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="module")
def bench(request: pytest.FixtureRequest) -> Any:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    request.addfinalizer(lambda: sys.path.remove(str(ROOT / "benchmarks")))
    import selfinstruct

    return selfinstruct


@pytest.fixture(scope="module")
def judged(bench: Any) -> Any:
    path = DATA / bench.FILE
    if not path.is_file():
        pytest.skip(f"no file {bench.FILE} in the data root; set KGNEG_DATA to the folder that has it")
    from kgneg.core.encode import bundled_model

    if bundled_model() is None:
        pytest.skip("needs the extra offline")
    return bench.Judged(path)


def test_auc_and_removed(bench: Any) -> None:
    truth = np.repeat([False, True], [10, 5])
    assert bench.auc(truth.astype(float), truth) == 1
    assert bench.auc(np.zeros(15), truth) == 0.5
    assert bench.removed(truth.astype(float), truth) == (1, 1)
    assert bench.removed(-truth.astype(float), truth)[0] == 0
    gone = [bench.removed(np.zeros(3000), np.arange(3000) % 3 == 0, seed)[0] for seed in range(20)]
    assert np.mean(gone) == pytest.approx(0.2, abs=0.02)


def test_tables(bench: Any, tmp_path: Path) -> None:
    found = {
        "ckbp": {
            "rows": {"sum": [[0.7, 0.5, 0.85], [0.72, 0.5, 0.85]]},
            "base": [0.78, 0.78],
            "test": 2048,
            "seconds": 1,
        },
        "bounds": {"rows": [[500, 0.85, 0.9, 0.99, 0.5, 0.8, 1, 0.4]], "draws": 200},
        "scale": {
            f"{part}:{rows}:2": {
                "part": part,
                "rows": rows,
                "jobs": 2,
                "seconds": 2.0,
                "cpu_seconds": 3.5,
                "mebibytes": 700,
                "mebibytes_of_largest_child": 800,
            }
            for part, rows in (("dedup", 1000), ("run", 10_000), ("run", 2000))
        },
    }
    made = bench.tables(found)
    assert "| sum | 0.710 [0.700, 0.720] | 0.500 [0.500, 0.500] | 0.850 [0.850, 0.850] |" in made["ckbp"]
    assert "| 500 | 85% | 90.0% | 99.0% | 50.0% | 80.0% | 100.0% | 40.0% |" in made["bounds"]
    scale = made["scale"].splitlines()
    assert scale[2] == "| decide: rules, and a logistic critic | 2,000 | 2 | 2.0 | 3.5 | 1,000 | 800 |"
    assert [line.split(" | ")[1] for line in scale[2:]] == ["2,000", "10,000", "1,000"]
    marks = [f"<!-- selfinstruct-{name}:{end} -->" for name in found for end in ("begin", "end")]
    (tmp_path / "results").mkdir()
    (tmp_path / "benchmarks.md").write_text("\n".join(marks))
    bench.publish(found, tmp_path)
    assert made["bounds"] in (tmp_path / "benchmarks.md").read_text()
    found["bounds"]["draws"] = 100  # what is not measured anew stays
    bench.publish({"bounds": found["bounds"]}, tmp_path)
    text = (tmp_path / "benchmarks.md").read_text()
    assert "100 random cuts" in text
    assert made["scale"] in text
    assert json.loads((tmp_path / "results" / "selfinstruct.json").read_text()) == found
    with pytest.raises(SystemExit, match="has no marks"):
        (tmp_path / "benchmarks.md").write_text("")
        bench.publish(found, tmp_path)


@pytest.mark.slow
def test_fusion_finds_false_negatives(bench: Any, judged: Any) -> None:
    many, few = [], []
    for split in range(3):
        _, test = judged.half(split)
        truth = judged.truth[test]
        for number, found in ((958, many), (200, few)):
            made = judged.filter(judged.labels(number, split))
            score = made.decide(judged.candidates[test]).score
            found.append([bench.auc(score, truth), bench.removed(score, truth)[0]])
    area, gone = np.mean(many, axis=0)
    assert area >= 0.76
    assert gone >= 0.57
    assert np.mean(few, axis=0)[0] >= 0.72


@pytest.mark.slow
@pytest.mark.parametrize("size", [500, 2024])
def test_promises_hold(bench: Any, judged: Any, size: int) -> None:
    score, cuts = bench.scores_once(judged)
    truth = judged.truth[judged.test]
    for target in bench.TARGETS:
        found = [bench.promise(score, truth, cuts, target, size, draw) for draw in range(200)]
        _, in_the_long_run, _, _, on_other_rows, _ = np.mean(np.array(found, dtype=float), axis=0)
        assert in_the_long_run >= 0.95
        assert on_other_rows >= 0.95
