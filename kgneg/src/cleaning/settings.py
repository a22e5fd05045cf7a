"""The settings of a cleaning, checked before any work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kgneg.core.errors import InvalidInputError
from kgneg.core.validation import choose
from kgneg.samplers.noise import NoiseFilter

__all__ = ["FORMATS", "NEGATIVES", "CleaningSettings"]

#: What an input can be.
FORMATS = ("auto", "vectors", "docred", "tacred")
#: The negative label of each format, unless another one is given.
NEGATIVES = {"vectors": "NA", "docred": "NA", "tacred": "no_relation"}
#: Settings that only tables of vectors have, and such that only text has.
_OF_TABLES = ("id", "label", "group", "types", "vector", "text")
_OF_TEXT = ("encoder", "relations")
#: Settings that say where files lie or where to compute; results do not depend on them.
_PLACES = ("input", "clean", "relations", "device")


@dataclass(frozen=True)
class CleaningSettings:
    """What is cleaned, and how.

    :param input: a table of vectors (``.csv``, ``.tsv``, ``.parquet``), a JSON file in the format of DocRED or TACRED,
        or a folder of such JSON files
    :param format: one of :data:`FORMATS`; ``"auto"`` goes by the name of the file and its first record
    :param negative_label: the label of the big class; ``None`` takes ``"NA"``, for TACRED ``"no_relation"``
    :param k: how many neighbours count
    :param mode: ``"auto"``, ``"intrinsic"`` or ``"extrinsic"``, see :class:`~kgneg.samplers.noise.NoiseFilter`
    :param flag: ``"f1"`` or the probability from which on rows are flagged
    :param prior: the share of the negatives that is positive, if it is known
    :param clean: a file of labels that are known to be right: a table with the columns ``id`` and ``label``, or a file
        in the format of the input
    :param id: in a table, the column of the ids; ``None`` for this and the next takes ``"id"``, ``"label"``, and
        ``"group"``, ``"type"`` and ``"text"`` if they are there
    :param label: the column of the labels
    :param group: the column of the groups
    :param types: the column of the types
    :param vector: the column of lists, or the prefix of the columns of numbers
    :param text: a column to show to people
    :param encoder: for text, what makes vectors of words; ``None`` is ``"auto"``
    :param relations: for DocRED, a JSON file of relation ids and their names, to show to people; in a folder,
        ``rel_info.json`` is taken
    :param seed: the seed of everything
    :param device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``
    :raises InvalidInputError: if a value is out of range, or would have no effect on a known format

    >>> CleaningSettings("train.csv", k=10).filter("NA").k
    10
    """

    input: str
    format: str = "auto"
    negative_label: str | None = None
    k: int = 30
    mode: str = "auto"
    flag: str | float = "f1"
    prior: float | None = None
    clean: str | None = None
    id: str | None = None
    label: str | None = None
    group: str | None = None
    types: str | None = None
    vector: str | None = None
    text: str | None = None
    encoder: str | None = None
    relations: str | None = None
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        choose("format", self.format, FORMATS)
        self.filter("NA")
        if self.mode == "extrinsic" and self.clean is None:
            raise InvalidInputError("mode 'extrinsic' learns from rows whose label is known: give clean=..., a file")
        if self.format != "auto":
            self.check_format(self.format)

    def check_format(self, format: str) -> None:
        """Refuse settings without effect.

        :param format: what the input turned out to be
        :raises InvalidInputError: if something is given that this format has not
        """
        useless = _OF_TEXT if format == "vectors" else _OF_TABLES
        if format == "tacred":
            useless = (*useless, "relations")
        given = [name for name in useless if getattr(self, name) is not None]
        if given:
            raise InvalidInputError(f"{', '.join(given)} would have no effect on an input in the format {format!r}")

    def filter(self, negative_label: str, *, progress: bool = False) -> NoiseFilter:
        """Return the filter.

        :param negative_label: the label of the big class
        :param progress: whether to show progress bars
        :returns: the filter
        """
        return NoiseFilter(
            negative_label,
            k=self.k,
            mode=self.mode,
            prior=self.prior,
            flag=self.flag,
            device=self.device,
            seed=self.seed,
            progress=progress,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return what results depend on as JSON has it; where files lie is left out."""
        return {name: value for name, value in vars(self).items() if name not in _PLACES}
