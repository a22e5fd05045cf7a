"""Vectors of words from the transformer of a sentence-transformers model, pooled over spans."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import FloatTensor, LongTensor

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["Request", "TokenPooler"]

#: The words of a sentence, and the spans of it that are wanted.
Request = tuple[tuple[str, ...], Sequence[tuple[int, int]]]

_NO_LIMIT = 1_000_000


class Window(NamedTuple):
    """A stretch of word pieces that fits into the model.

    :param start: the position of its first piece, of all pieces
    :param ids: the pieces
    :param keep: which of them are taken from here, ``[first, end)``
    """

    start: int
    ids: list[int]
    keep: tuple[int, int]


class TokenPooler:
    """Runs sentences through a transformer once, and means over the word pieces of any of their spans.

    :param model: a model for which :meth:`fits` is true
    :param batch_size: stretches of text per forward pass
    """

    def __init__(self, model: SentenceTransformer, batch_size: int) -> None:
        self.model: Any = model.eval()
        self.tokenizer: Any = model.tokenizer
        self.batch_size = batch_size
        example = self.tokenizer("a", return_special_tokens_mask=True)
        mask = example["special_tokens_mask"]
        first, last = mask.index(0), len(mask) - mask[::-1].index(0)
        self.prefix: list[int] = example["input_ids"][:first]
        self.suffix: list[int] = example["input_ids"][last:]
        self.limit = int(min(model.max_seq_length or self.tokenizer.model_max_length, _NO_LIMIT))
        self.room = self.limit - len(self.prefix) - len(self.suffix)
        if self.room < 1:
            raise InvalidInputError(
                f"the model reads {self.limit} word pieces, too few for a word; raise max_seq_length"
            )

    @staticmethod
    def fits(model: Any) -> bool:
        """Look whether a model is a transformer whose tokenizer says where its pieces are in a text.

        :param model: a sentence-transformers model, or anything
        :returns: whether it is
        """
        fast = getattr(getattr(model, "tokenizer", None), "is_fast", False)
        return bool(fast) and isinstance(model, torch.nn.Module) and hasattr(next(model.children(), None), "auto_model")

    def pool(self, requests: Sequence[Request]) -> tuple[FloatTensor, LongTensor]:
        """Pool spans.

        :param requests: the sentences and their spans
        :returns: shape: ``(sum of spans, d)``, float32, in the order of the requests; and shape: ``(2,)``, how many
            sentences were read in windows and how many spans have no word piece
        """
        ids, starts = self.split([tokens for tokens, _ in requests])
        offsets = [0, *accumulate(map(len, ids))]
        sums = self._sums([window for row, pieces in enumerate(ids) for window in self.windows(offsets[row], pieces)])
        bounds = [
            (*(offsets[row] + starts[row][place] for place in span), offsets[row], offsets[row + 1])
            for row, (_, spans) in enumerate(requests)
            for span in spans
        ]
        begin, end, first, last = torch.tensor(bounds).unbind(-1)
        empty = begin == end
        begin, end = torch.where(empty, first, begin), torch.where(empty, last, end)
        means = (sums[end] - sums[begin]) / (end - begin).clamp(min=1).unsqueeze(-1)
        long = sum(len(pieces) > self.room for pieces in ids)
        return means.float(), torch.tensor([long, int(empty.sum())])

    def split(self, sentences: Sequence[tuple[str, ...]]) -> tuple[list[list[int]], list[list[int]]]:
        """Split sentences into word pieces.

        :param sentences: the words of each sentence
        :returns: the pieces of each sentence; and for each sentence the first piece of each of its words, and of the
            end
        """
        if getattr(next(self.model.children()), "do_lower_case", False):
            sentences = [tuple(word.lower() for word in tokens) for tokens in sentences]
        split = self.tokenizer(
            [" ".join(tokens) for tokens in sentences],
            add_special_tokens=False,
            return_offsets_mapping=True,
            return_attention_mask=False,
            verbose=False,  # longer than the limit: that is what the windows are for
        )
        starts = []
        for tokens, places in zip(sentences, split["offset_mapping"], strict=True):
            # the space before a word belongs to it: some tokenizers make it a part of the first piece
            ends = np.cumsum([len(word) + 1 for word in tokens])
            last = np.array([max(begin, end - 1) for begin, end in places], dtype=np.int64)
            word = np.searchsorted(ends - 1, np.maximum.accumulate(last), side="right") if len(last) else last
            starts.append(np.searchsorted(word, np.arange(len(tokens) + 1)).tolist())
        return split["input_ids"], starts

    def windows(self, offset: int, pieces: list[int]) -> list[Window]:
        """Cut pieces into stretches that fit, and share the overlaps between neighbours.

        :param offset: how many pieces other sentences have before
        :param pieces: the pieces of a sentence
        :returns: the stretches; each piece is kept in one of them
        """
        number, room = len(pieces), self.room
        begins = [*range(0, number - room, room - room // 2), number - room] if number > room else [0]
        ends = [min(begin + room, number) for begin in begins]
        # the middle of each overlap is where one window hands over to the next
        cuts = [0, *((end + begin) // 2 for end, begin in zip(ends, begins[1:], strict=False)), number]
        return [
            Window(offset + begin, pieces[begin:end], (first - begin, after - begin))
            for begin, end, first, after in zip(begins, ends, cuts, cuts[1:], strict=False)
            if pieces
        ]

    @torch.inference_mode()
    def _sums(self, windows: Sequence[Window]) -> FloatTensor:
        """Run the transformer; running sums of the vectors of all pieces, with a row of zeros before the first."""
        device = self.model.device
        total = sum(window.keep[1] - window.keep[0] for window in windows)
        vectors: FloatTensor | None = None
        order = sorted(windows, key=lambda window: len(window.ids))
        for begin in range(0, len(order), self.batch_size):
            batch = order[begin : begin + self.batch_size]
            features = {name: tensor.to(device) for name, tensor in self._features(batch).items()}
            hidden = next(self.model.children())(features)["token_embeddings"].cpu().double()
            if vectors is None:
                vectors = hidden.new_zeros(total + 1, hidden.shape[-1])
            for row, window in enumerate(batch):
                first, after = window.keep
                kept = hidden[row, len(self.prefix) + first : len(self.prefix) + after]
                vectors[1 + window.start + first : 1 + window.start + after] = kept
        if vectors is None:  # no sentence has a piece
            width = next(self.model.children()).auto_model.config.hidden_size
            vectors = torch.zeros(1, width, dtype=torch.float64)
        return vectors.cumsum(dim=0)

    def _features(self, batch: Sequence[Window]) -> dict[str, LongTensor]:
        """Pad pieces to a batch; on the right, whatever the tokenizer prefers, so that places are known."""
        rows = [[*self.prefix, *window.ids, *self.suffix] for window in batch]
        width = max(map(len, rows))
        padding = self.tokenizer.pad_token_id or 0
        features = {
            "input_ids": torch.tensor([row + [padding] * (width - len(row)) for row in rows]),
            "attention_mask": torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows]),
        }
        if "token_type_ids" in self.tokenizer.model_input_names:
            features["token_type_ids"] = torch.zeros_like(features["input_ids"])
        return features
