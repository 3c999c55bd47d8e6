"""From batches of any source to canonical columns: values taken, checked, and refused by row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from esnb import duck, instants, jsontext
from esnb.errors import InputError, SourceError
from esnb.log.rawtext import suspects
from esnb.schema import INSTANT, MAX_PAYLOAD, check_text
from esnb.source import payload, times
from esnb.source.batch import Batch
from esnb.source.ledger import Refusal, refusal
from esnb.source.roles import Call, Column, Constant, Members, Role
from esnb.source.text import as_text

__all__ = ["Canon"]

_TEXTS = ("stream", "event_type", "event_id", "actor", "correlation_id", "causation_id")
_OPTIONAL = {"actor", "correlation_id", "causation_id"}
_LIST = pa.list_(pa.string())


class Canon:
    """Makes canonical columns for one import."""

    def __init__(self, roles: Mapping[str, Role], zone: str | None, form: str | None) -> None:
        self._roles = roles
        self._zone = zone
        self._form = form
        self._connection = duck.connect(threads=2)
        self._connection.execute("set TimeZone = 'UTC'")

    def close(self) -> None:
        """Let go of DuckDB."""
        self._connection.close()

    def rows(self, batch: Batch) -> tuple[Any, list[Refusal]]:
        """Return the good rows of a batch as a table, and the refusals of the others."""
        taken = _Taken(self, batch)
        table = taken.table()
        refusals = []
        for row, (field, reason, excerpt) in taken.bad.items():
            where = batch.where(row)
            why = f"{reason} ({where})" if where else reason
            refusals.append(refusal(batch.lines[row].as_py(), field, why, excerpt))
        if refusals:
            table = table.filter(pa.array([row not in taken.bad for row in range(table.num_rows)]))
        return table, refusals


class _Taken:
    """The columns of one batch under way, and the rows found bad."""

    def __init__(self, canon: Canon, batch: Batch) -> None:
        self.bad: dict[int, tuple[str, str, Any]] = {}
        self._roles = canon._roles
        self._zone = canon._zone
        self._form = canon._form
        self._connection = canon._connection
        self._batch = batch
        self._count = len(batch.lines)

    def table(self) -> Any:
        columns: dict[str, Any] = {"line": self._batch.lines}
        columns["occurred_on"] = self._time("occurred_on")
        recorded = "recorded_on" in self._roles
        columns["recorded_on"] = self._time("recorded_on") if recorded else columns["occurred_on"]
        for name in _TEXTS:
            if name in self._roles:
                columns[name] = self._names(name)
        for name in ("data", "metadata"):
            if name in self._roles or name in self._batch.built:
                columns[name] = self._json(name)
        if "tags" in self._roles:
            columns["tags"] = self._tags()
        if "schema_version" in self._roles:
            columns["schema_version"] = self._version()
        if "order" in self._roles:
            columns["order"] = self._text("order")
            self._refuse("order", pc.is_null(columns["order"]), "is missing")
        return pa.table(columns)

    # --- one role ----------------------------------------------------------------------------

    def _text(self, name: str) -> Any:
        """Return the values of a role as text."""
        role = self._roles[name]
        if isinstance(role, Constant):
            return self._repeat(name, role.value)
        if isinstance(role, Call):
            return self._called(name, role, _as_text, pa.string())
        if isinstance(role, Column):
            return _texts(*self._column(role), name)
        raise SourceError(f"{name}: a list of columns cannot be one text")

    def _names(self, name: str) -> Any:
        values = self._text(name)
        if name == "stream" and "category" in self._roles:
            category = self._text("category")
            missing = pc.or_(pc.is_null(category), pc.equal(category, ""))
            self._refuse("category", pc.fill_null(missing, True), "is missing")
            dashed = pc.fill_null(pc.match_substring(category, "-"), False)
            self._refuse("category", dashed, "holds a '-', at which a category ends", category)
            empty = pc.fill_null(pc.equal(values, ""), False)
            self._refuse("stream", empty, "is empty")
            values = pc.binary_join_element_wise(category, values, "-")
        if name in _OPTIONAL:
            values = pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)
        else:
            self._refuse(name, pc.is_null(values), "is missing")
        self._judge(name, values)
        return values

    def _time(self, name: str) -> Any:
        role = self._roles[name]
        if isinstance(role, Call):
            values = self._called(name, role, self._instant, pa.int64()).cast(INSTANT)
        elif isinstance(role, Constant):
            micros = self._instant(role.value)
            values = pa.repeat(pa.scalar(micros, pa.int64()).cast(INSTANT), self._count)
        elif isinstance(role, Column):
            column, _ = self._column(role)
            values, reasons = times.column(self._connection, column, self._zone, self._form)
            for row, reason in reasons.items():
                self._note(row, name, reason, _shown(column, row))
        else:
            raise SourceError(f"{name}: a list of columns cannot be one time")
        self._refuse(name, pc.is_null(values), "is missing")
        return values

    def _json(self, name: str) -> Any:
        role = self._roles.get(name)
        reasons: dict[int, str] = {}
        shown: Any = None
        if name in self._batch.built:
            values = self._batch.built[name]
        elif isinstance(role, Members):
            names = role.pick(self._batch.columns.column_names)
            table = self._batch.columns
            values, reasons = payload.object_texts(self._connection, table, names)
        elif isinstance(role, Column):
            column, field = self._column(role)
            values, reasons = payload.whole_object(self._connection, column, field)
            shown = values
        elif isinstance(role, Call):
            values = self._called(name, role, _as_json, pa.string())
        else:
            values = self._repeat(name, _as_json(role.value if role is not None else None))
        for row, reason in reasons.items():
            self._note(row, name, reason, None if shown is None else shown[row].as_py())
        if name == "metadata":
            values = pc.fill_null(values, "{}")
        self._refuse(name, pc.is_null(values), "is missing")
        too_long = pc.greater(pc.binary_length(values), MAX_PAYLOAD)
        self._refuse(name, pc.fill_null(too_long, False), f"is longer than {MAX_PAYLOAD} bytes")
        return values

    def _tags(self) -> Any:
        role = self._roles["tags"]
        if isinstance(role, Call):
            return self._called("tags", role, _as_tags, _LIST)
        if isinstance(role, Members):
            names = role.names or ()
            texts = [_texts(*self._column(Column(name)), "tags").to_pylist() for name in names]
            rows: Iterable[Any] = (
                [f"{name}:{text}" for name, text in zip(names, row, strict=True) if text]
                for row in zip(*texts, strict=True)
            )
        elif isinstance(role, Column):
            rows = self._column(role)[0].to_pylist()
        else:
            rows = [role.value] * self._count
        values = []
        for row, given in enumerate(rows):
            try:
                values.append(_as_tags(given))
            except InputError as error:
                self._note(row, "tags", str(error), given)
                values.append([])
        return pa.array(values, _LIST)

    def _version(self) -> Any:
        texts = self._text("schema_version")
        form = pc.match_substring_regex(texts, r"^[0-9]{1,9}$")
        whole = pc.fill_null(form, True)
        self._refuse("schema_version", pc.invert(whole), "is no whole number from 1", texts)
        numbers = pc.if_else(whole, texts, "1").cast(pa.int32())
        self._refuse("schema_version", pc.fill_null(pc.less(numbers, 1), False), "must be from 1")
        return pc.fill_null(numbers, pa.scalar(1, pa.int32()))

    # --- helpers -----------------------------------------------------------------------------

    def _column(self, role: Column) -> tuple[Any, Any]:
        table = self._batch.columns
        place = table.column_names.index(role.name)
        return table.column(place), table.schema.field(place)

    def _repeat(self, name: str, value: Any) -> Any:
        try:
            text = _as_text(value)
        except InputError as error:
            raise SourceError(f"{name}: {error}") from None
        return pa.repeat(pa.scalar(text, pa.string()), self._count)

    def _called(self, name: str, role: Call, turn: Callable[[Any], Any], kind: Any) -> Any:
        values: list[Any] = []
        for row, mapping in enumerate(self._batch.rows):
            value = None
            try:
                given = role.function(mapping)
                value = None if given is None else turn(given)
            except InputError as error:
                self._note(row, name, str(error), None)
            except Exception as error:  # the caller's function: whatever it raises is the reason
                self._note(row, name, f"the function raised {error!r}", None)
            values.append(value)
        return pa.array(values, kind)

    def _instant(self, value: Any) -> int:
        return instants.micros(instants.instant(value, declared=self._zone))

    def _note(self, row: int, field: str, reason: str, excerpt: Any) -> None:
        self.bad.setdefault(row, (field, reason, excerpt))

    def _refuse(self, field: str, bad: Any, reason: str, shown: Any = None) -> None:
        if pc.any(bad).as_py():
            for row in pc.indices_nonzero(bad).to_pylist():
                self._note(row, field, reason, None if shown is None else shown[row].as_py())

    def _judge(self, name: str, values: Any) -> None:
        """Let `check_text` judge the texts that could fail it, and only those."""
        odd = suspects(name, values)
        if odd is not None:
            for row in pc.indices_nonzero(odd).to_pylist():
                text = values[row].as_py()
                try:
                    check_text(name, text)
                except InputError as error:
                    self._note(row, name, getattr(error, "reason", str(error)), text)


def _shown(column: Any, row: int) -> Any:
    try:
        return column[row].as_py()
    except (OverflowError, ValueError):  # a time that Python cannot hold
        return column.slice(row, 1).cast(pa.string())[0].as_py()


def _texts(column: Any, field: Any, name: str) -> Any:
    """Return a column as text: whole floats without a fraction, because ids were whole."""
    if pa.types.is_timestamp(column.type) and name == "order":
        column = column.cast(pa.int64())
    column, field = payload.plain(column, field)
    kind = column.type
    if pa.types.is_string(kind):
        if (field.metadata or {}).get(b"esnb") == b"json":
            return pa.array([as_text(text) for text in column.to_pylist()], pa.string())
        return column
    if pa.types.is_nested(kind):
        raise SourceError(f"the column {field.name!r} holds {kind}, which cannot be the {name}")
    if pa.types.is_floating(kind):
        texts = [
            None if x is None else str(int(x)) if x.is_integer() and abs(x) < 2**53 else repr(x)
            for x in column.to_pylist()
        ]
        return pa.array(texts, pa.string())
    return column.cast(pa.string())


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        text = value
    elif isinstance(value, int):
        text = str(int(value))
    else:
        text = str(value)
    if text is not None:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise SourceError("holds a lone surrogate, which is no character") from None
    return text


def _as_json(value: Any) -> str:
    if isinstance(value, str):
        jsontext.check_object(value)
        return value
    if value is None:
        return "{}"
    if not isinstance(value, Mapping):
        raise SourceError(f"must be a mapping or JSON text, not {type(value).__name__}")
    return jsontext.canonical(jsontext.freeze(value))


def _as_tags(value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, str):
        if not value.startswith("["):
            return [check_text("tag", value)] if value else []
        value = jsontext.parse(value)
    if not isinstance(value, Iterable):
        raise SourceError(f"must be a list of texts, not {type(value).__name__}")
    return [check_text("tag", tag) for tag in value]
