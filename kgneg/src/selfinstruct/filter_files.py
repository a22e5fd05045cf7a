"""A self-instruct filter in a folder: JSON, safetensors, and tables of recorded verdicts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgneg.core.cache import ArtefactCache, content_key
from kgneg.core.encode import Encoder, LexicalEncoder, SentenceEncoder, bundled_model
from kgneg.core.errors import InvalidInputError
from kgneg.core.storage import atomic_path, read_tensors, write_tensors
from kgneg.selfinstruct.critic import Critic, encoder_identity
from kgneg.selfinstruct.judge import Judge
from kgneg.selfinstruct.recorded import RecordedJudge
from kgneg.selfinstruct.verbalizer import Verbalizer

if TYPE_CHECKING:
    from kgneg.selfinstruct.filter import SelfInstructFilter

__all__ = ["filter_parts", "load_filter", "save_filter"]

_STATE, _VERSION = "filter.json", 2
_DIGITS = 16
_OPTIONS = {"judges": "--judge", "rules": "--known"}
_PART = re.compile(r"(?:critic|judges-\d+|rules-\d+)(?:-[0-9a-f]+)?\.(?:safetensors|parquet)")


def save_filter(filter_: SelfInstructFilter, folder: str | Path) -> None:
    """Write a fitted filter.

    A filter that was saved there before stays whole until the new one is: the other files are named by what they hold,
    ``filter.json`` says which belong to it and is replaced last, and then files of the old one are deleted.

    Recorded judges are kept with their verdicts. Others are not kept, as they may hold secrets: hand them to
    :func:`load_filter` again.

    :param filter_: the filter
    :param folder: it is created
    :raises InvalidInputError: if the filter has learned nothing yet
    """
    if not filter_.fitted:
        raise InvalidInputError("this filter has learned nothing yet: call fit first")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state: dict[str, Any] = {"version": _VERSION, "filter": filter_.state(), "critic": None, "recorded": {}}
    state["asked"] = {}
    for role, judges in (("judges", filter_.judges), ("rules", filter_.rules)):
        state["asked"][role] = [judge.fingerprint() for judge in judges]
        recorded = [judge for judge in judges if isinstance(judge, RecordedJudge)]
        if recorded and len(recorded) == len(judges):
            state["recorded"][role] = [
                f"{role}-{number}-{judge.fingerprint()[:_DIGITS]}.parquet" for number, judge in enumerate(recorded)
            ]
            for name, judge in zip(state["recorded"][role], recorded, strict=True):
                judge.save(folder / name)
    critic = filter_.critic
    if critic is not None:
        tensors, plain = critic.state()
        name = f"critic-{content_key(*(tensors[one] for one in sorted(tensors)))[:_DIGITS]}.safetensors"
        write_tensors(folder / name, tensors, {"version": str(_VERSION)})
        state["critic"] = {
            "file": name,
            "plain": plain,
            "encoder": _spelling(critic.encoder),
            "identity": encoder_identity(critic.encoder),
            "landmarks": critic.landmarks,
            "seed": critic.seed,
            "verbalizer": None if critic.verbalizer is None else critic.verbalizer.content(),
        }
    with atomic_path(folder / _STATE) as path:  # last: a folder without it is no filter
        path.write_text(json.dumps(state, ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    own = filter_parts(folder)
    for old in folder.iterdir():
        if _PART.fullmatch(old.name) and old not in own:
            old.unlink(missing_ok=True)


def filter_parts(folder: str | Path) -> list[Path]:
    """Return the files of a saved filter.

    :param folder: what :func:`save_filter` has written
    :returns: ``filter.json`` first
    :raises InvalidInputError: if the folder holds no filter of this version, or a file is missing
    """
    folder = Path(folder)
    with _whole(folder / _STATE) as state:
        names = [name for role in sorted(state["recorded"]) for name in state["recorded"][role]]
        names += [] if state["critic"] is None else [state["critic"]["file"]]
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise InvalidInputError(
            f"the filter in {folder} is not whole: there is no file {missing[0]}. Copy the whole folder, or fit again."
        )
    return [folder / _STATE, *(folder / name for name in names)]


def load_filter(
    folder: str | Path,
    *,
    judges: Sequence[Judge] | None = None,
    rules: Sequence[Judge] | None = None,
    encoder: str | Encoder | None = None,
    cache: ArtefactCache | None = None,
    progress: bool = True,
) -> SelfInstructFilter:
    """Read a filter.

    :param folder: what :func:`save_filter` has written
    :param judges: the judges of the fit, in their order; ``None`` reads recorded ones from the folder
    :param rules: likewise
    :param encoder: that of the critic; ``None`` takes the one whose name is in the folder
    :param cache: of the critic, where vectors of candidates are kept; ``None`` keeps none
    :param progress: whether the critic shows progress bars
    :returns: the filter
    :raises InvalidInputError: if the folder holds no filter of this version, or parts are missing or others
    """
    folder = Path(folder)
    filter_parts(folder)
    with _whole(folder / _STATE) as state:
        return _made(folder, state, judges, rules, encoder, cache, progress)


def _made(
    folder: Path,
    state: dict[str, Any],
    judges: Sequence[Judge] | None,
    rules: Sequence[Judge] | None,
    encoder: str | Encoder | None,
    cache: ArtefactCache | None,
    progress: bool,
) -> SelfInstructFilter:
    from kgneg.selfinstruct.filter import SelfInstructFilter

    found, settings = state["filter"], state["filter"]["settings"]
    heard = [
        _judges(
            folder, role, found[role], state["recorded"].get(role), given, needed=role == "rules" or settings["ask"]
        )
        for role, given in (("judges", judges), ("rules", rules))
    ]
    for role, given in zip(("judges", "rules"), heard, strict=True):
        prints = [judge.fingerprint() for judge in given]
        # others of the same name may stand in, such as recorded verdicts on other triples
        if prints != state["asked"][role] and sorted(prints) == sorted(state["asked"][role]):
            raise InvalidInputError(f"the {role} of the filter in {folder} are in another order: use that of the fit")
    critic = None
    if state["critic"] is not None:
        critic = _critic(folder, state["critic"], encoder, cache, progress)
    made = SelfInstructFilter(judges=heard[0], rules=heard[1], critic=critic, **settings)
    made.restore(found)
    return made


def _critic(
    folder: Path, state: dict[str, Any], encoder: str | Encoder | None, cache: ArtefactCache | None, progress: bool
) -> Critic:
    encoder = state["encoder"] if encoder is None else encoder
    if encoder is None:
        raise InvalidInputError(f"the critic in {folder} used an encoder of the caller's own: hand it in with encoder=")
    words = None if state["verbalizer"] is None else Verbalizer(**state["verbalizer"])
    made = Critic(
        encoder=encoder,
        verbalizer=words,
        landmarks=state["landmarks"],
        seed=state["seed"],
        cache=cache,
        progress=progress,
    )
    if encoder_identity(made.encoder) != state["identity"]:
        raise InvalidInputError(
            f"the critic in {folder} used the encoder {state['identity']!r}, got {encoder_identity(made.encoder)!r}: "
            "hand in the one of the fit, or fit again"
        )
    return made.restore(read_tensors(folder / state["file"])[0], state["plain"])


def _judges(
    folder: Path, role: str, names: list[str], files: list[str] | None, given: Sequence[Judge] | None, *, needed: bool
) -> Sequence[Judge]:
    if given is None and files is not None:
        return [RecordedJudge.load(folder / file, name=name) for file, name in zip(files, names, strict=True)]
    if given is None and (not names or not needed):
        return ()
    if given is None or [judge.name for judge in given] != names:
        got = "none" if given is None else ", ".join(judge.name for judge in given) or "none"
        raise InvalidInputError(
            f"the filter in {folder} asks {', '.join(names)}, got {got}: hand the same judges in with {role}= "
            f"({_OPTIONS[role]})"
        )
    return given


def _spelling(encoder: Encoder) -> str | None:
    """Return the plain spelling of an encoder, if it has one."""
    if isinstance(encoder, SentenceEncoder):
        if encoder.name == bundled_model():
            return "minilm"
        return str(Path(encoder.name).absolute()) if Path(encoder.name).is_dir() else encoder.name
    if isinstance(encoder, LexicalEncoder) and encoder.dim == LexicalEncoder().dim:
        return "lexical"
    return None


@contextmanager
def _whole(path: Path) -> Iterator[dict[str, Any]]:
    """Yield what the file says; say where it is if something is missing in it."""
    state = _read(path)
    try:
        yield state
    except KeyError as error:
        raise InvalidInputError(f"{path} is no whole filter, {error} is missing: fit again") from error


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InvalidInputError(f"there is no file {path}: is {path.parent} the folder of a filter?")
    try:
        state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = state["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInputError(f"{path} is no filter ({error}): save it again") from error
    if version != _VERSION:
        raise InvalidInputError(f"{path} is a filter of version {version}, expected {_VERSION}: fit again")
    return state
