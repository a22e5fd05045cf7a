from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kgneg.core.errors import InvalidInputError, MissingExtraError
from kgneg.datasets import available, load, load_folder, read_triples


def pykeen_folder(name: str) -> Path:
    spec = importlib.util.find_spec("pykeen")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0], "datasets", name)


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("kinships", (104, 25, 8_544, 1_068, 1_074)),
        ("nations", (14, 55, 1_592, 199, 201)),
        ("umls", (135, 46, 5_216, 652, 661)),
    ],
)
def test_known_graphs(name: str, counts: tuple[int, ...]) -> None:
    graph = load(name)
    found = (graph.num_entities, graph.num_relations, len(graph.train), len(graph.valid), len(graph.test))
    assert found == counts
    assert graph.name == name
    assert graph.report == {}
    rows = read_triples(pykeen_folder(name) / "test.txt")
    assert graph.labels_of(graph.test) == sorted(map(tuple, rows.tolist()))


def test_texts_are_readable_labels() -> None:
    graph = load("umls")
    assert graph.entity_texts()[:2] == ["acquired abnormality", "activity"]
    assert graph.relation_texts["location_of"] == "location of"


def test_names() -> None:
    assert available() == ("kinships", "nations", "umls")


def test_same_ids_as_pykeen(benchmark_folder: Callable[[str], Path]) -> None:
    # PyKEEN's own rules, written down here because importing it takes long: sorted labels, np.unique over rows
    folder = benchmark_folder("wn11")
    rows = read_triples(folder / "train.txt.gz")
    entities = {label: i for i, label in enumerate(sorted(set(rows[:, 0]).union(rows[:, 2])))}
    relations = {label: i for i, label in enumerate(sorted(set(rows[:, 1])))}
    ids = np.array([(entities[head], relations[relation], entities[tail]) for head, relation, tail in rows])
    graph = load(folder)
    assert graph.entities == tuple(entities)
    assert np.array_equal(graph.train.numpy(), np.unique(ids, axis=0))


@pytest.mark.slow
def test_same_ids_as_pykeen_itself() -> None:
    code = """
import torch
from pykeen.datasets import Nations, UMLS
from kgneg.datasets import load
for host, name in ((Nations(), "nations"), (UMLS(), "umls")):
    graph = load(name)
    assert {label: i for i, label in enumerate(graph.entities)} == dict(host.training.entity_to_id)
    assert {label: i for i, label in enumerate(graph.relations)} == dict(host.training.relation_to_id)
    for mine, theirs in ((graph.train, host.training), (graph.valid, host.validation), (graph.test, host.testing)):
        assert torch.equal(mine, theirs.mapped_triples)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_pykeen_and_heavy_readers_are_not_imported() -> None:
    code = (
        "import sys; from kgneg.datasets import load; import kgneg.datasets;"
        "heavy = {'pandas', 'networkx', 'rdflib', 'pykeen'};"
        "print(sorted(heavy & set(sys.modules))); load('nations'); print('pykeen' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded, pykeen = run.stdout.splitlines()
    assert pykeen == "False"
    assert "rdflib" not in loaded
    assert "pandas" not in loaded


def test_missing_pykeen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"'nations' is read from the files of PyKEEN.*pip install pykeen"):
        load("nations")


def test_folders_and_rdf_files(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("a\tr\tb\n", encoding="utf-8")
    assert load(tmp_path).equals(load_folder(tmp_path))
    assert load(str(tmp_path)).entities == ("a", "b")
    path = tmp_path / "g.nt"
    path.write_text("<http://e/a> <http://e/r> <http://e/b> .", encoding="utf-8")
    assert load(path).num_entities == load(str(path)).num_entities == 2


def test_name_wins_over_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "nations"
    folder.mkdir()
    (folder / "train.tsv").write_text("a\tr\tb\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert load("nations").num_entities == 14
    assert "write ./nations for the folder" in caplog.text
    assert load("./nations").num_entities == load(Path("nations")).num_entities == 2


def test_unknown_sources_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"unknown source 'freebase', expected .*kinships, nations, umls"):
        load("freebase")
    with pytest.raises(InvalidInputError, match=r"missing.ttl: no such file"):
        load(tmp_path / "missing.ttl")
    path = tmp_path / "triples.tsv"
    path.write_text("a\tr\tb\n", encoding="utf-8")
    with pytest.raises(InvalidInputError, match=r"triples.tsv: got a file that is no RDF.*named train.tsv"):
        load(path)
