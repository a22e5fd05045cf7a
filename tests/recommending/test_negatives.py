"""Negatives by name."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from kgneg.core.corruption import Corruptor
from kgneg.core.encode import LexicalEncoder
from kgneg.core.errors import InvalidInputError
from kgneg.core.handles import attach_scorer
from kgneg.core.typing import LongTensor
from kgneg.recommending import NEGATIVES, ItemGraph, build_negatives, read_item_graph
from kgneg.recsys.interactions import Interactions
from kgneg.recsys.item_vectors import ItemVectors, neighbour_agreement
from kgneg.recsys.negatives import NegativeItems, draw_negatives, log_proposal
from kgneg.samplers import DynamicCorruptor, LemonCorruptor, MixtureCorruptor, PopularityCorruptor, UniformCorruptor

USERS, ITEMS, GROUPS = 30, 60, 4
KINDS = ("uniform", "popularity", "dynamic", "text", "graph", "mixture:text=0.3,graph=0.2,uniform=0.5")


@pytest.fixture(scope="module")
def train() -> Interactions:
    """Users who prefer one of four groups of items; the group of an item is its id modulo four."""
    generator = torch.Generator().manual_seed(0)
    users = torch.arange(USERS).repeat_interleave(12)
    draw = torch.randint(ITEMS // GROUPS, users.shape, generator=generator)
    near = torch.rand(users.shape, generator=generator) < 0.8
    group = torch.where(near, users % GROUPS, torch.randint(GROUPS, users.shape, generator=generator))
    labels = [f"item {number}" for number in range(ITEMS)]
    return Interactions(users, draw * GROUPS + group, num_users=USERS, num_items=ITEMS, item_labels=labels)


@pytest.fixture(scope="module")
def material() -> dict[str, Any]:
    """Texts and a graph that tell the group of all items but the first three."""
    words = ("violin concerto", "murder mystery", "football match", "garden flowers")
    texts = [f"{words[number % GROUPS]} {number}" if number > 2 else None for number in range(ITEMS)]
    triples = [[number, 0, ITEMS + number % GROUPS] for number in range(ITEMS)]
    entities = torch.arange(ITEMS)
    entities[:3] = -1
    labels = tuple(map(str, range(ITEMS + GROUPS)))
    graph = ItemGraph(torch.tensor(triples), entities, labels, ("about",))
    return {"texts": texts, "encoder": LexicalEncoder(128), "graph": graph}


def draw(corruptor: Corruptor, pairs: Interactions, n: int = 8, seed: int = 0) -> NegativeItems:
    return draw_negatives(
        corruptor, pairs.users, pairs.items, n, torch.Generator().manual_seed(seed), interactions=pairs
    )


def ready(corruptor: Corruptor) -> Corruptor:
    if isinstance(corruptor, DynamicCorruptor):
        attach_scorer(corruptor, lambda queries, ids: torch.sin(queries.relation[:, None] * 7.0 + ids * 13))
    return corruptor


@pytest.mark.parametrize("name", KINDS)
def test_every_kind(name: str, train: Interactions, material: Mapping[str, Any]) -> None:
    own = {"pool": 20} if name == "dynamic" else {}
    first, again = (ready(build_negatives(name, train, seed=3, **material, **own)) for _ in range(2))
    drawn = draw(first, train)
    has = torch.zeros(USERS, ITEMS, dtype=torch.bool)
    has[train.users, train.items] = True
    assert not has[train.users[:, None], drawn.items].any()
    assert torch.equal(drawn.items, draw(again, train).items)
    assert not torch.equal(drawn.items, draw(first, train, seed=1).items)
    assert first.sides.policy == "tail"
    assert (first.num_relations, first.num_entities) == (USERS, ITEMS)


@pytest.mark.parametrize("name", ["text", "graph"])
def test_near_items_are_of_the_same_group(name: str, train: Interactions, material: Mapping[str, Any]) -> None:
    corruptor = build_negatives(name, train, n_clusters=GROUPS, n_nearest=1, **material)
    assert isinstance(corruptor, LemonCorruptor)
    drawn = draw(corruptor, train)
    same = drawn.items % GROUPS == train.items[:, None] % GROUPS
    known = (train.items > 2)[:, None].expand_as(same)
    assert same[known & ~drawn.fallback].all()
    assert (~drawn.fallback[known]).double().mean() > 0.99
    assert drawn.items[~drawn.fallback].min() > 2  # nothing is known of these, so they are drawn by chance only
    assert drawn.fallback[~known].all()
    assert corruptor.counts["fallback"] == int(drawn.fallback.sum()) > 0


def test_what_is_missing_is_said(
    train: Interactions, material: Mapping[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        build_negatives("text", train, **material)
    assert "text: 3 of 60 items have no vector, and get uniform negatives" in caplog.text
    assert "hardly more alike" not in caplog.text
    texts = material["texts"]
    caplog.clear()
    shuffled = [texts[number] for number in torch.randperm(ITEMS, generator=torch.Generator().manual_seed(3)).tolist()]
    build_negatives("text", train, texts=shuffled, encoder=material["encoder"])
    assert "do the texts belong to these items?" in caplog.text


def test_vectors_or_texts_by_label(train: Interactions, material: Mapping[str, Any]) -> None:
    texts, encoder = material["texts"], material["encoder"]
    expected = draw(build_negatives("text", train, texts=texts, encoder=encoder), train).items
    by_label = {f"item {number}": text for number, text in enumerate(texts) if text} | {"elsewhere": "a text"}
    blank = [text or "  " for text in texts]
    vectors = torch.from_numpy(encoder.encode([text or "" for text in texts]))
    for more in ({"texts": by_label, "encoder": encoder}, {"texts": blank, "encoder": encoder}, {"vectors": vectors}):
        assert torch.equal(draw(build_negatives("text", train, **more), train).items, expected)


def test_options_arrive(train: Interactions, material: Mapping[str, Any]) -> None:
    popular = build_negatives("popularity", train, alpha=1.0, smoothing=0.0)
    items = torch.arange(ITEMS)
    torch.testing.assert_close(log_proposal(popular, items).exp(), train.item_counts / len(train))
    dynamic = build_negatives("dynamic", train, pool=9, skip_top=1, share=0.5)
    assert isinstance(dynamic, DynamicCorruptor)
    assert (dynamic.pool, dynamic.screen.skip_top, dynamic.screen.share) == (9, 1, 0.5)
    assert dynamic.source is None
    kinds = {"popularity": PopularityCorruptor, "graph": LemonCorruptor, "mixture:text,uniform": MixtureCorruptor}
    for source, kind in kinds.items():
        dynamic = build_negatives("dynamic", train, pool_from=source, **material)
        assert isinstance(dynamic, DynamicCorruptor)
        assert type(dynamic.source) is kind
        assert not draw(ready(dynamic), train).fallback[train.items > 2].all()
    own = {"alpha": 1.0, "smoothing": 0.0}
    dynamic = build_negatives("dynamic", train, pool_from="popularity", pool_from_kwargs=own)
    assert isinstance(dynamic, DynamicCorruptor)
    assert isinstance(dynamic.source, PopularityCorruptor)
    torch.testing.assert_close(dynamic.source.log_proposal(items), log_proposal(popular, items))
    graph = build_negatives("graph", train, hops=2, vector_dim=3, rank_low=1, rank_high=5, **material)
    assert isinstance(graph, LemonCorruptor)
    assert (graph.settings.anchor, graph.settings.rank_low, graph.settings.rank_high) == ("replaced", 1, 5)


@pytest.mark.parametrize(
    "name",
    [
        "mixture:graph=0.3,uniform=0.7",
        " mixture: graph = 3 , uniform = 7",
        {"graph": 3, "uniform": 7},
        [("graph", 0.3), ("uniform", 0.7)],
    ],
    ids=str,
)
def test_spellings_of_a_mixture(name: Any, train: Interactions, material: Mapping[str, Any]) -> None:
    own = {"graph": {"n_clusters": 5}}
    mixture = build_negatives(name, train, components_kwargs=own, **material)
    assert isinstance(mixture, MixtureCorruptor)
    assert mixture.shares == pytest.approx((0.3, 0.7))
    graph, uniform = mixture.components
    assert isinstance(graph, LemonCorruptor)
    assert isinstance(uniform, UniformCorruptor)
    assert graph.settings.n_clusters == 5


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("magic", {}, "unknown negatives 'magic'; known: uniform, popularity, dynamic, text, graph, mixture"),
        ("uniform:popularity=1", {}, "unknown negatives 'uniform:popularity=1'"),
        ("uniform", {"alpha": 1}, "unknown option of the negatives 'uniform': alpha; known: none"),
        ("popularity", {"beta": 1, "pool": 2}, "'popularity': beta, pool; known: alpha, smoothing"),
        ("text", {"anchor": "kept"}, "'text': anchor; known: dim, n_clusters, n_nearest"),
        ("graph", {"hop": 2}, "'graph': hop; known: .*vector_dim, hops"),
        ("text", {}, "need texts="),
        ("graph", {}, "need graph="),
        ("graph", {"graph": "a.kg"}, "with links="),
        ("text", {"texts": ["a"] * 59}, "one for each of 60 items, or by label; got 59"),
        ("text", {"texts": "a"}, "got a string"),
        ("text", {"texts": {}}, "none of 60 items has a text"),
        ("text", {"texts": {"item 1": "one"}, "encoder": "lexical"}, "1 of 60 items have a vector from the text: two"),
        ("text", {"texts": ["a"] * 60, "vectors": torch.ones(60, 2)}, "both vectors and texts"),
        ("text", {"vectors": torch.ones(59, 2)}, "59 vectors for 60"),
        ("text", {"vectors": torch.full((60, 2), torch.nan)}, "NaN"),
        ("mixture", {}, "'' is no component of a mixture; known: uniform, popularity, dynamic, text, graph"),
        ("mixture:mixture=1", {}, "'mixture' is no component"),
        ("mixture:uniform=much", {}, "share of uniform must be a number, got 'much'"),
        ("mixture:uniform=0,popularity=1", {}, "weights must be positive"),
        ("mixture:uniform=1,uniform=2", {}, "uniform is named twice"),
        ({}, {}, "at least one component"),
        ("mixture:uniform", {"components_kwargs": {"graph": {}}}, "names graph; the components are uniform"),
        ("mixture:popularity", {"components_kwargs": {"popularity": {"a": 1}}}, "option of the negatives 'popularity'"),
        ("dynamic", {"pool_from": "dynamic"}, "pool_from='dynamic' would choose from what it chose itself"),
        ("dynamic", {"pool_from": "magic"}, "unknown negatives 'magic'"),
        ("dynamic", {"pool_from_kwargs": {"alpha": 1}}, "'uniform': alpha"),
        ("dynamic", {"pool": 0}, "pool must be at least 1"),
    ],
)  # fmt: skip
def test_refusals(name: Any, options: dict[str, Any], message: str, train: Interactions) -> None:
    with pytest.raises(InvalidInputError, match=message):
        build_negatives(name, train, **options)


def test_a_graph_of_other_items(train: Interactions, material: Mapping[str, Any]) -> None:
    graph = material["graph"]
    other = ItemGraph(graph.triples, graph.item_entities[:9], graph.entity_labels, graph.relation_labels)
    with pytest.raises(InvalidInputError, match="links 9 items, but there are 60"):
        build_negatives("graph", train, graph=other)


def test_all_kinds_are_tested() -> None:
    assert {name.partition(":")[0] for name in KINDS} == set(NEGATIVES)


# Real data


def shared_neighbours(graph: ItemGraph, left: LongTensor, right: LongTensor) -> float:
    """Return the mean number of neighbours that linked pairs of items have in common."""
    near: dict[int, set[int]] = {}
    for head, _, tail in graph.triples.tolist():
        near.setdefault(head, set()).add(tail)
        near.setdefault(tail, set()).add(head)
    pairs = zip(graph.item_entities[left].tolist(), graph.item_entities[right].tolist(), strict=True)
    counts = [len(near[one] & near[other]) for one, other in pairs if one >= 0 and other >= 0]
    return sum(counts) / len(counts)


def test_graph_negatives_share_neighbours(movielens: Interactions, recsys_folder: Callable[[str], Path]) -> None:
    folder = recsys_folder("ml-100k")
    kg, link = folder / "ml-100k.kg.gz", folder / "ml-100k.link.gz"
    graph = read_item_graph(kg, link, movielens)
    rows = torch.randint(len(movielens), (1500,), generator=torch.Generator().manual_seed(0))
    users, items = movielens.users[rows], movielens.items[rows]
    shared = {}
    for name in ("uniform", "graph", "mixture:graph=0.5,uniform=0.5"):
        corruptor = build_negatives(name, movielens, graph=graph)
        drawn = draw_negatives(corruptor, users, items, 4, torch.Generator().manual_seed(1), interactions=movielens)
        assert not movielens.contains(users[:, None].expand(-1, 4), drawn.items).any()
        assert bool(drawn.fallback[graph.item_entities[items] < 0].any()) is (name != "uniform")
        shared[name] = shared_neighbours(graph, items.repeat_interleave(4), drawn.items.reshape(-1))
    assert shared["graph"] > 1.5 * shared["uniform"]
    assert shared["graph"] > shared["mixture:graph=0.5,uniform=0.5"] > shared["uniform"]
    from_files = build_negatives("graph", movielens, graph=kg, links=link)
    assert torch.equal(
        draw(from_files, movielens).items, draw(build_negatives("graph", movielens, graph=graph), movielens).items
    )


def test_links_that_agree_with_the_users(lastfm: Interactions, recsys_folder: Callable[[str], Path]) -> None:
    folder = recsys_folder("lastfm-kg")
    found = read_item_graph(folder / "kg.txt.gz", folder / "item_index2entity_id.txt.gz", lastfm).vectors()
    assert neighbour_agreement(lastfm, found) > 2
    known = found.known.nonzero().squeeze(-1)
    mixed = found.vectors.clone()
    mixed[known] = found.vectors[known[torch.randperm(len(known), generator=torch.Generator().manual_seed(0))]]
    assert neighbour_agreement(lastfm, ItemVectors(mixed, found.known)) < 2
