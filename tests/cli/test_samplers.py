from __future__ import annotations

import json

from click.testing import CliRunner

from kgneg.cli import main
from kgneg.compare import describe_samplers


def test_list() -> None:
    done = CliRunner().invoke(main, ["samplers"])
    assert done.exit_code == 0
    for sampler in describe_samplers():
        assert f"\n{sampler['name']}  (" in "\n" + done.output
        assert f"    Source: {sampler['citation']}\n" in done.output
        for option in sampler["options"]:
            assert f"    {option['name']} = " in done.output
    assert "path = required" in done.output
    assert max(map(len, done.output.splitlines())) <= 100


def test_json() -> None:
    done = CliRunner().invoke(main, ["samplers", "--json"])
    assert json.loads(done.output) == describe_samplers()
