"""What is counted while negatives of one sampler pass by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from kgneg.audit.agreement import TypeAgreement
from kgneg.audit.data import AuditData
from kgneg.audit.examples import Worst
from kgneg.audit.reference import Reference
from kgneg.core.typing import HEAD, RELATION, TAIL, BoolTensor, FloatTensor, LongTensor

__all__ = ["COLUMNS", "Judge", "Tally", "TripleRanks"]

#: What is counted for each positive.
COLUMNS = (
    "drawn",
    "kept",
    "train",
    "train_valid",
    "valid",
    "test",
    "held_out",
    "false",
    "hard",
    "one_end",
    "shares_type",
    "fits_slot",
    "head",
    "tail",
    "same",
    "other",
    "repeated",
)
_MAX_SCORES = 200_000  # of the first false negatives, for the drawing


class TripleRanks:
    """Numbers distinct triples, whatever the sizes of the graph.

    :param triples: shape: ``(m, 3)``, distinct
    :param num_relations: the number of relations
    :param num_entities: the number of entities

    >>> ranks = TripleRanks(torch.tensor([[0, 0, 1], [2, 0, 1]]), num_entities=3, num_relations=1)
    >>> sorted(ranks.of(torch.tensor([[2, 0, 1], [0, 0, 1]])).tolist())
    [0, 1]
    """

    def __init__(self, triples: LongTensor, *, num_entities: int, num_relations: int) -> None:
        self._relations, self._entities = num_relations, num_entities
        self._pairs = torch.unique(self._codes(triples))
        self._keys = torch.unique(self._combine(triples))

    def __len__(self) -> int:
        return len(self._keys)

    def _codes(self, triples: LongTensor) -> LongTensor:
        return triples[:, HEAD] * self._relations + triples[:, RELATION]

    def _combine(self, triples: LongTensor) -> LongTensor:
        # numbering pairs first keeps the product within 64 bits
        return torch.searchsorted(self._pairs, self._codes(triples)) * self._entities + triples[:, TAIL]

    def of(self, triples: LongTensor) -> LongTensor:
        """Return the numbers of triples that are among them.

        :param triples: shape: ``(n, 3)``
        :returns: shape: ``(n,)``
        """
        return torch.searchsorted(self._keys, self._combine(triples))


@dataclass(frozen=True, eq=False)
class Judge:
    """What negatives are judged by; the same for all samplers.

    :param data: the graph
    :param reference: the reference model
    :param agreement: the types
    :param held_out: the held-out triples, numbered
    :param examples: how many of the worst to keep
    """

    data: AuditData
    reference: Reference
    agreement: TypeAgreement
    held_out: TripleRanks
    examples: int


class Tally:
    """The counts of one sampler.

    :param judge: what negatives are judged by
    :param positives: the number of distinct positives
    """

    def __init__(self, judge: Judge, positives: int) -> None:
        self.judge = judge
        self.sums = np.zeros((positives, len(COLUMNS)))
        self.entities = np.zeros(judge.data.sizes["num_entities"], dtype=np.int64)
        self.found = np.zeros(len(judge.held_out), dtype=np.int64)
        self.places = np.zeros(len(judge.reference.positives) + 1, dtype=np.int64)
        self.scores: list[FloatTensor] = []
        self.worst = {"held_out": Worst(judge.examples), "unknown": Worst(judge.examples)}
        self.incomplete_rows = 0

    def column(self, name: str) -> npt.NDArray[np.float64]:
        """Return one count of each positive, shape ``(positives,)``.

        :param name: one of :data:`COLUMNS`
        :returns: the counts
        """
        found: npt.NDArray[np.float64] = self.sums[:, COLUMNS.index(name)]
        return found

    def add(self, which: LongTensor, positives: LongTensor, triples: LongTensor, mask: BoolTensor | None) -> None:
        """Count some negatives.

        :param which: shape: ``(b,)``, the numbers of the positives
        :param positives: shape: ``(b, 3)``
        :param triples: shape: ``(b, n, 3)``
        :param mask: shape: ``(b, n)``, those that count; ``None``: all
        """
        kept = torch.ones(triples.shape[:-1], dtype=torch.bool) if mask is None else mask
        flags = {"drawn": torch.ones_like(kept), "kept": kept}
        flags |= self._truth(triples, kept)
        flags |= self._form(positives, triples, kept)
        scores = self.judge.reference.score(triples.reshape(-1, 3)).view(kept.shape)
        flags["hard"] = flags["false"] & (scores > self.judge.reference.threshold)
        per_row = np.stack([flags[name].sum(dim=-1).numpy() for name in COLUMNS], axis=-1)
        np.add.at(self.sums, which.numpy(), per_row)
        self.incomplete_rows += int((~kept.all(dim=-1)).sum())
        self._note_scores(scores[flags["false"]])
        self._note_worst(positives, triples, scores, flags)

    def _truth(self, triples: LongTensor, kept: BoolTensor) -> dict[str, BoolTensor]:
        """Return which negatives are true, and count the held-out ones."""
        train, valid, test = (index.contains(triples) & kept for index in self.judge.data.known.values())
        held_out = (valid | test) & ~train
        ranks = self.judge.held_out.of(triples[held_out])
        self.found += np.bincount(ranks.numpy(), minlength=len(self.found))
        return {
            "train": train,
            "train_valid": train | valid,
            "valid": valid,
            "test": test,
            "held_out": held_out,
            "false": kept & ~train & ~held_out,
        }

    def _form(self, positives: LongTensor, triples: LongTensor, kept: BoolTensor) -> dict[str, BoolTensor]:
        """Return what was replaced and by what, and count the entities that were put in."""
        changed = triples != positives[:, None]
        head, relation, tail = (column & kept for column in changed.unbind(-1))
        only_head, only_tail = head & ~tail & ~relation, tail & ~head & ~relation
        one_end = only_head | only_tail
        for end, column in ((HEAD, head), (TAIL, tail)):
            self.entities += np.bincount(triples[..., end][column].numpy(), minlength=len(self.entities))
        sides = torch.where(only_head, HEAD, TAIL)[one_end]
        rows = one_end.nonzero()[:, 0]
        before = positives[rows].gather(-1, sides[:, None]).squeeze(-1)
        after = triples[one_end].gather(-1, sides[:, None]).squeeze(-1)
        agreement = self.judge.agreement
        shares, fits = torch.zeros_like(kept), torch.zeros_like(kept)
        shares[one_end] = agreement.shares(before, after)
        fits[one_end] = agreement.fits(positives[rows, RELATION], sides, after)
        none = ~(head | relation | tail) & kept
        return {
            "one_end": one_end,
            "shares_type": shares,
            "fits_slot": fits,
            "head": only_head,
            "tail": only_tail,
            "same": none,
            "other": kept & ~one_end & ~none,
            "repeated": self._repeated(triples, kept),
        }

    def _repeated(self, triples: LongTensor, kept: BoolTensor) -> BoolTensor:
        """Return as many flags in each row as there are negatives that an earlier one of the row equals."""
        sizes = self.judge.data.sizes
        codes = triples[..., HEAD] * sizes["num_relations"] + triples[..., RELATION]
        if sizes["num_entities"] ** 2 * sizes["num_relations"] >= 2**63:
            codes = torch.unique(codes, return_inverse=True)[1]
        keys = codes * sizes["num_entities"] + triples[..., TAIL]
        lost = -1 - torch.arange(keys.shape[-1])  # each other than all else
        ordered = torch.where(kept, keys, lost).sort(dim=-1).values
        repeated = torch.zeros_like(kept)
        repeated[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
        return repeated

    def _note_scores(self, scores: FloatTensor) -> None:
        self.places += np.bincount(self.judge.reference.places(scores), minlength=len(self.places))
        room = _MAX_SCORES - sum(map(len, self.scores))
        if room > 0:
            self.scores.append(scores[:room].clone())

    def _note_worst(
        self, positives: LongTensor, triples: LongTensor, scores: FloatTensor, flags: dict[str, BoolTensor]
    ) -> None:
        for name, flag in (("held_out", "held_out"), ("unknown", "false")):
            rows = flags[flag].nonzero()[:, 0]
            self.worst[name].add(triples[flags[flag]], positives[rows], scores[flags[flag]])

    def place_quantiles(self, levels: tuple[float, ...]) -> list[float] | None:
        """Return where false negatives lie among the training triples, by their scores.

        :param levels: which quantiles of the negatives
        :returns: for each the share of training triples that score lower, or ``None`` without false negatives
        """
        total = int(self.places.sum())
        if not total:
            return None
        reached = np.searchsorted(np.cumsum(self.places), [max(1, np.ceil(level * total)) for level in levels])
        return [float(place) / (len(self.places) - 1) for place in reached]

    def score_quantiles(self, levels: tuple[float, ...]) -> list[float] | None:
        """Return quantiles of the scores of false negatives, of the first 200,000.

        :param levels: which quantiles
        :returns: the scores, or ``None`` without false negatives
        """
        scores = torch.cat(self.scores) if self.scores else torch.empty(0)
        return [float(value) for value in np.quantile(scores.numpy(), levels)] if len(scores) else None

    def by_relation(self, relation: LongTensor, number: int) -> npt.NDArray[np.float64]:
        """Return all counts of each relation.

        :param relation: shape: ``(positives,)``, that of each positive
        :param number: the number of relations
        :returns: shape: ``(number, len(COLUMNS))``
        """
        found = np.zeros((number, len(COLUMNS)))
        np.add.at(found, relation.numpy(), self.sums)
        return found

    def summary(self) -> dict[str, Any]:
        """Return the plain sums of all counts."""
        return {name: int(total) for name, total in zip(COLUMNS, self.sums.sum(axis=0), strict=True)}
