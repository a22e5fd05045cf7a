"""``kgneg samplers``."""

from __future__ import annotations

import json
from typing import Any

import click

__all__ = ["samplers_command"]


@click.command("samplers")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def samplers_command(as_json: bool) -> None:
    """List every sampler, kgneg's and PyKEEN's own, with options and sources."""
    from kgneg.compare import describe_samplers

    found = describe_samplers()
    if as_json:
        click.echo(json.dumps(found, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False))
        return
    click.echo("\n\n".join(_describe(sampler) for sampler in found))


def _describe(sampler: dict[str, Any]) -> str:
    """Return a sampler as some lines."""
    kind = "kgneg" if sampler["source"] == "kgneg" else "PyKEEN"
    lines = [f"{click.style(sampler['name'], bold=True)}  ({kind}{', reads texts' if sampler['needs_text'] else ''})"]
    lines.append(click.wrap_text(sampler["description"], 100, "    ", "    "))
    if sampler["citation"]:
        lines.append(f"    Source: {sampler['citation']}")
    for option in sampler["options"]:
        default = "required" if option["required"] else json.dumps(option["default"], ensure_ascii=False)
        head = f"    {option['name']} = {default}"
        text = f"{head}  {option['description']}" if option["description"] else head
        lines.append(click.wrap_text(text, 100, "", "        "))
    return "\n".join(lines)
