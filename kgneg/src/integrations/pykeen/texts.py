"""Texts and vectors for the entities of a graph, from plain arguments."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kgneg.core.errors import InvalidInputError, MissingTextError
from kgneg.core.knn import validate_vectors
from kgneg.core.storage import read_tensors
from kgneg.core.typing import FloatTensor
from kgneg.core.validation import choose
from kgneg.integrations.pykeen.factories import Labels

__all__ = ["entity_texts", "read_vectors"]

logger = logging.getLogger(__name__)


def entity_texts(
    texts: str | Path | Mapping[str, str] | None, labels: Labels | None, num_entities: int, missing: str
) -> list[str]:
    """Return the text of every entity, by id.

    :param texts: a TSV file, a folder or RDF file with a graph, the name of a built-in dataset, or texts by entity
        label; ``None`` takes the texts that came with the graph, or else the entity labels themselves
    :param labels: the labels of the graph, when they are known
    :param num_entities: the number of entities
    :param missing: ``"error"``, or ``"label"`` to use the label of an entity without text
    :returns: ``num_entities`` texts
    :raises MissingTextError: if entities have no text
    :raises InvalidInputError: if the source cannot be read or fits no entity
    """
    from kgneg.datasets import humanise

    choose("missing_text", missing, ("error", "label"))
    if texts is None and labels is None:
        raise MissingTextError(
            f"the {num_entities} entities have neither texts nor labels: PyKEEN gave bare ids, and no triples "
            "factory with labels is in memory. Give texts= (with ids 0, 1, ... in the first column) or vectors=."
        )
    names = [str(number) for number in range(num_entities)] if labels is None else list(labels.entities)
    own = labels.texts if labels is not None else {}
    if texts is None and not own:
        return [humanise(name) for name in names]
    source = own if texts is None else texts if isinstance(texts, Mapping) else _read(texts)
    source = {name: text for name, text in source.items() if not isinstance(text, str) or text.strip()}
    if not all(name in source for name in names):
        # PyKEEN reads 00001740 as a number, and so its label is 1740
        numbers = {str(int(name)): text for name, text in source.items() if str(name).isdecimal()}
        source = {**numbers, **source}
    lacking = [name for name in names if not source.get(name)]
    if lacking and (missing == "error" or len(lacking) == num_entities):
        raise MissingTextError(
            f"{len(lacking)} of {num_entities} entities have no text in {_describe(texts)}, for example "
            f"{', '.join(map(repr, lacking[:3]))}. Add them, or use their labels instead with missing_text='label' "
            "(--missing-text label)."
        )
    if lacking:
        logger.warning("%d of %d entities have no text; their labels are used instead", len(lacking), num_entities)
    return [source.get(name) or humanise(name) for name in names]


def _describe(texts: Any) -> str:
    return "the graph" if texts is None else "the given mapping" if isinstance(texts, Mapping) else str(texts)


def _read(source: str | Path) -> Mapping[str, str]:
    from kgneg.datasets import available, humanise, is_rdf, load, read_texts

    path = Path(source)
    if path.is_file() and not is_rdf(path):
        return read_texts(path)
    if path.exists() or str(source) in available():
        graph = load(source)
        return graph.texts or {name: humanise(name) for name in graph.entities}
    raise InvalidInputError(
        f"texts={str(source)!r} is no file, no folder and none of the built-in datasets {', '.join(available())}"
    )


def read_vectors(vectors: Any, num_entities: int | None) -> FloatTensor:
    """Return user-supplied vectors, one row per entity id.

    :param vectors: an array or tensor, a ``.npy`` file, or a ``.safetensors`` file with one tensor (or one named
        ``vectors``)
    :param num_entities: the number of entities; ``None`` accepts any
    :returns: shape: ``(num_entities, d)``, float32
    :raises InvalidInputError: if the file cannot be read, or the vectors are malformed or of the wrong number
    """
    if isinstance(vectors, (str, Path)):
        path = Path(vectors)
        if path.suffix == ".safetensors":
            tensors, _ = read_tensors(path)
            if len(tensors) != 1 and "vectors" not in tensors:
                raise InvalidInputError(f"{path} holds {sorted(tensors)}: name the tensor of entity vectors 'vectors'")
            vectors = tensors.get("vectors", next(iter(tensors.values())))
        elif path.suffix == ".npy":
            try:
                vectors = np.load(path, allow_pickle=False)
            except (OSError, ValueError, EOFError) as error:
                raise InvalidInputError(f"{path} is no complete .npy file of numbers: {error}") from error
        else:
            raise InvalidInputError(f"vectors={str(path)!r}: give a .npy or .safetensors file")
    try:
        tensor = torch.as_tensor(vectors)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidInputError(f"vectors are no matrix of numbers: {error}") from error
    return validate_vectors(tensor, num_entities)
