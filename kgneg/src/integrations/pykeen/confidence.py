"""Less weight for negatives that may be true, in PyKEEN's losses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from pykeen.triples import CoreTriplesFactory
from pykeen.triples.weights import LossWeighter, loss_weighter_resolver

from kgneg.core.errors import InvalidInputError
from kgneg.core.modules import share
from kgneg.core.plausibility import NeighbourPrior, TruthPrior
from kgneg.core.triples import TripleIndex
from kgneg.core.typing import FloatTensor, LongTensor
from kgneg.core.validation import choose, validate_share, validate_triples
from kgneg.integrations.pykeen.control import truth_prior
from kgneg.integrations.pykeen.noise import neighbour_prior
from kgneg.integrations.pykeen.setup import Setup
from kgneg.integrations.pykeen.texts import read_vectors
from kgneg.integrations.pykeen.weighted_triples import weighted_triples
from kgneg.samplers.screening import validate_finite

__all__ = ["ConfidenceWeighter", "make_weighter"]


class ConfidenceWeighter(LossWeighter):
    r"""Weigh a negative by the probability that it is false, as the known triples tell.

    Known triples have weight 1. Any other triple has weight :math:`1 - p`, where :math:`p` is the probability that
    :class:`~kgneg.core.plausibility.TruthPrior` gives it, or :class:`~kgneg.core.plausibility.NeighbourPrior`, after
    its odds were multiplied by ``strength``.

    kgneg's training loop needs the name alone, ``training_loop_kwargs=dict(loss_weighter="confidence")``, for it adds
    the triples. PyKEEN's loops take an instance, best made by :meth:`from_factory`.

    :param mapped_triples: shape: ``(m, 3)``, the known triples, with inverse triples when PyKEEN makes them
    :param num_entities: the number of entities
    :param num_relations: the number of relations, with inverse relations when PyKEEN makes them
    :param strength: what the odds of being true are multiplied by, at least 0; the prior takes as much to be missing as
        it hid, and where more is missing the odds are larger. 0 gives all triples the weight 1
    :param floor: the smallest weight, in ``[0, 1]``
    :param prior: ``"truth"``, popularity and co-occurrence, or ``"knn"``, the nearest known triples by entity vectors
    :param entity_vectors: for ``"knn"``, one row per entity id: a .npy or .safetensors file, an array or a tensor;
        ``None`` takes vectors of the known triples
    :raises InvalidInputError: if a number is out of range, or it is not said what is known

    >>> triples = torch.tensor([[h, 0, t] for h in range(20) for t in range(h % 5, 10)])
    >>> weighter = ConfidenceWeighter(mapped_triples=triples, num_entities=30, num_relations=1)
    >>> known, likely, unlikely = weighter.weight_triples(torch.tensor([[4, 0, 9], [4, 0, 3], [4, 0, 25]])).tolist()
    >>> known == 1 >= unlikely > likely
    True
    """

    def __init__(
        self,
        *,
        mapped_triples: LongTensor | None = None,
        num_entities: int | None = None,
        num_relations: int | None = None,
        strength: float = 1.0,
        floor: float = 0.0,
        prior: str = "truth",
        entity_vectors: Any = None,
    ) -> None:
        super().__init__()
        self.strength: float = validate_finite("strength", strength, 0.0)
        self.floor = validate_share("floor", floor)
        if choose("prior", prior, ("truth", "knn")) == "truth" and entity_vectors is not None:
            raise InvalidInputError("entity_vectors are for prior='knn': leave them out, or take that prior")
        if mapped_triples is None or num_entities is None or num_relations is None:
            raise InvalidInputError(
                "confidence weights need mapped_triples, num_entities and num_relations, which PyKEEN's loops do not "
                'pass on: give them loss_weighter=ConfidenceWeighter.from_factory(training), or take training_loop="kg'
                'neg"'
            )
        self.num_entities, self.num_relations = num_entities, num_relations
        triples = validate_triples(mapped_triples, num_entities, num_relations).cpu()
        setup = Setup(triples, num_entities, num_relations)
        vectors = None if entity_vectors is None else read_vectors(entity_vectors, num_entities)
        made: TruthPrior | NeighbourPrior = truth_prior(setup) if prior == "truth" else neighbour_prior(setup, vectors)
        self._parts = {torch.device("cpu"): (made, setup.index())}

    @classmethod
    def from_factory(cls, factory: CoreTriplesFactory, **options: Any) -> ConfidenceWeighter:
        """Take the known triples of a triples factory.

        :param factory: the training triples
        :param options: ``strength``, ``floor``, ``prior`` and ``entity_vectors``
        :returns: the weighter
        """
        return cls(
            mapped_triples=factory._add_inverse_triples_if_necessary(factory.mapped_triples),
            num_entities=factory.num_entities,
            num_relations=factory.num_relations,
            **options,
        )

    def __call__(self, h: LongTensor | None, r: LongTensor | None, t: LongTensor | None) -> FloatTensor:
        """Return the weights of triples.

        :param h: the heads; ``None``: all entities, as the last dimension
        :param r: the relations; ``None``: all relations, as the last dimension
        :param t: the tails; ``None``: all entities, as the last dimension
        :returns: the weights, of the shape that heads, relations and tails broadcast to
        """
        return self.weight_triples(weighted_triples(h, r, t, self.num_entities, self.num_relations))

    def weight_triples(self, mapped_triples: LongTensor) -> FloatTensor:
        """Return the weights of triples.

        :param mapped_triples: shape: ``(*, 3)``
        :returns: shape: ``(*)``, in ``[floor, 1]``
        """
        triples = mapped_triples.long()
        prior, index = self._on(triples.device)
        odds = prior.of_triples(triples).logit() + (math.log(self.strength) if self.strength else -math.inf)
        # an infinite logit times no strength is no number
        weights = torch.sigmoid(-odds).nan_to_num(1.0).clamp_(min=self.floor)
        return weights.masked_fill_(index.contains(triples), 1.0)

    def _on(self, device: torch.device) -> tuple[TruthPrior | NeighbourPrior, TripleIndex]:
        """Return prior and index on a device."""
        if device not in self._parts:
            prior, index = self._parts[torch.device("cpu")]
            self._parts[device] = share(prior).to(device), share(index).to(device)
        return self._parts[device]


def make_weighter(
    hint: Any, arguments: Mapping[str, Any] | None, triples: LongTensor, num_entities: int, num_relations: int
) -> LossWeighter | None:
    """Make a weighter as PyKEEN does, and tell the one that has to know the known triples.

    :param hint: a name, a class, an instance or ``None``
    :param arguments: the arguments of the constructor
    :param triples: shape: ``(m, 3)``, the known triples
    :param num_entities: the number of entities
    :param num_relations: the number of relations
    :returns: the weighter
    """
    if isinstance(hint, str | type) and issubclass(loss_weighter_resolver.lookup(hint), ConfidenceWeighter):
        own = {"mapped_triples": triples, "num_entities": num_entities, "num_relations": num_relations}
        arguments = own | dict(arguments or {})
    weighter: LossWeighter | None = loss_weighter_resolver.make_safe(hint, arguments)
    return weighter
