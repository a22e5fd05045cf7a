"""Found by name: in programs that never import kgneg, in experiment files, and on the command line."""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pykeen.pipeline import pipeline_from_config, pipeline_from_path

Python = Callable[..., subprocess.CompletedProcess[str]]

PIPELINE = (
    "from pykeen.pipeline import pipeline; pipeline(dataset='umls', model='TransE', negative_sampler='lemon', epochs=2)"
)
ALL_NAMES = (
    "('kgneg-uniform', 'kgneg-bernoulli', 'popularity', 'typed', 'taxonomy', 'lemon', 'lemon+', 'concept', 'sans', "
    "'mixture', 'given', 'dynamic', 'nscaching')"
)
LOOK_UP = (
    "from pykeen.sampling import negative_sampler_resolver as r; "
    "from pykeen.sampling.filtering import filterer_resolver as f; "
    "from pykeen.datasets import dataset_resolver as d; "
    f"print(*(r.lookup(n).__module__ for n in {ALL_NAMES})); "
    "print(f.lookup('exact').__module__, d.lookup('kgneg').__module__)"
)
CONFIG: dict[str, Any] = {
    "metadata": {"title": "typed negatives on Nations"},
    "pipeline": {
        "dataset": "nations",
        "model": "TransE",
        "model_kwargs": {"embedding_dim": 8},
        "training_loop": "sLCWA",
        "training_kwargs": {"num_epochs": 1, "batch_size": 256},
        "negative_sampler": "lemon",
        "negative_sampler_kwargs": {"num_negs_per_pos": 4, "encoder": "lexical", "typed": True},
        "evaluation_kwargs": {"batch_size": 128},
    },
}


def check(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr
    for sign in ("Traceback", "entry point", "entrypoint", "kgneg:", "Error"):
        assert sign not in done.stderr, done.stderr


def test_pipeline_without_any_import(python: Python, tmp_path: Path) -> None:
    done = python("-c", PIPELINE)
    check(done)
    assert "Training epochs" in done.stderr
    built = {path.relative_to(tmp_path).parts[1] for path in tmp_path.glob("kgneg/*/*/*.safetensors")}
    assert built == {"lemon", "vectors"}


@pytest.mark.parametrize(
    "imports",
    [
        "import kgneg.integrations.pykeen",
        "import pykeen.datasets",
        *(
            pytest.param(one, marks=pytest.mark.slow)
            for one in (
                "from kgneg.integrations.pykeen.lemon import LemonNegativeSampler",
                "import pykeen.sampling; import kgneg.integrations.pykeen",
            )
        ),
    ],
)
def test_order_of_imports(python: Python, imports: str) -> None:
    done = python("-W", "error::UserWarning", "-c", f"{imports}; {LOOK_UP}")
    check(done)
    assert done.stderr == ""
    names, others = done.stdout.splitlines()
    assert all(name.startswith("kgneg.integrations.pykeen.") for name in (names + " " + others).split())
    assert len(names.split()) == 13


def test_command_line_and_configuration_files(python: Python, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(CONFIG), encoding="utf-8")
    done = python("-m", "pykeen", "experiments", "run", str(config), "-d", str(tmp_path / "out"))
    check(done)
    [results] = (tmp_path / "out").rglob("results.json")
    losses = json.loads(results.read_text(encoding="utf-8"))["losses"]
    assert len(losses) == 1
    assert list(tmp_path.glob("kgneg/lemon/*/*.safetensors"))  # LEMON it was that ran


def test_configuration_in_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pykeen.datasets.utils.PYKEEN_DATASETS", tmp_path)
    config = copy.deepcopy(CONFIG)
    config["pipeline"] |= {"random_seed": 5, "device": "cpu"}
    config["pipeline"]["training_kwargs"]["use_tqdm"] = False
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    results = [pipeline_from_config(config)]
    results += [pipeline_from_path(tmp_path / name) for name in ("config.json", "config.yaml")]
    assert [len(result.losses) for result in results] == [1, 1, 1]
    assert results[0].losses == results[1].losses == results[2].losses
    config["pipeline"]["negative_sampler"] = "kgneg-uniform"
    config["pipeline"]["negative_sampler_kwargs"] = {"num_negs_per_pos": 4}
    assert pipeline_from_config(config).losses != results[0].losses
