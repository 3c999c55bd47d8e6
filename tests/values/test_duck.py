"""DuckDB as esnb opens it is silent."""

import subprocess
import sys

from esnb import duck

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
