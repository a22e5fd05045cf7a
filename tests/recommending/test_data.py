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
        (
            {"test": "t.csv", "split": "random", "test_share": 0.2},
            "test_share would have no effect: the test pairs have",
        ),
        (
            {"valid": "v.csv", "test": "t.csv", "split": "random", "split_seed": 3},
            "split, split_seed would have no effect",
        ),
        ({"split": "temporal", "split_seed": 3}, "split_seed would have no effect: the temporal split draws nothing"),
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


@pytest.mark.parametrize("kind", ["temporal", "leave-one-out"])
def test_validation_pairs_are_the_last_beside_a_test_file(kind: str, tmp_path: Path) -> None:
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    rows = [f"u{user},i{(user + step) % 10},{10 * step + user}" for user in range(4) for step in range(10)]
    train.write_text("\n".join(["user,item,time", *rows]) + "\n", encoding="utf-8")
    more = [f"v{user},i{item},5" for user in range(3) for item in range(10)]
    train.write_text("\n".join(["user,item,time", *rows, *more]) + "\n", encoding="utf-8")
    test.write_text("user,item,time\n" + "".join(f"u{user},j,999\n" for user in range(4)), encoding="utf-8")
    train.write_text(train.read_text(encoding="utf-8") + "w,j,1\n", encoding="utf-8")
    share = {"valid_share": 0.1} if kind == "temporal" else {}
    split = load_interactions(DataSettings(str(train), test=str(test), split=kind, **share)).split
    assert len(split.train) + len(split.valid) == 71
    assert split.train.times is not None
    assert split.valid.times is not None
    if kind == "temporal":
        assert sorted(split.valid.times.tolist()) == [80, 81, 82, 83, 90, 91, 92, 93][1:]
        assert split.train.times.max() < split.valid.times.min()
    else:
        assert {90.0, 91.0, 92.0, 93.0} <= set(split.valid.times.tolist())
        assert split.train.times.max() == 83
    assert split.options["validation"] == kind
    assert "test" not in split.options
