"""Running: following, waiting, pausing, rebuilding, two runners, and sinks that go away."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pymongo
import pytest
import redis

import esnb
from esnb import DomainEvent, EventLog, RecordedEvent
from esnb.errors import ProjectionError, SinkError
from esnb.write import DuckDBSink, PostgreSQLSink, Projection, RedisSink, Runner, Table, logging, on
from esnb.write.registry import health

from .conftest import KINDS, Place, place_on
from .forms import Customers
from .model import CUSTOMERS_TABLE, Board, Gone, Paid, Placed, Poison, Renamed, reference
from .services import MongoDBServer, PostgreSQLServer, RedisServer

ROOT = Path(__file__).parents[2]


def shown(runner: Runner) -> dict[str, dict[str, dict[str, Any]]]:
    return {name: runner.rows(name) for name in ("orders", CUSTOMERS_TABLE)}


def until(true: Callable[[], Any], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


@contextmanager
def following(runner: Runner) -> Iterator[threading.Thread]:
    """Run it in a thread within the block; an error in it is raised at the end."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            runner.run(follow=True)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield thread
    finally:
        runner.stop()
        thread.join(60)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


def fill(log: EventLog, count: int, seed: int = 1) -> None:
    """Append events of a few orders, in one commit."""
    chance = random.Random(seed)
    with log.batch():
        for number in range(count):
            stream = f"order-{chance.randrange(max(5, count // 20))}"
            kind = chance.randrange(10)
            event: Any
            if kind < 3:
                event = Placed(customer=f"c{chance.randrange(20)}", total=Decimal(number) / 100)
            elif kind < 8:
                event = Paid(amount=Decimal(chance.randrange(10_000)) / 100)
            else:
                event = Renamed(customer=f"r{number}") if kind == 8 else Gone()
            log.append(stream, event)


def seen(log: EventLog) -> int:
    """Return the position that the note in the log tells."""
    return max((one.position for one in health(log)), default=-1)


def test_it_follows_and_stops(place: Place, log: EventLog) -> None:
    runner = log.project(Board, into=place.sink())
    with following(runner):
        for number in range(5):
            log.append("order-1", Paid(amount=Decimal(number)))
            until(lambda: runner.lag().behind == 0)
        (one,) = health(log)
        assert (one.running, one.health) == (True, "ok")
    assert shown(runner) == reference(log.read())
    (one,) = health(log)
    assert (one.running, one.health, one.behind, one.position) == (False, "ok", 0, 4)
    log.append("order-1", Paid(amount=Decimal(1)))
    (one,) = health(log)
    assert (one.health, one.behind) == ("behind", 1)
    assert one.seconds >= 0
    runner.close()


def test_pause_and_resume(place: Place, log: EventLog) -> None:
    log.append("order-1", Placed(customer="ann"))
    runner = log.project(Board, into=place.sink())
    other = log.project(Board, into=place.sink())
    with following(runner):
        until(lambda: runner.lag().behind == 0)
        runner.pause()
        until(lambda: health(log)[0].health == "paused")
        log.append("order-1", Paid(amount=Decimal(1)))
        until(lambda: runner.lag().behind == 1)
        other.run()  # a pause is for all of them
        assert other.lag().behind == 1
        other.resume()
        until(lambda: runner.lag().behind == 0)
    other.close()
    assert shown(runner) == reference(log.read())
    runner.close()


def test_of_two_runners_one_works(place: Place, log: EventLog) -> None:
    fill(log, 100)
    more = {} if place.kind in ("duckdb", "postgresql") else {"lease": 1.0}
    first = log.project(Board, into=place.sink(**more), batch=7)
    second = log.project(Board, into=place.sink(**more), batch=7)
    with following(first):
        until(lambda: first.lag().behind == 0)
        with following(second):
            until(lambda: second._note.state == "waiting")
            fill(log, 50, seed=2)
            until(lambda: first.lag().behind == 0)
            assert second._note.state == "waiting"
            assert second._note.position == -1
            first.stop()
            until(lambda: second._note.position == 149)
            fill(log, 50, seed=3)
            until(lambda: second._note.position == 199)
        assert shown(second) == reference(log.read())
    first.close()
    second.close()


def test_both_try_at_once(place: Place, log: EventLog) -> None:
    """Leases so short that they are lost all the time: nothing is done twice all the same."""
    fill(log, 400)
    more = {} if place.kind in ("duckdb", "postgresql") else {"lease": 0.01}
    runners = [log.project(Board, into=place.sink(**more), batch=n) for n in (9, 7, 5)]
    threads = [threading.Thread(target=runner.run) for runner in runners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    assert shown(runners[0]) == reference(log.read())
    for runner in runners:
        runner.close()


def test_rebuild_beside_a_runner_that_follows(place: Place, log: EventLog) -> None:
    fill(log, 60)
    more = {} if place.kind in ("duckdb", "postgresql") else {"lease": 1.0}
    live = log.project(Board, into=place.sink(**more))
    with following(live):
        until(lambda: live.lag().behind == 0)
        with log.project(Board, into=place.sink(**more)) as again:
            assert again.rebuild().version == 2
            fill(log, 60, seed=2)
            until(lambda: live._note.version == 2 and live.lag().behind == 0)
            assert shown(again) == reference(log.read())
            state = again._sink.state()
            assert (state.current, set(state.versions)) == (2, {2})
    live.close()


def test_readers_see_the_old_version_until_the_switch(place: Place, log: EventLog) -> None:
    fill(log, 60)
    with log.project(Board, into=place.sink()) as runner:
        runner.run()
        whole = shown(runner)
        looked: list[bool] = []
        caught_up = runner._caught_up

        def look(version: int, checkpoint: Any) -> bool:
            done = caught_up(version, checkpoint)
            looked.append({name: dict(runner._sink.rows(name)) for name in whole} == whole)
            return done

        runner._caught_up = look  # type: ignore[method-assign]
        runner.rebuild()
        assert looked == [True, True]
        assert shown(runner) == whole


def test_other_columns_want_a_rebuild(place: Place, log: EventLog) -> None:
    log.append("order-1", Placed(customer="ann"))

    class Before(Projection, name="board", category="order"):
        orders = Table(customer=str)
        left = Table(n=int, name="left behind")

        def when_placed(self, e: Placed) -> None:
            self.orders.put(e.stream, customer=e.customer)
            self.left.add("all", n=1)

    class After(Projection, name="board", category="order"):
        orders = Table(customer=str, total=Decimal)

        def when_placed(self, e: Placed) -> None:
            self.orders.put(e.stream, customer=e.customer, total=e.total)

    with log.project(Before, into=place.sink()) as before:
        before.run()
    with log.project(After, into=place.sink()) as after:
        with pytest.raises(ProjectionError, match="other columns"):
            after.run()
        after.rebuild()
        assert after.rows() == {"order-1": {"customer": "ann", "total": Decimal(0)}}
        assert kept(place) == {"orders"}


def kept(place: Place) -> set[str]:
    """Return the tables that a place holds anything of."""
    arguments = place.arguments
    if place.kind == "duckdb":
        with duckdb.connect(arguments["path"]) as file:
            names = [name for (name,) in file.execute("show tables").fetchall()]
    elif place.kind == "postgresql":
        with psycopg.connect(arguments["url"]) as server:
            names = [
                name
                for (name,) in server.execute(
                    "select table_name from information_schema.tables where table_schema = %s",
                    [arguments["schema"]],
                ).fetchall()
            ]
    elif place.kind == "redis":
        with redis.Redis.from_url(arguments["url"], decode_responses=True) as server:
            names = [key.split(":")[3] for key in server.scan_iter() if key.count(":") > 3]
    else:
        with pymongo.MongoClient(arguments["url"]) as server:
            names = server[arguments["database"]].list_collection_names()
    return {name.partition("@")[0] for name in names if not name.startswith("esnb")}


@pytest.fixture(params=KINDS[1:])
def own_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Any]]:
    """A server that a test may stop."""
    kind = request.param
    server: Any
    if kind == "postgresql":
        server = PostgreSQLServer()
    else:
        folder = tmp_path / "server"
        folder.mkdir()
        server = (RedisServer if kind == "redis" else MongoDBServer)(folder)
    yield kind, server
    if kind == "postgresql":
        server.start()
        server.end()
    else:
        server.stop()


def test_a_sink_that_goes_away(own_server: tuple[str, Any], log: EventLog, tmp_path: Path) -> None:
    """It is stopped in the middle, twice; the runner waits, resumes, and loses nothing."""
    kind, server = own_server
    place = place_on(kind, server, tmp_path, lease=1)
    more = {} if kind == "postgresql" else {"timeout": 2.0}
    fill(log, 3000)
    runner = log.project(Board, into=place.sink(**more), batch=40)
    with following(runner):
        for number in range(2):
            until(lambda n=number: runner._note.position > 700 * (n + 1))
            server.stop()
            until(lambda: runner._note.state == "away")
            fill(log, 50, seed=number + 5)
            assert health(log)[0].health == "away"
            server.start()
        until(lambda: runner.lag().behind == 0)
    assert shown(runner) == reference(log.read())
    runner.close()


@contextmanager
def held_up(place: Place, server: Any) -> Iterator[None]:
    """Let a server answer nothing within the block, with all connections as they are."""
    if place.kind == "postgresql":
        table = psycopg.sql.Identifier(place.arguments["schema"], "orders@1")
        with psycopg.connect(server.url) as connection:
            # Whoever writes to the table waits; what it has sent is not done, and not refused.
            connection.execute(psycopg.sql.SQL("lock table {}").format(table))
            yield
            connection.rollback()
        return
    server._process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        # What was sent meanwhile is done now, after its sender has given it up.
        server._process.send_signal(signal.SIGCONT)


def test_a_sink_that_is_slow(own_server: tuple[str, Any], log: EventLog, tmp_path: Path) -> None:
    """It answers late, again and again: what was given up on is done once all the same."""
    kind, server = own_server
    place = place_on(kind, server, tmp_path, lease=1)
    fill(log, 2000)
    runner = log.project(Board, into=place.sink(timeout=1), batch=40)
    with following(runner):
        for number in range(3):
            until(lambda n=number: runner._note.position > 300 * (n + 1))
            with held_up(place, server):
                until(lambda: runner._note.state == "away")
            until(lambda: runner._note.state == "running")
        fill(log, 50, seed=2)
        until(lambda: runner.lag().behind == 0)
    assert shown(runner) == reference(log.read())
    runner.close()


def test_patience_ends(tmp_path: Path, log: EventLog) -> None:
    fill(log, 3)
    sink = RedisSink("redis://user:hunter2secret@127.0.0.1:1/0", timeout=1)
    runner = log.project(Board, into=sink, patience=0.2)
    with pytest.raises(SinkError, match="away since") as caught:
        runner.run()
    assert "hunter2secret" not in str(caught.value)
    (one,) = health(log)
    assert one.health == "failed"
    assert "hunter2secret" not in repr(one)
    assert "hunter2secret" not in repr(runner)


def test_what_cannot_be_mended_is_said_at_once(
    postgresql_server: PostgreSQLServer, log: EventLog, tmp_path: Path
) -> None:
    with (
        log.project(Board, into=DuckDBSink(tmp_path / "no folder" / "x.duckdb")) as runner,
        pytest.raises(SinkError, match="no folder"),
    ):
        runner.run()
    (tmp_path / "text.duckdb").write_text("this is no database" * 500)
    with (
        log.project(Board, into=DuckDBSink(tmp_path / "text.duckdb")) as runner,
        pytest.raises(SinkError, match="not a valid DuckDB"),
    ):
        runner.run()
    sink = PostgreSQLSink(postgresql_server.url.replace("/postgres?", "/nowhere?"))
    with log.project(Board, into=sink) as runner, pytest.raises(SinkError, match="nowhere"):
        runner.run()


def test_a_file_that_somebody_reads(tmp_path: Path, log: EventLog) -> None:
    """A reader in another process holds the DuckDB file; the runner waits for it to close."""
    fill(log, 30)
    path = tmp_path / "model.duckdb"
    with log.project(Board, into=DuckDBSink(path)) as runner:
        runner.run()
        fill(log, 30, seed=2)
        code = (
            "import duckdb, sys; c = duckdb.connect(sys.argv[1], read_only=True)\n"
            "print(c.execute('select count(*) > 0 from orders').fetchone()[0], flush=True)\n"
            "sys.stdin.read()"
        )
        reader = subprocess.Popen(
            [sys.executable, "-c", code, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert reader.stdout is not None
        assert reader.stdout.readline() == "True\n"
        with following(runner):
            until(lambda: runner._note.state == "away")
            reader.communicate()
            until(lambda: runner.lag().behind == 0)
        assert shown(runner) == reference(log.read())


class Child:
    """A runner in a process of its own."""

    def __init__(self, log: EventLog, place: Place, job: str, projection: str = "board", **o: Any):
        spec = {
            "log": str(log.path),
            "kind": place.kind,
            "arguments": place.arguments,
            "projection": projection,
            "job": job,
            "options": o,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.projection.jobs", json.dumps(spec)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ready(self) -> None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line == "ready\n", self.process.communicate()[1][-2000:]

    def kill(self) -> bool:
        """Kill it; return whether it was still at work."""
        self.process.kill()
        out, _ = self.process.communicate()
        return self.process.returncode == -signal.SIGKILL and "done" not in out


def test_a_signal_ends_it_gracefully(place: Place, log: EventLog) -> None:
    fill(log, 50)
    child = Child(log, place, "follow")
    child.ready()
    until(lambda: seen(log) == 49)
    child.process.send_signal(signal.SIGTERM)
    out, error = child.process.communicate(timeout=60)
    assert (child.process.returncode, out, error) == (0, "done 49\n", "")
    (one,) = health(log)
    assert (one.running, one.health) == (False, "ok")


@pytest.mark.faults
def test_kills_at_any_time(
    place: Place, log: EventLog, tmp_path: Path, kills: Callable[[int], int]
) -> None:
    """Runners are killed again and again, some while they rebuild; the log grows meanwhile.

    After each kill the log grows; at the end, and now and then, the tables equal a rebuild.
    """
    if "lease" in place.arguments:
        place.arguments["lease"] = 0.2
    chance = random.Random(5)
    count = kills(10)
    number = killed = cut_off = 0
    began = time.monotonic()
    fill(log, 300)
    checked = Runner(log, Board, DuckDBSink(tmp_path / "rebuilt.duckdb"))
    while killed < count:
        job = "rebuild" if number % 4 == 3 else "follow"
        children = [Child(log, place, job, batch=3) for _ in range(1 + number % 2)]
        children[-1].ready()
        fill(log, chance.randrange(1, 200), seed=number)
        time.sleep(chance.random() * 0.4)
        killed += sum([child.kill() for child in children])
        with Runner(log, Board, place.sink()) as looking:
            cut_off += looking.lag().behind > 0
        if number % 5 == 4:
            with Runner(log, Board, place.sink(), batch=50) as runner:
                runner.run()
                assert shown(runner) == reference(log.read())
        number += 1
    assert cut_off > 0
    with Runner(log, Board, place.sink(), batch=50) as runner:
        runner.run()
        found = shown(runner)
        assert found == reference(log.read())
        checked.rebuild()
        assert found == shown(checked)
        runner.rebuild()
        assert shown(runner) == found
        assert len(runner._sink.state().versions) == 1
    checked.close()
    print(
        f"\n{place.kind}: {killed} kills, {cut_off} times behind after one, "
        f"{log.next_position} events, {time.monotonic() - began:.0f} s"
    )


def test_what_is_logged(log: EventLog, tmp_path: Path) -> None:
    """One line a batch, none with what events say."""
    import io

    log.append("order-1", Placed(customer="secret of ann"))
    log.append("order-1", Poison(note="secret of poison"))
    file = io.StringIO()
    logging.configure(file, level="debug")
    try:
        with (
            log.project(Board, into=DuckDBSink(tmp_path / "m.duckdb")) as runner,
            pytest.raises(ProjectionError),
        ):
            runner.run()
    finally:
        logging.silence()
    lines = [json.loads(line) for line in file.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["projected", "projection stopped"]
    assert lines[0]["position"] == 0
    assert (lines[1]["position"], lines[1]["handler"]) == (1, "Board.when_poison")
    assert "secret" not in file.getvalue()


def test_one_object_serves_one_projection(log: EventLog, tmp_path: Path) -> None:
    sink = DuckDBSink(tmp_path / "m.duckdb")
    log.project(Board, into=sink)
    with pytest.raises(ProjectionError, match="another object"):
        log.project(Customers, into=sink)

    class Empty(Projection):
        @on("X")
        def x(self, e: Any) -> None: ...

    with pytest.raises(ProjectionError, match="no Table"):
        log.project(Empty, into=DuckDBSink(tmp_path / "n.duckdb"))


def test_a_log_that_is_read_only(log: EventLog, tmp_path: Path) -> None:
    fill(log, 20)
    with esnb.open(log.path, read_only=True) as reading:
        with reading.project(Board, into=DuckDBSink(tmp_path / "m.duckdb")) as runner:
            runner.run()
            assert shown(runner) == reference(log.read())
        assert health(reading) == []


def test_two_projections_share_no_table(
    postgresql_server: Any, log: EventLog, tmp_path: Path
) -> None:
    """After a rebuild of the first the table's own name is free, and its view is not."""

    class First(Projection, category="order"):
        orders = Table(told=str)

        def when_any(self, e: RecordedEvent) -> None:
            self.orders.put(e.stream, told="first")

    class Second(Projection, category="order"):
        Orders = Table(other=str)

        def when_any(self, e: RecordedEvent) -> None:
            self.Orders.put(e.stream, other="second")

    log.append("order-1", DomainEvent("Came", {}))
    for kind in ("duckdb", "postgresql"):
        place = place_on(kind, postgresql_server, tmp_path)
        first = log.project(First, into=place.sink())
        first.run()
        first.rebuild()
        with (
            log.project(Second, into=place.sink()) as second,
            pytest.raises(SinkError, match="'Orders' is that of the projection 'first'"),
        ):
            second.run()
        assert first.rows("orders") == {"order-1": {"told": "first"}}
        first.close()


def test_what_is_no_sink_is_refused(log: EventLog) -> None:
    with pytest.raises(ProjectionError, match=r"'shop.duckdb' is no sink: say DuckDBSink"):
        log.project(Board, into="shop.duckdb")  # type: ignore[arg-type]
