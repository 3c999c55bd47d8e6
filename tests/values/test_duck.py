"""DuckDB as esnb opens it is silent."""

import subprocess
import sys
from pathlib import Path

import pytest

from esnb import duck

LONG = "select max(hash(i::varchar)) from range(100000000000) t(i)"
INTERRUPTED = f"""
import os, signal, sys, threading
import esnb
from esnb import cli, duck
from esnb.timeline import Timeline
from esnb.timeline.fold import Fold
# With two threads, DuckDB may answer only when the other one has done its share.
connect = duck.connect
duck.connect = lambda *path, **config: connect(*path, **config | {{"threads": 1}})
log = esnb.create(sys.argv[1])
LONG = {LONG!r}
class Endless:
    name = "endless"
    def settled(self, read):
        return self
    def fold(self, log):
        long = "cast((" + LONG + ") as varchar)"
        names = "revision, position, event_id, event_type, actor, occurred_on, recorded_on"
        return Fold("select " + long + " as stream, " + names + ", false as ended from events", ())
stopped = threading.Event()
def press():
    # On a busy machine the first may come before the query has begun.
    while not stopped.wait(3):
        os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=press, daemon=True).start()
try:
    CALL
    stopped.set()
except BaseException as error:
    stopped.set()
    print(type(error).__name__)
"""

# DuckDB draws its bar after two seconds of work.
SLOW = """
import time
rows, took = 40_000_000, 0
while took < 3:
    start = time.monotonic()
    connection.execute(f"select max(hash(i::varchar || 'x')) from range({rows}) t(i)").fetchone()
    took = time.monotonic() - start
    rows *= 2
print("answer")
"""


def said(connect: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", f"{connect}\n{SLOW}"],
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.stdout


def test_nothing_but_the_answer_is_printed():
    assert said("from esnb import duck; connection = duck.connect()") == "answer\n"
    assert "█" in said("import duckdb; connection = duckdb.connect()")


def test_settings_arrive():
    with duck.connect(threads=1) as connection:
        assert connection.execute("select current_setting('threads')").fetchone() == (1,)


@pytest.mark.parametrize(
    "call",
    [
        "with duck.interruptible(): duck.connect().execute(LONG)",
        "log.sql(LONG, timeout=60)",
        "Timeline(log, Endless()).as_of(0)",
        "print(cli.main(['sql', sys.argv[1], LONG]))",
    ],
)
def test_the_stop_button_stops(tmp_path: Path, call: str):
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED.replace("CALL", call), str(tmp_path / "log")],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    said = "130\n" if "cli" in call else "KeyboardInterrupt\n"
    assert done.stdout == said, done.stderr


# One task of a cross join takes as long as all of it; each press is the only one.
# Before that everything is imported: an interrupt leaves half a module, which is Python's own way.
ONCE = """
import os, signal, sys, threading
import esnb, pandas
log = esnb.create(sys.argv[1])
LONG = "select count(*) from range(100000) a, range(100000) b, range(100000) c where a.range + b.range + c.range < 0"
for wait in (0, 0.001, 0.003, 0.01, 0.03, 0.1, 1):
    for ask in (log.df, lambda text: log.sql(text, timeout=100), lambda text: log.sql(text + " + ?", [0])):
        try:
            threading.Timer(wait, os.kill, (os.getpid(), signal.SIGINT)).start()
            ask(LONG)
        except KeyboardInterrupt:
            pass
        else:
            print("it was answered")
print(log.df("select 7 as n").n[0])
"""  # noqa: E501


def test_a_stop_is_never_lost(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", ONCE, str(tmp_path / "log")],
        check=True,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.stdout == "7\n", done.stderr


def test_work_that_can_be_stopped_gives_what_it_finds():
    with duck.connect() as connection:
        found = duck.stoppable(connection, lambda: connection.execute("select 3").fetchall())
        assert found == [(3,)]
        with pytest.raises(ZeroDivisionError, match="mine"):
            duck.stoppable(connection, lambda: exec("raise ZeroDivisionError('mine')"))  # noqa: S102


def test_other_faults_pass():
    with pytest.raises(RuntimeError, match="mine"), duck.interruptible():
        raise RuntimeError("mine")


def test_a_frame_with_times_comes_without_a_warning(tmp_path: Path) -> None:
    code = (
        "import esnb, sys; log = esnb.create(sys.argv[1], zone='UTC');"
        "log.append('order-1', esnb.DomainEvent('OrderPlaced', {'total': 1}));"
        "print(list(log.timeline('order').as_of(0).df()['total']))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, tmp_path / "log"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("[1]\n", "")
