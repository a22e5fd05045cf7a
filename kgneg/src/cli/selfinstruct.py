"""``kgneg selfinstruct``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from kgneg.cli.options import NumberOrNone, usage_errors
from kgneg.cli.selfinstruct_fit import fit_command

__all__ = ["selfinstruct_command"]

CommandT = TypeVar("CommandT", bound=Callable[..., Any])
_BACKENDS = ("loky", "threading", "sequential", "ray", "dask")


class _Share(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A part of the shards: ``0/4`` is the first of four."""

    name = "i/n"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Return number and count.

        :param value: the text
        :param param: the option
        :param ctx: the context
        :returns: both
        """
        if isinstance(value, tuple):
            return value
        number, mark, count = str(value).partition("/")
        if not (mark and number.isdecimal() and count.isdecimal() and int(number) < int(count)):
            self.fail(f"{value!r} is no part such as 0/4, which is the first of four, up to 3/4", param, ctx)
        return int(number), int(count)


def _engine_options(command: CommandT) -> CommandT:
    """Add the options about cores and machines."""
    for option in (
        click.option("--quiet", is_flag=True, help="No progress bar and no table."),
        click.option("--address", metavar="HOST:PORT", help="A running Ray or Dask cluster."),
        click.option("--jobs", type=int, default=1, show_default=True, help="How many at once; -1 is one per core."),
        click.option("--backend", type=click.Choice(_BACKENDS), default="loky", show_default=True, help="What runs."),
        click.option(
            "--shard-rows", type=click.IntRange(1), default=100_000, show_default=True, help="Rows per output file."
        ),
    ):
        command = option(command)
    return command


@click.group("selfinstruct")
def selfinstruct_command() -> None:
    """Keep clear negatives, drop those that are likely true, and leave out repetitions, in any number."""


selfinstruct_command.add_command(fit_command)


@selfinstruct_command.command("run")
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option("--filter", "folder", metavar="FOLDER", help="A filter that fit has written.")
@click.option(
    "--judge",
    "judges",
    multiple=True,
    metavar="KIND:VALUE",
    help="With --filter: its judges, if they are elsewhere now.",
)
@click.option("--known", metavar="FILE", help="With --filter: known triples, if they are elsewhere now.")
@click.option("--tokens", type=click.IntRange(1), help="With --filter: what chat judges may spend in all.")
@click.option("--verdicts", metavar="FILE", help="Instead of a filter: a table with head, relation, tail and verdicts.")
@click.option("--column", default="probability", show_default=True, help="The column of the verdicts: P(true).")
@click.option("--keep", type=float, default=0.35, show_default=True, help="With --verdicts: kept up to this P(true).")
@click.option("--drop", type=float, default=0.65, show_default=True, help="With --verdicts: dropped from it on.")
@click.option("--out", required=True, metavar="FOLDER", help="A new folder; the same call goes on after a stop.")
@click.option("--shard", type=_Share(), metavar="I/N", help="Only a part of the shards, for a job of an array.")
@click.option("--kept", metavar="FILE", help="Write the kept negatives there, too, for the sampler given.")
@_engine_options
def run_command(
    *,
    sources: tuple[str, ...],
    folder: str | None,
    judges: tuple[str, ...],
    known: str | None,
    tokens: int | None,
    verdicts: str | None,
    column: str,
    keep: float,
    drop: float,
    out: str,
    kept: str | None,
    quiet: bool,
    **options: Any,
) -> None:
    """Decide about the candidate negatives in SOURCE: TSV or Parquet files, patterns, or folders.

    Each shard becomes a Parquet file with the columns action, score (P(true)) and reason; report.json sums up.

    \b
    kgneg selfinstruct run candidates.tsv --filter filter --out run --jobs 2
    kgneg selfinstruct run data --filter filter --out run --shard 3/16
    kgneg selfinstruct run candidates.tsv --filter filter --out run --backend ray --jobs 64
    kgneg selfinstruct run candidates.tsv --verdicts verdicts.tsv --out run --kept negatives.tsv
    """  # noqa: D301
    from kgneg.core.errors import InvalidInputError, MissingExtraError
    from kgneg.selfinstruct.links import check_kept, write_kept
    from kgneg.selfinstruct.runner import run
    from kgneg.selfinstruct.saved import SavedFilter

    if (folder is None) == (verdicts is None):
        raise click.UsageError("give --filter or --verdicts")
    with usage_errors(InvalidInputError, MissingExtraError):
        if kept is not None:
            check_kept(kept)
        if folder is not None:
            decider: Any = SavedFilter(folder, judges=list(judges) or None, known=known, tokens=tokens)
        else:
            decider = _recorded(verdicts, column, keep, drop)
        report = run(decider, sources, out, progress=False if quiet else None, **options)
        count = write_kept(out, kept) if kept is not None and report.complete else None
    if count == 0:
        remedy = "Fit with a lower --target, with triples of more heads, or with --sample triples if that is so."
        click.echo(
            f"{kept} is empty: no candidate was kept, and the sampler given cannot use it. "
            + ("Raise --keep." if folder is None else remedy),
            err=True,
        )
    if report.unanswered:
        click.echo(
            f"{report.unanswered:,} rows have no answer yet (see the column reason): the same call asks again", err=True
        )
    if quiet:
        return
    actions = ", ".join(f"{count:,} {name}" for name, count in report.actions.items())
    click.echo(f"{out}: {report.finished} of {report.shards} shards, {report.rows:,} rows: {actions}")
    if kept is not None:
        click.echo(kept if report.complete else f"{kept} is written when all shards are finished")


def _recorded(path: Any, column: str, keep: float, drop: float) -> Any:
    from kgneg.selfinstruct.recorded import RecordedJudge
    from kgneg.selfinstruct.threshold import ThresholdDecider

    return ThresholdDecider(RecordedJudge.load(path, column=column), keep=keep, drop=drop)


@selfinstruct_command.command("dedup")
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option("--out", required=True, metavar="FOLDER", help="A new folder for what stays; _removed holds the others.")
@click.option("--rouge-l", type=NumberOrNone(), default=0.7, show_default=True, help="Similar words of tails, or none.")
@click.option("--minhash", type=float, metavar="SIMILARITY", help="Similar words across groups, too, such as 0.8.")
@click.option(
    "--part-rows", type=click.IntRange(1), default=500_000, show_default=True, help="Rows in memory per job, about."
)
@_engine_options
def dedup_command(
    *, sources: tuple[str, ...], out: str, rouge_l: float | None, minhash: float | None, quiet: bool, **options: Any
) -> None:
    """Leave the first of repeated triples in SOURCE: TSV or Parquet files, patterns, or folders.

    Tails are compared within the same head and relation: equal up to case and spaces, or ROUGE-L above --rouge-l.

    \b
    kgneg selfinstruct dedup candidates.tsv --out unique --jobs 2
    kgneg selfinstruct dedup data --out unique --minhash 0.8
    """  # noqa: D301
    from kgneg.core.errors import InvalidInputError, MissingExtraError
    from kgneg.selfinstruct.dedup import Deduplicator
    from kgneg.selfinstruct.dedup_files import deduplicate_files

    with usage_errors(InvalidInputError, MissingExtraError):
        deduplicator = Deduplicator(rouge_l=rouge_l, cosine=None, minhash=minhash)
        counts = deduplicate_files(deduplicator, sources, out, progress=False if quiet else None, **options)
    if not quiet:
        click.echo(f"{out}: " + ", ".join(f"{count:,} {name}" for name, count in counts.items()))
