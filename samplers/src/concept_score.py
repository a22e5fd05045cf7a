"""How likely a candidate is to be right as well, by what its owners have in common with the one that asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch

from kgneg.core.candidates import CandidateIndex
from kgneg.core.modules import BufferModule
from kgneg.core.plausibility import Planted, plant
from kgneg.core.plausibility.regression import combine_quadratic, fit_quadratic
from kgneg.core.queries import Queries
from kgneg.core.seeding import mix_seeds
from kgneg.core.typing import HEAD, TAIL, FloatTensor, IntTensor, LongTensor
from kgneg.core.validation import validate_count, validate_share, validate_triples
from kgneg.samplers.concept_vectors import Likeness, latent_vectors, main_components
from kgneg.samplers.owner_profiles import OwnerProfiles

__all__ = ["ConceptScore", "Features"]

_PURPOSE = 0x636F6E63657074
#: hidden triples that are needed to learn from, and how many are looked at; negatives for each
_FEWEST, _MOST, _NEGATIVES = 20, 30_000, 3
#: candidates whose features are written out together
_CELLS = 1 << 18
_RARE = 1e-4

Weights = dict[str, FloatTensor]
#: Entities x features, or what makes them of the known triples, shape ``(m, 3)``.
Features = CandidateIndex | Callable[[LongTensor], CandidateIndex]


class ConceptScore(BufferModule):
    r"""How likely a candidate completes a pair: log odds up to a constant, learned from the known triples alone.

    ==================  ===============================================================================================
    feature             what it is, for the entity that stays and a candidate
    ==================  ===============================================================================================
    ``popularity``      :math:`\log(1 + n)`, how many owners the candidate has: tails of many heads are right for more
    ``shared``          the weights of the features that it shares with any owner, summed
    ``shared mean``     the same in the mean over the owners
    ``shared part``     ``shared`` divided by the weights of all features of the entity that stays
    ``match``           the cosine of both
    ``likeness``        the mean cosine of the entity that stays and the owners
    ``likeness mean``   its cosine with the mean of the owners
    ``typicality``      the mean cosine of the candidate and the nearest others that are known at that end
    ==================  ===============================================================================================

    A tenth of the known triples is hidden, the features are computed from the others, and for each end a logistic
    regression with all products of two features learns to tell hidden triples from other entities that are known at
    the same end of the relation. Another one learns what to make of an entity that is not known there. Then the
    features are computed anew from all triples. Where too few triples can be hidden, the score is ``shared part``.

    That says how much likelier a candidate is to be right than others drawn *as often*. To say how likely it is
    by itself, the logarithm of how often owners name it would have to be added; ``tempered`` says how much of it is. A
    quarter keeps nearly all of the former, and lets about half as many true ones pass among what is drawn.
    Cosines are those of vectors of texts, or else of latent vectors of the features.

    Source: the features generalise the rule of Wang et al., CAR, Findings of EMNLP 2023, which asks whether ``shared``
    is positive.

    :param profiles: the owners of each candidate
    :param likeness: the cosines; ``None``: there are no vectors
    :param named: shape: ``(places,)``, what is added for how often owners name a candidate
    :param weights: what :func:`~kgneg.core.plausibility.regression.combine_quadratic` takes and a bias, stacked: for
        heads and tails that are not known there, and for those that are

    >>> features = CandidateIndex.from_lists([[h % 4] for h in range(40)] + [[]] * 4, num_columns=4)
    >>> triples = torch.tensor([[h, 0, 40 + t] for h in range(40) for t in {h % 4, h % 3}])
    >>> score = ConceptScore.fit(triples, features, num_entities=44, num_relations=1)
    >>> queries = Queries.from_triples(torch.tensor([[0, 0, 40]]), torch.tensor([2]))
    >>> score(queries, torch.tensor([[40, 43]])).shape
    torch.Size([1, 2])
    """

    NAMES: ClassVar[tuple[str, ...]] = (
        *("popularity", "shared", "shared mean", "shared part"),
        *("match", "likeness", "likeness mean", "typicality"),
    )

    mean: FloatTensor
    spread: FloatTensor
    linear: FloatTensor
    quadratic: FloatTensor
    bias: FloatTensor
    popularity: FloatTensor

    named: FloatTensor

    def __init__(
        self, profiles: OwnerProfiles, likeness: Likeness | None, weights: Weights, named: FloatTensor | None = None
    ) -> None:
        super().__init__()
        self.register_buffer("named", torch.zeros(profiles.num_places) if named is None else named.float())
        self.profiles, self.likeness = profiles, likeness
        for name in _names():
            self.register_buffer(name, weights[name].float())
        self.register_buffer("popularity", profiles.owners.log1p())

    @classmethod
    def fit(
        cls,
        triples: LongTensor,
        features: Features,
        *,
        num_entities: int,
        num_relations: int,
        vectors: torch.Tensor | None = None,
        dim: int = 32,
        tempered: float = 0.25,
        seed: int = 0,
        **options: Any,
    ) -> ConceptScore:
        """Learn from the known triples.

        :param triples: shape: ``(m, 3)``, the known triples
        :param features: entities x features; or what makes them of triples, if they depend on these: to learn, they are
            made without the hidden ones
        :param num_entities: the number of entities
        :param num_relations: the number of relations
        :param vectors: shape: ``(num_entities, d)``, of texts for example; ``None`` makes some of the features
        :param dim: how many main components of the vectors are looked at; 0: none
        :param tempered: how much of the logarithm of how often owners name a candidate is added, in ``[0, 1]``
        :param seed: the seed of all that is random
        :param options: ``weights`` and ``drop_universal`` of :class:`~kgneg.samplers.owner_profiles.OwnerProfiles`
        :returns: the score
        :raises InvalidInputError: if sizes do not fit, or vectors are malformed
        """
        sizes = {"num_entities": num_entities, "num_relations": num_relations}
        triples = torch.unique(validate_triples(triples, **sizes).reshape(-1, 3).cpu(), dim=0)
        options = {**sizes, **options}
        validate_count("dim", dim, 0)
        given = None if vectors is None or not dim else main_components(vectors, num_entities, dim)

        def prepared(known: LongTensor) -> tuple[OwnerProfiles, Likeness | None]:
            """Return owners and cosines as far as some triples tell."""
            table = features if isinstance(features, CandidateIndex) else features(known)
            profiles = OwnerProfiles(known, table, **options)
            components = given
            if given is None and dim:
                components = main_components(latent_vectors(table, profiles.weights, dim, seed), num_entities, dim)
            return profiles, Likeness.of(profiles, known, components, seed)

        profiles, likeness = prepared(triples)
        learned = [_plain()] * 4
        if len(triples) > 1:
            planted = plant(triples, seed=mix_seeds(seed, _PURPOSE), **sizes)
            before = cls(*prepared(planted.known), _stacked(learned))
            generator = torch.Generator().manual_seed(mix_seeds(seed, _PURPOSE, 1))
            learned = [one for side in (HEAD, TAIL) for one in before._learn(planted, side, generator)]
        weights = profiles.pools("owners", triples).weights
        named = None if weights is None else validate_share("tempered", tempered) * weights.log()
        return cls(profiles, likeness, _stacked(learned), named)

    # Learning

    def _learn(self, planted: Planted, side: int, generator: torch.Generator) -> tuple[Weights, Weights]:
        """Return the weights for candidates of one end that are not known there, and for those that are."""
        hidden = planted.hidden[torch.randperm(len(planted.hidden), generator=generator)[:_MOST]]
        found, known = self._examples(hidden, side)
        share = known.double().mean().clamp(_RARE, 1 - _RARE)
        asked = planted.known[torch.randint(len(planted.known), (len(hidden) * _NEGATIVES,), generator=generator)]
        queries = Queries.from_triples(asked, torch.full((len(asked),), side))
        # negatives as a sampler draws them, and others
        places, _ = self.profiles.pools("owners", planted.known).sample(self.profiles.slots(queries), 1, generator)
        any_entity = torch.randint(self.profiles.num_entities, (len(asked),), generator=generator)
        chances = []
        weights = []
        for number, ids in enumerate((any_entity, self.profiles.member[places.view(-1).long()])):
            drawn = asked.clone()
            drawn[:, side] = ids
            wrong = planted.index.contains(drawn) | planted.hidden_index.contains(drawn)
            table, there = self._examples(drawn[~wrong], side)
            chances.append(there.double().mean().clamp(_RARE, 1 - _RARE) if len(there) else torch.tensor(0.5))
            positive, negative = found[known == bool(number)], table[there == bool(number)]
            enough = len(positive) >= _FEWEST and len(negative) >= _FEWEST
            weights.append(fit_quadratic(positive, [negative]) if enough else _plain())
        # how much more likely it is for a true completion to be known there
        weights[0]["bias"] = weights[0]["bias"] + torch.log((1 - share) / (1 - chances[0]))
        weights[1]["bias"] = weights[1]["bias"] + torch.log(share / chances[0])
        return weights[0], weights[1]

    def _examples(self, triples: LongTensor, side: int) -> tuple[FloatTensor, torch.Tensor]:
        """Return the features of one end of triples, ``(m, 8)``, and whether each is known there."""
        queries = Queries.from_triples(triples, torch.full((len(triples),), side))
        ids = queries.replaced[:, None]
        known = self.profiles.places(queries, ids).squeeze(-1) >= 0
        return self.table(queries, ids).squeeze(1), known

    # Scoring

    def table(self, queries: Queries, ids: torch.Tensor) -> FloatTensor:
        """Return the features of candidates.

        :param queries: ``q`` pairs
        :param ids: shape: ``(q, n)``, entities
        :returns: shape: ``(q, n, 8)``, in the order of :attr:`NAMES`
        """
        return self._planes(queries, ids, self.profiles.places(queries, ids)).movedim(0, -1)

    def forward(self, queries: Queries, ids: torch.Tensor, places: IntTensor | None = None) -> FloatTensor:
        """Return the scores of candidates; the higher, the likelier they are right.

        :param queries: ``q`` pairs
        :param ids: shape: ``(q, n)``, entities
        :param places: shape: ``(q, n)``, their places, if they are known already
        :returns: shape: ``(q, n)``
        """
        places = self.profiles.places(queries, ids) if places is None else places
        out = self.linear.new_empty(ids.shape)
        step = max(_CELLS // max(ids.shape[-1], 1), 1)
        for side in (HEAD, TAIL):
            for rows in torch.split((queries.side == side).nonzero().squeeze(-1), step):
                here = places[rows]
                planes = self._planes(queries[rows], ids[rows], here)
                known = here >= 0
                named = self.named.index_select(0, here.clamp(min=0).view(-1)).view(here.shape) * known
                if bool(known.all()):
                    out[rows] = self._combined(planes, side + 1).add_(named)
                    continue
                scores = self.linear.new_empty(here.shape)
                for kind, mask in ((side, ~known), (side + 1, known)):
                    scores[mask] = self._combined(planes[:, mask], kind)
                out[rows] = scores.add_(named)
        return out

    def of_range(self, queries: Queries, first: int, some: FloatTensor, mean: FloatTensor) -> FloatTensor:
        """Return the scores of all candidates from one place on, for queries for the same end of a relation.

        :param queries: ``k`` pairs
        :param first: the first place
        :param some: shape: ``(k, c)``, from :meth:`~kgneg.samplers.owner_profiles.OwnerProfiles.overlap`
        :param mean: shape: ``(k, c)``, likewise
        :returns: shape: ``(k, c)``
        """
        planes = self.linear.new_zeros(len(self.NAMES), *some.shape)
        planes[0] = self.popularity[first : first + some.shape[-1]]
        planes[1], planes[2] = some, mean
        planes[3] = some / self.profiles.norm(queries).clamp(min=1e-9)[:, None]
        if self.likeness is not None:
            self.likeness.of_range(queries, first, planes[4:])
        named = self.named[first : first + some.shape[-1]]
        return self._combined(planes, 2 * int(queries.side[0] == TAIL) + 1).add_(named)

    def _planes(self, queries: Queries, ids: torch.Tensor, places: IntTensor) -> FloatTensor:
        """Return the features of candidates, shape ``(8, q, n)``."""
        planes = self.linear.new_zeros(len(self.NAMES), *ids.shape)
        planes[1], planes[2] = self.profiles.overlap(queries, places)
        popularity = self.popularity.index_select(0, places.clamp(min=0).view(-1)).view(ids.shape)
        planes[0] = popularity.mul_(places >= 0)
        planes[3] = planes[1] / self.profiles.norm(queries).clamp(min=1e-9)[:, None]
        if self.likeness is not None:
            self.likeness(queries, ids, places, planes[4:])
        return planes

    def _combined(self, planes: FloatTensor, kind: int) -> FloatTensor:
        weights = (self.mean[kind], self.spread[kind], self.linear[kind], self.quadratic[kind])
        return combine_quadratic(planes, *weights, planes=True).add_(self.bias[kind])


def _names() -> tuple[str, ...]:
    return ("mean", "spread", "linear", "quadratic", "bias")


def _plain() -> Weights:
    """Return the weights of a score that is ``shared part``."""
    width = len(ConceptScore.NAMES)
    one = torch.zeros(width).index_fill_(0, torch.tensor([ConceptScore.NAMES.index("shared part")]), 1.0)
    parts = {"mean": torch.zeros(width), "spread": one, "linear": one.clone(), "bias": torch.zeros(())}
    return {**parts, "quadratic": torch.zeros(width, width)}


def _stacked(weights: list[Weights]) -> Weights:
    return {name: torch.stack([one[name].float() for one in weights]) for name in _names()}
