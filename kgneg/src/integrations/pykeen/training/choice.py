"""Which way of scoring is right for a model."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from typing import Any

import torch
from pykeen.models import ERModel, Model
from pykeen.nn.representation import Embedding
from pykeen.typing import InductiveMode
from torch import nn

from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import HEAD, TAIL
from kgneg.integrations.pykeen.training.batch import Sided, TrainingBatch
from kgneg.integrations.pykeen.training.scoring import FlatScorer, Scorer
from kgneg.integrations.pykeen.training.tables import RowTables

__all__ = ["SCORINGS", "agrees", "check_scoring", "grouping_problem", "report_once"]

logger = logging.getLogger(__name__)

#: The ways of scoring that a user may ask for.
SCORINGS = ("auto", "queries", "grouped", "flat")
#: How many positives a comparison takes, and how far scores (and gradients) may differ, relative to the largest.
_ROWS, _TOLERANCE = 8, 1e-4
#: What was found about a kind of model in this process.
_known: dict[Any, bool] = {}
_reported: set[Any] = set()


def grouping_problem(model: Model) -> str | None:
    """Return why negatives of a model must be scored one by one, if they must.

    :param model: the model
    :returns: the reason; ``None`` if there is none
    """
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            return "batch normalisation sees other batches when negatives are scored in groups"
        if isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0:
            return "dropout is drawn anew for every triple"
    if isinstance(model, ERModel):
        try:
            representations = model._get_entity_representations_from_inductive_mode(mode=None)
        except (ValueError, NotImplementedError, KeyError):
            representations = model.entity_representations
        if not all(isinstance(part, Embedding) for part in representations):
            return "its entity representations are computed and not looked up"
    return None


def agrees(
    scorer: Scorer,
    model: Model,
    batch: TrainingBatch,
    mode: InductiveMode | None,
    *,
    gradients: bool,
    tables: RowTables | None = None,
) -> bool:
    """Return whether a scorer gives a model's scores; found out once per kind of model.

    :param scorer: the scorer
    :param model: the model
    :param batch: a batch, some of whose positives get negatives at both ends
    :param mode: PyKEEN's inductive mode
    :param gradients: whether the gradients of the scores must be the same, too
    :param tables: the row tables that the model reads from
    :returns: whether scores (and gradients) agree within rounding
    """
    key = (type(model), str(model), scorer.name, gradients)
    if key not in _known:
        _known[key] = _compare(scorer, model, _probe(batch), mode, gradients, tables)
        if not _known[key]:
            report_once(model, f"{scorer.name} scoring gives other {'gradients' if gradients else 'scores'}")
    return _known[key]


def report_once(model: Model, reason: str) -> None:
    """Log, once per kind of model and reason, why the quick ways of scoring are not taken.

    :param model: the model
    :param reason: the reason
    """
    key = (type(model), reason)
    if key not in _reported:
        _reported.add(key)
        logger.info("scoring negatives of %s: %s", type(model).__name__, reason)


def _probe(batch: TrainingBatch) -> TrainingBatch:
    """Return some positives of a batch, whose heads and tails are replaced by entities of each other."""
    number = len(batch.positives)
    rows = torch.linspace(0, number - 1, min(_ROWS, number), device=batch.positives.device).long()
    positives = batch.positives[rows]
    ends = positives[:, [HEAD, TAIL]]
    entity = torch.cat([ends.roll(1, 0), ends.roll(-1, 0).flip(-1)], dim=-1)
    return TrainingBatch(positives, Sided(entity, 2), None)


def _compare(
    scorer: Scorer,
    model: Model,
    batch: TrainingBatch,
    mode: InductiveMode | None,
    gradients: bool,
    tables: RowTables | None,
) -> bool:
    """Return whether scores, or their gradients, are the same for a few rows."""
    devices = [batch.positives.device] if batch.positives.device.type == "cuda" else []
    results = []
    with torch.random.fork_rng(devices), _Unregularised(model):
        for way in (FlatScorer(), scorer):
            try:
                results.append(_results(way, model, batch, mode, gradients, tables))
            except (NotImplementedError, RuntimeError, TypeError, ValueError, IndexError):
                if way is not scorer:
                    raise
                return False
    return len(results[0]) == len(results[1]) and all(map(_same, *results))


def _same(a: torch.Tensor | None, b: torch.Tensor | None) -> bool:
    """Return whether numbers are the same within rounding; no gradient is a gradient of zero."""
    if a is None or b is None:
        return not any(part is not None and bool(part.any()) for part in (a, b))
    if a.shape != b.shape or not a.numel():
        return a.shape == b.shape
    return bool((a - b).abs().max() <= _TOLERANCE * (1e-6 + a.abs().max()))


def _results(
    scorer: Scorer,
    model: Model,
    batch: TrainingBatch,
    mode: InductiveMode | None,
    gradients: bool,
    tables: RowTables | None,
) -> list[torch.Tensor | None]:
    """Return scores and gradients; of tables, only the rows that were read, for copies of these would be large."""
    with nullcontext() if gradients else torch.no_grad():
        scores = torch.cat([part.reshape(-1) for part in scorer(model, batch, mode)])
    if not gradients:
        return [scores]
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    before = [parameter.grad for parameter in parameters]
    for parameter in parameters:
        parameter.grad = None
    torch.autograd.backward((scores * torch.linspace(0.5, 1.5, len(scores), device=scores.device)).sum())
    found = [] if tables is None else tables.reduce()
    for parameter, old in zip(parameters, before, strict=True):
        found.append(parameter.grad)
        parameter.grad = old
    return [scores.detach(), *found]


class _Unregularised:
    """Keeps the regularisers of a model as they are."""

    def __init__(self, model: Model) -> None:
        from pykeen.regularizers import Regularizer

        self.modules = [(module, module.training) for module in model.modules() if isinstance(module, Regularizer)]

    def __enter__(self) -> None:
        for module, _ in self.modules:
            module.training = False

    def __exit__(self, *_: object) -> None:
        for module, training in self.modules:
            module.training = training


def check_scoring(scoring: str) -> str:
    """Check the name of a way of scoring.

    :param scoring: the name
    :returns: the name
    :raises InvalidInputError: if there is no such way
    """
    if scoring not in SCORINGS:
        raise InvalidInputError(f"scoring must be one of {', '.join(SCORINGS)}, got {scoring!r}")
    return scoring
