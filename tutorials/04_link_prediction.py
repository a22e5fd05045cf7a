"""
Link prediction
===============

A sampler is better than uniform negatives only if the uniform ones were trained well. So the first question is whether
they reach what has been published, and the second whether other samplers do better with the same settings.

Without more this trains a small model on UMLS, in seconds. ``KGNEG_TUTORIAL=codexsmall``, ``wn18rr`` or ``fb15k237``
takes the published settings of that graph, and ``full`` all three: hours on a GPU. ``KGNEG_TUTORIAL_EPOCHS`` cuts the
training short.
"""

# %%
import math
import os
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from pykeen.datasets import get_dataset
from pykeen.models import Model, RotatE, TransE
from pykeen.nn.modules import RotatEInteraction
from pykeen.pipeline import pipeline

SAMPLERS = ("kgneg-uniform", "typed", "sans")

# %% [markdown]
# What was published, with its settings:
#
# * WN18RR and FB15k-237: RotatE with self-adversarial negatives, from the README and ``best_config.sh`` of
#   ``DeepGraphLearning/KnowledgeGraphEmbedding``. Known triples are filtered, batches replace heads and tails in turn,
#   and the learning rate falls to a tenth after half of the steps.
# * CoDEx-S: TransE, from the README and a configuration of ``tsafavi/codex``, trained with LibKGE: cross entropy
#   against unfiltered negatives, and an inverse relation for each relation, so that only tails are replaced.
#
# ``test`` is the number of test triples there. Steps are given where the source gives steps, epochs otherwise. The
# RotatE of that repository sums the moduli of the differences, where PyKEEN's takes their Euclidean norm; margins and
# learning rates are only right for the former.


# %%
class SumOfModuli(RotatEInteraction):
    def forward(self, h: torch.Tensor, r: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return -(h * r - t).abs().sum(dim=-1)


class SumRotatE(RotatE):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.interaction = SumOfModuli()


@dataclass(frozen=True)
class Recipe:
    dataset: str
    model: type[Model]
    dim: int
    loss: dict[str, Any]
    lr: float
    batch: int
    negatives: int
    sampler: dict[str, Any]
    options: dict[str, Any]
    steps: int | None = None
    epochs: int | None = None
    published: float | None = None
    test: int | None = None


def rotate(dataset: str, dim: int, margin: float, temperature: float, **numbers: Any) -> Recipe:
    bound = (margin + 2) / dim
    start = partial(torch.nn.init.uniform_, a=-bound, b=bound)
    options = {
        "model": {"entity_initializer": start},
        "halve": True,
    }
    loss = {"loss": "nssa", "loss_kwargs": {"margin": margin, "adversarial_temperature": temperature}}
    return Recipe(dataset, SumRotatE, dim, loss, sampler={"sides": "alternate"}, options=options, **numbers)


RECIPES = {
    "small": rotate("umls", 32, 6.0, 0.5, lr=0.01, batch=256, negatives=16, epochs=30),
    "codexsmall": Recipe(
        dataset="codexsmall",
        model=TransE,
        dim=512,
        loss={"loss": "infonce", "loss_kwargs": {"margin": 0.0, "log_adversarial_temperature": 0.0}},
        lr=0.0412,
        batch=128,
        negatives=56,
        sampler={"sides": "tail", "filtered": False},
        options={"model": {"scoring_fct_norm": 2, "entity_constrainer": None}, "optimizer": "adagrad", "inverse": True},
        epochs=400,
        published=0.354,
        test=1828,
    ),
    "wn18rr": rotate(
        "wn18rr", 500, 6.0, 0.5, lr=5e-5, batch=512, negatives=1024, steps=80_000, published=0.477, test=3134
    ),
    "fb15k237": rotate(
        "fb15k237", 1000, 9.0, 1.0, lr=5e-5, batch=1024, negatives=256, steps=100_000, published=0.337, test=20_466
    ),
}

# %% [markdown]
# PyKEEN counts in epochs. A step is a batch, so the number of steps gives the number of epochs.


# %%
def run(recipe: Recipe, sampler: str) -> None:
    inverse = recipe.options.get("inverse", False)
    dataset = get_dataset(dataset=recipe.dataset, dataset_kwargs={"create_inverse_triples": inverse})
    batches = math.ceil(len(dataset.training.mapped_triples) / recipe.batch)
    full = recipe.epochs or math.ceil((recipe.steps or 0) / batches)
    epochs = min(full, int(os.environ.get("KGNEG_TUTORIAL_EPOCHS", full)))
    schedule = {"lr_scheduler": "MultiStepLR", "lr_scheduler_kwargs": {"milestones": [max(epochs // 2, 1)]}}
    result = pipeline(
        dataset=dataset,
        model=recipe.model,
        model_kwargs={"embedding_dim": recipe.dim, **recipe.options["model"]},
        **recipe.loss,
        optimizer=recipe.options.get("optimizer", "adam"),
        optimizer_kwargs={"lr": recipe.lr},
        **(schedule if recipe.options.get("halve") else {}),
        training_loop="kgneg",
        training_loop_kwargs={"updates": "dense"},  # Adam, not lazy Adam
        negative_sampler=sampler,
        negative_sampler_kwargs={"num_negs_per_pos": recipe.negatives, **recipe.sampler},
        training_kwargs={"num_epochs": epochs, "batch_size": recipe.batch, "use_tqdm": False},
        evaluation_kwargs={"use_tqdm": False},
        random_seed=0,
        device="cuda" if torch.cuda.is_available() else "cpu",
    )
    report(recipe, sampler, result.get_metric("mrr"), dataset.testing.num_triples, epochs, full)


# %% [markdown]
# PyKEEN drops evaluation triples with entities that occur in no training triple. The published figures include them,
# and no model can rank them but by chance, so a reached MRR is flattered where many are missing: on WN18RR, says the
# README of LibKGE, by about three points. A distance below that is no success there.


# %%
def report(recipe: Recipe, sampler: str, reached: float, ranked: int, epochs: int, full: int) -> None:
    line = f"{recipe.dataset}, {recipe.model.__name__}, {sampler}: MRR {reached:.3f}"
    if recipe.published is None:
        line += ", nothing published to compare with"
    else:
        line += f", published with uniform negatives {recipe.published:.3f}, distance {reached - recipe.published:+.3f}"
    print(line)
    if recipe.test is not None and ranked != recipe.test:
        print(f"  ranked {ranked:,} of {recipe.test:,} test triples, so the distance is not exact")
    if epochs < full:
        print(f"  trained for {epochs} of {full} epochs: a smaller budget than the recipe's, so expect less")


# %%
chosen = os.environ.get("KGNEG_TUTORIAL", "small")
names = [name for name in RECIPES if name != "small"] if chosen == "full" else [chosen]
if not set(names) <= set(RECIPES):
    raise SystemExit(f"KGNEG_TUTORIAL must be one of {', '.join(RECIPES)} or full, got {chosen!r}")
for name in names:
    for sampler in SAMPLERS:
        run(RECIPES[name], sampler)

# %% [markdown]
# Only the first row of a graph is a reproduction. The others change the sampler and keep settings that were tuned for
# uniform negatives, which is in favour of these; a study tunes both. What is not as published: RotatE weighs triples by
# how rare their pairs are, and picks its model by validation MRR; LibKGE lowers the learning rate when the validation
# MRR stands still, stops early, and draws two negatives for the subject too. One seed proves nothing either way.
