"""Read a WordNet as a taxonomy of its synsets."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from kgneg.core.errors import InvalidInputError
from kgneg.core.validation import choose
from kgneg.datasets._csv_files import header_of
from kgneg.datasets._files import iterate_lines, malformed, read_lines
from kgneg.datasets._taxonomy_cache import cached
from kgneg.datasets.taxonomy import Taxonomy

__all__ = ["read_wordnet"]

_PARTS = {"n": "noun", "v": "verb", "a": "adjective", "s": "adjective", "r": "adverb"}
_COLUMNS = ("synset", "pos", "members", "hypernyms", "instance_hypernyms", "definition")


class Synset(NamedTuple):
    """A synset as it stands in a file; the line is 0 where it is not known."""

    line: int
    id: str
    part: str
    members: tuple[str, ...]
    hypernyms: tuple[str, ...]
    definition: str


def read_wordnet(
    path: str | os.PathLike[str],
    *,
    parts: Collection[str] = ("noun", "verb"),
    cycles: str = "drop",
    cache: bool = True,
) -> Taxonomy:
    r"""Read a WordNet, such as Open English WordNet (McCrae et al., 2019).

    A concept is a synset: its id, its members as label and alternatives, its hypernyms and instance hypernyms as
    parents, the part of speech as kind and the definition as description.

    :param path: a file in the format WN-LMF, packed or not, which takes ``pip install 'kgneg[wordnet]'``; or a table
        with the columns ``synset``, ``pos``, ``members`` (with bars between them), ``hypernyms``,
        ``instance_hypernyms`` (with blanks) and ``definition``, with tabs between them
    :param parts: which of ``"noun"``, ``"verb"``, ``"adjective"`` and ``"adverb"`` to read
    :param cycles: what becomes of synsets above each other, which WordNet 3.0 has: ``"drop"`` drops their links and
        counts them, ``"error"`` refuses them
    :param cache: whether to keep what was read, for the next time
    :returns: the taxonomy
    :raises InvalidInputError: if the file is missing or malformed, or a hypernym is not in it; the message names the
        line, as far as it is known
    :raises MissingExtraError: if it is WN-LMF and the library to read it is not installed

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "wn.tsv")
    ...     _ = path.write_text("\t".join(_COLUMNS) + "\n1-n\tn\tlion\t2-n\t\t\n2-n\tn\tcat|felid\t\t\t\n")
    ...     read_wordnet(path, cache=False)
    Taxonomy('wn', concepts=2, roots=1, links=1)
    """
    path = Path(path)
    wanted = tuple(sorted(set([parts] if isinstance(parts, str) else parts)))
    if not wanted:
        raise InvalidInputError("parts must name at least one part of speech, such as 'noun'")
    for part in wanted:
        choose("parts", part, tuple(dict.fromkeys(_PARTS.values())))
    choose("cycles", cycles, ("drop", "error"))

    def build() -> Taxonomy:
        return _assemble(path, wanted, cycles)

    return cached([path], {"wordnet": 1, "parts": wanted, "cycles": cycles}, build) if cache else build()


def _assemble(path: Path, parts: tuple[str, ...], cycles: str) -> Taxonomy:
    first = next(islice(iterate_lines(path), 1), (1, ""))[1]
    synsets = _lmf(path) if first.lstrip("\ufeff \t").startswith("<") or "\t" not in first else _table(path)
    known: dict[str, Synset] = {}
    for one in synsets:
        if one.id in known:
            raise _wrong(path, one, f"the synset {one.id!r} a second time", "distinct identifiers")
        known[one.id] = one
    links, others = [], Counter[str]()
    for one in known.values():
        if one.part not in parts:
            others[f"other_part_{one.part}"] += 1
            continue
        for above in one.hypernyms:
            if above not in known:
                raise _wrong(path, one, f"the hypernym {above!r} of {one.id!r}, which is not there", "a known synset")
            if known[above].part in parts:
                links.append((one.id, above))
            else:
                others["hypernym_of_other_part"] += 1
    kept = [one for one in known.values() if one.part in parts]
    if not kept:
        found = ", ".join(sorted({one.part for one in known.values()}))
        raise InvalidInputError(
            f"{path}: got synsets of the parts of speech {found}, expected some of {', '.join(parts)}"
        )
    return Taxonomy.from_pairs(
        links,
        concepts=[one.id for one in kept],
        labels={one.id: one.members[0] for one in kept if one.members},
        alternatives={one.id: one.members[1:] for one in kept},
        kinds={one.id: one.part for one in kept},
        descriptions={one.id: one.definition for one in kept if one.definition},
        cycles=cycles,
        name=path.name.split(".")[0],
        report=others,
    )


def _wrong(path: Path, synset: Synset, got: str, expected: str) -> InvalidInputError:
    if synset.line:
        return malformed(path, synset.line, got, expected)
    # the library does not say where it was
    mark = re.compile(rf"""<Synset\s[^>]*\bid=["']{re.escape(synset.id)}["']""")
    lines = [number for number, line in iterate_lines(path) if mark.search(line)]
    return malformed(path, lines[-1], got, expected) if lines else InvalidInputError(f"{path}: got {got}")


def _part(path: Path, line: int, letter: str) -> str:
    if letter not in _PARTS:
        raise malformed(path, line, f"the part of speech {letter!r}", f"one of {', '.join(_PARTS)}")
    return _PARTS[letter]


def _table(path: Path) -> Iterator[Synset]:
    header = header_of(path, "\t")
    missing = [name for name in _COLUMNS if name not in header]
    if missing:
        raise malformed(path, 1, f"no column {', '.join(missing)}", f"the columns {', '.join(_COLUMNS)}")
    places = [header.index(name) for name in _COLUMNS]
    for number, line in enumerate(read_lines(path)[1:], start=2):
        fields = line.split("\t")
        if len(fields) != len(header):
            raise malformed(path, number, f"{len(fields)} columns", f"{len(header)}, as in the first line")
        one, letter, members, above, instance_of, definition = (fields[place].strip() for place in places)
        if not one:
            raise malformed(path, number, "no synset", "an identifier")
        forms = tuple(form.strip() for form in members.split("|") if form.strip())
        hypernyms = (*above.split(), *instance_of.split())
        yield Synset(number, one, _part(path, number, letter), forms, hypernyms, definition)


def _lmf(path: Path) -> Iterator[Synset]:
    from kgneg.datasets._wordnet_lmf import synsets_of

    for one, letter, members, hypernyms, definition in synsets_of(path):
        if letter in _PARTS:
            yield Synset(0, one, _PARTS[letter], members, hypernyms, definition)
        else:
            yield Synset(0, one, f"unknown_{letter}", members, hypernyms, definition)
