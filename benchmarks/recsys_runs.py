"""One row of the recommendation benchmark on a split: tuned, and then trained with several seeds."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from recsys_peers import PEERS
from recsys_plan import EXTRA, METRIC, ROWS, Budget, draw_options, ranges_of

from kgneg.compare.store import versions
from kgneg.core.cache import content_key
from kgneg.core.errors import DivergedError, InvalidInputError
from kgneg.core.storage import atomic_path
from kgneg.recsys import Interactions, InteractionSplit
from kgneg.recsys.evaluation import evaluate
from kgneg.recsys.metrics import Meter
from kgneg.recsys.models import build_recommender
from kgneg.recsys.recommender import Recommender
from kgneg.recsys.trained import TrainedRecommender
from kgneg.recsys.trainer import Trainer

__all__ = ["Cell", "Cells", "LimitedTrainer", "run_model"]

KS = (10, 20, 50)
METRICS = ("recall", "ndcg", "precision", "mrr", "hit", "capped_precision")
#: what a row may fail with, and still be a result: the reason is printed
FAILURES = (InvalidInputError, DivergedError, ImportError, MemoryError)
#: failures that say nothing of the method, so that it is tried again next time
PASSING = ("ImportError", "ModuleNotFoundError", "MemoryError")


class LimitedTrainer(Trainer):
    """A trainer that counts CPU seconds, and ends after some.

    :param limit: CPU seconds, or 0
    """

    def __init__(self, *arguments: Any, limit: float = 0.0, **options: Any) -> None:
        super().__init__(*arguments, progress=False, **options)
        self.limit, self.begin = limit, time.process_time()
        #: CPU seconds of each epoch, without the looks at validation
        self.cpu: list[float] = []

    def _steps(self, *arguments: Any) -> float:
        begin = time.process_time()
        loss = super()._steps(*arguments)
        self.cpu.append(time.process_time() - begin)
        return loss

    def _epoch(self, history: Any, *more: Any) -> None:
        super()._epoch(history, *more)
        if self.limit and not history.stopped and time.process_time() - self.begin > self.limit:
            if self.valid is not None and "value" not in history.epochs[-1]:
                self._look(history, history.epochs[-1])
            history.stopped = "time"


class Cells:
    """What is finished, a JSON file each.

    :param folder: where
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, name: str, key: Mapping[str, Any], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return what was kept under a key, or make and keep it.

        :param name: how the file begins
        :param key: everything that the result depends on
        :param make: makes the result
        """
        path = self.folder / f"{name}-{content_key(key)[:16]}.json"
        if path.exists():
            kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["result"]
            return kept
        found = make()
        if str(found.get("failure", "")).startswith(PASSING):
            return found
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps({"key": key, "result": found}, indent=1, sort_keys=True) + "\n")
        return found


def spelled(options: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(options, sort_keys=True, default=str))  # type: ignore[no-any-return]


def make_model(name: str, options: Mapping[str, Any], *, seed: int, epochs: int = 0) -> Recommender:
    """Return a model with the selection metric of all, a seed, and no more epochs than allowed."""
    model = build_recommender(name, **options)
    if isinstance(model, TrainedRecommender):
        changes: dict[str, Any] = {"seed": seed, "device": "cpu"}
        if not name.endswith(":paper"):
            changes["metric"] = METRIC
        if epochs:
            changes["epochs"] = min(epochs, model.training_settings.epochs)
        model.training_settings = model.training_settings.changed(changes)
    return model


def fit_model(model: Recommender, train: Interactions, valid: Interactions, limit: float) -> dict[str, Any]:
    """Train, and return how it went."""
    begin, used = time.perf_counter(), time.process_time()
    found: dict[str, Any] = {"epochs": None, "best_epoch": None, "stopped": "", "cpu_per_epoch": None, "health": None}
    if isinstance(model, TrainedRecommender):
        trainer = LimitedTrainer(model, train, valid, limit=limit)
        history = model.history = trainer.run()
        model.forget()
        looks = [one for one in history.epochs if "health" in one]
        found |= {"epochs": len(history.epochs), "best_epoch": history.best_epoch, "stopped": history.stopped}
        found |= {"cpu_per_epoch": sum(trainer.cpu) / max(len(trainer.cpu), 1)}
        found |= {"valid": history.best_value if history.metric == METRIC else None}
        found |= {"loss": history.epochs[-1]["loss"]}
        found["health"] = {
            which: one["health"]
            for which, one in zip(
                ("last", "best"),
                (looks[-1], next(one for one in looks if one["epoch"] == history.best_epoch)),
                strict=True,
            )
        }
    else:
        model.fit(train, valid)
    found |= {"cpu_seconds": time.process_time() - used, "seconds": time.perf_counter() - begin}
    if found.get("valid") is None:
        found["valid"] = validate(model, valid)
    return found


def validate(model: Recommender, valid: Interactions) -> float:
    name, _, k = METRIC.partition("@")
    return evaluate(model, valid, ks=(int(k),), metrics=(name,), by_user=False, beyond=False, progress=False).metrics[
        METRIC
    ]


def run_model(
    name: str, options: Mapping[str, Any], split: InteractionSplit, *, seed: int, epochs: int, limit: float, test: bool
) -> dict[str, Any]:
    """Train a model and judge it, on the test pairs if wished."""
    model = make_model(name, options, seed=seed, epochs=epochs)
    found = fit_model(model, split.train, split.valid, limit)
    if not test:
        return found
    judged = evaluate(model, split.test, hide=split.valid, ks=KS, metrics=METRICS, by_user=False, progress=False)
    found |= {"metrics": judged.metrics, "counts": judged.counts}
    found["beyond"] = {
        name: value for name, value in judged.beyond.items() if "@20" in name and isinstance(value, float)
    }
    users = ((split.test.user_counts > 0) & (split.train.user_counts > 0)).nonzero().squeeze(1)
    found["lists_per_second"] = rate(
        len(users), lambda: model.recommend(users, min(50, split.train.num_items), hide=split.valid)
    )
    found["evaluated_per_second"] = rate(
        len(users),
        lambda: evaluate(
            model,
            split.test,
            hide=split.valid,
            ks=(20,),
            metrics=("recall", "ndcg"),
            by_user=False,
            beyond=False,
            progress=False,
        ),
    )
    return found


def rate(number: int, act: Callable[[], Any]) -> float:
    """Return how many per CPU second."""
    begin = time.process_time()
    act()
    return number / max(time.process_time() - begin, 1e-9)


def run_peer(
    name: str, options: Mapping[str, Any], split: InteractionSplit, *, seed: int, epochs: int, test: bool
) -> dict[str, Any]:
    """Train a peer and judge its lists with our metrics."""
    kind = PEERS[name]
    peer = kind(seed, **options)
    if epochs:
        peer.options[kind.epochs] = min(epochs, peer.options[kind.epochs])
    begin = time.perf_counter()
    used = peer.seconds_of_fit(split.train)
    number = peer.options[kind.epochs]
    found = {"epochs": number, "best_epoch": number, "stopped": "epochs", "cpu_per_epoch": used / number}
    found |= {"cpu_seconds": used, "seconds": time.perf_counter() - begin, "health": None, "version": peer.version()}
    found["valid"] = judge_lists(peer, split.train, split.valid, None)["metrics"][METRIC]
    if not test:
        return found
    found |= judge_lists(peer, split.train, split.test, split.valid)
    found["evaluated_per_second"] = own_rate(peer, split)
    return found


def own_rate(peer: Any, split: InteractionSplit) -> float:
    begin = time.process_time()
    users: int = peer.own_evaluation(split.train, split.test)
    return users / max(time.process_time() - begin, 1e-9)


def judge_lists(peer: Any, train: Interactions, test: Interactions, hide: Interactions | None) -> dict[str, Any]:
    """Return the figures of the lists of a peer."""
    users = ((test.user_counts > 0) & (train.user_counts > 0)).nonzero().squeeze(1)
    seen = train if hide is None else together(train, hide)
    begin = time.process_time()
    items = peer.lists(users.numpy(), KS[-1], seen)
    seconds = time.process_time() - begin
    meter = Meter(list(METRICS), list(KS), train.num_items, tally=True)
    meter.add(items, *test.of(users))
    shown = meter.tally.shown[KS.index(20)]
    return {
        "metrics": meter.means(),
        "counts": {"users": len(users)},
        "beyond": {"coverage@20": float((shown > 0).double().mean())},
        "lists_per_second": len(users) / max(seconds, 1e-9),
    }


def together(first: Interactions, second: Interactions) -> Interactions:
    return Interactions(
        torch.cat([first.users, second.users]),
        torch.cat([first.items, second.items]),
        num_users=first.num_users,
        num_items=first.num_items,
    )


class Cell:
    """A row on a data set with a share for training. What is finished is kept, and taken from there.

    :param name: the name of the data set
    :param pairs: its pairs
    :param beta: the share for training
    :param row: the name of the row
    :param budget: what is equal for all rows
    :param folder: where to keep what is finished
    """

    def __init__(self, name: str, pairs: Interactions, beta: float, row: str, budget: Budget, folder: Path) -> None:
        self.name, self.pairs, self.beta, self.row, self.budget = name, pairs, beta, {**ROWS, **EXTRA}[row], budget
        self.cells = Cells(folder / "cells" / f"{name}-{beta:g}")
        self.splits: dict[int, InteractionSplit] = {}

    def split(self, seed: int) -> InteractionSplit:
        if seed not in self.splits:
            self.splits = {seed: self.pairs.split("beta", beta=self.beta, seed=seed)}
        return self.splits[seed]

    def run(self) -> dict[str, Any]:
        """Tune if the row is tuned, train, and return what came out."""
        found: dict[str, Any] = {"model": self.row.model, "tuning": None, "finals": []}
        options: Mapping[str, Any] = {}
        if self.row.tuned:
            found["tuning"] = tuning = self.tune()
            if tuning["best"] is None:
                return {**found, "failure": tuning["trials"][0]["failure"]}
            options = tuning["best"]["options"]
        finals = [self.once("final", options, seed) for seed in range(self.budget.seeds)]
        failures = [f"seed {seed}: {one['failure']}" for seed, one in enumerate(finals) if one.get("failure")]
        return {**found, "finals": finals, "failure": failures[0] if failures else None}

    def tune(self) -> dict[str, Any]:
        """Return all trials and the best of them, by validation pairs of the first split."""
        trials = []
        for number, options in enumerate(draw_options(self.row.model, self.budget.trials, self.budget.seed)):
            one = self.once("trial", options, 0)
            trials.append({"number": number, "options": spelled(options), "value": one.get("valid")})
            trials[-1] |= {name: one.get(name) for name in ("failure", "best_epoch", "stopped", "cpu_seconds")}
            if number == 0 and "max_items" in str(one.get("failure")):
                break  # whatever the options, there are too many items
        done = [one for one in trials if one["value"] is not None]
        best = max(done, key=lambda one: (one["value"], -one["number"]), default=None)
        return {"trials": trials, "best": best, "ranges": spelled(ranges_of(self.row.model))}

    def once(self, kind: str, options: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """Train once; a failure that says something of the method is a result too."""
        final, budget, peer = kind == "final", self.budget, self.row.peer
        epochs = budget.epochs if final else budget.trial_epochs
        split = self.split(seed)
        key = {"kind": kind, "set": self.name, "beta": self.beta, "model": self.row.model, "seed": seed}
        key |= {"options": spelled(options), "epochs": epochs, "limit": budget.time_limit, "versions": versions()}
        key |= {"train": split.train.fingerprint(), "valid": split.valid.fingerprint(), "metric": METRIC}
        if not peer:  # defaults are part of what a model is
            model = make_model(self.row.model, options, seed=seed, epochs=epochs)
            key["full"] = spelled(model.options)
            key["training"] = model.training_settings.to_dict() if isinstance(model, TrainedRecommender) else None

        def make() -> dict[str, Any]:
            given: dict[str, Any] = {"seed": seed, "epochs": epochs, "test": final}
            try:
                if peer:
                    return run_peer(self.row.model, options, split, **given)
                return run_model(self.row.model, options, split, limit=budget.time_limit, **given)
            except FAILURES as error:
                return {"failure": f"{type(error).__name__}: {' '.join(str(error).split())}"}

        name = f"{self.row.model.replace(':', '-')}-{kind}-s{seed}"
        found = self.cells.get(name, key, make)
        return found
