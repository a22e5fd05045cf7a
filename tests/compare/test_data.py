from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kgneg.compare import UnknownNameError, load_data
from kgneg.compare.data import from_graph, load_training
from kgneg.core.errors import InvalidInputError
from kgneg.datasets import load, read_triples


def test_built_in_graphs_have_texts() -> None:
    data = load_data("nations")
    assert data.texts == "nations"
    assert data.to_dict() | {"fingerprint": ""} == {
        "name": "nations", "note": "", "entities": 14, "relations": 55, "train": 1592, "valid": 199, "test": 201,
        "fingerprint": "",
    }  # fmt: skip
    assert len(data.held_out) == 400


def test_names_of_pykeen_agree_with_ours() -> None:
    assert load_data("Nations").fingerprint() == load_data("nations").fingerprint()
    assert load_data("Nations").texts is None


def test_folders_and_files(zoo: Path) -> None:
    folder = load_data(str(zoo))
    assert folder.texts == str(zoo)
    files = load_data(train=str(zoo / "train.tsv"), valid=str(zoo / "valid.tsv"), test=str(zoo / "test.tsv"))
    assert files.texts is None
    assert files.fingerprint() == folder.fingerprint()
    assert load_data(train=str(zoo / "train.tsv"), test=str(zoo / "test.tsv")).fingerprint() != folder.fingerprint()
    (zoo / "entities.tsv").unlink()
    assert load_data(str(zoo)).texts is None


def test_rdf_is_split(tmp_path: Path) -> None:
    path = tmp_path / "zoo.nt"
    lines = [f"<http://e/{i % 7}> <http://e/r{i % 2}> <http://e/{(i * 3 + 1) % 7}> ." for i in range(60)]
    path.write_text("\n".join(sorted(set(lines))), encoding="utf-8")
    data = load_data(str(path))
    assert data.testing.num_triples > 0
    assert "8 : 1 : 1" in data.note
    assert load_training(str(path))[0].num_triples == len(set(lines))


def test_refusals(zoo: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown dataset 'natoins'; known: nations"):
        load_data("natoins")
    with pytest.raises(InvalidInputError, match="train and a test file"):
        load_data(train="a.tsv")
    with pytest.raises(InvalidInputError, match="no such file"):
        load_data(train="a.tsv", test="b.tsv")
    (zoo / "test.tsv").unlink()
    with pytest.raises(InvalidInputError, match="no test triples"):
        load_data(str(zoo))


def test_a_download_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise OSError("no\nnetwork")

    monkeypatch.setattr("pykeen.datasets.get_dataset", refuse)
    with pytest.raises(InvalidInputError, match=r"cannot load the dataset 'wn18rr' \(OSError: no network\)"):
        load_data("wn18rr")


def test_training_only(zoo: Path) -> None:
    (zoo / "test.tsv").unlink()
    training, texts = load_training(str(zoo))
    assert texts == str(zoo)
    rows, _ = load_training(None, read_triples(zoo / "train.tsv"))
    assert torch.equal(rows.mapped_triples, training.mapped_triples)
    with pytest.raises(UnknownNameError):
        load_training("no-such-graph")


def test_graphs_in_memory() -> None:
    assert from_graph(load("nations")).fingerprint() == load_data("nations").fingerprint()
