"""WN-LMF, the XML in which wordnets are published."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

from kgneg.core.errors import InvalidInputError, MissingExtraError
from kgneg.datasets._files import COMPRESSIONS, malformed, read_text

__all__ = ["synsets_of"]

_ABOVE = frozenset({"hypernym", "instance_hypernym"})
_EXPECTED = "a complete file in the format WN-LMF"


def synsets_of(path: Path) -> Iterator[tuple[str, str, tuple[str, ...], tuple[str, ...], str]]:
    """Read the synsets of all lexicons of a file.

    :param path: the file, packed or not
    :yields: the identifier, the letter of the part of speech, the members, the hypernyms, and the first definition
    :raises InvalidInputError: if the file is malformed, or has no synset
    """
    resource = _load(path)
    number = 0
    for lexicon in resource["lexicons"]:
        members: dict[str, dict[str, None]] = {}
        order: dict[str, str] = {}
        for entry in lexicon.get("entries", []):
            form = str((entry.get("lemma") or {}).get("writtenForm", ""))
            for sense in entry.get("senses", []):
                if form and "synset" in sense:
                    members.setdefault(sense["synset"], {})[form] = None
                    order |= {entry["id"]: form, sense["id"]: form}  # a synset names one or the other
        for synset in lexicon.get("synsets", []):
            number += 1
            ordered = dict.fromkeys(order[one] for one in synset.get("members", ()) if one in order)
            above = dict.fromkeys(one["target"] for one in synset.get("relations", []) if one["relType"] in _ABOVE)
            definitions = synset.get("definitions", [])
            yield (
                synset["id"],
                str(synset.get("partOfSpeech", "")) or "x",
                tuple({**ordered, **members.get(synset["id"], {})}),
                tuple(above),
                definitions[0]["text"] if definitions else "",
            )
        there = {synset["id"] for one in resource["lexicons"] for synset in one.get("synsets", [])}
        lost = sorted(set(members) - there)
        if lost:
            what = f"a sense of {next(iter(members[lost[0]]))!r} with the synset {lost[0]!r}, which is not there"
            raise InvalidInputError(f"{path}: got {what}, expected a known synset")
    if not number:
        raise malformed(path, 1, "no synset", "a lexicon with at least one Synset")


def _load(path: Path) -> dict[str, Any]:
    try:
        from wn import lmf
    except ImportError as error:
        raise MissingExtraError("wn, which reads WN-LMF, is not installed: pip install 'kgneg[wordnet]'") from error
    try:
        if path.suffix.lower() not in COMPRESSIONS[1:]:
            return dict(lmf.load(path, progress_handler=None))
        with tempfile.TemporaryDirectory() as folder:
            plain = Path(folder, "wordnet.xml")
            plain.write_bytes(read_text(path).encode())
            return dict(lmf.load(plain, progress_handler=None))
    except InvalidInputError:
        raise
    except OSError as error:
        raise InvalidInputError(f"cannot read {path}: {error.strerror or error}") from error
    # the library checks with assertions, and looks up what it has not checked
    except (lmf.LMFError, ExpatError, AssertionError, LookupError, ValueError, TypeError) as error:
        cause = error.__cause__ if isinstance(error.__cause__, ExpatError) else error
        what = f"{error or 'no such file'}" if cause is error else f"{error} ({cause})"
        if isinstance(cause, ExpatError):
            raise malformed(path, cause.lineno, what, _EXPECTED) from error
        raise InvalidInputError(f"{path}: got {what or type(error).__name__}, expected {_EXPECTED}") from error
