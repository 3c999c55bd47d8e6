"""Sketched classes run, whatever the names in the log, and fold as the patch fold does."""

from __future__ import annotations

import ast
import keyword
import warnings
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html import unescape
from re import sub
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import esnb
from esnb import jsontext
from esnb.aggregate import Aggregate, Event
from esnb.errors import TimelineError
from esnb.event import RecordedEvent
from esnb.timeline import Timeline
from esnb.timeline.sketch import Sketch, sketch
from tests.timeline.standin import START, MemoryLog
from tests.timeline.test_folds import dicts

HOSTILE = [
    "status", "Status", "STATUS", "class", "class_", "None", "__class__", "__init__", "_private",
    "é", "e\u0301", "\ufb01", "a b", "a\nb", "a\rb", "\u2028", "\u202e", "it's", 'a"b', "\\",
    "\x00", '"""', "'''", "#", "x); import os  #", "\n    raise SystemExit",
    "{x}", "", "1", "1st", "🜁",
    "str", "int", "float", "bool", "Any", "Decimal", "datetime", "Field", "Event", "Aggregate",
    "self", "e", "d", "version", "from1", "from2", "aliases", "event_type", "name", "copy", "json",
    "model_config", "model_fields", "model_dump_x", "model_year", "stream", "actor", "position",
    "ended", "fold", "state", "apply", "description", "uncommitted", "match", "type", "print",
    "when_status", "when_class", "field", "field_", "order", "Order", "x" * 200, "ß", "ss", "SS",
]  # fmt: skip
NAMES = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
)
TYPES = NAMES.filter(lambda name: name != "" and "\x00" not in name)
VALUES = {
    "text": st.sampled_from(["", "a", "49.90", "2026-03-01T10:00:00Z", "x\x00", "é"]),
    "whole": st.sampled_from([0, -1, 2**53 - 1, 2**63 - 1]),
    "beyond": st.sampled_from([1, 2**63]),
    "fraction": st.sampled_from([0.5, -2.25, 1e300, 7]),
    "inexact": st.sampled_from([Decimal("12345678901234567.89"), 0.5]),
    "flag": st.booleans(),
    "money": st.sampled_from(["49.90", "-0.01", "10", "0", "123456789012.123456"]),
    "not money": st.sampled_from(
        ["49.90", "1234567890123.5", "049.90", "1.1234567", "+1", "1.", "-"]
    ),
    "instant": st.sampled_from(
        ["2026-03-01T10:00:00Z", "2026-03-29T02:30:00.123456+02:00", "1999-12-31T23:59:59-05:30"]
    ),
    "no instant": st.sampled_from(
        ["2026-03-01T10:00:00Z", "2026-02-30T10:00:00Z", "2026-03-01T24:00:00Z", "2026-03-01"]
    ),
    "array": st.lists(st.integers(0, 3), max_size=2),
    "mixed": st.sampled_from([1, "1", True, 0.5, "49.90"]),
}


@st.composite
def logs(draw: st.DrawFn) -> MemoryLog:
    """Return events of few types whose keys have values of few kinds, as in real logs."""
    types = draw(st.lists(TYPES, min_size=1, max_size=3, unique=True))
    keys = draw(st.dictionaries(NAMES, st.sampled_from(sorted(VALUES)), max_size=5))
    shapes = {
        event_type: {
            key: draw(st.sampled_from(["always", "null", "missing", "both"]))
            for key in keys
            if draw(st.booleans())
        }
        for event_type in types
    }
    newest = draw(st.sampled_from([1, 1, 3]))
    log = MemoryLog(zone="UTC")
    for _ in range(draw(st.integers(1, 8))):
        event_type = draw(st.sampled_from(types))
        payload = {}
        for key, shape in shapes[event_type].items():
            if shape in ("missing", "both") and draw(st.booleans()):
                continue
            null = shape in ("null", "both") and draw(st.booleans())
            payload[key] = None if null else draw(VALUES[keys[key]])
        log.write(
            draw(st.sampled_from(["order-1", "order-2"])),
            event_type,
            jsontext.canonical(payload),
            schema_version=draw(st.integers(1, newest)),
        )
    return log


def recorded(log: MemoryLog, stream: str) -> list[RecordedEvent]:
    return [
        RecordedEvent(
            position=event.position,
            stream=event.stream,
            revision=event.revision,
            recorded_on=event.recorded_on,
            event_id=event.event_id,
            event_type=event.event_type,
            occurred_on=event.occurred_on,
            schema_version=event.schema_version,
            data_text=event.data,
            actor=event.actor,
            correlation_id=None,
            causation_id=None,
            tags=(),
            metadata_text="{}",
        )
        for event in log.written
        if event.stream == stream
    ]


def run(made: Sketch) -> tuple[type[Aggregate], dict[str, Any]]:
    """Return the aggregate class and all that the source defines; a warning is an error."""
    space: dict[str, Any] = {"__name__": "somewhere"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        owner = made.run(space)
    return owner, space


# How a value of a field is written in the column of the patch fold.
AS_FOLDED: dict[str, tuple[str, Any]] = {
    "text": ("VARCHAR", lambda value: value),
    "int": ("BIGINT", lambda value: value),
    "float": ("DOUBLE", lambda value: value),
    "bool": ("BOOLEAN", lambda value: value),
    "decimal": ("VARCHAR", Decimal),
    "instant": ("VARCHAR", lambda value: datetime.fromisoformat(value).astimezone(UTC)),
}


@settings(max_examples=60)
@given(logs())
def test_sketched_classes_fold_as_patches_do(log: MemoryLog) -> None:
    made = sketch(log, "order")
    owner, _ = run(made)
    line = Timeline(log, "order")
    columns = {info.key: (name, info.type) for name, info in line.fields.items()}
    assert set(columns) == set(made.fields.values())
    assert list(owner.description.fields) == list(made.fields)
    for row in dicts(line.as_of(len(log.written))):
        folded = owner.fold(recorded(log, row["stream"]))
        for field, key in made.fields.items():
            kind = owner.description.fields[field].name
            name, column = columns[key]
            if kind == "any":
                assert column in ("JSON", "VARCHAR")
                continue
            wanted, parsed = AS_FOLDED[kind]
            assert column == wanted
            value = getattr(folded, field)
            assert value == (None if row[name] is None else parsed(row[name]))
            assert type(value) is type(None if row[name] is None else parsed(row[name]))


@settings(max_examples=20)
@given(logs())
def test_sketched_classes_fold_in_sql_as_in_python(log: MemoryLog) -> None:
    owner, _ = run(sketch(log, "order"))
    for row in dicts(Timeline(log, owner).as_of(len(log.written))):
        state = owner.fold(recorded(log, row["stream"])).state()
        assert {name: row[name] for name in state} == state


@settings(max_examples=60)
@given(st.lists(TYPES, min_size=1, max_size=4), st.lists(NAMES, max_size=6, unique=True), TYPES)
def test_names_of_the_log_are_no_code(types: list[str], keys: list[str], category: str) -> None:
    log = MemoryLog(zone="UTC")
    payload = jsontext.canonical(dict.fromkeys(keys, 1))
    for event_type in types:
        log.write("x-1", event_type, payload).category = category
    made = sketch(log, category)
    tree = ast.parse(made.source)
    # Imports, and classes of assignments, annotated fields, methods, a pass: and nothing else.
    for node in tree.body:
        assert isinstance(node, ast.ImportFrom | ast.ClassDef)
        if isinstance(node, ast.ClassDef):
            assert all(
                isinstance(part, ast.AnnAssign | ast.FunctionDef | ast.Pass) for part in node.body
            )
    owner, space = run(made)
    events = [
        thing
        for thing in space.values()
        if isinstance(thing, type) and issubclass(thing, Event) and thing is not Event
    ]
    assert sorted(event.event_type for event in events) == sorted(set(types))
    assert owner.description.category == category
    assert sorted(made.fields.values()) == sorted(keys)
    folded = owner.fold(recorded(log, "x-1"))
    assert [getattr(folded, field) for field in made.fields] == [1] * len(keys)
    assert not any(keyword.iskeyword(field) for field in made.fields)
    assert shown(made) == made.source


def shown(made: Sketch) -> str:
    """Return the text that a browser would show, and no element but ours in it."""
    html = made._repr_html_()
    ours = r"<pre style='text-align:left'>|</pre>|<span style='color:var\(--[a-z-]+\)'>|</span>"
    text = sub(ours, "", html)
    assert "<" not in text
    return unescape(text)


def test_the_source_reads_well() -> None:
    log = MemoryLog(zone="UTC")
    log.write("order-1", "OrderPlaced", '{"status": "new", "total": "49.90", "n": 1}')
    log.write("order-1", "order.paid", '{"status": "paid", "at": "2026-03-01T10:00:00+01:00"}')
    log.write("order-2", "OrderPlaced", '{"status": "new", "total": "1", "class": null}',
              schema_version=2)  # fmt: skip
    made = sketch(log, "order")
    assert str(made) == repr(made) == SOURCE
    owner = made.run()
    # Whether a key is there, SQL is not asked.
    told = owner.explain()["total"]
    assert (told.tier, "model_fields_set" in str(told)) == (3, True)
    folded = owner.fold(recorded(log, "order-1"))
    assert (folded.status, folded.total, folded.n, folded.class_) == (  # type: ignore[attr-defined]
        "paid", Decimal("49.90"), 1, None
    )  # fmt: skip


SOURCE = """\
# Sketched from 3 events of "order": a beginning, make it yours.
from datetime import datetime
from decimal import Decimal
from typing import Any

from pydantic import Field

from esnb import Aggregate, Event


class OrderPlaced(Event):
    version = 2
    status: str
    total: Decimal
    n: int | None = None
    class_: Any = Field(None, alias="class")

    def from1(d):
        # Passes the payload on; say here what version 2 changed.
        return d


class OrderPaid(Event, name="order.paid"):
    status: str
    at: datetime


class Order(Aggregate, category="order"):
    # Handlers that read an Any are run by Python: give it a type, or leave it out.
    status: str | None = None
    total: Decimal | None = None
    n: int | None = None
    class_: Any = None
    at: datetime | None = None

    def when_order_placed(self, e: OrderPlaced):
        self.status = e.status
        self.total = e.total
        if e.n is not None:
            self.n = e.n
        if "class_" in e.model_fields_set:
            self.class_ = e.class_

    def when_order_paid(self, e: OrderPaid):
        self.status = e.status
        self.at = e.at
"""


def test_what_cannot_be_sketched_is_said() -> None:
    log = MemoryLog(zone="UTC")
    log.write("order-1", "Placed", "{}", schema_version=101)
    with pytest.raises(TimelineError, match=r"'Placed' has the schema version 101"):
        sketch(log, "order")
    with pytest.raises(TimelineError, match=r"no category 'ordre' here. Did you mean 'order'"):
        sketch(log, "ordre")


def test_a_sketch_of_a_log_on_disk(tmp_path: Any) -> None:
    with esnb.create(tmp_path / "log", zone="UTC", maintain=False) as log:
        at = START + timedelta(days=1)
        log.append("order-1", esnb.DomainEvent("Placed", {"total": Decimal("1.50"), "at": at}))
        owner = esnb.sketch(log, "order").run()
        folded = owner.fold(log.read_stream("order-1"))
        assert folded.state() == {"total": Decimal("1.50"), "at": at}


def test_what_is_missing_is_no_null_in_sql_either() -> None:
    log = MemoryLog(zone="UTC")
    for payload in ('{"n": 1, "a": null}', '{"n": null, "a": []}', '{"a": []}', '{"n": 2}'):
        log.write("order-1", "Changed", payload)
    owner, _ = run(sketch(log, "order"))
    rows = dicts(Timeline(log, owner).history())
    assert [(row["n"], row["a"]) for row in rows] == [
        (1, None), (None, "[]"), (None, "[]"), (2, "[]"),
    ]  # fmt: skip
