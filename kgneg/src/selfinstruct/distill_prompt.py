"""The words in which a model is asked for a graph, as data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kgneg.core.cache import content_key
from kgneg.core.errors import InvalidInputError
from kgneg.core.validation import validate_count
from kgneg.selfinstruct.chat_reply import ChatReply, MalformedReplyError, strict_json
from kgneg.selfinstruct.judge_prompt import read_prompt_file, refuse_unknown_slots
from kgneg.selfinstruct.phrases import is_writable

__all__ = ["STAGES", "DistillPrompts", "read_items"]

#: what is asked for, in this order; also the key of each reply
STAGES = ("heads", "tails", "negatives")
_SLOTS = {
    "heads": ("{kind}", "{count}", "{known}"),
    "tails": ("{head}", "{ask}", "{count}"),
    "negatives": ("{head}", "{ask}", "{count}"),
}
#: filled too, but not needed
_OPTIONAL = "{known}"
_KEYS = {"system", "kinds", "relations", "nothing", "max_tokens", *STAGES}
_SEPARATOR = "; "


class DistillPrompts:
    """Prompts for heads of each kind, tails of each relation, and negatives.

    :param content: what the JSON file says: ``system``; ``heads``, ``tails`` and ``negatives``, prompts with slots;
        ``kinds``, name -> what is asked for; ``relations``, name -> ``kinds`` of its heads and the question ``ask``;
        ``nothing``, what stands for an empty list; ``max_tokens`` of a reply
    :param source: what they are called in messages
    :raises InvalidInputError: if a part is missing or malformed

    >>> DistillPrompts.load("distill_en").relations_of("place")
    ('IsA', 'HasProperty', 'UsedFor', 'PartOf')
    """

    BUILTIN = ("distill_en", "distill_zh")

    def __init__(self, content: dict[str, Any], *, source: str = "prompts") -> None:
        content = {key: value for key, value in content.items() if key not in ("about", "language")}
        if set(content) != _KEYS:
            raise InvalidInputError(f"{source} must have the keys {sorted(_KEYS)}, got {sorted(content)}")
        for stage, slots in _SLOTS.items():
            missing = [slot for slot in slots if not isinstance(content[stage], str) or slot not in content[stage]]
            if missing:
                raise InvalidInputError(
                    f"{source}: the prompt {stage!r} must be a text with {', '.join(missing)} in it"
                )
            refuse_unknown_slots(f"{source}: the prompt {stage!r}", content[stage], (*slots, _OPTIONAL))
        if not isinstance(content["system"], str) or not isinstance(content["nothing"], str):
            raise InvalidInputError(f"{source}: 'system' and 'nothing' must be texts")
        refuse_unknown_slots(f"{source}: 'system'", content["system"])
        _check_kinds(source, content["kinds"], content["relations"])
        self.source = source
        self._content = content
        self.max_tokens = validate_count("max_tokens", content["max_tokens"])

    @classmethod
    def load(cls, source: str | Path | DistillPrompts) -> DistillPrompts:
        """Read prompts.

        :param source: ``"distill_en"``, ``"distill_zh"``, a JSON file, or prompts, which are returned as they are
        :returns: the prompts
        """
        if isinstance(source, DistillPrompts):
            return source
        return cls(read_prompt_file(source, cls.BUILTIN), source=str(source))

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of heads."""
        return tuple(self._content["kinds"])

    @property
    def relations(self) -> tuple[str, ...]:
        """The relations."""
        return tuple(self._content["relations"])

    def relations_of(self, kind: str) -> tuple[str, ...]:
        """Return the relations that heads of a kind have.

        :param kind: the kind
        :returns: the relations
        """
        return tuple(name for name, one in self._content["relations"].items() if kind in one["kinds"])

    def version(self) -> str:
        """Return a hash of the words.

        :returns: the hash, in hexadecimal
        """
        return content_key(self._content)

    def for_heads(self, kind: str, count: int, known: Sequence[str]) -> tuple[dict[str, str], ...]:
        """Return what asks for heads.

        :param kind: their kind
        :param count: how many
        :param known: heads that are not wanted again
        :returns: the messages
        """
        return self._messages("heads", kind=self._content["kinds"][kind], count=str(count), known=self._list(known))

    def for_tails(
        self, stage: str, head: str, relation: str, count: int, known: Sequence[str] = ()
    ) -> tuple[dict[str, str], ...]:
        """Return what asks for tails that are right, or wrong.

        :param stage: ``"tails"`` or ``"negatives"``
        :param head: the head
        :param relation: the relation
        :param count: how many at most
        :param known: tails that are right, for negatives
        :returns: the messages
        """
        ask = self._content["relations"][relation]["ask"]
        return self._messages(stage, head=head, ask=ask, count=str(count), known=self._list(known))

    def _list(self, known: Sequence[str]) -> str:
        return _SEPARATOR.join(known) if known else str(self._content["nothing"])

    def _messages(self, stage: str, **parts: str) -> tuple[dict[str, str], ...]:
        text: str = self._content[stage]
        pieces = [text]
        for name, value in parts.items():  # split first, so that slots in the values stay as they are
            slot = "{" + name + "}"
            pieces = [one for piece in pieces for one in _between(piece, slot, value)]
        user = "".join(str(piece) for piece in pieces)
        return ({"role": "system", "content": self._content["system"]}, {"role": "user", "content": user})


class _Filled(str):
    """A part that has been filled in."""

    __slots__ = ()


def _between(piece: str, slot: str, value: str) -> list[str]:
    if isinstance(piece, _Filled):
        return [piece]
    parts: list[str] = []
    for number, part in enumerate(piece.split(slot)):
        parts += [_Filled(value), part] if number else [part]
    return parts


def _check_kinds(source: str, kinds: Any, relations: Any) -> None:
    if not isinstance(kinds, dict) or not kinds or not all(isinstance(one, str) for one in kinds.values()):
        raise InvalidInputError(f"{source}: 'kinds' must be an object of texts, got {kinds!r}")
    if not isinstance(relations, dict) or not relations:
        raise InvalidInputError(f"{source}: 'relations' must be an object, got {relations!r}")
    for name in (*kinds, *relations):
        if not is_writable(name):
            raise InvalidInputError(
                f"{source}: {name!r} cannot be the name of a kind or relation, which stands in files: it is empty, or "
                "has a tab, a line end or another control character. Correct it."
            )
    for name, one in relations.items():
        if not isinstance(one, dict) or set(one) != {"kinds", "ask"} or not isinstance(one["ask"], str):
            raise InvalidInputError(f"{source}: the relation {name!r} needs 'kinds' and 'ask', got {one!r}")
        if not isinstance(one["kinds"], list) or not all(isinstance(k, str) and k in kinds for k in one["kinds"]):
            raise InvalidInputError(
                f"{source}: the relation {name!r} has the kinds {one['kinds']!r}, known are {', '.join(kinds)}"
            )


def read_items(reply: ChatReply, stage: str, limit: int) -> list[str]:
    """Return the phrases of a reply, with single spaces; what is not exactly as asked for is a fault.

    :param reply: the reply
    :param stage: which key it must have
    :param limit: the most characters of a phrase
    :returns: the phrases, in the order of the reply
    :raises MalformedReplyError: if it is no object with this one key and a list of phrases
    """
    content = strict_json(reply.text)
    if not isinstance(content, dict) or set(content) != {stage}:
        raise MalformedReplyError(f'the reply is not {{"{stage}": [...]}}')
    items = content[stage]
    if not isinstance(items, list) or not all(isinstance(one, str) for one in items):
        raise MalformedReplyError(f"{stage} is no list of texts")
    phrases = [" ".join(one.split()) for one in items]
    for phrase in phrases:
        if len(phrase) > limit or not is_writable(phrase):
            raise MalformedReplyError(
                f"{stage} has a text that is empty, longer than {limit} characters or unprintable"
            )
    return phrases
