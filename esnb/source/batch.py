"""What every reader gives: batches of columns, each row with its line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from esnb.source.ledger import Ledger
from esnb.source.roles import Wants

__all__ = ["JSON_TEXT", "Batch", "Source", "unique"]

# On an Arrow field: its text is JSON, and stands in a payload as it is.
JSON_TEXT = {b"esnb": b"json"}


def _nowhere(row: int) -> str:
    return ""


@dataclass(frozen=True)
class Batch:
    """Some rows of a source.

    Attributes
    ----------
    lines
        int64 array: line in the file, or number of the row, from 1.
    columns
        Table of the columns asked for.  Two columns may differ in case only.
    built
        JSON objects that the reader made itself, by role (``data``, ``metadata``).
    rows
        The rows as mappings, when they were asked for.
    done
        How much of the source is behind us, for the progress bar.
    where
        For a row of this batch, words that help to find it besides its line.
    """

    lines: Any
    columns: Any
    built: Mapping[str, Any] = field(default_factory=dict)
    rows: Sequence[Mapping[str, Any]] = ()
    done: int = 0
    where: Callable[[int], str] = _nowhere


class Source(Protocol):
    """A file or frame that can be read.

    Attributes
    ----------
    name
        For messages.
    columns
        Names of its columns; for documents, those in the first thousand.
    schema
        Arrow types of the columns, or None where all values are text.
    size, unit
        How long it is, in bytes (``"B"``) or rows (``" rows"``).
    """

    name: str
    columns: tuple[str, ...]
    schema: Any
    size: int | None
    unit: str

    def read(self, wants: Wants, ledger: Ledger) -> Iterator[Batch]:
        """Yield the rows that could be read; what could not goes into the ledger."""
        ...


def unique(header: Sequence[str]) -> tuple[str, ...]:
    """Name what has no name, and give each further twin a number: two columns never merge."""
    taken = set(header)
    result: list[str] = []
    for place, given in enumerate(header, 1):
        name = given.strip() or f"column_{place}"
        number, candidate = 2, name
        while candidate in result or (candidate != given and candidate in taken):
            candidate, number = f"{name}_{number}", number + 1
        result.append(candidate)
    return tuple(result)
