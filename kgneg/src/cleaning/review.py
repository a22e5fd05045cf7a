"""Rows for people to look at, one JSON object per line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from kgneg.samplers.noise import ACTIONS

if TYPE_CHECKING:
    from kgneg.cleaning.result import Cleaning

__all__ = ["nearest", "review_lines", "review_rows"]

_NEAREST = 3


def review_rows(found: Cleaning) -> list[int]:
    """Return the rows to look at: flagged negatives from the most probable on, then doubtful positives.

    :param found: what was found
    :returns: positions of rows
    """
    report = found.report
    flagged = report.flagged.nonzero().squeeze(-1)
    flagged = flagged[torch.argsort(report.score[flagged], descending=True, stable=True)]
    doubtful = (report.weak & ~report.negative).nonzero().squeeze(-1)
    doubtful = doubtful[torch.argsort(report.support[doubtful], stable=True)]
    return [*flagged.tolist(), *doubtful.tolist()]


def nearest(found: Cleaning, row: int, number: int = _NEAREST) -> list[tuple[int, float]]:
    """Return the nearest positives of a row.

    :param found: what was found
    :param row: the row
    :param number: how many, at most
    :returns: their rows and cosines
    """
    report = found.report
    pairs = zip(report.evidence[row].tolist(), report.evidence_cosine[row].tolist(), strict=True)
    return [(near, cosine) for near, cosine in pairs if near >= 0][:number]


def review_lines(found: Cleaning) -> Iterator[str]:
    """Write the rows to look at, for annotation tools.

    :param found: what was found
    :yields: a line per row, with ``id``, ``text``, ``label``, ``suggestion``, ``score``, ``evidence`` and ``meta``
    """
    for row in review_rows(found):
        yield json.dumps(_task(found, row), ensure_ascii=False, allow_nan=False) + "\n"


def _task(found: Cleaning, row: int) -> dict[str, Any]:
    report = found.report
    suggestion = int(report.suggestion[row])
    negative = bool(report.negative[row])
    about: dict[str, Any] = {
        "id": report.ids[row],
        "label": report.classes[int(report.labels[row])],
        "suggestion": report.classes[suggestion] if suggestion >= 0 else None,
        "score": round(float(report.score[row] if negative else 1 - report.support[row]), 6),
    }
    kinds = {name: values[row] for name, values in found.types.items()}
    group = {} if found.groups is None else {"group": found.groups[row]}
    return {
        **about,
        "text": found.text(row),
        "evidence": [
            {
                "id": report.ids[near],
                "label": report.classes[int(report.labels[near])],
                "text": found.text(near),
                "cosine": round(cosine, 4),
            }
            for near, cosine in nearest(found, row)
        ],
        "meta": {**about, "action": ACTIONS[int(report.action[row])], **group, **kinds},
    }
