from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.datasets import load
from kgneg.recommending import DataSettings, load_interactions
from kgneg.recsys import Interactions


def pairs_of(part: Interactions) -> set[tuple[str, str]]:
    assert part.user_labels is not None
    assert part.item_labels is not None
    return {
        (part.user_labels[user], part.item_labels[item])
        for user, item in zip(part.users.tolist(), part.items.tolist(), strict=True)
    }


def test_a_graph_is_split_like_its_facts() -> None:
    graph = load("nations")
    wanted = {
        (graph.entities[h], f"{graph.relations[r]}: {graph.entities[t]}")
        for h, r, t in torch.cat([graph.train, graph.valid, graph.test]).tolist()
    }
    data = load_interactions(DataSettings("nations", split="random"))
    parts = [pairs_of(part) for part in (data.split.train, data.split.valid, data.split.test)]
    assert set.union(*parts) == wanted
    assert sum(map(len, parts)) == len(wanted)
    assert data.texts is not None
    assert set(data.texts) == set(data.split.train.item_labels or ())


def test_one_relation_of_a_graph() -> None:
    graph = load("umls")
    relation = graph.relations.index("affects")
    rows = [row for row in torch.cat([graph.train, graph.valid, graph.test]).tolist() if row[1] == relation]
    data = load_interactions(DataSettings("umls", relation="affects", split="random"))
    assert data.name == "umls, affects"
    assert sum(len(part) for part in (data.split.train, data.split.valid, data.split.test)) == len(rows)
    assert set(data.split.train.item_labels or ()) == {graph.entities[row[2]] for row in rows}


def test_filters_come_before_the_split(likes: Path) -> None:
    data = load_interactions(DataSettings(str(likes), min_rating=4, k_core=3))
    everything = Interactions.read(likes, min_rating=4).k_core(3)
    assert (data.split.train.num_users, data.split.train.num_items) == (everything.num_users, everything.num_items)
    assert set(data.said) == {"data", "3-core"}
    assert "below the minimum rating" in data.said["data"]
    fewer = load_interactions(DataSettings(str(likes), min_user=9))
    assert set(fewer.said) == {"data", "filter"}
    assert fewer.split.train.num_users < 40


def test_own_test_file(likes: Path, tmp_path: Path) -> None:
    lines = likes.read_text(encoding="utf-8").splitlines()
    held, rest = lines[1::7], [line for place, line in enumerate(lines) if place == 0 or place % 7 != 1]
    train, test, valid = (tmp_path / f"{name}.csv" for name in ("train", "test", "valid"))
    train.write_text("\n".join(rest) + "\n", encoding="utf-8")
    test.write_text("\n".join([lines[0], *held, "nobody,item_00,3"]) + "\n", encoding="utf-8")
    data = load_interactions(DataSettings(str(train), test=str(test)))
    assert pairs_of(data.split.test) == {tuple(line.split(",")[:2]) for line in held}
    assert "1 row of an unknown user" in data.said["test"]
    kept = pairs_of(data.split.train) | pairs_of(data.split.valid)
    assert kept == {tuple(line.split(",")[:2]) for line in rest[1:]}
    valid.write_text("\n".join([lines[0], *held[:3]]) + "\n", encoding="utf-8")
    test.write_text("\n".join([lines[0], *held[3:]]) + "\n", encoding="utf-8")
    both = load_interactions(DataSettings(str(train), valid=str(valid), test=str(test)))
    assert (len(both.split.valid), len(both.split.test)) == (3, len(held) - 3)
    assert pairs_of(both.split.train) == kept


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k_core": -1}, "k_core must be at least 0"),
        ({"split": "halves"}, "split must be one of random, beta"),
        ({"valid": "v.csv"}, "needs a file of test pairs as well"),
        ({"relation": "likes"}, "relation is for knowledge graphs"),
        ({"rating": True}, "rating must be the name or the position"),
        ({"valid": "v.csv", "test": "t.csv", "beta": 0.3}, "beta would have no effect"),
        ({"data": "umls", "min_rating": 3.0, "user": "u"}, "user, min_rating would have no effect"),
    ],
)
def test_refused_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        DataSettings(**{"data": "likes.csv", **settings})


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("user,item,rating\na,x,good\nb,x,bad\n", {}, "good"),
        ("user,item\na,x\nb,y\n", {}, "the validation part is empty|the test part is empty"),
        ("user,item\na,x\nb,y\n", {"k_core": 5}, "left"),
    ],
)
def test_refused_files(text: str, settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInputError, match=message):
        load_interactions(DataSettings(str(path), **settings))


def test_an_unknown_relation() -> None:
    with pytest.raises(InvalidInputError, match="no triple has the relation 'affcts'"):
        load_interactions(DataSettings("umls", relation="affcts"))
