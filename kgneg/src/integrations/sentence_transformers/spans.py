"""Vectors of pairs of entities, pooled over the words of their sentence."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Protocol

import torch

from kgneg.core.cache import ArtefactCache, content_key
from kgneg.core.encode import Encoder, SentenceEncoder, encode_texts, resolve_encoder
from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import FloatTensor, LongTensor
from kgneg.core.validation import choose, validate_count
from kgneg.integrations.sentence_transformers.tokens import Request, TokenPooler

__all__ = ["PARTS", "SentencePairs", "SpanEncoder"]

logger = logging.getLogger(__name__)

#: What a pair can be made of, in the usual order.
PARTS = ("head", "tail", "between", "sentence")

#: Part of the name of cached shards; to be changed with the way in which they are made.
_VERSION = "spans-1"


class _NoWordsError(Exception):
    """The encoder knows texts only."""


class SentencePairs(Protocol):
    """Pairs of spans inside sentences; :class:`kgneg.datasets.RelationPairs` are such."""

    @property
    def sentences(self) -> Sequence[Sequence[str]]:
        """The tokens of each sentence."""
        ...

    @property
    def sentence(self) -> LongTensor:
        """Shape: ``(n,)``, the position of each pair's sentence."""
        ...

    @property
    def head(self) -> LongTensor:
        """Shape: ``(n, 2)``, the span ``[start, end)`` of each head."""
        ...

    @property
    def tail(self) -> LongTensor:
        """Shape: ``(n, 2)``, the span ``[start, end)`` of each tail."""
        ...


class SpanEncoder:
    """Turns pairs of entities inside sentences into vectors: the mean over the words of each part, side by side.

    With a sentence-transformers model, each distinct sentence runs through the transformer once, and a part is the mean
    of its last hidden states over the word pieces of the part; markers of sentence ends count nowhere. A sentence that
    is longer than the model's limit is read in windows that overlap by half, and each word piece is taken from the
    window in which it is furthest from the ends; how many there were is logged. With any other encoder
    (``"lexical"``, for example) each part is encoded as a text of its own.

    The part ``between`` has the words strictly between head and tail, and is zero if there are none. A head or tail
    without any word piece (of invisible characters, for example) has the vector of the sentence; that is logged too.

    :param encoder: see :func:`kgneg.core.encode.resolve_encoder`; a loaded ``SentenceTransformer`` is read by words as
        well, but without the cache, since nothing says which model it is
    :param device: where to run a model that is given by name; ``None`` lets sentence-transformers choose
    :param batch_size: sentences per forward pass
    :param parts: which parts, and their order
    :raises InvalidInputError: if the encoder cannot be found, or a part is unknown, repeated or missing

    >>> import tempfile
    >>> from kgneg.core.encode import LexicalEncoder
    >>> from kgneg.datasets import RelationPairs
    >>> pairs = RelationPairs(
    ...     sentences=(("Curie", "was", "born", "in", "Warsaw"),), sentence=torch.tensor([0]),
    ...     head=torch.tensor([[0, 1]]), tail=torch.tensor([[4, 5]]), head_type=("PER",), tail_type=("LOC",),
    ...     labels=("born in",), all_labels=(("born in",),), groups=("Curie",), ids=("Curie#0-1",), negative_label="NA",
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     SpanEncoder(LexicalEncoder(16)).encode(pairs, cache=ArtefactCache(folder)).shape
    torch.Size([1, 64])
    """

    def __init__(
        self,
        encoder: str | Encoder = "auto",
        *,
        device: str | None = None,
        batch_size: int = 64,
        parts: Sequence[str] = PARTS,
    ) -> None:
        self.encoder = resolve_encoder(encoder)
        self.batch_size = validate_count("batch_size", batch_size)
        if isinstance(encoder, str) and isinstance(self.encoder, SentenceEncoder):
            self.encoder = SentenceEncoder(self.encoder.name, device=device, batch_size=batch_size)
        elif device is not None:
            raise InvalidInputError(
                f"device: got {device!r}, but only a sentence-transformers model that is given by name can be put there"
            )
        if isinstance(parts, str) or not parts or len(set(parts)) < len(parts):
            raise InvalidInputError(f"parts: got {parts!r}, expected some of {', '.join(PARTS)}, each once")
        self.parts = tuple(choose("parts", part, PARTS) for part in parts)
        self._pooler: TokenPooler | None = None

    def encode(
        self,
        pairs: SentencePairs,
        *,
        cache: ArtefactCache | None = None,
        shard_size: int = 512,
        progress: bool = True,
    ) -> FloatTensor:
        """Encode pairs, in shards of sentences that are kept on disk as soon as they are done.

        After a kill the next call takes up the finished shards. They are found by the words of their sentences, by the
        spans that are needed of them, and by the fingerprint of the encoder; pooled vectors of distinct spans are kept,
        not those of single words.

        :param pairs: :class:`kgneg.datasets.RelationPairs`, or anything with the same sentences and spans
        :param cache: where shards are kept; ``None`` takes the default folder
        :param shard_size: distinct sentences per shard
        :param progress: whether to show a progress bar when there is more than one shard
        :returns: shape: ``(n, parts * d)``, float32; the parts in their order
        :raises InvalidInputError: if there is no pair, a span is outside of its sentence, or the model cannot be loaded
        """
        validate_count("shard_size", shard_size)
        cache = ArtefactCache() if cache is None else cache
        places = _places(pairs)
        spans = torch.stack([_spans(part, pairs, places) for part in self.parts], dim=1)  # (n, parts, 3)
        flat, inverse = torch.unique(spans.reshape(-1, 3), dim=0, return_inverse=True)
        filled = flat[:, 1] < flat[:, 2]
        if not filled.any():  # parts=("between",), and none has a word
            raise InvalidInputError(f"parts: no pair has a word in {', '.join(self.parts)}; add another part")
        distinct = list(dict.fromkeys(tuple(tokens) for tokens in pairs.sentences))
        wanted = flat[filled].tolist()
        try:
            found = self._pool(distinct, wanted, cache, shard_size, progress)
        except _NoWordsError:
            texts = [" ".join(distinct[sentence][begin:end]) for sentence, begin, end in wanted]
            found = encode_texts(texts, self.encoder, cache=cache, progress=progress)
        vectors = found.new_zeros(len(flat), found.shape[1])
        vectors[filled] = found
        return vectors[inverse].reshape(len(spans), -1)

    def _pool(
        self,
        sentences: Sequence[tuple[str, ...]],
        wanted: Sequence[Sequence[int]],
        cache: ArtefactCache,
        shard_size: int,
        progress: bool,
    ) -> FloatTensor:
        """Pool spans, sentence by sentence."""
        from tqdm.auto import tqdm

        if not isinstance(self.encoder, SentenceEncoder) and not hasattr(self.encoder, "tokenizer"):
            raise _NoWordsError
        rows: dict[int, list[int]] = defaultdict(list)
        for row, (sentence, _, _) in enumerate(wanted):
            rows[sentence].append(row)
        # long sentences side by side, so that a batch needs little padding
        order = sorted(rows, key=lambda sentence: (sum(map(len, sentences[sentence])), sentences[sentence]))
        shards = [order[begin : begin + shard_size] for begin in range(0, len(order), shard_size)]
        found: list[FloatTensor] = []
        counts = torch.zeros(2, dtype=torch.int64)
        for shard in tqdm(shards, desc="encoding sentences", unit="shard", disable=not progress or len(shards) == 1):
            requests = [
                (sentences[sentence], [(wanted[row][1], wanted[row][2]) for row in rows[sentence]])
                for sentence in shard
            ]
            tensors = self._shard(requests, cache)
            found.append(tensors["vectors"])
            counts += tensors["counts"]
        long, empty = counts.tolist()
        self._log(long, empty, len(order))
        position = torch.empty(len(wanted), dtype=torch.int64)
        position[[row for shard in shards for sentence in shard for row in rows[sentence]]] = torch.arange(len(wanted))
        return torch.cat(found)[position]

    def _shard(self, requests: Sequence[Request], cache: ArtefactCache) -> dict[str, torch.Tensor]:
        """Pool the spans of some sentences, or take them from the cache, without the model."""

        def build() -> dict[str, torch.Tensor]:
            vectors, counts = self._load().pool(requests)
            return {"vectors": vectors, "counts": counts}

        fingerprint = getattr(self.encoder, "fingerprint", None)
        if fingerprint is None:
            return build()
        key = content_key(_VERSION, fingerprint, [[list(tokens), list(spans)] for tokens, spans in requests])
        return cache.get("spans", key, build)

    def _load(self) -> TokenPooler:
        """Load the model when it is first needed."""
        if self._pooler is None:
            model: Any = self.encoder.load() if isinstance(self.encoder, SentenceEncoder) else self.encoder
            if not TokenPooler.fits(model):
                logger.info("this model has no vectors of words; the words of each part are encoded as a text")
                raise _NoWordsError
            self._pooler = TokenPooler(model, self.batch_size)
        return self._pooler

    def _log(self, long: int, empty: int, sentences: int) -> None:
        """Say what could not be done in the usual way."""
        if long:
            logger.warning(
                "%d of %d sentences are longer than the model reads at once; they were read in overlapping windows",
                long,
                sentences,
            )
        if empty:
            logger.warning("%d spans have no word that the model knows; they have the vector of their sentence", empty)


def _places(pairs: SentencePairs) -> LongTensor:
    """Map the sentence of each pair to the distinct sentences, and check the spans."""
    if not len(pairs.sentence):
        raise InvalidInputError("pairs: got none, expected at least one")
    position: dict[tuple[str, ...], int] = {}
    places = torch.tensor([position.setdefault(tuple(tokens), len(position)) for tokens in pairs.sentences])
    lengths = torch.tensor([len(tokens) for tokens in pairs.sentences])[pairs.sentence]
    for name, spans in (("head", pairs.head), ("tail", pairs.tail)):
        wrong = ((spans[:, 0] < 0) | (spans[:, 0] >= spans[:, 1]) | (spans[:, 1] > lengths)).nonzero()
        if len(wrong):
            row = int(wrong[0])
            raise InvalidInputError(
                f"{name}: pair {row} has the span {spans[row].tolist()} in a sentence of {int(lengths[row])} tokens; "
                f"give [start, end) with 0 <= start < end <= {int(lengths[row])}"
            )
    return places[pairs.sentence]


def _spans(part: str, pairs: SentencePairs, places: LongTensor) -> LongTensor:
    """Find a part of each pair: shape ``(n, 3)``, the sentence and the span; an empty span is ``[0, 0)``."""
    head, tail = pairs.head.cpu(), pairs.tail.cpu()
    if part == "sentence":
        lengths = torch.tensor([len(tokens) for tokens in pairs.sentences])[pairs.sentence]
        begin, end = torch.zeros_like(lengths), lengths
    elif part == "between":
        begin, end = torch.minimum(head[:, 1], tail[:, 1]), torch.maximum(head[:, 0], tail[:, 0])
        none = begin >= end
        begin, end = begin.masked_fill(none, 0), end.masked_fill(none, 0)
    else:
        begin, end = (head if part == "head" else tail).unbind(-1)
    return torch.stack([places, begin, end], dim=-1)
