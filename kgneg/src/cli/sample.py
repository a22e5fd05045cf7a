"""``kgneg sample``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from kgneg.cli.options import text_options, usage_errors

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    import torch

__all__ = ["sample_command"]

_NEGATIVES_AT_ONCE = 100_000


class _Source(NamedTuple):
    """The known triples, and the positives that get negatives."""

    training: Any
    positives: torch.Tensor
    entities: list[str]
    relations: list[str]
    texts: str | None


@click.command("sample")
@click.option("--triples", metavar="FILE", help="Positives, in the order of the file: TSV or Parquet, labels.")
@click.option(
    "--dataset",
    metavar="NAME|PATH",
    help="A graph whose training triples are known. Without --triples, they are the positives too.",
)
@click.option("--sampler", required=True, metavar="NAME[:KEY=VALUE,...]", help="A sampler of kgneg, with its options.")
@click.option("--negatives", type=click.IntRange(min=1), default=10, show_default=True, help="Negatives per positive.")
@click.option("--out", required=True, metavar="FILE", help="A file that ends in .tsv or .parquet.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The same seed, the same file.")
@click.option("--unfiltered", is_flag=True, help="Do not remove known triples from the negatives.")
@text_options
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    help="Positives at once; bounds the memory. Other sizes give other draws.  [default: 100000 / negatives]",
)
def sample_command(
    *,
    triples: str | None,
    dataset: str | None,
    sampler: str,
    negatives: int,
    out: str,
    seed: int,
    unfiltered: bool,
    batch_size: int | None,
    **text_arguments: str | None,
) -> None:
    """Write negatives for a file of triples, labels in and labels out.

    The file gets one row per negative: head, relation, tail, the three labels of its positive, the side that was
    replaced, and whether a uniform draw stands in for the method. Without --dataset, the known triples are those of the
    file.

    \b
    kgneg sample --triples train.tsv --sampler typed --negatives 10 --out negatives.tsv
    kgneg sample --dataset my-graph --sampler lemon:n_clusters=50 --out negatives.parquet

    The sampler "given" takes a Parquet file that was written so.
    """  # noqa: D301
    with usage_errors():
        choice = _choice(sampler, unfiltered, seed, text_arguments)
    if triples is None and dataset is None:
        raise click.UsageError("give --triples or --dataset")
    path = Path(out)
    if path.suffix not in (".tsv", ".parquet"):
        raise click.UsageError(f"--out must end in .tsv or .parquet, got {out!r}")

    import torch

    from kgneg.compare import UnknownNameError
    from kgneg.compare.falsehood import make_sampler
    from kgneg.compare.runs import quiet_pykeen
    from kgneg.compare.samplers import with_texts

    with usage_errors(UnknownNameError), quiet_pykeen():
        source = _load(triples, dataset)
    with quiet_pykeen():
        drawer = make_sampler(with_texts(choice, text_arguments, default_texts=source.texts), source, negatives)
    size = batch_size or max(1, _NEGATIVES_AT_ONCE // negatives)
    with _writer(path, source) as write:
        for batch in torch.split(source.positives, size):
            write(drawer.draw(batch).to_frame(source.entities, source.relations))
    counts = drawer.report()
    click.echo(f"{path}: " + ", ".join(f"{counts[name]:,} {name}" for name in ("drawn", "rejected", "fallback")))


def _choice(text: str, unfiltered: bool, seed: int, text_arguments: dict[str, str | None]) -> Any:
    """Return the sampler; only those of kgneg tell which side they replaced."""
    from kgneg.compare.names import find_sampler, unknown_name
    from kgneg.compare.samplers import SamplerChoice, with_texts
    from kgneg.core.errors import InvalidInputError
    from kgneg.integrations.pykeen import SAMPLERS

    name = text.partition(":")[0].strip()
    if find_sampler(name) not in SAMPLERS:
        raise unknown_name("sampler of kgneg", name, {known.display_name for known in SAMPLERS})
    choice = SamplerChoice.parse(text)
    given = {name: value for name, value in text_arguments.items() if value is not None}
    if given and with_texts(choice, given, default_texts=None) == choice:
        raise InvalidInputError(
            f"{', '.join(given)} would have no effect: {name} reads no texts that are not set already"
        )
    for option, value, flag in (("filtered", not unfiltered, "--unfiltered"), ("seed", seed, "--seed")):
        if option in choice.options:
            raise InvalidInputError(f"set {option} by {flag}, not in --sampler")
        choice = SamplerChoice(choice.name, {**choice.options, option: value}, choice.label)
    return choice


def _load(triples: str | None, dataset: str | None) -> _Source:
    """Return known triples and positives."""
    from kgneg.compare.data import load_training
    from kgneg.datasets import read_triples

    rows = None if triples is None else read_triples(triples)
    training, texts = load_training(dataset, rows)
    entities = [training.entity_id_to_label[number] for number in range(training.num_entities)]
    relations = [training.relation_id_to_label[number] for number in range(training.num_relations)]
    positives = training.mapped_triples if rows is None else _to_ids(rows, entities, relations, str(triples))
    return _Source(training, positives, entities, relations, texts)


def _to_ids(rows: Any, entities: list[str], relations: list[str], path: str) -> torch.Tensor:
    """Return labelled triples as ids, shape ``(m, 3)``."""
    import numpy as np
    import torch

    from kgneg.core.errors import InvalidInputError

    columns = []
    for column, labels in ((0, entities), (1, relations), (2, entities)):
        ids = {label: number for number, label in enumerate(labels)}
        columns.append(np.fromiter((ids.get(label, -1) for label in rows[:, column]), np.int64, count=len(rows)))
        unknown = np.flatnonzero(columns[-1] < 0)
        if len(unknown):
            what = "relation" if column == 1 else "entity"
            raise InvalidInputError(
                f"{path}, row {unknown[0] + 1}: the {what} {rows[unknown[0], column]!r} is not in the graph of "
                f"--dataset ({len(unknown)} such rows)"
            )
    return torch.from_numpy(np.stack(columns, axis=-1))


@contextmanager
def _writer(path: Path, source: _Source) -> Iterator[Callable[[pd.DataFrame], None]]:
    """Yield a function that appends rows to a file, which appears under its name when all are written."""
    from kgneg.core.errors import InvalidInputError
    from kgneg.core.storage import atomic_path

    if path.suffix == ".tsv":
        strange = next((label for label in [*source.entities, *source.relations] if set(label) & set("\t\n\r")), None)
        if strange is not None:
            raise InvalidInputError(f"the label {strange!r} cannot be written to a TSV file; let --out end in .parquet")
    with atomic_path(path) as temporary, (_tsv if path.suffix == ".tsv" else _parquet)(temporary) as write:
        yield write


@contextmanager
def _tsv(path: Path) -> Iterator[Callable[[pd.DataFrame], None]]:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        empty = True

        def write(frame: pd.DataFrame) -> None:
            nonlocal empty
            if empty:
                file.write("\t".join(frame.columns) + "\n")
                empty = False
            frame = frame.assign(fallback=frame["fallback"].map({False: "0", True: "1"}))
            file.writelines("\t".join(row) + "\n" for row in frame.itertuples(index=False, name=None))

        yield write


@contextmanager
def _parquet(path: Path) -> Iterator[Callable[[pd.DataFrame], None]]:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    names = ("head", "relation", "tail", "positive_head", "positive_relation", "positive_tail", "side")
    schema = pa.schema([*((name, pa.string()) for name in names), ("fallback", pa.bool_())])
    with pq.ParquetWriter(path, schema) as writer:
        yield lambda frame: writer.write_table(pa.Table.from_pandas(frame, schema, preserve_index=False))
