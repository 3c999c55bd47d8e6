"""Real data, against counts that other programs found (figures.json)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from esnb.log import Log
from esnb.source import constant, import_events

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def figures(shared_data: Path) -> Any:
    return json.loads((shared_data / "figures.json").read_text())


def streams_and_types(log: Log) -> tuple[Counter[str], Counter[str]]:
    log.seal()
    snapshot = log.snapshot()
    streams: Counter[str] = Counter()
    types: Counter[str] = Counter()
    import pyarrow.parquet as pq

    for segment in snapshot.segments:
        table = pq.read_table(segment.path, columns=["stream", "event_type"])
        streams.update(table["stream"].to_pylist())
        types.update(table["event_type"].to_pylist())
    return streams, types


def test_bpic_2019(shared_data: Path, figures: Any, tmp_path: Path) -> None:
    known = figures["bpic2019_one_trace_per_variant"]["computed"]
    path = shared_data / "xes_bpic2019" / "bpic2019_one_trace_per_variant.xes.gz"
    with Log.create(tmp_path / "log", maintain=False) as log:
        result = import_events(path, log)
        assert (result.read, result.kept, result.rejected) == (known["events"], known["events"], 0)
        streams, types = streams_and_types(log)
        again = import_events(path, log)
    assert (len(streams), len(types)) == (known["traces"], known["activities"])
    assert max(streams.values()) == known["max_events_per_trace"]
    assert dict(types.most_common(8)) == known["top_activities"]
    assert (again.kept, again.duplicates) == (0, known["events"])


def test_incidents(shared_data: Path, figures: Any, tmp_path: Path) -> None:
    known = figures["incident"]["computed"]
    with Log.create(tmp_path / "log", zone="UTC", maintain=False) as log:
        result = import_events(
            shared_data / "csv_incident" / "incident_event_log.zip",
            log,
            category=constant("incident"),
            stream="number",
            event_type="ident_state",
            occurred_on="sys_updated_at",
            time_format="%d/%m/%Y %H:%M",
            null_values=["?"],
        )
        assert (result.read, result.kept, result.rejected) == (known["events"], known["events"], 0)
        streams, types = streams_and_types(log)
        first = next(log.read())
    assert len(streams) == known["incidents"]
    assert types == known["ident_state"]
    assert {"category", "category_2", "u_symptom"} <= set(first.data)
    assert first.data["cmdb_ci"] is None
    assert first.stream == "incident-0000045"


def test_nginx_by_sequence(shared_data: Path, figures: Any, tmp_path: Path) -> None:
    known = figures["git_nginx"]
    with Log.create(tmp_path / "log", maintain=False) as log:
        result = import_events(
            shared_data / "git_nginx" / "nginx_changes.jsonl.gz",
            log,
            category=constant("file"),
            stream="path",
            event_type="op",
            event_id="id",
            occurred_on="author_time",
            recorded_on="commit_time",
            order="seq",
            actor="author",
            data=["seq", "op", "new_mode", "new_sha"],
        )
        assert (result.read, result.kept) == (known["file_change_events"],) * 2
        alive = {}
        last: dict[str, int] = {}
        for event in log.read():
            assert event.data["seq"] >= last.get(event.stream, -1)
            last[event.stream] = event.data["seq"]
            alive[event.stream] = event.event_type != "D"
    assert len(alive) == known["distinct_paths"]
    assert sum(alive.values()) == known["paths_currently_alive"]


def test_wikipedia_edits(shared_data: Path, figures: Any, tmp_path: Path) -> None:
    known = figures["wiki"]["computed"]

    def page(row: Mapping[str, Any]) -> str:
        return f"{row['channel']}/{row['page']}"

    with Log.create(tmp_path / "log", maintain=False) as log:
        result = import_events(
            shared_data / "jsonl_wiki" / "wikiticker-2015-09-12-sampled.json.gz",
            log,
            category=constant("page"),
            stream=page,
            event_type="Edited",
            actor="user",
        )
        assert (result.read, result.kept) == (known["rows"],) * 2
        streams, _ = streams_and_types(log)
        assert sum(event.data["added"] for event in log.read()) == known["sum_added"]
    assert len(streams) == known["pages_by_channel_and_title"]
