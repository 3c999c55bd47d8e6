"""A progress bar where somebody can see it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
        yield shown.update
        # Archives end before their last byte is read; a notebook would call that an error.
        shown.n = shown.total or shown.n
