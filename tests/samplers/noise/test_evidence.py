"""The neighbours that the noise filter looks at."""

from __future__ import annotations

import pytest
import torch

from kgneg.core.neighbours import find_neighbours
from kgneg.samplers.noise.evidence import gather_evidence


def test_very_many_rows_without_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where clusters do not help, all positives and some of the negatives are compared with."""
    generator = torch.Generator().manual_seed(0)
    space = torch.randn(800, 24, generator=generator)
    positive = torch.rand(800, generator=generator) < 0.2
    groups = torch.arange(800) // 2
    options = {"k": 6, "number": 4, "index": "auto", "seed": 0, "progress": False}
    whole = gather_evidence(space, positive, groups, **options)
    monkeypatch.setattr("kgneg.samplers.noise.evidence._ALL_UP_TO", 100)
    monkeypatch.setattr("kgneg.samplers.noise.evidence._SAMPLE", 300)
    thin = gather_evidence(space, positive, groups, **options)
    assert torch.equal(thin.positives, whole.positives)
    assert thin.recall == 1
    shares, thinner = whole.features[:, 2], thin.features[:, 2]
    assert float((thinner > shares).double().mean()) > 0.9
    assert float(torch.corrcoef(torch.stack([shares, thinner]))[0, 1]) > 0.45
    again = gather_evidence(space, positive, groups, **options)
    assert torch.equal(thin.features, again.features)


def test_clusters_are_used_where_there_are_some(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(60, 24, generator=generator) * 4
    space = centres[torch.arange(1800) % 60] + torch.randn(1800, 24, generator=generator) * 0.3
    positive = torch.arange(1800) % 60 < 9
    own = torch.arange(1800)
    monkeypatch.setattr("kgneg.samplers.noise.evidence._ALL_UP_TO", 100)
    monkeypatch.setattr("kgneg.samplers.noise.evidence._SAMPLE", 0)  # negatives would have no negative neighbours
    found = gather_evidence(space, positive, own, k=5, number=4, index="auto", seed=0, progress=False)
    assert found.recall >= 0.95
    assert float(found.features[~positive, 1].exp().max()) < 0.1


def test_giving_up() -> None:
    rows = torch.randn(500, 30, generator=torch.Generator().manual_seed(0))
    own = torch.arange(500)
    options = {"query_groups": own, "reference_groups": own, "index": "ivf"}
    given_up = find_neighbours(rows, rows, 5, least_recall=0.95, **options)  # type: ignore[arg-type]
    assert given_up.recall == 0
    assert bool((given_up.ids == -1).all())
    tried = find_neighbours(rows, rows, 5, **options)  # type: ignore[arg-type]
    assert 0 < tried.recall < 0.95
    assert bool((tried.ids >= 0).any())
