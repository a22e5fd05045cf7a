"""PyKEEN loses triples with two or more workers, and the user must hear of it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

PROGRAM = """
import sys
from pykeen.datasets import Nations
from pykeen.pipeline import pipeline
dataset = Nations()
for num_workers in (0, 1, 2):
    result = pipeline(
        dataset=dataset, model="TransE", model_kwargs=dict(embedding_dim=4), negative_sampler="typed",
        training_kwargs=dict(num_epochs=1, batch_size=256, num_workers=num_workers, use_tqdm=False),
        evaluation_kwargs=dict(batch_size=256, use_tqdm=False), random_seed=1, device="cpu",
    )
    assert len(result.losses) == 1
    print(f"=== {num_workers}", file=sys.stderr, flush=True)
"""


def test_two_workers_warn(python: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = python("-c", PROGRAM)
    assert done.returncode == 0, done.stderr
    none, rest = done.stderr.split("=== 0")
    one, two = rest.split("=== 1")
    sign = "trains on the first 1/2 of the triples only"
    assert "num_workers=" not in none
    assert "num_workers=" not in one
    assert f"num_workers=2: PyKEEN 1.11 then {sign}" in two
    assert two.count(sign) <= 2  # memory probing and training: once per set of workers, not per batch or worker
    assert "Use num_workers=0" in two
