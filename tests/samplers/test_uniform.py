from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, chisquare

from kgneg.core.sides import SidePolicy
from kgneg.core.triples import TripleIndex
from kgneg.core.typing import HEAD, TAIL, LongTensor
from kgneg.samplers import UniformCorruptor


def brute_force(triples: LongTensor, positive: list[int], side: int, entities: int) -> list[int]:
    """Every entity that makes an unknown triple and is not the replaced one."""
    known = set(map(tuple, triples.tolist()))
    found = []
    for entity in range(entities):
        made = list(positive)
        made[side] = entity
        if entity != positive[side] and tuple(made) not in known:
            found.append(entity)
    return found


def assert_uniform(drawn: LongTensor, allowed: list[int], entities: int, bound: float) -> None:
    counts = torch.bincount(drawn.long(), minlength=entities).numpy()
    assert counts[allowed].sum() == counts.sum() > 0
    if len(allowed) > 1:
        assert chisquare(counts[allowed]).pvalue > bound


@pytest.mark.parametrize("keys", ["triple", "pair"])
@pytest.mark.parametrize("filtered", [False, True])
def test_random_graph(filtered: bool, keys: str) -> None:
    entities = 14
    sizes = {"num_entities": entities, "num_relations": 2}
    rng = np.random.default_rng(0)
    triples = torch.from_numpy(rng.integers([entities, 2, entities], size=(150, 3))).unique(dim=0)
    index = TripleIndex(triples, keys=keys, **sizes) if filtered else None
    corruptor = UniformCorruptor(index=index, seed=6, **sizes)
    chosen = [*triples[::15].tolist(), [0, 0, 0], [13, 1, 13]]  # the last two may be unknown
    for positive in chosen:
        negatives = corruptor(torch.tensor(positive).expand(1500, 3), 5)
        assert not negatives.fallback.any()
        for side in (HEAD, TAIL):
            allowed = brute_force(triples if filtered else triples[:0], positive, side, entities)
            drawn = negatives.entity[negatives.side == side]
            assert len(drawn) > 3000
            assert_uniform(drawn, allowed, entities, 1e-4 / (2 * len(chosen)))


@pytest.mark.parametrize("known_tails", [0, 1, 17, 28])
@pytest.mark.parametrize("n", [1, 3, 8])
def test_dense_row(known_tails: int, n: int) -> None:
    """However many completions are known, the others are equally likely."""
    entities = 30
    triples = torch.tensor([[4, 0, tail] for tail in range(known_tails)] + [[5, 0, 29]])
    index = TripleIndex(triples, num_entities=entities, num_relations=1)
    corruptor = UniformCorruptor(num_entities=entities, num_relations=1, index=index, seed=11)
    positive = [4, 0, 28]
    negatives = corruptor(torch.tensor(positive).expand(12_000 // n, 3), n)
    for side in (HEAD, TAIL):
        drawn = negatives.entity[negatives.side == side]
        assert_uniform(drawn, brute_force(triples, positive, side, entities), entities, 1e-5)
    assert not negatives.fallback.any()


@pytest.mark.parametrize("n", [2, 3, 4, 7, 10])
def test_both_ends_of_every_positive(n: int) -> None:
    corruptor = UniformCorruptor(num_entities=9, num_relations=1, seed=0)
    heads = (corruptor(torch.tensor([[0, 0, 1]]).expand(4000, 3), n).side == HEAD).sum(-1)
    assert set(heads.tolist()) == ({n // 2} if n % 2 == 0 else {n // 2, n // 2 + 1})
    if n % 2:
        assert binomtest(int((heads > n // 2).sum()), 4000, 0.5).pvalue > 1e-4


def test_one_negative_is_a_fair_coin() -> None:
    corruptor = UniformCorruptor(num_entities=9, num_relations=1, seed=0)
    heads = int((corruptor(torch.tensor([[0, 0, 1]]).expand(8000, 3), 1).side == HEAD).sum())
    assert binomtest(heads, 8000, 0.5).pvalue > 1e-4


@pytest.mark.parametrize("n", [1, 2, 3, 8])
def test_bernoulli_shares(n: int) -> None:
    """Heads are replaced with probability tph / (tph + hpt), counted by hand."""
    relations, entities = 4, 12
    rows = [[head, 0, tail] for head in range(2) for tail in range(2, 8)]  # 6 tails per head, 2 heads per tail
    rows += [[head, 1, 11] for head in range(9)]  # 1 tail per head, 9 heads per tail
    rows += [[0, 2, 1], [0, 2, 2], [3, 2, 4]]  # 1.5 tails per head, 1 head per tail
    triples = torch.tensor(rows)
    shares = {}
    for relation in range(relations):
        pairs = [(head, tail) for head, kind, tail in rows if kind == relation]
        if not pairs:
            shares[relation] = 0.5
            continue
        tails_per_head = len(pairs) / len({head for head, _ in pairs})
        heads_per_tail = len(pairs) / len({tail for _, tail in pairs})
        shares[relation] = tails_per_head / (tails_per_head + heads_per_tail)
    assert shares == {0: 0.75, 1: 0.1, 2: 0.6, 3: 0.5}
    sides = SidePolicy("bernoulli", triples=triples, num_relations=relations)
    corruptor = UniformCorruptor(num_entities=entities, num_relations=relations, sides=sides, seed=3)
    number = 5000
    for relation, share in shares.items():
        heads = (corruptor(torch.tensor([[0, relation, 9]]).expand(number, 3), n).side == HEAD).sum(-1)
        floor = int(share * n + 1e-9)
        assert set(heads.tolist()) <= {floor, floor + 1}
        rest = share * n - floor
        above = int((heads > floor).sum())
        if rest < 1e-9:
            assert above == 0
        else:
            assert binomtest(above, number, rest).pvalue > 1e-5
