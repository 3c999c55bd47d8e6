"""``%%esql`` in a real IPython shell, and in a real kernel."""

from __future__ import annotations

import enum
import json
import sys
import types
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pytest
from IPython.core.interactiveshell import ExecutionResult, InteractiveShell
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from traitlets.config import Config

import esnb
from esnb import DomainEvent, EventLog
from esnb.errors import InstantError, QueryError


def filled(folder: Path) -> EventLog:
    log = esnb.create(folder / "log", zone="UTC")
    for number in range(9):
        log.append(
            f"order-{number % 3}",
            DomainEvent("Changed", {"status": f"costs $5 or ${number}", "n": number}),
        )
    return log


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    with filled(tmp_path) as opened:
        yield opened


@pytest.fixture(scope="module")
def ipython() -> Iterator[InteractiveShell]:
    # A module of its own: it would take the place of __main__, which other tests need.
    module = types.ModuleType("cells")
    opened = InteractiveShell(
        config=Config({"HistoryManager": {"enabled": False}}),
        user_module=module,
        user_ns=vars(module),
    )
    opened.run_line_magic("load_ext", "esnb")
    yield opened
    sys.modules.pop("cells", None)


@pytest.fixture
def shell(ipython: InteractiveShell, log: EventLog) -> Iterator[InteractiveShell]:
    """Return a shell with the extension, whose only variable is the log called `log`."""
    ipython.reset(new_session=False)
    ipython.user_ns["log"] = log
    yield ipython
    ipython.reset(new_session=False)


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EventLog]:
    with filled(tmp_path_factory.mktemp("still")) as opened:
        yield opened


@pytest.fixture
def reader(ipython: InteractiveShell, still: EventLog) -> InteractiveShell:
    """Return the shell with a log that nobody writes to."""
    ipython.user_ns["still"] = still
    return ipython


def run(shell: InteractiveShell, cell: str) -> Any:
    done = shell.run_cell(cell)
    done.raise_error()
    return done.result


def failed(shell: InteractiveShell, cell: str) -> BaseException:
    done: ExecutionResult = shell.run_cell(cell)
    assert done.error_in_exec is not None
    return done.error_in_exec


def test_a_cell_answers_with_a_frame(shell: InteractiveShell, log: EventLog) -> None:
    text = "select stream, n from order_states\nwhere n > $least order by n;\n"
    shell.user_ns["least"] = 6
    for _ in range(2):
        found = run(shell, f"%%esql\n{text}")
        assert isinstance(found, pd.DataFrame)
        assert found.values.tolist() == [["order-1", 7], ["order-2", 8]]
        assert found.attrs == {
            "sql": text, "params": {"least": 6}, "log": str(log.path),
            "log_id": log.log_id, "position": 9,
        }  # fmt: skip
    log.append("order-1", DomainEvent("Changed", {"n": 100}))
    assert run(shell, f"%%esql log\n{text}")["n"].tolist() == [8, 100]
    assert found["n"].tolist() == [7, 8]


def test_a_line_answers_too(shell: InteractiveShell) -> None:
    assert run(shell, "%esql select count(*) from events").iloc[0, 0] == 9
    assert run(shell, "%esql log --as-of 4 select count(*) from events").iloc[0, 0] == 5
    run(shell, "found = %esql --limit 5 log from order_states")
    assert len(shell.user_ns["found"]) == 3
    asked = "def f(n):\n    return get_ipython().run_line_magic('esql', 'select $n as n')\n"
    shell.user_ns["get_ipython"] = lambda: shell
    assert run(shell, f"{asked}f(17)").iloc[0, 0] == 17


def test_moments(shell: InteractiveShell, log: EventLog) -> None:
    events = list(log.read())
    shell.user_ns |= {"fifth": events[4], "when": events[4].recorded_on, "four": 4}
    count = "\nselect count(*), max(n) from events, order_states"
    stamp = events[4].recorded_on.isoformat(sep=" ")
    for moment in ("4", "$four", "$fifth", "$when", f"'{stamp}'", f'"{stamp}"', f"={stamp[:10]}"):
        option = f"--as-of{moment}" if moment.startswith("=") else f"--as-of {moment}"
        expected = [0, None] if moment.startswith("=") else [15, 4]
        found = run(shell, f"%%esql {option}{count}").values.tolist()[0]
        assert [found[0], None if pd.isna(found[1]) else found[1]] == expected, moment
    valid = run(shell, "%%esql --valid-at $when --known 2\nselect position from events")
    assert valid["position"].tolist() == [0, 1, 2]
    assert valid.attrs["known"] == 2
    for option, reason in (
        ("--known 3", "goes with valid_at"),
        ("--as-of 3 --valid-at 3", "two clocks"),
        ("--as-of 2026-03-01 12:00", "stand in quotes"),
        ("--as-of", "needs a value"),
        ("--as-of 1 --as-of 2", "stands twice"),
        ("--as-off 1", "did you mean --as-of?"),
        ("--as-of $nothing", "no variable of the notebook"),
    ):
        with pytest.raises(QueryError, match=reason.replace("?", r"\?").replace("$", r"\$")):
            raise failed(shell, f"%%esql {option}\nfrom events")
    with pytest.raises(InstantError, match="ISO 8601"):
        raise failed(shell, "%%esql --as-of yesterday\nfrom events")


def test_into_a_variable(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(shell, "%%esql -o größe\nselect 1 as x") is None
    assert shell.user_ns["größe"]["x"].tolist() == [1]
    for name in ("2x", "a.b", "class", "x;y"):
        assert "cannot be the name" in str(failed(shell, f"%%esql -o {name}\nselect 1"))
    capsys.readouterr()
    run(shell, "%%esql -o few --limit 2\nfrom events")
    assert capsys.readouterr().out == (
        "esnb: the first 2 rows; there are more. Say --limit N for more.\n"
    )
    assert len(shell.user_ns["few"]) == 2
    for limit in ("0", "-1", "x", "1.5", "١"):
        assert "--limit" in str(failed(shell, f"%%esql --limit {limit}\nfrom events"))
    assert "--timeout" in str(failed(shell, "%%esql --timeout soon\nfrom events"))
    endless = "select count(*) from range(10_000_000) a, range(10_000_000) b where random() < 0"
    assert "longer than 0.1 s" in str(failed(shell, f"%%esql --timeout 0.1\n{endless}"))


HOSTILE = [
    "'; drop view events; --", '" or 1=1', "$n {n} ${n}", "a\0b", "日本 ü 🎈", "\u202e\n\r\\'",
    "", "$$", "%s ? $1", "{log}",
]  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE)
def test_values_are_never_text_of_the_question(reader: InteractiveShell, value: str) -> None:
    reader.user_ns["v"] = value
    found = run(reader, "%%esql still\nselect $v as v, (select count(*) from events) as n")
    assert found["v"].tolist() == [value]
    assert found["n"].tolist() == [9]
    assert run(reader, "%esql still select $v as v")["v"].tolist() == [value]
    assert found.attrs["params"] == {"v": value}
    # A dollar in a string or a comment is no variable.
    quoted = run(reader, "%%esql still\nselect '$nope {v}' as a, $$ $nope $$ as b -- $nope")
    assert quoted.values.tolist() == [["$nope {v}", " $nope "]]


class Colour(enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, None),
        (True, True),
        (2**70, 2**70),
        (0.1, 0.1),
        (Decimal("1234567890123456789.10"), Decimal("1234567890123456789.10")),
        (b"\0\xff", b"\0\xff"),
        (date(2026, 1, 1), date(2026, 1, 1)),
        (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)),
        (timedelta(hours=30), timedelta(hours=30)),
        (uuid.UUID(int=1), str(uuid.UUID(int=1))),
        (Colour.RED, "red"),
        (np.int64(7), 7),
        (np.float32(0.5), 0.5),
        (np.str_("x"), "x"),
        (np.bool_(True), True),
        (np.datetime64("2026-01-01T00:00:01"), datetime(2026, 1, 1, 0, 0, 1)),
        (pd.Timestamp("2026-01-01", tz="UTC"), datetime(2026, 1, 1, tzinfo=UTC)),
        (pd.Timedelta(hours=1), timedelta(hours=1)),
        (pd.NaT, None),
        (pd.NA, None),
    ],
)
def test_values_of_many_types(reader: InteractiveShell, value: Any, told: Any) -> None:
    reader.user_ns["v"] = value
    found = run(reader, "%%esql still\nselect $v as v")
    seen = found["v"][0]
    assert told == (None if pd.isna(seen) else seen)
    json.dumps(found.attrs, allow_nan=False)


@pytest.mark.parametrize(
    "value",
    [["order-1", "order-2"], ("order-1", "order-2"), {"order-1", "order-2"},
     np.array(["order-1", "order-2"]), pd.Series(["order-1", "order-2"]),
     pd.Index(["order-1", "order-2"])],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_lists_of_values(reader: InteractiveShell, value: Any) -> None:
    reader.user_ns["names"] = value
    found = run(reader, "%%esql still\nselect count(*) from events where stream in $names")
    assert found.iloc[0, 0] == 6


@pytest.mark.parametrize(
    "value",
    [pd.DataFrame({"a": [1]}), object(), len, int, "\ud800", ["\ud800"], np.array([[1]]),
     pd.Timestamp("2026-01-01T00:00:00.000000001"), np.datetime64("2026-01-01T00:00:00.000000001"),
     2**200],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_values_that_sql_does_not_have(reader: InteractiveShell, value: Any) -> None:
    reader.user_ns["v"] = value
    error = failed(reader, "%%esql still\nselect $v as v")
    assert isinstance(error, QueryError)
    assert len(str(error)) < 400


def test_names_of_variables(shell: InteractiveShell) -> None:
    shell.user_ns |= {"customer": "ann", "größe": 3, "Total": 1, "total": 2, "_x1": 4}
    found = run(shell, "%%esql\nselect $customer as a, $größe as b, $Total as c, $_x1 as d")
    assert found.values.tolist() == [["ann", 3, 1, 4]]
    assert "did you mean $customer?" in str(failed(shell, "%%esql\nselect $custmer"))
    # DuckDB takes these for one name; the value of one would stand for both.
    assert "are one name in SQL" in str(failed(shell, "%%esql\nselect $Total, $total"))
    for text in ("select ?", "select $1"):
        assert "say $name" in str(failed(shell, f"%%esql\n{text}"))


def test_which_log(shell: InteractiveShell, log: EventLog, tmp_path: Path) -> None:
    shell.user_ns["same"] = log
    assert run(shell, "%%esql\nselect count(*) from events").iloc[0, 0] == 9
    with esnb.create(tmp_path / "other") as other:
        other.append("x-1", DomainEvent("E"))
        shell.user_ns["other"] = other
        error = str(failed(shell, "%%esql\nfrom events"))
        assert "several event logs are open" in error
        assert "log, other, same" in error
        assert len(run(shell, "%%esql other\nfrom events")) == 1
        assert len(run(shell, "%%esql log\nfrom events")) == 9
        assert "'nope' is no variable" in str(failed(shell, "%%esql nope\nfrom events"))
        shell.user_ns["five"] = 5
        assert "'five' is no event log; there are" in str(failed(shell, "%%esql five\nfrom events"))
    assert len(run(shell, "%%esql\nfrom events")) == 9
    assert "was closed" in str(failed(shell, "%%esql other\nfrom events"))
    log.close()
    assert "no event log is open here" in str(failed(shell, "%%esql\nfrom events"))


def test_errors_are_short_and_point_at_the_place(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    failed(shell, "%%esql\nselect stream,\n  nope from events")
    said = capsys.readouterr()
    lines = (said.out + said.err).strip().split("\n")
    assert lines[0].startswith("QueryError: DuckDB cannot run this")
    assert lines[-2] == "LINE 2:   nope from events"
    assert lines[-1].index("^") == lines[-2].index("nope")
    assert len(lines) < 8
    for cell in ("%%esql\ndrop view events", "%%esql\nfrom '/etc/passwd'", "%%esql\n  ", "%esql"):
        capsys.readouterr()
        assert isinstance(failed(shell, cell), QueryError)
        said = capsys.readouterr()
        assert len((said.out + said.err).strip().split("\n")) < 5


def test_money_is_not_typeset_and_the_options_of_the_user_stay(shell: InteractiveShell) -> None:
    before = pd.get_option("display.html.use_mathjax")
    found = run(shell, "%%esql\nselect status from order_states")
    data, _ = shell.display_formatter.format(found)
    assert "mathjax_ignore" in data["text/html"]
    assert "costs $5" in data["text/html"]
    assert pd.get_option("display.html.use_mathjax") is before
    assert found.copy().equals(found)


def test_in_a_kernel(log: EventLog, tmp_path: Path) -> None:
    cells = [
        "%load_ext esnb\nimport esnb",
        f"log = esnb.open({str(log.path)!r}, read_only=True)",
        "least = 7",
        "%%esql\nselect stream, n, status from order_states where n >= $least order by n",
        "%%esql log --as-of 3 -o then\nselect max(n) as n from order_states",
        "print(then.n[0], then.attrs['as_of'], then.attrs['position'])",
        "%%esql --limit 4\nfrom events",
        "%reload_ext esnb",
        "%%esql\nselect 1 as again",
        "import os; os.environ['ESNB_STATIC'] = '1'",
        "%%esql\nselect 1 as again",
        "_.attrs['sql']",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    living, left = (output.data for output in notebook.cells[3].outputs)
    assert "application/vnd.jupyter.widget-view+json" in living
    assert living["text/plain"] == "2 rows"
    assert "costs $5 or $7" in left["text/html"]
    assert "mathjax_ignore" in left["text/html"]
    assert notebook.cells[4].outputs == []
    assert notebook.cells[5].outputs[0].text == "3 3 9\n"
    assert "there are more" in notebook.cells[6].outputs[0].text
    assert notebook.cells[8].outputs[0].data["text/plain"] == "1 rows"
    # Without widgets it is the frame that pandas shows; with them it is that frame all the same.
    [plain] = notebook.cells[10].outputs
    assert plain.data["text/plain"].split() == ["again", "0", "1"]
    assert notebook.cells[11].outputs[0].data["text/plain"] == repr("select 1 as again\n")
    notebook.cells.append(nbformat.v4.new_code_cell("%%esql\nselect nope from events"))
    with pytest.raises(CellExecutionError) as caught:
        client.execute()
    [output] = notebook.cells[-1].outputs
    assert output.ename == "QueryError"
    assert len(output.traceback) < 8
    assert "^" in output.traceback[-1]
    assert "Referenced column" in str(caught.value)
