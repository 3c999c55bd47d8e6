"""`import_events`: from a file or frame into a log."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from esnb import instants
from esnb.duck import interruptible
from esnb.errors import SourceError
from esnb.progress import bar
from esnb.source import times
from esnb.source.batch import Batch, Source
from esnb.source.frame import Frame
from esnb.source.guess import guess
from esnb.source.ledger import ImportResult, Ledger, Refusal
from esnb.source.opened import Opened
from esnb.source.parquet import Parquet
from esnb.source.roles import Column, Role, described, resolve, wants
from esnb.source.stage import Canon
from esnb.source.store import Store
from esnb.source.text import Csv, JsonLines
from esnb.source.xes import Xes

if TYPE_CHECKING:
    from esnb.log import Log

__all__ = ["import_events", "open_source"]

_FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".xes": "xes",
}
Given = str | Callable[[Mapping[str, Any]], Any] | Any


@interruptible()
def import_events(
    source: Any,
    log: Log,
    *,
    stream: Given = None,
    category: Given = None,
    event_type: Given = None,
    event_id: Given = None,
    occurred_on: Given = None,
    recorded_on: Given = None,
    order: Given = None,
    data: Given = None,
    metadata: Given = None,
    actor: Given = None,
    correlation_id: Given = None,
    causation_id: Given = None,
    tags: Given = None,
    schema_version: Given = None,
    format: str | None = None,
    zone: str | None = None,
    time_format: str | None = None,
    null_values: Sequence[str] = (),
    types: Mapping[str, str] | None = None,
    errors: str = "reject",
    progress: bool | None = None,
) -> ImportResult:
    """Import events from a file or frame into a log, all or nothing.

    A role is the name of a column, a function of the row (a mapping from column to
    value), or ``constant(value)``.  Roles that are not given are guessed from well-known
    column names.  Importing the same source twice adds nothing.

    Parameters
    ----------
    source
        Path of a CSV, JSON lines, Parquet or XES file (the texts also ``.gz`` or alone in
        a ``.zip``), or a table of pandas, Polars, Arrow or DuckDB.
    log
        Where the events go.
    stream, category
        With a category the stream is ``category-VALUE``; without one the stream column
        holds whole names such as ``order-17``.  For `category`, `event_type` and `actor`
        a text that is no column is a fixed value.
    event_type
        What happened.
    event_id
        Identity; made from the content by default.
    occurred_on, recorded_on
        When it happened, and when the system of record knew it (``occurred_on`` by default).
    order
        What orders the events of one stream (numbers as numbers); by default
        `recorded_on`, then the order of the source.
    data, metadata
        A list of columns, or one column of JSON objects, which stay as they are.  Data is
        by default every column that no other role uses.
    actor, correlation_id, causation_id, schema_version
        See `esnb.event.DomainEvent`.
    tags
        A column of lists, or a list of columns, which become ``NAME:value``.
    format
        ``"csv"``, ``"jsonl"``, ``"parquet"`` or ``"xes"``, where the name does not tell.
    zone
        Time zone (IANA name) of times without one; the log's declared zone by default.
    time_format
        How times are written (``"%d/%m/%Y %H:%M"``), or ``"epoch_s"``, ``"epoch_ms"``,
        ``"epoch_us"``; ISO 8601 by default.
    null_values
        CSV texts that mean missing, such as ``["?", "NA"]``, besides the empty text.
    types
        CSV columns that are no text: ``{"amount": "DECIMAL(18,2)"}``.
    errors
        ``"reject"`` lists bad rows in the ledger; ``"raise"`` stops at the first.
    progress
        Show a bar; by default on a terminal and in a notebook.

    Returns
    -------
    ImportResult
        ``read == kept + duplicates + rejected``, and the ledger of refusals.

    Raises
    ------
    SourceError
        If the source or a role cannot be used, or a row is bad and ``errors="raise"``.
        Nothing was imported.
    DuplicateEventError
        If the log has an event of the same id and other content.  Nothing was imported.
    """
    began = time.perf_counter()
    if errors not in ("reject", "raise"):
        raise SourceError(f"errors={errors!r}: say 'reject' or 'raise'")
    zone = _zone(zone or log.zone)
    _check_form(time_format)
    opened = open_source(source, format, null_values, types)
    given = {
        "stream": stream,
        "category": category,
        "event_type": event_type,
        "event_id": event_id,
        "occurred_on": occurred_on,
        "recorded_on": recorded_on,
        "order": order,
        "data": data,
        "metadata": metadata,
        "actor": actor,
        "correlation_id": correlation_id,
        "causation_id": causation_id,
        "tags": tags,
        "schema_version": schema_version,
    }
    roles = resolve(guess(given, opened.columns), opened.columns, opened.name)
    _check_times(roles, opened.schema, zone, time_format)
    ledger = Ledger(opened.name, errors)
    with tempfile.TemporaryDirectory(prefix="esnb-import-") as folder:
        store = Store(Path(folder), ids="event_id" in roles, ordered="order" in roles)
        try:
            _stage(opened, roles, store, ledger, Canon(roles, zone, time_format), progress)
            repeats = store.refuse_twins(ledger)
            with bar(progress, store.rows, " events", "writing") as step:
                result = log.append_frame(_counted(store.events(), step), trusted=True)
        finally:
            store.close()
    return ImportResult(
        opened.name,
        ledger.read,
        result.appended,
        result.duplicates + repeats,
        ledger.rejected,
        ledger.table(),
        time.perf_counter() - began,
        described(roles),
    )


def open_source(
    source: Any,
    format: str | None = None,
    null_values: Sequence[str] = (),
    types: Mapping[str, str] | None = None,
) -> Source:
    """Return a reader for a path or frame.

    Raises
    ------
    SourceError
        If it does not exist, is of no known format, or takes no such option.
    """
    if isinstance(null_values, str):
        raise SourceError(f"null_values={null_values!r}: say a list, [{null_values!r}]")
    if isinstance(source, bytes | bytearray):
        raise SourceError("bytes cannot be imported; write them to a file and give its path")
    if not isinstance(source, str | os.PathLike):
        _only_csv(null_values, types)
        return Frame(source)
    path = Path(source)
    opened = Opened(path)
    found = format or _FORMATS.get(Path(opened.name).suffix.lower())
    if found == "csv":
        return Csv(opened, null_values, types)
    _only_csv(null_values, types)
    if found == "jsonl":
        return JsonLines(opened)
    if found == "xes":
        return Xes(opened)
    if found == "parquet":
        if opened.name != path.name:
            raise SourceError(f"{path}: unpack the Parquet file first; it is compressed in itself")
        return Parquet(path)
    known = ", ".join(sorted(_FORMATS))
    raise SourceError(
        f"{path}: its name does not tell the format ({known}, the texts also with .gz or .zip). "
        "Say format='csv', 'jsonl', 'parquet' or 'xes'"
    )


def _stage(
    source: Source,
    roles: Mapping[str, Role],
    store: Store,
    ledger: Ledger,
    canon: Canon,
    progress: bool | None,
) -> None:
    def keep(batch: Batch, refused: list[Refusal]) -> None:
        table, bad = canon.rows(batch)
        ledger.enter(refused + bad, table.num_rows)
        store.add(table)

    # One thread reads, one checks and stores: the second is mostly in DuckDB and Arrow.
    with closing(canon), ThreadPoolExecutor(1, "esnb-import") as pool:
        under_way: Future[None] | None = None
        done = 0
        with bar(progress, source.size, source.unit, f"reading {source.name}") as step:
            for batch in source.read(wants(roles), ledger):
                refused = ledger.take()
                if under_way is not None:
                    under_way.result()
                under_way = pool.submit(keep, batch, refused)
                step(batch.done - done)
                done = batch.done
        if under_way is not None:
            under_way.result()
    ledger.enter(ledger.take())


def _counted(
    batches: Iterator[pa.RecordBatch], step: Callable[[int], object]
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield batch
        step(batch.num_rows)


def _only_csv(null_values: Sequence[str], types: Mapping[str, str] | None) -> None:
    if null_values or types:
        raise SourceError("null_values and types are for CSV; other formats have their own types")


def _zone(name: str | None) -> str | None:
    if name is not None:
        instants.zone(name)
    return name


def _check_form(form: str | None) -> None:
    if form is None or form in times.EPOCHS:
        return
    try:
        datetime.strptime("", form)
    except ValueError as error:
        if "does not match" not in str(error):
            raise SourceError(f"time_format={form!r}: {error}") from None


def _check_times(
    roles: Mapping[str, Role], schema: Any, zone: str | None, form: str | None
) -> None:
    if schema is None:
        return
    for name in ("occurred_on", "recorded_on"):
        role = roles.get(name)
        if isinstance(role, Column):
            field = schema.field(schema.get_field_index(role.name))
            kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
            if pa.types.is_large_string(kind) or kind == pa.string_view():
                kind = pa.string()
            times.check_column(role.name, kind, zone, form)
