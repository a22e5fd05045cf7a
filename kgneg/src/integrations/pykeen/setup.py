"""The graph that a sampler is constructed for."""

from __future__ import annotations

from typing import Any

import torch

from kgneg.core.cache import MemoryCache, content_key
from kgneg.core.modules import share
from kgneg.core.sides import SidePolicy
from kgneg.core.triples import TripleIndex
from kgneg.core.typing import LongTensor

__all__ = ["Setup"]

#: Indices and pools of this process: PyKEEN constructs a sampler two or three times per run.
_shared = MemoryCache(size=32)


def _twin(value: Any) -> Any:
    return share(value) if isinstance(value, torch.nn.Module) else value


class Setup:
    """The graph that a sampler is constructed for, and access to what was built for it before.

    :param mapped_triples: shape: ``(m, 3)``, the training triples, with inverse triples when PyKEEN makes them
    :param num_entities: the number of entities
    :param num_relations: the number of relations, with inverse relations when PyKEEN makes them
    """

    def __init__(self, mapped_triples: LongTensor, num_entities: int, num_relations: int) -> None:
        self.mapped_triples = mapped_triples
        self.num_entities = num_entities
        self.num_relations = num_relations
        self.key = content_key(mapped_triples, num_entities, num_relations)

    @property
    def sizes(self) -> dict[str, Any]:
        """The numbers of entities and relations, as keyword arguments."""
        return {"num_entities": self.num_entities, "num_relations": self.num_relations}

    def build(self, kind: str, key: Any, make: Any) -> Any:
        """Return what ``make`` returns, made once per process for this graph; modules come as independent twins.

        :param kind: what is built
        :param key: what it depends on besides the graph; anything that JSON can spell
        :param make: a function without arguments
        :returns: the result
        """
        result = _shared.get((kind, self.key, content_key(key)), make)
        if isinstance(result, tuple) and hasattr(result, "_make"):
            return type(result)._make(_twin(part) for part in result)
        return _twin(result)

    def index(self) -> TripleIndex:
        """Return the index of the training triples."""
        index: TripleIndex = self.build(
            "index", None, lambda: TripleIndex(self.mapped_triples, keys="auto", **self.sizes)
        )
        return index

    def sides(self, policy: str) -> SidePolicy:
        """Return a side policy for this graph.

        :param policy: the name of the policy
        :returns: the policy
        """
        return SidePolicy(policy, triples=self.mapped_triples, num_relations=self.num_relations)
