from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

from kgneg.cli import main
from kgneg.recommending.folders import hold_folder
from kgneg.recsys import MODELS, Interactions, Recommender

SMALL = ("--dim", 4, "--epochs", 4, "--batch-size", 32, "--evaluate-every", 2, "--lr", 0.02, "--device", "cpu")


def rec(*arguments: Any) -> Result:
    return CliRunner().invoke(main, ["rec", *map(str, arguments)])


@pytest.fixture(scope="module")
def likes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of users that like the items of one of three groups, and a few others."""
    draws = torch.rand(40, 24, generator=torch.Generator().manual_seed(0))
    wanted = torch.arange(40)[:, None] % 3 == torch.arange(24) % 3
    pairs = (draws < torch.where(wanted, 0.75, 0.1)).nonzero().tolist()
    path = tmp_path_factory.mktemp("data") / "likes.csv"
    rows = [f"user_{user:02},item_{item:02},{3 + (user + item) % 3}" for user, item in pairs]
    path.write_text("\n".join(["who,what,stars", *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def columns(likes: Path) -> tuple[Any, ...]:
    return ("--data", likes, "--user", "who", "--item", "what", "--rating", "stars")


@pytest.fixture(scope="module")
def trained(columns: tuple[Any, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that ``kgneg rec train`` has written."""
    out = tmp_path_factory.mktemp("trained") / "out"
    done = rec("train", *columns, "--model", "buir-id", *SMALL, "--k", "5,20", "--out", out)
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[:2] for line in lines[2:6]] == [
        ["validation", "@5"], ["validation", "@20"], ["test", "@5"], ["test", "@20"],
    ]  # fmt: skip
    assert lines[-2:] == [str(out / "model"), str(out / "report.html")]
    return out


def test_train(trained: Path) -> None:
    assert {path.name for path in trained.iterdir()} == {
        "model", "valid.safetensors", "test.safetensors", "history.csv", "results.csv", "results.json", "report.html",
        "checkpoint.safetensors", "checkpoint.json", "config.json", ".lock",
    }  # fmt: skip
    found = json.loads((trained / "results.json").read_text(encoding="utf-8"))
    assert found["settings"]["model"]["options"]["dim"] == 4
    assert found["settings"]["data"]["user"] == "who"
    assert found["data"]["users"] == 40


def test_train_without_any_file(tmp_path: Path) -> None:
    done = rec("train", *SMALL, "--out", tmp_path / "out", "--quiet")
    assert (done.exit_code, done.stdout) == (0, ""), done.stderr
    found = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert (found["data"]["name"], found["settings"]["model"]["name"]) == ("umls", "buir-nb")


def test_all_options_of_training(columns: tuple[Any, ...], tmp_path: Path) -> None:
    done = rec(
        "train", *columns, "--model", "lightgcn:layers=1", *SMALL, "--set", "l2=0.5", "--set", "negatives.alpha=0.5",
        "--negatives", "popularity", "--metric", "ndcg@5", "--patience", 1, "--min-rating", 4, "--k-core", 2,
        "--seed", 3,
        "--split", "random", "--valid-share", 0.2, "--test-share", 0.2, "--split-seed", 4, "--k", 5,
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    found = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert found["settings"]["model"]["options"] == {
        "layers": 1, "l2": 0.5, "negatives": "popularity", "negatives.alpha": 0.5, "metric": "ndcg@5", "patience": 1,
        "dim": 4, "epochs": 4, "batch_size": 32, "evaluate_every": 2, "lr": 0.02,
    }  # fmt: skip
    assert found["settings"]["seed"] == 3
    assert found["data"]["split"] == {"kind": "random", "seed": 4, "valid": 0.2, "test": 0.2}
    assert found["history"]["metric"] == "ndcg@5"
    # the settings of one training are the configuration of another
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps(found["settings"]), encoding="utf-8")
    again = rec("train", "--config", settings, "--out", tmp_path / "again", "--quiet")
    assert again.exit_code == 0, again.stderr
    told = json.loads((tmp_path / "again" / "results.json").read_text(encoding="utf-8"))
    assert told["test"] == found["test"]
    other = rec("train", "--config", settings, "--seed", 8, "--lr", 0.1, "--out", tmp_path / "other", "--quiet")
    assert other.exit_code == 0, other.stderr
    changed = json.loads((tmp_path / "other" / "results.json").read_text(encoding="utf-8"))["settings"]
    assert (changed["seed"], changed["model"]["options"]["lr"], changed["model"]["options"]["l2"]) == (8, 0.1, 0.5)
    both = rec("train", "--config", settings, "--data", "umls", "--k-core", 3, "--out", tmp_path / "both")
    assert both.exit_code == 2
    assert "leave out --data, --k-core" in both.stderr


def test_evaluate(trained: Path, likes: Path, tmp_path: Path) -> None:
    found = json.loads((trained / "results.json").read_text(encoding="utf-8"))
    done = rec("evaluate", "--model", trained, "--k", "5,20", "--json", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["metrics"] == found["test"]["metrics"]
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text(encoding="utf-8"))["metrics"] == told["metrics"]
    lines = (tmp_path / "out" / "users.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == told["counts"]["users"] + 1
    valid = rec("evaluate", "--model", trained / "model", "--part", "valid", "--k", "5")
    assert valid.exit_code == 0, valid.stderr
    recall = found["validation"]["metrics"]["recall@5"]
    assert valid.stdout.splitlines()[2].split()[:3] == ["valid", "@5", f"{recall:.4f}"]
    assert "users without training pairs are not judged" in valid.stdout

    more = tmp_path / "later.csv"
    seen = Interactions.load(trained / "model" / "interactions.safetensors")
    more.write_text("who,what\n" + "".join(f"user_00,item_{item:02}\n" for item in range(24)), encoding="utf-8")
    later = rec("evaluate", "--model", trained, "--data", more, "--user", "who", "--item", "what", "--k", 5, "--json")
    assert later.exit_code == 0, later.stderr
    assert json.loads(later.stdout)["counts"]["test_pairs"] == 24 - int(seen.user_counts[0])


def test_recommend(trained: Path, tmp_path: Path) -> None:
    model = Recommender.load(trained / "model")
    done = rec("recommend", "--model", trained, "--user", "user_03", "--user", "user_00", "--k", 3)
    assert done.exit_code == 0, done.stderr
    wanted = model.recommend(["user_03", "user_00"], 3).to_frame()
    rows = [line.split() for line in done.stdout.splitlines()[2:]]
    assert [row[0] for row in rows] == ["user_03"] * 3 + ["user_00"] * 3
    assert [row[2] for row in rows] == wanted["item"].tolist()
    seen = rec("recommend", "--model", trained, "--user", "user_03", "--k", 24, "--include-seen")
    assert len(seen.stdout.splitlines()) == 2 + 24

    file = tmp_path / "users.txt"
    file.write_text("user_03\n\nuser_00\n", encoding="utf-8")
    for name in ("lists.csv", "lists.tsv", "lists.parquet", "lists.jsonl"):
        written = rec("recommend", "--model", trained, "--users", file, "--k", 3, "--out", tmp_path / name)
        assert written.exit_code == 0, written.stderr
        assert written.stdout.splitlines() == ["2 lists, 6 rows", str(tmp_path / name)]
        assert read(tmp_path / name) == wanted["item"].tolist()
    everybody = rec("recommend", "--model", trained, "--users", "all", "--k", 3, "--out", tmp_path / "all.csv")
    assert everybody.stdout.startswith("40 lists, 120 rows")
    shown = rec("recommend", "--model", trained, "--users", "all", "--k", 3)
    assert shown.stdout.splitlines()[-1] == "... 70 more rows; --out writes all"


def read(path: Path) -> list[str]:
    import pandas as pd

    if path.suffix == ".parquet":
        return list(pd.read_parquet(path)["item"])
    if path.suffix == ".jsonl":
        return list(pd.read_json(path, lines=True)["item"])
    return list(pd.read_csv(path, sep="," if path.suffix == ".csv" else "\t")["item"])


def test_a_new_user(trained: Path) -> None:
    model = Recommender.load(trained / "model")
    wanted = model.fold_in([["item_00", "item_03"]], 4).to_frame()["item"].tolist()
    for items in ("item_00, item_03", '["item_00", "item_03"]'):
        done = rec("recommend", "--model", trained, "--items", items, "--k", 4)
        assert done.exit_code == 0, done.stderr
        rows = [line.split() for line in done.stdout.splitlines()[2:]]
        assert [row[:2] for row in rows] == [["new", "user"]] * 4
        assert [row[3] for row in rows] == wanted


def test_similar(trained: Path, tmp_path: Path) -> None:
    model = Recommender.load(trained / "model")
    done = rec("similar", "--model", trained, "--item", "item_05", "--k", 4, "--out", tmp_path / "near.csv")
    assert done.exit_code == 0, done.stderr
    assert read(tmp_path / "near.csv") == model.similar_items(["item_05"], 4).to_frame()["item"].tolist()
    assert (tmp_path / "near.csv").read_text(encoding="utf-8").startswith("like,rank,item,score\nitem_05,1,")


def test_compare(columns: tuple[Any, ...], tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("compare", *columns, "--model", "buir-id", "--model", "ease", *SMALL, "--seeds", 2, "--out", out)
    arguments = (*arguments, "--k", "5,20")
    done = rec(*arguments)
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[2:6]] == ["buir-id", "ease", "popularity", "two-hop"]
    assert lines[-1] == str(out / "report.html")
    first = (out / "results.json").read_bytes()
    quiet = rec(*arguments, "--quiet")
    assert (quiet.exit_code, quiet.stdout) == (0, "")
    assert (out / "results.json").read_bytes() == first, "finished runs are taken up, seconds included"
    plain = rec(*arguments, "--no-floors", "--resplit", "--metric", "ndcg@5")
    assert plain.exit_code == 0, plain.stderr
    found = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert [entry["model"] for entry in found["summary"]] == ["buir-id", "ease"]
    assert found["settings"]["resplit"] is True


@pytest.mark.parametrize("width", [60, 200])
@pytest.mark.parametrize("name", ["train", "evaluate", "recommend", "similar", "compare"])
def test_examples_in_the_help(name: str, width: int) -> None:
    done = CliRunner().invoke(main, ["rec", name, "--help"], terminal_width=width)
    assert done.exit_code == 0
    assert "\b" not in done.output
    examples = [line.strip() for line in done.output.splitlines() if line.strip().startswith(f"kgneg rec {name} ")]
    command = main.commands["rec"].commands[name]  # type: ignore[attr-defined]
    wanted = [line.strip() for line in command.help.splitlines() if line.strip().startswith("kgneg ")]
    assert examples == wanted
    assert examples


def test_help_is_quick() -> None:
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        command = [sys.executable, "-P", "-m", "kgneg.cli", "rec", "--help"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - begin)
    assert min(seconds) < 0.5
    for name in ("train", "evaluate", "recommend", "similar", "compare", "models"):
        assert f"  {name} " in done.stdout


def test_models() -> None:
    done = rec("models")
    assert done.exit_code == 0
    for name in MODELS:
        assert f"\n\n{name}  (" in f"\n\n{done.stdout}"
    assert "buir-nb:paper  dim=250" in done.stdout
    told = json.loads(rec("models", "--json").stdout)
    assert [one["name"] for one in told] == list(MODELS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "--model", "buirnb"), "unknown model 'buirnb'"),
        (("train", "--model", "buir-nb", "--set", "dimm=3"), "unknown option of the model buir-nb 'dimm'"),
        (("train", "--set", "dim"), "expected NAME=VALUE"),
        (("train", "--set", "dim=3", "--dim", 4), "dim is given twice: by --set and by --dim"),
        (("train", "--model", "buir-nb:dim=3", "--dim", 4), "dim is given twice"),
        (("train", "--model", "ease", "--epochs", 4), "unknown option of the model ease 'epochs'"),
        (("train", "--model", "buir-nb", "--negatives", "uniform"), "draws no negatives"),
        (("train", "--k", "10,x"), "is no list of lengths"),
        (("train", "--k", "10,2000"), "a list of 2000 items is longer than the catalogue of umls"),
        (("train", "--data", "none.csv"), "none.csv"),
        (("train", "--split", "halves"), "split must be one of"),
        (("train", "--split", "temporal"), "the temporal split needs times"),
        (("train", "--k-core", 5000), "left"),
        (("train", "--config", "none.json"), "cannot be read"),
        (("train", "--device", "cuda:77"), "is not there"),
        (("compare", "--model", "ease", "--seeds", "x"), "neither a number of seeds nor a list"),
        (("compare", "--model", "ease", "--model", "ease"), "models must differ"),
        (("compare", "--model", "ease", "--metric", "recall@7"), "the metric must be one of"),
        (("compare", "--model", "ease", "--epochs", 3), "epochs would have no effect"),
        (("train", "--metric", "recal@5"), "got 'recal@5'"),
        (("train", "--metric", "recall"), "got 'recall'"),
        (("train", "--metric", "recall@0"), "got 'recall@0'"),
        (("train", "--metric", "recall@5000"), "such as --metric recall@5"),
        (("train", "--model", "buir-nb:metric=ndcg@5000"), "such as --metric ndcg@5"),
        (
            ("train", "--set", "metric=recall@5", "--metric", "recall@5"),
            "metric is given twice: by --set and by --metric",
        ),
        (("train", "--set", "seed=1", "--seed", 1), "seed is given twice"),
        (("train", "--set", "device=cpu", "--device", "cpu"), "device is given twice"),
        (
            ("train", "--model", "bpr", "--set", "negatives=uniform", "--negatives", "uniform"),
            "negatives is given twice: by --set and by --negatives",
        ),
        (("train", "--model", "buir-nb:seed=3", "--seed", 4), "seed is given twice: in --model"),
        (("train", "--no-header"), "umls' is a knowledge graph, for which header would have no effect"),
        (("compare", "--model", "bpr", "--set", "device=cpu", "--device", "cpu"), "device is given twice"),
        (("compare", "--model", "bpr", "--set", "metric=recall@5", "--metric", "recall@10"), "metric is given twice"),
        (("compare", "--model", "buir-nb", "--metric", "recall@5000", "--k", "5000"), "such as --k 5"),
    ],
)
def test_refusals(arguments: tuple[Any, ...], message: str, tmp_path: Path) -> None:
    done = rec(*arguments, "--out", tmp_path / "out")
    assert done.exit_code == 2, done.stderr
    assert done.stdout == ""
    assert message in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("recommend", "--user", "nobody"), "the user 'nobody' is not known"),
        (("recommend", "--items", "nothing"), "the item 'nothing' is not known"),
        (("recommend", "--items", "[1"), "is no JSON list"),
        (("recommend", "--user", "user_00", "--k", 25), "25"),
        (("recommend", "--user", "user_00", "--users", "all"), "Give one of"),
        (("recommend",), "Give one of"),
        (("recommend", "--users", "none.txt"), "cannot read the users from none.txt"),
        (("recommend", "--users", "all", "--out", "lists.xlsx"), "must end in one of .csv"),
        (("similar", "--item", "nothing"), "the item 'nothing' is not known"),
        (("evaluate", "--k", "25"), "longer than there are candidates, 24"),
        (("evaluate", "--data", "none.csv"), "none.csv"),
        (("evaluate", "--data", "none.csv", "--part", "valid"), "--part would have no effect with --data"),
        (("evaluate", "--no-header", "--min-rating", 3), "--header, --min-rating would have no effect without --data"),
    ],
)
def test_refused_questions(arguments: tuple[Any, ...], message: str, trained: Path) -> None:
    done = rec(*arguments, "--model", trained)
    assert done.exit_code == 2, done.stderr
    assert done.stdout == ""
    assert message in done.stderr.splitlines()[-1]


def test_no_model_there(trained: Path, tmp_path: Path) -> None:
    done = rec("evaluate", "--model", tmp_path)
    assert done.exit_code == 2
    assert "there is no model in" in done.stderr
    Recommender.load(trained / "model").save(tmp_path / "alone")
    alone = rec("evaluate", "--model", tmp_path / "alone")
    assert alone.exit_code == 2
    assert "there is no test part beside" in alone.stderr


def test_non_numeric_ratings(tmp_path: Path) -> None:
    path = tmp_path / "likes.csv"
    path.write_text("user,item,rating\na,x,good\nb,y,bad\n", encoding="utf-8")
    done = rec("train", "--data", path, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "good" in done.stderr
    done = rec("train", "--data", path, "--rating", "none", "--out", tmp_path / "out")
    assert "part is empty" in done.stderr


def test_another_training_in_the_folder(columns: tuple[Any, ...], trained: Path) -> None:
    before = (trained / "results.json").read_bytes()
    done = rec("train", *columns, "--model", "buir-id", *SMALL, "--k", "5,20", "--seed", 9, "--out", trained)
    assert done.exit_code == 2
    assert "begin anew with --fresh" in done.stderr
    assert (trained / "results.json").read_bytes() == before


LONG = (
    "--data",
    "kinships",
    "--model",
    "buir-nb",
    "--dim",
    128,
    "--epochs",
    30,
    "--batch-size",
    64,
    "--evaluate-every",
    3,
)


def start(out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-m", "kgneg.cli", "rec", "train", *map(str, LONG), "--device", "cpu", "--quiet"]
    return subprocess.Popen([*command, "--out", str(out)], stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="sends signals")
def test_killed_and_resumed(tmp_path: Path) -> None:
    whole = rec("train", *LONG, "--device", "cpu", "--quiet", "--out", tmp_path / "whole")
    assert whole.exit_code == 0, whole.stderr
    out = tmp_path / "killed"
    kills = 0
    for wanted in (2, 4):  # changes of the checkpoint that are waited for
        process = start(out)
        seen: set[int] = set()
        while process.poll() is None and len(seen) < wanted:
            time.sleep(0.005)
            path = out / "checkpoint.safetensors"
            if path.is_file():
                seen.add(path.stat().st_mtime_ns)
        time.sleep(0.02)  # into the next epoch
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate()
    assert kills == 2
    assert not (out / "results.json").exists()
    process = start(out)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    found, told = (
        json.loads((folder / "results.json").read_text(encoding="utf-8")) for folder in (tmp_path / "whole", out)
    )
    for one in (found, told):
        assert len(one["history"]["epochs"]) == 30
        for epoch in one["history"]["epochs"]:
            del epoch["seconds"]
    for name in ("validation", "test", "history", "health"):
        assert found[name] == told[name], name


def test_header_and_columns(trained: Path, likes: Path, tmp_path: Path) -> None:
    later = tmp_path / "later.csv"
    later.write_text("\n".join(f"user_{user:02};x;item_{user % 24:02}" for user in range(40)) + "\n", encoding="utf-8")
    asked = ("evaluate", "--model", trained, "--k", 5, "--json", "--data", later)
    done = rec(*asked, "--user", 0, "--item", 2, "--rating", "none", "--separator", ";", "--no-header")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)["counts"]
    named = tmp_path / "named.csv"
    named.write_text("a;b;c\n" + later.read_text(encoding="utf-8"), encoding="utf-8")
    again = rec(*asked[:-1], named, "--user", 0, "--item", 2, "--header", "--separator", ";")
    assert again.exit_code == 0, again.stderr
    assert json.loads(again.stdout)["counts"] == told


def test_one_command_at_a_time(columns: tuple[Any, ...], tmp_path: Path) -> None:
    out = tmp_path / "out"
    with hold_folder(out):
        for command in (("train", "--model", "ease"), ("compare", "--model", "ease", "--k", 20)):
            done = rec(*command, *columns, "--out", out)
            assert done.exit_code == 2
            assert "another command is writing into" in done.stderr
    assert not list(out.glob("*.json"))


def test_predictor_off_by_any_spelling(columns: tuple[Any, ...], tmp_path: Path) -> None:
    done = rec("train", *columns, *SMALL, "--k", 5, "--set", "predictor=False", "--out", tmp_path / "out", "--quiet")
    assert done.exit_code == 0, done.stderr
    found = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert found["model"]["options"]["predictor"] is False


def test_the_configuration_is_kept(columns: tuple[Any, ...], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert rec("train", *columns, "--model", "ease:l2=3", "--k", 5, "--out", out, "--quiet").exit_code == 0
    again = rec("train", "--config", out / "config.json", "--out", tmp_path / "again", "--quiet")
    assert again.exit_code == 0, again.stderr
    results = [(folder / "results.csv").read_bytes() for folder in (out, tmp_path / "again")]
    assert results[0] == results[1]
    assert rec("train", *columns, "--model", "ease:l2=4", "--k", 5, "--out", out).exit_code == 2
