from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn import functional

from kgneg.core.errors import InvalidInputError
from kgneg.recsys import BUIR, Interactions, InteractionSplit, evaluate
from kgneg.recsys.collapse import embedding_health
from kgneg.recsys.synthetic import synthetic_interactions


@pytest.fixture(scope="module")
def split() -> InteractionSplit:
    pairs = synthetic_interactions(users=150, items=80, groups=8, each=10, noise=0.05)
    return pairs.split("random", valid=0.1, test=0.2, seed=0)


def fit(split: InteractionSplit, **options: Any) -> BUIR:
    given = {"dim": 16, "epochs": 200, "lr": 2e-2, "batch_size": 256, "device": "cpu", **options}
    return BUIR(**given).fit(split.train, split.valid, progress=False)


def recall(model: Any, split: InteractionSplit) -> float:
    return evaluate(model, split.test, hide=[split.valid], ks=(10,), beyond=False).metrics["recall@10"]


def chance(split: InteractionSplit) -> float:
    """The recall of random lists of 10 of the items that are not hidden."""
    hidden = float((split.train.user_counts + split.valid.user_counts).float().mean())
    return 10 / (split.train.num_items - hidden)


def prepared(**options: Any) -> tuple[BUIR, Interactions]:
    pairs = synthetic_interactions(users=30, items=20)
    model = BUIR(**{"dim": 8, "device": "cpu", **options})
    model.prepare(pairs, torch.Generator().manual_seed(0))
    return model, pairs


@pytest.mark.parametrize("encoder", ["id", "neighbor"])
def test_loss_is_the_formula(encoder: str) -> None:
    model, pairs = prepared(encoder=encoder)
    with torch.no_grad():
        model.pair.target.table += 0.1
    users, items = pairs.users[:7], pairs.items[:7]
    found = model.loss(users, items, torch.Generator()).detach()
    online = model.pair.online.split(model.pair.online.outputs().detach())
    target = model.pair.target.split(model.pair.target.outputs())
    for row, (user, item) in enumerate(zip(users.tolist(), items.tolist(), strict=True)):
        q_user, q_item = (model.predictor(one).detach() for one in (online[0][user], online[1][item]))
        wanted = 4.0
        for ahead, goal in ((q_user, target[1][item]), (q_item, target[0][user])):
            wanted -= 2 * float(ahead @ goal / ahead.norm() / goal.norm())
        assert float(found[row]) == pytest.approx(wanted, abs=1e-5)


def test_loss_is_zero_when_predictions_are_right_and_four_for_random_directions() -> None:
    model, pairs = prepared(encoder="id", dim=512)
    assert float(model.loss(pairs.users, pairs.items, torch.Generator()).mean().detach()) == pytest.approx(4, abs=0.1)
    with torch.no_grad():
        model.predictor.weight.copy_(torch.eye(512))
        for encoder in (model.pair.online, model.pair.target):
            encoder.table.copy_(torch.ones(512))
    torch.testing.assert_close(model.loss(pairs.users, pairs.items, torch.Generator()), torch.zeros(len(pairs)))


def test_target_gets_no_gradient_and_the_rest_does() -> None:
    model, pairs = prepared()
    model.loss(pairs.users, pairs.items, torch.Generator()).mean().backward()
    assert model.pair.target.table.grad is None
    for parameter in (model.pair.online.table, model.predictor.weight, model.predictor.bias):
        assert parameter.grad is not None
        assert float(parameter.grad.abs().sum()) > 0


@pytest.mark.parametrize("answer", ["online", "target"])
def test_one_inner_product_of_exported_vectors_is_the_two_sided_score(answer: str) -> None:
    model, _ = prepared(answer=answer)
    with torch.no_grad():
        model.pair.target.table *= 0.5
    users, items = model.export_vectors()
    assert users.shape == (30, 16)
    encoder = model.pair.online if answer == "online" else model.pair.target
    of_users, of_items = (part.detach() for part in encoder.split(encoder.outputs()))
    q = model.predictor
    wanted = q(of_users) @ of_items.T + of_users @ q(of_items).T
    torch.testing.assert_close(users @ items.T, wanted.detach())
    torch.testing.assert_close(model.scores(torch.tensor([3, 1])), wanted.detach()[[3, 1]])
    torch.testing.assert_close(
        model.pair_scores(torch.tensor([2]), torch.tensor([[4, 0]])), wanted.detach()[[2]][:, [4, 0]]
    )


def test_momentum_is_scaled_by_the_batch() -> None:
    many = synthetic_interactions(users=700, items=100)
    assert len(many) > 2048
    for size, power in ((2048, 2.0), (512, 1.0)):  # smaller batches do not slow the target down
        model = BUIR(encoder="id", dim=8, momentum=0.9, batch_size=size, device="cpu")
        model.prepare(many, torch.Generator().manual_seed(0))
        start = model.pair.target.table.clone()
        with torch.no_grad():
            model.pair.online.table.zero_()
        model.after_step(0, 10)
        torch.testing.assert_close(model.pair.target.table.detach(), start * 0.9**power)


def test_a_batch_larger_than_the_data_counts_as_the_data() -> None:
    model, _ = prepared(encoder="id", momentum=0.9, batch_size=8192)
    start = model.pair.target.table.clone()
    with torch.no_grad():
        model.pair.online.table.zero_()
    model.after_step(0, 10)
    torch.testing.assert_close(model.pair.target.table.detach(), start * 0.9)


def test_answers_follow_the_parameters() -> None:
    model, _ = prepared()
    other, _ = prepared()
    with torch.no_grad():
        other.pair.target.table.mul_(-2).add_(0.1)
    users = torch.arange(5)
    before = model.scores(users)
    model.load_state_dict(other.state_dict())
    assert not torch.allclose(model.scores(users), before)
    torch.testing.assert_close(model.scores(users), other.scores(users))
    torch.testing.assert_close(model.double().scores(users), other.scores(users).double(), atol=1e-5, rtol=1e-4)


def test_folding_in_leaves_no_gradient() -> None:
    model, pairs = prepared(encoder="id")
    model.fold_in([[1, 2]], 3)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert len(pairs)


def test_decay_is_per_node() -> None:
    model, pairs = prepared(decay=0.5, weight_decay=0.25)
    assert model.weight_decay() == pytest.approx(0.25 + 0.5 / (pairs.num_users + pairs.num_items))


@pytest.mark.parametrize("encoder", ["id", "neighbor"])
def test_it_learns(split: InteractionSplit, encoder: str) -> None:
    model = fit(split, encoder=encoder)
    assert recall(model, split) > 3 * chance(split)
    assert model.history is not None
    assert model.history.best_value == max(one["value"] for one in model.history.epochs if "value" in one)


def test_dropping_the_predictor_breaks_the_ranking(split: InteractionSplit) -> None:
    """The bare vectors of users and items are nowhere near each other: only predictions are."""
    model = fit(split, encoder="id")
    of_users, of_items = model.export_vectors()
    dim = model.options["dim"]
    with_predictor = recall(model, split)
    model._vectors = of_users[:, dim:].contiguous(), of_items[:, :dim].contiguous()
    assert with_predictor > 3 * chance(split)
    assert recall(model, split) < with_predictor / 2


def test_collapse_without_stop_gradient_and_predictor_and_none_with_them(split: InteractionSplit) -> None:
    good = fit(split, encoder="neighbor")
    bad = fit(split, encoder="neighbor", predictor=False, stop_gradient=False, patience=0)
    assert good.history is not None
    assert bad.history is not None
    assert bad.history.epochs[-1]["loss"] < 0.05 < good.history.epochs[-1]["loss"]
    assert embedding_health(good.embeddings()[1], generator=torch.Generator()).spread > 0.5
    last = [one["health"] for one in bad.history.epochs if "health" in one][-1]
    assert last["collapsed"]
    assert not [one["health"] for one in good.history.epochs if "health" in one][-1]["collapsed"]


def test_a_frozen_target_does_not_learn_and_momentum_zero_does(split: InteractionSplit) -> None:
    frozen = recall(fit(split, encoder="id", momentum=1.0, answer="online"), split)
    copied = recall(fit(split, encoder="id", momentum=0.0), split)
    assert copied > 3 * chance(split)
    assert frozen < copied / 2


def test_cosine_schedule_and_dropped_edges_train(split: InteractionSplit) -> None:
    model = fit(split, momentum_schedule="cosine", drop=0.3, epochs=30)
    assert recall(model, split) > 2 * chance(split)


@pytest.mark.parametrize("encoder", ["id", "neighbor"])
def test_folding_in_a_known_history_comes_near_training(split: InteractionSplit, encoder: str) -> None:
    model = fit(split, encoder=encoder)
    trained = model.recommend(None, 10).items
    folded = model.fold_in(split.train, 10).items
    common = torch.tensor([len(set(a) & set(b)) for a, b in zip(trained.tolist(), folded.tolist(), strict=True)])
    assert float(common.float().mean()) > 4  # of 10; chance is below 1


def test_bias_of_the_paper_points_all_predictions_one_way() -> None:
    spread = {}
    for bias in ("zero", "normal"):
        model, _ = prepared(encoder="id", bias=bias, dim=64)
        predicted = functional.normalize(model.predictor(model.pair.online.table), dim=-1)
        spread[bias] = float((predicted @ predicted.T).mean().detach())
    assert spread["normal"] > 0.9
    assert spread["zero"] < 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"momentum": 1.5}, "momentum must be between 0 and 1"),
        ({"momentum": math.nan}, "momentum must be between 0 and 1"),
        ({"momentum_schedule": "linear"}, "momentum_schedule must be one of constant, cosine"),
        ({"bias": "ones"}, "bias must be one of zero, normal, uniform; got 'ones'"),
        ({"answer": "both"}, "answer must be one of target, online"),
        ({"decay": -1.0}, "decay must be at least 0"),
        ({"predictor": "False"}, "predictor must be true or false, got 'False'"),
        ({"encoder": "id", "drop": 0.2}, "drop=0.2 would have no effect"),
        ({"encoder": "gat"}, "encoder must be one of id, neighbor"),
        ({"nonsense": 1}, "BUIR has no option 'nonsense'; it has encoder, dim"),
        ({"lr": 0.0}, "lr must be above 0"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        BUIR(**options)


def test_a_model_that_is_not_fitted_says_so() -> None:
    with pytest.raises(InvalidInputError, match=r"BUIR is not fitted yet: call fit\(train\) first"):
        BUIR().recommend([0], 1)
