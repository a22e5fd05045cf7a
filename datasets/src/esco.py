"""Read the CSV files of ESCO, the classification of skills and occupations of the European Commission."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kgneg.core.errors import InvalidInputError
from kgneg.core.validation import choose
from kgneg.datasets._csv_files import header_of, read_rows
from kgneg.datasets._files import COMPRESSIONS
from kgneg.datasets._taxonomy_cache import cached
from kgneg.datasets.taxonomy import Taxonomy

__all__ = ["read_esco"]

_PILLARS = {"skills": "broaderRelationsSkillPillar", "occupations": "broaderRelationsOccPillar"}
#: What a type of the files is called here.
_KINDS = {
    "SkillGroup": "group",
    "KnowledgeSkillCompetence": "skill",
    "ISCOGroup": "group",
    "Occupation": "occupation",
}
_OF_FILE = {"skills": "skill", "skillGroups": "group", "occupations": "occupation", "ISCOGroups": "group"}
_RELATIONS = "occupationSkillRelations"
#: The files that name the concepts of each pillar; the collections are parts of them, and take their place if need be.
_NAMED = {"skills": ("skills", "skillGroups"), "occupations": ("occupations", "ISCOGroups")}


def read_esco(
    folder: str | os.PathLike[str],
    *,
    language: str = "en",
    pillar: str = "skills",
    labels: Mapping[str, str] | None = None,
    essential_only: bool = False,
    cache: bool = True,
    **options: Any,
) -> Taxonomy:
    r"""Read a folder with the CSV files of ESCO, of any version and language, packed or not.

    Links are in ``broaderRelationsSkillPillar``; labels, alternative labels and descriptions in ``skills`` and
    ``skillGroups``, and in the collections (``digitalSkillsCollection`` and others) where those files are not there.
    The kinds are ``"skill"`` and ``"group"``. If ``occupationSkillRelations`` is there, the relation ``"occupation"``
    says which occupations need a skill.

    :param folder: the folder
    :param language: the two letters at the end of the names of the files
    :param pillar: ``"skills"`` or ``"occupations"``
    :param labels: URI -> preferred label, before those of the files
    :param essential_only: whether optional skills of occupations do not count
    :param cache: whether to keep what was read, by the content of the files
    :param options: other arguments of :meth:`~kgneg.datasets.Taxonomy.from_pairs`
    :returns: the taxonomy
    :raises InvalidInputError: if there is no such folder, file or column, there are no labels in the language, or a URI
        has two labels

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name, text in {
    ...         "broaderRelationsSkillPillar_en.csv": "conceptType,conceptUri,broaderType,broaderUri\n"
    ...         "KnowledgeSkillCompetence,e:1,SkillGroup,e:2\n",
    ...         "skills_en.csv": "conceptUri,preferredLabel,altLabels\ne:1,weld metal,join metal\n",
    ...         "skillGroups_en.csv": "conceptUri,preferredLabel,altLabels\ne:2,working with metal,\n",
    ...     }.items():
    ...         _ = Path(folder, name).write_text(text, encoding="utf-8")
    ...     read_esco(folder, cache=False).labels
    ('weld metal', 'working with metal')
    """
    folder = Path(folder)
    choose("pillar", pillar, tuple(_PILLARS))
    if not folder.is_dir():
        raise InvalidInputError(f"there is no folder {folder}: unpack the CSV files of ESCO into one")
    links = _find(folder, _PILLARS[pillar], language) or _find(folder, _PILLARS[pillar], None)
    if links is None:
        raise InvalidInputError(
            f"{folder}: there is no {_PILLARS[pillar]}_{language}.csv, which has the hierarchy; download it with the "
            "classification of ESCO, as CSV"
        )
    named = _label_files(folder, pillar, language)
    if not named and not labels:
        raise InvalidInputError(
            f"{folder}: there are no labels in the language {language!r}, expected "
            f"{' and '.join(f'{one}_{language}.csv' for one in _NAMED[pillar])}"
        )
    relations = _find(folder, _RELATIONS, language) or _find(folder, _RELATIONS, None) if pillar == "skills" else None
    files = [links, *named, *([] if relations is None else [relations])]
    key: dict[str, Any] = {"language": language, "pillar": pillar, "labels": dict(labels or {}), "options": options}
    key["essential_only"] = essential_only

    def build() -> Taxonomy:
        pairs, kinds = _read_links(links)
        texts, further, meanings = _read_labels(named, labels or {}, kinds)
        given: dict[str, Any] = {"labels": texts, "alternatives": further, "kinds": kinds, "report": Counter()}
        given["descriptions"] = meanings
        given |= {"name": f"esco-{pillar}", "concepts": sorted(kinds)}
        needed = [] if relations is None else _read_relations(relations, essential_only)
        if needed:
            given["relations"] = {"occupation": needed}
        return Taxonomy.from_pairs(pairs, **{**given, **options})

    return cached(files, key, build) if cache else build()


def _find(folder: Path, name: str, language: str | None) -> Path | None:
    """Return a file of the folder, whatever its packing."""
    stem = name if language is None else f"{name}_{language}"
    for packing in COMPRESSIONS:
        path = folder / f"{stem}.csv{packing}"
        if path.is_file():
            return path
    return None


def _label_files(folder: Path, pillar: str, language: str) -> list[Path]:
    """Return the files with labels, the most complete first."""
    whole = [_find(folder, one, language) for one in _NAMED[pillar]]
    found = [one for one in whole if one is not None]
    if pillar == "skills" and whole[0] is None:
        found += sorted(
            one for one in folder.glob(f"*SkillsCollection_{language}.csv*") if "conceptUri" in header_of(one)
        )
    return found


def _read_links(path: Path) -> tuple[list[tuple[str, str]], dict[str, str]]:
    pairs: list[tuple[str, str]] = []
    kinds: dict[str, str] = {}
    for line, (kind, child, above_kind, parent) in read_rows(
        path, ("conceptType", "conceptUri", "broaderType", "broaderUri")
    ):
        if not child or not parent:
            raise InvalidInputError(f"{path}, line {line}: got an empty URI, expected a child and a parent")
        pairs.append((child, parent))
        for one, what in ((child, kind), (parent, above_kind)):
            kinds[one] = _KINDS.get(what, what)
    return pairs, kinds


def _read_labels(
    paths: Iterable[Path], given: Mapping[str, str], kinds: dict[str, str]
) -> tuple[dict[str, str], dict[str, tuple[str, ...]], dict[str, str]]:
    labels = dict(given)
    further: dict[str, tuple[str, ...]] = {}
    meanings: dict[str, str] = {}
    for path in paths:
        collection = "Collection" in path.name
        own: set[str] = set()
        columns = ["conceptUri", "preferredLabel", "altLabels"]
        described = "description" in header_of(path)
        for line, (uri, label, more, *rest) in read_rows(path, columns + ["description"] * described):
            if described and rest[0].strip():
                meanings.setdefault(uri, " ".join(rest[0].split()))
            if uri in own and not collection:
                raise InvalidInputError(f"{path}, line {line}: the URI {uri!r} is there a second time")
            own.add(uri)
            if not collection:  # also what has no link
                kinds.setdefault(uri, next(kind for name, kind in _OF_FILE.items() if path.name.startswith(name)))
            if label.strip():
                labels.setdefault(uri, " ".join(label.split()))
            # the files of the concepts have one label a line, those of the collections bars between them
            parts = more.split("|") if collection else more.replace(" | ", "\n").split("\n")
            if any(part.strip() for part in parts):
                further.setdefault(uri, tuple(" ".join(part.split()) for part in parts if part.strip()))
    return labels, further, meanings


def _read_relations(path: Path, essential_only: bool) -> list[tuple[str, str]]:
    rows = read_rows(path, ("skillUri", "occupationUri", "relationType"))
    return [(skill, occupation) for _, (skill, occupation, kind) in rows if not essential_only or kind == "essential"]
