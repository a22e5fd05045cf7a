"""ConceptNet, the dump and the benchmarks."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.datasets import read_conceptnet

DUMP = [
    ("IsA", "/c/en/hot_dog/n/wn/food", "/c/en/food", '{"weight": 2.0}'),
    ("IsA", "/c/en/hot_dog", "/c/en/food", '{"weight": 0.5}'),
    ("IsA", "/c/en/hot_dog", "/c/de/essen", '{"weight": 2.0}'),
    ("IsA", "/c/eng/x", "/c/en/food", '{"weight": 2.0}'),
    ("ExternalURL", "/c/en/food", "http://dbpedia.org/resource/Food", '{"weight": 1.0}'),
    ("dbpedia/genre", "/c/en/food", "/c/en/dish", '{"weight": 1.0}'),
]


def write(folder: Path, lines: list[str], name: str = "train.tsv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def dump(folder: Path, rows: list[tuple[str, str, str, str]], name: str = "assertions.csv.gz") -> Path:
    lines = [f"/a/[x]\t/r/{relation}\t{head}\t{tail}\t{more}" for relation, head, tail, more in rows]
    (folder / name).write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    return folder / name


def test_dump(tmp_path: Path) -> None:
    graph = read_conceptnet(dump(tmp_path, DUMP))
    assert graph.entities == ("dish", "food", "hot dog")
    assert graph.relations == ("IsA", "dbpedia/genre")
    assert graph.train.tolist() == [[1, 1, 0], [2, 0, 1]]
    assert dict(graph.report) == {"other_language": 2, "no_concept": 1, "duplicate_train": 1}


def test_weights_of_the_dump(tmp_path: Path) -> None:
    graph = read_conceptnet(dump(tmp_path, DUMP), min_weight=1.5)
    assert graph.train.tolist() == [[1, 0, 0]]
    assert graph.report["low_weight"] == 2


def test_language(tmp_path: Path) -> None:
    rows = [("IsA", "/c/de/hund", "/c/de/tier", "{}"), *DUMP]
    assert read_conceptnet(dump(tmp_path, rows), language="de").entities == ("hund", "tier")
    with pytest.raises(
        InvalidInputError, match=r"no training triple is left \(dropped: no_concept 1, other_language 6\)"
    ):
        read_conceptnet(dump(tmp_path, rows), language="fr")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([*DUMP, ("IsA", "/c/en/a", "/c/en/b", "weight 1")], "line 7: got 'weight 1' in column 5"),
        ([*DUMP, ("IsA", "/c/en/a", "/c/en/b", '{"surface": 1}')], "line 7: .*column 5, expected JSON"),
        ([*DUMP, ("IsA", "/c/en/a", "/c/en/b", "{}\tmore")], "line 7: got '/a/"),
        ([*DUMP, ("IsA", "/c/en//n", "/c/en/b", "{}")], "line 7: got the concept '/c/en//n'"),
    ],
)
def test_malformed_dump(tmp_path: Path, rows: list[tuple[str, str, str, str]], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        read_conceptnet(dump(tmp_path, rows), min_weight=0.0)


def test_truncated_dump(tmp_path: Path) -> None:
    path = dump(tmp_path, DUMP * 2000)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InvalidInputError, match=r"line [0-9]+: got a read error"):
        read_conceptnet(path)


def test_lines(tmp_path: Path) -> None:
    path = write(tmp_path, ["IsA\thot_dog\tfood ", "AtLocation\tfood\t oven", "IsA\thot dog\tfood"])
    graph = read_conceptnet(path, valid=write(tmp_path, ["AtLocation\thot dog\toven"], "valid.tsv"))
    assert graph.entities == ("food", "hot dog", "oven")
    assert dict(graph.report) == {"duplicate_train": 1, "merged_label": 2}
    assert len(graph.valid) == 1


def test_weights(tmp_path: Path) -> None:
    path = write(tmp_path, ["IsA\ta\tb\t2.5", "IsA\tb\tc\t0.5", "IsA\tc\ta\t0"])
    assert len(read_conceptnet(path).train) == 3
    graph = read_conceptnet(path, min_weight=0.5)
    assert len(graph.train) == 2
    assert graph.report["low_weight"] == 1


def test_labels(tmp_path: Path) -> None:
    lines = ["IsA\ta\tb\t1", "IsA\tb\tc\t1", "IsA\tc\ta\t0"]
    path = write(tmp_path, lines)
    graph = read_conceptnet(path, valid=write(tmp_path, [lines[0], "IsA\tb\ta\t0"], "valid.tsv"), min_weight=0.5)
    assert (len(graph.train), len(graph.valid)) == (2, 1)
    assert graph.valid_negatives.tolist() == [[1, 0, 0]]
    assert graph.report["false_train"] == 1


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["IsA\ta"], "line 1: got 2 columns"),
        (["IsA\ta\tb", "IsA\ta"], "line 2: got 2 columns, expected 3"),
        (["IsA\ta\tb", "IsA\t \tb"], "line 2: got an empty field"),
        (["IsA\ta\tb\theavy"], "line 1: got 'heavy' in column 4"),
        (["IsA\ta\tb\tnan"], "line 1: got 'nan' in column 4"),
        ([""], "line 1: got an empty line"),
    ],
)
def test_malformed_lines(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        read_conceptnet(write(tmp_path, lines))


def test_no_weights(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="expected a fourth with weights"):
        read_conceptnet(write(tmp_path, ["IsA\ta\tb"]), min_weight=1.0)
    with pytest.raises(InvalidInputError, match="min_weight must be a finite number"):
        read_conceptnet(write(tmp_path, ["IsA\ta\tb\t1"]), min_weight=float("nan"))


def test_no_text(tmp_path: Path) -> None:
    (tmp_path / "bad.tsv").write_bytes(b"IsA\ta\tb\nIsA\t\xff\tb\n")
    with pytest.raises(InvalidInputError, match="no UTF-8"):
        read_conceptnet(tmp_path / "bad.tsv")
    with pytest.raises(InvalidInputError, match="no such file"):
        read_conceptnet(tmp_path / "missing.tsv")
    with pytest.raises(InvalidInputError, match="got a folder"):
        read_conceptnet(tmp_path)


def test_the_real_files(commonsense_folder: Path) -> None:
    folder = commonsense_folder / "conceptnet"
    parts = {split: folder / f"cn100k_{split}.tsv.gz" for split in ("valid", "test")}
    graph = read_conceptnet(folder / "cn100k_train.tsv.gz", **parts)
    assert graph.num_relations == 34
    assert len(graph.train) + graph.report["duplicate_train"] == 100_000
    assert len(graph.test) + graph.report["test_unseen_entity"] == 1_200
