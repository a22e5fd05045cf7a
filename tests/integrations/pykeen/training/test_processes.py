"""Two processes train one model."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from statistics import mean, stdev
from types import ModuleType
from typing import Any

import pytest
import torch
from pykeen.triples import CoreTriplesFactory

WORKER = Path(__file__).with_name("two_ranks.py")


def load_worker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("two_ranks", WORKER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


worker = load_worker()


def _be(rank: int, port: int, folder: Path) -> None:
    """Be one of two processes."""
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    worker.short_runs(folder)


def fork(folder: Path) -> list[dict[str, Any]]:
    """Do the short runs in two processes that need not import everything again."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_be, args=(rank, port, folder)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    assert codes == [0, 0], "see the captured error output"
    return [torch.load(folder / f"found{rank}.pt") for rank in range(2)]


def torchrun(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    answer = subprocess.run(
        [*command, str(WORKER), str(folder), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=240,
    )
    assert answer.returncode == 0, answer.stderr[-4000:]
    return [torch.load(folder / f"found{rank}.pt") for rank in range(2)]


@pytest.fixture(scope="module")
def triples(thin: CoreTriplesFactory) -> torch.Tensor:
    assert len(thin.mapped_triples) == 3 * 38 + 1, "one triple more than whole batches"
    return thin.mapped_triples


@pytest.fixture(scope="module")
def found(triples: torch.Tensor, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("ranks")
    torch.save(triples, folder / "triples.pt")
    if torch.cuda.is_available() or "fork" not in multiprocessing.get_all_start_methods():
        return torchrun(folder)
    return fork(folder)


def rows(triples: torch.Tensor) -> Counter[tuple[int, ...]]:
    return Counter(map(tuple, triples.tolist()))


@pytest.mark.parametrize("name", [*worker.PARTED, *worker.WHOLE])
def test_both_hold_the_same_bits_after_every_batch(found: list[dict[str, Any]], name: str) -> None:
    first, second = (part[name] for part in found)
    assert len(first["parameters"]) == len(second["parameters"]) > 0
    for a, b in zip(first["parameters"], second["parameters"], strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first["parameters"][0], first["parameters"][-1])
    assert first["losses"] == second["losses"]
    for key, value in first["state"].items():
        assert torch.equal(value, second["state"][key]), key


@pytest.mark.parametrize("name", worker.PARTED)
def test_triples_are_parted(found: list[dict[str, Any]], triples: torch.Tensor, name: str) -> None:
    size = worker.PARTED[name].get("batch_size", 24)
    parts = [part[name]["positives"] for part in found]
    dropped = name == "dropped"
    number = len(triples) // size + (not dropped)
    assert len(parts[0]) == len(parts[1]) == 2 * number
    lengths = [size] * (len(triples) // size) + ([] if dropped else [len(triples) % size])
    for position, both in enumerate(zip(*parts, strict=True)):
        assert sum(map(len, both)) == lengths[position % number]
        assert abs(len(both[0]) - len(both[1])) <= 1
    for epoch in range(2):
        of_epoch = slice(epoch * number, (epoch + 1) * number)
        seen = rows(torch.cat([*parts[0][of_epoch], *parts[1][of_epoch]]))
        if dropped:
            assert max(seen.values()) == 1
            assert seen.total() == sum(lengths)
            assert seen <= rows(triples)
        else:
            assert seen == rows(triples)


def replaced(run: dict[str, Any]) -> torch.Tensor:
    """Return the entities that were put in, shape ``(batches, 10, 3)``, of the first positives of each batch."""
    batches = zip(run["positives"], run["negatives"], strict=True)
    found = []
    for positives, negatives in batches:
        at_head = negatives[..., 0] != positives[:, None, 0]
        found.append(torch.where(at_head, negatives[..., 0], negatives[..., 2])[:9])
    return torch.stack([part for part in found if len(part) == 9])


@pytest.mark.parametrize("name", ["rows", "seeded", "not probed", "dense", "workers", "resumed"])
def test_each_draws_its_own_negatives(found: list[dict[str, Any]], name: str) -> None:
    first, second = (replaced(part[name]) for part in found)
    assert (first == second).float().mean() < 0.2


@pytest.mark.parametrize("name", worker.WHOLE)
def test_parts_of_a_batch_give_the_step_of_the_batch(
    found: list[dict[str, Any]], triples: torch.Tensor, name: str
) -> None:
    alone = worker.train(triples, **worker.WHOLE[name])
    assert found[0][name]["losses"] == pytest.approx(alone["losses"], rel=1e-5)
    for key, value in alone["state"].items():
        torch.testing.assert_close(found[0][name]["state"][key], value, rtol=1e-4, atol=1e-5)


def test_what_cannot_be_parted_is_refused(found: list[dict[str, Any]]) -> None:
    for part in found:
        assert part["by subgraphs"]["error"].startswith("InvalidInputError: sampler")


def test_processes_that_resume_apart_are_refused(found: list[dict[str, Any]]) -> None:
    for rank, part in enumerate(found):
        assert (
            f"process {rank} starts after epoch {2 * (1 - rank)}, but process 0 after epoch 2" in part["apart"]["error"]
        )


@pytest.mark.slow
def test_as_good_as_one_process(tmp_path: Path) -> None:
    alone = [worker.mrr(seed) for seed in range(4)]
    both = torchrun(tmp_path, "0", "1", "2", "3")
    assert both[0] == both[1]
    together = list(both[0].values())
    print(f"alone {mean(alone):.4f} +- {stdev(alone):.4f}, together {mean(together):.4f} +- {stdev(together):.4f}")  # noqa: T201
    assert mean(together) == pytest.approx(mean(alone), abs=3 * max(stdev(alone), stdev(together), 0.005))
