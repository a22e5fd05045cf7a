"""Every tutorial runs, for one epoch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TUTORIALS = sorted((Path(__file__).resolve().parents[1] / "tutorials").glob("[0-9]*.py"))


def run_tutorial(path: Path, folder: Path) -> str:
    settings = {"KGNEG_TUTORIAL_EPOCHS": "1", "HF_HUB_OFFLINE": "1", "PYSTOW_HOME": str(folder / "pystow")}
    done = subprocess.run(
        [sys.executable, path], cwd=folder, env=os.environ | settings, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_tutorial_is_run() -> None:
    assert [path.stem for path in TUTORIALS] == ["01_first_comparison"], "write a test that runs the new tutorial"


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_tutorial_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 80


@pytest.mark.slow
def test_first_comparison(tmp_path: Path) -> None:
    (path,) = (path for path in TUTORIALS if path.stem == "01_first_comparison")
    output = run_tutorial(path, tmp_path).replace(",", "")
    rows = {name: numbers for name, *numbers in map(str.split, output.splitlines())}
    assert set(rows) == {"sampler", "basic", "lemon"}
    (_, drawn, known, _), (_, lemon_drawn, lemon_known, _) = rows["basic"], rows["lemon"]
    assert drawn == lemon_drawn
    assert int(known) > 0
    assert int(lemon_known) == 0
