"""What a study has to know of its trials, whatever they train."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import optuna

__all__ = ["StudyData", "StudyKind", "StudySpace", "settings_from_dict"]


class StudyData(Protocol):
    """What trials train with and are judged on."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    def fingerprint(self) -> str:
        """Return a hash of everything."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return its name and sizes as JSON has them."""
        ...


class StudySpace(Protocol):
    """What is searched."""

    def suggest(self, trial: optuna.Trial) -> Any:
        """Choose a configuration, which has a method ``to_dict``."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it, one entry per argument."""
        ...


class StudyKind(Protocol):
    """The settings of a study: what is searched, and what a trial is.

    :class:`~kgneg.studies.StudySettings` trains knowledge graph embeddings,
    :class:`~kgneg.studies.recommenders.RecommenderStudy` recommenders. Trials, their queue, their storage and the
    worker processes know nothing else of them.
    """

    @property
    def trials(self) -> int:
        """How many trials are to be finished."""
        ...

    @property
    def epochs(self) -> int:
        """The largest number of epochs of a trial."""
        ...

    @property
    def search(self) -> str:
        """How configurations are proposed: ``"tpe"`` or ``"random"``."""
        ...

    @property
    def startup(self) -> int:
        """How many trials are drawn at random before TPE learns and before anything is pruned."""
        ...

    @property
    def pruner(self) -> str:
        """Who is given up: ``"median"``, ``"hyperband"`` or ``"none"``."""
        ...

    @property
    def prune_every(self) -> int:
        """The number of epochs between two looks at the score."""
        ...

    @property
    def seed(self) -> int:
        """The seed of the study."""
        ...

    @property
    def failures(self) -> int:
        """How many trials may fail by themselves."""
        ...

    @property
    def objective(self) -> str:
        """What people call the score."""
        ...

    def load(self, given: Any = None) -> Any:
        """Return the data of the trials, or check those that are in memory."""
        ...

    def check(self, data: Any) -> None:
        """Try what can be tried before any training."""
        ...

    def space_of(self, data: Any) -> Any:
        """Return the search space for the data."""
        ...

    def define(self, data: Any) -> dict[str, Any]:
        """Return what the study is about, one entry per setting."""
        ...

    def run(
        self, trial: optuna.Trial, configuration: Any, seed: int, data: Any, on_epoch: Callable[[], object]
    ) -> float:
        """Train and judge one configuration."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON has it, for :func:`settings_from_dict`."""
        ...


def settings_from_dict(values: Mapping[str, Any]) -> StudyKind:
    """Return the settings of a study, of whatever kind.

    :param values: from ``to_dict`` of the settings
    :returns: the settings

    >>> from kgneg.studies import StudySettings
    >>> settings = StudySettings(dataset="nations", samplers=("basic",))
    >>> settings_from_dict(settings.to_dict()).to_dict() == settings.to_dict()
    True
    """
    if values.get("kind") == "recommender":
        from kgneg.studies.recommenders import RecommenderStudy

        return RecommenderStudy.from_dict(values)
    from kgneg.studies.settings import StudySettings

    return StudySettings.from_dict(values)
