from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pykeen.pipeline import pipeline_from_config

from kgneg.compare.runs import METRICS
from kgneg.core.errors import InvalidInputError
from kgneg.studies import StudySettings, export_best, run_study

FIXED = {"batch_size": 128, "model.embedding_dim": 8, "sampler.num_negs_per_pos": 2}


def check(path: Path, best: Any) -> None:
    """Train what a file says, and compare the scores."""
    config = json.loads(path.read_text(encoding="utf-8"))
    for part, testing in (("test", True), ("validation", False)):
        config["pipeline"]["use_testing_data"] = testing
        found = pipeline_from_config(config).metric_results
        scores = {name: found.get_metric(theirs) for name, theirs in METRICS.items()}
        assert scores == best[part], part


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("sampler", "loop"),
    [
        ("kgneg-uniform", "kgneg"),
        pytest.param("basic", "slcwa", marks=pytest.mark.slow),
        pytest.param("lemon:encoder=lexical", "kgneg", marks=pytest.mark.slow),
    ],
)
def test_the_score_is_reproduced(sampler: str, loop: str, tmp_path: Path) -> None:
    settings = StudySettings(
        dataset="nations", samplers=(sampler,), models=("distmult",), losses=("nssa",), trials=2, epochs=3,
        prune_every=1, training_loop=loop, fixed=FIXED, device="cpu",
    )  # fmt: skip
    result = run_study(settings, str(tmp_path / "study.log"), progress=False)
    best = result.best
    assert best is not None
    path = export_best(result, tmp_path / "out")
    check(path, best)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_files_of_triples(zoo: Path, tmp_path: Path) -> None:
    files = {name: str(zoo / f"{name}.tsv") for name in ("train", "valid", "test")}
    settings = StudySettings(
        **files, samplers=("lemon:encoder=lexical",), texts=str(zoo / "entities.tsv"), models=("distmult",), trials=1,
        epochs=2, fixed=FIXED, device="cpu",
    )  # fmt: skip
    result = run_study(settings, str(tmp_path / "study.log"), progress=False)
    assert result.best is not None
    path = export_best(result, tmp_path / "out")
    assert (tmp_path / "out" / "triples" / "train.tsv").is_file()
    check(path, result.best)
    with (zoo / "train.tsv").open("a", encoding="utf-8") as file:
        file.write("animal_0\tlikes\tanimal_1\n")
    with pytest.raises(InvalidInputError, match="are not those of the study"):
        export_best(result, tmp_path / "out")


def test_nothing_to_export(tmp_path: Path) -> None:
    settings = StudySettings(
        dataset="nations", samplers=("basic",), models=("complex",), trials=1, epochs=3, max_failures=0,
        fixed={**FIXED, "lr": 1e25}, device="cpu",
    )  # fmt: skip
    result = run_study(settings, str(tmp_path / "study.log"), progress=False)
    with pytest.raises(InvalidInputError, match="no trial is complete"):
        export_best(result, tmp_path)
