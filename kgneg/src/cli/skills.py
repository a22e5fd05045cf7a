"""``kgneg skills``."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kgneg.cli.options import usage_errors
from kgneg.cli.skills_train import train_command

if TYPE_CHECKING:
    from kgneg.skills import ConceptSet, TextRanker

__all__ = ["skills_command"]


def _common(command: Any) -> Any:
    for option in (
        click.option("--language", default="en", show_default=True, help="The language of labels."),
        click.option("--kind", metavar="KIND", help="Only concepts of this kind, such as skill in ESCO."),
        click.option(
            "--encoder",
            help="auto, minilm, lexical, or a sentence-transformers model or folder; auto by default.",
        ),
        click.option("--bonus", type=float, help="For concepts whose label is there; 0.2, or what was trained with."),
        click.option("--quiet", is_flag=True, help="No progress bar."),
    ):
        command = option(command)
    return command


@click.group("skills")
def skills_command() -> None:
    """Find the concepts of a taxonomy in texts: skills in job ads, topics in abstracts.

    TAXONOMY is a folder with the CSV files of ESCO, an RDF file (SKOS, OWL), a table of children and parents, a file
    that Taxonomy.save has written, or a folder that train has written.
    """


skills_command.add_command(train_command)


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
    from kgneg.skills.sources import read_sentences

    with usage_errors():
        texts = read_sentences(file)
        concepts = _concepts(taxonomy, language, kind)
        matcher = concepts.matcher()
    if matcher.ambiguous:
        shown = ", ".join(list(matcher.ambiguous)[:3])
        click.echo(f"{len(matcher.ambiguous)} labels belong to several concepts, such as {shown}", err=True)
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["line", "start", "end", "text", "concept", "label"])
    for line, text in enumerate(texts, start=1):
        for mention in matcher.find(text):
            for one in mention.concepts:
                place = [line, mention.start, mention.end, mention.text]
                table.writerow([*place, concepts.names[one], concepts.labels[one]])


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
        concepts, ranker = _opened(taxonomy, options)
        parts = [one for line in lines for one in split_sentences(line)] if ad else lines
        found = [ranker.rank_together(parts, k)] if ad else ranker.rank(parts, k)
    rows = _rows(lines if not ad else ["\n".join(lines)], found, concepts)
    if form == "json":
        for row in rows:
            click.echo(json.dumps(row, ensure_ascii=False))
    else:
        table = csv.DictWriter(sys.stdout, list(_COLUMNS), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    _say_truncated(ranker, parts)


@skills_command.command("evaluate")
@click.argument("taxonomy", metavar="TAXONOMY")
@click.argument("gold", metavar="GOLD")
@click.option("--text", default="sentence", show_default=True, help="The column of the text.")
@click.option("--label", default="label", show_default=True, help="The column of the right label.")
@click.option("--report", metavar="FILE", help="Write a page about the mistakes there (HTML).")
@_common
def evaluate_command(*, taxonomy: str, gold: str, text: str, label: str, report: str | None, **options: Any) -> None:
    """Say how well the concepts of texts are found: MRR, and RP@1, 5 and 10, with floors beside them.

    GOLD has a row for each text and right label; rows with a label that is no concept's are counted.

    \b
    kgneg skills evaluate esco annotations.csv --kind skill --report mistakes.html
    """  # noqa: D301
    from kgneg.core.errors import InvalidInputError, KgnegError
    from kgneg.core.storage import atomic_path
    from kgneg.report import render_html, render_text
    from kgneg.skills import judge_ranking
    from kgneg.skills.mistakes import find_mistakes
    from kgneg.skills.page import build_report, figure_rows
    from kgneg.skills.ranker import literal_scores
    from kgneg.skills.sources import read_gold

    with usage_errors(KgnegError, OSError):
        if report is not None and Path(report).is_dir():
            raise InvalidInputError(f"{report} is a folder, --report needs a file")
        concepts, ranker = _opened(taxonomy, options)
        numbers, several = concepts.numbers()
        right = read_gold(gold, numbers, text=text, label=label)
        scores = ranker.scores(right.texts)
    pairs = right.queries, right.concepts
    matcher = ranker.matcher or concepts.matcher()
    rows = {"mentions alone": judge_ranking(literal_scores(matcher, right.texts), *pairs)}
    if ranker.bonus and ranker.matcher is not None:
        rows["without mentions"] = judge_ranking(ranker.base_scores(right.texts), *pairs)
    figures = rows["all"] = judge_ranking(scores, *pairs)
    click.echo(render_text(figure_rows(rows)))
    click.echo(f"{figures.queries:,} texts, {figures.skipped:,} without a right concept", err=True)
    _say_truncated(ranker, right.texts)
    if several:
        click.echo(
            f"{len(several):,} labels belong to several concepts, and do not count: {several[0]!r}, ...", err=True
        )
    if right.unknown:
        total, most = sum(right.unknown.values()), max(right.unknown, key=lambda one: right.unknown[one])
        click.echo(f"{total:,} rows have a label of no concept, most often {most!r}", err=True)
    if report is not None:
        found = find_mistakes(scores, *pairs, concepts)
        page = build_report(found, rows, right.texts, concepts, Path(gold).name)
        with usage_errors(OSError), atomic_path(report) as path:
            path.write_text(render_html(page), encoding="utf-8")
        click.echo(f"the mistakes are in {report}", err=True)


_COLUMNS = ("text", "rank", "concept", "label", "score", "start", "end", "mention")


def _concepts(path: str, language: str, kind: str | None) -> ConceptSet:
    from kgneg.skills import ConceptSet, load_ranker
    from kgneg.skills.sources import load_taxonomy
    from kgneg.skills.storage import is_stored

    if is_stored(path):
        _refuse_own({"kind": kind, "language": None if language == "en" else language}, path)
        return load_ranker(path).concepts
    return ConceptSet.of(load_taxonomy(path, language=language), kind)


def _refuse_own(options: dict[str, str | None], path: str) -> None:
    """Refuse options of a taxonomy for a trained ranker."""
    from kgneg.core.errors import InvalidInputError

    odd = [f"--{name}" for name, value in options.items() if value is not None]
    if odd:
        raise InvalidInputError(f"{path} is a trained ranker, which has its own: leave {' and '.join(odd)} out")


def _opened(path: str, options: dict[str, Any]) -> tuple[ConceptSet, TextRanker]:
    """Return the concepts and a ranker: one that was trained, or that of the encoder as it is."""
    from kgneg.core.validation import validate_number
    from kgneg.skills import ConceptRanker, load_ranker
    from kgneg.skills.storage import is_stored

    if is_stored(path):
        language = None if options["language"] == "en" else options["language"]
        _refuse_own({"kind": options["kind"], "encoder": options["encoder"], "language": language}, path)
        stored = load_ranker(path, progress=not options["quiet"])
        if options["bonus"] is not None:
            stored.ranker.bonus = validate_number("bonus", options["bonus"])
        return stored.concepts, stored.ranker
    concepts = _concepts(path, options["language"], options["kind"])
    ranker = ConceptRanker(
        concepts.labels,
        options["encoder"] or "auto",
        matcher=concepts.matcher(),
        bonus=0.2 if options["bonus"] is None else options["bonus"],
        progress=not options["quiet"],
    )
    return concepts, ranker


def _say_truncated(ranker: TextRanker, texts: Sequence[str]) -> None:
    cut = ranker.truncated(texts)
    if cut:
        click.echo(f"{cut:,} of {len(texts):,} texts are longer than the encoder reads, and were cut", err=True)


def _rows(texts: Sequence[str], found: Any, concepts: ConceptSet) -> Iterator[dict[str, Any]]:
    for text, ranked in zip(texts, found, strict=True):
        for rank, one in enumerate(ranked, start=1):
            mention = one.mention
            where = (None, None, None) if mention is None else (mention.start, mention.end, mention.text)
            name, label = concepts.names[one.concept], concepts.labels[one.concept]
            values = (one.text or text, rank, name, label, round(one.score, 4), *where)
            yield dict(zip(_COLUMNS, values, strict=True))
