"""
A new sampler
=============

A sampler of kgneg says which entities it proposes, and nothing else. Which end is replaced, known triples, retries,
seeds, devices and copies are the business of its base class. So a new method is some twenty lines. This one replaces an
entity by one that occurs about as often: popular ones by popular ones, rare ones by rare ones.
"""

# %%
import os
import subprocess
import sys
from typing import Any

import torch
from pykeen.pipeline import pipeline

from kgneg.core.corruption import Corruptor, Proposals, Queries
from kgneg.core.triples import TripleIndex
from kgneg.integrations.pykeen import KgnegNegativeSampler
from kgneg.integrations.pykeen.setup import Setup
from kgneg.testing import CorruptorConformance

EPOCHS = int(os.environ.get("KGNEG_TUTORIAL_EPOCHS", "20"))

# %% [markdown]
# The entities are put in order of their degree. A proposal is an entity at most ``window`` places away in that order.
# Past either end of the order there is none, which the second tensor says. The replaced entity itself and known triples
# need no thought: such proposals are asked for again, and what stays open is drawn uniformly. Tensors are registered as
# buffers, so they follow the sampler to a GPU. All randomness is from the generator that is handed in.


# %%
class DegreeCorruptor(Corruptor):
    """Replace an end by an entity of about the same degree."""

    def __init__(self, triples: torch.Tensor, *, window: int = 10, **options: Any) -> None:
        super().__init__(**options)
        degree = torch.bincount(triples[:, ::2].reshape(-1), minlength=self.num_entities)
        order = degree.argsort(stable=True)
        self.register_buffer("order", order)
        self.register_buffer("place", order.argsort())
        self.window = window

    def propose(self, queries: Queries, n: int, generator: torch.Generator) -> Proposals:
        places = self.place[queries.replaced][:, None]
        shape, device = (len(places), n), places.device
        places = places + torch.randint(-self.window, self.window + 1, shape, generator=generator, device=device)
        inside = (places >= 0) & (places < self.num_entities)
        return self.order[places.clamp(0, self.num_entities - 1)], inside


# %% [markdown]
# What every sampler must do is written down as tests: the right shape, one end replaced, never a known triple, the same
# draws from the same seed, others in every worker, no touch of the global random streams, and so on. A test class says
# how to make the sampler, and gets them all.


# %%
class TestDegree(CorruptorConformance):
    def make(self, triples: torch.Tensor, *sizes: int, filtered: bool, seed: int) -> Corruptor:
        graph = dict(zip(("num_entities", "num_relations"), sizes, strict=True))
        index = TripleIndex(triples, **graph) if filtered else None
        return DegreeCorruptor(triples, index=index, seed=seed, **graph)


# %% [markdown]
# Usually pytest is called from the command line, as ``pytest test_my_sampler.py``. Here this file calls it for itself.

# %%
if __name__ == "__main__":
    options = ["-q", "--no-header", "-p", "no:cacheprovider", "-m", "not gpu"]
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "pytest", *options, __file__], capture_output=True, text=True, check=False
    )
    print("conformance:", done.stdout.splitlines()[-1])

# %% [markdown]
# To use it in PyKEEN, an adapter says how the sampler is made from a graph. ``common`` has the sizes, the index of the
# known triples and the seed.


# %%
class DegreeNegativeSampler(KgnegNegativeSampler):
    """An end is replaced by an entity of about the same degree."""

    display_name = "degree"
    citation = "this tutorial"

    def __init__(self, *, window: int = 10, filtered: bool = True, seed: int | None = None, **options: Any) -> None:
        unset = dict.fromkeys(("num_entities", "num_relations", "num_negs_per_pos", "filterer", "filterer_kwargs"))
        super().__init__(**(unset | options), filtered=filtered, seed=seed, options={"window": window})

    @classmethod
    def make_corruptor(cls, setup: Setup, common: dict[str, Any], **options: Any) -> Corruptor:
        return DegreeCorruptor(setup.mapped_triples, **common, **options)


# %% [markdown]
# The class is given where a name would stand. A narrow window draws from few entities, so more of its proposals are
# known triples, and more places are filled uniformly in the end: the fall-backs, which the sampler counts.

# %%
if __name__ == "__main__":
    print(f"\n{'window':>6}{'MRR':>8}{'drawn':>10}{'rejected':>10}{'fall-backs':>12}")
    for window in (2, 10, 50):
        result = pipeline(
            dataset="umls",  # comes with PyKEEN
            model="TransE",
            optimizer_kwargs={"lr": 0.01},
            training_loop="kgneg",
            negative_sampler=DegreeNegativeSampler,
            negative_sampler_kwargs={"window": window, "num_negs_per_pos": 8},
            training_kwargs={"num_epochs": EPOCHS, "batch_size": 256, "use_tqdm": False},
            evaluation_kwargs={"use_tqdm": False},
            random_seed=0,
            device="cpu",
        )
        triples = result.training.mapped_triples
        sampler = DegreeNegativeSampler(mapped_triples=triples, window=window, num_negs_per_pos=8, seed=0)
        sampler.sample(triples)
        drawn, rejected, fallback, _ = sampler.report().values()
        print(f"{window:6}{result.get_metric('mrr'):8.3f}{drawn:10,}{rejected:10,}{fallback:12,}")

# %% [markdown]
# Whether it is of any use is another question: audit it, and compare it with uniform negatives in a study.
