"""Ways to score the positives and negatives of a batch with a PyKEEN model."""

from __future__ import annotations

from typing import ClassVar, Protocol

import torch
from pykeen.models import Model
from pykeen.typing import InductiveMode

from kgneg.core.rowwise import Candidates, Metric, RowTable, candidate_scores, pool_scores, triple_queries
from kgneg.core.typing import HEAD, RELATION, TAIL, BoolTensor, FloatTensor, LongTensor
from kgneg.integrations.pykeen.training.batch import Shared, Sided, TrainingBatch
from kgneg.integrations.pykeen.training.queries import QueryForm
from kgneg.integrations.pykeen.training.regularization import OutputRegularization
from kgneg.integrations.pykeen.training.tables import RowTables

__all__ = ["FlatScorer", "GroupedScorer", "QueryScorer", "Scorer"]


class Scorer(Protocol):
    """Scores a batch, and has its regularisers see what they would see in PyKEEN's loop."""

    #: what messages call it
    name: ClassVar[str]

    def __call__(
        self, model: Model, batch: TrainingBatch, mode: InductiveMode | None
    ) -> tuple[FloatTensor, FloatTensor]:
        """Return the scores of positives, ``(b, 1)``, and negatives, ``(b, n)`` or, masked, of those that count."""
        ...


class FlatScorer:
    """Every negative is a triple of its own, as in PyKEEN's loop; right for every model."""

    name: ClassVar[str] = "flat"

    def __call__(
        self, model: Model, batch: TrainingBatch, mode: InductiveMode | None
    ) -> tuple[FloatTensor, FloatTensor]:
        """Score a batch.

        :param model: the model
        :param batch: the batch
        :param mode: PyKEEN's inductive mode
        :returns: the scores of positives and negatives
        """
        triples = batch.triples if batch.mask is None else batch.triples[batch.mask]
        positive_scores = model.score_hrt(batch.positives, mode=mode)
        negative_scores = model.score_hrt(triples.reshape(-1, 3), mode=mode)
        return positive_scores, negative_scores.view(triples.shape[:-1])


class _SidedScorer:
    """Base of scorers that use the sides of negatives; batches without sides are scored one by one."""

    name: ClassVar[str]

    def __init__(self, regularization: OutputRegularization) -> None:
        self.regularization = regularization
        self.flat = FlatScorer()

    def __call__(
        self, model: Model, batch: TrainingBatch, mode: InductiveMode | None
    ) -> tuple[FloatTensor, FloatTensor]:
        """Score a batch.

        :param model: the model
        :param batch: the batch
        :param mode: PyKEEN's inductive mode
        :returns: the scores of positives and negatives
        """
        sided = batch.sided
        if sided is None:
            return self.flat(model, batch, mode)
        mask = batch.mask
        if self.regularization and mask is not None and sided.order is not None:
            mask = mask.gather(-1, sided.order)
        positive_scores, scores = self.score(model, batch.positives, sided, mask, mode)
        scores = sided.restore(scores)
        return positive_scores, scores if batch.mask is None else scores[batch.mask]

    def score(
        self, model: Model, positives: LongTensor, sided: Sided, mask: BoolTensor | None, mode: InductiveMode | None
    ) -> tuple[FloatTensor, FloatTensor]:
        """Return the scores of positives and negatives, the latter in the order of ``sided``."""
        raise NotImplementedError


class GroupedScorer(_SidedScorer):
    """Negatives of one end are scored together, with ``score_h`` and ``score_t`` of the model.

    :param regularization: the regularisers of the model
    """

    name: ClassVar[str] = "grouped"

    def score(
        self, model: Model, positives: LongTensor, sided: Sided, mask: BoolTensor | None, mode: InductiveMode | None
    ) -> tuple[FloatTensor, FloatTensor]:
        """Score a batch.

        :param model: the model
        :param positives: shape: ``(b, 3)``
        :param sided: the negatives by side
        :param mask: shape: ``(b, n)``, in the order of ``sided``, which of them are regularised
        :param mode: PyKEEN's inductive mode
        :returns: the scores of positives and negatives
        """
        positive_scores = model.score_hrt(positives, mode=mode)
        self.regularization.add(positives, sided, mask)
        with self.regularization.muted():
            if isinstance(sided.heads, int):
                return positive_scores, self._rows(model, positives, sided.entity, sided.heads, mode)
            scores = positive_scores.new_empty(0)
            parts, rows = [], []
            # rows that replace the head equally often are scored together
            for heads in torch.unique(sided.heads).tolist():
                chosen = (sided.heads == heads).nonzero().squeeze(-1)
                parts.append(self._rows(model, positives[chosen], sided.entity[chosen], heads, mode))
                rows.append(chosen)
            if parts:
                scores = torch.cat(parts)[torch.argsort(torch.cat(rows))]
            return positive_scores, scores

    @staticmethod
    def _rows(
        model: Model, positives: LongTensor, entity: LongTensor, heads: int, mode: InductiveMode | None
    ) -> FloatTensor:
        parts = []
        if heads:
            parts.append(model.score_h(positives[:, RELATION:], heads=entity[:, :heads], mode=mode))
        if heads < entity.shape[1]:
            parts.append(model.score_t(positives[:, :TAIL], tails=entity[:, heads:], mode=mode))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)


class QueryScorer(_SidedScorer):
    """Entities are compared with queries where they lie in the table.

    See :func:`~kgneg.core.rowwise.candidates.candidate_scores`.

    :param regularization: the regularisers of the model
    :param form: how the model's score is computed
    :param tables: the row tables of the model
    """

    name: ClassVar[str] = "queries"

    def __init__(self, regularization: OutputRegularization, form: QueryForm, tables: RowTables) -> None:
        super().__init__(regularization)
        self.form, self.tables = form, tables

    def score(
        self, model: Model, positives: LongTensor, sided: Sided, mask: BoolTensor | None, mode: InductiveMode | None
    ) -> tuple[FloatTensor, FloatTensor]:
        """Score a batch.

        :param model: the model
        :param positives: shape: ``(b, 3)``
        :param sided: the negatives by side
        :param mask: shape: ``(b, n)``, in the order of ``sided``, which of them are regularised
        :param mode: PyKEEN's inductive mode
        :returns: the scores of positives and negatives
        """
        form = self.form
        with self.regularization.muted():
            h = form.entities(positives[:, HEAD])
            r = form.relations(positives[:, RELATION])
            t = form.entities(positives[:, TAIL])
        self.regularization.add(positives, sided, mask, vectors=(h, r, t))
        rows, n = sided.entity.shape
        positive_scores, queries = triple_queries(h, r, t, form.combination, form.metric)
        table = self.tables[form.entities]
        if sided.shared is not None:
            return positive_scores, _pooled(table, queries.view(rows, 2, -1), sided.shared, form.metric)
        if isinstance(sided.heads, int) and 2 * sided.heads == n:
            candidates = Candidates.from_matrix(sided.entity.view(2 * rows, sided.heads))
        else:
            candidates = Candidates.from_counts(sided.entity, sided.counts)
        return positive_scores, candidate_scores(table, queries, candidates, form.metric).view(rows, n)


def _pooled(table: RowTable, queries: FloatTensor, shared: Shared, metric: Metric) -> FloatTensor:
    """Compare the queries of each chunk of positives, shape ``(b, 2, d)``, with the pool of the chunk."""
    spans = shared.spans(len(queries))
    # splitting costs one pass in the backward pass, where slices would fill and add up whole tensors
    blocks = torch.split(queries, [rows for rows, _, _ in spans])
    vectors = torch.split(table.read(shared.pools), [chunks for _, chunks, _ in spans])
    parts = []
    for (_, chunks, end), block, pools in zip(spans, blocks, vectors, strict=True):
        wanted = block.unbind(1)[end]
        parts.append(pool_scores(wanted.view(chunks, -1, wanted.shape[-1]), pools, metric).flatten(0, 1))
    return torch.cat(parts)
