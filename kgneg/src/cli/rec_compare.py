"""``kgneg rec compare``."""

from __future__ import annotations

from typing import Any

import click

from kgneg.cli.compare import Seeds
from kgneg.cli.options import usage_errors
from kgneg.cli.rec_options import (
    DATA_HELP,
    Lengths,
    data_options,
    data_settings,
    given,
    held,
    part_options,
    source_options,
    sources_of,
    training_options,
    training_values,
)

__all__ = ["compare_command"]


@click.command("compare")
@click.option("--data", metavar="FILE|NAME", default="umls", show_default=True, help=DATA_HELP)
@click.option(
    "--model",
    "models",
    multiple=True,
    required=True,
    metavar="NAME[:PRESET][:KEY=VALUE,...]",
    help="A recommender; give it several times. The others are compared with the first.",
)
@click.option("--out", required=True, metavar="FOLDER", help="Where results.json, results.csv and report.html go.")
@click.option("--seeds", type=Seeds(), default="5", show_default=True, help="How many seeds, or a list: 7,8,9.")
@click.option("--resplit", is_flag=True, help="A split of its own for each seed, from the same seed.")
@click.option("--no-floors", is_flag=True, help="Do not add popularity and two-hop.")
@click.option(
    "--metric",
    metavar="NAME@K",
    help="What is compared, and decides when training stops unless --model has a metric.  [default: recall@20]",
)
@click.option(
    "--k", "ks", type=Lengths(), default="10,20,50", show_default=True, help="Lengths of the lists that are judged."
)
@training_options
@source_options
@part_options
@data_options
@click.option("--device", help="Where to train: auto, cpu, cuda, cuda:1.  [default: auto]")
@click.option("--fresh", is_flag=True, help="Do finished runs again instead of taking them up.")
@click.option("--quiet", is_flag=True, help="No progress bar and no table.")
def compare_command(*, out: str, fresh: bool, quiet: bool, **options: Any) -> None:
    """Fit several recommenders on equal splits with equal seeds, and say which differences are more than luck.

    Finished runs are kept in the folder; after an interruption the same command goes on where it stood.

    \b
    kgneg rec compare --data ratings.tsv --model buir-nb --model lightgcn --model ease --seeds 5 --out out
    kgneg rec compare --model lightgcn --model lightgcn:negatives=popularity --epochs 50 --out out

    --set, --epochs and its like are for all models that have the option. An option of one model stands in --model; put
    a value that has commas into double quotes: 'lightgcn:negatives="mixture:graph=0.3,uniform=0.7"'.
    """  # noqa: D301
    from kgneg.compare.runs import RunFailedError
    from kgneg.recommending import ComparisonPlan, compare_recommenders
    from kgneg.report import render_text

    with usage_errors():
        plan = ComparisonPlan(
            options["models"],
            data_settings(options["data"], options),
            shared=training_values(options),
            floors=not options["no_floors"],
            sources=sources_of(options),
            **given(options, ("seeds", "ks", "metric", "resplit", "device")),
        )
    with held(out) as folder:
        try:
            with usage_errors():
                result = compare_recommenders(
                    plan, runs=folder / "runs", fresh=fresh, progress=False if quiet else None
                )
        except RunFailedError as error:
            raise click.ClickException(str(error)) from error
        written = result.write(folder)
    if quiet:
        return
    click.echo(render_text(result.table()))
    several = f"mean \N{PLUS-MINUS SIGN} standard deviation over {len(plan.seeds)} seeds"
    click.echo(
        f"\n{plan.metric}: {several if len(plan.seeds) > 1 else 'of one seed'}; difference to {result.models[0]}; p: "
        f"how likely such a difference would be by chance.\n{written['report.html']}"
    )
