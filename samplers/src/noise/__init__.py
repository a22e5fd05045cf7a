"""Positives that hide in one big negative class: finding, removing and relabelling them."""

from __future__ import annotations

from kgneg.samplers.noise.filter import NoiseFilter
from kgneg.samplers.noise.parekh import NeighbourCleaning, parekh_es, parekh_is
from kgneg.samplers.noise.posterior import ExpectedCount, Labelling
from kgneg.samplers.noise.report import ACTIONS, CurvePoint, NoiseReport
from kgneg.samplers.noise.scores import DetectionScores, score_detection

__all__ = [
    "ACTIONS",
    "CurvePoint",
    "DetectionScores",
    "ExpectedCount",
    "Labelling",
    "NeighbourCleaning",
    "NoiseFilter",
    "NoiseReport",
    "parekh_es",
    "parekh_is",
    "score_detection",
]
