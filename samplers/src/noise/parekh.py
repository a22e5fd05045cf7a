"""The cleaning of Parekh et al. (arXiv 2311.12298), as a baseline."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.neighbours import find_neighbours
from kgneg.core.seeding import mix_seeds
from kgneg.core.typing import BoolTensor, FloatTensor, LongTensor
from kgneg.core.validation import choose, validate_count
from kgneg.samplers.noise.probe import assign_folds, out_of_fold_logits
from kgneg.samplers.noise.rows import Column, NoiseRows
from kgneg.samplers.noise.space import project

__all__ = ["NeighbourCleaning", "parekh_es", "parekh_is"]

_PURPOSE = 0x706172656B68


@dataclass(frozen=True, eq=False)
class NeighbourCleaning:
    """What :func:`parekh_is` or :func:`parekh_es` does to a data set.

    :param classes: the labels, the negative one first
    :param labels: shape: ``(n,)``, the given labels, positions in ``classes``
    :param flagged: shape: ``(n,)``, the rows that are touched
    :param seed: shape: ``(n,)``, the row whose neighbour each flagged row is, -1 elsewhere
    :param cosine: shape: ``(n,)``, the cosine to it, ``-inf`` elsewhere; it ranks rows
    :param seeds: rows whose neighbours were looked at
    :param new_labels: shape: ``(n,)``, the labels afterwards; -1 where the row is eliminated
    """

    classes: tuple[Any, ...]
    labels: LongTensor = field(repr=False)
    flagged: BoolTensor = field(repr=False)
    seed: LongTensor = field(repr=False)
    cosine: FloatTensor = field(repr=False)
    seeds: LongTensor = field(repr=False)
    new_labels: LongTensor = field(repr=False)

    def corrected(self) -> list[Any]:
        """Return the label of each row afterwards, ``None`` where it is eliminated."""
        return [None if code < 0 else self.classes[code] for code in self.new_labels.tolist()]


def parekh_is(
    embeddings: Any,
    labels: Column,
    *,
    negative_label: Hashable,
    predicted: Column | None = None,
    variant: str = "E",
    k: int = 3,
    groups: Column | None = None,
    seed: int = 0,
) -> NeighbourCleaning:
    """Clean with the labels alone (the paper's intrinsic strategy).

    Seeds are positives that a model takes for negatives. Of each, the ``k`` nearest negatives are touched.

    :param embeddings: shape: ``(n, d)``; in the paper the hidden vectors of the model
    :param labels: a label per row
    :param negative_label: the label of the big class
    :param predicted: the label per row that the model gives; ``None`` trains a small classifier on four fifths of the
        groups and asks it about the others
    :param variant: ``"E"`` eliminates the neighbours, ``"R"`` gives them the label of the nearest seed
    :param k: neighbours of each seed, 3 in the paper
    :param groups: a group per row; neighbours of the same group do not count
    :param seed: the seed of the classifier
    :returns: what was done
    :raises InvalidInputError: as for :meth:`NoiseFilter.fit`, or if a predicted label is none of the labels

    >>> vectors = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
    >>> done = parekh_is(vectors, ["a", "none", "none", "none"], negative_label="none", predicted=["none"] * 4, k=1)
    >>> done.corrected()
    ['a', None, 'none', 'none']
    """
    choose("variant", variant, ("E", "R"))
    rows = NoiseRows.check(embeddings, labels, negative_label=negative_label, least_positives=1, groups=groups)
    guess = _predictions(rows, seed) if predicted is None else _codes("predicted", predicted, rows)
    seeds = (rows.positive & (guess == 0)).nonzero().squeeze(-1)
    return _touch(rows, seeds, rows.codes[seeds], ~rows.positive, k, relabel=variant == "R")


def parekh_es(
    embeddings: Any,
    labels: Column,
    *,
    negative_label: Hashable,
    clean_mask: Any,
    clean_labels: Column,
    variant: str = "EN",
    k: int = 3,
    groups: Column | None = None,
) -> NeighbourCleaning:
    """Clean with the help of a clean subset (the paper's extrinsic strategy).

    Seeds are rows of the subset whose label was corrected from the negative one. Of each, the ``k`` nearest negatives
    outside of the subset are touched. The variants with P also touch positives near rows whose label was wrong in the
    subset and became negative.

    :param embeddings: shape: ``(n, d)``
    :param labels: a label per row
    :param negative_label: the label of the big class
    :param clean_mask: shape: ``(n,)``, the subset; take it from outside of any test set, which the paper did not
    :param clean_labels: corrected labels, read in the subset only
    :param variant: ``"EN"`` and ``"ENP"`` eliminate, ``"RN"`` and ``"RNP"`` give the corrected label of the seed
    :param k: neighbours of each seed
    :param groups: a group per row; neighbours of the same group do not count
    :returns: what was done; rows of the subset are left as they are
    :raises InvalidInputError: as for :meth:`NoiseFilter.fit`, or if no row of the subset was corrected
    """
    choose("variant", variant, ("EN", "RN", "ENP", "RNP"))
    rows = NoiseRows.check(
        embeddings,
        labels,
        negative_label=negative_label,
        least_positives=1,
        groups=groups,
        clean_mask=clean_mask,
        clean_labels=clean_labels,
    )
    inside = rows.clean >= 0
    corrected = inside & (rows.clean != rows.codes)
    seeds = (corrected & ~rows.positive).nonzero().squeeze(-1)
    if not len(seeds):
        raise InvalidInputError(
            f"none of the {int(inside.sum())} clean rows shows a hidden positive, so there is nothing to start from: "
            "give more clean rows, or use parekh_is"
        )
    relabel = variant.startswith("R")
    done = _touch(rows, seeds, rows.clean[seeds], ~rows.positive & ~inside, k, relabel=relabel)
    if not variant.endswith("P"):
        return done
    wrong = (corrected & rows.positive & (rows.clean == 0)).nonzero().squeeze(-1)
    more = _touch(rows, wrong, rows.clean[wrong], rows.positive & ~inside, k, relabel=relabel)
    return NeighbourCleaning(
        classes=done.classes,
        labels=done.labels,
        flagged=done.flagged | more.flagged,
        seed=torch.where(more.flagged, more.seed, done.seed),
        cosine=torch.maximum(done.cosine, more.cosine),
        seeds=torch.cat([seeds, wrong]),
        new_labels=torch.where(more.flagged, more.new_labels, done.new_labels),
    )


def _codes(name: str, column: Column, rows: NoiseRows) -> LongTensor:
    position = {label: code for code, label in enumerate(rows.classes)}
    values = column.tolist() if hasattr(column, "tolist") else list(column)
    if len(values) != len(rows):
        raise InvalidInputError(f"there are {len(rows)} vectors but {len(values)} {name} labels: give one per row")
    foreign = next((value for value in values if value not in position), None)
    if foreign is not None:
        raise InvalidInputError(f"{name} holds the label {foreign!r}, which no row has")
    return torch.tensor([position[value] for value in values])


def _predictions(rows: NoiseRows, seed: int) -> LongTensor:
    """Return the class that a classifier, trained on other groups, gives each row."""
    folds = assign_folds(rows.groups, 5, torch.Generator().manual_seed(mix_seeds(seed, _PURPOSE, 0)))
    device = rows.vectors.device
    generator = torch.Generator().manual_seed(mix_seeds(seed, _PURPOSE, 1))
    on_device = torch.Generator(device).manual_seed(mix_seeds(seed, _PURPOSE, 2))
    folds = torch.unique(folds, return_inverse=True)[1]  # few groups leave folds empty
    if int(folds.max()) == 0:
        raise InvalidInputError("all rows are of one group: give predicted labels")
    projected = project(rows.vectors, generator)
    codes, folds = rows.codes.to(device), folds.to(device)
    return out_of_fold_logits(projected, (), codes, folds, generator=on_device).argmax(dim=-1).cpu()


def _touch(
    rows: NoiseRows, seeds: LongTensor, labels: LongTensor, among: BoolTensor, k: int, *, relabel: bool
) -> NeighbourCleaning:
    """Eliminate or relabel the nearest rows of seeds; a row near several belongs to the nearest one."""
    number = len(rows)
    owner = torch.full((number,), -1)
    cosine = torch.full((number,), -torch.inf)
    new = rows.codes.clone()
    places = among.nonzero().squeeze(-1)
    if len(seeds) and len(places):
        near = find_neighbours(
            rows.vectors[seeds],
            rows.vectors[places],
            validate_count("k", k),
            query_groups=rows.groups[seeds],
            reference_groups=rows.groups[places],
            exact_arithmetic=True,
        )
        ids, cosines = near.ids.long().cpu(), near.cosine.cpu()
        there = ids >= 0
        touched = places[ids[there]]
        value = cosines[there]
        by = torch.arange(len(seeds))[:, None].expand_as(there)[there]
        order = value.argsort(stable=True)
        order = order[touched[order].argsort(stable=True)]  # by row, the nearest seed last
        row = touched[order]
        last = torch.cat([row[1:] != row[:-1], torch.ones(min(len(row), 1), dtype=torch.bool)])
        owner[row[last]], cosine[row[last]] = by[order][last], value[order][last]
        flagged = owner >= 0
        new[flagged] = labels[owner[flagged]] if relabel else -1
        owner[flagged] = seeds[owner[flagged]]
    return NeighbourCleaning(rows.classes, rows.codes, owner >= 0, owner, cosine, seeds, new)
