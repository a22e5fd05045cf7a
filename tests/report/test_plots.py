from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from functools import partial

import matplotlib as mpl
import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.report import Series, dot_plot, line_plot, quantile_plot, scatter_plot

LINES = (Series("one", ((1.0, 0.5, 0.2), (1.2, 0.4, 0.3))), Series("$two_{<&>", ((0.7, 0.6, 0.1),)))
DOTS = (Series("one", ((0.0, 0.0),)), Series("$two_{<&>", ((0.7, 0.6),)))
SPREADS = (Series("one", ((0.0, 1.0, 1.5, 2.0, 2.0),)), Series("$two_{<&>", ((-1.0, -1.0, 0.0, 3.0, 4.0),)))
POINTS = (Series("one", ((0.0,), (0.0,))), Series("$two_{<&>", ((0.7, 0.2), (30.0, 20.0))))
DRAWINGS: dict[str, Callable[[str], str]] = {
    "lines": lambda name: line_plot(name, LINES, x_label="epoch", y_label="loss"),
    "dots": lambda name: dot_plot(name, DOTS, x_label="MRR"),
    "dots from zero": lambda name: dot_plot(name, DOTS, x_label="MRR", from_zero=True),
    "quantiles": lambda name: quantile_plot(name, SPREADS, x_label="score", mark=0.5),
    "points": lambda name: scatter_plot(name, POINTS, x_label="share", y_label="share"),
}


@pytest.fixture(params=DRAWINGS)
def draw(request: pytest.FixtureRequest) -> Callable[[str], str]:
    return DRAWINGS[request.param]


def test_is_one_element(draw: Callable[[str], str]) -> None:
    root = ET.fromstring(draw("figure"))  # noqa: S314
    assert root.tag.endswith("svg")
    assert "width" not in root.attrib
    assert "height" not in root.attrib
    texts = {"".join(element.itertext()).strip() for element in root.iter() if element.tag.endswith("text")}
    assert {"one", "$two_{<&>"} <= texts, "names are not read as formulas"


def test_is_deterministic_and_leaves_settings_alone(draw: Callable[[str], str]) -> None:
    before = dict(mpl.rcParams)
    assert draw("figure") == draw("figure")
    assert dict(mpl.rcParams) == before
    assert "Date" not in draw("figure")


def test_asks_nobody_and_takes_the_colour_of_the_page(draw: Callable[[str], str]) -> None:
    text = draw("figure")
    assert set(re.findall(r"https?://[^\"\s]+", text)) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "currentColor" in text
    assert "#010203" not in text
    assert "#ffffff" not in text, "the background is that of the page"


def test_ids_do_not_meet(draw: Callable[[str], str]) -> None:
    first, second = (set(re.findall(r'\bid="([^"]+)"', draw(name))) for name in ("a", "b"))
    assert first
    assert not first & second
    references = set(re.findall(r'(?:href="|url\()#([^")]+)', draw("a")))
    assert references
    assert references <= first


@pytest.mark.parametrize("values", [(), ((),), ((1.0,), (1.0, 2.0)), ((float("nan"),),), ((float("inf"),),)])
def test_bad_series(values: tuple[tuple[float, ...], ...]) -> None:
    with pytest.raises(InvalidInputError, match="series 'x'"):
        Series("x", values)


@pytest.mark.parametrize(
    "plot",
    [
        partial(line_plot, x_label="x", y_label="y"),
        partial(dot_plot, x_label="x"),
        partial(quantile_plot, x_label="x"),
        partial(scatter_plot, x_label="x", y_label="y"),
    ],
    ids=["line", "dot", "quantile", "scatter"],
)
def test_bad_input(plot: Callable[..., str]) -> None:
    with pytest.raises(InvalidInputError, match="no series"):
        plot("x", [])
    with pytest.raises(InvalidInputError, match="letters, digits and hyphens"):
        plot('x" onload="', DOTS)


@pytest.mark.parametrize("values", [((1.0, 2.0, 3.0, 4.0),), ((1.0, 2.0, 3.0, 5.0, 4.0),), ((1.0,) * 5, (1.0,) * 5)])
def test_bad_quantiles(values: tuple[tuple[float, ...], ...]) -> None:
    with pytest.raises(InvalidInputError, match="five numbers in ascending order"):
        quantile_plot("x", [Series("one", values)], x_label="x")


def test_points_need_two_numbers() -> None:
    with pytest.raises(InvalidInputError, match="needs two sequences"):
        scatter_plot("x", [Series("one", ((1.0,),))], x_label="x", y_label="y")
