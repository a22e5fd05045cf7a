"""Triples that people judged (CKBP, Fang et al., EMNLP 2021): is a plausible one told from an implausible one?

Known are both parts of ATOMIC and the plausible rows of the development part; the rows of the test part are judged.
Texts of both sources are written differently, so they are compared in a plain form, see :func:`plain`.
"""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from car_data import Atomic, MissingDataError, conceptualise, text_vectors
from car_falsehood import HEADS, OURS, RULE, learned, popularity, shares_any
from car_stats import auc, differences, markdown, middle

_WORD = re.compile(r"[a-z0-9']+")
_PERSONS = {"john": "personx", "tom": "persony"}
#: what annotators wrote or left out as they liked
_LIGHT = frozenset(
    (
        *("personx", "persony", "personz", "peoplex", "their", "his", "her"),
        *("to", "the", "a", "an", "be", "is", "are", "s", "feel", "that", "want", "need"),
    )
)
_ENDINGS = ("ing", "ies", "es", "ed", "s", "e")
CLASSES = ("test_set", "cs_head", "all_head")


def plain(text: str) -> str:
    """Return the plain form of a phrase: words in small letters, no persons and light words, no endings.

    Persons, articles, forms of "be", possessives, "to", "want", "need" and "feel" go, unless nothing else is there;
    then the first of the endings -ing, -ies, -es, -ed, -s and -e that leaves three letters goes from each word.

    >>> plain("PersonX wants to feel happier"), plain("to be happy"), plain("To Want")
    ('want happier', 'happy', 'to want')
    """
    words = [_PERSONS.get(word, word) for word in _WORD.findall(text.lower())]
    kept = [word for word in words if word not in _LIGHT] or words
    return " ".join(_stem(word) for word in kept)


def _stem(word: str) -> str:
    ending = next((one for one in _ENDINGS if word.endswith(one) and len(word) > len(one) + 2), "")
    return word.removesuffix(ending)


@dataclass(frozen=True)
class Judged:
    """Known triples and triples that were judged, over phrases in their plain form.

    :param texts: length: entities, the first text of each that was read
    :param num_relations: the number of relations
    :param known: shape: ``(m, 3)``
    :param asked: shape: ``(q, 3)``
    :param true: shape: ``(q,)``, which of them people found plausible
    :param classes: shape: ``(q,)``, where the triples are from
    """

    texts: list[str]
    num_relations: int
    known: torch.Tensor
    asked: torch.Tensor
    true: np.ndarray
    classes: np.ndarray

    @classmethod
    def read(cls, atomic: Atomic, path: Path) -> Judged:
        """Put ATOMIC and the judged rows together."""
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        entity: dict[str, int] = {}
        relation = {one: place for place, one in enumerate(atomic.relations)}
        texts: list[str] = []

        def number(text: str) -> int:
            form = plain(text)
            if form not in entity:
                entity[form] = len(entity)
                texts.append(text)
            return entity[form]

        def triples(found: Iterable[dict[str, str]]) -> list[list[int]]:
            return [
                [number(one["head"]), relation.setdefault(one["relation"], len(relation)), number(one["tail"])]
                for one in found
            ]

        own = torch.tensor([number(one) for one in atomic.entities])
        parts = [
            torch.stack([own[h], r, own[t]], -1)
            for h, r, t in (one.unbind(-1) for one in (atomic.observed, atomic.hidden))
        ]
        dev = triples(one for one in rows if one["split"] == "dev" and one["label"] == "1")
        test = [one for one in rows if one["split"] == "tst"]
        asked = torch.tensor(triples(test)).view(-1, 3)
        return cls(
            texts,
            len(relation),
            torch.unique(torch.cat([*parts, torch.tensor(dev).view(-1, 3)]), dim=0),
            asked,
            np.array([one["label"] == "1" for one in test]),
            np.array([one["class"] for one in test]),
        )

    @property
    def sizes(self) -> dict[str, int]:
        return {"num_entities": len(self.texts), "num_relations": self.num_relations}


def vectors_of(texts: list[str], atomic: Atomic) -> torch.Tensor:
    """Return the vectors of texts; those of ATOMIC are there already."""
    place = {text: number for number, text in enumerate(atomic.entities)}
    others = [text for text in texts if text not in place]
    found = torch.cat([atomic.vectors, text_vectors(others)])
    place.update({text: len(atomic.entities) + number for number, text in enumerate(others)})
    return found[torch.tensor([place[text] for text in texts])]


def scores(judged: Judged, atomic: Atomic, seed: int) -> dict[str, np.ndarray]:
    """Return the scores of all rows of the table."""
    made = conceptualise(atomic.data, judged.texts)
    known, asked, sizes = judged.known, judged.asked, judged.sizes
    return {
        "words (Ma et al.)": shares_any(known, made.of_kind("word").features, asked, sizes),
        RULE: shares_any(known, made.of_kind("word", "concept").merge().features, asked, sizes),
        HEADS: popularity(known, asked, sizes),
        "ConceptScore": learned(known, made.features, asked, sizes, seed=seed),
        OURS: learned(known, made.features, asked, sizes, seed=seed, vectors=vectors_of(judged.texts, atomic)),
    }


def run(data: Path, *, seeds: int, resamples: int) -> dict[str, Any]:
    """Return the figures on all rows and on those whose tail is known, and of each class."""
    path = data / "commonsense" / "ckbp" / "evaluation_set.csv.gz"
    if not path.is_file():
        raise MissingDataError(f"there is no file {path}; set KGNEG_DATA")
    atomic = Atomic.read(data)
    judged = Judged.read(atomic, path)
    owned = popularity(judged.known, judged.asked, judged.sizes) > 0
    parts = {"all": np.ones(len(owned), dtype=bool), "tail known": owned}
    found: dict[str, Any] = {"seeds": [], "resamples": resamples, "known": len(judged.known)}
    found["sizes"] = {name: [int(own.sum()), int(judged.true[own].sum())] for name, own in parts.items()}
    found["classes"] = {name: int((judged.classes == name).sum()) for name in CLASSES}
    for seed in range(seeds):
        every = scores(judged, atomic, seed)
        cuts = parts | {name: judged.classes == name for name in CLASSES}
        found["seeds"].append(
            {
                part: {name: auc(one[own], judged.true[own]) for name, one in every.items()}
                for part, own in cuts.items()
                if judged.true[own].any() and not judged.true[own].all()
            }
        )
        if not seed:
            found["differences"] = {
                part: {
                    ours: differences(
                        {name: one[own] for name, one in every.items()}, judged.true[own], ours, resamples=resamples
                    )
                    for ours in (OURS, "ConceptScore")
                }
                for part, own in parts.items()
            }
    return found


def table(found: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    every = found["seeds"]
    titles = {part: f"{part} ({size:,})" for part, (size, _) in found["sizes"].items()}
    titles |= {name: f"{name} ({size:,})" for name, size in found["classes"].items() if name in every[0]}
    lines = [
        ["row", *(f"AUC, {title}" for title in titles.values()), *(f"ours above, {one}" for one in found["sizes"])]
    ]
    for name in every[0]["all"]:
        line = [name, *(middle([one[part][name] for one in every], 3) for part in titles)]
        for part in found["sizes"]:
            gap = found["differences"][part][OURS].get(name)
            line.append(
                "" if gap is None else f"{gap['above']:+.3f} [{gap['interval'][0]:+.3f}, {gap['interval'][1]:+.3f}]"
            )
        lines.append(line)
    shares = ", ".join(f"{100 * true / size:.1f} % of {part}" for part, (size, true) in found["sizes"].items())
    return markdown(lines) + (
        f"\n\n{found['known']:,} known triples; plausible are {shares}; {len(every)} seeds, "
        f"{found['resamples']:,} resamples."
    )
