"""Chunks of positives that share their negatives."""

from __future__ import annotations

from statistics import mean, stdev
from typing import Any

import pytest
import torch
from pykeen.datasets import Nations
from pykeen.sampling import NegativeSampler, negative_sampler_resolver
from pykeen.training import SLCWATrainingLoop
from pykeen.training.callbacks import TrainingCallback
from pykeen.triples import CoreTriplesFactory

from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import HEAD, TAIL
from kgneg.integrations.pykeen.training import choice
from kgneg.integrations.pykeen.training.batch import TrainingBatch
from kgneg.integrations.pykeen.training.sharing import draw_shared_batch

SMALL = {"embedding_dim": 6}
SGD: dict[str, Any] = {"optimizer": "sgd", "optimizer_kwargs": {"lr": 0.5}}


def make(factory: CoreTriplesFactory, name: str, **options: Any) -> NegativeSampler:
    return negative_sampler_resolver.make(
        name,
        mapped_triples=factory._add_inverse_triples_if_necessary(mapped_triples=factory.mapped_triples),
        num_entities=factory.num_entities,
        num_relations=factory.num_relations,
        **options,
    )


@pytest.mark.parametrize("number", [1, 2, 5, 12])
@pytest.mark.parametrize("chunk", [1, 4, 23, 50])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("kgneg-uniform", {}),
        ("kgneg-uniform", {"filtered": False}),
        ("kgneg-uniform", {"sides": "single"}),
        ("kgneg-uniform", {"sides": "head"}),
        ("kgneg-uniform", {"sides": "tail"}),
        ("mixture", {}),
        ("basic", {}),
    ],
    ids=str,
)
@pytest.mark.parametrize("inverse", [False, True])
def test_by_brute_force(
    nations: Nations, name: str, options: dict[str, Any], chunk: int, number: int, inverse: bool
) -> None:
    factory = CoreTriplesFactory(
        nations.training.mapped_triples, num_entities=14, num_relations=55, create_inverse_triples=inverse
    )
    torch.manual_seed(chunk)
    sampler = make(factory, name, num_negs_per_pos=number, **options)
    triples = factory._add_inverse_triples_if_necessary(mapped_triples=factory.mapped_triples)
    known = set(map(tuple, triples.tolist())) if name != "basic" and options.get("filtered", True) else set()
    positives = triples[torch.randperm(len(triples))[:23]]
    batch = draw_shared_batch(sampler, positives, chunk)
    negatives = batch["negatives"]
    mask = batch.get("masks", torch.ones(23, number, dtype=torch.bool))
    assert negatives.shape == (23, number, 3)
    assert mask.shape == (23, number)
    assert batch.sided is not None
    chunks = -(-23 // chunk)
    assert batch.sided.shared is not None
    at_head = batch.sided.shared.head_rows
    allowed = {"head": [chunks], "tail": [0]}.get(options.get("sides", ""), [chunks // 2, (chunks + 1) // 2])
    assert at_head in [min(23, chunk * number_of_chunks) for number_of_chunks in allowed]
    for row, positive in enumerate(positives.tolist()):
        first = row // chunk * chunk
        for place in range(number):
            column = HEAD if row < at_head else TAIL
            entity = int(negatives[first, place, column])  # of the first in the chunk
            expected = list(positive)
            expected[column] = entity
            assert negatives[row, place].tolist() == expected
            wrong = expected == positive or tuple(expected) in known
            assert bool(mask[row, place]) == (not wrong), (positive, expected)
    if name != "basic":  # an entity of a pool is drawn for one of its chunk
        for place in range(number):
            for first in range(0, 23, chunk):
                assert bool(mask[first + place % min(chunk, 23 - first), place])


def test_pools_differ(nations: Nations) -> None:
    torch.manual_seed(0)
    for name in ("kgneg-uniform", "basic"):
        batch = draw_shared_batch(
            make(nations.training, name, num_negs_per_pos=12), nations.training.mapped_triples[:40], 4
        )
        assert batch.sided is not None
        assert batch.sided.shared is not None
        assert len(batch.sided.shared.pools.unique(dim=0)) == 10
        again = draw_shared_batch(
            make(nations.training, name, num_negs_per_pos=12, **({} if name == "basic" else {"seed": 1})),
            nations.training.mapped_triples[:40],
            4,
        )
        assert not torch.equal(batch["negatives"], again["negatives"])


@pytest.mark.filterwarnings("ignore:The epoch parameter in")
@pytest.mark.parametrize("model", ["transe", "distmult", "complex", "rotate", "hole"])
@pytest.mark.parametrize("chunk", [4, 5, 100])
def test_scores_are_those_of_the_triples(trainer: Any, thin: CoreTriplesFactory, model: str, chunk: int) -> None:
    """Scored as a matrix product, or one by one: the same losses and parameters, also when chunks are cut."""
    options: dict[str, Any] = {
        "model_kwargs": {**SMALL, "loss": "nssa"}, "sampler": "kgneg-uniform", "batch_size": 16,
        "sampler_kwargs": {"num_negs_per_pos": 7}, **SGD,
    }  # fmt: skip
    if model == "rotate":
        options["optimizer_kwargs"] = {"lr": 0.05}  # its gradients differ along the modulus, which grows with the step
    for more in ({}, {"sub_batch_size": 6}, {"sub_batch_size": 8}):
        flat = trainer.ours(thin, model, loop_kwargs={"shared": chunk, "scoring": "flat"}, **options, **more)
        quick = trainer.ours(thin, model, loop_kwargs={"shared": chunk}, **options, **more)
        trainer.same(flat, quick, 1e-4)


class _Reference(TrainingCallback):
    """Has PyKEEN's loop compute the loss of every batch; the model must stay as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[tuple[float, float]] = []
        self.shares: list[float] = []

    def on_batch(self, epoch: int, batch: Any, batch_loss: float, **kwargs: Any) -> None:
        plain = {name: value.clone() for name, value in batch.items()}
        with torch.no_grad():
            expected = SLCWATrainingLoop._process_batch_static(self.model, self.loss, None, plain, None, None)
        self.losses.append((batch_loss, float(expected)))
        self.shares.append(float(plain["masks"].float().mean()))


@pytest.mark.parametrize("loss", ["nssa", "marginranking", "bcewithlogits", "softplus", "infonce", "crossentropy"])
@pytest.mark.parametrize("sampler", ["basic", "kgneg-uniform"])
def test_losses_are_those_of_masked_negatives(trainer: Any, nations: Nations, loss: str, sampler: str) -> None:
    """On a dense graph many candidates are masked; what is left is treated as PyKEEN treats masks."""
    reference = _Reference()
    trainer.ours(
        nations.training, "transe", model_kwargs={**SMALL, "loss": loss}, sampler=sampler, batch_size=200, epochs=1,
        sampler_kwargs={"num_negs_per_pos": 10}, optimizer_kwargs={"lr": 0.0}, loop_kwargs={"shared": 7},
        callbacks=reference,
    )  # fmt: skip
    assert len(reference.losses) == 8
    for found, expected in reference.losses:
        assert found == pytest.approx(expected, rel=1e-5)
    assert max(reference.shares) < (0.8 if sampler == "kgneg-uniform" else 0.99)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loop_kwargs": {"shared": 0}}, "shared must be"),
        ({"loop_kwargs": {"shared": 4}, "sampler": "bernoulli"}, "shared negatives need"),
        ({"loop_kwargs": {"shared": 4}, "sampler": "kgneg-bernoulli"}, "sides of .* are 'bernoulli'"),
        ({"loop_kwargs": {"shared": 4}, "sampler_kwargs": {"filtered": True}}, "shared negatives need"),
        ({"loop_kwargs": {"shared": 4}, "sampler_kwargs": {"corruption_scheme": ("tail",)}}, "shared negatives need"),
        (
            {"loop_kwargs": {"shared": 4}, "sampler": "kgneg-uniform", "sampler_kwargs": {"filterer": "python-set"}},
            "shared negatives need",
        ),
    ],
    ids=str,
)
def test_refused(trainer: Any, thin: CoreTriplesFactory, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        trainer.ours(thin, "distmult", model_kwargs=SMALL, epochs=1, **options)


def head_rows(batch: TrainingBatch) -> int:
    assert batch.sided is not None
    assert batch.sided.shared is not None
    return batch.sided.shared.head_rows


def test_an_odd_chunk_falls_on_either_side(nations: Nations) -> None:
    for name, options in (("kgneg-uniform", {}), ("kgneg-uniform", {"sides": "single"}), ("basic", {})):
        torch.manual_seed(0)
        sampler = make(nations.training, name, num_negs_per_pos=3, **options)
        found = [head_rows(draw_shared_batch(sampler, nations.training.mapped_triples[:12], 4)) for _ in range(40)]
        assert set(found) == {4, 8}
        assert 8 < found.count(4) < 32


def test_sides_in_turn(nations: Nations) -> None:
    sampler = make(nations.training, "kgneg-uniform", num_negs_per_pos=4, sides="alternate")
    found = [head_rows(draw_shared_batch(sampler, nations.training.mapped_triples[:10], 5)) for _ in range(4)]
    assert found in ([0, 10, 0, 10], [10, 0, 10, 0])


def test_chunks_that_are_cut_are_reported(
    trainer: Any, thin: CoreTriplesFactory, caplog: pytest.LogCaptureFixture
) -> None:
    choice._reported.clear()
    options: dict[str, Any] = {"model_kwargs": SMALL, "loop_kwargs": {"shared": 4}, "epochs": 1, "batch_size": 16}
    with caplog.at_level("INFO", "kgneg"):
        trainer.ours(thin, "distmult", sub_batch_size=8, **options)
        assert "sub-batches cut" not in caplog.text
        trainer.ours(thin, "distmult", sub_batch_size=6, **options)
    assert "take a multiple of shared=4 as sub_batch_size" in caplog.text


@pytest.mark.slow
def test_as_good_as_negatives_of_their_own() -> None:
    from pykeen.pipeline import pipeline

    found: dict[int | None, list[float]] = {None: [], 16: []}
    for shared, values in found.items():
        for seed in range(4):
            result = pipeline(
                dataset="umls", model="complex", loss="softplus", optimizer="adam", optimizer_kwargs={"lr": 0.05},
                negative_sampler="kgneg-uniform", negative_sampler_kwargs={"num_negs_per_pos": 32},
                training_kwargs={"num_epochs": 10, "batch_size": 256, "use_tqdm": False},
                training_loop="kgneg", training_loop_kwargs={"shared": shared}, model_kwargs={"embedding_dim": 32},
                random_seed=seed, device="cpu", evaluation_kwargs={"use_tqdm": False, "batch_size": 64},
            )  # fmt: skip
            values.append(float(result.get_metric("mrr")))
    own, shared_ones = found.values()
    print(f"own {mean(own):.4f} +- {stdev(own):.4f}, shared {mean(shared_ones):.4f} +- {stdev(shared_ones):.4f}")  # noqa: T201
    assert mean(own) > 0.6
    assert mean(shared_ones) > mean(own) - 3 * max(stdev(own), stdev(shared_ones), 0.005)
