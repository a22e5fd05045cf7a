"""How well false negatives are found by judges, a critic and their fusion, and whether stated bounds hold.

    python benchmarks/selfinstruct.py [--parts ckbp bounds] [--data DATA] [--splits 5] [--draws 200] [--docs docs]

ckbp: CKBP v2 (Fang et al. 2023), whose triples experts judged. A negative is a triple that is not plausible. The
development part has the labels that are learned from; half of the test part is scored, the other half is an unlabelled
pool. Everything was chosen on the development part. The verdicts of two language models are those in the file.
bounds: the whole test part, cut at random into rows that set the threshold and rows on which it is checked.

--data is the folder with shared data (KGNEG_DATA by default). With --docs the tables in benchmarks.md and
docs/results/selfinstruct.json are brought up to date. CPUs and a few minutes suffice.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kgneg.core.encode import encode_texts
from kgneg.core.storage import atomic_path
from kgneg.selfinstruct.bounds import certify_precision
from kgneg.selfinstruct.candidates import Candidates
from kgneg.selfinstruct.critic import Critic
from kgneg.selfinstruct.filter import SelfInstructFilter
from kgneg.selfinstruct.recorded import RecordedJudge
from kgneg.selfinstruct.vectors import VectorTable
from kgneg.selfinstruct.verbalizer import Verbalizer

sys.path.insert(0, str(Path(__file__).parent))

from selfinstruct_page import publish, tables

FILE = Path("plausibility", "ckbp_v2", "ckbp2.0_with_llm_judges.csv.gz")
JUDGES = {"gpt3": "GPT-3", "chatgpt": "ChatGPT"}
ASKED = 1000  # triples of the pool
KEPT = 0.8  # of the true negatives
TARGETS = (0.8, 0.85, 0.9, 0.95)


class Judged:
    """The rows of CKBP v2, vectors of their texts, and the verdicts."""

    def __init__(self, path: Path, encoder: str = "minilm") -> None:
        import pandas as pd

        table = pd.read_csv(path)
        self.candidates = Candidates(table["head"].tolist(), table["relation"].tolist(), table["tail"].tolist())
        self.truth = table["label"].to_numpy() == 1
        self.dev, self.test = (np.flatnonzero(table["split"] == name) for name in ("dev", "tst"))
        self.said = table[list(JUDGES)].to_numpy(float)
        self.judges = [
            RecordedJudge(candidates=self.candidates, probability=self.said[:, column], name=name)
            for column, name in enumerate(JUDGES.values())
        ]
        self.words = Verbalizer.load("statements")
        parts = (self.candidates.heads, self.candidates.tails, self.words.positive(self.candidates))
        texts = sorted({text for part in parts for text in part})
        self.table = VectorTable(texts, encode_texts(texts, encoder).numpy(), name=encoder)

    def half(self, split: int) -> tuple[np.ndarray, np.ndarray]:
        """Return 2,000 rows of the test part as pool, and the others."""
        order = np.random.RandomState(split).permutation(len(self.test))
        return self.test[order[:2000]], self.test[order[2000:]]

    def labels(self, number: int, split: int) -> np.ndarray:
        """Return rows of the development part."""
        order = np.random.RandomState(split).permutation(len(self.dev))
        return self.dev[np.sort(order[:number])]

    def filter(self, rows: np.ndarray, pool: np.ndarray | None = None, **settings: Any) -> SelfInstructFilter:
        """Fit a filter without a promise."""
        critic = Critic(encoder=self.table, verbalizer=self.words, progress=False)
        made = SelfInstructFilter(**{"judges": self.judges, "critic": critic, "target": None} | settings)
        true = self.truth[rows]
        own = self.candidates
        return made.fit(own[rows[true]], own[rows[~true]], None if pool is None else own[pool])


def auc(score: np.ndarray, truth: np.ndarray) -> float:
    from scipy.stats import rankdata

    ranks, true = rankdata(score), int(truth.sum())
    return float((ranks[truth].sum() - true * (true + 1) / 2) / (true * (len(truth) - true)))


def removed(score: np.ndarray, truth: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Return the share of false negatives that goes, and the precision of what stays, when 80 % of the true ones stay.

    Rows of the same score are put in a random order.
    """
    order = np.lexsort((np.random.default_rng(seed).random(len(score)), score))
    stays = np.cumsum(~truth[order]) <= KEPT * (~truth).sum()
    kept = truth[order][stays]
    return float(1 - kept.sum() / truth.sum()), float(1 - kept.mean())


def scorers(data: Judged, split: int, labels: tuple[int, ...]) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Return what scores rows, by name."""
    pool, _ = data.half(split)

    def of(made: SelfInstructFilter) -> Callable[[np.ndarray], np.ndarray]:
        return lambda rows: made.decide(data.candidates[rows]).score

    none = data.dev[:0]
    found: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        name: lambda rows, column=column: data.said[rows, column]  # type: ignore[misc]
        for column, name in enumerate(JUDGES.values())
    }
    found["both verdicts, summed"] = lambda rows: data.said[rows].sum(axis=1)
    taught = data.filter(none, pool, ask=False, judged=ASKED, rounds=1)
    found[f"critic taught by both judges on {ASKED:,} triples, no labels"] = of(taught)
    for number in labels:
        rows = data.labels(number, split)
        made = data.filter(rows)
        mode = {"sum": "plain sum", "calibrated": "fusion"}[made.fusion.mode]
        critic = made.critic
        if critic is not None:
            found[f"critic alone, {number} labels"] = lambda rows, critic=critic: critic.log_odds(data.candidates[rows])  # type: ignore[misc]
        found[f"{mode} of both verdicts and critic, {number} labels"] = of(made)
    return found


def run_ckbp(data: Judged, splits: int, labels: tuple[int, ...] = (100, 200, 958)) -> dict[str, Any]:
    """Measure every scorer on halves of the test part."""
    rows: dict[str, list[list[float]]] = {}
    begin = time.perf_counter()
    for split in range(splits):
        _, test = data.half(split)
        for name, score in scorers(data, split, labels).items():
            values, truth = score(test), data.truth[test]
            rows.setdefault(name, []).append([auc(values, truth), *removed(values, truth)])
        print(f"split {split + 1} of {splits}", file=sys.stderr)
    base = [float(1 - data.truth[data.half(split)[1]].mean()) for split in range(splits)]
    seconds = time.perf_counter() - begin
    return {"rows": rows, "base": base, "test": len(data.half(0)[1]), "seconds": seconds}


def scores_once(data: Judged) -> tuple[np.ndarray, np.ndarray]:
    """Return P(true) of the test part by a fusion of the development part, and thresholds from that part."""
    made = data.filter(data.dev)
    cuts = np.quantile(made.decide(data.candidates[data.dev]).score, np.arange(1, 21) / 20)
    return made.decide(data.candidates[data.test]).score, cuts


def run_bounds(data: Judged, draws: int, sizes: tuple[int, ...] = (500, 2024)) -> dict[str, Any]:
    """Check promises of precision on rows that did not set the threshold."""
    score, cuts = scores_once(data)
    truth, rows = data.truth[data.test], []
    for size in sizes:
        for target in TARGETS:
            found = [promise(score, truth, cuts, target, size, draw) for draw in range(draws)]
            columns = np.array(found, dtype=float)
            rows.append([size, target, *columns.mean(axis=0).tolist()])
    return {"rows": rows, "draws": draws}


def promise(
    score: np.ndarray, truth: np.ndarray, cuts: np.ndarray, target: float, size: int, draw: int
) -> tuple[bool, bool, float, bool, bool, float]:
    """Return what became of two promises.

    The first is about the long run, for which all rows together stand, the second about the other rows alone.

    :returns: for both, whether the target was found reachable, whether it held, and the share kept
    """
    order = np.random.RandomState(1000 + draw).permutation(len(score))
    own, rest = order[:size], order[size:]
    found: list[Any] = []
    for batch, judged in ((None, order), (len(rest), rest)):
        made = certify_precision(score[own], truth[own], target, thresholds=cuts, batch=batch)
        kept = score[judged] <= made.threshold
        held = not kept.any() or bool((~truth[judged][kept]).mean() >= target)
        found += [made.reachable, held, float(kept.mean())]
    return tuple(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=("ckbp", "bounds"), default=["ckbp", "bounds"])
    parser.add_argument("--data", default=os.environ.get("KGNEG_DATA"))
    parser.add_argument("--splits", type=int, default=5, help="halves of the test part of ckbp")
    parser.add_argument("--draws", type=int, default=200, help="random cuts of the test part of bounds")
    parser.add_argument("--out", type=Path, default=Path("build/selfinstruct.json"))
    parser.add_argument("--docs", type=Path, help="the folder of the documentation to bring up to date")
    options = parser.parse_args()
    path = Path(options.data or ".") / FILE
    if not path.is_file():
        raise SystemExit(f"there is no file {path}; give --data, or set KGNEG_DATA")
    data = Judged(path)
    found = json.loads(options.out.read_text()) if options.out.is_file() else {}
    if "ckbp" in options.parts:
        found["ckbp"] = run_ckbp(data, options.splits)
    if "bounds" in options.parts:
        found["bounds"] = run_bounds(data, options.draws)
    with atomic_path(options.out) as temporary:
        temporary.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    for table in tables(found).values():
        print(table, end="\n\n")
    if options.docs is not None:
        publish(found, options.docs)


if __name__ == "__main__":
    main()
