"""Tables of concepts."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kgneg.core.errors import InvalidInputError
from kgneg.datasets import ConceptTable, read_concepts

HEADER = "head_event\trelation\ttail_event"
ROWS = [
    "PersonX takes [the bus] home. [the bus]\tInstanceOf\tvehicle",
    "PersonX takes [the bus] home. [the bus]\tInstanceOf\tpublic  transport",
    "[PersonX sees the bus]. [PersonX sees the bus]\tInstanceOf\tevent",
]


def write(folder: Path, lines: list[str], name: str = "concepts.tsv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_table(tmp_path: Path) -> None:
    table = read_concepts(write(tmp_path, [HEADER, *ROWS, ROWS[0]]))
    assert table.events == ("PersonX takes the bus home",) * 2 + ("PersonX sees the bus",)
    assert table.instances == ("the bus", "the bus", "PersonX sees the bus")
    assert table.spans.tolist() == [[14, 21], [14, 21], [0, 20]]
    assert table.concepts == ("vehicle", "public transport", "event")
    assert table.scores.isnan().all()
    assert dict(table.report) == {"duplicate_row": 1}
    assert table.by_instance() == {"the bus": ("vehicle", "public transport"), "PersonX sees the bus": ("event",)}
    assert table.instances_of()["vehicle"] == ("the bus",)
    assert repr(table) == "ConceptTable(rows=3, events=2, instances=2, concepts=3, scored=0)"


def test_scores(tmp_path: Path) -> None:
    lines = [f"{HEADER}\tscore", f"{ROWS[0]}\t0.9", f"{ROWS[1]}\t0.5", f"{ROWS[2]}\t", f"{ROWS[0]}\t0.95"]
    path = write(tmp_path, lines)
    assert read_concepts(path).scores.nan_to_num(-1).tolist() == pytest.approx([0.95, 0.5, -1.0])
    table = read_concepts(path, threshold=0.8)
    assert table.concepts == ("vehicle", "event")
    assert dict(table.report) == {"low_score": 1, "duplicate_row": 1}
    assert math.isnan(table.scores[1])


def test_several_files(tmp_path: Path) -> None:
    packed = tmp_path / "more.tsv.gz"
    packed.write_bytes(gzip.compress("\n".join([HEADER, ROWS[2]]).encode()))
    assert len(read_concepts([write(tmp_path, [HEADER, *ROWS[:2]]), packed])) == 3


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([HEADER], "empty concept table: .*concepts.tsv has no rows, expected a header with head_event"),
        ([""], "empty concept table: .*concepts.tsv has no rows"),
        (["head\trelation\ttail", *ROWS], "no column 'head_event'"),
        ([HEADER, "PersonX runs\tInstanceOf\tevent"], "line 2: got 'PersonX runs', expected a sentence with one"),
        ([HEADER, "[a] and [b]\tInstanceOf\tevent"], "line 2"),
        ([HEADER, "a [b]. [c]\tInstanceOf\tevent"], "line 2"),
        ([HEADER, ROWS[0], "a [b]. [b]\tInstanceOf\t "], "line 3: got no concept"),
        ([f"{HEADER}\tscore", f"{ROWS[0]}\thigh"], "line 2: got the score 'high'"),
    ],
)
def test_malformed(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        read_concepts(write(tmp_path, lines))


def test_threshold(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="no column 'score' to compare with the threshold"):
        read_concepts(write(tmp_path, [HEADER, *ROWS]), threshold=0.8)
    path = write(tmp_path, [f"{HEADER}\tp", f"{ROWS[0]}\t0.4"])
    with pytest.raises(InvalidInputError, match=r"empty concept table: all 1 rows of .*Lower the threshold"):
        read_concepts(path, threshold=0.8, score="p")
    with pytest.raises(InvalidInputError, match="got no file"):
        read_concepts([])


def test_constructor() -> None:
    parts = {"events": ("a b",), "instances": ("b",), "concepts": ("c",), "scores": torch.ones(1)}
    assert len(ConceptTable(**parts, spans=torch.tensor([[2, 3]]))) == 1  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="got 'a' at 0 to 1 of 'a b', not 'b'"):
        ConceptTable(**parts, spans=torch.tensor([[0, 1]]))  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="must be as many"):
        ConceptTable(**{**parts, "concepts": ()}, spans=torch.tensor([[2, 3]]))  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="empty concept table"):
        ConceptTable.from_rows([])
    with pytest.raises(InvalidInputError, match="row 0: got the event 'no brackets'"):
        ConceptTable.from_rows([("no brackets", "c", None)])


BLANKS = st.sampled_from(["", " ", "  "])
WORDS = st.lists(st.sampled_from(["a", "bc", "d's"]), max_size=3).map(" ".join)


@given(WORDS, BLANKS, BLANKS, st.sampled_from(["x", "x y"]), BLANKS, BLANKS, WORDS, st.booleans())
def test_spans(
    before: str, first: str, second: str, instance: str, third: str, fourth: str, after: str, again: bool
) -> None:
    text = f"{before}{first}[{second}{instance}{third}]{fourth}{after}" + f". [{instance}]" * again
    table = ConceptTable.from_rows([(text, "c", None)])
    plain = f"{before}{first}{second}{instance}{third}{fourth}{after}"
    assert table.events == (" ".join(plain.split()),)
    ((start, end),) = table.spans.tolist()
    assert table.events[0][start:end] == instance == table.instances[0]


def test_the_real_files(commonsense_folder: Path) -> None:
    folder = commonsense_folder / "concepts"
    table = read_concepts([folder / f"stage2_event_concepts_{part}.tsv.gz" for part in ("trn", "dev", "tst")])
    assert len(table) + table.report["duplicate_row"] == 40_833
    assert len(set(table.events)) == 7_018
    assert len(set(table.concepts)) == 8_545
