from __future__ import annotations

import gzip
import logging
import os
import socket
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any, NoReturn

import pytest
import rdflib

from kgneg.core.errors import InvalidInputError
from kgneg.datasets import load_rdf

TURTLE = """
@prefix : <http://e/> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix skos: <http://www.w3.org/2004/02/skos/core#> .
@prefix dc: <http://purl.org/dc/elements/1.1/> .
@prefix owl: <http://www.w3.org/2002/07/owl#> .

:lion a :Predator, owl:Thing ; :eats :zebra ; :weight 190 ;
    rdfs:label "Löwe"@de, "lion"@en, "big cat" ; skos:prefLabel "Lion!"@en ;
    rdfs:comment "mange"@fr, "it  roars\\nloudly"@en-GB .
:zebra a :Prey ; :eats :grass ; skos:prefLabel "zebra"@en ; dc:description "striped" ; :born "2001" .
:grass rdfs:label "Gras"@de, "herbe"@fr ; skos:definition " " .
:eats rdfs:label "eats"@en, "frisst"@de ; a owl:ObjectProperty ; rdfs:comment "takes in food"@en .
:Predator rdfs:label "predator"@en .
:grass :near [ :near :lion ] .
"""


def write(folder: Path, content: str | bytes, name: str = "zoo.ttl") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def short(label: str) -> str:
    return label.removeprefix("http://e/")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail at any attempt to open a connection."""

    def refuse(*args: object, **kwargs: object) -> NoReturn:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_triples_types_and_texts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="kgneg"):
        graph = load_rdf(write(tmp_path, TURTLE))
    assert graph.name == "zoo"
    assert [short(label) for label in graph.entities] == ["_:b0", "grass", "lion", "zebra"]
    assert [short(label) for label in graph.relations] == ["eats", "near"]
    assert [tuple(map(short, triple)) for triple in graph.labels_of(graph.train)] == [
        ("_:b0", "near", "lion"),
        ("grass", "near", "_:b0"),
        ("lion", "eats", "zebra"),
        ("zebra", "eats", "grass"),
    ]
    assert {short(label): text for label, text in graph.texts.items()} == {
        "lion": "lion, it roars loudly",
        "zebra": "zebra, striped",
        "grass": "Gras",
        "Predator": "predator",
    }
    assert {short(label): text for label, text in graph.relation_texts.items()} == {"eats": "eats"}
    assert [(short(entity), short(kind)) for entity, kind in graph.types] == [
        ("eats", "http://www.w3.org/2002/07/owl#ObjectProperty"),
        ("lion", "Predator"),
        ("lion", "http://www.w3.org/2002/07/owl#Thing"),
        ("zebra", "Prey"),
    ]
    assert graph.report == {"skipped_literal": 2, "text_without_language": 1, "text_in_other_language": 1}
    assert "skipped_literal 2" in caplog.text


def test_other_language(tmp_path: Path) -> None:
    graph = load_rdf(write(tmp_path, TURTLE), language="DE")
    assert graph.texts["http://e/lion"] == "Löwe, it roars loudly"
    assert graph.texts["http://e/grass"] == "Gras"
    assert graph.relation_texts["http://e/eats"] == "frisst"
    none = load_rdf(write(tmp_path, TURTLE), language="it")
    assert none.texts["http://e/lion"].startswith("big cat, ")  # no language goes before any language


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [
        (".ttl", "turtle"),
        (".nt", "nt"),
        (".nq", "nquads"),
        (".rdf", "xml"),
        (".owl", "xml"),
        (".xml", "xml"),
        (".jsonld", "json-ld"),
        (".n3", "n3"),
        (".trig", "trig"),
    ],
)
def test_formats_agree(tmp_path: Path, suffix: str, kind: str) -> None:
    plain = TURTLE.replace(":grass :near [ :near :lion ] .", ":grass :near :lion .")
    expected = load_rdf(write(tmp_path, plain))
    source: Any = rdflib.Dataset()
    source.parse(data=plain, format="turtle")
    data = (source if kind in ("nquads", "trig", "json-ld") else source.default_graph).serialize(format=kind)
    assert load_rdf(write(tmp_path, data, f"zoo{suffix}")).equals(expected)
    packed = write(tmp_path, gzip.compress(data.encode()), f"zoo{suffix}.gz")
    assert load_rdf(packed).equals(expected)


def test_warnings_of_the_parser_are_no_errors(tmp_path: Path) -> None:
    for suffix in ("ttl", "n3", "nq", "trig"):
        path = write(tmp_path, "<http://e/a> <http://e/r> <http://e/b> .\n", f"g.{suffix}")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert load_rdf(path).num_entities == 2


def test_named_graphs_are_merged(tmp_path: Path) -> None:
    quads = "<http://e/a> <http://e/r> <http://e/b> <http://e/g{}> .\n"
    path = write(tmp_path, quads.format(1) + quads.format(2) + "<http://e/b> <http://e/r> <http://e/a> .\n", "g.nq")
    graph = load_rdf(path, name="mine")
    assert graph.name == "mine"
    assert graph.train.tolist() == [[0, 0, 1], [1, 0, 0]]
    assert graph.report == {}


def test_n3_formulas_are_counted(tmp_path: Path) -> None:
    path = write(
        tmp_path, "@prefix : <http://e/> . :a :r :b . :a :says { :b :r :a } . { :a :r :b } :means :c .", "g.n3"
    )
    graph = load_rdf(path)
    assert len(graph.train) == 1
    assert graph.report == {"skipped_statement": 2}


def test_relative_iris_do_not_depend_on_the_place(tmp_path: Path) -> None:
    assert load_rdf(write(tmp_path, "<a> <r> <b> .", "g.ttl")).entities == ("file:///a", "file:///b")


def test_blank_nodes_are_numbered_the_same_in_every_process(tmp_path: Path) -> None:
    nodes = " ".join(f":n{i} :r [ :s :m{i} ] ." for i in range(20))
    path = write(tmp_path, f"@prefix : <http://e/> . {nodes}")
    code = "import sys; from kgneg.datasets import load_rdf; g = load_rdf(sys.argv[1]); print(g.labels_of(g.train))"
    runs = {
        subprocess.run(
            [sys.executable, "-c", code, str(path)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1
    assert "_:b19" in runs.pop()


def test_split(tmp_path: Path) -> None:
    lines = [f"<http://e/{i}> <http://e/r> <http://e/{j}> ." for i in range(10) for j in range(10)]
    path = write(tmp_path, "\n".join(lines), "g.nt")
    graph = load_rdf(path, valid=0.1, test=0.2, seed=3)
    assert [len(part) for part in (graph.train, graph.valid, graph.test)] == [70, 10, 20]
    assert len(set(graph.train[:, [0, 2]].unique().tolist())) == graph.num_entities == 10
    assert load_rdf(path, valid=0.1, test=0.2, seed=3).equals(graph)
    assert not load_rdf(path, valid=0.1, test=0.2, seed=4).equals(graph)
    with pytest.raises(InvalidInputError, match=r"got valid=0.5 and test=0.5"):
        load_rdf(path, valid=0.5, test=0.5)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "g.ttl",
            '@prefix : <http://e/> .\n:a :b "\u20ac\u20ac" .\n:a :d .\n:a :b :c .\n',
            r"g.ttl, line 3: got something that is not turtle",
        ),
        ("g.ttl", "@prefix ex: <http://e/> .\nex:a ex:b", "g.ttl: got .* not turtle .*complete file"),
        ("g.nt", "<http://e/a> <http://e/b> <http://e/c> .\n<http://e/a> bad .\n", "g.nt, line 2: .*not nt"),
        ("g.nq", "<http://e/a> <http://e/b> <http://e/c> .\n<http://e/a> bad .\n", "g.nq, line 2: .*not nquads"),
        ("g.rdf", "<?xml version='1.0'?>\n<rdf:RDF>\n", "g.rdf, line 2: .*not xml .*unbound prefix"),
        ("g.owl", "Prefix(:=<http://e/>)\nOntology(<http://e/>)", "g.owl, line 1: .*not xml"),
        ("g.jsonld", '{"@id":\n', "g.jsonld, line [12]: got something that is not JSON"),
        ("g.trig", "@prefix ex: <http://e/> .\nex:g { ex:a ex:p }", "g.trig.* got something that is not trig"),
        ("g.ttl", b"\xff", "g.ttl, line 1: got the byte 0xff, which is no UTF-8"),
        ("g.csv", "a,b,c", r"g.csv: got the suffix '.csv', expected one of .ttl, .nt"),
    ],
)
def test_malformed_files_are_refused(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        load_rdf(write(tmp_path, content, name))


@pytest.mark.parametrize(
    "content",
    ["", "@prefix : <http://e/> . :a a :T ; :weight 3 ."],
)
def test_graph_without_triples_is_refused(tmp_path: Path, content: str) -> None:
    count = int(bool(content))
    message = rf"no statement between two IRIs or blank nodes \(but {count} rdf:type statements and {count} literals"
    with pytest.raises(InvalidInputError, match=message):
        load_rdf(write(tmp_path, content))


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"missing.ttl: no such file"):
        load_rdf(tmp_path / "missing.ttl")


@pytest.mark.parametrize(
    "context",
    [
        '"http://e/context.jsonld"',
        '[{"a": "http://e/a"}, "context.jsonld"]',
        '{"@import": "http://e/context.jsonld"}',
        '{"a": {"@id": "http://e/a", "@context": "http://e/context.jsonld"}}',
    ],
)
def test_contexts_in_other_places_are_refused(tmp_path: Path, context: str) -> None:
    content = f'[{{"@context": {context}, "@id": "http://e/x", "a": {{"@id": "http://e/y"}}}}]'
    with pytest.raises(InvalidInputError, match=r"got the context '.*context.jsonld' from another place"):
        load_rdf(write(tmp_path, content, "g.jsonld"))


def test_imports_and_external_entities_are_not_followed(tmp_path: Path) -> None:
    content = """<?xml version="1.0"?>
<!DOCTYPE rdf:RDF SYSTEM "http://e/schema.dtd" [ <!ENTITY other SYSTEM "http://e/secret"> ]>
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:owl="http://www.w3.org/2002/07/owl#"
         xmlns:rdfs="http://www.w3.org/2000/01/rdf-schema#">
  <owl:Ontology rdf:about="http://e/a"><owl:imports rdf:resource="http://e/b"/><rdfs:label>x&other;</rdfs:label>
  </owl:Ontology>
</rdf:RDF>"""
    graph = load_rdf(write(tmp_path, content, "g.owl"))
    assert graph.entities == ("http://e/a", "http://e/b")
    assert graph.texts == {"http://e/a": "x"}
