from __future__ import annotations

import csv
import gzip
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from kgneg.cli import main
from kgneg.core.encode import LexicalEncoder
from kgneg.samplers.noise.files import read_report

FILES = ["examples.parquet", "input.json", "report.html", "report.parquet", "review.jsonl", "summary.json"]
TEXT = ("--encoder", "lexical", "--k", "8")
#: the first 48 rows are positive; the labels of the last 12 of these were forgotten
ROWS, POSITIVE, LABELLED = 160, 48, 36


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train the classifiers for fewer steps; these rows are easily told apart."""
    monkeypatch.setattr("kgneg.samplers.noise.probe._STEPS", (20, 20))


def noise(*arguments: Any) -> Result:
    return CliRunner().invoke(main, ["noise", *map(str, arguments)])


def done(*arguments: Any) -> Result:
    result = noise(*arguments)
    assert result.exit_code == 0, result.stderr
    return result


def truth(row: int) -> str:
    return "born" if row < POSITIVE else "no_relation"


def label(row: int) -> str:
    return "born" if row < LABELLED else "no_relation"


def tokens(row: int) -> list[str]:
    generator = random.Random(row)  # noqa: S311
    person, place = generator.choice(["Curie", "Bohr", "Gauss"]), generator.choice(["Ulm", "Warsaw", "Basel"])
    if row < POSITIVE:
        return [person, "was", "born", "in", place, "in", f"18{row % 90 + 10}"]
    return [person, generator.choice(["left", "praised"]), "friends", "near", place, "on", generator.choice("abcde")]


@pytest.fixture(scope="module")
def vectors() -> pd.DataFrame:
    found = np.random.default_rng(0).normal(size=(ROWS, 4)).round(4)
    found[:POSITIVE, 0] += 6
    columns = {"id": [f"e{row}" for row in range(ROWS)], "label": [label(row) for row in range(ROWS)]}
    rest = {"group": [f"d{row // 4}" for row in range(ROWS)], "type": ["P C", "P O"] * (ROWS // 2)}
    texts = {"text": [" ".join(tokens(row)) + ', "quoted"' for row in range(ROWS)]}
    return pd.DataFrame({**columns, **rest, **texts, **{f"v{place}": found[:, place] for place in range(4)}})


def tacred() -> list[dict[str, Any]]:
    ends = {"subj_start": 0, "subj_end": 0, "obj_start": 4, "obj_end": 4, "subj_type": "PERSON", "obj_type": "CITY"}
    return [
        {"id": f"e{row}", "docid": f"d{row // 4}", "relation": label(row), "token": tokens(row), **ends, "extra": row}
        for row in range(ROWS)
    ]


def docred(rows: range, titles: Callable[[int], str] = lambda row: f"d{row}") -> list[dict[str, Any]]:
    """A document per row, whose first entity has the relation to its second or not."""

    def mention(place: int, kind: str) -> list[dict[str, Any]]:
        return [{"name": "x", "sent_id": 0, "pos": [place, place + 1], "type": kind}]

    return [
        {
            "title": titles(row),
            "sents": [tokens(row)],
            "vertexSet": [mention(0, "PER"), mention(4, "LOC")],
            "labels": [{"h": 0, "t": 1, "r": "P19", "evidence": [0]}] if row < LABELLED else [],
        }
        for row in rows
    ]


def write(path: Path, records: list[dict[str, Any]], *, lines: bool = False) -> Path:
    text = "".join(json.dumps(one) + "\n" for one in records) if lines else json.dumps(records)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def gold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gold") / "gold.csv"
    path.write_text("id,label\n" + "".join(f"e{row},{truth(row)}\n" for row in range(ROWS)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory, vectors: pd.DataFrame) -> tuple[Path, Path]:
    """A CSV file, and the folder of its fit."""
    folder = tmp_path_factory.mktemp("table")
    vectors.to_csv(folder / "in.csv", index=False)
    done("fit", folder / "in.csv", "--out", folder / "found", "--negative-label", "no_relation", "--k", 8, "--quiet")
    return folder / "in.csv", folder / "found"


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """A file in the format of TACRED, the folder of its fit, and what was printed."""
    folder = tmp_path_factory.mktemp("examples")
    path = write(folder / "train.json", tacred())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kgneg.samplers.noise.probe._STEPS", (20, 20))  # as in `quick`
        return path, folder / "found", done("fit", path, "--out", folder / "found", *TEXT).stdout


@pytest.fixture
def examples(output: tuple[Path, Path, str]) -> tuple[Path, Path]:
    return output[:2]


def hidden_and_flagged(folder: Path) -> tuple[int, int]:
    report = read_report(folder)
    flagged = report.flagged.nonzero().squeeze(-1).tolist()
    return sum(row < POSITIVE for row in flagged), len(flagged)


def test_fit(output: tuple[Path, Path, str]) -> None:
    _, folder, printed = output
    assert printed.splitlines()[0].split() == ["what", "number"]
    assert printed.splitlines()[-1] == str(folder / "report.html")
    assert sorted(path.name for path in folder.iterdir()) == FILES
    hits, flagged = hidden_and_flagged(folder)
    assert hits >= 11
    assert flagged <= 13
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert summary["rows"] == ROWS
    assert 8 < summary["expected_false_negatives"]["value"] < 17


@pytest.mark.slow
def test_the_same_in_every_process(tmp_path: Path, table: tuple[Path, Path]) -> None:
    arguments = ("--negative-label", "no_relation", "--k", "8", "--quiet")
    command = [sys.executable, "-P", "-m", "kgneg.cli", "noise", "fit", str(table[0]), "--out", "there", *arguments]
    environment = os.environ | {"PYTHONHASHSEED": "3"}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    for name in ("summary.json", "input.json", "review.jsonl", "report.html"):
        assert (tmp_path / "there" / name).read_bytes() == (table[1] / name).read_bytes(), name


@pytest.mark.usefixtures("quick")
def test_goes_on_after_a_kill(tmp_path: Path, examples: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is encoded is not encoded again."""

    def fail(*_: Any) -> None:
        raise RuntimeError("encoded again")

    monkeypatch.setattr(LexicalEncoder, "encode", fail)
    done("fit", examples[0], "--out", tmp_path, *TEXT, "--quiet")
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES
    monkeypatch.setenv("KGNEG_HOME", str(tmp_path / "empty"))
    assert "encoded again" in noise("fit", examples[0], "--out", tmp_path, *TEXT).stderr


def test_pages(examples: tuple[Path, Path]) -> None:
    page = (examples[1] / "report.html").read_text(encoding="utf-8")
    for heading in ("Summary", "How many are hidden", "Precision and recall", "Labels", "Types", "Rows to look at"):
        assert f">{heading}</h2>" in page
    assert re.search(r"\[H\] \w+ \[/H\] was born in \[T\]", page)
    assert "PERSON CITY" in page
    assert "HT 3-4" in page
    assert "<script" not in page
    assert not re.search(r'(?:src|href)="(?!#)', page)
    assert "real precision" not in page


def test_review(examples: tuple[Path, Path]) -> None:
    lines = (examples[1] / "review.jsonl").read_text(encoding="utf-8").splitlines()
    tasks = [json.loads(line) for line in lines]
    flagged = [task for task in tasks if task["label"] == "no_relation"]
    assert len(flagged) == hidden_and_flagged(examples[1])[1]
    assert [task["score"] for task in flagged] == sorted((task["score"] for task in flagged), reverse=True)
    first = tasks[0]
    assert {"id", "text", "label", "suggestion", "score", "evidence", "meta"} == set(first)
    assert (first["suggestion"], first["meta"]["action"]) == ("born", "eliminate")
    assert first["text"].startswith("[H] ")
    assert [near["label"] for near in first["evidence"]] == ["born"] * 3
    assert first["meta"]["types"] == "PERSON CITY"


def test_report_with_gold(tmp_path: Path, gold: Path, examples: tuple[Path, Path]) -> None:
    shutil.copytree(examples[1], tmp_path / "found")
    before = (tmp_path / "found" / "summary.json").read_bytes()
    result = done("report", tmp_path / "found", "--gold", gold)
    numbers = dict(re.split(r"  +", line) for line in result.stdout.splitlines() if "  " in line)
    assert numbers["hidden positives among them"] == str(POSITIVE - LABELLED)
    assert float(numbers["average precision, %"]) > 90
    page = (tmp_path / "found" / "report.html").read_text(encoding="utf-8")
    assert "real precision, %" in page
    assert f"By the true labels, {POSITIVE - LABELLED} of {ROWS - LABELLED} are hidden positives" in page
    # the truth in the format of the input, of some rows
    some = [{**one, "relation": truth(row)} for row, one in enumerate(tacred()) if row % 2]
    partly = done("report", tmp_path / "found", "--gold", write(tmp_path / "gold.json", some))
    assert "warning: " in partly.stderr
    numbers = dict(re.split(r"  +", line) for line in partly.stdout.splitlines() if "  " in line)
    assert numbers["negatives whose truth is known"] == str((ROWS - LABELLED) // 2)
    assert (tmp_path / "found" / "summary.json").read_bytes() == before
    assert done("report", tmp_path / "found", "--quiet").stdout == ""


@pytest.mark.parametrize("name", ["clean.csv", "clean.csv.gz"])
def test_apply_to_a_table(name: str, tmp_path: Path, table: tuple[Path, Path], vectors: pd.DataFrame) -> None:
    result = done("apply", table[1], table[0], "--out", tmp_path / name)
    report = read_report(table[1])
    cleaned = pd.read_csv(tmp_path / name)
    gone = (report.action == 1).numpy()
    assert gone.sum() >= 11
    pd.testing.assert_frame_equal(cleaned, vectors[~gone].reset_index(drop=True))
    counts = (
        f"eliminated {gone.sum()}, reannotated 0",
        f"{len(cleaned)} of {ROWS} rows are left",
        str(tmp_path / name),
    )
    assert all(part in result.stdout for part in counts)
    untouched = [row for row in table[0].read_text(encoding="utf-8").splitlines()[1:] if f"e{LABELLED - 1}," in row]
    opened = gzip.open if name.endswith(".gz") else open
    with opened(tmp_path / name, "rt", encoding="utf-8") as file:
        assert untouched[0] in file.read()  # numbers are spelled as they were


def test_apply_with_other_choices(tmp_path: Path, table: tuple[Path, Path], vectors: pd.DataFrame) -> None:
    out = tmp_path / "clean.csv"
    done("apply", table[1], table[0], "--out", out, "--flag", "0.3", "--eliminate", "0.4", "--reannotate")
    report = read_report(table[1]).rethreshold(0.3, eliminate=0.4, reannotate=True)
    expected = vectors.assign(label=report.corrected())
    pd.testing.assert_frame_equal(pd.read_csv(out), expected[expected["label"].notna()].reset_index(drop=True))
    assert (pd.read_csv(out)["label"] == "born").sum() >= LABELLED + 10
    # all flagged rows are to be reviewed, and left out; positives that are to be reviewed stay
    done("apply", table[1], table[0], "--out", out, "--flag", "0.3", "--eliminate", "1.0", "--drop-review", "--quiet")
    report = report.rethreshold(0.3, eliminate=1.0)
    gone = (report.flagged & (report.action != 0)).numpy()
    assert gone.sum() >= 10
    assert pd.read_csv(out)["id"].tolist() == vectors["id"][~gone].tolist()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("kind", ["texts", "categories", "numbers"])
def test_apply_to_parquet(kind: str, tmp_path: Path, vectors: pd.DataFrame) -> None:
    frame = pd.DataFrame(
        {"name": range(ROWS), "relation": vectors["label"], "other": [None, 1] * (ROWS // 2), "doc": vectors["group"]}
    ).astype({"other": "Int64"})
    negative = "no_relation"
    if kind == "categories":
        frame["relation"] = frame["relation"].astype("category")
    elif kind == "numbers":
        frame["relation"], negative = (frame["relation"] == "born").astype("int32") * 7, "0"
    frame["embedding"] = list(vectors[["v0", "v1", "v2", "v3"]].to_numpy())
    frame.to_parquet(tmp_path / "in.parquet")
    columns = ("--id", "name", "--label", "relation", "--group", "doc", "--vector", "embedding")
    done("fit", tmp_path / "in.parquet", "--out", tmp_path / "f", *columns, "--k", 8, "--negative-label", negative)
    done("apply", tmp_path / "f", tmp_path / "in.parquet", "--out", tmp_path / "out.parquet", "--reannotate")
    cleaned = pd.read_parquet(tmp_path / "out.parquet")
    report = read_report(tmp_path / "f").rethreshold(reannotate=True)
    new = (report.action == 2).numpy()
    assert new.sum() >= 10
    kept = report.keep.numpy()
    assert cleaned.dtypes.equals(frame.dtypes)
    pd.testing.assert_frame_equal(
        cleaned.drop(columns="relation"), frame[kept].drop(columns="relation").reset_index(drop=True)
    )
    assert (cleaned["relation"][new[kept]].astype(str) == ("7" if kind == "numbers" else "born")).all()
    assert cleaned["relation"][~new[kept]].astype(str).tolist() == frame["relation"][kept & ~new].astype(str).tolist()


@pytest.mark.usefixtures("quick")
def test_apply_to_tacred(tmp_path: Path) -> None:
    """A folder with a list in one file, and an object per line in the other."""
    folder, records = tmp_path / "data", tacred()
    folder.mkdir()
    write(folder / "a.json", records[:40])
    write(folder / "b.jsonl", records[40:], lines=True)
    done("fit", folder, "--out", tmp_path / "found", *TEXT, "--quiet")
    report = read_report(tmp_path / "found")

    def cleaned(*options: str) -> list[dict[str, Any]]:
        done("apply", tmp_path / "found", folder, "--out", tmp_path / "clean", *options)
        lines = (tmp_path / "clean" / "b.jsonl").read_text(encoding="utf-8").splitlines()
        first = json.loads((tmp_path / "clean" / "a.json").read_text(encoding="utf-8"))
        return [*first, *(json.loads(line) for line in lines)]

    assert cleaned() == [one for one, kept in zip(records, report.keep.tolist(), strict=True) if kept]
    found = cleaned("--reannotate")
    assert sum(one["relation"] != records[one["extra"]]["relation"] for one in found) >= 10
    assert all({**one, "relation": ""} == {**records[one["extra"]], "relation": ""} for one in found)
    for out in (folder, folder / "clean"):
        assert "is not overwritten" in noise("apply", tmp_path / "found", folder, "--out", out).stderr
    (folder / "c.json").write_text("[]", encoding="utf-8")
    assert "not what was fitted" in noise("apply", tmp_path / "found", folder, "--out", tmp_path / "x").stderr


@pytest.mark.usefixtures("quick")
def test_apply_to_docred(tmp_path: Path) -> None:
    # the same title in two files, so that documents are told apart by their numbers
    folder = tmp_path / "data"
    folder.mkdir()
    write(folder / "a.json", docred(range(80)))
    write(folder / "b.json", docred(range(80, ROWS), lambda row: f"d{row - 80}"))
    (folder / "rel_info.json").write_text('{"P19": "place of birth"}', encoding="utf-8")
    done("fit", folder, "--out", tmp_path / "found", *TEXT, "--quiet")
    assert "P19 (place of birth)" in (tmp_path / "found" / "report.html").read_text(encoding="utf-8")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    options = ("--reannotate", "--flag", "0.3", "--eliminate", "0.6", "--drop-review")
    done("apply", tmp_path / "found", folder, "--out", tmp_path / "clean", *options)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert sorted(path.name for path in (tmp_path / "clean").iterdir()) == ["a.json", "b.json", "pairs.ignored.csv"]
    report = read_report(tmp_path / "found").rethreshold(0.3, eliminate=0.6, reannotate=True)
    added = 0
    for name in ("a.json", "b.json"):
        documents = json.loads((tmp_path / "clean" / name).read_text(encoding="utf-8"))
        for old, new in zip(json.loads(before[name]), documents, strict=True):
            extra = new["labels"][len(old["labels"]) :]
            assert new == {**old, "labels": old["labels"] + extra}
            added += len(extra)
            if extra:
                number = int(old["title"][1:]) + 80 * (name == "b.json")
                place = report.ids.index(f"{old['title']} [{number}]#{extra[0]['h']}-{extra[0]['t']}")
                assert int(report.action[place]) == 2
                assert extra[0]["r"] == "P19"
    assert added == int((report.action == 2).sum()) >= 10
    with (tmp_path / "clean" / "pairs.ignored.csv").open(encoding="utf-8", newline="") as file:
        listed = list(csv.DictReader(file))
    ignored = (report.action == 1) | ((report.action == 3) & report.negative)
    assert [row["id"] for row in listed] == [report.ids[row] for row in ignored.nonzero().squeeze(-1).tolist()]
    for row in listed:
        number = int(row["document"]) + 80 * (row["file"] == "b.json")
        assert row["id"] == f"{row['title']} [{number}]#{row['h']}-{row['t']}"


@pytest.mark.usefixtures("quick")
def test_clean_labels(tmp_path: Path, examples: tuple[Path, Path]) -> None:
    rows = [*range(LABELLED, POSITIVE), *range(POSITIVE, POSITIVE + 20)]
    known = tmp_path / "known.tsv"
    lines = ["id\tlabel", *(f"e{row}\t{truth(row)}" for row in rows), "e999\tborn"]
    known.write_text("\n".join(lines) + "\n", encoding="utf-8")
    result = done("fit", examples[0], "--out", tmp_path / "found", *TEXT, "--clean", known, "--mode", "extrinsic")
    assert "1 of 33 ids are not in the input" in result.stderr
    report = read_report(tmp_path / "found")
    assert report.mode == "extrinsic"
    assert report.score[LABELLED:POSITIVE].tolist() == [1.0] * (POSITIVE - LABELLED)
    assert "whose true label is known" in (tmp_path / "found" / "report.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("quick")
def test_prior(tmp_path: Path, examples: tuple[Path, Path]) -> None:
    done("fit", examples[0], "--out", tmp_path, *TEXT, "--prior", "0.25", "--flag", "0.4", "--quiet")
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert summary["expected_false_negatives"]["value"] == pytest.approx(0.25 * (ROWS - LABELLED))
    assert summary["threshold"] == 0.4
    assert "You said that 25.0 %" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--k", "0"), "k must be at least 1"),
        (("--format", "docread"), "format must be one of auto, vectors, docred, tacred"),
        (("--flag", "f2"), "'f2' is neither f1 nor a probability"),
        (("--flag", "1.5"), "flag must be between 0 and 1"),
        (("--prior", "2"), "prior must be between 0 and 1"),
        (("--mode", "both"), "mode must be one of auto"),
        (("--mode", "extrinsic"), "give clean=..."),
        (("--device", "tpu0"), "device must be auto, cpu, cuda or cuda:1"),
        (("--format", "vectors", "--encoder", "lexical"), "encoder would have no effect"),
        (("--format", "tacred", "--group", "g"), "group would have no effect"),
    ],
)
def test_usage_errors_of_fit(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    result = noise("fit", tmp_path / "none.csv", "--out", tmp_path / "found", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("quick")
def test_failures_of_fit(tmp_path: Path, table: tuple[Path, Path], examples: tuple[Path, Path]) -> None:
    write(tmp_path / "odd.json", [{"a": 1}])
    (tmp_path / "cut.json").write_text('[{"id": "e1"', encoding="utf-8")
    (tmp_path / "empty").mkdir()
    known = tmp_path / "known.csv"
    known.write_text("id,label\nx,born\n", encoding="utf-8")
    cases = {
        (tmp_path / "none.csv",): "no such file",
        (table[0], "--group", "document"): "no column 'document' for 'group'",
        (table[0], "--text", "words"): "no column 'words'",
        (table[0], "--negative-label", "NOTHING"): "no row has the label 'NOTHING'",
        (table[0], "--negative-label", "no_relation", "--k", "500"): "choose a smaller k",
        (table[0], "--encoder", "lexical"): "encoder would have no effect",
        (examples[0], "--types", "type"): "types would have no effect",
        (tmp_path / "odd.json",): "neither 'vertexSet' (DocRED) nor 'subj_start' (TACRED)",
        (tmp_path / "cut.json",): "was the file cut off?",
        (tmp_path / "empty",): "a folder without JSON files",
        (examples[0], *TEXT, "--clean", known): "none of its 1 ids is in the input",
    }
    for arguments, message in cases.items():
        result = noise("fit", *arguments, "--out", tmp_path / "found")
        assert result.exit_code == 1, arguments
        assert result.stdout == ""
        assert result.stderr.splitlines()[-1].startswith("Error: ")
        assert message in result.stderr, arguments
        assert not any((tmp_path / "found").iterdir())
    assert "expected a folder" in noise("fit", table[0], "--out", known).stderr


def test_refusals_of_apply(tmp_path: Path, table: tuple[Path, Path], vectors: pd.DataFrame) -> None:
    path, found = table
    data = path.read_bytes()
    changed, linked = tmp_path / "changed.csv", tmp_path / "link.csv"
    changed.write_bytes(data.replace(b"born", b"Born", 1))
    linked.symlink_to(path)
    cases = [
        ((found, path, "--out", path), "is not overwritten"),
        ((found, path, "--out", linked), "is not overwritten"),
        ((found, path, "--out", path.parent / "found" / ".." / "in.csv"), "is not overwritten"),
        ((found, changed, "--out", tmp_path / "out.csv"), "not what was fitted (in.csv), or changed since"),
        ((found, path, "--out", tmp_path / "out.tsv"), "the input is a .csv table"),
        ((found, path, "--out", tmp_path), "is a folder, expected a file"),
        ((tmp_path, path, "--out", tmp_path / "out.csv"), "no complete fit"),
        ((found, tmp_path / "none.csv", "--out", tmp_path / "out.csv"), "no such file"),
        ((found, path, "--out", tmp_path / "out.csv", "--eliminate", "3"), "eliminate must be between 0 and 1"),
        ((found, path, "--out", found / "report.parquet"), "is a file of the fit"),
    ]
    for arguments, message in cases:
        result = noise("apply", *arguments)
        assert (result.exit_code, result.stdout) == (2, ""), arguments
        assert message in " ".join(result.stderr.split()), (message, result.stderr)
    assert path.read_bytes() == data
    assert sorted(one.name for one in tmp_path.iterdir()) == ["changed.csv", "link.csv"]
    # the same bytes under another name are the same input
    moved = tmp_path / "moved.csv"
    moved.write_bytes(data)
    done("apply", found, moved, "--out", tmp_path / "out.csv")


def test_damaged_folders(tmp_path: Path, table: tuple[Path, Path], gold: Path) -> None:
    for name, message in {
        "input.json": "broken JSON",
        "examples.parquet": "was the file cut off?",
        "report.parquet": "was the file cut off?",
    }.items():
        folder = tmp_path / name
        folder.mkdir()
        for file in FILES:
            (folder / file).write_bytes((table[1] / file).read_bytes())
        assert noise("report", folder, "--gold", gold, "--quiet").exit_code == 0
        (folder / name).write_bytes((folder / name).read_bytes()[:60])
        result = noise("report", folder)
        assert result.exit_code == 2
        assert message in " ".join(result.stderr.split())
    other = tmp_path / "gold.csv"
    other.write_text("id,label\nz,born\n", encoding="utf-8")
    assert "none of its 1 ids is a negative" in noise("report", table[1], "--gold", other).stderr
    other.write_text("id,label\ne1,born\ne1,born\n", encoding="utf-8")
    assert "'e1' occurs more than once" in noise("report", table[1], "--gold", other).stderr
