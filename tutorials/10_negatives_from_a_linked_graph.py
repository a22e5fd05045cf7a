"""
Negatives from a linked graph
=============================

Often a knowledge graph says something about the items of a recommender: genres of films, the label of a band. Items
with the same neighbours there are hard negatives for each other, harder than any two items. They are also more often
what the user would have liked. Whether that pays is measured here, with LightGCN at equal numbers of epochs.

Without more this takes UMLS, which comes with PyKEEN, in a minute. If ``KGNEG_DATA`` names a folder with
``recsys/lastfm-kg``, it is Last.FM with artists and their graph [#]_, in some minutes.

.. [#] Listening by HetRec 2011, graph and links by Wang et al., Knowledge Graph Convolutional Networks, WWW 2019.
"""

# %%
import os
import statistics
from pathlib import Path

import numpy as np
import torch

from kgneg.datasets import load
from kgneg.recommending import ItemGraph, build_negatives, read_item_graph
from kgneg.recsys import Interactions, ItemVectors, LightGCN, Popularity, draw_negatives, evaluate, neighbour_agreement

EPOCHS = int(os.environ.get("KGNEG_TUTORIAL_EPOCHS", "40"))
SEEDS = int(os.environ.get("KGNEG_TUTORIAL_SEEDS", "3"))
FOLDER = Path(os.environ.get("KGNEG_DATA", "nowhere")) / "recsys" / "lastfm-kg"
torch.set_num_threads(1)

# %% [markdown]
# With UMLS, concepts are users, and what the triples say of them are the items: pairs of a relation and a tail, such as
# ``affects: organism``. One relation, ``isa``, is kept for the linked graph, which has no pair that is to be found: it
# knows the relation and the tail of an item, and what the tail is.


# %%
def umls() -> tuple[Interactions, ItemGraph]:
    graph = load("umls")
    triples = torch.cat([graph.train, graph.valid, graph.test])
    isa = graph.relations.index("isa")
    tables = {"entities": graph.entities, "relations": graph.relations}
    pairs = Interactions.from_triples(triples[triples[:, 1] != isa], items="facts", **tables)
    linked = [(graph.entities[h], "isa", graph.entities[t]) for h, _, t in triples[triples[:, 1] == isa].tolist()]
    for item in pairs.item_labels or ():
        relation, tail = item.split(": ")
        linked += [(item, "says", relation), (item, "about", tail)]
    return pairs, ItemGraph.from_labels(np.array(linked), [(item, item) for item in pairs.item_labels or ()], pairs)


def lastfm() -> tuple[Interactions, ItemGraph]:
    pairs = Interactions.read(FOLDER / "user_artists.dat.gz", user="userID", item="artistID", rating=False)
    files = FOLDER / "kg.txt.gz", FOLDER / "item_index2entity_id.txt.gz"
    linked = read_item_graph(*files, pairs).item_entities >= 0
    pairs = pairs.select(linked[pairs.items]).k_core(3)  # artists that the graph does not have are left out
    return pairs, read_item_graph(*files, pairs)


pairs, graph = lastfm() if FOLDER.is_dir() else umls()
split = pairs.split("beta", seed=0)
train, valid, test = split.train, split.valid, split.test
print(f"{pairs}\n{graph}")

# %% [markdown]
# First of all: are the links those of these items? Files of links that go with other ids than the interactions are
# around, and nothing fails with them. ``neighbour_agreement`` says how much more alike the users of items are that are
# neighbours by the graph, compared with any two items. With the links shuffled it is about 1: the graph says nothing.

# %%
vectors = graph.vectors(hops=2)
order = torch.randperm(train.num_items, generator=torch.Generator().manual_seed(0))
shuffled = ItemVectors(vectors.vectors[order], vectors.known[order])
print(f"\n{vectors.missing} of {train.num_items} items have no vector")
print(f"agreement of neighbours {neighbour_agreement(train, vectors):.2f}", end=", ")
print(f"with shuffled links {neighbour_agreement(train, shuffled):.2f}")

# %% [markdown]
# Five ways to draw the negatives. The model and the number of epochs are the same; the best epoch by the validation
# pairs is kept. *True* is the share of negatives, as they are drawn at the end, that are test pairs, which training
# cannot know. The last column has it relative to uniform negatives, where it is mere chance.

# %%
KINDS = {
    "uniform": "uniform",
    "popularity": "popularity",
    "dynamic": "dynamic",
    "graph": "graph",
    "graph .3, uniform .7": "mixture:graph=0.3,uniform=0.7",
}


def run(kind: str, seed: int) -> tuple[float, float]:
    """Return recall@20 on the test pairs and the share of negatives that are test pairs."""
    options = {"hops": 2} if kind == "graph" else {}
    if kind.startswith("mixture"):
        options = {"components_kwargs": {"graph": {"hops": 2}}}
    negatives = build_negatives(kind, train, graph=graph, seed=seed, **options)
    model = LightGCN(epochs=EPOCHS, patience=0, seed=seed, device="cpu")
    model.fit(train, valid, negatives=negatives, progress=False)
    found = evaluate(model, test, hide=valid, ks=[20], metrics=["recall"], beyond=False, progress=False)
    generator = torch.Generator().manual_seed(seed)
    drawn = draw_negatives(negatives, train.users, train.items, 8, generator).items
    return found.metrics["recall@20"], float(test.contains(train.users[:, None].expand_as(drawn), drawn).float().mean())


floor = evaluate(Popularity().fit(train), test, hide=valid, ks=[20], metrics=["recall"], progress=False)
print(f"\n{'negatives':22}{'recall@20':>18}{'true':>10}{'to uniform':>12}")
print(f"{'(popularity alone)':22}{floor.metrics['recall@20']:>10.3f}")
chance = 0.0
for name, kind in KINDS.items():
    recalls, shares = zip(*(run(kind, seed) for seed in range(SEEDS)), strict=True)
    share, spread = statistics.mean(shares), statistics.stdev(recalls) if SEEDS > 1 else 0.0
    chance = chance or share
    print(f"{name:22}{statistics.mean(recalls):>10.3f} ± {spread:.3f}{share:>10.2%}{share / chance:>12.1f}")

# %% [markdown]
# Read both columns together. What is hard to tell from an item is often as good as the item: kinds that draw many test
# pairs push down what is asked for later. That is not all. On Last.FM the graph draws hardly more of them than chance,
# and does worse than uniform negatives nevertheless: what is far from the items of a user is hardly ever drawn, and all
# items are ranked. In shares with uniform negatives most of that cost is gone, but no gain has come of it. Where rows
# differ by no more than their spread, the plain way is good enough.
