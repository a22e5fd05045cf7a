"""Verdicts by rules: known triples with what follows from them, types, and functional relations."""

from __future__ import annotations

import unicodedata
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from kgneg.core.cache import MemoryCache, content_key
from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.candidates import Candidates
from kgneg.selfinstruct.judge import Judgements

__all__ = ["RuleJudge", "Schema"]

_NO_SETS: Mapping[str, Iterable[str]] = {}
_REMEMBERED = 4096


@dataclass(frozen=True, kw_only=True)
class Schema:
    """What is known about relations.

    :param inverses: relation -> its inverse; both directions follow. A symmetric relation is its own inverse
    :param implies: relation -> relations that hold between the same two when it does
    :param transitive: relations that hold along chains
    :param functional: relations with at most one tail per head
    :param inverse_functional: relations with at most one head per tail
    :param domains: relation -> types that its heads may have
    :param ranges: relation -> types that its tails may have
    :raises InvalidInputError: if there is a single text where several names are expected, or something else than texts
    """

    inverses: Mapping[str, str] = field(default_factory=dict)
    implies: Mapping[str, Iterable[str]] = field(default_factory=dict)
    transitive: Iterable[str] = ()
    functional: Iterable[str] = ()
    inverse_functional: Iterable[str] = ()
    domains: Mapping[str, Iterable[str]] = field(default_factory=dict)
    ranges: Mapping[str, Iterable[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for relation, inverse in self.inverses.items():
            if not isinstance(inverse, str):
                raise InvalidInputError(
                    f"inverses[{relation!r}] must be one relation, got {inverse!r} of type {type(inverse).__name__}. "
                    "Relations that hold in the same direction go to implies."
                )
        for name in ("transitive", "functional", "inverse_functional"):
            object.__setattr__(self, name, _names(name, getattr(self, name)))
        for name in ("implies", "domains", "ranges"):
            object.__setattr__(self, name, _name_lists(name, getattr(self, name)))

    def as_dict(self) -> dict[str, object]:
        """Return everything as plain sorted values.

        :returns: a dictionary that JSON can spell
        """
        return {
            "inverses": dict(sorted(self.inverses.items())),
            "implies": {one: sorted(many) for one, many in sorted(self.implies.items())},
            "transitive": sorted(self.transitive),
            "functional": sorted(self.functional),
            "inverse_functional": sorted(self.inverse_functional),
            "domains": {one: sorted(many) for one, many in sorted(self.domains.items())},
            "ranges": {one: sorted(many) for one, many in sorted(self.ranges.items())},
        }


class RuleJudge:
    """Judges by what is known, at no cost.

    In this order: a known triple, or one that follows by inverses, implied relations or chains, is true. One whose head
    or tail has known types, none of which the relation allows, is false. One whose relation is functional, with another
    tail known, is false, unless the two differ in case only. All others have no verdict.

    :param known: triples that are true
    :param schema: what is known about relations
    :param types: entity -> its types; entities that are missing here may be of any type
    :param certainty: P(true) of what a rule says is true, and 1 - P(true) of what one says is false, in (0.5, 1]
    :param casefold: ignore case in heads and tails
    :param name: a short name for tables
    :raises InvalidInputError: if the certainty is out of range, or types are a single text instead of several

    >>> judge = RuleJudge(known=[("a", "parent", "b")], schema=Schema(inverses={"parent": "child"}))
    >>> judge.judge(Candidates.from_triples([("b", "child", "a"), ("a", "child", "b")])).probability.tolist()
    [0.99, nan]
    """

    def __init__(
        self,
        *,
        known: Candidates | Iterable[tuple[str, str, str]] = (),
        schema: Schema | None = None,
        types: Mapping[str, Iterable[str]] = _NO_SETS,
        certainty: float = 0.99,
        casefold: bool = False,
        name: str = "rules",
    ) -> None:
        if not 0.5 < certainty <= 1:
            raise InvalidInputError(f"certainty must be above 0.5 and at most 1, got {certainty!r}")
        self._name, self.certainty, self.casefold = name, float(certainty), bool(casefold)
        schema = Schema() if schema is None else schema
        self._schema = schema.as_dict()
        self._types = {self._plain(entity): frozenset(many) for entity, many in _name_lists("types", types).items()}
        self._domains = {one: frozenset(many) for one, many in schema.domains.items()}
        self._ranges = {one: frozenset(many) for one, many in schema.ranges.items()}
        self._follows = _consequences(schema)
        self._functional = frozenset(schema.functional)
        self._inverse_functional = frozenset(schema.inverse_functional)
        triples = known if isinstance(known, Candidates) else Candidates.from_triples(known)
        self._stated = {(self._plain(h), self._relation(r), self._plain(t)) for h, r, t in triples.triples()}
        self._tails: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._heads: dict[tuple[str, str], set[str]] = defaultdict(set)
        for head, relation, tail in self._stated:
            for implied, flipped in self._follows.get(relation, {(relation, False)}):
                one, other = (tail, head) if flipped else (head, tail)
                self._tails[one, implied].add(other)
                self._heads[other, implied].add(one)
        self._chains = _chain_sources(self._follows, frozenset(schema.transitive))
        self._reached = MemoryCache(_REMEMBERED)

    @property
    def name(self) -> str:
        """A short name for tables."""
        return self._name

    def fingerprint(self) -> str:
        """Return a hash of the known triples and the rules.

        :returns: the hash, in hexadecimal
        """
        types = {entity: sorted(many) for entity, many in self._types.items()}
        return content_key(
            {"kind": "rules", "schema": self._schema, "types": types, "known": sorted(self._stated)},
            [self.certainty, self.casefold],
        )

    def judge(self, candidates: Candidates) -> Judgements:
        """Judge triples.

        :param candidates: the triples
        :returns: P(true), and the rule that decided; NaN and ``no rule`` where none does
        """
        probability = np.full(len(candidates), np.nan)
        reasons = []
        for row, (head, relation, tail) in enumerate(candidates.triples()):
            true, reason = self._decide(self._plain(head), self._relation(relation), self._plain(tail))
            if true is not None:
                probability[row] = self.certainty if true else 1 - self.certainty
            reasons.append(reason)
        return Judgements(probability=probability, reasons=tuple(reasons))

    def _decide(self, head: str, relation: str, tail: str) -> tuple[bool | None, str]:
        if (head, relation, tail) in self._stated:
            return True, "known"
        if tail in self._tails.get((head, relation), ()):
            return True, "follows from a known triple"
        if self._chained(head, relation, tail):
            return True, "follows from a chain of known triples"
        for entity, allowed, part in ((head, self._domains, "head"), (tail, self._ranges, "tail")):
            types = self._types.get(entity)
            if types and relation in allowed and not types & allowed[relation]:
                return False, f"type of the {part}"
        for part, given, rules, others in (
            ("tail", tail, self._functional, self._tails.get((head, relation))),
            ("head", head, self._inverse_functional, self._heads.get((tail, relation))),
        ):
            if relation in rules and others:
                if given.casefold() in {one.casefold() for one in others}:
                    return None, f"{part} known in another case; casefold=True takes them as equal"
                return False, f"{'inverse ' * (part == 'head')}functional relation with another {part}"
        return None, "no rule"

    def _chained(self, head: str, relation: str, tail: str) -> bool:
        """Return whether a chain of a transitive relation leads from head to tail, or back if it is turned round."""
        for source, flipped in self._chains.get(relation, ()):
            start, end = (tail, head) if flipped else (head, tail)
            if end in self._reached.get((start, source), partial(self._reach, start, source)):
                return True
        return False

    def _reach(self, start: str, relation: str) -> set[str]:
        """Return what chains of a relation lead to, the start itself only if there is a circle."""
        reached: set[str] = set()
        waiting = deque([start])
        while waiting:
            fresh = self._tails.get((waiting.popleft(), relation), set()) - reached
            reached |= fresh
            waiting.extend(fresh)
        return reached

    def _plain(self, text: str) -> str:
        plain = self._relation(text)
        return plain.casefold() if self.casefold else plain

    @staticmethod
    def _relation(text: str) -> str:
        return unicodedata.normalize("NFC", text).strip()


def _names(what: str, given: Iterable[str]) -> tuple[str, ...]:
    """Return names; a single text, which is also an iterable of its letters, is an error."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise InvalidInputError(f"{what} must be several names, got {given!r}. Put it in a list: [{given!r}].")
    names = tuple(given)
    for one in names:
        if not isinstance(one, str):
            raise InvalidInputError(f"{what} must be names, got {one!r} of type {type(one).__name__} among them")
    return names


def _name_lists(what: str, given: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    return {one: _names(f"{what}[{one!r}]", many) for one, many in given.items()}


def _consequences(schema: Schema) -> dict[str, set[tuple[str, bool]]]:
    """Return for each relation what holds when it does: relations, and whether head and tail change places."""
    steps: dict[str, set[tuple[str, bool]]] = defaultdict(set)
    for relation, inverse in schema.inverses.items():
        steps[relation].add((inverse, True))
        steps[inverse].add((relation, True))
    for relation, many in schema.implies.items():
        steps[relation].update((one, False) for one in many)
    follows: dict[str, set[tuple[str, bool]]] = {}
    for relation in [*steps, *(one for one in schema.transitive if one not in steps)]:
        found, waiting = {(relation, False)}, deque([(relation, False)])
        while waiting:
            current, flipped = waiting.popleft()
            for implied, turned in steps.get(current, ()):
                fact = (implied, flipped != turned)
                if fact not in found:
                    found.add(fact)
                    waiting.append(fact)
        follows[relation] = found
    return follows


def _chain_sources(
    follows: Mapping[str, set[tuple[str, bool]]], transitive: frozenset[str]
) -> dict[str, list[tuple[str, bool]]]:
    """Return for each relation the transitive relations whose chains lead to it."""
    sources: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    for relation in sorted(transitive):
        for implied, flipped in sorted(follows[relation]):
            sources[implied].append((relation, flipped))
    return dict(sources)
