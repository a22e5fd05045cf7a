"""Losses for the trainer of sentence-transformers, of texts against the entities that they speak of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.functional import normalize

from kgneg.core.candidates import CandidateIndex
from kgneg.core.corruption import Corruptor
from kgneg.core.errors import InvalidInputError
from kgneg.core.knn import validate_vectors
from kgneg.core.seeding import mix_seeds
from kgneg.core.typing import BoolTensor, FloatTensor, LongTensor
from kgneg.core.validation import validate_count, validate_number
from kgneg.samplers.pairs import pair_triples
from kgneg.samplers.taxonomy import TaxonomyCorruptor

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["AllEntitiesLoss", "EntityLoss", "SampledEntitiesLoss"]

_DRAWS = 0x6C6F7373
_OUT = -1e9


class EntityLoss(nn.Module):
    """What both losses share: the model, the temperature, and which pairs of a text and an entity are right.

    The trainer gives rows of a text and, as the label, the two numbers of a pair: the text and an entity.

    :param model: the encoder
    :param queries: shape: ``(k,)``, the text of each right pair
    :param entities: shape: ``(k,)``, its entity
    :param number: the number of entities
    :param temperature: what cosines are divided by
    """

    known: LongTensor

    def __init__(
        self, model: SentenceTransformer, queries: LongTensor, entities: LongTensor, number: int, temperature: float
    ) -> None:
        super().__init__()
        self.model = model
        self.number = validate_count("number", number, 2)
        self.temperature = validate_number("temperature", temperature, above=True)
        if queries.shape != entities.shape or queries.ndim != 1 or not len(queries):
            raise InvalidInputError(
                f"queries and entities must be vectors of one length, and some, got {tuple(queries.shape)} and "
                f"{tuple(entities.shape)}"
            )
        self.register_buffer("known", torch.unique(queries.long() * number + entities.long()), persistent=False)
        #: the step of the training, which the draws depend on
        self.step = 0

    def right(self, queries: LongTensor) -> BoolTensor:
        """Return which entities are right for texts.

        :param queries: shape: ``(b,)``
        :returns: shape: ``(b, number of entities)``
        """
        begin = queries * self.number
        first, last = torch.searchsorted(self.known, torch.stack([begin, begin + self.number]))
        size = last - first
        row = torch.repeat_interleave(torch.arange(len(queries), device=queries.device), size)
        place = torch.arange(len(row), device=queries.device) + (first - size.cumsum(0) + size)[row]
        found = torch.zeros(len(queries), self.number, dtype=torch.bool, device=queries.device)
        found[row, self.known[place] - begin[row]] = True
        return found

    def encode(self, features: Any) -> FloatTensor:
        """Return vectors of length one.

        :param features: what the tokenizer made of texts
        :returns: shape: ``(b, d)``
        """
        vectors: FloatTensor = self.model(features)["sentence_embedding"].float()
        return normalize(vectors, dim=-1)

    def advance(self) -> None:
        """Go on to the next step, in training; :func:`fine_tune` says itself which it is."""
        self.step += self.training


class SampledEntitiesLoss(EntityLoss):
    r"""Softmax over the right entity of a text and the negatives that a corruptor draws for it.

    .. math::
        \ell = -\log \frac{e^{\cos(x, e)/\tau}}{e^{\cos(x, e)/\tau} + \sum_{e' \in N} e^{\cos(x, e')/\tau}}

    With ``in_batch`` the entities of the other rows, right and wrong, are negatives as well, at no further cost: an
    entity is encoded once per batch. What is right for the text, or near the entity, is not.

    Softmax over few negatives pushes away what is drawn often, siblings for example, more than what is drawn seldom.
    With ``corrected`` the cosine of a negative is lessened by the logarithm of how often it was to be expected, so that
    the loss stands for the softmax over all entities, whatever is drawn (Bengio & Senécal, AISTATS 2003). Then entities
    of other rows do not count, nor what stands in for an empty list; strategies must be able to draw everything, so let
    ``random`` be one of them.

    Draws depend on the seed and the step alone, so that a training that was interrupted goes on as if it had not been.

    :param model: the encoder
    :param texts: length: number of entities
    :param corruptor: draws entities for texts; built with :func:`~kgneg.samplers.pairs.pair_options`
    :param queries: shape: ``(k,)``, the text of each right pair
    :param entities: shape: ``(k,)``, its entity
    :param n: the number of negatives of each row
    :param near: for each entity what of the other rows must not be held against it; the corruptor has its own
    :param vectors: shape: ``(number of entities, d)``, of entities that stay as they are; ``None`` encodes their texts
    :param temperature: what cosines are divided by
    :param in_batch: whether entities of other rows count
    :param corrected: whether to correct for how likely each negative was; needs a ``TaxonomyCorruptor``
    :param seed: the seed of the draws
    :raises InvalidInputError: if numbers do not fit, or a text is blank
    """

    near_keys: LongTensor
    vectors: FloatTensor | None

    def __init__(
        self,
        model: SentenceTransformer,
        texts: Sequence[str],
        corruptor: Corruptor,
        queries: LongTensor,
        entities: LongTensor,
        *,
        n: int = 4,
        near: CandidateIndex | None = None,
        vectors: FloatTensor | None = None,
        temperature: float = 0.05,
        in_batch: bool = True,
        corrected: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(model, queries, entities, len(texts), temperature)
        if corruptor.num_entities != len(texts) or corruptor.sides.policy != "tail":
            raise InvalidInputError(
                f"a corruptor for {corruptor.num_entities} entities with the side policy {corruptor.sides.policy!r} "
                f"does not fit {len(texts)} texts: build it with pair_options(...)"
            )
        blank = next((number for number, one in enumerate(texts) if not one.strip()), None)
        if blank is not None:
            raise InvalidInputError(f"text {blank} is blank: a model can do nothing with it")
        if corrected and not isinstance(corruptor, TaxonomyCorruptor):
            raise InvalidInputError(
                f"corrected=True needs a TaxonomyCorruptor, which says how likely a draw is, got "
                f"{type(corruptor).__name__}"
            )
        self.texts, self.corruptor, self.corrected = list(texts), corruptor, corrected
        self.n, self.in_batch, self.seed = validate_count("n", n), in_batch, seed
        keys = torch.empty(0, dtype=torch.long)
        if near is not None:
            rows, members = near.pairs()
            keys = (rows * len(texts) + members).sort().values
        self.register_buffer("near_keys", keys, persistent=False)
        fixed = None if vectors is None else normalize(validate_vectors(vectors, len(texts)), dim=-1)
        self.register_buffer("vectors", fixed, persistent=False)

    def forward(self, features: Iterable[Any], labels: LongTensor) -> FloatTensor:
        """Return the mean loss of a batch.

        :param features: of the texts, in a list
        :param labels: shape: ``(b, 2)``, the number of each text and of its entity
        """
        query, entity = labels.unbind(-1)
        generator = torch.Generator(labels.device).manual_seed(mix_seeds(self.seed, _DRAWS, self.step))
        self.advance()
        negatives = self.corruptor(pair_triples(query, entity), self.n, generator)
        drawn = negatives.entity.long()
        used, place = torch.unique(torch.cat([entity[:, None], drawn], dim=1), return_inverse=True)
        anchors = self.encode(next(iter(features)))
        cosine = anchors @ self._of(used).T / self.temperature
        if self.corrected:
            expected = self.n * self.corruptor.probability(entity, drawn)  # type: ignore[operator]
            cosine = cosine.gather(1, place)
            shift = expected.log().to(cosine.dtype)
            # what stands in for an empty list is as likely as nobody knows
            shift = shift.masked_fill(negatives.fallback | (expected <= 0), -_OUT)
            cosine = torch.cat([cosine[:, :1], cosine[:, 1:] - shift], dim=-1)
            return functional.cross_entropy(cosine, torch.zeros_like(entity))
        if self.in_batch:
            wrong = self.right(query)[:, used] | torch.isin(entity[:, None] * self.number + used, self.near_keys)
            wrong = wrong.scatter(1, place[:, :1], value=False)
            cosine = cosine.masked_fill(wrong, _OUT)
            return functional.cross_entropy(cosine, place[:, 0])
        return functional.cross_entropy(cosine.gather(1, place), torch.zeros_like(entity))

    def _of(self, entities: LongTensor) -> FloatTensor:
        if self.vectors is not None:
            return self.vectors[entities]
        texts = [self.texts[one] for one in entities.tolist()]
        made = (getattr(self.model, "preprocess", None) or self.model.tokenize)(texts)  # the name before version 6
        return self.encode({name: one.to(entities.device) for name, one in made.items() if hasattr(one, "to")})


class AllEntitiesLoss(EntityLoss):
    r"""Softmax over all entities, each with a fixed vector; other right entities of the text are left out.

    No negative is sampled: a product with a table of all entities is cheap next to the encoder. Only texts are encoded,
    so that a step costs less than half of one with encoded negatives. The vectors stay as they are, and so do the
    entities that were never seen in training.

    :param model: the encoder
    :param vectors: shape: ``(number of entities, d)``
    :param queries: shape: ``(k,)``, the text of each right pair
    :param entities: shape: ``(k,)``, its entity
    :param temperature: what cosines are divided by
    :raises InvalidInputError: if numbers do not fit
    """

    vectors: FloatTensor

    def __init__(
        self,
        model: SentenceTransformer,
        vectors: FloatTensor,
        queries: LongTensor,
        entities: LongTensor,
        *,
        temperature: float = 0.05,
    ) -> None:
        super().__init__(model, queries, entities, len(vectors), temperature)
        self.register_buffer("vectors", normalize(validate_vectors(vectors), dim=-1), persistent=False)

    def forward(self, features: Iterable[Any], labels: LongTensor) -> FloatTensor:
        """Return the mean loss of a batch.

        :param features: of the texts, in a list
        :param labels: shape: ``(b, 2)``, the number of each text and of its entity
        """
        query, entity = labels.unbind(-1)
        cosine = self.encode(next(iter(features))) @ self.vectors.T / self.temperature
        right = self.right(query).scatter(1, entity[:, None], value=False)
        return functional.cross_entropy(cosine.masked_fill(right, _OUT), entity)
