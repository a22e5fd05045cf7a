from __future__ import annotations

from pathlib import Path

import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.claim import MARK, claim


def test_one_kind(tmp_path: Path) -> None:
    out = tmp_path / "new"
    claim(out, "run")
    (out / "part-000000.parquet").touch()
    claim(out, "run")
    with pytest.raises(InvalidInputError, match=r"output of run, not of dedup. Give a new"):
        claim(out, "dedup")
    (out / MARK).write_text("{", encoding="utf-8")
    with pytest.raises(InvalidInputError, match="does not say what"):
        claim(out, "run")


def test_files_of_others(tmp_path: Path) -> None:
    (tmp_path / f".{MARK}.x.json").touch()  # another job is about to claim it
    claim(tmp_path, "run")
    (tmp_path / MARK).unlink()
    for name in ("report.json", "b"):
        (tmp_path / name).touch()
    with pytest.raises(InvalidInputError, match=r"holds b and 1 more, which no run has written. Give a new"):
        claim(tmp_path, "run")
    assert not (tmp_path / MARK).exists()
    with pytest.raises(InvalidInputError, match="which no filter has written"):
        claim(tmp_path, "filter", sign="filter.json")
    (tmp_path / "filter.json").touch()
    claim(tmp_path, "filter", sign="filter.json")
    with pytest.raises(InvalidInputError, match="output of filter, not of run"):
        claim(tmp_path, "run", sign="filter.json")
