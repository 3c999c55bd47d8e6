"""Work on streams in two processes: the second is a fork that touches only what is in memory."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

__all__ = ["can_fork", "in_two", "middle"]


def can_fork() -> bool:
    return (
        "fork" in multiprocessing.get_all_start_methods()
        and (os.cpu_count() or 1) > 1
        and len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else (0, 1)) > 1
    )


def middle(batches: list[pa.RecordBatch], near: int) -> tuple[list[Any], list[Any]]:
    """Cut the rows in two where a stream begins, at or after row `near`."""
    first: list[Any] = []
    for place, batch in enumerate(batches):
        if near >= batch.num_rows:
            near -= batch.num_rows
            first.append(batch)
            continue
        streams = batch.column("stream")
        before = streams[near - 1].as_py() if near else None
        if near == 0 and first:
            before = first[-1].column("stream")[-1].as_py()
        row = near
        while row < batch.num_rows and streams[row].as_py() == before:
            row += 1
        if row == batch.num_rows:
            near = 0
            first.append(batch)
            continue
        head, tail = batch.slice(0, row), batch.slice(row)
        return [*first, *([head] if row else [])], [tail, *batches[place + 1 :]]
    return first, []


def in_two(
    fold: Callable[[Sequence[Any]], Iterator[Any]],
    halves: tuple[list[Any], list[Any]],
    sizes: list[int],
    schema: pa.Schema,
) -> Iterator[Any]:
    """Fold two halves at once, the second one in a process of its own; yield batches of `sizes`."""
    mine, theirs = halves
    if not theirs:
        yield from _sized(fold(mine), sizes, schema)
        return
    with tempfile.TemporaryDirectory(prefix="esnb-fold-") as folder:
        place = Path(folder, "half.arrow")
        child = _forked(lambda: _written(place, fold(theirs), schema))
        try:
            here = list(fold(mine))
            _, status = os.waitpid(child, 0)
            child = 0
        finally:
            if child:
                os.kill(child, 9)
                os.waitpid(child, 0)
        # What went wrong there goes wrong here too, and is then told in full.
        there = _read(place) if status == 0 else fold(theirs)
        yield from _sized((*here, *there), sizes, schema)


def _forked(work: Callable[[], None]) -> int:
    with warnings.catch_warnings():
        # The child runs Python and Arrow on what is in memory, and touches no lock of DuckDB.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child:
        return child
    status = 1
    try:
        work()
        status = 0
    finally:
        os._exit(status)


def _written(place: Path, batches: Iterable[Any], schema: pa.Schema) -> None:
    with pa.OSFile(str(place), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def _read(place: Path) -> list[Any]:
    with pa.OSFile(str(place), "rb") as file:
        found: list[Any] = pa.ipc.open_file(file).read_all().to_batches()
    return found


def _sized(batches: Iterable[Any], sizes: list[int], schema: pa.Schema) -> Iterator[Any]:
    whole = pa.Table.from_batches(list(batches), schema)
    start = 0
    for size in sizes:
        piece = whole.slice(start, size).combine_chunks()
        start += size
        if size:
            yield piece.to_batches()[0]
        else:
            yield pa.RecordBatch.from_arrays(
                [pa.array([], field.type) for field in schema], schema=schema
            )
