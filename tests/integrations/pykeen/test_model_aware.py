"""Samplers that look at the model: what they see, and that they leave no trace."""

from __future__ import annotations

import copy
import inspect
import pickle
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isfinite
from typing import Any

import pytest
import torch
from pykeen.datasets import Nations
from pykeen.models import ERModel, Model, model_resolver
from pykeen.pipeline import pipeline
from pykeen.sampling import negative_sampler_resolver
from pykeen.triples import TriplesFactory

from kgneg.core.corruption import Queries
from kgneg.core.errors import InvalidInputError
from kgneg.core.rowwise import Metric
from kgneg.integrations.pykeen import DynamicNegativeSampler, ModelHandle, NSCachingNegativeSampler

pytestmark = pytest.mark.filterwarnings("ignore:(?s).*has parameters, but no reset_parameters", "ignore:.*sparse")
both = pytest.mark.parametrize("sampler", [DynamicNegativeSampler, NSCachingNegativeSampler])
MODELS: dict[str, dict[str, Any]] = {
    "distmult": {"embedding_dim": 6},
    "transe": {"embedding_dim": 6},
    "complex": {"embedding_dim": 6},
    "rotate": {"embedding_dim": 6},
    "tucker": {"embedding_dim": 6},  # dropout and batch normalisation
    "conve": {"embedding_dim": 12, "embedding_height": 3, "embedding_width": 4, "kernel_width": 2, "kernel_height": 2},
    "rgcn": {"embedding_dim": 6, "num_layers": 1},  # remembers what it computed
}


def make_model(name: str, factory: TriplesFactory) -> Model:
    if name == "conve":
        factory = Nations(create_inverse_triples=True).training
    return model_resolver.make(name, MODELS[name], triples_factory=factory, random_seed=0)


def some_queries(factory: TriplesFactory) -> tuple[Queries, torch.Tensor]:
    positives = factory.mapped_triples[::100]
    side = torch.arange(len(positives)) % 2 * 2
    ids = torch.randint(factory.num_entities, (len(positives), 9), generator=torch.Generator().manual_seed(0)).int()
    return Queries.from_triples(positives, side), ids


def one_by_one(model: Model, queries: Queries, ids: torch.Tensor) -> torch.Tensor:
    """Score every candidate as a triple of its own."""
    rows = []
    for row, (kept, relation, side) in enumerate(
        zip(queries.kept.tolist(), queries.relation.tolist(), queries.side.tolist(), strict=True)
    ):
        rows.append([[e, relation, kept] if side == 0 else [kept, relation, e] for e in ids[row].tolist()])
    mode = model.training
    model.eval()
    with torch.no_grad():
        scores = model.score_hrt(torch.tensor(rows).view(-1, 3)).view(ids.shape)
    model.train(mode)
    return scores


@contextmanager
def untouched(model: Model) -> Iterator[None]:
    state = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    names = [sorted(vars(module)) for module in model.modules()]
    stream = torch.get_rng_state()
    yield
    assert torch.equal(torch.get_rng_state(), stream)
    assert [module.training for module in model.modules()] == modes
    assert [sorted(vars(module)) for module in model.modules()] == names
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


# The handle


@pytest.mark.parametrize("budget", [None, 1, 500])
@pytest.mark.parametrize("name", MODELS)
def test_scores_are_those_of_the_model_which_stays_as_it_is(name: str, budget: int | None, nations: Nations) -> None:
    model = make_model(name, nations.training)
    model.train()
    next(module for module in model.modules() if not list(module.children())).eval()  # modes may be mixed
    queries, ids = some_queries(nations.training)
    with untouched(model):
        scores = ModelHandle(model, budget=budget)(queries, ids)
    assert not scores.requires_grad
    torch.testing.assert_close(scores, one_by_one(make_model(name, nations.training), queries, ids))


def test_what_a_model_remembers_keeps_its_gradients(nations: Nations) -> None:
    model = make_model("rgcn", nations.training)
    model.train()
    ModelHandle(model)(*some_queries(nations.training))
    model.score_hrt(nations.training.mapped_triples[:4]).sum().backward()
    assert any(parameter.grad is not None for parameter in model.entity_representations.parameters())


def test_an_error_leaves_no_trace_either(nations: Nations) -> None:
    model = make_model("tucker", nations.training)
    model.train()
    queries, ids = some_queries(nations.training)
    handle = ModelHandle(model)
    with untouched(model), pytest.raises(IndexError):
        handle(queries, ids + 1000)
    assert torch.is_grad_enabled()


def test_a_model_that_takes_no_candidates_is_scored_by_triple(nations: Nations, monkeypatch: Any) -> None:
    model = make_model("distmult", nations.training)
    queries, ids = some_queries(nations.training)
    expected = one_by_one(model, queries, ids)

    def score_t(self: Any, hr_batch: torch.Tensor, *, slice_size: Any = None, mode: Any = None) -> torch.Tensor:
        raise AssertionError("this scores all entities")

    def score_h(self: Any, rt_batch: torch.Tensor, *, mode: Any = None, heads: Any = None) -> torch.Tensor:
        return torch.zeros(heads.shape)

    monkeypatch.setattr(ERModel, "score_t", score_t)
    monkeypatch.setattr(ERModel, "score_h", score_h)
    torch.testing.assert_close(ModelHandle(model)(queries, ids), expected)


def way_of(handle: ModelHandle) -> dict[int, str]:
    return {end: way.__name__ for end, way in handle._ways.items()}


@pytest.mark.parametrize("name", MODELS)
def test_the_quickest_way_is_taken(name: str, nations: Nations) -> None:
    model = make_model(name, nations.training)
    handle = ModelHandle(model)
    handle(*some_queries(nations.training))
    expected = "_by_form" if name in ("distmult", "transe", "complex", "rotate") else "_by_query"
    assert way_of(handle) == {0: expected, 2: expected}


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("power", [False, True])
def test_distances_of_transe(p: int, power: bool, nations: Nations) -> None:
    own = {"interaction_kwargs": {"p": p, "power_norm": power}, "embedding_dim": 6}
    models = [
        ERModel(
            triples_factory=nations.training,
            interaction="transe",
            interaction_kwargs=own["interaction_kwargs"],
            entity_representations_kwargs={"shape": 6},
            relation_representations_kwargs={"shape": 6},
            random_seed=0,
        )
        for _ in range(2)
    ]
    queries, ids = some_queries(nations.training)
    torch.testing.assert_close(ModelHandle(models[0])(queries, ids), one_by_one(models[1], queries, ids))


def test_a_form_that_gives_other_scores_is_not_taken(nations: Nations, monkeypatch: Any) -> None:
    model = make_model("distmult", nations.training)
    queries, ids = some_queries(nations.training)
    handle = ModelHandle(model)
    assert handle._form is not None
    monkeypatch.setattr(handle, "_form", handle._form._replace(metric=Metric.L1))
    torch.testing.assert_close(handle(queries, ids), one_by_one(model, queries, ids))
    assert way_of(handle) == {0: "_by_query", 2: "_by_query"}


def test_scores_that_are_no_numbers_do_not_change_the_way(nations: Nations) -> None:
    models = [make_model("distmult", nations.training) for _ in range(2)]
    queries, ids = some_queries(nations.training)
    for model in models:
        with torch.no_grad():
            weight = model.entity_representations[0]._embeddings.weight  # type: ignore[attr-defined]
            weight[ids[0, 0].long()] = torch.nan
            weight[ids[1, 1].long(), 0] = torch.inf
    handle = ModelHandle(models[0])
    scores, expected = handle(queries, ids), one_by_one(models[1], queries, ids)
    assert bool(expected.isnan().any())
    torch.testing.assert_close(scores, expected, equal_nan=True)
    assert way_of(handle) == {0: "_by_form", 2: "_by_form"}


def test_the_handle_sees_a_model_that_moves_on(nations: Nations) -> None:
    model = make_model("transe", nations.training)
    queries, ids = some_queries(nations.training)
    handle = ModelHandle(model)
    handle(queries, ids)
    representation: Any = model.entity_representations[0]  # type: ignore[index]
    with torch.no_grad():
        representation._embeddings.weight.mul_(2.0)
    torch.testing.assert_close(handle(queries, ids), one_by_one(model, queries, ids))
    representation._embeddings.weight = torch.nn.Parameter(torch.ones_like(representation._embeddings.weight))
    torch.testing.assert_close(handle(queries, ids), one_by_one(model, queries, ids))


def test_a_handle_shows_nothing_of_the_model(nations: Nations) -> None:
    model = make_model("distmult", nations.training)
    handle = ModelHandle(model)
    assert [name for name in dir(handle) if not name.startswith("_")] == []
    scores = handle(*some_queries(nations.training))
    with untouched(model):
        scores.zero_()


def test_nothing_to_score(nations: Nations) -> None:
    handle = ModelHandle(make_model("distmult", nations.training))
    queries, ids = some_queries(nations.training)
    assert handle(queries, ids[:, :0]).shape == (len(queries), 0)
    none = torch.tensor([], dtype=torch.long)
    assert handle(queries[none], ids[none]).shape == (0, 9)


# The samplers


@both
def test_without_a_model(sampler: Any, nations: Nations) -> None:
    built = sampler(mapped_triples=nations.training.mapped_triples)
    with pytest.raises(InvalidInputError, match='training_loop="kgneg"'):
        built.sample(nations.training.mapped_triples[:3])
    with pytest.raises(InvalidInputError, match='training_loop="kgneg"'):
        run(nations, sampler, training_loop="slcwa")


@both
def test_negatives_are_harder_than_uniform_ones_and_never_known(sampler: Any, nations: Nations) -> None:
    training = nations.training
    model = make_model("distmult", training)
    own = {"cache": 3} if sampler is NSCachingNegativeSampler else {}
    built = sampler(mapped_triples=training.mapped_triples, num_negs_per_pos=2, seed=0, **own)
    built.attach_model(ModelHandle(model))
    uniform = negative_sampler_resolver.make(
        "kgneg-uniform", {"num_negs_per_pos": 2, "seed": 0}, mapped_triples=training.mapped_triples
    )
    with untouched(model):
        negatives = built.corrupt_batch(training.mapped_triples)
    known = {tuple(row) for row in training.mapped_triples.tolist()}
    assert not any(tuple(row) in known for row in negatives.view(-1, 3).tolist())
    with torch.no_grad():
        hard, easy = (
            float(model.score_hrt(batch.reshape(-1, 3)).mean())
            for batch in (negatives, uniform.corrupt_batch(training.mapped_triples))
        )
    assert hard > easy


@both
@pytest.mark.parametrize("clone", [copy.deepcopy, lambda b: pickle.loads(pickle.dumps(b))], ids=["copy", "pickle"])  # noqa: S301
def test_copies_have_no_model(sampler: Any, clone: Callable[[Any], Any], nations: Nations) -> None:
    built = sampler(mapped_triples=nations.training.mapped_triples)
    built.attach_model(ModelHandle(make_model("distmult", nations.training)))
    assert not any("embedding" in name for name in built.state_dict())
    with pytest.raises(InvalidInputError, match="attached anew"):
        clone(built).sample(nations.training.mapped_triples[:3])
    built.sample(nations.training.mapped_triples[:3])


@both
def test_options_arrive_with_the_defaults_of_the_corruptor(sampler: Any, nations: Nations) -> None:
    built = sampler(mapped_triples=nations.training.mapped_triples)
    mine = inspect.signature(sampler).parameters
    own = inspect.signature(type(built.corruptor)).parameters
    shared = {name for name in own if name not in ("triples", "options", "source")}
    assert {name: mine[name].default for name in shared} == {name: own[name].default for name in shared}
    other = sampler(mapped_triples=nations.training.mapped_triples, skip_top=3, ceiling=0.5, share=0.25)
    screen = other.corruptor.screen
    assert (screen.skip_top, screen.ceiling, screen.share) == (3, 0.5, 0.25)


def test_temperature_of_nscaching(nations: Nations) -> None:
    built = NSCachingNegativeSampler(mapped_triples=nations.training.mapped_triples, temperature=0.5)
    assert built.corruptor.temperature == 0.5
    for sampler in (NSCachingNegativeSampler, DynamicNegativeSampler):
        assert {"temperature", "ceiling", "skip_top", "share"} <= set(sampler.hpo_default)
    assert "refresh" in NSCachingNegativeSampler.hpo_default


def test_candidates_from_another_sampler(nations: Nations) -> None:
    triples = nations.training.mapped_triples
    built = DynamicNegativeSampler(mapped_triples=triples, num_negs_per_pos=8, pool_from="typed", seed=0)
    built.attach_model(ModelHandle(make_model("distmult", nations.training)))
    negatives = built.draw(triples)
    seen = {(2, r, t) for _, r, t in triples.tolist()} | {(0, r, h) for h, r, _ in triples.tolist()}
    asked = 0
    for positive, entities, sides, flags in zip(
        triples.tolist(),
        *(part.tolist() for part in (negatives.entity, negatives.side, negatives.fallback)),
        strict=True,
    ):
        for entity, side, flag in zip(entities, sides, flags, strict=True):
            assert flag or (side, positive[1], entity) in seen
            asked += not flag
    assert asked > 1000


def test_candidates_from_a_mixture(nations: Nations) -> None:
    triples = nations.training.mapped_triples
    own = {"pool_from": {"lemon": 1.0, "uniform": 1.0}, "pool_from_kwargs": {"lemon": {"encoder": "lexical", "dim": 2}}}
    built = DynamicNegativeSampler(mapped_triples=triples, **own)
    source = built.corruptor.source
    assert [type(part).__name__ for part in source.components] == ["LemonCorruptor", "UniformCorruptor"]
    assert source.components[0].settings.dim == 2
    assert DynamicNegativeSampler(mapped_triples=triples).corruptor.source is None


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"pool_from": "nothing"}, "'nothing' is no component"),
        ({"pool_from": "typed", "pool_from_kwargs": {"lemon": {}}}, "lemon, which is not among"),
        ({"pool_from_kwargs": {"typed": {}}}, "pool_from_kwargs has no effect without pool_from"),
    ],
)
def test_sources_that_do_not_exist(own: dict[str, Any], message: str, nations: Nations) -> None:
    with pytest.raises(InvalidInputError, match=message):
        DynamicNegativeSampler(mapped_triples=nations.training.mapped_triples, **own)


@both
def test_the_report_says_what_was_left_out(sampler: Any, nations: Nations) -> None:
    built = sampler(mapped_triples=nations.training.mapped_triples, num_negs_per_pos=4, skip_top=2, ceiling=0.0)
    built.attach_model(ModelHandle(make_model("distmult", nations.training)))
    assert set(built.candidate_report().values()) == {0}
    built.corrupt_batch(nations.training.mapped_triples)
    report = built.report() | built.candidate_report()
    assert report["drawn"] == 4 * nations.training.num_triples
    assert report["rejected"] == report["empty_slots"] >= report["fallback"] > 0
    assert min(report[name] for name in ("scored", "known", "skipped", "above_ceiling")) > 1000


# Training


def run(dataset: Any, sampler: Any, **kwargs: Any) -> Any:
    settings: dict[str, Any] = {
        "model": "distmult",
        "model_kwargs": {"embedding_dim": 8},
        "training_loop": "kgneg",
        "negative_sampler_kwargs": {"num_negs_per_pos": 5},
        "training_kwargs": {"num_epochs": 2, "batch_size": 512, "use_tqdm": False},
        "evaluation_kwargs": {"batch_size": 512, "use_tqdm": False},
        "random_seed": 7,
        "device": "cpu",
    }
    return pipeline(dataset=dataset, negative_sampler=sampler, **(settings | kwargs))


@pytest.mark.parametrize("model", ["distmult", "tucker", "rgcn"])
@pytest.mark.parametrize("name", ["dynamic", "nscaching"])
def test_pipeline(name: str, model: str, nations: Nations) -> None:
    own = {"num_negs_per_pos": 4, "skip_top": 1, "ceiling": 2.0, "share": 0.5}
    settings: dict[str, Any] = {"model": model, "model_kwargs": MODELS[model]}
    losses = [run(nations, name, negative_sampler_kwargs=own, **settings).losses for _ in range(2)]
    assert all(isfinite(loss) and loss > 0 for loss in losses[0])
    assert losses[0] == losses[1]


def test_the_sampler_sees_the_model_as_it_is_now(nations: Nations, monkeypatch: Any) -> None:
    seen: list[float] = []
    original = ModelHandle.__call__

    def record(self: ModelHandle, queries: Queries, ids: torch.Tensor) -> torch.Tensor:
        seen.append(float(sum(parameter.detach().double().sum() for parameter in self._model.parameters())))
        return original(self, queries, ids)

    monkeypatch.setattr(ModelHandle, "__call__", record)
    run(nations, "dynamic", training_loop_kwargs={"automatic_memory_optimization": False})
    assert len(seen) == len(set(seen)) == 8


@pytest.mark.parametrize("name", ["dynamic", "nscaching"])
def test_workers_are_refused(name: str, nations: Nations) -> None:
    training = {"num_epochs": 1, "batch_size": 512, "use_tqdm": False, "num_workers": 1}
    with pytest.raises(InvalidInputError, match="need num_workers=0"):
        run(nations, name, training_kwargs=training)


@pytest.mark.slow
def test_imports_in_any_order(python: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    program = (
        "import pykeen.models; from pykeen.pipeline import pipeline; "
        "from pykeen.sampling import negative_sampler_resolver as n; "
        "print(n.lookup('dynamic').__name__, n.lookup('nscaching').__name__)"
    )
    done = python("-W", "error::UserWarning", "-c", program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["DynamicNegativeSampler", "NSCachingNegativeSampler"]
    assert done.stderr == ""
