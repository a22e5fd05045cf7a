"""How eagerly a sampler draws the negatives that people have verified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from kgneg.audit.data import AuditData
from kgneg.audit.estimates import clustered_share, figure, lift
from kgneg.audit.sources import Drawer
from kgneg.core.seeding import mix_seeds
from kgneg.core.typing import HEAD, RELATION, TAIL, LongTensor, Side

__all__ = ["VerifiedPlan", "plan_verified"]

_PURPOSE = 0x766572
_MAX_ROUNDS = 4
_MAX_DRAW = 200_000


@dataclass(frozen=True, eq=False)
class VerifiedPlan:
    """For which positives negatives are drawn, and which of these are waited for.

    :param targets: shape: ``(v, 3)``, the verified negatives that share a pair with a training triple
    :param without_pair: how many share none, so that replacing one end of a training triple never makes them
    :param positives: shape: ``(q, 3)``, training triples that share a pair with a target
    :param owner: shape: ``(q,)``, the number of that target
    :param chance: shape: ``(q,)``, the probability that one uniform draw, filtered exactly, is that target
    :param rounds: how often each positive is drawn for
    :param batch: for how many positives to draw at once
    """

    targets: LongTensor
    without_pair: int
    positives: LongTensor
    owner: LongTensor
    chance: torch.Tensor
    rounds: int
    batch: int

    def measure(self, draw: Drawer, device: torch.device) -> dict[str, Any]:
        """Draw, and see which targets come.

        :param draw: the sampler
        :param device: where to draw
        :returns: ``targets``, ``draws`` (for each target, on average), ``hits``, ``expected`` (of uniform draws) and
            ``lift``, the quotient of both, with an interval over the targets; ``reached``, the share of the targets
            that came at least once
        """
        hits = np.zeros(len(self.targets), dtype=np.int64)
        expected = np.zeros(len(self.targets))
        drawn = 0
        rows = torch.arange(len(self.positives)).repeat(self.rounds)
        for some in torch.split(rows, self.batch) if len(rows) else ():
            owner = self.owner[some]
            triples, mask = draw(self.positives[some].to(device))
            found = (triples.cpu() == self.targets[owner][:, None]).all(dim=-1)
            found = found if mask is None else found & mask.cpu()
            np.add.at(hits, owner.numpy(), found.sum(dim=-1).numpy())
            np.add.at(expected, owner.numpy(), triples.shape[1] * self.chance[some].numpy())
            drawn += triples.shape[0] * triples.shape[1]
        reached = clustered_share((hits > 0).astype(np.int64), np.ones(len(hits), dtype=np.int64))
        return {
            "targets": len(hits),
            "draws": figure(drawn / len(hits)) if len(hits) else None,
            **lift(hits, expected),
            "reached": reached,
        }


def plan_verified(data: AuditData, *, negatives: int, draws: int, seed: int) -> VerifiedPlan:
    """Choose training triples of which verified negatives can be made.

    For each verified negative (h, r, t) one training triple (h, r, ?) and one (?, r, t) is taken, where there is one.

    :param data: the graph
    :param negatives: negatives per positive
    :param draws: how many negatives may be drawn; with less than one round of them, a part of the verified negatives
        is left out at random
    :param seed: the seed of the choice
    :returns: the plan
    """
    generator = torch.Generator().manual_seed(mix_seeds(seed, _PURPOSE))
    order = torch.randperm(len(data.verified), generator=generator)
    positives, owners, chances = [], [], []
    for kept, side in ((HEAD, Side.TAIL), (TAIL, Side.HEAD)):
        codes, by_code = _codes(data, data.train, kept).sort(stable=True)
        own = _codes(data, data.verified, kept)
        start, stop = torch.searchsorted(codes, own), torch.searchsorted(codes, own, right=True)
        number = stop - start
        chosen = (number > 0).nonzero().squeeze(-1)
        offset = (torch.rand(len(own), generator=generator, dtype=torch.float64) * number).long()
        positives.append(data.train[by_code[(start + offset)[chosen]]])
        owners.append(chosen)
        known = data.known["train"].count(data.verified[chosen, kept], data.verified[chosen, RELATION], side)
        chances.append(0.5 / (data.sizes["num_entities"] - known).double())
    with_pair = torch.zeros(len(data.verified), dtype=torch.bool)
    with_pair[torch.cat(owners)] = True
    room = max(1, draws // (2 * negatives))
    wanted = order[with_pair[order]][:room]
    place = torch.full((len(data.verified),), -1)
    place[wanted] = torch.arange(len(wanted))
    owner = place[torch.cat(owners)]
    taken = (owner >= 0).nonzero().squeeze(-1)
    pairs = len(taken)
    # PyKEEN's basic sampler replaces heads in the first half of a batch only, so the order must say nothing
    taken = taken[torch.randperm(pairs, generator=generator)]
    return VerifiedPlan(
        targets=data.verified[wanted],
        without_pair=int((~with_pair).sum()),
        positives=torch.cat(positives)[taken],
        owner=owner[taken],
        chance=torch.cat(chances)[taken],
        rounds=min(_MAX_ROUNDS, max(1, draws // max(1, pairs * negatives))),
        batch=max(1, _MAX_DRAW // negatives),
    )


def _codes(data: AuditData, triples: LongTensor, kept: int) -> LongTensor:
    return triples[:, kept] * data.sizes["num_relations"] + triples[:, RELATION]
