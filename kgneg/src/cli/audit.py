"""``kgneg audit``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from kgneg.cli.options import text_options, usage_errors

__all__ = ["audit_command"]


@click.command("audit")
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
    help="A sampler, with options if you like; give it several times. MODULE:CLASS or MODULE:FUNCTION is your own.",
)
@click.option("--negatives", type=int, default=32, show_default=True, help="Negatives per positive.")
@click.option("--draws", type=int, default=1_000_000, show_default=True, help="Negatives of each sampler, at least.")
@click.option("--seed", type=int, default=0, show_default=True, help="The seed of everything.")
@click.option("--reference", default="distmult", show_default=True, help="The model of PyKEEN that judges hardness.")
@click.option("--reference-epochs", type=int, help="Epochs of its training.  [default: 5 to 50, by size of the graph]")
@click.option("--reference-dim", type=int, help="Dimension of its embeddings.  [default: 32]")
@click.option(
    "--verified",
    metavar="PATH",
    help="Triples that people have called false, in a file or a folder.  [default: those in the folder of the graph]",
)
@click.option("--examples", type=int, default=10, show_default=True, help="How many of the worst negatives to show.")
@click.option("--device", default="cpu", show_default=True, help="Where to draw: cpu, cuda, cuda:1.")
@text_options
@click.option("--out", required=True, metavar="FOLDER", help="Where results and report.html go.")
@click.option("--quiet", is_flag=True, help="No progress bar and no table.")
def audit_command(*, out: str, quiet: bool, samplers: tuple[str, ...], **options: Any) -> None:
    """Measure what the negatives of samplers are worth, without training with them.

    How many are true: known triples, held-out ones, and an estimate for the rest. How hard they are for a lightly
    trained model, whether they are of the right type, and how diverse. Uniform draws are always shown for comparison.

    \b
    kgneg audit --dataset umls --sampler basic --sampler lemon --out out
    kgneg audit --dataset my-graph --sampler typed --sampler my.module:MySampler:alpha=0.5 --out out

    The same command gives the same results.json and the same CSV files; seconds are in timings.json.
    """  # noqa: D301
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # samplers of the user's own are mostly in modules here
    from kgneg.audit import AuditSettings, audit
    from kgneg.compare import UnknownNameError
    from kgneg.report import render_text

    with usage_errors():
        settings = AuditSettings(samplers=samplers, **options)
    folder = Path(out)
    _check_folder(folder)
    with usage_errors(UnknownNameError):
        result = audit(settings, progress=False if quiet else None)
    written = result.write(folder)
    if quiet:
        return
    click.echo(render_text(result.table()))
    click.echo(f"\nShares in %; held out per 10,000 negatives.\n{written['report.html']}")


def _check_folder(folder: Path) -> None:
    """Make the folder now, so that it does not fail after the work."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise click.UsageError(f"--out {folder} is a file, expected a folder") from error
