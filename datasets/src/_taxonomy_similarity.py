"""Similarity of concepts by their common ancestors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import FloatTensor, LongTensor

if TYPE_CHECKING:
    from kgneg.datasets.taxonomy import Taxonomy

__all__ = ["similarity"]

_BLOCK = 1 << 18  # pairs at once


def similarity(taxonomy: Taxonomy, first: LongTensor, second: LongTensor, measure: str) -> FloatTensor:
    """See :meth:`kgneg.datasets.Taxonomy.similarity`.

    :param taxonomy: the taxonomy
    :param first: shape: ``(*)``
    :param second: shape: ``(*)``
    :param measure: ``"wu-palmer"`` or ``"lin"``
    :returns: shape: ``(*)``, float64
    """
    if first.shape != second.shape:
        raise InvalidInputError(
            f"first and second must have one shape, got {tuple(first.shape)}, {tuple(second.shape)}"
        )
    for ids in (first, second):
        if ids.numel() and (int(ids.min()) < 0 or int(ids.max()) >= len(taxonomy)):
            raise InvalidInputError(
                f"a concept is out of range: got ids from {int(ids.min())} to {int(ids.max())}, expected 0 to "
                f"{len(taxonomy) - 1}"
            )
    value = taxonomy.depths.double() if measure == "wu-palmer" else _content(taxonomy)
    found = torch.zeros(first.numel(), dtype=torch.float64)
    ones, others = first.reshape(-1).long(), second.reshape(-1).long()
    for begin in range(0, len(ones), _BLOCK):
        part = slice(begin, begin + _BLOCK)
        found[part] = _block(taxonomy, ones[part], others[part], value, measure)
    return found.view(first.shape)


def _content(taxonomy: Taxonomy) -> FloatTensor:
    _, ancestor = taxonomy.ancestors().pairs()
    below = torch.bincount(ancestor, minlength=len(taxonomy)) + 1
    return -(below.double() / len(taxonomy)).log()


def _lines(taxonomy: Taxonomy, concepts: LongTensor) -> tuple[LongTensor, FloatTensor]:
    """Return a key for each (pair, ancestor or self), ascending, and the steps between them."""
    above = taxonomy.ancestors()
    sizes = above.size(concepts)
    pair = torch.repeat_interleave(torch.arange(len(concepts)), sizes)
    start = torch.repeat_interleave(above.indptr[concepts] - (sizes.cumsum(0) - sizes), sizes)
    place = start + torch.arange(len(pair))
    steps = torch.zeros(0, dtype=torch.float64) if above.weights is None else above.weights[place].double()
    keys = torch.cat(
        [pair * len(taxonomy) + above.indices[place], torch.arange(len(concepts)) * len(taxonomy) + concepts]
    )
    keys, order = keys.sort()
    return keys, torch.cat([steps, torch.zeros(len(concepts), dtype=torch.float64)])[order]


def _block(taxonomy: Taxonomy, ones: LongTensor, others: LongTensor, value: FloatTensor, measure: str) -> FloatTensor:
    keys, steps = _lines(taxonomy, ones)
    theirs, more = _lines(taxonomy, others)
    place = torch.searchsorted(theirs, keys).clamp(max=len(theirs) - 1)
    common = theirs[place] == keys
    pair, ancestor = keys[common] // len(taxonomy), keys[common] % len(taxonomy)
    if measure == "wu-palmer":
        deep = 2 * value[ancestor]
        score = deep / (steps[common] + more[place[common]] + deep)
    else:
        both = value[ones[pair]] + value[others[pair]]
        score = torch.where(both > 0, 2 * value[ancestor] / both, (ones[pair] == others[pair]).double())
    return torch.zeros(len(ones), dtype=torch.float64).scatter_reduce_(0, pair, score, "amax")
