"""Taxonomies from RDF, from tables and from the files of ESCO."""

from __future__ import annotations

import gzip
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.datasets import Taxonomy, _rdf_statements

DATA = Path(os.environ.get("KGNEG_DATA", Path(__file__).resolve().parents[3] / "shared" / "data")) / "esco"
TURTLE = """
@prefix skos: <http://www.w3.org/2004/02/skos/core#> .
@prefix xl: <http://www.w3.org/2008/05/skos-xl#> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix owl: <http://www.w3.org/2002/07/owl#> .
@prefix : <http://e/> .
:lion a skos:Concept, :Species ; skos:broader :cat ; skos:prefLabel "lion"@en, "Löwe"@de ; skos:altLabel "king"@en ;
  skos:hiddenLabel "loin"@en ; :eats :zebra .
:cat skos:narrower :tiger ; rdfs:label "cat" .
:tiger xl:prefLabel [ xl:literalForm "tiger"@en-GB ] ; xl:altLabel [ xl:literalForm "big cat"@en ] .
:cat rdfs:subClassOf :animal, owl:Thing, [ a owl:Restriction ] .
:animal rdfs:label "Tier"@de .
:rock a skos:Concept .
"""


@pytest.fixture(params=["pyoxigraph", "rdflib"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "pyoxigraph":
        pytest.importorskip("pyoxigraph")
    else:
        monkeypatch.setattr(_rdf_statements, "_pyoxigraph", lambda: None)
    yield request.param


def write(folder: Path, text: str, name: str = "zoo.ttl") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def named(taxonomy: Taxonomy) -> dict[str, str]:
    return {one.removeprefix("http://e/"): label for one, label in zip(taxonomy.concepts, taxonomy.labels, strict=True)}


def test_rdf(parser: str, tmp_path: Path) -> None:
    made = Taxonomy.read(write(tmp_path, TURTLE), relations={"prey": "http://e/eats"}, cache=False)
    assert named(made) == {"animal": "", "cat": "cat", "lion": "lion", "rock": "", "tiger": "tiger"}
    links = {(made.concepts[a][9:], made.concepts[b][9:]) for a, b in zip(*(p.tolist() for p in made.parents.pairs()))}  # noqa: B905
    assert links == {("lion", "cat"), ("tiger", "cat"), ("cat", "animal")}
    assert made.alternatives[made.ids["http://e/lion"]] == ("king", "loin")
    assert made.alternatives[made.ids["http://e/tiger"]] == ("big cat",)
    assert made.kinds[made.ids["http://e/lion"]] == "Species"
    assert made.contexts == {"prey": ("http://e/zebra",)}
    report = {
        "anonymous_class": 1, "link_to_top_or_itself": 1, "label_in_other_language": 1, "orphan": 1, "without_label": 2,
    }  # fmt: skip
    assert made.report == report


def test_what_is_no_concept_has_no_say(parser: str, tmp_path: Path) -> None:
    more = ':scheme a skos:ConceptScheme ; rdfs:label "Zoo"@de . :eats rdfs:label "eats"@en, "devours"@en .'
    made = Taxonomy.read(write(tmp_path, TURTLE + more, "my zoo [1].ttl"), cache=False)
    assert len(made) == 5 and made.report["label_in_other_language"] == 1
    with pytest.raises(InvalidInputError, match="the relation 'food' is empty"):
        Taxonomy.read(tmp_path / "my zoo [1].ttl", relations={"food": "http://e/drinks"}, cache=False)
    both = Taxonomy.read(tmp_path / "my zoo [1].ttl", relations=dict.fromkeys("ab", "http://e/eats"), cache=False)
    assert set(both.contexts) == {"a", "b"}


def test_language(parser: str, tmp_path: Path) -> None:
    path = write(tmp_path, TURTLE)
    assert named(Taxonomy.read(path, language="de", cache=False))["lion"] == "Löwe"
    with pytest.raises(InvalidInputError, match=r"labels, 'Löwe' \(de\), 'lion' \(en\): name the one"):
        Taxonomy.read(path, language=None, cache=False)
    twice = TURTLE + ':lion skos:prefLabel "lioness"@en .'
    with pytest.raises(InvalidInputError, match=r"'lion' \(en\), 'lioness' \(en\): keep one of them"):
        Taxonomy.read(write(tmp_path, twice, "twice.ttl"), cache=False)


def test_links_can_be_named(parser: str, tmp_path: Path) -> None:
    path = write(tmp_path, TURTLE + ":lion :under :beast . :beast :over :tiger .")
    made = Taxonomy.read(path, links=["http://e/under", "^http://e/over"], cache=False)
    assert len(made.parents.indices) == 2
    with pytest.raises(InvalidInputError, match="is empty: there is no statement with one of skos:related"):
        Taxonomy.read(path, links=["skos:related"], cache=False)
    with pytest.raises(InvalidInputError, match="unknown prefix in 'foaf:knows'"):
        Taxonomy.read(path, links=["foaf:knows"], cache=False)
    with pytest.raises(InvalidInputError, match="expected an IRI"):
        Taxonomy.read(path, links=["broader"], cache=False)


def test_broken_rdf_names_the_line(parser: str, tmp_path: Path) -> None:
    broken = "<http://e/a> <http://e/b> <http://e/c> .\n<http://e/a> <http://e/b> <http://e\n"
    for name in ("zoo.nt", "zoo.ttl"):
        with pytest.raises(InvalidInputError, match=rf"{name}, line 2: got something that is not"):
            Taxonomy.read(write(tmp_path, broken, name), cache=False)
    with pytest.raises(InvalidInputError, match="cycle: 'http://e/a' -> 'http://e/b' -> 'http://e/a'"):
        Taxonomy.read(
            write(tmp_path, "@prefix : <http://e/> . :a <http://e/up> :b . :b <http://e/up> :a ."),
            links=["http://e/up"],
            cache=False,
        )


def test_both_parsers_read_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyoxigraph")
    path = write(tmp_path, TURTLE)
    fast = Taxonomy.read(path, cache=False)
    monkeypatch.setattr(_rdf_statements, "_pyoxigraph", lambda: None)
    slow = Taxonomy.read(path, cache=False)
    for name in ("concepts", "labels", "alternatives", "kinds", "report"):
        assert getattr(fast, name) == getattr(slow, name)


def test_what_was_read_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KGNEG_HOME", str(tmp_path / "home"))
    path = write(tmp_path, TURTLE)
    first = Taxonomy.read(path)
    monkeypatch.setattr("kgneg.datasets.taxonomy_rdf.read_statements", lambda _: pytest.fail("was read again"))
    again = Taxonomy.read(path)
    assert again.labels == first.labels and again.report == first.report
    write(tmp_path, TURTLE + ":x skos:broader :cat .")
    with pytest.raises(pytest.fail.Exception):
        Taxonomy.read(path)


def test_tables(tmp_path: Path) -> None:
    links = write(tmp_path, "parent;child\ncat;lion\n;rock\ncat;tiger\n", "links.csv")
    made = Taxonomy.read_table(links, child="child", parent="parent", separator=";")
    assert made.concepts == ("cat", "lion", "rock", "tiger") and made.report["orphan"] == 1
    named = write(tmp_path, "id,label\ncat,Cat\nlion,Lion\nrock,Rock\ntiger,Tiger\n", "named.csv")
    links = write(tmp_path, "parent,child\ncat,lion\n,rock\ncat,tiger\n", "more.csv")
    assert Taxonomy.read_table(links, child="child", parent="parent", labels=named).texts()[0] == "Cat"
    tsv = write(tmp_path, "lion\tcat\ntiger\tcat\n", "links.tsv")
    labels = write(tmp_path, 'lion\tLion\tking|"big"\ntiger\tTiger\t\ncat\tCat\t\n', "labels.tsv")
    made = Taxonomy.read_table(tsv, labels=labels, alternative=2)
    assert made.texts() == ["Cat", "Lion", "Tiger"]


@pytest.mark.parametrize(
    ("links", "labels", "message"),
    [
        ("a,b\n", "a,A\nb,B\na,C\n", "labels.csv, line 3: the identifier 'a' is there a second time"),
        ("a,b\n", "a,A\n", "unknown parent 'b'"),
        ("a,b\na\n", "a,A\nb,B\n", "line 2: got 1 columns"),
        (",b\n", "b,B\n", "line 1: got no child"),
        ("a,b\nc,\n", "a,A\nb,B\n", "1 concepts without a parent have no label in .*, the first is 'c'"),
        ("", "b,B\n", "got the end of the file"),
        ('a,"b\n', "b,B\n", "cannot be read"),
    ],
)
def test_broken_tables(links: str, labels: str, message: str, tmp_path: Path) -> None:
    path, names = write(tmp_path, links, "links.csv"), write(tmp_path, labels, "labels.csv")
    with pytest.raises(InvalidInputError, match=message):
        Taxonomy.read_table(path, labels=names)


def test_missing_columns_and_files(tmp_path: Path) -> None:
    path = write(tmp_path, "child,parent\na,b\n", "links.csv")
    with pytest.raises(InvalidInputError, match="no column 'narrower'; the first row is child, parent"):
        Taxonomy.read_table(path, child="narrower", parent="parent")
    with pytest.raises(InvalidInputError, match="no column 2; the first row has 2"):
        Taxonomy.read_table(path, child=2)
    with pytest.raises(InvalidInputError, match=r"none\.csv"):
        Taxonomy.read_table(tmp_path / "none.csv")
    with pytest.raises(InvalidInputError, match="none"):
        Taxonomy.read(tmp_path / "none.ttl")


ESCO = {
    "broaderRelationsSkillPillar_en.csv": "conceptType,conceptUri,broaderType,broaderUri\n"
    "KnowledgeSkillCompetence,e:weld,SkillGroup,e:metal\nKnowledgeSkillCompetence,e:tig,KnowledgeSkillCompetence,e:weld\n"
    "KnowledgeSkillCompetence,e:cut,SkillGroup,e:metal\n",
    "skills_en.csv": 'conceptUri,preferredLabel,altLabels\ne:weld,weld metal,"join metal\nfuse metal"\n'
    "e:tig,TIG welding,\ne:cut,cut metal,\n",
    "skillGroups_en.csv": "conceptUri,preferredLabel,altLabels\ne:metal,working with metal,\n",
    "occupationSkillRelations_en.csv": "occupationUri,relationType,skillType,skillUri\n"
    "o:welder,essential,skill,e:weld\no:welder,optional,skill,e:cut\n",
}


def esco(folder: Path, **changed: str | None) -> Path:
    for name, text in {**ESCO, **{f"{one}.csv": body for one, body in changed.items()}}.items():
        if text is not None:
            write(folder, text, name)
    return folder


def test_esco(tmp_path: Path) -> None:
    made = Taxonomy.read_esco(esco(tmp_path), cache=False)
    assert made.labels == ("cut metal", "working with metal", "TIG welding", "weld metal")
    assert made.alternatives[made.ids["e:weld"]] == ("join metal", "fuse metal")
    assert [made.kinds[made.ids[one]] for one in ("e:weld", "e:metal")] == ["skill", "group"]
    assert made.shared_relation("occupation").members(made.ids["e:cut"]).tolist() == [made.ids["e:weld"]]
    assert made.report == {}
    write(tmp_path, ESCO["skills_en.csv"] + "e:alone,be alone,\n", "skills_en.csv")
    assert Taxonomy.read_esco(tmp_path, cache=False).report == {"orphan": 1}
    essential = Taxonomy.read_esco(tmp_path, essential_only=True, cache=False)
    assert essential.contexts["occupation"] == ("o:welder",)
    assert not len(essential.shared_relation("occupation").indices)


@pytest.mark.parametrize(
    ("changed", "options", "message"),
    [
        ({"broaderRelationsSkillPillar_en": None}, {}, "there is no broaderRelationsSkillPillar_en.csv"),
        ({}, {"language": "fr"}, "there is no broaderRelationsSkillPillar_fr.csv"),
        ({"skills_en": None, "skillGroups_en": None}, {}, "no labels in the language 'en'"),
        ({"skills_en": ESCO["skills_en.csv"] + "e:weld,x,\n"}, {}, "line 6: the URI 'e:weld' is there a second time"),
        ({"skills_en": "conceptUri,title\ne:weld,x\n"}, {}, "no column 'preferredLabel'"),
        ({}, {"pillar": "jobs"}, "pillar"),
    ],
)
def test_esco_refuses(changed: dict[str, str | None], options: dict[str, Any], message: str, tmp_path: Path) -> None:
    folder = esco(tmp_path, **changed)
    with pytest.raises(InvalidInputError, match=message):
        Taxonomy.read_esco(folder, cache=False, **options)


def test_esco_without_folder(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="there is no folder"):
        Taxonomy.read_esco(tmp_path / "none")


@pytest.mark.skipif(not DATA.exists(), reason="the files of ESCO are not here")
def test_esco_of_the_commission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KGNEG_HOME", str(tmp_path))
    made = Taxonomy.read_esco(DATA / "raw_v1.2.0")
    assert (len(made), len(made.parents.indices), len(made.roots), int(made.depths.max())) == (14_579, 20_822, 4, 11)
    begin = time.perf_counter()
    again = Taxonomy.read_esco(DATA / "raw_v1.2.0")
    assert time.perf_counter() - begin < 2  # 0.1 s as a rule; the machine may be busy
    assert again.concepts == made.concepts
    with gzip.open(DATA / "skill_pillar_skos_derived.nt.gz", "rt", encoding="utf-8") as file:
        skos = Taxonomy.read(write(tmp_path, file.read(), "skills.nt"))
    assert skos.concepts == made.concepts and skos.parents.fingerprint() == made.parents.fingerprint()
