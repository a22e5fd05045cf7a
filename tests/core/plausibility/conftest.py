"""Small graphs, with some of their triples held out."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from pykeen.datasets import UMLS, Nations
from pykeen.datasets.base import Dataset

from kgneg.core.plausibility import Planted, TruthPrior, plant
from kgneg.core.typing import LongTensor


class Graph(NamedTuple):
    """Known triples, and true ones that are not known."""

    known: LongTensor
    held_out: LongTensor
    sizes: dict[str, int]


def graph_of(dataset: Dataset) -> Graph:
    training = dataset.training
    others = [dataset.validation, dataset.testing]
    held_out = torch.cat([factory.mapped_triples for factory in others if factory is not None])
    sizes = {"num_entities": training.num_entities, "num_relations": training.num_relations}
    return Graph(training.mapped_triples, held_out, sizes)


@pytest.fixture(scope="session")
def nations() -> Graph:
    return graph_of(Nations())


@pytest.fixture(scope="session")
def umls() -> Graph:
    return graph_of(UMLS())


@pytest.fixture(scope="session")
def planted(umls: Graph) -> Planted:
    return plant(umls.known, seed=1, **umls.sizes)


@pytest.fixture(scope="session")
def learned(planted: Planted) -> TruthPrior:
    """The prior of a graph with planted triples, which knows the others only."""
    return TruthPrior.fit_planted(planted, rank=16)
