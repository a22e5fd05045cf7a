"""Features of nearest neighbours, against loops."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch.nn.functional import normalize

from kgneg.core.errors import InvalidInputError
from kgneg.core.plausibility import PairResemblance
from kgneg.core.plausibility.resemblance import draw_typed
from kgneg.core.queries import Queries
from kgneg.core.seeding import mix_seeds
from kgneg.core.triples import TripleIndex
from kgneg.core.typing import HEAD, TAIL

MANY = 4096


def asked(graph: Any, number: int, n: int) -> tuple[Queries, torch.Tensor, torch.Tensor]:
    """Return pairs in no order, candidates, and the triples that they make."""
    generator = torch.Generator().manual_seed(number)
    rows = torch.randint(len(graph.known), (number,), generator=generator)
    side = TAIL * torch.randint(2, (number,), generator=generator)
    queries = Queries.from_triples(graph.known[rows], side)
    ids = torch.randint(graph.sizes["num_entities"], (number, n), generator=generator, dtype=torch.int32)
    triples = graph.known[rows][:, None].repeat(1, n, 1)
    triples.scatter_(-1, side[:, None, None].expand(-1, n, 1), ids.long()[..., None])
    return queries, ids, triples


def vectors_of(graph: Any, dim: int = 6) -> torch.Tensor:
    return torch.randn(graph.sizes["num_entities"], dim, generator=torch.Generator().manual_seed(4))


def by_hand(triple: list[int], known: torch.Tensor, negatives: torch.Tensor, unit: torch.Tensor, k: int) -> list[float]:
    h, r, t = triple
    of = known[known[:, 1] == r]
    first, second = unit[of[:, 0]] @ unit[h], unit[of[:, 2]] @ unit[t]
    product = (first.clamp(min=0) * second.clamp(min=0)).sort(descending=True).values
    false = negatives[negatives[:, 1] == r]
    one, two = unit[false[:, 0]] @ unit[h], unit[false[:, 2]] @ unit[t]
    joint = ((one + two) / 2).sort(descending=True).values
    found = [product[0], product[:k].mean(), (first * second).mean(), first.mean(), second.mean()]
    found += [joint[:k].mean(), (one * two).mean()] if len(false) else [torch.zeros(()), torch.zeros(())]
    tails, heads = second[of[:, 0] == h], first[of[:, 2] == t]
    found += [part.mean() if len(part) else torch.zeros(()) for part in (tails, heads)]
    found += [part.amax() if len(part) else torch.zeros(()) for part in (tails, heads)]
    return [*(float(part) for part in found), float(torch.tensor(len(of)).float().log1p())]


@pytest.mark.parametrize("k", [1, 5, 40])
@pytest.mark.parametrize("seed", [0, 7])
def test_features_by_hand(nations: Any, k: int, seed: int) -> None:
    """As long as nothing is clustered or left out."""
    known = torch.unique(nations.known, dim=0)
    sample = known[torch.randperm(len(known), generator=torch.Generator().manual_seed(seed))[:400]]
    sample = torch.unique(sample, dim=0)
    vectors = vectors_of(nations)
    features = PairResemblance(sample, vectors, k=k, prototypes=MANY, seed=seed, **nations.sizes)
    generator = torch.Generator().manual_seed(mix_seeds(seed, 0x7061697273))
    negatives = draw_typed(sample, TripleIndex(sample, **nations.sizes), sample, generator)
    graph = nations._replace(known=sample)
    queries, ids, triples = asked(graph, 60, 7)
    found = features(queries, ids)
    assert found.shape == (60, 7, len(PairResemblance.NAMES))
    unit = normalize(vectors, dim=-1)
    expected = torch.tensor([[by_hand(row, sample, negatives, unit, k) for row in part] for part in triples.tolist()])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_blocks_do_not_matter(umls: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    features = PairResemblance(umls.known, vectors_of(umls), prototypes=16, **umls.sizes)
    queries, ids, _ = asked(umls, 90, 5)
    whole = features(queries, ids)
    alone = torch.cat([features(queries[torch.tensor([row])], ids[row : row + 1]) for row in range(90)])
    torch.testing.assert_close(alone, whole, atol=1e-5, rtol=1e-4)
    monkeypatch.setattr("kgneg.core.plausibility.resemblance._CELLS", 1)
    torch.testing.assert_close(features(queries, ids), whole, atol=1e-5, rtol=1e-4)
    assert features(queries[torch.arange(0)], ids[:0]).shape == (0, 5, 12)


@pytest.mark.parametrize("k", [1, 4, 9])
def test_the_nearest_of_many_are_exact(umls: Any, k: int) -> None:
    """However they are looked for."""
    features = PairResemblance(umls.known, vectors_of(umls), k=k, prototypes=128, **umls.sizes)
    relation = int(umls.known[:, 1].bincount().argmax())
    low, middle = features.bounds[2 * relation : 2 * relation + 2].tolist()
    assert middle - low == 128  # clusters
    own, unit = torch.arange(20), features.vectors[:-1]
    queries = Queries(own, torch.full((20,), relation), own, torch.full((20,), TAIL))
    ids = torch.arange(135, dtype=torch.int32).expand(20, -1).contiguous()
    pairs = features.prototypes[:, low:middle]
    scores = (unit[:20] @ pairs[0].T).clamp(min=0)[:, None] * (unit @ pairs[1].T).clamp(min=0)
    best = scores.topk(k, dim=-1).values
    found = features(queries, ids)
    torch.testing.assert_close(found[..., 0], best[..., 0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found[..., 1], best.mean(dim=-1), atol=1e-5, rtol=1e-4)
    assert float(features.share[low:middle, 0].sum()) == pytest.approx(1)


def test_typed_negatives_fit_and_are_unknown(umls: Any) -> None:
    index = TripleIndex(umls.known, **umls.sizes)
    drawn = draw_typed(umls.known, index, umls.known, torch.Generator().manual_seed(0))
    assert len(umls.known) / 4 < len(drawn) < len(umls.known)
    assert not index.contains(drawn).any()
    for end in (HEAD, TAIL):
        seen = {tuple(pair) for pair in umls.known[:, [1, end]].tolist()}
        assert {tuple(pair) for pair in drawn[:, [1, end]].tolist()} <= seen


def test_the_same_seed_makes_the_same(umls: Any) -> None:
    state = torch.get_rng_state()
    first, again, other = (
        PairResemblance(umls.known, vectors_of(umls), prototypes=8, seed=seed, **umls.sizes) for seed in (1, 1, 2)
    )
    assert all(torch.equal(first.state_dict()[name], part) for name, part in again.state_dict().items())
    assert not torch.equal(first.prototypes, other.prototypes)
    assert torch.equal(torch.get_rng_state(), state)


def test_copies_keep_the_bounds(umls: Any) -> None:
    features = PairResemblance(umls.known, vectors_of(umls), prototypes=8, **umls.sizes)
    twin = PairResemblance(umls.known[:30], vectors_of(umls, 2), prototypes=8, **umls.sizes)
    twin.load_state_dict(features.state_dict())
    queries, ids, _ = asked(umls, 40, 3)
    assert torch.equal(twin(queries, ids), features(queries, ids))
    assert torch.equal(copy.deepcopy(features)(queries, ids), features(queries, ids))


def test_refusals(umls: Any) -> None:
    vectors = vectors_of(umls)
    with pytest.raises(InvalidInputError, match="there are 134 vectors for 135 entities"):
        PairResemblance(umls.known, vectors[1:], **umls.sizes)
    vectors[17, 2] = float("nan")
    with pytest.raises(InvalidInputError, match="NaN or infinite values, the first in row 17"):
        PairResemblance(umls.known, vectors, **umls.sizes)
    with pytest.raises(InvalidInputError, match="no known triples"):
        PairResemblance(umls.known[:0], vectors_of(umls), **umls.sizes)
    with pytest.raises(InvalidInputError, match="k must be at least 1"):
        PairResemblance(umls.known, vectors_of(umls), k=0, **umls.sizes)
    with pytest.raises(InvalidInputError, match="prototypes must be at least 4"):
        PairResemblance(umls.known, vectors_of(umls), prototypes=3, **umls.sizes)
