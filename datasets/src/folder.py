"""Read a knowledge graph from a folder of tables."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from kgneg.core.errors import InvalidInputError
from kgneg.datasets._files import COMPRESSIONS, LabelArray
from kgneg.datasets.graph import KnowledgeGraph
from kgneg.datasets.readers import read_labelled_triples, read_texts, read_triples, read_types

__all__ = ["load_folder"]

_TRIPLE_SUFFIXES = (*(f"{suffix}{packed}" for suffix in (".txt", ".tsv") for packed in COMPRESSIONS), ".parquet")
_TABLE_SUFFIXES = tuple(f".tsv{packed}" for packed in COMPRESSIONS)


def load_folder(path: str | os.PathLike[str], name: str | None = None) -> KnowledgeGraph:
    r"""Read a knowledge graph from a folder.

    ========================================  ==============================================================
    file                                      content
    ========================================  ==============================================================
    ``train``                                 training triples; the only file that must be there
    ``valid``, ``test``                       evaluation triples
    ``valid_negatives``, ``test_negatives``   false triples that go with them
    ``valid_labelled``, ``test_labelled``     both in one file, with a fourth column ``1`` or ``-1``
    ``entities.tsv``                          texts of the entities, see :func:`read_texts`
    ``relations.tsv``                         texts of the relations; only the name, where there is one
    ``entity_types.tsv``                      pairs of entity and type, see :func:`read_types`
    ``types.tsv``                             names of the types; a name that several types share is made
                                              unique by the label of the type
    ========================================  ==============================================================

    Files of triples end in ``.txt``, ``.tsv`` (see :func:`read_triples`) or ``.parquet``; text files may be packed
    (``.gz``, ``.bz2``, ``.xz``).

    :param path: the folder
    :param name: the name of the graph; by default the name of the folder
    :returns: the graph
    :raises InvalidInputError: if the folder or its training file is missing, two files give the same thing, or a file
        is malformed

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "train.txt").write_text("lion\teats\tzebra\n", encoding="utf-8")
    ...     load_folder(folder, name="zoo").entities
    ('lion', 'zebra')
    """
    folder = Path(path)
    if not folder.is_dir():
        raise InvalidInputError(f"{folder}: got {'a file' if folder.exists() else 'nothing there'}, expected a folder")
    train = _find(folder, "train", _TRIPLE_SUFFIXES)
    if train is None:
        raise InvalidInputError(
            f"{folder}: no training triples; looked for {', '.join('train' + suffix for suffix in _TRIPLE_SUFFIXES)}"
        )
    valid, valid_negatives = _read_split(folder, "valid")
    test, test_negatives = _read_split(folder, "test")
    entities = _find(folder, "entities", _TABLE_SUFFIXES)
    relations = _find(folder, "relations", _TABLE_SUFFIXES)
    return KnowledgeGraph.from_labelled(
        name or folder.resolve().name,
        read_triples(train),
        valid,
        test,
        texts=read_texts(entities) if entities else None,
        types=_read_named_types(folder),
        valid_negatives=valid_negatives,
        test_negatives=test_negatives,
        relation_texts=read_texts(relations, description=False) if relations else None,
    )


def _find(folder: Path, stem: str, suffixes: tuple[str, ...]) -> Path | None:
    """Find the one file of a name, with any of the suffixes."""
    found = [folder / f"{stem}{suffix}" for suffix in suffixes if (folder / f"{stem}{suffix}").is_file()]
    if len(found) > 1:
        raise InvalidInputError(f"{folder}: got {', '.join(file.name for file in found)}, expected only one of them")
    return found[0] if found else None


def _read_split(folder: Path, split: str) -> tuple[LabelArray | None, LabelArray | None]:
    """Read the true and the false triples of a split."""
    true = _find(folder, split, _TRIPLE_SUFFIXES)
    false = _find(folder, f"{split}_negatives", _TRIPLE_SUFFIXES)
    both = _find(folder, f"{split}_labelled", _TRIPLE_SUFFIXES[:-1])
    if both is None:
        return (read_triples(true) if true else None), (read_triples(false) if false else None)
    for other in (true, false):
        if other is not None:
            raise InvalidInputError(f"{folder}: got {other.name} and {both.name}, expected only one of them")
    return read_labelled_triples(both)


def _read_named_types(folder: Path) -> tuple[tuple[str, str], ...]:
    """Read the types of the entities, by name where they have one."""
    file = _find(folder, "entity_types", _TABLE_SUFFIXES)
    if file is None:
        return ()
    pairs = read_types(file)
    table = _find(folder, "types", _TABLE_SUFFIXES)
    names = read_texts(table, description=False) if table else {}
    labels = {kind: names.get(kind, kind) for _, kind in pairs}
    shared = {label for label, count in Counter(labels.values()).items() if count > 1}
    unique = {kind: f"{label} ({kind})" if label in shared else label for kind, label in labels.items()}
    return tuple((entity, unique[kind]) for entity, kind in pairs)
