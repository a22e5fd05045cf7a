from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from kgneg.core import cache as module
from kgneg.core.cache import ArtefactCache, MemoryCache, content_key
from kgneg.core.storage import read_tensors, write_tensors

TENSORS = {"vectors": torch.arange(6.0).view(2, 3), "ids": torch.tensor([4, 5])}


class Builder:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> dict[str, torch.Tensor]:
        self.calls += 1
        return {name: tensor.clone() for name, tensor in TENSORS.items()}


def assert_equal(tensors: dict[str, torch.Tensor] | None) -> None:
    assert tensors is not None
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)


# Keys


def test_equal_contents_have_equal_keys() -> None:
    rows = torch.arange(6.0)
    assert content_key(rows.view(2, 3), {"b": 1, "a": [2, "x"]}) == content_key(
        torch.arange(6.0).view(3, 2).reshape(2, 3), {"a": [2, "x"], "b": 1}
    )
    assert content_key(rows.view(2, 3).t()) == content_key(rows.view(2, 3).t().contiguous())


def test_other_contents_have_other_keys() -> None:
    contents: list[tuple[object, ...]] = [
        (torch.zeros(2, 3),),
        (torch.zeros(3, 2),),
        (torch.zeros(6),),
        (torch.zeros(2, 3, dtype=torch.int32),),
        (torch.zeros(2, 3, dtype=torch.float64),),
        (torch.zeros(0, 3),),
        (torch.zeros(0, 4),),
        (torch.tensor(0.0),),
        (torch.tensor([0.0]),),
        (torch.tensor([1.0]),),
        (torch.tensor([True, False]),),
        (torch.zeros(2), torch.zeros(1, 3)),
        (["ab", "c"],),
        (["a", "bc"],),
        ("ab", "c"),
        ("a", "bc"),
        ("1",),
        (1,),
        (None,),
        (),
    ]
    keys = {content_key(*parts) for parts in contents}
    assert len(keys) == len(contents)
    assert all(len(key) == 32 and set(key) <= set("0123456789abcdef") for key in keys)


def test_keys_are_the_same_in_every_process() -> None:
    code = (
        "import torch; from kgneg.core.cache import content_key; print(content_key(torch.ones(3), {'a': 'é', 'b': 2}))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "12"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == content_key(torch.ones(3), {"b": 2, "a": "é"})


def test_what_json_cannot_spell_is_refused() -> None:
    with pytest.raises(TypeError):
        content_key(object())


# On disk


def test_built_once(tmp_path: Path) -> None:
    build = Builder()
    for _ in range(3):
        assert_equal(ArtefactCache(tmp_path).get("vectors", content_key("a"), build))
    assert build.calls == 1
    assert_equal(ArtefactCache(tmp_path).get("vectors", content_key("b"), build))
    assert_equal(ArtefactCache(tmp_path).get("pools", content_key("a"), build))
    assert build.calls == 3
    kept = sorted(path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*") if path.is_file())
    assert kept == ["pools", "vectors", "vectors"]  # and no temporary file


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def other_content(path: Path) -> None:
    _, metadata = read_tensors(path)
    write_tensors(path, {**TENSORS, "ids": torch.tensor([4, 6])}, metadata)


def no_checksum(path: Path) -> None:
    write_tensors(path, TENSORS, {})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "is damaged and is built again"),
        (empty, "is damaged and is built again"),
        (flip, "does not match its checksum"),
        (other_content, "does not match its checksum"),
        (no_checksum, "does not match its checksum"),
    ],
)
def test_damaged_files_are_built_again(
    damage: Callable[[Path], None], message: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache, key, build = ArtefactCache(tmp_path), content_key("a"), Builder()
    cache.get("vectors", key, build)
    damage(cache.path("vectors", key))
    with caplog.at_level(logging.WARNING, logger="kgneg"):
        assert cache.load("vectors", key) is None
        assert message in caplog.text
        assert_equal(cache.get("vectors", key, build))
    assert build.calls == 2
    caplog.clear()
    assert_equal(cache.get("vectors", key, build))  # it was repaired
    assert build.calls == 2
    assert not caplog.records


def test_missing_files_are_no_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert ArtefactCache(tmp_path / "new").load("vectors", content_key("a")) is None
    assert not caplog.records
    assert not (tmp_path / "new").exists()


def test_folder_that_cannot_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file stands where the folder should be: results are made, and not kept."""
    (tmp_path / "file").write_text("")
    cache, build = ArtefactCache(tmp_path / "file"), Builder()
    for _ in range(2):
        assert_equal(cache.get("vectors", content_key("a"), build))
    assert build.calls == 2
    assert len(caplog.records) == 2
    assert "KGNEG_HOME" in caplog.text


def test_disk_that_fills_up(tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_tensors", full)
    assert_equal(ArtefactCache(tmp_path).get("vectors", content_key("a"), Builder()))
    assert "No space left on device" in caplog.text


def test_errors_of_the_builder_pass(tmp_path: Path) -> None:
    def broken() -> dict[str, torch.Tensor]:
        raise RuntimeError("no model")

    with pytest.raises(RuntimeError, match="no model"):
        ArtefactCache(tmp_path).get("vectors", content_key("a"), broken)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_default_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KGNEG_HOME", str(tmp_path / "home"))
    cache = ArtefactCache()
    assert cache.root == tmp_path / "home"
    cache.get("vectors", content_key("a"), Builder())
    assert list((tmp_path / "home").rglob("*.safetensors"))
    monkeypatch.delenv("KGNEG_HOME")
    monkeypatch.setenv("PYSTOW_HOME", str(tmp_path / "pystow"))
    assert ArtefactCache().root == tmp_path / "pystow" / "kgneg"
    assert not (tmp_path / "pystow" / "kgneg").exists()  # before anything is kept


# In memory


def test_least_recently_used_is_forgotten() -> None:
    cache, built = MemoryCache(2), []

    def get(key: str) -> object:
        return cache.get(key, lambda: built.append(key) or object())

    first = get("a")
    get("b")
    assert get("a") is first  # now "b" is the oldest
    get("c")
    assert get("a") is first
    get("b")
    assert built == ["a", "b", "c", "b"]
    cache.clear()
    assert get("a") is not first


def test_results_that_are_false_count() -> None:
    cache, built = MemoryCache(), []
    for _ in range(2):
        assert cache.get("a", lambda: built.append(1)) is None
    assert built == [1]


def test_nothing_is_kept_of_a_failure() -> None:
    cache = MemoryCache(1)
    with pytest.raises(ZeroDivisionError):
        cache.get("a", lambda: 1 // 0)
    assert cache.get("a", lambda: 2) == 2
