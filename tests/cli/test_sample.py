from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from kgneg.cli import main
from kgneg.cli import sample as sample_module

COLUMNS = [
    "head", "relation", "tail", "positive_head", "positive_relation", "positive_tail", "side", "fallback",
]  # fmt: skip


def sample(*arguments: Any) -> Result:
    return CliRunner().invoke(main, ["sample", *map(str, arguments)])


def read(path: Path) -> pd.DataFrame:
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    frame = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    return frame.assign(fallback=frame["fallback"].map({"0": False, "1": True}))


def rows_of(path: Path) -> list[tuple[str, ...]]:
    return [tuple(line.split("\t")) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("suffix", [".tsv", ".parquet"])
def test_negatives_of_a_file(zoo: Path, tmp_path: Path, suffix: str) -> None:
    train, out = zoo / "train.tsv", tmp_path / f"negatives{suffix}"
    done = sample("--triples", train, "--sampler", "kgneg-uniform", "--negatives", 3, "--batch-size", 7, "--out", out)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{out}: 60 drawn, ")
    frame = read(out)
    assert list(frame.columns) == COLUMNS
    positives = rows_of(train)
    assert list(frame[COLUMNS[3:6]].itertuples(index=False, name=None)) == [row for row in positives for _ in range(3)]
    for row in frame.itertuples():
        assert (row.head, row.relation, row.tail) not in set(positives)
        assert (row.head == row.positive_head) == (row.side == "tail")
        assert (row.tail == row.positive_tail) == (row.side == "head")
    assert not frame["fallback"].any()


def test_formats_agree_and_seeds_decide(tmp_path: Path) -> None:
    frames = {}
    for name, seed in (("a.tsv", 0), ("a.parquet", 0), ("b.tsv", 1), ("c.tsv", 0)):
        arguments = (
            "--dataset",
            "nations",
            "--sampler",
            "lemon:encoder=lexical",
            "--seed",
            seed,
            "--out",
            tmp_path / name,
        )
        assert sample(*arguments).exit_code == 0
        frames[name] = read(tmp_path / name)
    assert len(frames["a.tsv"]) == 15920
    pd.testing.assert_frame_equal(frames["a.tsv"], frames["a.parquet"], check_dtype=False)
    assert (tmp_path / "a.tsv").read_bytes() == (tmp_path / "c.tsv").read_bytes()
    assert not frames["a.tsv"].equals(frames["b.tsv"])


def test_unfiltered(tmp_path: Path) -> None:
    known = {}
    for flag in ((), ("--unfiltered",)):
        out = tmp_path / "out.parquet"
        assert sample("--dataset", "nations", "--sampler", "typed", "--out", out, *flag).exit_code == 0
        frame = read(out)
        train = set(frame[COLUMNS[3:6]].itertuples(index=False, name=None))
        known[flag] = sum(row in train for row in frame[COLUMNS[:3]].itertuples(index=False, name=None))
    assert known[()] == 0
    assert known["--unfiltered",] > 1000


def test_positives_from_elsewhere(zoo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.tsv"
    done = sample("--dataset", zoo, "--triples", zoo / "test.tsv", "--sampler", "typed", "--negatives", 2, "--out", out)
    assert done.exit_code == 0
    train = set(rows_of(zoo / "train.tsv"))
    frame = read(out)
    assert len(frame) == 4
    assert not set(frame[COLUMNS[:3]].itertuples(index=False, name=None)) & train
    (tmp_path / "strange.tsv").write_text("animal_1\teats\tanimal_2\nanimal_1\tlikes\tanimal_2\n", encoding="utf-8")
    done = sample("--dataset", zoo, "--triples", tmp_path / "strange.tsv", "--sampler", "typed", "--out", out)
    assert done.exit_code == 1
    assert "strange.tsv, row 2: the relation 'likes' is not in the graph" in done.stderr


def test_negatives_can_be_given_again(zoo: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.parquet", tmp_path / "second.tsv"
    assert sample("--dataset", zoo, "--sampler", "kgneg-uniform", "--negatives", 30, "--out", first).exit_code == 0
    assert sample("--dataset", zoo, "--sampler", f"given:path={first}", "--out", second).exit_code == 0
    triples = [set(read(path)[COLUMNS[:3]].itertuples(index=False, name=None)) for path in (first, second)]
    drawn = read(second)
    assert set(drawn[~drawn["fallback"]][COLUMNS[:3]].itertuples(index=False, name=None)) <= triples[0]


def test_texts(zoo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.tsv"
    base = ("--triples", zoo / "train.tsv", "--sampler", "lemon", "--encoder", "lexical", "--out", out)
    assert sample(*base, "--texts", zoo / "entities.tsv").exit_code == 0
    lines = (zoo / "entities.tsv").read_text(encoding="utf-8").splitlines()
    (zoo / "entities.tsv").write_text("\n".join(lines[1:]) + "\n", encoding="utf-8")
    done = sample(*base, "--texts", zoo / "entities.tsv")
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    assert "1 of 12 entities have no text" in done.stderr
    assert sample(*base, "--texts", zoo / "entities.tsv", "--missing-text", "label").exit_code == 0


def test_a_failure_leaves_nothing(zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    out = tmp_path / "out" / "negatives.tsv"
    out.write_text("old", encoding="utf-8")

    class Breaks:
        def __init__(self, *_: Any) -> None:
            self.calls = 0

        def draw(self, batch: Any) -> Any:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("kgneg.compare.falsehood.make_sampler", Breaks)
    done = sample("--triples", zoo / "train.tsv", "--sampler", "typed", "--out", out)
    assert (done.exit_code, done.stderr) == (1, "Error: No space left on device\n")
    assert [path.name for path in out.parent.iterdir()] == ["negatives.tsv"]
    assert out.read_text(encoding="utf-8") == "old"


def test_labels_that_a_table_cannot_hold(tmp_path: Path) -> None:
    source = tmp_path / "in.parquet"
    rows = [(f"a\t{i}", "r", f"b{(i * 3) % 8}") for i in range(8)]
    pd.DataFrame(rows, columns=["head", "relation", "tail"]).to_parquet(source)
    done = sample("--triples", source, "--sampler", "typed", "--out", tmp_path / "out.tsv")
    assert done.exit_code == 1
    assert "cannot be written to a TSV file; let --out end in .parquet" in done.stderr
    assert sample("--triples", source, "--sampler", "typed", "--out", tmp_path / "out.parquet").exit_code == 0
    assert set(read(tmp_path / "out.parquet")["positive_head"]) == {row[0] for row in rows}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sampler", "typed", "--out", "a.tsv"), "give --triples or --dataset"),
        (("--dataset", "nations", "--sampler", "typed", "--out", "a.csv"), "--out must end in .tsv or .parquet"),
        (("--dataset", "nations", "--sampler", "tped", "--out", "a.tsv"), "unknown sampler 'tped'; known: typed"),
        (("--dataset", "nations", "--sampler", "basic", "--out", "a.tsv"), "unknown sampler of kgneg 'basic'"),
        (("--dataset", "nations", "--sampler", "typed:x=1", "--out", "a.tsv"), "unknown option of the sampler typed"),
        (("--dataset", "nations", "--sampler", "typed:seed=1", "--out", "a.tsv"), "set seed by --seed"),
        (("--dataset", "nations", "--sampler", "typed:filtered=false", "--out", "a.tsv"), "by --unfiltered"),
        (
            ("--dataset", "nations", "--sampler", "typed", "--texts", "x", "--out", "a.tsv"),
            "texts would have no effect",
        ),
        (("--dataset", "natins", "--sampler", "typed", "--out", "a.tsv"), "unknown dataset 'natins'; known: nations"),
    ],
)
def test_refusals(arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = sample(*arguments)
    assert done.exit_code == 2
    assert message in done.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_batches_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_module, "_NEGATIVES_AT_ONCE", 100)
    sizes: list[int] = []
    original = sample_module._tsv

    from contextlib import contextmanager

    @contextmanager
    def watched(path: Path) -> Any:
        with original(path) as write:
            yield lambda frame: (sizes.append(len(frame)), write(frame))

    monkeypatch.setattr(sample_module, "_tsv", watched)
    assert (
        sample("--dataset", "nations", "--sampler", "typed", "--negatives", 30, "--out", tmp_path / "a.tsv").exit_code
        == 0
    )
    assert max(sizes) == 90
    assert sum(sizes) == 30 * 1592
