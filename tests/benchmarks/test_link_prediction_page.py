"""The page says what the figures say."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from link_prediction_page import MARKS, p_value, plot, reading, tables, write_page


def row(values: list[float], against: dict[str, float] | None, ratio: float = 1.0) -> dict[str, Any]:
    mean = sum(values) / len(values)
    figures = {"mean": mean, "sd": 0.001, "values": values}
    return {
        "mrr": {**figures, "against_baseline": against} if against else figures,
        "hits_at_1": figures,
        "hits_at_10": figures,
        "tuning": {"params": {"lr": 0.01, "margin": 9.0}, "at_edge": ["lr"] if ratio == 1.0 else []},
        "negatives": {"held_out_per_10000": 40 * ratio, "known_per_10000": 0.0, "times_uniform": ratio},
    }


def compared(difference: float, p: float) -> dict[str, float]:
    return {
        "difference": difference,
        "low": difference - 0.01,
        "high": difference + 0.01,
        "p": p,
        "p_holm": p,
        "p_seeds": p,
    }


@pytest.fixture
def results() -> dict[str, Any]:
    rows = {
        "basic": row([0.30, 0.31, 0.29, 0.30, 0.30], None),
        "typed": row([0.35] * 5, compared(0.05, 0.0001), 6.0),
        "dynamic": row([0.20] * 5, compared(-0.10, 0.0001), 1.5),
        "sans": row([0.305] * 5, compared(0.005, 0.4), 2.0),
        "1-vs-all": {**row([0.4] * 5, compared(0.1, 0.0001)), "negatives": None},
    }
    budget = {"trials": 8, "epochs": 30, "seeds": 5, "negatives": 32, "batch_size": 512, "dim": 64, "judged": 2000}
    graph = {"train": 32888, "valid": 1827, "test": 1828, "entities": 2034}
    return {
        "codexsmall": {
            "budget": budget,
            "graph": graph,
            "versions": {"torch": "2", "pykeen": "1"},
            "uniform_held_out_per_10000": 40.0,
            "accuracy_without_model": None,
            "hardness": {"basic": 0.09, "typed": 0.4, "sans": None},
            "samplers": {"typed": {"name": "typed", "options": {"sides": "single"}}},
            "order": {"models": ["transe"], "rows": list(rows)},
            "models": {"transe": {"baseline": "basic", "loss": "nssa", "rows": dict(sorted(rows.items()))}},
        }
    }


def test_each_row_is_on_the_side_that_its_figures_say(results: dict[str, Any]) -> None:
    lines = "\n".join(reading(results)).splitlines()
    above, below, level = (
        next(line for line in lines if line.startswith(f"- MRR, {kind}"))
        for kind in ("above", "below", "not told apart")
    )
    assert "typed (TransE +0.050)" in above
    assert "dynamic (TransE -0.100)" in below
    assert "sans (TransE +0.005)" in level
    assert not any("1-vs-all" in line for line in (above, below, level))
    assert any(line.startswith("- 1-vs-all, MRR: TransE 0.400, best row with negatives typed 0.350") for line in lines)
    assert "typed 6.0, sans 2.0, dynamic 1.5, basic 1.0" in "\n".join(lines)
    assert "TransE basic (lr)" in "\n".join(lines)


def test_the_reading_follows_the_figures(results: dict[str, Any]) -> None:
    rows = results["codexsmall"]["models"]["transe"]["rows"]
    rows["typed"]["mrr"]["against_baseline"] = compared(-0.02, 0.01)
    lines = "\n".join(reading(results)).splitlines()
    assert next(line for line in lines if line.startswith("- MRR, above")).endswith("none.")
    assert "typed (TransE -0.020)" in next(line for line in lines if line.startswith("- MRR, below"))


@pytest.mark.parametrize("p_seeds", [0.3, None])
def test_a_difference_that_seeds_do_not_confirm_is_marked(results: dict[str, Any], p_seeds: float | None) -> None:
    rows = results["codexsmall"]["models"]["transe"]["rows"]
    rows["typed"]["mrr"]["against_baseline"]["p_seeds"] = p_seeds
    text = "\n".join(reading(results))
    assert "typed (TransE +0.050, not clear over seeds)" in text
    assert "dynamic (TransE -0.100)" in text
    assert "sans (TransE +0.005)" in text


def test_few_seeds_are_no_result(results: dict[str, Any]) -> None:
    assert "hint" not in "\n".join(reading(results))
    results["codexsmall"]["budget"]["seeds"] = 3
    assert "With 3 seeds only this is a hint and no result." in "\n".join(reading(results))


def test_tables_have_all_rows_in_the_order_of_the_plan(results: dict[str, Any]) -> None:
    text = "\n".join(tables(results))
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert [line.split(" | ")[0].strip("| ") for line in lines[2:]] == [
        *("basic (baseline)", "typed", "dynamic", "sans", "1-vs-all")
    ]
    assert len({line.count("|") for line in lines}) == 1
    assert "lr 0.01*, margin 9" in lines[2]
    assert "240.0 (6.0x) | 40.0 |" in lines[3]
    assert "| +0.0500 [+0.0400, +0.0600] | < .001 |" in lines[3]


def test_the_page_is_brought_up_to_date(results: dict[str, Any], tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n\n{MARKS[0]}\nstale\n{MARKS[1]}\n\nafter\n")
    write_page(page, results)
    first = page.read_text(), (tmp_path / "link_prediction.svg").read_text()
    assert first[0].startswith("before\n")
    assert first[0].endswith("after\n")
    assert "stale" not in first[0]
    assert "| typed |" in first[0]
    write_page(page, results)
    assert (page.read_text(), (tmp_path / "link_prediction.svg").read_text()) == first


def test_a_page_without_marks_is_left_alone(results: dict[str, Any], tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing\n")
    with pytest.raises(SystemExit, match="lacks the marks"):
        write_page(page, results)
    assert page.read_text() == "nothing\n"


def test_the_plot_has_a_panel_per_model(results: dict[str, Any]) -> None:
    one = results["codexsmall"]
    one["models"]["distmult"] = one["models"]["transe"]
    one["order"]["models"] = ["transe", "distmult"]
    text = plot(results)
    ElementTree.fromstring(text)  # noqa: S314
    assert "CoDEx-S, TransE" in text
    assert "CoDEx-S, DistMult" in text
    assert "CoDEx-S, ComplEx" not in text


@pytest.mark.parametrize(("value", "expected"), [(0.0002, "< .001"), (0.0316, ".032"), (1.0, "1.000"), (None, "")])
def test_p_values_are_short(value: float | None, expected: str) -> None:
    assert p_value(value) == expected
