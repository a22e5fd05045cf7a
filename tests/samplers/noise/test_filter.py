from __future__ import annotations

import hashlib
import inspect
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from kgneg.core.errors import InvalidInputError
from kgneg.core.typing import FloatTensor
from kgneg.samplers.noise import NoiseFilter, NoiseReport


def planted(
    number: int = 1500, positives: int = 240, rate: float = 0.5, apart: float = 6.0, dim: int = 12, seed: int = 0
) -> tuple[FloatTensor, list[str], torch.Tensor]:
    """Two kinds of positives among noise, of which a share is labelled at random: vectors, labels, and the truth."""
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(number, dim, generator=generator)
    truth = torch.arange(number) < positives
    kind = torch.arange(number) % 2
    vectors[truth, kind[truth]] += apart
    labelled = truth & (torch.rand(number, generator=generator) < rate)
    return vectors, [f"kind {kind[row]}" if labelled[row] else "none" for row in range(number)], truth


def labelled(labels: list[str]) -> torch.Tensor:
    return torch.tensor([label != "none" for label in labels])


def fit(
    vectors: Any, labels: Any, *, k: int = 10, folds: int = 3, given: dict[str, Any] | None = None, **options: Any
) -> NoiseReport:
    return NoiseFilter(options.pop("negative_label", "none"), k=k, folds=folds, **options).fit(
        vectors, labels, **(given or {})
    )


@lru_cache
def fitted(rate: float, apart: float) -> tuple[NoiseReport, torch.Tensor]:
    vectors, labels, truth = planted(rate=rate, apart=apart)
    return fit(vectors, labels, reannotate=True), truth


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train the classifiers for fewer steps, where it does not matter how good they are."""
    monkeypatch.setattr("kgneg.samplers.noise.probe._STEPS", (10, 10))


quick = pytest.mark.usefixtures("_quick")


def assert_same(one: NoiseReport, other: NoiseReport) -> None:
    for name in ("score", "support", "action", "suggestion", "suggestion_conf", "evidence", "evidence_cosine", "weak"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    assert (one.expected_fn, one.threshold, one.labelling) == (other.expected_fn, other.threshold, other.labelling)


@pytest.mark.parametrize("rate", [0.25, 0.5, 0.8])
def test_hidden_positives_are_found_and_counted(rate: float, caplog: pytest.LogCaptureFixture) -> None:
    report, truth = fitted(rate, 6.0)
    really = int((truth & report.negative).sum())
    scores = report.evaluate(truth)
    assert "hardly rank" not in caplog.text
    assert scores.auc > 0.98 and scores.precision > 0.85 and scores.recall > 0.85
    assert really / 1.5 < report.expected_fn.value < 1.5 * really
    assert report.expected_fn.low < 1.2 * really and report.expected_fn.high > 0.8 * really
    assert report.expected_fn.value == pytest.approx(float(report.score[report.negative].sum()), rel=1e-4)
    assert report.mode == "intrinsic"
    found = report.flagged & truth
    right = report.suggestion == torch.arange(len(truth)) % 2 + 1
    assert right[found].double().mean() > 0.95
    relabelled = report.action == 2
    assert relabelled.sum() > 0.7 * really and truth[relabelled].double().mean() > 0.85


def test_overlapping_classes() -> None:
    """Better than chance by far, and not surer of anything than it may be."""
    report, truth = fitted(0.5, 2.0)
    scores, really = report.evaluate(truth), int((truth & report.negative).sum())
    assert scores.auc > 0.8
    assert scores.average_precision > 3 * really / int(report.negative.sum())
    assert report.expected_fn.low < really < report.expected_fn.high
    assert report.labelling.least < report.labelling.most


def test_nothing_is_hidden() -> None:
    vectors, labels, truth = planted(rate=1.0)
    report = fit(vectors, labels)
    assert torch.equal(report.negative, ~truth)
    assert report.expected_fn.value < 8
    assert report.flagged.sum() < 8


def test_numbers_are_in_range() -> None:
    for apart in (6.0, 2.0):
        report, _ = fitted(0.5, apart)
        for value in (report.score, report.support, report.suggestion_conf):
            assert ((value >= 0) & (value <= 1 + 1e-6)).all()
        assert (report.score[~report.negative] == 0).all()
        assert report.expected_fn.low <= report.expected_fn.value <= report.expected_fn.high
        assert report.evidence.shape == (1500, 10)
        assert not report.negative[report.evidence[report.evidence >= 0].long()].any()
        assert (report.evidence != torch.arange(1500)[:, None]).all()


def documents() -> tuple[FloatTensor, list[str], list[str]]:
    """Documents of eight almost equal rows; half of the documents are labelled, for no reason that others share."""
    generator = torch.Generator().manual_seed(0)
    middle = torch.randn(150, 16, generator=generator)
    vectors = middle.repeat_interleave(8, 0) + 0.01 * torch.randn(1200, 16, generator=generator)
    chosen = torch.rand(150, generator=generator) < 0.4
    labels = ["p" if chosen[row // 8] and row % 8 < 5 else "none" for row in range(1200)]
    return vectors, labels, [f"document {row // 8}" for row in range(1200)]


def test_documents_do_not_leak() -> None:
    """Rows of the same document would tell everything; those of others tell nothing."""
    vectors, labels, groups = documents()
    told = labelled(labels).numpy()
    alone = fit(vectors, labels)
    kept_apart = fit(vectors, labels, given={"groups": groups})
    assert roc_auc_score(told, alone.support) > 0.75
    assert 0.35 < roc_auc_score(told, kept_apart.support) < 0.62
    own = torch.arange(1200) // 8
    assert (own[kept_apart.evidence.long()] != own[:, None]).all()
    assert (own[alone.evidence.long()] == own[:, None]).any()


def test_types_tell() -> None:
    """Vectors say nothing; positives occur with one pair of types."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(1200, 8, generator=generator)
    head, tail = torch.randint(4, (2, 1200), generator=generator)
    truth = (head == 1) & (tail == 2)
    told = truth & (torch.rand(1200, generator=generator) < 0.6)
    labels = ["p" if one else "none" for one in told.tolist()]
    pair = [f"{a}-{b}" for a, b in zip(head.tolist(), tail.tolist(), strict=True)]
    report = fit(vectors, labels, given={"types": {"head": head, "tail": tail.numpy(), "pair": pair}})
    assert report.evaluate(truth).auc > 0.95
    really = int((truth & ~told).sum())
    assert really / 1.5 < report.expected_fn.value < 1.5 * really


@quick
def test_types_do_not_tell_the_own_label() -> None:
    """Each row has a type that only its own group has, and a label that nothing else tells."""
    vectors, _, _ = planted(900, apart=0.0)
    chosen = torch.rand(300, generator=torch.Generator().manual_seed(4)) < 0.3
    told = chosen.repeat_interleave(3)
    groups = torch.arange(900) // 3
    labels = ["p" if one else "none" for one in told.tolist()]
    report = fit(vectors, labels, given={"groups": groups, "types": {"own": groups, "row": torch.arange(900)}})
    assert 0.35 < roc_auc_score(told.numpy(), report.support) < 0.65


def biased() -> tuple[FloatTensor, list[str], torch.Tensor]:
    """Only the clear half of the positives has a chance of a label: there are more than labels tell."""
    vectors, _, truth = planted(1800, positives=400, apart=4.0)
    clear = (vectors[:, 0] + vectors[:, 1] > 4) & truth
    generator = torch.Generator().manual_seed(1)
    told = clear & (torch.rand(1800, generator=generator) < 0.8)
    return vectors, ["p" if one else "none" for one in told.tolist()], truth


def test_clean_rows_bring_the_number_closer() -> None:
    vectors, labels, truth = biased()
    mask = torch.rand(1800, generator=torch.Generator().manual_seed(2)) < 0.25
    clean = ["p" if one else "none" for one in truth.tolist()]
    plain = fit(vectors, labels)
    helped = fit(vectors, labels, given={"clean_mask": mask, "clean_labels": clean})
    told = labelled(labels)
    really = int((truth & ~told).sum())
    assert (plain.mode, helped.mode) == ("intrinsic", "extrinsic")
    assert abs(helped.expected_fn.value - really) < 0.5 * abs(plain.expected_fn.value - really)
    assert helped.expected_fn.value == pytest.approx(really, rel=0.2)
    assert helped.expected_fn.low <= really * 1.1 and helped.expected_fn.high >= really * 0.9
    known = mask & ~told
    assert torch.equal(helped.score[known], truth[known].float())
    assert (helped.score[told] == 0).all()
    rest = ~mask & ~told  # calibrated: of rows at about 0.8, about 0.8 are positive
    sure = rest & (helped.score > 0.6)
    assert float(helped.score[sure].mean()) == pytest.approx(float(truth[sure].double().mean()), abs=0.15)


@quick
def test_few_clean_rows(caplog: pytest.LogCaptureFixture) -> None:
    vectors, labels, truth = planted(300, positives=60)
    clean = ["p" if one else "none" for one in truth.tolist()]
    some = (truth & ~labelled(labels)).nonzero().squeeze(-1)[:9]
    mask = torch.zeros(300, dtype=torch.bool)
    mask[some] = True
    given = {"clean_mask": mask, "clean_labels": clean}
    assert fit(vectors, labels, given=given).mode == "intrinsic"
    assert "9 hidden positives only" in caplog.text
    assert_same(fit(vectors, labels, given=given), fit(vectors, labels, mode="intrinsic"))
    with pytest.raises(InvalidInputError, match="at least 10 hidden positives, got 9 in 9 clean rows"):
        fit(vectors, labels, mode="extrinsic", given=given)
    with pytest.raises(InvalidInputError, match="got 0 in 0 clean rows"):
        fit(vectors, labels, mode="extrinsic")


@quick
@pytest.mark.parametrize("prior", [0.002, 0.02, 0.4, 0.99])
def test_prior(prior: float) -> None:
    vectors, labels, _ = planted(400, positives=80)
    report, plain = fit(vectors, labels, prior=prior), fit(vectors, labels)
    total = prior * int(report.negative.sum())
    assert report.expected_fn == pytest.approx((total,) * 3)
    assert float(report.score[report.negative].double().sum()) == pytest.approx(total, rel=1e-3)
    assert (report.score[~report.negative] == 0).all()
    turn = plain.score[plain.negative].argsort()
    assert (report.score[report.negative][turn].diff() >= -1e-5).all()


@quick
def test_prior_beside_clean_rows() -> None:
    vectors, labels, truth = planted(400, positives=80)
    mask = torch.arange(400) % 2 == 0
    given = {"clean_mask": mask, "clean_labels": ["p" if one else "none" for one in truth.tolist()]}
    report = fit(vectors, labels, prior=0.2, given=given)
    known = mask & report.negative
    assert torch.equal(report.score[known], truth[known].float())
    assert float(report.score[report.negative].double().sum()) == pytest.approx(
        0.2 * int(report.negative.sum()), rel=1e-3
    )
    with pytest.raises(InvalidInputError, match="clean rows say that there are between"):
        fit(vectors, labels, prior=0.001, given=given)


def digest(seed: int = 0, index: str = "exact") -> str:
    vectors = torch.randn(300, 6, generator=torch.Generator().manual_seed(0))
    vectors[:60, 0] += 4
    labels, types = ["p"] * 40 + ["none"] * 260, ["a", "b", "c"] * 100
    report = NoiseFilter("none", k=5, folds=2, seed=seed, index=index).fit(vectors, labels, types=types)
    bits = [one.numpy().tobytes() for one in (report.score, report.support, report.evidence, report.action)]
    return hashlib.sha256(b"".join(bits) + repr(report.expected_fn).encode()).hexdigest()


@quick
def test_same_bits_again() -> None:
    here = digest()
    torch.rand(7)
    assert digest() == here
    assert digest(seed=1) != here


@pytest.mark.slow
def test_same_bits_in_another_process() -> None:
    head = "import hashlib, torch\nfrom kgneg.samplers.noise import NoiseFilter\n"
    script = f"{head}{inspect.getsource(digest)}print(digest())"
    environment = os.environ | {"PYTHONHASHSEED": "77", "OMP_NUM_THREADS": str(torch.get_num_threads())}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == digest()


@quick
def test_same_bits_with_clusters() -> None:
    assert digest(index="ivf") == digest(index="ivf")


@quick
def test_labels_of_any_kind() -> None:
    vectors, labels, _ = planted(200, positives=40)
    told = labelled(labels)
    plain = fit(vectors, ["p" if one else "none" for one in told.tolist()], k=5)
    for other, negative in (
        (told.tolist(), False),
        (told.long().tolist(), 0),
        (told.double().tolist(), 0.0),
        (told.long(), 0),
        (told.numpy(), False),
        (np.where(told, "yes", "no"), "no"),
        (pd.Series(np.where(told, "yes", "no"), index=range(200, 0, -1)), "no"),
    ):
        assert_same(fit(vectors, other, k=5, negative_label=negative), plain)


@quick
def test_vectors_of_any_kind() -> None:
    vectors, labels, _ = planted(200, positives=40)
    vectors = vectors.half().float()
    plain = fit(vectors, labels, k=5)
    before = vectors.clone()
    learnt = vectors.clone().requires_grad_()
    for other in (
        vectors.half(),
        vectors.double(),
        vectors.numpy(),
        vectors.tolist(),
        vectors.T.contiguous().T,
        learnt,
        pd.DataFrame(vectors.numpy()),
    ):
        assert_same(fit(other, labels, k=5), plain)
    assert torch.equal(vectors, before)
    for scale in (2.0**-100, 2.0**100):
        assert torch.allclose(fit(vectors * scale, labels, k=5).score, plain.score, atol=1e-3)


@quick
def test_ids_name_rows() -> None:
    vectors, labels, _ = planted(200, positives=40)
    report = fit(vectors, labels, k=5, given={"ids": [f"row {row}" for row in range(200)]})
    assert list(report.table()["id"]) == [f"row {row}" for row in range(200)]
    near = report.evidence[7].tolist()
    assert report.table()["evidence"][7] == [f"row {row}" for row in near]
    assert_same(report, fit(vectors, labels, k=5))


@quick
def test_number_of_evidence_changes_no_score() -> None:
    vectors, labels, _ = planted(200, positives=40)
    few, plain, many = (fit(vectors, labels, k=5, evidence=number) for number in (1, 10, 50))
    assert torch.equal(few.score, plain.score) and torch.equal(many.score, plain.score)
    assert few.evidence.shape == (200, 1) and many.evidence.shape == (200, 50)
    assert torch.equal(many.evidence[:, :10], plain.evidence)
    assert (many.evidence[:, 40:] == -1).all()


@quick
def test_clean_mask_alone() -> None:
    vectors, labels, _ = planted(200, positives=40)
    with pytest.raises(InvalidInputError, match="give clean_labels too"):
        fit(vectors, labels, given={"clean_mask": torch.ones(200, dtype=torch.bool)})


@quick
def test_floor_and_actions_reach_the_report() -> None:
    """A labelled row in the middle of the noise looks like a negative: it lends no label and is to be reviewed."""
    vectors, labels, _ = planted(300, positives=60, rate=0.7)
    for row in range(290, 300):
        labels[row] = "stray"
    report = fit(vectors, labels, k=5, flag=0.3, reannotate=True)
    stray = report.classes.index("stray")
    assert report.weak[290:].double().mean() > 0.6
    lenders = report.suggestion == stray
    assert lenders.sum() < 60
    assert (report.action[report.weak] == 3).all()
    assert not fit(vectors, labels, k=5, floor=0.0).weak.any()
    assert fit(vectors, labels, k=5, floor=1.0).weak.sum() == int((~report.negative).sum())
    assert (fit(vectors, labels, k=5, floor=1.0).suggestion == -1).all()
    assert report.policy.flag == 0.3 and report.threshold == 0.3


@quick
def test_nothing_global_is_touched() -> None:
    vectors, labels, _ = planted(200, positives=40)
    torch.manual_seed(3)
    np.random.seed(3)

    def state() -> list[Any]:
        matmul = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
        return [
            hashlib.sha256(torch.get_rng_state().numpy().tobytes()).hexdigest(),
            hashlib.sha256(np.random.get_state()[1].tobytes()).hexdigest(),
            torch.get_num_threads(),
            torch.backends.cuda.matmul.fp32_precision,
            matmul.fp32_precision,
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
            torch.are_deterministic_algorithms_enabled(),
            {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"},
        ]

    before = state()
    fit(vectors, labels, k=5, index="ivf", given={"types": labels[::-1]})
    assert state() == before


@quick
@pytest.mark.parametrize(
    "vectors", [torch.ones(200, 4), torch.zeros(200, 300), torch.ones(200, 1)], ids=["short", "long", "one column"]
)
def test_vectors_that_say_nothing(vectors: FloatTensor, caplog: pytest.LogCaptureFixture) -> None:
    report = fit(vectors, ["p"] * 30 + ["none"] * 170, k=5)
    assert "labelled rows hardly rank above the others" in caplog.text
    assert report.score.isfinite().all() and report.support.isfinite().all()
    assert report.expected_fn.low < 20 and report.expected_fn.high > 40  # nothing is known, and that is said
    assert not report.flagged.any()


@quick
@pytest.mark.parametrize("share", [0.5, 0.95])
def test_many_positives(share: float) -> None:
    vectors, _, truth = planted(200, positives=int(200 * share))
    report = fit(vectors, ["p" if one else "none" for one in truth.tolist()], k=100)
    assert 0 <= report.expected_fn.value <= int((~truth).sum())


@quick
def test_one_column() -> None:
    vectors, labels, truth = planted(400, positives=80, dim=2)
    report = fit(vectors.sum(-1, keepdim=True), labels)
    assert report.evaluate(truth).auc > 0.9


@quick
def test_giant_document_and_many_categories() -> None:
    vectors, labels, _ = planted(400, positives=80)
    groups = [0 if 6 <= row < 394 else row for row in range(400)]
    report = fit(vectors, labels, k=5, given={"groups": groups, "types": [f"type {row}" for row in range(400)]})
    assert report.score.isfinite().all()
    assert ((report.evidence[10] < 6) | (report.evidence[10] >= 394)).all()


@quick
@pytest.mark.parametrize("number", [4, 5, 9])
def test_few_rows(number: int) -> None:
    vectors, _, _ = planted(number, positives=2)
    report = fit(vectors, ["p", "p", *["none"] * (number - 2)], k=1)
    assert len(report) == number and report.score.isfinite().all()


@pytest.mark.parametrize(
    ("labels", "options", "given", "message"),
    [
        ("pppnnnnnnn", {"k": 4}, {}, "there are 3 rows with another label than 'n', but k=4"),
        ("pppnnnnnnn", {"k": 10**9}, {}, "choose a smaller k"),
        ("nnnnnnnnnn", {}, {}, "all 10 rows have the label 'n'"),
        ("pppppppppp", {}, {}, "no row has the label 'n'"),
        ("pppnnnnnnn", {"negative_label": "none"}, {}, "no row has the label 'none'; there are 2 labels: 'n', 'p'"),
        ("pppnnnnnnn", {}, {"ids": list("abcdefbhij")}, "'b' is the id of rows 1 and 6"),
        ("pppnnnnnnn", {}, {"groups": [0, 0, 0, 1, 2, 3, 4, 5, 6, 7]}, r"positives are of 1 group\(s\)"),
        ("pppnnnnnnn", {}, {"groups": [0] * 10}, r"positives are of 1 group\(s\)"),
        ("pnnnnnnnnn", {}, {}, r"positives are of 1 group\(s\)"),
        ("pppnnnnnnn", {}, {"groups": [0, 1, 2, 3, 3, 3, 3, 3, 3, 3]}, "negatives are of too few groups"),
        ("pppppppppn", {}, {}, "negatives are of too few groups"),
        ("pppnnnnnnn", {}, {"groups": range(9)}, "10 vectors but 9 groups"),
        ("pppnnnnnnn", {}, {"types": {"kind": "ab" * 5}}, "kind must hold one value per row, got str"),
        ("pppnnnnnnn", {}, {"clean_labels": ["p"] * 11}, "10 vectors but 11 clean_labels"),
    ],
)
def test_refused_rows(labels: str, options: dict[str, Any], given: dict[str, Any], message: str) -> None:
    vectors = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
    with pytest.raises(InvalidInputError, match=message):
        fit(vectors, list(labels), given=given, **{"k": 1, "negative_label": "n", **options})


def test_rows_that_are_not_finite_are_named() -> None:
    vectors, labels, _ = planted(200, positives=40)
    vectors[[17, 90], 3] = float("nan")
    with pytest.raises(InvalidInputError, match=r"2 of 200 vectors .* the first in row 17"):
        fit(vectors, labels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k must be at least 1"),
        ({"mode": "magic"}, "mode must be one of"),
        ({"prior": 0.0}, "prior must be above 0 and below 1"),
        ({"prior": 1}, "prior must be above 0 and below 1"),
        ({"prior": 1.5}, "prior must be between"),
        ({"flag": "f2"}, "flag must be 'f1' or a probability"),
        ({"flag": None}, "flag must be between 0 and 1"),
        ({"eliminate": 2}, "eliminate must be between"),
        ({"floor": -1}, "floor must be between"),
        ({"evidence": 0}, "evidence must be at least 1"),
        ({"folds": 1}, "folds must be at least 2"),
        ({"index": "faiss"}, "index must be one of"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"device": "gpu"}, "got 'gpu'"),
        ({"device": 1.5}, "got 1.5"),
    ],
)
def test_refused_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        NoiseFilter("none", **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA")
@pytest.mark.parametrize("device", ["cuda", "cuda:1", torch.device("cuda")])
def test_there_is_no_cuda(device: Any) -> None:
    with pytest.raises(InvalidInputError, match="is not there: torch sees 0 CUDA devices"):
        NoiseFilter("none", device=device)


@pytest.fixture(autouse=True, scope="module")
def _forget() -> Iterator[None]:
    yield
    fitted.cache_clear()


def test_labels_at_random(caplog: pytest.LogCaptureFixture) -> None:
    """Vectors that know nothing of the labels do not turn all negatives into positives."""
    generator = torch.Generator().manual_seed(4)
    vectors = torch.randn(1500, 16, generator=generator)
    labels = ["p" if draw < 0.1 else "none" for draw in torch.rand(1500, generator=generator).tolist()]
    report = fit(vectors, labels)
    assert "no row is judged" in caplog.text
    assert not report.flagged.any()
    assert report.expected_fn == (0, 0, labels.count("none"))


def test_wrong_positives_of_clean_rows() -> None:
    vectors, labels, truth = planted(rate=0.6)
    labels[900] = "kind 0"  # a slip, and somebody noticed
    clean = [("kind 0" if truth[row] else "none") if row % 4 == 0 else None for row in range(len(labels))]
    for reannotate, corrected in ((False, None), (True, "none")):
        report = fit(vectors, labels, given={"clean_labels": clean}, reannotate=reannotate)
        assert report.mode == "extrinsic"
        assert report.corrected()[900] == corrected
        assert not report.flagged[900]  # flags are about negatives
        assert report.summary()["flagged"] == int((report.flagged & report.negative).sum())
