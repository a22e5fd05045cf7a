from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.core.shard_files import MANIFEST, Shard, find_shards, plan_shards, read_manifest, tidy


def write(path: Path, values: list[int], row_group_size: int = 2) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    pq.write_table(pa.table({"x": pa.array(values, pa.int64()), "y": values}), path, row_group_size=row_group_size)
    return path


def test_find(tmp_path: Path) -> None:
    names = ["b.parquet", "a.parquet", ".hidden.parquet", "_meta.parquet", "a.txt"]
    b, a = [write(tmp_path / name, [1]) for name in names][:2]
    assert find_shards(tmp_path) == find_shards(str(tmp_path)) == [a, b]
    assert find_shards([b, str(a)]) == [b, a]
    assert find_shards(tmp_path / "a.txt") == [tmp_path / "a.txt"]


def test_find_nothing(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="holds no file"):
        find_shards(tmp_path)
    with pytest.raises(InvalidInputError, match=r"do not exist: .*gone.parquet"):
        find_shards([tmp_path / "gone.parquet"])
    with pytest.raises(InvalidInputError, match="none were given"):
        find_shards([])


def test_plan_refuses(tmp_path: Path) -> None:
    one, two = write(tmp_path / "1" / "a.parquet", [1]), write(tmp_path / "2" / "a.parquet", [1])
    with pytest.raises(InvalidInputError, match="would both be written to"):
        plan_shards([one, two], tmp_path / "out", None)
    with pytest.raises(InvalidInputError, match="each once"):
        plan_shards([one, one], tmp_path / "out", 1)
    with pytest.raises(InvalidInputError, match="overwritten by its own output"):
        plan_shards([one], tmp_path / "1", None)


@pytest.mark.parametrize(("rows", "size", "expected"), [(5, 1, [2, 2, 1]), (5, 2, [4, 1]), (5, 9, [5]), (0, 1, [0])])
def test_plan_of_row_groups(rows: int, size: int, expected: list[int], tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", list(range(rows)))
    shards = plan_shards([path], tmp_path / "out", size)
    tables = [shard.read() for shard in shards]
    assert [table.num_rows for table in tables] == expected
    assert pa.concat_tables(tables)["x"].to_pylist() == list(range(rows))
    assert len({shard.output for shard in shards}) == len(expected)


def test_content_is_of_the_bytes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", [1, 2, 3, 4])
    halves = plan_shards([path], tmp_path, 1)
    whole = Shard(path, None, tmp_path / "out")
    before = [shard.content() for shard in (whole, *halves)]
    assert len(set(before)) == 3
    os.utime(path, (0, 0))
    write(tmp_path / "b.parquet", [1, 2, 3, 4])
    assert whole._replace(source=tmp_path / "b.parquet").content() == whole.content() == before[0]
    write(path, [1, 2, 3, 5])
    after = [shard.content() for shard in (whole, *halves)]
    assert [old == new for old, new in zip(before, after, strict=True)] == [False, True, False]
    write(path, [9, 2, 3, 4])
    after = [shard.content() for shard in (whole, *halves)]
    assert [old == new for old, new in zip(before, after, strict=True)] == [False, False, True]
    assert Shard(path, (0, 2), tmp_path / "out").content() not in after


def test_tidy(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "in" / "a.parquet", [1])
    out = tmp_path / "out"
    shards = plan_shards([path], out, None)
    write(out / "a.parquet", [1])
    fresh, old = write(out / ".a.parquet.x.parquet", [1]), write(out / ".a.parquet.y.parquet", [1])
    os.utime(old, (time.time() - 2 * 24 * 3600,) * 2)
    with caplog.at_level(logging.WARNING):
        tidy(shards, out)
        assert caplog.text == ""
        stranger = write(out / "b.parquet", [1])
        tidy(shards, out)
    assert "1 shards that are not of these inputs, such as b.parquet" in caplog.text
    assert fresh.exists()
    assert stranger.exists()
    assert not old.exists()


def test_manifest(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) == []
    folder = tmp_path / MANIFEST
    folder.mkdir()
    (folder / "b.json").write_text('{"output": "b"}')
    (folder / "a.json").write_text('{"output": "a"}')
    (folder / ".c.json").write_text("{")
    assert read_manifest(tmp_path) == [{"output": "a"}, {"output": "b"}]
    (folder / "c.json").write_text("[]")
    with pytest.raises(InvalidInputError, match=r"c.json is no complete note"):
        read_manifest(tmp_path)
