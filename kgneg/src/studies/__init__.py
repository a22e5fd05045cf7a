"""Hyper-parameter studies over samplers, models and losses: many workers, one storage, nothing lost by a kill.

.. code-block:: python

    from kgneg.studies import StudySettings, run_study

    settings = StudySettings(dataset="umls", samplers=("basic", "lemon"), models=("transe",), losses=("nssa",))
    result = run_study(settings, "study.log", workers=2)   # a second call goes on where the first one stopped
    result.write("out")                                    # report.html, trials.csv, results.json, best.json

The ranges are those that samplers, models, losses and optimisers bring as ``hpo_default``; :class:`StudySettings` says
how to fix values or give other ranges. Trials are judged, and pruned, by the mean reciprocal rank on the validation
triples. Each has a seed of its own that derives from that of the study, so it can be repeated exactly.

:class:`~kgneg.studies.recommenders.RecommenderStudy` are the settings of a study of recommenders; :func:`run_study`
takes them as well.
"""

from __future__ import annotations

from kgneg.studies.export import export_best
from kgneg.studies.opening import find_study, open_study
from kgneg.studies.result import StudyResult
from kgneg.studies.settings import StudySettings
from kgneg.studies.space import SearchSpace, build_space
from kgneg.studies.storage import StorageAddress, StorageUnreachableError, storage_from
from kgneg.studies.study import run_study

__all__ = [
    "SearchSpace",
    "StorageAddress",
    "StorageUnreachableError",
    "StudyResult",
    "StudySettings",
    "build_space",
    "export_best",
    "find_study",
    "open_study",
    "run_study",
    "storage_from",
]
