"""Recommenders, with and without negatives, and what it takes to judge them.

.. code-block:: python

    from kgneg.recsys import Interactions, build_recommender, evaluate

    split = Interactions.read("ratings.tsv", user="userId", item="movieId").split("beta", beta=0.5, seed=0)
    model = build_recommender("buir-nb").fit(split.train, split.valid)
    print(evaluate(model, split.test, hide=[split.valid]).metrics["recall@20"])
    print(model.recommend(["a user"], k=10).to_frame())

===================  =============================================  ==============================================
class                learns from                                    names for :func:`build_recommender`
===================  =============================================  ==============================================
:class:`BUIR`        pairs alone, by a target that follows          ``buir-nb``, ``buir-id``, each with ``:paper``
:class:`LightGCN`    pairs and negatives of any corruptor, a graph  ``lightgcn``, ``lightgcn-softmax``
:class:`BPRMF`       pairs and negatives of any corruptor           ``bpr``
:class:`DirectAU`    pairs, and the spread of a batch               ``directau``
:class:`EASE`        a ridge regression of items on items           ``ease``
:class:`ItemKNN`     similar items                                  ``itemknn``
:class:`TwoHop`      what similar users have                        ``two-hop``
:class:`Popularity`  how often items occur                          ``popularity``
===================  =============================================  ==============================================
"""

from __future__ import annotations

from kgneg.recsys.bpr import BPRMF
from kgneg.recsys.buir import BUIR
from kgneg.recsys.collapse import EmbeddingHealth, embedding_health
from kgneg.recsys.directau import DirectAU
from kgneg.recsys.ease import EASE
from kgneg.recsys.encoders import IdEncoder, NeighborEncoder, NodeEncoder, build_encoder
from kgneg.recsys.evaluation import Evaluation, evaluate
from kgneg.recsys.history import History
from kgneg.recsys.interaction_report import InteractionReport
from kgneg.recsys.interactions import Interactions
from kgneg.recsys.item_knn import ItemKNN
from kgneg.recsys.item_vectors import ItemVectors, item_vectors_from_graph, neighbour_agreement
from kgneg.recsys.lightgcn import LightGCN
from kgneg.recsys.models import MODELS, build_recommender
from kgneg.recsys.momentum import MomentumPair
from kgneg.recsys.negatives import NegativeItems, corruptor_options, draw_negatives, item_scorer, log_proposal
from kgneg.recsys.popularity import Popularity
from kgneg.recsys.recommendations import Recommendations
from kgneg.recsys.recommender import Recommender
from kgneg.recsys.settings import TrainSettings
from kgneg.recsys.significance import compare_evaluations, compare_runs
from kgneg.recsys.splits import InteractionSplit
from kgneg.recsys.synthetic import synthetic_interactions
from kgneg.recsys.trained import TrainedRecommender
from kgneg.recsys.two_hop import TwoHop

__all__ = [
    "BPRMF",
    "BUIR",
    "EASE",
    "MODELS",
    "DirectAU",
    "EmbeddingHealth",
    "Evaluation",
    "History",
    "IdEncoder",
    "InteractionReport",
    "InteractionSplit",
    "Interactions",
    "ItemKNN",
    "ItemVectors",
    "LightGCN",
    "MomentumPair",
    "NegativeItems",
    "NeighborEncoder",
    "NodeEncoder",
    "Popularity",
    "Recommendations",
    "Recommender",
    "TrainSettings",
    "TrainedRecommender",
    "TwoHop",
    "build_encoder",
    "build_recommender",
    "compare_evaluations",
    "compare_runs",
    "corruptor_options",
    "draw_negatives",
    "embedding_health",
    "evaluate",
    "item_scorer",
    "item_vectors_from_graph",
    "log_proposal",
    "neighbour_agreement",
    "synthetic_interactions",
]
