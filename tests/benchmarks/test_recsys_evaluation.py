"""The two ways whose speed is compared find the same."""

from __future__ import annotations

import pytest
from recsys_evaluation import Vectors, check, draw_pairs, our_way, usual_way, validation


@pytest.mark.parametrize("seed", [0, 1])
def test_both_ways_find_the_same(seed: int) -> None:
    train, valid, test = draw_pairs(40, 90, 900, seed)
    model = Vectors(dim=4).fit(train)
    usual, ours = usual_way(model, valid, test), our_way(model, valid, test)
    assert list(usual) == list(ours) and 0 < ours["recall@20"] < 1
    assert usual == pytest.approx(ours, rel=1e-5)
    assert validation(model, valid, test)["recall@20"] == pytest.approx(ours["recall@20"], rel=1e-6)


def test_different_figures_are_not_reported() -> None:
    rounds = [[{"metrics": {"recall@20": value}}] for value in (0.5, 0.6)]
    names = ("argsort and a walk over users", "kgneg, six metrics at three k, by user, and beyond")
    with pytest.raises(SystemExit, match=r"recall@20 differs: 0.5 and 0.6"):
        check(dict(zip(names, rounds, strict=True)))
