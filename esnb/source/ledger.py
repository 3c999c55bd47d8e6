"""The ledger of an import: what was read, kept, known already, and refused, to the line."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from html import escape
from typing import Any

import pyarrow as pa

from esnb.errors import SourceError
from esnb.show import UNTYPESET, html_table, text_table, visible

__all__ = ["LEDGER_SCHEMA", "ImportResult", "Ledger", "Refusal", "refusal"]

LEDGER_SCHEMA = pa.schema(
    [
        pa.field("line", pa.int64(), nullable=False),
        pa.field("field", pa.string()),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("excerpt", pa.string()),
    ]
)
_EXCERPT = 120
_BLOCK = 50_000
_SHOWN = 8
# So many rows without one good among them are no bad rows, but wrong roles.
_HOPELESS = 1_000_000

Refusal = tuple[int, str | None, str, str | None]


class Ledger:
    """Collects the refused rows of one import.

    A reader notes what it refuses with `reject`; with each batch these are taken out and,
    together with what the checks refused, entered: only then is the first bad line known.
    Reading and checking run in two threads, and only the second one enters.
    """

    def __init__(self, name: str, errors: str) -> None:
        self.read = 0
        self.rejected = 0
        self._name = name
        self._raise = errors == "raise"
        self._waiting: list[Refusal] = []
        self._open: list[Refusal] = []
        self._done: list[pa.RecordBatch] = []
        self._good = 0

    def reject(self, line: int, field: str | None, reason: str, excerpt: object = None) -> None:
        """Note that the row on `line` cannot be an event."""
        self._waiting.append(refusal(line, field, reason, excerpt))

    def take(self) -> list[Refusal]:
        """Return what was noted since the last time."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def enter(self, refusals: list[Refusal], good: int = 0) -> None:
        """Enter the refusals of some rows, by line, and how many others are good.

        Raises
        ------
        SourceError
            If the import was asked to stop at the first bad row, or a million rows are
            bad and none is good.
        """
        self._good += good
        if not refusals:
            return
        refusals = sorted(refusals, key=lambda item: item[0])
        if self._raise:
            line, name, reason, excerpt = refusals[0]
            what = reason if name is None else f"{name}: {reason}"
            shown = "" if excerpt is None or excerpt in what else f" ({excerpt})"
            raise SourceError(
                f"{self._name}, line {line}: {what}{shown}. Nothing was imported. "
                "Correct the row, or import with errors='reject' to list such rows instead."
            )
        self.rejected += len(refusals)
        self._open += refusals
        if len(self._open) >= _BLOCK:
            self._close_block()
        if self.rejected >= _HOPELESS and not self._good:
            _, name, reason, _ = refusals[0]
            raise SourceError(
                f"{self._name}: none of the first {self.rejected:,} rows is an event (the last "
                f"were refused because {name or 'the row'} {reason}). Nothing was imported; look "
                "at the roles of the columns, or import with errors='raise' to see the first one"
            )

    def table(self) -> pa.Table:
        """Return the refusals as a table, by line."""
        self._close_block()
        return pa.Table.from_batches(self._done, LEDGER_SCHEMA).sort_by("line")

    def _close_block(self) -> None:
        if self._open:
            columns = zip(*self._open, strict=True)
            arrays = [
                pa.array(column, kind)
                for column, kind in zip(columns, LEDGER_SCHEMA.types, strict=True)
            ]
            self._done.append(pa.record_batch(arrays, schema=LEDGER_SCHEMA))
            self._open = []


@dataclass(frozen=True, repr=False)
class ImportResult:
    """What an import did; ``read == kept + duplicates + rejected`` always.

    Attributes
    ----------
    source
        Name of the file, or kind of the frame.
    read
        Rows, lines or events found in the source.
    kept
        Events that are new in the log.
    duplicates
        Events that were in the log already, or twice in the source.
    rejected
        Rows that are no events; each has a line in `ledger`.
    ledger
        Arrow table: ``line`` (from 1; the row number in a frame or Parquet file),
        ``field``, ``reason``, ``excerpt``, ordered by line.
    seconds
        Wall time.
    roles
        Which column, constant or callable stood for which role, for the record.
    """

    source: str
    read: int
    kept: int
    duplicates: int
    rejected: int
    ledger: Any
    seconds: float
    roles: dict[str, str] = field(default_factory=dict)

    def reasons(self) -> dict[str, int]:
        """Return how often each ``field: reason`` stands in the ledger, most frequent first."""
        names = self.ledger["field"].to_pylist()
        reasons = self.ledger["reason"].to_pylist()
        counted = Counter(
            reason if name is None else f"{name}: {reason}"
            for name, reason in zip(names, reasons, strict=True)
        )
        return dict(counted.most_common())

    def __repr__(self) -> str:
        text = self._summary()
        if self.rejected:
            text += "\n" + text_table(LEDGER_SCHEMA.names, self._first(), _EXCERPT)
        return text + self._more(".ledger")

    def _repr_html_(self) -> str:
        table = html_table(LEDGER_SCHEMA.names, self._first()) if self.rejected else ""
        more = self._more("<code>.ledger</code>")
        return f"<div {UNTYPESET}><p>{escape(self._summary())}</p>{table}{more}</div>"

    def _summary(self) -> str:
        return (
            f"{visible(self.source)}: {self.read:,} read = {self.kept:,} kept + "
            f"{self.duplicates:,} duplicates + {self.rejected:,} rejected ({self.seconds:.1f} s)"
        )

    def _more(self, where: str) -> str:
        return f"\n… {self.rejected - _SHOWN:,} more in {where}" if self.rejected > _SHOWN else ""

    def _first(self) -> list[tuple[Any, ...]]:
        rows = self.ledger.slice(0, _SHOWN).to_pylist()
        return [tuple(row[name] for name in LEDGER_SCHEMA.names) for row in rows]


def refusal(line: int, field: str | None, reason: str, excerpt: object = None) -> Refusal:
    """Return one entry of the ledger, its excerpt cut short."""
    return line, field, _clean(reason), None if excerpt is None else _cut(excerpt)


def _clean(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _cut(value: object) -> str:
    text = _clean(value if isinstance(value, str) else repr(value))
    return text if len(text) <= _EXCERPT else text[: _EXCERPT - 1] + "…"
