"""The space in which rows are compared."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from kgneg.core.typing import FloatTensor, LongTensor

__all__ = ["project", "with_categories"]

_DIM = 256
_SAMPLE = 100_000
_SHARE = 0.12  # of the squared length, for each column of categories
_CODES = 64


def project(vectors: FloatTensor, generator: torch.Generator) -> FloatTensor:
    """Centre vectors, turn long ones to their 256 principal components, and give them the mean variance 1.

    :param vectors: shape: ``(n, d)``
    :param generator: of the sample that the components are computed from
    :returns: shape: ``(n, min(d, 256))``
    """
    rows = torch.randperm(len(vectors), generator=generator)[:_SAMPLE].to(vectors.device)
    sample = vectors[rows] if len(vectors) > _SAMPLE else vectors
    mean = sample.mean(dim=0)
    if vectors.shape[1] <= _DIM:
        projected = vectors - mean
    else:
        centred = sample - mean
        _, axes = torch.linalg.eigh((centred.T @ centred).double())
        axes = axes[:, -_DIM:].float()
        projected = torch.addmm(-(mean @ axes), vectors, axes)
    scale = projected.square().mean().sqrt()
    return projected.div_(scale.clamp(min=torch.finfo(scale.dtype).tiny))


def with_categories(projected: FloatTensor, cells: Sequence[LongTensor], generator: torch.Generator) -> FloatTensor:
    """Append categories, so that rows of different ones are less similar.

    Two rows that differ in one column are as far apart as if an eighth of their squared length were turned away.

    :param projected: shape: ``(n, p)``, of mean variance 1
    :param cells: columns of shape ``(n,)``
    :param generator: of the codes of columns with more than 64 categories
    :returns: shape: ``(n, p + ...)``
    """
    parts = [projected]
    length = (_SHARE / (1 - _SHARE) * projected.shape[1]) ** 0.5
    for column in cells:
        number = int(column.max()) + 1
        if number <= _CODES:
            codes = torch.eye(number)
        else:
            codes = torch.randint(2, (number, _CODES), generator=generator).mul_(2).sub_(1) / _CODES**0.5
        parts.append((codes * length).to(projected.device)[column])
    return torch.cat(parts, dim=-1) if cells else projected
