"""The group of commands, and what becomes of errors."""

from __future__ import annotations

import logging
import sys
from typing import Any

import click

from kgneg.cli.audit import audit_command
from kgneg.cli.compare import compare_command
from kgneg.cli.distill import distill_command
from kgneg.cli.noise import noise_command
from kgneg.cli.qa import qa_command
from kgneg.cli.rec import rec_command
from kgneg.cli.sample import sample_command
from kgneg.cli.samplers import samplers_command
from kgneg.cli.selfinstruct import selfinstruct_command
from kgneg.cli.skills import skills_command
from kgneg.cli.study import study_command

__all__ = ["main"]

_INTERRUPTED = 130


class _Main(click.Group):
    """A group that turns every failure into one line on standard error and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            sys.exit(_INTERRUPTED)
        except BrokenPipeError:
            raise  # click ends quietly
        except Exception as error:
            if ctx.params.get("debug"):
                raise
            click.echo(f"Error: {_line(error)}", err=True)
            sys.exit(1)


def _line(error: Exception) -> str:
    """Return an error in one line; those that we did not foresee say how to learn more."""
    from kgneg.core.errors import KgnegError

    text = " ".join(str(error).split())
    if isinstance(error, KgnegError):
        return text
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"{type(error).__name__}: {text or 'no message'} (kgneg --debug ... shows where)"


class _Lines(logging.Handler):
    """Log records as lines on standard error, above a progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record.

        :param record: the record
        """
        from tqdm import tqdm

        with tqdm.external_write_mode(file=sys.stderr):
            click.echo(f"{record.levelname.lower()}: {' '.join(record.getMessage().split())}", err=True)


@click.group(cls=_Main, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="kgneg", prog_name="kgneg", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:
    """Good negatives for knowledge graphs: draw them, and see what they are worth."""
    del debug  # read from the context when an error comes
    handler = _Lines(logging.WARNING)
    logger = logging.getLogger("kgneg")
    logger.handlers = [one for one in logger.handlers if not isinstance(one, _Lines)] + [handler]
    logger.propagate = False


main.add_command(audit_command)
main.add_command(compare_command)
main.add_command(distill_command)
main.add_command(noise_command)
main.add_command(qa_command)
main.add_command(rec_command)
main.add_command(sample_command)
main.add_command(samplers_command)
main.add_command(selfinstruct_command)
main.add_command(skills_command)
main.add_command(study_command)
