"""A filter in a folder, which every process of a run loads for itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kgneg.core.errors import InvalidInputError
from kgneg.core.storage import atomic_path
from kgneg.selfinstruct.decisions import Decider
from kgneg.selfinstruct.filter_files import filter_parts
from kgneg.selfinstruct.judge import Judge
from kgneg.selfinstruct.judge_choice import make_judge

__all__ = ["SavedFilter"]

_CHOICES, _RECORDED = "judges.json", "recorded:"
_LOCAL, _SMALL = ("nli", "causal"), 1 << 20


class SavedFilter:
    """A saved filter, and how its judges are spelled.

    Judges that the folder of a filter cannot hold are made anew from their spelling, which stands beside it
    (:meth:`remember`) unless it is given. Files in it are kept as absolute paths.

    :param folder: what ``SelfInstructFilter.save`` has written
    :param choices: ``judges``, spellings as for :func:`~kgneg.selfinstruct.judge_choice.make_judge`; ``known``, a file
        of known triples that are looked up first; ``templates`` and ``language``, how triples are put into words;
        ``tokens``, what a chat judge may spend
    :raises InvalidInputError: if there is no such folder, it holds no filter, or what stands beside it is damaged
    """

    def __init__(self, folder: str | Path, **choices: Any) -> None:
        self.folder = Path(folder).absolute()
        if not self.folder.is_dir():
            raise InvalidInputError(f"there is no folder {folder}. Save a filter there first.")
        if not (self.folder / "filter.json").is_file():
            raise InvalidInputError(f"{folder} holds no filter: there is no file filter.json. Save one there first.")
        kept = self._kept()
        given = {name: value for name, value in choices.items() if value is not None}
        self.choices: dict[str, Any] = kept | _absolute(given)

    def _kept(self) -> dict[str, Any]:
        """Return what stands beside the filter."""
        path = self.folder / _CHOICES
        if not path.is_file():
            return {}
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InvalidInputError(f"{path} is damaged ({error}): fit again") from error
        if not isinstance(kept, dict):
            raise InvalidInputError(f"{path} is damaged (it must hold an object, got {kept!r}): fit again")
        return kept

    @staticmethod
    def forget(folder: str | Path) -> None:
        """Remove what was remembered of an older filter, before another one takes its place.

        :param folder: the folder of the filter
        """
        (Path(folder) / _CHOICES).unlink(missing_ok=True)

    @classmethod
    def remember(cls, folder: str | Path, choices: dict[str, Any]) -> None:
        """Keep how judges are spelled beside a filter; recorded verdicts are in its folder already.

        :param folder: the folder of the filter
        :param choices: as for the constructor; there are no secrets among them
        """
        judges = list(choices.get("judges") or [])
        if all(text.startswith(_RECORDED) for text in judges):
            choices = {**choices, "judges": []}
        with atomic_path(Path(folder) / _CHOICES) as path:
            path.write_text(json.dumps(_absolute(choices), indent=1, sort_keys=True), encoding="utf-8")

    @staticmethod
    def make(choices: dict[str, Any], store: str | Path) -> dict[str, Sequence[Judge]]:
        """Make judges and rules of their spelling.

        :param choices: as for the constructor
        :param store: a folder where chat judges keep their replies
        :returns: ``judges`` and ``rules``, what is spelled
        """
        from kgneg.selfinstruct.verbalizer import Verbalizer

        found: dict[str, Sequence[Judge]] = {}
        if choices.get("judges"):
            templates, language = choices.get("templates") or "statements", choices.get("language") or "en"
            verbalizer = Verbalizer.load(templates, language=language)
            found["judges"] = [
                make_judge(text, verbalizer=verbalizer, tokens=choices.get("tokens"), store=store)
                for text in choices["judges"]
            ]
        if choices.get("known"):
            from kgneg.datasets import read_triples
            from kgneg.selfinstruct.candidates import Candidates
            from kgneg.selfinstruct.rules import RuleJudge

            found["rules"] = [RuleJudge(known=Candidates(*read_triples(choices["known"]).T.tolist()))]
        return found

    def fingerprint(self) -> str:
        """Return a hash of the files of the filter, and of what its judges are.

        Of the folder of a local model, files of more than a megabyte count with name, size and time of change.

        :returns: 32 hexadecimal digits
        :raises InvalidInputError: if a file is missing, or the folder holds no filter of this version
        """
        digest = hashlib.blake2b(digest_size=16)
        for path in [*filter_parts(self.folder), *self._tables()]:
            digest.update(path.name.encode() + b"\0" + hashlib.blake2b(path.read_bytes()).digest())
        if self._judges():
            digest.update(self._words().encode())
        for text in self._judges():
            kind, _, value = text.partition(":")
            if kind in _LOCAL and Path(value).is_dir():
                _add_folder(digest, Path(value))
        spelled = {name: value for name, value in self.choices.items() if name not in ("known", "tokens")}
        digest.update(json.dumps(spelled, sort_keys=True).encode())
        return digest.hexdigest()

    def _tables(self) -> list[Path]:
        """Return the files outside of the folder that hold recorded verdicts and known triples."""
        names = [text[len(_RECORDED) :].partition("#")[0] for text in self._judges() if text.startswith(_RECORDED)]
        found = [Path(name) for name in [*names, self.choices.get("known")] if name]
        for path in found:
            if not path.is_file():
                raise InvalidInputError(
                    f"the filter in {self.folder} needs {path}, and there is no such file. Bring it back, or name "
                    "another one with judges= or known= (--judge, --known)."
                )
        return found

    def _words(self) -> str:
        """Return a hash of the templates that put triples into words."""
        from kgneg.selfinstruct.verbalizer import Verbalizer

        templates = self.choices.get("templates") or "statements"
        if templates != "statements" and Path(templates).is_file():
            return hashlib.blake2b(Path(templates).read_bytes(), digest_size=16).hexdigest()
        return Verbalizer.load(templates, language=self.choices.get("language") or "en").fingerprint()

    def _judges(self) -> list[str]:
        return list(self.choices.get("judges") or [])

    def load(self) -> Decider:
        """Read the filter and make its judges.

        :returns: the filter
        """
        from kgneg.selfinstruct.filter import SelfInstructFilter

        parts: dict[str, Any] = self.make(self.choices, self.folder / "chat")
        decider: Decider = SelfInstructFilter.load(self.folder, progress=False, **parts)
        return decider


def _absolute(choices: dict[str, Any]) -> dict[str, Any]:
    """Return choices that mean the same in every folder and process."""
    found = dict(choices)
    if found.get("judges"):
        found["judges"] = [_absolute_judge(text) for text in found["judges"]]
    if found.get("known"):
        found["known"] = str(Path(found["known"]).absolute())
    if found.get("templates") not in (None, "statements"):
        found["templates"] = str(Path(found["templates"]).absolute())
    return found


def _absolute_judge(text: str) -> str:
    kind, _, value = text.partition(":")
    if text.startswith(_RECORDED):
        path, mark, column = value.partition("#")
        return f"{_RECORDED}{Path(path).absolute()}{mark}{column}"
    return f"{kind}:{Path(value).absolute()}" if kind in _LOCAL and Path(value).is_dir() else text


def _add_folder(digest: Any, folder: Path) -> None:
    """Add the files of a folder: small ones with their content, weights with size and time of change."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if not path.is_file() or any(part.startswith(".") for part in inside.parts):
            continue
        known = path.stat()
        digest.update(inside.as_posix().encode() + b"\0")
        if known.st_size > _SMALL:
            digest.update(f"{known.st_size}\0{known.st_mtime_ns}".encode())
        else:
            digest.update(hashlib.blake2b(path.read_bytes()).digest())
