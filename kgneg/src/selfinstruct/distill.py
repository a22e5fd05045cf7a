"""A graph in words from a language model: heads, tails of each relation, and negatives, into the filter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from kgneg.core.cache import content_key
from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.candidates import Candidates
from kgneg.selfinstruct.chat_cache import ReplyCache
from kgneg.selfinstruct.chat_endpoint import ChatEndpoint, ChatRequest, EndpointError, Outcome
from kgneg.selfinstruct.chat_reply import ChatReply
from kgneg.selfinstruct.decisions import ACTIONS, Decider
from kgneg.selfinstruct.distill_files import DistillFolder
from kgneg.selfinstruct.distill_prompt import DistillPrompts, read_items
from kgneg.selfinstruct.distill_settings import Distilled, DistillSettings
from kgneg.selfinstruct.phrases import distinct_heads, plain_phrase

__all__ = ["Distiller"]

_BLOCK = 1024
_PATIENCE = 3
_SHOWN = 60
_DECIDED = 4096


class Distiller:
    """Asks a chat model for a graph: heads of several kinds, tails for each relation, and negatives.

    Replies are read strictly; what is not as asked for is counted, kept in ``malformed.jsonl`` and asked for again.
    All other replies are kept, so the same call on the same folder goes on where it stood, and gives the same files.
    Phrases are compared without case, width and a final full stop; a negative that is also a tail is left out.

    Source: Wang et al., 2023 (Snowman), in outline; the prompts are our own, in files that can be replaced.

    :param endpoint: who is asked
    :param folder: where everything is kept, see :class:`~kgneg.selfinstruct.distill_files.DistillFolder`
    :param prompts: ``"distill_en"``, ``"distill_zh"``, a JSON file, or prompts
    :param settings: how much is asked for
    :param progress: show bars
    :raises InvalidInputError: if a kind or relation is not in the prompts
    """

    def __init__(
        self,
        *,
        endpoint: ChatEndpoint,
        folder: str | Path,
        prompts: DistillPrompts | str | Path = "distill_en",
        settings: DistillSettings | None = None,
        progress: bool = False,
    ) -> None:
        self.endpoint, self.progress = endpoint, progress
        self.settings = DistillSettings() if settings is None else settings
        self.prompts = DistillPrompts.load(prompts)
        self._kinds = _chosen("kinds", self.settings.kinds, self.prompts.kinds)
        self._relations = set(_chosen("relations", self.settings.relations, self.prompts.relations))
        self.folder = DistillFolder(folder)
        self._cache = ReplyCache(self.folder.replies)
        self._counts: Counter[str] = Counter()
        self._unanswered: list[dict[str, Any]] = []
        self._answered: Counter[str] = Counter()

    def run(self, *, heads: Mapping[str, Sequence[str]] | None = None, decider: Decider | None = None) -> Distilled:
        """Make the graph.

        :param heads: kind -> heads that are given; ``None`` asks for them
        :param decider: a filter that decides about the negatives, such as a fitted
            :class:`~kgneg.selfinstruct.filter.SelfInstructFilter`
        :returns: the graph, which is also in the folder
        :raises InvalidInputError: if a kind is not in the prompts, or a head cannot stand in a table
        :raises EndpointError: if no question for heads, or none for tails, was answered; tables stay as they are
        """
        for found in (self._counts, self._unanswered, self._answered):
            found.clear()
        made = self._ask_heads() if heads is None else self._given(heads)
        self._require_answers("heads")
        said = self._ask_tails("tails", made, {}, self.settings.tails)
        self._require_answers("tails")
        tails = self._distinct(said, {}, self.settings.tails)
        triples = self._flat(tails)
        self.folder.write_table("heads", ("kind", "head"), ((kind, one) for kind, many in made.items() for one in many))
        self.folder.write_triples("triples", triples)
        wrong = self._ask_tails("negatives", made, tails, self.settings.negatives) if self.settings.negatives else {}
        negatives = self._flat(self._distinct(wrong, said, self.settings.negatives))
        self.folder.write_triples("negatives", negatives)
        self._counts |= Counter(heads=sum(map(len, made.values())), triples=len(triples), negatives=len(negatives))
        if decider is None:
            self.folder.remove_tables("decisions", "kept")  # they would be about other negatives
        kept = None if decider is None else self._decide(decider, negatives)
        self.folder.write_lines("unanswered", self._unanswered)
        self._cache.close()
        counts = dict(sorted(self._counts.items()))
        self.folder.write_report(self._report(counts, decider))
        return Distilled(heads=made, triples=triples, negatives=negatives, kept=kept, counts=counts)

    def _given(self, heads: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        _chosen("kinds", tuple(heads), self.prompts.kinds)
        return distinct_heads(heads)

    def _require_answers(self, stage: str) -> None:
        """Raise if questions were asked and not one was answered: a table of nothing must not replace another."""
        open_ones = [one["reason"] for one in self._unanswered if one["stage"] == stage]
        if not open_ones or self._answered[stage]:
            return
        path = self.folder.write_lines("unanswered", self._unanswered)
        self._cache.close()
        raise EndpointError(
            f"none of {len(open_ones):,} questions for {stage} was answered, the first because of: {open_ones[0]}. All "
            f"are in {path}, and tables of earlier runs stay. Correct the cause, and give the same command again."
        )

    def _ask_heads(self) -> dict[str, list[str]]:
        """Ask for heads of all kinds, round by round, until there are enough or nothing new comes."""
        made: dict[str, dict[str, str]] = {kind: {} for kind in self._kinds}
        barren: Counter[str] = Counter()
        wanted, number = self.settings.heads, 0
        while open_kinds := [k for k in self._kinds if len(made[k]) < wanted and barren[k] < _PATIENCE]:
            asked = {}
            for kind in open_kinds:
                known = list(made[kind].values())[-_SHOWN:]
                count = min(self.settings.heads_at_once, wanted - len(made[kind]))
                messages = self.prompts.for_heads(kind, count, known)
                asked[kind] = self._request(messages, number), {"stage": "heads", "kind": kind}
            for kind, found in self._answers("heads", asked.items()):
                before = len(made[kind])
                for phrase in found or ():
                    if len(made[kind]) < wanted:
                        made[kind].setdefault(plain_phrase(phrase), phrase)
                barren[kind] = 0 if len(made[kind]) > before else barren[kind] + 1
            number += 1
        return {kind: list(found.values()) for kind, found in made.items()}

    def _ask_tails(
        self,
        stage: str,
        heads: Mapping[str, Sequence[str]],
        known: Mapping[tuple[str, str], Sequence[str]],
        count: int,
    ) -> dict[tuple[str, str], list[str]]:
        """Ask for tails, or negatives, of every head and relation that its kind has; return whole replies."""
        pairs = list(
            dict.fromkeys(
                (head, relation)
                for kind, many in heads.items()
                for relation in self.prompts.relations_of(kind)
                if relation in self._relations
                for head in many
            )
        )

        def asked() -> Iterator[tuple[tuple[str, str], tuple[ChatRequest, dict[str, str]]]]:
            for pair in pairs:
                messages = self.prompts.for_tails(stage, *pair, count, known.get(pair, ()))
                yield pair, (self._request(messages, 0), {"stage": stage, "head": pair[0], "relation": pair[1]})

        with tqdm(total=len(pairs), desc=stage, disable=not self.progress) as bar:
            return {pair: found or [] for pair, found in self._answers(stage, asked(), bar)}

    def _distinct(
        self,
        said: Mapping[tuple[str, str], Sequence[str]],
        right: Mapping[tuple[str, str], Sequence[str]],
        count: int,
    ) -> dict[tuple[str, str], list[str]]:
        """Return the first phrases of each reply without repetitions, and without what all of another said."""
        made: dict[tuple[str, str], list[str]] = {}
        for pair, phrases in said.items():
            others = {plain_phrase(one) for one in right.get(pair, ())}
            distinct: dict[str, str] = {}
            for phrase in phrases[:count]:
                if plain_phrase(phrase) in others:
                    self._counts["negatives that are tails"] += 1
                elif plain_phrase(phrase) in distinct:
                    self._counts["repeated phrases"] += 1
                else:
                    distinct[plain_phrase(phrase)] = phrase
            made[pair] = list(distinct.values())
        return made

    def _request(self, messages: tuple[dict[str, str], ...], number: int) -> ChatRequest:
        settings = self.settings
        asked = [list(messages), self.prompts.max_tokens, settings.temperature, settings.seed, number]
        return ChatRequest(
            key=content_key({"kind": "distill", "endpoint": self.endpoint.identity()}, asked),
            messages=messages,
            max_tokens=self.prompts.max_tokens,
            temperature=settings.temperature,
            seed=None if settings.seed is None else settings.seed + number,
        )

    def _answers(
        self, stage: str, asked: Iterable[tuple[Any, tuple[ChatRequest, dict[str, str]]]], bar: Any = None
    ) -> Iterator[tuple[Any, list[str] | None]]:
        """Yield the phrases for each question in order, from the cache as far as possible, or ``None``."""
        waiting = iter(asked)
        while block := list(islice(waiting, _BLOCK)):
            kept = self._cache.get([request.key for _, (request, _) in block])
            found: dict[str, list[str]] = {key: value for key, value in kept.items() if _is_phrases(value)}
            self.endpoint.answered |= bool(found)
            limit = self.settings.max_characters  # it may have been higher when a reply was kept
            found = {key: many for key, many in found.items() if all(len(one) <= limit for one in many)}
            self._counts["replies from before"] += len(found)
            about = {request.key: what for _, (request, what) in block if request.key not in found}
            reasons = self._ask_block(stage, [one for _, (one, _) in block if one.key in about], about, found)
            for name, (request, what) in block:
                if request.key not in found:
                    self._counts["unanswered"] += 1
                    self._unanswered.append(what | {"reason": reasons[request.key]})
                else:
                    self._answered[stage] += 1
                yield name, found.get(request.key)
                if bar is not None:
                    bar.update()

    def _ask_block(
        self, stage: str, requests: list[ChatRequest], about: Mapping[str, dict[str, str]], found: dict[str, list[str]]
    ) -> dict[str, str]:
        """Ask what is not known yet, and keep it; return why there is no answer where there is none."""
        reasons: dict[str, str] = {}

        def done(request: ChatRequest, outcome: Outcome[list[str]]) -> None:
            if outcome.value is None:
                reasons[request.key] = outcome.reason
                return
            found[request.key] = outcome.value
            self._cache.put(request.key, outcome.value)

        def malformed(request: ChatRequest, text: str, fault: str) -> None:
            self._counts["malformed replies"] += 1
            self.folder.add_malformed(about[request.key] | {"fault": fault, "text": text})

        def read(reply: ChatReply) -> list[str]:
            return read_items(reply, stage, self.settings.max_characters)

        if requests:
            self.endpoint.ask(requests, read, done, malformed)
        return reasons

    @staticmethod
    def _flat(tails: Mapping[tuple[str, str], Sequence[str]]) -> Candidates:
        return Candidates.from_triples(
            (head, relation, one) for (head, relation), many in tails.items() for one in many
        )

    def _decide(self, decider: Decider, negatives: Candidates) -> Candidates:
        """Let the filter decide, write what it says, and return what it keeps."""
        rows: list[tuple[str, ...]] = []
        kept: list[tuple[str, str, str]] = []
        for start in range(0, len(negatives), _DECIDED):
            block = negatives[start : start + _DECIDED]
            said = decider.decide(block)
            for triple, action, score, reason in zip(
                block.triples(), said.action.tolist(), said.score.tolist(), said.reason, strict=True
            ):
                rows.append((*triple, action, f"{score:.6g}", " ".join(reason.split())))
                if action == "keep":
                    kept.append(triple)
        actions = Counter(row[3] for row in rows)
        self._counts.update({f"negatives: {name}": actions[name] for name in ACTIONS})
        self.folder.write_table("decisions", ("head", "relation", "tail", "action", "score", "reason"), rows)
        made = Candidates.from_triples(kept)
        self.folder.write_triples("kept", made)
        return made

    def _report(self, counts: dict[str, int], decider: Decider | None) -> dict[str, Any]:
        return {
            "model": self.endpoint.identity(),
            "prompts": {"source": Path(self.prompts.source).name, "version": self.prompts.version()},
            "settings": asdict(self.settings),
            "filter": None if decider is None else decider.fingerprint(),
            "counts": counts,
            "requests": dict(sorted(self.endpoint.counts.items())),
        }


def _chosen(name: str, wanted: tuple[str, ...] | None, known: tuple[str, ...]) -> tuple[str, ...]:
    """Return what is wanted, in the order of the prompts, or all."""
    unknown = [one for one in wanted or () if one not in known]
    if unknown:
        raise InvalidInputError(
            f"{name}: {', '.join(unknown)} is not in the prompts, only {', '.join(known)}. Add it to a prompt file."
        )
    return known if wanted is None else tuple(one for one in known if one in wanted)


def _is_phrases(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) and one for one in value)
