"""Sentence-transformers: vectors of spans of words, rows with negatives, losses, and fine-tuning by their trainer.

.. code-block:: python

    from kgneg.datasets import read_docred
    from kgneg.integrations.sentence_transformers import SpanEncoder

    pairs = read_docred("dev_revised.json")
    vectors = SpanEncoder("minilm").encode(pairs)  # head, tail, what is between them, sentence

The vector of a sentence hardly tells which two of its entities are meant; the vectors of their words do.
"""

from __future__ import annotations

from kgneg.integrations.sentence_transformers.batches import LengthBatches
from kgneg.integrations.sentence_transformers.losses import AllEntitiesLoss, EntityLoss, SampledEntitiesLoss
from kgneg.integrations.sentence_transformers.rows import training_rows
from kgneg.integrations.sentence_transformers.spans import PARTS, SentencePairs, SpanEncoder
from kgneg.integrations.sentence_transformers.training import FineTuning, check_trainer, fine_tune

__all__ = [
    "PARTS",
    "AllEntitiesLoss",
    "EntityLoss",
    "FineTuning",
    "LengthBatches",
    "SampledEntitiesLoss",
    "SentencePairs",
    "SpanEncoder",
    "check_trainer",
    "fine_tune",
    "training_rows",
]
