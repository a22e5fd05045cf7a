from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kgneg.compare.samplers import parse_options
from kgneg.core.errors import InvalidInputError
from kgneg.studies.ranges import check_range, parse_fix, parse_range, read_space


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"type": int, "low": 1, "high": 5}, {"type": "int", "low": 1, "high": 5, "log": False, "step": None}),
        (
            {"type": int, "low": 16, "high": 64, "q": 16},
            {"type": "int", "low": 16, "high": 64, "log": False, "step": 16},
        ),
        (
            {"type": "float", "low": 1, "high": 3, "scale": "log"},
            {"type": "float", "low": 1.0, "high": 3.0, "log": True, "step": None},
        ),
        ({"type": bool}, {"type": "categorical", "choices": [True, False]}),
        (
            {"type": int, "low": 4, "high": 6, "scale": "power_two"},
            {"type": "categorical", "choices": [16, 32, 64]},
        ),
        ([1, 2], {"type": "categorical", "choices": [1, 2]}),
    ],
)
def test_one_spelling(given: Any, expected: dict[str, Any]) -> None:
    found = check_range("x", given)
    assert found == expected
    assert check_range("x", found) == expected


def test_sets_have_an_order() -> None:
    given = {"type": "categorical", "choices": {"head", "tail", "both"}}
    assert check_range("x", given)["choices"] == ["both", "head", "tail"]


@pytest.mark.parametrize(
    "given",
    [
        3,
        {},
        {"type": "int", "low": 5, "high": 1},
        {"type": "int", "low": 1.5, "high": 2},
        {"type": "float", "low": 0, "high": 1, "log": True},
        {"type": "float", "low": 1, "high": float("inf")},
        {"type": "float", "low": 1, "high": 2, "log": True, "q": 0.5},
        {"type": "int", "low": 1, "high": 2, "hihg": 3},
        {"type": "complex", "low": 1, "high": 2},
        {"type": "categorical", "choices": []},
        {"type": "categorical", "choices": "abc"},
        {"type": "int", "low": 1, "high": 2, "scale": "cubic"},
    ],
)
def test_no_ranges(given: Any) -> None:
    with pytest.raises(InvalidInputError, match="thing"):
        check_range("thing", given)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1:5", {"type": "int", "low": 1, "high": 5}),
        ("a=1:5:2", {"type": "int", "low": 1, "high": 5, "step": 2}),
        ("a=0:1.0", {"type": "float", "low": 0, "high": 1.0}),
        ("a=1e-3:1:log", {"type": "float", "low": 0.001, "high": 1, "log": True}),
        ("a=x,2,true", {"type": "categorical", "choices": ["x", 2, True]}),
        ("a=x", {"type": "categorical", "choices": ["x"]}),
    ],
)
def test_ranges_as_text(text: str, expected: dict[str, Any]) -> None:
    assert parse_range(text) == ("a", expected)


@pytest.mark.parametrize("text", ["a", "=1:2", "a=", "a=x:y", "a=1:2:3:4:5", "a=true:2"])
def test_texts_that_are_no_ranges(text: str) -> None:
    with pytest.raises(InvalidInputError, match="expected"):
        parse_range(text)


def test_fixed_values() -> None:
    assert parse_fix("model.p=2") == ("model.p", 2)
    assert parse_fix("a=b=c") == ("a", "b=c")
    with pytest.raises(InvalidInputError, match="NAME=VALUE"):
        parse_fix("model.p")


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text("fix: {lr: 0.1}\nranges: {model.embedding_dim: '8:16:8', loss.margin: [1, 2]}\n", encoding="utf-8")
    fixed, ranges = read_space(path)
    assert fixed == {"lr": 0.1}
    assert ranges == {
        "model.embedding_dim": {"type": "int", "low": 8, "high": 16, "step": 8},
        "loss.margin": [1, 2],
    }
    path.write_text("fixed: {}\n", encoding="utf-8")
    with pytest.raises(InvalidInputError, match="fix and ranges"):
        read_space(path)
    path.write_text("fix: [\n", encoding="utf-8")
    with pytest.raises(InvalidInputError, match="cannot be read"):
        read_space(path)


@pytest.mark.parametrize(
    ("text", "value"), [("True", True), ("false", False), ("FALSE", False), ("Falsehood", "Falsehood")]
)
def test_truth_in_any_case(text: str, value: Any) -> None:
    assert parse_fix(f"predictor={text}") == ("predictor", value)
    assert parse_range(f"predictor={text},7") == ("predictor", {"type": "categorical", "choices": [value, 7]})
    assert parse_options("buir-nb", f"predictor={text}") == {"predictor": value}
