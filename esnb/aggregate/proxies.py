"""What stands for the aggregate, the event and their collections while a handler is traced."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import FunctionType, MethodType
from typing import Any, Protocol

from esnb.aggregate.event import ENVELOPE
from esnb.aggregate.expressions import BOOL, INT, Expression, NotTraced, literal, truth
from esnb.aggregate.kinds import Kind, kind_of

__all__ = ["Change", "Payload", "Proxy", "Run", "State"]

_ENVELOPE_KINDS = {
    "stream": Kind("text"),
    "revision": INT,
    "position": INT,
    "event_id": Kind("text"),
    "occurred_on": Kind("instant"),
    "recorded_on": Kind("instant"),
    "actor": Kind("text", nullable=True),
    "correlation_id": Kind("text", nullable=True),
    "causation_id": Kind("text", nullable=True),
}


@dataclass(frozen=True, eq=False)
class Change:
    """One step that changes a set, a dict or a list: a method, and what it is given."""

    op: str
    args: tuple[Expression, ...] = ()


class Run(Protocol):
    """One way through a handler, as the stand-ins use it.

    Attributes
    ----------
    owner
        The aggregate class.
    fields
        Kinds of its fields.
    keyed
        It is an aggregate across streams.
    values, changes, breach
        What was set, changed and said so far.
    """

    owner: type
    fields: dict[str, Kind]
    keyed: bool
    values: dict[str, Expression]
    changes: dict[str, list[Change]]
    breach: str | None

    def give(self, value: Expression) -> Any:
        """Return a value that is read."""
        ...


class Proxy:
    """Stands for the aggregate, the event or a collection while a handler is traced."""

    __slots__ = ("_run",)
    _run: Run

    def __iter__(self) -> Iterator[Any]:
        raise NotTraced(f"a loop over {self}")

    def __len__(self) -> int:
        raise NotTraced(f"len() of {self}")

    def __bool__(self) -> bool:
        raise NotTraced(f"{self} as a condition")

    def __hash__(self) -> int:
        raise NotTraced(f"hash() of {self}")

    def __eq__(self, other: object) -> bool:
        raise NotTraced(f"comparing {self}")

    def __repr__(self) -> str:
        return type(self).__name__


class State(Proxy):
    """Stands for ``self``."""

    __slots__ = ("_collections",)
    _collections: dict[str, _Collection]

    def __init__(self, run: Run) -> None:
        object.__setattr__(self, "_run", run)
        object.__setattr__(self, "_collections", {})

    def __getattr__(self, name: str) -> Any:
        run = self._run
        kind = run.fields.get(name)
        if kind is None:
            return _member(self, run.owner, name)
        if kind.collection:
            return self._collections.setdefault(name, _Collection(run, name, kind))
        set_to = run.values.get(name)
        if set_to is not None:
            return run.give(set_to)
        if not kind.scalar:
            raise NotTraced(f"self.{name}, which SQL has no type for")
        return run.give(Expression("state", name, kind=kind))

    def __setattr__(self, name: str, value: Any) -> None:
        run = self._run
        kind = run.fields.get(name)
        if kind is None:
            raise NotTraced(f"self.{name} is set, which is no field of the class")
        if kind.collection:
            _Collection(run, name, kind).assign(value)
            return
        if not isinstance(value, Expression) and isinstance(value, Proxy):
            raise NotTraced(f"self.{name} is set to {value} as a whole")
        run.values[name] = _fitting(name, kind, literal(value))

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """The class of the aggregate, for ``isinstance`` and ``super()``."""
        return self._run.owner

    def __repr__(self) -> str:
        return "self"


class Payload(Proxy):
    """Stands for the event, or a model within it."""

    __slots__ = ("_model", "_path")
    _model: Any
    _path: tuple[str, ...]

    def __init__(self, run: Run, model: Any, path: tuple[str, ...]) -> None:
        object.__setattr__(self, "_run", run)
        object.__setattr__(self, "_model", model)
        object.__setattr__(self, "_path", path)

    def __getattr__(self, name: str) -> Any:
        field = self._model.model_fields.get(name)
        if field is not None:
            kind, path = kind_of(field.annotation), (*self._path, name)
            if kind.name == "model" and not kind.nullable:
                return Payload(self._run, kind.python, path)
            if not kind.scalar:
                raise NotTraced(f"{self}.{name}, a {_called(kind)}")
            return self._run.give(Expression("event", path, kind=kind))
        if not self._path and name in _ENVELOPE_KINDS:
            if name in ("stream", "revision") and self._run.keyed:
                raise NotTraced(f"{self}.{name} in an aggregate across streams")
            return self._run.give(Expression("meta", name, kind=_ENVELOPE_KINDS[name]))
        if not self._path and name in ENVELOPE:
            raise NotTraced(f"{self}.{name}")
        return _member(self, self._model, name)

    def __setattr__(self, name: str, value: Any) -> None:
        raise TypeError("an event cannot change")

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """The class of the event, or of the model in it, for ``isinstance``."""
        return self._model

    def __repr__(self) -> str:
        return ".".join(("the event", *self._path))


class _Collection(Proxy):
    """Stands for a set, a dict or a list of the state; notes what is done to it."""

    __slots__ = ("_kind", "_name")
    _kind: Kind
    _name: str

    def __init__(self, run: Run, name: str, kind: Kind) -> None:
        object.__setattr__(self, "_run", run)
        object.__setattr__(self, "_name", name)
        object.__setattr__(self, "_kind", kind)

    def assign(self, value: Any) -> None:
        """``self.tags = set()``, or what an augmented assignment gives back."""
        if isinstance(value, _Collection) and value._name == self._name:
            return
        if isinstance(value, set | frozenset | dict | list | tuple) and not value:
            self._note("clear")
            return
        if self._kind.name == "list" and isinstance(value, list | tuple):
            self._note("clear")
            self.extend(value)
            return
        raise NotTraced(f"self.{self._name} is set as a whole")

    def _note(self, op: str, *args: Any) -> None:
        values = tuple(literal(arg) for arg in args)
        for value, arg in zip(values, args, strict=True):
            if not value.kind.scalar and arg is not None:
                raise NotTraced(f"a value of kind {_called(value.kind)} in self.{self._name}")
        self._run.changes.setdefault(self._name, []).append(Change(op, values))

    def _only(self, kind: str, method: str) -> None:
        if self._kind.name != kind:
            raise AttributeError(f"{self._kind.name!r} object has no attribute {method!r}")

    # sets
    def add(self, value: Any) -> None:
        self._only("set", "add")
        self._note("add", value)

    def discard(self, value: Any) -> None:
        self._only("set", "discard")
        self._note("discard", value)

    def remove(self, value: Any) -> None:
        self._note("remove", value)

    def update(self, *given: Any) -> None:
        for values in given:
            if isinstance(values, dict) and self._kind.name == "dict":
                for key, value in values.items():
                    self[key] = value
            elif isinstance(values, list | tuple | set | frozenset) and self._kind.name == "set":
                for value in values:
                    self._note("add", value)
            else:
                raise NotTraced(f"self.{self._name}.update() with these arguments")

    # dicts
    def __setitem__(self, key: Any, value: Any) -> None:
        if self._kind.name != "dict":
            raise NotTraced(f"self.{self._name}[…] is set")
        key = literal(key)
        step = _step(value, self._name, key)
        if step is not None:
            self._note("count", key, *step)
        else:
            if isinstance(value, Expression) and any(part.op == "entry" for part in value.parts()):
                raise NotTraced(f"an entry of self.{self._name} in a calculation")
            self._note("put", key, value)

    def __delitem__(self, key: Any) -> None:
        self._only("dict", "__delitem__")
        self._note("delete", key)

    def __getitem__(self, key: Any) -> Expression:
        if self._kind.name != "dict" or self._kind.item is None:
            raise NotTraced(f"an entry of self.{self._name}")
        return Expression("entry", self._name, literal(key), kind=self._kind.item.known())

    def get(self, key: Any, default: Any = None) -> Expression:
        self._only("dict", "get")
        if default is None or self._kind.item is None:
            raise NotTraced(f"self.{self._name}.get() without a default that is a number")
        kind = self._kind.item.known()
        return Expression("entry", self._name, literal(key), literal(default), kind=kind)

    def setdefault(self, key: Any, default: Any = None) -> _Ignored:
        self._only("dict", "setdefault")
        self._note("setdefault", key, default)
        return _Ignored(self._run, f"what self.{self._name}.setdefault() gives")

    def pop(self, *given: Any) -> _Ignored:
        kind = self._kind.name
        if kind == "dict" and len(given) in (1, 2):
            # Without a default, a key that is not there raises.
            self._note("pop" if len(given) == 2 else "take", given[0])
        elif kind == "list" and not given:
            self._note("pop_item")
        else:
            raise NotTraced(f"self.{self._name}.pop() with these arguments")
        return _Ignored(self._run, f"what self.{self._name}.pop() gives")

    # lists
    def append(self, value: Any) -> None:
        self._only("list", "append")
        self._note("append", value)

    def extend(self, values: Any) -> None:
        self._only("list", "extend")
        if not isinstance(values, list | tuple):
            raise NotTraced(f"self.{self._name}.extend() with a value of the event")
        for value in values:
            self._note("append", value)

    def __iadd__(self, values: Any) -> _Collection:
        self.extend(values)
        return self

    # all of them
    def clear(self) -> None:
        self._note("clear")

    def __contains__(self, value: Any) -> bool:
        if self._run.changes.get(self._name):
            raise NotTraced(f"'in self.{self._name}' after a change to it")
        return truth(Expression("holds", self._name, literal(value), kind=BOOL))

    def __repr__(self) -> str:
        return f"self.{self._name}"


class _Ignored(Proxy):
    """Stands for what a method gives back, which nothing may use."""

    __slots__ = ("_what",)
    _what: str

    def __init__(self, run: Run, what: str) -> None:
        object.__setattr__(self, "_run", run)
        object.__setattr__(self, "_what", what)

    def __getattr__(self, name: str) -> Any:
        raise NotTraced(f"{self._what}, used")

    def __repr__(self) -> str:
        return str(object.__getattribute__(self, "_what"))


def _step(value: Any, name: str, key: Expression) -> tuple[Expression, ...] | None:
    """Return what is added to the entry, and its default, if `value` is the entry and a step."""
    if not isinstance(value, Expression) or value.op not in ("+", "-"):
        return None
    a, b = value.args
    if value.op == "+" and b.op == "entry":
        a, b = b, a
    if a.op != "entry" or a.args[0] != name or a.args[1].key != key.key:
        return None
    if any(part.op == "entry" for part in b.parts()):
        return None
    step = -b if value.op == "-" else b
    return (step, *a.args[2:])


def _member(proxy: Proxy, owner: type, name: str) -> Any:
    """Return a method, property or constant of a class, at work on the proxy."""
    if name.startswith("__") or name == "model_fields_set":
        raise NotTraced(f"{proxy}.{name}")
    for base in owner.__mro__:
        if name in vars(base):
            found = vars(base)[name]
            break
    else:
        if isinstance(proxy, State):
            # A handler may have set it before; nothing keeps it.
            raise NotTraced(f"self.{name}, which is no field of the class")
        raise AttributeError(f"{owner.__name__!r} object has no attribute {name!r}")
    if name in ("apply", "uncommitted", "stream", "revision"):
        raise NotTraced(f"self.{name} in a handler")
    if name == "breach":
        return lambda rule: _breach(proxy, rule)
    if isinstance(found, property) and found.fget is not None:
        return found.fget(proxy)
    if isinstance(found, staticmethod | classmethod):
        return getattr(owner, name)
    if isinstance(found, FunctionType):
        return MethodType(found, proxy)
    return found


def _breach(proxy: Proxy, rule: str) -> None:
    if isinstance(rule, Expression) or not isinstance(rule, str):
        raise NotTraced("a breach whose rule is not a plain text")
    proxy._run.breach = rule


def _fitting(name: str, kind: Kind, value: Expression) -> Expression:
    """Return a value that may stand in a field of that kind."""
    if value.op == "literal" and value.args[0] is None:
        return Expression("literal", None, kind=kind.or_none())
    if any(part.op == "entry" for part in value.parts()):
        raise NotTraced(f"an entry of a dict, set as self.{name}")
    given, wanted = value.kind.name, kind.name
    fits = given == wanted or (given == "int" and wanted in ("decimal", "float"))
    if not fits or (wanted == "enum" and value.kind.python is not kind.python):
        raise NotTraced(
            f"self.{name} is declared {_called(kind)} and is set to a {_called(value.kind)}"
        )
    return value


def _called(kind: Kind) -> str:
    if kind.python is not None and hasattr(kind.python, "__name__"):
        return str(kind.python.__name__)
    return kind.name
