"""``kgneg compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kgneg.cli.options import text_options, usage_errors

__all__ = ["Seeds", "compare_command"]


class Seeds(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A number of seeds, or seeds separated by commas."""

    name = "seeds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return the seeds.

        :param value: the text
        :param param: the option
        :param ctx: the context
        :returns: ``0, 1, ...`` for a number; the seeds of a list
        """
        if isinstance(value, tuple):
            return value
        parts = str(value).split(",")
        if not all(part.strip().isdecimal() for part in parts):
            self.fail(f"{value!r} is neither a number of seeds nor a list such as 7,8,9", param, ctx)
        numbers = tuple(int(part) for part in parts)
        if numbers == (0,):
            self.fail("at least one seed is needed", param, ctx)
        return numbers if len(numbers) > 1 else tuple(range(numbers[0]))


@click.command("compare")
@click.option(
    "--dataset", metavar="NAME|PATH", help="A graph known by name, a folder, or an RDF file (split 8 : 1 : 1)."
)
@click.option("--train", metavar="FILE", help="Training triples, instead of --dataset.")
@click.option("--valid", metavar="FILE", help="Validation triples.")
@click.option("--test", metavar="FILE", help="Test triples.")
@click.option(
    "--sampler",
    "samplers",
    multiple=True,
    required=True,
    metavar="NAME[:KEY=VALUE,...]",
    help="A sampler, with options if you like; give it several times. The first is the baseline.",
)
@click.option(
    "--model", default="transe", show_default=True, help="A model of PyKEEN, such as distmult, complex, rotate."
)
@click.option("--loss", help="A loss of PyKEEN.  [default: the model's own]")
@click.option(
    "--loop",
    default="auto",
    show_default=True,
    help="Training loop: slcwa, kgneg, or auto, which is kgneg for samplers that look at the model.",
)
@click.option("--epochs", type=int, default=50, show_default=True, help="Epochs of each run.")
@click.option("--seeds", type=Seeds(), default="3", show_default=True, help="How many seeds, or a list: 7,8,9.")
@click.option("--negatives", type=int, default=10, show_default=True, help="Negatives per positive.")
@click.option("--dim", type=int, help="Dimension of the embeddings.  [default: 64]")
@click.option("--lr", type=float, default=0.01, show_default=True, help="Learning rate of Adam.")
@click.option("--batch-size", type=int, default=256, show_default=True, help="Positives per step.")
@click.option("--device", default="auto", show_default=True, help="Where to train: auto, cpu, cuda, cuda:1.")
@text_options
@click.option("--out", required=True, metavar="FOLDER", help="Where results.json, results.csv and report.html go.")
@click.option("--fresh", is_flag=True, help="Do finished runs again instead of taking them up.")
@click.option("--quiet", is_flag=True, help="No progress bar and no table.")
def compare_command(
    *, lr: float, out: str, fresh: bool, quiet: bool, samplers: tuple[str, ...], **options: Any
) -> None:
    """Train a model with several samplers and compare ranks and false negatives.

    Only the sampler differs between runs with the same seed. Finished runs are kept in the folder; after an
    interruption the same command goes on where it stood.

    \b
    kgneg compare --dataset umls --sampler basic --sampler lemon --out out
    kgneg compare --dataset my-graph --sampler typed --sampler lemon:n_clusters=50 --seeds 5 --out out

    A sampler option is read as JSON, or as text. Put a value that has commas into double quotes:
    'mixture:components="typed=0.5,lemon=0.5"'. "kgneg samplers" lists samplers and options.
    """  # noqa: D301
    from kgneg.compare import CompareSettings, UnknownNameError, compare
    from kgneg.report import render_text

    with usage_errors():
        settings = CompareSettings(samplers=samplers, learning_rate=lr, **options)
    folder = Path(out)
    _check_folder(folder)
    with usage_errors(UnknownNameError):
        result = compare(settings, runs=folder / "runs", fresh=fresh, progress=False if quiet else None)
    written = result.write(folder)
    if quiet:
        return
    click.echo(render_text(result.table()))
    several = f"mean \N{PLUS-MINUS SIGN} standard deviation over {len(settings.seeds)} seeds"
    click.echo(
        f"\nMRR and difference: {several if len(settings.seeds) > 1 else 'of one seed'}; "
        f"known and held out: true triples per 10,000 negatives.\n{written['report.html']}"
    )


def _check_folder(folder: Path) -> None:
    """Make the folder now, so that it does not fail after hours of training."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise click.UsageError(f"--out {folder} is a file, expected a folder") from error
