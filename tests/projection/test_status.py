"""`esnb status`: the projections of a log, as a newcomer and as a monitor ask."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from esnb import DomainEvent, EventLog
from esnb.cli import main
from esnb.errors import ProjectionError
from esnb.write import DuckDBSink, Projection, Table, on


class Names(Projection, name="na\x1b[31mmes", category="order"):
    rows = Table(n=int)

    @on("Named")
    def named(self, e: Any) -> None:
        self.rows.put(e.stream, n=e.data["n"])


def test_status(log: EventLog, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = str(log.path)
    assert main(["status", place]) == 0
    assert "no projection" in capsys.readouterr().out
    log.append("order-1", DomainEvent("Named", {"n": 1}))
    runner = log.project(Names, into=DuckDBSink(tmp_path / "m.duckdb"))
    runner.run()
    assert main(["status", place]) == 0
    table = capsys.readouterr().out
    assert "DuckDB" in table
    assert "\x1b" not in table  # a name is text, and steers no terminal
    log.append("order-1", DomainEvent("Named", {"n": 2}))
    assert main(["status", place, "--json"]) == 1
    (told,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (told["health"], told["behind"], told["log_position"]) == ("behind", 1, 1)
    runner.run()
    runner.pause()
    assert main(["status", place, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["health"] == "paused"
    runner.resume()
    log.append("order-1", DomainEvent("Named", {"n": "\x1b[2J"}))
    with pytest.raises(ProjectionError):
        runner.run()
    assert main(["status", place]) == 1
    shown = capsys.readouterr().out
    assert "failed" in shown
    assert "Names.named" in shown
    assert "\x1b" not in shown
    runner.close()
    # The notes are derived: without them nothing is known, and the next run writes them anew.
    for note in (log.path / "derived" / "projections").iterdir():
        note.unlink()
    assert main(["status", place]) == 0
