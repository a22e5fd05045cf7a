"""Finished runs on disk, so that a killed comparison goes on where it stood."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kgneg.compare.samplers import SamplerChoice
from kgneg.compare.settings import CompareSettings
from kgneg.core.cache import content_key
from kgneg.core.storage import atomic_path

__all__ = ["RunStore", "dump_json", "file_hashes", "run_key", "versions"]

logger = logging.getLogger(__name__)

#: Settings that are not about a single run.
_SHARED = frozenset({"samplers", "seeds", "dataset", "train", "valid", "test", "texts", "encoder", "missing_text"})
#: Options that may name a file or folder whose content matters.
_PATHS = frozenset({"texts", "path", "types", "vectors", "encoder"})


def dump_json(value: Any) -> str:
    r"""Return strict JSON with sorted keys.

    :param value: what JSON can spell; numbers are finite
    :returns: the text, with a line feed at its end

    >>> dump_json({"b": 1, "a": None})
    '{\n  "a": null,\n  "b": 1\n}\n'
    """
    return json.dumps(value, sort_keys=True, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def versions() -> dict[str, str]:
    """Return the versions that results depend on."""
    import platform
    from importlib.metadata import version

    found = {name: version(name) for name in ("kgneg", "numpy", "pykeen", "torch")}
    return {**found, "python": ".".join(platform.python_version_tuple()[:2])}


def run_key(settings: CompareSettings, choice: SamplerChoice, seed: int, fingerprint: str) -> dict[str, Any]:
    """Return everything that the result of a run depends on.

    :param settings: the settings
    :param choice: the sampler, with its texts
    :param seed: the seed
    :param fingerprint: of the triples
    :returns: what JSON can spell; equal for runs with equal results
    """
    own = {name: value for name, value in settings.to_dict().items() if name not in _SHARED}
    return {
        **own,
        "device": _device(settings.device),
        "loop": settings.loop_of(choice),
        "sampler": choice.to_dict(),
        "files": file_hashes(choice.options),
        "seed": seed,
        "triples": fingerprint,
        "versions": versions(),
    }


def _device(name: str) -> str:
    """Return the device that ``auto`` stands for."""
    import torch

    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


def file_hashes(options: Mapping[str, Any]) -> dict[str, str]:
    """Return hashes of the files and folders that options name, so that other content is seen under the same name.

    :param options: the options of a sampler; those within options are looked at as well
    :returns: a hash for each option whose value is the path of something that exists; dots join nested names

    >>> file_hashes({"texts": "no such file", "dim": 3})
    {}
    """
    found = {}
    for name, value in options.items():
        if isinstance(value, dict):
            found.update({f"{name}.{inner}": text for inner, text in file_hashes(value).items()})
        elif name in _PATHS and isinstance(value, str) and Path(value).exists():
            found[name] = _hash(Path(value))
    return found


def _hash(path: Path) -> str:
    """Return a hash of a file, or of the files in a folder."""
    import hashlib

    files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        digest.update(file.relative_to(path).as_posix().encode())
        with file.open("rb") as handle:
            while chunk := handle.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


class RunStore:
    """A folder with one file per finished run.

    :param folder: the folder; ``None`` keeps nothing

    >>> RunStore(None).load({"seed": 0}) is None
    True
    """

    def __init__(self, folder: Path | str | None) -> None:
        self.folder = None if folder is None else Path(folder)

    def path(self, key: dict[str, Any]) -> Path | None:
        """Return the file of a run, whether it exists or not.

        :param key: from :func:`run_key`
        :returns: the path, or ``None`` if nothing is kept
        """
        return None if self.folder is None else self.folder / f"{content_key(key)}.json"

    def load(self, key: dict[str, Any]) -> dict[str, Any] | None:
        """Return a finished run.

        :param key: from :func:`run_key`
        :returns: the run, or ``None`` if there is none or its file is damaged, which is logged as a warning
        """
        path = self.path(key)
        if path is None or not path.is_file():
            return None
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            run: dict[str, Any] = record["run"]
            intact = record["key"] == key and record["content"] == content_key(run)
        except (OSError, ValueError, KeyError, TypeError):
            intact = False
        if not intact:
            logger.warning("%s is damaged; the run is done again", path)
            return None
        return run

    def save(self, key: dict[str, Any], run: dict[str, Any]) -> None:
        """Keep a finished run.

        :param key: from :func:`run_key`
        :param run: its result
        """
        path = self.path(key)
        if path is None:
            return
        with atomic_path(path) as temporary:
            temporary.write_text(dump_json({"content": content_key(run), "key": key, "run": run}), encoding="utf-8")
