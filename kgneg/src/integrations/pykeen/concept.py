"""Concept-constrained negatives in PyKEEN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from kgneg.core.cache import content_key
from kgneg.core.candidates import CandidateIndex
from kgneg.core.corruption import Corruptor
from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import LongTensor
from kgneg.core.validation import choose, validate_flag, validate_share
from kgneg.integrations.pykeen.base import NUM_NEGS_RANGE, KgnegNegativeSampler
from kgneg.integrations.pykeen.entity_features import entity_features, type_features
from kgneg.integrations.pykeen.lemon import entity_vectors
from kgneg.integrations.pykeen.setup import Setup
from kgneg.samplers import MODES, PROPOSALS, ConceptCorruptor, ConceptParts, learn_concepts

__all__ = ["ConceptNegativeSampler"]

_SEED = 0


class ConceptNegativeSampler(KgnegNegativeSampler):
    """Negatives known at the same end of the relation whose owners have little in common with the entity that stays.

    The owners of a tail are the heads that are known with it. A candidate whose owners resemble the head that asks is
    likely to be right for it as well, and is refused. Nothing but the triples is needed: features of entities come from
    types, from a hierarchy among the relations, or else from the relations that an entity takes part in.

    :param mapped_triples: shape: ``(m, 3)``, the training triples
    :param num_entities: the number of entities; ``None`` infers it
    :param num_relations: the number of relations; ``None`` infers it
    :param num_negs_per_pos: the number of negatives per positive, 1 by default
    :param filtered: whether known triples are excluded, exactly
    :param filterer: a PyKEEN filterer to apply on top
    :param filterer_kwargs: its arguments
    :param features: what entities are about: ``"auto"``; or ``"types"``, ``"hierarchy"``, ``"relations"`` and
        ``"words"``, several with ``+``; or features by entity label, as a mapping or a file of two columns; or entities
        x features as a :class:`~kgneg.core.candidates.CandidateIndex`
    :param require: ``"types"``: a candidate must share a type with the entity that it replaces; ``None``: that it is
        known at that end is enough; or entities x kinds
    :param mode: ``"weighted"`` refuses the share ``budget`` of the proposals that is likeliest to be right, ``"paper"``
        all that share any feature
    :param budget: which share of the proposals is refused, in ``[0, 1)``
    :param proposal: how likely a candidate is to be proposed: ``"uniform"``, all that are known at that end alike;
        ``"owners"``, a random owner names one of its own, as in the paper, which draws popular ones more often, and so
        more that are true; ``"triples"``, by the number of its owners
    :param texts: for words and vectors: where texts come from, see ``lemon``
    :param encoder: what makes vectors of texts that are compared as well, see ``lemon``; ``None``: none are made
    :param vectors: entity vectors instead of texts
    :param precompute: whether it is worked out beforehand what is refused; ``None``: if there are few enough pairs
    :param sides: which end to replace; see ``kgneg-uniform``
    :param fn_budget: at most how many times as many unknown true triples as among uniform negatives may be drawn, at
        least 1; ``None``: any number
    :param seed: the seed of the private generator; ``None`` takes torch's initial seed
    """

    display_name: ClassVar[str] = "concept"
    citation: ClassVar[str] = ConceptCorruptor.citation
    hpo_default: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        **NUM_NEGS_RANGE,
        "budget": {"type": float, "low": 0.0, "high": 0.6},
        "proposal": {"type": "categorical", "choices": list(PROPOSALS)},
        "sides": {"type": "categorical", "choices": ["uniform", "single", "bernoulli", "alternate"]},
    }

    def __init__(
        self,
        *,
        mapped_triples: LongTensor,
        num_entities: int | None = None,
        num_relations: int | None = None,
        num_negs_per_pos: int | None = None,
        filtered: bool = True,
        filterer: Any = None,
        filterer_kwargs: Mapping[str, Any] | None = None,
        features: Any = "auto",
        require: Any = None,
        mode: str = "weighted",
        budget: float = 0.2,
        proposal: str = "uniform",
        texts: Any = None,
        encoder: Any = None,
        vectors: Any = None,
        precompute: bool | None = None,
        sides: str = "uniform",
        fn_budget: float | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(
            mapped_triples=mapped_triples,
            num_entities=num_entities,
            num_relations=num_relations,
            num_negs_per_pos=num_negs_per_pos,
            filtered=filtered,
            filterer=filterer,
            filterer_kwargs=filterer_kwargs,
            fn_budget=fn_budget,
            seed=seed,
            options={
                "features": features,
                "require": require,
                "rule": {
                    "mode": choose("mode", mode, MODES),
                    "budget": validate_share("budget", budget),
                    "proposal": choose("proposal", proposal, PROPOSALS),
                    "precompute": precompute if precompute is None else validate_flag("precompute", precompute),
                },
                "source": {"texts": texts, "encoder": encoder, "vectors": vectors},
                "sides": sides,
            },
        )

    @classmethod
    def make_corruptor(  # type: ignore[override]
        cls,
        setup: Setup,
        common: dict[str, Any],
        *,
        features: Any,
        require: Any,
        rule: Mapping[str, Any],
        source: Mapping[str, Any],
        sides: str,
    ) -> Corruptor:
        """Build the corruptor.

        :param setup: the graph
        :param common: the arguments of every corruptor
        :param features: where features of entities come from
        :param require: what a candidate must share with the entity that it replaces
        :param rule: what is refused
        :param source: where texts and vectors come from
        :param sides: the name of the side policy
        :returns: the corruptor
        """
        of_triples, names = entity_features(setup, features, source["texts"])
        vectors = None
        if source["encoder"] is not None or source["vectors"] is not None:
            encoder = "auto" if source["encoder"] is None else source["encoder"]
            vectors = entity_vectors(setup, **{**source, "encoder": encoder}, missing_text="label")
        ends = {"head": (0,), "tail": (1,)}.get(sides, (0, 1))
        # features that relations are made of say nothing about those relations, whatever the rule
        drop = True if "relations" in names or rule["mode"] == "weighted" else None

        def learn() -> ConceptParts:
            return learn_concepts(
                setup.mapped_triples,
                of_triples,
                vectors=vectors,
                ends=ends,
                drop_universal=drop,
                seed=_SEED,
                **rule,
                **setup.sizes,
            )

        table = of_triples(setup.mapped_triples)
        key = [
            table.fingerprint(),
            names,
            None if vectors is None else content_key(vectors),
            sorted(rule.items()),
            ends,
            drop,
        ]
        parts = setup.build("concepts", key, learn)
        return ConceptCorruptor(parts, require=_kinds(setup, require), sides=setup.sides(sides), **common)


def _kinds(setup: Setup, require: Any) -> CandidateIndex | None:
    if require is None or isinstance(require, CandidateIndex):
        return require
    if require != "types":
        raise InvalidInputError(f"require={require!r}: give 'types', None, or entities x kinds as a CandidateIndex")
    return type_features(setup, broader=False)
