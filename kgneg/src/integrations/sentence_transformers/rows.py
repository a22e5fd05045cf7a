"""Rows with negatives, for the trainer of sentence-transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from kgneg.core.corruption import Corruptor
from kgneg.core.errors import InvalidInputError, MissingExtraError
from kgneg.core.typing import LongTensor
from kgneg.core.validation import validate_count
from kgneg.samplers.pairs import pair_triples

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["training_rows"]


def training_rows(
    corruptor: Corruptor,
    anchors: Sequence[str],
    texts: Sequence[str],
    queries: LongTensor,
    entities: LongTensor,
    n: int,
    *,
    generator: torch.Generator | None = None,
) -> Dataset:
    """Return rows of an anchor, a positive and ``n`` negatives, as the losses of sentence-transformers take them.

    :param corruptor: draws entities for queries; built with :func:`~kgneg.samplers.pairs.pair_options`, it never draws
        one that the query has
    :param anchors: length: the number of queries, their texts, such as sentences
    :param texts: length: the number of entities, their texts, such as the names of skills
    :param queries: shape: ``(k,)``, the query of each pair
    :param entities: shape: ``(k,)``, the entity of each pair
    :param n: the number of negatives of each row
    :param generator: the source of randomness; ``None`` takes that of the corruptor
    :returns: ``k`` rows with the columns ``anchor``, ``positive``, ``negative_1`` to ``negative_n``
    :raises InvalidInputError: if the corruptor replaces more than the entity, numbers do not fit, or a text is blank
    :raises MissingExtraError: if Hugging Face datasets is not installed

    >>> from kgneg.samplers import UniformCorruptor
    >>> from kgneg.samplers.pairs import pair_options
    >>> pairs = torch.tensor([0]), torch.tensor([1])
    >>> corruptor = UniformCorruptor(**pair_options(*pairs, num_queries=1, num_entities=2), seed=0)
    >>> training_rows(corruptor, ["we weld"], ["cooking", "welding"], *pairs, 1)[0]
    {'anchor': 'we weld', 'positive': 'welding', 'negative_1': 'cooking'}
    """
    try:
        from datasets import Dataset
    except ImportError as error:
        raise MissingExtraError("datasets is not installed: pip install 'kgneg[train]'") from error
    validate_count("n", n)
    if corruptor.sides.policy != "tail":
        raise InvalidInputError(
            f"the side policy is {corruptor.sides.policy!r}, which replaces more than the entity: build the corruptor "
            "with pair_options(...), which has SidePolicy('tail')"
        )
    if (len(anchors), len(texts)) != (corruptor.num_relations, corruptor.num_entities):
        raise InvalidInputError(
            f"{len(anchors)} anchors and {len(texts)} texts do not fit a corruptor for {corruptor.num_relations} "
            f"queries and {corruptor.num_entities} entities"
        )
    for what, given in (("anchor", anchors), ("text", texts)):
        blank = next((number for number, one in enumerate(given) if not one.strip()), None)
        if blank is not None:
            raise InvalidInputError(f"{what} {blank} is blank: a model can do nothing with it")
    negatives = corruptor(pair_triples(queries, entities), n, generator).entity.cpu()
    columns = {
        "anchor": [anchors[one] for one in queries.tolist()],
        "positive": [texts[one] for one in entities.tolist()],
    }
    columns |= {f"negative_{slot + 1}": [texts[one] for one in negatives[:, slot].tolist()] for slot in range(n)}
    return Dataset.from_dict(columns)
