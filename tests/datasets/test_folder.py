from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.datasets import KnowledgeGraph, load_folder

TRAIN = "Q1\tP1\tQ2\nQ2\tP2\tQ1\n"


def write(folder: Path, **files: str) -> Path:
    """Write files; a double underscore in the name of an argument is a dot."""
    for name, content in files.items():
        path = folder / name.replace("__", ".")
        path.write_bytes(gzip.compress(content.encode()) if path.suffix == ".gz" else content.encode())
    return folder


def test_everything_a_folder_may_have(tmp_path: Path) -> None:
    graph = load_folder(
        write(
            tmp_path,
            train__txt=TRAIN,
            valid__tsv__gz="Q2\tP1\tQ1\nQ9\tP1\tQ1\n",
            test__tsv="Q1\tP2\tQ2\n",
            valid_negatives__txt__gz="Q1\tP1\tQ1\n",
            test_negatives__txt="Q2\tP2\tQ2\n",
            entities__tsv__gz="id\tname\tdescription\nQ1\tlion\tbig cat\nQ2\tzebra\t\n",
            relations__tsv="id\tname\tdescription\nP1\teats\ttakes in food\n",
            entity_types__tsv="entity\ttype\nQ1\tT1\nQ2\tT2\nQ2\tT3\nQ1\tT4\n",
            types__tsv="id\tname\nT1\tanimal\nT2\tanimal\nT3\tprey\n",
        )
    )
    expected = KnowledgeGraph.from_labelled(
        tmp_path.name,
        [("Q1", "P1", "Q2"), ("Q2", "P2", "Q1")],
        valid=[("Q2", "P1", "Q1")],
        test=[("Q1", "P2", "Q2")],
        texts={"Q1": "lion, big cat", "Q2": "zebra"},
        types=[("Q1", "animal (T1)"), ("Q2", "animal (T2)"), ("Q2", "prey"), ("Q1", "T4")],
        valid_negatives=[("Q1", "P1", "Q1")],
        test_negatives=[("Q2", "P2", "Q2")],
        relation_texts={"P1": "eats"},
        report={"valid_unseen_entity": 1},
    )
    assert graph.equals(expected)


def test_only_training_is_needed(tmp_path: Path) -> None:
    graph = load_folder(write(tmp_path, train__tsv=TRAIN), name="mine")
    assert graph.name == "mine"
    assert len(graph.valid) == len(graph.test) == len(graph.texts) == len(graph.types) == 0
    assert load_folder(str(tmp_path)).name == tmp_path.name


def test_parquet(tmp_path: Path) -> None:
    pd.DataFrame([["a", "r", "b"]], columns=["head", "relation", "tail"]).to_parquet(tmp_path / "train.parquet")
    assert load_folder(tmp_path).entities == ("a", "b")


def test_labelled_files_are_split(tmp_path: Path) -> None:
    graph = load_folder(
        write(
            tmp_path,
            train__txt=TRAIN,
            valid_labelled__txt="Q2\tP1\tQ1\t1\nQ2\tP1\tQ2\t-1\n",
            test_labelled__txt__gz="Q1\tP1\tQ1\t-1\nQ1\tP2\tQ2\t1\n",
        )
    )
    assert graph.labels_of(graph.valid) == [("Q2", "P1", "Q1")]
    assert graph.labels_of(graph.valid_negatives) == [("Q2", "P1", "Q2")]
    assert graph.labels_of(graph.test) == [("Q1", "P2", "Q2")]
    assert graph.labels_of(graph.test_negatives) == [("Q1", "P1", "Q1")]


def test_missing_folder_and_training_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"got nothing there, expected a folder"):
        load_folder(tmp_path / "missing")
    write(tmp_path, valid__txt=TRAIN)
    with pytest.raises(InvalidInputError, match=r"got a file, expected a folder"):
        load_folder(tmp_path / "valid.txt")
    with pytest.raises(
        InvalidInputError, match=r"no training triples; looked for train.txt, train.txt.gz, .*train.parquet"
    ):
        load_folder(tmp_path)


@pytest.mark.parametrize(
    ("files", "names"),
    [
        ({"train__tsv": TRAIN}, "train.txt, train.tsv"),
        ({"valid__txt": TRAIN, "valid_labelled__txt": "Q2\tP1\tQ1\t1\n"}, "valid.txt and valid_labelled.txt"),
        (
            {"test_negatives__txt": TRAIN, "test_labelled__txt": "Q2\tP1\tQ1\t1\n"},
            "test_negatives.txt and test_labelled.txt",
        ),
        ({"entities__tsv": "a\tb\n", "entities__tsv__gz": "a\tb\n"}, "entities.tsv, entities.tsv.gz"),
    ],
)
def test_two_files_for_one_thing_are_refused(tmp_path: Path, files: dict[str, str], names: str) -> None:
    write(tmp_path, train__txt=TRAIN, **files)
    with pytest.raises(InvalidInputError, match=rf"got {names}, expected only one of them"):
        load_folder(tmp_path)


def test_errors_of_the_readers_come_through(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"valid.txt, line 1: got 2 columns"):
        load_folder(write(tmp_path, train__txt=TRAIN, valid__txt="a\tb\n"))


# counts of entities, relations, train, valid, test, negatives, entities with a text, type labels; the counts of the
# documentation of each folder, less the repeated triples
COUNTS: dict[str, dict[str, Any]] = {
    "fb15k-237": {
        "num_entities": 14_505,
        "num_relations": 237,
        "train": 272_115,
        "valid": 17_526,
        "test": 20_438,
        "report": {"valid_unseen_entity": 17_535 - 17_526, "test_unseen_entity": 20_466 - 20_438},
    },
    "codex-s": {
        "num_entities": 2_034,
        "num_relations": 42,
        "train": 32_888,
        "valid": 1_827,
        "test": 1_828,
        "valid_negatives": 1_827,
        "test_negatives": 1_828,
    },
    "wn18rr": {
        "num_entities": 40_559,
        "num_relations": 11,
        "train": 86_835,
        "valid": 2_824,
        "test": 2_924,
        "report": {"valid_unseen_entity": 3_034 - 2_824, "test_unseen_entity": 3_134 - 2_924},
    },
    "wn11": {
        "num_entities": 38_194,
        "num_relations": 11,
        "train": 110_361,
        "valid": 2_412 - 3,
        "test": 9_744 - 38,
        "valid_negatives": 2_609 - 141,
        "test_negatives": 10_544 - 542,
        "report": {
            "duplicate_train": 112_581 - 110_361,
            "valid_unseen_entity": 2_609 - 2_412,
            "duplicate_valid": 3,
            "valid_negatives_unseen_entity": 141,
            "test_unseen_entity": 10_544 - 9_744,
            "duplicate_test": 38,
            "test_negatives_unseen_entity": 542,
        },
    },
    "umls": {"num_entities": 135, "num_relations": 46, "train": 5_216, "valid": 652, "test": 661},
}


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_benchmarks(name: str, benchmark_folder: Callable[[str], Path]) -> None:
    graph = load_folder(benchmark_folder(name))
    counts = dict(COUNTS[name])
    report = counts.pop("report", {})
    for what, count in counts.items():
        value = getattr(graph, what)
        assert (value if isinstance(value, int) else len(value)) == count, what
    assert {what: count for what, count in graph.report.items() if what != "duplicate_type"} == report
    assert len(graph.entity_texts()) == graph.num_entities  # each benchmark here has a name for every entity


def test_benchmark_types_and_texts(benchmark_folder: Callable[[str], Path]) -> None:
    graph = load_folder(benchmark_folder("codex-s"))
    pairs, names = graph.type_ids()
    assert len(names) == 502  # three names are shared by two types each
    assert len(set(pairs[:, 0].tolist())) == graph.num_entities
    assert graph.texts["Q7604"] == "Leonhard Euler, Swiss mathematician"
    assert graph.relation_texts["P101"] == "field of work"
    known = {tuple(row) for part in (graph.train, graph.valid, graph.test) for row in part.tolist()}
    assert not known & {tuple(row) for part in (graph.valid_negatives, graph.test_negatives) for row in part.tolist()}


def test_benchmark_round_trip_through_networkx(benchmark_folder: Callable[[str], Path]) -> None:
    graph = load_folder(benchmark_folder("codex-s"))
    assert KnowledgeGraph.from_networkx(graph.to_networkx()).equals(graph)
