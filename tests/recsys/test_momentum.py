from __future__ import annotations

import copy
import pickle

import pytest
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.recsys.encoders import IdEncoder, NeighborEncoder, NodeEncoder, build_encoder
from kgneg.recsys.momentum import MomentumPair, momentum_at
from kgneg.recsys.synthetic import synthetic_interactions


def pair(name: str = "neighbor", **options: float) -> MomentumPair:
    generator = torch.Generator().manual_seed(0)
    return MomentumPair(build_encoder(name, synthetic_interactions(), dim=6, generator=generator, **options))


def nudge(encoder: NodeEncoder, seed: int) -> None:
    with torch.no_grad():
        encoder.table += torch.randn(encoder.table.shape, generator=torch.Generator().manual_seed(seed))


def test_target_is_the_closed_form_of_the_average() -> None:
    found = pair("id")
    start = found.target.table.clone()
    nudge(found.online, 1)
    for _ in range(5):
        found.step(0.9)
    wanted = 0.9**5 * start + (1 - 0.9**5) * found.online.table
    torch.testing.assert_close(found.target.table, wanted.detach())


def test_target_starts_as_a_copy_and_has_no_gradient() -> None:
    found = pair()
    assert torch.equal(found.online.table, found.target.table)
    assert found.online.table.data_ptr() != found.target.table.data_ptr()
    assert not any(one.requires_grad for one in found.target.parameters())
    online, target = found.encode()
    assert online.requires_grad
    assert not target.requires_grad


def test_both_encoders_share_the_graph() -> None:
    found = pair()
    assert isinstance(found.online, NeighborEncoder)
    assert found.online.graph is found.target.graph


def test_kept_outputs_are_those_of_the_target() -> None:
    found = pair()
    found.encode()
    for step in range(30):
        nudge(found.online, step)
        found.step(0.8)
        _, kept = found.encode()
        torch.testing.assert_close(kept, found.target.outputs().detach(), atol=1e-4, rtol=1e-4)
    # asking again without a step changes nothing
    before = kept.clone()
    assert torch.equal(found.encode()[1], before)


def test_the_target_is_propagated_once_only() -> None:
    found = pair()
    calls = []
    found.target.register_forward_hook(lambda *_: None)
    propagate = found.target.outputs
    found.target.outputs = lambda *args: calls.append(args) or propagate(*args)  # type: ignore[method-assign]
    for step in range(3):
        found.encode()
        nudge(found.online, step)
        found.step(0.9)
    assert len(calls) == 1
    found.refresh()
    found.encode()
    assert len(calls) == 2


def test_with_dropped_edges_each_encoder_has_its_own_view() -> None:
    found = pair(drop=0.5)
    online, target = found.encode(torch.Generator().manual_seed(0))
    assert not torch.allclose(online, target)
    again = found.encode(torch.Generator().manual_seed(0))
    assert torch.equal(again[0], online)
    assert torch.equal(again[1], target)
    quiet = found.encode(None)
    assert torch.allclose(*quiet)


def test_momentum_of_zero_and_one() -> None:
    found = pair("id")
    start = found.target.table.clone()
    nudge(found.online, 1)
    found.step(1.0)
    assert torch.equal(found.target.table, start)
    found.step(0.0)
    torch.testing.assert_close(found.target.table.detach(), found.online.table.detach())


@pytest.mark.parametrize("momentum", [-0.1, 1.1, float("nan")])
def test_impossible_momentum_is_refused(momentum: float) -> None:
    with pytest.raises(InvalidInputError, match="momentum must be between 0 and 1"):
        pair("id").step(momentum)


def test_schedules() -> None:
    assert momentum_at(0.9, "constant", 7, 10) == 0.9
    values = [momentum_at(0.9, "cosine", step, 10) for step in range(11)]
    assert values[0] == pytest.approx(0.9)
    assert values[-1] == 1.0
    assert values == sorted(values)
    with pytest.raises(InvalidInputError, match="constant, cosine; got 'linear'"):
        momentum_at(0.9, "linear", 0, 1)


def test_copies_and_pickles_go_on_alike() -> None:
    found = pair()
    found.encode()
    nudge(found.online, 1)
    found.step(0.5)
    others = [copy.deepcopy(found), pickle.loads(pickle.dumps(found))]  # noqa: S301
    wanted = found.encode()[1]
    for other in others:
        torch.testing.assert_close(other.encode()[1], wanted)


def test_id_encoder_is_the_table_and_draws_nothing_global() -> None:
    state = torch.get_rng_state()
    encoder = IdEncoder(synthetic_interactions(), dim=4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), state)
    assert encoder.outputs() is encoder.table
    users, items = encoder.split(encoder.outputs())
    assert (len(users), len(items)) == (60, 40)


@pytest.mark.parametrize("start", ["xavier_uniform", "xavier_normal"])
def test_users_and_items_start_with_the_spread_of_their_own_table(start: str) -> None:
    pairs = synthetic_interactions(users=3000, items=300, each=2)
    encoder = IdEncoder(pairs, dim=16, generator=torch.Generator().manual_seed(0), start=start)
    for part, number in zip(encoder.split(encoder.table.detach()), (3000, 300), strict=True):
        assert float(part.std()) == pytest.approx((2 / (number + 16)) ** 0.5, rel=0.05)


def test_unknown_encoder_and_bad_sizes_are_refused() -> None:
    generator = torch.Generator()
    with pytest.raises(InvalidInputError, match="encoder must be one of id, neighbor; got 'gat'"):
        build_encoder("gat", synthetic_interactions(), dim=4, generator=generator)
    with pytest.raises(InvalidInputError, match="dim must be at least 1"):
        build_encoder("id", synthetic_interactions(), dim=0, generator=generator)
    with pytest.raises(InvalidInputError, match="layers must be at least 1"):
        build_encoder("neighbor", synthetic_interactions(), dim=4, generator=generator, layers=0)


def test_new_users_of_the_neighbor_encoder_are_what_a_larger_graph_gives() -> None:
    """A user with a row of zeros, whose items do not count it in their degree."""
    pairs = synthetic_interactions(users=20, items=12)
    encoder = NeighborEncoder(pairs, dim=3, generator=torch.Generator().manual_seed(0), layers=2)
    new = synthetic_interactions(users=4, items=12, each=3, seed=9)
    found = encoder.of_new_users(new)
    matrix = encoder.graph.view().to_sparse().to_dense()
    power, layers = encoder.table.detach(), [encoder.table.detach()]
    for _ in range(2):
        power = matrix @ power
        layers.append(power)
    for user in range(4):
        own = new.items[new.users == user]
        row = torch.zeros(3)
        for layer in layers[:-1]:  # the layer below each of those that the user has
            for item in own.tolist():
                row += layer[20 + item] / (len(own) * int(pairs.item_counts[item].clamp(min=1))) ** 0.5
        torch.testing.assert_close(found[user], row / 3)
