"""``kgneg skills``."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from kgneg.cli.options import usage_errors

if TYPE_CHECKING:
    from kgneg.skills import ConceptRanker

__all__ = ["skills_command"]

_TAXONOMY = (
    "A folder with the CSV files of ESCO, an RDF file (SKOS, OWL), a table of children and parents, or a saved one."
)


def _common(command: Any) -> Any:
    for option in (
        click.option("--language", default="en", show_default=True, help="The language of labels."),
        click.option("--kind", metavar="KIND", help="Only concepts of this kind, such as skill in ESCO."),
        click.option(
            "--encoder",
            default="auto",
            show_default=True,
            help="auto, minilm, lexical, or a sentence-transformers model or folder.",
        ),
        click.option("--bonus", type=float, default=0.2, show_default=True, help="For concepts whose label is there."),
        click.option("--quiet", is_flag=True, help="No progress bar."),
    ):
        command = option(command)
    return command


@click.group("skills")
def skills_command() -> None:
    """Find the concepts of a taxonomy in texts: skills in job ads, topics in abstracts.

    TAXONOMY is a folder with the CSV files of ESCO, an RDF file (SKOS, OWL), a table of children and parents, or a file
    that Taxonomy.save has written.
    """


@skills_command.command("match")
@click.argument("taxonomy", metavar="TAXONOMY")
@click.argument("file", metavar="FILE")
@click.option("--language", default="en", show_default=True, help="The language of labels.")
@click.option("--kind", metavar="KIND", help="Only concepts of this kind, such as skill in ESCO.")
def match_command(*, taxonomy: str, file: str, language: str, kind: str | None) -> None:
    """List where labels stand in the lines of FILE, letter by letter.

    \b
    kgneg skills match esco ads.txt > mentions.csv
    """  # noqa: D301
    from kgneg.skills import LabelMatcher
    from kgneg.skills.sources import read_sentences

    with usage_errors():
        texts = read_sentences(file)
        names, labels, alternatives = _concepts(taxonomy, language, kind)
        matcher = LabelMatcher(labels, alternatives)
    if matcher.ambiguous:
        shown = ", ".join(list(matcher.ambiguous)[:3])
        click.echo(f"{len(matcher.ambiguous)} labels belong to several concepts, such as {shown}", err=True)
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["line", "start", "end", "text", "concept", "label"])
    for line, text in enumerate(texts, start=1):
        for mention in matcher.find(text):
            for one in mention.concepts:
                table.writerow([line, mention.start, mention.end, mention.text, names[one], labels[one]])


@skills_command.command("predict")
@click.argument("taxonomy", metavar="TAXONOMY")
@click.argument("file", metavar="[FILE]", required=False)
@click.option("--text", help="A text to look at instead of a file.")
@click.option("--ad", is_flag=True, help="The file or text is one whole text, such as a job ad: rank for all of it.")
@click.option("--k", type=int, default=10, show_default=True, help="How many concepts.")
@click.option("--format", "form", type=click.Choice(["json", "csv"]), default="json", show_default=True)
@_common
def predict_command(
    *, taxonomy: str, file: str | None, text: str | None, ad: bool, k: int, form: str, **options: Any
) -> None:
    """Rank the concepts that each line of FILE speaks of, whether their labels are there or not.

    \b
    kgneg skills predict esco sentences.txt --kind skill > skills.jsonl
    kgneg skills predict thesaurus.ttl --text "You weld metal and lead a team" --k 5
    kgneg skills predict esco ad.txt --ad --format csv
    """  # noqa: D301
    from kgneg.skills.sources import read_sentences, split_sentences

    if (file is None) == (text is None):
        raise click.UsageError("give a FILE or --text, not both")
    with usage_errors():
        lines = read_sentences(file) if file is not None else [str(text)]
        names, labels, alternatives = _concepts(taxonomy, options["language"], options["kind"])
        ranker = _ranker(labels, alternatives, options)
        parts = [one for line in lines for one in split_sentences(line)] if ad else lines
        found = [ranker.rank_together(parts, k)] if ad else ranker.rank(parts, k)
    rows = _rows(lines if not ad else ["\n".join(lines)], found, names, labels)
    if form == "json":
        for row in rows:
            click.echo(json.dumps(row, ensure_ascii=False))
        return
    table = csv.DictWriter(sys.stdout, list(_COLUMNS), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)


@skills_command.command("evaluate")
@click.argument("taxonomy", metavar="TAXONOMY")
@click.argument("gold", metavar="GOLD")
@click.option("--text", default="sentence", show_default=True, help="The column of the text.")
@click.option("--label", default="label", show_default=True, help="The column of the right label.")
@_common
def evaluate_command(*, taxonomy: str, gold: str, text: str, label: str, **options: Any) -> None:
    """Say how well the concepts of texts are found: MRR, and RP@1, 5 and 10, with floors beside them.

    GOLD has a row for each text and right label; rows with a label that is no concept's are counted.

    \b
    kgneg skills evaluate esco annotations.csv --kind skill
    """  # noqa: D301
    from kgneg.skills import judge_ranking
    from kgneg.skills.ranker import literal_scores
    from kgneg.skills.sources import read_gold

    with usage_errors():
        _, labels, alternatives = _concepts(taxonomy, options["language"], options["kind"])
        right = read_gold(gold, {one: number for number, one in enumerate(labels)}, text=text, label=label)
        ranker = _ranker(labels, alternatives, options)
    scores = ranker.scores(right.texts)
    literal = literal_scores(ranker.matcher, right.texts) if ranker.matcher is not None else None
    rows = {"mentions alone": literal, "cosine and mentions": scores}
    click.echo(f"{'':24}{'MRR':>8}{'RP@1':>8}{'RP@5':>8}{'RP@10':>8}")
    for name, one in rows.items():
        if one is not None:
            found = judge_ranking(one, right.queries, right.concepts)
            figures = "".join(f"{100 * value:8.2f}" for value in found.precision.values())
            click.echo(f"{name:24}{found.mrr:8.3f}{figures}")
    click.echo(f"{found.queries:,} texts, {found.skipped:,} without a right concept", err=True)
    if right.unknown:
        total, most = sum(right.unknown.values()), max(right.unknown, key=lambda one: right.unknown[one])
        click.echo(f"{total:,} rows have a label of no concept, most often {most!r}", err=True)


_COLUMNS = ("text", "rank", "concept", "label", "score", "start", "end", "mention")


def _concepts(path: str, language: str, kind: str | None) -> tuple[list[str], list[str], list[tuple[str, ...]]]:
    """Return the identifiers, labels and further labels of the concepts."""
    from kgneg.skills.sources import load_taxonomy

    taxonomy = load_taxonomy(path, language=language)
    texts = taxonomy.texts(missing="id")
    chosen = range(len(taxonomy)) if kind is None else taxonomy.of_kind(kind).tolist()
    return (
        [taxonomy.concepts[one] for one in chosen],
        [texts[one] for one in chosen],
        [taxonomy.alternatives[one] for one in chosen],
    )


def _ranker(labels: Sequence[str], alternatives: Sequence[Sequence[str]], options: dict[str, Any]) -> ConceptRanker:
    from kgneg.skills import ConceptRanker, LabelMatcher

    matcher = LabelMatcher(labels, alternatives)
    return ConceptRanker(
        labels, options["encoder"], matcher=matcher, bonus=options["bonus"], progress=not options["quiet"]
    )


def _rows(texts: Sequence[str], found: Any, names: Sequence[str], labels: Sequence[str]) -> Iterator[dict[str, Any]]:
    for text, ranked in zip(texts, found, strict=True):
        for rank, one in enumerate(ranked, start=1):
            mention = one.mention
            where = (None, None, None) if mention is None else (mention.start, mention.end, mention.text)
            values = (one.text or text, rank, names[one.concept], labels[one.concept], round(one.score, 4), *where)
            yield dict(zip(_COLUMNS, values, strict=True))
