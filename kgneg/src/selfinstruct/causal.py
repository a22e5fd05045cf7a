"""A causal language model on this machine as a judge."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
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
from kgneg.selfinstruct.judge_prompt import read_prompt_file
from kgneg.selfinstruct.local_model import LocalModel, both_forms
from kgneg.selfinstruct.verbalizer import Verbalizer

__all__ = ["CausalJudge"]

_BUILTIN = ("causal_en", "causal_zh")
_KEYS = {"yes", "no", "wordings", "empty"}
_SLOT = "{statement}"


class CausalJudge:
    r"""Judges by how a language model goes on after a question: with yes or with no.

    A statement :math:`s` scores :math:`\log P(yes | s) - \log P(no | s)`, less the mean of the same for statements
    without content, which takes away what the model says in any case; then the mean over wordings. A triple scores half
    the score of its sentence less that of its negation, and P(true) is the logistic function of it. When the logistic
    functions of both scores are above ``0.5 + margin``, or below ``0.5 - margin``, there is no verdict, with the reason
    ``contradiction``.

    :param model: the folder or name of a causal language model
    :param verbalizer: how triples are put into words; a name or a path is loaded
    :param prompt: ``"causal_en"``, ``"causal_zh"`` or a JSON file; ``None`` takes the language of the verbalizer
    :param both: ask about the negation as well
    :param margin: how far from 0.5 a sentence counts as affirmed or denied; 0.5 never finds a contradiction
    :param temperature: by what scores are divided; calibration makes up for it
    :param batch_size: prompts per forward pass
    :param device: where the model runs
    :param revision: which version of a named model
    :param progress: show a bar
    """

    def __init__(
        self,
        model: str | Path,
        *,
        verbalizer: Verbalizer | str | Path = "statements",
        prompt: str | Path | None = None,
        both: bool = True,
        margin: float = 0.1,
        temperature: float = 1.0,
        batch_size: int = 16,
        device: str | torch.device = "cpu",
        revision: str | None = None,
        progress: bool = False,
    ) -> None:
        self.model = LocalModel(model, kind="causal", device=device, revision=revision)
        self.verbalizer = Verbalizer.load(verbalizer)
        if prompt is None:
            own = f"causal_{self.verbalizer.language}"
            prompt = own if own in _BUILTIN else _BUILTIN[0]
        self.prompt = _read(prompt)
        self.both = validate_flag("both", both)
        self.margin = validate_number("margin", margin)
        self.temperature = validate_number("temperature", temperature, above=True)
        self.batch_size = validate_count("batch_size", batch_size)
        self.progress = progress
        self._prior: np.ndarray | None = None

    @property
    def name(self) -> str:
        """A short name for tables: that of the model."""
        return self.model.short_name

    def fingerprint(self) -> str:
        """Return a hash of the model and the words.

        :returns: the hash, in hexadecimal
        """
        words = [self.prompt, self.both, self.margin, self.temperature]
        return content_key("causal", self.model.identity(), self.verbalizer.fingerprint(), words)

    def judge(self, candidates: Candidates) -> Judgements:
        """Judge triples.

        :param candidates: the triples
        :returns: P(true) of each, or NaN and ``contradiction``
        """
        count = len(self.prompt["wordings"]) * len(candidates) * (1 + self.both)
        with tqdm(total=count, desc=self.name, disable=not self.progress) as bar:
            score = self.scores(self.verbalizer.positive(candidates), bar)
            if not self.both:
                return Judgements.of(self._logistic(score))
            other = self.scores(self.verbalizer.negated(candidates), bar)
        statement, negation = self._logistic(score), self._logistic(other)
        return both_forms(self._logistic((score - other) / 2), statement, negation, self.margin)

    def _logistic(self, score: np.ndarray) -> np.ndarray:
        return np.asarray(1 / (1 + np.exp(-np.clip(score / self.temperature, -500, 500))))

    def scores(self, statements: Sequence[str], bar: Any = None) -> np.ndarray:
        """Return the scores of statements.

        :param statements: shape: ``(n,)``
        :param bar: a progress bar
        :returns: shape: ``(n,)``, the log odds of yes against no, above what a statement without content has
        """
        if not statements:
            return np.zeros(0)
        if self._prior is None:
            self._prior = np.array([self._odds(one, self.prompt["empty"]).mean() for one in self.prompt["wordings"]])
        odds = []
        for wording, prior in zip(self.prompt["wordings"], self._prior, strict=True):
            odds.append(self._odds(wording, statements, bar) - prior)
        return np.asarray(np.mean(odds, axis=0))

    def _odds(self, wording: str, statements: Sequence[str], bar: Any = None) -> np.ndarray:
        """Return log P(yes) - log P(no) after each prompt, shape ``(n,)``."""
        tokenizer, model = self.model.load()
        answers = [tokenizer.encode(self.prompt[one], add_special_tokens=False) for one in ("yes", "no")]
        if not all(answers) or answers[0] == answers[1]:
            raise InvalidInputError(
                f"{self.model.name} spells {self.prompt['yes']!r} and {self.prompt['no']!r} as {answers}, expected two "
                "different lists of tokens. Change yes and no in the prompt file."
            )
        prompts = [tokenizer.encode(wording.replace(_SLOT, one)) for one in statements]
        longest = _longest(model) - max(map(len, answers))
        prompts = [one[-longest:] for one in prompts]
        order = sorted(range(len(prompts)), key=lambda row: (len(prompts[row]), row))
        odds = np.empty(len(prompts))
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            odds[rows] = self._batch([prompts[row] for row in rows], answers, model)
            if bar is not None:
                bar.update(len(rows))
        return odds

    def _batch(self, prompts: list[list[int]], answers: list[list[int]], model: Any) -> np.ndarray:
        """Return the log odds of the answers after prompts of about the same length."""
        total: list[torch.Tensor] = []
        kept: dict[tuple[int, ...], torch.Tensor] = {}
        for answer in answers:
            before = tuple(answer[:-1])  # answers of one token share the forward pass
            if before not in kept:
                kept[before] = self._logprobs([[*one, *before] for one in prompts], len(answer), model)
            tokens = torch.tensor(answer, device=self.model.device).expand(len(prompts), -1)
            total.append(kept[before].gather(-1, tokens[..., None]).squeeze(-1).sum(-1))
        return np.asarray((total[0] - total[1]).cpu().numpy(), dtype=np.float64)

    def _logprobs(self, texts: list[list[int]], last: int, model: Any) -> torch.Tensor:
        """Return log-probabilities after each of the last tokens, shape ``(b, last, vocabulary)``.

        Padding is on the right, where a causal model does not see it; only what is needed is turned into logits.
        """
        device = self.model.device
        lengths = torch.tensor([len(one) for one in texts])
        ids = torch.zeros(len(texts), int(lengths.max()), dtype=torch.int64)
        for row, one in enumerate(texts):
            ids[row, : len(one)] = torch.tensor(one)
        mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
        places = lengths[:, None] - last + torch.arange(last)
        distinct, column = torch.unique(places, return_inverse=True)
        extra = {"logits_to_keep": distinct.to(device)} if _keeps_logits(model) else {}
        with torch.inference_mode():
            logits = model(input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False, **extra).logits
        if not extra:
            logits = logits[:, distinct.to(device)]
        picked = logits[torch.arange(len(texts), device=device)[:, None], column.to(device)]
        return torch.log_softmax(picked.double(), -1)


def _keeps_logits(model: Any) -> bool:
    return "logits_to_keep" in inspect.signature(model.forward).parameters


def _longest(model: Any) -> int:
    """Return how many tokens a model can read."""
    found = getattr(model.config, "max_position_embeddings", None)
    return int(found) if isinstance(found, int) and found > 0 else 1 << 20


def _read(source: str | Path) -> dict[str, Any]:
    """Return the prompts of a file."""
    content = read_prompt_file(source, _BUILTIN)
    found = {key: value for key, value in content.items() if key not in ("about", "language")}
    texts = [found.get("yes"), found.get("no"), *_texts(found.get("wordings")), *_texts(found.get("empty"))]
    if set(found) != _KEYS or not all(isinstance(one, str) for one in texts) or not (found["yes"] and found["no"]):
        raise InvalidInputError(
            f"{source} needs the texts 'yes' and 'no', and the lists of texts 'wordings' and 'empty'"
        )
    for wording in found["wordings"]:
        if _SLOT not in wording:
            raise InvalidInputError(f"{source}: the wording {wording!r} must have {_SLOT} in it")
    return found


def _texts(value: Any) -> list[Any]:
    """Return a list that is not empty; anything else becomes a list without texts."""
    return value if isinstance(value, list) and value else [None]
