"""Every clause of the conformance suite notices a method that breaks it."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from kgneg.core.corruption import Proposals, Queries
from kgneg.core.errors import ExhaustedPoolError
from kgneg.core.negatives import Negatives
from kgneg.core.sides import SidePolicy
from kgneg.core.triples import TripleIndex
from kgneg.core.typing import HEAD, RELATION, TAIL, LongTensor
from kgneg.samplers.uniform import UniformCorruptor
from kgneg.testing import CorruptorConformance

Change = Callable[[Negatives], Negatives]


def suite_of(kind: type[UniformCorruptor]) -> CorruptorConformance:
    class Suite(CorruptorConformance):
        def make(
            self, triples: LongTensor, num_entities: int, num_relations: int, *, filtered: bool, seed: int
        ) -> UniformCorruptor:
            sizes = {"num_entities": num_entities, "num_relations": num_relations}
            return kind(index=TripleIndex(triples, **sizes) if filtered else None, seed=seed, **sizes)

    return Suite()


def altered(change: Change) -> CorruptorConformance:
    """A method whose results are changed afterwards."""

    class Altered(UniformCorruptor):
        def forward(self, *args: Any, **kwargs: Any) -> Negatives:
            return change(super().forward(*args, **kwargs))

    return suite_of(Altered)


def with_triples(negatives: Negatives, triples: torch.Tensor) -> Negatives:
    negatives.__dict__["triples"] = triples
    return negatives


def shifted(negatives: Negatives, column: int) -> Negatives:
    triples = negatives.triples.clone()
    triples[..., column] = (triples[..., column] + 1) % 3
    return with_triples(negatives, triples)


def itself(negatives: Negatives) -> Negatives:
    own = torch.where(
        negatives.side == HEAD, negatives.positives[..., HEAD, None], negatives.positives[..., TAIL, None]
    )
    return replace(negatives, entity=own.int())


CHANGES: Mapping[str, tuple[str, Change]] = {
    "type": ("entity must be torch.int32", lambda new: replace(new, entity=new.entity.long())),
    "side type": ("side must be torch.int8", lambda new: replace(new, side=new.side.long())),
    "shape": ("of shape", lambda new: replace(new, fallback=new.fallback[..., None])),
    "range": ("outside", lambda new: replace(new, entity=new.entity + 1000)),
    "negative": ("outside", lambda new: replace(new, entity=new.entity - 1000)),
    "side": ("neither 0 nor 2", lambda new: replace(new, side=new.side + 1)),
    "other side": ("do not agree", lambda new: replace(with_triples(new, new.triples), side=TAIL - new.side)),
    "relation": ("do not agree", lambda new: shifted(new, RELATION)),
    "positive": ("its own positive", itself),
    "positives": ("came back changed", lambda new: replace(new, positives=new.positives.flip(-1))),
}


@pytest.mark.parametrize("name", list(CHANGES))
def test_altered_results(name: str) -> None:
    message, change = CHANGES[name]
    if name == "other side":

        def change(new: Negatives) -> Negatives:
            return with_triples(replace(new, side=TAIL - new.side, heads=None), new.triples)

    with pytest.raises(AssertionError, match=message):
        altered(change).test_draw((30,), 4, True)


def test_known_triples() -> None:
    class Unfiltered(UniformCorruptor):
        def __init__(self, **options: Any) -> None:
            super().__init__(**{**options, "index": None})

    suite = suite_of(Unfiltered)
    suite.test_draw((30,), 8, False)
    for test in (suite.test_dense_graph, lambda: suite.test_draw((30,), 8, True)):
        with pytest.raises(AssertionError, match="known triples"):
            test()
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        suite.test_both_ends_saturated()


def proposing(propose: Callable[[UniformCorruptor, Queries, int, torch.Generator], Proposals]) -> CorruptorConformance:
    class Proposing(UniformCorruptor):
        pass

    Proposing.propose = propose
    return suite_of(Proposing)


def test_global_streams() -> None:
    def of_torch(self: UniformCorruptor, queries: Queries, n: int, generator: torch.Generator) -> Proposals:
        return torch.randint(self.num_entities, (len(queries), n)), None

    def of_numpy(self: UniformCorruptor, queries: Queries, n: int, generator: torch.Generator) -> Proposals:
        return torch.from_numpy(np.random.randint(self.num_entities, size=(len(queries), n))), None

    def of_random(self: UniformCorruptor, queries: Queries, n: int, generator: torch.Generator) -> Proposals:
        return torch.full((len(queries), n), random.randrange(self.num_entities)), None  # noqa: S311

    with torch.random.fork_rng():
        for name, propose in (("torch", of_torch), ("numpy", of_numpy), ("random", of_random)):
            with pytest.raises(AssertionError, match=f"drawing moves the global stream of {name}"):
                proposing(propose).test_global_streams(True)
            for test in ("test_seed", "test_given_generator"):
                with pytest.raises(AssertionError, match=r"different draws|given generator was not used"):
                    getattr(proposing(propose), test)()

    class Constructing(UniformCorruptor):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            torch.rand(1)

    with torch.random.fork_rng(), pytest.raises(AssertionError, match="construction moves the global stream of torch"):
        suite_of(Constructing).test_global_streams(False)


def test_generators() -> None:
    class Stubborn(UniformCorruptor):
        def forward(self, positives: LongTensor, n: int, generator: Any = None, **options: Any) -> Negatives:
            return super().forward(positives, n, None, **options)

    with pytest.raises(AssertionError, match="private generator was used"):
        suite_of(Stubborn).test_given_generator()

    class Constant(UniformCorruptor):
        def forward(self, positives: LongTensor, n: int, generator: Any = None, **options: Any) -> Negatives:
            return super().forward(positives, n, torch.Generator().manual_seed(1), **options)

    with pytest.raises(AssertionError, match="another seed gives the same draws"):
        suite_of(Constant).test_seed()
    with pytest.raises(AssertionError, match="the given generator was not used"):
        suite_of(Constant).test_given_generator()
    with pytest.raises(AssertionError, match="two data loader workers draw the same"):
        suite_of(Constant).test_workers()


def test_sides() -> None:
    class OneEnd(UniformCorruptor):
        def __init__(self, **options: Any) -> None:
            super().__init__(sides=SidePolicy("tail"), **options)
            self.sides.policy = "uniform"
            self.sides.heads = lambda relation, n, generator=None: 0

    with pytest.raises(AssertionError, match="never replaces one end"):
        suite_of(OneEnd).test_sides()


def test_state() -> None:
    class Hidden(UniformCorruptor):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.table = {"of": [torch.ones(3)]}

    with pytest.raises(AssertionError, match=r"neither buffers nor parameters: table\['of'\]\[0\]"):
        suite_of(Hidden).test_all_tensors_are_buffers()

    class Late(UniformCorruptor):
        def propose(self, queries: Queries, n: int, generator: torch.Generator) -> Proposals:
            self.last = queries.kept
            return super().propose(queries, n, generator)

    with pytest.raises(AssertionError, match="neither buffers nor parameters: last"):
        suite_of(Late).test_all_tensors_are_buffers()

    class Learned(UniformCorruptor):
        """Proposes a permuted range; the permutation is a plain attribute or a buffer that is not saved."""

        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            order = torch.randperm(self.num_entities, generator=torch.Generator().manual_seed(self.generators.seed))
            self.register_buffer("order", order, persistent=False)

        def propose(self, queries: Queries, n: int, generator: torch.Generator) -> Proposals:
            ids, hit = super().propose(queries, n, generator)
            return self.order[ids.long()], hit

    with pytest.raises(AssertionError, match="the loaded method draws otherwise"):
        suite_of(Learned).test_state_dict(True)

    class Restarting(UniformCorruptor):
        def __setstate__(self, state: dict[str, Any]) -> None:
            super().__setstate__(state)
            self.generators = type(self.generators)(self.generators.seed)

        def __deepcopy__(self, memo: dict[int, Any]) -> Restarting:
            twin = type(self)(num_entities=self.num_entities, num_relations=self.num_relations, index=self.index)
            twin.counts = self.counts.copy()
            return twin

    with pytest.raises(AssertionError, match="after deepcopy the draws differ"):
        suite_of(Restarting).test_copies("deepcopy")


def test_shared_results() -> None:
    class Sharing(UniformCorruptor):
        kept: ClassVar[dict[int, torch.Tensor]] = {}

        def forward(self, *args: Any, **options: Any) -> Negatives:
            negatives = super().forward(*args, **options)
            return replace(negatives, side=self.kept.setdefault(negatives.n, negatives.side.clone()))

    with pytest.raises(AssertionError):
        suite_of(Sharing).test_results_do_not_share_memory()


def test_refusals() -> None:
    class Careless(UniformCorruptor):
        def forward(self, positives: LongTensor, n: int, *args: Any, **options: Any) -> Negatives:
            try:
                return super().forward(positives, n, *args, **options)
            except ValueError:
                return super().forward(torch.zeros(1, 3, dtype=torch.long), 1)

    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        suite_of(Careless).test_bad_positives(torch.tensor([[99, 0, 0]]))
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        suite_of(Careless).test_bad_number(0)


def test_counts() -> None:
    class Silent(UniformCorruptor):
        uniform_is_native: ClassVar[bool] = False

        def forward(self, *args: Any, **options: Any) -> Negatives:
            negatives = super().forward(*args, **options)
            return replace(negatives, fallback=torch.zeros_like(negatives.fallback))

    with pytest.raises(AssertionError, match="flagged 0, counted"):
        suite_of(Silent).test_dense_graph()

    class Forgetful(UniformCorruptor):
        def forward(self, *args: Any, **options: Any) -> Negatives:
            negatives = super().forward(*args, **options)
            self.counts["drawn"] = 1
            return negatives

    with pytest.raises(AssertionError, match="counted 1"):
        suite_of(Forgetful).test_dense_graph()


def test_saturated_ends() -> None:
    class GivesUp(UniformCorruptor):
        def _turn(self, *args: Any) -> Queries:
            raise ExhaustedPoolError("nothing left")

    with pytest.raises(AssertionError, match="could have been replaced"):
        suite_of(GivesUp).test_one_end_saturated(2)
    with pytest.raises(AssertionError):
        suite_of(GivesUp).test_both_ends_saturated()


def test_description() -> None:
    class Nameless(UniformCorruptor):
        citation: ClassVar[str] = " "

    with pytest.raises(AssertionError, match="Nameless has no citation"):
        suite_of(Nameless).test_description()

    class Ranged(UniformCorruptor):
        hpo_default: ClassVar[Mapping[str, Mapping[str, Any]]] = {"margin": {"type": float, "low": 0, "high": 1}}

    with pytest.raises(AssertionError, match="'margin', which is no argument"):
        suite_of(Ranged).test_description()


def test_make_must_be_written() -> None:
    with pytest.raises(NotImplementedError, match="write make"):
        CorruptorConformance().test_sides()


def test_without_pytest_the_import_says_what_to_do() -> None:
    code = (
        "import sys; sys.modules['pytest'] = None\n"
        "from kgneg.core.errors import MissingExtraError\n"
        "try:\n    import kgneg.testing\n"
        "except MissingExtraError as error:\n    print(error)\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "kgneg.testing needs pytest, which is not installed: pip install pytest"
