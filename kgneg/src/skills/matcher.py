"""Labels that stand in a text, letter by letter."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import LongTensor
from kgneg.core.validation import choose, validate_count

__all__ = ["LabelMatcher", "Mention"]


class Mention(NamedTuple):
    """A label in a text."""

    #: where it begins and ends in the text, in characters
    start: int
    end: int
    #: the concepts that have the label
    concepts: tuple[int, ...]
    #: the words of the text
    text: str


class LabelMatcher:
    """Finds the labels of concepts in texts, all of them in one pass (Aho and Corasick, CACM 1975).

    A label counts where it stands as whole words, whatever the case of its letters; of labels that overlap, the one
    that begins first, and of those the longest. A label of several concepts is ambiguous: see :attr:`ambiguous`.

    :param labels: length: n, the preferred label of each concept
    :param alternatives: length: n, further labels
    :param ambiguous: ``"all"`` takes an ambiguous label as a mention of all its concepts, ``"preferred"`` of those
        whose preferred label it is, or of all where it is of none, ``"drop"`` of none
    :param least: how many letters and digits a label must have to be looked for; the others are in :attr:`short`
    :raises InvalidInputError: if there is no label, or numbers differ

    >>> matcher = LabelMatcher(["weld", "weld metal", "manage teams"], [[], ["metal welding"], []])
    >>> [mention.text for mention in matcher.find("Weld metal, weld; welders need not. Manage teams!")]
    ['Weld metal', 'weld', 'Manage teams']
    """

    def __init__(
        self,
        labels: Sequence[str],
        alternatives: Sequence[Sequence[str]] | None = None,
        *,
        ambiguous: str = "preferred",
        least: int = 2,
    ) -> None:
        from ahocorasick_rs import AhoCorasick, MatchKind

        choose("ambiguous", ambiguous, ("all", "preferred", "drop"))
        validate_count("least", least)
        further: Sequence[Sequence[str]] = [()] * len(labels) if alternatives is None else alternatives
        if len(further) != len(labels):
            raise InvalidInputError(f"there are {len(labels)} labels, but alternatives for {len(further)}")
        owners: dict[str, dict[int, bool]] = defaultdict(dict)
        #: how ambiguous labels are taken, and how short ones are
        self.options = {"ambiguous": ambiguous, "least": least}
        #: labels that are too short to be looked for
        self.short: list[str] = []
        for concept, (label, more) in enumerate(zip(labels, further, strict=True)):
            if isinstance(more, str):
                raise InvalidInputError(f"got the text {more!r} as alternatives, expected several: [{more!r}]")
            for form in (label, *more):
                words = _plain(" ".join(form.split()))[0]
                if sum(map(str.isalnum, words)) < least:
                    self.short += [form] if form else []
                    continue
                owners[words][concept] = owners[words].get(concept, False) or form == label
        if not owners:
            raise InvalidInputError(
                f"none of the {len(labels)} labels has {least} letters or digits: nothing to look for"
            )
        #: labels of several concepts -> those concepts
        self.ambiguous: dict[str, tuple[int, ...]] = {
            form: tuple(sorted(concepts)) for form, concepts in sorted(owners.items()) if len(concepts) > 1
        }
        self._concepts = {form: _chosen(concepts, ambiguous) for form, concepts in owners.items()}
        self.num_concepts = len(labels)
        self._forms = [form for form, concepts in self._concepts.items() if concepts]
        self._automaton = AhoCorasick(self._forms, matchkind=MatchKind.Standard)

    def find(self, text: str, *, overlapping: bool = False) -> list[Mention]:
        """Find the labels in a text.

        :param text: the text
        :param overlapping: whether labels within and across others are mentions, too
        :returns: the mentions, from left to right
        """
        lowered, places = _plain(text)
        found = []
        for number, start, end in self._automaton.find_matches_as_indexes(lowered, overlapping=True):
            if _apart(lowered, start) and _apart(lowered, end):
                found.append((start, -end, number))
        mentions, free = [], 0
        for start, end, number in sorted(found):
            if start >= free or overlapping:
                free = -end
                begin, stop = (start, free) if places is None else (places[start][0], places[free - 1][1])
                mentions.append(Mention(begin, stop, self._concepts[self._forms[number]], text[begin:stop]))
        return mentions

    def find_all(self, texts: Iterable[str]) -> tuple[LongTensor, LongTensor]:
        """Find the concepts that are mentioned in texts: distant labels.

        :param texts: the texts
        :returns: two tensors of shape ``(k,)``: the number of a text and a concept that it mentions, each pair once, in
            ascending order
        """
        pairs = [
            (number, concept)
            for number, text in enumerate(texts)
            for concept in sorted({one for mention in self.find(text) for one in mention.concepts})
        ]
        table = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2)
        return table[:, 0], table[:, 1]


def _chosen(concepts: dict[int, bool], ambiguous: str) -> tuple[int, ...]:
    everything = tuple(sorted(concepts))
    if len(everything) == 1 or ambiguous == "all":
        return everything
    if ambiguous == "drop":
        return ()
    return tuple(one for one in everything if concepts[one]) or everything


def _plain(text: str) -> tuple[str, list[tuple[int, int]] | None]:
    """Return the text composed (NFC), in small letters and with single blanks, and where each letter of it was.

    :param text: the text
    :returns: the letters, and for each the stretch of the text that it is from; ``None`` where nothing has moved
    """
    if text.isascii() and not _RUN.search(text):
        return text.lower().translate(_WHITE), None
    letters: list[str] = []
    places: list[tuple[int, int]] = []
    begin = 0
    while begin < len(text):
        end = begin + 1
        while end < len(text) and unicodedata.combining(text[end]):
            end += 1
        piece = unicodedata.normalize("NFC", text[begin:end]).lower()
        if not piece.isspace():
            letters += piece
            places += [(begin, end)] * len(piece)
        elif not letters or letters[-1] != " ":
            letters.append(" ")
            places.append((begin, end))
        begin = end
    return "".join(letters), places


_WHITE, _RUN = {ord(one): " " for one in "\t\n\r\x0b\x0c\x1c\x1d\x1e\x1f"}, re.compile(r"\s\s")


def _apart(text: str, place: int) -> bool:
    """Return whether no word goes on over a place."""
    if not 0 < place < len(text):
        return True
    return not (_of_word(text[place - 1]) and _of_word(text[place]))


def _of_word(letter: str) -> bool:
    return letter.isalnum() or letter == "_" or unicodedata.category(letter).startswith("M")
