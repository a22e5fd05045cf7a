"""What a ranker gets wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from kgneg.core.candidates import CandidateIndex
from kgneg.core.typing import FloatTensor, LongTensor
from kgneg.core.validation import validate_count
from kgneg.samplers.neighbourhoods import edit_distance_pools, same_names
from kgneg.skills.concepts import ConceptSet
from kgneg.skills.figures import RankingFigures, judge_ranking

__all__ = ["Mistakes", "find_mistakes"]

#: How a wrong concept is related to a right one of the text, the closest first.
RELATIONS = ("same name", "broader or narrower", "sibling", "cousin", "similar spelling", "none of these")
_SPELLING = 10


@dataclass(frozen=True)
class Mistakes:
    """Right concepts that stand low, and wrong ones that stand high.

    :param figures: the figures of the ranking
    :param k: how many places are looked at
    :param ranks: shape: ``(g,)``, the place of each right pair, from 1; among equals the last one
    :param queries: shape: ``(g,)``, its text
    :param concepts: shape: ``(g,)``, its concept
    :param top: shape: ``(q, k)``, the first concepts of each text
    :param related: for each of :data:`RELATIONS` how many wrong ones among the first are so related to a right one
    :param wrongly: concept -> for how many texts it is among the first, and wrong
    """

    figures: RankingFigures
    k: int
    ranks: LongTensor
    queries: LongTensor
    concepts: LongTensor
    top: LongTensor
    related: dict[str, int]
    wrongly: Counter[int]

    def missed(self) -> Counter[int]:
        """Return for how many texts each concept is right, and not among the first."""
        return Counter(self.concepts[self.ranks > self.k].tolist())

    def worst(self, number: int) -> list[int]:
        """Return the texts whose best placed right concept stands lowest, the worst first.

        :param number: at most how many
        """
        best: dict[int, int] = {}
        for query, rank in zip(self.queries.tolist(), self.ranks.tolist(), strict=True):
            best[query] = min(rank, best.get(query, rank))
        bad = [(-rank, query) for query, rank in best.items() if rank > 1]
        return [query for _, query in sorted(bad)[:number]]


def find_mistakes(
    scores: FloatTensor, queries: LongTensor, concepts: LongTensor, known: ConceptSet, *, k: int = 10
) -> Mistakes:
    """Look at the mistakes of a ranking.

    :param scores: shape: ``(q, n)``
    :param queries: shape: ``(g,)``, the text of each right pair
    :param concepts: shape: ``(g,)``, its concept
    :param known: the concepts, and their relatives
    :param k: how many places are looked at
    :returns: the mistakes
    :raises InvalidInputError: as :func:`~kgneg.skills.judge_ranking`

    >>> metals = ConceptSet(["fe", "cu", "au"], ["iron", "copper", "gold"], [(), (), ()])
    >>> found = find_mistakes(torch.tensor([[0.1, 0.3, 0.2]]), torch.tensor([0]), torch.tensor([1]), metals, k=2)
    >>> found.ranks.tolist(), found.related["none of these"]
    ([1], 1)
    """
    figures = judge_ranking(scores, queries, concepts)
    pairs = torch.unique(torch.stack([queries, concepts], dim=-1), dim=0)
    rows, right = pairs.unbind(-1)
    own = scores[rows, right, None]
    ranks = (scores[rows] >= own).sum(-1)
    top = scores.topk(min(validate_count("k", k), scores.shape[1]), dim=-1).indices
    asked = rows.unique()
    keys = rows * len(known) + right
    wrong = [
        (query, one)
        for query in asked.tolist()
        for one in top[query][~torch.isin(query * len(known) + top[query], keys)].tolist()
    ]
    related = _related(wrong, rows, right, known)
    return Mistakes(figures, top.shape[1], ranks, rows, right, top, related, Counter(one for _, one in wrong))


def _related(
    wrong: Sequence[tuple[int, int]], rows: LongTensor, right: LongTensor, known: ConceptSet
) -> dict[str, int]:
    """Count how wrong concepts are related to right ones of their text."""
    of_text: dict[int, list[int]] = {}
    for query, concept in zip(rows.tolist(), right.tolist(), strict=True):
        of_text.setdefault(query, []).append(concept)
    lists = _lists(known)
    members: dict[str, dict[int, set[int]]] = {name: {} for name in lists}
    counts = dict.fromkeys(RELATIONS, 0)
    for query, concept in wrong:
        for name, pools in lists.items():
            found = members[name]
            for one in of_text[query]:
                if one not in found:
                    found[one] = set(pools.members(one).tolist())
            if any(concept in found[one] for one in of_text[query]):
                counts[name] += 1
                break
        else:
            counts[RELATIONS[-1]] += 1
    return counts


def _lists(known: ConceptSet) -> dict[str, CandidateIndex]:
    lists = {RELATIONS[0]: same_names(known.labels, known.alternatives)}
    if known.taxonomy is not None:
        lists[RELATIONS[1]] = known.near()
        for name in RELATIONS[2:4]:
            pools = known.neighbours(name)
            assert pools is not None  # noqa: S101
            lists[name] = pools
    if len(known) > _SPELLING:
        lists[RELATIONS[4]] = edit_distance_pools(known.labels, _SPELLING)
    return lists
