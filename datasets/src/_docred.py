"""From documents with clusters of mentions to pairs inside sentences."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch

from kgneg.core.errors import InvalidInputError
from kgneg.datasets._json import Record
from kgneg.datasets.relations import RelationPairs

__all__ = ["DocumentPairs", "unique_titles"]

logger = logging.getLogger(__name__)


class Mention(NamedTuple):
    """Where an entity is named."""

    sentence: int
    begin: int
    end: int


class Entity(NamedTuple):
    """What is named, and where, sentence by sentence."""

    kind: str
    mentions: Mapping[int, Sequence[Mention]]


class Row(NamedTuple):
    """A pair before its label is chosen."""

    document: int
    entities: tuple[int, int]
    mentions: tuple[Mention, Mention]
    types: tuple[str, str]
    relations: tuple[str, ...]


class DocumentPairs:
    """Makes pairs of documents.

    :param records: the documents
    :param relations: relation id -> name
    :param negative_label: the label of pairs without a relation
    :param name: what the documents are called in messages
    """

    def __init__(
        self, records: Sequence[Record], relations: Mapping[str, str] | None, negative_label: str, name: str
    ) -> None:
        self.records = records
        self.relations = relations
        self.negative_label = negative_label
        self.name = name
        self.report: Counter[str] = Counter()
        self.frequency: Counter[str] = Counter()

    def build(self) -> RelationPairs:
        """Make the pairs.

        :returns: the pairs
        :raises InvalidInputError: if a document is malformed, or there is no pair
        """
        titles = unique_titles([record.get("title", str) for record in self.records])
        sentences: list[tuple[str, ...]] = []
        rows: list[Row] = []
        positions: list[int] = []
        for number, record in enumerate(self.records):
            tokens = [record.get_tokens("a sentence", sentence) for sentence in record.get("sents", list)]
            made = list(self._pairs(number, record, tokens))
            self.report["document_without_pair"] += not made
            # only the sentences that have a pair
            used = sorted({row.mentions[0].sentence for row in made})
            position = {sentence: len(sentences) + place for place, sentence in enumerate(used)}
            sentences += [tokens[sentence] for sentence in used]
            positions += [position[row.mentions[0].sentence] for row in made]
            rows += made
        self._log()
        if not rows:
            raise InvalidInputError(
                f"{self.name}: no two entities share a sentence in {len(self.records)} documents; check their vertexSet"
            )
        return RelationPairs(
            sentences=tuple(sentences),
            sentence=torch.tensor(positions),
            head=torch.tensor([row.mentions[0][1:] for row in rows]),
            tail=torch.tensor([row.mentions[1][1:] for row in rows]),
            head_type=tuple(row.types[0] for row in rows),
            tail_type=tuple(row.types[1] for row in rows),
            labels=tuple(self._label(row.relations) for row in rows),
            all_labels=tuple(row.relations for row in rows),
            groups=tuple(titles[row.document] for row in rows),
            ids=tuple(f"{titles[row.document]}#{row.entities[0]}-{row.entities[1]}" for row in rows),
            negative_label=self.negative_label,
            report=+self.report,
        )

    def _label(self, relations: tuple[str, ...]) -> str:
        """Choose the most frequent relation."""
        return min(relations, key=lambda label: (-self.frequency[label], label), default=self.negative_label)

    def _log(self) -> None:
        """Say what was lost."""
        lost = {what: count for what, count in sorted(self.report.items()) if count}
        if lost:
            listed = ", ".join(f"{what} {count}" for what, count in lost.items())
            logger.warning("%s: not everything became a pair or a label: %s", self.name, listed)

    def _pairs(self, number: int, record: Record, tokens: Sequence[tuple[str, ...]]) -> Iterator[Row]:
        """Make the pairs of a document."""
        entities = [self._entity(record, place, tokens) for place in range(len(record.get("vertexSet", list)))]
        labels = self._labels(record, len(entities))
        for head, one in enumerate(entities):
            for tail, other in enumerate(entities):
                if head == tail:
                    continue
                relations = labels.get((head, tail), ())
                shared = one.mentions.keys() & other.mentions.keys()
                best = _closest(one, other, shared)
                if best is not None:
                    yield Row(number, (head, tail), best, (one.kind, other.kind), relations)
                elif shared:
                    self.report["label_overlapping"] += len(relations)
                    self.report["pair_overlapping"] += not relations
                else:
                    self.report["label_without_shared_sentence"] += len(relations)

    def _entity(self, record: Record, place: int, tokens: Sequence[tuple[str, ...]]) -> Entity:
        """Read the mentions of an entity."""
        listed = record.values["vertexSet"][place]
        if not isinstance(listed, list) or not listed:
            raise record.refuse(f"entity {place} of vertexSet is {listed!r:.80}", "a list of mentions")
        mentions: dict[int, list[Mention]] = defaultdict(list)
        kinds: Counter[str] = Counter()
        for values in listed:
            if not isinstance(values, Mapping):
                raise record.refuse(f"a mention of entity {place} is {values!r:.80}", "an object")
            inner = Record(f"{record.where}, a mention of entity {place}", values)
            mention = _mention(inner, tokens)
            mentions[mention.sentence].append(mention)
            kinds[inner.get("type", str)] += 1
        self.report["entity_with_several_types"] += len(kinds) > 1
        return Entity(kinds.most_common(1)[0][0], mentions)

    def _labels(self, record: Record, number: int) -> dict[tuple[int, int], tuple[str, ...]]:
        """Read the relations of a document, and count them."""
        if "labels" not in record.values:
            raise record.refuse("no labels", "a list 'labels', empty if there are none; a test set may come without")
        found: dict[tuple[int, int], tuple[str, ...]] = {}
        for place, values in enumerate(record.get("labels", list)):
            if not isinstance(values, Mapping):
                raise record.refuse(f"label {place} is {values!r:.80}", "an object with h, t and r")
            inner = Record(f"{record.where}, label {place}", values)
            ends = inner.get("h", int), inner.get("t", int)
            if min(ends) < 0 or max(ends) >= number:
                raise inner.refuse(f"the entities are {ends}", f"0 to {number - 1}")
            relation = self._relation(inner)
            if ends[0] == ends[1]:
                self.report["label_of_one_entity"] += 1
            elif relation in found.get(ends, ()):
                self.report["duplicate_label"] += 1
            else:
                found[ends] = (*found.get(ends, ()), relation)
                self.frequency[relation] += 1
        return found

    def _relation(self, record: Record) -> str:
        """Read the name of a relation."""
        relation: str = record.get("r", str)
        if self.relations is not None:
            if relation not in self.relations:
                raise record.refuse(f"the relation {relation!r} is not in relations", "a name for every relation")
            relation = self.relations[relation]
        if relation == self.negative_label:
            raise record.refuse(f"the relation {relation!r} is the negative label", "another negative_label")
        return relation


def _mention(record: Record, tokens: Sequence[tuple[str, ...]]) -> Mention:
    """Read a mention and check that it is inside of its sentence."""
    sentence, span = record.get("sent_id", int), record.get("pos", list)
    if not 0 <= sentence < len(tokens):
        raise record.refuse(f"sent_id is {sentence}", f"0 to {len(tokens) - 1}")
    length = len(tokens[sentence])
    whole = len(span) == 2 and all(isinstance(place, int) for place in span)
    if not whole or not 0 <= span[0] < span[1] <= length:
        raise record.refuse(f"pos is {span!r:.80}", f"[start, end) with 0 <= start < end <= {length}")
    return Mention(sentence, *span)


def _closest(head: Entity, tail: Entity, shared: Iterable[int]) -> tuple[Mention, Mention] | None:
    """Find the closest mentions that do not overlap, or None."""
    found = [
        (max(theirs.begin - mine.end, mine.begin - theirs.end), sentence, min(mine.begin, theirs.begin), mine, theirs)
        for sentence in shared
        for mine in head.mentions[sentence]
        for theirs in tail.mentions[sentence]
        if theirs.begin >= mine.end or mine.begin >= theirs.end
    ]
    return min(found)[-2:] if found else None


def unique_titles(titles: Sequence[str]) -> list[str]:
    """Append the number of the document to titles that are repeated.

    :param titles: one per document
    :returns: a name per document, no two the same

    >>> unique_titles(["Curie", "Warsaw", "Curie"])
    ['Curie [0]', 'Warsaw', 'Curie [2]']
    """
    counts = Counter(titles)
    taken = set(titles)
    names = []
    for number, title in enumerate(titles):
        name = title
        while counts[title] > 1 and name in taken:
            name = f"{name} [{number}]"
        taken.add(name)
        names.append(name)
    return names
