from __future__ import annotations

import pytest
import torch

from kgneg.core import errors
from kgneg.core.errors import InvalidInputError
from kgneg.core.validation import choose, validate_count, validate_share, validate_triples


def test_counts() -> None:
    assert validate_count("n", 3) == 3
    assert validate_count("n", 0, 0) == 0
    for value in (0, -1):
        with pytest.raises(InvalidInputError, match=f"^n must be at least 1, got {value}$"):
            validate_count("n", value)
    for value in (1.0, "1", True, None):
        with pytest.raises(InvalidInputError, match=f"n must be an integer, got .* of type {type(value).__name__}"):
            validate_count("n", value)


def test_shares() -> None:
    assert [validate_share("p", value) for value in (0, 0.5, 1)] == [0.0, 0.5, 1.0]
    assert isinstance(validate_share("p", 1), float)
    for value in (-1e-9, 1.1, float("nan"), float("inf")):
        with pytest.raises(InvalidInputError, match="p must be between 0 and 1, got"):
            validate_share("p", value)


def test_choices() -> None:
    assert choose("mode", "a", ("a", "b")) == "a"
    with pytest.raises(InvalidInputError, match="mode must be one of a, b; got 'c'"):
        choose("mode", "c", ("a", "b"))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64])
@pytest.mark.parametrize("shape", [(3,), (0, 3), (4, 3), (2, 2, 3), (0, 5, 3)])
def test_good_triples(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    triples = torch.zeros(shape, dtype=dtype)
    valid = validate_triples(triples, 1, 1)
    assert valid.dtype == torch.int64
    assert valid.shape == shape


def test_extreme_ids() -> None:
    triples = torch.tensor([[4, 1, 0], [0, 0, 4]])
    assert validate_triples(triples, 5, 2) is triples
    for column, what, limit in ((0, "head entity", 5), (1, "relation", 2), (2, "tail entity", 5)):
        for value in (-1, limit, 2**40, -(2**40)):
            bad = torch.zeros((2, 3, 3), dtype=torch.long)
            bad[1, 2, column] = value
            message = rf"^{what} id {value} in triple 5 is out of range: ids must be in \[0, {limit}\)"
            with pytest.raises(InvalidInputError, match=message):
                validate_triples(bad, 5, 2)


@pytest.mark.parametrize(
    ("triples", "message"),
    [
        (torch.tensor(1), r"shape \(\*, 3\), got \(\)"),
        (torch.zeros(3, 2, dtype=torch.long), r"got \(3, 2\)"),
        (torch.zeros(0, dtype=torch.long), r"got \(0,\)"),
        (torch.zeros(1, 3), "got dtype torch.float32"),
        (torch.zeros(1, 3, dtype=torch.complex64), "got dtype torch.complex64"),
        (torch.zeros(1, 3, dtype=torch.bool), "got dtype torch.bool"),
        ([[0, 0, 0]], "got list"),
        (None, "got NoneType"),
    ],
)
def test_bad_triples(triples: torch.Tensor, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        validate_triples(triples, 5, 2)


def test_errors_can_be_caught_by_their_builtin_kind() -> None:
    kinds = {name: getattr(errors, name) for name in errors.__all__}
    assert all(issubclass(kind, errors.KgnegError) for kind in kinds.values())
    for name, builtin in (
        ("InvalidInputError", ValueError),
        ("KeyOverflowError", ValueError),
        ("MissingTextError", ValueError),
        ("ExhaustedPoolError", RuntimeError),
        ("MissingExtraError", ImportError),
    ):
        assert issubclass(kinds[name], builtin)
