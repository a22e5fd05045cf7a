"""A model of natural language inference as a judge."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from kgneg.core.cache import content_key
from kgneg.core.errors import InvalidInputError
from kgneg.core.validation import validate_count, validate_flag, validate_number
from kgneg.selfinstruct.candidates import Candidates
from kgneg.selfinstruct.judge import Judgements
from kgneg.selfinstruct.local_model import LocalModel, both_forms
from kgneg.selfinstruct.verbalizer import Verbalizer

__all__ = ["NLIJudge"]

_MEANINGS = ("entailment", "contradiction")
_UNKNOWN = 1_000_000


class NLIJudge:
    r"""Judges by whether a premise entails or contradicts the sentence of a triple.

    A sentence is worth :math:`(1 + P(entailment) - P(contradiction)) / 2`, its negation one minus that; P(true) is the
    mean over wordings and forms. What is neutral is near 0.5. When a sentence and its negation are both above
    ``0.5 + margin``, or both below ``0.5 - margin``, there is no verdict and the reason is ``contradiction``.

    :param model: the folder or name of a sequence classifier whose labels name entailment and contradiction
    :param verbalizer: how triples are put into words; a name or a path is loaded
    :param premise: what the sentence is compared with, with ``{head}``, ``{relation}`` and ``{tail}``
    :param wordings: how many paraphrases are averaged
    :param both: ask about the negation as well
    :param margin: how far from 0.5 a sentence counts as affirmed or denied; 0.5 never finds a contradiction
    :param labels: ``{"entailment": 2, "contradiction": 0}`` for models whose labels have other names
    :param batch_size: pairs per forward pass
    :param device: where the model runs
    :param revision: which version of a named model
    :param progress: show a bar
    :raises InvalidInputError: if a number does not fit
    """

    def __init__(
        self,
        model: str | Path,
        *,
        verbalizer: Verbalizer | str | Path = "statements",
        premise: str = "{head}.",
        wordings: int = 1,
        both: bool = True,
        margin: float = 0.1,
        labels: Mapping[str, int] | None = None,
        batch_size: int = 32,
        device: str | torch.device = "cpu",
        revision: str | None = None,
        progress: bool = False,
    ) -> None:
        self.model = LocalModel(model, kind="classifier", device=device, revision=revision)
        self.verbalizer = Verbalizer.load(verbalizer)
        self.premise = premise
        self.wordings = validate_count("wordings", wordings)
        self.both = validate_flag("both", both)
        self.margin = validate_number("margin", margin)
        self.labels = None if labels is None else dict(labels)
        if self.labels is not None and set(self.labels) != set(_MEANINGS):
            raise InvalidInputError(f"labels must have the keys {', '.join(_MEANINGS)}, got {self.labels!r}")
        self.batch_size = validate_count("batch_size", batch_size)
        self.progress = progress

    @property
    def name(self) -> str:
        """A short name for tables: that of the model."""
        return self.model.short_name

    def fingerprint(self) -> str:
        """Return a hash of the model and the words.

        :returns: the hash, in hexadecimal
        """
        words = [self.premise, self.wordings, self.both, self.margin, self.labels]
        return content_key("nli", self.model.identity(), self.verbalizer.fingerprint(), words)

    def judge(self, candidates: Candidates) -> Judgements:
        """Judge triples.

        :param candidates: the triples
        :returns: P(true) of each, or NaN and ``contradiction``
        :raises InvalidInputError: if the labels of the model are not known
        """
        premises = [
            self.premise.replace("{head}", h).replace("{relation}", r).replace("{tail}", t)
            for h, r, t in candidates.triples()
        ]
        sides: list[np.ndarray] = []
        others: list[np.ndarray] = []
        with tqdm(total=len(candidates) * self.wordings * (1 + self.both), disable=not self.progress) as bar:
            for wording in range(self.wordings):
                sides.append(self._worth(premises, self.verbalizer.positive(candidates, wording), bar))
                if self.both:
                    others.append(self._worth(premises, self.verbalizer.negated(candidates, wording), bar))
        statement = np.mean(sides, axis=0).clip(0, 1)
        if not self.both:
            return Judgements.of(statement)
        negation = np.mean(others, axis=0).clip(0, 1)
        return both_forms((statement + 1 - negation) / 2, statement, negation, self.margin)

    def _worth(self, premises: list[str], statements: list[str], bar: Any) -> np.ndarray:
        """Return (1 + P(entailment) - P(contradiction)) / 2 of each pair, shape ``(n,)``."""
        if not premises:
            return np.zeros(0)
        tokenizer, model = self.model.load()
        entailment, contradiction = self._columns(model)
        longest = _longest(tokenizer, model)
        order = sorted(range(len(premises)), key=lambda row: (len(premises[row]) + len(statements[row]), row))
        worth = np.empty(len(premises))
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            batch = tokenizer(
                [premises[row] for row in rows],
                [statements[row] for row in rows],
                padding=True,
                truncation=True,
                max_length=longest,
                return_tensors="pt",
            ).to(self.model.device)
            with torch.inference_mode():
                shares = model(**batch).logits.double().softmax(-1).cpu().numpy()
            worth[rows] = (1 + shares[:, entailment] - shares[:, contradiction]) / 2
            bar.update(len(rows))
        return worth

    def _columns(self, model: Any) -> tuple[int, int]:
        """Return which outputs mean entailment and contradiction."""
        size = int(model.config.num_labels)
        if self.labels is not None:
            found = [self.labels[one] for one in _MEANINGS]
            if not all(0 <= one < size for one in found):
                raise InvalidInputError(f"labels must be below {size}, the number of outputs, got {self.labels!r}")
            return found[0], found[1]
        names = {str(name).casefold(): number for number, name in model.config.id2label.items()}
        columns = [number for meaning in _MEANINGS for name, number in names.items() if name.startswith(meaning[:6])]
        if len(columns) != len(_MEANINGS):
            raise InvalidInputError(
                f"{self.model.name} has the outputs {', '.join(names)}, expected entailment and contradiction among "
                'them. Say which is which: labels={"entailment": 2, "contradiction": 0}.'
            )
        return int(columns[0]), int(columns[1])


def _longest(tokenizer: Any, model: Any) -> int:
    """Return how many tokens a pair may have; some tokenizers do not know."""
    if tokenizer.model_max_length < _UNKNOWN:
        return int(tokenizer.model_max_length)
    places = getattr(model.config, "max_position_embeddings", None)
    return max(8, int(places) - 2) if isinstance(places, int) and places > 0 else 512  # some models begin at place 2
