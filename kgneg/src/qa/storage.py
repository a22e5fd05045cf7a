"""Scorers in folders."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from kgneg.core.encode import LexicalEncoder, SentenceEncoder, bars_hidden
from kgneg.core.errors import InvalidInputError
from kgneg.core.seeding import global_streams_kept
from kgneg.core.storage import atomic_path
from kgneg.qa.cross import CrossEncoderScorer
from kgneg.qa.masked import MaskedScorer
from kgneg.qa.scorers import BiEncoderScorer, Scorer

__all__ = ["StoredScorer", "is_stored", "load_scorer", "save_scorer"]

_FILE, _MODEL = "scorer.json", "model"
_FORMAT = "kgneg scorer 1"


class StoredScorer(NamedTuple):
    """A scorer, and how it was made."""

    scorer: Scorer
    record: dict[str, Any]


def is_stored(folder: str | Path) -> bool:
    """Return whether a folder holds a scorer.

    :param folder: the folder
    """
    return Path(folder, _FILE).is_file()


def save_scorer(folder: str | Path, scorer: Scorer, record: Mapping[str, Any] | None = None) -> None:
    """Write a scorer with its model, so that nothing else is needed to use it.

    :param folder: the folder, which is created
    :param scorer: the scorer
    :param record: how it was made, anything that JSON can spell
    :raises InvalidInputError: if such a scorer cannot be kept
    """
    folder = Path(folder)
    if not isinstance(scorer, BiEncoderScorer | CrossEncoderScorer | MaskedScorer):
        raise InvalidInputError(f"a {type(scorer).__name__} cannot be kept in a folder")
    content: dict[str, Any] = {"format": _FORMAT, "kind": scorer.kind, "options": scorer.options}
    if isinstance(scorer, BiEncoderScorer) and isinstance(scorer.encoder, LexicalEncoder):
        content["lexical"] = scorer.encoder.dim
    else:
        with bars_hidden():
            scorer.model.save_pretrained(str(folder / _MODEL), create_model_card=False)
    content["record"] = dict(record or {})
    with atomic_path(folder / _FILE) as path:
        path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def load_scorer(folder: str | Path, *, progress: bool = True) -> StoredScorer:
    """Read what :func:`save_scorer` has written.

    :param folder: the folder
    :param progress: whether the scorer shows progress bars
    :returns: the scorer and its record
    :raises InvalidInputError: if there is none, or it is damaged
    """
    path = Path(folder, _FILE)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInputError(f"{folder} holds no scorer: {_FILE} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise InvalidInputError(f"{path} is damaged ({error}): train again") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise InvalidInputError(f"{path} holds no scorer of this version, expected {_FORMAT!r}")
    try:
        with global_streams_kept():  # layers are filled at random before they are read
            scorer = _restored(content, str(Path(folder, _MODEL)), progress)
        return StoredScorer(scorer, content["record"])
    except (KeyError, TypeError) as error:
        raise InvalidInputError(f"{path} is damaged ({type(error).__name__}: {error}): train again") from error


def _restored(content: dict[str, Any], model: str, progress: bool) -> Scorer:
    kind, options = content["kind"], {**content["options"], "progress": progress}
    if kind == BiEncoderScorer.kind:
        lexical = content.get("lexical")
        return BiEncoderScorer(SentenceEncoder(model) if lexical is None else LexicalEncoder(lexical), **options)
    if kind == CrossEncoderScorer.kind:
        return CrossEncoderScorer(SentenceEncoder(model).load(), **options)
    if kind == MaskedScorer.kind:
        return MaskedScorer(SentenceEncoder(model).load(), **options)
    raise KeyError(kind)
