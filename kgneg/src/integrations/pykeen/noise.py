"""The noise filter of nearest neighbours, for PyKEEN's own samplers."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import torch
from pykeen.sampling.filtering import Filterer

from kgneg.core.cache import content_key
from kgneg.core.candidates import CandidateIndex
from kgneg.core.errors import InvalidInputError
from kgneg.core.plausibility import NeighbourPrior, PlantedTest, plant, planted_test
from kgneg.core.typing import HEAD, RELATION, TAIL, BoolTensor, FloatTensor, LongTensor
from kgneg.core.validation import validate_count, validate_share
from kgneg.integrations.pykeen.setup import Setup
from kgneg.integrations.pykeen.texts import read_vectors
from kgneg.samplers import TypedCorruptor

__all__ = ["KnnNoiseFilterer", "neighbour_prior"]

_SEED = 0
_POSITIVES, _EACH = 8192, 4


def neighbour_prior(setup: Setup, vectors: FloatTensor | None, k: int = 5) -> NeighbourPrior:
    """Return how likely candidates make true triples that are missing, as their nearest neighbours tell.

    :param setup: the graph
    :param vectors: shape: ``(num_entities, d)``; ``None`` takes vectors of the known triples
    :param k: how many of the nearest pairs to look at
    :returns: the prior, made once per process
    """
    key = [None if vectors is None else content_key(vectors), k]
    prior: NeighbourPrior = setup.build(
        "neighbour prior",
        key,
        lambda: NeighbourPrior.fit(setup.mapped_triples, vectors, k=k, seed=_SEED, **setup.sizes),
    )
    return prior


class KnnNoiseFilterer(Filterer):
    """Mask exactly the known triples, and negatives that are probably true, as their nearest known triples tell.

    Use it with any PyKEEN sampler: ``negative_sampler_kwargs=dict(filtered=True, filterer="knn-noise")``. kgneg's own
    samplers take it as ``filterer="knn-noise"`` too, which masks; to have flagged negatives drawn again instead, make a
    corruptor with ``constraints=(PlausibilityCeiling(prior, limit),)``.

    A triple is flagged when :class:`~kgneg.core.plausibility.NeighbourPrior` finds it likelier than a level. The level
    is such that the given share of typed negatives, those from the observed domain and range of the relation, is
    flagged; of uniform negatives that is a smaller share. :meth:`self_test` tells what the filter finds.

    :param mapped_triples: shape: ``(m, 3)``, the known triples
    :param entity_vectors: one row per entity id, those of a trained model or of texts: a .npy or .safetensors file, an
        array or a tensor; ``None`` takes vectors of the known triples
    :param share: which share of typed negatives is flagged, in ``[0, 1)``; 0 flags nothing
    :param level: the probability above which a triple is flagged, in place of a share
    :param k: how many of the nearest pairs to look at
    :param num_entities: the number of entities; ``None`` takes the rows of the vectors, or the largest known id
    :raises InvalidInputError: if a number is out of range, or the vectors are malformed or too few
    """

    level: float

    def __init__(
        self,
        mapped_triples: LongTensor,
        *,
        entity_vectors: Any = None,
        share: float = 0.05,
        level: float | None = None,
        k: int = 5,
        num_entities: int | None = None,
    ) -> None:
        super().__init__()
        self.share = validate_share("share", share)
        if self.share == 1:
            raise InvalidInputError("share must be smaller than 1: with 1 everything would be flagged")
        seen = int(mapped_triples[:, [HEAD, TAIL]].max()) + 1
        vectors = None
        if num_entities is not None and validate_count("num_entities", num_entities) < seen:
            raise InvalidInputError(f"num_entities={num_entities}, but there are triples of entity {seen - 1}")
        if entity_vectors is not None:
            vectors = read_vectors(entity_vectors, num_entities)
            if len(vectors) < seen:
                raise InvalidInputError(
                    f"there are {len(vectors)} vectors, but triples of entity {seen - 1}: give one row per entity id"
                )
            num_entities = len(vectors)
        num_entities = seen if num_entities is None else num_entities
        setup = Setup(mapped_triples.cpu(), num_entities, int(mapped_triples[:, RELATION].max()) + 1)
        self.index = setup.index()
        self.prior = neighbour_prior(setup, vectors, k)
        self._setup, self._vectors, self._k = setup, vectors, k
        self.level = self._settled() if level is None else _validated(level)

    def _settled(self) -> float:
        """Return the probability that the wanted share of typed negatives exceeds."""
        if not self.share:
            return 1.0
        setup = self._setup
        key = [None if self._vectors is None else content_key(self._vectors), self._k, self.share]

        def measure() -> float:
            generator = torch.Generator().manual_seed(_SEED)
            rows = torch.randint(len(setup.mapped_triples), (_POSITIVES,), generator=generator)
            negatives = _typed(setup, setup.mapped_triples, self.index)(setup.mapped_triples[rows], _EACH, generator)
            own = negatives.triples.view(-1, 3)[~negatives.fallback.reshape(-1)]
            return float(self.prior.of_triples(own).quantile(1 - self.share)) if len(own) else 1.0

        level: float = setup.build("noise level", key, measure)
        return level

    def self_test(self, *, share: float = 0.1, seed: int = 0) -> PlantedTest:
        """Hide some of the known triples among typed negatives, and see whether they are found.

        The filter is learned anew on the graph without these. Vectors that were given are taken as they are.

        :param share: of the hidden triples
        :param seed: the seed of all that is random
        :returns: the figures, at the level where the filter's share of typed negatives is flagged
        """
        setup = self._setup
        planted = plant(setup.mapped_triples, share=share, seed=seed, **setup.sizes)
        prior = NeighbourPrior.fit(planted.known, self._vectors, k=self._k, seed=seed, **setup.sizes)
        corruptor = _typed(setup, planted.known, planted.index)
        return planted_test(prior, planted, corruptor, share=self.share, seed=seed)

    def contains(self, batch: LongTensor) -> BoolTensor:
        """Return which triples are known, or probably true.

        :param batch: shape: ``(*batch, 3)``, ids; ones that are out of range are neither
        :returns: shape: ``(*batch)``
        """
        limits = batch.new_tensor([self.index.num_entities, self.index.num_relations, self.index.num_entities])
        foreign = ((batch < 0) | (batch >= limits)).any(dim=-1)
        inside = batch.masked_fill(foreign[..., None], 0).long()
        known = self.index.contains(inside)
        if self.level < 1:
            known = known | (self.prior.of_triples(inside) > self.level)
        return known & ~foreign


def _typed(setup: Setup, triples: LongTensor, index: Any) -> TypedCorruptor:
    pools = CandidateIndex.from_relation_types(triples, **setup.sizes)
    return TypedCorruptor(pools, index=index, seed=_SEED, **setup.sizes)


def _validated(level: float) -> float:
    if isinstance(level, bool) or not isinstance(level, Real) or math.isnan(level) or not 0 <= level <= 1:
        raise InvalidInputError(f"level must be a probability between 0 and 1, got {level!r}")
    return float(level)
