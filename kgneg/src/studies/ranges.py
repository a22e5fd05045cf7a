"""Ranges of parameters: what PyKEEN writes in ``hpo_default``, and what users write."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kgneg.core.errors import InvalidInputError

__all__ = ["check_range", "parse_fix", "parse_range", "read_space"]

_KINDS = {int: "int", float: "float", bool: "bool", str: "str", "bool": "bool", "int": "int", "float": "float"}
_KNOWN = {"type", "low", "high", "log", "scale", "q", "step", "base", "choices"}
_POWERS = ("power", "power_two")
_TRUE = frozenset({True, "true", "t", "yes", "y"})


def check_range(name: str, given: Any) -> dict[str, Any]:
    """Return a range in one spelling, the same in every process.

    PyKEEN itself ignores ``scale="log"`` of numbers that are no integers, so its learning rates are drawn evenly;
    here it means a logarithmic scale. Choices that are a set are sorted, and classes become their names.

    :param name: what the range is of, for messages
    :param given: ``type`` (``int``, ``float``, ``bool``, ``categorical`` or their names) with ``low``, ``high``, and if
        wanted ``log``, ``q`` or ``step``, ``scale``; or ``choices``
    :returns: ``{"type": "categorical", "choices": [...]}``, or ``type``, ``low``, ``high``, ``log`` and ``step``
    :raises InvalidInputError: if it is no range, is empty, or has an unknown entry

    >>> check_range("lr", {"type": float, "low": 0.001, "high": 0.1, "scale": "log"})
    {'type': 'float', 'low': 0.001, 'high': 0.1, 'log': True, 'step': None}
    """
    if isinstance(given, list | tuple | set | frozenset):
        given = {"type": "categorical", "choices": given}
    if not isinstance(given, Mapping) or not set(given) <= _KNOWN:
        raise InvalidInputError(f"the range of {name} must have type, low and high, or choices; got {given!r}")
    kind = given.get("type", "categorical" if "choices" in given else None)
    kind = _KINDS.get(kind, kind)
    if kind == "bool":
        return {"type": "categorical", "choices": [True, False]}
    if kind == "categorical":
        return {"type": "categorical", "choices": _choices(name, given.get("choices"))}
    if kind not in ("int", "float"):
        raise InvalidInputError(
            f"the range of {name} is of an unknown type {kind!r}; expected int, float, bool, choices"
        )
    if given.get("scale") in _POWERS:
        low, high = _ends(name, "int", given)
        base = int(given.get("q") or given.get("base") or 2)
        return {"type": "categorical", "choices": [base**power for power in range(int(low), int(high) + 1)]}
    if given.get("scale") not in (None, "linear", "log"):
        raise InvalidInputError(f"the range of {name} has an unknown scale {given['scale']!r}")
    low, high = _ends(name, kind, given)
    log = given.get("scale") == "log" or str(given.get("log", False)).lower() in {str(one).lower() for one in _TRUE}
    step = given.get("q") or given.get("step")
    if log and low <= 0:
        raise InvalidInputError(f"the range of {name} is logarithmic, so it must begin above 0, got {low!r}")
    if log and step not in (None, 1):
        raise InvalidInputError(f"the range of {name} can have a step or be logarithmic, not both")
    return {"type": kind, "low": low, "high": high, "log": log, "step": None if log else step}


def _ends(name: str, kind: str, given: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the two ends of a range of numbers."""
    ends = given.get("low"), given.get("high")
    for end in ends:
        if isinstance(end, bool) or not isinstance(end, int | float) or not math.isfinite(end):
            raise InvalidInputError(f"the range of {name} must have numbers as low and high, got {end!r}")
        if kind == "int" and end != int(end):
            raise InvalidInputError(f"the range of {name} is one of integers, got {end!r}")
    low, high = (int(end) if kind == "int" else float(end) for end in ends)  # type: ignore[arg-type]
    if low > high:
        raise InvalidInputError(f"the range of {name} is empty: low {low!r} is above high {high!r}")
    return low, high


def _choices(name: str, given: Any) -> list[Any]:
    """Return choices as values that every storage takes, in an order that does not depend on the process."""
    if isinstance(given, str) or not isinstance(given, list | tuple | set | frozenset) or not given:
        raise InvalidInputError(f"the choices of {name} must be a list of at least one value, got {given!r}")
    found = [one.__name__.lower() if isinstance(one, type) else one for one in given]
    wrong = [one for one in found if one is not None and not isinstance(one, bool | int | float | str)]
    if wrong:
        raise InvalidInputError(f"the choices of {name} must be numbers, texts, true, false or null, got {wrong[0]!r}")
    if isinstance(given, set | frozenset):
        found = sorted(found, key=lambda one: (str(type(one)), one))
    if len({json.dumps(one) for one in found}) < len(found):
        raise InvalidInputError(f"the choices of {name} must differ, got {found!r}")
    return found


def parse_fix(text: str) -> tuple[str, Any]:
    """Read ``name=value``; the value is read as JSON, where true and false may be in any case, or else as text.

    :param text: the text
    :returns: the name and the value
    :raises InvalidInputError: if it has another form

    >>> parse_fix("model.embedding_dim=64"), parse_fix("predictor=False")
    (('model.embedding_dim', 64), ('predictor', False))
    """
    name, sign, value = text.partition("=")
    if not sign or not name.strip():
        raise InvalidInputError(f"expected NAME=VALUE, got {text!r}")
    return name.strip(), _value(value.strip())


def parse_range(text: str) -> tuple[str, dict[str, Any]]:
    """Read ``name=low:high``, ``name=low:high:log``, ``name=low:high:step`` or ``name=a,b,c``.

    A range is one of integers if both ends (and the step) are, and logarithmic ranges too; write ``1.0`` for others.

    :param text: the text
    :returns: the name and the range, for :func:`check_range`
    :raises InvalidInputError: if it has another form

    >>> parse_range("lr=1e-4:1e-1:log")
    ('lr', {'low': 0.0001, 'high': 0.1, 'log': True, 'type': 'float'})
    """
    name, sign, rest = text.partition("=")
    name, rest = name.strip(), rest.strip()
    if not sign or not name or not rest:
        raise InvalidInputError(f"expected NAME=LOW:HIGH, NAME=LOW:HIGH:log or NAME=A,B,C, got {text!r}")
    if rest.startswith("["):
        return name, {"type": "categorical", "choices": _value(rest)}
    parts = [part.strip() for part in rest.split(":")]
    if len(parts) == 1 or "," in rest:
        return name, {"type": "categorical", "choices": [_value(part.strip()) for part in rest.split(",")]}
    found: dict[str, Any] = {"low": _value(parts[0]), "high": _value(parts[1])}
    numbers = [found["low"], found["high"]]
    for extra in parts[2:]:
        if extra == "log":
            found["log"] = True
        else:
            found["step"] = _value(extra)
            numbers.append(found["step"])
    if len(parts) > 4 or not all(isinstance(one, int | float) and not isinstance(one, bool) for one in numbers):
        raise InvalidInputError(
            f"expected numbers in NAME=LOW:HIGH, NAME=LOW:HIGH:log or NAME=LOW:HIGH:STEP, got {text!r}"
        )
    return name, {**found, "type": "int" if all(isinstance(one, int) for one in numbers) else "float"}


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


def read_space(path: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read fixed values and ranges from a file.

    :param path: a JSON or YAML file with ``fix`` and ``ranges``, each of which maps names; ranges are as in
        ``hpo_default``, or texts such as ``1e-4:1e-1:log``
    :returns: fixed values and ranges by name
    :raises InvalidInputError: if it cannot be read or has other entries
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"cannot read {path}: {error}") from error
    try:
        found = _load_yaml(text) if path.suffix.lower() in (".yaml", ".yml") else json.loads(text)
    except ValueError as error:
        raise InvalidInputError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(found, Mapping) or not set(found) <= {"fix", "ranges"}:
        raise InvalidInputError(f"{path} must have the entries fix and ranges, and no others")
    parts = [found.get(name) or {} for name in ("fix", "ranges")]
    if not all(isinstance(part, Mapping) for part in parts):
        raise InvalidInputError(f"{path}: fix and ranges must map names to values")
    ranges = {name: parse_range(f"{name}={one}")[1] if isinstance(one, str) else one for name, one in parts[1].items()}
    return dict(parts[0]), ranges


def _load_yaml(text: str) -> Any:
    """Read YAML; the reader comes with Optuna."""
    import yaml  # type: ignore[import-untyped,unused-ignore]

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
