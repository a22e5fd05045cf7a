"""Open a study: make it, or make sure that it is the same one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kgneg.core.errors import InvalidInputError
from kgneg.studies.kinds import StudyKind
from kgneg.studies.queue import SILENCE, TrialQueue
from kgneg.studies.search import quiet_optuna
from kgneg.studies.storage import StorageAddress

if TYPE_CHECKING:
    import optuna

    from kgneg.studies.worker import Worker

__all__ = ["OpenStudy", "find_study", "open_study"]

_ATTRIBUTE = "kgneg"
_VERSION = "version of "


@dataclass(frozen=True, eq=False)
class OpenStudy:
    """A study with everything that a worker needs.

    :param address: where it is kept
    :param settings: its settings
    :param space: its search space
    :param data: what its trials train with and are judged on
    :param study: the study of Optuna
    :param queue: its trials
    """

    address: StorageAddress
    settings: StudyKind
    space: Any
    data: Any
    study: optuna.Study
    queue: TrialQueue

    def worker(self, deadline: float | None = None, is_wanted: Callable[[], bool] = lambda: True) -> Worker:
        """Return a worker for this process.

        :param deadline: when to take no more trials, as :func:`time.monotonic` has it
        :param is_wanted: tells whether to take another trial
        :returns: the worker
        """
        from kgneg.studies.worker import Worker

        return Worker(self.study, self.queue, self.settings, self.space, self.data, deadline, is_wanted)

    def try_samplers(self) -> None:
        """Try what can be tried before any training.

        :raises InvalidInputError: if something cannot be constructed
        """
        self.settings.check(self.data)


def open_study(
    settings: StudyKind,
    storage: str,
    *,
    name: str | None = None,
    data: Any = None,
    accept_versions: bool = False,
    silence: float = SILENCE,
    new: bool = True,
) -> OpenStudy:
    """Open a study; it is made if it is not there.

    :param settings: its settings
    :param storage: where it is kept, see :class:`~kgneg.studies.storage.StorageAddress`
    :param name: its name in the storage; ``None`` takes that of the graph
    :param data: the triples or interactions, if they are in memory already
    :param accept_versions: whether to go on with other versions of the libraries than the study began with
    :param silence: how long, in seconds, a worker on another machine may be silent until its trial is given up
    :param new: whether the study may be made
    :returns: the study
    :raises InvalidInputError: if there is another study of that name, the triples cannot be read, or there are no
        validation or test triples
    """
    import optuna

    quiet_optuna()
    address = StorageAddress.parse(storage)
    data = settings.load(data)
    name = name or data.name
    opened = address.open()
    if not new and name not in {one.study_name for one in opened.get_all_studies()}:
        raise InvalidInputError(
            f"{address} has no study {name!r} yet, and with SQLite several workers that make it at the same time get "
            "lost. Use a journal (study.log), or begin with one worker"
        )
    study = optuna.create_study(storage=opened, study_name=name, direction="maximize", load_if_exists=True)
    definition = json.loads(json.dumps(settings.define(data)))
    _agree(study, address, definition, accept_versions)
    study.set_user_attr(
        _ATTRIBUTE, {"definition": definition, "settings": settings.to_dict(), "dataset": data.to_dict()}
    )
    queue = TrialQueue(study, opened, settings.trials, silence=silence)
    return OpenStudy(address, settings, settings.space_of(data), data, study, queue)


def find_study(storage: str, name: str | None = None) -> tuple[optuna.Study, dict[str, Any], StorageAddress]:
    """Open a study as it is kept, to look at it.

    :param storage: where it is kept
    :param name: its name; ``None`` takes the only one that there is
    :returns: the study of Optuna; its ``definition``, ``settings`` and ``dataset``; and its address
    :raises InvalidInputError: if there is no such study, or several and no name
    """
    import optuna

    quiet_optuna()
    address = StorageAddress.parse(storage)
    if address.path is not None and not address.path.is_file():
        raise InvalidInputError(f"there is no study: no file {address.path}")
    opened = address.open()
    known = {one.study_name: one.user_attrs for one in opened.get_all_studies() if _ATTRIBUTE in one.user_attrs}
    if name is None and len(known) == 1:
        name = next(iter(known))
    if name not in known:
        listed = ", ".join(sorted(known)) or "none"
        wanted = "several studies; give the name of one" if name is None and known else f"no study {name or ''}".strip()
        raise InvalidInputError(f"{address} has {wanted}; there: {listed}")
    return optuna.load_study(study_name=name, storage=opened), dict(known[name][_ATTRIBUTE]), address


def _agree(study: optuna.Study, address: StorageAddress, definition: Mapping[str, Any], accept_versions: bool) -> None:
    """Refuse to go on with a study that was begun with other settings."""
    begun = bool(study.get_trials(deepcopy=False))  # first, as another process may begin the study just now
    kept = study.user_attrs.get(_ATTRIBUTE)
    if kept is None:
        if begun:
            raise InvalidInputError(
                f"the study {study.study_name!r} in {address} is not one of kgneg; give another name"
            )
        return
    before = kept["definition"]
    names = [name for name in sorted({*before, *definition}) if before.get(name) != definition.get(name)]
    if accept_versions:
        names = [name for name in names if not name.startswith(_VERSION)]
    if names:
        told = "; ".join(
            f"{one}: {_show(before.get(one))} before, {_show(definition.get(one))} now" for one in names[:8]
        )
        remedy = "Give the settings of before, or begin a new study with another name"
        if all(one.startswith(_VERSION) for one in names):
            remedy += ", or accept other versions"
        raise InvalidInputError(f"the study {study.study_name!r} in {address} has other settings. {told}. {remedy}")


def _show(value: Any) -> str:
    return "nothing" if value is None else json.dumps(value, sort_keys=True)
