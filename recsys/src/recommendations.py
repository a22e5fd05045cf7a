"""Lists of items for users."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from kgneg.core.typing import FloatTensor, LongTensor
from kgneg.recsys.ranking import Block

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Recommendations"]


@dataclass(frozen=True)
class Recommendations:
    """The best items of some users; -1 and minus infinity fill the lists of users with fewer candidates.

    :param users: shape: ``(n,)``, int64
    :param items: shape: ``(n, k)``, int64, best first
    :param scores: shape: ``(n, k)``, float32
    :param user_labels: what users are called, or ``None``
    :param item_labels: what items are called, or ``None``
    """

    users: LongTensor
    items: LongTensor
    scores: FloatTensor
    user_labels: tuple[str, ...] | None = None
    item_labels: tuple[str, ...] | None = None

    @classmethod
    def collect(
        cls,
        blocks: Iterable[Block],
        k: int,
        user_labels: Sequence[str] | None = None,
        item_labels: Sequence[str] | None = None,
    ) -> Recommendations:
        """Put blocks together.

        :param blocks: from :func:`~kgneg.recsys.ranking.rank_items`
        :param k: the length of the lists
        :param user_labels: what users are called
        :param item_labels: what items are called
        :returns: the lists, on the CPU
        """
        empty = Block(torch.empty(0, dtype=torch.int64), torch.empty(0, k, dtype=torch.int64), torch.empty(0, k))
        parts = [Block(*(part.cpu() for part in block)) for block in blocks] or [empty]
        users, items, scores = (torch.cat(part) for part in zip(*parts, strict=True))
        labels = [None if one is None else tuple(one) for one in (user_labels, item_labels)]
        return cls(users, items, scores.float(), *labels)

    def __len__(self) -> int:
        return len(self.users)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per user and place: ``user``, ``rank`` from 1, ``item`` and ``score``; labels if there are."""
        import pandas as pd

        there = self.items >= 0
        rows, places = there.nonzero(as_tuple=True)
        users, items = self.users[rows].tolist(), self.items[there].tolist()
        return pd.DataFrame(
            {
                "user": users if self.user_labels is None else [self.user_labels[one] for one in users],
                "rank": (places + 1).tolist(),
                "item": items if self.item_labels is None else [self.item_labels[one] for one in items],
                "score": self.scores[there].tolist(),
            }
        )
