"""Negative items for users, from any corruptor.

A pair of a user and an item is the triple ``(0, user, item)``, see
:meth:`~kgneg.recsys.interactions.Interactions.triples`: entities are the items, every user is a relation, and only the
tail is replaced. So every :class:`~kgneg.core.corruption.Corruptor` that is built with :func:`corruptor_options` draws
items that the user does not have, exactly; and what it knows of the replaced entity, such as its text or its neighbours
in a graph, is about the item. What looks at the entity that stays has nothing to look at: take ``anchor="replaced"``
where there is a choice.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch

from kgneg.core.corruption import Corruptor
from kgneg.core.errors import ExhaustedPoolError, InvalidInputError
from kgneg.core.handles import CandidateScorer
from kgneg.core.modules import share
from kgneg.core.queries import Queries
from kgneg.core.sides import SidePolicy
from kgneg.core.typing import TAIL, BoolTensor, FloatTensor, IntTensor, LongTensor
from kgneg.recsys.interactions import Interactions

__all__ = [
    "NegativeItems",
    "PairScorer",
    "check_corruptor",
    "corruptor_options",
    "draw_negatives",
    "item_scorer",
    "log_proposal",
]


class NegativeItems(NamedTuple):
    """Items that users do not have.

    :param items: shape: ``(b, n)``, int64
    :param fallback: shape: ``(b, n)``, true where the method had nothing to offer and a uniform draw stands in
    """

    items: LongTensor
    fallback: BoolTensor


class PairScorer(Protocol):
    """A model that scores pairs of users and items."""

    def pair_scores(self, users: LongTensor, items: LongTensor) -> FloatTensor:
        """Return scores of shape ``(q, m)`` for users of shape ``(q,)`` and items of shape ``(q, m)``."""
        ...


@runtime_checkable
class _KnowsProposal(Protocol):
    def log_proposal(self, ids: LongTensor, side: int = TAIL) -> FloatTensor: ...


def corruptor_options(interactions: Interactions) -> dict[str, Any]:
    """Return what every corruptor has to be built with to draw items for users.

    The index is an own copy of :attr:`~kgneg.recsys.interactions.Interactions.index`, which shares its memory, so that
    the corruptor can be moved to another device.

    :param interactions: the pairs that must not be drawn, as a rule those of the training
    :returns: ``num_entities``, ``num_relations``, ``index`` and ``sides``, arguments of
        :class:`~kgneg.core.corruption.Corruptor`
    :raises InvalidInputError: if there are no users, or fewer than two items

    >>> pairs = Interactions(torch.tensor([0, 1]), torch.tensor([0, 2]), num_users=2, num_items=3)
    >>> options = corruptor_options(pairs)
    >>> options["num_entities"], options["num_relations"], options["sides"].policy
    (3, 2, 'tail')
    """
    if interactions.num_users < 1 or interactions.num_items < 2:
        raise InvalidInputError(
            f"negatives need a user and two items, got {interactions.num_users} users and {interactions.num_items} "
            "items"
        )
    return {
        "num_entities": interactions.num_items,
        "num_relations": interactions.num_users,
        "index": share(interactions.index),
        "sides": SidePolicy("tail"),
    }


def check_corruptor(corruptor: Corruptor, interactions: Interactions | None = None) -> None:
    """Check that a corruptor replaces items, and has the sizes of some interactions.

    :param corruptor: the corruptor
    :param interactions: the interactions; ``None`` checks the side policy alone
    :raises InvalidInputError: if it does not fit
    """
    if not isinstance(corruptor, Corruptor):
        raise InvalidInputError(
            f"negatives come from a Corruptor, got {type(corruptor).__name__}: build one with corruptor_options(train)"
        )
    if corruptor.sides.policy != "tail":
        raise InvalidInputError(
            f"the side policy is {corruptor.sides.policy!r}, which replaces more than the item: build the corruptor "
            "with corruptor_options(train), which has SidePolicy('tail')"
        )
    sizes = (corruptor.num_relations, corruptor.num_entities)
    if interactions is not None and sizes != (interactions.num_users, interactions.num_items):
        raise InvalidInputError(
            f"a corruptor for {sizes[0]} users (relations) and {sizes[1]} items (entities) does not fit "
            f"{interactions.num_users} users and {interactions.num_items} items: build it with corruptor_options(train)"
        )


def draw_negatives(
    corruptor: Corruptor,
    users: LongTensor,
    items: LongTensor,
    n: int,
    generator: torch.Generator | None = None,
    *,
    interactions: Interactions | None = None,
) -> NegativeItems:
    """Draw items that users do not have.

    The ids are not checked: a trainer draws for pairs of its own.

    :param corruptor: what draws, built with :func:`corruptor_options`
    :param users: shape: ``(b,)``, int64, on the device of the corruptor
    :param items: shape: ``(b,)``, int64, the item of each user that is replaced
    :param n: how many for each pair
    :param generator: the source of randomness, on the same device; ``None`` takes the corruptor's own
    :param interactions: what the corruptor was built for: its sizes are compared, and errors name users by their labels
    :returns: the items
    :raises InvalidInputError: if the corruptor does not fit, or ``users`` and ``items`` are not vectors of one length
    :raises ExhaustedPoolError: if a user has all items (it names the first one)

    >>> from kgneg.samplers import UniformCorruptor
    >>> pairs = Interactions(torch.tensor([0, 1]), torch.tensor([0, 2]), num_users=2, num_items=3)
    >>> uniform = UniformCorruptor(**corruptor_options(pairs), seed=0)
    >>> draw_negatives(uniform, pairs.users, pairs.items, 40).items.unique().tolist()
    [0, 1, 2]
    """
    check_corruptor(corruptor, interactions)
    if users.ndim != 1 or users.shape != items.shape:
        raise InvalidInputError(
            f"users and items must be vectors of one length, got shapes {tuple(users.shape)} and {tuple(items.shape)}"
        )
    triples = torch.stack([torch.zeros_like(users), users, items], dim=-1)
    try:
        drawn = corruptor(triples, n, generator, trusted=True)
    except ExhaustedPoolError as error:
        raise _exhausted(corruptor, triples, interactions) from error
    return NegativeItems(drawn.entity.long(), drawn.fallback)


def _exhausted(corruptor: Corruptor, triples: LongTensor, interactions: Interactions | None) -> ExhaustedPoolError:
    """Return the error for the first user that has all items."""
    kept, users, items = triples.unbind(-1)
    who = "a user"
    if corruptor.index is not None:
        codes = corruptor.index.codes(kept, users, torch.full_like(kept, TAIL))
        stuck = (corruptor.index.free(codes, items) <= 0).nonzero()
        if len(stuck):
            user = int(users[stuck[0]])
            labels = None if interactions is None else interactions.user_labels
            who = f"user {user}" if labels is None else f"user {labels[user]!r}"
    return ExhaustedPoolError(
        f"{who} has all {corruptor.num_entities} items, so that there is no negative item left. Leave such users out "
        "of what is trained on: train.select(train.user_counts[train.users] < train.num_items)"
    )


def item_scorer(model: PairScorer) -> CandidateScorer:
    """Return how a corruptor that looks at the model sees a recommender.

    Users are the relations of the queries. Nothing gets a gradient.

    :param model: the recommender
    :returns: a scorer for :func:`~kgneg.core.handles.attach_scorer`
    :raises InvalidInputError: if the model has no method ``pair_scores``

    >>> class Fixed:
    ...     def pair_scores(self, users, items):
    ...         return users[:, None] * 10.0 + items
    >>> item_scorer(Fixed())(Queries.from_triples(torch.tensor([[0, 4, 2]]), torch.tensor([2])), torch.tensor([[1, 3]]))
    tensor([[41., 43.]])
    """
    if not callable(getattr(model, "pair_scores", None)):
        raise InvalidInputError(
            f"{type(model).__name__} has no method pair_scores(users, items), so that its scores cannot be looked at: "
            "take a trained model, or a method that does not look at the model"
        )

    def score(queries: Queries, ids: IntTensor) -> FloatTensor:
        with torch.no_grad():
            return model.pair_scores(queries.relation, ids.long())

    return score


def log_proposal(corruptor: Corruptor, items: LongTensor) -> FloatTensor:
    """Return the logarithm of the probability that a corruptor proposes an item, for corrected sampled softmax.

    It is known for methods that propose the same whatever the query: uniform and popularity. It is that of a proposal:
    that a user's own items are never drawn is not accounted for, since the difference is a constant for each user. All
    other methods, mixtures and those that look at the model among them, give zeros: no correction.

    :param corruptor: the corruptor
    :param items: shape: ``(*)``, ids of items
    :returns: shape: ``(*)``, float32

    >>> from kgneg.samplers import UniformCorruptor
    >>> log_proposal(UniformCorruptor(num_entities=4, num_relations=1), torch.tensor([2])).exp()
    tensor([0.2500])
    """
    if isinstance(corruptor, _KnowsProposal):
        return corruptor.log_proposal(items, TAIL)
    return torch.zeros(items.shape, device=items.device)
