"""A lightly trained model, by which the hardness of negatives is judged."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from kgneg.audit.data import AuditData
from kgneg.audit.estimates import figure
from kgneg.audit.settings import AuditSettings
from kgneg.compare.names import find_model
from kgneg.compare.runs import METRICS, quiet_pykeen
from kgneg.compare.store import versions
from kgneg.core.cache import ArtefactCache, content_key
from kgneg.core.errors import InvalidInputError
from kgneg.core.seeding import mix_seeds
from kgneg.core.typing import FloatTensor, LongTensor

__all__ = ["Reference", "epochs_of", "make_reference"]

logger = logging.getLogger(__name__)

_PURPOSE = 0x726566
_DIM = 32
_LOSS, _RATE, _BATCH, _NEGATIVES, _SHARED = "crossentropy", 0.02, 1024, 64, 64
#: Without a given number of epochs, the model sees about so many positives, in all and per entity, in so many epochs.
_SEEN, _OF_ENTITY, _FEWEST, _MOST = 600_000, 30, 5, 50
_RANKED = 500  # triples on which the model is judged itself
_POSITIVES = 100_000  # whose scores are compared with those of negatives
_BLOCK = 1 << 16
#: A negative is hard when it scores above this quantile of the positives.
EASIEST = 0.05
#: A model that finds held-out triples plausible only by so much more often than uniform negatives tells little.
WEAK = 0.2


class Reference:
    """Scores triples, and tells where a score lies among those of training triples.

    :param model: a model of PyKEEN
    :param data: the graph
    :param seed: the seed of the choice of triples
    """

    def __init__(self, model: Any, data: AuditData, seed: int) -> None:
        self.model = model
        self.handle = _handle(model)
        positives = _sample(data.train, _POSITIVES, mix_seeds(seed, _PURPOSE, 2))
        self.positives: npt.NDArray[np.float32] = np.sort(self.score(positives).numpy())
        if not np.isfinite(self.positives).all():
            raise InvalidInputError(
                f"the reference model {type(model).__name__} gives scores that are no finite numbers: take another "
                "one, or fewer epochs"
            )
        self.threshold = float(np.quantile(self.positives, EASIEST))

    def score(self, triples: LongTensor) -> FloatTensor:
        """Return the scores of triples; higher is more plausible.

        :param triples: shape: ``(n, 3)``
        :returns: shape: ``(n,)``, float32, on the CPU
        """
        device = next(iter(self.model.parameters())).device
        training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad():
                parts = [
                    self.model.score_hrt(block.to(device)).view(-1).float().cpu()
                    for block in torch.split(triples, _BLOCK)
                ]
        finally:
            self.model.train(training)
        return torch.cat(parts) if parts else torch.empty(0)

    def places(self, scores: FloatTensor) -> npt.NDArray[np.int64]:
        """Return how many of the training triples score lower, for each score.

        :param scores: shape: ``(n,)``
        :returns: shape: ``(n,)``, from 0 to the number of training triples that were scored
        """
        found: npt.NDArray[np.int64] = np.searchsorted(self.positives, scores.numpy())
        return found

    def plausible(self, triples: LongTensor) -> dict[str, Any]:
        """Return how many triples score above the easiest training triples.

        :param triples: shape: ``(n, 3)``
        :returns: ``count``, ``total``, ``share`` (``None`` without triples)
        """
        count = int((self.score(triples) > self.threshold).sum())
        share = figure(count / len(triples)) if len(triples) else None
        return {"count": count, "total": len(triples), "share": share}

    def rank(self, data: AuditData, seed: int) -> dict[str, Any]:
        """Rank some validation triples, or test triples if there are none.

        :param data: the graph
        :param seed: the seed of the choice of triples
        :returns: ``split``, ``ranked`` (how many), ``mrr`` (filtered; ``None`` if there is nothing to rank)
        """
        from pykeen.evaluation import RankBasedEvaluator

        found = data.triples
        split, held_out = ("valid", found.validation) if found.validation is not None else ("test", found.testing)
        if held_out is None or not held_out.num_triples:
            return {"split": None, "ranked": 0, "mrr": None}
        triples = _sample(held_out.mapped_triples, _RANKED, mix_seeds(seed, _PURPOSE, 3))
        with quiet_pykeen(), torch.random.fork_rng(devices=[]):
            result = RankBasedEvaluator(filtered=True).evaluate(
                model=self.model,
                mapped_triples=triples,
                additional_filter_triples=[data.train, held_out.mapped_triples],
                batch_size=64,
                use_tqdm=False,
            )
        return {"split": split, "ranked": len(triples), "mrr": figure(result.get_metric(METRICS["mrr"]))}


def _handle(model: Any) -> Any:
    from kgneg.integrations.pykeen.handle import ModelHandle

    return ModelHandle(model)


def _sample(triples: LongTensor, number: int, seed: int) -> LongTensor:
    """Return some triples drawn without replacement, or all of them."""
    if len(triples) <= number:
        return triples
    return triples[torch.randperm(len(triples), generator=torch.Generator().manual_seed(seed))[:number]]


def epochs_of(settings: AuditSettings, triples: int, entities: int) -> int:
    """Return for how many epochs the reference model is trained.

    :param settings: the settings
    :param triples: the number of training triples
    :param entities: the number of entities
    :returns: the number that was given, or one that makes small and sparse graphs be seen often enough
    """
    if settings.reference_epochs is not None:
        return settings.reference_epochs
    return min(max(-(-max(_SEEN, _OF_ENTITY * entities) // triples), _FEWEST), _MOST)


def make_reference(settings: AuditSettings, data: AuditData, model: Any = None) -> tuple[Reference, dict[str, Any]]:
    """Train the reference model, or take it from the cache.

    :param settings: the settings
    :param data: the graph
    :param model: a trained model of PyKEEN to take instead
    :returns: the reference, and what is to be said about it
    """
    if model is not None:
        reference = Reference(model, data, settings.seed)
        return reference, {"model": type(model).__name__, "given": True, **reference.rank(data, settings.seed)}
    about = {
        "model": settings.reference,
        "given": False,
        "dim": (settings.reference_dim or _DIM) if _has_dim(settings.reference) else None,
        "epochs": epochs_of(settings, len(data.train), data.training.num_entities),
        "loss": _LOSS,
        "regularizer": None,
        "learning_rate": _RATE,
        "batch_size": _BATCH,
        "negatives": _NEGATIVES,
        "shared": _SHARED,
        "seed": settings.seed,
    }
    key = content_key(data.train, data.triples.held_out, data.sizes, about, versions())
    cache = ArtefactCache()
    kept = cache.load("audit", key)
    with quiet_pykeen(), _one_thread(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(mix_seeds(settings.seed, _PURPOSE, 1))
        model = _construct(about, data)
        if kept is None:
            _train(model, about, data)
        else:
            model.load_state_dict({name: value for name, value in kept.items() if name != "kgneg.mrr"})
        reference = Reference(model, data, settings.seed)
        if kept is None:
            ranks = reference.rank(data, settings.seed)
            mrr = float("nan") if ranks["mrr"] is None else ranks["mrr"]
            state = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
            cache.save("audit", key, {**state, "kgneg.mrr": torch.tensor(mrr, dtype=torch.float64)})
        else:
            ranks = _ranks(data, float(kept["kgneg.mrr"]))
    return reference, {**about, **ranks}


def _ranks(data: AuditData, mrr: float) -> dict[str, Any]:
    """Return what :meth:`Reference.rank` returned when the model was kept."""
    found = data.triples
    split, held_out = ("valid", found.validation) if found.validation is not None else ("test", found.testing)
    if held_out is None or not held_out.num_triples:
        return {"split": None, "ranked": 0, "mrr": None}
    return {"split": split, "ranked": min(_RANKED, int(held_out.num_triples)), "mrr": figure(mrr)}


def _has_dim(name: str) -> bool:
    return "embedding_dim" in inspect.signature(find_model(name)).parameters


def _construct(about: dict[str, Any], data: AuditData) -> Any:
    from pykeen.models import model_resolver
    from pykeen.utils import NoRandomSeedNecessary

    options = {} if about["dim"] is None else {"embedding_dim": about["dim"]}
    if "regularizer" in inspect.signature(find_model(about["model"])).parameters:
        options["regularizer"] = None  # that of DistMult can shrink a relation to nothing before it is learned
    return model_resolver.make(
        about["model"],
        triples_factory=data.training,
        loss=about["loss"],
        random_seed=NoRandomSeedNecessary,  # the stream is seeded already, and only torch's
        **options,
    )


def _train(model: Any, about: dict[str, Any], data: AuditData) -> None:
    from pykeen.training import training_loop_resolver

    import kgneg.integrations.pykeen  # noqa: F401  # registers the loop

    logger.info("training %s for %d epochs to judge hardness", about["model"], about["epochs"])
    loop = training_loop_resolver.make(
        "kgneg",
        model=model,
        triples_factory=data.training,
        optimizer=torch.optim.Adam(model.parameters(), lr=about["learning_rate"]),
        shared=about["shared"],
        negative_sampler="basic",
        negative_sampler_kwargs={"num_negs_per_pos": about["negatives"]},
        automatic_memory_optimization=False,
    )
    loop.train(
        triples_factory=data.training,
        num_epochs=about["epochs"],
        batch_size=min(about["batch_size"], len(data.train)),
        use_tqdm=False,
        use_tqdm_batch=False,
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute with one thread, so that sums do not depend on the number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
