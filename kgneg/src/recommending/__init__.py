"""Recommenders together with samplers: negatives for users and items from all that kgneg can draw.

.. code-block:: python

    from kgneg.recommending import build_negatives, read_item_graph

    graph = read_item_graph("ml-100k.kg", "ml-100k.link", train)
    corruptor = build_negatives("mixture:graph=0.3,uniform=0.7", train, graph=graph)
"""

from __future__ import annotations

from kgneg.recommending.item_graph import ItemGraph, read_item_graph
from kgneg.recommending.negatives import NEGATIVES, build_negatives

__all__ = ["NEGATIVES", "ItemGraph", "build_negatives", "read_item_graph"]
