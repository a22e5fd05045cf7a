from __future__ import annotations

from typing import Any

import pytest

from kgneg.compare import SamplerChoice, UnknownNameError
from kgneg.compare.samplers import with_texts
from kgneg.core.errors import InvalidInputError


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("basic", "basic", {}),
        (" lemon : n_clusters = 4 ", "lemon", {"n_clusters": 4}),
        ("lemon:encoder=lexical,typed=true,uniform_share=0.5", "lemon",
         {"encoder": "lexical", "typed": True, "uniform_share": 0.5}),
        ('mixture:components="typed=0.5,lemon=0.5",seed=3', "mixture",
         {"components": "typed=0.5,lemon=0.5", "seed": 3}),
        ('mixture:components={"typed": 1, "lemon": 2}', "mixture", {"components": {"typed": 1, "lemon": 2}}),
        ('basic:corruption_scheme=["h","t"],filtered=true', "basic",
         {"corruption_scheme": ["h", "t"], "filtered": True}),
        ("lemon:encoder=null", "lemon", {"encoder": None}),
        ("lemon:encoder=NaN", "lemon", {"encoder": "NaN"}),
        ("given:path=C:/a=b.tsv", "given", {"path": "C:/a=b.tsv"}),
    ],
)  # fmt: skip
def test_parsing(text: str, name: str, options: dict[str, Any]) -> None:
    choice = SamplerChoice.parse(text)
    assert choice.name.strip() == name
    assert choice.options == options
    assert choice.label == text.strip()


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("lemmon", UnknownNameError, "unknown sampler 'lemmon'; known: lemon"),
        ("", UnknownNameError, "unknown sampler ''"),
        ("lemon:encodr=lexical", UnknownNameError, "unknown option of the sampler lemon 'encodr'; known: encoder"),
        ("mixture:components=typed=0.5,lemon=0.5", UnknownNameError, "'lemon'.*commas into double quotes"),
        ("basic:num_negs_per_pos=3", UnknownNameError, "num_negs_per_pos"),
        ("lemon:lexical", InvalidInputError, "got 'lexical', expected key=value"),
        ("lemon:", InvalidInputError, "expected key=value"),
        ("lemon:dim=2,dim=3", InvalidInputError, "dim is given twice"),
        ("given", InvalidInputError, "needs path"),
    ],
)
def test_refusals(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        SamplerChoice.parse(text)


def test_values_must_be_json() -> None:
    with pytest.raises(InvalidInputError, match="JSON can spell"):
        SamplerChoice("lemon", {"encoder": object()})
    with pytest.raises(InvalidInputError, match="JSON can spell"):
        SamplerChoice("lemon", {"uniform_share": float("nan")})


def test_label_can_be_read_back() -> None:
    choice = SamplerChoice("mixture", {"components": "typed=1,lemon=1", "seed": 1})
    assert SamplerChoice.parse(str(choice.label)) == choice


def test_texts_go_where_they_are_read() -> None:
    given = {"texts": None, "encoder": "lexical", "missing_text": None}
    lemon, basic, typed = (SamplerChoice.parse(text) for text in ("lemon", "basic", "typed"))
    assert with_texts(lemon, given, default_texts="zoo").options == {"encoder": "lexical", "texts": "zoo"}
    assert with_texts(lemon, given, default_texts=None).options == {"encoder": "lexical"}
    assert with_texts(lemon, given, default_texts="zoo").label == "lemon"
    for other in (basic, typed):
        assert with_texts(other, given, default_texts="zoo") == other


def test_own_texts_win() -> None:
    own = SamplerChoice.parse("lemon:encoder=minilm,texts=a.tsv")
    assert with_texts(own, {"texts": "b.tsv", "encoder": "lexical"}, default_texts="zoo") == own
    vectors = SamplerChoice.parse("lemon:vectors=v.npy")
    assert with_texts(vectors, {}, default_texts="zoo") == vectors


def test_texts_reach_the_parts_of_a_mixture() -> None:
    mixture = SamplerChoice.parse('mixture:components="typed=1,lemon=1"')
    found = with_texts(mixture, {"encoder": "lexical"}, default_texts="zoo")
    assert found.options["components_kwargs"] == {"lemon": {"encoder": "lexical"}}
    source = SamplerChoice.parse("dynamic:pool_from=lemon")
    found = with_texts(source, {"encoder": "lexical"}, default_texts="zoo")
    assert found.options == {"pool_from": "lemon", "pool_from_kwargs": {"lemon": {"encoder": "lexical"}}}
    plain = SamplerChoice.parse("mixture")
    assert with_texts(plain, {"encoder": "lexical"}, default_texts="zoo") == plain


def test_who_looks_at_the_model() -> None:
    needs = {name: SamplerChoice(name).needs_model for name in ("basic", "typed", "dynamic", "nscaching")}
    assert needs == {"basic": False, "typed": False, "dynamic": True, "nscaching": True}
