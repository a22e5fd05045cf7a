"""The skills of ESCO, the benchmark of Decorte et al., and texts to learn from."""

from __future__ import annotations

import ast
import csv
import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import torch

from kgneg.datasets import Taxonomy
from kgneg.skills import ConceptSet, Examples, LabelMatcher
from kgneg.skills.sources import Gold, read_gold

TESTS = ("house_test", "tech_test")
VALIDATION = ("house_validation", "tech_validation")
#: where texts to learn from are taken from
SOURCES = ("names", "mentions", "skillskape")


def one_line(text: str) -> str:
    return " ".join(text.split())


def rows(path: Path) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def read_skills(folder: Path) -> tuple[ConceptSet, torch.Tensor]:
    """Return the skills of the benchmark, and how common each is."""
    lines = (folder / "benchmark" / "skills_en_label.txt").read_text(encoding="utf-8").splitlines()
    labels = list(dict.fromkeys(one_line(line) for line in lines if line.strip()))
    number = {label: place for place, label in enumerate(labels)}
    uris, further, descriptions = [""] * len(labels), [[] for _ in labels], [""] * len(labels)
    known: dict[str, str] = {}
    for row in rows(folder / "esco_skills_merged.csv.gz"):
        known[row["uri"]] = one_line(row["label_v1_2_1"] or row["label_v1_1"])
        place = number.get(one_line(row["label_v1_1"]))
        if place is not None:
            uris[place], descriptions[place] = row["uri"], one_line(row["description"])
            further[place] = [one for one in row["alt_labels"].split("|") if one]
    needed = [
        (row["skill_uri"], row["occupation_uri"]) for row in rows(folder / "occupation_skills_v1.2_derived.csv.gz")
    ]
    relations = {"occupation": [(skill, one) for skill, one in needed if skill and one]}
    taxonomy = Taxonomy.read_esco(folder / "raw_v1.2.0", labels=known, relations=relations)
    place_of = {uri: place for place, uri in enumerate(uris) if uri}
    places = torch.tensor([place_of.get(uri, -1) for uri in taxonomy.concepts])
    names = [uri or label for uri, label in zip(uris, labels, strict=True)]
    prior_of = json.loads((folder / "benchmark" / "esco_priors.json").read_text(encoding="utf-8"))
    common = {one_line(label): value for label, value in prior_of.items()}
    prior = torch.tensor([min(float(common.get(label, 0.0)), 1.0) for label in labels])
    return ConceptSet(names, labels, further, descriptions, taxonomy, places), prior


def read_parts(folder: Path, skills: ConceptSet) -> dict[str, Gold]:
    """Return all parts of the benchmark."""
    number = {label: place for place, label in enumerate(skills.labels)}
    return {part: read_gold(folder / "benchmark" / f"{part}_annotations.csv", number) for part in (*VALIDATION, *TESTS)}


def read_examples(folder: Path, skills: ConceptSet, parts: dict[str, Gold], sources: tuple[str, ...]) -> Examples:
    """Return texts to learn from, without those of the benchmark.

    :param sources: ``names``: descriptions and the first alternative label; ``mentions``: sentences of job ads
        (SkillSpan, its training part), tasks (O*NET) and descriptions of occupations that a label stands in;
        ``skillskape``: sentences that a language model wrote for given skills
    """
    found = []
    texts = folder / "sentences"
    if "names" in sources:
        found.append(Examples.named(skills, alternatives=1))
    if "mentions" in sources:
        with gzip.open(texts / "skillspan_train.jsonl.gz", "rt", encoding="utf-8") as file:
            sentences = [" ".join(json.loads(line)["tokens"]) for line in file]
        sentences += [row["Task"] for row in rows(texts / "onet_task_statements.csv.gz")]
        sentences += [one_line(row["description"]) for row in rows(folder / "raw_v1.2.0" / "occupations_en.csv.gz")]
        matcher = LabelMatcher(skills.labels, skills.alternatives)
        found.append(Examples.mentioned(matcher, list(dict.fromkeys(sentences))))
    if "skillskape" in sources:
        number = {label: place for place, label in enumerate(skills.labels)}
        pairs, unknown = [], 0
        for row in rows(texts / "skillskape_train.csv.gz"):
            for label in ast.literal_eval(row["skills"]):
                if one_line(label) in number:
                    pairs.append((row["sentence"], number[one_line(label)]))
                else:
                    unknown += 1
        found.append(Examples.of(pairs, {"unknown label": unknown}))
    return Examples.joined(*found).without(text for gold in parts.values() for text in gold.texts)
