"""What the development version of PyKEEN does in another way, shown by stand-ins for what it hands over."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from pykeen.datasets import Nations

from kgneg.integrations.pykeen.training.batch import TrainingBatch
from kgneg.integrations.pykeen.training.versions import group_triples, training_triples


def batch() -> dict[str, Any]:
    return {
        "positives": torch.tensor([[1, 2, 3], [4, 5, 6]]),
        "corruptions": {"tail": torch.tensor([[7], [8]]), "head": torch.tensor([[9, 10], [11, 12]])},
        "masks": {"head": torch.tensor([[True, False], [True, True]]), "tail": torch.tensor([[False], [True]])},
        "pos_weights": torch.tensor([1.0, 2.0]),
        "neg_weights": {"head": torch.tensor([[3.0, 4.0], [5.0, 6.0]]), "tail": torch.tensor([[7.0], [8.0]])},
    }


def test_groups_become_triples() -> None:
    found = TrainingBatch.from_mapping(batch())
    assert found["negatives"].tolist() == [
        [[9, 2, 3], [10, 2, 3], [1, 2, 7]],
        [[11, 5, 6], [12, 5, 6], [4, 5, 8]],
    ]
    assert found["masks"].tolist() == [[True, False, False], [True, True, True]]
    assert found["neg_weights"].tolist() == [[3.0, 4.0, 7.0], [5.0, 6.0, 8.0]]
    assert found["pos_weights"].tolist() == [1.0, 2.0]
    assert found.sided is not None
    assert bool(torch.as_tensor(found.sided.heads).eq(2).all())


def test_relations_and_missing_parts() -> None:
    found = group_triples({**batch(), "corruptions": {"relation": torch.tensor([[0], [0]])}, "masks": None,
                           "neg_weights": None})  # fmt: skip
    assert found["negatives"].tolist() == [[[1, 0, 3]], [[4, 0, 6]]]
    assert found.keys() == {"positives", "negatives", "pos_weights"}


def test_the_factory_tells_of_inverse_triples_or_the_model_does() -> None:
    factory = Nations(create_inverse_triples=True).training
    model: Any = SimpleNamespace(use_inverse_triples=True)
    expected, relations = training_triples(factory, model)
    assert (len(expected), relations) == (2 * len(factory.mapped_triples), 2 * factory.real_num_relations)

    def add(mapped_triples: torch.Tensor, create_inverse_triples: bool) -> torch.Tensor:
        return expected if create_inverse_triples else mapped_triples

    later: Any = SimpleNamespace(
        _add_inverse_triples_if_necessary=add,
        mapped_triples=factory.mapped_triples,
        real_num_relations=factory.real_num_relations,
    )
    assert training_triples(later, model)[0] is expected
    assert training_triples(later, model)[1] == relations
    triples, relations = training_triples(later, SimpleNamespace(use_inverse_triples=False))  # type: ignore[arg-type]
    assert triples is factory.mapped_triples
    assert relations == factory.real_num_relations
