"""Vectors of the known triples."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import normalize

from kgneg.core.plausibility import adjacency_vectors


def test_products_rebuild_the_table(nations: Any) -> None:
    """With all dimensions, products of the vectors are the root of how many places two entities share."""
    vectors = adjacency_vectors(nations.known, dim=13, **nations.sizes).double()
    table = torch.zeros(14, 2, 55, 14, dtype=torch.float64)
    head, relation, tail = nations.known.unbind(-1)
    table[head, 0, relation, tail] = 1
    table[tail, 1, relation, head] = 1
    shared = table.flatten(1) @ table.flatten(1).T
    values = torch.linalg.eigvalsh(shared)
    found = (vectors @ vectors.T) @ (vectors @ vectors.T)
    assert float((found - shared).abs().max()) < float(values[0]) + 1e-2  # one dimension is missing


def test_what_stands_in_the_same_places_is_close() -> None:
    triples = torch.tensor([[h, 0, t] for h in range(6) for t in (10, 11)] + [[h, 1, 12] for h in (6, 7)])
    unit = normalize(adjacency_vectors(triples, num_entities=14, num_relations=2, dim=4), dim=-1)
    assert float(unit[0] @ unit[5]) > 0.99
    assert abs(float(unit[0] @ unit[6])) < 0.01
    assert not unit[13].any()


def test_seeds_and_sizes(umls: Any) -> None:
    first, again = (adjacency_vectors(umls.known, dim=16, seed=3, **umls.sizes) for _ in range(2))
    assert torch.equal(first, again)
    assert first.shape == (135, 16)
    assert adjacency_vectors(umls.known, dim=500, **umls.sizes).shape == (135, 134)
    assert adjacency_vectors(umls.known[:0], **umls.sizes).shape == (135, 1)
