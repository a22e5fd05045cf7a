"""Classifiers on fixed vectors."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kgneg.core.candidates import CandidateIndex
from kgneg.core.errors import InvalidInputError
from kgneg.samplers import TaxonomyCorruptor, UniformCorruptor, pair_options
from kgneg.skills import ConceptClassifiers

TEXTS, DIM, CONCEPTS = 300, 12, 6


def data() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Texts around the centres of their concepts; concepts 0 and 1 are near each other, and 5 has no text."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.nn.functional.normalize(torch.randn(CONCEPTS, DIM, generator=generator), dim=-1)
    centres[1] = torch.nn.functional.normalize(centres[0] + 0.35 * centres[1], dim=-1)
    concepts = torch.arange(TEXTS) % 5
    noise = torch.randn(TEXTS, DIM, generator=generator)
    return centres[concepts] + 0.12 * noise, torch.arange(TEXTS), concepts


def options(rows: torch.Tensor, concepts: torch.Tensor) -> dict[str, Any]:
    return pair_options(rows, concepts, num_queries=TEXTS, num_entities=CONCEPTS)


def test_they_learn_and_leave_out_what_has_no_text() -> None:
    vectors, rows, concepts = data()
    model = ConceptClassifiers(CONCEPTS, DIM)
    report = model.fit(vectors, rows, concepts, UniformCorruptor(**options(rows, concepts)), epochs=40, lr=0.05)
    scores = model.scores(vectors)
    assert float((scores.argmax(-1) == concepts).float().mean()) > 0.9
    assert bool((scores[:, 5] == -1).all()) and bool((scores[:, :5] >= 0).all())
    assert report.trained == 5 and report.pairs == TEXTS and report.losses[-1] < report.losses[0] / 2
    assert report.elsewhere > 0  # concept 5 was drawn, but has no text


def test_relatives_are_told_apart_sooner_by_negatives_from_relatives() -> None:
    vectors, rows, concepts = data()
    relatives = CandidateIndex.from_lists([[1], [0], [3], [2], [3], []], num_columns=CONCEPTS)
    pair = (concepts < 2).nonzero().squeeze(1)

    def right(strategies: dict[str, CandidateIndex | None], seed: int) -> float:
        corruptor = TaxonomyCorruptor(strategies, **options(rows, concepts))
        model = ConceptClassifiers(CONCEPTS, DIM)
        model.fit(vectors, rows, concepts, corruptor, epochs=5, lr=0.05, n=2, seed=seed)
        return float((model.scores(vectors[pair])[:, :2].argmax(-1) == concepts[pair]).float().mean())

    random = sum(right({"random": None}, seed) for seed in range(4)) / 4
    informed = sum(right({"sibling": relatives, "random": None}, seed) for seed in range(4)) / 4
    assert informed > random + 0.02


def test_a_text_of_the_concept_itself_is_no_negative() -> None:
    vectors = torch.eye(2)
    rows, concepts = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1])  # the only text of concept 0 also has concept 1
    corruptor = UniformCorruptor(**pair_options(rows, concepts, num_queries=2, num_entities=3))
    report = ConceptClassifiers(3, 2).fit(vectors, rows, concepts, corruptor, n=4, epochs=3)
    assert report.clashing > 0


def test_the_same_seed_gives_the_same_classifiers() -> None:
    vectors, rows, concepts = data()

    def weights(seed: int) -> torch.Tensor:
        model = ConceptClassifiers(CONCEPTS, DIM)
        model.fit(vectors, rows, concepts, UniformCorruptor(**options(rows, concepts)), epochs=2, seed=seed)
        return model.weight.detach()

    assert torch.equal(weights(1), weights(1)) and not torch.equal(weights(1), weights(2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": torch.tensor([0])}, "vectors of one length"),
        ({"rows": torch.tensor([0]), "concepts": torch.tensor([9])}, r"concept 9 is out of range: must be in \[0, 6\)"),
        ({"vectors": torch.zeros(TEXTS, 3)}, "length 3 do not fit 12"),
        ({"vectors": torch.full((TEXTS, DIM), torch.nan)}, "NaN"),
        ({"corruptor": UniformCorruptor(num_entities=6, num_relations=2)}, "for 6 concepts and 2 texts does not fit"),
        ({"corruptor": UniformCorruptor(num_entities=6, num_relations=TEXTS)}, "'uniform', expected 'tail'"),
        ({"lr": 0.0}, "lr"),
        ({"n": 0}, "n must"),
    ],
)
def test_refusals(change: dict[str, Any], message: str) -> None:
    vectors, rows, concepts = data()
    given = {"vectors": vectors, "rows": rows, "concepts": concepts}
    given["corruptor"] = UniformCorruptor(**options(rows, concepts))  # type: ignore[assignment]
    with pytest.raises(InvalidInputError, match=message):
        ConceptClassifiers(CONCEPTS, DIM).fit(**{**given, **change})  # type: ignore[arg-type]
