"""Training, validation and test pairs.

==================  ==================================================================================================
kind                what is drawn
==================  ==================================================================================================
``random``          shares of all pairs, whoever they belong to
``beta``            of each user with ``n`` pairs, ``t = floor(n (1 - beta) / 2)`` test pairs, as many validation pairs,
                    and the rest for training. Validation and test pairs whose item has no training pair are left out
                    (Lee et al., 2021, arXiv:2105.06323)
``leave-one-out``   of each user with at least 3 pairs the last for the test and the last but one for validation, by
                    time; equal times, or pairs without times, at random. All other pairs are for training
``temporal``        the first pairs of all for training, then validation, then test; pairs of equal time stay together,
                    so that the shares are met only roughly. Nothing is drawn
==================  ==================================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import combinations
from numbers import Integral, Real
from typing import Any

import torch

from kgneg.core.cache import content_key
from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import BoolTensor, LongTensor
from kgneg.core.validation import choose
from kgneg.recsys.interactions import Interactions

__all__ = ["KINDS", "InteractionSplit", "hold_out", "split_interactions"]

KINDS = ("random", "beta", "leave-one-out", "temporal")

_TRAIN, _VALID, _TEST, _DROPPED_VALID, _DROPPED_TEST = range(5)
_REMEDY = {
    "random": "take larger shares, or more data",
    "beta": "take a smaller beta, or keep only users with more pairs: at_least(users=5)",
    "leave-one-out": "users need at least 3 pairs: take more data, or another kind",
    "temporal": "take larger shares; pairs of equal time stay together",
    "given": "give three parts that have pairs",
}


@dataclass(frozen=True, eq=False)
class InteractionSplit:
    """Three parts of interactions over the same tables, without a pair in common.

    :param train: what is learnt from
    :param valid: what decides when to stop, and between options
    :param test: what is measured once
    :param counts: ``train``, ``valid``, ``test`` and what was left out; ``cold_users`` and ``cold_items``: those in
        validation or test without a training pair; ``items_without_training`` and ``users_without_training``: those
        of the tables. They are counted anew
    :param kind: how it was made
    :param options: with what
    :raises InvalidInputError: if a part is empty, tables differ, or two parts have a pair in common

    >>> parts = [Interactions(torch.tensor([0]), torch.tensor([i]), num_users=1, num_items=3) for i in range(3)]
    >>> InteractionSplit(*parts).counts["cold_items"]
    2
    """

    train: Interactions
    valid: Interactions
    test: Interactions
    counts: Mapping[str, int] = field(default_factory=dict)
    kind: str = "given"
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        parts = {"training": self.train, "validation": self.valid, "test": self.test}
        sizes = ", ".join(f"{len(part):,} {name}" for name, part in parts.items())
        for name, part in parts.items():
            if not len(part):
                remedy = _REMEDY.get(self.kind, _REMEDY["given"])
                said = ", ".join(f"{one} {value}" for one, value in self.counts.items())
                more = f" ({said})" if said else ""
                raise InvalidInputError(f"the {name} part is empty: {sizes} pairs{more}; {remedy}")
            if (part.num_users, part.num_items) != (self.train.num_users, self.train.num_items):
                raise InvalidInputError(
                    f"training has {self.train.num_users} users and {self.train.num_items} items, the {name} part "
                    f"{part.num_users} and {part.num_items}; read it with like=train"
                )
            if (part.user_labels, part.item_labels) != (self.train.user_labels, self.train.item_labels):
                raise InvalidInputError(f"the labels of the training and {name} parts differ; read it with like=train")
        for (first, one), (second, other) in combinations(parts.items(), 2):
            both = int(one.contains(other.users, other.items).sum())
            if both:
                raise InvalidInputError(f"{both:,} pairs are in the {first} and in the {second} part; leave them out")
        object.__setattr__(self, "counts", {**self.counts, **_counts(self)})

    def fingerprint(self) -> str:
        """Return a hash of the three parts, with their times, ratings and labels."""
        return content_key([part.fingerprint() for part in (self.train, self.valid, self.test)])


def split_interactions(
    pairs: Interactions,
    kind: str,
    *,
    seed: int = 0,
    beta: float | None = None,
    valid: float | None = None,
    test: float | None = None,
) -> InteractionSplit:
    """Split interactions, see :meth:`~kgneg.recsys.interactions.Interactions.split`.

    :param pairs: all interactions
    :param kind: random, beta, leave-one-out or temporal
    :param seed: the seed of what is drawn
    :param beta: the share for training, of each user
    :param valid: the share of validation pairs
    :param test: the share of test pairs
    :returns: the parts
    :raises InvalidInputError: if an option does not belong to the kind or is out of range, or a part would be empty

    >>> users = torch.arange(4).repeat_interleave(4)
    >>> pairs = Interactions(users, torch.arange(4).repeat(4), num_users=4, num_items=4)
    >>> split = split_interactions(pairs, "leave-one-out", seed=1)
    >>> split.train, split.valid.user_counts.tolist(), split.counts["cold_items"]
    (Interactions(users=4, items=4, pairs=8), [1, 1, 1, 1], 0)
    """
    choose("kind", kind, KINDS)
    if isinstance(seed, bool) or not isinstance(seed, Integral):
        raise InvalidInputError(f"seed must be an integer, got {seed!r}")
    options = _options(kind, {"beta": beta, "valid": valid, "test": test})
    generator = torch.Generator().manual_seed(int(seed) % (1 << 63))
    part = {"random": _random, "beta": _beta, "leave-one-out": _leave_one_out, "temporal": _temporal}[kind](
        pairs, options, generator
    )
    sizes = torch.bincount(part, minlength=5).tolist()
    counts = {"pairs": len(pairs)}
    if kind == "beta":
        counts |= {"dropped_valid": sizes[_DROPPED_VALID], "dropped_test": sizes[_DROPPED_TEST]}
    if kind == "leave-one-out":
        counts["short_users"] = int(((pairs.user_counts > 0) & (pairs.user_counts < 3)).sum())
    train, held, final = (pairs.select(part == one) for one in (_TRAIN, _VALID, _TEST))
    drawn = {} if kind == "temporal" else {"seed": int(seed)}
    return InteractionSplit(train, held, final, counts, kind, {**drawn, **options})


def hold_out(
    pairs: Interactions, kind: str, *, seed: int = 0, beta: float | None = None, valid: float | None = None
) -> tuple[BoolTensor, dict[str, Any]]:
    """Choose validation pairs where the test pairs come from elsewhere, so that all others are for training.

    They are the last ones where time decides: for ``"leave-one-out"`` the last pair of each user with at least two, for
    ``"temporal"`` the last share of all pairs. Nothing later is left for training.

    :param pairs: all interactions but those for the test
    :param kind: random, beta, leave-one-out or temporal
    :param seed: the seed of what is drawn
    :param beta: as for :func:`split_interactions`; half of what is not for training is held out, the rest is not
    :param valid: the share of validation pairs
    :returns: shape: ``(m,)``, which pairs are for validation; and the options of the split, with their defaults
    :raises InvalidInputError: if an option does not belong to the kind or is out of range, or times are missing

    >>> users, items = torch.tensor([0, 0, 1, 1, 1]), torch.tensor([0, 1, 0, 1, 2])
    >>> timed = Interactions(users, items, num_users=2, num_items=3, times=torch.tensor([5, 2, 1, 9, 4]))
    >>> hold_out(timed, "leave-one-out")[0].tolist()
    [True, False, False, True, False]
    """
    choose("kind", kind, KINDS)
    options = _options(kind, {"beta": beta, "valid": valid}, parts=("valid",))
    generator = torch.Generator().manual_seed(seed)
    if kind == "temporal":
        return _last(pairs, options["valid"]), dict(options)
    if kind == "leave-one-out":
        held = (_places(pairs, _latest_first(pairs, generator)) == 0) & (pairs.user_counts[pairs.users] >= 2)
    elif kind == "random":
        held = torch.zeros(len(pairs), dtype=torch.bool)
        held[torch.randperm(len(pairs), generator=generator)[: round(options["valid"] * len(pairs))]] = True
    else:
        held = _beta(pairs, options, generator) == _VALID
    return held, {"seed": seed, **options}


def _options(
    kind: str, given: Mapping[str, float | None], *, parts: tuple[str, ...] = ("valid", "test")
) -> dict[str, float]:
    """Return the options of a kind with their defaults."""
    defaults: dict[str, float] = {}
    if kind == "beta":
        defaults = {"beta": 0.5}
    elif kind in ("random", "temporal"):
        defaults = dict.fromkeys(parts, 0.1)
    chosen: dict[str, float] = {}
    for name, value in given.items():
        if value is not None and name not in defaults:
            raise InvalidInputError(f"the {kind} split has no option {name}; it has {', '.join(defaults) or 'none'}")
        if name in defaults:
            share = defaults[name] if value is None else value
            if isinstance(share, bool) or not isinstance(share, Real) or not 0 < share < 1:
                raise InvalidInputError(f"{name} must be above 0 and below 1, got {share!r}")
            chosen[name] = float(share)
    if sum(chosen.values()) >= 1:
        raise InvalidInputError(f"{' and '.join(chosen)} must leave something for training, got {chosen}")
    return chosen


def _random(pairs: Interactions, options: Mapping[str, float], generator: torch.Generator) -> LongTensor:
    order = torch.randperm(len(pairs), generator=generator)
    num_valid, num_test = round(options["valid"] * len(pairs)), round(options["test"] * len(pairs))
    part = torch.full((len(pairs),), _TRAIN)
    part[order[:num_test]] = _TEST
    part[order[num_test : num_test + num_valid]] = _VALID
    return part


def _beta(pairs: Interactions, options: Mapping[str, float], generator: torch.Generator) -> LongTensor:
    beta = Fraction(str(options["beta"])).limit_denominator(1_000_000)  # 0.8 is 4 / 5, whatever 1 - 0.8 is in binary
    held = pairs.user_counts * (beta.denominator - beta.numerator) // (2 * beta.denominator)
    place = _places(pairs, torch.randperm(len(pairs), generator=generator))
    number = held[pairs.users]
    part = torch.full((len(pairs),), _TRAIN)
    part[place < 2 * number] = _VALID
    part[place < number] = _TEST
    trained = torch.bincount(pairs.items[part == _TRAIN], minlength=pairs.num_items) > 0
    unseen = ~trained[pairs.items]
    part[unseen & (part == _VALID)] = _DROPPED_VALID
    part[unseen & (part == _TEST)] = _DROPPED_TEST
    return part


def _leave_one_out(pairs: Interactions, options: Mapping[str, float], generator: torch.Generator) -> LongTensor:
    place = _places(pairs, _latest_first(pairs, generator))
    enough = pairs.user_counts[pairs.users] >= 3
    part = torch.full((len(pairs),), _TRAIN)
    part[enough & (place == 0)] = _TEST
    part[enough & (place == 1)] = _VALID
    return part


def _latest_first(pairs: Interactions, generator: torch.Generator) -> LongTensor:
    """Return the places of all pairs by time, the latest first; equal times, or all without times, at random."""
    order = torch.randperm(len(pairs), generator=generator)
    return order if pairs.times is None else order[pairs.times[order].argsort(stable=True, descending=True)]


def _times(pairs: Interactions) -> torch.Tensor:
    if pairs.times is None:
        raise InvalidInputError(
            "the temporal split needs times; read them with time=... (on the command line --time), or take another kind"
        )
    return pairs.times


def _last(pairs: Interactions, share: float) -> BoolTensor:
    """Return the last pairs, those of equal time together."""
    times, number = _times(pairs), round(share * len(pairs))
    if not number:
        return torch.zeros(len(pairs), dtype=torch.bool)
    return times >= times.sort().values[len(pairs) - number]


def _temporal(pairs: Interactions, options: Mapping[str, float], generator: torch.Generator) -> LongTensor:
    times = _times(pairs)
    if not len(pairs):
        return torch.empty(0, dtype=torch.int64)
    ordered = times.sort().values
    num_valid, num_test = round(options["valid"] * len(pairs)), round(options["test"] * len(pairs))
    first_test = ordered[min(len(pairs) - num_test, len(pairs) - 1)]
    first_valid = ordered[min(len(pairs) - num_test - num_valid, len(pairs) - 1)]
    part = torch.full((len(pairs),), _TRAIN)
    part[times >= first_valid] = _VALID
    part[times >= first_test] = _TEST
    return part


def _places(pairs: Interactions, order: LongTensor) -> LongTensor:
    """Return the place of each pair among those of its user, in a given order of all pairs."""
    order = order[pairs.users[order].argsort(stable=True)]
    place = torch.empty_like(order)
    place[order] = torch.arange(len(pairs)) - pairs.indptr[pairs.users]
    return place


def _counts(split: InteractionSplit) -> dict[str, int]:
    counts = {"train": len(split.train), "valid": len(split.valid), "test": len(split.test)}
    held = (split.valid, split.test)
    for kind in ("user", "item"):
        trained = getattr(split.train, f"{kind}_counts") > 0
        asked = torch.stack([getattr(part, f"{kind}_counts") > 0 for part in held]).any(dim=0)
        counts[f"cold_{kind}s"] = int((asked & ~trained).sum())
        counts[f"{kind}s_without_training"] = int((~trained).sum())
    return counts
