"""The recommendation benchmark on made-up data: equal budgets, what is finished is kept, honest tables."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import recsys_runs
import recsys_speed
import torch
from recsys_authors import AuthorsBUIR, adjacency, authors_epochs
from recsys_page import publish, tables, verdict, write_page
from recsys_peers import PEERS, Peer, cornac_data, matrix_of
from recsys_plan import BASELINES, EXTRA, METRIC, ROWS, SETS, Budget, draw_options, load, power_law, ranges_of
from recsys_result import collect
from recsys_runs import Cell, Cells, LimitedTrainer, judge_lists, make_model

import recsys
from kgneg.core.errors import InvalidInputError
from kgneg.recsys import Interactions
from kgneg.recsys.encoders import NeighborEncoder
from kgneg.recsys.models import build_recommender

BUDGET = Budget(trials=2, seeds=2, epochs=2, trial_epochs=1)
SOME = ("buir-nb", "lightgcn", "ease", "popularity")
DOCS = Path(__file__).resolve().parents[2] / "docs"


class Oracle(Peer):
    """A peer that lists the most popular items."""

    library = "torch"
    default: ClassVar[dict[str, Any]] = {"iterations": 5}
    ranges: ClassVar[dict[str, Any]] = {"iterations": {"type": "categorical", "choices": [3, 5]}}

    def fit(self, train: Interactions) -> None:
        self.counts = train.item_counts.double()

    def lists(self, users: np.ndarray, k: int, seen: Interactions) -> torch.Tensor:
        scores = self.counts.repeat(len(users), 1)
        rows, items = seen.of(torch.from_numpy(users))
        scores[rows, items] = -math.inf
        values, found = scores.topk(k)
        return found.masked_fill(values == -math.inf, -1)

    def own_evaluation(self, train: Interactions, test: Interactions) -> int:
        return 10


@pytest.fixture(scope="module")
def pairs() -> Interactions:
    return power_law(1_500, 60, 120)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, pairs: Interactions) -> Path:
    """A folder of shared data in which the toy set is made up, and nothing else."""
    root = tmp_path_factory.mktemp("shared")
    path = root / "recsys" / SETS["toy"].file
    path.parent.mkdir(parents=True)
    with gzip.open(path, "wt", encoding="utf-8") as handle:
        for user in range(pairs.num_users):
            items = pairs.items[pairs.users == user].tolist()
            handle.write(" ".join(map(str, [len(items), *items])) + "\n")
    return root


@pytest.fixture(scope="module")
def cells(pairs: Interactions, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("cells")
    return {"folder": folder, "found": {row: Cell("toy", pairs, 0.5, row, BUDGET, folder).run() for row in SOME}}


@pytest.fixture(scope="module")
def results(cells: dict[str, Any], pairs: Interactions) -> dict[str, Any]:
    facts = {"users": pairs.num_users, "items": pairs.num_items, "pairs": len(pairs)}
    part = {"set": "toy", "beta": 0.5, "machine": "x", "jobs": 1, "versions": {"torch": "2"}}
    return {"quality": {"toy 0.5": part | collect(cells["found"], facts, BUDGET)}}


# the plan


def test_every_row_is_a_model_or_a_peer_and_tuned_rows_have_ranges() -> None:
    for row in {**ROWS, **EXTRA}.values():
        if row.tuned:
            assert ranges_of(row.model)
        if not row.peer:
            build_recommender(row.model)
    assert set(BASELINES) < set(ROWS)


def test_trials_begin_with_the_default_and_repeat_themselves() -> None:
    drawn = draw_options("lightgcn", 4, 0)
    assert drawn[0] == {}
    assert drawn == draw_options("lightgcn", 4, 0)
    assert drawn[:2] == draw_options("lightgcn", 2, 0)
    assert drawn[1] != drawn[2] != draw_options("lightgcn", 4, 1)[2]
    for one in drawn[1:]:
        assert set(one) == set(ranges_of("lightgcn"))
        assert 1e-3 <= one["lr"] <= 3e-2
        assert isinstance(one["layers"], int)
        build_recommender("lightgcn", **one)


def test_made_up_pairs_are_distinct_and_skewed() -> None:
    made = power_law(20_000, 1_000, 500)
    assert (len(made), made.num_users, made.num_items) == (20_000, 1_000, 500)
    assert made.duplicates == 0
    counts = made.item_counts.sort(descending=True).values
    assert counts[:50].sum() > 1.5 * counts[-250:].sum()
    assert power_law(20_000, 1_000, 500).fingerprint() == made.fingerprint()


def test_a_set_is_read_and_a_missing_one_is_named(data: Path, pairs: Interactions) -> None:
    assert load("toy", data / "recsys").codes.tolist() != []
    assert len(load("toy", data / "recsys")) == len(pairs)
    there, skipped = recsys.available(["toy", "ciao"], data / "recsys")
    assert there["toy"]["pairs"] == len(pairs)
    assert "ciao" in skipped["ciao"]
    assert str(data) not in skipped["ciao"]


@pytest.mark.parametrize(
    ("name", "half", "tenth"),
    [
        ("toy", 10_350, 2_926),
        ("filmtrust", 18_422, 4_650),
        ("citeulike-t", 66_736, 17_144),
        ("ciao", 79_457, 21_933),
        ("ml-100k", 50_706, 10_910),
        ("citeulike-a", 106_852, 26_156),
    ],
)
def test_training_parts_have_the_published_sizes(name: str, half: int, tenth: int) -> None:
    from recsys_plan import data_root

    try:
        found = load(name, data_root())
    except FileNotFoundError as error:
        pytest.skip(f"{error}; set KGNEG_DATA to the folder that has recsys")
    assert [len(found.split("beta", beta=beta, seed=3).train) for beta in (0.5, 0.1)] == [half, tenth]


# cells


def test_rows_try_as_many_trials_and_have_as_many_seeds(cells: dict[str, Any]) -> None:
    for row, found in cells["found"].items():
        assert found["failure"] is None
        assert len(found["finals"]) == BUDGET.seeds
        if ROWS[row].tuned:
            assert [one["number"] for one in found["tuning"]["trials"]] == [0, 1]
            values = [one["value"] for one in found["tuning"]["trials"]]
            assert found["tuning"]["best"]["value"] == max(values)
        else:
            assert found["tuning"] is None


def test_final_figures_are_those_of_a_model_that_is_trained_by_hand(cells: dict[str, Any], pairs: Interactions) -> None:
    from kgneg.recsys.evaluation import evaluate

    split = pairs.split("beta", beta=0.5, seed=1)
    model = build_recommender("buir-nb", seed=1, epochs=2, device="cpu", metric=METRIC)
    model.fit(split.train, split.valid, progress=False)
    wanted = evaluate(model, split.test, hide=split.valid, ks=(20,), metrics=("recall", "ndcg"))
    found = cells["found"]["buir-nb"]["finals"][1]
    assert found["metrics"]["recall@20"] == pytest.approx(wanted.metrics["recall@20"])
    assert found["metrics"]["ndcg@20"] == pytest.approx(wanted.metrics["ndcg@20"])
    assert found["beyond"]["coverage@20"] == pytest.approx(wanted.beyond["coverage@20"])
    assert found["best_epoch"] == model.history.best_epoch
    assert found["valid"] == pytest.approx(model.history.best_value)


def test_what_is_finished_is_not_done_again(
    cells: dict[str, Any], pairs: Interactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recsys_runs, "run_model", None)
    for row in SOME:
        assert Cell("toy", pairs, 0.5, row, BUDGET, cells["folder"]).run() == cells["found"][row]
    more = Budget(**{**BUDGET.to_dict(), "seeds": 3})
    with pytest.raises(TypeError):  # the third seed is not there
        Cell("toy", pairs, 0.5, "popularity", more, cells["folder"]).run()


def test_another_default_is_another_training(
    cells: dict[str, Any], pairs: Interactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kgneg.recsys.buir import BUIR

    calls: list[Any] = []

    def note(name: str, options: Any, *_: Any, **__: Any) -> dict[str, Any]:
        calls.append(options)
        return {"failure": "InvalidInputError: stop"}

    monkeypatch.setattr(recsys_runs, "run_model", note)
    monkeypatch.setattr(BUIR, "training_default", {"patience": 3})
    found = Cell("toy", pairs, 0.5, "buir-nb", BUDGET, cells["folder"]).run()
    assert len(calls) == BUDGET.seeds
    assert found["failure"] == "seed 0: InvalidInputError: stop"


def test_failures_are_results_but_not_if_they_pass(tmp_path: Path) -> None:
    kept = Cells(tmp_path)
    answers = iter([{"failure": "ImportError: no implicit"}, {"failure": "InvalidInputError: bad"}, {"never": 1}])
    assert kept.get("a", {"x": 1}, lambda: next(answers))["failure"].startswith("ImportError")
    for _ in range(2):
        assert kept.get("a", {"x": 1}, lambda: next(answers)) == {"failure": "InvalidInputError: bad"}


def test_too_many_items_are_the_reason_why_a_row_is_skipped(
    pairs: Interactions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = [{"max_items": 10}, {"max_items": 10}]
    monkeypatch.setattr(recsys_runs, "draw_options", lambda *_: drawn)
    found = Cell("toy", pairs, 0.5, "ease", BUDGET, tmp_path).run()
    assert "max_items" in found["failure"]
    assert len(found["tuning"]["trials"]) == 1
    part = collect({"ease": found}, {"users": 1, "items": 1, "pairs": 1}, BUDGET)
    assert part["rows"]["ease"]["failure"] == found["failure"]
    assert "recall@20" not in part["rows"]["ease"]


def test_time_ends_a_training_with_its_best_epoch(pairs: Interactions) -> None:
    split = pairs.split("beta", beta=0.5, seed=0)
    model = make_model("buir-id", {"epochs": 50, "evaluate_every": 10}, seed=0)
    history = LimitedTrainer(model, split.train, split.valid, limit=1e-9).run()
    assert history.stopped == "time"
    assert len(history.epochs) == 1
    assert history.best_epoch == 1
    free = LimitedTrainer(make_model("buir-id", {"epochs": 3}, seed=0), split.train, split.valid)
    assert free.run().stopped == "epochs"
    assert len(free.cpu) == 3


def test_all_rows_select_alike_but_the_presets_of_the_paper() -> None:
    assert make_model("bpr", {}, seed=3, epochs=7).training_settings.metric == METRIC
    assert make_model("bpr", {}, seed=3, epochs=7).training_settings.epochs == 7
    assert make_model("buir-id:paper", {}, seed=3).training_settings.metric == "capped_precision@50"


# peers


def test_lists_of_a_peer_are_judged_like_those_of_a_model(
    pairs: Interactions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PEERS, "oracle", Oracle)
    monkeypatch.setitem(ROWS, "oracle", recsys_runs.ROWS["popularity"].__class__("oracle", tuned=True))
    budget = Budget(trials=1, seeds=1, epochs=4)
    found = Cell("toy", pairs, 0.5, "oracle", budget, tmp_path).run()
    ours = Cell("toy", pairs, 0.5, "popularity", budget, tmp_path).run()
    assert found["failure"] is None
    assert found["finals"][0]["epochs"] == 4  # no more than allowed
    # ties between items that are equally popular may be broken differently
    assert found["finals"][0]["metrics"]["recall@50"] == pytest.approx(
        ours["finals"][0]["metrics"]["recall@50"], abs=0.05
    )
    assert found["finals"][0]["evaluated_per_second"] > 0


def test_hidden_pairs_are_not_in_the_lists(pairs: Interactions) -> None:
    split = pairs.split("beta", beta=0.5, seed=0)
    peer = Oracle(0)
    peer.fit(split.train)
    seen = recsys_runs.together(split.train, split.valid)
    users = torch.arange(pairs.num_users)
    items = peer.lists(users.numpy(), 20, seen)
    assert not bool(seen.contains(users[:, None].expand_as(items), items).any())
    assert judge_lists(peer, split.train, split.test, split.valid)["counts"]["users"] > 0


@pytest.mark.parametrize("name", list(PEERS))
def test_peers_train_and_list(name: str, pairs: Interactions) -> None:
    pytest.importorskip(PEERS[name].library)
    split = pairs.split("beta", beta=0.5, seed=0)
    peer = PEERS[name](0, **{PEERS[name].epochs: 2})
    assert peer.seconds_of_fit(split.train) > 0
    users = torch.arange(30)
    items = peer.lists(users.numpy(), 50, split.train)
    assert items.shape == (30, 50)
    assert int(items.max()) < pairs.num_items
    known = split.train.contains(users[:, None].expand_as(items).reshape(-1), items.clamp(min=0).reshape(-1))
    assert not bool((known & (items.reshape(-1) >= 0)).any())
    assert peer.own_evaluation(split.train, split.test) > 0


def test_pairs_keep_their_numbers_for_peers(pairs: Interactions) -> None:
    matrix = matrix_of(pairs)
    assert matrix.shape == (pairs.num_users, pairs.num_items)
    assert matrix.indices.dtype == np.int32
    assert (matrix != pairs.to_scipy()).nnz == 0
    pytest.importorskip("cornac")
    theirs = cornac_data(pairs)
    assert (theirs.csr_matrix != matrix).nnz == 0


# results and pages


def test_rows_are_compared_with_lightgcn_and_the_best_neural_baseline(results: dict[str, Any]) -> None:
    part = results["quality"]["toy 0.5"]
    assert part["baseline"] == "lightgcn"  # the only one of them that was run
    rows = part["rows"]
    assert "against_baseline" not in rows["lightgcn"]
    for row in ("buir-nb", "ease", "popularity"):
        difference = rows[row][METRIC]["mean"] - rows["lightgcn"][METRIC]["mean"]
        assert rows[row]["against_lightgcn"]["difference"] == pytest.approx(difference, abs=2e-6)
        assert rows[row]["against_lightgcn"]["p"] <= rows[row]["against_lightgcn"]["p_holm"] <= 1
    json.dumps(results, allow_nan=False)


def test_the_page_has_a_line_for_each_row(results: dict[str, Any]) -> None:
    found = tables({**results, "skipped": {"ciao": "it is not there"}})
    lines = found["quality"].splitlines()
    for row in SOME:
        assert sum(line.startswith((f"| {row} |", f"| {row} (baseline) |")) for line in lines) == 1
    assert "Not measured: ciao (it is not there)." in lines
    assert "2 seeds are too few" in found["quality"]
    assert "| toy, beta 0.5 | buir-nb |" in found["peers"]
    assert "popularity" not in found["peers"]


def test_verdicts_need_a_small_p_value() -> None:
    assert verdict({"difference": 0.1, "p_holm": 0.2}) == "not told apart (+0.1000)"
    assert verdict({"difference": 0.1, "p_holm": 0.01}) == "above (+0.1000)"
    assert verdict({"difference": -0.1, "p_holm": 0.01}) == "below (-0.1000)"
    assert verdict({"difference": -0.1, "p_holm": None}) == "not told apart (-0.1000)"


def test_pages_are_written_between_marks(results: dict[str, Any], tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text((DOCS / "benchmarks.md").read_text(encoding="utf-8"), encoding="utf-8")
    measured = tmp_path / "results.json"
    measured.write_text(json.dumps(results), encoding="utf-8")
    publish(measured, tmp_path)
    first = page.read_text(encoding="utf-8")
    assert "#### toy, beta 0.5" in first
    assert json.loads((tmp_path / "results" / "recsys.json").read_text(encoding="utf-8")) == results
    publish(measured, tmp_path)
    assert page.read_text(encoding="utf-8") == first
    page.write_text("nothing", encoding="utf-8")
    with pytest.raises(SystemExit, match="lacks the marks"):
        write_page(page, results)


# speed


def test_the_restated_procedure_has_the_same_graph_and_a_falling_loss(pairs: Interactions) -> None:
    encoder = NeighborEncoder(pairs, dim=4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(adjacency(pairs).to_dense(), encoder.graph.view().to_sparse().to_dense())
    common: dict[str, Any] = {"dim": 16, "momentum": 0.9, "batch_size": 256, "lr": 0.01, "weight_decay": 0.0}
    for layers, drop in ((0, 0.0), (2, 0.2)):
        runs = authors_epochs(pairs, layers=layers, drop=drop, **common)
        losses = [next(runs)[1] for _ in range(15)]
        assert 3 < losses[0] < 5
        assert losses[-1] < losses[0] - 0.3


def test_the_restated_procedure_computes_the_same_loss_as_ours(pairs: Interactions) -> None:
    ours = build_recommender("buir-nb", dim=8, layers=2, device="cpu")
    ours.prepare(pairs, torch.Generator().manual_seed(0))
    theirs = AuthorsBUIR(pairs, dim=8, layers=2, drop=0.0, momentum=0.9)
    table = ours.pair.online.table.detach()
    with torch.no_grad():
        for side in (theirs.online, theirs.target):
            for part, values in zip((side.users, side.items), table.split([60, 120]), strict=True):
                part.copy_(values)
        theirs.predictor.weight.copy_(ours.predictor.weight)
        theirs.predictor.bias.copy_(ours.predictor.bias)
    batch = pairs.users[:64], pairs.items[:64]
    wanted = ours.loss(*batch, torch.Generator()).mean()
    torch.testing.assert_close(theirs(*batch), wanted)
    before = theirs.target.users.clone()
    with torch.no_grad():
        theirs.online.users.add_(1.0)
    theirs.follow()
    torch.testing.assert_close(theirs.target.users, before + 0.1)


def test_a_line_and_a_power_are_found() -> None:
    rows = [{"size": n, "seconds": 3e-6 * n, "peak_mb": 100 + n / 2**20} for n in (10**5, 10**6, 10**7)]
    found = recsys_speed.fit(rows)
    assert found["per_million"] == pytest.approx(3)
    assert found["exponent"] == pytest.approx(1)
    assert found["r2"] == pytest.approx(1)
    assert found["memory_per_pair"] == pytest.approx(1)
    quadratic = [{**one, "seconds": one["size"] ** 2 * 1e-12} for one in rows]
    assert recsys_speed.fit(quadratic)["exponent"] == pytest.approx(2)
    assert recsys_speed.fit(rows[:1])["per_million"] is None


def test_growth_times_some_steps_and_counts_all() -> None:
    found = recsys_speed.grow({"model": "buir-id", "size": 3_000, "batch": 100, "steps": 4})
    assert (found["timed"], found["of"]) == (4, 30)
    assert (found["users"], found["items"]) == (150, 100)
    assert found["seconds"] > 0
    assert found["peak_mb"] >= found["before_mb"] > 0


@pytest.mark.slow
def test_speed_parts_are_kept_and_shown(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    common = ["--out", str(tmp_path), "--data", str(data), "--epoch-set", "toy", "--rounds", "1", "--sets", "toy"]
    common += ["--sizes", "2000", "4000", "--steps", "2", "--seeds", "1", "--epochs", "2", "--momenta", "0", "1"]
    found = {}
    for part in ("epoch", "growth", "momentum", "collapse"):
        recsys_speed.main([part, *common])
        found[part] = json.loads((tmp_path / f"{part}.json").read_text(encoding="utf-8"))
    for name in ("race", "apart", "attempt"):
        monkeypatch.setattr(recsys_speed, name, None)
    for part, before in found.items():
        recsys_speed.main([part, *common])
        assert json.loads((tmp_path / f"{part}.json").read_text(encoding="utf-8")) == before
    shown = tables(found)
    assert [row["row"] for row in found["epoch"]["rows"]] == list(recsys_speed.EPOCHS)
    assert "| buir-nb, paper | 1,024 | 250 | 3 | up to 0.2 |" in shown["epoch"]
    assert "to the power of" in shown["growth"]
    assert "| toy | buir-nb |" in shown["momentum"]
    assert "| toy | buir-id | neither |" in shown["collapse"]


@pytest.mark.slow
def test_the_command_resumes(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = "--parts quality --sets toy ciao --rows buir-nb two-hop --betas 0.5 --trials 1 --seeds 1 --epochs 1"
    options = [*arguments.split(), "--data", str(data), "--out", str(tmp_path), "--jobs", "2"]
    recsys.main(options)
    assert "| two-hop |" in capsys.readouterr().out
    first = (tmp_path / "results.json").read_bytes()
    recsys.main(options)
    assert (tmp_path / "results.json").read_bytes() == first
    assert json.loads(first)["skipped"]["ciao"].startswith("the data folder")


def test_an_unknown_option_is_refused_before_anything_runs() -> None:
    with pytest.raises(InvalidInputError):
        make_model("buir-nb", {"nothing": 1}, seed=0)
