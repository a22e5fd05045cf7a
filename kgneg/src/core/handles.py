"""How a method gets to see the model that is being trained, and no more than that."""

from __future__ import annotations

from typing import Any, Protocol

from kgneg.core.errors import InvalidInputError
from kgneg.core.queries import Queries
from kgneg.core.typing import FloatTensor, IntTensor

__all__ = ["CandidateScorer", "ModelAware"]


class CandidateScorer(Protocol):
    """Scores candidates with a model, which it leaves as it is: parameters, mode, gradients and random streams."""

    def __call__(self, queries: Queries, ids: IntTensor) -> FloatTensor:
        """Return how plausible each candidate is, shape ``(q, m)``, for ids of that shape; higher is more plausible."""
        ...


class ModelAware:
    """Mixin for methods that read the scores of a model.

    The scorer is borrowed. It is not part of the method's state: it is not moved, saved or loaded with it, and a copy
    or a pickle has none.

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
        if not callable(scorer):
            raise InvalidInputError(
                f"a scorer is called with queries and ids and returns scores, got {type(scorer).__name__}"
            )
        # not by plain assignment: torch would make a scorer that is a module part of this one
        vars(self)["_scorer"] = scorer

    def detach_model(self) -> None:
        """Take the model away again."""
        vars(self).pop("_scorer", None)

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
