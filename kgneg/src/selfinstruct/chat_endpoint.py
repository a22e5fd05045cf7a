"""An OpenAI-compatible chat endpoint: many requests at once, with retries, limits, and no secret in any text."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

from kgneg.core.errors import InvalidInputError, KgnegError
from kgneg.core.validation import validate_count, validate_number
from kgneg.selfinstruct.chat_budget import Budget
from kgneg.selfinstruct.chat_policy import RequestPolicy
from kgneg.selfinstruct.chat_reply import ChatReply
from kgneg.selfinstruct.chat_secret import Secret

__all__ = ["ChatEndpoint", "ChatRequest", "EndpointError", "Outcome"]

ValueT = TypeVar("ValueT")

_OFFICIAL = "https://api.openai.com/v1"
_OWN = {"model", "messages", "n", "stream", "max_tokens", "logprobs", "top_logprobs"}
_LONGEST = 200
#: characters of somebody else's text that are looked at for a message, and of a part of the key that hide there
_READ, _HIDDEN = 8192, 6
#: seconds between two looks at whether the caller has been cancelled
_LOOK = 0.1
#: parts of a path that look like a key: a usual beginning and a digit, or many letters with digits and no hyphen
_KEY = re.compile(
    r"(?:sk|pk|rk|gsk|hf|xai)[-_](?=\D*\d)[\w-]{8,}|(?:key|api|token)[-_](?=\D*\d)[\w-]{16,}"
    r"|(?=\D*\d)(?=[^A-Za-z]*[A-Za-z])\w{24,}"
)


class EndpointError(KgnegError, RuntimeError):
    """The endpoint turns every request away: the key, the model or the address is wrong."""


@dataclass(frozen=True, kw_only=True)
class ChatRequest:
    """One question.

    :param key: what tells it from other questions
    :param messages: ``role`` and ``content`` of each message
    :param max_tokens: the most tokens of the reply
    :param temperature: how far replies vary; ``None`` leaves it to the endpoint
    :param seed: the seed of the reply; ``None`` leaves it to the endpoint
    :param logprobs: ask for log-probabilities
    :raises InvalidInputError: if the temperature is no finite number of at least 0
    """

    key: str
    messages: tuple[Mapping[str, str], ...]
    max_tokens: int
    temperature: float | None = 0.0
    seed: int | None = None
    logprobs: bool = False

    def __post_init__(self) -> None:
        if self.temperature is not None:
            validate_number("temperature", self.temperature)


@dataclass(frozen=True)
class Outcome(Generic[ValueT]):
    """What became of a question.

    :param value: what the reply says, or ``None`` if there is none
    :param reason: why there is none
    """

    value: ValueT | None
    reason: str = ""


class ChatEndpoint:
    """Asks a model behind the protocol of OpenAI's chat completions.

    The key is read from the environment when it is needed. It stands in no message, log, file or ``repr``, also where
    the endpoint repeats it: a reply that has the key or a long part of it is malformed, and the key is cut out of what
    is kept of it for inspection. A key of fewer than 8 characters, such as local servers take, counts as no secret, and
    one of fewer than 12 does not in replies.

    Questions go to the address and nowhere else: redirects are not followed, and ``OPENAI_ORG_ID``,
    ``OPENAI_PROJECT_ID`` and ``OPENAI_CUSTOM_HEADERS`` are sent to OpenAI only.

    :param model: the name of the model
    :param base_url: the address, such as ``http://localhost:8000/v1``; ``None`` for that of OpenAI
    :param api_key: the key, instead of one in the environment; such an endpoint cannot be sent to other processes
    :param api_key_env: the environment variable that holds the key; local servers mostly need none
    :param policy: how many at once, how fast, how often again
    :param budget: what may be spent; ``None`` for no limit
    :param extra: further fields of every request, such as ``{"top_p": 0.9}``; ``max_completion_tokens`` replaces
        ``max_tokens`` for models that want it
    :param json_mode: ask the endpoint to reply in JSON; not all of them can
    :raises InvalidInputError: if the address is no plain http address, or a further field is one of our own or nothing
        that JSON can spell

    >>> ChatEndpoint(model="tiny", base_url="http://localhost:8000/v1", api_key="sk-1")
    ChatEndpoint(model='tiny', base_url='http://localhost:8000/v1')
    """

    def __init__(
        self,
        *,
        model: str,
        base_url: str | None = None,
        api_key: str | None = None,
        api_key_env: str = "OPENAI_API_KEY",
        policy: RequestPolicy | None = None,
        budget: Budget | None = None,
        extra: Mapping[str, Any] | None = None,
        json_mode: bool = True,
    ) -> None:
        if not isinstance(model, str) or not model.strip():
            raise InvalidInputError(f"model must be the name of a model, got {model!r}")
        self.model = model
        self._address = _OFFICIAL if base_url is None else _plain_address(base_url)
        self._secret = None if not api_key else Secret(api_key)
        if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", api_key_env):
            raise InvalidInputError(
                "api_key_env must be the name of an environment variable, such as OPENAI_API_KEY, not the key itself. "
                "Set such a variable and give its name."
            )
        self.api_key_env = api_key_env
        #: whether a request has succeeded so far, in an earlier run or in this one
        self.answered = False
        #: whether a request has succeeded with this key
        self.admitted = False
        self.policy = RequestPolicy() if policy is None else policy
        self.budget = Budget() if budget is None else budget
        self.extra = dict(extra or {})
        if wrong := sorted(_OWN & set(self.extra)):
            raise InvalidInputError(f"extra must not have {', '.join(wrong)}, which kgneg sets itself. Leave it out.")
        try:
            json.dumps(self.extra, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidInputError(
                f"extra must be what JSON can spell: {error}. Use texts, finite numbers, lists and dicts."
            ) from None
        if "max_completion_tokens" in self.extra:
            validate_count("max_completion_tokens", self.extra["max_completion_tokens"])
        self.json_mode = bool(json_mode)
        #: what happened so far: requests, retries, tokens
        self.counts: Counter[str] = Counter()

    @property
    def base_url(self) -> str:
        """The address, without a key that stands in it."""
        return self._known().removed(self._address)

    @property
    def address(self) -> str:
        """The address to which requests go; show ``base_url`` instead."""
        return self._address

    def _known(self) -> Secret:
        """Return the key, if there is one, and what looks like a key in the address."""
        found = self._secret.value if self._secret is not None else os.environ.get(self.api_key_env, "").strip()
        return Secret(found, tuple(one for one in urlsplit(self._address).path.split("/") if _KEY.fullmatch(one)))

    def __repr__(self) -> str:
        return f"ChatEndpoint(model={self.model!r}, base_url={self.base_url!r})"

    def identity(self) -> dict[str, Any]:
        """Return what replies depend on, without any secret.

        :returns: the address, the model and further fields of requests; also a hash of the address if it is not shown
            as a whole, because other addresses have other replies
        """
        given = {"base_url": self._address, "model": self.model, "extra": self.extra, "json_mode": self.json_mode}
        shown = dict(self._known().removed_from(given))
        if shown["base_url"] != self._address:
            shown["address"] = hashlib.blake2b(self._address.encode("utf-8", "replace"), digest_size=16).hexdigest()
        return shown

    def most_tokens(self, request: ChatRequest) -> int:
        """Return the most tokens that the reply to a question can have.

        :param request: the question
        :returns: the limit that is sent
        """
        return int(self.extra.get("max_completion_tokens", request.max_tokens))

    def secret(self) -> Secret:
        """Return the key, read from the environment if it was not given.

        :returns: the key; empty for endpoints that need none
        :raises InvalidInputError: if there is none and the endpoint is that of OpenAI, or it cannot be a key
        """
        found = self._known()
        if not found.value and self._address == _OFFICIAL:
            raise InvalidInputError(
                f"there is no key in the environment variable {self.api_key_env}. Set it, or name another one with "
                "api_key_env= (--api-key-env, where a command has it)."
            )
        if not (found.value.isascii() and found.value.isprintable()) or " " in found.value:
            raise InvalidInputError(
                f"the key (from {self.api_key_env}, if it was not given) has spaces, line ends or letters that no key "
                "has. Copy it again."
            )
        return found

    def clean(self, text: str, limit: int | None = _LONGEST) -> str:
        """Return a text of somebody else's in one printable line, without the key.

        :param text: the text
        :param limit: the most characters; ``None`` keeps all, with its lines, as in a reply, where short keys and parts
            of a key may be words
        :returns: the text that can be shown
        """
        secret = self.secret()
        text = secret.removed(text, short=False) if limit is None else secret.removed(text[:_READ], part=_HIDDEN)
        text = text.encode("utf-8", "replace").decode("utf-8")
        if limit is None:
            return text
        line = " ".join("".join(one if one.isprintable() else " " for one in text).split())
        return line if len(line) <= limit else line[: limit - 3] + "..."

    def ask(
        self,
        requests: Iterable[ChatRequest],
        parse: Callable[[ChatReply], ValueT],
        done: Callable[[ChatRequest, Outcome[ValueT]], None],
        malformed: Callable[[ChatRequest, str, str], None] | None = None,
    ) -> None:
        """Ask many questions at once and hand each outcome over as it comes, in no fixed order.

        An interrupt ends the asking, also where an event loop is running, as in a notebook.

        :param requests: the questions; taken one by one when there is room for another
        :param parse: reads a reply; raises :class:`~kgneg.selfinstruct.chat_reply.MalformedReplyError` if it is not as
            asked for, and it is asked for again
        :param done: gets each question and its outcome, exactly once
        :param malformed: gets the question, the text and the fault of each reply that was not as asked for
        :raises EndpointError: if the endpoint turns every request away
        """
        from kgneg.selfinstruct.chat_session import Session

        session: Session[ValueT] = Session(self, parse, malformed)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            asyncio.run(session.run(requests, done))
            return
        with ThreadPoolExecutor(1) as pool:  # in a notebook, where a loop is running already
            running = pool.submit(asyncio.run, session.run(requests, done))
            try:
                _wait_for(running)
            except BaseException:
                session.cancel()
                raise


def _wait_for(running: Future[None]) -> None:
    """Wait for another thread, unless the task that waits is cancelled: a loop tells it so, and raises nothing here."""
    task = asyncio.current_task()
    before = 0 if task is None else task.cancelling()
    while not wait([running], _LOOK).done:
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError
    running.result()


def _plain_address(address: str) -> str:
    """Return the address; one with a user name, a password or a query is refused without repeating it."""
    try:
        parts = urlsplit(address)
        plain = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0  # reading it checks it
        plain = plain and address.isprintable() and " " not in address
        secret = "@" in parts.netloc or bool(parts.query) or bool(parts.fragment)
    except ValueError:
        plain = secret = False
    if not plain or secret:
        raise InvalidInputError(
            "base_url must be an address such as http://localhost:8000/v1, with a port of at most 65535 and without "
            "spaces, user name, key or query. Put a key into an environment variable and name it with api_key_env."
        )
    return address.rstrip("/")
