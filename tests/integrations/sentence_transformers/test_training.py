"""Fine-tuning by the trainer of sentence-transformers."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from kgneg.core.errors import DivergedError, InvalidInputError
from kgneg.integrations.sentence_transformers import AllEntitiesLoss, LengthBatches, SampledEntitiesLoss, fine_tune
from kgneg.samplers import UniformCorruptor
from kgneg.samplers.pairs import pair_options

pytest.importorskip("accelerate")

SKILLS = ["weld metal", "cook soup", "paint walls", "manage staff"]
TEXTS = ["join pieces of steel", "hot pieces", "colour houses", "lead people", "the king"]
QUERIES, ENTITIES = torch.tensor([0, 1, 2, 3]), torch.tensor([0, 1, 2, 3])


def tuned(name: str, **options: Any) -> tuple[SentenceTransformer, Any]:
    model = SentenceTransformer(name, device="cpu")
    corruptor = UniformCorruptor(**pair_options(QUERIES, ENTITIES, num_queries=5, num_entities=4), seed=0)
    loss = SampledEntitiesLoss(model, SKILLS, corruptor, QUERIES, ENTITIES, n=2)
    report = fine_tune(
        model, loss, TEXTS, QUERIES, ENTITIES, **{"steps": 6, "batch_size": 2, "progress": False, "lr": 1e-3} | options
    )
    return model, report


def tokens_of(model: Any, texts: list[str]) -> Any:
    return (getattr(model, "preprocess", None) or model.tokenize)(texts)


def weights(model: SentenceTransformer) -> torch.Tensor:
    return torch.cat([one.detach().flatten() for one in model.parameters()])


def test_it_learns(tiny_encoder: str) -> None:
    model, report = tuned(tiny_encoder, steps=60, batch_size=4, lr=3e-3)
    with torch.no_grad():
        texts, skills = (torch.from_numpy(model.encode(some)) for some in (TEXTS[:4], SKILLS))
    assert (texts @ skills.T).argmax(-1).tolist() == [0, 1, 2, 3]
    assert report.losses[-1] < report.losses[0] and report.steps == 60 and not report.truncated
    assert not model.training


def test_same_seed_same_weights_and_global_streams_kept(tiny_encoder: str) -> None:
    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    first, _ = tuned(tiny_encoder, seed=3)
    assert states[0] == random.getstate() and (states[1] == np.random.get_state()[1]).all()
    assert torch.equal(states[2], torch.get_rng_state())
    second, _ = tuned(tiny_encoder, seed=3)
    other, _ = tuned(tiny_encoder, seed=4)
    assert torch.equal(weights(first), weights(second)) and not torch.equal(weights(first), weights(other))


def test_an_interrupted_training_goes_on(tiny_encoder: str, tmp_path: Path) -> None:
    whole, _ = tuned(tiny_encoder, steps=8)

    class StopError(Exception):
        pass

    def stop(step: int) -> None:
        if step == 4:
            raise StopError

    with pytest.raises(StopError):
        tuned(tiny_encoder, steps=8, folder=tmp_path / "state", every=2, on_every=stop)
    assert list((tmp_path / "state").glob("checkpoint-*"))
    seen: list[int] = []
    again, _ = tuned(tiny_encoder, steps=8, folder=tmp_path / "state", every=2, on_every=seen.append)
    assert seen == [4, 6]
    torch.testing.assert_close(weights(again), weights(whole))


def test_only_the_last_layers_are_trained(tiny_encoder: str) -> None:
    before = {name: one.clone() for name, one in SentenceTransformer(tiny_encoder, device="cpu").named_parameters()}
    model, _ = tuned(tiny_encoder, trainable_layers=1)
    changed = {name for name, one in model.named_parameters() if not torch.equal(one, before[name])}
    assert changed and all("layer.1." in name for name in changed)
    assert all(one.requires_grad for one in model.parameters())
    with pytest.raises(InvalidInputError, match=r"trainable_layers must be in \[1, 2\]"):
        tuned(tiny_encoder, trainable_layers=3)


def test_long_texts_are_counted(tiny_encoder: str, caplog: pytest.LogCaptureFixture) -> None:
    model, report = tuned(tiny_encoder, max_length=5)
    assert (report.truncated, report.limit) == (1, 5)
    assert "1 of 5 texts are longer than the 5 word pieces" in caplog.text
    assert model.max_seq_length == 24


def test_refusals(tiny_encoder: str) -> None:
    with pytest.raises(InvalidInputError, match="steps"):
        tuned(tiny_encoder, steps=0)
    with pytest.raises(InvalidInputError, match="warmup must be a share"):
        tuned(tiny_encoder, warmup=2.0)
    with pytest.raises(DivergedError, match="the loss is no number"):
        tuned(tiny_encoder, lr=1e30, steps=10)


def test_batches_of_about_the_same_length() -> None:
    lengths = torch.randint(1, 60, (1000,), generator=torch.Generator().manual_seed(0)).tolist()
    made = LengthBatches(lengths, 16, seed=1)
    first = list(made)
    assert sorted(one for some in first for one in some) == list(range(1000)) and len(first) == len(made) == 63
    padded = sum(max(lengths[one] for one in some) * len(some) for some in first)
    assert padded < 1.15 * sum(lengths)
    assert first == list(made)
    made.set_epoch(1)
    assert first != list(made)
    short = LengthBatches(lengths, 16, drop_last=True, seed=1)
    assert {len(some) for some in short} == {16} and len(list(short)) == len(short) == 62


def test_a_state_that_was_cut_off_is_passed_over(tiny_encoder: str, tmp_path: Path) -> None:
    def stop(step: int) -> None:
        if step == 4:
            raise KeyboardInterrupt

    whole, _ = tuned(tiny_encoder, steps=8)
    with pytest.raises(KeyboardInterrupt):
        tuned(tiny_encoder, steps=8, folder=tmp_path, every=2, on_every=stop)
    (tmp_path / "checkpoint-6").mkdir()
    (tmp_path / "checkpoint-6" / "config.json").write_text("{}", encoding="utf-8")
    again, _ = tuned(tiny_encoder, steps=8, folder=tmp_path, every=2)
    torch.testing.assert_close(weights(again), weights(whole))


def test_half_precision(tiny_encoder: str) -> None:
    model = SentenceTransformer(tiny_encoder, device="cpu").bfloat16()
    corruptor = UniformCorruptor(**pair_options(QUERIES, ENTITIES, num_queries=5, num_entities=4), seed=0)
    loss = SampledEntitiesLoss(model, SKILLS, corruptor, QUERIES, ENTITIES, n=2)
    features, labels = [tokens_of(model, TEXTS[:4])], torch.stack([QUERIES, ENTITIES], dim=-1)
    assert loss(features, labels).isfinite()
    table = AllEntitiesLoss(model, torch.randn(4, 32), QUERIES, ENTITIES)
    assert table(features, labels).isfinite()
