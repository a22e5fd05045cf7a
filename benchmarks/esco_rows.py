"""The trained rows of the ESCO benchmark: how they are tuned, trained and judged, each result in a file of its own."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from esco_data import SOURCES, TESTS, VALIDATION, read_examples

from kgneg.core.candidates import CandidateIndex
from kgneg.core.storage import atomic_path
from kgneg.skills import ConceptSet, Examples, Recipe, TextRanker, judge_ranking, train_ranker
from kgneg.skills.sources import Gold

MIXTURE = {"sibling": 1, "edit": 1, "embedding": 1, "random": 1}
NAMES_AND_MENTIONS = ("names", "mentions")


class Row(NamedTuple):
    """A row of the table.

    :param recipe: what is not tuned
    :param sources: where texts are from
    :param least: how many texts a skill must have to be learnt
    :param like: the row whose tuned numbers it takes; ``None``: it is tuned itself
    """

    recipe: dict[str, Any]
    sources: tuple[str, ...] = SOURCES
    like: str | None = None
    least: int = 1


def _alone(strategy: str, like: str | None = None) -> Row:
    return Row({"strategies": {strategy: 4}}, like=like)


ROWS: dict[str, Row] = {
    **{one: _alone(one) for one in ("random", "sibling", "edit", "embedding")},
    "cousin": _alone("cousin", "sibling"),
    "relation:occupation": _alone("relation:occupation", "sibling"),
    "edit:raw": _alone("edit:raw", "edit"),
    "mixture": Row({"strategies": MIXTURE}),
    "embedding, refreshed": Row({"strategies": {"embedding": 4}, "refresh": 50}, like="embedding"),
    "random, 64 negatives": Row({"strategies": {"random": 64}}, like="random"),
    "mixture, 64 negatives": Row({"strategies": dict.fromkeys(MIXTURE, 16)}, like="mixture"),
    "mixture, 64, mostly random": Row(
        {"strategies": {"sibling": 2, "edit": 2, "embedding": 2, "random": 58}}, like="random"
    ),
    "random, 64, corrected": Row({"strategies": {"random": 64}, "corrected": True}, like="random"),
    "mixture, 64, corrected": Row({"strategies": dict.fromkeys(MIXTURE, 16), "corrected": True}, like="random"),
    "softmax": Row({"method": "softmax"}),
    "random, trained labels": Row({"strategies": {"random": 4}, "labels": "trained"}, like="random"),
    "mixture, trained labels": Row({"strategies": MIXTURE, "labels": "trained"}, like="mixture"),
    "random, no SkillSkape": Row({"strategies": {"random": 4}}, NAMES_AND_MENTIONS, "random"),
    "mixture, no SkillSkape": Row({"strategies": MIXTURE}, NAMES_AND_MENTIONS, "mixture"),
    "softmax, no SkillSkape": Row({"method": "softmax"}, NAMES_AND_MENTIONS, "softmax"),
}
#: the paper's classifiers on a frozen encoder
CLASSIFIERS: dict[str, Row] = {
    f"classifiers, {name}": Row({"method": "classifiers", "strategies": counts}, ("mentions", "skillskape"), least=10)
    for name, counts in {
        "random": {"random": 8},
        "sibling": {"sibling": 8},
        "edit": {"edit": 8},
        "embedding": {"embedding": 8},
        "mixture": {"sibling": 2, "edit": 2, "embedding": 2, "random": 2},
    }.items()
}


class Bench:
    """Trains rows and keeps what came out.

    :param folder: the data
    :param work: where results are kept
    """

    def __init__(
        self, folder: Path, work: Path, skills: ConceptSet, parts: dict[str, Gold], *, steps: int, trials: int
    ) -> None:
        self.folder, self.work, self.skills, self.parts = folder, work, skills, parts
        self.steps, self.trials = steps, trials
        self._examples: dict[tuple[tuple[str, ...], int], Examples] = {}

    def examples(self, row: Row) -> Examples:
        key = row.sources, row.least
        if key not in self._examples:
            self._examples[key] = read_examples(self.folder, self.skills, self.parts, row.sources).frequent(row.least)
        return self._examples[key]

    def row(self, name: str) -> Row:
        return {**ROWS, **CLASSIFIERS}[name]

    def recipe(self, name: str, tuned: dict[str, Any], seed: int) -> Recipe:
        row = self.row(name)
        chosen = {
            "steps": self.steps,
            "corrected": False,
            **row.recipe,
            **{key: one for key, one in tuned.items() if key != "n"},
        }
        if "n" in tuned:
            total = sum(row.recipe["strategies"].values())
            chosen["strategies"] = {one: count * tuned["n"] // total for one, count in row.recipe["strategies"].items()}
        return Recipe(**chosen, seed=seed)

    def train(self, name: str, tuned: dict[str, Any], seed: int) -> tuple[TextRanker, float]:
        begin = time.process_time()
        with tempfile.TemporaryDirectory() as scratch:
            ranker = train_ranker(
                self.skills,
                self.examples(self.row(name)),
                Path(scratch, "ranker"),
                self.recipe(name, tuned, seed),
                encoder="minilm",
                progress=False,
            )
            ranker.progress = False
            ranker.base_scores(["the encoder is loaded while its folder is there"])
        return ranker, time.process_time() - begin

    def judge(self, ranker: TextRanker, parts: Iterable[str], *, seen: torch.Tensor | None = None) -> dict[str, Any]:
        """Return figures without and with the bonus, and the first with the right pairs of trained concepts only."""
        found = {}
        for part in parts:
            gold = self.parts[part]
            bare, full = ranker.base_scores(gold.texts), ranker.scores(gold.texts)
            entry = {"alone": _figures(bare, gold), "with mentions": _figures(full, gold)}
            if seen is not None:
                kept = seen[gold.concepts]
                entry["seen"] = _figures(bare, Gold(gold.texts, gold.queries[kept], gold.concepts[kept], {}))
            found[part] = entry
        return found

    def tune(self, name: str) -> dict[str, Any]:
        """Choose the numbers of a row by its RP@5 on the validation parts."""
        row = self.row(name)
        if row.like is not None:
            return self.tune(row.like)
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        slug = name.replace(":", "-").replace(" ", "-")
        self.work.mkdir(parents=True, exist_ok=True)
        study = optuna.create_study(
            storage=f"sqlite:///{self.work / slug}.db",
            study_name=name,
            direction="maximize",
            load_if_exists=True,
            sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=3),
        )
        # taken up again, it goes on with other random numbers
        study.sampler = optuna.samplers.TPESampler(seed=len(study.trials), n_startup_trials=3)
        slow = row.recipe.get("method") != "classifiers"
        if not study.trials:
            study.enqueue_trial({"lr": 1e-4, "temperature": 0.05} if slow else {"lr": 1e-2, "epochs": 20, "n": 8})

        def objective(trial: Any) -> float:
            if slow:
                tuned = {
                    "lr": trial.suggest_float("lr", 5e-5, 4e-4, log=True),
                    "temperature": trial.suggest_float("temperature", 0.02, 0.1, log=True),
                }
            else:
                tuned = {
                    "lr": trial.suggest_float("lr", 2e-3, 5e-2, log=True),
                    "epochs": trial.suggest_categorical("epochs", [5, 20, 60]),
                    "n": trial.suggest_categorical("n", [4, 8, 16]),
                }
            ranker, _ = self.train(name, tuned, seed=1000)
            figures = self.judge(ranker, VALIDATION)
            return statistics.mean(one["alone"]["rp"]["5"] for one in figures.values())

        done = sum(trial.state.name == "COMPLETE" for trial in study.trials)
        study.optimize(objective, n_trials=max(self.trials - done, 0))
        return dict(study.best_params)

    def cell(self, name: str, seed: int) -> dict[str, Any]:
        """Return what a row gives with a seed, from its file if it is there."""
        path = self.work / f"{name.replace(':', '-').replace(' ', '-')}-{seed}.json"
        if path.is_file():
            return json.loads(path.read_text(encoding="utf-8"))
        tuned = self.tune(name)
        ranker, seconds = self.train(name, tuned, seed)
        seen = getattr(getattr(ranker, "classifiers", None), "trained", None)
        found = {"row": name, "seed": seed, "tuned": tuned, "steps": self.steps, "cpu_seconds": seconds}
        found["figures"] = self.judge(ranker, (*VALIDATION, *TESTS), seen=seen)
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        return found


def _figures(scores: torch.Tensor, gold: Gold) -> dict[str, Any]:
    found = judge_ranking(scores, gold.queries, gold.concepts)
    return {"mrr": found.mrr, "rp": {str(k): 100 * one for k, one in found.precision.items()}, "texts": found.queries}


def co_gold(pools: CandidateIndex | None, number: int, golds: Iterable[Gold], near: CandidateIndex | None) -> float:
    """Return how often a draw for a right concept of a text is another right one: false negatives that are known.

    :param pools: the lists of a strategy; ``None``: any concept
    :param number: how many concepts there are
    :param near: what is never drawn
    """
    total = hit = 0.0
    if pools is not None and near is not None:
        pools = pools.without(near)
    for gold in golds:
        right: dict[int, set[int]] = {}
        for query, concept in zip(gold.queries.tolist(), gold.concepts.tolist(), strict=True):
            right.setdefault(query, set()).add(concept)
        for members in right.values():
            for concept in members:
                others = members - {concept}
                if near is not None:
                    others -= set(near.members(concept).tolist())
                if pools is None:
                    total, hit = total + 1, hit + len(others) / (number - 1)
                    continue
                start, end = int(pools.indptr[concept]), int(pools.indptr[concept + 1])
                if start == end:
                    continue
                weights = torch.ones(end - start) if pools.weights is None else pools.weights[start:end]
                found = torch.isin(pools.indices[start:end].long(), torch.tensor(sorted(others), dtype=torch.long))
                total, hit = total + 1, hit + float((weights * found).sum() / weights.sum())
    return hit / max(total, 1)
