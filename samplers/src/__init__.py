"""Methods that make negatives.

Every method is a :class:`~kgneg.core.corruption.Corruptor`: called with a batch of positives and a number, it returns
:class:`~kgneg.core.negatives.Negatives`. Given an index of known triples it never returns one of them.
The last two read the scores of a model, which they have to be given (:class:`~kgneg.core.handles.ModelAware`).

============================  ==============================================  =========================================
class                         candidates                                      use it for
============================  ==============================================  =========================================
:class:`UniformCorruptor`     any entity                                      the baseline to beat
:class:`PopularityCorruptor`  frequent entities more often                    sampled softmax, recommendation
:class:`TypedCorruptor`       domain and range of the relation                hard negatives without any text
:class:`LemonCorruptor`       text clusters near the kept or replaced entity  hard negatives from texts
:class:`TaxonomyCorruptor`    siblings, similar names, nearby vectors         hard negatives from a hierarchy
:class:`ConceptCorruptor`     known there, with owners of another sort        distractors, fewer true ones than typed
:class:`SansCorruptor`        entities few hops from the kept one             hard negatives from the graph alone
:class:`LemonPlusCorruptor`   plausible ones that fit, below a ceiling         hard negatives that are seldom true
:class:`GivenCorruptor`       a table of negatives                            negatives that people verified
:class:`MixtureCorruptor`     others, in fixed shares                         hard negatives among easy ones
:class:`DynamicCorruptor`     the best of some random entities, by the model  negatives that stay hard
:class:`NSCachingCorruptor`   a cache per pair that follows the model         hard negatives that the sampler remembers
============================  ==============================================  =========================================

:class:`NoiseFilter` goes the other way: it judges negatives that are there, and finds the positives among them.
"""

from __future__ import annotations

from class_resolver import ClassResolver

from kgneg.core.corruption import Corruptor
from kgneg.samplers.concept import ConceptCorruptor
from kgneg.samplers.concept_parts import MODES, ConceptParts, learn_concepts
from kgneg.samplers.concept_score import ConceptScore
from kgneg.samplers.dynamic import DynamicCorruptor
from kgneg.samplers.given import GivenCorruptor
from kgneg.samplers.lemon import LemonCorruptor
from kgneg.samplers.lemon_plus import LemonPlusCorruptor
from kgneg.samplers.lemon_pools import LemonPools, LemonSettings, build_lemon_pools
from kgneg.samplers.mixture import MixtureCorruptor
from kgneg.samplers.neighbourhood import NeighbourhoodCorruptor
from kgneg.samplers.neighbourhoods import (
    edit_distance_pools,
    embedding_pools,
    occurring_together,
    same_names,
    similar_pairs,
    unite,
)
from kgneg.samplers.noise import NoiseFilter, NoiseReport, parekh_es, parekh_is
from kgneg.samplers.nscaching import NSCachingCorruptor
from kgneg.samplers.owner_profiles import PROPOSALS, OwnerProfiles, signature_features
from kgneg.samplers.pairs import pair_options, pair_triples
from kgneg.samplers.popularity import PopularityCorruptor, count_entities, popularity_weights
from kgneg.samplers.sans import SansCorruptor, build_sans_pools
from kgneg.samplers.taxonomy import TaxonomyCorruptor
from kgneg.samplers.typed import TypedCorruptor, pools_from_types
from kgneg.samplers.uniform import UniformCorruptor

__all__ = [
    "MODES",
    "PROPOSALS",
    "ConceptCorruptor",
    "ConceptParts",
    "ConceptScore",
    "DynamicCorruptor",
    "GivenCorruptor",
    "LemonCorruptor",
    "LemonPlusCorruptor",
    "LemonPools",
    "LemonSettings",
    "MixtureCorruptor",
    "NSCachingCorruptor",
    "NeighbourhoodCorruptor",
    "NoiseFilter",
    "NoiseReport",
    "OwnerProfiles",
    "PopularityCorruptor",
    "SansCorruptor",
    "TaxonomyCorruptor",
    "TypedCorruptor",
    "UniformCorruptor",
    "build_lemon_pools",
    "build_sans_pools",
    "corruptor_resolver",
    "count_entities",
    "edit_distance_pools",
    "embedding_pools",
    "learn_concepts",
    "occurring_together",
    "pair_options",
    "pair_triples",
    "parekh_es",
    "parekh_is",
    "pools_from_types",
    "popularity_weights",
    "same_names",
    "signature_features",
    "similar_pairs",
    "unite",
]

#: Finds a corruptor class by its name: ``corruptor_resolver.lookup("lemon")``.
corruptor_resolver: ClassResolver[Corruptor] = ClassResolver(
    [
        UniformCorruptor,
        PopularityCorruptor,
        TypedCorruptor,
        NeighbourhoodCorruptor,
        TaxonomyCorruptor,
        LemonCorruptor,
        LemonPlusCorruptor,
        ConceptCorruptor,
        SansCorruptor,
        GivenCorruptor,
        MixtureCorruptor,
        DynamicCorruptor,
        NSCachingCorruptor,
    ],
    base=Corruptor,  # type: ignore[type-abstract]
    default=UniformCorruptor,
)
