"""What tests of several rooms share."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]

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


@pytest.fixture(scope="session")
def other_process() -> Callable[..., subprocess.Popen[bytes]]:
    """Start a function of a test module, with arguments that JSON can spell, in a Python process of its own."""
    # kgneg comes first: the folder kgneg/ at the root must not be taken for the package
    code = (
        "import importlib, json, sys, kgneg; sys.path.append(sys.argv[1]); "
        "getattr(importlib.import_module(sys.argv[2]), sys.argv[3])(*json.loads(sys.argv[4]))"
    )

    def start(function: Callable[..., Any], *arguments: Any) -> subprocess.Popen[bytes]:
        names = [str(ROOT), function.__module__, function.__qualname__, json.dumps(arguments)]
        return subprocess.Popen([sys.executable, "-P", "-c", code, *names])

    return start
