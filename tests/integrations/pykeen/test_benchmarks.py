"""Exactness on graphs of benchmark size, where they are at hand."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).resolve().parents[3]

PROGRAM = """
import json, sys
import numpy as np
import torch
from pykeen.datasets import get_dataset
from pykeen.sampling import negative_sampler_resolver

factory = get_dataset(dataset=sys.argv[1]).training
triples, entities, relations = factory.mapped_triples, factory.num_entities, factory.num_relations

def keys(rows):
    rows = rows.reshape(-1, 3).numpy()
    return (rows[:, 0] * relations + rows[:, 1]) * entities + rows[:, 2]

known = np.sort(keys(triples))
names, kinds = factory.entity_id_to_label, factory.relation_id_to_label
wrong = [(h, r, (t + 1) % entities) for h, r, t in triples[::5].tolist()]
with open("given.tsv", "w", encoding="utf-8") as handle:
    handle.writelines(f"{names[h]}\\t{kinds[r]}\\t{names[t]}\\n" for h, r, t in wrong)
vectors = torch.randn((entities, 16), generator=torch.Generator().manual_seed(0))
np.save("vectors.npy", vectors.numpy())
lemon = dict(vectors="vectors.npy")
cases = {
    "kgneg-uniform": {},
    "kgneg-bernoulli": {},
    "typed": {},
    "lemon": lemon,
    "lemon+": lemon,
    "sans": dict(walks=50),
    "mixture": dict(components="typed=1,lemon=1,uniform=2", components_kwargs=dict(lemon=lemon)),
    "given": dict(path="given.tsv"),
}
sizes = dict(num_entities=entities, num_relations=relations)
positives = triples[torch.randperm(len(triples), generator=torch.Generator().manual_seed(1))[:8192]]
for name, kwargs in cases.items():
    sampler = negative_sampler_resolver.make(
        name, kwargs, num_negs_per_pos=20, seed=0, mapped_triples=triples, **sizes
    )
    negatives, mask = sampler.sample(positive_batch=positives)
    changed = negatives != positives[:, None]
    found = keys(negatives)
    place = np.searchsorted(known, found).clip(max=len(known) - 1)
    heads = changed[..., 0].sum(-1)
    print(json.dumps(dict(
        name=name, shape=list(negatives.shape), mask=mask is not None, known=int((known[place] == found).sum()),
        one_column=bool((changed.sum(-1) == 1).all()), low=int(negatives.min()),
        high=int(negatives[..., [0, 2]].max()) - entities, heads=[int(heads.min()), int(heads.max())],
        turned=sampler.report()["turned"],
    )))
"""


@pytest.fixture
def pystow_home(tmp_path: Path) -> Callable[[str], Path]:
    """Copy a data set of PyKEEN's cache to a folder that can be written, or skip the test."""
    root = Path(os.environ.get("KGNEG_DATA", _REPOSITORY.parent / "shared" / "data")) / "pystow"

    def copy(name: str) -> Path:
        source = root / "pykeen" / "datasets" / name
        if not source.is_dir():
            pytest.skip(f"no folder pystow/pykeen/datasets/{name} in the data root; set KGNEG_DATA to a folder with it")
        target = tmp_path / "pystow" / "pykeen" / "datasets" / name
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("cache"), copy_function=shutil.copyfile)
        return tmp_path / "pystow"

    return copy


@pytest.mark.parametrize(
    ("name", "num_entities"), [("codexsmall", 2034), pytest.param("fb15k237", 14505, marks=pytest.mark.slow)]
)
def test_no_negative_is_known(
    python: Callable[..., subprocess.CompletedProcess[str]],
    pystow_home: Callable[[str], Path],
    name: str,
    num_entities: int,
) -> None:
    done = python("-c", PROGRAM, name, PYSTOW_HOME=str(pystow_home(name)))
    assert done.returncode == 0, done.stderr
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(reports) == 8
    for report in reports:
        assert report["known"] == 0, report
        assert report["shape"] == [8192, 20, 3]
        assert report["one_column"], report
        assert not report["mask"]
        assert report["low"] >= 0
        assert -num_entities <= report["high"] < 0
        if report["name"] == "lemon+":
            assert report["heads"] == [0, 20], report
        elif report["name"] != "kgneg-bernoulli":
            assert report["heads"] == [10, 10] or report["turned"], report
