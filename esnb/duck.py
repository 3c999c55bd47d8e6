"""Opening DuckDB, and stopping it, the one way all of esnb does it."""

from __future__ import annotations

import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

import duckdb

__all__ = ["connect", "hear", "interruptible", "stoppable"]

_Found = TypeVar("_Found")
# Somebody has pressed stop since the outermost `interruptible` of the main thread began.
_pressed = threading.Event()
_LOOK = 0.1  # seconds between looks at whether somebody has pressed stop

# DuckDB 1.5 makes columns of times anew with `inplace`, which pandas 3.1 warns of, in the name of
# whoever called `.df()`: nothing that they could mend.
warnings.filterwarnings(
    "ignore", r"The inplace keyword in DataFrame\.drop", category=DeprecationWarning
)


def connect(path: str = ":memory:", **config: Any) -> duckdb.DuckDBPyConnection:
    """Open DuckDB without its progress bar.

    DuckDB draws one on standard output, even where that is a pipe, as soon as a
    statement takes two seconds: it would stand in the middle of JSON that a script reads.
    The setting belongs to one connection and is inherited by its cursors.

    Parameters
    ----------
    path
        File of the database; in memory without one.
    config
        DuckDB's own settings (``threads=2``).
    """
    connection = duckdb.connect(path, config=config)
    connection.execute("set enable_progress_bar = false")
    return connection


@contextmanager
def interruptible() -> Iterator[None]:
    """Let an interrupt arrive as `KeyboardInterrupt`, whatever becomes of it; also a decorator.

    DuckDB answers Ctrl-C, or the notebook's stop button, with a `RuntimeError` whose cause
    it is: a program that stops on `KeyboardInterrupt` would take it for a fault.  While it looks
    which libraries there are, as it does when first asked, it drops an interrupt altogether.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        with _told():
            yield
        return
    _pressed.clear()
    signal.signal(signal.SIGINT, _press)
    try:
        with _told():
            yield
    finally:
        hear(signal.default_int_handler)
        dropped = _pressed.is_set()
        _pressed.clear()
        if dropped:
            raise KeyboardInterrupt from None


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if isinstance(error.__cause__, KeyboardInterrupt):
            raise error.__cause__ from None
        raise


def _press(number: int, frame: FrameType | None) -> None:
    _pressed.set()
    signal.default_int_handler(number, frame)


def hear(handler: Any) -> Any:
    """Set who hears interrupts, as `signal.signal` does, and return who did; the main thread's."""
    while True:
        try:
            return signal.signal(signal.SIGINT, handler)
        except KeyboardInterrupt:
            # One that came at the last moment is raised before anything is set.
            continue


def stoppable(cursor: duckdb.DuckDBPyConnection, work: Callable[[], _Found]) -> _Found:
    """Return what `work` finds with `cursor`, and end it as soon as an interrupt comes.

    DuckDB looks for one between its tasks, and a single task of a cross join takes minutes.  So
    the work is done in a thread of its own, while this one, if it is the main thread, listens.

    Raises
    ------
    KeyboardInterrupt
        Once `work` has ended.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    found: Future[_Found] = Future()
    done, stopped = threading.Event(), threading.Event()

    def worked() -> None:
        try:
            if not stopped.is_set():
                found.set_result(work())
        except BaseException as error:
            found.set_exception(error)
        finally:
            done.set()

    worker = threading.Thread(target=worked, daemon=True)
    try:
        worker.start()
        while not done.wait(_LOOK):
            if _pressed.is_set():
                raise KeyboardInterrupt  # DuckDB has dropped it before
    except KeyboardInterrupt:
        stopped.set()
        cursor.interrupt()
        # Again and again: one that comes before the question begins is lost on DuckDB.
        while worker.is_alive() and not done.wait(_LOOK):
            cursor.interrupt()
        raise
    return found.result()
