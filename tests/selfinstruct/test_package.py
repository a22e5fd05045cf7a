"""What the package gives, and what its import costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import kgneg.selfinstruct


@pytest.mark.parametrize("name", kgneg.selfinstruct.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(kgneg.selfinstruct, name) is not None
    assert name in dir(kgneg.selfinstruct)


def test_names_that_are_not_there() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Guess'"):
        _ = kgneg.selfinstruct.Guess


def test_import_is_light() -> None:
    code = (
        "import sys, kgneg.selfinstruct; "
        "print(*{'torch', 'openai', 'transformers', 'pykeen', 'pandas'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_names_need_no_client_or_model() -> None:
    code = (
        "import sys; from kgneg.selfinstruct import *; "
        "print(*{'openai', 'transformers', 'pykeen', 'pandas', 'ray', 'datasketch'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
