from __future__ import annotations

import copy
import pickle
import tracemalloc
from collections import defaultdict

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from kgneg.core.errors import ExhaustedPoolError, InvalidInputError, KeyOverflowError
from kgneg.core.triples import TripleIndex
from kgneg.core.typing import HEAD, RELATION, TAIL, LongTensor, Side

LAYOUTS = ("triple", "pair", "auto")
SIDES = (Side.HEAD, Side.TAIL)


def tensor(triples: list[tuple[int, int, int]]) -> LongTensor:
    return torch.tensor(triples, dtype=torch.long).view(-1, 3)


class Oracle:
    """The same answers from Python sets."""

    def __init__(self, triples: LongTensor, num_entities: int) -> None:
        self.known = set(map(tuple, triples.tolist()))
        self.entities = range(num_entities)
        self.rows: dict[tuple[int, int, int], set[int]] = defaultdict(set)
        for head, relation, tail in self.known:
            self.rows[tail, relation, HEAD].add(head)
            self.rows[head, relation, TAIL].add(tail)

    def unknown(self, kept: int, relation: int, side: int, exclude: int | None = None) -> list[int]:
        row = self.rows.get((kept, relation, side), set()) | {exclude}
        return [entity for entity in self.entities if entity not in row]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, int, list[tuple[int, int, int]]]:
    num_entities = draw(st.integers(1, 9))
    num_relations = draw(st.integers(1, 3))
    entity, relation = st.integers(0, num_entities - 1), st.integers(0, num_relations - 1)
    triples = draw(st.lists(st.tuples(entity, relation, entity), max_size=60))
    if draw(st.booleans()):  # a pair with all its completions
        kept, kind = draw(entity), draw(relation)
        side = draw(st.sampled_from(SIDES))
        triples += [(e, kind, kept) if side == Side.HEAD else (kept, kind, e) for e in range(num_entities)]
    return num_entities, num_relations, triples


def pairs_of(num_entities: int, num_relations: int) -> tuple[LongTensor, LongTensor, LongTensor]:
    every = torch.cartesian_prod(torch.arange(num_entities), torch.arange(num_relations), torch.tensor(SIDES))
    kept, relation, side = every.view(-1, 3).unbind(-1)
    return kept, relation, side


@pytest.mark.parametrize("keys", LAYOUTS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(graph=graphs(), repeat=st.integers(1, 2))
@example(graph=(1, 1, []), repeat=1)
@example(graph=(1, 1, [(0, 0, 0)]), repeat=2)
@example(graph=(5, 2, [(3, 1, 4)] * 7), repeat=1)
def test_agrees_with_sets(keys: str, graph: tuple[int, int, list[tuple[int, int, int]]], repeat: int) -> None:
    num_entities, num_relations, triples = graph
    known = tensor(triples * repeat)
    index = TripleIndex(known, num_entities=num_entities, num_relations=num_relations, keys=keys)
    oracle = Oracle(known, num_entities)
    assert index.num_triples == len(oracle.known)
    assert index.longest_row == max(map(len, oracle.rows.values()), default=0)

    every = torch.cartesian_prod(*map(torch.arange, (num_entities, num_relations, num_entities))).view(-1, 3)
    truth = torch.tensor([triple in oracle.known for triple in map(tuple, every.tolist())])
    assert torch.equal(index.contains(every), truth)

    kept, relation, side = pairs_of(num_entities, num_relations)
    rows = [
        oracle.rows.get(key, set()) for key in zip(*(part.tolist() for part in (kept, relation, side)), strict=True)
    ]
    assert index.count(kept, relation, side).tolist() == [len(row) for row in rows]

    codes = index.codes(kept, relation, side)
    grid = torch.arange(num_entities, dtype=torch.int32).expand(len(kept), -1).contiguous()
    table = torch.tensor([[entity in row for entity in range(num_entities)] for row in rows])
    assert not (table & ~index.suspect(codes, grid)).any(), "a known triple is no suspect"
    flat = codes.repeat_interleave(num_entities), grid.view(-1)
    assert torch.equal(index.confirm(*flat).view(table.shape), table)
    assert torch.equal(
        index.free(*flat).view(table.shape), num_entities - table.sum(-1, keepdim=True) - (~table).long()
    )


@pytest.mark.parametrize("keys", LAYOUTS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(graph=graphs(), excluded=st.one_of(st.none(), st.integers(0, 8)))
def test_complement_agrees_with_sets(
    keys: str, graph: tuple[int, int, list[tuple[int, int, int]]], excluded: int | None
) -> None:
    num_entities, num_relations, triples = graph
    known = tensor(triples)
    index = TripleIndex(known, num_entities=num_entities, num_relations=num_relations, keys=keys)
    oracle = Oracle(known, num_entities)
    kept, relation, side = pairs_of(num_entities, num_relations)
    other = None if excluded is None else excluded % num_entities
    allowed = [oracle.unknown(*key, other) for key in zip(kept.tolist(), relation.tolist(), side.tolist(), strict=True)]
    exclude = None if other is None else torch.full_like(kept, other)
    generator = torch.Generator().manual_seed(0)

    def complement(rows: LongTensor, n: int) -> LongTensor:
        rest = None if exclude is None else exclude[rows]
        return index.complement(kept[rows], relation[rows], side[rows], n, exclude=rest, generator=generator)

    some = torch.tensor([row for row, entities in enumerate(allowed) if entities], dtype=torch.long)
    none = torch.tensor([row for row, entities in enumerate(allowed) if not entities], dtype=torch.long)
    draws = complement(some, 200)
    assert draws.shape == (len(some), 200)
    assert draws.dtype == torch.int64
    for row, draw in zip(some.tolist(), draws.tolist(), strict=True):
        # 200 draws from at most 9 entities miss one with probability below 1e-9
        assert sorted(set(draw)) == allowed[row]
    if len(none):
        with pytest.raises(ExhaustedPoolError, match=rf"^{len(none)} of {len(kept)} pairs have all {num_entities}"):
            complement(torch.arange(len(kept)), 1)


@pytest.mark.parametrize("keys", ["triple", "pair"])
@pytest.mark.parametrize("exclude", [None, 0, 7, 19])  # nothing, a known one, an unknown one, the last one
@pytest.mark.parametrize("side", SIDES)
def test_complement_is_uniform(keys: str, exclude: int | None, side: Side) -> None:
    known = [0, 1, 2, 5, 6, 12, 18]
    noise = torch.randint(20, (60, 3), generator=torch.Generator().manual_seed(1))
    noise[:, RELATION] = 1
    rows = tensor([(3, 0, e) if side == Side.TAIL else (e, 0, 3) for e in known])
    index = TripleIndex(torch.cat([rows, noise]), num_entities=20, num_relations=2, keys=keys)
    three, relation = torch.full((50,), 3), torch.zeros(50, dtype=torch.long)
    excluded = None if exclude is None else torch.full((50,), exclude)
    generator = torch.Generator().manual_seed(5)
    draw = index.complement(three, relation, side, 400, exclude=excluded, generator=generator)
    counts = torch.bincount(draw.view(-1), minlength=20)
    allowed = [entity for entity in range(20) if entity not in known and entity != exclude]
    assert counts[allowed].sum() == draw.numel()
    assert chisquare(counts[allowed].numpy()).pvalue > 1e-6
    # successive draws of a row are independent of each other
    first, second = draw.view(-1, 2).unbind(-1)
    joint = torch.bincount(first * 20 + second, minlength=400).view(20, 20)[allowed][:, allowed]
    assert chisquare(joint.view(-1).numpy()).pvalue > 1e-6


@pytest.mark.parametrize("keys", LAYOUTS)
def test_larger_random_graph(keys: str) -> None:
    generator = torch.Generator().manual_seed(3)
    limits = torch.tensor([300, 7, 300])
    known = (torch.rand((20_000, 3), generator=generator) ** 2 * limits).long()  # skewed: long and short rows
    index = TripleIndex(known, num_entities=300, num_relations=7, keys=keys)
    oracle = Oracle(known, 300)
    asked = torch.cat([known[:500], (torch.rand((5000, 3), generator=generator) * limits).long()])
    assert index.contains(asked).tolist() == [triple in oracle.known for triple in map(tuple, asked.tolist())]
    assert index.contains(asked.view(50, 110, 3)).shape == (50, 110)
    assert index.contains(asked[0]).shape == ()
    side = torch.randint(2, (len(asked),), generator=generator) * 2
    kept = torch.where(side == HEAD, asked[:, TAIL], asked[:, HEAD])
    replaced = torch.where(side == HEAD, asked[:, HEAD], asked[:, TAIL])
    draws = index.complement(kept, asked[:, RELATION], side, 9, exclude=replaced, generator=generator)
    assert (draws != replaced[:, None]).all()
    triples = asked[:, None].repeat(1, 9, 1).scatter(-1, side[:, None, None].expand(-1, 9, 1), draws[..., None])
    assert not index.contains(triples).any()
    assert not {tuple(triple) for triple in triples.view(-1, 3).tolist()} & oracle.known
    false_alarms = index.suspect(index.codes(kept, asked[:, RELATION], side), draws.int()).double().mean()
    assert 0 < false_alarms < 0.1


def test_one_side_for_all_equals_one_per_pair() -> None:
    known = tensor([(0, 0, 1), (0, 0, 2), (3, 1, 2), (1, 1, 2)])
    index = TripleIndex(known, num_entities=4, num_relations=2)
    kept, relation = torch.tensor([0, 2, 2]), torch.tensor([0, 1, 0])
    assert index.count(kept, relation, Side.TAIL).tolist() == [2, 0, 0]
    assert index.count(kept, relation, Side.HEAD).tolist() == [0, 2, 1]
    for side in SIDES:
        assert torch.equal(index.codes(kept, relation, side), index.codes(kept, relation, torch.full((3,), int(side))))


# Sizes


def test_overflow_is_refused_with_numbers() -> None:
    triples = tensor([(0, 0, 1)])
    with pytest.raises(
        KeyOverflowError, match=r"2,000,000,000 entities x 3 relations.* 1\.200e\+19 .* 9\.223e\+18"
    ) as error:
        TripleIndex(triples, num_entities=2_000_000_000, num_relations=3, keys="triple")
    assert "keys='pair'" in str(error.value)
    with pytest.raises(KeyOverflowError, match=r"2,000,000,000 entities x 5,000,000,000 relations = 1\.000e\+19 pairs"):
        TripleIndex(triples, num_entities=2_000_000_000, num_relations=5_000_000_000, keys="pair")
    with pytest.raises(KeyOverflowError, match=r"2,147,483,648 entities exceed the limit of 2,147,483,647"):
        TripleIndex(triples, num_entities=2**31, num_relations=1, keys="auto")


def test_layout_is_chosen_by_size() -> None:
    triples = tensor([(0, 0, 1)])
    limit = 3_037_000_499  # the largest number whose square is an int64; entity ids end before it
    assert limit**2 < 2**63 <= (limit + 1) ** 2
    for num_entities, num_relations, keys, layout in (
        (2**31 - 1, 2, "auto", "triple"),
        (2**31 - 1, 3, "auto", "pair"),
        (4_600_000, 822, "auto", "triple"),
        (4, 2, "pair", "pair"),
    ):
        index = TripleIndex(triples, num_entities=num_entities, num_relations=num_relations, keys=keys)
        assert index.layout == layout


@pytest.mark.parametrize(
    ("num_entities", "num_relations", "keys"),
    [(4_600_000, 822, "pair"), (4_600_000, 822, "triple"), (2_000_000_000, 3, "pair"), (2**31 - 1, 2, "triple")],
)
def test_huge_id_spaces(num_entities: int, num_relations: int, keys: str) -> None:
    generator = torch.Generator().manual_seed(0)
    limits = torch.tensor([num_entities, num_relations, num_entities])
    known = (torch.rand((400, 3), generator=generator, dtype=torch.float64) * limits).long()
    end = num_entities - 1
    known[:200:2, HEAD] = end  # a long row at the very end of the ids
    known[:200:2, RELATION] = num_relations - 1
    known[200::2, TAIL] = end
    known[200::2, RELATION] = 0
    known = torch.cat([known, tensor([(0, 0, 0), (end, num_relations - 1, end), (0, 0, end), (end, 0, 0)])])
    index = TripleIndex(known, num_entities=num_entities, num_relations=num_relations, keys=keys)
    oracle = Oracle(known, 0)
    near = torch.cat([known, known + torch.tensor([1, 0, 0]), known + torch.tensor([0, 0, -1])])
    near[:, [HEAD, TAIL]] %= num_entities
    assert index.contains(near).tolist() == [triple in oracle.known for triple in map(tuple, near.tolist())]
    kept, relation = torch.tensor([end, end, 0]), torch.tensor([num_relations - 1, 0, 0])
    side = torch.tensor([TAIL, HEAD, TAIL])
    expected = [len(oracle.rows[key]) for key in zip(kept.tolist(), relation.tolist(), side.tolist(), strict=True)]
    assert index.count(kept, relation, side).tolist() == expected
    draw = index.complement(kept, relation, side, 4000, generator=generator)
    assert int(draw.min()) >= 0
    assert int(draw.max()) <= end
    counts = torch.bincount(draw.view(-1) // (num_entities // 16 + 1), minlength=16)
    assert chisquare(counts.numpy()).pvalue > 1e-6


@pytest.mark.parametrize("keys", ["triple", "pair"])
def test_every_unknown_entity_can_be_reached_in_a_huge_id_space(keys: str) -> None:
    # all but the last three entities of a small range are known: ranks are resolved exactly far from zero
    num_entities = 50_000
    row = torch.arange(num_entities - 3)
    known = torch.stack([torch.zeros_like(row), torch.zeros_like(row), row], dim=-1)
    index = TripleIndex(known, num_entities=num_entities, num_relations=1, keys=keys)
    zero = torch.zeros(1, dtype=torch.long)
    draw = index.complement(zero, zero, Side.TAIL, 100, exclude=zero + num_entities - 2)
    assert draw.unique().tolist() == [num_entities - 3, num_entities - 1]


@pytest.mark.parametrize("keys", LAYOUTS)
def test_long_and_short_rows_together(keys: str) -> None:
    num_entities = 1000
    row = torch.arange(num_entities)[torch.arange(num_entities) % 10 != 7]
    zero = torch.zeros_like(row)
    known = torch.cat([torch.stack([zero, zero, row], dim=-1), tensor([(1, 0, 5)])])
    index = TripleIndex(known, num_entities=num_entities, num_relations=1, keys=keys)
    draw = index.complement(torch.tensor([0, 1, 2]), torch.zeros(3, dtype=torch.long), Side.TAIL, 5000)
    assert draw[0].unique().tolist() == list(range(7, num_entities, 10))
    assert 5 not in draw[1].tolist()
    assert len(draw[1].unique()) > 970
    assert len(draw[2].unique()) > 970


def random_triples(number: int, num_entities: int = 100_000, num_relations: int = 100) -> LongTensor:
    draw = torch.rand((number, 3), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (draw * torch.tensor([num_entities, num_relations, num_entities])).long()


@pytest.mark.parametrize(("keys", "held", "peak"), [("triple", 48, 80), ("pair", 64, 130)])
def test_memory(keys: str, held: int, peak: int) -> None:
    number = 100_000
    triples = random_triples(number)
    TripleIndex(triples[:10], num_entities=100_000, num_relations=100, keys=keys)
    tracemalloc.start()
    try:
        index = TripleIndex(triples, num_entities=100_000, num_relations=100, keys=keys)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert index.nbytes == sum(value.nbytes for value in index.state_dict().values())
    assert index.nbytes <= held * number
    assert most <= peak * number  # what NumPy allocates; includes what is held


# State


def answers(index: TripleIndex, num_entities: int, num_relations: int) -> list[torch.Tensor]:
    kept, relation, side = pairs_of(num_entities, num_relations)
    every = torch.cartesian_prod(*map(torch.arange, (num_entities, num_relations, num_entities)))
    codes = index.codes(kept, relation, side)
    ids = torch.arange(num_entities, dtype=torch.int32).expand(len(codes), -1).contiguous()
    draw = index.complement(kept, relation, side, 5, generator=torch.Generator().manual_seed(0))
    return [index.contains(every), index.count(kept, relation, side), index.suspect(codes, ids), draw]


def small(seed: int, number: int, keys: str) -> TripleIndex:
    generator = torch.Generator().manual_seed(seed)
    triples = (torch.rand((number, 3), generator=generator) * torch.tensor([12, 2, 12])).long()
    return TripleIndex(triples, num_entities=12, num_relations=2, keys=keys)


@pytest.mark.parametrize("keys", ["triple", "pair"])
@pytest.mark.parametrize(("mine", "theirs"), [(3, 80), (80, 3), (0, 50), (50, 0), (40, 40)])
def test_state_of_another_graph_is_taken_over(keys: str, mine: int, theirs: int) -> None:
    source, target = small(1, theirs, keys), small(2, mine, keys)
    target.load_state_dict(source.state_dict())
    for got, expected in zip(answers(target, 12, 2), answers(source, 12, 2), strict=True):
        assert torch.equal(got, expected)
    assert target.fingerprint() == source.fingerprint()
    assert (target.num_triples, target.longest_row) == (source.num_triples, source.longest_row)
    target.keys.zero_()
    assert target.fingerprint() != source.fingerprint() or not len(source.keys), "the tensors are shared"


def test_loading_reports_missing_buffers() -> None:
    index = small(1, 30, "triple")
    state = index.state_dict()
    del state["keys"]
    with pytest.raises(RuntimeError, match="keys"):
        index.load_state_dict(state)


@pytest.mark.parametrize("keys", ["triple", "pair"])
def test_copies_and_moves(keys: str) -> None:
    index = small(3, 60, keys)
    expected = answers(index, 12, 2)
    twin = copy.deepcopy(index)
    pickled = pickle.loads(pickle.dumps(index))  # noqa: S301
    for other in (twin, pickled, copy.deepcopy(index).to("cpu"), copy.deepcopy(index).half()):
        for got, right in zip(answers(other, 12, 2), expected, strict=True):
            assert torch.equal(got, right)
    twin.keys.zero_()
    assert torch.equal(answers(index, 12, 2)[3], expected[3])
    moved = copy.deepcopy(index).to("meta")
    assert {buffer.device.type for buffer in moved.buffers()} == {"meta"}
    assert not any(isinstance(value, torch.Tensor) for part in index.modules() for value in vars(part).values())


@pytest.mark.gpu
@pytest.mark.parametrize("keys", ["triple", "pair"])
def test_gpu(keys: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    index = small(3, 60, keys)
    expected = answers(index, 12, 2)
    kept, relation, side = (part.cuda() for part in pairs_of(12, 2))
    every = torch.cartesian_prod(torch.arange(12), torch.arange(2), torch.arange(12)).cuda()
    index.cuda()
    assert torch.equal(index.contains(every).cpu(), expected[0])
    assert torch.equal(index.count(kept, relation, side).cpu(), expected[1])
    draw = index.complement(kept, relation, side, 50, generator=torch.Generator("cuda").manual_seed(0))
    triples = torch.where(
        (side == HEAD)[:, None, None],
        torch.stack([draw, relation[:, None].expand_as(draw), kept[:, None].expand_as(draw)], dim=-1),
        torch.stack([kept[:, None].expand_as(draw), relation[:, None].expand_as(draw), draw], dim=-1),
    )
    assert not index.contains(triples).any()
    assert TripleIndex(every, num_entities=12, num_relations=2, keys=keys).keys.is_cuda


def test_fingerprint_is_of_the_set() -> None:
    triples = random_triples(200, 30, 2)
    sizes = {"num_entities": 30, "num_relations": 2}
    index = TripleIndex(triples, **sizes)
    shuffled = torch.cat([triples.flip(0), triples[:9]])
    assert TripleIndex(shuffled, **sizes).fingerprint() == index.fingerprint()
    others = [
        TripleIndex(triples[:-1], **sizes),
        TripleIndex(triples, num_entities=31, num_relations=2),
        TripleIndex(triples, num_entities=30, num_relations=3),
    ]
    assert len({other.fingerprint() for other in others} | {index.fingerprint()}) == 4


def test_the_private_draws_follow_the_generator() -> None:
    index = small(1, 40, "triple")
    kept, relation, side = pairs_of(12, 2)
    before = torch.get_rng_state()
    first, second, third = (
        index.complement(kept, relation, side, 9, generator=torch.Generator().manual_seed(seed)) for seed in (4, 4, 5)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
    assert torch.equal(torch.get_rng_state(), before)


# Refusals


@pytest.mark.parametrize(
    ("triples", "message"),
    [
        (torch.tensor([[0, 0, 1], [4, 0, 1]]), r"head entity id 4 in triple 1 is out of range.*\[0, 4\)"),
        (torch.tensor([[0, 0, -1]]), "tail entity id -1 in triple 0"),
        (torch.tensor([[0, 2, 1]]), r"relation id 2 in triple 0.*\[0, 2\)"),
        (torch.zeros(2, 3), "dtype torch.float32"),
        (torch.zeros((2, 3), dtype=torch.bool), "dtype torch.bool"),
        (torch.zeros((2, 4), dtype=torch.long), r"\(2, 4\)"),
        (torch.tensor([0, 0, 1]), r"\(m, 3\), got \(3,\)"),
        (torch.zeros((2, 2, 3), dtype=torch.long), r"\(m, 3\), got \(2, 2, 3\)"),
        ([[0, 0, 1]], "torch.Tensor of ids, got list"),
    ],
)
def test_bad_triples(triples: LongTensor, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        TripleIndex(triples, num_entities=4, num_relations=2)


@pytest.mark.parametrize(
    "options", [{"num_entities": 0}, {"num_relations": 0}, {"num_entities": 4.0}, {"keys": "hash"}]
)
def test_bad_options(options: dict[str, object]) -> None:
    with pytest.raises(InvalidInputError, match=next(iter(options))):
        TripleIndex(tensor([]), **{"num_entities": 4, "num_relations": 2, **options})


def test_contains_refuses_what_is_out_of_range() -> None:
    index = TripleIndex(tensor([(0, 0, 1)]), num_entities=4, num_relations=1)
    for triple in ([0, 1, 0], [4, 0, 0], [0, 0, -1]):
        with pytest.raises(InvalidInputError, match="out of range"):
            index.contains(torch.tensor(triple))


def test_input_is_left_alone_and_of_any_integer_type() -> None:
    triples = random_triples(100, 30, 2)
    before = triples.clone()
    index = TripleIndex(triples, num_entities=30, num_relations=2)
    assert torch.equal(triples, before)
    for other in (triples.int(), triples.to(torch.uint8), triples.t().contiguous().t()):
        assert TripleIndex(other, num_entities=30, num_relations=2).fingerprint() == index.fingerprint()
    empty = TripleIndex(tensor([]), num_entities=30, num_relations=2)
    assert not empty.contains(triples).any()
    assert empty.num_triples == 0
