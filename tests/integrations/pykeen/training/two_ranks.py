"""What each of two processes does; a test starts them and looks at the files that they leave."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from pykeen.models import model_resolver
from pykeen.sampling import NegativeSampler
from pykeen.training.callbacks import TrainingCallback
from pykeen.triples import CoreTriplesFactory
from torch.optim import SGD, Adagrad, Adam

from kgneg.core.distributed import ensure_started, process_group, rank
from kgneg.core.errors import InvalidInputError
from kgneg.integrations.pykeen.training import KgnegTrainingLoop


class Successors(NegativeSampler):
    """Replaces tails by the entities that follow, without any chance."""

    def corrupt_batch(self, positive_batch: torch.Tensor) -> torch.Tensor:
        negatives = positive_batch.unsqueeze(-2).repeat(1, self.num_negs_per_pos, 1)
        negatives[..., 2] = (negatives[..., 2] + 1 + torch.arange(self.num_negs_per_pos)) % self.num_entities
        return negatives


class Recorder(TrainingCallback):
    """Keeps the batches that this process sees, and the parameters after each."""

    def __init__(self) -> None:
        super().__init__()
        self.positives: list[torch.Tensor] = []
        self.negatives: list[torch.Tensor] = []
        self.parameters: list[torch.Tensor] = []

    def post_batch(self, epoch: int, batch: Any, **kwargs: Any) -> None:
        self.positives.append(batch["positives"].clone())
        self.negatives.append(batch["negatives"].clone())
        self.parameters.append(torch.cat([parameter.detach().flatten() for parameter in self.model.parameters()]))


OPTIMIZERS = {"sgd": (SGD, 0.5), "adagrad": (Adagrad, 0.1), "adam": (Adam, 0.05)}


def train(
    triples: torch.Tensor,
    *,
    model: str = "distmult",
    loss: str = "softplus",
    optimizer: str = "adam",
    sampler: Any = "kgneg-uniform",
    seed: int | None = None,
    updates: str = "rows",
    epochs: int = 2,
    batch_size: int = 24,
    checkpoint: Path | None = None,
    triples_sampler: str | None = None,
    probe: bool = True,
    **training: Any,
) -> dict[str, Any]:
    """Train on triples of 60 entities and 4 relations."""
    factory = CoreTriplesFactory(triples, num_entities=60, num_relations=4)
    torch.manual_seed(0)
    made = model_resolver.make(model, triples_factory=factory, embedding_dim=6, loss=loss, random_seed=0)
    kind, rate = OPTIMIZERS[optimizer]
    loop = KgnegTrainingLoop(
        model=made,
        triples_factory=factory,
        optimizer=kind(made.get_grad_params(), lr=rate),
        negative_sampler=sampler,
        negative_sampler_kwargs={"num_negs_per_pos": 3, **({} if seed is None else {"seed": seed})},
        updates=updates,
        automatic_memory_optimization=probe,
    )
    recorder = Recorder()
    if checkpoint is not None:
        training |= {
            "checkpoint_directory": checkpoint.parent, "checkpoint_name": checkpoint.name, "checkpoint_frequency": 0,
        }  # fmt: skip
    losses = loop.train(
        factory, num_epochs=epochs, batch_size=batch_size, sampler=triples_sampler, callbacks=recorder, use_tqdm=False,
        pin_memory=False, **training,
    )  # fmt: skip
    return {
        "losses": losses,
        "positives": recorder.positives,
        "negatives": recorder.negatives,
        "parameters": recorder.parameters,
        "state": made.state_dict(),
    }


#: runs whose batches are parted
PARTED: dict[str, dict[str, Any]] = {
    "rows": {},
    "seeded": {"seed": 5},
    "not probed": {"probe": False},
    "dense": {"updates": "dense", "sampler": "basic", "model": "transe"},
    "grouped": {"model": "hole", "optimizer": "adagrad", "batch_size": 25},
    "short batches": {"batch_size": 38, "sub_batch_size": 7},  # the last has one triple, so one process has none
    "dropped": {"drop_last": True},
    "workers": {"sampler": "basic", "num_workers": 1},
}
#: Runs on all triples at once, without chance, which have to give what one process gives. They do not probe memory:
#: that draws numbers, other ones in each process.
WHOLE: dict[str, dict[str, Any]] = {
    f"{model}, {loss}, {optimizer}": {
        "model": model, "loss": loss, "optimizer": optimizer, "updates": updates, "sampler": Successors,
        "batch_size": 1000, "probe": False,
    }
    for model, loss, optimizer, updates in [
        ("distmult", "softplus", "sgd", "rows"),
        ("rotate", "nssa", "adagrad", "rows"),
        ("transe", "marginranking", "sgd", "dense"),
        ("hole", "bcewithlogits", "adam", "dense"),
    ]
}  # fmt: skip


def mrr(seed: int) -> float:
    """Return the MRR of a short training on UMLS."""
    from pykeen.pipeline import pipeline

    result = pipeline(
        dataset="umls", model="complex", loss="softplus", training_loop="kgneg", negative_sampler="kgneg-uniform",
        negative_sampler_kwargs={"num_negs_per_pos": 8}, optimizer="adam", optimizer_kwargs={"lr": 0.05},
        training_kwargs={"num_epochs": 10, "batch_size": 256, "use_tqdm": False},
        training_loop_kwargs={"updates": "rows"}, model_kwargs={"embedding_dim": 32}, random_seed=seed, device="cpu",
        evaluation_kwargs={"use_tqdm": False, "batch_size": 64},
    )  # fmt: skip
    return float(result.get_metric("mrr"))


def short_runs(folder: Path) -> None:
    """Do all short runs, on the triples in the folder, and leave there what was found."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    triples = torch.load(folder / "triples.pt")
    with process_group(timeout=60):
        found = {name: train(triples, **options) for name, options in {**PARTED, **WHOLE}.items()}
        path = folder / "half.pt"
        train(triples, checkpoint=path)
        found["resumed"] = train(triples, checkpoint=path, epochs=4)
        own = folder / f"half of {rank()}.pt"
        train(triples, checkpoint=own)
        try:  # only the first process has written one
            train(triples, checkpoint=own, epochs=4)
        except InvalidInputError as error:
            found["apart"] = {"error": str(error)}
        try:
            train(triples, triples_sampler="schlichtkrull")
        except (InvalidInputError, RuntimeError) as error:
            found["by subgraphs"] = {"error": f"{type(error).__name__}: {error}"}
        torch.save(found, folder / f"found{rank()}.pt")


def main(folder: Path, *seeds: str) -> None:
    """Do the short runs, or train on UMLS with some seeds, and leave in the folder what was found."""
    if not seeds:
        short_runs(folder)
        return
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    ensure_started(timeout=60)
    torch.save({seed: mrr(int(seed)) for seed in seeds}, folder / f"found{rank()}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
