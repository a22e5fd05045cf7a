from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kgneg.core.errors import InvalidInputError
from kgneg.datasets import _files, read_labelled_triples, read_texts, read_triples, read_types

GOOD = "lion\teats\tzebra\nzebra\tfears\tlion\n"
ROWS = [["lion", "eats", "zebra"], ["zebra", "fears", "lion"]]

# what a label may be: anything that is not blank and does not end a field or a line
labels = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\t\r\n\0\ufeff"), min_size=1).filter(
    lambda label: bool(label.strip())
)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a file and return its path."""

    def inner(content: str | bytes, name: str = "table.tsv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return inner


@pytest.mark.parametrize(
    "content", [GOOD, GOOD.rstrip(), GOOD + "\n\r\n\n", GOOD.replace("\n", "\r\n"), "\ufeff" + GOOD]
)
def test_read_triples(write: Callable[..., Path], content: str) -> None:
    table = read_triples(write(content))
    assert table.dtype == object
    assert table.shape == (2, 3)
    assert table.tolist() == ROWS


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)])
def test_read_packed_triples(write: Callable[..., Path], suffix: str, pack: Callable[[bytes], bytes]) -> None:
    path = write(pack(GOOD.encode()), f"train.txt{suffix}")
    assert read_triples(path).tolist() == ROWS
    assert read_triples(str(path)).tolist() == ROWS


def test_labels_that_parsers_like_to_change(write: Callable[..., Path]) -> None:
    rows = [
        ["NA", "null", "nan"],
        ['"quoted', '"', 'un"quoted"'],
        ["007", "1e5", "True"],
        [" spaced ", "#comment", "a,b"],
        ["N/A", "\\", "\u2028x"],
        ["\x85x", "é", "e\u0301"],
    ]
    path = write("".join("\t".join(row) + "\n" for row in rows))
    assert read_triples(path).tolist() == rows


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(rows=st.lists(st.tuples(labels, labels, labels), min_size=1, max_size=8), suffix=st.sampled_from(["", ".gz"]))
def test_round_trip(tmp_path: Path, rows: list[tuple[str, str, str]], suffix: str) -> None:
    path = tmp_path / f"t.tsv{suffix}"
    data = "".join("\t".join(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if suffix else data)
    assert [tuple(row) for row in read_triples(path).tolist()] == rows


@settings(max_examples=150)
@given(
    body=st.text(st.sampled_from('ab\t\n\r\0 "'), min_size=1, max_size=24).map(lambda text: text.strip("\r\n") or "a")
)
def test_fast_parser_never_accepts_what_the_strict_one_refuses(body: str) -> None:
    path = Path("t.tsv")
    try:
        rows = [_files._fields(path, 0, line, 3) for line in _files._lines(path, body)]
    except InvalidInputError:
        assert _files._parse_fast(body, 3) is None
    else:
        fast = _files._parse_fast(body, 3)
        assert fast is None or fast.tolist() == rows


@pytest.mark.parametrize("body", ["a\tb\tc\td\te\nx", "x\na\tb\tc\td\te", "a\tb\tc\n\na\tb\tc\td\te", "\t\t\t\t\n"])
def test_lines_of_wrong_length_that_balance(body: str) -> None:
    assert _files._parse_fast(body, 3) is None


def test_only_one_byte_order_mark_is_removed(write: Callable[..., Path]) -> None:
    assert read_triples(write("\ufeff\ufeffa\tr\tb\n")).tolist() == [["\ufeffa", "r", "b"]]


def test_both_parsers_agree(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(GOOD)
    fast = read_triples(path)
    monkeypatch.setattr(_files, "_parse_fast", lambda body, num_columns: None)
    slow = read_triples(path)
    assert slow.dtype == fast.dtype == object
    assert slow.tolist() == fast.tolist() == ROWS


def test_fast_parser_is_used(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_files, "_fields", None)
    assert read_triples(write(GOOD)).tolist() == ROWS


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD + "a\tb\n" + GOOD, r"table.tsv, line 3: got 2 columns: 'a\\tb', expected 3 columns separated by tabs"),
        (GOOD + "a\tb\tc\td\n", "line 3: got 4 columns"),
        ("a b c\n" + GOOD, "line 1: got 1 column: 'a b c', expected 3 columns"),
        (GOOD + "a\tb\n" + "a\tb\tc\td\n", "line 3: got 2 columns"),  # as many tabs as there should be
        ("a\tb\tc\td\na\tb\n", "line 1: got 4 columns"),
        (GOOD + "a\t\tc\n", "line 3: got an empty field in column 2, expected 3 non-empty columns"),
        (GOOD + "a\tb\t \n", "line 3: got an empty field in column 3"),
        ("\tb\tc\n", "line 1: got an empty field in column 1"),
        (GOOD + "a\tb\tc\t\n", "line 3: got 4 columns"),
        ("\n" + GOOD, "line 1: got a blank line, expected blank lines at the end only"),
        (GOOD + "\n" + GOOD, "line 3: got a blank line"),
        (GOOD + "\r\n" + GOOD, "line 3: got a blank line"),
        (GOOD + "a\tb\rc\td\n", "line 3: got a lone carriage return"),
        (GOOD + "a\tb\tc\0\n", "line 3: got a null character"),
        ("", "line 1: got an empty file, expected at least one line"),
        ("\n\n", "line 1: got an empty file"),
        ("x" * 200, r"line 1: got 1 column: 'x{80}\.\.\.'"),
    ],
)
def test_malformed_lines_are_refused(write: Callable[..., Path], content: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        read_triples(write(content))


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_bad_utf8_is_refused(write: Callable[..., Path], start: bytes) -> None:
    path = write(start + GOOD.encode() + "Köln\tin\tD\n".encode("latin-1"))
    with pytest.raises(InvalidInputError, match=r"line 3: got the byte 0xf6, which is no UTF-8, expected UTF-8 text"):
        read_triples(path)


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)])
def test_truncated_file_is_refused(write: Callable[..., Path], suffix: str, pack: Callable[[bytes], bytes]) -> None:
    rows = np.random.default_rng(0).integers(0, 10**9, size=(20_000, 3))
    data = pack("".join("\t".join(map(str, row)) + "\n" for row in rows.tolist()).encode())
    with pytest.raises(
        InvalidInputError, match=rf"t.tsv{suffix}, line \d+: got a read error .*expected a complete file"
    ):
        read_triples(write(data[: len(data) // 2], f"t.tsv{suffix}"))


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
def test_wrong_suffix_is_refused(write: Callable[..., Path], suffix: str) -> None:
    with pytest.raises(InvalidInputError, match=r"line 1: got a read error"):
        read_triples(write(GOOD, f"t.tsv{suffix}"))


@pytest.mark.parametrize("suffix", [".tsv", ".tsv.gz", ".parquet"])
def test_missing_file_and_folder_are_refused(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(InvalidInputError, match=rf"missing{suffix}: no such file"):
        read_triples(tmp_path / f"missing{suffix}")
    folder = tmp_path / f"folder{suffix}"
    folder.mkdir()
    with pytest.raises(InvalidInputError, match=r"got a folder, expected a file"):
        read_triples(folder)


def test_read_parquet(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    pd.DataFrame(ROWS, columns=["head", "relation", "tail"])[["tail", "head", "relation"]].to_parquet(path)
    table = read_triples(path)
    assert table.dtype == object
    assert table.tolist() == ROWS


def test_malformed_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    pd.DataFrame({"head": ["a"], "rel": ["r"]}).to_parquet(path)
    with pytest.raises(InvalidInputError, match=r"\['relation', 'tail'\] are missing, .*got \['head', 'rel'\]"):
        read_triples(path)
    pd.DataFrame({"head": ["a", None], "relation": "r", "tail": "b"}).to_parquet(path)
    with pytest.raises(InvalidInputError, match=r"row 2: got .* as head, expected non-empty text"):
        read_triples(path)
    pd.DataFrame({"head": ["a"], "relation": "r", "tail": 3}).to_parquet(path)
    with pytest.raises(InvalidInputError, match=r"row 1: got 3 as tail"):
        read_triples(path)
    pd.DataFrame({"head": [], "relation": [], "tail": []}).to_parquet(path)
    with pytest.raises(InvalidInputError, match=r"without rows"):
        read_triples(path)
    path.write_bytes(b"no parquet")
    with pytest.raises(InvalidInputError, match=r"cannot be read as Parquet"):
        read_triples(path)


def test_read_labelled_triples(write: Callable[..., Path]) -> None:
    true, false = read_labelled_triples(write("a\tr\tb\t1\nb\tr\ta\t-1\nc\tr\ta\t1\n"))
    assert true.tolist() == [["a", "r", "b"], ["c", "r", "a"]]
    assert false.tolist() == [["b", "r", "a"]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\tr\tb\t1\na\tr\tb\t0\n", "line 2: got the label '0', expected 1 or -1 in the fourth column"),
        ("a\tr\tb\n", "line 1: got 3 columns.*expected 4 columns"),
    ],
)
def test_malformed_labels_are_refused(write: Callable[..., Path], content: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        read_labelled_triples(write(content))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            "id\tname\tdescription\nQ1\tlion\tbig cat\nQ2\tgrass\t\nQ3\t\tstriped\nQ4\t\t\n",
            {"Q1": "lion, big cat", "Q2": "grass", "Q3": "striped"},
        ),
        ("entity\ttext\nQ1\tbig cat\n", {"Q1": "big cat"}),
        ("id\textra\tdescription\tname\nQ1\tx\tbig cat\tlion\n", {"Q1": "lion, big cat"}),
        ("id\tname\n", {}),
        ("Q1\tlion\nQ2\tzebra\n", {"Q1": "lion", "Q2": "zebra"}),
        ("Q1\t lion \nQ2\t \n", {"Q1": "lion"}),
        ("entity\ta physical thing\nlion\tbig cat\n", {"entity": "a physical thing", "lion": "big cat"}),
        ("Q1\tlion\nQ1\tlion\nQ2\t\nQ2\tzebra\nQ2\t\n", {"Q1": "lion", "Q2": "zebra"}),
        ('Q1\tsaid "no\nNA\tnot "known"\n', {"Q1": 'said "no', "NA": 'not "known"'}),
    ],
)
def test_read_texts(write: Callable[..., Path], content: str, expected: dict[str, str]) -> None:
    assert read_texts(write(content)) == expected
    assert read_texts(write(gzip.compress(content.encode()), "t.tsv.gz")) == expected


def test_read_names_only(write: Callable[..., Path]) -> None:
    path = write("id\tname\tdescription\nQ1\tlion\tbig cat\nQ2\t\tstriped\n")
    assert read_texts(path, description=False) == {"Q1": "lion"}
    assert read_texts(write("id\tdescription\nQ1\tbig cat\n"), description=False) == {"Q1": "big cat"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Q1\tlion\nQ1\ttiger\n", "line 2: got a second text for 'Q1', expected the text of line 1 or none"),
        ("Q1\tlion\tcat\n", "line 1: got 3 columns .*expected two columns .*or a header"),
        ("id\tlabel\tother\n", r"line 1: got 3 columns \('id', 'label', 'other'\)"),
        ("id\n", "line 1: got 1 columns"),
        ("id\tname\nQ1\n", "line 2: got 1 columns, expected 2 columns"),
        ("id\tname\nQ1\ta\tb\n", "line 2: got 3 columns, expected 2 columns"),
        ("id\tname\n\ta\n", "line 2: got an empty label in column 1"),
        ("id\tname\n\nQ1\ta\n", "line 2: got a blank line"),
        ("", "empty file"),
    ],
)
def test_malformed_texts_are_refused(write: Callable[..., Path], content: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        read_texts(write(content))


@pytest.mark.parametrize("header", ["", "entity\ttype\n"])
def test_read_types(write: Callable[..., Path], header: str) -> None:
    assert read_types(write(header + "lion\tcat\nlion\tpredator\n")) == (("lion", "cat"), ("lion", "predator"))


def test_malformed_types_are_refused(write: Callable[..., Path]) -> None:
    with pytest.raises(InvalidInputError, match=r"line 2: got 1 column: 'zebra', expected 2 columns"):
        read_types(write("lion\tcat\nzebra\n"))
