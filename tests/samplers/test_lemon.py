"""LEMON against plain restatements: of the published algorithm, of cosine ranks, of similarity bounds, of types."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chi2_contingency, chisquare
from sklearn.cluster import KMeans

from kgneg.core.candidates import CandidateIndex
from kgneg.core.errors import InvalidInputError
from kgneg.core.sides import SidePolicy
from kgneg.core.triples import TripleIndex
from kgneg.core.typing import HEAD, TAIL, FloatTensor, LongTensor
from kgneg.samplers import LemonCorruptor, LemonSettings, build_lemon_pools, lemon_pools

Triple = tuple[int, int, int]

ENTITIES, RELATIONS = 90, 2
PER_CLUMP = 6
P_VALUE = 1e-4  # for a whole test; divided by the number of comparisons in it


def clumps(seed: int = 0) -> np.ndarray:
    """15 well separated groups of 6 entities in 7 dimensions, so that every good k-means finds the same clusters."""
    rng = np.random.default_rng(seed)
    angle = 2 * np.pi * (np.arange(15) + rng.uniform(-0.08, 0.08, 15)) / 15
    centres = np.zeros((15, 7))
    centres[:, 0], centres[:, 1] = 10 * np.cos(angle), 7 * np.sin(angle)
    rotation, _ = np.linalg.qr(rng.normal(size=(7, 7)))
    order = rng.permutation(ENTITIES)
    noise = rng.normal(scale=0.05, size=(ENTITIES, 7))
    return ((centres.repeat(PER_CLUMP, axis=0) + noise) @ rotation)[order]


class Published:
    """The published procedure, one triple at a time, as its release does it."""

    def __init__(self, vectors: np.ndarray, train: set[Triple], *, dim: int | None, anchor: str) -> None:
        self.train, self.anchor = train, anchor
        if dim is None:
            self.points = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        else:
            centred = vectors - vectors.mean(axis=0)
            _, _, axes = np.linalg.svd(centred, full_matrices=False)
            self.points = centred @ axes[:dim].T
        model = KMeans(n_clusters=15, n_init=10, max_iter=300, random_state=1234).fit(self.points)
        self.labels, self.centres = model.labels_, model.cluster_centers_

    def pool(self, anchor: int) -> np.ndarray:
        distance = [float(((self.points[anchor] - centre) ** 2).sum()) for centre in self.centres]
        nearest = sorted(range(15), key=lambda cluster: distance[cluster])[:3]
        return np.flatnonzero(np.isin(self.labels, nearest))

    def draw(self, triple: Triple, column: int, n: int, rng: np.random.Generator) -> list[int]:
        head, relation, tail = triple
        kept, replaced = (tail, head) if column == HEAD else (head, tail)
        pool = self.pool(kept if self.anchor == "kept" else replaced)
        found: list[int] = []
        while len(found) < n:
            proposed = rng.choice(pool, size=2 * n)
            made = [(e, relation, tail) if column == HEAD else (head, relation, e) for e in proposed.tolist()]
            left = [int(e) for e, one in zip(proposed, made, strict=True) if one not in self.train]
            if not left:
                pool = np.arange(ENTITIES)
            found += left
        return found[:n]


def graph_for(published: Published) -> list[Triple]:
    """Triples of each kind: many survivors, few, none (fall-back), at either end."""
    rng = np.random.default_rng(5)
    triples = {tuple(map(int, row)) for row in rng.integers([ENTITIES, 1, ENTITIES], size=(60, 3))}
    for entity, share in ((3, 1.0), (4, 0.7), (5, 0.3)):
        pool = published.pool(entity)
        for member in rng.choice(pool, size=round(share * len(pool)), replace=False).tolist():
            triples |= {(entity, 1, member), (member, 1, entity)}
    return sorted(triples)


def probes(triples: Sequence[Triple]) -> list[Triple]:
    dense = [next(t for t in triples if t[1] == 1 and t[column] == e) for e in (3, 4, 5) for column in (HEAD, TAIL)]
    return [*dense, *[t for t in triples if t[1] == 0][:4]]


def counts_of(entities: Sequence[int] | np.ndarray) -> np.ndarray:
    return np.bincount(np.asarray(entities), minlength=ENTITIES)


def assert_same_distribution(first: np.ndarray, second: np.ndarray, bound: float) -> None:
    table = np.stack([first, second])
    table = table[:, table.sum(axis=0) > 0]
    assert table.shape[1] > 1
    assert chi2_contingency(table).pvalue > bound


@pytest.mark.parametrize(("anchor", "dim"), [("kept", 2), ("replaced", 2), ("kept", None), ("replaced", None)])
def test_same_distribution_as_the_published_procedure(anchor: str, dim: int | None) -> None:
    vectors = clumps()
    train: set[Triple] = set()
    published = Published(vectors, train, dim=dim, anchor=anchor)
    train |= set(graph_for(published))
    triples = torch.tensor(sorted(train))
    sizes = {"num_entities": ENTITIES, "num_relations": RELATIONS}
    paper = LemonSettings.paper()
    settings = LemonSettings(**{**paper.to_dict(), "anchor": anchor, "dim": dim})
    assert (settings == paper) == (anchor == "kept" and dim == 2)
    lemon = LemonCorruptor.from_vectors(
        torch.from_numpy(vectors),
        settings,
        index=TripleIndex(triples, **sizes),
        sides=SidePolicy("alternate"),
        seed=17,
        **sizes,
    )
    rng = np.random.default_rng(8)
    chosen = probes(sorted(train))
    n, repeats = 200, 110
    easy = triples[triples[:, 1] == 0].repeat(250, 1)  # as in a usual batch, most positives are easy
    batch = torch.cat([torch.tensor(chosen).repeat_interleave(repeats, dim=0), easy])
    flagged = {}
    for column in (HEAD, TAIL):
        negatives = lemon(batch, n)
        assert (negatives.side == column).all()  # the sides alternate
        for row, triple in enumerate(chosen):
            part = slice(row * repeats, (row + 1) * repeats)
            flagged[triple, column] = float(negatives.fallback[part].double().mean())
            expected = [e for _ in range(repeats) for e in published.draw(triple, column, n, rng)]
            drawn = counts_of(negatives.entity[part].reshape(-1).numpy())
            assert drawn.sum() == len(expected) == 22_000
            assert_same_distribution(drawn, counts_of(expected), P_VALUE / (2 * len(chosen)))
    if anchor == "kept":  # both paths were taken
        assert sum(share == 1 for share in flagged.values()) == 2
    assert sum(share == 0 for share in flagged.values()) >= len(flagged) - 4


def test_other_procedures_are_told_apart() -> None:
    """The comparison above notices the other anchor, another number of clusters and a missing filter."""
    vectors = clumps()
    train: set[Triple] = set()
    published = Published(vectors, train, dim=2, anchor="kept")
    train |= set(graph_for(published))
    sizes = {"num_entities": ENTITIES, "num_relations": RELATIONS}
    triple = probes(sorted(train))[5]
    rng = np.random.default_rng(1)
    expected = counts_of([e for _ in range(110) for e in published.draw(triple, HEAD, 200, rng)])
    index = TripleIndex(torch.tensor(sorted(train)), **sizes)
    for change, kept_index in (({"anchor": "replaced"}, index), ({"n_nearest": 2}, index), ({}, None)):
        settings = LemonSettings(**{**LemonSettings.paper().to_dict(), **change})
        lemon = LemonCorruptor.from_vectors(
            torch.from_numpy(vectors), settings, index=kept_index, sides=SidePolicy("head"), seed=1, **sizes
        )
        drawn = counts_of(lemon(torch.tensor(triple).expand(110, 3), 200).entity.reshape(-1).numpy())
        with pytest.raises(AssertionError):
            assert_same_distribution(drawn, expected, P_VALUE)


def test_alternating_sides_in_paper_mode() -> None:
    lemon = LemonCorruptor.from_vectors(
        torch.from_numpy(clumps()),
        LemonSettings.paper(),
        sides=SidePolicy("alternate"),
        num_entities=ENTITIES,
        num_relations=RELATIONS,
        seed=0,
    )
    positives = torch.tensor([[0, 0, 1], [2, 1, 3]])
    assert [lemon(positives, 3).side.unique().tolist() for _ in range(4)] == [[HEAD], [TAIL], [HEAD], [TAIL]]


# Rank windows and similarity bounds


def random_vectors(number: int = 70, seed: int = 3) -> FloatTensor:
    return torch.randn(number, 5, generator=torch.Generator().manual_seed(seed)) + 0.3


def cosines(vectors: FloatTensor) -> np.ndarray:
    unit = vectors.double().numpy()
    unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
    return unit @ unit.T


def pool_of(built: lemon_pools.LemonPools, entity: int) -> set[int]:
    return {member for row in built.rows[entity].tolist() for member in built.pools.members(row).tolist()}


def support(lemon: LemonCorruptor, positive: LongTensor, draws: int = 4000) -> dict[int, set[int]]:
    negatives = lemon(positive.expand(draws, 3), 2)
    assert not negatives.fallback.any()
    return {side: set(negatives.entity[negatives.side == side].tolist()) for side in (HEAD, TAIL)}


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 10), (3, 8), (60, 69), (5, 500)])
def test_rank_window_is_exact(low: int, high: int) -> None:
    vectors = random_vectors()
    built = build_lemon_pools(vectors, LemonSettings(rank_low=low, rank_high=high))
    similarity = cosines(vectors)
    for entity in range(len(vectors)):
        others = [e for e in np.argsort(-similarity[entity]).tolist() if e != entity]
        assert pool_of(built, entity) == set(others[low:high])


@pytest.mark.parametrize("anchor", ["kept", "replaced"])
def test_draws_come_from_the_rank_window_of_the_anchor(anchor: str) -> None:
    vectors = random_vectors()
    settings = LemonSettings(anchor=anchor, rank_low=2, rank_high=9)
    lemon = LemonCorruptor.from_vectors(vectors, settings, num_entities=70, num_relations=1, seed=0)
    similarity = cosines(vectors)
    window = {}
    for entity in (11, 42):
        others = [e for e in np.argsort(-similarity[entity]).tolist() if e != entity]
        window[entity] = set(others[2:9]) - {11 if anchor == "kept" and entity == 42 else -1}
    drawn = support(lemon, torch.tensor([11, 0, 42]))
    head_anchor, tail_anchor = (42, 11) if anchor == "kept" else (11, 42)
    assert drawn[HEAD] == window[head_anchor] - {11}
    assert drawn[TAIL] == window[tail_anchor] - {42}


def test_rank_window_with_similarity_bounds() -> None:
    vectors = random_vectors()
    built = build_lemon_pools(vectors, LemonSettings(rank_low=1, rank_high=30, min_similarity=0.1, max_similarity=0.7))
    similarity = cosines(vectors)
    cut = 0
    for entity in range(len(vectors)):
        others = [e for e in np.argsort(-similarity[entity]).tolist() if e != entity][1:30]
        expected = {e for e in others if 0.1 <= similarity[entity, e] <= 0.7}
        cut += len(expected) < 29
        assert pool_of(built, entity) == expected
    assert cut > 30


@pytest.mark.parametrize(
    ("low", "high"), [(0.2, None), (None, 0.4), (-0.3, 0.6), (1.0, None), (None, -1.0), (-1.0, 1.0)]
)
@pytest.mark.parametrize("n_nearest", [2, 6])
def test_similarity_bounds_are_exact(
    low: float | None, high: float | None, n_nearest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lemon_pools, "_BLOCK", 7 * 70)  # ten blocks
    vectors = random_vectors()
    shape = {"dim": None, "n_clusters": 6, "n_nearest": n_nearest}
    bounded = build_lemon_pools(vectors, LemonSettings(**shape, min_similarity=low, max_similarity=high))
    clusters = build_lemon_pools(vectors, LemonSettings(**shape))
    similarity = cosines(vectors)
    floor, ceiling = -2.0 if low is None else low, 2.0 if high is None else high
    for entity in range(len(vectors)):
        near = pool_of(clusters, entity) if n_nearest < 6 else set(range(70))
        inside = {e for e in range(70) if floor - 1e-6 <= similarity[entity, e] <= ceiling + 1e-6}
        assert pool_of(bounded, entity) == near & inside


def test_empty_similarity_pools_take_the_fall_back() -> None:
    settings = LemonSettings(dim=None, n_clusters=4, n_nearest=4, max_similarity=-1.0)
    lemon = LemonCorruptor.from_vectors(random_vectors(), settings, num_entities=70, num_relations=1, seed=0)
    negatives = lemon(torch.tensor([[0, 0, 1]]).expand(500, 3), 4)
    assert negatives.fallback.all()
    assert lemon.counts["fallback"] == lemon.counts["rejected"] == 2000
    assert len(negatives.entity.unique()) == 70


# Types


SHAPES: dict[str, dict[str, Any]] = {
    "clusters": {"dim": 2, "n_clusters": 8, "n_nearest": 3},
    "one cluster": {"dim": None, "n_clusters": 8, "n_nearest": 1},
    "ranks": {"rank_high": 25},
    "similarity": {"dim": None, "n_clusters": 4, "n_nearest": 4, "min_similarity": 0.0},
}


@pytest.mark.parametrize("anchor", ["kept", "replaced"])
@pytest.mark.parametrize("shape", list(SHAPES))
def test_types_are_intersected(shape: str, anchor: str) -> None:
    """Uniform over anchor pool and type; over the whole type where they share nothing."""
    entities, relations = 70, 4
    sizes = {"num_entities": entities, "num_relations": relations}
    rng = np.random.default_rng(2)
    wide = rng.integers([entities, 1, entities], size=(60, 3))
    narrow = np.stack([rng.integers(0, 4, 12), np.full(12, 1), rng.integers(60, 64, 12)], axis=1)
    anything = np.stack([np.arange(entities), np.full(entities, 3), np.arange(entities)[::-1]], axis=1)
    pairs = np.stack([np.arange(10, 26), np.full(16, 2), 8 + np.arange(16) % 2], axis=1)  # two tails
    triples = torch.from_numpy(np.concatenate([wide, narrow, pairs, anything])).unique(dim=0)
    seen = {
        (relation, side): {t[side] for t in triples.tolist() if t[1] == relation}
        for relation in range(relations)
        for side in (HEAD, TAIL)
    }
    vectors = random_vectors()
    settings = LemonSettings(anchor=anchor, **SHAPES[shape])
    types = CandidateIndex.from_relation_types(triples, **sizes)
    built = build_lemon_pools(vectors, settings)
    lemon = LemonCorruptor(built, settings, types=types, seed=4, **sizes)
    easy = triples[triples[:, 1] == 3].repeat(3000, 1)  # as in a usual batch, most positives are easy
    chosen = torch.cat([triples[triples[:, 1] == 0][::10], triples[(triples[:, 1] == 1) | (triples[:, 1] == 2)]])
    repeats = 80
    negatives = lemon(torch.cat([chosen.repeat_interleave(repeats, dim=0), easy]), 12)
    checks, retreats, narrowed = [], 0, 0
    for row, (head, relation, tail) in enumerate(chosen.tolist()):
        part = slice(row * repeats, (row + 1) * repeats)
        for side, own, other in ((HEAD, head, tail), (TAIL, tail, head)):
            fitting = seen[relation, side] - {own}
            both = pool_of(built, own if anchor == "replaced" else other) & fitting
            here = negatives.side[part] == side
            expected = both or fitting
            retreats += not both
            narrowed += 0 < len(both) < len(fitting)
            fallback = negatives.fallback[part][here]
            drawn = negatives.entity[part][here][~fallback].tolist()
            assert set(drawn) <= fitting
            if both and settings.per_entity:  # found by rejection, so that rare members are given up now and then
                inside = [entity for entity in drawn if entity in both]
                assert len(inside) > (0.97 if len(both) > 5 else 0.1) * len(drawn)
                drawn = inside
            # the retreat has a few attempts only, which can all hit the replaced entity where the type is tiny
            share = float(fallback.double().mean())
            assert share == (not expected) or (expected and len(fitting) < 4 and share < 0.05)
            assert set(drawn) == expected
            if len(expected) > 1:
                checks.append(chisquare([drawn.count(e) for e in sorted(expected)]).pvalue)
    assert min(checks) > P_VALUE / len(checks)
    assert retreats
    assert narrowed


def test_a_relation_without_type_takes_the_fall_back() -> None:
    sizes = {"num_entities": 70, "num_relations": 2}
    types = CandidateIndex.from_relation_types(torch.tensor([[0, 0, 1]]), **sizes)
    for shape in SHAPES.values():
        lemon = LemonCorruptor.from_vectors(random_vectors(), LemonSettings(**shape), types=types, seed=0, **sizes)
        assert lemon(torch.tensor([[0, 1, 1], [5, 1, 6]]), 6).fallback.all()


# Pools


def same(first: lemon_pools.LemonPools, second: lemon_pools.LemonPools) -> bool:
    return first.pools.fingerprint() == second.pools.fingerprint() and torch.equal(first.rows, second.rows)


@pytest.mark.parametrize("shape", list(SHAPES))
def test_pools_depend_on_the_seed_alone(shape: str) -> None:
    vectors = random_vectors()
    settings = LemonSettings(**SHAPES[shape], seed=5)
    first = build_lemon_pools(vectors, settings)
    torch.rand(3)  # the global stream does not matter
    assert same(first, build_lemon_pools(vectors, settings))
    assert same(first, build_lemon_pools(vectors.double(), settings))


def test_another_seed_gives_other_clusters() -> None:
    vectors = random_vectors()
    built = [build_lemon_pools(vectors, LemonSettings(seed=seed, iterations=1)) for seed in range(4)]
    assert not all(same(built[0], other) for other in built[1:])


@pytest.mark.parametrize("copies", [1, 40])
def test_more_clusters_than_distinct_vectors(copies: int, caplog: pytest.LogCaptureFixture) -> None:
    distinct = random_vectors(5)
    vectors = distinct.repeat(copies, 1)
    settings = LemonSettings(dim=None, n_clusters=15, n_nearest=7)
    with caplog.at_level(logging.WARNING, logger="kgneg"):
        built = build_lemon_pools(vectors, settings)
    assert "15 clusters are too many for 5 distinct vectors: making 5" in caplog.text
    assert built.pools.num_rows == 5
    assert built.rows.shape == (len(vectors), 5)
    members = [set(built.pools.members(row).tolist()) for row in range(5)]
    assert sorted(map(sorted, members)) == [list(range(row, 5 * copies, 5)) for row in range(5)]
    sizes = {"num_entities": len(vectors), "num_relations": 1}
    lemon = LemonCorruptor(built, settings, seed=0, **sizes)
    assert not lemon(torch.tensor([[0, 0, 1]]), 8).fallback.any()


def test_settings_that_fit_are_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    settings = LemonSettings(n_clusters=6, n_nearest=4)
    assert settings.for_entities(6) is settings
    assert not caplog.records
    assert settings.for_entities(3).to_dict() == {**settings.to_dict(), "n_clusters": 3, "n_nearest": 3}
    assert settings.for_entities(5).n_nearest == 4


# Refusals


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"anchor": "both"}, "anchor must be one of replaced, kept; got 'both'"),
        ({"n_clusters": 0}, "n_clusters must be at least 1, got 0"),
        ({"n_nearest": 0}, "n_nearest must be at least 1, got 0"),
        ({"restarts": 0}, "restarts must be at least 1, got 0"),
        ({"iterations": 1.5}, "iterations must be an integer, got 1.5"),
        ({"dim": 0}, "dim must be at least 1, got 0"),
        ({"dim": "2"}, "dim must be an integer, got '2'"),
        ({"n_clusters": 2, "n_nearest": 3}, "n_nearest=3 exceeds n_clusters=2"),
        ({"rank_low": -1, "rank_high": 3}, "rank_low must be at least 0, got -1"),
        ({"rank_high": 0}, "rank_high must be at least 1, got 0"),
        ({"rank_low": 5, "rank_high": 5}, "rank_high=5 must be larger than rank_low=5"),
        ({"rank_low": 5}, "rank_low=5 needs rank_high"),
        ({"min_similarity": 1.1}, r"min_similarity is a cosine and must be in \[-1, 1\], got 1.1"),
        ({"max_similarity": -1.1}, r"max_similarity is a cosine and must be in \[-1, 1\], got -1.1"),
        ({"max_similarity": float("nan")}, "max_similarity is a cosine"),
        ({"min_similarity": 0.5, "max_similarity": 0.4}, "min_similarity=0.5 exceeds max_similarity=0.4"),
    ],
)
def test_settings_refuse(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        LemonSettings(**arguments)


def spoilt(row: int, value: float) -> FloatTensor:
    vectors = random_vectors(20)
    vectors[row, 1] = value
    return vectors


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: build_lemon_pools(spoilt(13, float("nan")), LemonSettings()),
            "1 of 20 vectors .* the first in row 13",
        ),
        (lambda: build_lemon_pools(spoilt(4, float("inf")), LemonSettings(rank_high=3)), "the first in row 4"),
        (lambda: build_lemon_pools(torch.ones(20), LemonSettings()), r"must have shape \(n, d\)"),
        (
            lambda: build_lemon_pools(random_vectors(20), LemonSettings(rank_low=19, rank_high=25)),
            "rank_low=19 leaves no neighbour: there are only 19 other entities",
        ),
    ],
)
def test_pools_refuse(build: Callable[[], Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        build()


def test_similarity_pools_that_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = LemonSettings(dim=None, n_clusters=3, n_nearest=3, min_similarity=-1.0)
    monkeypatch.setattr(lemon_pools, "_MAX_MEMBERS", 400)
    build_lemon_pools(random_vectors(20), settings)  # 20 x 20 members just fit
    monkeypatch.setattr(lemon_pools, "_MAX_MEMBERS", 399)
    with pytest.raises(InvalidInputError, match="hold more than 399 members"):
        build_lemon_pools(random_vectors(20), settings)


def test_pools_for_another_graph() -> None:
    settings = LemonSettings()
    built = build_lemon_pools(random_vectors(20), settings)
    with pytest.raises(InvalidInputError, match="pools for 20 entities do not fit 21 entities"):
        LemonCorruptor(built, settings, num_entities=21, num_relations=1)
    with pytest.raises(InvalidInputError, match="pools for 70 entities do not fit 20 entities"):
        LemonCorruptor.from_vectors(random_vectors(), settings, num_entities=20, num_relations=1)
    for lists, columns, message in (
        ([[0]], 20, "types need two rows per relation: 2, got 1"),
        ([[0], [24]], 25, "types for 25 entities do not fit 20 entities"),
    ):
        types = CandidateIndex.from_lists(lists, num_columns=columns)
        with pytest.raises(InvalidInputError, match=message):
            LemonCorruptor(built, settings, types=types, num_entities=20, num_relations=1)


def test_more_components_than_there_are_become_all(caplog: pytest.LogCaptureFixture) -> None:
    vectors = random_vectors(20)
    pools = build_lemon_pools(vectors, LemonSettings(dim=6, n_clusters=4))
    assert "5 components, not 6" in caplog.text
    assert torch.equal(pools.rows, build_lemon_pools(vectors, LemonSettings(dim=5, n_clusters=4)).rows)
