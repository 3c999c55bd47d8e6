"""Guesses: roles for columns with well-known names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from esnb.source.roles import Constant

__all__ = ["guess"]

# Compared without case, and with '-', ' ' and '.' as '_'.
_NAMES: dict[str, tuple[str, ...]] = {
    "stream": ("stream", "stream_id", "streamid", "stream_name", "aggregate_id", "aggregateid"),
    "event_type": (
        "event_type",
        "eventtype",
        "event_name",
        "eventname",
        "concept:name",
        "activity",
        "type",
    ),
    "occurred_on": (
        "occurred_on",
        "occurredon",
        "occurred_at",
        "time:timestamp",
        "event_time",
        "eventtime",
        "timestamp",
        "@timestamp",
        "datetime",
        "time",
        "ts",
    ),
    "recorded_on": ("recorded_on", "recordedon", "recorded_at"),
    "event_id": ("event_id", "eventid"),
    "actor": ("actor", "org:resource"),
    "correlation_id": ("correlation_id", "correlationid"),
    "causation_id": ("causation_id", "causationid"),
    "schema_version": ("schema_version",),
}
# Names of cases, not of whole streams: they need a category before them.
_CASES = ("case:concept:name", "case_id", "caseid", "case", "trace_id")
_CANONICAL = {"stream", "event_type", "occurred_on", "data"}


def guess(given: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    """Return `given` with roles for the columns whose names are well known.

    A table of esnb's own columns keeps its payloads and the order of its revisions;
    CloudEvents keep theirs (``subject``, else ``source``, is the stream).  A column that the
    caller uses already is not taken again.
    """
    found = {name: value for name, value in given.items() if value is not None}
    plain = {column.lower().replace("-", "_").replace(" ", "_"): column for column in columns}
    if set(plain) >= _CANONICAL:
        wide = {"data": "data", "metadata": "metadata", "tags": "tags", "order": "revision"}
    elif set(plain) >= {"specversion", "type", "source", "id"}:
        stream = "subject" if "subject" in plain else "source"
        wide = {"stream": stream, "event_id": "id", "data": "data"}
    else:
        wide = {}
    used = {item for item in found.values() if isinstance(item, str)}
    for role, name in wide.items():
        if role not in found and name in plain:
            found[role] = plain[name]
            used.add(plain[name])
    for role, names in _NAMES.items():
        if role not in found:
            taken = [plain[name] for name in names if name in plain and plain[name] not in used]
            if taken:
                found[role] = taken[0]
                used.add(taken[0])
    if "stream" not in found:
        case = next((plain[name] for name in _CASES if name in plain), None)
        if case is not None and case not in used:
            found["stream"] = case
            found.setdefault("category", Constant("case"))
    return found
