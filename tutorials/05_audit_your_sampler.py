"""
Audit your own sampler
======================

What are a sampler's negatives worth, before hours of training are spent on them? An audit draws negatives, trains
nothing with them, and counts: how many are true, how many are hard, how many are absurd. Here it judges a sampler that
somebody has just written for PyKEEN.
"""

# %%
import os

import torch
from pykeen.sampling import NegativeSampler

from kgneg.audit import AuditSettings, audit

EPOCHS = int(os.environ.get("KGNEG_TUTORIAL_EPOCHS", "20"))

# %% [markdown]
# The idea of this sampler: replace the tail by the tail of some other triple. Entities that are often a tail are then
# often a negative, and entities that never are one are left alone. Nothing in it knows kgneg.


# %%
class OtherTails(NegativeSampler):
    def __init__(self, *, mapped_triples: torch.Tensor, **options: object) -> None:
        super().__init__(mapped_triples=mapped_triples, **options)
        self.tails = mapped_triples[:, 2]

    def corrupt_batch(self, positive_batch: torch.Tensor) -> torch.Tensor:
        negatives = positive_batch.unsqueeze(-2).repeat_interleave(self.num_negs_per_pos, dim=-2)
        chosen = torch.randint(len(self.tails), negatives.shape[:-1])
        negatives[..., 2] = self.tails[chosen]
        return negatives


# %% [markdown]
# The class goes in as it is, beside PyKEEN's ``basic``. Exact uniform draws, ``kgneg-uniform``, are always audited as
# well, for comparison. The reference model by which hardness is judged is trained briefly and kept for the next audit.

# %%
settings = AuditSettings(
    dataset="umls",  # comes with PyKEEN
    samplers=("basic", OtherTails),
    draws=100_000,
    reference_epochs=EPOCHS,
)
result = audit(settings, progress=False)

# %% [markdown]
# Each row is a share with an interval of 95 %. *Known* negatives are training triples: a filter removes them. *Held
# out* ones are validation or test triples, which no filter of training triples can know; they stand for all the true
# triples that nobody has written down. *Hard* ones are neither, but the reference model takes them for plausible.

# %%
FIGURES = {
    "known": ("rates", "train"),
    "held out": ("rates", "held_out"),
    "hard": ("hardness", "hard"),
    "fits the relation": ("types", "fits_slot"),
}
rows = {row["label"]: row for row in result.samplers}
print(f"{'':20}" + "".join(f"{label:>26}" for label in rows))
for name, (group, key) in FIGURES.items():
    cells = []
    for row in rows.values():
        share = row[group][key]
        text = "-" if share["share"] is None else "{share:.2%} [{low:.2%}, {high:.2%}]".format(**share)
        cells.append(f"{text:>26}")
    print(f"{name:20}" + "".join(cells))

# %% [markdown]
# One number sets true negatives in relation: how many times as often as uniform draws a sampler hits held-out triples,
# once known ones are removed. Much above 1, a sampler is drawn to what is true. ``basic`` is below 1: where many
# triples are true, many of its negatives are known ones, and few are left. The other columns tell how varied the
# negatives are: how many entities, drawn evenly, would be as diverse, and which end is replaced. ``itself`` is the
# share of negatives that are their own positive.

# %%
print(f"\n{'sampler':16}{'held out, x uniform':>21}{'entities':>10}{'heads':>8}{'tails':>8}{'itself':>8}")
for label, row in rows.items():
    sides = row["sides"]
    print(
        f"{label:16}{row['held_out_ratio']['ratio']:21.2f}{row['entities']['effective']:10.0f}"
        f"{sides['head']:8.0%}{sides['tail']:8.0%}{sides['same']:8.1%}"
    )

# %% [markdown]
# What does that say of ``OtherTails``? It never replaces a head, so no model is taught by it which heads are wrong. It
# draws positives themselves, and more known triples than ``basic`` does: it needs a filter. And it has to be weighed
# whether its negatives are so much harder than uniform ones that it is worth how much more often they are true.
#
# ``report.html`` has figures, every relation, and the worst negatives in words. The same on the command line:
# ``kgneg audit --dataset umls --sampler basic --sampler my_module:OtherTails``.

# %%
written = result.write("audit")
print("\nwritten:", ", ".join(sorted(written)))
