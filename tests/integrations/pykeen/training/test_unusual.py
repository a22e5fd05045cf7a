"""Embeddings, constraints, samplers and runs that are not the usual ones."""

from __future__ import annotations

import logging
import pickle
from typing import Any

import pytest
import torch
from pykeen.datasets import Nations
from pykeen.models import DistMult, model_resolver
from pykeen.training.callbacks import TrainingCallback
from pykeen.triples import CoreTriplesFactory
from torch import nn
from torch.nn.utils import parametrize
from torch.optim import SGD

from kgneg.core.errors import InvalidInputError
from kgneg.integrations.pykeen.training import KgnegTrainingLoop, choice

SMALL = {"embedding_dim": 6}
ADAGRAD: dict[str, Any] = {"optimizer": "adagrad", "optimizer_kwargs": {"lr": 0.1}}


@pytest.mark.parametrize("sides", [("alternate",), ("head", "uniform"), ("tail", "uniform")])
def test_both_ends_are_checked_whatever_a_batch_has(
    trainer: Any, thin: CoreTriplesFactory, sides: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By head, RotatE has the gradients of PyKEEN; by tail it has others, so it must be scored one by one."""
    monkeypatch.setattr(choice, "_known", {})
    for name in sides:
        trainer.compare(
            thin, "rotate", model_kwargs=SMALL, sampler="kgneg-uniform", sampler_kwargs={"sides": name}, **ADAGRAD
        )


def test_a_rotation_without_its_constraint_has_no_queries(trainer: Any, thin: CoreTriplesFactory) -> None:
    trainer.compare(
        thin, "rotate", model_kwargs={**SMALL, "relation_constrainer": None, "relation_initializer": "xavier_uniform"},
        sampler="kgneg-uniform", **ADAGRAD,
    )  # fmt: skip


class _Halved(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / 2


class _Special(DistMult):
    """DistMult whose embedding layer does more than look up rows."""

    def __init__(self, *, layer: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        entities: Any = self.entity_representations[0]
        before = entities._embeddings
        if layer:
            entities._embeddings = nn.Embedding(before.num_embeddings, before.embedding_dim, **layer)
            with torch.no_grad():
                entities._embeddings.weight.copy_(before.weight)
        else:
            parametrize.register_parametrization(before, "weight", _Halved())


@pytest.mark.parametrize(
    "layer", [{}, {"max_norm": 0.3}, {"padding_idx": 0}, {"scale_grad_by_freq": True}], ids=lambda layer: str([*layer])
)
def test_special_embeddings_are_left_to_torch(trainer: Any, thin: CoreTriplesFactory, layer: dict[str, Any]) -> None:
    options = {"model_kwargs": {**SMALL, "layer": layer, "entity_constrainer": None}, **ADAGRAD}
    start = _Special(layer=layer, triples_factory=thin, random_seed=0, entity_constrainer=None, **SMALL)
    _, ours = trainer.compare(thin, _Special, **options)
    moved = [
        not torch.equal(first, second)
        for first, second in zip(start.parameters(), ours.model.parameters(), strict=True)
    ]
    assert all(moved)


def _centred(x: torch.Tensor) -> torch.Tensor:
    return x - x.mean(0, keepdim=True)


def test_a_constraint_over_all_rows_sees_all_rows(trainer: Any, thin: CoreTriplesFactory) -> None:
    options = {"model_kwargs": {**SMALL, "entity_constrainer": _centred, "scoring_fct_norm": 2}, **ADAGRAD}
    trainer.compare(thin, "transe", **options)


@pytest.mark.parametrize("ends", [("head", "relation", "tail"), ("relation",)])
def test_samplers_that_replace_relations(
    trainer: Any, thin: CoreTriplesFactory, ends: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    choice._reported.clear()
    options = {"model_kwargs": SMALL, "sampler_kwargs": {"corruption_scheme": ends}}
    with caplog.at_level(logging.INFO, "kgneg"):
        trainer.compare(thin, "distmult", **options)
    assert "its sampler does not replace one end of each positive" in caplog.text
    with pytest.raises(InvalidInputError, match="does not replace one end"):
        trainer.ours(thin, "distmult", loop_kwargs={"scoring": "queries"}, **options)


class _Negatives(TrainingCallback):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []

    def post_batch(self, epoch: int, batch: Any, **kwargs: Any) -> None:
        self.seen.append(batch["negatives"].clone())


def _loop(factory: CoreTriplesFactory, sampler: str, **options: Any) -> KgnegTrainingLoop:
    torch.manual_seed(0)
    model = model_resolver.make("distmult", triples_factory=factory, random_seed=0, **SMALL)
    return KgnegTrainingLoop(
        model=model, triples_factory=factory, optimizer=SGD(model.get_grad_params(), lr=0.1), negative_sampler=sampler,
        negative_sampler_kwargs={"num_negs_per_pos": 4, **options}, updates="rows", automatic_memory_optimization=False,
    )  # fmt: skip


def _train(loop: KgnegTrainingLoop, factory: CoreTriplesFactory, epochs: int, **options: Any) -> list[float]:
    losses = loop.train(factory, num_epochs=epochs, batch_size=256, use_tqdm=False, pin_memory=False, **options)
    assert losses is not None
    return losses


@pytest.mark.parametrize("sampler", ["basic", "kgneg-uniform", "nscaching"])
def test_going_on_is_like_not_having_stopped(nations: Nations, sampler: str) -> None:
    whole, parts = (_loop(nations.training, sampler) for _ in range(2))
    torch.manual_seed(7)
    expected = _train(whole, nations.training, 4)
    torch.manual_seed(7)
    _train(parts, nations.training, 2)
    assert _train(parts, nations.training, 4, continue_training=True) == pytest.approx(expected)


def test_what_is_not_continued_begins_anew(nations: Nations) -> None:
    loop, seen = _loop(nations.training, "kgneg-uniform"), []
    for last in (1, 2):  # PyKEEN counts on
        torch.manual_seed(1)
        recorder = _Negatives()
        _train(loop, nations.training, last, callbacks=recorder)
        seen.append(torch.cat(recorder.seen))
    assert torch.equal(*seen)


def test_a_checkpoint_knows_no_triples(nations: Nations, tmp_path: Any) -> None:
    """A run that goes on with more triples excludes these as well."""
    few = CoreTriplesFactory(nations.training.mapped_triples[:500], num_entities=14, num_relations=55)
    options = {"checkpoint_directory": tmp_path, "checkpoint_name": "half.pt", "checkpoint_frequency": 0}
    _train(_loop(few, "kgneg-uniform"), few, 1, **options)
    recorder = _Negatives()
    _train(_loop(nations.training, "kgneg-uniform"), nations.training, 2, callbacks=recorder, **options)
    known = set(map(tuple, nations.training.mapped_triples.tolist()))
    negatives = torch.cat(recorder.seen).view(-1, 3).tolist()
    assert len(negatives) > 4 * 1500
    assert not known.intersection(map(tuple, negatives))
    with pytest.raises(InvalidInputError, match="had the sampler KgnegUniformNegativeSampler, and has NSCaching"):
        _train(_loop(nations.training, "nscaching"), nations.training, 3, **options)


def test_a_trained_loop_can_be_pickled(nations: Nations) -> None:
    loop = _loop(nations.training, "kgneg-uniform")
    _train(loop, nations.training, 1)
    again = pickle.loads(pickle.dumps(loop))  # noqa: S301
    torch.testing.assert_close(again.model.state_dict(), loop.model.state_dict())


def test_the_check_of_gradients_copies_no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    triples = torch.stack([torch.arange(99), torch.zeros(99, dtype=torch.int64), torch.arange(1, 100)], dim=-1)
    factory = CoreTriplesFactory(triples, num_entities=5000, num_relations=1)
    results, sizes = choice._results, []

    def watched(*args: Any) -> list[torch.Tensor | None]:
        found = results(*args)
        sizes.extend(part.numel() for part in found if part is not None)
        return found

    monkeypatch.setattr(choice, "_known", {})
    monkeypatch.setattr(choice, "_results", watched)
    _train(_loop(factory, "basic"), factory, 1)
    assert 0 < max(sizes) < 1000
