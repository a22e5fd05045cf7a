"""A read-only handle on a PyKEEN model, for samplers that look at it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch.utils.data import get_worker_info

from kgneg.core.corruption import Corruptor, Queries
from kgneg.core.errors import InvalidInputError
from kgneg.core.handles import CandidateScorer, ModelAware
from kgneg.core.typing import HEAD, TAIL, FloatTensor, IntTensor, LongTensor
from kgneg.core.validation import validate_count

if TYPE_CHECKING:
    from pykeen.models import Model
    from pykeen.typing import InductiveMode

__all__ = ["ModelAwareNegativeSampler", "ModelHandle"]

#: Rows that the two ways of scoring are compared on, and how far they may differ, relative to the largest score.
_ROWS, _TOLERANCE = 4, 1e-4
_WIDTH = 256  # taken for the dimension where a model does not tell it


class ModelHandle:
    """Scores candidates with a PyKEEN model and leaves no trace in it.

    The model is read in evaluation mode and without gradients. Afterwards, also after an error, every module has the
    mode and the attributes that it had (some representations remember what they computed), and the global random
    streams are where they were.

    All candidates of a query are scored together by ``score_h(heads=)`` and ``score_t(tails=)``. Models for which these
    do not give the scores of ``score_hrt`` are scored triple by triple; this is found out once for each end.

    :param model: the model
    :param mode: PyKEEN's inductive mode
    :param budget: how many numbers the vectors of the candidates scored at once may have, which bounds the memory;
        ``None``: a million on the CPU, where what fits the cache is faster, and 16 million (64 MB) elsewhere
    :raises InvalidInputError: if the budget is not positive

    >>> from pykeen.datasets import Nations
    >>> from pykeen.models import DistMult
    >>> handle = ModelHandle(DistMult(triples_factory=Nations().training, embedding_dim=4, random_seed=0))
    >>> queries = Queries.from_triples(torch.tensor([[0, 0, 1]]), torch.tensor([2]))
    >>> handle(queries, torch.tensor([[5, 6, 7]])).shape
    torch.Size([1, 3])
    """

    def __init__(self, model: Model, mode: InductiveMode | None = None, *, budget: int | None = None) -> None:
        self.model, self.mode = model, mode
        self.budget = None if budget is None else validate_count("budget", budget)
        self._together: dict[int, bool] = {}
        representations = list(getattr(model, "entity_representations", None) or [])
        self._width = sum(shape.numel() for shape in map(_shape, representations)) or _WIDTH

    def __call__(self, queries: Queries, ids: IntTensor) -> FloatTensor:
        """Score candidates.

        :param queries: ``q`` pairs
        :param ids: shape: ``(q, m)``, candidates for each
        :returns: shape: ``(q, m)``, on the device of the candidates
        :raises InvalidInputError: if it is called in a worker process of a data loader
        """
        if get_worker_info() is not None:
            raise InvalidInputError(
                "a data loader worker sees the model as it was when the worker started: samplers that look at the "
                "model need num_workers=0"
            )
        device = next(self.model.parameters(), ids).device
        known = torch.stack([queries.kept, queries.relation], dim=-1).to(device)
        side, candidates = queries.side.to(device), ids.to(device).long()
        scores = torch.empty(ids.shape, device=device)
        budget = self.budget or (1 << 20 if device.type == "cpu" else 1 << 24)
        step = max(1, budget // (self._width * max(1, ids.shape[-1])))
        with self._reading():
            for end in (HEAD, TAIL):
                for rows in torch.split((side == end).nonzero().squeeze(-1), step):
                    if scores.numel() and len(rows):
                        scores[rows] = self._score(known[rows], candidates[rows], end).to(scores.dtype)
        return scores.to(ids.device)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Put the model into evaluation mode, and give everything back."""
        modules = list(self.model.modules())
        before = [
            {name: value for name, value in vars(module).items() if not name.startswith("_")} for module in modules
        ]
        devices = [part for part in {value.device for value in self.model.parameters()} if part.type == "cuda"]
        try:
            with torch.random.fork_rng(devices=devices), torch.no_grad():
                for module in modules:
                    vars(module)["training"] = False
                yield
        finally:
            for module, attributes in zip(modules, before, strict=True):
                for name in vars(module).keys() - attributes.keys():
                    if not name.startswith("_"):
                        del vars(module)[name]
                vars(module).update(attributes)

    def _score(self, known: LongTensor, ids: LongTensor, end: int) -> FloatTensor:
        """Return the scores of candidates for one end, shape ``(q, m)``."""
        if end not in self._together:
            self._together[end] = self._agrees(known[:_ROWS], ids[:_ROWS, :_ROWS], end)
        return self._by_query(known, ids, end) if self._together[end] else self._by_triple(known, ids, end)

    def _by_query(self, known: LongTensor, ids: LongTensor, end: int) -> FloatTensor:
        if end == HEAD:
            return self.model.score_h(known.flip(-1), heads=ids, mode=self.mode)
        return self.model.score_t(known, tails=ids, mode=self.mode)

    def _by_triple(self, known: LongTensor, ids: LongTensor, end: int) -> FloatTensor:
        kept, relation = (column[:, None].expand_as(ids) for column in known.unbind(-1))
        columns = [ids, relation, kept] if end == HEAD else [kept, relation, ids]
        scores: FloatTensor = self.model.score_hrt(torch.stack(columns, dim=-1).view(-1, 3), mode=self.mode)
        return scores.view(ids.shape)

    def _agrees(self, known: LongTensor, ids: LongTensor, end: int) -> bool:
        """Return whether candidates may be scored together."""
        method: Callable[..., Any] = self.model.score_h if end == HEAD else self.model.score_t
        if ("heads" if end == HEAD else "tails") not in inspect.signature(method).parameters:
            return False
        expected = self._by_triple(known, ids, end)
        try:
            scores = self._by_query(known, ids, end)
        except (NotImplementedError, RuntimeError, ValueError, IndexError):  # made for all entities at once
            return False
        tolerance = _TOLERANCE * float(expected.abs().max().clamp(min=1.0))
        return scores.shape == expected.shape and torch.allclose(scores, expected, rtol=0, atol=tolerance)


def _shape(representation: Any) -> torch.Size:
    return torch.Size(getattr(representation, "shape", (_WIDTH,)))


class ModelAwareNegativeSampler:
    """Mixin for samplers whose corruptor looks at the model; ``training_loop="kgneg"`` gives them a handle."""

    #: Whether the sampler needs a model, and so a training loop that gives it one.
    needs_model: ClassVar[bool] = True
    corruptor: Corruptor

    def attach_model(self, handle: CandidateScorer) -> None:
        """Give the sampler a model to look at.

        :param handle: a :class:`ModelHandle`, or anything else that scores candidates
        :raises InvalidInputError: if the corruptor of this sampler does not look at a model
        """
        if not isinstance(self.corruptor, ModelAware):
            raise InvalidInputError(f"{type(self.corruptor).__name__} does not look at a model")
        self.corruptor.attach(handle)
