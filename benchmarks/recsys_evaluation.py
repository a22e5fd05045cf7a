"""Speed and memory of the full-ranking evaluation beside the usual way, on synthetic data of the size of CiteULike-t.

The usual way is what the released code of BUIR does: the scores of all users and items are sorted at once by
torch.argsort, and a walk over users in Python skips what they have seen and counts. Both get the same vectors, one
thread and the same metrics, take turns, and must agree. Each runs in a process of its own, from which the peak of
memory is read; what the process needed before it began is taken off.

    python benchmarks/recsys_evaluation.py [--rounds 5] [--users 5219 --items 25181 --dim 250] [--results FILE]
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kgneg.recsys.evaluation import evaluate
from kgneg.recsys.interactions import Interactions
from kgneg.recsys.ranking import inner_products
from kgneg.recsys.recommender import Recommender

KS = (10, 20, 50)
METRICS = ("recall", "precision", "ndcg", "mrr", "hit", "capped_precision")


class Vectors(Recommender):
    """Two-sided vectors of random numbers, as BUIR ranks by."""

    def __init__(self, *, dim: int) -> None:
        super().__init__(dim=dim)

    def fit(self, train: Interactions, valid: Interactions | None = None) -> Vectors:
        self.prepare(train, torch.Generator().manual_seed(0))
        return self

    def prepare(self, train: Interactions, generator: torch.Generator) -> None:
        self._seen = train
        for name, number in (("of_users", train.num_users), ("of_items", train.num_items)):
            value = torch.randn(number, 2 * self.options["dim"], generator=generator)
            self.register_parameter(name, nn.Parameter(value, requires_grad=False))

    def scores(self, users: torch.Tensor) -> torch.Tensor:
        return inner_products(self.of_users[users], self.of_items)

    def scores_of_new(self, histories: Interactions) -> torch.Tensor:
        raise NotImplementedError

    def similarities(self, items: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


def draw_pairs(users: int, items: int, pairs: int, seed: int) -> tuple[Interactions, Interactions, Interactions]:
    """Draw pairs with popular and rare items, a fifth of them to be found."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.arange(1, items + 1, dtype=torch.float64) ** -0.8
    drawn = torch.multinomial(weights, pairs, replacement=True, generator=generator)
    whose = torch.randint(users, (pairs,), generator=generator)
    table = Interactions(whose, drawn, num_users=users, num_items=items)
    part = torch.rand(len(table), generator=generator)
    return table.select(part < 0.6), table.select((part >= 0.6) & (part < 0.8)), table.select(part >= 0.8)


def as_sets(pairs: Interactions) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    for user, item in zip(pairs.users.tolist(), pairs.items.tolist(), strict=True):
        found.setdefault(user, set()).add(item)
    return found


def usual_way(model: Vectors, valid: Interactions, test: Interactions) -> dict[str, float]:
    """Sort everything, walk over users."""
    train = model.seen
    scores = model.of_users @ model.of_items.T
    order = torch.argsort(scores, dim=1, descending=True)
    wanted, known, hidden = (as_sets(pairs) for pairs in (test, train, valid))
    found: dict[str, list[float]] = {f"{name}@{k}": [] for name in METRICS for k in KS}
    for user, truth in wanted.items():
        if user not in known:
            continue
        seen, ranked = known[user] | hidden.get(user, set()), []
        for item in list(order[user].numpy()):  # the whole row, as the released code has it
            if item not in seen:
                ranked.append(item)
            if len(ranked) == KS[-1]:
                break
        for k in KS:
            hits = [float(item in truth) for item in ranked[:k]]
            best = min(k, len(truth))
            ideal = sum(1 / math.log2(place + 2) for place in range(best))
            found[f"recall@{k}"].append(sum(hits) / len(truth))
            found[f"precision@{k}"].append(sum(hits) / k)
            found[f"ndcg@{k}"].append(sum(hit / math.log2(place + 2) for place, hit in enumerate(hits)) / ideal)
            found[f"mrr@{k}"].append(1 / (hits.index(1.0) + 1) if sum(hits) else 0.0)
            found[f"hit@{k}"].append(float(sum(hits) > 0))
            found[f"capped_precision@{k}"].append(sum(hits) / best)
    return {name: statistics.fmean(values) for name, values in found.items()}


def our_way(model: Vectors, valid: Interactions, test: Interactions) -> dict[str, float]:
    return evaluate(model, test, hide=valid, ks=KS, metrics=METRICS, progress=False).metrics


def validation(model: Vectors, valid: Interactions, test: Interactions) -> dict[str, float]:
    """What a training loop calls."""
    found = evaluate(
        model, test, hide=valid, ks=(20,), metrics=("recall",), by_user=False, beyond=False, progress=False
    )
    return found.metrics


def scores_alone(model: Vectors, valid: Interactions, test: Interactions) -> dict[str, float]:
    """What no way can do without."""
    for block in torch.arange(model.seen.num_users).split(250):
        model.scores(block)
    return {}


WAYS: dict[str, Callable[[Vectors, Interactions, Interactions], dict[str, float]]] = {
    "argsort and a walk over users": usual_way,
    "kgneg, six metrics at three k, by user, and beyond": our_way,
    "kgneg, recall@20 alone": validation,
    "the product alone": scores_alone,
}


def work(pipe: Any, way: str, settings: argparse.Namespace) -> None:
    """Run a way each time it is asked for."""
    torch.set_num_threads(1)
    train, valid, test = draw_pairs(settings.users, settings.items, settings.pairs, settings.seed)
    model = Vectors(dim=settings.dim).fit(train)
    few = test.select(test.users < 50)
    WAYS[way](model, valid, few) if way.startswith("kgneg") else None  # imports
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pipe.send(len(test.users.unique()))
    while pipe.recv():
        started, used = time.perf_counter(), time.process_time()
        metrics = WAYS[way](model, valid, test)
        wall, cpu = time.perf_counter() - started, time.process_time() - used
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        pipe.send({"metrics": metrics, "wall": wall, "cpu": cpu, "mib": peak / 1024})


def measure(settings: argparse.Namespace) -> dict[str, Any]:
    """Let all ways take turns."""
    context = multiprocessing.get_context("spawn")
    workers = {}
    for way in WAYS:
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs, way, settings), daemon=True)
        process.start()
        workers[way] = (ours, process, ours.recv())
    rounds: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for _ in range(settings.rounds):
        for way, (pipe, _process, _users) in workers.items():
            pipe.send(True)
            rounds[way].append(pipe.recv())
    for pipe, process, _users in workers.values():
        pipe.send(False)
        process.join()
    return {"users": next(iter(workers.values()))[2], "rounds": rounds}


def check(rounds: dict[str, list[dict[str, Any]]]) -> None:
    """Refuse to report the speed of different results."""
    first, second = (rounds[way][0]["metrics"] for way in list(WAYS)[:2])
    for name, value in first.items():
        if not math.isclose(value, second[name], rel_tol=1e-4, abs_tol=1e-7):
            raise SystemExit(f"{name} differs: {value} and {second[name]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--users", type=int, default=5219)
    parser.add_argument("--items", type=int, default=25181)
    parser.add_argument("--pairs", type=int, default=125_580)
    parser.add_argument("--dim", type=int, default=250, help="of an embedding; two of them are put together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, help="a file for what was measured")
    settings = parser.parse_args()
    found = measure(settings)
    check(found["rounds"])
    usual = [one["cpu"] for one in found["rounds"]["argsort and a walk over users"]]
    size = f"{settings.users} users, {settings.items} items, 2 x {settings.dim} numbers"
    print(f"{size}, one thread, {settings.rounds} rounds")
    print("CPU seconds: median (from, to); the ratio is the median over rounds\n")
    print("| way | seconds | users/s | ratio | MiB |\n| --- | --- | --- | --- | --- |")
    for way, runs in found["rounds"].items():
        seconds = sorted(one["cpu"] for one in runs)
        middle, peak = statistics.median(seconds), max(one["mib"] for one in runs)
        ratio = statistics.median(first / one["cpu"] for first, one in zip(usual, runs, strict=True))
        spread = f"{middle:.2f} ({seconds[0]:.2f}, {seconds[-1]:.2f})"
        print(f"| {way} | {spread} | {found['users'] / middle:.0f} | {ratio:.1f} | {peak:.0f} |")
    if settings.results:
        settings.results.write_text(
            json.dumps({"settings": {**vars(settings), "results": None}, **found}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
