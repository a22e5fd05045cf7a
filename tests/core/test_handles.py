"""A model is borrowed: it never becomes part of what looks at it."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from kgneg.core.corruption import Corruptor, Proposals, Queries
from kgneg.core.errors import InvalidInputError
from kgneg.core.handles import ModelAware, attach_scorer
from kgneg.core.modules import share


class Scorer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, queries: Queries, ids: torch.Tensor) -> torch.Tensor:
        return ids * self.weight.sum()


class Curious(ModelAware, Corruptor):
    def propose(self, queries: Queries, n: int, generator: torch.Generator) -> Proposals:
        scores = self.scorer(queries, torch.arange(self.num_entities).expand(len(queries), -1))
        return scores.topk(n).indices, None


@pytest.fixture
def curious() -> Curious:
    corruptor = Curious(num_entities=6, num_relations=1, seed=0)
    corruptor.attach(Scorer())
    return corruptor


def test_a_scorer_is_used_until_it_is_detached(curious: Curious) -> None:
    assert curious(torch.tensor([0, 0, 1]), 4).entity.tolist() == [5, 4, 5, 4]
    curious.detach_model()
    curious.detach_model()
    assert not curious.attached
    with pytest.raises(InvalidInputError, match=r'training_loop="kgneg".*corruptor\.attach\(scorer\)'):
        curious(torch.tensor([0, 0, 1]), 4)


def test_a_scorer_that_is_a_module_is_no_part_of_the_state(curious: Curious) -> None:
    scorer = curious.scorer
    assert isinstance(scorer, Scorer)
    assert not list(curious.parameters())
    assert not any("weight" in name for name in curious.state_dict())
    curious.to("meta")
    assert scorer.weight.device.type == "cpu"
    assert curious.scorer is scorer


@pytest.mark.parametrize(
    "clone",
    [copy.copy, copy.deepcopy, share, lambda built: pickle.loads(pickle.dumps(built))],  # noqa: S301
    ids=["copy", "deepcopy", "share", "pickle"],
)
def test_a_copy_is_unattached(curious: Curious, clone: object) -> None:
    assert callable(clone)
    twin = clone(curious)
    assert curious.attached
    assert not twin.attached
    assert twin.num_entities == 6


def test_what_cannot_be_called_is_refused(curious: Curious) -> None:
    with pytest.raises(InvalidInputError, match="got int"):
        curious.attach(3)  # type: ignore[arg-type]


class Outer(Corruptor):
    """Has a method inside that reads a model, and reads none itself."""

    def __init__(self, inner: Corruptor) -> None:
        super().__init__(num_entities=6, num_relations=1, seed=0)
        self.inner = inner

    def propose(self, queries: Queries, n: int, generator: torch.Generator) -> Proposals:
        return self.inner.propose(queries, n, generator)


class CuriousOuter(ModelAware, Outer):
    pass


@pytest.mark.parametrize("kind", [Outer, CuriousOuter])
def test_methods_inside_get_the_scorer(kind: type[Outer]) -> None:
    inner, scorer = Curious(num_entities=6, num_relations=1), Scorer()
    outer = kind(nn.Sequential(inner)[0])
    attach_scorer(outer, scorer)
    assert inner.scorer is scorer
    assert outer(torch.tensor([0, 0, 1]), 4).entity.tolist() == [5, 4, 5, 4]
    if isinstance(outer, CuriousOuter):
        assert outer.scorer is scorer
        outer.detach_model()
        assert not outer.attached
        assert not inner.attached
        outer.attach(scorer)
        assert inner.scorer is scorer


def test_where_nothing_reads_a_model() -> None:
    with pytest.raises(InvalidInputError, match="neither Linear nor anything in it reads the scores of a model"):
        attach_scorer(nn.Linear(1, 1), Scorer())
