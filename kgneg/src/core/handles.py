"""How a method gets to see the model that is being trained, and no more than that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from torch import nn

from kgneg.core.errors import InvalidInputError
from kgneg.core.queries import Queries
from kgneg.core.typing import FloatTensor, IntTensor

__all__ = ["CandidateScorer", "ModelAware", "attach_scorer"]


class CandidateScorer(Protocol):
    """Scores candidates with a model, which it leaves as it is: parameters, mode, gradients and random streams."""

    def __call__(self, queries: Queries, ids: IntTensor) -> FloatTensor:
        """Return how plausible each candidate is, shape ``(q, m)``, for ids of that shape; higher is more plausible."""
        ...


class ModelAware:
    """Mixin for methods that read the scores of a model.

    The scorer is borrowed. It is not part of the method's state: it is not moved, saved or loaded with it, and a copy
    or a pickle has none. Methods inside of the method that read a model get the same scorer.

    >>> method = ModelAware()
    >>> method.attach(lambda queries, ids: ids.float())
    >>> method.attached
    True
    >>> method.detach_model()
    >>> method.attached
    False
    """

    _scorer: CandidateScorer | None = None

    def attach(self, scorer: CandidateScorer) -> None:
        """Give the method a model to look at; another one takes the place of the first.

        :param scorer: scores candidates
        :raises InvalidInputError: if it cannot be called
        """
        attach_scorer(self, scorer)

    def detach_model(self) -> None:
        """Take the model away again, also from methods inside."""
        for method in _methods(self):
            vars(method).pop("_scorer", None)

    @property
    def attached(self) -> bool:
        """Whether there is a model to look at."""
        return self._scorer is not None

    @property
    def scorer(self) -> CandidateScorer:
        """The scorer; raises :class:`~kgneg.core.errors.InvalidInputError` if there is none."""
        if self._scorer is None:
            raise InvalidInputError(
                f'{type(self).__name__} reads the scores of a model, but has none: use training_loop="kgneg" in '
                "PyKEEN, or call corruptor.attach(scorer) elsewhere. A copy of a corruptor has to be attached anew."
            )
        return self._scorer

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_scorer"}


def _methods(owner: object) -> Iterator[ModelAware]:
    """Yield what reads a model: the owner, and the modules inside of it."""
    parts = owner.modules() if isinstance(owner, nn.Module) else [owner]
    yield from (part for part in parts if isinstance(part, ModelAware))


def attach_scorer(owner: object, scorer: CandidateScorer) -> None:
    """Give a model to everything in a method that reads one, such as the components of a mixture.

    :param owner: a method, which need not read a model itself
    :param scorer: scores candidates
    :raises InvalidInputError: if the scorer cannot be called, or nothing in the method reads a model

    >>> attach_scorer(nn.ModuleList(), lambda queries, ids: ids.float())
    Traceback (most recent call last):
    ...
    kgneg.core.errors.InvalidInputError: neither ModuleList nor anything in it reads the scores of a model
    """
    if not callable(scorer):
        raise InvalidInputError(
            f"a scorer is called with queries and ids and returns scores, got {type(scorer).__name__}"
        )
    methods = list(_methods(owner))
    if not methods:
        raise InvalidInputError(f"neither {type(owner).__name__} nor anything in it reads the scores of a model")
    for method in methods:
        # not by plain assignment: torch would make a scorer that is a module part of this one
        vars(method)["_scorer"] = scorer
