"""Language models of transformers on this machine, loaded when they are first needed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kgneg.core.errors import InvalidInputError
from kgneg.core.validation import choose, validate_device
from kgneg.selfinstruct.judge import Judgements

__all__ = ["LocalModel", "both_forms"]

_CLASSES = {"causal": "AutoModelForCausalLM", "classifier": "AutoModelForSequenceClassification"}
_PARTS = (".json", ".txt", ".safetensors", ".bin", ".model", ".jinja")


class LocalModel:
    """A model with its tokenizer. Weights are read at first use, and not sent to other processes.

    :param name: the folder of a model, or the name of one that can be downloaded
    :param kind: ``"causal"`` or ``"classifier"``
    :param device: where it runs
    :param revision: which version of a named model
    :raises InvalidInputError: if the kind or the device is unknown
    """

    def __init__(
        self, name: str | Path, *, kind: str, device: str | torch.device = "cpu", revision: str | None = None
    ) -> None:
        self.name, self.revision = str(name), revision
        self.kind = choose("kind", kind, tuple(_CLASSES))
        self.device = validate_device(device)
        self._identity: str | None = None
        self._loaded: tuple[Any, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_loaded": None}

    @property
    def short_name(self) -> str:
        """The last part of the name."""
        return Path(self.name).name

    def identity(self) -> str:
        """Return a hash of the files of a folder, or the name and revision.

        :returns: the same text for the same model
        """
        if self._identity is None:
            folder = Path(self.name)
            self._identity = _hash(folder) if folder.is_dir() else f"{self.name}@{self.revision or 'main'}"
        return self._identity

    def load(self) -> tuple[Any, Any]:
        """Return the tokenizer and the model, which are kept.

        :returns: the tokenizer; the model on its device, in evaluation mode
        :raises InvalidInputError: if they cannot be loaded
        """
        if self._loaded is None:
            import transformers

            from kgneg.core.encode import bars_hidden

            try:
                with bars_hidden():
                    tokenizer = transformers.AutoTokenizer.from_pretrained(self.name, revision=self.revision or "main")
                    model = getattr(transformers, _CLASSES[self.kind]).from_pretrained(
                        self.name, revision=self.revision or "main"
                    )
            except Exception as error:
                said = str(error).splitlines()[0] if str(error) else "no message"
                raise InvalidInputError(
                    f"the {self.kind} model {self.name!r} cannot be loaded ({type(error).__name__}: {said}). Give the "
                    "folder of a model of transformers, or the name of one that can be downloaded."
                ) from error
            self._loaded = tokenizer, model.to(self.device).eval()
        return self._loaded


def both_forms(true: np.ndarray, statement: np.ndarray, negation: np.ndarray, margin: float) -> Judgements:
    """Return verdicts, without those on triples whose sentence and negation are both affirmed, or both denied.

    :param true: shape: ``(n,)``, P(true) of each triple
    :param statement: shape: ``(n,)``, P(the sentence holds)
    :param negation: shape: ``(n,)``, P(the negation holds)
    :param margin: how far from 0.5 something is affirmed or denied
    :returns: the verdicts; NaN and ``contradiction`` where the two do not go together

    >>> both_forms(np.array([0.5, 0.9]), np.array([0.95, 0.9]), np.array([0.95, 0.1]), 0.1).reasons
    ('contradiction', '')
    """
    affirmed = (statement > 0.5 + margin) & (negation > 0.5 + margin)
    denied = (statement < 0.5 - margin) & (negation < 0.5 - margin)
    against = affirmed | denied
    return Judgements.of(np.where(against, np.nan, true), ["contradiction" if one else "" for one in against.tolist()])


def _hash(folder: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(folder.rglob("*")):
        if path.suffix in _PARTS and path.is_file():
            digest.update(path.relative_to(folder).as_posix().encode())
            with path.open("rb") as handle:
                while chunk := handle.read(1 << 20):
                    digest.update(chunk)
    return digest.hexdigest()
