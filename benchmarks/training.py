"""Speed, memory and ranking of kgneg's training loop beside PyKEEN's own, on CoDEx-S, FB15k-237 and WN18RR.

A round times some batches of each loop in turn, in a process of its own; a ratio is the median over rounds of the ratio
within a round, its spread is given by the quartiles. One CPU thread. Seconds of an epoch are the median of a batch
times the number of batches. Ranking is measured after equal epochs, with several seeds.

The datasets are looked for in PyKEEN's folder (PYSTOW_HOME), or in a folder `pystow` below KGNEG_DATA, which is copied.
When they are not there, the command says so and ends.

    python benchmarks/training.py [--part speed --part growth --part ranking] [--out docs/benchmarks.md]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import time
import warnings
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))

from samplers import find_data, quartiles

PARTS = ("speed", "ranking", "growth")
MODELS = ("transe", "distmult", "complex", "rotate")
SHAPES = ((256, 1), (1024, 32))
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
    parser.add_argument("--out", type=Path, help="a page with marks, to be brought up to date")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    if arguments.job:
        print(json.dumps(JOBS[arguments.job.split(":")[0]](json.loads(arguments.job.split(":", 1)[1]))))
        return
    find_data()
    for part in arguments.part or PARTS:
        text = {"speed": speed, "ranking": ranking, "growth": growth}[part](arguments)
        print(text, flush=True)
        if arguments.out is not None:
            begin, end = f"<!-- training-{part}:begin -->", f"<!-- training-{part}:end -->"
            pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
            old = arguments.out.read_text()
            arguments.out.write_text(pattern.sub(lambda _, a=begin, b=end, t=text: f"{a}\n\n{t}\n\n{b}", old))


def header(arguments: argparse.Namespace) -> str:
    return (
        f"{date.today().isoformat()}, {platform.processor() or platform.machine()}, {arguments.device}, one thread, "
        f"torch {torch.__version__}, PyKEEN's basic sampler, Adam, self-adversarial loss."
    )


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
        loss="nssa",
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


JOBS = {"batches": batches_job, "ranking": ranking_job}


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


def speed(arguments: argparse.Namespace) -> str:
    rows = [
        "| graph | model | batch x negatives | PyKEEN, s per epoch | kgneg | times faster | shared by 64 "
        "| times faster | peak MB: PyKEEN / kgneg |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for dataset in arguments.dataset or ("codexsmall", "fb15k237", "wn18rr"):
        for model in arguments.model or MODELS:
            for batch, negatives in SHAPES:
                loops = [name for name in LOOPS if negatives > 1 or "shared" not in name]
                results: dict[str, list[dict[str, Any]]] = {name: [] for name in loops}
                for _ in range(arguments.rounds):
                    for name in loops:
                        count = max(4, arguments.batches // 3) if name == "PyKEEN" else arguments.batches
                        found = job(
                            "batches",
                            dataset=dataset,
                            model=model,
                            batch=batch,
                            negatives=negatives,
                            loop=name,
                            dim=arguments.dim,
                            batches=count,
                            device=arguments.device,
                        )
                        results[name].append(found)
                cells = [dataset, model, f"{batch} x {negatives}"]
                number = results["PyKEEN"][0]["batches"]
                cells.append(f"{statistics.median(one['seconds'] for one in results['PyKEEN']) * number:.1f}")
                for name in loops[1:]:
                    pairs = zip(results["PyKEEN"], results[name], strict=True)
                    ratios = [slow["seconds"] / fast["seconds"] for slow, fast in pairs]
                    seconds = statistics.median(one["seconds"] for one in results[name]) * number
                    spread = f" [{min(ratios):.1f}, {max(ratios):.1f}]"
                    if len(ratios) > 3:
                        low, _, high = quartiles(ratios)
                        spread = f" [{low:.1f}, {high:.1f}]"
                    cells += [f"{seconds:.2f}", f"{statistics.median(ratios):.1f}{spread}"]
                cells += ["", ""] if len(loops) < 3 else []
                peaks = [statistics.median(one["peak"] for one in results[name]) for name in loops[:2]]
                cells.append(f"{peaks[0]:.0f} / {peaks[1]:.0f}")
                rows.append("| " + " | ".join(cells) + " |")
                print(rows[-1], flush=True)
    return f"{header(arguments)} Dimension {arguments.dim}.\n\n" + "\n".join(rows)


def ranking(arguments: argparse.Namespace) -> str:
    rows = [
        f"| graph | model | loop | test MRR after {arguments.epochs} epochs | seconds |",
        "| --- | --- | --- | --- | --- |",
    ]
    for dataset in arguments.dataset or ("codexsmall",):
        for model in arguments.model or MODELS:
            for name in LOOPS:
                runs = [
                    job(
                        "ranking",
                        dataset=dataset,
                        model=model,
                        batch=1024,
                        negatives=32,
                        loop=name,
                        dim=64,
                        epochs=arguments.epochs,
                        seed=seed,
                        lr=0.01,
                        device=arguments.device,
                    )
                    for seed in range(arguments.seeds)
                ]
                scores = [run["mrr"] for run in runs]
                spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
                seconds = statistics.median(run["seconds"] for run in runs)
                rows.append(
                    f"| {dataset} | {model} | {name} | {statistics.mean(scores):.4f} ± {spread:.4f} | {seconds:.0f} |"
                )
                print(rows[-1], flush=True)
    return (
        f"{header(arguments)} Dimension 64, 1,024 x 32, learning rate 0.01, {arguments.seeds} seeds.\n\n"
        + "\n".join(rows)
    )


def growth(arguments: argparse.Namespace) -> str:
    rows = [
        "| entities | triples | PyKEEN, ms per batch | kgneg, ms per batch | times faster |",
        "| --- | --- | --- | --- | --- |",
    ]
    shapes = [(10**4, 10**6), (10**5, 10**6), (10**6, 10**6), (10**5, 10**5), (10**5, 10**7)]
    for entities, triples in shapes:
        found: dict[str, list[float]] = {"PyKEEN": [], "kgneg": []}
        for _ in range(arguments.rounds):
            for name, times in found.items():
                result = job(
                    "batches",
                    entities=entities,
                    triples=triples,
                    model="distmult",
                    batch=1024,
                    negatives=32,
                    loop=name,
                    dim=64,
                    batches=arguments.batches if name == "kgneg" else 4,
                    device=arguments.device,
                )
                times.append(result["seconds"] * 1e3)
        ratio = statistics.median(a / b for a, b in zip(found["PyKEEN"], found["kgneg"], strict=True))
        numbers = [statistics.median(times) for times in found.values()]
        rows.append(f"| {entities:,} | {triples:,} | {numbers[0]:,.0f} | {numbers[1]:,.1f} | {ratio:.1f} |")
        print(rows[-1], flush=True)
    return f"{header(arguments)} DistMult, dimension 64, 1,024 x 32.\n\n" + "\n".join(rows)


if __name__ == "__main__":
    main()
