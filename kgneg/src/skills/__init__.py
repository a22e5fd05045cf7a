"""From sentences to the concepts of a taxonomy: which skills, topics or tasks a text speaks of.

.. code-block:: python

    from kgneg.datasets import Taxonomy
    from kgneg.skills import ConceptRanker, LabelMatcher

    esco = Taxonomy.read_esco("path/to/esco")
    matcher = LabelMatcher(esco.texts(), esco.alternatives)
    matcher.find("You weld metal and manage a team")  # where labels stand
    ranker = ConceptRanker(esco.texts(), matcher=matcher)
    ranker.rank(["You weld metal and manage a team"], 10)  # what is meant, also where it does not stand
"""

from __future__ import annotations

from kgneg.skills.classifiers import ConceptClassifiers, FitReport
from kgneg.skills.figures import RankingFigures, judge_ranking
from kgneg.skills.matcher import LabelMatcher, Mention
from kgneg.skills.ranker import ConceptRanker, Ranked

__all__ = [
    "ConceptClassifiers",
    "ConceptRanker",
    "FitReport",
    "LabelMatcher",
    "Mention",
    "Ranked",
    "RankingFigures",
    "judge_ranking",
]
