"""What distractors are worth to a scorer: questions of ATOMIC, the same for all kinds, and zero-shot accuracy after.

All kinds ask the same questions with the same names and answers, for the same steps from the same model; only the
wrong choices differ. The learning rate is chosen once, with random distractors, by the accuracy on questions that were
held out from training; benchmarks are not looked at for that. Each training is kept in a file, seed by seed.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from car_data import ALIASES, MissingDataError, atomic_files, concept_table, conceptualise, labelled
from car_stats import markdown, middle

from kgneg.core.storage import atomic_path
from kgneg.datasets import Conceptualiser, KnowledgeGraph, read_atomic
from kgneg.qa import (
    QuestionSet,
    Scorer,
    ScorerRecipe,
    build_questions,
    evaluate_zero_shot,
    find_benchmarks,
    judge_choices,
    make_scorer,
    read_benchmark,
    train_scorer,
)

KINDS = ("random", "keyword", "CAR", "concept")
RATES = (5e-5, 2e-4)
TUNING_SEED, HELD_OUT = 1000, 500


class QaBench:
    """Builds questions, trains on them and keeps what came out.

    :param data: shared data
    :param work: where results are kept
    :param steps: batches of 32 questions of each training
    :param layers: how many of the last layers are trained
    :param limit: at most so many questions of each set are answered, a random part that is the same for all
    """

    def __init__(self, data: Path, work: Path, *, steps: int, layers: int, limit: int | None) -> None:
        observed, hidden = (read_atomic(path, blank="drop") for path in atomic_files(data))
        folder = data / "commonsense" / "qa_dev"
        if not folder.is_dir():
            raise MissingDataError(f"there is no folder {folder}; set KGNEG_DATA")
        self.data, self.work, self.graph = data, work / "qa", observed
        self.steps, self.layers, self.limit = steps, layers, limit
        self.hidden = set(labelled(hidden, hidden.train))
        self.sets = {name: part(read_benchmark(name, path), limit) for name, path in find_benchmarks(folder).items()}
        self._options: dict[str, dict[str, Any]] = {}

    def options(self, kind: str) -> dict[str, Any]:
        """Return what distractors are drawn with; features are found once."""
        if kind not in self._options:
            found: dict[str, Any] = {}
            if kind == "concept":
                found = {"features": conceptualise(self.data, list(self.graph.entities))}
            elif kind == "CAR":
                made = Conceptualiser(table=concept_table(self.data)).conceptualise(self.graph.entities)
                found = {"features": made.merge(), "mode": "paper"}
            self._options[kind] = found
        return self._options[kind]

    def questions(self, kind: str, seed: int) -> QuestionSet:
        """Return a question for every observed triple that makes one."""
        return build_questions(
            self.graph,
            distractors="concept" if kind == "CAR" else kind,
            n=2,
            seed=seed,
            aliases=ALIASES,
            options=self.options(kind),
            progress=False,
        )

    def recipe(self, lr: float, seed: int) -> ScorerRecipe:
        return ScorerRecipe(
            encoder="minilm", steps=self.steps, batch_size=32, lr=lr, trainable_layers=self.layers, seed=seed
        )

    def tune(self) -> dict[str, Any]:
        """Choose the learning rate."""
        path = self.work / "rate.json"
        if not path.is_file():
            asked = self.questions("random", TUNING_SEED)
            order = torch.randperm(len(asked), generator=torch.Generator().manual_seed(TUNING_SEED))
            held_out, rest = asked.select(order[:HELD_OUT]), order[HELD_OUT:]
            accuracies = {}
            for lr in RATES:
                chosen = asked.select(rest[: 32 * self.steps])
                scorer = train_scorer(chosen, self.recipe(lr, TUNING_SEED), progress=False)
                accuracies[f"{lr:g}"] = judge_choices(scorer, held_out).accuracy
                print(f"learning rate {lr:g}: {accuracies[f'{lr:g}']:.3f} of questions held out", flush=True)
            best = max(RATES, key=lambda lr: accuracies[f"{lr:g}"])
            keep(path, {"lr": best, "accuracies": accuracies, "questions": HELD_OUT})
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def cell(self, kind: str, seed: int) -> dict[str, Any]:
        """Return what a training gives, from its file if it is there; ``untrained`` is the model itself."""
        path = self.work / f"{kind}-{seed}.json"
        if path.is_file():
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return found
        begin = time.process_time()
        cell: dict[str, Any] = {"row": kind, "seed": seed, "steps": self.steps, "limit": self.limit}
        if kind == "untrained":
            scorer: Scorer = make_scorer("bi-encoder", "minilm", progress=False)
        else:
            asked = self.questions(kind, seed)
            cell |= distractor_rates(self.graph, asked, self.hidden)
            order = torch.randperm(len(asked), generator=torch.Generator().manual_seed(seed))
            chosen = asked.select(order[: 32 * self.steps])
            cell["learnt from"] = len(chosen)
            scorer = train_scorer(chosen, self.recipe(self.tune()["lr"], seed), progress=False)
        cell["training_seconds"] = time.process_time() - begin
        result = evaluate_zero_shot(scorer, self.sets)
        cell["accuracy"] = {name: one.accuracy for name, one in result.sets.items()} | {"mean": result.mean}
        cell["chance"] = {name: one.chance for name, one in result.sets.items()} | {"mean": result.chance}
        cell["sizes"] = {name: one.size for name, one in result.sets.items()}
        cell["cpu_seconds"] = time.process_time() - begin
        keep(path, cell)
        return cell

    def cells(self, seeds: int) -> Iterator[dict[str, Any]]:
        """Train everything, seed by seed."""
        yield self.cell("untrained", 0)
        for seed in range(seeds):
            for kind in KINDS:
                yield self.cell(kind, seed)


def keep(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def part(questions: QuestionSet, limit: int | None) -> QuestionSet:
    if limit is None or limit >= len(questions):
        return questions
    order = torch.randperm(len(questions), generator=torch.Generator().manual_seed(0))
    return questions.select(order[:limit].sort().values)


def distractor_rates(graph: KnowledgeGraph, asked: QuestionSet, hidden: set[tuple[str, str, str]]) -> dict[str, Any]:
    """Return how many distractors there are, how many are right by the hidden triples, and how many stand in."""
    if asked.triples is None or asked.distractors is None or asked.fallback is None:
        raise ValueError("the questions do not say what they are made of")
    n = asked.distractors.shape[1]
    triples = asked.triples.repeat_interleave(n, dim=0)
    triples[:, 2] = asked.distractors.reshape(-1)
    right = sum(one in hidden for one in labelled(graph, triples))
    return {
        "questions": len(asked),
        "distractors": len(triples),
        "right": right,
        "fallback": int(asked.fallback.sum()),
    }


def table(cells: list[dict[str, Any]], tuned: dict[str, Any]) -> str:
    """Return the cells as Markdown: medians over seeds, the least and the largest in brackets."""
    names = [*cells[0]["sizes"], "mean"]
    sizes = ", ".join(f"{name} {size:,}" for name, size in cells[0]["sizes"].items())
    lines = [["distractors", "seeds", *names, "right, per 10,000", "stand-ins, %", "CPU, s"]]
    lines.append(["chance", "", *(f"{100 * cells[0]['chance'][name]:.1f}" for name in names), "", "", ""])
    for row in ("untrained", *KINDS):
        own = [one for one in cells if one["row"] == row]
        if not own:
            continue
        line = [row, str(len(own)), *(middle([100 * one["accuracy"][name] for one in own], 1) for name in names)]
        if row == "untrained":
            lines.append([*line, "", "", ""])
            continue
        right = middle([1e4 * one["right"] / one["distractors"] for one in own], 1)
        stands = middle([100 * one["fallback"] / one["distractors"] for one in own], 2)
        lines.append([*line, right, stands, f"{statistics.median(one['training_seconds'] for one in own):.0f}"])
    trained = next(one for one in cells if "learnt from" in one)
    rates = ", ".join(f"{lr}: {accuracy:.3f}" for lr, accuracy in tuned["accuracies"].items())
    return markdown(lines) + (
        f"\n\nQuestions answered: {sizes}. Learnt from {trained['learnt from']:,} of {trained['questions']:,} "
        f"questions with two distractors each, {trained['steps']} batches of 32. Accuracy on {tuned['questions']} "
        f"questions held out, with random distractors, by learning rate: {rates}; taken: {tuned['lr']:g}."
    )


def run(data: Path, work: Path, *, seeds: int, steps: int, layers: int, limit: int | None) -> dict[str, Any]:
    """Return all cells."""
    bench = QaBench(data, work, steps=steps, layers=layers, limit=limit)
    tuned = bench.tune()
    cells = []
    for one in bench.cells(seeds):
        cells.append(one)
        print(
            f"{one['row']}, seed {one['seed']}: {one['accuracy']['mean']:.4f}, {one['cpu_seconds']:.0f} s", flush=True
        )
    return {"cells": cells, "tuned": tuned}
