from __future__ import annotations

import gzip
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.append(str(_BENCHMARKS))  # the scripts import one another by name


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what the samplers cache out of the home folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KGNEG_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of shared data with the graph nations and made-up negatives for it."""
    from pykeen.datasets import get_dataset

    root = tmp_path_factory.mktemp("data")
    folder = root / "kg" / "nations"
    folder.mkdir(parents=True)
    graph = get_dataset(dataset="nations")
    names, kinds = graph.training.entity_id_to_label, graph.training.relation_id_to_label
    known = {tuple(row) for part in graph.factory_dict.values() for row in part.mapped_triples.tolist()}
    for part, factory in (("train", graph.training), ("valid", graph.validation), ("test", graph.testing)):
        rows = factory.mapped_triples.tolist()
        wrong = []
        for h, r, t in rows:
            other = next((one for one in range(t + 1, t + 14) if (h, r, one % 14) not in known), None)
            wrong += [] if other is None else [[h, r, other % 14]]
        for name, triples in ((part, rows), (f"{part}_negatives", wrong)):
            if name != "train_negatives":
                with gzip.open(folder / f"{name}.txt.gz", "wt", encoding="utf-8") as handle:
                    handle.writelines(f"{names[h]}\t{kinds[r]}\t{names[t]}\n" for h, r, t in triples)
    return root
