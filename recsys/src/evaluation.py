"""How good the lists of a recommender are: all items ranked for all users, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import BoolTensor, FloatTensor, LongTensor
from kgneg.core.validation import choose, validate_count
from kgneg.recsys._matching import check_tables
from kgneg.recsys.interactions import Interactions
from kgneg.recsys.ranking import MEMORY, Block, rank_items
from kgneg.recsys.recommender import Recommender

if TYPE_CHECKING:
    import pandas as pd

    from kgneg.recsys.metrics import Meter

__all__ = ["METRICS", "Evaluation", "evaluate"]

#: The names of all metrics.
METRICS = ("recall", "precision", "ndcg", "mrr", "hit", "capped_precision")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How good the lists of a recommender are.

    :param metrics: the means over users by name, such as ``recall@20``
    :param users: shape: ``(n,)``, int64, ascending: the users whose lists were judged
    :param per_user: the figures of each of them, shape ``(n,)``, by name; empty if they were not asked for
    :param excluded: the users whose lists were not judged, ids by reason: ``no_test_items``, and ``no_training_items``
        for those who have test items but nothing to go by
    :param counts: how many users, pairs and items were involved, and left out
    :param beyond: what is shown and to whom, see :func:`~kgneg.recsys.beyond.describe_items` and
        :func:`~kgneg.recsys.beyond.describe_users`; empty if it was not asked for
    :param user_labels: what all users are called, or ``None``
    """

    metrics: dict[str, float]
    users: LongTensor
    per_user: dict[str, FloatTensor] = field(repr=False)
    excluded: dict[str, LongTensor] = field(repr=False)
    counts: dict[str, int]
    beyond: dict[str, Any] = field(repr=False)
    user_labels: tuple[str, ...] | None = field(default=None, repr=False)

    @property
    def num_users(self) -> int:
        """The number of users whose lists were judged."""
        return len(self.users)

    def to_dict(self, *, by_user: bool = False) -> dict[str, Any]:
        """Return everything in a form that JSON can spell; users by label if they have labels.

        :param by_user: whether to include the figures of each user
        :returns: ``metrics``, ``counts``, ``excluded`` and ``beyond``, and perhaps ``users`` and ``per_user``
        """
        found: dict[str, Any] = {
            "metrics": dict(self.metrics),
            "counts": dict(self.counts),
            "excluded": {reason: self._called(ids) for reason, ids in self.excluded.items()},
            "beyond": self.beyond,
        }
        if by_user:
            found["users"] = self._called(self.users)
            found["per_user"] = {name: values.tolist() for name, values in self.per_user.items()}
        return found

    def to_frame(self) -> pd.DataFrame:
        """Return one row per user: ``user``, by label if there are labels, and each metric.

        :returns: the table
        :raises InvalidInputError: if the figures of users were not kept
        """
        import pandas as pd

        if not self.per_user:
            raise InvalidInputError("there are no figures of single users; evaluate with by_user=True")
        columns = {name: values.numpy() for name, values in self.per_user.items()}
        return pd.DataFrame({"user": self._called(self.users)} | columns)

    def _called(self, ids: LongTensor) -> list[Any]:
        return ids.tolist() if self.user_labels is None else [self.user_labels[one] for one in ids.tolist()]


def evaluate(
    model: Recommender,
    test: Interactions,
    *,
    hide: Interactions | Sequence[Interactions] | None = (),
    ks: Sequence[int] = (10, 20, 50),
    metrics: Sequence[str] = METRICS,
    candidates: BoolTensor | str | None = None,
    by_user: bool = True,
    beyond: bool = True,
    memory: int = MEMORY,
    progress: bool | None = None,
) -> Evaluation:
    """Rank all items for all users with test items and judge the lists.

    What the model was fitted to is left out of the lists. Metrics are means over the users that have both test and
    training items; who has not is listed in the result. A test item that is not a candidate cannot be found and counts
    as missed. The metrics are those of PyTorch Geometric: ``recall`` is hits by test items, ``precision`` hits by
    ``k``, ``ndcg`` has the best possible list of the user as its ideal, ``mrr`` is one by the rank of the first hit
    and 0 without, ``hit`` whether there is a hit; ``capped_precision`` is hits by the smaller of ``k`` and the number
    of test items, which the authors of BUIR call precision.

    :param model: the recommender, fitted
    :param test: what is to be found
    :param hide: further interactions that are left out of the lists, such as validation when this is the test
    :param ks: the lengths of lists
    :param metrics: names from :data:`METRICS`
    :param candidates: shape: ``(num_items,)``, the items that may be shown; ``"trained"``: those with training pairs;
        ``None``: all
    :param by_user: whether to keep the figures of each user, for tests of significance
    :param beyond: whether to describe what is shown and to whom
    :param memory: bytes that the scores of a block of users may take
    :param progress: whether to show a progress bar; ``None`` shows it on a terminal
    :returns: the figures
    :raises InvalidInputError: if there is nothing to judge, tables do not fit the model, a list is longer than there
        are candidates, a test pair is also left out of the lists, or a name is not known

    >>> from kgneg.recsys import Popularity
    >>> train = Interactions(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 2]), num_users=2, num_items=3)
    >>> test = Interactions(torch.tensor([0]), torch.tensor([1]), num_users=2, num_items=3)
    >>> evaluate(Popularity().fit(train), test, ks=[1, 2], metrics=["recall"]).metrics
    {'recall@1': 0.0, 'recall@2': 1.0}
    """
    from kgneg.recsys.metrics import Meter

    seen = model.seen
    hidden = [seen, *([hide] if isinstance(hide, Interactions) else hide or ())]
    _check_pairs(test, hidden)
    allowed = _candidates(candidates, seen)
    ks = _lengths(ks, seen.num_items if allowed is None else int(allowed.sum()))
    names = [choose("metric", one, METRICS) for one in dict.fromkeys(metrics)]
    if not names:
        raise InvalidInputError(f"no metric was asked for; known ones are {', '.join(METRICS)}")
    users, excluded = _judged(seen, test)
    meter = Meter(names, ks, seen.num_items, keep=by_user or beyond, tally=beyond)
    with torch.no_grad():
        blocks = rank_items(
            model.scores, users, ks[-1], num_items=seen.num_items, hide=hidden, candidates=allowed, memory=memory
        )
        for block in _shown(blocks, len(users), progress):
            meter.add(block.items, *test.of(block.users))
    return Evaluation(
        meter.means(),
        users,
        meter.kept() if by_user else {},
        excluded,
        _counts(seen, test, users, excluded, allowed),
        _beyond(meter, ks, seen, test, users, allowed) if beyond else {},
        seen.user_labels,
    )


def _check_pairs(test: Interactions, hidden: Sequence[Interactions]) -> None:
    """Refuse what does not fit the model, and pairs that could never be found."""
    seen = hidden[0]
    if not len(test):
        raise InvalidInputError("there is nothing to be found: the test split is empty")
    for what, pairs in (("test", test), *(("hidden", one) for one in hidden[1:])):
        check_tables(seen, pairs, f"the {what} part")
    for what, pairs in (("training", seen), *(("hidden", one) for one in hidden[1:])):
        both = pairs.contains(test.users, test.items)
        if bool(both.any()):
            where = int(both.nonzero()[0])
            raise InvalidInputError(
                f"{int(both.sum())} test pairs are also {what} pairs, for example user {int(test.users[where])} and "
                f"item {int(test.items[where])}; they are left out of the lists, so they cannot be found. Take them "
                "out with test.select(~pairs.contains(test.users, test.items))."
            )


def _candidates(given: BoolTensor | str | None, seen: Interactions) -> BoolTensor | None:
    if given is None:
        return None
    if isinstance(given, str):
        choose("candidates", given, ("trained",))
        return seen.item_counts > 0
    if given.dtype != torch.bool or given.shape != (seen.num_items,):
        raise InvalidInputError(
            f"candidates must be 'trained' or of dtype torch.bool and shape {(seen.num_items,)}, got {given.dtype} and "
            f"{tuple(given.shape)}"
        )
    return given.cpu()


def _lengths(ks: Sequence[int], limit: int) -> list[int]:
    lengths = sorted({validate_count("k", k) for k in ks})
    if not lengths:
        raise InvalidInputError("no length of a list was asked for, such as ks=[20]")
    if lengths[-1] > limit:
        raise InvalidInputError(f"a list of {lengths[-1]} items is longer than there are candidates, {limit}; lower ks")
    return lengths


def _judged(seen: Interactions, test: Interactions) -> tuple[LongTensor, dict[str, LongTensor]]:
    wanted, known = test.user_counts > 0, seen.user_counts > 0
    users = (wanted & known).nonzero().squeeze(1)
    if not len(users):
        raise InvalidInputError(
            f"none of the {int(wanted.sum())} users with test items has training items: there is nobody to judge. "
            "Split by interaction, not by user, or give histories to fold_in."
        )
    excluded = {"no_test_items": ~wanted, "no_training_items": wanted & ~known}
    return users, {reason: who.nonzero().squeeze(1) for reason, who in excluded.items()}


def _shown(blocks: Iterator[Block], total: int, progress: bool | None) -> Iterator[Block]:
    """Show a bar that counts users."""
    from tqdm.auto import tqdm

    disable = None if progress is None else not progress
    with tqdm(total=total, desc="evaluating", unit="user", disable=disable, leave=False) as bar:
        for block in blocks:
            yield block
            bar.update(len(block.users))


def _counts(
    seen: Interactions,
    test: Interactions,
    users: LongTensor,
    excluded: Mapping[str, LongTensor],
    allowed: BoolTensor | None,
) -> dict[str, int]:
    _, items = test.of(users)
    return {
        "users": len(users),
        **{reason: len(ids) for reason, ids in excluded.items()},
        "test_pairs": len(items),
        "test_pairs_of_excluded_users": len(test) - len(items),
        "test_pairs_of_untrained_items": int((seen.item_counts[items] == 0).sum()),
        "test_pairs_of_no_candidate": 0 if allowed is None else int((~allowed[items]).sum()),
        "candidates": seen.num_items if allowed is None else int(allowed.sum()),
    }


def _beyond(
    meter: Meter,
    ks: Sequence[int],
    seen: Interactions,
    test: Interactions,
    users: LongTensor,
    allowed: BoolTensor | None,
) -> dict[str, Any]:
    from kgneg.recsys.beyond import describe_items, describe_users

    if meter.tally is None:
        return {}
    _, items = test.of(users)
    candidates = torch.ones(seen.num_items, dtype=torch.bool) if allowed is None else allowed
    of_items = describe_items(
        meter.tally.shown,
        meter.tally.hits,
        ks,
        popularity=seen.item_counts,
        truth=torch.bincount(items, minlength=seen.num_items),
        candidates=candidates,
        num_users=int((seen.user_counts > 0).sum()),
    )
    groups = describe_users(meter.kept(), seen.user_counts[users])
    by_items = of_items.pop("items")
    return of_items | {
        "by_item_popularity": by_items,
        "by_user_quarter": groups["users"],
        "by_user_items": groups["sparsity"],
    }
