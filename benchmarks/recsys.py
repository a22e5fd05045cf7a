"""Recommendation without negatives beside its baselines and other libraries: quality, seconds, growth.

quality: every data set is split per user at random (a share beta for training, the rest in equal parts for validation
and test). A tuned row tries the same number of configurations, drawn at random by Optuna (the first is the default of
the model), on the split of seed 0. They are judged by recall@20 on its validation pairs, which also stop every
training; the best one is then trained on the splits of all seeds. Each row is compared, paired over seeds, with
LightGCN and with the best neural baseline (by validation). Peers (implicit, Cornac) are rows like the others: the same
pairs, their own lists, our metrics, one thread. A table has the rows of the last command that was run for its split.
epoch, growth, momentum, collapse: see benchmarks/recsys_speed.py. evaluation: see benchmarks/recsys_evaluation.py.

What is finished is kept below --out, a file for each training; a command that was stopped goes on where it was. What is
kept knows the data, all options of the model and the versions, but not the code.

    python benchmarks/recsys.py [--parts quality epoch ...] [--sets toy ...] [--rows buir-nb ...]
        [--betas 0.5 0.1] [--trials 8] [--seeds 5] [--epochs 0] [--trial-epochs 0] [--time-limit 0] [--jobs 1]
        [--data DATA] [--out build/recsys] [--docs docs]

Data sets are looked for in the folder `recsys` of --data (KGNEG_DATA, or ../shared/data); what is not there is skipped.
With --docs the tables in benchmarks.md and docs/results/recsys.json are brought up to date.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from recsys_page import publish, tables
from recsys_plan import EXTRA, ROWS, SETS, Budget, data_root, load
from recsys_result import collect

from kgneg.compare.store import dump_json, versions
from kgneg.core.storage import atomic_path

PARTS = ("quality", "epoch", "evaluation", "growth", "momentum", "collapse")
#: one thread everywhere, and the same order of additions in every process
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
FOLDER = Path(__file__).resolve().parent


def arguments_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    budget = Budget()
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--rows", nargs="+", choices=[*ROWS, *EXTRA], default=list(ROWS))
    parser.add_argument("--betas", nargs="+", type=float, default=[0.5, 0.1])
    for name, help_ in (
        ("trials", "configurations tried for each tuned row"),
        ("seeds", "final trainings"),
        ("epochs", "of a final training, at most; 0: as the model has it"),
        ("trial-epochs", "of a trial, at most; 0: as the model has it"),
        ("seed", "of the search"),
    ):
        parser.add_argument(f"--{name}", type=int, default=getattr(budget, name.replace("-", "_")), help=help_)
    parser.add_argument("--time-limit", type=float, default=0.0, help="CPU seconds of a training; 0: none")
    parser.add_argument("--jobs", type=int, default=1, help="processes side by side, of one thread each")
    parser.add_argument("--data", type=Path, help="folder with shared data; KGNEG_DATA by default")
    parser.add_argument("--speed", default="", help="options of recsys_speed.py, in one string")
    parser.add_argument("--out", type=Path, default=Path("build/recsys"))
    parser.add_argument("--docs", type=Path, help="folder with benchmarks.md, which is brought up to date")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    options = arguments_of(arguments)
    if options.job:
        print(json.dumps(job(json.loads(options.job))))
        return
    failures: list[str] = []
    if "quality" in options.parts:
        failures += quality(options)
    for part in options.parts:
        if part != "quality":
            failures += speed(options, part)
    results = json.loads((options.out / "results.json").read_text(encoding="utf-8"))
    for table in tables(results).values():
        print(f"\n{table}")
    if options.docs is not None:
        publish(options.out / "results.json", options.docs)
    if failures:
        raise SystemExit("\n".join(["\nsome things have failed; what is finished is kept:", *failures]))


def quality(options: argparse.Namespace) -> list[str]:
    """Run all rows, write what came out, and return what broke."""
    budget = Budget(**{name: getattr(options, name) for name in vars(Budget())})
    root = data_root(options.data)
    there, skipped = available(options.sets, root)
    for name, reason in skipped.items():
        print(f"{name}: skipped, {reason}", flush=True)
    plan = list(product(there, options.betas, options.rows))
    tasks = [
        {"set": name, "beta": beta, "row": row, "budget": budget.to_dict(), "out": str(options.out), "root": str(root)}
        for name, beta, row in plan
    ]
    with ThreadPoolExecutor(options.jobs) as pool:
        cells = list(pool.map(run_apart, tasks))
    found = {pair: cell for pair, cell in zip(plan, cells, strict=True) if "broken" not in cell}
    where = {"machine": platform.machine(), "jobs": options.jobs, "versions": {**versions(), **peers()}}
    for name, beta in product(there, options.betas):
        rows = {row: found[name, beta, row] for row in options.rows if (name, beta, row) in found}
        if rows:
            facts = there[name]
            result = collect(rows, facts, budget) | where
            update(options.out / "results.json", "quality", {f"{name} {beta:g}": {"set": name, "beta": beta, **result}})
    if skipped:
        update(options.out / "results.json", "skipped", skipped)
    return [cell["broken"] for cell in cells if "broken" in cell]


def available(names: Sequence[str], root: Path) -> tuple[dict[str, dict[str, int]], dict[str, str]]:
    """Return the sizes of the data sets that are there, and why others are not."""
    there, skipped = {}, {}
    for name in names:
        try:
            pairs = load(name, root)
        except (OSError, ValueError) as error:
            skipped[name] = str(error).replace(str(root), "the data folder")
            continue
        there[name] = {"users": pairs.num_users, "items": pairs.num_items, "pairs": len(pairs)}
    return there, skipped


def peers() -> dict[str, str]:
    from recsys_peers import PEERS

    found = {}
    for kind in PEERS.values():
        try:
            found[kind.library] = kind.version()
        except ImportError:
            continue
    return found


def run_apart(task: Mapping[str, Any]) -> dict[str, Any]:
    """Run a row in a process of its own."""
    begin = time.perf_counter()
    command = [sys.executable, "-P", __file__, "--job", json.dumps({**task, "parent": os.getpid()})]
    done = subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, env={**os.environ, **ONE_THREAD}, check=False
    )
    name = f"{task['set']} {task['beta']:g}, {task['row']}"
    if done.returncode:
        print(f"{name}: broken\n{done.stderr[-2000:]}", flush=True)
        return {"broken": f"{name}: exit code {done.returncode}. {done.stderr[-600:]}"}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    seconds = time.perf_counter() - begin
    good = [one["metrics"]["recall@20"] for one in found["finals"] if "metrics" in one]
    said = f"recall@20 {sum(good) / len(good):.4f}" if good else "no figure"
    if found["failure"]:
        said += f"; failed: {found['failure']}"
    print(f"{name}: {said} after {seconds:.0f} s", flush=True)
    return found


def job(task: Mapping[str, Any]) -> dict[str, Any]:
    """Run a row in this process."""
    import torch
    from recsys_runs import Cell

    threading.Thread(target=end_with, args=(task["parent"],), daemon=True).start()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    pairs = load(task["set"], Path(task["root"]))
    cell = Cell(task["set"], pairs, task["beta"], task["row"], Budget(**task["budget"]), Path(task["out"]))
    return cell.run()


def end_with(parent: int) -> None:
    """End this process when the one that started it has ended; what was begun is done again next time."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def speed(options: argparse.Namespace, part: str) -> list[str]:
    """Measure another part in a process of its own, and take over what it wrote."""
    path = options.out / f"{part}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    if part == "evaluation":
        arguments = [str(FOLDER / "recsys_evaluation.py"), "--results", str(path)]
    else:
        arguments = [str(FOLDER / "recsys_speed.py"), part, "--out", str(options.out)]
        arguments += ["--data", str(data_root(options.data).parent), *options.speed.split()]
    done = subprocess.run([sys.executable, "-P", *arguments], env={**os.environ, **ONE_THREAD}, check=False)  # noqa: S603
    if done.returncode:
        return [f"{part}: exit code {done.returncode}"]
    update(options.out / "results.json", part, json.loads(path.read_text(encoding="utf-8")), whole=True)
    return []


def update(path: Path, part: str, entries: Mapping[str, Any], *, whole: bool = False) -> None:
    """Add entries to a part of a JSON file, in the place of those of the same name, or of the whole part."""
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    before[part] = dict(entries) if whole else {**before.get(part, {}), **entries}
    with atomic_path(path) as temporary:
        temporary.write_text(dump_json(before), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
