from __future__ import annotations

import gzip
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.datasets import RelationPairs, docred_pairs, read_docred, read_tacred

_REPOSITORY = Path(__file__).resolve().parents[2]


def mention(sentence: int, begin: int, end: int, kind: str = "PER") -> dict[str, Any]:
    return {"name": "x", "sent_id": sentence, "pos": [begin, end], "type": kind}


def document(
    title: str = "Curie",
    vertices: list[list[dict[str, Any]]] | None = None,
    labels: list[tuple[int, int, str]] = (),  # type: ignore[assignment]
) -> dict[str, Any]:
    vertices = vertices or [[mention(0, 0, 2)], [mention(0, 3, 4, "LOC")]]
    return {
        "title": title,
        "sents": [["Marie", "Curie", "of", "Warsaw", "."], ["Curie", "left", "Warsaw", "for", "Paris"], ["Paris"]],
        "vertexSet": vertices,
        "labels": [{"h": head, "t": tail, "r": relation, "evidence": [0]} for head, tail, relation in labels],
    }


def test_pairs_of_a_document() -> None:
    vertices = [
        [mention(0, 0, 2), mention(1, 0, 1)],
        [mention(0, 3, 4, "LOC"), mention(1, 2, 3, "LOC")],
        [mention(2, 0, 1, "LOC")],
    ]
    pairs = docred_pairs([document(vertices=vertices, labels=[(0, 1, "P19")])])
    assert pairs.ids == ("Curie#0-1", "Curie#1-0")
    assert pairs.labels == ("P19", "NA")
    assert pairs.types == ("PER LOC", "LOC PER")
    assert pairs.groups == ("Curie", "Curie")
    assert pairs.words(0) == "[H] Marie Curie [/H] of [T] Warsaw [/T] ."
    assert len(pairs.sentences) == 1
    assert not pairs.report


@pytest.mark.parametrize(
    ("head", "tail", "expected"),
    [
        # the fewest tokens between, wherever they are
        ([mention(0, 0, 2), mention(1, 1, 2)], [mention(0, 3, 4), mention(1, 2, 3)], "Curie [H] left [/H] [T] Warsaw"),
        # then the first sentence, whatever the order of mentions
        (
            [mention(1, 0, 1), mention(0, 0, 1)],
            [mention(1, 1, 2), mention(0, 1, 2)],
            "[H] Marie [/H] [T] Curie [/T] of",
        ),
        # then the first start
        ([mention(0, 2, 3)], [mention(0, 3, 4), mention(0, 1, 2)], "Marie [T] Curie [/T] [H] of [/H]"),
        # mentions that overlap do not count
        ([mention(0, 0, 2)], [mention(0, 1, 2), mention(0, 4, 5)], "[H] Marie Curie [/H] of Warsaw [T] . [/T]"),
    ],
)
def test_closest_mentions(head: list[dict[str, Any]], tail: list[dict[str, Any]], expected: str) -> None:
    pairs = docred_pairs([document(vertices=[head, tail])])
    assert pairs.words(0).startswith(expected)
    swapped = pairs.words(1).replace("H]", "X]").replace("T]", "H]").replace("X]", "T]")
    assert swapped == pairs.words(0)


def test_label_is_the_most_frequent_of_all_documents() -> None:
    documents = [
        document("a", labels=[(0, 1, "rare"), (0, 1, "usual"), (1, 0, "b"), (1, 0, "a")]),
        document("b", labels=[(1, 0, "usual")]),
    ]
    pairs = docred_pairs(documents)
    assert pairs.labels == ("usual", "a", "NA", "usual")
    assert pairs.all_labels[:2] == (("rare", "usual"), ("b", "a"))


def test_names_of_relations() -> None:
    documents = [document(labels=[(0, 1, "P19")])]
    assert docred_pairs(documents, relations={"P19": "place of birth"}).labels[0] == "place of birth"
    with pytest.raises(InvalidInputError, match="document 0, label 0: the relation 'P19' is not in relations"):
        docred_pairs(documents, relations={"P20": "place of death"})
    with pytest.raises(InvalidInputError, match="'none' is the negative label"):
        docred_pairs(documents, relations={"P19": "none"}, negative_label="none")


def test_repeated_titles_get_the_number_of_the_document() -> None:
    pairs = docred_pairs([document("a"), document("b"), document("a"), document("a [2]")])
    assert list(dict.fromkeys(pairs.groups)) == ["a [0]", "b", "a [2] [2]", "a [2]"]
    assert pairs.ids[0] == "a [0]#0-1"


def test_nothing_is_lost_silently(caplog: pytest.LogCaptureFixture) -> None:
    vertices = [
        [mention(0, 0, 2), mention(0, 0, 1, "ORG"), mention(0, 0, 2)],
        [mention(0, 0, 2)],
        [mention(0, 3, 4)],
        [mention(2, 0, 1)],
    ]
    labels = [(0, 1, "r"), (0, 1, "s"), (0, 2, "r"), (0, 2, "r"), (0, 3, "r"), (2, 2, "r")]
    alone = document("alone", vertices=[[mention(0, 0, 1)]])
    with caplog.at_level(logging.WARNING, logger="kgneg"):
        pairs = docred_pairs([document(vertices=vertices, labels=labels), alone])
    assert pairs.report == {
        "label_overlapping": 2,
        "pair_overlapping": 1,
        "label_without_shared_sentence": 1,
        "duplicate_label": 1,
        "label_of_one_entity": 1,
        "entity_with_several_types": 1,
        "document_without_pair": 1,
    }
    assert pairs.ids == ("Curie#0-2", "Curie#1-2", "Curie#2-0", "Curie#2-1")
    assert len(caplog.records) == 1
    assert "label_without_shared_sentence 1" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": None}, "document 1: 'labels' is None, expected a list"),
        ({"labels": [{"h": 0, "t": 2, "r": "x"}]}, r"label 0: the entities are \(0, 2\), expected 0 to 1"),
        ({"labels": [{"h": 0, "t": True, "r": "x"}]}, "'t' is True, expected an integer"),
        ({"labels": [{"h": 0, "t": 1}]}, r"label 0: no field 'r', got the fields \['h', 't'\]"),
        ({"labels": ["x"]}, "label 0 is 'x'"),
        ({"title": 3}, "'title' is 3, expected a text"),
        ({"sents": ["text"]}, "'a sentence' is 'text', expected a list of texts"),
        ({"vertexSet": [[]]}, r"entity 0 of vertexSet is \[\]"),
        ({"vertexSet": [["x"]]}, "a mention of entity 0 is 'x'"),
        ({"vertexSet": [[mention(3, 0, 1)]]}, "a mention of entity 0: sent_id is 3, expected 0 to 2"),
        ({"vertexSet": [[mention(0, 4, 6)]]}, r"pos is \[4, 6\], expected .* end <= 5"),
        ({"vertexSet": [[mention(0, 1, 1)]]}, r"pos is \[1, 1\]"),
    ],
)
def test_malformed_documents(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        docred_pairs([document("a"), document("b") | change])


def test_documents_without_labels_or_pairs() -> None:
    unlabelled = document()
    del unlabelled["labels"]
    with pytest.raises(InvalidInputError, match="no labels, expected a list 'labels'"):
        docred_pairs([unlabelled])
    with pytest.raises(InvalidInputError, match="no two entities share a sentence in 0 documents"):
        docred_pairs([])
    with pytest.raises(InvalidInputError, match="document 0: got 'x'"):
        docred_pairs(["x"])  # type: ignore[list-item]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("lines", [False, True])
def test_files(tmp_path: Path, packed: bool, lines: bool) -> None:
    documents = [document("a", labels=[(0, 1, "P19")]), document("b")]
    text = "\n".join(map(json.dumps, documents)) + "\n" if lines else json.dumps(documents, indent=1)
    path = tmp_path / ("docs.json.gz" if packed else "docs.json")
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    pairs = read_docred(path)
    assert pairs.labels == ("P19", "NA", "NA", "NA")
    if packed:
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(InvalidInputError, match=r"docs.json.gz, line \d+: got a read error"):
            read_docred(path)
    else:
        path.write_text(text[:-40])
        line = 2 if lines else text[:-40].count("\n") + 1
        with pytest.raises(InvalidInputError, match=f"docs.json, line {line}: got broken JSON"):
            read_docred(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: got an empty file, expected a JSON list of documents"),
        ("[]", "line 1: got an empty list"),
        ("[1]", "document 0: got 1, expected a document"),
        ('{"title": "a"}\n\n{}', "line 2: got broken JSON"),
        ('{"title": "a"}', "line 1: no field 'vertexSet'|line 1: no field 'sents'"),
    ],
)
def test_malformed_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "docs.json"
    path.write_text(text)
    with pytest.raises(InvalidInputError, match=message):
        read_docred(path)
    with pytest.raises(InvalidInputError, match="no such file"):
        read_docred(tmp_path / "missing.json")


def example(name: str = "e1", **change: Any) -> dict[str, Any]:
    return {
        "id": name,
        "docid": "d1",
        "relation": "per:origin",
        "token": ["Marie", "Curie", "is", "Polish"],
        "subj_start": 0,
        "subj_end": 1,
        "obj_start": 3,
        "obj_end": 3,
        "subj_type": "PERSON",
        "obj_type": "NATIONALITY",
    } | change


def test_tacred(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    path.write_text(json.dumps([example(), example("e2", relation="no_relation", docid="d2", subj_end=0)]))
    pairs = read_tacred(path)
    assert pairs.head.tolist() == [[0, 2], [0, 1]]
    assert pairs.tail.tolist() == [[3, 4], [3, 4]]
    assert pairs.labels == ("per:origin", "no_relation")
    assert pairs.all_labels == (("per:origin",), ())
    assert (pairs.groups, pairs.ids) == (("d1", "d2"), ("e1", "e2"))
    assert pairs.types == ("PERSON NATIONALITY",) * 2
    assert len(pairs.sentences) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"obj_end": 4}, "example 1: obj_start is 3 and obj_end is 4, expected 0 <= start <= end < 4"),
        ({"subj_start": 2}, "subj_start is 2 and subj_end is 1"),
        ({"token": "Marie Curie"}, "'token' is 'Marie Curie', expected a list"),
        ({"relation": None}, "'relation' is None"),
        ({"id": "e1"}, "'e1' is the id of 2 pairs"),
    ],
)
def test_malformed_tacred(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "train.json"
    path.write_text(json.dumps([example(), example("e2") | change]))
    with pytest.raises(InvalidInputError, match=message) as caught:
        read_tacred(path)
    assert str(path) in str(caught.value)


# A real data set: DocRED, and its corrected labels


@pytest.fixture(scope="module")
def benchmark() -> Path:
    folder = Path(os.environ.get("KGNEG_DATA", _REPOSITORY.parent / "shared" / "data")) / "noise" / "docred_redocred"
    if not folder.is_dir():
        pytest.skip("no folder noise/docred_redocred in the data root; set KGNEG_DATA to the folder that has it")
    return folder


@pytest.fixture(scope="module")
def labelled(benchmark: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], RelationPairs]:
    with gzip.open(benchmark / "docs.jsonl.gz", "rt", encoding="utf-8") as file:
        documents = [json.loads(line) for line in file]
    relations = json.loads((benchmark / "relations.json").read_text(encoding="utf-8"))

    def convert(values: dict[str, Any], name: str) -> dict[str, Any]:
        vertices = [
            [
                {"name": entity["name"], "type": entity["type"], "sent_id": place, "pos": span}
                for place, *span in mentions
            ]
            for entity in values["entities"]
            for mentions in [entity["mentions"]]
        ]
        labels = [{"h": head, "t": tail, "r": relation} for head, tail, relation in values[name]]
        return {"title": values["title"], "sents": values["sents"], "vertexSet": vertices, "labels": labels}

    def read(name: str) -> RelationPairs:
        path = tmp_path_factory.mktemp("docred") / "docs.jsonl.gz"
        lines = "\n".join(json.dumps(convert(values, name)) for values in documents)
        path.write_bytes(gzip.compress(lines.encode(), compresslevel=1))
        return read_docred(path, relations=relations)

    return read


def test_docred_and_redocred(benchmark: Path, labelled: Callable[[str], RelationPairs]) -> None:
    with gzip.open(benchmark / "pairs_intra.tsv.gz", "rt", encoding="utf-8", newline="") as file:
        rows = [line.split("\t") for line in file.read().split("\n")[1:] if line]
    with gzip.open(benchmark / "docs.jsonl.gz", "rt", encoding="utf-8") as file:
        titles = [json.loads(line)["title"] for line in file]
    names = json.loads((benchmark / "relations.json").read_text(encoding="utf-8"))
    pairs, corrected = labelled("labels_docred"), labelled("labels_redocred")
    ids = tuple(f"{titles[int(row[0])]}#{row[1]}-{row[2]}" for row in rows)
    assert len(pairs) == 52_708
    assert pairs.ids == corrected.ids == ids
    assert pairs.types == tuple(f"{row[4]} {row[5]}" for row in rows)
    for made, column in ((pairs, 8), (corrected, 9)):
        given = [
            () if row[column] == "NA" else sorted(names[label] for label in row[column].split("|")) for row in rows
        ]
        assert [sorted(every) for every in made.all_labels] == [list(every) for every in given]
    hidden = [first == "NA" != second for first, second in zip(pairs.labels, corrected.labels, strict=True)]
    positive = [sum(label != "NA" for label in made.labels) for made in (pairs, corrected)]
    assert (*positive, sum(hidden)) == (3_346, 7_681, 4_335)
    assert pairs.report["label_without_shared_sentence"] > 0
