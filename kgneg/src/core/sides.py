"""Which end of a positive each of its negatives replaces."""

from __future__ import annotations

import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.modules import BufferModule
from kgneg.core.typing import HEAD, RELATION, TAIL, BoolTensor, FloatTensor, LongTensor
from kgneg.core.validation import choose, validate_triples

__all__ = ["SidePolicy"]

_POLICIES = ("uniform", "single", "bernoulli", "head", "tail", "alternate")


class SidePolicy(BufferModule):
    r"""Decide how many of the ``n`` negatives of a positive replace its head; the others replace its tail.

    ``uniform``: each end half of the time. ``single``: all negatives of a positive replace the same end, which a fair
    coin decides for each positive on its own, whatever else is in the batch. ``bernoulli``: the head with probability
    :math:`\mathrm{tph} / (\mathrm{tph} + \mathrm{hpt})`, tails per head and heads per tail of the relation, so that the
    end with fewer true alternatives is replaced more often (Wang et al., TransH, AAAI 2014). ``head`` and ``tail``: one
    end only. ``alternate``: whole batches of head and of tail replacements in turn, as LEMON and RotatE train.

    With ``uniform`` and ``bernoulli`` the number of heads is :math:`np` rounded up or down at random so that its mean
    is exactly :math:`np`: every positive gets both ends as evenly as possible, which a coin per negative would not
    give. Losses that weigh the negatives of a positive against each other learn better from one end at a time, so
    from ``single`` or ``alternate``.

    :param policy: the name of the policy
    :param triples: shape: ``(m, 3)``, needed for ``bernoulli``
    :param num_relations: the number of relations, needed for ``bernoulli``; one without triples gets 1/2
    :raises InvalidInputError: if the policy is unknown or its input is missing

    >>> SidePolicy("uniform").heads(torch.tensor([0, 0]), 4)
    2
    """

    head_probability: FloatTensor
    heads_next: BoolTensor

    def __init__(
        self, policy: str = "uniform", *, triples: LongTensor | None = None, num_relations: int | None = None
    ) -> None:
        super().__init__()
        self.policy = choose("side policy", policy, _POLICIES)
        probability = torch.empty(0)
        if policy == "bernoulli":
            if triples is None or num_relations is None:
                raise InvalidInputError("the bernoulli side policy needs triples and num_relations")
            probability = self._bernoulli(triples, num_relations)
        self.register_buffer("head_probability", probability)
        #: whether the next batch of the policy ``alternate`` replaces heads
        self.register_buffer("heads_next", torch.tensor(True))

    @staticmethod
    def _bernoulli(triples: LongTensor, num_relations: int) -> FloatTensor:
        triples = validate_triples(
            triples, int(triples[:, [HEAD, TAIL]].max()) + 1 if len(triples) else 1, num_relations
        )
        relation = triples[:, RELATION]
        number = torch.bincount(relation, minlength=num_relations).double()
        per_end = []
        for end in (HEAD, TAIL):
            pairs = torch.unique(triples[:, end] * num_relations + relation) % num_relations
            per_end.append(number / torch.bincount(pairs, minlength=num_relations))
        tails_per_head, heads_per_tail = per_end
        return torch.nan_to_num(tails_per_head / (tails_per_head + heads_per_tail), nan=0.5)

    @property
    def both(self) -> bool:
        """Whether a positive that cannot be corrupted at one end may be corrupted at the other."""
        return self.policy in ("uniform", "single", "bernoulli")

    @property
    def one_end(self) -> bool:
        """Whether all negatives of a positive replace the same end, which differs among the positives of a batch."""
        return self.policy == "single"

    def heads(self, relation: LongTensor, n: int, generator: torch.Generator | None = None) -> int | LongTensor:
        """Return how many negatives of each positive replace the head.

        :param relation: shape: ``(batch,)``, the relations of the positives
        :param n: the number of negatives per positive
        :param generator: the source of randomness
        :returns: one number for all positives, or shape ``(batch,)``; each 0 or ``n`` if :attr:`one_end`
        """
        if self.one_end:
            return self._coin(relation, generator) * n
        if self.policy == "alternate":
            heads = n if bool(self.heads_next) else 0
            self.heads_next = ~self.heads_next
            return heads
        if self.policy in ("head", "tail"):
            return n if self.policy == "head" else 0
        if self.policy == "uniform" and n % 2 == 0:
            return n // 2
        if self.policy == "uniform":
            return n // 2 + self._coin(relation, generator)
        draw = torch.rand(relation.shape, generator=generator, device=relation.device, dtype=torch.float64)
        return (self.head_probability[relation] * n + draw).long()

    @staticmethod
    def _coin(relation: LongTensor, generator: torch.Generator | None) -> LongTensor:
        return torch.randint(2, relation.shape, generator=generator, device=relation.device)
