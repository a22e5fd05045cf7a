"""Every corruptor keeps the contract, in every variant."""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from kgneg.core.candidates import CandidateIndex
from kgneg.core.corruption import Corruptor, Queries
from kgneg.core.errors import InvalidInputError
from kgneg.core.plausibility import PlausibilityCeiling, TruthPrior
from kgneg.core.sides import SidePolicy
from kgneg.core.triples import TripleIndex
from kgneg.core.typing import FloatTensor, IntTensor, LongTensor
from kgneg.samplers import (
    ConceptCorruptor,
    DynamicCorruptor,
    GivenCorruptor,
    LemonCorruptor,
    LemonPlusCorruptor,
    LemonSettings,
    MixtureCorruptor,
    NeighbourhoodCorruptor,
    NSCachingCorruptor,
    PopularityCorruptor,
    SansCorruptor,
    TaxonomyCorruptor,
    TypedCorruptor,
    UniformCorruptor,
    corruptor_resolver,
    signature_features,
)
from kgneg.testing import CorruptorConformance

ROOT = Path(__file__).resolve().parents[2]
ROOMS = {
    "kgneg": "kgneg",
    "samplers": "kgneg.samplers",
    "recsys": "kgneg.recsys",
    "datasets": "kgneg.datasets",
}


def observed(triples: LongTensor, num_entities: int, num_relations: int) -> CandidateIndex:
    return CandidateIndex.from_relation_types(triples, num_entities=num_entities, num_relations=num_relations)


def vectors_of(triples: LongTensor, num_entities: int) -> FloatTensor:
    """Vectors that differ from graph to graph, and are the same for the same graph."""
    generator = torch.Generator().manual_seed(int((triples.double() @ torch.tensor([1.0, 7.0, 31.0]).double()).sum()))
    return torch.randn(num_entities, 6, generator=generator)


class Suite(CorruptorConformance):
    policy = "uniform"
    keys = "triple"

    def options(
        self, triples: LongTensor, num_entities: int, num_relations: int, *, filtered: bool, seed: int
    ) -> dict[str, Any]:
        sizes = {"num_entities": num_entities, "num_relations": num_relations}
        return {
            "index": TripleIndex(triples, keys=self.keys, **sizes) if filtered else None,
            "sides": SidePolicy(self.policy, triples=triples, num_relations=num_relations),
            "seed": seed,
            **sizes,
        }


class TestUniform(Suite):
    def make(self, triples: LongTensor, *sizes: int, filtered: bool, seed: int) -> Corruptor:
        return UniformCorruptor(**self.options(triples, *sizes, filtered=filtered, seed=seed))


class TestUniformBernoulliPairs(TestUniform):
    policy = "bernoulli"
    keys = "pair"


@pytest.mark.parametrize("policy", ["head", "tail", "alternate", "single"])
class TestUniformOneEnd(TestUniform):
    @pytest.fixture(autouse=True)
    def choose_policy(self, policy: str) -> None:
        self.policy = policy


class TestPopularity(Suite):
    settings: ClassVar[Mapping[str, Any]] = {}

    def make(self, triples: LongTensor, *sizes: int, filtered: bool, seed: int) -> Corruptor:
        options = self.options(triples, *sizes, filtered=filtered, seed=seed)
        return PopularityCorruptor.from_triples(triples, **self.settings, **options)


class TestPopularityBoth(TestPopularity):
    policy = "single"
    keys = "pair"
    settings: ClassVar[Mapping[str, Any]] = {"counts": "both", "alpha": 1.0, "smoothing": 0.0}


class TestTyped(Suite):
    def make(self, triples: LongTensor, *sizes: int, filtered: bool, seed: int) -> Corruptor:
        options = self.options(triples, *sizes, filtered=filtered, seed=seed)
        return TypedCorruptor(observed(triples, *sizes), **options)


class TestTypedBernoulli(TestTyped):
    policy = "bernoulli"


class TestConcept(Suite):
    settings: ClassVar[Mapping[str, Any]] = {}

    def make(self, triples: LongTensor, *sizes: int, filtered: bool, seed: int) -> Corruptor:
        options = self.options(triples, *sizes, filtered=filtered, seed=seed)
        features = signature_features(triples, num_entities=sizes[0], num_relations=sizes[1])
        return ConceptCorruptor.from_triples(triples, features, **self.settings, **options)


class TestConceptPaper(TestConcept):
    policy = "bernoulli"
    keys = "pair"
    settings: ClassVar[Mapping[str, Any]] = {"mode": "paper", "precompute": False, "proposal": "uniform"}


class TestConceptComparedOneEnd(TestConcept):
    policy = "single"
    settings: ClassVar[Mapping[str, Any]] = {"precompute": False, "budget": 0.5, "dim": 0, "proposal": "triples"}


class TestConceptOfAKind(TestConcept):
    policy = "tail"
    settings: ClassVar[Mapping[str, Any]] = {"mode": "paper"}

    def make(self, triples: LongTensor, *sizes: int, filtered: bool, seed: int) -> Corruptor:
        kinds = CandidateIndex.from_lists([[one % 3] for one in range(sizes[0])], num_columns=3)
        options = self.options(triples, *sizes, filtered=filtered, seed=seed)
        features = signature_features(triples, num_entities=sizes[0], num_relations=sizes[1])
        return ConceptCorruptor.from_triples(triples, features, require=kinds, **self.settings, **options)


class TestLemon(Suite):
    settings: ClassVar[Mapping[str, Any]] = {}
    typed = False

    def make(self, triples: LongTensor, *sizes: int, filtered: bool, seed: int) -> Corruptor:
        return LemonCorruptor.from_vectors(
            vectors_of(triples, sizes[0]),
            LemonSettings(**self.settings),
            types=observed(triples, *sizes) if self.typed else None,
            **self.options(triples, *sizes, filtered=filtered, seed=seed),
        )


class TestLemonPaper(TestLemon):
    policy = "alternate"
    settings: ClassVar[Mapping[str, Any]] = LemonSettings.paper().to_dict()


class TestLemonTyped(TestLemon):
    policy = "single"
    typed = True


class TestLemonRank(TestLemon):
    settings: ClassVar[Mapping[str, Any]] = {"rank_low": 1, "rank_high": 9}


class TestLemonRankTypedKept(TestLemon):
    settings: ClassVar[Mapping[str, Any]] = {"anchor": "kept", "rank_high": 12}
    typed = True


class TestLemonSimilarity(TestLemon):
    settings: ClassVar[Mapping[str, Any]] = {
        "dim": None,
        "n_clusters": 5,
        "min_similarity": -0.2,
        "max_similarity": 0.9,
    }


class TestLemonSimilarityTyped(TestLemonSimilarity):
    typed = True


@lru_cache(maxsize=32)
def prior_of(flat: tuple[int, ...], num_entities: int, num_relations: int) -> TruthPrior:
    triples = torch.tensor(flat).view(-1, 3)
    return TruthPrior.fit(triples, num_entities=num_entities, num_relations=num_relations, rank=3)


class TestLemonPlus(Suite):
    """Candidates that fit the relation; where a state dict goes, other ones are made first."""

    limit = 3.0
    more: ClassVar[Mapping[str, Any]] = {}

    def pool(self, triples: LongTensor, *sizes: int) -> Corruptor:
        plain = {"num_entities": sizes[0], "num_relations": sizes[1]}
        return TypedCorruptor(observed(triples, *sizes), **plain)

    def make(self, triples: LongTensor, *sizes: int, filtered: bool, seed: int) -> Corruptor:
        prior = copy.deepcopy(prior_of(tuple(triples.flatten().tolist()), *sizes))
        options = self.options(triples, *sizes, filtered=filtered, seed=seed)
        return LemonPlusCorruptor(
            self.pool(triples, *sizes), PlausibilityCeiling(prior, self.limit), **self.more, **options
        )


class TestLemonPlusCurriculum(TestLemonPlus):
    policy = "single"
    keys = "pair"
    limit = 0.0
    more: ClassVar[Mapping[str, Any]] = {"best_of": 3, "curriculum": 500, "width": 2}

    def pool(self, triples: LongTensor, *sizes: int) -> Corruptor:
        return LemonCorruptor.from_vectors(
            vectors_of(triples, sizes[0]),
            LemonSettings(n_clusters=6, n_nearest=6),
            types=observed(triples, *sizes),
            num_entities=sizes[0],
            num_relations=sizes[1],
        )

    def test_workers(self) -> None:
        """Workers cannot tell how much they drew, so a curriculum would not go on."""
        with pytest.raises(InvalidInputError, match="take num_workers=0, or curriculum=0"):
            super().test_workers()


class TestSans(Suite):
    settings: ClassVar[Mapping[str, Any]] = {"hops": 1}

    def make(self, triples: LongTensor, *sizes: int, filtered: bool, seed: int) -> Corruptor:
        options = self.options(triples, *sizes, filtered=filtered, seed=seed)
        return SansCorruptor.from_triples(triples, **self.settings, **options)


class TestSansWalks(TestSans):
    policy = "single"
    keys = "pair"
    settings: ClassVar[Mapping[str, Any]] = {"hops": 3, "walks": 2, "anchor": "replaced"}


class TestGiven(Suite):
    def make(self, triples: LongTensor, *sizes: int, filtered: bool, seed: int) -> Corruptor:
        given = triples.clone()
        given[:, 2] = (given[:, 2] + 1) % sizes[0]
        more = triples.clone()
        more[:, 0] = (more[:, 0] + 2) % sizes[0]
        options = self.options(triples, *sizes, filtered=filtered, seed=seed)
        return GivenCorruptor(torch.cat([given, more, triples[:2]]), **options)


class TestMixture(Suite):
    def make(self, triples: LongTensor, *sizes: int, filtered: bool, seed: int) -> Corruptor:
        plain = {"num_entities": sizes[0], "num_relations": sizes[1], "seed": 0}
        lemon = LemonCorruptor.from_vectors(vectors_of(triples, sizes[0]), LemonSettings(n_clusters=6), **plain)
        components = [
            (UniformCorruptor(**plain), 0.3),
            (TypedCorruptor(observed(triples, *sizes), **plain), 0.3),
            (lemon, 0.4),
        ]
        return MixtureCorruptor(components, **self.options(triples, *sizes, filtered=filtered, seed=seed))


class TestMixtureSingle(TestMixture):
    policy = "single"


class TestLemonTypedOtherClusters(TestLemonTyped):
    """The two ends of a state dict need not have the same number of clusters."""

    def make(self, triples: LongTensor, *sizes: int, filtered: bool, seed: int) -> Corruptor:
        large = len(triples) > 200  # the graph that a state dict comes from, not the one that it is loaded into
        self.settings = {"n_clusters": 7 if large else 5, "n_nearest": 4 if large else 3}
        return super().make(triples, *sizes, filtered=filtered, seed=seed)


class TestLemonOtherClusters(TestLemonTypedOtherClusters):
    typed = False


def ring(num_entities: int, *steps: int) -> CandidateIndex:
    """Each entity beside those some steps further on, the nearer with more weight; every fifth has none."""
    rows = torch.arange(num_entities).repeat_interleave(len(steps))
    members = (rows + torch.tensor(steps).repeat(num_entities)) % num_entities
    kept = (rows % 5 > 0) & (rows != members)
    weights = 1.0 / torch.tensor(steps, dtype=torch.double).repeat(num_entities)
    sizes = {"num_rows": num_entities, "num_columns": num_entities}
    return CandidateIndex.from_pairs(rows[kept], members[kept], weights=weights[kept], **sizes)


class TestNeighbourhood(Suite):
    def make(self, triples: LongTensor, *sizes: int, filtered: bool, seed: int) -> Corruptor:
        options = self.options(triples, *sizes, filtered=filtered, seed=seed)
        return NeighbourhoodCorruptor(ring(sizes[0], 1, 2, 3, 5, 8), **options)


class TestTaxonomy(Suite):
    def make(self, triples: LongTensor, *sizes: int, filtered: bool, seed: int) -> Corruptor:
        strategies = {"sibling": ring(sizes[0], 1, 2, 3), "edit": ring(sizes[0], 2, 4), "random": None}
        return TaxonomyCorruptor(
            strategies,
            {"sibling": 3, "edit": 2, "random": 1},
            near=ring(sizes[0], 2),
            **self.options(triples, *sizes, filtered=filtered, seed=seed),
        )


class TestTaxonomyAlone(Suite):
    policy = "single"
    keys = "pair"

    def make(self, triples: LongTensor, *sizes: int, filtered: bool, seed: int) -> Corruptor:
        options = self.options(triples, *sizes, filtered=filtered, seed=seed)
        return TaxonomyCorruptor({"sibling": ring(sizes[0], 1, 4)}, **options)


def plausible(queries: Queries, ids: IntTensor) -> FloatTensor:
    """Score candidates by a fixed rule that differs from query to query, on any device."""
    pair = (queries.kept * 31 + queries.relation * 17 + queries.side)[:, None]
    return torch.sin((pair * 7 + ids.long() * 13).double()).float()


class ModelAwareSuite(Suite):
    settings: ClassVar[Mapping[str, Any]] = {}

    def attach(self, corruptor: Any) -> Any:
        corruptor.attach(plausible)
        return corruptor


class TestDynamic(ModelAwareSuite):
    settings: ClassVar[Mapping[str, Any]] = {"pool": 8}

    def make(self, triples: LongTensor, *sizes: int, filtered: bool, seed: int) -> Corruptor:
        options = self.options(triples, *sizes, filtered=filtered, seed=seed)
        return self.attach(DynamicCorruptor(**self.settings, **options))


class TestDynamicControlled(TestDynamic):
    policy = "bernoulli"
    keys = "pair"
    settings: ClassVar[Mapping[str, Any]] = {
        "pool": 64,
        "temperature": 0.5,
        "skip_top": 2,
        "ceiling": 0.4,
        "share": 0.6,
    }


class TestDynamicSingle(TestDynamic):
    policy = "single"
    settings: ClassVar[Mapping[str, Any]] = {"pool": 8, "share": 0.6}


class TestNSCaching(ModelAwareSuite):
    def make(self, triples: LongTensor, *sizes: int, filtered: bool, seed: int) -> Corruptor:
        options = self.options(triples, *sizes, filtered=filtered, seed=seed)
        return self.attach(NSCachingCorruptor(triples, **self.settings, **options))


class TestNSCachingControlled(TestNSCaching):
    policy = "alternate"
    keys = "pair"
    settings: ClassVar[Mapping[str, Any]] = {
        "cache": 9,
        "candidates": 5,
        "refresh": 3,
        "skip_top": 2,
        "ceiling": 0.4,
        "share": 0.6,
    }


def concrete(base: type) -> Iterator[type]:
    for kind in base.__subclasses__():
        if not inspect.isabstract(kind):
            yield kind
        yield from concrete(kind)


def modules_with_corruptors() -> Iterator[str]:
    """Find where a class is derived from something that is called a corruptor."""
    for folder, package in ROOMS.items():
        base = ROOT / folder / "src"
        for path in sorted(base.rglob("*.py")):
            kinds = (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.ClassDef))
            if any(ast.unparse(parent).endswith("Corruptor") for kind in kinds for parent in kind.bases):
                parts = path.relative_to(base).with_suffix("").parts
                yield ".".join([package, *(part for part in parts if part != "__init__")])


def test_every_corruptor_is_resolvable_and_covered() -> None:
    modules = set(modules_with_corruptors())
    assert "kgneg.samplers.uniform" in modules
    for module in modules:
        importlib.import_module(module)
    public = (kind for kind in concrete(Corruptor) if not kind.__name__.startswith("_"))
    shipped = {kind for kind in public if kind.__module__.startswith("kgneg.")}
    assert shipped == set(corruptor_resolver.lookup_dict.values())
    triples = torch.tensor([[0, 0, 1], [2, 1, 3], [4, 0, 5]])
    covered = {
        type(suite().make(triples, 6, 2, filtered=True, seed=0))
        for suite in concrete(CorruptorConformance)
        if suite.__module__ == __name__ and suite.__name__.startswith("Test")
    }
    assert covered == shipped


@pytest.mark.parametrize(
    "name", ["uniform", "popularity", "typed", "lemon", "sans", "given", "mixture", "dynamic", "nscaching"]
)
def test_resolver_finds_names(name: str) -> None:
    assert corruptor_resolver.lookup(name).__name__.lower() == f"{name}corruptor"


def test_unknown_arguments_are_refused() -> None:
    sizes = {"num_entities": 6, "num_relations": 1}
    pools = CandidateIndex.from_lists([[0], [1]], num_columns=6)
    lemon = LemonCorruptor.from_vectors(torch.eye(6), LemonSettings(dim=None, n_clusters=3), **sizes)
    for make in (
        lambda **more: UniformCorruptor(**sizes, **more),
        lambda **more: PopularityCorruptor(torch.ones(6), **sizes, **more),
        lambda **more: PopularityCorruptor.from_triples(torch.tensor([[0, 0, 1]]), **sizes, **more),
        lambda **more: TypedCorruptor(pools, **sizes, **more),
        lambda **more: GivenCorruptor(torch.tensor([[0, 0, 1]]), **sizes, **more),
        lambda **more: LemonCorruptor.from_vectors(torch.eye(6), lemon.settings, **sizes, **more),
        lambda **more: SansCorruptor.from_triples(torch.tensor([[0, 0, 1]]), **sizes, **more),
        lambda **more: DynamicCorruptor(**sizes, **more),
        lambda **more: NSCachingCorruptor(torch.tensor([[0, 0, 1]]), **sizes, **more),
        lambda **more: MixtureCorruptor([(UniformCorruptor(**sizes), 1.0)], **sizes, **more),
    ):
        make()
        with pytest.raises(TypeError, match="colour"):
            make(colour="red")
