"""Interactions that compare a query with a candidate."""

from __future__ import annotations

from typing import Any, NamedTuple

from pykeen.models import ERModel, Model
from pykeen.nn.modules import ComplExInteraction, DistMultInteraction, RotatEInteraction, TransEInteraction
from pykeen.nn.representation import Embedding
from pykeen.utils import complex_normalize

from kgneg.core.rowwise import Combination, Metric
from kgneg.integrations.pykeen.training.tables import is_table

__all__ = ["QueryForm", "query_form"]


class QueryForm(NamedTuple):
    """A score written as a comparison of an entity with what the rest of the triple asks for.

    :param entities: the table of entities
    :param relations: the representations of relations
    :param combination: how the known part of a triple makes a query
    :param metric: how an entity is compared with a query
    """

    entities: Embedding
    relations: Embedding
    combination: Combination
    metric: Metric


def _distance(interaction: Any) -> Metric | None:
    p, power = interaction.p, interaction.power_norm
    if p == 1:
        return Metric.L1
    if p == 2:
        return Metric.SQUARED if power else Metric.L2
    return None


def _comparison(interaction: Any) -> tuple[Combination, Metric] | None:
    """Return how an interaction makes and compares queries, if it does."""
    kind = type(interaction)
    if kind is DistMultInteraction:
        return Combination.PRODUCT, Metric.DOT
    if kind is ComplExInteraction:  # Re <h r, conj t> is the inner product of real vectors
        return Combination.ROTATION, Metric.DOT
    if kind is RotatEInteraction:  # relations have modulus one, so the head can be rotated as well as the tail
        return Combination.ROTATION, Metric.L2
    if kind is TransEInteraction:
        metric = _distance(interaction)
        return None if metric is None else (Combination.TRANSLATION, metric)
    return None


def _is_plain(representation: object) -> bool:
    return (
        is_table(representation)
        and representation.normalizer is None
        and representation.dropout is None
        and not representation.unique
    )


def _has_modulus_one(relations: Embedding) -> bool:
    constrainer = relations.constrainer
    return getattr(constrainer, "func", constrainer) is complex_normalize


def query_form(model: Model) -> QueryForm | None:
    """Return how a model's score can be computed by comparing entities with queries.

    :param model: the model
    :returns: the form; ``None`` if the model is not known to have one
    """
    if not isinstance(model, ERModel) or type(model).score_hrt is not ERModel.score_hrt:
        return None
    if getattr(type(model), "_get_representations", None) is not getattr(ERModel, "_get_representations", None):
        return None
    representations = (*model.entity_representations, *model.relation_representations)
    if (len(model.entity_representations), len(model.relation_representations)) != (1, 1):
        return None
    found = _comparison(model.interaction)
    entities: Any = representations[0]
    relations: Any = representations[1]
    if found is None or not all(map(_is_plain, representations)) or not entities._embeddings.weight.requires_grad:
        return None
    if type(model.interaction) is RotatEInteraction and not _has_modulus_one(relations):
        return None
    return QueryForm(entities, relations, *found)
