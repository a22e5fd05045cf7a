"""Negatives from a taxonomy, in PyKEEN."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch

from kgneg.core.cache import content_key
from kgneg.core.candidates import CandidateIndex
from kgneg.core.corruption import Corruptor
from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import LongTensor
from kgneg.core.validation import choose, validate_count
from kgneg.datasets import Taxonomy, humanise, is_rdf
from kgneg.integrations.pykeen.base import NUM_NEGS_RANGE, KgnegNegativeSampler
from kgneg.integrations.pykeen.factories import Labels, find_labels
from kgneg.integrations.pykeen.lemon import entity_vectors
from kgneg.integrations.pykeen.setup import Setup
from kgneg.integrations.pykeen.shares import parse_shares
from kgneg.integrations.pykeen.texts import entity_texts
from kgneg.samplers import TaxonomyCorruptor
from kgneg.samplers.neighbourhoods import edit_distance_pools, embedding_pools, same_names, unite

__all__ = ["TaxonomyNegativeSampler", "hierarchy_of_relations", "likely_hierarchy"]

logger = logging.getLogger(__name__)

_STRATEGIES = ("sibling", "cousin", "edit", "embedding", "random")
_BY_HIERARCHY = {"sibling", "cousin"}
#: Words in the names of relations from a concept to a broader one, the likeliest first.
_UPWARD = (
    ("hypernym",),
    ("hypernyms",),
    ("broader",),
    ("subclass", "of"),
    ("sub", "class", "of"),
    ("p279",),
    ("instance", "of"),
    ("p31",),
)
_WORD = re.compile(r"[pP]\d+|[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")


class TaxonomyNegativeSampler(KgnegNegativeSampler):
    """Negatives that are relatives of the replaced entity in a hierarchy, or have similar names or vectors.

    The hierarchy is a relation of the graph itself, such as the hypernyms of WN18RR, the types of its entities, as in
    CoDEx, or a taxonomy from elsewhere whose identifiers are the entity labels. Ancestors and descendants of the
    replaced entity and entities of the same name are never drawn.

    :param mapped_triples: shape: ``(m, 3)``, the training triples
    :param num_entities: the number of entities; ``None`` infers it
    :param num_relations: the number of relations; ``None`` infers it
    :param num_negs_per_pos: the number of negatives per positive, 1 by default
    :param filtered: whether known triples are excluded, exactly
    :param filterer: a PyKEEN filterer to apply on top
    :param filterer_kwargs: its arguments
    :param hierarchy: the label of a relation from narrower to broader entities (several with commas), ``"types"`` for
        the types that came with the graph, a :class:`~kgneg.datasets.Taxonomy`, or a file with one (RDF, a table of
        children and parents, or one saved by ``Taxonomy.save``); ``None`` takes relations whose names say so, such as
        hypernyms, or else the types
    :param strategies: the shares, as ``"sibling=0.5,random=0.5"`` or as a mapping; there are sibling, cousin, edit,
        embedding and random
    :param depth: steps to the ancestor that cousins share
    :param k: neighbours for the strategies edit and embedding
    :param normalised: whether edits are divided by the length of the names
    :param ceiling: the largest cosine of an embedding neighbour; ``None``: any
    :param texts: for edit and embedding: where names come from, see ``lemon``
    :param missing_text: ``"error"``, or ``"label"`` to use the label of an entity without text
    :param encoder: for embedding: the encoder, see ``lemon``
    :param vectors: for embedding: entity vectors instead of texts
    :param sides: which end to replace; see ``kgneg-uniform``
    :param fn_budget: at most how many times as many unknown true triples as among uniform negatives may be drawn, at
        least 1; ``None``: any number
    :param seed: the seed of the private generator; ``None`` takes torch's initial seed
    """

    display_name: ClassVar[str] = "taxonomy"
    citation: ClassVar[str] = TaxonomyCorruptor.citation
    hpo_default: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        **NUM_NEGS_RANGE,
        "strategies": {
            "type": "categorical",
            "choices": ["sibling=0.25,random=0.75", "sibling=0.5,random=0.5", "sibling=1", "sibling=0.5,cousin=0.5"],
        },
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
        hierarchy: Any = None,
        strategies: str | Mapping[str, float] = "sibling=0.5,random=0.5",
        depth: int = 2,
        k: int = 10,
        normalised: bool = True,
        ceiling: float | None = None,
        texts: Any = None,
        missing_text: str = "error",
        encoder: Any = "auto",
        vectors: Any = None,
        sides: str = "uniform",
        fn_budget: float | None = None,
        seed: int | None = None,
    ) -> None:
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
                "hierarchy": hierarchy,
                "shares": _shares(strategies),
                "depth": validate_count("depth", depth),
                "k": validate_count("k", k),
                "normalised": normalised,
                "ceiling": ceiling,
                "source": {"texts": texts, "missing_text": missing_text, "encoder": encoder, "vectors": vectors},
                "sides": sides,
            },
        )

    @classmethod
    def make_corruptor(  # type: ignore[override]
        cls,
        setup: Setup,
        common: dict[str, Any],
        *,
        hierarchy: Any,
        shares: Mapping[str, float],
        depth: int,
        k: int,
        normalised: bool,
        ceiling: float | None,
        source: Mapping[str, Any],
        sides: str,
    ) -> Corruptor:
        """Build the corruptor.

        :param setup: the graph
        :param common: the arguments of every corruptor
        :param hierarchy: where the hierarchy comes from
        :param shares: the share of each strategy
        :param depth: steps to the ancestor that cousins share
        :param k: neighbours for the strategies edit and embedding
        :param normalised: whether edits are divided by the length
        :param ceiling: the largest cosine of a neighbour
        :param source: where names and vectors come from
        :param sides: the name of the side policy
        :returns: the corruptor
        """
        labels = find_labels(setup.mapped_triples, setup.num_entities, using="types" if hierarchy == "types" else None)
        taxonomy = ids = None
        if hierarchy is not None or not _BY_HIERARCHY.isdisjoint(shares):
            taxonomy, ids = _taxonomy(setup, labels, hierarchy)
        names: list[str] = []
        if "edit" in shares or source["texts"] is not None or (labels is not None and labels.texts):
            missing = source["missing_text"] if "edit" in shares else "label"
            names = entity_texts(source["texts"], labels, setup.num_entities, missing)

        key = None if taxonomy is None or ids is None else [taxonomy.parents.fingerprint(), content_key(ids)]

        def related(kind: str, pools: Callable[[Taxonomy], CandidateIndex]) -> CandidateIndex:
            return setup.build(  # type: ignore[no-any-return]
                f"taxonomy {kind}",
                key,
                lambda: pools(taxonomy).renumber(ids, setup.num_entities),  # type: ignore[arg-type]
            )

        def by_name() -> CandidateIndex:
            return setup.build(  # type: ignore[no-any-return]
                "taxonomy edit", [names, k, normalised], lambda: edit_distance_pools(names, k, normalised=normalised)
            )

        def by_vector() -> CandidateIndex:
            vectors = entity_vectors(setup, **source)
            return setup.build(  # type: ignore[no-any-return]
                "taxonomy embedding",
                [content_key(vectors), k, ceiling],
                lambda: embedding_pools(vectors, k, ceiling=ceiling),
            )

        makers: dict[str, Callable[[], CandidateIndex | None]] = {
            "sibling": lambda: related("siblings", Taxonomy.siblings),
            "cousin": lambda: related(f"cousins {depth}", lambda one: one.cousins(depth)),
            "edit": by_name,
            "embedding": by_vector,
            "random": lambda: None,
        }
        strategies = {name: makers[name]() for name in shares}
        near = [] if taxonomy is None else [related("up", Taxonomy.ancestors), related("down", Taxonomy.descendants)]
        near += [same_names(names)] if names else []
        forbidden = unite(*near) if near else None
        return TaxonomyCorruptor(strategies, shares, near=forbidden, sides=setup.sides(sides), **common)


def _shares(strategies: str | Mapping[str, float]) -> dict[str, float]:
    shares: dict[str, float] = {}
    for name, share in parse_shares("strategies", strategies):
        if choose("strategy", name, _STRATEGIES) in shares:
            raise InvalidInputError(f"the strategy {name} is named twice")
        shares[name] = share
    return shares


def _taxonomy(setup: Setup, labels: Labels | None, hierarchy: Any) -> tuple[Taxonomy, LongTensor]:
    """Return the hierarchy, and the entity of each of its concepts, -1 where there is none."""
    if labels is None:
        raise InvalidInputError(
            "the hierarchy speaks of labels, but PyKEEN gave bare ids, and no triples factory with labels is in memory"
        )
    taxonomy = _found(setup, labels, hierarchy)
    entity = {label: number for number, label in enumerate(labels.entities)}
    ids = torch.tensor([entity.get(concept, -1) for concept in taxonomy.concepts])
    known = int((ids >= 0).sum())
    if not known:
        raise InvalidInputError(
            f"none of the {len(taxonomy)} concepts of {taxonomy.name!r} is an entity of the graph: a concept is "
            f"{taxonomy.concepts[0]!r}, an entity {labels.entities[0]!r}"
        )
    return taxonomy, ids


def _found(setup: Setup, labels: Labels, hierarchy: Any) -> Taxonomy:
    if isinstance(hierarchy, Taxonomy):
        return hierarchy
    if isinstance(hierarchy, Path) or (isinstance(hierarchy, str) and Path(hierarchy).is_file()):
        return _read(Path(hierarchy))
    if hierarchy is not None and not isinstance(hierarchy, str):
        raise InvalidInputError(f"hierarchy={hierarchy!r}: give the name of a relation, 'types', a file or a Taxonomy")
    if hierarchy is None:
        upward = likely_hierarchy(labels)
        if upward is None and not labels.types:
            raise InvalidInputError(
                "no relation of the graph looks like a hierarchy, and no types came with it; name one with "
                f"hierarchy='...': a relation ({', '.join(labels.relations[:5])}, ...) from narrower to broader "
                "entities, or a file with a taxonomy"
            )
        hierarchy = upward or "types"
        logger.info("the hierarchy is %s", f"the relation {hierarchy!r}" if upward else "that of the types")
    if hierarchy == "types":
        if not labels.types:
            raise InvalidInputError("hierarchy='types', but no types came with the graph")
        return Taxonomy.from_pairs(labels.types, name="types", cycles="drop")
    return hierarchy_of_relations(setup, labels, hierarchy)


def hierarchy_of_relations(setup: Setup, labels: Labels, hierarchy: str) -> Taxonomy:
    """Return the hierarchy that relations of the graph make.

    :param setup: the graph
    :param labels: its labels
    :param hierarchy: the labels of relations from narrower to broader entities, with commas between them
    :returns: the hierarchy; its concepts are entity labels
    :raises InvalidInputError: if there is no such relation, or no training triple with it
    """
    wanted = [one.strip() for one in hierarchy.split(",")]
    unknown = [one for one in wanted if one not in labels.relations]
    if unknown:
        raise InvalidInputError(
            f"hierarchy={hierarchy!r}: {unknown[0]!r} is neither a file nor a relation of the graph; its relations are "
            f"{', '.join(labels.relations[:20])}"
        )
    numbers = torch.tensor([labels.relations.index(one) for one in wanted])
    # with inverse triples PyKEEN numbers relations 0, 2, ... and their inverses 1, 3, ...
    step = 2 if setup.num_relations == 2 * len(labels.relations) else 1
    triples = setup.mapped_triples.cpu()
    chosen = triples[torch.isin(triples[:, 1], numbers * step)]
    pairs = [(labels.entities[head], labels.entities[tail]) for head, _, tail in chosen.tolist() if head != tail]
    if not pairs:
        raise InvalidInputError(f"hierarchy={hierarchy!r}: there is no training triple with this relation")
    return Taxonomy.from_pairs(pairs, name=hierarchy, cycles="drop")


def likely_hierarchy(labels: Labels) -> str | None:
    """Return the relation that leads from narrower to broader entities, as far as names tell.

    :param labels: the labels of the graph
    :returns: the label of the likeliest relation, or ``None``
    """
    return next((one for words in _UPWARD for one in labels.relations if _says(one, words)), None)


def _says(relation: str, words: tuple[str, ...]) -> bool:
    """Return whether the name of a relation is made of these words, or has a single one of them."""
    found = tuple(one.casefold() for one in _WORD.findall(humanise(relation)))
    return found == words or (len(words) == 1 and words[0] in found)


def _read(path: Path) -> Taxonomy:
    if path.suffix == ".safetensors":
        return Taxonomy.load(path)
    return Taxonomy.read(path) if is_rdf(path) else Taxonomy.read_table(path)
