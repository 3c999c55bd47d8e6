"""``%%esql``: SQL in a cell, over an event log of the notebook.

``%load_ext esnb`` makes it known.  Variables go into the question as parameters, never as
text, and the answer is a DataFrame that knows its origin (``df.attrs``).
"""

from __future__ import annotations

import difflib
import keyword
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from esnb import ask
from esnb.errors import EsnbError, QueryError, shown
from esnb.eventlog import EventLog

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["load"]

_OPTIONS = ("--as-of", "--valid-at", "--known", "-o", "--limit", "--timeout")
_TOKEN = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|(\S+))""")
_USAGE = "%%esql [log] [--as-of T] [--valid-at T [--known T]] [-o NAME] [--limit N] [--timeout S]"


def load(shell: Any) -> None:
    """Make the magics ``%esql`` and ``%%esql`` known to an IPython shell."""

    def esql(line: str, cell: str | None = None, local_ns: Any = None) -> Any:
        """Ask an event log in SQL; the answer is a pandas DataFrame, shown as a table.

        ::

            %%esql [log] [--as-of T] [--valid-at T [--known T]] [-o NAME] [--limit N] [--timeout S]
            SELECT status, count(*) FROM order_states WHERE total > $least GROUP BY ALL

        log           name of a variable; needless where only one log is open
        --as-of T     what was known at T: an ISO time, a position, or $variable
        --valid-at T  what was true at T, as known now, or at --known T
        -o NAME       put the answer into a variable instead of showing it
        --limit N     most rows (100,000); a note tells when there are more
        --timeout S   stop after S seconds

        The tables are `events` and `<category>_states`; without a moment there are the
        macros too, such as `order_as_of('2026-03-01')`.  $name is a variable of the notebook.
        """
        names = {**shell.user_ns, **(local_ns or {})}
        with _shortly():
            asked = _read(line, cell, names)
            result = _answer(asked, names)
        if hasattr(shell, "kernel"):
            # Widgets cost a second, and a terminal has no use for them.
            from esnb.widget.events.answer import as_table

            as_table(result)
        more = result.attrs.get("row_limit")
        if more:
            print(f"esnb: {more}. Say --limit N for more.")
        if asked.output is not None:
            shell.user_ns[asked.output] = result
            return None
        return result

    # IPython would paste the text of $name and {name} into the line.
    esql._ipython_magic_no_var_expand = True  # type: ignore[attr-defined]
    esql.needs_local_scope = True  # type: ignore[attr-defined]
    shell.register_magic_function(esql, magic_kind="line_cell", magic_name="esql")


@dataclass(frozen=True)
class _Asked:
    log: EventLog
    sql: str
    moments: Mapping[str, object]
    output: str | None
    limit: int
    timeout: float | None


@contextmanager
def _shortly() -> Iterator[None]:
    """Let our own errors be shown as their message, without the way through our code."""
    try:
        yield
    except EsnbError as error:
        told = f"{type(error).__name__}: {error}".split("\n")
        # IPython asks an error for its own rendering.
        error._render_traceback_ = lambda: told  # type: ignore[attr-defined]
        raise


def _answer(asked: _Asked, names: Mapping[str, Any]) -> pd.DataFrame:
    wanted = asked.log.session.parameters(asked.sql)
    spelled: dict[str, str] = {}
    for name in wanted:
        if name.isdigit():
            raise QueryError("say $name, the name of a variable, instead of ? or a number")
        other = spelled.setdefault(name.casefold(), name)
        if other != name:
            raise QueryError(f"${other} and ${name} are one name in SQL; call one otherwise")
    return ask.frame(
        asked.log,
        asked.sql,
        {name: _bound(name, _variable(name, names)) for name in wanted},
        **asked.moments,
        limit=asked.limit,
        timeout=asked.timeout,
    )


# --- the line --------------------------------------------------------------------------------


def _read(line: str, cell: str | None, names: Mapping[str, Any]) -> _Asked:
    """Read the options, in the line of a cell or before the SQL of a line."""
    options: dict[str, str] = {}
    log: str | None = None
    place = 0
    while found := _TOKEN.match(line, place):
        bare = found[3]
        if bare is not None and bare.startswith("-"):
            name, given, value = bare.partition("=")
            if name not in _OPTIONS:
                _refuse_option(name)
            place = found.end()
            if not given:
                found = _TOKEN.match(line, place)
                if found is None:
                    raise QueryError(f"{name} needs a value: {_USAGE}")
                value = next(part for part in found.groups() if part is not None)
                place = found.end()
            if name in options:
                raise QueryError(f"{name} stands twice")
            options[name] = value.strip("\"'") if given else value
        elif log is None and bare is not None and (cell is not None or _is_log(bare, names)):
            log, place = bare, found.end()
        else:
            break
    rest = line[place:].strip()
    if cell is not None and rest:
        raise QueryError(f"{shown(rest)} is too much here; put values with spaces in quotes")
    sql = rest if cell is None else cell
    if not sql.strip():
        raise QueryError(f"there is no SQL to run: {_USAGE}")
    return _Asked(
        _log(log, names),
        sql,
        {
            name.strip("-").replace("-", "_"): _moment(options[name], names)
            for name in ("--as-of", "--valid-at", "--known")
            if name in options
        },
        _output(options.get("-o")),
        _limit(options.get("--limit")),
        _timeout(options.get("--timeout")),
    )


def _refuse_option(name: str) -> None:
    near = difflib.get_close_matches(name, _OPTIONS, n=1)
    advice = f"did you mean {near[0]}?" if near else _USAGE
    raise QueryError(f"there is no option {shown(name)}: {advice}")


def _output(name: str | None) -> str | None:
    if name is not None and (not name.isidentifier() or keyword.iskeyword(name)):
        raise QueryError(f"-o {shown(name)}: this cannot be the name of a variable")
    return name


def _limit(text: str | None) -> int:
    if text is None:
        return ask.LIMIT
    plain = text.replace(",", "").replace("_", "")
    if not (plain.isascii() and plain.isdigit() and 0 < int(plain) < 2**62):
        raise QueryError(f"--limit {shown(text)}: say a number of rows from 1")
    return int(plain)


def _timeout(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        raise QueryError(f"--timeout {shown(text)}: say a number of seconds") from None


def _moment(text: str, names: Mapping[str, Any]) -> object:
    if text.startswith("$"):
        return _variable(text[1:], names)
    return int(text) if text.isascii() and text.isdigit() else text


# --- the notebook's variables ----------------------------------------------------------------


def _is_log(name: str, names: Mapping[str, Any]) -> bool:
    return isinstance(names.get(name), EventLog)


def _log(name: str | None, names: Mapping[str, Any]) -> EventLog:
    """Return the log of this name, or the only open one."""
    logs = {
        key: value
        for key, value in names.items()
        if isinstance(value, EventLog) and not key.startswith("_") and not value.closed
    }
    there = ", ".join(sorted(logs))
    if name is not None:
        value = names.get(name)
        if isinstance(value, EventLog):
            return value
        advice = f"there are {there}" if logs else "open one: log = esnb.open(path)"
        what = "is no event log" if name in names else "is no variable of the notebook"
        if not name.isidentifier():
            what = "is no name of a log (values with spaces stand in quotes)"
        raise QueryError(f"{shown(name)} {what}; {advice}")
    different = list({id(value): value for value in logs.values()}.values())
    if len(different) == 1:
        return different[0]
    if not different:
        raise QueryError("no event log is open here; open one: log = esnb.open(path)")
    raise QueryError(f"several event logs are open, say which: %%esql NAME, with {there}")


def _variable(name: str, names: Mapping[str, Any]) -> Any:
    try:
        return names[name]
    except KeyError:
        known = [key for key in names if isinstance(key, str) and not key.startswith("_")]
        near = difflib.get_close_matches(name, known, n=3)
        advice = f"; did you mean {' or '.join('$' + one for one in near)}?" if near else ""
        raise QueryError(f"${name} is no variable of the notebook{advice}") from None


def _bound(name: str, value: Any) -> Any:
    """Return a variable's value as a parameter."""
    if isinstance(value, Enum):
        return _bound(name, value.value)
    kind = type(value)
    library = kind.__module__.partition(".")[0]
    if library in ("numpy", "pandas"):
        return _of_library(name, value)
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise QueryError(f"${name} holds a lone surrogate, which is no character") from None
        return str(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [_bound(name, item) for item in value]
    if isinstance(value, Mapping):
        return {_bound(name, key): _bound(name, item) for key, item in value.items()}
    plain = value is None or kind.__module__ in ("builtins", "datetime", "decimal", "uuid")
    if plain and kind is not object and not callable(value):
        return value
    raise QueryError(
        f"${name} is of the type {kind.__name__}, which cannot be a value in SQL; "
        "give a text, a number, a time or a list of them"
    )


def _of_library(name: str, value: Any) -> Any:
    """Return a value of NumPy or pandas as one of Python."""
    kind = type(value).__name__
    if kind in ("NaTType", "NAType"):
        return None
    if kind in ("Timestamp", "Timedelta") and not _nanoseconds(value):
        return value.to_pydatetime() if kind == "Timestamp" else value.to_pytimedelta()
    if kind in ("datetime64", "timedelta64"):
        exact = value.astype(f"{kind}[us]")
        if exact == value or exact != exact:
            return exact.item()
    if kind in ("Timestamp", "Timedelta", "datetime64", "timedelta64"):
        raise QueryError(f"${name} is finer than a microsecond; round it first, knowingly")
    if hasattr(value, "tolist") and getattr(value, "ndim", 0) <= 1:
        found = value.tolist()
        return _bound(name, found)
    raise QueryError(
        f"${name} is of the type {kind}, which cannot be a value in SQL; give one column as a list"
    )


def _nanoseconds(value: Any) -> int:
    return int(value.nanosecond if hasattr(value, "nanosecond") else value.nanoseconds)
