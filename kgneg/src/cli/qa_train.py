"""``kgneg qa train``."""

from __future__ import annotations

from typing import Any

import click

from kgneg.cli.options import usage_errors

__all__ = ["train_command"]

_RECIPE = ("kind", "encoder", "steps", "batch_size", "lr", "margin", "pairing", "positions", "seed")


@click.command("train")
@click.argument("questions", metavar="QUESTIONS")
@click.option("--out", required=True, metavar="FOLDER", help="Where the scorer is kept; it takes up what was begun.")
@click.option(
    "--scorer",
    "kind",
    type=click.Choice(["bi-encoder", "cross-encoder", "masked"]),
    default="bi-encoder",
    show_default=True,
    help="Compare vectors of question and answer, read both together, or ask how likely their words are.",
)
@click.option(
    "--encoder",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="What to begin with: a sentence-transformers model, minilm or auto; a masked language model for masked.",
)
@click.option("--steps", type=int, default=1000, show_default=True, help="Batches.")
@click.option("--batch-size", type=int, default=16, show_default=True, help="Questions per batch.")
@click.option("--lr", type=float, help="The learning rate; 5e-5 by default, 2e-5 for masked.")
@click.option(
    "--margin", type=float, default=1.0, show_default=True, help="How far right scores are to be above others."
)
@click.option(
    "--pairing",
    type=click.Choice(["answer", "statement"]),
    default="answer",
    show_default=True,
    help="What a bi-encoder compares the question with: the answer, or both as one text.",
)
@click.option("--positions", type=int, default=6, show_default=True, help="Words of a text that masked masks.")
@click.option("--all-words", is_flag=True, help="Whether masked masks stop words and names, too.")
@click.option("--layers", type=int, default=0, show_default=True, help="Last layers that are trained; 0 trains all.")
@click.option("--max-length", type=int, default=128, show_default=True, help="Word pieces that are read in training.")
@click.option("--seed", type=int, default=0, show_default=True, help="The seed of everything.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def train_command(*, questions: str, out: str, **options: Any) -> None:
    """Train a scorer on QUESTIONS, a file that build has written.

    \b
    kgneg qa train questions.jsonl --scorer bi-encoder --encoder minilm --out scorer
    kgneg qa evaluate scorer --on qa_dev
    """  # noqa: D301
    from kgneg.core.errors import KgnegError
    from kgneg.qa import QuestionSet, ScorerRecipe, train_scorer

    with usage_errors(KgnegError, OSError):
        recipe = ScorerRecipe(
            **{name: options[name] for name in _RECIPE},
            keywords=not options["all_words"],
            trainable_layers=options["layers"] or None,
            max_length=options["max_length"],
        )
        train_scorer(QuestionSet.read_jsonl(questions), recipe, out, progress=not options["quiet"])
    click.echo(f"the scorer is in {out}", err=True)
