"""Judge, filter and make negatives in words, with language models that check their own output.

.. code-block:: python

    from kgneg.selfinstruct import Candidates, ChatEndpoint, ChatJudge, Critic, SelfInstructFilter, Verbalizer

    words = Verbalizer.load("statements")
    endpoint = ChatEndpoint(model="qwen3", base_url="http://localhost:8000/v1")
    judge = ChatJudge(endpoint=endpoint, verbalizer=words, cache="replies.sqlite")
    chosen = SelfInstructFilter(judges=[judge], critic=Critic(verbalizer=words), target=0.9)
    chosen.fit(checked_true, checked_false, pool)
    print(chosen.certificate.statement())
    chosen.save("filter")
    chosen.run("candidates.tsv", "decided")

**Candidates** are triples that are offered as negatives. A :class:`~kgneg.selfinstruct.verbalizer.Verbalizer` puts them
into words, **judges** say how likely they are true, a :class:`~kgneg.selfinstruct.critic.Critic` learns from checked
triples and from judges, and a :class:`~kgneg.selfinstruct.filter.SelfInstructFilter` fuses them all, and keeps, drops
or leaves for review.

A :class:`~kgneg.selfinstruct.distill.Distiller` asks a chat model for a whole graph, negatives included. A
:class:`~kgneg.selfinstruct.dedup.Deduplicator` leaves out repetitions, :func:`~kgneg.selfinstruct.runner.run` decides
about files of any size, and :func:`~kgneg.selfinstruct.links.write_kept` and
:class:`~kgneg.selfinstruct.guard.FilterRule` hand the outcome to samplers.

Names are loaded when they are first used, so that this package is imported in no time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kgneg.selfinstruct.bounds import Certificate, certify_precision, certify_recall
    from kgneg.selfinstruct.calibration import Calibrator
    from kgneg.selfinstruct.candidates import Candidates
    from kgneg.selfinstruct.causal import CausalJudge
    from kgneg.selfinstruct.chat import ChatJudge
    from kgneg.selfinstruct.chat_budget import Budget
    from kgneg.selfinstruct.chat_cache import ReplyCache
    from kgneg.selfinstruct.chat_endpoint import ChatEndpoint, EndpointError
    from kgneg.selfinstruct.chat_policy import RequestPolicy
    from kgneg.selfinstruct.critic import Critic
    from kgneg.selfinstruct.decisions import ACTIONS, Decider, Decisions
    from kgneg.selfinstruct.dedup import Deduplicator
    from kgneg.selfinstruct.dedup_files import deduplicate_files
    from kgneg.selfinstruct.distill import Distiller
    from kgneg.selfinstruct.distill_prompt import DistillPrompts
    from kgneg.selfinstruct.distill_settings import Distilled, DistillSettings
    from kgneg.selfinstruct.duplicates import Duplicates
    from kgneg.selfinstruct.filter import SelfInstructFilter
    from kgneg.selfinstruct.fusion import JudgeFusion
    from kgneg.selfinstruct.guard import FilterRule
    from kgneg.selfinstruct.judge import Judge, Judgements
    from kgneg.selfinstruct.judge_choice import make_judge
    from kgneg.selfinstruct.judge_prompt import JudgePrompt
    from kgneg.selfinstruct.links import write_kept
    from kgneg.selfinstruct.nli import NLIJudge
    from kgneg.selfinstruct.recorded import RecordedJudge, write_verdicts
    from kgneg.selfinstruct.rules import RuleJudge, Schema
    from kgneg.selfinstruct.run_report import RunReport
    from kgneg.selfinstruct.runner import run
    from kgneg.selfinstruct.saved import SavedFilter
    from kgneg.selfinstruct.threshold import ThresholdDecider
    from kgneg.selfinstruct.vectors import VectorTable
    from kgneg.selfinstruct.verbalizer import Verbalizer

__all__ = [
    "ACTIONS",
    "Budget",
    "Calibrator",
    "Candidates",
    "CausalJudge",
    "Certificate",
    "ChatEndpoint",
    "ChatJudge",
    "Critic",
    "Decider",
    "Decisions",
    "Deduplicator",
    "DistillPrompts",
    "DistillSettings",
    "Distilled",
    "Distiller",
    "Duplicates",
    "EndpointError",
    "FilterRule",
    "Judge",
    "JudgeFusion",
    "JudgePrompt",
    "Judgements",
    "NLIJudge",
    "RecordedJudge",
    "ReplyCache",
    "RequestPolicy",
    "RuleJudge",
    "RunReport",
    "SavedFilter",
    "Schema",
    "SelfInstructFilter",
    "ThresholdDecider",
    "VectorTable",
    "Verbalizer",
    "certify_precision",
    "certify_recall",
    "deduplicate_files",
    "make_judge",
    "run",
    "write_kept",
    "write_verdicts",
]

#: the modules that names come from
_HOMES = {
    "bounds": ("Certificate", "certify_precision", "certify_recall"),
    "calibration": ("Calibrator",),
    "candidates": ("Candidates",),
    "causal": ("CausalJudge",),
    "chat": ("ChatJudge",),
    "chat_budget": ("Budget",),
    "chat_cache": ("ReplyCache",),
    "chat_endpoint": ("ChatEndpoint", "EndpointError"),
    "chat_policy": ("RequestPolicy",),
    "critic": ("Critic",),
    "decisions": ("ACTIONS", "Decider", "Decisions"),
    "dedup": ("Deduplicator",),
    "dedup_files": ("deduplicate_files",),
    "distill": ("Distiller",),
    "distill_prompt": ("DistillPrompts",),
    "distill_settings": ("DistillSettings", "Distilled"),
    "duplicates": ("Duplicates",),
    "filter": ("SelfInstructFilter",),
    "fusion": ("JudgeFusion",),
    "guard": ("FilterRule",),
    "judge": ("Judge", "Judgements"),
    "judge_choice": ("make_judge",),
    "judge_prompt": ("JudgePrompt",),
    "links": ("write_kept",),
    "nli": ("NLIJudge",),
    "recorded": ("RecordedJudge", "write_verdicts"),
    "rules": ("RuleJudge", "Schema"),
    "run_report": ("RunReport",),
    "runner": ("run",),
    "saved": ("SavedFilter",),
    "threshold": ("ThresholdDecider",),
    "vectors": ("VectorTable",),
    "verbalizer": ("Verbalizer",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
