"""The report of one recommender: what is said, shown and tabulated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kgneg.recsys.evaluation import Evaluation
from kgneg.report import Figure, Report, Section, Series, Table, line_plot

if TYPE_CHECKING:
    from kgneg.recommending.result import TrainResult

__all__ = ["METRIC_NAMES", "beyond_table", "build_report", "group_tables", "metric_table", "read_rows", "spell"]

#: What people call the metrics.
METRIC_NAMES = {
    "recall": "Recall",
    "precision": "Precision",
    "ndcg": "NDCG",
    "mrr": "MRR",
    "hit": "Hit rate",
    "capped_precision": "Capped precision",
}
_NONE = "\N{EN DASH}"
_NOTES = (
    ("Recall", "share of the items to be found that are in the list"),
    ("Precision", "share of the places of the list that are right"),
    ("NDCG", "the same with more weight on the first places; 1 is the best list that is possible"),
    ("MRR", "1 / place of the first right item, 0 if there is none"),
    ("Hit rate", "share of users with at least one right item"),
    ("Capped precision", "right items by the smaller of the length and the number of items to be found"),
)
_BEYOND = {
    "coverage": ("coverage", "share of all items that somebody is shown"),
    "gini": ("Gini", "how unequally often items are shown: 0 all alike, 1 only one"),
    "popularity_bias": (
        "popularity bias",
        "training users of shown items by those of the items to be found; 1 is fair",
    ),
    "novelty": ("novelty, bits", "how rare the shown items are: minus log2 of their share of training users"),
}
_HEALTH = (
    ("spread", "1 if embeddings point everywhere, 0 if all point the same way"),
    ("effective_rank", "the number of directions in use"),
    ("mean_cosine", "between two of them at random; near 0 if they point everywhere"),
    ("mean_norm", "their mean length"),
)


def metric_table(parts: Mapping[str, Evaluation], caption: str = "") -> Table:
    """Return the means over users.

    :param parts: evaluations by what they are called
    :param caption: what one sees
    :returns: a row per part and length of the list
    """
    names = list(dict.fromkeys(name.partition("@")[0] for one in parts.values() for name in one.metrics))
    rows = []
    for part, found in parts.items():
        for k in dict.fromkeys(name.partition("@")[2] for name in found.metrics):
            rows.append((f"{part} @{k}", *(f"{found.metrics[f'{name}@{k}']:.4f}" for name in names)))
    notes = tuple((METRIC_NAMES[name], dict(_NOTES)[METRIC_NAMES[name]]) for name in names)
    return Table(("pairs @length", *(METRIC_NAMES[name] for name in names)), tuple(rows), caption, notes=notes)


def beyond_table(beyond: Mapping[str, Any]) -> Table:
    """Return what is shown, beyond whether it is right.

    :param beyond: from :class:`~kgneg.recsys.evaluation.Evaluation`
    :returns: a row per length of the list
    """
    lengths = [name.partition("@")[2] for name in beyond if name.startswith("coverage@")]
    rows = tuple((f"@{k}", *(spell(beyond.get(f"{name}@{k}")) for name in _BEYOND)) for k in lengths)
    columns = ("length", *(one for one, _ in _BEYOND.values()))
    return Table(columns, rows, "What the lists for the test users show.", notes=tuple(_BEYOND.values()))


def group_tables(beyond: Mapping[str, Any], metrics: Sequence[str]) -> list[Table]:
    """Return the figures of groups of users and items.

    :param beyond: from :class:`~kgneg.recsys.evaluation.Evaluation`
    :param metrics: names such as ``recall@20``
    :returns: tables of users by their number of items, and of items by popularity
    """
    users = beyond.get("by_user_items", {})
    rows = tuple(
        (name, f"{one['users']:,}", *(spell(one.get(metric)) for metric in metrics)) for name, one in users.items()
    )
    told = "The test users by the number of items that they have in training."
    found = [Table(("training items", "users", *map(_called, metrics)), rows, told)]
    items = beyond.get("by_item_popularity", {})
    length = metrics[0].partition("@")[2]
    keys = ("training_share", "test_share", f"shown_share@{length}", f"hit_share@{length}", f"recall@{length}")
    rows = tuple((name, f"{one['items']:,}", *(spell(one.get(key)) for key in keys)) for name, one in items.items())
    columns = ("items", "number", "of training", "of test", "of places", "of hits", f"Recall@{length}")
    told = (
        "Items by popularity: head, mid and tail have a third of the training pairs each. Shares of training pairs, of "
        f"test pairs, of the places in lists of {length}, and of right places."
    )
    return [*found, Table(columns, rows, told)]


def build_report(result: TrainResult) -> Report:
    """Return the report.

    :param result: the result
    :returns: title, lead and sections
    """
    run = result.run
    sections = [
        Section("Ranks", (*_rank_parts(result),)),
        Section("Training", (*_training_parts(result),)),
        Section("Embeddings", (*_embedding_parts(result),)),
        Section("Beyond accuracy", (beyond_table(run.test.beyond),)),
        Section("Users and items", (*group_tables(run.test.beyond, _chosen(run.test.metrics)),)),
        Section("How it was done", (*_method_parts(result),)),
    ]
    versions = ", ".join(f"{name} {number}" for name, number in sorted(result.versions.items()))
    return Report(
        title=f"{result.label} on {result.data.name}",
        lead=_lead(result),
        sections=tuple(one for one in sections if one.parts),
        footer=f"Made by kgneg rec train. {versions}.",
    )


def _chosen(metrics: Mapping[str, float]) -> list[str]:
    """Return recall and NDCG at 20, or at the length nearest to it."""
    lengths = {int(name.partition("@")[2]) for name in metrics}
    k = min(lengths, key=lambda one: (abs(one - 20), one))
    return [f"recall@{k}", f"ndcg@{k}"]


def _lead(result: TrainResult) -> str:
    """Return the outcome in words."""
    run = result.run
    metric = _chosen(run.test.metrics)[0]
    k = metric.partition("@")[2]
    text = (
        f"Of the items that a user should be shown, {100 * run.test.metrics[metric]:.1f} % are among the first {k} of "
        f"{result.data.split.train.num_items:,} (mean over {run.test.counts['users']:,} users with test pairs)."
    )
    history = run.history
    if history is not None:
        reason = {"patience": "no further look brought an improvement", "epochs": "that was the limit"}
        why = reason.get(history["stopped"], "it stopped")
        text += f" Training ended after {len(history['epochs'])} epochs, since {why}; the model is that of epoch "
        text += f"{history['best_epoch']}."
    if run.health is not None and run.health["collapsed"]:
        text += f" The embeddings have collapsed: {'; '.join(run.health['why'])}."
    return text


def _rank_parts(result: TrainResult) -> list[str | Table]:
    run = result.run
    told = "Means over users; all items are ranked, those of the training left out. Higher is better."
    counts = run.test.counts
    left = (
        f"{counts['no_training_items']:,} users have test pairs but no training pair and are not judged. "
        f"{counts['test_pairs_of_untrained_items']:,} test pairs are about items without any training pair."
    )
    return [metric_table({"validation": run.validation, "test": run.test}, told), left]


def _training_parts(result: TrainResult) -> list[str | Figure]:
    history = result.run.history
    if history is None or not history["epochs"]:
        return [
            f"{result.label} has a closed form: there are no epochs. It took {result.run.seconds['training']:.2f} s."
        ]
    losses = Series("loss", (tuple(one["loss"] for one in history["epochs"]),))
    parts: list[str | Figure] = [
        Figure(
            line_plot("loss", [losses], x_label="epoch", y_label="mean loss"),
            "The mean loss of each epoch. A low loss alone says little: collapsed embeddings have one as well.",
            "Training loss by epoch",
        )
    ]
    looks = [one for one in history["epochs"] if "value" in one]
    if looks:
        values = Series(history["metric"], (tuple(one["value"] for one in looks),))
        figure = line_plot("validation", [values], x_label="look at the validation pairs", y_label=history["metric"])
        caption = (
            f"The metric that decides, at each look; looks came every {looks[0]['epoch']} epochs. The best one is that "
            f"of epoch {history['best_epoch']}, {history['best_value']:.4f}."
        )
        parts.append(Figure(figure, caption, f"{history['metric']} on the validation pairs by look"))
    return parts


def _embedding_parts(result: TrainResult) -> list[str | Table | Figure]:
    found, history = result.run.health, result.run.history
    if found is None or history is None:
        return []
    verdict = "There is no sign of a collapse."
    if found["collapsed"]:
        verdict = f"They have collapsed: {'; '.join(found['why'])}."
    rows = tuple(
        (name.replace("_", " "), *(f"{found[part][name]:.3f}" for part in ("users", "items")), words)
        for name, words in _HEALTH
    )
    table = Table(("figure", "users", "items", "what it is"), rows, "The embeddings.", frozenset({"what it is"}))
    parts: list[str | Table | Figure] = [verdict, table]
    if found["bias_share"] is not None:
        parts.append(f"The bias makes {100 * found['bias_share']:.1f} % of what the predictor says.")
    looks = [one["health"] for one in history["epochs"] if "health" in one]
    series = [
        Series(f"{words}, {part}", (tuple(one[part][name] for one in looks),))
        for part in ("users", "items")
        for name, words in (("spread", "spread"), ("relative_rank", "rank / dimension"))
    ]
    figure = line_plot("health", series, x_label="look at the validation pairs", y_label="1: spread, 0: collapsed")
    return [*parts, Figure(figure, "Where all fall to zero, all items become one.", "Spread and rank by look")]


def _method_parts(result: TrainResult) -> list[Table]:
    facts = result.to_dict()
    settings = facts["model"]["options"] | (facts["model"]["training"] or {})
    rows = [(name, spell(value)) for name, value in settings.items()]
    negatives = {k: v for k, v in result.settings["model"]["options"].items() if k.partition(".")[0] == "negatives"}
    rows += [(name, spell(value)) for name, value in negatives.items()]
    rows += [("seed", str(result.settings["seed"])), ("parameters", f"{facts['model']['parameters']:,}")]
    rows += [(f"seconds of {name}", f"{value:.2f}") for name, value in result.run.seconds.items()]
    return [
        Table(("what", "value"), read_rows(facts["data"]), "The interactions.", frozenset({"value"})),
        Table(("option", "value"), tuple(rows), f"The options of {result.label}.", frozenset({"value"})),
    ]


def read_rows(data: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return what is known of interactions, as rows.

    :param data: from :meth:`~kgneg.recommending.RecData.to_dict`
    :returns: names and values
    """
    split = data["split"]
    kind = ", ".join([split["kind"], *(f"{name} {value}" for name, value in split.items() if name != "kind")])
    words = {"cold_items": "items without training pair", "cold_users": "users without training pair"}
    rows = [("name", data["name"]), ("users", f"{data['users']:,}"), ("items", f"{data['items']:,}"), ("split", kind)]
    rows += [(f"{name} pairs", f"{data[name]:,}") for name in ("train", "valid", "test")]
    rows += [
        (f"{words.get(name, name).replace('_', ' ')}", f"{value:,}")
        for name, value in data["counts"].items()
        if value and name not in ("train", "valid", "test", "pairs")
    ]
    return (*rows, *((f"read: {name}", one) for name, one in data["read"].items()))


def _called(metric: str) -> str:
    name, _, k = metric.partition("@")
    return f"{METRIC_NAMES[name]}@{k}"


def spell(value: Any) -> str:
    """Return a value for a cell.

    :param value: a number, a text, or ``None``
    :returns: the text

    >>> spell(0.123456), spell(7)
    ('0.1235', '7')
    """
    if value is None:
        return _NONE
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e-3 or abs(value) >= 1e3 else f"{value:.4f}".rstrip("0").rstrip(".")
    return str(value)
