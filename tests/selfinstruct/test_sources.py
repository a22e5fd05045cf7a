from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.sources import cut, find_sources, shard_name

ROWS = [(f'h"{number}', "r\u00e9l", f"t {number}") for number in range(9)] + [("NA", "null", "1.50")]
TEXT = "".join("\t".join(row) + "\n" for row in ROWS)


def read(shards: list[Path]) -> list[tuple[str, ...]]:
    return [tuple(row.values()) for shard in shards for row in pq.read_table(shard).to_pylist()]


def parquet(path: Path, rows: list[tuple[str, ...]], **further: list[Any]) -> Path:
    columns = {name: [row[place] for row in rows] for place, name in enumerate(("head", "relation", "tail"))}
    pq.write_table(pa.table({**columns, **further}), path, row_group_size=3)
    return path


def write(suffix: str) -> Callable[[Path], Path]:
    pack = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}[suffix]

    def make(folder: Path) -> Path:
        path = folder / f"a.tsv{suffix}"
        path.write_bytes(pack(TEXT.encode()))
        return path

    return make


@pytest.mark.parametrize(
    "make", [*map(write, ("", ".gz", ".bz2", ".xz")), lambda folder: parquet(folder / "a.parquet", ROWS)]
)
@pytest.mark.parametrize("shard_rows", [1, 4, 10, 100])
def test_every_row_once_in_order(make: Callable[[Path], Path], shard_rows: int, tmp_path: Path) -> None:
    shards = cut([make(tmp_path)], tmp_path / "in", shard_rows)
    assert read(shards) == ROWS
    sizes = [pq.read_metadata(shard).num_rows for shard in shards]
    assert sizes == [min(shard_rows, 10 - begin) for begin in range(0, 10, shard_rows)]
    assert [shard.name for shard in shards] == [shard_name(number) for number in range(len(shards))]


def test_shards_cross_files(tmp_path: Path) -> None:
    paths = [
        parquet(tmp_path / f"{name}.parquet", rows) for name, rows in (("a", ROWS[:3]), ("b", []), ("c", ROWS[3:]))
    ]
    shards = cut(paths, tmp_path / "in", 4)
    assert read(shards) == ROWS
    assert len(shards) == 3


def test_header_and_further_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes(b"\xef\xbb\xbftail\thead\trelation\tside\r\nx\ty\tz\thead\r\n")
    (shard,) = cut([path], tmp_path / "in", 5)
    assert pq.read_table(shard).to_pylist() == [{"tail": "x", "head": "y", "relation": "z", "side": "head"}]
    made = parquet(tmp_path / "b.parquet", ROWS, weight=list(range(10)))
    assert pq.read_table(cut([made], tmp_path / "in", 10)[0])["weight"].to_pylist() == list(range(10))


@pytest.mark.parametrize("first", ["Head\tRelation\tTail", "HEAD\tRELATION\tTAIL", "head\trelation\tTail"])
def test_a_header_in_capitals(first: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text(f"{first}\na\tb\tc\n", encoding="utf-8")
    (shard,) = cut([path], tmp_path / "in", 5)
    assert pq.read_table(shard).to_pylist() == [{"head": "a", "relation": "b", "tail": "c"}]


def test_nothing_is_done_twice(tmp_path: Path) -> None:
    path = write("")(tmp_path)
    shards = cut([path], tmp_path / "in", 4)
    times = [shard.stat().st_mtime_ns for shard in shards]
    assert cut([path], tmp_path / "in", 4) == shards
    assert [shard.stat().st_mtime_ns for shard in shards] == times
    shards[1].unlink()
    assert read(cut([path], tmp_path / "in", 4)) == ROWS
    path.write_text(TEXT + "a\tb\tc\n", encoding="utf-8")
    assert read(cut([path], tmp_path / "in", 4)) == [*ROWS, ("a", "b", "c")]
    assert len(cut([path], tmp_path / "in", 6)) == len(list((tmp_path / "in").glob("part-*"))) == 2


@pytest.mark.parametrize("content", [b"", b"\n"])
def test_an_empty_file(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes(content)
    (shard,) = cut([path], tmp_path / "in", 4)
    assert pq.read_table(shard).num_rows == 0


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", b"a\tb\n", "line 1: got 2 columns"),
        ("a.tsv", b"\na\tb\tc\n", "line 1: got 1 columns"),
        ("a.tsv", b"a\tb\tc\na\tb\n", "Expected 3 columns, got 2"),
        ("a.tsv", b"a\tb\tc\na\tb\tc\td\n", "Expected 3 columns, got 4"),
        ("a.tsv", b"a\tb\tc\na\t \tc\n", "row 2: the relation is empty"),
        ("a.tsv", b"a\tb\tc\na\t\xff\tc\n", "cannot be read"),
        ("a.tsv", b"\xff\tb\tc\n", "cannot be read"),
        ("a.tsv.gz", b"no gzip", "cannot be read"),
        ("a.tsv.xz", b"no xz", "cannot be read"),
        ("a.parquet", b"no parquet", "cannot be read"),
        ("a.json", b"{}", "expected a file"),
        ("a.tsv", b"head\trelation\ttail\thead\na\tb\tc\td\n", "two columns of one name"),
        ("a.tsv", b'"head"\t"relation"\t"Tail"\na\tb\tc\n', "line 1: the names of the columns stand in quotes"),
        ("a.tsv", b"a\tb\tc\na\tb\tc\x00\n", r"a.tsv, row 2: the tail 'c.x00' has a control character. Replace it"),
        ("a.tsv", b"a\tb\tc\n\xc2\x85a\tb\tc\n", "row 2: the head .* has a control character"),
    ],
)
def test_refusals(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match=message):
        cut([path], tmp_path / "in", 4)
    assert not (tmp_path / "in" / "plan.json").exists()


def test_refused_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"head": ["a"], "tail": ["b"]}), path)
    with pytest.raises(InvalidInputError, match="no column relation"):
        cut([path], tmp_path / "in", 4)
    pq.write_table(pa.table({"head": ["a"], "relation": [None], "tail": ["b"]}), path)
    with pytest.raises(InvalidInputError, match="row 1: the relation is empty"):
        cut([path], tmp_path / "in", 4)
    other = parquet(tmp_path / "b.parquet", ROWS, weight=list(range(10)))
    with pytest.raises(InvalidInputError, match="same columns"):
        cut([write("")(tmp_path), other], tmp_path / "in", 4)


def test_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b.parquet", "a.parquet", "_c.parquet", ".d.parquet", "e.tsv"):
        (tmp_path / name).touch()
    both = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    with pytest.raises(InvalidInputError, match=r"several kinds, such as a.parquet and e.tsv. Say which"):
        find_sources(tmp_path)
    assert find_sources(str(tmp_path / "*.tsv")) == [tmp_path / "e.tsv"]
    assert find_sources([both[1], tmp_path / "e.tsv"]) == [both[1], tmp_path / "e.tsv"]
    (tmp_path / "e.tsv").rename(tmp_path / "report.json")
    assert find_sources(tmp_path) == both
    assert find_sources([both[1], tmp_path]) == both[::-1]
    monkeypatch.chdir(tmp_path)
    assert find_sources(["a.parquet", str(both[0]), tmp_path / ".." / tmp_path.name / "a.parquet"]) == [
        Path("a.parquet")
    ]
    for wrong, message in ((tmp_path / "z*", "no file"), ([], "no sources")):
        with pytest.raises(InvalidInputError, match=message):
            find_sources(wrong)
