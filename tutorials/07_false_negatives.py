"""
False negatives
===============

Hard negatives are more often true, and no filter of known triples can see the true ones that are not known. A budget
bounds them: ``fn_budget=2`` asks for at most twice as many unknown true triples as among uniform negatives. What does
that cost in hardness?
"""

# %%
import os

from pykeen.datasets import UMLS
from pykeen.sampling import negative_sampler_resolver

from kgneg.audit import AuditSettings, audit

EPOCHS = int(os.environ.get("KGNEG_TUTORIAL_EPOCHS", "20"))
BUDGETS = (None, 3, 2, 1.25)

# %% [markdown]
# ``typed`` draws entities that are seen at that end of the relation. On a graph as dense as UMLS many of these make
# true triples. With a budget the sampler hides some training triples from itself, learns a rough idea of which triples
# are plausible, and leaves out its most plausible candidates until few enough of the hidden triples are drawn. It sees
# training triples only. ``share`` is the part of its candidates that is still allowed.

# %%
dataset = UMLS()  # comes with PyKEEN
shares = {}
for budget in BUDGETS:
    sampler = negative_sampler_resolver.make(
        "typed",
        mapped_triples=dataset.training.mapped_triples,
        num_entities=dataset.num_entities,
        num_relations=dataset.num_relations,
        fn_budget=budget,
        seed=0,
    )
    shares[budget] = 1.0 if sampler.operating_point is None else sampler.operating_point.share

# %% [markdown]
# An audit counts what the budget is about: validation and test triples among the negatives, which the sampler has not
# seen. It gives both sides of the bargain, as multiples of uniform negatives.

# %%
labels = {budget: "typed" if budget is None else f"typed:fn_budget={budget}" for budget in BUDGETS}
settings = AuditSettings(dataset="umls", samplers=tuple(labels.values()), draws=100_000, reference_epochs=EPOCHS)
rows = {row["label"]: row for row in audit(settings, progress=False).samplers}

print(f"{'sampler':22}{'share':>7}{'held out':>10}{'x uniform':>11}{'hard':>8}{'x uniform':>11}{'fall-backs':>12}")
uniform = {"kgneg-uniform": 1.0}
for label, share in {**uniform, **{labels[budget]: shares[budget] for budget in BUDGETS}}.items():
    row = rows[label]
    ratio, hardness = row["held_out_ratio"]["ratio"], row["hardness"]
    print(
        f"{label:22}{share:7.0%}{row['rates']['held_out']['share']:10.2%}{ratio:11.2f}"
        f"{hardness['hard']['share']:8.1%}{hardness['ratio']['ratio']:11.2f}{row['fallback'] or 0:12.1%}"
    )

# %% [markdown]
# Going down the table, fewer negatives are true, and fewer are hard: what is plausible is left out, whether it is true
# or not. Places that stay open are filled uniformly (fall-backs), so a tight budget ends at uniform negatives. The
# budget is kept on triples that were hidden from training; the held-out triples of the graph may be of another kind,
# so the figures need not agree with it exactly.
#
# Which budget gives the better model depends on graph, model and loss. It is an option like any other: let a study
# choose it.
