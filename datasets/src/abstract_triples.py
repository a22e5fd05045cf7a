"""Triples whose heads have a concept in place of one of its instances."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import HEAD, FloatTensor
from kgneg.core.validation import validate_share
from kgneg.datasets._csv_files import header_of, read_rows
from kgneg.datasets._files import LabelArray, malformed
from kgneg.datasets._labels import as_label_array
from kgneg.datasets._phrases import ATOMIC_PERSONS, WILDCARD, spans_of_words, squeeze, words_of
from kgneg.datasets.concept_table import ConceptTable
from kgneg.datasets.graph import KnowledgeGraph

__all__ = ["AbstractTriples", "abstract_triples", "read_abstract_triples"]

_COLUMNS = ("head", "relation", "tail", "score")
_Triple = tuple[str, str, str]


@dataclass(frozen=True, eq=False)
class AbstractTriples:
    """Triples of labels, and how plausible each is.

    :param triples: shape: ``(m, 3)``, dtype: object
    :param plausibility: shape: ``(m,)``, from 0 to 1
    :param report: counts of what was dropped
    :raises InvalidInputError: if triples are malformed, or there are not as many numbers
    """

    triples: LabelArray = field(repr=False)
    plausibility: FloatTensor = field(repr=False)
    report: Mapping[str, int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        as_label_array(self.triples, "triples")
        if len(self.triples) != len(self.plausibility):
            raise InvalidInputError(f"got {len(self.triples)} triples and {len(self.plausibility)} plausibilities")

    def __len__(self) -> int:
        return len(self.triples)

    def __repr__(self) -> str:
        return f"AbstractTriples({len(self)}, report={dict(self.report)})"

    def added_to(self, graph: KnowledgeGraph) -> KnowledgeGraph:
        """Return a graph with these triples among those of training; the ids of its entities are others.

        :param graph: the graph
        :returns: the graph with them
        """
        more = [(str(head), str(relation), str(tail)) for head, relation, tail in self.triples.tolist()]
        return KnowledgeGraph.from_labelled(
            graph.name,
            _labelled(graph, "train") + more,
            _labelled(graph, "valid"),
            _labelled(graph, "test"),
            texts=graph.texts,
            types=graph.types,
            valid_negatives=_labelled(graph, "valid_negatives"),
            test_negatives=_labelled(graph, "test_negatives"),
            relation_texts=graph.relation_texts,
            report=Counter(graph.report) + Counter({"abstract_triple": len(self)}),
        )


def abstract_triples(
    graph: KnowledgeGraph,
    table: ConceptTable,
    *,
    threshold: float = 0.9,
    scores: AbstractTriples | Mapping[_Triple, float] | None = None,
) -> AbstractTriples:
    """Replace instances in heads of training triples by their concepts, as CAR (Wang et al., 2023) adds to ATOMIC.

    A head is an event of the table if it has the same words; John and Tom are PersonX and PersonY, and wildcards do not
    count. What is dropped is counted: ``implausible``, ``without_score``, ``duplicate`` and ``known`` (a triple of the
    graph).

    :param graph: the graph
    :param table: the concepts of instances of events
    :param threshold: the least plausibility of a triple, from 0 to 1; 0.9 is that of the released selection
    :param scores: how plausible triples are, from :func:`read_abstract_triples`; a triple without a score is dropped.
        ``None`` takes that of the concept in the table, and 1 where the table has none, because people made such rows
    :returns: the triples in the order of the table
    :raises InvalidInputError: if the threshold is not between 0 and 1

    >>> graph = KnowledgeGraph.from_labelled("zoo", [("John feeds the lion", "xWant", "to see it eat")])
    >>> table = ConceptTable.from_rows([("PersonX feeds [the lion]", "animal", 0.95)])
    >>> abstract_triples(graph, table).triples.tolist()
    [['John feeds animal', 'xWant', 'to see it eat']]
    """
    least = validate_share("threshold", threshold)
    given = None if scores is None else _scores(scores)
    heads: dict[str, list[int]] = {}
    for number in sorted(set(graph.train[:, HEAD].tolist())):
        heads.setdefault(_key(graph.entities[number]), []).append(number)
    order = graph.train[:, HEAD].argsort(stable=True)
    bounds = torch.searchsorted(graph.train[order, HEAD], torch.arange(graph.num_entities + 1)).tolist()
    train = graph.train[order].tolist()
    known = {triple for name in ("train", "valid", "test") for triple in _labelled(graph, name)}
    report: Counter[str] = Counter(event_without_head=len({e for e in table.events if _key(e) not in heads}))
    best: dict[_Triple, float] = {}
    rows = zip(table.events, table.spans.tolist(), table.concepts, table.scores.tolist(), strict=True)
    for event, (start, end), concept, value in rows:
        for head in heads.get(_key(event), ()):
            label = _replaced(graph.entities[head], event, start, end, concept)
            for _, relation, tail in train[bounds[head] : bounds[head + 1]]:
                triple = (label, graph.relations[relation], graph.entities[tail])
                score = (1.0 if value != value else value) if given is None else given.get(_triple_key(triple))
                _keep(triple, score, least, known, best, report)
    return _made(best, report)


def read_abstract_triples(path: str | os.PathLike[str], threshold: float = 0.0) -> AbstractTriples:
    r"""Read abstract triples with scores.

    :param path: a CSV or TSV file, packed or not: the columns ``head``, ``relation``, ``tail`` and ``score``, in this
        order if there is no header; brackets in heads are removed, and so is an instance behind the sentence
    :param threshold: the least score; lower ones are dropped, and counted as ``implausible``
    :returns: the triples, each once with the highest of its scores
    :raises InvalidInputError: if the file is missing or malformed, the message names the line

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "triples.tsv")
    ...     _ = path.write_text("PersonX sees [animal]. [animal]\txWant\tto run\t0.9\n", encoding="utf-8")
    ...     read_abstract_triples(path, 0.5).triples.tolist()
    [['PersonX sees animal', 'xWant', 'to run']]
    """
    least = validate_share("threshold", threshold)
    path = Path(path)
    header = set(_COLUMNS) <= set(header_of(path))
    report: Counter[str] = Counter()
    best: dict[_Triple, float] = {}
    for line, (head, relation, tail, cell) in read_rows(path, _COLUMNS if header else range(4), header=header):
        try:
            score = float(cell)
        except ValueError:
            score = float("nan")
        if not 0 <= score <= 1:
            raise malformed(path, line, f"the score {cell!r}", "a number from 0 to 1 in the last column")
        triple = (_without_brackets(head), squeeze(relation), squeeze(tail))
        if not all(triple):
            raise malformed(path, line, f"the triple {triple}", "head, relation and tail")
        _keep(triple, score, least, frozenset(), best, report)
    return _made(best, report)


def _keep(
    triple: _Triple,
    score: float | None,
    least: float,
    known: Iterable[_Triple],
    best: dict[_Triple, float],
    report: Counter[str],
) -> None:
    if score is None:
        report["without_score"] += 1
    elif score < least:
        report["implausible"] += 1
    elif triple in known:
        report["known"] += 1
    else:
        report["duplicate"] += triple in best
        best[triple] = max(score, best.get(triple, score))


def _made(best: Mapping[_Triple, float], report: Counter[str]) -> AbstractTriples:
    plausibility = torch.tensor(list(best.values()), dtype=torch.float32)
    return AbstractTriples(as_label_array(list(best), "triples"), plausibility, +report)


def _labelled(graph: KnowledgeGraph, name: str) -> list[_Triple]:
    triples = getattr(graph, name).tolist()
    return [(graph.entities[h], graph.relations[r], graph.entities[t]) for h, r, t in triples]


def _scores(scores: AbstractTriples | Mapping[_Triple, float]) -> dict[_Triple, float]:
    if isinstance(scores, AbstractTriples):
        pairs = zip(scores.triples.tolist(), scores.plausibility.tolist(), strict=True)
        return {_triple_key(triple): score for triple, score in pairs}
    return {_triple_key(triple): float(score) for triple, score in scores.items()}


def _key(phrase: str) -> str:
    return " ".join(word for word in words_of(phrase, ATOMIC_PERSONS) if word != WILDCARD)


def _triple_key(triple: Iterable[str]) -> _Triple:
    head, relation, tail = triple
    return _key(head), relation, _key(tail)


def _replaced(head: str, event: str, start: int, end: int, concept: str) -> str:
    """Replace the words of a head that are those between two places of the event."""
    inside = [place for place, (first, last) in enumerate(spans_of_words(event)) if first >= start and last <= end]
    spans = spans_of_words(head)
    if not inside:
        return head
    first, last = spans[inside[0]][0], spans[inside[-1]][1]
    return squeeze(f"{head[:first]}{concept}{head[last:]}")


def _without_brackets(head: str) -> str:
    if head.count("[") == 2 and head.rstrip().endswith("]"):
        head = head[: head.rindex("[")].rstrip().removesuffix(".")
    return squeeze(head.replace("[", "").replace("]", ""))
