from __future__ import annotations

import pytest
import torch

from kgneg.audit import AuditData, agreement
from kgneg.audit.agreement import TypeAgreement


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("typed", [False, True])
def test_against_sets(sparse: bool, typed: bool, nations: AuditData, monkeypatch: pytest.MonkeyPatch) -> None:
    if sparse:
        monkeypatch.setattr(agreement, "_MAX_WORDS", 0)
    entities, generator = 14, torch.Generator().manual_seed(0)
    train = nations.train[::30]
    types = torch.stack([torch.arange(13), torch.arange(13) % 5 * 100], dim=-1) if typed else None
    found = TypeAgreement(train, types, **nations.sizes)
    own: dict[int, set[object]] = {entity: set() for entity in range(entities)}
    seen: set[tuple[int, int, int]] = set()
    for head, relation, tail in train.tolist():
        seen |= {(relation, 0, head), (relation, 2, tail)}
        if not typed:
            own[head].add((relation, 0))
            own[tail].add((relation, 2))
    for entity, kind in [] if types is None else types.tolist():
        own[entity].add(kind)
    first, second = torch.randint(entities, (2, 500), generator=generator)
    expected = [bool(own[a] & own[b]) for a, b in zip(first.tolist(), second.tolist(), strict=True)]
    assert found.shares(first, second).tolist() == expected
    assert len(set(expected)) == 2
    relation, end = torch.randint(55, (500,), generator=generator), 2 * torch.randint(2, (500,), generator=generator)
    fits = [place in seen for place in zip(relation.tolist(), end.tolist(), first.tolist(), strict=True)]
    assert found.fits(relation, end, first).tolist() == fits
    assert len(set(fits)) == 2
    assert found.source == ("types" if typed else "slots")
