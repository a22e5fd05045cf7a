"""The audit: draw from every sampler, and judge what it draws."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from kgneg.audit.agreement import TypeAgreement
from kgneg.audit.data import AuditData, load_audit_data
from kgneg.audit.estimates import clustered_share, figure
from kgneg.audit.figures import (
    describe_graph,
    describe_relations,
    describe_sampler,
    fallback_share,
    score_quantiles,
)
from kgneg.audit.reference import EASIEST, WEAK, Reference, make_reference
from kgneg.audit.result import AuditResult
from kgneg.audit.settings import BASELINE, AuditSettings
from kgneg.audit.sources import Source, as_source, make_drawer
from kgneg.audit.tally import Judge, Tally, TripleRanks
from kgneg.audit.verified import VerifiedPlan, plan_verified
from kgneg.compare.data import CompareData
from kgneg.compare.falsehood import positive_order
from kgneg.compare.runs import quiet_pykeen
from kgneg.compare.store import versions
from kgneg.core.errors import InvalidInputError, KgnegError
from kgneg.core.seeding import mix_seeds
from kgneg.core.typing import RELATION, LongTensor
from kgneg.datasets import KnowledgeGraph

__all__ = ["audit"]

logger = logging.getLogger(__name__)

_PURPOSE = 0x617564
_MAX_DRAW = 200_000  # negatives at once


@dataclass(frozen=True, eq=False)
class _Plan:
    """What is the same for all samplers."""

    settings: AuditSettings
    data: AuditData
    judge: Judge
    verified: VerifiedPlan | None
    #: The positions of the positives among the training triples, in the order of the draws.
    order: LongTensor
    #: The distinct ones among them, and which of these each positive is.
    distinct: LongTensor
    which: LongTensor

    @property
    def device(self) -> torch.device:
        return torch.device(self.settings.device)


def audit(
    settings: AuditSettings,
    *,
    data: AuditData | CompareData | KnowledgeGraph | None = None,
    model: Any = None,
    progress: bool | None = None,
) -> AuditResult:
    """Draw negatives from samplers without training with them, and measure what they are worth.

    The global random streams are as before afterwards, and modules given as samplers stay as they are. Exact uniform
    draws, ``kgneg-uniform``, are always audited as well, since other samplers are compared with them.

    :param settings: what to audit
    :param data: the triples, if they are in memory already; ``settings`` then only tells their name
    :param model: a trained model of PyKEEN to judge hardness by; ``None`` trains one
    :param progress: whether to show a progress bar; ``None`` shows it on a terminal
    :returns: the figures
    :raises InvalidInputError: if the triples cannot be read, or a sampler cannot be constructed or gives no negatives

    >>> settings = AuditSettings(dataset="nations", samplers=("basic",), draws=2000, reference_epochs=1)
    >>> [row["label"] for row in audit(settings, progress=False).samplers]
    ['kgneg-uniform', 'basic']
    """
    from tqdm.auto import tqdm

    clock = [time.perf_counter()]
    with quiet_pykeen():
        found = _load(settings, data)
        sources = _sources(settings, found)
        _try(sources, found, settings)
        clock.append(time.perf_counter())
        reference, about = make_reference(settings, found, model)
    clock.append(time.perf_counter())
    plan = _make_plan(settings, found, reference)
    graph = describe_graph(found, plan.judge.agreement, plan.verified)
    tallies: dict[str, Tally] = {}
    extras, timings = {}, {}
    with (
        tqdm(
            total=len(sources) * len(plan.order) * settings.negatives,
            desc="auditing",
            unit="negative",
            unit_scale=True,
            leave=False,
            disable=None if progress is None else not progress,
        ) as bar,
        quiet_pykeen(),
    ):
        for source in sources:
            bar.set_postfix_str(source.label)
            tallies[source.label], extras[source.label], timings[source.label] = _audit_one(source, plan, bar.update)
    relation = found.train[plan.distinct, RELATION]
    asked = {source.label: source for source in settings.sources}
    samplers = tuple(
        {
            "label": label,
            "asked": label in asked,
            "sampler": asked.get(label, source).to_dict(),
            **describe_sampler(tallies[label], tallies[BASELINE], graph, found, reference),
            **extras[label],
            "relations": describe_relations(tallies[label], relation, found),
        }
        for source in sources
        for label in [source.label]
    )
    clock.append(time.perf_counter())
    return AuditResult(
        settings=settings.to_dict(),
        dataset=found.triples.to_dict() | graph,
        reference=about | _reference_figures(reference, found, tallies[BASELINE]),
        versions=versions(),
        samplers=samplers,
        timings={
            "loading": round(clock[1] - clock[0], 3),
            "reference": round(clock[2] - clock[1], 3),
            "samplers": timings,
            "total": round(clock[3] - clock[0], 3),
        },
    )


def _load(settings: AuditSettings, data: AuditData | CompareData | KnowledgeGraph | None) -> AuditData:
    if isinstance(data, AuditData):
        return data
    return load_audit_data(
        settings.dataset,
        train=settings.train,
        valid=settings.valid,
        test=settings.test,
        data=data,
        verified=settings.verified,
        texts=settings.texts,
    )


def _sources(settings: AuditSettings, data: AuditData) -> list[Source]:
    """Return what is audited: the samplers asked for, and before them the one that others are compared with."""
    sources = [one.with_texts(settings.text_arguments, data.triples.texts) for one in settings.sources]
    asked = {source.label: source for source in sources}
    base = asked.get(BASELINE)
    if base is None:
        return [as_source(BASELINE), *sources]
    if base.choice is None or base.choice.options:
        raise InvalidInputError(f"{BASELINE!r} is the name of what others are compared with: give another label")
    return sources


@contextmanager
def _stream(settings: AuditSettings, *purpose: int) -> Iterator[None]:
    """Seed torch's global streams for a while."""
    device = torch.device(settings.device)
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        seed = mix_seeds(settings.seed, _PURPOSE, *purpose)
        torch.default_generator.manual_seed(seed)
        for one in devices:
            with torch.cuda.device(one):
                torch.cuda.manual_seed(seed)
        yield


def _try(sources: list[Source], data: AuditData, settings: AuditSettings) -> None:
    """Construct each sampler once, so that what is wrong with one shows before any work."""
    for source in sources:
        with _stream(settings):
            make_drawer(source, data, settings.negatives, handle=None, device=torch.device(settings.device))


def _make_plan(settings: AuditSettings, data: AuditData, reference: Reference) -> _Plan:
    number = -(-settings.draws // settings.negatives)
    order = positive_order(len(data.train), number, settings.seed)
    distinct, which = torch.unique(order, return_inverse=True)
    agreement = TypeAgreement(data.train, data.types, **data.sizes)
    judge = Judge(data, reference, agreement, TripleRanks(data.held_out, **data.sizes), settings.examples)
    arguments = {"negatives": settings.negatives, "draws": settings.draws, "seed": settings.seed}
    verified = plan_verified(data, **arguments) if len(data.verified) else None
    return _Plan(settings, data, judge, verified, order, distinct, which)


def _audit_one(
    source: Source, plan: _Plan, on_draws: Callable[[int], object]
) -> tuple[Tally, dict[str, Any], dict[str, Any]]:
    """Draw from one sampler; return its counts, further figures, and seconds."""
    data, settings = plan.data, plan.settings
    tally = Tally(plan.judge, len(plan.distinct))
    clock = [time.perf_counter()]
    with _stream(settings, 1):
        draw, count = make_drawer(
            source, data, settings.negatives, handle=plan.judge.reference.handle, device=plan.device
        )
        clock.append(time.perf_counter())
        before, seconds, drawn = count(), 0.0, 0
        for rows in torch.split(torch.arange(len(plan.order)), max(1, _MAX_DRAW // settings.negatives)):
            positives = data.train[plan.order[rows]]
            on_device = positives.to(plan.device)
            started = _now(plan.device)
            try:
                triples, mask = draw(on_device)
            except KgnegError:
                raise
            except Exception as error:  # a sampler of the user or of PyKEEN may raise anything
                reason = " ".join(str(error).split()) or "no message"
                raise InvalidInputError(f"sampler {source.label}: {type(error).__name__}: {reason}") from error
            seconds += _now(plan.device) - started
            drawn += triples.shape[0] * triples.shape[1]
            tally.add(plan.which[rows], positives, triples.cpu(), None if mask is None else mask.cpu())
            on_draws(len(rows) * settings.negatives)
        share = fallback_share(before, count())
        verified = None if plan.verified is None else plan.verified.measure(draw, plan.device)
    clock.append(time.perf_counter())
    return (
        tally,
        {"fallback": share, "verified": verified},
        {
            "construction": round(clock[1] - clock[0], 3),
            "drawing": round(seconds, 3),
            "negatives_per_second": round(drawn / seconds) if seconds else None,
            "all": round(clock[2] - clock[0], 3),
        },
    )


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _reference_figures(reference: Reference, data: AuditData, base: Tally) -> dict[str, Any]:
    """Return what the reference model makes of triples, and whether it tells true from false ones."""
    held_out = reference.plausible(data.held_out)["share"]
    hard = clustered_share(base.column("hard"), base.column("false"))["share"]
    separation = None if held_out is None or hard is None else figure(held_out - hard)
    if separation is not None and separation < WEAK:
        logger.warning(
            "the reference model finds %.0f %% of the held-out triples plausible and %.0f %% of uniform negatives: it "
            "hardly tells them apart, so hardness says little. Give it more epochs, or take another model.",
            100 * held_out,
            100 * hard,
        )
    return {
        "separation": separation,
        "threshold_quantile": EASIEST,
        "score_quantiles": score_quantiles(reference),
        "plausible": {
            "held_out": reference.plausible(data.held_out),
            "verified": reference.plausible(data.verified),
        },
    }
