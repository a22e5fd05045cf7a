"""Scores of all entities at once, ranks, and training against all entities."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from kgneg.core.errors import InvalidInputError
from kgneg.core.rowwise import Combination, Metric
from kgneg.core.seeding import mix_seeds
from kgneg.integrations.pykeen.training.queries import query_form

__all__ = ["Scorer", "all_ranges", "draw_options", "reciprocal_ranks", "train_all"]

HEAD, TAIL = 0, 2


class Scorer:
    """Scores of all entities for questions (kept entity, relation, side), for models that compare two vectors.

    PyKEEN computes the same numbers, with one intermediate result per pair of question and entity.
    """

    def __init__(self, model: Any) -> None:
        form = query_form(model)
        if form is None:
            raise InvalidInputError(f"{type(model).__name__} is no model that compares entities with questions")
        self.model, self.form = model, form

    def scores(self, kept: Tensor, relation: Tensor, side: int) -> Tensor:
        """Return the scores, shape (questions, entities)."""
        table = self.form.entities(None)
        known, r = table[kept], self.form.relations(relation)
        if self.form.combination is Combination.TRANSLATION:
            query = known - r if side == HEAD else known + r
        elif self.form.combination is Combination.PRODUCT:
            query = known * r
        else:
            query = r.conj() * known if side == HEAD else known * r
        return self.compare(real(query), real(table))

    def compare(self, query: Tensor, table: Tensor) -> Tensor:
        if self.form.metric is Metric.DOT:
            return query @ table.T
        exact = "donot_use_mm_for_euclid_dist"
        distance = torch.cdist(query, table, p=1.0 if self.form.metric is Metric.L1 else 2.0, compute_mode=exact)
        return -distance.square() if self.form.metric is Metric.SQUARED else -distance


def real(x: Tensor) -> Tensor:
    return torch.view_as_real(x).flatten(-2) if x.is_complex() else x


def columns(side: int) -> tuple[int, int]:
    """Return the columns of the kept and of the wanted entity."""
    return (TAIL, HEAD) if side == HEAD else (HEAD, TAIL)


@torch.inference_mode()
def reciprocal_ranks(model: Any, triples: Tensor, known: Tensor, batch: int = 256) -> np.ndarray:
    """Return filtered reciprocal ranks, ties in the middle, shape (triples, 2): of the head, of the tail."""
    model.eval()
    scorer, found = Scorer(model), np.zeros((len(triples), 2))
    for place, side in enumerate((HEAD, TAIL)):
        kept, wanted = columns(side)
        answers: dict[tuple[int, int], list[int]] = {}
        for row in torch.cat([known, triples]).unique(dim=0).tolist():
            answers.setdefault((row[kept], row[1]), []).append(row[wanted])
        for start in range(0, len(triples), batch):
            part = triples[start : start + batch]
            scores = scorer.scores(part[:, kept], part[:, 1], side)
            own = scores.gather(1, part[:, wanted, None])
            others = [answers[pair] for pair in zip(part[:, kept].tolist(), part[:, 1].tolist(), strict=True)]
            rows = torch.repeat_interleave(torch.tensor(list(map(len, others))))
            scores[rows, torch.tensor([one for other in others for one in other])] = -math.inf
            above, equal = (scores > own).sum(1), (scores == own).sum(1)
            found[start : start + batch, place] = 1 / (1 + above + equal / 2).double().numpy()
    return found


def all_ranges() -> dict[str, Any]:
    """Return what is tuned of the training against all entities."""
    return {
        "lr": {"type": "float", "low": 0.0005, "high": 0.02, "log": True},
        "scale": {"type": "float", "low": 1.0, "high": 20.0, "log": True},
        "batch_size": {"type": "categorical", "choices": [64, 128, 256]},
    }


def draw_options(seed: int, number: int) -> dict[str, Any]:
    """Draw a configuration."""
    rng = np.random.default_rng([seed, 0x616C6C, number])
    found: dict[str, Any] = {}
    for name, one in all_ranges().items():
        if one["type"] == "categorical":
            found[name] = one["choices"][int(rng.integers(len(one["choices"])))]
        else:
            found[name] = float(np.exp(rng.uniform(math.log(one["low"]), math.log(one["high"]))))
    return found


def train_all(model: Any, triples: Tensor, options: Mapping[str, Any], *, epochs: int, seed: int) -> None:
    """Train with cross entropy over all entities, heads as well as tails.

    Triples that ask the same question are answered at once, so that an epoch has one row per question instead of one
    per triple; the sum of the losses over an epoch is the same.
    """
    from torch.optim import Adam

    generator = torch.Generator().manual_seed(mix_seeds(seed, 0x616C6C))
    optimizer, scorer = Adam(model.get_grad_params(), lr=options["lr"]), Scorer(model)
    model.train()
    asked = [questions(triples, side) for side in (HEAD, TAIL)]
    average = len(triples) / (sum(len(one[0]) for one in asked) / 2)
    for _ in range(epochs):
        for place, rows in batches([len(one[0]) for one in asked], options["batch_size"], generator):
            pairs, offsets, answers = asked[place]
            optimizer.zero_grad()
            counts = offsets[rows + 1] - offsets[rows]
            index = torch.repeat_interleave(torch.arange(len(rows)), counts)
            inner = torch.arange(len(index)) - torch.repeat_interleave(counts.cumsum(0) - counts, counts)
            wanted = answers[offsets[rows][index] + inner]
            scores = scorer.scores(pairs[rows, 0], pairs[rows, 1], (HEAD, TAIL)[place])
            likely = log_softmax(scores * options["scale"], dim=-1)
            loss = -likely[index, wanted].sum() / (len(rows) * average) + model.collect_regularization_term()
            if not torch.isfinite(loss):
                raise ArithmeticError("the loss is no finite number")
            loss.backward()
            optimizer.step()
            model.post_parameter_update()


def questions(triples: Tensor, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return distinct pairs of kept entity and relation, where the answers of each begin, and the answers."""
    kept, wanted = columns(side)
    pairs, inverse = torch.unique(triples[:, [kept, 1]], dim=0, return_inverse=True)
    offsets = torch.zeros(len(pairs) + 1, dtype=torch.long)
    offsets[1:] = torch.bincount(inverse, minlength=len(pairs)).cumsum(0)
    return pairs, offsets, triples[torch.argsort(inverse, stable=True), wanted]


def batches(sizes: list[int], batch: int, generator: torch.Generator) -> Iterator[tuple[int, Tensor]]:
    """Yield batches of one side each, in random order."""
    found = [
        (side, rows)
        for side, size in enumerate(sizes)
        for rows in torch.randperm(size, generator=generator).split(batch)
    ]
    for place in torch.randperm(len(found), generator=generator).tolist():
        yield found[place]
