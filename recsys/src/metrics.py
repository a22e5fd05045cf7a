"""Figures of lists, through the link-prediction metrics of PyTorch Geometric.

Importing this module imports PyTorch Geometric; :func:`kgneg.recsys.evaluate` does so when it is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch_geometric.metrics import (
    LinkPredHitRatio,
    LinkPredMetricCollection,
    LinkPredMRR,
    LinkPredNDCG,
    LinkPredPrecision,
    LinkPredRecall,
)
from torch_geometric.metrics.link_pred import LinkPredMetric, LinkPredMetricData

from kgneg.core.typing import FloatTensor, LongTensor

__all__ = ["LinkPredCappedPrecision", "Meter", "Tally"]


class LinkPredCappedPrecision(LinkPredMetric):  # type: ignore[misc]
    """The share of the places that could be right which are: hits by the smaller of ``k`` and the number of labels.

    Source: Lee et al., Bootstrapping User and Item Representations for One-Class Collaborative Filtering, SIGIR 2021,
    whose code calls this precision.

    :param k: the length of the list

    >>> metric = LinkPredCappedPrecision(k=2)
    >>> metric.update(torch.tensor([[5, 7]]), torch.tensor([[0], [7]]))
    >>> metric.compute()
    tensor(1.)
    """

    higher_is_better = True
    weighted = False

    def _compute(self, data: LinkPredMetricData) -> FloatTensor:
        hits: FloatTensor = data.pred_rel_mat[:, : self.k].sum(dim=-1)
        labels: LongTensor = data.label_count
        return hits / labels.clamp(min=1, max=self.k)


class _Kept(LinkPredMetric):  # type: ignore[misc]
    """Keeps the figure of each user, besides the mean."""

    def __init__(self, k: int) -> None:
        super().__init__(k=k)
        self.kept: list[FloatTensor] = []

    def _update(self, data: LinkPredMetricData) -> None:
        values = self._compute(data)
        self.kept.append(values)
        self.accum += values.sum()
        self.total += (data.label_count > 0).sum()


class _KeptRecall(_Kept, LinkPredRecall): ...  # type: ignore[misc]


class _KeptPrecision(_Kept, LinkPredPrecision): ...  # type: ignore[misc]


class _KeptNDCG(_Kept, LinkPredNDCG): ...  # type: ignore[misc]


class _KeptMRR(_Kept, LinkPredMRR): ...  # type: ignore[misc]


class _KeptHitRatio(_Kept, LinkPredHitRatio): ...  # type: ignore[misc]


class _KeptCappedPrecision(_Kept, LinkPredCappedPrecision): ...


_PLAIN: dict[str, type[LinkPredMetric]] = {
    "recall": LinkPredRecall,
    "precision": LinkPredPrecision,
    "ndcg": LinkPredNDCG,
    "mrr": LinkPredMRR,
    "hit": LinkPredHitRatio,
    "capped_precision": LinkPredCappedPrecision,
}
_KEPT: dict[str, type[_Kept]] = {
    "recall": _KeptRecall,
    "precision": _KeptPrecision,
    "ndcg": _KeptNDCG,
    "mrr": _KeptMRR,
    "hit": _KeptHitRatio,
    "capped_precision": _KeptCappedPrecision,
}


class Tally(LinkPredMetric):  # type: ignore[misc]
    """Counts how often each item is shown and how often that is right. It shares its work with other metrics.

    :param ks: the lengths of lists, ascending
    :param num_items: the number of items
    """

    higher_is_better = None
    weighted = False

    def __init__(self, ks: Sequence[int], num_items: int) -> None:
        super().__init__(k=ks[-1])
        self.ks, self.num_items = tuple(ks), num_items
        empty = torch.zeros(len(ks), num_items, dtype=torch.int64)
        self.register_buffer("_shown", empty, persistent=False)
        self.register_buffer("_hits", empty.clone(), persistent=False)

    def _update(self, data: LinkPredMetricData) -> None:
        for place, (start, end) in enumerate(pairwise((0, *self.ks))):
            items, right = data.pred_index_mat[:, start:end], data.pred_rel_mat[:, start:end]
            self._shown[place] += torch.bincount(items.flatten(), minlength=self.num_items + 1)[:-1]
            self._hits[place] += torch.bincount(items[right], minlength=self.num_items)

    @property
    def shown(self) -> LongTensor:
        """How often each item is in a list, shape ``(len(ks), num_items)``, int64, on the CPU."""
        shown: LongTensor = self._shown
        return shown.cumsum(0).cpu()

    @property
    def hits(self) -> LongTensor:
        """How often each item is in the list of a user who has it, shape ``(len(ks), num_items)``, on the CPU."""
        hits: LongTensor = self._hits
        return hits.cumsum(0).cpu()


class Meter:
    """All metrics of an evaluation, over blocks of users.

    :param names: names of metrics
    :param ks: the lengths of lists, ascending
    :param num_items: the number of items
    :param keep: whether to keep the figures of each user
    :param tally: whether to count items

    >>> meter = Meter(["recall"], [1, 2], 3)
    >>> meter.add(torch.tensor([[2, -1]]), torch.tensor([0, 0]), torch.tensor([1, 2]))
    >>> meter.means()
    {'recall@1': 0.5, 'recall@2': 0.5}
    """

    def __init__(
        self, names: Sequence[str], ks: Sequence[int], num_items: int, *, keep: bool = False, tally: bool = False
    ) -> None:
        kinds = _KEPT if keep else _PLAIN
        self._metrics = {f"{name}@{k}": kinds[name](k=k) for name in names for k in ks}
        self.tally = Tally(ks, num_items) if tally else None
        self._all = LinkPredMetricCollection(self._metrics | ({} if self.tally is None else {"tally": self.tally}))
        self._num_items = num_items
        self._device = torch.device("cpu")

    def add(self, items: LongTensor, rows: LongTensor, truth: LongTensor) -> None:
        """Add a block of users, each of whom has something to find.

        :param items: shape: ``(b, k)``, the lists, best first; -1 fills short ones
        :param rows: shape: ``(t,)``, the row of each item to be found
        :param truth: shape: ``(t,)``, the items to be found
        """
        if items.device != self._device:
            self._device = items.device
            self._all.to(self._device)
        # To the metrics, -1 would be the last item of the row before. The number behind the last item is never right.
        filled = items.masked_fill(items < 0, self._num_items)
        self._all.update(filled, torch.stack([rows, truth]).to(self._device))

    def means(self) -> dict[str, float]:
        """Return the means over users by name, such as ``recall@20``."""
        values = self._all.compute()
        return {name: float(values[name]) for name in self._metrics}

    def kept(self) -> dict[str, FloatTensor]:
        """Return the figures of each user by name, each of shape ``(users,)``, float32, on the CPU."""
        return {
            name: torch.cat(metric.kept).cpu() for name, metric in self._metrics.items() if isinstance(metric, _Kept)
        }
