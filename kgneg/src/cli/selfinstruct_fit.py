"""``kgneg selfinstruct fit``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kgneg.cli.options import usage_errors

__all__ = ["fit_command"]

_BLOCK = 1 << 16  # rows that are read at once


@click.command("fit")
@click.option("--true", "positives", required=True, metavar="FILE", help="Triples that people found true.")
@click.option("--false", "negatives", required=True, metavar="FILE", help="Triples that people found false.")
@click.option("--pool", metavar="FILE", help="Candidates of unknown truth; judges are asked about a sample.")
@click.option(
    "--judge",
    "judges",
    multiple=True,
    metavar="KIND:VALUE",
    help="recorded:FILE, recorded:FILE#COLUMN, nli:MODEL, causal:MODEL, chat:MODEL or chat:MODEL@ADDRESS; several "
    "times if you like. The key of a chat judge is read from OPENAI_API_KEY.",
)
@click.option("--known", metavar="FILE", help="Known triples: candidates that are among them are dropped at once.")
@click.option(
    "--templates",
    default="statements",
    show_default=True,
    metavar="NAME",
    help="How triples become sentences, or a file.",
)
@click.option("--language", default="en", show_default=True, help="Of the templates: en or zh.")
@click.option(
    "--encoder", default="auto", show_default=True, metavar="NAME", help="Of the critic, or none for no critic."
)
@click.option("--target", type=float, default=0.9, show_default=True, help="The share that is promised.")
@click.option(
    "--goal", type=click.Choice(["precision", "recall"]), default="precision", show_default=True, help="Of what."
)
@click.option("--level", type=float, default=0.95, show_default=True, help="The confidence of the promise.")
@click.option(
    "--sample",
    type=click.Choice(["heads", "triples"]),
    default="heads",
    show_default=True,
    help="Of what the checked triples are a random sample: of heads, or of the very candidates.",
)
@click.option("--drop", type=float, default=0.5, show_default=True, help="From which P(true) on to drop.")
@click.option("--judged", type=int, default=1000, show_default=True, help="Rows of the pool that judges see.")
@click.option("--critic-only", is_flag=True, help="Judges teach the critic, which then decides alone: for large runs.")
@click.option("--tokens", type=click.IntRange(1), help="What chat judges may spend, over all runs of this filter.")
@click.option("--seed", type=int, default=0, show_default=True, help="The seed of everything.")
@click.option("--out", required=True, metavar="FOLDER", help="Where the filter goes.")
@click.option("--quiet", is_flag=True, help="No progress bar and no report.")
def fit_command(
    *,
    positives: str,
    negatives: str,
    pool: str | None,
    out: str,
    encoder: str,
    critic_only: bool,
    quiet: bool,
    **given: Any,
) -> None:
    """Learn from checked triples, and from judges, which candidate negatives are clearly false.

    Files of triples are TSV, with or without a line that names the columns, or Parquet. The folder is new, empty, or
    that of an earlier filter.

    \b
    kgneg selfinstruct fit --true true.tsv --false false.tsv --judge recorded:verdicts.tsv#chatgpt --out filter
    kgneg selfinstruct fit --true true.tsv --false false.tsv --pool pool.tsv --judge nli:MODEL --critic-only --out f
    kgneg selfinstruct run candidates.tsv --filter filter --out run
    """  # noqa: D301
    from kgneg.core.errors import InvalidInputError, MissingExtraError
    from kgneg.selfinstruct.claim import claim
    from kgneg.selfinstruct.critic import Critic
    from kgneg.selfinstruct.filter import SelfInstructFilter
    from kgneg.selfinstruct.saved import SavedFilter
    from kgneg.selfinstruct.verbalizer import Verbalizer

    choices = {name: given.pop(name) for name in ("judges", "known", "templates", "language", "tokens")}
    choices["judges"] = list(choices["judges"])
    with usage_errors(InvalidInputError, MissingExtraError):
        true, false = _read(positives), _read(negatives)
        unknown = None if pool is None else _read(pool)
        verbalizer = Verbalizer.load(choices["templates"], language=choices["language"])
        critic = None
        if encoder != "none":
            critic = Critic(encoder=encoder, verbalizer=verbalizer, progress=not quiet, seed=given["seed"])
        claim(out, "filter", sign="filter.json")  # before anything is asked, which may be dear
        parts: dict[str, Any] = SavedFilter.make(choices, Path(out) / "chat")
        made = SelfInstructFilter(critic=critic, ask=not critic_only, **parts, **given)
        made.fit(true, false, unknown)
        SavedFilter.forget(out)  # the judges of an older filter there are not those of this one
        made.save(out)
        SavedFilter.remember(out, choices)
    if not quiet:
        for name, value in made.report.items():
            click.echo(f"{name}: {value}")
        click.echo(f"the filter is in {out}", err=True)


def _read(path: str) -> Any:
    from kgneg.core.errors import InvalidInputError
    from kgneg.selfinstruct.candidates import Candidates
    from kgneg.selfinstruct.tables import TRIPLE, read_tables

    if not Path(path).is_file():
        raise InvalidInputError(f"there is no file {path}")
    columns: list[list[str]] = [[], [], []]
    for table in read_tables([Path(path)], _BLOCK):
        for column, name in zip(columns, TRIPLE, strict=True):
            column += table.column(name).to_pylist()
    if not columns[0]:
        raise InvalidInputError(f"{path} has no triples. Write one in each line: head, relation and tail.")
    return Candidates(*columns)
