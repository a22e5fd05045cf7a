"""Replies of chat endpoints, read strictly: what is not exactly as asked for is a fault, never a guess."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any, NoReturn

from kgneg.core.errors import KgnegError

__all__ = ["ChatReply", "MalformedReplyError", "answer_probability", "read_completion", "read_usage", "strict_json"]

_MARKS = " \t\r\n\"'`:{},.▁Ġ"


class MalformedReplyError(KgnegError, ValueError):
    """A reply is not what was asked for.

    :param message: what is wrong with it
    :param text: the reply, as far as there is one
    :param final: asking again would not help
    """

    def __init__(self, message: str, *, text: str = "", final: bool = False) -> None:
        super().__init__(message)
        self.text, self.final = text, final


@dataclass(frozen=True)
class ChatReply:
    """What an endpoint said.

    :param text: the text of the message
    :param logprobs: tokens with log-probabilities and alternatives, as the endpoint gave them, or ``None``
    """

    text: str
    logprobs: list[Any] | None = None


def strict_json(text: str | bytes) -> Any:
    """Return what a JSON text says; a repeated key, NaN, infinity, or anything before or after is a fault.

    :param text: the text, in UTF-8 if it is bytes
    :returns: the value
    :raises MalformedReplyError: if the text is not one JSON value

    >>> strict_json('{"answer": "yes"}')
    {'answer': 'yes'}
    """
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except MalformedReplyError:
        raise
    except (ValueError, RecursionError) as error:
        kind = "is no JSON" if not isinstance(error, RecursionError) else "is JSON of too many levels"
        raise MalformedReplyError(f"the reply {kind}, or was cut off") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedReplyError("the reply has a key twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise MalformedReplyError(f"the reply has the number {name}")


def read_usage(body: Any) -> tuple[int, int] | None:
    """Return what a request has used.

    :param body: the body of the response
    :returns: tokens of the prompt and of the reply, or ``None`` if the endpoint does not say so, or says what cannot
        be: no token of the prompt, or none of a reply that has a text
    """
    usage = body.get("usage") if isinstance(body, dict) else None
    if not isinstance(usage, dict):
        return None
    counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    if not all(isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in counts):
        return None
    prompt, reply = int(counts[0] or 0), int(counts[1] or 0)
    return None if not prompt or (not reply and _has_text(body)) else (prompt, reply)


def _has_text(body: dict[str, Any]) -> bool:
    try:
        return bool(read_completion(body).text)
    except MalformedReplyError as error:
        return bool(error.text)


def read_completion(body: Any) -> ChatReply:
    """Return what the body of a response of ``/chat/completions`` says.

    :param body: the body, as JSON
    :returns: the reply
    :raises MalformedReplyError: if the body has another form, was cut off, or there was a refusal
    """
    choices = body.get("choices") if isinstance(body, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        said = body.get("error") if isinstance(body, dict) else None
        said = said.get("message", said) if isinstance(said, dict) else said
        told = "" if not said else f", but an error: {said if isinstance(said, str) else json.dumps(said)}"
        raise MalformedReplyError(f"the response has no choices with a message{told}")
    text = message.get("content")
    shown = text if isinstance(text, str) else ""
    finish = choice.get("finish_reason")
    if finish == "content_filter" or message.get("refusal"):
        raise MalformedReplyError("the endpoint refuses to answer", text=shown, final=True)
    if not isinstance(text, str):
        raise MalformedReplyError("the message has no text")
    if finish == "length":
        raise MalformedReplyError("the reply was cut off at the limit of tokens", text=shown)
    logprobs = choice.get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    return ChatReply(text=text, logprobs=content if isinstance(content, list) and content else None)


def answer_probability(reply: ChatReply, field: str, yes: str = "yes", no: str = "no") -> float | None:
    """Return P(yes) relative to P(yes) + P(no) at the place where a reply gives its answer.

    :param reply: a reply whose text is a JSON object
    :param field: the key whose value is the answer
    :param yes: the answer that counts
    :param no: its opposite
    :returns: the probability, or ``None`` without log-probabilities that fit the text
    """
    if reply.logprobs is None or not all(_is_token(one) for one in reply.logprobs):
        return None
    if "".join(one["token"] for one in reply.logprobs) != reply.text:
        return None
    place = re.search(rf'"{re.escape(field)}"\s*:\s*"', reply.text)
    if place is None:
        return None
    end = 0
    for one in reply.logprobs:
        end += len(one["token"])
        if end > place.end():
            return _share(one, yes, no)
    return None


def _is_token(one: Any) -> bool:
    return isinstance(one, dict) and isinstance(one.get("token"), str)


def _share(token: dict[str, Any], yes: str, no: str) -> float | None:
    """Return the share of a token and its alternatives that begin one answer rather than the other."""
    top = token.get("top_logprobs")
    if not isinstance(top, list) or not top:
        return _alone(token, yes, no)
    mass = {yes: 0.0, no: 0.0}
    seen = set()
    for one in (token, *top):  # endpoints need not list the token itself
        value = one.get("logprob") if _is_token(one) else None
        if isinstance(value, bool) or not isinstance(value, int | float) or not value <= 0 or one["token"] in seen:
            continue
        seen.add(one["token"])
        word = one["token"].strip(_MARKS).casefold()
        for answer in (yes, no):
            if word and answer.startswith(word):
                mass[answer] += math.exp(value)
    chosen = token["token"].strip(_MARKS).casefold()
    said = next((answer for answer in (yes, no) if chosen and answer.startswith(chosen)), None)
    if said is None or not mass[said]:
        return None  # what was said has no probability, so the others tell nothing
    return mass[yes] / (mass[yes] + mass[no])


def _alone(token: dict[str, Any], yes: str, no: str) -> float | None:
    """Return P(yes) when only the token itself has a log-probability."""
    value, word = token.get("logprob"), token["token"].strip(_MARKS).casefold()
    if isinstance(value, bool) or not isinstance(value, int | float) or not value <= 0 or not word:
        return None
    if yes.startswith(word):
        return math.exp(value)
    return 1 - math.exp(value) if no.startswith(word) else None
