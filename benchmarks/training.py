"""Speed, memory and ranking of kgneg's training loop beside PyKEEN's own, on CoDEx-S, FB15k-237 and WN18RR.

A round times some batches of each loop in turn, in a process of its own; a ratio is the median over rounds of the ratio
within a round, its spread is given by the quartiles. One CPU thread. Seconds of an epoch are the median of a batch
times the number of batches. Ranking is measured after equal epochs, with several seeds.

What is measured goes into a file at once; a command that was stopped goes on where it was. Tables and plot are made
from that file (benchmarks/training_page.py). Those of docs/benchmarks.md are made from docs/results/training.json:

    python benchmarks/training.py --results docs/results/training.json --out docs/benchmarks.md

The datasets are looked for in PyKEEN's folder (PYSTOW_HOME), or in a folder `pystow` below KGNEG_DATA, which is copied.
When they are not there, the command says so and ends.

    python benchmarks/training.py [--part speed --part growth --part ranking] [--again] [--out docs/benchmarks.md]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from datetime import date
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))

from training_page import tables, write_page

from samplers import find_data

PARTS = ("speed", "ranking", "growth")
DATASETS = ("codexsmall", "fb15k237", "wn18rr")
MODELS = ("transe", "distmult", "complex", "rotate")
SHAPES = ((256, 1), (1024, 32))
GRAPHS = ((10**4, 10**6), (10**5, 10**6), (10**6, 10**6), (10**5, 10**5), (10**5, 10**7))
#: what the models learn with in twenty epochs
LOSSES = {"transe": "nssa", "distmult": "infonce", "complex": "infonce", "rotate": "nssa"}
#: with its own start, of large numbers, ComplEx learns nothing in twenty epochs
STARTS = {"complex": {"entity_initializer": "xavier_uniform", "relation_initializer": "xavier_uniform"}}
LOOPS: dict[str, tuple[str, dict[str, Any]]] = {
    "PyKEEN": ("slcwa", {}),
    "kgneg": ("kgneg", {}),
    "kgneg, shared": ("kgneg", {"shared": 64}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=PARTS, help="what to measure; all by default")
    parser.add_argument("--dataset", action="append", help="codexsmall, fb15k237, wn18rr by default")
    parser.add_argument("--model", action="append", choices=MODELS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=12, help="batches per round of the quicker loop")
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=20, help="of the ranking")
    parser.add_argument("--seeds", type=int, default=5, help="of the ranking")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--again", action="store_true", help="measure also what has been measured")
    parser.add_argument("--results", type=Path, default=Path("build/training.json"), help="what was measured")
    parser.add_argument("--out", type=Path, help="a page with marks, to be brought up to date")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    if arguments.job:
        print(json.dumps(JOBS[arguments.job.split(":")[0]](json.loads(arguments.job.split(":", 1)[1]))))
        return
    find_data()
    results = Results(arguments.results)
    for part in arguments.part or PARTS:
        for key, loops in {"speed": speed, "ranking": ranking, "growth": growth}[part](arguments):
            if arguments.again or key not in results:
                results.add(key, measure(key, loops))
    for table in tables(results.found).values():
        print(f"\n{table}")
    if arguments.out is not None:
        write_page(arguments.out, results.found)


class Results:
    """What has been measured: for each setting the numbers of each loop, in the order of the rounds or seeds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []

    def __contains__(self, key: dict[str, Any]) -> bool:
        return any(one["key"] == key for one in self.found)

    def add(self, key: dict[str, Any], loops: dict[str, list[dict[str, float]]]) -> None:
        import pykeen.version

        self.found = json.loads(self.path.read_text()) if self.path.exists() else []  # two parts may run side by side
        self.found = [one for one in self.found if one["key"] != key]
        where = {"date": date.today().isoformat(), "machine": platform.machine(), "torch": torch.__version__}
        self.found.append({"key": key, "loops": loops, "pykeen": pykeen.version.get_version(), **where})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(self.found, indent=1) + "\n")
        partial.replace(self.path)


def measure(key: dict[str, Any], loops: list[str]) -> dict[str, list[dict[str, float]]]:
    """Run each loop in turn, once for each round or seed."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in loops}
    options = {name: value for name, value in key.items() if name not in ("part", "rounds", "seeds")}
    for number in range(key.get("rounds") or key["seeds"]):
        for name in loops:
            if key["part"] == "ranking":
                found[name].append(job("ranking", loop=name, seed=number, **options))
            else:
                count = max(4, key["batches"] // 3) if name == "PyKEEN" else key["batches"]
                found[name].append(job("batches", loop=name, **{**options, "batches": count}))
    print(key, {name: runs[-1] for name, runs in found.items()}, flush=True)
    return found


Plan = Iterator[tuple[dict[str, Any], list[str]]]


def speed(arguments: argparse.Namespace) -> Plan:
    """Yield what to time on datasets."""
    for dataset, model, (batch, negatives) in product(arguments.dataset or DATASETS, arguments.model or MODELS, SHAPES):
        key = {"part": "speed", "dataset": dataset, "model": model, "batch": batch, "negatives": negatives}
        loops = [name for name in LOOPS if negatives > 1 or "shared" not in name]
        yield {**key, **timing(arguments), "dim": arguments.dim}, loops


def ranking(arguments: argparse.Namespace) -> Plan:
    """Yield what to train and rank."""
    for dataset, model in product(arguments.dataset or DATASETS[:1], arguments.model or MODELS):
        key = {"part": "ranking", "dataset": dataset, "model": model, "batch": 1024, "negatives": 32, "dim": 64}
        key |= {
            "epochs": arguments.epochs,
            "lr": 0.01,
            "loss": LOSSES[model],
            "seeds": arguments.seeds,
            "device": arguments.device,
        }
        yield {**key, "start": STARTS.get(model, {})}, list(LOOPS)


def growth(arguments: argparse.Namespace) -> Plan:
    """Yield what to time on graphs that are made up."""
    for (entities, triples), (batch, negatives) in product(GRAPHS, SHAPES):
        key = {"part": "growth", "entities": entities, "triples": triples, "model": "distmult", "batch": batch}
        yield {**key, "negatives": negatives, **timing(arguments), "dim": 64}, ["PyKEEN", "kgneg"]


def timing(arguments: argparse.Namespace) -> dict[str, Any]:
    return {"rounds": arguments.rounds, "batches": arguments.batches, "device": arguments.device}


def job(kind: str, **options: Any) -> dict[str, Any]:
    """Do a job in a process of its own, so that memory is its own, too."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--job", f"{kind}:{json.dumps(options)}"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)  # noqa: S603
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def train(options: dict[str, Any], factory: Any, callback: Any = None, epochs: int = 100) -> Any:
    """Train a model with one of the loops."""
    from pykeen.models import model_resolver
    from pykeen.training import training_loop_resolver
    from torch.optim import Adam

    torch.set_num_threads(1)
    name, extra = LOOPS[options["loop"]]
    model = model_resolver.make(
        options["model"],
        triples_factory=factory,
        embedding_dim=options["dim"],
        random_seed=options.get("seed", 0),
        loss=options.get("loss", "nssa"),
        **options.get("start", {}),
    ).to(options.get("device", "cpu"))
    loop = training_loop_resolver.make(
        name,
        pos_kwargs={
            "model": model,
            "triples_factory": factory,
            "optimizer": Adam(model.get_grad_params(), lr=options.get("lr", 1e-3)),
            "negative_sampler": "basic",
            "negative_sampler_kwargs": {"num_negs_per_pos": options["negatives"]},
            "automatic_memory_optimization": False,
            **extra,
        },
    )
    loop.train(
        factory, num_epochs=epochs, batch_size=options["batch"], use_tqdm=False, callbacks=callback, pin_memory=False
    )
    return model


class Enough(Exception):  # noqa: N818
    """Enough batches were timed."""


def batches_job(options: dict[str, Any]) -> dict[str, Any]:
    """Time some batches."""
    from pykeen.training.callbacks import TrainingCallback

    factory = graph(options)
    times: list[float] = []

    class Clock(TrainingCallback):
        def post_batch(self, epoch: int, batch: Any, **_: Any) -> None:
            if options.get("device", "cpu") != "cpu":
                torch.cuda.synchronize()
            times.append(time.perf_counter())
            if len(times) > options["batches"] + 2:
                raise Enough

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with contextlib.suppress(Enough):
        train(options, factory, Clock())
    spans = [after - start for start, after in pairwise(times[2:])]
    count = -(-factory.num_triples // options["batch"])
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {"seconds": statistics.median(spans), "batches": count, "peak": peak}


def ranking_job(options: dict[str, Any]) -> dict[str, Any]:
    """Train for some epochs and rank the test triples."""
    from pykeen.datasets import get_dataset
    from pykeen.evaluation import RankBasedEvaluator

    dataset = get_dataset(dataset=options["dataset"])
    begin = time.perf_counter()
    model = train(options, dataset.training, epochs=options["epochs"])
    seconds = time.perf_counter() - begin
    known = [dataset.training.mapped_triples, dataset.validation.mapped_triples]
    result = RankBasedEvaluator().evaluate(
        model, dataset.testing.mapped_triples, additional_filter_triples=known, batch_size=64, use_tqdm=False
    )
    return {"mrr": result.get_metric("both.realistic.inverse_harmonic_mean_rank"), "seconds": seconds}


def graph(options: dict[str, Any]) -> Any:
    """Return a dataset's training triples, or a made up graph."""
    if options.get("dataset"):
        from pykeen.datasets import get_dataset

        return get_dataset(dataset=options["dataset"]).training
    from pykeen.triples import CoreTriplesFactory

    generator = torch.Generator().manual_seed(0)
    entities, number = options["entities"], options["triples"]
    ends = torch.randint(entities, (number, 2), generator=generator)
    relation = torch.randint(200, (number, 1), generator=generator)
    triples = torch.cat([ends[:, :1], relation, ends[:, 1:]], dim=-1)
    return CoreTriplesFactory.create(triples, num_entities=entities, num_relations=200)


JOBS = {"batches": batches_job, "ranking": ranking_job}


if __name__ == "__main__":
    main()
