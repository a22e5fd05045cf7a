"""Seconds and memory of one method on made-up rows, in a process of its own.

python benchmarks/noise_growth.py METHOD ROWS SHAPE
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable

import numpy as np

METHODS = ("noise filter", "Datalab")
DIM, K = 384, 10


def made_up(rows: int, shape: str) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors and labels; a tenth is positive, and three in ten positives are not labelled."""
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((rows, DIM), dtype=np.float32)
    positive = generator.random(rows) < 0.1
    if shape == "clusters":
        centres = generator.standard_normal((max(rows // 300, 2), DIM), dtype=np.float32)
        vectors += centres[generator.integers(len(centres), size=rows)]
    vectors[positive] += 0.3
    return vectors, positive & (generator.random(rows) < 0.7)


def by_filter(vectors: np.ndarray, labelled: np.ndarray) -> dict[str, float]:
    from kgneg.samplers.noise import NoiseFilter

    report = NoiseFilter("none", k=K).fit(vectors, np.where(labelled, "some", "none"))
    return {"flagged": int(report.flagged.sum()), "recall": report.recall}


def by_datalab(vectors: np.ndarray, labelled: np.ndarray) -> dict[str, float]:
    from cleanlab import Datalab

    lab = Datalab({"label": labelled.astype(int)}, label_name="label", verbosity=0)
    lab.find_issues(features=vectors, issue_types={"label": {"k": K}})
    return {"flagged": int(lab.get_issues("label")["is_label_issue"].sum())}


def main() -> None:
    method, rows, shape = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    run: Callable[[np.ndarray, np.ndarray], dict[str, float]] = by_filter if method == METHODS[0] else by_datalab
    run(*made_up(2000, shape))  # imports and first uses
    vectors, labelled = made_up(rows, shape)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started, used = time.perf_counter(), time.process_time()
    more = run(vectors, labelled)
    seconds, used = time.perf_counter() - started, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"seconds": seconds, "cpu_seconds": used, "peak_kib": peak, "before_kib": before, **more}))


if __name__ == "__main__":
    main()
