from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.candidates import CONTROL
from kgneg.selfinstruct.tables import read_tables, refuse_columns

ROWS = [("a", "b", f"t {number}") for number in range(10)]


def parquet(path: Path, rows: list[tuple[str, str, str]], **further: list[Any]) -> Path:
    columns = {name: [row[place] for row in rows] for place, name in enumerate(("head", "relation", "tail"))}
    pq.write_table(pa.table({**columns, **further}), path)
    return path


def test_columns_in_another_order(tmp_path: Path) -> None:
    other = tmp_path / "b.parquet"
    pq.write_table(pa.table({"tail": ["c"], "weight": [1], "head": ["a"], "relation": ["b"]}), other)
    first = parquet(tmp_path / "a.parquet", ROWS[:1], weight=[0])
    (found,) = read_tables([first, other], 4)
    assert [tuple(row.values()) for row in found.to_pylist()] == [(*ROWS[0], 0), ("a", "b", "c", 1)]
    pq.write_table(pa.table({"tail": ["c"], "weight": ["1"], "head": ["a"], "relation": ["b"]}), other)
    with pytest.raises(InvalidInputError, match="same columns"):
        list(read_tables([first, other], 4))


def test_control_characters_are_those_of_candidates() -> None:
    every = [chr(code) for code in range(0x300)]
    found = pc.match_substring_regex(pa.array(every), CONTROL).to_pylist()
    assert found == [re.search(CONTROL, one) is not None for one in every]
    assert sum(found) == 62


def test_columns_that_the_output_gets(tmp_path: Path) -> None:
    paths = [parquet(tmp_path / "a.parquet", []), parquet(tmp_path / "b.parquet", ROWS, row=list(range(10)))]
    refuse_columns(paths, ["reason"])
    with pytest.raises(InvalidInputError, match=r"b.parquet has the column row, which the output gets. Rename it"):
        refuse_columns(paths, ["reason", "row"])
    refuse_columns(paths[:1], ["row"])
