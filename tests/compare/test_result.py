from __future__ import annotations

import html
import statistics
from typing import Any

import pytest

from kgneg.compare import CompareResult
from kgneg.report import render_text

DASH, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"
MRR = {"basic": (0.5, 0.6, 0.7), "<lemon>": (0.4, 0.65, 0.6)}


def run(sampler: str, seed: int, mrr: float, **counts: Any) -> dict[str, Any]:
    metrics = {"mrr": mrr, "hits_at_1": mrr / 2, "hits_at_3": mrr, "hits_at_10": 1.0}
    negatives = {
        "drawn": 100, "kept": 90, "known": 9, "held_out": 0, "incomplete_rows": 4, "known_per_10000": 1000.0,
        "held_out_per_10000": 0.0, "fallback_share": None,
    }  # fmt: skip
    seconds = {"training": 2.0 + seed, "evaluation": 0.5}
    return {
        "sampler": sampler, "seed": seed, "metrics": metrics, "losses": [2.0, 1.0], "negatives": negatives | counts,
        "seconds": seconds,
    }  # fmt: skip


def make(seeds: int = 3, *, loop: str = "slcwa", **counts: Any) -> CompareResult:
    settings = {
        "samplers": [{"label": label, "name": label, "options": {}, "loop": loop} for label in MRR],
        "seeds": list(range(seeds)),
        "model": "transe", "dim": None, "loss": "nssa", "learning_rate": 0.01, "epochs": 2, "batch_size": 8,
        "negatives": 3,
    }  # fmt: skip
    dataset = {"name": "zoo", "note": "", "entities": 3, "relations": 1, "train": 5, "valid": 0, "test": 2}
    runs = tuple(run(label, seed, MRR[label][seed], **counts) for seed in range(seeds) for label in MRR)
    return CompareResult(settings, dataset, {"kgneg": "1"}, runs)


def test_summary() -> None:
    basic, lemon = make().summary()
    mrr = basic["metrics"]["mrr"]
    assert mrr == {"mean": pytest.approx(0.6), "sd": pytest.approx(0.1), "min": 0.5, "max": 0.7}
    assert basic["difference"] is None
    differences = [0.4 - 0.5, 0.65 - 0.6, 0.6 - 0.7]
    assert lemon["difference"]["mrr"]["mean"] == pytest.approx(statistics.mean(differences))
    assert lemon["difference"]["mrr"]["sd"] == pytest.approx(statistics.stdev(differences))
    assert lemon["difference"]["mrr"]["higher"] == 1
    assert lemon["seconds"] == {"training": 3.0, "evaluation": 0.5}
    assert lemon["negatives"]["fallback_share"] is None
    assert lemon["final_loss"] == 1.0


def test_table() -> None:
    lines = render_text(make(fallback_share=0.125).table()).splitlines()
    assert lines[0].split() == [
        "sampler", "MRR", "difference", "Hits@1", "Hits@3", "Hits@10", "known", "held", "out", "fallback", "seconds",
    ]  # fmt: skip
    assert lines[2].split() == [
        "basic", "0.600", "±", "0.100", DASH, "0.300", "0.600", "1.000", "1000.0", "0.0", "12.5", "%", "3.0",
    ]  # fmt: skip
    assert lines[3].split()[1:7] == ["0.550", "±", "0.132", f"{MINUS}0.050", "±", "0.087"]


def test_one_seed() -> None:
    basic, lemon = make(1).summary()
    assert basic["metrics"]["mrr"]["sd"] is None
    assert lemon["difference"]["mrr"] == {"mean": pytest.approx(-0.1), "sd": None, "higher": 0}
    page = make(1).to_html()
    assert "One seed says little" in page
    assert "1 seeds" not in page


def test_page_says_what_came_out() -> None:
    page = make().to_html()
    assert "Negative samplers on zoo with transe" in page
    assert "With &lt;lemon&gt; it is 0.550, 0.050 lower (standard deviation 0.087; 2 of 3 seeds agree" in page
    assert "<lemon>" not in page
    assert "1000.0 and 0.0 for basic" in page
    for heading in ("Ranks", "False negatives", "Training", "How it was done", "All runs"):
        assert f">{heading}<" in page
    assert page == make().to_html()


def test_page_without_counts() -> None:
    page = make(known_per_10000=None, held_out_per_10000=None).to_html()
    assert page.count("<svg") == 2


@pytest.mark.parametrize(
    ("loops", "words"),
    [
        (("slcwa", "slcwa"), "All models were trained with PyKEEN's own loop."),
        (("kgneg", "kgneg"), "All models were trained with kgneg's loop."),
        (("slcwa", "kgneg"), "Samplers that look at the model were trained with kgneg's loop, the others with"),
    ],
)
def test_report_says_which_loop_trained(loops: tuple[str, str], words: str) -> None:
    result = make()
    for sampler, loop in zip(result.settings["samplers"], loops, strict=True):
        sampler["loop"] = loop
    page = html.unescape(result.to_html())
    assert words in page
    assert ("dense updates" in page) == ("kgneg" in loops)
    assert page.count(">kgneg<") == loops.count("kgneg")
    assert page.count(">PyKEEN<") == loops.count("slcwa")
