from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import torch

from kgneg.audit import AuditData, AuditSettings, audit, load_audit_data
from kgneg.core.errors import InvalidInputError
from kgneg.datasets import load


def labels(data: AuditData) -> set[tuple[str, ...]]:
    entities, relations = data.training.entity_id_to_label, data.training.relation_id_to_label
    return {(entities[h], relations[r], entities[t]) for h, r, t in data.verified.tolist()}


EXPECTED = {("animal_0", "eats", "animal_1"), ("animal_2", "fears", "animal_4")}


def test_a_folder(zoo: Path) -> None:
    data = load_audit_data(str(zoo))
    assert labels(data) == EXPECTED
    assert "1 with an entity or relation that training does not have" in data.verified_note
    assert "1 repeated" in data.verified_note
    assert "1 that are known to be true" in data.verified_note
    assert data.types is not None
    assert len(data.types) == 12
    assert data.say((3, 0, 4)) == ("the animal number 11", "likes to eat", "the animal number 2")
    assert len(data.held_out) == 4


def test_a_graph_in_memory(zoo: Path) -> None:
    data = load_audit_data(data=load(str(zoo)))
    assert labels(data) == EXPECTED
    assert data.say((3, 0, 4))[0] == "the animal number 11"


@pytest.mark.parametrize("suffix", [".tsv", ".tsv.gz"])
@pytest.mark.parametrize("columns", [3, 4])
def test_a_file(suffix: str, columns: int, zoo: Path, tmp_path: Path) -> None:
    path = tmp_path / f"wrong{suffix}"
    rows = ["animal_0\teats\tanimal_1", "animal_3\teats\tanimal_2"]
    if columns == 4:
        rows = [rows[0] + "\t-1", rows[1] + "\t1"]
    text = ("\n".join(rows) + "\n").encode()
    path.write_bytes(gzip.compress(text) if suffix.endswith("gz") else text)
    data = load_audit_data(str(zoo), verified=str(path))
    expected = {("animal_0", "eats", "animal_1")}
    assert labels(data) == (expected | {("animal_3", "eats", "animal_2")} if columns == 3 else expected)


def test_another_folder_and_labelled_files(zoo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    with pytest.raises(InvalidInputError, match="no verified negatives; looked for"):
        load_audit_data(str(zoo), verified=str(folder))
    text = "animal_0\teats\tanimal_1\t-1\nanimal_0\teats\tanimal_2\t1\n"
    (folder / "test_labelled.tsv").write_text(text, encoding="utf-8")
    assert labels(load_audit_data(str(zoo), verified=str(folder))) == {("animal_0", "eats", "animal_1")}


def test_refusals(zoo: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="no such file"):
        load_audit_data(str(zoo), verified=str(tmp_path / "none.tsv"))
    path = tmp_path / "foreign.tsv"
    path.write_text("lion\teats\tzebra\n", encoding="utf-8")
    with pytest.raises(InvalidInputError, match=r"none of the 1 verified negatives in .* is about this graph"):
        load_audit_data(str(zoo), verified=str(path))


def test_texts(tmp_path: Path) -> None:
    path = tmp_path / "texts.tsv"
    path.write_text("brazil\ta country in South America\n", encoding="utf-8")
    factory = load_audit_data("nations").training
    data = load_audit_data("nations", texts=str(path))
    brazil, cuba = factory.entity_to_id["brazil"], factory.entity_to_id["cuba"]
    assert data.say((brazil, 0, cuba))[::2] == ("a country in South America", "cuba")


def test_types_and_verified_are_used(zoo: Path) -> None:
    settings = AuditSettings(dataset=str(zoo), samplers=("basic",), draws=3000, reference_epochs=1)
    result = audit(settings, progress=False)
    assert result.dataset["types"] == {"source": "types", "number": 2}
    assert result.dataset["verified"]["number"] == 2
    assert result.sampler("basic")["verified"]["reached"]["share"] == 1.0
    assert result.reference["plausible"]["verified"]["total"] == 2
    assert str(zoo) not in str(result.to_dict()), "results do not tell where files lie"
    assert "People have called 2 triples false" in result.to_html()


def test_held_out_triples_are_not_in_training(nations: AuditData) -> None:
    assert len(nations.held_out) == 400
    assert not nations.known["train"].contains(nations.held_out).any()
    assert torch.equal(nations.held_out.unique(dim=0), nations.held_out)
