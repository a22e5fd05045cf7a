from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kgneg.core.errors import InvalidInputError
from kgneg.recsys import ranking
from kgneg.recsys.interactions import Interactions
from kgneg.recsys.ranking import inner_products, rank_items


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pairs_of(kept: torch.Tensor) -> Interactions:
    users, items = kept.nonzero(as_tuple=True)
    return Interactions(users, items, num_users=kept.shape[0], num_items=kept.shape[1])


@settings(deadline=None, max_examples=60)
@given(
    number=st.integers(1, 300),
    k=st.integers(1, 12),
    ties=st.booleans(),
    memory=st.sampled_from([1, 2000, 1 << 20]),
    seed=st.integers(0, 1000),
)
def test_lists_are_those_of_a_full_sort(number: int, k: int, ties: bool, memory: int, seed: int) -> None:
    k = min(k, number)
    table = draw(7, number, seed=seed)
    if ties:
        table = table.mul(2).round().div(2)
    hidden = [pairs_of(draw(7, number, seed=seed + one) > 1) for one in (1, 2)]
    candidates = draw(number, seed=seed + 3) > -1
    users = torch.tensor([3, 0, 6, 3])
    blocks = list(
        rank_items(
            lambda block: table[block], users, k, num_items=number, hide=hidden, candidates=candidates, memory=memory
        )
    )
    assert torch.equal(torch.cat([one.users for one in blocks]), users)
    assert all(len(one.users) <= max(1, memory // (4 * number)) for one in blocks)
    items, scores = torch.cat([one.items for one in blocks]), torch.cat([one.scores for one in blocks])
    for row, user in enumerate(users.tolist()):
        allowed = [
            item
            for item in range(number)
            if candidates[item] and not any(one.contains(torch.tensor(user), torch.tensor(item)) for one in hidden)
        ]
        best = sorted((float(table[user, item]) for item in allowed), reverse=True)[:k]
        shown = [item for item in items[row].tolist() if item >= 0]
        assert len(shown) == len(set(shown)) == len(best) and set(shown) <= set(allowed)
        assert [float(table[user, item]) for item in shown] == best
        assert scores[row].tolist() == best + [-torch.inf] * (k - len(best))
        assert items[row, len(best) :].tolist() == [-1] * (k - len(best))


@pytest.mark.parametrize("k", [1, 5, 20])
def test_few_of_many(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    table = draw(9, 3001)
    table[3] = table[3].round()
    table[4, :2000] = -torch.inf
    table[5] = -torch.inf
    values, items = ranking._best(table, k)
    assert torch.equal(values, table.topk(k).values)
    assert torch.equal(table.gather(1, items), values)
    assert all(len(set(row)) == k for row in items.tolist())
    monkeypatch.setattr(torch.Tensor, "amax", None)
    with pytest.raises(TypeError):  # so this was not the plain way
        ranking._best(table, k)


@pytest.mark.parametrize("number", [1, 511, 512, 513, 1300])
def test_inner_products(number: int) -> None:
    left, right = draw(5, 8), draw(number, 8, seed=1)
    torch.testing.assert_close(inner_products(left, right), left @ right.T)


@pytest.mark.parametrize("where", [0, 17, 2999])
def test_nan_is_refused(where: int) -> None:
    table = draw(1, 3000)
    table[0, where] = torch.nan
    with pytest.raises(InvalidInputError, match="NaN: it has diverged"):
        list(rank_items(lambda _: table, torch.tensor([0]), 3, num_items=3000))


def test_hidden_nan_is_no_matter() -> None:
    table, hidden = draw(1, 4), torch.zeros(1, 4, dtype=torch.bool)
    table[0, 2], hidden[0, 2] = torch.nan, True
    (block,) = rank_items(lambda _: table, torch.tensor([0]), 3, num_items=4, hide=[pairs_of(hidden)])
    assert set(block.items[0].tolist()) == {0, 1, 3}


def test_refusals() -> None:
    users = torch.tensor([0])
    with pytest.raises(InvalidInputError, match="at most the number of items, 3; got 4"):
        list(rank_items(lambda _: draw(1, 3), users, 4, num_items=3))
    with pytest.raises(InvalidInputError, match=r"must have shape \(1, 3\), got \(1, 2\)"):
        list(rank_items(lambda _: draw(1, 2), users, 1, num_items=3))
    with pytest.raises(InvalidInputError, match="with 4 items cannot hide some of 3 items"):
        list(rank_items(lambda _: draw(1, 3), users, 1, num_items=3, hide=[pairs_of(torch.ones(1, 4) > 0)]))
