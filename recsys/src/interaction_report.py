"""What became of the rows that interactions were made from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from kgneg.core.typing import LongTensor

if TYPE_CHECKING:
    from kgneg.recsys.interactions import Interactions

__all__ = ["InteractionReport", "summarise"]

_WORDS = {
    "duplicates": ("repetition of a pair", "repetitions of a pair"),
    "below_min_rating": ("row below the minimum rating", "rows below the minimum rating"),
    "unknown_users": ("row of an unknown user", "rows of unknown users"),
    "unknown_items": ("row of an unknown item", "rows of unknown items"),
    "zeros": ("stored zero", "stored zeros"),
    "filtered": ("row of a user or an item with too few", "rows of users or items with too few"),
    "users_filtered": ("user", "users"),
    "items_filtered": ("item", "items"),
    "users_without_items": ("user without items", "users without items"),
}


@dataclass(frozen=True)
class InteractionReport:
    """Counts of rows: ``rows`` is the sum of those from ``kept`` to ``filtered``. The last three count users and items.

    :param rows: rows that were read
    :param kept: distinct pairs that are left
    :param duplicates: further rows of these pairs
    :param below_min_rating: rows whose rating is too low
    :param unknown_users: rows whose user is not in the tables that were asked for
    :param unknown_items: rows of known users whose item is not in those tables
    :param zeros: entries of a sparse matrix that are stored but zero
    :param filtered: rows of users or items with too few
    :param users_filtered: users that were filtered out
    :param items_filtered: items that were filtered out
    :param users_without_items: users of an adjacency file with an empty list; they are not in the table
    """

    rows: int = 0
    kept: int = 0
    duplicates: int = 0
    below_min_rating: int = 0
    unknown_users: int = 0
    unknown_items: int = 0
    zeros: int = 0
    filtered: int = 0
    users_filtered: int = 0
    items_filtered: int = 0
    users_without_items: int = 0

    @property
    def dropped(self) -> dict[str, int]:
        """All counts that are not zero, without those of what was read and kept."""
        return {name: count for name, count in asdict(self).items() if count and name not in ("rows", "kept")}

    def __str__(self) -> str:
        lost = [_counted(count, *_WORDS[name]) for name, count in self.dropped.items()]
        kept = f"{_counted(self.rows, 'row', 'rows')}, {_counted(self.kept, 'pair', 'pairs')} kept"
        return f"{kept}; dropped: {', '.join(lost) or 'nothing'}"


def _counted(count: int, one: str, several: str) -> str:
    return f"{count:,} {one if count == 1 else several}"


def summarise(pairs: Interactions) -> str:
    """Return the figures of interactions as text, one per line.

    :param pairs: the interactions
    :returns: some lines of text, without a line end after the last

    >>> import torch
    >>> from kgneg.recsys import Interactions
    >>> print(summarise(Interactions(torch.tensor([0, 0]), torch.tensor([1, 1]), num_users=1, num_items=2)))
    users             1
    items             2
    pairs             1
    density           50.0000 %
    pairs per user    1 to 1, median 1
    pairs per item    0 to 1, median 0
    report            2 rows, 1 pair kept; dropped: 1 repetition of a pair
    """
    cells = pairs.num_users * pairs.num_items
    lines = {
        "users": f"{pairs.num_users:,}",
        "items": f"{pairs.num_items:,}",
        "pairs": f"{len(pairs):,}",
        "density": f"{len(pairs) / cells if cells else 0:.4%}".replace("%", " %"),
        "pairs per user": _spread(pairs.user_counts),
        "pairs per item": _spread(pairs.item_counts),
    }
    if pairs.ratings is not None and len(pairs):
        lines["ratings"] = f"{pairs.ratings.min():g} to {pairs.ratings.max():g}, mean {pairs.ratings.mean():.3g}"
    if pairs.times is not None and len(pairs):
        lines["times"] = f"{pairs.times.min():.17g} to {pairs.times.max():.17g}"
    lines["report"] = str(pairs.report)
    return "\n".join(f"{name:<18}{value}" for name, value in lines.items())


def _spread(counts: LongTensor) -> str:
    if not len(counts):
        return "none"
    return f"{int(counts.min()):,} to {int(counts.max()):,}, median {int(counts.median()):,}"
