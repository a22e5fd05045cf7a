"""Every tutorial runs, for one epoch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TUTORIALS = sorted((Path(__file__).resolve().parents[1] / "tutorials").glob("[0-9]*.py"))


def run_tutorial(path: Path, folder: Path) -> str:
    settings = {
        "KGNEG_TUTORIAL": "small",
        "KGNEG_TUTORIAL_EPOCHS": "1",
        "KGNEG_TUTORIAL_SEEDS": "2",
        "HF_HUB_OFFLINE": "1",
        "PYSTOW_HOME": str(folder / "pystow"),
    }
    done = subprocess.run(
        [sys.executable, path], cwd=folder, env=os.environ | settings, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_tutorial_is_run() -> None:
    stems = [path.stem for path in TUTORIALS]
    assert stems == [
        "01_first_comparison",
        "02_faster_training",
        "03_a_study",
        "04_link_prediction",
        "05_audit_your_sampler",
        "06_a_new_sampler",
        "07_false_negatives",
        "08_clean_a_data_set",
        "09_recommend_without_negatives",
        "10_negatives_from_a_linked_graph",
        "11_find_skills_in_job_ads",
        "12_topics_of_any_vocabulary",
        "13_distractors_for_a_quiz",
        "14_judges_and_a_promise",
        "15_a_graph_from_a_language_model",
    ], "write a test that runs the new tutorial"


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_tutorial_is_short(path: Path) -> None:
    # the fourth has a table of settings; the eighth, the eleventh and those from the thirteenth on make their own data,
    # and the last its own server; the ninth writes it all down
    long = {"04_link_prediction": 180, "08_clean_a_data_set": 220, "09_recommend_without_negatives": 190}
    long |= {"11_find_skills_in_job_ads": 160, "13_distractors_for_a_quiz": 210, "14_judges_and_a_promise": 210}
    long |= {"15_a_graph_from_a_language_model": 290}
    limit = long.get(path.stem, 130)
    assert len(path.read_text(encoding="utf-8").splitlines()) < limit


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_tutorial_has_a_title(path: Path) -> None:
    quotes, title, line, *_ = path.read_text(encoding="utf-8").splitlines()
    assert quotes == '"""'
    assert line == "=" * len(title)


@pytest.mark.slow
def test_first_comparison(tmp_path: Path) -> None:
    (path,) = (path for path in TUTORIALS if path.stem == "01_first_comparison")
    output = run_tutorial(path, tmp_path).replace(",", "")
    rows = {name: numbers for name, *numbers in map(str.split, output.splitlines())}
    assert set(rows) == {"sampler", "basic", "lemon"}
    (_, drawn, known, _), (_, lemon_drawn, lemon_known, _) = rows["basic"], rows["lemon"]
    assert drawn == lemon_drawn
    assert int(known) > 0
    assert int(lemon_known) == 0


@pytest.mark.slow
def test_faster_training(tmp_path: Path) -> None:
    (path,) = (path for path in TUTORIALS if path.stem == "02_faster_training")
    tables = run_tutorial(path, tmp_path).split("\n\n")
    loops, sizes, samplers = (
        [line.rsplit(maxsplit=width) for line in table.splitlines()]
        for table, width in zip(tables, (3, 2, 3), strict=True)
    )
    differs = {name: float(difference) for name, _, difference, _ in loops[1:]}
    assert list(differs) == ["PyKEEN's loop", "updates=dense", "updates=rows", "shared=32"]
    assert differs["updates=dense"] == 0
    assert 0 < differs["updates=rows"] < differs["shared=32"]
    assert [entities for entities, _, _ in sizes[1:]] == ["1,000", "100,000"]
    _, stock, ours = sizes[-1]
    assert float(ours) < float(stock)
    hidden = {name: float(share.rstrip("%")) for name, _, _, share in samplers[1:]}
    assert list(hidden) == ["kgneg-uniform", "dynamic", "dynamic, skip_top=4"]
    assert hidden["dynamic, skip_top=4"] < hidden["dynamic"]


@pytest.mark.slow
def test_a_study(tmp_path: Path) -> None:
    (path,) = (path for path in TUTORIALS if path.stem == "03_a_study")
    output = run_tutorial(path, tmp_path)
    lines = output.splitlines()
    assert lines[:2] == ["first run: {'complete': 4}", "second run: {'complete': 6}"]
    assert [line.split()[0] for line in lines[4:10]] == list("012345")
    (scores,) = (line.split() for line in lines if line.startswith("test MRR:"))
    assert scores[2] == scores[6]
    for name in ("report.html", "trials.csv", "results.json", "best.json", "history.png"):
        assert (tmp_path / "out" / name).stat().st_size > 0
    assert "  optimizer.lr" in output


@pytest.mark.slow
def test_link_prediction(tmp_path: Path) -> None:
    (path,) = (path for path in TUTORIALS if path.stem == "04_link_prediction")
    lines = run_tutorial(path, tmp_path).splitlines()
    assert [line.partition(": MRR")[0] for line in lines[::2]] == [
        f"umls, SumRotatE, {sampler}" for sampler in ("kgneg-uniform", "typed", "sans")
    ]
    assert all(line.endswith("nothing published to compare with") for line in lines[::2])
    assert all("1 of 30 epochs" in line for line in lines[1::2])


@pytest.mark.slow
def test_link_prediction_names_its_settings(tmp_path: Path) -> None:
    (path,) = (path for path in TUTORIALS if path.stem == "04_link_prediction")
    settings = {"KGNEG_TUTORIAL": "nothing", "PYSTOW_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, path], cwd=tmp_path, env=os.environ | settings, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "small, codexsmall, wn18rr, fb15k237 or full, got 'nothing'" in done.stderr


@pytest.mark.slow
def test_audit_your_sampler(tmp_path: Path) -> None:
    (path,) = (path for path in TUTORIALS if path.stem == "05_audit_your_sampler")
    shares, sampler, written = run_tutorial(path, tmp_path).split("\n\n")
    header, *rows = shares.splitlines()
    assert header.split() == ["kgneg-uniform", "basic", "OtherTails"]
    known = rows[0].removeprefix("known").replace("%", "").split()
    assert float(known[0]) == 0
    assert 0 < float(known[3]) < float(known[6])
    ends = {line.split()[0]: line.split()[3:] for line in sampler.splitlines()[1:]}
    assert ends["OtherTails"][0] == "0%"
    assert float(ends["OtherTails"][2].rstrip("%")) > 0
    assert ends["kgneg-uniform"] == ["50%", "50%", "0.0%"]
    for name in written.removeprefix("written: ").strip().split(", "):
        assert (tmp_path / "audit" / name).stat().st_size > 0


@pytest.mark.slow
def test_a_new_sampler(tmp_path: Path) -> None:
    (path,) = (path for path in TUTORIALS if path.stem == "06_a_new_sampler")
    conformance, table = run_tutorial(path, tmp_path).split("\n\n")
    assert " passed" in conformance
    assert "failed" not in conformance
    assert "error" not in conformance
    rows = [[float(number.replace(",", "")) for number in line.split()] for line in table.splitlines()[1:]]
    assert [row[0] for row in rows] == [2, 10, 50]
    narrow, middle, wide = (row[4] for row in rows)
    assert narrow > middle > wide


@pytest.mark.slow
def test_false_negatives(tmp_path: Path) -> None:
    (path,) = (path for path in TUTORIALS if path.stem == "07_false_negatives")
    lines = [line.rsplit(maxsplit=6) for line in run_tutorial(path, tmp_path).splitlines()[1:]]
    ratios = {name.strip(): float(ratio) for name, _, _, ratio, *_ in lines}
    assert list(ratios) == ["kgneg-uniform", "typed", "typed, fn_budget=3", "typed, fn_budget=1.5"]
    assert ratios["kgneg-uniform"] == 1
    assert ratios["typed"] > 3 > ratios["typed, fn_budget=3"] > ratios["typed, fn_budget=1.5"]


@pytest.mark.slow
def test_clean_a_data_set(tmp_path: Path) -> None:
    (path,) = (path for path in TUTORIALS if path.stem == "08_clean_a_data_set")
    told, table = run_tutorial(path, tmp_path).split("\n\n")
    assert "precision 1.00" in told or "precision 0.9" in told
    scores = {line[:18].strip(): float(line[18:].split()[0]) for line in table.splitlines()[1:]}
    assert list(scores) == ["none", "eliminate", "reannotate", "all labels right"]
    assert scores["none"] < scores["eliminate"] < scores["all labels right"]


@pytest.mark.slow
def test_recommend_without_negatives(tmp_path: Path) -> None:
    (path,) = (path for path in TUTORIALS if path.stem == "09_recommend_without_negatives")
    data, scratch, health, package, answers = run_tutorial(path, tmp_path).split("\n\n")
    assert data == "135 users, 789 items; 3,365 pairs to learn from, 1,503 to be found"
    rows = {line[:26].strip(): [float(one) for one in line[26:].split()] for line in scratch.splitlines()[1:]}
    assert list(rows) == ["a table", "three layers"]
    assert all(0 <= value <= 1 for row in rows.values() for value in row)
    losses = {line.split()[0]: float(line.split()[1]) for line in health.splitlines()[1:3]}
    assert losses["collapsed"] < losses["BUIR"]  # from the first epoch on
    found = dict(map(str.split, package.splitlines()[1:]))
    assert list(found) == ["popularity", "two-hop", "ease", "buir-id", "buir-nb"]
    assert 0.3 < float(found["popularity"]) < float(found["two-hop"]) < float(found["ease"])
    assert answers.endswith("the same after loading: True\n")
    assert (tmp_path / "out" / "buir" / "model.safetensors").stat().st_size > 0


@pytest.mark.slow
def test_negatives_from_a_linked_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = (path for path in TUTORIALS if path.stem == "10_negatives_from_a_linked_graph")
    monkeypatch.delenv("KGNEG_DATA", raising=False)
    data, check, table = run_tutorial(path, tmp_path).split("\n\n")
    assert data.startswith("Interactions(users=135, items=743, pairs=6029)\nItemGraph(triples=1986")
    linked, shuffled = (float(part.split()[-1]) for part in check.splitlines()[1].split(","))
    assert linked > 2 > 1.3 > shuffled
    rows = {line[:22].strip(): line[22:].replace("±", " ").split() for line in table.splitlines()[2:]}
    assert list(rows) == ["uniform", "popularity", "dynamic", "graph", "graph .3, uniform .7"]
    ratios = {name: float(row[-1]) for name, row in rows.items()}
    assert ratios["uniform"] == 1
    assert ratios["graph"] > ratios["graph .3, uniform .7"] > 1


@pytest.mark.slow
def test_find_skills_in_job_ads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = (path for path in TUTORIALS if path.stem == "11_find_skills_in_job_ads")
    monkeypatch.setenv("KGNEG_HOME", str(tmp_path / "home"))
    for name in ("KGNEG_ESCO", "KGNEG_GOLD"):
        monkeypatch.delenv(name, raising=False)
    data, number, figures, answers, written = run_tutorial(path, tmp_path).split("\n\n")
    assert (data, number) == ("24 skills, of which 24 are described", "48 texts to learn from")
    rows = {line[:10].strip(): float(line[10:].split()[0]) for line in figures.splitlines()[1:]}
    assert 0.5 < rows["as it is"] < rows["tuned"]
    found = {line[:16].strip(): line[22:46].strip() for line in answers.splitlines()}
    assert found["bake bread"] == "named: make loaves" and found["plan shifts"] == "meant"
    assert written.strip() == "written: mistakes.html" and (tmp_path / "mistakes.html").stat().st_size > 5000


@pytest.mark.slow
def test_topics_of_any_vocabulary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = (path for path in TUTORIALS if path.stem == "12_topics_of_any_vocabulary")
    monkeypatch.setenv("KGNEG_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("KGNEG_SKOS", raising=False)
    read, table, drawn = run_tutorial(path, tmp_path).split("\n\n")
    assert "Regen and its siblings: Nebel Hagel Schnee" in read
    assert read.endswith("['storm', 'rain', 'fog']\n['Nebel', 'Tauwetter']")
    rows = {line[:22].strip(): float(line[22:].split()[0]) for line in table.splitlines()[1:]}
    assert list(rows) == ["cosine of labels", *(f"classifiers, {one}" for one in ("random", "siblings", "both"))]
    assert min(value for name, value in rows.items() if name != "cosine of labels") > rows["cosine of labels"]
    assert drawn.startswith("wrong answers for rain:") and drawn.endswith("True\n")


@pytest.mark.slow
def test_distractors_for_a_quiz(tmp_path: Path) -> None:
    (path,) = (path for path in TUTORIALS if path.stem == "13_distractors_for_a_quiz")
    data, quiz, counts, forbidden, table = run_tutorial(path, tmp_path).split("\n\n")
    assert data.startswith("176 true triples, of which 112 are written down\nbarn owl: word 'barn'")
    *asked, written = quiz.splitlines()
    assert len(asked) == 3 and all(line.count(", ") == 2 for line in asked)
    assert written == "written: 111 questions"
    assert len((tmp_path / "quiz.jsonl").read_text(encoding="utf-8").splitlines()) == 111
    lines = [line.rsplit(maxsplit=2) for line in counts.splitlines()[1:]]
    right = {name.strip(): float(share.rstrip("%")) for name, share, _ in lines}
    assert list(right) == ["random", "keyword", "concept, paper", "concept, budget .1", "concept, budget .2"]
    assert min(right["random"], right["keyword"]) > right["concept, budget .1"] > right["concept, budget .2"]
    assert right["random"] > right["concept, paper"]
    assert forbidden.endswith("fallback 333, questions with fallback 111")
    rows = {
        name: [float(one.rstrip("%")) for one in numbers] for name, *numbers in map(str.split, table.splitlines()[1:])
    }
    assert list(rows) == ["kgneg-uniform", "typed", "concept", "concept:budget=0.5"]
    held_out = [row[0] for row in rows.values()]
    assert held_out[0] == 1 < held_out[3] < held_out[2] < held_out[1]


@pytest.mark.slow
def test_judges_and_a_promise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = (path for path in TUTORIALS if path.stem == "14_judges_and_a_promise")
    monkeypatch.delenv("KGNEG_DATA", raising=False)
    data, table, promises, written = run_tutorial(path, tmp_path).split("\n\n")
    assert data.startswith(
        "data: an invented world, with invented verdicts\nCup can be found at drawer. | Cup cannot be"
    )
    found = {line[:38].strip(): float(line[38:].rstrip("%")) for line in table.splitlines()[1:]}
    judges = ["strict", "gentle", "the sum of both", "critic alone, all labels"]
    assert list(found) == [*judges, "sum, 100 labels", "calibrated, 900 labels"]
    assert max(found["strict"], found["gentle"]) < found["the sum of both"] < found["calibrated, 900 labels"]
    lines = promises.splitlines()
    for target, (stated, counted) in zip((0.8, 0.9), (lines[:2], lines[2:4]), strict=True):
        assert stated.startswith(f"precision >= {target:g} with 95% confidence: keep scores up to")
        assert float(counted.rpartition(": ")[2].rstrip("%")) > 100 * target
    assert "not reachable with 450 checked rows" in lines[4] and "'keep': 0," in lines[5]
    assert lines[6] == "a known triple: drop, because of a rule"
    assert written.startswith("the same after loading: True; 3 of 3 shards")
    count = int(written.split()[-1])
    assert len((tmp_path / "negatives.tsv").read_text(encoding="utf-8").splitlines()) == count > 500


@pytest.mark.slow
def test_a_graph_from_a_language_model(tmp_path: Path) -> None:
    (path,) = (path for path in TUTORIALS if path.stem == "15_a_graph_from_a_language_model")
    poor, rich, judged, decided, table = run_tutorial(path, tmp_path).split("\n\n")
    assert poor.startswith("12,000 tokens: {'heads': 30,") and "'unanswered': 0" not in poor
    assert (
        "'negatives': 358, 'negatives that are tails': 2" in rich
        and "'unanswered'" not in rich
        and "'malformed replies'" in rich
    )
    assert rich.endswith("once more: 0 requests")
    spent = json.loads((tmp_path / "spent.json").read_text(encoding="utf-8"))
    assert 12_000 < spent["input_tokens"] + spent["output_tokens"] < 500_000
    assert judged.startswith("358 negatives, 2") and "'contradiction': " in judged
    promise, others, folder = decided.splitlines()
    assert promise.startswith("precision >= 0.85 with 95% confidence: keep scores up to")
    before, now = (float(part.split("%")[0].split()[-1]) for part in others.partition("; false: ")[2].split(","))
    assert before < 76 < 85 < now  # two true ones are found by their own tails
    assert {"kept.tsv", "malformed.jsonl", "unanswered.jsonl"} < set(folder.split())
    shares = {line[:20].strip(): line[20:].split() for line in table.splitlines()[1:]}
    assert list(shares) == ["kgneg-uniform", "negatives.tsv", "kept.tsv"]
    assert float(shares["kept.tsv"][0].rstrip("%")) < 5 < 25 < float(shares["negatives.tsv"][0].rstrip("%"))
