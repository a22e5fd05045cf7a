"""What tests of several rooms share."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

WORDS = (
    "weld metal cut bend cook soup bake bread manage staff team zoo paint walls repair roofs we you are join pieces of "
    "steel make loaves hot oven lead people colour houses mend tiles the a and with king savanna roars"
)


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a sentence-transformers model with two small layers and weights that were never trained."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("tiny")
    letters = [chr(one) for one in range(ord("a"), ord("z") + 1)]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(re.findall(r"\w+", WORDS)), *letters]
    words += [f"##{letter}" for letter in letters]
    (folder / "vocab.txt").write_text("\n".join(dict.fromkeys(words)), encoding="utf-8")
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=24)
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
        bert = BertModel(config)
    bert.save_pretrained(folder / "bert")
    tokenizer.save_pretrained(folder / "bert")
    body = Transformer(str(folder / "bert"), max_seq_length=24)
    model = SentenceTransformer(modules=[body, Pooling(32)], device="cpu")
    model.save_pretrained(str(folder / "model"), create_model_card=False)
    return str(Path(folder, "model"))
