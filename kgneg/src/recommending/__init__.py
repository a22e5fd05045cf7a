"""Recommenders in use: trained, judged, compared and searched, with negatives from all that kgneg can draw.

.. code-block:: python

    from kgneg.recommending import ComparisonPlan, DataSettings, TrainingPlan, compare_recommenders, train_recommender

    data = DataSettings("ratings.tsv", min_rating=4, k_core=5)       # or a knowledge graph: DataSettings("umls")
    result = train_recommender(TrainingPlan("buir-nb", data), "out")  # a second call goes on where the first stopped
    result.write("out")                                              # model, results.json, history.csv, report.html

    plan = ComparisonPlan(("buir-nb", "lightgcn", "lightgcn:negatives=popularity"), data)
    compare_recommenders(plan, runs="both/runs").write("both")

Negatives for users and items come from the samplers of knowledge graphs:

.. code-block:: python

    from kgneg.recommending import build_negatives, read_item_graph

    graph = read_item_graph("items.kg", "items.link", train)
    corruptor = build_negatives("mixture:graph=0.3,uniform=0.7", train, graph=graph)
"""

from __future__ import annotations

from kgneg.recommending.choice import FLOORS, ModelChoice, describe_models
from kgneg.recommending.comparison import ComparisonPlan, compare_recommenders
from kgneg.recommending.comparison_result import RecComparison
from kgneg.recommending.data import DataSettings, RecData, load_interactions
from kgneg.recommending.item_graph import ItemGraph, read_item_graph
from kgneg.recommending.negatives import NEGATIVES, build_negatives
from kgneg.recommending.result import SavedRecommender, TrainResult, open_recommender
from kgneg.recommending.runs import NegativeSources
from kgneg.recommending.training import TrainingPlan, train_recommender
from kgneg.recommending.tuning import objective, suggest

__all__ = [
    "FLOORS",
    "NEGATIVES",
    "ComparisonPlan",
    "DataSettings",
    "ItemGraph",
    "ModelChoice",
    "NegativeSources",
    "RecComparison",
    "RecData",
    "SavedRecommender",
    "TrainResult",
    "TrainingPlan",
    "build_negatives",
    "compare_recommenders",
    "describe_models",
    "load_interactions",
    "objective",
    "open_recommender",
    "read_item_graph",
    "suggest",
    "train_recommender",
]
