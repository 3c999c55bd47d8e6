"""Work in the main thread, which alone hears the stop button.

Kernels of today hear what widgets say in a thread of its own, beside the cells.  There no interrupt
arrives, so a long question could not be stopped, and cells would change under it what it reads.
"""

from __future__ import annotations

import asyncio
import contextvars
import signal
import threading
from collections.abc import Callable

from esnb.duck import hear

__all__ = ["meet", "run"]

_loop: asyncio.AbstractEventLoop | None = None


def meet() -> None:
    """Take note of the loop of the main thread, if it runs this."""
    global _loop
    if threading.current_thread() is threading.main_thread():
        try:
            _loop = asyncio.get_running_loop()
        except RuntimeError:
            return


def run(work: Callable[[], None]) -> None:
    """Call `work` in the main thread, once no cell runs, and wait until it is done.

    An interrupt arrives in it as `KeyboardInterrupt`, and ends it at the latest here.
    """
    main = threading.current_thread() is threading.main_thread()
    if main or _loop is None or not _loop.is_running():
        work()
        return
    done = threading.Event()

    def worked() -> None:
        # Between cells a kernel is deaf to interrupts.
        before = hear(signal.default_int_handler)
        try:
            work()
        except KeyboardInterrupt:
            pass
        finally:
            hear(before)
            done.set()

    # What is printed belongs to the message that is answered, not to the cell before.
    _loop.call_soon_threadsafe(worked, context=contextvars.copy_context())
    while not done.wait(1) and _loop.is_running():
        pass
