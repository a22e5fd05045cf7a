"""Words and concepts that phrases are about, as sparse features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from kgneg.core.candidates import CandidateIndex
from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import BoolTensor, FloatTensor, LongTensor

__all__ = ["ConceptFeatures"]


@dataclass(frozen=True, eq=False)
class ConceptFeatures:
    """The features of phrases; :class:`Conceptualiser` makes them.

    :param features: phrases x features, which phrase has which
    :param names: length: the number of features, a word, a concept, or the identifier of a synset
    :param kinds: of each feature, ``"word"``, ``"concept"`` or ``"synset"``
    :param report: how many phrases there are, and how many have no feature, none of a kind, and so on
    :raises InvalidInputError: if names or kinds are not as many as features, or a name is there twice in a kind

    >>> features = CandidateIndex.from_lists([[0, 1], [1]], num_columns=2)
    >>> made = ConceptFeatures(features, ("lion", "animal"), ("word", "concept"))
    >>> made
    ConceptFeatures(phrases=2, features=2, concept=1, word=1)
    >>> made.idf().exp().tolist(), made.of_kind("concept").names
    ([2.0, 1.0], ('animal',))
    """

    features: CandidateIndex = field(repr=False)
    names: tuple[str, ...] = field(repr=False)
    kinds: tuple[str, ...] = field(repr=False)
    report: Mapping[str, int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        number = self.features.num_columns
        if not len(self.names) == len(self.kinds) == number:
            raise InvalidInputError(f"got {len(self.names)} names and {len(self.kinds)} kinds for {number} features")
        if len(set(zip(self.kinds, self.names, strict=True))) < number:
            raise InvalidInputError("a feature is there twice: names must be distinct within a kind")

    def __repr__(self) -> str:
        counts = "".join(f", {kind}={count}" for kind, count in sorted(Counter(self.kinds).items()))
        return f"ConceptFeatures(phrases={len(self)}, features={len(self.names)}{counts})"

    def __len__(self) -> int:
        return self.features.num_rows

    def frequencies(self) -> LongTensor:
        """Return how many phrases have each feature.

        :returns: shape: ``(features,)``
        """
        return torch.bincount(self.features.indices.long(), minlength=len(self.names))

    def idf(self) -> FloatTensor:
        """Return how rare each feature is: the logarithm of phrases over phrases that have it (Sparck Jones, 1972).

        :returns: shape: ``(features,)``, float32, at least 0; a feature of no phrase is as rare as one of a single one
        """
        return (len(self) / self.frequencies().clamp(min=1).double()).log().float()

    def of_kind(self, *kinds: str) -> ConceptFeatures:
        """Return the features of some kinds.

        :param kinds: the kinds
        :returns: all phrases with these features
        :raises InvalidInputError: if there is no feature of one of them
        """
        unknown = sorted(set(kinds).difference(self.kinds))
        if unknown or not kinds:
            raise InvalidInputError(
                f"there are no features of the kind {', '.join(map(repr, unknown)) or '(none given)'}; the kinds are "
                f"{', '.join(sorted(set(self.kinds)))}"
            )
        return self.select(torch.tensor([kind in kinds for kind in self.kinds]))

    def select(self, chosen: LongTensor | BoolTensor) -> ConceptFeatures:
        """Return some of the features.

        :param chosen: shape: ``(k,)``, distinct ids of features; or ``(features,)``, whether to take each
        :returns: all phrases with these features, which are numbered anew
        :raises InvalidInputError: if none is chosen, or one twice or out of range
        """
        ids = chosen.nonzero().squeeze(1) if chosen.dtype == torch.bool else chosen.long()
        number = len(self.names)
        if chosen.dtype == torch.bool and len(chosen) != number:
            raise InvalidInputError(f"got {len(chosen)} flags for {number} features")
        if not len(ids) or int(ids.min()) < 0 or int(ids.max()) >= number or len(set(ids.tolist())) < len(ids):
            raise InvalidInputError(f"got {len(ids)} ids, expected distinct ones below {number}, at least one")
        places = torch.full((number,), -1)
        places[ids] = torch.arange(len(ids))
        return self._numbered(places, tuple(self.names[one] for one in ids), tuple(self.kinds[one] for one in ids))

    def merge(self, kind: str = "word") -> ConceptFeatures:
        """Return features that are one where they have the same name, as the code of CAR mixes words and concepts.

        :param kind: the kind of those that were of several
        :returns: the features in the order of their names
        """
        ids = {name: place for place, name in enumerate(sorted(set(self.names)))}
        kinds: dict[str, str] = {}
        for name, one in zip(self.names, self.kinds, strict=True):
            kinds[name] = one if kinds.get(name, one) == one else kind
        places = torch.tensor([ids[name] for name in self.names])
        return self._numbered(places, tuple(ids), tuple(kinds[name] for name in ids))

    def take(self, phrases: LongTensor) -> ConceptFeatures:
        """Return the features of some phrases, for example those of the entities of a graph.

        :param phrases: shape: ``(k,)``, the numbers of the phrases
        :returns: those phrases with all features
        :raises InvalidInputError: if a number is out of range
        """
        if len(phrases) and (int(phrases.min()) < 0 or int(phrases.max()) >= len(self)):
            raise InvalidInputError(f"got numbers from {int(phrases.min())} to {int(phrases.max())} of {len(self)}")
        return ConceptFeatures(self.features.unite(phrases.long()[:, None]), self.names, self.kinds, self.report)

    def _numbered(self, places: LongTensor, names: tuple[str, ...], kinds: tuple[str, ...]) -> ConceptFeatures:
        rows, columns = self.features.pairs()
        columns = places[columns]
        kept = columns >= 0
        features = CandidateIndex.from_pairs(rows[kept], columns[kept], num_rows=len(self), num_columns=len(names))
        return ConceptFeatures(features, names, kinds, self.report)
