"""
A study
=======

Two samplers are compared fairly when both are tuned. A study does that: it tries samplers together with parameters of
sampler, model, loss and optimiser, and keeps every trial in a file. Workers share that file and nothing else.
"""

# %%
import json
import os
from dataclasses import replace
from pathlib import Path

import torch
from pykeen.pipeline import pipeline_from_path

from kgneg.studies import StudySettings, run_study

EPOCHS = int(os.environ.get("KGNEG_TUTORIAL_EPOCHS", "20"))

# %% [markdown]
# What is not fixed is searched, within the range that sampler, model, loss or optimiser brings along, or the one given
# here. The first ``startup`` trials are drawn at random; later ones learn from those that are finished.

# %%
settings = StudySettings(
    dataset="umls",  # comes with PyKEEN
    samplers=("kgneg-uniform", "typed"),
    models=("transe",),
    losses=("nssa",),
    training_loop="kgneg",
    trials=4,
    startup=3,
    epochs=EPOCHS,
    fixed={"batch_size": 512, "model.embedding_dim": 64, "sampler.sides": "uniform"},
    ranges={"lr": {"type": "float", "low": 0.001, "high": 0.1, "log": True}, "sampler.num_negs_per_pos": [4, 8, 16]},
    seed=1,
    device="cpu",
)

# %% [markdown]
# Two processes work on four trials. Then the study goes on: the same call with more trials starts where the first one
# ended, as it would after a kill. Any number of processes, on one machine or on several that see the file, may call it.

# %%
result = run_study(settings, "study.log", workers=2, logs="out/workers", progress=False)
print("first run:", result.states(), *result.problems)
result = run_study(replace(settings, trials=6), "study.log", progress=False)
print("second run:", result.states(), *result.problems)

# %% [markdown]
# The score of a trial is its mean reciprocal rank (MRR) on the validation triples. A pruned trial was behind, and so it
# was given up; its score is the last one that was seen.

# %%
print(f"\n{'trial':>5}  {'sampler':14}{'state':10}{'negatives':>10}{'lr':>9}{'valid MRR':>11}{'seconds':>9}")
for trial in result.finished:
    sampler, params = trial["sampler"], trial["params"]
    print(
        f"{trial['number']:5}  {sampler:14}{trial['state']:10}{params[f'{sampler}.num_negs_per_pos']:10}"
        f"{params['optimizer.lr']:9.4f}{trial['value']:11.4f}{trial['seconds']:9.2f}"
    )

# %% [markdown]
# ``report.html`` shows the same with figures: how the best score grew, which parameters mattered, and what a higher
# score costs in seconds. Each figure that these trials allow is a PNG file too; ``trials.csv`` has all numbers.

# %%
written = result.write("out")
print("\nwritten:", ", ".join(sorted(written)))
print("in report.html, which parameters mattered:")
for name, share in [] if isinstance(result.importance, str) else result.importance.items():
    print(f"  {name:32}{share:6.1%}")

# %% [markdown]
# ``best.json`` is an experiment of PyKEEN. With the same versions, machine and number of threads it gives the test
# score of the trial again, to the last digit. The test triples took no part in the choice.

# %%
metadata = json.loads(Path(written["best.json"]).read_text(encoding="utf-8"))["metadata"]
torch.set_num_threads(metadata["threads"])
again = pipeline_from_path(written["best.json"])
print(f"\nbest trial: {metadata['trial']}, validation MRR {metadata['validation']['mrr']:.6f}")
print(f"test MRR:   {metadata['test']['mrr']:.10f} in the study, {again.get_metric('mrr'):.10f} again")
