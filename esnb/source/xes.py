"""XES (IEEE 1849), streamed: one event per row, one trace per stream.

An attribute keeps its type: int and float become JSON numbers to the digit, boolean
true or false, the others text.  A list or container becomes an array of objects with
one member each; an attribute with attributes of its own becomes
``{"value": …, "attributes": {…}}``.  The attributes of a trace are columns ``case:KEY`` and
stand in the data of each of its events (they have no time of their own, so no event
may be singled out); those of the log stand in the metadata of the first event as ``log:KEY``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from esnb import jsontext
from esnb.errors import SourceError
from esnb.source.batch import Batch
from esnb.source.ledger import Ledger
from esnb.source.opened import Opened
from esnb.source.plainxes import Plain
from esnb.source.roles import Members, Wants
from esnb.source.xesblock import OF_TRACE, Block
from esnb.source.xescolumns import Columns
from esnb.source.xesparser import Parser
from esnb.source.xesvalues import (
    BadAttributeError,
    Node,
    apart,
    by_key,
    joined,
    node_of,
    quoted,
    raw,
)

__all__ = ["Xes"]

_ROWS = 50_000
_MAX_DEPTH = 64
_USUAL = ("case:concept:name", "concept:name", "time:timestamp", "org:resource")
_DECLARATIONS = {"extension", "classifier", "global"}


class Xes:
    """An XES log; no document type and no entities of its own are allowed."""

    unit = "B"
    schema = None

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self.name = opened.path.name
        self.size: int | None = opened.size
        keys = dict.fromkeys(_USUAL)
        keys.update(dict.fromkeys(self._sample()))
        self.columns = tuple(keys)

    def read(self, wants: Wants, ledger: Ledger) -> Iterator[Batch]:
        """Yield the events, in the order of the file."""
        rows = _Rows(wants, ledger)
        parser = Parser(self.name)
        rows.listen(parser)
        plain = Plain(parser, rows)
        for block in self._opened.blocks():
            plain.feed(block)
            if rows.waiting >= _ROWS:
                yield rows.batch(self._opened.consumed)
        plain.finish()
        yield rows.batch(self._opened.consumed)
        if rows.root != "log":
            raise SourceError(f"{self.name} is no XES file: it begins with <{rows.root}>")

    def _sample(self) -> Iterator[str]:
        """Yield the keys in the first two blocks."""
        keys = _Keys()
        parser = Parser(self.name)
        keys.listen(parser)
        plain = Plain(parser, keys)
        for number, block in enumerate(self._opened.blocks()):
            plain.feed(block)
            if number == 1:
                break
        plain.pass_on()
        yield from keys.found


class _Keys:
    """The keys of a sample, in the order in which they are met first."""

    takes_blocks = True

    def __init__(self) -> None:
        self.found: dict[str, None] = {}
        self._tags: list[str] = []

    @property
    def depth(self) -> int:
        return len(self._tags)

    def listen(self, parser: Parser) -> None:
        """Take what `parser` reads."""
        tags = self._tags

        def start(tag: str, attributes: dict[str, str]) -> None:
            tags.append(tag)
            key = attributes.get("key")
            if key is not None and len(tags) == 4 and tags[2] == "event":
                self.found[key] = None
            elif key is not None and len(tags) == 3 and tags[1] == "trace":
                self.found[OF_TRACE + key] = None
            elif len(tags) > _MAX_DEPTH:
                raise _too_deep(parser)

        def end(tag: str) -> None:
            tags.pop()

        parser.expat.StartElementHandler, parser.expat.EndElementHandler = start, end

    def add_block(self, block: Block, line: int) -> bool:
        """Take plain traces."""
        self.found.update(dict.fromkeys(Columns(block).names()))
        return True


def _nothing(count: int) -> Any:
    """Return the JSON of that many empty objects."""
    return pa.repeat(pa.scalar("{}", pa.string()), count)


@dataclass(frozen=True)
class _Part:
    """Some rows in columns; `where` gives for a row the name of its trace and its number there."""

    lines: Any
    columns: Any
    built: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]
    where: Callable[[int], tuple[str | None, int]]


class _Rows:
    """Turns elements into rows until a batch is taken."""

    def __init__(self, wants: Wants, ledger: Ledger) -> None:
        self.root = ""
        self.depth = 0
        self.lines: list[int] = []
        self._ledger = ledger
        self._members = wants.members
        self._with_rows = wants.rows
        self._columns: list[tuple[str, list[str | None]]] = [(name, []) for name in wants.columns]
        self._built: list[tuple[str, list[str]]] = [(name, []) for name in wants.members]
        self._log_metadata = "metadata" not in wants.members
        self._metadata: dict[int, str] = {}
        self._rows: list[Mapping[str, Any]] = []
        self._parts: list[_Part] = []
        self._held = 0
        self._names: list[str | None] = []
        self._numbers: list[int] = []
        self._log: list[Any] = []
        self._trace: list[Any] = []
        self._trace_members: dict[str, Node] | None = None
        self._trace_name: str | None = None
        self._trace_texts: dict[str, str] = {}
        self._events = 0

    def listen(self, parser: Parser) -> None:
        """Take what `parser` reads: depth 1 is the log, 2 a trace, 3 an event."""
        depth = 0
        node = node_of
        within: list[Any] | None = None
        event: list[Any] | None = None
        event_line = trace_line = 0

        def start(tag: str, attributes: dict[str, str]) -> None:
            nonlocal depth, event, event_line, trace_line, within
            depth += 1
            if depth == 4 and event is not None:
                event.append(node(tag, attributes))
            elif depth == 3 and tag == "event" and within is self._trace:
                event, event_line = [], parser.line
            elif depth == 2:
                self.depth = 2
                if tag == "trace":
                    trace_line = parser.line
                    within = self._trace
                    within.clear()
                    self._begin_trace()
                elif tag == "event":
                    within = None
                    self._refuse(parser.line, "stands in no trace")
                elif tag in _DECLARATIONS:
                    within = None
                else:
                    within = self._log
                    within.append(node(tag, attributes))
            elif depth == 1:
                self.root = tag
                self.depth = 1
            else:
                if depth > _MAX_DEPTH:
                    raise _too_deep(parser)
                if depth == 3 and within is self._trace:
                    if self._events:
                        reason = "this attribute of a trace stands after its events"
                        self._refuse(parser.line, reason, attributes.get("key"))
                    within.append(node(tag, attributes))
                    return
                base, home = (4, event) if event is not None else (3, within)
                if within is self._log:
                    base = 2
                if home is not None:
                    parent = home[-1]
                    for _ in range(depth - base - 1):
                        parent = parent[-1]
                    parent.append(node(tag, attributes))

        def end(tag: str) -> None:
            nonlocal depth, event
            depth -= 1
            if depth == 2:
                if event is not None:
                    self._add(event, event_line)
                    event = None
            elif depth == 1:
                self.depth = 1
                if tag == "trace" and not self._events:
                    self._refuse(trace_line, "is a trace without events", self._case())

        parser.expat.StartElementHandler, parser.expat.EndElementHandler = start, end

    @property
    def takes_blocks(self) -> bool:
        """Tell whether `add_block` can serve: not for mappings, nor for the log's first event."""
        return not self._with_rows and not self._log

    @property
    def waiting(self) -> int:
        """Number of rows since the last batch."""
        return self._held + len(self.lines)

    def batch(self, done: int) -> Batch:
        """Return the rows so far, and begin anew."""
        self._finish_part()
        parts, self._parts, self._held = self._parts, [], 0
        ends = np.cumsum([len(part.lines) for part in parts])
        roles = dict.fromkeys(role for part in parts for role in part.built)
        built = {
            role: pa.concat_arrays(
                [part.built.get(role, _nothing(len(part.lines))) for part in parts]
            )
            for role in roles
        }

        def where(row: int) -> str:
            place = int(np.searchsorted(ends, row, "right"))
            name, number = parts[place].where(row - (int(ends[place - 1]) if place else 0))
            return f"event {number} of trace {name!r}"

        return Batch(
            pa.concat_arrays([part.lines for part in parts]),
            pa.concat_tables([part.columns for part in parts]),
            built,
            [row for part in parts for row in part.rows],
            done,
            where,
        )

    def _finish_part(self) -> None:
        """Put the rows that came one by one into a part; there is always one."""
        if self._parts and not self.lines:
            return
        built = {role: pa.array(texts, pa.string()) for role, texts in self._built}
        if self._metadata:
            texts = [self._metadata.get(row, "{}") for row in range(len(self.lines))]
            built["metadata"] = pa.array(texts, pa.string())
        names, numbers = self._names, self._numbers
        self._add_part(
            _Part(
                pa.array(self.lines, pa.int64()),
                pa.table({name: pa.array(values, pa.string()) for name, values in self._columns}),
                built,
                self._rows,
                lambda row: (names[row], numbers[row]),
            )
        )
        self.lines, self._rows, self._metadata = [], [], {}
        self._names, self._numbers = [], []
        self._columns = [(name, []) for name, _ in self._columns]
        self._built = [(role, []) for role, _ in self._built]

    def _add_part(self, part: _Part) -> None:
        self._parts.append(part)
        self._held += len(part.lines)

    def add_block(self, block: Block, line: int) -> bool:
        """Take plain traces that begin on a line, or nothing where `_add` must look."""
        columns = Columns(block)
        try:
            built = {role: columns.objects(item) for role, item in self._members.items()}
        except BadAttributeError:
            return False
        self._finish_part()
        self._add_part(
            _Part(
                pa.array(block.lines + line, pa.int64()),
                pa.table({name: columns.column(name) for name, _ in self._columns}),
                built,
                [],
                lambda row: (columns.trace_names[row], int(block.numbers[row])),
            )
        )
        self._ledger.read += block.events
        return True

    def _know_trace(self) -> dict[str, Node]:
        """Return the attributes of the trace; worked out at its first event."""
        if self._trace_members is None:
            self._trace_members = by_key(self._trace, "case:")
            name = self._trace_members.get("case:concept:name")
            self._trace_name = None if name is None else name[2]
        return self._trace_members

    def _begin_trace(self) -> None:
        self._trace_members = None
        self._trace_texts = {}
        self._events = 0

    def _case(self) -> str | None:
        for node in self._trace:
            if node[1] == "concept:name":
                value: str | None = node[2]
                return value
        return None

    def _refuse(self, line: int, reason: str, excerpt: object = None) -> None:
        self._ledger.read += 1
        self._ledger.reject(line, None, reason, excerpt)

    def _add(self, event: Sequence[Node], line: int) -> None:
        self._events += 1
        self._ledger.read += 1
        try:
            trace = self._know_trace()
            members = apart(by_key(event, ""), trace)
            texts = [self._text(role, item, members) for role, item in self._members.items()]
            log = self._log_text(members) if self._log and self._log_metadata else None
            if self._with_rows:
                self._rows.append(jsontext.parse_object(joined({**members, **trace})))
        except BadAttributeError as error:
            key, reason = error.args
            place = f"event {self._events} of trace {self._case()!r}"
            self._ledger.reject(line, key, f"{reason} ({place})")
            return
        if log is not None:
            self._metadata[len(self.lines)] = log
            self._log = []
        for name, values in self._columns:
            node = trace.get(name) or members.get(name)
            values.append(None if node is None else node[2])
        for (_, built), text in zip(self._built, texts, strict=True):
            built.append(text)
        self.lines.append(line)
        self._names.append(self._trace_name)
        self._numbers.append(self._events)

    def _log_text(self, members: Mapping[str, Node]) -> str | None:
        """Return the attributes of the log, unless this event is going to be refused."""
        if "time:timestamp" not in members or "concept:name" not in members:
            return None
        return joined(by_key(self._log, "log:"))

    def _text(self, role: str, item: Members, members: Mapping[str, Node]) -> str:
        """Return the JSON object of a role; the part of the trace is written once a trace."""
        trace = self._trace_members or {}
        if item.names is not None:
            both = {**members, **trace}
            return joined({name: both[name] for name in item.names if name in both})
        without = item.without
        ending = self._trace_texts.get(role)
        if ending is None:
            ending = joined({key: node for key, node in trace.items() if key not in without})
            self._trace_texts[role] = ending
        if members.keys() <= without:
            return ending
        own = [f"{quoted(k)}:{raw(k, node)}" for k, node in members.items() if k not in without]
        return "{" + ",".join(own) + ("}" if ending == "{}" else "," + ending[1:])


def _too_deep(parser: Parser) -> SourceError:
    return SourceError(f"line {parser.line}: elements are nested more than {_MAX_DEPTH} deep")
