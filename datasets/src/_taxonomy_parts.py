"""How taxonomies are put together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from scipy.sparse.csgraph import connected_components

from kgneg.core.candidates import CandidateIndex
from kgneg.core.errors import InvalidInputError
from kgneg.core.validation import choose
from kgneg.datasets._taxonomy_neighbourhoods import matrix_of

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["assemble", "parts_of_networkx"]

_SHOWN = 8  # concepts of a cycle that a message names


# Putting together


def assemble(
    pairs: Iterable[tuple[str, str]],
    *,
    concepts: Iterable[str] | None,
    labels: Mapping[str, str],
    alternatives: Mapping[str, Sequence[str]],
    kinds: Mapping[str, str],
    descriptions: Mapping[str, str],
    relations: Mapping[str, Iterable[tuple[str, str]]],
    unknown: str,
    cycles: str,
    name: str,
    report: Mapping[str, int],
) -> dict[str, Any]:
    """Return the arguments of :class:`kgneg.datasets.Taxonomy`; see :meth:`kgneg.datasets.Taxonomy.from_pairs`."""
    choose("unknown", unknown, ("error", "add", "drop"))
    choose("cycles", cycles, ("error", "drop"))
    counts: Counter[str] = Counter(report)
    links = [_checked_link(pair) for pair in pairs]
    if not links:
        raise InvalidInputError(
            f"the taxonomy {name!r} is empty: got no link between a child and a parent, expected at least one"
        )
    names, links = _vocabulary(links, concepts, unknown, counts)
    ids = {one: number for number, one in enumerate(names)}
    child, parent = (torch.tensor([ids[link[end]] for link in links], dtype=torch.long) for end in (0, 1))
    parents = CandidateIndex.from_pairs(child, parent, num_rows=len(names), num_columns=len(names))
    counts["repeated_link"] += len(links) - len(parents.indices)
    parents = _without_cycles(parents, names, cycles, counts)
    indices, contexts = {}, {}
    for what, members in relations.items():
        indices[what], contexts[what] = _relation(what, members, ids, counts)
    number = parents.indptr.diff()
    has_child = torch.zeros(len(names), dtype=torch.bool)
    has_child[parents.indices.long()] = True
    counts["orphan"] += int(((number == 0) & ~has_child).sum())
    counts["several_parents"] += int((number > 1).sum())
    further = tuple(_further(alternatives.get(one, ()), labels.get(one, "")) for one in names)
    if labels:
        counts["without_label"] += sum(not labels.get(one) for one in names)
    counts["label_of_unknown_concept"] += sum(one not in ids for one in labels)
    return {
        "name": name,
        "concepts": names,
        "parents": parents,
        "labels": tuple(labels.get(one, "") for one in names),
        "alternatives": further,
        "kinds": tuple(kinds.get(one, "") for one in names),
        "descriptions": tuple(descriptions.get(one, "") for one in names) if descriptions else (),
        "relations": indices,
        "contexts": contexts,
        "report": Counter({what: count for what, count in counts.items() if count}),
    }


def _checked_link(pair: tuple[str, str]) -> tuple[str, str]:
    if not isinstance(pair, tuple | list) or len(pair) != 2 or not all(isinstance(one, str) and one for one in pair):
        raise InvalidInputError(f"got the link {pair!r}, expected a pair of non-empty texts (child, parent)")
    return pair[0], pair[1]


def _vocabulary(
    links: list[tuple[str, str]], concepts: Iterable[str] | None, unknown: str, counts: Counter[str]
) -> tuple[tuple[str, ...], list[tuple[str, str]]]:
    """Return the sorted identifiers, and the links between them."""
    named = {one for link in links for one in link}
    if concepts is None:
        return tuple(sorted(named)), links
    given = list(concepts)
    for one in given:
        if not isinstance(one, str) or not one:
            raise InvalidInputError(f"got the concept {one!r}, expected a non-empty text")
    twice = [one for one, number in Counter(given).items() if number > 1]
    if twice:
        raise InvalidInputError(
            f"{len(twice)} concepts are there more than once, the first is {twice[0]!r}: identifiers must be distinct"
        )
    strange = named - set(given)
    if not strange:
        return tuple(sorted(given)), links
    if unknown == "error":
        child, parent = next(link for link in links if not strange.isdisjoint(link))
        what, one = ("parent", parent) if parent in strange else ("child", child)
        raise InvalidInputError(
            f"{len(strange)} concepts of links are not among the {len(given)} concepts; the first is the unknown "
            f"{what} {one!r} of the link {child!r} -> {parent!r}. Add them with unknown='add', or drop their links "
            "with unknown='drop'."
        )
    if unknown == "add":
        counts["added_concept"] += len(strange)
        return tuple(sorted(named.union(given))), links
    kept = [link for link in links if strange.isdisjoint(link)]
    counts["dropped_link"] += len(links) - len(kept)
    if not kept:
        raise InvalidInputError(f"all {len(links)} links are to unknown concepts, nothing is left")
    return tuple(sorted(given)), kept


def _without_cycles(parents: CandidateIndex, names: Sequence[str], cycles: str, counts: Counter[str]) -> CandidateIndex:
    child, parent = parents.pairs()
    _, parts = connected_components(matrix_of(parents), directed=True, connection="strong")
    part = torch.from_numpy(parts)
    inside = part[child] == part[parent]  # also links of a concept to itself
    if not bool(inside.any()):
        return parents
    if cycles == "error":
        first = part[child[inside][0]]
        raise InvalidInputError(
            f"the hierarchy has a cycle: {_spelled(child[inside], parent[inside], part == first, names)}. Mend the "
            f"links, or drop the {int(inside.sum())} links inside cycles with cycles='drop'."
        )
    counts["link_in_cycle"] += int(inside.sum())
    kept = ~inside
    if not bool(kept.any()):
        raise InvalidInputError("all links are inside cycles, nothing is left")
    return CandidateIndex.from_pairs(child[kept], parent[kept], num_rows=len(names), num_columns=len(names))


def _spelled(child: torch.Tensor, parent: torch.Tensor, chosen: torch.Tensor, names: Sequence[str]) -> str:
    """Return one cycle in words."""
    import networkx as nx

    kept = chosen[child]
    graph = nx.DiGraph(list(zip(child[kept].tolist(), parent[kept].tolist(), strict=True)))
    way = [names[one] for one, _ in nx.find_cycle(graph)]
    shown = [*map(repr, way[:_SHOWN])]
    return " -> ".join([*shown, repr(way[0]) if len(way) <= _SHOWN else f"... ({len(way)} concepts)"])


def _relation(
    what: str, members: Iterable[tuple[str, str]], ids: Mapping[str, int], counts: Counter[str]
) -> tuple[CandidateIndex, tuple[str, ...]]:
    pairs = [_checked_link(pair) for pair in members]
    known = [(concept, context) for concept, context in pairs if concept in ids]
    counts[f"{what}_of_unknown_concept"] += len(pairs) - len(known)
    if not known:
        raise InvalidInputError(f"none of the {len(pairs)} pairs of the relation {what!r} is of a concept")
    names = tuple(sorted({context for _, context in known}))
    places = {one: number for number, one in enumerate(names)}
    rows = torch.tensor([ids[concept] for concept, _ in known])
    columns = torch.tensor([places[context] for _, context in known])
    return CandidateIndex.from_pairs(rows, columns, num_rows=len(ids), num_columns=len(names)), names


def _further(labels: Sequence[str], preferred: str) -> tuple[str, ...]:
    if isinstance(labels, str):
        raise InvalidInputError(f"got the text {labels!r} as further labels, expected several: ({labels!r},)")
    return tuple(dict.fromkeys(one for one in labels if one and one != preferred))


def parts_of_networkx(graph: nx.DiGraph[str], *, turned: bool) -> dict[str, Any]:
    """Return arguments of :meth:`kgneg.datasets.Taxonomy.from_pairs`.

    :param graph: the graph
    :param turned: whether edges go from parents to children
    """
    import networkx as nx

    if not isinstance(graph, nx.Graph) or not graph.is_directed():
        raise InvalidInputError(f"got {type(graph).__name__}, expected a directed networkx graph")
    nodes: dict[str, dict[str, Any]] = {one: graph.nodes[one] for one in graph}
    return {
        "pairs": [(second, first) if turned else (first, second) for first, second in graph.edges()],
        "concepts": list(nodes),
        "labels": {one: data["label"] for one, data in nodes.items() if data.get("label")},
        "alternatives": {one: data["alternatives"] for one, data in nodes.items() if data.get("alternatives")},
        "kinds": {one: data["kind"] for one, data in nodes.items() if data.get("kind")},
        "descriptions": {one: data["description"] for one, data in nodes.items() if data.get("description")},
        "name": graph.graph.get("name") or "networkx",
    }
