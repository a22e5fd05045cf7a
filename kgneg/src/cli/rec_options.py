"""What the commands of ``kgneg rec`` share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from kgneg.recommending import DataSettings, NegativeSources

__all__ = [
    "DATA_HELP",
    "Lengths",
    "check_folder",
    "column",
    "data_options",
    "data_settings",
    "given",
    "given_data",
    "graph_options",
    "part_options",
    "read_sets",
    "source_options",
    "sources_of",
    "training_options",
    "training_values",
]

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

DATA_HELP = (
    "Interactions: a table (CSV, TSV, Parquet), .inter, u.data, ratings.dat, lines of user item item...; or a graph: "
    "umls, kinships, nations, a folder, an RDF file."
)
#: Options that are settings of the same name.
_DATA = (
    *("relation", "valid", "test", "format", "separator", "min_rating", "min_user", "min_item", "k_core"),
    *("split", "beta", "valid_share", "test_share", "split_seed"),
)
_COLUMNS = ("user", "item", "rating", "time")
_TRAINING = ("epochs", "batch_size", "lr", "dim", "patience", "evaluate_every", "precision")


class Lengths(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """Lengths of lists, separated by commas."""

    name = "k,k,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return the lengths.

        :param value: the text
        :param param: the option
        :param ctx: the context
        :returns: the lengths
        """
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in str(value).split(",")]
        if not all(part.isdecimal() and int(part) for part in parts):
            self.fail(f"{value!r} is no list of lengths such as 10,20,50", param, ctx)
        return tuple(int(part) for part in parts)


def _add(command: CommandT, options: tuple[Callable[[CommandT], CommandT], ...]) -> CommandT:
    for option in reversed(options):
        command = option(command)
    return command


def part_options(command: CommandT) -> CommandT:
    """Add the options about files of validation and test pairs.

    :param command: a function that becomes a command
    :returns: the function
    """
    options: Any = (
        click.option("--valid", metavar="FILE", help="Validation pairs, with --test."),
        click.option("--test", metavar="FILE", help="Test pairs; --data then has the others."),
    )
    return _add(command, options)


def data_options(command: CommandT) -> CommandT:
    """Add the options about interactions, their filters and their split, all but ``--data`` and :func:`part_options`.

    :param command: a function that becomes a command
    :returns: the function
    """
    options: Any = (
        click.option("--relation", metavar="NAME", help="For a graph: heads are users, tails of this relation items."),
        click.option(
            "--format", metavar="NAME", help="table, inter, movielens, adjacency, counted.  [default: guessed]"
        ),
        click.option("--user", metavar="COLUMN", help="The column of the users, a name or a number from 0."),
        click.option("--item", metavar="COLUMN", help="The column of the items."),
        click.option("--rating", metavar="COLUMN", help="The column of the ratings, or none."),
        click.option("--time", metavar="COLUMN", help="The column of the times, or none."),
        click.option("--separator", metavar="TEXT", help="What is between the fields.  [default: guessed]"),
        click.option("--min-rating", type=float, help="Leave out rows with a lower rating."),
        click.option("--min-user", type=int, help="Leave out users with fewer pairs, once."),
        click.option("--min-item", type=int, help="Leave out items with fewer pairs, once."),
        click.option("--k-core", type=int, help="Leave out users and items until all have so many pairs."),
        click.option(
            "--split", metavar="KIND", help="beta (by user), random, leave-one-out, temporal.  [default: beta]"
        ),
        click.option("--beta", type=float, help="For beta: the share of training pairs of a user.  [default: 0.5]"),
        click.option("--valid-share", type=float, help="For random and temporal: validation pairs.  [default: 0.1]"),
        click.option("--test-share", type=float, help="For random and temporal: test pairs.  [default: 0.1]"),
        click.option("--split-seed", type=int, help="The seed of the split.  [default: 0]"),
    )
    return _add(command, options)


def graph_options(command: CommandT) -> CommandT:
    """Add the options about a knowledge graph of the items.

    :param command: a function that becomes a command
    :returns: the function
    """
    options: Any = (
        click.option("--kg", metavar="FILE", help="For graph negatives: triples, also RecBole's .kg."),
        click.option("--links", metavar="FILE", help="For graph negatives: items and their entities, also .link."),
    )
    return _add(command, options)


def source_options(command: CommandT) -> CommandT:
    """Add the options about what negatives are made of.

    :param command: a function that becomes a command
    :returns: the function
    """
    command = graph_options(command)
    options: Any = (
        click.option("--texts", metavar="FILE", help="For text negatives: items and their texts, TSV."),
        click.option("--encoder", metavar="NAME", help="For text negatives: auto, minilm, lexical, or a model."),
    )
    return _add(command, options)


def training_options(command: CommandT) -> CommandT:
    """Add the options of the training.

    :param command: a function that becomes a command
    :returns: the function
    """
    options: Any = (
        click.option(
            "--set",
            "sets",
            multiple=True,
            metavar="NAME=VALUE",
            help='Any option of the model or its training; "kgneg rec models" lists them.',
        ),
        click.option("--epochs", type=int, help="The largest number of epochs.  [default: that of the model]"),
        click.option("--batch-size", type=int, help="Pairs per step."),
        click.option("--lr", type=float, help="Learning rate of Adam."),
        click.option("--dim", type=int, help="Length of the embeddings."),
        click.option("--patience", type=int, help="Looks without improvement until training stops; 0: never."),
        click.option("--evaluate-every", type=int, help="Epochs between two looks at the validation pairs."),
        click.option("--precision", metavar="NAME", help="float32, bfloat16, float16."),
    )
    return _add(command, options)


def given(options: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Return options that were given.

    :param options: all options
    :param names: the names to look at
    :returns: those that are not ``None``
    """
    return {name: options[name] for name in names if options.get(name) is not None}


def column(text: str) -> str | int | bool:
    """Return a column as :meth:`~kgneg.recsys.Interactions.read` has it.

    :param text: a name, a number, or ``none``
    :returns: a name, a number, or ``False``

    >>> column("2"), column("none"), column("userId")
    (2, False, 'userId')
    """
    if text.lower() == "none":
        return False
    return int(text) if text.isdecimal() else text


def data_settings(data: str, options: Mapping[str, Any]) -> DataSettings:
    """Return the settings of the interactions.

    :param data: a file or the name of a graph
    :param options: the options of :func:`data_options`
    :returns: the settings
    """
    from kgneg.recommending import DataSettings

    columns: dict[str, Any] = {name: column(one) for name, one in given(options, _COLUMNS).items()}
    return DataSettings(data, **given(options, _DATA), **columns)


def given_data(options: Mapping[str, Any]) -> list[str]:
    """Return which options of :func:`data_options` were given.

    :param options: the options
    :returns: their names
    """
    return list(given(options, (*_DATA, *_COLUMNS)))


def sources_of(options: Mapping[str, Any]) -> NegativeSources:
    """Return what negatives are made of.

    :param options: the options of :func:`source_options`
    :returns: the sources
    """
    from kgneg.recommending import NegativeSources

    return NegativeSources(**given(options, ("kg", "links", "texts", "encoder")))


def training_values(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of the model and its training.

    :param options: the options of :func:`training_options`
    :returns: values by name
    :raises InvalidInputError: if one is given twice, or has another form
    """
    from kgneg.core.errors import InvalidInputError

    found = given(options, _TRAINING)
    for name, value in read_sets(options["sets"]).items():
        if name in found:
            raise InvalidInputError(f"{name} is given twice: by --set and by --{name.replace('_', '-')}")
        found[name] = value
    return found


def read_sets(texts: tuple[str, ...]) -> dict[str, Any]:
    """Read ``name=value`` texts; a value is read as JSON, or as text where it is none.

    :param texts: the texts
    :returns: values by name
    :raises InvalidInputError: if one has another form, or a name repeats
    """
    from kgneg.core.errors import InvalidInputError
    from kgneg.studies.ranges import parse_fix

    found: dict[str, Any] = {}
    for text in texts:
        name, value = parse_fix(text)
        if name in found:
            raise InvalidInputError(f"{name} is set twice")
        found[name] = value
    return found


def check_folder(folder: Path) -> None:
    """Make the folder now, so that it does not fail after hours of training.

    :param folder: the folder
    :raises click.UsageError: if it is a file
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise click.UsageError(f"--out {folder} is a file, expected a folder") from error
