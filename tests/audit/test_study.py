from __future__ import annotations

import math
import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from pykeen.sampling import NegativeSampler

from kgneg.audit import AuditData, AuditSettings, audit, study
from kgneg.compare import CompareData, load_data
from kgneg.core.errors import InvalidInputError


def settings(*samplers: Any, **changes: Any) -> AuditSettings:
    arguments = {"dataset": "nations", "negatives": 7, "draws": 12_000, "reference_epochs": 2, **changes}
    return AuditSettings(samplers=samplers, **arguments)


class Odd:
    """Replaces either end, both, or nothing, and masks some."""

    def __init__(self) -> None:
        self.drawn: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def __call__(self, positives: torch.Tensor, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        triples = positives[:, None].repeat(1, n, 1)
        for column, size in ((0, 14), (1, 55), (2, 14)):
            chosen = torch.rand(triples.shape[:-1]) < (0.1 if column == 1 else 0.5)
            triples[..., column][chosen] = torch.randint(size, (int(chosen.sum()),))
        mask = torch.rand(triples.shape[:-1]) < 0.8
        self.drawn.append((positives, triples, mask))
        return triples, mask


def test_against_brute_force(nations: AuditData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "_MAX_DRAW", 3000)
    odd = Odd()
    result = audit(settings(("odd", odd)), data=nations, progress=False)
    row = result.sampler("odd")
    assert len(odd.drawn) > 3, "several batches"
    train, valid, test = (
        {tuple(triple) for triple in one.mapped_triples.tolist()}
        for one in (nations.training, nations.triples.validation, nations.triples.testing)
    )
    slots: dict[int, set[Any]] = {}
    for h, r, t in train:
        slots.setdefault(h, set()).add((r, 0))
        slots.setdefault(t, set()).add((r, 2))
    count: Counter[str] = Counter()
    entities: Counter[int] = Counter()
    found: Counter[Any] = Counter()
    relations: dict[int, Counter[str]] = {}
    for positives, negatives, mask in odd.drawn:
        for positive, triples, kept in zip(positives.tolist(), negatives.tolist(), mask.tolist(), strict=True):
            earlier = set()
            count["incomplete_rows"] += not all(kept)
            own = relations.setdefault(positive[1], Counter())
            for triple, keep in zip(map(tuple, triples), kept, strict=True):
                count["drawn"] += 1
                if not keep:
                    continue
                changed = tuple(a != b for a, b in zip(triple, positive, strict=True))
                held_out = triple not in train and triple in valid | test
                kind = {(True, False, False): "head", (False, False, True): "tail", (False,) * 3: "same"}
                names = ["kept", kind.get(changed, "other")]
                names += ["train"] * (triple in train) + ["valid"] * (triple in valid) + ["test"] * (triple in test)
                names += ["train_valid"] * (triple in train | valid) + ["held_out"] * held_out
                names += ["false"] * (triple not in train | valid | test) + ["repeated"] * (triple in earlier)
                for end in (0, 2):
                    entities[triple[end]] += changed[end]
                    if changed == (end == 0, False, end == 2):
                        names += ["one_end"]
                        names += ["shares_type"] * bool(slots[triple[end]] & slots[positive[end]])
                        names += ["fits_slot"] * ((triple[1], end) in slots[triple[end]])
                found[triple] += held_out
                earlier.add(triple)
                count.update(names)
                own.update(names)
    counts = row["counts"]
    assert {name: value for name, value in counts.items() if name != "hard"} == {
        name: count[name] for name in counts if name != "hard"
    }
    assert all(count[name] for name in counts if name != "hard")
    for name in ("train", "train_valid", "valid", "test", "held_out"):
        assert row["rates"][name]["share"] == pytest.approx(count[name] / count["kept"], rel=1e-5)
    filtered = row["rates"]["held_out_filtered"]["share"]
    assert filtered == pytest.approx(count["held_out"] / (count["kept"] - count["train"]), rel=1e-5)
    uniform = result.sampler("kgneg-uniform")["rates"]["held_out"]["share"]
    assert row["held_out_ratio"]["ratio"] == pytest.approx(filtered / uniform, rel=1e-5)
    assert row["masked"]["share"] == pytest.approx(1 - count["kept"] / count["drawn"], rel=1e-5)
    shares = np.array([value for value in entities.values() if value]) / sum(entities.values())
    assert row["entities"]["effective"] == pytest.approx(math.exp(-(shares * np.log(shares)).sum()), rel=1e-5)
    assert row["types"]["fits_slot"]["share"] == pytest.approx(count["fits_slot"] / count["one_end"], rel=1e-5)
    hits = [value for value in found.values() if value]
    seen = row["held_out_seen"]
    assert (seen["hits"], seen["distinct"], seen["once"]) == (sum(hits), len(hits), hits.count(1))
    for line in row["relations"]:
        own = relations[nations.training.relation_to_id[line["relation"]]]
        assert line["kept"] == own["kept"]
        assert line["train"] == pytest.approx(own["train"] / own["kept"], rel=1e-5)
        assert line["held_out"] == pytest.approx(own["held_out"] / own["kept"], rel=1e-5)
    assert len(row["relations"]) == len(relations)


def test_hardness_and_examples(nations: AuditData) -> None:
    from pykeen.models import DistMult

    torch.manual_seed(0)
    model = DistMult(triples_factory=nations.training, embedding_dim=8, random_seed=0)
    odd = Odd()
    result = audit(settings(("odd", odd), examples=5), data=nations, model=model, progress=False)
    row = result.sampler("odd")
    with torch.no_grad():
        positives = model.score_hrt(nations.train).view(-1)
        triples = torch.cat([triples[mask] for _, triples, mask in odd.drawn])
        scores = model.score_hrt(triples).view(-1)
    known = {tuple(one) for one in nations.train.tolist()}
    held_out = {tuple(one) for one in nations.held_out.tolist()}
    true = torch.tensor([tuple(one) in known | held_out for one in triples.tolist()])
    threshold = float(np.quantile(positives.numpy(), 0.05))
    assert row["hardness"]["hard"]["total"] == int((~true).sum())
    assert row["hardness"]["hard"]["count"] == int((scores[~true] > threshold).sum())
    middle = float(np.quantile(scores[~true].numpy(), 0.5))
    assert row["hardness"]["score_quantiles"]["0.5"] == pytest.approx(middle, rel=1e-4)
    below = float((positives < middle).float().mean())
    assert row["hardness"]["place_quantiles"]["0.5"] == pytest.approx(below, abs=2e-3)
    for name, chosen in (("unknown", ~true), ("held_out", [tuple(one) in held_out for one in triples.tolist()])):
        rows = triples[torch.as_tensor(chosen)].unique(dim=0)
        with torch.no_grad():
            order = model.score_hrt(rows).view(-1).sort(descending=True)
        examples = row["examples"][name]
        assert [one["score"] for one in examples] == pytest.approx(order.values[:5].tolist(), rel=1e-4)
        assert examples[0]["ids"] == rows[order.indices[0]].tolist()
        head, relation, tail = examples[0]["ids"]
        labels = nations.training
        assert examples[0]["words"][0] == labels.entity_id_to_label[head]
        assert examples[0]["words"][1] == labels.relation_id_to_label[relation].replace("_", " ").strip()
        assert examples[0]["words"][2] == labels.entity_id_to_label[tail]
    assert result.reference["given"] is True


def test_exact_uniform_draws(nations: AuditData) -> None:
    result = audit(settings("kgneg-uniform", "typed", negatives=8), data=nations, progress=False)
    assert [row["label"] for row in result.samplers] == ["kgneg-uniform", "typed"]
    assert all(row["asked"] for row in result.samplers)
    row = result.sampler("kgneg-uniform")
    assert (row["rates"]["train"]["count"], row["held_out_ratio"]["ratio"]) == (0, 1.0)
    assert row["sides"] == {"head": 0.5, "tail": 0.5, "same": 0.0, "other": 0.0}
    assert result.sampler("typed")["types"]["fits_slot"]["share"] > row["types"]["fits_slot"]["share"]


@pytest.mark.parametrize("sampler", ["basic", "pseudotyped", "mixture", "dynamic", "nscaching"])
def test_same_seed_same_results(sampler: str, nations: AuditData) -> None:
    torch.manual_seed(1)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    first = audit(settings(sampler, draws=2000), data=nations, progress=False)
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    assert after == before, "a global stream was moved"
    again = audit(settings(sampler, draws=2000), data=nations, progress=False)
    assert first.to_dict() == again.to_dict()
    assert first.to_csv() == again.to_csv()
    assert first.relations_csv() == again.relations_csv()
    other = audit(settings(sampler, draws=2000, seed=1), data=nations, progress=False)
    assert first.samplers != other.samplers


def test_an_instance_stays_as_it_is(nations: AuditData) -> None:
    from pykeen.sampling import negative_sampler_resolver

    arguments = {"mapped_triples": nations.train, "num_negs_per_pos": 3, **nations.sizes}
    sampler = negative_sampler_resolver.make("kgneg-uniform", {"seed": 5}, **arguments)
    first = audit(settings(("mine", sampler), draws=2000), data=nations, progress=False)
    second = audit(settings(("mine", sampler), draws=2000), data=nations, progress=False)
    assert first.samplers == second.samplers, "private streams begin anew"
    assert sampler.num_negs_per_pos == 3
    assert sampler.report()["drawn"] == 0
    assert first.sampler("mine")["counts"]["drawn"] == first.sampler("kgneg-uniform")["counts"]["drawn"]


def test_nothing_is_kept(nations: AuditData) -> None:
    def nothing(positives: torch.Tensor, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        return positives[:, None].repeat(1, n, 1), torch.zeros((len(positives), n), dtype=torch.bool)

    result = audit(settings(nothing, draws=100), data=nations, progress=False)
    row = result.sampler("nothing")
    assert row["masked"]["share"] == 1.0
    assert row["rates"]["train"]["share"] is None
    assert row["hardness"]["score_quantiles"] is None
    assert result.to_html()
    assert result.to_csv()


def test_nothing_is_held_out(nations: AuditData) -> None:
    data = CompareData("alone", nations.training, None, None)
    result = audit(settings("basic", draws=1000), data=data, progress=False)
    row = result.sampler("basic")
    assert (result.dataset["held_out"], result.reference["mrr"]) == (0, None)
    assert row["rates"]["held_out"]["share"] == 0.0
    assert row["unknown"]["share"] is None
    assert row["held_out_ratio"]["ratio"] is None
    assert result.to_html()


def test_failures_name_the_sampler(nations: AuditData) -> None:
    def broken(positives: torch.Tensor, n: int) -> torch.Tensor:
        raise RuntimeError("no luck")

    def flat(positives: torch.Tensor, n: int) -> torch.Tensor:
        return positives

    def far(positives: torch.Tensor, n: int) -> torch.Tensor:
        return positives[:, None].repeat(1, n, 1) + 1000

    def masked(positives: torch.Tensor, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        return positives[:, None].repeat(1, n, 1), torch.ones((len(positives), n))

    class Picky(NegativeSampler):  # type: ignore[misc]
        def __init__(self, **kwargs: Any) -> None:
            raise TypeError("never")

    for sampler, message in (
        (broken, "sampler broken: RuntimeError: no luck"),
        (flat, r"sampler flat: negatives must have shape \(b, n, 3\)"),
        (far, "sampler far: head entity id"),
        (masked, "sampler masked: the mask must be boolean"),
        (Picky, "sampler Picky: never"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            audit(settings(sampler, draws=500), data=nations, progress=False)


def test_the_name_of_the_baseline_is_taken(nations: AuditData) -> None:
    with pytest.raises(InvalidInputError, match="give another label"):
        audit(settings(("kgneg-uniform", Odd())), data=nations, progress=False)


def test_data_in_memory() -> None:
    from kgneg.datasets import load

    first = audit(settings("basic", draws=500), data=load("nations"), progress=False)
    second = audit(settings("basic", draws=500), data=load_data("nations"), progress=False)
    assert first.samplers == second.samplers


def test_a_weak_reference_is_told(nations: AuditData, caplog: pytest.LogCaptureFixture) -> None:
    from pykeen.models import DistMult

    model = DistMult(triples_factory=nations.training, embedding_dim=2, random_seed=0)
    result = audit(settings("basic", draws=1000), data=nations, model=model, progress=False)
    assert result.reference["separation"] < 0.2
    assert "hardly tells them apart" in caplog.text
    assert "so hardness says little" in result.to_html()
    caplog.clear()
    trained = audit(settings("basic", draws=1000, reference_epochs=50), data=nations, progress=False)
    assert trained.reference["separation"] > 0.2
    assert not caplog.text
    assert "so hardness says little" not in trained.to_html()
