"""Training of rankers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from kgneg.core.cache import content_key
from kgneg.core.encode import SentenceEncoder, bars_hidden, encode_texts, resolve_encoder
from kgneg.core.errors import InvalidInputError
from kgneg.core.storage import atomic_path
from kgneg.core.validation import choose, validate_count, validate_number
from kgneg.samplers.neighbourhoods import embedding_pools
from kgneg.samplers.taxonomy import TaxonomyCorruptor
from kgneg.skills.classifiers import ConceptClassifiers
from kgneg.skills.concepts import ConceptSet, parse_strategy
from kgneg.skills.examples import Examples
from kgneg.skills.ranker import ClassifierRanker, ConceptRanker, TextRanker
from kgneg.skills.storage import check_encoder, is_stored, load_ranker, save_ranker

__all__ = ["METHODS", "Recipe", "train_ranker"]

METHODS = ("bi-encoder", "softmax", "classifiers")
_STRATEGIES, _MANY = ("sibling", "edit", "embedding", "random"), 16
_COUNTS = {"steps": 1, "batch_size": 1, "epochs": 1, "trainable_layers": 1, "max_length": 3, "refresh": 1}
_STATE, _KEY = ".training", "key.json"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a ranker is trained.

    :param method: ``"bi-encoder"`` fine-tunes the encoder against sampled negatives; ``"softmax"`` fine-tunes it
        against all concepts; ``"classifiers"`` keeps the encoder and trains a logistic classifier for each concept
    :param strategies: strategy -> negatives of a pair, see :meth:`ConceptSet.neighbours`; not for ``softmax``. ``None``
        takes siblings, neighbours by edit distance and by embedding, and random concepts: 16 each where labels are
        fixed, so that they cost nothing, else one each
    :param labels: ``"fixed"`` keeps the vectors of labels as they are, so that only texts are encoded in training, and
        ``"trained"`` has both sides learn, at twice the cost; the latter only for ``bi-encoder``
    :param steps: batches, for the two that fine-tune
    :param batch_size: pairs per batch
    :param lr: the learning rate; ``None`` takes 1e-4 for encoders, 1e-2 for classifiers
    :param temperature: what cosines are divided by in the softmax
    :param trainable_layers: how many of the last layers of the encoder are trained; ``None`` trains all
    :param max_length: how many word pieces of a text are read in training; ``None`` takes what the encoder reads
    :param in_batch: whether the concepts of other rows are negatives, too
    :param corrected: for ``bi-encoder``: whether scores of negatives are corrected by how likely they were to be drawn,
        so that the loss stands for that over all concepts; concepts of other rows do not count then. ``None`` does so
        where labels are fixed and ``random`` is a strategy
    :param refresh: for the strategy ``embedding``: after so many steps take the neighbours by what the encoder has
        learnt; ``None`` keeps those of the beginning
    :param epochs: passes over the pairs, for classifiers
    :param bonus: what is added to the score of a concept whose label stands in the text
    :param seed: the seed of everything
    :raises InvalidInputError: if there is no such method or strategy, or a number does not fit
    """

    method: str = "bi-encoder"
    strategies: Mapping[str, int] = None  # type: ignore[assignment]
    labels: str = "fixed"
    steps: int = 300
    batch_size: int = 32
    lr: float | None = None
    temperature: float = 0.05
    trainable_layers: int | None = 2
    max_length: int | None = 64
    in_batch: bool = True
    corrected: bool | None = None
    refresh: int | None = None
    epochs: int = 20
    bonus: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        choose("method", self.method, METHODS)
        choose("labels", self.labels, ("fixed", "trained"))
        few = self.labels == "trained" or self.method == "classifiers"
        if self.strategies is None:
            counts = {} if self.method == "softmax" else dict.fromkeys(_STRATEGIES, 1 if few else _MANY)
            object.__setattr__(self, "strategies", counts)
        if self.corrected is None:
            sampled = self.method == "bi-encoder" and "random" in self.strategies
            object.__setattr__(self, "corrected", sampled and self.labels == "fixed")
        for name, count in self.strategies.items():
            parse_strategy(name)
            validate_count(f"the count of the strategy {name}", count)
        for name, least in _COUNTS.items():
            if getattr(self, name) is not None:
                validate_count(name, getattr(self, name), least)
        validate_number("lr", 1.0 if self.lr is None else self.lr, above=True)
        validate_number("temperature", self.temperature, above=True)
        validate_number("bonus", self.bonus)
        self._check_together()

    def _check_together(self) -> None:
        if self.labels == "trained" and self.method != "bi-encoder":
            raise InvalidInputError(f"labels='trained' needs the method 'bi-encoder', got {self.method!r}")
        if self.method == "softmax" and self.strategies:
            raise InvalidInputError("softmax takes all concepts as negatives: leave the strategies out")
        if self.method != "softmax" and not self.strategies:
            raise InvalidInputError(f"{self.method} needs at least one strategy, such as {{'random': 4}}")
        if self.refresh is not None and (self.method != "bi-encoder" or not self._embedding):
            raise InvalidInputError("refresh needs the method 'bi-encoder' with the strategy 'embedding'")

    @property
    def _embedding(self) -> list[str]:
        return [one for one in self.strategies if one.partition(":")[0] == "embedding"]

    @property
    def n(self) -> int:
        """How many negatives a pair has."""
        return sum(self.strategies.values())


def train_ranker(
    concepts: ConceptSet,
    examples: Examples,
    folder: str | Path,
    recipe: Recipe | None = None,
    *,
    encoder: Any = "auto",
    progress: bool = True,
) -> TextRanker:
    """Train a ranker and keep it in a folder.

    A call that was interrupted is taken up by the next one with the same arguments, and a finished one is read.

    :param concepts: the concepts
    :param examples: texts with concepts, see :class:`Examples`
    :param folder: where everything is kept
    :param recipe: how; ``None`` takes the defaults
    :param encoder: what to begin with, see :func:`~kgneg.core.encode.resolve_encoder`
    :param progress: whether to show progress bars
    :returns: the ranker; :func:`~kgneg.skills.load_ranker` reads it again
    :raises InvalidInputError: if examples do not fit, or the folder holds what was trained otherwise
    """
    recipe, folder, start = recipe or Recipe(), Path(folder), resolve_encoder(encoder)
    examples.check(len(concepts))
    key = content_key(
        {**asdict(recipe), "strategies": list(recipe.strategies.items())},
        str(getattr(start, "fingerprint", type(start).__name__)),
        concepts.fingerprint(),
        examples.texts,
        examples.queries,
        examples.concepts,
    )
    if is_stored(folder):
        found = load_ranker(folder, progress=progress)
        if found.record.get("key") != key:
            raise InvalidInputError(f"{folder} holds a ranker that was trained otherwise; give another folder")
        return found.ranker
    check_encoder(start)
    if recipe.method != "classifiers":
        _check_trainable(start, recipe)
    matcher = concepts.matcher()
    _claim(folder, key)
    train = _classifiers if recipe.method == "classifiers" else _encoder
    ranker, report = train(concepts, examples, recipe, start, folder, progress)
    ranker.matcher, ranker.bonus = matcher, recipe.bonus
    record = {
        "key": key,
        "recipe": {**asdict(recipe), "strategies": dict(recipe.strategies)},
        "examples": {
            "texts": len(examples.texts),
            "pairs": len(examples),
            "concepts": len(torch.unique(examples.concepts)),
            "left out": examples.left_out,
        },
        "report": report,
    }
    save_ranker(folder, ranker, concepts, record)
    shutil.rmtree(folder / _STATE)
    return ranker


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


def _corruptor(concepts: ConceptSet, examples: Examples, recipe: Recipe, encoder: Any, near: Any) -> TaxonomyCorruptor:
    return concepts.corruptor(
        recipe.strategies,
        examples.queries,
        examples.concepts,
        num_queries=len(examples.texts),
        encoder=encoder,
        near=near,
        seed=recipe.seed,
    )


def _classifiers(
    concepts: ConceptSet, examples: Examples, recipe: Recipe, encoder: Any, folder: Path, progress: bool
) -> tuple[TextRanker, dict[str, Any]]:
    corruptor = _corruptor(concepts, examples, recipe, encoder, concepts.near())
    vectors = encode_texts(examples.texts, encoder, progress=progress)
    model = ConceptClassifiers(len(concepts), vectors.shape[1])
    report = model.fit(
        vectors,
        examples.queries,
        examples.concepts,
        corruptor,
        n=recipe.n,
        epochs=recipe.epochs,
        lr=recipe.lr or 1e-2,
        seed=recipe.seed,
        progress=progress,
    )
    return ClassifierRanker(model, encoder, progress=progress), report._asdict()


def _encoder(
    concepts: ConceptSet, examples: Examples, recipe: Recipe, encoder: Any, folder: Path, progress: bool
) -> tuple[TextRanker, dict[str, Any]]:
    from kgneg.integrations.sentence_transformers import AllEntitiesLoss, EntityLoss, SampledEntitiesLoss, fine_tune

    model = SentenceEncoder(encoder.name, device=encoder.device).load()  # one of its own, to be changed
    pairs = examples.queries, examples.concepts
    loss: EntityLoss
    vectors = on_every = None
    if recipe.labels == "fixed":
        vectors = encode_texts(list(concepts.labels), encoder, progress=progress)
    if vectors is not None and recipe.method == "softmax":
        loss = AllEntitiesLoss(model, vectors, *pairs, temperature=recipe.temperature)
    else:
        near = concepts.near()
        corruptor = _corruptor(concepts, examples, recipe, encoder, near)
        loss = SampledEntitiesLoss(
            model,
            concepts.labels,
            corruptor,
            *pairs,
            n=recipe.n,
            near=near,
            vectors=vectors,
            temperature=recipe.temperature,
            in_batch=recipe.in_batch,
            corrected=bool(recipe.corrected),
            seed=recipe.seed,
        )
        if recipe.refresh is not None:

            def on_every(step: int) -> None:
                model.eval()
                learnt = model.encode(list(concepts.labels), convert_to_tensor=True, show_progress_bar=False)
                model.train()
                for name in recipe._embedding:
                    k = int(name.partition(":")[2] or min(10, len(concepts) - 1))
                    corruptor.refresh(name, embedding_pools(learnt.float().cpu(), k))

    tuning = fine_tune(
        model,
        loss,
        examples.texts,
        *pairs,
        steps=recipe.steps,
        batch_size=recipe.batch_size,
        lr=recipe.lr or 1e-4,
        trainable_layers=recipe.trainable_layers,
        max_length=recipe.max_length,
        folder=folder / _STATE,
        every=recipe.refresh,
        on_every=on_every,
        seed=recipe.seed,
        progress=progress,
    )
    with bars_hidden():
        model.save_pretrained(str(folder / "encoder"), create_model_card=False)
    trained = SentenceEncoder(str(folder / "encoder"), device=encoder.device)
    return ConceptRanker(concepts.labels, trained, vectors=vectors, progress=progress), tuning._asdict()


def _check_trainable(encoder: Any, recipe: Recipe) -> None:
    from kgneg.integrations.sentence_transformers import check_trainer

    if not isinstance(encoder, SentenceEncoder):
        raise InvalidInputError(
            f"method={recipe.method!r} trains a sentence-transformers model, and got {type(encoder).__name__}: name a "
            "model or its folder, or pip install 'kgneg[offline]'; method='classifiers' takes others, too"
        )
    check_trainer(encoder.load(), recipe.trainable_layers)
