"""How likely a pair of entities is true although nobody wrote it down, as its nearest known pairs tell."""

from __future__ import annotations

from collections.abc import Callable

import torch

from kgneg.core.corruption import Corruptor
from kgneg.core.errors import InvalidInputError
from kgneg.core.modules import BufferModule
from kgneg.core.plausibility.planted import Planted, plant
from kgneg.core.plausibility.prior import uniform_examples
from kgneg.core.plausibility.regression import combine_quadratic, fit_logistic, fit_quadratic
from kgneg.core.plausibility.resemblance import PairResemblance, draw_typed
from kgneg.core.plausibility.vectors import adjacency_vectors
from kgneg.core.queries import Queries
from kgneg.core.seeding import mix_seeds
from kgneg.core.typing import TAIL, FloatTensor, IntTensor, LongTensor
from kgneg.core.validation import choose, validate_triples

__all__ = ["NeighbourPrior"]

_EXAMPLES = 20_000  # of each kind
_FEATURES = len(PairResemblance.NAMES)
_PURPOSE = 0x6E6569676862

#: Which negatives the weights are learned against: a name, or what makes their corruptor for a graph.
Against = str | Callable[[Planted], Corruptor]


class NeighbourPrior(BufferModule):
    r"""The probability that a candidate makes a true triple that is missing, by its nearest neighbours.

    The item is a triple, told by the vectors of its entities: those of a trained model or of texts, or, when none are
    given, those of the known triples (:func:`~kgneg.core.plausibility.adjacency_vectors`). It is compared with the
    known pairs of its relation and with negatives of it, see :class:`~kgneg.core.plausibility.PairResemblance`.

    A tenth of the known triples is hidden, the features are computed from the others, and a logistic regression with
    all products of two features learns to tell the hidden triples from negatives. Its log odds are then put on the
    scale of :class:`~kgneg.core.plausibility.TruthPrior`: the probability is the one among all candidates that are not
    known, *if as much is missing as was hidden*. Then the features are computed anew from all triples. Given
    vectors stay as they are: those of a model that was trained on the hidden triples too make the features look better
    than they are on triples that nobody knows.

    It is a prior like the other, so :class:`~kgneg.core.plausibility.PlausibilityCeiling` makes it a constraint of any
    corruptor, which then draws flagged negatives again; ``1 - prior(queries, ids)`` are weights.

    A relation without known triples resembles nothing: its candidates all get the probability of a random candidate.

    :param features: of the known triples
    :param mean: shape: ``(12,)``, what is taken off the features
    :param spread: shape: ``(12,)``, what they are divided by; zero for features without weight
    :param linear: shape: ``(12,)``, the weights
    :param quadratic: shape: ``(12, 12)``, the weights of their products
    :param bias: the log odds at the mean
    :param base: the log odds of a random candidate

    >>> triples = torch.tensor([[h, 0, t] for h in range(20) for t in range(h % 5, 10)])
    >>> prior = NeighbourPrior.fit(triples, num_entities=30, num_relations=1)
    >>> queries = Queries.from_triples(torch.tensor([[4, 0, 9]]), torch.tensor([2]))
    >>> likely, unlikely = prior(queries, torch.tensor([[3, 25]], dtype=torch.int32))[0].tolist()
    >>> likely > unlikely
    True
    """

    mean: FloatTensor
    spread: FloatTensor
    linear: FloatTensor
    quadratic: FloatTensor
    bias: FloatTensor
    base: FloatTensor

    def __init__(
        self,
        features: PairResemblance,
        *,
        mean: FloatTensor,
        spread: FloatTensor,
        linear: FloatTensor,
        quadratic: FloatTensor,
        bias: float,
        base: float,
    ) -> None:
        super().__init__()
        if not mean.shape == spread.shape == linear.shape == (_FEATURES,) or quadratic.shape != (_FEATURES, _FEATURES):
            shapes = [tuple(part.shape) for part in (mean, spread, linear, quadratic)]
            raise InvalidInputError(f"there are {_FEATURES} features, got mean, spread and weights of shapes {shapes}")
        self.features = features
        for name, value in (("mean", mean), ("spread", spread), ("linear", linear), ("quadratic", quadratic)):
            self.register_buffer(name, value.float().cpu())
        self.register_buffer("bias", torch.tensor(float(bias)))
        self.register_buffer("base", torch.tensor(float(base)))

    @classmethod
    def fit(
        cls,
        triples: LongTensor,
        vectors: FloatTensor | None = None,
        *,
        num_entities: int,
        num_relations: int,
        negatives: Against = "mixed",
        dim: int = 88,
        k: int = 5,
        prototypes: int = 128,
        seed: int = 0,
    ) -> NeighbourPrior:
        """Learn from the known triples.

        :param triples: shape: ``(m, 3)``, the known triples
        :param vectors: shape: ``(num_entities, d)``; ``None`` takes vectors of the known triples alone
        :param num_entities: the number of entities
        :param num_relations: the number of relations
        :param negatives: what to tell the hidden triples from: ``"uniform"`` negatives, ``"typed"`` ones, from the
            domain and range of the relation, ``"mixed"``, as many of each, or those of a corruptor that a function
            makes for the graph without the hidden triples
        :param dim: the number of dimensions of vectors that are made here
        :param k: how many of the nearest pairs to look at
        :param prototypes: how many pairs or clusters stand for a relation
        :param seed: the seed of all that is random
        :returns: the prior
        :raises InvalidInputError: if there are fewer than two triples, ids are out of range, or vectors are malformed
        """
        sizes = {"num_entities": num_entities, "num_relations": num_relations}
        triples = validate_triples(triples, num_entities, num_relations).cpu()
        planted = plant(triples, seed=mix_seeds(seed, _PURPOSE), **sizes)
        options = {"negatives": negatives, "dim": dim, "k": k, "prototypes": prototypes, "seed": seed}
        prior = cls.fit_planted(planted, vectors, **options)  # type: ignore[arg-type]
        return prior.with_triples(triples, vectors, dim=dim, seed=seed)

    @classmethod
    def fit_planted(
        cls,
        planted: Planted,
        vectors: FloatTensor | None = None,
        *,
        negatives: Against = "mixed",
        dim: int = 88,
        k: int = 5,
        prototypes: int = 128,
        seed: int = 0,
    ) -> NeighbourPrior:
        """Learn to find planted triples, knowing the others only.

        :param planted: the triples
        :param vectors: shape: ``(num_entities, d)``; ``None`` takes vectors of the triples that are not planted
        :param negatives: what to tell the planted triples from, see :meth:`fit`
        :param dim: the number of dimensions of vectors that are made here
        :param k: how many of the nearest pairs to look at
        :param prototypes: how many pairs or clusters stand for a relation
        :param seed: the seed of all that is random
        :returns: the prior, with the features of the triples that are not planted
        """
        if isinstance(negatives, str):
            choose("negatives", negatives, ("mixed", "uniform", "typed"))
        sizes = {"num_entities": planted.index.num_entities, "num_relations": planted.index.num_relations}
        if vectors is None:
            vectors = adjacency_vectors(planted.known, dim=dim, seed=seed, **sizes)
        features = PairResemblance(planted.known, vectors, k=k, prototypes=prototypes, seed=seed, **sizes)
        generator = torch.Generator().manual_seed(mix_seeds(seed, _PURPOSE, 1))
        (queries, ids), labels, importance = uniform_examples(planted, generator)
        chosen = torch.cat([_some(labels == value, generator) for value in (1, 0)])
        for value in (1, 0):  # those that are left stand for all
            own, rows = labels == value, chosen[labels[chosen] == value]
            importance[rows] *= importance[own].sum() / importance[rows].sum().clamp(min=1e-12)
        labels, importance = labels[chosen], importance[chosen]
        table = features(queries[chosen], ids[chosen]).squeeze(1)
        hidden, uniform = table[labels == 1], table[labels == 0]
        parts = [uniform]
        if negatives != "uniform":
            drawn = _drawn(planted, negatives, generator)
            side = TAIL * torch.randint(2, (len(drawn),), generator=generator)
            turned = Queries.from_triples(drawn, side)
            others = features(turned, turned.replaced.int()[:, None])
            parts = [uniform, others.squeeze(1)] if negatives == "mixed" else [others.squeeze(1)]
        weights = fit_quadratic(hidden, [part for part in parts if len(part)])
        del weights["bias"]  # calibration finds another
        made = cls(features, bias=0.0, base=0.0, **weights)
        made._calibrate(table, labels, importance)
        return made

    def with_triples(
        self, triples: LongTensor, vectors: FloatTensor | None = None, *, dim: int = 88, seed: int = 0
    ) -> NeighbourPrior:
        """Return the prior with the features of other triples.

        :param triples: shape: ``(m, 3)``, the known triples
        :param vectors: shape: ``(num_entities, d)``; ``None`` takes vectors of these triples
        :param dim: the number of dimensions of vectors that are made here
        :param seed: the seed of vectors and features
        :returns: the prior
        """
        old = self.features
        sizes = {"num_entities": old.num_entities, "num_relations": old.num_relations}
        if vectors is None:
            vectors = adjacency_vectors(triples, dim=dim, seed=seed, **sizes)
        features = PairResemblance(triples, vectors, k=old.k, prototypes=old.most, seed=seed, **sizes)
        weights = {name: getattr(self, name) for name in ("mean", "spread", "linear", "quadratic")}
        return NeighbourPrior(features, bias=float(self.bias), base=float(self.base), **weights)

    def logits(self, queries: Queries, ids: IntTensor) -> FloatTensor:
        """Return the log odds that candidates make true triples.

        :param queries: ``q`` pairs
        :param ids: shape: ``(q, n)``, candidates for each
        :returns: shape: ``(q, n)``
        """
        found = self._combined(self.features(queries, ids))
        known = (self.features.size > 0)[queries.relation]
        return torch.where(known[:, None], found, self.base)

    def forward(self, queries: Queries, ids: IntTensor) -> FloatTensor:
        """Return the probability that candidates make true triples.

        :param queries: ``q`` pairs
        :param ids: shape: ``(q, n)``, candidates for each
        :returns: shape: ``(q, n)``, in ``[0, 1]``
        """
        return self.logits(queries, ids).sigmoid_()

    def of_triples(self, triples: LongTensor) -> FloatTensor:
        """Return the probability that triples are true, asked from the end where more is known.

        :param triples: shape: ``(*, 3)``
        :returns: shape: ``(*)``, in ``[0, 1]``
        """
        flat = triples.reshape(-1, 3)
        queries = Queries.from_triples(flat, self.features.telling_side(flat))
        found: FloatTensor = self(queries, queries.replaced.int()[:, None])
        return found.view(triples.shape[:-1])

    def _combined(self, table: FloatTensor) -> FloatTensor:
        total = combine_quadratic(table, self.mean, self.spread, self.linear, self.quadratic)
        return total.add_(self.bias)

    def _calibrate(self, table: FloatTensor, labels: torch.Tensor, importance: torch.Tensor) -> None:
        """Put the log odds on the scale of candidates that are drawn uniformly."""
        total = float(importance.sum())
        rate = float((importance * labels).sum()) / total if total else 0.0
        self.base.fill_(torch.tensor(rate, dtype=torch.float64).clamp(1e-9, 1 - 1e-9).logit())
        if not 0 < rate < 1:
            self.bias.copy_(self.base)
            return
        scores = self._combined(table.clone())[:, None].double().numpy()
        slope, bias = fit_logistic(scores, labels.numpy(), importance.numpy())
        if float(slope) <= 0:  # nothing was learned
            self.linear.zero_()
            self.quadratic.zero_()
            self.bias.copy_(self.base)
            return
        for part in (self.linear, self.quadratic, self.bias):
            part.mul_(float(slope))
        self.bias.add_(bias)


def _some(mask: torch.Tensor, generator: torch.Generator) -> LongTensor:
    rows = mask.nonzero().squeeze(-1)
    return rows[torch.randperm(len(rows), generator=generator)[:_EXAMPLES]].sort().values


def _drawn(planted: Planted, negatives: Against, generator: torch.Generator) -> LongTensor:
    """Return negatives of the known triples that are not planted."""
    rows = torch.randint(len(planted.known), (_EXAMPLES,), generator=generator)
    positives = planted.known[rows]
    if isinstance(negatives, str):
        found = draw_typed(planted.known, planted.index, positives, generator)
    else:
        drawn = negatives(planted)(positives, 1, generator)
        found = drawn.triples.view(-1, 3)[~drawn.fallback.reshape(-1)]
        found = found[~planted.index.contains(found)]
    return found[~planted.hidden_index.contains(found)]
