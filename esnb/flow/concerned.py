"""Which objects events concern: that of their stream, and those that their tags name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from esnb.errors import FlowError, shown
from esnb.flow.selection import CHOSEN, LogSelection
from esnb.log.segment import Segment
from esnb.query.table import events_sql

__all__ = ["NUL", "ObjectSelection", "by_object"]

# Between type and id of an object: no text of a log holds it, and it sorts before all others.
NUL = "\0"

_TOGETHER = 400_000


class ObjectSelection(LogSelection):
    """Events of a log with the objects that they concern as their cases, named ``type NUL id``.

    Parameters
    ----------
    types
        Types of the objects that are asked for; all without.
    """

    _also = ("position", "tags")

    def __init__(self, log: Any, types: Iterable[str] | None, **options: Any) -> None:
        super().__init__(log, **options)
        self.types = None if types is None else _texts(types)

    def only(self, object_type: str) -> ObjectSelection:
        """Return the same selection for the objects of one type."""
        chosen = copy(self)
        chosen.types = (object_type,)
        return chosen

    @property
    def of(self) -> str:
        objects = ", ".join(self.types) if self.types is not None else "all objects"
        return f"{super().of} by {objects}" if super().of else objects

    @property
    def most(self) -> int | None:
        return None

    @property
    def _plain(self) -> bool:
        return False

    def batches(self) -> Iterator[Any]:
        for batch in super().batches() if self._where is not None else self._by_file():
            yield by_object(batch, self.types)

    def _by_file(self) -> Iterator[Any]:
        """Yield the events of a few files, or months, at a time.

        An object that lives through them is then in order as they come, and not to be sorted.
        """
        segments = self._filters.prune(self.snapshot.segments)
        tail = self._filters.tail(self.snapshot)
        self.snapshot.touch(segments)
        groups = list(_groups(segments)) or [[]]
        for group in groups:
            cursor = self.cursor()
            if self._chosen is not None:
                cursor.register(CHOSEN, self._chosen)
            own = tail if group is groups[-1] else tail.slice(0, 0)
            found = cursor.sql(self._select(events_sql(cursor, group, own))).to_arrow_table()
            yield from found.combine_chunks().to_batches()


def _groups(segments: Sequence[Segment]) -> Iterator[list[Segment]]:
    group: list[Segment] = []
    for segment in segments:
        group.append(segment)
        if sum(one.rows for one in group) >= _TOGETHER:
            yield group
            group = []
    if group:
        yield group


def _texts(types: Iterable[str]) -> tuple[str, ...]:
    given = () if isinstance(types, str) else tuple(types)
    if not given or not all(isinstance(one, str) for one in given):
        raise FlowError(
            f"types={shown(types)}: give a list of types of objects, as ['order', 'customer']"
        )
    return tuple(dict.fromkeys(given))


def by_object(batch: Any, types: tuple[str, ...] | None) -> Any:
    """Return the events of a batch once for each object that they concern, by object.

    Texts are looked at once for each that is different: a batch has few.

    Parameters
    ----------
    batch
        ``case_id`` (the stream), ``tags``, ``event_type``, ``time`` and ``position``.
    types
        Types of the objects that are asked for; all without.

    Returns
    -------
    pyarrow.RecordBatch
        ``case_id`` (dictionary of texts, ``type NUL id``), ``event_type``, ``time``, ``position``;
        the events of an object by ``time`` and ``position``.
    """
    streams = batch.column("case_id").dictionary_encode()
    tags = batch.column("tags").flatten().dictionary_encode()
    names = pa.chunked_array([_of_streams(streams.dictionary), _of_tags(tags.dictionary)])
    known = names.combine_chunks().dictionary_encode()
    objects = known.dictionary
    # Null where there is no such object.
    code = known.indices.fill_null(-1).to_numpy().astype(np.int64)
    if types is not None:
        wanted = pc.is_in(_kinds(objects), pa.array(types, pa.string())).to_numpy(False)
        code[(code >= 0) & ~wanted[code]] = -1
    at, position = (batch.column(name).to_numpy() for name in ("time", "position"))
    order = np.lexsort((position, at))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    lengths = batch.column("tags").value_lengths().to_numpy(zero_copy_only=False)
    named = code[len(streams.dictionary) :][tags.indices.to_numpy()]
    keys = np.concatenate([code[streams.indices.to_numpy()], named])
    there = keys >= 0
    keys *= len(order)
    keys += np.concatenate([rank, np.repeat(rank, lengths)])
    if not there.all():
        keys = keys[there]
    # In place: `numpy.unique` would hash before it sorts.
    keys.sort()
    keys = keys[np.diff(keys, prepend=-1) > 0]
    case, row = np.divmod(keys, max(len(order), 1))
    event = order[row]
    return pa.record_batch(
        {
            "case_id": pa.DictionaryArray.from_arrays(pa.array(case.astype(np.int32)), objects),
            "event_type": batch.column("event_type").dictionary_encode().take(pa.array(event)),
            "time": at[event],
            "position": position[event],
        }
    )


def _of_streams(streams: Any) -> Any:
    """Return the objects of streams: ``order-17`` is the order 17, ``audit`` the one audit."""
    whole = pc.binary_join_element_wise(streams, "", NUL)
    parted = pc.replace_substring(streams, "-", NUL, max_replacements=1)
    return pc.if_else(pc.match_substring(streams, "-"), parted, whole)


def _of_tags(tags: Any) -> Any:
    """Return the objects of tags: null for one without a ``:``, or with nothing before it."""
    parted = pc.replace_substring(tags, ":", NUL, max_replacements=1)
    return pc.if_else(pc.greater(pc.find_substring(tags, ":"), 0), parted, None)


def _kinds(objects: Any) -> Any:
    return pc.list_element(pc.split_pattern(objects, NUL, max_splits=1), 0)
