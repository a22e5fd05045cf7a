from __future__ import annotations

from pathlib import Path

import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.candidates import Candidates
from kgneg.selfinstruct.filter import SelfInstructFilter
from kgneg.selfinstruct.recorded import RecordedJudge, write_verdicts
from kgneg.selfinstruct.saved import SavedFilter

ROWS = Candidates([f"h{number}" for number in range(80)], ["r"] * 80, [f"t{number}" for number in range(80)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    said = [0.9 if number < 40 else 0.1 for number in range(80)]
    judge = RecordedJudge(candidates=ROWS, probability=said, name="probability")
    made = SelfInstructFilter(judges=[judge], target=None).fit(ROWS[:40], ROWS[40:])
    made.save(tmp_path / "filter")
    SavedFilter.remember(tmp_path / "filter", {"judges": ["recorded:verdicts.tsv"], "known": None})
    return tmp_path / "filter"


def test_recorded_verdicts_are_in_the_folder(folder: Path) -> None:
    saved = SavedFilter(folder)
    assert saved.choices == {"judges": [], "known": None}
    assert saved.load().decide(ROWS).action.tolist() == ["drop"] * 40 + ["keep"] * 40


def test_other_verdicts_and_known_triples(folder: Path, tmp_path: Path) -> None:
    new = Candidates(["a", "b", "c"], ["r"] * 3, ["x"] * 3)
    judge = RecordedJudge(candidates=new, probability=[0.9, 0.1, 0.1])
    table, known = tmp_path / "new.tsv", tmp_path / "known.tsv"
    write_verdicts(table, new, judge.judge(new))
    known.write_text("c\tr\tx\n", encoding="utf-8")
    saved = SavedFilter(folder, judges=[f"recorded:{table}"])
    assert saved.load().decide(new).action.tolist() == ["drop", "keep", "keep"]
    prints = [SavedFilter(folder).fingerprint(), saved.fingerprint()]
    write_verdicts(table, new, judge.judge(new[[1, 0, 2]]))
    prints.append(saved.fingerprint())
    (folder / "filter.json").write_text((folder / "filter.json").read_text() + " ")
    prints += [saved.fingerprint(), SavedFilter(folder, known=str(known)).fingerprint()]
    assert len(set(prints)) == 5
    assert SavedFilter(folder, tokens=5).fingerprint() == SavedFilter(folder).fingerprint()


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="no folder"):
        SavedFilter(tmp_path / "nowhere")
    with pytest.raises(InvalidInputError, match="holds no filter"):
        SavedFilter(tmp_path)
