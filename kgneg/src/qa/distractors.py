"""Methods that draw distractors, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch

from kgneg.core.candidates import CandidateIndex
from kgneg.core.corruption import Corruptor
from kgneg.core.encode import encode_texts
from kgneg.core.errors import InvalidInputError
from kgneg.core.negatives import Negatives
from kgneg.core.sides import SidePolicy
from kgneg.core.typing import LongTensor
from kgneg.core.validation import choose
from kgneg.qa.material import Material
from kgneg.qa.people import People
from kgneg.qa.windowed import WindowedDistractors

__all__ = ["DISTRACTORS", "Drawer", "make_drawer"]

#: the methods that have a name, and their options
DISTRACTORS: Mapping[str, frozenset[str]] = {
    "concept": frozenset({"features", "weights", "mode", "budget", "encoder"}),
    "keyword": frozenset({"mode", "budget"}),
    "random": frozenset(),
    "adversarial": frozenset(
        {"base", "features", "weights", "mode", "budget", "encoder", "against", "window", "pool", "enough", "step"}
        | {"steps"}
    ),
}
_WINDOW = ("against", "window", "pool", "enough", "step", "steps")


class Drawer(Protocol):
    """What draws distractors: a :class:`~kgneg.core.corruption.Corruptor` for tails, or what is called like one."""

    @property
    def num_entities(self) -> int:
        """The number of entities."""
        ...

    def __call__(self, positives: LongTensor, n: int, generator: torch.Generator | None = None) -> Negatives:
        """Draw ``n`` distractors for each positive."""
        ...


def make_drawer(
    method: str | Drawer, material: Material, options: Mapping[str, Any], *, seed: int = 0, progress: bool = True
) -> Drawer:
    """Return what draws distractors.

    ``random``: the tail of a random head, uniformly as CAR does. ``keyword``: no tail of a head that shares a keyword
    with the head of the question. ``concept``: the tail whose heads share little with the head of the question, by
    concepts and words; with ``mode="paper"`` nothing at all. ``adversarial``: one of these, the option ``base``, and of
    that what is about as similar to the answer or the head as is wished.

    Source: Ma et al., AAAI 2021; Wang et al., Findings of EMNLP 2023.

    :param method: a name of :data:`DISTRACTORS`, or something that draws, which is returned as it is
    :param material: what questions are made of
    :param options: options of the method: ``features`` and ``weights`` of the phrases, ``mode`` and ``budget`` of
        :class:`~kgneg.samplers.ConceptCorruptor`, the ``encoder`` of phrases that ``concept`` compares as well, and the
        options of :class:`WindowedDistractors`
    :param seed: the seed of private generators
    :param progress: whether to show progress bars
    :returns: what draws
    :raises InvalidInputError: if there is no such method or option, or something that draws does not fit
    """
    if not isinstance(method, str):
        return _checked(method, material, options)
    choose("distractors", method, tuple(DISTRACTORS))
    odd = sorted(set(options) - DISTRACTORS[method])
    if odd:
        allowed = ", ".join(sorted(DISTRACTORS[method])) or "none"
        raise InvalidInputError(f"distractors {method!r} have no option {odd[0]!r}; options are {allowed}")
    if method != "adversarial":
        return _corruptor(method, material, options, seed, progress)
    base = choose("base", options.get("base", "concept"), ("concept", "keyword", "random"))
    chosen = {name: options[name] for name in _WINDOW if name in options}
    vectors = encode_texts(list(material.texts), options.get("encoder", "auto"), progress=progress)
    return WindowedDistractors(_corruptor(base, material, options, seed, progress), vectors, **chosen)


def _checked(method: Any, material: Material, options: Mapping[str, Any]) -> Drawer:
    if options:
        raise InvalidInputError(f"options are for methods with a name, got {sorted(options)} and a method of your own")
    sides = getattr(method, "sides", None)
    if not callable(method) or getattr(method, "num_entities", None) != material.graph.num_entities:
        raise InvalidInputError(
            f"distractors must be one of {', '.join(DISTRACTORS)}, or a corruptor for {material.graph.num_entities} "
            f"entities, got {type(method).__name__} for {getattr(method, 'num_entities', 'none')}"
        )
    if sides is not None and sides.policy != "tail":
        raise InvalidInputError(
            f"distractors replace tails: build the corruptor with SidePolicy('tail'), not {sides.policy}"
        )
    found: Drawer = method
    return found


def _corruptor(method: str, material: Material, options: Mapping[str, Any], seed: int, progress: bool) -> Corruptor:
    graph = material.graph
    common: dict[str, Any] = {
        "num_entities": graph.num_entities,
        "num_relations": graph.num_relations,
        "sides": SidePolicy("tail"),
        "constraints": (material.rules,),
        "seed": seed,
    }
    if method == "random":
        from kgneg.samplers import TypedCorruptor

        return TypedCorruptor(material.pools(), **common)
    from kgneg.samplers import ConceptCorruptor

    features, weights, mode = material.words.features(), None, "paper"
    if method == "concept":
        features, weights = _concepts(material, options)
        mode = "weighted"
    settings = {"mode": options.get("mode", mode)} | {name: options[name] for name in ("budget",) if name in options}
    vectors = None
    if method == "concept" and settings["mode"] == "weighted" and options.get("encoder") is not None:
        vectors = encode_texts(list(material.texts), options["encoder"], progress=progress)
    made: Corruptor = ConceptCorruptor.from_triples(
        material.source,
        features,
        weights=weights if settings["mode"] == "weighted" else None,
        vectors=vectors,
        **settings,
        **common,
    )
    return made


def _concepts(material: Material, options: Mapping[str, Any]) -> tuple[CandidateIndex, torch.Tensor | None]:
    """Return the features that are given, or those that the phrases have."""
    features = options.get("features")
    if features is None:
        from kgneg.datasets import Conceptualiser

        # persons are spelled in one way, and John is nobody but himself
        features = Conceptualiser(persons={}).conceptualise([People.fill(one) for one in material.marked])
    if isinstance(features, CandidateIndex):
        return features, options.get("weights")
    weights = options.get("weights")
    pools: CandidateIndex = features.features
    return pools, features.idf() if weights is None else weights
