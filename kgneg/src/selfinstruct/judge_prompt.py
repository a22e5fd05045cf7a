"""The words in which a judge is asked, as data."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from kgneg.core.cache import content_key
from kgneg.core.errors import InvalidInputError
from kgneg.core.validation import validate_count

__all__ = ["JudgePrompt", "read_prompt_file", "refuse_unknown_slots"]

#: what a reply may answer
ANSWERS = ("yes", "no", "unsure")
_SLOT = "{statement}"
_ANY_SLOT = re.compile(r"\{\w+\}")


def read_prompt_file(source: str | Path, builtin: Sequence[str]) -> dict[str, Any]:
    """Read a JSON object of prompts.

    :param source: one of the names that come with the package, or a JSON file
    :param builtin: the names that fit
    :returns: the object
    :raises InvalidInputError: if there is no such file, or it is no JSON object
    """
    if source in builtin:
        file: Any = resources.files("kgneg.selfinstruct") / "prompts" / f"{source}.json"
    else:
        file = Path(source)
        if not file.is_file():
            raise InvalidInputError(
                f"prompts must be {', '.join(builtin)} or a JSON file, and there is no file {source}"
            )
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidInputError(f"{source} is no JSON file of prompts: {error}. Correct it.") from error
    if not isinstance(content, dict):
        raise InvalidInputError(f"{source} must be a JSON object of prompts, got a {type(content).__name__}")
    return content


def refuse_unknown_slots(where: str, text: str, known: Sequence[str] = ()) -> None:
    """Raise if a text has a slot that nothing fills, which the model would be shown as it is.

    :param where: what the text is called in messages
    :param text: the text
    :param known: the slots that are filled
    :raises InvalidInputError: if there is another one
    """
    for slot in _ANY_SLOT.findall(text):
        if slot not in known:
            raise InvalidInputError(
                f"{where} has {slot}, which nothing fills; known are {', '.join(known) or 'none'}. Correct it, or put "
                "spaces inside the braces if it is meant as it stands."
            )


class JudgePrompt:
    """How a statement is put to a chat model.

    :param system: the system message; it says that the reply is ``{"answer": "yes"}``, ``"no"`` or ``"unsure"``
    :param user: the user's message, with ``{statement}`` in it
    :param examples: statements with their answers, which are shown before, as seeds
    :param max_tokens: the most tokens of a reply
    :param language: the language, for the record
    :raises InvalidInputError: if a part is malformed

    >>> JudgePrompt.load("judge_en").messages("A cat is a fish.")[-1]["content"].splitlines()[0]
    'Statement: A cat is a fish.'
    """

    BUILTIN = ("judge_en", "judge_zh")

    def __init__(
        self,
        *,
        system: str,
        user: str,
        examples: Sequence[Mapping[str, str]] = (),
        max_tokens: int = 24,
        language: str = "en",
    ) -> None:
        if not isinstance(system, str) or not isinstance(user, str) or _SLOT not in user:
            raise InvalidInputError(
                f"a prompt needs texts as 'system' and 'user', with {_SLOT} in the latter: {user!r}"
            )
        refuse_unknown_slots("the prompt's 'system'", system)
        refuse_unknown_slots("the prompt's 'user'", user, (_SLOT,))
        if not isinstance(language, str):
            raise InvalidInputError(f"a prompt's language must be a text such as 'en', got {language!r}")
        if not isinstance(examples, (list, tuple)):
            raise InvalidInputError(
                f"a prompt's examples must be a list, got {examples!r}. Leave it out if there are none."
            )
        for example in examples:
            if (
                not isinstance(example, Mapping)
                or set(example) != {"statement", "answer"}
                or not isinstance(example["statement"], str)
                or example["answer"] not in ANSWERS
            ):
                raise InvalidInputError(
                    f"an example needs 'statement', a text, and 'answer', one of {', '.join(ANSWERS)}, got {example!r}"
                )
        self.system, self.user, self.language = system, user, language
        self.examples = tuple((one["statement"], one["answer"]) for one in examples)
        self.max_tokens = validate_count("max_tokens", max_tokens)

    @classmethod
    def load(cls, source: str | Path | JudgePrompt) -> JudgePrompt:
        """Read a prompt.

        :param source: ``"judge_en"``, ``"judge_zh"``, a JSON file, or a prompt, which is returned as it is
        :returns: the prompt
        :raises InvalidInputError: if it is malformed
        """
        if isinstance(source, JudgePrompt):
            return source
        content = read_prompt_file(source, cls.BUILTIN)
        content.pop("about", None)
        needed, known = {"system", "user"}, {"system", "user", "examples", "max_tokens", "language"}
        if not needed <= set(content) <= known:
            raise InvalidInputError(f"{source} needs the keys {sorted(needed)} and may have {sorted(known - needed)}")
        return cls(**content)

    def messages(self, statement: str) -> tuple[dict[str, str], ...]:
        """Return what is sent.

        :param statement: the statement
        :returns: the messages
        """
        turns = [{"role": "system", "content": self.system}]
        for shown, answer in self.examples:
            turns.append({"role": "user", "content": self.user.replace(_SLOT, shown)})
            turns.append({"role": "assistant", "content": json.dumps({"answer": answer})})
        turns.append({"role": "user", "content": self.user.replace(_SLOT, statement)})
        return tuple(turns)

    def version(self) -> str:
        """Return a hash of the words.

        :returns: the hash, in hexadecimal
        """
        return content_key([self.system, self.user, self.max_tokens], [list(one) for one in self.examples])
