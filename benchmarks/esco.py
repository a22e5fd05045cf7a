"""Skill extraction on the ESCO benchmark of Decorte et al.: floors, and what training with which negatives adds.

Sentences of job ads with their skills (preferred labels of ESCO 1.1), all skills ranked for each sentence that has at
least one. The floors need no training: how common skills are, labels that stand in the sentence, the cosine of MiniLM,
and both together. The other rows train on names and descriptions of skills, sentences that mention labels, and
SkillSkape; learning rate, temperature and the like are tuned by Optuna on the validation parts alone, with as many
trials for each row, and whatever is in the benchmark is left out of the training.

    python benchmarks/esco.py [--data DATA] [--rows floors random mixture ...] [--work FOLDER] [--docs docs]

The files are looked for in the folder `esco` of --data (KGNEG_DATA, or ../shared/data). Each trained row and seed is
kept in a file of --work, so that a run that was interrupted goes on; take another folder for other settings. Two runs
may share a folder if their rows differ.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
from pathlib import Path
from typing import Any

import torch
from esco_data import TESTS, read_parts, read_skills
from esco_rows import CLASSIFIERS, ROWS, Bench, co_gold

from kgneg.core.storage import atomic_path
from kgneg.skills import ConceptRanker, ConceptSet, LabelMatcher, judge_ranking
from kgneg.skills.ranker import literal_scores
from kgneg.skills.sources import Gold

BONUS, PRIOR = 0.2, 0.3
#: what annotators write where no skill fits
NO_SKILL = {"LABEL NOT PRESENT", "UNDERSPECIFIED"}
NAMES = {"house_test": "HOUSE", "tech_test": "TECH"}


def floors(gold: Gold, skills: ConceptSet, prior: torch.Tensor, ranker: ConceptRanker) -> dict[str, Any]:
    """Return the figures of all rows without training on a part of the benchmark."""
    cosine = ranker.scores(gold.texts)
    named = literal_scores(LabelMatcher(skills.labels, least=1), gold.texts, overlapping=True)
    anyhow = literal_scores(LabelMatcher(skills.labels, skills.alternatives, least=1), gold.texts, overlapping=True)
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
    return {
        name: {"mrr": one.mrr, "rp": {str(k): 100 * value for k, value in one.precision.items()}, "texts": one.queries}
        for name, one in figures.items()
    }


def floor_table(found: dict[str, dict[str, Any]]) -> str:
    """Return the floors as Markdown."""
    parts = [f"{NAMES.get(part, part)} ({next(iter(one.values()))['texts']} sentences)" for part, one in found.items()]
    lines = [["row", *(f"{part}: MRR / RP@1 / RP@5 / RP@10" for part in parts)]]
    for row in next(iter(found.values())):
        cells = [row]
        for one in found.values():
            cells.append(f"{one[row]['mrr']:.3f} / " + " / ".join(f"{value:.2f}" for value in one[row]["rp"].values()))
        lines.append(cells)
    return markdown(lines)


def trained_table(cells: list[dict[str, Any]], rates: dict[str, float], names: list[str], kind: str) -> str:
    """Return trained rows as Markdown: mean and spread over seeds.

    :param kind: which figures
    """
    lines = [["row", "seeds", "HOUSE: MRR / RP@5", "TECH: MRR / RP@5", "co-gold, %", "CPU, s"]]
    for name in names:
        own = [one for one in cells if one["row"] == name]
        if not own:
            continue
        line = [name, str(len(own))]
        for part in TESTS:
            every = [one["figures"][part].get(kind) for one in own]
            if None in every:
                line.append("-")
                continue
            line.append(f"{spread([one['mrr'] for one in every], 3)} / {spread([one['rp']['5'] for one in every], 1)}")
        rate = rates.get(name)
        seconds = statistics.mean(one["cpu_seconds"] for one in own)
        lines.append([*line, "-" if rate is None else f"{100 * rate:.2f}", f"{seconds:.0f}"])
    return markdown(lines)


def spread(values: list[float], digits: int) -> str:
    around = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.{digits}f} ± {around:.{digits}f}"


def markdown(lines: list[list[str]]) -> str:
    head, *rest = lines
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *rest])


def rates_of(bench: Bench) -> dict[str, float]:
    """Return the co-gold rate of each row that draws negatives, on the test parts."""
    golds, near = [bench.parts[part] for part in TESTS], bench.skills.near()
    of_strategy: dict[str, float] = {}
    rates = {}
    for name, row in {**ROWS, **CLASSIFIERS}.items():
        counts = row.recipe.get("strategies")
        if counts is None:
            continue
        for one in counts:
            if one not in of_strategy:
                pools = bench.skills.neighbours(one, encoder="minilm")
                of_strategy[one] = co_gold(pools, len(bench.skills), golds, near)
        rates[name] = sum(count * of_strategy[one] for one, count in counts.items()) / sum(counts.values())
    return {name: rate for name, rate in rates.items() if "refresh" not in name}  # whose lists are those of training


def train(bench: Bench, names: list[str], seeds: int) -> None:
    for name in names:
        for seed in range(seeds):
            found = bench.cell(name, seed)
            figures = {part: round(found["figures"][part]["alone"]["rp"]["5"], 2) for part in TESTS}
            print(f"{name}, seed {seed}: RP@5 {figures}, {found['cpu_seconds']:.0f} s", flush=True)


def publish(tables: dict[str, str], docs: Path) -> None:
    """Put tables between their marks in benchmarks.md."""
    page = docs / "benchmarks.md"
    text = page.read_text(encoding="utf-8")
    for mark, table in tables.items():
        begin, end = f"<!-- {mark}:begin -->", f"<!-- {mark}:end -->"
        pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
        if not pattern.search(text):
            raise SystemExit(f"{page} lacks the marks {begin} and {end}")
        head, rest = pattern.split(text)
        text = f"{head}{begin}\n\n{table}\n\n{end}{rest}"
    with atomic_path(page) as path:
        path.write_text(text, encoding="utf-8", newline="\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with shared data; KGNEG_DATA by default")
    known = [*ROWS, *CLASSIFIERS]
    parser.add_argument("--rows", nargs="*", default=[], help=f"rows to train: all, or some of {', '.join(known)}")
    parser.add_argument("--work", type=Path, default=Path("build/esco"), help="where results of trained rows are kept")
    parser.add_argument("--steps", type=int, default=120, help="batches of 32 of each training")
    parser.add_argument("--trials", type=int, default=4, help="trials of each row")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--docs", type=Path, help="folder with benchmarks.md, which is brought up to date, and results/esco.json"
    )
    options = parser.parse_args()
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = (options.data or Path(os.environ.get("KGNEG_DATA", default))) / "esco"
    if not folder.is_dir():
        raise SystemExit(f"skipped: there is no folder {folder}; set KGNEG_DATA")
    wanted = known if options.rows == ["all"] else options.rows
    odd = [one for one in wanted if one not in known]
    if odd:
        raise SystemExit(f"there is no row {odd[0]!r}; there are {', '.join(known)}")
    skills, prior = read_skills(folder)
    parts = read_parts(folder, skills)
    bench = Bench(folder, options.work, skills, parts, steps=options.steps, trials=options.trials)
    train(bench, wanted, options.seeds)
    if wanted and not options.docs:
        return
    ranker = ConceptRanker(skills.labels, "minilm")
    tables = {"esco": floor_table({part: floors(parts[part], skills, prior, ranker) for part in TESTS})}
    for part in TESTS:
        strange = sorted(set(parts[part].unknown) - NO_SKILL)
        if strange:
            print(f"{part}: labels of no skill: {', '.join(strange)}")
    cells = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(options.work.glob("*.json"))]
    if cells:
        rates = rates_of(bench)
        tables["esco-trained"] = trained_table(cells, rates, list(ROWS), "alone")
        tables["esco-mentions"] = trained_table(cells, rates, list(ROWS), "with mentions")
        tables["esco-classifiers"] = trained_table(cells, rates, list(CLASSIFIERS), "seen")
    for name, table in tables.items():
        print(f"\n{name}\n\n{table}")
    if options.docs:
        publish(tables, options.docs)
        with atomic_path(options.docs / "results" / "esco.json") as path:
            lines = ",\n".join(json.dumps(cell) for cell in cells)
            path.write_text(f"[\n{lines}\n]\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
