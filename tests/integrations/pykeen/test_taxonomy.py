"""Taxonomies by name in PyKEEN."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pykeen.pipeline import pipeline
from pykeen.triples import TriplesFactory

from kgneg.core.errors import InvalidInputError
from kgneg.datasets import KnowledgeGraph, Taxonomy
from kgneg.integrations.pykeen import TaxonomyNegativeSampler, to_pykeen
from kgneg.samplers import TaxonomyCorruptor

TREE = {"cat": ["lion", "tiger", "lynx"], "dog": ["wolf", "fox"], "animal": ["cat", "dog"]}
TRIPLES = [(child, "_hypernym", parent) for parent, children in TREE.items() for child in children]
TRIPLES += [("lion", "eats", "fox"), ("tiger", "eats", "wolf"), ("wolf", "eats", "lynx"), ("fox", "eats", "lion")]


@pytest.fixture
def factory() -> TriplesFactory:
    import numpy as np

    return TriplesFactory.from_labeled_triples(np.array(TRIPLES, dtype=str))


def make(factory: TriplesFactory, **options: Any) -> TaxonomyNegativeSampler:
    return TaxonomyNegativeSampler(
        mapped_triples=factory.mapped_triples,
        num_entities=factory.num_entities,
        num_relations=factory.num_relations,
        **{"sides": "tail", "seed": 0, **options},
    )


def drawn(sampler: TaxonomyNegativeSampler, factory: TriplesFactory, tail: str, n: int = 60) -> set[str]:
    ids, names = factory.entity_to_id, factory.entity_id_to_label
    positive = torch.tensor([[ids["fox"], factory.relation_to_id["eats"], ids[tail]]])
    return {names[one] for one in sampler.corruptor(positive, n).entity[0].tolist()}


def test_a_relation_of_the_graph_is_the_hierarchy(factory: TriplesFactory) -> None:
    for hierarchy in (None, "_hypernym"):
        sampler = make(factory, hierarchy=hierarchy, strategies="sibling", filtered=False)
        assert isinstance(sampler.corruptor, TaxonomyCorruptor)
        assert drawn(sampler, factory, "lion") == {"tiger", "lynx"}
        assert drawn(sampler, factory, "cat") == {"dog"}
    cousins = make(factory, strategies={"cousin": 1}, filtered=False)
    assert drawn(cousins, factory, "wolf") == {"lion", "tiger", "lynx"}


def test_which_relation_is_taken_for_the_hierarchy() -> None:
    from kgneg.integrations.pykeen.taxonomy import _UPWARD, _says

    def says(name: str) -> bool:
        return any(_says(name, words) for words in _UPWARD)

    for name in ("_hypernym", "http://www.w3.org/2004/02/skos/core#broader", "subClassOf", "P31", "instance_of"):
        assert says(name), name
    for name in ("isAffiliatedTo", "is_author_of", "disagrees", "P3150", "subclass_of_nothing"):
        assert not says(name), name


def test_entities_of_the_same_name_are_not_drawn(factory: TriplesFactory) -> None:
    texts = {one: one for one in factory.entity_to_id} | {"tiger": "LION"}
    sampler = make(factory, strategies="sibling", texts=texts, filtered=False)
    assert drawn(sampler, factory, "lion") == {"lynx"}


def test_known_triples_and_relatives_are_not_drawn(factory: TriplesFactory) -> None:
    sampler = make(factory, strategies={"sibling": 1, "random": 3})
    found = drawn(sampler, factory, "lynx", 400)
    assert "lion" not in found  # fox eats lion
    assert not found & {"cat", "animal", "lynx"}  # broader ones
    assert {"tiger", "wolf", "dog"} <= found


def test_inverse_triples(factory: TriplesFactory) -> None:
    turned = TriplesFactory.from_labeled_triples(
        factory.label_triples(factory.mapped_triples), create_inverse_triples=True
    )
    sampler = TaxonomyNegativeSampler(
        mapped_triples=turned.mapped_triples, num_entities=turned.num_entities, num_relations=turned.num_relations,
        sides="tail", strategies="sibling", filtered=False, seed=0,
    )  # fmt: skip
    ids = turned.entity_to_id
    found = sampler.corruptor(torch.tensor([[ids["fox"], 0, ids["lion"]]]), 60).entity[0]
    assert {turned.entity_id_to_label[one] for one in found.tolist()} == {"tiger", "lynx"}


def test_lists_are_made_once(factory: TriplesFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyKEEN constructs a sampler several times per run."""
    texts = {one: letter * 9 for one, letter in zip(factory.entity_to_id, "abcdefgh", strict=True)}
    first = make(factory, strategies="sibling=1,cousin=1,edit=1", k=3, texts=texts)
    for name in ("integrations.pykeen.taxonomy.edit_distance_pools", "core.candidates.CandidateIndex.renumber"):
        monkeypatch.setattr(f"kgneg.{name}", lambda *_, **__: pytest.fail("made again"))
    again = make(factory, strategies="sibling=1,cousin=1,edit=1", k=3, texts=texts)
    assert first.corruptor.shares == again.corruptor.shares
    with pytest.raises(pytest.fail.Exception):
        make(factory, strategies="edit=1", k=2, texts=texts)


def test_types_of_the_graph() -> None:
    near = [("paris", "near", "lyon"), ("bonn", "near", "rhine"), ("lyon", "on", "rhone")]
    graph = KnowledgeGraph.from_labelled(
        "cities", near, test=[("paris", "on", "rhone")],
        types=[("paris", "city"), ("lyon", "city"), ("bonn", "city"), ("rhine", "river"), ("rhone", "river")],
    )  # fmt: skip
    factory = to_pykeen(graph).training
    sampler = make(factory, hierarchy="types", strategies="sibling", filtered=False)
    ids, names = factory.entity_to_id, factory.entity_id_to_label
    found = sampler.corruptor(torch.tensor([[ids["paris"], 0, ids["rhine"]]]), 20).entity[0]
    assert {names[one] for one in found.tolist()} == {"rhone"}
    assert make(factory, strategies="sibling").corruptor.names == ("sibling",)  # found without being told


def test_a_taxonomy_from_elsewhere(factory: TriplesFactory, tmp_path: Path) -> None:
    path = tmp_path / "tree.tsv"
    path.write_text("lion\tking\nfox\tking\nsloth\tking\n", encoding="utf-8")
    saved = tmp_path / "tree.safetensors"
    Taxonomy.read_table(path).save(saved)
    for hierarchy in (str(path), saved, Taxonomy.read_table(path)):
        sampler = make(factory, hierarchy=hierarchy, strategies="sibling", filtered=False)
        assert drawn(sampler, factory, "lion") == {"fox"}


def test_names_and_vectors(factory: TriplesFactory) -> None:
    texts = {one: letter * 9 for one, letter in zip(factory.entity_to_id, "abcdefgh", strict=True)}
    texts |= {"fox": "manage staff", "lion": "manage zoo staff"}
    by_name = make(factory, strategies="edit", k=1, texts=texts, filtered=False)
    assert drawn(by_name, factory, "fox") == {"lion"}
    vectors = torch.eye(factory.num_entities)
    ids = factory.entity_to_id
    vectors[ids["fox"], ids["wolf"]] = 1.0
    by_vector = make(factory, strategies="embedding", k=1, vectors=vectors, filtered=False)
    assert drawn(by_vector, factory, "fox") == {"wolf"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hierarchy": "_meronym"}, "'_meronym' is neither a file nor a relation of the graph; its relations are"),
        ({"hierarchy": "types"}, "no types came with the graph"),
        ({"hierarchy": 5}, "give the name of a relation"),
        ({"hierarchy": Taxonomy.from_pairs([("a", "b")])}, "none of the 2 concepts of 'taxonomy' is an entity"),
        ({"strategies": "sibling=1,niece=1"}, "niece"),
        ({"strategies": "sibling=1,sibling=1"}, "named twice"),
        ({"strategies": "sibling=x"}, "no name=share"),
        ({"depth": 0}, "depth"),
    ],
)
def test_refusals(factory: TriplesFactory, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        make(factory, **options)


def test_no_hierarchy_at_all(nations: Any) -> None:
    with pytest.raises(InvalidInputError, match="no relation of the graph looks like a hierarchy"):
        make(nations.training)


def test_training(factory: TriplesFactory) -> None:
    result = pipeline(
        training=factory, testing=factory, model="distmult", loss="nssa", negative_sampler="taxonomy",
        negative_sampler_kwargs={"num_negs_per_pos": 4}, model_kwargs={"embedding_dim": 8},
        optimizer_kwargs={"lr": 0.05}, random_seed=0, device="cpu",
        training_kwargs={"num_epochs": 10, "batch_size": 8, "use_tqdm": False},
        evaluation_kwargs={"use_tqdm": False},
    )  # fmt: skip
    assert result.losses[-1] < result.losses[0]
