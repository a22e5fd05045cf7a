"""How many candidate negatives are decided about per second, in how much memory, and how deduplication grows.

Part `run` makes synthetic triples, and decides about them with a rule judge and a critic on vectors that were computed
before: a logistic model of head, tail, their product and the relation. Part `filter` does so with a fitted filter,
whose critic compares each candidate with those that it has learned from. Part `dedup` deduplicates. Part `files` does
the same from files, in parts. Each measurement is a process of its own; its memory is the largest resident set of that
process and, for several jobs, of its largest child as well. What is measured goes into a file at once. With --docs the
table in benchmarks.md and docs/results/selfinstruct.json are brought up to date.

    python benchmarks/selfinstruct_scale.py --part run --rows 100000 --rows 1000000 --rows 10000000
    python benchmarks/selfinstruct_scale.py --part dedup --part files --rows 100000 --rows 1000000
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from selfinstruct_page import publish

PARTS = ("run", "filter", "dedup", "files")
ENTITIES, RELATIONS, DIM = 100_000, 20, 64
SHARD_ROWS, PER_GROUP = 100_000, 12


class CriticOnVectors:
    """A judge: known triples by rule, all others by a logistic model of vectors on disk, one row per entity."""

    name = "rules and critic"

    def __init__(self, folder: str, known: list[tuple[str, str, str]]) -> None:
        from kgneg.selfinstruct.rules import RuleJudge

        self.rules, self.folder = RuleJudge(known=known), folder
        self._open: tuple[Any, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": None}

    def fingerprint(self) -> str:
        files = [(Path(self.folder) / name).read_bytes() for name in ("vectors.npy", "weights.npy")]
        return hashlib.blake2b(b"".join(files) + self.rules.fingerprint().encode(), digest_size=16).hexdigest()

    def judge(self, candidates: Any) -> Any:
        from kgneg.selfinstruct.judge import Judgements

        said = self.rules.judge(candidates)
        if self._open is None:
            folder = Path(self.folder)
            self._open = np.load(folder / "vectors.npy", mmap_mode="r"), np.load(folder / "weights.npy")
        vectors, weights = self._open
        head, tail = (
            vectors[np.fromiter((int(text[7:]) for text in side), np.int64, count=len(side))]
            for side in (candidates.heads, candidates.tails)
        )
        relation = np.fromiter((int(text[9:]) for text in candidates.relations), np.int64, count=len(candidates))
        own = weights[relation]
        odds = (head * own[:, :DIM]).sum(1) + (tail * own[:, DIM:-DIM]).sum(1) + (head * tail * own[:, -DIM:]).sum(1)
        probability = np.where(said.given, said.probability, 1 / (1 + np.exp(-odds.astype(np.float64))))
        return Judgements.of(probability, ["rule" if given else "critic" for given in said.given.tolist()])


def triples(rows: int) -> Iterator[tuple[str, str, str]]:
    source = np.random.default_rng(0)
    for begin in range(0, rows, SHARD_ROWS):
        size = min(SHARD_ROWS, rows - begin)
        head, tail = (source.integers(0, ENTITIES, size).tolist() for _ in range(2))
        relation = source.integers(0, RELATIONS, size).tolist()
        for h, r, t in zip(head, relation, tail, strict=True):
            yield f"entity {h}", f"relation {r}", f"entity {t}"


def phrases(rows: int) -> Iterator[tuple[str, str, str]]:
    """Tails of 1 to 9 words; a third of them differ from an earlier one by a word."""
    source = random.Random(0)  # noqa: S311
    groups, recent = max(rows // PER_GROUP, 1), [["one"]]
    for _ in range(rows):
        group = source.randrange(groups)
        if source.random() < 0.3:
            words = list(source.choice(recent))
            words[source.randrange(len(words))] = f"w{source.randrange(20_000)}"
        else:
            words = [f"w{min(int(source.paretovariate(0.8)), 20_000)}" for _ in range(source.randint(1, 9))]
        recent = [*recent[-49:], words]
        yield f"PersonX does thing {group // 4}", f"relation {group % 4}", " ".join(words)


def fitted(folder: Path) -> Any:
    """A filter of rules and a critic that has learned from a thousand triples, on vectors of entities."""
    from kgneg.core.cache import ArtefactCache
    from kgneg.selfinstruct.candidates import Candidates
    from kgneg.selfinstruct.critic import Critic
    from kgneg.selfinstruct.filter import SelfInstructFilter
    from kgneg.selfinstruct.rules import RuleJudge
    from kgneg.selfinstruct.vectors import VectorTable

    vectors = np.random.default_rng(1).standard_normal((ENTITIES, DIM), dtype=np.float32)
    seeds = list(islice(triples(1000), 1000))
    likely = [float(vectors[int(h[7:])] @ vectors[int(t[7:])]) > 0 for h, _, t in seeds]
    true, false = ([seed for seed, is_true in zip(seeds, likely, strict=True) if is_true == which] for which in (1, 0))
    critic = Critic(
        encoder=VectorTable([f"entity {number}" for number in range(ENTITIES)], vectors),
        cache=ArtefactCache(folder / "cache"),
        progress=False,
    )
    made = SelfInstructFilter(critic=critic, rules=[RuleJudge(known=true)], target=None)
    return made.fit(Candidates.from_triples(true), Candidates.from_triples(false))


def write(path: Path, rows: Iterator[tuple[str, str, str]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines("\t".join(row) + "\n" for row in rows)


def job(part: str, rows: int, jobs: int, folder: Path) -> dict[str, Any]:
    """Measure one thing, in this process."""
    from kgneg.selfinstruct.candidates import Candidates
    from kgneg.selfinstruct.dedup import Deduplicator
    from kgneg.selfinstruct.dedup_files import deduplicate_files
    from kgneg.selfinstruct.runner import run
    from kgneg.selfinstruct.threshold import ThresholdDecider

    path = folder / "in.tsv"
    deduplicator = Deduplicator(cosine=None)
    if part == "run":
        source = np.random.default_rng(1)
        np.save(folder / "vectors.npy", source.standard_normal((ENTITIES, DIM), dtype=np.float32))
        np.save(folder / "weights.npy", source.standard_normal((RELATIONS, 3 * DIM), dtype=np.float32) / DIM)
        known = list(islice(triples(rows), 0, 100_000, 10))
        decider = ThresholdDecider(CriticOnVectors(str(folder), known))
        write(path, triples(rows))
    elif part == "filter":
        decider = fitted(folder)
        write(path, triples(rows))
    elif part == "files":
        write(path, phrases(rows))
    else:
        candidates = Candidates.from_triples(phrases(rows))
    began, cpu = time.perf_counter(), time.process_time()
    if part in ("run", "filter"):
        report = run(decider, path, folder / "out", shard_rows=SHARD_ROWS, jobs=jobs, progress=False)
        found = {"rows_out": report.rows, **report.actions}
    elif part == "files":
        found = deduplicate_files(deduplicator, path, folder / "out", jobs=jobs, progress=False)
    else:
        found = deduplicator.find(candidates).counts()
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "part": part,
        "rows": rows,
        "jobs": jobs,
        "seconds": round(time.perf_counter() - began, 1),
        "cpu_seconds": round(time.process_time() - cpu + (usage[1].ru_utime + usage[1].ru_stime), 1),
        "mebibytes": round(usage[0].ru_maxrss / 1024),
        "mebibytes_of_largest_child": round(usage[1].ru_maxrss / 1024),
        **found,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=PARTS, help="what to measure; all by default")
    parser.add_argument("--rows", action="append", type=int, help="how many triples; 100,000 and 1,000,000 by default")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--results", type=Path, default=Path("build/selfinstruct_scale.json"))
    parser.add_argument("--folder", type=Path, help="where files are made; a temporary one by default")
    parser.add_argument("--again", action="store_true", help="measure also what has been measured")
    parser.add_argument("--docs", type=Path, help="the folder of the documentation to bring up to date")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        part, rows = arguments.job.split(":")
        print(json.dumps(job(part, int(rows), arguments.jobs, arguments.folder)))
        return
    results = json.loads(arguments.results.read_text()) if arguments.results.is_file() else {}
    for part in arguments.part or PARTS:
        for rows in arguments.rows or (100_000, 1_000_000):
            name = f"{part}:{rows}:{arguments.jobs}"
            if name in results and not arguments.again:
                continue
            with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
                command = [sys.executable, __file__, "--job", f"{part}:{rows}", "--jobs", str(arguments.jobs)]
                environment = {"OMP_NUM_THREADS": "1", **os.environ}
                done = subprocess.run(  # noqa: S603
                    [*command, "--folder", folder], env=environment, stdout=subprocess.PIPE, check=True, text=True
                )
            results[name] = json.loads(done.stdout.splitlines()[-1])
            print(results[name], flush=True)
            arguments.results.parent.mkdir(parents=True, exist_ok=True)
            arguments.results.write_text(json.dumps(results, indent=1), encoding="utf-8")
    if arguments.docs is not None:
        publish({"scale": results}, arguments.docs)


if __name__ == "__main__":
    main()
