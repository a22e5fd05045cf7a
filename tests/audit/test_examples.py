from __future__ import annotations

import torch

from kgneg.audit.examples import Worst


def test_distinct_ones_are_found_among_many_repetitions() -> None:
    generator = torch.Generator().manual_seed(0)
    triples = torch.cat([torch.randint(5, (300, 3), generator=generator), torch.tensor([[9, 9, 9]]).repeat(5000, 1)])
    scores = triples.sum(dim=-1).float() + triples[:, 0] / 100
    worst = Worst(20)
    for rows in torch.arange(len(triples)).split(1700):
        worst.add(triples[rows], triples[rows] + 1, scores[rows])
    best = worst.best()
    expected = torch.unique(scores).flip(0)
    assert best[0].triple == (9, 9, 9)
    assert best[0].positive == (10, 10, 10)
    assert len({one.triple for one in best}) == 20
    assert [one.score for one in best] == sorted((one.score for one in best), reverse=True)
    distinct = torch.unique(torch.cat([triples, scores[:, None]], dim=-1), dim=0)[:, 3].sort(descending=True).values
    assert [one.score for one in best] == distinct[:20].tolist()
    assert best[0].score == float(expected[0])


def test_none_are_wanted() -> None:
    worst = Worst(0)
    worst.add(torch.zeros((3, 3), dtype=torch.long), torch.zeros((3, 3), dtype=torch.long), torch.zeros(3))
    assert worst.best() == []
