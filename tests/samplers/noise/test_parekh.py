"""The procedures of Parekh et al. do what a slow version of them does."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import FloatTensor
from kgneg.samplers import parekh_es, parekh_is

NONE = "none"


def made_up(number: int = 120, seed: int = 0) -> tuple[FloatTensor, list[str], list[str], list[int]]:
    """Return vectors, labels, predictions and groups."""
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(number, 5, generator=generator)
    names = [NONE, NONE, NONE, "a", "b"]
    labels = [names[place] for place in torch.randint(5, (number,), generator=generator).tolist()]
    predicted = [names[place] for place in torch.randint(5, (number,), generator=generator).tolist()]
    return vectors, labels, predicted, torch.randint(20, (number,), generator=generator).tolist()


def slowly(
    vectors: FloatTensor, seeds: dict[int, str], among: list[int], groups: list[int], k: int
) -> dict[int, tuple[int, float]]:
    """Return the touched rows with the nearest seed that touches them."""
    unit = torch.nn.functional.normalize(vectors, dim=-1)
    touched: dict[int, tuple[int, float]] = {}
    for seed in seeds:
        near = sorted(
            ((float(unit[seed] @ unit[row]), row) for row in among if groups[row] != groups[seed]), reverse=True
        )
        for cosine, row in near[:k]:
            if row not in touched or cosine > touched[row][1]:
                touched[row] = (seed, cosine)
    return touched


@pytest.mark.parametrize("k", [1, 3, 200])
@pytest.mark.parametrize("variant", ["E", "R"])
def test_intrinsic(k: int, variant: str) -> None:
    vectors, labels, predicted, groups = made_up()
    done = parekh_is(vectors, labels, negative_label=NONE, predicted=predicted, variant=variant, k=k, groups=groups)
    seeds = {row: labels[row] for row in range(120) if labels[row] != NONE == predicted[row]}
    touched = slowly(vectors, seeds, [row for row in range(120) if labels[row] == NONE], groups, k)
    assert done.seeds.tolist() == list(seeds)
    assert done.flagged.nonzero().squeeze(-1).tolist() == sorted(touched)
    for row, (seed, cosine) in touched.items():
        assert int(done.seed[row]) == seed
        assert float(done.cosine[row]) == pytest.approx(cosine, abs=1e-5)
    expected: list[Any] = list(labels)
    for row, (seed, _) in touched.items():
        expected[row] = None if variant == "E" else labels[seed]
    assert done.corrected() == expected


@pytest.mark.parametrize("variant", ["EN", "RN", "ENP", "RNP"])
def test_extrinsic(variant: str) -> None:
    vectors, labels, corrected, groups = made_up(seed=1)
    clean = [group < 6 for group in groups]
    done = parekh_es(
        vectors,
        labels,
        negative_label=NONE,
        clean_mask=clean,
        clean_labels=corrected,
        variant=variant,
        k=2,
        groups=groups,
    )
    outside = [row for row in range(120) if not clean[row]]
    found = {row: corrected[row] for row in range(120) if clean[row] and labels[row] == NONE != corrected[row]}
    touched = slowly(vectors, found, [row for row in outside if labels[row] == NONE], groups, 2)
    wrong: dict[int, str] = {}
    if variant.endswith("P"):
        wrong = {row: NONE for row in range(120) if clean[row] and labels[row] != NONE == corrected[row]}
        assert wrong
        touched |= slowly(vectors, wrong, [row for row in outside if labels[row] != NONE], groups, 2)
    seeds = found | wrong
    expected: list[Any] = list(labels)
    for row, (seed, _) in touched.items():
        expected[row] = None if variant.startswith("E") else seeds[seed]
    assert done.corrected() == expected
    assert done.flagged.nonzero().squeeze(-1).tolist() == sorted(touched)
    assert sorted(done.seeds.tolist()) == sorted(seeds)


def test_own_predictions() -> None:
    """Positives among negatives are what a classifier overlooks, and their neighbours are touched."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(400, 6, generator=generator)
    vectors[:60, 0] += 8  # plain positives
    vectors[60:80, 1] += 8  # labelled as positive, among very many that are not
    vectors[80:300, 1] += 8
    labels = ["a"] * 80 + [NONE] * 320
    done = parekh_is(vectors, labels, negative_label=NONE, k=2)
    again = parekh_is(vectors, labels, negative_label=NONE, k=2)
    assert done.corrected() == again.corrected()
    assert set(done.seeds.tolist()) <= set(range(60, 80))
    assert len(done.seeds) > 10
    assert bool(done.flagged[80:300].any()) and not bool(done.flagged[300:].any())


def test_nothing_is_overlooked() -> None:
    vectors, labels, _, groups = made_up()
    done = parekh_is(vectors, labels, negative_label=NONE, predicted=labels, groups=groups)
    assert not len(done.seeds)
    assert done.corrected() == labels


def test_refusals() -> None:
    vectors, labels, predicted, groups = made_up()
    with pytest.raises(InvalidInputError, match="variant must be one of E, R"):
        parekh_is(vectors, labels, negative_label=NONE, variant="X")
    with pytest.raises(InvalidInputError, match="120 vectors but 119 predicted"):
        parekh_is(vectors, labels, negative_label=NONE, predicted=predicted[1:])
    with pytest.raises(InvalidInputError, match="predicted holds the label 'z'"):
        parekh_is(vectors, labels, negative_label=NONE, predicted=["z", *predicted[1:]])
    with pytest.raises(InvalidInputError, match="one group"):
        parekh_is(vectors, labels, negative_label=NONE, groups=[0] * 120)
    with pytest.raises(InvalidInputError, match="none of the 120 clean rows"):
        parekh_es(vectors, labels, negative_label=NONE, clean_mask=[True] * 120, clean_labels=labels, groups=groups)
    with pytest.raises(InvalidInputError, match="k must be at least 1"):
        parekh_is(vectors, labels, negative_label=NONE, predicted=[NONE] * 120, k=0)
