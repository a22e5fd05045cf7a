"""Texts and right answers from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.datasets import Taxonomy
from kgneg.skills.sources import load_taxonomy, read_gold, read_sentences, split_sentences


def test_sentences() -> None:
    text = "What you do:\n\n• Weld metal.  Lead a team! * cut metal\r\n  \u2013 3 years; German"
    assert split_sentences(text) == ["What you do:", "Weld metal.", "Lead a team!", "cut metal", "3 years;", "German"]
    assert split_sentences(" \n ") == []


def test_lines(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_text("one  text\n\n another\t\n", encoding="utf-8")
    assert read_sentences(path) == ["one text", "another"]
    path.write_text("\n", encoding="utf-8")
    with pytest.raises(InvalidInputError, match="there is no text"):
        read_sentences(path)


def test_right_answers(tmp_path: Path) -> None:
    path = tmp_path / "gold.csv"
    path.write_text('sentence,label\n"weld, cut",weld\n"weld, cut",cut\nnothing,NONE\nmore,weld\n', encoding="utf-8")
    found = read_gold(path, {"weld": 5, "cut": 7})
    assert found.texts == ["weld, cut", "nothing", "more"]
    assert found.queries.tolist() == [0, 0, 2] and found.concepts.tolist() == [5, 7, 5]
    assert found.unknown == {"NONE": 1}
    with pytest.raises(InvalidInputError, match="none of the 3 labels"):
        read_gold(path, {"bake": 0})
    with pytest.raises(InvalidInputError, match="no column 'gold'"):
        read_gold(path, {"weld": 0}, label="gold")


def test_taxonomies(tmp_path: Path) -> None:
    table = tmp_path / "links.csv"
    table.write_text("lion,cat\n", encoding="utf-8")
    saved, rdf = tmp_path / "links.safetensors", tmp_path / "links.nt"
    Taxonomy.read_table(table).save(saved)
    rdf.write_text("<lion:> <http://www.w3.org/2004/02/skos/core#broader> <cat:> .\n", encoding="utf-8")
    for path in (table, saved, rdf):
        assert len(load_taxonomy(path)) == 2
    with pytest.raises(InvalidInputError, match="broaderRelationsSkillPillar"):
        load_taxonomy(tmp_path)
