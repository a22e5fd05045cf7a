"""Optional dependencies: imported at first use, with an instruction when missing."""

from __future__ import annotations

from typing import Any

from kgneg.core.errors import MissingExtraError

__all__ = ["faiss_or_none"]


def faiss_or_none(*, required: bool = False) -> Any:
    """Return the faiss module, or ``None`` when it is not installed.

    :param required: raise instead of returning ``None``
    :returns: the module or ``None``
    :raises MissingExtraError: if it is required and not installed
    """
    try:
        import faiss
    except ImportError as error:
        if required:
            raise MissingExtraError("faiss is not installed: pip install 'kgneg[faiss]'") from error
        return None
    return faiss
