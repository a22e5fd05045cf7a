"""Judges as they are written on a command line, such as ``nli:MODEL`` or ``chat:MODEL@ADDRESS``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.judge import Judge

__all__ = ["KINDS", "make_judge"]

#: What stands before the colon, and what comes after it.
KINDS = {
    "recorded": "recorded:FILE or recorded:FILE#COLUMN",
    "nli": "nli:MODEL",
    "causal": "causal:MODEL",
    "chat": "chat:MODEL or chat:MODEL@ADDRESS",
}


def make_judge(
    text: str, *, verbalizer: Any = "statements", tokens: int | None = None, store: str | Path | None = None
) -> Judge:
    """Make a judge of its spelling.

    A chat judge reads its key from the environment; its address and everything else that is written here is no secret.
    Its address begins at the last ``@http``, so the name of the model may have an ``@`` as well; a name with an ``@``
    needs an address.

    :param text: one of the forms in :data:`KINDS`
    :param verbalizer: how triples are put into words: a name, a file or a verbalizer
    :param tokens: how many tokens a chat judge may spend, over all runs with the same ``store``; ``None``: any number
    :param store: a folder where a chat judge keeps replies and what it has spent; ``None`` keeps nothing
    :returns: the judge
    :raises InvalidInputError: if the text has none of these forms

    >>> make_judge("guess:often")
    Traceback (most recent call last):
    kgneg.core.errors.InvalidInputError: the judge 'guess:often' is none of recorded:FILE or recorded:FILE#COLUMN, ...
    """
    kind, _, value = text.partition(":")
    if kind not in KINDS or not value.strip():
        raise InvalidInputError(f"the judge {text!r} is none of {', '.join(KINDS.values())}")
    if kind == "recorded":
        from kgneg.selfinstruct.recorded import RecordedJudge

        path, _, column = value.partition("#")
        column = column or "probability"
        return RecordedJudge.load(path, column=column, name=column)  # other files may stand in for it
    if kind == "nli":
        from kgneg.selfinstruct.nli import NLIJudge

        return NLIJudge(value, verbalizer=verbalizer)
    if kind == "causal":
        from kgneg.selfinstruct.causal import CausalJudge

        return CausalJudge(value, verbalizer=verbalizer)
    return _chat(value, verbalizer, tokens, None if store is None else Path(store))


def _chat(value: str, verbalizer: Any, tokens: int | None, store: Path | None) -> Judge:
    from kgneg.selfinstruct.chat import ChatJudge
    from kgneg.selfinstruct.chat_budget import Budget
    from kgneg.selfinstruct.chat_endpoint import ChatEndpoint

    found = re.fullmatch(r"(.*)@(https?://.*)", value, re.IGNORECASE | re.DOTALL)
    if found is None and "@" in value:  # an empty variable, mostly; the key must not go to somebody else
        raise InvalidInputError(
            f"the judge 'chat:{value.partition('@')[0]}@...' has no address after the last '@'. Write one that begins "
            "with http:// or https://, such as chat:qwen3@http://localhost:8000/v1."
        )
    model, address = (value, None) if found is None else found.groups()
    if store is not None:
        store.mkdir(parents=True, exist_ok=True)
    spent = None if store is None or tokens is None else store / "spent.json"
    endpoint = ChatEndpoint(model=model, base_url=address, budget=Budget(tokens=tokens, path=spent))
    return ChatJudge(endpoint=endpoint, verbalizer=verbalizer, cache=None if store is None else store / "replies")
