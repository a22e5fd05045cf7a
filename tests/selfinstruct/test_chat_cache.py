"""Replies on disk."""

from __future__ import annotations

import logging
import os
import pickle
import sqlite3
import threading
from pathlib import Path

import pytest

from kgneg.selfinstruct.chat_cache import ReplyCache


def test_what_is_put_in_is_there_for_others(tmp_path: Path) -> None:
    cache = ReplyCache(tmp_path / "new" / "v.sqlite")
    for number in range(1_200):  # more than one query takes
        cache.put(f"k{number}", {"n": number, "text": "\u732b\ud83d"})
    other = ReplyCache(cache.path)
    found = other.get([f"k{number}" for number in range(1_300)])
    assert len(found) == len(other) == 1_200
    assert found["k7"] == {"n": 7, "text": "\u732b\ud83d"}
    cache.put("k7", 8)
    assert other.get(["k7"]) == {"k7": 8}
    assert other.get([]) == {}


def test_an_entry_that_was_changed_counts_as_missing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = ReplyCache(tmp_path / "v.sqlite")
    cache.put("a", 1)
    cache.put("b", 2)
    cache.close()
    with sqlite3.connect(cache.path) as connection:
        connection.execute("UPDATE replies SET value = '3' WHERE key = 'a'")
    connection.close()
    assert cache.get(["a", "b"]) == {"b": 2}
    assert "checksum" in caplog.text


def test_what_is_no_database_is_put_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "v.sqlite"
    path.write_bytes(b"no database at all" * 100)
    cache = ReplyCache(path)
    cache.put("a", 1)
    assert cache.get(["a"]) == {"a": 1}
    assert (tmp_path / "v.sqlite.damaged").read_bytes().startswith(b"no database")
    assert "no database" in caplog.text


def damaged(path: Path) -> ReplyCache:
    """A file whose first page is whole and whose others are not, which shows only when an entry is looked for."""
    cache = ReplyCache(path)
    for number in range(300):
        cache.put(f"k{number}", "x" * 100)
    cache.close()
    content = bytearray(path.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    path.write_bytes(bytes(content))
    return cache


def test_damage_that_shows_later_is_put_aside_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = damaged(tmp_path / "v.sqlite")
    assert cache.get(["k1"]) == {}
    cache.put("k1", 2)
    assert cache.get(["k1"]) == {"k1": 2}
    assert (tmp_path / "v.sqlite.damaged").exists()
    assert caplog.text.count("What it held is asked for again") == 1
    assert "not kept" not in caplog.text
    cache.close()
    assert ReplyCache(cache.path).get(["k1"]) == {"k1": 2}


def test_a_new_file_of_another_process_is_not_put_aside(tmp_path: Path) -> None:
    late = damaged(tmp_path / "v.sqlite")
    late._connected()  # it holds the damaged file
    other = ReplyCache(late.path)
    assert other.get(["k1"]) == {}
    other.put("k1", 2)
    assert late.get(["k1"]) == {"k1": 2}


def test_without_a_place_nothing_is_kept_and_nothing_fails(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    (tmp_path / "file").write_text("", encoding="utf-8")
    cache = ReplyCache(tmp_path / "file" / "v.sqlite")
    cache.put("a", 1)
    assert cache.get(["a"]) == {}
    assert len(cache) == 0
    assert caplog.text.count("not kept") == 1


def test_threads_and_pickle(tmp_path: Path) -> None:
    cache = ReplyCache(tmp_path / "v.sqlite")
    copies = [cache, pickle.loads(pickle.dumps(cache))]  # noqa: S301 - our own

    def fill(number: int) -> None:
        for place in range(50):
            copies[number % 2].put(f"{number} {place}", place)

    threads = [threading.Thread(target=fill, args=(number,)) for number in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(cache) == 200


def test_many_open_a_new_file_at_once(tmp_path: Path) -> None:
    for attempt in range(20):
        path = tmp_path / str(attempt) / "v.sqlite"
        copies = [ReplyCache(path) for _ in range(4)]
        threads = [threading.Thread(target=one.put, args=(str(id(one)), 1)) for one in copies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(ReplyCache(path)) == 4
