"""From a knowledge base to multiple-choice questions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from kgneg.core.queries import Queries
from kgneg.core.seeding import mix_seeds
from kgneg.core.typing import HEAD, RELATION, TAIL, BoolTensor, IntTensor, LongTensor
from kgneg.core.validation import validate_count
from kgneg.datasets import KnowledgeGraph
from kgneg.qa.distractors import Drawer, make_drawer
from kgneg.qa.material import Material, gather
from kgneg.qa.people import PERSONS, People
from kgneg.qa.questions import QuestionSet
from kgneg.qa.wording import Templates

__all__ = ["build_questions"]

_ROWS, _MORE, _ROUNDS, _LAST = 8192, 4, 6, 32


def build_questions(
    graph: KnowledgeGraph,
    *,
    templates: str | Path | Templates = "atomic",
    distractors: str | Drawer = "concept",
    n: int = 2,
    seed: int = 0,
    names: bool | Sequence[str] = True,
    aliases: Mapping[str, str] | None = None,
    split: str = "train",
    known: str = "train",
    limit: int | None = None,
    missing_text: str = "label",
    options: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> QuestionSet:
    """Make a multiple-choice question of each triple: the head and relation ask, the tail is right.

    Distractors are tails of the same relation, differ from each other, and are no known tails of the head and relation,
    nor read like one; they obey :class:`~kgneg.qa.rules.TextRules`. What a method cannot fill in a bounded number of
    rounds is filled, and flagged as ``fallback``, by tails of the relation that obey the rules, then by any of its
    tails, then by tails of other relations. A question for which there is nothing at all is left out and counted.

    Source: Ma et al., AAAI 2021; Wang et al., Findings of EMNLP 2023.

    :param graph: the knowledge base; texts of entities are phrases
    :param templates: how relations are put into words, see :meth:`Templates.load`
    :param distractors: ``"concept"``, ``"keyword"``, ``"random"`` or ``"adversarial"``, see
        :func:`~kgneg.qa.distractors.make_drawer`, or a corruptor for tails
    :param n: distractors per question
    :param seed: the seed of everything; with the same one, names and the places of answers are the same for all methods
    :param names: whether persons get names, or the names to choose from
    :param aliases: names in the texts that stand for persons, such as ``{"John": "PersonX", "Tom": "PersonY"}``
    :param split: whose triples are asked for: ``train``, ``valid``, ``test`` or ``all``
    :param known: which triples are known to be right: ``"train"``, with those of the split, or ``"all"``
    :param limit: at most so many questions, a random part; ``None`` takes all
    :param missing_text: ``"label"`` takes the label of an entity without text, ``"error"`` refuses it
    :param options: options of the method that draws
    :param progress: whether to show progress bars
    :returns: the questions, and in ``report`` what became of the triples
    :raises InvalidInputError: if an argument does not fit, or a relation has no template
    :raises MissingTextError: if an entity has no text
    """
    validate_count("n", n)
    wording = Templates.load(templates)
    lettered = any("PersonX" in wording.question("", one) for one in wording.relations)
    people = People(None if isinstance(names, bool) else names, aliases=aliases, letters=lettered)
    choice, draws, words = (torch.Generator().manual_seed(mix_seeds(seed, one)) for one in range(3))
    material = gather(
        graph,
        wording,
        people,
        split=split,
        known=known,
        limit=limit,
        missing_text=missing_text,
        generator=choice,
    )
    drawer = make_drawer(distractors, material, options or {}, seed=seed, progress=progress)
    drawn = _draw(material, drawer, n, draws, progress)
    report = material.report
    report["without distractors"] = int((~drawn.full).sum())
    triples, ids, fallback = material.triples[drawn.full], drawn.ids[drawn.full], drawn.fallback[drawn.full]
    report["questions"] = len(triples)
    report["answers with most heads"] = _most_heads(material, triples, ids)
    report["fallback"] = int(fallback.sum())
    report["questions with fallback"] = int(fallback.any(-1).sum())
    return _assemble(material, wording, people, triples, ids, fallback, names is not False, words)


def _most_heads(material: Material, triples: LongTensor, ids: LongTensor) -> int:
    """Return for how many questions the choice that most heads have is right: what can be known without the question.

    A tie counts in part.
    """
    number = material.graph.num_entities
    keys, counts = torch.unique(material.source[:, RELATION] * number + material.source[:, TAIL], return_counts=True)
    choices = torch.cat([triples[:, TAIL, None], ids], dim=-1)
    asked = triples[:, RELATION, None] * number + choices
    place = torch.searchsorted(keys, asked).clamp_(max=len(keys) - 1)
    heads = torch.where(keys[place] == asked, counts[place], 0)
    best = heads == heads.amax(dim=-1, keepdim=True)
    return round(float((best[:, 0] / best.sum(dim=-1)).sum()))


# Drawing


class _Drawn(NamedTuple):
    """Distractors of questions."""

    ids: LongTensor
    fallback: BoolTensor
    #: which questions have all of them
    full: BoolTensor


class _Stage(NamedTuple):
    """A way to find candidates, the test that they have to pass, and how often it is tried."""

    draw: Callable[[LongTensor, int, torch.Generator], tuple[IntTensor, BoolTensor]]
    test: Callable[[Queries, IntTensor], BoolTensor]
    rounds: int
    width: int


def _draw(material: Material, drawer: Drawer, n: int, generator: torch.Generator, progress: bool) -> _Drawn:
    """Draw distractors for all questions, in batches."""
    from tqdm.auto import tqdm

    stages = _stages(material, drawer, n)
    batches = torch.split(material.triples, _ROWS)
    parts = [
        _fill(batch, stages, material.rules.forms, n, generator)
        for batch in tqdm(batches, desc="drawing distractors", unit="batch", disable=not progress or len(batches) == 1)
    ]
    return _Drawn(*map(torch.cat, zip(*parts, strict=True)))


def _stages(material: Material, drawer: Drawer, n: int) -> list[_Stage]:
    rules, pools = material.rules, material.pools()
    tails = torch.unique(material.source[:, TAIL])
    rows, members = pools.pairs()
    keys = rows * pools.num_columns + members  # in ascending order

    def of_relation(queries: Queries, ids: IntTensor) -> BoolTensor:
        asked = (2 * queries.relation[:, None] + 1) * pools.num_columns + ids.long()
        found = keys[torch.searchsorted(keys, asked).clamp_(max=len(keys) - 1)] == asked
        obeyed: BoolTensor = rules(queries, ids)
        return found & obeyed

    def by_method(batch: LongTensor, width: int, generator: torch.Generator) -> tuple[IntTensor, BoolTensor]:
        negatives = drawer(batch, width, generator)
        return negatives.entity, negatives.fallback

    def from_pool(batch: LongTensor, width: int, generator: torch.Generator) -> tuple[IntTensor, BoolTensor]:
        ids, _ = pools.sample(2 * batch[:, RELATION] + 1, width, generator)
        return ids, torch.ones(ids.shape, dtype=torch.bool)

    def from_tails(batch: LongTensor, width: int, generator: torch.Generator) -> tuple[IntTensor, BoolTensor]:
        ids = tails[torch.randint(len(tails), (len(batch), width), generator=generator)].int()
        return ids, torch.ones(ids.shape, dtype=torch.bool)

    wide = max(_LAST, 2 * n)
    return [
        _Stage(by_method, of_relation, _ROUNDS, n + _MORE),
        _Stage(from_pool, rules, _ROUNDS, wide),
        _Stage(from_pool, rules.sound, _ROUNDS, wide),
        _Stage(from_tails, rules.sound, _ROUNDS, wide),
    ]


def _fill(batch: LongTensor, stages: list[_Stage], forms: LongTensor, n: int, generator: torch.Generator) -> _Drawn:
    """Draw distractors for a batch, stage by stage; only questions that lack some are asked for again."""
    size = len(batch)
    drawn = _Drawn(
        torch.zeros(size, n, dtype=torch.long),
        torch.zeros(size, n, dtype=torch.bool),
        torch.zeros(size, n, dtype=torch.bool),
    )
    left = torch.arange(size)
    for stage in stages:
        for _ in range(stage.rounds):
            if not len(left):
                break
            asked = batch[left]
            ids, flags = stage.draw(asked, stage.width, generator)
            queries = Queries.from_triples(asked, torch.full((len(asked),), TAIL))
            good = stage.test(queries, ids)
            before = _Drawn(*(column[left] for column in drawn))
            # what is not flagged comes first, so that flagged ones stand in for nothing
            clean = good & ~flags
            after = before
            for part in (clean, good & flags):
                after = _take(after, ids.long(), flags, part, forms)
            for column, new in zip(drawn, after, strict=True):
                column[left] = new
            left = left[~after.full.all(-1)]
    return drawn._replace(full=drawn.full.all(-1))


def _take(before: _Drawn, ids: LongTensor, flags: BoolTensor, good: BoolTensor, forms: LongTensor) -> _Drawn:
    """Return the first so many good candidates that read differently, after those that were taken before."""
    n = before.ids.shape[1]
    ids, flags = torch.cat([before.ids, ids], dim=1), torch.cat([before.fallback, flags], dim=1)
    good = torch.cat([before.full, good], dim=1)
    form = forms[ids]
    earlier = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool).tril(-1)
    repeated = ((form[:, :, None] == form[:, None, :]) & good[:, None, :] & earlier).any(-1)
    good = good & ~repeated
    place = good.to(torch.uint8).argsort(dim=-1, descending=True, stable=True)[:, :n]
    return _Drawn(ids.gather(1, place), flags.gather(1, place), good.gather(1, place))


# Texts


def _assemble(
    material: Material,
    wording: Templates,
    people: People,
    triples: LongTensor,
    ids: LongTensor,
    fallback: BoolTensor,
    named: bool,
    generator: torch.Generator,
) -> QuestionSet:
    """Return the questions in words; each text is rendered once, and gets its names at the end."""
    number, n = ids.shape
    labels = torch.randint(n + 1, (number,), generator=generator)
    # the answer stands at its place, and the distractors around it in their order
    slot = torch.arange(n + 1) - (torch.arange(n + 1) > labels[:, None]).long()
    right = torch.arange(n + 1) == labels[:, None]
    tails = torch.where(right, triples[:, TAIL, None], ids.gather(1, slot.clamp(max=n - 1)))
    relation = triples[:, RELATION]
    asked, of_question = _rendered(material, triples[:, HEAD], relation, wording.question, people)
    answers, of_tail = _rendered(material, tails, relation[:, None].expand_as(tails), wording.answer, people)
    if not named:
        people_of = [PERSONS] * number
    else:
        chosen = people.draw(number, generator).tolist()
        people_of = [(people.names[x], people.names[y], people.names[z]) for x, y, z in chosen]
    fill = people.fill
    questions = [fill(asked[one], who) for one, who in zip(of_question.tolist(), people_of, strict=True)]
    choices = [
        tuple(fill(answers[one], who) for one in row) for row, who in zip(of_tail.tolist(), people_of, strict=True)
    ]
    return QuestionSet(
        questions,
        choices,
        labels,
        triples=triples,
        distractors=ids,
        fallback=fallback,
        report=dict(material.report),
    )


def _rendered(
    material: Material,
    entities: LongTensor,
    relations: LongTensor,
    render: Callable[[str, str], str],
    people: People,
) -> tuple[list[str], LongTensor]:
    """Return the texts of the different pairs of an entity and a relation, and which of them each pair is."""
    width = material.graph.num_relations
    keys, place = torch.unique(entities * width + relations, return_inverse=True)
    marked, names = material.marked, material.graph.relations
    pairs = [divmod(one, width) for one in keys.tolist()]
    # templates speak of PersonX, and so do phrases while they are put into them
    return [people.mark(render(people.fill(marked[entity]), names[relation])) for entity, relation in pairs], place
