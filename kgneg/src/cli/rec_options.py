"""What the commands of ``kgneg rec`` share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kgneg.cli.options import usage_errors

if TYPE_CHECKING:
    from kgneg.recommending import DataSettings, NegativeSources

__all__ = [
    "DATA_HELP",
    "Lengths",
    "check_folder",
    "column_options",
    "column_values",
    "data_options",
    "data_settings",
    "given",
    "given_data",
    "graph_options",
    "held",
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
    *("relation", "valid", "test", "min_user", "min_item", "k_core"),
    *("split", "beta", "valid_share", "test_share", "split_seed"),
)
_COLUMNS = ("user", "item", "rating", "time")
_READING = ("format", "separator", "header", "min_rating")
_TRAINING = ("epochs", "batch_size", "lr", "dim", "patience", "evaluate_every", "precision")
#: Options of single commands that ``--set`` could name, too.
_ALSO_SET = ("metric", "negatives", "seed", "device")


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


def _group(*options: Callable[[Any], Any]) -> Callable[[CommandT], CommandT]:
    """Return what adds several options to a function that becomes a command."""

    def add(command: CommandT) -> CommandT:
        for option in reversed(options):
            command = option(command)
        return command

    return add


#: Files of validation and test pairs.
part_options = _group(
    click.option("--valid", metavar="FILE", help="Validation pairs, with --test."),
    click.option(
        "--test", metavar="FILE", help="Test pairs; --data then has the others, and --split takes validation pairs off."
    ),
)
#: How a file of interactions is read.
column_options = _group(
    click.option("--format", metavar="NAME", help="table, inter, movielens, adjacency, counted.  [default: guessed]"),
    click.option("--user", metavar="COLUMN", help="The column of the users, a name or a number from 0."),
    click.option("--item", metavar="COLUMN", help="The column of the items."),
    click.option("--rating", metavar="COLUMN", help="The column of the ratings, or none."),
    click.option("--time", metavar="COLUMN", help="The column of the times, or none."),
    click.option("--separator", metavar="TEXT", help="What is between the fields.  [default: guessed]"),
    click.option(
        "--header/--no-header", default=None, help="Whether the first line names the columns.  [default: guessed]"
    ),
    click.option("--min-rating", type=float, help="Leave out rows with a lower rating."),
)
#: Interactions, their filters and their split, all but ``--data`` and :data:`part_options`.
data_options = _group(
    click.option("--relation", metavar="NAME", help="For a graph: heads are users, tails of this relation items."),
    column_options,
    click.option("--min-user", type=int, help="Leave out users with fewer pairs, once."),
    click.option("--min-item", type=int, help="Leave out items with fewer pairs, once."),
    click.option("--k-core", type=int, help="Leave out users and items until all have so many pairs."),
    click.option("--split", metavar="KIND", help="beta (by user), random, leave-one-out, temporal.  [default: beta]"),
    click.option("--beta", type=float, help="For beta: the share of training pairs of a user.  [default: 0.5]"),
    click.option("--valid-share", type=float, help="For random and temporal: validation pairs.  [default: 0.1]"),
    click.option("--test-share", type=float, help="For random and temporal: test pairs.  [default: 0.1]"),
    click.option("--split-seed", type=int, help="The seed of the split.  [default: 0]"),
)
#: A knowledge graph of the items.
graph_options = _group(
    click.option("--kg", metavar="FILE", help="For graph negatives: triples, also RecBole's .kg."),
    click.option("--links", metavar="FILE", help="For graph negatives: items and their entities, also .link."),
)
#: What negatives are made of.
source_options = _group(
    click.option("--texts", metavar="FILE", help="For text negatives: items and their texts, TSV."),
    click.option("--encoder", metavar="NAME", help="For text negatives: auto, minilm, lexical, or a model."),
    graph_options,
)
#: Options of the training.
training_options = _group(
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


def given(options: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Return options that were given.

    :param options: all options
    :param names: the names to look at
    :returns: those that are not ``None``
    """
    return {name: options[name] for name in names if options.get(name) is not None}


def column_values(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a file is read, as :meth:`~kgneg.recsys.Interactions.read` has it.

    :param options: the options of :data:`column_options`
    :returns: what was given, by name

    >>> column_values({"user": "2", "rating": "none", "item": "movieId", "time": None, "header": False})
    {'header': False, 'user': 2, 'item': 'movieId', 'rating': False}
    """
    columns = {name: _column(one) for name, one in given(options, _COLUMNS).items()}
    return {**given(options, _READING), **columns}


def _column(text: str) -> str | int | bool:
    if text.lower() == "none":
        return False
    return int(text) if text.isdecimal() else text


def data_settings(data: str, options: Mapping[str, Any]) -> DataSettings:
    """Return the settings of the interactions.

    :param data: a file or the name of a graph
    :param options: the options of :data:`data_options`
    :returns: the settings
    """
    from kgneg.recommending import DataSettings

    return DataSettings(data, **given(options, _DATA), **column_values(options))


def given_data(options: Mapping[str, Any]) -> list[str]:
    """Return which options of :data:`data_options` were given.

    :param options: the options
    :returns: their names
    """
    return list(given(options, (*_DATA, *_READING, *_COLUMNS)))


def sources_of(options: Mapping[str, Any]) -> NegativeSources:
    """Return what negatives are made of.

    :param options: the options of :data:`source_options`
    :returns: the sources
    """
    from kgneg.recommending import NegativeSources

    return NegativeSources(**given(options, ("kg", "links", "texts", "encoder")))


def training_values(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of the model and its training.

    :param options: all options, those of :data:`training_options` among them
    :returns: values by name
    :raises InvalidInputError: if one is given twice, or has another form
    """
    from kgneg.core.errors import InvalidInputError

    found = given(options, _TRAINING)
    for name, value in read_sets(options["sets"]).items():
        if name in found or (name in _ALSO_SET and options.get(name) is not None):
            raise InvalidInputError(f"{name} is given twice: by --set and by --{name.replace('_', '-')}")
        found[name] = value
    return found


def read_sets(texts: tuple[str, ...]) -> dict[str, Any]:
    """Read ``name=value`` texts; a value is read as JSON, where true and false may be in any case, or else as text.

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


@contextmanager
def held(out: str) -> Iterator[Path]:
    """Make the folder of ``--out`` now, so that it does not fail after hours, and keep other commands out of it.

    :param out: the folder
    :returns: a context with the folder
    :raises click.UsageError: if it is a file, or another command is writing into it
    """
    from kgneg.recommending.folders import hold_folder

    with ExitStack() as stack:
        with usage_errors():
            folder = stack.enter_context(hold_folder(out))
        yield folder


def check_folder(folder: Path) -> None:
    """Make the folder now, so that it does not fail after hours of training.

    :param folder: the folder
    :raises click.UsageError: if it is a file
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise click.UsageError(f"--out {folder} is a file, expected a folder") from error
