"""What benchmarks/recsys.py compares: data sets, rows, what is tuned, and with which budget."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from recsys_peers import PEERS

from kgneg.recsys import Interactions
from kgneg.recsys.models import MODELS

__all__ = [
    "BASELINES",
    "ROWS",
    "SETS",
    "Budget",
    "DataSet",
    "Row",
    "data_root",
    "draw_options",
    "load",
    "power_law",
    "ranges_of",
]

#: the selection metric of all rows, in training and in tuning
METRIC = "recall@20"


@dataclass(frozen=True)
class DataSet:
    """A data set: its file below the folder `recsys`, how it is read, and how many rows users and items need."""

    title: str
    file: str
    read: Callable[[Path], Interactions]
    at_least: Mapping[str, int] = field(default_factory=dict)


def counted(path: Path) -> Interactions:
    return Interactions.read(path, format="counted")


def spaced(path: Path) -> Interactions:
    return Interactions.read(path, format="table", separator=" ", header=False)


def matlab(path: Path) -> Interactions:
    import pandas as pd
    from scipy.io import loadmat

    columns = ("user", "item", "category", "rating", "helpfulness", "time")
    return Interactions.from_frame(pd.DataFrame(loadmat(path)["rating"], columns=list(columns)))


SETS = {
    "toy": DataSet("toy", "buir-toy/users.dat.gz", counted),
    "filmtrust": DataSet("FilmTrust", "filmtrust/ratings.txt.gz", spaced, {"users": 5}),
    "citeulike-t": DataSet("CiteULike-t", "citeulike-t/users.dat.gz", counted, {"users": 5}),
    "ciao": DataSet("Ciao", "ciao/rating_with_timestamp.mat", matlab, {"users": 5, "items": 5}),
    "ml-100k": DataSet("ML-100k", "ml-100k/ml-100k.inter.gz", Interactions.read),
    "citeulike-a": DataSet("CiteULike-a", "citeulike-a/users.dat.gz", counted),
}


@dataclass(frozen=True)
class Row:
    """A row of the tables.

    :param model: a name of `MODELS`, perhaps with a preset, or of `PEERS`
    :param tuned: whether its options are searched
    """

    model: str
    tuned: bool = False

    @property
    def peer(self) -> bool:
        return self.model in PEERS


ROWS = {
    "buir-nb": Row("buir-nb"),
    "buir-id": Row("buir-id"),
    "buir-nb-tuned": Row("buir-nb", tuned=True),
    "buir-id-tuned": Row("buir-id", tuned=True),
    "lightgcn": Row("lightgcn", tuned=True),
    "lightgcn-softmax": Row("lightgcn-softmax", tuned=True),
    "bpr": Row("bpr", tuned=True),
    "directau": Row("directau", tuned=True),
    "ease": Row("ease", tuned=True),
    "itemknn": Row("itemknn", tuned=True),
    "two-hop": Row("two-hop"),
    "popularity": Row("popularity"),
    **{name: Row(name, tuned=True) for name in PEERS},
}
#: rows that are run only when they are asked for: the presets of the paper select and stop in their own way
EXTRA = {"buir-nb-paper": Row("buir-nb:paper"), "buir-id-paper": Row("buir-id:paper")}
#: the neural rows among which the baseline is chosen, by validation
BASELINES = ("bpr", "lightgcn", "lightgcn-softmax", "directau")


@dataclass(frozen=True)
class Budget:
    """What is equal for all rows.

    :param trials: configurations that are tried for each tuned row; the first is the default of the model
    :param seeds: final trainings; the seed is that of the split and of the model
    :param epochs: of a final training, at most; 0: as the model has it
    :param trial_epochs: of a trial, at most; 0: as the model has it
    :param time_limit: CPU seconds of a training, after which it ends with the best epoch so far; 0: none
    :param seed: of the search
    """

    trials: int = 8
    seeds: int = 5
    epochs: int = 0
    trial_epochs: int = 0
    time_limit: float = 0.0
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def data_root(given: Path | None = None) -> Path:
    """Return the folder in which the data sets are looked for."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    return (given or Path(os.environ.get("KGNEG_DATA", default))) / "recsys"


def load(name: str, root: Path) -> Interactions:
    """Return the pairs of a data set, filtered once, by rows of the file.

    :param name: a name of `SETS`
    :param root: the folder with the data sets
    :raises FileNotFoundError: if the file is not there
    """
    one = SETS[name]
    path = root / one.file
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there")
    pairs = one.read(path)
    return pairs.at_least(**one.at_least, count="rows") if one.at_least else pairs


def ranges_of(model: str) -> dict[str, Any]:
    """Return what is searched for a model, in PyKEEN's notation."""
    return dict(PEERS[model].ranges) if model in PEERS else MODELS[model].hpo_default()


def draw_options(model: str, trials: int, seed: int) -> list[dict[str, Any]]:
    """Return the options of all trials: those of the model itself, and then drawn at random by Optuna."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    ranges = ranges_of(model)
    drawn = []
    for _ in range(trials - 1):
        trial = study.ask()
        drawn.append({name: suggest(trial, name, one) for name, one in ranges.items()})
    return [{}, *drawn][:trials]


def suggest(trial: Any, name: str, one: Mapping[str, Any]) -> Any:
    kind = one["type"] if isinstance(one["type"], str) else one["type"].__name__
    if kind in ("categorical", "bool"):
        return trial.suggest_categorical(name, list(one.get("choices", (False, True))))
    ask = {"float": trial.suggest_float, "int": trial.suggest_int}[kind]
    return ask(name, one["low"], one["high"], log=one.get("log", False))


def power_law(number: int, num_users: int, num_items: int, seed: int = 0) -> Interactions:
    """Return made-up pairs; the n-th item and user have a share like n to the power of -0.75 and of -0.5."""
    generator = torch.Generator().manual_seed(seed)
    codes = torch.empty(0, dtype=torch.int64)
    while len(codes) < number:
        more = int(1.2 * (number - len(codes))) + 1_000
        draws = torch.rand(2, more, generator=generator, dtype=torch.float64)
        users, items = (draws[0].pow(2) * num_users).long(), (draws[1].pow(4) * num_items).long()
        codes = torch.cat([codes, users * num_items + items]).unique()
    kept = codes[torch.randperm(len(codes), generator=generator)[:number]]
    return Interactions(kept // num_items, kept % num_items, num_users=num_users, num_items=num_items)
