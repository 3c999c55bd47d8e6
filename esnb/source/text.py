"""CSV and JSON lines."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import orjson
import pyarrow as pa

from esnb import jsontext
from esnb.errors import JsonError, SourceError
from esnb.schema import MAX_PAYLOAD
from esnb.source import types
from esnb.source.batch import Batch, unique
from esnb.source.ledger import Ledger
from esnb.source.opened import Opened
from esnb.source.roles import Members, Wants

__all__ = ["Csv", "JsonLines"]

_ROWS = 20_000
_SAMPLE = 1000
_BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
# Members of an object that nothing nests in, after it has passed as strict JSON.
_FLAT = re.compile(r'"((?:[^"\\]|\\.)*)"\s*:\s*("(?:[^"\\]|\\.)*"|[-+.\w]+)')


class Csv:
    """A CSV file with a header line; every value is text, and an empty one is missing."""

    unit = "B"

    def __init__(
        self, opened: Opened, null_values: Sequence[str], declared: Mapping[str, str] | None
    ) -> None:
        self._opened = opened
        self.name = opened.path.name
        self.size: int | None = opened.size
        self._nulls = frozenset(null_values) | {""}
        with _long_fields():
            self._separator, header = self._header()
        self.columns = unique(header)
        self._types = types.checked(declared or {}, self.columns, self.name)
        self.schema = pa.schema([types.field(name, self._types.get(name)) for name in self.columns])

    def read(self, wants: Wants, ledger: Ledger) -> Iterator[Batch]:
        """Yield the rows that could be read."""
        needed = set(wants.columns)
        for item in wants.members.values():
            needed.update(item.pick(self.columns))
        places = [place for place, name in enumerate(self.columns) if wants.rows or name in needed]
        lines: list[int] = []
        rows: list[list[str]] = []
        with _long_fields():
            for line, row in self._rows(ledger):
                lines.append(line)
                rows.append(row)
                if len(rows) == _ROWS:
                    yield self._batch(lines, rows, places, wants, ledger)
                    lines, rows = [], []
        yield self._batch(lines, rows, places, wants, ledger)

    def _batch(
        self,
        lines: list[int],
        rows: list[list[str]],
        places: Sequence[int],
        wants: Wants,
        ledger: Ledger,
    ) -> Batch:
        columns = list(zip(*rows, strict=True)) or [()] * len(self.columns)
        nulls = self._nulls
        names = [self.columns[place] for place in places]
        arrays = [
            pa.array([None if value in nulls else value for value in columns[place]], pa.string())
            for place in places
        ]
        table = pa.Table.from_arrays(arrays, names)
        numbers = pa.array(lines, pa.int64())
        if self._types:
            numbers, table = types.typed(numbers, table, self._types, ledger)
        mappings = table.to_pylist() if wants.rows else ()
        return Batch(numbers, table, rows=mappings, done=self._opened.consumed)

    def _rows(self, ledger: Ledger) -> Iterator[tuple[int, list[str]]]:
        """Yield (line, values) of the good rows."""
        text = _Decoded(self._opened.lines())
        reader = csv.reader(text, delimiter=self._separator, strict=True)
        width = len(self.columns)
        next(reader)
        while True:
            line = reader.line_num + 1
            text.bad = False
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                ledger.read += 1
                ledger.reject(line, None, _csv_reason(error, line, reader.line_num), text.last)
                continue
            if not row:
                continue  # an empty line separates; it is no row
            ledger.read += 1
            if text.bad:
                ledger.reject(line, None, "is not UTF-8", text.last)
            elif len(row) != width:
                reason = f"has {len(row)} fields, the header has {width}"
                ledger.reject(line, None, reason, text.last)
            else:
                yield line, row

    def _header(self) -> tuple[str, list[str]]:
        lines = self._opened.lines()
        first = next(lines, b"")
        if first.startswith(_UTF16):
            raise SourceError(f"{self.name} is UTF-16; save it as UTF-8")
        bare = re.sub(rb'"[^"]*"', b"", first)
        if self._opened.name.lower().endswith(".tsv"):
            separator = "\t"
        else:
            separator = max(",;\t|", key=lambda sign: bare.count(sign.encode()))
        text = _Decoded(iter([first, *lines] if first.count(b'"') % 2 else [first]))
        try:
            header = next(csv.reader(text, delimiter=separator, strict=True), [])
        except csv.Error as error:
            raise SourceError(f"{self.name}: its header cannot be read ({error})") from None
        if not header:
            raise SourceError(f"{self.name} has no header line; the first line must name columns")
        if text.bad:
            raise SourceError(f"{self.name}: its header is not UTF-8; save it as UTF-8")
        return separator, header


class JsonLines:
    """One JSON object a line; values that no role uses keep their letters."""

    unit = "B"
    schema = None

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self.name = opened.path.name
        self.size: int | None = opened.size
        names: dict[str, None] = {}
        for number, raw in enumerate(opened.lines()):
            if number == 0:
                raw = raw.removeprefix(_BOM)
                if raw.startswith(_UTF16):
                    raise SourceError(f"{self.name} is UTF-16; save it as UTF-8")
                if raw.lstrip().startswith(b"["):
                    raise SourceError(
                        f"{self.name} holds one JSON array; write one object per line "
                        "(jq -c '.[]' does it)"
                    )
            if number >= _SAMPLE:
                break
            try:
                value = orjson.loads(raw)
            except orjson.JSONDecodeError:
                continue
            if isinstance(value, dict):
                names.update(dict.fromkeys(value))
        self.columns = tuple(names)

    def read(self, wants: Wants, ledger: Ledger) -> Iterator[Batch]:
        """Yield the lines that are strict JSON objects."""
        lines: list[int] = []
        columns: dict[str, list[str | None]] = {name: [] for name in wants.columns}
        built: dict[str, list[str]] = {role: [] for role in wants.members}
        rows: list[Mapping[str, Any]] = []
        makers = {role: _maker(item) for role, item in wants.members.items()}
        for line, raw in enumerate(self._opened.lines(), 1):
            if line == 1:
                raw = raw.removeprefix(_BOM)
            if not raw.strip():
                continue
            ledger.read += 1
            try:
                text = raw.decode().rstrip("\r\n")
                jsontext.check_object(text)
            except UnicodeDecodeError:
                ledger.reject(line, None, "is not UTF-8", raw.decode(errors="replace").strip())
                continue
            except JsonError as error:
                ledger.reject(line, None, str(error), raw.decode().strip())
                continue
            members = _members(text)
            lines.append(line)
            for name, values in columns.items():
                values.append(as_text(members.get(name)))
            for role, make in makers.items():
                built[role].append(make(members))
            if wants.rows:
                rows.append(jsontext.parse_object(text))
            if len(lines) == _ROWS:
                yield self._batch(lines, columns, built, rows)
                lines, rows = [], []
                columns = {name: [] for name in columns}
                built = {role: [] for role in built}
        yield self._batch(lines, columns, built, rows)

    def _batch(
        self,
        lines: list[int],
        columns: Mapping[str, list[str | None]],
        built: Mapping[str, list[str]],
        rows: Sequence[Mapping[str, Any]],
    ) -> Batch:
        table = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
        texts = {role: pa.array(values, pa.string()) for role, values in built.items()}
        done = self._opened.consumed
        return Batch(pa.array(lines, pa.int64()), table, texts, rows, done)


def as_text(raw: str | None) -> str | None:
    """Return a raw JSON value as the text of a column: strings bare, null as missing."""
    if raw is None or raw == "null":
        return None
    if raw[0] == '"':
        value: str = orjson.loads(raw)
        return value
    return raw


def _maker(item: Members) -> Callable[[Mapping[str, str]], str]:
    """Return a function that writes the chosen members of an object to the letter."""
    if item.names is None:
        without = item.without

        def rest(members: Mapping[str, str]) -> str:
            kept = [f"{_key(k)}:{raw}" for k, raw in members.items() if k not in without]
            return "{" + ",".join(kept) + "}"

        return rest
    names = item.names

    def named(members: Mapping[str, str]) -> str:
        kept = [f"{_key(name)}:{members[name]}" for name in names if name in members]
        return "{" + ",".join(kept) + "}"

    return named


def _key(name: str, known: dict[str, str] = {}) -> str:  # noqa: B006
    """Return a key as JSON text; keys come back line after line, so a few are remembered."""
    text = known.get(name)
    if text is None:
        text = orjson.dumps(name).decode()
        if len(known) < 10_000:
            known[name] = text
    return text


def _members(text: str) -> dict[str, str]:
    """Return the members of a strict JSON object, each value as it stands in the text."""
    try:
        flat = not any(type(v) is dict or type(v) is list for v in orjson.loads(text).values())
    except orjson.JSONDecodeError:
        flat = False
    if flat:
        found = dict(_FLAT.findall(text))
        if not any("\\" in key for key in found):
            return found
    result: dict[str, str] = {}
    place = _past(text, text.index("{") + 1)
    while text[place] != "}":
        key, place = json.decoder.scanstring(text, place + 1, True)  # type: ignore[attr-defined]
        place = _past(text, _past(text, place) + 1)
        _, end = _SCAN(text, place)
        result[key] = text[place:end]
        place = _past(text, end)
        if text[place] == ",":
            place = _past(text, place + 1)
    return result


_SCAN = json.JSONDecoder(parse_float=str, parse_int=str).scan_once  # type: ignore[attr-defined]


def _past(text: str, place: int) -> int:
    while text[place] in " \t\n\r":
        place += 1
    return place


class _Decoded:
    """Lines as text; remembers whether one was not UTF-8, and how the last one went."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = iter(lines)
        self._first = True
        self.bad = False
        self.last = ""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        raw = next(self._lines)
        if self._first:
            raw = raw.removeprefix(_BOM)
            self._first = False
        try:
            self.last = raw.decode()
        except UnicodeDecodeError:
            self.bad = True
            self.last = raw.decode(errors="replace")
        return self.last


def _csv_reason(error: csv.Error, first: int, last: int) -> str:
    text = str(error)
    if "end of data" in text:
        swallowed = f"; it swallowed the lines to {last}" if last > first else ""
        return f"a quote opened here is never closed{swallowed}"
    if "field larger" in text:
        return f"a field is longer than {MAX_PAYLOAD} characters (a quote that is not closed?)"
    return f"is not CSV: {text}"


@contextmanager
def _long_fields() -> Iterator[None]:
    """Allow fields as long as a payload; the limit is one for the whole process."""
    before = csv.field_size_limit(MAX_PAYLOAD)
    try:
        yield
    finally:
        csv.field_size_limit(before)
