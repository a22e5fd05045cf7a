"""LEMON in PyKEEN."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar

from kgneg.core.cache import ArtefactCache, content_key
from kgneg.core.candidates import CandidateIndex
from kgneg.core.corruption import Corruptor
from kgneg.core.encode import encode_texts
from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import FloatTensor, LongTensor
from kgneg.core.validation import choose, validate_share
from kgneg.integrations.pykeen.base import NUM_NEGS_RANGE, KgnegNegativeSampler
from kgneg.integrations.pykeen.factories import find_labels
from kgneg.integrations.pykeen.setup import Setup
from kgneg.integrations.pykeen.texts import entity_texts, read_vectors
from kgneg.integrations.pykeen.typed import type_pools
from kgneg.samplers import (
    LemonCorruptor,
    LemonPools,
    LemonSettings,
    MixtureCorruptor,
    UniformCorruptor,
    build_lemon_pools,
)

__all__ = ["LemonNegativeSampler", "entity_vectors", "lemon_pools"]

_PAPER_SIDES = "alternate"


class LemonNegativeSampler(KgnegNegativeSampler):
    """Negatives whose texts a language model places near the text of an anchor entity (LEMON).

    Texts are encoded and clustered once; both steps are cached by content on disk, so the second construction of the
    same sampler, in this or another process, costs next to nothing.

    :param mapped_triples: shape: ``(m, 3)``, the training triples
    :param num_entities: the number of entities; ``None`` infers it
    :param num_relations: the number of relations; ``None`` infers it
    :param num_negs_per_pos: the number of negatives per positive, 1 by default
    :param filtered: whether known triples are excluded, exactly
    :param filterer: a PyKEEN filterer to apply on top
    :param filterer_kwargs: its arguments
    :param mode: ``"default"``, or ``"paper"`` for the published method: kept anchor, two principal components, 15
        clusters of which the 3 nearest, alternating sides. Any option given explicitly wins over the mode.
    :param texts: a TSV file of entity labels and texts, a graph (folder, RDF file or built-in dataset), or a mapping;
        ``None`` takes the texts that came with the graph, or else the entity labels
    :param missing_text: ``"error"``, or ``"label"`` to use the label of an entity without text
    :param encoder: ``"auto"`` (the bundled MiniLM model when installed, else lexical), ``"minilm"``, ``"lexical"``, or
        the name or folder of a sentence-transformers model
    :param vectors: entity vectors instead of texts: a .npy or .safetensors file or an array, one row per entity id
    :param anchor: ``"replaced"`` or ``"kept"``: whose neighbourhood candidates come from
    :param dim: the number of principal components to cluster in, two by default; 0 keeps all dimensions
    :param n_clusters: the number of clusters
    :param n_nearest: how many clusters nearest to the anchor make its pool
    :param rank_low: how many of the nearest neighbours to leave out (with ``rank_high``)
    :param rank_high: draw from nearest neighbours up to this rank instead of from clusters
    :param min_similarity: the smallest cosine with the anchor
    :param max_similarity: the largest cosine with the anchor
    :param typed: whether candidates must fit the observed domain or range of the relation
    :param uniform_share: the share of negatives that is drawn uniformly instead, in ``[0, 1]``
    :param sides: which end to replace; see ``kgneg-uniform``
    :param fn_budget: at most how many times as many unknown true triples as among uniform negatives may be drawn, at
        least 1; ``None``: any number
    :param seed: the seed of the private generator; ``None`` takes torch's initial seed
    """

    display_name: ClassVar[str] = "lemon"
    citation: ClassVar[str] = LemonCorruptor.citation
    needs_text: ClassVar[bool] = True
    hpo_default: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        **NUM_NEGS_RANGE,
        "anchor": {"type": "categorical", "choices": ["replaced", "kept"]},
        "dim": {"type": "categorical", "choices": [2, 16, 0]},
        "n_clusters": {"type": int, "low": 5, "high": 200, "log": True},
        "n_nearest": {"type": int, "low": 1, "high": 5},
        "typed": {"type": bool},
        "uniform_share": {"type": float, "low": 0.0, "high": 0.9},
        "sides": {"type": "categorical", "choices": ["uniform", "single", "bernoulli", "alternate"]},
    }

    def __init__(
        self,
        *,
        mapped_triples: LongTensor,
        num_entities: int | None = None,
        num_relations: int | None = None,
        num_negs_per_pos: int | None = None,
        filtered: bool = True,
        filterer: Any = None,
        filterer_kwargs: Mapping[str, Any] | None = None,
        mode: str = "default",
        texts: Any = None,
        missing_text: str = "error",
        encoder: Any = "auto",
        vectors: Any = None,
        anchor: str | None = None,
        dim: int | None = None,
        n_clusters: int | None = None,
        n_nearest: int | None = None,
        rank_low: int | None = None,
        rank_high: int | None = None,
        min_similarity: float | None = None,
        max_similarity: float | None = None,
        typed: bool = False,
        uniform_share: float = 0.0,
        sides: str | None = None,
        fn_budget: float | None = None,
        seed: int | None = None,
    ) -> None:
        pools = {
            "anchor": anchor,
            "dim": dim,
            "n_clusters": n_clusters,
            "n_nearest": n_nearest,
            "rank_low": rank_low,
            "rank_high": rank_high,
            "min_similarity": min_similarity,
            "max_similarity": max_similarity,
        }
        if not isinstance(typed, bool):
            raise InvalidInputError(f"typed must be True or False, got {typed!r}")
        super().__init__(
            mapped_triples=mapped_triples,
            num_entities=num_entities,
            num_relations=num_relations,
            num_negs_per_pos=num_negs_per_pos,
            filtered=filtered,
            filterer=filterer,
            filterer_kwargs=filterer_kwargs,
            fn_budget=fn_budget,
            seed=seed,
            options={
                "settings": _settings(mode, pools),
                "source": {"texts": texts, "missing_text": missing_text, "encoder": encoder, "vectors": vectors},
                "typed": typed,
                "uniform_share": validate_share("uniform_share", uniform_share),
                "sides": (_PAPER_SIDES if mode == "paper" else "uniform") if sides is None else sides,
            },
        )

    @classmethod
    def make_corruptor(  # type: ignore[override]
        cls,
        setup: Setup,
        common: dict[str, Any],
        *,
        settings: LemonSettings,
        source: dict[str, Any],
        typed: bool,
        uniform_share: float,
        sides: str,
    ) -> Corruptor:
        """Build the corruptor, or a mixture of it and a uniform one.

        :param setup: the graph
        :param common: the arguments of every corruptor
        :param settings: what the pools are made of
        :param source: where vectors come from
        :param typed: whether candidates must fit the relation
        :param uniform_share: the share of uniform negatives
        :param sides: the name of the side policy
        :returns: the corruptor
        """
        policy = setup.sides(sides)
        if uniform_share == 1:
            return UniformCorruptor(sides=policy, **common)
        built = lemon_pools(setup, entity_vectors(setup, **source), settings)
        types = type_pools(setup, None, 0.0) if typed else None
        lemon = LemonCorruptor(built, settings, types=types, sides=policy, **common)
        if not uniform_share:
            return lemon
        uniform = UniformCorruptor(**setup.sizes)
        return MixtureCorruptor([(lemon, 1 - uniform_share), (uniform, uniform_share)], sides=policy, **common)


def _settings(mode: str, given: dict[str, Any]) -> LemonSettings:
    """Return the settings of a mode, with what was given explicitly in place of its own."""
    base = LemonSettings.paper() if choose("mode", mode, ("default", "paper")) == "paper" else LemonSettings()
    merged = {field.name: getattr(base, field.name) for field in fields(base)}
    merged |= {name: value for name, value in given.items() if value is not None}
    merged["dim"] = merged["dim"] or None
    if given["n_clusters"] is not None and given["n_nearest"] is None:
        merged["n_nearest"] = min(merged["n_nearest"], merged["n_clusters"])
    return LemonSettings(**merged)


def entity_vectors(setup: Setup, texts: Any, missing_text: str, encoder: Any, vectors: Any) -> FloatTensor:
    """Return the vector of every entity.

    :param setup: the graph
    :param texts: where texts come from
    :param missing_text: what to do about entities without text
    :param encoder: what makes vectors of texts
    :param vectors: vectors instead of texts
    :returns: shape: ``(num_entities, d)``
    :raises InvalidInputError: if both texts and vectors are given
    """
    if vectors is not None:
        if texts is not None:
            raise InvalidInputError("give texts or vectors, not both")
        return read_vectors(vectors, setup.num_entities)
    labels = find_labels(setup.mapped_triples, setup.num_entities, using="texts" if texts is None else None)
    words = entity_texts(texts, labels, setup.num_entities, missing_text)
    if not isinstance(encoder, str):
        return encode_texts(words, encoder)
    return setup.build("vectors", [words, encoder], lambda: encode_texts(words, encoder))  # type: ignore[no-any-return]


def lemon_pools(setup: Setup, vectors: FloatTensor, settings: LemonSettings) -> LemonPools:
    """Return pools from memory, from disk, or newly built, in this order.

    :param setup: the graph
    :param vectors: shape: ``(num_entities, d)``
    :param settings: what the pools are made of
    :returns: the pools
    """
    key = content_key(vectors, settings.to_dict())

    def build() -> dict[str, Any]:
        pools, rows = build_lemon_pools(vectors, settings)
        return {"indptr": pools.indptr, "indices": pools.indices, "rows": rows}

    def read() -> LemonPools:
        tensors = ArtefactCache().get("lemon", key, build)
        pools = CandidateIndex(tensors["indptr"], tensors["indices"], num_columns=setup.num_entities)
        return LemonPools(pools, tensors["rows"])

    return setup.build("lemon", key, read)  # type: ignore[no-any-return]
