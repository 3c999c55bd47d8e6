"""Rules on fields of few values, as a finite automaton.

Its states are the combinations of values that the fields can have together; its symbols
are what an event can mean to them: its type, and which of the handler's conditions on the
event itself hold.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from esnb.aggregate.expressions import Expression
from esnb.aggregate.layout import Layout
from esnb.aggregate.plan import Plan
from esnb.aggregate.render import constant, render
from esnb.aggregate.updates import Choice, Update, Updates
from esnb.sqltext import literal

__all__ = ["Automaton", "automaton"]

# The state after an event on which the handler raises.
RAISED = -1


@dataclass(frozen=True)
class Automaton:
    """The rules of a class on its fields of few values.

    Attributes
    ----------
    fields
        Names of the fields.
    states
        Each state, as the values of the fields in that order; the first one is the begin.
    moves
        For each symbol, the state after it by the state before; `RAISED` where the handler
        raises.  Symbol 0 keeps all.
    symbol
        SQL of the symbol of a row ``e``.
    """

    fields: tuple[str, ...]
    states: tuple[tuple[Any, ...], ...]
    moves: tuple[tuple[int, ...], ...]
    symbol: str


def automaton(plan: Plan, domains: Mapping[str, Sequence[Any]], layout: Layout) -> Automaton:
    """Return the automaton of the fields that conditions of `plan` read."""
    fields = plan.control
    states = list(itertools.product(*(domains[name] for name in fields)))
    start = tuple(plan.fields[name].default for name in fields)
    states.sort(key=lambda state: state != start)
    place = {_key(state): number for number, state in enumerate(states)}
    moves: list[tuple[int, ...]] = [tuple(range(len(states)))]
    known: dict[tuple[int, ...], int] = {moves[0]: 0}
    branches: dict[str, list[str]] = {}
    for event_type in dict.fromkeys(
        event_type for name in fields for event_type in plan.fields[name].updates
    ):
        updates = {
            name: plan.fields[name].updates[event_type]
            for name in fields
            if event_type in plan.fields[name].updates
        }
        meaning = _Meaning(updates)
        codes = []
        for said in meaning.all():
            move = tuple(_after(updates, fields, state, said, place) for state in states)
            if move not in known:
                known[move] = len(moves)
                moves.append(move)
            codes.append(known[move])
        branches.setdefault(meaning.sql(codes, layout, event_type), []).append(event_type)
    whens = "".join(
        f" WHEN e.handled IN ({', '.join(map(literal, types))}) THEN {sql}"
        for sql, types in branches.items()
        if sql != "0"
    )
    symbol = f"CAST(CASE{whens} ELSE 0 END AS INTEGER)" if whens else "CAST(0 AS INTEGER)"
    return Automaton(fields, tuple(states), tuple(moves), symbol)


def _key(state: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple((type(value), value) for value in state)


class _Meaning:
    """All that an event of one type can mean: answers to its conditions, and values it gives."""

    def __init__(self, updates: Mapping[str, Update]) -> None:
        self.conditions: dict[Any, Expression] = {}
        self.given: dict[Any, Expression] = {}
        for update in updates.values():
            self._look(update)

    def _look(self, update: Update) -> None:
        if isinstance(update, Updates):
            if not update.condition.reads():
                self.conditions[update.condition.key] = update.condition
            self._look(update.yes)
            self._look(update.no)
        elif update.value is not None and update.value.op == "event":
            self.given[update.value.key] = update.value

    def all(self) -> list[dict[Any, Any]]:
        """Return every combination, in the order that `sql` counts them."""
        answers = [[(key, False), (key, True)] for key in self.conditions]
        values = [[(key, one) for one in _domain(value)] for key, value in self.given.items()]
        return [dict(one) for one in itertools.product(*answers, *values)]

    def sql(self, codes: list[int], layout: Layout, event_type: str) -> str:
        """Return SQL of the code of the combination that an event is."""
        if len(set(codes)) == 1:
            return str(codes[0])
        parts: list[str] = []
        size = len(codes)
        for condition in self.conditions.values():
            size //= 2
            held = f"coalesce({render(condition, layout, event_type)}, false)"
            parts.append(f"CASE WHEN {held} THEN {size} ELSE 0 END")
        for value in self.given.values():
            domain = _domain(value)
            size //= len(domain)
            column = render(value, layout, event_type)
            whens = "".join(
                f" WHEN {column} IS NOT DISTINCT FROM {constant(one)} THEN {number * size}"
                for number, one in enumerate(domain)
            )
            parts.append(f"CASE{whens} END")
        listed = ", ".join(map(str, codes))
        return f"[{listed}][1 + {' + '.join(parts)}]"


def _domain(value: Expression) -> list[Any]:
    return [*(value.kind.domain or ()), *([None] if value.kind.nullable else [])]


def _after(
    updates: Mapping[str, Update],
    fields: tuple[str, ...],
    state: tuple[Any, ...],
    said: Mapping[Any, Any],
    place: Mapping[tuple[Any, ...], int],
) -> int:
    before = dict(zip(fields, state, strict=True))
    after = dict(before)
    for name, update in updates.items():
        choice = _chosen(update, before, said)
        if choice.op == "raise":
            return RAISED
        if choice.op == "keep" or (choice.op == "first" and before[name] is not None):
            continue
        value = choice.given
        if value.op == "event":
            after[name] = said[value.key]
        else:
            after[name] = evaluate(value, before)
    # A combination of answers that no event gives may lead nowhere; nothing ever goes there.
    return place.get(_key(tuple(after.values())), RAISED)


def _chosen(update: Update, before: Mapping[str, Any], said: Mapping[Any, Any]) -> Choice:
    while isinstance(update, Updates):
        condition = update.condition
        held = evaluate(condition, before) if condition.reads() else said[condition.key]
        update = update.yes if held else update.no
    return update


def evaluate(value: Expression, state: Mapping[str, Any]) -> Any:
    """Return what an expression over the state alone is for one state."""
    if value.op == "literal":
        return value.args[0]
    if value.op == "state":
        return state[value.args[0]]
    if value.op == "is_none":
        return evaluate(value.args[0], state) is None
    args = [evaluate(arg, state) for arg in value.args]
    if value.op not in ("=", "=?", "not") and any(arg is None for arg in args):
        return False  # a way that tracing has closed: where it is None, another leaf is reached
    return _EVALUATED[value.op](*args)


_EVALUATED: dict[str, Callable[..., Any]] = {
    "=": operator.eq,
    "=?": operator.eq,
    "not": operator.not_,
    "<": operator.lt,
    "<=": operator.le,
    "and": lambda a, b: a and b,
    "or": lambda a, b: a or b,
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "negate": operator.neg,
    "abs": abs,
    "concat": operator.add,
    "contains": operator.contains,
    "startswith": str.startswith,
    "endswith": str.endswith,
    "lower": str.lower,
    "upper": str.upper,
    "strip": str.strip,
    "lstrip": str.lstrip,
    "rstrip": str.rstrip,
    "removeprefix": str.removeprefix,
    "removesuffix": str.removesuffix,
    "value": lambda member: member.value,
}
