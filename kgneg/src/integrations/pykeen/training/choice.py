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
from kgneg.integrations.pykeen.training.batch import TrainingBatch
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
    :param batch: a batch, of which a few rows are taken
    :param mode: PyKEEN's inductive mode
    :param gradients: whether the gradients of the scores must be the same, too
    :param tables: the row tables that the model reads from
    :returns: whether scores (and gradients) agree within rounding
    """
    if batch.sided is None:
        return True
    key = (type(model), str(getattr(model, "interaction", "")), scorer.name, gradients)
    if key not in _known:
        _known[key] = _compare(scorer, model, _few(batch), mode, gradients, tables)
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


def _few(batch: TrainingBatch) -> TrainingBatch:
    """Return some rows spread over a batch: there are samplers that replace heads in its first half only."""
    number = len(batch.positives)
    rows = torch.linspace(0, number - 1, min(_ROWS, number), device=batch.positives.device).long()
    return TrainingBatch(batch.positives[rows], None if batch.sided is None else batch.sided.rows(rows), None)


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
    with torch.random.fork_rng(devices), _unregularised(model):
        for way in (FlatScorer(), scorer):
            try:
                results.append(_results(way, model, batch, mode, gradients, tables))
            except (NotImplementedError, RuntimeError, TypeError, ValueError, IndexError):
                if way is not scorer:
                    raise
                return False
    return all(
        a.shape == b.shape and bool((a - b).abs().max() <= _TOLERANCE * (1e-6 + a.abs().max()))
        for a, b in zip(*results, strict=True)
        if a.numel()
    )


def _results(
    scorer: Scorer,
    model: Model,
    batch: TrainingBatch,
    mode: InductiveMode | None,
    gradients: bool,
    tables: RowTables | None,
) -> list[torch.Tensor]:
    with nullcontext() if gradients else torch.no_grad():
        scores = torch.cat([part.reshape(-1) for part in scorer(model, batch, mode)])
    if not gradients:
        return [scores]
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    before = [parameter.grad for parameter in parameters]
    for parameter in parameters:
        parameter.grad = None
    torch.autograd.backward((scores * torch.linspace(0.5, 1.5, len(scores), device=scores.device)).sum())
    if tables is not None:
        tables.flush()
    found = []
    for parameter, old in zip(parameters, before, strict=True):
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        found.append(gradient.to_dense().clone() if gradient.is_sparse else gradient)
        parameter.grad = old
    return [scores.detach(), *found]


class _unregularised:  # noqa: N801
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
