"""A sampler with its options, as users write it: ``lemon:encoder=lexical,n_clusters=20``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kgneg.compare.names import find_sampler, sampler_options, unknown_name
from kgneg.core.errors import InvalidInputError

__all__ = ["SamplerChoice", "parse_options", "with_texts"]

_TEXT_OPTIONS = ("texts", "encoder", "missing_text")
#: Samplers that have others inside: the option that names these, and the one with their arguments.
_NESTED = {"mixture": ("components", "components_kwargs"), "dynamic": ("pool_from", "pool_from_kwargs")}


@dataclass(frozen=True)
class SamplerChoice:
    """A sampler and the options that differ from its defaults.

    :param name: the name of the sampler
    :param options: its options; values that JSON can spell
    :param label: how it is called in results; ``None`` takes the name with the options
    :raises UnknownNameError: if there is no such sampler, or it has no such option
    :raises InvalidInputError: if a required option is missing, or a value cannot be spelled in JSON

    >>> SamplerChoice.parse("lemon:encoder=lexical,n_clusters=20").options
    {'encoder': 'lexical', 'n_clusters': 20}
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    label: str | None = None

    def __post_init__(self) -> None:
        known = sampler_options(find_sampler(self.name))
        for option, value in self.options.items():
            if option not in known:
                hint = "Put a value that has commas into double quotes"
                raise unknown_name(f"option of the sampler {self.name}", option, known, hint)
            _spell(f"{self.name}: the value of {option}", value)
        missing = [option for option, one in known.items() if one.default is one.empty and option not in self.options]
        if missing:
            raise InvalidInputError(
                f"the sampler {self.name!r} needs {', '.join(missing)}: write {self.name}:{missing[0]}=..."
            )
        if self.label is None:
            spelled = ",".join(f"{option}={_short(value)}" for option, value in self.options.items())
            object.__setattr__(self, "label", f"{self.name}:{spelled}" if spelled else self.name)

    @classmethod
    def parse(cls, text: str) -> SamplerChoice:
        """Read ``name`` or ``name:key=value,key=value``.

        A value is read as JSON, and as plain text where it is none. Commas separate options except within double
        quotes, brackets and braces: ``mixture:components="typed=0.5,lemon=0.5"``.

        :param text: the text
        :returns: the choice; its label is the text
        :raises UnknownNameError: if there is no such sampler, or it has no such option
        :raises InvalidInputError: if the text has another form, or an option twice
        """
        name, colon, rest = text.strip().partition(":")
        options = parse_options(text, rest) if colon else {}
        return cls(name, options, text.strip())

    @property
    def needs_text(self) -> bool:
        """Whether the sampler needs a text for every entity."""
        return bool(getattr(find_sampler(self.name), "needs_text", False))

    @property
    def needs_model(self) -> bool:
        """Whether the sampler looks at the model, and so needs a training loop that shows it."""
        return bool(getattr(find_sampler(self.name), "needs_model", False))

    def to_dict(self) -> dict[str, Any]:
        """Return name, options and label as JSON has them."""
        return {"label": self.label, "name": self.name, "options": dict(self.options)}


def with_texts(choice: SamplerChoice, arguments: Mapping[str, Any], *, default_texts: str | None) -> SamplerChoice:
    """Add the arguments about texts that are meant for all samplers to one that takes them and has none of its own.

    :param choice: the sampler
    :param arguments: ``texts``, ``encoder`` and ``missing_text``, as far as they were given
    :param default_texts: where the texts of the graph are, for samplers that need texts and were given none
    :returns: the choice, with the same label
    """
    named, inside = _NESTED.get(choice.name.lower(), ("", ""))
    if named and "lemon" in json.dumps(choice.options.get(named, "")).lower():
        inner = {name: dict(values) for name, values in (choice.options.get(inside) or {}).items()}
        lemon = inner.setdefault("lemon", {})
        lemon.update({key: value for key, value in arguments.items() if key not in lemon and value is not None})
        return replace(choice, options={**choice.options, inside: inner}) if lemon else choice
    known = sampler_options(find_sampler(choice.name))
    options = dict(choice.options)
    for key in _TEXT_OPTIONS:
        if key in known and arguments.get(key) is not None:
            options.setdefault(key, arguments[key])
    if choice.needs_text and default_texts is not None and not {"texts", "vectors"} & set(options):
        options["texts"] = default_texts
    return replace(choice, options=options)


def parse_options(what: str, text: str, *, kind: str = "sampler") -> dict[str, Any]:
    """Read ``key=value,key=value``; a value is read as JSON, and as plain text where it is none.

    :param what: what the options belong to, for messages
    :param text: the options
    :param kind: what it is, for messages
    :returns: the values by name
    :raises InvalidInputError: if the text has another form, or an option twice

    >>> parse_options("lemon", "dim=2,encoder=lexical")
    {'dim': 2, 'encoder': 'lexical'}
    """
    options: dict[str, Any] = {}
    for part in _split(text):
        key, sign, value = part.partition("=")
        key = key.strip()
        if not sign or not key:
            raise InvalidInputError(f"{kind} {what!r}: got {part!r}, expected key=value")
        if key in options:
            raise InvalidInputError(f"{kind} {what!r}: the option {key} is given twice")
        options[key] = _value(value.strip())
    return options


def _split(text: str) -> list[str]:
    """Split at commas outside of double quotes, brackets and braces."""
    parts, depth, quoted, current = [], 0, False, ""
    for before, character in zip(" " + text, text, strict=False):
        if character == '"' and before != "\\":
            quoted = not quoted
        elif not quoted:
            depth += (character in "[{") - (character in "]}")
        if character == "," and not quoted and not depth:
            parts.append(current)
            current = ""
        else:
            current += character
    return [*parts, current]


def _value(text: str) -> Any:
    """Read a value as JSON, where true and false may be in any case; or take it as it is."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return json.loads(text, parse_constant=_refuse)
    except ValueError:
        return text


def _refuse(text: str) -> Any:
    raise ValueError(text)  # NaN and Infinity are no JSON; they stay text


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return f'"{text}"' if re.search(r"[,]", text) and isinstance(value, str) else text


def _spell(what: str, value: Any) -> str:
    """Return a value in JSON."""
    try:
        return json.dumps(value, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"{what} must be something that JSON can spell, got {value!r}") from error
