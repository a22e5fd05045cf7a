"""Training with PyKEEN: every way to name a sampler, every loss, and the same results for the same seed."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any

import pytest
import torch
from pykeen.datasets import UMLS, Nations
from pykeen.losses import loss_resolver
from pykeen.models import TransE
from pykeen.pipeline import PipelineResult, pipeline
from pykeen.training import LCWATrainingLoop, SLCWATrainingLoop

from kgneg.integrations.pykeen import (
    SAMPLERS,
    KgnegNegativeSampler,
    LemonNegativeSampler,
    ModelAwareNegativeSampler,
    TypedNegativeSampler,
)

Make = Callable[..., KgnegNegativeSampler]

every_sampler = pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.display_name)
LEXICAL = {"encoder": "lexical"}


def run(dataset: Any, **kwargs: Any) -> PipelineResult:
    """Train a small model for one or two epochs and do not evaluate it at length."""
    settings: dict[str, Any] = {
        "model": "TransE",
        "model_kwargs": {"embedding_dim": 8},
        "training_kwargs": {"num_epochs": 2, "batch_size": 512, "use_tqdm": False},
        "evaluation_kwargs": {"batch_size": 512, "use_tqdm": False},
        "random_seed": 7,
        "device": "cpu",
    }
    return pipeline(dataset=dataset, **(settings | kwargs))


def loop_of(sampler: type[KgnegNegativeSampler]) -> str:
    """PyKEEN's own loop, unless the sampler looks at the model."""
    return "kgneg" if issubclass(sampler, ModelAwareNegativeSampler) else "slcwa"


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[type]:
    """Record the class of the sampler for every batch that is drawn."""
    seen: list[type] = []
    for name in ("corrupt_batch", "draw"):
        original = getattr(KgnegNegativeSampler, name)

        def record(self: KgnegNegativeSampler, *args: Any, _original: Any = original, **kwargs: Any) -> Any:
            seen.append(type(self))
            return _original(self, *args, **kwargs)

        monkeypatch.setattr(KgnegNegativeSampler, name, record)
    return seen


@every_sampler
@pytest.mark.parametrize("inverse", [False, True], ids=["plain", "inverse"])
def test_same_seed_same_losses(
    sampler: type[KgnegNegativeSampler],
    inverse: bool,
    kwargs_of: Callable[..., dict[str, Any]],
    batches: list[type],
) -> None:
    dataset = Nations(create_inverse_triples=inverse)
    own = {
        "training_loop": loop_of(sampler),
        "negative_sampler": sampler.display_name,
        "negative_sampler_kwargs": {"num_negs_per_pos": 3, **kwargs_of(sampler, dataset.training)},
    }
    first = run(dataset, **own)
    assert set(batches) == {sampler}
    assert len(first.losses) == 2
    assert all(isfinite(loss) and loss > 0 for loss in first.losses)
    if not inverse:
        again = run(dataset, **own)
        assert again.losses == first.losses
        assert again.get_metric("mrr") == first.get_metric("mrr")
        assert run(dataset, **own, random_seed=8).losses != first.losses


def test_class_instance_and_name_are_the_same_sampler(nations: Nations, batches: list[type], make: Make) -> None:
    by_class = run(nations, negative_sampler=TypedNegativeSampler, negative_sampler_kwargs={"seed": 4}).losses
    by_name = run(nations, negative_sampler="typed", negative_sampler_kwargs={"seed": 4}).losses
    assert set(batches) == {TypedNegativeSampler}
    assert by_class == by_name
    instance = make(TypedNegativeSampler, nations.training, num_negs_per_pos=5, seed=4)
    loop = {"negative_sampler": instance, "automatic_memory_optimization": False}
    run(nations, training_loop_kwargs=loop)
    assert instance.report()["drawn"] == 2 * 5 * nations.training.num_triples


@pytest.mark.parametrize("triples_sampler", [None, "schlichtkrull"])
def test_training_loop(nations: Nations, batches: list[type], triples_sampler: str | None) -> None:
    model = TransE(triples_factory=nations.training, embedding_dim=8, random_seed=0)
    loop = SLCWATrainingLoop(
        model=model,
        triples_factory=nations.training,
        optimizer=torch.optim.Adam(model.parameters()),
        negative_sampler="lemon",
        negative_sampler_kwargs={"num_negs_per_pos": 3, **LEXICAL},
        automatic_memory_optimization=False,
    )
    losses = loop.train(
        nations.training, num_epochs=2, batch_size=128, sampler=triples_sampler, use_tqdm=False, num_workers=0
    )
    assert losses is not None
    assert len(losses) == 2
    assert set(batches) == {LemonNegativeSampler}


def losses_for_slcwa() -> list[str]:
    return sorted(loss_resolver.lookup_dict)


@pytest.mark.parametrize("loss", losses_for_slcwa())
def test_every_loss(nations: Nations, batches: list[type], loss: str) -> None:
    result = run(
        nations,
        loss=loss,
        training_kwargs={"num_epochs": 1, "batch_size": 512, "use_tqdm": False},
        training_loop_kwargs={"automatic_memory_optimization": False},
        negative_sampler="lemon",
        negative_sampler_kwargs={"num_negs_per_pos": 3, **LEXICAL},
    )
    assert set(batches) == {LemonNegativeSampler}
    assert all(isfinite(value) for value in result.losses)


def test_losses_accept_the_mask_of_a_filterer(nations: Nations) -> None:
    own = {"num_negs_per_pos": 4, "filtered": False, "filterer": "exact", "seed": 1}
    masked = run(nations, loss="nssa", negative_sampler="typed", negative_sampler_kwargs=own).losses
    plain = run(nations, loss="nssa", negative_sampler="typed", negative_sampler_kwargs=own | {"filterer": None}).losses
    assert all(isfinite(value) for value in masked)
    assert masked != plain


def test_evaluation_loss_builds_a_sampler_for_validation(nations: Nations, batches: list[type]) -> None:
    result = run(
        nations,
        training_kwargs={
            "num_epochs": 1,
            "batch_size": 512,
            "use_tqdm": False,
            "callbacks": "evaluation-loss",
            "callbacks_kwargs": {"triples_factory": nations.validation},
        },
        negative_sampler="lemon",
        negative_sampler_kwargs=LEXICAL,
    )
    assert len(result.losses) == 1
    assert set(batches) == {LemonNegativeSampler}


def test_a_result_can_be_saved(umls: UMLS, tmp_path: Any) -> None:
    result = run(umls, negative_sampler="lemon", negative_sampler_kwargs=LEXICAL)
    result.save_to_directory(tmp_path)
    assert (tmp_path / "results.json").is_file()


def test_lcwa_takes_no_sampler(nations: Nations) -> None:
    with pytest.raises(ValueError, match="negative sampler"):
        run(nations, training_loop=LCWATrainingLoop, negative_sampler="lemon")
