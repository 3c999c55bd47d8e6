"""Rows of several ranges of streams, on disk until they can be written in one order.

Each range is folded by itself, and its rows are in the order of time.  Were they left apart, a
question about a moment would have to look into the rows of every range; merged, it looks into the
few row groups about that moment, whatever the number of streams.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from esnb.log import files
from esnb.timeline.parts import GROUP_ROWS

__all__ = ["Runs"]


class Runs:
    """Runs of rows, each in the order of ``system_from``; a context that takes its files away.

    Parameters
    ----------
    folder
        Where they stand meanwhile, as they are in memory.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._places: list[Path] = []
        self._schema: pa.Schema | None = None

    def __enter__(self) -> Runs:
        return self

    def __exit__(self, *_: object) -> None:
        for place in self._places:
            with suppress(OSError):
                place.unlink(missing_ok=True)

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the columns of all runs."""
        if self._schema is None:
            raise AssertionError("there is no run yet")
        return self._schema

    def add(self, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
        """Keep a run of record batches with columns ``system_from`` and ``position``."""
        self._schema = self._schema or schema
        same = schema.equals(self._schema)
        place = files.temporary(self._folder)
        self._places.append(place)
        with pa.OSFile(str(place), "wb") as file, pa.ipc.new_file(file, self._schema) as writer:
            for batch in batches:
                if batch.num_rows:
                    writer.write_batch(batch if same else batch.cast(self._schema))

    def merged(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows of all runs, a row group at a time, each after all of the one before.

        Within a row group they are as they come: whoever looks for a moment reads whole groups,
        and to sort them costs more than all else here.
        """
        runs = [run for run in map(_Run, self._places) if run.more]
        waiting: list[pa.RecordBatch] = []
        room = GROUP_ROWS
        while runs:
            # Up to here no run has rows that were not looked at.
            bound = min(run.last for run in runs)
            known = [run.upto(bound) for run in runs]
            if sum(map(len, known)) > room:
                bound = int(np.partition(np.concatenate(known), room - 1)[room - 1])
            pieces = [run.until(bound) for run in runs]
            waiting += pieces
            room -= sum(piece.num_rows for piece in pieces)
            runs = [run for run in runs if run.more]
            if room <= 0 or not runs:
                # Rows of one moment stay together, and may be more than a row group has.
                yield pa.concat_batches(waiting)
                waiting, room = [], GROUP_ROWS


class _Run:
    """A run that is read from its begin, a batch at a time.

    Attributes
    ----------
    last
        ``system_from`` of the last row of the batch that is being read.
    more
        Whether any row was not given out yet.
    """

    def __init__(self, place: Path) -> None:
        # Read, and not mapped: mapped pages are memory of this process as long as there is any.
        self._batches = pa.ipc.open_file(pa.OSFile(str(place)))
        self._number, self._start = -1, 0
        self._next()

    def upto(self, bound: int) -> Any:
        """Return ``system_from`` of the rows that `until` would return."""
        stop = int(np.searchsorted(self._known, bound, side="right"))
        return self._known[self._start : stop]

    def until(self, bound: int) -> pa.RecordBatch:
        """Give out the next rows of this batch whose ``system_from`` is at most `bound`."""
        start = self._start
        self._start += len(self.upto(bound))
        piece = self._batch.slice(start, self._start - start)
        if self._start == len(self._known):
            self._next()
        return piece

    def _next(self) -> None:
        self._number += 1
        self.more = self._number < self._batches.num_record_batches
        if self.more:
            self._batch = self._batches.get_batch(self._number)
            known = self._batch.column("system_from").cast(pa.int64())
            self._known = known.to_numpy(zero_copy_only=False)
            self._start, self.last = 0, int(self._known[-1])
