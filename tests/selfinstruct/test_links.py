from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pykeen.triples import TriplesFactory

from kgneg.core.errors import InvalidInputError
from kgneg.datasets import read_triples
from kgneg.integrations.pykeen import GivenNegativeSampler
from kgneg.selfinstruct.links import write_kept

KNOWN = np.array([[f"e{h}", "r", f"e{(h + 1) % 12}"] for h in range(12)], dtype=str)


@pytest.fixture
def decided(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    rows = [(f"e{h}", "r", f"e{t}") for h in range(12) for t in range(12) if t not in (h, (h + 1) % 12)]
    frame = pd.DataFrame(rows, columns=["head", "relation", "tail"])
    frame["score"] = [int(head[1:]) / 12 for head in frame["head"]]
    frame.loc[0, "score"] = np.nan
    frame["action"] = ["keep" if score < 0.5 else "drop" for score in frame["score"].fillna(1.0)]
    frame["reason"] = ""
    for number, part in enumerate((frame[:50], frame[50:])):
        part.to_parquet(folder / f"part-{number:06d}.parquet", index=False)
    return folder


@pytest.fixture
def factory() -> TriplesFactory:
    return TriplesFactory.from_labeled_triples(KNOWN)


@pytest.mark.parametrize("name", ["kept.tsv", "kept.parquet"])
def test_kept_negatives_are_drawn(name: str, decided: Path, factory: TriplesFactory, tmp_path: Path) -> None:
    path = tmp_path / name
    frame = pd.read_parquet(decided)
    wanted = frame[frame["action"] == "keep"][["head", "relation", "tail"]].to_numpy().tolist()
    assert write_kept(decided, path) == len(wanted)
    assert read_triples(path).tolist() == wanted
    sampler = GivenNegativeSampler(mapped_triples=factory.mapped_triples, path=path, num_negs_per_pos=4)
    drawn = sampler.draw(factory.mapped_triples)
    pairs = {(row[0], row[1], row[2]) for row in wanted}
    for triple, fallback in zip(drawn.triples.reshape(-1, 3), drawn.fallback.reshape(-1), strict=True):
        label = tuple(factory.label_triples(triple[None])[0].tolist())
        assert fallback or label in pairs
    assert not drawn.fallback.all()


def test_other_actions(decided: Path, tmp_path: Path) -> None:
    count = write_kept(decided, tmp_path / "all.tsv", actions=("keep", "drop"))
    assert count == len(pd.read_parquet(decided))
    for name in ("all.tsv", "none.parquet"):  # an older file does not stay
        assert write_kept(decided, tmp_path / name, actions=("review",)) == 0
    assert (tmp_path / "all.tsv").read_bytes() == b""
    assert len(pd.read_parquet(tmp_path / "none.parquet")) == 0
    for path, actions, message in (
        ("kept.csv", ("keep",), "must end in"),
        ("kept.tsv", ("no",), "actions must be"),
        ("kept.tsv", "keep", "actions must be"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            write_kept(decided, tmp_path / path, actions=actions)


def test_texts_that_no_tsv_can_hold(decided: Path, tmp_path: Path) -> None:
    frame = pd.read_parquet(decided / "part-000000.parquet")
    frame.loc[frame["action"] == "keep", "tail"] = "a\tb"
    frame.to_parquet(decided / "part-000000.parquet", index=False)
    with pytest.raises(InvalidInputError, match="cannot be written to a TSV file"):
        write_kept(decided, tmp_path / "kept.tsv")
    assert write_kept(decided, tmp_path / "kept.parquet") > 0


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    pd.DataFrame({"head": ["a"], "relation": ["b"], "tail": ["c"]}).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(InvalidInputError, match="no column action"):
        write_kept(tmp_path, tmp_path / "kept.tsv")
