"""How fast BUIR is trained, how that grows, and what its parts are good for.

epoch: CPU seconds per epoch beside the procedure of the authors (benchmarks/recsys_authors.py), one epoch of each in
turn, on the training pairs of CiteULike-t (made-up pairs of its size where it is not there).
growth: CPU seconds per epoch and peak memory on made-up pairs, users and items growing with them, a process for each
size; once with the same batch size for all, and once with as many steps per epoch for all. The cost of an epoch is that
of some steps times their number.
momentum: test recall@20 by the momentum of the target.
collapse: what happens without the predictor and without stopping the gradient.

    python benchmarks/recsys_speed.py {epoch,growth,momentum,collapse} [--data DATA] [--out build/recsys] [--rounds 3]
        [--sizes 100000 1000000 10000000] [--steps 8] [--sets toy citeulike-t] [--seeds 3] [--epochs 0]

All runs have one thread. Each measurement is kept in a file below --out.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import torch
from link_prediction_stats import rounded
from recsys_authors import authors_epochs
from recsys_plan import data_root, load, power_law
from recsys_result import health_of, spread
from recsys_runs import FAILURES, Cells, LimitedTrainer, run_model, spelled

from kgneg.compare.store import dump_json, versions
from kgneg.core.storage import atomic_path
from kgneg.recsys import Interactions
from kgneg.recsys.models import build_recommender

MODELS = ("buir-nb", "buir-id")
MOMENTA = (0.0, 0.9, 0.98, 0.995, 0.999, 1.0)
ABLATIONS: dict[str, dict[str, bool]] = {
    "as it is": {},
    "no predictor": {"predictor": False},
    "no stopped gradient": {"stop_gradient": False},
    "neither": {"predictor": False, "stop_gradient": False},
}
#: name -> preset and options that are the same for both procedures
EPOCHS: dict[str, tuple[str, dict[str, Any]]] = {
    "buir-nb, paper": ("buir-nb:paper", {}),
    "buir-nb, paper, no edge dropped": ("buir-nb:paper", {"drop": 0.0}),
    "buir-id, paper": ("buir-id:paper", {}),
    "buir-nb, default": ("buir-nb", {}),
    "buir-id, default": ("buir-id", {}),
}
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


def arguments_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("epoch", "growth", "momentum", "collapse"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("build/recsys"))
    parser.add_argument("--rounds", type=int, default=3, help="epochs that are timed")
    parser.add_argument("--epoch-set", default="citeulike-t", help="whose training pairs are gone through")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10**5, 10**6, 10**7])
    parser.add_argument("--steps", type=int, default=8, help="steps that are timed for each size")
    parser.add_argument("--batch", type=int, default=8192, help="pairs per step where it is the same for all sizes")
    parser.add_argument("--parts-of-epoch", type=int, default=122, help="steps per epoch where batches grow")
    parser.add_argument("--sets", nargs="+", default=["toy", "citeulike-t"])
    parser.add_argument("--momenta", type=float, nargs="+", default=list(MOMENTA))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=0, help="of a training, at most; 0: as the model has it")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    options = arguments_of(arguments)
    torch.set_num_threads(1)
    if options.job:
        print(json.dumps(grow(json.loads(options.job))))
        return
    parts: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
        "epoch": epoch,
        "growth": growth,
        "momentum": momentum,
        "collapse": collapse,
    }
    found = rounded(parts[options.part](options))
    with atomic_path(options.out / f"{options.part}.json") as path:
        path.write_text(dump_json(found), encoding="utf-8", newline="\n")


# an epoch beside that of the authors


def epoch(options: argparse.Namespace) -> dict[str, Any]:
    train, name = epoch_pairs(options)
    cells = Cells(options.out / "cells" / "epoch")
    rows = []
    for row, (preset, more) in EPOCHS.items():
        model = build_recommender(preset, **more)
        key = {
            "row": row,
            "options": spelled(model.options),
            "training": settings_of(model, train),
            "rounds": options.rounds,
        }
        key |= {"train": train.fingerprint(), "versions": versions()}
        found = cells.get(
            row.replace(", ", "-").replace(" ", "-"), key, lambda p=preset, m=more: race(p, m, train, options)
        )
        rows.append({"row": row, **found})
        print(f"{row}: {found['ours']['median']:.2f} s, authors {found['theirs']['median']:.2f} s", flush=True)
    facts = {"set": name, "users": train.num_users, "items": train.num_items, "pairs": len(train)}
    return {"facts": facts, "rounds": options.rounds, "rows": rows, "versions": versions()}


def epoch_pairs(options: argparse.Namespace) -> tuple[Interactions, str]:
    try:
        pairs = load(options.epoch_set, data_root(options.data))
    except OSError as error:
        print(f"{error}: made-up pairs instead", flush=True)
        return power_law(66_736, 5_219, 25_181), "made up"
    return pairs.split("beta", beta=0.5, seed=0).train, options.epoch_set


def settings_of(model: Any, train: Interactions) -> dict[str, Any]:
    settings = model.training_settings
    return {"batch_size": settings.pairs_per_step(len(train)), "lr": settings.lr, "weight_decay": settings.weight_decay}


def race(preset: str, more: Mapping[str, Any], train: Interactions, options: argparse.Namespace) -> dict[str, Any]:
    """Go through the pairs with both procedures in turn; the first epoch of each is not counted."""
    model = build_recommender(preset, **more)
    given = settings_of(model, train)
    own = model.options
    layers = own["layers"] if own["encoder"] == "neighbor" else 0
    drop = own["drop"] if layers else 0.0
    theirs = authors_epochs(train, dim=own["dim"], layers=layers, drop=drop, momentum=own["momentum"], **given)
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    for number in range(options.rounds + 1):
        ours = build_recommender(preset, **more, epochs=1, device="cpu", seed=number)
        trainer = LimitedTrainer(ours, train)
        trainer.run()
        used, _ = next(theirs)
        if number:
            seconds["ours"].append(trainer.cpu[0])
            seconds["theirs"].append(used)
    found: dict[str, Any] = {name: middle(values) for name, values in seconds.items()}
    found["times"] = middle([b / a for a, b in zip(seconds["ours"], seconds["theirs"], strict=True)])
    return {**found, "dim": own["dim"], "drop": drop, "layers": layers, "batch_size": given["batch_size"]}


def middle(values: Sequence[float]) -> dict[str, Any]:
    return {"median": statistics.median(values), "low": min(values), "high": max(values), "values": list(values)}


# growth


def growth(options: argparse.Namespace) -> dict[str, Any]:
    cells = Cells(options.out / "cells" / "growth")
    rows = []
    for model, regime, size in product(MODELS, ("same batch", "same steps"), options.sizes):
        batch = options.batch if regime == "same batch" else max(1, -(-size // options.parts_of_epoch))
        task = {"model": model, "size": size, "batch": batch, "steps": options.steps}
        made = build_recommender(model)
        key = {
            **task,
            "options": spelled(made.options),
            "settings": made.training_settings.to_dict(),
            "versions": versions(),
        }
        found = cells.get(f"{model}-{size}-{batch}", key, lambda one=task: apart(one))
        rows.append({**task, "regime": regime, **found})
        print(
            f"{model}, {regime}, {size:,}: {found['seconds']:.3g} s per epoch, {found['peak_mb']:,.0f} MB", flush=True
        )
    fits = [
        {"model": model, "regime": regime}
        | fit([one for one in rows if (one["model"], one["regime"]) == (model, regime)])
        for model, regime in product(MODELS, ("same batch", "same steps"))
    ]
    return {"rows": rows, "fits": fits, "versions": versions()}


def apart(task: Mapping[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-P", __file__, "growth", "--job", json.dumps(task)]
    done = subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, env={**os.environ, **ONE_THREAD}, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def grow(task: Mapping[str, Any]) -> dict[str, Any]:
    """Time some steps on made-up pairs of a size; the first pass through them is not counted."""
    size, batch = task["size"], task["batch"]
    train = power_law(size, max(100, size // 20), max(100, size // 100))
    steps, whole = min(task["steps"], -(-size // batch)), -(-size // batch)
    before = peak()
    model = build_recommender(task["model"], epochs=2, batch_size=batch, device="cpu")
    prepare = model.prepare
    model.prepare = lambda _, generator: prepare(train, generator)  # type: ignore[method-assign]
    order = torch.randperm(size, generator=torch.Generator().manual_seed(1))
    some = torch.zeros(size, dtype=torch.bool)
    some[order[: steps * batch]] = True
    trainer = LimitedTrainer(model, train.select(some))
    trainer.run()
    return {
        "seconds": trainer.cpu[-1] * whole / steps,
        "timed": steps,
        "of": whole,
        "users": train.num_users,
        "items": train.num_items,
        "peak_mb": peak(),
        "before_mb": before,
    }


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def fit(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Fit a line, and a power of the number of pairs."""
    import numpy as np

    sizes, seconds = (np.array([one[name] for one in rows], dtype=float) for name in ("size", "seconds"))
    if len(sizes) < 2:
        return {"per_million": None, "exponent": None, "r2": None, "memory_per_pair": None}
    slope, start = np.polyfit(sizes, seconds, 1)
    left = seconds - (slope * sizes + start)
    total = ((seconds - seconds.mean()) ** 2).sum()
    memory = np.polyfit(sizes, [one["peak_mb"] for one in rows], 1)[0] * 2**20
    return {
        "per_million": float(slope * 1e6),
        "start": float(start),
        "r2": float(1 - (left**2).sum() / total) if total else None,
        "exponent": float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0]),
        "memory_per_pair": float(memory),
    }


# what the parts are good for


def momentum(options: argparse.Namespace) -> dict[str, Any]:
    plan = {f"{value:g}": {"momentum": value} for value in options.momenta}
    return trainings(options, "momentum", options.sets, plan, {})


def collapse(options: argparse.Namespace) -> dict[str, Any]:
    return trainings(options, "collapse", options.sets[:1], ABLATIONS, {"patience": 0, "epochs": options.epochs or 60})


def trainings(
    options: argparse.Namespace,
    part: str,
    sets: Sequence[str],
    plan: Mapping[str, Mapping[str, Any]],
    training: Mapping[str, Any],
) -> dict[str, Any]:
    """Train every model with every option on every set that is there."""
    cells, rows = Cells(options.out / "cells" / part), []
    for name in sets:
        try:
            pairs = load(name, data_root(options.data))
        except OSError as error:
            print(f"{name}: skipped, {error}", flush=True)
            continue
        splits = [pairs.split("beta", beta=0.5, seed=seed) for seed in range(options.seeds)]
        for model, (row, more) in product(MODELS, plan.items()):
            found = []
            for seed, split in enumerate(splits):
                given = {**more, **training}
                made = build_recommender(model, **given)
                key = {"set": name, "model": model, "options": spelled(given), "seed": seed, "epochs": options.epochs}
                key |= {"full": spelled(made.options), "training": made.training_settings.to_dict()}  # type: ignore[attr-defined]
                key |= {"train": split.train.fingerprint(), "versions": versions()}

                def make(
                    split: Any = split, given: Any = given, seed: int = seed, model: str = model
                ) -> dict[str, Any]:
                    return attempt(model, given, split, seed, options.epochs)

                found.append(cells.get(f"{name}-{model}-{row.replace(' ', '-')}-s{seed}", key, make))
            rows.append({"set": name, "model": model, "row": row, **of_runs(found)})
            print(f"{part}: {name}, {model}, {row}: {rows[-1].get('recall@20')}", flush=True)
    return {"rows": rows, "seeds": options.seeds, "versions": versions()}


def attempt(model: str, given: Mapping[str, Any], split: Any, seed: int, epochs: int) -> dict[str, Any]:
    try:
        return run_model(model, given, split, seed=seed, epochs=epochs, limit=0.0, test=True)
    except FAILURES as error:
        return {"failure": f"{type(error).__name__}: {' '.join(str(error).split())}"}


def of_runs(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    failures = [one["failure"] for one in runs if "failure" in one]
    done = [one for one in runs if "metrics" in one]
    found: dict[str, Any] = {"failure": failures[0] if failures else None}
    if done:
        found["recall@20"] = spread([one["metrics"]["recall@20"] for one in done])
        found["loss"] = spread([one["loss"] for one in done])
        found["epochs"] = [one["epochs"] for one in done]
        found["health"] = {which: health_of([one["health"][which] for one in done]) for which in ("last", "best")}
    return found


if __name__ == "__main__":
    main()
