"""Multiple-choice questions from commonsense knowledge bases, scorers that learn from them, and zero-shot evaluation.

.. code-block:: python

    from kgneg.datasets import read_atomic
    from kgneg.qa import ScorerRecipe, build_questions, evaluate_zero_shot, train_scorer

    questions = build_questions(read_atomic("atomic.tsv"), templates="atomic", distractors="concept", n=2)
    questions.write_jsonl("questions.jsonl")
    scorer = train_scorer(questions, ScorerRecipe(kind="bi-encoder", encoder="minilm"), "scorer")
    print(evaluate_zero_shot(scorer, {"csqa": "commonsenseqa_dev.jsonl.gz"}).markdown())

**Questions.** The head and the relation ask, the tail is right, and distractors are tails of the same relation that are
drawn by a corruptor. What a triple has become, and how many were left out for which reason, is in
:attr:`QuestionSet.report`; distractors that are not what the method would draw are flagged.

**Scorers.** A :class:`BiEncoderScorer` compares vectors, a :class:`CrossEncoderScorer` reads question and answer
together, and a :class:`MaskedScorer` asks how likely their words are. All of them are trained by a margin between the
right choice and each other one, and anything with a method ``scores`` can be evaluated.
"""

from __future__ import annotations

from kgneg.qa.benchmarks import BENCHMARKS, find_benchmarks, read_benchmark
from kgneg.qa.building import build_questions
from kgneg.qa.cross import CrossEncoderScorer
from kgneg.qa.distractors import DISTRACTORS
from kgneg.qa.evaluation import SetResult, ZeroShotResult, evaluate_zero_shot, judge_choices
from kgneg.qa.masked import MaskedScorer
from kgneg.qa.people import People
from kgneg.qa.questions import Question, QuestionSet
from kgneg.qa.rules import TextRules
from kgneg.qa.scorers import BiEncoderScorer, Scorer
from kgneg.qa.storage import StoredScorer, load_scorer, save_scorer
from kgneg.qa.training import SCORERS, ScorerRecipe, make_scorer, train_scorer
from kgneg.qa.windowed import WindowedDistractors
from kgneg.qa.wording import BUILTIN_TEMPLATES, Templates, statement

__all__ = [
    "BENCHMARKS",
    "BUILTIN_TEMPLATES",
    "DISTRACTORS",
    "SCORERS",
    "BiEncoderScorer",
    "CrossEncoderScorer",
    "MaskedScorer",
    "People",
    "Question",
    "QuestionSet",
    "Scorer",
    "ScorerRecipe",
    "SetResult",
    "StoredScorer",
    "Templates",
    "TextRules",
    "WindowedDistractors",
    "ZeroShotResult",
    "build_questions",
    "evaluate_zero_shot",
    "find_benchmarks",
    "judge_choices",
    "load_scorer",
    "make_scorer",
    "read_benchmark",
    "save_scorer",
    "statement",
    "train_scorer",
]
