"""LEMON: entities that the language model places nearby."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from kgneg.core.bits import KeyTable
from kgneg.core.candidates import CandidateIndex
from kgneg.core.corruption import Corruptor, Proposals, Queries
from kgneg.core.errors import InvalidInputError
from kgneg.core.modules import BufferModule
from kgneg.core.typing import TAIL, FloatTensor, LongTensor
from kgneg.core.unions import UnionIndex
from kgneg.samplers.lemon_pools import LemonPools, LemonSettings, build_lemon_pools

__all__ = ["LemonCorruptor"]


class LemonCorruptor(BufferModule, Corruptor):
    """Replace an end by an entity whose text a language model places near the text of an anchor entity.

    Entity vectors are clustered once; the pool of an anchor is the union of the clusters nearest to it. Published with
    the *kept* entity as the anchor; the default here is the *replaced* one, whose neighbours are of the kind that is
    asked for. See :class:`~kgneg.samplers.lemon_pools.LemonSettings` for all choices and ``LemonSettings.paper()`` for
    the published one, which goes with ``SidePolicy("alternate")``.

    With types the pool is narrowed to entities that fit the relation. Where nothing is left, the whole type pool is
    drawn from; with a rank window or similarity bounds also where so little is left that the redraws do not meet it.

    Source: Rony et al., LEMON: LanguagE ModeL for Negative Sampling of Knowledge Graph Embeddings, arXiv 2203.04703.

    :param built: pools, from :func:`~kgneg.samplers.lemon_pools.build_lemon_pools`
    :param settings: the settings they were built with
    :param types: candidates of each relation and end, as :class:`~kgneg.samplers.typed.TypedCorruptor` takes them
    :param options: the arguments of :class:`~kgneg.core.corruption.Corruptor`
    :raises InvalidInputError: if the pools are for another number of entities

    >>> vectors = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
    >>> settings = LemonSettings(dim=None, n_clusters=2, n_nearest=1)
    >>> lemon = LemonCorruptor.from_vectors(vectors, settings, num_entities=4, num_relations=1, seed=0)
    >>> lemon(torch.tensor([[0, 0, 2]]), 2).triples.tolist()
    [[[1, 0, 2], [0, 0, 3]]]
    """

    needs_text: ClassVar[bool] = True
    citation: ClassVar[str] = "Rony et al., arXiv 2203.04703"
    rows: LongTensor

    def __init__(
        self, built: LemonPools, settings: LemonSettings, *, types: CandidateIndex | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        if len(built.rows) != self.num_entities or built.pools.num_columns != self.num_entities:
            raise InvalidInputError(f"pools for {len(built.rows)} entities do not fit {self.num_entities} entities")
        if types is not None and types.num_rows != 2 * self.num_relations:
            raise InvalidInputError(f"types need two rows per relation: {2 * self.num_relations}, got {types.num_rows}")
        if types is not None and types.num_columns != self.num_entities:
            raise InvalidInputError(f"types for {types.num_columns} entities do not fit {self.num_entities} entities")
        self.settings = settings
        self.types = types
        self.fits: KeyTable | None = None
        pools, rows = built
        self.unions: UnionIndex | None = None
        if types is None:
            self.unions = UnionIndex(pools, rows)
        elif settings.per_entity:
            type_rows, members = types.pairs()
            keys = (type_rows * self.num_entities + members).cpu().numpy()
            self.fits = KeyTable(keys, 0, types.num_rows * self.num_entities)
        else:
            pools = _by_type(pools, types)
        if types is not None:
            self.retreat = self._of_type
        self.pools = pools
        self.register_buffer("rows", rows)
        #: with types: how many of the clusters nearest to the anchor make its pool; ``None``: all there are
        self.width: int | None = None

    @classmethod
    def from_vectors(cls, vectors: FloatTensor, settings: LemonSettings, **options: Any) -> LemonCorruptor:
        """Build the pools and the corruptor.

        :param vectors: shape: ``(num_entities, d)``
        :param settings: what to build
        :param options: the arguments of the constructor
        :returns: the corruptor
        """
        return cls(build_lemon_pools(vectors, settings), settings, **options)

    def propose(self, queries: Queries, n: int, generator: torch.Generator) -> Proposals:
        """Propose entities from the pools of the anchors.

        :param queries: the pairs that need replacements
        :param n: the number of proposals per query
        :param generator: the source of randomness
        :returns: ids and hits of shape ``(q, n)``; an empty pool gives no hit
        """
        anchor = queries.replaced if self.settings.anchor == "replaced" else queries.kept
        if self.unions is not None:
            return self.unions.sample(anchor, n, generator)
        rows = self.rows.index_select(0, anchor)[:, : self.width]
        kind = 2 * queries.relation + (queries.side == TAIL)
        if self.fits is None:
            clusters = self.pools.num_rows // (2 * self.num_relations)  # the pools may have been loaded since
            return self.pools.sample_union(rows + kind[:, None] * clusters, n, generator)
        ids, hit = self.pools.sample_union(rows, n, generator)
        keys = kind[:, None] * self.num_entities + ids
        return ids, hit & self.fits.contains(keys.view(-1)).view(ids.shape)

    def _of_type(self, queries: Queries, n: int, generator: torch.Generator) -> Proposals:
        """Propose any entity that fits the relation: used when the typed pool of the anchor gives nothing."""
        if self.types is None:
            return self.propose(queries, n, generator)
        return self.types.sample(2 * queries.relation + (queries.side == TAIL), n, generator)


def _by_type(clusters: CandidateIndex, types: CandidateIndex) -> CandidateIndex:
    """Split the candidates of each relation and end by cluster: row ``type row * number of clusters + cluster``."""
    cluster, member = clusters.pairs()
    cluster_of = torch.zeros(clusters.num_columns, dtype=torch.long, device=cluster.device)
    cluster_of[member] = cluster
    row, member = types.pairs()
    return CandidateIndex.from_pairs(
        row * clusters.num_rows + cluster_of[member],
        member,
        num_rows=types.num_rows * clusters.num_rows,
        num_columns=types.num_columns,
    )
