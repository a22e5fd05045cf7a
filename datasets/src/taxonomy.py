"""Hierarchies of concepts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from kgneg.core.candidates import CandidateIndex
from kgneg.core.errors import InvalidInputError, MissingTextError
from kgneg.core.typing import FloatTensor, LongTensor
from kgneg.core.validation import choose, validate_count
from kgneg.datasets._labels import humanise

if TYPE_CHECKING:
    from os import PathLike

    import networkx as nx

__all__ = ["Taxonomy"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Taxonomy:
    """Concepts, each below any number of broader ones, with labels; the ids are positions in :attr:`concepts`.

    Make one with :meth:`from_pairs`, :meth:`read` (RDF), :meth:`read_table`, :meth:`read_esco` or
    :meth:`from_networkx`. Every neighbourhood is a :class:`~kgneg.core.candidates.CandidateIndex`, a list of concepts
    for each concept: what the samplers draw from.

    :param name: the name
    :param concepts: length: n, distinct identifiers in ascending order
    :param parents: n x n, the broader concepts of each; without cycles
    :param labels: length: n, the preferred labels; empty where there is none
    :param alternatives: length: n, further labels of each
    :param kinds: length: n, what sort of concept each is, such as ``"skill"`` or ``"group"``; empty: not said
    :param relations: for each name, such as ``"occupation"``, n x contexts: which contexts each concept belongs to
    :param contexts: for each name, the labels of its contexts
    :param report: counts of what was found odd, dropped or mended while reading
    :param descriptions: length: n, what each means, empty where nobody says; or no descriptions at all

    >>> zoo = Taxonomy.from_pairs([("lion", "cat"), ("tiger", "cat"), ("cat", "animal"), ("dog", "animal")])
    >>> zoo
    Taxonomy('taxonomy', concepts=5, roots=1, links=4)
    >>> [zoo.concepts[one] for one in zoo.siblings().members(zoo.ids["lion"])]
    ['tiger']
    """

    name: str
    concepts: tuple[str, ...] = field(repr=False)
    parents: CandidateIndex = field(repr=False)
    labels: tuple[str, ...] = field(repr=False)
    alternatives: tuple[tuple[str, ...], ...] = field(repr=False)
    kinds: tuple[str, ...] = field(repr=False)
    relations: Mapping[str, CandidateIndex] = field(default_factory=dict, repr=False)
    contexts: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    report: Mapping[str, int] = field(default_factory=Counter, repr=False)
    descriptions: tuple[str, ...] = field(default=(), repr=False)

    def __repr__(self) -> str:
        links = len(self.parents.indices)
        return f"Taxonomy({self.name!r}, concepts={len(self)}, roots={len(self.roots)}, links={links})"

    def __len__(self) -> int:
        return len(self.concepts)

    # Making

    @classmethod
    def from_pairs(
        cls,
        pairs: Iterable[tuple[str, str]],
        *,
        concepts: Iterable[str] | None = None,
        labels: Mapping[str, str] | None = None,
        alternatives: Mapping[str, Sequence[str]] | None = None,
        kinds: Mapping[str, str] | None = None,
        descriptions: Mapping[str, str] | None = None,
        relations: Mapping[str, Iterable[tuple[str, str]]] | None = None,
        unknown: str = "error",
        cycles: str = "error",
        name: str = "taxonomy",
        report: Mapping[str, int] | None = None,
    ) -> Taxonomy:
        """Make a taxonomy from (child, parent) pairs of identifiers; a repeated pair counts once.

        :param pairs: the links
        :param concepts: all concepts, also those without links; ``None`` takes those of the pairs
        :param labels: identifier -> preferred label
        :param alternatives: identifier -> further labels
        :param kinds: identifier -> sort of the concept
        :param descriptions: identifier -> what it means
        :param relations: name -> (concept, context) pairs, such as skills and the occupations that need them; pairs
            with an unknown concept are dropped and counted
        :param unknown: what to do with a link to a concept that is not in ``concepts``: ``"error"`` refuses,
            ``"add"`` adds it, ``"drop"`` drops the link; both are counted
        :param cycles: ``"error"`` refuses a cycle and names it; ``"drop"`` drops, and counts, all links between
            concepts that are broader than each other
        :param name: the name of the taxonomy
        :param report: counts to begin with
        :returns: the taxonomy
        :raises InvalidInputError: if there is no link, an identifier is no text or twice in ``concepts``, a concept is
            unknown, or there is a cycle
        """
        from kgneg.datasets._taxonomy_parts import assemble

        return cls(
            **assemble(
                pairs,
                concepts=concepts,
                labels=labels or {},
                alternatives=alternatives or {},
                kinds=kinds or {},
                descriptions=descriptions or {},
                relations=relations or {},
                unknown=unknown,
                cycles=cycles,
                name=name,
                report=report or {},
            )
        )

    @classmethod
    def from_networkx(cls, graph: nx.DiGraph[str], *, edges: str = "child-parent", **options: Any) -> Taxonomy:
        """Make a taxonomy from a directed networkx graph.

        The attributes ``label``, ``alternatives`` and ``kind`` of a node are its label, further labels and kind.

        :param graph: a graph whose nodes are texts
        :param edges: whether an edge goes from a ``"child-parent"`` or the other way, ``"parent-child"``
        :param options: ``unknown``, ``cycles``, ``name`` and ``relations`` of :meth:`from_pairs`
        :returns: the taxonomy
        :raises InvalidInputError: if the graph is undirected, or as :meth:`from_pairs`

        >>> import networkx as nx
        >>> Taxonomy.from_networkx(nx.DiGraph([("lion", "cat")])).concepts
        ('cat', 'lion')
        """
        from kgneg.datasets._taxonomy_parts import parts_of_networkx

        choose("edges", edges, ("child-parent", "parent-child"))
        return cls.from_pairs(**{**parts_of_networkx(graph, turned=edges == "parent-child"), **options})

    @classmethod
    def read(cls, path: str | PathLike[str], **options: Any) -> Taxonomy:
        """Read SKOS or OWL from an RDF file, see :func:`~kgneg.datasets.taxonomy_rdf.read_rdf_taxonomy`.

        :param path: the file
        :param options: its other arguments
        :returns: the taxonomy
        """
        from kgneg.datasets.taxonomy_rdf import read_rdf_taxonomy

        return read_rdf_taxonomy(path, **options)

    @classmethod
    def read_table(cls, path: str | PathLike[str], **options: Any) -> Taxonomy:
        """Read a table of children and parents, see :func:`~kgneg.datasets.taxonomy_tables.read_taxonomy_table`.

        :param path: the file
        :param options: its other arguments
        :returns: the taxonomy
        """
        from kgneg.datasets.taxonomy_tables import read_taxonomy_table

        return read_taxonomy_table(path, **options)

    @classmethod
    def read_esco(cls, folder: str | PathLike[str], **options: Any) -> Taxonomy:
        """Read the CSV files of ESCO, see :func:`~kgneg.datasets.esco.read_esco`.

        :param folder: the folder
        :param options: its other arguments
        :returns: the taxonomy
        """
        from kgneg.datasets.esco import read_esco

        return read_esco(folder, **options)

    # Keeping

    def save(self, path: str | PathLike[str]) -> None:
        """Write everything to one safetensors file, atomically.

        :param path: the file
        """
        from kgneg.core.storage import write_tensors
        from kgneg.datasets._taxonomy_tensors import to_tensors

        write_tensors(path, to_tensors(self), {"format": "kgneg taxonomy 1"})  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Taxonomy:
        """Read what :meth:`save` has written.

        :param path: the file
        :returns: the taxonomy
        :raises InvalidInputError: if the file is missing, damaged, or holds something else
        """
        from kgneg.core.storage import read_tensors
        from kgneg.datasets._taxonomy_tensors import from_tensors

        tensors, metadata = read_tensors(path)  # type: ignore[arg-type]
        if metadata.get("format") != "kgneg taxonomy 1" or "texts" not in tensors:
            raise InvalidInputError(f"{path}: got {metadata.get('format', 'no format')!r}, expected a saved taxonomy")
        return cls(**from_tensors(tensors))

    # Looking

    @cached_property
    def ids(self) -> dict[str, int]:
        """The id of each identifier."""
        return {one: number for number, one in enumerate(self.concepts)}

    @cached_property
    def children(self) -> CandidateIndex:
        """The narrower concepts of each."""
        child, parent = self.parents.pairs()
        return CandidateIndex.from_pairs(parent, child, num_rows=len(self), num_columns=len(self))

    @cached_property
    def roots(self) -> LongTensor:
        """The concepts without a parent that have a child, ascending."""
        none = self.parents.indptr.diff() == 0
        return (none & (self.children.indptr.diff() > 0)).nonzero().squeeze(1)

    def texts(self, missing: str = "error") -> list[str]:
        """Return a label for each concept.

        :param missing: what to do where there is none: ``"error"`` refuses, ``"id"`` makes one of the identifier
        :returns: length: n
        :raises MissingTextError: if concepts have no label and ``missing`` is ``"error"``
        """
        choose("missing", missing, ("error", "id"))
        without = [one for one, label in zip(self.concepts, self.labels, strict=True) if not label]
        if without and missing == "error":
            raise MissingTextError(
                f"{len(without)} of {len(self)} concepts of {self.name!r} have no label, for example "
                f"{', '.join(map(repr, without[:3]))}; give their labels, or make them of the identifiers with "
                "missing='id'"
            )
        return [label or humanise(one) for one, label in zip(self.concepts, self.labels, strict=True)]

    def of_kind(self, kind: str) -> LongTensor:
        """Return the concepts of a kind, ascending.

        :param kind: the kind
        :returns: shape: ``(k,)``
        :raises InvalidInputError: if there is none
        """
        self._check_kind(kind)
        return torch.tensor([number for number, one in enumerate(self.kinds) if one == kind])

    def _check_kind(self, kind: str) -> None:
        known = sorted(set(self.kinds) - {""})
        if kind not in known:
            said = f"the kinds of {self.name!r} are {', '.join(known)}" if known else f"{self.name!r} has no kinds"
            raise InvalidInputError(f"there is no concept of the kind {kind!r}: {said}")

    # Neighbourhoods

    def siblings(self, via: str = "any", *, weighted: bool = True) -> CandidateIndex:
        r"""Return the concepts that share a direct parent with each.

        With weights a parent is chosen first, and then one of its children: a sibling has the weight
        :math:`\sum_p 1 / (|C(p)| - 1)` over the shared parents, so that the many children of a broad parent do not
        outweigh the few of a narrow one.

        :param via: the kind of the parent, such as ``"group"`` or ``"skill"`` in ESCO; ``"any"`` takes all parents
        :param weighted: whether to give weights
        :returns: n x n
        :raises InvalidInputError: if there is no concept of this kind
        """
        from kgneg.datasets._taxonomy_neighbourhoods import together

        parents = self.parents
        if via != "any":
            self._check_kind(via)
            right = torch.tensor([kind == via for kind in self.kinds])
            child, parent = parents.pairs()
            kept = right[parent]
            parents = CandidateIndex.from_pairs(child[kept], parent[kept], num_rows=len(self), num_columns=len(self))
        return together(parents, weighted=weighted, what=f"siblings(via={via!r})")

    def cousins(self, depth: int = 2, *, weighted: bool = True) -> CandidateIndex:
        """Return the concepts that share an ancestor exactly so many steps above both, and none within fewer of both.

        Steps are those of the shortest way.

        :param depth: 1 gives siblings, 2 the children of siblings of parents, and so on
        :param weighted: whether to weight each by one over the number of those that share the ancestor
        :returns: n x n; ancestors and descendants are not among them
        :raises InvalidInputError: if there would be too many
        """
        from kgneg.datasets._taxonomy_neighbourhoods import cousins

        return cousins(self, validate_count("depth", depth), weighted=weighted)

    @cached_property
    def _ancestors(self) -> CandidateIndex:
        from kgneg.datasets._taxonomy_neighbourhoods import closure

        return closure(self.parents)

    def ancestors(self) -> CandidateIndex:
        """Return all broader concepts of each, near and far.

        :returns: n x n; the weight of an ancestor is the number of steps to it, on the shortest way
        """
        return self._ancestors

    def descendants(self) -> CandidateIndex:
        """Return all narrower concepts of each, near and far.

        :returns: n x n; the weight of a descendant is the number of steps to it, on the shortest way
        """
        row, member = self._ancestors.pairs()
        steps = self._ancestors.weights
        return CandidateIndex.from_pairs(member, row, num_rows=len(self), num_columns=len(self), weights=steps)

    def shared_relation(self, name: str, *, weighted: bool = True) -> CandidateIndex:
        """Return the concepts that belong to a common context, such as skills that one occupation needs.

        :param name: a name of :attr:`relations`
        :param weighted: whether to weight each by one over the size of the contexts that it shares
        :returns: n x n
        :raises InvalidInputError: if the name is not known, or there would be too many
        """
        from kgneg.datasets._taxonomy_neighbourhoods import together

        if name not in self.relations:
            known = ", ".join(self.relations) or "none"
            raise InvalidInputError(f"{self.name!r} has no relation {name!r}, its relations: {known}")
        return together(self.relations[name], weighted=weighted, what=f"shared_relation({name!r})")

    # Similarity

    @cached_property
    def depths(self) -> LongTensor:
        """The number of concepts on the longest way from a root to each, both counted; 1 for a root."""
        child, parent = self.parents.pairs()
        depths = torch.ones(len(self), dtype=torch.long)
        while True:
            deeper = depths.clone().scatter_reduce_(0, child, depths[parent] + 1, "amax")
            if torch.equal(deeper, depths):
                return depths
            depths = deeper

    def similarity(self, first: LongTensor, second: LongTensor, measure: str = "wu-palmer") -> FloatTensor:
        r"""Return how similar concepts are by where they stand.

        * ``"wu-palmer"``: :math:`\max_z 2 d(z) / (s(a, z) + s(b, z) + 2 d(z))` over the common ancestors :math:`z`
          (a concept is one of its own), with the depth :math:`d` of :attr:`depths` and the steps :math:`s` of the
          shortest way. Source: Wu and Palmer, ACL 1994.
        * ``"lin"``: :math:`\max_z 2 I(z) / (I(a) + I(b))` with the information content
          :math:`I(c) = -\log((1 + |D(c)|) / n)` of the number of descendants :math:`D`. Source: Lin, ICML 1998; the
          content without a corpus: Seco, Veale and Hayes, ECAI 2004.

        :param first: shape: ``(*)``, concepts
        :param second: shape: ``(*)``, concepts
        :param measure: which one
        :returns: shape: ``(*)``, float64, in ``[0, 1]``; 0 without a common ancestor
        :raises InvalidInputError: if the measure is not known, shapes differ or an id is out of range

        >>> zoo = Taxonomy.from_pairs([("lion", "cat"), ("tiger", "cat"), ("cat", "animal"), ("dog", "animal")])
        >>> a, b = (torch.tensor([zoo.ids[one]]) for one in ("lion", "tiger"))
        >>> round(float(zoo.similarity(a, b)), 3)
        0.667
        """
        from kgneg.datasets._taxonomy_similarity import similarity

        return similarity(self, first, second, choose("measure", measure, ("wu-palmer", "lin")))
