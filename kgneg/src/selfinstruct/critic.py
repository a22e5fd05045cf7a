"""A small model that learns from few checked triples which candidates are true."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch

from kgneg.core.cache import ArtefactCache, content_key
from kgneg.core.encode import Encoder, encode_texts, resolve_encoder
from kgneg.core.errors import InvalidInputError, MissingTextError
from kgneg.core.validation import validate_count
from kgneg.selfinstruct.candidates import Candidates
from kgneg.selfinstruct.clusters import head_numbers
from kgneg.selfinstruct.kernels import TripleFeatures, WordWeights, kernel, layout
from kgneg.selfinstruct.lines import logistic
from kgneg.selfinstruct.ridge import RidgePath
from kgneg.selfinstruct.vectors import VectorTable
from kgneg.selfinstruct.verbalizer import Verbalizer

__all__ = ["Critic", "encoder_identity"]

logger = logging.getLogger(__name__)

_PENALTIES = (3.0, 10.0, 30.0)
_RELATION_WEIGHTS = (1.0, 4.0, 16.0)
_CHUNK = 4096
_LIMIT = 6.0
_MIN_HEADS = 5


class Critic:
    """Kernel ridge regression on the vectors of head, tail and verbalised triple, their words, and the relation.

    What tails are true may differ by relation, so tails are also compared within a relation. How much that counts and
    how smooth the answer is, is chosen by the error on left-out heads, which ridge regression has in closed form; the
    same left-out scores are :attr:`held_out`, for a fusion that must not see fitted ones. With more rows than landmarks
    the kernel is approximated (Nyström).

    :param encoder: see :func:`~kgneg.core.encode.resolve_encoder`; for vectors made elsewhere a
        :class:`~kgneg.selfinstruct.vectors.VectorTable`
    :param verbalizer: puts triples into words, which are encoded too; ``None`` looks at head and tail alone
    :param landmarks: triples that others are compared with, at most; a fit needs their square in memory, and a row
        takes time in proportion
    :param cache: where vectors of texts are kept, those of candidates included; ``None`` keeps those of a fit in the
        default folder and no others, as there may be any number of candidates
    :param progress: whether to show progress bars
    :param seed: for the choice of landmarks
    :raises InvalidInputError: if an argument cannot be used
    """

    def __init__(
        self,
        *,
        encoder: str | Encoder = "auto",
        verbalizer: Verbalizer | None = None,
        landmarks: int = 2000,
        cache: ArtefactCache | None = None,
        progress: bool = True,
        seed: int = 0,
    ) -> None:
        self.encoder = resolve_encoder(encoder)
        self.verbalizer = verbalizer
        self.landmarks = validate_count("landmarks", landmarks, 2)
        self.cache = cache
        self.progress = progress
        self.seed = seed
        #: shape: ``(n,)``, log odds of the rows of the fit, each made without the rows of its head
        self.held_out = np.empty(0)
        #: penalty and weight of the relation that left-out heads chose
        self.chosen: tuple[float, float] = (_PENALTIES[1], _RELATION_WEIGHTS[1])
        self._relations: list[str] = []
        self._words: WordWeights | None = None
        self._scale = np.zeros((2, 0), dtype=np.float32)
        self._marks: Candidates | None = None
        self._features: TripleFeatures | None = None
        self._weights = np.empty(0)
        self._line = (1.0, 0.0)

    @property
    def fitted(self) -> bool:
        """Whether it has learned something."""
        return self._marks is not None

    def fit(self, candidates: Candidates, truth: Any, weight: Any = None) -> Critic:
        """Learn from triples whose truth is known, or supposed with some probability.

        :param candidates: ``n`` triples
        :param truth: shape: ``(n,)``, 1 for true ones, 0 for false ones, or a probability
        :param weight: shape: ``(n,)``, how much each counts; ``None`` counts all alike
        :returns: itself
        :raises InvalidInputError: if shapes differ, values are out of range, or all triples are of one kind
        """
        truth, weight = _checked(len(candidates), truth, weight)
        self._relations = sorted(set(candidates.relations))
        self._words = WordWeights.learn(candidates.tails)
        self._scale = np.zeros((2, 0), dtype=np.float32)
        features = self._seen(candidates)
        generator = torch.Generator().manual_seed(self.seed)
        marks = np.arange(len(features))
        if len(features) > self.landmarks:
            marks = np.sort(torch.randperm(len(features), generator=generator)[: self.landmarks].numpy())
        groups = head_numbers(candidates.heads)
        if np.bincount(groups).max() * _MIN_HEADS > len(groups):
            groups = np.arange(len(groups))  # without a head there would be too little to learn from
        best = np.inf
        for relation_weight in _RELATION_WEIGHTS:
            near = kernel(features, features.rows(marks), relation_weight)
            path = RidgePath.of(near, marks, truth, weight, groups)
            for penalty in _PENALTIES:
                error, weights, left_out = path.solve(penalty)
                if error < best:
                    best, self.chosen = error, (penalty, relation_weight)
                    self._weights, scores = weights, left_out
        self._features, self._marks = features.rows(marks), candidates[marks]
        line = logistic(scores[:, None], truth, weight=weight, centre=np.zeros(1), penalty=np.full(1, 1e-3))
        self._line = (max(float(line[0]), 0.0), float(line[1]))
        self.held_out = np.clip(self._line[0] * scores + self._line[1], -_LIMIT, _LIMIT)
        return self

    def log_odds(self, candidates: Candidates) -> np.ndarray:
        """Return the log odds that triples are true.

        :param candidates: ``n`` triples
        :returns: shape: ``(n,)``, between -6 and 6
        :raises InvalidInputError: if there was no fit
        """
        if self._features is None:
            raise InvalidInputError("this critic has learned nothing yet: call fit first")
        if not len(candidates):
            return np.empty(0)
        seen = self._seen(candidates, keep=self.cache is not None)
        scores = np.empty(len(seen))
        for begin in range(0, len(seen), _CHUNK):
            part = np.arange(begin, min(begin + _CHUNK, len(seen)))
            scores[part] = kernel(seen.rows(part), self._features, self.chosen[1]) @ self._weights
        return np.clip(self._line[0] * scores + self._line[1], -_LIMIT, _LIMIT)

    def probability(self, candidates: Candidates) -> np.ndarray:
        """Return P(the triple is true).

        :param candidates: ``n`` triples
        :returns: shape: ``(n,)``
        """
        return np.asarray(1 / (1 + np.exp(-self.log_odds(candidates))))

    def fingerprint(self) -> str:
        """Return a hash of everything that scores depend on.

        :returns: the hash, in hexadecimal
        """
        named = encoder_identity(self.encoder)
        words = None if self.verbalizer is None else self.verbalizer.fingerprint()
        tensors, state = self.state() if self.fitted else ({}, {})
        return content_key({"encoder": named, "words": words, "state": state}, *(tensors[k] for k in sorted(tensors)))

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Return what was learned: tensors, and plain values for JSON.

        :returns: both
        :raises InvalidInputError: if there was no fit
        """
        if self._features is None or self._words is None or self._marks is None:
            raise InvalidInputError("this critic has learned nothing yet: call fit first")
        tensors = {
            "weights": self._weights,
            "words": self._words.weight,
            "scale": self._scale,
            "head": self._features.head,
            "tail": self._features.tail,
            "held_out": self.held_out,
        }
        if self._features.statement is not None:
            tensors["statement"] = self._features.statement
        marks = {name: list(getattr(self._marks, name)) for name in ("heads", "relations", "tails")}
        plain = {"relations": self._relations, "marks": marks, "line": list(self._line), "chosen": list(self.chosen)}
        return {name: torch.from_numpy(np.ascontiguousarray(one)) for name, one in tensors.items()}, plain

    def restore(self, tensors: dict[str, torch.Tensor], plain: dict[str, Any]) -> Critic:
        """Undo :meth:`state`, in a critic of the same encoder and verbalizer.

        :param tensors: the tensors
        :param plain: the plain values
        :returns: itself
        :raises InvalidInputError: if the encoder gives other vectors than that of the fit
        """
        arrays = {name: one.numpy() for name, one in tensors.items()}
        self._relations, self._line = plain["relations"], (plain["line"][0], plain["line"][1])
        self.chosen, self._marks = (plain["chosen"][0], plain["chosen"][1]), Candidates(**plain["marks"])
        self._weights, self._scale, self.held_out = arrays["weights"], arrays["scale"], arrays["held_out"]
        self._words = WordWeights(weight=arrays["words"])
        vectors = arrays["head"], arrays["tail"], arrays.get("statement")
        self._features = self._made(self._marks, *vectors)
        self._recognise(arrays["head"])
        return self

    def _recognise(self, heads: np.ndarray) -> None:
        """Compare a few vectors with those of the fit, if the name of the encoder does not tell enough."""
        if self._marks is None or hasattr(self.encoder, "fingerprint"):
            return
        texts = list(self._marks.heads[:3])
        try:
            found = _unit(np.asarray(self.encoder.encode(texts)))
        except MissingTextError:
            return  # a table of other texts
        if found.shape != heads[:3].shape or not np.allclose(found, heads[:3], atol=1e-3):
            raise InvalidInputError(
                f"the encoder gives another vector of {texts[0]!r} than that of the fit: hand in the one of the fit"
            )

    def _seen(self, candidates: Candidates, *, keep: bool = True) -> TripleFeatures:
        """Encode triples."""

        def vectors(texts: Any) -> np.ndarray:
            found = encode_texts(texts, self.encoder, cache=self.cache, keep=keep, progress=self.progress)
            return _unit(found.numpy())

        said = None if self.verbalizer is None else vectors(self.verbalizer.positive(candidates))
        return self._made(candidates, vectors(candidates.heads), vectors(candidates.tails), said)

    def _made(
        self, candidates: Candidates, head: np.ndarray, tail: np.ndarray, said: np.ndarray | None
    ) -> TripleFeatures:
        place = {name: number for number, name in enumerate(self._relations)}
        words = self._words or WordWeights.learn(candidates.tails)
        plain = layout(candidates.heads, candidates.tails, head, tail, said)
        if not self._scale.shape[1]:
            spread = plain.std(axis=0)
            self._scale = np.stack([plain.mean(axis=0), np.where(spread > 1e-6, spread, 1.0)])
        return TripleFeatures(
            head=head,
            tail=tail,
            statement=said,
            relation=np.array([place.get(name, -1) for name in candidates.relations]),
            words=words.vectors(candidates.tails),
            layout=(plain - self._scale[0]) / self._scale[1],
        )


def encoder_identity(encoder: Encoder) -> str:
    """Return what tells an encoder from another one.

    :param encoder: the encoder
    :returns: its fingerprint, its identity, or else the name of its class
    """
    if isinstance(encoder, VectorTable):
        return encoder.identity()
    return str(getattr(encoder, "fingerprint", type(encoder).__qualname__))


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(length > 0, length, 1.0), dtype=np.float32)


def _checked(rows: int, truth: Any, weight: Any) -> tuple[np.ndarray, np.ndarray]:
    truth = np.asarray(truth, dtype=np.float64)
    weight = np.ones(rows) if weight is None else np.asarray(weight, dtype=np.float64)
    if truth.shape != (rows,) or weight.shape != (rows,):
        raise InvalidInputError(
            f"one truth and weight per triple is needed, got {rows} triples and shapes {truth.shape} and {weight.shape}"
        )
    if not ((truth >= 0) & (truth <= 1)).all():
        raise InvalidInputError(f"truth must be between 0 and 1, got {truth[~((truth >= 0) & (truth <= 1))][0]}")
    if not (np.isfinite(weight) & (weight > 0)).all():
        raise InvalidInputError("weights must be finite and above 0: leave other rows out")
    if not (truth > 0.5).any() or not (truth < 0.5).any():
        raise InvalidInputError(
            f"a critic needs true and false triples, got {rows} rows of one kind: add the other one"
        )
    return truth, weight
