"""How each field of an aggregate is folded: the fastest way that gives what Python gives.

Tier 1 folds are sums, minima, last values and the like, which DuckDB does in one pass.
Tier 2 adds conditions on fields that have few values (a status), worked out beforehand as
a finite automaton.  Tier 3 is the class itself, run by Python.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from types import FunctionType
from typing import Any, Literal

from esnb.aggregate.event import Event
from esnb.aggregate.expressions import Expression, NotTraced, literal
from esnb.aggregate.kinds import Kind, kind_of_value
from esnb.aggregate.reach import changed
from esnb.aggregate.tracing import Tree, Way, leaves, trace
from esnb.aggregate.updates import (
    Keep,
    Update,
    choices_of,
    conditions_of,
    projected,
    reads_of,
    shaped,
)

__all__ = ["FieldPlan", "Plan", "in_python", "plan"]

MAX_STATES = 4096
_PYTHON_SCALE = 12

FoldName = Literal["latest", "sum", "running", "min", "max", "first", "collection", "python"]


@dataclass(frozen=True)
class FieldPlan:
    """How one field is folded.

    Attributes
    ----------
    tier, fold
        See the module.
    why
        Why it is not of a lower tier, or what to know of it; empty otherwise.
    updates
        What the events of each type do to it; types that keep it are not there.
    reads
        The fields of few values that its conditions read.
    """

    name: str
    kind: Kind
    default: Any
    tier: int
    fold: FoldName
    why: str = ""
    updates: Mapping[str, Update] = field(default_factory=dict)
    reads: frozenset[str] = frozenset()

    @property
    def boxed(self) -> bool:
        """Whether an event may say None of it, which is something else than nothing."""
        return self.fold == "running" or any(
            choice.op == "set" and choice.given.kind.nullable
            for update in self.updates.values()
            for choice in choices_of(update)
        )


@dataclass(frozen=True)
class Plan:
    """How an aggregate class is folded.

    Attributes
    ----------
    fields
        By name, in the order of the class.
    control
        The fields of few values, on which conditions depend.
    trees
        What tracing found, by event type; types whose handler Python has to run are not there.
    untraced
        Why not, for those.
    raises
        Ways through handlers that raise whatever the state is: event type, way, message.
    domains
        The values that each of the `control` fields can have.
    """

    fields: Mapping[str, FieldPlan]
    control: tuple[str, ...]
    trees: Mapping[str, Tree]
    untraced: Mapping[str, str]
    raises: tuple[tuple[str, Way, str], ...]
    domains: Mapping[str, tuple[Any, ...]]

    @property
    def python(self) -> tuple[str, ...]:
        """The fields that Python folds."""
        return tuple(name for name, field in self.fields.items() if field.tier == 3)


def plan(
    owner: type,
    handlers: Mapping[str, tuple[type[Event], FunctionType]],
    kinds: Mapping[str, Kind],
    defaults: Mapping[str, Any],
) -> Plan:
    """Trace the handlers of a class and choose a fold for each field."""
    trees, untraced, kinds = _traced(owner, handlers, kinds, defaults)
    by_python: dict[str, str] = {}
    for event_type, reason in untraced.items():
        for name in changed(owner, handlers[event_type][1], kinds):
            by_python.setdefault(name, f"{event_type}: {reason}")
    updates = {
        name: {
            event_type: update
            for event_type, tree in trees.items()
            if (update := shaped(projected(tree, name), name, kinds[name])) != Keep
        }
        for name in kinds
    }
    choice = _Choosing(kinds, defaults, updates, by_python)
    fields = {name: choice.field(name) for name in kinds}
    control = sorted(set().union(*(field.reads for field in fields.values())))
    raises = tuple(
        (event_type, way, leaf.raised)
        for event_type, tree in trees.items()
        for way, leaf in leaves(tree)
        if leaf.raised is not None and not any(condition.reads() for condition, _ in way)
    )
    domains = {name: tuple(choice.values(name)) for name in control}
    return Plan(fields, tuple(control), trees, untraced, raises, domains)


def in_python(given: Plan, why: str) -> Plan:
    """Return a plan that folds every field with Python."""
    fields = {
        name: FieldPlan(name, _for_python(field.kind), field.default, 3, "python", why)
        for name, field in given.fields.items()
    }
    return replace(given, fields=fields, control=(), raises=(), domains={})


def _for_python(kind: Kind) -> Kind:
    """Return a kind whose column has room for what Python's arithmetic may give."""
    return replace(kind, scale=_PYTHON_SCALE) if kind.name == "decimal" else kind


def _with_scale(name: str, kind: Kind, default: Any, trees: Iterable[Tree]) -> Kind:
    """Return the kind of a decimal field with room for all digits that it is given."""
    if kind.name != "decimal":
        return kind
    given = [
        value.kind.scale
        for tree in trees
        for _, leaf in leaves(tree)
        if (value := leaf.values.get(name)) is not None and value.kind.name == "decimal"
    ]
    own = kind_of_value(default).scale if isinstance(default, Decimal) else 0
    return replace(kind, scale=max(kind.scale, own, *given, 0))


def _traced(
    owner: type,
    handlers: Mapping[str, tuple[type[Event], FunctionType]],
    kinds: Mapping[str, Kind],
    defaults: Mapping[str, Any],
) -> tuple[dict[str, Tree], dict[str, str], dict[str, Kind]]:
    """Trace all handlers; a field that may get None anywhere is one that may be None."""
    kinds = {
        name: kind.or_none() if defaults[name] is None and not kind.collection else kind
        for name, kind in kinds.items()
    }
    while True:
        trees: dict[str, Tree] = {}
        untraced: dict[str, str] = {}
        for event_type, (event, handler) in handlers.items():
            try:
                trees[event_type] = trace(owner, handler, event, kinds)
            except NotTraced as reason:
                untraced[event_type] = str(reason)
        widened = {
            name
            for tree in trees.values()
            for _, leaf in leaves(tree)
            for name, value in leaf.values.items()
            if value.kind.nullable and not kinds[name].nullable
        }
        if not widened:
            kinds = {
                name: _with_scale(name, kind, defaults[name], trees.values())
                for name, kind in kinds.items()
            }
            return trees, untraced, kinds
        kinds = {name: kind.or_none() if name in widened else kind for name, kind in kinds.items()}


class _Choosing:
    def __init__(
        self,
        kinds: Mapping[str, Kind],
        defaults: Mapping[str, Any],
        updates: Mapping[str, Mapping[str, Update]],
        by_python: Mapping[str, str],
    ) -> None:
        self.kinds = kinds
        self.defaults = defaults
        self.updates = updates
        self.by_python = by_python
        self._values: dict[str, tuple[Any, ...] | str] = {}

    def field(self, name: str) -> FieldPlan:
        kind, default = self.kinds[name], self.defaults[name]
        updates = self.updates[name]

        def python(why: str) -> FieldPlan:
            return FieldPlan(name, _for_python(kind), default, 3, "python", why)

        if name in self.by_python:
            return python(self.by_python[name])
        if not kind.scalar and not kind.collection:
            return python(f"SQL has no type for its values ({kind.name})")
        if kind.collection and (kind.sql == "VARCHAR"):
            return python("SQL has no type for what it holds")
        try:
            literal(None if kind.collection else default)
        except NotTraced as reason:
            return python(f"its default is {reason}")
        reads = frozenset[str]().union(*(reads_of(update) for update in updates.values()))
        closed = self._closed(reads)
        if isinstance(closed, str):
            return python(closed)
        fold, why = self._fold(kind, updates)
        if fold == "python":
            return python(why)
        if reads and fold in ("running", "collection"):
            what = "a sum that is set anew" if fold == "running" else f"a {kind.name}"
            return python(f"{what}, and reads {', '.join(sorted(reads))}")
        if reads:
            why = "; ".join(filter(None, [f"reads {', '.join(sorted(reads))}", why]))
        return FieldPlan(name, kind, default, 2 if reads else 1, fold, why, updates, closed)

    def _fold(self, kind: Kind, updates: Mapping[str, Update]) -> tuple[FoldName, str]:
        ops = {
            choice.op
            for update in updates.values()
            for choice in choices_of(update)
            if choice.op not in ("keep", "raise")
        }
        if kind.collection:
            return "collection", ""
        if ops <= {"set"}:
            return "latest", ""
        strict = any(
            choice.strict or choice.lenient
            for update in updates.values()
            for choice in choices_of(update)
        )
        if ops <= {"set", "add"}:
            why = "floats are added in the order of the events" if kind.name == "float" else ""
            again = "set" in ops or strict or kind.name == "float"
            return ("running" if again else "sum"), why
        if len(ops) == 1 and not strict:
            (op,) = ops
            if op in ("min", "max", "first"):
                return op, ""
        return "python", f"a mixture of {', '.join(sorted(ops))}"

    def _closed(self, reads: frozenset[str]) -> frozenset[str] | str:
        """Return all fields that `reads` depend on, or why they cannot be worked out."""
        todo, done = list(reads), set[str]()
        states = 1
        while todo:
            name = todo.pop()
            if name in done:
                continue
            values = self.values(name)
            if isinstance(values, str):
                return f"reads {name}, {values}"
            states *= len(values)
            if states > MAX_STATES:
                return f"reads fields with more than {MAX_STATES} combinations of values"
            done.add(name)
            for update in self.updates[name].values():
                todo.extend(reads_of(update))
        for name in done:
            for update in self.updates[name].values():
                for condition in conditions_of(update):
                    if _mixed(condition):
                        return f"reads {name}, which is compared with a field of the event"
        return frozenset(done)

    def values(self, name: str) -> tuple[Any, ...] | str:
        """Return the few values that a field can have, or why they are not few."""
        if name not in self._values:
            self._values[name] = f"which depends on itself through {name}"
            self._values[name] = self._domain(name)
        return self._values[name]

    def _domain(self, name: str) -> tuple[Any, ...] | str:
        kind = self.kinds[name]
        if name in self.by_python:
            return "which Python folds"
        if kind.collection or not kind.scalar:
            return f"a {kind.name}, which can have any value"
        found: list[Any] = [self.defaults[name]]
        copied: list[str] = []
        for update in self.updates[name].values():
            for choice in choices_of(update):
                if choice.op in ("keep", "raise"):
                    continue
                value = choice.value
                if choice.op not in ("set", "first") or value is None:
                    return "which can have any value"
                if value.op == "literal":
                    found.append(value.args[0])
                elif value.op == "event" and value.kind.domain is not None:
                    found.extend(value.kind.domain)
                    if value.kind.nullable:
                        found.append(None)
                elif value.op == "state":
                    copied.append(value.args[0])
                else:
                    return "which can have any value"
        for other in copied:
            if other != name:
                values = self.values(other)
                if isinstance(values, str):
                    return values
                found.extend(values)
        unique: list[Any] = []
        for value in found:
            if not any(type(value) is type(known) and value == known for known in unique):
                unique.append(value)
        return tuple(unique)


def _mixed(condition: Expression) -> bool:
    """Tell whether one condition depends on the state and on the event at once."""
    return bool(condition.reads()) and any(
        part.op in ("event", "meta") for part in condition.parts()
    )
