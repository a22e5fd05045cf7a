"""Weights of negatives, in the losses of both training loops."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
from pykeen.datasets import UMLS, Nations
from pykeen.losses import NoSampleWeightSupportError
from pykeen.pipeline import pipeline
from pykeen.triples.weights import LossWeighter, loss_weighter_resolver

from kgneg.core.errors import InvalidInputError
from kgneg.integrations.pykeen import ConfidenceWeighter, TypedNegativeSampler, control
from kgneg.integrations.pykeen.confidence import make_weighter
from kgneg.integrations.pykeen.setup import Setup

SETTINGS: dict[str, Any] = {
    "model": "distmult",
    "model_kwargs": {"embedding_dim": 8},
    "loss": "softplus",
    "negative_sampler": "kgneg-uniform",
    "negative_sampler_kwargs": {"num_negs_per_pos": 4, "seed": 0},
    "training_kwargs": {"num_epochs": 2, "batch_size": 256, "use_tqdm": False},
    "evaluation_kwargs": {"batch_size": 512, "use_tqdm": False},
    "random_seed": 7,
    "device": "cpu",
}
both_loops = pytest.mark.parametrize("loop", ["slcwa", "kgneg"])


def losses(dataset: Any, loop: str, weighter: Any = None, arguments: Any = None, **kwargs: Any) -> list[float]:
    own = {"loss_weighter": weighter, "loss_weighter_kwargs": arguments}
    if loop == "kgneg":
        own["updates"] = "dense"
    result = pipeline(dataset=dataset, training_loop=loop, training_loop_kwargs=own, **(SETTINGS | kwargs))
    found: list[float] = result.losses
    return found


class KnownOnly(LossWeighter):
    """Takes no notice of negatives."""

    def __init__(self, table: torch.Tensor) -> None:
        self.table = table

    def __call__(self, h: Any, r: Any, t: Any) -> torch.Tensor:
        return self.table[h, r, t].float()


@pytest.fixture
def weighter(umls: UMLS) -> ConfidenceWeighter:
    return ConfidenceWeighter.from_factory(umls.training)


# Weights


def test_weights_are_what_the_prior_leaves(umls: UMLS, weighter: ConfidenceWeighter) -> None:
    prior = control.truth_prior(Setup(umls.training.mapped_triples, 135, 46))
    triples = umls.training.mapped_triples
    assert (weighter.weight_triples(triples) == 1).all()
    other = umls.testing.mapped_triples.view(1, -1, 3)
    torch.testing.assert_close(weighter.weight_triples(other), 1 - prior.of_triples(other), atol=1e-6, rtol=1e-5)
    sampler = TypedNegativeSampler(mapped_triples=triples, num_negs_per_pos=4, seed=0)
    typed = weighter.weight_triples(sampler.corrupt_batch(triples))
    assert typed.shape == (len(triples), 4)
    assert float(weighter.weight_triples(other).mean()) < float(typed.mean()) < 1


@pytest.mark.parametrize("strength", [0.0, 0.5, 1, 20.0])
@pytest.mark.parametrize("floor", [0, 0.9, 1.0])
def test_strength_and_floor(umls: UMLS, strength: float, floor: float) -> None:
    weighter = ConfidenceWeighter.from_factory(umls.training, strength=strength, floor=floor)
    p = control.truth_prior(Setup(umls.training.mapped_triples, 135, 46)).of_triples(umls.testing.mapped_triples)
    odds = strength * p / (1 - p)
    expected = (1 / (1 + odds)).clamp(min=floor)
    torch.testing.assert_close(weighter.weight_triples(umls.testing.mapped_triples), expected, atol=1e-5, rtol=1e-4)
    assert (weighter.weight_triples(umls.training.mapped_triples) == 1).all()


def test_heads_relations_and_tails(umls: UMLS, weighter: ConfidenceWeighter) -> None:
    h, r, t = umls.testing.mapped_triples[:6].unbind(-1)
    assert torch.equal(weighter(h, r, t), weighter.weight_triples(umls.testing.mapped_triples[:6]))
    grid = weighter(h[:, None], r[:, None], None)
    assert grid.shape == (6, 135)
    assert torch.equal(grid[torch.arange(6), t], weighter(h, r, t))
    assert weighter(h[:, None], None, t[:, None]).shape == (6, 46)
    assert torch.equal(weighter(None, r[:1], t[:1])[h[0]], weighter(h[0], r[0], t[0]))
    twin = pickle.loads(pickle.dumps(weighter))  # noqa: S301
    assert torch.equal(twin(h, r, t), weighter(h, r, t))


def test_inverse_triples_are_known_too() -> None:
    factory = Nations(create_inverse_triples=True).training
    weighter = ConfidenceWeighter.from_factory(factory)
    assert (weighter.weight_triples(factory._add_inverse_triples_if_necessary(factory.mapped_triples)) == 1).all()


# Names


@pytest.mark.parametrize("name", ["confidence", "Confidence", "ConfidenceWeighter"])
def test_names(name: str, nations: Nations) -> None:
    assert loss_weighter_resolver.lookup(name) is ConfidenceWeighter
    triples = nations.training.mapped_triples
    made = make_weighter(name, {"floor": 0.5}, triples, 14, 55)
    assert isinstance(made, ConfidenceWeighter)
    assert made.floor == 0.5


def test_other_weighters_are_made_as_ever(nations: Nations) -> None:
    triples = nations.training.mapped_triples
    assert make_weighter(None, None, triples, 14, 55) is None
    instance = KnownOnly(torch.ones(1))
    assert make_weighter(instance, None, triples, 14, 55) is instance
    made = make_weighter("relation", {"weights": torch.ones(55)}, triples, 14, 55)
    assert type(made).__name__ == "RelationLossWeighter"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strength": -1}, "strength must be"),
        ({"strength": float("inf")}, "strength must be"),
        ({"strength": True}, "strength must be"),
        ({"floor": 1.5}, "floor must be between 0 and 1"),
    ],
)
def test_refusals(nations: Nations, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        ConfidenceWeighter.from_factory(nations.training, **options)
    with pytest.raises(TypeError, match="colour"):
        ConfidenceWeighter.from_factory(nations.training, colour="red")


def test_a_name_alone_is_not_enough_in_other_loops(nations: Nations) -> None:
    with pytest.raises(InvalidInputError, match=r"from_factory\(training\), or take training_loop"):
        losses(nations, "slcwa", "confidence")


# Training


@both_loops
def test_weights_reach_the_loss(nations: Nations, loop: str) -> None:
    training = nations.training
    plain = losses(nations, loop)
    ones = losses(nations, loop, ConfidenceWeighter.from_factory(training, strength=0))
    assert ones == pytest.approx(plain, rel=1e-5)
    weighed = losses(nations, loop, ConfidenceWeighter.from_factory(training))
    strong = losses(nations, loop, ConfidenceWeighter.from_factory(training, strength=50.0))
    table = torch.zeros(14, 55, 14)
    table[tuple(training.mapped_triples.unbind(-1))] = 1
    none = losses(nations, loop, KnownOnly(table))
    for found in (weighed, strong, none):
        assert found != pytest.approx(plain, rel=1e-4)
    changes = [abs(found[0] - plain[0]) for found in (weighed, strong)]
    assert changes[1] > 2 * changes[0]


@pytest.mark.parametrize("arguments", [None, {"strength": 3.0, "floor": 0.2}], ids=str)
def test_both_loops_agree(nations: Nations, arguments: dict[str, float] | None) -> None:
    instance = ConfidenceWeighter.from_factory(nations.training, **(arguments or {}))
    theirs = losses(nations, "slcwa", instance)
    assert losses(nations, "kgneg", instance) == pytest.approx(theirs, rel=1e-4)
    assert losses(nations, "kgneg", "confidence", arguments) == pytest.approx(theirs, rel=1e-4)
    assert losses(nations, "kgneg", ConfidenceWeighter, arguments) == pytest.approx(theirs, rel=1e-4)


def test_the_name_with_inverse_triples_subgraphs_and_lcwa() -> None:
    dataset = Nations(create_inverse_triples=True)
    assert len(losses(dataset, "kgneg", "confidence")) == 2
    subgraphs = {**SETTINGS["training_kwargs"], "sampler": "schlichtkrull"}
    plain = Nations()
    assert len(losses(plain, "kgneg", "confidence", training_kwargs=subgraphs)) == 2
    everything = {"num_epochs": 1, "batch_size": 256, "use_tqdm": False}
    own: dict[str, Any] = {"loss_weighter": ConfidenceWeighter.from_factory(plain.training)}
    settings = {name: value for name, value in SETTINGS.items() if not name.startswith("negative_sampler")}
    found = [
        pipeline(dataset=plain, training_loop="lcwa", training_loop_kwargs=chosen,
                 **(settings | {"training_kwargs": everything, "loss": "bcewithlogits"})).losses
        for chosen in (own, {})
    ]  # fmt: skip
    assert found[0] != found[1]


@both_loops
@pytest.mark.parametrize("loss", ["nssa", "infonce"])
def test_losses_without_weights(nations: Nations, loop: str, loss: str) -> None:
    with pytest.raises(NoSampleWeightSupportError):
        losses(nations, loop, ConfidenceWeighter.from_factory(nations.training), loss=loss)
