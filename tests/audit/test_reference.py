from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kgneg.audit import AuditData, AuditSettings, reference
from kgneg.audit.reference import epochs_of, make_reference
from kgneg.core.errors import InvalidInputError


def settings(**changes: Any) -> AuditSettings:
    return AuditSettings(dataset="nations", samplers=("basic",), **changes)


def test_it_learns(nations: AuditData) -> None:
    trained, about = make_reference(settings(), nations)
    assert (about["split"], about["ranked"], about["epochs"]) == ("valid", 199, 50)
    assert about["mrr"] > 0.45, "at random it would be 0.23"
    uniform = torch.randint(14, (4000, 3), generator=torch.Generator().manual_seed(0))
    assert trained.plausible(nations.held_out)["share"] > trained.plausible(uniform)["share"] + 0.1
    assert float((trained.score(nations.train) > trained.threshold).float().mean()) == pytest.approx(0.95, abs=0.01)


def test_kept_and_taken_from_the_cache(
    nations: AuditData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("KGNEG_HOME", str(tmp_path))
    first, about = make_reference(settings(reference_epochs=3), nations)
    with monkeypatch.context() as patch:
        patch.setattr(reference, "_train", lambda *_: pytest.fail("it is trained again"))
        again, same = make_reference(settings(reference_epochs=3), nations)
    assert same == about
    assert torch.equal(first.score(nations.train), again.score(nations.train))
    monkeypatch.setenv("KGNEG_HOME", str(tmp_path / "other"))
    third, equal = make_reference(settings(reference_epochs=3), nations)
    assert equal == about, "training is deterministic"
    assert np.array_equal(first.positives, third.positives)
    other, _ = make_reference(settings(reference_epochs=3, seed=1), nations)
    assert not np.array_equal(first.positives, other.positives)
    kept = next((tmp_path / "audit").rglob("*.safetensors"))
    monkeypatch.setenv("KGNEG_HOME", str(tmp_path))
    kept.write_bytes(kept.read_bytes()[:100])
    with caplog.at_level(logging.WARNING):
        mended, _ = make_reference(settings(reference_epochs=3), nations)
    assert "damaged" in caplog.text
    assert np.array_equal(first.positives, mended.positives)


@pytest.mark.parametrize("model", ["complex", "transe", "hole"])
def test_other_models(model: str, nations: AuditData) -> None:
    trained, about = make_reference(settings(reference=model, reference_epochs=2, reference_dim=4), nations)
    assert (about["model"], about["dim"]) == (model, 4)
    assert len(trained.score(nations.train)) == len(nations.train)


def test_scores_that_are_no_numbers(nations: AuditData) -> None:
    from pykeen.models import DistMult

    model = DistMult(triples_factory=nations.training, embedding_dim=4, random_seed=0)
    with torch.no_grad():
        model.entity_representations[0]._embeddings.weight.fill_(float("nan"))
    with pytest.raises(InvalidInputError, match="no finite numbers"):
        make_reference(settings(), nations, model)


def test_places(nations: AuditData) -> None:
    trained, _ = make_reference(settings(reference_epochs=1), nations)
    lowest, highest = float(trained.positives[0]), float(trained.positives[-1])
    found = trained.places(torch.tensor([lowest - 1, highest + 1]))
    assert found.tolist() == [0, len(nations.train)]


@pytest.mark.parametrize(
    ("triples", "entities", "epochs"), [(10, 5, 50), (60_000, 9, 10), (272_115, 14_505, 5), (86_835, 40_559, 15)]
)
def test_epochs(triples: int, entities: int, epochs: int) -> None:
    assert epochs_of(settings(), triples, entities) == epochs
    assert epochs_of(settings(reference_epochs=7), triples, entities) == 7
