"""Speed, memory and exactness of kgneg's samplers beside PyKEEN's, on FB15k-237 and WN18RR.

Every round runs all candidates once in random order, each for a few calls after a warm-up call. A ratio is the median
over rounds of the ratio within a round; its spread is given by the quartiles. One CPU thread.

The datasets are looked for in PyKEEN's folder (PYSTOW_HOME), or in a folder `pystow` below KGNEG_DATA, which is copied.
When they are not there, the command says so and ends.

    python benchmarks/samplers.py [--rounds 15] [--out docs/benchmarks.md]
"""

from __future__ import annotations

import argparse
import atexit
import logging
import os
import platform
import random
import re
import shutil
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch

BATCH, NEGATIVES = 1024, 100
MARKS = ("<!-- samplers:begin -->", "<!-- samplers:end -->")


def quartiles(values: list[float]) -> tuple[float, float, float]:
    low, middle, high = statistics.quantiles(values, n=4)
    return low, middle, high


def race(candidates: dict[str, Callable[[], object]], rounds: int, calls: int) -> dict[str, list[float]]:
    """Return seconds per call of each candidate in each round."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    order = list(candidates)
    rng = random.Random(0)  # noqa: S311
    for _ in range(rounds):
        rng.shuffle(order)
        for name in order:
            candidates[name]()
            begin = time.perf_counter()
            for _ in range(calls):
                candidates[name]()
            times[name].append((time.perf_counter() - begin) / calls)
    return times


def per_triple_lemon(
    points: np.ndarray, labels: np.ndarray, centroids: np.ndarray, known: dict[tuple[int, int], np.ndarray], n: int
) -> Callable[[tuple[int, int, int]], np.ndarray]:
    """Return LEMON's procedure for one tail corruption, restated as published: everything anew for each triple."""
    from scipy.spatial.distance import cdist

    members = {cluster: np.flatnonzero(labels == cluster).tolist() for cluster in range(len(centroids))}
    rng = np.random.default_rng(0)

    def draw(triple: tuple[int, int, int]) -> np.ndarray:
        head, relation, _ = triple
        distance = cdist(points[head : head + 1], centroids)[0]
        pool = [entity for cluster in np.argsort(distance)[:3] for entity in members[int(cluster)]]
        chosen: list[np.ndarray] = []
        found, usable = 0, True
        while found < n:
            negatives = rng.choice(pool, size=2 * n) if usable else rng.integers(len(points), size=2 * n)
            negatives = negatives[np.isin(negatives, known[head, relation], invert=True)]
            usable = usable and len(negatives) > 0
            chosen.append(negatives)
            found += len(negatives)
        return np.concatenate(chosen)[:n]

    return draw


def find_data() -> None:
    """Point PYSTOW_HOME to a writable copy of the data, when it is not set and the data are at hand."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    source = Path(os.environ.get("KGNEG_DATA", default)) / "pystow"
    if "PYSTOW_HOME" not in os.environ and source.is_dir():
        target = Path(tempfile.mkdtemp(prefix="kgneg-bench-")) / "pystow"
        shutil.copytree(source, target, copy_function=shutil.copyfile)
        for path in target.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        target.chmod(0o755)
        os.environ["PYSTOW_HOME"] = str(target)
        atexit.register(shutil.rmtree, target.parent, ignore_errors=True)


def load(name: str) -> Any:
    """Return the training triples of a PyKEEN dataset, or end with the reason why they are not there."""
    from pykeen.datasets import get_dataset

    try:
        return get_dataset(dataset=name).training
    except Exception as error:
        print(f"skipped: PyKEEN cannot load {name} ({type(error).__name__}: {error}). Set PYSTOW_HOME or KGNEG_DATA.")
        raise SystemExit(0) from None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="fb15k237")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=5)
    parser.add_argument("--out", type=Path, default=None, help="a Markdown file with marks to write the tables between")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    find_data()
    training = load(arguments.dataset)
    graph = (training.mapped_triples, training.num_entities, training.num_relations)
    wordnet = load("wn18rr")
    tables = [
        header(arguments, len(graph[0]), graph[1]),
        speed(arguments, *graph),
        memory(*graph),
        paper(wordnet.mapped_triples, wordnet.num_entities, wordnet.num_relations),
    ]
    text = "\n\n".join(tables)
    print(text)
    if arguments.out is not None:
        old = arguments.out.read_text()
        pattern = re.compile(re.escape(MARKS[0]) + ".*?" + re.escape(MARKS[1]), re.DOTALL)
        arguments.out.write_text(pattern.sub(lambda _: f"{MARKS[0]}\n\n{text}\n\n{MARKS[1]}", old))


def header(arguments: argparse.Namespace, number: int, entities: int) -> str:
    import pykeen.version

    return (
        f"Measured on {date.today().isoformat()}: {arguments.dataset} ({number:,} training triples, {entities:,} "
        f"entities), {BATCH:,} positives x {NEGATIVES} negatives, one thread of a {platform.machine()} CPU, "
        f"torch {torch.__version__}, PyKEEN {pykeen.version.get_version()}, {arguments.rounds} rounds. Medians, "
        "quartiles in brackets."
    )


def speed(arguments: argparse.Namespace, triples: torch.Tensor, entities: int, relations: int) -> str:
    from pykeen.sampling import negative_sampler_resolver as resolver

    sizes = {"num_entities": entities, "num_relations": relations}
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(entities, 384, generator=generator)
    batch = triples[torch.randperm(len(triples), generator=generator)[:BATCH]]
    wanted = {
        "PyKEEN basic": ("basic", {}),
        "PyKEEN basic + bloom": ("basic", {"filtered": True, "filterer": "bloom"}),
        "PyKEEN basic + python-set": ("basic", {"filtered": True, "filterer": "python-set"}),
        "PyKEEN basic + exact": ("basic", {"filtered": True, "filterer": "exact"}),
        "PyKEEN pseudotyped": ("pseudotyped", {}),
        "kgneg-uniform": ("kgneg-uniform", {}),
        "kgneg-bernoulli": ("kgneg-bernoulli", {}),
        "typed": ("typed", {}),
        "lemon": ("lemon", {"vectors": vectors}),
        "lemon, paper mode": ("lemon", {"vectors": vectors, "mode": "paper"}),
        "lemon, typed": ("lemon", {"vectors": vectors, "typed": True}),
        "mixture": ("mixture", {}),
        "kgneg-uniform, unfiltered": ("kgneg-uniform", {"filtered": False}),
        "lemon, unfiltered": ("lemon", {"vectors": vectors, "filtered": False}),
        "lemon, paper mode, unfiltered": ("lemon", {"vectors": vectors, "mode": "paper", "filtered": False}),
    }
    samplers, construction = {}, {}
    for name, (sampler, options) in wanted.items():
        begin = time.perf_counter()
        samplers[name] = resolver.make(
            sampler, {**options, "num_negs_per_pos": NEGATIVES}, mapped_triples=triples, **sizes
        )
        construction[name] = time.perf_counter() - begin
    candidates: dict[str, Callable[[], object]] = {
        "torch.randint": lambda: torch.randint(entities, (BATCH, NEGATIVES)),
        **{name: (lambda s=sampler: s.sample(positive_batch=batch)) for name, sampler in samplers.items()},
    }
    times = race(candidates, arguments.rounds, arguments.calls)
    from kgneg.core.triples import TripleIndex

    index = TripleIndex(triples, **sizes)
    rows = [
        "| sampler | ms per batch | x randint | basic + bloom takes | basic + set takes | known left | built in |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in candidates:
        own = times[name]
        _, middle, _ = quartiles(own)
        ratios = []
        for reference, inverse in (
            ("torch.randint", False),
            ("PyKEEN basic + bloom", True),
            ("PyKEEN basic + python-set", True),
        ):
            pairs = zip(own, times[reference], strict=True)
            low, mid, high = quartiles([r / o if inverse else o / r for o, r in pairs])
            ratios.append(f"{mid:.1f}x [{low:.1f}, {high:.1f}]")
        left = "-"
        if name in samplers:
            negatives, mask = samplers[name].sample(positive_batch=batch)
            known = index.contains(negatives)
            known = known if mask is None else known[mask]
            left = f"{100 * float(known.float().mean()):.2f} %"
        built = f"{construction[name]:.2f} s" if name in construction else "-"
        rows.append(f"| {name} | {middle * 1e3:.2f} | {' | '.join(ratios)} | {left} | {built} |")
    return "\n".join(rows)


def memory(triples: torch.Tensor, entities: int, relations: int) -> str:
    from kgneg.core.triples import TripleIndex

    tracemalloc.start()
    index = TripleIndex(triples, num_entities=entities, num_relations=relations)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (
        f"The exact index holds {index.nbytes / len(triples):.1f} bytes per training triple "
        f"(peak of NumPy's allocations while building: {peak / len(triples):.1f})."
    )


def paper(triples: torch.Tensor, entities: int, relations: int) -> str:
    """Time LEMON as published, per triple, against the same distribution drawn for a batch."""
    from kgneg.core.cluster import kmeans, principal_components
    from kgneg.core.sides import SidePolicy
    from kgneg.core.triples import TripleIndex
    from kgneg.samplers import LemonCorruptor, LemonSettings, build_lemon_pools

    n, batch_size = 50, 512
    sizes = {"num_entities": entities, "num_relations": relations}
    vectors = torch.randn(entities, 384, generator=torch.Generator().manual_seed(0))
    settings = LemonSettings.paper()
    points = principal_components(vectors, 2)
    clustering = kmeans(points, 15, restarts=1, seed=1234)
    known: dict[tuple[int, int], list[int]] = {}
    for head, relation, tail in triples.tolist():
        known.setdefault((head, relation), []).append(tail)
    plain = per_triple_lemon(
        points.numpy(),
        clustering.labels.numpy(),
        clustering.centroids.numpy(),
        {pair: np.array(tails) for pair, tails in known.items()},
        n,
    )
    corruptor = LemonCorruptor(
        build_lemon_pools(vectors, settings),
        settings,
        index=TripleIndex(triples, **sizes),
        sides=SidePolicy("tail"),
        seed=0,
        **sizes,
    )
    batch = triples[torch.randperm(len(triples), generator=torch.Generator().manual_seed(1))[:batch_size]]
    some = [tuple(row) for row in batch[:32].tolist()]
    times = race(
        {"plain": lambda: [plain(triple) for triple in some], "kgneg": lambda: corruptor(batch, n).triples},
        rounds=9,
        calls=3,
    )
    ratios = [
        (slow / len(some)) / (fast / batch_size) for slow, fast in zip(times["plain"], times["kgneg"], strict=True)
    ]
    low, middle, high = quartiles(ratios)
    return (
        f"LEMON in paper mode on WN18RR, {batch_size} positives x {n} negatives: "
        f"{statistics.median(times['plain']) / len(some) * 1e6:,.0f} us per triple as published, "
        f"{statistics.median(times['kgneg']) / batch_size * 1e6:.2f} us batched, "
        f"{middle:,.0f}x faster [{low:,.0f}, {high:,.0f}]."
    )


if __name__ == "__main__":
    main()
