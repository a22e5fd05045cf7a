"""``kgneg rec evaluate``, ``recommend`` and ``similar``: what a trained recommender is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kgneg.cli.options import usage_errors
from kgneg.cli.rec_options import Lengths, check_folder, column_options, column_values

if TYPE_CHECKING:
    import pandas as pd

    from kgneg.recommending import SavedRecommender
    from kgneg.recsys import Evaluation, Interactions, Recommendations

__all__ = ["evaluate_command", "recommend_command", "similar_command"]

_MODEL_HELP = "A folder that kgneg rec train, or model.save, has written."
_ENDS = (".csv", ".tsv", ".parquet", ".jsonl")
_SHOWN = 50  # rows on the terminal


@click.command("evaluate")
@click.option("--model", "folder", required=True, metavar="FOLDER", help=_MODEL_HELP)
@click.option("--data", metavar="FILE", help="Other pairs to find.  [default: the test part kept with the model]")
@click.option("--part", type=click.Choice(["test", "valid"]), help="The part kept with the model.  [default: test]")
@column_options
@click.option("--k", "ks", type=Lengths(), default="10,20,50", show_default=True, help="Lengths of the lists.")
@click.option("--device", default="cpu", show_default=True, help="Where to compute: auto, cpu, cuda.")
@click.option("--out", metavar="FOLDER", help="Where evaluation.json and users.csv go.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate_command(*, folder: str, ks: tuple[int, ...], out: str | None, as_json: bool, **options: Any) -> None:
    """Rank all items for the users of test pairs, and judge the lists.

    \b
    kgneg rec evaluate --model out
    kgneg rec evaluate --model out --data later.tsv --k 5,10 --out judged --json

    Pairs of --data that the model was trained on are left out, and so are users and items that it does not know.
    Options such as --user say how --data is read.
    """  # noqa: D301
    from kgneg.core.validation import validate_device
    from kgneg.recommending import open_recommender
    from kgneg.recommending.page import metric_table
    from kgneg.recsys import evaluate
    from kgneg.report import render_text

    with usage_errors():
        saved = open_recommender(folder)
        saved.model.to(validate_device(options["device"]))
        pairs, hidden, name = _pairs(saved, options)
        found = evaluate(saved.model, pairs, hide=hidden, ks=ks, progress=False if as_json else None)
    if out is not None:
        _write_evaluation(found, Path(out), name)
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False))
        return
    click.echo(render_text(metric_table({name: found})))
    counts = found.counts
    click.echo(
        f"\n{counts['users']:,} users, {counts['test_pairs']:,} pairs to be found; "
        f"{counts['no_training_items']:,} users without training pairs are not judged"
    )


def _pairs(saved: SavedRecommender, options: dict[str, Any]) -> tuple[Interactions, list[Interactions], str]:
    """Return what is to be found, what is left out of the lists, and what to call it."""
    from kgneg.core.errors import InvalidInputError
    from kgneg.recsys import Interactions

    seen, reading = saved.model.seen, column_values(options)
    useless = [*reading] if options["data"] is None else ["part"] if options["part"] is not None else []
    if useless:
        words = ", ".join(f"--{name.replace('_', '-')}" for name in useless)
        raise InvalidInputError(
            f"{words} would have no effect {'without' if options['data'] is None else 'with'} --data"
        )
    if options["data"] is not None:
        pairs = Interactions.read(options["data"], like=seen, **reading)
        pairs = pairs.select(~seen.contains(pairs.users, pairs.items))
        if not len(pairs):
            raise InvalidInputError(
                f"{options['data']} has no pair of a known user and a known item that the model was not trained on"
            )
        return pairs, [], Path(options["data"]).name.partition(".")[0]
    name = options["part"] or "test"
    part, valid = saved.part(name), saved.part("valid")
    if part is None:
        raise InvalidInputError(f"there is no {name} part beside {saved.folder}: give --data, a file")
    return part, [] if name == "valid" or valid is None else [valid], name


def _write_evaluation(found: Evaluation, folder: Path, name: str) -> None:
    from kgneg.compare.store import dump_json
    from kgneg.core.storage import atomic_path

    check_folder(folder)
    with atomic_path(folder / "users.csv") as temporary:
        found.to_frame().to_csv(temporary, index=False, lineterminator="\n")
    with atomic_path(folder / "evaluation.json") as temporary:
        temporary.write_text(dump_json({"pairs": name, **found.to_dict()}), encoding="utf-8", newline="\n")


@click.command("recommend")
@click.option("--model", "folder", required=True, metavar="FOLDER", help=_MODEL_HELP)
@click.option("--user", "users", multiple=True, metavar="LABEL", help="A user; give it several times.")
@click.option("--users", "file", metavar="FILE|all", help="A file with a user per line, or all.")
@click.option("--items", metavar="A,B,C", help="A new user who has these items, instead of users; JSON takes commas.")
@click.option("--k", type=click.IntRange(1), default=10, show_default=True, help="How many items.")
@click.option("--include-seen", is_flag=True, help="Also show what the user has.")
@click.option("--out", metavar="FILE", help="Where to write all lists: .csv, .tsv, .parquet or .jsonl.")
def recommend_command(
    *,
    folder: str,
    users: tuple[str, ...],
    file: str | None,
    items: str | None,
    k: int,
    include_seen: bool,
    out: str | None,
) -> None:
    """Show the best items for users, known ones or a new one.

    \b
    kgneg rec recommend --model out --user ann --user bob
    kgneg rec recommend --model out --users all --k 20 --out lists.parquet
    kgneg rec recommend --model out --items "heat,ronin" --k 5
    """  # noqa: D301
    from kgneg.recommending import open_recommender

    ways = [bool(users), file is not None, items is not None]
    if sum(ways) != 1:
        raise click.UsageError("Give one of '--user', '--users' and '--items'.")
    _check_out(out)
    with usage_errors():
        model = open_recommender(folder).model
        if items is not None:
            found = model.fold_in([_labels(items)], k, exclude_seen=not include_seen)
        else:
            wanted = None if file == "all" else list(users) or _lines(str(file))
            found = model.recommend(wanted, k, exclude_seen=not include_seen)
    _show(found, out, "new user" if items is not None else None)


@click.command("similar")
@click.option("--model", "folder", required=True, metavar="FOLDER", help=_MODEL_HELP)
@click.option("--item", "items", multiple=True, required=True, metavar="LABEL", help="An item; give it several times.")
@click.option("--k", type=click.IntRange(1), default=10, show_default=True, help="How many items.")
@click.option("--out", metavar="FILE", help="Where to write all lists: .csv, .tsv, .parquet or .jsonl.")
def similar_command(*, folder: str, items: tuple[str, ...], k: int, out: str | None) -> None:
    """Show the items that are most like an item.

    \b
    kgneg rec similar --model out --item heat --k 5
    """  # noqa: D301
    from kgneg.recommending import open_recommender

    _check_out(out)
    with usage_errors():
        found = open_recommender(folder).model.similar_items(list(items), k)
    _show(found, out, None, "like")


def _labels(text: str) -> list[str]:
    """Return labels that are separated by commas, or written as a JSON list."""
    if text.lstrip().startswith("["):
        try:
            return [str(one) for one in json.loads(text)]
        except ValueError as error:
            raise click.UsageError(f"--items begins with a bracket but is no JSON list: {error}") from error
    return [part.strip() for part in text.split(",") if part.strip()]


def _lines(path: str) -> list[str]:
    from kgneg.core.errors import InvalidInputError

    try:
        found = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"cannot read the users from {path}: {error}") from error
    wanted = [line.strip() for line in found if line.strip()]
    if not wanted:
        raise InvalidInputError(f"{path} names no user: expected one per line")
    return wanted


def _check_out(out: str | None) -> None:
    if out is not None and Path(out).suffix not in _ENDS:
        raise click.UsageError(f"--out {out} must end in one of {', '.join(_ENDS)}")


def _show(found: Recommendations, out: str | None, user: str | None, word: str = "user") -> None:
    """Write the lists to a file, or print them."""
    from kgneg.report import Table, render_text

    frame = found.to_frame().rename(columns={"user": word})
    if user is not None:
        frame[word] = user
    if out is not None:
        _write(frame, Path(out))
        click.echo(f"{len(found):,} lists, {len(frame):,} rows\n{out}")
        return
    cells = [
        (str(row[0]), str(row[1]), str(row[2]), f"{row[3]:.4f}")
        for row in frame.head(_SHOWN).itertuples(index=False, name=None)
    ]
    click.echo(render_text(Table((word, "rank", "item", "score"), tuple(cells), text_columns=frozenset({"item"}))))
    if len(frame) > _SHOWN:
        click.echo(f"... {len(frame) - _SHOWN:,} more rows; --out writes all")


def _write(frame: pd.DataFrame, path: Path) -> None:
    from kgneg.core.storage import atomic_path

    with atomic_path(path) as temporary:
        if path.suffix == ".parquet":
            frame.to_parquet(temporary, index=False)
        elif path.suffix == ".jsonl":
            frame.to_json(temporary, orient="records", lines=True, force_ascii=False)
        else:
            separator = "," if path.suffix == ".csv" else "\t"
            frame.to_csv(temporary, sep=separator, index=False, lineterminator="\n")
