from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kgneg.core.bits import KeyTable, RowBits

WHOLE = (-(2**63), 2**63)


def array(keys: list[int]) -> np.ndarray:
    return np.array(sorted(set(keys)), dtype=np.int64)


def tensor(keys: list[int]) -> torch.Tensor:
    return torch.tensor(keys, dtype=torch.long)


ranges = st.one_of(
    st.just(WHOLE),
    st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(1, 63)).map(
        lambda pair: (pair[0], min(pair[0] + 2 ** pair[1] + 1, 2**63))
    ),
    st.integers(1, 2**62).map(lambda span: (-span, span)),
    st.integers(1, 60).map(lambda high: (0, high)),
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[tuple[int, int], list[int], list[int]]:
    low, high = draw(ranges)
    key = st.one_of(st.integers(low, high - 1), st.integers(low, min(low + 40, high - 1)))
    keys = draw(st.lists(key, max_size=80))
    near = [other for key in keys for bit in (0, 9, 40) if low <= (other := key ^ (1 << bit)) < high]
    return (low, high), keys, [*keys, *near, *draw(st.lists(key, max_size=40)), low, high - 1]


# what the padding behind the last key would be mistaken for, if it were -1 and 64 bits were compared
INVERSE = pow(-7046029254386353131, -1, 2**64)
MINUS_ONE = (-INVERSE + 2**63) % 2**64 - 2**63


@settings(max_examples=300, deadline=None, derandomize=True)
@given(made=tables())
@example(made=(WHOLE, [], [0, -1, 2**63 - 1]))
@example(made=(WHOLE, [0], [-(2**63), MINUS_ONE, 0]))
@example(made=(WHOLE, list(range(9)), [MINUS_ONE]))
@example(made=((0, 1), [0], [0]))
@example(made=((0, 1), [], [0]))
def test_key_table_is_a_set(made: tuple[tuple[int, int], list[int], list[int]]) -> None:
    (low, high), keys, asked = made
    table = KeyTable(array(keys), low, high)
    assert table.contains(tensor(asked)).tolist() == [key in set(keys) for key in asked]


@pytest.mark.parametrize("span", [300, 2**16, 2**31, 2**40, 2**62])
def test_every_key_of_a_range(span: int) -> None:
    # several hundred keys share the stored part of a key, if it is too short
    generator = torch.Generator().manual_seed(0)
    keys = torch.unique((torch.rand(6000, generator=generator, dtype=torch.float64) * min(span, 20_000)).long())
    table = KeyTable(keys.numpy(), -span, span)
    asked = torch.arange(-min(span, 30_000), min(span, 30_000))
    assert torch.equal(table.contains(asked), torch.isin(asked, keys))


@pytest.mark.parametrize("step", [1, 2, 1000, 2**20, 2**32, 2**45 + 1])
@pytest.mark.parametrize("whole", [True, False])
def test_key_table_of_regular_keys(step: int, whole: bool) -> None:
    keys = np.arange(-5000, 5000, dtype=np.int64) * step
    low, high = WHOLE if whole else (-20_000 * step, 20_000 * step)
    table = KeyTable(keys, low, high)
    assert table.contains(torch.from_numpy(keys)).all()
    assert not table.contains(torch.from_numpy(keys + 10_000 * step)).any()
    if step > 1:
        assert not table.contains(torch.from_numpy(keys + 1)).any()
    assert table.width <= 64  # buckets stay short, or a lookup would read everything


def test_crowded_buckets_are_still_exact() -> None:
    # a reader of any bucket looks as far as the longest one is wide; here that is so far that the stored parts repeat
    bits, half = 62, 2**61

    def key(bucket: int, low: int) -> int:
        return ((((bucket << 50) + low) * INVERSE + half) % 2**bits) - half

    crowd = [key(0, 1000 + low) for low in range(600)]
    holes = range(300, 3800, 7)
    rest = [key(bucket, low) for bucket in range(1, 4096) for low in (1, 2) if low == 1 or bucket not in holes]
    assert 2**13 <= len(crowd + rest) < 2**14  # so that there are 2**12 buckets
    table = KeyTable(array(crowd + rest), -half, half)
    assert table.contains(tensor(crowd + rest)).all()
    assert not table.contains(tensor([key(bucket, 2) for bucket in holes])).any()


@pytest.mark.parametrize("bits_per_key", [1, 16, 64])
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    keys=st.lists(st.tuples(st.integers(-(2**31), 2**31), st.integers(0, 2**31 - 2)), max_size=60),
    num_entities=st.sampled_from([1, 2, 1000, 2**31 - 1]),
)
@example(keys=[], num_entities=3)
def test_row_bits_miss_nothing(bits_per_key: int, keys: list[tuple[int, int]], num_entities: int) -> None:
    keys = [(code, entity % num_entities) for code, entity in keys]
    flat = array([code * num_entities + entity for code, entity in keys])
    bits = RowBits(flat, num_entities, bits_per_key=bits_per_key)
    codes = tensor([code for code, _ in keys])
    ids = torch.tensor([entity for _, entity in keys], dtype=torch.int32)[:, None]
    before = ids.clone()
    assert bits.probe(codes, ids).all()
    assert torch.equal(ids, before), "the ids were changed in place"
    if not keys:
        assert not bits.probe(tensor([0, -4]), torch.zeros((2, 3), dtype=torch.int32)).any()


@pytest.mark.parametrize(("number", "bits_per_key"), [(40_000, 64), (40_000, 16), (70_000, 64)])
def test_row_bits_let_most_others_by(number: int, bits_per_key: int) -> None:
    # more keys than one chunk of the construction
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(-(10**6), 10**6, (number,), generator=generator)
    ids = torch.randint(0, 10**5, (number,), generator=generator)
    keys = array((codes * 10**5 + ids).tolist())
    bits = RowBits(keys, 10**5, bits_per_key=bits_per_key)
    assert bits.probe(codes, ids.int()[:, None]).all()
    asked = torch.randint(0, 10**5, (number, 4), generator=generator, dtype=torch.int32)
    alarms = float(bits.probe(codes, asked).double().mean())
    assert 0 < alarms < 2.2 / bits_per_key  # the number of bits was rounded down to a power of two


def test_state_of_another_set_is_taken_over() -> None:
    mine, theirs = array([1, 2, 3]), array(list(range(0, 5000, 7)))
    asked = tensor(list(range(6000)))
    for first, second in ((mine, theirs), (theirs, mine), (array([]), theirs), (theirs, array([]))):
        target, source = KeyTable(first, 0, 6000), KeyTable(second, -(2**50), 2**50)
        target.load_state_dict(source.state_dict())
        assert torch.equal(target.contains(asked), source.contains(asked))
        bits, others = (RowBits(keys, 100, bits_per_key=32) for keys in (first, second))
        bits.load_state_dict(others.state_dict())
        codes, ids = tensor(list(range(50))), torch.arange(100, dtype=torch.int32).repeat(50, 1)
        assert torch.equal(bits.probe(codes, ids), others.probe(codes, ids))
        twin = copy.deepcopy(target)
        assert torch.equal(twin.contains(asked), source.contains(asked))
