"""From phrases to what they are about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import scipy.sparse

from kgneg.core.candidates import CandidateIndex
from kgneg.core.errors import InvalidInputError
from kgneg.core.validation import validate_count, validate_flag, validate_share
from kgneg.datasets._linking import Matrix, PhraseLinker, based, binary
from kgneg.datasets._phrases import ATOMIC_PERSONS, PLACEHOLDERS, WILDCARD, shielded, words_of
from kgneg.datasets._stop_words import STOP_WORDS
from kgneg.datasets.concept_features import ConceptFeatures
from kgneg.datasets.concept_table import ConceptTable
from kgneg.datasets.taxonomy import Taxonomy

__all__ = ["Conceptualiser"]


class _Lexicon(NamedTuple):
    """The labels of the concepts of one part of speech."""

    part: str
    words: frozenset[str]
    linker: PhraseLinker
    #: labels x concepts, those that a label stands for and those above them
    above: Matrix


class Conceptualiser:
    """Finds words, concepts and synsets of phrases, as CAR (Wang et al., EMNLP Findings 2023) does for events.

    A phrase has up to three kinds of features:

    * ``word``: its words in small letters, without stop words, persons and wildcards;
    * ``concept``: for each instance of a table of concepts that stands in it, the concepts of the instance;
    * ``synset``: for each label of a WordNet that stands in it, the synsets of the label and what is above them.

    Instances and labels stand for whole words: "art" is not in "party". Labels are looked for in the phrase as it
    stands, and with all words in their base forms as nouns and as verbs: "takes off" has the label "take off".

    :param wordnet: synsets, from :func:`~kgneg.datasets.read_wordnet`, or any other taxonomy whose labels are words
    :param depth: how many steps above the synset of a label to go; 0 takes that synset alone
    :param max_senses: labels with more synsets than this are left out: most of their synsets are not what is meant
    :param table: concepts of instances, from :func:`~kgneg.datasets.read_concepts`
    :param keywords: whether words are features
    :param stop_words: words that are no features, and no labels of synsets by themselves; ``None`` takes English
        function words
    :param max_share: features of more than this share of the phrases are dropped
    :param persons: word -> person that it stands for, in phrases and instances; persons are no features. ``None``
        takes those of copies of ATOMIC: John is PersonX, and Tom PersonY
    :raises InvalidInputError: if a number is out of range, or there would be no features at all

    >>> table = ConceptTable.from_rows([("PersonX feeds [the lion]", "animal", None)])
    >>> made = Conceptualiser(table=table).conceptualise(["John sees the lion", "John leaves"])
    >>> [(made.kinds[one], made.names[one]) for one in made.features.members(0)]
    [('word', 'lion'), ('word', 'sees'), ('concept', 'animal')]
    """

    def __init__(
        self,
        *,
        wordnet: Taxonomy | None = None,
        depth: int = 2,
        max_senses: int = 6,
        table: ConceptTable | None = None,
        keywords: bool = True,
        stop_words: Collection[str] | None = None,
        max_share: float = 1.0,
        persons: Mapping[str, str] | None = None,
    ) -> None:
        self.depth = validate_count("depth", depth, 0)
        self.max_senses = validate_count("max_senses", max_senses)
        self.keywords = validate_flag("keywords", keywords)
        self.max_share = validate_share("max_share", max_share)
        if wordnet is None and table is None and not keywords:
            raise InvalidInputError(
                "got no wordnet, no table and keywords=False: give one of them, or no feature is left"
            )
        if isinstance(stop_words, str):
            raise InvalidInputError(f"stop_words must be several words, got the text {stop_words!r}: [{stop_words!r}]")
        names = ATOMIC_PERSONS if persons is None else persons
        self.persons = {one.lower(): person.lower() for one, person in names.items()}
        chosen = STOP_WORDS if stop_words is None else stop_words
        self.stop_words = frozenset(one.lower() for one in chosen)
        self._ignored = self.stop_words | PLACEHOLDERS | {WILDCARD} | set(self.persons.values())
        self.wordnet, self.table = wordnet, table
        #: labels that were left out because they have too many synsets
        self.ambiguous = 0
        self._lexicons = [] if wordnet is None else self._read_wordnet(wordnet)
        self._instances: list[str] = []
        self._concepts: list[str] = []
        self._of_instance = binary([], [], (0, 0))
        if table is not None:
            self._read_table(table)

    def conceptualise(
        self,
        phrases: Sequence[str],
        *,
        keywords: Sequence[Sequence[str] | None] | None = None,
        exact: bool = True,
    ) -> ConceptFeatures:
        """Find the features of phrases.

        :param phrases: the phrases, such as the entities of a graph
        :param keywords: the keywords of each phrase in place of its words, such as those of
            :func:`~kgneg.datasets.read_atomic_keywords`; ``None`` for a phrase takes its words
        :param exact: whether instances of the table stand for whole words; ``False`` finds them inside of words, too,
            as the released code of CAR does
        :returns: the features; the report has ``phrases``, ``without_feature``, ``without_<kind>``,
            ``common_feature`` (dropped because of ``max_share``) and ``ambiguous_label``
        :raises InvalidInputError: if there is no phrase, one is no text, keywords are not as many, or no phrase has any
            feature
        """
        if isinstance(phrases, str) or not len(phrases):
            raise InvalidInputError(f"expected at least one phrase in a sequence, got {phrases!r}")
        for place, phrase in enumerate(phrases):
            if not isinstance(phrase, str):
                raise InvalidInputError(
                    f"phrase {place} must be a text, got {phrase!r} of type {type(phrase).__name__}"
                )
        if keywords is not None and (not self.keywords or len(keywords) != len(phrases)):
            wrong = (
                f"{len(keywords)} of them for {len(phrases)} phrases" if self.keywords else "them with keywords=False"
            )
            raise InvalidInputError(f"keywords: got {wrong}")
        texts = [words_of(phrase, self.persons) for phrase in phrases]
        plain = [" ".join(words) for words in texts]
        found: list[tuple[str, Sequence[str], Matrix]] = []
        if self.keywords:
            found.append(("word", *self._words(texts, keywords)))
        if self.table is not None:
            linker = PhraseLinker([*map(shielded, self._instances)], exact=exact)
            found.append(("concept", self._concepts, linker.find([*map(shielded, plain)]) @ self._of_instance))
        if self.wordnet is not None:
            found.append(("synset", self.wordnet.concepts, self._synsets(texts, plain)))
        return self._gather(found, len(phrases))

    # Reading

    def _read_table(self, table: ConceptTable) -> None:
        rows, columns = [], []
        concepts: dict[str, int] = {}
        instances: dict[str, int] = {}
        for instance, names in table.by_instance().items():
            words = words_of(instance, self.persons)
            if self._ignored.issuperset(words):
                continue
            row = instances.setdefault(" ".join(words), len(instances))
            for name in names:
                rows.append(row)
                columns.append(concepts.setdefault(name.lower(), len(concepts)))
        self._instances, self._concepts = list(instances), list(concepts)
        self._of_instance = binary(rows, columns, (len(instances), len(concepts)))

    def _read_wordnet(self, wordnet: Taxonomy) -> list[_Lexicon]:
        owners: dict[str, dict[int, str]] = {}
        for place, (label, more) in enumerate(zip(wordnet.labels, wordnet.alternatives, strict=True)):
            part = "verb" if wordnet.kinds[place] == "verb" else "noun"
            for form in (label, *more):
                words = words_of(form)
                if len(words) > 1 or not self._ignored.issuperset(words):
                    owners.setdefault(" ".join(words), {})[place] = part
        kept = {form: places for form, places in owners.items() if len(places) <= self.max_senses}
        self.ambiguous = len(owners) - len(kept)
        number = len(wordnet)
        child, parent = (one.tolist() for one in wordnet.parents.pairs())
        step = binary([*range(number), *child], [*range(number), *parent], (number, number))
        made = []
        for part in ("noun", "verb"):
            every = {form: [one for one in kept[form] if kept[form][one] == part] for form in sorted(kept)}
            forms = {form: places for form, places in every.items() if places}
            above = binary(
                [row for row, places in enumerate(forms.values()) for _ in places],
                [*chain.from_iterable(forms.values())],
                (len(forms), number),
            )
            for _ in range(self.depth):
                above = above @ step
            # endings are taken off towards all words of labels, also of those with many senses
            known = frozenset(chain.from_iterable(form.split() for form in owners if part in owners[form].values()))
            made.append(_Lexicon(part, known, PhraseLinker(list(forms)), above))
        return made

    # Finding

    def _words(
        self, texts: Sequence[Sequence[str]], keywords: Sequence[Sequence[str] | None] | None
    ) -> tuple[list[str], Matrix]:
        chosen: Iterable[Sequence[str]] = texts
        if keywords is not None:
            chosen = [
                words if given is None else [" ".join(words_of(one, self.persons)) for one in given]
                for words, given in zip(texts, keywords, strict=True)
            ]
        ids: dict[str, int] = {}
        rows, columns = [], []
        for row, words in enumerate(chosen):
            for word in words:
                if word and word not in self._ignored:
                    rows.append(row)
                    columns.append(ids.setdefault(word, len(ids)))
        return list(ids), binary(rows, columns, (len(texts), len(ids)))

    def _synsets(self, texts: Sequence[Sequence[str]], plain: Sequence[str]) -> Matrix:
        found = binary([], [], (len(texts), self._lexicons[0].above.shape[1]))
        for lexicon in self._lexicons:
            # "has" is not the plural of "ha", but "takes" in "takes off" is a form of "take"
            fixed = self._ignored if lexicon.part == "noun" else frozenset[str]()
            bases = based(texts, lexicon.part, lexicon.words, fixed)
            labels = lexicon.linker.find(plain) + lexicon.linker.find(bases)
            found = found + labels @ lexicon.above
        return found

    def _gather(self, found: Sequence[tuple[str, Sequence[str], Matrix]], number: int) -> ConceptFeatures:
        """Put the kinds side by side, without features that no phrase has or too many."""
        report = Counter({"phrases": number, "ambiguous_label": self.ambiguous})
        names: list[str] = []
        kinds: list[str] = []
        parts = []
        for kind, known, matrix in found:
            columns = matrix.tocsc()
            frequency = np.diff(columns.indptr)
            common = frequency > self.max_share * number
            report["common_feature"] += int(common.sum())
            kept = sorted(np.flatnonzero((frequency > 0) & ~common).tolist(), key=known.__getitem__)
            parts.append(columns[:, kept].tocsr())
            names += [known[one] for one in kept]
            kinds += [kind] * len(kept)
            report[f"without_{kind}"] += int((np.diff(parts[-1].indptr) == 0).sum())
        whole = scipy.sparse.hstack(parts, format="csr")
        if not whole.nnz:
            raise InvalidInputError(
                f"none of the {number} phrases has a feature. Give a larger max_share ({self.max_share}), fewer stop "
                "words, or a wordnet or table of concepts in the language of the phrases."
            )
        report["without_feature"] += int((np.diff(whole.indptr) == 0).sum())
        return ConceptFeatures(CandidateIndex.from_scipy(whole), tuple(names), tuple(kinds), +report)
