"""A condition on the state, written as a function of the aggregate, as SQL."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

from esnb.aggregate.expressions import Expression, NotTraced
from esnb.aggregate.plan import Plan
from esnb.aggregate.render import render_with
from esnb.aggregate.tracing import Node, Tree, trace_condition
from esnb.errors import AggregateError

__all__ = ["condition_sql", "holds_sql"]

Leaf = Callable[[str, tuple[Any, ...]], str]


def condition_sql(
    owner: type, plan: Plan, condition: Callable[[Any], Any], column: Callable[[str], str]
) -> str:
    """Return SQL of a condition such as ``lambda o: o.status == "pending" and o.total > 10``.

    Parameters
    ----------
    column
        Gives the SQL of a field of the state.

    Raises
    ------
    AggregateError
        If tracing cannot see through the function.
    """
    if not isinstance(condition, FunctionType):
        raise AggregateError(f"{condition!r} is no function of Python's own; write a lambda")
    kinds = {name: field.kind for name, field in plan.fields.items()}
    try:
        tree = trace_condition(owner, condition, kinds)
    except NotTraced as reason:
        raise AggregateError(
            f"SQL cannot ask this: {reason}. Say the condition in SQL, e.g. \"status = 'pending'\""
        ) from None

    def leaf(name: str, args: tuple[Any, ...]) -> str:
        if name == "state":
            return column(args[0])
        raise AggregateError("a condition on the state can only read the state")

    def sql(tree: Tree) -> str:
        if isinstance(tree, Node):
            held = holds_sql(tree.condition, plan, column, leaf)
            held = held or render_with(tree.condition, leaf)
            return f"CASE WHEN {held} THEN {sql(tree.yes)} ELSE {sql(tree.no)} END"
        if tree.raised is not None:
            return "false"  # as `None < 3`: there is no answer, so it does not hold
        return "true" if tree.answer else "false"

    return sql(tree)


def holds_sql(
    condition: Expression, plan: Plan, column: Callable[[str], str], leaf: Leaf
) -> str | None:
    """Return SQL of ``x in self.tags``, or None if `condition` is another."""
    if condition.op != "holds":
        return None
    name, value = condition.args
    keys = column(name)
    if plan.fields[name].kind.name == "dict":
        keys = f"map_keys({keys})"
    return f"coalesce(list_contains({keys}, {render_with(value, leaf)}), false)"
