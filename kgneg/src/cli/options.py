"""What the commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

__all__ = ["NumberOrNone", "text_options", "usage_errors"]

CommandT = TypeVar("CommandT", bound=Callable[..., Any])


class NumberOrNone(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A number, or ``none``."""

    name = "number|none"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | None:
        """Return the number, or ``None`` for ``none``.

        :param value: the text
        :param param: the option
        :param ctx: the context
        :returns: the number
        """
        if value == "none" or isinstance(value, float):
            return None if value == "none" else value
        try:
            return float(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number nor none", param, ctx)


def text_options(command: CommandT) -> CommandT:
    """Add the options about texts to a command.

    :param command: a function that becomes a command
    :returns: the function
    """
    for option in (
        click.option(
            "--missing-text",
            type=click.Choice(["error", "label"]),
            help="What to do about an entity without text: stop, or take its label.  [default: error]",
        ),
        click.option(
            "--encoder",
            metavar="NAME",
            help="What makes vectors of texts: auto, minilm, lexical, or a sentence-transformers model or folder.  "
            "[default: auto]",
        ),
        click.option(
            "--texts",
            metavar="PATH",
            help="Texts of the entities: a TSV file, a folder, or the name of a graph.  [default: those of the graph]",
        ),
    ):
        command = option(command)
    return command


@contextmanager
def usage_errors(*kinds: type[Exception]) -> Iterator[None]:
    """Turn errors about what the user wrote into usage errors, exit code 2.

    :param kinds: the errors; none means all refusals of input by kgneg
    :raises click.UsageError: instead of one of these errors
    """
    from kgneg.core.errors import InvalidInputError

    wanted = kinds or (InvalidInputError,)
    try:
        yield
    except wanted as error:
        raise click.UsageError(" ".join(str(error).split())) from error
