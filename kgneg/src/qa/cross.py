"""Question and answer read together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from kgneg.core.encode import SentenceEncoder, resolve_encoder
from kgneg.core.errors import InvalidInputError
from kgneg.core.seeding import global_streams_kept, mix_seeds
from kgneg.core.typing import FloatTensor
from kgneg.core.validation import validate_count
from kgneg.qa.scorers import embed
from kgneg.qa.wording import statements

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["CrossEncoderScorer"]

_HEAD = 0x68656164


class CrossEncoderScorer:
    """Scores a choice by one number that an encoder with a linear layer on top makes of question and answer.

    Before it is trained the layer says nothing; see :func:`~kgneg.qa.train_scorer`.

    :param model: a sentence-transformers model whose vectors have one number, see :meth:`of`
    :param batch_size: texts per forward pass
    :param progress: whether to show progress bars
    :raises InvalidInputError: if vectors have more numbers
    """

    kind = "cross-encoder"

    def __init__(self, model: SentenceTransformer, *, batch_size: int = 64, progress: bool = True) -> None:
        width = _width(model)
        if width != 1:
            raise InvalidInputError(f"the model gives {width} numbers per text, expected 1: see CrossEncoderScorer.of")
        self.model = model
        self.batch_size = validate_count("batch_size", batch_size)
        self.progress = progress

    @classmethod
    def of(cls, encoder: str = "auto", *, seed: int = 0, **options: Any) -> CrossEncoderScorer:
        """Put a linear layer on an encoder.

        :param encoder: the name or folder of a sentence-transformers model, ``"minilm"`` or ``"auto"``
        :param seed: the seed of the layer
        :param options: further arguments of the class
        :returns: the scorer, with a model of its own
        :raises InvalidInputError: if it is no such model
        """
        from sentence_transformers import SentenceTransformer

        found = resolve_encoder(encoder)
        if not isinstance(found, SentenceEncoder):
            raise InvalidInputError(f"a cross-encoder needs a sentence-transformers model, got {type(found).__name__}")
        with global_streams_kept():
            model: Any = SentenceEncoder(found.name, device=found.device).load()
            if _width(model) != 1:
                body = [one for one in model.children() if type(one).__name__ != "Normalize"]
                torch.manual_seed(mix_seeds(seed, _HEAD))
                layer = _dense()(_width(model), 1, activation_function=torch.nn.Identity())
                model = SentenceTransformer(modules=[*body, layer], device=str(model.device))
        return cls(model.eval(), **options)

    @property
    def options(self) -> dict[str, Any]:
        """What it was made with, besides the model."""
        return {"batch_size": self.batch_size}

    def scores(self, questions: Sequence[str], choices: Sequence[Sequence[str]]) -> list[FloatTensor]:
        """Return one score per choice, see :meth:`~kgneg.qa.scorers.Scorer.scores`.

        :param questions: length: q
        :param choices: length: q
        :returns: length: q
        """
        texts, sizes = statements(questions, choices)
        if not texts:
            return []
        made = self.model.encode(
            texts, batch_size=self.batch_size, convert_to_tensor=True, show_progress_bar=self.progress
        )
        return list(torch.split(made.float().cpu().view(-1), sizes))

    def batch_scores(
        self, questions: Sequence[str], choices: Sequence[Sequence[str]], generator: torch.Generator
    ) -> FloatTensor:
        """Return the scores of all choices one after the other, with gradients.

        :param questions: length: b
        :param choices: length: b
        :param generator: not used
        :returns: shape: ``(number of choices,)``
        """
        return embed(self.model, statements(questions, choices)[0]).view(-1)


def _width(model: Any) -> int | None:
    """Return how many numbers a vector has; the name of the method has changed."""
    found = getattr(model, "get_embedding_dimension", None) or model.get_sentence_embedding_dimension
    width: int | None = found()
    return width


def _dense() -> Any:
    try:
        from sentence_transformers.sentence_transformer.modules import Dense
    except ImportError:  # before version 6
        from sentence_transformers.models import Dense  # type: ignore[import-not-found,no-redef]
    return Dense
