"""How likely a language model finds the words of question and answer."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from kgneg.core.encode import bars_hidden, bundled_model
from kgneg.core.errors import InvalidInputError
from kgneg.core.seeding import global_streams_kept, mix_seeds
from kgneg.core.typing import BoolTensor, FloatTensor, LongTensor
from kgneg.core.validation import validate_count
from kgneg.qa.people import given_names
from kgneg.qa.wording import statements
from kgneg.qa.words import stop_words

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["MaskedScorer"]

logger = logging.getLogger(__name__)

_PIECE = "\u2581\u0120#"  # what tokenizers mark beginnings and continuations of words with
_TEXTS = 256
_HEAD = 0x6D61736B
#: what the names of models with a layer over the vocabulary have
_WITH_HEAD = ("MaskedLM", "PreTraining", "LMHead")


class _Tokens(NamedTuple):
    """The tokens of texts, what of them is read, and what of that are words; shape ``(n, length)`` each."""

    ids: LongTensor
    attention: BoolTensor
    real: BoolTensor


class MaskedScorer:
    r"""Scores a choice by the mean log-probability of the tokens of question and answer, each masked alone.

    .. math:: s = \frac{1}{n} \sum_j \log p(w_j \mid T \setminus w_j)

    In training only ``positions`` random ones of the telling words are masked: no stop words, no names. A text that is
    longer than the model reads loses its beginning.

    Source: Ma et al., AAAI 2021; Wang et al., Findings of EMNLP 2023.

    :param model: a model of sentence-transformers that holds a masked language model, see :meth:`of`
    :param positions: how many tokens of a text are masked in training
    :param keywords: whether only telling words are masked in training
    :param batch_size: masked texts per forward pass
    :param progress: whether to show progress bars
    :raises InvalidInputError: if the model has no token for masks
    """

    kind = "masked"

    def __init__(
        self,
        model: SentenceTransformer,
        *,
        positions: int = 6,
        keywords: bool = True,
        batch_size: int = 64,
        progress: bool = True,
    ) -> None:
        self.model = model
        self.positions = validate_count("positions", positions)
        self.keywords = keywords
        self.batch_size = validate_count("batch_size", batch_size)
        self.progress = progress
        tokenizer: Any = model.tokenizer
        if getattr(tokenizer, "mask_token_id", None) is None:
            raise InvalidInputError("the model has no token for masks: take a masked language model, such as BERT")
        tokenizer.truncation_side = "left"
        self._tokenizer = tokenizer
        self._telling = _telling(tokenizer)

    @classmethod
    def of(cls, name: str, *, seed: int = 0, **options: Any) -> MaskedScorer:
        """Load a masked language model.

        :param name: the name of a model of transformers, or its folder
        :param seed: the seed of what the model lacks
        :param options: arguments of the class
        :returns: the scorer, with a model of its own
        :raises InvalidInputError: if it cannot be loaded
        """
        from sentence_transformers import SentenceTransformer

        place = (bundled_model() or name) if name == "minilm" else name
        try:
            with bars_hidden(), global_streams_kept():
                torch.manual_seed(mix_seeds(seed, _HEAD))
                model = SentenceTransformer(modules=[_body(place)]).eval()
        except Exception as error:
            raise InvalidInputError(
                f"the masked language model {name!r} cannot be loaded ({type(error).__name__}: "
                f"{(str(error).splitlines() or ['no message'])[0]}). Give the name of a model that can be downloaded, "
                "or the folder of one"
            ) from error
        kinds = getattr(_language_model(model).config, "architectures", None) or ()
        if kinds and not any(mark in one for one in kinds for mark in _WITH_HEAD):
            logger.warning(
                "%s is no masked language model but %s: it says nothing before it is trained", name, kinds[0]
            )
        return cls(model, **options)

    @property
    def options(self) -> dict[str, Any]:
        """What it was made with, besides the model."""
        return {"positions": self.positions, "keywords": self.keywords, "batch_size": self.batch_size}

    def scores(self, questions: Sequence[str], choices: Sequence[Sequence[str]]) -> list[FloatTensor]:
        """Return one score per choice, see :meth:`~kgneg.qa.scorers.Scorer.scores`.

        :param questions: length: q
        :param choices: length: q
        :returns: length: q
        """
        from tqdm.auto import tqdm

        texts, sizes = statements(questions, choices)
        if not texts:
            return []
        self.model.eval()
        order = sorted(range(len(texts)), key=lambda one: len(texts[one]))
        found = torch.empty(len(texts))
        blocks = [order[begin : begin + _TEXTS] for begin in range(0, len(order), _TEXTS)]
        with torch.inference_mode():
            for block in tqdm(blocks, desc="masking words", unit="block", disable=not self.progress):
                tokens = self._tokens([texts[one] for one in block])
                found[block] = self._means(tokens, tokens.real).cpu()
        return list(torch.split(found, sizes))

    def batch_scores(
        self, questions: Sequence[str], choices: Sequence[Sequence[str]], generator: torch.Generator
    ) -> FloatTensor:
        """Return the scores of all choices one after the other, with gradients.

        :param questions: length: b
        :param choices: length: b
        :param generator: which positions are masked; on the CPU
        :returns: shape: ``(number of choices,)``
        """
        tokens = self._tokens(statements(questions, choices)[0])
        chosen = real = tokens.real
        if self.keywords:
            telling = real & self._telling[tokens.ids.cpu()].to(real.device)
            chosen = torch.where(telling.any(-1, keepdim=True), telling, real)
        chance = torch.rand(chosen.shape, generator=generator).to(chosen.device).masked_fill(~chosen, -1.0)
        if self.positions < chosen.shape[1]:
            least = chance.topk(self.positions, dim=-1).values[:, -1:]
            chosen = chosen & (chance >= least)
        return self._means(tokens, chosen)

    def _tokens(self, texts: list[str]) -> _Tokens:
        made = self._tokenizer(
            texts,
            truncation=True,
            max_length=self.model.max_seq_length or self._tokenizer.model_max_length,
            padding=True,
            return_special_tokens_mask=True,
            return_tensors="pt",
        )
        device, attention = self.model.device, made["attention_mask"].bool()
        real = attention & ~made["special_tokens_mask"].bool()
        return _Tokens(made["input_ids"].to(device), attention.to(device), real.to(device))

    def _means(self, tokens: _Tokens, chosen: BoolTensor) -> FloatTensor:
        """Return the mean log-probability of the chosen tokens of each text, shape ``(n,)``."""
        rows, places = chosen.nonzero(as_tuple=True)
        ids, attention = tokens.ids, tokens.attention
        parts = [
            self._log_probabilities(ids[row], attention[row], place)
            for row, place in zip(torch.split(rows, self.batch_size), torch.split(places, self.batch_size), strict=True)
        ]
        sums = torch.zeros(len(ids), device=ids.device)
        if parts:
            sums = sums.index_add(0, rows, torch.cat(parts))
        return sums / chosen.sum(-1).clamp(min=1)

    def _log_probabilities(self, ids: LongTensor, attention: BoolTensor, places: LongTensor) -> FloatTensor:
        """Return how likely one token of each row is, where it is masked, shape ``(b,)``."""
        number = torch.arange(len(ids), device=ids.device)
        right = ids[number, places]
        hidden = ids.index_put((number, places), torch.tensor(self._tokenizer.mask_token_id, device=ids.device))
        language = _language_model(self.model)
        with _only(language, number, places):
            logits = language(input_ids=hidden, attention_mask=attention.long()).logits
        if logits.shape[1] != 1:
            logits = logits[number, places][:, None]
        found: FloatTensor = logits[:, 0].float().log_softmax(-1).gather(-1, right[:, None])[:, 0]
        return found


@contextmanager
def _only(language: Any, rows: LongTensor, places: LongTensor) -> Iterator[None]:
    """Have the vocabulary looked at for one place of each row alone, which is most of the work of small models."""
    layer = language.get_output_embeddings()

    def narrowed(_: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
        return (given[0][rows, places][:, None], *given[1:])

    handle = None if layer is None else layer.register_forward_pre_hook(narrowed)
    try:
        yield
    finally:
        if handle is not None:
            handle.remove()


def _body(name: str) -> Any:
    """Return the module of sentence-transformers that holds a masked language model."""
    try:
        from sentence_transformers.sentence_transformer.modules import Transformer
    except ImportError:  # before version 6
        from sentence_transformers.sparse_encoder.models import MLMTransformer  # type: ignore[import-not-found]

        return MLMTransformer(name)
    return Transformer(name, transformer_task="fill-mask")


def _language_model(model: SentenceTransformer) -> Any:
    first: Any = next(model.children())
    return getattr(first, "auto_model", None) or first.model


def _telling(tokenizer: Any) -> BoolTensor:
    """Return which tokens of a vocabulary are, or belong to, words that say something."""
    dull = stop_words() | {one.casefold() for one in given_names()} | {"s", "t", "re", "ll", "ve", "d", "m"}
    vocabulary = tokenizer.get_vocab()
    found = torch.zeros(max(vocabulary.values(), default=0) + 1, dtype=torch.bool)
    for token, number in vocabulary.items():
        piece = token.strip(_PIECE).casefold()
        found[number] = piece not in dull and any(map(str.isalnum, piece))
    found[list(tokenizer.all_special_ids)] = False
    return found
