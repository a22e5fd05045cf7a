"""The loop is found by name, whatever is imported first."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

ORDERS = [
    "import pykeen.models",
    "import pykeen.training",
    "import kgneg.integrations.pykeen",
    "import kgneg.integrations.pykeen.training",
    "",
]
CHECK = """
from pykeen.pipeline import pipeline
from pykeen.training import training_loop_resolver
found = training_loop_resolver.lookup("kgneg")
from kgneg.integrations.pykeen import KgnegTrainingLoop
assert found is KgnegTrainingLoop, found
from class_resolver.contrib.torch import optimizer_resolver
assert optimizer_resolver.lookup("rowadam").__name__ == "RowAdam"
import sys
assert not [finder for finder in sys.meta_path if type(finder).__module__.startswith("kgneg")]
assert type(sys.modules["pykeen.training"].__spec__.loader).__module__ != "kgneg.integrations.pykeen.registration"
"""


@pytest.mark.slow
def test_every_order_of_imports() -> None:
    running = [
        subprocess.Popen(
            [sys.executable, "-W", "error::UserWarning", "-c", f"{order}\n{CHECK}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=dict(os.environ),
        )
        for order in ORDERS
    ]
    failed = {}
    for order, process in zip(ORDERS, running, strict=True):
        _, errors = process.communicate(timeout=300)
        if process.returncode:
            failed[order] = errors.splitlines()[-1]
    assert failed == {}
