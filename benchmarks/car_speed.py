"""How long draws take: the loop of CAR, one draw after the other, and batches; and what a corruptor needs.

All draw tails of observed triples of ATOMIC, with the same features and one thread. A round times each of them once, in
random order; times are those of the processor, so that other work on the machine does not count.
"""

from __future__ import annotations

import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import torch
from car_data import ALIASES, Atomic, atomic_files, concept_table, conceptualise, labelled
from car_stats import markdown

from kgneg.core.candidates import CandidateIndex
from kgneg.core.corruption import Corruptor
from kgneg.core.sides import SidePolicy
from kgneg.datasets import Conceptualiser, KnowledgeGraph, read_atomic
from kgneg.qa import build_questions
from kgneg.samplers import ConceptCorruptor

LOOP, NOTHING = "loop, CAR's rule", ", nothing worked out beforehand"
#: what a loop gives up after, which CAR's does not
TRIES = 100_000
BATCHES = ((1024, 32), (8192, 32), (0, 2))
QUESTIONS = 100_000
#: heads, features, and features of each head
MADE_UP = (24_000, 16_000, 12)


class Loop:
    """CAR's rule as its code has it: a random head, a random one of its tails, until two are good.

    A tail is refused when it is known for the question, was drawn already, or a head that has it shares a feature with
    the head of the question.
    """

    def __init__(self, triples: torch.Tensor, features: CandidateIndex, seed: int) -> None:
        self.prefix = [set(features.members(one).tolist()) for one in range(features.num_rows)]
        self.tails: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        self.owned: dict[tuple[int, int], set[int]] = defaultdict(set)
        for head, relation, tail in triples.tolist():
            self.tails[relation][head].append(tail)
            self.owned[relation, tail] |= self.prefix[head]
        self.heads = {relation: list(found) for relation, found in self.tails.items()}
        self.rng = random.Random(seed)  # noqa: S311

    def __call__(self, head: int, relation: int, n: int = 2) -> list[int]:
        known, own, heads, tails = (
            self.tails[relation][head],
            self.prefix[head],
            self.heads[relation],
            self.tails[relation],
        )
        found: list[int] = []
        for _ in range(TRIES):
            tail = self.rng.choice(tails[self.rng.choice(heads)])
            if tail not in known and tail not in found and not own & self.owned[relation, tail]:
                found.append(tail)
                if len(found) == n:
                    break
        return found


def memory(held: Any) -> int:
    """Return the bytes of all tensors that something holds, each once."""
    sizes: dict[int, int] = {}
    seen: set[int] = set()
    stack = [held]
    while stack:
        one = stack.pop()
        if isinstance(one, torch.Tensor):
            sizes[one.untyped_storage().data_ptr()] = one.untyped_storage().nbytes()
        elif isinstance(one, np.ndarray):
            sizes[one.__array_interface__["data"][0]] = one.nbytes
        elif id(one) not in seen and not isinstance(one, type | FunctionType):
            seen.add(id(one))
            if isinstance(one, dict):
                stack += one.values()
            else:
                stack += one if isinstance(one, list | tuple) else getattr(one, "__dict__", {}).values()
    return sum(sizes.values())


def built(make: Callable[[], ConceptCorruptor]) -> tuple[ConceptCorruptor, dict[str, float]]:
    begin = time.process_time()
    made = make()
    return made, {"seconds": time.process_time() - begin, "bytes": memory(made)}


def corruptors(atomic: Atomic) -> Iterator[tuple[str, Callable[[], ConceptCorruptor]]]:
    """Give a name, and what makes a corruptor."""
    for name, mode, features in (
        ("CAR's rule", "paper", atomic.of_car()),
        ("weighted", "weighted", atomic.features.features),
    ):
        for precompute in (True, False):

            def make(
                mode: str = mode, features: CandidateIndex = features, precompute: bool = precompute
            ) -> ConceptCorruptor:
                return of(atomic.observed, features, atomic, mode=mode, precompute=precompute)

            yield f"batches, {name}" + ("" if precompute else NOTHING), make


def of(triples: torch.Tensor, features: CandidateIndex, atomic: Atomic, **options: Any) -> ConceptCorruptor:
    return ConceptCorruptor.from_triples(
        triples, features, index=atomic.index, sides=SidePolicy("tail"), seed=0, **atomic.sizes, **options
    )


def race(candidates: dict[str, Callable[[], int]], rounds: int) -> dict[str, list[float]]:
    """Return nanoseconds per draw of each candidate in each round."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    order = list(candidates)
    rng = random.Random(0)  # noqa: S311
    for _ in range(rounds):
        rng.shuffle(order)
        for name in order:
            begin = time.process_time()
            number = candidates[name]()
            times[name].append(1e9 * (time.process_time() - begin) / number)
    return times


def batched(corruptor: Corruptor, triples: torch.Tensor, n: int, calls: int) -> Callable[[], int]:
    def draw() -> int:
        for _ in range(calls):
            corruptor(triples, n, trusted=True)
        return calls * len(triples) * n

    return draw


def made_up(atomic: Atomic) -> CandidateIndex:
    """Return random features, as many as large tables of concepts have, of the heads of ATOMIC."""
    heads, number, each = MADE_UP
    asked = torch.unique(atomic.observed[:, 0])[:heads]
    drawn = torch.randint(number, (len(asked), each), generator=torch.Generator().manual_seed(0))
    pairs = torch.unique(torch.stack([asked.repeat_interleave(each), drawn.view(-1)], -1), dim=0)
    return CandidateIndex.from_pairs(pairs[:, 0], pairs[:, 1], num_rows=len(atomic.entities), num_columns=number)


def questions(data: Path, rounds: int) -> dict[str, list[float]]:
    """Return the seconds that questions take, with two distractors each; features are there before."""
    parts = [read_atomic(path, blank="drop") for path in atomic_files(data)]
    graph = KnowledgeGraph.from_labelled(
        "atomic", [one for part in parts for one in labelled(part, part.train)], [], []
    )
    car = Conceptualiser(table=concept_table(data)).conceptualise(graph.entities).merge()
    ways: dict[str, tuple[str, dict[str, Any]]] = {
        "random": ("random", {}),
        "keyword": ("keyword", {}),
        "CAR": ("concept", {"features": car, "mode": "paper"}),
        "concept": ("concept", {"features": conceptualise(data, list(graph.entities))}),
    }
    common: dict[str, Any] = {"aliases": ALIASES, "limit": QUESTIONS, "progress": False}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for seed in range(rounds):
        for name, (method, options) in ways.items():
            begin = time.process_time()
            made = build_questions(graph, distractors=method, n=2, seed=seed, options=options, **common)
            times[name].append((time.process_time() - begin) * QUESTIONS / len(made))
    return times


def run(data: Path, *, rounds: int, loop_questions: int) -> dict[str, Any]:
    """Return nanoseconds per draw, seconds and bytes."""
    torch.set_num_threads(1)
    atomic = Atomic.read(data)
    found: dict[str, Any] = {"draws": {}, "construction": {}, "rounds": rounds, "relaxed": {}}
    order = torch.randperm(len(atomic.observed), generator=torch.Generator().manual_seed(0))
    shuffled = atomic.observed[order]
    features = atomic.of_car()
    begin = time.process_time()
    loop = Loop(atomic.observed, features, seed=0)
    found["construction"][LOOP] = {"seconds": time.process_time() - begin}
    asked = shuffled[:loop_questions, :2].tolist()
    candidates: dict[str, Callable[[], int]] = {LOOP: lambda: sum(len(loop(h, r)) for h, r in asked)}
    for name, make in corruptors(atomic):
        made, found["construction"][name] = built(make)
        for size, n in BATCHES:
            some = shuffled[:size] if size else shuffled
            made(some, n)  # warm up
            candidates[f"{name}|{len(some):,} x {n}"] = batched(made, some, n, max(1, 4096 // len(some)))
        found["relaxed"][name] = made.counts["relaxed"]
    found["draws"] = race(candidates, rounds)
    candidates.clear()
    invented = made_up(atomic)
    for precompute in (True, False):
        name = "made-up features" + ("" if precompute else NOTHING)
        found["construction"][name] = built(
            lambda precompute=precompute: of(atomic.observed, invented, atomic, mode="paper", precompute=precompute)
        )[1]
    found["questions"] = questions(data, rounds=3)
    return found


def spread(values: list[float], unit: str = "") -> str:
    low, mid, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return f"{figure(mid)}{unit} [{figure(low)}, {figure(high)}]"


def figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def table(found: dict[str, Any]) -> str:
    """Return everything as Markdown: medians and quartiles over rounds."""
    loop = found["draws"][LOOP]
    lines = [["way", "batch x draws", "CPU ns per draw", "loop takes"], [LOOP, "1 x 2", spread(loop), "1x"]]
    for key, times in found["draws"].items():
        if key == LOOP:
            continue
        name, shape = key.split("|")
        ratios = [one / other for one, other in zip(loop, times, strict=True)]
        lines.append([name, shape, spread(times), spread(ratios, "x")])
    second = [["what", "CPU s to make", "MB held"]]
    for name, one in found["construction"].items():
        second.append([name, f"{one['seconds']:.1f}", f"{one['bytes'] / 1e6:.0f}" if "bytes" in one else ""])
    third = [[f"{QUESTIONS:,} questions, distractors", "CPU s"]]
    third += [[name, spread(times)] for name, times in found["questions"].items()]
    heads, number, each = MADE_UP
    note = (
        f"{found['rounds']} rounds, CPU time of one thread; medians and quartiles. Made-up features: {each} of "
        f"{number:,} for each of {heads:,} heads at most."
    )
    return "\n\n".join([markdown(lines), markdown(second), markdown(third), note])
