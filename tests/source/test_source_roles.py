"""Roles, guesses, order, ids, and what happens when something goes wrong."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esnb import jsontext
from esnb.errors import DuplicateEventError, InstantError, SourceError
from esnb.log import Log
from esnb.source import import_events

START = datetime(2026, 3, 1, tzinfo=UTC)


def table(count: int = 3, **columns: Any) -> pa.Table:
    made: dict[str, Any] = {
        "order_id": [str(n) for n in range(count)],
        "status": ["Placed"] * count,
        "time": pa.array([START] * count, pa.timestamp("us", "UTC")),
    }
    return pa.table(made | columns)


ROLES: dict[str, Any] = {"category": "order", "stream": "order_id", "event_type": "status"}


def test_an_unknown_column_names_its_neighbours(log: Log) -> None:
    with pytest.raises(SourceError, match=r"'order_id'.*Its columns are"):
        import_events(table(), log, **(ROLES | {"stream": "orderid"}))
    with pytest.raises(SourceError, match="Did you mean 'status'"):
        import_events(table(), log, **(ROLES | {"event_type": "Status"}))
    with pytest.raises(SourceError, match="no column 'x'"):
        import_events(table(), log, **ROLES, data=["x"])


def test_missing_roles_show_columns_and_an_example(log: Log) -> None:
    with pytest.raises(SourceError, match=r"stream and event_type.*import_events\("):
        import_events(pa.table({"a": [1], "time": ["2026-03-01Z"]}), log)


def test_constants_and_plain_texts(log: Log) -> None:
    import_events(table(1), log, category="order", stream="order_id", event_type="Seen", actor="me")
    event = next(log.read())
    assert (event.stream, event.event_type, event.actor) == ("order-0", "Seen", "me")
    assert json.loads(event.data_text) == {"status": "Placed"}
    with pytest.raises(SourceError, match="first '-'"):
        import_events(table(), log, **(ROLES | {"category": "my-order"}))


def test_whole_stream_names_without_a_category(log: Log) -> None:
    given = table(3, order_id=["order-1", "-x", "plain"])
    result = import_events(given, log, stream="order_id", event_type="status")
    assert [event.stream for event in log.read()] == ["order-1", "plain"]
    assert "category" in result.ledger["reason"][0].as_py()


def test_a_category_column(log: Log) -> None:
    given = table(3, kind=["a", "b-c", None])
    result = import_events(given, log, **(ROLES | {"category": "kind"}))
    assert [event.stream for event in log.read()] == ["a-0"]
    assert result.ledger["field"].to_pylist() == ["category", "category"]


def test_callables_take_the_row(log: Log) -> None:
    def kind(row: Mapping[str, Any]) -> str:
        return {"0": "Zero"}[row["order_id"]]

    result = import_events(
        table(),
        log,
        stream=lambda row: f"order-{row['order_id']}",
        event_type=kind,
        occurred_on=lambda row: row["time"] + timedelta(days=1),
        data=lambda row: {"n": int(row["order_id"]), "when": row["time"]},
        tags=lambda row: ["customer:7"],
        schema_version=lambda row: 2,
        actor=lambda row: None,
    )
    event = next(log.read())
    assert event.data_text == '{"n":0,"when":"2026-03-01T00:00:00.000000Z"}'
    assert event.occurred_on == START + timedelta(days=1)
    assert (event.tags, event.schema_version, event.actor) == (("customer:7",), 2, None)
    assert [(r["line"], r["field"]) for r in result.ledger.to_pylist()] == [
        (2, "event_type"),
        (3, "event_type"),
    ]
    assert "KeyError" in result.ledger["reason"][0].as_py()


@pytest.mark.parametrize(
    ("role", "value"),
    [
        ("data", {"x": float("nan")}),
        ("data", '{"a":1,"a":2}'),
        ("data", [1]),
        ("occurred_on", datetime(2026, 3, 29, 2, 30)),
        ("occurred_on", "soon"),
        ("stream", "\ud800"),
        ("tags", [1]),
        ("schema_version", 0),
        ("schema_version", "x"),
        ("event_type", ""),
        ("event_id", "x" * 257),
    ],
)
def test_what_a_callable_returns_is_checked(tmp_path: Path, role: str, value: Any) -> None:
    with Log.create(tmp_path / "log", zone="Europe/Berlin") as log:
        result = import_events(table(1), log, **(ROLES | {role: lambda row: value}))
        assert (result.read, result.rejected) == (1, 1)
        assert result.ledger["field"].to_pylist() == [role]


def test_tags_and_versions_from_columns(log: Log) -> None:
    given = table(3, tags=[["a:1", "b:2"], None, []], v=[1, 0, None], customer=[7, 8, None])
    result = import_events(given, log, **ROLES, tags="tags", schema_version="v")
    assert [(e.tags, e.schema_version) for e in log.read()] == [(("a:1", "b:2"), 1), ((), 1)]
    assert result.ledger["field"].to_pylist() == ["schema_version"]
    # The third is the event that is there already.
    import_events(given, log, **ROLES, tags=["customer"], data=["customer"])
    assert [e.tags for e in log.read()][2:] == [("customer:7",), ("customer:8",)]


def test_order_is_by_number_and_time_never_breaks_it(log: Log) -> None:
    times = [START + timedelta(hours=h) for h in (5, 1, 3, 2, 2)]
    given = pa.table(
        {
            "order_id": ["a", "a", "a", "b", "b"],
            "status": ["A", "B", "C", "D", "E"],
            "time": pa.array(times, pa.timestamp("us", "UTC")),
            "seq": ["2", "10", "1", "2", "1"],
        }
    )
    import_events(given, log, **ROLES, order="seq")
    # a in its order is C 03:00, A 05:00, B (01:00, but known only after A); b is E, D.
    assert [e.event_type for e in log.read()] == ["E", "D", "C", "A", "B"]
    assert [e.event_type for e in log.read_stream("order-a")] == ["C", "A", "B"]


def test_without_an_order_time_decides_and_then_the_row(log: Log) -> None:
    times = [START, START + timedelta(1), START, START]
    given = table(4, time=pa.array(times, pa.timestamp("us", "UTC")), status=list("DABC"))
    import_events(given, log, **(ROLES | {"stream": lambda row: "x"}))
    assert [e.event_type for e in log.read()] == ["D", "B", "C", "A"]


def test_recorded_on_is_its_own_clock(log: Log) -> None:
    later = pa.array([START + timedelta(days=9)] * 3, pa.timestamp("us", "UTC"))
    import_events(table(3, known=later), log, **ROLES, recorded_on="known")
    assert {e.recorded_on - e.occurred_on for e in log.read()} == {timedelta(days=9)}


def test_twice_adds_nothing_and_like_rows_are_told_apart(log: Log) -> None:
    given = table(4, order_id=["a", "a", "b", "a"])
    first = import_events(given, log, **ROLES)
    again = import_events(given, log, **ROLES)
    assert (first.kept, again.kept, again.duplicates) == (4, 0, 4)
    grown = pa.concat_tables([given, given.slice(0, 1)])
    assert import_events(grown, log, **ROLES).kept == 1
    assert len({event.event_id for event in log.read()}) == 5


def test_given_ids(log: Log) -> None:
    given = table(
        4,
        order_id=["1", "1", "1", "2"],
        id=["x", "x", "x", ""],
        data=['{"a":1}', '{"a": 1}', '{"a":2}', "{}"],
    )
    result = import_events(given, log, **ROLES, event_id="id", data="data")
    assert (result.read, result.kept, result.duplicates, result.rejected) == (4, 1, 1, 2)
    assert result.ledger.to_pylist()[0]["reason"] == "line 1 gave this id another data"
    with pytest.raises(DuplicateEventError):
        import_events(given.slice(2, 1), log, **ROLES, event_id="id", data="data")
    assert log.next_position == 1


def test_guesses(log: Log, tmp_path: Path) -> None:
    event = {
        "specversion": "1.0",
        "id": "e1",
        "source": "/shop",
        "subject": "order-7",
        "type": "Placed",
        "time": "2026-03-01T10:00:00Z",
        "data": {"total": 1.10},
    }
    path = tmp_path / "cloud.jsonl"
    path.write_text(json.dumps(event) + "\n")
    import_events(path, log)
    found = next(log.read())
    assert (found.event_id, found.stream, found.event_type) == ("e1", "order-7", "Placed")
    assert found.data_text == '{"total": 1.1}'
    path = tmp_path / "cases.csv"
    path.write_text(
        "case:concept:name,concept:name,time:timestamp,org:resource,cost\n7,A,2026-03-01,ann,1\n"
    )
    result = import_events(path, log)
    assert [e.stream for e in log.read()][-1] == "case-7"
    assert result.roles["stream"] == "case:concept:name"


def test_errors_raise_stops_at_the_first_bad_line(log: Log, tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("order_id,status,time\n1,A,2026-03-01\n2,A,soon\n3,A\n")
    with pytest.raises(SourceError, match=r"in.csv, line 3: occurred_on.*Nothing was imported"):
        import_events(path, log, errors="raise", **ROLES)
    with pytest.raises(SourceError, match="reject"):
        import_events(path, log, errors="ignore", **ROLES)
    assert log.next_position == 0


def test_options_are_checked(log: Log, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="CSV"):
        import_events(table(), log, null_values=["x"], **ROLES)
    with pytest.raises(SourceError, match="list"):
        import_events(table(), log, null_values="?", **ROLES)
    with pytest.raises(InstantError, match="zone"):
        import_events(table(), log, zone="Mars/Base", **ROLES)
    path = tmp_path / "in.csv"
    path.write_text("order_id,status,time\n")
    for types in ({"nope": "BIGINT"}, {"status": "BLOB; drop table x"}, {"status": "DECIMAL(2,9)"}):
        with pytest.raises(SourceError, match="types"):
            import_events(path, log, types=types, **ROLES)
    assert import_events(path, log, **ROLES).read == 0


class Interrupting:
    """A frame during which somebody presses the stop button."""

    def __init__(self, given: pa.Table) -> None:
        self.schema = given.schema
        self._given = given

    def __arrow_c_stream__(self, requested: Any = None) -> Any:
        def batches() -> Iterator[Any]:
            yield from self._given.to_batches()
            raise KeyboardInterrupt

        return pa.RecordBatchReader.from_batches(self.schema, batches()).__arrow_c_stream__()


def test_an_interrupt_leaves_nothing(
    log: Log, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    calls = iter(range(10))

    def stop(row: Mapping[str, Any]) -> str:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return "A"

    with pytest.raises(KeyboardInterrupt):
        import_events(table(), log, **(ROLES | {"event_type": stop}))
    with pytest.raises((KeyboardInterrupt, pa.ArrowException, OSError)):
        import_events(Interrupting(table()), log, **ROLES)
    assert log.next_position == 0
    assert [name for name in os.listdir(tmp_path) if name.startswith("esnb-import")] == []
    assert list((log.path / "events").rglob("*.parquet")) == []
    assert import_events(table(), log, **ROLES).kept == 3


@pytest.mark.parametrize("roles", [{}, {"order": "seq"}, {"event_id": "id"}])
def test_a_large_source_spills_and_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, roles: dict[str, str]
) -> None:
    count = 5000
    times = [START + timedelta(seconds=(n * 7919) % 1000) for n in range(count)]
    given = table(
        count,
        order_id=[str(n % 37) for n in range(count)],
        time=pa.array(times),
        seq=[(n * 31) % 97 for n in range(count)],
        id=[f"id-{n % 4999}" for n in range(count)],
    )
    found = []
    for name, hold in (("memory", 96 << 20), ("disk", 10_000)):
        monkeypatch.setattr("esnb.source.store._HOLD", hold)
        with Log.create(tmp_path / name) as log:
            result = import_events(given.to_reader(max_chunksize=500), log, **(ROLES | roles))
            assert result.read == result.kept + result.rejected == count
            found.append((list(log.read()), result.ledger))
    assert found[0] == found[1]


def test_the_result_is_readable_and_harmless(log: Log) -> None:
    given = table(20, status=["<script>alert(1)</script>\u202e$x$" * 20] * 20)
    result = import_events(given, log, **ROLES)
    assert "20 read = 0 kept + 0 duplicates + 20 rejected" in repr(result)
    assert "12 more" in repr(result)
    page = result._repr_html_()
    assert "<script>" not in page
    assert "\u202e" not in page + repr(result)
    assert set(result.reasons().values()) == {20}


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3)
    ),
    max_leaves=8,
)
EVENTS = st.lists(
    st.fixed_dictionaries(
        {
            "stream": st.sampled_from(["a-1", "a-2", "b-é", "x"]),
            "event_type": st.sampled_from(["A", "B"]),
            "occurred_on": st.datetimes(
                datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)
            ),
            "value": JSON,
            "text": st.text(st.characters(exclude_categories=["Cs"])),
        }
    ),
    max_size=12,
)


@settings(max_examples=40)
@given(EVENTS)
def test_json_lines_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, events: list[dict[str, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("lines")
    path = folder / "in.jsonl"
    plain = [e | {"occurred_on": e["occurred_on"].isoformat()} for e in events]
    lines = [json.dumps(e, ensure_ascii=n % 2 == 0) for n, e in enumerate(plain)]
    path.write_text("\n".join(lines), encoding="utf-8", newline="")
    with Log.create(folder / "log", maintain=False) as log:
        if not events:
            with pytest.raises(SourceError):
                import_events(path, log)
            return
        result = import_events(path, log)
        assert (result.read, result.kept) == (len(events), len(events))
        assert import_events(path, log).duplicates == len(events)
        found = list(log.read())
    order = sorted(range(len(events)), key=lambda n: (events[n]["occurred_on"], n))
    for event, n in zip(found, order, strict=True):
        assert event.stream == events[n]["stream"]
        assert event.occurred_on == events[n]["occurred_on"]
        wanted = {"value": events[n]["value"], "text": events[n]["text"]}
        assert event.data == jsontext.parse(json.dumps(wanted))
