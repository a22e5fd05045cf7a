"""``kgneg skills train``."""

from __future__ import annotations

from typing import Any

import click

from kgneg.cli.options import usage_errors

__all__ = ["train_command"]


@click.command("train")
@click.argument("taxonomy", metavar="TAXONOMY")
@click.option("--out", required=True, metavar="FOLDER", help="Where the ranker is kept; it takes up what was begun.")
@click.option("--gold", multiple=True, metavar="FILE", help="A table with a row for each text and right label.")
@click.option(
    "--sentences", multiple=True, metavar="FILE", help="Texts, one a line: labels that stand there are right."
)
@click.option("--no-names", is_flag=True, help="Do not learn from descriptions and alternative labels.")
@click.option(
    "--hold-out", multiple=True, metavar="FILE", help="A table like --gold whose texts must not be learnt from."
)
@click.option("--text", default="sentence", show_default=True, help="The column of the text.")
@click.option("--label", default="label", show_default=True, help="The column of the right label.")
@click.option(
    "--method",
    type=click.Choice(["bi-encoder", "softmax", "classifiers"]),
    default="bi-encoder",
    show_default=True,
    help="Tune the encoder on sampled negatives, on all concepts, or train a classifier for each concept.",
)
@click.option(
    "--strategy",
    multiple=True,
    metavar="NAME[:OPTION]=COUNT",
    help="Negatives of a pair: sibling, cousin, relation, edit, embedding or random, with an option behind a colon, "
    "such as sibling:group=2; by default sibling, edit, embedding and random, 16 each, or 1 with --labels trained.",
)
@click.option(
    "--labels",
    type=click.Choice(["fixed", "trained"]),
    default="fixed",
    show_default=True,
    help="Whether vectors of labels stay, or are trained as well (bi-encoder).",
)
@click.option("--steps", type=int, default=300, show_default=True, help="Batches, for methods that tune the encoder.")
@click.option("--epochs", type=int, default=20, show_default=True, help="Passes over the pairs, for classifiers.")
@click.option("--batch-size", type=int, default=32, show_default=True, help="Pairs per batch.")
@click.option("--lr", type=float, help="The learning rate; 1e-4 for encoders and 1e-2 for classifiers by default.")
@click.option("--layers", type=int, default=2, show_default=True, help="Last layers that are trained; 0 trains all.")
@click.option(
    "--corrected/--uncorrected",
    default=None,
    help="Whether scores of negatives are corrected by how likely each was to be drawn; by default with fixed labels "
    "and random negatives.",
)
@click.option("--refresh", type=int, metavar="STEPS", help="Take embedding neighbours anew after so many steps.")
@click.option("--bonus", type=float, default=0.2, show_default=True, help="For concepts whose label is there.")
@click.option("--seed", type=int, default=0, show_default=True, help="The seed of everything.")
@click.option(
    "--encoder",
    default="auto",
    show_default=True,
    help="A sentence-transformers model, minilm or auto; lexical, too, for classifiers.",
)
@click.option("--language", default="en", show_default=True, help="The language of labels.")
@click.option("--kind", metavar="KIND", help="Only concepts of this kind, such as skill in ESCO.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def train_command(*, taxonomy: str, out: str, **options: Any) -> None:
    """Train a ranker for the concepts of TAXONOMY, which predict and evaluate then take instead of it.

    It learns from the descriptions and alternative labels of the taxonomy, from texts that labels stand in, and from
    annotated texts, as far as they are given.

    \b
    kgneg skills train esco --kind skill --sentences ads.txt --out ranker
    kgneg skills train esco --kind skill --gold train.csv --strategy sibling=2 --strategy random=2 --out ranker
    kgneg skills predict ranker --text "You weld metal and lead a team"
    """  # noqa: D301
    from kgneg.core.errors import KgnegError
    from kgneg.skills import ConceptSet, Recipe, train_ranker
    from kgneg.skills.sources import load_taxonomy

    with usage_errors(KgnegError, OSError):
        concepts = ConceptSet.of(load_taxonomy(taxonomy, language=options["language"]), options["kind"])
        examples = _examples(concepts, options)
        chosen = {name: options[name] for name in _RECIPE}
        counts = _counts(options["strategy"])
        if counts:
            chosen["strategies"] = counts
        recipe = Recipe(**chosen, trainable_layers=options["layers"] or None)
        click.echo(
            f"{len(examples.texts):,} texts with {len(examples):,} concepts, {len(examples.concepts.unique()):,} of "
            f"{len(concepts):,} different ones",
            err=True,
        )
        for what, number in examples.left_out.items():
            if number:
                click.echo(f"left out: {number:,} {what}", err=True)
        train_ranker(concepts, examples, out, recipe, encoder=options["encoder"], progress=not options["quiet"])
    click.echo(f"the ranker is in {out}", err=True)


_RECIPE = ("method", "labels", "steps", "epochs", "batch_size", "lr", "corrected", "refresh", "bonus", "seed")


def _examples(concepts: Any, options: dict[str, Any]) -> Any:
    from kgneg.skills import Examples
    from kgneg.skills.sources import read_gold, read_sentences

    number, several = concepts.numbers()
    if several and (options["gold"] or options["hold_out"]):
        click.echo(
            f"{len(several):,} labels belong to several concepts, and are left out: {several[0]!r}, ...", err=True
        )
    columns = {"text": options["text"], "label": options["label"]}
    parts = [] if options["no_names"] else [Examples.named(concepts)]
    parts += [Examples.annotated(read_gold(file, number, **columns)) for file in options["gold"]]
    if options["sentences"]:
        matcher = concepts.matcher()
        parts += [Examples.mentioned(matcher, read_sentences(file)) for file in options["sentences"]]
    held_out = [text for file in options["hold_out"] for text in read_gold(file, number, **columns).texts]
    return Examples.joined(*parts).without(held_out)


def _counts(given: tuple[str, ...]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for one in given:
        name, mark, count = one.partition("=")
        if not mark or not count.isdecimal() or name in counts:
            raise click.UsageError(f"--strategy {one}: expected a NAME=COUNT, each name once, such as sibling=2")
        counts[name] = int(count)
    return counts
