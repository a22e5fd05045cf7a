"""Which negatives may be true, judged from the known triples alone."""

from __future__ import annotations

from kgneg.core.plausibility.budget import OperatingPoint, find_operating_point, proposal_logits, validate_budget
from kgneg.core.plausibility.ceiling import PlausibilityCeiling
from kgneg.core.plausibility.features import PlausibilityFeatures
from kgneg.core.plausibility.pairs import NeighbourPrior
from kgneg.core.plausibility.planted import Planted, plant
from kgneg.core.plausibility.prior import TruthPrior
from kgneg.core.plausibility.resemblance import PairResemblance
from kgneg.core.plausibility.selftest import PlantedTest, planted_test
from kgneg.core.plausibility.vectors import adjacency_vectors

__all__ = [
    "NeighbourPrior",
    "OperatingPoint",
    "PairResemblance",
    "Planted",
    "PlantedTest",
    "PlausibilityCeiling",
    "PlausibilityFeatures",
    "TruthPrior",
    "adjacency_vectors",
    "find_operating_point",
    "plant",
    "planted_test",
    "proposal_logits",
    "validate_budget",
]
