"""WordNets as taxonomies."""

from __future__ import annotations

import gzip
import lzma
import sys
import time
from pathlib import Path

import pytest

from kgneg.core.errors import InvalidInputError, MissingExtraError
from kgneg.datasets import Taxonomy, read_wordnet

LMF = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE LexicalResource SYSTEM "http://globalwordnet.github.io/schemas/WN-LMF-1.3.dtd">
<LexicalResource xmlns:dc="https://globalwordnet.github.io/schemas/dc/">
  <Lexicon id="zoo" label="Zoo" language="en" email="a@b.c" license="MIT" version="1">
    <LexicalEntry id="w-lion"><Lemma writtenForm="lion" partOfSpeech="n"/>
      <Sense id="s1" synset="z-1"/></LexicalEntry>
    <LexicalEntry id="w-king"><Lemma writtenForm="king of beasts" partOfSpeech="n"/>
      <Sense id="s2" synset="z-1"/></LexicalEntry>
    <LexicalEntry id="w-cat"><Lemma writtenForm="cat" partOfSpeech="n"/>
      <Sense id="s3" synset="z-2"/></LexicalEntry>
    <LexicalEntry id="w-eat"><Lemma writtenForm="eat" partOfSpeech="v"/>
      <Sense id="s4" synset="z-3"/></LexicalEntry>
    <LexicalEntry id="w-big"><Lemma writtenForm="big" partOfSpeech="a"/>
      <Sense id="s5" synset="z-4"/></LexicalEntry>
    <Synset id="z-1" ili="" partOfSpeech="n" members="s2 s1"><Definition>a big cat</Definition>
      <SynsetRelation relType="instance_hypernym" target="z-2"/></Synset>
    <Synset id="z-2" ili="" partOfSpeech="n"><SynsetRelation relType="hyponym" target="z-1"/></Synset>
    <Synset id="z-3" ili="" partOfSpeech="v"/>
    <Synset id="z-4" ili="" partOfSpeech="a"/>
  </Lexicon>
</LexicalResource>
"""
TABLE = """synset\tpos\tlexfile\tmembers\thypernyms\tinstance_hypernyms\tdefinition
z-1\tn\tx\tking of beasts|lion\t\tz-2\ta big cat
z-2\tn\tx\tcat\t\t\t
z-3\tv\tx\teat\t\t\t
z-4\ta\tx\tbig\t\t\t
"""


def write(folder: Path, text: str, name: str = "zoo.xml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def check(made: Taxonomy) -> None:
    assert made.name == "zoo"
    assert made.concepts == ("z-1", "z-2", "z-3")
    assert made.labels == ("king of beasts", "cat", "eat")
    assert made.alternatives == (("lion",), (), ())
    assert made.kinds == ("noun", "noun", "verb")
    assert made.descriptions == ("a big cat", "", "")
    assert [one.tolist() for one in made.parents.pairs()] == [[0], [1]]
    assert made.report["other_part_adjective"] == 1


def test_lmf(tmp_path: Path) -> None:
    pytest.importorskip("wn")
    check(read_wordnet(write(tmp_path, LMF), cache=False))
    for name, pack in (("zoo.xml.gz", gzip.compress), ("zoo.xml.xz", lzma.compress)):
        (tmp_path / name).write_bytes(pack(LMF.encode()))
        check(read_wordnet(tmp_path / name, cache=False))


def test_members_are_entries(tmp_path: Path) -> None:
    pytest.importorskip("wn")
    made = read_wordnet(write(tmp_path, LMF.replace("s2 s1", "w-king w-lion")), cache=False)
    assert made.labels[0] == "king of beasts"


def test_table(tmp_path: Path) -> None:
    check(read_wordnet(write(tmp_path, TABLE, "zoo.tsv"), cache=False))


def test_parts(tmp_path: Path) -> None:
    path = write(tmp_path, TABLE, "zoo.tsv")
    assert read_wordnet(path, parts="noun", cache=False).concepts == ("z-1", "z-2")
    assert len(read_wordnet(path, parts=("noun", "adjective"), cache=False)) == 3
    with pytest.raises(InvalidInputError, match="parts must be"):
        read_wordnet(path, parts=("nouns",), cache=False)
    with pytest.raises(InvalidInputError, match="parts must name"):
        read_wordnet(path, parts=(), cache=False)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('target="z-2"', 'target="z-9"', r"line 15: got the hypernym 'z-9' of 'z-1', which is not there"),
        ('<Synset id="z-3"', '<Synset id="z-2"', r"line 18: got the synset 'z-2' a second time"),
        ("</Lexicon>", "", "line 2[01]: got invalid or ill-formed XML"),
        ("</Lexicon>\n</LexicalResource>\n", "", "line 20: got invalid or ill-formed XML"),
        ('<?xml version="1.0" encoding="UTF-8"?>\n', "", "invalid or missing XML declaration"),
        ("WN-LMF-1.3", "WN-LMF-9.9", "invalid or missing DOCTYPE"),
        ("LexicalResource", "Resource", "got"),
        ("<Lexicon ", "<Lexikon ", "unexpected element at line 4"),
        ('version="1">', ">", "missing required attribute: version"),
        (' synset="z-1"', "", "got AssertionError|got .*synset"),
    ],
)
def test_broken_lmf(tmp_path: Path, old: str, new: str, message: str) -> None:
    pytest.importorskip("wn")
    assert old in LMF
    with pytest.raises(InvalidInputError, match=message) as caught:
        read_wordnet(write(tmp_path, LMF.replace(old, new)), cache=False)
    assert "zoo.xml" in str(caught.value)


@pytest.mark.parametrize("text", ["", "lions and cats", "{}"])
def test_no_wordnet_at_all(tmp_path: Path, text: str) -> None:
    pytest.importorskip("wn")
    with pytest.raises(InvalidInputError, match=r"zoo\.xml"):
        read_wordnet(write(tmp_path, text), cache=False)


def test_no_synsets(tmp_path: Path) -> None:
    pytest.importorskip("wn")
    start, end = LMF.index("    <LexicalEntry"), LMF.index("  </Lexicon>")
    with pytest.raises(InvalidInputError, match="no synset"):
        read_wordnet(write(tmp_path, LMF[:start] + LMF[end:]), cache=False)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\tz-2\t", "\tz-9\t", "line 2: got the hypernym 'z-9' of 'z-1'"),
        ("z-3\tv\tx", "z-3\tq\tx", "line 4: got the part of speech 'q'"),
        ("z-3\t", "z-1\t", "line 4: got the synset 'z-1' a second time"),
        ("z-3\t", "\t", "line 4: got no synset"),
        ("z-3\tv\tx", "z-3\tv", "line 4: got 6 columns, expected 7"),
        ("members", "words", "line 1: got no column members"),
    ],
)
def test_broken_table(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        read_wordnet(write(tmp_path, TABLE.replace(old, new), "zoo.tsv"), cache=False)


def test_cycles(tmp_path: Path) -> None:
    text = TABLE.replace("z-2\tn\tx\tcat\t", "z-2\tn\tx\tcat\tz-5 z-1").replace(
        "z-3\tv", "z-5\tn\tx\tanimal\t\t\t\nz-3\tv"
    )
    path = write(tmp_path, text, "zoo.tsv")
    made = read_wordnet(path, cache=False)
    assert made.report["link_in_cycle"] == 2
    with pytest.raises(InvalidInputError, match="cycle"):
        read_wordnet(path, cycles="error", cache=False)


def test_missing_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wn", None)
    with pytest.raises(MissingExtraError, match=r"kgneg\[wordnet\]"):
        read_wordnet(write(tmp_path, LMF), cache=False)
    check(read_wordnet(write(tmp_path, TABLE, "zoo.tsv"), cache=False))


def test_missing_file(tmp_path: Path) -> None:
    for cache in (True, False):
        with pytest.raises(InvalidInputError, match="absent"):
            read_wordnet(tmp_path / "absent.xml", cache=cache)


def test_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KGNEG_CACHE", str(tmp_path / "cache"))
    path = write(tmp_path, TABLE, "zoo.tsv")
    check(read_wordnet(path))
    check(read_wordnet(path))
    assert len(read_wordnet(path, parts="noun")) == 2


def test_open_english_wordnet(commonsense_folder: Path) -> None:
    start = time.perf_counter()
    made = read_wordnet(commonsense_folder / "oewn" / "oewn_noun_verb_synsets.tsv.gz", cache=False)
    assert time.perf_counter() - start < 60
    assert len(made) == 85_694
    assert (len(made.of_kind("noun")), len(made.of_kind("verb"))) == (71_873, 13_821)
    assert len(made.parents.indices) == 88_090
    assert "entity" in made.labels
