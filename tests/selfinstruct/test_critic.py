from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from kgneg.core.cache import ArtefactCache
from kgneg.core.encode import LexicalEncoder
from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.candidates import Candidates
from kgneg.selfinstruct.critic import Critic
from kgneg.selfinstruct.verbalizer import Verbalizer

LEARN, REST = slice(0, 500), slice(500, None)


def auc(score: np.ndarray, truth: np.ndarray) -> float:
    above = score[truth][:, None] - score[~truth]
    return float((above > 0).mean() + (above == 0).mean() / 2)


@pytest.fixture(scope="module")
def fitted(world: Any) -> Critic:
    made: Critic = world.critic().fit(world.candidates[LEARN], world.truth[LEARN])
    return made


def test_learns_what_depends_on_relation_and_tail(world: Any, fitted: Critic) -> None:
    held_out, later = fitted.held_out, fitted.log_odds(world.candidates[REST])
    assert auc(held_out, world.truth[LEARN]) > 0.75
    assert auc(later, world.truth[REST]) > 0.75
    assert fitted.probability(world.candidates[REST]).mean() == pytest.approx(world.truth[REST].mean(), abs=0.05)


def test_held_out_scores_do_not_know_the_row(world: Any) -> None:
    random = np.random.default_rng(0).random(500) < 0.3
    made = world.critic().fit(world.candidates[LEARN], random)
    assert auc(made.held_out, random) == pytest.approx(0.5, abs=0.08)


def test_landmarks(world: Any, fitted: Critic) -> None:
    made = world.critic(landmarks=150).fit(world.candidates[LEARN], world.truth[LEARN])
    assert auc(made.log_odds(world.candidates[REST]), world.truth[REST]) > 0.72
    assert len(made.held_out) == 500


def test_rows_do_not_depend_on_others(world: Any, fitted: Critic) -> None:
    whole = fitted.log_odds(world.candidates[REST])
    np.testing.assert_allclose(fitted.log_odds(world.candidates[500:507]), whole[:7], atol=1e-4)
    assert fitted.log_odds(world.candidates[:0]).shape == (0,)


def test_weights_and_soft_targets(world: Any) -> None:
    soft = np.where(world.truth[LEARN], 0.8, 0.2)
    flipped = np.where(world.truth[REST], 0.1, 0.9)  # wrong, but without weight
    weight = np.append(np.ones(500), np.full(len(flipped), 1e-6))
    made = world.critic().fit(world.candidates, np.append(soft, flipped), weight)
    assert auc(made.log_odds(world.candidates[REST]), world.truth[REST]) > 0.72


def test_reload(world: Any, fitted: Critic) -> None:
    tensors, plain = fitted.state()
    again = world.critic().restore(tensors, plain)
    expected = fitted.log_odds(world.candidates[REST])
    np.testing.assert_array_equal(again.log_odds(world.candidates[REST]), expected)
    assert again.fingerprint() == fitted.fingerprint() != world.critic().fingerprint()


def test_same_rows_same_critic_and_global_streams_stay(world: Any, fitted: Critic) -> None:
    before = torch.get_rng_state()
    again = world.critic().fit(world.candidates[LEARN], world.truth[LEARN])
    np.testing.assert_array_equal(again.held_out, fitted.held_out)
    assert torch.equal(torch.get_rng_state(), before)


def test_statements_and_unknown_relations(tmp_path: Any) -> None:
    words = Verbalizer(relations={"IsA": {"positive": ["{head} is a {tail}."], "negated": ["{head} is no {tail}."]}})
    rows = [(f"animal {number}", "IsA", "cat" if number % 2 else "stone") for number in range(40)]
    made = Critic(encoder=LexicalEncoder(64), verbalizer=words, cache=ArtefactCache(tmp_path), progress=False)
    made.fit(Candidates.from_triples(rows), np.arange(40) % 2)
    found = made.log_odds(Candidates.from_triples([("animal x", "IsA", "cat"), ("animal x", "IsA", "stone")]))
    assert found[0] > 0 > found[1]
    bare = Critic(encoder=LexicalEncoder(64), cache=ArtefactCache(tmp_path), progress=False)
    bare.fit(Candidates.from_triples(rows), np.arange(40) % 2)
    found = bare.log_odds(Candidates.from_triples([("animal x", "Likes", "cat"), ("animal x", "Likes", "stone")]))
    assert found[0] > found[1]


def test_vectors_of_candidates_are_not_kept_unasked(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KGNEG_HOME", str(tmp_path / "home"))
    rows = Candidates.from_triples(
        [(f"animal {number}", "IsA", "cat" if number % 2 else "stone") for number in range(40)]
    )
    more = Candidates(["animal x"], ["IsA"], ["dog"])

    def kept(where: str) -> int:
        return len(list((tmp_path / where).rglob("*.safetensors")))

    made = Critic(encoder=LexicalEncoder(64), progress=False).fit(rows, np.arange(40) % 2)
    assert kept("home") == 2  # heads and tails of the fit
    odds = made.log_odds(more)
    assert kept("home") == 2
    given = Critic(encoder=LexicalEncoder(64), progress=False, cache=ArtefactCache(tmp_path / "own"))
    np.testing.assert_array_equal(given.fit(rows, np.arange(40) % 2).log_odds(more), odds)
    assert (kept("home"), kept("own")) == (2, 4)


@pytest.mark.parametrize(
    ("truth", "weight", "message"),
    [
        (np.ones(3), None, "one truth and weight per triple"),
        (np.ones(4), None, "4 rows of one kind"),
        (np.array([0, 1, 2, 0]), None, "between 0 and 1, got 2"),
        (np.array([0, 1, np.nan, 0]), None, "between 0 and 1, got nan"),
        (np.array([0, 1, 1, 0]), np.array([0, 1, 1, 1]), "above 0"),
    ],
)
def test_refusals(world: Any, truth: np.ndarray, weight: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        world.critic().fit(world.candidates[:4], truth, weight)


def test_not_fitted(world: Any) -> None:
    with pytest.raises(InvalidInputError, match="call fit first"):
        world.critic().log_odds(world.candidates)
    with pytest.raises(InvalidInputError, match="call fit first"):
        world.critic().state()
