"""Alias tables for many weighted pools at once, without a loop over pools or members."""

from __future__ import annotations

import torch

from kgneg.core.typing import FloatTensor, IntTensor, LongTensor

__all__ = ["build_alias_tables"]


def build_alias_tables(indptr: LongTensor, weights: FloatTensor) -> tuple[FloatTensor, IntTensor]:
    r"""Build the alias tables of all rows of a CSR structure.

    Within a row of :math:`m` members with weights scaled to mean one, the light members (below one) are filled up by
    the heavy ones in order of position. Which heavy member fills which light one follows from the running sums of what
    is missing and of what is left over, so one binary search over the concatenated rows does the work of the usual loop
    (a parallel form of Walker's and Vose's method).

    :param indptr: shape: ``(rows + 1,)``, int64
    :param weights: shape: ``(nnz,)``, finite, non-negative, with a positive sum in every non-empty row
    :returns: a pair ``(keep, alias)``, each of shape ``(nnz,)``: draw a position of the row uniformly; stay there with
        probability ``keep`` (float64) and otherwise go to ``alias`` (int32, relative to the start of the row)

    >>> keep, alias = build_alias_tables(torch.tensor([0, 2]), torch.tensor([1.0, 3.0]))
    >>> keep.tolist(), alias.tolist()
    ([0.5, 1.0], [1, 1])
    """
    sizes = indptr.diff()
    row = torch.repeat_interleave(torch.arange(len(sizes), device=indptr.device), sizes)
    weights = weights.double()
    totals = torch.zeros(len(sizes), dtype=torch.float64, device=weights.device).index_add_(0, row, weights)
    scaled = weights / totals[row] * sizes[row]
    # rounding must not leave a row without a heavy member
    peak = torch.zeros_like(totals).scatter_reduce_(0, row, scaled, "amax")
    scaled = torch.where(scaled == peak[row], scaled.clamp(min=1), scaled)
    position = torch.arange(len(row), device=row.device) - indptr[row]
    keep = torch.ones_like(scaled)
    alias = position.clone()
    light = (scaled < 1).nonzero().squeeze(-1)
    heavy = (scaled >= 1).nonzero().squeeze(-1)
    if not len(light) or not len(heavy):
        return keep, alias.int()
    missing = _running_sum(1 - scaled[light], row[light], len(sizes))
    surplus = _running_sum(scaled[heavy] - 1, row[heavy], len(sizes))
    # one increasing sequence for all rows: no row misses or has left more than its own size
    offset = indptr[:-1].double() + torch.arange(len(sizes), device=row.device)
    missing_line, surplus_line = missing + offset[row[light]], surplus + offset[row[heavy]]
    # the heavy member that serves a light one is the first whose surplus is not used up before it
    before = missing_line - (1 - scaled[light])
    last = torch.searchsorted(row[heavy], row[light], right=True) - 1
    server = torch.minimum(torch.searchsorted(surplus_line, before, right=True), last)
    first = torch.searchsorted(row[heavy], row[light])
    server = torch.maximum(server, first)
    keep[light] = scaled[light]
    alias[light] = position[heavy[server]]
    # a heavy member whose surplus is overdrawn becomes light and is filled by the next heavy one
    overdrawn = torch.searchsorted(missing_line, surplus_line, right=True)
    follower = torch.arange(1, len(heavy) + 1, device=row.device).clamp_(max=len(heavy) - 1)
    debtor = overdrawn.clamp(max=len(light) - 1)
    short = (
        (overdrawn < len(light))
        & (row[light[debtor]] == row[heavy])
        & (row[heavy[follower]] == row[heavy])
        & (follower > torch.arange(len(heavy), device=row.device))
        & (server[debtor] < follower)  # the debt is its own or was passed on to it
    )
    keep[heavy[short]] = (1 + surplus[short] - missing[debtor[short]]).clamp_(0, 1)
    alias[heavy[short]] = position[heavy[follower[short]]]
    return keep, alias.int()


def _running_sum(values: FloatTensor, row: LongTensor, rows: int) -> FloatTensor:
    """Return the inclusive running sum within each row, shape ``(k,)``, for values sorted by row."""
    total = values.cumsum(0)
    starts = torch.searchsorted(row, torch.arange(rows, device=row.device))
    before = torch.cat([total.new_zeros(1), total])[starts]
    return total - before[row]
