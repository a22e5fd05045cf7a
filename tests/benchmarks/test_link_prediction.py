"""The link-prediction benchmark on a small graph: equal budgets, honest ranks, results that can be repeated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from link_prediction_hard import hard_negatives
from link_prediction_plan import ALL, MODELS, ROWS, Budget, choice_of, load, problems, tuning_data
from link_prediction_result import collect
from link_prediction_runs import Cell, at_edge
from link_prediction_scores import questions, reciprocal_ranks, train_all

BUDGET = Budget(trials=2, epochs=2, seeds=2, dim=8, checked=2_000, judged=50)
PLAN = [("distmult", "basic"), ("distmult", "typed"), ("distmult", "nscaching"), ("distmult", ALL)]


@pytest.fixture(scope="module")
def cells(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Any]:
    data, folder = load("nations", root), tmp_path_factory.mktemp("cells")
    return {
        "found": {pair: Cell(data, *pair, BUDGET, folder, root).run() for pair in PLAN},
        "folder": folder,
        "data": data,
    }


def result_of(cells: dict[str, Any], root: Path) -> dict[str, Any]:
    return collect(cells["data"], BUDGET, cells["found"], cells["folder"], root=root, resamples=200)


def test_all_rows_try_the_same_configurations(cells: dict[str, Any]) -> None:
    tried = {
        row: [one["params"] for one in cells["found"]["distmult", row]["tuning"]["trials"]]
        for row in ("basic", "typed", "nscaching")
    }
    assert len(tried["basic"]) == BUDGET.trials
    assert set(tried["basic"][0]) == {"lr", "log_adversarial_temperature"}
    assert tried["basic"] == tried["typed"] == tried["nscaching"]


def test_nothing_but_the_sampler_differs_between_rows(root: Path, tmp_path: Path) -> None:
    data = load("nations", root)
    configurations = []
    for row in ("basic", "nscaching"):
        space = Cell(data, "transe", row, BUDGET, tmp_path, root).settings().space
        own = space.samplers[0]
        assert not space.parts[own].ranges, "options of samplers are not tuned"
        assert space.parts[own].fixed["num_negs_per_pos"] == BUDGET.negatives
        configurations.append({name: part for name, part in space.parts.items() if name != own})
    assert configurations[0] == configurations[1]
    assert set(configurations[0]["nssa"].ranges) == {"margin", "adversarial_temperature"}
    assert configurations[0]["transe"].fixed["scoring_fct_norm"] == 1


def test_tuning_never_sees_a_test_triple(root: Path) -> None:
    data = load("nations", root)
    tuning = tuning_data(data, BUDGET)
    test = set(map(tuple, data.testing.mapped_triples.tolist()))
    assert tuning.validation.num_triples == 50
    assert not test & {tuple(row) for row in tuning.held_out.tolist()}


def test_what_is_finished_is_not_done_again(cells: dict[str, Any], root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cell, "train", None)
    monkeypatch.setattr(Cell, "train_all", None)
    for pair in PLAN:
        again = Cell(cells["data"], *pair, BUDGET, cells["folder"], root).run()
        assert again == cells["found"][pair]


def test_the_same_budget_in_another_folder_gives_the_same_bytes(
    cells: dict[str, Any], root: Path, tmp_path: Path
) -> None:
    some = [("distmult", "basic"), ("distmult", "nscaching")]
    again = {**cells, "folder": tmp_path, "found": {}}
    again["found"] = {pair: Cell(cells["data"], *pair, BUDGET, tmp_path, root).run() for pair in some}
    before = {**cells, "found": {pair: cells["found"][pair] for pair in some}}
    texts = [json.dumps(result_of(one, root), sort_keys=True) for one in (again, before)]
    assert texts[0] == texts[1]


def test_results_compare_rows_with_the_tuned_baseline(cells: dict[str, Any], root: Path) -> None:
    result = result_of(cells, root)
    one = result["models"]["distmult"]
    assert one["baseline"] == "basic"
    assert "against_baseline" not in one["rows"]["basic"]["mrr"]
    for row in ("typed", "nscaching", ALL):
        figures = one["rows"][row]
        assert len(figures["mrr"]["values"]) == BUDGET.seeds
        difference = figures["mrr"]["mean"] - one["rows"]["basic"]["mrr"]["mean"]
        assert figures["mrr"]["against_baseline"]["difference"] == pytest.approx(difference, abs=2e-6)
        assert 0 < figures["accuracy"]["against_baseline"]["p"] <= 1
        assert ("p_holm" in figures["mrr"]["against_baseline"]) == (row != ALL)
    assert one["rows"]["typed"]["negatives"]["known"] == 0
    assert one["rows"]["basic"]["negatives"]["known"] > 0
    assert "negatives" not in one["rows"][ALL]
    assert set(result["hardness"]) == {"basic", "typed"}  # nscaching looks at the model
    assert 0 < result["hardness"]["basic"] < 1
    text = json.dumps(result)
    assert str(root) not in text
    assert "seconds" not in text


@pytest.mark.parametrize("name", list(MODELS))
def test_ranks_are_those_of_pykeen(name: str, root: Path) -> None:
    from pykeen.evaluation import RankBasedEvaluator
    from pykeen.models import model_resolver

    data = load("nations", root)
    model = model_resolver.make(name, triples_factory=data.training, embedding_dim=8, random_seed=0)
    known = [data.training.mapped_triples, data.validation.mapped_triples]
    ranks = reciprocal_ranks(model, data.testing.mapped_triples, torch.cat(known), batch=64)
    theirs = RankBasedEvaluator().evaluate(
        model, data.testing.mapped_triples, additional_filter_triples=known, batch_size=64, use_tqdm=False
    )
    assert ranks.mean() == pytest.approx(theirs.get_metric("both.realistic.inverse_harmonic_mean_rank"))
    assert (ranks >= 0.1).mean() == pytest.approx(theirs.get_metric("both.realistic.hits_at_10"))
    assert ranks[:, 0].mean() == pytest.approx(theirs.get_metric("head.realistic.inverse_harmonic_mean_rank"))


def test_ties_get_the_rank_in_the_middle(root: Path) -> None:
    from pykeen.models import DistMult

    data = load("nations", root)
    model = DistMult(triples_factory=data.training, embedding_dim=4, random_seed=0)
    with torch.no_grad():
        for part in (model.entity_representations[0], model.relation_representations[0]):
            part._embeddings.weight.fill_(1.0)
    triple = data.testing.mapped_triples[:1]
    ranks = reciprocal_ranks(model, triple, triple)
    assert ranks.tolist() == [[1 / 7.5, 1 / 7.5]]  # 14 entities


def parts(offsets: torch.Tensor, answers: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.split(answers, offsets.diff().tolist()))


def test_questions_keep_every_answer() -> None:
    triples = torch.tensor([[0, 0, 1], [2, 0, 1], [0, 0, 3], [0, 1, 3]])
    pairs, offsets, answers = questions(triples, 2)
    found = {tuple(pair): part.tolist() for pair, part in zip(pairs.tolist(), parts(offsets, answers), strict=True)}
    assert found == {(0, 0): [1, 3], (0, 1): [3], (2, 0): [1]}
    pairs, offsets, answers = questions(triples, 0)
    found = {tuple(pair): part.tolist() for pair, part in zip(pairs.tolist(), parts(offsets, answers), strict=True)}
    assert found == {(1, 0): [0, 2], (3, 0): [0], (3, 1): [0]}


def test_training_against_all_entities_is_one_cross_entropy_per_triple(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One batch with all tail questions has the gradient of the mean loss over triples."""
    from pykeen.models import DistMult

    data = load("nations", root)
    triples = data.training.mapped_triples
    model = DistMult(triples_factory=data.training, embedding_dim=4, random_seed=0, regularizer=None)
    scores = model.score_t(triples[:, :2])
    torch.nn.functional.cross_entropy(scores, triples[:, 2]).backward()
    table = model.entity_representations[0]._embeddings.weight
    wanted = table.grad.clone()
    table.grad = None
    found: list[torch.Tensor] = []
    monkeypatch.setattr(torch.optim.Adam, "step", lambda *_, **__: found.append(table.grad.clone()))
    pairs = len(questions(triples, 2)[0])
    whole = iter([(1, torch.arange(pairs))])
    monkeypatch.setattr("link_prediction_scores.batches", lambda *_: whole)
    train_all(model, triples, {"lr": 0.1, "scale": 1.0, "batch_size": 10**6}, epochs=1, seed=0)
    sizes = [len(questions(triples, side)[0]) for side in (0, 2)]
    scale = sizes[1] * (len(triples) / (sum(sizes) / 2)) / len(triples)
    torch.testing.assert_close(found[0] * scale, wanted)


def test_hard_negatives_have_the_ids_of_the_graph(root: Path) -> None:
    data = load("nations", root)
    hard = hard_negatives(data, root)
    assert hard is not None
    known = set(map(tuple, torch.cat([data.training.mapped_triples, data.held_out]).tolist()))
    for part, factory in (("valid", data.validation), ("test", data.testing)):
        items = hard[part]
        assert np.array_equal(items.triples[items.truth], factory.mapped_triples.numpy())
        assert (~items.truth).sum() > 50
        assert not known & set(map(tuple, items.triples[~items.truth].tolist()))


def test_without_the_files_there_is_no_classification(tmp_path: Path) -> None:
    assert hard_negatives(load("nations", tmp_path), tmp_path) is None


def test_rows_that_cannot_be_run_are_named_at_the_start(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ROWS, "typo", "tpyed")
    monkeypatch.setitem(ROWS, "odd", "typed:sides=odd")
    found = problems(("basic", "typo", "odd", ALL), BUDGET, load("nations", root))
    assert list(found) == ["typo", "odd"]
    assert "typed" in found["typo"]
    assert "sides" in found["odd"] or "side policy" in found["odd"]


def test_rows_take_the_side_policy() -> None:
    assert choice_of("typed", Budget(sides="alternate")).options == {"sides": "alternate"}


def test_the_edge_of_a_logarithmic_range_is_logarithmic() -> None:
    ranges = {
        "lr": {"type": "float", "low": 0.001, "high": 0.1, "log": True},
        "margin": {"type": "float", "low": 0.0, "high": 10.0},
        "batch_size": {"type": "categorical", "choices": [1, 2]},
    }
    assert at_edge(ranges, {"lr": 0.0012, "margin": 9.4, "batch_size": 1}) == ["lr"]
    assert at_edge(ranges, {"lr": 0.01, "margin": 9.6, "batch_size": 1}) == ["margin"]
    assert at_edge(ranges, {"lr": 0.09, "margin": 0.2, "batch_size": 2}) == ["lr", "margin"]


@pytest.mark.slow
def test_the_command_resumes_and_repeats_itself(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from link_prediction import main

    def run(name: str) -> bytes:
        arguments = "--dataset nations --models transe --rows basic typed --trials 1 --epochs 1 --seeds 1 --dim 4"
        options = ["--checked", "1000", "--resamples", "50", "--data", str(root), "--out", str(tmp_path / name)]
        main([*arguments.split(), *options, "--jobs", "2"])
        return (tmp_path / name / "results.json").read_bytes()

    first = run("a")
    assert "| typed |" in capsys.readouterr().out
    assert run("a") == first == run("b")
    assert b"seconds" not in first
    assert "seconds" in (tmp_path / "a" / "timings.json").read_text()


def test_a_row_that_is_not_there_ends_the_command(root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from link_prediction import main

    monkeypatch.setitem(ROWS, "sans", "no-such-sampler")
    options = ["--dataset", "nations", "--rows", "basic", "sans", "--data", str(root), "--out", str(tmp_path)]
    with pytest.raises(SystemExit, match=r"sans: not there"):
        main(options)
    assert not (tmp_path / "nations").exists()
