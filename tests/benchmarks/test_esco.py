"""The benchmark of skill extraction: what it counts, and its tables."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from esco_data import TESTS, read_examples, read_parts, read_skills
from esco_rows import CLASSIFIERS, ROWS, co_gold

import esco
from kgneg.core.candidates import CandidateIndex
from kgneg.skills import ConceptRanker
from kgneg.skills.sources import Gold

DATA = Path(os.environ.get("KGNEG_DATA", Path(__file__).resolve().parents[3] / "shared" / "data")) / "esco"


def gold(*pairs: tuple[int, int]) -> Gold:
    table = torch.tensor(pairs)
    return Gold([str(one) for one in range(int(table[:, 0].max()) + 1)], table[:, 0], table[:, 1], {})


def test_co_gold() -> None:
    """Text 0 has the concepts 0, 1 and 2; text 1 has the concept 3."""
    golds = [gold((0, 0), (0, 1), (0, 2), (1, 3))]
    lists = CandidateIndex.from_lists([[1, 4], [3, 4], [], [0], [0]], num_columns=5)
    assert co_gold(lists, 5, golds, None) == pytest.approx((1 / 2 + 0 + 0) / 3)  # the concept 2 has no list
    assert co_gold(None, 5, golds, None) == pytest.approx((2 / 4 + 2 / 4 + 2 / 4 + 0) / 4)
    near = CandidateIndex.from_lists([[1], [], [], [], []], num_columns=5)
    assert co_gold(lists, 5, golds, near) == 0
    weighted = CandidateIndex.from_pairs(
        torch.tensor([0, 0]), torch.tensor([1, 4]), num_rows=5, num_columns=5, weights=torch.tensor([3.0, 1.0])
    )
    assert co_gold(weighted, 5, golds, None) == pytest.approx(3 / 4)


def cell(row: str, seed: int, mrr: float, rp: float) -> dict[str, Any]:
    figures = {part: {"alone": {"mrr": mrr, "rp": {"5": rp}}} for part in TESTS}
    return {"row": row, "seed": seed, "figures": figures, "cpu_seconds": 10.0 * (seed + 1)}


def test_tables(tmp_path: Path) -> None:
    cells = [cell("random", 0, 0.4, 40.0), cell("random", 1, 0.5, 42.0), cell("softmax", 0, 0.6, 50.0)]
    table = esco.trained_table(cells, {"random": 0.0123}, ["random", "mixture", "softmax"], "alone")
    assert table.splitlines()[2:] == [
        "| random | 2 | 0.450 ± 0.071 / 41.0 ± 1.4 | 0.450 ± 0.071 / 41.0 ± 1.4 | 1.23 | 15 |",
        "| softmax | 1 | 0.600 ± 0.000 / 50.0 ± 0.0 | 0.600 ± 0.000 / 50.0 ± 0.0 | - | 10 |",
    ]
    assert "| random | 2 | - | - |" in esco.trained_table(cells, {}, ["random"], "seen")
    page = tmp_path / "benchmarks.md"
    page.write_text("before\n<!-- esco:begin -->\nold\n<!-- esco:end -->\nafter \\1\n", encoding="utf-8")
    esco.publish({"esco": "| new |"}, tmp_path)
    text = page.read_text(encoding="utf-8")
    assert text == "before\n<!-- esco:begin -->\n\n| new |\n\n<!-- esco:end -->\nafter \\1\n"
    with pytest.raises(SystemExit, match="lacks the marks"):
        esco.publish({"other": ""}, tmp_path)


def test_rows_are_like_rows_that_are_tuned() -> None:
    rows = {**ROWS, **CLASSIFIERS}
    assert all(row.like is None or rows[row.like].like is None for row in rows.values())
    sizes = {name: sum(row.recipe["strategies"].values()) for name, row in ROWS.items() if "strategies" in row.recipe}
    assert {size for name, size in sizes.items() if "64" not in name} == {4}
    assert {size for name, size in sizes.items() if "64" in name} == {64}


@pytest.mark.slow
def test_floors_and_what_is_held_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The published figures of MiniLM without training, and no text of the benchmark among those to learn from."""
    if not DATA.is_dir():
        pytest.skip(f"there is no folder {DATA}; set KGNEG_DATA")
    skills, prior = read_skills(DATA)
    parts = read_parts(DATA, skills)
    found = {
        part: esco.floors(parts[part], skills, prior, ConceptRanker(skills.labels, "minilm", progress=False))["MiniLM"]
        for part in TESTS
    }
    assert found["tech_test"]["mrr"] == pytest.approx(0.435, abs=0.005)
    assert found["tech_test"]["rp"]["5"] == pytest.approx(45.6, abs=0.5)
    assert found["house_test"]["mrr"] == pytest.approx(0.332, abs=0.005)
    assert found["house_test"]["rp"]["5"] == pytest.approx(33.9, abs=0.5)
    assert (found["house_test"]["texts"], found["tech_test"]["texts"]) == (262, 338)
    examples = read_examples(DATA, skills, parts, ("names", "mentions", "skillskape"))
    assert examples.left_out["held out"] > 10
    known = {" ".join(text.lower().split()) for one in parts.values() for text in one.texts}
    assert not known & {" ".join(text.lower().split()) for text in examples.texts}
