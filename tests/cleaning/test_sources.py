from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from kgneg.cleaning.material import read_labels, read_pairs
from kgneg.cleaning.sources import JsonFile, Source, document_names, read_plain, write_plain
from kgneg.cleaning.tables import TableFile
from kgneg.core.errors import InvalidInputError
from kgneg.datasets import docred_pairs, read_docred


def example(name: str, document: str = "d", relation: str = "met") -> dict[str, Any]:
    ends = {"subj_start": 0, "subj_end": 0, "obj_start": 2, "obj_end": 2, "subj_type": "P", "obj_type": "P"}
    return {"id": name, "docid": document, "relation": relation, "token": ["A", "met", name], **ends}


def document(title: str, pairs: int = 1) -> dict[str, Any]:
    vertices = [[{"sent_id": 0, "pos": [place, place + 1], "type": "P"}] for place in range(1 + pairs)]
    return {"title": title, "sents": [["A", "B", "C", "D"]], "vertexSet": vertices, "labels": []}


def test_formats(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([example("x")]), encoding="utf-8")
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress((json.dumps(document("x")) + "\n").encode()))
    (tmp_path / "c.tsv").write_text("id\tlabel\n", encoding="utf-8")
    assert Source.find(tmp_path / "a.json").format == "tacred"
    assert Source.find(tmp_path / "b.jsonl.gz").format == "docred"
    assert Source.find(tmp_path / "c.tsv").format == "vectors"
    with pytest.raises(InvalidInputError, match=r"\.tsv is a table of vectors, but format is 'docred'"):
        Source.find(tmp_path / "c.tsv", "docred")
    with pytest.raises(InvalidInputError, match=r"'\.json' is no table"):
        Source.find(tmp_path / "a.json", "vectors")


def test_fingerprint(tmp_path: Path) -> None:
    one, other = tmp_path / "a.csv", tmp_path / "b.csv"
    one.write_text("id\n1\n", encoding="utf-8")
    other.write_text("id\n1\n", encoding="utf-8")
    assert Source.find(one).fingerprint() == Source.find(other).fingerprint()
    other.write_text("id\n2\n", encoding="utf-8")
    assert Source.find(one).fingerprint() != Source.find(other).fingerprint()
    # in a folder, the names count
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.json").write_text(json.dumps([example("x")]), encoding="utf-8")
    before = Source.find(folder).fingerprint()
    (folder / "notes.txt").write_text("x", encoding="utf-8")
    assert Source.find(folder).fingerprint() == before
    (folder / "a.json").rename(folder / "b.json")
    assert Source.find(folder).fingerprint() != before


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".xz"])
def test_packed_texts(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.csv{suffix}"
    write_plain(path, "caf\u00e9\r\n")
    assert read_plain(path) == "caf\u00e9\r\n"
    if suffix:
        path.write_bytes(path.read_bytes()[:-5])
        with pytest.raises(InvalidInputError, match="was the file cut off"):
            read_plain(path)


def test_json_lines_with_odd_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    records = [{"a": "x\u2028y"}, {"a": "\u00e9"}]
    write_plain(path, JsonFile([], True).text(records))
    assert JsonFile.read(path) == JsonFile(records, True)
    write_plain(path, JsonFile([], False).text(records))
    assert JsonFile.read(path) == JsonFile(records, False)


@pytest.mark.parametrize("titles", [["a", "b"], ["a", "a"], ["a", "b", "a", "a"], ["a", "a", "a [0]", "a [1] [1]"]])
def test_document_names_are_those_of_the_reader(titles: list[str]) -> None:
    documents = [document(title) for title in titles]
    names = document_names(documents)
    assert tuple(dict.fromkeys(docred_pairs(documents).groups)) == tuple(names)
    assert len(set(names)) == len(titles)


def test_pairs_of_several_files(tmp_path: Path) -> None:
    for name, titles in {"a.json": ["x", "y"], "b.json": ["x"]}.items():
        (tmp_path / name).write_text(json.dumps([document(title) for title in titles]), encoding="utf-8")
    pairs = read_pairs(Source.find(tmp_path), "NA")
    assert pairs.groups[::2] == ("x [0]", "y", "x [2]")
    (tmp_path / "b.json").write_text(json.dumps([document("z"), {"title": "x"}]), encoding="utf-8")
    with pytest.raises(InvalidInputError, match=r"b\.json, document 1: no field 'sents'"):
        read_pairs(Source.find(tmp_path), "NA")


def test_examples_of_several_files(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([example("p"), example("q")]), encoding="utf-8")
    (tmp_path / "b.json").write_text(json.dumps([example("r")]), encoding="utf-8")
    pairs = read_pairs(Source.find(tmp_path), "no_relation")
    assert [pairs.words(row) for row in range(3)] == [f"[H] A [/H] met [T] {name} [/T]" for name in "pqr"]
    (tmp_path / "b.json").write_text(json.dumps([example("p")]), encoding="utf-8")
    with pytest.raises(InvalidInputError, match="'p' is the id of 2 pairs"):
        read_pairs(Source.find(tmp_path), "no_relation")


def test_labels_in_the_format_of_the_input(tmp_path: Path) -> None:
    path = tmp_path / "gold.json"
    one = document("x")
    one["labels"] = [{"h": 1, "t": 0, "r": "P1"}]
    path.write_text(json.dumps([one]), encoding="utf-8")
    pairs = read_docred(path)
    assert read_labels(path, "docred", "NA") == dict(zip(pairs.ids, pairs.labels, strict=True))
    with pytest.raises(InvalidInputError, match="expected a table"):
        read_labels(path, "vectors", "NA")


def test_table_with_a_short_row(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('id,label\n"a, ""b""\nc",x\n\nd\n', encoding="utf-8")
    with pytest.raises(InvalidInputError, match="line 5: got 1 fields, expected 2"):
        TableFile(path).column("id")
    path.write_text('id,label\n"a, ""b""\nc",x\n\nd,y\n', encoding="utf-8")
    table = TableFile(path)
    assert table.column("id") == ['a, "b"\nc', "d"]
    table.write(tmp_path / "b.csv", "label", ["z", None])
    assert (tmp_path / "b.csv").read_text(encoding="utf-8") == 'id,label\n"a, ""b""\nc",z\n'
    with pytest.raises(InvalidInputError, match=r"the input is a \.csv file"):
        table.write(tmp_path / "b.tsv", "label", ["z", None])
