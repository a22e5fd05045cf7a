from __future__ import annotations

from dataclasses import FrozenInstanceError

import pandas as pd
import pytest
import torch

from kgneg.core.negatives import Negatives
from kgneg.core.typing import HEAD, TAIL


def make(batch: tuple[int, ...], n: int, heads: int | None = None, seed: int = 0) -> Negatives:
    generator = torch.Generator().manual_seed(seed)
    positives = torch.randint(20, (*batch, 3), generator=generator)
    entity = torch.randint(20, (*batch, n), generator=generator, dtype=torch.int32)
    if heads is None:
        side = torch.randint(2, (*batch, n), generator=generator, dtype=torch.int8) * 2
    else:
        side = torch.tensor([HEAD] * heads + [TAIL] * (n - heads), dtype=torch.int8).expand(*batch, n)
    fallback = torch.rand((*batch, n), generator=generator) < 0.3
    return Negatives(positives, entity, side, fallback, heads)


def rows(negatives: Negatives) -> list[list[int]]:
    result = []
    n = negatives.n
    parts = (negatives.positives.reshape(-1, 3), negatives.entity.reshape(-1, n), negatives.side.reshape(-1, n))
    for positive, entities, sides in zip(*(part.tolist() for part in parts), strict=True):
        for new, column in zip(entities, sides, strict=True):
            result.append([new if place == column else old for place, old in enumerate(positive)])
    return result


@pytest.mark.parametrize("batch", [(), (1,), (4,), (2, 3), (0,), (3, 0)])
@pytest.mark.parametrize(("n", "heads"), [(1, None), (5, None), (5, 0), (5, 5), (5, 2), (1, 1)])
def test_triples(batch: tuple[int, ...], n: int, heads: int | None) -> None:
    negatives = make(batch, n, heads)
    triples = negatives.triples
    assert triples.shape == (*batch, n, 3)
    assert triples.dtype == torch.int64
    assert triples.reshape(-1, 3).tolist() == rows(negatives)
    assert all(triples[..., column].is_contiguous() for column in range(3))
    assert negatives.triples is triples  # made once
    assert negatives.n == n


def test_the_number_of_heads_is_only_a_short_cut() -> None:
    quick = make((3, 2), 7, heads=3)
    slow = Negatives(quick.positives, quick.entity, quick.side, quick.fallback)
    assert torch.equal(quick.triples, slow.triples)


def test_strided_positives() -> None:
    negatives = make((6,), 3)
    strided = Negatives(negatives.positives.t().contiguous().t(), negatives.entity, negatives.side, negatives.fallback)
    assert torch.equal(strided.triples, negatives.triples)


@pytest.mark.parametrize("batch", [(), (4,), (2, 3), (0,)])
@pytest.mark.parametrize("labels", [False, True])
def test_to_frame(batch: tuple[int, ...], labels: bool) -> None:
    negatives = make(batch, 3)
    entities, relations = [f"e{i}" for i in range(20)], [f"r{i}" for i in range(20)]
    frame = negatives.to_frame(entities, relations) if labels else negatives.to_frame()

    def name(row: list[int]) -> list[object]:
        return [f"e{row[0]}", f"r{row[1]}", f"e{row[2]}"] if labels else list(row)

    positives = [positive for positive in negatives.positives.reshape(-1, 3).tolist() for _ in range(3)]
    expected = pd.DataFrame(
        {
            "triple": [name(row) for row in rows(negatives)],
            "positive": [name(row) for row in positives],
            "side": ["head" if side == HEAD else "tail" for side in negatives.side.reshape(-1).tolist()],
            "fallback": negatives.fallback.reshape(-1).tolist(),
        }
    )
    assert list(frame.columns) == [
        *("head", "relation", "tail", "positive_head", "positive_relation", "positive_tail", "side", "fallback")
    ]
    assert frame[["head", "relation", "tail"]].to_numpy().tolist() == expected["triple"].tolist()
    assert frame[["positive_head", "positive_relation", "positive_tail"]].to_numpy().tolist() == list(expected.positive)
    assert frame.side.tolist() == expected.side.tolist()
    assert frame.fallback.tolist() == expected.fallback.tolist()


def test_labels_for_one_kind_only() -> None:
    negatives = make((2,), 2)
    frame = negatives.to_frame(relations=[f"r{i}" for i in range(20)])
    assert all(label.startswith("r") for label in frame.relation)
    assert frame["head"].tolist() == negatives.triples.reshape(-1, 3)[:, 0].tolist()


def test_it_cannot_be_rebound() -> None:
    with pytest.raises(FrozenInstanceError):
        make((2,), 2).entity = torch.zeros(2, 2)
