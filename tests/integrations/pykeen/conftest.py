"""A folder for caches, small graphs, and one way to construct every sampler."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pykeen.datasets import UMLS, Nations
from pykeen.triples import TriplesFactory

from kgneg.core.plausibility import budget, prior
from kgneg.core.queries import Queries
from kgneg.datasets import Taxonomy
from kgneg.integrations.pykeen import (
    GivenNegativeSampler,
    KgnegNegativeSampler,
    LemonNegativeSampler,
    LemonPlusNegativeSampler,
    ModelAwareNegativeSampler,
    TaxonomyNegativeSampler,
)
from kgneg.integrations.pykeen import setup as pykeen_setup

Make = Callable[..., KgnegNegativeSampler]


@pytest.fixture(scope="session")
def cache_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session", autouse=True)
def quick_collections() -> Iterator[None]:
    """Spare the collector what is imported already: PyKEEN collects garbage after every epoch."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def own_folders(cache_root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep what is cached out of the user's folders, and give back torch's global stream."""
    monkeypatch.setenv("KGNEG_HOME", str(cache_root))
    state = torch.get_rng_state()
    yield
    torch.set_rng_state(state)


@pytest.fixture(autouse=True)
def small_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Find ceilings by few draws: what a budget is worth is tested where budgets are."""
    monkeypatch.setattr(budget, "_DRAWN", 8_000)
    monkeypatch.setattr(budget, "_OF_PROPOSALS", 4_000)
    monkeypatch.setattr(prior, "_NEGATIVES", 10_000)


@pytest.fixture
def fresh_memory(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a function that makes this process forget what was built."""

    def forget() -> None:
        monkeypatch.setattr(pykeen_setup, "_shared", pykeen_setup.MemoryCache(size=32))

    forget()
    return forget


@pytest.fixture(scope="session")
def nations() -> Nations:
    return Nations()


@pytest.fixture(scope="session")
def umls() -> UMLS:
    return UMLS()


@pytest.fixture(scope="session")
def given_for(tmp_path_factory: pytest.TempPathFactory) -> Callable[[TriplesFactory], Path]:
    """Write a table of given negatives with unknown triples of any graph."""
    written: dict[int, tuple[TriplesFactory, Path]] = {}

    def write(factory: TriplesFactory) -> Path:
        if id(factory) not in written:
            known = {tuple(row) for row in factory.mapped_triples.tolist()}
            heads = factory.mapped_triples[::17].tolist()
            wrong = [(h, r, (t + 1) % factory.num_entities) for h, r, t in heads]
            names = factory.entity_id_to_label, factory.relation_id_to_label
            rows = [(names[0][h], names[1][r], names[0][t]) for h, r, t in wrong if (h, r, t) not in known]
            path = tmp_path_factory.mktemp("given") / "negatives.tsv"
            path.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
            written[id(factory)] = factory, path
        return written[id(factory)][1]

    return write


@pytest.fixture
def kwargs_of(given_for: Callable[[TriplesFactory], Path]) -> Callable[..., dict[str, Any]]:
    """Return the arguments that a sampler cannot do without, or that make it independent of sentence models."""

    def find(sampler: type[KgnegNegativeSampler], factory: TriplesFactory) -> dict[str, Any]:
        if issubclass(sampler, GivenNegativeSampler):
            return {"path": str(given_for(factory))}
        if issubclass(sampler, TaxonomyNegativeSampler):
            labels = [factory.entity_id_to_label[number] for number in range(factory.num_entities)]
            return {"hierarchy": Taxonomy.from_pairs([(one, f"group {n // 4}") for n, one in enumerate(labels)])}
        return {"encoder": "lexical"} if issubclass(sampler, LemonNegativeSampler | LemonPlusNegativeSampler) else {}

    return find


def plausible(queries: Queries, ids: torch.Tensor) -> torch.Tensor:
    """Score candidates by a fixed rule that differs from query to query."""
    pair = (queries.kept * 31 + queries.relation * 17 + queries.side)[:, None]
    return torch.sin((pair * 7 + ids.long() * 13).double()).float()


@pytest.fixture
def ready() -> Callable[[KgnegNegativeSampler], KgnegNegativeSampler]:
    """Give a sampler that looks at a model something to look at."""

    def attach(sampler: KgnegNegativeSampler) -> KgnegNegativeSampler:
        if isinstance(sampler, ModelAwareNegativeSampler):
            sampler.attach_model(plausible)
        return sampler

    return attach


@pytest.fixture
def make(
    kwargs_of: Callable[..., dict[str, Any]], ready: Callable[[KgnegNegativeSampler], KgnegNegativeSampler]
) -> Make:
    """Construct a sampler as PyKEEN does; what it may look at is a fixed rule."""

    def construct(sampler: type[KgnegNegativeSampler], factory: TriplesFactory, **kwargs: Any) -> KgnegNegativeSampler:
        built = sampler(
            mapped_triples=factory._add_inverse_triples_if_necessary(factory.mapped_triples),
            num_entities=factory.num_entities,
            num_relations=factory.num_relations,
            **(kwargs_of(sampler, factory) | kwargs),
        )
        return ready(built)

    return construct


@pytest.fixture
def python(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a program or a module in a process of its own, with caches in a fresh folder."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        own = {
            "KGNEG_HOME": str(tmp_path / "kgneg"),
            "PYSTOW_HOME": str(tmp_path / "pystow"),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
        }
        return subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**{k: v for k, v in os.environ.items() if k != "PYKEEN_HOME"}, **own, **environment},
            timeout=300,
            check=False,
        )

    return run
