"""Change data capture, failed calls and attribute changes of real data, against plain folds."""

from __future__ import annotations

import gzip
import json
import shutil
import sqlite3
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import esnb
from esnb.eventlog import EventLog
from esnb.timeline import Timeline
from tests.timeline.test_sketch import AS_FOLDED

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def figures(shared_data: Path) -> Any:
    return json.loads((shared_data / "figures.json").read_text())


def states(line: Timeline, when: Any) -> dict[str, dict[str, Any]]:
    """Return the state of every stream by payload key, without what is not there."""
    fields = {name: (info.key, info.type) for name, info in line.fields.items()}
    found = {}
    for row in line.as_of(when).to_arrow_table().to_pylist():
        found[row["stream"]] = {
            key: json.loads(row[name]) if kind == "JSON" else row[name]
            for name, (key, kind) in fields.items()
            if row[name] is not None
        }
    return found


def test_legislators_after_every_commit(shared_data: Path, figures: Any, tmp_path: Path) -> None:
    source = shared_data / "cdc_legislators" / "legislators_social_media.cdc.jsonl.gz"
    with gzip.open(source, "rt") as file:
        changes = [json.loads(line) for line in file]
    with esnb.create(tmp_path / "log", maintain=False) as log:
        esnb.import_events(
            source,
            log,
            category=esnb.constant("legislator"),
            stream=lambda row: row["source"]["key"],
            event_type="op",
            occurred_on=lambda row: row["source"]["author_time"],
            recorded_on=lambda row: row["source"]["commit_time"],
            order=lambda row: row["source"]["seq"],
            actor=lambda row: row["source"]["author"],
            data=["before", "after"],
        )
        line = log.timeline("legislator", fold="before/after")
        known = figures["cdc_legislators_social_media"]
        counted = {moment["seq"]: moment["keys"] for moment in known["as_of"]}
        commits = counts = 0
        there: dict[str, Any] = {}
        for position, change in enumerate(changes):
            stream = f"legislator-{change['source']['key']}"
            if change["after"] is None:
                del there[stream]
            else:
                there[stream] = change["after"]
            seq = change["source"]["seq"]
            if position + 1 < len(changes) and changes[position + 1]["source"]["seq"] == seq:
                continue
            assert states(line, position) == there
            commits += 1
            if seq in counted:
                assert len(there) == counted[seq]
                assert states(line, change["source"]["commit_time"]) == there
                counts += 1
        assert commits == known["commits_with_changes"]
        assert counts >= len(counted) - 1


@pytest.fixture(scope="module")
def parameters(
    shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[EventLog, list[dict[str, Any]]]]:
    """Calls about the parameters of SSM; that of a failed call is not told."""
    calls = []
    packed = zipfile.ZipFile(shared_data / "cloudtrail_stratus" / "cloudtrail_stratus_20230710.zip")
    for name in packed.namelist():
        if name.endswith(".json"):
            calls += json.loads(packed.read(name))["Records"]
    calls = [call for call in calls if call["eventName"].endswith("Parameter")]
    rows = [
        {
            "parameter": (call["requestParameters"] or {}).get("name", "?"),
            "what": call["eventName"],
            "at": call["eventTime"],
            "event_id": call["eventID"],
            "data": json.dumps(
                {key: call.get(key) for key in ("readOnly", "errorCode", "responseElements")}
            ),
        }
        for call in calls
    ]
    place = tmp_path_factory.mktemp("parameters") / "log"
    with esnb.create(place, maintain=False) as log:
        esnb.import_events(
            pa.Table.from_pylist(rows),
            log,
            category=esnb.constant("parameter"),
            stream="parameter",
            event_type="what",
            occurred_on="at",
            data="data",
        )
        yield log, calls


def alive(calls: list[dict[str, Any]], when: str) -> set[str]:
    done = [
        call
        for call in calls
        if call["eventName"] in ("PutParameter", "DeleteParameter")
        and call.get("errorCode") is None
        and call["eventTime"] <= when
    ]
    there = set()
    for call in sorted(done, key=lambda call: call["eventTime"]):
        name = call["requestParameters"]["name"]
        if call["eventName"] == "PutParameter":
            there.add(f"parameter-{name}")
        else:
            there.remove(f"parameter-{name}")
    return there


@pytest.mark.parametrize(
    ("when", "count"),
    [
        ("2023-07-10T11:58:00Z", 0),
        ("2023-07-10T12:00:00Z", 42),
        ("2023-07-10T12:08:12Z", 22),
        ("2023-07-10T12:30:00Z", 2),
    ],
)
def test_failed_calls_change_no_parameter(
    parameters: tuple[EventLog, list[dict[str, Any]]], figures: Any, when: str, count: int
) -> None:
    log, calls = parameters
    known = figures["cloudtrail"]["computed"]
    (alive_then,) = (known[key] for key in known if key.startswith("ssm_parameters_alive_as_of"))
    assert alive_then[when] == count
    failed = log.timeline("parameter", noop="errorCode", ends=["DeleteParameter"])
    # A successful read creates no parameter either; those of deleted ones have failed.
    there = {stream for (stream,) in failed.as_of(when).select("stream").fetchall()}
    assert there == alive(calls, when)
    assert len(there) == count
    # Reads are marked as such; of the failed writes nobody knows the parameter.
    reads = log.timeline("parameter", noop={"readOnly": True}, ends=["DeleteParameter"])
    there = {stream for (stream,) in reads.as_of(when).select("stream").fetchall()}
    assert there - {"parameter-?"} == alive(calls, when)


def test_purchases_by_attribute(shared_data: Path, figures: Any, tmp_path: Path) -> None:
    """Every object begins with all its attributes, at 1970; a change tells no new value."""
    database = tmp_path / "p2p.sqlite"
    with (
        gzip.open(shared_data / "ocel2_p2p" / "ocel2-p2p-rebuilt.sqlite.gz") as packed,
        database.open("wb") as file,
    ):
        shutil.copyfileobj(packed, file)
    rows = list(attribute_rows(database))
    known = figures["ocel2_p2p"]["computed"]
    assert sum(row["changed"] for row in rows) == known["attribute_change_rows"]
    with esnb.create(tmp_path / "log", maintain=False) as log:
        esnb.import_events(
            pa.Table.from_pylist(rows),
            log,
            category="kind",
            stream="object",
            event_type=esnb.constant("AttributeChanged"),
            occurred_on="at",
            data="data",
        )
        lines = [
            log.timeline(kind, fold="attributes", attribute="ocel_changed_field", value="new_value")
            for kind in log.categories()
        ]
        assert len(lines) == 7
        ordered = sorted(rows, key=lambda row: row["at"])
        for day in ("1970-01-01", "2023-01-01", "2023-07-01", "2024-02-29", "2026-01-01"):
            at = datetime.fromisoformat(day).replace(tzinfo=UTC)
            there: dict[str, dict[str, Any]] = {}
            for row in ordered:
                if datetime.fromisoformat(row["at"]) <= at:
                    state = there.setdefault(f"{row['kind']}-{row['object']}", {})
                    said = json.loads(row["data"])
                    state[said["ocel_changed_field"]] = said["new_value"]
            found = {}
            for line in lines:
                found |= states(line, at)
            assert found == {
                stream: {key: value for key, value in state.items() if value is not None}
                for stream, state in there.items()
            }
            assert len(found) == known["objects"]


def attribute_rows(database: Path) -> Iterator[dict[str, Any]]:
    connection = sqlite3.connect(database)
    connection.row_factory = sqlite3.Row
    tables = connection.execute("SELECT ocel_type, ocel_type_map FROM object_map_type").fetchall()
    for kind, table in tables:
        for row in connection.execute(f"SELECT * FROM 'object_{table}'"):
            names = [name for name in row.keys() if name[:4] not in ("ocel", "new_")]  # noqa: SIM118
            changed = row["ocel_changed_field"]
            for name in names if changed is None else [changed]:
                if row[name] is not None or changed is not None:
                    yield {
                        "object": row["ocel_id"],
                        "kind": kind,
                        "at": row["ocel_time"],
                        "changed": changed is not None,
                        "data": json.dumps({"ocel_changed_field": name, "new_value": row[name]}),
                    }
    connection.close()


def test_pages_sketch_their_class(shared_data: Path, tmp_path: Path) -> None:
    """Names of pages and users of many scripts, columns with and without nulls."""
    with esnb.create(tmp_path / "log", maintain=False) as log:
        esnb.import_events(
            shared_data / "jsonl_wiki" / "wikiticker-2015-09-12-sampled.json.gz",
            log,
            category=esnb.constant("page"),
            stream=lambda row: f"{row['channel']}/{row['page']}",
            event_type=esnb.constant("edit"),
            occurred_on="time",
        )
        made = esnb.sketch(log, "page")
        owner = made.run()
        kinds = {name: kind.name for name, kind in owner.description.fields.items()}
        assert set(kinds.values()) == {"text", "int", "bool"}
        line = log.timeline("page")
        columns = {info.key: name for name, info in line.fields.items()}
        rows = {row["stream"]: row for row in line.as_of(10**6).to_arrow_table().to_pylist()}
        for stream in sorted(rows)[::100]:
            folded = owner.fold(log.read_stream(stream))
            for field, key in made.fields.items():
                value = rows[stream][columns[key]]
                parsed = AS_FOLDED[kinds[field]][1]
                assert getattr(folded, field) == (None if value is None else parsed(value))
        states = log.timeline(owner).as_of(10**6).to_arrow_table().to_pylist()
        assert len(states) == len(rows) == 35_278
        for state in states:
            row = rows[state["stream"]]
            assert [state[field] for field in made.fields] == [
                row[columns[key]] for key in made.fields.values()
            ]
