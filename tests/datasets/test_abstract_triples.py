"""Concepts in place of their instances."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.datasets import (
    AbstractTriples,
    ConceptTable,
    KnowledgeGraph,
    abstract_triples,
    read_abstract_triples,
    read_atomic,
    read_concepts,
)

GRAPH = KnowledgeGraph.from_labelled(
    "zoo",
    [
        ("John feeds Tom's lion", "xWant", "to rest"),
        ("John feeds Tom's lion", "xReact", "happy"),
        ("John feeds animal", "xReact", "happy"),
        ("John abandons the altogether", "xReact", "happy"),
    ],
    valid=[("John feeds animal", "xWant", "to rest")],
    texts={"happy": "very happy"},
)
TABLE = ConceptTable.from_rows(
    [
        ("PersonX feeds [PersonY's lion]. [PersonY's lion]", "animal", 0.95),
        ("PersonX feeds [PersonY's lion]. [PersonY's lion]", "big cat", 0.7),
        ("[PersonX feeds PersonY's lion]", "feeding", None),
        ("PersonX [abandons] the _ altogether", "leaving", 0.9000001),
        ("PersonX runs [a race]", "event", 1.0),
    ]
)


def triples(made: AbstractTriples) -> list[tuple[str, ...]]:
    return [tuple(one) for one in made.triples.tolist()]


def test_replacing() -> None:
    made = abstract_triples(GRAPH, TABLE)
    assert triples(made) == [
        ("feeding", "xReact", "happy"),
        ("feeding", "xWant", "to rest"),
        ("John leaving the altogether", "xReact", "happy"),
    ]
    assert made.plausibility.tolist() == pytest.approx([1.0, 1.0, 0.9000001])
    assert dict(made.report) == {"known": 2, "implausible": 2, "event_without_head": 1}


def test_threshold() -> None:
    made = abstract_triples(GRAPH, TABLE, threshold=0.5)
    assert ("John feeds big cat", "xWant", "to rest") in triples(made)
    assert "implausible" not in made.report
    with pytest.raises(InvalidInputError, match="threshold must be between 0 and 1"):
        abstract_triples(GRAPH, TABLE, threshold=90)


def test_scores(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text(
        "tail,head,relation,score\n"
        "to rest,PersonX feeds [big cat]. [big cat],xWant,0.97\n"
        "happy,PersonX feeds [big cat],xReact,0.2\n"
        "happy,PersonX feeds [big cat],xReact,0.3\n",
        encoding="utf-8",
    )
    scores = read_abstract_triples(path)
    assert triples(scores) == [
        ("PersonX feeds big cat", "xWant", "to rest"),
        ("PersonX feeds big cat", "xReact", "happy"),
    ]
    assert scores.plausibility.tolist() == pytest.approx([0.97, 0.3])
    assert dict(scores.report) == {"duplicate": 1}
    made = abstract_triples(GRAPH, TABLE, scores=scores)
    assert triples(made) == [("John feeds big cat", "xWant", "to rest")]
    assert dict(made.report) == {"without_score": 5, "implausible": 1, "event_without_head": 1}
    plain = {("feeding", "xReact", "happy"): 1.0}
    assert triples(abstract_triples(GRAPH, TABLE, scores=plain)) == [("feeding", "xReact", "happy")]


def test_threshold_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "scores.tsv"
    path.write_text("[event]. [event]\txWant\tto  rest\t0.9\n[event]\txReact\thappy\t0.1\n", encoding="utf-8")
    made = read_abstract_triples(path, threshold=0.5)
    assert triples(made) == [("event", "xWant", "to rest")]
    assert dict(made.report) == {"implausible": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\txWant\tb\thigh\n", "line 1: got the score 'high'"),
        ("a\txWant\tb\t1.5\n", "line 1: got the score '1.5'"),
        ("a\txWant\tb\t0.5\na\txWant\t \t0.5\n", "line 2: got the triple"),
        ("a\txWant\tb\n", "no column 3"),
        ("", "line 1: got the end of the file"),
    ],
)
def test_malformed(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "scores.tsv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInputError, match=message):
        read_abstract_triples(path)


def test_duplicates() -> None:
    table = ConceptTable.from_rows(
        [("[PersonX feeds PersonY's lion]", "event", 0.9), ("[John feeds Tom's lion]", "event", 0.95)]
    )
    made = abstract_triples(GRAPH, table, threshold=0.5)
    assert made.report["duplicate"] == 2
    assert made.plausibility.tolist() == pytest.approx([0.95, 0.95])


def test_added_to() -> None:
    made = abstract_triples(GRAPH, TABLE)
    more = made.added_to(GRAPH)
    assert len(more.train) == len(GRAPH.train) + len(made)
    assert len(more.valid) == 1
    assert more.texts == GRAPH.texts
    assert more.report["abstract_triple"] == 3
    assert "feeding" in more.entities


def test_constructor() -> None:
    with pytest.raises(InvalidInputError, match="got 2 triples and 1"):
        AbstractTriples(abstract_triples(GRAPH, TABLE).triples[:2], torch.ones(1))


def test_the_real_files(commonsense_folder: Path) -> None:
    graph = read_atomic(commonsense_folder / "atomic" / "atomic_valid.tsv.gz", blank="drop")
    table = read_concepts(commonsense_folder / "concepts" / "stage2_event_concepts_dev.tsv.gz")
    made = abstract_triples(graph, table)
    assert len(made) > 5_000
    assert made.report["event_without_head"] < 0.3 * len(set(table.events))
    assert not any("[" in head for head, _, _ in made.triples.tolist())
