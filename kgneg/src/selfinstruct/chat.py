"""A chat model as a judge."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm.auto import tqdm

from kgneg.core.cache import content_key
from kgneg.core.validation import validate_count, validate_flag, validate_number
from kgneg.selfinstruct.candidates import Candidates
from kgneg.selfinstruct.chat_cache import ReplyCache
from kgneg.selfinstruct.chat_endpoint import ChatEndpoint, ChatRequest, Outcome
from kgneg.selfinstruct.chat_reply import ChatReply, MalformedReplyError, answer_probability, strict_json
from kgneg.selfinstruct.judge import Judgements
from kgneg.selfinstruct.judge_prompt import ANSWERS, JudgePrompt
from kgneg.selfinstruct.verbalizer import Verbalizer

__all__ = ["ChatJudge"]

_BLOCK = 2048
_CLIP = 1e-3
_HARD = {"yes": 1.0, "no": 0.0, "unsure": 0.5}


class _Verdict(NamedTuple):
    """One reply: its answer, and P(yes) if the endpoint gave log-probabilities."""

    answer: str
    probability: float | None

    @property
    def share(self) -> float:
        return _HARD[self.answer] if self.probability is None else self.probability


class ChatJudge:
    r"""Asks a chat model whether the sentence of a triple holds, and whether its negation does.

    Each triple takes ``votes`` questions per form, each in another wording as far as the verbalizer has some. With
    log-probabilities, a reply is worth :math:`p = P(yes) / (P(yes) + P(no))`, without them 1, 0, or 0.5 for "unsure";
    a reply to the negation is worth ``1 - p``. P(true) is the mean; replies without log-probabilities are smoothed by
    one more of 0.5, so two that agree give 0.83. When both forms are affirmed, or both denied, there is no verdict and
    the reason is ``contradiction``; when all replies are unsure, it is ``unsure``.

    A triple has a verdict only if all its questions have a reply; otherwise the reason says what happened:
    ``endpoint``, ``malformed``, ``budget`` or ``gave up``. Replies are kept as soon as they are there, so the same call
    goes on where it stood.

    :param endpoint: who is asked
    :param verbalizer: how triples are put into words; a name or a path is loaded
    :param prompt: how the question is put; ``None`` takes the language of the verbalizer if it comes with the package
    :param votes: questions per form
    :param both: ask about the negation as well
    :param logprobs: ask for log-probabilities
    :param temperature: how far replies vary; ``None`` leaves it to the endpoint. Above 0 for more votes than wordings
    :param cache: a file that keeps the replies, or a cache; ``None`` keeps nothing
    :param seed: the seed that is sent, plus the number of the vote; ``None`` sends none
    :param progress: show a bar
    :raises InvalidInputError: if the temperature is no finite number of at least 0, or the votes are no count
    """

    def __init__(
        self,
        *,
        endpoint: ChatEndpoint,
        verbalizer: Verbalizer | str | Path = "statements",
        prompt: JudgePrompt | str | Path | None = None,
        votes: int = 1,
        both: bool = True,
        logprobs: bool = True,
        temperature: float | None = 0.0,
        cache: ReplyCache | str | Path | None = None,
        seed: int | None = 0,
        progress: bool = False,
    ) -> None:
        self.endpoint = endpoint
        self.verbalizer = Verbalizer.load(verbalizer)
        if prompt is None:
            own = f"judge_{self.verbalizer.language}"
            prompt = own if own in JudgePrompt.BUILTIN else "judge_en"
        self.prompt = JudgePrompt.load(prompt)
        self.votes = validate_count("votes", votes)
        self.both, self.logprobs = validate_flag("both", both), validate_flag("logprobs", logprobs)
        self.temperature = None if temperature is None else validate_number("temperature", temperature)
        self.seed, self.progress = seed, progress
        self.cache = ReplyCache(cache) if isinstance(cache, str | Path) else cache
        #: what happened so far: questions from the cache, contradictions, rows without verdict
        self.counts: Counter[str] = Counter()

    @property
    def name(self) -> str:
        """A short name for tables: that of the model."""
        return self.endpoint.model

    def fingerprint(self) -> str:
        """Return a hash of the model, its address, the words and the votes; the key is no part of it.

        :returns: the hash, in hexadecimal
        """
        return content_key(self._identity(), self.verbalizer.fingerprint(), [self.votes, self.both])

    def _identity(self) -> dict[str, object]:
        """Return everything that one reply depends on but the sentence and the number of the vote."""
        return {
            "kind": "chat",
            "endpoint": self.endpoint.identity(),
            "prompt": self.prompt.version(),
            "temperature": self.temperature,
            "logprobs": self.logprobs,
            "seed": self.seed,
        }

    def judge(self, candidates: Candidates) -> Judgements:
        """Ask about triples.

        :param candidates: the triples
        :returns: P(true) of each, or NaN and why there is no verdict
        """
        self.verbalizer.check(candidates.relations)
        probability, reasons = np.full(len(candidates), np.nan), [""] * len(candidates)
        forms = 1 + self.both
        with tqdm(total=len(candidates) * self.votes * forms, desc=self.name, disable=not self.progress) as bar:
            for start in range(0, len(candidates), _BLOCK):
                block = candidates[start : start + _BLOCK]
                questions = self._questions(block)
                replies = self._replies([one for row in questions for one in row], bar)
                for row, asked in enumerate(questions, start):
                    said = [replies[one.key] for one in asked]
                    probability[row], reasons[row] = self._combined(said)
        return Judgements(probability=probability, reasons=tuple(reasons))

    def _questions(self, block: Candidates) -> list[list[ChatRequest]]:
        """Return the questions of each row: all votes on the sentence, then all on its negation."""
        rows: list[list[ChatRequest]] = [[] for _ in range(len(block))]
        identity = self._identity()
        for form in (self.verbalizer.positive, self.verbalizer.negated)[: 1 + self.both]:
            for vote in range(self.votes):
                for row, statement in zip(rows, form(block, vote), strict=True):
                    row.append(self._question(identity, statement, vote))
        return rows

    def _question(self, identity: dict[str, object], statement: str, vote: int) -> ChatRequest:
        return ChatRequest(
            key=content_key(identity, [statement, vote]),
            messages=self.prompt.messages(statement),
            max_tokens=self.prompt.max_tokens,
            temperature=self.temperature,
            seed=None if self.seed is None else self.seed + vote,
            logprobs=self.logprobs,
        )

    def _replies(self, questions: Sequence[ChatRequest], bar: tqdm) -> dict[str, Outcome[_Verdict]]:  # type: ignore[type-arg]
        """Return the outcome of each question, from the cache as far as possible; equal questions are asked once."""
        open_questions = {one.key: one for one in questions}
        outcomes: dict[str, Outcome[_Verdict]] = {}
        if self.cache is not None:
            for key, kept in self.cache.get(list(open_questions)).items():
                verdict = _kept(kept)
                if verdict is not None:
                    outcomes[key] = Outcome(verdict)
        self.endpoint.answered |= bool(outcomes)
        self.counts["from cache"] += len(outcomes)
        bar.update(len(questions) - len(open_questions) + len(outcomes))

        def waiting() -> Iterator[ChatRequest]:
            yield from (one for key, one in open_questions.items() if key not in outcomes)

        def done(question: ChatRequest, outcome: Outcome[_Verdict]) -> None:
            outcomes[question.key] = outcome
            if outcome.value is not None and self.cache is not None:
                self.cache.put(question.key, outcome.value._asdict())
            bar.update()

        unasked = list(waiting())
        if unasked:
            self.endpoint.ask(unasked, _read, done)
        return outcomes

    def _combined(self, said: Sequence[Outcome[_Verdict]]) -> tuple[float, str]:
        """Return P(true) of a triple, or NaN and the reason."""
        verdicts = [one.value for one in said]
        if any(one is None for one in verdicts):
            self.counts["without reply"] += 1
            return math.nan, next(one.reason for one in said if one.value is None)
        given = [one for one in verdicts if one is not None]
        if all(one.answer == "unsure" for one in given):
            self.counts["unsure"] += 1
            return math.nan, "unsure"
        affirmed = [one.share for one in given[: self.votes]]
        denied = [one.share for one in given[self.votes :]]
        if denied:
            one, other = float(np.mean(affirmed)), float(np.mean(denied))
            if (one > 0.5 and other > 0.5) or (one < 0.5 and other < 0.5):
                self.counts["contradictions"] += 1
                return math.nan, "contradiction"
        shares = [*affirmed, *(1 - one for one in denied)]
        smooth = any(one.probability is None for one in given)
        true = (sum(shares) + 0.5 * smooth) / (len(shares) + smooth)
        return min(max(true, _CLIP), 1 - _CLIP), ""


def _read(reply: ChatReply) -> _Verdict:
    """Return what a reply says; it must be one object with one key."""
    content = strict_json(reply.text)
    if not isinstance(content, dict) or set(content) != {"answer"}:
        raise MalformedReplyError('the reply is not {"answer": ...}')
    answer = content["answer"]
    if not isinstance(answer, str) or answer not in ANSWERS:
        raise MalformedReplyError(f"the answer is none of {', '.join(ANSWERS)}")
    return _Verdict(answer, None if answer == "unsure" else answer_probability(reply, "answer"))


def _kept(value: object) -> _Verdict | None:
    """Return a verdict from the cache, or ``None`` if it is none."""
    if not isinstance(value, dict) or set(value) != set(_Verdict._fields) or value["answer"] not in ANSWERS:
        return None
    probability = value["probability"]
    if probability is not None and not (isinstance(probability, int | float) and 0 <= probability <= 1):
        return None
    return _Verdict(value["answer"], probability)
