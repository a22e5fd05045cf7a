"""Link prediction with different negatives at an equal budget: CoDEx-S, WN18RR, FB15k-237.

Every row (a way to get negatives) of a model is tuned with the same configurations, drawn at random once, trained as
long and with as many negatives per positive, and judged by the validation triples; the best one is then trained with
several seeds. The test triples are not seen before that. A row is compared with the better of `basic` and `bernoulli`
(by validation MRR, both tuned alike) by a paired bootstrap over test triples. `1-vs-all` scores all entities instead of
drawing negatives and shows what is lost by drawing.

What is finished is kept below --out; a command that was stopped goes on where it was. The same command in an empty
folder writes the same results.json, byte by byte, on the same machine; seconds are in timings.json. What is kept does
not know the code that made it, so take another folder after changing a sampler.

    python benchmarks/link_prediction.py [--dataset codexsmall] [--models transe --models distmult] [--rows basic ...]
        [--trials 8] [--epochs 30] [--seeds 5] [--jobs 1] [--out build/link_prediction] [--docs docs]

Texts, and the verified hard negatives of CoDEx-S, are looked for in the folder `kg` of --data (KGNEG_DATA); without it
PyKEEN loads the triples, and there is no triple classification. `--docs docs` also writes docs/results and the page.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from link_prediction_plan import ALL, MODELS, ROWS, Budget, data_root, graph_folder, load, problems
from link_prediction_result import collect

from kgneg.compare.runs import quiet_pykeen
from kgneg.compare.store import dump_json
from kgneg.core.storage import atomic_path

DATASETS = ("codexsmall", "wn18rr", "fb15k237")
#: one thread everywhere, and the same order of additions in every process
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


def arguments_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    budget = Budget()
    parser.add_argument("--dataset", default="codexsmall", help=f"{', '.join(DATASETS)}, or another one of PyKEEN")
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--rows", nargs="+", choices=[*ROWS, ALL], default=[*ROWS, ALL])
    for name, help_ in (
        ("trials", "configurations tried per model and row"),
        ("epochs", "of each training"),
        ("seeds", "final trainings"),
        ("negatives", "per positive"),
        ("batch-size", "positives per batch"),
        ("dim", "of the embeddings"),
        ("seed", "from which all others derive"),
        ("judged", "validation triples that a trial is judged by, at most"),
        ("checked", "negatives that are looked at"),
    ):
        parser.add_argument(f"--{name}", type=int, default=getattr(budget, name.replace("-", "_")), help=help_)
    parser.add_argument("--sides", default=budget.sides, help="side policy of kgneg's samplers")
    parser.add_argument("--resamples", type=int, default=10_000, help="of the bootstrap")
    parser.add_argument("--jobs", type=int, default=1, help="processes side by side, of one thread each")
    parser.add_argument("--data", type=Path, help="folder with shared data; KGNEG_DATA by default")
    parser.add_argument("--out", type=Path, default=Path("build/link_prediction"))
    parser.add_argument("--docs", type=Path, help="folder with benchmarks.md, which is brought up to date")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    options = arguments_of(arguments)
    if options.job:
        print(json.dumps(job(json.loads(options.job))))
        return
    budget = Budget(**{name: getattr(options, name) for name in vars(Budget())})
    root, folder = data_root(options.data), options.out / options.dataset
    data = open_data(options, root)
    wrong = problems(tuple(options.rows), budget, data)
    if wrong:
        lines = "\n".join(f"  {row}: {reason}" for row, reason in wrong.items())
        raise SystemExit(f"these rows cannot be run; choose others with --rows:\n{lines}")
    plan = list(product(options.models, options.rows))
    tasks = [
        {"dataset": options.dataset, "model": model, "row": row, "budget": budget.to_dict(), "folder": str(folder)}
        | {"root": str(root)}
        for model, row in plan
    ]
    with ThreadPoolExecutor(options.jobs) as pool:
        cells = list(pool.map(run_apart, tasks))
    if failures := [cell["failure"] for cell in cells if "failure" in cell]:
        raise SystemExit("\n".join(["some cells have failed; what is finished is kept:", *failures]))
    found = dict(zip(plan, cells, strict=True))
    result = collect(data, budget, found, folder, root=root, resamples=options.resamples)
    update(options.out / "results.json", {options.dataset: result})
    seconds = {f"{model}, {row}": cell["seconds"] for (model, row), cell in found.items()}
    where = {"date": date.today().isoformat(), "machine": platform.machine(), "jobs": options.jobs}
    update(options.out / "timings.json", {options.dataset: {**where, "seconds": seconds}})
    from link_prediction_page import publish, tables

    results = json.loads((options.out / "results.json").read_text())
    print("\n\n".join(tables({options.dataset: results[options.dataset]})))
    if options.docs is not None:
        publish(options.out, options.docs)


def open_data(options: argparse.Namespace, root: Path) -> Any:
    """Return the triples, or end with the reason why they are not there."""
    from samplers import find_data

    if options.data is not None:
        os.environ["KGNEG_DATA"] = str(options.data)
    find_data()
    if graph_folder(options.dataset, root) is None:
        print(f"{root / 'kg'} has no folder for {options.dataset}: no texts, no triple classification", flush=True)
    try:
        with quiet_pykeen():
            return load(options.dataset, root)
    except ValueError as error:
        print(f"skipped: {error}. Set PYSTOW_HOME, --data or KGNEG_DATA.")
        raise SystemExit(0) from None


def run_apart(task: Mapping[str, Any]) -> dict[str, Any]:
    """Run a cell in a process of its own."""
    begin = time.perf_counter()
    command = [sys.executable, "-P", __file__, "--job", json.dumps({**task, "parent": os.getpid()})]
    done = subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, env={**os.environ, **ONE_THREAD}, check=False
    )
    name = f"{task['model']}, {task['row']}"
    if done.returncode:
        print(f"{name}: failed", flush=True)
        return {"failure": f"{name}: exit code {done.returncode}. {done.stderr[-2000:]}"}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    scores = [one["mrr"] for one in found["finals"]]
    seconds = time.perf_counter() - begin
    print(f"{name}: MRR {sum(scores) / len(scores):.4f} after {seconds:.0f} s", flush=True)
    return found


def job(task: Mapping[str, Any]) -> dict[str, Any]:
    """Run a cell in this process."""
    import torch
    from link_prediction_runs import Cell

    threading.Thread(target=end_with, args=(task["parent"],), daemon=True).start()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    root = Path(task["root"])
    with quiet_pykeen():
        data = load(task["dataset"], root)
    found = Cell(data, task["model"], task["row"], Budget(**task["budget"]), Path(task["folder"]), root).run()
    found["tuning"].pop("configurations")
    return found


def end_with(parent: int) -> None:
    """End this process when the one that started it has ended; what was begun is done again next time."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def update(path: Path, entries: Mapping[str, Any]) -> None:
    """Add entries to a JSON file, in the place of those of the same name."""
    before = json.loads(path.read_text()) if path.exists() else {}
    with atomic_path(path) as temporary:
        temporary.write_text(dump_json({**before, **entries}), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
