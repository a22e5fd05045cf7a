from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.samplers.noise import NoiseFilter, NoiseReport
from kgneg.samplers.noise.files import REPORT_FILE, SUMMARY_FILE, read_report, write_report


def fit(labels: list[Any], ids: list[Any] | None = None, **options: Any) -> NoiseReport:
    generator = torch.Generator().manual_seed(1)
    vectors = torch.randn(len(labels), 6, generator=generator)
    vectors[: len(labels) // 3, 0] += 5
    types = {"kind": ["a", "b"] * (len(labels) // 2)}
    return NoiseFilter(0 if 0 in labels else "none", k=5, evidence=4, **options).fit(
        vectors, labels, types=types, ids=ids
    )


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    """Train the classifiers for fewer steps; how good they are does not matter here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kgneg.samplers.noise.probe._STEPS", (10, 10))
        yield


@pytest.fixture(scope="module")
def report() -> NoiseReport:
    return fit(["born in"] * 20 + ["met"] * 10 + ["none"] * 90, [f"row {row}" for row in range(120)], flag=0.3)


def assert_same(one: NoiseReport, other: NoiseReport) -> None:
    for field in fields(NoiseReport):
        left, right = getattr(one, field.name), getattr(other, field.name)
        if isinstance(left, torch.Tensor):
            assert left.dtype == right.dtype, field.name
            assert torch.equal(left, right), field.name
        else:
            assert type(left) is type(right), field.name
            assert left == right, field.name


def test_round_trip(report: NoiseReport, tmp_path: Path) -> None:
    paths = write_report(report, tmp_path / "new" / "folder")
    assert sorted(paths) == [REPORT_FILE, SUMMARY_FILE]
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == sorted(paths)
    again = read_report(tmp_path / "new" / "folder")
    assert_same(report, again)
    pd.testing.assert_frame_equal(again.table(), report.table())
    assert_same(
        report.rethreshold(0.1, eliminate=0.4, reannotate=True), again.rethreshold(0.1, eliminate=0.4, reannotate=True)
    )


@pytest.mark.parametrize(
    "ids",
    [
        None,
        [f"{row}" for row in range(120)],
        list(range(500, 620)),
        [*range(60), *map(str, range(60))],
        [2**80, *range(119)],
    ],
    ids=["none", "texts", "numbers", "mixed", "large"],
)
def test_ids_and_labels_keep_their_kind(ids: list[Any] | None, tmp_path: Path) -> None:
    found = fit([1] * 20 + ["1"] * 10 + [0] * 90, ids)
    write_report(found, tmp_path)
    again = read_report(tmp_path)
    assert again.classes == (0, 1, "1")
    assert [type(name) for name in again.ids] == [type(name) for name in found.ids]
    assert_same(found, again)
    assert again.corrected() == found.corrected()


def test_nothing_near(report: NoiseReport, tmp_path: Path) -> None:
    alone = replace(
        report,
        evidence=torch.full_like(report.evidence, -1),
        evidence_cosine=torch.full_like(report.evidence_cosine, float("-inf")),
        suggestion=torch.full_like(report.suggestion, -1),
    )
    write_report(alone, tmp_path)
    assert_same(alone, read_report(tmp_path))


def test_table_for_people(report: NoiseReport, tmp_path: Path) -> None:
    write_report(report, tmp_path)
    table, own = pd.read_parquet(tmp_path / REPORT_FILE), report.table()
    assert table["id"].tolist() == own["id"].tolist()
    assert table["label"].tolist() == own["label"].tolist()
    assert table["action_name"].tolist() == own["action"].tolist()
    assert table["evidence"].map(len).unique().tolist() == [4]


def test_summary_is_the_same_bytes(report: NoiseReport, tmp_path: Path) -> None:
    for name in "ab":
        write_report(report, tmp_path / name)
    summary = (tmp_path / "a" / SUMMARY_FILE).read_bytes()
    assert summary == (tmp_path / "b" / SUMMARY_FILE).read_bytes()
    assert summary.startswith(b"{")


def test_damaged_files(report: NoiseReport, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"no such file; is .* the folder of a noise report"):
        read_report(tmp_path)
    path = write_report(report, tmp_path)[REPORT_FILE]
    data = path.read_bytes()
    for cut in (0, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:cut])
        with pytest.raises(InvalidInputError, match="was the file cut off"):
            read_report(tmp_path)
    pd.DataFrame({"id": [1]}).to_parquet(path)
    with pytest.raises(InvalidInputError, match="not one of a noise report"):
        read_report(tmp_path)


def test_a_failure_leaves_the_old_file(report: NoiseReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyarrow import parquet

    path = write_report(report, tmp_path)[REPORT_FILE]
    before = path.read_bytes()

    def fail(table: Any, where: Any) -> None:
        Path(where).write_bytes(b"half")
        raise OSError("the disk is full")

    monkeypatch.setattr(parquet, "write_table", fail)
    with pytest.raises(OSError, match="the disk is full"):
        write_report(report.rethreshold(0.9), tmp_path)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2


def test_labels_that_no_file_keeps(report: NoiseReport, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"the label .* of type tuple"):
        write_report(replace(report, classes=("none", ("a", "b"), "c")), tmp_path)
    assert list(tmp_path.iterdir()) == []
