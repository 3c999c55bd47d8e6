"""Rows for a file that somebody opens elsewhere: CSV that a spreadsheet does not run, and JSON."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from esnb import instants

__all__ = ["csv_text", "file_name", "json_text", "safe"]

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)
_UNFIT = re.compile(r"[^a-z0-9]+", re.ASCII)


def safe(value: object) -> str:
    """Return a cell of a CSV file that no spreadsheet takes for a formula.

    Text that begins like one gets an apostrophe in front; a plain number stays one.

    >>> safe("=1+2"), safe("@sum(a1)"), safe("-5.00"), safe("-5+cmd"), safe(None)
    ("'=1+2", "'@sum(a1)", '-5.00', "'-5+cmd", '')
    """
    text = _plain(value)
    if text is None:
        return ""
    # Blanks in front are taken off by some before they look.
    begins = text.lstrip()[:1] in ("=", "+", "-", "@") or text[:1] in ("\t", "\r", "\n")
    return f"'{text}" if begins and not _NUMBER.fullmatch(text) else text


def csv_text(names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return rows as CSV (RFC 4180); the first line names the columns."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow([safe(name) for name in names])
    writer.writerows([safe(value) for value in row] for row in rows)
    return file.getvalue()


def json_text(
    names: Sequence[str], rows: Iterable[Sequence[object]], about: Mapping[str, Any]
) -> str:
    """Return an object that says what the rows are, and has them under ``rows``."""
    made = [dict(zip(names, map(_value, row), strict=True)) for row in rows]
    return json.dumps({**about, "rows": made}, ensure_ascii=False, indent=1)


def file_name(*parts: str, end: str) -> str:
    """Return a file name of letters, digits and dashes, whatever the parts hold.

    >>> file_name("diff", "../ord\\u202eer", end="csv")
    'diff-ord-er.csv'
    """
    words = [_UNFIT.sub("-", part.lower()).strip("-")[:40] for part in parts]
    return "-".join(word for word in words if word) + f".{end}"


def _value(value: object) -> object:
    # Whole numbers past 2**53 would lose digits where JSON's numbers are doubles.
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**53 else str(value)
    return value if isinstance(value, float) else _plain(value)


def _plain(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, datetime):
        return instants.iso(value) if value.tzinfo else value.isoformat()
    if isinstance(value, date | Decimal):
        return str(value)
    return value if isinstance(value, str) else str(value)
