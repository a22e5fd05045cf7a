"""
A first comparison
==================

Two samplers, one small graph: PyKEEN's ``basic``, which replaces an end by any entity, and kgneg's ``lemon``, which
replaces it by an entity whose name a language model finds similar. Which of the two gives the better model, and how
many of their negatives are in fact true?
"""

# %%
import os

import torch
from pykeen.datasets import UMLS
from pykeen.pipeline import pipeline
from pykeen.sampling import negative_sampler_resolver

from kgneg.core.triples import TripleIndex

EPOCHS = int(os.environ.get("KGNEG_TUTORIAL_EPOCHS", "50"))
NEGATIVES = 16
SAMPLERS = ("basic", "lemon")

# %% [markdown]
# UMLS comes with PyKEEN: 135 medical concepts, 46 relations. The labels of its entities are words, which is all that
# ``lemon`` needs. Two indices know which triples are true: those that a sampler may know, and those that it may not.

# %%
dataset = UMLS()
sizes = {"num_entities": dataset.num_entities, "num_relations": dataset.num_relations}
known = TripleIndex(dataset.training.mapped_triples, **sizes)
hidden = TripleIndex(torch.cat([dataset.validation.mapped_triples, dataset.testing.mapped_triples]), **sizes)

# %% [markdown]
# Train the same model with both. Only the name of the sampler differs; kgneg need not be imported for this.

# %%
mrr = {}
for name in SAMPLERS:
    result = pipeline(
        dataset=dataset,
        model="TransE",
        model_kwargs={"embedding_dim": 64},
        negative_sampler=name,
        negative_sampler_kwargs={"num_negs_per_pos": NEGATIVES},
        training_kwargs={"num_epochs": EPOCHS, "use_tqdm": False},
        evaluation_kwargs={"use_tqdm": False},
        random_seed=0,
        device="cpu",
    )
    mrr[name] = result.get_metric("mrr")

# %% [markdown]
# Draw once for each training triple, and look the negatives up. A known one is a mistake that could have been
# avoided. A hidden one stands for the true triples that nobody has written down yet.

# %%
print(f"{'sampler':10}{'MRR':>8}{'drawn':>10}{'known true':>13}{'hidden true':>14}")
for name in SAMPLERS:
    triples = dataset.training.mapped_triples
    sampler = negative_sampler_resolver.make(name, mapped_triples=triples, num_negs_per_pos=NEGATIVES, **sizes)
    negatives, _ = sampler.sample(triples)
    counts = [int(index.contains(negatives).sum()) for index in (known, hidden)]
    print(f"{name:10}{mrr[name]:8.3f}{negatives[..., 0].numel():10,}{counts[0]:13,}{counts[1]:14,}")

# %% [markdown]
# The hard negatives of ``lemon`` are free of known triples, but not of hidden ones, and on a graph as small and dense
# as this one that is the price. One run with one seed proves nothing: ``kgneg compare`` repeats this with several
# seeds, and the option ``uniform_share`` mixes easy negatives in.
