"""What PyKEEN expects of a negative sampler, and what kgneg promises on top, for every registered sampler."""

from __future__ import annotations

import copy
import inspect
import pickle
import random
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from pykeen.datasets import UMLS, Nations
from pykeen.sampling import NegativeSampler, negative_sampler_resolver
from pykeen.sampling.filtering import BloomFilterer, PythonSetFilterer, filterer_resolver
from pykeen.triples import TriplesFactory

from kgneg.core.errors import InvalidInputError
from kgneg.integrations.pykeen import (
    SAMPLERS,
    ExactFilterer,
    KgnegBernoulliNegativeSampler,
    KgnegNegativeSampler,
    KgnegUniformNegativeSampler,
    TypedNegativeSampler,
)

Make = Callable[..., KgnegNegativeSampler]

every_sampler = pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.display_name)
ARGUMENTS = ("mapped_triples", "num_entities", "num_relations", "num_negs_per_pos", "filtered", "filterer")


def subclasses(cls: type) -> Iterator[type]:
    for child in cls.__subclasses__():
        yield child
        yield from subclasses(child)


def known_in(negatives: torch.Tensor, known: torch.Tensor, factory: TriplesFactory) -> int:
    """Count known triples by a table that has nothing in common with kgneg's own index."""
    entities, relations = factory.num_entities, factory.num_relations
    table = torch.zeros(entities, relations, entities, dtype=torch.bool)
    table[tuple(known.unbind(-1))] = True
    return int(table[tuple(negatives.reshape(-1, 3).unbind(-1))].sum())


def given_triples(factory: TriplesFactory) -> torch.Tensor:
    return factory._add_inverse_triples_if_necessary(factory.mapped_triples)


def both_ends(sampler: type[KgnegNegativeSampler]) -> dict[str, str]:
    """Return the option that replaces both ends of every positive, where the ends are an option."""
    return {} if sampler is KgnegBernoulliNegativeSampler else {"sides": "uniform"}


# Registration


def test_every_sampler_in_the_package_is_listed_and_registered() -> None:
    concrete = {cls for cls in subclasses(KgnegNegativeSampler) if cls.__module__.startswith("kgneg.")}
    assert concrete == set(SAMPLERS)
    assert len({sampler.display_name for sampler in SAMPLERS}) == len(SAMPLERS)
    for sampler in SAMPLERS:
        assert issubclass(sampler, NegativeSampler)
        assert negative_sampler_resolver.lookup(sampler.display_name) is sampler
        assert sampler.__name__.endswith("NegativeSampler")
    assert filterer_resolver.lookup("exact") is ExactFilterer


def test_names_of_pykeen_still_mean_its_own_samplers() -> None:
    for name in ("basic", "bernoulli", "pseudotyped"):
        assert negative_sampler_resolver.lookup(name).__module__.startswith("pykeen.")
    assert negative_sampler_resolver.lookup(None).__name__ == "BasicNegativeSampler"


@every_sampler
def test_the_constructor_names_every_argument(sampler: type[KgnegNegativeSampler]) -> None:
    parameters = inspect.signature(sampler).parameters
    assert {parameter.kind for parameter in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
    assert set(ARGUMENTS) | {"filterer_kwargs", "seed"} <= set(parameters)
    assert set(sampler.hpo_default) <= set(parameters)
    assert "num_negs_per_pos" in sampler.hpo_default
    assert sampler.__init__ is not KgnegNegativeSampler.__init__
    for name in parameters:
        assert f":param {name}:" in (sampler.__doc__ or ""), name
    assert sampler.citation


@every_sampler
def test_unknown_arguments_are_refused(sampler: type[KgnegNegativeSampler], nations: Nations, make: Make) -> None:
    with pytest.raises(TypeError, match="num_negatives"):
        make(sampler, nations.training, num_negatives=3)


@every_sampler
@pytest.mark.parametrize(
    ("name", "value"), [("num_negs_per_pos", 0), ("num_negs_per_pos", 1.5), ("filtered", "no"), ("seed", "x")]
)
def test_malformed_arguments_are_refused(
    sampler: type[KgnegNegativeSampler], nations: Nations, make: Make, name: str, value: object
) -> None:
    with pytest.raises(InvalidInputError, match=name):
        make(sampler, nations.training, **{name: value})


# What upstream tests for its own samplers


@every_sampler
@pytest.mark.parametrize("batch_shape", [(), (1,), (16,), (2, 3), (2, 1, 4)], ids=str)
@pytest.mark.parametrize("num_negatives", [None, 1, 2, 5])
def test_shapes_and_bounds(
    sampler: type[KgnegNegativeSampler],
    nations: Nations,
    make: Make,
    batch_shape: tuple[int, ...],
    num_negatives: int | None,
) -> None:
    factory = nations.training
    built = make(sampler, factory, num_negs_per_pos=num_negatives)
    n = 1 if num_negatives is None else num_negatives
    assert built.num_negs_per_pos == n
    rows = torch.randint(factory.num_triples, batch_shape, generator=torch.Generator().manual_seed(3))
    positives = factory.mapped_triples[rows]
    before = positives.clone()
    negatives = built.corrupt_batch(positive_batch=positives)
    assert negatives.shape == (*batch_shape, n, 3)
    assert negatives.dtype == torch.int64
    assert negatives.device == torch.device("cpu")
    assert not negatives.requires_grad
    assert torch.equal(positives, before)
    assert int(negatives.min()) >= 0
    assert int(negatives[..., [0, 2]].max()) < factory.num_entities
    assert int(negatives[..., 1].max()) < factory.num_relations
    assert torch.equal(negatives[..., 1], positives[..., 1, None].expand(negatives.shape[:-1]))
    changed = (negatives != positives.unsqueeze(-2)).sum(dim=-1)
    assert bool((changed == 1).all())
    assert negatives.view(-1, 3).shape == (rows.numel() * n, 3)
    again, mask = built.sample(positive_batch=positives)
    assert again.shape == negatives.shape
    assert mask is None


@every_sampler
@pytest.mark.parametrize(
    ("filterer", "kind"),
    [
        ("bloom", BloomFilterer),
        ("python-set", PythonSetFilterer),
        ("exact", ExactFilterer),
        (ExactFilterer, ExactFilterer),
    ],
)
def test_a_filterer_gives_a_mask(
    sampler: type[KgnegNegativeSampler], nations: Nations, make: Make, filterer: object, kind: type
) -> None:
    factory = nations.training
    positives = factory.mapped_triples[:24].view(4, 6, 3)
    for filtered in (True, False):
        built = make(sampler, factory, num_negs_per_pos=9, filtered=filtered, filterer=filterer, seed=1)
        assert isinstance(built.filterer, kind)
        negatives, mask = built.sample(positives)
        assert mask.shape == (4, 6, 9)
        assert mask.dtype == torch.bool
        kept = known_in(negatives[mask], factory.mapped_triples, factory)
        dropped = known_in(negatives[~mask], factory.mapped_triples, factory)
        assert kept == 0
        if kind is not BloomFilterer:
            assert dropped == int((~mask).sum())
        assert filtered is (dropped == 0)


@every_sampler
def test_filterer_arguments_arrive(sampler: type[KgnegNegativeSampler], nations: Nations, make: Make) -> None:
    built = make(sampler, nations.training, filterer="bloom", filterer_kwargs={"error_rate": 0.25})
    assert built.filterer.error_rate == 0.25


@every_sampler
def test_ids_of_any_integer_type_and_layout(sampler: type[KgnegNegativeSampler], nations: Nations, make: Make) -> None:
    positives = nations.training.mapped_triples[:8]
    expected = make(sampler, nations.training, num_negs_per_pos=4, seed=5).corrupt_batch(positives)
    strided = torch.stack([positives, positives], dim=1)[:, 0]
    transposed = positives.T.contiguous().T
    for other in (strided, transposed):
        assert torch.equal(make(sampler, nations.training, num_negs_per_pos=4, seed=5).corrupt_batch(other), expected)


# Exactness


@every_sampler
@pytest.mark.parametrize("inverse", [False, True], ids=["plain", "inverse"])
@pytest.mark.parametrize("dataset", [Nations, UMLS], ids=lambda dataset: dataset.__name__)
def test_no_negative_is_known(
    sampler: type[KgnegNegativeSampler], dataset: type[Nations], inverse: bool, make: Make
) -> None:
    factory = dataset(create_inverse_triples=inverse).training
    known = given_triples(factory)
    built = make(sampler, factory, num_negs_per_pos=6, seed=0, **both_ends(sampler))
    negatives = built.corrupt_batch(known)
    assert negatives.shape == (len(known), 6, 3)
    assert known_in(negatives, known, factory) == 0
    changed = negatives != known[:, None]
    assert bool((changed.sum(dim=-1) == 1).all())
    assert not changed[..., 1].any()
    report = built.report()
    assert report["drawn"] == negatives.numel() // 3
    assert {"drawn", "rejected", "fallback", "turned"} == set(report)
    if sampler is not KgnegBernoulliNegativeSampler and not report["turned"]:
        assert bool((changed[..., 0].sum(dim=-1) == 3).all())
        assert bool((changed[..., 2].sum(dim=-1) == 3).all())


@every_sampler
def test_both_ends_of_every_positive(sampler: type[KgnegNegativeSampler], umls: UMLS, make: Make) -> None:
    positives = umls.training.mapped_triples
    built = make(sampler, umls.training, num_negs_per_pos=7, seed=0, **both_ends(sampler))
    heads = (built.corrupt_batch(positives)[..., 0] != positives[:, None, 0]).sum(dim=-1)
    if sampler is KgnegBernoulliNegativeSampler:
        assert set(heads.unique().tolist()) >= {1, 2, 3, 4, 5, 6}
    else:
        assert not built.report()["turned"]
        assert set(heads.unique().tolist()) == {3, 4}
        assert abs(float(heads.float().mean()) - 3.5) < 0.05


@every_sampler
def test_unfiltered_draws_known_triples_too(sampler: type[KgnegNegativeSampler], nations: Nations, make: Make) -> None:
    factory = nations.training
    built = make(sampler, factory, num_negs_per_pos=6, filtered=False, seed=0)
    negatives, mask = built.sample(factory.mapped_triples)
    assert mask is None
    assert known_in(negatives, factory.mapped_triples, factory) > 20
    assert bool(((negatives != factory.mapped_triples[:, None]).sum(dim=-1) == 1).all())


def test_counts_are_inferred_from_the_triples(nations: Nations) -> None:
    built = KgnegUniformNegativeSampler(mapped_triples=nations.training.mapped_triples)
    assert (built.num_entities, built.num_relations) == (14, 55)
    assert built.corrupt_batch(nations.training.mapped_triples).shape == (1592, 1, 3)


def test_draw_tells_sides_and_checks_ids(nations: Nations, make: Make) -> None:
    built = make(TypedNegativeSampler, nations.training, num_negs_per_pos=4, seed=0)
    positives = nations.training.mapped_triples[:10]
    drawn = built.draw(positives)
    assert drawn.side.tolist() == [[0, 0, 2, 2]] * 10
    assert torch.equal(drawn.triples[..., 1], positives[:, None, 1].expand(10, 4))
    with pytest.raises(InvalidInputError, match="tail entity id 14"):
        built.draw(torch.tensor([[0, 0, 14]]))


# Randomness


def streams() -> tuple[object, ...]:
    state = np.random.get_state()
    return torch.get_rng_state().tolist(), state[1].tolist(), state[2:], random.getstate()


@every_sampler
def test_global_streams_are_left_alone(
    sampler: type[KgnegNegativeSampler],
    umls: UMLS,
    make: Make,
    fresh_memory: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: object,
) -> None:
    monkeypatch.setenv("KGNEG_HOME", str(tmp_path))  # everything is built in earnest
    before = streams()
    built = make(sampler, umls.training, num_negs_per_pos=5)
    assert streams() == before
    built.sample(umls.training.mapped_triples[:64])
    assert streams() == before
    torch.rand(1)
    assert streams() != before


@every_sampler
def test_seeds(sampler: type[KgnegNegativeSampler], umls: UMLS, make: Make) -> None:
    positives = umls.training.mapped_triples[:200]

    def draw(**kwargs: object) -> torch.Tensor:
        return make(sampler, umls.training, num_negs_per_pos=5, **kwargs).corrupt_batch(positives)

    torch.manual_seed(11)
    first = draw()
    torch.rand(100)
    assert torch.equal(draw(), first)
    torch.manual_seed(12)
    assert not torch.equal(draw(), first)
    fixed = draw(seed=3)
    torch.manual_seed(13)
    assert torch.equal(draw(seed=3), fixed)
    assert not torch.equal(draw(seed=4), fixed)


@every_sampler
def test_batches_differ_from_each_other(sampler: type[KgnegNegativeSampler], umls: UMLS, make: Make) -> None:
    built = make(sampler, umls.training, num_negs_per_pos=5, seed=3)
    positives = umls.training.mapped_triples[:200]
    assert not torch.equal(built.corrupt_batch(positives), built.corrupt_batch(positives))


@every_sampler
@pytest.mark.parametrize(
    "clone",
    [copy.deepcopy, lambda built: pickle.loads(pickle.dumps(built))],  # noqa: S301
    ids=["deepcopy", "pickle"],
)
def test_copies_continue_where_the_original_stands(
    sampler: type[KgnegNegativeSampler],
    umls: UMLS,
    make: Make,
    ready: Callable[[KgnegNegativeSampler], KgnegNegativeSampler],
    clone: Callable[[object], KgnegNegativeSampler],
) -> None:
    positives = umls.training.mapped_triples[:100]
    built = make(sampler, umls.training, num_negs_per_pos=5, filterer="exact", seed=3)
    built.corrupt_batch(positives)
    twin = ready(clone(built))
    (mine, my_mask), (theirs, their_mask) = built.sample(positives), twin.sample(positives)
    assert torch.equal(mine, theirs)
    assert torch.equal(my_mask, their_mask)
    assert known_in(theirs, umls.training.mapped_triples, umls.training) == 0


@every_sampler
def test_samplers_of_one_graph_do_not_influence_each_other(
    sampler: type[KgnegNegativeSampler], umls: UMLS, make: Make
) -> None:
    positives = umls.training.mapped_triples[:100]
    alone = make(sampler, umls.training, num_negs_per_pos=5, seed=3)
    expected = [alone.corrupt_batch(positives) for _ in range(2)]
    one, two = (make(sampler, umls.training, num_negs_per_pos=5, seed=3) for _ in range(2))
    drawn = [one.corrupt_batch(positives)]
    two.to("meta")  # moving one leaves what they share where it is
    drawn.append(one.corrupt_batch(positives))
    assert all(torch.equal(left, right) for left, right in zip(drawn, expected, strict=True))
