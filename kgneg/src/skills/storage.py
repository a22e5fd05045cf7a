"""Rankers of concepts in folders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from kgneg.core.encode import SentenceEncoder, bundled_model, resolve_encoder
from kgneg.core.errors import InvalidInputError
from kgneg.core.storage import atomic_path, read_tensors, write_tensors
from kgneg.datasets import Taxonomy
from kgneg.skills.classifiers import ConceptClassifiers
from kgneg.skills.concepts import ConceptSet
from kgneg.skills.ranker import ClassifierRanker, ConceptRanker, TextRanker

__all__ = ["StoredRanker", "is_stored", "load_ranker", "save_ranker"]

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
        "matches": ranker.matcher is not None,
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
    places = tensors.pop("places", None)
    taxonomy = None if places is None else Taxonomy.load(folder / _TAXONOMY)
    texts = {one: content[one] for one in ("names", "labels", "alternatives", "descriptions")}
    concepts = ConceptSet(**texts, taxonomy=taxonomy, places=places)
    where = folder / _ENCODER
    encoder = SentenceEncoder(str(where)) if content["encoder"] == _ENCODER else resolve_encoder(content["encoder"])
    matcher = concepts.matcher() if content["matches"] else None
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


def _named(encoder: Any, folder: Path) -> str:
    if not isinstance(encoder, SentenceEncoder):
        if str(getattr(encoder, "fingerprint", "")).startswith("lexical"):
            return "lexical"
        raise InvalidInputError(
            f"an encoder of the type {type(encoder).__name__} cannot be kept: save it as a sentence-transformers "
            "model, and give its folder"
        )
    if encoder.name == bundled_model():
        return _BUNDLED
    source, target = Path(encoder.name), folder / _ENCODER
    if not source.is_dir():
        return encoder.name
    if source.resolve() != target.resolve():
        shutil.copytree(source, target, dirs_exist_ok=True)
    return _ENCODER
