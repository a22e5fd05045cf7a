"""What says how well answers fit questions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch.nn.functional import normalize

from kgneg.core.encode import Encoder, SentenceEncoder, encode_texts, resolve_encoder
from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import FloatTensor
from kgneg.core.validation import choose, validate_number
from kgneg.qa.wording import ANSWER, statement

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["BiEncoderScorer", "Scorer", "TrainableScorer"]

_GAP = "_"


@runtime_checkable
class Scorer(Protocol):
    """Anything that scores the choices of questions."""

    def scores(self, questions: Sequence[str], choices: Sequence[Sequence[str]]) -> list[FloatTensor]:
        """Return one score per choice, the higher the better.

        :param questions: length: q, the questions; an answer stands at the end, or in the place of ``{answer}``
        :param choices: length: q, the choices of each, as many as there are
        :returns: length: q, for each question a score for each choice, shape ``(choices,)``, float32
        """
        ...


class TrainableScorer(Scorer, Protocol):
    """A scorer that a model of sentence-transformers is in, which a training changes."""

    @property
    def model(self) -> SentenceTransformer:
        """The model."""
        ...

    def batch_scores(
        self, questions: Sequence[str], choices: Sequence[Sequence[str]], generator: torch.Generator
    ) -> FloatTensor:
        """Return the scores of all choices one after the other, with gradients.

        :param questions: length: b
        :param choices: length: b
        :param generator: the source of randomness
        :returns: shape: ``(number of choices,)``
        """
        ...


class BiEncoderScorer:
    """Scores a choice by the cosine of two vectors: of the question, and of the choice or of both together.

    Each text is encoded once; vectors of encoders with a fingerprint are kept in the cache.

    :param encoder: see :func:`~kgneg.core.encode.resolve_encoder`
    :param pairing: ``"answer"`` compares the question with the choice, ``"statement"`` with both as one text
    :param scale: what cosines are multiplied with, so that a margin of 1 can be reached in training
    :param progress: whether to show progress bars
    :raises InvalidInputError: if an argument does not fit
    """

    kind = "bi-encoder"

    def __init__(
        self, encoder: str | Encoder = "auto", *, pairing: str = "answer", scale: float = 10.0, progress: bool = True
    ) -> None:
        self.encoder = resolve_encoder(encoder)
        self.pairing = choose("pairing", pairing, ("answer", "statement"))
        self.scale = validate_number("scale", scale, above=True)
        self.progress = progress

    @property
    def options(self) -> dict[str, Any]:
        """What it was made with, besides the model."""
        return {"pairing": self.pairing, "scale": self.scale}

    @property
    def model(self) -> SentenceTransformer:
        """The model of sentence-transformers.

        :raises InvalidInputError: if the encoder is something else
        """
        found: Any = self.encoder.load() if isinstance(self.encoder, SentenceEncoder) else self.encoder
        if not isinstance(found, torch.nn.Module):
            raise InvalidInputError(f"a {type(self.encoder).__name__} is no sentence-transformers model")
        return found  # type: ignore[return-value]

    def scores(self, questions: Sequence[str], choices: Sequence[Sequence[str]]) -> list[FloatTensor]:
        """Return one score per choice, see :meth:`Scorer.scores`.

        :param questions: length: q
        :param choices: length: q
        :returns: length: q
        """
        asked, answers, sizes = self._texts(questions, choices)
        if not answers:
            return []
        vectors = encode_texts([*asked, *answers], self.encoder, progress=self.progress)
        return list(torch.split(self._cosines(vectors, sizes), sizes))

    def batch_scores(
        self, questions: Sequence[str], choices: Sequence[Sequence[str]], generator: torch.Generator
    ) -> FloatTensor:
        """Return the scores of all choices one after the other, with gradients.

        :param questions: length: b
        :param choices: length: b
        :param generator: not used
        :returns: shape: ``(number of choices,)``
        """
        asked, answers, sizes = self._texts(questions, choices)
        return self._cosines(embed(self.model, [*asked, *answers]), sizes)

    def _texts(
        self, questions: Sequence[str], choices: Sequence[Sequence[str]]
    ) -> tuple[list[str], list[str], list[int]]:
        whole = self.pairing == "statement"
        asked = [one.replace(ANSWER, _GAP) for one in questions]
        answers = [
            statement(question, one) if whole else one
            for question, row in zip(questions, choices, strict=True)
            for one in row
        ]
        return asked, answers, [len(row) for row in choices]

    def _cosines(self, vectors: FloatTensor, sizes: list[int]) -> FloatTensor:
        asked, answers = torch.split(normalize(vectors, dim=-1), [len(sizes), sum(sizes)])
        owner = torch.repeat_interleave(torch.tensor(sizes)).to(vectors.device)
        cosines: FloatTensor = (asked[owner] * answers).sum(-1)
        return self.scale * cosines


def embed(model: SentenceTransformer, texts: list[str]) -> FloatTensor:
    """Return what a model makes of texts, with gradients.

    :param model: the model
    :param texts: the texts; what occurs several times is encoded once
    :returns: shape: ``(n, d)``
    """
    distinct = list(dict.fromkeys(texts))
    number = {one: place for place, one in enumerate(distinct)}
    made = (getattr(model, "preprocess", None) or model.tokenize)(distinct)  # the name before version 6
    features = {name: one.to(model.device) for name, one in made.items() if hasattr(one, "to")}
    vectors: FloatTensor = model(features)["sentence_embedding"].float()
    return vectors[torch.tensor([number[one] for one in texts], device=vectors.device)]
