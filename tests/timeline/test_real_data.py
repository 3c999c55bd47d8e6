"""Timelines of real data against folds written in plain Python, and published figures."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import esnb
from esnb.eventlog import EventLog

pytestmark = pytest.mark.shared

INSTANTS = (
    "2016-03-01 08:15:00",
    "2016-03-31 23:59:00",
    "2016-05-15 12:00:00",
    "2016-12-31 23:59:00",
    "2017-02-18 15:00:00",
)
# Filled in every row of an incident with what was only known at its end.
HINDSIGHT = ("closed_at", "resolved_at", "closed_code", "resolved_by")


class Row(NamedTuple):
    at: datetime
    state: dict[str, str | None]
    kind: str


@pytest.fixture(scope="module")
def figures(shared_data: Path) -> Any:
    return json.loads((shared_data / "figures.json").read_text())


@pytest.fixture(scope="module")
def incidents(
    shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[EventLog, dict[str, list[Row]]]]:
    source = shared_data / "csv_incident" / "incident_event_log.zip"
    place = tmp_path_factory.mktemp("incidents") / "log"
    with esnb.create(place, zone="UTC", maintain=False) as log:
        esnb.import_events(
            source,
            log,
            category=esnb.constant("incident"),
            stream="number",
            event_type="ident_state",
            occurred_on="sys_updated_at",
            time_format="%d/%m/%Y %H:%M",
            null_values=["?"],
        )
        yield log, histories(source)


def histories(source: Path) -> dict[str, list[Row]]:
    """Return the rows of each incident, by their own update time, then as in the file."""
    found: dict[str, list[Row]] = defaultdict(list)
    with zipfile.ZipFile(source) as packed:
        (name,) = (name for name in packed.namelist() if name.endswith(".csv"))
        reader = csv.reader(io.TextIOWrapper(packed.open(name), "utf-8"))
        header = next(reader)
        second = header.index("category", header.index("category") + 1)
        header[second] = "category_2"
        for values in reader:
            row: dict[str, str | None] = {
                key: None if value in ("?", "") else value
                for key, value in zip(header, values, strict=True)
            }
            at = datetime.strptime(str(row.pop("sys_updated_at")), "%d/%m/%Y %H:%M")
            stream, kind = f"incident-{row.pop('number')}", str(row.pop("ident_state"))
            for key in HINDSIGHT:
                del row[key]
            found[stream].append(Row(at.replace(tzinfo=UTC), row, kind))
    for rows in found.values():
        rows.sort(key=lambda row: row.at)
    return found


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def standing(rows: list[Row], at: datetime) -> Row | None:
    count = bisect_right([row.at for row in rows], at)
    return rows[count - 1] if count else None


@pytest.mark.parametrize("when", INSTANTS)
def test_incidents_as_of(
    incidents: tuple[EventLog, dict[str, list[Row]]], figures: Any, when: str
) -> None:
    log, plain = incidents
    line = log.timeline("incident", fold="snapshot", ignore=HINDSIGHT)
    found = {}
    for row in line.as_of(when).to_arrow_table().to_pylist():
        state = {info.key: row[name] for name, info in line.fields.items()}
        found[row["stream"]] = (row["event_type"], row["occurred_on"], state)
    expected = {
        stream: (row.kind, row.at, row.state)
        for stream, rows in plain.items()
        if (row := standing(rows, instant(when))) is not None
    }
    assert found == expected
    known = figures["incident"]["computed"][
        "as_of (last row in file order with sys_updated_at <= T)"
    ]
    if when in known:
        assert len(found) == known[when]["incidents_seen"]
        assert Counter(kind for kind, _, _ in found.values()) == known[when]["ident_state"]
        moved = sum(int(state["reassignment_count"]) for _, _, state in found.values())
        assert moved == known[when]["sum_reassignment_count"]


@pytest.mark.parametrize(("first", "second"), list(pairwise(INSTANTS)))
def test_incidents_diff(
    incidents: tuple[EventLog, dict[str, list[Row]]], first: str, second: str
) -> None:
    log, plain = incidents
    line = log.timeline("incident", fold="snapshot", ignore=HINDSIGHT)
    rows = line.diff(first, second).select(
        "stream, change, field, before, after, event_type, occurred_on"
    )
    assert Counter(rows.fetchall()) == Counter(changes(plain, instant(first), instant(second)))


def changes(
    plain: dict[str, list[Row]], first: datetime, second: datetime
) -> Iterator[tuple[Any, ...]]:
    for stream, rows in plain.items():
        before, after = standing(rows, first), standing(rows, second)
        if after is None:
            continue
        window = [row for row in rows if first < row.at <= second]
        for field, value in after.state.items():
            old = None if before is None else before.state[field]
            if value == old:
                continue
            cause = window[-1]
            for row in reversed(window):
                if row.state[field] != value:
                    break
                cause = row
            change = "added" if before is None else "changed"
            yield stream, change, field, old, value, cause.kind, cause.at


def test_nginx_files_by_sequence(shared_data: Path, figures: Any, tmp_path: Path) -> None:
    """The order of the commits, not their times, tells which files there are."""
    known = figures["git_nginx"]
    source = shared_data / "git_nginx" / "nginx_changes.jsonl.gz"
    with gzip.open(source, "rt") as file:
        rows = [json.loads(line) for line in file]
    with esnb.create(tmp_path / "log", maintain=False) as log:
        esnb.import_events(
            source,
            log,
            category=esnb.constant("file"),
            stream="path",
            event_type="op",
            event_id="id",
            occurred_on="author_time",
            recorded_on="commit_time",
            order="seq",
            actor="author",
            data=["seq", "op", "new_mode", "new_sha"],
        )
        line = log.timeline("file", fold="snapshot", ends=["D"])
        there = dict(line.as_of(log.next_position).select("stream, new_sha").fetchall())
        files: dict[str, str] = {}
        for row in sorted(rows, key=lambda row: row["seq"]):
            if row["op"] == "D":
                del files[f"file-{row['path']}"]
            else:
                files[f"file-{row['path']}"] = row["new_sha"]
        assert there == files
        assert len(there) == known["paths_currently_alive"]
