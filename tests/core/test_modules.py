from __future__ import annotations

import pytest
import torch

from kgneg.core.modules import BufferModule, share


class Sized(BufferModule):
    def __init__(self, values: list[float], extra: torch.Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("values", torch.tensor(values))
        self.register_buffer("extra", extra)
        self._derive()

    def _derive(self) -> None:
        self.number = len(self.values)


def test_any_size_is_loaded_and_derived_values_follow() -> None:
    for mine, theirs in (([], [1.0, 2.0]), ([1.0, 2.0], []), ([1.0], [3.0])):
        source, target = Sized(theirs), Sized(mine)
        target.load_state_dict(source.state_dict())
        assert target.values.tolist() == theirs
        assert target.number == len(theirs)
        target.values.fill_(9)
        assert source.values.tolist() == theirs


def test_a_buffer_that_was_none_is_loaded() -> None:
    target = Sized([1.0])
    target.load_state_dict(Sized([2.0], torch.arange(3)).state_dict())
    assert target.extra.tolist() == [0, 1, 2]


def test_inside_another_module_with_a_prefix() -> None:
    source = torch.nn.ModuleList([Sized([1.0, 2.0]), Sized([])])
    target = torch.nn.ModuleList([Sized([]), Sized([5.0])])
    target.load_state_dict(source.state_dict())
    assert [part.number for part in target] == [2, 0]


def test_missing_and_unexpected_names_are_reported() -> None:
    state = Sized([1.0]).state_dict()
    with pytest.raises(RuntimeError, match="other"):
        Sized([1.0]).load_state_dict({**state, "other": torch.ones(1)})
    with pytest.raises(RuntimeError, match="values"):
        Sized([1.0]).load_state_dict({})


def test_shared_copies_move_on_their_own() -> None:
    original = torch.nn.ModuleList([Sized([1.0, 2.0]), torch.nn.Linear(2, 2)])
    twin = share(original)
    assert twin[0].values is original[0].values
    assert twin[1].weight is original[1].weight
    twin[0].to("meta")
    assert original[0].values.device.type == "cpu"
    assert twin[0].values.device.type == "meta"
    other = share(original)
    other[0].load_state_dict(Sized([7.0]).state_dict())
    assert (original[0].values.tolist(), original[0].number) == ([1.0, 2.0], 2)
