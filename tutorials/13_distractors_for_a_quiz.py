"""
Distractors for a quiz
======================

A quiz needs wrong answers that are tempting, and wrong. Taken at random from a knowledge base, some are right after
all, because nobody has written down everything. Here a quiz is made of a small knowledge base of one's own, with wrong
answers from animals of another sort than the one that is asked for [#]_. Then the same sampler trains an embedding in
PyKEEN.

.. [#] After Wang et al., CAR: Conceptualization-Augmented Reasoner, Findings of EMNLP 2023.
"""

# %%
import json
import os
from pathlib import Path

import torch
from pykeen.pipeline import pipeline

from kgneg.audit import AuditSettings, audit
from kgneg.core.candidates import CandidateIndex
from kgneg.datasets import Conceptualiser, KnowledgeGraph, load, read_concepts
from kgneg.qa import QuestionSet, build_questions

EPOCHS = int(os.environ.get("KGNEG_TUTORIAL_EPOCHS", "5"))
SEEDS = int(os.environ.get("KGNEG_TUTORIAL_SEEDS", "10"))
torch.set_num_threads(1)

# %% [markdown]
# This is the whole truth about a small world: what is not here is false. Behind the name of an animal stands of what
# sort it is, then what it eats, where it lives and what it can do.

# %%
WORLD = """
robin: songbird, bird; worms, insects, berries; hedges, gardens; fly, sing, build nests
great tit: songbird, bird; insects, seeds, nuts; gardens, woods; fly, sing, build nests
blackbird: songbird, bird; worms, berries, fruit; gardens, hedges; fly, sing, build nests
barn owl: bird of prey, bird; mice, insects; barns, woods; fly, hunt, see in the dark
buzzard: bird of prey, bird; mice, rabbits, worms; woods, fields; fly, hunt, build nests
duck: water bird, bird; water plants, snails, seeds; ponds, rivers; fly, swim, dive
swan: water bird, bird; water plants, snails; ponds, rivers; fly, swim, build nests
trout: fish; insects, small fish; rivers, lakes; swim, breathe under water
pike: fish; small fish, frogs; lakes, ponds; swim, hunt, breathe under water
carp: fish; water plants, snails, worms; ponds, lakes; swim, breathe under water
frog: amphibian; insects, worms, snails; ponds, gardens; swim, jump, croak
newt: amphibian; insects, worms, snails; ponds, woods; swim, hide under stones
honey bee: insect; nectar, pollen; hives, gardens; fly, sting, make honey
bumblebee: insect; nectar, pollen; gardens, fields; fly, sting, find flowers
dragonfly: insect; insects; ponds, rivers; fly, hunt, hover
cow: farm animal, mammal; grass, hay, grain; barns, fields; give milk, chew the cud, pull carts
sheep: farm animal, mammal; grass, hay; barns, fields; give milk, give wool, chew the cud
goat: farm animal, mammal; grass, hay, leaves; barns, fields; give milk, climb, chew the cud
horse: farm animal, mammal; grass, hay, grain; barns, fields; run fast, pull carts, jump
fox: wild animal, mammal; mice, rabbits, berries; woods, fields; hunt, dig holes, run fast
badger: wild animal, mammal; worms, mice, fruit; woods, hedges; dig holes, see in the dark
hedgehog: wild animal, mammal; worms, snails, insects; hedges, gardens; roll up, see in the dark
rabbit: wild animal, mammal; grass, leaves; fields, hedges; dig holes, run fast, jump
squirrel: wild animal, mammal; nuts, seeds; woods, gardens; climb, jump, build nests
"""
truth, sorts = [], ["head_event\ttail_event"]
for line in WORLD.split("\n")[1:-1]:
    animal, text = line.split(": ")
    sort, *facts = (part.split(", ") for part in text.split("; "))
    sorts += [f"[{animal}]\t{one}" for one in sort]
    truth += [(animal, *pair) for pair in zip(("eats", "lives in", "can"), facts, strict=True)]
truth = [(animal, relation, one) for animal, relation, several in truth for one in several]

# %% [markdown]
# A knowledge base is a folder with ``train.tsv``, a triple a line. Ours has six in ten of the true triples, as if
# nobody had thought of the others. Concepts are a table of things in brackets and what each of them is, and templates
# say how a relation is asked for: the answer completes the sentence. All three are files that one writes by hand.


# %%
def write_base(seed: int) -> Path:
    folder = Path(f"animals-{seed}")
    folder.mkdir(exist_ok=True)
    chosen = torch.rand(len(truth), generator=torch.Generator().manual_seed(seed)) < 0.6
    written = ["\t".join(triple) for triple, one in zip(truth, chosen.tolist(), strict=True) if one]
    (folder / "train.tsv").write_text("\n".join(written) + "\n", encoding="utf-8")
    return folder


Path("sorts.tsv").write_text("\n".join(sorts) + "\n", encoding="utf-8")
templates = {
    "eats": {"question": "What the {head} eats is"},
    "lives in": {"question": "One may find the {head} in"},
    "can": {"question": "The {head} can", "strip": ["to "]},
}
Path("templates.json").write_text(json.dumps(templates), encoding="utf-8")
graph = load(write_base(0))
print(f"{len(truth)} true triples, of which {len(graph.train)} are written down")

# %% [markdown]
# The conceptualiser finds in every phrase its words, and the concepts of the things that stand in it. With
# ``read_wordnet`` it finds what is above them in a WordNet instead, so that no table is needed.

# %%
conceptualiser = Conceptualiser(table=read_concepts("sorts.tsv"))
found = conceptualiser.conceptualise(graph.entities)
owl = graph.entities.index("barn owl")
print("barn owl:", *(f"{found.kinds[one]} {found.names[one]!r}" for one in found.features.members(owl)))

# %% [markdown]
# Now the questions. A distractor is an answer to the same question about somebody else, so it is of the right kind.
# It is left out if those whose answer it is have too much in common with the one that is asked for.

# %%
asked = {"templates": "templates.json", "n": 3, "progress": False}
quiz = build_questions(graph, distractors="concept", options={"features": found}, **asked)
print()
for row in (7, 40, 75):
    wrong = [choice for place, choice in enumerate(quiz.choices[row]) if place != quiz.labels[row]]
    print(f"{quiz.questions[row]}: {quiz.choices[row][quiz.labels[row]].upper()} - {', '.join(wrong)}")
quiz.write_jsonl("quiz.jsonl")
print("written:", len(QuestionSet.read_jsonl("quiz.jsonl")), "questions")

# %% [markdown]
# How many distractors are right after all? In this world that can be counted, for several knowledge bases that know
# different parts of the truth. Keywords are of no use here, since names have no word in common; they are for phrases
# such as "Sam feeds the dog". In mode ``paper`` any common feature forbids a distractor. ``weighted``, the default,
# forbids a share of the draws, the ``budget``: those with the most in common, where rare features weigh more.
#
# Where every draw is forbidden, as for an answer that hardly any other sort has, the rule is relaxed: those with the
# least in common are taken, and *flagged*. Leave flagged ones out, or look at them first.


# %%
def is_right(base: KnowledgeGraph, drawn: QuestionSet) -> torch.Tensor:
    """Return which distractors are right in this world, shape (questions, n)."""
    facts = set(truth)
    rows = zip(drawn.triples.tolist(), drawn.distractors.tolist(), strict=True)
    names = [((base.entities[head], base.relations[relation]), row) for (head, relation, _), row in rows]
    return torch.tensor([[(*pair, base.entities[one]) in facts for one in row] for pair, row in names])


METHODS = {
    "random": ("random", {}),
    "keyword": ("keyword", {}),
    "concept, paper": ("concept", {"mode": "paper"}),
    "concept, budget .1": ("concept", {"budget": 0.1}),
    "concept, budget .2": ("concept", {"budget": 0.2}),
}
print(f"\n{'distractors':20}{'right':>8}{'flagged':>9}")
for name, (method, options) in METHODS.items():
    right, flagged, number = 0, 0, 0
    for seed in range(SEEDS):
        base = load(write_base(seed))
        own = {"features": conceptualiser.conceptualise(base.entities)} if method == "concept" else {}
        drawn = build_questions(base, distractors=method, options=options | own, seed=seed, **asked)
        right += int(is_right(base, drawn).sum())
        flagged += int(drawn.fallback.sum())
        number += drawn.fallback.numel()
    print(f"{name:20}{right / number:8.1%}{flagged / number:9.1%}")

# %% [markdown]
# A rule can forbid everything: here all have one feature, "thing", in common. Nothing hangs then and nothing fails;
# all distractors are flagged, and counted. What became of the triples stands in the report, too.

# %%
things = CandidateIndex.from_lists([[0]] * graph.num_entities, num_columns=1)
hopeless = build_questions(graph, distractors="concept", options={"features": things, "mode": "paper"}, **asked)
print("\neverything forbidden:", ", ".join(f"{name} {count}" for name, count in hopeless.report.items() if count))

# %% [markdown]
# The same on the command line::
#
#     kgneg qa build animals-0 --templates templates.json --table sorts.tsv --n 3 --out quiz.jsonl
#
# and ``kgneg qa train`` and ``kgneg qa evaluate`` train a model on such questions, and let it answer benchmarks.
#
# In PyKEEN the sampler is called ``concept``, and needs nothing but the graph: what an entity is about it takes from
# types or a hierarchy, or else from the relations that the entity has. An audit tells what its negatives are worth on
# a graph of terms of medicine: *held out* says how many times as often as uniform draws they are true, as far as
# validation and test triples tell. ``typed`` draws from the same entities, and refuses none of them.

# %%
SAMPLERS = {"kgneg-uniform": {}, "typed": {}, "concept": {}, "concept:budget=0.5": {"budget": 0.5}}
settings = AuditSettings(dataset="umls", samplers=tuple(SAMPLERS)[1:], draws=50_000, reference_epochs=4 * EPOCHS)
rows = {row["label"]: row for row in audit(settings, progress=False).samplers}
print(f"\n{'sampler':20}{'held out':>10}{'hard':>8}{'MRR':>8}")
for name, options in SAMPLERS.items():
    result = pipeline(
        dataset="umls",
        model="distmult",
        optimizer_kwargs={"lr": 0.01},
        negative_sampler=name.split(":")[0],
        negative_sampler_kwargs={"num_negs_per_pos": 4, **options},
        training_loop="kgneg",
        training_kwargs={"batch_size": 256, "use_tqdm": False},
        evaluation_kwargs={"use_tqdm": False},
        epochs=EPOCHS,
        random_seed=0,
    )
    row = rows[name]
    hard = row["hardness"]["hard"]["share"]
    print(f"{name:20}{row['held_out_ratio']['ratio']:10.2f}{hard:8.1%}{result.get_metric('mrr'):8.3f}")

# %% [markdown]
# The more is refused, the fewer negatives are true, and they stay about as hard. But many more are true than of uniform
# ones, and on a graph as small and dense as this one uniform negatives train best. A quiz has no such choice: a wrong
# answer of another kind is none. For training, look at an audit of your own graph first.
