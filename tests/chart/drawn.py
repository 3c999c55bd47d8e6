"""What a chart draws, taken out of it again; and flows to draw."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

import esnb

START = datetime(2026, 3, 27, 9, tzinfo=UTC)


def flow_of(cases: Sequence[Sequence[str]], step: timedelta = timedelta(minutes=37)) -> esnb.Flow:
    """Return a flow of these cases; waits grow, and each case begins an hour later."""
    rows = [
        (f"c{number:04}", name, START + timedelta(hours=number) + place * (place + 1) * step)
        for number, case in enumerate(cases)
        for place, name in enumerate(case)
    ]
    names, types, times = (
        ([*column] for column in zip(*rows, strict=True)) if rows else ([], [], [])
    )
    table = pa.table(
        {
            "case_id": pa.array(names, pa.string()),
            "what": pa.array(types, pa.string()),
            "time": pa.array(times, pa.timestamp("us", "UTC")),
        }
    )
    return esnb.flow(table, case_id="case_id", event_type="what", time="time")


def spec_of(chart: Any) -> dict[str, Any]:
    """Return the specification of a chart, or the one given: making it takes a while."""
    made: dict[str, Any] = chart if isinstance(chart, dict) else chart.to_dict()
    return made


def layers(chart: Any) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Return each layer of a chart with its rows, in the order of drawing."""
    spec = spec_of(chart)
    named = spec.get("datasets", {})

    def rows(data: dict[str, Any]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = data.get("values") or named.get(data.get("name"), [])
        return found

    outer = spec.get("data", {})
    return [(layer, rows(layer.get("data", outer))) for layer in spec.get("layer", [spec])]


def marks(chart: Any, kind: str) -> list[list[dict[str, Any]]]:
    """Return the rows of all layers with marks of one kind."""
    found = []
    for layer, rows in layers(chart):
        mark = layer["mark"]
        if (mark if isinstance(mark, str) else mark["type"]) == kind:
            found.append(rows)
    return found


def tips(chart: Any, rows: Sequence[dict[str, Any]], layer: int = 0) -> list[dict[str, Any]]:
    """Return the tooltips of rows, with their titles."""
    titles = {tip["field"]: tip["title"] for tip in layers(chart)[layer][0]["encoding"]["tooltip"]}
    return [{title: row[field] for field, title in titles.items()} for row in rows]


def subtitle(chart: Any) -> str:
    return " | ".join(spec_of(chart)["title"]["subtitle"])


def expressions(node: Any) -> Iterator[str]:
    """Yield every text of a Vega chart that is run, or that names a field."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name in ("expr", "signal", "update", "test", "as", "field", "fields"):
                yield json.dumps(value, ensure_ascii=False)
            if name not in ("values", "domain"):
                yield from expressions(value)
    elif isinstance(node, list):
        for value in node:
            yield from expressions(value)
