"""What a sampler's negatives are worth, before any model is trained with them.

.. code-block:: python

    from kgneg.audit import AuditSettings, audit

    result = audit(AuditSettings(dataset="umls", samplers=("basic", "pseudotyped", "typed")))
    result.sampler("typed")["rates"]["held_out"]   # share, low, high
    result.write("out")                            # results.json, results.csv, relations.csv, timings.json, report.html

Your own sampler goes in as a class or an instance of PyKEEN's ``NegativeSampler``, as a
:class:`~kgneg.core.corruption.Corruptor`, or as a function of positives ``(b, 3)`` and a number ``n`` that returns
negatives ``(b, n, 3)``.

**False negatives.** How many negatives are known triples (``train``; ``train_valid`` is what PyKEEN's authors have
published), and how many are held-out ones, which no filter that sees the training triples can know. The held-out rate
stands for a larger number: true triples that are in no split at all. ``unknown`` is an estimate of their share.

**Hardness.** The share of false negatives that a lightly trained model ranks above the easiest 5 % of the training
triples. Its level depends on that model; compare samplers, not levels.

**The rest.** Whether replacements are of the right type, how evenly entities are drawn, repetitions, sides, negatives
that people have verified, and figures by relation.
"""

from __future__ import annotations

from kgneg.audit.data import AuditData, load_audit_data
from kgneg.audit.result import AuditResult
from kgneg.audit.settings import AuditSettings
from kgneg.audit.study import audit

__all__ = ["AuditData", "AuditResult", "AuditSettings", "audit", "load_audit_data"]
