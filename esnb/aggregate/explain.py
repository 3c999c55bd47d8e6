"""What `Aggregate.explain` shows: a table of fields, tiers, SQL and reasons."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from esnb.aggregate.compile import said_of
from esnb.aggregate.layout import Layout
from esnb.aggregate.plan import FieldPlan, Plan

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


@dataclass(frozen=True)
class Explained:
    """One field: its tier, its fold, the SQL of what each event says of it, and why."""

    field: str
    tier: int
    fold: str
    sql: str
    why: str


class Explanation:
    """How the fields of a class are folded; shows itself as a table."""

    def __init__(self, name: str, rows: tuple[Explained, ...]) -> None:
        self.name = name
        self.rows = rows

    def __iter__(self) -> Iterator[Explained]:
        return iter(self.rows)

    def __getitem__(self, field: str) -> Explained:
        for row in self.rows:
            if row.field == field:
                return row
        raise KeyError(field)

    def __repr__(self) -> str:
        width = max((len(row.field) for row in self.rows), default=0)
        lines = [f"{self.name}: how each field is folded"]
        for row in self.rows:
            lines.append(f"  {row.field:<{width}}  tier {row.tier}  {row.fold}")
            if row.why:
                lines.append(f"  {'':<{width}}          {row.why}")
            if row.sql:
                lines += [f"  {'':<{width}}          {line}" for line in row.sql.splitlines()]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        body = "".join(
            f"<tr><td>{escape(row.field)}</td><td>{row.tier}</td><td>{escape(row.fold)}</td>"
            f"<td style='text-align:left'>{escape(row.why)}</td>"
            f"<td style='text-align:left'><code style='white-space:pre-wrap'>{escape(row.sql)}"
            "</code></td></tr>"
            for row in self.rows
        )
        return (
            f"<table><caption>{escape(self.name)}: how each field is folded</caption><thead><tr>"
            "<th>field</th><th>tier</th><th>fold</th><th>why</th><th>what an event says</th>"
            f"</tr></thead><tbody>{body}</tbody></table>"
        )


def explained(name: str, plan: Plan, layout: Layout) -> Explanation:
    """Return the explanation of a plan."""
    return Explanation(
        name,
        tuple(
            Explained(field.name, field.tier, _FOLDS[field.fold], _sql(field, layout), field.why)
            for field in plan.fields.values()
        ),
    )


def _sql(field: FieldPlan, layout: Layout) -> str:
    return "" if field.tier == 3 else said_of(field, layout)
