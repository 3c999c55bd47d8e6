"""Reading the few columns of a flow out of the files of a log, without a database between.

A quarter of the work for selections that ask only for categories, event types and a window; all
others are a SELECT (see `esnb.flow.selection`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from esnb import instants
from esnb.errors import DamagedLogError
from esnb.log.segment import Segment
from esnb.query.select import Filters

__all__ = ["Plain"]

_CODED = ("category", "event_type")
_READERS = 2
_USUAL = pa.default_memory_pool()


@contextmanager
def _of_the_system() -> Iterator[None]:
    """Take memory from the system's allocator meanwhile.

    Arrow's own gives back at once what file after file takes anew: half of the time of reading.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(_USUAL)


@dataclass(frozen=True)
class Plain:
    """What can be asked of files without a database.

    Attributes
    ----------
    clock
        Column of the times.
    texts
        Allowed values of ``category`` and ``event_type``.
    first, last
        Microseconds since 1970: from the one on, before the other.
    """

    clock: str
    texts: Mapping[str, Sequence[str]]
    first: int | None
    last: int | None

    @classmethod
    def of(cls, filters: Filters, clock: str) -> Plain | None:
        """Return the filters if they can be asked so; None if not."""
        ends = (f"{clock}_from", f"{clock}_to")
        if (
            filters.positions
            or not set(filters.texts) <= set(_CODED)
            or not set(filters.instants) <= set(ends)
        ):
            return None
        first, last = (
            instants.micros(filters.instants[end]) if end in filters.instants else None
            for end in ends
        )
        return cls(f"{clock}_on", filters.texts, first, last)

    def batches(self, segments: Sequence[Segment], tail: Any) -> Iterator[Any]:
        """Yield the events as `esnb.flow.steps.ordered` takes them.

        Raises
        ------
        DamagedLogError
            If a file is missing or altered.
        """
        waiting: deque[Future[Any]] = deque()
        with _of_the_system(), ThreadPoolExecutor(_READERS, "esnb-flow") as readers:
            try:
                for segment in segments:
                    waiting.append(readers.submit(self._read, segment))
                    if len(waiting) > _READERS:
                        yield from self._chosen(waiting.popleft().result())
                while waiting:
                    yield from self._chosen(waiting.popleft().result())
            finally:
                for future in waiting:
                    future.cancel()
        coded = [(name, tail[name].dictionary_encode()) for name in _CODED]
        rest = [(name, tail[name]) for name in ("stream", self.clock, "position")]
        yield from self._chosen(pa.table(dict(coded + rest)))

    def _read(self, segment: Segment) -> Any:
        names = ["stream", "event_type", self.clock, "position"]
        wanted = self.texts.get("category")
        # Most files hold one category, as their manifest says.
        if wanted is not None and not set(segment.categories or ("",)) <= set(wanted):
            names.append("category")
        try:
            with pq.ParquetFile(
                segment.path, read_dictionary=list(_CODED), page_checksum_verification=True
            ) as file:
                table = file.read(columns=names, use_threads=False)
        except FileNotFoundError:
            raise DamagedLogError(segment.path, "the file is missing") from None
        except (OSError, pa.ArrowException) as error:
            raise DamagedLogError(segment.path, f"it cannot be read ({error})") from error
        return table.unify_dictionaries().combine_chunks()

    def _chosen(self, table: Any) -> Iterator[Any]:
        conditions = [
            pc.is_in(table[name], pa.array(wanted, pa.string()))
            for name, wanted in self.texts.items()
            if name in table.column_names
        ]
        at = table[self.clock].cast(pa.int64())
        if self.first is not None:
            conditions.append(pc.greater_equal(at, self.first))
        if self.last is not None:
            conditions.append(pc.less(at, self.last))
        chosen = pa.table(
            {
                "case_id": table["stream"],
                "event_type": table["event_type"],
                "time": at,
                "position": table["position"],
            }
        )
        if conditions:
            chosen = chosen.filter(reduce(pc.and_, conditions))
        yield from chosen.to_batches()
