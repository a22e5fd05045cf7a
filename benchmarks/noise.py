"""How well and how fast hidden positives are found: the noise filter, the paper's procedures, and cleanlab.

    python benchmarks/noise.py [--parts docred tacred growth] [--data DATA] [--rounds 3] [--rows 100000 1000000]
        [--docs docs]

docred: pairs of DocRED, judged by the completed labels of Re-DocRED. All get the same vectors (MiniLM spans), documents
and folds. cleanlab gets probabilities from the same classifier as the noise filter, and from a logistic regression.
tacred: what can be checked of the published lists of rows, by ids and labels alone.
growth: made-up rows; seconds and memory, each in a process of its own.

--data is the folder with shared data (KGNEG_DATA by default); a part whose data are not there is skipped. With --docs
the table in benchmarks.md and docs/results/noise.json are brought up to date.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kgneg.core.seeding import mix_seeds
from kgneg.core.storage import atomic_path
from kgneg.datasets import RelationPairs, docred_pairs
from kgneg.integrations.sentence_transformers import SpanEncoder
from kgneg.samplers.noise import NoiseFilter, parekh_es, parekh_is, score_detection
from kgneg.samplers.noise.probe import assign_folds, out_of_fold_logits
from kgneg.samplers.noise.space import project

sys.path.insert(0, str(Path(__file__).parent))

from noise_growth import METHODS as GROWTH
from noise_page import publish, tables
from noise_tacred import check_lists

NEGATIVE = "NA"
CLEAN = 16  # documents
MERGED = 12  # relations with fewer examples are one class


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--parts", nargs="+", choices=("docred", "tacred", "growth"), default=["docred", "tacred", "growth"]
    )
    parser.add_argument("--data", default=os.environ.get("KGNEG_DATA"))
    parser.add_argument("--documents", type=int, help="of DocRED, the first so many; all by default")
    parser.add_argument("--rounds", type=int, default=3, help="seeds of docred, repetitions of growth")
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--slow-up-to", type=int, default=100_000, help="rows that Datalab is asked for, at most")
    parser.add_argument("--out", type=Path, default=Path("build/noise.json"))
    parser.add_argument("--docs", type=Path)
    options = parser.parse_args()
    found: dict[str, Any] = json.loads(options.out.read_text()) if options.out.exists() else {}
    parts: dict[str, Callable[[argparse.Namespace], Any]] = {"docred": docred, "tacred": tacred, "growth": growth}
    for name in options.parts:
        measured = parts[name](options)
        if measured is None:
            print(f"{name}: skipped, because its data are not in {options.data}")
            continue
        found[name] = measured
        with atomic_path(options.out) as path:
            path.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    for table in tables(found).values():
        print(f"\n{table}")
    if options.docs:
        publish(found, options.docs)


def docred(options: argparse.Namespace) -> dict[str, Any] | None:
    path = Path(options.data or "") / "noise" / "docred_redocred" / "docs.jsonl.gz"
    if not path.exists():
        return None
    given, gold = _docred_pairs(path, options.documents)
    merged = given.merged(MERGED)
    started = time.perf_counter()
    vectors = SpanEncoder("minilm").encode(given)
    encoding = time.perf_counter() - started
    hidden = torch.tensor([label != NEGATIVE for label in gold.labels])
    rows: list[dict[str, Any]] = []
    for seed in range(options.rounds):
        for name, score, flagged, use, more in _judgements(merged, gold, vectors, seed):
            part = use & torch.tensor([label == NEGATIVE for label in given.labels])
            scores = score_detection(score[part.numpy()], hidden[part].numpy(), flagged[part.numpy()])
            rows.append({"method": name, "seed": seed, **scores._asdict(), **more})
            print(f"{name}, seed {seed}: AP {scores.average_precision:.3f}, F1 {scores.f1:.3f}", flush=True)
    return {
        "documents": len(set(given.groups)),
        "pairs": len(given),
        "positives": sum(label != NEGATIVE for label in given.labels),
        "hidden": int(hidden.sum()) - sum(label != NEGATIVE for label in given.labels),
        "encoding_seconds": encoding,
        "dimension": vectors.shape[1],
        "threads": torch.get_num_threads(),
        "rows": rows,
    }


def _docred_pairs(path: Path, number: int | None) -> tuple[RelationPairs, RelationPairs]:
    """Return the same pairs with the labels of DocRED and of Re-DocRED."""
    with gzip.open(path, "rt", encoding="utf-8") as handle:
        stored = [json.loads(line) for line in handle][:number]
    both = []
    for key in ("labels_docred", "labels_redocred"):
        documents = [
            {
                "title": one["title"],
                "sents": one["sents"],
                "vertexSet": [
                    [
                        {"name": entity["name"], "type": entity["type"], "sent_id": sentence, "pos": [begin, end]}
                        for sentence, begin, end in entity["mentions"]
                    ]
                    for entity in one["entities"]
                ],
                "labels": [{"h": head, "t": tail, "r": relation} for head, tail, relation in one[key]],
            }
            for one in stored
        ]
        both.append(docred_pairs(documents, negative_label=NEGATIVE))
    return both[0], both[1]


Judgement = tuple[str, np.ndarray, np.ndarray, torch.Tensor, dict[str, Any]]


def _judgements(given: RelationPairs, gold: RelationPairs, vectors: torch.Tensor, seed: int) -> Iterator[Judgement]:
    everywhere = torch.ones(len(given), dtype=torch.bool)
    types = {"types": given.types, "places": given.places}
    documents = list(dict.fromkeys(given.groups))
    order = torch.randperm(len(documents), generator=torch.Generator().manual_seed(seed)).tolist()
    chosen = {documents[place] for place in order[:CLEAN]}
    clean = torch.tensor([group in chosen for group in given.groups])
    known = {"clean_mask": clean, "clean_labels": gold.labels}
    for name, extra, use in (
        ("noise filter", {}, everywhere),
        (f"noise filter, {CLEAN} clean documents", known, ~clean),
        ("noise filter, no types", {"types": None}, everywhere),
    ):
        started = time.perf_counter()
        given_types = {"types": types, **extra}
        report = NoiseFilter(NEGATIVE, seed=seed).fit(vectors, given.labels, groups=given.groups, **given_types)
        seconds = time.perf_counter() - started
        count = report.expected_fn._asdict()
        more = {"seconds": seconds, "expected": count["value"], "low": count["low"], "high": count["high"]}
        yield name, report.score.numpy(), report.flagged.numpy(), use, more
    yield from _by_neighbours(given, vectors, seed, known, clean)
    yield from _by_cleanlab(given, vectors, seed)


def _by_neighbours(
    given: RelationPairs, vectors: torch.Tensor, seed: int, known: dict[str, Any], clean: torch.Tensor
) -> Iterator[Judgement]:
    everywhere = torch.ones_like(clean)
    for k in (1, 3, 5, 10):
        started = time.perf_counter()
        done = parekh_is(vectors, given.labels, negative_label=NEGATIVE, k=k, groups=given.groups, seed=seed)
        more = {"seconds": time.perf_counter() - started}
        yield f"Parekh IS, k={k}", done.cosine.nan_to_num(neginf=-2).numpy(), done.flagged.numpy(), everywhere, more
    for k in (3, 10):
        started = time.perf_counter()
        done = parekh_es(vectors, given.labels, negative_label=NEGATIVE, k=k, groups=given.groups, **known)
        more = {"seconds": time.perf_counter() - started}
        name = f"Parekh ES, {CLEAN} clean documents, k={k}"
        yield name, done.cosine.nan_to_num(neginf=-2).numpy(), done.flagged.numpy(), ~clean, more


def _by_cleanlab(given: RelationPairs, vectors: torch.Tensor, seed: int) -> Iterator[Judgement]:
    """What cleanlab makes of the same rows; its scores are turned so that large means wrong."""
    try:
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores
    except ImportError:
        print("cleanlab is not installed: pip install --group bench")
        return
    everywhere = torch.ones(len(given), dtype=torch.bool)
    classes = [NEGATIVE, *sorted(set(given.labels) - {NEGATIVE})]
    codes = np.array([classes.index(label) for label in given.labels])
    for model, maker in (("our classifier", _probe), ("logistic regression", _logistic)):
        started = time.perf_counter()
        probability = maker(given, vectors, codes, seed)
        fitted = time.perf_counter() - started
        ranks = {
            method: -get_label_quality_scores(codes, probability, method=method)
            for method in ("self_confidence", "normalized_margin")
        }
        for method in (
            "prune_by_noise_rate",
            "prune_by_class",
            "both",
            "confident_learning",
            "predicted_neq_given",
            "low_normalized_margin",
            "low_self_confidence",
        ):
            started = time.perf_counter()
            flagged = find_label_issues(codes, probability, filter_by=method, n_jobs=1)
            seconds = fitted + time.perf_counter() - started
            score = ranks["normalized_margin" if "margin" in method else "self_confidence"]
            yield f"cleanlab {method}, {model}", score, flagged, everywhere, {"seconds": seconds}
    yield _datalab(codes, vectors, everywhere)


def _datalab(codes: np.ndarray, vectors: torch.Tensor, everywhere: torch.Tensor) -> Judgement:
    from cleanlab import Datalab

    started = time.perf_counter()
    lab = Datalab({"label": codes}, label_name="label", verbosity=0)
    lab.find_issues(features=vectors.numpy(), issue_types={"label": {"k": 30}})
    found = lab.get_issues("label")
    seconds = time.perf_counter() - started
    score, flagged = -found["label_score"].to_numpy(), found["is_label_issue"].to_numpy()
    return "cleanlab Datalab, kNN of the vectors, k=30", score, flagged, everywhere, {"seconds": seconds}


def _folds(given: RelationPairs, seed: int) -> torch.Tensor:
    place = {group: number for number, group in enumerate(dict.fromkeys(given.groups))}
    groups = torch.tensor([place[group] for group in given.groups])
    return assign_folds(groups, 5, torch.Generator().manual_seed(mix_seeds(seed, 1)))


def _probe(given: RelationPairs, vectors: torch.Tensor, codes: np.ndarray, seed: int) -> np.ndarray:
    generator = torch.Generator().manual_seed(mix_seeds(seed, 2))
    cells = []
    for column in (given.types, given.places):
        names = {name: number for number, name in enumerate(dict.fromkeys(column))}
        cells.append(torch.tensor([names[name] for name in column]))
    targets, folds = torch.from_numpy(codes), _folds(given, seed)
    logits = out_of_fold_logits(project(vectors, generator), cells, targets, folds, members=2, generator=generator)
    logits[:, 1:] -= np.log(5.0)  # positives were drawn five times as often
    return logits.softmax(dim=-1).double().numpy()


def _logistic(given: RelationPairs, vectors: torch.Tensor, codes: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression

    generator = torch.Generator().manual_seed(mix_seeds(seed, 3))
    names = {name: number for number, name in enumerate(dict.fromkeys(given.types))}
    types = np.eye(len(names))[[names[name] for name in given.types]]
    table = np.concatenate([project(vectors, generator).numpy(), types], axis=1)
    folds = _folds(given, seed).numpy()
    probability = np.zeros((len(codes), codes.max() + 1))
    for fold in range(folds.max() + 1):
        out = folds == fold
        model = LogisticRegression(C=0.1, max_iter=200).fit(table[~out], codes[~out])
        probability[np.ix_(out, model.classes_)] = model.predict_proba(table[out])
    return probability


def tacred(options: argparse.Namespace) -> list[dict[str, Any]] | None:
    folder = Path(options.data or "") / "noise" / "tacred_label_patches"
    return check_lists(folder) if folder.exists() else None


def growth(options: argparse.Namespace) -> list[dict[str, Any]]:
    found = []
    for rows in options.rows:
        for shape in ("clusters", "no structure"):
            for method in GROWTH:
                if (method == "Datalab" and rows > options.slow_up_to) or (rows > 200_000 and shape != "clusters"):
                    continue
                times = 1 if rows > 200_000 else options.rounds
                runs = [_in_process(method, rows, shape) for _ in range(times)]
                found.append({"method": method, "rows": rows, "shape": shape, "runs": runs})
                print(method, rows, shape, runs, flush=True)
    return found


def _in_process(method: str, rows: int, shape: str) -> dict[str, float]:
    script = Path(__file__).with_name("noise_growth.py")
    ended = subprocess.run(  # noqa: S603 -- our own script
        [sys.executable, str(script), method, str(rows), shape], capture_output=True, text=True, check=False
    )
    if ended.returncode:
        raise SystemExit(ended.stderr)
    measured: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return measured


if __name__ == "__main__":
    main()
