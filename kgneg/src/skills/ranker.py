"""Concepts in the order in which a text speaks of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch.nn.functional import normalize

from kgneg.core.encode import encode_texts, resolve_encoder
from kgneg.core.errors import InvalidInputError
from kgneg.core.knn import validate_vectors
from kgneg.core.typing import FloatTensor, LongTensor
from kgneg.core.validation import validate_count, validate_number
from kgneg.skills.classifiers import ConceptClassifiers
from kgneg.skills.matcher import LabelMatcher, Mention

__all__ = ["ClassifierRanker", "ConceptRanker", "Ranked", "TextRanker", "literal_scores"]


class Ranked(NamedTuple):
    """A concept for a text."""

    concept: int
    #: the cosine, and the bonuses
    score: float
    #: where a label of the concept stands in the text, if it does
    mention: Mention | None
    #: the part of the text that the score is from, where there are several
    text: str | None = None


class TextRanker(ABC):
    """Ranks concepts for texts: what a method says, and a bonus for labels that stand in the text.

    A subclass writes :meth:`base_scores`.

    :param number: the number of concepts
    :param encoder: see :func:`~kgneg.core.encode.resolve_encoder`
    :param matcher: finds labels in texts; ``None`` gives no bonus
    :param bonus: what is added to the score of a concept that is mentioned
    :param progress: whether to show a progress bar
    :raises InvalidInputError: if numbers do not fit
    """

    def __init__(
        self,
        number: int,
        encoder: Any = "auto",
        *,
        matcher: LabelMatcher | None = None,
        bonus: float = 0.2,
        progress: bool = True,
    ) -> None:
        if matcher is not None and matcher.num_concepts != number:
            raise InvalidInputError(f"a matcher for {matcher.num_concepts} concepts does not fit {number} labels")
        self.number, self.encoder, self.matcher, self.progress = number, resolve_encoder(encoder), matcher, progress
        self.bonus = validate_number("bonus", bonus)

    @abstractmethod
    def base_scores(self, texts: Sequence[str]) -> FloatTensor:
        """Return the scores of all concepts without the bonus.

        :param texts: length: q
        :returns: shape: ``(q, n)``
        """

    def scores(self, texts: Sequence[str]) -> FloatTensor:
        """Return the scores of all concepts.

        :param texts: length: q
        :returns: shape: ``(q, n)``
        """
        found = self.base_scores(texts)
        if self.matcher is not None and self.bonus:
            rows, concepts = self.matcher.find_all(texts)
            found[rows, concepts] += self.bonus
        return found

    def truncated(self, texts: Sequence[str]) -> int:
        """Count the texts that are longer than the encoder reads; it sees but their beginnings.

        :param texts: the texts
        """
        count = getattr(self.encoder, "count_longer", None)
        return 0 if count is None else int(count(list(texts)))

    def rank(self, texts: Sequence[str], k: int = 10) -> list[list[Ranked]]:
        """Return the best concepts of each text.

        :param texts: length: q
        :param k: how many, at most all
        :returns: for each text the concepts, the best first
        :raises InvalidInputError: if there are no texts, or ``k`` is not positive
        """
        best = self.scores(texts).topk(min(validate_count("k", k), self.number), dim=-1)
        found = []
        for text, scores, concepts in zip(texts, best.values.tolist(), best.indices.tolist(), strict=True):
            where = self._mentions(text)
            found.append([Ranked(one, score, where.get(one)) for one, score in zip(concepts, scores, strict=True)])
        return found

    def rank_together(self, parts: Sequence[str], k: int = 10) -> list[Ranked]:
        """Return the best concepts of a text that was split, such as the sentences of a job ad.

        The score of a concept is the highest over the parts.

        :param parts: the parts
        :param k: how many, at most all
        :returns: the concepts, the best first, each with its part
        :raises InvalidInputError: if there are no parts, or ``k`` is not positive
        """
        score, part = self.scores(parts).max(dim=0)
        best = score.topk(min(validate_count("k", k), self.number))
        where = {number: self._mentions(parts[number]) for number in set(part[best.indices].tolist())}
        found = []
        for value, concept in zip(best.values.tolist(), best.indices.tolist(), strict=True):
            number = int(part[concept])
            found.append(Ranked(concept, value, where[number].get(concept), parts[number]))
        return found

    def _mentions(self, text: str) -> dict[int, Mention]:
        if self.matcher is None:
            return {}
        found: dict[int, Mention] = {}
        for mention in self.matcher.find(text):
            for concept in mention.concepts:
                found.setdefault(concept, mention)
        return found

    def _encoded(self, texts: Sequence[str]) -> FloatTensor:
        return encode_texts(list(texts), self.encoder, progress=self.progress)


class ConceptRanker(TextRanker):
    """Ranks concepts by the cosine of their labels to a text, with a bonus for labels that stand in it.

    It needs no training. With a fine-tuned encoder it is the bi-encoder of :mod:`kgneg.skills`.

    :param labels: length: n, the text of each concept
    :param encoder: see :func:`~kgneg.core.encode.resolve_encoder`
    :param vectors: shape: ``(n, d)``, of the labels; ``None`` encodes them
    :param prior: shape: ``(n,)``, how common each concept is, in ``[0, 1]``; ``prior_weight`` times its square root is
        added
    :param prior_weight: the weight of the prior
    :param options: the other arguments of :class:`TextRanker`
    :raises InvalidInputError: if numbers do not fit

    >>> ranker = ConceptRanker(["weld metal", "bake bread"], encoder="lexical", progress=False)
    >>> ranker.rank(["you will be welding metal"], 1)[0][0].concept
    0
    """

    def __init__(
        self,
        labels: Sequence[str],
        encoder: Any = "auto",
        *,
        vectors: FloatTensor | None = None,
        prior: FloatTensor | None = None,
        prior_weight: float = 0.3,
        **options: Any,
    ) -> None:
        super().__init__(len(labels), encoder, **options)
        if prior is not None and (
            prior.shape != (len(labels),) or bool(((prior < 0) | (prior > 1) | prior.isnan()).any())
        ):
            raise InvalidInputError(
                f"the prior must be {len(labels)} numbers in [0, 1], got shape {tuple(prior.shape)}"
            )
        self.shift = None if prior is None else validate_number("prior_weight", prior_weight) * prior.float().sqrt()
        known = self._encoded(labels) if vectors is None else validate_vectors(vectors, len(labels))
        #: shape: ``(n, d)``, of length one
        self.vectors = normalize(known, dim=-1)

    def base_scores(self, texts: Sequence[str]) -> FloatTensor:
        """Return the cosines, and the prior.

        :param texts: length: q
        :returns: shape: ``(q, n)``
        """
        found = normalize(self._encoded(texts), dim=-1) @ self.vectors.T
        return found if self.shift is None else found + self.shift


class ClassifierRanker(TextRanker):
    """Ranks concepts by what a classifier for each says of the vector of a text.

    :param classifiers: the classifiers
    :param encoder: the encoder of the vectors that they were trained on
    :param options: the other arguments of :class:`TextRanker`
    """

    def __init__(self, classifiers: ConceptClassifiers, encoder: Any = "auto", **options: Any) -> None:
        super().__init__(len(classifiers.weight), encoder, **options)
        self.classifiers = classifiers

    def base_scores(self, texts: Sequence[str]) -> FloatTensor:
        """Return the probabilities; -1 where there is no classifier.

        :param texts: length: q
        :returns: shape: ``(q, n)``
        """
        return self.classifiers.scores(self._encoded(texts))


def literal_scores(matcher: LabelMatcher, texts: Sequence[str], *, overlapping: bool = False) -> FloatTensor:
    """Return the scores of a ranking by mentions alone, the longest first.

    :param matcher: finds the labels
    :param texts: length: q
    :param overlapping: whether labels within others count, too
    :returns: shape: ``(q, n)``: the length of the longest label of a concept in the text, or 0
    """
    scores = torch.zeros(len(texts), matcher.num_concepts)
    for row, text in enumerate(texts):
        for mention in matcher.find(text, overlapping=overlapping):
            concepts: LongTensor = torch.tensor(mention.concepts)
            scores[row, concepts] = scores[row, concepts].clamp(min=float(mention.end - mention.start))
    return scores
