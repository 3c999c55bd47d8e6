"""What `Aggregate.explain` shows: a table of fields, tiers, SQL and reasons."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape

from esnb.aggregate.compile import said_of
from esnb.aggregate.layout import Layout
from esnb.aggregate.plan import FieldPlan, Plan
from esnb.show import UNTYPESET

__all__ = ["Explained", "Explanation", "explained"]

_FOLDS = {
    "latest": "last value",
    "sum": "sum",
    "running": "sum since it was last set",
    "min": "least",
    "max": "greatest",
    "first": "first value",
    "collection": "steps, applied in order",
    "python": "Python",
}


@dataclass(frozen=True, repr=False)
class Explained:
    """One field: its tier, its fold, the SQL of what each event says of it, and why."""

    field: str
    tier: int
    fold: str
    sql: str
    why: str

    def lines(self, width: int = 0) -> list[str]:
        """Return the lines that tell it, the name of the field in `width` letters."""
        more = [*([self.why] if self.why else []), *self.sql.splitlines()]
        said = f"{self.field:<{width}}  tier {self.tier}  {self.fold}"
        return [said, *(f"{'':<{width}}          {line}" for line in more)]

    def __repr__(self) -> str:
        return "\n".join(self.lines(len(self.field)))

    def _repr_html_(self) -> str:
        return _table([self])


class Explanation:
    """How the fields of a class are folded; shows itself as a table.

    Attributes
    ----------
    name
        The class.
    rows
        Its fields.
    notes
        What else tracing could not see through: handlers that change no field.
    """

    def __init__(self, name: str, rows: tuple[Explained, ...], notes: tuple[str, ...] = ()) -> None:
        self.name = name
        self.rows = rows
        self.notes = notes

    def __iter__(self) -> Iterator[Explained]:
        return iter(self.rows)

    def __getitem__(self, field: str) -> Explained:
        for row in self.rows:
            if row.field == field:
                return row
        raise KeyError(field)

    def __repr__(self) -> str:
        width = max((len(row.field) for row in self.rows), default=0)
        lines = [f"  {line}" for row in self.rows for line in row.lines(width)]
        notes = [f"  {note}" for note in self.notes]
        return "\n".join([f"{self.name}: how each field is folded", *lines, *notes])

    def _repr_html_(self) -> str:
        notes = "".join(f"<p {UNTYPESET}>{escape(note)}</p>" for note in self.notes)
        return _table(self.rows, f"{self.name}: how each field is folded") + notes


def explained(name: str, plan: Plan, layout: Layout) -> Explanation:
    """Return the explanation of a plan."""
    rows = tuple(
        Explained(field.name, field.tier, _FOLDS[field.fold], _sql(field, layout), field.why)
        for field in plan.fields.values()
    )
    notes = tuple(
        f"{event_type}: {reason}"
        for event_type, reason in plan.untraced.items()
        if not any(f"{event_type}: {reason}" in row.why for row in rows)
    )
    return Explanation(name, rows, notes)


def _sql(field: FieldPlan, layout: Layout) -> str:
    return "" if field.tier == 3 else said_of(field, layout)


def _table(rows: Iterable[Explained], caption: str = "") -> str:
    # Left is not where a notebook puts text.
    left = "<td style='text-align:left;vertical-align:top'>"
    sql = "<pre style='margin:0;background:transparent;white-space:pre-wrap'>"
    body = "".join(
        f"<tr>{left}<b>{escape(row.field)}</b></td>{left}{row.tier}</td>{left}{escape(row.fold)}"
        + (f"<br><small>{escape(row.why)}</small>" if row.why else "")
        + f"</td>{left}{sql}{escape(row.sql)}</pre></td></tr>"
        for row in rows
    )
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    heads = "".join(
        f"<th style='text-align:left'>{head}</th>"
        for head in ("field", "tier", "fold", "what an event says of it")
    )
    return f"<table {UNTYPESET}>{title}<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"
