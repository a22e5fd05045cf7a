"""The constraint of CAR (Wang et al., EMNLP Findings 2023) beside ours: what it catches, what it costs, what it gives.

`falsehood` tells hidden triples of ATOMIC from random tails, `ckbp` triples that people found plausible from others,
`qa` trains scorers on questions that differ in their distractors alone, `speed` times draws and questions, and `audit`
judges negatives on CoDEx-S, an ordinary graph. No part needs a network.

    python benchmarks/car.py [--parts falsehood ckbp qa speed audit] [--data DATA] [--work FOLDER] [--docs docs]

The files are looked for in the folders `commonsense` and `kg` of --data (KGNEG_DATA, or ../shared/data); a part whose
files are not there is skipped with the reason. Parts may be run one after the other: with --docs, the figures of each
are kept in results/car.json, and the tables of all parts there are written. `qa` keeps each training in a file of
--work, so that a run that was interrupted goes on; take another folder for other settings.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import car_audit
import car_ckbp
import car_falsehood
import car_qa
import car_speed
import torch
from car_data import MissingDataError, data_folder

from esco import publish
from kgneg.core.storage import atomic_path

TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "falsehood": car_falsehood.table,
    "ckbp": car_ckbp.table,
    "qa": lambda found: car_qa.table(found["cells"], found["tuned"]),
    "speed": car_speed.table,
    "audit": car_audit.table,
}


def measure(name: str, data: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of a part."""
    seeds = {"seeds": options.seeds}
    runs: dict[str, Callable[[], dict[str, Any]]] = {
        "falsehood": lambda: car_falsehood.run(data, resamples=options.resamples, **seeds),
        "ckbp": lambda: car_ckbp.run(data, resamples=options.resamples, **seeds),
        "qa": lambda: car_qa.run(
            data, options.work, steps=options.steps, layers=options.layers, limit=options.limit, **seeds
        ),
        "speed": lambda: car_speed.run(data, rounds=options.rounds, loop_questions=options.loop_questions),
        "audit": lambda: car_audit.run(data, draws=options.draws, **seeds),
    }
    return runs[name]()


def kept(docs: Path | None) -> dict[str, Any]:
    """Return the figures that are there already."""
    path = None if docs is None else docs / "results" / "car.json"
    if path is None or not path.is_file():
        return {}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def write(found: dict[str, Any], docs: Path) -> None:
    """Write the figures of all parts, and their tables."""
    with atomic_path(docs / "results" / "car.json") as path:
        text = json.dumps(_short(found), indent=1)
        path.write_text(text + "\n", encoding="utf-8", newline="\n")
    publish({f"car-{name}": page(name, one) for name, one in found.items()}, docs)


def page(name: str, found: dict[str, Any]) -> str:
    return f"{TABLES[name](found['figures'])}\n\nMeasured on {found['date']}, {found['machine']}."


def _short(value: Any) -> Any:
    """Return figures with six digits."""
    if isinstance(value, dict):
        return {key: _short(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_short(one) for one in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="*", default=list(TABLES), choices=list(TABLES), help="all by default")
    parser.add_argument("--data", type=Path, help="folder with shared data; KGNEG_DATA by default")
    parser.add_argument("--work", type=Path, default=Path("build/car"), help="where trainings are kept")
    parser.add_argument("--docs", type=Path, help="folder with benchmarks.md, which is brought up to date")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--resamples", type=int, default=1_000, help="of the bootstrap")
    parser.add_argument("--steps", type=int, default=64, help="qa: batches of 32 questions of each training")
    parser.add_argument("--layers", type=int, default=2, help="qa: how many of the last layers are trained")
    parser.add_argument("--limit", type=int, default=800, help="qa: at most so many questions of each set are answered")
    parser.add_argument("--rounds", type=int, default=7, help="speed: how often each way is timed")
    parser.add_argument("--loop-questions", type=int, default=2_000, help="speed: questions of the loop in a round")
    parser.add_argument("--draws", type=int, default=200_000, help="audit: negatives of each sampler")
    options = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    torch.set_num_threads(1)
    data, found = data_folder(options.data), kept(options.docs)
    for name in options.parts:
        try:
            figures = measure(name, data, options)
        except MissingDataError as error:
            print(f"{name} skipped: {error}")
            continue
        machine = f"one thread of a {platform.machine()} CPU, torch {torch.__version__}"
        found[name] = {"figures": figures, "date": date.today().isoformat(), "machine": machine}
        print(f"\n{name}\n\n{page(name, found[name])}\n", flush=True)
        if options.docs:
            write(found, options.docs)


if __name__ == "__main__":
    main()
