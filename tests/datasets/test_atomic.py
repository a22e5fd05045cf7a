"""ATOMIC in both of its formats."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.datasets import read_atomic, read_atomic_keywords

LINES = [
    "PersonX eats  soup\txReact\tfull",
    "PersonX eats soup\txWant\tto rest ",
    "PersonX rests\toReact\tNone ",
    "PersonX rests\txReact\tfull",
]


def write(folder: Path, lines: list[str], name: str = "atomic.tsv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_csv(folder: Path, rows: list[tuple[str, list[str], list[str], list[str], str]]) -> Path:
    path = folder / "v4_atomic_all_agg.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["event", "oReact", "xWant", "prefix", "split"])
        for event, react, want, prefix, split in rows:
            writer.writerow([event, *map(json.dumps, (react, want, prefix)), split])
    return path


def test_lines(tmp_path: Path) -> None:
    graph = read_atomic(write(tmp_path, LINES))
    assert graph.entities == ("PersonX eats soup", "PersonX rests", "full", "to rest")
    assert graph.relations == ("xReact", "xWant")
    assert graph.train.tolist() == [[0, 0, 2], [0, 1, 3], [1, 0, 2]]
    assert dict(graph.report) == {"none_tail": 1, "merged_label": 1}
    assert graph.name == "atomic"


def test_none_is_kept(tmp_path: Path) -> None:
    assert "None" in read_atomic(write(tmp_path, LINES), none="keep").entities


def test_splits_and_packed_files(tmp_path: Path) -> None:
    path = tmp_path / "train.tsv.gz"
    path.write_bytes(gzip.compress("\n".join(LINES).encode()))
    valid = write(tmp_path, ["PersonX rests\txWant\tto rest", "PersonX runs\txWant\tto rest"], "valid.tsv")
    graph = read_atomic(path, valid=valid, test=write(tmp_path, LINES[:1], "test.tsv"))
    assert (len(graph.train), len(graph.valid), len(graph.test)) == (3, 1, 1)
    assert graph.report["valid_unseen_entity"] == 1


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([*LINES, "PersonX sits\txWant\t"], r"line 5: got no tail for 'PersonX sits' and 'xWant', .*blank='drop'"),
        ([*LINES, "PersonX sits\txWant\t \t"], "line 5: got 4 columns"),
        ([*LINES, "PersonX sits\txWant"], "line 5: got 2 columns, expected head, relation and tail"),
        (["\txWant\tto go"], "line 1: got no head"),
        (["PersonX sits\t\tto go"], "line 1: got no relation"),
        (["PersonX sits\txWant\tnone"], "no training triple with a tail.*none='keep'"),
        ([""], "line 1: got an empty file"),
    ],
)
def test_malformed_lines(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message) as caught:
        read_atomic(write(tmp_path, lines))
    assert "atomic.tsv" in str(caught.value)


def test_blank_tails_are_dropped_on_demand(tmp_path: Path) -> None:
    graph = read_atomic(write(tmp_path, [*LINES, "PersonX sits\txWant\t  "]), blank="drop")
    assert graph.report["blank_tail"] == 1
    assert "PersonX sits" not in graph.entities


ROWS = [
    ("PersonX eats  ___", ["none"], ["to rest", "to sleep"], ["eats"], "trn"),
    ("PersonX rests", [], ["to rest"], ["rests"], "trn"),
    ("PersonX rests", ["to sleep", "NONE"], [], ["rests", "eats"], "dev"),
    ("PersonX runs", [], ["to rest"], [], "tst"),
]


def test_csv(tmp_path: Path) -> None:
    graph = read_atomic(write_csv(tmp_path, ROWS))
    assert graph.entities == ("PersonX eats ___", "PersonX rests", "to rest", "to sleep")
    assert graph.relations == ("xWant",)
    assert len(graph.train) == 3
    assert dict(graph.report) == {"none_tail": 2, "valid_unseen_relation": 1, "test_unseen_entity": 1}


@pytest.mark.parametrize(("split", "heads"), [("trn", 2), ("dev", 1), ("tst", 1), ("all", 3)])
def test_one_split_of_a_csv(tmp_path: Path, split: str, heads: int) -> None:
    graph = read_atomic(write_csv(tmp_path, ROWS), split=split)
    assert len(set(graph.train[:, 0].tolist())) == heads
    assert len(graph.valid) == len(graph.test) == 0


def test_csv_without_training(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="split='all'"):
        read_atomic(write_csv(tmp_path, ROWS[2:]))


def test_files_of_splits(tmp_path: Path) -> None:
    path = write_csv(tmp_path, ROWS)
    graph = read_atomic(path, valid=path)
    assert len(graph.train) == len(graph.valid) == 5


def test_keywords(tmp_path: Path) -> None:
    assert read_atomic_keywords(write_csv(tmp_path, ROWS)) == {
        "PersonX eats ___": ("eats",),
        "PersonX rests": ("rests", "eats"),
        "PersonX runs": (),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("event,xWant,split\nPersonX eats,to eat,trn\n", "line 2: got 'to eat' in the column xWant"),
        ("event,xWant,split\nPersonX eats,[1],trn\n", "line 2: got '\\[1\\]' in the column xWant"),
        ('event,xWant,split\nPersonX eats,"[""""]",trn\n', "line 2: got no tail for 'PersonX eats' and 'xWant'"),
        ("event,xWant,split\nPersonX eats,[],train\n", "line 2: got the split 'train', expected one of trn, dev, tst"),
        ("event,xWant,split\n ,[],trn\n", "line 2: got no event"),
        ("event,prefix,split\nPersonX eats,[],trn\n", "line 1: got the columns event, prefix, split"),
    ],
)
def test_malformed_csv(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "atomic.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInputError, match=message):
        read_atomic(path)


def test_arguments(tmp_path: Path) -> None:
    path = write(tmp_path, LINES)
    with pytest.raises(InvalidInputError, match="none must be"):
        read_atomic(path, none="skip")
    with pytest.raises(InvalidInputError, match="no column 'split'"):
        read_atomic(path, split="dev")
    with pytest.raises(InvalidInputError, match="there is no column 'event'"):
        read_atomic_keywords(path)
    with pytest.raises(InvalidInputError, match="no such file"):
        read_atomic(tmp_path / "missing.tsv")


def test_the_real_files(commonsense_folder: Path) -> None:
    path = commonsense_folder / "atomic" / "atomic_valid.tsv.gz"
    with pytest.raises(InvalidInputError, match=r"line [0-9]+: got no tail"):
        read_atomic(path)
    graph = read_atomic(path, blank="drop")
    assert graph.report["none_tail"] == 14_350
    assert graph.report["blank_tail"] == 7
    assert len(graph.train) + graph.report["duplicate_train"] == 73_350
    assert graph.num_relations == 9
