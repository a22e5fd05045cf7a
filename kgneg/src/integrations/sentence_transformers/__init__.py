"""Vectors of spans of words from sentence-transformers models, and rows with negatives for their trainer.

.. code-block:: python

    from kgneg.datasets import read_docred
    from kgneg.integrations.sentence_transformers import SpanEncoder

    pairs = read_docred("dev_revised.json")
    vectors = SpanEncoder("minilm").encode(pairs)  # head, tail, what is between them, sentence

The vector of a sentence hardly tells which two of its entities are meant; the vectors of their words do.
"""

from __future__ import annotations

from kgneg.integrations.sentence_transformers.rows import training_rows
from kgneg.integrations.sentence_transformers.spans import PARTS, SentencePairs, SpanEncoder

__all__ = ["PARTS", "SentencePairs", "SpanEncoder", "training_rows"]
