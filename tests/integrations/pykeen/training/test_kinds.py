"""Models and ways to pick triples that are not the usual ones: inductive, with literals, by subgraphs."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from pykeen.datasets import Nations
from pykeen.datasets.nations import NationsLiteral
from pykeen.models import ERModel
from pykeen.nn import Embedding
from pykeen.training.callbacks import TrainingCallback
from pykeen.triples import CoreTriplesFactory

from kgneg.core.errors import InvalidInputError
from kgneg.integrations.pykeen.training import KgnegTrainingLoop

SMALL = {"embedding_dim": 6}


# Inductive


@pytest.fixture(scope="module")
def split(nations: Nations) -> tuple[CoreTriplesFactory, CoreTriplesFactory]:
    """Nine nations to train on, and five others to infer."""

    def among(first: int, last: int) -> CoreTriplesFactory:
        triples = nations.training.mapped_triples
        ends = triples[:, [0, 2]]
        chosen = triples[((first <= ends) & (ends < last)).all(dim=-1)] - torch.tensor([first, 0, first])
        return CoreTriplesFactory(chosen, num_entities=last - first, num_relations=55, create_inverse_triples=True)

    return among(0, 9), among(9, 14)


INTERACTIONS: dict[str, dict[str, Any]] = {
    "distmult": {},
    "transe": {"interaction": "transe", "interaction_kwargs": {"p": 2}},
    "mlp": {"interaction": "distmult", "aggregation": "mlp"},
}


@pytest.mark.parametrize("name", INTERACTIONS)
@pytest.mark.parametrize("updates", ["auto", "rows", "dense"])
@pytest.mark.parametrize("sampler", ["basic", "kgneg-uniform"])
def test_inductive(
    trainer: Any, split: tuple[CoreTriplesFactory, CoreTriplesFactory], name: str, updates: str, sampler: str
) -> None:
    training, inference = split
    options: dict[str, Any] = {
        "model": "inductivenodepiece", "sampler": sampler, "batch_size": 128, "epochs": 3, "optimizer": "adagrad",
        "model_kwargs": {**SMALL, "inference_factory": inference, "num_tokens": 3, **INTERACTIONS[name]},
    }  # fmt: skip
    theirs = trainer.theirs(training, loop_kwargs={"mode": "training"}, **options)
    ours = trainer.ours(training, loop_kwargs={"mode": "training"}, updates=updates, **options)
    trainer.same(theirs, ours, 1e-4)
    assert ours.losses[-1] < ours.losses[0]
    some = inference.mapped_triples[:20]
    scores = [run.model.eval().score_hrt(some, mode="validation") for run in (theirs, ours)]
    torch.testing.assert_close(*scores, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("mode", ["validation", None])
def test_inductive_mode_is_handed_over(
    trainer: Any, split: tuple[CoreTriplesFactory, CoreTriplesFactory], mode: str | None
) -> None:
    """In another mode there are other entities; without any, the model says so."""
    training, inference = split
    options: dict[str, Any] = {
        "model": "inductivenodepiece", "loop_kwargs": {"mode": mode}, "batch_size": 64, "epochs": 1,
        "model_kwargs": {**SMALL, "inference_factory": inference},
    }  # fmt: skip
    if mode is None:
        for loop in (trainer.theirs, trainer.ours):
            with pytest.raises(ValueError, match="transductive"):
                loop(training, **options)
        return
    trainer.compare(inference, **options)


def test_models_of_the_inductive_mode_are_attached(split: tuple[CoreTriplesFactory, CoreTriplesFactory]) -> None:
    """A sampler that asks the model asks it in the mode of the loop."""
    from pykeen.models import InductiveNodePiece

    training, inference = split
    model = InductiveNodePiece(triples_factory=training, inference_factory=inference, **SMALL, random_seed=0)
    loop = KgnegTrainingLoop(
        model=model, triples_factory=training, optimizer="sgd", mode="training", negative_sampler="dynamic",
        negative_sampler_kwargs={"num_negs_per_pos": 2},
    )  # fmt: skip
    losses = loop.train(training, num_epochs=2, batch_size=128, use_tqdm=False, pin_memory=False)
    assert losses is not None
    assert all(loss == loss for loss in losses)


# Literals


@pytest.fixture(scope="module")
def literals() -> NationsLiteral:
    return NationsLiteral()


@pytest.mark.parametrize("model", ["distmultliteral", "complexliteral"])
@pytest.mark.parametrize("optimizer", ["sgd", "adagrad"])
@pytest.mark.parametrize("updates", ["auto", "rows", "dense"])
def test_literals(trainer: Any, literals: NationsLiteral, model: str, optimizer: str, updates: str) -> None:
    options: dict[str, Any] = {
        "model_kwargs": SMALL, "optimizer": optimizer, "batch_size": 256, "sampler": "kgneg-uniform",
        "optimizer_kwargs": {"lr": 0.05}, "epochs": 3,
    }  # fmt: skip
    before, after = trainer.compare(literals.training, model, updates=updates, **options)
    table = literals.training.get_numeric_literals_tensor()
    for run in (before, after):
        frozen = [parameter for parameter in run.model.parameters() if not parameter.requires_grad]
        assert len(frozen) == 1, "literals are not trained"
        torch.testing.assert_close(frozen[0].detach().view(table.shape), table)


@pytest.mark.parametrize("updates", ["rows", "dense"])
def test_dropout_of_literals(trainer: Any, literals: NationsLiteral, updates: str) -> None:
    options = {"model_kwargs": {**SMALL, "input_dropout": 0.5}, "batch_size": 256}
    trainer.compare(literals.training, "distmultliteral", updates=updates, **options)


# Models that are scored triple by triple

PLAIN: dict[str, Any] = {
    "interaction": "distmult",
    "entity_representations": Embedding,
    "entity_representations_kwargs": {"shape": 6},
    "relation_representations": Embedding,
    "relation_representations_kwargs": {"shape": 6},
}


@pytest.mark.parametrize(
    ("model", "kwargs", "reason"),
    [
        ("conve", {"embedding_dim": 8, "embedding_height": 2, "embedding_width": 4}, "batch normalisation"),
        (ERModel, {**PLAIN, "entity_representations_kwargs": {"shape": 6, "dropout": 0.5}}, "dropout"),
        ("distmultliteral", SMALL, "computed and not looked up"),
    ],
    ids=["conve", "dropout", "literals"],
)
def test_why_negatives_are_scored_one_by_one(
    trainer: Any, literals: NationsLiteral, model: Any, kwargs: dict[str, Any], reason: str
) -> None:
    options: dict[str, Any] = {"model": model, "model_kwargs": kwargs, "batch_size": 400, "epochs": 1}
    trainer.ours(literals.training, loop_kwargs={"scoring": "flat"}, **options)
    with pytest.raises(InvalidInputError, match=f"scoring='grouped' is not possible for .*{reason}"):
        trainer.ours(literals.training, loop_kwargs={"scoring": "grouped"}, **options)


# Subgraphs


class Seen(TrainingCallback):
    """Keeps the positives of every batch."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[torch.Tensor] = []

    def post_batch(self, epoch: int, batch: Any, **kwargs: Any) -> None:
        self.batches.append(batch["positives"].clone())


def is_connected(triples: torch.Tensor) -> bool:
    groups = {node: {node} for node in triples[:, [0, 2]].view(-1).tolist()}
    for head, _, tail in triples.tolist():
        if groups[head] is not groups[tail]:
            groups[head] |= groups[tail]
            groups.update(dict.fromkeys(groups[tail], groups[head]))
    return len({id(group) for group in groups.values()}) == 1


@pytest.mark.parametrize("model", ["distmult", "complex", "rgcn"])
@pytest.mark.parametrize("sampler", ["basic", "kgneg-bernoulli"])
@pytest.mark.parametrize("updates", ["rows", "dense"])
def test_subgraphs(trainer: Any, kinships: Any, model: str, sampler: str, updates: str) -> None:
    """The batches are those of PyKEEN, connected subgraphs, and so are losses and parameters."""
    triples = kinships.training.mapped_triples[::8]
    factory = CoreTriplesFactory(triples, num_entities=104, num_relations=25)
    seen = Seen(), Seen()
    options: dict[str, Any] = {
        "model": model, "model_kwargs": {**SMALL, **({"num_layers": 1} if model == "rgcn" else {})},
        "sampler": sampler, "triples_sampler": "schlichtkrull", "batch_size": 60, "epochs": 1,
        "sampler_kwargs": {"num_negs_per_pos": 2},
    }  # fmt: skip
    theirs = trainer.theirs(factory, callbacks=seen[0], **options)
    ours = trainer.ours(factory, callbacks=seen[1], updates=updates, **options)
    trainer.same(theirs, ours, 1e-4)
    known = set(map(tuple, triples.tolist()))
    assert len(seen[0].batches) == len(seen[1].batches) == -(-len(triples) // 60)
    for one, other in zip(seen[0].batches, seen[1].batches, strict=True):
        assert torch.equal(one, other)
        assert max(Counter(map(tuple, one.tolist())).values()) == 1
        assert set(map(tuple, one.tolist())) <= known
        assert is_connected(one)


def test_subgraphs_do_not_share(trainer: Any, nations: Nations) -> None:
    with pytest.raises(InvalidInputError, match="shared=4 does not go with sampler='schlichtkrull'"):
        trainer.ours(nations.training, triples_sampler="schlichtkrull", loop_kwargs={"shared": 4}, model_kwargs=SMALL)


def test_unknown_triples_samplers_are_refused(trainer: Any, nations: Nations) -> None:
    with pytest.raises(ValueError, match="Invalid sampler='rings'"):
        trainer.ours(nations.training, triples_sampler="rings", model_kwargs=SMALL)


def test_subgraphs_with_a_sampler_that_asks_the_model(trainer: Any, nations: Nations) -> None:
    run = trainer.ours(
        nations.training, "distmult", model_kwargs=SMALL, triples_sampler="schlichtkrull", sampler="dynamic",
        sampler_kwargs={"num_negs_per_pos": 2}, batch_size=200, epochs=1,
    )  # fmt: skip
    assert all(loss == loss for loss in run.losses)
