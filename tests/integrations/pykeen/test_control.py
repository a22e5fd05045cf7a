"""Budgets of false negatives, measured on triples that no sampler has seen."""

from __future__ import annotations

import inspect
import math
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import torch
from pykeen.datasets import UMLS, Nations
from pykeen.datasets.base import Dataset
from pykeen.triples import CoreTriplesFactory

from kgneg.core.errors import InvalidInputError
from kgneg.core.plausibility import PlausibilityCeiling, TruthPrior, budget, prior
from kgneg.core.queries import Queries
from kgneg.integrations.pykeen import (
    SAMPLERS,
    DynamicNegativeSampler,
    KgnegBernoulliNegativeSampler,
    KgnegNegativeSampler,
    KgnegUniformNegativeSampler,
    LemonNegativeSampler,
    MixtureNegativeSampler,
    NSCachingNegativeSampler,
    TypedNegativeSampler,
    control,
)
from kgneg.integrations.pykeen.setup import Setup

Make = Callable[..., KgnegNegativeSampler]
WITHOUT = (KgnegUniformNegativeSampler, KgnegBernoulliNegativeSampler)
CONTROLLED = [sampler for sampler in SAMPLERS if sampler not in WITHOUT]
every_controlled = pytest.mark.parametrize("sampler", CONTROLLED, ids=lambda sampler: sampler.display_name)


@pytest.fixture(autouse=True)
def fewer_positives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be content with less exact rates, which are stricter ones: a standard error counts as well."""
    monkeypatch.setattr(budget, "_DRAWN", 48_000)
    monkeypatch.setattr(budget, "_OF_PROPOSALS", 1 << 16)
    monkeypatch.setattr(prior, "_NEGATIVES", 200_000)


def held_out_rate(sampler: KgnegNegativeSampler, dataset: Dataset) -> float:
    """Return the share of validation and test triples among negatives."""
    training = dataset.training
    table = torch.zeros(training.num_entities, training.num_relations, training.num_entities, dtype=torch.bool)
    for factory in (dataset.validation, dataset.testing):
        table[tuple(factory.mapped_triples.unbind(-1))] = True
    negatives = sampler.corrupt_batch(training.mapped_triples)
    return float(table[tuple(negatives.reshape(-1, 3).unbind(-1))].double().mean())


def ratio(make: Make, sampler: type[KgnegNegativeSampler], dataset: Dataset, **options: Any) -> float:
    """Return the rate relative to uniform negatives of both ends with the same filter."""
    common = {"num_negs_per_pos": 16, "seed": 0}
    same = {name: options[name] for name in ("filtered",) if name in options}
    uniform = make(KgnegUniformNegativeSampler, dataset.training, **common, **same)
    built = make(sampler, dataset.training, **(common | options))
    return held_out_rate(built, dataset) / held_out_rate(uniform, dataset)


def test_a_budget_is_kept_on_umls(umls: UMLS, make: Make) -> None:
    assert ratio(make, TypedNegativeSampler, umls) > 2
    ratios = [ratio(make, TypedNegativeSampler, umls, fn_budget=number) for number in (1.5, 3.0, 1e6)]
    assert ratios[0] < 1.5 * 1.15
    assert ratios[1] < 3.0 * 1.15
    assert ratios[0] < ratios[1] < ratios[2]
    assert ratios[2] == ratio(make, TypedNegativeSampler, umls)  # no ceiling, and the same draws


def test_a_budget_is_kept_on_nations(nations: Nations, make: Make) -> None:
    free = ratio(make, TypedNegativeSampler, nations)
    assert free > 1.2
    assert ratio(make, TypedNegativeSampler, nations, fn_budget=1.1) < min(1.1 * 1.15, free)


@pytest.mark.parametrize(
    "options", [{"filtered": False}, {"sides": "alternate"}, {"sides": "single"}, {"sides": "bernoulli"}], ids=str
)
def test_other_ways_to_draw(umls: UMLS, make: Make, options: dict[str, Any]) -> None:
    assert ratio(make, TypedNegativeSampler, umls, fn_budget=1.5, **options) < 1.5 * 1.2


def test_a_budget_is_kept_with_inverse_triples(make: Make) -> None:
    """The inverse of a hidden triple must not give it away."""
    umls = UMLS(create_inverse_triples=True)
    held_out = torch.cat([part.mapped_triples for part in (umls.validation, umls.testing)])
    turned = held_out.flip(-1) * torch.tensor([1, 2, 1]) + torch.tensor([0, 1, 0])
    true = torch.zeros(umls.training.num_entities, umls.training.num_relations, umls.training.num_entities).bool()
    true[tuple((held_out * torch.tensor([1, 2, 1])).unbind(-1))] = True
    true[tuple(turned.unbind(-1))] = True
    known = umls.training._add_inverse_triples_if_necessary(umls.training.mapped_triples)
    rates = []
    for sampler, options in ((KgnegUniformNegativeSampler, {}), (TypedNegativeSampler, {"fn_budget": 1.5})):
        built = make(sampler, umls.training, num_negs_per_pos=16, seed=0, **options)
        drawn = built.corrupt_batch(known).reshape(-1, 3)
        rates.append(float(true[tuple(drawn.unbind(-1))].double().mean()))
    assert rates[1] < 1.5 * 1.15 * rates[0]


def test_larger_budgets_let_more_pass(umls: UMLS, make: Make) -> None:
    points = []
    for number in (1, 2.0, 100):
        point = make(TypedNegativeSampler, umls.training, fn_budget=number).operating_point
        assert point is not None
        assert point.upper <= number or point.share == 0
        points.append(point)
    shares = [point.share for point in points]
    assert shares == sorted(shares)
    assert shares[0] < shares[2] == 1
    assert make(TypedNegativeSampler, umls.training).operating_point is None


@every_controlled
def test_every_sampler_takes_a_budget(sampler: type[KgnegNegativeSampler], nations: Nations, make: Make) -> None:
    assert "fn_budget" in inspect.signature(sampler).parameters
    built = make(sampler, nations.training, fn_budget=1.2, num_negs_per_pos=4, seed=0)
    assert built.operating_point is not None
    assert 0 <= built.operating_point.share <= 1
    assert any(isinstance(part, PlausibilityCeiling) for part in built.corruptor.modules())
    known = {tuple(row) for row in nations.training.mapped_triples.tolist()}
    drawn = built.corrupt_batch(nations.training.mapped_triples)
    assert drawn.shape == (len(nations.training.mapped_triples), 4, 3)
    assert not known & {tuple(row) for row in drawn.reshape(-1, 3).tolist()}


@pytest.mark.parametrize("sampler", WITHOUT)
def test_uniform_ones_do_not(sampler: type[KgnegNegativeSampler], nations: Nations, make: Make) -> None:
    with pytest.raises(TypeError, match="fn_budget"):
        make(sampler, nations.training, fn_budget=2.0)


@every_controlled
@pytest.mark.parametrize("number", [0.5, math.nan, math.inf, True, "2"])
def test_what_is_no_budget(sampler: type[KgnegNegativeSampler], nations: Nations, make: Make, number: Any) -> None:
    with pytest.raises(InvalidInputError, match="fn_budget must be a finite number of at least 1"):
        make(sampler, nations.training, fn_budget=number)


def test_no_negative_lies_above_the_ceiling(umls: UMLS, make: Make) -> None:
    built = make(TypedNegativeSampler, umls.training, fn_budget=1.5, num_negs_per_pos=8, seed=0)
    [ceiling] = built.corruptor.constraints
    assert isinstance(ceiling, PlausibilityCeiling)
    assert math.isfinite(ceiling.limit)
    drawn = built.draw(umls.training.mapped_triples)
    queries = Queries.from_triples(drawn.positives[:, None].expand_as(drawn.triples).reshape(-1, 3),
                                   drawn.side.reshape(-1).long())  # fmt: skip
    logits = ceiling.prior.logits(queries, drawn.entity.reshape(-1, 1)).view(drawn.entity.shape)
    assert (logits <= ceiling.limit + 1e-4)[~drawn.fallback].all()
    # the share of proposals below the ceiling is what was found on the graph with hidden triples
    point = built.operating_point
    assert point is not None
    free = make(TypedNegativeSampler, umls.training, num_negs_per_pos=8, seed=1)
    ceiling.set_limit(math.inf)
    logits = budget.proposal_logits(free.corruptor, umls.training.mapped_triples, ceiling.prior)
    sampler = make(TypedNegativeSampler, umls.training, fn_budget=1.5)
    [ceiling] = sampler.corruptor.constraints
    assert float((logits <= ceiling.limit).double().mean()) == pytest.approx(point.share, abs=0.02)


def test_mixtures_with_a_budget(umls: UMLS, make: Make) -> None:
    """The ceiling binds the mixture as a whole."""
    options = {"components": "typed=1,lemon=1", "components_kwargs": {"lemon": {"encoder": "lexical"}}}
    assert ratio(make, MixtureNegativeSampler, umls, **options) > 1.5
    assert ratio(make, MixtureNegativeSampler, umls, fn_budget=1.3, **options) < 1.3 * 1.15
    typed = {"components": "typed=1", "components_kwargs": {"typed": {"fn_budget": 1.5}}}
    with pytest.raises(InvalidInputError, match="fn_budget of typed belongs to the mixture as a whole"):
        make(MixtureNegativeSampler, umls.training, **typed)


@pytest.mark.parametrize("sampler", [DynamicNegativeSampler, NSCachingNegativeSampler])
def test_samplers_that_look_at_a_model(sampler: type[KgnegNegativeSampler], umls: UMLS, make: Make) -> None:
    """With the prior in the place of the model, which is the hardest that it could be."""
    found = []
    for number in (None, 1.5):
        built: Any = make(sampler, umls.training, num_negs_per_pos=16, seed=0, fn_budget=number)
        prior = control.truth_prior(Setup(umls.training.mapped_triples, 135, 46))
        built.attach_model(prior.logits)
        uniform = make(KgnegUniformNegativeSampler, umls.training, num_negs_per_pos=16, seed=0)
        found.append(held_out_rate(built, umls) / held_out_rate(uniform, umls))
    assert found[1] < 1.5 * 1.2
    assert found[0] > 1.5 * found[1] or sampler is NSCachingNegativeSampler  # whose caches hold a third of UMLS


def test_a_model_is_still_needed(nations: Nations) -> None:
    training = nations.training
    built = DynamicNegativeSampler(mapped_triples=training.mapped_triples, fn_budget=2.0)
    with pytest.raises(InvalidInputError, match="training_loop"):
        built.corrupt_batch(training.mapped_triples)


def test_nothing_that_could_be_met(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    chain = torch.tensor([[2 * number, number % 3, 2 * number + 1] for number in range(40)])
    factory = CoreTriplesFactory(chain, num_entities=80, num_relations=3)
    built = TypedNegativeSampler(
        mapped_triples=factory.mapped_triples, num_entities=80, num_relations=3, fn_budget=1.0, seed=0
    )
    assert "no hidden triple can be met" in caplog.text
    assert built.operating_point is not None
    assert built.operating_point.share == 1
    free = TypedNegativeSampler(mapped_triples=factory.mapped_triples, num_entities=80, num_relations=3, seed=0)
    assert torch.equal(built.corrupt_batch(chain), free.corrupt_batch(chain))


def test_what_was_found_is_kept(
    nations: Nations, make: Make, fresh_memory: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyKEEN constructs a sampler several times per run."""
    searches, fits = [], []
    find, fit = control.find_operating_point, TruthPrior.fit_planted.__func__
    monkeypatch.setattr(control, "find_operating_point", lambda *a, **k: searches.append(a[3]) or find(*a, **k))
    monkeypatch.setattr(TruthPrior, "fit_planted", classmethod(lambda *a, **k: fits.append(1) or fit(*a, **k)))

    def point(**options: Any) -> Any:
        return make(TypedNegativeSampler, nations.training, fn_budget=1.2, **options).operating_point

    first = point(seed=1)
    assert point(seed=2) == first
    assert searches == [1.2]
    point(sides="single")
    point(filtered=False)
    point(num_negs_per_pos=5)  # some methods choose among what they draw for a positive
    make(TypedNegativeSampler, nations.training, fn_budget=1.3)
    make(LemonNegativeSampler, nations.training, fn_budget=1.3)
    assert len(searches) == 6
    array = torch.randn(14, 4, generator=torch.Generator().manual_seed(0)).numpy()
    for vectors in (array, array.copy(), array + 1):
        make(LemonNegativeSampler, nations.training, fn_budget=1.3, vectors=vectors)
    assert len(searches) == 8
    assert len(fits) == 1


def test_draws_and_streams(nations: Nations, make: Make) -> None:
    state = torch.get_rng_state()
    first, again, other = (make(TypedNegativeSampler, nations.training, fn_budget=1.2, seed=seed) for seed in (1, 1, 2))
    triples = nations.training.mapped_triples
    drawn = [built.corrupt_batch(triples) for built in (first, again, other)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.slow
def test_two_processes_agree(python: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    program = """
import hashlib, torch
from pykeen.datasets import Nations
from pykeen.sampling import negative_sampler_resolver as resolver
torch.set_num_threads(1)
factory = Nations().training  # keeps the labels in memory
triples = factory.mapped_triples
for name, options in (("typed", dict(fn_budget=1.2)), ("lemon+", dict(encoder="lexical", curriculum=1.0))):
    sampler = resolver.make(name, options, mapped_triples=triples, num_negs_per_pos=4, seed=3)
    for _ in range(2):
        print(hashlib.sha256(sampler.corrupt_batch(triples).numpy().tobytes()).hexdigest())
"""
    found = [python("-c", program, PYTHONHASHSEED=seed) for seed in ("1", "2")]
    assert found[0].returncode == 0, found[0].stderr
    assert len(set(found[0].stdout.split())) == 4
    assert found[0].stdout == found[1].stdout
