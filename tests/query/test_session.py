"""The session: its lock, its snapshots, its errors."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from esnb.errors import DamagedLogError, InstantError, QueryError
from esnb.log import Log
from esnb.query import Session
from esnb.query.names import literal, quote
from esnb.schema import COLUMNS, EVENT_SCHEMA

SECRET = "hunter2-and-some-more"  # noqa: S105
ODD = ["plain", "lo'g; drop view events --", 'say "x"', "日本 ü", "a b,c", "br[a]c", "st*r?", "%20"]


def types(relation: duckdb.DuckDBPyRelation) -> list[tuple[str, str]]:
    return list(zip(relation.columns, map(str, relation.types), strict=True))


@pytest.mark.parametrize("name", ODD)
def test_a_log_may_stand_anywhere(tmp_path: Path, name: str, fill: Callable[[Path], Log]) -> None:
    with fill(tmp_path / name / "log") as log:
        session = Session(log.path, zone=log.zone)
        assert session.sql(log.snapshot(), "select count(*) from events").fetchall() == [(200,)]
        assert len(session.events(log.snapshot(), after=100).fetchall()) == 99
        session.close()


def test_events_have_the_canonical_columns_sealed_or_not(
    tmp_path: Path, rows: Callable[[int, int], pa.Table]
) -> None:
    found = []
    with Log.create(tmp_path / "log", maintain=False) as log:
        session = Session(log.path)
        for step in (lambda: None, lambda: log.append_frame(rows(0, 9)), log.seal):
            step()
            snapshot = log.snapshot()
            for relation in (session.sql(snapshot, "from events"), session.events(snapshot)):
                assert relation.columns == list(COLUMNS)
                found.append(types(relation))
                table = relation.to_arrow_table()
                assert table.cast(EVENT_SCHEMA).num_rows == snapshot.next_position
                assert table.schema.types == EVENT_SCHEMA.types
        session.close()
    assert all(each == found[0] for each in found)


def test_events_are_those_of_the_log(filled: Log, session: Session) -> None:
    snapshot = filled.snapshot()
    assert snapshot.segments
    assert snapshot.tail.num_rows == 20
    table = session.events(snapshot).to_arrow_table()
    assert table["position"].to_pylist() == list(range(200))
    written = list(filled.read())
    for name in ("event_id", "stream", "category", "revision", "event_type", "occurred_on"):
        assert table[name].to_pylist() == [getattr(event, name) for event in written]
    assert table["data"].to_pylist() == [event.data_text for event in written]
    assert table["tags"].to_pylist() == [list(event.tags) for event in written]


@pytest.mark.parametrize(
    "condition",
    [
        "stream IN (SELECT p.stream FROM events AS p WHERE p.event_type = 'Paid')",
        "position IN (SELECT p.position + 1 FROM events AS p WHERE p.actor = 'actor 1')",
        "EXISTS (FROM events AS p WHERE p.stream = e.stream AND p.correlation_id = 'c-3')",
    ],
)
def test_joins_of_sealed_events_with_a_tail(filled: Log, session: Session, condition: str) -> None:
    """DuckDB 1.5 pushes Bloom filters of joins into Arrow, which it then cannot have them do."""
    snapshot = filled.snapshot()
    assert snapshot.segments
    assert snapshot.tail.num_rows
    text = f"SELECT e.position FROM events AS e WHERE {condition} ORDER BY ALL"
    plain = duckdb.connect()
    plain.register("given", session.events(snapshot).to_arrow_table())
    plain.execute("CREATE TABLE events AS FROM given")
    found = session.sql(snapshot, text).fetchall()
    assert found == plain.execute(text).fetchall()
    assert found


def test_a_snapshot_has_one_cursor_and_its_relations_outlive_it(
    own: tuple[Log, Session], rows: Callable[[int, int], pa.Table]
) -> None:
    log, session = own
    first = log.snapshot()
    cursor = session.cursor(first)
    assert session.cursor(log.snapshot()) is cursor
    cursor.execute("create temp table mine as select 1 as x")
    cursor.execute("create temp macro twice(x) as x * 2")
    held = session.sql(first, "select count(*) from events")
    chosen = session.events(first)
    mine = cursor.sql("select twice(x) from mine")
    for number in range(8):
        log.append_frame(rows(200 + number, 1))
        if number % 3 == 0:
            log.seal()
        snapshot = log.snapshot()
        assert session.sql(snapshot, "select count(*) from events").fetchall() == [(201 + number,)]
        with pytest.raises(QueryError, match="mine does not exist"):
            session.sql(snapshot, "from mine")
    del cursor
    gc.collect()
    assert held.fetchall() == [(200,)]
    assert len(chosen.fetchall()) == 200
    assert mine.fetchall() == [(2,)]
    assert session.sql(first, "select count(*) from events").fetchall() == [(200,)]


def test_readers_of_events_do_not_cut_each_other_off(filled: Log, session: Session) -> None:
    snapshot = filled.snapshot()
    readers = [session.events(snapshot).to_arrow_reader(10) for _ in range(3)]
    for reader in readers:
        reader.read_next_batch()
    session.events(snapshot, stream="order-0").fetchall()
    assert [10 + reader.read_all().num_rows for reader in readers] == [200, 200, 200]


@pytest.mark.parametrize(
    "setting",
    [
        "enable_external_access=true",
        "lock_configuration=false",
        "allowed_directories=['/']",
        "allowed_paths=['/etc/passwd']",
        "python_enable_replacements=true",
        "autoinstall_known_extensions=true",
        "autoload_known_extensions=true",
        "allow_community_extensions=true",
        "allow_persistent_secrets=true",
        "temp_directory='/tmp/other'",
        "memory_limit='1GB'",
        "TimeZone='UTC'",
        "threads=1",
        "custom_extension_repository='http://example.com'",
        "extension_directory='/tmp'",
        "secret_directory='/tmp'",
        "home_directory='/tmp'",
    ],
)
def test_settings_are_locked(filled: Log, session: Session, setting: str) -> None:
    cursor = session.cursor(filled.snapshot())
    name = setting.partition("=")[0]
    for statement in (
        f"set {setting}",
        f"set global {setting}",
        f"set session {setting}",
        f"reset {name}",
        f"pragma {setting}",
    ):
        with pytest.raises(duckdb.Error, match=r"locked|cannot be|Cannot|must be|not supported"):
            cursor.execute(statement)


def test_the_settings_are_those_of_the_log(tmp_path: Path) -> None:
    with Log.create(tmp_path / "log", zone="Asia/Tokyo") as log:
        session = Session(log.path, zone=log.zone, memory_limit="123MiB")
        cursor = session.cursor(log.snapshot())
        found = dict(cursor.execute("select name, value from duckdb_settings()").fetchall())
        assert found["TimeZone"] == "Asia/Tokyo"
        assert found["memory_limit"] == "123.0 MiB"
        assert f"{log.path}/" in found["allowed_directories"]
        for name in ("lock_configuration", "parquet_metadata_cache"):
            assert found[name] == "true"
        for name in (
            "enable_external_access",
            "python_enable_replacements",
            "autoinstall_known_extensions",
            "autoload_known_extensions",
            "allow_community_extensions",
            "allow_persistent_secrets",
        ):
            assert found[name] == "false"
        assert not Path(found["temp_directory"]).is_relative_to(log.path)
        shown = session.sql(log.snapshot(), "select timestamptz '2026-01-01 00:00:00Z'::text")
        assert shown.fetchall() == [("2026-01-01 09:00:00+09",)]
        session.close()
        wrong = Session(log.path, memory_limit="lots")
        with pytest.raises(QueryError, match="refuses a setting of the session"):
            wrong.cursor(log.snapshot())
        wrong.close()


def test_python_variables_are_no_tables(filled: Log, session: Session) -> None:
    frame = pa.table({"x": [1]})
    for unsafe in (False, True):
        with pytest.raises(QueryError, match="frame does not exist"):
            session.sql(filled.snapshot(), "from frame", unsafe=unsafe)
    with pytest.raises(duckdb.Error, match="frame does not exist"):
        session.cursor(filled.snapshot()).execute("from frame")
    assert frame.num_rows == 1


def test_closing_removes_the_temporary_folder(
    tmp_path: Path, filled: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for explicit in (True, False):
        session = Session(filled.path)
        session.cursor(filled.snapshot())
        assert len(list(tmp_path.iterdir())) == 1
        if explicit:
            session.close()
            session.close()
            with pytest.raises(QueryError, match="the log is closed"):
                session.sql(filled.snapshot(), "select 1")
            with pytest.raises(QueryError, match="the log is closed"):
                session.events(filled.snapshot())
        del session
        gc.collect()
        assert list(tmp_path.iterdir()) == []


def test_a_large_sort_spills_into_the_temporary_folder(filled: Log, tmp_path: Path) -> None:
    session = Session(filled.path, memory_limit="80MB")
    numbered = "select row_number() over (order by hash(i)) r from range(4000000) t(i)"
    text = f"select max(r) from ({numbered})"
    assert session.sql(filled.snapshot(), text).fetchall() == [(4_000_000,)]
    session.close()


def test_errors_carry_the_message_of_duckdb(filled: Log, session: Session) -> None:
    snapshot = filled.snapshot()
    with pytest.raises(QueryError, match='"strean" not found') as info:
        session.sql(snapshot, "select strean from events")
    assert info.value.__cause__ is None
    assert info.value.__context__ is None
    with pytest.raises(QueryError, match="Could not convert string 'x'"):
        session.sql(snapshot, "select cast(? as int) from events", ["x"])
    with pytest.raises(QueryError, match="Could not convert string 'x'"):
        session.sql(snapshot, "select cast('x' as int) from events", timeout=10)
    with pytest.raises(QueryError, match="parameter"):
        session.sql(snapshot, "select ?", [1, 2])
    with pytest.raises(QueryError, match="parameter"):
        session.sql(snapshot, "select $a", {})
    with pytest.raises(QueryError):
        session.sql(snapshot, "select ?", ["\ud800"])
    with pytest.raises(QueryError):
        session.sql(snapshot, "select ?", [object()])


def test_secrets_and_paths_stay_out_of_errors(
    filled: Log, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ESNB_TEST_PASSWORD", SECRET)
    monkeypatch.setenv("ESNB_TEST_API_KEY", SECRET[::-1])
    snapshot = filled.snapshot()
    texts = [
        "select getenv('ESNB_TEST_PASSWORD')",
        f"select cast('{SECRET}' as int)",
        f"select * from events where nothing = '{SECRET}'",
        f"select * from events where nothing = '{SECRET[::-1]}'",
        f"selec '{SECRET}'",
        f'select "{SECRET}" from events',
        f'from "{SECRET}"',
        f"from {SECRET.replace('-', '_')}, '{SECRET}'",
        f"from postgres_scan('host=a password={SECRET}', 'x')",
        f"attach 'postgres://me:{SECRET}@host/db'",
        f"select error('{SECRET}')",
        f"select 1 as a, error('password=other-{SECRET}')",
    ]
    told = []
    for text in texts:
        for unsafe in (False, True):
            for timeout in (None, 10.0):
                try:
                    session.sql(snapshot, text, timeout=timeout, unsafe=unsafe)
                except QueryError as error:
                    told.append(f"{error} {error.__context__}")
    assert len(told) > 2 * len(texts)
    for text in told:
        assert SECRET not in text
        assert SECRET[::-1] not in text
        assert str(filled.path) not in text
    monkeypatch.delenv("ESNB_TEST_PASSWORD")
    for text in (f"password={SECRET}", f"secret '{SECRET}'", f"postgres://me:{SECRET}@host/db"):
        with pytest.raises(QueryError) as info:
            session.sql(snapshot, "select cast(? as int)", [text])
        assert SECRET not in str(info.value)
        assert "[hidden]" in str(info.value)


def test_a_query_that_takes_too_long_is_stopped(filled: Log, session: Session) -> None:
    snapshot = filled.snapshot()
    text = (
        "select count(*) from range(10000000) a, range(10000000) b where hash(a.range, b.range) = 1"
    )
    for unsafe in (False, True):
        with pytest.raises(QueryError, match=r"took longer than 0\.1 s"):
            session.sql(snapshot, text, timeout=0.1, unsafe=unsafe)
        # The cursor is whole afterwards.
        asked = session.sql(
            snapshot, "select count(*), ? as x from events", [7], timeout=60, unsafe=unsafe
        )
        assert asked.filter("x = 7").fetchall() == [(200, 7)]
    with pytest.raises(QueryError, match="seconds above 0"):
        session.sql(snapshot, "select 1", timeout=0)


def test_unsafe_sql_may_write(filled: Log, session: Session, tmp_path: Path) -> None:
    snapshot = filled.snapshot()
    path = tmp_path / "it's.csv"
    text = f"copy (select position, stream from events order by 1) to {literal(str(path))}"
    with pytest.raises(QueryError, match="unsafe=True"):
        session.sql(snapshot, text)
    assert not path.exists()
    assert session.sql(snapshot, text, unsafe=True).fetchall() == [(True,)]
    assert len(path.read_text().splitlines()) == 201
    session.sql(snapshot, "create table kept as from events limit 3", unsafe=True)
    found = session.sql(snapshot, "select count(*) from kept", unsafe=True, timeout=60)
    assert found.fetchall() == [(3,)]
    with pytest.raises(QueryError, match="kept does not exist"):
        session.sql(snapshot, "from kept")


def test_damage_is_found_before_rows_are_shown(own: tuple[Log, Session]) -> None:
    log, session = own
    session.sql(log.snapshot(), "from events").fetchall()
    damaged = log.snapshot().segments[1].path
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    snapshot = log.snapshot()
    for question in (
        lambda: session.sql(snapshot, "from events"),
        lambda: session.sql(snapshot, "from events", unsafe=True),
        lambda: session.cursor(snapshot),
        lambda: session.events(snapshot),
        lambda: session.events(snapshot, after=70, before=72),
    ):
        with pytest.raises(DamagedLogError) as info:
            question()
        assert info.value.path == damaged
    assert len(session.events(snapshot, before=60).fetchall()) == 60
    damaged.unlink()
    with pytest.raises(DamagedLogError, match="missing"):
        session.cursor(snapshot)
    with pytest.raises(InstantError):
        session.events(snapshot, occurred_from="2026-13-01")


def test_hostile_names_and_values_come_back(
    filled: Log, session: Session, hostile_names: list[str]
) -> None:
    snapshot = filled.snapshot()
    cursor = session.cursor(snapshot)
    cursor.execute("begin")
    for name in hostile_names:
        made = cursor.sql(f"select {literal(name)} as {quote(name)}")
        assert made.columns == [name]
        assert made.fetchall() == [(name,)]
        assert session.sql(snapshot, "select ? as x", [name]).fetchall() == [(name,)]
        cursor.execute(f"create temp table {quote('t' + name)} ({quote(name)} varchar)")
        cursor.execute(f"insert into {quote('t' + name)} values (?)", [name])
        found = cursor.execute(f"select {quote(name)} from {quote('t' + name)}").fetchall()
        assert found == [(name,)]
    cursor.execute("rollback")
    assert session.sql(snapshot, "select count(*) from events").fetchall() == [(200,)]


def test_names_that_cannot_be(session: Session) -> None:
    for write in (quote, literal):
        for text in ("a\x00b", "\ud800"):
            with pytest.raises(QueryError):
                write(text)
    with pytest.raises(QueryError, match="empty"):
        quote("")
    assert literal("") == "''"


def test_a_reader_is_not_cut_off_by_the_next_question(tmp_path: Path) -> None:
    """DuckDB ends an open reader without a word when its connection is asked again."""
    with Log.create(tmp_path / "log") as log:
        log.append_frame(
            pa.table(
                {
                    "stream": ["a-1"] * 50_000,
                    "event_type": ["T"] * 50_000,
                    "data": ["{}"] * 50_000,
                }
            )
        )
        session = Session(log.path)
        snapshot = log.snapshot()
        reader = session.sql(snapshot, "select position from events").to_arrow_reader(1000)
        first = reader.read_next_batch().num_rows
        assert session.sql(snapshot, "select count(*) from events").fetchall() == [(50_000,)]
        assert first + sum(batch.num_rows for batch in reader) == 50_000
        session.close()
