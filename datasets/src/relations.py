"""Candidate pairs of entities inside sentences, labelled with relations."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import LongTensor
from kgneg.core.validation import validate_count

__all__ = ["RelationPairs"]

logger = logging.getLogger(__name__)

#: From how many words between head and tail on a bucket of ``RelationPairs.places`` begins, and its name.
_DISTANCES = {0: "0", 1: "1", 2: "2", 3: "3-4", 5: "5-7", 8: "8-11", 12: "12-19", 20: "20+"}
_TEXTS = ("head_type", "tail_type", "labels", "all_labels", "groups", "ids")


@dataclass(frozen=True, eq=False)
class RelationPairs:
    """Pairs of entities, each inside one sentence, with the relation that a data set says they have.

    A pair without relation has the negative label; that is where the mistakes of such data sets are. Build one with a
    reader of this room; the constructor checks what it gets.

    :param sentences: the tokens of each sentence
    :param sentence: shape: ``(n,)``, dtype: int64, the position of each pair's sentence
    :param head: shape: ``(n, 2)``, dtype: int64, first token of the head and the token after its last one
    :param tail: shape: ``(n, 2)``, dtype: int64, the same of the tail
    :param head_type: the type of each head
    :param tail_type: the type of each tail
    :param labels: one relation per pair, or the negative label
    :param all_labels: all relations of each pair, among them its label; nothing for a negative
    :param groups: what each pair comes from, usually a document; pairs of a group belong on one side of a split
    :param ids: a name for each pair, no two the same
    :param negative_label: the label of pairs without a relation
    :param report: how many of what a reader could not turn into pairs; a key that is missing counts as 0
    :raises InvalidInputError: if there is no pair, lengths differ, a span or a sentence is out of range, an id occurs
        twice, or a label is not among all labels of its pair

    >>> pairs = RelationPairs(
    ...     sentences=(("Curie", "was", "born", "in", "Warsaw"),), sentence=torch.tensor([0]),
    ...     head=torch.tensor([[0, 1]]), tail=torch.tensor([[4, 5]]), head_type=("PER",), tail_type=("LOC",),
    ...     labels=("born in",), all_labels=(("born in",),), groups=("Curie",), ids=("Curie#0-1",), negative_label="NA",
    ... )
    >>> pairs.words(0), pairs.types
    ('[H] Curie [/H] was born in [T] Warsaw [/T]', ('PER LOC',))
    """

    sentences: tuple[tuple[str, ...], ...] = field(repr=False)
    sentence: LongTensor = field(repr=False)
    head: LongTensor = field(repr=False)
    tail: LongTensor = field(repr=False)
    head_type: tuple[str, ...] = field(repr=False)
    tail_type: tuple[str, ...] = field(repr=False)
    labels: tuple[str, ...] = field(repr=False)
    all_labels: tuple[tuple[str, ...], ...] = field(repr=False)
    groups: tuple[str, ...] = field(repr=False)
    ids: tuple[str, ...] = field(repr=False)
    negative_label: str
    report: Mapping[str, int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._check_lengths()
        self._check_spans()
        repeated = next(((name, count) for name, count in Counter(self.ids).most_common(1) if count > 1), None)
        if repeated:
            raise InvalidInputError(
                f"ids: {repeated[0]!r} is the id of {repeated[1]} pairs; give each pair an id of its own"
            )
        for row, (label, every) in enumerate(zip(self.labels, self.all_labels, strict=True)):
            if label == self.negative_label and every:
                raise InvalidInputError(
                    f"all_labels: pair {row} ({self.ids[row]!r}) is a negative but has the relations {list(every)}; "
                    "give it one of them as its label, or no relation"
                )
            if label != self.negative_label and (label not in every or self.negative_label in every):
                raise InvalidInputError(
                    f"all_labels: pair {row} ({self.ids[row]!r}) has the label {label!r} and the relations "
                    f"{list(every)}; the label must be among them and {self.negative_label!r} must not"
                )

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        counts = (
            ("pairs", len(self)),
            ("positive", len(self) - self.labels.count(self.negative_label)),
            ("relations", len(set(self.labels) - {self.negative_label})),
            ("sentences", len(self.sentences)),
            ("groups", len(set(self.groups))),
        )
        return f"RelationPairs({', '.join(f'{what}={count}' for what, count in counts)})"

    @property
    def types(self) -> tuple[str, ...]:
        """The type of the head and the type of the tail, with a space between them."""
        return tuple(f"{head} {tail}" for head, tail in zip(self.head_type, self.tail_type, strict=True))

    @property
    def places(self) -> tuple[str, ...]:
        """Which of head and tail begins first, and how many words are between them.

        ``HT 3-4`` is a head that begins before its tail, with three or four words in between. The buckets are 0, 1, 2,
        3-4, 5-7, 8-11, 12-19 and 20+; spans that overlap have no word in between.
        """
        words = torch.maximum(self.head[:, 0], self.tail[:, 0]) - torch.minimum(self.head[:, 1], self.tail[:, 1])
        buckets = torch.bucketize(words.clamp(min=0), torch.tensor(list(_DISTANCES)), right=True) - 1
        names = list(_DISTANCES.values())
        first = (self.head[:, 0] <= self.tail[:, 0]).tolist()
        return tuple(
            f"{'HT' if head else 'TH'} {names[bucket]}" for head, bucket in zip(first, buckets.tolist(), strict=True)
        )

    def select(self, rows: LongTensor | Sequence[int]) -> RelationPairs:
        """Choose pairs.

        :param rows: shape: ``(m,)``, positions of pairs without repetitions, in the wished order; or a mask of all
        :returns: these pairs, and of the sentences those that they need; the report stays
        :raises InvalidInputError: if there are no rows, or one is out of range or repeated
        """
        rows = torch.as_tensor(rows)
        if rows.dtype == torch.bool:
            if rows.shape != (len(self),):
                raise InvalidInputError(f"rows: got a mask of shape {tuple(rows.shape)}, expected ({len(self)},)")
            rows = rows.nonzero().squeeze(-1)
        rows = rows.long()
        self._check_rows(rows)
        used, sentence = torch.unique(self.sentence[rows], return_inverse=True)
        texts: dict[str, Any] = {name: tuple(getattr(self, name)[row] for row in rows.tolist()) for name in _TEXTS}
        return replace(
            self,
            sentences=tuple(self.sentences[row] for row in used.tolist()),
            sentence=sentence,
            head=self.head[rows],
            tail=self.tail[rows],
            **texts,
        )

    def words(self, row: int) -> str:
        """Write the sentence of a pair for people to read, with ``[H] .. [/H]`` and ``[T] .. [/T]`` around its ends.

        :param row: the position of the pair
        :returns: the tokens and the marks, with spaces between them
        :raises InvalidInputError: if the row is out of range
        """
        self._check_rows(torch.tensor([row]))
        tokens = self.sentences[int(self.sentence[row])]
        spans = {"H": self.head[row].tolist(), "T": self.tail[row].tolist()}
        parts: list[str] = []
        for place in range(len(tokens) + 1):
            # of spans that share an end the shorter one is inside
            closing = [(begin, mark) for mark, (begin, end) in spans.items() if end == place]
            opening = [(end, mark) for mark, (begin, end) in spans.items() if begin == place]
            parts += [f"[/{mark}]" for _, mark in sorted(closing, reverse=True)]
            parts += [f"[{mark}]" for _, mark in sorted(opening, reverse=True)]
            parts += tokens[place : place + 1]
        return " ".join(parts)

    def with_labels(self, labels: Sequence[str], all_labels: Sequence[Sequence[str]] | None = None) -> RelationPairs:
        """Label the same pairs in another way.

        :param labels: length: n, one label per pair
        :param all_labels: length: n, all relations of each pair; by default its label alone
        :returns: the pairs with these labels
        :raises InvalidInputError: if a length differs, or labels contradict each other as in the constructor
        """
        if all_labels is None:
            all_labels = [() if label == self.negative_label else (label,) for label in labels]
        return replace(self, labels=tuple(labels), all_labels=tuple(tuple(every) for every in all_labels))

    def merged(self, min_count: int, other: str = "other") -> RelationPairs:
        """Put rare relations together. What was merged is logged.

        :param min_count: a relation that is the label of fewer pairs is merged
        :param other: the label that replaces them
        :returns: the pairs with the new labels; the negative label is never merged
        :raises InvalidInputError: if ``min_count`` is no positive integer, or ``other`` is already the negative label
            or a relation that stays
        """
        validate_count("min_count", min_count)
        counts = Counter(self.labels)
        known = set(counts).union(*self.all_labels) - {self.negative_label}
        rare = {label for label in known if counts[label] < min_count}
        if not rare:
            return self
        if other == self.negative_label or other in known - rare:
            raise InvalidInputError(f"other: {other!r} is already a label of these pairs; choose another name")
        labels = tuple(other if label in rare else label for label in self.labels)
        logger.info(
            "merged %d of %d relations with fewer than %d pairs (%d pairs in total) into %r",
            len(rare),
            len(known),
            min_count,
            sum(counts[label] for label in rare),
            other,
        )
        every = (dict.fromkeys(other if label in rare else label for label in row) for row in self.all_labels)
        return replace(self, labels=labels, all_labels=tuple(tuple(row) for row in every))

    def _check_lengths(self) -> None:
        """Refuse no pairs, and columns of different lengths or shapes."""
        number = len(self.ids)
        if not number:
            raise InvalidInputError("ids: got no pair, expected at least one; is this the right file or selection?")
        for name in _TEXTS:
            if len(getattr(self, name)) != number:
                raise InvalidInputError(
                    f"{name}: got {len(getattr(self, name))} values for {number} pairs; give one per pair"
                )
        for name, shape in (("sentence", (number,)), ("head", (number, 2)), ("tail", (number, 2))):
            tensor = getattr(self, name)
            if tuple(tensor.shape) != shape or tensor.dtype != torch.int64:
                raise InvalidInputError(
                    f"{name}: got shape {tuple(tensor.shape)} and dtype {tensor.dtype}, expected {shape} and "
                    "torch.int64"
                )

    def _check_spans(self) -> None:
        """Refuse sentences that are not there, and spans that are empty or outside of their sentence."""
        wrong = ((self.sentence < 0) | (self.sentence >= len(self.sentences))).nonzero()
        if len(wrong):
            row = int(wrong[0])
            raise InvalidInputError(
                f"sentence: pair {row} ({self.ids[row]!r}) is in sentence {int(self.sentence[row])}, "
                f"but there are {len(self.sentences)}; count them from 0"
            )
        lengths = torch.tensor([len(tokens) for tokens in self.sentences])[self.sentence]
        for name, spans in (("head", self.head), ("tail", self.tail)):
            begin, end = spans.unbind(-1)
            wrong = ((begin < 0) | (begin >= end) | (end > lengths)).nonzero()
            if len(wrong):
                row = int(wrong[0])
                raise InvalidInputError(
                    f"{name}: pair {row} ({self.ids[row]!r}) has the span {spans[row].tolist()} in a sentence of "
                    f"{int(lengths[row])} tokens; give [start, end) with 0 <= start < end <= {int(lengths[row])}"
                )

    def _check_rows(self, rows: LongTensor) -> None:
        """Refuse rows that are none of these pairs."""
        if rows.ndim != 1 or not len(rows):
            raise InvalidInputError(f"rows: got shape {tuple(rows.shape)}, expected (m,) with m > 0")
        low, high = int(rows.min()), int(rows.max())
        if low < 0 or high >= len(self):
            raise InvalidInputError(f"rows: got {low if low < 0 else high}, expected 0 to {len(self) - 1}")
        if len(rows) > len(torch.unique(rows)):
            raise InvalidInputError("rows: a pair is chosen twice, and ids must be unique; choose each once")
