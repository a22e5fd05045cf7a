from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from kgneg.core.errors import DivergedError, InvalidInputError
from kgneg.recsys import BPRMF, BUIR, Interactions, LightGCN, TrainSettings, build_recommender
from kgneg.recsys.synthetic import synthetic_interactions
from kgneg.recsys.trained import TrainedRecommender

SMALL: dict[str, Any] = {"dim": 8, "epochs": 6, "batch_size": 64, "lr": 1e-2, "device": "cpu", "evaluate_every": 2}


@pytest.fixture(scope="module")
def parts() -> tuple[Interactions, Interactions]:
    split = synthetic_interactions(users=80, items=40, each=10).split("random", valid=0.15, test=0.1, seed=0)
    return split.train, split.valid


def state(model: TrainedRecommender) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("kind", [BUIR, LightGCN, BPRMF])
def test_the_seed_decides_everything(kind: type[TrainedRecommender], parts: tuple[Interactions, Interactions]) -> None:
    stream = torch.get_rng_state()
    first = kind(**SMALL).fit(*parts, progress=False)
    assert torch.equal(torch.get_rng_state(), stream)
    again = kind(**SMALL).fit(*parts, progress=False)
    other = kind(**SMALL, seed=1).fit(*parts, progress=False)
    assert same(state(first), state(again))
    assert not same(state(first), state(other))
    assert first.history is not None
    assert again.history is not None
    assert [one["loss"] for one in first.history.epochs] == [one["loss"] for one in again.history.epochs]


class StoppedError(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("options", [{}, {"drop": 0.3}, {"momentum_schedule": "cosine"}])
@pytest.mark.parametrize("at", [0, 3, 5])
def test_an_interrupted_training_ends_like_one_that_was_not(
    options: dict[str, Any], at: int, parts: tuple[Interactions, Interactions], tmp_path: Path
) -> None:
    whole = BUIR(**SMALL, **options).fit(*parts, progress=False)

    class Stops(BUIR):
        steps = 0

        def after_step(self, step: int, total: int) -> None:
            super().after_step(step, total)
            if step == at * -(-len(parts[0]) // 64) + 2:
                raise StoppedError

    Stops.__name__ = "BUIR"  # the checkpoint is that of a model of this name
    with pytest.raises(StoppedError):
        Stops(**SMALL, **options).fit(*parts, checkpoint=tmp_path / "state", progress=False)
    assert (tmp_path / "state").exists() == (at > 0)
    resumed = BUIR(**SMALL, **options).fit(*parts, checkpoint=tmp_path / "state", progress=False)
    assert same(state(whole), state(resumed))
    assert whole.history is not None
    assert resumed.history is not None
    assert whole.history.best_value == resumed.history.best_value
    assert [one["loss"] for one in whole.history.epochs] == [one["loss"] for one in resumed.history.epochs]


KILLED = """
import sys
from kgneg.recsys import BUIR
from kgneg.recsys.synthetic import synthetic_interactions
split = synthetic_interactions(users=300, items=100, each=20).split("random", valid=0.1, test=0.1, seed=0)
model = BUIR(dim=16, epochs=40, batch_size=32, device="cpu", evaluate_every=5)
model.fit(split.train, split.valid, checkpoint=sys.argv[1] or None, progress=False)
model.save(sys.argv[2])
"""


@pytest.mark.slow
def test_sigkill_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    def start(checkpoint: str, out: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen([sys.executable, "-P", "-c", KILLED, checkpoint, out], env=environment)

    checkpoint = tmp_path / "state"
    killed = start(str(checkpoint), str(tmp_path / "killed"))
    deadline = time.monotonic() + 120
    while not checkpoint.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.3)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert start(str(checkpoint), str(tmp_path / "resumed")).wait() == 0
    assert start("", str(tmp_path / "whole")).wait() == 0
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("resumed", "whole")]
    assert files[0] == files[1]


def test_a_checkpoint_of_something_else_is_refused(parts: tuple[Interactions, Interactions], tmp_path: Path) -> None:
    path = tmp_path / "state"
    BUIR(**SMALL).fit(*parts, checkpoint=path, progress=False)
    for options in ({"seed": 3}, {"dim": 4}, {"lr": 0.5}):
        with pytest.raises(InvalidInputError, match="belongs to another model, other settings or other data"):
            BUIR(**{**SMALL, **options}).fit(*parts, checkpoint=path, progress=False)
    with pytest.raises(InvalidInputError, match="belongs to another model"):
        BUIR(**SMALL).fit(parts[0], checkpoint=path, progress=False)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InvalidInputError, match="no complete safetensors file"):
        BUIR(**SMALL).fit(*parts, checkpoint=path, progress=False)


def test_a_finished_training_is_not_repeated_and_can_be_extended(
    parts: tuple[Interactions, Interactions], tmp_path: Path
) -> None:
    path = tmp_path / "state"
    first = BUIR(**SMALL).fit(*parts, checkpoint=path, progress=False)
    again = BUIR(**SMALL).fit(*parts, checkpoint=path, progress=False)
    assert first.history is not None
    assert again.history is not None
    assert again.history.to_dict() == first.history.to_dict()
    longer = BUIR(**{**SMALL, "epochs": 8}).fit(*parts, checkpoint=path, progress=False)
    whole = BUIR(**{**SMALL, "epochs": 8}).fit(*parts, progress=False)
    assert same(state(longer), state(whole))


def test_patience_and_the_best_epoch() -> None:
    """Values are scripted, so that what is kept and when it stops follows by hand."""

    class Scripted(BUIR):
        values: tuple[float, ...] = ()
        looks = 0

    def run(values: tuple[float, ...], **options: Any) -> BUIR:
        from unittest.mock import patch

        script = iter(values)
        model = BUIR(**{**SMALL, "epochs": 20, "evaluate_every": 1, **options})
        split = synthetic_interactions().split("random", seed=0)
        with patch("kgneg.recsys.trainer.Trainer._value", lambda self, model=None: 0.0 if model else next(script)):
            return model.fit(split.train, split.valid, progress=False)

    values = (0.1, 0.3, 0.2, 0.2, 0.4, 0.1, 0.1, 0.1, 0.5)
    resets = run(values, patience=3).history
    assert resets is not None
    assert (resets.stopped, resets.best_epoch, len(resets.epochs)) == ("patience", 5, 8)
    counts = run(values, patience=3, patience_resets=False).history
    assert counts is not None
    assert (counts.stopped, counts.best_epoch, len(counts.epochs)) == ("patience", 5, 6)
    never = run(tuple(0.5 for _ in range(20)), patience=0).history
    assert never is not None
    assert (never.stopped, never.best_epoch, len(never.epochs)) == ("epochs", 1, 20)


def test_without_validation_the_last_epoch_is_kept(parts: tuple[Interactions, Interactions]) -> None:
    model = BUIR(**SMALL).fit(parts[0], progress=False)
    assert model.history is not None
    assert (model.history.best_epoch, model.history.metric, model.history.stopped) == (6, "", "epochs")


@pytest.mark.parametrize("checked", [True, False])
def test_nan_stops_with_the_last_good_state(
    checked: bool, parts: tuple[Interactions, Interactions], tmp_path: Path
) -> None:
    class Breaks(BUIR):
        def loss(self, users: torch.Tensor, items: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
            found = super().loss(users, items, generator)
            return found * torch.nan if self.training_settings.seed == 7 and self.broken else found

        broken = False

        def before_epoch(self) -> None:
            super().before_epoch()
            self.broken = self.counted == 3
            self.counted += 1

        counted = 0

    path = tmp_path / "state"
    model = Breaks(**SMALL, seed=7)
    with pytest.raises(DivergedError, match="the loss of epoch 4 is nan") as caught:
        model.fit(parts[0], parts[1] if checked else None, checkpoint=path, progress=False)
    assert f"{path} holds the last good epoch" in str(caught.value)
    assert model.history is not None
    assert model.history.stopped == "diverged"
    kept = model.history.best_epoch if checked else 3
    wanted = BUIR(**{**SMALL, "epochs": kept}, seed=7).fit(parts[0], progress=False)
    assert same(state(model), state(wanted))
    assert model.recommend([0], 3).scores.isfinite().all()


def test_divergence_in_the_first_epoch_leaves_the_start(parts: tuple[Interactions, Interactions]) -> None:
    model = BUIR(**{**SMALL, "lr": 1e38})
    with pytest.raises(DivergedError, match=r"the model is that of epoch 0\. Take a smaller lr than 1e"):
        model.fit(*parts, progress=False)
    assert all(bool(tensor.isfinite().all()) for tensor in model.state_dict().values())


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_learns_alike(precision: str, parts: tuple[Interactions, Interactions]) -> None:
    options = {**SMALL, "epochs": 20}
    exact = BUIR(**options).fit(*parts, progress=False).history
    mixed = BUIR(**options, precision=precision).fit(*parts, progress=False).history
    assert exact is not None
    assert mixed is not None
    assert mixed.epochs[-1]["loss"] == pytest.approx(exact.epochs[-1]["loss"], rel=0.1)


def test_empty_and_foreign_parts_are_refused(parts: tuple[Interactions, Interactions]) -> None:
    train, _ = parts
    nothing = train.select(torch.zeros(len(train), dtype=torch.bool))
    with pytest.raises(InvalidInputError, match="there are no training pairs"):
        BUIR(**SMALL).fit(nothing, progress=False)
    with pytest.raises(InvalidInputError, match="there are no validation pairs: give valid=None"):
        BUIR(**SMALL).fit(train, nothing, progress=False)
    with pytest.raises(InvalidInputError, match="validation has a table of 9 users, training one of 80"):
        BUIR(**SMALL).fit(train, synthetic_interactions(users=9, items=9), progress=False)
    with pytest.raises(InvalidInputError, match=f"{len(train)} validation pairs are also training pairs"):
        BUIR(**SMALL).fit(train, train, progress=False)
    with pytest.raises(InvalidInputError, match="needs lists of 500 items, but there are only 40"):
        BUIR(**SMALL, metric="recall@500").fit(*parts, progress=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"patience": -1}, "patience must be at least 0"),
        ({"weight_decay": -1e-3}, "weight_decay must be at least 0"),
        ({"metric": "recal@20"}, "written like recall@20"),
        ({"metric": "recall"}, "written like recall@20"),
        ({"metric": "recall@0"}, "written like recall@20"),
        ({"patience_resets": "False"}, "patience_resets must be true or false, got 'False'"),
        ({"precision": "float64"}, "precision must be one of float32, bfloat16, float16"),
        ({"momentum": 0.9}, "unknown setting 'momentum'; training has epochs, batch_size"),
    ],
)
def test_bad_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        TrainSettings().changed(changes)


def test_fewer_epochs_than_there_are_is_refused(parts: tuple[Interactions, Interactions], tmp_path: Path) -> None:
    BUIR(**SMALL).fit(*parts, checkpoint=tmp_path / "state", progress=False)
    with pytest.raises(InvalidInputError, match="has 6 epochs already, more than epochs=4"):
        BUIR(**{**SMALL, "epochs": 4}).fit(*parts, checkpoint=tmp_path / "state", progress=False)


def test_a_cosine_schedule_plans_for_its_epochs(parts: tuple[Interactions, Interactions], tmp_path: Path) -> None:
    options = {**SMALL, "momentum_schedule": "cosine"}
    BUIR(**options).fit(*parts, checkpoint=tmp_path / "state", progress=False)
    with pytest.raises(InvalidInputError, match="belongs to another model, other settings"):
        BUIR(**{**options, "epochs": 8}).fit(*parts, checkpoint=tmp_path / "state", progress=False)


def test_what_a_callback_ends_leaves_the_best_model(parts: tuple[Interactions, Interactions]) -> None:
    def stop(entry: Any) -> None:
        if entry["epoch"] == 5:
            raise StoppedError

    model = BUIR(**SMALL)
    with pytest.raises(StoppedError):
        model.fit(*parts, on_epoch=stop, progress=False)
    assert model.history is not None
    assert [one["epoch"] for one in model.history.epochs] == [1, 2, 3, 4, 5]
    assert not model.training
    wanted = BUIR(**{**SMALL, "epochs": model.history.best_epoch or 0}).fit(parts[0], progress=False)
    assert same(state(model), state(wanted))


def test_a_collapse_is_seen_without_validation_too(
    parts: tuple[Interactions, Interactions], caplog: pytest.LogCaptureFixture
) -> None:
    options = {**SMALL, "epochs": 60, "lr": 5e-2}
    model = BUIR(**options, predictor=False, stop_gradient=False).fit(parts[0], progress=False)
    assert model.history is not None
    assert model.history.epochs[-1]["health"]["collapsed"]
    assert "the embeddings have collapsed in epoch" in caplog.text


@pytest.mark.parametrize("name", ["directau", "lightgcn-softmax"])
def test_losses_on_other_scales_raise_no_alarm(name: str, parts: tuple[Interactions, Interactions]) -> None:
    model: Any = build_recommender(name, **{**SMALL, "evaluate_every": 1}).fit(*parts, progress=False)
    assert not any(one["health"]["collapsed"] for one in model.history.epochs)


def test_an_unknown_device_is_refused_before_training(parts: tuple[Interactions, Interactions]) -> None:
    with pytest.raises(InvalidInputError, match="device"):
        BUIR(**{**SMALL, "device": "tpu9"}).fit(*parts, progress=False)


RANKS = """
import sys
import torch
from kgneg.core.distributed import rank
from kgneg.recsys import BUIR
from kgneg.recsys.synthetic import synthetic_interactions
split = synthetic_interactions(users=80, items=40, each=10).split("random", valid=0.15, test=0.1, seed=0)
model = BUIR(dim=8, epochs=4, batch_size=64, lr=1e-2, device="cpu", evaluate_every=2)
model.fit(split.train, split.valid, progress=False)
torch.save({"state": model.state_dict(), "history": model.history.to_dict()}, f"{sys.argv[1]}/{rank()}.pt")
"""


def test_two_processes_train_the_model_of_one(tmp_path: Path) -> None:
    script = tmp_path / "ranks.py"
    script.write_text(RANKS)
    command = [sys.executable, "-P", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, str(script), str(tmp_path)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    assert same(found[0]["state"], found[1]["state"])
    split = synthetic_interactions(users=80, items=40, each=10).split("random", valid=0.15, test=0.1, seed=0)
    options = {**SMALL, "epochs": 4}
    alone = BUIR(**options).fit(split.train, split.valid, progress=False)
    for name, tensor in state(alone).items():
        torch.testing.assert_close(found[0]["state"][name], tensor, atol=1e-4, rtol=1e-3)
    assert alone.history is not None
    assert found[0]["history"]["best_value"] == pytest.approx(alone.history.best_value, abs=0.02)
