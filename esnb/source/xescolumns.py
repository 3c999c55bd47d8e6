"""From a block of plain traces to the columns and JSON objects that an import asks for."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from esnb.source.roles import Members
from esnb.source.xesblock import OF_TRACE, Block
from esnb.source.xesvalues import quoted, raw

__all__ = ["Columns"]

_TEXTS = [Block.TAGS.index(tag) for tag in ("string", "date", "id")]


class Columns:
    """The events of a block, one row each."""

    def __init__(self, block: Block) -> None:
        self._block = block
        self._of_trace = block.event < 0
        keys = block.key_names
        self._names = [*keys, *(OF_TRACE + key for key in keys)]
        self._name_of = block.key_of + np.where(self._of_trace, len(keys), 0)

    def names(self) -> list[str]:
        """Return the names of the attributes there are, in the order of the text."""
        _, rows = np.unique(self._name_of, return_index=True)
        return [self._names[self._name_of[row]] for row in np.sort(rows)]

    def column(self, name: str) -> Any:
        """Return the values of one attribute as text; null for events that have none."""
        return self._block.values.take(self._rows(name))

    def objects(self, item: Members) -> Any:
        """Return a JSON object for each event.

        Raises
        ------
        BadAttributeError
            If a value is not of its kind.
        """
        if item.names is not None:
            own = pa.repeat(pa.scalar("", pa.string()), self._block.events)
            for name in item.names:
                key, value = pa.scalar(quoted(name)), self._json(self._rows(name))
                comma = pc.if_else(pc.equal(own, ""), "", ",")
                # Null, and so left out, where there is no such attribute.
                longer = pc.binary_join_element_wise(own, comma, key, ":", value, "")
                own = pc.coalesce(longer, own)
            return pc.binary_join_element_wise("{", own, "}", "")
        kept = np.array([name not in item.without for name in self._names])[self._name_of]
        own = self._joined(kept & ~self._of_trace, self._block.event, self._block.events)
        shared = self._joined(kept & self._of_trace, self._block.trace, self._block.traces)
        shared = shared.take(pa.array(self._block.trace_of))
        both = pc.and_(pc.not_equal(own, ""), pc.not_equal(shared, ""))
        return pc.binary_join_element_wise("{", own, pc.if_else(both, ",", ""), shared, "}", "")

    def _rows(self, name: str) -> Any:
        """Return for each event the row of an attribute of this name, or null."""
        block = self._block
        if name not in self._names:
            return pa.nulls(block.events, pa.int64())
        rows = np.flatnonzero(self._name_of == self._names.index(name))
        if name.startswith(OF_TRACE):
            held = np.full(block.traces, -1)
            held[block.trace[rows]] = rows
            found = held[block.trace_of]
        else:
            found = np.full(block.events, -1)
            found[block.event[rows]] = rows
        return pa.array(found, mask=found < 0)

    def _joined(self, chosen: npt.NDArray[np.bool_], owner: Any, count: int) -> Any:
        """Join the chosen attributes of each owner as members of a JSON object."""
        rows = np.flatnonzero(chosen)
        if not len(rows):
            return pa.array([""], pa.string()).take(pa.array(np.zeros(count, np.int64)))
        keys = pa.array([quoted(name) for name in self._names], pa.string())
        names = keys.take(pa.array(self._name_of[rows]))
        texts = pc.binary_join_element_wise(names, self._json(pa.array(rows)), ":")
        ends = np.searchsorted(owner[rows], np.arange(count + 1)).astype(np.int32)
        return pc.binary_join(pa.ListArray.from_arrays(pa.array(ends), texts), ",")

    def _json(self, rows: Any) -> Any:
        """Return the JSON of the values in some rows."""
        values = self._block.values.take(rows)
        at = rows.fill_null(0).to_numpy()
        tags = self._block.tags[at]
        texts = pc.binary_join_element_wise(
            pa.scalar('"'), pc.replace_substring(values, "\\", "\\\\"), pa.scalar('"'), ""
        )
        for tag in set(range(len(Block.TAGS))) - set(_TEXTS):
            these = (tags == tag) & ~np.asarray(rows.is_null())
            if these.any():
                texts = pc.replace_with_mask(
                    texts, pa.array(these), self._typed(tag, at[these], values.filter(these))
                )
        return texts

    def _typed(self, tag: int, rows: Any, values: Any) -> Any:
        """Return the JSON of numbers and truth values: each that is new is looked at once."""
        values = values.dictionary_encode()
        name = Block.TAGS[tag]
        key = self._names[self._name_of[rows[0]]]
        made = [raw(key, (name, key, value)) for value in values.dictionary.to_pylist()]
        return pa.array(made, pa.string()).take(values.indices)

    @cached_property
    def trace_names(self) -> list[str | None]:
        """For each event, the name of its trace."""
        names: list[str | None] = self.column(OF_TRACE + "concept:name").to_pylist()
        return names
