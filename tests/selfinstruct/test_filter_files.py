from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kgneg.core.cache import ArtefactCache
from kgneg.core.encode import LexicalEncoder
from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct import filter_files
from kgneg.selfinstruct.critic import Critic
from kgneg.selfinstruct.filter import SelfInstructFilter
from kgneg.selfinstruct.filter_files import filter_parts, load_filter, save_filter
from kgneg.selfinstruct.verbalizer import Verbalizer

TEMPLATES = {
    name: {"positive": [f"{{head}} {name} {{tail}}."], "negated": [f"{{head}} never {name} {{tail}}."]}
    for name in ("wants", "fears")
}


class Other:
    """Hands questions on to a recorded judge."""

    def __init__(self, judge: Any) -> None:
        self.judge, self.fingerprint, self.name = judge.judge, judge.fingerprint, "other"


@pytest.fixture(scope="module")
def fitted(world: Any, tmp_path_factory: pytest.TempPathFactory) -> SelfInstructFilter:
    critic = Critic(
        encoder=LexicalEncoder(),
        verbalizer=Verbalizer(relations=TEMPLATES),
        progress=False,
        cache=cache(tmp_path_factory),
    )
    made = SelfInstructFilter(judges=world.judges, critic=critic, target=0.8)
    return made.fit(*world.seeds(slice(0, 500)))


def cache(factory: pytest.TempPathFactory) -> ArtefactCache:
    return ArtefactCache(factory.mktemp("cache"))


def test_a_folder_is_enough(
    world: Any, fitted: SelfInstructFilter, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    fitted.save(tmp_path)
    again = SelfInstructFilter.load(tmp_path, progress=False, cache=cache(tmp_path_factory))
    assert again.fingerprint() == fitted.fingerprint()
    expected, found = (one.decide(world.candidates[500:700]) for one in (fitted, again))
    np.testing.assert_array_equal(found.action, expected.action)
    np.testing.assert_array_equal(found.score, expected.score)
    assert again.certificate == fitted.certificate
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors", ".parquet"}


def test_a_stop_while_saving_leaves_the_old_one(
    world: Any, fitted: SelfInstructFilter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = world.candidates[500:700]
    critic = Critic(encoder=LexicalEncoder(), verbalizer=Verbalizer(relations=TEMPLATES), progress=False)
    other = SelfInstructFilter(judges=world.judges[:1], critic=critic, target=None)
    fitted.save(tmp_path)
    expected, before = fitted.decide(rows), {path.name for path in tmp_path.iterdir()}
    old = filter_parts(tmp_path)
    assert before == {path.name for path in old}
    other.fit(*world.seeds(slice(500, 1000)))

    class Stop(BaseException):
        pass

    def stopped(path: Path) -> Any:
        assert path.name == "filter.json"
        raise Stop

    monkeypatch.setattr(filter_files, "atomic_path", stopped)
    with pytest.raises(Stop):
        other.save(tmp_path)
    monkeypatch.undo()
    assert filter_parts(tmp_path) == old
    again = SelfInstructFilter.load(tmp_path, progress=False).decide(rows)
    np.testing.assert_array_equal(again.score, expected.score)
    np.testing.assert_array_equal(again.action, expected.action)
    (tmp_path / "judges.json").touch()
    (tmp_path / "judges-mine.parquet").touch()
    other.save(tmp_path)
    mine = {"judges.json", "judges-mine.parquet"}
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in filter_parts(tmp_path)} | mine
    np.testing.assert_array_equal(
        SelfInstructFilter.load(tmp_path, progress=False).decide(rows).score, other.decide(rows).score
    )


def test_other_judges_are_handed_in(world: Any, tmp_path: Path) -> None:
    judges = [Other(world.judges[0])]
    made = SelfInstructFilter(judges=judges, critic=world.critic(), target=None).fit(*world.seeds(slice(0, 300)))
    save_filter(made, tmp_path)
    with pytest.raises(
        InvalidInputError, match=r"asks other, got none: hand the same judges in with judges= \(--judge\)"
    ):
        load_filter(tmp_path, encoder=world.table)
    with pytest.raises(InvalidInputError, match="asks other, got strict"):
        load_filter(tmp_path, encoder=world.table, judges=world.judges[:1])
    with pytest.raises(InvalidInputError, match="encoder of the caller's own"):
        load_filter(tmp_path, judges=judges)
    with pytest.raises(InvalidInputError, match="used the encoder"):
        load_filter(tmp_path, judges=judges, encoder="lexical")
    again = load_filter(tmp_path, judges=judges, encoder=world.table, progress=False)
    rows = world.candidates[300:400]
    np.testing.assert_array_equal(again.decide(rows).score, made.decide(rows).score)


def test_judges_of_one_name_keep_their_order(world: Any, tmp_path: Path) -> None:
    judges = [Other(one) for one in world.judges]
    SelfInstructFilter(judges=judges, target=None).fit(*world.seeds(slice(0, 300))).save(tmp_path)
    assert load_filter(tmp_path, judges=judges).judges == tuple(judges)
    with pytest.raises(InvalidInputError, match=r"the judges of the filter in .* are in another order"):
        load_filter(tmp_path, judges=judges[::-1])


def test_judges_that_are_not_asked_are_not_needed(world: Any, tmp_path: Path) -> None:
    made = SelfInstructFilter(judges=[Other(world.judges[0])], critic=world.critic(), ask=False, target=None)
    made.fit(*world.seeds(slice(0, 300)), world.candidates[300:500]).save(tmp_path)
    again = SelfInstructFilter.load(tmp_path, encoder=world.table, progress=False)
    rows = world.candidates[500:600]
    np.testing.assert_array_equal(again.decide(rows).score, made.decide(rows).score)


def test_refusals(world: Any, fitted: SelfInstructFilter, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="call fit first"):
        save_filter(SelfInstructFilter(judges=world.judges), tmp_path)
    with pytest.raises(InvalidInputError, match="the folder of a filter"):
        load_filter(tmp_path)
    save_filter(fitted, tmp_path)
    state = json.loads((tmp_path / "filter.json").read_text(encoding="utf-8"))
    (tmp_path / "filter.json").write_text(json.dumps(state | {"version": 99}))
    with pytest.raises(InvalidInputError, match="version 99"):
        load_filter(tmp_path)
    for place, name in ((state, "recorded"), (state["filter"], "fusion"), (state["critic"], "landmarks")):
        kept = place.pop(name)
        (tmp_path / "filter.json").write_text(json.dumps(state))
        with pytest.raises(InvalidInputError, match=f"filter.json is no whole filter, '{name}' is missing: fit again"):
            load_filter(tmp_path)
        place[name] = kept
    (tmp_path / "filter.json").write_text("{")
    with pytest.raises(InvalidInputError, match="is no filter"):
        load_filter(tmp_path)


def test_an_encoder_that_gives_other_vectors_is_refused(world: Any, tmp_path: Path) -> None:
    class Own:
        def __init__(self, turn: int) -> None:
            self.turn = turn

        def encode(self, sentences: list[str]) -> np.ndarray:
            return np.roll(world.table.encode(sentences), self.turn, axis=1)

    made = SelfInstructFilter(critic=Critic(encoder=Own(0), progress=False), target=None)
    made.fit(*world.seeds(slice(0, 300))).save(tmp_path)
    rows = world.candidates[300:400]
    again = load_filter(tmp_path, encoder=Own(0), progress=False)
    np.testing.assert_array_equal(again.decide(rows).score, made.decide(rows).score)
    with pytest.raises(InvalidInputError, match="another vector of 'person"):
        load_filter(tmp_path, encoder=Own(1), progress=False)
