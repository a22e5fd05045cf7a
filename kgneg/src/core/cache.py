"""Results kept under the hash of what they were made from: on disk across runs, in memory within one."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.storage import read_tensors, write_tensors

__all__ = ["ArtefactCache", "MemoryCache", "content_key"]

logger = logging.getLogger(__name__)


def content_key(*parts: Any) -> str:
    """Return a hash of tensors and of anything that JSON can spell.

    :param parts: tensors, and values of numbers, strings, lists and dictionaries
    :returns: 32 hexadecimal digits, equal for equal contents in every process

    >>> content_key(torch.ones(2), {"a": 1}) == content_key(torch.ones(2), {"a": 1})
    True
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, torch.Tensor):
            part = part.detach().cpu().clone(memory_format=torch.contiguous_format)
            digest.update(f"T{part.dtype}{tuple(part.shape)}".encode())
            digest.update(part.reshape(-1).view(torch.uint8).numpy().tobytes() if part.numel() else b"")
        else:
            digest.update(b"J" + json.dumps(part, sort_keys=True).encode())
    return digest.hexdigest()


class ArtefactCache:
    """Named tensors on disk, one safetensors file per key; written atomically, checked when read.

    A damaged file is rebuilt with a warning. When the folder cannot be written, results are simply not kept, with a
    warning.

    :param root: the folder; ``None`` takes ``KGNEG_HOME``, or ``kgneg`` below the folder of PyKEEN and pystow
    """

    def __init__(self, root: str | Path | None = None) -> None:
        if root is None:
            import pystow

            root = pystow.join("kgneg", ensure_exists=False)
        self.root = Path(root)

    def path(self, kind: str, key: str) -> Path:
        """Return the file of a key.

        :param kind: what sort of result it is; a folder name
        :param key: from :func:`content_key`
        :returns: the path, whether the file exists or not
        """
        return self.root / kind / key[:2] / f"{key}.safetensors"

    def load(self, kind: str, key: str) -> dict[str, torch.Tensor] | None:
        """Return the tensors of a key, or ``None`` when there are none or the file is damaged (with a warning).

        :param kind: what sort of result it is
        :param key: from :func:`content_key`
        :returns: the tensors or ``None``
        """
        path = self.path(kind, key)
        try:
            if not path.is_file():
                return None
            tensors, metadata = read_tensors(path)
        except OSError as error:
            logger.warning("cannot look for %s in %s: %s. Set KGNEG_HOME to a folder of your own.", kind, path, error)
            return None
        except InvalidInputError as error:
            logger.warning("cached %s %s is damaged and is built again: %s", kind, path, error)
            return None
        if metadata.get("content") != content_key(*(tensors[name] for name in sorted(tensors))):
            logger.warning("cached %s %s does not match its checksum and is built again", kind, path)
            return None
        return tensors

    def save(self, kind: str, key: str, tensors: dict[str, torch.Tensor]) -> None:
        """Keep the tensors of a key.

        :param kind: what sort of result it is
        :param key: from :func:`content_key`
        :param tensors: the tensors
        """
        path = self.path(kind, key)
        try:
            checksum = content_key(*(tensors[name] for name in sorted(tensors)))
            write_tensors(path, tensors, {"content": checksum})
        except OSError as error:
            logger.warning("cannot keep %s in %s: %s. Set KGNEG_HOME to a writable folder.", kind, path, error)

    def get(self, kind: str, key: str, build: Callable[[], dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        """Return the tensors of a key, building and keeping them when they are not there.

        :param kind: what sort of result it is
        :param key: from :func:`content_key`
        :param build: makes the tensors
        :returns: the tensors
        """
        tensors = self.load(kind, key)
        if tensors is None:
            tensors = build()
            self.save(kind, key, tensors)
        return tensors


class MemoryCache:
    """The most recently used results of this process.

    :param size: how many to keep

    >>> cache = MemoryCache(1)
    >>> cache.get("a", lambda: 1), cache.get("a", lambda: 2)
    (1, 1)
    """

    def __init__(self, size: int = 8) -> None:
        self.size = size
        self._items: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, build: Callable[[], Any]) -> Any:
        """Return the result of a key, building it when it is not there.

        :param key: what identifies the result
        :param build: makes it
        :returns: the result, the same object for every call
        """
        if key not in self._items:
            self._items[key] = build()
        self._items.move_to_end(key)
        while len(self._items) > self.size:
            self._items.popitem(last=False)
        return self._items[key]

    def clear(self) -> None:
        """Forget everything."""
        self._items.clear()
