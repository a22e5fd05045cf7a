"""Verdicts that were recorded."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.candidates import Candidates
from kgneg.selfinstruct.judge import Judge, Judgements
from kgneg.selfinstruct.recorded import RecordedJudge, write_verdicts

PAIRS = Candidates.from_triples([("a", "r", "b"), ('c "d"', "r", "e,f"), ("x", "r", "null"), ("n", "r", "1")])
SAID = Judgements.of([1.0, 0.25, np.nan, 0.1 + 0.2], ["", "", "contradiction", ""])


@pytest.mark.parametrize("ending", ["tsv", "csv", "jsonl", "parquet", "tsv.gz", "csv.gz", "jsonl.gz"])
def test_what_is_written_is_read(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"verdicts.{ending}"
    write_verdicts(path, PAIRS, SAID)
    judge = RecordedJudge.load(path)
    assert isinstance(judge, Judge)
    assert judge.name == "verdicts"
    said = judge.judge(PAIRS)
    np.testing.assert_array_equal(said.probability, SAID.probability)
    assert said.reasons == ("", "", "not recorded", "")
    assert len(judge) == 3
    assert judge.fingerprint() == RecordedJudge(candidates=PAIRS, probability=SAID.probability).fingerprint()


def test_other_columns_and_words(tmp_path: Path) -> None:
    path = tmp_path / "v.tsv"
    path.write_text("head\trelation\ttail\tgpt\na\tr\tb\tYes\nc\tr\td\tno\ne\tr\tf\t\n", encoding="utf-8")
    judge = RecordedJudge.load(path, column="gpt")
    assert judge.name == "gpt"
    asked = Candidates.from_triples([("c", "r", "d"), ("a", "r", "b"), ("e", "r", "f")])
    np.testing.assert_array_equal(judge.judge(asked).probability, [0, 1, np.nan])
    with pytest.raises(
        InvalidInputError, match=r"no column probability.*column= \(recorded:FILE#COLUMN .*or --column\)"
    ):
        RecordedJudge.load(path)


def test_quotation_marks_in_a_tsv_file_are_characters(tmp_path: Path) -> None:
    tails = ['"good" pet', '"pet', '12" ruler', 'a "b"', '""']
    path = tmp_path / "v.tsv"
    rows = [f"cat\tIsA\t{tail}\t{number / 4}\n" for number, tail in enumerate(tails)]
    path.write_text("head\trelation\ttail\tprobability\n" + "".join(rows), encoding="utf-8")
    asked = Candidates(["cat"] * 5, ["IsA"] * 5, tails)
    judge = RecordedJudge.load(path)
    assert judge.judge(asked).probability.tolist() == [0, 0.25, 0.5, 0.75, 1]
    judge.save(tmp_path / "again.tsv")
    assert [line.split("\t")[2] for line in (tmp_path / "again.tsv").read_text("utf-8").splitlines()[1:]] == tails
    assert RecordedJudge.load(tmp_path / "again.tsv").fingerprint() == judge.fingerprint()


@pytest.mark.parametrize("text", ["a\tb", "a\nb", "a\rb"])
def test_what_cannot_stand_in_a_tsv_file(tmp_path: Path, text: str) -> None:
    one = Candidates.from_triples([("x", "r", "y"), ("x", "r", text)])
    with pytest.raises(InvalidInputError, match=r"v\.tsv: triple 1 is .*\.csv, \.jsonl or \.parquet"):
        write_verdicts(tmp_path / "v.tsv", one, Judgements.of([0.5, 0.5]))
    assert not (tmp_path / "v.tsv").exists()
    write_verdicts(tmp_path / "v.csv", one, Judgements.of([0.5, 0.5]))
    assert len(RecordedJudge.load(tmp_path / "v.csv")) == 2
    write_verdicts(tmp_path / "v.tsv", one[:1], Judgements.of([0.5], [f"said {text}"]))
    assert len(RecordedJudge.load(tmp_path / "v.tsv")) == 1


def test_repeated_verdicts_are_averaged_and_keys_normalised() -> None:
    twice = Candidates.from_triples([("a", "r", "b"), ("a ", "r", "b"), ("a", "r", "b")])
    judge = RecordedJudge(candidates=twice, probability=[1, 0.5, np.nan])
    assert judge.judge(twice[:1]).probability.tolist() == [0.75]


@pytest.mark.parametrize("value", ["2", "-0.1", "maybe", "inf"])
def test_what_is_no_verdict(tmp_path: Path, value: str) -> None:
    path = tmp_path / "v.csv"
    path.write_text(f"head,relation,tail,probability\na,r,b,{value}\n", encoding="utf-8")
    with pytest.raises(InvalidInputError, match="row 1 has"):
        RecordedJudge.load(path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="no file"):
        RecordedJudge.load(tmp_path / "v.tsv")
    with pytest.raises(InvalidInputError, match="ends in"):
        RecordedJudge.load(tmp_path / "v.xlsx")
    (tmp_path / "v.parquet").write_text("no parquet", encoding="utf-8")
    with pytest.raises(InvalidInputError, match="cannot be read"):
        RecordedJudge.load(tmp_path / "v.parquet")
    with pytest.raises(InvalidInputError, match="one for each"):
        RecordedJudge(candidates=PAIRS, probability=[1.0])
    with pytest.raises(InvalidInputError, match="one for each"):
        write_verdicts(tmp_path / "v.tsv", PAIRS[:1], SAID)


def test_the_verdicts_on_ckbp() -> None:
    data = Path(os.environ.get("KGNEG_DATA", Path(__file__).parents[3] / "shared" / "data"))
    path = data / "plausibility" / "ckbp_v2" / "ckbp2.0_with_llm_judges.csv.gz"
    if not path.is_file():
        pytest.skip("the data are not here")
    judge = RecordedJudge.load(path, column="chatgpt")
    assert len(judge) == 5_005
