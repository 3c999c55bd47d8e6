"""Events that broke a rule: what a guard in a handler turned away, with the state before."""

from __future__ import annotations

from typing import Any

from esnb.aggregate.condition import holds_sql
from esnb.aggregate.layout import Layout
from esnb.aggregate.plan import FieldPlan, Plan
from esnb.aggregate.render import constant, render_with
from esnb.aggregate.tracing import Leaf, Node, Tree, leaves
from esnb.query.names import quote
from esnb.timeline.table import Table
from esnb.timeline.text import literal

__all__ = ["breaches_sql"]

_SHOWN = (
    "stream", "revision", "position", "event_id", "event_type", "actor", "occurred_on",
    "recorded_on",
)  # fmt: skip
# What a way through a handler is called that changes nothing and names no rule.
_UNNAMED = "nothing is changed"


def breaches_sql(table: Table, plan: Plan, layout: Layout, rows: str) -> str:
    """Return the SELECT of the events that a guard turned away.

    Parameters
    ----------
    rows
        SELECT of the typed rows of the class, all columns of `layout` among them.
    """
    rules: dict[str, str] = {}
    for event_type, tree in plan.trees.items():
        if _guards(tree):
            rules[event_type] = _rule(tree, plan, layout, event_type)
    same = " AND ".join(
        f"a.{quote(name)} IS NOT DISTINCT FROM {_before(field)}"
        for name, field in plan.fields.items()
    )
    for event_type in plan.untraced:
        # Python ran these: whether they changed anything is seen in the states.
        rules[event_type] = f"CASE WHEN {same or 'true'} THEN {literal(_UNNAMED)} END"
    types = ", ".join(map(literal, rules))
    whens = "".join(
        f"\n        WHEN e.handled = {literal(event_type)} THEN {rule}"
        for event_type, rule in rules.items()
    )
    rule = f"CASE{whens} END" if whens else "NULL::VARCHAR"
    states = "".join(f", {_before(field)} AS {quote(name)}" for name, field in plan.fields.items())
    own = ", ".join(f"e.{name}" for name in _SHOWN)
    chosen = f"e.handled IN ({types})" if types else "false"
    after = (
        f"\n    JOIN {table.source} AS a ON a.stream = e.stream AND a.position = e.position"
        if plan.untraced
        else ""
    )
    return f"""
SELECT * FROM (
    SELECT {own}, {rule} AS rule{states}
    FROM (SELECT e.* FROM ({rows}) AS e WHERE {chosen}) AS e
    LEFT JOIN {table.source} AS b ON b.stream = e.stream AND b.next_position = e.position{after}
) AS found WHERE found.rule IS NOT NULL
ORDER BY found.position, found.stream
""".strip()  # noqa: S608 (identifiers quoted, constants made by `literal`)


def _guards(tree: Tree) -> bool:
    """Tell whether some ways through a handler are turned away, or name a rule."""
    ways = list(leaves(tree))
    return any(leaf.breach is not None for _, leaf in ways) or (
        any(_idle(leaf) for _, leaf in ways) and not all(_idle(leaf) for _, leaf in ways)
    )


def _idle(leaf: Leaf) -> bool:
    return (
        leaf.raised is None
        and not leaf.changes
        and all(
            value.op == "state" and value.args == (name,) for name, value in leaf.values.items()
        )
    )


def _rule(tree: Tree, plan: Plan, layout: Layout, event_type: str, *, guarded: bool = False) -> str:
    """Return SQL of the rule that an event broke, NULL if it broke none."""
    if isinstance(tree, Node):
        condition = tree.condition
        on_state = guarded or bool(condition.reads())

        def leaf(op: str, args: tuple[Any, ...]) -> str:
            if op == "event":
                return f"e.{layout.data(event_type, args[0])}"
            return f"e.{args[0]}" if op == "meta" else _before(plan.fields[args[0]])

        held = holds_sql(condition, plan, lambda name: _before(plan.fields[name]), leaf)
        held = held or render_with(condition, leaf)
        yes = _rule(tree.yes, plan, layout, event_type, guarded=on_state)
        no = _rule(tree.no, plan, layout, event_type, guarded=on_state)
        return yes if yes == no else f"CASE WHEN {held} THEN {yes} ELSE {no} END"
    if tree.breach is not None:
        return literal(tree.breach)
    return literal(_UNNAMED) if guarded and _idle(tree) else "NULL"


def _before(field: FieldPlan) -> str:
    """Return SQL of a field before the event: the default where there was no state."""
    kind = field.kind
    if kind.collection and field.default is None:
        default = f"CAST({'MAP {}' if kind.sql.startswith('MAP') else '[]'} AS {kind.sql})"
        if kind.sql == "VARCHAR":
            default = "'{}'" if kind.name == "dict" else "'[]'"
    elif kind.scalar:
        default = f"CAST({constant(field.default)} AS {kind.sql})"
    else:
        default = "NULL"
    return f"CASE WHEN coalesce(b.ended, true) THEN {default} ELSE b.{quote(field.name)} END"
