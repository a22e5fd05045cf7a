"""The concepts that texts are searched for, and their relatives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from kgneg.core.cache import content_key
from kgneg.core.candidates import CandidateIndex
from kgneg.core.encode import encode_texts, resolve_encoder
from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import LongTensor
from kgneg.core.validation import choose
from kgneg.datasets import Taxonomy
from kgneg.samplers.neighbourhoods import edit_distance_pools, embedding_pools, same_names, unite
from kgneg.samplers.pairs import pair_options
from kgneg.samplers.taxonomy import TaxonomyCorruptor
from kgneg.skills.matcher import LabelMatcher

__all__ = ["STRATEGIES", "ConceptSet", "parse_strategy"]

_NEAREST = 10
#: strategy -> what may stand behind its colon, and what is taken if nothing does
STRATEGIES = {
    "sibling": ("kind of the parent", "any"),
    "cousin": ("steps to the shared ancestor", "2"),
    "relation": ("name of the relation", "occupation"),
    "edit": ("normalised or raw", "normalised"),
    "embedding": ("number of neighbours", str(_NEAREST)),
    "random": ("", ""),
}


@dataclass(frozen=True, eq=False)
class ConceptSet:
    """Concepts with their texts, and where they stand in a taxonomy.

    :param names: length: n, identifiers
    :param labels: length: n, the text of each
    :param alternatives: length: n, further labels
    :param descriptions: length: n, what each means, empty where nobody says; or no descriptions at all
    :param taxonomy: the hierarchy, if there is one
    :param places: shape: ``(len(taxonomy),)``, the concept of this set that each concept of the taxonomy is; -1: none

    >>> zoo = Taxonomy.from_pairs([("lion", "cat"), ("tiger", "cat"), ("cat", "animal")])
    >>> concepts = ConceptSet.of(zoo)
    >>> [concepts.labels[one] for one in concepts.neighbours("sibling").members(2)]
    ['tiger']
    """

    names: Sequence[str]
    labels: Sequence[str]
    alternatives: Sequence[Sequence[str]]
    descriptions: Sequence[str] = ()
    taxonomy: Taxonomy | None = field(default=None, repr=False)
    places: LongTensor | None = field(default=None, repr=False)
    _made: dict[tuple[str, str], CandidateIndex | None] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        number = len(self.labels)
        for what, one in {
            "names": self.names,
            "alternatives": self.alternatives,
            "descriptions": self.descriptions or self.labels,
        }.items():
            if len(one) != number:
                raise InvalidInputError(f"there are {number} labels, but {len(one)} {what}")
        if self.taxonomy is not None:
            places = torch.arange(number) if self.places is None else self.places
            if len(places) != len(self.taxonomy):
                raise InvalidInputError(f"places of {len(places)} concepts do not fit {len(self.taxonomy)}")
            object.__setattr__(self, "places", places)

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def of(cls, taxonomy: Taxonomy, kind: str | None = None) -> ConceptSet:
        """Return the concepts of a taxonomy, or those of one kind.

        :param taxonomy: the taxonomy
        :param kind: the kind, such as ``"skill"`` in ESCO; ``None`` takes all concepts
        :returns: the concepts; one without a label is called by its identifier
        :raises InvalidInputError: if there is none of this kind
        """
        texts = taxonomy.texts(missing="id")
        chosen = torch.arange(len(taxonomy)) if kind is None else taxonomy.of_kind(kind)
        places = torch.full((len(taxonomy),), -1).index_copy_(0, chosen, torch.arange(len(chosen)))

        def some(values: Sequence[Any]) -> tuple[Any, ...]:
            return tuple(values[one] for one in chosen.tolist()) if values else ()

        return cls(
            some(taxonomy.concepts),
            some(texts),
            some(taxonomy.alternatives),
            some(taxonomy.descriptions),
            taxonomy,
            places,
        )

    def numbers(self) -> tuple[dict[str, int], list[str]]:
        """Return the concept of each label, and labels that several concepts have, which are not in there."""
        counts = Counter(self.labels)
        known = {label: place for place, label in enumerate(self.labels) if counts[label] == 1}
        return known, sorted(label for label, number in counts.items() if number > 1)

    def fingerprint(self) -> str:
        """Return a hash of everything that a training depends on."""
        lists = []
        if self.taxonomy is not None:
            lists = [self.taxonomy.parents.fingerprint(), list(self.taxonomy.kinds), self.places]
            lists += [[name, index.fingerprint()] for name, index in sorted(self.taxonomy.relations.items())]
        further = [list(one) for one in self.alternatives]
        return content_key(list(self.names), list(self.labels), further, list(self.descriptions), *lists)

    def matcher(self, **options: Any) -> LabelMatcher:
        """Return what finds the labels in texts.

        :param options: further arguments of :class:`~kgneg.skills.LabelMatcher`
        """
        return LabelMatcher(self.labels, self.alternatives, **options)

    def neighbours(self, strategy: str, *, encoder: Any = "auto", progress: bool = False) -> CandidateIndex | None:
        """Return the relatives of each concept by a strategy; they are made once.

        :param strategy: a name of :data:`STRATEGIES`, with an option behind a colon if need be: ``"sibling:group"``,
            ``"cousin:3"``, ``"relation:occupation"``, ``"edit:raw"``, ``"embedding:50"``; edit and embedding take the
            nearest ten, or all others where there are fewer
        :param encoder: for ``embedding``, see :func:`~kgneg.core.encode.resolve_encoder`
        :param progress: whether to show a progress bar
        :returns: n x n; ``None`` for ``"random"``
        :raises InvalidInputError: if there is no such strategy or option, or it needs a taxonomy and there is none
        """
        ready = resolve_encoder(encoder) if strategy.startswith("embedding") else ""
        key = strategy, str(getattr(ready, "fingerprint", id(ready)))
        if key not in self._made:
            self._made[key] = self._neighbours(strategy, ready, progress)
        return self._made[key]

    def _neighbours(self, strategy: str, encoder: Any, progress: bool) -> CandidateIndex | None:
        name, option = parse_strategy(strategy)
        if name == "random":
            return None
        if name in ("edit", "embedding") and len(self) < 2:
            raise InvalidInputError(f"the strategy {strategy!r} needs at least two concepts, there is {len(self)}")
        if strategy == "embedding":
            option = str(min(_NEAREST, len(self) - 1))
        if name == "edit":
            few = min(_NEAREST, len(self) - 1)
            return edit_distance_pools(self.labels, few, normalised=option == "normalised", progress=progress)
        if name == "embedding":
            vectors = encode_texts(list(self.labels), encoder, progress=progress)
            return embedding_pools(vectors, int(option))
        if self.taxonomy is None:
            raise InvalidInputError(f"the strategy {strategy!r} needs a taxonomy, and these concepts have none")
        if name == "cousin":
            pools = self.taxonomy.cousins(int(option))
        elif name == "sibling":
            pools = self.taxonomy.siblings(option)
        else:
            pools = self.taxonomy.shared_relation(option)
        return self._here(pools)

    def near(self) -> CandidateIndex:
        """Return what is likely to be right where a concept is: ancestors, descendants, and those of the same name.

        :returns: n x n
        """
        found = [same_names(self.labels, self.alternatives)]
        if self.taxonomy is not None:
            found += [self._here(self.taxonomy.ancestors()), self._here(self.taxonomy.descendants())]
        return unite(*found)

    def corruptor(
        self,
        counts: Mapping[str, float],
        queries: LongTensor,
        concepts: LongTensor,
        *,
        num_queries: int,
        encoder: Any = "auto",
        progress: bool = False,
        **options: Any,
    ) -> TaxonomyCorruptor:
        """Return what draws wrong concepts for texts.

        :param counts: strategy -> how many of the negatives of a pair, or their share; see :meth:`neighbours`
        :param queries: shape: ``(k,)``, the text of each known pair
        :param concepts: shape: ``(k,)``, its concept
        :param num_queries: the number of texts
        :param encoder: for ``embedding``
        :param progress: whether to show progress bars
        :param options: further arguments of :class:`~kgneg.samplers.TaxonomyCorruptor`
        :returns: the corruptor; it draws neither what a text has, nor :meth:`near` ones
        """
        lists = {one: self.neighbours(one, encoder=encoder, progress=progress) for one in counts}
        common = pair_options(queries, concepts, num_queries=num_queries, num_entities=len(self))
        return TaxonomyCorruptor(lists, counts, **{"near": self.near(), **common, **options})

    def _here(self, pools: CandidateIndex) -> CandidateIndex:
        assert self.places is not None  # noqa: S101
        return pools.renumber(self.places, len(self))


def parse_strategy(strategy: str) -> tuple[str, str]:
    """Return the name of a strategy and its option.

    :param strategy: for example ``"sibling:group"``
    :returns: for example ``("sibling", "group")``
    :raises InvalidInputError: if there is no such strategy, or the option cannot be
    """
    name, _, given = strategy.partition(":")
    what, option = STRATEGIES[choose("strategy", name, tuple(STRATEGIES))]
    if given and not what:
        raise InvalidInputError(f"got the strategy {strategy!r}, but {name} has no options")
    option = given or option
    if name == "edit":
        choose("the option of edit", option, ("normalised", "raw"))
    if name in ("cousin", "embedding") and (not option.isdecimal() or not int(option)):
        raise InvalidInputError(f"got the strategy {strategy!r}, expected a positive number behind the colon")
    return name, option
