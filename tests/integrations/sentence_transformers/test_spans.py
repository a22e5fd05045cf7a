from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from kgneg.core.cache import ArtefactCache
from kgneg.core.encode import LexicalEncoder, bundled_model, encode_texts
from kgneg.core.errors import InvalidInputError
from kgneg.datasets import RelationPairs
from kgneg.integrations.sentence_transformers import PARTS, SpanEncoder
from kgneg.integrations.sentence_transformers.tokens import TokenPooler

CURIE = ("Maria", "Skłodowska-Curie", "was", "born", "in", "Warsaw", "in", "1867", ".")
LONG = tuple(f"{word}{number}" for number in range(150) for word in ("river", "of"))
DIM = 384


def make(rows: list[tuple[int, tuple[int, int], tuple[int, int]]], *sentences: tuple[str, ...]) -> RelationPairs:
    number = len(rows)
    return RelationPairs(
        sentences=sentences,
        sentence=torch.tensor([row[0] for row in rows]),
        head=torch.tensor([row[1] for row in rows]),
        tail=torch.tensor([row[2] for row in rows]),
        head_type=("x",) * number,
        tail_type=("x",) * number,
        labels=("NA",) * number,
        all_labels=((),) * number,
        groups=("x",) * number,
        ids=tuple(map(str, range(number))),
        negative_label="NA",
    )


@pytest.fixture
def pairs() -> RelationPairs:
    rows = [(1, (0, 2), (5, 6)), (0, (0, 1), (1, 2)), (1, (7, 8), (0, 2)), (2, (0, 1), (2, 3)), (1, (5, 6), (0, 2))]
    return make(rows, ("Paris", "France"), CURIE, ("a", "b", "c"))


@pytest.fixture
def cache(tmp_path: Path) -> ArtefactCache:
    return ArtefactCache(tmp_path / "cache")


@pytest.fixture(scope="module")
def model() -> Any:
    folder = bundled_model()
    if folder is None:
        pytest.skip("needs the extra 'offline'")
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(folder, device="cpu")


def token_vectors(model: Any, text: str) -> torch.Tensor:
    """Vectors of the word pieces of a text, without those at its ends."""
    return model.encode([text], output_value="token_embeddings")[0][1:-1].cpu()


def pieces(model: Any, tokens: tuple[str, ...]) -> list[int]:
    """The number of word pieces of each word."""
    return [len(model.tokenizer(word, add_special_tokens=False)["input_ids"]) for word in tokens]


# Without a model


def test_parts_as_texts(pairs: RelationPairs, cache: ArtefactCache) -> None:
    encoder = LexicalEncoder(32)
    vectors = SpanEncoder(encoder).encode(pairs, cache=cache)
    assert vectors.shape == (5, 4 * 32)
    parts = [
        ("Maria Skłodowska-Curie", "Warsaw", "was born in", " ".join(CURIE)),
        ("Paris", "France", "", "Paris France"),
        ("1867", "Maria Skłodowska-Curie", "was born in Warsaw in", " ".join(CURIE)),
        ("a", "c", "b", "a b c"),
        ("Warsaw", "Maria Skłodowska-Curie", "was born in", " ".join(CURIE)),
    ]
    for row, texts in enumerate(parts):
        expected = [encode_texts([text], encoder, cache=cache)[0] for text in texts]
        assert torch.equal(vectors[row], torch.cat(expected))
    assert not vectors[1, 64:96].any()
    some = SpanEncoder(encoder, parts=("between", "head")).encode(pairs, cache=cache)
    assert torch.equal(some, torch.cat([vectors[:, 64:96], vectors[:, :32]], dim=1))


def test_an_encoder_of_texts_that_is_not_cached(pairs: RelationPairs, cache: ArtefactCache) -> None:
    class Lengths:
        def encode(self, sentences: list[str]) -> torch.Tensor:
            return torch.tensor([[float(len(text))] for text in sentences])

    assert SpanEncoder(Lengths()).encode(pairs, cache=cache)[3].tolist() == [1.0, 1.0, 1.0, 5.0]
    assert not cache.root.exists()


def test_rows_do_not_depend_on_each_other(pairs: RelationPairs, cache: ArtefactCache) -> None:
    encoder = SpanEncoder(LexicalEncoder(32))
    rows = [4, 1]
    assert torch.equal(encoder.encode(pairs.select(rows), cache=cache), encoder.encode(pairs, cache=cache)[rows])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parts": ()}, "parts: got"),
        ({"parts": "head"}, "parts: got 'head'"),
        ({"parts": ("head", "head")}, "each once"),
        ({"parts": ("head", "middle")}, "parts must be one of head, tail, between, sentence; got 'middle'"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"device": "cpu"}, "device: got 'cpu'"),
        ({"encoder": 3}, "an encoder needs a method"),
    ],
)
def test_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        SpanEncoder(**({"encoder": "lexical"} | options))


def test_nothing_to_encode(cache: ArtefactCache) -> None:
    pairs = make([(0, (0, 1), (1, 2))], ("Paris", "France"))
    with pytest.raises(InvalidInputError, match="no pair has a word in between"):
        SpanEncoder("lexical", parts=("between",)).encode(pairs, cache=cache)
    with pytest.raises(InvalidInputError, match="shard_size must be at least 1"):
        SpanEncoder("lexical").encode(pairs, cache=cache, shard_size=0)


def test_spans_outside_of_the_sentence(cache: ArtefactCache) -> None:
    class Loose:
        sentences = (("a", "b"),)
        sentence = torch.tensor([0])
        head = torch.tensor([[0, 1]])
        tail = torch.tensor([[1, 3]])

    with pytest.raises(InvalidInputError, match=r"tail: pair 0 has the span \[1, 3\] in a sentence of 2 tokens"):
        SpanEncoder("lexical").encode(Loose(), cache=cache)


def test_a_model_that_is_not_there(pairs: RelationPairs, cache: ArtefactCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InvalidInputError, match="'no/such-model' cannot be loaded"):
        SpanEncoder("no/such-model").encode(pairs, cache=cache)


# With a real model


def test_spans_are_means_of_their_word_pieces(pairs: RelationPairs, cache: ArtefactCache, model: Any) -> None:
    state = torch.get_rng_state()
    vectors = SpanEncoder("minilm", device="cpu").encode(pairs, cache=cache).reshape(len(pairs), 4, DIM)
    assert torch.equal(torch.get_rng_state(), state)
    for row in range(len(pairs)):
        tokens = pairs.sentences[int(pairs.sentence[row])]
        each = token_vectors(model, " ".join(tokens)).split(pieces(model, tokens))
        (head, head_end), (tail, tail_end) = pairs.head[row].tolist(), pairs.tail[row].tolist()
        inner = slice(min(head_end, tail_end), max(head, tail))
        for part, span in enumerate((slice(head, head_end), slice(tail, tail_end), inner, slice(None))):
            expected = torch.cat(each[span]).mean(dim=0) if each[span] else torch.zeros(DIM)
            torch.testing.assert_close(vectors[row, part], expected, atol=1e-5, rtol=0)
    assert len(pieces(model, CURIE)) < sum(pieces(model, CURIE))
    assert not vectors[1, 2].any()
    assert vectors[0, 0].equal(vectors[2, 1])


def test_batches_and_shards_change_nothing(pairs: RelationPairs, tmp_path: Path, model: Any) -> None:
    found = [
        SpanEncoder(model, batch_size=batch_size).encode(pairs, shard_size=shard_size, progress=False)
        for batch_size, shard_size in ((64, 512), (1, 512), (2, 1))
    ]
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], atol=1e-5, rtol=0)


def test_repeated_sentences_are_read_once(pairs: RelationPairs, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    pool = TokenPooler.pool

    def spy(self: TokenPooler, requests: Any) -> Any:
        asked.extend(requests)
        return pool(self, requests)

    monkeypatch.setattr(TokenPooler, "pool", spy)
    twice = replace(pairs, sentences=(*pairs.sentences, CURIE), sentence=torch.tensor([1, 0, 3, 2, 3]))
    encoder = SpanEncoder(model)
    vectors = encoder.encode(twice)
    assert sorted(tokens for tokens, _ in asked) == sorted(pairs.sentences)
    # head and tail of one pair are tail and head of another
    assert max(len(spans) for _, spans in asked) == 6
    assert torch.equal(vectors, encoder.encode(pairs))


def test_finished_shards_are_taken_up(
    pairs: RelationPairs, cache: ArtefactCache, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, asked = TokenPooler.pool, []

    def stop(self: TokenPooler, requests: Any) -> Any:
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append(requests)
        return pool(self, requests)

    def encode() -> torch.Tensor:
        return SpanEncoder("minilm", device="cpu").encode(pairs, cache=cache, shard_size=1, progress=False)

    monkeypatch.setattr(TokenPooler, "pool", stop)
    with pytest.raises(KeyboardInterrupt):
        encode()
    assert len(list(cache.root.rglob("*.safetensors"))) == 2
    asked.clear()
    vectors = encode()
    assert len(asked) == 1
    monkeypatch.setattr(TokenPooler, "__init__", lambda *_: pytest.fail("the model was loaded"))
    assert torch.equal(encode(), vectors)


def test_long_sentences_are_read_in_windows(cache: ArtefactCache, model: Any, caplog: pytest.LogCaptureFixture) -> None:
    spans = [(0, 1), (150, 152), (298, 300)]
    pairs = make([(0, spans[0], spans[2]), (0, spans[1], spans[2]), (1, (0, 1), (2, 3))], LONG, ("a", "b", "c"))
    counts = pieces(model, LONG)
    assert sum(counts) > 2 * 256
    encoder = SpanEncoder("minilm", device="cpu")
    vectors = encoder.encode(pairs, cache=cache).reshape(3, 4, DIM)
    assert "1 of 2 sentences are longer than the model reads at once" in caplog.text
    # ends are read in the first and the last window: the text itself, cut at the other end
    room = 256 - 2
    start = [sum(counts[:word]) for word in range(len(counts) + 1)]
    whole = token_vectors(model, " ".join(LONG))
    assert len(whole) == room
    torch.testing.assert_close(vectors[0, 0], whole[: start[1]].mean(dim=0), atol=1e-5, rtol=0)
    # each span has a vector of its own, even beyond the limit
    assert not torch.allclose(vectors[0, 1], vectors[0, 3], atol=1e-2)
    assert vectors.isfinite().all()
    caplog.clear()
    encoder.encode(pairs, cache=cache)
    assert "1 of 2 sentences" in caplog.text  # from the cache, too


@pytest.mark.parametrize("number", [1, 253, 254, 255, 381, 382, 508, 509, 700, 1000])
def test_windows_cover_every_piece_once(model: Any, number: int) -> None:
    pooler = TokenPooler(model, 8)
    windows = pooler.windows(100, list(range(number)))
    kept = [piece for window in windows for piece in window.ids[slice(*window.keep)]]
    assert kept == list(range(number))
    for window in windows:
        assert len(window.ids) <= 254
        assert window.ids[0] == window.start - 100
        # a piece has some of its neighbours on both sides, but at the ends of the text
        assert window.keep[0] >= 60 or window.ids[0] == 0
        assert len(window.ids) - window.keep[1] >= 60 or window.ids[-1] == number - 1


def test_spans_without_a_word_piece(model: Any, caplog: pytest.LogCaptureFixture) -> None:
    pairs = make([(0, (0, 1), (1, 2)), (1, (0, 1), (1, 2))], ("\u200b", "Paris", "is"), ("\u200b", "\u200b"))
    vectors = SpanEncoder(model).encode(pairs).reshape(2, 4, DIM)
    assert "spans have no word that the model knows" in caplog.text
    assert torch.equal(vectors[0, 0], vectors[0, 3])
    assert not torch.equal(vectors[0, 1], vectors[0, 3])
    assert not vectors[1].any()


def test_a_piece_that_is_a_space_belongs_to_the_next_word(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.Unigram([("<unk>", -9.0), ("▁", -1.0), ("a", -1.0), ("b", -1.0)], unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    pooler = TokenPooler(model, 8)
    monkeypatch.setattr(pooler, "tokenizer", PreTrainedTokenizerFast(tokenizer_object=tokenizer))
    assert pooler.split([("a", "b", "ab")]) == ([[2, 1, 3, 1, 2, 3]], [[0, 1, 3, 6]])


def test_a_model_without_vectors_of_words(pairs: RelationPairs, cache: ArtefactCache, model: Any) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import StaticEmbedding

    static = SentenceTransformer(modules=[StaticEmbedding(model.tokenizer.backend_tokenizer, embedding_dim=8)])
    assert not TokenPooler.fits(static)
    assert TokenPooler.fits(model)
    vectors = SpanEncoder(static).encode(pairs, cache=cache)
    expected = encode_texts(["Maria Skłodowska-Curie", "Warsaw"], static, cache=cache)
    torch.testing.assert_close(vectors[0, :16], expected.reshape(-1))


def test_sentences_without_any_piece(model: Any) -> None:
    pairs = make([(0, (0, 1), (1, 2))], ("\u200b", "\u200b"))
    assert SpanEncoder(model).encode(pairs).tolist() == [[0.0] * 4 * DIM]


def test_names_of_parts() -> None:
    assert PARTS == ("head", "tail", "between", "sentence")
    assert SpanEncoder("lexical").parts == PARTS
