from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kgneg.core import neighbours as module
from kgneg.core.errors import InvalidInputError
from kgneg.core.neighbours import Neighbours, fast_products, find_neighbours
from kgneg.core.typing import FloatTensor, LongTensor

HAS_TILES = bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)())


def vectors(number: int, dim: int = 12, seed: int = 0) -> FloatTensor:
    return torch.randn(number, dim, generator=torch.Generator().manual_seed(seed))


def clusters(number: int, centres: int = 40, dim: int = 16, seed: int = 0) -> FloatTensor:
    generator = torch.Generator().manual_seed(seed)
    middle = torch.randn(centres, dim, generator=generator)
    at = torch.randint(centres, (number,), generator=generator)
    return middle[at] + 0.3 * torch.randn(number, dim, generator=generator)


def cosines(queries: FloatTensor, references: FloatTensor, of: LongTensor, among: LongTensor) -> np.ndarray:
    """Cosines in double precision, ``-inf`` inside of a group; those of empty vectors are 0."""
    sides = []
    for side in (queries, references):
        rows = side.double().numpy()
        length = np.linalg.norm(rows, axis=1, keepdims=True)
        sides.append(rows / np.where(length > 0, length, 1))
    return np.where(of.numpy()[:, None] == among.numpy()[None], -np.inf, sides[0] @ sides[1].T)


def check(found: Neighbours, truth: np.ndarray, k: int, tolerance: float = 1e-6) -> None:
    """Compare cosines, not rows: which of equals is taken does not matter."""
    ids, cosine = found.ids.numpy(), found.cosine.numpy()
    assert ids.shape == cosine.shape == (len(truth), k)
    assert found.ids.dtype == torch.int32 and found.cosine.dtype == torch.float32
    best = np.full(ids.shape, -np.inf)
    best[:, : truth.shape[1]] = -np.sort(-truth, axis=1)[:, :k]
    allowed = np.isfinite(best)
    assert np.array_equal(ids >= 0, allowed)
    assert np.all(ids[~allowed] == -1) and np.all(cosine[~allowed] == -np.inf)
    assert np.allclose(cosine[allowed], best[allowed], atol=tolerance)
    taken = np.take_along_axis(truth, np.maximum(ids, 0), axis=1)
    assert np.allclose(taken[allowed], best[allowed], atol=tolerance)  # in particular none of the own group
    assert all(len(set(row[row >= 0])) == (row >= 0).sum() for row in ids)


@pytest.mark.parametrize("references", [1, 5, 16, 77, 333, 1024])
@pytest.mark.parametrize("k", [1, 3, 20])
@pytest.mark.parametrize("number", [0, 1, 60])
def test_exact(references: int, k: int, number: int) -> None:
    """The chunks are used from 4 * 16 * k columns on."""
    asked, table = vectors(number), vectors(references, seed=1)
    generator = torch.Generator().manual_seed(2)
    of = torch.randint(-2, 5, (number,), generator=generator)
    among = torch.randint(-2, 5, (references,), generator=generator)
    found = find_neighbours(asked, table, k, query_groups=of, reference_groups=among)
    check(found, cosines(asked, table, of, among), k)
    assert found.recall == 1
    apart = find_neighbours(asked, table, k)
    check(apart, cosines(asked, table, torch.zeros(number), torch.ones(references)), k)


def test_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = vectors(217)
    own = torch.randint(30, (217,), generator=torch.Generator().manual_seed(0))
    whole = find_neighbours(rows, rows, 2, query_groups=own, reference_groups=own)
    monkeypatch.setattr(module, "_ROWS", 7)
    parts = find_neighbours(rows, rows, 2, query_groups=own, reference_groups=own)
    assert torch.equal(whole.ids, parts.ids)
    monkeypatch.setattr(module, "_BLOCK", 1)
    assert torch.equal(find_neighbours(rows, rows, 2, query_groups=own, reference_groups=own).ids, whole.ids)


@pytest.mark.parametrize("index", ["exact", "ivf"])
def test_duplicates_ties_and_empty_vectors(index: str) -> None:
    distinct = vectors(25, dim=3)
    rows = torch.cat([distinct.repeat(9, 1), 3 * distinct[:4], -distinct[:5], torch.zeros(6, 3)])
    own = torch.arange(len(rows))
    found = find_neighbours(rows, rows, 2, query_groups=own, reference_groups=own, index=index)
    check(found, cosines(rows, rows, own, own), 2)


@pytest.mark.parametrize("index", ["exact", "ivf"])
def test_one_group(index: str) -> None:
    """There is nobody to find, or everybody."""
    rows, same = vectors(100), torch.full((100,), 7)
    nobody = find_neighbours(rows, rows, 4, query_groups=same, reference_groups=same, index=index)
    assert (nobody.ids == -1).all() and (nobody.cosine == -torch.inf).all()
    one_other = same.clone()
    one_other[31] = 8
    found = find_neighbours(rows, rows, 1, query_groups=same, reference_groups=one_other, index="exact")
    assert (found.ids == 31).all()


def test_giant_group() -> None:
    """Most rows may see the few others only."""
    rows = vectors(2000)
    groups = torch.zeros(2000, dtype=torch.long)
    groups[1900:] = torch.arange(1, 101)
    truth = cosines(rows, rows, groups, groups)
    check(find_neighbours(rows, rows, 5, query_groups=groups, reference_groups=groups), truth, 5)


@pytest.mark.parametrize("index", ["exact", "ivf"])
@pytest.mark.parametrize("scale", [1e-36, 1e-20, 1e-12, 1.0, 1e17, 1e36])
def test_length_does_not_matter(scale: float, index: str) -> None:
    rows = vectors(150, dim=5)
    own = torch.arange(150)
    mixed = rows.clone()
    mixed[::3] *= scale
    found = find_neighbours(mixed, mixed.clone(), 3, query_groups=own, reference_groups=own, index=index)
    plain = find_neighbours(rows, rows.clone(), 3, query_groups=own, reference_groups=own, index=index)
    assert torch.allclose(found.cosine, plain.cosine, atol=1e-6)
    assert (found.ids == plain.ids).double().mean() > 0.99


def test_double_beyond_single_precision() -> None:
    rows = vectors(50).double()
    assert torch.allclose(find_neighbours(rows * 1e300, rows * 1e-300, 2).cosine, find_neighbours(rows, rows, 2).cosine)


def test_cosines_stay_in_range() -> None:
    rows = torch.rand(400, 128, generator=torch.Generator().manual_seed(0)) + 0.1
    for table, value in ((rows, 1.0), (-rows, -1.0)):
        cosine = find_neighbours(rows, table, 400).cosine
        assert cosine.abs().max() <= 1
        assert cosine.flatten().sub(value).abs().min() < 1e-2


@pytest.mark.parametrize("index", ["exact", "ivf"])
def test_vectors_of_a_model(index: str) -> None:
    """What is asked for its gradient, and what lies crosswise in memory, is read like anything else."""
    rows = vectors(200)
    crosswise = rows.T.contiguous().T
    learnt = rows.clone().requires_grad_()
    expected = find_neighbours(rows, rows, 3, index=index)
    for other in (crosswise, learnt, rows.half().float()):
        found = find_neighbours(other, other, 3, index=index)
        assert not found.cosine.requires_grad
        assert torch.allclose(found.cosine, expected.cosine, atol=2e-3)


@pytest.mark.parametrize("kind", [torch.int8, torch.int32, torch.uint8, torch.bool])
def test_groups_of_any_integers(kind: torch.dtype) -> None:
    rows = vectors(40)
    groups = torch.arange(40) % 2
    found = find_neighbours(rows, rows, 2, query_groups=groups.to(kind), reference_groups=groups)
    check(found, cosines(rows, rows, groups, groups), 2)


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.integers(-3, 3), min_size=2, max_size=900),
    k=st.integers(1, 12),
    groups=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_many_ties(values: list[int], k: int, groups: int, seed: int) -> None:
    """Whole numbers in the plane have few directions, so that almost all cosines are ties."""
    rows = torch.tensor(values[: len(values) // 2 * 2]).reshape(-1, 2).float()
    of = torch.randint(groups, (len(rows),), generator=torch.Generator().manual_seed(seed))
    found = find_neighbours(rows[:40], rows, k, query_groups=of[:40], reference_groups=of)
    check(found, cosines(rows[:40], rows, of[:40], of), k)


@settings(max_examples=40, deadline=None)
@given(columns=st.integers(1, 700), k=st.integers(1, 9), seed=st.integers(0, 10_000))
def test_largest_of_a_row(columns: int, k: int, seed: int) -> None:
    """A turn in the plane gives every cosine of a row in a random order."""
    generator = torch.Generator().manual_seed(seed)
    angle = (torch.randperm(columns, generator=generator) + 0.5) * torch.pi / columns
    table = torch.stack([angle.cos(), angle.sin()], dim=-1)
    found = find_neighbours(torch.tensor([[1.0, 0.0]]), table, k, exact_arithmetic=True)
    expected = angle.argsort()[:k].tolist()
    assert found.ids[0].tolist() == expected + [-1] * (k - len(expected))


def test_ivf_finds_what_the_exact_search_finds() -> None:
    rows = clusters(6000)
    groups = torch.arange(6000) // 3
    exact = find_neighbours(rows, rows, 10, query_groups=groups, reference_groups=groups, index="exact")
    fast = find_neighbours(rows, rows, 10, query_groups=groups, reference_groups=groups, index="ivf")
    shared = (exact.ids[:, :, None] == fast.ids[:, None, :]).any(-1).double().mean()
    assert shared > 0.9
    assert shared >= fast.recall - 0.03
    assert 0 < fast.recall <= 1
    assert (fast.ids >= 0).all()
    assert (groups[fast.ids.long()] != groups[:, None]).all()
    assert (fast.cosine[:, :-1] >= fast.cosine[:, 1:]).all()
    assert all(len(set(row)) == 10 for row in fast.ids.tolist())
    own = torch.nn.functional.normalize(rows)
    assert torch.allclose(fast.cosine, (own[:, None] * own[fast.ids.long()]).sum(-1), atol=1e-3)


def test_ivf_says_when_it_finds_little() -> None:
    """Without clusters the neighbours are everywhere."""
    rows = vectors(4000, dim=48)
    own = torch.arange(4000)
    fast = find_neighbours(rows, rows, 10, query_groups=own, reference_groups=own, index="ivf")
    exact = find_neighbours(rows, rows, 10, query_groups=own, reference_groups=own)
    shared = float((exact.ids[:, :, None] == fast.ids[:, None, :]).any(-1).double().mean())
    assert fast.recall < 0.9
    assert fast.recall == pytest.approx(shared, abs=0.08)


def test_ivf_is_determined_by_its_seed() -> None:
    rows = clusters(1500)
    one, two = (find_neighbours(rows, rows, 5, index="ivf", seed=3) for _ in range(2))
    assert torch.equal(one.ids, two.ids) and torch.equal(one.cosine, two.cosine) and one.recall == two.recall
    assert find_neighbours(rows, rows, 5, index="ivf", seed=4).recall > 0.5


def test_ivf_with_other_queries_and_few_references() -> None:
    rows, asked = clusters(900), clusters(300, seed=0)
    fast, exact = (find_neighbours(asked, rows, 3, index=index) for index in ("ivf", "exact"))
    assert (fast.ids == exact.ids).double().mean() > 0.8
    alone = find_neighbours(asked, rows[:1], 3, index="ivf")
    assert alone.ids.tolist() == [[0, -1, -1]] * 300
    assert find_neighbours(asked[:0], rows, 3, index="ivf").ids.shape == (0, 3)


def test_auto_is_exact_where_clusters_do_not_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_EXACT_UP_TO", 1000)
    rows = vectors(3000, dim=48)
    exact = find_neighbours(rows, rows, 5, index="exact")
    auto = find_neighbours(rows, rows, 5)
    assert auto.recall == 1 and torch.equal(auto.ids, exact.ids)
    monkeypatch.setattr(module, "_EXACT_IF_NEEDED", 2000)
    assert find_neighbours(rows, rows, 5).recall < 1


def precision() -> tuple[str, str, str]:
    matmul = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    return torch.backends.cuda.matmul.fp32_precision, matmul.fp32_precision, torch.backends.cudnn.fp32_precision


@pytest.fixture
def _restored() -> object:
    before = precision()
    yield
    torch.backends.cuda.matmul.fp32_precision = before[0]
    torch.backends.mkldnn.matmul.fp32_precision = before[1]  # type: ignore[attr-defined]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("given", ["none", "ieee", "tf32"])
@pytest.mark.usefixtures("_restored")
def test_switches_are_put_back(device: str, given: str) -> None:
    torch.backends.cuda.matmul.fp32_precision = given
    torch.backends.mkldnn.matmul.fp32_precision = given  # type: ignore[attr-defined]
    before = precision()
    with fast_products(torch.device(device)):
        inside = precision()
    assert precision() == before
    assert inside[0] == ("tf32" if device == "cuda" else given)
    assert inside[1] == ("bf16" if device == "cpu" and HAS_TILES else given)
    with pytest.raises(KeyError), fast_products(torch.device(device)):
        raise KeyError
    assert precision() == before


@pytest.mark.usefixtures("_restored")
def test_switches_are_put_back_when_the_search_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.backends.mkldnn.matmul.fp32_precision = "tf32"  # type: ignore[attr-defined]
    before, inside = precision(), []

    def fail(*_: object) -> None:
        inside.append(precision())
        raise MemoryError

    monkeypatch.setattr(module, "_exact", fail)
    for exact in (False, True):
        with pytest.raises(MemoryError):
            find_neighbours(vectors(9), vectors(9), 1, exact_arithmetic=exact)
        assert precision() == before
    assert inside[1][1] == "ieee"
    assert inside[0][1] == ("bf16" if HAS_TILES else "tf32")


@pytest.mark.usefixtures("_restored")
def test_exact_arithmetic() -> None:
    """Also where the caller lets torch round."""
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"  # type: ignore[attr-defined]
    rows = vectors(1200, dim=128)
    own = torch.arange(1200)
    truth = cosines(rows, rows, own, own)
    found = find_neighbours(rows, rows, 8, query_groups=own, reference_groups=own, exact_arithmetic=True)
    check(found, truth, 8)
    check(find_neighbours(rows, rows, 8, query_groups=own, reference_groups=own), truth, 8, tolerance=4e-3)


def test_nothing_global_is_touched() -> None:
    torch.manual_seed(5)
    np.random.seed(5)
    state, legacy, threads, before = (
        torch.get_rng_state(),
        np.random.get_state()[1].copy(),
        torch.get_num_threads(),
        precision(),
    )
    rows = clusters(600)
    copy = rows.clone()
    for index in ("exact", "ivf"):
        find_neighbours(rows, rows, 3, index=index)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], legacy)
    assert (torch.get_num_threads(), precision()) == (threads, before)
    assert torch.equal(rows, copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 0}, "k must be at least 1"),
        ({"k": 1.5}, "k must be an integer"),
        ({"index": "hnsw"}, "index must be one of"),
        ({"queries": torch.ones(4, 3)}, "one length"),
        ({"references": torch.ones(0, 2)}, "and some"),
        ({"references": torch.tensor([[1.0, 0.0], [0.0, float("nan")]])}, "the first in row 1"),
        ({"queries": torch.ones(4)}, r"\(n, d\)"),
        ({"query_groups": torch.arange(4)}, "or of neither"),
        ({"reference_groups": torch.arange(4)}, "or of neither"),
        (
            {"query_groups": torch.arange(3), "reference_groups": torch.arange(4)},
            r"query_groups must have shape \(4,\)",
        ),
        ({"query_groups": torch.arange(4), "reference_groups": torch.arange(5)}, "reference_groups must have shape"),
        ({"query_groups": torch.rand(4), "reference_groups": torch.arange(4)}, "integers, got torch.float32"),
        ({"query_groups": [0, 1, 2, 3], "reference_groups": torch.arange(4)}, "integers, got list"),
    ],
)
def test_refusals(change: dict[str, object], message: str) -> None:
    settings = {"queries": torch.ones(4, 2), "references": torch.ones(4, 2), "k": 1} | change
    with pytest.raises(InvalidInputError, match=message):
        find_neighbours(**settings)  # type: ignore[arg-type]
