"""``kgneg qa build``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kgneg.cli.options import usage_errors

if TYPE_CHECKING:
    from kgneg.datasets import KnowledgeGraph

__all__ = ["build_command"]

#: options of the methods that draw, as build_questions names them
_OPTIONS = ("mode", "budget", "base", "encoder", "against", "pool")


@click.command("build")
@click.argument("kb", metavar="KB")
@click.option("--out", required=True, metavar="FILE", help="Where the questions are written, a JSON object a line.")
@click.option("--valid", metavar="FILE", help="A file of further triples.")
@click.option("--test", metavar="FILE", help="A file of further triples.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["atomic", "conceptnet", "graph"]),
    help="What KB is: a file of ATOMIC or ConceptNet, or a graph as in the other commands.  [default: that of the "
    "templates, else graph]",
)
@click.option(
    "--blank",
    type=click.Choice(["error", "drop"]),
    default="error",
    show_default=True,
    help="What to do about rows of ATOMIC without a tail.",
)
@click.option(
    "--templates",
    default="atomic",
    show_default=True,
    metavar="NAME",
    help="How relations are asked for: atomic, conceptnet, or a JSON file of your own.",
)
@click.option(
    "--distractors",
    type=click.Choice(["concept", "keyword", "random", "adversarial"]),
    default="concept",
    show_default=True,
    help="Tails whose heads share little with that of the question by concepts and words, or no keyword; random tails; "
    "or those that are about as similar to the answer as is wished.",
)
@click.option("--n", type=int, default=2, show_default=True, help="Distractors per question.")
@click.option("--split", type=click.Choice(["train", "valid", "test", "all"]), default="train", show_default=True)
@click.option(
    "--known",
    type=click.Choice(["train", "all"]),
    default="train",
    show_default=True,
    help="Which triples are known to be right: those for training and of the split, or all.",
)
@click.option("--limit", type=int, metavar="COUNT", help="At most so many questions, a random part.")
@click.option("--no-names", is_flag=True, help="Leave PersonX as it is.")
@click.option("--alias", multiple=True, metavar="NAME=PERSON", help="A name that stands for one, such as John=PersonX.")
@click.option(
    "--missing-text",
    type=click.Choice(["label", "error"]),
    default="label",
    show_default=True,
    help="What to do about an entity without text: take its label, or stop.",
)
@click.option("--wordnet", metavar="FILE", help="A WordNet whose synsets are concepts of phrases, for concept.")
@click.option("--table", multiple=True, metavar="FILE", help="Concepts of events as in AbstractATOMIC, for concept.")
@click.option("--mode", type=click.Choice(["weighted", "paper"]), help="How much of overlaps concept and keyword bear.")
@click.option("--budget", type=float, help="Which share of candidates may be turned down, for mode weighted.")
@click.option("--base", type=click.Choice(["concept", "keyword", "random"]), help="What adversarial chooses from.")
@click.option("--against", type=click.Choice(["answer", "head"]), help="What adversarial compares with.")
@click.option("--pool", type=int, help="How many adversarial chooses from.")
@click.option("--window", type=(float, float), metavar="LOW HIGH", help="The cosines of adversarial.")
@click.option("--encoder", metavar="NAME", help="What compares, for adversarial, or for concept as well.")
@click.option("--seed", type=int, default=0, show_default=True, help="The seed of everything.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def build_command(*, kb: str, out: str, **given: Any) -> None:
    """Make a multiple-choice question of each triple of KB, with distractors that are no right answers.

    \b
    kgneg qa build atomic.tsv --distractors concept --n 2 --out questions.jsonl
    kgneg qa build conceptnet.tsv --templates conceptnet --distractors keyword --out questions.jsonl
    kgneg qa build atomic.tsv --alias John=PersonX --alias Tom=PersonY --limit 1000 --out questions.jsonl
    """  # noqa: D301
    from pathlib import Path

    from kgneg.core.errors import InvalidInputError, KgnegError
    from kgneg.qa import build_questions

    options = {name: given[name] for name in (*_OPTIONS, "window") if given[name] is not None}
    with usage_errors(KgnegError, OSError):
        if Path(out).is_dir():
            raise InvalidInputError(f"{out} is a folder, --out needs a file")
        graph = _graph(kb, given)
        options |= _concepts(graph, given)
        questions = build_questions(
            graph,
            templates=given["templates"],
            distractors=given["distractors"],
            n=given["n"],
            seed=given["seed"],
            names=not given["no_names"],
            aliases=_aliases(given["alias"]),
            split=given["split"],
            known=given["known"],
            limit=given["limit"],
            missing_text=given["missing_text"],
            options=options,
            progress=not given["quiet"],
        )
        if not len(questions):
            raise InvalidInputError(
                f"no question has {given['n']} different distractors ({kb} has {graph.num_entities} phrases): ask for "
                f"fewer with --n; what became of the triples: {dict(questions.report)}"
            )
        questions.write_jsonl(out)
    for what, count in questions.report.items():
        click.echo(f"{what}: {count:,}", err=True)
    click.echo(f"the questions are in {out}", err=True)


def _graph(kb: str, given: dict[str, Any]) -> KnowledgeGraph:
    """Read the knowledge base."""
    from kgneg import datasets
    from kgneg.core.errors import InvalidInputError

    form = given["form"] or (given["templates"] if given["templates"] in ("atomic", "conceptnet") else "graph")
    files = {name: given[name] for name in ("valid", "test") if given[name] is not None}
    graph: KnowledgeGraph
    if form == "graph":
        if files:
            raise InvalidInputError(f"a graph has its own splits: leave --{next(iter(files))} out")
        graph = datasets.load(kb)
    elif form == "atomic":
        graph = datasets.read_atomic(kb, **files, blank=given["blank"])
    else:
        graph = datasets.read_conceptnet(kb, **files)
    return graph


def _concepts(graph: KnowledgeGraph, given: dict[str, Any]) -> dict[str, Any]:
    """Find the concepts of phrases, if it is said where."""
    if given["wordnet"] is None and not given["table"]:
        return {}
    from kgneg.datasets import Conceptualiser, read_concepts, read_wordnet

    wordnet = None if given["wordnet"] is None else read_wordnet(given["wordnet"])
    table = read_concepts(given["table"]) if given["table"] else None
    made = Conceptualiser(wordnet=wordnet, table=table, persons=_aliases(given["alias"]))
    return {"features": made.conceptualise([graph.texts.get(one, one) for one in graph.entities])}


def _aliases(given: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in given:
        name, mark, person = one.partition("=")
        if not mark or not name or name in found:
            raise click.UsageError(f"--alias {one}: expected NAME=PERSON, each name once, such as John=PersonX")
        found[name] = person
    return found
