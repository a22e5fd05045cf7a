"""Which negatives may be true, judged from the known triples alone."""

from __future__ import annotations

from kgneg.core.plausibility.budget import OperatingPoint, find_operating_point, proposal_logits, validate_budget
from kgneg.core.plausibility.ceiling import PlausibilityCeiling
from kgneg.core.plausibility.features import PlausibilityFeatures
from kgneg.core.plausibility.planted import Planted, plant
from kgneg.core.plausibility.prior import TruthPrior

__all__ = [
    "OperatingPoint",
    "Planted",
    "PlausibilityCeiling",
    "PlausibilityFeatures",
    "TruthPrior",
    "find_operating_point",
    "plant",
    "proposal_logits",
    "validate_budget",
]
