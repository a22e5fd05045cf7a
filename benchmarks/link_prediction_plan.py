"""What benchmarks/link_prediction.py compares: rows, models, what is tuned, and with which budget."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from kgneg.compare import CompareData, SamplerChoice, UnknownNameError, load_data
from kgneg.compare.samplers import with_texts
from kgneg.core.errors import InvalidInputError
from kgneg.core.seeding import mix_seeds

__all__ = [
    "ALL",
    "BASELINES",
    "MODELS",
    "ROWS",
    "Budget",
    "Model",
    "choice_of",
    "load",
    "problems",
    "seed_of",
    "tuning_data",
]

#: the row that scores every entity; it draws no negatives
ALL = "1-vs-all"
#: the rows among which the baseline is chosen, by validation MRR
BASELINES = ("basic", "bernoulli")
#: row -> sampler; {sides} stands for what --sides says
ROWS = {
    "basic": "basic",
    "bernoulli": "bernoulli",
    "pseudotyped": "pseudotyped",
    "uniform-exact": "kgneg-uniform:sides={sides}",
    "typed": "typed:sides={sides}",
    "typed+uniform": 'mixture:components="typed=0.5,kgneg-uniform=0.5",sides={sides}',
    "sans": "sans:sides={sides}",
    "nscaching": "nscaching:sides={sides}",
    "dynamic": "dynamic:sides={sides}",
    "lemon-paper": "lemon:mode=paper",
    "lemon+": "lemon+:sides={sides}",
}
_FOLDERS = {"codexsmall": "codex-s", "wn18rr": "wn18rr", "fb15k237": "fb15k-237"}


@dataclass(frozen=True)
class Model:
    """A model of PyKEEN, and what is tuned for all of its rows."""

    name: str
    loss: str
    ranges: Mapping[str, Any]
    start: Mapping[str, Any]


_INFONCE = {
    "infonce.log_adversarial_temperature": {"type": "float", "low": -3.5, "high": -0.5},
    "lr": {"type": "float", "low": 0.001, "high": 0.01, "log": True},
}
_NSSA = {
    "nssa.margin": {"type": "float", "low": 2.0, "high": 10.0},
    "nssa.adversarial_temperature": {"type": "float", "low": 0.25, "high": 2.0, "log": True},
    "lr": {"type": "float", "low": 0.0015, "high": 0.015, "log": True},
}
#: with PyKEEN's own start, of large numbers, DistMult and ComplEx learn next to nothing in so few epochs
_START = {"entity_initializer": "xavier_uniform", "relation_initializer": "xavier_uniform"}
MODELS = {
    "transe": Model("transe", "nssa", _NSSA, {}),
    "distmult": Model("distmult", "infonce", _INFONCE, _START),
    "complex": Model("complex", "infonce", _INFONCE, _START),
    "rotate": Model("rotate", "nssa", _NSSA, {}),
}


@dataclass(frozen=True)
class Budget:
    """What is equal for all rows.

    :param trials: configurations that are tried for each model and row
    :param epochs: of each trial, and of each final training
    :param seeds: final trainings
    :param negatives: per positive
    :param batch_size: positives per batch
    :param dim: dimension of the embeddings
    :param seed: everything derives from it
    :param sides: the side policy of the rows that have one
    :param judged: validation triples that a trial is judged by, at most
    :param checked: negatives that are looked at for the share of true ones
    """

    trials: int = 8
    epochs: int = 30
    seeds: int = 5
    negatives: int = 32
    batch_size: int = 512
    dim: int = 64
    seed: int = 0
    sides: str = "single"
    judged: int = 2_000
    checked: int = 200_000

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def seed_of(budget: Budget, number: int) -> int:
    """Return the seed of a final training, the same for all rows."""
    return mix_seeds(budget.seed, 0x66696E616C, number) % 2**32


def data_root(given: Path | None = None) -> Path:
    """Return the folder in which the shared data are looked for."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    return given or Path(os.environ.get("KGNEG_DATA", default))


def graph_folder(dataset: str, root: Path) -> Path | None:
    """Return the folder of a graph with texts, and for CoDEx-S with verified negatives; ``None`` if it is not there."""
    folder = root / "kg" / _FOLDERS.get(dataset, dataset)
    return folder if folder.is_dir() else None


def load(dataset: str, root: Path) -> CompareData:
    """Return the triples, from the shared data where they have them, otherwise from PyKEEN."""
    folder = graph_folder(dataset, root)
    data = load_data(dataset if folder is None else str(folder))
    return replace(data, name=dataset)


def tuning_data(data: CompareData, budget: Budget) -> CompareData:
    """Return what a row is tuned with: no test triples, and not more validation triples than needed."""
    valid = data.validation.mapped_triples
    order = torch.randperm(len(valid), generator=torch.Generator().manual_seed(mix_seeds(budget.seed, 0x6A7564676564)))
    chosen = valid[order[: budget.judged].sort().values]
    # pipelines of PyKEEN insist on ranking something at the end
    parts = [data.validation.clone_and_exchange_triples(one) for one in (chosen, valid[:1])]
    return replace(data, validation=parts[0], testing=parts[1])


def choice_of(row: str, budget: Budget, data: CompareData | None = None) -> SamplerChoice:
    """Return the sampler of a row."""
    choice = replace(SamplerChoice.parse(ROWS[row].format(sides=budget.sides)), label=row)
    return choice if data is None else with_texts(choice, {}, default_texts=data.texts)


def problems(rows: tuple[str, ...], budget: Budget, data: CompareData) -> dict[str, str]:
    """Return the rows that cannot be run, and why; each sampler is constructed once."""
    from kgneg.compare.falsehood import make_sampler
    from kgneg.compare.runs import quiet_pykeen

    found = {}
    for row in rows:
        if row == ALL:
            continue
        try:
            with quiet_pykeen():
                make_sampler(choice_of(row, budget, data), data, budget.negatives)
        except UnknownNameError as error:
            found[row] = f"not there: {error}"
        except (InvalidInputError, ImportError, OSError, ValueError, TypeError) as error:
            found[row] = " ".join(str(error).split())
    return found
