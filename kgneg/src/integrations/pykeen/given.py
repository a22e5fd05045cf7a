"""Negatives that the user brings, in PyKEEN."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch

from kgneg.core.corruption import Corruptor
from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import HEAD, RELATION, TAIL, LongTensor
from kgneg.core.validation import choose
from kgneg.integrations.pykeen.base import NUM_NEGS_RANGE, KgnegNegativeSampler
from kgneg.integrations.pykeen.factories import Labels, find_labels
from kgneg.integrations.pykeen.setup import Setup
from kgneg.samplers import GivenCorruptor

__all__ = ["GivenNegativeSampler"]

logger = logging.getLogger(__name__)


class GivenNegativeSampler(KgnegNegativeSampler):
    """Negatives from a file: those that share head and relation, or relation and tail, with the positive.

    A positive for which the file has none gets uniform negatives, counted as fall-back. Negatives in the file that are
    known training triples are never drawn; their number is logged.

    :param mapped_triples: shape: ``(m, 3)``, the training triples
    :param num_entities: the number of entities; ``None`` infers it
    :param num_relations: the number of relations; ``None`` infers it
    :param num_negs_per_pos: the number of negatives per positive, 1 by default
    :param filtered: whether known triples are excluded, exactly
    :param filterer: a PyKEEN filterer to apply on top
    :param filterer_kwargs: its arguments
    :param path: a TSV or Parquet file with a head, a relation and a tail label per row
    :param unknown: ``"error"``, or ``"skip"`` to leave out rows with labels that the graph does not have
    :param sides: which end to replace; see ``kgneg-uniform``
    :param fn_budget: at most how many times as many unknown true triples as among uniform negatives may be drawn, at
        least 1; ``None``: any number
    :param seed: the seed of the private generator; ``None`` takes torch's initial seed
    """

    display_name: ClassVar[str] = "given"
    citation: ClassVar[str] = GivenCorruptor.citation
    hpo_default: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        **NUM_NEGS_RANGE,
        "sides": {"type": "categorical", "choices": ["uniform", "single", "bernoulli", "alternate"]},
    }

    def __init__(
        self,
        *,
        mapped_triples: LongTensor,
        path: str | Path,
        num_entities: int | None = None,
        num_relations: int | None = None,
        num_negs_per_pos: int | None = None,
        filtered: bool = True,
        filterer: Any = None,
        filterer_kwargs: Mapping[str, Any] | None = None,
        unknown: str = "error",
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
            options={"path": path, "unknown": unknown, "sides": sides},
        )

    @classmethod
    def make_corruptor(  # type: ignore[override]
        cls, setup: Setup, common: dict[str, Any], *, path: str | Path, unknown: str, sides: str
    ) -> Corruptor:
        """Read the file and build the corruptor.

        :param setup: the graph
        :param common: the arguments of every corruptor
        :param path: the file
        :param unknown: what to do about unknown labels
        :param sides: the name of the side policy
        :returns: the corruptor
        :raises InvalidInputError: if the labels of the graph are not known, or the file cannot be used
        """
        from kgneg.datasets import read_triples

        choose("unknown", unknown, ("error", "skip"))
        rows = read_triples(path)
        labels = find_labels(setup.mapped_triples, setup.num_entities)
        if labels is None:
            raise InvalidInputError(f"{path} speaks of labels, but no triples factory with labels is in memory")
        inverse = setup.num_relations > len(labels.relations)
        negatives = _to_ids(rows, labels, path, unknown, inverse)

        corruptor = GivenCorruptor(negatives, sides=setup.sides(sides), **common)
        if corruptor.num_known:
            logger.warning("%d of %d given negatives are known triples", corruptor.num_known, len(negatives))
        return corruptor


def _to_ids(rows: Any, labels: Labels, path: str | Path, unknown: str, inverse: bool) -> LongTensor:
    """Return the rows as ids, with their inverses when the graph has inverse relations."""
    entities = {label: number for number, label in enumerate(labels.entities)}
    relations = {label: number for number, label in enumerate(labels.relations)}
    good = [
        (entities[h], relations[r], entities[t])
        for h, r, t in rows
        if h in entities and r in relations and t in entities
    ]
    if len(good) < len(rows):
        strange = sorted(
            {x for h, r, t in rows for x, known in ((h, entities), (r, relations), (t, entities)) if x not in known}
        )
        text = f"{len(rows) - len(good)} of {len(rows)} rows of {path} have unknown labels, such as {strange[:3]}"
        if unknown == "error" or not good:
            raise InvalidInputError(f"{text}. Correct them, or leave such rows out with unknown='skip'.")
        logger.warning("%s; they are left out", text)
    triples = torch.tensor(good)
    if not inverse:
        return triples
    forward, backward = triples.clone(), triples[:, [TAIL, RELATION, HEAD]].clone()
    forward[:, RELATION] *= 2
    backward[:, RELATION] = 2 * backward[:, RELATION] + 1
    return torch.cat([forward, backward])
