from __future__ import annotations

import gzip
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kgneg.core.cache import ArtefactCache
from kgneg.core.errors import InvalidInputError
from kgneg.recsys import Interactions
from kgneg.recsys.readers import ReadOptions, read_interactions

Row = tuple[str, str, float | None, float | None]
#: What most files below hold.
USUAL: list[Row] = [("ann", "milk", 4.5, 300.0), ("ann", "tea", 2.0, 100.0), ("bob", "tea", 5.0, 200.0)]
NUMBERS: list[Row] = [("2", "7", 3.0, 300.0), ("2", "10", 2.0, 100.0), ("11", "7", 5.0, 200.0)]


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def rows_of(pairs: Interactions) -> list[Row]:
    users = pairs.user_labels or [str(one) for one in range(pairs.num_users)]
    items = pairs.item_labels or [str(one) for one in range(pairs.num_items)]
    ratings = [None] * len(pairs) if pairs.ratings is None else pairs.ratings.tolist()
    times = [None] * len(pairs) if pairs.times is None else pairs.times.tolist()
    named = ((users[u], items[i]) for u, i in zip(pairs.users.tolist(), pairs.items.tolist(), strict=True))
    return [(*pair, rating, time) for pair, rating, time in zip(named, ratings, times, strict=True)]


def without(rows: list[Row], *columns: int) -> list[Row]:
    return [tuple(None if at in columns else value for at, value in enumerate(row)) for row in rows]  # type: ignore[misc]


CSV = "userId,movieId,rating,timestamp\nbob,tea,5,200\nann,milk,4.5,300\nann,tea,2,100\n"
TABLES: list[tuple[str, str, dict[str, Any], list[Row]]] = [
    ("ratings.csv", CSV, {}, USUAL),
    ("ratings.csv.gz", CSV, {}, USUAL),
    ("ratings.csv", "\ufeff" + CSV.replace("\n", "\r\n"), {}, USUAL),
    ("a.csv", CSV, {"format": "movielens"}, USUAL),
    ("a.csv", CSV, {"time": False}, without(USUAL, 3)),
    ("a.csv", CSV, {"rating": False, "time": False}, without(USUAL, 2, 3)),
    ("a.csv", CSV, {"user": 0, "item": 1, "rating": 2, "header": True}, USUAL),
    ("a.csv", CSV, {"rating": "timestamp", "time": False}, [(u, i, t, None) for u, i, _, t in USUAL]),
    ("a.csv", 'item,user,why\n"milk",ann,"so, so"\n tea ,"ann",x\ntea,bob,\n', {}, without(USUAL, 2, 3)),
    ("a.csv", "who;what\nann;milk\nann;tea\nbob;tea", {"user": "who", "item": "what"}, without(USUAL, 2, 3)),
    ("a.tsv", "ann\tmilk\t4.5\t300\nann\ttea\t2\t100\nbob\ttea\t5\t200\n", {}, USUAL),
    (
        "a.tsv",
        "x\tann\tmilk\nx\tann\ttea\nx\tbob\ttea\n",
        {"user": 1, "item": 2, "header": False},
        without(USUAL, 2, 3),
    ),
    ("a.txt", "ann milk 4.5\n ann   tea 2\t\nbob tea 5", {}, without(USUAL, 3)),
    ("a.txt", "ann<>milk\nann<>tea\nbob<>tea", {"separator": "<>", "header": False}, without(USUAL, 2, 3)),
    ("a.csv", "user_id,item_id,2024\nann,milk,1\nann,tea,1\nbob,tea,1\n", {}, without(USUAL, 2, 3)),
    ("a.txt", "ann|milk|4.5|300\nann|tea|2|100\nbob|tea|5|200", {}, USUAL),
    (
        "a.csv",
        "user,item,time\nann,milk,1970-01-01T00:05:00Z\nann,tea,1970-01-01 00:01:40\n"
        "bob,tea,1970-01-01T01:03:20+01:00\n",
        {},
        without(USUAL, 2),
    ),
    ("u.data", "2\t7\t3\t300\n2\t10\t2\t100\n11\t7\t5\t200\n", {}, NUMBERS),
    ("ratings.dat", "2::7::3::300\n2::10::2::100\n11::7::5::200\n", {}, NUMBERS),
    ("a.dat", "2::7::3::300\n2::10::2::100\n11::7::5::200\n", {"format": "movielens"}, NUMBERS),
    ("pairs.txt", "2 7\n2 10\n11 7\n", {}, without(NUMBERS, 2, 3)),
    (
        "a.inter",
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n2\t7\t3\t300\n2\t10\t2\t100\n11\t7\t5\t200",
        {},
        NUMBERS,
    ),
    (
        "a.txt",  # by its first line
        "when:float\tu:token\tthing:token\n300\t2\t7\n100\t2\t10\n200\t11\t7",
        {"item": "thing", "time": "when:float"},
        without(NUMBERS, 2),
    ),
    ("train.txt", "2 7 10\n11 7\n", {}, without(NUMBERS, 2, 3)),
    ("train.txt", "\n2 7 10\n\n5\n11 7 ", {"format": "adjacency"}, without(NUMBERS, 2, 3)),
    (
        "users.dat",
        "2 7 10\n0\n1 7\n1 10",
        {},
        [("0", "7", None, None), ("0", "10", None, None), ("2", "7", None, None), ("3", "10", None, None)],
    ),
]


@pytest.mark.parametrize(("name", "text", "options", "expected"), TABLES)
def test_formats(name: str, text: str, options: dict[str, Any], expected: list[Row], tmp_path: Path) -> None:
    pairs = Interactions.read(write(tmp_path, name, text), **options)
    assert rows_of(pairs) == expected
    assert pairs.report.rows == len(expected)


@pytest.mark.parametrize("compression", ["snappy", "gzip"])
def test_parquet(tmp_path: Path, compression: str) -> None:
    frame = pd.DataFrame(USUAL, columns=["user_id", "item_id", "rating", "timestamp"])
    frame["user_id"] = frame["user_id"].astype("category")
    frame["timestamp"] = pd.to_datetime(frame["timestamp"], unit="s")
    frame.to_parquet(tmp_path / "a.parquet", compression=compression)  # type: ignore[call-overload]
    assert rows_of(Interactions.read(tmp_path / "a.parquet")) == USUAL
    assert rows_of(Interactions.read(tmp_path / "a.parquet", user=0, item=1, rating=False)) == without(USUAL, 2)
    with pytest.raises(InvalidInputError, match="no column 'who' for the user; it has 'user_id', 'item_id', 'rating'"):
        Interactions.read(tmp_path / "a.parquet", user="who")
    with pytest.raises(
        InvalidInputError, match=r'a.parquet is a Parquet file; read it with format="table", not \'inter\''
    ):
        Interactions.read(tmp_path / "a.parquet", format="inter")


def test_ids_are_ordered_by_number_or_text(tmp_path: Path) -> None:
    pairs = Interactions.read(write(tmp_path, "a.tsv", "10\t07\n9\t7\n-3\t10\n"))
    assert pairs.user_labels == ("-3", "9", "10")
    assert pairs.item_labels == ("07", "10", "7")  # 07 is no number, so they are texts


def test_counts(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", CSV + "ann,tea,5,50\nann,milk,1,400\ncid,ale,1,1\n")
    pairs = Interactions.read(path, min_rating=2)
    assert rows_of(pairs) == USUAL
    report = pairs.report
    assert (report.rows, report.kept, report.duplicates, report.below_min_rating) == (6, 3, 1, 2)
    assert str(report) == "6 rows, 3 pairs kept; dropped: 1 repetition of a pair, 2 rows below the minimum rating"


def test_like(tmp_path: Path) -> None:
    train = Interactions.read(write(tmp_path, "train.csv", CSV))
    test = write(tmp_path, "test.csv", "user,item\nbob,milk\nbob,tea\neve,tea\neve,rum\nann,rum\n")
    pairs = Interactions.read(test, like=train)
    assert rows_of(pairs) == [("bob", "milk", None, None), ("bob", "tea", None, None)]
    assert (pairs.user_labels, pairs.item_labels) == (train.user_labels, train.item_labels)
    report = pairs.report
    assert (report.rows, report.kept, report.unknown_users, report.unknown_items) == (5, 2, 2, 1)
    with pytest.raises(InvalidInputError, match=r"test.csv, line 4, column 'user': the user 'eve' is not known"):
        Interactions.read(test, like=train, unknown="error")
    with pytest.raises(InvalidInputError, match="line 5, column 'item': the item 'rum' is not known"):
        Interactions.read(
            write(tmp_path, "b.csv", "user,item\nbob,milk\nbob,tea\nann,tea\nann,rum\n"), like=train, unknown="error"
        )
    nobody = write(tmp_path, "other.csv", "user,item\n1,2\n3,4\n")
    with pytest.raises(InvalidInputError, match=r"no row of .*other.csv is left: unknown_users 2 of 2 rows.* like '1'"):
        Interactions.read(nobody, like=train)


def test_like_without_labels(tmp_path: Path) -> None:
    train = Interactions(torch.tensor([0]), torch.tensor([2]), num_users=2, num_items=12)
    pairs = Interactions.read(write(tmp_path, "test.txt", "1 11 2 12\n0 3\n5 1\n"), like=train)
    assert pairs.codes.tolist() == [3, 14, 23]
    assert (pairs.user_labels, pairs.report.unknown_users, pairs.report.unknown_items) == (None, 1, 1)


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 30), max_size=4), min_size=1, max_size=12), st.booleans())
def test_adjacency_like_loops(lists: list[list[int]], counted: bool) -> None:
    import tempfile

    if not any(lists):
        return
    heads = [len(items) if counted else user for user, items in enumerate(lists)]
    text = "\n".join(" ".join(map(str, [head, *items])) for head, items in zip(heads, lists, strict=True))
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), "a.txt", text)
        pairs = Interactions.read(path, format="counted" if counted else "adjacency")
    expected = sorted({(user, item) for user, items in enumerate(lists) for item in items})
    assert [(int(user), int(item)) for user, item, _, _ in rows_of(pairs)] == expected
    assert pairs.report.rows == sum(map(len, lists))
    assert pairs.report.users_without_items == sum(not items for items in lists)


@pytest.mark.parametrize(
    ("name", "text", "options", "message"),
    [
        ("a.csv", "", {}, "a.csv is empty"),
        ("a.csv", "\n\r\n", {}, "a.csv is empty"),
        ("a.csv.gz", "", {}, "a.csv.gz is empty"),
        ("a.csv", "userId,movieId\n", {}, "has a line of names, userId, movieId, and no rows"),
        (
            "a.csv",
            CSV,
            {"user": "who"},
            "no column 'who' for the user; it has 'userId', 'movieId', 'rating', 'timestamp'",
        ),
        ("a.csv", CSV, {"user": 7, "header": True}, "no column 7 for the user"),
        (
            "a.csv",
            "name,movieId\nann,7\n",
            {},
            "'name', 'movieId'; none has a usual name for the user. Name it with user=",
        ),
        ("a.csv", "user,uid,item\nann,1,7\n", {}, "several could be the user"),
        (
            "a.csv",
            "user,item,score,stars\nann,1,7,7\n",
            {},
            "several could be the rating.*--rating; or say rating=False to read without, on .* --rating none",
        ),
        ("a.csv", "user,user,item\nann,1,7\n", {"user": "user"}, "has several columns 'user'; give the position"),
        (
            "a.csv",
            CSV,
            {"user": "movieId", "item": "movieId"},
            "can be only one thing, got user 'movieId', item 'movieId'",
        ),
        ("a.csv", CSV, {"user": False}, "user and item cannot be False"),
        (
            "a.csv",
            CSV + "cid,ale,good,3\n",
            {},
            r"a.csv, line 5, column 'rating': the rating 'good' is no number; .*rating=False",
        ),
        ("a.csv", CSV + "cid,ale,,3\n", {}, "line 5, column 'rating': the rating '' is no number"),
        ("a.csv", CSV + "cid,ale,nan,3\n", {}, "line 5, column 'rating': the rating 'nan' is not finite"),
        ("a.csv", CSV + "cid,ale,1,2020-01-01\n", {}, "line 5, column 'timestamp': the time '2020-01-01' is no number"),
        ("a.csv", CSV + ",ale,1,2\n", {}, "line 5, column 'userId': the user is empty"),
        ("a.csv", CSV + "ann,\u2003,1,2\n", {}, "line 5, column 'movieId': the item is empty"),
        ("a.csv", CSV + "\nann,ale,1,2\n", {}, "no separator divides all lines"),
        ("a.csv", CSV + "\nann,ale,1,2\n", {"separator": ","}, "line 5, column 'userId': the user is empty"),
        ("a.csv", CSV + "ann,ale,1\n", {"separator": ","}, "line 5: got 3 fields, expected 4 divided by ','"),
        ("a.csv", CSV, {"min_rating": 6}, r"no row has a rating of at least 6; ratings are 2 to 5"),
        ("a.csv", CSV, {"min_rating": float("nan")}, "min_rating must be a finite number, got nan"),
        ("a.csv", CSV, {"rating": False, "min_rating": 3}, "min_rating=3 needs ratings"),
        (
            "a.csv",
            CSV,
            {"format": "csv"},
            "format must be one of auto, table, inter, movielens, adjacency, counted; got 'csv'",
        ),
        ("a.csv", CSV, {"unknown": "keep"}, "unknown must be one of drop, error; got 'keep'"),
        ("a.csv", CSV, {"format": "inter"}, "'userId,movieId,rating,timestamp' has no type"),
        ("a.csv", CSV, {"separator": ""}, "separator must not be empty"),
        ("a.txt", "ann\ntea\n", {}, "no separator divides all lines.*table, inter, movielens, adjacency, counted"),
        (
            "a.txt",
            "ann tea\nbob milk\n",
            {},
            "'ann', 'tea', could be names or a row; say header=True or header=False, on .* --header or --no-header",
        ),
        ("a.txt", "a b c d e 1\n", {}, "6 columns without names; say which are which"),
        ("a.txt", "a b 3\n", {"user": 0}, "has the columns '0', '1', '2'; none has a usual name for the item"),
        (
            "a.txt",
            "1 5\n",
            {},
            r"fit table and counted; the first line is '1 5'. Say which it is: format=... \(--format\) with one of",
        ),
        (
            "a.csv",
            "user,item,time\na,x,2024-05-01\nb,x,May 2nd\n",
            {},
            "line 3, column 'time': the time 'May 2nd' is no date",
        ),
        (
            "a.csv",
            "user,item,time\na,x,May 2nd\n",
            {},
            "'May 2nd' is no number; give numbers or dates such as.*--time none",
        ),
        ("a.csv", "user,item,rating\na,x,2024-05-01\n", {}, "'2024-05-01' is no number; give numbers, or rating=False"),
        ("a.txt", "0 1 2\n1 1 5\n", {}, "fit table and adjacency"),
        ("a.txt", "2 1 2\n1 5\n", {}, "fit adjacency and counted"),
        ("a.txt", "7 1 2\n7 1\n", {}, "its first lines of integers fit none"),
        (
            "a.txt",
            "0 1 2\n1 x 5\n",
            {"format": "adjacency"},
            "line 2: 'x' is no integer id; adjacency files have integers only",
        ),
        (
            "a.txt",
            "0 1 2\n1 99999999999999999999",
            {"format": "adjacency"},
            "line 2: '99999999999999999999' is too large",
        ),
        ("a.txt", "2 1 2\n2 1\n", {"format": "counted"}, "line 2: the count is 2, but 1 items follow"),
        ("a.txt", "2 1 2\n\n1 1\n", {"format": "counted"}, "line 2: the line is blank"),
        ("a.txt", "0\n0\n", {"format": "counted"}, "has no rows"),
        (
            "a.txt",
            "0 1 2\n1 5\n",
            {"format": "adjacency", "min_rating": 3, "user": 0},
            "leave out user=0, min_rating=3",
        ),
    ],
)
def test_refusals(name: str, text: str, options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Interactions.read(write(tmp_path, name, text), **options)


def test_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"there is no file .*none.csv"):
        Interactions.read(tmp_path / "none.csv")
    with pytest.raises(InvalidInputError, match="is a folder; name a file in it"):
        Interactions.read(tmp_path)
    packed = write(tmp_path, "a.csv.gz", CSV * 100)
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(InvalidInputError, match=r"a.csv.gz is no complete gzip file"):
        Interactions.read(packed)
    pd.DataFrame({"user": [1], "item": [2]}).to_parquet(tmp_path / "a.parquet")
    (tmp_path / "a.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-5])
    with pytest.raises(InvalidInputError, match=r"a.parquet is no complete Parquet file"):
        Interactions.read(tmp_path / "a.parquet")
    (tmp_path / "latin.csv").write_bytes("user,item\nann,caf\u00e9\n".encode("latin-1"))
    with pytest.raises(InvalidInputError, match=r"latin.csv is no text in UTF-8"):
        Interactions.read(tmp_path / "latin.csv")
    late = CSV.encode() + b"ann,tea,1,1\n" * 2000 + "ann,caf\u00e9,1,1\n".encode("latin-1")
    (tmp_path / "late.csv").write_bytes(late)
    with pytest.raises(InvalidInputError, match=r"late.csv cannot be read as a table"):
        Interactions.read(tmp_path / "late.csv")


def test_bad_value_far_down(tmp_path: Path) -> None:
    lines = ["user,item,rating", *(f"{row},{row},1" for row in range(5000))]
    lines[4321] = "a,b,x"
    with pytest.raises(InvalidInputError, match="line 4322, column 'rating': the rating 'x' is no number"):
        Interactions.read(write(tmp_path, "a.csv", "\n".join(lines)))


def test_cache(tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ArtefactCache(tmp_path / "cache")
    path = write(tmp_path, "a.csv", CSV + "cid,ale,1,1\n")
    options = ReadOptions(min_rating=2)
    first = read_interactions(path, options, cache=store)
    (kept,) = store.root.rglob("*.safetensors")
    monkeypatch.setattr("kgneg.recsys.readers.assemble", None)  # whatever is read now fails
    again = read_interactions(path, options, cache=store)
    monkeypatch.undo()
    assert (again.fingerprint(), again.report) == (first.fingerprint(), first.report)
    assert read_interactions(path, ReadOptions(), cache=store).report.below_min_rating == 0
    like = Interactions(
        torch.tensor([0]), torch.tensor([0]), num_users=1, num_items=1, user_labels=["ann"], item_labels=["tea"]
    )
    assert len(read_interactions(path, options, like=like, cache=store)) == 1
    write(tmp_path, "a.csv", CSV.replace("5,200", "3,200"))
    assert read_interactions(path, options, cache=store).ratings is not None
    assert len(list(store.root.rglob("*.safetensors"))) == 4
    write(tmp_path, "a.csv", CSV + "cid,ale,1,1\n")
    kept.write_bytes(kept.read_bytes()[:-9])
    with caplog.at_level(logging.WARNING):
        assert read_interactions(path, options, cache=store).fingerprint() == first.fingerprint()
    assert "damaged" in caplog.text


@pytest.mark.slow
def test_a_million_rows(tmp_path: Path) -> None:
    import time

    draw = np.random.default_rng(0)
    size = 1_000_000
    frame = pd.DataFrame({"user": draw.integers(0, 50_000, size), "item": draw.integers(0, 50_000, size)})
    frame["rating"] = draw.integers(1, 6, size)
    frame.to_csv(tmp_path / "a.csv", index=False)
    start = time.process_time()
    pairs = Interactions.read(tmp_path / "a.csv")
    assert time.process_time() - start < 10
    assert len(pairs) == len(frame[["user", "item"]].drop_duplicates())


def test_dates_are_seconds(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("user,item,date\nann,tea,2024-05-01\nbob,tea,2024-05-01T12:00:00.5\n", encoding="utf-8")
    times = Interactions.read(path).times
    assert times is not None
    assert times.tolist() == [1714521600.0, 1714564800.5]
