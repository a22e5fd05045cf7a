"""The best configuration as a file that reproduces its score: an experiment of PyKEEN, or a recommender."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgneg.compare.data import CompareData, load_data
from kgneg.compare.runs import quiet_pykeen
from kgneg.compare.store import dump_json
from kgneg.core.errors import InvalidInputError
from kgneg.core.storage import atomic_path
from kgneg.datasets import available
from kgneg.studies.objective import pipeline_arguments
from kgneg.studies.settings import StudySettings
from kgneg.studies.space import Configuration

if TYPE_CHECKING:
    from kgneg.studies.result import StudyResult

__all__ = ["experiment", "export_best"]

#: Options of samplers that may name a file.
_PATHS = frozenset({"texts", "path", "types", "vectors", "encoder"})


def export_best(result: StudyResult, folder: str | Path, *, check: bool = True) -> Path:
    """Write ``best.json``, which ``pykeen experiments run --keep-seed`` and ``pipeline_from_config`` take.

    That of recommenders is for ``kgneg rec train --config``.

    Running it trains the same model from the same seed, and ranks the test triples. On the same machine, with the same
    versions and number of threads, the scores are the same to the last digit. ``use_testing_data=False`` gives the
    validation score, by which the trial was chosen.

    :param result: the study; a trial must be complete
    :param folder: where to write it; where the study was given files of triples, they are written there as a graph in
        the folder ``triples``
    :param check: whether to load the triples as PyKEEN will, and to compare them with those of the study
    :returns: the file
    :raises InvalidInputError: if no trial is complete, or the triples have changed since
    """
    folder = Path(folder)
    if result.is_recommender:
        return _export_recommender(result, folder, check=check)
    settings = _settings(result)
    source = _source(settings, folder)
    if check:
        _check(source, str(result.definition["triples"]))
    path = folder / "best.json"
    with atomic_path(path) as temporary:
        temporary.write_text(dump_json(experiment(result, source)), encoding="utf-8", newline="\n")
    return path


def _export_recommender(result: StudyResult, folder: Path, *, check: bool) -> Path:
    """Write what ``kgneg rec train --config`` takes."""
    from kgneg.studies.recommender_space import RecommenderConfiguration
    from kgneg.studies.recommenders import RecommenderStudy

    best = result.best
    if best is None:
        raise InvalidInputError("no trial is complete, so there is no best configuration")
    settings = RecommenderStudy.from_dict({**result.settings, "device": "auto"})
    if check and settings.load().fingerprint() != result.definition["interactions"]:
        raise InvalidInputError(
            f"the interactions in {settings.data.data} are not those of the study; the best trial cannot be exported"
        )
    data = settings.data.to_dict()
    sources = settings.sources.to_dict()
    for values, names in ((data, ("data", "valid", "test")), (sources, ("kg", "links", "texts", "encoder"))):
        values |= {
            name: str(Path(value).absolute())
            for name in names
            if (value := values[name]) is not None and value not in available() and Path(value).exists()
        }
    found = {
        "model": settings.choice_of(RecommenderConfiguration(**best["configuration"])).to_dict(),
        "data": data,
        "ks": list(settings.ks),
        "seed": best["seed"],
        "device": best["device"],
        "sources": sources,
        "metadata": _metadata(result, best),
    }
    path = folder / "best.json"
    with atomic_path(path) as temporary:
        temporary.write_text(dump_json(found), encoding="utf-8", newline="\n")
    return path


def experiment(result: StudyResult, source: Mapping[str, Any]) -> dict[str, Any]:
    """Return the best configuration as PyKEEN writes experiments.

    :param result: the study
    :param source: ``dataset`` and ``dataset_kwargs``
    :returns: ``metadata`` and ``pipeline``
    :raises InvalidInputError: if no trial is complete
    """
    best = result.best
    if best is None:
        raise InvalidInputError("no trial is complete, so there is no best configuration")
    arguments = pipeline_arguments(_settings(result), Configuration(**best["configuration"]), best["seed"])
    arguments["device"] = best["device"]
    arguments["negative_sampler_kwargs"] = _absolute(arguments["negative_sampler_kwargs"])
    return {
        "metadata": _metadata(result, best),
        "pipeline": {**source, **arguments},
    }


def _metadata(result: StudyResult, best: Mapping[str, Any]) -> dict[str, Any]:
    """Return where a configuration comes from."""
    return {
        "title": f"Best of {len(result.complete)} complete trials of the study {result.name}",
        "trial": best["number"],
        "validation": best["validation"],
        "test": best["test"],
        "threads": best["threads"],
        "versions": {
            name.removeprefix("version of "): number
            for name, number in result.definition.items()
            if name.startswith("version of ")
        },
    }


def _settings(result: StudyResult) -> StudySettings:
    """Return the settings of a study, also where its device is not there."""
    return StudySettings.from_dict({**result.settings, "device": "auto"})


def _absolute(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options in which files are named from the root."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        if isinstance(value, Mapping):
            found[name] = _absolute(value)
        elif name in _PATHS and isinstance(value, str) and value not in available() and Path(value).exists():
            found[name] = str(Path(value).absolute())
        else:
            found[name] = value
    return found


def _source(settings: StudySettings, folder: Path) -> dict[str, Any]:
    """Return what makes PyKEEN load the triples of a study."""
    dataset = settings.dataset
    if dataset is None:
        with quiet_pykeen():
            data = load_data(train=settings.train, valid=settings.valid, test=settings.test)
        target = folder.absolute() / "triples"
        _write_triples(data, target)
        return {"dataset": "kgneg", "dataset_kwargs": {"path": str(target)}}
    if Path(dataset).is_file() or (dataset not in available() and Path(dataset).exists()):
        return {"dataset": "kgneg", "dataset_kwargs": {"path": str(Path(dataset).absolute())}}
    if dataset in available():
        return {"dataset": "kgneg", "dataset_kwargs": {"path": dataset}}
    return {"dataset": dataset}


def _write_triples(data: CompareData, folder: Path) -> None:
    """Write a graph as a folder that kgneg reads."""
    entities, relations = data.training.entity_id_to_label, data.training.relation_id_to_label
    for name, factory in (("train", data.training), ("valid", data.validation), ("test", data.testing)):
        lines = [f"{entities[h]}\t{relations[r]}\t{entities[t]}\n" for h, r, t in factory.mapped_triples.tolist()]
        with atomic_path(folder / f"{name}.tsv") as temporary:
            temporary.write_text("".join(lines), encoding="utf-8", newline="\n")


def _check(source: Mapping[str, Any], fingerprint: str) -> None:
    """Refuse to write a file that would train with other triples."""
    from pykeen.datasets import get_dataset

    with quiet_pykeen():
        dataset = get_dataset(**source)
        data = CompareData("", dataset.training, dataset.validation, dataset.testing)
    if data.fingerprint() != fingerprint:
        where = source.get("dataset_kwargs", {}).get("path", source["dataset"])
        raise InvalidInputError(f"the triples in {where} are not those of the study; the best trial cannot be exported")
