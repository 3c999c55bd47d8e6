"""Event types by name, and what to say when there is none of that name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from esnb.errors import FlowError, shown
from esnb.flow.steps import Steps

__all__ = ["type_id", "unknown"]


def type_id(steps: Steps, event_type: object) -> int:
    """Return the number of an event type.

    Raises
    ------
    FlowError
        If no event of the flow has this type; it names near ones.
    """
    if isinstance(event_type, str) and event_type in steps.types:
        return steps.types.index(event_type)
    raise unknown("event type", event_type, steps.types)


def unknown(kind: str, name: object, known: Iterable[str]) -> FlowError:
    """Return the error for a `name` that is not among the `known` ones, naming near ones."""
    every = sorted(known)
    near = difflib.get_close_matches(str(name), every, n=3, cutoff=0.5)
    if near:
        advice = "Did you mean " + " or ".join(map(shown, near)) + "?"
    elif every:
        some = ", ".join(map(shown, every[:8])) + (", …" if len(every) > 8 else "")
        advice = f"There are: {some}."
    else:
        advice = "No event is selected."
    return FlowError(f"no {kind} {shown(name)} in this flow. {advice}")
