"""The folder of a distilled graph."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.candidates import Candidates
from kgneg.selfinstruct.claim import claim
from kgneg.selfinstruct.distill_files import DistillFolder


def test_tables_and_lines(tmp_path: Path) -> None:
    folder = DistillFolder(tmp_path / "a" / "b")
    path = folder.write_triples("triples", Candidates.from_triples([("猫", "IsA", "pet")]))
    assert path.read_bytes() == "猫\tIsA\tpet\n".encode()
    path = folder.write_table("heads", ("kind", "head"), [("a", "b")])
    assert path.read_bytes() == b"kind\thead\na\tb\n"
    path = folder.write_lines("lines", [{"a": "猫"}, {"b": 1}])
    assert [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] == [{"a": "猫"}, {"b": 1}]
    assert json.loads(folder.write_report({"x": 1}).read_text(encoding="utf-8")) == {"x": 1}


def test_malformed_replies_are_added_also_after_a_kill(tmp_path: Path) -> None:
    folder = DistillFolder(tmp_path)
    folder.add_malformed({"text": "\ud800\n"})
    folder.add_malformed({"text": "b"})
    path = tmp_path / "malformed.jsonl"
    path.write_bytes(path.read_bytes()[:-4])
    folder.add_malformed({"text": "c"})
    lines = path.read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[0]) == {"text": "\ud800\n"}
    assert json.loads(lines[2]) == {"text": "c"}
    assert len(lines) == 3


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InvalidInputError, match="is a file"):
        DistillFolder(tmp_path / "file")


def test_folders_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "triples.tsv").write_text("my\town\tdata\n", encoding="utf-8")
    with pytest.raises(InvalidInputError, match=r"holds triples\.tsv, which no distill has written"):
        DistillFolder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["triples.tsv"]
    claim(tmp_path / "run", "run")
    with pytest.raises(InvalidInputError, match="holds the output of run, not of distill"):
        DistillFolder(tmp_path / "run")


def test_own_folders_are_taken_again(tmp_path: Path) -> None:
    DistillFolder(tmp_path / "own").write_table("heads", None, [])
    DistillFolder(tmp_path / "own")
    (tmp_path / "earlier").mkdir()  # of a version that left no mark
    for name in ("replies.sqlite", "triples.tsv"):
        (tmp_path / "earlier" / name).write_text("", encoding="utf-8")
    DistillFolder(tmp_path / "earlier")


def test_tables_are_removed(tmp_path: Path) -> None:
    folder = DistillFolder(tmp_path)
    folder.write_table("kept", None, [])
    folder.remove_tables("kept", "decisions")
    assert not (tmp_path / "kept.tsv").exists()
