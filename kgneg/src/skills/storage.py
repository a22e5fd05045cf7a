"""Rankers of concepts in folders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from kgneg.core.encode import Encoder, LexicalEncoder, SentenceEncoder, bundled_model, resolve_encoder
from kgneg.core.errors import InvalidInputError
from kgneg.core.storage import atomic_path, read_tensors, write_tensors
from kgneg.datasets import Taxonomy
from kgneg.skills.classifiers import ConceptClassifiers
from kgneg.skills.concepts import ConceptSet
from kgneg.skills.ranker import ClassifierRanker, ConceptRanker, TextRanker

__all__ = ["StoredRanker", "check_encoder", "is_stored", "load_ranker", "save_ranker"]

_FILE, _TENSORS, _ENCODER, _TAXONOMY = "ranker.json", "ranker.safetensors", "encoder", "taxonomy.safetensors"
_FORMAT = "kgneg concept ranker 1"
#: what stands for the model of the extra "offline", wherever it is installed
_BUNDLED = "minilm"


class StoredRanker(NamedTuple):
    """A ranker, and what its concepts are."""

    ranker: TextRanker
    concepts: ConceptSet
    #: how it was made
    record: dict[str, Any]


def is_stored(folder: str | Path) -> bool:
    """Return whether a folder holds a ranker.

    :param folder: the folder
    """
    return Path(folder, _FILE).is_file()


def save_ranker(
    folder: str | Path, ranker: TextRanker, concepts: ConceptSet, record: Mapping[str, Any] | None = None
) -> None:
    """Write a ranker with its encoder and its concepts, so that nothing else is needed to use it.

    An encoder in the folder itself stays there; another folder is copied; a name, such as that of a model of a hub, is
    kept as it is.

    :param folder: the folder, which is created
    :param ranker: the ranker
    :param concepts: the concepts that it ranks
    :param record: how it was made, anything that JSON can spell
    :raises InvalidInputError: if numbers do not fit, or the encoder cannot be named
    """
    folder = Path(folder)
    if ranker.number != len(concepts):
        raise InvalidInputError(f"a ranker of {ranker.number} concepts does not fit {len(concepts)}")
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(ranker, ClassifierRanker):
        tensors = {**ranker.classifiers.state_dict()}
    elif isinstance(ranker, ConceptRanker):
        tensors = {"vectors": ranker.vectors} | ({} if ranker.shift is None else {"shift": ranker.shift})
    else:
        raise InvalidInputError(f"a {type(ranker).__name__} cannot be kept")
    content = {
        "format": _FORMAT,
        "kind": type(ranker).__name__,
        "encoder": _named(ranker.encoder, folder),
        "bonus": ranker.bonus,
        "matcher": None if ranker.matcher is None else ranker.matcher.options,
        "names": list(concepts.names),
        "labels": list(concepts.labels),
        "alternatives": [list(one) for one in concepts.alternatives],
        "descriptions": list(concepts.descriptions),
        "record": dict(record or {}),
    }
    if concepts.taxonomy is not None and concepts.places is not None:
        concepts.taxonomy.save(folder / _TAXONOMY)
        tensors["places"] = concepts.places
    write_tensors(folder / _TENSORS, tensors, {"format": _FORMAT})
    with atomic_path(folder / _FILE) as path:
        path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def load_ranker(folder: str | Path, *, progress: bool = True) -> StoredRanker:
    """Read what :func:`save_ranker` has written.

    :param folder: the folder
    :param progress: whether the ranker shows progress bars
    :returns: the ranker and its concepts
    :raises InvalidInputError: if there is none, or it is damaged
    """
    folder = Path(folder)
    try:
        content = json.loads((folder / _FILE).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InvalidInputError(f"{folder} holds no ranker: there is no {_FILE}") from error
    except ValueError as error:
        raise InvalidInputError(f"{folder / _FILE} is damaged ({error}): train again") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise InvalidInputError(f"{folder / _FILE} holds no ranker of this version, expected {_FORMAT!r}")
    tensors, _ = read_tensors(folder / _TENSORS)
    try:
        return _restored(folder, content, tensors, progress)
    except KeyError as error:
        raise InvalidInputError(f"{folder / _FILE} is damaged: {error} is missing; train again") from error


def _restored(folder: Path, content: dict[str, Any], tensors: dict[str, Any], progress: bool) -> StoredRanker:
    places = tensors.pop("places", None)
    taxonomy = None if places is None else Taxonomy.load(folder / _TAXONOMY)
    texts = {one: content[one] for one in ("names", "labels", "alternatives", "descriptions")}
    concepts = ConceptSet(**texts, taxonomy=taxonomy, places=places)
    where = folder / _ENCODER
    name = content["encoder"]
    encoder: Encoder
    if isinstance(name, int):
        encoder = LexicalEncoder(name)
    else:
        encoder = SentenceEncoder(str(where)) if name == _ENCODER else resolve_encoder(name)
    matcher = None if content["matcher"] is None else concepts.matcher(**content["matcher"])
    options: dict[str, Any] = {"matcher": matcher, "bonus": content["bonus"], "progress": progress}
    ranker: TextRanker
    if content["kind"] == ClassifierRanker.__name__:
        classifiers = ConceptClassifiers(*tensors["weight"].shape)
        classifiers.load_state_dict(tensors)
        ranker = ClassifierRanker(classifiers, encoder, **options)
    else:
        ranker = ConceptRanker(concepts.labels, encoder, vectors=tensors["vectors"], **options)
        ranker.shift = tensors.get("shift")
    return StoredRanker(ranker, concepts, content["record"])


def check_encoder(encoder: Any) -> None:
    """Refuse an encoder that cannot be kept in a folder.

    :param encoder: the encoder
    :raises InvalidInputError: if it is neither lexical nor a sentence-transformers model with a name or folder
    """
    if not isinstance(encoder, SentenceEncoder | LexicalEncoder):
        raise InvalidInputError(
            f"an encoder of the type {type(encoder).__name__} cannot be kept: save it as a sentence-transformers "
            "model, and give its folder"
        )


def _named(encoder: Any, folder: Path) -> str | int:
    """Return what names an encoder; the length of its vectors for a lexical one."""
    check_encoder(encoder)
    if isinstance(encoder, LexicalEncoder):
        return encoder.dim
    assert isinstance(encoder, SentenceEncoder)  # noqa: S101
    if encoder.name == bundled_model():
        return _BUNDLED
    source, target = Path(encoder.name), folder / _ENCODER
    if not source.is_dir():
        return encoder.name
    if source.resolve() != target.resolve():
        shutil.copytree(source, target, dirs_exist_ok=True)
    return _ENCODER
