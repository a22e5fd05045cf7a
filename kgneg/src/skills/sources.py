"""Taxonomies, texts and right answers from files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import LongTensor
from kgneg.datasets import Taxonomy, is_rdf

__all__ = ["Gold", "load_taxonomy", "read_gold", "read_sentences", "split_sentences"]

#: where a sentence ends: at a line end, or after a mark that something other than a small letter follows
_END = re.compile(r"\s*[\r\n]+\s*|(?<=[.!?;])\s+(?=[^\sa-z])")

_BULLETS = "-*\u2022\u00b7\u2013\u2014"


class Gold(NamedTuple):
    """Texts with the concepts that are right for them."""

    texts: list[str]
    #: shape: ``(k,)``, the text of each right pair
    queries: LongTensor
    #: shape: ``(k,)``, its concept
    concepts: LongTensor
    #: labels that are no concept's, and how often they are there
    unknown: dict[str, int]


def load_taxonomy(path: str | Path, *, language: str = "en") -> Taxonomy:
    """Read a taxonomy from wherever it is.

    :param path: a folder with the CSV files of ESCO, an RDF file, a file of ``Taxonomy.save``, or a table of children
        and parents
    :param language: the language of labels
    :returns: the taxonomy
    :raises InvalidInputError: if there is nothing, or it cannot be read
    """
    path = Path(path)
    if path.is_dir():
        return Taxonomy.read_esco(path, language=language)
    if path.suffix == ".safetensors":
        return Taxonomy.load(path)
    return Taxonomy.read(path, language=language) if is_rdf(path) else Taxonomy.read_table(path)


def split_sentences(text: str) -> list[str]:
    r"""Split a text at line ends and after full stops, and take bullets away.

    :param text: the text
    :returns: the sentences, none blank

    >>> split_sentences("We need you!\n- weld metal\n- manage teams, e.g. of welders. Apply now.")
    ['We need you!', 'weld metal', 'manage teams, e.g. of welders.', 'Apply now.']
    """
    parts = (part.strip().lstrip(_BULLETS).strip() for part in _END.split(text))
    return [part for part in parts if part]


def read_sentences(path: str | Path) -> list[str]:
    """Read texts, one a line.

    :param path: a text file
    :returns: the texts, blank lines left out
    :raises InvalidInputError: if the file is missing or has no text
    """
    from kgneg.datasets import read_text

    lines = [" ".join(line.split()) for line in read_text(Path(path)).splitlines()]
    found = [line for line in lines if line]
    if not found:
        raise InvalidInputError(f"{path}: there is no text, expected one a line")
    return found


def read_gold(path: str | Path, labels: Mapping[str, int], *, text: str = "sentence", label: str = "label") -> Gold:
    """Read right answers from a table with a row for each right pair; texts without any may be there as well.

    :param path: a CSV or TSV file
    :param labels: the concept of each label, as it is written in the file
    :param text: the column of the text
    :param label: the column of the label
    :returns: texts, right pairs, and what is no concept
    :raises InvalidInputError: if the file is malformed, or no label is one of a concept
    """
    from kgneg.datasets import read_rows

    place: dict[str, int] = {}
    pairs: list[tuple[int, int]] = []
    unknown: dict[str, int] = {}
    for _, (words, name) in read_rows(Path(path), (text, label)):
        row = place.setdefault(words, len(place))
        if name.strip() in labels:
            pairs.append((row, labels[name.strip()]))
        else:
            unknown[name.strip()] = unknown.get(name.strip(), 0) + 1
    if not pairs:
        raise InvalidInputError(
            f"{path}: none of the {len(unknown)} labels in the column {label!r} is that of a concept, for example "
            f"{next(iter(unknown))!r}"
        )
    table = torch.tensor(pairs)
    return Gold(list(place), table[:, 0], table[:, 1], unknown)
