"""Control of false negatives in PyKEEN's samplers."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kgneg.core.cache import content_key
from kgneg.core.corruption import Corruptor
from kgneg.core.plausibility import (
    OperatingPoint,
    Planted,
    PlausibilityCeiling,
    TruthPrior,
    find_operating_point,
    plant,
    proposal_logits,
)
from kgneg.integrations.pykeen.setup import Setup
from kgneg.samplers import LemonSettings

__all__ = ["budgeted", "truth_prior"]

logger = logging.getLogger(__name__)

_SEED = 0


def truth_prior(setup: Setup) -> TruthPrior:
    """Return how likely candidates make true triples of a graph that are missing.

    :param setup: the graph
    :returns: the prior
    """
    prior: TruthPrior = setup.build("prior", _SEED, lambda: _learned(setup).with_triples(setup.mapped_triples))
    return prior


def _planted(setup: Setup) -> Planted:
    planted: Planted = setup.build("planted", _SEED, lambda: plant(setup.mapped_triples, seed=_SEED, **setup.sizes))
    return planted


def _learned(setup: Setup) -> TruthPrior:
    """Return the prior with the features of the triples that are not planted."""
    prior: TruthPrior = setup.build("learned", _SEED, lambda: TruthPrior.fit_planted(_planted(setup), seed=_SEED))
    return prior


def budgeted(
    sampler: Any, options: Mapping[str, Any], setup: Setup, common: Mapping[str, Any], budget: float, negatives: int
) -> tuple[Corruptor, OperatingPoint]:
    """Make a corruptor that keeps a budget of false negatives.

    :param sampler: the class of the sampler, a :class:`~kgneg.integrations.pykeen.base.KgnegNegativeSampler`
    :param options: its own options
    :param setup: the graph
    :param common: the arguments of every corruptor
    :param budget: see :func:`~kgneg.core.plausibility.find_operating_point`
    :param negatives: how many negatives each positive gets
    :returns: the corruptor, and where it operates
    """
    filtered, settled = common["index"] is not None, sampler.settled(options)

    def make(planted: Planted, ceiling: PlausibilityCeiling) -> Corruptor:
        part = Setup(planted.known, setup.num_entities, setup.num_relations)
        arguments = {**common, "index": planted.index if filtered else None, "seed": _SEED}
        return sampler.make_controlled(part, arguments, ceiling, **settled)  # type: ignore[no-any-return]

    def search() -> OperatingPoint:
        return find_operating_point(make, _planted(setup), _learned(setup), budget, negatives=negatives, seed=_SEED)

    key = _spelled([sampler.__module__, sampler.__qualname__, dict(settled), budget, filtered, negatives])
    point: OperatingPoint = search() if key is None else setup.build("operating point", key, search)
    ceiling = PlausibilityCeiling(truth_prior(setup))
    if point.share < 1:
        # a share of the proposals, not a limit, is what carries over to the whole graph, of which more is known
        free = sampler.make_controlled(setup, {**common, "seed": _SEED}, ceiling, **settled)
        logits = proposal_logits(free, setup.mapped_triples, ceiling.prior, negatives=negatives, seed=_SEED)
        ceiling = PlausibilityCeiling(ceiling.prior, logits.quantile(point.share).item() if point.share else -math.inf)
    logger.info("fn_budget=%g: the ceiling lets %.3g pass, ratio %.3g", budget, point.share, point.ratio)
    return sampler.make_controlled(setup, dict(common), ceiling, **options), point


def _spelled(value: Any) -> Any:
    """Return options in a form that JSON can spell, or ``None`` if they have none."""
    if isinstance(value, LemonSettings):
        return value.to_dict()
    if isinstance(value, np.ndarray):
        return [
            "array",
            hashlib.blake2b(value.tobytes(), digest_size=16).hexdigest(),
            value.dtype.str,
            list(value.shape),
        ]
    if isinstance(value, torch.Tensor):
        return content_key(value)
    if isinstance(value, Mapping):
        value = [[str(name), one] for name, one in value.items()]
    if isinstance(value, list | tuple):
        parts = [_spelled(one) for one in value]
        return None if None in parts else parts
    if isinstance(value, str | Path) and Path(value).is_file():
        state = Path(value).stat()
        return [str(value), state.st_mtime_ns, state.st_size]
    return repr(value) if value is None or isinstance(value, str | int | float | Path) else None
