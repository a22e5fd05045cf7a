"""Embeddings of a PyKEEN model whose gradients are gathered by rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeGuard

import torch
from pykeen.models import Model
from pykeen.nn.representation import Embedding
from torch import nn

from kgneg.core.rowwise import RowOptimizer, RowTable
from kgneg.core.typing import FloatTensor

__all__ = ["RowTables", "is_table"]

#: how many rows show whether a constraint treats each alone
_SAMPLE = 16


def is_table(module: object) -> TypeGuard[Embedding]:
    """Return whether a module of PyKEEN looks up rows of a parameter and does nothing else with it.

    :param module: any object
    :returns: whether it is an embedding without parametrisation, ``max_norm``, ``padding_idx`` and the like
    """
    if type(module) is not Embedding or type(module._embeddings) is not nn.Embedding:
        return False
    plain = module._embeddings
    special = plain.max_norm is not None or plain.padding_idx is not None or plain.scale_grad_by_freq or plain.sparse
    return "weight" in plain._parameters and not special


class RowTables:
    """The row tables of the plain trainable embeddings of a model.

    While :meth:`reading`, these embeddings look up their rows in the tables. Outside, the model is as PyKEEN made it.

    :param model: the model
    :param minimum: embeddings with fewer rows are left alone
    :param keep: embeddings that get a table whatever their size
    :param dense: write dense gradients, for any optimiser; embeddings that are kept despite their size always get them
    """

    def __init__(self, model: Model, *, minimum: int, keep: tuple[Embedding, ...] = (), dense: bool = False) -> None:
        self.tables: dict[Embedding, RowTable] = {}
        #: the tables whose gradient is written densely
        self.dense: set[Embedding] = set()
        for module in model.modules():
            if is_table(module) and module._embeddings.weight.requires_grad:
                weight: Any = module._embeddings.weight
                small = len(weight) < minimum
                if (
                    weight.is_contiguous()
                    and (not small or module in keep)
                    and "forward" not in vars(module._embeddings)
                ):
                    self.tables[module] = RowTable(weight)
                    if dense or small:
                        self.dense.add(module)

    def __len__(self) -> int:
        return len(self.tables)

    def __getitem__(self, embedding: Embedding) -> RowTable:
        return self.tables[embedding]

    @contextmanager
    def reading(self, optimizer: torch.optim.Optimizer | None) -> Iterator[None]:
        """Let the embeddings read from the tables, and their constraints act on rows that were updated.

        :param optimizer: the optimiser; one that updates rows applies the constraints within its step
        :yields: nothing
        """
        try:
            for embedding, table in self.tables.items():
                table.discard()
                vars(embedding._embeddings)["forward"] = table.read
                if isinstance(optimizer, RowOptimizer) and self._constrains(optimizer, embedding):
                    optimizer.project(table.weight, _Constraint(embedding))
                    vars(embedding)["post_parameter_update"] = _nothing
            yield
        finally:
            for embedding, table in self.tables.items():
                table.discard()
                embedding._embeddings.__dict__.pop("forward", None)
                if vars(embedding).get("post_parameter_update") is _nothing:
                    del vars(embedding)["post_parameter_update"]
                if isinstance(optimizer, RowOptimizer):
                    optimizer.project(table.weight, None)

    def flush(self) -> None:
        """Write the gradients that were collected."""
        for embedding, table in self.tables.items():
            table.flush(dense=embedding in self.dense)

    def reduce(self) -> list[torch.Tensor | None]:
        """Return the rows that were read and their gradients, of one table after another, and forget them."""
        return [part for table in self.tables.values() for part in table.reduce()]

    def discard(self) -> None:
        """Forget the gradients that were collected."""
        for table in self.tables.values():
            table.discard()

    def _constrains(self, optimizer: torch.optim.Optimizer | None, embedding: Embedding) -> bool:
        """Return whether the optimiser applies the constraint of an embedding to the rows that it updates."""
        rowwise = isinstance(optimizer, RowOptimizer) and embedding not in self.dense
        if not rowwise or embedding.constrainer is None or "post_parameter_update" in vars(embedding):
            return False
        return _treats_rows_alone(embedding)


def _treats_rows_alone(embedding: Embedding) -> bool:
    """Return whether a constrainer gives the same for a row whatever other rows it sees."""
    constraint = _Constraint(embedding)
    rows = embedding._embeddings.weight.detach()[:_SAMPLE]
    half = len(rows) // 2
    with torch.no_grad(), torch.random.fork_rng([]):
        whole = constraint(rows.clone())
        parts = torch.cat([constraint(rows[:half].clone()), constraint(rows[half:].clone())])
    return torch.allclose(whole, parts, equal_nan=True)


def _nothing() -> None:
    """Do nothing: the optimiser has applied the constraint to the rows that it updated."""


class _Constraint:
    """The constrainer of an embedding, applied to rows of its weight."""

    def __init__(self, embedding: Embedding) -> None:
        self.embedding: Any = embedding

    def __call__(self, rows: FloatTensor) -> FloatTensor:
        embedding = self.embedding
        vectors = rows.view(len(rows), *embedding._shape)
        if embedding.is_complex:
            vectors = torch.view_as_complex(vectors)
        vectors = embedding.constrainer(vectors)
        if embedding.is_complex:
            vectors = torch.view_as_real(vectors)
        result: FloatTensor = vectors.reshape(rows.shape)
        return result
