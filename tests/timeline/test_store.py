"""What is kept of states: extended equals rebuilt equals the slow fold, and nothing is trusted."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from esnb import jsontext
from esnb.event import DomainEvent
from esnb.eventlog import EventLog
from esnb.timeline import Timeline, build, columns, parts, runs
from esnb.timeline import state as states
from tests.timeline import reference
from tests.timeline.standin import INSTANTS, PAYLOADS, START, MemoryLog
from tests.timeline.test_folds import (
    BERLIN,
    ENDS,
    MODES,
    check_event,
    check_state,
    dicts,
    value_text,
    wanted_text,
)

grown = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["order-1", "order-2", "order-é'", "other-1"]),
        st.sampled_from(["Placed", "Changed", "Changed", "Gone"]),
        PAYLOADS.map(jsontext.canonical),
        INSTANTS,
        INSTANTS,
    ),
    max_size=6,
)


def merge_soon(patch: pytest.MonkeyPatch) -> None:
    """Have files merged after two, or when two rows are gone."""
    for name, value in (("_MERGED", 2), ("_LARGE", 3), ("_MANY_GONE", 1)):
        patch.setattr(build, name, value)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges of a few rows, and files that are merged soon."""
    monkeypatch.setattr(build, "_RANGE", 3)
    merge_soon(monkeypatch)


@pytest.fixture
def many_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of two closed rows, and row groups of two open ones."""
    for module in (build, columns, parts, runs):
        monkeypatch.setattr(module, "GROUP_ROWS", 2)
    monkeypatch.setattr(parts, "_SMALL_GROUP_ROWS", 2)
    monkeypatch.setattr(parts, "FILE_GROUPS", 1)


def written(log: MemoryLog, events: list[Any]) -> None:
    for stream, event_type, data, occurred_on, recorded_on in events:
        log.write(stream, event_type, data, occurred_on=occurred_on, recorded_on=recorded_on)


def plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows by stream and position, to be compared."""
    return sorted(rows, key=lambda row: (row["stream"], row["position"]))


@grown
@given(st.lists(EVENTS, min_size=1, max_size=5), MODES, ENDS, st.data())
def test_extended_is_rebuilt_is_the_slow_fold(
    small: None, batches: list[Any], mode: Any, ends: tuple[str, ...], data: st.DataObject
) -> None:
    log = MemoryLog(zone="Europe/Berlin")
    line = Timeline(log, "order", fold=mode, ends=ends)
    for number, events in enumerate(batches):
        written(log, events)
        if number % 2 and data.draw(st.booleans()):
            continue  # the next one goes on from two parts before
        extended = plain(dicts(line.history()))
        again = Timeline(MemoryLog(log.written, zone=log.zone), "order", fold=mode, ends=ends)
        assert extended == plain(dicts(again.history()))
        assert line.fields == again.fields
        table = reference.rows(log.written, "order", mode, ends)
        expected = [row for stream in sorted(table) for row in table[stream]]
        assert len(extended) == len(expected)
        for row, wanted in zip(extended, expected, strict=True):
            check_event(row, wanted.event)
            assert (row["system_from"], row["system_to"], row["next_position"], row["ended"]) == (
                wanted.system_from, wanted.system_to, wanted.next_position, wanted.ended
            )  # fmt: skip
            check_state(line, row, wanted.state)
        state = line.built().state
        assert (state.events, state.streams) == (len(expected), len(table))
        names = [name for name, field in line.fields.items() if field.type != "JSON"]
        for name in [*names[:2], "event_type"]:
            # The first time it is made, then it is carried along.
            assert line.counts(name).fetchall() == again.counts(name).fetchall()
            check_counts(line, name, table)


@settings(grown, max_examples=20)
@given(st.lists(EVENTS, min_size=1, max_size=3), MODES, ENDS, st.booleans(), st.booleans())
def test_answers_from_many_files_are_those_from_one(
    many_files: None,
    batches: list[Any],
    mode: Any,
    ends: tuple[str, ...],
    grows: bool,
    merges: bool,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if merges:
            merge_soon(patch)
        answers_are_those_from_one(batches, mode, ends, grows)


def answers_are_those_from_one(
    batches: list[Any], mode: Any, ends: tuple[str, ...], grows: bool
) -> None:
    log = MemoryLog(zone="UTC")
    line = Timeline(log, "order", fold=mode, ends=ends)
    for events in batches:
        written(log, events)
        if grows:
            line.built()
    several = line.built().state
    assert all(part.rows <= 2 for part in several.closed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "FILE_GROUPS", 10**6)
        one = Timeline(MemoryLog(log.written, zone="UTC"), "order", fold=mode, ends=ends)
        one.built()
    table = reference.rows(log.written, "order", mode, ends)
    instants = {row.system_from for rows in table.values() for row in rows}
    little = timedelta(microseconds=1)
    around = sorted({at + d for at in instants for d in (-little, timedelta(), little)})
    for moments in (around, list(range(-1, len(log.written) + 1))):
        for number, at in enumerate(moments):
            found = {row["stream"]: row for row in dicts(line.as_of(at))}
            wanted = reference.as_of(table, at)
            assert {
                s: (row["position"], row["system_to"], row["next_position"])
                for s, row in found.items()
            } == {
                s: (row.event.position, row.system_to, row.next_position)
                for s, row in wanted.items()
            }
            for until in moments[number::5]:
                order = "stream, position, field"
                assert (
                    line.diff(at, until).order(order).fetchall()
                    == one.diff(at, until).order(order).fetchall()
                )
                counted = [set(each.diff_counts(at, until).fetchall()) for each in (line, one)]
                assert counted[0] == counted[1]
    for stream in table:
        assert dicts(line.history(stream)) == dicts(one.history(stream))


def test_a_question_opens_only_the_files_that_can_answer(many_files: None) -> None:
    log = MemoryLog(zone="UTC")
    for number in range(20):
        at = START + timedelta(hours=number)
        log.write("order-1", "Changed", f'{{"n": {number}}}', recorded_on=at)
    line = Timeline(log, "order")
    table = line.built()
    assert len(table.state.closed) == 10
    for at in (START + timedelta(hours=7, minutes=30), 7):
        assert line.as_of(at).project("n").fetchall() == [(7,)]
        assert line.as_of(at).sql_query().count("closed-") == 1
    assert line.as_of(START - timedelta(hours=1)).fetchall() == []
    assert line.diff(6, 8).aggregate("count(*)").fetchone() == (1,)
    assert line.diff(6, 8).sql_query().count("closed-") <= 4
    # Large files are left as they are when others are merged.
    names = {part.name for part in table.state.closed}
    for number in range(40):
        log.write("order-1", "Changed", f'{{"n": {number}}}', recorded_on=at)
        line.built()
    assert names <= {part.name for part in line.built().state.closed}


def check_counts(line: Timeline, name: str, table: dict[str, list[reference.Row]]) -> None:
    kind = line.fields[name].type if name in line.fields else "VARCHAR"
    ticks = reference.ticks(table, "1 day", BERLIN)
    expected: dict[Any, int] = {}
    for tick in ticks:
        for row in reference.as_of(table, tick).values():
            value = row.event.event_type
            if name in line.fields:
                value = row.state.get(line.fields[name].key)
            at = (tick.astimezone(START.tzinfo), wanted_text(value, kind))
            expected[at] = expected.get(at, 0) + 1
    counted = {
        (at.astimezone(START.tzinfo), value_text(value, kind)): count
        for at, value, count in line.counts(name).fetchall()
        if count
    }
    assert counted == expected
    for tick in (*ticks[:2], START + timedelta(minutes=1), 3):
        found = {
            value_text(value, kind): count
            for value, count in line.population(name, tick).fetchall()
        }
        wanted: dict[str, int] = {}
        for row in reference.as_of(table, tick).values():
            value = row.event.event_type
            if name in line.fields:
                value = row.state.get(line.fields[name].key)
            wanted[wanted_text(value, kind)] = wanted.get(wanted_text(value, kind), 0) + 1
        assert found == wanted


def test_a_state_that_turns_out_to_have_no_length_never_stood(small: None) -> None:
    log = MemoryLog(zone="UTC")
    line = Timeline(log, "order")
    for value in ("new", "paid", "new"):
        log.write("order-1", "Changed", f'{{"status": "{value}"}}', recorded_on=START)
        now = [(row[1], row[2]) for row in line.counts("status", start=START).fetchall()]
        assert {kind for kind, _ in now} == {value}
    assert line.population("status", START + timedelta(minutes=30)).fetchall() == [("new", 1)]


@pytest.mark.parametrize("many_gone", [1, 5, 10**6])
def test_many_small_appends_leave_few_files(
    monkeypatch: pytest.MonkeyPatch, many_gone: int
) -> None:
    monkeypatch.setattr(build, "_MERGED", 4)
    monkeypatch.setattr(build, "_MANY_GONE", many_gone)
    log = MemoryLog(zone="UTC")
    line = Timeline(log, "order")
    for number in range(40):
        log.write(f"order-{number % 3}", "Changed", f'{{"n": {number}}}')
        assert line.as_of(number).aggregate("max(n)").fetchall() == [(number,)]
    state = line.built().state
    assert len(state.closed) <= 1 + 3 * 3
    assert len(state.open) <= 1 + 4
    assert (state.gone.rows if state.gone is not None else 0) <= many_gone
    assert [row["n"] for row in plain(dicts(line.history("order-1")))] == list(range(1, 40, 3))


def test_only_new_events_are_read() -> None:
    log = MemoryLog(zone="UTC")
    log.write("order-1", "Placed", '{"n": 1}')
    line = Timeline(log, "order")
    assert len(line.history().fetchall()) == 1
    # Were the first event read again, its payload would now make the field a text.
    log.written[0].data = '{"n": "one"}'
    log.write("order-1", "Placed", '{"n": 2}')
    assert [row["n"] for row in dicts(line.history())] == [1, 2]


def test_a_field_more_or_another_type_is_another_store() -> None:
    log = MemoryLog(zone="UTC")
    line = Timeline(log, "order")
    log.write("order-1", "Placed", '{"n": 1}')
    first = line.built()
    log.write("order-1", "Changed", '{"n": 1.5, "m": 1}')
    assert [(row["n"], row["m"]) for row in dicts(line.history())] == [(1.0, None), (1.5, 1)]
    assert line.built().folder != first.folder


# --- what may happen to files ------------------------------------------------------------


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    with EventLog.create(tmp_path / "log", zone="UTC") as log:
        add(log, 30)
        yield log


def add(log: EventLog, count: int) -> None:
    for number in range(count):
        payload = {"n": number, "deep": {f"k{number % 3}": number}}
        log.append(f"order-{number % 5}", [DomainEvent("Changed", payload)])


def folder_of(line: Timeline) -> Path:
    return line.built().folder


def test_it_stands_under_derived_and_is_found_again(log: EventLog) -> None:
    line = log.timeline("order")
    rows = line.history().fetchall()
    folder = folder_of(line)
    assert folder.parent == log.path / "derived" / "timelines"
    times = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    with EventLog.open(log.path) as other:
        assert other.timeline("order").history().fetchall() == rows
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == times
    line.drop()
    assert not folder.exists()
    assert line.history().fetchall() == rows


def damage_flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def damage_cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def damage_other(path: Path) -> None:
    path.write_text("something else")


def damage_gone(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [damage_flip, damage_cut, damage_other, damage_gone])
def test_what_was_damaged_is_built_anew(log: EventLog, damage: Any) -> None:
    line = log.timeline("order")
    line.counts("n").fetchall()
    add(log, 7)
    counts = line.counts("n").fetchall()
    rows = line.history().fetchall()
    folder = folder_of(line)
    names = sorted(path.name for path in folder.iterdir() if path.name != "lock")
    assert {name.split("-")[0] for name in names} == {
        "closed", "open", "gone", "cube", "state.json"
    }  # fmt: skip
    notes = sorted((folder.parent / "notes").iterdir())
    for path in [*(folder / name for name in names), *notes]:
        if not path.exists():
            continue  # of an older build
        damage(path)
        # Under the eyes of those who know it, and of one who comes later.
        assert line.history().fetchall() == rows, path.name
        damage_again = folder / names[0]
        if damage_again.exists():
            damage(damage_again)
        with EventLog.open(log.path) as other:
            assert other.timeline("order").history().fetchall() == rows, path.name
            assert other.timeline("order").counts("n").fetchall() == counts


def test_a_foreign_state_is_not_trusted(log: EventLog) -> None:
    line = log.timeline("order")
    rows = line.history().fetchall()
    folder = folder_of(line)
    good = json.loads((folder / "state.json").read_bytes())
    good.pop("checksum")
    for change in (
        {"anchor": "another event"},
        {"next_position": 10**6},
        {"fingerprint": "0" * 64},
        {"format": 99},
        {"closed": [{**good["closed"][0], "name": "../../../log.json"}]},
        {"closed": [{"name": 1}]},
        {"open": None},
    ):
        (folder / "state.json").write_bytes(states.sealed_json({**good, **change}))
        assert log.timeline("order").history().fetchall() == rows, change


def test_a_log_that_was_set_back_has_states_of_its_own(tmp_path: Path) -> None:
    """The same number of events, but others: the store of the first is not theirs."""
    with EventLog.create(tmp_path / "log", zone="UTC") as log:
        add(log, 3)
    shutil.copytree(tmp_path / "log", tmp_path / "copy")
    with EventLog.open(tmp_path / "log") as log:
        add(log, 5)
        first = log.timeline("order").history().fetchall()
    shutil.copytree(tmp_path / "log" / "derived", tmp_path / "copy" / "derived", dirs_exist_ok=True)
    with EventLog.open(tmp_path / "copy") as copy:
        add(copy, 5)
        second = copy.timeline("order").history().fetchall()
        assert len(first) == len(second) == 8
        ids = {event.event_id for event in copy.read()}
        assert {row[3] for row in second} == ids
        assert {row[3] for row in first} != ids


def test_an_answer_is_readable_after_the_store_has_moved_on(log: EventLog) -> None:
    line = log.timeline("order")
    before = line.history()
    rows = before.fetchall()
    for _ in range(3):
        add(log, 2)
        line.history().fetchall()
    assert before.fetchall() == rows


def test_another_process_may_be_ahead(log: EventLog) -> None:
    line = log.timeline("order")
    line.history().fetchall()
    snapshot = log.snapshot()
    with EventLog.open(log.path) as other:
        add(other, 4)
        assert len(other.timeline("order").history().fetchall()) == 34
    # A snapshot from before meets a store that is further: the log is further too.
    read = line._read()
    assert len(read.ask(f"SELECT * FROM {read.table.source}").fetchall()) == 34
    assert snapshot.next_position == 30


def test_a_log_that_cannot_be_written_is_read_all_the_same(tmp_path: Path) -> None:
    with EventLog.create(tmp_path / "log", zone="UTC") as log:
        add(log, 12)
        rows = log.timeline("order").history().fetchall()
        log.timeline("order").drop()
    derived = tmp_path / "log" / "derived"
    before = sorted(derived.rglob("*"))
    with EventLog.open(tmp_path / "log", read_only=True) as log:
        line = log.timeline("order")
        assert line.history().fetchall() == rows
        folder = folder_of(line)
        assert not folder.is_relative_to(tmp_path)
        assert sorted(derived.rglob("*")) == before
    assert not folder.exists()


BUILDS = """
import sys
from esnb.eventlog import EventLog
with EventLog.open(sys.argv[1]) as log:
    line = log.timeline("order")
    print(len(line.history().fetchall()), line.counts("n").aggregate("sum(count)").fetchall())
"""


def test_processes_build_side_by_side(log: EventLog) -> None:
    log.seal()
    running = [
        subprocess.Popen([sys.executable, "-c", BUILDS, str(log.path)], stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    said = {process.communicate(timeout=120)[0] for process in running}
    assert [process.returncode for process in running] == [0, 0, 0]
    assert len(said) == 1
    assert said.pop().startswith(b"30 ")
    assert not [path for path in folder_of(log.timeline("order")).iterdir() if "tmp" in path.name]


def test_threads_ask_while_one_takes_it_away(log: EventLog) -> None:
    line = log.timeline("order")
    wrong: list[BaseException] = []
    done = threading.Event()

    def ask() -> None:
        try:
            while not done.is_set():
                assert line.built().state.events == 30
        except BaseException as error:
            wrong.append(error)

    askers = [threading.Thread(target=ask) for _ in range(3)]
    for asker in askers:
        asker.start()
    for _ in range(5):
        line.drop()
        time.sleep(0.05)
    done.set()
    for asker in askers:
        asker.join()
    assert wrong == []


INTERRUPTED = """
import os, signal, sys, threading
from esnb.eventlog import EventLog
from esnb.timeline import build
write = build.write_batches
def interrupted(*arguments, **options):
    part = write(*arguments, **options)
    os.kill(os.getpid(), signal.SIGINT)
    return part
build.write_batches = interrupted
with EventLog.open(sys.argv[1]) as log:
    try:
        log.timeline("order").history()
    except KeyboardInterrupt:
        print("stopped")
"""


def test_an_interrupted_build_is_no_build(log: EventLog) -> None:
    before = signal.getsignal(signal.SIGINT)
    log.seal()
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(log.path)],
        check=True, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stdout == "stopped\n"
    (folder,) = (log.path / "derived" / "timelines").glob("[!n]*")
    assert not (folder / "state.json").exists()
    assert len(log.timeline("order").history().fetchall()) == 30
    assert signal.getsignal(signal.SIGINT) is before


def test_old_files_go_and_new_ones_stay(log: EventLog) -> None:
    line = log.timeline("order")
    folder = folder_of(line)
    litter = folder / ".tmp-1-left"
    litter.write_text("by a process that died")
    fresh = folder / ".tmp-2-new"
    fresh.write_text("by one that works")
    os.utime(litter, (1, 1))
    add(log, 1)
    line.built()
    assert not litter.exists()
    assert fresh.exists()


def test_one_long_interval_does_not_spoil_the_short_ones() -> None:
    """Row groups tell which instants they are for only if their intervals are of one length."""
    memory = MemoryLog(zone="UTC")
    memory.write("order-long", "Placed", '{"n": 0}', recorded_on=START)
    for number in range(300):
        at = START + timedelta(hours=number)
        memory.write(f"order-{number}", "Placed", '{"n": 1}', recorded_on=at)
        short = at + timedelta(minutes=30)
        memory.write(f"order-{number}", "Changed", '{"n": 2}', recorded_on=short)
    late = START + timedelta(hours=299)
    memory.write("order-long", "Changed", '{"n": 3}', recorded_on=late)
    table = Timeline(memory, "order").built()
    (part,) = table.state.closed
    groups = pq.ParquetFile(table.folder / part.name).metadata
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups) if i] == [1]
    assert groups.row_group(0).num_rows == 300
