"""Taxonomies as tensors, to be kept in files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from kgneg.core.candidates import CandidateIndex

if TYPE_CHECKING:
    from kgneg.datasets.taxonomy import Taxonomy

__all__ = ["from_tensors", "to_tensors"]


def to_tensors(taxonomy: Taxonomy) -> dict[str, torch.Tensor]:
    """Return everything as tensors; texts are UTF-8 bytes.

    :param taxonomy: the taxonomy
    """
    texts = {
        "name": taxonomy.name,
        "concepts": taxonomy.concepts,
        "labels": taxonomy.labels,
        "alternatives": taxonomy.alternatives,
        "kinds": taxonomy.kinds,
        "descriptions": taxonomy.descriptions,
        "contexts": dict(taxonomy.contexts),
        "report": dict(taxonomy.report),
    }
    body = json.dumps(texts, ensure_ascii=False).encode()
    tensors = {"texts": torch.frombuffer(bytearray(body), dtype=torch.uint8)}
    for what, index in {
        "parents": taxonomy.parents,
        **{f"relation {k}": v for k, v in taxonomy.relations.items()},
    }.items():
        tensors |= {f"{what}/indptr": index.indptr, f"{what}/indices": index.indices}
    return tensors


def from_tensors(tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """Return the arguments of :class:`kgneg.datasets.Taxonomy`.

    :param tensors: from :func:`to_tensors`
    """
    texts = json.loads(tensors["texts"].numpy().tobytes())
    concepts = tuple(texts["concepts"])
    contexts = {what: tuple(names) for what, names in texts["contexts"].items()}

    def index(what: str, columns: int) -> CandidateIndex:
        return CandidateIndex(tensors[f"{what}/indptr"], tensors[f"{what}/indices"], num_columns=columns)

    return {
        "name": texts["name"],
        "concepts": concepts,
        "parents": index("parents", len(concepts)),
        "labels": tuple(texts["labels"]),
        "alternatives": tuple(tuple(one) for one in texts["alternatives"]),
        "kinds": tuple(texts["kinds"]),
        "descriptions": tuple(texts.get("descriptions", ())),
        "relations": {what: index(f"relation {what}", len(names)) for what, names in contexts.items()},
        "contexts": contexts,
        "report": Counter(texts["report"]),
    }
