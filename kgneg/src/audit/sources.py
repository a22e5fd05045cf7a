"""What can be audited: samplers by name, classes and instances of PyKEEN, corruptors, and plain functions."""

from __future__ import annotations

import copy
import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import torch

from kgneg.audit.data import AuditData
from kgneg.compare.falsehood import make_sampler
from kgneg.compare.names import find_sampler, unknown_name
from kgneg.compare.samplers import SamplerChoice, parse_options, with_texts
from kgneg.core.corruption import Corruptor
from kgneg.core.errors import InvalidInputError
from kgneg.core.handles import CandidateScorer, attach_scorer
from kgneg.core.modules import share
from kgneg.core.typing import BoolTensor, LongTensor
from kgneg.core.validation import validate_triples

__all__ = ["Drawer", "Source", "as_source", "make_drawer"]

#: Draws negatives of shape ``(b, n, 3)`` for positives of shape ``(b, 3)``, and says which of them count.
Drawer: TypeAlias = Callable[[LongTensor], tuple[LongTensor, BoolTensor | None]]

_PATH = re.compile(r"([A-Za-z_][\w.]*):([A-Za-z_]\w*)(?::(.*))?", flags=re.DOTALL)


@dataclass(frozen=True, eq=False)
class Source:
    """A sampler to be audited.

    :param label: how it is called in results
    :param choice: a sampler known by name, or ``None``
    :param thing: anything else: a class, an instance, a corruptor, a function
    :param options: arguments for a class or a function
    """

    label: str
    choice: SamplerChoice | None = None
    thing: Any = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return label, name and options as JSON has them."""
        if self.choice is not None:
            return {**self.choice.to_dict(), "label": self.label}
        kind = self.thing if inspect.isclass(self.thing) or inspect.isroutine(self.thing) else type(self.thing)
        name = f"{kind.__module__}:{kind.__qualname__}"
        return {"label": self.label, "name": name, "options": dict(self.options)}

    def with_texts(self, arguments: Mapping[str, Any], default_texts: str | None) -> Source:
        """Return the source with arguments about texts, where it takes them.

        :param arguments: ``texts``, ``encoder``, ``missing_text``
        :param default_texts: where the texts of the graph are
        :returns: the source
        """
        if self.choice is None:
            return self
        return replace(self, choice=with_texts(self.choice, arguments, default_texts=default_texts))


def as_source(sampler: Any) -> Source:
    """Return what a user gave as a sampler in one form.

    :param sampler: a text (``lemon:encoder=lexical``, or ``my.module:MySampler`` with ``:key=value`` after it), a
        :class:`~kgneg.compare.SamplerChoice`, a class or an instance of PyKEEN's ``NegativeSampler``, a
        :class:`~kgneg.core.corruption.Corruptor`, a function of positives ``(b, 3)`` and a number ``n`` that returns
        negatives ``(b, n, 3)``, or these and a mask ``(b, n)``; or a pair of a label and one of these
    :returns: the source
    :raises UnknownNameError: if a name is not known
    :raises InvalidInputError: if it is none of these

    >>> as_source("basic").label
    'basic'
    """
    if isinstance(sampler, Source):
        return sampler
    if isinstance(sampler, tuple) and len(sampler) == 2 and isinstance(sampler[0], str):
        return replace(as_source(sampler[1]), label=sampler[0])
    if isinstance(sampler, str):
        return _parse(sampler)
    if isinstance(sampler, SamplerChoice):
        return Source(str(sampler.label), sampler)
    if not callable(sampler) and not callable(getattr(sampler, "sample", None)):
        raise InvalidInputError(
            f"a sampler must be a name, a class or instance of PyKEEN's NegativeSampler, a corruptor, or a function of "
            f"positives and a number, got {sampler!r}"
        )
    named = sampler if inspect.isclass(sampler) or inspect.isroutine(sampler) else type(sampler)
    return Source(named.__name__, thing=sampler)


def _parse(text: str) -> Source:
    """Read a name with options, or the place of a class or function with options."""
    from kgneg.compare.names import UnknownNameError

    text = text.strip()
    match = _PATH.fullmatch(text)
    try:
        find_sampler(text.partition(":")[0])
    except UnknownNameError:
        if match is None or "=" in match[2]:
            raise
    else:
        choice = SamplerChoice.parse(text)
        return Source(str(choice.label), choice)
    try:
        module = importlib.import_module(match[1])
    except Exception as error:  # the module is the user's, and may fail in any way
        raise InvalidInputError(
            f"sampler {text!r}: cannot import {match[1]} ({type(error).__name__}: {error})"
        ) from error
    if not hasattr(module, match[2]):
        public = sorted(name for name, value in vars(module).items() if callable(value) and not name.startswith("_"))
        raise unknown_name(f"class or function in {match[1]}", match[2], public)
    options = parse_options(text, match[3]) if match[3] else {}
    return Source(text, thing=getattr(module, match[2]), options=options)


def make_drawer(
    source: Source, data: AuditData, negatives: int, *, handle: CandidateScorer | None, device: torch.device
) -> tuple[Drawer, Callable[[], Mapping[str, int]]]:
    """Construct a sampler, and show it the model if it looks at one.

    Instances are copied, so that those of the caller stay as they are.

    :param source: the sampler
    :param data: the graph
    :param negatives: negatives per positive
    :param handle: scores candidates, for samplers that look at a model
    :param device: where to draw
    :returns: what draws, and what tells the counts of the sampler, if it keeps any
    :raises InvalidInputError: if the sampler cannot be constructed
    """
    try:
        sampler, draw = _construct(source, data, negatives)
        if isinstance(sampler, torch.nn.Module):
            sampler.to(device)
        _attach(sampler, handle)
    except Exception as error:  # a sampler of the user or of PyKEEN may raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InvalidInputError(f"sampler {source.label}: {reason}") from error
    return _checked(source.label, draw, data), lambda: _counts(sampler)


def _construct(source: Source, data: AuditData, negatives: int) -> tuple[Any, Callable[[LongTensor], Any]]:
    from pykeen.sampling import NegativeSampler

    if source.choice is not None:
        sampler = make_sampler(source.choice, data, negatives)
        return sampler, lambda positives: sampler.sample(positive_batch=positives)
    thing, options = source.thing, dict(source.options)
    if inspect.isclass(thing) and issubclass(thing, NegativeSampler):
        arguments = {"mapped_triples": data.train, "num_negs_per_pos": negatives, **data.sizes}
        thing = thing(**{**arguments, **options})
    elif inspect.isclass(thing) and issubclass(thing, Corruptor):
        thing = thing(**{"index": share(data.known["train"]), **data.sizes, **options})
    elif inspect.isclass(thing):
        thing = thing(**options)
    elif isinstance(thing, torch.nn.Module) or hasattr(thing, "sample"):
        thing = copy.deepcopy(thing)
    if callable(getattr(thing, "sample", None)):
        thing.num_negs_per_pos = negatives
        return thing, lambda positives: thing.sample(positive_batch=positives)
    if isinstance(thing, Corruptor):
        return thing, lambda positives: thing(positives, negatives).triples
    if not callable(thing):
        raise InvalidInputError(f"{type(thing).__name__} is no sampler of PyKEEN, no corruptor, and cannot be called")
    arguments = options if inspect.isroutine(thing) else {}
    return thing, lambda positives: thing(positives, negatives, **arguments)


def _attach(sampler: Any, handle: CandidateScorer | None) -> None:
    """Show the model to a sampler that looks at one."""
    if handle is None:
        return
    if callable(getattr(sampler, "attach_model", None)):
        sampler.attach_model(handle)
    elif isinstance(sampler, Corruptor) and any(callable(getattr(part, "attach", None)) for part in sampler.modules()):
        attach_scorer(sampler, handle)


def _checked(label: str, draw: Callable[[LongTensor], Any], data: AuditData) -> Drawer:
    """Return a drawer that refuses what is no answer."""

    def checked(positives: LongTensor) -> tuple[LongTensor, BoolTensor | None]:
        answer = draw(positives)
        triples, mask = answer if isinstance(answer, tuple) else (answer, None)
        wanted = f"(b, n, 3) with b = {len(positives)}"
        if not isinstance(triples, torch.Tensor) or triples.ndim != 3 or triples.shape[::2] != (len(positives), 3):
            got = tuple(triples.shape) if isinstance(triples, torch.Tensor) else type(triples).__name__
            raise InvalidInputError(f"sampler {label}: negatives must have shape {wanted}, got {got}")
        if mask is not None and (mask.dtype != torch.bool or mask.shape != triples.shape[:-1]):
            raise InvalidInputError(
                f"sampler {label}: the mask must be boolean with shape {tuple(triples.shape[:-1])}, got "
                f"{mask.dtype} with {tuple(mask.shape)}"
            )
        try:
            triples = validate_triples(triples, **data.sizes)
        except InvalidInputError as error:
            raise InvalidInputError(f"sampler {label}: {error}") from error
        return triples, mask

    return checked


def _counts(sampler: Any) -> Mapping[str, int]:
    """Return what a sampler counted so far, where it keeps count."""
    report = getattr(sampler, "report", None)
    if callable(report):
        return report()  # type: ignore[no-any-return]
    return dict(getattr(sampler, "counts", {})) if isinstance(sampler, Corruptor) else {}
