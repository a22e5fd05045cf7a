"""The machinery that all methods share: sides, redraws of known triples, fall-back, bookkeeping."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, Protocol, TypeAlias

import torch
from torch import nn

from kgneg.core.errors import ExhaustedPoolError, InvalidInputError
from kgneg.core.masks import equal_ids, flat_nonzero
from kgneg.core.negatives import Negatives
from kgneg.core.queries import Queries
from kgneg.core.seeding import PrivateGenerators
from kgneg.core.sides import SidePolicy
from kgneg.core.triples import TripleIndex
from kgneg.core.typing import HEAD, RELATION, TAIL, BoolTensor, IntTensor, LongTensor
from kgneg.core.validation import validate_count, validate_triples

__all__ = ["Constraint", "Corruptor", "Proposals", "Queries"]


class Constraint(Protocol):
    """A rule that candidates must obey, whatever the method proposes."""

    def __call__(self, queries: Queries, ids: IntTensor) -> BoolTensor:
        """Return which candidates are allowed, shape ``(q, n)``, for ids of that shape."""
        ...


#: Ids of shape ``(q, n)``, and which of them are real proposals (``None``: all).
Proposals: TypeAlias = tuple[IntTensor | LongTensor, BoolTensor | None]
#: A round of redraws makes about a quarter of the first number of proposals, and so many for each slot at least.
_REDRAW_SHARE, _MIN_ATTEMPTS, _LAST_ATTEMPTS = 4, 4, 8
#: When a round leaves more than this share of many slots open, there is next to nothing left to draw.
_HOPELESS, _MANY = 0.98, 64


@lru_cache(maxsize=8)
def _side_pattern(heads: int, n: int, device: torch.device) -> torch.Tensor:
    """Return the sides of a row that replaces the head in its first ``heads`` of ``n`` slots, int8."""
    return torch.tensor([HEAD] * heads + [TAIL] * (n - heads), dtype=torch.int8, device=device)


class Corruptor(nn.Module, ABC):
    """Base class of all methods that replace one end of a triple. A method writes only :meth:`propose`.

    Each call (:meth:`forward`) proceeds in this order:

    1. The side policy decides how many of the ``n`` negatives of each positive replace its head.
    2. :meth:`propose` is asked once for the whole batch.
    3. A proposal is rejected when it is the replaced entity itself, when the method said so (``hit`` false), when a
       constraint forbids it, or, with an index, when it makes a known triple. The last test is exact.
    4. :meth:`propose` is asked again for the rejected slots, in at most :attr:`redraws` rounds.
    5. What is still open is filled by an exact uniform draw from the entities that make no known triple, and flagged as
       ``fallback``. A draw that breaks a constraint is repeated, but not for ever: what still breaks one stays and is
       counted as ``unbound``. If all entities are known completions, the other end is
       replaced. That is so for all negatives of a positive at that end, so a row that replaces one end stays so.

    So every row is full, and with an index no negative is a known triple. :attr:`counts` keeps the tally of each step.

    :param num_entities: the number of entities
    :param num_relations: the number of relations
    :param index: the known triples; ``None`` draws without removing known triples
    :param sides: which end to replace; ``None`` is uniform
    :param constraints: further rules for candidates
    :param seed: the seed of the private generator; ``None`` takes :func:`torch.initial_seed`
    """

    #: In how many rounds rejected slots are proposed anew. A slot gets several proposals per round, the more the fewer
    #: slots are left, and the first good one is taken.
    redraws: ClassVar[int] = 6
    #: How many proposals a rejected slot gets per round at most; the more, the fewer rounds.
    most_attempts: ClassVar[int] = 8
    #: Who is asked, like :meth:`propose`, after all redraws and before the uniform draw; a method may set it.
    retreat: Callable[[Queries, int, torch.Generator], Proposals] | None = None
    #: Whether what the retreat fills is flagged as ``fallback``, and counted as ``relaxed``.
    retreat_is_fallback: bool = False
    #: Whether a query without any hit will never get one, so that asking again is of no use.
    hits_are_certain: bool = False
    #: Whether no hit is ever the replaced entity itself, so that nobody has to look.
    hits_are_others: bool = False
    #: Whether the uniform draw is what the method itself would do, and is therefore not flagged.
    uniform_is_native: ClassVar[bool] = False
    #: Whether the method needs a text or vector for every entity.
    needs_text: ClassVar[bool] = False
    #: Where the method comes from.
    citation: ClassVar[str] = ""
    #: Search ranges for hyper-parameter studies, in PyKEEN's notation.
    hpo_default: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    def __init__(
        self,
        *,
        num_entities: int,
        num_relations: int,
        index: TripleIndex | None = None,
        sides: SidePolicy | None = None,
        constraints: Sequence[Constraint] = (),
        seed: int | None = None,
    ) -> None:
        super().__init__()
        self.num_entities = validate_count("num_entities", num_entities, 2)
        self.num_relations = validate_count("num_relations", num_relations)
        if index is not None and (index.num_entities, index.num_relations) != (num_entities, num_relations):
            raise InvalidInputError(
                f"an index of {index.num_entities} entities and {index.num_relations} relations does not fit a "
                f"corruptor for {num_entities} and {num_relations}: build both for the same graph"
            )
        self.index = index
        self.sides = SidePolicy() if sides is None else sides
        self.constraints = tuple(constraints)
        #: those constraints that have buffers, so that they are moved and saved with the corruptor
        self.constraint_modules = nn.ModuleList(rule for rule in self.constraints if isinstance(rule, nn.Module))
        self.generators = PrivateGenerators(seed)
        #: drawn, (at first) rejected, relaxed, fallback, turned and unbound negatives since construction
        self.counts: Counter[str] = Counter()

    @abstractmethod
    def propose(self, queries: Queries, n: int, generator: torch.Generator) -> Proposals:
        """Propose replacements; the only thing that a method has to write.

        :param queries: ``q`` pairs that need replacements, heads and tails mixed
        :param n: the number of proposals per query
        :param generator: the only source of randomness to use
        :returns: ids of shape ``(q, n)`` in ``[0, num_entities)``, and which of them are real proposals (``None``:
            all); the ids must not share memory with state of the method, for rejected ones are overwritten in place
        """

    def forward(
        self, positives: LongTensor, n: int, generator: torch.Generator | None = None, *, trusted: bool = False
    ) -> Negatives:
        """Draw ``n`` negatives for each positive.

        :param positives: shape: ``(*, 3)``, integer ids; any number of leading dimensions, also none
        :param n: the number of negatives per positive, at least 1
        :param generator: the source of randomness, on the device of the positives; ``None`` takes the private one
        :param trusted: skip the check of the ids, for callers that know them to be in range
        :returns: the negatives, shape ``(*, n)``
        :raises InvalidInputError: if an id is out of range or ``n`` is not positive
        :raises ExhaustedPoolError: if every possible negative of a positive is a known triple
        """
        validate_count("n", n)
        if not trusted:
            positives = validate_triples(positives, self.num_entities, self.num_relations)
        flat = positives.reshape(-1, 3)
        generator = self.generators.get(flat.device) if generator is None else generator
        heads = self.sides.heads(flat[:, RELATION], n, generator)
        if isinstance(heads, int) and (heads in (0, n) or 2 * heads == n):
            queries, each = Queries.even(flat, heads, n), n if heads in (0, n) else heads
        elif self.sides.one_end and not isinstance(heads, int):
            queries, each = Queries.from_triples(flat, torch.where(heads == 0, TAIL, HEAD)), n
        else:
            queries, each = Queries.uneven(flat, heads, n), 1
        ids, fallback, side = self._fill(queries, each, generator)
        batch = positives.shape[:-1]
        same = heads if side is None and isinstance(heads, int) else None  # every row has that many heads, first
        if same is None:
            # a row at one end stays a view of one number
            side = queries.side[:, None].to(torch.int8).expand(-1, each) if side is None else side.to(torch.int8)
            side = side.reshape(*batch, n)
        else:
            side = _side_pattern(same, n, flat.device).clone().expand(*batch, n)
        self._advance(ids.numel())
        return Negatives(flat.view(*batch, 3), ids.view(*batch, n), side, fallback.reshape(*batch, n), same)

    def replacements(
        self, triples: LongTensor, side: LongTensor, generator: torch.Generator | None = None
    ) -> IntTensor:
        """Draw one replacement for a given end of each triple; the ids are taken to be in range.

        :param triples: shape: ``(q, 3)``
        :param side: shape: ``(q,)``, int64, the column to replace, 0 or 2
        :param generator: the source of randomness; ``None`` takes the private one
        :returns: shape: ``(q,)``, the entities; one for the other end where all complete a triple to a known one
        """
        generator = self.generators.get(triples.device) if generator is None else generator
        ids, _, _ = self._fill(Queries.from_triples(triples, side), 1, generator)
        self._advance(ids.numel())
        return ids.view(-1)

    def forbidden(self, queries: Queries, ids: IntTensor) -> BoolTensor:
        """Return which candidates are no negatives: the replaced entity itself, and with an index known triples.

        :param queries: ``q`` pairs
        :param ids: shape: ``(q, n)``, candidates for each
        :returns: shape: ``(q, n)``
        """
        ids = ids.int().contiguous()
        wrong = equal_ids(ids, queries.replaced.int()[:, None])
        codes = None if self.index is None else self.index.codes(queries.kept, queries.relation, queries.side)
        found = torch.zeros(ids.numel(), dtype=torch.bool, device=ids.device)
        return found.index_fill_(0, self._rejected(codes, ids, wrong), 1).view(ids.shape)

    def _advance(self, slots: float) -> None:
        """Count negatives that were drawn; a method that changes with time goes by that."""
        self.counts["drawn"] += round(slots)

    # Filling

    def _fill(
        self, queries: Queries, n: int, generator: torch.Generator
    ) -> tuple[IntTensor, BoolTensor, LongTensor | None]:
        """Return ids and fall-back flags, shape ``(q, n)``, and the sides if some had to be turned."""
        codes = None if self.index is None else self.index.codes(queries.kept, queries.relation, queries.side)
        ids, slots, barren, authors = self._first(queries, codes, n, generator)
        flat = ids.view(-1)
        for _ in range(self.redraws):
            if not len(slots):
                break
            attempts = min(max(len(flat) // (_REDRAW_SHARE * len(slots)), _MIN_ATTEMPTS), self.most_attempts)
            left = self._redraw(queries, codes, flat, n, slots, authors, attempts, generator)
            hopeless = len(slots) >= _MANY and len(left) > _HOPELESS * len(slots)
            slots = left
            if hopeless:
                break
        relaxed = slots[:0]
        if self.retreat is not None and len(slots):
            left = self._redraw(queries, codes, flat, n, slots, authors, _LAST_ATTEMPTS, generator, retreat=True)
            if self.retreat_is_fallback:
                relaxed = slots[~torch.isin(slots, left)]
                self.counts["relaxed"] += len(relaxed)
                self.counts["fallback"] += len(relaxed)
            slots = left
        slots = torch.cat([slots, barren]) if len(barren) else slots
        if not len(slots) and not len(relaxed):
            return ids, torch.zeros(1, dtype=torch.bool, device=ids.device).expand(ids.shape), None
        fallback = torch.zeros(ids.shape, dtype=torch.bool, device=ids.device)
        fallback.view(-1)[relaxed] = True
        if not len(slots):
            return ids, fallback, None
        if not self.uniform_is_native:
            fallback.view(-1)[slots] = True
            self.counts["fallback"] += len(slots)
        drawn, side = self._stand_in(queries[self._row(slots, n)], generator)
        flat[slots] = drawn.int()
        if side is None:
            return ids, fallback, None
        sides = queries.side.repeat_interleave(n)  # a copy: the queries may share theirs with later batches
        sides[slots] = side
        return ids, fallback, sides

    def _first(
        self, queries: Queries, codes: LongTensor | None, n: int, generator: torch.Generator
    ) -> tuple[IntTensor, LongTensor, LongTensor, torch.Tensor | None]:
        """Return ids, ``(q, n)``, the slots to ask for again, those for which that is of no use, and authors."""
        proposals, authors = self._propose_signed(queries, n, generator)
        ids, slots, barren = self._sifted(queries, codes, proposals)
        self.counts["rejected"] += len(slots) + len(barren)
        return ids, slots, barren, authors

    def _propose_signed(
        self, queries: Queries, n: int, generator: torch.Generator
    ) -> tuple[Proposals, torch.Tensor | None]:
        """Return proposals and, for a method made of others, which of these each is from, shape ``(q, n)``."""
        return self.propose(queries, n, generator), None

    def _propose_again(
        self, queries: Queries, n: int, authors: torch.Tensor | None, generator: torch.Generator, *, retreat: bool
    ) -> Proposals:
        """Return proposals for slots whose proposal was rejected; ``authors``, shape ``(q,)``, says whose that was."""
        return (self.retreat if retreat and self.retreat is not None else self.propose)(queries, n, generator)

    def _redraw(
        self,
        queries: Queries,
        codes: LongTensor | None,
        flat: IntTensor,
        n: int,
        slots: LongTensor,
        authors: torch.Tensor | None,
        attempts: int,
        generator: torch.Generator,
        *,
        retreat: bool = False,
    ) -> LongTensor:
        """Fill slots of ``flat`` anew, in place, with the first good one of some proposals; return those still open."""
        rows = self._row(slots, n)
        chosen = queries[rows]
        signed = None if authors is None else authors.reshape(-1)[slots]
        again, wrong = self._checked(chosen, self._propose_again(chosen, attempts, signed, generator, retreat=retreat))
        bad = self._rejected(None if codes is None else codes.index_select(0, rows), again, wrong)
        good = torch.ones(again.numel(), dtype=torch.uint8, device=flat.device).index_fill_(0, bad, 0)
        found, first = good.view(again.shape).max(dim=-1, keepdim=True)
        flat.index_copy_(0, slots, again.gather(-1, first).view(-1))
        return slots.index_select(0, flat_nonzero(found == 0))

    def _sifted(
        self, queries: Queries, codes: LongTensor | None, proposals: Proposals
    ) -> tuple[IntTensor, LongTensor, LongTensor]:
        """Return proposals, the slots to ask for again, and those for which that is of no use."""
        ids, hit = proposals
        if self.hits_are_certain and hit is not None and hit.stride(-1) == 0:  # a row has hits alone, or none
            empty = flat_nonzero(~hit[:, 0])
            ids, wrong = self._checked(queries, (ids, None))
            slots = self._rejected(codes, ids, wrong)
            if not len(empty):
                return ids, slots, slots[:0]
            slots = slots[hit[:, 0].index_select(0, self._row(slots, ids.shape[-1]))] if len(slots) else slots
            within = torch.arange(ids.shape[-1], device=ids.device)
            return ids, slots, (empty[:, None] * ids.shape[-1] + within).view(-1)
        ids, wrong = self._checked(queries, proposals)
        slots = self._rejected(codes, ids, wrong)
        if not self.hits_are_certain or hit is None or not len(slots):
            return ids, slots, slots[:0]
        missed = ~hit.reshape(-1).index_select(0, slots)
        return ids, slots[~missed], slots[missed]

    @staticmethod
    def _row(slots: LongTensor, n: int) -> LongTensor:
        return slots if n == 1 else torch.div(slots, n, rounding_mode="floor")

    def _checked(self, queries: Queries, proposals: Proposals) -> tuple[IntTensor, BoolTensor | None]:
        """Return proposals and which of them break a rule other than being known (``None``: none), shape ``(q, n)``."""
        ids, hit = proposals
        ids = ids.int().contiguous()
        wrong = None if self.hits_are_others else equal_ids(ids, queries.replaced.int()[:, None])
        if hit is not None and not (hit.stride(-1) == 0 and bool(hit[..., 0].all())):
            wrong = ~hit if wrong is None else wrong | ~hit
        for constraint in self.constraints:
            broken = ~constraint(queries, ids)
            wrong = broken if wrong is None else wrong | broken
        return ids, wrong

    def _rejected(self, codes: LongTensor | None, ids: IntTensor, wrong: BoolTensor | None) -> LongTensor:
        """Return the flat positions of the proposals that cannot stay."""
        if self.index is None or codes is None:
            return torch.empty(0, dtype=torch.long, device=ids.device) if wrong is None else flat_nonzero(wrong)
        suspect = self.index.suspect(codes, ids)
        if wrong is None:
            slots = flat_nonzero(suspect)
            rows = self._row(slots, ids.shape[-1])
            known = self.index.confirm(codes.index_select(0, rows), ids.view(-1).index_select(0, slots))
            return slots.index_select(0, flat_nonzero(known))
        doubt = flat_nonzero(suspect.logical_and_(~wrong))
        rows = self._row(doubt, ids.shape[-1])
        known = self.index.confirm(codes.index_select(0, rows), ids.view(-1).index_select(0, doubt))
        wrong = wrong.contiguous().view(-1)
        return flat_nonzero(wrong.index_fill(0, doubt.index_select(0, flat_nonzero(known)), 1))

    def _stand_in(self, queries: Queries, generator: torch.Generator) -> tuple[LongTensor, LongTensor | None]:
        """Return uniform draws, as :meth:`_uniform`, that obey the constraints where a few more draws can do that."""
        drawn, side = self._uniform(queries, generator)
        if not self.constraints:
            return drawn, side
        # what was turned has nothing to choose from at its own end
        broken = torch.arange(len(drawn), device=drawn.device) if side is None else flat_nonzero(side == queries.side)
        for attempt in range(_LAST_ATTEMPTS + 1):
            if attempt:
                drawn[broken] = self._uniform(queries[broken], generator)[0]
            some, ids = queries[broken], drawn[broken][:, None].int()
            fine = torch.stack([constraint(some, ids)[:, 0] for constraint in self.constraints]).all(dim=0)
            broken = broken[~fine]
            if not len(broken):
                return drawn, side
        self.counts["unbound"] += len(broken)
        return drawn, side

    def _uniform(self, queries: Queries, generator: torch.Generator) -> tuple[LongTensor, LongTensor | None]:
        """Return one exact uniform draw per query, shape ``(q,)``, and the sides if some had to be turned."""
        if self.index is None:
            shape = queries.replaced.shape
            draw = torch.randint(self.num_entities - 1, shape, generator=generator, device=queries.kept.device)
            return draw + (draw >= queries.replaced), None
        codes = self.index.codes(queries.kept, queries.relation, queries.side)
        side = None
        if self.index.longest_row >= self.num_entities - 1:
            full = self.index.free(codes, queries.replaced) <= 0
            if bool(full.any()):
                queries = self._turn(self.index, queries, full)
                codes = self.index.codes(queries.kept, queries.relation, queries.side)
                side = queries.side
        drawn = self.index.complement_of_codes(codes, 1, exclude=queries.replaced, generator=generator)
        return drawn.squeeze(-1), side

    def _turn(self, index: TripleIndex, queries: Queries, full: BoolTensor) -> Queries:
        """Replace the other end where one end has no unknown completion left."""
        turned = queries.turned()
        other = index.codes(turned.kept, turned.relation, turned.side)
        stuck = full if not self.sides.both else full & (index.free(other, turned.replaced) <= 0)
        if bool(stuck.any()):
            row = int(stuck.nonzero()[0])
            ends = (int(queries.replaced[row]), int(queries.kept[row]))
            head, tail = ends if int(queries.side[row]) == HEAD else ends[::-1]
            raise ExhaustedPoolError(
                f"the positive (head {head}, relation {int(queries.relation[row])}, tail {tail}) has no negative left: "
                f"all {self.num_entities} entities complete it to a known triple. Keep fewer known triples, leave such "
                "positives out, or draw unfiltered."
            )
        self.counts["turned"] += int(full.sum())
        kept, replaced, side = (
            torch.where(full, new, old)
            for new, old in zip(
                (turned.kept, turned.replaced, turned.side), (queries.kept, queries.replaced, queries.side), strict=True
            )
        )
        return Queries(kept, queries.relation, replaced, side)
