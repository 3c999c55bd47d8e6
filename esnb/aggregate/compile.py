"""What each event says of a field, as one SQL expression over the row ``e`` of an event.

``e.handled`` is the type of an event that the class handles, NULL for the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from esnb.aggregate.layout import Layout
from esnb.aggregate.plan import FieldPlan, Plan
from esnb.aggregate.render import PYTHON_NEEDED, render
from esnb.aggregate.tracing import Way
from esnb.aggregate.updates import Choice, Update
from esnb.sqltext import literal

__all__ = ["case_of", "guard_of", "said_of"]

_RAISES = f"{PYTHON_NEEDED} (a handler raises on an event)"


def said_of(field: FieldPlan, layout: Layout) -> str:
    """Return what an event says of a field, NULL where it says nothing.

    A last value that may be NULL comes as ``{'v': …}``.  A sum that is ever set
    comes as ``{'given': …, 'step': …}``: set to one, or moved by the other; ``needs`` is 1
    where it must not be NULL before, 2 where it then stays so; decimals are whole numbers of
    their last digit there.  What is done to a collection comes as a list of steps.
    """
    kind = field.kind.sql

    def value(choice: Choice, event_type: str) -> str:
        sql = render(choice.given, layout, event_type)
        if field.fold == "sum" and field.kind.name == "decimal":
            return sql  # narrower types are added faster, and the sum gets its type at the end
        sql = f"CAST({sql} AS {kind})"
        if field.fold == "running" and field.kind.name == "decimal":
            # As a whole number of its last digit.
            return f"CAST({sql} * {10**field.kind.scale} AS BIGINT)"
        return sql

    def told(choice: Choice, event_type: str) -> str:
        if choice.op == "keep":
            return "NULL"
        if choice.op == "raise":
            return f"error({literal(_RAISES)})"
        if field.fold == "latest" and field.boxed:
            return f"{{'v': {value(choice, event_type)}}}"
        if field.fold == "running":
            at, by = (
                ("NULL", value(choice, event_type))
                if choice.op == "add"
                else (value(choice, event_type), "NULL")
            )
            boxed = f"{{'v': {at}}}" if choice.op == "set" else "NULL"
            needs = 2 if choice.lenient else int(choice.strict)
            return f"{{'given': {boxed}, 'step': {by}, 'needs': {needs}}}"
        if field.fold == "collection":
            return _steps(field, choice, layout, event_type)
        return value(choice, event_type)

    return case_of(field.updates, told, layout)


def _steps(field: FieldPlan, choice: Choice, layout: Layout, event_type: str) -> str:
    kind = field.kind
    key = (kind.key if kind.name == "dict" else kind.item) or kind
    item = kind.item or kind
    steps = []
    for change in choice.changes:
        args = [render(arg, layout, event_type) for arg in change.args]
        k = f"CAST({args[0] if args else 'NULL'} AS {key.sql})"
        v = f"CAST({args[1] if len(args) > 1 else 'NULL'} AS {item.sql})"
        d = f"CAST({args[2] if len(args) > 2 else 'NULL'} AS {item.sql})"
        steps.append(f"{{'op': {literal(change.op)}, 'k': {k}, 'v': {v}, 'd': {d}}}")
    return f"[{', '.join(steps)}]"


Told = Callable[[Choice, str], str]


def case_of(updates: Mapping[str, Update], told: Told, layout: Layout) -> str:
    """Return the CASE over types and conditions; types that do the same share a branch."""
    branches: dict[str, list[str]] = {}
    for event_type, update in updates.items():
        branches.setdefault(_tree(update, told, layout, event_type), []).append(event_type)
    whens = "".join(
        f"\n    WHEN e.handled IN ({', '.join(map(literal, types))}) THEN {sql}"
        for sql, types in branches.items()
        if sql != "NULL"
    )
    return f"CASE{whens}\nEND" if whens else "NULL"


def _tree(update: Update, told: Told, layout: Layout, event_type: str) -> str:
    if isinstance(update, Choice):
        return told(update, event_type)
    yes = _tree(update.yes, told, layout, event_type)
    no = _tree(update.no, told, layout, event_type)
    if yes == no:
        return yes
    rest = "" if no == "NULL" else f" ELSE {no}"
    return f"CASE WHEN {render(update.condition, layout, event_type)} THEN {yes}{rest} END"


def guard_of(plan: Plan, layout: Layout) -> str | None:
    """Return SQL that fails for an event on which a handler raises whatever the state is."""
    ways = [
        f"e.handled = {literal(event_type)}" + _way(way, layout, event_type)
        for event_type, way, _ in plan.raises
    ]
    if not ways:
        return None
    joined = " OR ".join(f"({way})" for way in ways)
    return f"CASE WHEN {joined} THEN error({literal(_RAISES)}) END"


def _way(way: Way, layout: Layout, event_type: str) -> str:
    parts = []
    for condition, answer in way:
        sql = render(condition, layout, event_type)
        parts.append(f" AND {sql}" if answer else f" AND NOT coalesce({sql}, false)")
    return "".join(parts)
