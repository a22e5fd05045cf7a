from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.recommending import DataSettings, ModelChoice, NegativeSources, TrainingPlan, open_recommender
from kgneg.recommending.folders import hold_folder
from kgneg.recommending.training import train_recommender
from kgneg.recsys import BUIR, Interactions, evaluate

SMALL = {"dim": 4, "epochs": 6, "batch_size": 32, "evaluate_every": 2, "device": "cpu", "lr": 0.02}


def plan(path: Path | str, model: str = "buir-nb", **more: Any) -> TrainingPlan:
    choice = ModelChoice.parse(model)
    if choice.is_trained:
        choice = choice.with_options({name: one for name, one in SMALL.items() if name not in choice.options})
    return TrainingPlan(choice, DataSettings(str(path)), **{"ks": (3, 20), **more})


def without_seconds(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_seconds(one) for key, one in value.items() if key != "seconds"}
    return [without_seconds(one) for one in value] if isinstance(value, list) else value


def test_the_folder(likes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = train_recommender(plan(likes), out, progress=False)
    written = result.write(out)
    assert all(path.exists() for path in written.values())
    found = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert found["settings"]["model"]["name"] == "buir-nb"
    assert found["model"]["training"]["epochs"] == 6
    assert len(found["history"]["epochs"]) == 6
    assert found["health"]["collapsed"] is False
    assert TrainingPlan.from_dict(found["settings"]).to_dict() == result.settings
    rows = list(csv.DictReader((out / "history.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert [bool(row["recall@20"]) for row in rows] == [False, True] * 3
    assert float(rows[-1]["items_spread"]) == found["history"]["epochs"][-1]["health"]["items"]["spread"]
    lines = list(csv.DictReader((out / "results.csv").read_text(encoding="utf-8").splitlines()))
    told = {(line["part"], line["metric"]): float(line["value"]) for line in lines}
    assert told == {
        (part, name): value for part in ("validation", "test") for name, value in found[part]["metrics"].items()
    }

    # the folder gives the same model, and the same figures
    saved = open_recommender(out)
    test, valid = saved.part("test"), saved.part("valid")
    assert isinstance(saved.model, BUIR)
    assert isinstance(test, Interactions)
    assert isinstance(valid, Interactions)
    again = evaluate(saved.model, test, hide=valid, ks=(3, 20), progress=False)
    assert again.metrics == found["test"]["metrics"]
    assert open_recommender(out / "model").folder == saved.folder == out / "model"


def test_the_page(likes: Path, tmp_path: Path) -> None:
    html = train_recommender(plan(likes), progress=False).to_html()
    for title in ("Ranks", "Training", "Embeddings", "Beyond accuracy", "Users and items", "How it was done"):
        assert f"{title}</h2>" in html or f"{title}</a>" in html
    assert html.count("<svg") == 3
    closed = train_recommender(plan(likes, "ease"), tmp_path / "e", progress=False)
    assert "has a closed form" in closed.to_html()
    assert "<svg" not in closed.to_html()
    with pytest.raises(InvalidInputError, match="no history"):
        closed.history_csv()
    assert "history.csv" not in closed.write(tmp_path / "e")
    assert not (tmp_path / "e" / "checkpoint.safetensors").exists()


def test_an_interruption_in_mid_epoch(likes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train_recommender(plan(likes), tmp_path / "whole", progress=False).to_dict()
    calls, loss = [0], BUIR.loss

    def stop(self: BUIR, *args: Any) -> torch.Tensor:
        calls[0] += 1
        if calls[0] == 21:  # there are eight steps in an epoch
            raise KeyboardInterrupt
        return loss(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(BUIR, "loss", stop)
        with pytest.raises(KeyboardInterrupt):
            train_recommender(plan(likes), tmp_path / "cut", progress=False)
    assert (tmp_path / "cut" / "checkpoint.safetensors").is_file()
    epochs: list[int] = []
    monkeypatch.setattr(BUIR, "before_epoch", lambda self: (epochs.append(1), self.pair.refresh())[1])
    again = train_recommender(plan(likes), tmp_path / "cut", progress=False).to_dict()
    assert 1 < len(epochs) < 7, "it went on, and did not begin anew"
    assert without_seconds(again) == without_seconds(whole)


def test_another_training_in_the_folder(likes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = train_recommender(plan(likes), out, progress=False)
    again = train_recommender(plan(likes), out, progress=False)
    assert without_seconds(again.to_dict()) == without_seconds(first.to_dict())
    for other in (plan(likes, seed=1), plan(likes, "buir-nb:dim=5"), plan(likes, "directau")):
        with pytest.raises(InvalidInputError, match="begin anew with --fresh"):
            train_recommender(other, out, progress=False)
    fresh = train_recommender(plan(likes, seed=1), out, fresh=True, progress=False)
    assert fresh.run.test.metrics != first.run.test.metrics
    # more epochs are the same training
    more = train_recommender(plan(likes, "buir-nb:epochs=8", seed=1), out, progress=False)
    history = more.run.history
    assert history is not None
    assert len(history["epochs"]) == 8
    with pytest.raises(InvalidInputError, match="a training of 8 epochs, not 7"):
        train_recommender(plan(likes, "buir-nb:epochs=7", seed=1), out, progress=False)


@pytest.mark.parametrize("kind", ["popularity", "dynamic", "text", "mixture:popularity=0.5,uniform=0.5"])
def test_negatives_change_the_training(kind: str, likes: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts.tsv"
    rows = [f"item_{item:02}\tsort {'abc'[item % 3] * 3} thing {item}" for item in range(24)]
    texts.write_text("\n".join(rows) + "\n", encoding="utf-8")
    sources = NegativeSources(texts=str(texts), encoder="lexical") if kind == "text" else NegativeSources()
    model = ModelChoice("lightgcn", {**SMALL, "negatives": kind})
    found = train_recommender(TrainingPlan(model, DataSettings(str(likes)), ks=(20,), sources=sources), progress=False)
    plain = train_recommender(plan(likes, "lightgcn", ks=(20,)), progress=False)
    losses = [[one["loss"] for one in run.run.history["epochs"]] for run in (found, plain)]  # type: ignore[index]
    assert losses[0] != losses[1]


def test_graph_negatives(likes: Path, tmp_path: Path) -> None:
    kg, links = tmp_path / "kg.tsv", tmp_path / "links.tsv"
    kg.write_text("".join(f"e{item}\tsort\ts{item % 3}\n" for item in range(24)), encoding="utf-8")
    links.write_text("".join(f"item_{item:02}\te{item}\n" for item in range(24)), encoding="utf-8")
    model = ModelChoice("bpr", {**SMALL, "negatives": "graph", "negatives.n_clusters": 3, "negatives.n_nearest": 1})
    sources = NegativeSources(kg=str(kg), links=str(links))
    training = TrainingPlan(model, DataSettings(str(likes)), ks=(20,), sources=sources)
    assert TrainingPlan.from_dict(json.loads(json.dumps(training.to_dict()))) == training
    assert train_recommender(training, progress=False).run.test.metrics["recall@20"] > 0
    with pytest.raises(InvalidInputError, match="negatives of the kind 'graph' need"):
        train_recommender(TrainingPlan(model, DataSettings(str(likes)), ks=(20,)), progress=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ks": (25,)}, "a list of 25 items is longer than the catalogue of likes, which has 24"),
        ({"ks": ()}, "at least one length"),
        ({"ks": (0,)}, "k must be at least 1"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"seed": 2**32}, "below 2"),
        ({"device": "cuda:77"}, "is not there"),
        (
            {"model": "buir-nb:metric=recall@50"},
            "recall@50, which decides .* longer than the catalogue of likes, .* --metric recall@5",
        ),
        ({"sources": NegativeSources(texts="x")}, "texts would have no effect"),
        ({"sources": NegativeSources(kg="x")}, "kg would have no effect"),
    ],
)
def test_refusals(changes: dict[str, Any], message: str, likes: Path) -> None:
    with pytest.raises(InvalidInputError, match=message):
        train_recommender(plan(likes, **changes), progress=False)


def test_half_of_the_sources(likes: Path) -> None:
    with pytest.raises(InvalidInputError, match="kg and links belong together"):
        plan(likes, "bpr:negatives=graph", sources=NegativeSources(kg="x"))


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "cannot be read as JSON"), ("[]", "expected an object"), ('{"model": {}}', "no configuration")],
)
def test_refused_configurations(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "best.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInputError, match=message):
        TrainingPlan.read(path)
    with pytest.raises(InvalidInputError, match="cannot be read"):
        TrainingPlan.read(tmp_path / "none.json")


def test_one_model_in_a_folder(likes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    train_recommender(plan(likes), out, progress=False).write(out)
    config = TrainingPlan.read(out / "config.json")
    assert config == plan(likes)
    for other in ("ease", "two-hop"):
        with pytest.raises(InvalidInputError, match="give another folder, or begin anew with --fresh"):
            train_recommender(plan(likes, other), out, progress=False)
    assert (out / "history.csv").exists()
    train_recommender(plan(likes, "ease"), out, progress=False, fresh=True).write(out)
    assert not (out / "history.csv").exists()
    assert not (out / "checkpoint.safetensors").exists()
    train_recommender(plan(likes, "ease"), out, progress=False).write(out)
    with pytest.raises(InvalidInputError, match="begin anew with --fresh"):
        train_recommender(plan(likes, "ease:l2=3"), out, progress=False)
    with pytest.raises(InvalidInputError, match="begin anew with --fresh"):
        train_recommender(plan(likes), out, progress=False)


def test_one_command_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    with hold_folder(out):
        with pytest.raises(InvalidInputError, match="another command is writing into"), hold_folder(out):
            pass
        with hold_folder(tmp_path / "other"):
            pass
        monkeypatch.setenv("RANK", "1")
        with hold_folder(out):  # a further process of the same command
            pass
        monkeypatch.delenv("RANK")
    with hold_folder(out) as folder:
        assert folder == out
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InvalidInputError, match="is a file, expected a folder"), hold_folder(tmp_path / "file"):
        pass
