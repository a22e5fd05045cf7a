"""``kgneg qa``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kgneg.cli.options import usage_errors
from kgneg.cli.qa_build import build_command
from kgneg.cli.qa_train import train_command

__all__ = ["qa_command"]


@click.group("qa")
def qa_command() -> None:
    """Make multiple-choice questions from a knowledge base, learn from them, and answer benchmarks."""


qa_command.add_command(build_command)
qa_command.add_command(train_command)


@qa_command.command("evaluate")
@click.argument("scorer", metavar="SCORER")
@click.option(
    "--on",
    multiple=True,
    metavar="NAME=FILE",
    help="A benchmark: anli, csqa, piqa, siqa, winogrande, or questions for a file that build has written. "
    "Or a folder with files of benchmarks, named such as commonsenseqa_dev.jsonl.gz.",
)
@click.option(
    "--scorer",
    "kind",
    type=click.Choice(["bi-encoder", "masked"]),
    help="What a model that was not trained here is: a bi-encoder (default) or a masked language model.",
)
@click.option(
    "--pairing", type=click.Choice(["answer", "statement"]), help="Of a bi-encoder that was not trained here."
)
@click.option("--format", "form", type=click.Choice(["text", "markdown", "json"]), default="text", show_default=True)
@click.option("--report", metavar="FILE", help="Write a page there (HTML).")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def evaluate_command(
    *,
    scorer: str,
    on: tuple[str, ...],
    kind: str | None,
    pairing: str | None,
    form: str,
    report: str | None,
    quiet: bool,
) -> None:
    """Say how many questions of benchmarks SCORER answers rightly without having learnt from them.

    SCORER is a folder that train has written, or a model: minilm, lexical, or its name or folder.

    \b
    kgneg qa evaluate scorer --on qa_dev
    kgneg qa evaluate minilm --on anli=anli.jsonl --on csqa=csqa.jsonl.gz
    kgneg qa evaluate bert-base-uncased --scorer masked --on siqa=siqa.jsonl
    """  # noqa: D301
    import json

    from kgneg.core.errors import InvalidInputError
    from kgneg.core.storage import atomic_path
    from kgneg.qa import evaluate_zero_shot
    from kgneg.qa.page import build_page
    from kgneg.report import render_html, render_text

    with usage_errors(InvalidInputError, OSError):
        if report is not None and Path(report).is_dir():
            raise InvalidInputError(f"{report} is a folder, --report needs a file")
        sets = _sets(on)
        found, record = _scorer(scorer, kind, pairing, not quiet)
        result = evaluate_zero_shot(found, sets)
        if report is not None:
            with atomic_path(report) as path:
                path.write_text(render_html(build_page(result, scorer, record)), encoding="utf-8")
    if form == "json":
        click.echo(json.dumps(result.as_dict()))
    else:
        click.echo(result.markdown() if form == "markdown" else render_text(result.table()), nl=form == "text")
    if report is not None:
        click.echo(f"the page is in {report}", err=True)


def _sets(given: tuple[str, ...]) -> dict[str, Path]:
    """Return the files of the benchmarks that are named."""
    from kgneg.qa import BENCHMARKS, find_benchmarks

    found: dict[str, Path] = {}
    if not given:
        raise click.UsageError("give at least one benchmark: --on csqa=FILE, or --on FOLDER")
    for one in given:
        name, mark, file = one.partition("=")
        fresh = {name: Path(file)} if mark and name in (*BENCHMARKS, "questions") else find_benchmarks(one)
        twice = sorted(set(fresh) & set(found))
        if twice:
            raise click.UsageError(f"--on {one}: {twice[0]} is there twice")
        found |= fresh
    return found


def _scorer(name: str, kind: str | None, pairing: str | None, progress: bool) -> tuple[Any, dict[str, Any] | None]:
    from kgneg.core.errors import InvalidInputError
    from kgneg.qa import load_scorer, make_scorer
    from kgneg.qa.storage import is_stored

    if is_stored(name):
        odd = [f"--{one}" for one, value in (("scorer", kind), ("pairing", pairing)) if value is not None]
        if odd:
            raise InvalidInputError(f"{name} is a trained scorer, which has its own: leave {' and '.join(odd)} out")
        stored = load_scorer(name, progress=progress)
        return stored.scorer, stored.record
    if kind == "masked" and pairing is not None:
        raise InvalidInputError("--pairing is for bi-encoders: leave it out")
    options: dict[str, Any] = {} if pairing is None else {"pairing": pairing}
    return make_scorer(kind or "bi-encoder", name, progress=progress, **options), None
