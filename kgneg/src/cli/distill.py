"""``kgneg distill``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from kgneg.cli.options import NumberOrNone, usage_errors

if TYPE_CHECKING:
    from kgneg.selfinstruct.chat_endpoint import ChatEndpoint
    from kgneg.selfinstruct.distill_files import DistillFolder

__all__ = ["distill_command"]

_SETTINGS = ("heads", "heads_at_once", "tails", "negatives", "temperature", "seed")


def _words(_: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """Read a list of names."""
    if value is None:
        return None
    names = tuple(one.strip() for one in value.split(",") if one.strip())
    if not names:
        raise click.BadParameter(f"{value!r} has no name in it. Leave the option out to take all.", param=param)
    return names


def _json_object(_: click.Context, param: click.Parameter, value: str | None) -> dict[str, Any]:
    """Read a JSON object."""
    try:
        content = json.loads(value or "{}")
    except ValueError as error:
        raise click.BadParameter(f"is no JSON: {error}", param=param) from error
    if not isinstance(content, dict):
        raise click.BadParameter('must be a JSON object such as {"top_p": 0.9}', param=param)
    return content


@click.command("distill")
@click.option("--model", required=True, metavar="NAME", help="The model that is asked.")
@click.option("--base-url", metavar="URL", help="An OpenAI-compatible endpoint.  [default: that of OpenAI]")
@click.option(
    "--api-key-env",
    default="OPENAI_API_KEY",
    show_default=True,
    metavar="NAME",
    help="The environment variable that holds the key; local servers mostly need none.",
)
@click.option(
    "--prompts",
    default="distill_en",
    show_default=True,
    metavar="NAME|FILE",
    help="What is asked, in which language: distill_en, distill_zh, or a JSON file of your own.",
)
@click.option("--kinds", callback=_words, metavar="NAMES", help="Kinds of heads, with commas.  [default: all]")
@click.option("--relations", callback=_words, metavar="NAMES", help="Relations, with commas.  [default: all]")
@click.option("--heads", type=int, default=20, show_default=True, help="Heads of each kind.")
@click.option("--heads-at-once", type=int, default=20, show_default=True, help="Heads in one reply, at most.")
@click.option(
    "--head-file", metavar="FILE", help="Heads instead of asking for them: one a line, its kind and a tab before it."
)
@click.option("--tails", type=int, default=5, show_default=True, help="Tails of each head and relation, at most.")
@click.option("--negatives", type=int, default=3, show_default=True, help="Negatives of each, at most; 0 for none.")
@click.option(
    "--filter",
    "filter_",
    metavar="FOLDER",
    help="What kgneg selfinstruct fit has written; it decides about the negatives.",
)
@click.option(
    "--temperature",
    type=NumberOrNone(),
    default=0.7,
    show_default=True,
    help="How far replies vary; none leaves it to the endpoint, for models that refuse it.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="The seed that is sent.")
@click.option("--max-tokens", type=int, metavar="COUNT", help="The most tokens in all, over all runs on the folder.")
@click.option("--max-cost", metavar="AMOUNT", help="The most money in all; needs both prices.")
@click.option("--input-price", metavar="AMOUNT", help="The price of a million tokens of prompts; 0 if free.")
@click.option("--output-price", metavar="AMOUNT", help="The price of a million tokens of replies; 0 if free.")
@click.option("--concurrency", type=int, default=8, show_default=True, help="Requests at once.")
@click.option("--requests-per-minute", type=float, help="The most requests in a minute.  [default: no limit]")
@click.option("--retries", type=int, default=5, show_default=True, help="Further tries after faults that may pass.")
@click.option("--timeout", type=float, default=120.0, show_default=True, help="Seconds for one try in all.")
@click.option("--extra", callback=_json_object, metavar="JSON", help="Further fields of every request.")
@click.option("--no-json-mode", is_flag=True, help="Do not ask for replies in JSON; not all endpoints can.")
@click.option("--out", required=True, metavar="FOLDER", help="Where the graph goes.")
@click.option("--quiet", is_flag=True, help="No progress bar and no counts.")
def distill_command(*, out: str, quiet: bool, **given: Any) -> None:
    """Make a graph in words with a chat model: heads, tails of each relation, and negatives.

    \b
    kgneg distill --model qwen3 --base-url http://localhost:8000/v1 --prompts distill_zh --out graph
    kgneg distill --model gpt-4.1-mini --max-cost 2 --input-price 0.4 --output-price 1.6 --filter fitted --out graph

    Replies are kept in the folder; after an interruption the same command goes on where it stood. Replies that are not
    as asked for are in malformed.jsonl. The key is read from the environment and written nowhere.
    """  # noqa: D301
    from kgneg.core.errors import InvalidInputError
    from kgneg.selfinstruct.distill import Distiller
    from kgneg.selfinstruct.distill_files import DistillFolder
    from kgneg.selfinstruct.distill_settings import DistillSettings

    with usage_errors(InvalidInputError, OSError):
        folder = DistillFolder(out)
        settings = DistillSettings(
            **{name: given[name] for name in _SETTINGS}, kinds=given["kinds"], relations=given["relations"]
        )
        distiller = Distiller(
            endpoint=_endpoint(given, folder),
            folder=out,
            prompts=given["prompts"],
            settings=settings,
            progress=not quiet,
        )
        heads = None if given["head_file"] is None else _heads(given["head_file"])
        decider = None if given["filter_"] is None else _filter(given["filter_"])
        made = distiller.run(heads=heads, decider=decider)
    if unanswered := made.counts.get("unanswered", 0):
        click.echo(
            f"{unanswered:,} questions have no answer yet (see {folder.path / 'unanswered.jsonl'}): the same command "
            "asks again",
            err=True,
        )
    if quiet:
        return
    for what, count in made.counts.items():
        click.echo(f"{what}: {count:,}", err=True)
    click.echo(f"the graph is in {folder.path}", err=True)


def _endpoint(given: dict[str, Any], folder: DistillFolder) -> ChatEndpoint:
    """Return the endpoint with its limits."""
    from kgneg.selfinstruct.chat_budget import Budget
    from kgneg.selfinstruct.chat_endpoint import ChatEndpoint
    from kgneg.selfinstruct.chat_policy import RequestPolicy

    names = ("concurrency", "requests_per_minute", "retries", "timeout")
    return ChatEndpoint(
        model=given["model"],
        base_url=given["base_url"],
        api_key_env=given["api_key_env"],
        policy=RequestPolicy(**{name: given[name] for name in names}),
        budget=Budget(
            tokens=given["max_tokens"],
            cost=given["max_cost"],
            input_price=given["input_price"],
            output_price=given["output_price"],
            path=folder.budget,
        ),
        extra=given["extra"],
        json_mode=not given["no_json_mode"],
    )


def _heads(path: str) -> dict[str, list[str]]:
    """Read heads with their kinds."""
    from pathlib import Path

    heads: dict[str, list[str]] = {}
    for number, line in enumerate(Path(path).read_text(encoding="utf-8-sig").splitlines(), 1):
        kind, tab, head = line.partition("\t")
        if (kind, head) == ("kind", "head") or not line.strip():
            continue
        if not tab or not kind.strip() or not head.strip():
            raise click.UsageError(
                f"--head-file {path}, line {number}: expected a kind, a tab and a head, got {line!r}"
            )
        heads.setdefault(kind.strip(), []).append(head.strip())
    if not heads:
        raise click.UsageError(f"--head-file {path} has no heads. Write a kind, a tab and a head in each line.")
    return heads


def _filter(path: str) -> Any:
    """Read a fitted filter."""
    from kgneg.selfinstruct.saved import SavedFilter

    return SavedFilter(path).load()
