"""
Judges and a promise
====================

Negatives that a language model writes down, or that a sampler draws, are not all false. Here they are judged by what
language models have said about them, by a small critic that learns from a few hundred checked triples, and by both
together; and a threshold is set such that what is kept is false as often as promised.

If ``KGNEG_DATA`` names a folder with ``plausibility/ckbp_v2`` in it, this takes CKBP v2 [#]_ with the verdicts of two
language models that are recorded there. Without it, everything is invented: a small world of things in a household,
and two judges whose mistakes are drawn at random. Figures of the invented world say how the parts work, and nothing
about language models.

.. [#] Fang et al., CKBPv2: An Expert-Annotated Evaluation Set for Commonsense Knowledge Base Population, 2023.
"""

# %%
import os
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from kgneg.core.encode import encode_texts
from kgneg.selfinstruct import (
    Candidates,
    Critic,
    RecordedJudge,
    RuleJudge,
    SelfInstructFilter,
    VectorTable,
    Verbalizer,
    write_kept,
)

FILE = Path(os.environ.get("KGNEG_DATA", "nowhere"), "plausibility", "ckbp_v2", "ckbp2.0_with_llm_judges.csv.gz")
torch.set_num_threads(1)

# %% [markdown]
# The invented world: what things of a sort are used for, where they are, and what they are like. A thing may be of two
# sorts. What does not follow from this is false.

# %%
SORTS = """
tool: repairing things, building, working; workshop, cellar, shed; useful, solid, handy
kitchenware: cooking, preparing a meal, eating; kitchen, restaurant, cupboard; washable, clean, useful
tableware: eating, serving food, drinking; dining room, cupboard, restaurant; clean, breakable, smooth
furniture: sitting down, resting, storing clothes; living room, bedroom, office; heavy, wooden, solid
stationery: writing, drawing, making notes; office, school, desk; light, cheap, handy
toy: playing, having fun, giving a present; nursery, school, toy box; colourful, cheap, light
garment: keeping warm, dressing up, going out; wardrobe, suitcase, bedroom; soft, washable, colourful
machine: saving time, working, making a noise; factory, kitchen, cellar; electric, loud, expensive
vehicle: travelling, going out, saving time; garage, street, shed; fast, expensive, heavy
blade: cutting, opening a parcel, preparing a meal; drawer, kitchen, workshop; sharp, dangerous, smooth
"""
THINGS = """
hammer: tool; saw: tool, blade; drill: tool, machine; pliers: tool; pan: kitchenware; knife: kitchenware, blade
ladle: kitchenware; mixer: kitchenware, machine; kettle: kitchenware, machine; plate: tableware; cup: tableware
bowl: tableware, kitchenware; glass: tableware; chair: furniture; sofa: furniture; cot: furniture; shelf: furniture
pencil: stationery; crayon: stationery, toy; notebook: stationery; scissors: stationery, blade; doll: toy; kite: toy
building block: toy; scooter: toy, vehicle; coat: garment; scarf: garment; costume: garment, toy; glove: garment
washing machine: machine; hoover: machine; bicycle: vehicle; car: vehicle, machine; van: vehicle; axe: tool, blade
"""


def invented(seed: int = 0) -> pd.DataFrame:
    """Return all triples of the world, whether they are true, and what two judges said by chance."""
    facts = {}
    for line in SORTS.strip().split("\n"):
        sort, text = line.split(": ")
        facts[sort] = [part.split(", ") for part in text.split("; ")]
    rows = []
    for thing, sorts in (one.split(": ") for one in THINGS.strip().replace("\n", "; ").split("; ")):
        for place, relation in enumerate(("UsedFor", "AtLocation", "HasProperty")):
            true = {one for sort in sorts.split(", ") for one in facts[sort][place]}
            every = sorted({one for fact in facts.values() for one in fact[place]})
            rows += [(thing, relation, one, one in true) for one in every]
    table = pd.DataFrame(rows, columns=["head", "relation", "tail", "label"])
    random = np.random.default_rng(seed)
    for judge, yes_to_true, yes_to_false in (("strict", 0.45, 0.08), ("gentle", 0.80, 0.35)):
        easy = np.where(table["relation"] == "AtLocation", 0.15, 0.0)  # places are judged better than the rest
        yes = np.where(table["label"], yes_to_true + easy, np.maximum(yes_to_false - easy, 0.02))
        table[judge] = random.random(len(table)) < yes
    table = table.sample(frac=1, random_state=seed)
    table["split"] = np.where(np.arange(len(table)) < 900, "dev", "tst")
    return table


table = pd.read_csv(FILE) if FILE.is_file() else invented()
NAMES = ["gpt3", "chatgpt"] if FILE.is_file() else ["strict", "gentle"]
print("data:", FILE.name if FILE.is_file() else "an invented world, with invented verdicts")

# %% [markdown]
# Candidates are triples in words. A verbalizer puts them into sentences, of which there is a negated form, too; its
# templates are a file that can be replaced. Recorded judges look up what was said.

# %%
everything = Candidates(*(table[name].astype(str).tolist() for name in ("head", "relation", "tail")))
truth = table["label"].to_numpy().astype(bool)
checked, new = (np.flatnonzero(table["split"] == name) for name in ("dev", "tst"))
new = np.random.default_rng(0).permutation(new)[:1500]
words = Verbalizer.load("statements")
print(words.positive(everything[:1])[0], "|", words.negated(everything[:1])[0])
print(f"{len(checked)} checked triples, {len(new)} new ones, of which {(~truth[new]).mean():.1%} are false")
judges = [RecordedJudge(candidates=everything, probability=table[name].astype(float), name=name) for name in NAMES]

# %% [markdown]
# A judge is not equally good everywhere, which is why the filter learns by relation whom to believe: how often "no" is
# right, for the two relations where that is most different.

# %%
for judge in judges:
    no = judge.judge(everything[checked]).probability < 0.5
    right = pd.Series(~truth[checked][no]).groupby(table["relation"].to_numpy()[checked][no]).agg(["mean", "size"])
    right = right[right["size"] >= 30].sort_values("mean")["mean"]
    print(f"{judge.name}: {right.index[0]} {right.iloc[0]:.1%}, {right.index[-1]} {right.iloc[-1]:.1%}")

# %% [markdown]
# Now who finds the false negatives. A false negative is a candidate that is true; the figure is the share of them that
# goes when 80 in 100 of the true negatives stay. With few labels, verdicts and critic are simply added; from 200 on,
# their weights are learned. Without a ``target`` nothing is promised, and all checked triples teach.
#
# The critic compares vectors of heads, tails and sentences. It makes them itself; as several critics need the same
# ones here, they are made once.

# %%
used = everything[np.concatenate([checked, new])]
texts = sorted({*used.heads, *used.tails, *words.positive(used)})
vectors = VectorTable(texts, encode_texts(texts, progress=False))


def removed(score: np.ndarray) -> float:
    """Return the share of true triples among the new ones that goes; ties are broken at random."""
    order = np.lexsort((np.random.default_rng(0).random(len(new)), score))
    stays = np.cumsum(~truth[new][order]) <= 0.8 * (~truth[new]).sum()
    return 1 - truth[new][order][stays].sum() / truth[new].sum()


def fitted(rows: np.ndarray, **settings) -> SelfInstructFilter:
    """Return a filter that has learned from checked rows."""
    critic = Critic(encoder=vectors, verbalizer=words, progress=False)
    made = SelfInstructFilter(**{"judges": judges, "critic": critic} | settings)
    return made.fit(everything[rows[truth[rows]]], everything[rows[~truth[rows]]])


print(f"\n{'by':38}removed")
said = np.stack([judge.judge(everything[new]).probability for judge in judges])
for name, score in zip([*NAMES, "the sum of both"], [*said, said.sum(axis=0)], strict=True):
    print(f"{name:38}{removed(score):7.1%}")
alone = fitted(checked, judges=(), target=None)
print(f"{'critic alone, all labels':38}{removed(alone.decide(everything[new]).score):7.1%}")
for number in (100, len(checked)):
    both = fitted(checked[:number], target=None)
    print(f"{f'{both.fusion.mode}, {number} labels':38}{removed(both.decide(everything[new]).score):7.1%}")

# %% [markdown]
# The promise: half of the checked triples set a threshold, and teach nothing. What is kept is false at least as often
# as the target says, with 95 per cent confidence, for candidates like those that were checked. A target that is out of
# reach is called so, and keeps nothing. Here the checked triples are a random sample of all triples, which is what
# ``sample="triples"`` says; otherwise the promise is about heads that nobody has looked at, and triples that share a
# head count for less. Rules decide first, and at no cost: here a known triple, which is dropped.

# %%
print()
known = RuleJudge(known=everything[new[truth[new]][:20]])
for target in (0.8, 0.9, 0.99):
    made = fitted(checked, target=target, rules=[known], sample="triples")
    found = made.decide(everything[new])
    kept = found.action == "keep"
    print(made.certificate.statement())
    print(f"    {found.counts()}", f"false among kept: {(~truth[new][kept]).mean():.1%}" if kept.any() else "")
    if made.certificate.reachable or target == 0.8:
        chosen = made
rule = chosen.decide(everything[new[truth[new]][:1]])
print(f"a known triple: {rule.action[0]}, because of a {rule.reason[0]}")

# %% [markdown]
# A filter is kept in a folder, without pickles; rules, and judges that ask somebody, are handed in again. It decides
# about files of any size, shard by shard. A run that was interrupted goes on with the same call, and gives the same
# bytes. What is kept is written for the sampler ``given``.

# %%
chosen.save("filter")
again = SelfInstructFilter.load("filter", rules=[known], encoder=vectors)
same = again.decide(everything[new]).action == chosen.decide(everything[new]).action
Path("candidates.tsv").write_text(
    "".join("\t".join(triple) + "\n" for triple in everything[new].triples()), encoding="utf-8"
)
report = again.run("candidates.tsv", "decided", shard_rows=500, backend="sequential", progress=False)
print(f"\nthe same after loading: {same.all()}; {report.finished} of {report.shards} shards: {report.actions}")
print("written for the sampler given:", write_kept("decided", "negatives.tsv"))

# %% [markdown]
# The same on the command line::
#
#     kgneg selfinstruct fit --true true.tsv --false false.tsv --judge recorded:verdicts.tsv --out filter
#     kgneg selfinstruct run candidates.tsv --filter filter --out decided --kept negatives.tsv
