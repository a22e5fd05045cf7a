"""Concepts in the order in which a text speaks of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch.nn.functional import normalize

from kgneg.core.encode import encode_texts
from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import FloatTensor, LongTensor
from kgneg.core.validation import validate_count, validate_number
from kgneg.skills.matcher import LabelMatcher, Mention

__all__ = ["ConceptRanker", "Ranked", "literal_scores"]


class Ranked(NamedTuple):
    """A concept for a text."""

    concept: int
    #: the cosine, and the bonuses
    score: float
    #: where a label of the concept stands in the text, if it does
    mention: Mention | None
    #: the part of the text that the score is from, where there are several
    text: str | None = None


class ConceptRanker:
    """Ranks concepts by the cosine of their labels to a text, with a bonus for labels that stand in it.

    It needs no training. With a fine-tuned encoder it is the bi-encoder of :mod:`kgneg.skills`.

    :param labels: length: n, the text of each concept
    :param encoder: see :func:`~kgneg.core.encode.resolve_encoder`
    :param matcher: finds labels in texts; ``None`` gives no bonus
    :param bonus: what is added to the cosine of a concept that is mentioned
    :param prior: shape: ``(n,)``, how common each concept is, in ``[0, 1]``; ``prior_weight`` times its square root is
        added
    :param prior_weight: the weight of the prior
    :param progress: whether to show a progress bar while labels are encoded
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
        matcher: LabelMatcher | None = None,
        bonus: float = 0.2,
        prior: FloatTensor | None = None,
        prior_weight: float = 0.3,
        progress: bool = True,
    ) -> None:
        if matcher is not None and matcher.num_concepts != len(labels):
            raise InvalidInputError(f"a matcher for {matcher.num_concepts} concepts does not fit {len(labels)} labels")
        if prior is not None and (
            prior.shape != (len(labels),) or bool(((prior < 0) | (prior > 1) | prior.isnan()).any())
        ):
            raise InvalidInputError(
                f"the prior must be {len(labels)} numbers in [0, 1], got shape {tuple(prior.shape)}"
            )
        self.encoder, self.matcher, self.progress = encoder, matcher, progress
        self.bonus = validate_number("bonus", bonus)
        self.shift = None if prior is None else validate_number("prior_weight", prior_weight) * prior.float().sqrt()
        #: shape: ``(n, d)``, of length one
        self.vectors = normalize(encode_texts(list(labels), encoder, progress=progress), dim=-1)

    def scores(self, texts: Sequence[str]) -> FloatTensor:
        """Return the scores of all concepts.

        :param texts: length: q
        :returns: shape: ``(q, n)``
        """
        found = normalize(encode_texts(list(texts), self.encoder, progress=self.progress), dim=-1) @ self.vectors.T
        if self.shift is not None:
            found += self.shift
        if self.matcher is not None and self.bonus:
            rows, concepts = self.matcher.find_all(texts)
            found[rows, concepts] += self.bonus
        return found

    def rank(self, texts: Sequence[str], k: int = 10) -> list[list[Ranked]]:
        """Return the best concepts of each text.

        :param texts: length: q
        :param k: how many, at most all
        :returns: for each text the concepts, the best first
        :raises InvalidInputError: if there are no texts, or ``k`` is not positive
        """
        best = self.scores(texts).topk(min(validate_count("k", k), len(self.vectors)), dim=-1)
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
        best = score.topk(min(validate_count("k", k), len(score)))
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
