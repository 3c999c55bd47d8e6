"""Many plain traces of XES at once, as columns.

Plain text is cut at its quotes: what stands between an attribute's value and the next
attribute's key is one of a handful of texts in a whole file, so each is understood once.
A block is taken only where every ``<`` is accounted for, which makes it well-formed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["OF_TRACE", "Block", "parse"]

# Before the key of an attribute of a trace.
OF_TRACE = "case:"

Numbers = npt.NDArray[np.int64]

_TAGS = ("string", "date", "int", "float", "boolean", "id")
_SPACE = r"[ \t\r\n]*"
# What may stand between a value and the next key.
_GLUE = re.compile(
    rf"(?P<end> ?/>{_SPACE})?(?P<end_event></event>{_SPACE})?(?P<end_trace></trace>{_SPACE})?"
    rf"(?P<trace><trace>{_SPACE})?(?P<event><event>{_SPACE})?(?:<(?P<tag>{'|'.join(_TAGS)}) key=)?"
)
# What it does, by the parts that are there: nothing but going on to the next attribute;
# beginning the first event of a trace, the next event, the next trace (and its event); the
# first trace of the block; its end.
_ON, _EVENT, _NEXT, _TRACE, _TRACE_EVENT, _FIRST, _FIRST_EVENT, _LAST = range(8)
_DOES = {
    ("end", "tag"): _ON,
    ("end", "event", "tag"): _EVENT,
    ("end", "end_event", "event", "tag"): _NEXT,
    ("end", "end_event", "end_trace", "trace", "tag"): _TRACE,
    ("end", "end_event", "end_trace", "trace", "event", "tag"): _TRACE_EVENT,
    ("trace", "tag"): _FIRST,
    ("trace", "event", "tag"): _FIRST_EVENT,
    ("end", "end_event", "end_trace"): _LAST,
}
_BEGINS_EVENT = np.isin(range(8), [_EVENT, _NEXT, _TRACE_EVENT, _FIRST_EVENT])
_BEGINS_TRACE = np.isin(range(8), [_TRACE, _TRACE_EVENT, _FIRST, _FIRST_EVENT])
_ENDS_EVENT = np.isin(range(8), [_NEXT, _TRACE, _TRACE_EVENT, _LAST])
_NO_XML = ("\ufffe".encode(), "\uffff".encode())


@dataclass(frozen=True)
class Block:
    """Plain traces, one row for each attribute in the order of the text.

    Attributes
    ----------
    tags
        Kind of each attribute, as a number into `TAGS`.
    keys
        Dictionary array of the keys as they stand in the text.
    values
        String array.
    event
        Number of the event that has it, from 0; -1 where the trace has it.
    trace
        Number of its trace.
    trace_of
        For each event, its trace.
    lines
        For each event, the line that it begins on, from 0 where the block begins.
    ends
        How many lines end in the block.
    """

    TAGS = _TAGS

    tags: Numbers
    keys: Any
    values: Any
    event: Numbers
    trace: Numbers
    trace_of: Numbers
    lines: Numbers
    ends: int

    @property
    def traces(self) -> int:
        return int(self.trace[-1]) + 1

    @property
    def events(self) -> int:
        return len(self.trace_of)

    @cached_property
    def key_of(self) -> Numbers:
        """Key of each attribute, as a number into `key_names`."""
        return np.asarray(self.keys.indices.to_numpy(), np.int64)

    @cached_property
    def key_names(self) -> list[str]:
        names: list[str] = self.keys.dictionary.to_pylist()
        return names

    @cached_property
    def numbers(self) -> Numbers:
        """For each event, its number within its trace, from 1."""
        first = np.searchsorted(self.trace_of, np.arange(self.traces))
        return np.arange(self.events) - first[self.trace_of] + 1


@dataclass(frozen=True)
class _Glue:
    does: int
    tag: int
    lines: int
    lines_before_event: int
    signs: int


@lru_cache(1024)
def _glue(text: str) -> _Glue | None:
    found = _GLUE.fullmatch(text)
    if found is None:
        return None
    there = {name: part for name, part in found.groupdict().items() if part is not None}
    does = _DOES.get(tuple(there))
    if does is None:
        return None
    before = text[: found.start("event")].count("\n") if "event" in there else 0
    tag = _TAGS.index(there["tag"]) if "tag" in there else -1
    return _Glue(does, tag, text.count("\n"), before, _signs(text.encode()))


def _signs(text: bytes) -> int:
    """Return how many control characters, ampersands and opening brackets there are.

    None of them stands in a key or a value that is plain; some stand between them.
    """
    held = np.frombuffer(text, np.uint8)
    signs = (held < ord(" "), held == ord("&"), held == ord("<"))
    return sum(int(np.count_nonzero(each)) for each in signs)


def parse(piece: bytes) -> Block | None:
    """Return the traces of a text that begins with ``<trace>`` and ends with ``</trace>``.

    None where any of them is not plain: nested or doubled attributes, keys of events that
    look like those of traces, entities, comments, events without attributes, no XES at all.
    """
    if not piece.isascii() and any(never in piece for never in _NO_XML):
        return None
    try:
        text = pa.array([piece], pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:  # no UTF-8
        return None
    parts = pc.split_pattern(text, '"').flatten()
    count, odd = divmod(len(parts), 4)
    if odd != 1 or not count:
        return None
    glues = _every_fourth(parts, 0).dictionary_encode()
    known = [_glue(text) for text in glues.dictionary.to_pylist()]
    if None in known or pc.unique(_every_fourth(parts, 2)).to_pylist() != [" value="]:
        return None
    return _block(piece, parts, [item for item in known if item], glues.indices.to_numpy())


def _every_fourth(parts: Any, first: int) -> Any:
    return parts.take(pa.array(np.arange(first, len(parts), 4)))


def _block(piece: bytes, parts: Any, known: list[_Glue], at: npt.NDArray[Any]) -> Block | None:
    """Put a block together; `at` tells which of the `known` stands before each attribute."""
    if np.array([item.signs for item in known])[at].sum() != _signs(piece):
        return None  # some of them stand in a key or a value
    does = np.array([item.does for item in known])[at]
    rows = np.arange(len(does) - 1)
    does, last = does[:-1], does[-1]
    begins_event, begins_trace = _BEGINS_EVENT[does], _BEGINS_TRACE[does]
    # Whether an attribute is of an event is said where the last thing began before it.
    in_event = begins_event[np.maximum.accumulate(np.where(does == _ON, 0, rows))]
    first = np.isin(does, [_FIRST, _FIRST_EVENT])
    before, then = in_event[:-1], does[1:]
    if (
        last != _LAST
        or not in_event[-1]
        or not first[0]
        or first[1:].any()
        or (does == _LAST).any()
        or (_ENDS_EVENT[then] & ~before).any()
        or ((then == _EVENT) & before).any()
    ):
        return None
    lines = np.array([item.lines for item in known])[at]
    until_event = np.array([item.lines_before_event for item in known])[at]
    begun = np.cumsum(lines) - lines + until_event
    trace = np.cumsum(begins_trace) - 1
    block = Block(
        tags=np.array([item.tag for item in known])[at][:-1],
        keys=_every_fourth(parts, 1).dictionary_encode(),
        values=_every_fourth(parts, 3),
        event=np.where(in_event, np.cumsum(begins_event) - 1, -1),
        trace=trace,
        trace_of=trace[begins_event],
        lines=begun[:-1][begins_event],
        ends=int(lines.sum()),  # a value holds none
    )
    if _some_key_twice(block) or any(key.startswith(OF_TRACE) for key in block.key_names):
        return None
    return block


def _some_key_twice(block: Block) -> bool:
    owner = np.where(block.event < 0, block.trace, block.event + block.traces)
    held = np.sort(owner * len(block.key_names) + block.key_of)
    return bool((held[1:] == held[:-1]).any())
