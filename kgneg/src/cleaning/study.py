"""Fit a noise filter on a file."""

from __future__ import annotations

import logging
import sys
from typing import Any

from kgneg.cleaning.material import Material, load_material, read_labels
from kgneg.cleaning.result import Cleaning
from kgneg.cleaning.settings import CleaningSettings
from kgneg.core.errors import InvalidInputError

__all__ = ["fit_cleaning"]

logger = logging.getLogger(__name__)


def fit_cleaning(settings: CleaningSettings, *, progress: bool | None = None) -> Cleaning:
    r"""Read an input, encode it if it is text, and look for hidden positives among its negatives.

    Vectors of text are kept on disk shard by shard, so that after a kill the same call goes on where it was.

    :param settings: what to read, and how
    :param progress: whether to show progress bars; ``None`` shows them on a terminal
    :returns: what was found
    :raises InvalidInputError: if the input cannot be read, or the filter refuses it

    >>> import tempfile
    >>> from pathlib import Path
    >>> lines = [f"{row},{'NA' if row % 3 else 'some'},{row % 3 + row % 7 / 9},{row % 5}" for row in range(90)]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "examples.csv")
    ...     _ = path.write_text("\n".join(["id,label,v0,v1", *lines, ""]), encoding="utf-8")
    ...     len(fit_cleaning(CleaningSettings(str(path), k=5), progress=False).report)
    90
    """
    shown = sys.stderr.isatty() if progress is None else progress
    material = load_material(settings, progress=shown)
    fingerprint = material.source.fingerprint()
    report = settings.filter(material.negative_label, progress=shown).fit(
        material.vectors,
        material.labels,
        groups=material.groups,
        types=dict(material.types) or None,
        ids=material.ids,
        clean_labels=None if settings.clean is None else _clean(settings.clean, material),
    )
    return Cleaning(
        report=report,
        record={
            "name": material.source.path.name,
            "format": material.source.format,
            "fingerprint": fingerprint,
            "negative_label": material.negative_label,
            "columns": dict(material.columns),
            "relations": dict(material.relations),
            "settings": settings.to_dict(),
            "versions": _versions(),
        },
        texts=material.texts,
        groups=material.groups,
        types=material.types,
    )


def _clean(path: str, material: Material) -> list[str | None]:
    """Return the label that is known to be right of each row, ``None`` where there is none."""
    labels = read_labels(path, material.source.format, material.negative_label)
    unknown = sorted(labels.keys() - set(material.ids))
    if len(unknown) == len(labels):
        raise InvalidInputError(
            f"{path}: none of its {len(labels)} ids is in the input; the first one is {unknown[0]!r}"
        )
    if unknown:
        logger.warning(
            "%s: %d of %d ids are not in the input and are not used; the first one is %r",
            path,
            len(unknown),
            len(labels),
            unknown[0],
        )
    return [labels.get(name) for name in material.ids]


def _versions() -> dict[str, Any]:
    from kgneg.compare.store import versions

    return {name: number for name, number in versions().items() if name != "pykeen"}
