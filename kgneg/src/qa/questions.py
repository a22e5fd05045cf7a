"""Multiple-choice questions in columns."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch

from kgneg.core.errors import InvalidInputError, MissingExtraError
from kgneg.core.storage import atomic_path
from kgneg.core.typing import BoolTensor, LongTensor
from kgneg.qa.lines import Line, read_json_lines

__all__ = ["Question", "QuestionSet"]


class Question(NamedTuple):
    """One question."""

    question: str
    choices: tuple[str, ...]
    #: the place of the right choice
    label: int


@dataclass(frozen=True, eq=False)
class QuestionSet:
    """Questions with choices, one of them right, and where they are from.

    :param questions: length: q, the texts; a choice stands at the end, or in the place of ``{answer}``
    :param choices: length: q, the choices of each, at least two
    :param labels: shape: ``(q,)``, the place of the right choice
    :param ids: length: q, what the questions are called; ``None`` takes their numbers
    :param triples: shape: ``(q, 3)``, the triples that were asked for, or ``None``
    :param distractors: shape: ``(q, n)``, the entities that the wrong choices are, in their order, or ``None``
    :param fallback: shape: ``(q, n)``, which of them are not what the method would draw, or ``None``
    :param report: how many of what were made, left out and flagged on the way
    :raises InvalidInputError: if lengths differ, a question has one choice, or a label is no choice

    >>> asked = QuestionSet(["Sam is seen as"], [["kind", "green"]], torch.tensor([0]))
    >>> next(iter(asked))
    Question(question='Sam is seen as', choices=('kind', 'green'), label=0)
    """

    questions: Sequence[str]
    choices: Sequence[Sequence[str]]
    labels: LongTensor
    ids: Sequence[str] | None = None
    triples: LongTensor | None = None
    distractors: LongTensor | None = None
    fallback: BoolTensor | None = None
    report: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        number = len(self.questions)
        for name in ("choices", "labels", "ids", "triples", "distractors", "fallback"):
            column = getattr(self, name)
            if column is not None and len(column) != number:
                raise InvalidInputError(f"there are {number} questions, but {len(column)} {name}")
        if self.labels.shape != (number,) or self.labels.dtype != torch.long:
            shape = tuple(self.labels.shape)
            raise InvalidInputError(f"labels must be int64 of shape ({number},), got {shape} of {self.labels.dtype}")
        sizes = self.sizes
        if number and int(sizes.min()) < 2:
            raise InvalidInputError(
                f"question {int(sizes.argmin())} has {int(sizes.min())} choices, expected 2 or more"
            )
        wrong = ((self.labels < 0) | (self.labels >= sizes)).nonzero()
        if len(wrong):
            row = int(wrong[0])
            raise InvalidInputError(
                f"question {row} has the label {int(self.labels[row])} of {int(sizes[row])} choices"
            )

    @property
    def sizes(self) -> LongTensor:
        """How many choices each question has, shape ``(q,)``."""
        return torch.tensor([len(one) for one in self.choices], dtype=torch.long)

    def __len__(self) -> int:
        return len(self.questions)

    def __iter__(self) -> Iterator[Question]:
        for question, choices, label in zip(self.questions, self.choices, self.labels.tolist(), strict=True):
            yield Question(question, tuple(choices), label)

    def __repr__(self) -> str:
        return f"QuestionSet({len(self)} questions, report={dict(self.report)})"

    def select(self, rows: LongTensor) -> QuestionSet:
        """Return some questions.

        :param rows: shape: ``(k,)``, their numbers
        :returns: the questions in that order; the report is that of all
        """
        places = rows.tolist()
        tensors = {
            name: None if column is None else column[rows]
            for name, column in (
                ("triples", self.triples),
                ("distractors", self.distractors),
                ("fallback", self.fallback),
            )
        }
        return QuestionSet(
            [self.questions[one] for one in places],
            [self.choices[one] for one in places],
            self.labels[rows],
            None if self.ids is None else [self.ids[one] for one in places],
            report=self.report,
            **tensors,
        )

    def rows(self) -> Iterator[dict[str, Any]]:
        """Give the questions as tables of names and values, as they stand in a file.

        :yields: ``id``, ``question``, ``choices`` and ``label``, and as far as known ``triple``, ``distractors`` and
            ``fallback``
        """
        extra: list[tuple[str, list[Any]]] = [
            (name, column.tolist())
            for name, column in (
                ("triple", self.triples),
                ("distractors", self.distractors),
                ("fallback", self.fallback),
            )
            if column is not None
        ]
        for row, one in enumerate(self):
            name = str(row) if self.ids is None else self.ids[row]
            plain = {"id": name, "question": one.question, "choices": list(one.choices), "label": one.label}
            yield plain | {name: column[row] for name, column in extra}

    def write_jsonl(self, path: str | Path) -> None:
        """Write the questions to a file of one JSON object a line, atomically; the same questions give the same bytes.

        :param path: the file
        """
        with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as handle:
            handle.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in self.rows())

    @classmethod
    def read_jsonl(cls, path: str | Path) -> QuestionSet:
        """Read what :meth:`write_jsonl` has written, or other lines with a question, choices and a label.

        :param path: the file, packed by gzip or not
        :returns: the questions
        :raises InvalidInputError: if the file is missing or malformed; the message names the line
        """
        lines = list(read_json_lines(path))
        if not lines:
            raise InvalidInputError(f"{path} is empty: expected a question a line")
        labels = torch.tensor([_label(one) for one in lines], dtype=torch.long)
        return cls(
            [one.text("question") for one in lines],
            [tuple(one.texts("choices")) for one in lines],
            labels,
            [str(one.content.get("id", place)) for place, one in enumerate(lines)],
            triples=_column(lines, "triple", torch.long),
            distractors=_column(lines, "distractors", torch.long),
            fallback=_column(lines, "fallback", torch.bool),
        )

    def to_dataset(self) -> Any:
        """Return the questions as a data set of Hugging Face.

        :returns: a :class:`datasets.Dataset` with the columns of :meth:`rows`
        :raises MissingExtraError: if the package is not installed
        """
        try:
            from datasets import Dataset
        except ImportError as error:
            raise MissingExtraError("datasets is needed: pip install 'kgneg[train]'") from error
        rows = list(self.rows())
        return Dataset.from_dict({name: [row[name] for row in rows] for name in (rows[0] if rows else ())})


#: numbers of tensors end here
_LARGEST = 2**63


def _label(line: Line) -> int:
    choices, label = line.texts("choices"), line.content.get("label")
    if len(choices) < 2:
        raise line.error(f"{len(choices)} choices", "two or more")
    if isinstance(label, bool) or not isinstance(label, int) or not 0 <= label < len(choices):
        raise line.error(f"the label {label!r}", f"the place of a choice, 0 to {len(choices) - 1}")
    return label


def _column(lines: Sequence[Line], name: str, kind: torch.dtype) -> torch.Tensor | None:
    """Return a column of lists of numbers, or ``None`` if it is missing."""
    if name not in lines[0].content:
        return None
    width = None
    for one in lines:
        value = one.content.get(name)
        if isinstance(value, list) and all(isinstance(number, int) and abs(number) < _LARGEST for number in value):
            width = len(value) if width is None else width
        else:
            value = None
        if value is None or len(value) != width:
            raise one.error(f"{name} {one.content.get(name)!r}", "a list of numbers, as many as in the first line")
    return torch.tensor([one.content[name] for one in lines], dtype=kind)
