"""The gate: what is refused, and that nothing happens; what passes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esnb.errors import QueryError
from esnb.log import Log
from esnb.query import Session, gate

CANARY = "canary-7f3a91"


def lines(name: str) -> list[str]:
    """Return the statements of a file, one a line."""
    return Path(__file__).parent.joinpath("statements", f"{name}.sql").read_text().splitlines()


# {log}: folder of the log, {file}: a segment, {out}: a folder outside, {secret}: a file there.
ACTIONS = lines("actions")
WRAPPERS = lines("wrappers")
READS = lines("reads")

LEGITIMATE = lines("legitimate")


WORDS = """
select from events where ( ) , ; ' " with as copy to getenv read_text union all * 1 '/etc/passwd'
describe table call pragma set -- /* */ $1 x.y values pivot on
"""


def digest(folder: Path) -> str:
    """Return one digest of every name and content below a folder."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        found.update(str(path).encode())
        if path.is_file():
            found.update(path.read_bytes())
    return found.hexdigest()


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret.csv").write_text(f"name\n{CANARY}\n")
    return folder


def statements(log: Log, outside: Path) -> list[str]:
    places = {
        "log": str(log.path),
        "file": str(log.snapshot().segments[0].path),
        "out": str(outside),
        "secret": str(outside / "secret.csv"),
    }
    found = []
    for action in ACTIONS:
        plain = action.format(**places)
        for wrapper in WRAPPERS:
            quoted = plain.replace("'", "''")
            found.append(wrapper.format(s=plain, q=quoted, newline="\n"))
    return found + [read.format(**places) for read in READS]


def test_hostile_statements_are_refused_and_change_nothing(
    filled: Log, session: Session, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ESNB_TEST_TOKEN", CANARY)
    monkeypatch.chdir(outside)
    snapshot = filled.snapshot()
    hostile = statements(filled, outside)
    assert len(set(hostile)) >= 600
    before = digest(filled.path), digest(outside)
    rows = session.events(snapshot).fetchall()
    passed = []
    told = []
    for text in hostile:
        try:
            passed.append((text, session.sql(snapshot, text).fetchall()))
        except QueryError as error:
            told.append(str(error))
    assert passed == []
    assert not [text for text in told if CANARY in text]
    assert (digest(filled.path), digest(outside)) == before
    assert session.events(snapshot).fetchall() == rows
    assert session.sql(snapshot, "from events order by position").fetchall() == rows


def test_the_gate_alone_refuses_them(filled: Log, outside: Path) -> None:
    connection = duckdb.connect()
    for text in statements(filled, outside):
        with pytest.raises(QueryError):
            gate.check(connection, text)


def test_the_second_wall_stands_without_the_gate(
    filled: Log, session: Session, outside: Path
) -> None:
    """What lies outside the log can be neither read nor written, whatever the text."""
    cursor = session.cursor(filled.snapshot())
    before = digest(outside)
    secret = outside / "secret.csv"
    for text in (
        f"from '{secret}'",
        f"from read_text('{secret}')",
        f"from read_blob('{secret}')",
        f"from glob('{outside}/*')",
        f"copy (select 1) to '{outside}/x.csv'",
        f"attach '{outside}/x.duckdb'",
        f"export database '{outside}/e'",
        f"from read_text('{filled.path}/../outside/secret.csv')",
        "install httpfs",
        "load httpfs",
    ):
        try:
            found = cursor.execute(text).fetchall()
        except duckdb.Error:
            continue
        assert found == [], text
    assert digest(outside) == before


@pytest.mark.parametrize("text", LEGITIMATE)
def test_questions_pass(filled: Log, session: Session, text: str) -> None:
    session.sql(filled.snapshot(), text).fetchall()


def test_parameters_pass(filled: Log, session: Session) -> None:
    snapshot = filled.snapshot()
    for text, values in (
        ("select count(*) from events where stream = ?", ["order-0"]),
        ("select count(*) from events where stream = $1 or stream = $1", ["order-0"]),
        ("select count(*) from events where stream = $name", {"name": "order-0"}),
    ):
        expected = sum(event.stream == "order-0" for event in filled.read())
        assert session.sql(snapshot, text, values).fetchall() == [(expected,)]


def test_allowed_macros_pass_and_others_do_not(filled: Log, session: Session) -> None:
    snapshot = filled.snapshot()

    def made(cursor: duckdb.DuckDBPyConnection) -> list[str]:
        cursor.execute("create temp macro order_as_of(x) as table select x as y")
        return ["order_as_of"]

    text = "from Order_As_Of(3)"
    with pytest.raises(QueryError, match=r"'order_as_of' is not allowed here \(there are gener"):
        session.sql(snapshot, text)
    assert session.sql(snapshot, text, macros=made).fetchall() == [(3,)]
    with pytest.raises(QueryError, match="read_text"):
        session.sql(snapshot, "from read_text('x')", macros=made)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "this text holds 0"),
        ("-- nothing", "this text holds 0"),
        ("select 1; select 2", "this text holds 2"),
        ("selec 1", "cannot parse.*selec"),
        ("select 1 where '\x00' = ''", "NUL"),
        ("select '\ud800'", "surrogate"),
        ("drop view events", "only a SELECT"),
        ("pivot events on category using count(*)", r"IN \('a', 'b'\)"),
        ("from 'a.csv'", "may be a file"),
        ("select getenv('HOME')", "'getenv' is not allowed"),
        ("select " + "1, " * 400_000 + "1", "characters"),
        ("select " + "abs(" * 900 + "1" + ")" * 900, "too deeply"),
        ("select 1" + " + 1" * 5_000, "too deeply"),
    ],
)
def test_refusals_say_why(session: Session, filled: Log, text: str, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        session.sql(filled.snapshot(), text)


def test_long_lists_pass(session: Session, filled: Log) -> None:
    numbers = ", ".join(map(str, range(20_000)))
    text = f"select count(*) from events where position in ({numbers})"
    assert session.sql(filled.snapshot(), text).fetchall() == [(200,)]


def test_text_that_is_no_text_is_refused(session: Session, filled: Log) -> None:
    with pytest.raises(QueryError, match="SQL must be text, not bytes"):
        session.sql(filled.snapshot(), b"select 1")  # type: ignore[arg-type]


@given(
    st.lists(
        st.sampled_from(WORDS.split()),
        max_size=20,
    )
)
def test_any_text_is_refused_or_one_select(words: list[str]) -> None:
    connection = duckdb.connect()
    text = " ".join(words)
    try:
        gate.check(connection, text)
    except QueryError:
        return
    (statement,) = connection.extract_statements(text)
    assert statement.type == duckdb.StatementType.SELECT
