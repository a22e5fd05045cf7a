from __future__ import annotations

import csv
import io
import json
import logging
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kgneg.compare import CompareResult, CompareSettings, RunFailedError, compare, study
from kgneg.compare import runs as runs_module
from kgneg.core.errors import InvalidInputError, MissingTextError
from kgneg.datasets import load

SETTINGS = CompareSettings(
    dataset="nations", samplers=("basic", "lemon:encoder=lexical"), epochs=2, seeds=(0, 4), dim=4, checked=2000
)


def refuse(constant: str) -> None:
    raise AssertionError(constant)


def without_seconds(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_seconds(inner) for key, inner in value.items() if key != "seconds"}
    return [without_seconds(inner) for inner in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compare")


@pytest.fixture(scope="module")
def result(folder: Path) -> CompareResult:
    return compare(SETTINGS, runs=folder / "runs", progress=False)


def test_every_run_is_there(result: CompareResult) -> None:
    assert [(run["sampler"], run["seed"]) for run in result.runs] == [
        (sampler, seed) for seed in (0, 4) for sampler in ("basic", "lemon:encoder=lexical")
    ]
    for run in result.runs:
        assert len(run["losses"]) == 2
        assert run["metrics"]["hits_at_1"] + run["metrics"]["mrr"] > 0
        assert run["metrics"]["hits_at_1"] <= run["metrics"]["hits_at_3"] <= run["metrics"]["hits_at_10"] <= 1
        assert run["negatives"]["drawn"] >= 2000
        assert all(value > 0 for value in run["seconds"].values())
        assert (run["negatives"]["known"] == 0) == (run["sampler"] != "basic")
    assert result.settings["samplers"][1]["options"] == {"encoder": "lexical", "texts": "nations"}


def test_ranks_are_those_of_pykeen(result: CompareResult) -> None:
    from pykeen.pipeline import pipeline

    with runs_module.quiet_pykeen():
        theirs = pipeline(
            dataset="nations",
            model="transe",
            model_kwargs={"embedding_dim": 4},
            optimizer="adam",
            optimizer_kwargs={"lr": 0.01},
            negative_sampler="basic",
            negative_sampler_kwargs={"num_negs_per_pos": 10},
            training_loop_kwargs={"automatic_memory_optimization": False},
            training_kwargs={"num_epochs": 2, "batch_size": 256, "use_tqdm": False},
            evaluation_kwargs={"batch_size": 64, "use_tqdm": False},
            random_seed=4,
            device="cpu",
        )
    ours = next(run for run in result.runs_of("basic") if run["seed"] == 4)
    assert ours["metrics"]["mrr"] == theirs.get_metric("mrr")
    assert ours["losses"] == theirs.losses


def test_files(result: CompareResult, tmp_path: Path) -> None:
    written = result.write(tmp_path / "new" / "folder")
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == [
        "report.html", "results.csv", "results.json",
    ]  # fmt: skip
    text = written["results.json"].read_text(encoding="utf-8")
    found = json.loads(text, parse_constant=refuse)
    assert json.dumps(found, sort_keys=True, indent=2, ensure_ascii=False) + "\n" == text, "keys are sorted"
    assert found == result.to_dict()
    rows = list(csv.DictReader(io.StringIO(written["results.csv"].read_text(encoding="utf-8"))))
    assert len(rows) == 4
    assert [float(row["mrr"]) for row in rows] == [run["metrics"]["mrr"] for run in result.runs]
    assert rows[0]["fallback_share"] == ""
    assert rows[1]["sampler"] == "lemon:encoder=lexical"
    page = written["report.html"].read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert page.count("<svg") == page.count("</svg>") == 4


def test_same_settings_give_the_same_files(result: CompareResult, tmp_path: Path) -> None:
    again = compare(SETTINGS, runs=tmp_path, progress=False)
    first, second = (
        json.dumps(without_seconds(one.to_dict()), sort_keys=True, allow_nan=False) for one in (result, again)
    )
    assert first == second
    assert without_seconds(again.to_dict()) != result.to_dict(), "seconds are where they are looked for"


def test_finished_runs_are_taken_up(
    result: CompareResult, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    trained: list[tuple[Any, int]] = []
    original = study.train_once

    def watched(settings: Any, choice: Any, seed: int, *args: Any) -> Any:
        trained.append((choice.label, seed))
        return original(settings, choice, seed, *args)

    monkeypatch.setattr(study, "train_once", watched)
    assert compare(SETTINGS, runs=folder / "runs", progress=False) == result
    assert trained == []
    more = CompareSettings(**{**vars_of(SETTINGS), "samplers": ("kgneg-uniform", "basic"), "seeds": (4,)})
    found = compare(more, runs=folder / "runs", progress=False)
    assert trained == [("kgneg-uniform", 4)]
    assert found.runs[1] == result.runs[2]

    damaged = next(
        path for path in (folder / "runs").iterdir() if '"label": "basic"' in path.read_text(encoding="utf-8")
    )
    damaged.write_text("{", encoding="utf-8")
    trained.clear()
    logging.getLogger("kgneg").propagate = True
    with caplog.at_level(logging.WARNING, logger="kgneg"):
        assert without_seconds(compare(SETTINGS, runs=folder / "runs", progress=False).to_dict()) == without_seconds(
            result.to_dict()
        )
    assert len(trained) == 1
    assert sum("damaged" in record.message for record in caplog.records) == 1

    trained.clear()
    one = CompareSettings(**{**vars_of(SETTINGS), "samplers": ("basic",), "seeds": (0,)})
    compare(one, runs=folder / "runs", fresh=True, progress=False)
    assert trained == [("basic", 0)]


def vars_of(settings: CompareSettings) -> dict[str, Any]:
    return {key: value for key, value in vars(settings).items() if key != "choices"}


def test_global_streams_of_the_caller_do_not_matter(result: CompareResult) -> None:
    torch.manual_seed(11)
    random.seed(11)
    np.random.seed(11)
    one = CompareSettings(**{**vars_of(SETTINGS), "seeds": (4,)})
    assert [run["metrics"] for run in compare(one, progress=False).runs] == [run["metrics"] for run in result.runs[2:]]


def test_a_failing_run_keeps_the_others(tmp_path: Path) -> None:
    settings = CompareSettings(
        dataset="nations", samplers=("basic",), model="complex", learning_rate=1e25, epochs=3, seeds=(0, 1), dim=4
    )
    good = CompareSettings(**{**vars_of(settings), "learning_rate": 0.01, "seeds": (0,)})
    compare(good, runs=tmp_path, progress=False)
    with pytest.raises(
        RunFailedError, match=r"sampler basic, seed 0: .* finite number; try a lower learning rate"
    ) as error:
        compare(settings, runs=tmp_path, progress=False)
    assert "\n" not in str(error.value)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_failure_says_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = runs_module._pipeline

    def breaks(settings: Any, choice: Any, seed: int, *args: Any) -> Any:
        if seed == 4:
            raise ValueError("something\nbroke")
        return original(settings, choice, seed, *args)

    monkeypatch.setattr(runs_module, "_pipeline", breaks)
    message = "sampler basic, seed 4: ValueError: something broke (the 2 finished of 4 runs are kept)"
    with pytest.raises(RunFailedError) as error:
        compare(SETTINGS, runs=tmp_path, progress=False)
    assert str(error.value) == message
    assert len(list(tmp_path.iterdir())) == 2


def test_bad_samplers_are_seen_before_training(monkeypatch: pytest.MonkeyPatch, zoo: Path) -> None:
    monkeypatch.setattr(study, "train_once", lambda *_: pytest.fail("trained"))
    bad = CompareSettings(dataset="nations", samplers=("basic", "lemon:uniform_share=3"))
    with pytest.raises(InvalidInputError, match="sampler lemon:uniform_share=3: uniform_share must be between 0 and 1"):
        compare(bad, progress=False)
    lines = (zoo / "entities.tsv").read_text(encoding="utf-8").splitlines()
    (zoo / "entities.tsv").write_text("\n".join(lines[:-2]) + "\n", encoding="utf-8")
    lacking = CompareSettings(dataset=str(zoo), samplers=("basic", "lemon:encoder=lexical"))
    with pytest.raises(InvalidInputError, match="2 of 12 entities have no text") as error:
        compare(lacking, progress=False)
    assert isinstance(error.value.__cause__, MissingTextError)


def test_texts_of_a_folder(zoo: Path) -> None:
    settings = CompareSettings(
        dataset=str(zoo), samplers=("lemon",), encoder="lexical", epochs=1, seeds=(0,), dim=2, checked=10
    )
    result = compare(settings, progress=False)
    assert result.settings["samplers"][0]["options"] == {"encoder": "lexical", "texts": str(zoo)}
    assert result.summary()[0]["metrics"]["mrr"]["sd"] is None
    assert "one seed" in result.to_html().lower()


def test_graphs_in_memory() -> None:
    settings = CompareSettings(dataset="nations", samplers=("basic",), epochs=1, seeds=(0,), dim=2, checked=10)
    assert compare(settings, data=load("nations"), progress=False).dataset["train"] == 1592


def test_logging_is_as_before(result: CompareResult) -> None:
    logger = logging.getLogger("pykeen")
    before = logger.level
    with runs_module.quiet_pykeen():
        assert logger.level == logging.ERROR
    assert logger.level == before


def test_both_loops_give_the_same(tmp_path: Path) -> None:
    samplers = ("basic", "bernoulli:filtered=true", "pseudotyped", "kgneg-uniform", "typed")
    own = {**vars_of(SETTINGS), "samplers": samplers, "seeds": (4,)}
    theirs, ours = (
        compare(CompareSettings(**(own | {"loop": loop})), runs=tmp_path, progress=False).runs
        for loop in ("slcwa", "kgneg")
    )
    assert [run["loop"] for run in (*theirs, *ours)] == ["slcwa"] * 5 + ["kgneg"] * 5
    for one, other in zip(theirs, ours, strict=True):
        for part in ("losses", "metrics", "negatives"):
            assert one[part] == other[part], one["sampler"]


def test_samplers_that_look_at_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: dict[str, Any] = {}
    original = runs_module.count_true

    def watched(choice: Any, *args: Any, **kwargs: Any) -> Any:
        counted[choice.name] = kwargs["sampler"], None if kwargs["sampler"] is None else kwargs["sampler"].report()
        return original(choice, *args, **kwargs)

    monkeypatch.setattr(runs_module, "count_true", watched)
    samplers = ("kgneg-uniform", "dynamic:ceiling=-100", "nscaching:cache=3")
    own = {**vars_of(SETTINGS), "samplers": samplers, "seeds": (4,)}
    result = compare(CompareSettings(**own), runs=tmp_path, progress=False)
    assert [run["loop"] for run in result.runs] == ["slcwa", "kgneg", "kgneg"]
    assert [sampler["loop"] for sampler in result.settings["samplers"]] == ["slcwa", "kgneg", "kgneg"]
    assert counted["kgneg-uniform"][0] is None
    for name in ("dynamic", "nscaching"):
        sampler, report = counted[name]
        assert report["drawn"] == 2 * 1592 * 10, "it was drawn from in training"
        assert sampler.report()["drawn"] >= report["drawn"] + 2000
    assert [run["negatives"]["known"] for run in result.runs] == [0, 0, 0]
    assert [run["negatives"]["fallback_share"] for run in result.runs] == [0.0, 1.0, 0.0]
    again = compare(CompareSettings(**own), progress=False)
    assert without_seconds(again.to_dict()) == without_seconds(result.to_dict())
