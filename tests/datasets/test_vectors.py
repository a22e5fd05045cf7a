from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from kgneg.core.errors import InvalidInputError
from kgneg.datasets import VectorTable, read_vectors, write_vectors

NAN = float("nan")


def table(**change: Any) -> VectorTable:
    values: dict[str, Any] = {
        "ids": ("1", "b,\n c", "null"),
        "labels": ("NA", 'a "label"', "x\ty"),
        "vectors": torch.tensor([[0.1, 1e-30], [1 / 3, -2.0], [0.0, 3e38]]),
        "groups": ("d", "d", "nan"),
        "types": ("PER LOC", "LOC PER", "ö"),
    }
    return VectorTable(**values | change)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".csv.gz", ".TSV.gz", ".parquet"])
@pytest.mark.parametrize("change", [{}, {"groups": None, "types": None}])
def test_round_trip(tmp_path: Path, suffix: str, change: dict[str, Any]) -> None:
    path, given = tmp_path / f"examples{suffix}", table(**change)
    write_vectors(path, given)
    found = read_vectors(path)
    for name in ("ids", "labels", "groups", "types"):
        assert getattr(found, name) == getattr(given, name)
    assert torch.equal(found.vectors, given.vectors)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def write_csv(tmp_path: Path, text: str, name: str = "a.csv") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_csv_columns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_csv(tmp_path, "name,vector_2,relation,vector_1,text,vector_10,vector_3\n")
    with pytest.raises(InvalidInputError, match="no column 'id' for 'id', the columns are 'name', 'vector_2'"):
        read_vectors(path)
    head = "name,v2,relation,v1,text,doc"
    path = write_csv(tmp_path, f"{head}\na,2,r,1,hello,d\n")
    with caplog.at_level(logging.INFO, logger="kgneg"):
        found = read_vectors(path, id="name", label="relation", group="doc")
    assert found.vectors.tolist() == [[1.0, 2.0]]
    assert found.groups == ("d",)
    assert found.types is None
    assert "the columns 'text' are not read" in caplog.text
    assert read_vectors(path, id="name", label="relation", group=None).groups is None
    with pytest.raises(InvalidInputError, match="no column 'paper' for 'group'"):
        read_vectors(path, id="name", label="relation", group="paper")


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("id,label,v0\n", {}, "no row below the names"),
        ("", {}, "line 1: got an empty line"),
        ("id,label,v0,v0\na,x,1,2\n", {}, "the column 'v0' more than once"),
        ("id,label,v0,v1\na,x,1,2\nb,x,1\n", {}, "Row #3: Expected 4 columns, got 3"),
        ("id,label,v0,v1\na,x,1,2\nb,x,1,2,3\n", {}, "Row #3: Expected 4 columns, got 5"),
        ("id,label,v0,v1\na,x,1,2\nb,x,1,two\n", {}, "Row #3: .* invalid value 'two'"),
        ("id,label,v0,v1\na,x,1,2\nb,x,,2\nc,x,1,nan\n", {}, r"2 of 3 hold NaN.* \(from 0\) 1, 2"),
        ("id,label,v0,v1\na,x,1,1e39\n", {}, "1 of 1 hold NaN, infinite"),
        ("id,label,v0\na,x,1\na,x,2\n", {}, "'a' occur more than once"),
        ("id,label,v0\na,x,1\nb,,2\n", {}, r"'label' has no value in 1 of 2 rows, in the rows \(from 0\) 1"),
        ("id,label,text\na,x,y\n", {}, "no columns of vectors; .* left are 'text'"),
        ("id,label,v0,w0\na,x,1,2\n", {}, r"several columns of vectors \(v, w\)"),
        ("id,label,v0,w0\na,x,1,2\n", {"vector": "z"}, "no columns of vectors that start with 'z'"),
        ("id,label,v0,v2\na,x,1,2\n", {}, "v0 to v2 lack v1"),
        ("id,label,v2,v3\na,x,1,2\n", {}, "v2 to v3 lack v0"),
        ("id,label,v1,v01\na,x,1,2\n", {}, "'v1' and 'v01' have one number"),
    ],
)
def test_malformed_csv(tmp_path: Path, text: str, options: dict[str, Any], message: str) -> None:
    path = write_csv(tmp_path, text)
    with pytest.raises(InvalidInputError, match=message) as caught:
        read_vectors(path, **options)
    assert str(path) in str(caught.value)


def test_prefix(tmp_path: Path) -> None:
    path = write_csv(tmp_path, "id,label,v0,w0,w1\na,x,1,2,3\n")
    assert read_vectors(path, vector="w").vectors.tolist() == [[2.0, 3.0]]


def test_a_file_without_a_last_line_end_is_suspicious(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert len(read_vectors(write_csv(tmp_path, "id,label,v0\na,x,1.5"))) == 1
    assert "no line end after the last line" in caplog.text


def write_parquet(tmp_path: Path, **columns: Any) -> Path:
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"id": [7, 8], "label": ["x", "NA"]} | columns), path)
    return path


@pytest.mark.parametrize("kind", [pa.list_(pa.float64()), pa.large_list(pa.float32()), pa.list_(pa.int32(), 2)])
def test_parquet_lists(tmp_path: Path, kind: pa.DataType) -> None:
    path = write_parquet(tmp_path, emb=pa.array([[1, 2], [3, 4]], kind), score=[0.5, 0.5])
    for options in ({}, {"vector": "emb"}):
        found = read_vectors(path, **options)
        assert found.vectors.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert found.ids == ("7", "8")


def test_parquet_numbers(tmp_path: Path) -> None:
    path = write_parquet(
        tmp_path, v1=[1, 2], v0=[0.5, 1.5], text9=["x", "y"], label=pa.array(["x", "y"]).dictionary_encode()
    )
    found = read_vectors(path)
    assert found.vectors.tolist() == [[0.5, 1.0], [1.5, 2.0]]
    assert found.labels == ("x", "y")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"vector": [[1.0, 2.0], [1.0]]}, "that of row .* 1 of 2 rows differ"),
        ({"vector": [[1.0, 2.0], None]}, r"that of row 1 \(from 0\) has 0"),
        ({"vector": [[], []]}, "lists of null, expected numbers"),
        ({"vector": pa.array([[], None], pa.list_(pa.float32()))}, "all vectors are missing or empty"),
        ({"vector": [[1.0, 2.0], [1.0, None]]}, r"1 of 2 hold NaN.* \(from 0\) 1"),
        ({"vector": [[1.0, NAN], [1.0, 1.0]]}, r"1 of 2 hold NaN.* \(from 0\) 0"),
        ({"vector": [["a"], ["b"]]}, "lists of string, expected numbers"),
        ({"v0": [1.0, None]}, r"1 of 2 hold NaN.* \(from 0\) 1"),
        ({"v0": [1.0, 2.0], "label": ["x", None]}, "'label' has no value in 1 of 2 rows"),
        ({"v0": [1.0, 2.0], "label": [0.5, 1.0]}, "'label' holds double, expected texts or integers"),
        ({"a": [[1.0], [1.0]], "b": [[1.0], [1.0]]}, r"several columns of vectors \(a, b\)"),
        ({"text": ["a", "b"]}, "no columns of vectors"),
    ],
)
def test_malformed_parquet(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    path = write_parquet(tmp_path, **columns)
    with pytest.raises(InvalidInputError, match=message) as caught:
        read_vectors(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("suffix", [".parquet", ".csv.gz"])
def test_truncated_files(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    write_vectors(path, table())
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(InvalidInputError, match=r"was the file cut off|a complete file"):
        read_vectors(path)


def test_paths(tmp_path: Path) -> None:
    for name in ("a.csv", "a.parquet"):
        with pytest.raises(InvalidInputError, match="no such file"):
            read_vectors(tmp_path / name)
    with pytest.raises(InvalidInputError, match="got a folder"):
        (tmp_path / "b.parquet").mkdir()
        read_vectors(tmp_path / "b.parquet")
    with pytest.raises(InvalidInputError, match=r"cannot tell the format from '\.npz'"):
        read_vectors(tmp_path / "a.npz")
    with pytest.raises(InvalidInputError, match="unpack it"):
        read_vectors(tmp_path / "a.parquet.gz")
    with pytest.raises(InvalidInputError, match=r"cannot write \.csv\.xz"):
        write_vectors(tmp_path / "a.csv.xz", table())


def test_select() -> None:
    some = table().select([2, 0])
    assert (some.ids, some.groups, some.types) == (("null", "1"), ("nan", "d"), ("ö", "PER LOC"))
    assert torch.equal(some.vectors, table().vectors[[2, 0]])
    assert table(groups=None).select(torch.tensor([True, False, False])).groups is None
    with pytest.raises(InvalidInputError, match="got 3, expected 0 to 2"):
        table().select([3])
    with pytest.raises(InvalidInputError, match=r"mask of shape \(1,\)"):
        table().select(torch.tensor([True]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": ()}, "got no example"),
        ({"labels": ("x",)}, "labels: got 1 values for 3 examples"),
        ({"groups": ("x",)}, "groups: got 1"),
        ({"ids": ("a", "a", "b")}, "'a' occur more than once"),
        ({"labels": ("x", " ", "")}, r"2 of 3 examples have none, in the rows \(from 0\) 1, 2"),
        ({"vectors": torch.ones(2, 2)}, r"got shape \(2, 2\)"),
        ({"vectors": torch.ones(3, 2, dtype=torch.int64)}, "floating point"),
        ({"vectors": torch.ones(3, 0)}, "d > 0"),
        ({"vectors": torch.tensor([[1.0], [NAN], [float("inf")]])}, r"2 of 3 hold NaN.* \(from 0\) 1, 2"),
    ],
)
def test_table_refuses(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        table(**change)
