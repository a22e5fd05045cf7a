from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from kgneg.compare import CompareSettings, SamplerChoice
from kgneg.compare.store import RunStore, dump_json, run_key

KEY: dict[str, Any] = {"seed": 0, "sampler": {"name": "basic"}}
RUN: dict[str, Any] = {"metrics": {"mrr": 0.25}, "losses": [1.0], "sampler": "\N{GREEK SMALL LETTER ALPHA}"}


def test_round_trip(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs")
    assert store.load(KEY) is None
    store.save(KEY, RUN)
    assert store.load(KEY) == RUN
    assert store.load({**KEY, "seed": 1}) is None
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [store.path(KEY).name]  # type: ignore[union-attr]


@pytest.mark.parametrize("damage", ["", "{", '{"run": {}}', "[]", "null", "truncate", "edit"])
def test_damage_is_seen(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RunStore(tmp_path)
    store.save(KEY, RUN)
    path = store.path(KEY)
    assert path is not None
    text = path.read_text(encoding="utf-8")
    new = {"truncate": text[: len(text) // 2], "edit": text.replace("0.25", "0.75")}.get(damage, damage)
    path.write_text(new, encoding="utf-8")
    logging.getLogger("kgneg").propagate = True  # the command line turns it off; later tests count on it
    # the one and only handler: recent versions of pytest also put theirs on a logger that did not propagate when the
    # test began, and would then catch the record twice
    logger = logging.getLogger("kgneg.compare.store")
    monkeypatch.setattr(logger, "handlers", [caplog.handler])
    monkeypatch.setattr(logger, "propagate", False)
    with caplog.at_level(logging.WARNING, logger=logger.name):
        assert store.load(KEY) is None
    assert [record.message for record in caplog.records] == [f"{path} is damaged; the run is done again"]
    store.save(KEY, RUN)
    assert store.load(KEY) == RUN


def test_nothing_is_kept_without_a_folder() -> None:
    store = RunStore(None)
    store.save(KEY, RUN)
    assert store.load(KEY) is None


def test_json_is_strict() -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        dump_json({"a": float("nan")})
    assert json.loads(dump_json(RUN)) == RUN


def key(choice: str = "lemon", seed: int = 0, triples: str = "a", **changes: Any) -> dict[str, Any]:
    settings = CompareSettings(**{"dataset": "nations", "samplers": ("lemon", "basic"), **changes})
    return run_key(settings, SamplerChoice.parse(choice), seed, triples)


def test_key_has_what_matters() -> None:
    assert json.loads(json.dumps(key())) == key()
    for changed in (
        key("lemon:dim=3"), key(seed=1), key(triples="b"), key(epochs=3), key(learning_rate=0.5), key(model="distmult"),
        key(loss="nssa"), key(dim=3), key(negatives=3), key(batch_size=3), key(checked=3),
        key(loop="kgneg"),
    ):  # fmt: skip
        assert changed != key()
    assert (
        key(seeds=(0, 5))
        == key(samplers=("lemon",))
        == key(dataset="umls")
        == key(loop="slcwa")
        == key(loss="marginranking")
        == key()
    )


def test_key_looks_into_files(tmp_path: Path) -> None:
    texts = tmp_path / "texts.tsv"
    texts.write_text("a\tb\n", encoding="utf-8")
    first = key(f"lemon:texts={texts}")
    assert key(f"lemon:texts={texts}") == first
    assert key(f"lemon:texts={tmp_path}")["files"] != first["files"]
    texts.write_text("a\tc\n", encoding="utf-8")
    assert key(f"lemon:texts={texts}") != first


def test_key_has_the_loop_that_trains() -> None:
    own = {"samplers": ("basic", "dynamic")}
    assert (key("basic", **own)["loop"], key("dynamic", **own)["loop"]) == ("slcwa", "kgneg")
    assert key("dynamic", **own) == key("dynamic", **own, loop="kgneg")
    assert key("basic", **own) != key("basic", **own, loop="kgneg")
