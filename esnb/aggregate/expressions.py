"""Values that are not known yet: what a handler does with them is noted, and becomes SQL.

An expression does only what Python and SQL do in the same way.  Everything else raises
`NotTraced`, which sends the handler to Python.  None never gets into an operation: where
a value may be None, the way forks, and each side goes on with what it knows.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

from esnb.aggregate.kinds import Kind, kind_of_value

__all__ = ["CURRENT", "Expression", "NotTraced", "Raised", "literal", "truth"]

Key = tuple[Any, ...]


class Raised(TypeError):
    """What Python would raise on this way through a handler."""


class NotTraced(Exception):
    """What a handler does here cannot be seen by tracing; Python has to do it."""


# Asked which way to go where a condition is not known: set by `esnb.aggregate.tracing`.
CURRENT: contextvars.ContextVar[Callable[[Expression], bool]] = contextvars.ContextVar("asked")

_NUMBERS = ("int", "decimal", "float")
_CLASSES = {
    "text": str,
    "int": int,
    "float": float,
    "bool": bool,
    "decimal": Decimal,
    "instant": datetime,
    "date": date,
}
_MOST = 2**63 - 1
_EXACT_IN_DOUBLE = 2**53
BOOL = Kind("bool", domain=(False, True))
INT = Kind("int")
TEXT = Kind("text")
DURATION = Kind("any")  # of `timedelta`: only ever compared or added, never stored


class Expression:
    """An operation on values that are not known yet.

    Attributes
    ----------
    op
        ``literal``, ``event`` (a field of the event), ``meta`` (of its envelope),
        ``state`` (a field of the state before the event), or the name of an operation.
    args
        What it works on: expressions, or plain names and constants.
    kind
        What it gives.
    """

    __slots__ = ("args", "key", "kind", "op")

    def __init__(self, op: str, *args: Any, kind: Kind) -> None:
        self.op = op
        self.args = args
        self.kind = kind
        self.key: Key = (
            op,
            *(arg.key if isinstance(arg, Expression) else _plain_key(arg) for arg in args),
        )

    # --- looking at it ---------------------------------------------------------------------

    def parts(self) -> Iterator[Expression]:
        """Yield this expression and all in it."""
        yield self
        for arg in self.args:
            if isinstance(arg, Expression):
                yield from arg.parts()

    def reads(self) -> frozenset[str]:
        """Return the fields of the state that it depends on."""
        return frozenset(
            part.args[0] for part in self.parts() if part.op in ("state", "entry", "holds", "size")
        )

    def __repr__(self) -> str:
        if CURRENT.get(None) is not None:
            raise NotTraced("repr() of a value")
        return f"Expression({self.op}, {', '.join(map(repr, self.args))})"

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """What ``isinstance`` takes it for: the class of the value that it stands for."""
        found = None if self.kind.nullable else _CLASSES.get(self.kind.name, self.kind.python)
        if found is None:
            raise NotTraced("isinstance() of a value that may be None")
        return found

    # --- arithmetic ------------------------------------------------------------------------

    def __add__(self, other: Any) -> Expression:
        return _plus(self, other)

    def __radd__(self, other: Any) -> Expression:
        return _plus(literal(other), self)

    def __sub__(self, other: Any) -> Expression:
        return _minus(self, other)

    def __rsub__(self, other: Any) -> Expression:
        return _minus(literal(other), self)

    def __mul__(self, other: Any) -> Expression:
        return _times(self, other)

    def __rmul__(self, other: Any) -> Expression:
        return _times(literal(other), self)

    def __floordiv__(self, other: Any) -> Expression:
        return _whole("floor_divide", self, other)

    def __mod__(self, other: Any) -> Expression:
        return _whole("modulo", self, other)

    def __neg__(self) -> Expression:
        value = known(self)
        _numeric("-", value)
        return Expression("negate", value, kind=value.kind)

    def __pos__(self) -> Expression:
        value = known(self)
        _numeric("+", value)
        return value

    def __abs__(self) -> Expression:
        value = known(self)
        _numeric("abs()", value)
        return Expression("abs", value, kind=value.kind)

    def __truediv__(self, other: Any) -> Expression:
        raise NotTraced("division with '/': SQL and Python round it differently")

    __rtruediv__ = __truediv__

    def __pow__(self, other: Any) -> Expression:
        raise NotTraced("'**': SQL works it out in floats")

    __rpow__ = __pow__

    def __divmod__(self, other: Any) -> Expression:
        raise NotTraced("'//', '%' and divmod() by a value")

    __rdivmod__ = __rfloordiv__ = __rmod__ = __divmod__

    def __round__(self, digits: int | None = None) -> Expression:
        raise NotTraced("round(): SQL rounds halves up, Python to even")

    # --- comparing -------------------------------------------------------------------------

    def __eq__(self, other: object) -> Any:
        return _equal(self, other)

    def __ne__(self, other: object) -> Any:
        return _inverted(_equal(self, other))

    def __lt__(self, other: Any) -> Expression:
        return _ordered("<", self, other)

    def __le__(self, other: Any) -> Expression:
        return _ordered("<=", self, other)

    def __gt__(self, other: Any) -> Expression:
        return _ordered("<", literal(other), self)

    def __ge__(self, other: Any) -> Expression:
        return _ordered("<=", literal(other), self)

    def __and__(self, other: Any) -> Expression:
        return _logical("and", self, other)

    def __rand__(self, other: Any) -> Expression:
        return _logical("and", literal(other), self)

    def __or__(self, other: Any) -> Expression:
        return _logical("or", self, other)

    def __ror__(self, other: Any) -> Expression:
        return _logical("or", literal(other), self)

    def __invert__(self) -> Expression:
        raise NotTraced("'~' on a value")

    def __bool__(self) -> bool:
        return truth(self)

    def __hash__(self) -> int:
        raise NotTraced("a value put into, or looked up in, a set or dict of yours")

    # --- text ------------------------------------------------------------------------------

    def __contains__(self, part: Any) -> bool:
        value = _text("in", self)
        return truth(Expression("contains", value, _text("in", part), kind=BOOL))

    def __len__(self) -> int:
        raise NotTraced("len() of a value")

    def __iter__(self) -> Iterator[Any]:
        raise NotTraced("a loop over a value")

    def __getitem__(self, place: Any) -> Expression:
        raise NotTraced("taking a value apart with [ ]")

    def __index__(self) -> int:
        raise NotTraced("a value used as a number of Python's own")

    __int__ = __index__

    def __float__(self) -> float:
        raise NotTraced("float() of a value")

    def __str__(self) -> str:
        raise NotTraced("str() of a value")

    def __format__(self, spec: str) -> str:
        raise NotTraced("an f-string or format() of a value")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if self.kind.name == "enum" and name == "value":
            value = known(self)
            return Expression(
                "value", value, kind=kind_of_value(next(iter(value.kind.python)).value)
            )
        if self.kind.name == "text" and name in _TEXT_METHODS:
            return _TEXT_METHODS[name](known(self))
        raise NotTraced(f".{name} of a value of kind {self.kind.name}")


def literal(value: Any) -> Expression:
    """Return a constant as an expression.

    Raises
    ------
    NotTraced
        If SQL has no constant for it.
    """
    if isinstance(value, Expression):
        return value
    if isinstance(value, timedelta):
        return Expression("literal", value, kind=DURATION)
    kind = kind_of_value(value)
    if value is not None and not kind.scalar:
        raise NotTraced(f"a constant of type {type(value).__name__}")
    if isinstance(value, int) and not isinstance(value, Enum) and not -_MOST <= value <= _MOST:
        raise NotTraced("a whole number past 64 bits")
    if isinstance(value, float) and not abs(value) < float("inf"):
        raise NotTraced("a float that is not finite")
    if isinstance(value, Decimal) and (not value.is_finite() or kind.scale > 18):
        raise NotTraced("a Decimal of too many digits")
    if isinstance(value, datetime) and value.tzinfo is None:
        raise NotTraced("a datetime without a zone")
    return Expression("literal", value, kind=kind)


def truth(condition: Any) -> bool:
    """Decide a condition: by what is known, or by going both ways, one after the other."""
    if not isinstance(condition, Expression):
        return bool(condition)
    if condition.op == "literal":
        return bool(condition.args[0])
    if condition.kind.nullable:
        if is_none(condition):
            return False
        condition = known(condition)
    name = condition.kind.name
    if name == "bool":
        if condition.op == "not":
            return not truth(condition.args[0])
        return CURRENT.get()(condition)
    if name == "text":
        return not truth(Expression("=", condition, literal(""), kind=BOOL))
    if name in _NUMBERS:
        return not truth(Expression("=", condition, literal(0), kind=BOOL))
    if name in ("instant", "date"):
        return True
    raise NotTraced(f"a value of kind {name} as a condition")


def is_none(value: Any) -> bool:
    """Decide whether a value is None."""
    if not isinstance(value, Expression):
        return value is None
    if value.op == "literal":
        return value.args[0] is None
    if not value.kind.nullable:
        return False
    return CURRENT.get()(Expression("is_none", value, kind=BOOL))


def known(value: Expression) -> Expression:
    """Return a value that an operation needs, as one that is not None.

    Raises
    ------
    Raised
        On the way where it is None, as Python would.
    """
    if is_none(value):
        raise Raised("None stands where an operation needs a value")
    return _as(value, value.kind.known()) if value.kind.nullable else value


def _as(value: Expression, kind: Kind) -> Expression:
    result = Expression(value.op, *value.args, kind=kind)
    return result


def _plain_key(arg: Any) -> Any:
    return (type(arg).__name__, str(arg) if isinstance(arg, Decimal) else arg)


def _pair(sign: str, a: Any, b: Any) -> tuple[Expression, Expression]:
    if not isinstance(b, Expression) and isinstance(b, set | dict | list | tuple):
        raise NotTraced(f"{sign!r} with a {type(b).__name__}")
    return known(literal(a)), known(literal(b))


def _numeric(sign: str, *values: Expression) -> None:
    for value in values:
        if value.kind.name not in _NUMBERS:
            raise NotTraced(f"{sign!r} on a value of kind {value.kind.name}")


def _number_kind(sign: str, a: Expression, b: Expression, scale: int) -> Kind:
    names = {a.kind.name, b.kind.name}
    if names == {"decimal", "float"}:
        raise Raised("Decimal and float do not mix")
    if "float" in names:
        return Kind("float")
    if "decimal" not in names:
        return INT
    if scale > 18:
        raise NotTraced(f"{sign!r} gives more than 18 digits behind the point")
    return Kind("decimal", scale=scale)


def _scale(value: Expression) -> int:
    return value.kind.scale if value.kind.name == "decimal" else 0


def _plus(a: Any, b: Any) -> Expression:
    a, b = _pair("+", a, b)
    names = (a.kind.name, b.kind.name)
    if names == ("text", "text"):
        return Expression("concat", a, b, kind=TEXT)
    if _is_duration(b) and names[0] == "instant":
        return Expression("later", a, b, kind=a.kind)
    if _is_duration(a) and names[1] == "instant":
        return Expression("later", b, a, kind=b.kind)
    _numeric("+", a, b)
    return Expression("+", a, b, kind=_number_kind("+", a, b, max(_scale(a), _scale(b))))


def _minus(a: Any, b: Any) -> Expression:
    a, b = _pair("-", a, b)
    if (a.kind.name, b.kind.name) == ("instant", "instant"):
        return Expression("elapsed", a, b, kind=DURATION)
    if _is_duration(b) and a.kind.name == "instant":
        return Expression("earlier", a, b, kind=a.kind)
    _numeric("-", a, b)
    return Expression("-", a, b, kind=_number_kind("-", a, b, max(_scale(a), _scale(b))))


def _times(a: Any, b: Any) -> Expression:
    a, b = _pair("*", a, b)
    _numeric("*", a, b)
    return Expression("*", a, b, kind=_number_kind("*", a, b, _scale(a) + _scale(b)))


def _whole(op: str, a: Expression, b: Any) -> Expression:
    a = known(a)
    if type(b) is not int or b <= 0 or a.kind.name != "int":
        raise NotTraced("'//' and '%' other than of a whole number by a constant above 0")
    return Expression(op, a, literal(b), kind=INT)


def _is_duration(value: Expression) -> bool:
    return value.op == "elapsed" or (value.op == "literal" and isinstance(value.args[0], timedelta))


def _family(value: Expression) -> str:
    if _is_duration(value):
        return "duration"
    name = value.kind.name
    return "number" if name in ("int", "decimal", "bool") else name


def _equal(a: Expression, b: Any) -> Any:
    if b is None:
        return _decided(is_none(a))
    if not isinstance(b, Expression) and not _may_equal(b):
        return _decided(False)
    b = literal(b)
    one, two = _family(a), _family(b)
    if "enum" in (one, two):
        return _equal_enum(a, b)
    if {one, two} == {"number", "float"}:
        _exact_in_double(a, b)
    elif one != two:
        return _decided(False)
    op = "=?" if a.kind.nullable or b.kind.nullable else "="
    return Expression(op, a, b, kind=BOOL)


def _equal_enum(a: Expression, b: Expression) -> Any:
    if a.kind.name != "enum":
        a, b = b, a
    enum: type[Enum] = a.kind.python
    if b.kind.name == "enum":
        if b.kind.python is not enum:
            raise NotTraced("comparing members of two enums")
    elif not issubclass(enum, str | int) or (b.kind.name == "text") != issubclass(enum, str):
        # A plain Enum never equals a plain value.
        return _decided(False)
    nullable = a.kind.nullable or b.kind.nullable
    return Expression("=?" if nullable else "=", a, b, kind=BOOL)


def _exact_in_double(*values: Expression) -> None:
    for value in values:
        if value.kind.name == "decimal":
            raise NotTraced("comparing a Decimal with a float")
        if value.kind.name == "int" and not (
            value.op == "literal" and abs(value.args[0]) <= _EXACT_IN_DOUBLE
        ):
            raise NotTraced("comparing a whole number with a float")


def _may_equal(value: object) -> bool:
    return isinstance(value, str | int | float | Decimal | date | timedelta | Enum)


def _decided(value: bool) -> Expression:
    return Expression("literal", value, kind=BOOL)


def _inverted(condition: Any) -> Expression:
    if condition.op == "literal":
        return _decided(not condition.args[0])
    return Expression("not", condition, kind=BOOL)


def _ordered(sign: str, a: Any, b: Any) -> Expression:
    a, b = _pair(sign, a, b)
    one, two = _family(a), _family(b)
    if {one, two} == {"number", "float"}:
        _exact_in_double(a, b)
    elif one != two or one in ("enum", "any"):
        raise NotTraced(f"{sign!r} between values of kind {a.kind.name} and {b.kind.name}")
    return Expression(sign, a, b, kind=BOOL)


def _logical(op: str, a: Any, b: Any) -> Expression:
    a, b = _pair(op, a, b)
    if a.kind.name != "bool" or b.kind.name != "bool":
        raise NotTraced("'&' or '|' on values that are not true or false")
    return Expression(op, a, b, kind=BOOL)


def _text(sign: str, value: Any) -> Expression:
    text = known(literal(value))
    if text.kind.name != "text":
        raise NotTraced(f"{sign!r} on a value of kind {text.kind.name}")
    return text


def _method(op: str, kind: Kind, arguments: int) -> Callable[[Expression], Callable[..., Any]]:
    def bound(value: Expression) -> Callable[..., Any]:
        def call(*given: Any) -> Expression:
            if len(given) != arguments or any(type(argument) is tuple for argument in given):
                raise NotTraced(f".{op}() with these arguments")
            return Expression(op, value, *(_text(op, argument) for argument in given), kind=kind)

        return call

    return bound


_TEXT_METHODS = {
    "lower": _method("lower", TEXT, 0),
    "upper": _method("upper", TEXT, 0),
    "strip": _method("strip", TEXT, 0),
    "lstrip": _method("lstrip", TEXT, 0),
    "rstrip": _method("rstrip", TEXT, 0),
    "startswith": _method("startswith", BOOL, 1),
    "endswith": _method("endswith", BOOL, 1),
    "removeprefix": _method("removeprefix", TEXT, 1),
    "removesuffix": _method("removesuffix", TEXT, 1),
}
