"""The command line: ``esnb create | import | info | sql | as-of | diff | verify | …``.

Exit codes: 0 done; 1 the log is damaged (`verify`), rows were rejected (`import`), a
projection or saga wants looking after (`status`) or a cell failed (`report`); 2 the command
was not understood or its input not accepted; 3 the log cannot be opened, read or written;
130 interrupted.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import os
import sys
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from esnb import _face, instants
from esnb.duck import interruptible
from esnb.errors import EsnbError, InputError, LogError, QueryError
from esnb.show import text_table, visible
from esnb.source import import_events
from esnb.write.registry import health
from esnb.write.sagas.health import saga_health

if TYPE_CHECKING:
    import duckdb

    from esnb.eventlog import EventLog
    from esnb.timeline import Timeline

__all__ = ["main"]

_EXAMPLES = """\
examples:
  esnb create shop --zone Europe/Berlin
  esnb import orders.csv shop --stream order_id --category order --event-type event --occurred-on at
  esnb info shop
  esnb as-of shop order 2026-03-01 --limit 10
  esnb diff shop order 2026-02-01 2026-03-01
  esnb sql shop "select event_type, count(*) from events group by all"
  esnb verify shop

exit codes:
  0  done
  1  verify found damage, import rejected rows, a projection or saga is not well (status), or a
     cell of the notebook failed (report)
  2  the command or its input cannot be accepted
  3  the log cannot be opened, read or written
"""
_OF_PROJECTIONS = (
    "projection", "health", "running", "behind", "seconds", "position", "version",
    "dead_letters", "sink", "place",
)  # fmt: skip
_OF_SAGAS = (
    "saga", "health", "running", "behind", "seconds", "position", "open", "stuck", "waiting",
    "retrying", "due",
)  # fmt: skip
_ROLES = (
    ("stream", "names of streams, or ids when --category is given"),
    ("category", "category of all streams"),
    ("event-type", "type of the event"),
    ("event-id", "identity of the event"),
    ("occurred-on", "when it happened"),
    ("recorded-on", "when the system knew it"),
    ("order", "order within a stream"),
    ("actor", "who did it"),
    ("correlation-id", "the business conversation"),
    ("causation-id", "what caused it"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        with interruptible():
            return int(options.run(options))
    except (InputError, QueryError) as error:
        return _complain(error, 2)
    except EsnbError as error:
        return _complain(error, 3)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("interrupted; nothing is half-written", file=sys.stderr)
        return 130


def _complain(error: Exception, code: int) -> int:
    print(f"esnb: {visible(error)}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="esnb",
        description="Event histories: keep them, ask what was, compare two moments.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run: Any, text: str, *, log: bool = True) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        if log:
            made.add_argument("log", metavar="LOG", help="folder of the event log")
        made.set_defaults(run=run)
        return made

    made = command("create", _create, "make a new, empty log")
    made.add_argument("--zone", help="zone of times without one, e.g. Europe/Berlin")

    made = command("import", _import, "import events from a file", log=False)
    made.add_argument("source", metavar="SOURCE", help="CSV, JSON lines, Parquet or XES; .gz too")
    made.add_argument("log", metavar="LOG", help="folder of the log; made when it is not there")
    for role, text in _ROLES:
        made.add_argument(f"--{role}", metavar="COLUMN", help=f"column: {text}")
    made.add_argument("--data", metavar="COLUMN", action="append", help="column of the payload")
    made.add_argument("--format", help="csv, jsonl, parquet or xes; guessed from the name")
    made.add_argument("--zone", help="zone of times without one, e.g. Europe/Berlin")
    made.add_argument("--time-format", help="as for strptime, e.g. %%d/%%m/%%Y %%H:%%M")
    made.add_argument("--null", metavar="TEXT", action="append", help="text that means missing")
    made.add_argument("--ledger", metavar="FILE", help="write rejected rows to a CSV file")
    made.add_argument("--json", action="store_true", help="print the counts as JSON")
    made.add_argument("--quiet", action="store_true", help="no progress bar")

    made = command("info", _info, "show a log in numbers")
    made.add_argument("--json", action="store_true", help="print JSON")

    made = command("status", _status, "show the health and lag of projections and sagas")
    made.add_argument("--json", action="store_true", help="print JSON, one of them a line")

    made = command("sql", _sql, "ask in SQL (one SELECT; the table is called events)")
    made.add_argument("text", metavar="SQL", help="the query, or - to read it from the input")
    made.add_argument("-p", "--param", metavar="NAME=VALUE", action="append", default=[])
    made.add_argument("--timeout", type=float, metavar="SECONDS")
    _output(made)

    made = command("as-of", _as_of, "show the state of every aggregate at a time")
    _timeline(made)
    made.add_argument("when", metavar="WHEN", help="instant or position")
    made.add_argument("--stream", help="only this one")
    made.add_argument(
        "--valid-at", metavar="TIME", help="what was true at TIME, as it was known at WHEN"
    )
    _output(made)

    made = command("diff", _diff, "show what changed between two times, and which event did it")
    _timeline(made)
    made.add_argument("a", metavar="A", help="instant or position")
    made.add_argument("b", metavar="B", help="instant or position")
    _output(made)

    made = command("verify", _verify, "check that a log is whole and unaltered")
    made.add_argument("--quick", action="store_true", help="digests and chain only, not every row")
    made.add_argument("--json", action="store_true", help="print JSON")

    command("compact", _compact, "merge small files of a log")
    made = command("backup", _backup, "copy a log to another folder, or bring a backup up to date")
    made.add_argument("target", metavar="TARGET", help="folder of the backup")
    made = command("restore", _restore, "make a log from a backup and check it", log=False)
    made.add_argument("source", metavar="BACKUP", help="folder of the backup")
    made.add_argument("log", metavar="LOG", help="new folder")
    made = command(
        "report", _report, "run a notebook and write one HTML file that needs nothing", log=False
    )
    made.add_argument("notebook", metavar="NOTEBOOK", help="the .ipynb file; it stays as it is")
    made.add_argument(
        "-p", "--param", metavar="NAME=VALUE", action="append", default=[],
        help="new value of a parameter: assigned in the cell tagged 'parameters', or in the first",
    )  # fmt: skip
    made.add_argument("-o", "--output", metavar="FILE", help="(default: the notebook's name.html)")
    made.add_argument("--no-code", action="store_true", help="leave the code of the cells out")

    made = command("lab", _lab, "open JupyterLab on a folder of notebooks", log=False)
    made.add_argument("folder", nargs="?", default=".", help="folder (default: this one)")
    made.add_argument("rest", nargs=argparse.REMAINDER, help="more options for JupyterLab")
    return parser


def _output(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "--format", choices=("table", "json", "csv"), default="table", help="(default: table)"
    )
    made.add_argument("--limit", type=int, help="rows to show (default: 50 in a table, else all)")


def _timeline(made: argparse.ArgumentParser) -> None:
    made.add_argument("category", metavar="CATEGORY", help="such as order")
    made.add_argument(
        "--fold",
        choices=("patch", "snapshot", "before/after", "attributes"),
        default="patch",
        help="payloads are merged (patch), or each is the whole state (snapshot), has it before"
        " and after, or says one attribute's new value",
    )
    made.add_argument(
        "--ends", metavar="TYPE", action="append", default=[], help="event type that ends it"
    )
    made.add_argument(
        "--noop",
        metavar="KEY",
        action="append",
        default=[],
        help="payload key that only failed events have: they change nothing",
    )


# --- commands --------------------------------------------------------------------------------


def _create(options: argparse.Namespace) -> int:
    with _face.create(options.log, zone=options.zone) as log:
        print(f"made an empty log in {log.path}")
    return 0


def _import(options: argparse.Namespace) -> int:
    exists = (Path(options.log) / "log.json").exists()
    roles = {name.replace("-", "_"): getattr(options, name.replace("-", "_")) for name, _ in _ROLES}
    data = options.data
    with _face.open(options.log) if exists else _face.create(options.log, zone=options.zone) as log:
        done = import_events(
            options.source,
            log,
            **roles,
            data=data[0] if data and len(data) == 1 else data,
            format=options.format,
            zone=options.zone,
            time_format=options.time_format,
            null_values=tuple(options.null or ()),
            progress=False if options.quiet else None,
        )
    if options.ledger:
        _write_csv(done.ledger.column_names, done.ledger.to_pylist(), Path(options.ledger))
    if options.json:
        counts = ("read", "kept", "duplicates", "rejected", "seconds")
        _print_json({name: getattr(done, name) for name in counts})
    else:
        print(done)
    return 1 if done.rejected else 0


def _info(options: argparse.Namespace) -> int:
    with _reading(options) as log:
        info = dataclasses.asdict(log.info())
        info["categories"] = log.categories()
    if options.json:
        _print_json(info)
    else:
        print(text_table(["", options.log], [(k, _plain(v)) for k, v in info.items()], limit=100))
    return 0


def _status(options: argparse.Namespace) -> int:
    with _reading(options) as log:
        projections, sagas = health(log), saga_health(log)
        at = log.next_position - 1
    if options.json:
        told = [*map(dataclasses.asdict, projections), *map(dataclasses.asdict, sagas)]
        for one in told:
            _print_json({"log_position": at, **one})
    elif not projections and not sagas:
        print(f"log at position {at}; no projection of it has run here, and no saga")
    else:
        tables: list[tuple[tuple[str, ...], list[Any]]] = [
            (_OF_PROJECTIONS, [*projections]),
            (_OF_SAGAS, [*sagas]),
        ]
        for names, found in tables:
            if found:
                rows = [tuple(getattr(one, name) for name in names) for one in found]
                print(text_table(names, rows), end="\n\n")
        named = [(one.projection, one.error) for one in projections]
        for name, error in [*named, *((one.saga, one.error) for one in sagas)]:
            if error:
                print(f"{visible(name)}: {visible(error)}")
        print(f"log at position {at}; positions as the runners last told them, about each second")
    well = all(one.well for one in projections) and all(one.well for one in sagas)
    return 0 if well else 1


def _sql(options: argparse.Namespace) -> int:
    text = sys.stdin.read() if options.text == "-" else options.text
    params = _named(options, "--param")
    with _reading(options) as log:
        _print_relation(log.sql(text, params or None, timeout=options.timeout), options)
    return 0


def _named(options: argparse.Namespace, option: str) -> dict[str, str]:
    """Return the values that were given as NAME=VALUE."""
    found = {}
    for given in options.param:
        name, equals, value = given.partition("=")
        if not equals:
            raise InputError(f"{option} {given}: say NAME=VALUE")
        found[name] = value
    return found


def _asked(log: EventLog, options: argparse.Namespace) -> Timeline:
    return log.timeline(
        options.category, fold=options.fold, ends=tuple(options.ends), noop=options.noop or None
    )


def _as_of(options: argparse.Namespace) -> int:
    with _reading(options) as log:
        timeline = _asked(log, options)
        when = _when(options.when)
        if options.valid_at is None:
            found = timeline.as_of(when)
        else:
            found = timeline.valid_at(_when(options.valid_at), as_of=when)
        if options.stream is not None:
            found = found.filter(f"stream = '{options.stream.replace(chr(39), chr(39) * 2)}'")
        _print_relation(found, options)
    return 0


def _diff(options: argparse.Namespace) -> int:
    with _reading(options) as log:
        timeline = _asked(log, options)
        _print_relation(timeline.diff(_when(options.a), _when(options.b)), options)
    return 0


def _verify(options: argparse.Namespace) -> int:
    with _reading(options) as log:
        report = log.verify(full=not options.quick)
    if options.json:
        found = [{"path": str(f.path), "problem": f.problem} for f in report.findings]
        _print_json(
            {
                "ok": report.ok,
                "events": report.events,
                "segments": report.segments,
                "manifests": report.manifests,
                "findings": found,
            }
        )
    else:
        print(report)
    return 0 if report.ok else 1


def _compact(options: argparse.Namespace) -> int:
    with _face.open(options.log) as log:
        sealed, fewer = log.seal(), log.compact()
        print(f"sealed {sealed:,} events; {fewer} files fewer")
    return 0


def _backup(options: argparse.Namespace) -> int:
    with _reading(options) as log:
        print(f"copied {log.next_position:,} events to {log.backup(options.target)}")
    return 0


def _restore(options: argparse.Namespace) -> int:
    with _face.restore(options.source, options.log) as log:
        print(f"restored {log.next_position:,} events to {log.path}")
    return 0


def _report(options: argparse.Namespace) -> int:
    from esnb.report import report

    given = _named(options, "-p")
    ran = report(options.notebook, options.output, given, code=not options.no_code)
    print(f"wrote {ran.path}")
    if ran.error is not None:
        print(f"esnb: stopped in {visible(ran.error, 2000)}", file=sys.stderr)
        return 1
    return 0


def _lab(options: argparse.Namespace) -> int:
    if not Path(options.folder).is_dir():
        raise InputError(f"{options.folder} is not a folder")
    command = [sys.executable, "-m", "jupyterlab", options.folder, *options.rest]
    os.execv(sys.executable, command)  # noqa: S606  # our own interpreter


# --- output ----------------------------------------------------------------------------------


def _reading(options: argparse.Namespace) -> EventLog:
    if not Path(options.log).is_dir():
        raise LogError(f"there is no folder {options.log}")
    return _face.open(options.log, maintain=False)


def _when(text: str) -> int | str:
    return int(text) if text.isdecimal() and len(text) != 4 else text


def _print_relation(found: duckdb.DuckDBPyRelation, options: argparse.Namespace) -> None:
    limit = options.limit if options.limit is not None else 50
    names = found.columns
    if options.format == "table":
        rows = found.limit(limit + 1).fetchall()
        print(text_table(names, rows[:limit]))
        total = len(rows) if len(rows) <= limit else found.aggregate("count(*)").fetchall()[0][0]
        print(f"({min(len(rows), limit):,} of {total:,} rows; times in UTC)")
        return
    if options.limit is not None:
        found = found.limit(limit)
    rows_left = iter(found.fetchall())
    if options.format == "csv":
        writer = csv.writer(sys.stdout)
        writer.writerow(names)
        writer.writerows([_plain(value) for value in row] for row in rows_left)
    else:
        for row in rows_left:
            _print_json(dict(zip(names, row, strict=True)))


def _write_csv(names: Sequence[str], rows: Sequence[dict[str, Any]], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows([_plain(row[name]) for name in names] for row in rows)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime) and value.tzinfo:
        return instants.iso(value)
    return value


def _print_json(value: Any) -> None:
    print(orjson.dumps(value, default=_json, option=orjson.OPT_PASSTHROUGH_DATETIME).decode())


def _json(value: Any) -> Any:
    if isinstance(value, datetime):
        return instants.iso(value) if value.tzinfo else value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal | Path):
        return str(value)
    raise InputError(f"a {type(value).__name__} has no JSON form")


if __name__ == "__main__":
    sys.exit(main())
