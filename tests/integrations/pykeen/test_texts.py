"""Where LEMON's texts and vectors come from, and what is said when they are not there."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pykeen.datasets import UMLS, Nations
from pykeen.triples import TriplesFactory
from safetensors.torch import save_file

from kgneg.core.errors import InvalidInputError, MissingTextError
from kgneg.integrations.pykeen import KgnegDataset, KgnegNegativeSampler, LemonNegativeSampler, to_pykeen
from kgneg.integrations.pykeen import lemon as lemon_module
from kgneg.integrations.pykeen.factories import find_labels
from kgneg.integrations.pykeen.texts import entity_texts

Lemon = Callable[..., KgnegNegativeSampler]
TRIPLES = torch.tensor([[0, 0, 1], [1, 0, 2], [2, 0, 3], [3, 0, 4], [4, 0, 5], [5, 0, 6], [6, 0, 7], [7, 0, 8]])


def factory_of(labels: str, triples: torch.Tensor = TRIPLES, **metadata: Any) -> TriplesFactory:
    entities = {label: number for number, label in enumerate(labels)}
    return TriplesFactory(triples, entity_to_id=entities, relation_to_id={"r": 0}, metadata=metadata)


class Recorder:
    """An encoder that remembers what it was given."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def encode(self, sentences: list[str]) -> np.ndarray:
        self.texts += sentences
        return np.random.default_rng(0).normal(size=(len(sentences), 4)).astype(np.float32)


@pytest.fixture
def read(make: Callable[..., Any]) -> Callable[..., set[str]]:
    """Return the texts that a sampler encodes."""

    def texts(factory: TriplesFactory, **kwargs: Any) -> set[str]:
        recorder = Recorder()
        make(LemonNegativeSampler, factory, encoder=recorder, **kwargs)
        return set(recorder.texts)

    return texts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A graph of its own in a folder, with texts."""
    path = tmp_path / "zoo"
    path.mkdir()
    rows = [("red_deer", "eats", "grass"), ("lion", "eats", "red_deer"), ("lion", "fears", "fire")]
    (path / "train.tsv").write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    (path / "test.tsv").write_text("fire\tfears\tlion\n", encoding="utf-8")
    texts = {"red_deer": "a deer", "grass": "a plant", "lion": "a cat", "fire": "hot"}
    lines = ["id\tname", *("\t".join(row) for row in texts.items())]
    (path / "entities.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


# Texts


def test_labels_by_default(umls: UMLS, read: Callable[..., set[str]]) -> None:
    texts = read(umls.training)
    assert texts == {label.replace("_", " ") for label in umls.training.entity_to_id}
    assert "acquired abnormality" in texts


def test_texts_go_to_the_right_ids(nations: Nations, monkeypatch: pytest.MonkeyPatch, make: Lemon) -> None:
    seen: list[list[str]] = []
    original = lemon_module.encode_texts
    monkeypatch.setattr(
        lemon_module, "encode_texts", lambda words, encoder: (seen.append(list(words)), original(words, encoder))[1]
    )
    texts = {label: f"{label} no. {number}" for label, number in nations.training.entity_to_id.items()}
    shuffled = dict(sorted(texts.items(), reverse=True))
    make(LemonNegativeSampler, nations.training, texts=shuffled, encoder=Recorder())
    assert [text.rpartition(" ")[2] for text in seen[0]] == [str(number) for number in range(14)]


def test_texts_from_a_file_a_folder_a_name_and_a_mapping(
    nations: Nations, read: Callable[..., set[str]], tmp_path: Path
) -> None:
    labels = list(nations.training.entity_to_id)
    expected = {f"state {label}" for label in labels}
    lines = [f"{label}\tstate {label}" for label in [*reversed(labels), "atlantis"]]
    table = tmp_path / "texts.tsv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert read(nations.training, texts=str(table)) == expected
    assert read(nations.training, texts=table) == expected
    assert read(nations.training, texts={label: f"state {label}" for label in labels}) == expected
    graph = tmp_path / "graph"
    graph.mkdir()
    (graph / "train.tsv").write_text("usa\tlikes\tcuba\n", encoding="utf-8")
    (graph / "entities.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert read(nations.training, texts=str(graph)) == expected
    assert read(nations.training, texts="nations") == set(labels)


def test_texts_of_a_kgneg_dataset(folder: Path, read: Callable[..., set[str]]) -> None:
    dataset = KgnegDataset(path=folder)
    expected = {"a deer", "a plant", "a cat", "hot"}
    assert read(dataset.training) == expected
    assert read(dataset.training, texts={"red_deer": "x", "grass": "y", "lion": "z", "fire": "w"}) == set("xyzw")
    assert read(KgnegDataset(path=folder, create_inverse_triples=True).training) == expected


def test_missing_texts(nations: Nations, read: Callable[..., set[str]], caplog: pytest.LogCaptureFixture) -> None:
    texts = {label: f"state {label}" for label in list(nations.training.entity_to_id)[2:]}
    with pytest.raises(MissingTextError, match=r"2 of 14 .*'brazil', 'burma'.*missing_text='label'"):
        read(nations.training, texts=texts)
    found = read(nations.training, texts=texts, missing_text="label")
    assert {"brazil", "burma", "state china"} <= found
    assert "2 of 14 entities have no text" in caplog.text
    blank = dict.fromkeys(nations.training.entity_to_id, "a state") | {"uk": " "}
    with pytest.raises(MissingTextError, match=r"1 of 14 .*'uk'"):
        read(nations.training, texts=blank)
    for missing_text in ("error", "label"):  # nothing fits: the wrong file
        with pytest.raises(MissingTextError, match=r"14 of 14"):
            read(nations.training, texts={"berlin": "a city"}, missing_text=missing_text)
    with pytest.raises(InvalidInputError, match="missing_text"):
        read(nations.training, missing_text="ignore")


def test_unreadable_texts(nations: Nations, read: Callable[..., set[str]], tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"nowhere\.tsv"):
        read(nations.training, texts="nowhere.tsv")
    broken = tmp_path / "broken.tsv"
    broken.write_text("brazil\tone\ttoo many\n", encoding="utf-8")
    with pytest.raises(InvalidInputError, match=r"broken\.tsv"):
        read(nations.training, texts=str(broken))


# Labels behind bare ids


def test_bare_ids_are_refused_with_the_remedy() -> None:
    triples = torch.tensor([[number, 0, number + 1] for number in range(22)])
    with pytest.raises(MissingTextError, match=r"23 entities have neither texts nor labels.*texts=.*vectors="):
        LemonNegativeSampler(mapped_triples=triples, encoder="lexical")
    texts = {str(number): f"entity number {number}" for number in range(23)}
    built = LemonNegativeSampler(mapped_triples=triples, encoder="lexical", texts=texts)
    assert built.corrupt_batch(triples).shape == (22, 1, 3)


def test_the_factory_with_these_triples_is_taken(read: Callable[..., set[str]]) -> None:
    ours, theirs = factory_of("abcdefghi"), factory_of("ABCDEFGHI", TRIPLES.flip(0)[:, [2, 1, 0]])
    assert read(ours) == set("abcdefghi")
    assert read(theirs) == set("ABCDEFGHI")
    labels = find_labels(TRIPLES.clone(), 9)
    assert labels is not None
    assert labels.entities == tuple("abcdefghi")


def test_a_subset_of_triples(umls: UMLS, make: Lemon) -> None:
    subset = umls.training.mapped_triples[100:900]
    labels = find_labels(subset, umls.training.num_entities)
    assert labels is not None
    assert labels.entities == tuple(sorted(umls.training.entity_to_id))
    built = LemonNegativeSampler(mapped_triples=subset, num_entities=135, num_relations=46, encoder="lexical")
    assert built.corrupt_batch(subset).shape == (800, 1, 3)


def test_ambiguous_labels(read: Callable[..., set[str]]) -> None:
    graphs = [factory_of("abcdefghi"), factory_of("ABCDEFGHI", TRIPLES.flip(0))]
    subset = TRIPLES[1:]
    with pytest.raises(InvalidInputError, match=r"9 entities and different labels.*Delete.*vectors="):
        LemonNegativeSampler(mapped_triples=subset, num_entities=9, encoder="lexical")
    built = LemonNegativeSampler(mapped_triples=subset, num_entities=9, vectors=torch.eye(9))
    assert built.corrupt_batch(subset).shape == (7, 1, 3)
    graphs.append(factory_of("αβγδεζηθι"))  # the same triples as the first one, under other names
    with pytest.raises(InvalidInputError, match="different labels"):
        read(graphs[0])
    del graphs[1:]
    assert read(graphs[0]) == set("abcdefghi")
    labels = find_labels(subset, 9)
    assert labels is not None
    assert labels.entities == tuple("abcdefghi")


def test_an_unrelated_graph_of_the_same_size_is_not_taken() -> None:
    other = factory_of("abcdefghi")
    strange = TRIPLES.flip(0)[:, [2, 1, 0]].contiguous()
    assert find_labels(strange, 9) is None
    assert find_labels(other.mapped_triples[2:], 9) is not None


def test_graphs_that_nobody_holds_do_not_count(read: Callable[..., set[str]]) -> None:
    ours = factory_of("abcdefghi")
    gc.collect()
    gc.disable()
    try:
        lost: list[Any] = [factory_of("ABCDEFGHI")]
        lost.append(lost)  # garbage only for the collector
        del lost
        assert read(ours) == set("abcdefghi")
    finally:
        gc.enable()


def test_two_texts_for_one_graph(read: Callable[..., set[str]]) -> None:
    texts = {label: f"old {label}" for label in "abcdefghi"}
    renewed = {label: f"new {label}" for label in "abcdefghi"}
    graphs = [factory_of("abcdefghi", texts=texts), factory_of("abcdefghi", texts=renewed)]
    with pytest.raises(InvalidInputError, match=r"different texts.*give texts="):
        read(graphs[1])
    assert read(graphs[1], texts=renewed) == set(renewed.values())
    del graphs[0]
    assert read(graphs[0]) == set(renewed.values())


def test_ids_with_gaps(read: Callable[..., set[str]]) -> None:
    factory = TriplesFactory(
        torch.tensor([[0, 0, 2], [2, 0, 5], [5, 0, 0]]), entity_to_id={"p": 0, "q": 2, "s": 5}, relation_to_id={"r": 0}
    )
    assert {"p", "q", "s"} < read(factory)
    with pytest.raises(MissingTextError, match=r"3 of 6"):
        read(factory, texts={"p": "x", "q": "y", "s": "z"})
    assert {"x", "y", "z"} < read(factory, texts={"p": "x", "q": "y", "s": "z"}, missing_text="label")


# Vectors


@pytest.fixture
def vectors() -> torch.Tensor:
    return torch.randn((14, 5), generator=torch.Generator().manual_seed(0))


def test_vectors_from_everywhere(nations: Nations, make: Lemon, tmp_path: Path, vectors: torch.Tensor) -> None:
    np.save(tmp_path / "v.npy", vectors.double().numpy())
    save_file({"anything": vectors}, tmp_path / "one.safetensors")
    save_file({"other": vectors + 1, "vectors": vectors}, tmp_path / "two.safetensors")
    positives = nations.training.mapped_triples[:50]
    sources = [vectors, vectors.numpy(), *(tmp_path / n for n in ("v.npy", "one.safetensors", "two.safetensors"))]
    drawn = [
        make(LemonNegativeSampler, nations.training, vectors=source, encoder="no-such-model", n_clusters=4, seed=0)
        .corrupt_batch(positives)
        .tolist()
        for source in [*sources, str(tmp_path / "v.npy")]
    ]
    assert all(rows == drawn[0] for rows in drawn)
    other = make(LemonNegativeSampler, nations.training, vectors=vectors.flip(0), n_clusters=4, seed=0)
    assert other.corrupt_batch(positives).tolist() != drawn[0]


def test_vectors_need_no_labels() -> None:
    triples = torch.tensor([[number, 0, number + 1] for number in range(28)])
    vectors = torch.randn((29, 3), generator=torch.Generator().manual_seed(1))
    built = LemonNegativeSampler(mapped_triples=triples, vectors=vectors)
    assert built.corrupt_batch(triples).shape == (28, 1, 3)


def test_malformed_vectors(nations: Nations, make: Lemon, tmp_path: Path, vectors: torch.Tensor) -> None:
    holed = vectors.clone()
    holed[3, 1] = float("nan")
    np.save(tmp_path / "whole.npy", vectors.numpy())
    whole = (tmp_path / "whole.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(whole[: len(whole) // 2])
    save_file({"vectors": vectors}, tmp_path / "whole.safetensors")
    whole = (tmp_path / "whole.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) - 40])
    save_file({"a": vectors, "b": vectors + 1}, tmp_path / "two.safetensors")
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (tmp_path / "v.txt").write_text("0 1 2", encoding="utf-8")
    cases: list[tuple[Any, str]] = [
        (holed, r"\b3\b"),
        (vectors[:13], r"13.*14|14.*13"),
        (torch.ones(14), r"\(14,\)"),
        ([[1.0], [1.0, 2.0]], "no matrix of numbers"),
        (np.full((14, 2), "x"), "no matrix of numbers"),
        (tmp_path / "v.txt", r"v\.txt.*\.npy or \.safetensors"),
        (tmp_path / "cut.npy", r"cut\.npy"),
        (tmp_path / "cut.safetensors", r"cut\.safetensors"),
        (tmp_path / "two.safetensors", r"'a', 'b'"),
        (tmp_path / "objects.npy", r"objects\.npy"),
        (tmp_path / "absent.npy", r"absent\.npy"),
        (tmp_path / "absent.safetensors", r"absent\.safetensors"),
    ]
    for source, message in cases:
        with pytest.raises(InvalidInputError, match=message):
            make(LemonNegativeSampler, nations.training, vectors=source)


def test_texts_and_vectors_together_are_refused(nations: Nations, make: Lemon, vectors: torch.Tensor) -> None:
    with pytest.raises(InvalidInputError, match="not both"):
        make(LemonNegativeSampler, nations.training, vectors=vectors, texts="nations")


def test_texts_survive_the_way_from_a_graph(folder: Path, read: Callable[..., set[str]]) -> None:
    from kgneg.datasets import load

    assert read(to_pykeen(load(folder)).training) == {"a deer", "a plant", "a cat", "hot"}


def test_labels_that_are_numbers(tmp_path: Path) -> None:
    """PyKEEN reads the labels 00001740 and 10000000 as numbers, the table of texts has them as they are written."""
    triples = tmp_path / "train.tsv"
    triples.write_text("00001740\tis\t10000000\n10000000\tis\t00002137\n", encoding="utf-8")
    table = tmp_path / "entities.tsv"
    table.write_text("id\tname\n00001740\tentity\n10000000\tdog\n00002137\tidea\n", encoding="utf-8")
    numbers = {1740: 0, 2137: 1, 10000000: 2}
    factory = TriplesFactory(torch.tensor([[0, 0, 2], [2, 0, 1]]), entity_to_id=numbers, relation_to_id={"is": 0})
    labels = find_labels(factory.mapped_triples, 3)
    assert labels is not None
    assert labels.entities == ("1740", "2137", "10000000")
    assert entity_texts(table, labels, 3, "error") == ["entity", "idea", "dog"]
    assert entity_texts(None, labels, 3, "error") == ["1740", "2137", "10000000"]
