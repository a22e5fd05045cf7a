"""The cosine to vectors that are given, with a gradient in two passes."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

from kgneg.core.typing import FloatTensor

__all__ = ["cosine_to"]

#: The least length of a vector, as in :func:`torch.nn.functional.cosine_similarity`.
_LEAST = 1e-8


def cosine_to(vectors: FloatTensor, given: FloatTensor) -> FloatTensor:
    r"""Return the cosine of each row to a row that is given.

    The values are those of :func:`torch.nn.functional.cosine_similarity`. Where the other rows are constants, the
    gradient :math:`\hat g / \lVert v \rVert - c\, v / \lVert v \rVert^2` is written down instead of being put together
    from a dozen steps. Rows of zeros have the cosine 0.

    :param vectors: shape: ``(b, d)``
    :param given: shape: ``(b, d)``
    :returns: shape: ``(b,)``

    >>> cosine_to(torch.tensor([[1.0, 1.0]]), torch.tensor([[2.0, 0.0]]))
    tensor([0.7071])
    """
    if given.requires_grad:
        both: FloatTensor = functional.cosine_similarity(vectors, given, dim=-1)
        return both
    found: FloatTensor = _CosineTo.apply(vectors, given)  # type: ignore[no-untyped-call]
    return found


class _CosineTo(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, vectors: FloatTensor, given: FloatTensor) -> FloatTensor:
        length = torch.linalg.vector_norm(vectors, dim=-1).clamp_(min=_LEAST)
        both = torch.linalg.vector_norm(given, dim=-1).clamp_(min=_LEAST).mul_(length)
        cosine: FloatTensor = torch.linalg.vecdot(vectors, given) / both
        context.save_for_backward(vectors, given, length, both, cosine)
        return cosine

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: FloatTensor) -> tuple[FloatTensor, None]:
        vectors, given, length, both, cosine = context.saved_tensors
        towards = (gradient / both).unsqueeze(-1) * given
        return towards.addcmul_((gradient * cosine / length.square()).unsqueeze(-1), vectors, value=-1), None
