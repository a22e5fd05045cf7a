"""Telling held-out triples from the hard negatives that people verified for CoDEx."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from link_prediction_plan import graph_folder

from kgneg.compare import CompareData

__all__ = ["FEW", "Items", "accuracies", "best_threshold", "hard_negatives", "majority", "scores_of"]

#: relations with fewer validation examples take the threshold of all relations
FEW = 10


class Items(NamedTuple):
    """Triples, and which of them are true; the true ones come first."""

    triples: np.ndarray
    truth: np.ndarray

    @property
    def relation(self) -> np.ndarray:
        return self.triples[:, 1]


def best_threshold(scores: np.ndarray, truth: np.ndarray) -> float:
    """Return the threshold with the highest accuracy; what is above it counts as true.

    Thresholds lie half way between neighbouring scores; of equally good ones the middle one is taken.

    >>> best_threshold(np.array([0.1, 0.2, 0.8, 0.9]), np.array([False, False, True, True]))
    0.5
    """
    order = np.argsort(scores, kind="stable")
    values, true = scores[order].astype(float), truth[order].astype(float)
    right = np.concatenate([[true.sum()], true.sum() + np.cumsum(1 - 2 * true)])
    allowed = np.concatenate([[True], values[1:] > values[:-1], [True]])
    places = np.flatnonzero(allowed & (right == right[allowed].max()))
    place = int(places[(len(places) - 1) // 2])
    if place == 0:
        return float(values[0] - 1)
    if place == len(values):
        return float(values[-1] + 1)
    return float((values[place - 1] + values[place]) / 2)


def accuracies(
    valid: Items, valid_scores: np.ndarray, test: Items, test_scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return which test items are classified rightly: with a threshold per relation, with one for all.

    :param valid: the validation items, from which the thresholds come
    :param valid_scores: a score for each of them
    :param test: the test items
    :param test_scores: a score for each of them
    """
    overall = best_threshold(valid_scores, valid.truth)
    found = np.full(len(test.truth), overall)
    for one in np.unique(test.relation):
        mine = valid.relation == one
        if mine.sum() >= FEW:
            found[test.relation == one] = best_threshold(valid_scores[mine], valid.truth[mine])
    return (test_scores > found) == test.truth, (test_scores > overall) == test.truth


def majority(valid: Items, test: Items) -> float:
    """Return the accuracy without any model: each relation gets the answer that is more frequent in validation."""
    nothing = np.zeros(len(valid.truth)), np.zeros(len(test.truth))
    return float(accuracies(valid, nothing[0], test, nothing[1])[0].mean())


@torch.inference_mode()
def scores_of(model: Any, triples: np.ndarray) -> np.ndarray:
    """Return the score of each triple."""
    model.eval()
    parts = torch.from_numpy(triples).split(1024)
    return torch.cat([model.score_hrt(part) for part in parts]).flatten().double().numpy()


def hard_negatives(data: CompareData, root: Path) -> dict[str, Items] | None:
    """Return what is classified: held-out triples and verified negatives; ``None`` where there are none."""
    folder = graph_folder(data.name, root)
    if folder is None or not (folder / "valid_negatives.txt.gz").is_file():
        return None
    entities, relations = data.training.entity_to_id, data.training.relation_to_id
    found = {}
    for part, factory in (("valid", data.validation), ("test", data.testing)):
        with gzip.open(folder / f"{part}_negatives.txt.gz", "rt", encoding="utf-8") as lines:
            rows = [line.rstrip("\n").split("\t") for line in lines]
        wrong = np.array([[entities[h], relations[r], entities[t]] for h, r, t in rows], dtype=np.int64)
        true = factory.mapped_triples.numpy()
        found[part] = Items(np.concatenate([true, wrong]), np.arange(len(true) + len(wrong)) < len(true))
    return found
