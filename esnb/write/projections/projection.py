"""Projections: read models as classes, whose handlers say what an event does to which rows."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, overload

from esnb.aggregate import Aggregate, Event
from esnb.errors import ProjectionError, shown
from esnb.event import RecordedEvent
from esnb.write.projections.changes import Columns, Rows, Work
from esnb.write.projections.columns import check_name, kind_of

if TYPE_CHECKING:
    from esnb.timeline import Timeline

__all__ = ["Description", "Projection", "Table", "on"]

F = TypeVar("F", bound=Callable[..., Any])


class Table:
    """A table of a read model, in the body of a projection: its columns beside ``key``.

    Parameters
    ----------
    columns, **named
        Python types by name: ``str``, ``int``, ``Decimal``, ``float``, ``bool``,
        ``datetime``, ``date``, and ``dict`` or ``list`` (kept as JSON).
    name
        Name of the table, where it is not that of the attribute.
    select
        For a set-based table: a SELECT (DuckDB) over a batch of ``events``, that gives a
        column ``key``, each key once, and some of the columns.  They are set, those in `add`
        are added; a NULL leaves a column as it is.
    add
        Columns of the SELECT whose values are added to what stands there.
    deleted
        Column of the SELECT (BOOLEAN): where it is true, the row is taken away.

    Examples
    --------
    >>> class Orders(Projection, category="order"):
    ...     orders = Table(status=str, lines=int)
    ...     def when_placed(self, e: OrderPlaced):            # doctest: +SKIP
    ...         self.orders.put(e.stream, status="pending")
    """

    def __init__(
        self,
        columns: Mapping[str, Any] | None = None,
        /,
        *,
        name: str | None = None,
        select: str | None = None,
        add: Sequence[str] = (),
        deleted: str | None = None,
        **named: Any,
    ) -> None:
        given = {**(columns or {}), **named}
        self.columns: Columns = {
            check_name("column", column): kind_of(column, kind) for column, kind in given.items()
        }
        folded = {column.casefold() for column in [*self.columns, "key"]}
        if len(folded) <= len(self.columns):
            raise ProjectionError(
                "two columns differ in upper and lower case only, or one is called 'key', which "
                "every table has; call it otherwise"
            )
        self.name = "" if name is None else check_name("table", name)
        self.select = select
        self.add = (add,) if isinstance(add, str) else tuple(add)
        self.deleted = deleted
        for column in self.add:
            if self.columns.get(column) not in ("int", "decimal"):
                raise ProjectionError(
                    f"add: {shown(column)} is no column of whole numbers or amounts"
                )
        if select is None and (add or deleted):
            raise ProjectionError("add and deleted belong to a table with a select")

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = self.name or check_name("table", name)

    @overload
    def __get__(self, projection: None, owner: type) -> Table: ...
    @overload
    def __get__(self, projection: Projection, owner: type) -> Rows: ...
    def __get__(self, projection: Projection | None, owner: type) -> Table | Rows:
        if projection is None:
            return self
        return projection._rows[self.name]


def on(*events: type[Event] | str) -> Callable[[F], F]:
    """Make a method of a projection handle events.

    Parameters
    ----------
    *events
        Event classes, of which the method gets an object; or event types as text, for
        which it gets the `RecordedEvent` as it stands in the log.
    """
    if not events or not all(
        isinstance(one, str) or (isinstance(one, type) and issubclass(one, Event)) for one in events
    ):
        raise ProjectionError("@on takes event classes or types, as in @on(OrderPlaced)")

    def marked(function: F) -> F:
        function._esnb_on = events  # type: ignore[attr-defined]
        return function

    return marked


class Projection:
    """Base of read models: tables, and handlers that say what an event does to their rows.

    A method marked with `on`, or whose name begins with ``when``, handles the events that its
    parameter is annotated with; one annotated with `RecordedEvent` gets every event that no
    other handles.  It changes rows by ``self.orders.put``, ``.add`` and ``.delete`` (see
    `esnb.write.projections.changes.Rows`), and does nothing else: after a crash it is called again.

    Options of the class: ``name``, under which the sink keeps the checkpoint (that of the
    class by default); ``category``, of whose streams the events are (one or several; all
    without it); ``event_types``, for set-based tables.

    Examples
    --------
    >>> class Board(Projection, category="order"):
    ...     orders = Table(status=str, total=Decimal)
    ...     def when_placed(self, e: OrderPlaced):                    # doctest: +SKIP
    ...         self.orders.put(e.stream, status="pending", total=e.total)
    >>> log.project(Board, into=DuckDBSink("shop.duckdb")).run()      # doctest: +SKIP
    """

    description: ClassVar[Description]
    _rows: Mapping[str, Rows]

    def __init_subclass__(
        cls,
        *,
        name: str | None = None,
        category: str | Sequence[str] = (),
        event_types: str | Sequence[str] = (),
    ) -> None:
        super().__init_subclass__()
        cls.description = Description(cls, name, _texts(category), _texts(event_types))

    @staticmethod
    def of(
        states: type[Aggregate] | Timeline,
        *,
        table: str | None = None,
        name: str | None = None,
        unknown: str | None = None,
    ) -> type[Projection]:
        """Return a projection whose table holds the newest state of every aggregate.

        Parameters
        ----------
        states
            An aggregate class, or a timeline of the log.
        table
            Name of the table; the category and ``_states`` by default.
        name
            Name of the projection; that of the table by default.
        unknown
            As for ``log.timeline``: ``"keep"`` lets events pass that the class does not know.

        Returns
        -------
        type
            A projection class.  The key of a row is the stream; the columns are the
            ``revision`` and ``position`` of the newest event and the fields.
        """
        category = _category(states)
        table = check_name("table", table or f"{category}_states")
        made: Any = types.new_class(
            f"{category.title()}States", (Projection,), {"name": name or table}
        )
        made.description.states = (states, table, {} if unknown is None else {"unknown": unknown})
        projection: type[Projection] = made
        return projection


class Description:
    """What a projection class says of itself.

    Attributes
    ----------
    name
        Under which the sink knows it.
    tables
        By name, as declared.
    categories, event_types
        Which events it wants; all where empty.
    handlers
        By event type: the event class, or None for one that takes recorded events, and the
        function.
    rest
        The handler of all other events, or None.
    states
        For `Projection.of`: the aggregate class or timeline, the table, options.
    """

    def __init__(
        self,
        owner: type[Projection],
        name: str | None,
        categories: tuple[str, ...],
        event_types: tuple[str, ...],
    ) -> None:
        self.owner = owner
        self.name = check_name("projection", name or _snake(owner.__name__))
        self.categories = categories
        self.tables: dict[str, Table] = {}
        for base in reversed(owner.__mro__):
            for member in vars(base).values():
                if isinstance(member, Table):
                    self.tables[member.name] = member
        if len({table.casefold() for table in self.tables}) < len(self.tables):
            raise ProjectionError(
                f"{owner.__name__}: two tables differ in upper and lower case only"
            )
        self.handlers: dict[str, tuple[type[Event] | None, FunctionType]] = {}
        self.rest: FunctionType | None = None
        self.states: tuple[type[Aggregate] | Timeline, str, dict[str, Any]] | None = None
        for function in _methods(owner).values():
            self._handle(function)
        selects = [table for table in self.tables.values() if table.select is not None]
        if selects and (self.handlers or self.rest or len(selects) < len(self.tables)):
            raise ProjectionError(
                f"{owner.__name__}: either all tables have a select, or handlers fill them all; "
                "make two projections of it"
            )
        if event_types and not selects:
            raise ProjectionError(f"{owner.__name__}: event_types belongs to tables with a select")
        self.set_based = bool(selects)
        handled = () if self.rest else tuple(self.handlers)
        self.event_types = event_types if self.set_based else handled

    def _handle(self, function: FunctionType) -> None:
        for one in _handled(self.owner, function):
            if one is RecordedEvent:
                if self.rest is not None:
                    raise ProjectionError(
                        f"{self.owner.__name__} handles all other events twice, in "
                        f"{self.rest.__name__} and {function.__name__}"
                    )
                self.rest = function
                continue
            names = (one,) if isinstance(one, str) else (one.event_type, *one.aliases)
            for event_type in names:
                if event_type in self.handlers:
                    other = self.handlers[event_type][1].__name__
                    raise ProjectionError(
                        f"{self.owner.__name__} handles {event_type} twice, in {other} and "
                        f"{function.__name__}"
                    )
                self.handlers[event_type] = (None if isinstance(one, str) else one, function)

    def instance(self, work: Work) -> Projection:
        """Return an object whose tables note changes in `work`."""
        made = self.owner()
        made._rows = {name: Rows(name, table.columns, work) for name, table in self.tables.items()}
        return made


def shape_of(tables: Mapping[str, Columns]) -> str:
    """Return a fingerprint of tables, and their names: other columns need tables made anew."""
    parts = sorted((name, *columns.items()) for name, columns in tables.items())
    return f"{hashlib.sha256(repr(parts).encode()).hexdigest()[:32]} {json.dumps(sorted(tables))}"


def _methods(owner: type[Projection]) -> dict[str, FunctionType]:
    found: dict[str, FunctionType] = {}
    for base in reversed(owner.__mro__):
        for name, member in vars(base).items():
            marked = isinstance(member, FunctionType) and (
                name.startswith("when") or hasattr(member, "_esnb_on")
            )
            if marked:
                found[name] = member
            elif name in found:
                del found[name]
    return found


def _handled(owner: type, function: FunctionType) -> tuple[Any, ...]:
    marked: tuple[Any, ...] | None = getattr(function, "_esnb_on", None)
    if marked is not None:
        return marked
    code = function.__code__
    if code.co_argcount != 2 or code.co_kwonlyargcount:
        raise ProjectionError(
            f"{owner.__name__}.{function.__name__} must take the projection and one event"
        )
    parameter = code.co_varnames[1]
    annotation = _resolved(function.__annotations__.get(parameter), function)
    union = isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union
    given = typing.get_args(annotation) if union else (annotation,)
    for one in given:
        if not (isinstance(one, type) and issubclass(one, Event | RecordedEvent)):
            raise ProjectionError(
                f"{owner.__name__}.{function.__name__}: annotate its event with an event class, "
                f"such as '{parameter}: OrderPlaced', or mark it with @on; {shown(one)} is none"
            )
    return given


def _resolved(annotation: Any, function: FunctionType) -> Any:
    """Evaluate an annotation that stands as text, where the class is being made."""
    if not isinstance(annotation, str):
        return annotation
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_globals is function.__globals__:
            try:
                # The text of an annotation, in the code of whoever wrote the class.
                return eval(annotation, function.__globals__, dict(frame.f_locals))  # noqa: S307
            except NameError:
                pass
        frame = frame.f_back  # type: ignore[assignment]
    try:
        return eval(annotation, function.__globals__)  # noqa: S307
    except NameError:
        return annotation


def _category(states: Any) -> str:
    if isinstance(states, type) and issubclass(states, Aggregate):
        return states.description.category
    return str(states.category)


def _texts(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
