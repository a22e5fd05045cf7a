from __future__ import annotations

import os
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


def test_words_and_models_count(folder: Path, tmp_path: Path) -> None:
    words, model = tmp_path / "words.json", tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}", encoding="utf-8")
    (model / "weights.bin").write_bytes(bytes(2 << 20))
    words.write_text("one", encoding="utf-8")
    choices = {"judges": [f"nli:{model}", "chat:m"], "templates": str(words)}

    def found() -> str:
        return SavedFilter(folder, **choices).fingerprint()

    prints = [found()]
    assert found() == prints[0]
    words.write_text("two", encoding="utf-8")
    prints.append(found())
    (model / "config.json").write_text("[]", encoding="utf-8")
    prints.append(found())
    os.utime(model / "weights.bin", (1, 1))
    prints.append(found())
    (model / "weights.bin").rename(model / "other.bin")
    prints.append(found())
    assert len(set(prints)) == 5
    del choices["templates"]
    assert found() not in prints


def test_spellings_mean_the_same_elsewhere(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work" / "model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    judges = ["recorded:v.tsv#one", "nli:model", "nli:org/model", "chat:m@http://h/v1"]
    choices = {"judges": judges, "known": "k.tsv", "templates": "t.json", "language": "en", "tokens": None}
    here = tmp_path / "work"
    expected = {
        "judges": [f"recorded:{here / 'v.tsv'}#one", f"nli:{here / 'model'}", *judges[2:]],
        "known": str(here / "k.tsv"),
        "templates": str(here / "t.json"),
        "language": "en",
    }
    SavedFilter.remember(folder, choices)
    given = SavedFilter(folder, **choices).choices
    monkeypatch.chdir("/")
    for found in (given, SavedFilter(folder).choices):
        assert {name: found[name] for name in expected} == expected
    for name in ("v.tsv", "k.tsv", "t.json"):
        with pytest.raises(InvalidInputError, match=rf"no (such )?file.*{name if name == 't.json' else ''}"):
            SavedFilter(folder).fingerprint()
        (here / name).write_text("a\tb\tc\n", encoding="utf-8")
    assert SavedFilter(folder).fingerprint()
    SavedFilter.forget(folder)
    assert SavedFilter(folder).choices == {}


def test_what_a_stopped_save_has_left_does_not_count(folder: Path) -> None:
    before = SavedFilter(folder).fingerprint()
    (folder / "judges-0-0123456789abcdef.parquet").touch()
    assert SavedFilter(folder).fingerprint() == before


@pytest.mark.parametrize("content", ["{", "[]", "null"])
def test_a_damaged_file_of_judges(content: str, folder: Path) -> None:
    (folder / "judges.json").write_text(content, encoding="utf-8")
    with pytest.raises(InvalidInputError, match=r"judges\.json is damaged .*: fit again"):
        SavedFilter(folder)


def test_a_part_that_is_missing(folder: Path) -> None:
    part = next(folder.glob("judges-0-*.parquet"))
    part.unlink()
    saved = SavedFilter(folder)
    for use in (saved.fingerprint, saved.load):
        with pytest.raises(
            InvalidInputError, match=rf"there is no file {part.name}\. Copy the whole folder, or fit again"
        ):
            use()


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="no folder"):
        SavedFilter(tmp_path / "nowhere")
    with pytest.raises(InvalidInputError, match="holds no filter"):
        SavedFilter(tmp_path)
