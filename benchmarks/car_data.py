"""ATOMIC with an observed and a hidden part, what its phrases are about, and vectors of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from kgneg.core.candidates import CandidateIndex
from kgneg.core.triples import TripleIndex
from kgneg.datasets import (
    ConceptFeatures,
    ConceptTable,
    Conceptualiser,
    KnowledgeGraph,
    read_atomic,
    read_concepts,
    read_wordnet,
)

#: who John and Tom are in this copy of ATOMIC
ALIASES = {"John": "PersonX", "Tom": "PersonY"}
#: at most so many random candidates, as many as triples are looked at
DRAWS = 200_000


class MissingDataError(Exception):
    """A part cannot run, because files are not there."""


def atomic_files(data: Path) -> tuple[Path, Path]:
    """Return the observed and the hidden part of ATOMIC."""
    paths = [data / "commonsense" / "atomic" / f"atomic_{part}.tsv.gz" for part in ("valid", "test")]
    for path in paths:
        if not path.is_file():
            raise MissingDataError(f"there is no file {path}; set KGNEG_DATA")
    return paths[0], paths[1]


def labelled(graph: KnowledgeGraph, triples: torch.Tensor) -> Iterator[tuple[str, str, str]]:
    """Give triples in words."""
    for head, relation, tail in triples.tolist():
        yield graph.entities[head], graph.relations[relation], graph.entities[tail]


def concept_table(data: Path) -> ConceptTable:
    """Return the concepts that people accepted for instances in events."""
    paths = [
        data / "commonsense" / "concepts" / f"stage2_event_concepts_{part}.tsv.gz" for part in ("trn", "dev", "tst")
    ]
    for path in paths:
        if not path.is_file():
            raise MissingDataError(f"there is no file {path}; set KGNEG_DATA")
    return read_concepts(paths)


def conceptualise(data: Path, phrases: list[str]) -> ConceptFeatures:
    """Return words, accepted concepts and synsets of phrases; instances and labels stand for whole words."""
    path = data / "commonsense" / "oewn" / "oewn_noun_verb_synsets.tsv.gz"
    if not path.is_file():
        raise MissingDataError(f"there is no file {path}; set KGNEG_DATA")
    return Conceptualiser(wordnet=read_wordnet(path), table=concept_table(data)).conceptualise(phrases)


def text_vectors(phrases: list[str]) -> torch.Tensor:
    """Return the vectors of MiniLM; they are kept in the cache."""
    from kgneg.core.encode import encode_texts

    return encode_texts(phrases, "minilm", progress=False)


@dataclass(frozen=True)
class Atomic:
    """Phrases with numbers, and triples of two parts.

    :param entities: the phrases
    :param relations: the relations
    :param observed: shape: ``(m, 3)``
    :param hidden: shape: ``(k, 3)``
    """

    data: Path
    entities: list[str]
    relations: list[str]
    observed: torch.Tensor
    hidden: torch.Tensor

    @classmethod
    def read(cls, data: Path) -> Atomic:
        """Read both parts; rows without a tail, and those whose tail is none, are left out."""
        graphs = [read_atomic(path, blank="drop") for path in atomic_files(data)]
        entities = sorted({one for graph in graphs for one in graph.entities})
        relations = sorted({one for graph in graphs for one in graph.relations})
        number = {one: place for place, one in enumerate(entities)}
        kind = {one: place for place, one in enumerate(relations)}
        parts = []
        for graph in graphs:
            entity = torch.tensor([number[one] for one in graph.entities])
            relation = torch.tensor([kind[one] for one in graph.relations])
            head, middle, tail = graph.train.unbind(-1)
            parts.append(torch.unique(torch.stack([entity[head], relation[middle], entity[tail]], dim=-1), dim=0))
        return cls(data, entities, relations, *parts)

    @property
    def sizes(self) -> dict[str, int]:
        return {"num_entities": len(self.entities), "num_relations": len(self.relations)}

    @cached_property
    def index(self) -> TripleIndex:
        return TripleIndex(self.observed, **self.sizes)

    @cached_property
    def features(self) -> ConceptFeatures:
        """Words, concepts and synsets."""
        return conceptualise(self.data, self.entities)

    def of_car(self, *, exact: bool = True) -> CandidateIndex:
        """Return words and concepts in one set, as CAR compares them.

        :param exact: whether instances stand for whole words; otherwise they are found inside of words, too
        """
        if exact:
            return self.features.of_kind("word", "concept").merge().features
        table = concept_table(self.data)
        return Conceptualiser(table=table).conceptualise(self.entities, exact=False).merge().features

    @cached_property
    def vectors(self) -> torch.Tensor:
        return text_vectors(self.entities)

    def candidates(self, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return triples to tell apart, and which are true.

        True are hidden triples that were not observed, whose tail was, with the same relation and another head. The
        others are observed triples with the tail of another one of the same relation, drawn at random, where that was
        not observed; a few of those are hidden triples, too.
        """
        width = len(self.entities)
        key = self.observed[:, 1] * width + self.observed[:, 2]
        hidden = self.hidden[~self.index.contains(self.hidden)]
        hidden = hidden[torch.isin(hidden[:, 1] * width + hidden[:, 2], key)]
        rng = np.random.default_rng(seed)
        drawn = self.observed[torch.from_numpy(rng.integers(0, len(self.observed), DRAWS))].clone()
        for relation in range(len(self.relations)):
            tails = self.observed[self.observed[:, 1] == relation, 2]
            own = drawn[:, 1] == relation
            if len(tails):
                drawn[own, 2] = tails[torch.from_numpy(rng.integers(0, len(tails), int(own.sum())))]
        drawn = drawn[~self.index.contains(drawn)]
        true = torch.cat([torch.ones(len(hidden), dtype=torch.bool), torch.zeros(len(drawn), dtype=torch.bool)])
        return torch.cat([hidden, drawn]), true


def data_folder(given: Path | None) -> Path:
    """Return where shared data are."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    return given or Path(os.environ.get("KGNEG_DATA", default))
