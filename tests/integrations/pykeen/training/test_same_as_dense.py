"""The same losses and parameters as PyKEEN's own loop."""

from __future__ import annotations

from typing import Any

import pykeen.training.callbacks
import pytest
import torch
from pykeen.datasets import Kinships, Nations
from pykeen.triples import CoreTriplesFactory

FOUR = ["transe", "distmult", "complex", "rotate"]
SMALL = {"embedding_dim": 6}
SGD: dict[str, Any] = {"optimizer": "sgd", "optimizer_kwargs": {"lr": 1.0}}
ADAGRAD: dict[str, Any] = {"optimizer": "adagrad", "optimizer_kwargs": {"lr": 0.1}}
REGULARIZERS = {
    "lp": {"regularizer": "lp", "regularizer_kwargs": {"weight": 0.3, "p": 3.0, "normalize": True}},
    "powersum": {"regularizer": "powersum", "regularizer_kwargs": {"weight": 0.3, "p": 3.0, "normalize": True}},
    "normlimit": {"regularizer": "normlimit", "regularizer_kwargs": {"weight": 0.1, "max_norm": 0.1}},
    "normlimit p1": {"regularizer": "normlimit", "regularizer_kwargs": {"weight": 0.1, "p": 1.0, "power_norm": False}},
    "once": {"regularizer": "lp", "regularizer_kwargs": {"weight": 0.3, "apply_only_once": True}},
}


# Dense updates: the losses of PyKEEN


def assert_same_losses(theirs: list[float], ours: list[float], epochs: int = 3) -> None:
    assert len(theirs) == len(ours) == epochs
    assert min(theirs) < 0.999 * max(theirs), "they change, so a loop that does not train is seen"
    assert ours == pytest.approx(theirs, rel=1e-4)


@pytest.mark.parametrize("sampler", ["basic", "bernoulli", "pseudotyped", "kgneg-uniform", "kgneg-bernoulli"])
@pytest.mark.parametrize("model", FOUR)
def test_dense_losses_on_nations(trainer: Any, nations: Nations, model: str, sampler: str) -> None:
    first = {"model": model, "model_kwargs": SMALL, "sampler": sampler, "optimizer": "adam", "epochs": 3}
    theirs = trainer.theirs(nations.training, batch_size=256, **first)
    assert_same_losses(theirs.losses, trainer.ours(nations.training, updates="dense", batch_size=256, **first).losses)


@pytest.mark.parametrize("loss", ["nssa", "marginranking", "bcewithlogits"])
@pytest.mark.parametrize("model", FOUR)
def test_dense_losses_for_each_model_and_loss(trainer: Any, nations: Nations, model: str, loss: str) -> None:
    options = {
        "model": model, "model_kwargs": {**SMALL, "loss": loss}, "sampler": "basic", "optimizer": "adam",
        "optimizer_kwargs": {"lr": 0.02}, "epochs": 3, "batch_size": 256, "sampler_kwargs": {"num_negs_per_pos": 4},
    }  # fmt: skip
    theirs = trainer.theirs(nations.training, **options)
    assert_same_losses(theirs.losses, trainer.ours(nations.training, updates="dense", **options).losses)


@pytest.mark.parametrize("loss", ["softplus", "infonce", "crossentropy"])
@pytest.mark.parametrize("sampler", ["basic", "kgneg-bernoulli"])
def test_dense_losses_for_other_losses(trainer: Any, kinships: Kinships, loss: str, sampler: str) -> None:
    options = {
        "model": "distmult", "model_kwargs": {**SMALL, "loss": loss}, "sampler": sampler, "optimizer": "adam",
        "epochs": 3, "batch_size": 2048,
    }  # fmt: skip
    theirs = trainer.theirs(kinships.training, **options)
    assert_same_losses(theirs.losses, trainer.ours(kinships.training, updates="dense", **options).losses)


# Updates by rows: the parameters of PyKEEN


@pytest.mark.parametrize("optimizer", [SGD, ADAGRAD], ids=["sgd", "adagrad"])
@pytest.mark.parametrize("model", [*FOUR, "hole", "simple", "mure", "transf", "tucker", "pairre", "um"])
def test_parameters(trainer: Any, thin: CoreTriplesFactory, model: str, optimizer: dict[str, Any]) -> None:
    kwargs: dict[str, Any] = {"embedding_dim": 6, "random_seed": 0}
    if model == "transe":
        kwargs["scoring_fct_norm"] = 2  # sums of signs cancel or not, by rounding, which Adagrad turns into full steps
    if model == "tucker":
        kwargs["dropout_0"] = kwargs["dropout_1"] = kwargs["dropout_2"] = 0.0
    trainer.compare(thin, model, model_kwargs=kwargs, **optimizer, tolerance=2e-5)


def test_signs(trainer: Any, thin: CoreTriplesFactory) -> None:
    for kwargs in ({"scoring_fct_norm": 1}, {"scoring_fct_norm": 2, "power_norm": True}):
        trainer.compare(thin, "transe", model_kwargs={**SMALL, **kwargs}, **SGD)


@pytest.mark.parametrize("model", FOUR)
def test_constraints_hold(trainer: Any, thin: CoreTriplesFactory, model: str) -> None:
    run = trainer.ours(thin, model, model_kwargs=SMALL, optimizer="adam")
    entities = run.model.entity_representations[0]()
    relations = run.model.relation_representations[0]()
    if model in ("transe", "distmult"):
        torch.testing.assert_close(entities.norm(dim=-1), torch.ones(len(entities)))
    if model == "rotate":
        torch.testing.assert_close(relations.abs(), torch.ones(relations.shape))


@pytest.mark.parametrize("optimizer", [SGD, ADAGRAD], ids=["sgd", "adagrad"])
@pytest.mark.parametrize(
    ("model", "constrainer"),
    [("transe", "normalize"), ("distmult", "clamp_norm"), ("complex", "normalize"), ("rotate", "clamp_norm")],
)
@pytest.mark.parametrize("name", REGULARIZERS)
def test_constrained_and_regularized(
    trainer: Any, thin: CoreTriplesFactory, model: str, name: str, constrainer: str, optimizer: dict[str, Any]
) -> None:
    """In double precision: signs of numbers near zero would turn rounding into steps."""
    from pykeen.models import ERModel
    from pykeen.nn import Embedding
    from pykeen.nn.init import init_phases

    dtype = torch.cdouble if model in ("complex", "rotate") else torch.double
    options: dict[str, Any] = {"shape": 6, "dtype": dtype, "constrainer": constrainer, **REGULARIZERS[name]}
    if constrainer == "clamp_norm":
        options["constrainer_kwargs"] = {"maxnorm": 0.8, "p": 2, "dim": -1}
    relations: dict[str, Any] = {"shape": 6, "dtype": dtype}
    if model == "rotate":
        relations |= {"initializer": init_phases, "constrainer": "complex_normalize"}
    kwargs = {
        "interaction": model,
        "interaction_kwargs": {"p": 2} if model == "transe" else {},
        "entity_representations": Embedding,
        "entity_representations_kwargs": options,
        "relation_representations": Embedding,
        "relation_representations_kwargs": relations,
    }
    trainer.compare(thin, ERModel, model_kwargs=kwargs, sampler="bernoulli", epochs=1, **optimizer, tolerance=1e-6)


@pytest.mark.parametrize("model", ["distmult", "complex", "mure"])
@pytest.mark.parametrize("name", REGULARIZERS)
def test_regularizers(trainer: Any, thin: CoreTriplesFactory, model: str, name: str) -> None:
    kwargs: dict[str, Any] = {**SMALL}
    if model == "mure":
        from pykeen.models import ERModel
        from pykeen.nn import Embedding

        model = ERModel
        options = {"shape": 6, **REGULARIZERS[name]}
        kwargs = {
            "interaction": "mure",
            "interaction_kwargs": {"p": 2, "power_norm": True},
            "entity_representations": [Embedding] * 3,
            "entity_representations_kwargs": [options, {"shape": ()}, {"shape": ()}],
            "relation_representations": [Embedding] * 2,
            "relation_representations_kwargs": [options, {"shape": 6}],
        }
    else:
        kwargs.update(REGULARIZERS[name])
    trainer.compare(thin, model, model_kwargs=kwargs, sampler="bernoulli", epochs=1, tolerance=1e-4)
    masked = {"filtered": True, "filterer": "python-set"}
    trainer.compare(thin, model, model_kwargs=kwargs, sampler_kwargs=masked, sub_batch_size=3, epochs=1, tolerance=1e-4)


@pytest.mark.filterwarnings("ignore:The epoch parameter in")
@pytest.mark.parametrize("model", ["complex", "hole"])
@pytest.mark.parametrize(
    "options",
    [
        {"sampler_kwargs": {"filtered": True}},
        {"sampler_kwargs": {"filtered": True, "num_negs_per_pos": 1}},
        {"sampler": "bernoulli", "sampler_kwargs": {"filtered": True, "filterer": "python-set"}},
        {"sampler": "kgneg-uniform", "sampler_kwargs": {"filterer": "python-set"}},
        {"sampler_kwargs": {"corruption_scheme": ("head", "relation", "tail")}},
        {"sampler_kwargs": {"corruption_scheme": ("tail",)}},
        {"sampler_kwargs": {"corruption_scheme": ("tail", "head")}},
        {"sampler": "kgneg-uniform", "sampler_kwargs": {"num_negs_per_pos": 5}},
        {"sampler": "kgneg-uniform", "sampler_kwargs": {"num_negs_per_pos": 5, "sides": "single"}},
        {"sampler": "kgneg-bernoulli", "sampler_kwargs": {"num_negs_per_pos": 1}},
        {"sub_batch_size": 4},
        {"sub_batch_size": 3},
        {"sub_batch_size": 1},
        {"label_smoothing": 0.1, "model_kwargs": {**SMALL, "loss": "bcewithlogits"}},
        {"scheduler": "exponential", "scheduler_kwargs": {"gamma": 0.5}, "epochs": 3},
        {"drop_last": True},
        {"batch_size": 10_000},
        {
            "loop_kwargs": {"loss_weighter": "relation", "loss_weighter_kwargs": {"weights": torch.arange(1.0, 5.0)}},
            "model_kwargs": {**SMALL, "loss": "softplus"},
        },
        {"model_kwargs": {**SMALL, "loss": "nssa"}},
        {"sampler_kwargs": {"num_negs_per_pos": 150}},
    ],
    ids=str,
)
def test_options(trainer: Any, thin: CoreTriplesFactory, model: str, options: dict[str, Any]) -> None:
    kwargs = {"model_kwargs": SMALL, **SGD, **options}
    trainer.compare(thin, model, **{"epochs": 1, **kwargs})


@pytest.mark.parametrize("model", ["complex", "hole"])
@pytest.mark.parametrize(
    ("kind", "arguments", "options"),
    [
        ("Norm", {"max_norm": 0.05}, {"gradient_clipping_max_norm": 0.05}),
        (
            "Norm",
            {"max_norm": 0.05, "norm_type": 1.0},
            {"gradient_clipping_max_norm": 0.05, "gradient_clipping_norm_type": 1.0},
        ),
        ("Abs", {"clip_value": 0.01}, {"gradient_clipping_max_abs_value": 0.01}),
    ],
    ids=["euclidean", "sum", "value"],
)
@pytest.mark.parametrize("way", ["argument", "callback"])
def test_clipping(
    trainer: Any,
    thin: CoreTriplesFactory,
    model: str,
    kind: str,
    arguments: dict[str, Any],
    options: dict[str, Any],
    way: str,
) -> None:
    """PyKEEN 1.11 raises when given the arguments, so its callbacks are the reference."""
    callback = getattr(pykeen.training.callbacks, f"Gradient{kind}ClippingTrainingCallback")
    same = {"model_kwargs": SMALL, "epochs": 1, **SGD}
    theirs = trainer.theirs(thin, model, callbacks=callback(**arguments), **same)
    unclipped = trainer.theirs(thin, model, **same)
    assert unclipped.losses != pytest.approx(theirs.losses, rel=1e-3)
    more = options if way == "argument" else {"callbacks": callback(**arguments)}
    trainer.same(theirs, trainer.ours(thin, model, **same, **more))


def test_inverse_triples(trainer: Any, thin: CoreTriplesFactory) -> None:
    factory = CoreTriplesFactory(thin.mapped_triples, num_entities=60, num_relations=4, create_inverse_triples=True)
    for model in ("distmult", "transe", "simple"):
        trainer.compare(factory, model, model_kwargs=SMALL, epochs=1, **SGD)


@pytest.mark.parametrize("optimizer", ["adamax", "rmsprop", "adadelta", "nadam"])
def test_optimisers_without_variant(trainer: Any, thin: CoreTriplesFactory, optimizer: str) -> None:
    trainer.compare(
        thin, "complex", model_kwargs=SMALL, optimizer=optimizer, optimizer_kwargs={"lr": 0.01}, updates="auto",
        tolerance=2e-4,
    )  # fmt: skip


@pytest.mark.parametrize(
    "options", [{"optimizer": "adam"}, {"optimizer": "sgd", "optimizer_kwargs": {"lr": 0.1, "momentum": 0.9}}], ids=str
)
@pytest.mark.parametrize("model", ["complex", "hole"])
def test_small_embeddings_get_dense_updates_unless_asked(
    trainer: Any, thin: CoreTriplesFactory, model: str, options: dict[str, Any]
) -> None:
    """As the documentation has it: below 4,096 rows, ``auto`` is what the optimiser of torch does."""
    options = {"optimizer_kwargs": {"lr": 0.05}, **options}
    trainer.compare(thin, model, model_kwargs=SMALL, **options, updates="auto", tolerance=1e-3)


@pytest.mark.parametrize("scoring", ["queries", "grouped", "flat"])
def test_ways_of_scoring_with_dense_updates(trainer: Any, thin: CoreTriplesFactory, scoring: str) -> None:
    theirs = trainer.theirs(thin, "complex", model_kwargs=SMALL, **SGD)
    for updates in ("dense", "rows"):
        ours = trainer.ours(
            thin, "complex", model_kwargs=SMALL, **SGD, updates=updates, loop_kwargs={"scoring": scoring}
        )
        trainer.same(theirs, ours)


def test_more_negatives_than_entities_after_fewer(trainer: Any, nations: Nations) -> None:
    for negatives in (2, 64):
        options = {"sampler_kwargs": {"num_negs_per_pos": negatives}, "batch_size": 512, "epochs": 1}
        trainer.compare(nations.training, "distmult", model_kwargs=SMALL, **SGD, **options)
