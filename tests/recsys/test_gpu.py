"""The same work on a CUDA device; skipped where there is none."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kgneg.recsys import BUIR, MODELS, InteractionSplit, LightGCN, build_recommender, corruptor_options, evaluate
from kgneg.recsys.synthetic import synthetic_interactions
from kgneg.samplers import DynamicCorruptor

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
SMALL: dict[str, Any] = {"dim": 16, "epochs": 30, "lr": 2e-2, "batch_size": 256, "evaluate_every": 10}


@pytest.fixture(scope="module")
def split() -> InteractionSplit:
    pairs = synthetic_interactions(users=150, items=80, groups=8, each=10, noise=0.05)
    return pairs.split("random", valid=0.1, test=0.2, seed=0)


def recall(model: Any, split: InteractionSplit) -> float:
    return evaluate(model, split.test, hide=[split.valid], ks=(10,)).metrics["recall@10"]


@pytest.mark.parametrize("name", ["buir-nb", "buir-id", "lightgcn", "bpr", "directau"])
def test_models_learn_and_answer(name: str, split: InteractionSplit) -> None:
    model: Any = build_recommender(name, **SMALL, device="cuda").fit(split.train, split.valid, progress=False)
    assert model.device.type == "cuda"
    assert recall(model, split) > 0.35
    assert model.fold_in([[1, 9]], 5).items.shape == (1, 5)
    assert model.similar_items([3], 5).items.shape == (1, 5)


def test_every_name_is_covered() -> None:
    trained = {"buir-nb", "buir-id", "lightgcn", "lightgcn-softmax", "bpr", "directau"}
    assert trained | {"ease", "itemknn", "two-hop", "popularity"} == set(MODELS)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_mixed_precision(precision: str, split: InteractionSplit) -> None:
    model = BUIR(**SMALL, device="cuda", precision=precision, drop=0.2).fit(split.train, split.valid, progress=False)
    assert recall(model, split) > 0.3


def test_a_corruptor_that_looks_at_the_model(split: InteractionSplit) -> None:
    corruptor = DynamicCorruptor(pool=8, **corruptor_options(split.train), seed=0)
    model = LightGCN(**SMALL, device="cuda").fit(split.train, split.valid, negatives=corruptor, progress=False)
    assert recall(model, split) > 0.35


def test_scores_are_those_of_the_cpu(split: InteractionSplit) -> None:
    model = BUIR(**SMALL, device="cuda").fit(split.train, progress=False)
    users = torch.arange(20)
    there = model.scores(users).cpu()
    model.cpu()
    torch.testing.assert_close(model.scores(users), there, atol=1e-3, rtol=1e-3)
