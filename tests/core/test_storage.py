from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import safetensors.torch
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.storage import atomic_path, read_tensors, write_tensors


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down" / "x.safetensors"
    tensors = {
        "ids": torch.arange(12).view(3, 4).t(),  # not contiguous
        "none": torch.empty(0, 3),
        "half": torch.ones(2, dtype=torch.float16),
        "flag": torch.tensor(True),
        "learned": torch.ones(2, requires_grad=True),
    }
    write_tensors(path, tensors, {"one": "1", "text": "a\nb\u00e4"})
    back, metadata = read_tensors(path)
    assert metadata == {"one": "1", "text": "a\nb\u00e4"}
    assert set(back) == set(tensors)
    for name, tensor in tensors.items():
        assert torch.equal(back[name], tensor)
        assert back[name].dtype == tensor.dtype
    assert names(path.parent) == ["x.safetensors"]


def test_a_file_without_metadata(tmp_path: Path) -> None:
    safetensors.torch.save_file({"x": torch.ones(1)}, tmp_path / "x.safetensors")
    assert read_tensors(tmp_path / "x.safetensors")[1] == {}


def test_failure_inside_the_block_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old")

    def fail() -> None:
        with atomic_path(path) as temporary:
            assert temporary.parent == path.parent  # or the last step would not be atomic
            assert temporary != path
            temporary.write_text("half of the n")
            assert path.read_text() == "old"
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        fail()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["x.txt"]


def test_failure_while_writing_tensors_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, {"x": torch.ones(3)}, {})

    def broken(tensors: object, name: Path, metadata: object) -> None:
        Path(name).write_bytes(b"half a file")
        raise OSError("disk full")

    monkeypatch.setattr(safetensors.torch, "save_file", broken)
    with pytest.raises(OSError, match="disk full"):
        write_tensors(path, {"x": torch.zeros(3)}, {})
    assert torch.equal(read_tensors(path)[0]["x"], torch.ones(3))
    assert names(tmp_path) == ["x.safetensors"]


def test_failure_of_the_last_step_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, {"x": torch.ones(3)}, {})

    def broken(self: Path, target: Path) -> None:
        raise PermissionError("no")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", broken)
        with pytest.raises(PermissionError):
            write_tensors(path, {"x": torch.zeros(3)}, {})
    assert torch.equal(read_tensors(path)[0]["x"], torch.ones(3))
    assert names(tmp_path) == ["x.safetensors"]


def test_success_replaces_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    for value in (1, 2):
        write_tensors(path, {"x": torch.tensor(value)}, {"v": str(value)})
    tensors, metadata = read_tensors(path)
    assert (int(tensors["x"]), metadata) == (2, {"v": "2"})


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_are_those_of_an_ordinary_file(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        write_tensors(tmp_path / "x.safetensors", {"x": torch.ones(1)}, {})
        assert os.umask(mask) == mask  # and it was put back
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x.safetensors").stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("damage", ["empty", "text", "short", "one byte", "header"])
def test_damaged_files(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, {"x": torch.arange(100)}, {})
    good = path.read_bytes()
    path.write_bytes(
        {
            "empty": b"",
            "text": b"this is not the file that you are looking for",
            "short": good[: len(good) // 2],
            "one byte": good[:-1],
            "header": b"\xff" * 8 + good[8:],
        }[damage]
    )
    with pytest.raises(InvalidInputError, match=r"x\.safetensors is no complete safetensors file.*write it again"):
        read_tensors(path)


def test_missing_file(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.safetensors", tmp_path):
        with pytest.raises(InvalidInputError, match="there is no file"):
            read_tensors(path)
