"""The Python code of the pages runs from top to bottom, as it stands but for the number of epochs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

_PAGES = Path(__file__).resolve().parents[2] / "docs"
_SHORTER = {
    "epochs=50": "epochs=2",
    "n_trials=10": "n_trials=1",
    'build_recommender("buir-nb")': 'build_recommender("buir-nb", epochs=2)',
    'Plan("buir-nb"': 'Plan("buir-nb:epochs=2"',
    'Plan(("buir-nb"': 'Plan(("buir-nb:epochs=2"',
}


@pytest.mark.parametrize(("page", "number"), [("interactions.md", 8), ("recommending.md", 5)])
def test_python_runs(page: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (_PAGES / page).read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == number
    names: dict[str, Any] = {}
    for block in blocks:
        code = block
        for long, short in _SHORTER.items():
            code = code.replace(long, short)
        exec(compile(code, page, "exec"), names)  # noqa: S102
