"""A sparse graph, and one way to train with either loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from class_resolver.contrib.torch import lr_scheduler_resolver, optimizer_resolver
from pykeen.datasets import Kinships
from pykeen.models import Model, model_resolver
from pykeen.training import SLCWATrainingLoop, TrainingLoop
from pykeen.triples import CoreTriplesFactory

from kgneg.integrations.pykeen.training import KgnegTrainingLoop


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def kinships() -> Kinships:
    return Kinships()


@pytest.fixture(scope="session")
def thin() -> CoreTriplesFactory:
    """So few triples per entity that a batch leaves most entities alone."""
    generator = torch.Generator().manual_seed(3)
    columns = [torch.randint(size, (120,), generator=generator) for size in (60, 4, 60)]
    triples = torch.stack(columns, dim=-1).unique(dim=0)
    triples = triples[triples[:, 0] != triples[:, 2]]
    return CoreTriplesFactory(triples, num_entities=60, num_relations=4)


@dataclass
class Run:
    """What a training left behind."""

    losses: list[float]
    model: Model
    loop: TrainingLoop


def train(
    loop: type[TrainingLoop],
    factory: CoreTriplesFactory,
    model: Any = "distmult",
    *,
    model_kwargs: Mapping[str, Any] | None = None,
    optimizer: str = "sgd",
    optimizer_kwargs: Mapping[str, Any] | None = None,
    scheduler: str | None = None,
    scheduler_kwargs: Mapping[str, Any] | None = None,
    sampler: Any = "basic",
    sampler_kwargs: Mapping[str, Any] | None = None,
    triples_sampler: str | None = None,
    loop_kwargs: Mapping[str, Any] | None = None,
    epochs: int = 2,
    seed: int = 0,
    **training: Any,
) -> Run:
    torch.manual_seed(seed)
    instance = model_resolver.make(model, {"random_seed": seed, **(model_kwargs or {})}, triples_factory=factory)
    made = optimizer_resolver.make(optimizer, optimizer_kwargs or {"lr": 0.1}, params=instance.get_grad_params())
    schedule = None
    if scheduler is not None:
        schedule = lr_scheduler_resolver.make(scheduler, scheduler_kwargs, optimizer=made)
    trainer = loop(
        model=instance,
        triples_factory=factory,
        optimizer=made,
        lr_scheduler=schedule,
        negative_sampler=sampler,
        negative_sampler_kwargs={"num_negs_per_pos": 3, **(sampler_kwargs or {})},
        # PyKEEN's search for a batch that fits overwrites sub_batch_size
        **({"automatic_memory_optimization": False} if "sub_batch_size" in training else {}),
        **(loop_kwargs or {}),
    )
    options = {"batch_size": 8, "use_tqdm": False, "pin_memory": False, "sampler": triples_sampler, **training}
    losses = trainer.train(triples_factory=factory, num_epochs=epochs, **options)
    assert losses is not None
    return Run(losses, instance, trainer)


def assert_same(first: Run, second: Run, tolerance: float = 1e-5) -> None:
    """Losses and parameters are those of another run."""
    assert second.losses == pytest.approx(first.losses, rel=tolerance, abs=tolerance)
    theirs = dict(second.model.named_parameters())
    for name, parameter in first.model.named_parameters():
        torch.testing.assert_close(
            parameter, theirs[name], rtol=tolerance, atol=tolerance, msg=f"{{}} of {name}".format
        )


class Trainer:
    """Trains with PyKEEN's loop and with ours."""

    Run = Run

    @staticmethod
    def theirs(*args: Any, **kwargs: Any) -> Run:
        return train(SLCWATrainingLoop, *args, **kwargs)

    @staticmethod
    def ours(*args: Any, updates: str = "rows", **kwargs: Any) -> Run:
        options = {"updates": updates, **kwargs.pop("loop_kwargs", {})}
        return train(KgnegTrainingLoop, *args, loop_kwargs=options, **kwargs)

    same = staticmethod(assert_same)

    def compare(self, *args: Any, tolerance: float = 1e-5, updates: str = "rows", **kwargs: Any) -> tuple[Run, Run]:
        """Train with both, and expect the same."""
        first = self.theirs(*args, **kwargs)
        second = self.ours(*args, updates=updates, **kwargs)
        assert_same(first, second, tolerance)
        return first, second


@pytest.fixture(scope="session")
def trainer() -> Trainer:
    return Trainer()
