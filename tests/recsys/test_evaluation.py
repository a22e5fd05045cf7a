from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from kgneg.core.errors import InvalidInputError
from kgneg.recsys import metrics as metrics_module
from kgneg.recsys.beyond import gini, item_groups
from kgneg.recsys.evaluation import METRICS, Evaluation, evaluate
from kgneg.recsys.interactions import Interactions
from kgneg.recsys.metrics import LinkPredCappedPrecision, Meter
from kgneg.recsys.popularity import Popularity
from kgneg.recsys.recommender import Recommender

KS = (1, 3, 5)


class Table(Recommender):
    """Scores that are given."""

    def __init__(self, table: torch.Tensor, train: Interactions) -> None:
        super().__init__()
        self.table = nn.Parameter(table)  # whose gradient must not be recorded
        self._seen = train

    def fit(self, train: Interactions, valid: Interactions | None = None) -> Table:
        raise NotImplementedError

    def prepare(self, train: Interactions, generator: torch.Generator) -> None:
        raise NotImplementedError

    def scores(self, users: torch.Tensor) -> torch.Tensor:
        return self.table[users]

    def scores_of_new(self, histories: Interactions) -> torch.Tensor:
        raise NotImplementedError

    def similarities(self, items: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


def pairs_of(kept: torch.Tensor, **more: Any) -> Interactions:
    users, items = kept.nonzero(as_tuple=True)
    return Interactions(users, items, num_users=kept.shape[0], num_items=kept.shape[1], **more)


def draw_case(
    seed: int, users: int = 12, items: int = 9, density: float = 0.5
) -> tuple[Table, Interactions, Interactions]:
    """Scores, validation and test; with users who have no training items, no test items, or few candidates."""
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(users, items, generator=generator)
    where = torch.rand(users, items, generator=generator)
    where[0] = where[0] * density  # this user has no training items: all is test
    where[1] = 1.0
    where[2, :-1] = density * 1.5  # one item is not seen
    where[2, -1] = 0.0
    train = (where >= density) & (where < 1.8 * density)
    train[1, 0], train[2, :-1] = True, True
    train[0] = False
    test = (where < 0.6 * density) & ~train
    test[1] = False
    test[2, -1] = True
    valid = ~train & ~test & (where < density)
    valid[0] = False
    return Table(table, pairs_of(train)), pairs_of(valid), pairs_of(test)


def naive(model: Table, hidden: list[Interactions], test: Interactions, k: int, allowed: set[int]) -> dict[str, Any]:
    """One user after the other, with sets and lists."""
    sets = [
        {
            user: {i for u, i in zip(one.users.tolist(), one.items.tolist(), strict=True) if u == user}
            for user in range(test.num_users)
        }
        for one in (model.seen, *hidden, test)
    ]
    found: dict[str, Any] = {name: [] for name in METRICS} | {"users": [], "lists": []}
    for user in range(test.num_users):
        truth = sets[-1][user]
        if not truth or not sets[0][user]:
            continue
        left_out = set().union(*(one[user] for one in sets[:-1]))
        scores = model.table[user].tolist()
        shown = sorted(allowed - left_out, key=lambda item: -scores[item])[:k]
        hits = [item in truth for item in shown]
        ideal = sum(1 / math.log2(place + 2) for place in range(min(k, len(truth))))
        found["users"].append(user)
        found["lists"].append(shown)
        found["recall"].append(sum(hits) / len(truth))
        found["precision"].append(sum(hits) / k)
        found["ndcg"].append(sum(hit / math.log2(place + 2) for place, hit in enumerate(hits)) / ideal)
        found["mrr"].append(1 / (1 + hits.index(True)) if any(hits) else 0.0)
        found["hit"].append(float(any(hits)))
        found["capped_precision"].append(sum(hits) / min(k, len(truth)))
    return found


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    density=st.sampled_from([0.2, 0.5]),
    with_valid=st.booleans(),
    some=st.booleans(),
    memory=st.sampled_from([1, 100, 1 << 20]),
)
def test_every_metric_is_that_of_a_walk_over_users(
    seed: int, density: float, with_valid: bool, some: bool, memory: int
) -> None:
    model, valid, test = draw_case(seed, density=density)
    hidden = [valid] if with_valid else []
    mask = torch.ones(9, dtype=torch.bool)
    if some:
        mask[seed % 4] = False
    result = evaluate(model, test, hide=hidden, ks=KS, candidates=mask if some else None, memory=memory, progress=False)
    assert list(result.metrics) == [f"{name}@{k}" for name in METRICS for k in KS] == list(result.per_user)
    for k in KS:
        wanted = naive(model, hidden, test, k, set(mask.nonzero().flatten().tolist()))
        assert result.users.tolist() == wanted["users"]
        for name in METRICS:
            np.testing.assert_allclose(result.per_user[f"{name}@{k}"].numpy(), wanted[name], rtol=1e-5, err_msg=name)
            assert result.metrics[f"{name}@{k}"] == pytest.approx(np.mean(wanted[name]), rel=1e-5)
        shown = [item for one in wanted["lists"] for item in one]
        assert result.beyond[f"coverage@{k}"] == pytest.approx(len(set(shown)) / int(mask.sum()))
        popularity = model.seen.item_counts[shown].double()
        assert result.beyond[f"popularity@{k}"] == pytest.approx(float(popularity.mean()))
        assert result.beyond[f"log_popularity@{k}"] == pytest.approx(float(popularity.log1p().mean()))
        users = int((model.seen.user_counts > 0).sum())
        novelty = -(popularity.clamp(min=1) / users).log2()
        assert result.beyond[f"novelty@{k}"] == pytest.approx(float(novelty.mean()), abs=1e-9)
    known, wanted_ = model.seen.user_counts > 0, test.user_counts > 0
    assert result.excluded["no_training_items"].tolist() == [u for u in range(12) if wanted_[u] and not known[u]]
    assert result.excluded["no_test_items"].tolist() == [u for u in range(12) if not wanted_[u]]
    assert 0 in result.excluded["no_training_items"] and 1 in result.excluded["no_test_items"]
    assert result.counts["users"] == len(result.users) == result.num_users
    assert result.counts["no_training_items"] == len(result.excluded["no_training_items"])
    assert result.counts["test_pairs"] + result.counts["test_pairs_of_excluded_users"] == len(test)


def test_what_fills_short_lists_is_never_a_hit() -> None:
    """The item of the second user is the last one, and the list of the third is too short."""
    meter = Meter(["recall", "hit"], [2], 4, keep=True, tally=True)
    items = torch.tensor([[0, -1], [1, 2], [-1, -1], [2, -1]])
    meter.add(items, torch.tensor([0, 1, 2, 3]), torch.tensor([3, 3, 0, 1]))
    assert meter.kept()["hit@2"].tolist() == [0.0, 0.0, 0.0, 0.0]
    assert meter.tally is not None
    assert meter.tally.shown.tolist() == [[1, 1, 2, 0]]
    assert meter.tally.hits.sum() == 0


def test_ideal_is_cut_at_k() -> None:
    """Three items to find, one place: a hit is all that can be had."""
    meter = Meter(["ndcg", "capped_precision", "recall"], [1], 5)
    meter.add(torch.tensor([[1]]), torch.tensor([0, 0, 0]), torch.tensor([1, 2, 3]))
    assert meter.means() == {"ndcg@1": 1.0, "capped_precision@1": 1.0, "recall@1": pytest.approx(1 / 3)}


def test_capped_precision_beside_the_plain_one() -> None:
    model, valid, test = draw_case(3)
    result = evaluate(model, test, hide=valid, ks=KS)
    for k in KS:
        capped, plain = result.per_user[f"capped_precision@{k}"], result.per_user[f"precision@{k}"]
        assert bool((capped >= plain).all())
        wanted = plain * k / test.user_counts[result.users].clamp(max=k)
        torch.testing.assert_close(capped, wanted)
    assert not torch.equal(capped, plain)
    assert LinkPredCappedPrecision(k=3).higher_is_better


def test_constant_scores_are_ties() -> None:
    """Whatever ties give, lists have distinct candidates: with all of them, everything is found."""
    model, valid, test = draw_case(0)
    flat = Table(torch.zeros(12, 9), model.seen)
    assert evaluate(flat, test, hide=valid, ks=[9], metrics=["recall"]).metrics["recall@9"] == 1.0


def test_validation_pays_for_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    model, valid, test = draw_case(1)
    full = evaluate(model, test, hide=valid, ks=KS)
    for name in ("Tally", "_KEPT"):
        monkeypatch.delattr(metrics_module, name)
    result = evaluate(model, test, hide=valid, ks=(3,), metrics=("recall",), by_user=False, beyond=False)
    assert result.metrics == {"recall@3": pytest.approx(full.metrics["recall@3"], rel=1e-6)}
    assert result.per_user == {} and result.beyond == {}
    with pytest.raises(InvalidInputError, match="by_user=True"):
        result.to_frame()


def test_no_gradient() -> None:
    model, valid, test = draw_case(1)
    before = model.table.detach().clone()
    result = evaluate(model, test, hide=valid, ks=KS)
    assert not result.per_user["recall@1"].requires_grad
    assert torch.equal(before, model.table)


def test_trained_candidates() -> None:
    model, valid, test = draw_case(8, density=0.2)
    model._seen = model.seen.select(model.seen.items != 4)
    there = model.seen.item_counts > 0
    assert not there.all()
    named = evaluate(model, test, hide=valid, ks=[2], candidates="trained")
    given_ = evaluate(model, test, hide=valid, ks=[2], candidates=there)
    assert named.metrics == given_.metrics
    assert named.counts["candidates"] == int(there.sum())
    _, items = test.of(named.users)
    outside = int((~there[items]).sum())
    assert named.counts["test_pairs_of_no_candidate"] == named.counts["test_pairs_of_untrained_items"] == outside


def test_labels_and_json() -> None:
    train = Interactions(torch.tensor([0, 1]), torch.tensor([0, 1]), num_users=4, num_items=3, user_labels=list("abcd"))
    test = Interactions(torch.tensor([0, 2]), torch.tensor([1, 2]), num_users=4, num_items=3, user_labels=list("abcd"))
    result = evaluate(Popularity().fit(train), test, ks=[1])
    found = json.loads(json.dumps(result.to_dict(by_user=True)))
    assert found["excluded"] == {"no_test_items": ["b", "d"], "no_training_items": ["c"]}
    assert found["users"] == ["a"] and found["per_user"]["recall@1"] == [1.0]
    assert found["metrics"]["recall@1"] == 1.0 == found["beyond"]["by_user_items"]["1-4"]["recall@1"]
    assert "users" not in result.to_dict()
    frame = result.to_frame()
    assert frame["user"].tolist() == ["a"] and frame["recall@1"].tolist() == [1.0]


def test_groups_of_users_and_items_add_up() -> None:
    model, valid, test = draw_case(5, users=40)
    result = evaluate(model, test, hide=valid, ks=KS)
    for part in ("by_user_quarter", "by_user_items"):
        groups = result.beyond[part].values()
        assert sum(one["users"] for one in groups) == len(result.users)
        mean = sum(one["users"] * one["recall@3"] for one in groups) / len(result.users)
        assert mean == pytest.approx(result.metrics["recall@3"], rel=1e-5)
    assert [one["to"] for one in result.beyond["by_user_quarter"].values()] == sorted(
        one["to"] for one in result.beyond["by_user_quarter"].values()
    )
    groups = result.beyond["by_item_popularity"]
    assert list(groups) == ["head", "mid", "tail"]
    for share in ("training_share", "test_share", "shown_share@3", "hit_share@3"):
        assert sum(one[share] for one in groups.values()) == pytest.approx(1.0), share
    pairs = result.counts["test_pairs"]
    hits = sum(one["recall@3"] * one["test_share"] * pairs for one in groups.values() if one["recall@3"] is not None)
    expected = result.per_user["recall@3"] * test.user_counts[result.users]
    assert hits == pytest.approx(float(expected.sum()), rel=1e-5)


def test_popularity_is_biased_towards_popular_items() -> None:
    model, valid, test = draw_case(2, users=60, items=30)
    fitted = Popularity().fit(model.seen)
    biased, random = (evaluate(one, test, hide=valid, ks=[5]).beyond for one in (fitted, model))
    assert biased["popularity@5"] > random["popularity@5"]
    assert biased["popularity_bias@5"] == pytest.approx(biased["popularity@5"] / biased["test_popularity"])
    assert biased["gini@5"] > random["gini@5"]
    assert biased["novelty@5"] < random["novelty@5"]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30))
def test_gini_is_the_mean_difference(counts: list[int]) -> None:
    values = np.array(counts, dtype=float)
    total = values.sum()
    wanted = np.abs(values[:, None] - values[None]).sum() / (2 * len(values) * total) if total else 0.0
    assert gini(torch.tensor(counts)) == pytest.approx(wanted, abs=1e-9)


def test_gini_refuses_negative_counts() -> None:
    with pytest.raises(InvalidInputError, match="at least 0, got -1"):
        gini(torch.tensor([-1, 2]))


def test_item_groups() -> None:
    """Twelve pairs: a third each, the item over an edge goes where it begins."""
    assert item_groups(torch.tensor([3, 1, 0, 2, 3, 1, 2, 0])).tolist() == [0, 2, 2, 1, 0, 2, 2, 2]
    assert item_groups(torch.tensor([0, 0])).tolist() == [2, 2]


def refusal(match: str, **options: Any) -> None:
    model, valid, test = draw_case(0)
    given_ = {"model": model, "test": test, "hide": valid, "ks": KS} | options
    with pytest.raises(InvalidInputError, match=match):
        evaluate(**given_)


def empty(users: int = 12, items: int = 9) -> Interactions:
    return pairs_of(torch.zeros(users, items, dtype=torch.bool))


def one_pair(user: int, item: int, users: int = 12, items: int = 9, **more: Any) -> Interactions:
    return Interactions(torch.tensor([user]), torch.tensor([item]), num_users=users, num_items=items, **more)


def test_refusals() -> None:
    model, _, test = draw_case(0)
    refusal("the test split is empty", test=empty())
    refusal("list of 10 items is longer than there are candidates, 9", ks=(3, 10))
    refusal("longer than there are candidates, 2", candidates=torch.arange(9) < 2)
    refusal("k must be at least 1, got 0", ks=(0,))
    refusal("no length of a list", ks=())
    refusal("no metric", metrics=())
    refusal("metric must be one of recall, .*; got 'map'", metrics=("map",))
    refusal("candidates must be one of trained", candidates="all")
    refusal("candidates must be 'trained' or", candidates=torch.ones(9))
    refusal("the test part has a table of 8 items, training one of 9", test=one_pair(0, 0, items=8))
    refusal("the hidden part has a table of 11 users, training one of 12", hide=[empty(users=11)])
    refusal("1 test pairs are also hidden pairs, for example user 2 and item 8", hide=one_pair(2, 8))
    refusal("test pairs are also training pairs", test=model.seen)
    refusal("none of the 1 users with test items has training items", test=one_pair(0, 0), hide=())
    refusal("NaN", model=Table(torch.full((12, 9), torch.nan), model.seen))
    labelled = pairs_of(torch.eye(12, 9) > 0, user_labels=[f"u{one}" for one in range(12)])
    refusal(
        "the users of the test part have other labels",
        model=Table(model.table.data, labelled),
        hide=(),
        test=one_pair(0, 3, user_labels=[f"v{one}" for one in range(12)]),
    )
    with pytest.raises(InvalidInputError, match="not fitted"):
        evaluate(Popularity(), test)


def test_hide_nothing() -> None:
    model, _, test = draw_case(0)
    assert evaluate(model, test, hide=None, ks=KS).metrics == evaluate(model, test, ks=KS).metrics


def test_results_can_be_kept() -> None:
    model, valid, test = draw_case(0)
    result = evaluate(model, test, hide=valid, ks=KS)
    assert isinstance(result, Evaluation)
    with pytest.raises(AttributeError):
        result.metrics = {}  # type: ignore[misc]
