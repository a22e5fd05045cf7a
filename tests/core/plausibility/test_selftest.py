"""Planted triples among negatives."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from kgneg.core.candidates import CandidateIndex
from kgneg.core.errors import InvalidInputError
from kgneg.core.plausibility import NeighbourPrior, Planted, TruthPrior, plant, planted_test
from kgneg.core.plausibility.selftest import _ranking
from kgneg.samplers import TypedCorruptor, UniformCorruptor


@pytest.mark.parametrize("steps", [2, 9, 10_000])
def test_figures_against_sklearn(steps: int) -> None:
    generator = np.random.default_rng(steps)
    true, false = generator.integers(0, steps, 80) + steps / 9, generator.integers(0, steps, 700)
    labels, scores = np.repeat([1, 0], [80, 700]), np.concatenate([true, false])
    auc, precision = _ranking(true, false)
    assert auc == pytest.approx(roc_auc_score(labels, scores))
    assert precision == pytest.approx(average_precision_score(labels, scores))


def test_both_priors_by_factory(umls: Any) -> None:
    planted = plant(umls.known, seed=3, **umls.sizes)
    corruptor = UniformCorruptor(index=planted.index, **umls.sizes)
    for make in (TruthPrior.fit_planted, NeighbourPrior.fit_planted):
        found = planted_test(make, planted, corruptor, share=0.02, seed=1)
        assert found == planted_test(make(planted), planted, corruptor, share=0.02, seed=1)
        assert 0.85 < found.auc < 1
        assert found.planted == len(planted.hidden)
        assert 5 * found.planted < found.negatives <= 10 * found.planted
        assert found.flagged_negatives <= 0.02
        caught = found.flagged_planted * found.planted
        assert found.precision == pytest.approx(caught / (caught + found.flagged_negatives * found.negatives))
    nothing = planted_test(TruthPrior.fit_planted, planted, corruptor, share=0.0)
    assert nothing.flagged_negatives == 0


def test_refusals(umls: Any) -> None:
    planted = Planted.of(umls.known, umls.known[:4], **umls.sizes)
    corruptor = UniformCorruptor(**umls.sizes)
    assert not len(planted.hidden)
    with pytest.raises(InvalidInputError, match="nothing is hidden"):
        planted_test(TruthPrior.fit_planted, planted, corruptor)
    with pytest.raises(InvalidInputError, match="share must be between 0 and 1"):
        planted_test(TruthPrior.fit_planted, plant(umls.known, **umls.sizes), corruptor, share=2)


@pytest.mark.parametrize("seed", [0, 1])
def test_codex_s(seed: int) -> None:
    """Validation and test triples among ten times as many negatives, by vectors of the training triples alone."""
    home = os.environ.get("PYSTOW_HOME")
    if home is None or not Path(home, "pykeen", "datasets", "codexsmall").is_dir():
        pytest.skip("codexsmall is not below PYSTOW_HOME, and nothing is downloaded here")
    from pykeen.datasets import CoDExSmall

    data = CoDExSmall()
    sizes = {"num_entities": data.training.num_entities, "num_relations": data.training.num_relations}
    held_out = [part.mapped_triples for part in (data.validation, data.testing) if part is not None]
    known = data.training.mapped_triples
    planted = Planted.of(known, torch.cat(held_out), **sizes)
    prior = NeighbourPrior.fit(known, seed=seed, **sizes)
    types = CandidateIndex.from_relation_types(known, **sizes)
    common: dict[str, Any] = {"index": planted.index, "seed": seed, **sizes}
    uniform = planted_test(prior, planted, UniformCorruptor(**common), seed=seed)
    typed = planted_test(prior, planted, TypedCorruptor(types, **common), seed=seed)
    assert uniform.auc > 0.955
    assert typed.auc > 0.86
    assert typed.flagged_planted > 8 * typed.flagged_negatives
