"""Files of graphs and links."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.recommending import ItemGraph, read_item_graph
from kgneg.recsys.interactions import Interactions

TRIPLES = [("m.1", "actor", "m.9"), ("m.2", "actor", "m.9"), ("m.9", "born", "m.7")]
LINKS = [("b", "m.2"), ("a", "m.1"), ("x", "m.1"), ("c", "m.99"), ("a", "m.2")]


def interactions(labels: tuple[str, ...] | None = ("a", "b", "c", "d")) -> Interactions:
    return Interactions(torch.tensor([0]), torch.tensor([0]), num_users=1, num_items=4, item_labels=labels)


def write(path: Path, rows: list[tuple[str, ...]], header: str = "") -> Path:
    text = header + "".join("\t".join(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


def check(graph: ItemGraph) -> None:
    named = [
        (graph.entity_labels[head], graph.relation_labels[relation], graph.entity_labels[tail])
        for head, relation, tail in graph.triples.tolist()
    ]
    assert named == TRIPLES
    assert (graph.num_entities, graph.num_relations) == (4, 2)
    found = [graph.entity_labels[entity] if entity >= 0 else None for entity in graph.item_entities.tolist()]
    assert found == ["m.1", "m.2", None, None]
    counts = (graph.linked, graph.unlinked, graph.unknown_items, graph.unknown_entities, graph.repeated)
    assert counts == (2, 2, 1, 1, 1)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_files_without_header(tmp_path: Path, suffix: str) -> None:
    kg, link = write(tmp_path / f"kg.txt{suffix}", TRIPLES), write(tmp_path / f"link.txt{suffix}", LINKS)
    check(read_item_graph(kg, link, interactions()))


def test_files_of_recbole(tmp_path: Path) -> None:
    kg = write(tmp_path / "a.kg", TRIPLES, "head_id:token\trelation_id:token\ttail_id:token\n")
    link = write(tmp_path / "a.link", LINKS, "item_id:token\tentity_id:token\n")
    check(read_item_graph(kg, link, interactions()))


def test_columns_go_by_the_header(tmp_path: Path) -> None:
    turned = [(tail, head, relation) for head, relation, tail in TRIPLES]
    kg = write(tmp_path / "a.kg", turned, "tail_id:token\thead_id:token\trelation_id:token\n")
    link = write(tmp_path / "a.link", [row[::-1] for row in LINKS], "entity_id:token\titem_id:token\n")
    check(read_item_graph(kg, link, interactions()))
    kg = write(tmp_path / "b.kg", TRIPLES, "subject:token\tverb:token\tobject:token\n")
    link = write(tmp_path / "b.link", LINKS, "movie:token\tnode:token\n")
    check(read_item_graph(kg, link, interactions()))


def test_items_without_labels_go_by_their_ids(tmp_path: Path) -> None:
    kg = write(tmp_path / "a.kg", TRIPLES)
    link = write(tmp_path / "a.link", [("3", "m.9"), ("4", "m.1")])
    graph = read_item_graph(kg, link, interactions(None))
    assert graph.item_entities.tolist() == [-1, -1, -1, graph.entity_labels.index("m.9")]
    assert graph.unknown_items == 1


def test_refusals(tmp_path: Path) -> None:
    kg, link = write(tmp_path / "a.kg", TRIPLES), write(tmp_path / "a.link", LINKS)
    with pytest.raises(InvalidInputError, match=r"none\.kg: no such file"):
        read_item_graph(tmp_path / "none.kg", link, interactions())
    with pytest.raises(InvalidInputError, match=r"a\.link, line 1: got 3 columns"):
        read_item_graph(kg, write(tmp_path / "a.link", TRIPLES), interactions())
    with pytest.raises(
        InvalidInputError, match=r"none of 2 links.*1 name a known item, such as 'a'.*called like 'm\.1'"
    ):
        read_item_graph(kg, write(tmp_path / "b.link", [("a", "q.1"), ("x", "m.1")]), interactions())


def test_movielens(movielens: Interactions, recsys_folder: Callable[[str], Path]) -> None:
    folder = recsys_folder("ml-100k")
    graph = read_item_graph(folder / "ml-100k.kg.gz", folder / "ml-100k.link.gz", movielens)
    assert (len(graph.triples), graph.num_entities, graph.num_relations) == (91_631, 34_628, 24)
    counts = (graph.linked, graph.unlinked, graph.unknown_items, graph.unknown_entities, graph.repeated)
    assert counts == (1598, 84, 0, 0, 0)
    found = graph.vectors(dim=16)
    assert found.vectors.shape == (1682, 16)
    assert 84 <= found.missing < 100


def test_lastfm(lastfm: Interactions, recsys_folder: Callable[[str], Path]) -> None:
    folder = recsys_folder("lastfm-kg")
    graph = read_item_graph(folder / "kg.txt.gz", folder / "item_index2entity_id.txt.gz", lastfm)
    assert (len(graph.triples), graph.num_entities, graph.num_relations) == (15_518, 9_366, 60)
    assert (graph.linked, graph.unlinked, graph.unknown_items) == (3846, 17_632 - 3846, 0)
