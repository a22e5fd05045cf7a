from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from kgneg.core.corruption import Corruptor
from kgneg.core.errors import ExhaustedPoolError, InvalidInputError
from kgneg.core.sides import SidePolicy
from kgneg.recsys import BPRMF, DirectAU, Interactions, InteractionSplit, LightGCN, corruptor_options, evaluate
from kgneg.recsys.sampled import SampledRecommender
from kgneg.recsys.synthetic import synthetic_interactions
from kgneg.samplers import DynamicCorruptor, PopularityCorruptor, UniformCorruptor

SMALL: dict[str, Any] = {
    **{"dim": 16, "epochs": 20, "lr": 3e-2, "batch_size": 256},
    **{"device": "cpu", "evaluate_every": 10},
}


@pytest.fixture(scope="module")
def split() -> InteractionSplit:
    pairs = synthetic_interactions(users=150, items=80, groups=8, each=10, noise=0.05)
    return pairs.split("random", valid=0.1, test=0.2, seed=0)


def prepared(kind: type[SampledRecommender], **options: Any) -> tuple[Any, Interactions]:
    pairs = synthetic_interactions(users=30, items=20)
    model = kind(**{"dim": 8, "device": "cpu", **options})
    model.prepare(pairs, torch.Generator().manual_seed(0))
    return model, pairs


def recall(model: Any, split: InteractionSplit) -> float:
    return evaluate(model, split.test, hide=[split.valid], ks=(10,), beyond=False).metrics["recall@10"]


@pytest.mark.parametrize("kind", [BPRMF, LightGCN])
@pytest.mark.parametrize("loss", ["bpr", "softmax"])
def test_loss_is_the_formula(kind: type[SampledRecommender], loss: str) -> None:
    model, pairs = prepared(kind, loss=loss, num_negatives=3, l2=0.2, temperature=0.5)
    users, items = pairs.users[:6], pairs.items[:6]
    found = model.loss(users, items, torch.Generator().manual_seed(4)).detach()
    drawn = model._draw(users, items, torch.Generator().manual_seed(4))
    of_users, of_items = (one.detach() for one in model.encoder.split(model.encoder.outputs()))
    table = model.encoder.table.detach()
    for row, (user, item) in enumerate(zip(users.tolist(), items.tolist(), strict=True)):
        others = drawn[row].tolist()
        if loss == "bpr":
            positive = float(of_users[user] @ of_items[item])
            wanted = sum(math.log1p(math.exp(float(of_users[user] @ of_items[one]) - positive)) for one in others) / 3
            squares = [float(table[node].square().sum()) for node in (user, 30 + item)]
            far = sum(float(table[30 + one].square().sum()) for one in others) / 3
            wanted += 0.1 * (sum(squares) + far)
        else:
            cosines = [float(functional.cosine_similarity(of_users[user], of_items[one], dim=0)) for one in others]
            positive = float(functional.cosine_similarity(of_users[user], of_items[item], dim=0))
            wanted = math.log(sum(math.exp(2 * one) for one in [positive, *cosines])) - 2 * positive
        assert float(found[row]) == pytest.approx(wanted, abs=1e-5)


def test_uniform_negatives_are_exact_and_come_from_the_generator() -> None:
    model, pairs = prepared(BPRMF, num_negatives=50)
    drawn = model._draw(pairs.users, pairs.items, torch.Generator().manual_seed(0))
    assert not pairs.contains(pairs.users[:, None].expand_as(drawn), drawn).any()
    assert torch.equal(drawn, model._draw(pairs.users, pairs.items, torch.Generator().manual_seed(0)))
    user = pairs.users == 3
    free = set(range(20)) - set(pairs.items[user].tolist())
    assert set(drawn[user].flatten().tolist()) == free


@pytest.mark.parametrize("kind", [BPRMF, LightGCN])
@pytest.mark.parametrize("loss", ["bpr", "softmax"])
def test_it_learns(kind: type[SampledRecommender], loss: str, split: InteractionSplit) -> None:
    model = kind(**SMALL, loss=loss, num_negatives=4).fit(split.train, split.valid, progress=False)
    assert recall(model, split) > 0.4  # chance is 10 / 73


@pytest.mark.parametrize("encoder", ["id", "neighbor"])
@pytest.mark.parametrize("score", ["dot", "cosine"])
def test_directau_learns(encoder: str, score: str, split: InteractionSplit) -> None:
    model = DirectAU(**SMALL, encoder=encoder, score=score).fit(split.train, split.valid, progress=False)
    assert recall(model, split) > 0.4


def test_directau_is_the_formula() -> None:
    pairs = synthetic_interactions(users=30, items=20)
    model = DirectAU(dim=6, encoder="id", gamma=0.7, device="cpu")
    model.prepare(pairs, torch.Generator().manual_seed(0))
    users, items = pairs.users[:5], pairs.items[:5]
    found = model.loss(users, items, torch.Generator()).detach()
    table = functional.normalize(model.encoder.table.detach(), dim=-1)
    z_users, z_items = table[users], table[30 + items]

    def uniformity(rows: torch.Tensor) -> float:
        kernels = [
            math.exp(-2 * float((rows[a] - rows[b]).square().sum())) for a in range(5) for b in range(5) if a != b
        ]
        return math.log(sum(kernels) / len(kernels))

    wanted = (z_users - z_items).square().sum(-1) + 0.35 * (uniformity(z_users) + uniformity(z_items))
    torch.testing.assert_close(found, wanted)


def test_scores_are_those_of_the_loss() -> None:
    model, _ = prepared(LightGCN, loss="softmax")
    users, items = model.export_vectors()
    torch.testing.assert_close(users.norm(dim=-1), torch.ones(30))
    torch.testing.assert_close(items.norm(dim=-1), torch.ones(20))
    plain, _ = prepared(LightGCN, loss="bpr")
    assert not torch.allclose(plain.export_vectors()[1].norm(dim=-1), torch.ones(20))


@pytest.mark.parametrize("name", ["uniform", "popularity", "dynamic"])
def test_any_corruptor_can_feed_it(name: str, split: InteractionSplit) -> None:
    options = corruptor_options(split.train)
    counts = split.train.item_counts.float() + 1
    corruptor = {
        "uniform": lambda: UniformCorruptor(**options, seed=0),
        "popularity": lambda: PopularityCorruptor(counts, **options, seed=0),
        "dynamic": lambda: DynamicCorruptor(pool=8, **options, seed=0),
    }[name]()
    model = LightGCN(**SMALL, num_negatives=2).fit(split.train, split.valid, negatives=corruptor, progress=False)
    assert recall(model, split) > 0.4
    assert corruptor.counts["drawn"] > 0
    assert model.negatives is None  # a fitted model does not hold on to it


def test_a_corruptor_that_looks_sees_the_vectors_of_the_step(split: InteractionSplit) -> None:
    seen = []

    class Watching(DynamicCorruptor):
        def _hardest(self, scorer: Any, slots: Any, width: int, generator: torch.Generator) -> Any:
            seen.append(scorer(slots.groups, torch.zeros(len(slots.groups), 1, dtype=torch.int32))[0].clone())
            return super()._hardest(scorer, slots, width, generator)

    corruptor = Watching(pool=8, **corruptor_options(split.train), seed=0)
    LightGCN(**{**SMALL, "epochs": 2}).fit(split.train, negatives=corruptor, progress=False)
    assert len(seen) > 4
    assert not torch.equal(seen[0], seen[-1])


def test_harder_negatives_cost_more(split: InteractionSplit) -> None:
    options = corruptor_options(split.train)
    losses = {}
    for name, corruptor in {
        "easy": UniformCorruptor(**options, seed=0),
        "hard": DynamicCorruptor(pool=32, **options, seed=0),
    }.items():
        model = BPRMF(**SMALL, l2=0.0).fit(split.train, negatives=corruptor, progress=False)
        assert model.history is not None
        losses[name] = model.history.epochs[-1]["loss"]
    assert losses["hard"] > 1.5 * losses["easy"]


def test_log_q_makes_popularity_estimate_the_whole_sum() -> None:
    """With many draws the corrected sum is that over all items that the user does not have, whatever draws."""
    model, pairs = prepared(BPRMF, loss="softmax", num_negatives=4000, log_q=True, temperature=0.5)
    options = corruptor_options(pairs)
    weights = torch.arange(1, 21).float()
    users, items = pairs.users[:3], pairs.items[:3]
    found = []
    for corruptor in (UniformCorruptor(**options, seed=0), PopularityCorruptor(weights, **options, seed=0)):
        model._borrowed = {"negatives": corruptor}
        found.append(model.loss(users, items, torch.Generator().manual_seed(1)).detach())
    torch.testing.assert_close(found[0], found[1], atol=0.25, rtol=0)
    model.options["log_q"] = False
    plain = model.loss(users, items, torch.Generator().manual_seed(1)).detach()
    assert float((plain - found[1]).abs().max()) > 1


def test_a_corruptor_that_does_not_fit_is_refused(split: InteractionSplit) -> None:
    other = UniformCorruptor(num_entities=9, num_relations=4, sides=SidePolicy("tail"), seed=0)
    with pytest.raises(InvalidInputError, match=r"4 users \(relations\) and 9 items"):
        BPRMF(**SMALL).fit(split.train, negatives=other, progress=False)
    both = UniformCorruptor(**{**corruptor_options(split.train), "sides": None}, seed=0)
    with pytest.raises(InvalidInputError, match="the side policy is 'uniform'"):
        BPRMF(**SMALL).fit(split.train, negatives=both, progress=False)


def test_a_checkpoint_of_another_corruptor_is_refused(split: InteractionSplit, tmp_path: Path) -> None:
    options = corruptor_options(split.train)

    def train(corruptor: Corruptor, epochs: int) -> None:
        model = LightGCN(**{**SMALL, "epochs": epochs})
        model.fit(split.train, negatives=corruptor, checkpoint=tmp_path / "state", progress=False)

    train(DynamicCorruptor(pool=2, **options, seed=0), 1)
    train(DynamicCorruptor(pool=2, **options, seed=0), 2)
    others = [
        DynamicCorruptor(pool=9, **options, seed=0),
        DynamicCorruptor(pool=2, skip_top=1, **options, seed=0),
        UniformCorruptor(**options, seed=0),
    ]
    for other in others:
        with pytest.raises(InvalidInputError, match="belongs to another model, other settings"):
            train(other, 3)


@pytest.mark.parametrize("own", [True, False])
def test_a_user_with_all_items_has_no_negative(own: bool) -> None:
    pairs = Interactions(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]), num_users=2, num_items=2)
    corruptor = UniformCorruptor(**corruptor_options(pairs), seed=0) if own else None
    with pytest.raises(ExhaustedPoolError, match="1 users have all 2 items, for example 0"):
        BPRMF(**SMALL).fit(pairs, negatives=corruptor, progress=False)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (BPRMF, {"loss": "hinge"}, "loss must be one of bpr, softmax; got 'hinge'"),
        (BPRMF, {"layers": 2}, "BPRMF has no option 'layers'"),
        (LightGCN, {"num_negatives": 0}, "num_negatives must be at least 1"),
        (LightGCN, {"temperature": 0.0}, "temperature must be above 0"),
        (LightGCN, {"log_q": "False"}, "log_q must be true or false, got 'False'"),
        (LightGCN, {"drop": 1}, "drop must be below 1"),
        (LightGCN, {"layers": 0}, "layers must be at least 1"),
        (DirectAU, {"encoder": "id", "drop": 0.5}, "drop=0.5 would have no effect"),
        (BPRMF, {"dim": "8"}, "dim must be an integer, got '8'"),
        (LightGCN, {"l2": float("nan")}, "l2 must be a finite number"),
        (LightGCN, {"encoder": "id"}, "LightGCN has no option 'encoder'"),
        (DirectAU, {"gamma": -1.0}, "gamma must be at least 0"),
        (DirectAU, {"score": "l2"}, "score must be one of dot, cosine"),
    ],
)
def test_bad_options_are_refused(kind: type[Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        kind(**options)
