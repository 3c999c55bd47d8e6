"""What each event does to one field: the forks of a handler, seen from that field.

Where a field is compared with itself, that is recognised for what it is: the first value, the
least or the greatest, a sum that wants a value to add to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from esnb.aggregate.expressions import Expression
from esnb.aggregate.kinds import Kind
from esnb.aggregate.tracing import Change, Leaf, Tree, Way
from esnb.aggregate.tracing import Node as Fork

__all__ = [
    "Choice",
    "Keep",
    "Update",
    "Updates",
    "choices_of",
    "conditions_of",
    "projected",
    "reads_of",
    "shaped",
]

Op = Literal["keep", "set", "add", "min", "max", "first", "change", "raise", "any"]


class _ByKey:
    """Compared by what it does: expressions do not compare, they ask."""

    key: Any

    def __eq__(self, other: object) -> bool:
        # Most are compared with `Keep`, and are it.
        return self is other or (isinstance(other, _ByKey) and self.key == other.key)

    def __hash__(self) -> int:
        return hash(self.key)


@dataclass(frozen=True, eq=False)
class Choice(_ByKey):
    """What one way through a handler does to one field.

    Attributes
    ----------
    op
        ``keep``; ``set`` to a value; ``add`` a value; take the ``min`` or ``max`` with one;
        ``first``: set it if it is None; ``change`` a collection; ``raise``; ``any``: it
        raises for another field's sake, so that it does not matter here.
    value
        What it is set to, or combined with.
    changes
        What is done to a collection.
    strict, lenient
        Where the field is None it raises, or keeps it.
    message
        What is raised.
    """

    op: Op
    value: Expression | None = None
    changes: tuple[Change, ...] = ()
    strict: bool = False
    lenient: bool = False
    message: str = ""

    @property
    def given(self) -> Expression:
        """The value, of a choice that has one."""
        if self.value is None:
            raise ValueError(f"{self.op} has no value")
        return self.value

    @cached_property
    def key(self) -> Any:
        """What two choices that do the same have in common."""
        changes = tuple((change.op, *(arg.key for arg in change.args)) for change in self.changes)
        value = None if self.value is None else self.value.key
        return (self.op, value, changes, self.strict, self.lenient, self.message)


@dataclass(frozen=True, eq=False)
class Updates(_ByKey):
    """A fork between what is done to one field."""

    condition: Expression
    yes: Update
    no: Update

    @cached_property
    def key(self) -> Any:
        """What two forks that do the same have in common."""
        return (self.condition.key, self.yes.key, self.no.key)


Update = Choice | Updates
Keep = Choice("keep")


def projected(tree: Tree, name: str, way: Way = ()) -> Update:
    if isinstance(tree, Fork):
        yes = projected(tree.yes, name, (*way, (tree.condition, True)))
        no = projected(tree.no, name, (*way, (tree.condition, False)))
        return _fork(tree.condition, yes, no)
    return _choice(tree, name, way)


def _fork(condition: Expression, yes: Update, no: Update) -> Update:
    if yes.key == no.key or (isinstance(no, Choice) and no.op == "any"):
        return yes
    if isinstance(yes, Choice) and yes.op == "any":
        return no
    return Updates(condition, yes, no)


def _choice(leaf: Leaf, name: str, way: Way) -> Choice:
    if leaf.raised is not None:
        asked = frozenset[str]().union(*(condition.reads() for condition, _ in way))
        return Choice("raise", message=leaf.raised) if name in asked else Choice("any")
    if name in leaf.changes:
        return Choice("change", changes=leaf.changes[name])
    value = leaf.values.get(name)
    if value is None or _is_state(value, name):
        return Keep
    step = _added(value, name)
    return Choice("set", value) if step is None else Choice("add", step)


def _is_state(value: Expression, name: str) -> bool:
    return value.op == "state" and value.args[0] == name


def _added(value: Expression, name: str) -> Expression | None:
    """Return what is added to the field if `value` is the field and something more."""
    if value.op not in ("+", "-"):
        return None
    a: Expression = value.args[0]
    b: Expression = value.args[1]
    if value.op == "+" and name in b.reads() and name not in a.reads():
        a, b = b, a
    if name in b.reads():
        return None
    if _is_state(a, name):
        return b if value.op == "+" else -b
    rest = _added(a, name)
    if rest is None:
        return None
    return rest + b if value.op == "+" else rest - b


def shaped(update: Update, name: str, kind: Kind) -> Update:
    """Recognise first, min, max and strict sums in the forks of a field on itself."""
    if isinstance(update, Choice):
        return Keep if update.op == "any" else update
    yes, no = shaped(update.yes, name, kind), shaped(update.no, name, kind)
    condition = update.condition
    if condition.op == "is_none" and _is_state(condition.args[0], name):
        if no == Keep:
            first = _each(yes, _as_first)
            if first is not None and name not in reads_of(first):
                return first
        if yes == Keep:
            lenient = _each(no, _as_lenient)
            if lenient is not None:
                return lenient
        if isinstance(yes, Choice) and yes.op == "raise":
            strict = _each(no, _as_strict)
            if strict is not None:
                return strict
        if (
            isinstance(yes, Choice)
            and yes.op == "set"
            and isinstance(no, Choice)
            and no.op in ("min", "max")
            and _same(no.value, yes.given)
        ):
            return replace(no, strict=False)
    if condition.op in ("<", "<=") and isinstance(yes, Choice) and isinstance(no, Choice):
        a, b = condition.args
        for one, other, less, more in ((a, b, "min", "max"), (b, a, "max", "min")):
            # `one` is what is compared with the field; the condition says it is less (or more).
            if not _is_state(other, name) or name in one.reads():
                continue
            if no == Keep and yes.op == "set" and _same(yes.value, one):
                return Choice(less, one, strict=kind.nullable)  # type: ignore[arg-type]
            if yes == Keep and no.op == "set" and _same(no.value, one):
                return Choice(more, one, strict=kind.nullable)  # type: ignore[arg-type]
    return _fork(condition, yes, no)


def _same(a: Expression | None, b: Expression) -> bool:
    return a is not None and a.key == b.key


def _each(update: Update, change: Callable[[Choice], Choice | None]) -> Update | None:
    """Return `update` with each choice changed, or None if one cannot be."""
    if isinstance(update, Choice):
        return change(update)
    yes, no = _each(update.yes, change), _each(update.no, change)
    return None if yes is None or no is None else _fork(update.condition, yes, no)


def _as_first(choice: Choice) -> Choice | None:
    if choice.op == "keep":
        return choice
    if choice.op != "set" or choice.value is None:
        return None
    if choice.value.op == "literal" and choice.value.args[0] is None:
        return Keep
    return Choice("first", choice.value)


def _as_strict(choice: Choice) -> Choice | None:
    if choice.op in ("keep", "set"):
        # Where it is None the event raises; setting it all the same would hide that.
        return None
    return replace(choice, strict=True) if choice.op == "add" else None


def _as_lenient(choice: Choice) -> Choice | None:
    if choice.op == "keep":
        return choice
    return replace(choice, lenient=True) if choice.op == "add" else None


def choices_of(update: Update) -> list[Choice]:
    if isinstance(update, Choice):
        return [update]
    return choices_of(update.yes) + choices_of(update.no)


def conditions_of(update: Update) -> list[Expression]:
    if isinstance(update, Choice):
        return []
    return [update.condition, *conditions_of(update.yes), *conditions_of(update.no)]


def reads_of(update: Update) -> frozenset[str]:
    """Return the fields of the state that an update of a field reads."""
    found: frozenset[str] = frozenset()
    for condition in conditions_of(update):
        found |= condition.reads()
    for choice in choices_of(update):
        if choice.value is not None:
            found |= choice.value.reads()
        for change in choice.changes:
            for arg in change.args:
                found |= arg.reads()
    return found
