"""What differs between PyKEEN 1.11 and its development version, found out by looking at what is there."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from pykeen.models import Model
from pykeen.triples import CoreTriplesFactory

from kgneg.core.typing import HEAD, RELATION, TAIL, LongTensor

__all__ = ["group_triples", "training_triples"]

_COLUMNS = {"head": HEAD, "relation": RELATION, "tail": TAIL}


def training_triples(factory: CoreTriplesFactory, model: Model) -> tuple[LongTensor, int]:
    """Return the triples that a model is trained on, and how many relations they have.

    In PyKEEN 1.11 the factory knows whether inverse triples are added, later the model does.

    :param factory: the triples
    :param model: the model
    :returns: shape: ``(m, 3)``, with inverse triples if the model wants them; and the number of relations
    """
    add: Any = factory._add_inverse_triples_if_necessary
    if "create_inverse_triples" not in inspect.signature(add).parameters:
        return add(mapped_triples=factory.mapped_triples), factory.num_relations
    inverse = bool(model.use_inverse_triples)
    triples = add(mapped_triples=factory.mapped_triples, create_inverse_triples=inverse)
    return triples, factory.real_num_relations * (2 if inverse else 1)


def group_triples(batch: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Write out a batch whose negatives are grouped by the replaced column.

    :param batch: with the keys ``positives``, shape ``(b, 3)``, and ``corruptions``, for some of ``head``, ``relation``
        and ``tail`` the ids that replace this column, shape ``(b, k)``; perhaps ``masks`` and ``neg_weights``, grouped
        likewise, and ``pos_weights``
    :returns: the batch with ``negatives``, shape ``(b, n, 3)``, in the place of the groups: replacements of heads, then
        of relations, then of tails

    >>> batch = {"positives": torch.tensor([[1, 2, 3]]), "corruptions": {"tail": torch.tensor([[4, 5]])}}
    >>> group_triples(batch)["negatives"].tolist()
    [[[1, 2, 4], [1, 2, 5]]]
    """
    positives, groups = batch["positives"], batch["corruptions"]
    names = [name for name in _COLUMNS if name in groups]
    parts = []
    for name in names:
        triples = positives[:, None].repeat(1, groups[name].shape[-1], 1)
        triples[..., _COLUMNS[name]] = groups[name]
        parts.append(triples)
    found = {"positives": positives, "negatives": torch.cat(parts, dim=1)}
    for key in ("masks", "neg_weights"):
        if batch.get(key) is not None:
            found[key] = torch.cat([batch[key][name] for name in names], dim=-1)
    if batch.get("pos_weights") is not None:
        found["pos_weights"] = batch["pos_weights"]
    return found
