"""``kgneg rec``: train, evaluate, ask and compare recommenders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kgneg.cli.options import usage_errors
from kgneg.cli.rec_compare import compare_command
from kgneg.cli.rec_options import (
    DATA_HELP,
    Lengths,
    data_options,
    data_settings,
    given,
    given_data,
    held,
    part_options,
    source_options,
    sources_of,
    training_options,
    training_values,
)
from kgneg.cli.rec_use import evaluate_command, recommend_command, similar_command

if TYPE_CHECKING:
    from kgneg.recommending import TrainingPlan, TrainResult

__all__ = ["rec_command"]

_DEFAULT = "umls"


@click.group("rec")
def rec_command() -> None:
    """Recommend items to users: BUIR, which needs no negatives, and what to compare it with."""


@rec_command.command("train")
@click.option("--data", metavar="FILE|NAME", help=f"{DATA_HELP}  [default: {_DEFAULT}]")
@click.option("--model", metavar="NAME[:PRESET][:KEY=VALUE,...]", help="The recommender.  [default: buir-nb]")
@click.option(
    "--config", metavar="FILE", help="best.json of a study or config.json of a training, instead of --data and --model."
)
@click.option("--out", required=True, metavar="FOLDER", help="Where the model, results and report.html go.")
@training_options
@click.option("--metric", metavar="NAME@K", help="What decides when to stop.  [default: recall@20]")
@click.option(
    "--negatives",
    metavar="KIND",
    help="For models that draw them: uniform, popularity, dynamic, text, graph, mixture:graph=0.3,uniform=0.7.",
)
@source_options
@part_options
@data_options
@click.option("--k", "ks", type=Lengths(), help="Lengths of the lists that are judged.  [default: 10,20,50]")
@click.option("--seed", type=int, help="The seed of everything but the split.  [default: 0]")
@click.option("--device", help="Where to train: auto, cpu, cuda, cuda:1.  [default: auto]")
@click.option("--fresh", is_flag=True, help="Begin anew, and replace what is in the folder.")
@click.option("--quiet", is_flag=True, help="No progress bar and no table.")
def train_command(*, out: str, fresh: bool, quiet: bool, **options: Any) -> None:
    """Train a recommender, and judge it on validation and test pairs.

    After an interruption, even by a kill, the same command goes on where it was; the result is the same.

    \b
    kgneg rec train --data ratings.tsv --model buir-nb --out out
    kgneg rec train --data ml-100k/u.data --min-rating 4 --k-core 5 --model buir-nb:paper --out out
    kgneg rec train --model lightgcn --negatives popularity --set negatives.alpha=0.5 --epochs 50 --out out

    FOLDER then has the folder model, history.csv, results.json, results.csv, report.html and config.json. A folder that
    has another model is refused unless --fresh is given. Without --data, users are the concepts of the knowledge graph
    UMLS and items what is said of them.
    """  # noqa: D301
    with usage_errors():
        plan = _plan(options)
    from kgneg.recommending import train_recommender

    with held(out) as folder:
        with usage_errors():
            result = train_recommender(plan, folder, fresh=fresh, progress=False if quiet else None)
        _finish(result, folder, quiet=quiet)


def _plan(options: dict[str, Any]) -> TrainingPlan:
    """Return what is trained; a file gives what the command does not."""
    from dataclasses import replace

    from kgneg.recommending import ModelChoice, TrainingPlan

    more = training_values(options) | given(options, ("metric", "negatives"))
    rest = given(options, ("ks", "seed", "device"))
    if options["config"] is not None:
        refused = [*given(options, ("data", "model")), *given_data(options)]
        if refused:
            words = ", ".join(f"--{name.replace('_', '-')}" for name in refused)
            raise click.UsageError(f"--config has the model and the data already: leave out {words}")
        plan = TrainingPlan.read(options["config"])
        choice = plan.choice.with_options(more, label=plan.choice.label) if more else plan.choice
        sources = sources_of(options)
        return replace(plan, model=choice, sources=sources if any(vars(sources).values()) else plan.sources, **rest)
    choice = ModelChoice.parse(options["model"] or "buir-nb")
    twice = [name for name in (*more, *rest) if name in choice.options]
    if twice:
        raise click.UsageError(f"{twice[0]} is given twice: in --model and as an option of its own")
    choice = choice.with_options(more, label=choice.label) if more else choice
    return TrainingPlan(
        choice, data_settings(options["data"] or _DEFAULT, options), sources=sources_of(options), **rest
    )


def _finish(result: TrainResult, folder: Path, *, quiet: bool) -> None:
    from kgneg.core.distributed import is_main
    from kgneg.report import render_text

    if not is_main():
        return
    written = result.write(folder)
    if not quiet:
        click.echo(render_text(result.table()))
        click.echo(f"\n{written['model']}\n{written['report.html']}")


@rec_command.command("models")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def models_command(as_json: bool) -> None:
    """List every recommender with its options, presets and source."""
    from kgneg.recommending import describe_models

    found = describe_models()
    if as_json:
        click.echo(json.dumps(found, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False))
        return
    click.echo("\n\n".join(_describe(model) for model in found))


def _describe(model: dict[str, Any]) -> str:
    """Return a model as some lines."""
    marks = [word for word, there in (("trained", model["trained"]), ("draws negatives", model["negatives"])) if there]
    lines = [f"{click.style(model['name'], bold=True)}  ({', '.join(marks) or 'closed form'})"]
    lines.append(click.wrap_text(model["description"], 100, "    ", "    "))
    lines.append(f"    Source: {model['citation']}")
    for preset, values in model["presets"].items():
        spelled = ", ".join(f"{name}={value}" for name, value in values.items())
        lines.append(click.wrap_text(f"    {model['name']}:{preset}  {spelled}", 100, "", "        "))
    for option in model["options"]:
        head = f"    {option['name']} = {json.dumps(option['default'], ensure_ascii=False)}"
        lines.append(click.wrap_text(f"{head}  {option['description']}".rstrip(), 100, "", "        "))
    return "\n".join(lines)


rec_command.add_command(evaluate_command)
rec_command.add_command(recommend_command)
rec_command.add_command(similar_command)
rec_command.add_command(compare_command)
