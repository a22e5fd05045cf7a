"""Cosines of those who ask, candidates and their owners."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import scipy.sparse
import torch
from torch.nn.functional import normalize

from kgneg.core.candidates import CandidateIndex
from kgneg.core.errors import InvalidInputError
from kgneg.core.modules import BufferModule
from kgneg.core.queries import Queries
from kgneg.core.seeding import mix_seeds
from kgneg.core.typing import HEAD, TAIL, FloatTensor, IntTensor, LongTensor
from kgneg.samplers.owner_profiles import OwnerProfiles

__all__ = ["Likeness", "latent_vectors", "main_components"]

_PURPOSE = 0x6C696B65
#: how many candidates stand for all that are known at an end, and how many of the nearest ones are looked at
_EXAMPLES, _NEAREST = 2048, 5
_ROWS = 4096


class Likeness(BufferModule):
    """Cosines, for each candidate: with the one that asks, of that one and the owners, and with other candidates.

    Memory: four bytes for each component of each entity and each place.

    :param profiles: the owners of each candidate
    :param triples: shape: ``(m, 3)``, the known triples
    :param vectors: shape: ``(num_entities, d)``, of unit length or zero
    :param seed: the seed of the choice of examples

    >>> features = CandidateIndex.from_lists([[0], [0], [0]], num_columns=1)
    >>> triples = torch.tensor([[0, 0, 2], [1, 0, 2]])
    >>> profiles = OwnerProfiles(triples, features, num_entities=3, num_relations=1)
    >>> likeness = Likeness(profiles, triples, torch.eye(3), 0)
    >>> queries, ids = Queries.from_triples(triples[:1], torch.tensor([2])), torch.tensor([[2]])
    >>> likeness(queries, ids, profiles.places(queries, ids), torch.zeros(4, 1, 1)).flatten()[:2].tolist()
    [0.0, 0.5]
    """

    member: IntTensor
    vectors: FloatTensor
    owner_mean: FloatTensor
    owner_length: FloatTensor
    examples: LongTensor
    example_start: LongTensor
    typical: FloatTensor

    def __init__(self, profiles: OwnerProfiles, triples: LongTensor, vectors: FloatTensor, seed: int) -> None:
        super().__init__()
        self.register_buffer("vectors", vectors)
        sums = torch.zeros(profiles.num_places, vectors.shape[-1])
        for end, other in ((HEAD, TAIL), (TAIL, HEAD)):
            queries = Queries.from_triples(triples, torch.full((len(triples),), end))
            place = profiles.places(queries, triples[:, end, None]).squeeze(-1).long()
            sums.index_add_(0, place, vectors[triples[:, other]])
        mean = sums / profiles.owners[:, None]
        self.register_buffer("owner_mean", mean)
        self.register_buffer("owner_length", mean.norm(dim=-1).clamp(min=1e-9))
        self.register_buffer("member", profiles.member.clone())
        generator = torch.Generator().manual_seed(mix_seeds(seed, _PURPOSE))
        start = profiles.start.tolist()
        chosen = [
            (begin + torch.randperm(end - begin, generator=generator)[:_EXAMPLES]).sort().values
            for begin, end in pairwise(start)
        ]
        self.register_buffer("examples", profiles.member[torch.cat(chosen)].long())
        self.register_buffer("example_start", torch.tensor([0, *(len(one) for one in chosen)]).cumsum(0))
        parts = [
            self._typicality(slot, profiles.member[begin:end].long())
            for slot, (begin, end) in enumerate(pairwise(start))
        ]
        self.register_buffer("typical", torch.cat(parts))

    @classmethod
    def of(
        cls, profiles: OwnerProfiles, triples: LongTensor, vectors: FloatTensor | None, seed: int
    ) -> Likeness | None:
        """Return the cosines, if there are vectors.

        :param profiles: the owners of each candidate
        :param triples: shape: ``(m, 3)``, the known triples
        :param vectors: shape: ``(num_entities, d)``, or ``None``
        :param seed: the seed of the choice of examples
        :returns: the cosines, or ``None``
        """
        return None if vectors is None else cls(profiles, triples, vectors, seed)

    def _typicality(self, slot: int, entities: LongTensor) -> FloatTensor:
        """Return the mean cosine of entities and the nearest examples of a slot other than themselves."""
        examples = self.examples[self.example_start[slot] : self.example_start[slot + 1]]
        out = torch.zeros(len(entities), device=entities.device)
        if not len(examples):
            return out
        others = self.vectors[examples].T.contiguous()
        for begin in range(0, len(entities), _ROWS):
            part = entities[begin : begin + _ROWS]
            cosine = self.vectors[part] @ others
            at = torch.searchsorted(examples, part).clamp_(max=len(examples) - 1)
            own = (examples[at] == part).nonzero().squeeze(-1)
            cosine[own, at[own]] = -1.0
            number = min(_NEAREST, len(examples) - 1)
            out[begin : begin + _ROWS] = cosine.topk(number, dim=-1).values.mean(dim=-1) if number else 0.0
        return out

    def forward(self, queries: Queries, ids: torch.Tensor, places: IntTensor, out: FloatTensor) -> FloatTensor:
        """Write the cosines of candidates.

        :param queries: ``q`` pairs
        :param ids: shape: ``(q, n)``, entities
        :param places: shape: ``(q, n)``, -1 for those that are not known at that end
        :param out: shape: ``(4, q, n)``, is overwritten: with the one that asks, of that one with the owners, in the
            mean and with their mean, and with other candidates
        :returns: ``out``
        """
        shape, dim = ids.shape, self.vectors.shape[-1]
        known, at = places >= 0, places.clamp(min=0).view(-1)
        own = self.vectors.index_select(0, queries.kept)[:, :, None]
        out[0] = torch.bmm(self.vectors.index_select(0, ids.reshape(-1)).view(*shape, dim), own).squeeze(-1)
        out[1] = torch.bmm(self.owner_mean.index_select(0, at).view(*shape, dim), own).squeeze(-1).mul_(known)
        out[2] = out[1] / self.owner_length.index_select(0, at).view(shape)
        out[3] = self.typical.index_select(0, at).view(shape)
        if not bool(known.all()):
            row, column = (~known).nonzero(as_tuple=True)
            slots = OwnerProfiles.slots(queries)[row]
            for slot in torch.unique(slots).tolist():
                here = (slots == slot).nonzero().squeeze(-1)
                out[3][row[here], column[here]] = self._typicality(slot, ids[row[here], column[here]].long())
        return out

    def of_range(self, queries: Queries, first: int, out: FloatTensor) -> FloatTensor:
        """Write the cosines of all candidates from one place on.

        :param queries: ``k`` pairs
        :param first: the first place
        :param out: shape: ``(4, k, c)``, is overwritten
        :returns: ``out``
        """
        places = slice(first, first + out.shape[-1])
        own = self.vectors[queries.kept]
        out[0] = own @ self.vectors[self.member[places].long()].T
        out[1] = own @ self.owner_mean[places].T
        out[2] = out[1] / self.owner_length[places]
        out[3] = self.typical[places]
        return out


def main_components(vectors: torch.Tensor, num_entities: int, dim: int) -> FloatTensor:
    """Return the main components of vectors, of unit length.

    :param vectors: shape: ``(num_entities, d)``, finite
    :param num_entities: the number of entities
    :param dim: the number of components, at most ``d`` are there
    :returns: shape: ``(num_entities, min(dim, d))``; zero for a vector of zeros, and for one at the mean of the others
    :raises InvalidInputError: if the shape does not fit, or a vector is not finite

    >>> main_components(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), 2, 1).abs().tolist()
    [[1.0], [1.0]]
    """
    if vectors.ndim != 2 or len(vectors) != num_entities:
        raise InvalidInputError(f"vectors of shape {tuple(vectors.shape)} do not fit {num_entities} entities")
    wrong = (~vectors.isfinite().all(dim=-1)).nonzero()
    if len(wrong):
        raise InvalidInputError(f"the vector of entity {int(wrong[0])} is not finite, nor are {len(wrong) - 1} others")
    found = vectors.detach().double().cpu()
    found = found / found.abs().max().clamp(min=1e-300)
    there = found.abs().amax(dim=-1) > 0
    centred = (found - found[there].mean(dim=0)).float() * there[:, None] if bool(there.any()) else found.float()
    _, axes = torch.linalg.eigh((centred.T @ centred).double())
    return normalize(centred @ axes[:, -dim:].float(), dim=-1)


def latent_vectors(features: CandidateIndex, weights: FloatTensor, dim: int, seed: int) -> FloatTensor:
    """Return vectors of entities by a truncated singular value decomposition of their weighted features.

    Source: latent semantic analysis, Deerwester et al., 1990.

    :param features: entities x features
    :param weights: shape: ``(features,)``
    :param dim: the number of dimensions, lowered where the table allows no more
    :param seed: the seed of the decomposition
    :returns: shape: ``(entities, dim)``, of unit length; zeros for an entity without features

    >>> latent_vectors(CandidateIndex.from_lists([[0], [0], [1]], num_columns=2), torch.ones(2), 1, 0).shape
    torch.Size([3, 1])
    """
    from sklearn.utils.extmath import randomized_svd

    index, member = features.indptr.cpu().numpy(), features.indices.cpu()
    shape = (features.num_rows, features.num_columns)
    table = scipy.sparse.csr_array((weights.cpu()[member.long()].numpy(), member.numpy(), index), shape=shape)
    length = np.sqrt(np.asarray(table.multiply(table).sum(axis=1)).ravel())
    table.data /= np.repeat(np.maximum(length, 1e-9), np.diff(index)).astype(np.float32)
    rank = max(min(dim, min(shape) - 1), 1)
    left, values, _ = randomized_svd(table, rank, n_iter=4, random_state=seed % 2**32)
    return normalize(torch.from_numpy(np.ascontiguousarray(left * values, dtype=np.float32)), dim=-1)
