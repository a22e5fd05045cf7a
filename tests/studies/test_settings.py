from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kgneg.compare import SamplerChoice
from kgneg.compare.store import file_hashes
from kgneg.studies import StudySettings

MIXTURE = '{{"lemon": {{"texts": "{path}"}}}}'


def definition(*samplers: str, texts: str | None = None) -> dict[str, Any]:
    choices = tuple(SamplerChoice.parse(text) for text in samplers)
    settings = StudySettings(
        dataset="nations", samplers=choices, models=("distmult",), losses=("nssa",), trials=1, epochs=1
    )
    return settings.definition("fingerprint", texts)


@pytest.mark.parametrize(
    "sampler", ["lemon:texts={path}", "mixture:components=lemon,components_kwargs=" + MIXTURE, "lemon"]
)
def test_definition_knows_the_content_of_files(tmp_path: Path, sampler: str) -> None:
    path = tmp_path / "texts.tsv"
    path.write_text("a\tb\n", encoding="utf-8")
    text, default = sampler.format(path=path), str(path) if sampler == "lemon" else None
    before = definition(text, "basic", texts=default)
    assert len(before["files"]) == 1
    assert definition(text, "basic", texts=default) == before
    path.write_text("a\tc\n", encoding="utf-8")
    after = definition(text, "basic", texts=default)
    assert {name for name in before if before[name] != after[name]} == {"files"}


def test_hashes_of_folders_know_names_and_content(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    (folder / "inner").mkdir(parents=True)
    (folder / "a.tsv").write_text("1", encoding="utf-8")
    seen = [file_hashes({"path": str(folder)})]
    (folder / "inner" / "b.tsv").write_text("2", encoding="utf-8")
    seen.append(file_hashes({"path": str(folder)}))
    (folder / "inner" / "b.tsv").rename(folder / "inner" / "c.tsv")
    seen.append(file_hashes({"path": str(folder)}))
    assert all(list(found) == ["path"] for found in seen)
    assert len({found["path"] for found in seen}) == 3
    assert list(file_hashes({"inner": {"deep": {"texts": str(folder)}}})) == ["inner.deep.texts"]
    assert file_hashes({"other": str(folder), "path": str(folder / "none"), "texts": 3}) == {}
