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
from kgneg.skills.concepts import STRATEGIES, ConceptSet
from kgneg.skills.examples import Examples
from kgneg.skills.figures import RankingFigures, judge_ranking
from kgneg.skills.matcher import LabelMatcher, Mention
from kgneg.skills.ranker import ClassifierRanker, ConceptRanker, Ranked, TextRanker
from kgneg.skills.storage import StoredRanker, load_ranker, save_ranker
from kgneg.skills.training import METHODS, Recipe, train_ranker

__all__ = [
    "METHODS",
    "STRATEGIES",
    "ClassifierRanker",
    "ConceptClassifiers",
    "ConceptRanker",
    "ConceptSet",
    "Examples",
    "FitReport",
    "LabelMatcher",
    "Mention",
    "Ranked",
    "RankingFigures",
    "Recipe",
    "StoredRanker",
    "TextRanker",
    "judge_ranking",
    "load_ranker",
    "save_ranker",
    "train_ranker",
]
