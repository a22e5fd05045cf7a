"""Vectors of texts that were made elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kgneg.core.cache import content_key
from kgneg.core.errors import InvalidInputError, MissingTextError

__all__ = ["VectorTable"]


class VectorTable:
    """An encoder that looks vectors up.

    :param texts: the texts, all different
    :param vectors: shape: ``(n, d)``, an array or a memory map
    :param name: what the vectors are called in fingerprints of filters; say the model and its version
    :raises InvalidInputError: if the numbers differ or a text is there twice

    >>> VectorTable(["cat", "dog"], np.eye(2)).encode(["dog"]).tolist()
    [[0.0, 1.0]]
    """

    def __init__(self, texts: Sequence[str], vectors: Any, *, name: str = "vectors") -> None:
        if getattr(vectors, "ndim", None) != 2 or len(vectors) != len(texts):
            raise InvalidInputError(
                f"vectors must have shape ({len(texts)}, d), one row per text, got {getattr(vectors, 'shape', None)}"
            )
        self._place = {text: row for row, text in enumerate(texts)}
        if len(self._place) < len(texts):
            raise InvalidInputError(f"{len(texts) - len(self._place)} texts are there twice: give each one vector")
        self._vectors = vectors
        self.name = name

    def encode(self, sentences: list[str]) -> np.ndarray:
        """Look vectors up.

        :param sentences: the texts
        :returns: shape: ``(n, d)``, float32
        :raises MissingTextError: if one has no vector
        """
        missing = next((text for text in sentences if text not in self._place), None)
        if missing is not None:
            raise MissingTextError(f"there is no vector of {missing!r}. Encode all heads, tails and statements first.")
        return np.asarray(self._vectors[[self._place[text] for text in sentences]], dtype=np.float32)

    def identity(self) -> str:
        """Return what the vectors are called, with their shape.

        :returns: a hash
        """
        return content_key("vectors", self.name, list(self._vectors.shape))
