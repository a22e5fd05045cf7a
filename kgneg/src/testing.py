"""What every corruptor must do, as tests that anyone can run on a method of their own.

Subclass :class:`CorruptorConformance` in a test file and write :meth:`~CorruptorConformance.make`::

    from kgneg.testing import CorruptorConformance


    class TestMyCorruptor(CorruptorConformance):
        def make(self, triples, num_entities, num_relations, *, filtered, seed):
            index = TripleIndex(triples, num_entities=num_entities, num_relations=num_relations) if filtered else None
            return MyCorruptor(num_entities=num_entities, num_relations=num_relations, index=index, seed=seed)

pytest then runs all checks. One of them carries the marker ``gpu``, which your pytest configuration has to declare.
"""

from __future__ import annotations

import copy
import inspect
import pickle
import random
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from kgneg.core.corruption import Corruptor
from kgneg.core.errors import ExhaustedPoolError, InvalidInputError, MissingExtraError
from kgneg.core.negatives import Negatives
from kgneg.core.typing import HEAD, RELATION, TAIL, BoolTensor, LongTensor

try:
    import pytest
except ImportError as _error:
    raise MissingExtraError("kgneg.testing needs pytest, which is not installed: pip install pytest") from _error

__all__ = ["CorruptorConformance"]

_ENTITIES, _RELATIONS = 40, 3
_DENSE = 64


def _check(condition: object, message: str) -> None:
    """Fail the test with a message unless the condition holds."""
    if not bool(condition):
        raise AssertionError(message)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _random_triples() -> LongTensor:
    """Return a sparse graph of 40 entities and 3 relations, each of which has triples."""
    limits = torch.tensor([_ENTITIES, _RELATIONS, _ENTITIES])
    draw = torch.rand((240, 3), generator=_generator(1), dtype=torch.float64)
    return (draw * limits).long()


def _dense_triples() -> LongTensor:
    """Return a graph in which every pair of relation 0 has a single unknown completion."""
    head, tail = torch.meshgrid(torch.arange(_DENSE), torch.arange(_DENSE), indexing="ij")
    known = ((tail - head) % _DENSE != 1).reshape(-1)
    triples = torch.stack([head.reshape(-1), torch.zeros(_DENSE**2, dtype=torch.long), tail.reshape(-1)], dim=-1)[known]
    return torch.cat([triples, torch.tensor([[0, 1, 1], [2, 1, 3]])])


def _saturated_triples() -> LongTensor:
    """Return a graph where all entities are tails of ``(0, 0, ?)``, and all but 3 are tails of ``(1, 0, ?)``."""
    tails = torch.arange(_ENTITIES)
    zero = torch.zeros_like(tails)
    full = torch.stack([zero, zero, tails], dim=-1)
    nearly = torch.stack([zero + 1, zero, tails], dim=-1)[tails != 3]
    return torch.cat([full, nearly, torch.tensor([[5, 0, 6], [7, 1, 8], [9, 2, 2]])])


def _table(triples: LongTensor, num_entities: int, num_relations: int) -> BoolTensor:
    """Return the known triples as a table, shape ``(num_entities, num_relations, num_entities)``."""
    table = torch.zeros(num_entities, num_relations, num_entities, dtype=torch.bool)
    table[tuple(triples.unbind(-1))] = True
    return table


def _conform(negatives: Negatives, positives: LongTensor, n: int, *, known: BoolTensor) -> None:
    """Check everything that holds for every draw; ``known`` may be a table of nothing but ``False``."""
    batch = tuple(positives.shape[:-1])
    for name, dtype in (("entity", torch.int32), ("side", torch.int8), ("fallback", torch.bool)):
        value = getattr(negatives, name)
        _check(
            tuple(value.shape) == (*batch, n) and value.dtype == dtype,
            f"{name} must be {dtype} of shape {(*batch, n)}, got {value.dtype} of shape {tuple(value.shape)}",
        )
    triples = negatives.triples
    _check(triples.dtype == torch.int64, f"triples must be torch.int64, got {triples.dtype}")
    _check(tuple(triples.shape) == (*batch, n, 3), f"triples must be {(*batch, n, 3)}, got {tuple(triples.shape)}")
    _check(negatives.n == n, f"n must be {n}, got {negatives.n}")
    _check(torch.equal(negatives.positives, positives.long()), "the positives came back changed")
    entity, side = negatives.entity.long(), negatives.side.long()
    _check(((entity >= 0) & (entity < len(known))).all(), f"an entity lies outside [0, {len(known)})")
    _check(((side == HEAD) | (side == TAIL)).all(), "a side is neither 0 nor 2")
    before = positives.long().unsqueeze(-2).expand(triples.shape)
    expected = before.scatter(-1, side.unsqueeze(-1), entity.unsqueeze(-1))
    _check(torch.equal(triples, expected), "triples, positives, entity and side do not agree")
    _check((triples[..., RELATION] == before[..., RELATION]).all(), "a relation was changed")
    changed = (triples != before).sum(-1)
    _check((changed != 0).all(), "a negative is its own positive")
    _check((changed == 1).all(), "a negative differs from its positive in more than one column")
    wrong = known[tuple(triples.reshape(-1, 3).unbind(-1))]
    _check(not wrong.any(), f"{int(wrong.sum())} of {wrong.numel()} negatives are known triples")


def _same(left: Negatives, right: Negatives) -> bool:
    """Return whether two draws are equal in every part."""
    return all(torch.equal(getattr(left, name), getattr(right, name)) for name in ("entity", "side", "fallback"))


def _streams() -> list[Any]:
    """Return the states of the global random streams, in a form that can be compared."""
    name, keys, *rest = np.random.get_state()  # noqa: NPY002  (the point is to watch it)
    return [torch.get_rng_state().tolist(), name, np.asarray(keys).tolist(), rest, random.getstate()]


def _strays(value: object, path: str, seen: set[int]) -> Iterator[str]:
    """Yield the places of tensors that are neither buffers nor parameters, so that ``.to(device)`` misses them."""
    if id(value) in seen or isinstance(value, torch.Generator):
        return
    seen.add(id(value))
    if isinstance(value, torch.Tensor):
        yield path
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _strays(item, f"{path}[{key!r}]", seen)
    elif isinstance(value, (list, tuple, set)):
        for place, item in enumerate(value):
            yield from _strays(item, f"{path}[{place}]", seen)
    elif hasattr(value, "__dict__") and not inspect.isroutine(value) and not isinstance(value, type):
        for key, item in vars(value).items():
            yield from _strays(item, f"{path}.{key}", seen)


class _Draws(Dataset[torch.Tensor]):
    """Two items that differ only by the process that draws them."""

    def __init__(self, corruptor: Corruptor, positives: LongTensor) -> None:
        self.corruptor, self.positives = corruptor, positives

    def __len__(self) -> int:
        return 2

    def __getitem__(self, item: int) -> torch.Tensor:
        negatives: Negatives = self.corruptor(self.positives, 8)
        entity: torch.Tensor = negatives.entity
        return entity.clone()


def _worker_draws(corruptor: Corruptor, positives: LongTensor) -> list[torch.Tensor]:
    """Return what each of two data loader workers draws first."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This DataLoader will create 2 worker")  # on a machine with one core
        loader = DataLoader(_Draws(corruptor, positives), batch_size=None, num_workers=2, generator=_generator(0))
        return [draw.clone() for draw in loader]


class CorruptorConformance:
    """The contract of :class:`~kgneg.core.corruption.Corruptor`, one test per clause.

    The graphs have at most 64 entities and 3 relations. A check that does not apply to a method can be overridden.
    """

    def make(
        self, triples: LongTensor, num_entities: int, num_relations: int, *, filtered: bool, seed: int
    ) -> Corruptor:
        """Build the method under test; every subclass writes this.

        It must depend on its arguments alone, and must not consume numbers of a global random stream.

        :param triples: shape: ``(m, 3)``, the training triples, which are also the known ones
        :param num_entities: the number of entities
        :param num_relations: the number of relations
        :param filtered: whether to give it an index of the known triples
        :param seed: the seed
        :raises NotImplementedError: if the subclass does not write it
        """
        raise NotImplementedError("write make(self, triples, num_entities, num_relations, *, filtered, seed)")

    def attach(self, corruptor: Corruptor) -> Corruptor:
        """Return a copy of the method under test ready to draw; for methods whose copies lack something.

        A method that reads a model (:class:`~kgneg.core.handles.ModelAware`) gets its scorer here.

        :param corruptor: a copy
        :returns: the same
        """
        return corruptor

    def _plain(self, *, filtered: bool = True, seed: int = 0) -> tuple[Corruptor, LongTensor, BoolTensor]:
        """Return a corruptor for the sparse graph, some positives, and the table that its negatives must avoid."""
        triples = _random_triples()
        table = _table(triples if filtered else triples[:0], _ENTITIES, _RELATIONS)
        return self.make(triples, _ENTITIES, _RELATIONS, filtered=filtered, seed=seed), triples[::8], table

    # What comes out

    @pytest.mark.parametrize("filtered", [False, True])
    @pytest.mark.parametrize("n", [1, 2, 5, 8])
    @pytest.mark.parametrize("batch", [(), (30,), (5, 6), (0,), (3, 0)])
    def test_draw(self, batch: tuple[int, ...], n: int, filtered: bool) -> None:
        """Shape, type, range, one changed end, the right end, never the positive, never a known triple."""
        corruptor, positives, known = self._plain(filtered=filtered)
        number = int(np.prod(batch))
        chosen = positives[:number].reshape(*batch, 3)
        _check(len(positives) >= number, "the test graph has too few triples")
        for _ in range(2):  # some policies alternate
            _conform(corruptor(chosen, n), chosen, n, known=known)

    @pytest.mark.parametrize("filtered", [False, True])
    def test_positives_outside_the_index(self, filtered: bool) -> None:
        """Positives need not be known triples, nor have known neighbours."""
        corruptor, _, known = self._plain(filtered=filtered)
        unknown = (~_table(_random_triples(), _ENTITIES, _RELATIONS)).nonzero()[::37]
        _conform(corruptor(unknown, 6), unknown, 6, known=known)

    def test_other_layouts_of_the_input(self) -> None:
        """Non-contiguous and 32-bit positives give the same draws, and the input stays as it was."""
        corruptor, positives, _ = self._plain()
        before = positives.clone()
        expected = corruptor(positives, 6, _generator(3)), corruptor(positives, 6, _generator(3))
        for layout in (positives.t().contiguous().t(), positives.int()):
            corruptor = self._plain()[0]  # some methods remember what they drew
            draws = corruptor(layout, 6, _generator(3)), corruptor(layout, 6, _generator(3))
            _check(all(map(_same, draws, expected)), f"{layout.dtype}, strides {layout.stride()} draws otherwise")
        _check(torch.equal(positives, before), "the positives were changed in place")

    def test_sides(self) -> None:
        """The sides are those of the policy: both for each positive where it has both, or one at random."""
        corruptor, positives, _ = self._plain()
        policy = corruptor.sides.policy
        several, single = corruptor(positives, 64).side, corruptor(positives.repeat_interleave(64, 0), 1).side
        for sides in (several, single.view(-1, 64)):
            heads = (sides == HEAD).sum(-1)
            if corruptor.sides.one_end and sides is several:
                split = (heads > 0) & (heads < 64)
                _check(not split.any(), f"policy {policy!r} replaces both ends of some positive")
                _check(len(heads.unique()) == 2, f"policy {policy!r} never replaces one end")
            elif corruptor.sides.both:
                _check(((heads > 0) & (heads < 64)).all(), f"policy {policy!r} never replaces one end of some positive")
            elif policy in ("head", "tail"):
                _check((heads == 64 * (policy == "head")).all(), f"policy {policy!r} replaces the other end")
        if policy == "alternate":
            _check((several != single.view(-1, 64)).all(), "policy 'alternate' does not take turns")

    def test_results_do_not_share_memory(self) -> None:
        """Writing into a result changes no later draw."""
        corruptor, positives, known = self._plain()
        for batch, n in ((positives[0], 2), (positives[:1], 4), (positives[0], 3)):
            for _ in range(2):
                negatives = corruptor(batch, n)
                triples = negatives.triples.clone()
                _conform(negatives, batch, n, known=known)
                negatives.entity.zero_()
                if not any(size > 1 and stride == 0 for size, stride in _strides(negatives.side)):
                    negatives.side.fill_(HEAD)
                _check(torch.equal(negatives.triples, triples), "triples must not change once they were read")

    # Randomness

    def test_seed(self) -> None:
        """The same seed gives the same draws, another one gives others, and a second draw differs from the first."""
        first, positives, _ = self._plain(seed=5)
        second, other = self._plain(seed=5)[0], self._plain(seed=6)[0]
        draw = first(positives, 8)
        _check(_same(draw, second(positives, 8)), "the same seed gives different draws")
        _check(not torch.equal(draw.entity, other(positives, 8).entity), "another seed gives the same draws")
        _check(not torch.equal(draw.entity, first(positives, 8).entity), "the second draw repeats the first")

    def test_given_generator(self) -> None:
        """A given generator alone decides the draw; the private one stays where it is."""
        first, positives, _ = self._plain(seed=5)
        second, third = self._plain(seed=5)[0], self._plain(seed=5)[0]
        private = first.generators.get(positives.device)
        before, given = private.get_state(), _generator(9)
        draw = first(positives, 8, given)
        _check(torch.equal(private.get_state(), before), "the private generator was used besides the given one")
        _check(not torch.equal(given.get_state(), _generator(9).get_state()), "the given generator was not used")
        _check(_same(draw, second(positives, 8, _generator(9))), "the same generator gives different draws")
        _check(
            not torch.equal(draw.entity, third(positives, 8, _generator(10)).entity),
            "another generator gives the same draws",
        )

    @pytest.mark.parametrize("filtered", [False, True])
    def test_global_streams(self, filtered: bool) -> None:
        """Neither construction nor drawing touches the streams of torch, NumPy and ``random``."""
        before = _streams()
        corruptor, positives, _ = self._plain(filtered=filtered)
        for name, old, new in zip(("torch", "numpy", "numpy", "numpy", "random"), before, _streams(), strict=True):
            _check(old == new, f"construction moves the global stream of {name}")
        for n in (1, 4):
            corruptor(positives, n)
        for name, old, new in zip(("torch", "numpy", "numpy", "numpy", "random"), before, _streams(), strict=True):
            _check(old == new, f"drawing moves the global stream of {name}")

    def test_workers(self) -> None:
        """Two data loader workers draw different negatives, the same ones in the next run."""
        corruptor, positives, _ = self._plain()
        first, second = _worker_draws(corruptor, positives)
        _check(not torch.equal(first, second), "two data loader workers draw the same negatives")
        again = _worker_draws(self._plain()[0], positives)
        _check(torch.equal(first, again[0]) and torch.equal(second, again[1]), "worker draws cannot be repeated")

    # State

    @pytest.mark.parametrize("how", ["deepcopy", "pickle"])
    def test_copies(self, how: str) -> None:
        """A copy continues the stream where the original stands, and is independent of it."""
        corruptor, positives, _ = self._plain()
        corruptor(positives, 3)
        twin = copy.deepcopy(corruptor) if how == "deepcopy" else pickle.loads(pickle.dumps(corruptor))  # noqa: S301
        self.attach(twin)
        _check(twin.counts == corruptor.counts, "the copy has other counts")
        for n in (4, 5):  # two rounds: the copies do not share a generator
            draw = corruptor(positives, n)
            _check(_same(draw, twin(positives, n)), f"after {how} the draws differ")

    @pytest.mark.parametrize("filtered", [False, True])
    def test_state_dict(self, filtered: bool) -> None:
        """Loading a state dict into the method made for another graph makes it draw like the original."""
        source, positives, known = self._plain(filtered=filtered)
        triples = _random_triples()
        relabelled = triples.clone()
        relabelled[:, [HEAD, TAIL]] = (triples[:, [HEAD, TAIL]] * 7 + 3) % _ENTITIES
        target = self.make(relabelled[::2], _ENTITIES, _RELATIONS, filtered=filtered, seed=1)
        state = {name: value.clone() for name, value in source.state_dict().items()}
        target.load_state_dict(state)
        for name, value in target.state_dict().items():
            _check(torch.equal(value, state[name]), f"{name} was not loaded")
        for _ in range(2):
            draw = target(positives, 8, _generator(2))
            _conform(draw, positives, 8, known=known)
            _check(_same(draw, source(positives, 8, _generator(2))), "the loaded method draws otherwise")

    def test_all_tensors_are_buffers(self) -> None:
        """Every tensor is a buffer or a parameter, so ``.to(device)`` suffices; casting floats does no harm."""
        corruptor, positives, known = self._plain()
        corruptor(positives, 4)  # also finds what is made at the first call
        strays = []
        seen = {id(module) for module in corruptor.modules()}
        for name, module in corruptor.named_modules():
            for key, value in vars(module).items():
                if key not in ("_buffers", "_parameters", "_modules"):
                    strays += list(_strays(value, ".".join(filter(None, (name, key))), seen))
        _check(not strays, f"these tensors are neither buffers nor parameters: {', '.join(strays)}")
        for cast in (nn.Module.double, nn.Module.float):
            _conform(cast(corruptor)(positives, 4), positives, 4, known=known)

    @pytest.mark.gpu
    def test_gpu(self) -> None:
        """After ``.to("cuda")`` it draws there, just as well, and repeatably."""
        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")
        draws = []
        for _ in range(2):
            corruptor, positives, known = self._plain()
            corruptor.to("cuda")
            negatives = corruptor(positives.cuda(), 8, torch.Generator("cuda").manual_seed(0))
            _check(negatives.entity.is_cuda and negatives.triples.is_cuda, "the negatives are not on the GPU")
            parts = (negatives.positives, negatives.entity, negatives.side, negatives.fallback)
            draws.append(Negatives(*(part.cpu() for part in parts)))
            _conform(draws[-1], positives, 8, known=known)
        _check(_same(*draws), "the same generator gives different draws")
        corruptor(positives.cuda(), 3)  # the private generator follows
        _conform(corruptor.cpu()(positives, 3), positives, 3, known=known)

    # Refusals

    @pytest.mark.parametrize(
        "positives",
        [
            torch.tensor([[0, 0, 1], [_ENTITIES, 0, 1]]),
            torch.tensor([[0, 0, _ENTITIES]]),
            torch.tensor([[0, _RELATIONS, 1]]),
            torch.tensor([[0, 0, -1]]),
            torch.tensor([-1, 0, 1]),
            torch.tensor([[0, -1, 1]]),
            torch.zeros((4, 2), dtype=torch.long),
            torch.zeros((3, 4), dtype=torch.long),
            torch.tensor(3),
            torch.zeros(2, 3),
            torch.zeros((2, 3), dtype=torch.bool),
        ],
        ids=lambda value: f"{value.dtype}-{value.tolist()}".replace(" ", ""),
    )
    def test_bad_positives(self, positives: torch.Tensor) -> None:
        """Ids out of range, wrong shapes and wrong types are refused."""
        corruptor, good, _ = self._plain()
        with pytest.raises(InvalidInputError):
            corruptor(positives, 2)
        _check(corruptor.counts["drawn"] == 0, "a refused call was counted")
        _check(_same(corruptor(good, 3), self._plain()[0](good, 3)), "a refused call moved the stream")

    @pytest.mark.parametrize("n", [0, -1, 1.5, True, "3", None])
    def test_bad_number(self, n: Any) -> None:
        """The number of negatives is a positive integer."""
        corruptor, positives, _ = self._plain()
        with pytest.raises(InvalidInputError):
            corruptor(positives, n)

    # Little or nothing left to draw

    def test_dense_graph(self) -> None:
        """Where a single completion is unknown it is found, and the counts are those of the result."""
        triples = _dense_triples()
        known = _table(triples, _DENSE, 2)
        corruptor = self.make(triples, _DENSE, 2, filtered=True, seed=0)
        positives = triples[triples[:, RELATION] == 0][::30]
        flagged = drawn = 0
        for n in (1, 4, 5):
            negatives = corruptor(positives, n)
            _conform(negatives, positives, n, known=known)
            flagged, drawn = flagged + int(negatives.fallback.sum()), drawn + negatives.entity.numel()
        counts = corruptor.counts
        _check(counts["drawn"] == drawn, f"drawn {drawn}, counted {counts['drawn']}")
        _check(counts["fallback"] == flagged, f"flagged {flagged}, counted {counts['fallback']}")
        _check(flagged <= counts["rejected"] <= drawn, f"{flagged} flagged, {counts['rejected']} rejected of {drawn}")
        _check(counts["turned"] == 0, "an end that has an unknown completion was given up")
        if corruptor.uniform_is_native:
            _check(counts["rejected"] > 0.9 * drawn and not flagged, "a uniform draw must be rejected, but not flagged")

    @pytest.mark.parametrize("n", [1, 2, 3, 4, 8])
    def test_one_end_saturated(self, n: int) -> None:
        """Where all completions of one end are known, the other end is replaced, or the error names the triple.

        That includes positives that are their pair's only unknown completion.
        """
        triples = _saturated_triples()
        known = _table(triples, _ENTITIES, _RELATIONS)
        corruptor = self.make(triples, _ENTITIES, _RELATIONS, filtered=True, seed=0)
        positives = torch.tensor([[0, 0, 7], [5, 0, 6], [1, 0, 3]])
        for _ in range(4):
            try:
                negatives = corruptor(positives, n)
            except ExhaustedPoolError as error:
                _check(not corruptor.sides.both, f"the other end could have been replaced: {error}")
                _check("head 0, relation 0, tail 7" in str(error), f"the triple is not named: {error}")
                continue
            _conform(negatives, positives, n, known=known)
            _check((negatives.side[[0, 2]] == HEAD).all(), "an end without unknown completions was replaced")
        if corruptor.sides.policy in ("uniform", "single"):
            _check(corruptor.counts["turned"] > 0, "the turned negatives were not counted")
        ordinary = torch.tensor([[5, 0, 6], [7, 1, 8], [9, 2, 2]])
        for _ in range(2):  # nothing of it may linger
            fresh = self.make(triples, _ENTITIES, _RELATIONS, filtered=True, seed=1)
            _conform(fresh(ordinary, n), ordinary, n, known=known)

    def test_both_ends_saturated(self) -> None:
        """Where nothing at all is unknown, the error names the triple."""
        everything = torch.cartesian_prod(torch.arange(6), torch.arange(2), torch.arange(6))
        corruptor = self.make(everything[everything[:, 1] == 0], 6, 2, filtered=True, seed=0)
        with pytest.raises(ExhaustedPoolError, match="head 2, relation 0, tail 3"):
            corruptor(torch.tensor([[4, 1, 5], [2, 0, 3]]), 4)

    # Description

    def test_description(self) -> None:
        """It says where it comes from, and the ranges for studies are of its own arguments."""
        corruptor = self._plain()[0]
        _check(corruptor.citation.strip(), f"{type(corruptor).__name__} has no citation")
        _check(isinstance(corruptor, Corruptor), f"make returned {type(corruptor).__name__}, which is no Corruptor")
        kinds = [kind for kind in type(corruptor).__mro__ if issubclass(kind, Corruptor)]
        names = {name for kind in kinds for name in inspect.signature(kind).parameters}
        for name, choices in corruptor.hpo_default.items():
            _check(name in names, f"hpo_default names {name!r}, which is no argument of the constructor")
            _check("type" in choices, f"hpo_default[{name!r}] has no type: {dict(choices)}")


def _strides(tensor: torch.Tensor) -> Iterator[tuple[int, int]]:
    return zip(tensor.shape, tensor.stride(), strict=True)
