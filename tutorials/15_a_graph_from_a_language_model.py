"""
A graph from a language model
=============================

A chat model writes down what it knows: heads, tails of each relation, and negatives. The last are the worst, so the
same model is asked about each of them, and a filter that has seen a few checked ones decides what is kept [#]_. The
kept negatives then train an embedding in PyKEEN.

There is no language model in this tutorial. A small server on this machine stands in for one: it speaks the protocol
of OpenAI's chat completions, answers *by rule* from an invented world, is wrong on purpose now and then, and fails as
real endpoints fail. Figures below say how the parts work together, not how good any model is. To ask a real one, give
its name and address to ``ChatEndpoint`` instead.

.. [#] After Wang et al., Snowman: A Million-scale Chinese Commonsense Knowledge Graph Distilled from Foundation Model,
   2023; the prompts are our own.
"""

# %%
import json
import os
import threading
from collections import Counter
from hashlib import blake2b
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from pykeen.pipeline import pipeline
from pykeen.triples import TriplesFactory

from kgneg.selfinstruct import (
    Budget,
    Candidates,
    ChatEndpoint,
    ChatJudge,
    Deduplicator,
    Distiller,
    DistillPrompts,
    DistillSettings,
    RequestPolicy,
    SelfInstructFilter,
    Verbalizer,
)

EPOCHS = int(os.environ.get("KGNEG_TUTORIAL_EPOCHS", "30"))
SEEDS = int(os.environ.get("KGNEG_TUTORIAL_SEEDS", "3"))
torch.set_num_threads(1)

# %% [markdown]
# The world: where people of a trade work, what they can do, and what they wish for. What is not here is false.

# %%
TRADES = """
health: hospital, surgery, nursing home; give injections, comfort people, check the pulse; quiet nights, rest
food: kitchen, restaurant, market; bake bread, peel onions, taste the soup; sharp knives, hungry guests
building: building site, workshop, yard; climb a ladder, mix mortar, read a plan; dry weather, good tools
school: classroom, library, school yard; explain fractions, mark essays, tell a story; attentive pupils, long holidays
traffic: road, station, harbour; steer in fog, read a map, help with luggage; free roads, punctual passengers
stage: theatre, studio, concert hall; learn lines by heart, sing in tune, wear a costume; applause, a full house
nature: field, forest, garden; plant trees, tell weeds apart, mend a fence; rain in spring, few beetles
office: office, meeting room, bank; add up columns, write minutes, answer the phone; clear rules, a new printer
"""
PEOPLE = """
nurse: health; surgeon: health; midwife: health; cook: food; baker: food; butcher: food; school cook: food, school
carpenter: building; bricklayer: building; roofer: building; stage carpenter: building, stage; teacher: school
music teacher: school, stage; librarian: school, office; bus driver: traffic; ferry captain: traffic; actor: stage
ambulance driver: health, traffic; singer: stage; dancer: stage; farmer: nature, food; gardener: nature
forester: nature; landscape architect: nature, building, office; accountant: office; secretary: office
medical secretary: office, health; school bus driver: traffic, school; beekeeper: nature; stationmaster: traffic, office
"""
RELATIONS = ("AtLocation", "CapableOf", "Desires")
facts = dict(line.split(": ") for line in TRADES.strip().split("\n"))
people = dict(one.split(": ") for one in PEOPLE.strip().replace("\n", "; ").split("; "))
world: dict[tuple[str, str], list[str]] = {}
for person, trades in people.items():
    for place, relation in enumerate(RELATIONS):
        world[person, relation] = sorted(
            {one for trade in trades.split(", ") for one in facts[trade].split("; ")[place].split(", ")}
        )
tails = {one: sorted({tail for (_, r), many in world.items() if r == one for tail in many}) for one in RELATIONS}

# %% [markdown]
# The stand-in. Asked for negatives, it takes tails of others, and in about four of ten cases slips in one that is true.
# Asked whether a sentence holds, it is wrong in one of seven cases. Every 40th request is turned away with status 429,
# every 41st reply breaks off in the middle, and every 43rd is no JSON at all.

# %%
words, prompts = Verbalizer.load("statements"), DistillPrompts.load("distill_en")
asks = {json.dumps(prompts.for_tails("tails", "?", one, 1)[-1]["content"]).split("\\n")[1]: one for one in RELATIONS}
every = Candidates.from_triples((head, one, tail) for head, one in world for tail in tails[one])
sentences: dict[str, bool] = {}
for wording in range(3):
    for triple, right, wrong in zip(
        every.triples(), words.positive(every, wording), words.negated(every, wording), strict=True
    ):
        true = triple[2] in world[triple[:2]]
        sentences |= {right: true, wrong: not true}


def chance(*parts: object) -> float:
    """Return a number in [0, 1) that is always the same for the same parts."""
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=6).digest()) / 2**48


def answer(asked: str) -> dict:
    """Return what the stand-in says."""
    first, *rest = asked.split("\n")
    if first.startswith("Statement: "):
        statement = first.removeprefix("Statement: ")
        true = sentences[statement] != (chance("judge", statement) < 1 / 7)
        return {"answer": "yes" if true else "no"}
    if first.startswith("Write "):
        known = rest[0].partition(": ")[2].split("; ")
        return {"heads": [one for one in people if one not in known][: int(first.split()[1])]}
    head, relation = first.removeprefix("Consider: "), asks[rest[0]]
    own = world[head, relation]
    if '{"tails"' in asked:
        return {"tails": [one for one in own if chance("known", head, one) < 0.7]}
    said = rest[1].partition(": ")[2].split("; ")
    true = [one for one in own if one not in said and chance("slip", head, one) < 0.8]
    false = sorted(set(tails[relation]) - set(own), key=lambda one: chance("wrong", head, one))
    return {"negatives": (true + false)[:4]}


class StandIn(BaseHTTPRequestHandler):
    """Speaks as much of the protocol as is needed."""

    seen: ClassVar[Counter[str]] = Counter()
    lock = threading.Lock()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        """Answer."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.lock:
            self.seen["requests"] += 1
            number = self.seen["requests"]
        text = json.dumps(answer(body["messages"][-1]["content"]))
        text = text[: len(text) // 2] if number % 41 == 0 else "Of course!" if number % 43 == 0 else text
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        made = {"id": "1", "object": "chat.completion", "created": 1, "model": body["model"], "choices": [choice]}
        made["usage"] = {"prompt_tokens": 90, "completion_tokens": 10, "total_tokens": 100}
        if number % 40 == 0:
            made = {"error": {"message": "slow down"}}
        raw = json.dumps(made).encode()
        self.send_response(429 if number % 40 == 0 else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


server = ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ["NO_PROXY"] = "127.0.0.1"
ADDRESS = f"http://127.0.0.1:{server.server_address[1]}/v1"

# %% [markdown]
# The endpoint knows how often to try again, and what may be spent. The most that a request can cost is reserved before
# it is sent, so a budget is never exceeded. A real key is read from the environment, and stands in no file or message.
# The budget is in a file: it holds over all runs.

# %%
policy = RequestPolicy(concurrency=4, first_wait=0.01, longest_wait=0.1)


def endpoint(**limits) -> ChatEndpoint:
    """Return the stand-in as an endpoint."""
    return ChatEndpoint(model="stand-in", base_url=ADDRESS, policy=policy, budget=Budget(**limits))


settings = DistillSettings(heads=30, tails=4, negatives=4, kinds=("role",), relations=RELATIONS)
poor = Distiller(endpoint=endpoint(tokens=12_000, path="spent.json"), folder="graph", settings=settings)
made = poor.run()
print("12,000 tokens:", {name: made.counts.get(name, 0) for name in ("heads", "triples", "negatives", "unanswered")})
print("the file of the budget:", Path("spent.json").read_text(encoding="utf-8").strip())

# %% [markdown]
# What is unanswered is in a file. With more money the same call goes on where it stood. Malformed replies are asked for
# again, counted, and kept for inspection.

# %%
StandIn.seen.clear()
rich = Distiller(endpoint=endpoint(tokens=500_000, path="spent.json"), folder="graph", settings=settings)
made = rich.run()
print("\nmore tokens:", made.counts)
print("sent to the endpoint:", StandIn.seen["requests"], dict(sorted(rich.endpoint.counts.items())))
fault = json.loads(Path("graph/malformed.jsonl").read_text(encoding="utf-8").split("\n")[0])
print("one malformed reply:", fault["fault"], "|", fault["text"])
StandIn.seen.clear()
rich.run()
print("once more:", StandIn.seen["requests"], "requests")

# %% [markdown]
# How many of the negatives are true? For a real model nobody knows, and people have to check a sample. Here the world
# stands in for them. First, repetitions go, those with nearly the same words included; here there are none.


# %%
def is_true(candidates: Candidates) -> np.ndarray:
    """Return what somebody who checks these triples would say."""
    return np.array([triple[2] in world[triple[:2]] for triple in candidates.triples()], dtype=bool)


negatives = made.negatives[Deduplicator().find(made.negatives).keep]
print(f"\n{len(negatives)} negatives, {is_true(negatives).mean():.1%} of them are true;", *next(negatives.triples()))

# %% [markdown]
# The judge asks about a sentence and about its negation. If the model says yes to both, or no to both, it contradicts
# itself, and there is no verdict: that is how most of its mistakes show. Replies are kept in a file, whatever comes of
# them.

# %%
judge = ChatJudge(endpoint=endpoint(tokens=500_000), verbalizer=words, logprobs=False, cache="replies.sqlite")
said = judge.judge(negatives)
yes, no = said.probability > 0.5, said.probability < 0.5
print(f"said to be true: {yes.sum()}, false: {no.sum()};", dict(Counter(one for one in said.reasons if one)))
print(f"true among those said to be false: {is_true(negatives)[no].mean():.1%}")

# %% [markdown]
# A hundred and eighty checked negatives teach the filter how far to believe the judge, and how much it may promise.
# They are a random sample of all, which ``sample="triples"`` says. Then it decides about all others. ``Distiller``
# hands its negatives to a filter itself.

# %%
order = np.random.default_rng(0).permutation(len(negatives))
checked, others = negatives[order[:180]], negatives[order[180:]]
chosen = SelfInstructFilter(judges=[judge], target=0.85, sample="triples")
chosen.fit(checked[is_true(checked)], checked[~is_true(checked)])
print("\n" + chosen.certificate.statement())
found = chosen.decide(others)
kept = found.action == "keep"
before, now = ((~is_true(part)).mean() for part in (others, others[kept]))
print(f"others: {found.counts()}; false: {before:.1%} before, {now:.1%} now")
made = rich.run(decider=chosen)
print("in the folder:", *sorted(path.name for path in Path("graph").iterdir() if path.suffix != ".lock"))

# %% [markdown]
# Kept negatives are a file for the sampler ``given`` of PyKEEN. It draws them for positives that share two of three
# parts with them, and any others where there are none. A tenth of what the stand-in calls true is left for the test.

# %%
triples = TriplesFactory.from_path("graph/triples.tsv")
train, test = triples.split([0.9, 0.1], random_state=0)
sources = {"kgneg-uniform": None, "negatives.tsv": made.negatives, "kept.tsv": made.kept}
print(f"\n{'negatives':20}{'of them true':>13}{'MRR':>8}")
for name, source in sources.items():
    bring = {} if source is None else {"path": Path("graph", name), "unknown": "skip"}
    mrr = 0.0
    for seed in range(SEEDS):
        result = pipeline(
            training=train,
            testing=test,
            model="distmult",
            optimizer_kwargs={"lr": 0.02},
            negative_sampler="given" if bring else name,
            negative_sampler_kwargs={"num_negs_per_pos": 4, **bring},
            training_kwargs={"batch_size": 32, "use_tqdm": False},
            evaluation_kwargs={"use_tqdm": False, "batch_size": 32},
            epochs=EPOCHS,
            random_seed=seed,
        )
        mrr += result.get_metric("mrr") / SEEDS
    share = "" if source is None else f"{is_true(source).mean():.1%}"
    print(f"{name:20}{share:>13}{mrr:8.3f}")
server.shutdown()

# %% [markdown]
# Negatives that are true teach the opposite of the graph; with those that are kept this harm is gone. More than that a
# graph as small as this one cannot tell: whether kept negatives are better than uniform ones is for a study of your
# own graph.
#
# The same on the command line, with a real model; the key is read from ``OPENAI_API_KEY``::
#
#     kgneg distill --model gpt-4.1-mini --kinds role --max-cost 2 --input-price 0.4 --output-price 1.6 --out graph
#     kgneg selfinstruct fit --true true.tsv --false false.tsv --judge chat:gpt-4.1-mini --sample triples --out filter
#     kgneg selfinstruct run graph/negatives.tsv --filter filter --out decided --kept kept.tsv
