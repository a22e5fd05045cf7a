"""The settings of a comparison, checked before any work."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from kgneg.compare.names import find_loss, find_model
from kgneg.compare.samplers import SamplerChoice
from kgneg.core.errors import InvalidInputError
from kgneg.core.validation import choose, validate_count, validate_device

__all__ = ["CompareSettings"]

_LOOPS = ("auto", "slcwa", "kgneg")


@dataclass(frozen=True)
class CompareSettings:
    """What is compared, and what is held equal.

    :param samplers: two or more samplers (or one), the first of which is the baseline; texts are parsed, see
        :meth:`SamplerChoice.parse`
    :param dataset: a name that PyKEEN knows, a folder or an RDF file (see :func:`kgneg.datasets.load`; an RDF file is
        split 8 : 1 : 1); ``None`` if files are given instead
    :param train: a file of training triples, instead of ``dataset``
    :param valid: a file of validation triples, optional with ``train``
    :param test: a file of test triples, required with ``train``
    :param model: a model of PyKEEN
    :param loss: a loss of PyKEEN; ``None`` takes the one that PyKEEN has for the model
    :param epochs: the number of epochs
    :param seeds: one run per sampler and seed
    :param negatives: negatives per positive
    :param dim: the dimension of the embeddings; ``None`` takes 64, or what PyKEEN has for a model without that setting
    :param learning_rate: of Adam
    :param batch_size: positives per step
    :param eval_batch_size: test triples that are ranked at once
    :param device: where to train: ``"auto"`` (a GPU if there is one), ``"cpu"``, ``"cuda"``, ``"cuda:1"``
    :param loop: the training loop: ``"slcwa"`` is PyKEEN's own, ``"kgneg"`` that of kgneg with dense updates, which on
        the CPU gives the same losses for the same negatives. ``"auto"`` takes PyKEEN's, and that of kgneg for samplers
        that look at the model, which PyKEEN's does not show to them
    :param texts: texts of the entities for samplers that read texts: a TSV file, a folder, or the name of a graph;
        ``None`` takes those that came with the graph
    :param encoder: what makes vectors of texts; ``None`` leaves the choice to the sampler
    :param missing_text: ``"error"`` or ``"label"``; ``None`` leaves the choice to the sampler
    :param checked: how many negatives to draw, at least, to count true ones among them
    :raises UnknownNameError: if a sampler, an option, the model or the loss is not known
    :raises InvalidInputError: if a value is out of range, samplers or seeds repeat, or the source of triples is unclear

    >>> CompareSettings(dataset="nations", samplers=("basic",), epochs=2).batch_size
    256
    """

    samplers: tuple[SamplerChoice | str, ...]
    dataset: str | None = None
    train: str | None = None
    valid: str | None = None
    test: str | None = None
    model: str = "transe"
    loss: str | None = None
    epochs: int = 50
    seeds: tuple[int, ...] = (0, 1, 2)
    negatives: int = 10
    dim: int | None = None
    learning_rate: float = 0.01
    batch_size: int = 256
    eval_batch_size: int = 64
    device: str = "auto"
    loop: str = "auto"
    texts: str | None = None
    encoder: str | None = None
    missing_text: str | None = None
    checked: int = 10_000
    choices: tuple[SamplerChoice, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._check_numbers()
        self._check_source()
        validate_device(self.device)
        self._check_model()
        if isinstance(self.samplers, str) or not self.samplers:
            raise InvalidInputError("samplers must name at least one sampler; write ('basic', 'lemon')")
        choices = tuple(SamplerChoice.parse(one) if isinstance(one, str) else one for one in self.samplers)
        labels = [choice.label for choice in choices]
        repeated = {label for label in labels if labels.count(label) > 1}
        if repeated:
            raise InvalidInputError(
                f"samplers must differ, got {', '.join(map(str, sorted(map(str, repeated))))} twice"
            )
        object.__setattr__(self, "choices", choices)
        self._check_loop()
        self._check_texts()

    def _check_numbers(self) -> None:
        for name in ("epochs", "negatives", "batch_size", "eval_batch_size", "checked"):
            validate_count(name, getattr(self, name))
        if self.dim is not None:
            validate_count("dim", self.dim)
        rate = self.learning_rate
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not math.isfinite(rate) or rate <= 0:
            raise InvalidInputError(f"learning_rate must be a positive number, got {rate!r}")
        if isinstance(self.seeds, int) or not self.seeds:
            raise InvalidInputError(f"seeds must be a tuple of at least one integer, got {self.seeds!r}")
        for seed in self.seeds:
            if validate_count("a seed", seed, 0) >= 2**32:
                raise InvalidInputError(f"a seed must be below 2**32, got {seed}")
        if len(set(self.seeds)) < len(self.seeds):
            raise InvalidInputError(f"seeds must differ, got {', '.join(map(str, self.seeds))}")

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
        model = find_model(self.model)
        if self.loss is not None:
            find_loss(self.loss)
        if self.dim is not None and "embedding_dim" not in inspect.signature(model).parameters:
            raise InvalidInputError(f"the model {self.model!r} has no embedding_dim, so dim cannot be set")
        if self.missing_text not in (None, "error", "label"):
            raise InvalidInputError(f"missing_text must be error or label, got {self.missing_text!r}")

    def _check_loop(self) -> None:
        choose("loop", self.loop, _LOOPS)
        blind = [choice.label for choice in self.choices if choice.needs_model]
        if self.loop == "slcwa" and blind:
            raise InvalidInputError(
                f"PyKEEN's training loop does not show the model to {', '.join(map(str, blind))}: leave out "
                "loop='slcwa', or take loop='kgneg' for all samplers"
            )

    def loop_of(self, choice: SamplerChoice) -> str:
        """Return the training loop of a sampler.

        :param choice: the sampler
        :returns: ``"slcwa"`` or ``"kgneg"``
        """
        if self.loop != "auto":
            return self.loop
        return "kgneg" if choice.needs_model else "slcwa"

    def _check_texts(self) -> None:
        from kgneg.compare.samplers import with_texts

        given = {
            name: value for name in ("texts", "encoder", "missing_text") if (value := getattr(self, name)) is not None
        }
        if given and not any(with_texts(choice, given, default_texts=None) != choice for choice in self.choices):
            raise InvalidInputError(
                f"{', '.join(given)} would have no effect: none of the samplers reads texts that are not set already"
            )

    @property
    def text_arguments(self) -> dict[str, Any]:
        """The arguments about texts that are meant for all samplers."""
        return {"texts": self.texts, "encoder": self.encoder, "missing_text": self.missing_text}

    @property
    def model_arguments(self) -> Mapping[str, Any]:
        """What PyKEEN's model is constructed with."""
        if "embedding_dim" not in inspect.signature(find_model(self.model)).parameters:
            return {}
        return {"embedding_dim": 64 if self.dim is None else self.dim}

    @property
    def loss_name(self) -> str:
        """The name of the loss, also where it is the model's own."""
        loss = find_loss(self.loss) if self.loss else find_model(self.model).loss_default
        name = loss.__name__
        return str(name.removesuffix("Loss").lower())

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON has it; what was left open is filled in."""
        skipped = {"samplers", "choices", "seeds", "loss", "dim"}
        found = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in skipped}
        return found | {
            "samplers": [choice.to_dict() | {"loop": self.loop_of(choice)} for choice in self.choices],
            "seeds": list(self.seeds),
            "loss": self.loss_name,
            "dim": self.model_arguments.get("embedding_dim"),
            "optimiser": "adam",
        }
