from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.recsys import BUIR, MODELS, Interactions, Recommender, build_recommender
from kgneg.recsys.models import find_model
from kgneg.recsys.synthetic import synthetic_interactions
from kgneg.recsys.trained import TrainedRecommender

SHORT = {"epochs": 2, "device": "cpu", "dim": 8}


def labelled() -> Interactions:
    pairs = synthetic_interactions(users=25, items=16)
    return Interactions(
        pairs.users,
        pairs.items,
        num_users=25,
        num_items=16,
        user_labels=[f"user {n}" for n in range(25)],
        item_labels=[f"item {n}" for n in range(16)],
    )


def fitted(name: str) -> Recommender:
    model = build_recommender(name)
    if isinstance(model, TrainedRecommender):
        return build_recommender(name, **SHORT).fit(labelled(), progress=False)  # type: ignore[call-arg]
    return model.fit(labelled())


@pytest.mark.parametrize("name", MODELS)
class TestEveryModel:
    def test_it_recommends_by_label_without_what_was_seen(self, name: str) -> None:
        model = fitted(name)
        found = model.recommend(["user 3", "user 0"], 5)
        assert found.users.tolist() == [3, 0]
        seen = model.seen.items[model.seen.users == 3].tolist()
        assert not set(found.items[0].tolist()) & set(seen)
        for row in found.scores.tolist():
            assert row == sorted(row, reverse=True)
        frame = found.to_frame()
        assert frame["user"].tolist()[:5] == ["user 3"] * 5
        assert frame["rank"].tolist() == [1, 2, 3, 4, 5] * 2
        assert all(label.startswith("item ") for label in frame["item"])

    def test_lists_are_the_order_of_the_scores(self, name: str) -> None:
        model = fitted(name)
        scores = model.scores(torch.arange(25))
        assert scores.shape == (25, 16)
        found = model.recommend(None, 16, exclude_seen=False)
        torch.testing.assert_close(scores.gather(1, found.items), found.scores)
        assert sorted(found.items[7].tolist()) == list(range(16))

    def test_saved_and_loaded_it_is_the_same(self, name: str, tmp_path: Path) -> None:
        model = fitted(name)
        model.save(tmp_path / "model")
        again = Recommender.load(tmp_path / "model")
        assert type(again) is type(model)
        assert again.options == model.options
        assert again.seen.fingerprint() == model.seen.fingerprint()
        assert torch.equal(again.scores(torch.arange(25)), model.scores(torch.arange(25)))
        if isinstance(model, TrainedRecommender) and isinstance(again, TrainedRecommender):
            assert model.history is not None
            assert again.history is not None
            assert again.history.to_dict() == model.history.to_dict()
            assert again.training_settings == model.training_settings

    def test_new_users_and_similar_items(self, name: str) -> None:
        model = fitted(name)
        found = model.fold_in([["item 1", "item 5"], ["item 2"]], 4)
        assert found.items.shape == (2, 4)
        assert not {1, 5} & set(found.items[0].tolist())
        assert model.fold_in([[2]], 16, exclude_seen=False).scores.isfinite().all()
        similar = model.similar_items(["item 4"], 6)
        assert 4 not in similar.items[0].tolist()
        assert similar.to_frame()["user"].tolist() == ["item 4"] * 6

    def test_a_new_user_does_not_depend_on_the_others(self, name: str) -> None:
        model = fitted(name)
        alone = model.fold_in([[1, 5]], 8).items[0]
        among = model.fold_in([[3], [1, 5], [2, 7, 9]], 8)
        assert among.items[1].tolist() == alone.tolist()

    def test_unknown_users_items_and_lengths_are_refused(self, name: str) -> None:
        model = fitted(name)
        with pytest.raises(InvalidInputError, match="the user 'nobody' is not known"):
            model.recommend(["nobody"], 2)
        with pytest.raises(InvalidInputError, match=r"user id 25 is out of range: ids must be in \[0, 25\)"):
            model.recommend([25], 2)
        with pytest.raises(InvalidInputError, match="k must be at most the number of items, 16; got 17"):
            model.recommend([0], 17)
        with pytest.raises(InvalidInputError, match="the new user 1 has no items"):
            model.fold_in([[0], []], 2)
        with pytest.raises(InvalidInputError, match="the item 'thing' is not known"):
            model.similar_items(["thing"], 2)

    def test_what_is_neither_an_id_nor_a_label_is_refused(self, name: str) -> None:
        model = fitted(name)
        for wrong in ([1.9], [True], [None], ["user 1", 3]):
            with pytest.raises(InvalidInputError, match="users are given by ids, which are integers"):
                model.recommend(wrong, 2)  # type: ignore[arg-type]
        with pytest.raises(InvalidInputError, match=r"must be integers, got a tensor of torch\.float32"):
            model.recommend(torch.tensor([1.9]), 2)
        assert model.recommend(3, 2).users.tolist() == [3]  # type: ignore[arg-type]
        assert model.recommend("user 3", 2).users.tolist() == [3]

    def test_interactions_with_other_labels_are_refused(self, name: str) -> None:
        model = fitted(name)
        pairs = labelled()
        other = Interactions(
            pairs.users,
            pairs.items,
            num_users=25,
            num_items=16,
            user_labels=pairs.user_labels,
            item_labels=[f"thing {n}" for n in range(16)],
        )
        with pytest.raises(InvalidInputError, match="the items of the histories have other labels"):
            model.fold_in(other, 2)
        with pytest.raises(InvalidInputError, match="the items of hide have other labels"):
            model.recommend([0], 2, hide=other)
        with pytest.raises(InvalidInputError, match="hide has a table of 3 users, training one of 25"):
            model.recommend([0], 2, hide=synthetic_interactions(users=3, items=16))

    def test_ranges_are_of_options_that_exist(self, name: str) -> None:
        entry = MODELS[name]

        def objective(trial: optuna.Trial) -> float:
            from pykeen.hpo.hpo import suggest_kwargs

            options = suggest_kwargs(trial, name, kwargs_ranges=entry.hpo_default())
            model = build_recommender(name, **options)
            for key, value in options.items():
                own = model.options.get(key, getattr(getattr(model, "training_settings", None), key, None))
                assert own == value
            return 0.0

        optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).optimize(objective, n_trials=4)

    def test_it_has_a_source_and_a_description(self, name: str) -> None:
        kind = MODELS[name].kind
        assert kind.citation or name == "popularity"
        assert kind.__doc__


def test_the_preset_of_the_paper_is_that_of_the_authors() -> None:
    """d 250, Adam 1e-3 with coupled L2 1e-4, momentum .995, 1,024 pairs, a counter that never resets, P@50."""
    for name in ("buir-id", "buir-nb"):
        model = build_recommender(f"{name}:paper")
        assert isinstance(model, BUIR)
        own, training = model.options, model.training_settings
        assert (own["dim"], own["momentum"], own["decay"], own["answer"]) == (250, 0.995, 0.0, "online")
        assert (training.lr, training.weight_decay, training.batch_size) == (1e-3, 1e-4, 1024)
        assert (training.epochs, training.evaluate_every, training.patience) == (1000, 10, 10)
        assert (training.metric, training.patience_resets) == ("capped_precision@50", False)
    assert build_recommender("buir-id:paper").options["bias"] == "normal"
    assert build_recommender("buir-id:paper").options["start"] == "xavier_normal"
    graph = build_recommender("buir-nb:paper").options
    assert (graph["layers"], graph["drop"], graph["start"], graph["bias"]) == (3, 0.2, "xavier_uniform", "uniform")


def test_the_default_repairs_the_preset() -> None:
    for name in ("buir-id", "buir-nb"):
        model = build_recommender(name)
        assert isinstance(model, BUIR)
        assert model.options["bias"] == "zero"
        assert model.options["decay"] > 0
        assert model.training_settings.weight_decay == 0
        assert model.training_settings.patience_resets
        assert model.training_settings.metric == "recall@20"
        assert model.training_settings.pairs_per_step(100_000) > 1024
        assert model.options["answer"] == "target"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("buirnb", {}, "unknown model 'buirnb', expected one of buir-nb, .* did you mean 'buir-nb'"),
        ("ease:paper", {}, "ease has no preset 'paper', only default"),
        ("buir-nb", {"encoder": "id"}, "buir-nb means encoder='neighbor', which cannot be 'id'"),
        ("ease", {"epochs": 1}, "ease has no option 'epochs'; it has l2, max_items"),
        ("lightgcn", {"momentum": 0.9}, "LightGCN has no option 'momentum'"),
    ],
)
def test_unknown_names_and_options_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        build_recommender(name, **options)


def test_a_user_without_items_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    pairs = Interactions(torch.tensor([0, 2]), torch.tensor([0, 1]), num_users=3, num_items=4)
    build_recommender("two-hop").fit(pairs).recommend(None, 2)
    assert "1 of 3 users have no item in training" in caplog.text
    assert "for example that of 1" in caplog.text


def test_the_softmax_is_searched_by_its_temperature() -> None:
    ranges = MODELS["lightgcn-softmax"].hpo_default()
    assert "temperature" in ranges
    assert "l2" not in ranges


def test_options_win_over_a_preset() -> None:
    entry, implied = find_model("BUIR-NB:paper")
    assert (entry.kind, implied["dim"]) == (BUIR, 250)
    assert build_recommender("buir-nb:paper", dim=32).options["dim"] == 32


def test_folders_without_a_whole_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"there is no model in .*: expected model\.json"):
        Recommender.load(tmp_path)
    fitted("popularity").save(tmp_path)
    facts = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps({**facts, "format": 99}))
    with pytest.raises(InvalidInputError, match="has format 99"):
        Recommender.load(tmp_path)
    (tmp_path / "model.json").write_text("{")
    with pytest.raises(InvalidInputError, match="is no JSON"):
        Recommender.load(tmp_path)
    fitted("popularity").save(tmp_path)
    fitted("itemknn").save(tmp_path / "other")
    (tmp_path / "model.safetensors").write_bytes((tmp_path / "other" / "model.safetensors").read_bytes()[:60])
    with pytest.raises(InvalidInputError, match="no complete safetensors file"):
        Recommender.load(tmp_path)
    with pytest.raises(InvalidInputError, match="is not fitted yet"):
        build_recommender("popularity").save(tmp_path / "none")
