"""A progress bar where somebody can see it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["bar"]


@contextmanager
def bar(
    progress: bool | None, total: int | None, unit: str, title: str, *, delay: float = 0.5
) -> Iterator[Callable[[int], object]]:
    """Show how far work has come; the block is given what to call with each part done.

    Parameters
    ----------
    progress
        Whether to; without it, in a notebook and where errors go to a terminal.
    total
        How much there is to do, in `unit`, if that is known.
    title
        What is done.
    delay
        Seconds of work before the bar is drawn.
    """
    # A report has no use for a bar that nobody sees move.
    notebook = "ipykernel" in sys.modules and not os.environ.get("ESNB_STATIC")
    if progress is False or (progress is None and not notebook and not sys.stderr.isatty()):
        yield lambda _: None
        return
    from tqdm.auto import tqdm

    with tqdm(
        total=total, unit=unit, desc=title[:60], unit_scale=True, leave=False, delay=delay
    ) as shown:
        widget = _Widget(shown, delay) if hasattr(shown, "container") else None
        yield shown.update if widget is None else widget.update
        # Archives end before their last byte is read; a notebook would call that an error.
        shown.n = shown.total or shown.n
    if widget is not None:
        widget.take_away()


class _Widget:
    """A bar in a notebook whose output goes with it: a saved one would be missed in each cell."""

    def __init__(self, shown: Any, delay: float) -> None:
        self._bar = shown
        self._from = time.monotonic() + delay
        self._output: Any = None
        shown.displayed = True  # it would show itself, in an output that nobody can change

    def update(self, count: int) -> None:
        if self._output is None and time.monotonic() >= self._from:
            from IPython.display import display

            self._output = display(self._bar.container, display_id=True)  # type: ignore[no-untyped-call]
        self._bar.update(count)

    def take_away(self) -> None:
        for part in (*self._bar.container.children, self._bar.container):
            for looks in ("layout", "style"):
                if part.trait_has_value(looks):
                    getattr(part, looks).close()
            part.close()
        if self._output is not None:
            self._output.update({"text/html": "", "text/plain": ""}, raw=True)
