from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from kgneg.core.candidates import CandidateIndex
from kgneg.core.errors import InvalidInputError
from kgneg.core.storage import read_tensors, write_tensors

Pools = dict[tuple[int, int], float]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def lists(pools: CandidateIndex) -> list[list[int]]:
    return [pools.members(row).tolist() for row in range(pools.num_rows)]


def contents(pools: CandidateIndex) -> Pools:
    rows, members = pools.pairs()
    weights = torch.ones(len(rows)) if pools.weights is None else pools.weights
    return {
        (row, member): weight
        for row, member, weight in zip(rows.tolist(), members.tolist(), weights.tolist(), strict=True)
    }


def assert_well_formed(pools: CandidateIndex) -> None:
    for members in lists(pools):
        assert members == sorted(set(members))
    assert pools.indices.dtype == torch.int32
    assert pools.indptr.dtype == torch.int64


@st.composite
def pair_lists(draw: st.DrawFn, weighted: bool | None = None) -> tuple[int, int, list[tuple[int, int, float]], bool]:
    num_rows, num_columns = draw(st.integers(1, 6)), draw(st.integers(1, 8))
    entry = st.tuples(st.integers(0, num_rows - 1), st.integers(0, num_columns - 1), st.integers(1, 5).map(float))
    return (
        num_rows,
        num_columns,
        draw(st.lists(entry, max_size=30)),
        draw(st.booleans()) if weighted is None else weighted,
    )


def build(num_rows: int, num_columns: int, entries: list[tuple[int, int, float]], weighted: bool) -> CandidateIndex:
    rows, members, weights = (list(part) for part in zip(*entries, strict=True)) if entries else ([], [], [])
    return CandidateIndex.from_pairs(
        torch.tensor(rows, dtype=torch.long),
        torch.tensor(members, dtype=torch.long),
        num_rows=num_rows,
        num_columns=num_columns,
        weights=torch.tensor(weights, dtype=torch.float64) if weighted else None,
    )


def expected_of(entries: list[tuple[int, int, float]], weighted: bool) -> Pools:
    result: Pools = {}
    for row, member, weight in entries:
        result[row, member] = result.get((row, member), 0.0) + weight if weighted else 1.0
    return result


# Construction


@settings(max_examples=100, deadline=None, derandomize=True)
@given(made=pair_lists())
@example(made=(3, 2, [], True))
@example(made=(3, 2, [], False))
def test_from_pairs(made: tuple[int, int, list[tuple[int, int, float]], bool]) -> None:
    num_rows, num_columns, entries, weighted = made
    pools = build(num_rows, num_columns, entries, weighted)
    assert_well_formed(pools)
    expected = expected_of(entries, weighted)
    assert contents(pools) == expected
    assert (pools.num_rows, pools.num_columns) == (num_rows, num_columns)
    sizes = [sum(row == owner for owner, _ in expected) for row in range(num_rows)]
    assert pools.size(torch.arange(num_rows)).tolist() == sizes


def test_from_lists() -> None:
    pools = CandidateIndex.from_lists([[4, 2, 4], [], (7,)], num_columns=8)
    assert lists(pools) == [[2, 4], [], [7]]
    assert_well_formed(pools)
    assert lists(CandidateIndex.from_lists([], num_columns=3)) == []
    assert lists(CandidateIndex.from_lists([[], []], num_columns=3)) == [[], []]


def test_from_knn() -> None:
    neighbours = torch.tensor([[2, 1], [-1, 0], [-1, -1]])
    assert lists(CandidateIndex.from_knn(neighbours)) == [[1, 2], [0], []]
    pools = CandidateIndex.from_knn(neighbours, num_columns=9)
    assert pools.num_columns == 9


def test_from_clusters() -> None:
    labels = torch.tensor([1, 0, 1, 3])
    assert lists(CandidateIndex.from_clusters(labels)) == [[1], [0, 2], [], [3]]
    assert lists(CandidateIndex.from_clusters(labels, 5)) == [[1], [0, 2], [], [3], []]
    assert CandidateIndex.from_clusters(labels).num_columns == 4


@pytest.mark.parametrize("kind", [scipy.sparse.csr_array, scipy.sparse.coo_array, scipy.sparse.csc_matrix])
def test_from_scipy(kind: type) -> None:
    dense = np.array([[0, 2.5, 1], [0, 0, 0], [3, 0, 0]])
    matrix = kind(dense)
    assert lists(CandidateIndex.from_scipy(matrix)) == [[1, 2], [], [0]]
    pools = CandidateIndex.from_scipy(matrix, weighted=True)
    assert contents(pools) == {(0, 1): 2.5, (0, 2): 1.0, (2, 0): 3.0}
    assert pools.num_columns == 3


def test_from_scipy_ignores_stored_zeros_and_leaves_its_input() -> None:
    matrix = scipy.sparse.coo_array((np.array([0.0, 1.0]), (np.array([0, 0]), np.array([0, 1]))), shape=(1, 2))
    assert lists(CandidateIndex.from_scipy(matrix)) == [[1]]
    assert matrix.nnz == 2


def test_from_relation_types() -> None:
    triples = torch.tensor([[0, 0, 1], [2, 0, 1], [3, 2, 3]])
    pools = CandidateIndex.from_relation_types(triples, num_entities=5, num_relations=3)
    assert lists(pools) == [[0, 2], [1], [], [], [3], [3]]
    assert pools.num_columns == 5


# Drawing


@settings(max_examples=100, deadline=None, derandomize=True)
@given(made=pair_lists())
@example(made=(2, 3, [], False))
@example(made=(2, 3, [], True))
@example(made=(3, 4, [(0, 1, 1.0)], False))
@example(made=(3, 4, [(0, 1, 1.0)], True))
def test_sample_agrees_with_lists(made: tuple[int, int, list[tuple[int, int, float]], bool]) -> None:
    pools = build(*made)
    rows = torch.arange(pools.num_rows).repeat(2)
    ids, hit = pools.sample(rows, 300, generator())
    assert ids.shape == hit.shape == (len(rows), 300)
    assert ids.dtype == torch.int32
    assert hit.dtype == torch.bool
    assert ((ids >= 0) & (ids < pools.num_columns)).all()
    for row, draw, real in zip(rows.tolist(), ids.tolist(), hit.tolist(), strict=True):
        members = pools.members(row).tolist()
        assert set(real) == {bool(members)}
        if members:
            # the rarest of at most 8 members has at least 1/70 of the weight
            assert set(draw) <= set(members)
            assert len(members) > 3 or set(draw) == set(members)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(made=pair_lists(weighted=False), columns=st.integers(1, 4), seed=st.integers(0, 99))
def test_sample_union_agrees_with_lists(
    made: tuple[int, int, list[tuple[int, int, float]], bool], columns: int, seed: int
) -> None:
    pools = build(*made)
    rows = torch.randint(pools.num_rows, (5, columns), generator=generator(seed))
    ids, hit = pools.sample_union(rows, 400, generator())
    assert ids.shape == hit.shape == (5, 400)
    for chosen, draw, real in zip(rows.tolist(), ids.tolist(), hit.tolist(), strict=True):
        members = {member for row in chosen for member in lists(pools)[row]}
        assert set(real) == {bool(members)}
        assert set(draw) == members or not members


def test_no_queries_and_no_draws() -> None:
    for weighted in (False, True):
        pools = build(2, 5, [(0, 1, 1.0), (0, 3, 2.0)], weighted)
        none = torch.empty(0, dtype=torch.long)
        assert pools.sample(none, 3)[0].shape == (0, 3)
        assert pools.sample(torch.tensor([0]), 0)[0].shape == (1, 0)


@pytest.mark.parametrize("sizes", [[1, 2, 3, 50], [7, 0, 1000]])
def test_uniform_draws(sizes: list[int]) -> None:
    members = [list(range(3, 3 + 2 * size, 2)) for size in sizes]
    pools = CandidateIndex.from_lists(members, num_columns=3000)
    ids, _ = pools.sample(torch.arange(len(sizes)), 30_000, generator(2))
    for row, size in enumerate(sizes):
        if size > 1:
            counts = torch.bincount(ids[row], minlength=3000)[members[row]]
            assert counts.sum() == 30_000
            assert chisquare(counts.numpy()).pvalue > 1e-6


def test_uniform_draws_from_unions() -> None:
    pools = CandidateIndex.from_lists([[0, 1], [5, 6, 7], [], [9]], num_columns=10)
    rows = torch.tensor([[0, 1, 2, 3], [3, 2, 0, 2], [2, 2, 1, 2]])
    ids, _ = pools.sample_union(rows, 30_000, generator(3))
    for row, members in enumerate(([0, 1, 5, 6, 7, 9], [0, 1, 9], [5, 6, 7])):
        counts = torch.bincount(ids[row], minlength=10)[members]
        assert counts.sum() == 30_000
        assert chisquare(counts.numpy()).pvalue > 1e-6


def test_weighted_draws() -> None:
    rows = [[0.0, 1.0, 2.0], [5.0], [], [1.0, 0.0, 2.0, 0.0, 4.0, 4.0], [0.1] * 10, [1e-3, 1.0, 10.0]]
    entries = [(row, 2 * i, weight) for row, weights in enumerate(rows) for i, weight in enumerate(weights)]
    pools = build(len(rows), 20, entries, weighted=True)
    ids, hit = pools.sample(torch.arange(len(rows)), 40_000, generator(5))
    for row, weights in enumerate(rows):
        assert hit[row].all() == hit[row].any() == bool(weights)
        counts = torch.bincount(ids[row], minlength=20)[: 2 * len(weights) : 2].numpy()
        expected = np.array(weights) / sum(weights) * 40_000 if weights else np.array([])
        if weights:
            assert counts.sum() == 40_000
        positive = expected > 0
        assert not counts[~positive].any()
        if positive.sum() > 1:
            assert chisquare(counts[positive], expected[positive]).pvalue > 1e-6


def test_draws_follow_the_generator() -> None:
    before = torch.get_rng_state()
    for weighted in (False, True):
        pools = build(1, 50, [(0, member, 1.0 + member) for member in range(50)], weighted)
        rows = torch.zeros(4, dtype=torch.long)
        first, second, third = (pools.sample(rows, 9, generator(seed))[0] for seed in (1, 1, 2))
        assert torch.equal(first, second)
        assert not torch.equal(first, third)
    assert torch.equal(torch.get_rng_state(), before)


def test_unions_of_weighted_pools_are_refused() -> None:
    pools = build(2, 5, [(0, 1, 1.0), (1, 3, 2.0)], weighted=True)
    with pytest.raises(InvalidInputError, match="one row at a time"):
        pools.sample_union(torch.tensor([[0, 1]]), 3)
    assert pools.sample_union(torch.tensor([[0], [1]]), 1)[0].tolist() == [[1], [3]]


# Combining


@settings(max_examples=100, deadline=None, derandomize=True)
@given(made=pair_lists(), other=pair_lists(), columns=st.integers(1, 3), seed=st.integers(0, 99))
def test_set_operations(
    made: tuple[int, int, list[tuple[int, int, float]], bool],
    other: tuple[int, int, list[tuple[int, int, float]], bool],
    columns: int,
    seed: int,
) -> None:
    num_rows, num_columns, _, weighted = made
    left = build(*made)
    entries = [(row % num_rows, member % num_columns, weight) for row, member, weight in other[2]]
    right = build(num_rows, num_columns, entries, other[3])
    mine, theirs = contents(left), contents(right)
    for result, expected in (
        (left.intersect(right), {pair: weight for pair, weight in mine.items() if pair in theirs}),
        (left.without(right), {pair: weight for pair, weight in mine.items() if pair not in theirs}),
    ):
        assert_well_formed(result)
        assert contents(result) == expected
        assert (result.weights is None) == (not weighted)
        assert (result.num_rows, result.num_columns) == (num_rows, num_columns)
    assert contents(left) == mine
    rows = torch.randint(num_rows, (4, columns), generator=generator(seed))
    united = left.unite(rows)
    assert_well_formed(united)
    old = lists(left)
    assert lists(united) == [sorted({member for row in chosen for member in old[row]}) for chosen in rows.tolist()]
    assert united.weights is None
    assert united.num_columns == num_columns


def test_rows_that_keep_only_zero_weights_become_empty() -> None:
    left = build(1, 3, [(0, 0, 0.0), (0, 1, 1.0), (0, 2, 0.0)], weighted=True)
    kept = left.intersect(CandidateIndex.from_lists([[0, 2]], num_columns=3))
    assert lists(kept) == [[]]


def test_shapes_must_match() -> None:
    left = CandidateIndex.from_lists([[0]], num_columns=3)
    for other in (CandidateIndex.from_lists([[0], []], num_columns=3), CandidateIndex.from_lists([[0]], num_columns=4)):
        for method in (left.intersect, left.without):
            with pytest.raises(InvalidInputError, match=r"1 x 3 and \d x \d do not match"):
                method(other)


# Keeping


def variants() -> list[CandidateIndex]:
    entries = [(0, 1, 1.0), (0, 3, 2.0), (2, 2, 5.0)]
    return [
        build(3, 5, entries, weighted=False),
        build(3, 5, entries, weighted=True),
        build(3, 6, entries, weighted=False),
        build(4, 5, entries, weighted=False),
        build(3, 5, entries[:2], weighted=False),
        build(3, 5, [*entries[:2], (2, 2, 6.0)], weighted=True),
        build(3, 5, [*entries[:2], (1, 2, 5.0)], weighted=False),
        build(3, 5, [], weighted=False),
        build(3, 5, [], weighted=True),
    ]


def test_fingerprints_tell_pools_apart() -> None:
    prints = [pools.fingerprint() for pools in variants()]
    assert len(set(prints)) == len(prints)
    assert prints == [pools.fingerprint() for pools in variants()]
    shuffled = build(3, 5, [(2, 2, 5.0), (0, 3, 2.0), (0, 1, 1.0), (0, 1, 1.0)], weighted=False)
    assert shuffled.fingerprint() == prints[0]


@pytest.mark.parametrize("number", range(9))
def test_save_and_load(tmp_path: Path, number: int) -> None:
    pools = variants()[number]
    pools.save(tmp_path / "pools.safetensors")
    back = CandidateIndex.load(tmp_path / "pools.safetensors")
    assert back.fingerprint() == pools.fingerprint()
    assert contents(back) == contents(pools)
    assert (back.num_rows, back.num_columns) == (pools.num_rows, pools.num_columns)
    rows = torch.arange(pools.num_rows)
    for got, expected in zip(back.sample(rows, 9, generator()), pools.sample(rows, 9, generator()), strict=True):
        assert torch.equal(got, expected)


@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_a_changed_byte_is_noticed(tmp_path: Path, where: str) -> None:
    path = tmp_path / "pools.safetensors"
    variants()[1].save(path)
    content = bytearray(path.read_bytes())
    begin = 8 + int.from_bytes(content[:8], "little")
    place = {"first": begin, "middle": (begin + len(content)) // 2, "last": len(content) - 2}[where]
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(InvalidInputError):
        CandidateIndex.load(path)


def test_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "pools.safetensors"
    with pytest.raises(InvalidInputError, match="there is no file"):
        CandidateIndex.load(path)
    variants()[1].save(path)
    good = path.read_bytes()
    for cut in (0, 5, 100, len(good) - 1):
        path.write_bytes(good[:cut])
        with pytest.raises(InvalidInputError, match="no complete safetensors file"):
            CandidateIndex.load(path)
    path.write_bytes(good)
    tensors, metadata = read_tensors(path)
    for name in ("indptr", "indices", "weights"):
        write_tensors(path, {key: value for key, value in tensors.items() if key != name}, metadata)
        with pytest.raises(InvalidInputError):
            CandidateIndex.load(path)
    for changes in ({"num_columns": "6"}, {"fingerprint": "0"}):
        write_tensors(path, tensors, {**metadata, **changes})
        with pytest.raises(InvalidInputError, match="fingerprint"):
            CandidateIndex.load(path)
    for name in ("num_columns", "fingerprint"):
        write_tensors(path, tensors, {key: value for key, value in metadata.items() if key != name})
        with pytest.raises(InvalidInputError):
            CandidateIndex.load(path)


@pytest.mark.parametrize("weighted", [False, True])
def test_state_of_other_pools_is_taken_over(weighted: bool) -> None:
    entries = [(row, member, 1.0 + member) for row in range(3) for member in range(row + 1)]
    source, target = build(4, 5, entries, weighted), build(2, 5, entries[:1], weighted)
    target.load_state_dict(source.state_dict())
    assert target.fingerprint() == source.fingerprint()
    rows = torch.arange(4)
    for got, expected in zip(target.sample(rows, 9, generator()), source.sample(rows, 9, generator()), strict=True):
        assert torch.equal(got, expected)


@pytest.mark.parametrize("weighted", [False, True])
def test_copies(weighted: bool) -> None:
    pools = build(3, 9, [(row, member, 1.0 + member) for row in range(2) for member in range(9)], weighted)
    rows = torch.arange(3)
    expected = pools.sample(rows, 9, generator())[0]
    for twin in (copy.deepcopy(pools), pickle.loads(pickle.dumps(pools))):  # noqa: S301
        assert torch.equal(twin.sample(rows, 9, generator())[0], expected)
        assert twin.fingerprint() == pools.fingerprint()
    tensors = [value for value in vars(pools).values() if isinstance(value, torch.Tensor)]
    assert not tensors  # all in buffers


# Refusals


@pytest.mark.parametrize(
    ("indptr", "indices", "weights", "message"),
    [
        ([1, 2], [0, 1], None, "starts at 0"),
        ([0, 2, 1], [0], None, "non-decreasing"),
        ([], [], None, "non-decreasing"),
        ([[0, 1]], [0], None, "vector"),
        ([0, 3], [0, 1], None, "ends at 3 but there are 2 members"),
        ([0, 1, 3], [0, 1, 5], None, r"member 5 of row 1 is out of range: ids must be in \[0, 5\)"),
        ([0, 1, 1, 2], [0, -1], None, "member -1 of row 2"),
        ([0, 2], [0, 1], [1.0], r"2 members but weights of shape \(1,\)"),
        ([0, 2], [0, 1], [1.0, -1.0], "weight 1 is -1.0: must be finite and not negative"),
        ([0, 2], [0, 1], [float("nan"), 1.0], "weight 0 is nan"),
        ([0, 2], [0, 1], [1.0, float("inf")], "weight 1 is inf"),
        ([0, 1, 3], [0, 1, 2], [1.0, 0.0, 0.0], "weights of row 1 sum to 0"),
    ],
)
def test_malformed_pools(indptr: list[int], indices: list[int], weights: list[float] | None, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        CandidateIndex(
            torch.tensor(indptr),
            torch.tensor(indices, dtype=torch.long),
            num_columns=5,
            weights=None if weights is None else torch.tensor(weights),
        )


def test_ids_out_of_range() -> None:
    with pytest.raises(InvalidInputError, match=r"member 8 is out of range: must be in \[0, 8\)"):
        CandidateIndex.from_lists([[0], [8]], num_columns=8)
    with pytest.raises(InvalidInputError, match="member -1 is out of range"):
        CandidateIndex.from_lists([[0], [-1]], num_columns=8)
    with pytest.raises(InvalidInputError, match=r"row 2 is out of range: must be in \[0, 2\)"):
        CandidateIndex.from_clusters(torch.tensor([0, 2]), 2)
    with pytest.raises(InvalidInputError, match="row -1 is out of range"):
        CandidateIndex.from_clusters(torch.tensor([0, -1]))
    with pytest.raises(InvalidInputError, match="num_columns must be at least 1, got 0"):
        CandidateIndex.from_lists([], num_columns=0)
    with pytest.raises(InvalidInputError, match="must be finite and not negative"):
        CandidateIndex.from_scipy(scipy.sparse.csr_array(np.array([[1.0, -2.0]])), weighted=True)


def test_probability() -> None:
    pools = CandidateIndex.from_pairs(
        torch.tensor([0, 0, 2]),
        torch.tensor([1, 3, 0]),
        num_rows=3,
        num_columns=4,
        weights=torch.tensor([1.0, 3.0, 2.0]),
    )
    asked = torch.arange(4).expand(3, 4)
    expected = torch.tensor([[0, 0.25, 0, 0.75], [0, 0, 0, 0], [1, 0, 0, 0]], dtype=torch.float64)
    assert torch.equal(pools.probability(torch.arange(3), asked), expected)
    none = CandidateIndex.from_lists([[], []], num_columns=4)
    assert not none.probability(torch.tensor([1, 0]), asked[:2]).any()


def test_renumber() -> None:
    pools = CandidateIndex.from_pairs(
        torch.tensor([0, 0, 1, 3]), torch.tensor([1, 3, 0, 2]), num_rows=4, num_columns=4,
        weights=torch.tensor([1.0, 2.0, 0.5, 1.0]),
    )  # fmt: skip
    found = pools.renumber(torch.tensor([2, -1, 0, 1]), 3)
    assert found.members(2).tolist() == [1] and found.members(1).tolist() == [0] and not len(found.members(0))
    assert found.weights is not None and found.weights.tolist() == [1.0, 2.0]
    with pytest.raises(InvalidInputError, match="3 ids do not fit pools of 4 x 4"):
        pools.renumber(torch.tensor([0, 1, 2]), 3)


@pytest.mark.parametrize("length", [1, 2, 3, 100, 4096, 4097, 16384])
def test_extreme_bits_stay_within_the_row(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All bits set is as close to the next row as a draw can come."""
    pools = CandidateIndex.from_lists([list(range(length)), [length]], num_columns=length + 1)
    for bits, expected in ((2**31 - 1, length - 1), (0, 0)):
        drawn = torch.full((1, 4), bits, dtype=torch.int32)
        monkeypatch.setattr("kgneg.core.candidates.draw_bits", lambda *_, drawn=drawn: drawn.clone())
        assert pools.sample(torch.tensor([0]), 4)[0].tolist() == [[expected] * 4]
