"""What is built once: in a process, and across processes."""

from __future__ import annotations

import hashlib
import logging
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pykeen.datasets import UMLS
from pykeen.pipeline import pipeline

from kgneg.core import encode as encode_module
from kgneg.core.triples import TripleIndex
from kgneg.integrations.pykeen import KgnegNegativeSampler, LemonNegativeSampler
from kgneg.samplers import lemon_pools

Make = Callable[..., KgnegNegativeSampler]


class Counts(dict[str, int]):
    def add(self, name: str) -> None:
        self[name] = self.get(name, 0) + 1


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fresh_memory: Callable[[], None]) -> Counts:
    """Count encoder calls, k-means builds and index builds, with empty caches."""
    monkeypatch.setenv("KGNEG_HOME", str(tmp_path / "home"))
    found = Counts()
    encode, kmeans, index = encode_module.LexicalEncoder.encode, lemon_pools.kmeans, TripleIndex.__init__

    def counted_encode(self: Any, sentences: list[str]) -> Any:
        found.add("encode")
        return encode(self, sentences)

    def counted_kmeans(*args: Any, **kwargs: Any) -> Any:
        found.add("kmeans")
        return kmeans(*args, **kwargs)

    def counted_index(self: Any, *args: Any, **kwargs: Any) -> None:
        found.add("index")
        index(self, *args, **kwargs)

    monkeypatch.setattr(encode_module.LexicalEncoder, "encode", counted_encode)
    monkeypatch.setattr(lemon_pools, "kmeans", counted_kmeans)
    monkeypatch.setattr(TripleIndex, "__init__", counted_index)
    return found


@pytest.fixture
def constructions(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    seen: list[object] = []
    original = KgnegNegativeSampler.__init__

    def record(self: Any, **kwargs: Any) -> None:
        seen.append(type(self))
        original(self, **kwargs)

    monkeypatch.setattr(KgnegNegativeSampler, "__init__", record)
    return seen


def files(home: Path) -> dict[str, Path]:
    return {path.relative_to(home).parts[0]: path for path in home.rglob("*.safetensors")}


def test_one_build_for_all_constructions_of_a_run(
    umls: UMLS, counts: Counts, constructions: list[object], fresh_memory: Callable[[], None], tmp_path: Path
) -> None:
    def run() -> list[float]:
        return pipeline(
            dataset=umls,
            model="TransE",
            model_kwargs={"embedding_dim": 4},
            negative_sampler="lemon",
            negative_sampler_kwargs={"encoder": "lexical"},
            training_kwargs={"num_epochs": 1, "batch_size": 1024, "use_tqdm": False},
            evaluation_kwargs={"batch_size": 256, "use_tqdm": False},
            random_seed=1,
            device="cpu",
        ).losses

    first = run()
    assert constructions == [LemonNegativeSampler] * 2
    assert counts == {"encode": 1, "kmeans": 1, "index": 1}
    assert run() == first
    assert len(constructions) == 4
    assert counts == {"encode": 1, "kmeans": 1, "index": 1}
    assert set(files(tmp_path / "home")) == {"vectors", "lemon"}
    fresh_memory()  # as in a second process
    assert run() == first
    assert counts == {"encode": 1, "kmeans": 1, "index": 2}


def test_what_differs_is_built_anew(umls: UMLS, make: Make, counts: Counts) -> None:
    def construct(**kwargs: Any) -> None:
        make(LemonNegativeSampler, umls.training, **kwargs)

    construct()
    construct(seed=3, num_negs_per_pos=7, sides="head", anchor="replaced", uniform_share=0.5)
    assert counts == {"encode": 1, "kmeans": 1, "index": 1}
    construct(n_clusters=7)
    assert counts == {"encode": 1, "kmeans": 2, "index": 1}
    texts = {label: label[::-1] for label in umls.training.entity_to_id}
    construct(texts=texts, n_clusters=3, n_nearest=1)
    assert counts == {"encode": 2, "kmeans": 3, "index": 1}


def test_a_second_process_builds_nothing(
    python: Callable[..., subprocess.CompletedProcess[str]], umls: UMLS, make: Make, cache_root: Path
) -> None:
    expected = make(LemonNegativeSampler, umls.training, num_negs_per_pos=4, seed=6)
    negatives = expected.corrupt_batch(umls.training.mapped_triples)
    program = """
import hashlib
from kgneg.core import encode
from kgneg.samplers import lemon_pools
def refuse(*args, **kwargs):
    raise RuntimeError("built again")
encode.LexicalEncoder.encode = refuse
lemon_pools.kmeans = refuse
from pykeen.datasets import UMLS
from pykeen.sampling import negative_sampler_resolver
factory = UMLS().training
triples = factory.mapped_triples
sampler = negative_sampler_resolver.make(
    "lemon", dict(encoder="lexical", num_negs_per_pos=4, seed=6),
    mapped_triples=triples, num_entities=factory.num_entities, num_relations=factory.num_relations,
)
print(hashlib.sha256(sampler.corrupt_batch(triples).contiguous().numpy().tobytes()).hexdigest())
"""
    done = python("-c", program, KGNEG_HOME=str(cache_root))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == hashlib.sha256(negatives.contiguous().numpy().tobytes()).hexdigest()
    done = python("-c", program)  # without the cache it does have to build
    assert done.returncode == 1
    assert "built again" in done.stderr


@pytest.mark.parametrize(
    ("kind", "damage"),
    [("vectors", "cut"), ("vectors", "flipped"), ("lemon", "flipped"), ("lemon", "empty"), ("lemon", "text")],
)
def test_a_damaged_file_is_built_again(
    umls: UMLS,
    make: Make,
    counts: Counts,
    fresh_memory: Callable[[], None],
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    kind: str,
    damage: str,
) -> None:
    positives = umls.training.mapped_triples[:300]
    expected = make(LemonNegativeSampler, umls.training, seed=1).corrupt_batch(positives)
    path = files(tmp_path / "home")[kind]
    whole = path.read_bytes()
    flipped = whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]
    path.write_bytes({"cut": whole[:-20], "flipped": flipped, "empty": b"", "text": b"no tensors at all"}[damage])
    fresh_memory()
    with caplog.at_level(logging.WARNING, logger="kgneg"):
        again = make(LemonNegativeSampler, umls.training, seed=1).corrupt_batch(positives)
    assert torch.equal(again, expected)
    assert path.name in caplog.text
    assert "again" in caplog.text
    assert counts["encode" if kind == "vectors" else "kmeans"] == 2
    assert path.read_bytes() == whole


def test_a_folder_that_cannot_be_written(
    umls: UMLS,
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
    fresh_memory: Callable[[], None],
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    expected = make(LemonNegativeSampler, umls.training, seed=1).corrupt_batch(umls.training.mapped_triples)
    (tmp_path / "file").write_text("in the way of a folder", encoding="utf-8")
    monkeypatch.setenv("KGNEG_HOME", str(tmp_path / "file"))
    fresh_memory()
    with caplog.at_level(logging.WARNING, logger="kgneg"):
        built = make(LemonNegativeSampler, umls.training, seed=1)
    assert torch.equal(built.corrupt_batch(umls.training.mapped_triples), expected)
    assert "KGNEG_HOME" in caplog.text


def test_cached_files_have_the_permissions_of_any_new_file(
    umls: UMLS, make: Make, counts: Counts, tmp_path: Path
) -> None:
    make(LemonNegativeSampler, umls.training)
    (tmp_path / "usual").touch()
    usual = stat.S_IMODE((tmp_path / "usual").stat().st_mode)
    assert {stat.S_IMODE(path.stat().st_mode) for path in files(tmp_path / "home").values()} == {usual}
