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
BUDGETS = {"typed": None, "typed, fn_budget=3": 3, "typed, fn_budget=1.5": 1.5}

# %% [markdown]
# ``typed`` draws entities that are seen at that end of the relation. On a graph as dense as UMLS many of these make
# true triples. With a budget the sampler hides some training triples from itself, learns a rough idea of which triples
# are plausible, and leaves out its most plausible candidates until few enough of the hidden triples are drawn. It sees
# training triples only. ``share`` is the part of its candidates that is still allowed.

# %%
dataset = UMLS()  # comes with PyKEEN
samplers = {
    label: negative_sampler_resolver.make(
        "typed",
        mapped_triples=dataset.training.mapped_triples,
        num_entities=dataset.num_entities,
        num_relations=dataset.num_relations,
        fn_budget=budget,
        seed=0,
    )
    for label, budget in BUDGETS.items()
}
points = {label: sampler.operating_point for label, sampler in samplers.items()}
shares = {label: 1.0 if point is None else point.share for label, point in points.items()}

# %% [markdown]
# An audit counts what the budget is about: validation and test triples among the negatives, which the sampler has not
# seen. It gives both sides of the bargain, as multiples of uniform negatives.

# %%
settings = AuditSettings(dataset="umls", samplers=tuple(samplers.items()), draws=100_000, reference_epochs=EPOCHS)
result = audit(settings, progress=False)

print(f"{'sampler':22}{'share':>7}{'held out':>10}{'x uniform':>11}{'hard':>8}{'x uniform':>11}{'fall-backs':>12}")
for row in result.samplers:
    share = f"{shares[row['label']]:.0%}" if row["label"] in shares else "-"
    held_out, hardness = row["rates"]["held_out"]["share"], row["hardness"]
    print(
        f"{row['label']:22}{share:>7}{held_out:10.2%}{row['held_out_ratio']['ratio']:11.2f}"
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
