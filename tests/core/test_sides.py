from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from kgneg.core.errors import InvalidInputError
from kgneg.core.sides import SidePolicy


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def brute_force(triples: list[tuple[int, int, int]], relation: int) -> float:
    """tph / (tph + hpt) by the definition of Wang et al.: means over heads of tails, and over tails of heads."""
    pairs = {(head, tail) for head, kind, tail in triples if kind == relation}
    if not pairs:
        return 0.5
    heads, tails = {head for head, _ in pairs}, {tail for _, tail in pairs}
    per_head = sum(len({tail for head, tail in pairs if head == one}) for one in heads) / len(heads)
    per_tail = sum(len({head for head, tail in pairs if tail == one}) for one in tails) / len(tails)
    return per_head / (per_head + per_tail)


triples_strategy = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3), st.integers(0, 6)), max_size=40)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(triples=triples_strategy)
def test_bernoulli_agrees_with_its_definition(triples: list[tuple[int, int, int]]) -> None:
    known = torch.tensor(triples, dtype=torch.long).view(-1, 3)
    policy = SidePolicy("bernoulli", triples=known, num_relations=5)
    expected = torch.tensor([brute_force(triples, relation) for relation in range(5)], dtype=torch.float64)
    torch.testing.assert_close(policy.head_probability, expected, rtol=0, atol=1e-12)


def test_bernoulli_replaces_the_end_with_fewer_true_alternatives() -> None:
    # one head, many tails: a false head is the safer negative
    known = torch.tensor([[0, 0, tail] for tail in range(1, 10)] + [[head, 1, 0] for head in range(1, 10)])
    policy = SidePolicy("bernoulli", triples=known, num_relations=3)
    assert policy.head_probability.tolist() == pytest.approx([0.9, 0.1, 0.5])
    relation = torch.tensor([0, 1, 2]).repeat(500)
    heads = policy.heads(relation, 10, generator()).view(-1, 3).double().mean(0)
    assert heads.tolist() == pytest.approx([9, 1, 5], abs=1e-9)  # 10 p is whole: no rounding is left to chance


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7, 16])
def test_bernoulli_rounds_without_bias(n: int) -> None:
    known = torch.tensor([[0, 0, 1], [0, 0, 2], [0, 0, 3], [4, 0, 1], [4, 1, 5]])
    policy = SidePolicy("bernoulli", triples=known, num_relations=2)
    p = brute_force([tuple(triple) for triple in known.tolist()], 0)
    heads = policy.heads(torch.zeros(20_000, dtype=torch.long), n, generator(2))
    assert heads.dtype == torch.int64
    low = int(p * n + 1e-12)
    assert set(heads.tolist()) <= {low, low + 1}
    fraction = p * n - low
    if fraction > 1e-9:
        assert binomtest(int((heads > low).sum()), 20_000, fraction).pvalue > 1e-6


@pytest.mark.parametrize("n", [1, 3, 9])
def test_uniform_odd(n: int) -> None:
    heads = SidePolicy("uniform").heads(torch.zeros(20_000, dtype=torch.long), n, generator(3))
    assert set(heads.tolist()) == {n // 2, n // 2 + 1}
    assert binomtest(int((heads > n // 2).sum()), 20_000, 0.5).pvalue > 1e-6


@pytest.mark.parametrize("n", [1, 2, 9])
def test_single_is_a_coin_per_positive(n: int) -> None:
    policy = SidePolicy("single")
    heads = policy.heads(torch.zeros(20_000, dtype=torch.long), n, generator(4))
    assert heads.dtype == torch.int64
    assert set(heads.tolist()) == {0, n}
    assert binomtest(int((heads > 0).sum()), 20_000, 0.5).pvalue > 1e-6
    equal = int((heads[1:] == heads[:-1]).sum())  # neighbours do not know of each other
    assert binomtest(equal, 19_999, 0.5).pvalue > 1e-6


def test_fixed_shares() -> None:
    relation = torch.zeros(4, dtype=torch.long)
    assert [SidePolicy().heads(relation, n) for n in (2, 8)] == [1, 4]
    assert [SidePolicy("head").heads(relation, n) for n in (1, 8)] == [1, 8]
    assert [SidePolicy("tail").heads(relation, n) for n in (1, 8)] == [0, 0]
    policy = SidePolicy("alternate")
    assert [policy.heads(relation, 5) for _ in range(5)] == [5, 0, 5, 0, 5]
    twin = copy.deepcopy(policy)
    assert [policy.heads(relation, 3), policy.heads(relation, 3)] == [0, 3]
    assert twin.heads(relation, 3) == 0


def test_which_policies_have_both_ends() -> None:
    known = torch.tensor([[0, 0, 1]])
    both = {name: SidePolicy(name, triples=known, num_relations=1).both for name in ("uniform", "single", "bernoulli")}
    one = {name: SidePolicy(name).both for name in ("head", "tail", "alternate")}
    assert all(both.values())
    assert not any(one.values())
    every = ("uniform", "single", "bernoulli", "head", "tail", "alternate")
    assert [name for name in every if SidePolicy(name, triples=known, num_relations=1).one_end] == ["single"]


def test_draws_come_from_the_generator() -> None:
    known = torch.tensor([[0, 0, 1], [0, 0, 2]])
    relation = torch.zeros(100, dtype=torch.long)
    before = torch.get_rng_state()
    for name in ("uniform", "single", "bernoulli"):
        policy = SidePolicy(name, triples=known, num_relations=1)
        first, second, third = (policy.heads(relation, 5, generator(seed)) for seed in (1, 1, 2))
        assert torch.equal(first, second)
        assert not torch.equal(first, third)
    assert torch.equal(torch.get_rng_state(), before)


def test_state_of_another_graph_is_taken_over() -> None:
    source = SidePolicy("bernoulli", triples=torch.tensor([[0, 0, 1], [0, 0, 2]]), num_relations=2)
    target = SidePolicy("bernoulli", triples=torch.tensor([[0, 0, 1]]), num_relations=1)
    target.load_state_dict(source.state_dict())
    assert torch.equal(target.head_probability, source.head_probability)


@pytest.mark.parametrize("missing", ["triples", "num_relations"])
def test_bernoulli_needs_its_input(missing: str) -> None:
    given = {"triples": torch.tensor([[0, 0, 1]]), "num_relations": 1, missing: None}
    with pytest.raises(InvalidInputError, match="triples and num_relations"):
        SidePolicy("bernoulli", **given)


def test_unknown_policy() -> None:
    with pytest.raises(InvalidInputError, match=r"uniform, single, bernoulli, head, tail, alternate; got 'both'"):
        SidePolicy("both")
