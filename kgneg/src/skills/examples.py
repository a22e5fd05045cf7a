"""Texts to learn from."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import LongTensor
from kgneg.core.validation import validate_count

if TYPE_CHECKING:
    from kgneg.skills.concepts import ConceptSet
    from kgneg.skills.matcher import LabelMatcher
    from kgneg.skills.sources import Gold

__all__ = ["Examples"]


@dataclass(frozen=True, eq=False)
class Examples:
    """Texts with concepts that they speak of; a text and a pair are there once.

    :param texts: length: t
    :param queries: shape: ``(k,)``, the text of each pair
    :param concepts: shape: ``(k,)``, its concept
    :param left_out: what was left out, and how often

    >>> examples = Examples.joined(Examples.of([("we weld", 1)]), Examples.of([("we weld", 0), ("we bake", 2)]))
    >>> examples.texts, examples.queries.tolist(), examples.concepts.tolist()
    (['we weld', 'we bake'], [0, 0, 1], [0, 1, 2])
    """

    texts: list[str]
    queries: LongTensor
    concepts: LongTensor
    left_out: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.queries)

    def __repr__(self) -> str:
        number = len(torch.unique(self.concepts))
        return f"Examples(texts={len(self.texts)}, pairs={len(self)}, concepts={number}, left_out={self.left_out})"

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, int]], left_out: dict[str, int] | None = None) -> Examples:
        """Make examples of pairs of a text and a concept; those with a blank text are left out, and counted.

        :param pairs: the pairs
        :param left_out: counts to begin with
        :returns: the examples
        """
        place: dict[str, int] = {}
        rows: set[tuple[int, int]] = set()
        blank = 0
        for text, concept in pairs:
            words = " ".join(text.split())
            if not words:
                blank += 1
                continue
            rows.add((place.setdefault(words, len(place)), concept))
        table = torch.tensor(sorted(rows), dtype=torch.long).reshape(-1, 2)
        counts = {**(left_out or {}), **({"blank": blank} if blank else {})}
        return cls(list(place), table[:, 0], table[:, 1], counts)

    @classmethod
    def mentioned(cls, matcher: LabelMatcher, texts: Sequence[str]) -> Examples:
        """Take the concepts whose labels stand in texts, letter by letter: distant supervision.

        :param matcher: finds the labels
        :param texts: sentences; those that mention nothing are left out, and counted
        :returns: the examples
        """
        rows, concepts = matcher.find_all(texts)
        nothing = len(texts) - len(torch.unique(rows))
        pairs = zip(rows.tolist(), concepts.tolist(), strict=True)
        return cls.of(((texts[row], concept) for row, concept in pairs), {"nothing mentioned": nothing})

    @classmethod
    def named(cls, concepts: ConceptSet, *, alternatives: int | None = None) -> Examples:
        """Take what a taxonomy itself says: descriptions and alternative labels speak of their concept.

        :param concepts: the concepts
        :param alternatives: at most how many alternative labels of a concept; ``None`` takes all
        :returns: the examples
        """
        pairs = [(text, number) for number, text in enumerate(concepts.descriptions)]
        pairs += [(one, number) for number, more in enumerate(concepts.alternatives) for one in more[:alternatives]]
        found = cls.of(pairs)
        found.left_out.pop("blank", None)  # a concept without a description is nothing odd
        return found

    @classmethod
    def annotated(cls, gold: Gold) -> Examples:
        """Take what people, or a language model, wrote down; texts without a concept are left out, and counted.

        :param gold: from :func:`~kgneg.skills.sources.read_gold`
        :returns: the examples
        """
        pairs = zip(gold.queries.tolist(), gold.concepts.tolist(), strict=True)
        nothing = len(gold.texts) - len(torch.unique(gold.queries))
        left_out = {"without a concept": nothing, "unknown label": sum(gold.unknown.values())}
        return cls.of(((gold.texts[row], concept) for row, concept in pairs), left_out)

    @classmethod
    def joined(cls, *parts: Examples) -> Examples:
        """Put examples together.

        :param parts: the parts
        :returns: all of them; a text that is in several has the concepts of all
        """
        counts: dict[str, int] = {}
        for part in parts:
            for what, number in part.left_out.items():
                counts[what] = counts.get(what, 0) + number
        return cls.of((pair for part in parts for pair in part.pairs()), counts)

    def pairs(self) -> Iterable[tuple[str, int]]:
        """Return the pairs of a text and a concept."""
        return (
            (self.texts[row], concept)
            for row, concept in zip(self.queries.tolist(), self.concepts.tolist(), strict=True)
        )

    def without(self, texts: Iterable[str]) -> Examples:
        """Leave out texts, such as those of a test: the same letters and digits, whatever the case, marks and blanks.

        :param texts: what must not be learnt from
        :returns: the other examples, with a count of the texts that were left out
        """
        known = {_bare(one) for one in texts} - {""}
        leaking = {row for row, text in enumerate(self.texts) if _bare(text) in known}
        pairs = zip(self.queries.tolist(), self.concepts.tolist(), strict=True)
        counts = {**self.left_out, "held out": self.left_out.get("held out", 0) + len(leaking)}
        return Examples.of(((self.texts[row], one) for row, one in pairs if row not in leaking), counts)

    def frequent(self, least: int) -> Examples:
        """Keep the concepts that enough texts speak of, for methods that learn each concept on its own.

        :param least: how many texts
        :returns: the examples, with a count of the pairs that were left out
        """
        validate_count("least", least)
        high = int(self.concepts.max()) + 1 if len(self) else 0
        enough = torch.bincount(self.concepts, minlength=high) >= least
        kept = enough[self.concepts]
        counts = {**self.left_out, "rare concept": self.left_out.get("rare concept", 0) + int((~kept).sum())}
        pairs = zip(self.queries[kept].tolist(), self.concepts[kept].tolist(), strict=True)
        return Examples.of(((self.texts[row], one) for row, one in pairs), counts)

    def check(self, number: int) -> None:
        """Refuse examples that do not fit.

        :param number: how many concepts there are
        :raises InvalidInputError: if there are none, a concept is out of range, or a text has all of them
        """
        if not len(self):
            raise InvalidInputError(
                "there is no text to learn from: give annotated texts, texts that mention labels, or a taxonomy with "
                f"descriptions or alternative labels; left out: {self.left_out or 'nothing'}"
            )
        low, high = int(self.concepts.min()), int(self.concepts.max())
        if low < 0 or high >= number:
            raise InvalidInputError(f"concept {low if low < 0 else high} is out of range: must be in [0, {number})")
        most, text = torch.bincount(self.queries).max(dim=0)
        if int(most) >= number:
            raise InvalidInputError(
                f"the text {self.texts[int(text)]!r} has all {number} concepts: none is wrong for it, leave it out"
            )


def _bare(text: str) -> str:
    """Return what makes a text this one: letters with their accents, digits, and the marks of names such as C++."""
    composed = unicodedata.normalize("NFC", text).casefold()
    return "".join(one for one in composed if one.isalnum() or one in "+#" or unicodedata.category(one) == "Mn")
