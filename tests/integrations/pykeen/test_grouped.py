"""Negatives by side, as PyKEEN after 1.11 asks for them: the same as without groups, whoever asks."""

from __future__ import annotations

import copy
import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pykeen.constants import TARGET_TO_INDEX
from pykeen.datasets import UMLS, Nations
from pykeen.losses import loss_resolver
from pykeen.models import DistMult, Model, TransE
from pykeen.sampling import NegativeSampler
from pykeen.training import SLCWATrainingLoop
from pykeen.triples import CoreTriplesFactory, TriplesFactory
from pykeen.triples import instances as pykeen_instances
from pykeen.triples.instances import BatchedSLCWAInstances
from pykeen.triples.weights import RelationLossWeighter
from torch.utils.data import DataLoader, IterableDataset

from kgneg.core.errors import InvalidInputError
from kgneg.core.negatives import Negatives
from kgneg.integrations.pykeen import (
    SAMPLERS,
    KgnegBernoulliNegativeSampler,
    KgnegNegativeSampler,
    KgnegUniformNegativeSampler,
)
from kgneg.integrations.pykeen import base as pykeen_base
from kgneg.integrations.pykeen.grouped import group_by_side

Make = Callable[..., KgnegNegativeSampler]
Grouped = tuple[Mapping[str, torch.Tensor], Mapping[str, torch.Tensor] | None]

every_sampler = pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.display_name)
#: Whether the PyKEEN that is installed knows groups.
HOST_HAS_GROUPS = hasattr(NegativeSampler, "supports_grouped_corruption")


# What a PyKEEN with groups does with a sampler, as far as its documentation says


def filled_in(positives: torch.Tensor, target: str, ids: torch.Tensor) -> torch.Tensor:
    """Return the triples that replacements make."""
    columns = list(positives.unsqueeze(-2).expand(*ids.shape, 3).unbind(-1))
    columns[TARGET_TO_INDEX[target]] = ids
    return torch.stack(columns, dim=-1)


def inherited_sample(sampler: NegativeSampler, positives: torch.Tensor) -> Grouped:
    """Return what a sampler gives that has no method of its own: its groups, and what its filterer says of each."""
    groups = sampler.corrupt_batch_grouped(positive_batch=positives)
    if sampler.filterer is None:
        return groups, None
    return groups, {name: sampler.filterer(negative_batch=filled_in(positives, name, groups[name])) for name in groups}


class Loader(IterableDataset):
    """Batches of a loop that was told ``grouped=True``."""

    def __init__(self, sampler: NegativeSampler, triples: torch.Tensor, size: int, weighter: Any = None) -> None:
        if not sampler.supports_grouped_corruption:
            raise ValueError("grouped=True needs a sampler that supports it")
        self.sampler, self.triples, self.size, self.weighter = sampler, triples, size, weighter

    def batch(self, positives: torch.Tensor) -> dict[str, Any]:
        corruptions, masks = self.sampler.sample_grouped(positive_batch=positives)
        batch = {"positives": positives, "corruptions": corruptions}
        if masks is not None:
            batch["masks"] = masks
        if self.weighter is not None:
            batch["pos_weights"] = self.weighter.weight_triples(positives)
            batch["neg_weights"] = {
                name: self.weighter.weight_triples(filled_in(positives, name, ids)).expand(ids.shape)
                for name, ids in corruptions.items()
            }
        return batch

    def __iter__(self) -> Iterator[dict[str, Any]]:
        yield from map(self.batch, self.triples.split(self.size))


def loss_of_groups(model: Model, loss: Any, batch: Mapping[str, Any]) -> torch.Tensor:
    """Return the loss of a batch whose groups are scored with one call each."""
    positives, masks, weights = batch["positives"], batch.get("masks"), batch.get("neg_weights")
    methods = {
        "head": lambda ids: model.score_h(positives[:, 1:], heads=ids),
        "tail": lambda ids: model.score_t(positives[:, :2], tails=ids),
    }
    names = [name for name in methods if name in batch["corruptions"]]
    scores = torch.cat([methods[name](batch["corruptions"][name]) for name in names], dim=-1)
    kept = None if masks is None else torch.cat([masks[name] for name in names], dim=-1)
    weights = None if weights is None else torch.cat([weights[name] for name in names], dim=-1)
    return loss.process_slcwa_scores(
        positive_scores=model.score_hrt(positives),
        negative_scores=scores if kept is None else scores[kept],
        label_smoothing=None,
        batch_filter=kept,
        num_entities=model.num_entities,
        pos_weights=batch.get("pos_weights"),
        neg_weights=weights if weights is None or kept is None else weights[kept],
    )


def host_loss(model: Model, loss: Any, batch: Mapping[str, Any]) -> torch.Tensor:
    """Return the loss that the installed PyKEEN finds for a batch, also of groups if it knows them."""
    value = SLCWATrainingLoop._process_batch_static(
        model=model, loss=loss, mode=None, batch=batch, start=None, stop=None, label_smoothing=0.0
    )
    assert isinstance(value, torch.Tensor)
    return value.sum()  # a regulariser makes it a vector of one


#: Who trains on groups: the stand-in always, the installed PyKEEN when it can.
GROUP_LOSSES = [loss_of_groups, *([host_loss] if HOST_HAS_GROUPS else [])]


# Comparing


def by_side(positives: torch.Tensor, triples: torch.Tensor, mask: torch.Tensor | None) -> list[list[tuple[Any, ...]]]:
    """Return the negatives of each positive with their side and whether they count, those of the head first."""
    flat = triples.reshape(positives[..., 0].numel(), *triples.shape[-2:])
    counts = torch.ones(flat.shape[:2], dtype=torch.bool) if mask is None else mask.reshape(flat.shape[:2])
    rows = []
    for positive, row, kept in zip(positives.reshape(-1, 3), flat, counts, strict=True):
        at = (row != positive).tolist()
        assert all(sum(each) == 1 and not each[1] for each in at)
        named = [
            ("head" if each[0] else "tail", tuple(triple), count)
            for each, triple, count in zip(at, row.tolist(), kept.tolist(), strict=True)
        ]
        rows.append(sorted(named, key=lambda entry: entry[0]))  # stable
    return rows


def regrouped(
    positives: torch.Tensor, groups: Mapping[str, torch.Tensor], masks: Mapping[str, torch.Tensor] | None
) -> list[list[tuple[Any, ...]]]:
    """Return the same of a grouped answer in which all counts."""
    rows: list[list[tuple[Any, ...]]] = [[] for _ in range(positives.reshape(-1, 3).shape[0])]
    for name in sorted(groups):
        triples = filled_in(positives, name, groups[name])
        kept = torch.ones(triples.shape[:-1], dtype=torch.bool) if masks is None else masks[name]
        triples, kept = (part.reshape(len(rows), *part.shape[len(positives.shape) - 1 :]) for part in (triples, kept))
        for row, one, counts in zip(rows, triples.tolist(), kept.tolist(), strict=True):
            row += [(name, tuple(triple), True) for triple, count in zip(one, counts, strict=True) if count]
    return rows


def check_form(groups: Any, masks: Any, shape: tuple[int, ...], n: int, entities: int) -> None:
    """Check keys, shapes, types and bounds of a grouped answer."""
    assert groups
    assert set(groups) <= {"head", "tail"}
    for ids in groups.values():
        assert ids.shape[:-1] == shape
        assert ids.shape[-1] > 0
        assert ids.dtype == torch.int64
        assert ids.is_contiguous()
        if ids.numel():
            assert int(ids.min()) >= 0
            assert int(ids.max()) < entities
    width = sum(ids.shape[-1] for ids in groups.values())
    if masks is None:
        assert width == n
        return
    assert set(masks) == set(groups)
    for name, mask in masks.items():
        assert mask.dtype == torch.bool
        assert mask.shape == groups[name].shape
    assert width >= n


# The same negatives


@every_sampler
@pytest.mark.parametrize(
    ("n", "sides"),
    [(1, "uniform"), (4, "uniform"), (5, "uniform"), (3, "single"), (4, "bernoulli"), (3, "head"), (4, "alternate")],
)
def test_groups_hold_the_negatives_of_sample(
    sampler: type[KgnegNegativeSampler], n: int, sides: str, nations: Nations, make: Make
) -> None:
    factory = nations.training
    options = {"sides": sides} if "sides" in inspect.signature(sampler).parameters else {}
    mine, theirs = (make(sampler, factory, num_negs_per_pos=n, seed=4, **options) for _ in range(2))
    for positives in factory.mapped_triples[:48].split(16):  # the streams stay together over batches
        groups, masks = mine.sample_grouped(positive_batch=positives)
        triples, mask = theirs.sample(positive_batch=positives)
        assert mask is None
        check_form(groups, masks, (16,), n, factory.num_entities)
        assert regrouped(positives, groups, masks) == by_side(positives, triples, None)
        if masks is not None:
            assert torch.cat(list(masks.values()), dim=-1).sum(-1).tolist() == [n] * 16
    assert mine.report() == theirs.report()


@every_sampler
@pytest.mark.parametrize(("filterer", "n"), [("python-set", 4), ("bloom", 5), ("exact", 5)])
def test_masks_are_those_of_sample(
    sampler: type[KgnegNegativeSampler], filterer: str, n: int, nations: Nations, make: Make
) -> None:
    factory = nations.training
    positives = factory.mapped_triples[:64]
    mine, theirs = (
        make(sampler, factory, num_negs_per_pos=n, filtered=False, filterer=filterer, seed=2) for _ in range(2)
    )
    groups, masks = mine.sample_grouped(positive_batch=positives)
    triples, mask = theirs.sample(positive_batch=positives)
    check_form(groups, masks, (64,), n, factory.num_entities)
    assert masks is not None
    expected = [[entry for entry in row if entry[2]] for row in by_side(positives, triples, mask)]
    assert regrouped(positives, groups, masks) == expected
    assert 0 < sum(map(len, expected)) < 64 * n  # the filterer had something to do


@every_sampler
@pytest.mark.parametrize(("n", "filterer"), [(3, None), (2, None), (3, "exact")])
def test_any_number_of_batch_dimensions(
    sampler: type[KgnegNegativeSampler], n: int, filterer: str | None, nations: Nations, make: Make
) -> None:
    factory = nations.training
    mine, theirs = (make(sampler, factory, num_negs_per_pos=n, seed=1, filterer=filterer) for _ in range(2))
    for shape in ((), (1,), (2, 3), (2, 1, 4), (0,)):
        rows = torch.randint(factory.num_triples, shape, generator=torch.Generator().manual_seed(3))
        positives = factory.mapped_triples[rows]
        before = positives.clone()
        groups, masks = mine.sample_grouped(positive_batch=positives)
        triples, mask = theirs.sample(positive_batch=positives)
        check_form(groups, masks, shape, n, factory.num_entities)
        assert regrouped(positives, groups, masks) == by_side(positives, triples, mask)
        assert torch.equal(positives, before)


@pytest.mark.parametrize("filterer", [None, "exact"])
def test_inverse_triples(filterer: str | None, nations: Nations) -> None:
    heads, relations, tails = nations.training.mapped_triples.unbind(-1)
    forward, backward = (heads, 2 * relations, tails), (tails, 2 * relations + 1, heads)
    triples = torch.cat([torch.stack(columns, dim=-1) for columns in (forward, backward)])
    mine, theirs = (
        KgnegUniformNegativeSampler(
            mapped_triples=triples, num_relations=110, num_negs_per_pos=3, sides="bernoulli", seed=1, filterer=filterer
        )
        for _ in range(2)
    )
    positives = triples[::40]
    groups, masks = mine.sample_grouped(positive_batch=positives)
    assert regrouped(positives, groups, masks) == by_side(positives, *theirs.sample(positive_batch=positives))


def full_rows() -> CoreTriplesFactory:
    """Return a graph in which entity 0 has every tail with relation 0, so that its tails cannot be replaced."""
    triples = [[0, 0, tail] for tail in range(6)] + [[1, 1, 2], [2, 1, 3], [3, 1, 4], [4, 1, 5]]
    return CoreTriplesFactory(torch.tensor(triples), num_entities=6, num_relations=2)


@pytest.mark.parametrize("filterer", [None, "exact"])
def test_negatives_that_were_turned_to_the_other_end(filterer: str | None, make: Make) -> None:
    factory = full_rows()
    positives = factory.mapped_triples
    mine, theirs = (
        make(KgnegUniformNegativeSampler, factory, num_negs_per_pos=4, seed=1, filterer=filterer) for _ in range(2)
    )
    groups, masks = mine.sample_grouped(positive_batch=positives)
    triples, mask = theirs.sample(positive_batch=positives)
    assert mine.report()["turned"] > 0
    assert masks is not None
    assert masks["head"].sum(-1).tolist() == [4] * 6 + [2] * 4
    assert masks["tail"].sum(-1).tolist() == [0] * 6 + [2] * 4
    assert regrouped(positives, groups, masks) == by_side(positives, triples, mask)
    one_kind, no_masks = mine.sample_grouped(positive_batch=positives[:6])
    assert set(one_kind) == {"head"}
    assert (no_masks is None) is (filterer is None)


def test_negatives_in_any_order_keep_their_order_within_a_side() -> None:
    positives = torch.tensor([[0, 0, 1], [2, 0, 3], [4, 0, 5]])
    entity = torch.tensor([[10, 11, 12, 13], [20, 21, 22, 23], [30, 31, 32, 33]], dtype=torch.int32)
    side = torch.tensor([[2, 0, 2, 0], [0, 0, 2, 2], [2, 0, 0, 2]], dtype=torch.int8)
    drawn = Negatives(positives, entity, side, torch.zeros(3, 4, dtype=torch.bool))
    mask = torch.tensor([[True, False, True, True], [True, True, False, True], [True, True, True, True]])
    groups, none = group_by_side(drawn)
    assert none is None
    assert groups["head"].tolist() == [[11, 13], [20, 21], [31, 32]]
    assert groups["tail"].tolist() == [[10, 12], [22, 23], [30, 33]]
    _, masks = group_by_side(drawn, mask)
    assert masks is not None
    assert masks["head"].tolist() == [[False, True], [True, True], [True, True]]
    assert masks["tail"].tolist() == [[True, True], [False, True], [True, True]]


def test_groups_share_no_memory(nations: Nations, make: Make) -> None:
    built = make(KgnegUniformNegativeSampler, nations.training, num_negs_per_pos=5, seed=1)
    groups, masks = built.sample_grouped(positive_batch=nations.training.mapped_triples[:9])
    assert masks is not None
    for part in (*groups.values(), *masks.values()):
        assert part.untyped_storage().nbytes() == part.numel() * part.element_size()


# What a PyKEEN with groups inherits and expects


@every_sampler
def test_the_inherited_method_gives_the_same_where_groups_are_even(
    sampler: type[KgnegNegativeSampler], nations: Nations, make: Make
) -> None:
    factory = nations.training
    positives = factory.mapped_triples[:32]
    known = "sides" in inspect.signature(sampler).parameters
    assert known is (sampler is not KgnegBernoulliNegativeSampler)  # which never gives even groups
    even: list[dict[str, str]] = [{"sides": sides} for sides in ("uniform", "tail") if known]
    for options, filterer in itertools.product(even, (None, "exact")):
        mine, theirs = (
            make(sampler, factory, num_negs_per_pos=4, filtered=False, filterer=filterer, seed=5, **options)
            for _ in range(2)
        )
        (groups, masks), (expected, marks) = mine.sample_grouped(positives), inherited_sample(theirs, positives)
        assert list(groups) == list(expected)
        assert all(torch.equal(groups[name], expected[name]) for name in groups)
        assert (masks is None) is (marks is None)
        assert masks is None or all(torch.equal(masks[name], marks[name]) for name in groups)


def test_groups_without_masks_are_refused_where_they_would_be_wrong(nations: Nations, make: Make) -> None:
    positives = nations.training.mapped_triples[:32]
    for options in ({"num_negs_per_pos": 3}, {"num_negs_per_pos": 4, "sides": "bernoulli"}):
        built = make(KgnegUniformNegativeSampler, nations.training, seed=1, **options)
        with pytest.raises(InvalidInputError, match="call sample_grouped"):
            built.corrupt_batch_grouped(positive_batch=positives)


def test_the_loop_and_the_samplers_of_the_host_know_groups_or_neither_does() -> None:
    assert ("grouped" in inspect.signature(SLCWATrainingLoop.__init__).parameters) is HOST_HAS_GROUPS
    assert hasattr(pykeen_instances, "GroupedSLCWABatch") is HOST_HAS_GROUPS
    assert all(sampler.supports_grouped_corruption is True for sampler in SAMPLERS)
    for name in ("corrupt_batch_grouped", "sample_grouped"):
        parameters = list(inspect.signature(getattr(KgnegNegativeSampler, name)).parameters)
        assert parameters == ["self", "positive_batch"]
        if HOST_HAS_GROUPS:
            assert parameters == list(inspect.signature(getattr(NegativeSampler, name)).parameters)


def test_nobody_is_asked_for_groups_by_default(
    nations: Nations, kwargs_of: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(KgnegNegativeSampler, "sample_grouped", lambda *_, **__: asked.append(1))
    monkeypatch.setattr(KgnegNegativeSampler, "corrupt_batch_grouped", lambda *_, **__: asked.append(1))
    model = DistMult(triples_factory=nations.training, embedding_dim=4, random_seed=0)
    loop = SLCWATrainingLoop(model=model, triples_factory=nations.training, negative_sampler="kgneg-uniform")
    losses = loop.train(nations.training, num_epochs=1, batch_size=512, use_tqdm=False)
    assert len(losses) == 1
    assert not asked


# The same training


def dense_batch(sampler: NegativeSampler, positives: torch.Tensor) -> dict[str, torch.Tensor]:
    negatives, mask = sampler.sample(positive_batch=positives)
    return {"positives": positives, "negatives": negatives} | ({} if mask is None else {"masks": mask})


def graded(model: Model, value: torch.Tensor) -> list[torch.Tensor]:
    model.zero_grad()
    value.backward()
    return [value.detach(), *(parameter.grad.clone() for parameter in model.get_grad_params())]


@pytest.mark.parametrize("group_loss", GROUP_LOSSES, ids=lambda function: function.__name__)
@pytest.mark.parametrize("loss", ["marginranking", "nssa", "bcewithlogits", "softplus", "crossentropy", "infonce"])
@pytest.mark.parametrize("options", [{"sides": "uniform"}, {"sides": "bernoulli"}, {"sides": "head"}], ids=str)
def test_losses_and_gradients_are_those_of_single_triples(
    group_loss: Callable[..., torch.Tensor], loss: str, options: dict[str, str], nations: Nations, make: Make
) -> None:
    factory, criterion = nations.training, loss_resolver.make(loss)
    positives = factory.mapped_triples[:40]
    # not RotatE, whose heads PyKEEN scores by turning the tail, with another gradient along the modulus
    for kind, n, filterer in ((DistMult, 4, None), (TransE, 5, None), (DistMult, 5, "exact"), (TransE, 4, "exact")):
        model = kind(triples_factory=factory, embedding_dim=6, random_seed=0, regularizer="no", loss=criterion)
        mine, theirs = (
            make(
                KgnegUniformNegativeSampler,
                factory,
                num_negs_per_pos=n,
                seed=7,
                filterer=filterer,
                filtered=filterer is None,
                **options,
            )
            for _ in range(2)
        )
        batch = Loader(mine, positives, 40).batch(positives)
        results = (
            graded(model, group_loss(model, criterion, batch)),
            graded(model, host_loss(model, criterion, dense_batch(theirs, positives))),
        )
        for ours, expected in zip(*results, strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-6)
        assert bool(results[0][1].abs().sum() > 0)


@pytest.mark.parametrize("n", [4, 5])
def test_weights_reach_the_negatives_that_count(n: int, nations: Nations, make: Make) -> None:
    factory, criterion = nations.training, loss_resolver.make("bcewithlogits")
    positives = factory.mapped_triples[:40]
    weighter = RelationLossWeighter.inverse_relation_frequency(factory.mapped_triples)
    model = DistMult(triples_factory=factory, embedding_dim=6, random_seed=0, regularizer="no", loss=criterion)
    mine, theirs = (
        make(KgnegUniformNegativeSampler, factory, num_negs_per_pos=n, sides="bernoulli", seed=7) for _ in range(2)
    )
    batch = Loader(mine, positives, 40, weighter).batch(positives)
    negatives, _ = theirs.sample(positive_batch=positives)
    dense = {"positives": positives, "negatives": negatives, "pos_weights": weighter.weight_triples(positives)}
    dense["neg_weights"] = weighter.weight_triples(negatives)
    torch.testing.assert_close(loss_of_groups(model, criterion, batch), host_loss(model, criterion, dense))


def test_groups_come_out_of_a_worker(umls: UMLS, make: Make) -> None:
    factory = umls.training
    triples = factory.mapped_triples[:100]
    sampler = make(KgnegUniformNegativeSampler, factory, num_negs_per_pos=5, seed=1, filterer="exact")
    batches = list(DataLoader(Loader(sampler, triples, 32), batch_size=None, num_workers=1))
    assert torch.equal(torch.cat([batch["positives"] for batch in batches]), triples)
    known = {tuple(triple) for triple in factory.mapped_triples.tolist()}
    for batch in batches:
        positives, groups, masks = batch["positives"], batch["corruptions"], batch["masks"]
        check_form(groups, masks, (len(positives),), 5, factory.num_entities)
        for row in regrouped(positives, groups, masks):
            assert len(row) == 5
            assert not known & {triple for _, triple, _ in row}


@pytest.mark.parametrize("grouped", [False, True] if HOST_HAS_GROUPS else [False])
def test_the_host_trains(grouped: bool, nations: Nations) -> None:
    options = {"grouped": True} if grouped else {}
    for sampler in ("kgneg-uniform", "kgneg-bernoulli"):
        model = DistMult(triples_factory=nations.training, embedding_dim=4, random_seed=0)
        loop = SLCWATrainingLoop(
            model=model,
            triples_factory=nations.training,
            negative_sampler=sampler,
            negative_sampler_kwargs={"num_negs_per_pos": 3, "seed": 1},
            **options,
        )
        losses = loop.train(nations.training, num_epochs=2, batch_size=256, use_tqdm=False)
        assert torch.isfinite(torch.tensor(losses)).all()


# Workers: the warning goes by what the loader does, and not by its version


def permuted_ids(self: BatchedSLCWAInstances) -> Iterator[list[int]]:
    """Give each worker every k-th batch of one permutation, as PyKEEN after 1.11 does."""
    worker = pykeen_base.get_worker_info()
    ids = torch.randperm(len(self.mapped_triples), generator=torch.Generator().manual_seed(worker.seed - worker.id))
    yield from (part.tolist() for part in ids.split(self.batch_size)[worker.id :: worker.num_workers])


def ranges_of_ids(self: BatchedSLCWAInstances) -> Iterator[list[int]]:
    """Give each worker a part of its own."""
    worker = pykeen_base.get_worker_info()
    whole = torch.arange(len(self.mapped_triples)).chunk(worker.num_workers)[worker.id]
    yield from (part.tolist() for part in whole.split(self.batch_size))


@pytest.mark.parametrize("workers", [2, 3, 8])
@pytest.mark.parametrize("walk", [None, permuted_ids, ranges_of_ids], ids=["installed", "permuted", "ranges"])
def test_workers_that_lose_triples_are_found_out(
    workers: int,
    walk: Callable[..., Iterator[list[int]]] | None,
    nations: Nations,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if walk is not None:
        monkeypatch.setattr(BatchedSLCWAInstances, "iter_triple_ids", walk)
    instances = BatchedSLCWAInstances.from_triples_factory(nations.training, batch_size=16, drop_last=False)

    def act_as(number: int) -> None:
        info = SimpleNamespace(id=number, num_workers=workers, seed=40 + number, dataset=instances)
        monkeypatch.setattr(torch.utils.data._utils.worker, "_worker_info", info)

    seen = []
    for number in range(workers):
        act_as(number)
        seen += [each for batch in copy.deepcopy(instances).iter_triple_ids() for each in batch]
    loses = len(set(seen)) < nations.training.num_triples
    assert loses is (walk is None and not HOST_HAS_GROUPS)
    act_as(1)
    before = torch.get_rng_state()
    assert pykeen_base._loses_triples(instances, workers) is loses
    assert torch.equal(torch.get_rng_state(), before)
    pykeen_base._warn_once.cache_clear()
    sampler = instances.negative_sampler = KgnegUniformNegativeSampler(mapped_triples=nations.training.mapped_triples)
    for number in range(workers):
        act_as(number)
        if loses and number == 1:
            with pytest.warns(UserWarning, match=f"num_workers={workers}"):
                sampler.sample(nations.training.mapped_triples[:4])
        sampler.sample_grouped(nations.training.mapped_triples[:4])  # a warning would be an error
    pykeen_base._warn_once.cache_clear()
    assert len(instances.mapped_triples) == nations.training.num_triples


def test_loaders_of_others_are_not_accused(nations: Nations, monkeypatch: pytest.MonkeyPatch) -> None:
    factory: TriplesFactory = nations.training
    sampler = KgnegUniformNegativeSampler(mapped_triples=factory.mapped_triples)
    for other in (
        Loader(sampler, factory.mapped_triples, 4),
        pykeen_instances.SubGraphSLCWAInstances.from_triples_factory(factory, batch_size=16),
    ):
        info = SimpleNamespace(id=1, num_workers=2, seed=1, dataset=other)
        monkeypatch.setattr(torch.utils.data._utils.worker, "_worker_info", info)
        pykeen_base._warn_once.cache_clear()
        sampler.sample(factory.mapped_triples[:4])
        assert not pykeen_base._loses_triples(other, 2)
