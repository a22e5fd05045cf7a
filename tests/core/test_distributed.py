"""Two processes under torchrun, compared with sums that one process computes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from kgneg.core import distributed, exchange
from kgneg.core.errors import InvalidInputError

ENTITIES, DIM = 40, 3

#: What each rank does. It stores everything that the test compares.
WORKER = """
import sys
from pathlib import Path

import torch
from torch import nn

from kgneg.core import distributed, exchange
from kgneg.core.distributed import process_group

folder = Path(sys.argv[1])
inputs = torch.load(folder / "inputs.pt")
found = {}
distributed.ensure_started(timeout=60)
rank = distributed.rank()
with process_group():  # there is one already: neither started nor ended here
    pass
found["place"] = (rank, distributed.world_size(), distributed.is_main(), distributed.started())
found["seed"] = distributed.seed_for_rank(5)
found["mean"] = distributed.mean_over_ranks(float(rank + 1))
found["numbers"] = [distributed.broadcast_number(n - rank) for n in (7, 2**64 - 1, -(2**63) + 1, 2**63)]
distributed.barrier()

torch.manual_seed(rank)
module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Linear(2, 2, dtype=torch.complex64))
module.register_buffer("turned", torch.rand(2, 5).T)
module.register_buffer("nothing", torch.empty(0))
module[1].num_batches_tracked += rank
distributed.broadcast_parameters(module)
found["state"] = module.state_dict()

for name, parts in inputs["rows"].items():
    found[name] = exchange.exchange_rows(*parts[rank])

weights = [nn.Parameter(torch.zeros(shape, dtype=dtype)) for shape, dtype in inputs["shapes"]]
for weight, gradient in zip(weights, inputs["gradients"][rank]):
    weight.grad = gradient
exchange.exchange_gradients(weights)
found["gradients"] = [weight.grad for weight in weights]

triples, table = inputs["batch"], nn.Embedding.from_pretrained(inputs["table"], freeze=False, sparse=True)
part = triples[distributed.part_of_batch(len(triples), rank, 2)]
table(part).pow(3).sum().backward()
exchange.exchange_gradients(table.parameters())
found["embedding"] = table.weight.grad
torch.save(found, folder / f"found{rank}.pt")

if "again" in sys.argv:  # a group after another
    distributed._stop()
    for _ in range(2):
        with process_group(timeout=60):
            assert distributed.mean_over_ranks(float(rank)) == 0.5
        assert not distributed.started() and distributed.rank() == 0
"""


def sparse(rows: list[int], values: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    ids = torch.tensor([rows], dtype=torch.int64)
    return torch.sparse_coo_tensor(ids, values, size, check_invariants=True).coalesce()


def make_inputs() -> dict[str, object]:
    random = torch.Generator().manual_seed(0)

    def rows(count: int, *shape: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
        ids = torch.randperm(ENTITIES, generator=random)[:count].sort().values
        return ids, torch.randn(count, *shape, generator=random, dtype=dtype)

    table = (ENTITIES, DIM)
    shapes = [(table, torch.float32)] * 6 + [((4,), torch.float64), ((), torch.float32), ((3, 2), torch.complex64)]
    gradients = [
        # both sparse; sparse and none; sparse and dense; none and dense; none and none; dense and sparse; others
        [
            sparse([3, 7, 7], torch.rand(3, DIM), table),
            sparse([1], torch.rand(1, DIM), table),
            sparse([0, 39], torch.rand(2, DIM), table),
            None,
            None,
            torch.rand(table),
            torch.rand(4, dtype=torch.float64),
            None,
            torch.rand(3, 2, dtype=torch.complex64),
        ],
        [
            sparse([0, 7], torch.rand(2, DIM), table),
            None,
            torch.rand(table),
            torch.rand(DIM, ENTITIES).T,
            None,
            sparse([], torch.empty(0, DIM), table),
            torch.rand(4, dtype=torch.float64),
            torch.rand(()),
            torch.rand(3, 2, dtype=torch.complex64),
        ],
    ]
    return {
        "rows": {
            "uneven": [rows(30, DIM), rows(5, DIM)],
            "one_empty": [rows(0, DIM), rows(9, DIM)],
            "all_empty": [rows(0, DIM), rows(0, DIM)],
            "same": [rows(ENTITIES, DIM), rows(ENTITIES, DIM)],
            "flat": [rows(6), rows(7)],
            "deep": [rows(6, 2, 4, dtype=torch.float64), rows(0, 2, 4, dtype=torch.float64)],
            "complex": [rows(6, 2, dtype=torch.complex64), rows(7, 2, dtype=torch.complex64)],
        },
        "shapes": shapes,
        "gradients": gradients,
        "table": torch.randn(table, generator=random),
        "batch": torch.randint(ENTITIES, (25,), generator=random),
    }


def launch(folder: Path, *arguments: str) -> None:
    worker = folder / "worker.py"
    worker.write_text(WORKER)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    answer = subprocess.run(
        [*command, str(worker), str(folder), *arguments], capture_output=True, text=True, env=environment, timeout=120
    )
    assert answer.returncode == 0, answer.stderr[-4000:]


@pytest.fixture(scope="module")
def inputs() -> dict[str, object]:
    torch.manual_seed(1)
    return make_inputs()


@pytest.fixture(scope="module")
def found(inputs: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    folder = tmp_path_factory.mktemp("ranks")
    torch.save(inputs, folder / "inputs.pt")
    launch(folder, "again")
    return [torch.load(folder / f"found{rank}.pt") for rank in range(2)]


def same_bits(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        if one.is_sparse:
            return one.is_coalesced() and other.is_coalesced() and same_bits(parts_of(one), parts_of(other))
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(same_bits, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_bits(one[key], other[key]) for key in one)
    return one is None and other is None


def parts_of(tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return tensor.indices(), tensor.values()


def densify(rows: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    return torch.zeros(ENTITIES, *values.shape[1:], dtype=values.dtype).index_add_(0, rows, values)


def test_places_numbers_and_seeds(found: list[dict[str, object]]) -> None:
    assert [part["place"] for part in found] == [(0, 2, True, True), (1, 2, False, True)]
    assert found[0]["seed"] != found[1]["seed"]
    assert found[1]["seed"] == distributed.seed_for_rank(5, 1)
    assert [part["mean"] for part in found] == [1.5, 1.5]
    assert [part["numbers"] for part in found] == [[7, 2**64 - 1, -(2**63) + 1, 2**63]] * 2


def test_parameters_and_buffers_are_those_of_rank_0(found: list[dict[str, object]]) -> None:
    state = found[1]["state"]
    assert same_bits(found[0]["state"], state)
    torch.manual_seed(0)
    assert isinstance(state, dict)
    assert torch.equal(state["0.weight"], nn.Linear(3, 2).weight)
    assert state["1.num_batches_tracked"] == 0
    assert state["2.weight"].is_complex()


@pytest.mark.parametrize("name", ["uneven", "one_empty", "all_empty", "same", "flat", "deep", "complex"])
def test_rows_are_summed(name: str, inputs: dict[str, dict], found: list[dict]) -> None:
    (rows0, values0), (rows1, values1) = inputs["rows"][name]
    rows, values = found[0][name]
    assert same_bits(found[0][name], found[1][name])
    assert rows.tolist() == sorted({*rows0.tolist(), *rows1.tolist()})
    assert values.shape == (len(rows), *values0.shape[1:])
    assert torch.equal(densify(rows, values), densify(rows0, values0) + densify(rows1, values1))


def test_gradients_are_summed_whatever_their_kind(inputs: dict[str, list], found: list[dict]) -> None:
    assert same_bits(found[0]["gradients"], found[1]["gradients"])
    total = found[0]["gradients"]
    kinds = ["none" if gradient is None else "sparse" if gradient.is_sparse else "dense" for gradient in total]
    assert kinds == ["sparse", "sparse", "dense", "dense", "none", "dense", "dense", "dense", "dense"]
    for (shape, dtype), result, *parts in zip(inputs["shapes"], total, *inputs["gradients"], strict=True):
        if result is not None:
            terms = [torch.zeros(shape, dtype=dtype) if part is None else part.to_dense() for part in parts]
            assert torch.equal(result.to_dense(), terms[0] + terms[1])
    assert total[0].indices().tolist() == [[0, 3, 7]]


def test_parts_of_a_batch_give_the_gradient_of_the_batch(inputs: dict[str, torch.Tensor], found: list[dict]) -> None:
    table = nn.Embedding.from_pretrained(inputs["table"], freeze=False, sparse=True)
    table(inputs["batch"]).pow(3).sum().backward()
    gradient = table.weight.grad
    assert gradient is not None
    assert same_bits(found[0]["embedding"], found[1]["embedding"])
    assert found[0]["embedding"].indices().tolist() == gradient.coalesce().indices().tolist()
    torch.testing.assert_close(found[0]["embedding"].to_dense(), gradient.to_dense())


@pytest.mark.parametrize(("size", "world"), [(0, 3), (2, 3), (7, 3), (9, 3), (10, 1), (1000, 7)])
def test_parts_cover_a_batch(size: int, world: int) -> None:
    parts = [list(range(size))[distributed.part_of_batch(size, rank, world)] for rank in range(world)]
    assert [row for part in parts for row in part] == list(range(size))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(("size", "rank", "world"), [(-1, 0, 1), (4, 2, 2), (4, -1, 2), (4, 0, 0)])
def test_wrong_parts_are_refused(size: int, rank: int, world: int) -> None:
    with pytest.raises(InvalidInputError):
        distributed.part_of_batch(size, rank, world)


def test_nothing_happens_in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    rows, values = torch.tensor([2, 5]), torch.rand(2, 3)
    weight = nn.Parameter(torch.zeros(2))
    gradient = weight.grad = torch.ones(2)
    with distributed.process_group():
        distributed.ensure_started()
        assert not distributed.started()
        distributed.barrier()
        distributed.broadcast_parameters(nn.Linear(2, 2))
        exchange.exchange_gradients([weight])
        assert exchange.exchange_rows(rows, values)[1] is values
    assert weight.grad is gradient
    assert (distributed.rank(), distributed.world_size(), distributed.is_main()) == (0, 1, True)
    assert (distributed.mean_over_ranks(0.5), distributed.broadcast_number(-3)) == (0.5, -3)
    assert distributed.seed_for_rank(9) == distributed.seed_for_rank(9, 0) == 9
    assert len({distributed.seed_for_rank(9, rank) for rank in range(100)}) == 100


def test_wrong_arguments_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInputError, match="64 bits"):
        distributed.broadcast_number(1 << 64)
    with pytest.raises(InvalidInputError, match="rows must be int64"):
        exchange.exchange_rows(torch.tensor([1, 2]), torch.rand(3, 2))
    with pytest.raises(InvalidInputError, match="rows must be int64"):
        exchange.exchange_rows(torch.tensor([1.0]), torch.rand(1, 2))
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(InvalidInputError, match="WORLD_SIZE must be a number"):
        distributed.ensure_started()
