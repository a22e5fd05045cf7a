"""Models on this machine; the judges test the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.local_model import LocalModel


def test_the_identity_of_a_folder_is_its_content(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}", encoding="utf-8")
        (tmp_path / name / "README.md").write_text(name, encoding="utf-8")
    one, two = (LocalModel(tmp_path / name, kind="causal").identity() for name in ("one", "two"))
    assert one == two
    (tmp_path / "two" / "model.safetensors").write_bytes(b"x")
    assert LocalModel(tmp_path / "two", kind="causal").identity() != one


def test_the_identity_of_a_name() -> None:
    assert LocalModel("a/b", kind="causal", revision="v1").identity() == "a/b@v1"
    assert LocalModel("a/b", kind="causal").short_name == "b"


def test_what_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="kind"):
        LocalModel("x", kind="other")
    with pytest.raises(InvalidInputError, match="cannot be loaded"):
        LocalModel(tmp_path, kind="classifier").load()
