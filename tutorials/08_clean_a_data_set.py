"""
Clean a relation data set
=========================

In data for relation extraction a pair of entities has no relation if nobody wrote one down, and often somebody simply
did not. Such pairs teach a classifier to overlook relations. Here they are searched for, removed or relabelled, and a
classifier is trained again: does it do better on labels that are right?

Without more this takes sentences that are made up on the spot, in a minute. To use real ones, put two files in DocRED's
format into a folder, the labels as they are in ``given.json`` and the completed ones (Re-DocRED) in ``corrected.json``,
and set ``KGNEG_TUTORIAL_DATA`` to that folder.
"""

# %%
import os
import random
import statistics
from pathlib import Path
from typing import Any

import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from kgneg.datasets import RelationPairs, docred_pairs, read_docred
from kgneg.integrations.sentence_transformers import SpanEncoder
from kgneg.samplers import NoiseFilter

SEEDS = int(os.environ.get("KGNEG_TUTORIAL_SEEDS", "5"))
FOLDER = os.environ.get("KGNEG_TUTORIAL_DATA")

# %% [markdown]
# The made-up sentences: people, towns and firms in a few phrases, some of which state a relation. Annotators are made
# up, too. They label a third of the relations stated in roundabout words, and four in five of the plain ones.

# %%
PLAIN = {
    "born in": "{person} was born in {town} .",
    "works for": "{person} works for {firm} .",
    "based in": "{firm} has its head office in {town} .",
}
ROUNDABOUT = {
    "born in": "{person} first saw the light of day in {town} , long ago .",
    "works for": "every morning {person} opens the doors of {firm} .",
    "based in": "the managers of {firm} meet where they always met , in {town} .",
}
NOTHING = (
    "{person} once crossed {town} by train .",
    "{firm} was mentioned to {person} in passing .",
    "in {town} nobody had heard of {firm} .",
    "{person} did not like {town} .",
    "{person} read about {firm} in a newspaper from {town} .",
)
ENDS = {"born in": ("person", "town"), "works for": ("person", "firm"), "based in": ("firm", "town")}


def made_up(documents: int, sentences: int, seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return documents in DocRED's format with the labels that annotators gave, and with all labels."""
    draw = random.Random(seed)  # noqa: S311 -- nothing secret
    given, corrected = [], []
    for number in range(documents):
        texts, entities, some, every = [], [], [], []
        for place in range(sentences):
            words = {kind: f"{kind.title()}{draw.randrange(10**6)}" for kind in ("person", "town", "firm")}
            relation = draw.choice([*ENDS, None, None, None, None])
            plain = draw.random() < 0.6
            phrase = draw.choice(NOTHING) if relation is None else (PLAIN if plain else ROUNDABOUT)[relation]
            tokens = phrase.format(**words).split()
            rows = {}
            for kind, name in words.items():
                if name in tokens:
                    rows[kind] = len(entities)
                    at = tokens.index(name)
                    entities.append([{"name": name, "sent_id": place, "pos": [at, at + 1], "type": kind}])
            texts.append(tokens)
            if relation is not None:
                label = {"h": rows[ENDS[relation][0]], "t": rows[ENDS[relation][1]], "r": relation}
                every.append(label)
                if draw.random() < (0.8 if plain else 0.33):
                    some.append(label)
        base = {"title": f"document {number}", "sents": texts, "vertexSet": entities}
        given.append({**base, "labels": some})
        corrected.append({**base, "labels": every})
    return given, corrected


if FOLDER:
    given, corrected = (read_docred(Path(FOLDER) / name) for name in ("given.json", "corrected.json"))
else:
    given, corrected = (docred_pairs(documents) for documents in made_up(150, 8, seed=0))
given = given.merged(12)  # relations with fewer than a dozen examples become one
truth = [label if label in given.labels else "other" for label in corrected.labels]
hidden = torch.tensor([a == "NA" != b for a, b in zip(given.labels, truth, strict=True)])
labelled = sum(label != "NA" for label in given.labels)
print(f"{len(given):,} pairs, {labelled:,} with a label; {int(hidden.sum()):,} have a relation that nobody labelled")

# %% [markdown]
# A pair is four spans of its sentence: head, tail, what is in between, and the whole. Their vectors come from a
# sentence-transformers model; without one installed, from letters. Types and places are categories beside the vectors.

# %%
vectors = SpanEncoder("auto").encode(given, progress=False)
short = torch.from_numpy(PCA(128, random_state=0).fit_transform(vectors)).float()  # for the classifier


def columns(pairs: RelationPairs, rows: torch.Tensor) -> dict[str, list[str]]:
    return {name: [values[row] for row in rows] for name, values in (("types", pairs.types), ("places", pairs.places))}


def features(rows: torch.Tensor) -> torch.Tensor:
    """Vectors and types, for the classifier."""
    names = sorted(set(given.types))
    types = torch.eye(len(names))[[names.index(given.types[row]) for row in rows]]
    return torch.cat([short[rows] / short.std(), 3 * types], dim=-1)


# %% [markdown]
# Documents are split, not pairs. The filter sees the training documents alone, and only the labels that were given. The
# corrected labels of the other documents are for judging. ``expected_fn`` says how many negatives it takes to be
# positive; ``report.table()`` shows each row with the labelled pairs that speak for it.
#
# On the made-up sentences the number is too small, and that is no accident: of phrases of which one in three is
# labelled, labels alone do not tell whether all state the relation or one in three does. With the true labels of some
# documents (``clean_labels``) the filter can know.


# %%
def split(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    names = sorted(set(given.groups))
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed)).tolist()
    test = {names[place] for place in order[: len(names) // 3]}
    inside = torch.tensor([group in test for group in given.groups])
    return (~inside).nonzero().squeeze(-1), inside.nonzero().squeeze(-1)


def clean(rows: torch.Tensor, seed: int, *, reannotate: bool) -> list[str | None]:
    report = NoiseFilter("NA", k=10, seed=seed, reannotate=reannotate).fit(
        vectors[rows],
        [given.labels[row] for row in rows],
        groups=[given.groups[row] for row in rows],
        types=columns(given, rows),
    )
    if seed == 0:
        scores = report.evaluate(hidden[rows])
        print(
            f"reannotate={reannotate}: {report.summary()['actions']}\n   expected {report.expected_fn.value:.0f} "
            f"hidden positives, really {scores.gold}; flagged {scores.flagged}, precision {scores.precision:.2f}, "
            f"recall {scores.recall:.2f}"
        )
    return report.corrected()


def f1(labels: list[str | None], train: torch.Tensor, test: torch.Tensor, judge: list[str]) -> float:
    """Train on labels, and return the F1 of the relations found in other documents."""
    kept = torch.tensor([label is not None for label in labels])
    model = LogisticRegression(C=0.1, max_iter=300).fit(
        features(train[kept]).numpy(), [label for label in labels if label is not None]
    )
    found = model.predict(features(test).numpy()).tolist()
    right = sum(a == b != "NA" for a, b in zip(found, judge, strict=True))
    total = sum(label != "NA" for label in found) + sum(label != "NA" for label in judge)
    return 2 * right / total if total else 0.0


# %% [markdown]
# Five splits. *By given labels* shows why such data fool: the labels of the test documents have the same gaps, so that
# a classifier which finds more is punished for it.

# %%
results: dict[str, list[tuple[float, float]]] = {}
for seed in range(SEEDS):
    train, test = split(seed)
    treatments = {
        "none": [given.labels[row] for row in train],
        "eliminate": clean(train, seed, reannotate=False),
        "reannotate": clean(train, seed, reannotate=True),
        "all labels right": [truth[row] for row in train],
    }
    for name, labels in treatments.items():
        judged = [f1(labels, train, test, [names[row] for row in test]) for names in (truth, given.labels)]
        results.setdefault(name, []).append((judged[0], judged[1]))

print(f"\n{'training labels':18}{'F1, corrected labels':>24}{'F1, given labels':>22}")
for name, runs in results.items():
    cells = []
    for values in zip(*runs, strict=True):
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        cells.append(f"{statistics.mean(values):.3f} ± {spread:.3f}")
    print(f"{name:18}{cells[0]:>24}{cells[1]:>22}")

# %% [markdown]
# Eliminating is the safe choice, for a wrong flag costs one negative of very many. Relabelling asks more: the label has
# to be right as well, and it is given only where two thirds of the neighbours agree. The last row is what perfect
# labels would give.
