"""Exact nearest neighbours by cosine, block by block."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from kgneg.core.errors import InvalidInputError
from kgneg.core.optional import faiss_or_none
from kgneg.core.typing import FloatTensor, LongTensor
from kgneg.core.validation import choose, validate_count

__all__ = ["knn", "validate_vectors"]

_BLOCK = 1024
_FAISS_FROM = 20_000


def validate_vectors(vectors: FloatTensor, number: int | None = None) -> FloatTensor:
    """Return vectors as float32 if they are a finite matrix with the right number of rows.

    :param vectors: shape: ``(n, d)``
    :param number: the expected ``n``; ``None`` accepts any
    :returns: shape: ``(n, d)``, float32
    :raises InvalidInputError: if the shape is wrong, or a value is NaN or infinite (the first row is named)

    >>> validate_vectors(torch.ones(2, 3, dtype=torch.float64)).dtype
    torch.float32
    """
    if not isinstance(vectors, torch.Tensor) or vectors.ndim != 2 or not vectors.shape[1]:
        shape = tuple(vectors.shape) if isinstance(vectors, torch.Tensor) else type(vectors).__name__
        raise InvalidInputError(f"vectors must have shape (n, d) with d > 0, got {shape}")
    if number is not None and len(vectors) != number:
        raise InvalidInputError(f"there are {len(vectors)} vectors for {number} entities: give one row per entity id")
    bad = (~vectors.isfinite()).any(dim=-1).nonzero().squeeze(-1)
    if len(bad):
        raise InvalidInputError(
            f"{len(bad)} of {len(vectors)} vectors hold NaN or infinite values, the first in row {int(bad[0])}. "
            "Encode these texts again or leave the entities out."
        )
    return vectors.float()


def knn(vectors: FloatTensor, k: int, *, first: int = 0, backend: str = "auto") -> tuple[LongTensor, FloatTensor]:
    """Find the nearest neighbours of every row by cosine, without the row itself.

    :param vectors: shape: ``(n, d)``
    :param k: the number of neighbours; at most ``n - 1 - first``
    :param first: how many of the nearest ones to leave out
    :param backend: ``"torch"``, ``"faiss"`` (CPU only), or ``"auto"``: faiss when it is installed and ``n`` is at least
        20,000; both are exact
    :returns: ids of shape ``(n, k)``, nearest first, and their cosines in ``[-1, 1]``
    :raises InvalidInputError: if ``k`` is too large, or vectors are malformed

    >>> knn(torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), 1)[0].squeeze(-1).tolist()
    [1, 0, 1]
    """
    vectors = normalize(validate_vectors(vectors), dim=-1)
    validate_count("k", k)
    validate_count("first", first, 0)
    number, wanted = len(vectors), k + first + 1
    if wanted > number:
        raise InvalidInputError(f"{k} neighbours after the first {first} need at least {wanted} vectors, got {number}")
    choose("backend", backend, ("auto", "torch", "faiss"))
    faiss = None
    if backend == "faiss" or (backend == "auto" and number >= _FAISS_FROM and vectors.device.type == "cpu"):
        faiss = faiss_or_none(required=backend == "faiss")
    ids = torch.empty(number, k, dtype=torch.long, device=vectors.device)
    similarity = torch.empty(number, k, device=vectors.device)
    index = None
    if faiss is not None:
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors.numpy())
    for begin in range(0, number, _BLOCK):
        block = vectors[begin : begin + _BLOCK]
        if index is not None:
            scores, near = (torch.from_numpy(array) for array in index.search(block.numpy(), wanted))
        else:
            scores, near = (block @ vectors.T).topk(wanted, dim=-1)
        # put the row itself last, wherever it was found (equal vectors may come before it)
        own = near == torch.arange(begin, begin + len(block), device=vectors.device)[:, None]
        own[:, -1] |= ~own.any(dim=-1)
        order = own.to(torch.uint8).argsort(dim=-1, stable=True)[:, first : first + k]
        ids[begin : begin + len(block)] = near.gather(-1, order)
        similarity[begin : begin + len(block)] = scores.gather(-1, order).clamp_(-1, 1)
    return ids, similarity
