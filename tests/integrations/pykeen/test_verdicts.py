from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pykeen.datasets import Nations
from pykeen.pipeline import pipeline
from pykeen.triples import TriplesFactory
from pykeen.triples.weights import loss_weighter_resolver

from kgneg.core.errors import InvalidInputError, KeyOverflowError
from kgneg.integrations.pykeen import VerdictWeighter
from kgneg.selfinstruct.rules import RuleJudge
from kgneg.selfinstruct.runner import run
from kgneg.selfinstruct.threshold import ThresholdDecider

SIZES = {"num_entities": 5, "num_relations": 2}
JUDGED = torch.tensor([[0, 0, 1], [0, 0, 2], [0, 0, 1], [4, 1, 3], [1, 1, 1]])
SAID = [0.5, 1.0, 0.25, 0.0, float("nan")]


@pytest.fixture(scope="module")
def nations() -> Nations:
    return Nations()


def test_weights() -> None:
    weighter = VerdictWeighter(triples=JUDGED, probability=SAID, **SIZES)
    asked = torch.tensor([[[0, 0, 1], [0, 0, 2]], [[4, 1, 3], [1, 1, 1]], [[3, 0, 3], [4, 1, 4]]])
    assert weighter.weight_triples(asked).tolist() == [[0.625, 0.0], [1.0, 1.0], [1.0, 1.0]]
    limited = VerdictWeighter(triples=JUDGED, probability=SAID, floor=0.1, default=0.5, known=JUDGED[:1], **SIZES)
    assert limited.weight_triples(asked).flatten().tolist() == pytest.approx([1.0, 0.1, 1.0, 0.5, 0.5, 0.5])


def test_none_is_all() -> None:
    weighter = VerdictWeighter(triples=JUDGED, probability=SAID, **SIZES)
    tails = weighter(torch.tensor([[0]]), torch.tensor([[0]]), None)
    assert tails.shape == (1, 5)
    assert tails[0, :3].tolist() == [1.0, 0.625, 0.0]
    assert weighter(None, torch.tensor([[0]]), torch.tensor([[1]]))[0, 0] == 0.625
    assert weighter(torch.tensor([[0]]), None, torch.tensor([[1]])).shape == (1, 2)


def test_nothing_said() -> None:
    weighter = VerdictWeighter(triples=JUDGED[:0], probability=[], default=0.3, **SIZES)
    assert weighter.weight_triples(JUDGED).tolist() == pytest.approx([0.3] * 5)


@pytest.mark.parametrize("inverse", [False, True])
def test_in_pipelines(inverse: bool, nations: Nations) -> None:
    factory = (
        nations.training
        if not inverse
        else type(nations.training)(
            mapped_triples=nations.training.mapped_triples,
            entity_to_id=nations.training.entity_to_id,
            relation_to_id=nations.training.relation_to_id,
            create_inverse_triples=True,
        )
    )
    judged = nations.testing.mapped_triples
    losses = []
    for said in (None, torch.zeros(len(judged)), torch.ones(len(judged))):
        weighter = None if said is None else VerdictWeighter.from_factory(factory, judged, said)
        if weighter is not None and inverse:
            first = judged[0]
            turned = torch.stack([first[2], 2 * first[1] + 1, first[0]])
            assert weighter.weight_triples(turned) == 1 - said[0]
            assert (
                weighter.weight_triples(factory._add_inverse_triples_if_necessary(factory.mapped_triples)) == 1
            ).all()
        result = pipeline(
            training=factory,
            testing=nations.testing,
            model="TransE",
            model_kwargs={"embedding_dim": 4},
            training_loop_kwargs={} if weighter is None else {"loss_weighter": weighter},
            loss="bcewithlogits",
            negative_sampler="kgneg-uniform",
            negative_sampler_kwargs={"num_negs_per_pos": 20},
            training_kwargs={"num_epochs": 2, "batch_size": 256, "use_tqdm": False},
            evaluation_kwargs={"use_tqdm": False},
            random_seed=0,
            device="cpu",
        )
        losses.append(result.losses)
    assert losses[0] == pytest.approx(losses[1])
    assert losses[2] != pytest.approx(losses[0])


def test_by_name() -> None:
    made = loss_weighter_resolver.make("verdicts", {"triples": JUDGED, "probability": SAID, **SIZES})
    assert isinstance(made, VerdictWeighter)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"probability": [0.5]}, InvalidInputError, "one probability per triple"),
        ({"probability": [0.5, 1.5, 0, 0, 0]}, InvalidInputError, "row 1 must be in"),
        ({"floor": 2.0}, InvalidInputError, "floor"),
        ({"default": -1.0}, InvalidInputError, "default"),
        ({"num_entities": 2}, InvalidInputError, "2"),
        ({"num_entities": 2**31, "num_relations": 2**10}, KeyOverflowError, "shard the graph"),
    ],
)
def test_refusals(options: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        VerdictWeighter(**{"triples": JUDGED, "probability": SAID, **SIZES, **options})


# From the files of a run


KNOWN = np.array([[f"e{h}", "r", f"e{(h + 1) % 12}"] for h in range(12)], dtype=str)


@pytest.fixture
def decided(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    rows = [(f"e{h}", "r", f"e{t}") for h in range(12) for t in range(12) if t not in (h, (h + 1) % 12)]
    frame = pd.DataFrame(rows, columns=["head", "relation", "tail"])
    frame["score"] = [int(head[1:]) / 12 for head in frame["head"]]
    frame.loc[0, "score"] = np.nan
    for number, part in enumerate((frame[:50], frame[50:])):
        part.to_parquet(folder / f"part-{number:06d}.parquet", index=False)
    return folder


@pytest.fixture
def factory() -> TriplesFactory:
    return TriplesFactory.from_labeled_triples(KNOWN)


def test_scores_of_a_run(decided: Path, factory: TriplesFactory) -> None:
    weighter = VerdictWeighter.from_run(decided, factory, floor=0.25, default=0.8)
    ids = factory.entity_to_id
    triples = torch.tensor(
        [[ids["e3"], 0, ids["e7"]], [ids["e11"], 0, ids["e3"]], [ids["e3"], 0, ids["e4"]], [ids["e0"], 0, ids["e2"]]]
    )
    # a verdict, one below the floor, a known triple, no verdict
    assert weighter.weight_triples(triples).tolist() == pytest.approx([0.75, 0.25, 1.0, 0.8])


def test_a_run_that_is_not_through(factory: TriplesFactory, tmp_path: Path) -> None:
    source, out = tmp_path / "in.tsv", tmp_path / "out"
    source.write_text("".join(f"e{head}\tr\te{head}\n" for head in range(12)), encoding="utf-8")
    decider = ThresholdDecider(RuleJudge(known=[("e0", "r", "e0")]))
    run(decider, source, out, shard_rows=4, backend="sequential", shard=(0, 2))
    ways: list[Any] = [out, str(out / "*.parquet"), [out / "part-000000.parquet"], out / "part-000000.parquet"]
    for way in ways:
        with pytest.raises(InvalidInputError, match="is not through: 2 of 3 shards"):
            VerdictWeighter.from_run(way, factory)
    run(decider, source, out, shard_rows=4, backend="sequential")
    for way in ways:
        weighter = VerdictWeighter.from_run(way, factory)
        assert weighter.weight_triples(torch.tensor([[0, 0, 0]])).tolist() == pytest.approx([0.01])
    source.write_text("".join(f"e{head}\tr\te1\n" for head in range(12)), encoding="utf-8")
    run(decider, source, out, shard_rows=4, backend="sequential", shard=(0, 2))  # one shard is of the earlier input
    for way in ways:
        with pytest.raises(InvalidInputError, match="is not through: 2 of 3 shards"):
            VerdictWeighter.from_run(way, factory)


def test_texts_as_heads_and_tails(decided: Path, factory: TriplesFactory) -> None:
    other = TriplesFactory.from_labeled_triples(np.char.replace(KNOWN, "e", "Q"))
    texts = {f"Q{number}": f"e{number}" for number in range(12)}
    ids = other.entity_to_id
    weighter = VerdictWeighter.from_run(decided, other, entities=texts)
    assert weighter.weight_triples(torch.tensor([[ids["Q3"], 0, ids["Q7"]]])).tolist() == pytest.approx([0.75])
    with pytest.raises(InvalidInputError, match="two entities have the text"):
        VerdictWeighter.from_run(decided, other, entities={**texts, "Q1": "e2"})


def test_unknown_labels(decided: Path) -> None:
    small = TriplesFactory.from_labeled_triples(KNOWN[:4])
    with pytest.raises(InvalidInputError, match="not in the graph"):
        VerdictWeighter.from_run(decided, small)
    VerdictWeighter.from_run(decided, small, unknown="skip")
    strange: Any = TriplesFactory.from_labeled_triples(np.array([["x", "y", "z"]]))
    with pytest.raises(InvalidInputError, match="no triple of this graph"):
        VerdictWeighter.from_run(decided, strange, unknown="skip")


def test_a_folder_that_is_no_run(tmp_path: Path, factory: TriplesFactory) -> None:
    pd.DataFrame({"head": ["a"], "relation": ["b"], "tail": ["c"]}).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(InvalidInputError, match="no column score"):
        VerdictWeighter.from_run(tmp_path, factory)
