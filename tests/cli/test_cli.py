"""The command line, as a newcomer and as a script use it."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from esnb.cli import main

ROWS = """number,what,at,status,total
1,OrderPlaced,2026-01-01 10:00,pending,10.50
2,OrderPlaced,2026-01-02 10:00,pending,20
1,OrderPaid,2026-01-03 10:00,paid,
2,OrderCancelled,2026-02-01 10:00,cancelled,
"""


@pytest.fixture
def shop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    source = tmp_path / "orders.csv"
    source.write_text(ROWS)
    place = str(tmp_path / "shop")
    assert main(["create", place, "--zone", "UTC"]) == 0
    arguments = ["--stream", "number", "--category", "order", "--event-type", "what"]
    arguments += ["--occurred-on", "at", "--quiet"]
    assert main(["import", str(source), place, *arguments]) == 0
    assert main(["import", str(source), place, *arguments]) == 0  # adds nothing
    capsys.readouterr()
    return place


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_info(shop: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", shop, "--json"]) == 0
    (info,) = lines(capsys)
    assert (info["events"], info["streams"], info["zone"]) == (4, 2, "UTC")
    assert info["categories"] == ["order"]
    assert main(["info", shop]) == 0
    assert "events" in capsys.readouterr().out


def test_as_of(shop: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["as-of", shop, "order", "2026-01-02T12:00:00Z", "--format", "json"]) == 0
    rows = {row["stream"]: row["status"] for row in lines(capsys)}
    assert rows == {"order-1": "pending", "order-2": "pending"}
    assert main(["as-of", shop, "order", "2", "--stream", "order-1", "--format", "json"]) == 0
    (row,) = lines(capsys)
    assert row["status"] == "paid"
    assert main(["as-of", shop, "order", "2026-03-01", "--ends", "OrderCancelled"]) == 0
    table = capsys.readouterr().out
    assert "order-1" in table
    assert "order-2" not in table
    assert "(1 of 1 rows; times in UTC)" in table


def test_diff_as_csv(shop: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", shop, "order", "2026-01-02T12:00Z", "2026-02-02", "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    changed = {(row["stream"], row["field"]): row["event_type"] for row in rows}
    assert changed[("order-1", "status")] == "OrderPaid"
    assert changed[("order-2", "status")] == "OrderCancelled"


def test_sql(shop: str, capsys: pytest.CaptureFixture[str]) -> None:
    query = "select count(*) as n from events where event_type = $t"
    assert main(["sql", shop, query, "-p", "t=OrderPaid", "--format", "json"]) == 0
    assert lines(capsys) == [{"n": 1}]
    macro = "select status, count(*) n from order_as_of('2026-02-02') group by all order by 1"
    assert main(["sql", shop, macro, "--format", "json"]) == 0
    assert lines(capsys) == [{"status": "cancelled", "n": 1}, {"status": "paid", "n": 1}]
    assert main(["sql", shop, "drop table events"]) == 2
    assert main(["sql", shop, "select * from nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_verify_backup_restore(
    shop: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", shop]) == 0
    assert "The log is whole" in capsys.readouterr().out
    backup = str(tmp_path / "backup")
    assert main(["backup", shop, backup]) == 0
    assert main(["compact", shop]) == 0
    assert main(["restore", backup, str(tmp_path / "again")]) == 0
    segment = next(Path(backup).rglob("*.parquet"))
    content = bytearray(segment.read_bytes())
    content[50] ^= 1
    segment.write_bytes(content)
    capsys.readouterr()
    assert main(["verify", backup, "--json"]) == 1
    (report,) = lines(capsys)
    assert report["ok"] is False
    assert segment.name in json.dumps(report["findings"])
    assert main(["restore", backup, str(tmp_path / "never")]) == 3


def test_rejected_rows_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "orders.csv"
    source.write_text(ROWS + "3,OrderPlaced,soon,pending,1\n")
    ledger = tmp_path / "ledger.csv"
    arguments = ["--stream", "number", "--category", "order", "--event-type", "what"]
    arguments += ["--zone", "UTC"]
    arguments += ["--occurred-on", "at", "--quiet", "--json", "--ledger", str(ledger)]
    code = main(["import", str(source), str(tmp_path / "log"), *arguments])
    assert code == 1
    (counts,) = lines(capsys)
    assert (counts["read"], counts["kept"], counts["rejected"]) == (5, 4, 1)
    (row,) = csv.DictReader(ledger.read_text().splitlines())
    assert row["line"] == "6"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["info", "nowhere"], 3),
        (["verify", "."], 3),
        (["as-of", "SHOP", "order", "soon"], 2),
        (["as-of", "SHOP", "orders", "2026-01-01"], 0),
        (["import", "none.csv", "SHOP"], 2),
        (["sql", "SHOP", "select 1", "-p", "x"], 2),
        (["create", "SHOP"], 3),
    ],
)
def test_exit_codes(
    shop: str, arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([shop if given == "SHOP" else given for given in arguments]) == code
    if code:
        message = capsys.readouterr().err
        assert message.startswith("esnb: ")
        assert "Traceback" not in message


def test_hostile_text_on_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import esnb

    with esnb.create(tmp_path / "log", zone="UTC") as log:
        log.append("order-1", esnb.DomainEvent("T", {"note": "\x1b[2Jgone\r\u202eevil\n"}))
    assert main(["as-of", str(tmp_path / "log"), "order", "0"]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "U+001B[2Jgone" in shown


def test_help_is_there_for_every_command() -> None:
    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "esnb.cli", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    overview = run("--help")
    asking = ("create", "import", "info", "status", "sql", "as-of", "diff", "verify", "compact")
    for command in asking:
        assert f"    {command} " in overview
    for command in ("backup", "restore", "lab"):
        assert f"    {command} " in overview
    assert "exit codes" in overview
    assert "--timeout" in run("sql", "--help")


def test_changes_of_rows_and_failed_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "rows.jsonl"
    rows = [
        {"id": "1", "op": "create", "at": "2026-01-01T00:00Z", "before": None, "after": {"n": 1}},
        {
            "id": "1",
            "op": "update",
            "at": "2026-01-02T00:00Z",
            "before": {"n": 1},
            "after": {"n": 2},
        },
        {"id": "1", "op": "update", "at": "2026-01-03T00:00Z", "after": {"n": 9}, "error": "no"},
    ]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    log = str(tmp_path / "log")
    roles = ["--stream", "id", "--category", "row", "--event-type", "op", "--occurred-on", "at"]
    assert main(["import", str(source), log, *roles]) == 0
    capsys.readouterr()
    asked = ["as-of", log, "row", "2026-02-01T00:00Z", "--fold", "before/after", "--format", "json"]
    assert main([*asked, "--noop", "error"]) == 0
    (state,) = lines(capsys)
    assert state["n"] == 2
    assert main(asked) == 0
    (state,) = lines(capsys)
    assert state["n"] == 9
