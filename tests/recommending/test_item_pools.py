"""Pools of some items as pools of all."""

from __future__ import annotations

import pytest
import torch

from kgneg.recommending.item_pools import spread_pools
from kgneg.samplers import LemonSettings, build_lemon_pools


@pytest.mark.parametrize(
    "settings",
    [LemonSettings(dim=None, n_clusters=4, n_nearest=2), LemonSettings(rank_low=1, rank_high=5)],
    ids=["clusters", "ranks"],
)
@pytest.mark.parametrize("share", [0.5, 1.0])
def test_pools_hold_what_they_held(settings: LemonSettings, share: float) -> None:
    generator = torch.Generator().manual_seed(0)
    known = torch.rand(40, generator=generator) < share
    ids = known.nonzero().squeeze(-1)
    built = build_lemon_pools(torch.randn(len(ids), 5, generator=generator), settings)
    spread = spread_pools(built, known)
    before, after = built.pools.unite(built.rows), spread.pools.unite(spread.rows)
    assert after.num_rows == after.num_columns == 40
    for place, item in enumerate(ids.tolist()):
        assert after.members(item).tolist() == ids[before.members(place)].tolist()
    assert not after.size((~known).nonzero().squeeze(-1)).any()
