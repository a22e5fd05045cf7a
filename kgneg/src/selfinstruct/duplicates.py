"""What deduplication finds: which rows stay, and which earlier row each of the others repeats."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kgneg.core.errors import InvalidInputError

__all__ = ["REASONS", "Duplicates"]

#: Why a row goes, by its code: not at all, or equal, of similar words or vector within its group, or similar across.
REASONS = ("", "exact", "rouge_l", "cosine", "minhash")


@dataclass(frozen=True, eq=False)
class Duplicates:
    """Which rows are repetitions.

    :param codes: shape: ``(n,)``, uint8, the place of the reason in :data:`REASONS`; 0 for rows that stay
    :param first: shape: ``(n,)``, int64, the row that stays for each; its own number for rows that stay
    :raises InvalidInputError: if shapes differ

    >>> Duplicates(np.array([0, 1]), np.array([0, 0])).counts()
    {'kept': 1, 'exact': 1, 'rouge_l': 0, 'cosine': 0, 'minhash': 0}
    """

    codes: npt.NDArray[np.uint8]
    first: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        codes = np.asarray(self.codes, dtype=np.uint8)
        first = np.asarray(self.first, dtype=np.int64)
        if codes.ndim != 1 or codes.shape != first.shape:
            raise InvalidInputError(
                f"codes and first must have one shape (n,), got {codes.shape} and {first.shape}. One of each per row."
            )
        object.__setattr__(self, "codes", codes)
        object.__setattr__(self, "first", first)

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def keep(self) -> npt.NDArray[np.bool_]:
        """Which rows stay, shape ``(n,)``."""
        return np.equal(self.codes, 0)

    @property
    def reason(self) -> tuple[str, ...]:
        """Why each row goes; ``""`` for rows that stay."""
        return tuple(REASONS[code] for code in self.codes.tolist())

    def counts(self) -> dict[str, int]:
        """Return how many rows stay, and how many go for each reason.

        :returns: ``kept`` and the reasons, with their counts
        """
        found = np.bincount(self.codes, minlength=len(REASONS)).tolist()
        return dict(zip(("kept", *REASONS[1:]), found, strict=True))
