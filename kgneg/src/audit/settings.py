"""The settings of an audit, checked before any work."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any

from kgneg.audit.sources import Source, as_source
from kgneg.compare.names import find_model
from kgneg.core.errors import InvalidInputError
from kgneg.core.validation import validate_count, validate_device

__all__ = ["BASELINE", "AuditSettings"]

#: What all samplers are compared with: uniform draws from what is not a known triple.
BASELINE = "kgneg-uniform"


@dataclass(frozen=True)
class AuditSettings:
    """What is audited, and how closely.

    :param samplers: one or more samplers: texts as for :class:`~kgneg.compare.SamplerChoice` or ``module:Class``,
        classes, instances, functions; see :func:`~kgneg.audit.sources.as_source`
    :param dataset: a name that kgneg or PyKEEN knows, a folder, or an RDF file, which is split 8 : 1 : 1; ``None`` if
        files are given instead
    :param train: a file of training triples, instead of ``dataset``
    :param valid: a file of validation triples
    :param test: a file of test triples, required with ``train``
    :param negatives: negatives per positive
    :param draws: how many negatives to draw from each sampler, at least
    :param seed: the seed of everything
    :param reference: the model of PyKEEN by which hardness is judged
    :param reference_epochs: for how many epochs it is trained; ``None``: 5 to 50, fewer for larger graphs
    :param reference_dim: the dimension of its embeddings; ``None`` takes 32, or what PyKEEN has for a model without
        that setting
    :param verified: a file, or a folder with files, of triples that people have called false; ``None`` takes those in
        the folder of the graph
    :param examples: how many of the worst negatives to show
    :param device: where negatives are drawn: ``"cpu"``, ``"cuda"``, ``"cuda:1"``. All else is done on the CPU
    :param texts: texts of the entities for samplers that read texts; ``None`` takes those of the graph
    :param encoder: what makes vectors of texts; ``None`` leaves the choice to the sampler
    :param missing_text: ``"error"`` or ``"label"``; ``None`` leaves the choice to the sampler
    :raises UnknownNameError: if a sampler, an option or the model is not known
    :raises InvalidInputError: if a value is out of range, samplers repeat, or the source of triples is unclear

    >>> AuditSettings(dataset="nations", samplers=("basic",)).negatives
    32
    """

    samplers: tuple[Any, ...]
    dataset: str | None = None
    train: str | None = None
    valid: str | None = None
    test: str | None = None
    negatives: int = 32
    draws: int = 1_000_000
    seed: int = 0
    reference: str = "distmult"
    reference_epochs: int | None = None
    reference_dim: int | None = None
    verified: str | None = None
    examples: int = 10
    device: str = "cpu"
    texts: str | None = None
    encoder: str | None = None
    missing_text: str | None = None
    sources: tuple[Source, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._check_numbers()
        self._check_source()
        self._check_model()
        validate_device(self.device, auto=False)
        if not isinstance(self.samplers, tuple | list) or not self.samplers:
            raise InvalidInputError("samplers must name at least one sampler; write ('basic', 'lemon')")
        sources = tuple(as_source(one) for one in self.samplers)
        labels = [source.label for source in sources]
        repeated = sorted({label for label in labels if labels.count(label) > 1})
        if repeated:
            raise InvalidInputError(
                f"samplers must differ, got {', '.join(repeated)} twice; a pair ('label', sampler) names one"
            )
        object.__setattr__(self, "samplers", tuple(self.samplers))
        object.__setattr__(self, "sources", sources)
        self._check_texts()

    def _check_numbers(self) -> None:
        for name in ("negatives", "draws"):
            validate_count(name, getattr(self, name))
        validate_count("examples", self.examples, 0)
        if validate_count("seed", self.seed, 0) >= 2**32:
            raise InvalidInputError(f"seed must be below 2**32, got {self.seed}")
        for name in ("reference_epochs", "reference_dim"):
            if getattr(self, name) is not None:
                validate_count(name, getattr(self, name))

    def _check_source(self) -> None:
        files = {"train": self.train, "valid": self.valid, "test": self.test}
        given = [name for name, value in files.items() if value is not None]
        if self.dataset is not None and given:
            raise InvalidInputError(
                f"give a dataset or files, not both: got dataset={self.dataset!r} and {', '.join(given)}"
            )
        if self.dataset is None and not (self.train and self.test):
            raise InvalidInputError("give a dataset, or at least a train and a test file")

    def _check_model(self) -> None:
        model = find_model(self.reference)
        if self.reference_dim is not None and "embedding_dim" not in inspect.signature(model).parameters:
            raise InvalidInputError(f"the model {self.reference!r} has no embedding_dim, so its dim cannot be set")
        if self.missing_text not in (None, "error", "label"):
            raise InvalidInputError(f"missing_text must be error or label, got {self.missing_text!r}")

    def _check_texts(self) -> None:
        given = {name: value for name in ("encoder", "missing_text") if (value := getattr(self, name)) is not None}
        if given and all(source.with_texts(given, None).choice == source.choice for source in self.sources):
            raise InvalidInputError(
                f"{', '.join(given)} would have no effect: none of the samplers reads texts that are not set already"
            )

    @property
    def text_arguments(self) -> dict[str, Any]:
        """The arguments about texts that are meant for all samplers."""
        return {"texts": self.texts, "encoder": self.encoder, "missing_text": self.missing_text}

    def to_dict(self) -> dict[str, Any]:
        """Return what results depend on as JSON has it; where files lie is left out."""
        skipped = ("samplers", "sources", "dataset", "train", "valid", "test", "verified", "texts")
        found = {name: value for name, value in vars(self).items() if name not in skipped}
        return {**found, "samplers": [source.to_dict() for source in self.sources]}
