"""Less weight for negatives that were judged to be true, in PyKEEN's losses."""

from __future__ import annotations

import glob
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pykeen.triples import CoreTriplesFactory, TriplesFactory
from pykeen.triples.weights import LossWeighter

from kgneg.core.errors import InvalidInputError, KeyOverflowError
from kgneg.core.shard_files import MANIFEST, column_batches, find_shards, finished_notes
from kgneg.core.typing import FloatTensor, LongTensor
from kgneg.core.validation import choose, validate_count, validate_share, validate_triples
from kgneg.integrations.pykeen.weighted_triples import weighted_triples

__all__ = ["VerdictWeighter"]

_INT64 = 2**63 - 1


class VerdictWeighter(LossWeighter):
    r"""Weigh a negative by the probability that it is false, as judges have said.

    A triple with a verdict has weight :math:`1 - p`, where :math:`p` is the mean of its verdicts; known triples have
    weight 1, and triples without a verdict ``default``.

    PyKEEN's loops and kgneg's take an instance, ``training_loop_kwargs=dict(loss_weighter=...)``;
    :meth:`from_run` makes it from the files that ``kgneg selfinstruct run`` has written.

    :param triples: shape: ``(k, 3)``, the judged triples, as ids
    :param probability: shape: ``(k,)``, P(true) of each, in ``[0, 1]``; NaN for no verdict
    :param num_entities: the number of entities
    :param num_relations: the number of relations, with inverse relations when PyKEEN makes them
    :param known: shape: ``(m, 3)``, triples of weight 1 whatever was said; ``None``: none
    :param floor: the smallest weight, in ``[0, 1]``
    :param default: the weight of triples without a verdict, in ``[0, 1]``
    :raises InvalidInputError: if shapes or values do not fit
    :raises KeyOverflowError: if the graph is too large for one number per triple

    >>> judged = torch.tensor([[0, 0, 1], [0, 0, 2]])
    >>> weighter = VerdictWeighter(triples=judged, probability=[0.75, 0.0], num_entities=4, num_relations=1)
    >>> weighter.weight_triples(torch.tensor([[0, 0, 1], [0, 0, 2], [0, 0, 3]])).tolist()
    [0.25, 1.0, 1.0]
    """

    def __init__(
        self,
        *,
        triples: LongTensor,
        probability: FloatTensor | npt.ArrayLike,
        num_entities: int,
        num_relations: int,
        known: LongTensor | None = None,
        floor: float = 0.0,
        default: float = 1.0,
    ) -> None:
        super().__init__()
        self.num_entities = validate_count("num_entities", num_entities)
        self.num_relations = validate_count("num_relations", num_relations)
        self.floor, self.default = validate_share("floor", floor), validate_share("default", default)
        if num_entities**2 * num_relations > _INT64:
            raise KeyOverflowError(
                f"{num_entities:,} entities and {num_relations:,} relations make more triples than the limit of "
                f"{_INT64:,}: shard the graph."
            )
        triples = validate_triples(triples, num_entities, num_relations).cpu()
        said = torch.as_tensor(probability, dtype=torch.float32).cpu()
        if triples.ndim != 2 or said.shape != triples.shape[:1]:
            raise InvalidInputError(
                f"there must be one probability per triple, got {tuple(said.shape)} for triples of shape "
                f"{tuple(triples.shape)}"
            )
        wrong = ((said < 0) | (said > 1)).nonzero()
        if len(wrong):
            raise InvalidInputError(
                f"probability {float(said[wrong[0]])} of row {int(wrong[0])} must be in [0, 1], or NaN for no verdict"
            )
        given = ~said.isnan()
        keys, rows = torch.unique(self._keys(triples[given]), return_inverse=True)
        sums = torch.zeros(len(keys), dtype=torch.float64).index_add_(0, rows, said[given].double())
        weights = (1 - sums / torch.bincount(rows, minlength=len(keys))).float().clamp_(self.floor, 1.0)
        if known is not None:
            sure = torch.unique(self._keys(validate_triples(known, num_entities, num_relations).cpu()))
            other = ~torch.isin(keys, sure)
            keys, order = torch.cat([keys[other], sure]).sort()
            weights = torch.cat([weights[other], torch.ones(len(sure))])[order]
        self._parts = {torch.device("cpu"): (keys, weights)}

    @classmethod
    def from_factory(
        cls,
        factory: CoreTriplesFactory,
        triples: LongTensor,
        probability: FloatTensor | npt.ArrayLike,
        **options: Any,
    ) -> VerdictWeighter:
        """Take the sizes and the known triples of a triples factory, and judge inverse triples as their originals.

        :param factory: the training triples
        :param triples: shape: ``(k, 3)``, the judged triples, relations without inverse ones
        :param probability: shape: ``(k,)``, P(true) of each
        :param options: ``floor`` and ``default``
        :returns: the weighter
        """
        triples = validate_triples(triples, factory.num_entities, factory.real_num_relations)
        both = factory._add_inverse_triples_if_necessary(triples)
        said = torch.as_tensor(probability, dtype=torch.float32)
        return cls(
            triples=both,
            probability=said.repeat(len(both) // max(len(triples), 1)),
            num_entities=factory.num_entities,
            num_relations=factory.num_relations,
            known=factory._add_inverse_triples_if_necessary(factory.mapped_triples),
            **options,
        )

    @classmethod
    def from_run(
        cls,
        decided: str | Path | Sequence[str | Path],
        factory: TriplesFactory,
        *,
        entities: Mapping[str, str] | None = None,
        unknown: str = "error",
        **options: Any,
    ) -> VerdictWeighter:
        """Take the scores of a run of a filter, the probability that a triple is true.

        :param decided: the folder of the run, which is through, or Parquet files or a pattern of them, with the columns
            head, relation, tail and score
        :param factory: the training triples, with labels
        :param entities: the text of each entity label, if heads and tails are texts; ``None``: they are labels
        :param unknown: ``"error"``, or ``"skip"`` to leave out triples whose labels the factory does not have
        :param options: ``floor`` and ``default``
        :returns: the weighter
        :raises InvalidInputError: if the run is not through, a column is missing, labels are unknown, or two entities
            have the same text
        """
        choose("unknown", unknown, ("error", "skip"))
        nodes = dict(factory.entity_to_id) if entities is None else _by_text(factory.entity_to_id, entities)
        known = {"head": nodes, "relation": factory.relation_to_id, "tail": nodes}
        parts, scores = [np.empty((0, 3), dtype=np.int64)], [np.empty(0)]
        shards = _finished_shards(decided)
        for path, batch in column_batches(shards, ("head", "relation", "tail", "score")):
            ids = np.stack([_ids(batch.column(name), known[name]) for name in known], axis=-1)
            bad = (ids < 0).any(axis=-1)
            if bad.any() and unknown == "error":
                row = tuple(batch.column(name)[int(bad.argmax())].as_py() for name in known)
                raise InvalidInputError(
                    f"{path}: {row} is not in the graph. Correct it, or leave such triples out with unknown='skip'."
                )
            parts.append(ids[~bad])
            scores.append(batch.column("score").to_numpy(zero_copy_only=False)[~bad])
        triples = np.concatenate(parts)
        if not len(triples):
            raise InvalidInputError(f"{decided} has no triple of this graph, so there are no weights")
        return cls.from_factory(factory, torch.from_numpy(triples), np.concatenate(scores), **options)

    def __call__(self, h: LongTensor | None, r: LongTensor | None, t: LongTensor | None) -> FloatTensor:
        """Return the weights of triples.

        :param h: the heads; ``None``: all entities, as the last dimension
        :param r: the relations; ``None``: all relations, as the last dimension
        :param t: the tails; ``None``: all entities, as the last dimension
        :returns: the weights, of the shape that heads, relations and tails broadcast to
        """
        return self.weight_triples(weighted_triples(h, r, t, self.num_entities, self.num_relations))

    def weight_triples(self, mapped_triples: LongTensor) -> FloatTensor:
        """Return the weights of triples.

        :param mapped_triples: shape: ``(*, 3)``
        :returns: shape: ``(*)``, in ``[0, 1]``
        """
        keys, weights = self._on(mapped_triples.device)
        wanted = self._keys(mapped_triples.long())
        if not len(keys):
            return torch.full(wanted.shape, self.default, device=wanted.device)
        places = torch.searchsorted(keys, wanted.contiguous()).clamp_(max=len(keys) - 1)
        return torch.where(keys[places] == wanted, weights[places], self.default)

    def _keys(self, triples: LongTensor) -> LongTensor:
        head, relation, tail = triples.unbind(-1)
        return (head * self.num_relations + relation) * self.num_entities + tail

    def _on(self, device: torch.device) -> tuple[LongTensor, FloatTensor]:
        if device not in self._parts:
            keys, weights = self._parts[torch.device("cpu")]
            self._parts[device] = keys.to(device), weights.to(device)
        return self._parts[device]


def _finished_shards(decided: str | Path | Sequence[str | Path]) -> list[Path]:
    """Return the shards that are meant; raise if they are of a run that is not through."""
    given = [decided] if isinstance(decided, str | Path) else list(decided)
    wide: list[str | Path] = []
    for one in given:
        wide += [one] if Path(one).exists() else sorted(glob.glob(str(one))) or [one]  # noqa: PTH207 -- may be absolute
    folders = [Path(one) for one in wide if Path(one).is_dir()]
    runs = [folder for folder in folders if (folder / "_input").is_dir()]
    for folder in runs:
        _check_finished(folder)
    found = find_shards(wide)
    for folder in {path.parent for path in found} - {run.absolute() for run in runs}:
        if (folder / "_input").is_dir():
            _check_finished(folder)
    return found


def _check_finished(folder: Path) -> None:
    names = {path.name for path in (folder / "_input").glob("part-*.parquet")}
    plan = folder / "_input" / "plan.json"
    # what was decided about an earlier input does not count
    hashes = json.loads(plan.read_text(encoding="utf-8")).get("hashes", {}) if plan.is_file() else {}
    notes = finished_notes(folder, hashes)
    if not hashes or len(notes) < len(names) or len({note["key"] for note in notes.values()}) > 1:
        raise InvalidInputError(
            f"the run in {folder} is not through: {len(notes)} of {len(names)} shards are finished, or some are of "
            f"other settings (see {folder / MANIFEST}). Repeat the call of the run."
        )


def _by_text(ids: Mapping[str, int], texts: Mapping[str, str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for label, number in ids.items():
        text = texts.get(label, label)
        if found.setdefault(text, number) != number:
            raise InvalidInputError(f"two entities have the text {text!r}, one of them {label!r}. Make them differ.")
    return found


def _ids(column: Any, known: Mapping[str, int]) -> npt.NDArray[np.int64]:
    """Return the id of each label, -1 for unknown ones; each distinct label is looked up once."""
    packed = column.dictionary_encode()
    ids = np.array([known.get(label, -1) for label in packed.dictionary.to_pylist()], dtype=np.int64)
    found: npt.NDArray[np.int64] = ids[packed.indices.to_numpy(zero_copy_only=False)]
    return found
