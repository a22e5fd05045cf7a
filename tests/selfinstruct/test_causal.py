"""The judge that is a causal language model, with tiny models that were never trained."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.candidates import Candidates
from kgneg.selfinstruct.causal import CausalJudge
from kgneg.selfinstruct.judge import Judge

PAIRS = Candidates.from_triples([("cat", "IsA", "pet"), ("a very old cat", "AtLocation", "house"), ("x", "IsA", "y")])
SHORT = {"yes": " yes", "no": " no", "wordings": ["{statement} Yes or no:", "True? {statement}"], "empty": ["", "N/A"]}


def _save(folder: Path, architecture: str, words: list[str]) -> Path:
    """Write a model with a tokenizer of letters and some whole words."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges: list[tuple[str, str]] = []
    vocabulary = ["<end>", *letters]
    for word in words:
        made = "Ġ"
        for letter in word:
            merges.append((made, letter))
            made += letter
            vocabulary.append(made)
    vocabulary = list(dict.fromkeys(vocabulary))
    merges = list(dict.fromkeys(merges))
    tokenizer = Tokenizer(models.BPE(vocab={one: place for place, one in enumerate(vocabulary)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>").save_pretrained(folder)  # noqa: S106
    size: dict[str, Any] = {"vocab_size": len(vocabulary), "initializer_range": 0.3}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: Any
        if architecture == "gpt2":
            config = GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=256, **size)
            model = GPT2LMHeadModel(config)
        else:
            shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
            model = LlamaForCausalLM(LlamaConfig(max_position_embeddings=256, **shape, **size))
        model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=["gpt2", "llama", "letters"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = [] if request.param == "letters" else ["yes", "no"]  # without words, answers have several tokens
    return _save(tmp_path_factory.mktemp(request.param), "llama" if request.param == "llama" else "gpt2", words)


@pytest.fixture
def prompt(tmp_path: Path) -> Path:
    path = tmp_path / "prompt.json"
    path.write_text(json.dumps(SHORT), encoding="utf-8")
    return path


def _odds(judge: CausalJudge, text: str) -> float:
    """Score by the plain definition: one text at a time, all of its logits."""
    tokenizer, network = judge.model.load()
    found = []
    for answer in (" yes", " no"):
        start, end = tokenizer.encode(text), tokenizer.encode(answer)
        with torch.inference_mode():
            shares = network(torch.tensor([[*start, *end]])).logits[0].log_softmax(-1)
        found.append(sum(float(shares[len(start) - 1 + place, token]) for place, token in enumerate(end)))
    return found[0] - found[1]


def test_it_is_what_the_formula_says(model: Path, prompt: Path) -> None:
    judge = CausalJudge(model, prompt=prompt, batch_size=2, margin=0.5)
    assert isinstance(judge, Judge)
    said = judge.judge(PAIRS)

    def score(statement: str) -> float:
        gained = []
        for wording in SHORT["wordings"]:
            prior = np.mean([_odds(judge, wording.replace("{statement}", one)) for one in SHORT["empty"]])
            gained.append(_odds(judge, wording.replace("{statement}", statement)) - prior)
        return float(np.mean(gained))

    for row in range(len(PAIRS)):
        whole = (score(judge.verbalizer.positive(PAIRS)[row]) - score(judge.verbalizer.negated(PAIRS)[row])) / 2
        assert said.probability[row] == pytest.approx(1 / (1 + np.exp(-whole)), abs=1e-4)
    assert len(set(np.round(said.probability, 3))) > 1


def test_rows_do_not_depend_on_their_batch(model: Path, prompt: Path) -> None:
    judge = CausalJudge(model, prompt=prompt, margin=0.5)
    whole = judge.judge(PAIRS).probability
    one_by_one = [judge.judge(PAIRS[[row]]).probability[0] for row in range(len(PAIRS))]
    np.testing.assert_allclose(whole, one_by_one, atol=1e-5)
    assert len(judge.judge(PAIRS[:0])) == 0


def test_what_the_model_says_in_any_case_is_taken_away(model: Path, prompt: Path) -> None:
    judge = CausalJudge(model, prompt=prompt, both=False)
    assert judge.scores(SHORT["empty"]).mean() == pytest.approx(0, abs=1e-6)


def test_fingerprint_and_pickle(model: Path, prompt: Path) -> None:
    judge = CausalJudge(model, prompt=prompt)
    judge.judge(PAIRS[:1])
    sent = pickle.dumps(judge)
    assert len(sent) < 200_000
    again = pickle.loads(sent)  # noqa: S301 - our own
    assert again.fingerprint() == judge.fingerprint() != CausalJudge(model, prompt=prompt, both=False).fingerprint()
    np.testing.assert_array_equal(again.judge(PAIRS).probability, judge.judge(PAIRS).probability)


def test_texts_that_are_too_long_keep_their_end(model: Path, prompt: Path) -> None:
    pairs = Candidates.from_triples([("cat " * 200, "IsA", "pet")])
    assert np.isfinite(CausalJudge(model, prompt=prompt, margin=0.5).judge(pairs).probability).all()


@pytest.mark.parametrize(
    "change", [{"yes": ""}, {"wordings": []}, {"wordings": ["no slot"]}, {"empty": "text"}, {"more": 1}, {"no": 3}]
)
def test_malformed_prompts(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "prompt.json"
    path.write_text(json.dumps(SHORT | change), encoding="utf-8")
    with pytest.raises(InvalidInputError, match=r"prompt\.json"):
        CausalJudge("unused", prompt=path)


def test_the_same_tokens_for_both_answers(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "prompt.json"
    path.write_text(json.dumps(SHORT | {"no": " yes"}), encoding="utf-8")
    with pytest.raises(InvalidInputError, match="two different"):
        CausalJudge(model, prompt=path).judge(PAIRS)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_prompts_that_come_with_the_package(language: str) -> None:
    from kgneg.selfinstruct.verbalizer import Verbalizer

    judge = CausalJudge("unused", verbalizer=Verbalizer.load(language=language))
    assert judge.prompt["yes"] == {"en": " yes", "zh": "是"}[language]


def test_what_affirms_or_denies_both_forms_contradicts_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = CausalJudge("unused")
    scores = {False: np.array([3.0, 3.0, -3.0, 0.1]), True: np.array([3.0, -3.0, -3.0, 0.1])}
    monkeypatch.setattr(judge, "scores", lambda statements, bar: scores["not" in statements[0]])
    found = judge.judge(Candidates(["a"] * 4, ["IsA"] * 4, ["b"] * 4))
    assert found.reasons == ("contradiction", "", "contradiction", "")
    assert np.isnan(found.probability).tolist() == [True, False, True, False]
