"""From counts to the figures of the results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from kgneg.audit.agreement import TypeAgreement
from kgneg.audit.data import AuditData
from kgneg.audit.estimates import clustered_share, figure, good_turing, ratio_to, spread, unseen_share
from kgneg.audit.examples import Example
from kgneg.audit.reference import Reference
from kgneg.audit.tally import COLUMNS, Tally
from kgneg.audit.verified import VerifiedPlan
from kgneg.core.typing import HEAD, RELATION, TAIL, LongTensor

__all__ = ["LEVELS", "describe_graph", "describe_relations", "describe_sampler", "fallback_share"]

#: Which quantiles of scores are told.
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
_RATES = ("train", "train_valid", "valid", "test", "held_out")
_SIDES = ("head", "tail", "same", "other")


def describe_graph(data: AuditData, agreement: TypeAgreement, verified: VerifiedPlan | None) -> dict[str, Any]:
    """Return what is to be said about the graph besides its sizes.

    ``missing`` is an estimate of the true triples that are in no split. The known triples are looked at as a sample of
    all true ones; the share of (head, relation) and (relation, tail) pairs that occur once estimates the probability
    :math:`U` that a further true triple has a new pair (Good and Turing), and a sample of :math:`n` is then completed
    by :math:`n U / (1 - U)`. It is an order of magnitude at best.

    :param data: the graph
    :param agreement: its types
    :param verified: the plan for verified negatives, if there are any
    :returns: ``held_out``, ``known``, ``unseen_pairs``, ``missing``, ``types`` and ``verified``
    """
    known = torch.unique(torch.cat([data.train, data.triples.held_out]), dim=0)
    pairs = [(known[:, end] * data.sizes["num_relations"] + known[:, RELATION]).numpy() for end in (HEAD, TAIL)]
    unseen = unseen_share(*pairs)
    return {
        "known": len(known),
        "held_out": len(data.held_out),
        "unseen_pairs": figure(unseen),
        "missing": figure(len(known) * unseen / (1 - unseen)) if unseen < 1 else None,
        "types": {"source": agreement.source, "number": agreement.num_types},
        "verified": None
        if verified is None
        else {
            "number": len(data.verified),
            "without_pair": verified.without_pair,
            "targets": len(verified.targets),
            "note": data.verified_note,
        },
    }


def describe_sampler(
    tally: Tally, base: Tally, graph: Mapping[str, Any], data: AuditData, reference: Reference
) -> dict[str, Any]:
    """Return the figures of a sampler.

    :param tally: what was counted
    :param base: what was counted for the sampler that others are compared with
    :param graph: from :func:`describe_graph`
    :param data: the graph
    :param reference: the reference model
    :returns: what JSON can spell
    """
    column, kept = tally.column, tally.column("kept")
    one_end, false = column("one_end"), column("false")
    rates = {name: clustered_share(column(name), kept) for name in _RATES}
    rates["held_out_filtered"] = clustered_share(column("held_out"), kept - column("train"))
    return {
        "counts": tally.summary() | {"incomplete_rows": tally.incomplete_rows},
        "masked": clustered_share(column("drawn") - kept, column("drawn")),
        "rates": rates,
        "held_out_ratio": ratio_to(
            column("held_out"),
            kept - column("train"),
            base.column("held_out"),
            base.column("kept") - base.column("train"),
        ),
        "held_out_seen": good_turing(tally.found) | {"of": len(tally.found)},
        "unknown": _unknown(rates["held_out"], graph),
        "hardness": {
            "hard": clustered_share(column("hard"), false),
            "ratio": ratio_to(column("hard"), false, base.column("hard"), base.column("false")),
            "place_quantiles": _named(tally.place_quantiles(LEVELS)),
            "score_quantiles": _named(tally.score_quantiles(LEVELS)),
        },
        "types": {
            "shares_type": clustered_share(column("shares_type"), one_end),
            "fits_slot": clustered_share(column("fits_slot"), one_end),
        },
        "entities": spread(tally.entities),
        "sides": {name: clustered_share(column(name), kept)["share"] for name in _SIDES},
        "repeated": clustered_share(column("repeated"), kept),
        "examples": {
            name: [_in_words(one, data, reference) for one in worst.best()] for name, worst in tally.worst.items()
        },
    }


def _unknown(held_out: Mapping[str, Any], graph: Mapping[str, Any]) -> dict[str, Any]:
    """Return the estimated share of negatives that are true and in no split, with the interval of the held-out rate."""
    if graph["missing"] is None or not graph["held_out"] or held_out["share"] is None:
        return {"share": None, "low": None, "high": None}
    factor = graph["missing"] / graph["held_out"]
    return {name: figure(min(1.0, held_out[name] * factor)) for name in ("share", "low", "high")}


def _named(values: Sequence[float] | None) -> dict[str, float | None] | None:
    if values is None:
        return None
    return {f"{level:g}": figure(value) for level, value in zip(LEVELS, values, strict=True)}


def score_quantiles(reference: Reference) -> dict[str, float | None]:
    """Return quantiles of the scores of training triples.

    :param reference: the reference model
    :returns: scores by level
    """
    return _named([float(value) for value in np.quantile(reference.positives, LEVELS)]) or {}


def _in_words(one: Example, data: AuditData, reference: Reference) -> dict[str, Any]:
    """Return an example with ids and words."""
    place = int(np.searchsorted(reference.positives, np.float32(one.score)))
    return {
        "ids": list(one.triple),
        "words": list(data.say(one.triple)),
        "positive_ids": list(one.positive),
        "positive": list(data.say(one.positive)),
        "score": figure(one.score),
        "above": figure(place / len(reference.positives)),
    }


def describe_relations(tally: Tally, relation: LongTensor, data: AuditData) -> list[dict[str, Any]]:
    """Return the figures of a sampler by the relation of the positive.

    :param tally: what was counted
    :param relation: shape: ``(positives,)``, the relation of each positive
    :param data: the graph
    :returns: one entry for each relation of a positive: ``relation``, ``words``, ``kept`` and shares; those of ``hard``
        are of the false negatives, those of types of the negatives with one end replaced
    """
    table = tally.by_relation(relation, data.sizes["num_relations"])
    labels = getattr(data.training, "relation_id_to_label", None) or {}
    found = []
    for number in np.flatnonzero(table[:, COLUMNS.index("drawn")]):
        counts = dict(zip(COLUMNS, table[number].tolist(), strict=True))
        bases = {"hard": "false", "shares_type": "one_end", "fits_slot": "one_end"}
        shares = {
            name: figure(counts[name] / total) if (total := counts[bases.get(name, "kept")]) else None
            for name in ("train", "held_out", "hard", "shares_type", "fits_slot", "head")
        }
        label = labels.get(int(number), str(number))
        found.append(
            {"relation": label, "words": data.relation_words[int(number)], "kept": int(counts["kept"]), **shares}
        )
    return found


def fallback_share(before: Mapping[str, int], after: Mapping[str, int]) -> float | None:
    """Return the share of uniform draws for want of a better one, between two counts of a sampler.

    :param before: the counts
    :param after: the counts later
    :returns: the share, or ``None`` if the sampler does not tell
    """
    if "drawn" not in after or after["drawn"] == before.get("drawn", 0):
        return None
    return figure((after.get("fallback", 0) - before.get("fallback", 0)) / (after["drawn"] - before.get("drawn", 0)))
