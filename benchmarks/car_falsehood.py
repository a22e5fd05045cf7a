"""Which tails are likely to be right as well: hidden triples of ATOMIC told from tails that were drawn at random.

A good constraint flags many of the tails that are hidden to be right, and few of those drawn at random. Rules that say
only yes or no flag a share of their own; at a smaller budget they flag a random part of that.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from car_data import Atomic
from car_stats import as_array, auc, differences, flagged, markdown, middle, recalls

from kgneg.core.candidates import CandidateIndex
from kgneg.core.queries import Queries
from kgneg.core.typing import TAIL
from kgneg.samplers.concept_score import ConceptScore
from kgneg.samplers.owner_profiles import OwnerProfiles

BUDGETS = (0.05, 0.10, 0.23)
OURS = "ConceptScore, MiniLM"
HEADS = "how many heads have the tail"
#: CAR's rule and what it is made of
RULE = "CAR's rule: words and concepts, whole words"
NAMES = (
    "words (Ma et al.)",
    RULE,
    "CAR's rule, parts of words as in its code",
    HEADS,
    "ConceptScore on words and concepts alone",
    "ConceptScore",
    OURS,
)


def shares_any(known: torch.Tensor, features: CandidateIndex, asked: torch.Tensor, sizes: dict[str, int]) -> np.ndarray:
    """Return whether the head of each triple shares a feature with any head that has its tail."""
    ones = torch.ones(features.num_columns)
    profiles = OwnerProfiles(known, features, weights=ones, drop_universal=False, **sizes)
    queries = Queries.from_triples(asked, torch.full((len(asked),), TAIL))
    return as_array(profiles.shares_any(queries, profiles.places(queries, asked[:, 2:])).squeeze(-1))


def popularity(known: torch.Tensor, asked: torch.Tensor, sizes: dict[str, int]) -> np.ndarray:
    """Return how many heads are known to have the tail of each triple."""
    width = sizes["num_entities"]
    keys, counts = torch.unique(known[:, 1] * width + known[:, 2], return_counts=True)
    key = asked[:, 1] * width + asked[:, 2]
    place = torch.searchsorted(keys, key).clamp(max=len(keys) - 1)
    return as_array(torch.where(keys[place] == key, counts[place], 0))


def learned(
    known: torch.Tensor,
    features: CandidateIndex,
    asked: torch.Tensor,
    sizes: dict[str, int],
    *,
    seed: int,
    vectors: torch.Tensor | None = None,
) -> np.ndarray:
    """Return our score of each triple, learned from the known triples alone."""
    score = ConceptScore.fit(known, features, vectors=vectors, seed=seed, **sizes)
    return as_array(score(Queries.from_triples(asked, torch.full((len(asked),), TAIL)), asked[:, 2:]).squeeze(-1))


def rows(atomic: Atomic, asked: torch.Tensor, seed: int, names: Sequence[str] = NAMES) -> dict[str, np.ndarray]:
    """Return the scores of all rows of the table."""
    known, sizes = atomic.observed, atomic.sizes
    every = atomic.features.features
    made = {
        "words (Ma et al.)": lambda: shares_any(known, atomic.features.of_kind("word").features, asked, sizes),
        RULE: lambda: shares_any(known, atomic.of_car(), asked, sizes),
        "CAR's rule, parts of words as in its code": lambda: shares_any(
            known, atomic.of_car(exact=False), asked, sizes
        ),
        HEADS: lambda: popularity(known, asked, sizes),
        "ConceptScore on words and concepts alone": lambda: learned(known, atomic.of_car(), asked, sizes, seed=seed),
        "ConceptScore": lambda: learned(known, every, asked, sizes, seed=seed),
        OURS: lambda: learned(known, every, asked, sizes, seed=seed, vectors=atomic.vectors),
    }
    found = {}
    for name in names:
        begin = time.perf_counter()
        found[name] = made[name]()
        print(f"{name}: {time.perf_counter() - begin:.1f} s", flush=True)
    for name in ("ConceptScore", OURS):
        if name in found and HEADS in found:
            # what is true among the draws: the score weighs a hidden triple, the number of heads how often it is drawn
            found[f"{name}, and log of heads"] = found[name] + np.log(np.maximum(found[HEADS], 1))
    return found


def figures(scores: dict[str, np.ndarray], true: np.ndarray) -> dict[str, Any]:
    return {
        name: {
            "auc": auc(one, true),
            "recall": recalls(one, true, BUDGETS),
            **({"flags": float(one[~true].mean()), "found": float(one[true].mean())} if set(one) <= {0, 1} else {}),
        }
        for name, one in scores.items()
    }


def criterion(scores: dict[str, np.ndarray], true: np.ndarray, drawn: np.ndarray) -> dict[str, dict[str, float]]:
    """Return what CAR's rule and our scores leave and remove at the same budgets.

    At the share that the rule flags, ``left`` is how many hidden triples are left for each one that there would be
    without a constraint, and ``drawn`` the same of the random candidates that are hidden triples, which are drawn as
    often as a sampler would; ``times`` is how many times as many hidden triples are removed as by a random part of what
    the rule flags, if 5 per cent of the candidates are given up.
    """
    rule = scores[RULE]
    share, small = float(rule[~true].mean()), BUDGETS[0]
    found = {}
    for name, one in scores.items():
        removed = flagged(one[~true], one[true], share)
        caught = flagged(one[~true], one[~true][drawn], share) if drawn.any() else share
        few = flagged(one[~true], one[true], small)
        found[name] = {
            "share": share,
            "left": (1 - removed) / (1 - share),
            "drawn": (1 - caught) / (1 - share),
            "times": few / flagged(rule[~true], rule[true], small),
        }
    return found


def run(data: Path, *, seeds: int, resamples: int) -> dict[str, Any]:
    """Return the figures of every seed, and the differences of the first."""
    atomic = Atomic.read(data)
    found: dict[str, Any] = {"seeds": []}
    for seed in range(seeds):
        asked, true = atomic.candidates(seed)
        drawn = torch.isin(_keys(atomic, asked[~true]), _keys(atomic, atomic.hidden)).numpy()
        scores, flags = rows(atomic, asked, seed), true.numpy()
        one = {"hidden": int(true.sum()), "random": int((~true).sum()), "floor": float(drawn.mean())}
        found["seeds"].append({**one, "rows": figures(scores, flags), "criterion": criterion(scores, flags, drawn)})
        if not seed:
            found["differences"] = {
                ours: differences(scores, flags, ours, resamples=resamples) for ours in (OURS, "ConceptScore")
            }
            found["features"] = repr(atomic.features)
            found["observed"], found["resamples"] = len(atomic.observed), resamples
    return found


def _keys(atomic: Atomic, triples: torch.Tensor) -> torch.Tensor:
    return (triples[:, 1] * len(atomic.entities) + triples[:, 0]) * len(atomic.entities) + triples[:, 2]


def table(found: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    every = found["seeds"]
    columns = ["row", "AUC", "recall at 5 / 10 / 23 %", "flags", "left at CAR's share", "true draws left"]
    lines = [[*columns, "removed at 5 %", "AUC, ours above"]]
    for name in every[0]["rows"]:
        own = [one["rows"][name] for one in every]
        rules = [one["criterion"][name] for one in every]
        recall = " / ".join(f"{100 * statistics.median(one['recall'][f'{b:g}'] for one in own):.1f}" for b in BUDGETS)
        flags = f"{100 * statistics.median(one['flags'] for one in own):.1f} %" if "flags" in own[0] else ""
        gap = found["differences"][OURS].get(name)
        lines.append(
            [
                name,
                middle([one["auc"] for one in own], 3),
                recall,
                flags,
                middle([one["left"] for one in rules], 3),
                middle([one["drawn"] for one in rules], 3),
                middle([one["times"] for one in rules], 2) + "x",
                "" if gap is None else f"{gap['above']:+.3f} [{gap['interval'][0]:+.3f}, {gap['interval'][1]:+.3f}]",
            ]
        )
    first = every[0]
    share = 100 * statistics.median(one["criterion"][RULE]["share"] for one in every)
    return markdown(lines) + (
        f"\n\n{found['observed']:,} observed triples, {first['hidden']:,} hidden ones to be found, "
        f"{first['random']:,} random candidates, of which {100 * first['floor']:.3f} % are hidden triples, too; "
        f"{len(every)} seeds. {found['features']}. CAR's rule flags {share:.1f} % of the random candidates."
    )
