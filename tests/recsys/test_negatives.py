"""Negative items for users, against a table of who has what."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from kgneg.core.corruption import Corruptor
from kgneg.core.errors import ExhaustedPoolError, InvalidInputError
from kgneg.core.handles import attach_scorer
from kgneg.core.queries import Queries
from kgneg.core.sides import SidePolicy
from kgneg.core.typing import FloatTensor, LongTensor
from kgneg.recsys.interactions import Interactions
from kgneg.recsys.negatives import corruptor_options, draw_negatives, item_scorer, log_proposal
from kgneg.samplers import DynamicCorruptor, MixtureCorruptor, PopularityCorruptor, UniformCorruptor


def random_pairs(seed: int = 0, users: int = 9, items: int = 14, number: int = 50, **options: Any) -> Interactions:
    generator = torch.Generator().manual_seed(seed)
    pairs = [torch.randint(high, (number,), generator=generator) for high in (users, items)]
    return Interactions(*pairs, num_users=users, num_items=items, **options)


def table(pairs: Interactions) -> torch.Tensor:
    has = torch.zeros(pairs.num_users, pairs.num_items, dtype=torch.bool)
    has[pairs.users, pairs.items] = True
    return has


def corruptors(pairs: Interactions) -> list[Corruptor]:
    options = {**corruptor_options(pairs), "seed": 0}
    popular = PopularityCorruptor(pairs.item_counts + 1, **options)
    uniform = UniformCorruptor(**options)
    return [uniform, popular, MixtureCorruptor([(uniform, 1.0), (popular, 2.0)], **options)]


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 999), number=st.integers(1, 90), n=st.integers(1, 7))
def test_nothing_that_a_user_has(seed: int, number: int, n: int) -> None:
    pairs = random_pairs(seed, number=number)
    has = table(pairs)
    free = ~has.all(dim=-1)
    users, items = pairs.users[free[pairs.users]], pairs.items[free[pairs.users]]
    for corruptor in corruptors(pairs):
        drawn = draw_negatives(corruptor, users, items, n, torch.Generator().manual_seed(seed), interactions=pairs)
        assert drawn.items.shape == drawn.fallback.shape == (len(users), n)
        assert drawn.items.dtype == torch.int64
        assert drawn.fallback.dtype == torch.bool
        assert not has[users[:, None], drawn.items].any()


def test_uniform_over_what_a_user_does_not_have() -> None:
    pairs = random_pairs()
    corruptor = UniformCorruptor(**corruptor_options(pairs), seed=3)
    user = int(pairs.user_counts.argmax())
    item = int(pairs.items[pairs.users == user][0])
    drawn = draw_negatives(corruptor, torch.tensor([user]), torch.tensor([item]), 9000)
    free = (~table(pairs)[user]).nonzero().squeeze(-1)
    found = torch.bincount(drawn.items[0], minlength=pairs.num_items)
    assert found.sum() == found[free].sum() == 9000
    assert chisquare(found[free].numpy()).pvalue > 1e-3


@pytest.mark.parametrize("which", [0, 1, 2])
def test_the_generator_decides(which: int) -> None:
    pairs = random_pairs()

    def draw(seed: int) -> LongTensor:
        corruptor = corruptors(pairs)[which]
        return draw_negatives(corruptor, pairs.users, pairs.items, 5, torch.Generator().manual_seed(seed)).items

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


def test_no_pairs_no_negatives() -> None:
    pairs = random_pairs()
    none = torch.empty(0, dtype=torch.int64)
    drawn = draw_negatives(corruptors(pairs)[0], none, none, 3)
    assert drawn.items.shape == (0, 3)


def test_fallbacks_are_flagged() -> None:
    pairs = Interactions(torch.tensor([0, 1]), torch.tensor([0, 1]), num_users=2, num_items=4)
    corruptor = PopularityCorruptor(torch.tensor([1.0, 0.0, 0.0, 0.0]), **corruptor_options(pairs), seed=0)
    drawn = draw_negatives(corruptor, pairs.users, pairs.items, 30)
    assert drawn.fallback[0].all()
    assert set(drawn.items[0].tolist()) == {1, 2, 3}
    assert not drawn.fallback[1].any()
    assert set(drawn.items[1].tolist()) == {0}


# What does not fit


def test_corruptors_that_do_not_fit() -> None:
    pairs = random_pairs()
    options = corruptor_options(pairs)
    other = UniformCorruptor(**corruptor_options(random_pairs(items=15)))
    with pytest.raises(
        InvalidInputError, match=r"9 users \(relations\) and 15 items \(entities\) does not fit 9 users"
    ):
        draw_negatives(other, pairs.users, pairs.items, 2, interactions=pairs)
    for policy in ("uniform", "head", "alternate", "single"):
        both = UniformCorruptor(**{**options, "sides": SidePolicy(policy)})
        with pytest.raises(InvalidInputError, match=f"policy is '{policy}'.*corruptor_options"):
            draw_negatives(both, pairs.users, pairs.items, 2)
    with pytest.raises(InvalidInputError, match="come from a Corruptor, got str"):
        draw_negatives("uniform", pairs.users, pairs.items, 2)  # type: ignore[arg-type]
    corruptor = UniformCorruptor(**options)
    for users, items in ((pairs.users[1:], pairs.items), (pairs.users[:4].view(2, 2), pairs.items[:4].view(2, 2))):
        with pytest.raises(InvalidInputError, match="vectors of one length"):
            draw_negatives(corruptor, users, items, 2)
    with pytest.raises(InvalidInputError, match="n must be at least 1, got 0"):
        draw_negatives(corruptor, pairs.users, pairs.items, 0)


@pytest.mark.parametrize(("users", "items"), [(0, 5), (3, 1), (3, 0)])
def test_tables_without_negatives(users: int, items: int) -> None:
    none = torch.empty(0, dtype=torch.int64)
    with pytest.raises(InvalidInputError, match=f"got {users} users and {items} items"):
        corruptor_options(Interactions(none, none, num_users=users, num_items=items))


def test_users_who_have_everything_are_named() -> None:
    users, items = torch.tensor([0, 1, 1, 1, 2]), torch.tensor([2, 0, 1, 2, 0])
    for labels, who in ((("ann", "bob", "eve"), "user 'bob'"), (None, "user 1")):
        pairs = Interactions(users, items, num_users=3, num_items=3, user_labels=labels)
        for corruptor in corruptors(pairs):
            with pytest.raises(ExhaustedPoolError, match=f"^{who} has all 3 items.*train.select"):
                draw_negatives(corruptor, pairs.users, pairs.items, 2, interactions=pairs)
        with pytest.raises(ExhaustedPoolError, match=r"^user 1 has all"):
            draw_negatives(corruptors(pairs)[0], pairs.users, pairs.items, 2)
    rest = pairs.select(pairs.user_counts[pairs.users] < pairs.num_items)  # the remedy of the message
    assert set(rest.users.tolist()) == {0, 2}
    assert draw_negatives(corruptors(rest)[0], rest.users, rest.items, 2).items.shape == (2, 2)


def test_the_index_of_a_corruptor_is_its_own() -> None:
    pairs = random_pairs()
    options = corruptor_options(pairs)
    assert options["index"].keys.data_ptr() == pairs.index.keys.data_ptr()
    UniformCorruptor(**options).to("meta")
    assert pairs.index.keys.device.type == "cpu"


# Looking at the model


class Vectors:
    """Inner products, as trained models have them."""

    def __init__(self, users: FloatTensor, items: FloatTensor) -> None:
        self.users, self.items = users, items

    def pair_scores(self, users: LongTensor, items: LongTensor) -> FloatTensor:
        return torch.einsum("qd,qmd->qm", self.users[users], self.items[items])


def test_the_best_items_that_a_user_does_not_have() -> None:
    pairs = random_pairs()
    generator = torch.Generator().manual_seed(5)
    users = torch.randn(pairs.num_users, 4, generator=generator, requires_grad=True)
    model = Vectors(users, torch.randn(pairs.num_items, 4, generator=generator))
    corruptor = DynamicCorruptor(pool=pairs.num_items, **corruptor_options(pairs), seed=0)
    attach_scorer(corruptor, item_scorer(model))
    drawn = draw_negatives(corruptor, pairs.users, pairs.items, 2)
    scores = (model.users @ model.items.T).detach().masked_fill(table(pairs), -torch.inf)
    assert torch.equal(drawn.items, scores.topk(2).indices[pairs.users])


def test_scores_have_no_gradient() -> None:
    model = Vectors(torch.ones(3, 2, requires_grad=True), torch.ones(4, 2))
    queries = Queries.from_triples(torch.tensor([[0, 2, 1]]), torch.tensor([2]))
    scores = item_scorer(model)(queries, torch.tensor([[0, 3]], dtype=torch.int32))
    assert scores.tolist() == [[2.0, 2.0]]
    assert not scores.requires_grad
    with pytest.raises(InvalidInputError, match=r"object has no method pair_scores\(users, items\)"):
        item_scorer(object())  # type: ignore[arg-type]


def test_corrections() -> None:
    pairs = random_pairs()
    uniform, popular, mixture = corruptors(pairs)
    items = torch.tensor([[0, 3], [5, 7]])
    weights = (pairs.item_counts + 1).double()
    torch.testing.assert_close(log_proposal(popular, items).double().exp(), (weights / weights.sum())[items])
    torch.testing.assert_close(log_proposal(uniform, items).exp(), torch.full((2, 2), 1 / pairs.num_items))
    assert log_proposal(mixture, items).tolist() == [[0.0, 0.0]] * 2
