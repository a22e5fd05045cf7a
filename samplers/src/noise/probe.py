"""A small classifier, trained on some folds and asked about the other."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from kgneg.core.neighbours import fast_products
from kgneg.core.typing import FloatTensor, LongTensor

__all__ = ["assign_folds", "out_of_fold_logits"]

_HIDDEN = 128
_BATCH = 512
_RATE = 2e-3
_WARM_UP = 50
_DROP = 0.3
_BOOST = 5.0  # how often a positive is drawn, compared with a negative
_PASSES = 8
_STEPS = (200, 800)


def assign_folds(groups: LongTensor, folds: int, generator: torch.Generator) -> LongTensor:
    """Spread groups over folds at random; rows of one group are in one fold.

    :param groups: shape: ``(n,)``
    :param folds: how many
    :param generator: the generator
    :returns: shape: ``(n,)``
    """
    names, position = torch.unique(groups.cpu(), return_inverse=True)
    order = torch.randperm(len(names), generator=generator)
    return order[position] % folds


def out_of_fold_logits(
    projected: FloatTensor,
    cells: Sequence[LongTensor],
    targets: LongTensor,
    folds: LongTensor,
    *,
    members: int = 1,
    generator: torch.Generator,
) -> FloatTensor:
    """Train a network with one hidden layer per fold, all at once, and return what they say of the rows left out.

    Positives are drawn five times as often as negatives. The logits are therefore not those of the given shares.

    :param projected: shape: ``(n, p)``
    :param cells: columns of categories, each of shape ``(n,)``; the first layer has a vector for each category
    :param targets: shape: ``(n,)``, classes from 0
    :param folds: shape: ``(n,)``
    :param members: networks per fold, whose logits are averaged
    :param generator: of weights, batches and dropout; on the device of the rows
    :returns: shape: ``(n, classes)``
    """
    device, number = projected.device, int(folds.max()) + 1
    left_out = torch.arange(number, device=device).repeat_interleave(members)
    weight = torch.where(targets > 0, _BOOST, 1.0).double()
    table = torch.stack([weight.masked_fill(folds == fold, 0).cumsum(0) for fold in range(number)])
    net = _Networks(len(left_out), projected.shape[1], cells, int(targets.max()) + 1, generator).to(device)
    steps = min(max(_PASSES * len(targets) // _BATCH, _STEPS[0]), _STEPS[1])
    optimizer = torch.optim.AdamW(net.parameters(), lr=_RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / _WARM_UP) * (1 + math.cos(math.pi * step / steps)) / 2
    )
    with fast_products(device):
        for _ in range(steps):
            draw = torch.rand(len(left_out), _BATCH, generator=generator, dtype=torch.float64, device=device)
            sums = table[left_out]
            rows = torch.searchsorted(sums, draw * sums[:, -1:], right=True).clamp_(max=len(targets) - 1)
            logits = net(projected[rows], [column[rows] for column in cells], generator)
            loss = cross_entropy(logits.flatten(0, 1), targets[rows].flatten(), reduction="sum") / _BATCH
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        return _ask(net, projected, cells, folds, members)


@torch.no_grad()
def _ask(
    net: _Networks, projected: FloatTensor, cells: Sequence[LongTensor], folds: LongTensor, members: int
) -> FloatTensor:
    logits = projected.new_empty(len(projected), net.out.shape[-1])
    for fold in range(int(folds.max()) + 1):
        for rows in torch.split((folds == fold).nonzero().squeeze(-1), 1 << 16):
            here = [column[rows] for column in cells]
            asked = range(fold * members, (fold + 1) * members)
            logits[rows] = torch.stack([net.of(one, projected[rows], here) for one in asked]).mean(dim=0)
    return logits


class _Networks(nn.Module):
    """Networks of the same shape, side by side."""

    def __init__(
        self, number: int, dim: int, cells: Sequence[LongTensor], classes: int, generator: torch.Generator
    ) -> None:
        super().__init__()

        def start(*shape: int, scale: float) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=generator, device=generator.device) * scale)

        self.inner = start(number, dim, _HIDDEN, scale=dim**-0.5)
        self.inner_bias = start(number, 1, _HIDDEN, scale=0.0)
        self.categories = nn.ParameterList(
            [start(number, int(column.max()) + 1, _HIDDEN, scale=0.0) for column in cells]
        )
        self.out = start(number, _HIDDEN, classes, scale=_HIDDEN**-0.5)
        self.out_bias = start(number, 1, classes, scale=0.0)

    def forward(self, rows: FloatTensor, cells: Sequence[LongTensor], generator: torch.Generator) -> FloatTensor:
        hidden = torch.baddbmm(self.inner_bias, _drop(rows, _DROP / 2, generator), self.inner)
        which = torch.arange(len(rows), device=rows.device)[:, None]
        for table, column in zip(self.categories, cells, strict=True):
            hidden = hidden + table[which, column]
        return torch.baddbmm(self.out_bias, _drop(hidden.relu(), _DROP, generator), self.out)

    def of(self, which: int, rows: FloatTensor, cells: Sequence[LongTensor]) -> FloatTensor:
        """Return the logits of one network, without dropout."""
        hidden = torch.addmm(self.inner_bias[which], rows, self.inner[which])
        for table, column in zip(self.categories, cells, strict=True):
            hidden += table[which][column]
        return torch.addmm(self.out_bias[which], hidden.relu_(), self.out[which])


def _drop(values: FloatTensor, share: float, generator: torch.Generator) -> FloatTensor:
    # the networks see different rows, so that they may drop the same places: drawing is what takes time here
    places = values.shape[1:]
    kept = torch.rand(places, generator=generator, device=values.device).ge_(share)
    return values * kept.div_(1 - share)
