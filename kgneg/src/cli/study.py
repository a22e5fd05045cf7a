"""``kgneg study``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kgneg.cli.options import text_options, usage_errors
from kgneg.cli.rec_options import (
    DATA_HELP,
    Lengths,
    data_options,
    data_settings,
    given,
    given_data,
    graph_options,
    sources_of,
)

if TYPE_CHECKING:
    from kgneg.studies import StudyResult
    from kgneg.studies.kinds import StudyKind

__all__ = ["study_command"]

#: Options that are settings of the same name.
_SETTINGS = (
    *("dataset", "train", "valid", "test", "texts", "encoder", "missing_text"),
    *("trials", "optimizer", "training_loop", "search", "startup", "pruner", "prune_every"),
    *("seed", "max_failures", "eval_batch_size", "device"),
)


#: Options that only studies of knowledge graphs have, and such that both kinds have.
_OF_GRAPHS = (
    *("dataset", "train", "samplers", "losses", "missing_text", "optimizer", "training_loop", "eval_batch_size"),
)
_OF_BOTH = ("trials", "search", "startup", "pruner", "prune_every", "seed", "max_failures", "device")
_EPOCHS = {False: 50, True: 100}


@click.command("study")
@click.option(
    "--dataset", metavar="NAME|PATH", help="A graph known by name, a folder, or an RDF file (split 8 : 1 : 1)."
)
@click.option("--train", metavar="FILE", help="Training triples, instead of --dataset.")
@click.option("--valid", metavar="FILE", help="Validation triples, or pairs with --data.")
@click.option("--test", metavar="FILE", help="Test triples, or pairs with --data.")
@click.option("--data", metavar="FILE|NAME", help=f"Search recommenders instead. {DATA_HELP}")
@click.option(
    "--sampler",
    "samplers",
    multiple=True,
    metavar="NAME[:KEY=VALUE,...]",
    help="A sampler to choose from, with options that are fixed; give it several times.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    help="A model of PyKEEN, or a recommender with --data, to choose from.  [default: transe; with --data buir-nb]",
)
@click.option("--loss", "losses", multiple=True, help="A loss of PyKEEN to choose from.  [default: the model's own]")
@click.option("--fix", "fixes", multiple=True, metavar="NAME=VALUE", help="Do not search a parameter.")
@click.option(
    "--range",
    "ranges",
    multiple=True,
    metavar="NAME=LOW:HIGH[:log]|NAME=A,B",
    help="Search a parameter in another range: lr=1e-4:1e-1:log, model.embedding_dim=32:128:32.",
)
@click.option("--space", metavar="FILE", help='A JSON or YAML file with "fix" and "ranges".')
@click.option("--trials", type=int, default=20, show_default=True, help="Trials to finish, over all workers and runs.")
@click.option("--epochs", type=int, help="Epochs of each trial, at most.  [default: 50; with --data 100]")
@click.option("--optimizer", default="adam", show_default=True, help="An optimiser of PyKEEN.")
@click.option("--training-loop", default="slcwa", show_default=True, help="PyKEEN's loop, or one derived from it.")
@click.option("--search", default="tpe", show_default=True, help="How to propose: tpe, which learns, or random.")
@click.option(
    "--startup", type=int, default=10, show_default=True, help="Trials at random, never pruned, to begin with."
)
@click.option("--pruner", default="median", show_default=True, help="Who is given up: median, hyperband, none.")
@click.option("--prune-every", type=int, default=10, show_default=True, help="Epochs between two looks at the score.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the study.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes that share the work.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads of each worker.")
@click.option("--timeout", type=float, metavar="SECONDS", help="Begin no trial after this time.")
@click.option("--max-failures", type=int, help="Trials that may fail by themselves.  [default: as many as --trials]")
@click.option("--eval-batch-size", type=int, default=256, show_default=True, help="Triples that are ranked at once.")
@click.option("--device", default="auto", show_default=True, help="Where to train: auto, cpu, cuda, cuda:1.")
@text_options
@click.option("--metric", metavar="NAME@K", help="With --data: what is searched for.  [default: recall@20]")
@click.option("--k", "ks", type=Lengths(), help="With --data: lengths of the lists.  [default: 10,20,50]")
@graph_options
@data_options
@click.option(
    "--storage",
    metavar="FILE|URL",
    envvar="KGNEG_STUDY_STORAGE",
    help="Where the study is kept: study.log, study.db, postgresql://..., grpc://host:port. Also read from "
    "KGNEG_STUDY_STORAGE.  [default: study.log in the folder]",
)
@click.option("--name", help="Name of the study in the storage.  [default: that of the graph]")
@click.option("--out", metavar="FOLDER", help="Where report.html, trials.csv, results.json and best.json go.")
@click.option("--accept-versions", is_flag=True, help="Go on although versions of libraries have changed.")
@click.option("--status", is_flag=True, help="Only tell how far the study is.")
@click.option("--report", is_flag=True, help="Only write the report again.")
@click.option("--quiet", is_flag=True, help="No progress bar and no table.")
def study_command(*, storage: str | None, name: str | None, out: str | None, **options: Any) -> None:
    """Search samplers, models, losses and their parameters for the best mean reciprocal rank; or recommenders.

    Trials are kept in the storage as they finish. After an interruption, even by a kill, the same command goes on until
    --trials are finished; other machines may run it at the same time with the same storage.

    \b
    kgneg study --dataset umls --sampler basic --sampler lemon --model transe --loss nssa --out out
    kgneg study --dataset umls --sampler lemon --fix lr=0.01 --range lemon.n_clusters=5:50 --out out --workers 2
    kgneg study --data ratings.tsv --model buir-nb --model lightgcn --trials 30 --out out
    kgneg study --out out --status

    A parameter is named by what it belongs to: lemon.n_clusters, transe.embedding_dim, nssa.margin, optimizer.lr,
    training.batch_size. The prefixes sampler, model and loss stand for all of them; lr and batch_size are short names.
    What is not given has the range that PyKEEN or the sampler suggests.
    """  # noqa: D301
    with usage_errors():
        address = _address(storage, out)
    if options["status"] or options["report"]:
        _look(address, name, out, options)
        return
    if out is None:
        raise click.UsageError("Missing option '--out'.")
    if options["data"] is None and not options["samplers"]:
        raise click.UsageError("Missing option '--sampler'.")
    result = _run(address, name, Path(out), options)
    _show(result, Path(out), quiet=options["quiet"])
    if result.problems:
        raise click.ClickException("; ".join(result.problems))


def _address(storage: str | None, out: str | None) -> str:
    """Return the storage, which has a default in the folder."""
    from kgneg.studies.storage import StorageAddress

    if storage is None:
        if out is None:
            raise click.UsageError("Missing option '--out' or '--storage'.")
        storage = str(Path(out) / "study.log")
    StorageAddress.parse(storage)
    return storage


def _look(address: str, name: str | None, out: str | None, options: Mapping[str, Any]) -> None:
    """Show, or write, what is there."""
    from kgneg.studies import StudyResult

    if options["report"] and out is None:
        raise click.UsageError("Missing option '--out'.")
    with usage_errors():
        result = StudyResult.load(address, name)
    _show(result, Path(out) if out is not None and options["report"] else None, quiet=options["quiet"])


def _run(address: str, name: str | None, folder: Path, options: Mapping[str, Any]) -> StudyResult:
    """Run what is left of the study."""
    from kgneg.compare import UnknownNameError
    from kgneg.core.errors import InvalidInputError
    from kgneg.studies import run_study

    recommenders = options["data"] is not None
    _check_kind(recommenders)
    with usage_errors():
        settings = _recommenders(options) if recommenders else _graphs(options)
    _check_folder(folder)
    with usage_errors(InvalidInputError if recommenders else UnknownNameError):
        return run_study(
            settings,
            address,
            name=name,
            workers=options["workers"],
            threads=options["threads"],
            timeout=options["timeout"],
            logs=folder / "workers",
            accept_versions=options["accept_versions"],
            progress=False if options["quiet"] else None,
        )


def _graphs(options: Mapping[str, Any]) -> StudyKind:
    """Return the settings of a study of knowledge graph embeddings."""
    from kgneg.studies import StudySettings

    fixed, ranges = _space(options["space"], options["fixes"], options["ranges"])
    return StudySettings(
        samplers=options["samplers"],
        models=options["models"] or ("transe",),
        losses=options["losses"],
        fixed=fixed,
        ranges=ranges,
        epochs=_EPOCHS[False] if options["epochs"] is None else options["epochs"],
        **{key: options[key] for key in _SETTINGS},
    )


def _recommenders(options: Mapping[str, Any]) -> StudyKind:
    """Return the settings of a study of recommenders."""
    from kgneg.studies.recommenders import RecommenderStudy

    fixed, ranges = _space(options["space"], options["fixes"], options["ranges"])
    return RecommenderStudy(
        models=options["models"] or ("buir-nb",),
        data=data_settings(options["data"], options),
        fixed=fixed,
        ranges=ranges,
        sources=sources_of(options),
        epochs=_EPOCHS[True] if options["epochs"] is None else options["epochs"],
        **{key: options[key] for key in _OF_BOTH},
        **given(options, ("metric", "ks")),
    )


def _check_kind(recommenders: bool) -> None:
    """Refuse options that belong to the other kind of studies."""
    from click.core import ParameterSource

    context = click.get_current_context()
    written = {
        name: value
        for name, value in context.params.items()
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT
    }
    if recommenders:
        useless = [name for name in _OF_GRAPHS if name in written]
        hint = "--data searches recommenders, which have no"
    else:
        useless = [*given(written, ("metric", "ks", "kg", "links"))]
        useless += [name for name in given_data(written) if name not in ("valid", "test")]
        hint = "without --data, knowledge graph embeddings are searched, which have no"
    if useless:
        flags = {one.name: one.opts[0] for one in context.command.params}
        raise click.UsageError(f"{hint} {', '.join(str(flags[name]) for name in useless)}")


def _space(path: str | None, fixes: tuple[str, ...], ranges: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return fixed values and ranges; the command line wins over the file."""
    from kgneg.core.errors import InvalidInputError
    from kgneg.studies.ranges import parse_fix, parse_range, read_space

    fixed, searched = read_space(path) if path is not None else ({}, {})
    own: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    for texts, parse, found in ((fixes, parse_fix, own[0]), (ranges, parse_range, own[1])):
        for text in texts:
            key, value = parse(text)
            if key in found:
                raise InvalidInputError(f"{key} is given twice")
            found[key] = value
    given = {*own[0], *own[1]}
    kept = [{key: value for key, value in one.items() if key not in given} for one in (fixed, searched)]
    return {**kept[0], **own[0]}, {**kept[1], **own[1]}


def _show(result: StudyResult, folder: Path | None, *, quiet: bool) -> None:
    """Write the files, if there is a folder, and print a table."""
    from kgneg.report import render_text

    written = {} if folder is None else result.write(folder)
    if quiet:
        return
    click.echo(render_text(result.table()))
    best = result.best
    if best is not None:
        name, pairs = (result.objective, "pairs") if result.is_recommender else ("mrr", "triples")
        test = f", {best['test'][name]:.4f} on the test {pairs}" if best["test"] else ""
        chosen = ", ".join(best[kind] for kind in result.choices)
        click.echo(f"\nbest: trial {best['number']}, {chosen}: validation {result.objective} {best['value']:.4f}{test}")
    for name in ("best.json", "report.html"):
        if name in written:
            click.echo(str(written[name]))


def _check_folder(folder: Path) -> None:
    """Make the folder now, so that it does not fail after hours of training."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise click.UsageError(f"--out {folder} is a file, expected a folder") from error
