"""
Faster training
===============

``training_loop="kgneg"`` trains PyKEEN's models with less work for each batch. First: that it gives the same results
when asked to, and what changes when not. Then: negatives that the model itself chooses, which need this loop.
"""

# %%
import os
import time

import torch
from pykeen.datasets import UMLS
from pykeen.models import DistMult
from pykeen.pipeline import PipelineResult, pipeline
from pykeen.sampling import negative_sampler_resolver
from pykeen.training import training_loop_resolver
from pykeen.triples import CoreTriplesFactory

from kgneg.core.triples import TripleIndex
from kgneg.integrations.pykeen import ModelHandle

EPOCHS = int(os.environ.get("KGNEG_TUTORIAL_EPOCHS", "20"))
dataset = UMLS()  # 135 entities; comes with PyKEEN


def train(loop: str, sampler: str = "kgneg-uniform", options: dict | None = None, **loop_options) -> PipelineResult:
    return pipeline(
        dataset=dataset,
        model="TransE",
        loss="nssa",
        optimizer_kwargs={"lr": 0.01},
        training_loop=loop,
        training_loop_kwargs=loop_options,
        negative_sampler=sampler,
        negative_sampler_kwargs={"num_negs_per_pos": 8, **(options or {})},
        training_kwargs={"num_epochs": EPOCHS, "batch_size": 256, "use_tqdm": False},
        evaluation_kwargs={"batch_size": 256, "use_tqdm": False},
        random_seed=0,
        device="cpu",
    )


# %% [markdown]
# ``updates="dense"`` changes no loss at all. By default tables of 4,096 rows and more are updated row by row; this
# graph is smaller, so here ``updates="rows"`` asks for it. Lazy Adam then leaves a row alone that a batch does not
# read, where Adam moves it on along its momentum: the losses differ. With ``shared=32`` each 32 positives share their
# negatives, 64 of them here, which are scored by one product.

# %%
stock = train("slcwa")
runs = {
    "PyKEEN's loop": stock,
    "updates=dense": train("kgneg", updates="dense"),
    "updates=rows": train("kgneg", updates="rows"),
    "shared=32": train("kgneg", options={"num_negs_per_pos": 64}, shared=32),
}
print(f"{'loop':16}{'last loss':>12}{'differs by':>12}{'MRR':>8}")
for name, run in runs.items():
    differs = max(abs(one - other) for one, other in zip(run.losses, stock.losses, strict=True))
    print(f"{name:16}{run.losses[-1]:12.6f}{differs:12.6f}{run.get_metric('mrr'):8.3f}")

# %% [markdown]
# What is gained grows with the number of entities. PyKEEN's loop updates all of them in each batch, that of kgneg
# those that the batch reads. The triples are random here; see the benchmarks for real graphs.

# %%
print(f"\n{'entities':16}{'PyKEEN s/epoch':>16}{'kgneg s/epoch':>16}")
for entities in (1_000, 100_000):
    ends = torch.randint(entities, (10_000, 2), generator=torch.Generator().manual_seed(0))
    triples = torch.stack([ends[:, 0], ends.sum(dim=-1) % 10, ends[:, 1]], dim=-1)
    factory = CoreTriplesFactory(triples, num_entities=entities, num_relations=10)
    seconds = []
    for name in ("slcwa", "kgneg"):
        model = DistMult(triples_factory=factory, embedding_dim=32, random_seed=0)
        options = {"negative_sampler": "kgneg-uniform", "optimizer": "adam", "automatic_memory_optimization": False}
        loop = training_loop_resolver.make(name, model=model, triples_factory=factory, **options)
        begin = time.perf_counter()
        loop.train(factory, num_epochs=2, batch_size=512, use_tqdm=False)
        seconds.append((time.perf_counter() - begin) / 2)
    print(f"{entities:<16,}{seconds[0]:16.2f}{seconds[1]:16.2f}")

# %% [markdown]
# ``dynamic`` scores some random entities with the model as it is now and takes the best. Known triples are never among
# them, but those of the validation and test set may be: the better the model, the more. ``skip_top`` leaves the very
# best candidates out. To see what is chosen in the end, give a sampler the trained model, and draw once for each
# triple.

# %%
sizes = {"num_entities": dataset.num_entities, "num_relations": dataset.num_relations}
hidden = TripleIndex(torch.cat([dataset.validation.mapped_triples, dataset.testing.mapped_triples]), **sizes)
positives = dataset.training.mapped_triples
print(f"\n{'sampler':24}{'MRR':>8}{'mean score':>12}{'hidden true':>13}")
for name, options in {"kgneg-uniform": {}, "dynamic": {}, "dynamic, skip_top=4": {"skip_top": 4}}.items():
    kind = name.split(",")[0]
    run = train("kgneg", kind, options)
    sampler = negative_sampler_resolver.make(kind, options, mapped_triples=positives, num_negs_per_pos=8, **sizes)
    if kind == "dynamic":
        sampler.attach_model(ModelHandle(run.model))
    negatives = sampler.sample(positives)[0].view(-1, 3)
    score, share = run.model.predict_hrt(negatives).mean(), hidden.contains(negatives).double().mean()
    print(f"{name:24}{run.get_metric('mrr'):8.3f}{score:12.2f}{share:13.1%}")

# %% [markdown]
# A higher mean score says that the negatives are harder, and the last column what that costs: ``dynamic`` alone draws
# many triples that are true, which the model learns to reject. One seed proves nothing: repeat it before you choose.
