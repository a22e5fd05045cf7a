"""Skill extraction on the ESCO benchmark of Decorte et al.: what a method has to beat.

Sentences of job ads with their skills (preferred labels of ESCO 1.1), all skills ranked for each sentence that has at
least one. The rows need no training: how common skills are, labels that stand in the sentence, the cosine of MiniLM,
and both together. Weights of bonus and prior are as given, not tuned.

    python benchmarks/esco.py [--data DATA] [--parts house_test tech_test] [--results FILE] [--docs docs]

The files are looked for in the folder `esco` of --data (KGNEG_DATA, or ../shared/data).
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import re
from pathlib import Path
from typing import Any

import torch

from kgneg.core.storage import atomic_path
from kgneg.skills import ConceptRanker, LabelMatcher, judge_ranking
from kgneg.skills.ranker import literal_scores
from kgneg.skills.sources import read_gold

PARTS = ("house_test", "tech_test")
BONUS, PRIOR = 0.2, 0.3
#: what annotators write where no skill fits
NO_SKILL = {"LABEL NOT PRESENT", "UNDERSPECIFIED"}


def read_skills(folder: Path) -> tuple[list[str], list[list[str]], torch.Tensor]:
    """Return labels, alternative labels and priors of all skills."""
    lines = (folder / "benchmark" / "skills_en_label.txt").read_text(encoding="utf-8").splitlines()
    labels = list(dict.fromkeys(" ".join(line.split()) for line in lines if line.strip()))
    further: dict[str, list[str]] = {}
    with gzip.open(folder / "esco_skills_merged.csv.gz", "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            further[" ".join(row["label_v1_1"].split())] = [one for one in row["alt_labels"].split("|") if one]
    known = json.loads((folder / "benchmark" / "esco_priors.json").read_text(encoding="utf-8"))
    common = {" ".join(label.split()): value for label, value in known.items()}
    prior = torch.tensor([min(float(common.get(label, 0.0)), 1.0) for label in labels])
    return labels, [further.get(label, []) for label in labels], prior


def floors(folder: Path, part: str, skills: Any, ranker: ConceptRanker) -> dict[str, Any]:
    """Return the figures of all rows on a part of the benchmark."""
    labels, further, prior = skills
    numbers = {label: number for number, label in enumerate(labels)}
    gold = read_gold(folder / "benchmark" / f"{part}_annotations.csv", numbers)
    strange = sorted(set(gold.unknown) - NO_SKILL)
    cosine = ranker.scores(gold.texts)
    named = literal_scores(LabelMatcher(labels, least=1), gold.texts, overlapping=True)
    anyhow = literal_scores(LabelMatcher(labels, further, least=1), gold.texts, overlapping=True)
    rows = {
        "prior": prior.expand(len(gold.texts), -1),
        "labels in the sentence, longest first": named,
        "the same, alternative labels as well": anyhow,
        "MiniLM": cosine,
        f"MiniLM + {BONUS} if a label is there": cosine + BONUS * (named > 0),
        f"MiniLM + {BONUS} if any label is there": cosine + BONUS * (anyhow > 0),
        f"MiniLM + {PRIOR} sqrt(prior)": cosine + PRIOR * prior.sqrt(),
    }
    figures = {name: judge_ranking(scores, gold.queries, gold.concepts) for name, scores in rows.items()}
    one = next(iter(figures.values()))
    return {
        "queries": one.queries,
        "skipped": one.skipped,
        "unknown": strange,
        "rows": {name: {"mrr": found.mrr, "precision": found.precision} for name, found in figures.items()},
    }


def table(found: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    parts = [f"{part} ({one['queries']} sentences)" for part, one in found.items()]
    header = ["row", *(f"{part}: MRR / RP@1 / RP@5 / RP@10" for part in parts)]
    lines = []
    for row in next(iter(found.values()))["rows"]:
        cells = [row]
        for one in found.values():
            figures = one["rows"][row]
            percent = " / ".join(f"{100 * value:.2f}" for value in figures["precision"].values())
            cells.append(f"{figures['mrr']:.3f} / {percent}")
        lines.append(cells)
    return "\n".join("| " + " | ".join(line) + " |" for line in [header, ["---"] * len(header), *lines])


def publish(found: dict[str, Any], docs: Path) -> None:
    """Put the table between its marks in benchmarks.md."""
    page = docs / "benchmarks.md"
    text = page.read_text(encoding="utf-8")
    begin, end = "<!-- esco:begin -->", "<!-- esco:end -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(text):
        raise SystemExit(f"{page} lacks the marks {begin} and {end}")
    with atomic_path(page) as path:
        new = pattern.sub(lambda _: f"{begin}\n\n{table(found)}\n\n{end}", text)
        path.write_text(new, encoding="utf-8", newline="\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with shared data; KGNEG_DATA by default")
    parser.add_argument("--parts", nargs="+", default=list(PARTS))
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--results", type=Path, help="a file for what was measured")
    parser.add_argument("--docs", type=Path, help="folder with benchmarks.md, which is brought up to date")
    options = parser.parse_args()
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = (options.data or Path(os.environ.get("KGNEG_DATA", default))) / "esco"
    if not folder.is_dir():
        raise SystemExit(f"skipped: there is no folder {folder}; set KGNEG_DATA")
    skills = read_skills(folder)
    ranker = ConceptRanker(skills[0], options.encoder)
    found = {part: floors(folder, part, skills, ranker) for part in options.parts}
    print(table(found))
    for part, one in found.items():
        if one["unknown"]:
            print(f"{part}: labels of no skill: {', '.join(one['unknown'])}")
    if options.results:
        options.results.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if options.docs:
        publish(found, options.docs)


if __name__ == "__main__":
    main()
