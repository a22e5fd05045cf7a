"""Triples as sentences, in a positive and a negated form, by templates that are data."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any

from kgneg.core.cache import content_key
from kgneg.core.errors import InvalidInputError
from kgneg.core.validation import validate_count
from kgneg.selfinstruct.candidates import Candidates
from kgneg.selfinstruct.statements import Statements, filled

__all__ = ["BUILTIN_LANGUAGES", "Verbalizer"]

#: the languages whose templates come with the package
BUILTIN_LANGUAGES = ("en", "zh")
#: a new number says that the same templates give other sentences than before
_VERSION = 2
_SHOWN = 10  # relations in an error
_STOPS = " \t\r\n.\u3002!\uff01;\uff1b,\uff0c"  # also those of Chinese
#: texts that end with an abbreviation, which keeps its stop
_ABBREVIATED = re.compile(r"(?:^|\W)(?:(?:[A-Za-z]\.){2,}|(?:etc|Inc|Ltd|Corp|Co|Jr|Sr|Mr|Mrs|Dr|St)\.)$")
_EXAMPLE = '{"relations": {"IsA": {"positive": ["{head} is a {tail}."], "negated": ["{head} is no {tail}."]}}}'


class Verbalizer:
    """Puts triples into words: per relation, one or more positive sentences and the negation of each.

    The templates are a JSON file, one object per relation: ``positive`` and ``negated``, equally long lists of
    paraphrases with ``{head}`` and ``{tail}`` in them, and optionally ``strip`` and ``strip_end``, beginnings and
    endings of tails that the sentence says already, and ``whole``, regular expressions of beginnings of tails from
    which nothing is stripped. ``clause``, ``clause_positive`` and ``clause_negated`` are other wordings for tails that
    begin with one of the regular expressions ``clause``, such as ``"to "`` or ``"PersonY "``. Templates for ATOMIC,
    ATOMIC 2020, CKBP and ConceptNet come with the package, in English and Chinese.

    :param relations: relation -> its templates
    :param aliases: other names of relations
    :param language: the language of the sentences, for the record
    :param names: words that are replaced in the sentences, for example ``{"PersonX": "Alex"}``
    :param source: what the templates are called in messages
    :raises InvalidInputError: if templates are malformed; the message names the relation

    >>> words = Verbalizer.load("statements")
    >>> words.positive(Candidates.from_triples([("PersonX wins", "xWant", "to celebrate")]))
    ['PersonX wins. As a result, PersonX wants to celebrate.']
    """

    def __init__(
        self,
        *,
        relations: Mapping[str, Mapping[str, Sequence[str]]],
        aliases: Mapping[str, str] | None = None,
        language: str = "en",
        names: Mapping[str, str] | None = None,
        source: str = "templates",
    ) -> None:
        self.language, self.source = language, source
        if not isinstance(relations, Mapping) or not relations:
            raise InvalidInputError(f"{source}: expected relations with templates, such as {_EXAMPLE}")
        self._entries = {
            relation: Statements.read(f"{source}: the relation {relation!r}", entry)
            for relation, entry in relations.items()
        }
        if not isinstance(language, str):
            raise InvalidInputError(f"{source}: the language must be a text such as 'en', got {language!r}")
        self._aliases = _texts(source, "aliases", aliases)
        for alias, relation in self._aliases.items():
            if relation not in self._entries:
                raise InvalidInputError(
                    f"{source}: the alias {alias!r} stands for {relation!r}, which has no templates. Add them."
                )
        self._names = _texts(source, "names", names)
        self._words = _words(self._names)

    @classmethod
    def load(
        cls, source: str | Path | Verbalizer = "statements", *, language: str = "en", names: Any = None
    ) -> Verbalizer:
        """Read templates.

        :param source: ``"statements"``, which come with the package, a JSON file, or a verbalizer, which is returned
            as it is
        :param language: ``"en"`` or ``"zh"`` of those that come with the package; a file says itself what it is
        :param names: words that are replaced in the sentences
        :returns: the verbalizer
        :raises InvalidInputError: if there is no such file or language, or the file is malformed
        """
        if isinstance(source, Verbalizer):
            return source
        if source == "statements":
            if language not in BUILTIN_LANGUAGES:
                raise InvalidInputError(
                    f"language must be one of {', '.join(BUILTIN_LANGUAGES)}, got {language!r}. "
                    f"For another one, write a JSON file such as {_EXAMPLE} and give its path."
                )
            file = resources.files("kgneg.selfinstruct") / "templates" / f"statements_{language}.json"
            return cls._of(json.loads(file.read_text(encoding="utf-8")), f"statements_{language}", language, names)
        path = Path(source)
        if not path.is_file():
            raise InvalidInputError(f"templates must be 'statements' or a JSON file, and there is no file {path}")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InvalidInputError(f"{path} is no JSON file of templates ({error}), expected {_EXAMPLE}") from error
        return cls._of(content, str(path), language, names)

    @classmethod
    def _of(cls, content: Any, source: str, language: str, names: Any) -> Verbalizer:
        known = {"relations", "aliases", "language", "about"}
        if not isinstance(content, dict) or "relations" not in content or set(content) - known:
            raise InvalidInputError(f"{source}: expected an object with the keys {sorted(known)}, such as {_EXAMPLE}")
        return cls(
            relations=content["relations"],
            aliases=content.get("aliases"),
            language=content.get("language", language),
            names=names,
            source=source,
        )

    @property
    def relations(self) -> tuple[str, ...]:
        """The relations that have templates, aliases last."""
        return (*self._entries, *self._aliases)

    def fingerprint(self) -> str:
        """Return a hash of everything that the sentences depend on.

        :returns: the hash, in hexadecimal
        """
        entries = {relation: list(map(list, entry)) for relation, entry in self._entries.items()}
        content = {"version": _VERSION, "relations": entries, "aliases": self._aliases, "names": self._names}
        return content_key(content)

    def content(self) -> dict[str, Any]:
        """Return the arguments that make this verbalizer again, as JSON has them.

        :returns: names and plain values
        """
        entries = {
            relation: {name: list(texts) for name, texts in entry._asdict().items()}
            for relation, entry in self._entries.items()
        }
        return {"relations": entries, "aliases": self._aliases, "names": self._names, "language": self.language}

    def check(self, relations: Sequence[str]) -> None:
        """Refuse relations without templates.

        :param relations: the relations
        :raises InvalidInputError: if one has none; the message names it and the known ones
        """
        for relation in dict.fromkeys(relations):
            self._entry(relation)

    def paraphrases(self, relation: str) -> int:
        """Return how many paraphrases a relation has.

        :param relation: the relation
        :returns: the number, at least 1
        """
        return len(self._entry(relation).positive)

    def positive(self, candidates: Candidates, paraphrase: int = 0) -> list[str]:
        """Return the sentences that say that the triples are true.

        :param candidates: the triples, ``n`` of them
        :param paraphrase: which wording; counted round when a relation has fewer
        :returns: shape: ``(n,)``, the sentences
        """
        return self._said(candidates, paraphrase, lambda entry: (entry.positive, entry.clause_positive))

    def negated(self, candidates: Candidates, paraphrase: int = 0) -> list[str]:
        """Return the sentences that say that the triples are false.

        :param candidates: the triples, ``n`` of them
        :param paraphrase: which wording; counted round when a relation has fewer
        :returns: shape: ``(n,)``, the sentences
        """
        return self._said(candidates, paraphrase, lambda entry: (entry.negated, entry.clause_negated))

    def _said(
        self, candidates: Candidates, paraphrase: int, form: Callable[[Statements], tuple[tuple[str, ...], ...]]
    ) -> list[str]:
        which = validate_count("paraphrase", paraphrase, 0)
        self.check(candidates.relations)
        said = []
        for head, relation, tail in candidates.triples():
            entry = self._entry(relation)
            fitted, other = entry.fitted(_plain(tail))
            wordings = form(entry)[other]
            parts = self._named(_plain(head)), self._named(fitted)
            said.append(filled(wordings[which % len(wordings)], *parts, self._named))
        return said

    def _named(self, text: str) -> str:
        """Return a text with the names in it."""
        return text if self._words is None else self._words.sub(lambda found: self._names[found.group()], text)

    def _entry(self, relation: str) -> Statements:
        found = self._entries.get(self._aliases.get(relation, relation))
        if found is None:
            raise InvalidInputError(
                f"{self.source} has no templates for the relation {relation!r}, {self._others(relation)}. "
                f"Write a JSON file that has it, such as {_EXAMPLE}, and give its path."
            )
        return found

    def _others(self, relation: str) -> str:
        """Say which relations there are: those of a similar name, or the first ones."""
        lowered = {name.casefold(): name for name in self.relations}
        near = [lowered[one] for one in get_close_matches(relation.casefold(), lowered, cutoff=0.75)]
        if near:
            return f"but for {', '.join(near)}"
        more = f" and {len(self.relations) - _SHOWN} more" if len(self.relations) > _SHOWN else ""
        return f"only for {', '.join(self.relations[:_SHOWN])}{more}"


def _plain(text: str) -> str:
    """Return a text with single spaces and without a final stop."""
    joined = " ".join(text.split())
    return joined if _ABBREVIATED.search(joined) else joined.rstrip(_STOPS) or joined


def _texts(source: str, name: str, given: Any) -> dict[str, str]:
    """Return an object of texts, or say what is wrong with it."""
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(one, str) for pair in given.items() for one in pair):
        raise InvalidInputError(f"{source}: {name} must be an object of texts, got {given!r}. Give one text for each.")
    return dict(given)


def _words(names: Mapping[str, str]) -> re.Pattern[str] | None:
    """Return what finds words that are replaced, the longest first, or ``None`` if there are none."""
    if not names:
        return None
    known = "|".join(re.escape(one) for one in sorted(names, key=len, reverse=True))
    return re.compile(rf"(?<![A-Za-z0-9_])(?:{known})(?![A-Za-z0-9_])")
