"""``kgneg noise``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kgneg.cli.options import usage_errors

if TYPE_CHECKING:
    from kgneg.cleaning import Cleaning

__all__ = ["noise_command"]

_FLAG = "From which probability on to flag; f1 flags for the largest expected F1."


class _Flag(click.ParamType):  # type: ignore[type-arg]
    """``f1`` or a probability."""

    name = "f1|PROBABILITY"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | float:
        """Parse one value.

        :param value: what was written
        :param param: the option
        :param ctx: the context
        :returns: ``"f1"`` or a number
        """
        if value == "f1" or isinstance(value, float):
            return value  # type: ignore[no-any-return]
        try:
            return float(value)
        except ValueError:
            self.fail(f"{value!r} is neither f1 nor a probability.", param, ctx)


@click.group("noise")
def noise_command() -> None:
    """Find positives that hide in one big negative class, and clean the file they are in."""


@noise_command.command("fit")
@click.argument("input", metavar="INPUT")
@click.option("--out", required=True, metavar="FOLDER", help="Where results, review.jsonl and report.html go.")
@click.option(
    "--format",
    default="auto",
    show_default=True,
    help="vectors (CSV, TSV, Parquet), docred, tacred, or auto, which looks at the input.",
)
@click.option("--negative-label", metavar="LABEL", help="The big class.  [default: NA; for tacred no_relation]")
@click.option("--k", type=int, default=30, show_default=True, help="How many neighbours count.")
@click.option(
    "--mode", default="auto", show_default=True, help="intrinsic, extrinsic (learns from --clean rows too), or auto."
)
@click.option("--flag", type=_Flag(), default="f1", show_default=True, help=_FLAG)
@click.option("--prior", type=float, metavar="SHARE", help="The share of negatives that is positive, if known.")
@click.option(
    "--clean",
    metavar="FILE",
    help="Labels known to be right: a table with the columns id and label, or a file in the format of the input.",
)
@click.option("--id", metavar="COLUMN", help="The column of the ids.  [default: id]")
@click.option("--label", metavar="COLUMN", help="The column of the labels.  [default: label]")
@click.option("--group", metavar="COLUMN", help="The column of the groups, never compared within.  [default: group]")
@click.option("--types", metavar="COLUMN", help="The column of the types.  [default: type]")
@click.option(
    "--vector", metavar="COLUMN|PREFIX", help="The vectors: a column of lists, or columns PREFIX0, PREFIX1..."
)
@click.option("--text", metavar="COLUMN", help="A column to show to people.  [default: text]")
@click.option("--encoder", metavar="NAME", help="For text: auto, minilm, lexical, or a sentence-transformers model.")
@click.option("--relations", metavar="FILE", help="For docred: names of relations, JSON.  [default: rel_info.json]")
@click.option("--seed", type=int, default=0, show_default=True, help="The seed of everything.")
@click.option("--device", default="auto", show_default=True, help="Where to compute: auto, cpu, cuda, cuda:1.")
@click.option("--quiet", is_flag=True, help="No progress bar and no table.")
def fit_command(*, out: str, quiet: bool, **options: Any) -> None:
    """Judge the negatives of INPUT: a table of vectors, or JSON like DocRED or TACRED (a file or a folder).

    \b
    kgneg noise fit train.parquet --out found --group document --types pair
    kgneg noise fit train.json --out found --encoder minilm

    FOLDER then has report.html, review.jsonl for annotation tools, summary.json and report.parquet with a line per row.
    The same command gives the same summary.json. Text is encoded shard by shard; after an interruption the same command
    goes on where it was.
    """  # noqa: D301
    from kgneg.cleaning import CleaningSettings, fit_cleaning

    with usage_errors():
        settings = CleaningSettings(**options)
    folder = Path(out)
    _check_folder(folder)
    found = fit_cleaning(settings, progress=False if quiet else None)
    written = found.write(folder)
    if not quiet:
        _show(found)
        click.echo(f"\n{written['report.html']}")


@noise_command.command("apply")
@click.argument("folder", metavar="FOLDER")
@click.argument("input", metavar="INPUT")
@click.option("--out", required=True, metavar="FILE", help="The cleaned copy; a folder if INPUT is one.")
@click.option("--flag", type=_Flag(), help=f"{_FLAG}  [default: as fitted]")
@click.option("--eliminate", type=float, metavar="PROBABILITY", help="Below it, flagged rows are reviewed.")
@click.option("--reannotate", is_flag=True, help="Give flagged rows the label that their neighbours agree on.")
@click.option(
    "--keep-review/--drop-review", default=True, show_default=True, help="Whether negatives to be reviewed stay."
)
@click.option("--quiet", is_flag=True, help="No counts.")
def apply_command(*, folder: str, input: str, out: str, quiet: bool, **options: Any) -> None:
    """Write a copy of INPUT without its hidden positives; INPUT is what kgneg noise fit has judged.

    \b
    kgneg noise apply found train.json --out clean.json
    kgneg noise apply found train.json --out clean.json --flag 0.3 --eliminate 0.6 --reannotate

    Eliminated rows are left out and reannotated ones get the new label. Documents like DocRED get the new labels, and
    pairs that are no negatives any more are listed beside the output, in a file that ends in .ignored.csv.
    """  # noqa: D301
    from kgneg.cleaning import Cleaning

    with usage_errors():
        found = Cleaning.read(folder)
        if Path(out).resolve().parent == Path(folder).resolve() and Path(out).name in found.FILES:
            raise click.UsageError(f"--out {out} is a file of the fit; give another name")
        counts = found.apply(input, out, **options)
    if not quiet:
        click.echo(
            f"kept {counts.kept:,}, eliminated {counts.eliminated:,}, reannotated {counts.reannotated:,}, "
            f"to review {counts.review:,}; {counts.written:,} of {len(found.report):,} rows are left\n{out}"
        )


@noise_command.command("report")
@click.argument("folder", metavar="FOLDER")
@click.option(
    "--gold",
    metavar="FILE",
    help="True labels: a table with the columns id and label, or a file in the format of the input.",
)
@click.option("--quiet", is_flag=True, help="No tables.")
def report_command(*, folder: str, gold: str | None, quiet: bool) -> None:
    """Write report.html and review.jsonl of FOLDER again, with real precision and recall if the truth is known.

    \b
    kgneg noise report found --gold revised.json
    """  # noqa: D301
    from kgneg.cleaning import Cleaning
    from kgneg.report import render_text

    with usage_errors():
        found = Cleaning.read(folder)
        truth = None if gold is None else found.read_gold(gold)
    written = found.write_page(folder, truth)
    if quiet:
        return
    _show(found)
    if truth is not None:
        click.echo(f"\n{render_text(truth.table())}")
    click.echo(f"\n{written['report.html']}")


def _show(found: Cleaning) -> None:
    from kgneg.report import render_text

    click.echo(render_text(found.table()))


def _check_folder(folder: Path) -> None:
    """Make the folder now, so that it does not fail after the work."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise click.UsageError(f"--out {folder} is a file, expected a folder") from error
