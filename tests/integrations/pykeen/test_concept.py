"""Concept-constrained negatives in PyKEEN: features of any graph, and what is asked for but not there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pykeen.datasets import Nations
from pykeen.pipeline import pipeline

from kgneg.core.candidates import CandidateIndex
from kgneg.core.errors import InvalidInputError
from kgneg.datasets import KnowledgeGraph, load_rdf
from kgneg.integrations.pykeen import ConceptNegativeSampler, to_pykeen
from kgneg.integrations.pykeen.entity_features import entity_features, type_features
from kgneg.integrations.pykeen.setup import Setup

ANIMALS = [
    ("lion", "subClassOf", "cat"),
    ("tiger", "subClassOf", "cat"),
    ("cat", "subClassOf", "mammal"),
    ("wolf", "subClassOf", "mammal"),
    ("eagle", "subClassOf", "bird"),
    ("lion", "lives in", "savannah"),
    ("tiger", "lives in", "forest"),
    ("wolf", "lives in", "wood"),
    ("eagle", "lives in", "mountains"),
]
TYPES = [("lion", "animal"), ("tiger", "animal"), ("wolf", "animal"), ("eagle", "animal"), ("savannah", "place")]


def setup_of(graph: KnowledgeGraph) -> tuple[Setup, Any]:
    dataset = to_pykeen(graph)
    training = dataset.training
    return Setup(training.mapped_triples, training.num_entities, training.num_relations), dataset


def animals(types: bool = False, relation: str = "subClassOf") -> KnowledgeGraph:
    triples = [(head, relation if label == "subClassOf" else label, tail) for head, label, tail in ANIMALS]
    return KnowledgeGraph.from_labelled(
        "animals", triples, valid=triples[5:6], test=triples[6:7], types=TYPES if types else ()
    )


def test_features_are_found() -> None:
    graph = animals()
    setup, dataset = setup_of(graph)
    make, sources = entity_features(setup, "auto", None)
    table = make(setup.mapped_triples)
    # lion, tiger, cat, wolf, eagle, mammal and bird have ancestors, the four places have not
    assert sources == ["hierarchy"]
    names = [graph.entities[one] for one in table.members(graph.entities.index("lion")).tolist()]
    assert names == ["cat", "mammal"]
    assert [graph.entities[one] for one in table.members(graph.entities.index("cat")).tolist()] == ["cat", "mammal"]
    del dataset
    graph = animals(types=True, relation="is a")
    setup, dataset = setup_of(graph)
    make, sources = entity_features(setup, "auto", None)
    table = make(setup.mapped_triples)
    assert sources == ["types", "relations"]  # five of eleven have a type
    assert table.num_columns == 2 + 4
    graph, dataset = animals(relation="eats"), None
    setup, dataset = setup_of(graph)
    assert entity_features(setup, "auto", None)[1] == ["relations"]
    assert entity_features(setup, "relations+words", None)[0](setup.mapped_triples).num_columns > 4
    assert dataset is not None


def test_types_have_what_is_above_them(tmp_path: Path) -> None:
    path = tmp_path / "zoo.ttl"
    path.write_text(
        "@prefix : <http://zoo/> . @prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> . "
        ":leo a :Lion ; :likes :tim . :tim a :Tiger ; :likes :leo . :ada a :Eagle ; :likes :tim . "
        ":leo :fears :ada . :tim :fears :ada . "
        ":Lion rdfs:subClassOf :Cat . :Tiger rdfs:subClassOf :Cat . :Cat rdfs:subClassOf :Mammal . "
        ":Mammal rdfs:subClassOf :Animal . :Eagle rdfs:subClassOf :Bird .",
        encoding="utf-8",
    )
    graph = load_rdf(path)
    setup, dataset = setup_of(replace(graph, valid=graph.train[:1], test=graph.train[1:2]))
    table = type_features(setup)
    of = {
        name: set(table.members(graph.entities.index(f"http://zoo/{name}")).tolist()) for name in ("leo", "tim", "ada")
    }
    # Lion, Cat, Mammal; Tiger, Cat, Mammal; Eagle, Bird
    assert [len(of["leo"]), len(of["tim"]), len(of["ada"])] == [3, 3, 2]
    assert len(of["leo"] & of["tim"]) == 2
    assert not of["leo"] & of["ada"]
    own = type_features(setup, broader=False)
    assert own.size(torch.arange(graph.num_entities)).max() == 1
    assert dataset is not None


def test_given_features(tmp_path: Path) -> None:
    graph = animals()
    setup, dataset = setup_of(graph)
    mapping = {"lion": ["fierce", "big"], "wolf": ["fierce"], "unicorn": ["rare"]}
    path = tmp_path / "features.tsv"
    path.write_text("".join(f"{one}\t{two}\n" for one, several in mapping.items() for two in several), encoding="utf-8")
    first, second = (entity_features(setup, one, None)[0](setup.mapped_triples) for one in (mapping, str(path)))
    single = entity_features(setup, {"lion": "fierce"}, None)[0](setup.mapped_triples)
    assert single.num_columns == 1
    assert first.fingerprint() == second.fingerprint()
    lion, wolf = (graph.entities.index(one) for one in ("lion", "wolf"))
    assert set(first.members(wolf).tolist()) < set(first.members(lion).tolist())
    table = CandidateIndex.from_lists([[0]] * graph.num_entities, num_columns=1)
    assert entity_features(setup, table, None)[0](setup.mapped_triples) is table
    assert dataset is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": "colours"}, "features='colours': 'colours' is neither a file nor one of auto, types"),
        ({"features": 3}, "features=3: give auto"),
        ({"features": "types"}, "types are asked for, but none came with the graph"),
        ({"features": "hierarchy"}, "a hierarchy is asked for, but no relation of the graph looks like one"),
        ({"features": {"usa": None}}, "features of 'usa' must be a text or several, got None"),
        ({"features": "x" * 5000}, "is neither a file nor one of auto"),
        ({"features": {"unicorn": ["rare"]}}, "the given mapping: 1 features, but none for an entity"),
        ({"features": CandidateIndex.from_lists([[0]], num_columns=1)}, "features of 1 entities do not fit 14"),
        ({"require": "types"}, "types are asked for, but none came with the graph"),
        ({"require": "colours"}, "require='colours': give 'types', None"),
        ({"mode": "papr"}, "mode must be one of weighted, paper"),
        ({"budget": 1.5}, "budget"),
        ({"precompute": "yes"}, "precompute must be true or false"),
    ],
)
def test_refusals(nations: Nations, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        ConceptNegativeSampler(mapped_triples=nations.training.mapped_triples, **options)


def test_pipeline_on_a_graph_without_anything() -> None:
    result = pipeline(
        dataset="nations",
        model="TransE",
        model_kwargs={"embedding_dim": 8},
        negative_sampler="concept",
        negative_sampler_kwargs={"num_negs_per_pos": 4},
        training_kwargs={"num_epochs": 2, "batch_size": 256, "use_tqdm": False},
        evaluation_kwargs={"use_tqdm": False, "batch_size": 128},
        random_seed=0,
    )
    assert len(result.losses) == 2


def test_parts_are_learned_once(nations: Nations, monkeypatch: pytest.MonkeyPatch) -> None:
    from kgneg.integrations.pykeen import concept

    calls = []
    learn = concept.learn_concepts

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(kwargs)
        return learn(*args, **kwargs)

    monkeypatch.setattr(concept, "learn_concepts", counted)
    drawn = []
    for _ in range(2):
        sampler = ConceptNegativeSampler(
            mapped_triples=nations.training.mapped_triples, budget=0.31, num_negs_per_pos=3, seed=5
        )
        drawn.append(sampler.sample(nations.training.mapped_triples[:64])[0])
    assert len(calls) == 1
    assert torch.equal(drawn[0], drawn[1])
    ConceptNegativeSampler(mapped_triples=nations.training.mapped_triples, budget=0.32)
    assert len(calls) == 2


def test_types_are_kept() -> None:
    triples = [(f"h{n}", "r", f"t{(n * m) % 30}") for n in range(40) for m in (1, 2, 3)]
    types = [(f"t{n}", f"kind {n % 2}") for n in range(30)] + [(f"h{n}", "asker") for n in range(40)]
    graph = KnowledgeGraph.from_labelled("kinds", triples, valid=triples[:1], test=triples[1:2], types=types)
    dataset = to_pykeen(graph)
    training = dataset.training
    sampler = ConceptNegativeSampler(
        mapped_triples=training.mapped_triples,
        num_entities=training.num_entities,
        num_relations=training.num_relations,
        require="types",
        sides="tail",
        num_negs_per_pos=6,
        seed=0,
    )
    negatives = sampler.corruptor(training.mapped_triples, 6)
    number = torch.tensor([int(label[1:]) for label in graph.entities])
    same = number[negatives.entity.long()] % 2 == number[training.mapped_triples[:, 2]][:, None] % 2
    assert same[~negatives.fallback].all()
    assert (~negatives.fallback).float().mean() > 0.8
