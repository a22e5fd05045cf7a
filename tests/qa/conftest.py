"""A small knowledge base, questions, and a masked language model that was never trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kgneg.datasets import KnowledgeGraph
from kgneg.qa import QuestionSet

TRIPLES = [
    ("PersonX bakes bread", "xWant", "to eat it"),
    ("PersonX bakes bread", "xWant", "to sell loaves"),
    ("PersonX bakes bread", "xAttr", "skilled"),
    ("PersonX bakes bread", "xAttr", "hungry"),
    ("PersonX leads the team", "xWant", "to manage staff"),
    ("PersonX leads the team", "xWant", "to lead PersonX's team"),
    ("PersonX leads the team", "xAttr", "strong"),
    ("PersonX leads the team", "oReact", "none"),
    ("PersonX welds metal for PersonY", "xWant", "to be paid by PersonY"),
    ("PersonX welds metal for PersonY", "xWant", "eat it."),
    ("PersonX welds metal for PersonY", "xAttr", "very skilled"),
    ("PersonX welds metal for PersonY", "xAttr", "brave"),
    ("PersonX paints _ again", "xWant", "to buy brushes"),
    ("PersonX paints _ again", "xWant", "to mend the roof"),
    ("PersonX paints _ again", "xAttr", "artistic"),
    ("PersonX paints _ again", "xAttr", "tidy"),
]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KGNEG_HOME", str(tmp_path / "home"))


@pytest.fixture
def graph() -> KnowledgeGraph:
    return KnowledgeGraph.from_labelled("toy", TRIPLES)


@pytest.fixture
def questions() -> QuestionSet:
    """Questions that can be learnt by heart, with two and three choices, and with a place for the answer."""
    rows = [
        ("Kim will weld metal and wanted to", ("join pieces of steel", "bake bread"), 0),
        ("Kim will bake bread and wanted to", ("join pieces of steel", "make loaves", "paint walls"), 1),
        ("Kim will lead the team {answer} with tiles", ("zoo", "manage staff"), 1),
        ("Kim will mend the houses and wanted to", ("repair roofs", "cook soup"), 0),
    ]
    asked, choices, labels = zip(*rows, strict=True)
    return QuestionSet(asked, choices, torch.tensor(labels))


@pytest.fixture(scope="session")
def tiny_language_model(tiny_encoder: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a masked language model with two small layers."""
    from transformers import AutoTokenizer, BertConfig, BertForMaskedLM

    folder = tmp_path_factory.mktemp("masked")
    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=24,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = BertForMaskedLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
