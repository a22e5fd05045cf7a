"""
Topics of any vocabulary
========================

Nothing in ``kgneg.skills`` knows ESCO. Here a thesaurus of the weather, written in SKOS as libraries and agencies write
theirs, is read with its German and its English labels, and classifiers learn to tell a topic from its siblings.
"""

# %%
import os
from pathlib import Path

import torch

from kgneg.datasets import Taxonomy
from kgneg.skills import ConceptRanker, ConceptSet, Examples, Recipe, judge_ranking, train_ranker

SEEDS = int(os.environ.get("KGNEG_TUTORIAL_SEEDS", "5"))
torch.set_num_threads(1)

# %% [markdown]
# Any file of RDF with ``skos:broader``, or with classes of OWL, will do: name yours in ``KGNEG_SKOS``.

# %%
TURTLE = """
@prefix skos: <http://www.w3.org/2004/02/skos/core#> . @prefix : <http://weather.example/> .
:rain skos:broader :water ; skos:prefLabel "rain"@en , "Regen"@de ; skos:altLabel "shower"@en ;
  skos:definition "Drops of water that fall from clouds."@en .
:snow skos:broader :water ; skos:prefLabel "snow"@en , "Schnee"@de ; skos:altLabel "flurry"@en ;
  skos:definition "White crystals of ice that fall and stay on cold ground."@en .
:hail skos:broader :water ; skos:prefLabel "hail"@en , "Hagel"@de ;
  skos:definition "Balls of ice that fall out of thunderclouds and break windows."@en .
:fog skos:broader :water , :sight ; skos:prefLabel "fog"@en , "Nebel"@de ; skos:altLabel "mist"@en ;
  skos:definition "A cloud on the ground in which one sees no further than a kilometre."@en .
:storm skos:broader :wind ; skos:prefLabel "storm"@en , "Sturm"@de ; skos:altLabel "gale"@en ;
  skos:definition "Wind so strong that it breaks trees."@en .
:breeze skos:broader :wind ; skos:prefLabel "breeze"@en , "Brise"@de ;
  skos:definition "Light wind that moves leaves."@en .
:tornado skos:broader :wind ; skos:prefLabel "tornado"@en , "Tornado"@de ; skos:altLabel "twister"@en ;
  skos:definition "A whirling column of air below a cloud that lifts roofs."@en .
:haze skos:broader :sight ; skos:prefLabel "haze"@en , "Dunst"@de ;
  skos:definition "Dry dust and smoke that make far hills look blue."@en .
:heat skos:broader :temperature ; skos:prefLabel "heat wave"@en , "Hitzewelle"@de ;
  skos:definition "Days on end that are much hotter than is usual."@en .
:frost skos:broader :temperature ; skos:prefLabel "frost"@en , "Frost"@de ;
  skos:definition "Air below the freezing point that kills blossoms."@en .
:thaw skos:broader :temperature ; skos:prefLabel "thaw"@en , "Tauwetter"@de ;
  skos:definition "Mild air after frost that melts ice and snow."@en .
:water skos:prefLabel "precipitation and vapour"@en , "Niederschlag und Dampf"@de .
:wind skos:prefLabel "wind"@en , "Wind"@de . :sight skos:prefLabel "visibility"@en , "Sicht"@de .
:temperature skos:prefLabel "temperature"@en , "Temperatur"@de .
"""
path = Path(os.environ.get("KGNEG_SKOS", "weather.ttl"))
if "KGNEG_SKOS" not in os.environ:
    path.write_text(TURTLE, encoding="utf-8")
english, german = (Taxonomy.read(path, language=language) for language in ("en", "de"))
print(english)
rain = english.ids["http://weather.example/rain"]
for taxonomy in (english, german):
    print(
        taxonomy.labels[rain], "and its siblings:", *(taxonomy.labels[one] for one in taxonomy.siblings().members(rain))
    )

# %% [markdown]
# Labels that stand in a text are found in either language. Ambiguous ones are listed by ``matcher.ambiguous``.

# %%
for taxonomy, text in ((english, "A gale in the night, then a shower and fog"), (german, "Erst Nebel, dann Tauwetter")):
    matcher = ConceptSet.of(taxonomy).matcher()
    print([taxonomy.labels[mention.concepts[0]] for mention in matcher.find(text)])

# %% [markdown]
# Descriptions say what is meant where no label stands. A classifier for each topic is trained on the vectors of the
# texts, which stay as they are; its negatives are texts of other topics. Those of siblings are the hard ones: whether
# they help is for the table to say.

# %%
topics = ConceptSet.of(english)
examples = Examples.named(topics)
NEWS = [
    ("Windows of cars were broken by lumps of ice", "hail"),
    ("A whirling column took the roof of the barn", "tornado"),
    ("Trees fell on the railway line", "storm"),
    ("Drivers could not see the next lamp post", "fog"),
    ("White ground in the hills this morning", "snow"),
    ("The blossoms of the cherry trees froze", "frost"),
    ("Ice on the lake is melting after a cold week", "thaw"),
    ("Smoke of distant fires makes the hills look blue", "haze"),
    ("The fifth hot day in a row, and no end in sight", "heat wave"),
    ("Leaves hardly move today", "breeze"),
    ("Drops on the umbrella all afternoon", "rain"),
]
number = {label: place for place, label in enumerate(topics.labels)}
texts = [text for text, _ in NEWS]
right = torch.arange(len(NEWS)), torch.tensor([number[label] for _, label in NEWS])
print(f"\n{'':22}{'MRR':>6}{'RP@1':>8}")
plain = judge_ranking(ConceptRanker(topics.labels, progress=False).scores(texts), *right)
print(f"{'cosine of labels':22}{plain.mrr:>6.3f}{plain.precision[1]:>8.1%}")
for name, counts in {"random": {"random": 4}, "siblings": {"sibling": 4}, "both": {"sibling": 2, "random": 2}}.items():
    mrr = hits = 0.0
    for seed in range(SEEDS):
        recipe = Recipe(method="classifiers", strategies=counts, epochs=30, lr=0.05, seed=seed)
        ranker = train_ranker(topics, examples, f"weather-{name}-{seed}", recipe, progress=False)
        found = judge_ranking(ranker.base_scores(texts), *right)
        mrr, hits = mrr + found.mrr / SEEDS, hits + found.precision[1] / SEEDS
    print(f"{'classifiers, ' + name:22}{mrr:>6.3f}{hits:>8.1%}")

# %% [markdown]
# Lists of siblings are lists like any other: draw from them what your own model needs.

# %%
siblings = english.siblings()
drawn, real = siblings.sample(torch.tensor([rain, rain]), 3, torch.Generator().manual_seed(0))
print("\nwrong answers for rain:", [english.labels[one] for one in drawn[0].tolist()], bool(real.all()))
