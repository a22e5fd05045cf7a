"""Scorers in folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.qa import BiEncoderScorer, load_scorer, make_scorer, save_scorer
from kgneg.qa.storage import is_stored

ASKED, CHOICES = ["we bake"], [["bread", "the zoo"]]


@pytest.mark.parametrize("kind", ["bi-encoder", "cross-encoder", "masked"])
def test_folders(kind: str, tiny_encoder: str, tiny_language_model: str, tmp_path: Path) -> None:
    model = tiny_language_model if kind == "masked" else tiny_encoder
    scorer = make_scorer(kind, model, progress=False)
    save_scorer(tmp_path / "s", scorer, {"a": 1})
    assert is_stored(tmp_path / "s") and not is_stored(tmp_path)
    found = load_scorer(tmp_path / "s", progress=False)
    assert type(found.scorer) is type(scorer) and found.record == {"a": 1}
    torch.testing.assert_close(found.scorer.scores(ASKED, CHOICES)[0], scorer.scores(ASKED, CHOICES)[0])


def test_lexical(tmp_path: Path) -> None:
    scorer = BiEncoderScorer("lexical", pairing="statement", scale=3.0, progress=False)
    save_scorer(tmp_path, scorer)
    found = load_scorer(tmp_path, progress=False).scorer
    assert isinstance(found, BiEncoderScorer) and found.options == scorer.options
    torch.testing.assert_close(found.scores(ASKED, CHOICES)[0], scorer.scores(ASKED, CHOICES)[0])


def test_refusals(tmp_path: Path) -> None:
    class Other:
        def scores(self, questions: Any, choices: Any) -> Any:
            return []

    with pytest.raises(InvalidInputError, match="a Other cannot be kept"):
        save_scorer(tmp_path, Other())
    with pytest.raises(InvalidInputError, match="holds no scorer"):
        load_scorer(tmp_path)
    good = {"format": "kgneg scorer 1", "kind": "bi-encoder", "options": {}, "record": {}, "lexical": 9}
    for content, message in (
        ("{", "is damaged .*: train again"),
        ("[]", "no scorer of this version"),
        (json.dumps(good | {"format": "1"}), "no scorer of this version"),
        (json.dumps(good | {"kind": "other"}), "is damaged"),
        (json.dumps(good | {"options": {"odd": 1}}), "is damaged"),
        (json.dumps({one: value for one, value in good.items() if one != "record"}), "'record'"),
    ):
        (tmp_path / "scorer.json").write_text(content, encoding="utf-8")
        with pytest.raises(InvalidInputError, match=message):
            load_scorer(tmp_path)
