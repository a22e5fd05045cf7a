from __future__ import annotations

import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from kgneg.cli import main
from kgneg.core.errors import InvalidInputError


def kgneg_command(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "kgneg.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def test_help_is_quick() -> None:
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        done = kgneg_command("--help")
        seconds.append(time.perf_counter() - begin)
        assert done.returncode == 0
        assert done.stderr == ""
    assert min(seconds) < 0.5
    assert done.stdout.startswith("Usage: kgneg ")
    for command in ("compare", "rec", "sample", "samplers"):
        assert f"  {command} " in done.stdout


@pytest.mark.parametrize("command", ["compare", "rec", "sample", "samplers"])
def test_help_of_commands(command: str) -> None:
    done = CliRunner().invoke(main, [command, "--help"])
    assert done.exit_code == 0
    assert done.output.startswith(f"Usage: main {command}")


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("command", [None, *main.commands.values()], ids=lambda one: one.name if one else "kgneg")  # type: ignore[attr-defined]
def test_examples_in_the_help(command: click.Command | None, width: int) -> None:
    arguments = [] if command is None else [command.name]
    done = CliRunner().invoke(main, [*arguments, "--help"], terminal_width=width)
    assert done.exit_code == 0
    assert "\\b" not in done.output
    assert "\b" not in done.output
    text = (command or main).help or ""
    examples = [line.strip() for line in text.splitlines() if line.strip().startswith("kgneg ")]
    assert bool(examples) == (arguments in (["audit"], ["compare"], ["distill"], ["sample"], ["study"]))
    lines = [line.strip() for line in done.output.splitlines()]
    for example in examples:
        assert example in lines


def test_version() -> None:
    done = kgneg_command("--version")
    assert (done.returncode, done.stdout) == (0, f"kgneg {version('kgneg')}\n")


@pytest.mark.parametrize("arguments", [("nothing",), ("compare",), ("sample", "--negatives", "0"), ("--nope",)])
def test_usage_errors(arguments: tuple[str, ...]) -> None:
    done = kgneg_command(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("Error: ")


def test_a_failure_is_one_line(tmp_path: Path) -> None:
    arguments = (
        "sample",
        "--triples",
        str(tmp_path / "none.tsv"),
        "--sampler",
        "typed",
        "--out",
        str(tmp_path / "o.tsv"),
    )
    done = kgneg_command(*arguments)
    assert done.returncode == 1
    assert (done.stdout, done.stderr) == ("", f"Error: {tmp_path / 'none.tsv'}: no such file\n")
    shown = kgneg_command("--debug", *arguments)
    assert shown.returncode == 1
    assert "Traceback" in shown.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (InvalidInputError("bad\n  input"), 1, "Error: bad input\n"),
        (FileNotFoundError(2, "No such file", "a.tsv"), 1, "Error: a.tsv: No such file\n"),
        (OSError("disk"), 1, "Error: OSError: disk (kgneg --debug ... shows where)\n"),
        (ZeroDivisionError(), 1, "Error: ZeroDivisionError: no message (kgneg --debug ... shows where)\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_and_exit_codes(error: BaseException, code: int, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setitem(main.commands, "fail", click.Command("fail", callback=fail))  # type: ignore[attr-defined]
    done = CliRunner().invoke(main, ["fail"])
    assert (done.exit_code, done.stdout, done.stderr) == (code, "", message)
    if isinstance(error, Exception):
        assert CliRunner().invoke(main, ["--debug", "fail"]).exception is error


def test_warnings_are_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    def warn() -> None:
        import logging

        logging.getLogger("kgneg.somewhere").warning("two\nlines of %s", "text")
        logging.getLogger("kgneg.somewhere").info("silent")

    monkeypatch.setitem(main.commands, "warn", click.Command("warn", callback=warn))  # type: ignore[attr-defined]
    for _ in range(2):  # a second call does not say it twice
        done = CliRunner().invoke(main, ["warn"])
        assert (done.exit_code, done.stdout, done.stderr) == (0, "", "warning: two lines of text\n")
