"""Rows with negatives for sentence-transformers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kgneg.core.candidates import CandidateIndex
from kgneg.core.encode import bundled_model
from kgneg.core.errors import InvalidInputError
from kgneg.integrations.sentence_transformers import training_rows
from kgneg.samplers import TaxonomyCorruptor, UniformCorruptor
from kgneg.samplers.pairs import pair_options, pair_triples

SKILLS = ["weld metal", "cut metal", "bend metal", "cook soup", "bake bread"]
SENTENCES = ["you weld and cut", "you cook"]
QUERIES, ENTITIES = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 3])
SIBLINGS = CandidateIndex.from_lists([[1, 2], [0, 2], [0, 1], [4], [3]], num_columns=5)


def options() -> dict[str, Any]:
    return pair_options(QUERIES, ENTITIES, num_queries=2, num_entities=5)


def test_siblings_that_the_sentence_does_not_have() -> None:
    corruptor = TaxonomyCorruptor({"sibling": SIBLINGS, "random": None}, seed=0, **options())
    rows = training_rows(corruptor, SENTENCES, SKILLS, QUERIES, ENTITIES, 4)
    assert rows.column_names == ["anchor", "positive", "negative_1", "negative_2", "negative_3", "negative_4"]
    assert [rows[0][name] for name in ("anchor", "positive")] == ["you weld and cut", "weld metal"]
    for row in rows:
        known = {SKILLS[one] for one in ENTITIES[SENTENCES.index(row["anchor"]) == QUERIES].tolist()}
        assert not known & {row[f"negative_{slot}"] for slot in range(1, 5)}
    assert {rows[0]["negative_1"], rows[0]["negative_2"]} == {"bend metal"}  # the other sibling is in the sentence
    assert {rows[2]["negative_1"], rows[2]["negative_2"]} == {"bake bread"}


def test_the_same_seed_gives_the_same_rows() -> None:
    def rows(seed: int) -> Any:
        corruptor = TaxonomyCorruptor({"random": None}, **options())
        generator = torch.Generator().manual_seed(seed)
        return training_rows(corruptor, SENTENCES, SKILLS, QUERIES, ENTITIES, 8, generator=generator).to_dict()

    assert rows(1) == rows(1) != rows(2)


def test_the_trainer_takes_them(tmp_path: Any) -> None:
    pytest.importorskip("accelerate")
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.losses import MultipleNegativesRankingLoss

    folder = bundled_model()
    if folder is None:
        pytest.skip("the bundled model is not installed")
    model = SentenceTransformer(folder, device="cpu")
    corruptor = TaxonomyCorruptor({"sibling": SIBLINGS, "random": None}, seed=0, **options())
    rows = training_rows(corruptor, SENTENCES, SKILLS, QUERIES, ENTITIES, 2)
    settings = SentenceTransformerTrainingArguments(
        output_dir=str(tmp_path), num_train_epochs=1, per_device_train_batch_size=3, report_to="none",
        save_strategy="no", disable_tqdm=True, use_cpu=True,
    )  # fmt: skip
    trainer = SentenceTransformerTrainer(
        model=model, args=settings, train_dataset=rows, loss=MultipleNegativesRankingLoss(model)
    )
    assert trainer.train().training_loss > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"anchors": ["a"]}, "1 anchors and 5 texts do not fit a corruptor for 2 queries and 5 entities"),
        ({"anchors": ["a", " "]}, "anchor 1 is blank"),
        ({"texts": ["a", "b", "", "d", "e"]}, "text 2 is blank"),
        ({"corruptor": UniformCorruptor(num_entities=5, num_relations=2)}, "side policy is 'uniform'"),
        ({"queries": torch.tensor([0])}, "vectors of one length"),
        ({"n": 0}, "n must"),
    ],
)
def test_refusals(change: dict[str, Any], message: str) -> None:
    given = {
        "corruptor": UniformCorruptor(**options()), "anchors": SENTENCES, "texts": SKILLS,
        "queries": QUERIES, "entities": ENTITIES, "n": 2, **change,
    }  # fmt: skip
    with pytest.raises(InvalidInputError, match=message):
        training_rows(**given)


def test_pairs_out_of_range() -> None:
    with pytest.raises(InvalidInputError):
        pair_options(torch.tensor([2]), torch.tensor([0]), num_queries=2, num_entities=5)
    assert pair_triples(QUERIES, ENTITIES).tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 3]]
