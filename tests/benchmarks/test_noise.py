"""The benchmark of the noise filter: the pieces that need neither data nor cleanlab."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def page(request: pytest.FixtureRequest) -> object:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    request.addfinalizer(lambda: sys.path.remove(str(ROOT / "benchmarks")))
    import noise_page

    return noise_page


RUN = {"seconds": 2.0, "cpu_seconds": 4.0, "peak_kib": 2**20, "before_kib": 1, "flagged": 3}
FOUND = {
    "growth": [
        {"method": "noise filter", "rows": 10, "shape": "clusters", "runs": [{**RUN, "recall": 0.97}]},
        {"method": "Datalab", "rows": 10, "shape": "clusters", "runs": [{**RUN, "seconds": 13.0}]},
    ],
    "tacred": [{"model": "M", "variant": "EN", "split": "train", "judged": 1234, "really_positive": 0.715}],
}


def test_tables(page) -> None:  # type: ignore[no-untyped-def]
    tables = page.tables(FOUND)
    ours, theirs = tables["growth"].splitlines()[2:]
    assert ours == "| 10 | clusters | noise filter | 2.0 | 6.5 | 4.0 | 1.00 | 0.970 |"
    assert theirs == "| 10 | clusters | Datalab | 13.0 |  | 4.0 | 1.00 | 1 |"
    assert tables["tacred"].splitlines()[2] == "| M | EN | train | 1,234 | 71.5% |  |"


def test_publish(page, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    (tmp_path / "benchmarks.md").write_text(text, encoding="utf-8")
    page.publish(FOUND, tmp_path)
    new = (tmp_path / "benchmarks.md").read_text(encoding="utf-8")
    assert "| M | EN | train | 1,234 | 71.5% |  |" in new
    assert json.loads((tmp_path / "results" / "noise.json").read_text())["tacred"][0]["judged"] == 1234
    page.publish(FOUND, tmp_path)
    assert (tmp_path / "benchmarks.md").read_text(encoding="utf-8") == new


@pytest.mark.slow
def test_growth() -> None:
    script = ROOT / "benchmarks" / "noise_growth.py"
    done = subprocess.run(
        [sys.executable, script, "noise filter", "3000", "clusters"], capture_output=True, text=True, check=True
    )
    measured = json.loads(done.stdout.splitlines()[-1])
    assert measured["recall"] == 1
    assert measured["seconds"] > 0 and measured["peak_kib"] > 0
