"""Counts of public data sets, as published or taken from the files by other programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import scipy.io

from kgneg.recsys import Interactions

Find = Callable[[str], Path]


def toy(find: Find) -> Interactions:
    return Interactions.read(find("buir-toy") / "users.dat.gz")


def filmtrust(find: Find) -> Interactions:
    pairs = Interactions.read(find("filmtrust") / "ratings.txt.gz")
    assert (pairs.num_users, pairs.num_items, len(pairs), pairs.duplicates) == (1508, 2071, 35494, 3)
    pairs = pairs.at_least(users=5, count="rows")
    assert pairs.report.kept + pairs.report.duplicates == 34889
    return pairs


def citeulike_t(find: Find) -> Interactions:
    pairs = Interactions.read(find("citeulike-t") / "users.dat.gz")
    assert (pairs.num_users, pairs.num_items, len(pairs)) == (7947, 25584, 134860)
    return pairs.at_least(users=5)


def ciao(find: Find) -> Interactions:
    table = scipy.io.loadmat(str(find("ciao") / "rating_with_timestamp.mat"))["rating"]
    names = ["user", "item", "category", "rating", "helpfulness", "time"]
    pairs = Interactions.from_frame(pd.DataFrame(table, columns=names))
    assert (pairs.num_users, pairs.num_items, pairs.report.rows, len(pairs)) == (7375, 105114, 284086, 282650)
    pairs = pairs.at_least(users=5, items=5, count="rows")
    assert pairs.report.kept + pairs.report.duplicates == 149141
    return pairs


def ml_100k(find: Find) -> Interactions:
    return Interactions.read(find("ml-100k") / "ml-100k.inter.gz").at_least(users=5)


def citeulike_a(find: Find) -> Interactions:
    return Interactions.read(find("citeulike-a") / "users.dat.gz")


@pytest.mark.parametrize(
    ("read", "sizes", "training"),
    [
        (toy, (1000, 2990, 19202), (2926, 4682, 10350)),
        (filmtrust, (1227, 2059, 34886), (4650, 7788, 18422)),
        (citeulike_t, (5219, 25181, 125580), (17144, 29002, 66736)),
        (ciao, (7265, 11211, 147989), (21933, 35529, 79457)),
        (ml_100k, (943, 1682, 100000), (10910, 20734, 50706)),
        (citeulike_a, (5551, 16980, 204986), (26156, 45244, 106852)),
    ],
)
def test_sizes(
    read: Callable[[Find], Interactions],
    sizes: tuple[int, int, int],
    training: tuple[int, int, int],
    recsys_folder: Find,
) -> None:
    pairs = read(recsys_folder)
    assert (pairs.num_users, pairs.num_items, len(pairs)) == sizes
    found = tuple(len(pairs.split("beta", beta=beta, seed=3).train) for beta in (0.1, 0.2, 0.5))
    assert found == training


def test_the_split_of_gowalla(recsys_folder: Find) -> None:
    folder = recsys_folder("gowalla")
    train = Interactions.read(folder / "train.txt.gz")
    test = Interactions.read(folder / "test.txt.gz", like=train, unknown="error")
    assert (train.num_users, train.num_items, len(train), len(test)) == (29858, 40981, 810128, 217242)
    assert not train.contains(test.users, test.items).any()
