"""kgneg's samplers, filterer, loss weighter and datasets in PyKEEN.

Nothing has to be imported: PyKEEN loads this package by itself (``from pykeen.pipeline import pipeline`` is enough),
after which ``negative_sampler="lemon"`` works in ``pipeline``, ``hpo_pipeline``, experiment files and training loops.
"""

from __future__ import annotations

# first: importing it loads the entry point below in the right order, whichever of the two packages comes first
import pykeen.datasets  # noqa: F401  # isort: skip

from typing import TYPE_CHECKING, Any

from pykeen.sampling import negative_sampler_resolver
from pykeen.sampling.filtering import filterer_resolver
from pykeen.triples.weights import loss_weighter_resolver

from kgneg.integrations.pykeen.base import KgnegNegativeSampler
from kgneg.integrations.pykeen.concept import ConceptNegativeSampler
from kgneg.integrations.pykeen.confidence import ConfidenceWeighter
from kgneg.integrations.pykeen.datasets import KgnegDataset, to_pykeen
from kgneg.integrations.pykeen.dynamic import DynamicNegativeSampler
from kgneg.integrations.pykeen.filterer import ExactFilterer
from kgneg.integrations.pykeen.given import GivenNegativeSampler
from kgneg.integrations.pykeen.handle import ModelAwareNegativeSampler, ModelHandle
from kgneg.integrations.pykeen.lemon import LemonNegativeSampler
from kgneg.integrations.pykeen.lemon_plus import LemonPlusNegativeSampler
from kgneg.integrations.pykeen.mixture import MixtureNegativeSampler
from kgneg.integrations.pykeen.noise import KnnNoiseFilterer
from kgneg.integrations.pykeen.nscaching import NSCachingNegativeSampler
from kgneg.integrations.pykeen.popularity import PopularityNegativeSampler
from kgneg.integrations.pykeen.registration import when_imported
from kgneg.integrations.pykeen.sans import SansNegativeSampler
from kgneg.integrations.pykeen.taxonomy import TaxonomyNegativeSampler
from kgneg.integrations.pykeen.typed import TypedNegativeSampler
from kgneg.integrations.pykeen.uniform import KgnegBernoulliNegativeSampler, KgnegUniformNegativeSampler
from kgneg.integrations.pykeen.verdicts import VerdictWeighter

if TYPE_CHECKING:
    from kgneg.integrations.pykeen.training import KgnegTrainingLoop

__all__ = [
    "SAMPLERS",
    "ConceptNegativeSampler",
    "ConfidenceWeighter",
    "DynamicNegativeSampler",
    "ExactFilterer",
    "GivenNegativeSampler",
    "KgnegBernoulliNegativeSampler",
    "KgnegDataset",
    "KgnegNegativeSampler",
    "KgnegTrainingLoop",
    "KgnegUniformNegativeSampler",
    "KnnNoiseFilterer",
    "LemonNegativeSampler",
    "LemonPlusNegativeSampler",
    "MixtureNegativeSampler",
    "ModelAwareNegativeSampler",
    "ModelHandle",
    "NSCachingNegativeSampler",
    "PopularityNegativeSampler",
    "SansNegativeSampler",
    "TaxonomyNegativeSampler",
    "TypedNegativeSampler",
    "VerdictWeighter",
    "to_pykeen",
]

#: All samplers that are registered with PyKEEN.
SAMPLERS: tuple[type[KgnegNegativeSampler], ...] = (
    KgnegUniformNegativeSampler,
    KgnegBernoulliNegativeSampler,
    PopularityNegativeSampler,
    TypedNegativeSampler,
    TaxonomyNegativeSampler,
    LemonNegativeSampler,
    LemonPlusNegativeSampler,
    ConceptNegativeSampler,
    SansNegativeSampler,
    MixtureNegativeSampler,
    GivenNegativeSampler,
    DynamicNegativeSampler,
    NSCachingNegativeSampler,
)


def __getattr__(name: str) -> Any:
    if name == "KgnegTrainingLoop":
        from kgneg.integrations.pykeen.training import KgnegTrainingLoop

        return KgnegTrainingLoop
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _register_training() -> None:
    """Register the training loop and the row-wise optimisers."""
    from pykeen.training import training_loop_resolver

    from kgneg.integrations.pykeen.training.loop import KgnegTrainingLoop
    from kgneg.integrations.pykeen.training.optimizers import register

    training_loop_resolver.register(KgnegTrainingLoop, raise_on_conflict=False)
    register()


for _sampler in SAMPLERS:
    # a name may be spelled unlike the class
    negative_sampler_resolver.register(_sampler, synonyms={_sampler.display_name}, raise_on_conflict=False)
filterer_resolver.register(ExactFilterer, raise_on_conflict=False)
filterer_resolver.register(KnnNoiseFilterer, raise_on_conflict=False)
loss_weighter_resolver.register(ConfidenceWeighter, synonyms={"confidence"}, raise_on_conflict=False)
loss_weighter_resolver.register(VerdictWeighter, synonyms={"verdicts"}, raise_on_conflict=False)
when_imported("pykeen.training", _register_training)
