"""The judge of natural language inference, with a tiny classifier that was never trained."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.candidates import Candidates
from kgneg.selfinstruct.judge import Judge
from kgneg.selfinstruct.nli import NLIJudge

PAIRS = Candidates.from_triples([("cat", "IsA", "pet"), ("a very old cat", "AtLocation", "house"), ("x", "IsA", "y")])


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    folder = tmp_path_factory.mktemp("nli")
    letters = "abcdefghijklmnopqrstuvwxyz."
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cat", "pet", "not", "is", "kind", "of", *letters]
    words += [f"##{letter}" for letter in letters]
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=48).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=48,
        num_labels=3,
        id2label={0: "CONTRADICTION", 1: "NEUTRAL", 2: "ENTAILMENT"},
        label2id={"CONTRADICTION": 0, "NEUTRAL": 1, "ENTAILMENT": 2},
        initializer_range=0.5,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def test_it_is_what_the_formula_says(classifier: Path) -> None:
    judge = NLIJudge(classifier, margin=0.5)
    said = judge.judge(PAIRS)
    assert isinstance(judge, Judge)
    tokenizer, model = judge.model.load()
    for row in range(len(PAIRS)):
        worth = []
        for form in (judge.verbalizer.positive, judge.verbalizer.negated):
            batch = tokenizer(f"{PAIRS.heads[row]}.", form(PAIRS)[row], return_tensors="pt", truncation=True)
            with torch.inference_mode():
                shares = model(**batch).logits.softmax(-1)[0]
            worth.append(float(1 + shares[2] - shares[0]) / 2)
        assert said.probability[row] == pytest.approx((worth[0] + 1 - worth[1]) / 2, abs=1e-5)
    assert len(set(np.round(said.probability, 4))) == 3


def test_rows_do_not_depend_on_their_batch(classifier: Path) -> None:
    judge = NLIJudge(classifier, wordings=2, margin=0.5)
    whole = judge.judge(PAIRS).probability
    one_by_one = [judge.judge(PAIRS[[row]]).probability[0] for row in range(len(PAIRS))]
    np.testing.assert_allclose(whole, one_by_one, atol=1e-6)
    assert len(judge.judge(PAIRS[:0])) == 0


def test_labels_can_be_named(classifier: Path) -> None:
    usual = NLIJudge(classifier, margin=0.5).judge(PAIRS).probability
    turned = NLIJudge(classifier, margin=0.5, labels={"entailment": 0, "contradiction": 2}).judge(PAIRS).probability
    np.testing.assert_allclose(usual + turned, 1, atol=1e-6)
    with pytest.raises(InvalidInputError, match="below 3"):
        NLIJudge(classifier, labels={"entailment": 0, "contradiction": 3}).judge(PAIRS)
    with pytest.raises(InvalidInputError, match="entailment"):
        NLIJudge(classifier, labels={"yes": 0})


def test_labels_that_say_nothing(classifier: Path) -> None:
    judge = NLIJudge(classifier)
    judge.model.load()[1].config.id2label = {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    with pytest.raises(InvalidInputError, match="labels="):
        judge.judge(PAIRS)


def test_fingerprint_and_pickle(classifier: Path) -> None:
    judge = NLIJudge(classifier)
    judge.judge(PAIRS[:1])
    sent = pickle.dumps(judge)
    assert len(sent) < 100_000  # no weights
    assert pickle.loads(sent).fingerprint() == judge.fingerprint()  # noqa: S301 - our own
    assert NLIJudge(classifier, premise="{tail}").fingerprint() != judge.fingerprint()
    assert judge.name == classifier.name


def test_no_such_model(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="cannot be loaded"):
        NLIJudge(tmp_path).judge(PAIRS)


def test_a_tokenizer_that_does_not_know_how_much_the_model_reads(classifier: Path) -> None:
    judge = NLIJudge(classifier, margin=0.5)
    judge.model.load()[0].model_max_length = 10**30
    long = Candidates.from_triples([("cat " * 100, "IsA", "pet")])
    assert 0 < judge.judge(long).probability[0] < 1


def test_what_affirms_or_denies_both_forms_contradicts_itself(
    classifier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = NLIJudge(classifier)
    worth = {"is a": np.array([0.95, 0.95, 0.05]), "is not a": np.array([0.95, 0.05, 0.05])}
    monkeypatch.setattr(judge, "_worth", lambda premises, said, bar: worth["is not a" if "not" in said[0] else "is a"])
    three = Candidates(["a"] * 3, ["IsA"] * 3, ["b"] * 3)
    found = judge.judge(three)
    assert found.reasons == ("contradiction", "", "contradiction")
    np.testing.assert_allclose(found.probability, [np.nan, 0.95, np.nan])
    judge.both = False
    assert judge.judge(three).reasons == ("", "", "")
    assert NLIJudge(classifier, margin=0.2).fingerprint() != NLIJudge(classifier).fingerprint()
