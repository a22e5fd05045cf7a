"""The options of the single samplers: given, mixture, typed and LEMON."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from pykeen.datasets import UMLS, Nations
from pykeen.triples import TriplesFactory

from kgneg.core.errors import InvalidInputError
from kgneg.integrations.pykeen import (
    GivenNegativeSampler,
    KgnegDataset,
    KgnegNegativeSampler,
    LemonNegativeSampler,
    MixtureNegativeSampler,
    TypedNegativeSampler,
)
from kgneg.samplers import (
    GivenCorruptor,
    LemonCorruptor,
    LemonSettings,
    MixtureCorruptor,
    TypedCorruptor,
    UniformCorruptor,
)

Make = Callable[..., KgnegNegativeSampler]
ROWS = [("brazil", "embassy", "china"), ("cuba", "exports3", "israel"), ("uk", "embassy", "poland")]


def table(path: Path, rows: list[tuple[str, ...]]) -> str:
    path.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def as_ids(factory: TriplesFactory, rows: list[tuple[str, ...]]) -> torch.Tensor:
    entity, relation = factory.entity_to_id, factory.relation_to_id
    return torch.tensor([[entity[h], relation[r], entity[t]] for h, r, t in rows])


# given


@pytest.mark.parametrize("kind", ["tsv", "parquet"])
def test_given_negatives_are_drawn(nations: Nations, make: Make, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"given.{kind}"
    if kind == "tsv":
        table(path, ROWS)
    else:
        pd.DataFrame(ROWS, columns=["head", "relation", "tail"]).to_parquet(path)
    factory = nations.training
    negatives = as_ids(factory, ROWS)
    assert not (factory.mapped_triples[:, None] == negatives).all(-1).any()
    built = make(GivenNegativeSampler, factory, path=path, num_negs_per_pos=4, seed=0)
    for head, relation, tail in negatives.tolist():
        for column, kept, put_in in ((2, head, tail), (0, tail, head)):
            others = [entity for entity in range(14) if entity != put_in]
            positives = torch.tensor(
                [[kept if column == 2 else x, relation, x if column == 2 else kept] for x in others]
            )
            drawn = built.draw(positives)
            here = drawn.side == column
            assert set(drawn.entity[here].tolist()) == {put_in}
            assert not drawn.fallback[here].any()
    drawn = built.draw(factory.mapped_triples)
    assert drawn.fallback.any()
    assert not drawn.fallback.all()


def test_given_negatives_with_inverse_triples(make: Make, tmp_path: Path) -> None:
    factory = Nations(create_inverse_triples=True).training
    path = table(tmp_path / "given.tsv", ROWS[:1])
    [[head, relation, tail]] = as_ids(factory, ROWS[:1]).tolist()
    doubled = factory._add_inverse_triples_if_necessary(factory.mapped_triples)
    for triples in (doubled, doubled[500:2500]):  # a subset shows in the number of relations only
        built = GivenNegativeSampler(
            mapped_triples=triples, num_entities=14, num_relations=110, path=path, num_negs_per_pos=4, seed=0
        )
        cases = torch.tensor([[head, 2 * relation, 0], [0, 2 * relation + 1, head]])
        drawn = built.draw(cases)
        assert drawn.entity[0][drawn.side[0] == 2].tolist() == [tail] * 2
        assert drawn.entity[1][drawn.side[1] == 0].tolist() == [tail] * 2
        assert not drawn.fallback[0][2:].any()
        assert not drawn.fallback[1][:2].any()
        other = built.draw(torch.tensor([[head, 2 * relation + 1, 0], [head, relation, 0]]))
        assert other.fallback[:, 2:].all()


def test_given_labels_that_are_unknown(
    nations: Nations, make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = table(tmp_path / "given.tsv", [*ROWS, ("atlantis", "embassy", "uk"), ("uk", "likes", "cuba")])
    with pytest.raises(InvalidInputError, match=r"2 of 5 rows .*'atlantis', 'likes'.*unknown='skip'"):
        make(GivenNegativeSampler, nations.training, path=path)
    built = make(GivenNegativeSampler, nations.training, path=path, unknown="skip", num_negs_per_pos=2, seed=0)
    assert "2 of 5 rows" in caplog.text
    reference = make(
        GivenNegativeSampler, nations.training, path=table(tmp_path / "b.tsv", ROWS), num_negs_per_pos=2, seed=0
    )
    positives = nations.training.mapped_triples
    assert torch.equal(built.corrupt_batch(positives), reference.corrupt_batch(positives))
    foreign = table(tmp_path / "foreign.tsv", [("a", "b", "c")])
    with pytest.raises(InvalidInputError, match="1 of 1 rows"):
        make(GivenNegativeSampler, nations.training, path=foreign, unknown="skip")
    with pytest.raises(InvalidInputError, match="unknown"):
        make(GivenNegativeSampler, nations.training, path=path, unknown="ignore")
    with pytest.raises(InvalidInputError, match=r"absent\.tsv"):
        make(GivenNegativeSampler, nations.training, path=str(tmp_path / "absent.tsv"))
    bare = torch.tensor([[number, 0, number + 1] for number in range(30)])
    with pytest.raises(InvalidInputError, match="no triples factory"):
        GivenNegativeSampler(mapped_triples=bare, path=path)


def test_given_negatives_that_are_known(
    nations: Nations, make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    factory = nations.training
    head, relation, tail = factory.mapped_triples[0].tolist()
    known = (factory.entity_id_to_label[head], factory.relation_id_to_label[relation], factory.entity_id_to_label[tail])
    path = table(tmp_path / "given.tsv", [known, *ROWS])
    built = make(GivenNegativeSampler, factory, path=path, num_negs_per_pos=6)
    assert "1 of 4 given negatives are known triples" in caplog.text
    assert isinstance(built.corruptor, GivenCorruptor)
    negatives = built.corrupt_batch(factory.mapped_triples).reshape(-1, 3)
    assert not (negatives == factory.mapped_triples[0]).all(dim=-1).any()


# mixture


@pytest.mark.parametrize(
    "components",
    [
        "typed=0.25,kgneg-uniform=0.75",
        " Typed = 1 , uniform = 3 ",
        "typed=1,kgneg_uniform=3",
        {"typed": 1, "kgneg-uniform": 3},
        {"typed": 0.1, "uniform": 0.3},
    ],
    ids=str,
)
def test_spellings_of_a_mixture(nations: Nations, make: Make, components: Any) -> None:
    built = make(MixtureNegativeSampler, nations.training, components=components, num_negs_per_pos=8, seed=0)
    assert isinstance(built.corruptor, MixtureCorruptor)
    assert [type(part) for part in built.corruptor.components] == [TypedCorruptor, UniformCorruptor]
    assert built.corruptor.shares == pytest.approx((0.25, 0.75))
    reference = make(
        MixtureNegativeSampler, nations.training, components={"typed": 1, "uniform": 3}, num_negs_per_pos=8, seed=0
    )
    positives = nations.training.mapped_triples
    assert torch.equal(built.corrupt_batch(positives), reference.corrupt_batch(positives))


def test_components_without_share_are_equal(nations: Nations, make: Make) -> None:
    built = make(MixtureNegativeSampler, nations.training, components="typed,kgneg-uniform")
    assert isinstance(built.corruptor, MixtureCorruptor)
    assert built.corruptor.shares == (0.5, 0.5)


def test_arguments_of_components(nations: Nations, make: Make, tmp_path: Path) -> None:
    path = table(tmp_path / "given.tsv", ROWS)
    own = {"LEMON": {"encoder": "lexical", "n_clusters": 4, "mode": "paper"}, "given": {"path": path}}
    built = make(MixtureNegativeSampler, nations.training, components="lemon=2,given=1,typed=1", components_kwargs=own)
    assert isinstance(built.corruptor, MixtureCorruptor)
    lemon, given, typed = built.corruptor.components
    assert isinstance(lemon, LemonCorruptor)
    assert (lemon.settings.n_clusters, lemon.settings.anchor) == (4, "kept")
    assert isinstance(given, GivenCorruptor)
    assert isinstance(typed, TypedCorruptor)
    assert built.corruptor.shares == (0.5, 0.25, 0.25)
    assert built.corruptor.sides.policy == "uniform"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"components": "typed=0.5,magic=0.5"}, "'magic' is no component.*typed"),
        ({"components": "typed=half"}, "'typed=half' is no name=share"),
        ({"components": ""}, "is no component"),
        ({"components": {}}, "at least one component"),
        ({"components": ["typed"]}, r"a mapping, got \['typed'\]"),
        ({"components": "typed=0,kgneg-uniform=1"}, "positive"),
        ({"components": "typed=-1,kgneg-uniform=2"}, "positive"),
        ({"components": "typed=nan,kgneg-uniform=1"}, "positive"),
        ({"components": "typed=inf"}, "positive"),
        ({"components": "mixture=1"}, "'mixture' is no component"),
        ({"components": "typed=1", "components_kwargs": {"lemon": {}}}, "lemon, which is not among"),
        ({"components": "typed=1", "components_kwargs": {"magic": {}}}, "'magic' is no component"),
        ({"components_kwargs": {"typed": {"sides": "head"}}}, "sides of typed belongs to the mixture"),
        ({"components_kwargs": {"typed": {"num_negs_per_pos": 3}}}, "num_negs_per_pos of typed belongs"),
        ({"sides": "both"}, "side policy"),
        ({"components": "typed=0.3,typed=0.7"}, "typed.*twice"),
        ({"components": {"uniform": 0.3, "kgneg-uniform": 0.7}}, "kgneg-uniform.*twice"),
        ({"components_kwargs": {"typed": {}, "Typed": {"support": 0.1}}}, "typed.*twice"),
    ],
    ids=str,
)
def test_refusals_of_a_mixture(nations: Nations, make: Make, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        make(MixtureNegativeSampler, nations.training, **arguments)


def test_a_component_refuses_unknown_arguments(nations: Nations, make: Make) -> None:
    with pytest.raises(TypeError, match="magic"):
        make(MixtureNegativeSampler, nations.training, components_kwargs={"typed": {"magic": 1}})


# typed


@pytest.fixture
def typed_graph(tmp_path: Path) -> Path:
    """A graph of people and cities; only types tell that a city without visitors could be visited."""
    folder = tmp_path / "graph"
    folder.mkdir()
    people, cities = [f"person{number}" for number in range(6)], [f"city{number}" for number in range(6)]
    rows = [(people[i], "visits", cities[i]) for i in range(3)]
    rows += [(people[i], "knows", people[(i + 1) % 6]) for i in range(6)]
    rows += [(cities[i], "near", cities[(i + 1) % 6]) for i in range(6)]
    table(folder / "train.tsv", rows)
    table(folder / "test.tsv", [(people[4], "visits", cities[5])])
    pairs = [(name, "human") for name in people] + [(name, "place") for name in cities]
    table(folder / "entity_types.tsv", [*pairs, ("elsewhere", "place")])
    return folder


def tails(built: KgnegNegativeSampler, factory: TriplesFactory, relation: str, inverse: bool = False) -> set[str]:
    number = factory.relation_to_id[relation]
    triples = factory._add_inverse_triples_if_necessary(factory.mapped_triples)
    positives = triples[triples[:, 1] == (2 * number if inverse else number)]
    drawn = built.draw(positives.repeat(20, 1))
    return {factory.entity_id_to_label[entity] for entity in drawn.entity[drawn.side == 2].tolist()}


@pytest.mark.parametrize("inverse", [False, True], ids=["plain", "inverse"])
def test_types_from_everywhere(typed_graph: Path, make: Make, inverse: bool) -> None:
    factory = KgnegDataset(path=typed_graph, create_inverse_triples=inverse).training
    own = {"num_negs_per_pos": 4, "seed": 0}
    observed = make(TypedNegativeSampler, factory, **own)
    assert tails(observed, factory, "visits", inverse) == {"city0", "city1", "city2"}
    cities = {f"city{number}" for number in range(6)}
    for types in ("graph", str(typed_graph), str(typed_graph / "entity_types.tsv")):
        built = make(TypedNegativeSampler, factory, types=types, **own)
        assert tails(built, factory, "visits", inverse) == cities
        assert built.report()["fallback"] == 0


def test_types_with_inverse_relations_swap_ends(typed_graph: Path, make: Make) -> None:
    factory = KgnegDataset(path=typed_graph, create_inverse_triples=True).training
    built = make(TypedNegativeSampler, factory, types="graph", num_negs_per_pos=4, seed=0)
    number = 2 * factory.relation_to_id["visits"] + 1
    triples = factory._add_inverse_triples_if_necessary(factory.mapped_triples)
    drawn = built.draw(triples[triples[:, 1] == number].repeat(20, 1))
    names = factory.entity_id_to_label
    assert {names[entity][:4] for entity in drawn.entity[drawn.side == 0].tolist()} == {"city"}
    assert {names[entity][:6] for entity in drawn.entity[drawn.side == 2].tolist()} == {"person"}


def test_refusals_of_types(nations: Nations, make: Make, tmp_path: Path, typed_graph: Path) -> None:
    foreign = table(tmp_path / "types.tsv", [("berlin", "city")])
    cases = [("graph", "0 types"), (foreign, "1 types, but none"), ("nowhere", "nowhere"), (str(typed_graph), "none")]
    for types, message in cases:
        with pytest.raises(InvalidInputError, match=message):
            make(TypedNegativeSampler, nations.training, types=types)
    with pytest.raises(InvalidInputError, match="support"):
        make(TypedNegativeSampler, KgnegDataset(path=typed_graph).training, types="graph", support=1.5)
    bare = torch.tensor([[number, 0, number + 1] for number in range(31)])
    with pytest.raises(InvalidInputError, match="no triples factory"):
        TypedNegativeSampler(mapped_triples=bare, types=foreign)


# LEMON


def settings_of(built: KgnegNegativeSampler) -> LemonSettings:
    assert isinstance(built.corruptor, LemonCorruptor)
    return built.corruptor.settings


def test_paper_mode_is_the_published_method(umls: UMLS, make: Make) -> None:
    built = make(LemonNegativeSampler, umls.training, mode="paper", num_negs_per_pos=3)
    settings = settings_of(built)
    assert settings == LemonSettings.paper()
    assert (settings.anchor, settings.dim, settings.n_clusters, settings.n_nearest) == ("kept", 2, 15, 3)
    assert built.corruptor.sides.policy == "alternate"
    positives = umls.training.mapped_triples[:64]
    for column in (0, 2, 0):  # whole batches of heads and of tails in turn
        changed = built.corrupt_batch(positives) != positives[:, None]
        assert bool(changed[..., column].all())
    plain = make(LemonNegativeSampler, umls.training)
    assert settings_of(plain) == LemonSettings()
    assert plain.corruptor.sides.policy == "uniform"


@pytest.mark.parametrize(
    ("option", "value", "found"),
    [
        ("anchor", "replaced", "replaced"),
        ("dim", 4, 4),
        ("dim", 0, None),
        ("n_clusters", 7, 7),
        ("n_nearest", 2, 2),
        ("rank_high", 5, 5),
        ("min_similarity", 0.1, 0.1),
        ("max_similarity", 0.9, 0.9),
    ],
)
@pytest.mark.parametrize("mode", ["default", "paper"])
def test_explicit_options_win(nations: Nations, make: Make, mode: str, option: str, value: Any, found: Any) -> None:
    built = make(LemonNegativeSampler, nations.training, mode=mode, **{option: value})
    settings = settings_of(built)
    base = LemonSettings.paper() if mode == "paper" else LemonSettings()
    assert getattr(settings, option) == found
    differing = {name for name, item in settings.to_dict().items() if item != base.to_dict()[name]}
    assert differing <= {option}
    policy = make(LemonNegativeSampler, nations.training, mode=mode, sides="tail").corruptor.sides.policy
    assert policy == "tail"


def test_fewer_clusters_than_nearest_ones(nations: Nations, make: Make) -> None:
    assert settings_of(make(LemonNegativeSampler, nations.training, n_clusters=2)).n_nearest == 2
    with pytest.raises(InvalidInputError, match="n_nearest=3 exceeds n_clusters=2"):
        make(LemonNegativeSampler, nations.training, n_clusters=2, n_nearest=3)


def test_a_share_of_uniform_negatives(umls: UMLS, make: Make) -> None:
    def kinds(share: float) -> list[type]:
        corruptor = make(LemonNegativeSampler, umls.training, uniform_share=share).corruptor
        return [type(part) for part in getattr(corruptor, "components", [corruptor])]

    assert kinds(0.0) == [LemonCorruptor]
    assert kinds(0.25) == [LemonCorruptor, UniformCorruptor]
    assert kinds(1.0) == [UniformCorruptor]
    mixed = make(LemonNegativeSampler, umls.training, uniform_share=0.25).corruptor
    assert isinstance(mixed, MixtureCorruptor)
    assert mixed.shares == (0.75, 0.25)
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(InvalidInputError, match="uniform_share"):
            make(LemonNegativeSampler, umls.training, uniform_share=share)


def test_typed_lemon_stays_within_domain_and_range(umls: UMLS, make: Make) -> None:
    triples = umls.training.mapped_triples
    built = make(LemonNegativeSampler, umls.training, typed=True, num_negs_per_pos=6, seed=0)
    drawn = built.draw(triples)
    seen = torch.zeros(2, 135, 46, dtype=torch.bool)
    seen[0, triples[:, 0], triples[:, 1]] = True
    seen[1, triples[:, 2], triples[:, 1]] = True
    relation = triples[:, 1, None].expand(drawn.entity.shape)
    fits = seen[(drawn.side == 2).long(), drawn.entity.long(), relation]
    assert bool((fits | drawn.fallback).all())
    assert float(fits.float().mean()) > 0.5
    loose = make(LemonNegativeSampler, umls.training, num_negs_per_pos=6, seed=0).draw(triples)
    assert not bool((seen[(loose.side == 2).long(), loose.entity.long(), relation] | loose.fallback).all())


def test_unknown_choices_are_refused(nations: Nations, make: Make) -> None:
    for option in ("mode", "anchor", "sides"):
        with pytest.raises(InvalidInputError, match="magic"):
            make(LemonNegativeSampler, nations.training, **{option: "magic"})
