"""What concept-constrained sampling learns from the known triples."""

from __future__ import annotations

from typing import NamedTuple

import torch

from kgneg.core.candidates import CandidateIndex
from kgneg.core.errors import InvalidInputError
from kgneg.core.queries import Queries
from kgneg.core.seeding import mix_seeds
from kgneg.core.triples import TripleIndex
from kgneg.core.typing import HEAD, TAIL, BoolTensor, FloatTensor, LongTensor
from kgneg.core.validation import choose, validate_flag, validate_share, validate_triples
from kgneg.samplers.concept_score import ConceptScore, Features
from kgneg.samplers.concept_verdicts import Verdicts, shares_any, table_bits
from kgneg.samplers.owner_profiles import OwnerProfiles

__all__ = ["MODES", "ConceptParts", "learn_concepts"]

#: Which candidates are refused: those above a score, or all that share any feature.
MODES = ("weighted", "paper")
_PURPOSE = 0x6C696D6974
_EXAMPLES, _SAMPLE = 50_000, 5_000
_MOST_REFUSALS = 0.75
#: bits that are worked out beforehand without being asked for; scores take some seconds for a hundred millions
_MOST_BITS, _MOST_SCORES = 1 << 30, 1 << 28


class ConceptParts(NamedTuple):
    """What was learned."""

    #: the owners of each candidate
    profiles: OwnerProfiles
    #: the places to draw from, two rows per relation
    pools: CandidateIndex
    #: how likely candidates are right; ``None``: the paper's rule
    score: ConceptScore | None
    #: shape: ``(2,)``, for heads and tails the score above which candidates are refused
    limit: FloatTensor | None
    #: what is refused, for all pairs, if it was worked out beforehand
    verdicts: Verdicts | None
    #: which share of the proposals is refused, at most 3/4
    refusals: float
    #: shape: ``(m, 3)``, the known triples, each once
    triples: LongTensor


def learn_concepts(
    triples: LongTensor,
    features: Features,
    *,
    num_entities: int,
    num_relations: int,
    mode: str = "weighted",
    budget: float = 0.2,
    proposal: str = "owners",
    weights: torch.Tensor | None = None,
    vectors: torch.Tensor | None = None,
    dim: int = 32,
    drop_universal: bool | None = None,
    precompute: bool | None = None,
    ends: tuple[int, ...] = (0, 1),
    seed: int = 0,
) -> ConceptParts:
    """Learn who owns what, and what may be taken, from the known triples.

    :param triples: shape: ``(m, 3)``, the known triples
    :param features: entities x features: words, concepts, types, whatever tells what an entity is about; or, if they
        are made of triples, a function that makes them, so that the score does not learn from what it is to find
    :param num_entities: the number of entities
    :param num_relations: the number of relations
    :param mode: ``"weighted"`` refuses what scores high, ``"paper"`` what shares any feature
    :param budget: for ``"weighted"``: which share of the proposals is refused, in ``[0, 1)``
    :param proposal: how likely a candidate is to be proposed: ``"owners"``, as in the paper, a random owner names one
        of its own; ``"triples"``, by how many owners it has; ``"uniform"``, all alike
    :param weights: shape: ``(features,)``, how much it says that a feature is shared; ``None``: the logarithm of how
        many entities there are for each that has it; for the paper's rule all features count alike
    :param vectors: shape: ``(num_entities, d)``, of texts: then the score looks at them too
    :param dim: how many components of the vectors are used, or of the features where there are no vectors; 0: none
    :param drop_universal: whether features that all owners at an end share count for nothing there; ``None``: in
        mode ``"weighted"``
    :param precompute: whether it is worked out beforehand for all pairs what is refused, one bit each, which makes
        draws many times faster; ``None``: if there are few enough, up to 128 MiB for the paper's rule, 32 for scores
    :param ends: for which ends that is done, 0 for heads and 1 for tails
    :param seed: the seed of all that is random
    :returns: what was learned
    :raises InvalidInputError: if something is malformed or unknown

    >>> features = CandidateIndex.from_lists([[0], [0], [1], [], [], []], num_columns=2)
    >>> triples = torch.tensor([[0, 0, 3], [1, 0, 4], [2, 0, 5]])
    >>> learn_concepts(triples, features, num_entities=6, num_relations=1, mode="paper").pools.size(torch.tensor([1]))
    tensor([3])
    """
    sizes = {"num_entities": num_entities, "num_relations": num_relations}
    choose("mode", mode, MODES)
    if validate_share("budget", budget) == 1:
        raise InvalidInputError("budget=1 refuses every candidate: take less, 0.2 for example")
    if drop_universal is not None:
        validate_flag("drop_universal", drop_universal)
    if precompute is not None:
        validate_flag("precompute", precompute)
    triples = torch.unique(validate_triples(triples, **sizes).reshape(-1, 3).cpu(), dim=0)
    features = getattr(features, "features", features)  # those of phrases, as kgneg.datasets has them
    if not isinstance(features, CandidateIndex) and not callable(features):
        raise InvalidInputError(
            f"features must be a CandidateIndex, entities x features, got {type(features).__name__}"
        )
    drop = mode == "weighted" if drop_universal is None else drop_universal
    score = limit = None
    if mode == "paper":
        table = features if isinstance(features, CandidateIndex) else features(triples)
        alike = torch.ones(table.num_columns)
        profiles = OwnerProfiles(triples, table, weights=alike, drop_universal=drop, **sizes)
    else:
        score = ConceptScore.fit(
            triples, features, vectors=vectors, dim=dim, seed=seed, weights=weights, drop_universal=drop, **sizes
        )
        profiles = score.profiles
    pools = profiles.pools(proposal, triples)
    if score is not None:
        limit = _limits(score, pools, triples, budget, seed)
    if precompute is None:
        precompute = table_bits(profiles, ends) <= (_MOST_BITS if score is None else _MOST_SCORES)
    verdicts = None
    if precompute:

        def too_high(queries: Queries, first: int, some: FloatTensor, mean: FloatTensor) -> BoolTensor:
            assert score is not None and limit is not None  # noqa: S101
            return score.of_range(queries, first, some, mean) > limit[int(queries.side[0] == TAIL)]

        verdicts = Verdicts(profiles, shares_any if score is None else too_high, known=triples, ends=ends)
    refusals = budget if score is not None else _refusals(profiles, pools, triples, ends, seed)
    return ConceptParts(profiles, pools, score, limit, verdicts, min(refusals, _MOST_REFUSALS), triples)


def _refusals(
    profiles: OwnerProfiles, pools: CandidateIndex, triples: LongTensor, ends: tuple[int, ...], seed: int
) -> float:
    """Return which share of the proposals the paper's rule refuses."""
    generator = torch.Generator().manual_seed(mix_seeds(seed, _PURPOSE, 1))
    found = []
    for end in ends:
        asked = triples[torch.randint(len(triples), (min(_SAMPLE, 8 * len(triples)),), generator=generator)]
        queries = Queries.from_triples(asked, torch.full((len(asked),), 2 * end))
        places, _ = pools.sample(profiles.slots(queries), 1, generator)
        found.append(profiles.shares_any(queries, places).double().mean())
    return float(torch.stack(found).mean())


def _limits(score: ConceptScore, pools: CandidateIndex, triples: LongTensor, budget: float, seed: int) -> FloatTensor:
    """Return for both ends the score above which the given share of the proposals lies."""
    generator = torch.Generator().manual_seed(mix_seeds(seed, _PURPOSE))
    index = TripleIndex(
        triples, num_entities=score.profiles.num_entities, num_relations=score.profiles.num_relations, keys="auto"
    )
    if not budget:
        return torch.full((2,), torch.inf)
    limits = []
    for side in (HEAD, TAIL):
        asked = triples[torch.randint(len(triples), (min(_EXAMPLES, 8 * len(triples)),), generator=generator)]
        queries = Queries.from_triples(asked, torch.full((len(asked),), side))
        places, _ = pools.sample(score.profiles.slots(queries), 1, generator)
        ids = score.profiles.member[places.long()]
        asked[:, side] = ids.squeeze(-1)
        scores = score(queries, ids, places).squeeze(-1)[~index.contains(asked)]
        limits.append(scores.double().quantile(1 - budget) if len(scores) else torch.tensor(torch.inf))
    return torch.stack([one.float() for one in limits])
