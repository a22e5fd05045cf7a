"""How much a pair of entities resembles known pairs of the relation, from entity vectors alone."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch.nn.functional import normalize

from kgneg.core.candidates import CandidateIndex
from kgneg.core.cluster import kmeans
from kgneg.core.errors import InvalidInputError
from kgneg.core.knn import validate_vectors
from kgneg.core.modules import BufferModule
from kgneg.core.queries import Queries
from kgneg.core.seeding import mix_seeds
from kgneg.core.triples import TripleIndex
from kgneg.core.typing import HEAD, RELATION, TAIL, FloatTensor, IntTensor, LongTensor
from kgneg.core.validation import validate_count, validate_triples

__all__ = ["PairResemblance", "draw_typed"]

_MEMBERS = 16  # known completions of the pair that is asked for that are looked at
_OTHERS = 8  # and of the pair with the candidate
_OF_NEGATIVES = 4  # for one prototype of negatives there are so many of known pairs
_PER_PROTOTYPE = 16  # pairs of a relation that take part in its clustering, for each prototype
_STEPS = 5
_CHUNK = 8  # columns of which the largest is looked at first
_CELLS = 1 << 25  # numbers held at once
_PURPOSE = 0x7061697273


class PairResemblance(BufferModule):
    r"""Features of a triple :math:`(h, r, t)` from the vectors of its entities and those of known pairs of :math:`r`.

    ===================  ========================================================================================
    feature              what it is
    ===================  ========================================================================================
    ``nearest``          the largest product :math:`\cos(h, h')\cos(t, t')` with a known pair :math:`(h', t')`, where
                         a negative cosine counts as 0
    ``near``             its mean over the ``k`` nearest ones
    ``kernel``           its mean over all of them, a bilinear form of the two vectors
    ``head``, ``tail``   the mean of :math:`\cos(h, h')`, and of :math:`\cos(t, t')`
    ``negatives``        the mean of :math:`(\cos(h, h') + \cos(t, t'))/2`, the cosine of the joint vectors, over the
                         ``k`` nearest negatives, which were drawn from the domain and range of the relation
    ``negative kernel``  the mean of the product over all of these
    ``tails``            the mean of :math:`\cos(t, t')` over known tails :math:`t'` of :math:`(h, r)`
    ``heads``            the mean of :math:`\cos(h, h')` over known heads :math:`h'` of :math:`(r, t)`
    ``nearest tail``     the largest such cosine
    ``nearest head``     the same for heads
    ``size``             :math:`\log(1 + n)`, how many triples the relation has
    ===================  ========================================================================================

    A known triple that shares one end with the candidate counts: that *(h, r)* has a tail that resembles *t* is the
    best evidence there is, and the positive that a negative was made from is of that kind. The triple itself does not
    occur, as long as it is not known; ask for unknown ones only.

    A relation with more than ``prototypes`` known pairs is stood for by the centres of so many clusters of some of its
    pairs; the cosine with a centre is then the mean of those with the cluster. Of the known triples
    that share the entity that stays sixteen count, of those that share the candidate eight, chosen at random.

    :param triples: shape: ``(m, 3)``, the known triples
    :param vectors: shape: ``(num_entities, d)``; only their directions count, a row of zeros resembles nothing
    :param num_entities: the number of entities
    :param num_relations: the number of relations
    :param k: how many of the nearest pairs to look at
    :param prototypes: how many pairs or clusters stand for a relation, and a quarter of them for its negatives
    :param seed: the seed of the clusters and of all that is drawn
    :raises InvalidInputError: if vectors are malformed, do not fit the entities, or ids are out of range

    >>> triples, vectors = torch.tensor([[0, 0, 1], [2, 0, 1]]), torch.eye(4)
    >>> features = PairResemblance(triples, vectors, num_entities=4, num_relations=1)
    >>> queries = Queries.from_triples(torch.tensor([[0, 0, 1]]), torch.tensor([0]))
    >>> features(queries, torch.tensor([[2, 3]], dtype=torch.int32))[0, :, 0].tolist()
    [1.0, 0.0]
    """

    NAMES: ClassVar[tuple[str, ...]] = (
        *("nearest", "near", "kernel", "head", "tail", "negatives", "negative kernel"),
        *("tails", "heads", "nearest tail", "nearest head", "size"),
    )

    vectors: FloatTensor
    prototypes: FloatTensor
    share: FloatTensor
    bounds: LongTensor
    centres: FloatTensor
    codes: LongTensor
    members: IntTensor
    size: FloatTensor

    def __init__(
        self,
        triples: LongTensor,
        vectors: FloatTensor,
        *,
        num_entities: int,
        num_relations: int,
        k: int = 5,
        prototypes: int = 128,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.num_entities = validate_count("num_entities", num_entities)
        self.num_relations = validate_count("num_relations", num_relations)
        self.k, self.most = validate_count("k", k), validate_count("prototypes", prototypes, _OF_NEGATIVES)
        triples = torch.unique(validate_triples(triples, num_entities, num_relations).reshape(-1, 3).cpu(), dim=0)
        if not len(triples):
            raise InvalidInputError("there are no known triples to learn from: give at least one")
        unit = normalize(validate_vectors(vectors.detach().cpu(), num_entities), dim=-1)
        # the last row stands for nobody
        self.register_buffer("vectors", torch.cat([unit, torch.zeros(1, unit.shape[1])]))
        index = TripleIndex(triples, num_entities=num_entities, num_relations=num_relations, keys="auto")
        generator = torch.Generator().manual_seed(mix_seeds(seed, _PURPOSE))
        negatives = draw_typed(triples, index, triples, generator)
        self._set_prototypes((triples, negatives), (prototypes, prototypes // _OF_NEGATIVES), seed)
        codes, members = self._completions(triples, generator)
        self.register_buffer("codes", codes)
        self.register_buffer("members", members)
        sizes = torch.bincount(triples[:, RELATION], minlength=num_relations)
        self.register_buffer("size", sizes.float().log1p())
        self._derive()

    def _derive(self) -> None:
        self._bounds = self.bounds.tolist()

    def _set_prototypes(self, kinds: tuple[LongTensor, LongTensor], numbers: tuple[int, int], seed: int) -> None:
        """Store the known pairs and the negatives of each relation, or centres of clusters where there are too many."""
        generator = torch.Generator().manual_seed(mix_seeds(seed, _PURPOSE, 1))
        sorted_kinds = [triples[triples[:, RELATION].argsort(stable=True)] for triples in kinds]
        counts = [torch.bincount(part[:, RELATION], minlength=self.num_relations).tolist() for part in kinds]
        parts, shares = [], []
        split = zip(*(torch.split(part, each) for part, each in zip(sorted_kinds, counts, strict=True)), strict=True)
        for of_relation in split:
            for kind, (triples, number) in enumerate(zip(of_relation, numbers, strict=True)):
                joint, share = self._stand_ins(triples, number, seed, generator)
                parts.append(joint)
                shares.append(torch.stack([share * (kind == 0), share * (kind == 1)], dim=-1))
        bounds = torch.tensor([0, *(len(part) for part in parts)]).cumsum(0)
        joint = torch.cat(parts).view(-1, 2, self.vectors.shape[1])
        self.register_buffer("prototypes", joint.transpose(0, 1).contiguous())
        self.register_buffer("share", torch.cat(shares))
        known = kinds[0]
        total = torch.zeros(2, self.num_relations, self.vectors.shape[1])
        for end, column in enumerate((HEAD, TAIL)):
            total[end].index_add_(0, known[:, RELATION], self.vectors[known[:, column]])
        self.register_buffer(
            "centres", total / torch.bincount(known[:, RELATION], minlength=self.num_relations).clamp(min=1)[:, None]
        )
        self.register_buffer("bounds", bounds)

    def _stand_ins(
        self, triples: LongTensor, number: int, seed: int, generator: torch.Generator
    ) -> tuple[FloatTensor, FloatTensor]:
        """Return the joint vectors of the pairs of a relation, or of clusters of them, and the share of each."""
        if len(triples) > _PER_PROTOTYPE * number:
            rows = torch.randperm(len(triples), generator=generator)[: _PER_PROTOTYPE * number]
            triples = triples[rows]
        joint = self.vectors[triples[:, [HEAD, TAIL]]].flatten(1)
        if len(triples) <= number:
            return joint, torch.full((len(triples),), 1 / max(len(triples), 1))
        distinct = len(torch.unique(joint, dim=0))
        found = kmeans(joint, min(number, distinct), iterations=_STEPS, start="random", seed=seed)
        share = torch.bincount(found.labels, minlength=len(found.centroids)) / len(triples)
        return found.centroids, share

    def _completions(self, triples: LongTensor, generator: torch.Generator) -> tuple[LongTensor, IntTensor]:
        """Return the codes of all known pairs, sorted, and some known completions of each."""
        head, relation, tail = triples[torch.randperm(len(triples), generator=generator)].unbind(-1)
        slot = torch.cat([relation, relation + self.num_relations])
        codes, row = torch.unique(slot * self.num_entities + torch.cat([tail, head]), return_inverse=True)
        order = row.argsort(stable=True)
        counts = torch.bincount(row)
        place = torch.arange(len(row)) - (counts.cumsum(0) - counts)[row[order]]
        order, place = order[place < _MEMBERS], place[place < _MEMBERS]
        members = torch.full((len(codes), _MEMBERS), self.num_entities, dtype=torch.int32)
        members[row[order], place] = torch.cat([head, tail])[order].int()
        return codes, members

    def forward(self, queries: Queries, ids: IntTensor) -> FloatTensor:
        """Return the features of candidates.

        :param queries: ``q`` pairs
        :param ids: shape: ``(q, n)``, candidates for each
        :returns: shape: ``(q, n, 12)``, in the order of :attr:`NAMES`
        """
        order = (queries.relation * 2 + (queries.side == TAIL)).argsort(stable=True)
        sorted_queries, sorted_ids = queries[order], ids.index_select(0, order).long()
        found = torch.empty((*ids.shape, len(self.NAMES)), device=ids.device)
        width = max(self.most, _MEMBERS * self.vectors.shape[1])
        step = max(1, _CELLS // (width * max(ids.shape[1], 1)))
        for start in range(0, len(ids), step):
            rows = torch.arange(start, min(start + step, len(ids)), device=ids.device)
            found[order[rows]] = self._block(sorted_queries[rows], sorted_ids[start : start + step])
        return found

    def telling_side(self, triples: LongTensor) -> LongTensor:
        """Return the end to replace such that the entity that stays has more known partners, of which more count.

        :param triples: shape: ``(q, 3)``
        :returns: shape: ``(q,)``, the column
        """
        head, relation, tail = triples.unbind(-1)
        (_, heads), (_, tails) = (
            self._known((relation + slot * self.num_relations) * self.num_entities + kept)
            for slot, kept in ((0, tail), (1, head))
        )
        return torch.where(tails > heads, TAIL, HEAD)

    def _block(self, queries: Queries, ids: LongTensor) -> FloatTensor:
        """Return the features of candidates for pairs of which those with one relation and end lie side by side."""
        relation, at_tail = queries.relation, queries.side == TAIL
        own = self.vectors.index_select(0, queries.kept)
        candidate = self.vectors.index_select(0, ids.reshape(-1)).view(*ids.shape, -1)
        kernels, near, negatives = (own.new_zeros((*ids.shape, width)) for width in (2, self.k, self.k))
        slots, counts = torch.unique_consecutive(relation * 2 + at_tail, return_counts=True)
        begin = 0
        for slot, count in zip(slots.tolist(), counts.tolist(), strict=True):
            rows = slice(begin, begin + count)
            self._near(slot, own[rows], candidate[rows], (kernels[rows], near[rows], negatives[rows]))
            begin += count
        which = at_tail.long()
        staying = (own * self.centres[1 - which, relation]).sum(dim=-1)[:, None].expand(ids.shape)
        moving = (candidate @ self.centres[which, relation][..., None]).squeeze(-1)
        ours, theirs = self._shared(relation, at_tail, queries.kept, ids, own, candidate)
        end = at_tail[:, None]
        sides = [(staying, moving), (ours[0], theirs[0]), (ours[1], theirs[1])]
        (head, tail), (tails, heads), (nearest_tail, nearest_head) = (
            (torch.where(end, first, second), torch.where(end, second, first)) for first, second in sides
        )
        kernel, negative = kernels.unbind(-1)
        columns = (near.amax(dim=-1), near.mean(dim=-1), kernel, head, tail, negatives.mean(dim=-1) / 2, negative)
        size = self.size[relation][:, None].expand(ids.shape)
        return torch.stack([*columns, tails, heads, nearest_tail, nearest_head, size], dim=-1)

    def _near(
        self, slot: int, own: FloatTensor, candidate: FloatTensor, out: tuple[FloatTensor, FloatTensor, FloatTensor]
    ) -> None:
        """Write what the known pairs and the negatives of one relation say, all candidates being for the same end."""
        relation, at_tail = divmod(slot, 2)
        low, middle, high = self._bounds[2 * relation : 2 * relation + 3]
        if low == middle:
            return
        first = own @ self.prototypes[1 - at_tail, low:high].T
        second = (candidate.flatten(0, 1) @ self.prototypes[at_tail, low:high].T).view(*candidate.shape[:2], -1)
        torch.bmm(second, first[..., None] * self.share[low:high], out=out[0])
        number = middle - low
        product = second[..., :number] * first[:, None, :number].clamp(min=0)
        _largest(product.clamp_(min=0) if number <= self.k else product, out[1])
        out[1].clamp_(min=0)  # of the largest ones only, for there are fewer
        if middle < high:
            _largest(second[..., number:] + first[:, None, number:], out[2])

    def _shared(
        self,
        relation: LongTensor,
        at_tail: torch.Tensor,
        kept: LongTensor,
        ids: LongTensor,
        own: FloatTensor,
        candidate: FloatTensor,
    ) -> tuple[tuple[FloatTensor, FloatTensor], tuple[FloatTensor, FloatTensor]]:
        """Return what the known triples say that share the entity that stays, and those that share the candidate."""
        row, number = self._known((relation + at_tail * self.num_relations) * self.num_entities + kept)
        cosine = candidate @ self.vectors[row].mT
        ours = _summary(cosine, number[:, None])
        row, number = self._known(((relation + ~at_tail * self.num_relations) * self.num_entities)[:, None] + ids)
        some = number.view(-1).nonzero().squeeze(-1)  # most candidates that are drawn uniformly have no such triple
        number = number.view(-1)[some].clamp(max=_OTHERS)
        row = row.view(-1, _MEMBERS)[:, :_OTHERS].index_select(0, some)
        members = self.vectors.index_select(0, row.view(-1)).view(len(some), _OTHERS, own.shape[-1])
        asked = own.index_select(0, some.div(max(ids.shape[1], 1), rounding_mode="floor"))
        theirs = _summary((members @ asked[..., None]).squeeze(-1), number)
        blank = own.new_zeros(ids.numel())
        mean, largest = (blank.index_copy(0, some, part).view(ids.shape) for part in theirs)
        return ours, (mean, largest)

    def _known(self, code: LongTensor) -> tuple[LongTensor, LongTensor]:
        """Return known completions of pairs, and how many there are."""
        row = torch.searchsorted(self.codes, code).clamp_(max=len(self.codes) - 1)
        found = self.members.index_select(0, row.reshape(-1)).view(*code.shape, _MEMBERS).long()
        found = torch.where((self.codes[row] == code)[..., None], found, self.num_entities)
        return found, (found < self.num_entities).sum(dim=-1)


def _largest(scores: FloatTensor, out: FloatTensor) -> None:
    """Write the largest values of each row in any order; where there are too few, their mean is repeated."""
    k, number = out.shape[-1], scores.shape[-1]
    chunks = number // _CHUNK
    if number <= k:
        out[..., :number] = scores
        out[..., number:] = scores.mean(dim=-1, keepdim=True)
    elif chunks < 2 * k or number % _CHUNK:
        out.copy_(scores.topk(k, dim=-1, sorted=False).values)
    else:  # look into the chunks with the largest maxima only; a chunk is a column of this table
        table = scores.view(*scores.shape[:-1], _CHUNK, chunks)
        best = table.amax(dim=-2).topk(k, dim=-1, sorted=False).indices
        inside = table.gather(-1, best[..., None, :].expand(*best.shape[:-1], _CHUNK, k)).flatten(-2)
        out.copy_(inside.topk(k, dim=-1, sorted=False).values)


def _summary(cosine: FloatTensor, number: LongTensor) -> tuple[FloatTensor, FloatTensor]:
    """Return the mean and the largest of the first cosines, 0 where there are none; the others are 0."""
    there = torch.arange(cosine.shape[-1], device=cosine.device) < number[..., None]
    largest = cosine.masked_fill(~there, -2.0).amax(dim=-1)
    return cosine.sum(dim=-1) / number.clamp(min=1), largest.masked_fill(number == 0, 0.0)


def draw_typed(known: LongTensor, index: TripleIndex, positives: LongTensor, generator: torch.Generator) -> LongTensor:
    """Draw one negative per positive from the observed domain or range of its relation.

    :param known: shape: ``(m, 3)``, the known triples
    :param index: of the known triples
    :param positives: shape: ``(p, 3)``
    :param generator: the source of randomness
    :returns: shape: ``(k, 3)``; what would be known is left out
    """
    pools = CandidateIndex.from_relation_types(
        known, num_entities=index.num_entities, num_relations=index.num_relations
    )
    tail = torch.randint(2, (len(positives),), generator=generator).bool()
    ids, hit = pools.sample(2 * positives[:, RELATION] + tail, 1, generator)
    drawn = positives.clone()
    drawn[:, HEAD] = torch.where(tail, positives[:, HEAD], ids.squeeze(-1).long())
    drawn[:, TAIL] = torch.where(tail, ids.squeeze(-1).long(), positives[:, TAIL])
    return drawn[hit.squeeze(-1) & ~index.contains(drawn)]
