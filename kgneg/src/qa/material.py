"""What questions are made of: the triples that are asked for, and tables over the phrases."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from kgneg.core.candidates import CandidateIndex
from kgneg.core.errors import InvalidInputError, MissingTextError
from kgneg.core.typing import HEAD, RELATION, TAIL, LongTensor
from kgneg.core.validation import choose, validate_count
from kgneg.datasets import KnowledgeGraph
from kgneg.qa.people import People
from kgneg.qa.rules import TextRules
from kgneg.qa.wording import Templates, strip_beginning
from kgneg.qa.words import WordTable

__all__ = ["Material", "gather"]

SPLITS = ("train", "valid", "test")
_NO_ANSWER = "none"
_GAP = re.compile(r"(?<!\S)_+(?!\S)")


@dataclass(frozen=True)
class Material:
    """What questions are made of.

    :param graph: the knowledge base
    :param triples: shape: ``(q, 3)``, what is asked for
    :param source: shape: ``(m, 3)``, the triples whose tails are distractors
    :param texts: length: entities, the phrases as they stand in the knowledge base
    :param marked: length: entities, the phrases with marks for persons
    :param words: their words
    :param rules: what distractors must not be
    :param report: how many triples were left out
    """

    graph: KnowledgeGraph
    triples: LongTensor
    source: LongTensor
    texts: Sequence[str]
    marked: Sequence[str]
    words: WordTable
    rules: TextRules
    report: Counter[str]

    def pools(self) -> CandidateIndex:
        """Return the tails of each relation, as likely as by a random head and a random one of its tails.

        :returns: two rows per relation, of which those with odd numbers hold tails
        """
        head, relation, tail = self.source.unbind(-1)
        pair = head * self.graph.num_relations + relation
        _, place, size = torch.unique(pair, return_inverse=True, return_counts=True)
        rows, weights = torch.cat([2 * relation, 2 * relation + 1]), 1 / size[place].double()
        return CandidateIndex.from_pairs(
            rows,
            torch.cat([head, tail]),
            num_rows=2 * self.graph.num_relations,
            num_columns=self.graph.num_entities,
            weights=torch.cat([weights, weights]),
        )


def gather(
    graph: KnowledgeGraph,
    templates: Templates,
    people: People,
    *,
    split: str = "train",
    known: str = "train",
    limit: int | None = None,
    missing_text: str = "label",
    generator: torch.Generator,
) -> Material:
    """Choose the triples of a knowledge base that make questions, and prepare what is looked up for distractors.

    Left out, and counted, are triples whose tail is ``none``, those that read like another one, and those whose answer
    has a keyword of the head and would give itself away.

    :param graph: the knowledge base
    :param templates: how relations are put into words
    :param people: finds persons
    :param split: whose triples are asked for: ``train``, ``valid`` or ``test``, or ``all``
    :param known: what is known to be right: ``"train"``, which means the split as well, or ``"all"``
    :param limit: at most so many questions, a random part; ``None`` takes all
    :param missing_text: ``"label"`` takes the label of an entity without text, ``"error"`` refuses it
    :param generator: the source of randomness
    :returns: the material
    :raises InvalidInputError: if an argument does not fit, or nothing is left to ask for
    :raises MissingTextError: if an entity has no text
    """
    choose("split", split, (*SPLITS, "all"))
    choose("known", known, ("train", "all"))
    choose("missing_text", missing_text, ("label", "error"))
    parts = {name: getattr(graph, name) for name in SPLITS}
    asked = torch.cat(list(parts.values())) if split == "all" else parts[split]
    if not len(asked):
        raise InvalidInputError(f"{graph.name!r} has no {split} triples to ask for")
    templates.check(graph.relations[one] for one in torch.unique(asked[:, RELATION]).tolist())
    texts = _texts(graph, missing_text)
    marked = [people.mark(_GAP.sub("something", one)) for one in texts]
    words = WordTable.of(marked)
    forms, empty = _forms(marked, templates.strips)
    everything = torch.unique(torch.cat([*parts.values(), asked]), dim=0)
    sure = everything if known == "all" else torch.unique(torch.cat([parts["train"], asked]), dim=0)
    asks = [_asked(templates, people, one) for one in graph.relations]
    rules = TextRules(sure, words, forms, persons=[*map(people.mentions, marked)], asked=asks, empty=empty)
    report: Counter[str] = Counter(triples=len(asked))
    chosen = _chosen(asked, rules, words, report)
    if not len(chosen):
        raise InvalidInputError(f"{graph.name!r} has no triple that makes a question: {dict(report)}")
    if limit is not None and validate_count("limit", limit) < len(chosen):
        report["over the limit"] = len(chosen) - limit
        chosen = chosen[torch.randperm(len(chosen), generator=generator)[:limit].sort().values]
    source = sure[~rules.empty[sure[:, TAIL]]]
    return Material(graph, chosen, source, texts, marked, words, rules, report)


def _texts(graph: KnowledgeGraph, missing: str) -> list[str]:
    labels = graph.entities
    texts = graph.entity_texts() if missing == "error" else [graph.texts.get(one, one) for one in labels]
    blank = next((place for place, one in enumerate(texts) if not one.strip()), None)
    if blank is not None:
        raise MissingTextError(f"the entity {graph.entities[blank]!r} of {graph.name!r} has a blank text: write one")
    return texts


def _forms(marked: Sequence[str], strips: Sequence[str]) -> tuple[LongTensor, list[bool]]:
    """Return the first of the entities that read alike, and which are no answers."""
    first: dict[str, int] = {}
    forms, empty = [], []
    for place, text in enumerate(marked):
        form = strip_beginning(People.fill(text).casefold(), strips)
        forms.append(first.setdefault(form, place))
        empty.append(form in ("", _NO_ANSWER))
    return torch.tensor(forms, dtype=torch.long), empty


def _asked(templates: Templates, people: People, relation: str) -> int:
    """Return who is mentioned in the question of a relation."""
    return people.mentions(people.mark(templates.question("", relation))) if relation in templates.relations else 0


def _chosen(asked: LongTensor, rules: TextRules, words: WordTable, report: Counter[str]) -> LongTensor:
    """Return the triples that make questions, and count the others."""
    empty = rules.empty[asked[:, TAIL]] | rules.empty[asked[:, HEAD]]
    report["none"] = int(empty.sum())
    asked = asked[~empty]
    _, place = torch.unique(rules.formed(asked), dim=0, return_inverse=True)
    number = torch.arange(len(asked))
    first = torch.full((len(asked),), len(asked), dtype=torch.long).scatter_reduce_(0, place, number, "amin")
    alike = first[place] != number
    report["repeated"] = int(alike.sum())
    asked = asked[~alike]
    leaks = words.share(asked[:, HEAD], asked[:, TAIL])
    report["leaks"] = int(leaks.sum())
    return asked[~leaks]
