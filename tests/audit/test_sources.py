from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from pykeen.sampling import BasicNegativeSampler

from kgneg.audit import AuditData, AuditSettings
from kgneg.audit.sources import as_source, make_drawer
from kgneg.compare import SamplerChoice, UnknownNameError
from kgneg.core.corruption import Corruptor
from kgneg.core.errors import InvalidInputError
from kgneg.samplers import UniformCorruptor

CPU = torch.device("cpu")
MODULE = """
import torch
from pykeen.sampling import NegativeSampler

class Shifted(NegativeSampler):
    def __init__(self, *, mapped_triples, num_entities, num_relations, num_negs_per_pos, by=1):
        super().__init__(mapped_triples=mapped_triples, num_entities=num_entities, num_relations=num_relations,
                         num_negs_per_pos=num_negs_per_pos)
        self.by = by

    def corrupt_batch(self, positive_batch):
        triples = positive_batch[:, None].repeat(1, self.num_negs_per_pos, 1)
        triples[..., 2] = (triples[..., 2] + self.by) % self.num_entities
        return triples

def shifted(positives, n, by=1):
    triples = positives[:, None].repeat(1, n, 1)
    triples[..., 2] = (triples[..., 2] + by) % 14
    return triples
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_own_samplers.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_own_samplers", raising=False)


def draw(sampler: Any, data: AuditData) -> torch.Tensor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        drawer, _ = make_drawer(as_source(sampler), data, 4, handle=None, device=CPU)
        triples, mask = drawer(data.train[:50])
    assert triples.shape == (50, 4, 3)
    assert mask is None
    return triples


def test_all_kinds_draw(nations: AuditData) -> None:
    arguments: dict[str, Any] = {"mapped_triples": nations.train, **nations.sizes}
    corruptor = UniformCorruptor(index=nations.known["train"], seed=0, **nations.sizes)
    expected = draw("basic", nations)
    for same in (BasicNegativeSampler, BasicNegativeSampler(num_negs_per_pos=9, **arguments), SamplerChoice("basic")):
        assert torch.equal(draw(same, nations), expected)
    known = nations.known["train"]
    for exact in (corruptor, UniformCorruptor, "kgneg-uniform"):
        assert not known.contains(draw(exact, nations)).any()
    assert torch.equal(draw(corruptor, nations), draw(corruptor, nations)), "the private stream of the original stays"


class Sums(Corruptor):
    def propose(self, queries: Any, n: int, generator: torch.Generator) -> Any:
        rest = torch.randint(self.num_entities, (len(queries), n), generator=generator)
        return rest, None


def test_a_corruptor_of_the_user(nations: AuditData) -> None:
    assert not nations.known["train"].contains(draw(Sums, nations)).any()


@pytest.mark.usefixtures("module")
def test_by_module(nations: AuditData) -> None:
    for text in ("my_own_samplers:Shifted:by=3", "my_own_samplers:shifted:by=3"):
        triples = draw(text, nations)
        assert torch.equal(triples[:, 0, 2], (nations.train[:50, 2] + 3) % 14)
        source = as_source(text)
        assert source.to_dict() == {"label": text, "name": text.removesuffix(":by=3"), "options": {"by": 3}}


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("my_own_samplers:Shiftet", "unknown class or function in my_own_samplers 'Shiftet'; known: shifted, Shifted"),
        ("no_such_module:Thing", "cannot import no_such_module"),
        ("my_own_samplers:Shifted:by", "expected key=value"),
        ("lemmon", "unknown sampler 'lemmon'; known: lemon"),
        ("lemmon:dim=2", "unknown sampler 'lemmon'; known: lemon"),
        ("basic:filtered", "expected key=value"),
        ("lemon:dimm=2", "unknown option"),
    ],
)
def test_bad_texts(text: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        as_source(text)


@pytest.mark.parametrize("thing", [3, None, ["basic"], object()])
def test_no_samplers(thing: Any) -> None:
    with pytest.raises(InvalidInputError, match="a sampler must be a name"):
        as_source(thing)


def test_labels() -> None:
    def mine(positives: torch.Tensor, n: int) -> torch.Tensor:
        return positives[:, None].repeat(1, n, 1)

    assert as_source(mine).label == "mine"
    assert as_source(("other", mine)).label == "other"
    assert as_source(BasicNegativeSampler).label == "BasicNegativeSampler"
    assert as_source(("plain", "lemon:encoder=lexical")).to_dict()["label"] == "plain"
    assert as_source(BasicNegativeSampler).to_dict()["name"].endswith(":BasicNegativeSampler")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samplers": ()}, "at least one sampler"),
        ({"samplers": "basic"}, "at least one sampler"),
        ({"samplers": ("basic", "basic")}, "samplers must differ, got basic twice"),
        ({"dataset": None}, "give a dataset"),
        ({"train": "x"}, "not both"),
        ({"negatives": 0}, "negatives must be at least 1"),
        ({"draws": 1.5}, "draws must be an integer"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"seed": 2**32}, "seed must be below"),
        ({"examples": -1}, "examples must be at least 0"),
        ({"reference": "distmul"}, "unknown model 'distmul'; known: distmult"),
        ({"reference_dim": 0}, "reference_dim must be at least 1"),
        ({"reference_epochs": 0}, "reference_epochs must be at least 1"),
        ({"device": "cuda:77"}, "is not there"),
        ({"device": "cup"}, "device must be cpu"),
        ({"missing_text": "no"}, "missing_text must be error or label"),
        ({"encoder": "lexical"}, "encoder would have no effect"),
    ],
)
def test_settings(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        AuditSettings(**{"dataset": "nations", "samplers": ("basic",), **changes})


def test_unknown_names_are_told_apart() -> None:
    with pytest.raises(UnknownNameError):
        AuditSettings(dataset="nations", samplers=("lemmon",))
