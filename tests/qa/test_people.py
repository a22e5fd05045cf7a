"""The persons of events."""

from __future__ import annotations

import pytest
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.qa import People
from kgneg.qa.people import given_names

KIM = ("Kim", "Lee", "Sam")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("PersonX meets PersonY and PersonX's cat", "Kim meets Lee and Kim's cat"),
        ("person z, Person Y's and PErsonX", "Sam, Lee's and Kim"),
        ("persony's", "Lee's"),
        ("compliment X on X's taste", "compliment Kim on Kim's taste"),
        ("X gets an X ray of generation Z, solves for x", "Kim gets an X ray of generation Z, solves for x"),
        ("x-ray, taxi, A&X and personal", "x-ray, taxi, A&X and personal"),
    ],
)
def test_names(text: str, named: str) -> None:
    people = People()
    assert people.fill(people.mark(text), KIM) == named


def test_letters_and_aliases() -> None:
    people = People(letters=False, aliases={"John": "PersonX", "Tom": "PersonY"})
    assert people.fill(people.mark("John's tomboy Tom is x"), KIM) == "Kim's tomboy Lee is x"
    assert people.fill(people.mark("John and Johnny")) == "PersonX and Johnny"
    assert people.mentions(people.mark("John and PersonZ")) == 5 and people.mentions("nobody") == 0


def test_draws() -> None:
    people = People()
    drawn = people.draw(400, torch.Generator().manual_seed(1))
    assert torch.equal(drawn, people.draw(400, torch.Generator().manual_seed(1)))
    assert not torch.equal(drawn, people.draw(400, torch.Generator().manual_seed(2)))
    assert all(len(set(row)) == 3 for row in drawn.tolist())
    assert len(drawn.unique()) == len(people.names) == len(given_names()) >= 37


def test_refusals() -> None:
    with pytest.raises(InvalidInputError, match="names must be 3 different ones or more"):
        People(["Kim", "Kim", "Lee"])
    with pytest.raises(InvalidInputError, match="names must be several ones, got the text 'Kim'"):
        People("Kim")
    with pytest.raises(InvalidInputError, match="the alias 'John' stands for 'X', expected PersonX"):
        People(aliases={"John": "X"})
