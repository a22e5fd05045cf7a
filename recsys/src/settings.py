"""How a recommender is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from kgneg.core.errors import InvalidInputError
from kgneg.core.validation import choose, validate_count, validate_flag, validate_number

__all__ = ["TrainSettings", "split_metric"]

_LEAST, _STEPS = 512, 16
_PRECISIONS = ("float32", "bfloat16", "float16")


def split_metric(metric: str) -> tuple[str, int]:
    """Return the name and the length of the list of a metric.

    :param metric: such as ``"recall@20"``
    :returns: such as ``("recall", 20)``
    :raises InvalidInputError: if it is written differently, or the name is not known

    >>> split_metric("ndcg@10")
    ('ndcg', 10)
    """
    from kgneg.recsys.evaluation import METRICS

    name, _, k = str(metric).partition("@")
    if name not in METRICS or not k.isdecimal() or int(k) < 1:
        raise InvalidInputError(
            f"a metric is written like recall@20, with one of {', '.join(METRICS)} before the @ and the length of the "
            f"list after it; got {metric!r}"
        )
    return name, int(k)


@dataclass(frozen=True)
class TrainSettings:
    """Everything about training that is not the model; the same for all models.

    :param epochs: the largest number of passes over the pairs
    :param batch_size: pairs per step; ``None``: a sixteenth of all pairs, but at least 512. A step goes through whole
        tables, and perhaps the whole graph, so a fixed number of steps keeps the cost of an epoch linear in the pairs.
    :param lr: the learning rate of Adam
    :param weight_decay: Adam's coupled L2 penalty, on all parameters
    :param evaluate_every: epochs between two looks at the validation pairs
    :param patience: how many looks in a row may bring no improvement before training stops; 0 never stops early
    :param patience_resets: whether an improvement starts the count anew; if not, all looks without one count together
    :param metric: what is looked at, such as ``"recall@20"``, see :func:`~kgneg.recsys.evaluate`
    :param precision: ``"float32"``, or ``"bfloat16"`` or ``"float16"`` for mixed precision; sums over neighbours, the
        parameters and the optimiser stay in float32
    :param seed: of everything that is drawn
    :param device: where to train: ``"auto"`` (a GPU if there is one), ``"cpu"``, ``"cuda"``, ``"cuda:1"``
    :raises InvalidInputError: if a value is out of range

    >>> TrainSettings(epochs=5).pairs_per_step(100_000)
    6250
    """

    epochs: int = 200
    batch_size: int | None = None
    lr: float = 1e-3
    weight_decay: float = 0.0
    evaluate_every: int = 10
    patience: int = 4
    patience_resets: bool = True
    metric: str = "recall@20"
    precision: str = "float32"
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        for name in ("epochs", "evaluate_every"):
            validate_count(name, getattr(self, name))
        if self.batch_size is not None:
            validate_count("batch_size", self.batch_size)
        validate_flag("patience_resets", self.patience_resets)
        split_metric(self.metric)
        for name in ("patience", "seed"):
            validate_count(name, getattr(self, name), 0)
        validate_number("lr", self.lr, above=True)
        validate_number("weight_decay", self.weight_decay)
        choose("precision", self.precision, _PRECISIONS)

    def pairs_per_step(self, pairs: int) -> int:
        """Return the number of pairs in a step.

        :param pairs: the number of all training pairs
        :returns: ``batch_size``, or what stands for ``None``
        """
        return max(_LEAST, -(-pairs // _STEPS)) if self.batch_size is None else self.batch_size

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of all settings."""
        return tuple(one.name for one in fields(cls))

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON has them."""
        return asdict(self)

    def changed(self, changes: Mapping[str, Any]) -> TrainSettings:
        """Return settings with some other values.

        :param changes: values by name
        :returns: the settings
        :raises InvalidInputError: if a name is not known
        """
        unknown = [name for name in changes if name not in self.names()]
        if unknown:
            raise InvalidInputError(f"unknown setting {unknown[0]!r}; training has {', '.join(self.names())}")
        return TrainSettings(**{**self.to_dict(), **changes})
