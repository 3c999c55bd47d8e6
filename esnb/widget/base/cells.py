"""Which run of which cell made a widget, and which cells show it.

A cell that is run again makes its widgets anew.  The old ones would stay: they would follow the
session, and answer to nobody.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from IPython.core.getipython import get_ipython

__all__ = ["Made", "Run", "here", "note"]


class Run(NamedTuple):
    """One run of a cell of a notebook.

    Attributes
    ----------
    cell
        Its id, as the lab tells it.
    message
        Id of the message that asked for the run.
    """

    cell: str
    message: str


class Made(Protocol):
    """A widget that knows which run made it; None for one that no cell made."""

    made: Run | None

    def close(self) -> None: ...


# By cell: its last run, and what that run has shown.
_shown: dict[str, tuple[str, list[Made]]] = {}
# By cell: its last run.
_last: dict[str, str] = {}
# What has been shown and not let go.
_open: list[Made] = []


def here() -> Run | None:
    """Return the run of a cell that this is part of; None in a terminal, or between cells."""
    kernel: Any = getattr(get_ipython(), "kernel", None)
    if kernel is None:
        return None
    parent = kernel.get_parent("shell") or {}
    cell = parent.get("metadata", {}).get("cellId")
    return None if cell is None else Run(cell, parent["header"]["msg_id"])


def note(widget: Made) -> None:
    """Note that the cell that runs now shows a widget."""
    run = here()
    if run is None:
        return
    shell: Any = get_ipython()
    events = shell.events
    if _ended not in events.callbacks["post_run_cell"]:
        events.register("post_run_cell", _ended)
    message, widgets = _shown.get(run.cell, (run.message, []))
    _shown[run.cell] = (run.message, [*(widgets if message == run.message else []), widget])
    if not any(one is widget for one in _open):
        _open.append(widget)


def _ended(_: object) -> None:
    """Let go of what an earlier run of its cell made and no cell shows any more."""
    run = here()
    if run is None:
        return
    _last[run.cell] = run.message
    if run.cell in _shown and _shown[run.cell][0] != run.message:
        del _shown[run.cell]
    seen = {id(one) for _, widgets in _shown.values() for one in widgets}
    for one in [*_open]:
        made = one.made
        again = made is not None and _last.get(made.cell, made.message) != made.message
        if again and id(one) not in seen:
            _open.remove(one)
            one.close()
