"""Readers of commonsense benchmarks, all of them into multiple-choice questions."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch

from kgneg.core.errors import InvalidInputError
from kgneg.qa.lines import Line, read_json_lines
from kgneg.qa.questions import QuestionSet
from kgneg.qa.wording import ANSWER

__all__ = ["BENCHMARKS", "find_benchmarks", "read_benchmark"]

_GAP, _LETTERS = "_", "ABCDEFGH"


class _Item(NamedTuple):
    question: str
    choices: list[str]
    label: int
    name: str | None = None


def _lettered(line: Line) -> tuple[str, list[str], int]:
    """Return the question, the choices and the place of the right one of a line with lettered choices."""
    asked = line.content.get("question")
    rows = asked.get("choices") if isinstance(asked, dict) else None
    if not isinstance(asked, dict) or not isinstance(rows, list) or not all(isinstance(one, dict) for one in rows):
        raise line.error("no question with choices", '"question": {"stem": ..., "choices": [...]}')
    inner = Line(line.path, line.number, asked)
    choices = [Line(line.path, line.number, one).text("text") for one in rows]
    letters = [one.get("label") for one in rows]
    return inner.text("stem"), choices, _place(line, "answerKey", letters)


def _place(line: Line, name: str, values: list[object]) -> int:
    """Return which of some values a field has."""
    found = line.content.get(name)
    if isinstance(found, bool) or found not in values:
        raise line.error(f"{name} {found!r}", f"one of {', '.join(map(repr, values))}")
    return values.index(found)


def _anli(line: Line) -> _Item:
    stem, choices, label = _lettered(line)
    return _Item(f"{line.text('context')} {ANSWER} {stem}", choices, label, _name(line))


def _csqa(line: Line) -> _Item:
    return _Item(*_lettered(line), _name(line))


def _piqa(line: Line) -> _Item:
    return _Item(line.text("goal"), [line.text("sol1"), line.text("sol2")], _place(line, "label", [0, 1]))


def _siqa(line: Line) -> _Item:
    choices = [line.text(f"answer{one}") for one in "ABC"]
    asked = f"{line.text('context')} {_told(line.text('question'))}"
    return _Item(asked, choices, _place(line, "correct", [*"ABC"]))


def _winogrande(line: Line) -> _Item:
    sentence = line.text("sentence")
    if sentence.count(_GAP) != 1:
        raise line.error(f"{sentence.count(_GAP)} gaps in {sentence!r}", "one _")
    choices = [line.text("option1"), line.text("option2")]
    name = line.content.get("qID")
    return _Item(sentence.replace(_GAP, ANSWER), choices, _place(line, "answer", ["1", "2"]), name and str(name))


def _name(line: Line) -> str | None:
    found = line.content.get("id")
    return None if found is None else str(found)


class _Benchmark(NamedTuple):
    read: Callable[[Line], _Item]
    #: the beginning of the name of its file
    file: str


#: the benchmarks that :func:`read_benchmark` knows
BENCHMARKS: Mapping[str, _Benchmark] = {
    "anli": _Benchmark(_anli, "anli"),
    "csqa": _Benchmark(_csqa, "commonsenseqa"),
    "piqa": _Benchmark(_piqa, "piqa"),
    "siqa": _Benchmark(_siqa, "socialiqa"),
    "winogrande": _Benchmark(_winogrande, "winogrande"),
}


def read_benchmark(name: str, path: str | Path) -> QuestionSet:
    """Read a benchmark: aNLI, CommonsenseQA, PIQA, SocialIQA or WinoGrande, or questions of one's own.

    Where an answer belongs into the question, as in WinoGrande and aNLI, ``{answer}`` stands there. Questions of
    SocialIQA become beginnings of sentences, as the questions that are made from ATOMIC are.

    :param name: ``"anli"``, ``"csqa"``, ``"piqa"``, ``"siqa"``, ``"winogrande"``, or ``"questions"`` for a file that
        :meth:`QuestionSet.write_jsonl` has written
    :param path: a file of one JSON object a line, packed by gzip or not
    :returns: the questions
    :raises InvalidInputError: if there is no such benchmark, or the file is missing or malformed; the message names the
        line
    """
    if name == "questions":
        return QuestionSet.read_jsonl(path)
    if name not in BENCHMARKS:
        raise InvalidInputError(f"there is no benchmark {name!r}: take {', '.join(BENCHMARKS)} or questions")
    items = [BENCHMARKS[name].read(line) for line in read_json_lines(path)]
    if not items:
        raise InvalidInputError(f"{path} is empty: expected a question a line")
    return QuestionSet(
        [one.question for one in items],
        [tuple(one.choices) for one in items],
        torch.tensor([one.label for one in items], dtype=torch.long),
        [str(place) if one.name is None else one.name for place, one in enumerate(items)],
    )


def find_benchmarks(folder: str | Path) -> dict[str, Path]:
    """Find the files of benchmarks in a folder by their names, such as ``commonsenseqa_dev.jsonl.gz``.

    :param folder: the folder
    :returns: benchmark -> file, in the order of :data:`BENCHMARKS`
    :raises InvalidInputError: if there is no such folder, none is in it, or one is there twice
    """
    folder, found = Path(folder), {}
    if not folder.is_dir():
        raise InvalidInputError(f"there is no folder {folder}")
    files = sorted(one for one in folder.iterdir() if re.search(r"\.jsonl?(\.gz)?$", one.name))
    for name, benchmark in BENCHMARKS.items():
        fitting = [one for one in files if one.name.lower().startswith((benchmark.file, name))]
        if len(fitting) > 1:
            raise InvalidInputError(f"{folder} has several files of {name}: {fitting[0].name}, {fitting[1].name}")
        if fitting:
            found[name] = fitting[0]
    if not found:
        names = ", ".join(f"{one.file}*.jsonl" for one in BENCHMARKS.values())
        raise InvalidInputError(f"{folder} has no file of a benchmark; they are called {names}")
    return found


# SocialIQA

_WHO = r"(?P<who>.+?)"
_TOLD = [
    (re.compile(rf"^how would you describe {_WHO}\?$", re.IGNORECASE), "{who} is seen as"),
    (
        re.compile(rf"^what will {_WHO} want to do (next|after|afterwards)\?$", re.IGNORECASE),
        "After that, {who} wanted to",
    ),
    (re.compile(rf"^why did {_WHO} do (this|that)\?$", re.IGNORECASE), "Before that, {who} wanted to"),
    (
        re.compile(rf"^what (does|did|will) {_WHO} need to do before( this| that)?\?$", re.IGNORECASE),
        "Before that, {who} needed to",
    ),
    (
        re.compile(rf"^how (would|will) {_WHO} feel( as a result| afterwards| after)?( of this)?\?$", re.IGNORECASE),
        "As a result, {who} felt",
    ),
    (re.compile(rf"^what (will|would) happen to {_WHO}( next)?\?$", re.IGNORECASE), "After that, {who}"),
    (re.compile(rf"^what (will|would) {_WHO} do (next|after)\?$", re.IGNORECASE), "After that, {who}"),
]


def _told(question: str) -> str:
    """Return a question as the beginning of a sentence that an answer completes; others as they are."""
    for pattern, told in _TOLD:
        found = pattern.match(question)
        if found:
            who = found["who"].strip()
            text = told.format(who="others" if who.casefold() == "others" else who)
            return text[:1].upper() + text[1:]
    return question
