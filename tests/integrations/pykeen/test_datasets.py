"""kgneg graphs as PyKEEN datasets."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pykeen.datasets import UMLS, Dataset, Nations, dataset_resolver
from pykeen.pipeline import pipeline
from pykeen.triples import TriplesFactory

from kgneg.core.errors import InvalidInputError
from kgneg.datasets import KnowledgeGraph, load, load_rdf
from kgneg.integrations.pykeen import KgnegDataset, to_pykeen

TURTLE = "@prefix : <https://example.org/> .\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "graph"
    write(path, "old")
    return path


def write(path: Path, text: str) -> None:
    path.mkdir(exist_ok=True, parents=True)
    (path / "train.tsv").write_text("a\tr\tb\nb\tr\tc\nc\ts\ta\nd\ts\tb\n", encoding="utf-8")
    (path / "valid.tsv").write_text("a\tr\td\n", encoding="utf-8")
    (path / "test.tsv").write_text("a\tr\tc\nd\tr\ta\n", encoding="utf-8")
    (path / "entities.tsv").write_text("".join(f"{x}\t{text} {x}\n" for x in "abcd"), encoding="utf-8")
    (path / "entity_types.tsv").write_text("a\tletter\nb\tletter\n", encoding="utf-8")


@pytest.mark.parametrize("dataset", [Nations, UMLS], ids=lambda dataset: dataset.__name__)
@pytest.mark.parametrize("inverse", [False, True])
def test_ids_equal_those_of_pykeen(dataset: type[Nations], inverse: bool) -> None:
    theirs = dataset(create_inverse_triples=inverse)
    ours = KgnegDataset(path=dataset.__name__.lower(), create_inverse_triples=inverse)
    assert isinstance(ours, Dataset)
    for name in ("training", "testing", "validation"):
        mine, other = getattr(ours, name), getattr(theirs, name)
        assert torch.equal(mine.mapped_triples, other.mapped_triples)
        assert mine.entity_to_id == other.entity_to_id
        assert mine.relation_to_id == other.relation_to_id
        assert (mine.num_entities, mine.num_relations) == (other.num_entities, other.num_relations)
        assert mine.create_inverse_triples == other.create_inverse_triples
    assert ours.create_inverse_triples is inverse


def test_ids_equal_those_of_the_graph(folder: Path) -> None:
    graph = load(folder)
    dataset = to_pykeen(graph, create_inverse_triples=True)
    assert dataset.graph is graph
    assert dataset.training.create_inverse_triples
    assert not dataset.testing.create_inverse_triples
    for factory, triples in (
        (dataset.training, graph.train),
        (dataset.testing, graph.test),
        (dataset.validation, graph.valid),
    ):
        assert isinstance(factory, TriplesFactory)
        assert torch.equal(factory.mapped_triples, triples)
        names = factory.entity_id_to_label
        assert tuple(names[number] for number in range(factory.num_entities)) == graph.entities
        assert factory.metadata["texts"] == {x: f"old {x}" for x in "abcd"}
        assert factory.metadata["types"] == (("a", "letter"), ("b", "letter"))


def test_graphs_without_test_triples_are_refused() -> None:
    rows = [("a", "r", "b"), ("b", "r", "c")]
    with pytest.raises(InvalidInputError, match="zoo has no test triples"):
        to_pykeen(KnowledgeGraph.from_labelled("zoo", rows))
    dataset = to_pykeen(KnowledgeGraph.from_labelled("zoo", rows, test=[("a", "r", "c")]))
    assert dataset.validation is None


def test_exactly_one_source(folder: Path) -> None:
    for arguments in ({}, {"path": folder, "graph": load(folder)}):
        with pytest.raises(InvalidInputError, match=r"dataset_kwargs=dict\(path="):
            KgnegDataset(**arguments)
    with pytest.raises(InvalidInputError, match="nowhere"):
        KgnegDataset(path="nowhere")


def test_an_rdf_file(tmp_path: Path) -> None:
    path = tmp_path / "letters.ttl"
    lines = [f":e{i} :r{i % 3} :e{(i * 7 + 1) % 30} ; :r{(i + 1) % 3} :e{(i * 11 + 5) % 30} ." for i in range(30)]
    labels = [f':e{i} <http://www.w3.org/2000/01/rdf-schema#label> "letter {i}" .' for i in range(30)]
    path.write_text(TURTLE + "\n".join(lines + labels) + "\n", encoding="utf-8")
    with pytest.raises(InvalidInputError, match="letters has no test triples"):
        KgnegDataset(path=path, test=0.0)
    dataset = KgnegDataset(path=path, valid=0.0, test=0.2)
    assert dataset.graph.equals(load_rdf(path, test=0.2))
    assert "letter 3" not in repr(dataset.training)
    assert len(KgnegDataset(path=path).validation.mapped_triples) == 6
    assert dataset.training.num_triples + dataset.testing.num_triples == 60
    assert dataset.testing.num_triples == 12
    assert set(dataset.training.metadata["texts"].values()) >= {f"letter {i}" for i in range(5)}
    result = pipeline(
        dataset=dataset,
        model="TransE",
        model_kwargs={"embedding_dim": 4},
        negative_sampler="lemon",
        negative_sampler_kwargs={"encoder": "lexical", "n_clusters": 4},
        training_kwargs={"num_epochs": 1, "use_tqdm": False},
        evaluation_kwargs={"batch_size": 16, "use_tqdm": False},
        random_seed=0,
        device="cpu",
    )
    assert len(result.losses) == 1


def test_binary_round_trip(folder: Path, tmp_path: Path) -> None:
    dataset = KgnegDataset(path=folder)
    dataset.to_directory_binary(tmp_path / "binary")
    again = Dataset.from_directory_binary(tmp_path / "binary")
    assert torch.equal(again.training.mapped_triples, dataset.training.mapped_triples)
    assert again.training.metadata["texts"] == dataset.training.metadata["texts"]


def test_by_name(python: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    """PyKEEN keeps datasets by the spelling of their arguments; a graph that has changed must not come from there."""
    assert dataset_resolver.lookup("kgneg") is KgnegDataset
    for place, text in (("one/graph", "first"), ("two/graph", "second")):
        write(tmp_path / place, text)
    program = """
import json, os
from pathlib import Path
from pykeen.datasets import get_dataset
from pykeen.pipeline import pipeline
found = []
def look(**kwargs):
    dataset = get_dataset(dataset="kgneg", dataset_kwargs=dict(path="graph", **kwargs))
    found.append([type(dataset).__name__, dataset.training.metadata["texts"]["a"], dataset.create_inverse_triples])
os.chdir("one")
look()
look(create_inverse_triples=True)
os.chdir("../two")
look()
Path("graph/entities.tsv").write_text("".join(f"{x}\\tthird {x}\\n" for x in "abcd"))
look()
result = pipeline(
    dataset="kgneg", dataset_kwargs=dict(path="graph"), model="TransE", model_kwargs=dict(embedding_dim=4),
    negative_sampler="lemon", negative_sampler_kwargs=dict(encoder="lexical", n_clusters=2),
    training_kwargs=dict(num_epochs=1, use_tqdm=False), evaluation_kwargs=dict(batch_size=4, use_tqdm=False),
)
print(json.dumps(found), len(result.losses))
"""
    done = python("-c", program)
    assert done.returncode == 0, done.stderr
    found, losses = done.stdout.rsplit(maxsplit=1)
    assert json.loads(found) == [
        ["KgnegDataset", "first a", False],
        ["KgnegDataset", "first a", True],
        ["KgnegDataset", "second a", False],
        ["KgnegDataset", "third a", False],
    ]
    assert losses == "1"
