from __future__ import annotations

from typing import Any

import pytest
import torch

from kgneg.compare import CompareData, SamplerChoice, falsehood, load_data
from kgneg.compare.falsehood import count_true, make_sampler


@pytest.fixture(scope="module")
def data() -> CompareData:
    return load_data("nations")


def count(text: str, data: CompareData, **changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {"negatives": 7, "at_least": 10_000, "seed": 0, **changes}
    return count_true(SamplerChoice.parse(text), data, **arguments)


def test_against_brute_force(data: CompareData, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    make = falsehood.make_sampler

    def watched(*args: Any) -> Any:
        sampler = make(*args)
        original = sampler.sample

        def sample(positive_batch: torch.Tensor) -> Any:
            triples, mask = original(positive_batch)
            drawn.append((triples, mask))
            return triples, mask

        sampler.sample = sample
        return sampler

    monkeypatch.setattr(falsehood, "make_sampler", watched)
    monkeypatch.setattr(falsehood, "_MAX_DRAW", 2500)
    found = count("bernoulli:filtered=true", data)
    assert len(drawn) > 3, "several batches"
    train = set(map(tuple, data.training.mapped_triples.tolist()))
    held_out = set(map(tuple, data.held_out.tolist())) - train
    kept = [
        tuple(triple)
        for triples, mask in drawn
        for triple, keep in zip(triples.reshape(-1, 3).tolist(), mask.reshape(-1).tolist(), strict=True)
        if keep
    ]
    assert found["drawn"] == sum(mask.numel() for _, mask in drawn) >= 10_000
    assert found["kept"] == len(kept) < found["drawn"]
    assert found["known"] == sum(triple in train for triple in kept)
    assert found["held_out"] == sum(triple in held_out for triple in kept) > 0
    assert found["held_out_per_10000"] == round(1e4 * found["held_out"] / len(kept), 4)
    assert found["incomplete_rows"] == sum(int((~mask.all(-1)).sum()) for _, mask in drawn) > 0
    assert found["fallback_share"] is None


def test_exact_samplers_draw_no_known_triple(data: CompareData) -> None:
    found = count("kgneg-uniform", data)
    assert (found["known"], found["incomplete_rows"], found["fallback_share"]) == (0, 0, 0.0)
    assert found["kept"] == found["drawn"]
    assert count("basic", data)["known"] > 2000


@pytest.mark.parametrize("text", ["basic", "kgneg-uniform", "lemon:encoder=lexical"])
def test_random_streams(text: str, data: CompareData) -> None:
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    first = count(text, data, at_least=1000)
    assert torch.equal(torch.rand(3), expected), "the global stream was moved"
    assert count(text, data, at_least=1000) == first, "a second draw with the same seed differs"
    assert count(text, data, at_least=1000, seed=1) != first


def test_nothing_kept(data: CompareData, monkeypatch: pytest.MonkeyPatch) -> None:
    class Nothing:
        def sample(self, positive_batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            triples = positive_batch[:, None].expand(-1, 7, 3)
            return triples, torch.zeros(triples.shape[:-1], dtype=torch.bool)

    monkeypatch.setattr(falsehood, "make_sampler", lambda *_: Nothing())
    found = count("basic", data, at_least=10)
    assert (found["drawn"], found["kept"], found["known"], found["known_per_10000"]) == (14, 0, 0, None)


def test_more_negatives_than_triples_can_give_at_once(data: CompareData) -> None:
    found = count("kgneg-uniform", data, negatives=1, at_least=4000)
    assert found["drawn"] == 4000


def test_a_sampler_as_training_left_it(data: CompareData) -> None:
    choice = SamplerChoice.parse("dynamic:ceiling=-100,pool=9")
    sampler = make_sampler(choice, data, 7)
    sampler.attach_model(lambda queries, ids: torch.sin(queries.kept[:, None] + 13.0 * ids))
    positives = data.training.mapped_triples
    sampler.sample(positive_batch=positives)
    assert sampler.report()["fallback"] == 7 * len(positives)
    sampler.corruptor.screen.ceiling = None
    found = count_true(choice, data, negatives=7, at_least=5000, seed=0, sampler=sampler)
    assert found["fallback_share"] < 0.3, "of its own draws"
    assert sampler.report()["drawn"] == 7 * len(positives) + found["drawn"]
    assert count("kgneg-uniform", data)["fallback_share"] == 0.0
