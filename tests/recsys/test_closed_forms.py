"""Popularity, TwoHop, ItemKNN and EASE beside the same with dense matrices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kgneg.core.errors import InvalidInputError
from kgneg.recsys import item_weights, sparse
from kgneg.recsys.ease import EASE
from kgneg.recsys.interactions import Interactions
from kgneg.recsys.item_knn import ItemKNN
from kgneg.recsys.item_weights import HistoryRecommender
from kgneg.recsys.popularity import Popularity
from kgneg.recsys.recommender import Recommender
from kgneg.recsys.sparse import CsrMatrix, PairMatrix, add_rows, multiply
from kgneg.recsys.two_hop import TwoHop

KINDS: dict[str, dict[str, Any]] = {
    "popularity": {},
    "two-hop": {},
    "itemknn": {"k": 3, "shrinkage": 2.0},
    "ease": {"l2": 0.7},
}
CLASSES: dict[str, type[HistoryRecommender]] = {one.name: one for one in (Popularity, TwoHop, ItemKNN, EASE)}


def make(name: str, **options: Any) -> HistoryRecommender:
    return CLASSES[name](**(KINDS[name] | options))


def draw_matrix(seed: int, users: int = 13, items: int = 9, density: float = 0.3) -> np.ndarray:
    """A user and an item have nothing."""
    matrix = np.random.default_rng(seed).random((users, items)) < density
    matrix[2], matrix[:, 3] = False, False
    matrix[0, 0] = True
    return matrix.astype(float)


def pairs_of(matrix: np.ndarray, **more: Any) -> Interactions:
    users, items = (torch.from_numpy(one) for one in matrix.nonzero())
    return Interactions(users, items, num_users=matrix.shape[0], num_items=matrix.shape[1], **more)


def unit_rows(matrix: np.ndarray) -> np.ndarray:
    return matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-9)


def item_cosines(matrix: np.ndarray, shrinkage: float) -> np.ndarray:
    counts = matrix.sum(axis=0)
    scale = np.sqrt(np.outer(counts, counts)) + shrinkage
    return np.where(scale > 0, matrix.T @ matrix / np.where(scale > 0, scale, 1), 0.0)


def dense(name: str, matrix: np.ndarray, histories: np.ndarray, options: dict[str, Any]) -> np.ndarray:
    if name == "popularity":
        return np.tile(matrix.sum(axis=0), (len(histories), 1))
    if name == "two-hop":
        return unit_rows(histories) @ unit_rows(matrix).T @ matrix
    if name == "itemknn":
        weights = item_cosines(matrix, options["shrinkage"])
        np.fill_diagonal(weights, 0.0)
        kth = np.sort(weights, axis=1)[:, ::-1][:, options["k"] - 1 : options["k"]]
        return histories @ np.where(weights >= kth, weights, 0.0).T
    inverse = np.linalg.inv(matrix.T @ matrix + options["l2"] * np.eye(matrix.shape[1]))
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return histories @ weights


def has_ties(matrix: np.ndarray, options: dict[str, Any]) -> bool:
    """Whether it is open which of equally similar items are neighbours."""
    weights = item_cosines(matrix, options["shrinkage"])
    np.fill_diagonal(weights, 0.0)
    ordered = np.sort(weights, axis=1)[:, ::-1]
    k = options["k"]
    return bool(((ordered[:, k - 1] - ordered[:, k] < 1e-9) & (ordered[:, k] > 0)).any())


@pytest.mark.parametrize("scatter", [0, 50, 10**9])
@pytest.mark.parametrize("name", KINDS)
def test_scores_are_those_of_dense_matrices(name: str, scatter: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse, "_SCATTER", scatter)
    monkeypatch.setattr(sparse, "_ENTRIES", 7)
    monkeypatch.setattr(item_weights, "_MEMORY", 4 * 13 * 4)  # four users at a time
    checked = 0
    for seed in range(20):
        matrix = draw_matrix(seed, density=[0.3, 0.7][seed % 2])
        if name == "itemknn" and has_ties(matrix, KINDS[name]):
            continue
        checked += 1
        model = make(name).fit(pairs_of(matrix))
        users = torch.tensor([5, 0, 2, 5, 12, 7, 1])
        np.testing.assert_allclose(
            model.scores(users).numpy(), dense(name, matrix, matrix[users.numpy()], KINDS[name]), atol=2e-5
        )
        new = draw_matrix(seed + 100, users=6)
        new[:, 3] = 1.0  # an item without users
        np.testing.assert_allclose(
            model.scores_of_new(pairs_of(new)).numpy(), dense(name, matrix, new, KINDS[name]), atol=2e-5
        )
    assert checked >= 3


@pytest.mark.parametrize("name", ["popularity", "two-hop", "ease"])
def test_similarity_is_the_score_of_a_history_of_one(name: str) -> None:
    matrix = draw_matrix(0)
    items = torch.tensor([4, 3, 0, 4])
    wanted = dense(name, matrix, np.eye(9)[items.numpy()], KINDS[name])
    np.testing.assert_allclose(make(name).fit(pairs_of(matrix)).similarities(items).numpy(), wanted, atol=2e-5)


def test_similarity_of_itemknn_is_the_discounted_cosine() -> None:
    matrix = draw_matrix(0)
    model = make("itemknn").fit(pairs_of(matrix))
    found = model.similarities(torch.tensor([4, 3, 0])).numpy()
    np.testing.assert_allclose(found, item_cosines(matrix, 2.0)[[4, 3, 0]], atol=1e-6)
    plain = make("itemknn", shrinkage=0.0).fit(pairs_of(matrix)).similarities(torch.tensor([4, 3]))
    np.testing.assert_allclose(plain.numpy(), item_cosines(matrix, 0.0)[[4, 3]], atol=1e-6)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), k=st.integers(1, 12))
def test_neighbours_are_the_most_similar_others(seed: int, k: int) -> None:
    matrix = draw_matrix(seed)
    model = ItemKNN(k=k, shrinkage=1.0).fit(pairs_of(matrix))
    weights = np.zeros((9, 9))
    rows = torch.repeat_interleave(torch.arange(9), model.indptr.diff())
    weights[model.columns.numpy(), rows.numpy()] = model.values.numpy()  # item, neighbour
    cosines = item_cosines(matrix, 1.0)
    np.fill_diagonal(cosines, 0.0)
    best = np.sort(cosines, axis=1)[:, ::-1][:, :k]
    np.testing.assert_allclose(np.sort(weights, axis=1)[:, ::-1][:, :k], best, atol=1e-6)
    assert ((weights > 0).sum(axis=1) <= k).all()
    np.testing.assert_allclose(weights[weights > 0], cosines[weights > 0], atol=1e-6)
    assert not np.diag(weights).any()


def test_recent_popularity() -> None:
    users, items = torch.arange(10), torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 2, 0])
    times = torch.tensor([0, 1, 2, 3, 4, 5, 8, 7, 9, 6])
    train = Interactions(users, items, num_users=10, num_items=3, times=times)
    assert Popularity().fit(train).scores(torch.tensor([0])).tolist() == [[7.0, 2.0, 1.0]]
    assert Popularity(scope="recent", share=0.3).fit(train).scores(torch.tensor([0])).tolist() == [[0.0, 2.0, 1.0]]
    with pytest.raises(InvalidInputError, match="needs times"):
        Popularity(scope="recent").fit(pairs_of(draw_matrix(0)))


@pytest.mark.parametrize("name", KINDS)
def test_state_goes_into_a_fresh_model(name: str) -> None:
    """As loading does: the constructor, what is seen, the state."""
    train = pairs_of(draw_matrix(1))
    model = make(name).fit(train)
    twin = make(name)
    twin.fit(pairs_of(draw_matrix(2, users=4, items=6)))  # of another shape
    twin.prepare(train, torch.Generator())
    twin.restore({key: value.clone() for key, value in model.state_dict().items()})
    users = torch.arange(13)
    assert torch.equal(twin.scores(users), model.scores(users))
    assert all(value.is_contiguous() for value in model.state_dict().values())


@pytest.mark.parametrize("name", KINDS)
def test_files(name: str, tmp_path: Path) -> None:
    model = make(name).fit(pairs_of(draw_matrix(1)))
    model.save(tmp_path / "model")
    twin = Recommender.load(tmp_path / "model")
    assert type(twin) is type(model) and twin.options == model.options
    assert torch.equal(twin.recommend(k=4).items, model.recommend(k=4).items)
    new = pairs_of(draw_matrix(5, users=3))
    assert torch.equal(twin.scores_of_new(new), model.scores_of_new(new))


@pytest.mark.parametrize("name", KINDS)
def test_what_all_do(name: str) -> None:
    train = pairs_of(draw_matrix(1))
    model = make(name)
    assert not model.fitted
    with pytest.raises(InvalidInputError, match="is not fitted yet"):
        model.scores(torch.tensor([0]))
    assert model.fit(train, train) is model and model.fitted
    first = model.scores(torch.tensor([0, 1]))
    first.fill_(-1.0)  # what is given is new
    again = model.scores(torch.tensor([0, 1]))
    assert not torch.equal(first, again) and again.shape == (2, 9) and again.dtype == torch.float32
    assert model.scores(torch.empty(0, dtype=torch.int64)).shape == (0, 9)
    shown = model.recommend([0], 5)
    assert not set(shown.items[0].tolist()) & set(train.of(torch.tensor([0]))[1].tolist())
    assert model.fold_in([[0, 4]], 3).items.shape == (1, 3)
    assert 4 not in model.similar_items([4], 8).items
    assert model.fit(pairs_of(draw_matrix(3, users=5, items=6))).scores(torch.tensor([4])).shape == (1, 6)
    with pytest.raises(InvalidInputError, match="training split is empty"):
        model.fit(pairs_of(np.zeros((2, 3))))
    assert set(model.hpo_default) <= set(model.options)


def test_ease_leaves_out_items_without_users() -> None:
    model = make("ease").fit(pairs_of(draw_matrix(0)))
    assert model.weights.shape == (8, 8)
    assert not model.scores(torch.arange(13))[:, 3].any()


def test_ease_of_too_many_items() -> None:
    with pytest.raises(InvalidInputError, match=r"EASE on 8 items .* needs 0.0 GiB .* max_items allows 7\. Raise"):
        EASE(max_items=7).fit(pairs_of(draw_matrix(0)))
    assert EASE(max_items=8).fit(pairs_of(draw_matrix(0))).fitted


def test_neighbours_need_two_items() -> None:
    with pytest.raises(InvalidInputError, match="at least 2 items, got 1"):
        ItemKNN().fit(pairs_of(np.ones((3, 1))))


@pytest.mark.parametrize(
    ("kind", "options", "match"),
    [
        (EASE, {"l2": 0.0}, "l2 must be a number above 0, got 0.0"),
        (EASE, {"l2": float("inf")}, "l2 must be a number above 0, got inf"),
        (EASE, {"max_items": 0}, "max_items must be at least 1"),
        (ItemKNN, {"k": 0}, "k must be at least 1"),
        (ItemKNN, {"shrinkage": -1}, "shrinkage must be a number of at least 0, got -1"),
        (ItemKNN, {"shrinkage": float("nan")}, "shrinkage must be"),
        (Popularity, {"scope": "new"}, "scope must be one of all, recent; got 'new'"),
        (Popularity, {"share": 0}, "share must be above 0"),
        (Popularity, {"share": 1.5}, "share must be between 0 and 1"),
    ],
)
def test_options_are_checked(kind: Any, options: dict[str, Any], match: str) -> None:
    with pytest.raises(InvalidInputError, match=match):
        kind(**options)


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 1000),
    scatter=st.sampled_from([0, 10**9]),
    piece=st.sampled_from([1, 5, 1000]),
    weighted=st.booleans(),
)
def test_products(seed: int, scatter: int, piece: int, weighted: bool) -> None:
    matrix, left = (
        draw_matrix(seed, 6, 8),
        draw_matrix(seed + 1, 4, 6) * np.random.default_rng(seed).normal(size=(4, 6)),
    )
    both = PairMatrix.build(pairs_of(matrix))
    targets, rows = (torch.from_numpy(one) for one in left.nonzero())
    weights = torch.from_numpy(left[left != 0]).float() if weighted else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sparse, "_SCATTER", scatter)
        patch.setattr(sparse, "_ENTRIES", piece)
        found = multiply(targets, rows, 4, both.of_users, both.of_items, weights)
        added = add_rows(torch.ones(4, 8), targets, rows, both.of_users, weights)
    wanted = (left if weighted else left != 0) @ matrix
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-5)
    np.testing.assert_allclose(added.numpy(), wanted + 1, atol=1e-5)


def test_values_of_a_sparse_matrix_count() -> None:
    matrix = CsrMatrix(torch.tensor([0, 2, 3]), torch.tensor([0, 1, 1]), torch.tensor([0.5, 2.0, 4.0]))
    found = add_rows(torch.zeros(1, 2), torch.tensor([0, 0]), torch.tensor([0, 1]), matrix, torch.tensor([1.0, 10.0]))
    assert found.tolist() == [[0.5, 42.0]]


def test_two_hop_never_stores_users_by_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a block takes is bounded whatever the number of users that are asked for."""
    sizes: list[int] = []
    real = item_weights.multiply

    def spy(*given_: Any, **more: Any) -> torch.Tensor:
        found = real(*given_, **more)
        sizes.append(found.shape[0])
        return found

    monkeypatch.setattr(item_weights, "multiply", spy)
    monkeypatch.setattr(item_weights, "_MEMORY", 4 * 13 * 3)
    make("two-hop").fit(pairs_of(draw_matrix(0))).scores(torch.arange(13))
    assert max(sizes) == 3
