"""One cell of the link-prediction benchmark: a model with a row, tuned and then trained with several seeds."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from link_prediction_hard import accuracies, hard_negatives, scores_of
from link_prediction_plan import ALL, MODELS, Budget, choice_of, seed_of, tuning_data
from link_prediction_scores import all_ranges, draw_options, reciprocal_ranks, train_all

from kgneg.compare import CompareData
from kgneg.compare.falsehood import count_true
from kgneg.compare.names import find_sampler, sampler_options
from kgneg.compare.runs import quiet_pykeen
from kgneg.compare.store import RunStore, file_hashes, versions
from kgneg.core.cache import content_key
from kgneg.core.storage import atomic_path
from kgneg.studies import StudySettings, run_study
from kgneg.studies.objective import pipeline_arguments, trial_seed
from kgneg.studies.queue import TRIAL
from kgneg.studies.space import Configuration

__all__ = ["Cell"]

_EDGE = 0.05


class Cell:
    """A model with a row on a graph. What is finished is kept in a folder, and taken from there.

    :param data: the triples
    :param model: the name of the model
    :param row: the name of the row
    :param budget: what is equal for all rows
    :param folder: where to keep what is finished
    :param root: the folder with the shared data
    """

    def __init__(self, data: CompareData, model: str, row: str, budget: Budget, folder: Path, root: Path) -> None:
        self.data, self.model, self.row, self.budget, self.folder = data, MODELS[model], row, budget, folder
        self.choice = None if row == ALL else choice_of(row, budget, data)
        self.hard = hard_negatives(data, root)
        self.store = RunStore(folder / "runs")
        self.tuning = tuning_data(data, budget)

    def key(self, kind: str, **further: Any) -> dict[str, Any]:
        """Return everything that a result depends on."""
        options = {} if self.choice is None else dict(self.choice.options)
        left = {"trials", "seeds"} | ({"checked"} if kind != "final" else {"judged"})
        budget = {name: value for name, value in self.budget.to_dict().items() if name not in left}
        return {
            **{"kind": kind, "model": vars(self.model), "row": self.row, "budget": budget, **further},
            "sampler": None if self.choice is None else self.choice.name,
            "options": {name: value for name, value in options.items() if name != "texts"},
            "files": file_hashes(options),
            "triples": self.data.fingerprint(),
            "hard": None
            if self.hard is None
            else [content_key(torch.from_numpy(one.triples)) for one in self.hard.values()],
            "versions": versions(),
        }

    def run(self) -> dict[str, Any]:
        """Tune, train, and return what came out; ``seconds`` stand apart from what can be repeated."""
        best = self.tune()
        finals = [self.final(best, number) for number in range(self.budget.seeds)]
        return {"tuning": {name: value for name, value in best.items() if name != "seconds"}, "finals": finals} | {
            "seconds": {"trials": best["seconds"], "finals": [one["seconds"] for one in finals]}
        }

    # tuning

    def tune(self) -> dict[str, Any]:
        """Return the best configuration and all that were tried."""
        found = self.tune_all() if self.choice is None else self.tune_sampler()
        best = max(found["trials"], key=lambda one: (one["mrr"], -one["number"]), default=None)
        if best is None:
            raise RuntimeError(f"{self.model.name}, {self.row}: no trial could be trained")
        return {**found, "best": best, "at_edge": at_edge(found["ranges"], best["params"])}

    def tune_sampler(self) -> dict[str, Any]:
        settings = self.settings()
        key = content_key(self.key("study"))
        storage = self.folder / "studies" / f"{self.model.name}-{self.row}-{key[:12]}.log"
        storage.parent.mkdir(parents=True, exist_ok=True)
        result = run_study(settings, str(storage), name="tuning", data=self.tuning, progress=False)
        if result.problems:
            raise RuntimeError(f"{self.model.name}, {self.row}: {'; '.join(result.problems)}")
        # a trial that was killed is repeated under another number, but in the same place
        complete = {one["place"]: one for one in result.complete if one["place"] < self.budget.trials}
        failed = sum(str(one["failure"]).startswith(TRIAL) for one in result.trials if one["state"] == "fail")
        trials = [
            {
                "number": place,
                "params": {short(name): value for name, value in one["params"].items()},
                "mrr": one["value"],
            }
            for place, one in sorted(complete.items())
        ]
        return {
            "ranges": {short(name): one for name, one in searched(settings).items()},
            "trials": trials,
            "failed": failed,
            "configurations": {place: one["configuration"] for place, one in complete.items()},
            "seconds": [one["seconds"] for _, one in sorted(complete.items())],
        }

    def settings(self) -> StudySettings:
        """Return the study of this cell: all that is not searched for this model has one value."""
        model, budget = self.model, self.budget
        fixed = {
            "sampler.num_negs_per_pos": budget.negatives,
            "model.embedding_dim": budget.dim,
            "batch_size": budget.batch_size,
            **{f"model.{name}": value for name, value in model.start.items()},
        }
        open_ = StudySettings(
            samplers=(self.choice,),
            models=(model.name,),
            losses=(model.loss,),
            dataset=str(self.data.texts or self.data.name),
            trials=budget.trials,
            epochs=budget.epochs,
            fixed=fixed,
            ranges=model.ranges,
            training_loop="kgneg",
            search="random",
            pruner="none",
            seed=budget.seed,
            device="cpu",
        )
        wanted = {name if "." in name else f"optimizer.{name}" for name in model.ranges}
        for prefix, part in open_.space.parts.items():
            for name in part.ranges:
                if f"{prefix}.{name}" not in wanted:
                    fixed[f"{prefix}.{name}"] = default_of(part.kind, prefix, name)
        return replace(open_, fixed=fixed)

    def tune_all(self) -> dict[str, Any]:
        trials, seconds, failed = [], [], 0
        for number in range(self.budget.trials):
            options = draw_options(self.budget.seed, number)
            key = self.key("trial", number=number, options=options)
            found = self.store.load(key)
            if found is None:
                begin, score = time.perf_counter(), None
                try:
                    model = self.train_all(options, trial_seed(self.budget.seed, number))
                    score = float(self.ranks(model, "validation", self.tuning).mean())
                except ArithmeticError:
                    pass  # as a failed trial of a study
                found = {"mrr": score, "seconds": round(time.perf_counter() - begin, 2)}
                self.store.save(key, found)
            seconds.append(found["seconds"])
            failed += found["mrr"] is None
            if found["mrr"] is not None:
                trials.append({"number": number, "params": options, "mrr": found["mrr"]})
        return {
            "ranges": all_ranges(),
            "trials": trials,
            "failed": failed,
            "configurations": {},
            "seconds": seconds,
        }

    # final trainings

    def final(self, best: Mapping[str, Any], number: int) -> dict[str, Any]:
        """Train with the best configuration and a seed of its own; judge on the test triples."""
        key = self.key("final", params=best["best"]["params"], trial=best["best"]["number"], seed=number)
        found = self.store.load(key)
        work = self.folder / "items" / f"{content_key(key)}.npz"
        if found is None or not work.is_file():
            begin = time.perf_counter()
            model, sampler = self.train(best, seed_of(self.budget, number))
            trained = time.perf_counter() - begin
            found, items = self.judge(model, sampler if number == 0 else None, number)
            found["seconds"] = [round(trained, 2), round(time.perf_counter() - begin - trained, 2)]
            with atomic_path(work) as temporary:
                np.savez_compressed(temporary, **items)
            self.store.save(key, found)
        return {**found, "items": str(work.relative_to(self.folder))}

    def judge(self, model: Any, sampler: Any, number: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return figures, and what was measured of each test item."""
        ranks = self.ranks(model, "testing")
        items = {"reciprocal_ranks": ranks}
        found: dict[str, Any] = {
            "validation_mrr": float(self.ranks(model, "validation").mean()),
            "mrr": float(ranks.mean()),
            "hits_at_1": float((ranks >= 1).mean()),
            "hits_at_10": float((ranks >= 0.1).mean()),
        }
        if self.hard is not None:
            valid, test = self.hard["valid"], self.hard["test"]
            scores = [scores_of(model, part.triples) for part in (valid, test)]
            own, overall = accuracies(valid, scores[0], test, scores[1])
            items |= {"right": own, "right_overall": overall}
            found |= {"accuracy": float(own.mean()), "accuracy_one_threshold": float(overall.mean())}
        if self.choice is not None and number == 0:
            with quiet_pykeen():
                found["negatives"] = count_true(
                    self.choice,
                    self.data,
                    negatives=self.budget.negatives,
                    at_least=self.budget.checked,
                    seed=self.budget.seed,
                    sampler=sampler,
                )
        return found, items

    def train(self, best: Mapping[str, Any], seed: int) -> tuple[Any, Any]:
        """Return a trained model, and the sampler as training left it if it looks at the model."""
        if self.choice is None:
            return self.train_all(best["best"]["params"], seed), None
        from pykeen.pipeline import pipeline
        from pykeen.training.callbacks import TrainingCallback

        samplers: list[Any] = []
        looks = self.choice.needs_model

        class Keeper(TrainingCallback):
            def post_epoch(self, epoch: int, epoch_loss: float, **_: Any) -> None:
                if looks:
                    samplers[:] = [self.training_loop.drawing_sampler]

        configuration = Configuration(**best["configurations"][best["best"]["number"]])
        arguments = pipeline_arguments(self.settings(), configuration, seed)
        arguments["training_kwargs"] |= {"callbacks": Keeper}
        with quiet_pykeen():  # the pipeline has to rank something; what counts is ranked by judge()
            result = pipeline(training=self.data.training, testing=self.tuning.testing, **arguments)
        return result.model, samplers[0] if samplers else None

    def train_all(self, options: Mapping[str, Any], seed: int) -> Any:
        from pykeen.models import model_resolver
        from pykeen.utils import set_random_seed

        with quiet_pykeen():
            set_random_seed(seed)
            model = model_resolver.make(
                self.model.name,
                triples_factory=self.data.training,
                embedding_dim=self.budget.dim,
                random_seed=seed,
                **self.model.start,
            )
            train_all(model, self.data.training.mapped_triples, options, epochs=self.budget.epochs, seed=seed)
        return model

    def ranks(self, model: Any, part: str, data: CompareData | None = None) -> np.ndarray:
        data = data or self.data
        known = [data.training.mapped_triples]
        if part == "testing":
            known.append(data.validation.mapped_triples)
        return reciprocal_ranks(model, getattr(data, part).mapped_triples, torch.cat(known))


def short(name: str) -> str:
    return name.partition(".")[2] or name


def searched(settings: StudySettings) -> dict[str, Any]:
    """Return the ranges that are left open."""
    return {
        f"{prefix}.{name}": one for prefix, part in settings.space.parts.items() for name, one in part.ranges.items()
    }


def default_of(kind: str, owner: str, name: str) -> Any:
    """Return the default of an argument, for all that is not tuned."""
    import inspect

    from pykeen.losses import loss_resolver
    from pykeen.models import model_resolver

    if kind == "sampler":
        return sampler_options(find_sampler(owner))[name].default
    resolver = {"model": model_resolver, "loss": loss_resolver}[kind]
    return inspect.signature(resolver.lookup(owner).__init__).parameters[name].default


def at_edge(ranges: Mapping[str, Any], params: Mapping[str, Any]) -> list[str]:
    """Return the tuned numbers in the outermost twentieth of their range."""
    found = []
    for name, one in ranges.items():
        if one["type"] == "categorical":
            continue
        low, high, value = one["low"], one["high"], params[name]
        if one.get("log"):
            low, high, value = math.log(low), math.log(high), math.log(value)
        if min(value - low, high - value) < _EDGE * (high - low):
            found.append(name)
    return found
