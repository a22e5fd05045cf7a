"""A classifier for each concept, on vectors of texts that stay as they are."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from kgneg.core.candidates import CandidateIndex
from kgneg.core.corruption import Corruptor
from kgneg.core.draws import draw_below
from kgneg.core.errors import DivergedError, InvalidInputError
from kgneg.core.knn import validate_vectors
from kgneg.core.seeding import mix_seeds
from kgneg.core.typing import BoolTensor, FloatTensor, LongTensor
from kgneg.core.validation import validate_count, validate_number
from kgneg.samplers.pairs import pair_triples

__all__ = ["ConceptClassifiers", "FitReport"]

_DRAWS = 0x647261


class FitReport(NamedTuple):
    """What the training of classifiers had to go by."""

    #: concepts with at least one text, which have a classifier
    trained: int
    #: pairs of a text and a concept
    pairs: int
    #: negatives that were left out, because their text has the concept itself
    clashing: int
    #: negatives whose concept has no text, and that were drawn from all texts instead
    elsewhere: int
    #: the mean loss of each epoch
    losses: tuple[float, ...]


class ConceptClassifiers(nn.Module):
    r"""One logistic classifier for each concept, which says whether a text, given by a fixed vector, speaks of it.

    A positive of concept :math:`s` is a text that is labelled with it. A negative is a text that is labelled with
    another concept :math:`s'` and not with :math:`s`; the corruptor says which :math:`s'`, and so whether classifiers
    learn to tell a concept from its relatives or from anything else:

    .. math:: \ell = -\log \sigma(w_s \cdot x + b_s) - \frac{1}{n} \sum_i \log \sigma(-w_s \cdot x_i - b_s)

    Only concepts with a text have a classifier. The others get the score -1, below all.

    Source: Decorte et al., Design of Negative Sampling Strategies for Distantly Supervised Skill Extraction, RecSys in
    HR 2022.

    :param num_concepts: the number of concepts
    :param dim: the length of a vector
    :raises InvalidInputError: if a number is not positive

    >>> vectors = torch.eye(4)
    >>> rows, concepts = torch.arange(4), torch.tensor([0, 0, 1, 1])
    >>> from kgneg.samplers import UniformCorruptor, pair_options
    >>> corruptor = UniformCorruptor(**pair_options(rows, concepts, num_queries=4, num_entities=2))
    >>> model = ConceptClassifiers(2, 4)
    >>> _ = model.fit(vectors, rows, concepts, corruptor, lr=0.1)
    >>> model.scores(vectors).argmax(-1).tolist()
    [0, 0, 1, 1]
    """

    trained: BoolTensor

    def __init__(self, num_concepts: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(
            torch.zeros(validate_count("num_concepts", num_concepts), validate_count("dim", dim))
        )
        self.bias = nn.Parameter(torch.zeros(num_concepts))
        self.register_buffer("trained", torch.zeros(num_concepts, dtype=torch.bool))

    def fit(
        self,
        vectors: FloatTensor,
        rows: LongTensor,
        concepts: LongTensor,
        corruptor: Corruptor,
        *,
        n: int = 8,
        epochs: int = 20,
        lr: float = 1e-2,
        weight_decay: float = 0.0,
        batch_size: int = 4096,
        seed: int = 0,
        progress: bool = False,
    ) -> FitReport:
        """Train all classifiers at once.

        :param vectors: shape: ``(t, dim)``, of the texts
        :param rows: shape: ``(k,)``, the text of each pair
        :param concepts: shape: ``(k,)``, its concept
        :param corruptor: draws concepts for pairs; one for ``num_concepts`` entities and ``t`` relations, built with
            :func:`~kgneg.samplers.pairs.pair_options`, so that it leaves out what the text has
        :param n: negatives of each positive
        :param epochs: passes over the pairs
        :param lr: the learning rate of Adam
        :param weight_decay: the weight decay of Adam
        :param batch_size: pairs per step
        :param seed: the seed of order and draws
        :param progress: whether to show a progress bar
        :returns: what there was to go by
        :raises InvalidInputError: if numbers do not fit, an id is out of range, or there are no pairs
        :raises DivergedError: if the loss is no number any more
        """
        from tqdm.auto import tqdm

        vectors = validate_vectors(vectors)
        self._check(vectors, rows, concepts, corruptor)
        for name, value in (("n", n), ("epochs", epochs), ("batch_size", batch_size)):
            validate_count(name, value)
        number = len(self.weight)
        texts = CandidateIndex.from_pairs(concepts, rows, num_rows=number, num_columns=len(vectors))
        self.trained |= texts.indptr.diff() > 0
        known = torch.unique(rows * number + concepts)
        optimizer = torch.optim.Adam(
            self.parameters(),
            lr=validate_number("lr", lr, above=True),
            weight_decay=validate_number("weight_decay", weight_decay),
        )
        clashing = elsewhere = 0
        losses = []
        for epoch in tqdm(range(epochs), desc="classifiers", unit="epoch", disable=not progress):
            generator = torch.Generator().manual_seed(mix_seeds(seed, _DRAWS, epoch))
            order = torch.randperm(len(rows), generator=generator)
            total = 0.0
            for some in torch.split(order, batch_size):
                own, concept = rows[some], concepts[some]
                others = corruptor(pair_triples(own, concept), n, generator).entity.long()
                drawn, there = texts.sample(others.view(-1), 1, generator)
                anywhere = draw_below(len(rows), (len(drawn), 1), generator, drawn.device)
                negative = torch.where(there, drawn.long(), rows[anywhere.long()]).view(len(some), n)
                clash = torch.isin(negative * number + concept[:, None], known)
                loss = self._loss(vectors, own, concept, negative, ~clash)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                total += float(loss.detach()) * len(some)
                clashing += int(clash.sum())
                elsewhere += int((~there).sum())
            losses.append(total / len(rows))
            if losses[-1] != losses[-1]:
                raise DivergedError(f"the loss of epoch {epoch + 1} is no number: take a smaller lr than {lr:g}")
        return FitReport(int(self.trained.sum()), len(rows), clashing, elsewhere, tuple(losses))

    def _loss(
        self, vectors: FloatTensor, own: LongTensor, concept: LongTensor, negative: LongTensor, allowed: BoolTensor
    ) -> FloatTensor:
        weight, bias = functional.embedding(concept, self.weight), self.bias[concept]
        positive = functional.softplus(-((vectors[own] * weight).sum(-1) + bias))
        wrong = functional.softplus(torch.bmm(vectors[negative], weight[:, :, None]).squeeze(-1) + bias[:, None])
        share = (wrong * allowed).sum(-1) / allowed.sum(-1).clamp(min=1)
        return (positive + share).mean()

    @torch.no_grad()
    def scores(self, vectors: FloatTensor) -> FloatTensor:
        """Return the probabilities of all concepts.

        :param vectors: shape: ``(q, dim)``
        :returns: shape: ``(q, num_concepts)``, in ``[0, 1]``; -1 for concepts without a classifier
        """
        found = (validate_vectors(vectors) @ self.weight.T + self.bias).sigmoid_()
        return found.masked_fill_(~self.trained, -1.0)

    def _check(self, vectors: FloatTensor, rows: LongTensor, concepts: LongTensor, corruptor: Corruptor) -> None:
        if rows.shape != concepts.shape or rows.ndim != 1 or not len(rows):
            raise InvalidInputError(
                f"rows and concepts must be vectors of one length, and some, got {tuple(rows.shape)} and "
                f"{tuple(concepts.shape)}"
            )
        if vectors.shape[1] != self.weight.shape[1]:
            raise InvalidInputError(f"vectors of length {vectors.shape[1]} do not fit {self.weight.shape[1]}")
        for what, ids, limit in (("row", rows, len(vectors)), ("concept", concepts, len(self.weight))):
            if int(ids.min()) < 0 or int(ids.max()) >= limit:
                worst = int(ids.min()) if int(ids.min()) < 0 else int(ids.max())
                raise InvalidInputError(f"{what} {worst} is out of range: must be in [0, {limit})")
        if (corruptor.num_entities, corruptor.num_relations) != (len(self.weight), len(vectors)):
            raise InvalidInputError(
                f"a corruptor for {corruptor.num_entities} concepts and {corruptor.num_relations} texts does not fit "
                f"{len(self.weight)} and {len(vectors)}: build it with pair_options(rows, concepts, ...)"
            )
        if corruptor.sides.policy != "tail":
            raise InvalidInputError(f"the side policy is {corruptor.sides.policy!r}, expected 'tail'")
