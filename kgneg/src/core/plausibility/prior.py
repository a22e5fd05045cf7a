"""How likely a triple is true although nobody wrote it down."""

from __future__ import annotations

import logging

import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.modules import BufferModule
from kgneg.core.plausibility.features import PlausibilityFeatures
from kgneg.core.plausibility.planted import Planted, plant
from kgneg.core.plausibility.regression import fit_logistic
from kgneg.core.queries import Queries
from kgneg.core.seeding import mix_seeds
from kgneg.core.typing import HEAD, TAIL, FloatTensor, IntTensor, LongTensor
from kgneg.core.validation import validate_triples

__all__ = ["TruthPrior", "uniform_examples"]

logger = logging.getLogger(__name__)

_NEGATIVES = 200_000
_PURPOSE = 0x7072696F72


class TruthPrior(BufferModule):
    r"""The probability that a candidate makes a true triple that is missing, by popularity and co-occurrence.

    A tenth of the known triples is hidden. From the others :class:`PlausibilityFeatures` are computed, and a logistic
    regression learns to tell the hidden triples from random candidates, each weighted by how often a uniform sampler
    would draw it: so the probability is the one among all candidates that are not known, *if as much is missing as was
    hidden*. How much really is missing nobody knows; the order of candidates does not depend on it, and neither does a
    rate relative to uniform negatives. Then the features are computed anew from all triples.

    :param features: of the known triples
    :param weights: shape: ``(6,)``, of the features
    :param bias: the logit where all features are zero

    >>> triples = torch.tensor([[h, 0, t] for h in range(20) for t in range(h % 5, 10)])
    >>> prior = TruthPrior.fit(triples, num_entities=30, num_relations=1, rank=4)
    >>> queries = Queries.from_triples(torch.tensor([[4, 0, 9]]), torch.tensor([2]))
    >>> likely, unlikely = prior(queries, torch.tensor([[3, 25]], dtype=torch.int32))[0].tolist()
    >>> likely > unlikely
    True
    """

    weights: FloatTensor
    bias: FloatTensor

    def __init__(self, features: PlausibilityFeatures, weights: FloatTensor, bias: float) -> None:
        super().__init__()
        if weights.shape != (len(PlausibilityFeatures.NAMES),):
            raise InvalidInputError(f"there are {len(PlausibilityFeatures.NAMES)} features, got {tuple(weights.shape)}")
        self.features = features
        self.register_buffer("weights", weights.float().cpu())
        self.register_buffer("bias", torch.tensor(float(bias)))

    @classmethod
    def fit(
        cls, triples: LongTensor, *, num_entities: int, num_relations: int, rank: int = 64, seed: int = 0
    ) -> TruthPrior:
        """Learn from the known triples.

        :param triples: shape: ``(m, 3)``, the known triples
        :param num_entities: the number of entities
        :param num_relations: the number of relations
        :param rank: the rank of the factorisation, see :class:`PlausibilityFeatures`; no more than the graph allows
        :param seed: the seed of all that is random
        :returns: the prior
        :raises InvalidInputError: if there are fewer than two triples, or ids are out of range
        """
        sizes = {"num_entities": num_entities, "num_relations": num_relations}
        triples = validate_triples(triples, num_entities, num_relations).cpu()
        planted = plant(triples, seed=mix_seeds(seed, _PURPOSE), **sizes)
        prior = cls.fit_planted(planted, rank=rank, seed=seed)
        return prior.with_triples(triples, seed=seed)

    @classmethod
    def fit_planted(cls, planted: Planted, *, rank: int = 64, seed: int = 0) -> TruthPrior:
        """Learn to find planted triples, knowing the others only.

        :param planted: the triples
        :param rank: the rank of the factorisation
        :param seed: the seed of all that is random
        :returns: the prior, with the features of the triples that are not planted
        """
        sizes = {"num_entities": planted.index.num_entities, "num_relations": planted.index.num_relations}
        features = PlausibilityFeatures(planted.known, rank=rank, seed=seed, **sizes)
        generator = torch.Generator().manual_seed(mix_seeds(seed, _PURPOSE, 1))
        rows, labels, importance = uniform_examples(planted, generator)
        queries, ids = rows
        table = features(queries, ids).squeeze(1).double().numpy()
        return cls(features, *fit_logistic(table, labels.numpy(), importance.numpy()))

    def with_triples(self, triples: LongTensor, *, seed: int = 0) -> TruthPrior:
        """Return the prior with the features of other triples.

        :param triples: shape: ``(m, 3)``, the known triples
        :param seed: the seed of the factorisation
        :returns: the prior
        """
        old = self.features
        features = PlausibilityFeatures(
            triples,
            num_entities=old.num_entities,
            num_relations=old.num_relations,
            rank=old.entity_factors.shape[1],
            seed=seed,
        )
        return TruthPrior(features, self.weights, float(self.bias))

    def logits(self, queries: Queries, ids: IntTensor) -> FloatTensor:
        """Return the log odds that candidates make true triples.

        :param queries: ``q`` pairs
        :param ids: shape: ``(q, n)``, candidates for each
        :returns: shape: ``(q, n)``
        """
        return self.features.weighted(queries, ids, self.weights).add_(float(self.bias))

    def forward(self, queries: Queries, ids: IntTensor) -> FloatTensor:
        """Return the probability that candidates make true triples.

        :param queries: ``q`` pairs
        :param ids: shape: ``(q, n)``, candidates for each
        :returns: shape: ``(q, n)``, in ``[0, 1]``
        """
        return self.logits(queries, ids).sigmoid_()

    def of_triples(self, triples: LongTensor) -> FloatTensor:
        """Return the probability that triples are true, the larger one of those from both ends.

        :param triples: shape: ``(*, 3)``
        :returns: shape: ``(*)``, in ``[0, 1]``
        """
        flat = triples.reshape(-1, 3)
        found = []
        for side in (HEAD, TAIL):
            queries = Queries.from_triples(flat, torch.full_like(flat[:, 0], side))
            found.append(self(queries, queries.replaced.int()[:, None]).squeeze(-1))
        return torch.maximum(*found).view(triples.shape[:-1])


def uniform_examples(
    planted: Planted, generator: torch.Generator
) -> tuple[tuple[Queries, IntTensor], torch.Tensor, torch.Tensor]:
    """Return pairs with one candidate each, whether that was planted, and how many candidates each stands for.

    A candidate counts as often as a uniform sampler meets its pair: once for each known triple that completes it.

    :param planted: the triples
    :param generator: the source of the random candidates
    :returns: the pairs and candidates, shape ``(n, 1)``, then labels and numbers, both of shape ``(n,)``
    """
    queries, ids, times = planted.hits()
    known = len(planted.known)
    row = torch.randint(known, (_NEGATIVES,), generator=generator)
    side = torch.randint(2, (_NEGATIVES,), generator=generator) * TAIL
    random = Queries.from_triples(planted.known[row], side)
    index = planted.index
    free = index.num_entities - index.count(random.kept, random.relation, random.side)
    open_ = (free > 0).nonzero().squeeze(-1)  # where everything is known there is no candidate
    random, free = random[open_], free[open_].double()
    others = index.complement(random.kept, random.relation, random.side, 1, generator=generator).squeeze(-1)
    false = ~planted.contains(random, others)
    scale = 2 * known / _NEGATIVES
    parts = [torch.cat([getattr(queries, name), getattr(random, name)[false]]) for name in _FIELDS]
    labels = torch.cat([torch.ones(len(ids)), torch.zeros(int(false.sum()))]).double()
    importance = torch.cat([times.double(), free[false] * scale])
    return (Queries(*parts), torch.cat([ids, others[false]]).int()[:, None]), labels, importance


_FIELDS = ("kept", "relation", "replaced", "side")
