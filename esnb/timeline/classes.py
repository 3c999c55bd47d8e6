"""An aggregate class as what a timeline folds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from esnb.aggregate.compile import guard_of, said_of
from esnb.aggregate.finite import automaton
from esnb.aggregate.plan import FieldPlan, Plan, in_python
from esnb.aggregate.reach import remembered
from esnb.aggregate.render import PYTHON_NEEDED, constant
from esnb.aggregate.root import Aggregate
from esnb.errors import AggregateError, TimelineError, shown
from esnb.timeline.checking import compare
from esnb.timeline.fold import Field, Fold, Kind, Side
from esnb.timeline.native import Native
from esnb.timeline.odd import Failures, register
from esnb.timeline.payloads import Log
from esnb.timeline.reading import rows_sql
from esnb.timeline.sides import NeedsPython, Running, States, Steps

if TYPE_CHECKING:
    from esnb.timeline.read import Read

__all__ = ["ClassDefinition", "Unknown"]

Unknown = Literal["error", "keep"]


class ClassDefinition:
    """What `Timeline` folds when it is given an aggregate class.

    Parameters
    ----------
    owner
        The class.
    unknown
        What an event of an unknown type is: an ``"error"``, or a row that changes nothing.
    python
        Fold every field with Python; a text says why.
    known
        Event types that are known and change nothing, beside those of the class.
    """

    def __init__(
        self,
        owner: type[Aggregate],
        *,
        unknown: Unknown = "error",
        python: bool | str = False,
        known: Iterable[str] = (),
    ) -> None:
        if unknown not in ("error", "keep"):
            raise TimelineError(f"unknown={shown(unknown)}: say 'error' or 'keep'")
        self.owner = owner
        self.unknown = unknown
        self.python = python
        self.known = tuple(sorted(known))
        self.failures = Failures()

    @property
    def name(self) -> str:
        return self.owner.description.category

    def __repr__(self) -> str:
        return self.owner.__name__

    @cached_property
    def plan(self) -> Plan:
        """How the fields are folded."""
        plan = self.owner.description.plan
        if not self.python:
            return plan
        return in_python(plan, self.python if isinstance(self.python, str) else "asked for")

    def settled(self, read: Read) -> ClassDefinition:
        """Build the states, compare a sample with Python's, and return what can fold the log.

        Where the rows hold what SQL does not fold as Python does, that is the class run by
        Python.

        Raises
        ------
        SchemaError, EventError
            Naming an event that the class cannot read.
        AggregateError
            If a handler raises.
        TimelineError
            If SQL and Python do not agree.
        """
        self.failures.last = None
        try:
            read.table  # noqa: B018 (it is built)
        except NeedsPython as error:
            return self._in_python(str(error))
        except TimelineError as error:
            failure = self.failures.last
            if failure is not None and PYTHON_NEEDED not in str(failure):
                raise failure from None
            if self.python:
                raise
            return self._in_python(str(error.__cause__ or error))
        if not self.python:
            self._compare(read)
        return self

    def _in_python(self, reason: str) -> ClassDefinition:
        why = reason.splitlines()[0].partition(PYTHON_NEEDED)[2].lstrip(": ") or reason
        if why.startswith("("):
            why = why[1:].removesuffix(")")
        why = why.splitlines()[0].removeprefix("Invalid Input Error: ")
        return ClassDefinition(
            self.owner, unknown=self.unknown, python=f"in this log: {why}", known=self.known
        )

    def _compare(self, read: Read) -> None:
        key = f"checked-{read.fold.fingerprint[:32]}"
        if read.recall(key) is None and read.next_position:
            done = compare(self.owner, read)
            read.note(key, {"streams": done.streams, "events": done.events})

    @property
    def plan_traced(self) -> Plan:
        """What tracing found, whoever folds the fields."""
        return replace(self.owner.description.plan, fields=self.plan.fields)

    def rows(self) -> str:
        """Return the SELECT of the typed rows, with all columns."""
        lenient = bool(self.python)
        return rows_sql(self.owner, {}, unknown=self.unknown, known=self.known, lenient=lenient)

    def fold(self, log: Log) -> Fold:
        """Return the fold, its reading function known to the log's session."""
        self.failures = register(log.cursor, self.owner, lenient=bool(self.python))
        return self._fold

    @cached_property
    def _fold(self) -> Fold:
        owner, plan = self.owner, self.plan
        layout = owner.description.layout
        extra: dict[str, str] = {}
        sides: list[Side] = []
        if plan.control:
            domains = {name: plan.domains[name] for name in plan.control}
            rules = automaton(plan, domains, layout)
            extra["symbol"] = rules.symbol
            kinds = {name: plan.fields[name].kind for name in plan.control}
            sides.append(States(rules, kinds, layout))
        fields: list[Field] = []
        native = self._native() if plan.python else None
        for name, field in plan.fields.items():
            if native is not None and field.tier == 3:
                fields.append(_whole(field, f"e.{native.names[name]}"))
                continue
            if field.fold in ("running", "collection"):
                side: Any = Running(field) if field.fold == "running" else Steps(field)
                extra[side.name] = said_of(field, layout)
                sides.append(side)
                said = side.said if field.fold == "running" else f"e.{side.out}"
                fields.append(_field(field, said))
            else:
                fields.append(_field(field, said_of(field, layout)))
        if native is not None:
            sides.append(native)
        rows = rows_sql(
            owner,
            extra,
            read=" ".join(
                [
                    *(field.said for field in fields),
                    *(f"e.{name}" for side in sides for name, _ in side.columns),
                ]
            ),
            guard=guard_of(plan, layout),
            unknown=self.unknown,
            known=self.known,
            lenient=bool(self.python),
        )
        pauses = owner.description.noop is not None
        ends = pauses or bool(owner.description.ends)
        return Fold(rows, tuple(fields), ends, tuple(sides), pauses)

    def _native(self) -> Native:
        """Return the side on which the class itself folds.

        Raises
        ------
        AggregateError
            If it remembers what no field holds: a fold that goes on later would not know it.
        """
        description = self.owner.description
        handlers = [handler for _, handler in description.handlers.values()]
        name = remembered(self.owner, handlers, description.fields)
        if name:
            told = name.lstrip("_") or "value"
            raise AggregateError(
                f"{self.owner.__name__} sets and reads self.{name}, which is no field, so that a "
                f"fold that goes on later would not know it. Declare it in the class, as "
                f"'{told}: int = 0' (names that begin with '_' are no fields)"
            )
        return Native(self.owner, self.plan.python)


def _whole(field: FieldPlan, said: str) -> Field:
    return Field(field.name, field.name, field.kind.sql, said, kind="whole")


def _field(field: FieldPlan, said: str) -> Field:
    kind = field.kind
    if said == "NULL":
        said = f"CAST(NULL AS {kind.sql})"  # no event ever says anything of it
    if field.fold == "collection":
        empty = f"CAST({'MAP {}' if kind.name == 'dict' else '[]'} AS {kind.sql})"
        return Field(field.name, field.name, kind.sql, said, kind="latest", default=empty)
    default = "NULL" if field.default is None else f"CAST({constant(field.default)} AS {kind.sql})"
    if field.fold in ("latest", "running"):
        boxed = field.boxed
        return Field(field.name, field.name, kind.sql, said, "latest", boxed=boxed, default=default)
    kinds: dict[str, Kind] = {"sum": "sum", "min": "min", "max": "max", "first": "first"}
    return Field(field.name, field.name, kind.sql, said, kinds[field.fold], default=default)
