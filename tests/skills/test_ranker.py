"""Ranking concepts for texts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.skills import ConceptRanker, LabelMatcher, judge_ranking
from kgneg.skills.ranker import literal_scores

LABELS = ["weld metal", "bake bread", "manage a team", "JavaScript"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KGNEG_HOME", str(tmp_path))


def test_rank() -> None:
    ranker = ConceptRanker(LABELS, "lexical", matcher=LabelMatcher(LABELS), progress=False)
    first, second = ranker.rank(["You will be welding metals", "team lead: bake bread, manage a team"], 2)
    assert first[0].concept == 0 and first[0].mention is None
    assert {one.concept for one in second} == {1, 2}
    assert {one.mention.text for one in second if one.mention} == {"bake bread", "manage a team"}
    assert second[0].score >= second[1].score and len(ranker.rank(["x y"], 9)[0]) == 4


def test_bonus_and_prior() -> None:
    texts = ["bake bread for a team"]
    plain = ConceptRanker(LABELS, "lexical", progress=False).scores(texts)
    matcher = LabelMatcher(LABELS)
    bonus = ConceptRanker(LABELS, "lexical", matcher=matcher, bonus=0.5, progress=False).scores(texts)
    torch.testing.assert_close(bonus - plain, torch.tensor([[0.0, 0.5, 0.0, 0.0]]))
    prior = torch.tensor([0.0, 0.25, 1.0, 0.0])
    known = ConceptRanker(LABELS, "lexical", prior=prior, prior_weight=2.0, progress=False).scores(texts)
    torch.testing.assert_close(known - plain, torch.tensor([[0.0, 1.0, 2.0, 0.0]]))


def test_mentions_alone() -> None:
    scores = literal_scores(LabelMatcher(LABELS), ["bake bread, manage a team", "none"])
    assert scores.tolist() == [[0, 10, 13, 0], [0, 0, 0, 0]]
    assert judge_ranking(scores, torch.tensor([0]), torch.tensor([1]), ks=(1,)).mrr == 0.5


def test_refusals() -> None:
    with pytest.raises(InvalidInputError, match="a matcher for 1 concepts does not fit 4 labels"):
        ConceptRanker(LABELS, "lexical", matcher=LabelMatcher(["a b"]))
    for prior in (torch.zeros(3), torch.tensor([0, 0, 0, 2.0]), torch.tensor([0, 0, 0, torch.nan])):
        with pytest.raises(InvalidInputError, match=r"must be 4 numbers in \[0, 1\]"):
            ConceptRanker(LABELS, "lexical", prior=prior)
    with pytest.raises(InvalidInputError, match="k must"):
        ConceptRanker(LABELS, "lexical", progress=False).rank(["a"], 0)
