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
from kgneg.core.handles import CandidateScorer, attach_scorer
from kgneg.core.rowwise import Candidates, RowTable, candidate_scores, triple_queries
from kgneg.core.typing import HEAD, TAIL, FloatTensor, IntTensor, LongTensor
from kgneg.core.validation import validate_count
from kgneg.samplers.screening import Tally

if TYPE_CHECKING:
    from pykeen.models import Model
    from pykeen.typing import InductiveMode

__all__ = ["ModelAwareNegativeSampler", "ModelHandle"]

#: Rows that two ways of scoring are compared on, and how far they may differ, relative to the largest score.
_ROWS, _TOLERANCE = 4, 1e-4
_WIDTH = 256  # taken for the dimension where a model does not tell it
#: How many numbers the vectors of the candidates scored at once may have: on the CPU what fits the cache is faster.
_CPU_BUDGET, _BUDGET = 1 << 20, 1 << 24


class ModelHandle:
    """Scores candidates with a PyKEEN model and leaves no trace in it.

    The model is read in evaluation mode and without gradients. Afterwards, also after an error, every module has the
    mode and the attributes that it had (some representations remember what they computed), and the global random
    streams are where they were.

    Where a model's score compares an entity with a query (DistMult, ComplEx, TransE, RotatE), candidates are compared
    where they lie in the table. Elsewhere all candidates of a query are scored together by ``score_h(heads=)`` and
    ``score_t(tails=)``. Models for which neither gives the scores of ``score_hrt`` are scored triple by triple; this is
    found out once for each end.

    :param model: the model
    :param mode: PyKEEN's inductive mode
    :param budget: how many numbers the vectors of the candidates scored at once may have, which bounds the memory;
        ``None``: a million on the CPU and 16 million (64 MB) elsewhere
    :raises InvalidInputError: if the budget is not positive

    >>> from pykeen.datasets import Nations
    >>> from pykeen.models import DistMult
    >>> handle = ModelHandle(DistMult(triples_factory=Nations().training, embedding_dim=4, random_seed=0))
    >>> queries = Queries.from_triples(torch.tensor([[0, 0, 1]]), torch.tensor([2]))
    >>> handle(queries, torch.tensor([[5, 6, 7]])).shape
    torch.Size([1, 3])
    """

    def __init__(self, model: Model, mode: InductiveMode | None = None, *, budget: int | None = None) -> None:
        import pykeen.training  # noqa: F401  # first: importing it imports our training loop, in the right order

        from kgneg.integrations.pykeen.training.queries import query_form

        self._model, self._mode = model, mode
        self._budget = None if budget is None else validate_count("budget", budget)
        self._form = query_form(model) if mode is None else None
        self._table: RowTable | None = None
        self._ways: dict[int, Callable[[LongTensor, LongTensor, int], FloatTensor]] = {}
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
        device = next(self._model.parameters(), ids).device
        known = torch.stack([queries.kept, queries.relation], dim=-1).to(device)
        side, candidates = queries.side.to(device), ids.to(device).long()
        scores = torch.empty(ids.shape, device=device)
        budget = self._budget or (_CPU_BUDGET if device.type == "cpu" else _BUDGET)
        step = max(1, budget // (self._width * max(1, ids.shape[-1])))
        with self._reading():
            for end in (HEAD, TAIL):
                chosen = (side == end).nonzero().squeeze(-1)
                if not len(chosen) or not scores.numel():
                    continue
                if end not in self._ways:
                    self._ways[end] = self._choose(known[chosen[:_ROWS]], candidates[chosen[:_ROWS], :_ROWS], end)
                for rows in torch.split(chosen, step):
                    scores[rows] = self._ways[end](known[rows], candidates[rows], end).to(scores.dtype)
        return scores.to(ids.device)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Put the model into evaluation mode, and give everything back."""
        modules = list(self._model.modules())
        before = [
            {name: value for name, value in vars(module).items() if not name.startswith("_")} for module in modules
        ]
        devices = [part for part in {value.device for value in self._model.parameters()} if part.type == "cuda"]
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

    def _choose(
        self, known: LongTensor, ids: LongTensor, end: int
    ) -> Callable[[LongTensor, LongTensor, int], FloatTensor]:
        """Return the quickest way that gives the scores of ``score_hrt`` for a few candidates."""
        expected = self._by_triple(known, ids, end)
        method: Callable[..., Any] = self._model.score_h if end == HEAD else self._model.score_t
        ways = [] if self._form is None else [self._by_form]
        if ("heads" if end == HEAD else "tails") in inspect.signature(method).parameters:
            ways.append(self._by_query)
        for way in ways:
            try:
                scores = way(known, ids, end)
            except (NotImplementedError, RuntimeError, ValueError, IndexError):  # made for all entities at once
                continue
            if _agree(scores, expected):
                return way
        return self._by_triple

    def _by_form(self, known: LongTensor, ids: LongTensor, end: int) -> FloatTensor:
        form = self._form
        if form is None:
            raise NotImplementedError
        weight: Any = form.entities._embeddings.weight
        if self._table is None or self._table.weight is not weight or self._table.anchor.device != weight.device:
            self._table = RowTable(weight)
        kept, relation = form.entities(known[:, 0]), form.relations(known[:, 1])
        queries = triple_queries(kept, relation, kept, form.combination, form.metric)[1]
        queries = queries.view(len(ids), 2, -1)[:, end // TAIL].contiguous()  # the first of two is that for the head
        return candidate_scores(self._table, queries, Candidates.from_matrix(ids), form.metric).view(ids.shape)

    def _by_query(self, known: LongTensor, ids: LongTensor, end: int) -> FloatTensor:
        if end == HEAD:
            return self._model.score_h(known.flip(-1), heads=ids, mode=self._mode)
        return self._model.score_t(known, tails=ids, mode=self._mode)

    def _by_triple(self, known: LongTensor, ids: LongTensor, end: int) -> FloatTensor:
        kept, relation = (column[:, None].expand_as(ids) for column in known.unbind(-1))
        columns = [ids, relation, kept] if end == HEAD else [kept, relation, ids]
        scores: FloatTensor = self._model.score_hrt(torch.stack(columns, dim=-1).view(-1, 3), mode=self._mode)
        return scores.view(ids.shape)


def _agree(scores: FloatTensor, expected: FloatTensor) -> bool:
    """Return whether scores are the same within rounding; where one is NaN, both must be."""
    largest = expected.abs().nan_to_num(nan=0.0, posinf=0.0).max()
    tolerance = _TOLERANCE * float(largest.clamp(min=1.0))
    return scores.shape == expected.shape and torch.allclose(scores, expected, rtol=0, atol=tolerance, equal_nan=True)


def _shape(representation: Any) -> torch.Size:
    return torch.Size(getattr(representation, "shape", (_WIDTH,)))


class ModelAwareNegativeSampler:
    """Mixin for samplers whose corruptor looks at the model; ``training_loop="kgneg"`` gives them a handle."""

    #: Whether the sampler needs a model, and so a training loop that gives it one.
    needs_model: ClassVar[bool] = True
    corruptor: Corruptor

    def attach_model(self, handle: CandidateScorer) -> None:
        """Give the sampler a model to look at, and everything in it that looks at one.

        :param handle: a :class:`ModelHandle`, or anything else that scores candidates
        :raises InvalidInputError: if nothing in this sampler looks at a model
        """
        attach_scorer(self.corruptor, handle)

    def candidate_report(self) -> dict[str, int]:
        """Return how many candidates were scored, and how many of them were left out and why.

        :returns: the counts of :class:`~kgneg.samplers.screening.Tally`; nothing for a method that keeps none
        """
        tally = getattr(self.corruptor, "tally", None)
        return tally.read() if isinstance(tally, Tally) else {}
