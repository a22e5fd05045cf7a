"""What can be named: samplers with their options, models, losses and datasets."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any

from kgneg.core.errors import InvalidInputError

__all__ = [
    "UnknownNameError",
    "describe_samplers",
    "find_loss",
    "find_model",
    "find_sampler",
    "first_sentence",
    "is_dataset",
    "parameter_texts",
    "sampler_options",
    "unknown_name",
]

#: What a comparison sets for all samplers alike, or what PyKEEN passes by itself.
_RESERVED = frozenset({"self", "mapped_triples", "num_entities", "num_relations", "num_negs_per_pos"})
#: PyKEEN's samplers cite their sources in the documentation of the room, not at the class.
_CITATIONS = {
    "basic": "Bordes et al., NeurIPS 2013",
    "bernoulli": "Wang et al., AAAI 2014",
    "pseudotyped": "Krompass et al., ISWC 2015",
}


class UnknownNameError(InvalidInputError):
    """A name that is not known; the message lists those that are, the likeliest first."""


def unknown_name(what: str, name: str, known: Collection[str], hint: str = "") -> UnknownNameError:
    """Describe a name that is not known.

    :param what: what it should be the name of
    :param name: the name
    :param known: the names there are
    :param hint: a further sentence
    :returns: the error, to be raised by the caller

    >>> str(unknown_name("sampler", "lemmon", ["basic", "lemon"]))
    "unknown sampler 'lemmon'; known: lemon, basic"
    """
    near = get_close_matches(name.lower(), sorted(known), n=5, cutoff=0.6)
    ordered = near + sorted(set(known) - set(near))
    return UnknownNameError(f"unknown {what} {name!r}; known: {', '.join(ordered) or 'none'}{hint and '. ' + hint}")


def _resolver() -> Any:
    """Return PyKEEN's resolver with our samplers in it."""
    from pykeen.sampling import negative_sampler_resolver

    import kgneg.integrations.pykeen  # noqa: F401  # registers them

    return negative_sampler_resolver


def _display_name(sampler: Any) -> str:
    name: str = getattr(sampler, "display_name", None) or sampler.get_normalized_name()
    return name


def _lookup(resolver: Any, name: str) -> Any:
    """Return what a resolver has under a name, or ``None``."""
    return resolver.lookup_dict.get(resolver.normalize(name)) or resolver.synonyms.get(resolver.normalize(name))


def find_sampler(name: str) -> Any:
    """Return the sampler class of a name.

    :param name: a name of kgneg or PyKEEN, in any spelling that PyKEEN takes
    :returns: the class
    :raises UnknownNameError: if there is none

    >>> find_sampler("lemon").__name__
    'LemonNegativeSampler'
    """
    resolver = _resolver()
    sampler = _lookup(resolver, name)
    if sampler is None:
        raise unknown_name("sampler", name, {_display_name(known) for known in resolver})
    return sampler


def sampler_options(sampler: Any) -> Mapping[str, inspect.Parameter]:
    """Return the options that a user can set.

    :param sampler: the class; where a constructor passes on further arguments, those of its bases count
    :returns: the options by name, in the order of the signature
    """
    found: dict[str, inspect.Parameter] = {}
    for kind in sampler.__mro__:
        if "__init__" not in vars(kind):
            continue
        parameters = inspect.signature(kind.__init__).parameters
        for name, parameter in parameters.items():
            if name not in _RESERVED and parameter.kind == parameter.KEYWORD_ONLY:
                found.setdefault(name, parameter)
        if not any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters.values()):
            break
    return found


def describe_samplers() -> list[dict[str, Any]]:
    """Describe every sampler: those of kgneg first, then PyKEEN's own.

    :returns: a dictionary per sampler with ``name``, ``source`` (``"kgneg"`` or ``"pykeen"``), ``description``,
        ``citation``, ``needs_text``, and ``options``: dictionaries with ``name``, ``default`` (``None`` too where it is
        required), ``required`` and ``description``; nothing but what JSON can spell
    """
    from kgneg.integrations.pykeen import SAMPLERS

    others = sorted((known for known in _resolver() if known not in SAMPLERS), key=_display_name)
    return [_describe(sampler) for sampler in [*SAMPLERS, *others]]


def _describe(sampler: Any) -> dict[str, Any]:
    name = _display_name(sampler)
    texts = parameter_texts(sampler)
    options = [
        {
            "name": option,
            "default": None if parameter.default is parameter.empty else parameter.default,
            "required": parameter.default is parameter.empty,
            "description": texts.get(option, ""),
        }
        for option, parameter in sampler_options(sampler).items()
    ]
    return {
        "name": name,
        "source": sampler.__module__.partition(".")[0],
        "description": first_sentence(inspect.getdoc(sampler) or ""),
        "citation": getattr(sampler, "citation", None) or _CITATIONS.get(name, ""),
        "needs_text": bool(getattr(sampler, "needs_text", False)),
        "options": options,
    }


def first_sentence(text: str) -> str:
    """Return the first paragraph of a docstring up to its first full stop, without markup.

    :param text: the docstring
    :returns: a sentence

    >>> first_sentence("Draw ``n`` of them. And so on.")
    'Draw n of them.'
    """
    paragraph = " ".join(text.split("\n\n", maxsplit=1)[0].split())
    return re.split(r"(?<=\.)\s", _plain(paragraph), maxsplit=1)[0]


def _plain(text: str) -> str:
    """Remove reST roles and quotation marks of code."""
    return re.sub(r":[a-z:]+:`~?([^`]*)`", lambda match: match[1].rpartition(".")[2], text).replace("``", "")


def parameter_texts(documented: Any) -> dict[str, str]:
    """Return the descriptions of arguments, from the docstrings of a class and its bases.

    :param documented: the class
    :returns: the descriptions by name, without markup
    """
    texts: dict[str, str] = {}
    for kind in documented.__mro__:
        for owner in (kind, vars(kind).get("__init__")):
            document = inspect.getdoc(owner) if owner is not None else None
            for name, text in re.findall(r"^:param (\w+):((?:.|\n(?!:|\n))*)", document or "", flags=re.MULTILINE):
                texts.setdefault(name, _plain(" ".join(text.split())))
    return texts


def find_model(name: str) -> Any:
    """Return the model class of a name.

    :param name: a name that PyKEEN knows
    :returns: the class
    :raises UnknownNameError: if there is none
    """
    from pykeen.models import model_resolver

    model = _lookup(model_resolver, name)
    if model is None:
        raise unknown_name("model", name, model_resolver.lookup_dict)
    return model


def find_loss(name: str) -> Any:
    """Return the loss class of a name.

    :param name: a name that PyKEEN knows
    :returns: the class
    :raises UnknownNameError: if there is none
    """
    from pykeen.losses import loss_resolver

    loss = _lookup(loss_resolver, name)
    if loss is None:
        raise unknown_name("loss", name, loss_resolver.lookup_dict)
    return loss


def is_dataset(name: str) -> bool:
    """Return whether PyKEEN has a dataset of a name, in any spelling.

    :param name: the name
    :returns: whether it has
    """
    from pykeen.datasets import dataset_resolver

    return _lookup(dataset_resolver, name) is not None
