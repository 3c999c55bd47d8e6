"""Frames that answer a question, shown as tables of any length where a browser can."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Any

from IPython.core.getipython import get_ipython

from esnb.errors import EsnbError
from esnb.widget.base.piece import STATIC
from esnb.widget.events.table import EventTable

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["as_table"]


def as_table(frame: pd.DataFrame) -> None:
    """Let a frame be shown as an `EventTable`, and stay what it is.

    Where no kernel talks to a browser, with ``ESNB_STATIC``, and where the frame holds what no
    table of DuckDB can, pandas shows it.  Copies and parts of the frame are pandas' own.
    """
    # Not the frame itself, which would then be kept alive by how it is shown.
    shown = weakref.ref(frame)

    def display() -> None:
        now = shown()
        shell: Any = get_ipython()
        if now is None or os.environ.get(STATIC) or not hasattr(shell, "kernel"):
            raise NotImplementedError  # IPython goes on to the other ways to show it
        try:
            table = EventTable(now)
        except EsnbError:
            raise NotImplementedError from None
        table._ipython_display_()

    object.__setattr__(frame, "_ipython_display_", display)
